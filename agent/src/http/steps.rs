//! What a person on the gateway says of an alert, when the operations centre is out of reach.
//!
//! The page has no login, so a step is taken only from a program on this machine (`vigil_listen::admission`).

use super::Desk;
use crate::orders;
use crate::pump::{Obeyed, Stopping};
use axum::Json;
use axum::body::Bytes;
use axum::extract::{Extension, Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::json;
use std::sync::Arc;
use vigil_core::alert::AlertId;
use vigil_core::command::{Answer, Objection};
use vigil_listen::{Peer, admit};

/// The largest step: a note of a thousand characters, whatever they are, with everything around it.
pub const MAX_STEP_BYTES: usize = 16 * 1024;

/// `POST /api/v1/alerts/{id}/status`
pub async fn take(
    State(desk): State<Arc<Desk>>,
    Extension(Peer(peer)): Extension<Peer>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Stopping> {
    if let Err(stranger) = admit(peer, &headers) {
        return Ok(refused(stranger.status(), &stranger.to_string()));
    }
    let Some(alert) = AlertId::parse(&id) else {
        return Ok(refused(StatusCode::BAD_REQUEST, "the id of an alert is a UUID"));
    };
    let order = match orders::step(alert, &body) {
        Ok(order) => order,
        Err(why) => return Ok(refused(StatusCode::BAD_REQUEST, &why.to_string())),
    };
    let Obeyed { answer, alert } = desk.pump.command(None, order).await?;
    Ok(match answer {
        Answer::Done | Answer::Repeated => (StatusCode::OK, Json(alert)).into_response(),
        Answer::Refused(why) => refused(objection_status(&why), &why.to_string()),
    })
}

pub(super) fn refused(status: StatusCode, why: &str) -> Response {
    (status, Json(json!({ "error": why }))).into_response()
}

const fn objection_status(why: &Objection) -> StatusCode {
    match why {
        Objection::UnknownAlert(_) | Objection::UnknownGuard(_) | Objection::UnknownTask(_) => {
            StatusCode::NOT_FOUND
        }
        Objection::IllegalStep { .. } | Objection::NoLiveHandset(_) | Objection::AlreadyAsked(_) => {
            StatusCode::CONFLICT
        }
    }
}
