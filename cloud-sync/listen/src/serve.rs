//! The one HTTP server shell: of the NOC's two listeners and of the agent's own page.
//!
//! What a stock server leaves open is bounded here: 600 half-open connections without a header timeout
//! were still held after 45 s; with it they are gone after 5.

use axum::{Extension, Router};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use ring::digest::{SHA256, digest};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{RootCertStore, ServerConfig};
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_io_timeout::TimeoutStream;
use tokio_rustls::TlsAcceptor;

/// How long the head of a request, and a TLS handshake, may take: a slow 2G link needs 2 s.
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);

/// How long open requests may take to end after a stop: the whole daemon has 5 s.
const GRACE: Duration = Duration::from_secs(2);

/// How long an answer may make no way: a 2G link that lost its cell is back by then, and whoever asks and never reads keeps no seat.
const STALLED: Duration = Duration::from_secs(30);

/// How often is said that no connection can be accepted.
const SAID_AGAIN: Duration = Duration::from_secs(60);

/// How long to wait after a failed accept (no file descriptors left) instead of spinning.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The buffer of a connection, and so the largest head: browsers and gateways send under 2 KiB.
const MAX_HEAD_BYTES: usize = 16 * 1024;

/// How many connections are served at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// In all; further ones wait in the kernel's queue.
    pub connections: usize,
    /// From one address; further ones are closed at once.
    pub per_address: usize,
    /// Behind these addresses are many others: of them only all together are counted.
    pub crowds: Vec<IpAddr>,
}

impl Limits {
    /// So many in all, of which one address cannot take more than an eighth.
    pub const fn of(connections: usize) -> Self {
        Self { connections, per_address: connections / 8, crowds: vec![] }
    }
}

impl Default for Limits {
    /// 1,024 connections of two 16 KiB buffers and a TLS session are about 64 MB; 128 from one address are
    /// enough for all gateways behind one carrier's NAT at a site.
    fn default() -> Self {
        Self::of(1_024)
    }
}

/// Who speaks: in the extensions of every request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer(pub IpAddr);

/// The certificate with which somebody came, if they showed one: in the extensions of every request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shown(pub Option<Certificate>);

/// The certificate with which somebody came; its authority and its time were checked in the handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Certificate([u8; 32]);

impl Certificate {
    /// That of a certificate in DER.
    pub fn of(der: &[u8]) -> Self {
        let mut sha256 = [0; 32];
        sha256.copy_from_slice(digest(&SHA256, der).as_ref());
        Self(sha256)
    }

    /// By which it is known.
    pub const fn sha256(&self) -> &[u8; 32] {
        &self.0
    }
}

/// Where the server's certificate and key are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate chain, PEM.
    pub cert: PathBuf,
    /// Its private key, PEM.
    pub key: PathBuf,
}

