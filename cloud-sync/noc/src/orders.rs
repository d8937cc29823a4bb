//! `/api/gateways/{gateway}/commands`: operators tell a gateway what to do, and see what became of it.

use crate::access::{Person, Scope, secret};
use crate::console::{Console, Shared};
use crate::door::{Caller, Key};
use crate::ledger::{CommandRow, LedgerError, MAX_WAITING, NewCommand, Queued};
use crate::openapi::{Passed, Told};
use crate::refusal::Refusal;
use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::QueryRejection;
use axum::extract::{DefaultBodyLimit, Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::MethodRouter;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;
use vigil_cloud_sync::Origin;
use vigil_cloud_sync::commands::{MAX_KIND_CHARS, is_reserved};
use vigil_core::id::CommandId;
use vigil_listen::admission::{Stranger, is_json};

/// The largest command: a note of a thousand characters, whatever they are, with everything around it. So a command
/// always fits an answer.
const MAX_COMMAND_BYTES: usize = 16 * 1024;

/// The command that says where an alert stands.
const STATUS: &str = "alert.status";

/// How many rows are given unless asked, and at most: what may wait twice over.
const ROWS: u32 = 100;
const MAX_ROWS: u32 = 1_000;

/// Takes no more than a command.
pub fn small(route: MethodRouter<Shared>) -> MethodRouter<Shared> {
    route.layer(DefaultBodyLimit::max(MAX_COMMAND_BYTES))
}

/// Why a request is refused.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refused {
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
        (status, Refusal::of(&self)).into_response()
    }
}

/// Which gateway, where its id alone does not say.
#[derive(Debug, Default, Deserialize, JsonSchema)]
pub(crate) struct Whose {
    /// Whose, if several gateways have that id.
    tenant: Option<String>,
    /// Where, if several gateways have that id.
    site: Option<String>,
}

/// The same, and how much is to be shown of it.
#[derive(Debug, Default, Deserialize, JsonSchema)]
pub(crate) struct Listed {
    /// Whose, if several gateways have that id.
    tenant: Option<String>,
    /// Where, if several gateways have that id.
    site: Option<String>,
    /// How many rows .
    #[schemars(range(min = 1, max = MAX_ROWS), extend("default" = ROWS))]
    limit: Option<u32>,
}

type Asked<T> = Result<Query<T>, QueryRejection>;

/// A command as an operator gives it.
#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "NewCommand")]
struct Given {
    /// Made if it is left out; must not begin with `local-` or `seq-`.
    #[serde(default)]
    id: Option<CommandId>,
    /// Like `alert.status`, `task.upsert` or `task.cancel`; whether it can be carried out is for the gateway to say.
    #[schemars(regex(pattern = "^[a-z0-9._-]{1,64}$"))]
    r#type: String,
    #[schemars(with = "Passed")]
    data: Box<RawValue>,
}

#[derive(Serialize, JsonSchema)]
struct Commands {
    commands: Vec<CommandRow>,
}

