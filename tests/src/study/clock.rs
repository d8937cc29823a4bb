//! The night's own clock: seconds since 19:30 as a float for drawing, instants for the engine.

use crate::night::at;
use vigil_core::time::{Span, Timestamp};

/// An hour.
pub const HOUR: f64 = 3_600.0;
/// A minute.
pub const MINUTE: f64 = 60.0;
/// The end of the night, 06:30: half an hour after duty, so that what fell due on duty is judged.
pub const END: f64 = 11.0 * HOUR;

/// The beginning of the night.
pub fn began() -> Timestamp {
    at("19:30")
}

/// The instant of a second of the night.
#[expect(clippy::cast_possible_truncation, reason = "a night has fewer than 2^63 milliseconds")]
pub fn instant(second: f64) -> Timestamp {
    began() + Span::from_millis((second * 1_000.0).round() as i64)
}

/// The second of an instant.
#[expect(clippy::cast_precision_loss, reason = "a night's milliseconds are exact in a float")]
pub fn second(instant: Timestamp) -> f64 {
    instant.since(began()).millis() as f64 / 1_000.0
}

/// The second of a time of this night: hours from 19:30 on, and those after midnight.
pub fn clock(hour: u32, minute: u32) -> f64 {
    let hours = f64::from(if hour < 12 { hour + 24 } else { hour }) - 19.5;
    hours * HOUR + f64::from(minute) * MINUTE
}

/// The full hours from 21:00 to 05:00: when the hourly tours start.
pub fn tour_hours() -> impl Iterator<Item = f64> {
    (0..9).map(|n| clock(21, 0) + f64::from(n) * HOUR)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_goes_past_midnight() {
        assert_eq!(instant(clock(21, 0)), at("21:00"));
        assert_eq!(instant(clock(1, 15)), at("01:15"));
        assert!((second(at("05:00")) - clock(5, 0)).abs() < 1e-9);
        assert_eq!(tour_hours().last().map(instant), Some(at("05:00")));
    }
}
