//! How a refusal looks, on every route.

use axum::Json;
use axum::body::{Body, to_bytes};
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderValue};
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::Serialize;
use std::fmt::Display;

/// The longest sentence of the server's own that is passed on: it names a field and what was found there.
const MAX_SENTENCE_BYTES: usize = 4 * 1024;

/// Why a request is refused.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[schemars(rename = "Error")]
pub struct Refusal {
    /// What is wrong and what would be right.
    error: String,
}

impl Refusal {
    /// In the words of `why`.
    pub fn of(why: &impl Display) -> Json<Self> {
        Json(Self { error: why.to_string() })
    }
}

/// Some parts of a request are read before our code runs, and what refuses them speaks in plain text. A program reads one form.
pub async fn in_json(response: Response) -> Response {
    let is_refused = response.status().is_client_error() || response.status().is_server_error();
    if !is_refused || !is_plain_text(response.headers()) {
        return response;
    }
    let (mut head, body) = response.into_parts();
    let said = match to_bytes(body, MAX_SENTENCE_BYTES).await {
        Ok(said) => String::from_utf8_lossy(&said).into_owned(),
        Err(_) => head.status.to_string(),
    };
    let told = Refusal::of(&said).into_response().into_body();
    head.headers.remove(CONTENT_LENGTH);
    head.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Response::from_parts(head, Body::new(told))
}

fn is_plain_text(headers: &HeaderMap) -> bool {
    headers.get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"text/plain"))
}
