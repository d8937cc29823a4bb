//! Counts closed facts over any time, a day or a week: what belongs to it is found by instants alone.

use super::facts::{AlertFact, RunFact, TaskEnd, TaskFact};
use super::figures::Figures;
use crate::alert::Rule;
use crate::engine::Engine;
use crate::id::{DeviceId, GuardId};
use crate::rules::compliance::Compliance;
use crate::time::{Span, Timestamp};
use crate::windows::Intervals;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Everything that is counted of some time. Two neighbours merge to what counting both at once gives.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Tally {
    /// The whole site.
    pub total: Figures,
    /// Every guard of whom there is something to tell.
    pub guards: BTreeMap<GuardId, Figures>,
    /// Every device that failed.
    pub devices: BTreeMap<DeviceId, Failures>,
    /// When the agent was down.
    pub blind: Intervals,
    /// How many findings of each rule a maintenance interval muted.
    pub muted: BTreeMap<Rule, u64>,
}

/// How a device failed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Failures {
    /// How often it fell silent.
    pub outages: u64,
    /// How long it was silent; a handset counts only while its guard was on duty.
    pub down_ms: u64,
    /// How often its clock turned out to be wrong.
    pub clock_wrong: u64,
    /// By how much at most, when that was found.
    pub clock_off_ms: u64,
}

impl Tally {
    /// Adds that of another time.
    pub fn merge(&mut self, other: &Self) {
        self.total.merge(&other.total);
        for (guard, figures) in &other.guards {
            self.guards.entry(guard.clone()).or_default().merge(figures);
        }
        for (device, failures) in &other.devices {
            let sum = self.devices.entry(device.clone()).or_default();
            sum.outages = sum.outages.saturating_add(failures.outages);
            sum.down_ms = sum.down_ms.saturating_add(failures.down_ms);
            sum.clock_wrong = sum.clock_wrong.saturating_add(failures.clock_wrong);
            sum.clock_off_ms = sum.clock_off_ms.max(failures.clock_off_ms);
        }
        other.blind.iter().for_each(|(from, to)| self.blind.add(from, to));
        for (rule, n) in &other.muted {
            let sum = self.muted.entry(*rule).or_default();
            *sum = sum.saturating_add(*n);
        }
    }

    /// Counts for the site, and for the guard if it is anybody's.
    fn count(&mut self, guard: Option<&GuardId>, mut change: impl FnMut(&mut Figures)) {
        change(&mut self.total);
        if let Some(guard) = guard {
            change(self.guards.entry(guard.clone()).or_default());
        }
    }
}

/// A length of time as a sum takes it; one that would be negative is none.
fn millis(span: Span) -> u64 {
    u64::try_from(span.millis()).unwrap_or(0)
}

/// The parts of `times` that lie in `[from, until)`.
fn parts(
    times: &Intervals,
    from: Timestamp,
    until: Timestamp,
) -> impl Iterator<Item = (Timestamp, Timestamp)> {
    let inside = times.iter().map(move |(a, b)| (a.max(from), b.min(until)));
    inside.filter(|(a, b)| a < b)
}

/// How much of `[from, until)` lies in both.
fn in_both(one: &Intervals, other: &Intervals, from: Timestamp, until: Timestamp) -> u64 {
    parts(one, from, until).map(|(a, b)| millis(other.within(a, b))).sum()
}

impl Engine {
    /// Everything that is known at `now` of `[from, until)`, as far as it belongs to days that can still change.
    pub fn tally(&self, from: Timestamp, until: Timestamp, now: Timestamp) -> Tally {
        let (mut tally, duties, facts) = (Tally::default(), self.duties(now), &self.state.facts);
        for ((at, _), run) in &facts.runs {
            if (from..until).contains(at) {
                let guard = run.guard.as_ref().or_else(|| alone(&duties, *at, run.close_by));
                tally.count(guard, |figures| count_run(figures, run));
            }
        }
        for ((at, _), alert) in facts.alerts.iter().filter(|((at, _), _)| (from..until).contains(at)) {
            let hour = usize::from(at.local_minute(self.site.timezone) / 60);
            tally.count(alert.guard.as_ref(), |figures| count_alert(figures, alert, *at, hour));
            if let Some((device, off)) = &alert.skew {
                let failures = tally.devices.entry(device.clone()).or_default();
                failures.clock_wrong += 1;
                failures.clock_off_ms = failures.clock_off_ms.max(millis(*off));
            }
        }
        for task in self.task_facts(now).filter(|task| (from..until).contains(&task.settled_at)) {
            tally.count(task.guard.as_ref(), |figures| count_task(figures, &task));
        }
        for ((_, rule), n) in facts.muted.iter().filter(|((at, _), _)| (from..until).contains(at)) {
            *tally.muted.entry(*rule).or_default() += n;
        }
        let blind = self.blind();
        parts(&blind, from, until).for_each(|(a, b)| tally.blind.add(a, b));
        self.tally_duty(&mut tally, &duties, from, until);
        self.tally_outages(&mut tally, &duties, &blind, from, until.min(now));
        tally
    }

