//! Section 6: was that tour missed? Runs are planned from the wall clock, scans are given to them by event time.

use crate::alert::{AlertId, Rule, Severity, Subject};
use crate::book::Finding;
use crate::deadline::Deadline;
use crate::engine::Engine;
use crate::evidence::{Evidence, RunEvidence};
use crate::id::{CheckpointId, GuardId, TourId};
use crate::observation::Scan;
use crate::roster;
use crate::rules::runs::RunKey;
use crate::rules::sequence::Order;
use crate::site::{Device, DeviceKind, Site, Tour, TourType};
use crate::time::Timestamp;
use crate::windows::trail::observed;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use uuid::Uuid;

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
    /// False for a run that should have started before the agent began to watch.
    pub(crate) watched: bool,
    pub(crate) docket: Docket,
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

/// What has been judged of a run, what was said of it, and what is still to come.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Docket {
    /// Whether its start has been judged.
    pub(super) started: bool,
    /// Whether its end has been judged.
    pub(super) closed: bool,
    /// When its log entry is written or corrected, if it is to be.
    pub(super) settles_at: Option<Timestamp>,
    /// The revision of its log entry; 0 if there is none yet.
    pub(super) revision: u32,
    /// What that entry says, in short.
    pub(super) logged: Option<Uuid>,
    /// Whether the instruments that could have scanned it were heard.
    pub(super) heard: bool,
    /// When it will be at risk, by what has been scanned so far.
    pub(super) warns_at: Option<Timestamp>,
    /// Up to when risks have been judged.
    pub(super) risk_judged: Option<Timestamp>,
    /// The instant of its `tour_at_risk`.
    pub(super) warned_at: Option<Timestamp>,
    /// How far its order has been judged.
    pub(super) order: Order,
    /// The instant of its `tour_sequence`.
    pub(super) misordered_at: Option<Timestamp>,
}

impl Run {
    /// Percent of the checkpoints scanned.
    pub fn coverage(&self) -> u8 {
        percent(self.scans.len(), self.checkpoints.len())
    }

    /// The first scan.
    pub fn started_at(&self) -> Option<Timestamp> {
        self.scans.values().min().copied()
    }

    /// How many checkpoints are enough: every one, or the share that the policy asks for.
    pub(super) fn needed(&self, site: &Site) -> usize {
        let policy = &site.policy.tours;
        let percent =
            if policy.require_all_checkpoints { 100 } else { usize::from(policy.min_checkpoint_percentage) };
        (percent * self.checkpoints.len()).div_ceil(100)
    }

    /// Whether enough was scanned.
    pub(super) fn has_enough(&self, site: &Site) -> bool {
        self.scans.len() >= self.needed(site)
    }

    pub(super) fn is_whole(&self) -> bool {
        self.scans.len() >= self.checkpoints.len()
    }

    /// Where it stands.
    pub fn status(&self, site: &Site) -> RunStatus {
        match (self.scans.is_empty(), self.docket.closed) {
            (false, _) if self.is_whole() => RunStatus::Completed,
            (false, true) if self.has_enough(site) => RunStatus::Completed,
            (false, true) => RunStatus::Incomplete,
            (false, false) => RunStatus::InProgress,
            (true, true) => RunStatus::Missed,
            (true, false) if self.docket.started => RunStatus::Overdue,
            (true, false) => RunStatus::Scheduled,
        }
    }

    /// Whether a scan of then, by this guard, may be one of its own.
    pub(super) fn takes(&self, at: Timestamp, guard: Option<&GuardId>) -> bool {
        let whose = self.guard.as_ref().is_none_or(|g| Some(g) == guard);
        whose && self.opens_at <= at && at <= self.close_by
    }
}

