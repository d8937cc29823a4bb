//! Which sequence numbers of a gateway have come, and which are missing.
//!
//! CRITICAL events go first, so numbers come out of order; a hole is a gap until it is filled. Numbers before
//! the first that was ever heard are not missed: an older receiver may have them.

use serde::{Deserialize, Serialize};

/// How many holes are kept for a gateway: a night of scattered CRITICAL events makes a few dozen.
const MAX_HOLES: usize = 256;

/// An inclusive range of missing numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hole {
    /// The first missing number.
    pub first: u64,
    /// The last missing number.
    pub last: u64,
}

impl Hole {
    const fn len(self) -> u64 {
        self.last.saturating_sub(self.first).saturating_add(1)
    }
}

/// The bookkeeping of one gateway.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sequences {
    heard: Option<(u64, u64)>,
    holes: Vec<Hole>,
    given_up: u64,
}

impl Sequences {
    /// Notes that `sequence` has come.
    pub fn note(&mut self, sequence: u64) {
        let Some((lowest, highest)) = self.heard else {
            self.heard = Some((sequence, sequence));
            return;
        };
        if sequence > highest {
            self.open(Hole { first: highest.saturating_add(1), last: sequence.saturating_sub(1) });
        } else if sequence < lowest {
            self.open(Hole { first: sequence.saturating_add(1), last: lowest.saturating_sub(1) });
        } else {
            self.fill(sequence);
        }
        self.heard = Some((lowest.min(sequence), highest.max(sequence)));
    }

    /// The highest number that has come.
    pub fn highest(&self) -> Option<u64> {
        self.heard.map(|(_, highest)| highest)
    }

    /// How many numbers are missing.
    pub fn missing(&self) -> u64 {
        self.holes.iter().fold(self.given_up, |sum, hole| sum.saturating_add(hole.len()))
    }

    /// The missing ranges, lowest first; of very many the lowest are only counted.
    pub fn holes(&self) -> &[Hole] {
        &self.holes
    }

    fn open(&mut self, hole: Hole) {
        if hole.first > hole.last {
            return;
        }
        let at = self.holes.partition_point(|h| h.first < hole.first);
        self.holes.insert(at, hole);
        self.bound();
    }

    fn fill(&mut self, sequence: u64) {
        let at = self.holes.partition_point(|h| h.last < sequence);
        let Some(hole) = self.holes.get(at).copied().filter(|h| h.first <= sequence) else { return };
        let before = (hole.first < sequence).then(|| Hole { first: hole.first, last: sequence - 1 });
        let after = (sequence < hole.last).then(|| Hole { first: sequence + 1, last: hole.last });
        self.holes.splice(at..=at, before.into_iter().chain(after));
        self.bound();
    }

    fn bound(&mut self) {
        if self.holes.len() > MAX_HOLES {
            let lowest = self.holes.remove(0);
            self.given_up = self.given_up.saturating_add(lowest.len());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn after(numbers: &[u64]) -> Sequences {
        let mut sequences = Sequences::default();
        numbers.iter().for_each(|n| sequences.note(*n));
        sequences
    }

    #[test]
    fn a_gap_is_noticed_and_closed() {
        let gap = after(&[1, 2, 6]);
        assert_eq!((gap.missing(), gap.holes()), (3, [Hole { first: 3, last: 5 }].as_slice()));
        assert_eq!(after(&[1, 2, 6, 4]).missing(), 2);
        assert_eq!(after(&[1, 2, 6, 4, 3, 5]).missing(), 0);
    }

    #[test]
    fn what_came_before_the_first_is_not_missed() {
        assert_eq!(after(&[9_000]).missing(), 0);
        assert_eq!(after(&[9_000, 8_998]).missing(), 1);
    }

    #[test]
    fn a_hostile_gateway_cannot_fill_the_memory() {
        let every_other: Vec<u64> = (0..2_000).map(|n| n * 2).collect();
        let sequences = after(&every_other);
        assert_eq!((sequences.holes().len(), sequences.missing()), (MAX_HOLES, 1_999));
        assert_eq!(after(&[0, u64::MAX]).missing(), u64::MAX - 1);
        assert_eq!(after(&[u64::MAX, 0, u64::MAX]).missing(), u64::MAX - 1);
    }

    proptest! {
        #[test]
        fn it_agrees_with_a_set(numbers in prop::collection::vec(0u64..300, 1..200)) {
            let sequences = after(&numbers);
            let seen: BTreeSet<u64> = numbers.iter().copied().collect();
            let (low, high) = (*seen.first().unwrap(), *seen.last().unwrap());
            let missing: BTreeSet<u64> = (low..=high).filter(|n| !seen.contains(n)).collect();
            let told: BTreeSet<u64> = sequences.holes().iter().flat_map(|h| h.first..=h.last).collect();
            prop_assert_eq!(&told, &missing);
            prop_assert_eq!(sequences.missing(), u64::try_from(missing.len()).unwrap());
            prop_assert_eq!(sequences.highest(), Some(high));
        }
    }
}
