//! The store failed: nothing is taken and nothing acknowledged, the reason is told, and the store is opened anew as soon
//! as that can be. Then the engine is rebuilt from it, as after a start: what was between is a blind interval.
//!
//! The engine as it stood answers the pages meanwhile, and hears calls for help: their alerts are announced on site at
//! once, marked as not stored. Their senders get no acknowledgement and send again; whether they do or not, each becomes
//! an alert like any other once there is a store (`owed`).

use super::flood::Flood;
use super::handle::{Known, Request};
use super::owed::Owed;
use super::pulse::Pulse;
use super::shortage::Shortage;
use super::strays::Strays;
use super::{ALIVE_EVERY, BATCH, Pump, PumpError, PumpHandle, REQUESTS, Revived, Stock, Terms, Wakes, past};
use crate::clock::{Clock, Keeper};
use crate::sources::Inbound;
use crate::store::room::{self, Room};
use crate::store::{DiskError, Input, KeptByName, KeyringError, Loss, Masters, Store, StoreError};
use serde::Serialize;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use vigil_core::alert::{Alert, Rule};
use vigil_core::engine::Engine;
use vigil_core::site::Site;
use vigil_core::time::{Span, Timestamp};

/// How often it is tried again: an attempt costs a second of reading at most, and people who made room want to see it.
const AGAIN: Duration = Duration::from_secs(5);
/// A database that failed has let go of its files in milliseconds. One that has not after so many attempts (half a
/// minute) never does in this process: then another process has to take its place.
const LOCKED_TRIES: u32 = 6;

/// Why nothing is stored, for whoever looks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Outage {
    /// Since when.
    pub since: Timestamp,
    /// What is wrong.
    pub why: String,
    /// What to do.
    pub mend: String,
    /// Bytes that are free on the disk, if it says.
    pub free_bytes: Option<u64>,
    /// How often it is tried again.
    pub again_secs: u64,
}

impl std::fmt::Display for Outage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}; {}; the agent tries again every {} s", self.why, self.mend, self.again_secs)
    }
}

/// What comes to the pump and what goes from it, whichever store it has.
#[derive(Debug)]
pub(super) struct Ways {
    pub(super) folder: PathBuf,
    /// What the keys of the store are locked with.
    pub(super) masters: Masters,
    pub(super) inbound: mpsc::Receiver<Inbound>,
    pub(super) requests: mpsc::Receiver<Request>,
    pub(super) wakes: Wakes,
    pub(super) changes: watch::Sender<u64>,
    pub(super) outage: watch::Sender<Option<Arc<Outage>>>,
    pub(super) pulse: Pulse,
}

impl Ways {
    pub(super) fn new(
        (folder, masters): (PathBuf, Masters),
        inbound: mpsc::Receiver<Inbound>,
        wakes: Wakes,
    ) -> (Self, PumpHandle) {
        let (sender, requests) = mpsc::channel(REQUESTS);
        let (changes, seen) = watch::channel(0);
        let (outage, told) = watch::channel(None);
        let pulse = Pulse::default();
        let handle = PumpHandle::new(sender, seen, told, pulse.clone());
        (Self { folder, masters, inbound, requests, wakes, changes, outage, pulse }, handle)
    }
}

/// A store that was opened, with the engine as it stood.
#[derive(Debug)]
pub(super) struct Risen {
    store: Store,
    engine: Engine,
    clock: Clock,
    keeper: Option<Keeper>,
    now: Timestamp,
    replayed: usize,
    down: Option<Span>,
    strays: Strays,
}

impl Risen {
    pub(super) fn from(mut store: Store, site: &Arc<Site>, clock: Clock) -> Result<Self, PumpError> {
        let judged_until = store.marks().judged_until;
        let last_known = (judged_until > Timestamp::default()).then_some(judged_until);
        let keeper = clock.keep(store.marks().clock.as_ref(), last_known);
        let now = clock.now();
        let past = store.past()?;
        if let Some((stored, _)) = past.snapshot.as_ref().filter(|(stored, _)| stored.id != site.id) {
            return Err(PumpError::OtherSite { stored: stored.id.clone(), configured: site.id.clone() });
        }
        let replayed = past.inputs.len();
        let mut strays = Strays::default();
        for input in &past.inputs {
            if let Input::Observation(observation, outcome) = input {
                strays.note(site, observation, *outcome);
            }
        }
        let mut engine = past::remembered(past, site, now);
        let blind_from = match store.loss() {
            // What came after that was heard, and nobody knows it any more: that is as if it had not been.
            Some(Loss::Locked { .. } | Loss::SetAside { .. }) => engine.now().min(judged_until),
            Some(Loss::WentBack { .. } | Loss::Unwitnessed | Loss::Vanished) | None => judged_until,
        };
        drop(engine.on_deadline(judged_until));
        // A store that has lost all of that still knows when it was last told that the agent lives.
        let down = last_known.map(|_| now.since(blind_from));
        Ok(Self { store, engine, clock, keeper, now, replayed, down, strays })
    }

