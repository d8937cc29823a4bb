//! The sockets: accepts within the bounds, wraps TLS, runs one task a connection and ends them all.

use super::connection::{Ending, serve};
use super::greeting::{Guest, NotGreeted, Stream, greet};
use super::limits::{HOUSEKEEPING, SHUTDOWN_GRACE};
use super::{BrokerError, House};
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::{JoinError, JoinSet};
use tokio::time::Instant;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

/// Pause after an accept that failed: without file descriptors the next one fails as well.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A socket that listens, and the TLS it speaks.
pub(super) struct Door {
    pub(super) listener: TcpListener,
    pub(super) tls: Option<TlsAcceptor>,
}

impl Door {
    async fn accept(&self) -> (TcpStream, SocketAddr, Option<TlsAcceptor>) {
        loop {
            match self.listener.accept().await {
                Ok((stream, address)) => return (stream, address, self.tls.clone()),
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
}

/// Accepts until `shutdown` resolves or the agent takes no more, and then ends every connection.
pub(super) async fn run(
    house: Arc<House>,
    plain: Door,
    secure: Option<Door>,
    shutdown: impl Future<Output = ()>,
) -> Result<(), BrokerError> {
    let mut connections = JoinSet::new();
    let mut shutdown = std::pin::pin!(shutdown);
    let mut housekeeping = std::pin::pin!(keep_house(&house));
    let outcome = loop {
        tokio::select! {
            () = &mut shutdown => break Ok(()),
            outcome = &mut housekeeping => break outcome,
            Some(ended) = connections.join_next() => if has_stopped(ended) { break Err(BrokerError::Stopped) },
            (stream, address, tls) = next(&plain, secure.as_ref()) => {
                admit(&house, &mut connections, stream, address, tls);
            }
        }
    };
    drop((plain, secure));
    house.exchange.close();
    end_all(connections).await;
    outcome
}

async fn next(plain: &Door, secure: Option<&Door>) -> (TcpStream, SocketAddr, Option<TlsAcceptor>) {
    match secure {
        None => plain.accept().await,
        Some(secure) => tokio::select! {
            accepted = plain.accept() => accepted,
            accepted = secure.accept() => accepted,
        },
    }
}

/// Publishes wills when they are due and ends sessions when their time is over.
async fn keep_house(house: &House) -> Result<(), BrokerError> {
    loop {
        let now = Instant::now();
        let (wills, next) = house.exchange.tidy(now);
        for (key, will) in wills {
            let stored = house.ingress.publish_will(&key, will).await;
            house.exchange.departed(&key);
            if !stored {
                return Err(BrokerError::Stopped);
            }
        }
        let pause = next.map_or(HOUSEKEEPING, |at| at.saturating_duration_since(now).min(HOUSEKEEPING));
        timeout(pause, house.exchange.due.notified()).await.ok();
    }
}

fn has_stopped(ended: Result<Option<Ending>, JoinError>) -> bool {
    match ended {
        Ok(ending) => ending == Some(Ending::Stopped),
        Err(error) => {
            tracing::error!(%error, "a connection's task failed");
            false
        }
    }
}

fn admit(
    house: &Arc<House>,
    connections: &mut JoinSet<Option<Ending>>,
    stream: TcpStream,
    address: SocketAddr,
    tls: Option<TlsAcceptor>,
) {
    let counters = &house.exchange.counters;
    let Some(place) = Place::take(house, address.ip()) else {
        counters.turned_away.add(1);
        tracing::warn!(%address, "too many connections; closed");
        return;
    };
    counters.accepted.add(1);
    let house = Arc::clone(house);
    connections.spawn(async move {
        let ending = converse(&house, stream, address, tls).await;
        drop(place);
        ending
    });
}

async fn converse(
    house: &House,
    stream: TcpStream,
    address: SocketAddr,
    tls: Option<TlsAcceptor>,
) -> Option<Ending> {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%address, %error, "acknowledgements may be delayed");
    }
    let greeting = async { greet(house, wrap(stream, tls).await?, address.ip()).await };
    match timeout(house.exchange.limits.connect_timeout, greeting).await {
        Ok(Ok(guest)) => Some(attend(house, guest, address).await),
        Ok(Err(error)) => {
            house.exchange.counters.refused_connects.add(1);
            tracing::info!(%address, %error, "a connection ended before it began");
            matches!(error, NotGreeted::Stopped(_)).then_some(Ending::Stopped)
        }
        Err(_) => {
            house.exchange.counters.refused_connects.add(1);
            tracing::info!(%address, "no CONNECT in time");
            None
        }
    }
}

async fn wrap(stream: TcpStream, tls: Option<TlsAcceptor>) -> Result<Box<dyn Stream>, NotGreeted> {
    match tls {
        None => Ok(Box::new(stream)),
        Some(tls) => Ok(Box::new(tls.accept(stream).await.map_err(|_| NotGreeted::NoConnect)?)),
    }
}

async fn attend(house: &House, guest: Guest, address: SocketAddr) -> Ending {
    let key = guest.attached.attachment.key().clone();
    tracing::info!(client = key.client(), user = %key.user(), %address, "a client connected");
    let ending = serve(house, guest).await;
    tracing::info!(client = key.client(), user = %key.user(), %address, %ending, "a connection ended");
    ending
}

async fn end_all(mut connections: JoinSet<Option<Ending>>) {
    let count = connections.len();
    let all = async { while connections.join_next().await.is_some() {} };
    match timeout(SHUTDOWN_GRACE, all).await {
        Ok(()) => tracing::info!(count, "all connections ended"),
        Err(_) => {
            tracing::warn!(
                count,
                left = connections.len(),
                "cut off the connections that did not end in time"
            );
            connections.shutdown().await;
        }
    }
}

/// How many connections each address has.
#[derive(Debug, Default)]
pub(super) struct Addresses(Mutex<BTreeMap<IpAddr, usize>>);

/// A connection's place within the bounds; dropping it makes room.
pub(super) struct Place {
    house: Arc<House>,
    address: IpAddr,
    _permit: OwnedSemaphorePermit,
}

impl Place {
    pub(super) fn take(house: &Arc<House>, address: IpAddr) -> Option<Self> {
        let permit = Arc::clone(&house.places).try_acquire_owned().ok()?;
        let mut addresses = house.addresses.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = addresses.entry(address).or_default();
        // Whoever is on this machine has simpler ways to do harm, and a bridge or a test comes from here.
        if *count >= house.exchange.limits.connections_per_address && !address.is_loopback() {
            return None;
        }
        *count += 1;
        Some(Self { house: Arc::clone(house), address, _permit: permit })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut addresses = self.house.addresses.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = addresses.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                addresses.remove(&self.address);
            }
        }
    }
}
