//! What an alert rests on. On the edges each kind is a plain object; in the store it keeps its tag.

use crate::alert::{AlertId, Rule, Subject};
use crate::id::{CheckpointId, DeviceId, GuardId, ShiftId};
use crate::observation::Priority;
use crate::time::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The evidence of one alert.
#[derive(Debug, Clone, PartialEq)]
pub enum Evidence {
    /// Section 3.
    Inactivity(Box<InactivityEvidence>),
    /// Section 6.
    Run(Box<RunEvidence>),
    /// Section 8.
    Silence(SilenceEvidence),
    /// Section 2: nobody came.
    Absence(AbsenceEvidence),
    /// Section 2: a break without end.
    Break(BreakEvidence),
    /// Section 7.
    Safety(SafetyEvidence),
    /// Section 5.
    Task(TaskEvidence),
    /// Section 8: a clock that is wrong.
    Skew(SkewEvidence),
    /// Section 8: a battery that will not last.
    Battery(BatteryEvidence),
    /// Section 6: how a run was walked.
    Sequence(Box<SequenceEvidence>),
    /// Section 11: many alerts of one rule.
    Storm(Box<StormEvidence>),
}

#[derive(Serialize, Deserialize)]
enum Stored {
    Inactivity(Box<InactivityEvidence>),
    Run(Box<RunEvidence>),
    Silence(SilenceEvidence),
    Absence(AbsenceEvidence),
    Break(BreakEvidence),
    Safety(SafetyEvidence),
    Task(TaskEvidence),
    Skew(SkewEvidence),
    Battery(BatteryEvidence),
    Sequence(Box<SequenceEvidence>),
    Storm(Box<StormEvidence>),
}

impl Serialize for Evidence {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            return match self {
                Self::Inactivity(e) => e.serialize(serializer),
                Self::Run(e) => e.serialize(serializer),
                Self::Silence(e) => e.serialize(serializer),
                Self::Absence(e) => e.serialize(serializer),
                Self::Break(e) => e.serialize(serializer),
                Self::Safety(e) => e.serialize(serializer),
                Self::Task(e) => e.serialize(serializer),
                Self::Skew(e) => e.serialize(serializer),
                Self::Battery(e) => e.serialize(serializer),
                Self::Sequence(e) => e.serialize(serializer),
                Self::Storm(e) => e.serialize(serializer),
            };
        }
        match self.clone() {
            Self::Inactivity(e) => Stored::Inactivity(e),
            Self::Run(e) => Stored::Run(e),
            Self::Silence(e) => Stored::Silence(e),
            Self::Absence(e) => Stored::Absence(e),
            Self::Break(e) => Stored::Break(e),
            Self::Safety(e) => Stored::Safety(e),
            Self::Task(e) => Stored::Task(e),
            Self::Skew(e) => Stored::Skew(e),
            Self::Battery(e) => Stored::Battery(e),
            Self::Sequence(e) => Stored::Sequence(e),
            Self::Storm(e) => Stored::Storm(e),
        }
        .serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Evidence {
    /// Only from the store: on the edges, evidence is read as JSON.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(match Stored::deserialize(deserializer)? {
            Stored::Inactivity(e) => Self::Inactivity(e),
            Stored::Run(e) => Self::Run(e),
            Stored::Silence(e) => Self::Silence(e),
            Stored::Absence(e) => Self::Absence(e),
            Stored::Break(e) => Self::Break(e),
            Stored::Safety(e) => Self::Safety(e),
            Stored::Task(e) => Self::Task(e),
            Stored::Skew(e) => Self::Skew(e),
            Stored::Battery(e) => Self::Battery(e),
            Stored::Sequence(e) => Self::Sequence(e),
            Stored::Storm(e) => Self::Storm(e),
        })
    }
}

/// What one signal says of a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum SignalState {
    /// The thing happened.
    Active,
    /// It did not, and would have been seen.
    Inactive,
    /// It cannot be known, or was not due.
    Unobserved,
}

/// One of the four signals.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signal {
    /// What it says.
    pub state: SignalState,
    /// How many things it counted: phone events, usable fixes, completed tasks, scans.
    pub count: u32,
    /// What it weighs in the score, in thousandths; 0 if it does not count.
    pub weight: u16,
}

/// The four signals of one evaluation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signals {
    /// Phone events.
    pub phone: Signal,
    /// Displacement.
    pub movement: Signal,
    /// Tasks completed.
    pub tasks: Signal,
    /// Checkpoints scanned.
    pub tours: Signal,
}

/// A position with the radius of its uncertainty.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LastPosition {
    /// Degrees north.
    pub lat: f64,
    /// Degrees east.
    pub lon: f64,
    /// Metres.
    pub accuracy_m: f64,
    /// When.
    pub at: Timestamp,
}

