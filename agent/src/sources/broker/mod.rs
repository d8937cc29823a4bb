//! The MQTT broker inside the agent: 3.1.1 and 5, on `rmqtt-codec` for the bytes and a session layer of our own,
//! because of one promise.
//!
//! **The promise of a PUBACK.** PUBACK (QoS 1) or PUBREC (QoS 2) leaves for the publisher when its message and everything
//! that follows from it are on stable storage, and not before. If they cannot be stored the connection is closed without it.
//!
//! ```text
//!  listener ─► greeting ─► connection ─► ingress ─► Intake ─► pump, store
//!   bounds      version     reader and    acl, size              │ receipt
//!   TLS         password    writer   ◄───────────────────────────┘
//!               will          │ stored: then, and in order, subscribers and acks
//!                             ▼
//!                         exchange: sessions, topic tree, retained, wills
//! ```
//!
//! Who may do what (decision 0003): the user name is the device id. A device publishes only below its own
//! `vigil/v1/{site}/{device}/` (and to the foreign topics that the site file gives it) and subscribes to its own
//! `prompt`, to `alerts` and to `gateway`. Any other user of the password file subscribes below `vigil/v1/{site}/` and
//! publishes nothing. Client ids are each user's own: the same id of another user is another session. A refused publish
//! is acknowledged, recorded by reason, and goes no further. Of what devices publish only their `status` is retained.
//! With `allow_anonymous`, and from a loopback address only, a client without a user name may speak for every device, and
//! without a password file a user name is taken at its word.
//!
//! Sessions, what waits for their clients and what is retained outlive the agent (decision 0033): it is written behind, and
//! what a client was promised waits for it. Everything is bounded; the numbers and their reasons are in [`Limits`].

mod acl;
mod connection;
mod exchange;
mod greeting;
mod ingress;
mod limits;
mod listener;
mod passwords;
mod reader;
mod retained;
mod session;
mod shares;
#[cfg(test)]
#[expect(clippy::wildcard_enum_match_arm, reason = "any other packet fails the test")]
mod tests;
mod tls;
mod topics;
mod will;
mod wire;
mod writer;

pub use limits::{Counts, Limits};
pub use passwords::{Flaw, PasswordError, Passwords, Problem, line as password_line};
pub use tls::{TlsError, TlsFiles};
pub use topics::InvalidTopic;

use super::Intake;
use crate::clock::Clock;
use crate::store::KeptByName;
use bytes::Bytes;
use exchange::Exchange;
pub use exchange::Page;
use ingress::Ingress;
use limits::VERIFICATIONS;
use listener::{Addresses, Door};
use session::Message;
use shares::Shares;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use vigil_core::site::Site;

/// What a broker is told.
#[derive(Debug, Clone)]
pub struct BrokerConfig {
    /// Where it listens; port 0 picks one.
    pub listen: SocketAddr,
    /// Where it listens with TLS, and with what.
    pub tls: Option<(SocketAddr, TlsFiles)>,
    /// Who may connect, in the format of `mosquitto_passwd`; absent only with `allow_anonymous`.
    pub password_file: Option<PathBuf>,
    /// Whether a client on this machine needs no password; for development.
    pub allow_anonymous: bool,
    /// The bounds.
    pub limits: Limits,
}

/// A broker that cannot start or go on.
#[derive(Debug, thiserror::Error)]
pub enum BrokerError {
    /// The address is taken, or not of this machine.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// Which address.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// TLS cannot be offered.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The password file cannot be used.
    #[error(transparent)]
    Passwords(#[from] PasswordError),
    /// Nobody could connect.
    #[error("no password file: set password_file, or allow_anonymous = true for development on this machine")]
    NoPasswords,
    /// The agent takes no more input.
    #[error("the agent takes no more input")]
    Stopped,
}

/// A message that cannot be published.
pub type PublishError = InvalidTopic;

/// The rooms that every connection uses.
struct House {
    exchange: Arc<Exchange>,
    ingress: Ingress,
    passwords: RwLock<Option<Arc<Passwords>>>,
    password_file: Option<PathBuf>,
    allow_anonymous: bool,
    verifications: Semaphore,
    places: Arc<Semaphore>,
    addresses: Addresses,
    shares: Shares,
}

impl House {
    fn passwords(&self) -> Option<Arc<Passwords>> {
        self.passwords.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// A broker that listens and waits to be run.
pub struct Broker {
    house: Arc<House>,
    plain: Door,
    secure: Option<Door>,
    local: SocketAddr,
    local_tls: Option<SocketAddr>,
}

impl fmt::Debug for Broker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Broker")
            .field("local", &self.local)
            .field("local_tls", &self.local_tls)
            .finish_non_exhaustive()
    }
}

/// The agent's own way to its subscribers. Cheap to clone; publishing never waits.
#[derive(Clone)]
pub struct BrokerHandle {
    house: Arc<House>,
}

impl fmt::Debug for BrokerHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BrokerHandle").field("counts", &self.counts()).finish()
    }
}

