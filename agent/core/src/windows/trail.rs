//! The trail of one guard: everything the four signals are read from.

use super::{Intervals, Series};
use crate::id::{CheckpointId, DeviceId, TaskId};
use crate::time::{Span, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A usable fix.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct TrailFix {
    /// Degrees north.
    pub lat: f64,
    /// Degrees east.
    pub lon: f64,
    /// Metres, above 0.
    pub accuracy_m: f32,
    /// m/s, if the device gave one.
    pub speed_mps: Option<f32>,
}

impl TrailFix {
    /// The better of two fixes of one second is the greater.
    fn order(&self, other: &Self) -> std::cmp::Ordering {
        let speed = |f: &Self| f.speed_mps.unwrap_or(-1.0);
        other
            .accuracy_m
            .total_cmp(&self.accuracy_m)
            .then(self.lat.total_cmp(&other.lat))
            .then(self.lon.total_cmp(&other.lon))
            .then(speed(self).total_cmp(&speed(other)))
    }
}

/// When one handset of a guard could be heard.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Hearing {
    /// When it could be heard: each message is good for `silent_after`.
    pub heard: Intervals,
    /// When its last will was in force.
    pub offline: Intervals,
}

impl Hearing {
    fn forget_before(&mut self, instant: Timestamp) -> bool {
        self.heard.forget_before(instant);
        self.offline.forget_before(instant);
        self.heard.iter().next().is_some()
    }

    /// Whether it could be heard at an instant.
    pub(crate) fn is_live(&self, at: Timestamp) -> bool {
        self.heard.contains(at) && !self.offline.contains(at)
    }
}

/// What one guard did, by event time.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Trail {
    /// The guard's handsets: the own one, and those that were taken up.
    pub handsets: BTreeMap<DeviceId, Hearing>,
    /// Phone events: heartbeat interactions and activities.
    pub phone: Series<u32>,
    /// Steps that the handset counted.
    pub steps: Series<u32>,
    /// Usable fixes.
    pub fixes: Series<TrailFix>,
    /// Checkpoints scanned.
    pub scans: Series<CheckpointId>,
    /// Tasks completed.
    pub completed: Series<TaskId>,
    /// Attendance actions and answered prompts.
    pub attended: Series<()>,
}

impl Trail {
    /// Adds a fix: the best of its second stays.
    pub fn add_fix(&mut self, at: Timestamp, fix: TrailFix) {
        self.fixes.fold_in(at, fix, |known, new| {
            if known.order(&new).is_lt() {
                *known = new;
            }
        });
    }

    /// Adds `count` phone events.
    pub fn add_phone(&mut self, at: Timestamp, count: u32) {
        if count > 0 {
            self.phone.fold_in(at, count, |known, new| *known = known.saturating_add(new));
        }
    }

    /// Adds `count` steps.
    pub fn add_steps(&mut self, at: Timestamp, count: u32) {
        if count > 0 {
            self.steps.fold_in(at, count, |known, new| *known = known.saturating_add(new));
        }
    }

    /// One of the guard's handsets.
    pub fn handset(&mut self, device: &DeviceId) -> &mut Hearing {
        self.handsets.entry(device.clone()).or_default()
    }

    /// Whether the guard's handset was observed in `[from, until)` as of `until` (rules, section 3). Where one took
    /// the place of another they count together, and a dead one does not hide the one that lives.
    pub fn handset_observed(&self, from: Timestamp, until: Timestamp) -> bool {
        let mut heard = Intervals::default();
        let all = self.handsets.values().flat_map(|h| h.heard.iter());
        all.filter(|(start, end)| *start < until.just_after() && *end > from)
            .for_each(|(a, b)| heard.add(a, b));
        self.handsets.values().any(|h| h.is_live(until)) && observed(&heard, from, until)
    }

    /// The last act that only a person does, in `[from, until)`, and what it was.
    pub fn last_activity(&self, from: Timestamp, until: Timestamp) -> Option<(Timestamp, &'static str)> {
        fn last<T>(series: &Series<T>, until: Timestamp) -> Option<Timestamp> {
            series.last_before(until).map(|(t, _)| *t)
        }
        let acts = [
            (last(&self.phone, until), "phone"),
            (last(&self.steps, until), "steps"),
            (last(&self.attended, until), "attendance"),
            (last(&self.completed, until), "task"),
            (last(&self.scans, until), "scan"),
        ];
        let known = acts.into_iter().filter_map(|(t, what)| t.map(|t| (t, what)));
        known.filter(|(t, _)| *t >= from).max_by_key(|(t, _)| *t)
    }

    /// The last scan, completed task or attendance action in `[from, until)`: proof of life.
    pub fn proved_alive(&self, from: Timestamp, until: Timestamp) -> bool {
        !self.scans.range(from, until).is_empty()
            || !self.completed.range(from, until).is_empty()
            || !self.attended.range(from, until).is_empty()
    }

    /// Forgets what happened before `instant`.
    pub fn forget_before(&mut self, instant: Timestamp) {
        self.handsets.retain(|_, hearing| hearing.forget_before(instant));
        self.phone.forget_before(instant);
        self.steps.forget_before(instant);
        self.fixes.forget_before(instant);
        self.scans.forget_before(instant);
        self.completed.forget_before(instant);
        self.attended.forget_before(instant);
    }
}

/// Whether an instrument with this hearing was observed in `[from, until)`: its last message is recent enough
/// at `until`, and three quarters of the time were covered.
pub fn observed(heard: &Intervals, from: Timestamp, until: Timestamp) -> bool {
    let span = until.since(from);
    heard.contains(until) && 4 * heard.within(from, until).millis() >= 3 * span.millis()
}

/// What one message makes of the hearing: good for `silent_after`, that instant included.
pub fn hear(heard: &mut Intervals, at: Timestamp, silent_after: Span) {
    heard.add(at, (at + silent_after).just_after());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn min(m: i64) -> Timestamp {
        Timestamp::from_millis(m * 60_000)
    }

    fn phone() -> DeviceId {
        DeviceId::new("hs-7").unwrap()
    }

    #[test]
    fn three_quarters_and_a_recent_message_make_an_observed_handset() {
        let mut trail = Trail::default();
        for m in [0, 30, 45, 60, 75, 90] {
            hear(&mut trail.handset(&phone()).heard, min(m), Span::from_mins(15));
        }
        assert!(trail.handset_observed(min(0), min(105)), "90 of 105 minutes, last exactly 15 min old");
        assert!(!trail.handset_observed(min(0), min(105).just_after()), "last strictly older");
        assert!(!trail.handset_observed(min(14), min(46)), "a gap of 15 in 32 minutes is too much");
    }

    #[test]
    fn a_last_will_in_force_ends_observation() {
        let mut trail = Trail::default();
        hear(&mut trail.handset(&phone()).heard, min(0), Span::from_mins(15));
        trail.handset(&phone()).offline.add(min(5), min(10_000));
        assert!(trail.handset_observed(min(0), min(4)));
        assert!(!trail.handset_observed(min(0), min(6)));
    }
}
