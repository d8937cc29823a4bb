//! The engine: it dispatches and decides nothing itself. Inputs go in by `on_*`, effects come out as a [`Commit`].

use crate::alert::Alert;
use crate::book::{AlertBook, LATE};
use crate::command::{Answer, Command, RefusedCommand};
use crate::deadline::{Agenda, Deadline};
use crate::duty::Shape;
use crate::id::{DeviceId, GuardId};
use crate::observation::{Kind, Observation};
use crate::report::{DailyReport, Facts};
use crate::retelling::Told;
use crate::rules::attendance::Roster;
use crate::rules::compliance::RunRecord;
use crate::rules::instruments::Instrument;
use crate::rules::runs::RunLog;
use crate::rules::tasks::TaskLog;
use crate::rules::welfare::{Prompt, WelfareResult};
use crate::site::{Device, Site};
use crate::time::{Span, Timestamp};
use crate::watch::Watch;
use crate::windows::Intervals;
use crate::workflow::CommandLog;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

/// How far ahead runs and shifts are known. Longer than the longest `early` (24 h) and the planning interval.
const PLAN_AHEAD: Span = Span::from_hours(26);
/// How often the plan is carried forward and what is too old is forgotten.
const HOURLY: Span = Span::from_hours(1);

/// The state machine of one site.
#[derive(Debug, Clone)]
pub struct Engine {
    pub(crate) site: Arc<Site>,
    pub(crate) state: State,
    /// Derived from the state.
    pub(crate) agenda: Agenda,
    /// Derived from the state: the shape of each guard's time.
    pub(crate) shapes: BTreeMap<GuardId, Shape>,
    /// What the input in hand has caused so far.
    pub(crate) effects: Effects,
    /// While a time is told again: what was told of it.
    pub(crate) told: Option<Told>,
}

/// Everything that the engine knows; the rest is derived from it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct State {
    pub(crate) now: Timestamp,
    /// Whether the clock is not known: `now` is the last instant that was known, and what has passed since.
    pub(crate) provisional: bool,
    pub(crate) began: Timestamp,
    pub(crate) planned_until: Timestamp,
    pub(crate) next_evaluation: Timestamp,
    pub(crate) next_hour: Timestamp,
    /// When the agent was down: nothing that only its blindness can explain raises an alert.
    pub(crate) blind: Intervals,
    /// Until then, deadlines that passed in blindness wait for what is on its way.
    pub(crate) not_before: Timestamp,
    /// The earliest instant of which something was told late in the last hour.
    pub(crate) told_late: Option<Timestamp>,
    pub(crate) guards: BTreeMap<GuardId, Watch>,
    pub(crate) devices: BTreeMap<DeviceId, Instrument>,
    pub(crate) roster: Roster,
    pub(crate) runs: RunLog,
    pub(crate) tasks: TaskLog,
    pub(crate) book: AlertBook,
    pub(crate) facts: Facts,
    pub(crate) commands: CommandLog,
}

/// What followed from one input.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Effects {
    /// Alert revisions, in order.
    pub alerts: Vec<Alert>,
    /// Facts for the record, in order.
    pub records: Vec<Record>,
    /// Guards who are asked for a sign of life, in order.
    pub prompts: Vec<Prompt>,
}

/// A fact that is reported but is no alert.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Record {
    /// A run closed, or late evidence changed how it closed.
    Run(Box<RunRecord>),
    /// A day is over, or it turned out to have been otherwise.
    Report(Box<DailyReport>),
    /// A command was refused: whoever sent it is told, and so is whoever reads the record.
    Refused(RefusedCommand),
    /// What came of a welfare check that somebody ordered.
    Welfare(WelfareResult),
}

/// One input with all that follows from it: it is stored whole or not at all.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Commit {
    /// The input, if it was an observation.
    pub observation: Option<(Observation, Outcome)>,
    /// The input, if it was a command.
    pub command: Option<(Command, Answer)>,
    /// What followed.
    pub effects: Effects,
}