/// The server cannot start.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The address cannot be listened on.
    #[error("cannot listen on {addr}: {source}")]
    Listen {
        /// The address.
        addr: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// A certificate or key file cannot be read.
    #[error("{}: {why}", path.display())]
    Pem {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// Certificate and key do not go together.
    #[error("the certificate and its key cannot be used: {0}")]
    Tls(#[from] rustls::Error),
}

/// TLS 1.2 or newer for `files`.
pub fn tls_config(files: &TlsFiles) -> Result<Arc<ServerConfig>, ServeError> {
    tls_config_with(files, None)
}

/// The same, and whoever comes is asked for a certificate of that authority, and may come without one.
pub fn tls_config_with(files: &TlsFiles, client_ca: Option<&Path>) -> Result<Arc<ServerConfig>, ServeError> {
    let chain = certificates(&files.cert)?;
    let key = PrivateKeyDer::from_pem_file(&files.key).map_err(|e| unreadable(&files.key, &e))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder =
        ServerConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions()?;
    let builder = match client_ca {
        None => builder.with_no_client_auth(),
        Some(path) => builder.with_client_cert_verifier(verifier(path, provider)?),
    };
    let mut config = builder.with_single_cert(chain, key)?;
    if client_ca.is_some() {
        // A session that goes on is not asked again whether the certificate with which it began is still good.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        return Ok(Arc::new(config));
    }
    // Sessions are with those who come again, sealed, and not in a memory of 256: a gateway that has a session spares the line two
    // kilobytes of certificate each time.
    config.ticketer = rustls::crypto::ring::Ticketer::new()?;
    // Who comes again has used one and gets one.
    config.send_tls13_tickets = 1;
    Ok(Arc::new(config))
}

fn verifier(path: &Path, provider: Arc<CryptoProvider>) -> Result<Arc<dyn ClientCertVerifier>, ServeError> {
    let wrong = |why: String| ServeError::Pem { path: path.to_owned(), why };
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path)? {
        roots.add(certificate).map_err(|e| wrong(e.to_string()))?;
    }
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
    verifier.allow_unauthenticated().build().map_err(|e| wrong(e.to_string()))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, ServeError> {
    CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|e| unreadable(path, &e))
}

fn unreadable(path: &Path, error: &rustls::pki_types::pem::Error) -> ServeError {
    ServeError::Pem { path: path.to_owned(), why: error.to_string() }
}

/// A bound listener that serves nothing yet.
pub struct Server {
    listener: TcpListener,
    addr: SocketAddr,
    tls: Option<TlsAcceptor>,
    limits: Limits,
}

impl Server {
    /// Listens on `addr`; port 0 picks one.
    pub async fn bind(addr: SocketAddr, tls: Option<Arc<ServerConfig>>) -> Result<Self, ServeError> {
        let failed = |source| ServeError::Listen { addr, source };
        let listener = TcpListener::bind(addr).await.map_err(failed)?;
        let addr = listener.local_addr().map_err(failed)?;
        Ok(Self { listener, addr, tls: tls.map(TlsAcceptor::from), limits: Limits::default() })
    }

    /// Other limits than the usual ones.
    #[must_use]
    pub fn with_limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// The address that it listens on.
    pub const fn local_addr(&self) -> SocketAddr {
        self.addr
    }

    /// Serves `router` until `shutdown`; then open requests have 2 s to end.
    pub async fn serve(self, router: Router, shutdown: impl Future<Output = ()>) {
        let (stop, stopping) = watch::channel(false);
        let mut connections = JoinSet::new();
        let house = House::new(self.limits);
        tokio::pin!(shutdown);
        loop {
            let guest = tokio::select! {
                () = &mut shutdown => break,
                Some(ended) = connections.join_next() => {
                    report(ended);
                    continue;
                }
                guest = house.admit(&self.listener) => guest,
            };
            if let Some((stream, seat)) = guest {
                // Else an answer waits behind TLS's session tickets until the other side says that it has those: 40 ms. A socket that
                // is gone already says so when it is read.
                let _gone = stream.set_nodelay(true);
                let router = router.clone().layer(Extension(Peer(seat.address)));
                let (tls, stopping) = (self.tls.clone(), stopping.clone());
                connections.spawn(async move {
                    greet(stream, tls, router, stopping).await;
                    drop(seat);
                });
            }
        }
        drop(self.listener);
        stop.send_replace(true);
        drain(connections).await;
    }
}

fn report(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, "a request handler failed");
    }
}

async fn drain(mut connections: JoinSet<()>) {
    let all_ended = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(GRACE, all_ended).await.is_err() {
        tracing::info!(open = connections.len(), "closing connections that did not end in time");
    }
}

/// Who is in, and how many may be.
struct House {
    seats: Arc<Semaphore>,
    by_address: Arc<Mutex<BTreeMap<IpAddr, usize>>>,
    per_address: usize,
    crowds: Vec<IpAddr>,
    /// When was last said that no connection can be accepted.
    said_at: Mutex<Option<Instant>>,
}

/// A place for one connection; given back when dropped.
struct Seat {
    _permit: OwnedSemaphorePermit,
    address: IpAddr,
    by_address: Arc<Mutex<BTreeMap<IpAddr, usize>>>,
}

impl House {
    fn new(limits: Limits) -> Self {
        let Limits { connections, per_address, mut crowds } = limits;
        crowds.iter_mut().for_each(|address| *address = address.to_canonical());
        let seats = Arc::new(Semaphore::new(connections));
        Self { seats, by_address: Arc::default(), per_address, crowds, said_at: Mutex::default() }
    }

    /// The next connection that may come in; `None` if one could not.
    async fn admit(&self, listener: &TcpListener) -> Option<(TcpStream, Seat)> {
        let permit = Arc::clone(&self.seats).acquire_owned().await.ok()?;
        match listener.accept().await {
            Ok((stream, from)) => Some((stream, self.seat(from.ip(), permit)?)),
            Err(error) => {
                self.say(&error);
                tokio::time::sleep(ACCEPT_PAUSE).await;
                None
            }
        }
    }

    fn say(&self, error: &std::io::Error) {
        let mut said_at = self.said_at.lock().unwrap_or_else(PoisonError::into_inner);
        if said_at.is_none_or(|at| at.elapsed() >= SAID_AGAIN) {
            *said_at = Some(Instant::now());
            tracing::warn!(%error, "cannot accept a connection; it is tried again, and said again after a minute");
        }
    }

