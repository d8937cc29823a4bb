//! Section 6: will that tour be done in time? It is at risk if nobody has begun it shortly before it must begin, or if
//! the pace so far does not do. The pace counts the leg that is being walked: whoever stops falls behind as well.

use crate::alert::{AlertId, Rule, Severity, Subject};
use crate::deadline::Deadline;
use crate::engine::Engine;
use crate::id::TourId;
use crate::rules::runs::RunKey;
use crate::rules::tours::Run;
use crate::time::{Span, Timestamp};

/// How long before `start_by` a run that nobody has begun is at risk (rules, section 6).
const SHORTLY: Span = Span::from_mins(5);

impl Run {
    /// The instants of its scans, in order.
    fn times(&self) -> Vec<Timestamp> {
        let mut times: Vec<Timestamp> = self.scans.values().copied().collect();
        times.sort_unstable();
        times
    }

    /// When nobody having begun it becomes a risk; never if it is not even due by then.
    fn to_be_begun(&self) -> Option<Timestamp> {
        Some(self.start_by - SHORTLY).filter(|at| *at >= self.scheduled_at)
    }

    /// Until when the `done`-th of `legs` must have been walked: at a slower pace the last ends after `close_by`.
    fn leg_due(&self, begun: Timestamp, done: usize, legs: usize) -> Timestamp {
        let share = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
        let time = self.close_by.since(begun).millis();
        begun + Span::from_millis(time.saturating_mul(share(done)) / share(legs).max(1))
    }

    /// Every instant, in order, at which it begins or goes on to be at risk, by what had been scanned until then.
    fn risks(&self, needed: usize) -> Vec<Timestamp> {
        let (times, legs) = (self.times(), needed.saturating_sub(1));
        let unbegun = self.to_be_begun().filter(|at| times.first().is_none_or(|begun| begun > at));
        let behind = |begun: Timestamp, done: usize| {
            let due = self.leg_due(begun, done, legs);
            times.get(done).is_none_or(|walked| *walked > due).then(|| due.just_after())
        };
        // The last leg may end at any instant until `close_by`.
        let begun = times.first().into_iter();
        let paced = begun.flat_map(|begun| (1..legs).filter_map(|done| behind(*begun, done)));
        unbegun.into_iter().chain(paced).collect()
    }

    /// Whether it was at risk at `at`: not begun by then, or by what had been scanned before.
    fn is_at_risk(&self, at: Timestamp, needed: usize) -> bool {
        let times = self.times();
        let done = times.partition_point(|t| *t < at);
        match times.first().filter(|begun| **begun <= at) {
            None => self.to_be_begun().is_some_and(|due| due <= at),
            Some(begun) => (1..needed).contains(&done) && at > self.leg_due(*begun, done, needed - 1),
        }
    }

    /// The scan that made it enough.
    fn enough_at(&self, needed: usize) -> Option<Timestamp> {
        self.times().get(needed.checked_sub(1)?).copied()
    }
}

impl Engine {
    /// Looks ahead to the next risk that has not been judged. One that lies in the past was put there by late evidence,
    /// which raises nothing.
    pub(super) fn look_ahead(&mut self, key: &RunKey) {
        let Some(run) = self.state.runs.get(key) else { return };
        let over = run.docket.closed || run.docket.warned_at.is_some();
        let is_next = |at: &Timestamp| {
            let fresh = *at >= self.state.began && self.is_to_come(*at + self.settle());
            Some(*at) > run.docket.risk_judged && (fresh || run.docket.warns_at == Some(*at))
        };
        let risks = run.risks(run.needed(&self.site)).into_iter();
        let next = risks.filter(is_next).find(|_| !over);
        if let Some(run) = self.state.runs.get_mut(key) {
            run.docket.warns_at = next;
        }
        self.arm_warning(key);
    }

    pub(super) fn arm_warning(&mut self, key: &RunKey) {
        let warns_at = self.state.runs.get(key).and_then(|run| run.docket.warns_at);
        if let Some(at) = warns_at {
            self.agenda.arm(at + self.settle(), Deadline::RunAtRisk(key.0, key.1.clone()));
        }
    }

    /// A run was at risk, if nothing has been scanned in time since.
    pub(crate) fn on_run_at_risk(&mut self, scheduled_at: Timestamp, tour: &TourId) {
        let (key, settled) = ((scheduled_at, tour.clone()), self.state.now - self.settle());
        let Some(run) = self.state.runs.get_mut(&key) else { return };
        // A scan has put it off: that deadline is still to come.
        let Some(at) = run.docket.warns_at.filter(|at| *at <= settled) else { return };
        run.docket.warns_at = None;
        run.docket.risk_judged = Some(at);
        let raised = self.raise_run(Rule::TourAtRisk, Severity::Low, &key, at);
        if let Some(run) = self.state.runs.get_mut(&key) {
            run.docket.warned_at = raised.map(|_| at);
        }
        self.review_warning(&key);
        self.look_ahead(&key);
    }

