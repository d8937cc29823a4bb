//! One tag that lies on a reader is one scan, however often the reader says so.

use std::collections::VecDeque;
use std::time::Duration;
use vigil_core::id::Tag;

/// A tag that was not seen for so long has been taken away (contract 5). Readers repeat themselves many times a second.
const LYING: Duration = Duration::from_secs(2);
/// How many tags are known to lie on one reader: no field holds more. The one seen longest ago goes first.
const AT_ONCE: usize = 32;

/// The tags that lie on one reader, the one seen last at the end.
#[derive(Debug, Default)]
pub(super) struct Fold {
    lying: VecDeque<(Tag, Duration)>,
}

impl Fold {
    /// Whether a tag that is seen at `now` has come, and does not only lie there still.
    pub(super) fn has_come(&mut self, tag: &Tag, now: Duration) -> bool {
        self.lying.retain(|(_, seen)| now.saturating_sub(*seen) <= LYING);
        let before = self.lying.len();
        self.lying.retain(|(lying, _)| lying != tag);
        let has_come = self.lying.len() == before;
        if self.lying.len() == AT_ONCE {
            self.lying.pop_front();
        }
        self.lying.push_back((tag.clone(), now));
        has_come
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tag(n: usize) -> Tag {
        Tag::new(&format!("04AA{n:04}")).unwrap()
    }

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn a_tag_that_lies_there_for_an_hour_is_one_scan() {
        let mut fold = Fold::default();
        let scans = (0..3_600_000).step_by(65).filter(|at| fold.has_come(&tag(1), ms(*at))).count();
        assert_eq!(scans, 1);
    }

    #[test]
    fn a_tag_that_was_taken_away_is_a_scan_again() {
        let mut fold = Fold::default();
        assert!(fold.has_come(&tag(1), ms(0)));
        assert!(!fold.has_come(&tag(1), ms(2_000)));
        assert!(!fold.has_come(&tag(1), ms(4_000)), "two seconds after the last sight, not after the first");
        assert!(fold.has_come(&tag(1), ms(6_001)));
    }

    #[test]
    fn tags_beside_each_other_are_a_scan_each() {
        let mut fold = Fold::default();
        assert!(fold.has_come(&tag(1), ms(0)) && fold.has_come(&tag(2), ms(10)));
        assert!(!fold.has_come(&tag(1), ms(200)) && !fold.has_come(&tag(2), ms(210)));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut fold = Fold::default();
        assert!((0..1_000).all(|n| fold.has_come(&tag(n), ms(0))));
        assert_eq!(fold.lying.len(), AT_ONCE);
        assert!(!fold.has_come(&tag(999), ms(0)));
    }
}
