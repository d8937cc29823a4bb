//! A time whose clock was wrong, told again by the right one.
//!
//! A box without a battery wakes up in 1970, and learns what time it is minutes or hours later. Until then the engine
//! runs in *provisional time*: the last instant that it knew, and what has passed since. What needs no wall clock is
//! judged as ever; what does waits. When the right time is known, the engine as it stood before is given the same
//! inputs again, with the instants at which they really came. So nothing has to know which of its instants were right
//! and which were not, and what waited is judged in order. Alerts that were told meanwhile keep their ids.

use crate::alert::{Alert, AlertId, Rule, Status, Step, Subject};
use crate::duty::Shape;
use crate::engine::{Commit, Effects, Engine};
use crate::id::{CommandId, GuardId};
use crate::observation::{AttendanceAction, Kind, Observation};
use crate::rules::instruments::Instrument;
use crate::time::{Span, Timestamp};
use crate::watch::Watch;
use crate::windows::Intervals;
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// An engine that is ahead by less stands still until the right time has caught up. One that is ahead by more begins
/// anew: it would be deaf for that long.
const STANDS_STILL: Span = Span::from_mins(10);

/// What a right clock says of a wrong one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Correction {
    /// The first instant of the time that is told again, by the wrong clock.
    pub from: Timestamp,
    /// How much later it really was; earlier if negative.
    pub by: Span,
    /// How far the right clock may be off.
    pub uncertainty: Span,
}

impl Correction {
    /// When something really was that was at `at` by the wrong clock.
    pub fn of(self, at: Timestamp) -> Timestamp {
        if at < self.from { at } else { at + self.by }
    }
}

/// What was told of the time before it was told again: an engine that raises the same takes the same ids.
#[derive(Debug, Clone, Default)]
pub(crate) struct Told {
    /// By rule and subject, in the order in which they were raised; each is taken once.
    alerts: BTreeMap<(Rule, Subject), Vec<AlertId>>,
    /// Guards who were really asked for a sign of life: nobody else can have failed to answer.
    asked: BTreeSet<GuardId>,
    /// Welfare checks that were ordered, and of which nothing is on record yet.
    unreported: BTreeSet<CommandId>,
    /// How good the instants are, for the first step of every alert.
    note: String,
}

/// The retelling, under way.
#[derive(Debug)]
pub struct Retelling {
    engine: Engine,
    correction: Correction,
    /// Every alert that was told or changed meanwhile, as it was last told; and whether it was raised then.
    told: BTreeMap<AlertId, (Alert, bool)>,
    /// Guards to whom a question was open in the end.
    open: BTreeSet<GuardId>,
    effects: Effects,
}

impl Retelling {
    /// Begins with the engine as it stood before; `lived` is the engine that lived through that time.
    pub fn new(before: Engine, lived: &Engine, correction: Correction) -> Self {
        let known = |alert: &Alert| before.book().told(alert.id).map(|a| a.revision);
        let changed = lived.book().iter().filter(|a| known(a) != Some(a.revision));
        let told: BTreeMap<_, _> =
            changed.map(|a| (a.id, (a.clone(), before.book().get(a.id).is_none()))).collect();
        let mut engine = before;
        engine.begin_again(correction);
        engine.told = Some(Told::of(&told, lived, correction));
        let open = lived.open_questions().map(|(guard, _)| guard.clone()).collect();
        Self { engine, correction, told, open, effects: Effects::default() }
    }

    /// Gives the engine an input again.
    pub fn give(&mut self, input: impl FnOnce(&mut Engine, Correction) -> Commit) {
        let Effects { alerts, records, .. } = input(&mut self.engine, self.correction).effects;
        self.effects.alerts.extend(alerts);
        self.effects.records.extend(records);
    }

    /// The engine as it really stands, and what is to be told: what waited, and one revision of what was told wrongly.
    pub fn end(mut self, now: Timestamp) -> (Engine, Effects) {
        self.give(|engine, _| engine.on_deadline(now));
        self.engine.told = None;
        self.effects.prompts = self.engine.put_again(&self.open, now);
        self.effects.alerts.retain(|a| !self.told.contains_key(&a.id));
        for (told, raised_then) in self.told.into_values() {
            self.effects.alerts.extend(self.engine.revise_what_was_told(told, raised_then, now));
        }
        (self.engine, self.effects)
    }
}

