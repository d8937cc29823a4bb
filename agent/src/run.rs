//! Every channel and task of the daemon, on one screen.
//!
//! ```text
//!  sources ─Inbound──► pump (own thread: engine + store) ──► outbox ──► courier ──► NOC
//!    ▲                   ▲  │  ▲                        └──► announcer ──► source (MQTT)
//!    └───── receipts ────┼──┘  └── inbox ◄── listener ◄── NOC (commands)
//!                        └── questions: page, health
//! ```
//!
//! Every task's end is known: a task that ends before the agent is told to stop is an error, and stops it.

use crate::bundles::{Bundles, Porter, Refresher, Standing};
use crate::clock::Clock;
use crate::http::{self, Desk, SourceState};
use crate::pump::{self, PumpError, PumpHandle, Revived, Started, Terms, Wakes};
use crate::setup::{Setup, SourceSetup, UplinkSetup};
use crate::sources::voice::Voice;
use crate::sources::{Intake, broker, mqtt, serial};
use crate::store::{KeptByName, StoreError};
pub use crate::switch::{NotSwitched, Switch};
use crate::systemd::Condition;
use crate::uplink::{Ends, Receiver};
use crate::{announcer, keeper};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use vigil_cloud_sync::{Cadence, Pace, Uplink};
use vigil_core::site::Site;
use vigil_listen::Server;

/// A stop drains and flushes within five seconds (contract 1): so long for the store,
const DRAIN: Duration = Duration::from_secs(3);
/// and so long for the last acknowledgements and the open pages.
const FAREWELL: Duration = Duration::from_millis(1_500);

