//! A receiver that fails in every way that a receiver can, by a script.

use super::{Authority, Uplink};
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use futures_util::{StreamExt, stream};
use serde_json::{Value, json};
use std::collections::{BTreeSet, VecDeque};
use std::convert::Infallible;
use std::io::Read;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::sync::oneshot;
use vigil_cloud_sync::bundle;
use vigil_listen::serve::tls_config;
use vigil_noc::{Server, TlsFiles};

/// How long a slow answer takes: three gaps of this.
const SLOW_GAP: Duration = Duration::from_millis(500);

/// How one request is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// 503, without a word of when to return.
    Unavailable,
    /// 429 with `Retry-After: 1`.
    TooMany,
    /// Everything is stored, and the connection is cut in the middle of the answer.
    Cut,
    /// Everything is stored, and the answer comes in drops.
    Slow,
}

/// What it has seen.
#[derive(Debug, Default)]
struct Ledger {
    script: VecDeque<Turn>,
    rejects: Option<String>,
    known: BTreeSet<String>,
    events: Vec<Value>,
    duplicates: usize,
    requests: Vec<(Option<Turn>, Instant)>,
    orders: VecDeque<(u16, String)>,
    polls: Vec<String>,
    bundle: Option<Bytes>,
    asks: Vec<(Option<String>, u16)>,
}

type Shared = Arc<Mutex<Ledger>>;

fn open(ledger: &Shared) -> MutexGuard<'_, Ledger> {
    ledger.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The receiver: it listens, or it is down.
#[derive(Debug)]
pub struct FaultyNoc {
    ledger: Shared,
    authority: Authority,
    address: SocketAddr,
    serving: Option<(oneshot::Sender<()>, JoinHandle<()>)>,
    _folder: TempDir,
}

impl FaultyNoc {
    /// Starts one that takes everything until told otherwise.
    pub fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let authority = Authority::found(folder.path());
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut noc = Self { ledger: Shared::default(), authority, address, serving: None, _folder: folder };
        noc.rise();
        noc
    }

    /// The way here.
    pub fn uplink(&self) -> Uplink {
        let url = format!("https://{}/v1", self.address);
        Uplink { url, ca: self.authority.ca.clone(), token: "any-token".to_owned() }
    }

    /// Listens again, at the same address.
    pub fn rise(&mut self) {
        let files = TlsFiles { cert: self.authority.cert.clone(), key: self.authority.key.clone() };
        let router = Router::new()
            .route("/v1/events", post(receive))
            .route("/v1/gateways/{gateway}/commands", get(give))
            .route("/v1/sites/{site}/bundle", get(hand_out))
            .with_state(Arc::clone(&self.ledger));
        let ((stop, stopped), (bound, listens), at) = (oneshot::channel(), oneshot::channel(), self.address);
        let serving = std::thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async {
                let tls = tls_config(&files).expect("our own certificate");
                let server = Server::bind(at, Some(tls)).await.expect("its address is free");
                bound.send(server.local_addr()).expect("somebody waits for the address");
                let told = async {
                    // A test that is over drops the sender, which means the same.
                    let _told_or_gone = stopped.await;
                };
                server.serve(router, told).await;
            });
        });
        self.address = listens.blocking_recv().expect("it listens");
        self.serving = Some((stop, serving));
    }

    /// Nobody listens any more.
    pub fn fall(&mut self) {
        if let Some((stop, serving)) = self.serving.take() {
            // One that failed by itself shows in the join.
            let _gone = stop.send(());
            serving.join().expect("the receiver ends");
        }
    }

    /// The next requests are answered so.
    pub fn plan(&self, turns: &[Turn]) {
        open(&self.ledger).script.extend(turns);
    }

    /// How many of the planned answers have not been given yet.
    pub fn planned(&self) -> usize {
        open(&self.ledger).script.len()
    }

    /// The next polls for commands are answered so, whatever they acknowledge; those after them with an empty list.
    pub fn give(&self, answers: &[(u16, &str)]) {
        let answers = answers.iter().map(|(status, body)| (*status, (*body).to_owned()));
        open(&self.ledger).orders.extend(answers);
    }

    /// What every poll for commands so far has asked.
    pub fn polls(&self) -> Vec<String> {
        open(&self.ledger).polls.clone()
    }

    /// Whoever asks for the site's bundle is given this document from now on; without one, there is none.
    pub fn offer(&self, bundle: Option<&[u8]>) {
        open(&self.ledger).bundle = bundle.map(Bytes::copy_from_slice);
    }

    /// Every question for the bundle so far: the `ETag` that was known, and the status of the answer.
    pub fn bundle_asks(&self) -> Vec<(Option<String>, u16)> {
        open(&self.ledger).asks.clone()
    }

    /// Events about this subject are rejected, every time.
    pub fn reject(&self, subject: &str) {
        open(&self.ledger).rejects = Some(subject.to_owned());
    }

    /// Every event that was taken, in order, each once.
    pub fn events(&self) -> Vec<Value> {
        open(&self.ledger).events.clone()
    }

    /// How and when every request so far was answered; those outside the plan were taken.
    pub fn requests(&self) -> Vec<(Option<Turn>, Instant)> {
        open(&self.ledger).requests.clone()
    }

    /// How many events came that were there already.
    pub fn duplicates(&self) -> usize {
        open(&self.ledger).duplicates
    }
}