impl Told {
    fn of(told: &BTreeMap<AlertId, (Alert, bool)>, lived: &Engine, correction: Correction) -> Self {
        let mut raised: Vec<&Alert> = told.values().filter(|(_, then)| *then).map(|(a, _)| a).collect();
        raised.sort_by_key(|a| (a.detected_at, a.id));
        let mut alerts: BTreeMap<_, Vec<AlertId>> = BTreeMap::new();
        // The last is taken first.
        for alert in raised.into_iter().rev() {
            alerts.entry((alert.rule, alert.subject.clone())).or_default().push(alert.id);
        }
        let secs = correction.uncertainty.millis().max(0).unsigned_abs().div_ceil(1_000);
        let unanswered = told.values().filter(|(alert, _)| alert.was_unanswered());
        let mut asked: BTreeSet<GuardId> = unanswered.filter_map(|(alert, _)| alert.guard.clone()).collect();
        let guards = lived.state.guards.iter();
        let others = guards.filter(|(_, w)| w.asked.is_some() || w.answered_since(correction.from));
        asked.extend(others.map(|(guard, _)| guard.clone()));
        let unreported = lived.open_questions().filter_map(|(_, asked)| asked.command.clone()).collect();
        Self {
            alerts,
            asked,
            unreported,
            note: format!("the gateway's clock was wrong then; corrected, good to {secs} s"),
        }
    }
}

impl Rule {
    /// Whether it can be judged by a clock that only knows how much time has passed.
    const fn needs_no_wall_clock(self) -> bool {
        match self {
            Self::Sos
            | Self::ManDown
            | Self::DeviceSilent
            | Self::DeviceBatteryLow
            | Self::BreakOverrun
            | Self::TaskOverdue
            | Self::TaskAtRisk
            | Self::AttendanceUnauthorized
            | Self::FraudMockLocation
            | Self::FraudReplayedScan
            // Evaluated only where it is monitored round the clock, or asked before the clock was lost.
            | Self::Inactivity
            | Self::Storm => true,
            Self::TourMissed
            | Self::TourPartial
            | Self::TourAtRisk
            | Self::TourSequence
            | Self::ClockSkew
            | Self::GuardAbsent
            | Self::AttendanceWrongPerson
            | Self::AttendanceImpossibleShift
            | Self::AttendanceOvertime
            | Self::FraudImpossibleSpeed
            | Self::FraudLocationMismatch
            | Self::FraudOutsideGeofence
            | Self::FraudConcurrentUse
            | Self::FraudScanBurst
            | Self::FraudLowBiometric => false,
        }
    }
}

impl Engine {
    /// The box's clock cannot be right: from `now` on time is provisional.
    pub fn on_unset(&mut self, now: Timestamp) -> Commit {
        let commit = self.on_restart(self.state.now, now);
        self.state.provisional = true;
        commit
    }

    /// Whether time is provisional: what needs a wall clock waits.
    pub const fn is_provisional(&self) -> bool {
        self.state.provisional
    }

    /// Whether a rule has to wait until the time is known.
    pub(crate) const fn waits(&self, rule: Rule) -> bool {
        self.state.provisional && !rule.needs_no_wall_clock()
    }

    /// A message in provisional time: the device's clock cannot be compared with ours, so it is as if it had been made
    /// when it came.
    pub(crate) fn as_it_came(observation: &Observation) -> (Cow<'_, Kind>, Timestamp) {
        let by = observation.received_at.since(observation.at);
        (Cow::Owned(observation.kind.moved(by)), observation.received_at)
    }

    /// What a person has to know of an alert's instants.
    pub(crate) fn note_on_time(&self) -> Option<String> {
        let provisional = "the gateway's clock is not set: the time is provisional";
        self.told
            .as_ref()
            .map(|t| t.note.clone())
            .or_else(|| self.state.provisional.then(|| provisional.to_owned()))
    }

    /// The id of an alert: of its first detection, as that was told.
    pub(crate) fn alert_id(&self, rule: Rule, subject: &Subject, detected_at: Timestamp) -> AlertId {
        self.state.book.as_told(AlertId::of(&self.site.id, rule, subject, detected_at))
    }

    /// Whether a guard may be asked for a sign of life: while a time is told again, only who was asked in it.
    pub(crate) fn may_ask(&self, guard: &GuardId) -> bool {
        self.told.as_ref().is_none_or(|told| told.asked.contains(guard))
    }

    /// Whether what came of an ordered check is news: while a time is told again, only what was not over in it.
    pub(crate) fn is_news(&self, order: &CommandId) -> bool {
        self.told.as_ref().is_none_or(|told| told.unreported.contains(order))
    }

    /// The id under which the same was told before, if it was: nothing has two names.
    pub(crate) fn take_told(&mut self, rule: Rule, subject: &Subject) -> Option<AlertId> {
        self.told.as_mut()?.alerts.get_mut(&(rule, subject.clone()))?.pop()
    }

    /// Stands where the retelling begins.
    fn begin_again(&mut self, correction: Correction) {
        let (site, start) = (Arc::clone(&self.site), correction.from + correction.by);
        self.state.provisional = false;
        if self.state.began >= correction.from {
            // It has never known another clock.
            *self = Self::new(site, start);
        } else if self.is_ahead_of(start) {
            self.set_back(start);
        } else {
            let _nothing_follows = self.on_restart(self.state.now, start);
        }
    }