    fn tally_duty(
        &self,
        tally: &mut Tally,
        duties: &BTreeMap<GuardId, Intervals>,
        from: Timestamp,
        until: Timestamp,
    ) {
        let nothing = Intervals::default();
        for (guard, duty) in duties {
            let on_duty_ms = millis(duty.within(from, until));
            if on_duty_ms == 0 {
                continue;
            }
            let heard = self.state.facts.heard.get(guard).unwrap_or(&nothing);
            let observed_ms = in_both(duty, heard, from, until);
            tally.count(Some(guard), |figures| {
                figures.duty.on_duty_ms += on_duty_ms;
                figures.duty.observed_ms += observed_ms;
            });
        }
    }

    /// What the agent could not hear is no failure of a device, and what lies in a drawer by day is none either.
    fn tally_outages(
        &self,
        tally: &mut Tally,
        duties: &BTreeMap<GuardId, Intervals>,
        blind: &Intervals,
        from: Timestamp,
        until: Timestamp,
    ) {
        for ((device, guard), down) in &self.state.facts.down {
            let whole = Intervals::of(from, until);
            let watched = guard.as_ref().map_or(&whole, |g| duties.get(g).unwrap_or(&whole));
            let heard_by_nobody: u64 =
                parts(down, from, until).map(|(a, b)| in_both(watched, blind, a, b)).sum();
            let began = down.iter().filter(|(at, _)| (from..until).contains(at)).count();
            let down_ms = in_both(down, watched, from, until) - heard_by_nobody;
            if began > 0 || down_ms > 0 {
                let failures = tally.devices.entry(device.clone()).or_default();
                failures.outages += u64::try_from(began).unwrap_or(u64::MAX);
                failures.down_ms += down_ms;
            }
        }
    }

    /// When the agent was down, as far as a day that can change is concerned.
    fn blind(&self) -> Intervals {
        let mut blind = self.state.facts.blind.clone();
        self.state.blind.iter().for_each(|(from, to)| blind.add(from, to));
        blind
    }

    /// When each guard was on duty, up to `now`.
    fn duties(&self, now: Timestamp) -> BTreeMap<GuardId, Intervals> {
        let (mut duties, frozen_until) = (self.state.facts.duty.clone(), self.state.facts.frozen_until);
        for (guard, shape) in &self.shapes {
            let duty = duties.entry(guard.clone()).or_default();
            parts(&shape.on_duty, frozen_until, now).for_each(|(a, b)| duty.add(a, b));
        }
        duties
    }

    /// Every task that is settled: those that are known, and those that were forgotten.
    fn task_facts(&self, now: Timestamp) -> impl Iterator<Item = TaskFact> + '_ {
        let known = self.state.tasks.iter().filter_map(move |(_, task)| self.fact_of(task, now));
        let forgotten = self.state.facts.tasks.iter().filter(|(id, _)| self.state.tasks.get(id).is_none());
        known.chain(forgotten.map(|(_, fact)| fact.clone()))
    }
}

/// The only guard who was on duty at any instant of a run: a run that names nobody is then that guard's.
fn alone(duties: &BTreeMap<GuardId, Intervals>, from: Timestamp, to: Timestamp) -> Option<&GuardId> {
    let mut here = duties.iter().filter(|(_, duty)| duty.within(from, to.just_after()) > Span::ZERO);
    let first = here.next();
    if here.next().is_some() { None } else { first.map(|(guard, _)| guard) }
}

fn count_run(figures: &mut Figures, run: &RunFact) {
    let runs = &mut figures.runs;
    runs.closed += 1;
    runs.missed += u64::from(run.missed);
    runs.observed += u64::from(run.observed);
    runs.coverage += u64::from(run.coverage);
    match run.compliance {
        Compliance::GuardAbsent => runs.guard_absent += 1,
        Compliance::NotStarted => runs.not_started += 1,
        Compliance::PartialCompletion => runs.partial_completion += 1,
        Compliance::SlaBreach => runs.sla_breach += 1,
        Compliance::Compliant => runs.compliant += 1,
    }
}

fn count_alert(figures: &mut Figures, alert: &AlertFact, detected_at: Timestamp, hour: usize) {
    let sums = figures.alerts.entry(alert.rule).or_default();
    sums.count(alert.status);
    sums.escalated += u64::from(alert.escalated);
    sums.detection.count(millis(alert.raised_at.since(detected_at)));
    if let Some(closed_at) = alert.closed_at {
        sums.resolution.count(millis(closed_at.since(detected_at)));
    }
    if alert.rule == Rule::Inactivity {
        figures.inactivity.deep_night += u64::from(alert.deep_night);
        figures.inactivity.by_hour.iter_mut().skip(hour).take(1).for_each(|n| *n += 1);
    }
}

fn count_task(figures: &mut Figures, task: &TaskFact) {
    let tasks = &mut figures.tasks;
    if task.end == TaskEnd::Cancelled {
        tasks.cancelled += 1;
        return;
    }
    tasks.due += 1;
    tasks.completed += u64::from(matches!(task.end, TaskEnd::InTime | TaskEnd::Late));
    tasks.overdue += u64::from(matches!(task.end, TaskEnd::Late | TaskEnd::NotDone));
    task.response.into_iter().for_each(|permille| tasks.response.count(permille));
}
