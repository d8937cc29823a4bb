//! Why a question over HTTP has no answer.

use crate::pump::Stopping;
use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::json;

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum NoAnswer {
    /// The agent is stopping.
    Stopping(Stopping),
    /// The question makes no sense, and how it would.
    Senseless(String),
}

impl From<Stopping> for NoAnswer {
    fn from(stopping: Stopping) -> Self {
        Self::Stopping(stopping)
    }
}

impl IntoResponse for NoAnswer {
    fn into_response(self) -> Response {
        match self {
            Self::Stopping(stopping) => stopping.into_response(),
            Self::Senseless(why) => (StatusCode::BAD_REQUEST, Json(json!({"error": why}))).into_response(),
        }
    }
}