    /// Whether it would be deaf for long, if it were given what comes at `now`.
    pub fn is_ahead_of(&self, now: Timestamp) -> bool {
        now + STANDS_STILL < self.state.now
    }

    /// The clock once stood in the future. Who is here, what is open and what the devices are is taken along; what
    /// happened by that clock is not, and windows start afresh.
    pub fn set_back(&mut self, to: Timestamp) {
        let old = std::mem::replace(self, Self::new(Arc::clone(&self.site), to));
        let by = to.since(old.state.now);
        self.state.book = old.state.book;
        self.state.book.storms.set_back(to);
        self.set_alerts_back(to);
        self.state.tasks = old.state.tasks.moved(to, by);
        self.state.facts.keep_revisions(old.state.facts);
        for (guard, watch) in old.state.guards {
            let watch = watch.set_back(old.shapes.get(&guard), old.state.now, to);
            self.state.guards.insert(guard, watch);
        }
        let devices = old.state.devices.into_iter();
        self.state.devices = devices.map(|(id, instrument)| (id, instrument.set_back(to))).collect();
        self.derive();
        // An interval of the future is none of now.
        self.on_unmuted(to);
    }

    /// When it was really detected cannot be known any more, only that it was no later than this.
    fn set_alerts_back(&mut self, to: Timestamp) {
        let stamped = self.state.book.every().filter(|a| a.updated_at > to).map(|a| a.id);
        let stamped: Vec<AlertId> = stamped.collect();
        for id in stamped {
            self.revise(id, to, |alert| {
                (alert.detected_at, alert.updated_at) = (alert.detected_at.min(to), to);
                alert.cleared_at = alert.cleared_at.map(|t| t.min(to));
                alert.history.iter_mut().for_each(|step| step.at = step.at.min(to));
                let first = alert.history.first_mut();
                first
                    .into_iter()
                    .for_each(|s| s.note = Some("the clock stood in the future: no later than this".into()));
                true
            });
        }
    }

    /// What was told of an alert is followed by what it really is, as one revision; `None` if that is the same.
    fn revise_what_was_told(&mut self, told: Alert, raised_then: bool, now: Timestamp) -> Option<Alert> {
        let Some(mut alert) = self.state.book.get(told.id).cloned() else {
            return raised_then.then(|| self.keep_or_withdraw(told, now));
        };
        (alert.revision, alert.updated_at) = (told.revision, told.updated_at);
        let same = alert == told;
        if !same {
            (alert.revision, alert.updated_at) = (told.revision + 1, now);
        }
        self.state.book.put(alert.clone());
        self.state.facts.on_alert(&alert, now);
        (!same).then_some(alert)
    }

    /// By the right clock it never was so. A call for help stays what it is, whatever the clock says.
    fn keep_or_withdraw(&mut self, mut alert: Alert, now: Timestamp) -> Alert {
        let help = matches!(alert.rule, Rule::Sos | Rule::ManDown);
        if !help && alert.status.may_become(Status::FalsePositive) {
            let note = Some("not so by the right clock".to_owned());
            alert.status = Status::FalsePositive;
            alert.cleared_at = Some(now);
            alert.history.push(Step { at: now, by: "agent".into(), status: alert.status, note });
        }
        (alert.revision, alert.updated_at) = (alert.revision + 1, now);
        self.state.book.put(alert.clone());
        self.state.facts.on_alert(&alert, now);
        alert
    }
}

impl Watch {
    /// The guard as of `to`, an instant that lies before everything that is known; `was` is the latest of that.
    fn set_back(mut self, shape: Option<&Shape>, was: Timestamp, to: Timestamp) -> Self {
        let here = shape.is_some_and(|s| s.on_duty.contains(was));
        let pauses = shape.is_some_and(|s| s.breaks.iter().any(|b| b.from <= was && b.to.is_none()));
        let acts = [(here, AttendanceAction::CheckIn), (here && pauses, AttendanceAction::BreakStart)];
        (self.duty, self.trail) = Default::default();
        for (_, action) in acts.into_iter().filter(|(holds, _)| *holds) {
            self.duty.on_action(to, action);
        }
        self.raised.clear();
        self.asked = self.asked.and_then(|asked| asked.set_back(was, to));
        self.last_position =
            self.last_position.map(|p| crate::evidence::LastPosition { at: p.at.min(to), ..p });
        self
    }
}

impl Instrument {
    /// The device as of `to`, an instant that lies before everything that is known.
    fn set_back(mut self, to: Timestamp) -> Self {
        let carrier: Option<GuardId> = self.carriers.iter().next_back().map(|(_, guard)| guard.clone());
        self.carriers = Default::default();
        if let Some(guard) = carrier {
            self.carriers.insert_once(to, guard);
        }
        self.last_received_at = self.last_received_at.map(|t| t.min(to));
        self.offline_since = self.offline_since.map(|t| t.min(to));
        self.heard = Intervals::default();
        self.skew.forget_readings();
        self.charge.forget_readings();
        self
    }
}
