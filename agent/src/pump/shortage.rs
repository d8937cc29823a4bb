//! Short of room, long before the disk is full: the store grows no more, and positions come in thinned.

use super::{Pump, PumpError};
use crate::store::room::Room;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;
use tokio::time::Instant;
use vigil_core::id::DeviceId;
use vigil_core::observation::{Kind, Observation};
use vigil_core::time::{Span, Timestamp};

/// How often the disk is asked: a call of microseconds, and a second of the busiest site is a megabyte at most.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Dropping the oldest costs a snapshot, which takes room itself until sled uses again what became free.
const DROP_EVERY: Duration = Duration::from_secs(60);
/// What a verdict on movement needs: one position a minute of each device.
const FIX_EVERY: Span = Span::from_mins(1);
/// The part of the store's size that the journal may fill: sled's file grows to 2.7 times what lies in it and never
/// shrinks, and snapshots, alerts and the outbox want their part.
const JOURNAL_SHARE: u64 = 4;

/// How the disk stands, and what was let through.
#[derive(Debug, Default)]
pub(super) struct Shortage {
    looked_at: Option<Instant>,
    short: bool,
    dropped_at: Option<Instant>,
    /// How large the store was when the oldest last went: unless it grew, others fill the disk, and nothing is gained.
    size: u64,
    /// The last position of each device that was taken: when it was there, and when that came.
    fixes: BTreeMap<DeviceId, (Timestamp, Timestamp)>,
}

impl Pump {
    /// Whether the journal fills its part of the store, or the disk is short of room.
    pub(super) fn is_too_large(&mut self) -> bool {
        self.store.journal_bytes() > self.terms.max_bytes / JOURNAL_SHARE
            || self.shortage.wants_room(self.store.size())
    }

    /// The snapshot is new, so that everything before it can go.
    pub(super) fn make_room(&mut self) -> Result<(), PumpError> {
        // An eighth at once, so that it is not the next commit that has to do it again.
        let most = (self.terms.max_bytes / JOURNAL_SHARE).min(self.store.journal_bytes());
        let keep = most / 8 * 7;
        let dropped = self.store.make_room(keep)?;
        let (bytes, max_bytes) = (self.store.size(), self.terms.max_bytes);
        tracing::warn!(
            bytes,
            max_bytes,
            dropped,
            "the store or its disk is full: the oldest observations go before their time"
        );
        Ok(())
    }
}

fn is_over(since: Option<Instant>, span: Duration) -> bool {
    since.is_none_or(|since| since.elapsed() >= span)
}

impl Shortage {
    /// Looks at the disk under `folder`, now and then.
    pub(super) fn look(&mut self, folder: &Path) {
        if is_over(self.looked_at, LOOK_EVERY) {
            self.looked_at = Some(Instant::now());
            self.stand(Room::under(folder).is_some_and(Room::is_short));
        }
    }

    fn stand(&mut self, short: bool) {
        if short != self.short {
            tracing::warn!(short, "whether the disk under data_dir is short of room has changed");
        }
        if !short {
            self.fixes.clear();
        }
        self.short = short;
    }

    /// Whether the oldest are to go now from a store of that size.
    pub(super) fn wants_room(&mut self, size: u64) -> bool {
        let wants = self.short && size > self.size && is_over(self.dropped_at, DROP_EVERY);
        if wants {
            (self.size, self.dropped_at) = (size, Some(Instant::now()));
        }
        wants
    }

    /// Whether an observation is taken: all are, but for positions that follow each other closely while room is short.
    pub(super) fn takes(&mut self, observation: &Observation) -> bool {
        if !self.short || !matches!(observation.kind, Kind::Location(_)) {
            return true;
        }
        let (at, came) = (observation.at, observation.received_at);
        let close = |a: Timestamp, b: Timestamp| a.since(b).max(b.since(a)) < FIX_EVERY;
        match self.fixes.get(&observation.device) {
            // A clock that stands still on the device must not silence it.
            Some((last, came_last)) if close(at, *last) && close(came, *came_last) => false,
            Some(_) | None => {
                self.fixes.insert(observation.device.clone(), (at, came));
                true
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use vigil_core::observation::{Fix, Heartbeat};

    fn observation(at_secs: i64, kind: Kind) -> Observation {
        let at = Timestamp::from_millis(at_secs * 1_000);
        Observation::new(DeviceId::new("hs-1").unwrap(), at, at, None, kind)
    }

    fn fix(at_secs: i64) -> Observation {
        let here = Fix::at(1.0, 1.0);
        observation(at_secs, Kind::Location(here))
    }

    #[test]
    fn short_of_room_one_position_a_minute_is_taken_and_everything_else() {
        let mut shortage = Shortage::default();
        assert!([0, 10, 20].iter().all(|at| shortage.takes(&fix(*at))), "there is room");
        shortage.stand(true);
        let taken: Vec<i64> = (0..180).step_by(10).filter(|at| shortage.takes(&fix(*at))).collect();
        assert_eq!(taken, [0, 60, 120]);
        let stands_still = |came: i64| Observation { at: Timestamp::from_millis(0), ..fix(came) };
        let taken: Vec<i64> =
            (200..380).step_by(10).filter(|at| shortage.takes(&stands_still(*at))).collect();
        assert_eq!(taken, [200, 260, 320], "a device whose clock stands still");
        assert!((0..60).all(|at| shortage.takes(&observation(at, Kind::Sos(None)))));
        assert!((0..60).all(|at| shortage.takes(&observation(at, Kind::Heartbeat(Heartbeat::default())))));
    }

    #[test]
    fn the_oldest_go_only_when_the_store_itself_grew() {
        let mut shortage = Shortage::default();
        assert!(!shortage.wants_room(100), "there is room");
        shortage.stand(true);
        assert!(shortage.wants_room(100));
        shortage.dropped_at = None;
        assert!(!shortage.wants_room(100), "others fill the disk");
        assert!(shortage.wants_room(101));
        assert!(!shortage.wants_room(200), "not again within a minute");
    }
}
