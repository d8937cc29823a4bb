//! Section 6: was that tour missed? Runs are planned from the wall clock, scans are given to them by event time.

use crate::alert::{AlertId, Rule, Severity, Subject};
use crate::book::Finding;
use crate::deadline::Deadline;
use crate::engine::{Engine, Record};
use crate::evidence::{Evidence, RunEvidence};
use crate::id::{CheckpointId, GuardId, TourId};
use crate::observation::Scan;
use crate::roster;
use crate::site::{Device, DeviceKind, Site, Tour, TourType};
use crate::time::{Span, Timestamp};
use crate::windows::{Series, trail::observed};
use serde::{Deserialize, Serialize};
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

type RunKey = (Timestamp, TourId);

/// Every run that still matters, and every scan that could belong to one.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct RunLog {
    /// By schedule first: the runs around an instant are found without looking at the others.
    runs: BTreeMap<Timestamp, BTreeMap<TourId, Run>>,
    scans: Series<(CheckpointId, Option<GuardId>)>,
    /// How long before its schedule a run may open, and how long behind it may close: the most of any.
    reach: (Span, Span),
}

/// One scheduled occurrence of a tour.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// From when on scans count.
    pub opens_at: Timestamp,
    /// When it should start.
    pub scheduled_at: Timestamp,
    /// Until when it may start.
    pub start_by: Timestamp,
    /// Until when it must be done.
    pub close_by: Timestamp,
    /// Whose it is, if anyone's.
    pub guard: Option<GuardId>,
    /// What was scanned, and when first.
    pub scans: BTreeMap<CheckpointId, Timestamp>,
    /// What was to be visited when it was planned: a site file that changes meanwhile changes no run that has begun.
    pub checkpoints: Vec<CheckpointId>,
    /// Whether the start, and the end, have been judged.
    pub(crate) judged: (bool, bool),
    /// False for a run that should have started before the agent began to watch.
    pub(crate) watched: bool,
    revision: u32,
}

/// Where a run stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum RunStatus {
    /// Its time has not come, or its grace is not over.
    Scheduled,
    /// Something was scanned.
    InProgress,
    /// Enough was scanned.
    Completed,
    /// Nothing was scanned strictly after `start_by`.
    Overdue,
    /// Nothing was scanned until `close_by`.
    Missed,
    /// Not enough was scanned until `close_by`.
    Incomplete,
}

/// The log entry of a closed run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunRecord {
    /// Of which tour.
    pub tour: TourId,
    /// When it was due.
    pub scheduled_at: Timestamp,
    /// From 1; late evidence raises it by one.
    pub revision: u32,
    /// How it ended.
    pub status: RunStatus,
    /// Whose it was, if anyone's.
    pub guard: Option<GuardId>,
    /// Percent of the checkpoints scanned.
    pub coverage: u8,
    /// The first scan.
    pub started_at: Option<Timestamp>,
    /// The last scan.
    pub last_scan_at: Option<Timestamp>,
    /// Whole minutes after `start_by` at which it started, rounded up.
    pub overdue_by: i64,
    /// Distinct checkpoints scanned.
    pub scanned: Vec<CheckpointId>,
}

impl Run {
    /// Percent of the checkpoints scanned.
    pub fn coverage(&self) -> u8 {
        let all = self.checkpoints.len().max(1);
        u8::try_from(self.scans.len().min(all) * 100 / all).unwrap_or(100)
    }

    /// The first scan.
    pub fn started_at(&self) -> Option<Timestamp> {
        self.scans.values().min().copied()
    }

    /// Whether enough was scanned: every checkpoint, or the share that the policy asks for.
    fn has_enough(&self, site: &Site) -> bool {
        let policy = &site.policy.tours;
        let needed =
            if policy.require_all_checkpoints { 100 } else { usize::from(policy.min_checkpoint_percentage) };
        self.scans.len() * 100 >= needed * self.checkpoints.len()
    }

    fn is_whole(&self) -> bool {
        self.scans.len() >= self.checkpoints.len()
    }