    fn seat(&self, address: IpAddr, permit: OwnedSemaphorePermit) -> Option<Seat> {
        let mut by_address = self.by_address.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = by_address.entry(address).or_default();
        if *taken >= self.per_address && !self.crowds.contains(&address.to_canonical()) {
            tracing::debug!(%address, "too many connections from one address");
            return None;
        }
        *taken += 1;
        Some(Seat { _permit: permit, address, by_address: Arc::clone(&self.by_address) })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut by_address = self.by_address.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(taken) = by_address.get_mut(&self.address) {
            *taken = taken.saturating_sub(1);
            if *taken == 0 {
                by_address.remove(&self.address);
            }
        }
    }
}

/// Completes once `stopping` turns true; also if nobody is left who could turn it.
pub async fn stopped(mut stopping: watch::Receiver<bool>) {
    let _stopped_or_gone = stopping.wait_for(|stop| *stop).await;
}

async fn greet(stream: TcpStream, tls: Option<TlsAcceptor>, router: Router, stopping: watch::Receiver<bool>) {
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(STALLED));
    let stream = Box::pin(stream);
    let Some(acceptor) = tls else {
        return converse(stream, router.layer(Extension(Shown(None))), stopping).await;
    };
    match tokio::time::timeout(HEAD_TIMEOUT, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => {
            let chain = stream.get_ref().1.peer_certificates();
            let shown = Shown(chain.and_then(<[_]>::first).map(|own| Certificate::of(own)));
            converse(stream, router.layer(Extension(shown)), stopping).await;
        }
        Ok(Err(error)) => tracing::debug!(%error, "tls handshake failed"),
        Err(_) => tracing::debug!("tls handshake took too long"),
    }
}

