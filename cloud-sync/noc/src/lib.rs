//! The receiver at the network operations centre: what gateways send, once each, and who looks at it.
//!
//! ```text
//!  gateways ─► serve ─► receive ─► incoming (pure) ─► ledger (SQLite, or PostgreSQL that several receivers share)
//!     ▲                                                  │
//!     └───── commands (long poll) ◄──────────────────────┤◄─── orders ◄───────┐
//!                                                        │                    │
//!  people ─► serve ─► door (who, and may they?) ─► routes ┼─► operator, office ┘
//!     ▲                                                  │
//!     └─────────── feed ◄── crier ◄──────────────────────┘ news of this receiver and the others
//! ```

pub mod access;
mod archive;
mod cases;
mod clock;
mod commands;
mod console;
mod crier;
mod door;
pub mod escalation;
mod feed;
mod hearing;
pub mod incoming;
pub mod ledger;
mod office;
pub mod openapi;
mod operator;
mod orders;
mod presence;
mod receive;
mod refusal;
pub mod reports;
mod routes;
mod seats;
pub mod sequence;
pub mod sites;

pub use access::{AccessError, Denied, GatewayAccess, Person, Role, Scope, UnknownRole, token_sha256};
pub use presence::LOST_AFTER;
pub use vigil_listen::{Limits, Peer, ServeError, Server, Shown, TlsFiles};

use access::Register;
use commands::{Bells, WaitingRoom};
use console::{Console, Room};
use door::Proxies;
use escalation::{Caller, Escalation, EscalationError, Ways};
use feed::Feed;
use ledger::{Address, Clerk, LedgerError, Listener, Place};
use sites::Press;
use std::fs::File;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::sync::{Notify, watch};
use vigil_listen::lock::{self, NoLock};
use vigil_listen::serve::{self, stopped};

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
    /// Where operators look.
    pub operator_listen: SocketAddr,
    /// Certificate and key for operators; plain HTTP without, on loopback only.
    pub operator_tls: Option<TlsFiles>,
    /// The reverse proxies before the operators' side that are believed about where a request comes from.
    pub trusted_proxies: Vec<IpAddr>,
    /// Who passes the connections of many gateways on, and may have as many as there are.
    pub balancers: Vec<IpAddr>,
    /// How many files this process may have open; as many as it wants, if nobody says.
    pub files: Option<usize>,
    /// The folder of the ledger; made if it is not there.
    pub data_dir: PathBuf,
    /// The server that keeps the ledger instead, which other receivers may share.
    pub database: Option<Address>,
    /// Certificate and key for gateways; plain HTTP without.
    pub tls: Option<TlsFiles>,
    /// The authority of the certificates with which gateways may come.
    pub client_ca: Option<PathBuf>,
    /// Who may send.
    pub gateways: Vec<GatewayAccess>,
    /// What checks and signs site files; without it none can be given.
    pub press: Option<Press>,
    /// Who is told of alerts that nobody takes on; without it nobody is.
    pub escalation: Option<Escalation>,
}

/// The fewest connections of gateways: for a few hundred of them, and strangers do not keep them out.
const FEWEST_CONNECTIONS: usize = 1_024;
/// For 10,000 gateways, two each: at 40 kB each they are 800 MB.
const MOST_CONNECTIONS: usize = 20_480;
/// Files beside connections: the ledger with its log or nine lines to PostgreSQL, hooks and mails under way, certificates that are read.
const OTHER_FILES: usize = 64;
/// With fewer files than these for connections there is no point in serving anybody.
const LEAST_FILES: usize = 64;

impl NocConfig {
    /// How many connections gateways may have at once: each waits for commands on one and sends on another, and a quarter more
    /// are for those whose old one has not been missed yet.
    fn connections(&self) -> usize {
        let wanted = self.gateways.len().saturating_mul(5) / 2;
        wanted.clamp(FEWEST_CONNECTIONS, MOST_CONNECTIONS)
    }

    /// How many files it wants to have open at once.
    pub fn wants_files(&self) -> usize {
        self.connections() + Limits::default().connections + OTHER_FILES
    }

    /// How many connections gateways and people may have. With fewer files than are wanted both have fewer: a connection for which
    /// there is no file would be one that an alert or an operator waits for.
    fn rooms(&self) -> Result<(usize, usize), NocError> {
        let (gateways, people) = (self.connections(), Limits::default().connections);
        let files = self.files.unwrap_or_else(|| self.wants_files());
        let room = files.saturating_sub(OTHER_FILES);
        if room >= gateways + people {
            return Ok((gateways, people));
        }
        if room < LEAST_FILES {
            return Err(NocError::Files { files, least: OTHER_FILES + LEAST_FILES });
        }
        let few_people = room.saturating_mul(people) / (gateways + people);
        let few_gateways = room - few_people;
        tracing::warn!(
            files,
            wanted = self.wants_files(),
            connections = few_gateways,
            of = gateways,
            "this process may open fewer files than its gateways need, and takes fewer connections: raise LimitNOFILE of its unit, or \
             `ulimit -n`"
        );
        Ok((few_gateways, few_people))
    }

