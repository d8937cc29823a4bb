//! Why the engine wakes: every deadline is a variant with its reason.

use crate::alert::AlertId;
use crate::id::{DeviceId, GuardId, ShiftId, TaskId, TourId};
use crate::rules::tasks::Step;
use crate::time::Timestamp;
use std::collections::BTreeSet;

/// The latest instant that is taken.
const END_OF_TIME: Timestamp = Timestamp::from_millis(i64::MAX);

/// Something that falls due. Of one instant, they fire in the order of the variants.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Deadline {
    /// Runs and shifts of the next day must be known before they start.
    Plan,
    /// A shift's guard has not checked in by the end of the grace.
    ShiftStart(Timestamp, ShiftId),
    /// A break has lasted as long as a break may.
    BreakOver(GuardId, Timestamp),
    /// A last will was not taken back at once.
    DeviceOffline(DeviceId, Timestamp),
    /// A watched device has said nothing for as long as it may. Armed lazily: it looks again when it fires.
    DeviceSilent(DeviceId),
    /// A run is at risk, if nothing is scanned before.
    RunAtRisk(Timestamp, TourId),
    /// A run should have started.
    RunStartBy(Timestamp, TourId),
    /// A run should be done.
    RunCloseBy(Timestamp, TourId),
    /// A run has changed, and what is on its way has had time to arrive: its log entry is due.
    RunSettled(Timestamp, TourId),
    /// So much of a task's time has passed.
    TaskStep(TaskId, Step),
    /// A cycle is over: every guard on duty is evaluated at this multiple of it.
    Evaluate(Timestamp),
    /// Nobody has answered an alert that must be answered.
    Escalate(AlertId),
    /// A maintenance interval is over: what it muted and still stands is told.
    Unmuted(Timestamp),
    /// A storm has gathered no further alert for as long as it gathers.
    StormGathered(AlertId),
    /// A guard who was asked for a sign of life has had the time to give it.
    WelfareOver(GuardId, Timestamp),
    /// What is too old to matter is forgotten.
    Forget,
    /// A reading of a device's charge has settled.
    Charge(DeviceId, Timestamp),
    /// A day is over, or one of the last may have changed: everything else of the instant comes first.
    Report,
}

impl Deadline {
    /// Whether it hangs on the time of day, and not only on how much time has passed.
    pub(crate) const fn needs_wall_clock(&self) -> bool {
        match self {
            Self::ShiftStart(..)
            | Self::RunAtRisk(..)
            | Self::RunStartBy(..)
            | Self::RunCloseBy(..)
            | Self::RunSettled(..)
            | Self::Report => true,
            Self::Plan
            | Self::BreakOver(..)
            | Self::DeviceOffline(..)
            | Self::DeviceSilent(_)
            | Self::TaskStep(..)
            | Self::Evaluate(_)
            | Self::Escalate(_)
            // Time that is not known is later than the guess: an interval that is over by the guess is over.
            | Self::Unmuted(_)
            | Self::StormGathered(_)
            | Self::WelfareOver(..)
            | Self::Forget
            | Self::Charge(..) => false,
        }
    }
}

/// Every deadline with the instant at which it is judged. It is derived from the state and never stored.
#[derive(Debug, Clone, Default)]
pub struct Agenda(BTreeSet<(Timestamp, Deadline)>);

impl Agenda {
    /// Arms a deadline; twice is once. The end of time never comes: whatever follows it would be there again at once.
    pub fn arm(&mut self, judged_at: Timestamp, deadline: Deadline) {
        if judged_at < END_OF_TIME {
            self.0.insert((judged_at, deadline));
        }
    }

    /// When the next one is judged.
    pub fn next(&self) -> Option<Timestamp> {
        self.0.first().map(|(t, _)| *t)
    }

    /// The next one that is judged at or before `now`.
    pub fn take_due(&mut self, now: Timestamp) -> Option<(Timestamp, Deadline)> {
        if self.next()? > now {
            return None;
        }
        self.0.pop_first()
    }
}
