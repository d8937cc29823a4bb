//! The journal, for `vigil backtest`: what it is worth, and a piece of it at a time. It is handed out as it is stored, so
//! that it costs the agent little; the rules are replayed by who asks. It holds positions: only a program on this machine
//! gets it.

use super::Desk;
use super::steps::refused;
use crate::pump::Stopping;
use crate::store::records::encode;
use axum::extract::{Extension, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use vigil_listen::{Peer, admit_from_here};

/// Where to go on; what the journal is worth, if that is not said.
#[derive(Debug, Deserialize)]
pub(super) struct Asked {
    from: Option<u64>,
}

/// `GET /api/v1/journal`
pub(super) async fn journal(
    State(desk): State<Arc<Desk>>,
    Extension(Peer(peer)): Extension<Peer>,
    Query(asked): Query<Asked>,
    headers: HeaderMap,
) -> Result<Response, Stopping> {
    if let Err(stranger) = admit_from_here(peer, &headers) {
        return Ok(refused(stranger.status(), &stranger.to_string()));
    }
    // One piece at a time: more askers wait, and hold no memory meanwhile.
    let _turn = desk.reading.lock().await;
    Ok(match asked.from {
        None => record(&desk.pump.opening().await?),
        Some(from) => record(&desk.pump.journal(from).await?),
    })
}

/// A record as the store writes it, so that who reads it sees whether it is whole and of the same version.
fn record<T: Serialize>(value: &T) -> Response {
    match encode(value) {
        Ok(bytes) => ([(header::CONTENT_TYPE, "application/octet-stream")], bytes).into_response(),
        Err(why) => refused(StatusCode::INTERNAL_SERVER_ERROR, &why.to_string()),
    }
}
