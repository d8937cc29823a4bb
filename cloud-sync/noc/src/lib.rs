//! The receiver at the network operations centre: what gateways send, once each, and who looks at it.
//!
//! ```text
//!  gateways ─► serve ─► receive ─► incoming (pure) ─► ledger (SQLite, or PostgreSQL that several receivers share)
//!     ▲                                                  │
//!     └───── commands (long poll) ◄──────────────────────┤◄─── orders ◄─ operators
//!                                                        │
//!  operators ◄─ serve ◄─ operator (page, API) ◄──────────┤
//!                              ▲                         │
//!                              └──── feed ◄── crier ◄─┘ news of this receiver and the others
//! ```

pub mod access;
pub mod admission;
mod cases;
mod clock;
mod commands;
mod crier;
pub mod dress;
mod feed;
pub mod incoming;
pub mod ledger;
pub mod lock;
mod operator;
mod orders;
mod presence;
mod receive;
pub mod sequence;
pub mod serve;
mod stand_in;

pub use access::{AccessError, GatewayAccess, token_sha256};
pub use admission::{Stranger, admit, admit_from_here};
pub use presence::LOST_AFTER;
pub use serve::{Limits, Peer, ServeError, Server, TlsFiles};

use access::Register;
use commands::{Bells, WaitingRoom};
use feed::Feed;
use ledger::{Address, Clerk, LedgerError, Listener, Place};
use lock::NoLock;
use serve::stopped;
use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use tokio::sync::watch;

/// The file in the data folder.
const LEDGER_FILE: &str = "noc.db";

/// Where the ledger of a receiver is: at a server, or in its folder.
pub fn place(data_dir: &Path, database: Option<&Address>) -> Place {
    database.map_or_else(
        || Place::File(data_dir.join(LEDGER_FILE)),
        |address| Place::Server(Box::new(address.clone())),
    )
}

/// How the receiver is set up.
#[derive(Debug, Clone)]
pub struct NocConfig {
    /// Where gateways send; port 0 picks one.
    pub events_listen: SocketAddr,
    /// Where operators look: loopback, or behind something that knows them.
    pub operator_listen: SocketAddr,
    /// The folder of the ledger; made if it is not there.
    pub data_dir: PathBuf,
    /// The server that keeps the ledger instead, which other receivers may share.
    pub database: Option<Address>,
    /// Certificate and key for gateways; plain HTTP without.
    pub tls: Option<TlsFiles>,
    /// Who may send.
    pub gateways: Vec<GatewayAccess>,
}

