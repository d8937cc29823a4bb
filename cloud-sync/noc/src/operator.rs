//! What operators see: the pages, the API of gateways and records, and the stream that keeps them fresh. Nothing of it changes
//! anything; what does is in `cases` and `orders`. Everything is asked with the scope of whoever asks.

use crate::access::{Person, Scope};
use crate::console::{Console, Shared};
use crate::door::Caller;
use crate::feed::Change;
use crate::ledger::{Ledger, LedgerError, RecordRow};
use crate::openapi::Told;
use crate::presence::{Heard, LOST_AFTER};
use crate::refusal::Refusal;
use crate::seats::Seat;
use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, Request, State};
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::sse::{Event, KeepAlive};
use axum::response::{IntoResponse, Response, Sse};
use axum::routing::{MethodRouter, get};
use futures_util::{Stream, StreamExt, stream};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::convert::Infallible;
use std::time::Duration;
use tokio::sync::broadcast;
use vigil_cloud_sync::EventKind;
use vigil_core::time::Timestamp;
use vigil_listen::serve::stopped;

/// How often a silent stream says that it lives; proxies cut after 30 to 60 s.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// How often it is looked whether whoever follows a stream may still: somebody who is locked out sees no more than that.
const LOOK: Duration = Duration::from_secs(5);

/// How many rows are given unless asked, and at most: a page shows 200, and 1,000 alerts are about 1 MB.
const ROWS: u32 = 200;
const MAX_ROWS: u32 = 1_000;

/// Nothing is loaded from elsewhere or sent elsewhere, nothing runs that is not a file of ours, nobody frames the page.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
    img-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";

/// A file that is part of the program.
pub fn file(media: &'static str, text: &'static str) -> MethodRouter<Shared> {
    get(move || async move { ([(CONTENT_TYPE, media)], text) })
}

/// What answers where there is nothing.
pub async fn nothing() -> impl IntoResponse {
    Refused::Path
}

