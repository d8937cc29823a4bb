//! The pump: take what is waiting, ask the engine, write one batch, flush, then answer the senders.
//!
//! One OS thread owns the engine and the store. Nothing is acknowledged before the batch that holds it and all that
//! follows from it is on stable storage. If a commit fails, nothing of it was acknowledged: the pump sits the outage out,
//! and rebuilds the engine from the store when that can be opened again, as a start does.

mod absorb;
mod accounts;
mod commands;
mod flood;
mod handle;
mod outage;
mod owed;
mod past;
mod pulse;
mod shortage;
mod strays;

pub use commands::{Asked, Unread};
pub use flood::Thinned;
pub use handle::{Known, Obeyed, PumpHandle, Spoken, Stock, Stopping, Unstored, Wakes};
pub use outage::{Outage, Started};
pub use past::{Retold, give, rebuild, retold};
pub use pulse::{HOPELESS_AFTER, Progress, Pulse};
pub use strays::Stray;

use crate::clock::{Clock, Keeper};
use crate::sources::Inbound;
use crate::store::{Draft, Store, StoreError};
use absorb::{absorb, logged, reported};
use commands::about;
use flood::Flood;
use handle::Request;
use outage::{Risen, Ways};
use owed::Failed;
use shortage::Shortage;
use std::sync::Arc;
use std::time::Duration;
use strays::Strays;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;
use vigil_core::alert::{Alert, AlertId};
use vigil_core::command::Order;
use vigil_core::engine::{BadSnapshot, Engine};
use vigil_core::id::CommandId;
use vigil_core::observation::Observation;
use vigil_core::report::DailyReport;
use vigil_core::site::Site;
use vigil_core::time::{Date, Span, Timestamp};

/// Deliveries taken into one commit: measured, larger batches gain nothing and hold up the first sender.
const BATCH: usize = 512;
/// Deliveries that may wait: two commits' worth, so that the pump never starves and a sender soon feels its pace.
pub const QUEUE: usize = 1_024;
/// Questions from the uplink, the pages and the announcer that may wait.
const REQUESTS: usize = 64;
/// At least so often the store learns that the agent is alive, so that a blind interval starts no earlier.
pub const ALIVE_EVERY: Duration = Duration::from_secs(30);
/// A snapshot after so many inputs: replaying them takes well below a second, and a snapshot of 200 guards (about
/// 3 MB) adds 150 bytes to each.
const SNAPSHOT_INPUTS: u64 = 20_000;
/// While time is provisional, that many: telling them again takes some seconds.
const HELD_INPUTS: u64 = 100_000;
/// How often the clocks are looked at while time is provisional; a word from the NOC is heard at once.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// And after so much time with any input at all, so that a quiet site starts as quickly.
const SNAPSHOT_EVERY: Span = Span::from_hours(6);
/// How often what is past its time is dropped.
const EXPIRE_EVERY: Span = Span::from_hours(1);

/// Why the pump stopped.
#[derive(Debug, thiserror::Error)]
pub enum PumpError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The engine cannot be stored.
    #[error(transparent)]
    Snapshot(#[from] BadSnapshot),
    /// The store was made for another site.
    #[error(
        "the store is that of site {stored}, and the configuration is of {configured}: give it a data_dir of its own"
    )]
    OtherSite {
        /// Whose store it is.
        stored: vigil_core::id::SiteId,
        /// Whose site file it is.
        configured: vigil_core::id::SiteId,
    },
}

/// The engine and the store, with everything that comes to them.
#[derive(Debug)]
pub struct Pump {
    engine: Engine,
    store: Store,
    clock: Clock,
    /// Keeps the time, unless the night is simulated.
    keeper: Option<Keeper>,
    terms: Terms,
    ways: Ways,
    commits: u64,
    shortage: Shortage,
    flood: Flood,
    strays: Strays,
    /// The commit that failed, if one did.
    failed: Option<Failed>,
    snapshot_input: u64,
    snapshot_at: Timestamp,
    expire_at: Timestamp,
    /// When the store is next told that the agent lives, unless a commit tells it before.
    alive_at: Instant,
}

/// What the configuration says of the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    /// How long raw observations are kept.
    pub retention: Span,
    /// How large the store may become before the oldest of them go before their time.
    pub max_bytes: u64,
    /// Whether there is a NOC to send to; without one, nothing waits for it.
    pub has_uplink: bool,
}

/// What a start found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Revived {
    /// Inputs that were replayed behind the snapshot.
    pub replayed: usize,
    /// How long the agent was down, if it ever ran before.
    pub down: Option<Span>,
}

/// What the pump was woken by.
enum Work {
    Inbound(Vec<Inbound>),
    Request(Request),
    Due,
    Alive,
    Clock,
    Stop,
}