/// What became of an observation. Nothing vanishes without a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It counted.
    Applied,
    /// It counted, though it came more than a cycle after it happened.
    Late,
    /// The same event was there before.
    Duplicate,
    /// It happened more than 72 h ago: kept, but nothing can follow from it.
    TooOld,
    /// Its device left the site file since it was received.
    UnknownDevice,
    /// Its tag or guard is in no site file.
    UnknownTag,
}

impl Outcome {
    /// The name on every edge.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Applied => "applied",
            Self::Late => "late",
            Self::Duplicate => "duplicate",
            Self::TooOld => "too_old",
            Self::UnknownDevice => "unknown_device",
            Self::UnknownTag => "unknown_tag",
        }
    }
}

/// A snapshot that cannot be read: the journal is replayed instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the snapshot of the engine does not decode: {0}")]
pub struct BadSnapshot(String);

impl Engine {
    /// An engine that has seen nothing; what fell due before `began` is not judged.
    pub fn new(site: Arc<Site>, began: Timestamp) -> Self {
        let state = State {
            now: began,
            provisional: false,
            began,
            planned_until: began - PLAN_AHEAD,
            next_evaluation: began.floor_to(site.policy.inactivity.cycle),
            next_hour: began,
            blind: Intervals::default(),
            not_before: began,
            told_late: None,
            guards: BTreeMap::new(),
            devices: BTreeMap::new(),
            roster: Roster::default(),
            runs: RunLog::default(),
            tasks: TaskLog::default(),
            book: AlertBook::default(),
            facts: Facts::beginning(began.local_date(site.timezone), began),
            commands: CommandLog::default(),
        };
        let mut engine = Self::around(site, state);
        if engine.state.next_evaluation + engine.settle() < began {
            engine.state.next_evaluation = engine.state.next_evaluation + engine.site.policy.inactivity.cycle;
        }
        engine.take_site_tasks();
        engine.derive();
        engine.plan_ahead();
        engine
    }

    fn around(site: Arc<Site>, state: State) -> Self {
        let (agenda, shapes, effects) = Default::default();
        Self { site, state, agenda, shapes, effects, told: None }
    }

    /// What has followed. Facts are not closed before their instants are known.
    fn commit(&mut self) -> Commit {
        let mut effects = std::mem::take(&mut self.effects);
        if self.state.provisional {
            effects.records.retain(|record| matches!(record, Record::Refused(_) | Record::Welfare(_)));
        }
        Commit { effects, ..Commit::default() }
    }

    /// An observation: everything that fell due before it was received fires first.
    pub fn on_observation(&mut self, observation: Observation) -> Commit {
        self.fire_due(observation.received_at);
        self.state.now = self.state.now.max(observation.received_at);
        let outcome = self.apply(&observation);
        Commit { observation: Some((observation, outcome)), ..self.commit() }
    }

    /// Somebody asks something of the agent: everything that fell due before it came fires first.
    pub fn on_command(&mut self, command: Command) -> Commit {
        self.fire_due(command.received_at);
        self.state.now = self.state.now.max(command.received_at);
        let answer = self.obey(&command);
        Commit { command: Some((command, answer)), ..self.commit() }
    }

    /// Time passed: everything that is due at or before `now` fires.
    pub fn on_deadline(&mut self, now: Timestamp) -> Commit {
        self.fire_due(now);
        self.state.now = self.state.now.max(now);
        self.commit()
    }

    /// The agent was down from `down_from` until `up_at`. What fell due before was judged before: whoever replays a
    /// journal learns of it here.
    pub fn on_restart(&mut self, down_from: Timestamp, up_at: Timestamp) -> Commit {
        if up_at > down_from {
            self.fire_due(down_from);
            self.state.blind.add(down_from, up_at);
            // Strictly after: at `up_at` itself nothing is judged yet, whatever `settle` is.
            self.state.not_before = (up_at + self.settle()).just_after();
            self.skip_what_is_too_late(up_at);
        }
        self.state.now = self.state.now.max(up_at);
        self.commit()
    }