/// Says to browsers what pages of this server are.
pub async fn guarded(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers: [(HeaderName, &'static str); 4] = [
        (CONTENT_SECURITY_POLICY, POLICY),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "no-referrer"),
        (CACHE_CONTROL, "no-store"),
    ];
    for (name, value) in headers {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

/// Why something is not shown.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// A path of nothing.
    #[error("there is nothing here; see /openapi.json")]
    Path,
    /// Too many rows, or none.
    #[error("limit is a whole number from 1 to {MAX_ROWS}")]
    Limit,
    /// Every seat is taken.
    #[error("too many pages are open; close one")]
    Streams,
    /// The last write failed.
    #[error("nothing can be stored")]
    NothingStored,
    /// The ledger failed.
    #[error("the ledger cannot be read at the moment")]
    Ledger(#[from] LedgerError),
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let status = match &self {
            Self::Path => StatusCode::NOT_FOUND,
            Self::Limit => StatusCode::BAD_REQUEST,
            Self::Streams | Self::NothingStored => StatusCode::SERVICE_UNAVAILABLE,
            Self::Ledger(error) => {
                tracing::error!(%error, "the ledger cannot be read");
                StatusCode::SERVICE_UNAVAILABLE
            }
        };
        (status, Refusal::of(&self)).into_response()
    }
}

/// How much is asked for.
#[derive(Deserialize, JsonSchema)]
pub struct Page {
    /// How many rows.
    #[schemars(range(min = 1, max = MAX_ROWS), extend("default" = ROWS))]
    limit: Option<u32>,
}

/// A query that may be wrong.
type Asked = Result<Query<Page>, QueryRejection>;

fn limit(asked: Asked) -> Result<u32, Refused> {
    let limit = asked.map_err(|_| Refused::Limit)?.0.limit.unwrap_or(ROWS);
    if (1..=MAX_ROWS).contains(&limit) { Ok(limit) } else { Err(Refused::Limit) }
}

/// Every gateway, by name.
#[derive(Serialize, JsonSchema)]
struct Gateways {
    now: Timestamp,
    /// A gateway that says nothing else counts as lost after that.
    #[schemars(range(min = 0))]
    lost_after_secs: i64,
    gateways: Vec<Heard>,
}

/// `GET /api/gateways`
pub async fn gateways(State(console): State<Shared>, person: Person) -> Result<impl IntoResponse, Refused> {
    let scope = person.scope();
    let rows = console.room.clerk.ask(move |ledger| ledger.gateways(&scope)).await?;
    let now = (console.room.now)();
    let gateways = rows.into_iter().map(|row| Heard::at(now, row)).collect();
    Ok(Json(Gateways { now, lost_after_secs: LOST_AFTER.millis() / 1_000, gateways }))
}

#[derive(Serialize, JsonSchema)]
struct Records<T> {
    records: Vec<T>,
}

/// What the document says of it.
pub fn gateways_tell(told: &mut Told<'_>) {
    told.called("listGateways", "Every gateway, when it was last heard and what is missing");
    told.gives::<Gateways>(200, "Every gateway, by name.");
}

/// `GET /api/tours`
pub async fn tours(
    State(console): State<Shared>,
    person: Person,
    asked: Asked,
) -> Result<impl IntoResponse, Refused> {
    records(&console, person.scope(), asked, EventKind::Tour).await
}

/// What the document says of it.
pub fn tours_tell(told: &mut Told<'_>) {
    told.called("listTours", "The newest tour records");
    records_tell(told);
}

fn records_tell(told: &mut Told<'_>) {
    told.asks::<Page>();
    told.gives::<Records<RecordRow>>(200, "The records, the newest first.");
    told.refuses(400, &Refused::Limit.to_string());
}

/// `GET /api/days`
pub async fn reports(
    State(console): State<Shared>,
    person: Person,
    asked: Asked,
) -> Result<impl IntoResponse, Refused> {
    records(&console, person.scope(), asked, EventKind::Report).await
}

/// What the document says of it.
pub fn reports_tell(told: &mut Told<'_>) {
    told.called("listReports", "The newest reports");
    records_tell(told);
}

async fn records(
    console: &Console,
    scope: Scope,
    asked: Asked,
    kind: EventKind,
) -> Result<impl IntoResponse + use<>, Refused> {
    let limit = limit(asked)?;
    let records = console.room.clerk.ask(move |ledger| ledger.records(&scope, kind, limit)).await?;
    Ok(Json(Records { records }))
}

/// The ledger can be read.
#[derive(Serialize, JsonSchema)]
pub struct Health {
    #[schemars(extend("const" = "ok"))]
    status: &'static str,
}

impl Health {
    /// All is well.
    pub const OK: Self = Self { status: "ok" };
}

/// `GET /healthz`
pub async fn healthz(State(console): State<Shared>) -> Result<impl IntoResponse, Refused> {
    if !console.room.clerk.stores() {
        return Err(Refused::NothingStored);
    }
    console.room.clerk.ask(Ledger::is_well).await?;
    Ok(Json(Health::OK))
}

/// What the document says of it.
pub fn health_tells(told: &mut Told<'_>) {
    told.called(
        "health",
        "Whether the ledger can be read, its file is still there, and the last write succeeded",
    );
    told.more("On the gateways' listener the same path says whether the last write succeeded.");
    told.gives::<Health>(200, "It can.");
    told.refuses(503, "it cannot");
}

/// `GET /api/stream`
pub async fn stream_changes(
    State(console): State<Shared>,
    caller: Caller,
) -> Result<impl IntoResponse, Refused> {
    let seat = console.streams.take(&caller.person).ok_or(Refused::Streams)?;
    let scope = caller.person.scope();
    let changes = changes(console.room.feed.listen(), scope, seat)
        .take_until(Box::pin(stopped(console.room.stopping.clone())))
        .take_until(Box::pin(locked_out(console, caller)));
    Ok(Sse::new(changes).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)))
}

/// What the document says of it.
pub fn stream_tells(told: &mut Told<'_>) {
    told.called("followChanges", "Changes as they happen");
    told.more(
        "Server-sent events: hello (once, at the start), alert (an AlertRow), gateway (a GatewayRow), resync (the reader fell \
         behind: read everything anew). It ends with the session.",
    );
    told.gives_text(200, "text/event-stream", "The stream.");
    told.refuses(503, &Refused::Streams.to_string());
}

/// Ends when whoever follows the stream may not any more.
async fn locked_out(console: Shared, caller: Caller) {
    loop {
        tokio::time::sleep(LOOK).await;
        match caller.is_still_in(&console).await {
            Ok(true) => {}
            Ok(false) => return,
            Err(error) => tracing::error!(%error, "it cannot be said who may follow; trying again"),
        }
    }
}

fn changes(
    feed: broadcast::Receiver<Change>,
    scope: Scope,
    seat: Seat,
) -> impl Stream<Item = Result<Event, Infallible>> {
    let hello = stream::iter([Ok(Event::default().event("hello").data("{}"))]);
    let following = stream::unfold((feed, scope, seat), |(mut feed, scope, seat)| async {
        let event = loop {
            match feed.recv().await {
                Ok(change) if change.is_for(&scope) => {
                    break Event::default().event(change.event).data(change.data);
                }
                Ok(_of_another_tenant) => {}
                // The page fell behind: it reads everything anew.
                Err(broadcast::error::RecvError::Lagged(_)) => {
                    break Event::default().event("resync").data("{}");
                }
                Err(broadcast::error::RecvError::Closed) => return None,
            }
        };
        Some((Ok(event), (feed, scope, seat)))
    });
    hello.chain(following)
}
