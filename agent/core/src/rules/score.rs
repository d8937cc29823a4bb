//! The score of stillness in integer thousandths (rules, section 3).

use crate::alert::Severity;
use crate::evidence::SignalState;
use crate::policy::{DeepNight, Expectation, Inactivity};

/// The weights that an evaluation uses, and the score that they give.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Score {
    /// In thousandths, after the deep-night factor.
    pub score: u16,
    /// What each signal weighed; 0 where it did not count.
    pub weights: [u16; 4],
}

/// Scores four signals, in the order phone, movement, tasks, tours. `None`: too little evidence for a verdict.
pub fn score(policy: &Inactivity, states: [SignalState; 4], deep_night: bool) -> Option<Score> {
    let by_weights = deep_night && policy.deep_night == DeepNight::Weights;
    let weights = if by_weights { policy.deep_night_weights } else { policy.weights }.in_order();
    let always = policy.expectation == Expectation::Always;
    let counts = states.map(|s| always || s != SignalState::Unobserved);
    let inactive = states.map(|s| s == SignalState::Inactive || (always && s == SignalState::Unobserved));
    let sum: u32 = weights.iter().zip(counts).filter(|(_, c)| *c).map(|(w, _)| w).sum();
    if sum == 0 || sum < u32::from(policy.min_evidence.get()) {
        return None;
    }
    let rescaled = if always && by_weights { weights } else { rescale(weights, counts, sum) };
    let total: u32 = rescaled.iter().zip(inactive).filter(|(_, i)| *i).map(|(w, _)| w).sum();
    let factored = if deep_night { total * 12 / 10 } else { total };
    let narrow = |n: u32| u16::try_from(n.min(1_000)).unwrap_or(1_000);
    Some(Score { score: narrow(factored), weights: rescaled.map(narrow) })
}

/// Brings the weights that count to a sum of 1000; the first largest takes the rest.
fn rescale(weights: [u32; 4], counts: [bool; 4], sum: u32) -> [u32; 4] {
    let mut scaled = [0; 4];
    let mut largest = None;
    for (i, (w, counts)) in weights.into_iter().zip(counts).enumerate() {
        if counts {
            scaled[i] = (1_000 * w + sum / 2) / sum;
            largest = largest.filter(|l: &usize| weights[*l] >= w).or(Some(i));
        }
    }
    if let Some(i) = largest {
        let others: u32 = scaled.iter().sum::<u32>() - scaled[i];
        scaled[i] = 1_000_u32.saturating_sub(others);
    }
    scaled
}

/// The severity of a score.
pub const fn severity(score: u16) -> Severity {
    match score {
        900.. => Severity::Critical,
        800..900 => Severity::High,
        600..800 => Severity::Medium,
        _ => Severity::Low,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use SignalState::{Active, Inactive, Unobserved};
    use proptest::prelude::*;

    fn of(states: [SignalState; 4], deep_night: bool) -> Option<u16> {
        score(&Inactivity::default(), states, deep_night).map(|s| s.score)
    }

    #[test]
    fn the_edges_of_the_rules() {
        let table = [
            ([Inactive, Inactive, Inactive, Inactive], false, Some(1_000)),
            ([Inactive, Inactive, Inactive, Active], false, Some(750)),
            // 750 x 1.2 is exactly 900.
            ([Inactive, Inactive, Inactive, Active], true, Some(900)),
            // Two signals of 200 and 300 are just enough evidence.
            ([Inactive, Inactive, Unobserved, Unobserved], false, Some(1_000)),
            ([Active, Inactive, Unobserved, Unobserved], false, Some(600)),
            ([Unobserved, Inactive, Unobserved, Unobserved], false, None),
            ([Inactive, Unobserved, Inactive, Unobserved], false, None),
            ([Unobserved, Unobserved, Inactive, Inactive], false, Some(1_000)),
            ([Unobserved; 4], false, None),
            ([Active; 4], true, Some(0)),
        ];
        for (states, deep, expected) in table {
            assert_eq!(of(states, deep), expected, "{states:?} {deep}");
        }
    }

    #[test]
    fn the_first_largest_takes_the_rest() {
        // 200, 300 and 250 of 750: 267, 400, 333.
        let s = score(&Inactivity::default(), [Inactive, Inactive, Inactive, Unobserved], false).unwrap();
        assert_eq!(s.weights, [267, 400, 333, 0]);
        // 300, 250 and 250 of 800 are rounded to 375, 313 and 313: one too many.
        let s = score(&Inactivity::default(), [Unobserved, Inactive, Inactive, Inactive], false).unwrap();
        assert_eq!(s.weights, [0, 374, 313, 313]);
        let mut even = Inactivity::default();
        (even.weights.phone, even.weights.tasks) = (even.weights.movement, even.weights.movement);
        let s = score(&even, [Inactive, Inactive, Inactive, Unobserved], false).unwrap();
        assert_eq!(s.weights, [334, 333, 333, 0]);
    }

    #[test]
    fn the_classic_sum_counts_what_nobody_saw() {
        let classic = Inactivity { expectation: Expectation::Always, ..Inactivity::default() };
        let s = score(&classic, [Inactive, Unobserved, Active, Unobserved], false).unwrap();
        assert_eq!(s.score, 750);
        let weighted = Inactivity { deep_night: DeepNight::Weights, ..classic };
        let s = score(&weighted, [Inactive, Unobserved, Active, Active], true).unwrap();
        assert_eq!(s.score, 840, "(300 + 400) x 1.2, not rescaled");
    }

    #[test]
    fn severities_begin_where_they_say() {
        let bounds = [(599, Severity::Low), (600, Severity::Medium), (799, Severity::Medium)];
        let upper = [(800, Severity::High), (899, Severity::High), (900, Severity::Critical)];
        for (s, expected) in bounds.into_iter().chain(upper) {
            assert_eq!(severity(s), expected);
        }
    }

    fn states() -> impl Strategy<Value = [SignalState; 4]> {
        prop::array::uniform4(prop_oneof![Just(Active), Just(Inactive), Just(Unobserved)])
    }

    proptest! {
        #[test]
        fn weights_sum_to_a_thousand(states in states(), deep in any::<bool>()) {
            if let Some(s) = score(&Inactivity::default(), states, deep) {
                prop_assert_eq!(s.weights.iter().map(|w| u32::from(*w)).sum::<u32>(), 1_000);
            }
        }

        #[test]
        fn one_signal_more_that_is_missing_never_lowers_the_score(states in states(), which in 0_usize..4, deep in any::<bool>()) {
            let mut worse = states;
            worse[which] = Inactive;
            let mut better = states;
            better[which] = Active;
            if let (Some(w), Some(b)) = (of(worse, deep), of(better, deep)) {
                prop_assert!(w >= b);
            }
        }
    }
}