    /// Nothing can follow from what fell due more than 72 h ago: a box that was in a cupboard for a year, or whose
    /// clock stood at 1970, is not to work through every cycle of it.
    fn skip_what_is_too_late(&mut self, now: Timestamp) {
        let from = (now - LATE).floor_to(HOURLY);
        if self.state.next_hour >= from {
            return;
        }
        self.state.next_hour = from;
        // The longest run opens, may start and lasts within three days.
        self.state.planned_until = self.state.planned_until.max(from - LATE);
        let cycle = self.site.policy.inactivity.cycle;
        self.state.next_evaluation = self.state.next_evaluation.max(from.floor_to(cycle));
        self.derive();
    }

    /// The site file changed: runs that have not begun are planned anew, everything known stays.
    pub fn on_site(&mut self, site: Arc<Site>, now: Timestamp) -> Commit {
        self.fire_due(now);
        self.state.now = self.state.now.max(now);
        self.site = site;
        self.end_episodes_of_strangers();
        self.state.runs.forget_unstarted(self.state.now);
        self.state.roster.forget_after(self.state.now);
        self.state.planned_until = self.state.now;
        self.state.next_evaluation = self.evaluation_after_reload();
        self.take_site_tasks();
        self.derive();
        self.plan_ahead();
        self.on_unmuted(self.state.now);
        self.commit()
    }

    /// Guards who left the site file are no longer evaluated; nothing else would end what was going on.
    fn end_episodes_of_strangers(&mut self) {
        let (site, now) = (Arc::clone(&self.site), self.state.now);
        let gone = self.state.guards.keys().filter(|g| site.guard(g).is_none()).cloned();
        let gone: Vec<GuardId> = gone.collect();
        gone.iter().for_each(|guard| self.end_episode(guard, now, now));
    }

    /// An evaluation that is not judged yet stays due; with another cycle, the first multiple of it from there on.
    fn evaluation_after_reload(&self) -> Timestamp {
        let cycle = self.site.policy.inactivity.cycle;
        let earliest = self.state.next_evaluation.min(self.state.now.just_after());
        let floor = earliest.floor_to(cycle);
        if floor < earliest { floor + cycle } else { floor }
    }

    /// When `on_deadline` is next of use.
    pub fn next_deadline(&self) -> Option<Timestamp> {
        self.agenda.next().map(|due| due.max(self.state.not_before))
    }

    /// The site whose rules apply.
    pub const fn site(&self) -> &Arc<Site> {
        &self.site
    }

    /// The latest instant that the engine knows of.
    pub const fn now(&self) -> Timestamp {
        self.state.now
    }

    /// Whether an event of this identity is among the latest of its device.
    pub fn knows(&self, observation: &Observation) -> bool {
        let instrument = self.state.devices.get(&observation.device);
        instrument.is_some_and(|instrument| instrument.recent.knows(observation.identity))
    }

    /// Every alert that can still change.
    pub const fn book(&self) -> &AlertBook {
        &self.state.book
    }

    /// The state as bytes, for [`Engine::restore`]. What agents learnt to keep after the first stands behind it.
    pub fn snapshot(&self) -> Result<Vec<u8>, BadSnapshot> {
        let state = postcard::to_allocvec(&self.state).map_err(|e| BadSnapshot(e.to_string()))?;
        postcard::to_extend(self.state.tasks.words(), state).map_err(|e| BadSnapshot(e.to_string()))
    }

