//! Which run does a scan belong to? The log of runs and scans, whatever the order in which they become known.

use crate::id::{CheckpointId, GuardId, TourId};
use crate::rules::tours::Run;
use crate::time::{Span, Timestamp};
use crate::windows::Series;
use serde::{Deserialize, Serialize};
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

/// What names a run: its schedule and its tour.
pub(super) type RunKey = (Timestamp, TourId);

/// Every run that still matters, and every scan that could belong to one.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct RunLog {
    /// By schedule first: the runs around an instant are found without looking at the others.
    runs: BTreeMap<Timestamp, BTreeMap<TourId, Run>>,
    scans: Series<(CheckpointId, Option<GuardId>)>,
    /// How long before its schedule a run may open, and how long behind it may close: the most of any.
    reach: (Span, Span),
}

impl RunLog {
    /// Every run, by schedule and tour.
    pub fn iter(&self) -> impl Iterator<Item = (&TourId, &Run)> {
        self.runs.values().flatten()
    }

    /// Every run that takes a scan somewhere in `[from, to]`, and some that do not.
    pub(super) fn around(&self, from: Timestamp, to: Timestamp) -> impl Iterator<Item = (&TourId, &Run)> {
        let (early, late) = self.reach;
        self.runs.range(from - late..=(to + early).max(from - late)).flat_map(|(_, tours)| tours)
    }

    /// The key of every run, in order.
    pub(super) fn keys(&self) -> Vec<RunKey> {
        self.iter().map(|(tour, run)| (run.scheduled_at, tour.clone())).collect()
    }

    /// One run.
    pub(super) fn get(&self, key: &RunKey) -> Option<&Run> {
        self.runs.get(&key.0)?.get(&key.1)
    }

    /// One run, to be changed.
    pub(super) fn get_mut(&mut self, key: &RunKey) -> Option<&mut Run> {
        self.runs.get_mut(&key.0)?.get_mut(&key.1)
    }

    /// Adds a run; false if it is known.
    pub(super) fn insert(&mut self, tour: TourId, run: Run) -> bool {
        let (early, late) = self.reach;
        let reach =
            (run.scheduled_at.since(run.opens_at).max(early), run.close_by.since(run.scheduled_at).max(late));
        let Entry::Vacant(place) = self.runs.entry(run.scheduled_at).or_default().entry(tour) else {
            return false;
        };
        place.insert(run);
        self.reach = reach;
        true
    }

    /// Whose scans a run has, as far as that is known.
    pub(super) fn walkers(&self, run: &Run) -> impl Iterator<Item = &GuardId> {
        let of_run = |at: &Timestamp, place: &CheckpointId| run.scans.get(place) == Some(at);
        let during = self.scans.range(run.opens_at, run.close_by.just_after()).iter();
        let guards =
            during.filter(move |(at, (place, _))| of_run(at, place)).filter_map(|(_, (_, g))| g.as_ref());
        guards.filter(|guard| run.guard.as_ref().is_none_or(|own| own == *guard))
    }

    /// The longest stay at each place that ended during the run: from the first scan there to the next one of the same
    /// guard somewhere else. A place that somebody has not been seen to leave is left out.
    pub(super) fn stays(&self, run: &Run) -> BTreeMap<CheckpointId, Span> {
        let (first, last) = (run.scans.values().min(), run.scans.values().max());
        let (Some(first), Some(last)) = (first, last) else { return BTreeMap::new() };
        let mut here: BTreeMap<&GuardId, (&CheckpointId, Timestamp)> = BTreeMap::new();
        let mut stays: BTreeMap<CheckpointId, Span> = BTreeMap::new();
        for (at, (place, guard)) in self.scans.range(*first, last.just_after()) {
            let Some(guard) = guard.as_ref().filter(|g| run.guard.as_ref().is_none_or(|own| own == *g))
            else {
                continue;
            };
            let (before, since) = *here.entry(guard).or_insert((place, *at));
            if before != place {
                let longest = stays.entry(before.clone()).or_default();
                *longest = at.since(since).max(*longest);
                here.insert(guard, (place, *at));
            }
        }
        for (place, _) in here.values() {
            stays.remove(*place);
        }
        stays
    }

    /// From when on the attendance of runs that are still known matters.
    pub(crate) fn opens_from(&self) -> Option<Timestamp> {
        self.iter().map(|(_, run)| run.opens_at).min()
    }

    /// A run goes to one in progress, else to one that may still start, else to a late one; the earliest of each.
    fn run_for(&self, at: Timestamp, place: &CheckpointId, guard: Option<&GuardId>) -> Option<RunKey> {
        let rank = |run: &Run| match (run.scans.is_empty(), at <= run.start_by) {
            (false, _) => 0,
            (true, true) => 1,
            (true, false) => 2,
        };
        let lacks = |run: &Run| !run.scans.contains_key(place) && run.checkpoints.contains(place);
        // Of equals, this is the first, which is the earliest.
        let first = self
            .around(at, at)
            .filter(|(_, run)| run.takes(at, guard) && lacks(run))
            .min_by_key(|(_, run)| rank(run));
        first.map(|(tour, run)| (run.scheduled_at, tour.clone()))
    }

    fn give(&mut self, at: Timestamp, place: &CheckpointId, guard: Option<&GuardId>) -> Option<RunKey> {
        let key = self.run_for(at, place, guard)?;
        self.get_mut(&key)?.scans.insert(place.clone(), at);
        Some(key)
    }