    /// The warning of a run, with the instant that it is of.
    fn warning(&self, key: &RunKey) -> Option<(AlertId, Timestamp)> {
        let at = self.state.runs.get(key)?.docket.warned_at?;
        Some((self.alert_id(Rule::TourAtRisk, &Subject::Run(key.1.clone(), key.0), at), at))
    }

    /// Completion ends the warning; late scans may show that the run was never at risk.
    pub(super) fn review_warning(&mut self, key: &RunKey) {
        let Some((warning, at)) = self.warning(key) else { return };
        let Some(run) = self.state.runs.get(key) else { return };
        let needed = run.needed(&self.site);
        let (was_at_risk, enough_at, now) =
            (run.is_at_risk(at, needed), run.enough_at(needed), self.state.now);
        if !was_at_risk {
            self.withdraw(warning, now);
        } else if let Some(enough_at) = enough_at {
            self.clear_and_resolve(warning, enough_at, "completed", now);
        }
    }

    /// What was feared has come.
    pub(super) fn supersede_warning(&mut self, key: &RunKey, breached_at: Timestamp) {
        if let Some((warning, _)) = self.warning(key) {
            self.clear_and_resolve(warning, breached_at, "superseded by the breach", self.state.now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::tours::Docket;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn ms(n: i64) -> Timestamp {
        Timestamp::from_millis(n)
    }

    /// Due at 400 s, to be begun by 1,000 s and done by 2,000 s.
    fn run(times: &[i64]) -> Run {
        let place = |n: usize| format!("c-{n:02}").parse().unwrap();
        Run {
            opens_at: ms(100_000),
            scheduled_at: ms(400_000),
            start_by: ms(1_000_000),
            close_by: ms(2_000_000),
            guard: None,
            scans: times.iter().enumerate().map(|(n, t)| (place(n), ms(*t))).collect::<BTreeMap<_, _>>(),
            checkpoints: (0..12).map(place).collect(),
            watched: true,
            docket: Docket::default(),
        }
    }

    #[test]
    fn a_pace_that_ends_at_close_by_exactly_will_do() {
        // Five legs from 1,000 s to 2,000 s are 200 s each.
        let steady = run(&[1_000_000, 1_200_000, 1_400_000, 1_600_000, 1_800_000, 2_000_000]);
        assert_eq!(steady.risks(6), [ms(700_000)], "only that it began so late");
        let slower = run(&[1_000_000, 1_200_001]);
        assert_eq!(slower.risks(6)[..2], [ms(700_000), ms(1_200_001)]);
        assert!(!slower.is_at_risk(ms(1_200_000), 6));
        assert!(slower.is_at_risk(ms(1_200_001), 6), "a scan of that very instant is too late");
        assert!(!slower.is_at_risk(ms(1_200_002), 6), "from then on it counts");
    }

    #[test]
    fn begun_at_the_last_instant_it_was_no_risk() {
        assert_eq!(run(&[700_000]).risks(1), []);
        assert_eq!(run(&[700_001]).risks(1), [ms(700_000)]);
        assert_eq!(run(&[]).risks(1), [ms(700_000)]);
        let soon = Run { start_by: ms(699_999), ..run(&[]) };
        assert_eq!(soon.risks(1), [], "it is not even due five minutes before it must begin");
    }

    proptest! {
        /// Against the sentence of the rules: the mean time for a leg so far, the one under way taken to end now,
        /// times the legs that are still needed, goes past `close_by`.
        #[test]
        fn it_is_the_mean_times_what_is_needed(
            times in prop::collection::btree_set(100_i64..2_000, 1..12), needed in 1_usize..12, at in 100_i64..2_001,
        ) {
            let times: Vec<i64> = times.into_iter().map(|t| t * 1_000).collect();
            let (run, at) = (run(&times), at * 1_000);
            let done = times.iter().filter(|t| **t < at).count();
            prop_assume!(done > 0);
            let (n, needed_more) = (i64::try_from(done).unwrap(), i64::try_from(needed).unwrap() - i64::try_from(done).unwrap());
            // at + (at - begun) / n * (needed_more - 1) > close_by, in whole numbers.
            let past = (at - times[0]) * (needed_more - 1) > (2_000_000 - at) * n;
            prop_assert_eq!(run.is_at_risk(ms(at), needed), needed_more > 0 && past);
        }

        /// The instants looked ahead to are those at which it is at risk, and before the first it is not.
        #[test]
        fn risks_are_found_when_they_begin(
            times in prop::collection::btree_set(100_i64..2_000, 0..12), needed in 1_usize..12, probe in 100_i64..2_000,
        ) {
            let times: Vec<i64> = times.into_iter().map(|t| t * 1_000).collect();
            let run = run(&times);
            let risks = run.risks(needed);
            prop_assert!(risks.windows(2).all(|w| w[0] < w[1]));
            prop_assert!(risks.iter().all(|at| run.is_at_risk(*at, needed)));
            let calm = risks.first().is_none_or(|first| ms(probe * 1_000) < *first);
            prop_assert!(!(calm && run.is_at_risk(ms(probe * 1_000), needed)));
        }
    }
}
