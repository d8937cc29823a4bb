//! Figures of several rounds. One round proves nothing on a machine that does other things as well.

use std::fmt;

/// One figure, as the rounds gave it.
#[derive(Debug, Clone, Default)]
pub struct Figure(Vec<f64>);

impl Figure {
    /// Adds a round.
    pub fn push(&mut self, value: f64) {
        self.0.push(value);
    }

    /// The middle one; 0 without rounds.
    pub fn median(&self) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        let middle = sorted.len() / 2;
        match (sorted.get(middle), sorted.len() % 2) {
            (Some(high), 0) => {
                sorted.get(middle.wrapping_sub(1)).map_or(*high, |low| f64::midpoint(*low, *high))
            }
            (Some(high), _) => *high,
            (None, _) => 0.0,
        }
    }

    /// The smallest one.
    pub fn min(&self) -> f64 {
        self.0.iter().copied().fold(f64::INFINITY, f64::min)
    }

    /// The largest one.
    pub fn max(&self) -> f64 {
        self.0.iter().copied().fold(f64::NEG_INFINITY, f64::max)
    }

    /// Round by round, this one as a multiple of the other.
    #[must_use]
    pub fn ratio(&self, other: &Self) -> Self {
        Self(self.0.iter().zip(&other.0).map(|(a, b)| a / b).collect())
    }
}

/// The median with the least and the greatest: `12,300 (11,900-12,500)`.
impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = format!("{} ({}-{})", short(self.median()), short(self.min()), short(self.max()));
        f.pad(&text)
    }
}

/// Three significant digits, with thousands set apart.
pub fn short(value: f64) -> String {
    let digits = if value.abs() >= 100.0 {
        0
    } else if value.abs() >= 10.0 {
        1
    } else {
        2
    };
    let text = format!("{value:.digits$}");
    let (whole, rest) = text.split_once('.').map_or((text.as_str(), ""), |(w, _)| (w, &text[w.len()..]));
    let mut grouped = String::new();
    for (i, c) in whole.chars().enumerate() {
        if i > 0 && (whole.len() - i).is_multiple_of(3) && !grouped.ends_with('-') {
            grouped.push(',');
        }
        grouped.push(c);
    }
    grouped + rest
}

/// Percentiles of a sample, each found by rank.
pub fn percentile(sorted: &[f64], percent: usize) -> f64 {
    let rank = (sorted.len() * percent).div_ceil(100).max(1) - 1;
    sorted.get(rank.min(sorted.len().saturating_sub(1))).copied().unwrap_or(0.0)
}

/// A table for `docs/performance.md`.
#[derive(Debug)]
pub struct Table {
    head: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// With these columns.
    pub fn new(head: &[&str]) -> Self {
        Self { head: head.iter().map(|h| (*h).to_owned()).collect(), rows: vec![] }
    }

    /// Adds a row.
    pub fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "| {} |", self.head.join(" | "))?;
        writeln!(f, "|{}", " --- |".repeat(self.head.len()))?;
        self.rows.iter().try_for_each(|cells| writeln!(f, "| {} |", cells.join(" | ")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_read_at_a_glance() {
        let texts = [
            (0.0, "0.00"),
            (9.876, "9.88"),
            (98.76, "98.8"),
            (987.6, "988"),
            (1_234_567.8, "1,234,568"),
            (-123.0, "-123"),
        ];
        for (value, text) in texts {
            assert_eq!(short(value), text);
        }
    }

    #[test]
    fn the_median_is_the_middle_and_ratios_are_of_one_round() {
        let figure = |values: &[f64]| Figure(values.to_vec());
        assert_eq!(figure(&[3.0, 1.0, 2.0]).to_string(), "2.00 (1.00-3.00)");
        assert!((figure(&[4.0, 1.0]).median() - 2.5).abs() < 1e-9);
        let ratio = figure(&[10.0, 40.0]).ratio(&figure(&[5.0, 10.0]));
        assert_eq!((ratio.min(), ratio.max()), (2.0, 4.0));
    }

    #[test]
    fn percentiles_go_by_rank() {
        let sample: Vec<f64> = (1..=200).map(f64::from).collect();
        assert_eq!(
            (percentile(&sample, 50), percentile(&sample, 99), percentile(&[], 99)),
            (100.0, 198.0, 0.0)
        );
    }
}