async fn converse<S>(stream: S, router: Router, stopping: watch::Receiver<bool>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(MAX_HEAD_BYTES)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = &mut connection => ended,
        () = stopped(stopping) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "connection ended early");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::routing::get;
    use rustls::pki_types::ServerName;
    use rustls::{ClientConfig, HandshakeKind};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::sync::oneshot;
    use tokio::task::JoinHandle;
    use tokio_rustls::TlsConnector;

    async fn served(limits: Limits) -> (SocketAddr, oneshot::Sender<()>, JoinHandle<()>) {
        let server = Server::bind("127.0.0.1:0".parse().unwrap(), None).await.unwrap().with_limits(limits);
        let (addr, (stop, stopped)) = (server.local_addr(), oneshot::channel());
        let slow = get(|| async {
            tokio::time::sleep(Duration::from_millis(300)).await;
            "late"
        });
        let router = Router::new().route("/", get(|| async { "here" })).route("/slow", slow);
        let serving = tokio::spawn(server.serve(router, async {
            stopped.await.unwrap();
        }));
        (addr, stop, serving)
    }

    async fn ask(stream: &mut TcpStream, path: &str) -> String {
        let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn a_request_that_never_ends_is_cut_after_five_seconds() {
        let (addr, _stop, _serving) = served(Limits::default()).await;
        let mut stream = TcpStream::connect(addr).await.unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\nhost:").await.unwrap();
        let (began, mut rest) = (Instant::now(), Vec::new());
        tokio::time::timeout(Duration::from_secs(8), stream.read_to_end(&mut rest)).await.unwrap().unwrap();
        assert!(began.elapsed() >= Duration::from_secs(4), "{:?}", began.elapsed());
    }

    #[tokio::test]
    async fn one_address_cannot_take_every_seat() {
        let (addr, _stop, _serving) = served(Limits { connections: 8, per_address: 2, crowds: vec![] }).await;
        let mut first = TcpStream::connect(addr).await.unwrap();
        let second = TcpStream::connect(addr).await.unwrap();
        tokio::time::sleep(Duration::from_millis(50)).await;
        let mut third = TcpStream::connect(addr).await.unwrap();
        let closed = tokio::time::timeout(Duration::from_secs(1), third.read(&mut [0; 8])).await.unwrap();
        assert!(matches!(closed, Ok(0) | Err(_)), "the third is closed at once");
        assert!(ask(&mut first, "/").await.ends_with("here"));
        drop(second);
        tokio::time::sleep(Duration::from_millis(50)).await;
        let mut fourth = TcpStream::connect(addr).await.unwrap();
        assert!(ask(&mut fourth, "/").await.ends_with("here"), "a seat is given back");
    }

    #[tokio::test]
    async fn an_address_behind_which_are_many_may_have_all_seats_and_no_more() {
        let crowds = vec!["::ffff:127.0.0.1".parse().unwrap()];
        let (addr, _stop, _serving) = served(Limits { connections: 3, per_address: 1, crowds }).await;
        let mut all = vec![];
        for _ in 0..3 {
            all.push(TcpStream::connect(addr).await.unwrap());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
        let mut fourth = TcpStream::connect(addr).await.unwrap();
        fourth.write_all(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.unwrap();
        let mut answer = String::new();
        let waits =
            tokio::time::timeout(Duration::from_millis(300), fourth.read_to_string(&mut answer)).await;
        assert!(waits.is_err(), "it waits in the kernel's queue: {answer}");
        assert!(ask(&mut all.remove(0), "/").await.ends_with("here"));
        fourth.read_to_string(&mut answer).await.unwrap();
        assert!(answer.ends_with("here"), "{answer}");
    }

    /// Asks for a page over TLS, as somebody who was here before or not: how the handshake went.
    async fn comes_over_tls(addr: SocketAddr, with: &Arc<ClientConfig>) -> Option<HandshakeKind> {
        let stream = TcpStream::connect(addr).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let mut stream = TlsConnector::from(Arc::clone(with)).connect(name, stream).await.unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.ends_with("here"), "{answer}");
        stream.get_ref().1.handshake_kind()
    }

    /// A server over TLS, which asks for certificates of its own authority or not; and what a newcomer brings.
    async fn over_tls(asks: bool) -> (SocketAddr, impl Fn() -> Arc<ClientConfig>) {
        let own = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let files = TlsFiles { cert: dir.path().join("cert"), key: dir.path().join("key") };
        std::fs::write(&files.cert, own.cert.pem()).unwrap();
        std::fs::write(&files.key, own.signing_key.serialize_pem()).unwrap();
        let tls = tls_config_with(&files, asks.then_some(files.cert.as_path())).unwrap();
        let server = Server::bind("127.0.0.1:0".parse().unwrap(), Some(tls)).await.unwrap();
        let addr = server.local_addr();
        let router = Router::new().route("/", get(|| async { "here" }));
        tokio::spawn(server.serve(router, std::future::pending()));
        let newcomer = move || {
            let mut roots = RootCertStore::empty();
            roots.add(own.cert.der().clone()).unwrap();
            let provider = Arc::new(rustls::crypto::ring::default_provider());
            let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
            Arc::new(builder.unwrap().with_root_certificates(roots).with_no_client_auth())
        };
        (addr, newcomer)
    }

    #[tokio::test]
    async fn whoever_comes_again_is_known_however_many_came_meanwhile() {
        let (addr, newcomer) = over_tls(false).await;
        let first = newcomer();
        assert_eq!(comes_over_tls(addr, &first).await, Some(HandshakeKind::Full));
        for _ in 0..300 {
            assert_eq!(comes_over_tls(addr, &newcomer()).await, Some(HandshakeKind::Full));
        }
        assert_eq!(comes_over_tls(addr, &first).await, Some(HandshakeKind::Resumed));
    }

    #[tokio::test]
    async fn where_certificates_are_asked_for_they_are_looked_at_each_time() {
        let (addr, newcomer) = over_tls(true).await;
        let first = newcomer();
        for _ in 0..3 {
            assert_eq!(comes_over_tls(addr, &first).await, Some(HandshakeKind::Full));
        }
    }

    #[tokio::test]
    async fn whoever_asks_and_never_reads_keeps_no_seat() {
        let (addr, _stop, _serving) = served(Limits { connections: 1, per_address: 1, crowds: vec![] }).await;
        let mut greedy = TcpStream::connect(addr).await.unwrap();
        let asked = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n".repeat(1_000);
        // Until nothing more is taken: what it answers has no room either.
        while let Ok(written) = tokio::time::timeout(Duration::from_secs(2), greedy.write(&asked)).await {
            written.unwrap();
        }
        let mut next = TcpStream::connect(addr).await.unwrap();
        let answered = tokio::time::timeout(STALLED * 2, ask(&mut next, "/")).await;
        assert!(answered.expect("the seat is free again").ends_with("here"));
    }

    #[tokio::test]
    async fn an_open_request_ends_before_the_server_does() {
        let (addr, stop, serving) = served(Limits::default()).await;
        let mut stream = TcpStream::connect(addr).await.unwrap();
        let idle = TcpStream::connect(addr).await.unwrap();
        let asked = tokio::spawn(async move { ask(&mut stream, "/slow").await });
        tokio::time::sleep(Duration::from_millis(100)).await;
        let began = Instant::now();
        stop.send(()).unwrap();
        assert!(asked.await.unwrap().ends_with("late"));
        serving.await.unwrap();
        assert!(began.elapsed() < GRACE, "an idle connection does not hold it up");
        drop(idle);
    }

    #[tokio::test]
    async fn what_cannot_be_listened_on_is_told() {
        let taken = Server::bind("127.0.0.1:0".parse().unwrap(), None).await.unwrap();
        let error = Server::bind(taken.local_addr(), None).await.err().unwrap().to_string();
        assert!(error.starts_with(&format!("cannot listen on {}", taken.local_addr())), "{error}");
    }
}
