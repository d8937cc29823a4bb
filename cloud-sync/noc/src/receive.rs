//! What gateways send (`POST /v1/events`) and ask. An answer of 200 to a batch is a promise: all that it does not name as
//! rejected is on stable storage.

use crate::access::Register;
use crate::clock::Now;
use crate::commands::{Orders, Poll, WaitingRoom};
use crate::hearing;
use crate::incoming::{self, Items, MAX_BODY_BYTES, Malformed};
use crate::ledger::{Clerk, Delivery, LedgerError};
use crate::openapi::{Tells, Told};
use crate::operator::Health;
use crate::refusal::{self, Refusal};
use crate::sites::deliver;
use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Extension, Path, Query, Request, State};
use axum::http::header::{
    AUTHORIZATION, CONNECTION, CONTENT_ENCODING, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE,
};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::middleware;
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get, post};
use axum::{Json, Router};
use http_body_util::BodyExt;
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use vigil_cloud_sync::Origin;
use vigil_cloud_sync::bundle::BUNDLE_CONTENT_TYPE;
use vigil_cloud_sync::wire::{Answer, BATCH_CONTENT_TYPE};
use vigil_core::id::{GatewayId, SiteId};
use vigil_listen::serve::Shown;

/// How long a body may take: 120 s is what a gateway gives its whole exchange.
const BODY_TIMEOUT: Duration = Duration::from_secs(120);

/// How many batches are in memory at once: 32 of at most 10 MiB each.
const MAX_BATCHES: usize = 32;

/// What a sender is asked to wait when the receiver is busy or its disk fails.
const BUSY_SECS: &str = "5";

/// What the receiving side needs.
pub struct Reception {
    /// Who may send.
    pub register: Register,
    /// Where it goes.
    pub clerk: Clerk,
    /// Where gateways wait for commands.
    pub waiting: WaitingRoom,
    /// What time it is.
    pub now: Now,
}

struct Desk {
    reception: Reception,
    seats: Semaphore,
}

/// One route of gateways.
pub struct Way {
    /// GET or POST.
    pub method: Method,
    /// As axum writes it.
    pub path: &'static str,
    /// What the document says of it.
    pub tells: Tells,
    to: fn() -> MethodRouter<Arc<Desk>>,
}

/// All of them: the router and the document are made of this table.
pub const WAYS: &[Way] = &[
    Way {
        method: Method::POST,
        path: "/v1/events",
        tells: events_tell,
        to: || post(receive).fallback(|| async { Refused::Method("POST") }),
    },
    Way {
        method: Method::GET,
        path: "/v1/gateways/{gateway}/commands",
        tells: commands_tell,
        to: || get(commands).fallback(|| async { Refused::Method("GET") }),
    },
    Way {
        method: Method::GET,
        path: "/v1/sites/{site}/bundle",
        tells: bundle_tells,
        to: || get(bundle).fallback(|| async { Refused::Method("GET") }),
    },
];

/// The routes of the receiving side.
pub fn router(reception: Reception) -> Router {
    let desk = Desk { reception, seats: Semaphore::new(MAX_BATCHES) };
    WAYS.iter()
        .fold(Router::new(), |router, way| router.route(way.path, (way.to)()))
        .route("/healthz", get(healthz))
        .fallback(|| async { Refused::Path })
        .layer(middleware::map_response(refusal::in_json))
        .layer(middleware::from_fn(hearing::out))
        .with_state(Arc::new(desk))
}

