//! The door of the operators' side. Every request passes it before any handler: what route it is, who asks, whether they may, and
//! whether a page of ours sends it. A route that the table does not know is not there.

mod caller;
mod cookie;
mod proxies;

pub use caller::{Caller, Key};
pub use cookie::{cleared, set};
pub use proxies::Proxies;

use crate::access::{Denied, people};
use crate::console::Shared;
use crate::ledger::LedgerError;
use crate::openapi::Told;
use crate::refusal::Refusal;
use crate::routes::{self, Needs, Route};
use axum::body::{Body, Bytes};
use axum::extract::{Extension, Form, FromRequest, MatchedPath, Request, State};
use axum::http::header::{CONTENT_TYPE, HeaderMap};
use axum::http::{HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Redirect, Response};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::Deserialize;
use std::time::Duration;
use vigil_listen::admission::{Stranger, is_from_a_page_here};
use vigil_listen::serve::Peer;

/// The largest body of an operator is a site file. Most routes take less.
pub const MAX_BODY_BYTES: usize = crate::sites::MAX_FILE_BYTES;

/// How long it may take: two megabytes over a slow line.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// What a script of a page says with every change: the word of its session.
const WORD: &str = "x-csrf-token";

/// Whether the browser came over TLS: in the extensions of every request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OverTls(pub bool);

/// From where the request comes, proxies aside: in the extensions of every request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Whence(pub std::net::IpAddr);

/// Why a request does not come to its handler.
#[derive(Debug, thiserror::Error)]
enum Refused {
    #[error("there is nothing here; see /openapi.json")]
    Unlisted,
    #[error("that cannot be done here; see /openapi.json")]
    Method,
    #[error(transparent)]
    Denied(#[from] Denied),
    #[error(
        "nobody may log in yet; make the first on the receiver's machine: vigil noc user add NAME --role admin --config noc.toml"
    )]
    NobodyYet,
    #[error("choose another password first, at /password")]
    MustChange,
    #[error(transparent)]
    Stranger(#[from] Stranger),
    #[error(
        "the word of the session is missing or wrong: send csrf of /api/me as X-CSRF-Token, or load the page again"
    )]
    Word,
    #[error("the body has more than {MAX_BODY_BYTES} bytes")]
    TooLarge,
    #[error("the body did not come within {} s", BODY_TIMEOUT.as_secs())]
    Slow,
    #[error("the body broke off")]
    BrokenOff,
    #[error("the ledger cannot be used at the moment")]
    Ledger(#[from] LedgerError),
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let status = match self {
            Self::Denied(denied) => return denied.into_response(),
            Self::Unlisted => StatusCode::NOT_FOUND,
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
            Self::NobodyYet => StatusCode::UNAUTHORIZED,
            Self::MustChange | Self::Word => StatusCode::FORBIDDEN,
            Self::Stranger(stranger) => stranger.status(),
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Slow | Self::BrokenOff => StatusCode::REQUEST_TIMEOUT,
            Self::Ledger(ref error) => {
                tracing::error!(%error, "nobody can be let in");
                StatusCode::SERVICE_UNAVAILABLE
            }
        };
        (status, Refusal::of(&self)).into_response()
    }
}

/// Lets a request through to its handler, with whoever sends it in its extensions.
pub async fn pass(
    State(console): State<Shared>,
    Extension(Peer(peer)): Extension<Peer>,
    request: Request,
    next: Next,
) -> Response {
    let over_tls = console.room.tls || console.room.proxies.came_over_tls(peer, request.headers());
    let mut response = match checked(&console, peer, over_tls, request).await {
        Ok(request) => next.run(request).await,
        Err(Refused::MustChange) => Redirect::to("/password").into_response(),
        Err(refused) => refused.into_response(),
    };
    if over_tls {
        // Two years, as those who keep lists of such sites ask.
        let always = HeaderValue::from_static("max-age=63072000");
        response.headers_mut().insert(axum::http::header::STRICT_TRANSPORT_SECURITY, always);
    }
    response
}

/// What the document says of every route: what may come of a request before it comes to its handler.
pub fn tells(told: &mut Told<'_>, route: &Route) {
    let changes = route.method != Method::GET;
    if changes {
        told.refuses(403, "a page of another origin sends it");
        told.refuses(408, "the body broke off, or did not come in time");
        told.refuses(413, &format!("the body has more than {MAX_BODY_BYTES} bytes"));
    }
    if route.needs == Needs::Nobody {
        return;
    }
    if route.path.starts_with("/api/") {
        told.refuses(401, "no token and no session that is good, or nobody may log in yet");
        told.with_header(401, "WWW-Authenticate", "Bearer.");
    } else {
        told.gives_nothing(
            303,
            "nobody is logged in, or another password is to be chosen: where that is done",
        );
        told.with_header(303, "Location", "A page of this receiver.");
        told.refuses(401, "nobody may log in yet");
    }
    if let Needs::Role(role) = route.needs {
        told.refuses(403, &format!("the role {role} is needed, or another password is to be chosen first"));
    }
    if changes {
        told.refuses(403, "the word of the session is missing");
    }
    told.refuses(503, "the ledger cannot be used at the moment");
}

