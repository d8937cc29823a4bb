//! Sets of instants as disjoint half-open intervals.

use crate::time::{Span, Timestamp};
use serde::{Deserialize, Serialize};

/// Disjoint intervals `[from, to)`, in order; touching ones are one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Intervals(Vec<(Timestamp, Timestamp)>);

impl Intervals {
    /// Only `[from, to)`; nothing if it is empty.
    pub fn of(from: Timestamp, to: Timestamp) -> Self {
        let mut one = Self::default();
        one.add(from, to);
        one
    }

    /// Adds `[from, to)`; nothing if it is empty.
    pub fn add(&mut self, from: Timestamp, to: Timestamp) {
        if from >= to {
            return;
        }
        // What comes in event order touches the end: no search, no copy.
        match self.0.last_mut() {
            Some(last) if from >= last.0 && from <= last.1 => last.1 = last.1.max(to),
            Some(last) if from <= last.1 => self.merge(from, to),
            Some(_) | None => self.0.push((from, to)),
        }
    }

    fn merge(&mut self, mut from: Timestamp, mut to: Timestamp) {
        let first = self.0.partition_point(|(_, end)| *end < from);
        let after = self.0.partition_point(|(start, _)| *start <= to);
        if let Some(touched) = self.0.get(first..after)
            && let (Some((start, _)), Some((_, end))) = (touched.first(), touched.last())
        {
            (from, to) = (from.min(*start), to.max(*end));
        }
        self.0.splice(first..after, [(from, to)]);
    }

    /// Takes `[from, to)` out.
    pub fn remove(&mut self, from: Timestamp, to: Timestamp) {
        if from >= to {
            return;
        }
        let cut = |(start, end): &(Timestamp, Timestamp)| {
            let before = (*start, (*end).min(from));
            let behind = ((*start).max(to), *end);
            [before, behind].into_iter().filter(|(a, b)| a < b)
        };
        let first = self.0.partition_point(|(_, end)| *end <= from);
        let after = self.0.partition_point(|(start, _)| *start < to);
        let kept: Vec<_> = self.0.get(first..after).unwrap_or_default().iter().flat_map(cut).collect();
        self.0.splice(first..after.max(first), kept);
    }

    /// The end of a wait from `from` to `until` in which time inside of them does not count.
    pub fn prolong(&self, from: Timestamp, until: Timestamp) -> Timestamp {
        let mut end = until;
        for (start, over) in self.0.iter().filter(|(_, over)| *over > from) {
            if *start < end {
                end = end + over.since((*start).max(from));
            }
        }
        end
    }

    /// Forgets everything before `instant`.
    pub fn forget_before(&mut self, instant: Timestamp) {
        let gone = self.0.partition_point(|(_, end)| *end <= instant);
        self.0.drain(..gone);
    }

    /// Whether `at` is in one of them.
    pub fn contains(&self, at: Timestamp) -> bool {
        self.covers(at, at.just_after())
    }

    /// Whether all of `[from, to)` is in one of them.
    pub fn covers(&self, from: Timestamp, to: Timestamp) -> bool {
        let i = self.0.partition_point(|(_, end)| *end < to);
        self.0.get(i).is_some_and(|(start, end)| *start <= from && *end >= to)
    }

    /// How much of `[from, to)` is in them.
    pub fn within(&self, from: Timestamp, to: Timestamp) -> Span {
        let first = self.0.partition_point(|(_, end)| *end <= from);
        let inside = self.0.get(first..).unwrap_or_default().iter().take_while(|(start, _)| *start < to);
        let total = inside.map(|(start, end)| (*end).min(to).since((*start).max(from)).millis()).sum();
        Span::from_millis(total)
    }

    /// From the earliest to the latest.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (Timestamp, Timestamp)> + '_ {
        self.0.iter().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ms(n: i64) -> Timestamp {
        Timestamp::from_millis(n)
    }

    #[test]
    fn a_wait_is_prolonged_by_what_lies_in_it() {
        let mut blind = Intervals::default();
        for (from, to) in [(0, 5), (8, 12), (14, 15), (30, 40)] {
            blind.add(ms(from), ms(to));
        }
        assert_eq!(blind.prolong(ms(5), ms(8)), ms(8));
        assert_eq!(blind.prolong(ms(3), ms(10)), ms(17), "2, 4 and, since it now reaches there, 1");
        assert_eq!(blind.prolong(ms(16), ms(20)), ms(20));
    }

    proptest! {
        /// Against a plain set of milliseconds.
        #[test]
        fn they_are_the_set_that_was_asked_for(
            steps in prop::collection::vec((any::<bool>(), 0_i64..60, 0_i64..20), 0..40), probe in 0_i64..60, len in 1_i64..20,
        ) {
            let mut all = Intervals::default();
            let mut model = std::collections::BTreeSet::new();
            for (add, from, len) in steps {
                if add {
                    all.add(ms(from), ms(from + len));
                    model.extend(from..from + len);
                } else {
                    all.remove(ms(from), ms(from + len));
                    model.retain(|n| !(from..from + len).contains(n));
                }
            }
            prop_assert_eq!(all.contains(ms(probe)), model.contains(&probe));
            prop_assert_eq!(all.covers(ms(probe), ms(probe + len)), (probe..probe + len).all(|n| model.contains(&n)));
            let inside = i64::try_from(model.range(probe..probe + len).count()).unwrap();
            prop_assert_eq!(all.within(ms(probe), ms(probe + len)).millis(), inside);
            let parts: Vec<_> = all.iter().collect();
            prop_assert!(parts.windows(2).all(|w| w[0].1 < w[1].0));
        }
    }
}
