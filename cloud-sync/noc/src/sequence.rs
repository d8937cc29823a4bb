//! Which sequence numbers of a gateway have come, and which are missing, for each producer of numbers by itself.
//!
//! CRITICAL events go first, so numbers come out of order; a hole is a gap until it is filled. Numbers before
//! the first that was ever heard are not missed: an older receiver may have them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How many holes are kept for a gateway: a night of scattered CRITICAL events makes a few dozen.
const MAX_HOLES: usize = 256;

/// An inclusive range of missing numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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

/// How many producers of a gateway are kept: each is a store that was damaged beyond use, so a second one is rare.
const MAX_PRODUCERS: usize = 8;

/// The bookkeeping of one gateway: its numbers, for each store that gave them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Producers {
    /// The numbers of events that do not say whose they are.
    #[serde(flatten)]
    nameless: Sequences,
    /// The others, the one that was heard last at the end.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    producers: Vec<(String, Sequences)>,
    /// How many numbers came with another event than before.
    #[serde(default)]
    reused: u64,
}

impl Producers {
    /// Notes that `sequence` of that producer has come.
    pub fn note(&mut self, producer: Option<&str>, sequence: u64) {
        let Some(producer) = producer else {
            self.nameless.note(sequence);
            return;
        };
        let known = self.producers.iter().position(|(name, _)| name == producer);
        let mut of = match known {
            Some(at) => self.producers.remove(at),
            None => (producer.to_owned(), self.taken_over(sequence)),
        };
        of.1.note(sequence);
        self.producers.push(of);
        if self.producers.len() > MAX_PRODUCERS {
            let (_, oldest) = self.producers.remove(0);
            self.nameless.given_up = self.nameless.given_up.saturating_add(oldest.missing());
        }
    }

    /// Whether that number of that producer is known to have come.
    pub fn has(&self, producer: &str, sequence: u64) -> bool {
        let known = self.producers.iter().find(|(name, _)| name == producer);
        known.is_some_and(|(_, sequences)| sequences.has(sequence))
    }

    /// Notes that a number came with another event than before.
    pub fn note_reused(&mut self) {
        self.reused = self.reused.saturating_add(1);
    }

    /// How many did.
    pub const fn reused(&self) -> u64 {
        self.reused
    }

    /// The first producer that gives its name goes on where the nameless one stood, if it is the same: a gateway that
    /// was brought up to date. A store that is new begins below.
    fn taken_over(&mut self, sequence: u64) -> Sequences {
        let same = self.producers.is_empty() && self.nameless.expects(sequence);
        if same { std::mem::take(&mut self.nameless) } else { Sequences::default() }
    }

    /// The highest number that has come of the producer that was heard last.
    pub fn highest(&self) -> Option<u64> {
        self.producers.last().map_or(&self.nameless, |(_, sequences)| sequences).highest()
    }

    /// How many numbers are missing, of all producers.
    pub fn missing(&self) -> u64 {
        self.each().fold(0, |sum, sequences| sum.saturating_add(sequences.missing()))
    }

    /// The missing ranges of all producers; of very many of one the lowest are only counted.
    pub fn holes(&self) -> Vec<Hole> {
        self.each().flat_map(|sequences| sequences.holes.iter().copied()).collect()
    }

    fn each(&self) -> impl Iterator<Item = &Sequences> {
        std::iter::once(&self.nameless).chain(self.producers.iter().map(|(_, sequences)| sequences))
    }
}

/// The numbers of one producer.
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

    /// Whether that number has come for certain.
    fn has(&self, sequence: u64) -> bool {
        let heard = self.heard.is_some_and(|(low, high)| (low..=high).contains(&sequence));
        heard && self.given_up == 0 && !self.expects(sequence)
    }

    /// Whether that number is one that is still to come.
    fn expects(&self, sequence: u64) -> bool {
        let missing = self.holes.iter().any(|hole| (hole.first..=hole.last).contains(&sequence));
        missing || self.highest().is_some_and(|highest| sequence > highest)
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

    /// The numbers as they came, `-` for no producer.
    fn heard(numbers: &[(&str, u64)]) -> Producers {
        let mut producers = Producers::default();
        for (name, sequence) in numbers {
            producers.note(Some(*name).filter(|name| *name != "-"), *sequence);
        }
        producers
    }

    #[test]
    fn each_producer_is_counted_by_itself() {
        let two = heard(&[("a", 1), ("a", 2), ("a", 5), ("b", 1), ("b", 3)]);
        assert_eq!((two.missing(), two.highest()), (3, Some(3)));
        assert_eq!(two.holes(), [Hole { first: 3, last: 4 }, Hole { first: 2, last: 2 }]);
        // What the old store still had to say comes under its own name.
        assert_eq!(heard(&[("a", 1), ("b", 7), ("a", 2)]).missing(), 0);
        let again = serde_json::to_string(&two).unwrap();
        assert_eq!(serde_json::from_str::<Producers>(&again).unwrap(), two);
    }

    #[test]
    fn a_gateway_that_is_brought_up_to_date_goes_on_where_it_stood() {
        let before = serde_json::to_string(&after(&[1, 2, 5])).unwrap();
        let mut now: Producers = serde_json::from_str(&before).unwrap();
        assert_eq!((now.missing(), now.highest()), (2, Some(5)));
        now.note(Some("a"), 7);
        assert_eq!((now.missing(), now.highest()), (3, Some(7)));
        [3, 4, 6].iter().for_each(|n| now.note(Some("a"), *n));
        assert_eq!(now.missing(), 0);
        assert_eq!(heard(&[("-", 8), ("-", 9), ("a", 1), ("a", 2)]).missing(), 0, "a store that is new");
        assert_eq!(heard(&[("-", 1), ("-", 3)]).missing(), 1, "one that never says its name");
    }

    #[test]
    fn a_hostile_gateway_with_many_names_fills_no_memory_and_hides_no_gap() {
        let mut producers = Producers::default();
        for n in 0..1_000 {
            producers.note(Some(&n.to_string()), 1);
            producers.note(Some(&n.to_string()), 3);
        }
        assert_eq!((producers.producers.len(), producers.missing()), (MAX_PRODUCERS, 1_000));
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