    /// The engine as it stood when the snapshot was taken; every deadline is derived again.
    pub fn restore(site: Arc<Site>, snapshot: &[u8]) -> Result<Self, BadSnapshot> {
        let bad = |e: postcard::Error| BadSnapshot(e.to_string());
        let (mut state, rest): (State, _) = postcard::take_from_bytes(snapshot).map_err(bad)?;
        // An older agent's ends here.
        if !rest.is_empty() {
            let (words, rest) = postcard::take_from_bytes(rest).map_err(bad)?;
            state.tasks.take_words(words);
            if !rest.is_empty() {
                return Err(BadSnapshot(format!("{} bytes too many", rest.len())));
            }
        }
        let mut engine = Self::around(site, state);
        engine.derive();
        Ok(engine)
    }

    pub(crate) fn settle(&self) -> Span {
        self.site.policy.settle.0
    }

    /// Whether what is judged at `due` is still to be judged: what passed while the agent was down waits for a moment.
    pub(crate) fn is_to_come(&self, due: Timestamp) -> bool {
        let waits = self.state.now < self.state.not_before;
        let down_from = self.state.blind.iter().next_back().map(|(from, _)| from).filter(|_| waits);
        due > down_from.unwrap_or(self.state.now)
    }

    /// Rebuilds what is derived: the shape of everyone's time, and every deadline.
    pub(crate) fn derive(&mut self) {
        self.agenda = Agenda::default();
        let guards: Vec<GuardId> = self.state.guards.keys().cloned().collect();
        guards.iter().for_each(|g| self.reshape(g));
        self.agenda
            .arm(self.state.next_evaluation + self.settle(), Deadline::Evaluate(self.state.next_evaluation));
        self.agenda.arm(self.state.next_hour, Deadline::Plan);
        self.arm_report();
        self.arm_runs();
        self.arm_tasks();
        self.arm_roster();
        self.arm_instruments();
        self.arm_muted();
        self.arm_storms();
        self.arm_welfare();
        let alerts: Vec<_> = self.state.book.iter().map(|a| a.id).collect();
        alerts.into_iter().for_each(|id| self.arm_escalation(id));
    }

    fn fire_due(&mut self, now: Timestamp) {
        if now < self.state.not_before {
            return;
        }
        while let Some((due, deadline)) = self.agenda.take_due(now) {
            self.state.now = self.state.now.max(due);
            self.fire(deadline);
        }
    }

    fn fire(&mut self, deadline: Deadline) {
        if self.state.provisional && deadline.needs_wall_clock() {
            // It is derived again when the time is known.
            return;
        }
        match deadline {
            Deadline::Plan => self.on_plan(),
            Deadline::ShiftStart(starts_at, shift) => self.on_shift_start(starts_at, &shift),
            Deadline::BreakOver(guard, from) => self.on_break_over(&guard, from),
            Deadline::DeviceOffline(device, since) => self.on_offline_settled(&device, since),
            Deadline::DeviceSilent(device) => self.on_silence(&device),
            Deadline::RunAtRisk(scheduled_at, tour) => self.on_run_at_risk(scheduled_at, &tour),
            Deadline::RunStartBy(scheduled_at, tour) => self.on_start_by(scheduled_at, &tour),
            Deadline::RunCloseBy(scheduled_at, tour) => self.on_close_by(scheduled_at, &tour),
            Deadline::RunSettled(scheduled_at, tour) => self.on_run_settled(scheduled_at, &tour),
            Deadline::TaskStep(task, step) => self.on_task_step(&task, step),
            Deadline::Evaluate(at) => self.on_evaluate(at),
            Deadline::Escalate(alert) => self.on_escalate(alert),
            Deadline::Unmuted(at) => self.on_unmuted(at),
            Deadline::StormGathered(alert) => self.on_storm_gathered(alert),
            Deadline::WelfareOver(guard, until) => self.on_welfare_over(&guard, until),
            Deadline::Forget => self.on_forget(),
            Deadline::Charge(device, read_at) => self.on_charge_settled(&device, read_at),
            Deadline::Report => self.on_report(),
        }
    }

