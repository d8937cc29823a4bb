//! Section 6: the log of runs. A run is closed when it is whole or its time is over; late evidence corrects its entry.

use crate::deadline::Deadline;
use crate::engine::{Engine, Record};
use crate::id::{CheckpointId, GuardId, TourId};
use crate::rules::runs::RunKey;
use crate::rules::tours::{Run, RunStatus};
use crate::time::{Span, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use uuid::Uuid;

/// What a closed run amounts to: the first that fits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Compliance {
    /// Its guard was not on duty at any instant of it; with no named guard: nobody was.
    GuardAbsent,
    /// Nothing was scanned.
    NotStarted,
    /// Something was scanned, and not enough.
    PartialCompletion,
    /// Enough was scanned, and it started after `start_by`.
    SlaBreach,
    /// It was walked as it should be.
    Compliant,
}

impl Compliance {
    /// Every class, in the order in which they are tried.
    pub const ALL: [Self; 5] =
        [Self::GuardAbsent, Self::NotStarted, Self::PartialCompletion, Self::SlaBreach, Self::Compliant];

    /// The name on every edge.
    pub const fn name(self) -> &'static str {
        match self {
            Self::GuardAbsent => "GUARD_ABSENT",
            Self::NotStarted => "NOT_STARTED",
            Self::PartialCompletion => "PARTIAL_COMPLETION",
            Self::SlaBreach => "SLA_BREACH",
            Self::Compliant => "COMPLIANT",
        }
    }

    /// The class of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|c| c.name() == name)
    }
}

/// The log entry of a closed run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunRecord {
    /// Of which tour.
    pub tour: TourId,
    /// The tour's name.
    pub name: String,
    /// Whether it had to be walked.
    pub mandatory: bool,
    /// When it was due.
    pub scheduled_at: Timestamp,
    /// Until when it had to start.
    pub start_by: Timestamp,
    /// Until when it had to be done.
    pub close_by: Timestamp,
    /// From 1; late evidence raises it by one.
    pub revision: u32,
    /// How it ended.
    pub status: RunStatus,
    /// What it amounts to.
    pub compliance: Compliance,
    /// Whose it was, if anyone's.
    pub guard: Option<GuardId>,
    /// Who scanned for it, as far as that is known.
    pub walked_by: Vec<GuardId>,
    /// Percent of the checkpoints scanned.
    pub coverage: u8,
    /// The first scan.
    pub started_at: Option<Timestamp>,
    /// The last scan.
    pub last_scan_at: Option<Timestamp>,
    /// Whole minutes after `start_by` at which it started, rounded up.
    pub overdue_by: i64,
    /// Distinct checkpoints scanned, in the order of the scans.
    pub scanned: Vec<CheckpointId>,
    /// When each was scanned first.
    pub scanned_at: BTreeMap<CheckpointId, Timestamp>,
    /// Those that were not.
    pub missing: Vec<CheckpointId>,
    /// Of an ordered tour: the fewest checkpoints without which the others were visited in order.
    pub out_of_order: Vec<CheckpointId>,
    /// Where the visit was too short.
    pub too_short: Vec<CheckpointId>,
    /// Whether what is missing would have been heard of; if not, it cannot be known.
    pub observed: bool,
    /// The share of its time in which the agent was down or had not begun, in thousandths.
    pub blind_permille: u16,
}

impl RunRecord {
    /// What it says, whatever its revision.
    fn digest(&self) -> Option<Uuid> {
        let bytes = postcard::to_allocvec(&Self { revision: 0, ..self.clone() }).ok()?;
        Some(Uuid::new_v5(&Uuid::NAMESPACE_OID, &bytes))
    }
}

impl Run {
    /// Whether it is over: whole, or out of time.
    pub(crate) fn is_closed(&self) -> bool {
        self.docket.closed || self.is_whole()
    }

    /// When it was over: at the scan that made it whole, else at `close_by`.
    pub(super) fn closed_at(&self) -> Timestamp {
        let last = self.scans.values().max().filter(|_| self.is_whole());
        last.copied().unwrap_or(self.close_by)
    }

    /// Whole minutes after `start_by` at which it started, rounded up.
    fn overdue_by(&self) -> i64 {
        let late = self.started_at().map_or(Span::ZERO, |at| at.since(self.start_by));
        late.max(Span::ZERO).mins_up()
    }

    /// From when to when somebody had to be there to walk it: as scheduled, or from the first scan on if that was
    /// earlier. The end is outside.
    fn attendable(&self) -> (Timestamp, Timestamp) {
        let begin = self.started_at().map_or(self.scheduled_at, |at| at.min(self.scheduled_at));
        (begin, self.close_by.just_after())
    }
}

impl Engine {
    /// What a closed run amounts to.
    pub(crate) fn compliance(&self, run: &Run) -> Compliance {
        if !self.was_attended(run) {
            Compliance::GuardAbsent
        } else if run.scans.is_empty() {
            Compliance::NotStarted
        } else if !run.has_enough(&self.site) {
            Compliance::PartialCompletion
        } else if run.overdue_by() > 0 {
            Compliance::SlaBreach
        } else {
            Compliance::Compliant
        }
    }

    fn was_attended(&self, run: &Run) -> bool {
        let (from, to) = run.attendable();
        let mut concerned =
            self.shapes.iter().filter(|(g, _)| run.guard.as_ref().is_none_or(|own| own == *g));
        concerned.any(|(_, shape)| shape.on_duty.within(from, to) > Span::ZERO)
    }