    /// Where it stands.
    pub fn status(&self, site: &Site) -> RunStatus {
        match (self.scans.is_empty(), self.judged) {
            (false, _) if self.is_whole() => RunStatus::Completed,
            (false, (_, true)) if self.has_enough(site) => RunStatus::Completed,
            (false, (_, true)) => RunStatus::Incomplete,
            (false, (_, false)) => RunStatus::InProgress,
            (true, (_, true)) => RunStatus::Missed,
            (true, (true, false)) => RunStatus::Overdue,
            (true, (false, false)) => RunStatus::Scheduled,
        }
    }

    fn takes(&self, at: Timestamp, guard: Option<&GuardId>) -> bool {
        let whose = self.guard.as_ref().is_none_or(|g| Some(g) == guard);
        whose && self.opens_at <= at && at <= self.close_by
    }
}

impl RunLog {
    /// Every run, by schedule and tour.
    pub fn iter(&self) -> impl Iterator<Item = (&TourId, &Run)> {
        self.runs.values().flatten()
    }

    /// Every run that takes a scan somewhere in `[from, to]`, and some that do not.
    fn around(&self, from: Timestamp, to: Timestamp) -> impl Iterator<Item = (&TourId, &Run)> {
        let (early, late) = self.reach;
        self.runs.range(from - late..=(to + early).max(from - late)).flat_map(|(_, tours)| tours)
    }

    fn keys(&self) -> Vec<RunKey> {
        self.iter().map(|(tour, run)| (run.scheduled_at, tour.clone())).collect()
    }

    fn get(&self, key: &RunKey) -> Option<&Run> {
        self.runs.get(&key.0)?.get(&key.1)
    }

    fn get_mut(&mut self, key: &RunKey) -> Option<&mut Run> {
        self.runs.get_mut(&key.0)?.get_mut(&key.1)
    }

