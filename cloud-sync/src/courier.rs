//! Carries the outbox to the receiver: one batch in flight, retried until there is a verdict.
//!
//! At least once out, idempotent in: a batch may arrive twice, and the receiver counts it once. Nothing
//! leaves the outbox before the receiver answered for it, so stopping at any point loses nothing.

use crate::cadence::Cadence;
use crate::uplink::{Uplink, Way};
use crate::verdict::Verdict;
use crate::wire::{self, Answer, Event, MAX_BATCH_EVENTS, Rejection};
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use vigil_core::time::{Span, Timestamp};

/// How often an empty outbox is looked at without being woken: cheap, and a lost wake costs half a minute
/// and not an alert.
const IDLE_LOOK: Duration = Duration::from_secs(30);

/// History goes at a bounded rate, a thousand events a second: after a long outage a thousand gateways come back together,
/// and what is CRITICAL does not wait behind it.
const BETWEEN_FULL_BATCHES: Duration = Duration::from_millis(500);

/// A store that does not say for so long what waits is out of order; what the receiver is about to forget does not wait for
/// it. One that is well answers in a fraction of a second.
const SILENT_STORE: Duration = Duration::from_secs(5);

/// How much of a reason or an error is kept.
const MAX_REASON_CHARS: usize = 300;

/// The store is gone: the agent is stopping, or its store failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the store is closed")]
pub struct Closed;

/// What waits to be sent, on stable storage.
pub trait Outbox: Send + Sync {
    /// The next events to send, at most `limit`: CRITICAL first, then other alerts in order, then tours,
    /// reports and health. They stay until they are settled; asking again gives them again.
    fn next_batch(&self, limit: usize) -> impl Future<Output = Result<Vec<Event>, Closed>> + Send;

    /// Removes the `stored` sequences, and moves the `dead` ones with their reasons to the dead letters.
    fn settle(
        &self,
        stored: Vec<u64>,
        dead: Vec<(u64, String)>,
    ) -> impl Future<Output = Result<(), Closed>> + Send;

    /// The receiver knows numbers from other events, so the store is an earlier one: its numbers are another producer's
    /// from now on. Done twice it does no harm.
    fn disown(&self) -> impl Future<Output = Result<(), Closed>> + Send;
}

/// How the uplink is, for the status page.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct UplinkState {
    /// Whether the last attempt was answered by the receiver with a success; `None` before the first.
    pub reachable: Option<bool>,
    /// Whether the receiver refuses our credential: everything is kept until somebody mends it.
    pub unauthorized: bool,
    /// When a batch was last stored.
    pub last_success_at: Option<Timestamp>,
    /// What went wrong last; cleared by a success.
    pub last_error: Option<String>,
    /// When it went wrong.
    pub last_error_at: Option<Timestamp>,
    /// Failures in a row.
    pub attempts: u32,
    /// When it will be tried again.
    pub next_attempt_at: Option<Timestamp>,
    /// Events that the receiver took since the start.
    pub delivered: u64,
    /// Events that it already had.
    pub duplicates: u64,
    /// Events that went to the dead letters since the start.
    pub dead: u64,
    /// Events since the start for which the receiver has no place: they stay here, and nobody else has them.
    pub kept_here: u64,
}

/// Everything that the courier needs.
pub struct Courier<O, W = Uplink> {
    /// The way to the receiver.
    pub uplink: W,
    /// What is to be carried.
    pub outbox: Arc<O>,
    /// Rung with `notify_one` after something was put in the outbox.
    pub wake: Arc<Notify>,
    /// Where the status page looks.
    pub state: watch::Sender<UplinkState>,
    /// When to try again.
    pub cadence: Cadence,
    /// The agent's clock.
    pub now: Arc<dyn Fn() -> Timestamp + Send + Sync>,
}

/// Carries until `shutdown` completes (`Ok`) or the outbox closes (`Err`).
pub async fn run<O: Outbox, W: Way>(
    courier: Courier<O, W>,
    shutdown: impl Future<Output = ()>,
) -> Result<(), Closed> {
    let mut round = Round { courier, width: MAX_BATCH_EVENTS, reminded: false };
    tokio::select! {
        biased;
        () = shutdown => Ok(()),
        Err(closed) = round.carry() => Err(closed),
    }
}

/// What follows an attempt.
enum Next {
    /// There may be more: go on.
    Now,
    /// Wait so long; `hurried` is the bound once a CRITICAL event is waiting.
    Wait { whole: Duration, hurried: Option<Duration> },
}

pub(crate) enum Never {}

struct Round<O, W> {
    courier: Courier<O, W>,
    /// How many events the next batch may have: halved by a refusal, doubled by a success.
    width: usize,
    /// Whether the receiver was reminded last: then the outbox has its turn.
    reminded: bool,
}