/// Why the agent stopped, or did not start.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The store does not open.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The pump failed: nothing that it held was acknowledged.
    #[error(transparent)]
    Pump(#[from] PumpError),
    /// The page cannot be served.
    #[error(transparent)]
    Page(#[from] vigil_listen::ServeError),
    /// The broker cannot start, or failed.
    #[error(transparent)]
    Broker(#[from] broker::BrokerError),
    /// The uplink cannot be set up.
    #[error(transparent)]
    Uplink(#[from] vigil_cloud_sync::UplinkError),
    /// A task ended before it was told to.
    #[error("the {0} ended by itself")]
    Ended(&'static str),
    /// The pump did not finish in time.
    #[error("the store did not finish within {} s", DRAIN.as_secs())]
    Stuck,
    /// The disk does not answer.
    #[error("the store did not answer for {} s: the disk is stuck", pump::HOPELESS_AFTER.as_secs())]
    Hopeless,
    /// The operating system gave no thread.
    #[error("cannot start a thread: {0}")]
    Thread(#[from] std::io::Error),
}

/// An agent that listens and has taken up where it stood, and serves from [`Agent::run`] on.
pub struct Agent {
    pump: PumpHandle,
    pump_end: tokio::sync::oneshot::Receiver<Result<(), PumpError>>,
    stop: watch::Sender<bool>,
    switch: Switch,
    condition: Condition,
    tasks: JoinSet<Result<(), RunError>>,
    mqtt_addr: Option<SocketAddr>,
    http_addr: SocketAddr,
    revived: Revived,
}

impl Agent {
    /// Opens the store, rebuilds the engine, listens.
    pub async fn start(setup: Setup, clock: Clock) -> Result<Self, RunError> {
        let (stop, stopping) = watch::channel(false);
        let (site, site_seen) = watch::channel(Arc::clone(&setup.site));
        let (queue, inbound) = mpsc::channel(pump::QUEUE);
        let wakes = Wakes::default();
        let terms = Terms {
            retention: setup.retention,
            max_bytes: setup.max_bytes,
            has_uplink: setup.uplink.is_some(),
        };
        let (folder, here) = (setup.data_dir.join("db"), Arc::clone(&setup.site));
        let (mut pump, handle, revived) =
            Started::at((folder, setup.masters), here, clock.clone(), terms, inbound, wakes.clone())
                .map_err(not_started)?;
        let kept = pump.kept().map_err(not_started)?;
        let intake = Intake::new(site_seen.clone(), queue, clock.clone());
        let recall = intake.recall();
        let mut tasks = JoinSet::new();
        let serial = lines(&mut tasks, setup.serial, &intake, &stopping);
        let (voice, source, mqtt_addr) =
            source(&mut tasks, setup.source, (intake, kept), site_seen, &handle, &stopping).await?;
        // Bundles come from an operations centre, and from nobody else.
        let centre = matches!(setup.uplink, Some(UplinkSetup::Centre(_)));
        let bundles = setup.bundles.filter(|_| centre);
        let (standing, bundle) = bundles.is_some().then(|| watch::channel(Standing::default())).unzip();
        let switch = Switch::new(handle.clone(), site.clone(), voice.broker().cloned(), bundle.clone());
        let porter = |tasks: &mut JoinSet<_>, line| {
            let ways = (switch.clone(), handle.clone(), clock.clone());
            Some(porter(tasks, bundles.zip(standing)?, line, ways, &setup.site, &stopping))
        };
        let ways = Ends { pump: &handle, wake: &wakes.uplink, clock: &clock, stopping: &stopping };
        let uplink =
            setup.uplink.map(|uplink| ways.lead(&mut tasks, uplink, setup.heartbeat, porter)).transpose()?;
        let link = uplink.as_ref().map(|uplink| uplink.link.clone());
        let takes_health = uplink.as_ref().is_some_and(|uplink| uplink.receiver == Receiver::Centre);
        let desk = Desk {
            gateway: setup.gateway.clone(),
            pump: handle.clone(),
            uplink,
            clock: clock.clone(),
            source: source.clone(),
            serial,
            recall,
            bundle: bundle.clone(),
            broker: voice.broker().cloned(),
            stopping: stopping.clone(),
            glance: Arc::default(),
            reading: Arc::default(),
        };
        let condition = Condition {
            pump: handle.clone(),
            source,
            link: link.clone(),
            clock: clock.clone(),
            site: site.subscribe(),
        };
        let http_addr = page(&mut tasks, setup.http_listen, desk, &stopping).await?;
        let announcer = announcer::Announcer {
            pump: handle.clone(),
            voice,
            wake: wakes.announcer,
            unstored: wakes.unstored,
            site: site.subscribe(),
            gateway: setup.gateway,
            link,
            takes_health,
            clock,
            heartbeat: setup.heartbeat,
            bundle,
            stopping: stopping.clone(),
        };
        tasks.spawn(watch(handle.clone(), stopping.clone()));
        tasks.spawn(async move { announcer.run().await.map_err(|_| RunError::Ended("pump")) });
        let pump_end = on_own_thread(pump, stopping)?;
        Ok(Self { pump: handle, pump_end, stop, switch, condition, tasks, mqtt_addr, http_addr, revived })
    }

    /// Where the embedded broker listens.
    pub const fn mqtt_addr(&self) -> Option<SocketAddr> {
        self.mqtt_addr
    }
    /// Where the page is.
    pub const fn http_addr(&self) -> SocketAddr {
        self.http_addr
    }
    /// What the start found in the store.
    pub const fn revived(&self) -> Revived {
        self.revived
    }
    /// The way to ask the pump.
    pub fn pump(&self) -> PumpHandle {
        self.pump.clone()
    }
    /// Where it can be seen how it is.
    pub fn condition(&self) -> Condition {
        self.condition.clone()
    }
    /// The way to switch to another site file, and to other passwords.
    pub fn switch(&self) -> Switch {
        self.switch.clone()
    }

    /// Runs a task of its owner beside its own: it ends with the agent, and the agent with it.
    pub fn beside(&mut self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        let stop = told_to_stop(self.stop.subscribe());
        self.tasks.spawn(async move {
            tokio::select! {
                () = stop => Ok(()),
                () = task => Err(RunError::Ended(name)),
            }
        });
    }

    /// Runs until `shutdown`; then what is queued is stored and acknowledged, and everything ends.
    pub async fn run(mut self, shutdown: impl Future<Output = ()>) -> Result<(), RunError> {
        let early = tokio::select! {
            () = shutdown => None,
            ended = &mut self.pump_end => Some(pump_result(ended).and(Err(RunError::Ended("pump")))),
            Some(ended) = self.tasks.join_next() => Some(ended.unwrap_or(Err(RunError::Ended("task"))).and(Err(RunError::Ended("task")))),
        };
        self.stop.send_replace(true);
        let drained = match early {
            Some(Err(RunError::Pump(why))) => return Err(RunError::Pump(why)),
            _ => match tokio::time::timeout(DRAIN, self.pump_end).await {
                Ok(ended) => pump_result(ended),
                Err(_) => Err(RunError::Stuck),
            },
        };
        // Receipts of the last commit are still on their way to the devices.
        let farewell = async { while self.tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(FAREWELL, farewell).await.is_err() {
            tracing::warn!("connections that did not end in time are cut; their devices send again");
        }
        self.tasks.shutdown().await;
        early.unwrap_or(Ok(())).and(drained)
    }
}

/// A store that does not open is told apart from a pump that fails.
fn not_started(why: PumpError) -> RunError {
    match why {
        PumpError::Store(why) => RunError::Store(why),
        why @ (PumpError::Snapshot(_) | PumpError::OtherSite { .. }) => RunError::Pump(why),
    }
}

/// Ends the agent when its store is stuck for good: whoever started it starts it anew.
async fn watch(pump: PumpHandle, stopping: watch::Receiver<bool>) -> Result<(), RunError> {
    tokio::select! {
        () = told_to_stop(stopping) => Ok(()),
        () = pump.pulse().stops() => Err(RunError::Hopeless),
    }
}

fn pump_result(
    ended: Result<Result<(), PumpError>, tokio::sync::oneshot::error::RecvError>,
) -> Result<(), RunError> {
    Ok(ended.map_err(|_| RunError::Ended("pump"))??)
}

/// One OS thread owns the store: nothing that the runtime does can hold up a commit.
fn on_own_thread(
    pump: Started,
    mut stopping: watch::Receiver<bool>,
) -> Result<tokio::sync::oneshot::Receiver<Result<(), PumpError>>, RunError> {
    let (end, ended) = tokio::sync::oneshot::channel();
    let runtime = tokio::runtime::Handle::current();
    std::thread::Builder::new().name("pump".into()).spawn(move || {
        // Whoever waited for the end is gone only when the whole agent is.
        let _unheard = end.send(pump.run(&runtime, &mut stopping));
    })?;
    Ok(ended)
}

/// Resolves when the agent is told to stop, or is gone.
pub(crate) async fn told_to_stop(mut stopping: watch::Receiver<bool>) {
    let _gone = stopping.wait_for(|stop| *stop).await;
}

type Source = (Voice, watch::Receiver<SourceState>, Option<SocketAddr>);

async fn source(
    tasks: &mut JoinSet<Result<(), RunError>>,
    setup: SourceSetup,
    (intake, kept): (Intake, Option<KeptByName>),
    site: watch::Receiver<Arc<Site>>,
    pump: &PumpHandle,
    stopping: &watch::Receiver<bool>,
) -> Result<Source, RunError> {
    let stop = told_to_stop(stopping.clone());
    match setup {
        SourceSetup::Embedded(config) => {
            let broker = broker::Broker::bind(*config, intake, site).await?;
            let (voice, addr) = (Voice::Embedded(broker.handle()), broker.local_addr());
            broker.handle().restore(kept);
            let keeper = keeper::run(broker.handle(), pump.clone(), stopping.clone());
            tasks.spawn(async move { keeper.await.map_err(|_| RunError::Ended("pump")) });
            let state = SourceState {
                mode: "embedded",
                address: addr.to_string(),
                connected: true,
                last_error: None,
            };
            tasks.spawn(async move { Ok(broker.run(stop).await?) });
            Ok((voice, watch::channel(state).1, Some(addr)))
        }
        SourceSetup::External(config) => {
            let address = format!("{}:{}", config.host, config.port);
            let client = mqtt::ExternalBroker::new(config, intake);
            let voice = Voice::External(client.handle());
            let state = follow(tasks, client.handle().state(), address, told_to_stop(stopping.clone()));
            tasks.spawn(async move { client.run(stop).await.map_err(|_| RunError::Ended("pump")) });
            Ok((voice, state, None))
        }
    }
}

/// A task for each serial line; how each is, for the status page.
fn lines(
    tasks: &mut JoinSet<Result<(), RunError>>,
    setup: Vec<vigil_config::SerialLine>,
    intake: &Intake,
    stopping: &watch::Receiver<bool>,
) -> Vec<watch::Receiver<serial::LineState>> {
    let start = |config| {
        let (line, state) = serial::Line::new(config, intake.clone());
        let stop = told_to_stop(stopping.clone());
        tasks.spawn(async move { line.run(stop).await.map_err(|_| RunError::Ended("pump")) });
        state
    };
    setup.into_iter().map(start).collect()
}

/// The state of the line, in the words of the status page.
fn follow(
    tasks: &mut JoinSet<Result<(), RunError>>,
    mut line: watch::Receiver<mqtt::LineState>,
    address: String,
    stop: impl Future<Output = ()> + Send + 'static,
) -> watch::Receiver<SourceState> {
    let (told, seen) =
        watch::channel(SourceState { mode: "external", address, connected: false, last_error: None });
    let following = async move {
        loop {
            let now = line.borrow_and_update().clone();
            told.send_modify(|s| (s.connected, s.last_error) = (now.connected, now.last_error));
            if line.changed().await.is_err() {
                // The line itself has ended, and its own task says why.
                std::future::pending::<()>().await;
            }
        }
    };
    tasks.spawn(async move {
        tokio::select! {
            () = stop => Ok(()),
            () = following => Ok(()),
        }
    });
    seen
}

/// Fetches site bundles; the way to ask for a look.
fn porter(
    tasks: &mut JoinSet<Result<(), RunError>>,
    (bundles, standing): (Bundles, watch::Sender<Standing>),
    line: Uplink,
    ways: (Switch, PumpHandle, Clock),
    site: &Arc<Site>,
    stopping: &watch::Receiver<bool>,
) -> Refresher {
    let (refresher, asked) = Refresher::new();
    let way = (line, Cadence::seeded(Pace::default()));
    let porter = Porter::new(bundles, standing, way, ways, Arc::clone(site));
    let stop = told_to_stop(stopping.clone());
    tasks.spawn(async move { porter.run(asked, stop).await.map_err(|_| RunError::Ended("pump")) });
    refresher
}

async fn page(
    tasks: &mut JoinSet<Result<(), RunError>>,
    listen: SocketAddr,
    desk: Desk,
    stopping: &watch::Receiver<bool>,
) -> Result<SocketAddr, RunError> {
    let server = Server::bind(listen, None).await?;
    let addr = server.local_addr();
    let stop = told_to_stop(stopping.clone());
    tasks.spawn(async move {
        server.serve(http::router(desk), stop).await;
        Ok(())
    });
    Ok(addr)
}
