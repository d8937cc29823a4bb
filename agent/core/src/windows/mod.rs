//! What happened, by event time: series that do not care in which order things arrived.

pub mod intervals;
pub mod series;
pub mod trail;

pub use intervals::Intervals;
pub use series::Series;
pub use trail::{Trail, TrailFix};

use crate::time::{Span, Timestamp};

/// A rest this long starts afresh: buckets of the duty before it no longer belong to the window
/// (it is the rest that the attendance rules demand between two duties).
pub const REST: Span = Span::from_hours(8);

/// The start of the `n`-th latest duty bucket before `until`: buckets of `cycle`, aligned to the epoch, that lie
/// wholly in `worked` time. `None` with fewer buckets, or if a rest of eight hours lies between.
pub fn window_start(worked: &Intervals, until: Timestamp, n: i64, cycle: Span) -> Option<Timestamp> {
    let step = cycle.millis().max(1);
    let mut missing = n;
    let mut later_start = until;
    for (from, to) in worked.iter().rev() {
        if from >= until {
            continue;
        }
        if later_start.since(to) >= REST {
            return None;
        }
        later_start = from;
        let last = to.min(until).floor_to(cycle).millis();
        let first = from.millis() + (step - from.millis().rem_euclid(step)) % step;
        let here = (last - first) / step;
        if here >= missing {
            return Some(Timestamp::from_millis(last - missing * step));
        }
        missing -= here.max(0);
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const CYCLE: Span = Span::from_mins(5);

    fn min(m: i64) -> Timestamp {
        Timestamp::from_millis(1_000_000 * 300_000 + m * 60_000)
    }

    fn worked(parts: &[(i64, i64)]) -> Intervals {
        let mut all = Intervals::default();
        for (from, to) in parts {
            all.add(min(*from), min(*to));
        }
        all
    }

    #[test]
    fn breaks_push_the_window_back() {
        let all = worked(&[(0, 60), (75, 135)]);
        assert_eq!(window_start(&all, min(135), 24, CYCLE), Some(min(0)));
        assert_eq!(window_start(&all, min(135), 12, CYCLE), Some(min(75)));
        assert_eq!(window_start(&all, min(135), 25, CYCLE), None);
    }

    #[test]
    fn part_buckets_do_not_count() {
        let all = worked(&[(3, 60)]);
        assert_eq!(window_start(&all, min(60), 11, CYCLE), Some(min(5)));
        assert_eq!(window_start(&all, min(60), 12, CYCLE), None);
    }

    #[test]
    fn a_long_rest_starts_afresh() {
        let all = worked(&[(0, 120), (120 + 8 * 60, 120 + 8 * 60 + 30)]);
        assert_eq!(window_start(&all, min(120 + 8 * 60 + 30), 7, CYCLE), None);
        assert_eq!(window_start(&all, min(120 + 8 * 60 + 30), 6, CYCLE), Some(min(600)));
    }

    proptest! {
        #[test]
        fn it_is_what_counting_buckets_one_by_one_finds(
            parts in prop::collection::vec((0_i64..300, 1_i64..120), 0..6), n in 1_i64..30, end in 1_i64..80,
        ) {
            let spans: Vec<_> = parts.iter().map(|(from, len)| (*from, from + len)).collect();
            let all = worked(&spans);
            let until = min(end * 5);
            let mut count = 0;
            let mut expected = None;
            for bucket in (0..end).rev() {
                count += i64::from(all.covers(min(bucket * 5), min(bucket * 5 + 5)));
                if count == n {
                    expected = Some(min(bucket * 5));
                    break;
                }
            }
            prop_assert_eq!(window_start(&all, until, n, CYCLE), expected);
        }
    }
}