/// `POST /api/gateways/{gateway}/commands`
pub(crate) async fn queue(
    State(console): State<Shared>,
    caller: Caller,
    Path(gateway): Path<String>,
    asked: Asked<Whose>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Refused> {
    is_json(&headers)?;
    let whose = asked.map_err(|_| Refused::Query)?.0;
    let origin = meant(&console, caller.person.scope(), &gateway, &whose).await?;
    let new = signed(checked(&body)?, &caller)?;
    let (actor, now, kind) = (caller.actor(), (console.room.now)(), new.kind.clone());
    match console.room.clerk.ask(move |ledger| ledger.queue(&actor, &origin, &new, now)).await? {
        Queued::New(row) => {
            tracing::info!(%gateway, id = %row.command.id, %kind, by = %caller.person.name, "a command waits for its gateway");
            Ok((StatusCode::CREATED, Json(row)).into_response())
        }
        Queued::Known(row) => Ok(Json(row).into_response()),
        Queued::Taken => Err(Refused::Taken),
        Queued::Full => Err(Refused::Full),
    }
}

/// What the document says of it.
pub(crate) fn queue_tells(told: &mut Told<'_>) {
    told.called("giveCommand", "Tell a gateway to do something");
    told.more("The same command under the same id is queued once. A person signs what is said of an alert; a program may name whom it speaks for.");
    told.asks::<Whose>();
    told.takes::<Given>(&format!("The command, at most {MAX_COMMAND_BYTES} bytes."));
    told.gives::<CommandRow>(200, "It was there before.");
    told.gives::<CommandRow>(201, "It waits for its gateway, on stable storage.");
    told.refuses(400, "it is no command, or the query makes no sense");
    told.refuses(404, "there is no such gateway");
    told.refuses(409, &format!("several gateways have that id, {MAX_WAITING} commands wait already, or the command's id is that of another one"));
    told.refuses(413, &format!("the command has more than {MAX_COMMAND_BYTES} bytes"));
    told.refuses(415, "Content-Type is not application/json");
    told.refuses(503, &Refused::Random.to_string());
}

/// What the document says of the list.
pub(crate) fn list_tells(told: &mut Told<'_>) {
    told.called("listCommands", "The latest commands of a gateway, and what became of them");
    told.asks::<Listed>();
    told.gives::<Commands>(200, "The commands, the newest first.");
    told.refuses(400, "the gateway is no id, or limit out of its bounds");
    told.refuses(404, "there is no such gateway");
    told.refuses(409, "several gateways have that id");
}

/// `GET /api/gateways/{gateway}/commands`
pub(crate) async fn list(
    State(console): State<Shared>,
    person: Person,
    Path(gateway): Path<String>,
    asked: Asked<Listed>,
) -> Result<impl IntoResponse, Refused> {
    let Listed { tenant, site, limit } = asked.map_err(|_| Refused::Query)?.0;
    let (whose, limit) = (Whose { tenant, site }, limit.unwrap_or(ROWS));
    if !(1..=MAX_ROWS).contains(&limit) {
        return Err(Refused::Query);
    }
    let scope = person.scope();
    let origin = meant(&console, scope.clone(), &gateway, &whose).await?;
    let commands = console.room.clerk.ask(move |ledger| ledger.commands(&scope, &origin, limit)).await?;
    Ok(Json(Commands { commands }))
}

/// The one gateway that is meant, of those that may be seen.
async fn meant(console: &Console, scope: Scope, id: &str, whose: &Whose) -> Result<Origin, Refused> {
    vigil_core::id::GatewayId::new(id).map_err(|_| Refused::NoId)?;
    let name = id.to_owned();
    let named = console.room.clerk.ask(move |ledger| ledger.gateways_named(&scope, &name)).await?;
    let is = |asked: &Option<String>, known: &str| asked.as_deref().is_none_or(|asked| asked == known);
    let meant =
        |origin: &&Origin| is(&whose.tenant, origin.tenant.as_str()) && is(&whose.site, origin.site.as_str());
    let mut found: Vec<&Origin> = named.iter().filter(meant).collect();
    // One that was moved is still known where it stood; one that comes in here goes before it.
    let comes_in_here = |origin: &&Origin| console.room.listed.contains(origin);
    if found.iter().any(comes_in_here) {
        found.retain(comes_in_here);
    }
    match found.as_slice() {
        [] => Err(Refused::Unknown(id.to_owned())),
        [one] => Ok((*one).clone()),
        several => Err(Refused::Ambiguous(id.to_owned(), several.len())),
    }
}

/// What is said of an alert is said by whoever is logged in, whatever the body claims. A program speaks for people whom it knows,
/// and may name them; the log has the program.
fn signed(new: NewCommand, caller: &Caller) -> Result<NewCommand, Refused> {
    if new.kind != STATUS || matches!(caller.key, Key::Token(_)) {
        return Ok(new);
    }
    let mut data: serde_json::Map<String, Value> =
        serde_json::from_str(new.data.get()).map_err(Refused::Body)?;
    data.insert("by".to_owned(), Value::String(caller.person.name.clone()));
    let data = serde_json::value::to_raw_value(&data).map_err(Refused::Body)?;
    Ok(NewCommand { data, ..new })
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
    let hex: String = secret::made().ok()?.chars().take(32).collect();
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