/// What an evaluation saw.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct InactivityEvidence {
    /// Start of the window, inside it.
    pub window_start: Timestamp,
    /// End of the window, outside it: the instant of the evaluation.
    pub window_end: Timestamp,
    /// The four signals.
    pub signals: Signals,
    /// In thousandths, after the deep-night factor.
    pub score: u16,
    /// Whether the evaluation fell in the deep night.
    pub deep_night: bool,
    /// How many inactive evaluations there were in a row.
    pub consecutive: u32,
    /// The last sign that the guard gave.
    pub last_activity_at: Option<Timestamp>,
    /// What it was: `phone`, `scan`, `task`, `attendance`, `steps`.
    pub last_activity: Option<String>,
    /// Whole minutes from then to the evaluation.
    pub minutes_since: Option<i64>,
    /// Where the handset was last seen.
    pub last_position: Option<LastPosition>,
    /// Seconds away from the stay point.
    pub moving_secs: i64,
    /// What the classic rule would have summed, in metres, beside the verdict.
    pub summed_distance_m: i64,
}

/// How a run went.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunEvidence {
    /// When it was due.
    pub scheduled_at: Timestamp,
    /// Until when it had to start.
    pub start_by: Timestamp,
    /// Until when it had to be done.
    pub close_by: Timestamp,
    /// Distinct checkpoints scanned.
    pub scanned: Vec<CheckpointId>,
    /// Those that were not.
    pub missing: Vec<CheckpointId>,
    /// Percent of them scanned.
    pub coverage: u8,
    /// Whether the scanning instruments were observed; if not, it cannot be known.
    pub observed: bool,
}

/// How a run was walked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SequenceEvidence {
    /// When it was due.
    pub scheduled_at: Timestamp,
    /// Distinct checkpoints in the order of their first scans.
    pub scanned: Vec<CheckpointId>,
    /// Of an ordered tour: the fewest checkpoints without which the others were visited in order.
    pub out_of_order: Vec<CheckpointId>,
    /// Visits that were too short.
    pub too_short: Vec<ShortVisit>,
    /// How long a visit must last, in seconds.
    pub min_dwell_secs: Option<i64>,
}

impl SequenceEvidence {
    /// Whether there is nothing to find fault with.
    pub const fn is_faultless(&self) -> bool {
        self.out_of_order.is_empty() && self.too_short.is_empty()
    }
}

/// A visit that was too short.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShortVisit {
    /// Where.
    pub checkpoint: CheckpointId,
    /// How long it can have lasted at most, in whole seconds.
    pub secs: i64,
}

/// Many alerts of one rule, told as one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StormEvidence {
    /// Which rule.
    pub rule: Rule,
    /// How many alerts there are.
    pub count: u32,
    /// How many of them are not cleared yet, as of this revision.
    pub standing: u32,
    /// When the first and the last were detected.
    pub first_at: Timestamp,
    /// The last so far.
    pub last_at: Timestamp,
    /// The alerts, in the order in which they were detected; no more than 200.
    pub members: Vec<StormMember>,
}

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StormMember {
    /// Its alert.
    pub alert: AlertId,
    /// What it is about.
    pub subject: Subject,
    /// Whom it concerns, if anyone.
    pub guard: Option<GuardId>,
    /// When it was detected.
    pub detected_at: Timestamp,
    /// Whether it was told by itself before the storm was known.
    pub told: bool,
}

/// How a device fell silent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SilenceEvidence {
    /// Which.
    pub device: DeviceId,
    /// Its last message, if there ever was one.
    pub last_message_at: Option<Timestamp>,
    /// Whether its last will said so.
    pub last_will: bool,
    /// Its last charge in thousandths: an empty battery is not a fault.
    pub battery_permille: Option<u16>,
}

/// Who did not come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AbsenceEvidence {
    /// To which shift.
    pub shift: ShiftId,
    /// When it started.
    pub starts_at: Timestamp,
    /// When it ends.
    pub ends_at: Timestamp,
}

/// Which break did not end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BreakEvidence {
    /// Its start.
    pub break_start: Timestamp,
    /// How long it may be, in minutes.
    pub max_break_mins: i64,
}

/// A call for help.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SafetyEvidence {
    /// From which device.
    pub device: DeviceId,
    /// Who carries it.
    pub guard: Option<GuardId>,
    /// What was said.
    pub note: Option<String>,
    /// Where the handset was last seen.
    pub last_position: Option<LastPosition>,
}

/// Which task was not done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskEvidence {
    /// How soon it had to be done.
    pub priority: Priority,
    /// What was to be done.
    pub title: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// Its deadline.
    pub deadline: Timestamp,
}

/// How wrong a device's clock is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SkewEvidence {
    /// Which device.
    pub device: DeviceId,
    /// The median of arrival less event time over the last five live messages, in milliseconds; negative if ahead.
    pub behind_ms: i64,
    /// How much would be right.
    pub max_ms: i64,
}

/// Which battery will not last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BatteryEvidence {
    /// Whose.
    pub device: DeviceId,
    /// Its charge in thousandths.
    pub battery_permille: u16,
    /// When that was read.
    pub read_at: Timestamp,
}
