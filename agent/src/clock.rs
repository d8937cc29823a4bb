//! The only reader of time in the agent.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use vigil_core::time::{Span, Timestamp};

/// A clock that never goes back. Cheap to clone; all clones agree.
#[derive(Debug, Clone)]
pub struct Clock {
    face: Face,
    latest_ms: Arc<AtomicI64>,
}

#[derive(Debug, Clone, Copy)]
enum Face {
    /// The wall clock of the box.
    Wall,
    /// A simulated night that runs `speed` times as fast as real time.
    Scaled { began: Instant, night: Timestamp, speed: u32 },
}

impl Clock {
    /// The wall clock of the box.
    pub fn wall() -> Self {
        Self { face: Face::Wall, latest_ms: Arc::default() }
    }

    /// A clock that shows `night` now and runs `speed` times as fast as real time.
    pub fn scaled(night: Timestamp, speed: u32) -> Self {
        let face = Face::Scaled { began: Instant::now(), night, speed: speed.max(1) };
        Self { face, latest_ms: Arc::default() }
    }

    /// The present instant; never earlier than one that was given out before.
    pub fn now(&self) -> Timestamp {
        let read = match self.face {
            Face::Wall => wall_ms(SystemTime::now()),
            Face::Scaled { began, night, speed } => scaled_ms(night, began.elapsed(), speed),
        };
        let before = self.latest_ms.fetch_max(read, Ordering::AcqRel);
        Timestamp::from_millis(read.max(before))
    }

    /// How long to wait, in real time, until the clock shows `at`; zero if it already has.
    pub fn until(&self, at: Timestamp) -> Duration {
        self.real(at.since(self.now()))
    }

    /// How long a span on this clock takes in real time.
    pub fn real(&self, span: Span) -> Duration {
        match self.face {
            Face::Wall => span.to_std(),
            Face::Scaled { speed, .. } => span.to_std() / speed,
        }
    }
}

fn wall_ms(time: SystemTime) -> i64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |d| i64::try_from(d.as_millis()).unwrap_or(i64::MAX))
}

fn scaled_ms(night: Timestamp, elapsed: Duration, speed: u32) -> i64 {
    let passed = elapsed.saturating_mul(speed).as_millis();
    night.millis().saturating_add(i64::try_from(passed).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scaled_clock_runs_as_fast_as_it_says() {
        let night = Timestamp::from_millis(1_000_000);
        assert_eq!(scaled_ms(night, Duration::from_millis(500), 120), 1_060_000);
    }

    #[test]
    fn time_before_the_epoch_is_the_epoch() {
        assert_eq!(wall_ms(UNIX_EPOCH - Duration::from_secs(5)), 0);
    }

    #[test]
    fn it_never_goes_back() {
        let clock = Clock::wall();
        clock.latest_ms.store(i64::MAX / 2, Ordering::Release);
        assert!(clock.now() >= Timestamp::from_millis(i64::MAX / 2));
    }
}
