//! What operators see: one page, its API and the stream that keeps it fresh. Nothing of it changes anything; what does is
//! in `orders`. Everything is asked with the scope of whoever asks.

use crate::access::{Person, Scope};
use crate::console::{Console, Shared};
use crate::door::Caller;
use crate::feed::Change;
use crate::ledger::{GatewayRow, LedgerError};
use crate::serve::stopped;
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
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, broadcast};
use vigil_cloud_sync::EventKind;
use vigil_core::time::{Span, Timestamp};

/// After that silence a gateway counts as lost: three heartbeats of 30 s.
pub const LOST_AFTER: Span = Span::from_secs(90);
/// The longest reporting time that is believed: a gateway must not declare itself present for a year.
const MAX_REPORTING_SECS: u32 = 3_600;

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
    /// The ledger failed.
    #[error("the ledger cannot be read at the moment")]
    Ledger(#[from] LedgerError),
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let status = match &self {
            Self::Path => StatusCode::NOT_FOUND,
            Self::Limit => StatusCode::BAD_REQUEST,
            Self::Streams => StatusCode::SERVICE_UNAVAILABLE,
            Self::Ledger(error) => {
                tracing::error!(%error, "the ledger cannot be read");
                StatusCode::SERVICE_UNAVAILABLE
            }
        };
        (status, Json(json!({"error": self.to_string()}))).into_response()
    }
}

/// How much is asked for.
#[derive(Deserialize)]
pub struct Page {
    limit: Option<u32>,
}

/// A query that may be wrong.
type Asked = Result<Query<Page>, QueryRejection>;

fn limit(asked: Asked) -> Result<u32, Refused> {
    let limit = asked.map_err(|_| Refused::Limit)?.0.limit.unwrap_or(ROWS);
    if (1..=MAX_ROWS).contains(&limit) { Ok(limit) } else { Err(Refused::Limit) }
}

/// A gateway as of now.
#[derive(Serialize)]
struct Heard {
    #[serde(flatten)]
    row: GatewayRow,
    silent_secs: Option<i64>,
    lost: bool,
}

impl Heard {
    fn at(now: Timestamp, row: GatewayRow) -> Self {
        let silence = row.last_heard_at.map(|at| now.since(at).max(Span::ZERO));
        let lost = silence.is_none_or(|silence| silence > patience(&row));
        Self { row, silent_secs: silence.map(|s| s.millis() / 1_000), lost }
    }
}

/// How long a gateway may be silent: three times what it declares to be its reporting time, and not less than usual.
fn patience(row: &GatewayRow) -> Span {
    #[derive(Deserialize)]
    struct Declared {
        reports_every_secs: u32,
    }
    let declared = row.health.as_ref().and_then(|h| serde_json::from_str::<Declared>(h.get()).ok());
    let secs = declared.map_or(0, |d| i64::from(d.reports_every_secs.min(MAX_REPORTING_SECS)));
    LOST_AFTER.max(Span::from_secs(3 * secs))
}

#[derive(Serialize)]
struct Gateways {
    now: Timestamp,
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

#[derive(Serialize)]
struct Alerts<T> {
    alerts: Vec<T>,
}

/// `GET /api/alerts`
pub async fn alerts(
    State(console): State<Shared>,
    person: Person,
    asked: Asked,
) -> Result<impl IntoResponse, Refused> {
    let (limit, scope) = (limit(asked)?, person.scope());
    let alerts = console.room.clerk.ask(move |ledger| ledger.alerts(&scope, limit)).await?;
    Ok(Json(Alerts { alerts }))
}

#[derive(Serialize)]
struct Records<T> {
    records: Vec<T>,
}

/// `GET /api/tours`
pub async fn tours(
    State(console): State<Shared>,
    person: Person,
    asked: Asked,
) -> Result<impl IntoResponse, Refused> {
    records(&console, person.scope(), asked, EventKind::Tour).await
}

/// `GET /api/reports`
pub async fn reports(
    State(console): State<Shared>,
    person: Person,
    asked: Asked,
) -> Result<impl IntoResponse, Refused> {
    records(&console, person.scope(), asked, EventKind::Report).await
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

/// `GET /healthz`
pub async fn healthz(State(console): State<Shared>) -> Result<impl IntoResponse, Refused> {
    console.room.clerk.ask(|ledger| ledger.alerts(&Scope::whole(), 1)).await?;
    Ok(Json(json!({"status": "ok"})))
}

/// `GET /api/stream`
pub async fn stream_changes(
    State(console): State<Shared>,
    caller: Caller,
) -> Result<impl IntoResponse, Refused> {
    let seat = Arc::clone(&console.streams).try_acquire_owned().map_err(|_| Refused::Streams)?;
    let scope = caller.person.scope();
    let changes = changes(console.room.feed.listen(), scope, seat)
        .take_until(Box::pin(stopped(console.room.stopping.clone())))
        .take_until(Box::pin(locked_out(console, caller)));
    Ok(Sse::new(changes).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)))
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
    seat: OwnedSemaphorePermit,
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

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(silent_ms: Option<i64>) -> (Option<i64>, bool) {
        declaring(silent_ms, None)
    }

    fn declaring(silent_ms: Option<i64>, health: Option<&str>) -> (Option<i64>, bool) {
        let now = Timestamp::from_millis(1_773_160_000_000);
        let row = GatewayRow {
            tenant: "acme".into(),
            site: "plant-7".into(),
            gateway: "gw-1".into(),
            last_heard_at: silent_ms.map(|ms| now - Span::from_millis(ms)),
            highest_sequence: None,
            missing: 0,
            reused: 0,
            holes: vec![],
            health: health.map(|h| serde_json::value::RawValue::from_string(h.to_owned()).unwrap()),
        };
        let heard = Heard::at(now, row);
        (heard.silent_secs, heard.lost)
    }

    #[test]
    fn a_gateway_is_lost_after_ninety_seconds_of_silence() {
        assert_eq!(heard(Some(90_000)), (Some(90), false));
        assert_eq!(heard(Some(90_001)), (Some(90), true));
        assert_eq!(heard(None), (None, true));
        assert_eq!(heard(Some(-5_000)), (Some(0), false), "a clock that was set back");
    }

    #[test]
    fn a_gateway_that_declares_a_longer_reporting_time_is_waited_for() {
        let lost = |silent_secs: i64, health| declaring(Some(silent_secs * 1_000), Some(health)).1;
        let slow = r#"{"reports_every_secs":60}"#;
        assert_eq!((lost(180, slow), lost(181, slow)), (false, true));
        assert_eq!((lost(90, r#"{"reports_every_secs":5}"#), lost(91, "{}")), (false, true));
        assert!(lost(10_801, r#"{"reports_every_secs":4000000000}"#), "an hour is believed, and no more");
    }
}