    /// The share of the run's time that the agent did not see, in thousandths.
    fn blind_permille(&self, run: &Run) -> u16 {
        let (from, to) = (run.opens_at, run.closed_at());
        let unseen = self.state.began.min(to).since(from).max(Span::ZERO);
        let blind = self.state.blind.within(self.state.began.max(from), to);
        let all = to.since(from).millis().max(1);
        u16::try_from((unseen.millis() + blind.millis()) * 1_000 / all).unwrap_or(1_000).min(1_000)
    }

    /// A run has changed: its entry is written when what is on its way has arrived.
    pub(super) fn settle_run(&mut self, key: &RunKey) {
        let due = self.state.now + self.settle();
        let Some(run) = self.state.runs.get_mut(key) else { return };
        run.docket.settles_at = Some(due);
        self.agenda.arm(due, Deadline::RunSettled(key.0, key.1.clone()));
    }

    /// What changed a run has had time to arrive.
    pub(crate) fn on_run_settled(&mut self, scheduled_at: Timestamp, tour: &TourId) {
        let key = (scheduled_at, tour.clone());
        let Some(run) = self.state.runs.get_mut(&key) else { return };
        // It changed again meanwhile: that deadline is still to come.
        if run.docket.settles_at.is_some_and(|due| due <= self.state.now) {
            run.docket.settles_at = None;
            self.review_warning(&key);
            self.review_sequence(&key);
            self.log_run(&key);
        }
    }

    /// Writes the entry of a closed run, unless the log says the same already.
    pub(super) fn log_run(&mut self, key: &RunKey) {
        let Some(run) = self.state.runs.get(key).filter(|run| run.is_closed()) else { return };
        // What was heard at the time is forgotten long before the run; what is told later can only add to it.
        let heard = run.docket.heard || (!run.is_whole() && self.run_observed(run, run.close_by));
        let record = self.run_record(key, run, heard);
        let digest = record.digest();
        let Some(run) = self.state.runs.get_mut(key) else { return };
        run.docket.heard = heard;
        if run.docket.logged.is_some() && run.docket.logged == digest {
            return;
        }
        run.docket.logged = digest;
        run.docket.revision += 1;
        let record = RunRecord { revision: run.docket.revision, ..record };
        if run.watched {
            self.state.facts.on_run(&record);
        }
        self.effects.records.push(Record::Run(Box::new(record)));
    }

    fn run_record(&self, key: &RunKey, run: &Run, heard: bool) -> RunRecord {
        let tour = self.site.tour(&key.1);
        let sequence = self.sequence_of(key, run);
        let walked_by: BTreeSet<GuardId> = self.state.runs.walkers(run).cloned().collect();
        RunRecord {
            tour: key.1.clone(),
            name: tour.map_or_else(|| key.1.to_string(), |t| t.name.clone()),
            mandatory: tour.is_some_and(|t| t.mandatory),
            scheduled_at: run.scheduled_at,
            start_by: run.start_by,
            close_by: run.close_by,
            revision: 0,
            status: run.status(&self.site),
            compliance: self.compliance(run),
            guard: run.guard.clone(),
            walked_by: walked_by.into_iter().collect(),
            coverage: run.coverage(),
            started_at: run.started_at(),
            last_scan_at: run.scans.values().max().copied(),
            overdue_by: run.overdue_by(),
            scanned: sequence.scanned,
            scanned_at: run.scans.clone(),
            missing: run.checkpoints.iter().filter(|c| !run.scans.contains_key(*c)).cloned().collect(),
            out_of_order: sequence.out_of_order,
            too_short: sequence.too_short.into_iter().map(|visit| visit.checkpoint).collect(),
            observed: run.is_whole() || heard,
            blind_permille: self.blind_permille(run),
        }
    }

    /// A scan says more than to which run it belongs: where a guard stayed, and for how long.
    pub(super) fn reopen_runs_at(&mut self, at: Timestamp, guard: Option<&GuardId>) {
        let concerns = |run: &Run| run.docket.revision > 0 && run.takes(at, guard);
        let runs = self.state.runs.around(at, at).filter(|(_, run)| concerns(run));
        let keys: Vec<RunKey> = runs.map(|(tour, run)| (run.scheduled_at, tour.clone())).collect();
        keys.iter().for_each(|key| self.settle_run(key));
    }

    /// The attendance of a guard changed from `at` on: entries that it may correct are looked at again.
    pub(crate) fn reopen_runs_of(&mut self, guard: &GuardId, at: Timestamp) {
        let until = at + self.site.policy.attendance.max_duty;
        let concerns = |run: &Run| run.docket.revision > 0 && run.guard.as_ref().is_none_or(|g| g == guard);
        let runs = self.state.runs.around(at, until).filter(|(_, run)| concerns(run));
        let keys: Vec<RunKey> = runs.map(|(tour, run)| (run.scheduled_at, tour.clone())).collect();
        keys.iter().for_each(|key| self.settle_run(key));
    }

    /// A backlog may have told that instruments were alive at some time after `from`: runs that could not be known are
    /// looked at again.
    pub(crate) fn reopen_unheard_runs(&mut self, from: Timestamp) {
        let unheard = |run: &Run| run.docket.revision > 0 && !run.docket.heard && !run.is_whole();
        let runs = self.state.runs.around(from, self.state.now).filter(|(_, run)| unheard(run));
        let keys: Vec<RunKey> = runs.map(|(tour, run)| (run.scheduled_at, tour.clone())).collect();
        keys.iter().for_each(|key| self.log_run(key));
    }
}
