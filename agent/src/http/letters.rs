//! Dead letters: what the NOC rejected, and how a person sends it again.

use super::Desk;
use super::asked::NoAnswer;
use super::steps;
use crate::pump::Stopping;
use axum::Json;
use axum::body::Bytes;
use axum::extract::{Extension, State};
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::json;
use std::sync::Arc;
use vigil_listen::{Peer, admit};

/// As many numbers as dead letters are kept, with twenty digits each.
pub(super) const MAX_BYTES: usize = 32 * 1024;

/// The dead letters that are kept, the newest first.
pub(super) async fn letters(State(desk): State<Arc<Desk>>) -> Result<Response, Stopping> {
    let letters = desk.pump.dead_letters().await?;
    let shown: Vec<_> = letters
        .into_iter()
        .map(|(sequence, l)| {
            let e = l.event;
            json!({"sequence": sequence, "at": l.at, "reason": l.reason, "id": e.id, "subject": e.subject})
        })
        .collect();
    Ok(Json(shown).into_response())
}

/// Which of them are to be sent again.
#[derive(Debug, Deserialize)]
struct Wanted {
    #[serde(default)]
    all: bool,
    #[serde(default)]
    sequences: Vec<u64>,
}

/// `POST /api/v1/dead-letters/resend`: `{"sequences": […]}` or `{"all": true}`.
pub(super) async fn resend(
    State(desk): State<Arc<Desk>>,
    Extension(Peer(peer)): Extension<Peer>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, NoAnswer> {
    if let Err(stranger) = admit(peer, &headers) {
        return Ok(steps::refused(stranger.status(), &stranger.to_string()));
    }
    let wanted: Wanted = serde_json::from_slice(&body).map_err(|why| NoAnswer::Senseless(why.to_string()))?;
    let kept: Vec<u64> = desk.pump.dead_letters().await?.into_iter().map(|(sequence, _)| sequence).collect();
    if let Some(unknown) = wanted.sequences.iter().find(|sequence| !kept.contains(sequence)) {
        return Err(NoAnswer::Senseless(format!("no dead letter has the number {unknown}")));
    }
    let sequences = if wanted.all { kept } else { wanted.sequences };
    let resent = desk.pump.resend(sequences).await?;
    Ok(Json(json!({ "resent": resent })).into_response())
}
