//! `/api/gateways/{gateway}/commands`: operators tell a gateway what to do, and see what became of it.

use crate::admission::{Stranger, admit};
use crate::clock::Now;
use crate::ledger::{Clerk, CommandRow, LedgerError, MAX_WAITING, NewCommand, Queued};
use crate::serve::Peer;
use axum::body::Bytes;
use axum::extract::rejection::QueryRejection;
use axum::extract::{DefaultBodyLimit, Extension, Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use ring::rand::{SecureRandom, SystemRandom};
use serde::{Deserialize, Serialize};
use serde_json::json;
use serde_json::value::RawValue;
use std::sync::Arc;
use vigil_cloud_sync::Origin;
use vigil_cloud_sync::commands::{MAX_KIND_CHARS, is_reserved};
use vigil_core::id::CommandId;

/// The largest command: a note of a thousand characters, whatever they are, with everything around it. So a command
/// always fits an answer.
const MAX_COMMAND_BYTES: usize = 16 * 1024;

/// How many rows are given unless asked, and at most: what may wait twice over.
const ROWS: u32 = 100;
const MAX_ROWS: u32 = 1_000;

/// What the ordering side needs.
#[derive(Clone)]
pub struct Ordering {
    /// Who can be told something.
    pub gateways: Arc<[Origin]>,
    /// Where it goes.
    pub clerk: Clerk,
    /// What time it is.
    pub now: Now,
}

/// The route of the ordering side.
pub fn router(ordering: Ordering) -> Router {
    let commands = get(list).post(queue).layer(DefaultBodyLimit::max(MAX_COMMAND_BYTES));
    Router::new().route("/api/gateways/{gateway}/commands", commands).with_state(ordering)
}

/// Why a request is refused.
#[derive(Debug, thiserror::Error)]
enum Refused {
    #[error(transparent)]
    Stranger(#[from] Stranger),
    #[error("gateway: 1 to 64 characters of A-Z a-z 0-9 . _ - are allowed")]
    NoId,
    #[error("there is no gateway {0}; see /api/gateways")]
    Unknown(String),
    #[error("there are {1} gateways {0}; say whose with tenant= and site=")]
    Ambiguous(String, usize),
    #[error("limit is a whole number from 1 to {MAX_ROWS}, tenant and site are ids")]
    Query,
    #[error("{0}; {{\"id\", \"type\", \"data\"}} is expected, and id may be left out")]
    Body(serde_json::Error),
    #[error("found a list; {{\"id\", \"type\", \"data\"}} is expected, and id may be left out")]
    NoObject,
    #[error("id: names that begin with local- or seq- are the gateway's own")]
    Reserved,
    #[error("type: 1 to {MAX_KIND_CHARS} characters of a-z 0-9 . _ - are allowed")]
    Kind,
    #[error("data: an object is expected")]
    Data,
    #[error("the id is that of another command")]
    Taken,
    #[error("{MAX_WAITING} commands wait for this gateway already; it has not fetched them")]
    Full,
    #[error("no random number can be had for an id; give one")]
    Random,
    #[error("the ledger cannot be used at the moment")]
    Ledger(#[from] LedgerError),
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let status = match &self {
            Self::Stranger(stranger) => stranger.status(),
            Self::NoId
            | Self::Query
            | Self::Body(_)
            | Self::NoObject
            | Self::Reserved
            | Self::Kind
            | Self::Data => StatusCode::BAD_REQUEST,
            Self::Unknown(_) => StatusCode::NOT_FOUND,
            Self::Ambiguous(..) | Self::Taken | Self::Full => StatusCode::CONFLICT,
            Self::Random => StatusCode::SERVICE_UNAVAILABLE,
            Self::Ledger(error) => {
                tracing::error!(%error, "commands cannot be queued or shown");
                StatusCode::SERVICE_UNAVAILABLE
            }
        };
        (status, Json(json!({"error": self.to_string()}))).into_response()
    }
}

/// Which gateway, where its id alone does not say, and how much is to be shown of it.
#[derive(Debug, Default, Deserialize)]
struct Whose {
    tenant: Option<String>,
    site: Option<String>,
    limit: Option<u32>,
}

type Asked = Result<Query<Whose>, QueryRejection>;

/// A command as an operator gives it.
#[derive(Deserialize)]
struct Given {
    #[serde(default)]
    id: Option<CommandId>,
    r#type: String,
    data: Box<RawValue>,
}

#[derive(Serialize)]
struct Commands {
    commands: Vec<CommandRow>,
}

async fn queue(
    State(ordering): State<Ordering>,
    Extension(Peer(peer)): Extension<Peer>,
    Path(gateway): Path<String>,
    asked: Asked,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Refused> {
    admit(peer, &headers)?;
    let origin = ordering.gateway(&gateway, &asked.map_err(|_| Refused::Query)?.0)?;
    let new = checked(&body)?;
    let (addressee, now) = (origin.clone(), (ordering.now)());
    let kind = new.kind.clone();
    match ordering.clerk.ask(move |ledger| ledger.queue(&addressee, &new, now)).await? {
        Queued::New(row) => {
            tracing::info!(%gateway, id = %row.command.id, %kind, "a command waits for its gateway");
            Ok((StatusCode::CREATED, Json(row)).into_response())
        }
        Queued::Known(row) => Ok(Json(row).into_response()),
        Queued::Taken => Err(Refused::Taken),
        Queued::Full => Err(Refused::Full),
    }
}

async fn list(
    State(ordering): State<Ordering>,
    Path(gateway): Path<String>,
    asked: Asked,
) -> Result<impl IntoResponse, Refused> {
    let whose = asked.map_err(|_| Refused::Query)?.0;
    let limit = whose.limit.unwrap_or(ROWS);
    if !(1..=MAX_ROWS).contains(&limit) {
        return Err(Refused::Query);
    }
    let origin = ordering.gateway(&gateway, &whose)?;
    let commands = ordering.clerk.ask(move |ledger| ledger.commands(&origin, limit)).await?;
    Ok(Json(Commands { commands }))
}

impl Ordering {
    /// The one gateway that is meant.
    fn gateway(&self, id: &str, whose: &Whose) -> Result<Origin, Refused> {
        vigil_core::id::GatewayId::new(id).map_err(|_| Refused::NoId)?;
        let is = |asked: &Option<String>, known: &str| asked.as_deref().is_none_or(|asked| asked == known);
        let meant = |origin: &&Origin| {
            origin.gateway.as_str() == id
                && is(&whose.tenant, origin.tenant.as_str())
                && is(&whose.site, origin.site.as_str())
        };
        let found: Vec<&Origin> = self.gateways.iter().filter(meant).collect();
        match found.as_slice() {
            [] => Err(Refused::Unknown(id.to_owned())),
            [one] => Ok((*one).clone()),
            several => Err(Refused::Ambiguous(id.to_owned(), several.len())),
        }
    }
}

/// A command that a gateway can be told. Whether it can carry it out is for the gateway to say.
fn checked(body: &[u8]) -> Result<NewCommand, Refused> {
    let Given { id, r#type: kind, data } = serde_json::from_slice(body).map_err(Refused::Body)?;
    // A list would be taken for the fields in their order.
    if !body.trim_ascii_start().starts_with(b"{") {
        return Err(Refused::NoObject);
    }
    let legal = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'_' | b'-');
    if !(1..=MAX_KIND_CHARS).contains(&kind.len()) || !kind.bytes().all(legal) {
        return Err(Refused::Kind);
    }
    if !data.get().starts_with('{') {
        return Err(Refused::Data);
    }
    let id = match id {
        Some(id) if is_reserved(&id) => return Err(Refused::Reserved),
        Some(id) => id,
        None => made_up().ok_or(Refused::Random)?,
    };
    Ok(NewCommand { id, kind, data })
}

/// An id that nobody else has; none, if no random number can be had.
pub(crate) fn made_up() -> Option<CommandId> {
    let mut bytes = [0; 16];
    SystemRandom::new().fill(&mut bytes).ok()?;
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    CommandId::new(&format!("c-{hex}")).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn why(body: &str) -> String {
        checked(body.as_bytes()).map_or_else(|refused| refused.to_string(), |new| new.id.to_string())
    }

    #[test]
    fn a_command_needs_a_type_and_an_object() {
        assert_eq!(why(r#"{"id":"c-1","type":"task.cancel","data":{"task":"T-1"}}"#), "c-1");
        let made = why(r#"{"type":"bundle.refresh","data":{}}"#);
        assert!(made.len() == 34 && made != why(r#"{"type":"bundle.refresh","data":{}}"#), "{made}");
        let table = [
            ("", "EOF"),
            ("[]", "expected"),
            (r#"["c-1","task.cancel",{"task":"T-1"}]"#, "found a list"),
            (r#"{"type":"x"}"#, "missing field `data`"),
            (r#"{"data":{}}"#, "missing field `type`"),
            (r#"{"id":"c 1","type":"x","data":{}}"#, "is not an id"),
            (r#"{"id":"local-1","type":"x","data":{}}"#, "the gateway's own"),
            (r#"{"type":"","data":{}}"#, "type: 1 to 64"),
            (r#"{"type":"Alert Status","data":{}}"#, "type: 1 to 64"),
            (r#"{"type":"x","data":[]}"#, "an object is expected"),
        ];
        for (body, part) in table {
            assert!(why(body).contains(part), "{body}: {}", why(body));
        }
    }
}
