//! The ways to whoever listens elsewhere: an operations centre, for what goes there and for what comes from there, or an
//! Alertmanager, which takes alerts and says nothing.

use crate::bundles::Refresher;
use crate::clock::Clock;
use crate::inbox::StoredInbox;
use crate::pump::PumpHandle;
use crate::run::{RunError, told_to_stop};
use crate::setup::UplinkSetup;
use serde::Serialize;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use vigil_cloud_sync::{
    Alertmanager, Book, Cadence, Closed, Courier, Link, Listener, ListenerState, Outbox, Pace, Uplink,
    UplinkConfig, UplinkState, Way, commands,
};
use vigil_core::alert::{Alert, AlertId};

/// Who is at the other end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Receiver {
    /// An operations centre: it takes everything, and gives commands.
    Centre,
    /// An Alertmanager: it takes alerts only.
    Alertmanager,
}

/// How the ways are, for whoever shows it.
#[derive(Debug, Clone)]
pub struct Ways {
    /// Who is at the other end.
    pub receiver: Receiver,
    /// How the way of events is.
    pub events: watch::Receiver<UplinkState>,
    /// How the way of commands is; `None` if the receiver gives none.
    pub commands: Option<watch::Receiver<ListenerState>>,
    /// Whether the receiver can be reached at all.
    pub link: Link,
}

/// What the ways begin with on this side.
pub struct Ends<'a> {
    /// The store.
    pub pump: &'a PumpHandle,
    /// Rung when something waits.
    pub wake: &'a Arc<Notify>,
    /// The agent's clock.
    pub clock: &'a Clock,
    /// True when the agent stops.
    pub stopping: &'a watch::Receiver<bool>,
}

type Tasks = JoinSet<Result<(), RunError>>;

impl Ends<'_> {
    /// Starts what goes to the receiver and what comes from it; `porter` starts what fetches site bundles over the same line.
    pub fn lead(
        &self,
        tasks: &mut Tasks,
        uplink: UplinkSetup,
        heartbeat: Duration,
        porter: impl FnOnce(&mut Tasks, Uplink) -> Option<Refresher>,
    ) -> Result<Ways, RunError> {
        let (receiver, events, commands) = match uplink {
            UplinkSetup::Centre(config) => {
                let uplink = Uplink::new(self.timed(config))?;
                let events = self.carry(tasks, uplink.clone());
                let bundles = porter(tasks, uplink.clone());
                (Receiver::Centre, events, Some(self.listen(tasks, uplink, bundles)))
            }
            UplinkSetup::Alertmanager(config) => {
                let (clock, book) = (self.clock.clone(), Arc::new(StoredBook::new(self.pump.clone())));
                let now = Arc::new(move || clock.now());
                let way = Alertmanager::new(self.timed(config), heartbeat, book, now)?;
                (Receiver::Alertmanager, self.carry(tasks, way), None)
            }
        };
        // The line is as slow as ever in a night that runs fast.
        let patience = self.clock.shown(vigil_cloud_sync::link::patience(heartbeat));
        let heard = commands.clone().unwrap_or_else(|| watch::channel(ListenerState::default()).1);
        let link = Link::new(events.clone(), heard, patience, self.clock.now());
        Ok(Ways { receiver, events, commands, link })
    }

    /// Certificates are judged by the agent's clock, and answers set it.
    fn timed(&self, mut config: UplinkConfig) -> UplinkConfig {
        config.timepiece = Some(Arc::new(self.clock.clone()));
        config
    }

    fn carry<W: Way + 'static>(&self, tasks: &mut Tasks, uplink: W) -> watch::Receiver<UplinkState> {
        let (state, seen) = watch::channel(UplinkState::default());
        let clock = self.clock.clone();
        let courier = Courier {
            uplink,
            outbox: Arc::new(StoredOutbox(self.pump.clone())),
            wake: Arc::clone(self.wake),
            state,
            cadence: Cadence::seeded(Pace::default()),
            now: Arc::new(move || clock.now()),
        };
        let stop = told_to_stop(self.stopping.clone());
        tasks.spawn(async move {
            vigil_cloud_sync::run(courier, stop).await.map_err(|_| RunError::Ended("pump"))
        });
        seen
    }

    fn listen(
        &self,
        tasks: &mut Tasks,
        uplink: Uplink,
        bundles: Option<Refresher>,
    ) -> watch::Receiver<ListenerState> {
        let (state, seen) = watch::channel(ListenerState::default());
        let clock = self.clock.clone();
        let listener = Listener {
            uplink,
            inbox: Arc::new(StoredInbox { pump: self.pump.clone(), bundles }),
            state,
            cadence: Cadence::seeded(Pace::default()),
            wait: commands::WAIT,
            now: Arc::new(move || clock.now()),
        };
        let stop = told_to_stop(self.stopping.clone());
        tasks.spawn(async move {
            vigil_cloud_sync::listen(listener, stop).await.map_err(|_| RunError::Ended("pump"))
        });
        seen
    }
}

/// The store's outbox, as the courier sees it.
#[derive(Debug, Clone)]
pub struct StoredOutbox(pub PumpHandle);

impl Outbox for StoredOutbox {
    async fn next_batch(&self, limit: usize) -> Result<Vec<vigil_cloud_sync::Event>, Closed> {
        self.0.next_events(limit).await.map_err(|_| Closed)
    }
    async fn settle(&self, stored: Vec<u64>, dead: Vec<(u64, String)>) -> Result<(), Closed> {
        self.0.settle(stored, dead).await.map_err(|_| Closed)
    }
    async fn disown(&self) -> Result<(), Closed> {
        self.0.disown().await.map_err(|_| Closed)
    }
}

/// The alerts as they are now, for a receiver that has to hear again what stands.
#[derive(Debug)]
struct StoredBook {
    pump: PumpHandle,
    /// What stood when the store was last asked: while it is out of order, that stands.
    stood: Mutex<Vec<Alert>>,
}

impl StoredBook {
    const fn new(pump: PumpHandle) -> Self {
        Self { pump, stood: Mutex::new(vec![]) }
    }
}

impl Book for StoredBook {
    async fn standing(&self) -> Result<Vec<Alert>, Closed> {
        let standing = self.pump.standing().await.map_err(|_| Closed)?;
        let mut stood = self.stood.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(standing) = standing {
            *stood = standing;
        }
        Ok(stood.clone())
    }
    async fn alerts(&self, ids: Vec<AlertId>) -> Result<Vec<Alert>, Closed> {
        self.pump.alerts_of(ids).await.map_err(|_| Closed)
    }
}