impl Engine {
    /// Learns of the runs that are scheduled in `(after, until]`.
    pub(crate) fn plan_runs(&mut self, after: Timestamp, until: Timestamp) {
        for (scheduled_at, tour) in roster::starts(&self.site, after, until) {
            let Some(run) = self.site.tour(&tour).map(|t| self.run(t, scheduled_at)) else { continue };
            if run.close_by >= self.state.began && self.state.runs.insert(tour.clone(), run) {
                let key = (scheduled_at, tour);
                self.arm_run(&key);
                self.look_ahead(&key);
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
            watched: start_by >= self.state.began,
            docket: Docket::default(),
        }
    }

    pub(crate) fn arm_runs(&mut self) {
        self.state.runs.keys().iter().for_each(|key| self.arm_run(key));
    }

    fn arm_run(&mut self, key: &RunKey) {
        let Some(run) = self.state.runs.get(key) else { return };
        let settle = self.site.policy.settle.0;
        if !run.docket.started {
            self.agenda.arm(run.start_by.just_after() + settle, Deadline::RunStartBy(key.0, key.1.clone()));
        }
        if !run.docket.closed {
            self.agenda.arm(run.close_by.just_after() + settle, Deadline::RunCloseBy(key.0, key.1.clone()));
        }
        if let Some(due) = run.docket.settles_at {
            self.agenda.arm(due, Deadline::RunSettled(key.0, key.1.clone()));
        }
        self.arm_warning(key);
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
        let changed = self.state.runs.on_scan(at, &place, guard.clone());
        changed.iter().for_each(|key| self.on_run_changed(key));
        self.reopen_runs_at(at, guard.as_ref());
        true
    }

    /// A run should have started by now.
    pub(crate) fn on_start_by(&mut self, scheduled_at: Timestamp, tour: &TourId) {
        let key = (scheduled_at, tour.clone());
        let Some(run) = self.state.runs.get_mut(&key) else { return };
        run.docket.started = true;
        let started_at = run.started_at();
        if run.watched && started_at.is_none_or(|s| s > run.start_by) {
            let detected_at = run.start_by.just_after();
            let severity = self.site.policy.tours.tour_missed_severity;
            self.supersede_warning(&key, detected_at);
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
        run.docket.closed = true;
        run.docket.warns_at = None;
        let (order, enough) = (run.docket.order, run.has_enough(&self.site));
        let partial = run.watched && !run.scans.is_empty() && !enough;
        let detected_at = run.close_by.just_after();
        self.review_warning(&key);
        if !enough {
            self.supersede_warning(&key, detected_at);
        }
        if partial {
            let critical = self.site.tour(tour).is_some_and(|t| t.kind == TourType::Critical);
            let severity = if critical { Severity::High } else { Severity::Medium };
            self.raise_run(Rule::TourPartial, severity, &key, detected_at);
        }
        if order == Order::Open {
            self.judge_sequence(&key, detected_at);
        }
        self.log_run(&key);
    }

    /// The tour of a run, if runs of it raise alerts and the agent was up to see what happened in `[from, until)`.
    pub(super) fn answerable<'a>(
        &self,
        site: &'a Site,
        key: &RunKey,
        from: Timestamp,
        until: Timestamp,
    ) -> Option<&'a Tour> {
        let tour = site.tour(&key.1).filter(|t| t.mandatory && site.policy.tours.mandatory_enforcement)?;
        (!self.blind_to(from, until)).then_some(tour)
    }

    /// Raises what had happened of a run before `detected_at`, whatever has come in since.
    pub(super) fn raise_run(
        &mut self,
        rule: Rule,
        severity: Severity,
        key: &RunKey,
        detected_at: Timestamp,
    ) -> Option<AlertId> {
        let site = std::sync::Arc::clone(&self.site);
        let run = self.state.runs.get(key)?;
        let known = |place: &CheckpointId| run.scans.get(place).is_some_and(|at| *at < detected_at);
        let begun = run.started_at().filter(|at| rule == Rule::TourAtRisk && *at < detected_at);
        let tour = self.answerable(&site, key, begun.unwrap_or(run.opens_at), detected_at)?;
        let (scanned, missing): (Vec<_>, Vec<_>) = run.checkpoints.iter().cloned().partition(known);
        let evidence = RunEvidence {
            scheduled_at: run.scheduled_at,
            start_by: run.start_by,
            close_by: run.close_by,
            coverage: percent(scanned.len(), run.checkpoints.len()),
            observed: self.run_observed(run, detected_at),
            scanned,
            missing,
        };
        let finding = Finding {
            rule,
            severity,
            subject: Subject::Run(key.1.clone(), key.0),
            guard: run.guard.clone(),
            detected_at,
            summary: run_summary(&site, tour, &evidence, rule),
            evidence: Evidence::Run(Box::new(evidence)),
        };
        self.raise(finding, detected_at)
    }

