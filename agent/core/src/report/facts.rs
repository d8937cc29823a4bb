//! Closed facts, each under its own name: told twice or in another order, they are the same. Kept until nothing can
//! change the day that they belong to.

use crate::alert::{Alert, AlertId, Rule, Status};
use crate::engine::Engine;
use crate::evidence::Evidence;
use crate::id::{DeviceId, GuardId, TaskId, TourId};
use crate::rules::compliance::{Compliance, RunRecord};
use crate::rules::tasks::Task;
use crate::rules::tours::RunStatus;
use crate::time::{Date, Span, Timestamp};
use crate::windows::{Intervals, trail::hear};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What was muted is counted by quarters of an hour: every zone's midnight falls on one.
const QUARTER: Span = Span::from_mins(15);
/// The most tasks that are remembered once they are forgotten elsewhere: as many as can be known at once.
const MAX_TASKS: usize = 10_000;
/// The end of time, for a device that has not been heard again.
const EVER: Timestamp = Timestamp::from_millis(i64::MAX);

/// Everything that reports are made of, as far as nothing else keeps it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Facts {
    /// Closed runs, by schedule.
    pub(super) runs: BTreeMap<(Timestamp, TourId), RunFact>,
    /// Alerts, by the instant at which they were detected.
    pub(super) alerts: BTreeMap<(Timestamp, AlertId), AlertFact>,
    /// Tasks that the log of tasks has forgotten.
    pub(super) tasks: BTreeMap<TaskId, TaskFact>,
    /// Time on duty before `frozen_until`.
    pub(super) duty: BTreeMap<GuardId, Intervals>,
    /// Duty before this instant is settled: nothing that is still taken can change it.
    pub(super) frozen_until: Timestamp,
    /// When a handset of the guard's could be heard.
    pub(super) heard: BTreeMap<GuardId, Intervals>,
    /// When a device was silent, and whose it was.
    pub(super) down: BTreeMap<(DeviceId, Option<GuardId>), Intervals>,
    /// When the agent was down.
    pub(super) blind: Intervals,
    /// How many findings of each rule were muted.
    pub(super) muted: BTreeMap<(Timestamp, Rule), u64>,
    /// What was reported of each day that can still change.
    pub(super) sent: BTreeMap<Date, Sent>,
    /// The first day that can still change.
    pub(super) open_from: Date,
    /// When it was last looked which days there is something to tell of.
    pub(super) looked_at: Timestamp,
}

/// The report of a day that was sent last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Sent {
    pub revision: u32,
    /// 64 bits of a UUIDv5 of its sums: two revisions of one day do not collide.
    pub digest: u64,
}

/// A closed run, as of its latest revision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct RunFact {
    pub guard: Option<GuardId>,
    pub close_by: Timestamp,
    pub missed: bool,
    pub compliance: Compliance,
    pub observed: bool,
    pub coverage: u8,
}

/// An alert, as of its latest revision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct AlertFact {
    pub rule: Rule,
    pub guard: Option<GuardId>,
    pub status: Status,
    pub escalated: bool,
    pub deep_night: bool,
    /// Of a clock that is wrong: whose, and by how much.
    pub skew: Option<(DeviceId, Span)>,
    pub raised_at: Timestamp,
    pub closed_at: Option<Timestamp>,
}

/// A task that was completed, cancelled or fell overdue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct TaskFact {
    /// When it was closed, or else fell overdue: which day it belongs to.
    pub settled_at: Timestamp,
    pub guard: Option<GuardId>,
    pub end: TaskEnd,
    /// The share of the time allowed that its completion took, in thousandths.
    pub response: Option<u32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum TaskEnd {
    InTime,
    Late,
    NotDone,
    Cancelled,
}

impl Facts {
    /// Nothing before `began` is reported, which lies on `date`.
    pub(crate) fn beginning(date: Date, began: Timestamp) -> Self {
        Self {
            runs: BTreeMap::new(),
            alerts: BTreeMap::new(),
            tasks: BTreeMap::new(),
            duty: BTreeMap::new(),
            frozen_until: began,
            heard: BTreeMap::new(),
            down: BTreeMap::new(),
            blind: Intervals::default(),
            muted: BTreeMap::new(),
            sent: BTreeMap::new(),
            open_from: date,
            looked_at: began,
        }
    }

    /// The clock was set back: what was reported of a day that is still to come keeps its number, so that the same
    /// number is never given to another report.
    pub(crate) fn keep_revisions(&mut self, before: Self) {
        self.sent = before.sent;
    }

    /// A run closed, or late evidence changed how it closed.
    pub(crate) fn on_run(&mut self, record: &RunRecord) {
        let fact = RunFact {
            guard: record.guard.clone(),
            close_by: record.close_by,
            missed: record.status == RunStatus::Missed,
            compliance: record.compliance,
            observed: record.observed,
            coverage: record.coverage,
        };
        self.runs.insert((record.scheduled_at, record.tour.clone()), fact);
    }

    /// An alert was raised or changed; `now` is when.
    pub(crate) fn on_alert(&mut self, alert: &Alert, now: Timestamp) {
        let key = (alert.detected_at, alert.id);
        let raised_at = self.alerts.get(&key).map_or(now, |known| known.raised_at);
        let last = alert.history.last().filter(|step| step.status.is_final());
        let fact = AlertFact {
            rule: alert.rule,
            guard: alert.guard.clone(),
            status: alert.status,
            escalated: alert.escalated,
            deep_night: matches!(&alert.evidence, Evidence::Inactivity(e) if e.deep_night),
            skew: skew_of(alert),
            raised_at,
            closed_at: last.map(|step| step.at),
        };
        self.alerts.insert(key, fact);
    }