async fn checked(
    console: &Shared,
    peer: std::net::IpAddr,
    over_tls: bool,
    mut request: Request,
) -> Result<Request, Refused> {
    let address = console.room.proxies.origin(peer, request.headers());
    request.extensions_mut().insert(OverTls(over_tls));
    request.extensions_mut().insert(Whence(address));
    // What no route is made for has its own answer, and does nothing.
    let Some(path) = request.extensions().get::<MatchedPath>().cloned() else { return Ok(request) };
    let needs = match routes::needs(request.method(), path.as_str()) {
        Ok(needs) => needs,
        Err(routes::Unknown::Method) => return Err(Refused::Method),
        Err(routes::Unknown::Path) => {
            tracing::error!(path = path.as_str(), "a route is not in the table of routes: it is not served");
            return Err(Refused::Unlisted);
        }
    };
    let changes = !matches!(*request.method(), Method::GET | Method::HEAD);
    if changes {
        is_from_a_page_here(request.headers())?;
    }
    if needs == Needs::Nobody {
        if changes {
            request = with_body(request).await?.0;
        }
        return Ok(request);
    }
    let Some(caller) = caller::identify(console, request.headers(), address, over_tls).await? else {
        return Err(stranger(console, request.uri().path()).await);
    };
    if caller.must_change && needs != Needs::Oneself {
        let is_page = !request.uri().path().starts_with("/api/");
        return Err(if is_page { Refused::MustChange } else { Refused::Denied(Denied::Password) });
    }
    if let Needs::Role(role) = needs {
        caller.person.needs(role)?;
    }
    if changes {
        request = may_change(&caller, request).await?;
    }
    request.extensions_mut().insert(caller.person.clone());
    request.extensions_mut().insert(caller);
    Ok(request)
}

async fn stranger(console: &Shared, path: &str) -> Refused {
    let denied = Denied::at(path);
    if matches!(denied, Denied::Page { .. }) {
        // The log-in says it.
        return denied.into();
    }
    match console.room.clerk.ask(|ledger| people::any(ledger.database())).await {
        Ok(true) => denied.into(),
        Ok(false) => Refused::NobodyYet,
        Err(error) => error.into(),
    }
}

/// A program that sends its token means it. A browser sends its cookie with whatever a page makes it send, so that the page has to
/// say the word of the session: as a header, or in a field of the form.
async fn may_change(caller: &Caller, request: Request) -> Result<Request, Refused> {
    let Key::Session { word, .. } = &caller.key else { return Ok(with_body(request).await?.0) };
    let (request, body) = with_body(request).await?;
    let said = match request.headers().get(WORD) {
        Some(said) => said.to_str().ok().map(str::to_owned),
        None => field(request.headers(), &body).await,
    };
    let same = |said: String| bool::from(subtle::ConstantTimeEq::ct_eq(said.as_bytes(), word.as_bytes()));
    if said.is_some_and(same) { Ok(request) } else { Err(Refused::Word) }
}

#[derive(Deserialize)]
struct Said {
    csrf: String,
}

async fn field(headers: &HeaderMap, body: &Bytes) -> Option<String> {
    let mut copy = Request::new(Body::from(body.clone()));
    *copy.method_mut() = Method::POST;
    copy.headers_mut().insert(CONTENT_TYPE, headers.get(CONTENT_TYPE)?.clone());
    Form::<Said>::from_request(copy, &()).await.ok().map(|Form(said)| said.csrf)
}

/// The request with all of its body, which has to come in time: a handler that waits for one would hold its connection.
async fn with_body(request: Request) -> Result<(Request, Bytes), Refused> {
    let (head, body) = request.into_parts();
    let collected = tokio::time::timeout(BODY_TIMEOUT, Limited::new(body, MAX_BODY_BYTES).collect());
    let body = match collected.await.map_err(|_| Refused::Slow)? {
        Ok(body) => body.to_bytes(),
        Err(why) if why.is::<LengthLimitError>() => return Err(Refused::TooLarge),
        Err(_) => return Err(Refused::BrokenOff),
    };
    Ok((Request::from_parts(head, Body::from(body.clone())), body))
}
