//! What the receiver was told of what stands, and when it is to be told again. Pure: `now` is given.
//!
//! It is lost with the process, and that does no harm: whatever stands is told again after a start. Only an alert that
//! changed its labels while nobody could tell it stays under the old ones until these are forgotten over there.

use super::words::Labels;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tokio::time::Instant;
use vigil_core::alert::{Alert, AlertId};

/// What stands is told again when it was told so many heartbeats ago: with thirty seconds every minute, as Prometheus does.
const AGAIN_BEATS: u32 = 2;
/// For how many heartbeats the receiver believes it: with thirty seconds five minutes, its own default, so that three
/// attempts may fail, or a line be cut for four minutes, before it takes silence for an end.
const LIFE_BEATS: u32 = 10;
/// Into so many parts a life goes of which one may pass without an answer: a line that hangs is given up in time to try again.
const ATTEMPTS: u32 = 3;
/// How many alerts are told again at once: some 50 kB, five seconds at 2G speed.
pub(super) const AT_ONCE: usize = 50;

/// The times of the way to a receiver that forgets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Beat(Duration);

impl Beat {
    pub(super) fn new(heartbeat: Duration) -> Self {
        Self(heartbeat)
    }

    /// Between two looks at what stands.
    pub(super) fn length(self) -> Duration {
        self.0
    }

    fn again(self) -> Duration {
        self.0.saturating_mul(AGAIN_BEATS)
    }

    /// For how long the receiver believes what it was told.
    pub(super) fn life(self) -> Duration {
        self.0.saturating_mul(LIFE_BEATS)
    }

    /// How long it may take to tell again what stands.
    pub(super) fn patience(self) -> Duration {
        self.life() / ATTEMPTS
    }
}

/// What was told of one alert.
#[derive(Debug, Default)]
struct Told {
    /// When; `None` if it has to be told again at once.
    at: Option<Instant>,
    /// The labels under which it stands over there.
    labels: Vec<Labels>,
    /// The revision that the receiver would not have: the same need not be said again.
    refused: Option<u32>,
}

/// What was told of all that stands.
#[derive(Debug, Default)]
pub(super) struct Memory(BTreeMap<AlertId, Told>);

impl Memory {
    /// What has to be told again of what stands: what is worst first, then what was told longest ago; at most
    /// [`AT_ONCE`].
    pub(super) fn due(&self, mut standing: Vec<Alert>, now: Instant, beat: Beat) -> Vec<Alert> {
        let told_at = |alert: &Alert| self.0.get(&alert.id).and_then(|told| told.at);
        standing.retain(|alert| {
            let refused = self.0.get(&alert.id).and_then(|told| told.refused);
            let fresh = told_at(alert).is_some_and(|at| now.saturating_duration_since(at) < beat.again());
            !fresh && refused != Some(alert.revision)
        });
        standing.sort_by_key(|alert| {
            (std::cmp::Reverse(alert.severity), told_at(alert), alert.detected_at, alert.id)
        });
        standing.truncate(AT_ONCE);
        standing
    }

    /// Other labels than these under which the receiver has the alert.
    pub(super) fn others(&self, alert: AlertId, labels: &Labels) -> Vec<Labels> {
        let known = self.0.get(&alert).map(|told| told.labels.as_slice()).unwrap_or_default();
        known.iter().filter(|known| *known != labels).cloned().collect()
    }

    /// The receiver has the alert as it is now.
    pub(super) fn on_taken(&mut self, alert: &Alert, labels: Labels, now: Instant) {
        if alert.is_open() {
            self.0.insert(alert.id, Told { at: Some(now), labels: vec![labels], refused: None });
        } else {
            self.0.remove(&alert.id);
        }
    }

    /// The receiver will not have this revision of the alert.
    pub(super) fn on_refused(&mut self, alert: &Alert) {
        self.0.entry(alert.id).or_default().refused = Some(alert.revision);
    }

    /// The receiver's clock is not what we thought: all is told anew.
    pub(super) fn doubt(&mut self) {
        self.0.values_mut().for_each(|told| told.at = None);
    }

    /// Forgets what stands neither here nor over there.
    pub(super) fn forget(&mut self, standing: &[Alert], now: Instant, beat: Beat) {
        let ids: BTreeSet<AlertId> = standing.iter().map(|alert| alert.id).collect();
        let lives = |told: &Told| told.at.is_some_and(|at| now.saturating_duration_since(at) < beat.life());
        self.0.retain(|id, told| ids.contains(id) || lives(told));
    }
}

