//! The sums of a report: whole numbers that add up, however the time is cut into days. Rates are made of them at the
//! edges and nowhere else, because rates do not add up.

use crate::alert::{Rule, Status};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A response of ten times the time allowed and one of a hundred are the same to a reader.
const LARGEST_PERCENT: u32 = 1_000;

/// The sums of one guard or of a whole site.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Figures {
    /// Section 5.
    pub tasks: Tasks,
    /// Section 6.
    pub runs: Runs,
    /// Section 3: when guards lay still.
    pub inactivity: Inactivity,
    /// What became of the alerts of each rule.
    pub alerts: BTreeMap<Rule, Alerts>,
    /// Time on duty, and how much of it could be seen.
    pub duty: Duty,
}

/// Tasks that were completed or fell overdue.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Tasks {
    /// Completed, or not completed by the deadline.
    pub due: u64,
    /// Of these: completed, in time or late.
    pub completed: u64,
    /// Of these: still open strictly after the deadline, whatever came later.
    pub overdue: u64,
    /// Cancelled in time: these were not due.
    pub cancelled: u64,
    /// How much of the time allowed each completed task took.
    pub response: Ratios,
}

/// Closed runs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Runs {
    /// All of them.
    pub closed: u64,
    /// Everything was as it should be.
    pub compliant: u64,
    /// Started too late.
    pub sla_breach: u64,
    /// Not enough was scanned.
    pub partial_completion: u64,
    /// Nothing was scanned.
    pub not_started: u64,
    /// Its guard was not on duty.
    pub guard_absent: u64,
    /// Nothing was scanned, for whichever reason.
    pub missed: u64,
    /// Whether it was walked could be observed.
    pub observed: u64,
    /// The sum of the percents of checkpoints scanned.
    pub coverage: u64,
}

/// When inactivity alerts were detected, on the wall clock.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Inactivity {
    /// By the hour, from midnight on.
    pub by_hour: [u64; 24],
    /// Those of the deep night.
    pub deep_night: u64,
}

/// What became of the alerts of one rule.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Alerts {
    /// All of them.
    pub raised: u64,
    /// Nobody has looked at them yet.
    pub detected: u64,
    /// Somebody is finding out.
    pub verifying: u64,
    /// They were true.
    pub confirmed: u64,
    /// They are over.
    pub resolved: u64,
    /// They were not true.
    pub false_positive: u64,
    /// Nobody answered in time.
    pub escalated: u64,
    /// From the instant at which the rule held until the alert was raised.
    pub detection: Lengths,
    /// From that instant to the final status.
    pub resolution: Lengths,
}

/// Time on duty, breaks included.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Duty {
    /// All of it.
    pub on_duty_ms: u64,
    /// With a handset of the guard's that could be heard.
    pub observed_ms: u64,
}

/// How long things took.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Lengths {
    /// How many.
    pub count: u64,
    /// Together.
    pub sum_ms: u64,
    /// The longest.
    pub longest_ms: u64,
}

/// Shares of the time allowed: the mean is exact to a thousandth, the 95th percentile to a hundredth.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Ratios {
    /// How many.
    pub count: u64,
    /// Together, in thousandths.
    pub sum_permille: u64,
    /// How many of each whole percent, rounded up; the last stands for everything from ten times on.
    pub percents: BTreeMap<u32, u64>,
}

fn add(sum: &mut u64, more: u64) {
    // What comes from elsewhere may hold any number, and must not stop whoever adds it up.
    *sum = sum.saturating_add(more);
}

impl Figures {
    /// Whether there is nothing to tell.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Adds those of another time, or of another guard.
    pub fn merge(&mut self, other: &Self) {
        self.tasks.merge(&other.tasks);
        self.runs.merge(&other.runs);
        self.inactivity.merge(&other.inactivity);
        for (rule, alerts) in &other.alerts {
            self.alerts.entry(*rule).or_default().merge(alerts);
        }
        add(&mut self.duty.on_duty_ms, other.duty.on_duty_ms);
        add(&mut self.duty.observed_ms, other.duty.observed_ms);
    }
}

impl Tasks {
    fn merge(&mut self, other: &Self) {
        add(&mut self.due, other.due);
        add(&mut self.completed, other.completed);
        add(&mut self.overdue, other.overdue);
        add(&mut self.cancelled, other.cancelled);
        self.response.merge(&other.response);
    }
}

impl Runs {
    fn merge(&mut self, other: &Self) {
        add(&mut self.closed, other.closed);
        add(&mut self.compliant, other.compliant);
        add(&mut self.sla_breach, other.sla_breach);
        add(&mut self.partial_completion, other.partial_completion);
        add(&mut self.not_started, other.not_started);
        add(&mut self.guard_absent, other.guard_absent);
        add(&mut self.missed, other.missed);
        add(&mut self.observed, other.observed);
        add(&mut self.coverage, other.coverage);
    }
}

impl Inactivity {
    /// All of them.
    pub fn raised(&self) -> u64 {
        self.by_hour.iter().fold(0, |sum, n| sum.saturating_add(*n))
    }