impl<O: Outbox, W: Way> Round<O, W> {
    async fn carry(&mut self) -> Result<Never, Closed> {
        loop {
            let (mut events, silent) = tokio::select! {
                biased;
                events = self.next_batch() => (events?, false),
                () = self.overdue() => (vec![], true),
            };
            let next = if silent || self.may_remind(&events) {
                self.remind().await?
            } else if events.is_empty() {
                self.idle().await;
                Next::Now
            } else {
                events.truncate(wire::fitting(&events).min(self.width));
                let verdict = self.courier.uplink.deliver(&events).await;
                self.on_verdict(&events, verdict).await?
            };
            if let Next::Wait { whole, hurried } = next {
                self.rest(whole, hurried).await?;
            }
        }
    }

    /// The next events for which the receiver has a place. The others leave the outbox: nobody will ever ask for them.
    async fn next_batch(&self) -> Result<Vec<Event>, Closed> {
        loop {
            let events = self.courier.outbox.next_batch(self.width).await?;
            let (taken, left): (Vec<_>, Vec<_>) =
                events.into_iter().partition(|event| self.courier.uplink.takes(event.kind));
            if left.is_empty() {
                return Ok(taken);
            }
            self.courier.state.send_modify(|state| state.kept_here += count(left.len()));
            self.courier.outbox.settle(left.iter().map(|event| event.sequence).collect(), vec![]).await?;
        }
    }

    /// Completes when the receiver should have been reminded, and the outbox still says nothing.
    async fn overdue(&self) {
        let asked = Instant::now();
        match self.courier.uplink.reminds_at() {
            Some(at) => tokio::time::sleep_until(at.max(asked) + SILENT_STORE).await,
            None => std::future::pending().await,
        }
    }

    async fn idle(&self) {
        let due = self.courier.uplink.reminds_at();
        let until = due.map_or(IDLE_LOOK, |at| at.saturating_duration_since(Instant::now()).min(IDLE_LOOK));
        // Both ends mean the same: look again.
        let _rung_or_not = tokio::time::timeout(until, self.courier.wake.notified()).await;
    }

    /// Whether it is time to remind the receiver: not before what is CRITICAL, and by turns with the rest.
    fn may_remind(&mut self, events: &[Event]) -> bool {
        let due = self.courier.uplink.reminds_at().is_some_and(|at| at <= Instant::now());
        self.reminded = due && !self.reminded && !events.iter().any(|event| event.critical);
        self.reminded
    }

    /// Reminds the receiver, unless something CRITICAL comes in the meantime: it goes first, and what was not said is
    /// said afterwards.
    async fn remind(&mut self) -> Result<Next, Closed> {
        let verdict = tokio::select! {
            biased;
            verdict = self.courier.uplink.remind() => verdict,
            came = self.critical_comes() => return came.map(|()| Next::Now),
        };
        Ok(match verdict {
            Verdict::Stored(_) => {
                self.on_success(&Answer::default());
                Next::Now
            }
            Verdict::Retry { after, why } => self.on_retry(false, after, why),
            Verdict::Unauthorized { why } => self.on_unauthorized(false, why),
            Verdict::TooLarge => {
                self.on_retry(false, None, "the receiver says that it is too large".to_owned())
            }
            Verdict::RejectedWhole { why } => self.on_retry(false, None, why),
        })
    }

    async fn critical_comes(&self) -> Result<(), Closed> {
        loop {
            self.courier.wake.notified().await;
            if self.critical_waits().await? {
                return Ok(());
            }
        }
    }

    async fn on_verdict(&mut self, events: &[Event], verdict: Verdict) -> Result<Next, Closed> {
        let critical = events.iter().any(|e| e.critical);
        match verdict {
            Verdict::Stored(answer) => self.on_stored(events, critical, answer).await,
            Verdict::Retry { after, why } => Ok(self.on_retry(critical, after, why)),
            Verdict::Unauthorized { why } => Ok(self.on_unauthorized(critical, why)),
            Verdict::TooLarge => self.on_refused(events, "the receiver says that it is too large").await,
            Verdict::RejectedWhole { why } => self.on_refused(events, &why).await,
        }
    }

    async fn on_stored(&mut self, events: &[Event], critical: bool, answer: Answer) -> Result<Next, Closed> {
        let (stored, dead) = divide(events, &answer.rejected);
        self.bury(&dead);
        self.courier.outbox.settle(stored, dead).await?;
        if !answer.reused.is_empty() {
            tracing::error!(numbers = ?answer.reused, "the receiver knows these numbers from other events");
            self.courier.outbox.disown().await?;
        }
        self.on_success(&answer);
        self.width = self.width.saturating_mul(2).min(MAX_BATCH_EVENTS);
        Ok(if critical || events.len() < MAX_BATCH_EVENTS {
            Next::Now
        } else {
            Next::Wait { whole: BETWEEN_FULL_BATCHES, hurried: Some(Duration::ZERO) }
        })
    }