/// The receiver cannot start.
#[derive(Debug, thiserror::Error)]
pub enum NocError {
    /// The data folder cannot be made.
    #[error("cannot make the folder {}: {source}", path.display())]
    DataDir {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The list of gateways is wrong.
    #[error(transparent)]
    Access(#[from] AccessError),
    /// A listener cannot be set up.
    #[error(transparent)]
    Serve(#[from] ServeError),
    /// Another receiver has the ledger.
    #[error(transparent)]
    Locked(#[from] NoLock),
    /// The ledger cannot be opened.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

/// A receiver that listens, and serves from [`Noc::serve`] on.
pub struct Noc {
    events: Server,
    operator: Server,
    register: Register,
    clerk: Clerk,
    news: Listener,
    /// Held for as long as there is a receiver: two on one file would each tell half of the operators.
    lock: Option<File>,
}

impl Noc {
    /// Checks everything, opens the ledger and listens; nothing is answered yet.
    pub async fn bind(config: NocConfig) -> Result<Self, NocError> {
        let register = Register::new(config.gateways)?;
        let tls = config.tls.as_ref().map(serve::tls_config).transpose()?;
        warn_of_the_open(config.events_listen, config.operator_listen, tls.is_some());
        let place = place(&config.data_dir, config.database.as_ref());
        let lock = match &place {
            Place::File(path) => {
                std::fs::create_dir_all(&config.data_dir)
                    .map_err(|source| NocError::DataDir { path: config.data_dir.clone(), source })?;
                Some(lock::take_for(path)?)
            }
            Place::Server(_) => None,
        };
        let (teller, news) = place.news()?;
        let clerk = Clerk::hire(place.hands(), move || place.open(Some(&teller))).await?;
        let origins: Vec<_> = register.origins().cloned().collect();
        clerk
            .ask(move |ledger| {
                origins.iter().try_for_each(|origin| ledger.enrol(origin))?;
                ledger.keep_up(clock::wall())
            })
            .await?;
        let events = Server::bind(config.events_listen, tls).await?;
        let operator = Server::bind(config.operator_listen, None).await?;
        Ok(Self { events, operator, register, clerk, news, lock })
    }

    /// Where gateways send.
    pub const fn events_addr(&self) -> SocketAddr {
        self.events.local_addr()
    }

    /// Where operators look.
    pub const fn operator_addr(&self) -> SocketAddr {
        self.operator.local_addr()
    }

    /// Whoever keeps the ledger, for whoever has to believe that it lives.
    pub fn clerk(&self) -> Clerk {
        self.clerk.clone()
    }

    /// Serves both until `shutdown`. A receiver whose ledger is gone ends with an error: nothing would be stored any more,
    /// and whoever started it starts it again.
    pub async fn serve(self, shutdown: impl Future<Output = ()>) -> Result<(), NocError> {
        let (stop, stopping) = watch::channel(false);
        let (feed, now) = (Feed::default(), clock::wall as clock::Now);
        let bells = Bells::hang(self.register.origins());
        let ordering = orders::Ordering {
            gateways: self.register.origins().cloned().collect(),
            clerk: self.clerk.clone(),
            now,
        };
        let desk = cases::Desk { clerk: self.clerk.clone(), now };
        let changing = orders::router(ordering).merge(cases::router(desk));
        let crier = crier::Crier { clerk: self.clerk.clone(), feed: feed.clone(), bells: bells.clone(), now };
        let reception = receive::Reception {
            register: self.register,
            clerk: self.clerk.clone(),
            waiting: WaitingRoom::open(bells, stopping.clone()),
            now,
        };
        let clerk = self.clerk.clone();
        let room = operator::Room { clerk: self.clerk, feed, now, stopping: stopping.clone() };
        let shutdown = async {
            let ended = tokio::select! {
                () = shutdown => Ok(()),
                () = clerk.gone() => Err(NocError::Ledger(LedgerError::Closed)),
            };
            stop.send_replace(true);
            ended
        };
        let (ended, (), (), ()) = tokio::join!(
            shutdown,
            crier.cry(self.news, stopped(stopping.clone())),
            self.events.serve(receive::router(reception), stopped(stopping.clone())),
            self.operator.serve(operator::router(room, changing), stopped(stopping)),
        );
        drop(self.lock);
        ended
    }
}

fn warn_of_the_open(events: SocketAddr, operator: SocketAddr, tls: bool) {
    if !tls && !events.ip().is_loopback() {
        tracing::warn!(%events, "gateways would send their tokens in clear; give the receiver a certificate");
    }
    if !operator.ip().is_loopback() {
        tracing::warn!(%operator, "the operator page asks for no password; put it behind something that does");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn set_up(dir: &tempfile::TempDir) -> NocConfig {
        let here = SocketAddr::from(([127, 0, 0, 1], 0));
        NocConfig {
            events_listen: here,
            operator_listen: here,
            data_dir: dir.path().to_owned(),
            database: None,
            tls: None,
            gateways: vec![],
        }
    }

    #[tokio::test]
    async fn two_receivers_never_share_a_ledger() {
        let dir = tempfile::tempdir().unwrap();
        let noc = Noc::bind(set_up(&dir)).await.unwrap();
        let why = Noc::bind(set_up(&dir)).await.err().unwrap();
        assert!(matches!(why, NocError::Locked(NoLock::InUse { by: Some(_), .. })), "{why}");
        assert!(why.to_string().contains("noc.db is in use by another process"), "{why}");
        drop(noc);
        Noc::bind(set_up(&dir)).await.unwrap();
    }

    #[tokio::test]
    async fn a_receiver_whose_ledger_is_gone_ends() {
        let dir = tempfile::tempdir().unwrap();
        let noc = Noc::bind(set_up(&dir)).await.unwrap();
        let clerk = noc.clerk.clone();
        let serving = tokio::spawn(noc.serve(std::future::pending()));
        let fell = clerk.ask(|_| -> Result<(), LedgerError> { panic!("a defect") }).await;
        assert!(matches!(fell, Err(LedgerError::Closed)));
        let ended = tokio::time::timeout(Duration::from_secs(30), serving).await.expect("it ends").unwrap();
        assert!(matches!(ended, Err(NocError::Ledger(LedgerError::Closed))), "{ended:?}");
    }
}