impl Pump {
    /// Rebuilds the engine from the store, and takes up where it stood.
    pub fn revive(
        store: Store,
        site: Arc<Site>,
        clock: Clock,
        terms: Terms,
        inbound: mpsc::Receiver<Inbound>,
        wakes: Wakes,
    ) -> Result<(Self, PumpHandle, Revived), PumpError> {
        let (ways, handle) = Ways::new((store.folder().to_owned(), store.masters()), inbound, wakes);
        let risen = Risen::from(store, &site, clock)?;
        let revived = risen.revived();
        let mut pump = Self::of(risen, terms, ways);
        pump.set_out(site, revived)?;
        Ok((pump, handle, revived))
    }

    /// Runs until `stop`, on a thread of its own; drains what is queued, writes a last snapshot. A store that fails is sat
    /// out.
    pub fn run(mut self, runtime: &Handle, stop: &mut watch::Receiver<bool>) -> Result<(), PumpError> {
        loop {
            let Err(why) = runtime.block_on(self.work(stop)) else { return self.drain() };
            let Some(pump) = self.sit_out(why, runtime, stop)? else { return Ok(()) };
            self = pump;
        }
    }

    /// The same on the thread of whoever waits for it, which stands still while something is written; a store that fails
    /// ends it.
    pub async fn serve(mut self, stop: &mut watch::Receiver<bool>) -> Result<(), PumpError> {
        self.work(stop).await?;
        self.drain()
    }

    async fn work(&mut self, stop: &mut watch::Receiver<bool>) -> Result<(), PumpError> {
        loop {
            let work = self.wait(stop).await;
            let pulse = self.ways.pulse.clone();
            let _beat = pulse.begin();
            self.look()?;
            match work {
                Work::Inbound(deliveries) => self.take_in(deliveries)?,
                Work::Request(request) => self.answer(request)?,
                Work::Due => self.judge(false)?,
                Work::Alive => self.judge(true)?,
                Work::Clock => {}
                Work::Stop => return Ok(()),
            }
        }
    }

