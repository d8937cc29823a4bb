//! What operators see: the pages, the API of gateways and records, and the stream that keeps them fresh. Nothing of it changes
//! anything; what does is in `cases` and `orders`.

use crate::clock::Now;
use crate::dress;
use crate::feed::{Change, Feed};
use crate::ledger::{Clerk, LedgerError};
use crate::presence::{Heard, LOST_AFTER};
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
use vigil_core::time::Timestamp;

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