    pub(super) const fn revived(&self) -> Revived {
        Revived { replayed: self.replayed, down: self.down }
    }
}

/// A pump that was started: with its store, or without one for want of room.
#[derive(Debug)]
pub enum Started {
    /// It took up where it stood.
    Up(Box<Pump>),
    /// It waits for room.
    Down(Box<Down>),
}

impl Started {
    /// Opens the store in a folder with its master keys, or waits for the room to do so.
    pub fn at(
        store: (PathBuf, Masters),
        site: Arc<Site>,
        clock: Clock,
        terms: Terms,
        inbound: mpsc::Receiver<Inbound>,
        wakes: Wakes,
    ) -> Result<(Self, PumpHandle, Revived), PumpError> {
        let (ways, handle) = Ways::new(store, inbound, wakes);
        let engine = Engine::new(Arc::clone(&site), clock.now());
        let down = Down {
            engine,
            site,
            clock,
            terms,
            ways,
            stock: Stock::default(),
            commits: 0,
            locked: 0,
            shortage: Shortage::default(),
            flood: Flood::default(),
            owed: Owed::default(),
        };
        let started = down.rise();
        let (started, revived) = match started {
            Ok((pump, revived)) => (Self::Up(Box::new(pump)), revived),
            Err(failed) => {
                let (down, why) = *failed;
                if !why.is_of_the_disk() || !room::is_wanting(&down.ways.folder) {
                    return Err(why);
                }
                down.tell(&why);
                (Self::Down(Box::new(down)), Revived::default())
            }
        };
        Ok((started, handle, revived))
    }

    /// What the broker inside kept for its clients, by name; `None` while there is no store to read it from.
    pub fn kept(&mut self) -> Result<Option<KeptByName>, PumpError> {
        match self {
            Self::Up(pump) => Ok(Some(pump.store.kept()?)),
            Self::Down(_) => Ok(None),
        }
    }

    /// Runs until `stop`, on a thread of its own.
    pub fn run(self, runtime: &Handle, stop: &mut watch::Receiver<bool>) -> Result<(), PumpError> {
        match self {
            Self::Up(pump) => pump.run(runtime, stop),
            Self::Down(down) => match down.wait(runtime, stop)? {
                Some(pump) => pump.run(runtime, stop),
                None => Ok(()),
            },
        }
    }
}

impl PumpError {
    /// Whether it may be over when the disk is.
    pub(super) const fn is_of_the_disk(&self) -> bool {
        match self {
            Self::Store(StoreError::Disk(_) | StoreError::Keys(KeyringError::Folder { .. })) => true,
            Self::Store(StoreError::Keys(_) | StoreError::Record(_) | StoreError::Newer { .. })
            | Self::Snapshot(_)
            | Self::OtherSite { .. } => false,
        }
    }
}

/// A pump without a store.
#[derive(Debug)]
pub struct Down {
    /// As it stood when the store failed: what it heard then may not be stored.
    engine: Engine,
    site: Arc<Site>,
    clock: Clock,
    terms: Terms,
    ways: Ways,
    /// What the store held.
    stock: Stock,
    commits: u64,
    /// How often the store's lock was found to be held.
    locked: u32,
    /// How the disk stood: what was given up for room is not given up again because the store was opened again.
    shortage: Shortage,
    /// What was thinned before.
    flood: Flood,
    /// What was told and is not stored.
    owed: Owed,
}

type Failed = Box<(Down, PumpError)>;

impl Pump {
    pub(super) fn of(risen: Risen, terms: Terms, ways: Ways) -> Self {
        let Risen { store, engine, clock, keeper, now, strays, .. } = risen;
        Self {
            engine,
            snapshot_input: store.marks().next_input,
            store,
            clock,
            keeper,
            terms,
            ways,
            commits: 0,
            shortage: Shortage::default(),
            flood: Flood::default(),
            strays,
            failed: None,
            snapshot_at: now,
            expire_at: now,
            alive_at: Instant::now() + ALIVE_EVERY,
        }
    }

    /// The first commit of a pump that has its store, and then the ballast for the day on which there is no room.
    pub(super) fn set_out(&mut self, site: Arc<Site>, revived: Revived) -> Result<(), PumpError> {
        self.wake(site, revived.down, self.snapshot_at)?;
        self.keep_room_back();
        Ok(())
    }