    async fn wait(&mut self, stop: &mut watch::Receiver<bool>) -> Work {
        let due = self.engine.next_deadline().map_or(ALIVE_EVERY, |at| self.clock.until(at));
        let mut deliveries = Vec::new();
        tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop) => Work::Stop,
            () = tokio::time::sleep(due), if due.is_zero() => Work::Due,
            Some(request) = self.ways.requests.recv() => Work::Request(request),
            n = self.ways.inbound.recv_many(&mut deliveries, BATCH), if !self.ways.inbound.is_closed() || !self.ways.inbound.is_empty() => {
                if n == 0 { Work::Alive } else { Work::Inbound(deliveries) }
            }
            () = tokio::time::sleep(due) => Work::Due,
            () = tokio::time::sleep_until(self.alive_at) => Work::Alive,
            () = self.clock.heard() => Work::Clock,
            () = tokio::time::sleep(LOOK_EVERY), if self.engine.is_provisional() => Work::Clock,
        }
    }

    /// One batch: engine, store, receipts.
    fn take_in(&mut self, deliveries: Vec<Inbound>) -> Result<(), PumpError> {
        let mut draft = Draft::default();
        let mut receipts = Vec::with_capacity(deliveries.len());
        for delivery in deliveries {
            receipts.push(delivery.receipt);
            draft.refusals.extend(delivery.refused);
            for mut observation in delivery.observations {
                // Sources stamp on their own threads; the engine sees one order.
                observation.received_at = self.clock.no_later_than_now(observation.received_at);
                if let Some(observation) = self.flood.lets_through(observation, |o| self.engine.knows(o)) {
                    self.take(&mut draft, observation)?;
                }
            }
        }
        let (merged, flooded) = self.flood.end_of_batch();
        draft.flooded = flooded;
        merged.into_iter().try_for_each(|heartbeat| self.take(&mut draft, heartbeat))?;
        draft.judged_until = self.engine.now();
        self.finish(draft)?;
        for receipt in receipts {
            // A sender that left gets its acknowledgement when it comes back and sends again.
            let _gone = receipt.send(());
        }
        Ok(())
    }

    fn take(&mut self, draft: &mut Draft, mut observation: Observation) -> Result<(), PumpError> {
        observation.received_at = observation.received_at.max(self.engine.now());
        if !self.shortage.takes(&observation) {
            draft.thinned += 1;
            return Ok(());
        }
        let commit = self.engine.on_observation(observation);
        if let Some((observation, outcome)) = &commit.observation {
            self.strays.note(self.engine.site(), observation, *outcome);
        }
        Ok(absorb(draft, commit)?)
    }

    /// Fires what is due. Nothing is written if nothing follows, unless the store is to learn that the agent lives.
    fn judge(&mut self, alive: bool) -> Result<(), PumpError> {
        let now = self.clock.now();
        let mut draft = Draft { judged_until: now, ..Draft::default() };
        absorb(&mut draft, self.engine.on_deadline(now))?;
        if alive {
            // Whatever the wall clock does, the pump must not spin.
            self.alive_at = Instant::now() + ALIVE_EVERY;
        }
        if now >= self.expire_at && !self.store.expire(now, self.terms.retention)? {
            self.expire_at = now + EXPIRE_EVERY;
            self.keep_room_back();
        }
        if draft.is_empty() && !alive { Ok(()) } else { self.finish(draft) }
    }

    fn finish(&mut self, mut draft: Draft) -> Result<(), PumpError> {
        let inputs = self.store.marks().next_input - self.snapshot_input;
        // Time that may have to be told again is kept as it came.
        let held = self.engine.is_provisional();
        let enough = if held { HELD_INPUTS } else { SNAPSHOT_INPUTS };
        let due = !held && self.engine.now().since(self.snapshot_at) >= SNAPSHOT_EVERY && inputs > 0;
        self.shortage.look(&self.ways.folder);
        let too_large = self.is_too_large();
        let saves_time = inputs >= enough || due || too_large;
        if saves_time {
            self.add_snapshot(&mut draft)?;
        }
        let done = self.commit(draft);
        if saves_time {
            self.failed.iter_mut().for_each(Failed::without_snapshot);
        }
        done?;
        if too_large { self.make_room() } else { Ok(()) }
    }

    fn add_snapshot(&mut self, draft: &mut Draft) -> Result<(), PumpError> {
        draft.snapshot = Some(((**self.engine.site()).clone(), self.engine.snapshot()?));
        self.snapshot_input = self.store.marks().next_input + draft.inputs.len() as u64;
        self.snapshot_at = self.engine.now();
        if let Some(keeper) = &mut self.keeper {
            keeper.mark(self.snapshot_at);
        }
        Ok(())
    }

    fn commit(&mut self, mut draft: Draft) -> Result<(), PumpError> {
        self.follow_what_was_told(&mut draft)?;
        if !self.terms.has_uplink {
            draft.events.clear();
        } else {
            for run in &draft.runs {
                draft.events.push(logged(run)?);
            }
            let head = self.store.head();
            for report in &draft.reports {
                draft.events.push(reported(report, head, self.store.dropped())?);
            }
        }
        draft.clock = self.keeper.as_ref().map(|keeper| keeper.keeping().clone());
        let events = !draft.events.is_empty();
        let announcements = !draft.announcements.is_empty() || !draft.prompts.is_empty();
        let tells_the_time = draft.judged_until > self.store.marks().judged_until;
        let before = self.store.marks().stand();
        if let Err(why) = self.store.write(&draft) {
            self.failed = Some(Failed::new(before, draft));
            return Err(why.into());
        }
        self.ways.pulse.answered();
        if tells_the_time {
            self.alive_at = Instant::now() + ALIVE_EVERY;
        }
        self.commits += 1;
        if events {
            self.ways.wakes.uplink.notify_one();
        }
        if announcements {
            self.ways.wakes.announcer.notify_one();
        }
        self.ways.changes.send_replace(self.commits);
        Ok(())
    }

    /// An asker that has gone away gets no answer, and nobody misses it.
    fn answer(&mut self, request: Request) -> Result<(), PumpError> {
        match request {
            Request::NextEvents(limit, reply) => drop(reply.send(self.store.next_events(limit)?)),
            Request::NextAnnouncements(limit, reply) => {
                drop(reply.send(self.store.next_announcements(limit)?))
            }
            Request::View(reply) => drop(reply.send(self.engine.view(self.clock.now()))),
            Request::Alerts(reply) => {
                let alerts = self.store.alerts()?;
                drop(reply.send(Known { alerts, unstored: None }));
            }
            Request::AlertsOf(ids, reply) => drop(reply.send(self.alerts_of(&ids)?)),
            Request::Standing(reply) => {
                let standing = self.engine.book().iter().filter(|alert| alert.is_open());
                drop(reply.send(standing.cloned().collect()));
            }
            Request::Runs(query, next, reply) => drop(reply.send(self.store.runs(&query, next)?)),
            Request::Reports(from, to, reply) => drop(reply.send(self.reports(from, to)?)),
            Request::Refused(reply) => drop(reply.send(self.store.refusals()?)),
            Request::DeadLetters(reply) => drop(reply.send(self.store.dead_letters()?)),
            Request::Resend(sequences, reply) => {
                let resent = self.store.resend(&sequences)?;
                if !resent.is_empty() {
                    self.ways.wakes.uplink.notify_one();
                }
                drop(reply.send(resent));
            }
            Request::Stock(reply) => drop(reply.send(self.stock())),
            Request::Opening(reply) => {
                drop(reply.send(self.store.opening_of((**self.engine.site()).clone())?));
            }
            Request::Journal(from, reply) => drop(reply.send(self.store.journal_piece(from)?)),
            Request::Settle(delivered, dead, reply) => {
                self.commit(Draft { delivered, dead, judged_until: self.engine.now(), ..Draft::default() })?;
                answered(reply);
            }
            Request::Disown(reply) => {
                self.store.disown()?;
                answered(reply);
            }
            Request::NextPrompts(limit, reply) => drop(reply.send(self.store.next_prompts(limit)?)),
            Request::Announced(Spoken { alerts: announced, prompts: prompted }, reply) => {
                let judged_until = self.engine.now();
                self.commit(Draft { announced, prompted, judged_until, ..Draft::default() })?;
                answered(reply);
            }
            Request::Command(id, order, reply) => drop(reply.send(self.obey(id, order)?)),
            Request::Commands(asked, reply) => drop(reply.send(self.obey_all(asked)?)),
            Request::Acknowledged(reply) => drop(reply.send(self.store.commands().after)),
            Request::Site(site, reply) => {
                self.switch_site(site)?;
                answered(reply);
            }
            Request::Health(data, reply) => {
                self.report_health(data)?;
                answered(reply);
            }
            Request::Note(event, reply) => {
                self.commit(Draft {
                    events: vec![event],
                    judged_until: self.engine.now(),
                    ..Draft::default()
                })?;
                answered(reply);
            }
            Request::Keep(keeping, reply) => drop(reply.send(self.store.keep(&keeping)?)),
        }
        Ok(())
    }

    /// These alerts: those that can still change as they are now, the others as they are stored.
    fn alerts_of(&self, ids: &[AlertId]) -> Result<Vec<Alert>, StoreError> {
        let find = |id: &AlertId| match self.engine.book().get(*id) {
            Some(alert) => Ok(Some(alert.clone())),
            None => self.store.alert(*id),
        };
        ids.iter().filter_map(|id| find(id).transpose()).collect()
    }

    /// The reports of these days: those that can still change as they are now, the others as they were sent last.
    fn reports(&mut self, from: Date, to: Date) -> Result<Vec<DailyReport>, StoreError> {
        let mut all = self.store.reports(from, to)?;
        let now = self.clock.now();
        for date in self.engine.open_days(now).into_iter().filter(|date| (from..=to).contains(date)) {
            if let Some(report) = self.engine.report(date, now) {
                all.retain(|known| known.date != date);
                all.push(report);
            }
        }
        all.sort_by_key(|report| report.date);
        Ok(all)
    }

    /// A command is an input like any other: it is stored with all that follows from it before anybody is told.
    fn obey(&mut self, id: Option<CommandId>, order: Order) -> Result<Obeyed, PumpError> {
        let received_at = self.clock.now().max(self.engine.now());
        let alert = about(&order);
        let id = id.unwrap_or_else(|| self.local_id());
        let mut draft = Draft { judged_until: received_at, ..Draft::default() };
        let answer = self.carry_out(&mut draft, id, order, received_at)?;
        self.finish(draft)?;
        Ok(Obeyed { answer, alert: alert.and_then(|id| self.engine.book().get(id).cloned()) })
    }

    /// The name of a command that was given on site: no input ever has the same number.
    fn local_id(&self) -> CommandId {
        CommandId::numbered("local", self.store.marks().next_input)
    }

    fn switch_site(&mut self, site: Arc<Site>) -> Result<(), PumpError> {
        let now = self.clock.now();
        let mut draft = Draft { judged_until: now, ..Draft::default() };
        absorb(&mut draft, self.engine.on_site(site, now))?;
        self.add_snapshot(&mut draft)?;
        self.commit(draft)
    }

    /// What is queued is still stored and acknowledged; then nothing more is taken.
    fn drain(&mut self) -> Result<(), PumpError> {
        self.ways.inbound.close();
        let mut deliveries = Vec::new();
        while let Ok(delivery) = self.ways.inbound.try_recv() {
            deliveries.push(delivery);
        }
        tracing::info!(deliveries = deliveries.len(), "stopping: what is queued is stored and acknowledged");
        if !deliveries.is_empty() {
            self.take_in(deliveries)?;
        }
        let now = self.clock.now();
        let mut draft = Draft { judged_until: now, ..Draft::default() };
        absorb(&mut draft, self.engine.on_deadline(now))?;
        if !self.engine.is_provisional() {
            self.add_snapshot(&mut draft)?;
        }
        self.commit(draft)
    }
}

/// Tells an asker that it is done; one that has gone away does not miss it.
fn answered(reply: oneshot::Sender<()>) {
    let _gone = reply.send(());
}

#[cfg(test)]
mod tests;