fn events_tell(told: &mut Told<'_>) {
    told.called("sendEvents", "Store a batch of events");
    told.more(
        "1 to 500 CloudEvents, at most 2 MiB as sent and 8 MiB unpacked. An event whose source and id are known counts as a \
         duplicate. All that the answer does not name as rejected is on stable storage.",
    );
    told.heeds(
        "Content-Encoding",
        "How the body is packed.",
        json!({"type": "string", "enum": ["gzip", "identity"]}),
    );
    told.takes_as::<incoming::Batch>(BATCH_CONTENT_TYPE, "The events, in the order of their numbers.");
    told.gives::<Answer>(200, "What became of each event.");
    told.refuses(400, "it is no batch: not gzip, not JSON, empty, or an item without an id");
    told.refuses(403, "an event is of another gateway than its sender: nothing was stored");
    told.refuses(408, "the body broke off or took too long");
    told.refuses(413, "too large or too many events: send it in pieces");
    told.refuses(415, "another content type or encoding");
    told.refuses(503, "busy");
    known_sender(told);
}

fn commands_tell(told: &mut Told<'_>) {
    told.called("fetchCommands", "Acknowledge commands and wait for the next");
    told.more(
        "A long poll. All commands up to `after` are decided and will not be given again; a number that was never given \
         acknowledges nothing. The answer holds what waits behind it, at most 500 commands and 1 MiB. A newer poll of the same \
         gateway ends an older one.",
    );
    told.asks::<Poll>();
    told.gives::<Orders>(200, "What waits, in order; empty when the wait is over.");
    told.refuses(400, &Refused::Query.to_string());
    told.refuses(403, "the token is that of another gateway");
    known_sender(told);
}

fn bundle_tells(told: &mut Told<'_>) {
    told.called("fetchBundle", "The signed bundle of the gateway's own site");
    told.heeds("If-None-Match", "The ETag of the bundle that is there.", json!({"type": "string"}));
    told.gives_text(200, BUNDLE_CONTENT_TYPE, "The bundle.");
    told.gives_nothing(304, "It is the one that is known.");
    for status in [200, 304] {
        told.with_header(status, "ETag", "The digest of the document.");
    }
    told.refuses(403, "the token is that of a gateway at another site");
    told.refuses(404, "no file was given for the site");
    known_sender(told);
}

fn known_sender(told: &mut Told<'_>) {
    told.refuses(401, "no token and no known certificate, or the token of no gateway");
    told.with_header(401, "WWW-Authenticate", "Bearer.");
    told.refuses(403, "token and certificate are of two gateways");
    told.refuses(503, "the ledger cannot be used: ask again");
    told.with_header(503, "Retry-After", "Seconds to wait.");
}