    /// A receiver on free ports of this machine, in clear.
    pub fn on_loopback(data_dir: PathBuf, gateways: Vec<GatewayAccess>) -> Self {
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        Self {
            events_listen: any,
            operator_listen: any,
            operator_tls: None,
            trusted_proxies: vec![],
            balancers: vec![],
            files: None,
            data_dir,
            database: None,
            tls: None,
            client_ca: None,
            gateways,
            press: None,
            escalation: None,
        }
    }
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
    /// There is no room for connections.
    #[error("this process may open {files} files, and needs at least {least}")]
    Files {
        /// How many it may open.
        files: usize,
        /// With how many it can serve somebody.
        least: usize,
    },
    /// People would send their passwords in clear.
    #[error("{0} can be reached from other machines; passwords do not go there without TLS")]
    OpenPages(SocketAddr),
    /// Contacts cannot be reached as they are set up.
    #[error(transparent)]
    Escalation(#[from] EscalationError),
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
    /// How many gateways may wait for commands at once: half of the connections stay free for events.
    waiting: usize,
    over_tls: bool,
    proxies: Proxies,
    press: Option<Press>,
    escalation: Option<(Arc<Escalation>, Arc<Ways>)>,
    register: Register,
    clerk: Clerk,
    news: Listener,
    /// Held for as long as there is a receiver: two on one file would each tell half of the operators.
    lock: Option<File>,
}

impl Noc {
    /// Checks everything, opens the ledger and listens; nothing is answered yet.
    pub async fn bind(config: NocConfig) -> Result<Self, NocError> {
        let (for_gateways, for_people) = config.rooms()?;
        let for_gateways = Limits { crowds: config.balancers, ..Limits::of(for_gateways) };
        let register = Register::new(config.gateways)?;
        let escalation = config.escalation.map(|escalation| {
            let ways = Ways::open(&escalation)?;
            Ok::<_, EscalationError>((Arc::new(escalation), Arc::new(ways)))
        });
        let escalation = escalation.transpose()?;
        let client_ca = config.client_ca.as_deref();
        let tls = config.tls.as_ref().map(|files| serve::tls_config_with(files, client_ca)).transpose()?;
        let operator_tls = config.operator_tls.as_ref().map(serve::tls_config).transpose()?;
        if operator_tls.is_none() && !config.operator_listen.ip().is_loopback() {
            return Err(NocError::OpenPages(config.operator_listen));
        }
        warn_of_the_open(config.events_listen, tls.is_some());
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
        let waiting = for_gateways.connections / 2;
        let events = Server::bind(config.events_listen, tls).await?.with_limits(for_gateways);
        let over_tls = operator_tls.is_some();
        let operator = Server::bind(config.operator_listen, operator_tls).await?;
        let operator = operator.with_limits(Limits::of(for_people));
        let (proxies, press) = (Proxies::new(config.trusted_proxies), config.press);
        Ok(Self {
            events,
            operator,
            waiting,
            over_tls,
            proxies,
            press,
            escalation,
            register,
            clerk,
            news,
            lock,
        })
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
        let bell = Arc::new(Notify::new());
        let crier = crier::Crier {
            clerk: self.clerk.clone(),
            feed: feed.clone(),
            bells: bells.clone(),
            bell: Arc::clone(&bell),
            now,
        };
        let caller = self.escalation.map(|plan| Caller::new(self.clerk.clone(), plan, bell, now));
        let calling = stopped(stopping.clone());
        let calling = async move {
            if let Some(caller) = caller {
                caller.call(calling).await;
            }
        };
        let room = Room {
            clerk: self.clerk.clone(),
            feed,
            now,
            listed: self.register.origins().cloned().collect(),
            stopping: stopping.clone(),
            tls: self.over_tls,
            proxies: self.proxies,
            press: self.press,
        };
        let operators = routes::router(&Console::open(room));
        let reception = receive::Reception {
            register: self.register,
            clerk: self.clerk.clone(),
            waiting: WaitingRoom::open(bells, self.waiting, stopping.clone()),
            now,
        };
        let clerk = self.clerk.clone();
        let shutdown = async {
            let ended = tokio::select! {
                () = shutdown => Ok(()),
                () = clerk.gone() => Err(NocError::Ledger(LedgerError::Closed)),
            };
            stop.send_replace(true);
            ended
        };
        let (ended, (), (), (), ()) = tokio::join!(
            shutdown,
            calling,
            crier.cry(self.news, stopped(stopping.clone())),
            self.events.serve(receive::router(reception), stopped(stopping.clone())),
            self.operator.serve(operators, stopped(stopping)),
        );
        drop(self.lock);
        ended
    }
}

fn warn_of_the_open(events: SocketAddr, tls: bool) {
    if !tls && !events.ip().is_loopback() {
        tracing::warn!(%events, "gateways would send their tokens in clear; give the receiver a certificate");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn set_up(dir: &tempfile::TempDir) -> NocConfig {
        NocConfig::on_loopback(dir.path().to_owned(), vec![])
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