    fn on_success(&mut self, answer: &Answer) {
        self.courier.cadence.on_success();
        let now = (self.courier.now)();
        self.courier.state.send_modify(|state| {
            *state = UplinkState {
                reachable: Some(true),
                last_success_at: Some(now),
                delivered: state.delivered + count(answer.accepted),
                duplicates: state.duplicates + count(answer.duplicates),
                dead: state.dead,
                kept_here: state.kept_here,
                ..UplinkState::default()
            };
        });
    }

    fn on_retry(&mut self, critical: bool, after: Option<Duration>, why: String) -> Next {
        self.courier.cadence.on_failure();
        let cadence = &mut self.courier.cadence;
        let (whole, hurried) = match after {
            // The receiver knows best when it can take more, also of CRITICAL events.
            Some(after) => (cadence.wait_asked(after), None),
            None => (cadence.wait(critical), Some(cadence.wait(true))),
        };
        tracing::warn!(attempts = cadence.failures(), wait_ms = whole.as_millis(), %why, "uplink failed");
        self.on_trouble(false, why, whole);
        Next::Wait { whole, hurried }
    }

    fn on_unauthorized(&mut self, critical: bool, why: String) -> Next {
        self.courier.cadence.on_failure();
        let whole = self.courier.cadence.wait_for_a_person(critical);
        let hurried = self.courier.cadence.wait_for_a_person(true);
        tracing::error!(%why, "the receiver refuses the uplink credential; everything is kept");
        self.on_trouble(true, why, whole);
        Next::Wait { whole, hurried: Some(hurried) }
    }

    fn on_trouble(&self, unauthorized: bool, why: String, wait: Duration) {
        let now = (self.courier.now)();
        let wait = Span::from_millis(i64::try_from(wait.as_millis()).unwrap_or(i64::MAX));
        let attempts = self.courier.cadence.failures();
        self.courier.state.send_modify(|state| {
            state.reachable = Some(false);
            state.unauthorized = unauthorized;
            state.last_error = Some(cut(&why));
            state.last_error_at = Some(now);
            state.attempts = attempts;
            state.next_attempt_at = Some(now + wait);
        });
    }

    /// The receiver will not have this batch: halve it, and a batch of one is a dead letter. One event at
    /// fault is found in nine requests, and costs the others at most a breath.
    async fn on_refused(&mut self, events: &[Event], why: &str) -> Result<Next, Closed> {
        if events.len() > 1 {
            self.width = events.len() / 2;
            return Ok(Next::Now);
        }
        let dead: Vec<_> = events.iter().map(|event| (event.sequence, cut(why))).collect();
        self.bury(&dead);
        self.courier.outbox.settle(vec![], dead).await?;
        // A receiver that refuses everything must not empty the outbox at full speed.
        Ok(Next::Wait { whole: self.courier.cadence.breath(), hurried: None })
    }

    fn bury(&self, dead: &[(u64, String)]) {
        for (sequence, reason) in dead {
            tracing::error!(sequence, %reason, "event is a dead letter");
        }
        self.courier.state.send_modify(|state| state.dead += count(dead.len()));
    }

    /// Waits, shorter if a CRITICAL event comes in the meantime; with one, only until the receiver is there again.
    async fn rest(&self, whole: Duration, hurried: Option<Duration>) -> Result<(), Closed> {
        let began = Instant::now();
        let mut until = began + whole;
        let mut returns = std::pin::pin!(self.courier.uplink.returns());
        loop {
            let critical = hurried.is_some() && self.critical_waits().await?;
            if let Some(hurried) = hurried.filter(|_| critical) {
                until = until.min(began + hurried);
            }
            tokio::select! {
                biased;
                () = tokio::time::sleep_until(until) => return Ok(()),
                () = &mut returns, if critical => return Ok(()),
                () = self.courier.wake.notified() => {}
            }
        }
    }

    /// Whether something CRITICAL waits. Of a store that is out of order nobody can tell.
    async fn critical_waits(&self) -> Result<bool, Closed> {
        let asked = tokio::time::timeout(SILENT_STORE, self.courier.outbox.next_batch(1)).await;
        let first = asked.unwrap_or_else(|_| Ok(vec![]))?;
        Ok(first.iter().any(|event| event.critical))
    }
}

/// The sequences that the receiver has, and those that it will never take.
fn divide(events: &[Event], rejected: &[Rejection]) -> (Vec<u64>, Vec<(u64, String)>) {
    let reasons: BTreeMap<_, _> = rejected.iter().map(|r| (&r.id, &r.reason)).collect();
    let (mut stored, mut dead) = (vec![], vec![]);
    for event in events {
        match reasons.get(&event.id) {
            Some(reason) => dead.push((event.sequence, cut(reason))),
            None => stored.push(event.sequence),
        }
    }
    (stored, dead)
}

pub(crate) fn cut(text: &str) -> String {
    text.chars().take(MAX_REASON_CHARS).collect()
}

pub(crate) fn count(n: usize) -> u64 {
    u64::try_from(n).unwrap_or(u64::MAX)
}