/// Why a request as a whole is refused.
#[derive(Debug, thiserror::Error)]
enum Refused {
    #[error("a bearer token of a gateway is needed, or a certificate that the receiver knows")]
    NoToken,
    #[error("the token is not that of any gateway; see the list of gateways in the receiver's configuration")]
    UnknownToken,
    #[error("the token is that of gateway {0}, which may ask for its own commands only")]
    OtherGateway(GatewayId),
    #[error("the token is that of a gateway at site {0}, which may ask for the bundle of its own site only")]
    OtherSite(SiteId),
    #[error("no site file was given for this site; its gateway keeps the one that it has")]
    NoBundle,
    #[error("the token is that of gateway {token}, and the certificate that of {certificate}")]
    TwoGateways { token: GatewayId, certificate: GatewayId },
    #[error("after and wait are whole numbers")]
    Query,
    #[error("content-type is not {BATCH_CONTENT_TYPE}")]
    MediaType,
    #[error("content-encoding is neither gzip nor identity")]
    Encoding,
    #[error("the body did not come within {} s", BODY_TIMEOUT.as_secs())]
    Slow,
    #[error("the body broke off: {0}")]
    BrokenOff(axum::Error),
    #[error(transparent)]
    Malformed(#[from] Malformed),
    #[error("the receiver is busy")]
    Busy,
    #[error("nothing can be stored")]
    NothingStored,
    #[error("the receiver cannot store anything at the moment")]
    Ledger(#[from] LedgerError),
    #[error(
        "there is nothing here; events go to /v1/events, commands are at /v1/gateways/{{gateway}}/commands, bundles at \
         /v1/sites/{{site}}/bundle"
    )]
    Path,
    #[error("only {0} is possible here")]
    Method(&'static str),
}

impl Refused {
    const fn status(&self) -> StatusCode {
        match self {
            Self::NoToken | Self::UnknownToken => StatusCode::UNAUTHORIZED,
            Self::OtherGateway(_)
            | Self::OtherSite(_)
            | Self::TwoGateways { .. }
            | Self::Malformed(Malformed::Foreign { .. }) => StatusCode::FORBIDDEN,
            Self::NoBundle => StatusCode::NOT_FOUND,
            Self::Query => StatusCode::BAD_REQUEST,
            Self::MediaType | Self::Encoding => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Slow | Self::BrokenOff(_) => StatusCode::REQUEST_TIMEOUT,
            Self::Malformed(Malformed::TooLarge | Malformed::TooMany(_)) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Malformed(_) => StatusCode::BAD_REQUEST,
            Self::Busy | Self::NothingStored | Self::Ledger(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Path => StatusCode::NOT_FOUND,
            Self::Method(_) => StatusCode::METHOD_NOT_ALLOWED,
        }
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let (status, allowed) = (self.status(), if let Self::Method(allowed) = self { allowed } else { "" });
        let mut response = (status, Refusal::of(&self)).into_response();
        let extra = match status {
            StatusCode::UNAUTHORIZED => Some((WWW_AUTHENTICATE, "Bearer")),
            StatusCode::SERVICE_UNAVAILABLE => Some((RETRY_AFTER, BUSY_SECS)),
            StatusCode::METHOD_NOT_ALLOWED => Some((axum::http::header::ALLOW, allowed)),
            _ => None,
        };
        if let Some((name, value)) = extra {
            response.headers_mut().insert(name, axum::http::HeaderValue::from_static(value));
        }
        response
    }
}

/// Answers without the ledger: one that hangs must not keep a balancer waiting.
async fn healthz(State(desk): State<Arc<Desk>>) -> Result<Json<Health>, Refused> {
    if desk.reception.clerk.stores() { Ok(Json(Health::OK)) } else { Err(Refused::NothingStored) }
}

async fn receive(
    State(desk): State<Arc<Desk>>,
    Extension(shown): Extension<Shown>,
    request: Request,
) -> Result<Json<Answer>, Refused> {
    let (head, body) = request.into_parts();
    let origin = sender(&desk.reception.register, shown, &head.headers)?;
    let gzipped = check_form(&head.headers)?;
    let _seat = desk.seats.try_acquire().map_err(|_| Refused::Busy)?;
    let sent = tokio::time::timeout(BODY_TIMEOUT, collect(body)).await.map_err(|_| Refused::Slow)??;
    let unpacked = if gzipped { incoming::unpack(&sent)? } else { sent };
    let items = incoming::read(&unpacked, &origin.source()).inspect_err(|why| {
        if matches!(why, Malformed::Foreign { .. }) {
            tracing::error!(gateway = %origin.gateway, %why, "a gateway speaks for another: nothing of it is stored");
        }
    })?;
    store(&desk.reception, origin.clone(), items).await.map(Json).inspect_err(|error| {
        tracing::error!(gateway = %origin.gateway, cause = ?error, "a batch was not stored");
    })
}

async fn store(reception: &Reception, origin: Origin, items: Items) -> Result<Answer, Refused> {
    let Items { entries, mut rejected } = items;
    for rejection in &rejected {
        tracing::warn!(gateway = %origin.gateway, id = %rejection.id, reason = %rejection.reason, "event rejected");
    }
    let delivery = Delivery { origin, received_at: (reception.now)(), entries };
    let receipt = reception.clerk.ask(move |ledger| ledger.record(&delivery)).await?;
    if !receipt.altered.is_empty() {
        tracing::error!(
            gateway = %receipt.gateway.gateway, ids = ?receipt.altered,
            "a gateway sent again what it had sent, with other words: what came first stands; compare both with its journal"
        );
    }
    let reused = receipt.reused;
    if !reused.is_empty() {
        tracing::error!(
            gateway = %receipt.gateway.gateway, numbers = ?reused,
            "a gateway gave numbers that it had given to other events: its store was put back to an earlier time"
        );
    }
    rejected.extend(receipt.refused);
    Ok(Answer { accepted: receipt.accepted, duplicates: receipt.duplicates, rejected, reused })
}

async fn commands(
    State(desk): State<Arc<Desk>>,
    Path(gateway): Path<String>,
    asked: Result<Query<Poll>, QueryRejection>,
    Extension(shown): Extension<Shown>,
    headers: HeaderMap,
) -> Result<Response, Refused> {
    let Reception { register, clerk, waiting, now, .. } = &desk.reception;
    let origin = sender(register, shown, &headers)?;
    if origin.gateway.as_str() != gateway {
        return Err(Refused::OtherGateway(origin.gateway.clone()));
    }
    let Query(poll) = asked.map_err(|_| Refused::Query)?;
    let orders = waiting.answer(clerk, *now, origin, poll).await.map_err(|error| {
        tracing::error!(gateway = %origin.gateway, cause = ?error, "commands cannot be given");
        Refused::Ledger(error)
    })?;
    let closes = orders.turned_away.then_some([(CONNECTION, "close")]);
    Ok((closes, Json(orders)).into_response())
}

async fn bundle(
    State(desk): State<Arc<Desk>>,
    Path(site): Path<String>,
    Extension(shown): Extension<Shown>,
    headers: HeaderMap,
) -> Result<Response, Refused> {
    let Reception { register, clerk, .. } = &desk.reception;
    let origin = sender(register, shown, &headers)?;
    if origin.site.as_str() != site {
        return Err(Refused::OtherSite(origin.site.clone()));
    }
    deliver::bundle(clerk, origin, &headers).await?.ok_or(Refused::NoBundle)
}

/// Who sends: the gateway of the token, or else that of the certificate. Of one that brings both, both have to say the same.
fn sender<'a>(register: &'a Register, shown: Shown, headers: &HeaderMap) -> Result<&'a Origin, Refused> {
    let certified = shown.0.and_then(|certificate| register.owner_of(&certificate));
    let Some(header) = headers.get(AUTHORIZATION) else { return certified.ok_or(Refused::NoToken) };
    let header = header.to_str().ok().and_then(|text| text.split_once(' '));
    let (scheme, token) = header.ok_or(Refused::NoToken)?;
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(Refused::NoToken);
    }
    let named = register.owner(token.trim()).ok_or(Refused::UnknownToken)?;
    match certified.filter(|certified| *certified != named) {
        None => Ok(named),
        Some(other) => {
            Err(Refused::TwoGateways { token: named.gateway.clone(), certificate: other.gateway.clone() })
        }
    }
}

/// Whether the body is gzipped.
fn check_form(headers: &HeaderMap) -> Result<bool, Refused> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let media = text(CONTENT_TYPE).and_then(|media| media.split(';').next()).unwrap_or_default();
    if !media.trim().eq_ignore_ascii_case(BATCH_CONTENT_TYPE) {
        return Err(Refused::MediaType);
    }
    match text(CONTENT_ENCODING).map(str::trim) {
        None | Some("" | "identity") => Ok(false),
        Some(encoding) if encoding.eq_ignore_ascii_case("gzip") => Ok(true),
        Some(_) => Err(Refused::Encoding),
    }
}

async fn collect(mut body: Body) -> Result<Vec<u8>, Refused> {
    let mut collected = Vec::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(Refused::BrokenOff)?.into_data() else { continue };
        if collected.len() + data.len() > MAX_BODY_BYTES {
            return Err(Malformed::TooLarge.into());
        }
        collected.extend_from_slice(&data);
    }
    Ok(collected)
}
