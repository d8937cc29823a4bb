//! Things that happened, in order of event time.

use crate::time::{Span, Timestamp};
use serde::{Deserialize, Serialize};

/// Windows, buckets and slots begin on whole seconds: what is folded within one crosses no boundary.
const SECOND: Span = Span::from_secs(1);

/// Entries in order of their instant, whatever the order of their arrival; of one instant, in their own order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Series<T>(Vec<(Timestamp, T)>);

impl<T> Default for Series<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> Series<T> {
    /// Adds an entry; `order` ranks entries of the same instant.
    pub fn insert_by(&mut self, at: Timestamp, entry: T, order: impl Fn(&T, &T) -> std::cmp::Ordering) {
        let key = |(t, e): &(Timestamp, T)| t.cmp(&at).then_with(|| order(e, &entry));
        let in_order = self.0.last().is_none_or(|last| key(last).is_le());
        let place = if in_order { self.0.len() } else { self.0.partition_point(|e| key(e).is_le()) };
        self.0.insert(place, (at, entry));
    }

    /// Adds an entry, or folds it into one of the same second: what a device repeats within a second is one thing, and
    /// no device can make more of a night than its seconds. `fold` must not care for order, and the later instant stays.
    pub fn fold_in(&mut self, at: Timestamp, entry: T, fold: impl Fn(&mut T, T)) {
        let second = at.floor_to(SECOND);
        let place = self.0.partition_point(|(t, _)| *t < second);
        match self.0.get_mut(place) {
            Some((known, value)) if known.floor_to(SECOND) == second => {
                *known = at.max(*known);
                fold(value, entry);
            }
            Some(_) | None => self.0.insert(place, (at, entry)),
        }
    }

    /// The entries with `from <= instant < to`.
    pub fn range(&self, from: Timestamp, to: Timestamp) -> &[(Timestamp, T)] {
        let first = self.0.partition_point(|(t, _)| *t < from);
        let after = self.0.partition_point(|(t, _)| *t < to).max(first);
        self.0.get(first..after).unwrap_or_default()
    }

    /// The latest entry before `to`.
    pub fn last_before(&self, to: Timestamp) -> Option<&(Timestamp, T)> {
        let after = self.0.partition_point(|(t, _)| *t < to);
        after.checked_sub(1).and_then(|i| self.0.get(i))
    }

    /// Forgets what happened before `instant`.
    pub fn forget_before(&mut self, instant: Timestamp) {
        let gone = self.0.partition_point(|(t, _)| *t < instant);
        self.0.drain(..gone);
        // A quiet guard after a busy one must not keep the busy one's memory.
        if self.0.capacity() > 4 * self.0.len().max(16) {
            self.0.shrink_to(2 * self.0.len());
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All of them.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &(Timestamp, T)> {
        self.0.iter()
    }
}

impl<T: Ord> Series<T> {
    /// Adds an entry unless the same one is there.
    pub fn insert_once(&mut self, at: Timestamp, entry: T) -> bool {
        let known = self.range(at, at.just_after()).iter().any(|(_, e)| *e == entry);
        if !known {
            self.insert_by(at, entry, T::cmp);
        }
        !known
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn arrival_does_not_matter(entries in prop::collection::vec((0_i64..50, 0_u8..4), 0..60), cut in 0_i64..50) {
            let mut forwards = Series::default();
            let mut backwards = Series::default();
            for (at, e) in &entries {
                forwards.insert_once(Timestamp::from_millis(*at), *e);
            }
            for (at, e) in entries.iter().rev() {
                backwards.insert_once(Timestamp::from_millis(*at), *e);
            }
            prop_assert_eq!(&forwards, &backwards);
            forwards.forget_before(Timestamp::from_millis(cut));
            prop_assert!(forwards.iter().all(|(t, _)| t.millis() >= cut));
        }
    }
}
