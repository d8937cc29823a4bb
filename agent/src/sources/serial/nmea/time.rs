//! When a fix was taken: a time of day, perhaps a date, and what that means beside the gateway's clock.

use chrono::{NaiveDate, NaiveTime, Timelike};
use vigil_core::time::{Span, Timestamp};

const DAY_MS: i64 = 86_400_000;
/// Satellites count the weeks in ten bits. A receiver that was built too long ago tells a date that is this much, or a
/// multiple of it, too early: 1024 weeks.
const ERA_MS: i64 = 1_024 * 7 * DAY_MS;
/// How far the satellites' time may be from the arrival of the sentence: up to 18 leap seconds that a receiver has not
/// heard of yet, and the seconds that a slow line takes. What is further off is a receiver that does not know the time.
const NEAR: Span = Span::from_secs(30);

/// The time of a fix, as the sentences tell it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FixTime {
    /// The date, if a sentence had one.
    pub date: Option<NaiveDate>,
    /// Milliseconds since midnight, UTC.
    pub ms_of_day: i64,
}

pub(super) fn millis_of_day(time: NaiveTime) -> i64 {
    i64::from(time.num_seconds_from_midnight()) * 1_000 + i64::from(time.nanosecond() / 1_000_000)
}

impl FixTime {
    /// The instant that is meant, given that the sentence came at about `came`; nothing if the receiver does not know.
    pub fn near(self, came: Timestamp) -> Option<Timestamp> {
        let (said_ms, period_ms) = match self.date {
            Some(date) => {
                (date.and_time(NaiveTime::MIN).and_utc().timestamp_millis() + self.ms_of_day, ERA_MS)
            }
            None => (self.ms_of_day, DAY_MS),
        };
        let periods = (came.millis() - said_ms + period_ms / 2).div_euclid(period_ms);
        let meant = Timestamp::from_millis(said_ms + periods * period_ms);
        (meant.since(came) <= NEAR && came.since(meant) <= NEAR).then_some(meant)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        Timestamp::parse(text).unwrap()
    }

    fn said(date: Option<(i32, u32, u32)>, time: &str) -> FixTime {
        let date = date.map(|(y, m, d)| NaiveDate::from_ymd_opt(y, m, d).unwrap());
        FixTime { date, ms_of_day: millis_of_day(NaiveTime::parse_from_str(time, "%H:%M:%S%.f").unwrap()) }
    }

    #[test]
    fn a_date_and_a_time_are_an_instant() {
        let meant = said(Some((2026, 11, 27)), "09:27:50.250").near(at("2026-11-27T09:27:52Z"));
        assert_eq!(meant, Some(at("2026-11-27T09:27:50.250Z")));
    }

    #[test]
    fn a_receiver_whose_weeks_rolled_over_is_set_right() {
        for date in [(2026, 11, 27), (2007, 4, 13), (1987, 8, 28), (2046, 7, 13)] {
            let meant = said(Some(date), "09:27:50").near(at("2026-11-27T09:27:51Z"));
            assert_eq!(meant, Some(at("2026-11-27T09:27:50Z")), "{date:?}");
        }
    }

    #[test]
    fn without_a_date_it_is_the_nearest_day() {
        assert_eq!(said(None, "23:59:59").near(at("2026-11-28T00:00:01Z")), Some(at("2026-11-27T23:59:59Z")));
        assert_eq!(said(None, "00:00:01").near(at("2026-11-27T23:59:59Z")), Some(at("2026-11-28T00:00:01Z")));
    }

    #[test]
    fn a_time_that_is_far_off_is_none() {
        let came = at("2026-11-27T09:27:50Z");
        assert_eq!(said(Some((2026, 11, 26)), "09:27:50").near(came), None);
        assert_eq!(said(Some((1980, 1, 6)), "00:00:00").near(came), None);
        assert_eq!(said(None, "09:27:19").near(came), None);
        assert_eq!(said(None, "09:28:21").near(came), None);
        assert_eq!(said(None, "09:28:08").near(came), Some(at("2026-11-27T09:28:08Z")), "leap seconds");
    }
}