    /// A maintenance interval muted what a rule found.
    pub(crate) fn on_muted(&mut self, rule: Rule, at: Timestamp) {
        *self.muted.entry((at.floor_to(QUARTER), rule)).or_default() += 1;
    }

    /// A handset of the guard's was heard.
    pub(crate) fn on_heard(&mut self, guard: &GuardId, at: Timestamp, silent_after: Span) {
        hear(self.heard.entry(guard.clone()).or_default(), at, silent_after);
    }

    /// A device fell silent.
    pub(crate) fn on_silent(&mut self, device: &DeviceId, guard: Option<GuardId>, at: Timestamp) {
        self.down.entry((device.clone(), guard)).or_default().add(at, EVER);
    }

    /// A silent device was heard again, or is none of the site's any more.
    pub(crate) fn on_back(&mut self, device: &DeviceId, at: Timestamp) {
        let of_device = self.down.iter_mut().filter(|((d, _), _)| d == device);
        of_device.for_each(|(_, down)| down.remove(at, EVER));
    }

    /// The log of tasks forgets one.
    fn on_task_forgotten(&mut self, id: TaskId, fact: TaskFact) {
        if self.tasks.len() < MAX_TASKS {
            self.tasks.insert(id, fact);
        }
    }

    /// Forgets what belongs to days that nothing can change any more.
    fn forget_before(&mut self, instant: Timestamp) {
        self.runs.retain(|(at, _), _| *at >= instant);
        self.alerts.retain(|(at, _), _| *at >= instant);
        self.tasks.retain(|_, task| task.settled_at >= instant);
        self.muted.retain(|(at, _), _| *at >= instant.floor_to(QUARTER));
        self.blind.forget_before(instant);
        let forget = |times: &mut Intervals| {
            times.forget_before(instant);
            times.iter().next().is_some()
        };
        self.duty.retain(|_, times| forget(times));
        self.heard.retain(|_, times| forget(times));
        self.down.retain(|_, times| forget(times));
    }
}

fn skew_of(alert: &Alert) -> Option<(DeviceId, Span)> {
    let Evidence::Skew(skew) = &alert.evidence else { return None };
    Some((skew.device.clone(), Span::from_millis(skew.behind_ms.saturating_abs())))
}

impl Engine {
    /// What is about to be forgotten elsewhere, and belongs to a day that can still change, is remembered here.
    pub(crate) fn remember_facts(&mut self, horizon: Timestamp) {
        let site = std::sync::Arc::clone(&self.site);
        let frozen_until = self.state.facts.frozen_until;
        for (guard, shape) in &self.shapes {
            for (from, to) in shape.on_duty.iter().filter(|(_, to)| *to > frozen_until) {
                let times = self.state.facts.duty.entry(guard.clone()).or_default();
                times.add(from.max(frozen_until), to.min(horizon));
            }
        }
        let facts = &mut self.state.facts;
        facts.frozen_until = frozen_until.max(horizon);
        self.state.blind.iter().for_each(|(from, to)| facts.blind.add(from, to));
        let gone: Vec<DeviceId> =
            facts.down.keys().map(|(d, _)| d.clone()).filter(|d| site.device(d.as_str()).is_none()).collect();
        gone.iter().for_each(|device| facts.on_back(device, self.state.now));
        let old = self.state.tasks.iter().filter(|(_, t)| t.closed_at.is_some_and(|c| c < horizon));
        let old: Vec<TaskId> = old.map(|(id, _)| id.clone()).collect();
        old.iter().for_each(|id| self.remember_task(id));
        let open_from = self.start_of(self.state.facts.open_from);
        self.state.facts.forget_before(open_from);
    }

    /// The same for one task.
    pub(crate) fn remember_task(&mut self, id: &TaskId) {
        if let Some(fact) = self.state.tasks.get(id).and_then(|task| self.fact_of(task, self.state.now)) {
            self.state.facts.on_task_forgotten(id.clone(), fact);
        }
    }

    /// What there is to report of a task at `now`, if anything.
    pub(super) fn fact_of(&self, task: &Task, now: Timestamp) -> Option<TaskFact> {
        let overdue_at = task.deadline.just_after();
        let done =
            task.completed.as_ref().filter(|(at, _)| task.closed_at.is_none_or(|closed| *at <= closed));
        let done_at = done.map(|(at, _)| *at);
        let judged_at = overdue_at.max(task.known_at) + self.settle();
        let end = match (done_at, task.closed_at) {
            (Some(done), _) if done < overdue_at => TaskEnd::InTime,
            (Some(_), _) => TaskEnd::Late,
            (None, Some(cancelled)) if cancelled < overdue_at => TaskEnd::Cancelled,
            (None, Some(_)) => TaskEnd::NotDone,
            (None, None) if judged_at <= now => TaskEnd::NotDone,
            (None, None) => return None,
        };
        let fact = TaskFact {
            settled_at: task.closed_at.map_or(overdue_at, |closed| closed.min(overdue_at)),
            guard: task.guard.clone().or_else(|| done.and_then(|(_, by)| by.clone())),
            end,
            response: done_at.and_then(|done| task.share_of_time(done)),
        };
        (fact.settled_at >= self.state.began).then_some(fact)
    }
}