#[cfg(test)]
mod tests {
    use super::super::words::labels;
    use super::super::words::tests::{alert, at, origin, stepped};
    use super::*;
    use vigil_core::alert::{Severity, Status};

    const BEAT: Beat = Beat(Duration::from_secs(30));

    fn secs(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    fn tell(memory: &mut Memory, alert: &Alert, now: Instant) {
        memory.on_taken(alert, labels(&origin(), alert), now);
    }

    fn ids(alerts: &[Alert]) -> Vec<AlertId> {
        alerts.iter().map(|alert| alert.id).collect()
    }

    #[test]
    fn what_stands_is_told_again_long_before_it_is_forgotten() {
        let (start, standing) = (Instant::now(), vec![alert(1)]);
        let mut memory = Memory::default();
        let mut told = vec![];
        // Twenty minutes of heartbeats.
        for beat in 0..40_u32 {
            let now = start + BEAT.length() * beat;
            for alert in memory.due(standing.clone(), now, BEAT) {
                tell(&mut memory, &alert, now);
                told.push(now);
            }
        }
        assert_eq!((told[0], told.len()), (start, 20), "at once after a start, and then every minute");
        let longest = told.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap();
        // Three heartbeats that bring nothing, and one on which it is not yet due.
        assert!(longest + BEAT.length() * 4 < BEAT.life(), "{longest:?}");
    }

    #[test]
    fn the_worst_and_the_oldest_are_told_first_and_never_too_many_at_once() {
        let start = Instant::now();
        let mut standing: Vec<Alert> = (0..120).map(alert).collect();
        standing[77].severity = Severity::Critical;
        let mut memory = Memory::default();
        tell(&mut memory, &standing[0], start);
        let mut left = standing.len();
        let mut now = start + secs(60);
        let first = memory.due(standing.clone(), now, BEAT);
        assert_eq!((first.len(), first[0].id), (AT_ONCE, standing[77].id));
        while left > 0 {
            let due = memory.due(standing.clone(), now, BEAT);
            left -= due.len();
            if left == 0 {
                assert_eq!(due.last().unwrap().id, standing[0].id, "it was told latest");
            }
            due.iter().for_each(|alert| tell(&mut memory, alert, now));
            now += secs(1);
        }
        assert!(memory.due(standing, now, BEAT).is_empty(), "each was told once");
    }

    #[test]
    fn what_the_receiver_will_not_have_waits_for_its_next_revision() {
        let (now, mut memory, refused) = (Instant::now(), Memory::default(), alert(1));
        memory.on_refused(&refused);
        let standing = vec![refused.clone(), alert(2)];
        memory.forget(&standing, now, BEAT);
        assert_eq!(ids(&memory.due(standing, now, BEAT)), [alert(2).id]);
        let revised = stepped(&refused, Status::Verifying, at(9));
        assert_eq!(ids(&memory.due(vec![revised], now, BEAT)), [refused.id]);
    }

    #[test]
    fn earlier_labels_are_known_until_they_ended_over_there() {
        let (start, mut memory, first) = (Instant::now(), Memory::default(), alert(1));
        let worse = Alert { severity: Severity::Critical, ..first.clone() };
        let of = |alert: &Alert| labels(&origin(), alert);
        tell(&mut memory, &first, start);
        assert!(memory.others(first.id, &of(&first)).is_empty());
        // It does not stand any more, and the receiver does not know that yet.
        memory.forget(&[], start + secs(299), BEAT);
        assert_eq!(memory.others(first.id, &of(&worse)), [of(&first)]);
        tell(&mut memory, &worse, start);
        assert!(memory.others(first.id, &of(&worse)).is_empty());
        tell(&mut memory, &stepped(&worse, Status::Resolved, at(9)), start);
        assert!(memory.others(first.id, &of(&first)).is_empty());
        tell(&mut memory, &first, start);
        memory.forget(&[], start + secs(300), BEAT);
        assert!(memory.others(first.id, &of(&worse)).is_empty());
    }

    #[test]
    fn a_clock_that_is_another_one_has_all_told_anew() {
        let (start, mut memory) = (Instant::now(), Memory::default());
        tell(&mut memory, &alert(1), start);
        assert!(memory.due(vec![alert(1)], start, BEAT).is_empty());
        memory.doubt();
        assert_eq!(memory.due(vec![alert(1)], start, BEAT).len(), 1);
    }
}
