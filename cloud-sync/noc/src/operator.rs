//! What operators see: the pages, the API of gateways and records, and the stream that keeps them fresh. Nothing of it changes
//! anything; what does is in `cases` and `orders`.

use crate::clock::Now;
use crate::dress;
use crate::feed::{Change, Feed};
use crate::ledger::{Clerk, GatewayRow, LedgerError};
use crate::serve::stopped;
use crate::stand_in;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, Request, State};
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderValue, StatusCode};
use axum::middleware::{self, Next};
use axum::response::sse::{Event, KeepAlive};
use axum::response::{IntoResponse, Response, Sse};
use axum::routing::get;
use axum::{Json, Router};
use futures_util::{Stream, StreamExt, stream};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, broadcast, watch};
use vigil_cloud_sync::EventKind;
use vigil_core::time::{Span, Timestamp};

/// After that silence a gateway counts as lost: three heartbeats of 30 s.
pub const LOST_AFTER: Span = Span::from_secs(90);
/// The longest reporting time that is believed: a gateway must not declare itself present for a year.
const MAX_REPORTING_SECS: u32 = 3_600;

/// How many pages may be open: a control room has a dozen screens.
const MAX_STREAMS: usize = 64;

/// How often a silent stream says that it lives; proxies cut after 30 to 60 s.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// How many rows are given unless asked, and at most: a page shows 200, and 1,000 alerts are about 1 MB.
const ROWS: u32 = 200;
const MAX_ROWS: u32 = 1_000;

/// Nothing is loaded from elsewhere, nothing runs that is not a file of ours, nobody frames the page.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
    img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// What the operators' side needs.
pub struct Room {
    /// Where everything is.
    pub clerk: Clerk,
    /// What changes.
    pub feed: Feed,
    /// What time it is.
    pub now: Now,
    /// Turns true when the receiver stops, so that open streams end.
    pub stopping: watch::Receiver<bool>,
}

struct Console {
    room: Room,
    streams: Arc<Semaphore>,
}

type Here = State<Arc<Console>>;

/// The routes of the operators' side, with those that change something.
pub fn router(room: Room, changing: Router) -> Router {
    let console = Console { room, streams: Arc::new(Semaphore::new(MAX_STREAMS)) };
    let file =
        |media: &'static str, text: &'static str| get(move || async move { ([(CONTENT_TYPE, media)], text) });
    Router::new()
        .route("/", file("text/html; charset=utf-8", include_str!("../pages/index.html")))
        .route(
            "/alerts/{tenant}/{site}/{gateway}/{id}",
            file("text/html; charset=utf-8", include_str!("../pages/alert.html")),
        )
        .route("/alert.js", file("text/javascript; charset=utf-8", include_str!("../pages/alert.js")))
        .route("/pictures.js", file("text/javascript; charset=utf-8", include_str!("../pages/pictures.js")))
        .route("/filters.js", file("text/javascript; charset=utf-8", include_str!("../pages/filters.js")))
        .route("/tasks", file("text/html; charset=utf-8", include_str!("../pages/tasks.html")))
        .route("/tasks.js", file("text/javascript; charset=utf-8", include_str!("../pages/tasks.js")))
        .route("/noc.css", file("text/css; charset=utf-8", include_str!("../pages/noc.css")))
        .route("/noc.js", file("text/javascript; charset=utf-8", include_str!("../pages/noc.js")))
        .route("/vigil.css", file("text/css; charset=utf-8", dress::STYLE))
        .route("/vigil.js", file("text/javascript; charset=utf-8", dress::SCRIPT))
        .route("/icon.svg", file("image/svg+xml", dress::ICON))
        .route("/openapi.json", file("application/json", include_str!("../pages/openapi.json")))
        .route("/api/gateways", get(gateways))
        .route("/api/tours", get(|here: Here, asked: Asked| records(here, asked, EventKind::Tour)))
        .route("/api/reports", get(|here: Here, asked: Asked| records(here, asked, EventKind::Report)))
        .route("/api/stream", get(stream_changes))
        .route("/healthz", get(healthz))
        .with_state(Arc::new(console))
        .merge(changing)
        .fallback(|| async { Refused::Path })
        .layer(middleware::from_fn(stand_in::introduce))
        .layer(middleware::from_fn(guarded))
}

async fn guarded(request: Request, next: Next) -> Response {
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

#[derive(Debug, thiserror::Error)]
enum Refused {
    #[error("there is nothing here; see /openapi.json")]
    Path,
    #[error("limit is a whole number from 1 to {MAX_ROWS}")]
    Limit,
    #[error("too many pages are open; close one")]
    Streams,
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

#[derive(Deserialize)]
struct Page {
    limit: Option<u32>,
}

type Asked = Result<Query<Page>, QueryRejection>;

fn limit(asked: Asked) -> Result<u32, Refused> {
    let limit = asked.map_err(|_| Refused::Limit)?.0.limit.unwrap_or(ROWS);
    if (1..=MAX_ROWS).contains(&limit) { Ok(limit) } else { Err(Refused::Limit) }
}

/// A gateway as of now.
#[derive(Serialize)]
pub(crate) struct Heard {
    #[serde(flatten)]
    row: GatewayRow,
    silent_secs: Option<i64>,
    lost: bool,
}

impl Heard {
    pub(crate) fn at(now: Timestamp, row: GatewayRow) -> Self {
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

async fn gateways(State(console): Here) -> Result<impl IntoResponse, Refused> {
    let rows = console.room.clerk.ask(|ledger| ledger.gateways()).await?;
    let now = (console.room.now)();
    let gateways = rows.into_iter().map(|row| Heard::at(now, row)).collect();
    Ok(Json(Gateways { now, lost_after_secs: LOST_AFTER.millis() / 1_000, gateways }))
}

#[derive(Serialize)]
struct Records<T> {
    records: Vec<T>,
}

async fn records(State(console): Here, asked: Asked, kind: EventKind) -> Result<impl IntoResponse, Refused> {
    let limit = limit(asked)?;
    let records = console.room.clerk.ask(move |ledger| ledger.records(kind, limit)).await?;
    Ok(Json(Records { records }))
}

async fn healthz(State(console): Here) -> Result<impl IntoResponse, Refused> {
    console.room.clerk.ask(|ledger| ledger.alerts(1)).await?;
    Ok(Json(json!({"status": "ok"})))
}

async fn stream_changes(State(console): Here) -> Result<impl IntoResponse, Refused> {
    let seat = Arc::clone(&console.streams).try_acquire_owned().map_err(|_| Refused::Streams)?;
    let changes = changes(console.room.feed.listen(), seat)
        .take_until(Box::pin(stopped(console.room.stopping.clone())));
    Ok(Sse::new(changes).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)))
}

fn changes(
    feed: broadcast::Receiver<Change>,
    seat: OwnedSemaphorePermit,
) -> impl Stream<Item = Result<Event, Infallible>> {
    let hello = stream::iter([Ok(Event::default().event("hello").data("{}"))]);
    let following = stream::unfold((feed, seat), |(mut feed, seat)| async {
        let event = match feed.recv().await {
            Ok(change) => Event::default().event(change.event).data(change.data),
            // The page fell behind: it reads everything anew.
            Err(broadcast::error::RecvError::Lagged(_)) => Event::default().event("resync").data("{}"),
            Err(broadcast::error::RecvError::Closed) => return None,
        };
        Some((Ok(event), (feed, seat)))
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