impl Broker {
    /// Reads the files and opens the sockets; connections wait until [`run`](Self::run).
    pub async fn bind(
        config: BrokerConfig,
        intake: Intake,
        site: watch::Receiver<Arc<Site>>,
    ) -> Result<Self, BrokerError> {
        let passwords = config.password_file.as_deref().map(Passwords::read).transpose()?;
        if passwords.is_none() && !config.allow_anonymous {
            return Err(BrokerError::NoPasswords);
        }
        if config.allow_anonymous {
            tracing::warn!(
                "anonymous clients on this machine may speak for every device: for development only"
            );
        }
        let (plain, local) = open(config.listen, None, &intake.clock).await?;
        let (secure, local_tls) = match &config.tls {
            None => (None, None),
            Some((address, files)) => {
                let (door, local) = open(*address, Some(files), &intake.clock).await?;
                (Some(door), Some(local))
            }
        };
        let house = Arc::new(House::new(config, passwords, intake, site));
        Ok(Self { house, plain, secure, local, local_tls })
    }

    /// The way to publish and to ask.
    pub fn handle(&self) -> BrokerHandle {
        BrokerHandle { house: Arc::clone(&self.house) }
    }

    /// Where it listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// Where it listens with TLS.
    pub fn local_tls_addr(&self) -> Option<SocketAddr> {
        self.local_tls
    }

    /// Serves until `shutdown` resolves, and then ends every connection within two seconds.
    pub async fn run(self, shutdown: impl Future<Output = ()>) -> Result<(), BrokerError> {
        listener::run(self.house, self.plain, self.secure, shutdown).await
    }
}

impl House {
    fn new(
        config: BrokerConfig,
        passwords: Option<Passwords>,
        intake: Intake,
        site: watch::Receiver<Arc<Site>>,
    ) -> Self {
        let places = Arc::new(Semaphore::new(config.limits.connections));
        let exchange = Arc::new(Exchange::new(config.limits));
        Self {
            ingress: Ingress::new(intake, site, Arc::clone(&exchange)),
            exchange,
            passwords: RwLock::new(passwords.map(Arc::new)),
            password_file: config.password_file,
            allow_anonymous: config.allow_anonymous,
            verifications: Semaphore::new(VERIFICATIONS),
            places,
            addresses: Addresses::default(),
            shares: Shares::default(),
        }
    }
}

impl BrokerHandle {
    /// Publishes a message of the agent, QoS 1, to whoever subscribed.
    pub fn publish(&self, topic: &str, payload: impl Into<Bytes>, retain: bool) -> Result<(), PublishError> {
        topics::check_name(topic)?;
        self.house.exchange.publish(Message::new(topic, payload.into(), retain), None);
        Ok(())
    }

    /// Takes up what an earlier life has kept, and notes from now on what changes; `None` if it cannot be read now.
    pub fn restore(&self, kept: Option<KeptByName>) {
        self.house.exchange.restore(kept, self.house.ingress.now());
    }

    /// Waits until there is something to write.
    pub async fn changed(&self) {
        self.house.exchange.changed().await;
    }

    /// What is to be written next.
    pub fn page(&self) -> Page {
        self.house.exchange.page(self.house.ingress.now())
    }

    /// A page is on stable storage; true if another is to be written at once.
    pub fn on_written(&self, page: &Page) -> bool {
        self.house.exchange.on_written(page)
    }

    /// Waits until what was published so far is kept for those who are to get it.
    pub async fn settle(&self) {
        self.house.exchange.settle().await;
    }

    /// What happened so far, for `/metrics`.
    pub fn counts(&self) -> Counts {
        self.house.exchange.counts()
    }

    /// Reads the password file again; the old one stays in use if the new one is wrong. Those who are connected stay.
    pub fn reload_passwords(&self) -> Result<(), PasswordError> {
        let Some(path) = &self.house.password_file else { return Ok(()) };
        let passwords = Passwords::read(path)?;
        *self.house.passwords.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(passwords));
        Ok(())
    }
}

async fn open(
    address: SocketAddr,
    tls: Option<&TlsFiles>,
    clock: &Clock,
) -> Result<(Door, SocketAddr), BrokerError> {
    let tls = tls.map(|files| tls::acceptor(files, clock)).transpose()?;
    let failed = |source| BrokerError::Listen { address, source };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let local = listener.local_addr().map_err(failed)?;
    Ok((Door { listener, tls }, local))
}