    /// Learns of the runs and shifts of the time ahead.
    fn plan_ahead(&mut self) {
        let until = self.state.next_hour + PLAN_AHEAD;
        if until > self.state.planned_until && !self.state.provisional {
            self.plan_runs(self.state.planned_until, until);
            self.plan_shifts(self.state.planned_until, until);
            self.state.planned_until = until;
        }
    }

    /// Carries the plan forward, hourly.
    fn on_plan(&mut self) {
        self.plan_ahead();
        let at = self.state.next_hour;
        self.state.next_hour = at + HOURLY;
        let guards: Vec<GuardId> = self.state.guards.keys().cloned().collect();
        guards.iter().for_each(|g| self.reshape(g));
        self.agenda.arm(self.state.next_hour, Deadline::Plan);
        self.agenda.arm(at, Deadline::Forget);
        // After a long absence every hour of it comes along here: one look at the days is enough.
        if self.state.now < self.state.next_hour {
            self.agenda.arm(at, Deadline::Report);
        }
    }

    fn apply(&mut self, observation: &Observation) -> Outcome {
        let site = Arc::clone(&self.site);
        let Some(device) = site.device(observation.device.as_str()) else { return Outcome::UnknownDevice };
        if !self.instrument(&device.id).recent.is_new(observation.identity) {
            return Outcome::Duplicate;
        }
        if let Kind::Status { online: false } = observation.kind {
            self.on_last_will(device, observation.received_at);
            return Outcome::Applied;
        }
        let (kind, mut at) = self.by_our_clock(device, observation);
        if let Kind::Attendance(attendance) = &*kind {
            // Before anything else of it counts: it says whose message it is.
            self.take_up(device, at, attendance);
        }
        self.on_heard(device, at, observation.received_at);
        if observation.received_at.since(at) > LATE {
            if !observation.kind.is_call_for_help() {
                return Outcome::TooOld;
            }
            // A handset whose clock has never been set still calls for help, and it does so now.
            at = observation.received_at;
        }
        let known = self.dispatch(device, at, &kind);
        if !known {
            return Outcome::UnknownTag;
        }
        let cycle = self.site.policy.inactivity.cycle;
        if at < self.state.next_evaluation - cycle {
            self.on_late_evidence(at, &kind);
            self.state.told_late = Some(self.state.told_late.map_or(at, |known| known.min(at)));
        }
        if observation.received_at.since(at) > cycle { Outcome::Late } else { Outcome::Applied }
    }

    /// What a device said, with the instants of its clock corrected. What has been received cannot lie in the future: a
    /// clock that is ahead must never mute a device, not before it is known to be ahead either.
    fn by_our_clock<'o>(
        &mut self,
        device: &Device,
        observation: &'o Observation,
    ) -> (Cow<'o, Kind>, Timestamp) {
        if self.state.provisional {
            return Self::as_it_came(observation);
        }
        let stamped = !matches!(observation.kind, Kind::Status { .. });
        let by = if stamped { self.on_device_clock(device, observation) } else { Span::ZERO };
        let at = (observation.at + by).min(observation.received_at);
        let kind = &observation.kind;
        (if by == Span::ZERO { Cow::Borrowed(kind) } else { Cow::Owned(kind.moved(by)) }, at)
    }

    fn dispatch(&mut self, device: &Device, at: Timestamp, kind: &Kind) -> bool {
        match kind {
            Kind::Heartbeat(heartbeat) => self.on_heartbeat(device, at, heartbeat),
            Kind::Location(fix) => self.on_fix(device, at, fix),
            Kind::Scan(scan) => return self.on_scan(device, at, scan),
            Kind::Task(update) => return self.on_task(device, at, update),
            Kind::Attendance(attendance) => return self.on_attendance(at, attendance),
            Kind::Activity(_) => self.on_activity(device, at),
            Kind::Sos(note) => self.on_sos(device, at, note.as_deref()),
            Kind::Status { .. } => {}
        }
        true
    }
}
