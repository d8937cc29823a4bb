//! When to try again: exponential backoff with full jitter. After an outage of an hour, a thousand gateways
//! without jitter ask 1,000 times a second and need 98 minutes to drain; with it, 13 times and 5 minutes.

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::time::Duration;

/// The longest wait that a receiver may ask for: a wrong header must not silence a site for a night.
pub const MAX_RETRY_AFTER: Duration = Duration::from_secs(3_600);

/// The bounds of the waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    first: Duration,
    cap: Duration,
    critical_cap: Duration,
}

impl Default for Pace {
    /// Contract 6: 1 s to 5 min; 30 s while a CRITICAL event waits, for somebody may be in danger.
    fn default() -> Self {
        Self::new(Duration::from_secs(1), Duration::from_secs(300), Duration::from_secs(30))
    }
}

impl Pace {
    /// The first wait is at most `first`, then twice that, up to `cap`, or `critical_cap` while a CRITICAL
    /// event waits. A first wait below 1 ms is 1 ms, and no cap is below it.
    pub fn new(first: Duration, cap: Duration, critical_cap: Duration) -> Self {
        let first = first.max(Duration::from_millis(1));
        let cap = cap.max(first);
        Self { first, cap, critical_cap: critical_cap.clamp(first, cap) }
    }

    fn cap(self, critical: bool) -> Duration {
        if critical { self.critical_cap } else { self.cap }
    }
}

/// Counts failures in a row and draws the waits between them.
#[derive(Debug)]
pub struct Cadence {
    pace: Pace,
    failures: u32,
    rng: StdRng,
}

impl Cadence {
    /// A cadence whose draws follow from `seed`: each gateway needs its own.
    pub fn new(pace: Pace, seed: u64) -> Self {
        Self { pace, failures: 0, rng: StdRng::seed_from_u64(seed) }
    }

    /// A cadence seeded by the operating system.
    pub fn seeded(pace: Pace) -> Self {
        Self::new(pace, rand::random())
    }

    /// Failures since the last success.
    pub const fn failures(&self) -> u32 {
        self.failures
    }

    /// The receiver stored a batch: the next failure starts anew.
    pub fn on_success(&mut self) {
        self.failures = 0;
    }

    /// One more failure.
    pub fn on_failure(&mut self) {
        self.failures = self.failures.saturating_add(1);
    }

    /// A wait after the failures so far, drawn evenly from nothing up to the step's bound.
    pub fn wait(&mut self, critical: bool) -> Duration {
        let doublings = self.failures.saturating_sub(1).min(31);
        let step = self.pace.first.saturating_mul(1 << doublings).min(self.pace.cap(critical));
        self.draw(Duration::ZERO, step)
    }

    /// A wait of at least what the receiver asked for, up to an hour, and at most one first step more, so
    /// that all who were told the same do not return together.
    pub fn wait_asked(&mut self, after: Duration) -> Duration {
        let after = after.min(MAX_RETRY_AFTER);
        self.draw(after, after + self.pace.first)
    }

    /// A long wait: only a person can mend what is wrong, so the lower half of the range is left out.
    pub fn wait_for_a_person(&mut self, critical: bool) -> Duration {
        let cap = self.pace.cap(critical);
        self.draw(cap / 2, cap)
    }

    /// A short breath, at most the first step.
    pub fn breath(&mut self) -> Duration {
        self.draw(Duration::ZERO, self.pace.first)
    }

    fn draw(&mut self, from: Duration, to: Duration) -> Duration {
        self.rng.random_range(from..=to)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn failed(times: u32, seed: u64) -> Cadence {
        let mut cadence = Cadence::new(Pace::default(), seed);
        (0..times).for_each(|_| cadence.on_failure());
        cadence
    }

    #[test]
    fn the_jitter_is_full() {
        let mut cadence = failed(20, 7);
        let waits: Vec<_> = (0..1_000).map(|_| cadence.wait(false).as_secs()).collect();
        assert!(waits.iter().any(|s| *s < 30) && waits.iter().any(|s| *s > 270));
        let mean = waits.iter().sum::<u64>() / 1_000;
        assert!((130..170).contains(&mean), "{mean}");
    }

    #[test]
    fn the_same_seed_draws_the_same_waits() {
        assert_eq!(failed(5, 1).wait(false), failed(5, 1).wait(false));
        assert_ne!(failed(5, 1).wait(false), failed(5, 2).wait(false));
    }

    #[test]
    fn a_success_starts_anew() {
        let mut cadence = failed(20, 7);
        cadence.on_success();
        cadence.on_failure();
        assert!(cadence.wait(false) <= Duration::from_secs(1));
    }

    proptest! {
        #[test]
        fn a_wait_keeps_its_bounds(times in 1u32..100, seed: u64, critical: bool) {
            let mut cadence = failed(times, seed);
            let cap = if critical { 30 } else { 300 };
            let step = Duration::from_secs(1u64.checked_shl(times - 1).unwrap_or(u64::MAX).clamp(1, cap));
            prop_assert!(cadence.wait(critical) <= step);
            let slow = cadence.wait_for_a_person(critical);
            prop_assert!(slow >= Duration::from_secs(cap / 2) && slow <= Duration::from_secs(cap));
        }

        #[test]
        fn retry_after_is_obeyed_up_to_an_hour(asked_secs: u64, seed: u64) {
            let asked = Duration::from_secs(asked_secs);
            let wait = failed(1, seed).wait_asked(asked);
            prop_assert!(wait >= asked.min(MAX_RETRY_AFTER));
            prop_assert!(wait <= asked.min(MAX_RETRY_AFTER) + Duration::from_secs(1));
        }

        #[test]
        fn any_pace_is_in_order(first: u32, cap: u32, critical: u32) {
            let ms = |n: u32| Duration::from_millis(n.into());
            let pace = Pace::new(ms(first), ms(cap), ms(critical));
            prop_assert!(pace.first <= pace.critical_cap && pace.critical_cap <= pace.cap);
        }
    }
}