    pub(super) fn keep_room_back(&self) {
        if let Err(why) = room::keep_back(&self.ways.folder) {
            tracing::warn!(%why, "no room is kept back for a full disk");
        }
    }

    /// Waits until the store can be opened again; `None` when the agent is told to stop before that.
    pub(super) fn sit_out(
        self,
        why: PumpError,
        runtime: &Handle,
        stop: &mut watch::Receiver<bool>,
    ) -> Result<Option<Self>, PumpError> {
        if !why.is_of_the_disk() {
            return Err(why);
        }
        let down = self.put_down();
        down.tell(&why);
        down.wait(runtime, stop)
    }

    /// Lets go of the store.
    fn put_down(self) -> Down {
        let stock = self.stock();
        let Self { engine, store, clock, terms, ways, commits, failed, shortage, flood, .. } = self;
        store.let_go();
        let unsaid = failed.iter().flat_map(super::owed::Failed::announcements);
        unsaid.for_each(|announcement| ways.wakes.unstored.say(announcement));
        let site = Arc::clone(engine.site());
        let (flood, owed) = (flood.after_an_outage(), Owed::of(failed));
        Down { engine, site, clock, terms, ways, stock, commits, locked: 0, shortage, flood, owed }
    }
}

impl Down {
    /// Says why, to the log and to whoever asks.
    fn tell(&self, why: &PumpError) {
        let room = Room::under(&self.ways.folder);
        let free_bytes = room.map(|room| room.free);
        let wanting = room::is_wanting(&self.ways.folder);
        let (why, mend) = match free_bytes.filter(|_| wanting) {
            Some(free) if free >= room::ROOM_TO_OPEN => (
                "the quota of this user on the disk under data_dir is used up".to_owned(),
                format!("raise it, or make room within it, {} MiB at least", room::ROOM_TO_OPEN >> 20),
            ),
            Some(free) => (
                "the disk under data_dir is full".to_owned(),
                format!("make room on it, {} MiB at least ({free} bytes are free)", room::ROOM_TO_OPEN >> 20),
            ),
            None => {
                (format!("the store failed: {why}"), "look at the disk and at the system's log".to_owned())
            }
        };
        let before = self.ways.outage.borrow().clone();
        let since = before.as_ref().map_or_else(|| self.clock.now(), |outage| outage.since);
        let again_secs = AGAIN.as_secs();
        let outage = Outage { since, why, mend, free_bytes, again_secs };
        if before.is_none_or(|before| before.why != outage.why) {
            tracing::error!("{outage}; nothing is stored or acknowledged meanwhile");
        }
        self.ways.outage.send_replace(Some(Arc::new(outage)));
    }

    /// Answers what can be answered, and tries again and again.
    fn wait(mut self, runtime: &Handle, stop: &mut watch::Receiver<bool>) -> Result<Option<Pump>, PumpError> {
        loop {
            // The disk may fill up only while the store is out of order.
            if room::is_wanting(&self.ways.folder) && room::give_up(&self.ways.folder) {
                tracing::warn!("the ballast is given up, so that the store can be opened again");
            }
            if runtime.block_on(self.until_the_next_attempt(stop)) {
                tracing::warn!(
                    "told to stop while the store is out of order: nothing that waits was acknowledged"
                );
                return Ok(None);
            }
            // A disk that never answers this either is one that is stuck.
            let pulse = self.ways.pulse.clone();
            let beat = pulse.begin();
            let risen = self.rise();
            pulse.answered();
            drop(beat);
            match risen {
                Ok((pump, _)) => {
                    tracing::info!("the store is open again");
                    return Ok(Some(pump));
                }
                Err(failed) => {
                    let (down, why) = *failed;
                    self = down.judge_attempt(why)?;
                }
            }
        }
    }

    /// Whether it is worth another attempt.
    fn judge_attempt(mut self, why: PumpError) -> Result<Self, PumpError> {
        let in_use = matches!(why, PumpError::Store(StoreError::Disk(DiskError::InUse(_))));
        self.locked = if in_use { self.locked + 1 } else { 0 };
        if !why.is_of_the_disk() || self.locked >= LOCKED_TRIES {
            return Err(why);
        }
        self.tell(&why);
        Ok(self)
    }