    /// Takes a scan; the runs that it changed. One that comes out of order is given its place among the others: all
    /// scans behind it are given anew, in order of event time. Those before it never depended on it.
    pub(super) fn on_scan(
        &mut self,
        at: Timestamp,
        place: &CheckpointId,
        guard: Option<GuardId>,
    ) -> Vec<RunKey> {
        let scan = (at, (place.clone(), guard));
        let in_order = self.scans.iter().next_back().is_none_or(|last| *last <= scan);
        if !self.scans.insert_once(scan.0, scan.1.clone()) {
            return vec![];
        }
        if in_order {
            return self.give(at, place, scan.1.1.as_ref()).into_iter().collect();
        }
        let again = self.scans.range(at, Timestamp::from_millis(i64::MAX)).to_vec();
        let last = again.last().map_or(at, |(t, _)| *t);
        let before = self.take_back(at, last);
        let given = again.iter().filter_map(|(at, (place, guard))| self.give(*at, place, guard.as_ref()));
        let mut changed: BTreeSet<RunKey> = given.collect();
        for (key, scans) in before {
            match self.get(&key) {
                Some(run) if run.scans == scans => changed.remove(&key),
                Some(_) | None => changed.insert(key),
            };
        }
        changed.into_iter().collect()
    }

    /// Takes every scan in `[from, to]` back; the runs that had one, with what they had.
    fn take_back(
        &mut self,
        from: Timestamp,
        to: Timestamp,
    ) -> Vec<(RunKey, BTreeMap<CheckpointId, Timestamp>)> {
        let had = |(_, run): &(&TourId, &Run)| run.scans.values().any(|at| *at >= from);
        let before: Vec<(RunKey, BTreeMap<CheckpointId, Timestamp>)> = self
            .around(from, to)
            .filter(had)
            .map(|(tour, run)| ((run.scheduled_at, tour.clone()), run.scans.clone()))
            .collect();
        for (key, _) in &before {
            if let Some(run) = self.get_mut(key) {
                run.scans.retain(|_, at| *at < from);
            }
        }
        before
    }

    pub(crate) fn forget_before(&mut self, instant: Timestamp) {
        self.retain(|run| run.close_by >= instant);
        // A scan outlives the last run that it could belong to.
        let earliest = self.opens_from().unwrap_or(instant);
        self.scans.forget_before(instant.min(earliest));
    }

    pub(crate) fn forget_unstarted(&mut self, now: Timestamp) {
        self.retain(|run| run.scheduled_at <= now || !run.scans.is_empty());
    }

    fn retain(&mut self, kept: impl Fn(&Run) -> bool) {
        self.runs.retain(|_, tours| {
            tours.retain(|_, run| kept(run));
            !tours.is_empty()
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::tours::Docket;
    use proptest::prelude::*;

    fn id<T: std::str::FromStr<Err = crate::id::InvalidId>>(kind: &str, n: usize) -> T {
        format!("{kind}-{n}").parse().unwrap()
    }

    fn min(m: i64) -> Timestamp {
        Timestamp::from_millis(m * 60_000)
    }

    /// Three tours over two of four checkpoints each; the first is one guard's, the others are anybody's. A run of
    /// each every 30 min, open for 40: neighbours overlap.
    fn log() -> RunLog {
        let mut log = RunLog::default();
        for (tour, n) in (0..3).flat_map(|tour| (0..5).map(move |n| (tour, n))) {
            let scheduled_at = min(60 + 30 * n + i64::try_from(tour).unwrap());
            let run = Run {
                opens_at: scheduled_at - Span::from_mins(10),
                scheduled_at,
                start_by: scheduled_at + Span::from_mins(10),
                close_by: scheduled_at + Span::from_mins(30),
                guard: (tour == 0).then(|| id("G", 0)),
                scans: BTreeMap::new(),
                checkpoints: vec![id("c", tour), id("c", tour + 1)],
                watched: true,
                docket: Docket::default(),
            };
            assert!(log.insert(id("t", tour), run));
        }
        log
    }

    type Tap = (i64, usize, usize);

    /// Takes a scan, and checks that it told of the runs that it changed.
    fn take(log: &mut RunLog, (at, place, guard): &Tap) {
        let (guard, before) = ((*guard < 2).then(|| id("G", *guard)), log.clone());
        let told = log.on_scan(min(*at), &id("c", *place), guard);
        let differs = |key: &RunKey| log.get(key).map(|r| &r.scans) != before.get(key).map(|r| &r.scans);
        let changed: Vec<RunKey> = log.keys().into_iter().filter(differs).collect();
        assert_eq!(told, changed);
    }

    fn after(taps: &[Tap]) -> RunLog {
        let mut log = log();
        taps.iter().for_each(|tap| take(&mut log, tap));
        log
    }

    #[test]
    fn scans_of_one_instant_have_an_order_of_their_own() {
        assert_eq!(after(&[(60, 3, 2), (60, 2, 2)]), after(&[(60, 2, 2), (60, 3, 2)]));
    }

    #[test]
    fn the_runs_around_an_instant_are_all_that_take_a_scan_then() {
        let (log, guard) = (log(), id("G", 0));
        for m in 0..240 {
            let open: Vec<_> = log.iter().filter(|(_, r)| r.takes(min(m), Some(&guard))).collect();
            let found: Vec<_> =
                log.around(min(m), min(m)).filter(|(_, r)| r.takes(min(m), Some(&guard))).collect();
            assert_eq!(open, found, "minute {m}");
        }
    }

    proptest! {
        #[test]
        fn in_which_order_scans_arrive_does_not_matter(
            mut taps in prop::collection::vec((50_i64..170, 0_usize..4, 0_usize..3), 0..12),
        ) {
            let as_they_came = after(&taps);
            taps.sort();
            prop_assert_eq!(as_they_came, after(&taps));
        }
    }
}
