//! The gateway's own page, its local API, `/healthz` and `/metrics`. Loopback unless configured otherwise; whatever changes
//! something is taken from this machine only (`steps`), and so is the question for the journal.

mod asked;
mod journal;
mod letters;
mod metrics;
mod reports;
mod runs;
mod status;
mod steps;

pub use status::{SourceState, Status};

use crate::bundles::Standing;
use crate::clock::Clock;
use crate::pump::{Known, PumpHandle, Stopping};
use crate::sources::broker::BrokerHandle;
use crate::sources::recall::Recall;
use crate::sources::serial::LineState;
use crate::uplink::Ways;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use futures_util::stream::{self, Stream};
use serde::Serialize;
use serde_json::json;
use std::collections::BTreeSet;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Mutex, watch};
use tokio::time::Instant;
use vigil_core::alert::{Alert, AlertId};
use vigil_core::id::GatewayId;
use vigil_listen::dress;

/// A page follows the night, not every message: people do not read faster.
const AT_MOST_EVERY: Duration = Duration::from_secs(1);
/// Windows move and deadlines pass even when nothing comes in.
const AT_LEAST_EVERY: Duration = Duration::from_secs(5);
/// How old a status may be: less than a person notices.
const FRESH: Duration = Duration::from_millis(250);
/// A pump that does not answer in this time is stuck.
const HEALTHY_WITHIN: Duration = Duration::from_secs(2);
/// It lives, and cannot say what time it is.
const UNSET: &str = "ok, but the clock is not set: what needs the time of day waits\n";
/// No script, style or picture but our own; nobody may frame the page.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
     img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Where the page gets what it shows.
#[derive(Debug, Clone)]
pub struct Desk {
    /// Which gateway this is.
    pub gateway: GatewayId,
    /// The engine and the store.
    pub pump: PumpHandle,
    /// How the ways to the receiver are; `None` if none is configured.
    pub uplink: Option<Ways>,
    /// The agent's clock.
    pub clock: Clock,
    /// How the source of messages is.
    pub source: watch::Receiver<SourceState>,
    /// How the serial lines are.
    pub serial: Vec<watch::Receiver<LineState>>,
    /// What the sources know of how foreign devices are set up.
    pub recall: Recall,
    /// How it stands with site bundles; `None` if none can be taken.
    pub bundle: Option<watch::Receiver<Standing>>,
    /// The broker inside, if messages come in through it.
    pub broker: Option<BrokerHandle>,
    /// True when the agent stops: open streams end.
    pub stopping: watch::Receiver<bool>,
    /// The latest status: a hundred open pages must not ask the pump a hundred times a second.
    pub glance: Arc<Mutex<Glance>>,
    /// Held by who reads a piece of the journal.
    pub reading: Arc<Mutex<()>>,
}

/// A status, and when it was taken.
pub type Glance = Option<(Instant, Arc<Status>)>;

impl Desk {
    /// The status as of now, or as of a moment ago.
    async fn status(&self) -> Result<Arc<Status>, Stopping> {
        let mut glance = self.glance.lock().await;
        if let Some((_, status)) = glance.as_ref().filter(|(taken, _)| taken.elapsed() < FRESH) {
            return Ok(Arc::clone(status));
        }
        let status = match tokio::time::timeout(HEALTHY_WITHIN, Status::of(self)).await {
            Ok(status) => status?,
            // A pump that is stuck answers nobody: what it said last is shown, with that.
            Err(_) => {
                let (_, last) = glance.as_ref().ok_or(Stopping)?;
                let stuck_secs = Some(self.pump.pulse().busy_for().as_secs());
                Status { stuck_secs, ..Status::clone(last) }
            }
        };
        let status = Arc::new(status);
        *glance = Some((Instant::now(), Arc::clone(&status)));
        Ok(status)
    }
}

/// Everything that the agent serves over HTTP.
pub fn router(desk: Desk) -> Router {
    let desk = Arc::new(desk);
    let file = |kind, text| get(move || page(kind, text));
    Router::new()
        .route("/", file("text/html; charset=utf-8", include_str!("pages/index.html")))
        .route("/gateway.css", file("text/css; charset=utf-8", include_str!("pages/gateway.css")))
        .route("/gateway.js", file("text/javascript; charset=utf-8", include_str!("pages/gateway.js")))
        .route("/vigil.css", file("text/css; charset=utf-8", dress::STYLE))
        .route("/vigil.js", file("text/javascript; charset=utf-8", dress::SCRIPT))
        .route("/icon.svg", file("image/svg+xml", dress::ICON))
        .route("/api/status", get(status_now))
        .route("/api/alerts", get(alerts))
        .route("/api/v1/reports", get(reports::reports))
        .route("/api/v1/ranking", get(reports::guards))
        .route("/api/runs", get(runs::runs))
        .route("/api/v1/journal", get(journal::journal))
        .route("/api/refused", get(refused))
        .route("/api/unknown-tags", get(unknown_tags))
        .route("/api/dead-letters", get(letters::letters))
        .route(
            "/api/v1/dead-letters/resend",
            post(letters::resend).layer(DefaultBodyLimit::max(letters::MAX_BYTES)),
        )
        .route("/api/stream", get(stream_status))
        .route(
            "/api/v1/alerts/{id}/status",
            post(steps::take).layer(DefaultBodyLimit::max(steps::MAX_STEP_BYTES)),
        )
        .route("/healthz", get(healthz))
        .route("/metrics", get(metrics_now))
        .layer(middleware::from_fn_with_state(Arc::clone(&desk), unless_out_of_order))
        .with_state(desk)
}