impl Drop for FaultyNoc {
    fn drop(&mut self) {
        self.fall();
    }
}

impl Ledger {
    /// Stores a batch; what the sender is told of it.
    fn take(&mut self, batch: Vec<Value>) -> Value {
        let (mut accepted, mut duplicates, mut rejected) = (0, 0, vec![]);
        for event in batch {
            let id = event["id"].as_str().unwrap_or_default().to_owned();
            if self.rejects.as_deref().is_some_and(|subject| event["subject"] == subject) {
                rejected.push(json!({"id": id, "reason": "this one is not wanted"}));
            } else if self.known.insert(id) {
                accepted += 1;
                self.events.push(event);
            } else {
                duplicates += 1;
            }
        }
        self.duplicates += duplicates;
        json!({"accepted": accepted, "duplicates": duplicates, "rejected": rejected})
    }
}

async fn receive(State(ledger): State<Shared>, body: Bytes) -> Response {
    let batch = unpacked(&body);
    let mut ledger = open(&ledger);
    let turn = ledger.script.pop_front();
    ledger.requests.push((turn, Instant::now()));
    match turn {
        None => axum::Json(ledger.take(batch)).into_response(),
        Some(Turn::Unavailable) => StatusCode::SERVICE_UNAVAILABLE.into_response(),
        Some(Turn::TooMany) => (StatusCode::TOO_MANY_REQUESTS, [(header::RETRY_AFTER, "1")]).into_response(),
        Some(Turn::Cut) => cut(&ledger.take(batch).to_string()),
        Some(Turn::Slow) => in_drops(&ledger.take(batch).to_string()),
    }
}

async fn give(State(ledger): State<Shared>, RawQuery(query): RawQuery) -> Response {
    let mut ledger = open(&ledger);
    ledger.polls.push(query.unwrap_or_default());
    let (status, body) =
        ledger.orders.pop_front().unwrap_or_else(|| (200, json!({"commands": []}).to_string()));
    (StatusCode::from_u16(status).expect("a status"), body).into_response()
}

async fn hand_out(State(ledger): State<Shared>, headers: HeaderMap) -> Response {
    let mut ledger = open(&ledger);
    let known = headers.get(header::IF_NONE_MATCH).and_then(|tag| tag.to_str().ok()).map(str::to_owned);
    let answer = match &ledger.bundle {
        None => StatusCode::NOT_FOUND.into_response(),
        Some(bundle) => {
            let tag = bundle::etag(bundle);
            let headers =
                [(header::ETAG, tag.clone()), (header::CONTENT_TYPE, bundle::BUNDLE_CONTENT_TYPE.to_owned())];
            match known.as_deref() == Some(&tag) {
                true => (StatusCode::NOT_MODIFIED, headers).into_response(),
                false => (headers, bundle.clone()).into_response(),
            }
        }
    };
    ledger.asks.push((known, answer.status().as_u16()));
    answer
}

fn unpacked(body: &[u8]) -> Vec<Value> {
    let mut text = String::new();
    flate2::read::GzDecoder::new(body).read_to_string(&mut text).expect("the agent sends gzip");
    serde_json::from_str(&text).expect("the agent sends an array")
}

fn cut(answer: &str) -> Response {
    let half = Bytes::copy_from_slice(answer.as_bytes().split_at(answer.len() / 2).0);
    Body::from_stream(stream::iter([Ok(half), Err(std::io::Error::other("the line is cut"))])).into_response()
}

fn in_drops(answer: &str) -> Response {
    let third = answer.len().div_ceil(3);
    let drops: Vec<Bytes> = answer.as_bytes().chunks(third).map(Bytes::copy_from_slice).collect();
    let slowly = stream::iter(drops).then(|drop| async move {
        tokio::time::sleep(SLOW_GAP).await;
        Ok::<_, Infallible>(drop)
    });
    Body::from_stream(slowly).into_response()
}