    fn merge(&mut self, other: &Self) {
        self.by_hour.iter_mut().zip(other.by_hour).for_each(|(sum, more)| add(sum, more));
        add(&mut self.deep_night, other.deep_night);
    }
}

impl Alerts {
    /// Those whose status is final.
    pub const fn closed(&self) -> u64 {
        self.confirmed.saturating_add(self.resolved).saturating_add(self.false_positive)
    }

    /// Counts one more of this status.
    pub(super) fn count(&mut self, status: Status) {
        let sum = match status {
            Status::Detected => &mut self.detected,
            Status::Verifying => &mut self.verifying,
            Status::Confirmed => &mut self.confirmed,
            Status::Resolved => &mut self.resolved,
            Status::FalsePositive => &mut self.false_positive,
        };
        add(sum, 1);
        add(&mut self.raised, 1);
    }

    fn merge(&mut self, other: &Self) {
        add(&mut self.raised, other.raised);
        add(&mut self.detected, other.detected);
        add(&mut self.verifying, other.verifying);
        add(&mut self.confirmed, other.confirmed);
        add(&mut self.resolved, other.resolved);
        add(&mut self.false_positive, other.false_positive);
        add(&mut self.escalated, other.escalated);
        self.detection.merge(other.detection);
        self.resolution.merge(other.resolution);
    }
}

impl Lengths {
    /// Counts one more.
    pub(super) fn count(&mut self, length_ms: u64) {
        self.merge(Self { count: 1, sum_ms: length_ms, longest_ms: length_ms });
    }

    /// Adds those of another rule or another time.
    pub fn merge(&mut self, other: Self) {
        add(&mut self.count, other.count);
        add(&mut self.sum_ms, other.sum_ms);
        self.longest_ms = self.longest_ms.max(other.longest_ms);
    }
}

impl Ratios {
    /// Counts one more, in thousandths of the time allowed.
    pub(super) fn count(&mut self, permille: u32) {
        add(&mut self.count, 1);
        add(&mut self.sum_permille, u64::from(permille));
        add(self.percents.entry(permille.div_ceil(10).min(LARGEST_PERCENT)).or_default(), 1);
    }

    /// The smallest percent that at least 95 of 100 do not exceed; `None` of nothing.
    pub fn p95(&self) -> Option<u32> {
        let all: u128 = self.percents.values().map(|n| u128::from(*n)).sum();
        let enough = (all * 95).div_ceil(100);
        let mut so_far = 0;
        let reached = |(_, n): &(&u32, &u64)| {
            so_far += u128::from(**n);
            so_far >= enough
        };
        self.percents.iter().find(reached).map(|(percent, _)| *percent)
    }

    fn merge(&mut self, other: &Self) {
        add(&mut self.count, other.count);
        add(&mut self.sum_permille, other.sum_permille);
        for (percent, n) in &other.percents {
            add(self.percents.entry((*percent).min(LARGEST_PERCENT)).or_default(), *n);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ratios(permilles: &[u32]) -> Ratios {
        let mut ratios = Ratios::default();
        permilles.iter().for_each(|permille| ratios.count(*permille));
        ratios
    }

    #[test]
    fn the_95th_percentile_is_one_of_those_that_were_counted() {
        for (permilles, p95) in [
            (vec![], None),
            (vec![410], Some(41)),
            (vec![411], Some(42)),
            ((1..=20).map(|n| n * 10).collect(), Some(19)),
            ((1..=21).map(|n| n * 10).collect(), Some(20)),
            ((1..=100).map(|n| n * 10).collect(), Some(95)),
            (vec![0; 19].into_iter().chain([5_000]).collect(), Some(0)),
            (vec![0; 18].into_iter().chain([5_000, 5_000]).collect(), Some(500)),
            (vec![10_001, u32::MAX], Some(LARGEST_PERCENT)),
        ] {
            assert_eq!(ratios(&permilles).p95(), p95, "{permilles:?}");
        }
    }

    #[test]
    fn no_figures_of_a_stranger_stop_whoever_adds_them_up() {
        let mut all = Figures::default();
        all.runs.closed = u64::MAX;
        all.tasks.response =
            Ratios { percents: BTreeMap::from([(7, u64::MAX), (u32::MAX, 1)]), ..Ratios::default() };
        let other = all.clone();
        all.merge(&other);
        assert_eq!((all.runs.closed, all.tasks.response.p95()), (u64::MAX, Some(7)));
    }

    proptest! {
        #[test]
        fn ratios_of_two_days_are_those_of_both(a in prop::collection::vec(0_u32..20_000, 0..40), b in prop::collection::vec(0_u32..20_000, 0..40)) {
            let mut merged = ratios(&a);
            merged.merge(&ratios(&b));
            let mut all = [a, b].concat();
            prop_assert_eq!(&merged, &ratios(&all));
            all.sort_unstable();
            // By the definition, to a percent: the nearest rank.
            let exact = (all.len() * 95).div_ceil(100).checked_sub(1).map(|rank| all[rank].div_ceil(10).min(LARGEST_PERCENT));
            prop_assert_eq!(merged.p95(), exact);
        }
    }
}
