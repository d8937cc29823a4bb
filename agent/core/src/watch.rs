//! What is known of one guard: duty, trail, and the episode of stillness that is going on.

use crate::alert::AlertId;
use crate::duty::Duty;
use crate::engine::Engine;
use crate::evidence::LastPosition;
use crate::id::GuardId;
use crate::rules::welfare::Asked;
use crate::time::{Span, Timestamp};
use crate::windows::{Trail, window_start};
use serde::{Deserialize, Serialize};

/// One guard under watch.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Watch {
    /// Attendance.
    pub duty: Duty,
    /// What the guard did.
    pub trail: Trail,
    /// Where the guard's handset was last seen.
    pub last_position: Option<LastPosition>,
    /// Inactive evaluations in a row.
    pub(crate) streak: u32,
    /// The alert of the episode that is going on.
    pub(crate) episode: Option<AlertId>,
    /// The question for a sign of life that is open.
    pub(crate) asked: Option<Asked>,
    /// Alerts that late evidence may still withdraw, with their windows.
    pub(crate) raised: Vec<Raised>,
}

/// One inactivity alert with the window that raised it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Raised {
    pub alert: AlertId,
    pub from: Timestamp,
    pub to: Timestamp,
}

impl Watch {
    /// Whether nothing is left that could still matter.
    pub(crate) fn is_over(&self) -> bool {
        self.duty.is_empty() && self.raised.is_empty() && self.episode.is_none() && self.asked.is_none()
    }

    /// Whether the guard has answered a question since `from`.
    pub(crate) fn answered_since(&self, from: Timestamp) -> bool {
        let attended = self.trail.attended.iter().filter(|(at, ())| *at >= from);
        attended.into_iter().any(|(at, ())| !self.duty.acted_at(*at))
    }

    /// Nothing is to be told any more if nobody answers.
    pub(crate) fn drop_pending(&mut self) {
        if let Some(asked) = &mut self.asked {
            asked.pending = None;
        }
    }

    /// An alert never should have been: neither should the episode that it began.
    pub(crate) fn take_back(&mut self, raised: Raised) {
        self.raised.retain(|r| *r != raised);
        if self.episode == Some(raised.alert) {
            self.episode = None;
            self.streak = 0;
        }
    }

    /// Forgets the trail before `trail_from`, and alerts whose window ended before `horizon`.
    pub(crate) fn forget_before(&mut self, trail_from: Timestamp, horizon: Timestamp) {
        self.raised.retain(|r| r.to >= horizon);
        self.trail.forget_before(trail_from);
    }
}

impl Engine {
    /// The watch over a guard, set up at the first word of the guard.
    pub(crate) fn watch(&mut self, guard: &GuardId) -> &mut Watch {
        self.state.guards.entry(guard.clone()).or_default()
    }

    /// Derives the shape of the guard's time again.
    pub(crate) fn reshape(&mut self, guard: &GuardId) {
        let Some(watch) = self.state.guards.get(guard) else { return };
        let shape = watch.duty.shape(&self.site.policy.attendance, self.state.roster.occurrences(), guard);
        self.arm_breaks(guard, &shape);
        self.shapes.insert(guard.clone(), shape);
    }

    /// Whether a guard is on duty at an instant, breaks included.
    pub(crate) fn on_duty(&self, guard: &GuardId, at: Timestamp) -> bool {
        self.shapes.get(guard).is_some_and(|s| s.on_duty.contains(at))
    }

    /// The last end of a duty of the guard that is not after `at`.
    pub(crate) fn left_duty_at(&self, guard: &GuardId, at: Timestamp) -> Option<Timestamp> {
        self.shapes.get(guard)?.on_duty.iter().map(|(_, to)| to).rfind(|to| *to <= at)
    }

    /// Everyone on duty at an instant.
    pub(crate) fn guards_on_duty(&self, at: Timestamp) -> impl Iterator<Item = &GuardId> {
        self.shapes.iter().filter(move |(_, s)| s.on_duty.contains(at)).map(|(g, _)| g)
    }

    /// The start of the guard's window at `until`; `None` with too few duty buckets.
    pub(crate) fn window_of(&self, guard: &GuardId, until: Timestamp) -> Option<Timestamp> {
        let policy = &self.site.policy.inactivity;
        let buckets = policy.window.millis() / policy.cycle.millis().max(1);
        window_start(&self.shapes.get(guard)?.worked, until, buckets, policy.cycle)
    }

    /// From when on the guard's trail is still needed: the present window, and those that late evidence may reopen.
    pub(crate) fn keep_from(&self, guard: &GuardId, horizon: Timestamp) -> Timestamp {
        let now = self.state.now;
        // A cycle to spare for evaluations that settle, and an hour for what comes out of order.
        let recent = now - self.site.policy.inactivity.window - Span::from_hours(1);
        let window = self.window_of(guard, now.floor_to(self.site.policy.inactivity.cycle));
        let raised = self.state.guards.get(guard).into_iter().flat_map(|w| &w.raised).map(|r| r.from);
        let proof = Span::from_millis(self.site.policy.inactivity.proof_of_life.millis());
        raised.chain(window).chain([recent]).min().map_or(recent, |t| t - proof).max(horizon)
    }
}