    /// Whether the agent was down for more than a quarter of the time in which a run could have been walked: then its
    /// blindness can explain the missing scans.
    fn blind_to(&self, from: Timestamp, until: Timestamp) -> bool {
        4 * self.state.blind.within(from, until).millis() > until.since(from).millis()
    }

    /// Whether a run of the guard (or of nobody, if the guard is alone) should have started in `[from, to)`, had no
    /// scan at all before `to`, and the agent would have heard of one.
    pub(crate) fn unscanned_due(&self, guard: &GuardId, alone: bool, from: Timestamp, to: Timestamp) -> bool {
        let of_guard = |r: &Run| r.guard.as_ref().map_or(alone, |g| g == guard);
        let due = |r: &&Run| from <= r.start_by && r.start_by < to && of_guard(r);
        let runs = self.state.runs.around(from, to).map(|(_, run)| run);
        let unscanned = |r: &Run| r.started_at().is_none_or(|s| s >= to);
        runs.filter(due).any(|r| unscanned(r) && !self.blind_to(r.opens_at, r.start_by))
    }

    /// Whether a handset that could have scanned, or a reader of the tour, was observed over the run.
    pub(super) fn run_observed(&self, run: &Run, until: Timestamp) -> bool {
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
        let (started_at, start_by, closed) = (run.started_at(), run.start_by, run.docket.closed);
        let enough = run.has_enough(&self.site);
        let (whole, close_by, now) = (run.is_whole(), run.close_by, self.state.now);
        let warned = run.docket.warned_at.is_some();
        let subject = Subject::Run(key.1.clone(), key.0);
        let id = |rule, at| self.alert_id(rule, &subject, at);
        let missed = id(Rule::TourMissed, start_by.just_after());
        let partial = id(Rule::TourPartial, close_by.just_after());
        match started_at {
            Some(started) if started <= start_by => self.withdraw(missed, now),
            // The scan that began it may belong to another run after all: then it has not begun, or began with a later one.
            started => self.clear_as(missed, started, now),
        }
        if enough && closed {
            self.withdraw(partial, now);
        }
        self.note_completion(key);
        self.look_ahead(key);
        if closed || whole || warned {
            self.settle_run(key);
        }
    }
}

fn percent(part: usize, all: usize) -> u8 {
    u8::try_from(part.min(all) * 100 / all.max(1)).unwrap_or(100)
}

fn run_summary(site: &Site, tour: &Tour, e: &RunEvidence, rule: Rule) -> String {
    let clock = |at: Timestamp| at.local_clock(site.timezone);
    let what = format!("{} of {}", tour.name, clock(e.scheduled_at));
    let doubt = if e.observed { "" } else { " (no scanning instrument was heard: it cannot be known)" };
    let places: Vec<&str> = e.missing.iter().map(CheckpointId::as_str).collect();
    match (rule == Rule::TourAtRisk, rule == Rule::TourPartial) {
        (true, _) if e.scanned.is_empty() => {
            format!("{what} has not been started; it must start by {}{doubt}", clock(e.start_by))
        }
        (true, _) => {
            let end = clock(e.close_by);
            format!(
                "{what} falls behind: {} % scanned, and at this pace it ends after {end}{doubt}",
                e.coverage
            )
        }
        (_, true) => {
            format!("{what} is incomplete: {} % scanned, missing {}{doubt}", e.coverage, places.join(", "))
        }
        (_, false) => format!("{what} has not been started: no checkpoint scanned{doubt}"),
    }
}