    /// Adds a run; false if it is known.
    fn insert(&mut self, tour: TourId, run: Run) -> bool {
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

    /// A run goes to one in progress, else to one that may still start, else to a late one; the earliest of each.
    fn run_for(&self, at: Timestamp, place: &CheckpointId, guard: Option<&GuardId>) -> Option<RunKey> {
        let rank = |run: &Run| match (run.scans.is_empty(), at <= run.start_by) {
            (false, _) => 0,
            (true, true) => 1,
            (true, false) => 2,
        };
        let wants = |(_, run): &(&TourId, &Run)| {
            run.takes(at, guard) && !run.scans.contains_key(place) && run.checkpoints.contains(place)
        };
        // Of equals, this is the first, which is the earliest.
        let first = self.around(at, at).filter(wants).min_by_key(|(_, run)| rank(run));
        first.map(|(tour, run)| (run.scheduled_at, tour.clone()))
    }

    fn give(&mut self, at: Timestamp, place: &CheckpointId, guard: Option<&GuardId>) -> Option<RunKey> {
        let key = self.run_for(at, place, guard)?;
        self.get_mut(&key)?.scans.insert(place.clone(), at);
        Some(key)
    }

    /// Takes a scan; the runs that it changed. One that comes out of order is given its place among the others: all
    /// scans behind it are given anew, in order of event time. Those before it never depended on it.
    fn on_scan(&mut self, at: Timestamp, place: &CheckpointId, guard: Option<GuardId>) -> Vec<RunKey> {
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
        let earliest = self.iter().map(|(_, r)| r.opens_at).min().unwrap_or(instant);
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

impl Engine {
    /// Learns of the runs that are scheduled in `(after, until]`.
    pub(crate) fn plan_runs(&mut self, after: Timestamp, until: Timestamp) {
        for (scheduled_at, tour) in roster::starts(&self.site, after, until) {
            let Some(run) = self.site.tour(&tour).map(|t| self.run(t, scheduled_at)) else { continue };
            if run.close_by >= self.state.began && self.state.runs.insert(tour.clone(), run) {
                self.arm_run(&(scheduled_at, tour));
            }
        }
    }

    fn run(&self, tour: &Tour, scheduled_at: Timestamp) -> Run {
        let policy = &self.site.policy.tours;
        let start_by = scheduled_at + policy.grace;
        Run {
            opens_at: scheduled_at - policy.early,
            scheduled_at,
            start_by,
            close_by: start_by + tour.duration,
            guard: tour.guard.clone(),
            scans: BTreeMap::new(),
            checkpoints: tour.checkpoints.clone(),
            judged: (false, false),
            watched: start_by >= self.state.began,
            revision: 0,
        }
    }

    pub(crate) fn arm_runs(&mut self) {
        self.state.runs.keys().iter().for_each(|key| self.arm_run(key));
    }

    fn arm_run(&mut self, key: &RunKey) {
        let Some(run) = self.state.runs.get(key) else { return };
        let settle = self.site.policy.settle.0;
        if !run.judged.0 {
            self.agenda.arm(run.start_by.just_after() + settle, Deadline::RunStartBy(key.0, key.1.clone()));
        }
        if !run.judged.1 {
            self.agenda.arm(run.close_by.just_after() + settle, Deadline::RunCloseBy(key.0, key.1.clone()));
        }
    }

    /// A tag was read; false if the tag or the guard is in no site file.
    pub(crate) fn on_scan(&mut self, device: &Device, at: Timestamp, scan: &Scan) -> bool {
        let site = std::sync::Arc::clone(&self.site);
        let (place, guard) = match device.kind {
            DeviceKind::Reader => {
                let Some(guard) = site.guard_with_badge(&scan.tag) else { return false };
                (device.checkpoint.clone(), Some(guard.clone()))
            }
            DeviceKind::Handset | DeviceKind::Gps | DeviceKind::Button => {
                if scan.guard.as_ref().is_some_and(|g| site.guard(g).is_none()) {
                    return false;
                }
                let guard = scan.guard.clone().or_else(|| self.carrier(device, at));
                (site.checkpoint_with_tag(&scan.tag).cloned(), guard)
            }
        };
        let Some(place) = place else { return false };
        if let Some(guard) = &guard {
            self.watch(guard).trail.scans.insert_once(at, place.clone());
        }
        for key in self.state.runs.on_scan(at, &place, guard) {
            self.on_run_changed(&key);
        }
        true
    }

    /// A run should have started by now.
    pub(crate) fn on_start_by(&mut self, scheduled_at: Timestamp, tour: &TourId) {
        let key = (scheduled_at, tour.clone());
        let Some(run) = self.state.runs.get_mut(&key) else { return };
        run.judged.0 = true;
        let started_at = run.started_at();
        if run.watched && started_at.is_none_or(|s| s > run.start_by) {
            let detected_at = run.start_by.just_after();
            let severity = self.site.policy.tours.tour_missed_severity;
            let raised = self.raise_run(Rule::TourMissed, severity, &key, detected_at);
            if let (Some(alert), Some(started_at)) = (raised, started_at) {
                self.clear(alert, started_at, self.state.now);
            }
        }
    }

    /// A run should be done by now.
    pub(crate) fn on_close_by(&mut self, scheduled_at: Timestamp, tour: &TourId) {
        let key = (scheduled_at, tour.clone());
        let Some(run) = self.state.runs.get_mut(&key) else { return };
        run.judged.1 = true;
        let partial = run.watched && !run.scans.is_empty() && !run.has_enough(&self.site);
        let detected_at = run.close_by.just_after();
        if partial {
            let critical = self.site.tour(tour).is_some_and(|t| t.kind == TourType::Critical);
            let severity = if critical { Severity::High } else { Severity::Medium };
            self.raise_run(Rule::TourPartial, severity, &key, detected_at);
        }
        self.record_run(&key);
    }

    fn raise_run(
        &mut self,
        rule: Rule,
        severity: Severity,
        key: &RunKey,
        detected_at: Timestamp,
    ) -> Option<AlertId> {
        let site = std::sync::Arc::clone(&self.site);
        let tour = site.tour(&key.1).filter(|t| t.mandatory && site.policy.tours.mandatory_enforcement)?;
        let run = self.state.runs.get(key)?;
        let until = if rule == Rule::TourPartial { run.close_by } else { run.start_by };
        if self.blind_to(run, until) {
            return None;
        }
        let (scanned, missing): (Vec<_>, Vec<_>) =
            run.checkpoints.iter().cloned().partition(|c| run.scans.contains_key(c));
        let evidence = RunEvidence {
            scheduled_at: run.scheduled_at,
            start_by: run.start_by,
            close_by: run.close_by,
            coverage: run.coverage(),
            observed: self.run_observed(run, detected_at),
            scanned,
            missing,
        };
        let summary = run_summary(&site, tour, &evidence, rule);
        let finding = Finding {
            rule,
            severity,
            subject: Subject::Run(key.1.clone(), key.0),
            guard: run.guard.clone(),
            detected_at,
            summary,
            evidence: Evidence::Run(Box::new(evidence)),
        };
        self.raise(finding, detected_at)
    }

    /// Whether the agent was down for more than a quarter of the time up to `until` in which the run could have been
    /// walked: then its blindness can explain the missing scans.
    fn blind_to(&self, run: &Run, until: Timestamp) -> bool {
        let blind = self.state.blind.within(run.opens_at, until);
        4 * blind.millis() > until.since(run.opens_at).millis()
    }

    /// Whether a run of the guard (or of nobody, if the guard is alone) should have started in `[from, to)`, had no
    /// scan at all before `to`, and the agent would have heard of one.
    pub(crate) fn unscanned_due(&self, guard: &GuardId, alone: bool, from: Timestamp, to: Timestamp) -> bool {
        let of_guard = |r: &Run| r.guard.as_ref().map_or(alone, |g| g == guard);
        let due = |r: &&Run| from <= r.start_by && r.start_by < to && of_guard(r);
        let unscanned = |r: &Run| r.started_at().is_none_or(|s| s >= to);
        self.state
            .runs
            .around(from, to)
            .map(|(_, run)| run)
            .filter(due)
            .any(|r| unscanned(r) && !self.blind_to(r, r.start_by))
    }

    /// Whether a handset that could have scanned, or a reader of the tour, was observed over the run.
    fn run_observed(&self, run: &Run, until: Timestamp) -> bool {
        let from = run.opens_at;
        let handset =
            |g: &GuardId| self.state.guards.get(g).is_some_and(|w| w.trail.handset_observed(from, until));
        let by_handset = match &run.guard {
            Some(guard) => handset(guard),
            None => self.guards_on_duty(until).any(handset),
        };
        let readers = self.site.devices.iter().filter(|d| {
            d.kind == DeviceKind::Reader && d.checkpoint.as_ref().is_some_and(|c| run.checkpoints.contains(c))
        });
        let by_reader =
            |d: &Device| self.state.devices.get(&d.id).is_some_and(|i| observed(&i.heard, from, until));
        by_handset || readers.into_iter().any(by_reader)
    }

    /// A scan changed a run: alerts that were raised for it may be over, or may never have been right.
    fn on_run_changed(&mut self, key: &RunKey) {
        let Some(run) = self.state.runs.get(key) else { return };
        let (started_at, start_by, closed) = (run.started_at(), run.start_by, run.judged.1);
        let enough = run.has_enough(&self.site);
        let (whole, close_by, now) = (run.is_whole(), run.close_by, self.state.now);
        let subject = Subject::Run(key.1.clone(), key.0);
        let id = |rule, at| AlertId::of(&self.site.id, rule, &subject, at);
        let missed = id(Rule::TourMissed, start_by.just_after());
        let partial = id(Rule::TourPartial, close_by.just_after());
        match started_at {
            Some(started) if started <= start_by => self.withdraw(missed, now),
            Some(started) => self.clear(missed, started, now),
            None => {}
        }
        if enough && closed {
            self.withdraw(partial, now);
        }
        if closed || whole {
            self.record_run(key);
        }
    }

    fn record_run(&mut self, key: &RunKey) {
        let Some(run) = self.state.runs.get_mut(key) else { return };
        let first_closing = run.revision > 0 && run.is_whole() && run.judged.1;
        let started_at = run.started_at();
        let late = started_at.map_or(Span::ZERO, |s| s.since(run.start_by));
        let record = RunRecord {
            tour: key.1.clone(),
            scheduled_at: key.0,
            revision: run.revision + 1,
            status: run.status(&self.site),
            guard: run.guard.clone(),
            coverage: run.coverage(),
            started_at,
            last_scan_at: run.scans.values().max().copied(),
            overdue_by: if late > Span::ZERO { late.mins_up() } else { 0 },
            scanned: run.scans.keys().cloned().collect(),
        };
        // A run that was recorded when it became whole says nothing new at its closing time.
        if first_closing && run.revision == 1 {
            return;
        }
        run.revision += 1;
        self.effects.records.push(Record::Run(record));
    }
}

fn run_summary(site: &Site, tour: &Tour, e: &RunEvidence, rule: Rule) -> String {
    let clock = e.scheduled_at.local_clock(site.timezone);
    let doubt = if e.observed { "" } else { " (no scanning instrument was heard: it cannot be known)" };
    if rule != Rule::TourPartial {
        return format!("{} of {clock} has not been started: no checkpoint scanned{doubt}", tour.name);
    }
    let places: Vec<&str> = e.missing.iter().map(CheckpointId::as_str).collect();
    let missing = places.join(", ");
    format!("{} of {clock} is incomplete: {} % scanned, missing {missing}{doubt}", tour.name, e.coverage)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::site::{Checkpoint, Guard, tests::empty_site};
    use crate::time::{Days, LocalTime};
    use proptest::prelude::*;

    fn id<T: std::str::FromStr<Err = crate::id::InvalidId>>(kind: &str, n: usize) -> T {
        format!("{kind}-{n}").parse().unwrap()
    }

    fn min(m: i64) -> Timestamp {
        Timestamp::from_millis(m * 60_000)
    }

    /// Three tours over two of four checkpoints each; the first is one guard's, the others are anybody's.
    fn site() -> Site {
        let mut parts = empty_site();
        parts.guards = (0..2).map(|n| Guard { id: id("G", n), name: String::new(), badge: None }).collect();
        parts.checkpoints = (0..4)
            .map(|n| Checkpoint {
                id: id("c", n),
                name: String::new(),
                tag: None,
                position: None,
                sun_key: None,
            })
            .collect();
        let tour = |n: usize| Tour {
            id: id("t", n),
            name: String::new(),
            kind: TourType::Routine,
            mandatory: true,
            checkpoints: vec![id("c", n), id("c", n + 1)],
            ordered: false,
            start: vec![LocalTime::hour(0)],
            days: Days::ALL,
            duration: Span::from_mins(20),
            guard: (n == 0).then(|| id("G", 0)),
            min_dwell: None,
        };
        parts.tours = (0..3).map(tour).collect();
        Site::new(parts).unwrap()
    }

    /// Every 30 min, each open for 40 before it closes: neighbours overlap.
    fn log(site: &Site) -> RunLog {
        let mut log = RunLog::default();
        for (n, tour) in site.tours.iter().enumerate().flat_map(|(n, t)| (0..5).map(move |i| (n + i * 30, t)))
        {
            let scheduled_at = min(60 + i64::try_from(n).unwrap());
            let run = Run {
                opens_at: scheduled_at - Span::from_mins(10),
                scheduled_at,
                start_by: scheduled_at + Span::from_mins(10),
                close_by: scheduled_at + Span::from_mins(30),
                guard: tour.guard.clone(),
                scans: BTreeMap::new(),
                checkpoints: tour.checkpoints.clone(),
                judged: (false, false),
                watched: true,
                revision: 0,
            };
            assert!(log.insert(tour.id.clone(), run));
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

    fn after(site: &Site, taps: &[Tap]) -> RunLog {
        let mut log = log(site);
        taps.iter().for_each(|tap| take(&mut log, tap));
        log
    }

    #[test]
    fn scans_of_one_instant_have_an_order_of_their_own() {
        let site = site();
        assert_eq!(after(&site, &[(60, 3, 2), (60, 2, 2)]), after(&site, &[(60, 2, 2), (60, 3, 2)]));
    }

    #[test]
    fn the_runs_around_an_instant_are_all_that_take_a_scan_then() {
        let (site, guard) = (site(), id("G", 0));
        let log = log(&site);
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
            let site = site();
            let as_they_came = after(&site, &taps);
            taps.sort();
            prop_assert_eq!(as_they_came, after(&site, &taps));
        }
    }
}
