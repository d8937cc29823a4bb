//! The same nights under other thresholds: what is gained, and what it costs.

use super::ground::{Family, Rule};
use super::interval::{Figure, share};
use super::run::nights;
use super::scenario::{Part, SCENARIOS};
use super::tally::Tally;

/// The thresholds that are tried, in thousandths.
pub const THRESHOLDS: [u16; 9] = [500, 550, 600, 650, 700, 750, 800, 900, 1_000];

/// One point of the curve.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Point {
    /// The threshold in thousandths.
    pub threshold: u16,
    /// Of which rule.
    pub family: Family,
    /// Sleepers found in deep night.
    pub deep: Figure,
    /// Sleepers found in regular night.
    pub regular: Figure,
    /// Nights without a sleeper, with a false alert: all rows with tours together.
    pub nights_with: Figure,
    /// The same for the guard at a post without tours.
    pub post: Figure,
}

/// Which rows count on which axis.
fn axis(part: Part, key: &str) -> Option<usize> {
    match (part, key) {
        (Part::Sleepers, "sleep_deep") => Some(0),
        (Part::Sleepers, _) => Some(1),
        (Part::Honest | Part::Breaks | Part::Equipment, _) | (Part::Further, "careless") => Some(2),
        (Part::Further, "post_only") => Some(3),
        (Part::Further, _) => None,
    }
}

/// The curve of both rules over `count` nights of every row: the first nights of the study itself.
pub fn sweep(count: usize, seed: u64) -> Vec<Point> {
    let rules: Vec<Rule> = [Family::Ours, Family::Classic]
        .into_iter()
        .flat_map(|family| THRESHOLDS.map(|threshold| Rule::At(threshold, family)))
        .collect();
    let mut sums = vec![[(0, 0); 4]; rules.len()];
    for (row, scenario) in SCENARIOS.iter().enumerate() {
        let Some(axis) = axis(scenario.part, scenario.key) else { continue };
        for (rule, verdicts) in nights(scenario, row, count, seed, &rules).iter().enumerate() {
            let tally = Tally::of(verdicts);
            let (hits, of) =
                if axis < 2 { (tally.found, tally.sleepers) } else { (tally.nights_with, tally.nights) };
            sums[rule][axis].0 += hits;
            sums[rule][axis].1 += of;
        }
    }
    let point = |(rule, sums): (&Rule, &[(u64, u64); 4])| {
        let Rule::At(threshold, family) = *rule else { return None };
        let figure = |axis: usize| share(sums[axis].0, sums[axis].1);
        Some(Point {
            threshold,
            family,
            deep: figure(0)?,
            regular: figure(1)?,
            nights_with: figure(2)?,
            post: figure(3)?,
        })
    };
    rules.iter().zip(&sums).filter_map(point).collect()
}
