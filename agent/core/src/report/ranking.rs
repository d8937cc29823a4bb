//! Who walks what was asked: by rate, and never by count; with how much there was to go by beside it.

use super::figures::Figures;
use super::tally::Tally;
use crate::id::GuardId;
use std::cmp::{Ordering, Reverse};

/// One place: a guard's on a gateway, a site's or a guard's at an operations centre.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing<W = GuardId> {
    /// From 1; equal rates share a place. `None` for whoever had no run.
    pub place: Option<usize>,
    /// Who.
    pub who: W,
    /// Closed runs.
    pub runs: u64,
    /// Of these: compliant.
    pub compliant: u64,
    /// Of these: nothing was scanned.
    pub missed: u64,
    /// Of these: it could be observed whether they were walked.
    pub runs_observed: u64,
    /// Time on duty.
    pub on_duty_ms: u64,
    /// Of this: with a handset that could be heard.
    pub observed_ms: u64,
}

impl<W> Standing<W> {
    fn of(who: W, figures: &Figures) -> Self {
        Self {
            place: None,
            who,
            runs: figures.runs.closed,
            compliant: figures.runs.compliant,
            missed: figures.runs.missed,
            runs_observed: figures.runs.observed,
            on_duty_ms: figures.duty.on_duty_ms,
            observed_ms: figures.duty.observed_ms,
        }
    }

    /// The higher rate is the greater: compared as fractions, so that no rounding makes two equal.
    fn by_rate(&self, other: &Self) -> Ordering {
        let product = |part: u64, whole: u64| u128::from(part) * u128::from(whole);
        product(self.compliant, other.runs).cmp(&product(other.compliant, self.runs))
    }
}

/// Every guard of a tally, the best first.
pub fn ranking(tally: &Tally) -> Vec<Standing> {
    rank(tally.guards.iter().map(|(guard, figures)| (guard.clone(), figures)))
}

/// All of them, the best first; of equals those of whom there is more to go by. Whoever had no run comes last.
pub fn rank<'a, W>(all: impl IntoIterator<Item = (W, &'a Figures)>) -> Vec<Standing<W>> {
    let standings = all.into_iter().map(|(who, figures)| Standing::of(who, figures));
    let (mut ranked, idle): (Vec<_>, Vec<_>) = standings.partition(|s| s.runs > 0);
    ranked.sort_by(|a, b| b.by_rate(a).then_with(|| Reverse(a.runs).cmp(&Reverse(b.runs))));
    let mut place = 1;
    for i in 0..ranked.len() {
        let (before, rest) = ranked.split_at_mut(i);
        let Some(this) = rest.first_mut() else { break };
        if before.last().is_some_and(|last| last.by_rate(this) != Ordering::Equal) {
            place = i + 1;
        }
        this.place = Some(place);
    }
    ranked.extend(idle);
    ranked
}

/// The same with the worst first; whoever had no run still comes last.
pub fn worst_first<W>(mut ranking: Vec<Standing<W>>) -> Vec<Standing<W>> {
    ranking.sort_by_key(|s| (s.place.is_none(), Reverse(s.place)));
    ranking
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn tally(guards: &[(u64, u64)]) -> Tally {
        let mut tally = Tally::default();
        for (n, (compliant, closed)) in guards.iter().enumerate() {
            let figures = tally.guards.entry(GuardId::new(&format!("G-{n}")).unwrap()).or_default();
            (figures.runs.compliant, figures.runs.closed) = (*compliant, *closed);
        }
        tally
    }

    fn places(standings: &[Standing]) -> Vec<(&str, Option<usize>)> {
        standings.iter().map(|s| (s.who.as_str(), s.place)).collect()
    }

    #[test]
    fn the_rate_counts_and_not_the_number() {
        // 3 of 4 are more than 60 of 100; a hundred of a hundred stand before one of one, and share its place.
        let all = ranking(&tally(&[(60, 100), (3, 4), (0, 0), (1, 1), (100, 100), (0, 2)]));
        let best = [("G-4", Some(1)), ("G-3", Some(1)), ("G-1", Some(3)), ("G-0", Some(4)), ("G-5", Some(5))];
        assert_eq!(places(&all), [&best[..], &[("G-2", None)]].concat());
        let worst =
            [("G-5", Some(5)), ("G-0", Some(4)), ("G-1", Some(3)), ("G-4", Some(1)), ("G-3", Some(1))];
        assert_eq!(places(&worst_first(all)), [&worst[..], &[("G-2", None)]].concat());
    }

    #[test]
    fn rates_that_a_rounding_would_make_equal_are_told_apart() {
        let all = ranking(&tally(&[(999_998, 999_999), (999_999, 1_000_000)]));
        assert_eq!(places(&all), [("G-1", Some(1)), ("G-0", Some(2))]);
    }

    proptest! {
        #[test]
        fn nobody_stands_before_a_higher_rate(guards in prop::collection::vec((0_u64..20, 0_u64..20), 0..12)) {
            let guards: Vec<_> = guards.iter().map(|(a, b)| (*a.min(b), *b)).collect();
            let all = ranking(&tally(&guards));
            prop_assert_eq!(all.len(), guards.len());
            for pair in all.windows(2) {
                let (a, b) = (&pair[0], &pair[1]);
                prop_assert!(a.runs > 0 || b.runs == 0);
                if b.runs > 0 {
                    prop_assert!(a.compliant * b.runs >= b.compliant * a.runs);
                    prop_assert!(a.place <= b.place);
                }
            }
        }
    }
}