async fn page(kind: &'static str, text: &'static str) -> impl IntoResponse {
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static(kind)),
        (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(CONTENT_SECURITY_POLICY)),
        (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
        (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
    ];
    (headers, text)
}

impl IntoResponse for Stopping {
    fn into_response(self) -> Response {
        (StatusCode::SERVICE_UNAVAILABLE, Json(json!({"error": self.to_string()}))).into_response()
    }
}

async fn status_now(State(desk): State<Arc<Desk>>) -> Result<Response, Stopping> {
    Ok(Json(&*desk.status().await?).into_response())
}

/// An alert, and what it is worth while the store is out of order.
#[derive(Serialize)]
struct Shown<'a> {
    /// It is as it stood when the store failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    stale: Option<bool>,
    /// Somebody was told of it, and it is not stored yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    stored: Option<bool>,
    #[serde(flatten)]
    alert: &'a Alert,
}

impl<'a> Shown<'a> {
    fn of(alert: &'a Alert, unstored: Option<&BTreeSet<AlertId>>) -> Self {
        let stored = unstored.map(|unstored| !unstored.contains(&alert.id));
        Self { stale: unstored.map(|_| true), stored, alert }
    }
}

async fn alerts(State(desk): State<Arc<Desk>>) -> Result<Response, Stopping> {
    let Known { alerts, unstored } = desk.pump.alerts().await?;
    let shown: Vec<Shown<'_>> = alerts.iter().map(|alert| Shown::of(alert, unstored.as_ref())).collect();
    Ok(Json(shown).into_response())
}

async fn refused(State(desk): State<Arc<Desk>>) -> Result<Response, Stopping> {
    Ok(Json(desk.pump.refused().await?).into_response())
}

async fn unknown_tags(State(desk): State<Arc<Desk>>) -> Result<Response, Stopping> {
    Ok(Json(desk.pump.stock().await?.strays).into_response())
}

async fn healthz(State(desk): State<Arc<Desk>>) -> (StatusCode, String) {
    let ill = |why: String| (StatusCode::SERVICE_UNAVAILABLE, why);
    match tokio::time::timeout(HEALTHY_WITHIN, desk.pump.stock()).await {
        Ok(Err(Stopping)) => ill("stopping\n".to_owned()),
        Ok(Ok(_)) => match desk.pump.outage() {
            Some(outage) => ill(format!("{outage}\n")),
            None => (StatusCode::OK, if desk.clock.is_set() { "ok\n" } else { UNSET }.to_owned()),
        },
        Err(_) => match desk.pump.pulse().stuck_for() {
            Some(stuck) => {
                ill(format!("the disk is stuck: the store has not answered for {} s\n", stuck.as_secs()))
            }
            None => ill("the store does not answer\n".to_owned()),
        },
    }
}

/// Everything of the API but what the pump answers as things stood.
fn needs_the_store(path: &str) -> bool {
    path.starts_with("/api/") && !matches!(path, "/api/status" | "/api/stream" | "/api/alerts")
}

/// What only the store knows has no answer while it is out of order; who asks is told why.
async fn unless_out_of_order(State(desk): State<Arc<Desk>>, request: Request, next: Next) -> Response {
    match desk.pump.outage().filter(|_| needs_the_store(request.uri().path())) {
        Some(outage) => {
            (StatusCode::SERVICE_UNAVAILABLE, Json(json!({"error": outage.to_string()}))).into_response()
        }
        None => next.run(request).await,
    }
}

async fn metrics_now(State(desk): State<Arc<Desk>>) -> Result<Response, Stopping> {
    let text = metrics::text(&*desk.status().await?);
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    Ok(match text {
        Ok(text) => ([(header::CONTENT_TYPE, kind)], text).into_response(),
        Err(why) => (StatusCode::INTERNAL_SERVER_ERROR, why.to_string()).into_response(),
    })
}

async fn stream_status(State(desk): State<Arc<Desk>>) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let changes = desk.pump.changes();
    let start = (desk, changes, false);
    let events = stream::unfold(start, |(desk, mut changes, waits)| async move {
        if waits {
            tokio::time::sleep(AT_MOST_EVERY).await;
            let mut stopping = desk.stopping.clone();
            tokio::select! {
                _ = tokio::time::timeout(AT_LEAST_EVERY, changes.changed()) => {}
                _ = stopping.wait_for(|stopping| *stopping) => return None,
            }
        }
        let status = desk.status().await.ok()?;
        let event = Event::default().event("status").json_data(&*status).ok()?;
        Some((Ok(event), (desk, changes, true)))
    });
    Sse::new(events).keep_alive(KeepAlive::default())
}