    /// True when the agent is told to stop.
    async fn until_the_next_attempt(&mut self, stop: &mut watch::Receiver<bool>) -> bool {
        let again = Instant::now() + AGAIN;
        loop {
            let mut deliveries = Vec::new();
            tokio::select! {
                biased;
                _ = stop.wait_for(|stop| *stop) => return true,
                () = tokio::time::sleep_until(again) => return false,
                Some(request) = self.ways.requests.recv() => self.answer(request),
                n = self.ways.inbound.recv_many(&mut deliveries, BATCH) => {
                    if n == 0 { tokio::time::sleep_until(again).await } else { self.hear(deliveries) }
                }
            }
        }
    }

    /// Nothing is taken: the receipts are dropped. Only calls for help are listened to.
    fn hear(&mut self, deliveries: Vec<Inbound>) {
        let observations = deliveries.into_iter().flat_map(|delivery| delivery.observations);
        for mut observation in observations.filter(|o| o.kind.is_call_for_help()) {
            observation.received_at = observation.received_at.max(self.engine.now());
            self.owed.hear(&observation);
            let alerts = self.engine.on_observation(observation).effects.alerts;
            // Whatever else fell due was judged by an engine that hears nothing.
            let cries = alerts.iter().filter(|alert| matches!(alert.rule, Rule::Sos | Rule::ManDown));
            for alert in cries {
                self.owed.tell(alert);
                self.cry(alert);
            }
        }
    }

    fn cry(&self, alert: &Alert) {
        match serde_json::to_string(alert) {
            Ok(payload) => self.ways.wakes.unstored.say(&payload),
            Err(why) => tracing::error!(%why, "an alert that is not stored cannot be said either"),
        }
    }

    /// Pages are answered as things stood; what needs the store has no answer now, and is asked again if it has to be.
    fn answer(&mut self, request: Request) {
        match request {
            Request::View(reply) => drop(reply.send(self.engine.view(self.clock.now()))),
            Request::Alerts(reply) => drop(reply.send(self.known_alerts())),
            Request::Stock(reply) => drop(reply.send(self.stock.clone())),
            Request::Health(_, reply) => drop(reply.send(())),
            Request::NextEvents(..)
            | Request::AlertsOf(..)
            | Request::Standing(_)
            | Request::Settle(..)
            | Request::Disown(_)
            | Request::NextAnnouncements(..)
            | Request::NextPrompts(..)
            | Request::Announced(..)
            | Request::Commands(..)
            | Request::Acknowledged(_)
            | Request::Site(..)
            | Request::Runs(..)
            | Request::Reports(..)
            | Request::Refused(_)
            | Request::Resend(..)
            | Request::DeadLetters(_)
            | Request::Opening(_)
            | Request::Journal(..)
            | Request::Command(..)
            | Request::Note(..)
            | Request::Keep(..) => {}
        }
    }

    /// The alerts that the engine knows, newest first: what the store holds beyond them cannot be read.
    fn known_alerts(&self) -> Known {
        let mut alerts: Vec<Alert> = self.engine.book().iter().cloned().collect();
        alerts.sort_by_key(|alert| std::cmp::Reverse((alert.detected_at, alert.id)));
        Known { alerts, unstored: Some(self.owed.told().clone()) }
    }

    /// Opens the store and takes up where it stands.
    fn rise(mut self) -> Result<(Pump, Revived), Failed> {
        let opened = match room::is_wanting(&self.ways.folder) {
            true => Err(StoreError::Disk(DiskError::NoRoom("it is not tried".into())).into()),
            false => Store::open_with(&self.ways.folder, &self.ways.masters).map_err(PumpError::from),
        };
        if let Some(loss) = opened.as_ref().ok().and_then(Store::loss) {
            tracing::error!("{loss}");
        }
        let settled = opened.and_then(|mut store| {
            self.owed.settle(&mut store)?;
            Ok(store)
        });
        let risen = settled.and_then(|store| Risen::from(store, &self.site, self.clock.clone()));
        let risen = match risen {
            Ok(risen) => risen,
            Err(why) => return Err(Box::new((self, why))),
        };
        let revived = risen.revived();
        let Self { engine, site, clock, terms, ways, stock, commits, locked, shortage, flood, owed } = self;
        let mut pump = Pump::of(risen, terms, ways);
        pump.commits = commits;
        (pump.shortage, pump.flood) = (shortage, flood);
        let set_out = pump.set_out(Arc::clone(&site), revived);
        match set_out.and_then(|()| pump.make_good(&owed)) {
            Ok(()) => {
                pump.ways.outage.send_replace(None);
                Ok((pump, revived))
            }
            Err(why) => {
                let Pump { ways, shortage, flood, .. } = pump;
                Err(Box::new((
                    Self { engine, site, clock, terms, ways, stock, commits, locked, shortage, flood, owed },
                    why,
                )))
            }
        }
    }
}
