//! How far a figure can be trusted: 95 % intervals of shares, rates and quantiles.

use statrs::distribution::{Binomial, ChiSquared, ContinuousCDF, DiscreteCDF};

/// Half of what an interval of 95 % leaves out, and what lies below its upper end.
const TAILS: (f64, f64) = (0.025, 0.975);
/// The quantile of the normal distribution that belongs to it.
const Z: f64 = 1.959_963_984_540_054;

/// A figure with its interval.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Figure {
    /// The estimate.
    pub value: f64,
    /// The lower end of its interval.
    pub low: f64,
    /// The upper end.
    pub high: f64,
}

impl Figure {
    /// The same in another unit.
    #[must_use]
    pub fn times(self, factor: f64) -> Self {
        Self { value: self.value * factor, low: self.low * factor, high: self.high * factor }
    }
}

/// A share, by Wilson's score interval: it holds near 0 and 1 and with small samples, where the textbook one fails.
pub fn share(hits: u64, of: u64) -> Option<Figure> {
    if of == 0 {
        return None;
    }
    let (n, p) = (float(of), float(hits) / float(of));
    let scale = 1.0 + Z * Z / n;
    let middle = (p + Z * Z / (2.0 * n)) / scale;
    let half = Z / scale * (p * (1.0 - p) / n + Z * Z / (4.0 * n * n)).sqrt();
    Some(Figure { value: p, low: (middle - half).max(0.0), high: (middle + half).min(1.0) })
}

/// A rate, by the exact interval of a Poisson count (Garwood): events for each unit of `exposure`.
pub fn rate(events: u64, exposure: f64) -> Option<Figure> {
    if exposure <= 0.0 {
        return None;
    }
    let quantile = |freedom: f64, p: f64| ChiSquared::new(freedom).ok().map(|d| d.inverse_cdf(p) / 2.0);
    let low = if events == 0 { Some(0.0) } else { quantile(2.0 * float(events), TAILS.0) };
    let high = quantile(2.0 * float(events) + 2.0, TAILS.1);
    let figure = Figure { value: float(events), low: low?, high: high? };
    Some(figure.times(1.0 / exposure))
}

/// A quantile of a sorted sample, by order statistics: no shape of the distribution is assumed.
pub fn quantile(sorted: &[f64], q: f64) -> Option<Figure> {
    let n = u64::try_from(sorted.len()).ok().filter(|n| *n > 0)?;
    let below = Binomial::new(q, n).ok()?;
    // The value of rank k lies below the quantile if at least k values do.
    let first = (0..n).find(|k| below.cdf(*k) > TAILS.0).unwrap_or(0);
    let last = (0..n).find(|k| below.cdf(*k) >= TAILS.1).unwrap_or(n - 1);
    let at = |rank: u64| usize::try_from(rank).ok().and_then(|r| sorted.get(r)).copied();
    Some(Figure { value: at(rank_of(n, q))?, low: at(first.saturating_sub(1))?, high: at(last)? })
}

/// The rank, from 0, of a quantile: the smallest value that so many are not above.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of a count")]
fn rank_of(n: u64, q: f64) -> u64 {
    ((float(n) * q).ceil() as u64).clamp(1, n) - 1
}

/// A count as a float: those of a study are exact.
#[expect(clippy::cast_precision_loss, reason = "a study has fewer than 2^53 of anything")]
pub const fn float(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(found: f64, expected: f64) {
        assert!((found - expected).abs() < 5e-4, "{found} is not {expected}");
    }

    #[test]
    fn shares_have_the_published_wilson_intervals() {
        // Newcombe (1998), table I, method 3.
        for (hits, of, low, high) in [
            (81, 263, 0.2553, 0.3662),
            (15, 148, 0.0624, 0.1605),
            (0, 20, 0.0, 0.1611),
            (1, 29, 0.0061, 0.1718),
        ] {
            let figure = share(hits, of).unwrap();
            near(figure.low, low);
            near(figure.high, high);
        }
        let all = share(20, 20).unwrap();
        near(all.low, 1.0 - 0.1611);
        near(all.high, 1.0);
        assert_eq!(share(0, 0), None);
    }

    #[test]
    fn rates_have_the_published_exact_intervals() {
        // Garwood (1936), the usual table of 95 % limits of a Poisson count.
        for (events, low, high) in
            [(0, 0.0, 3.6889), (1, 0.0253, 5.5716), (5, 1.6235, 11.6683), (10, 4.7954, 18.3904)]
        {
            let figure = rate(events, 1.0).unwrap();
            near(figure.low, low);
            near(figure.high, high);
        }
        near(rate(10, 100.0).unwrap().value, 0.1);
        near(rate(10, 100.0).unwrap().high, 0.1839);
        assert_eq!(rate(3, 0.0), None);
    }

    #[test]
    fn quantiles_go_by_rank() {
        let sample: Vec<f64> = (1..=100).map(f64::from).collect();
        let median = quantile(&sample, 0.5).unwrap();
        // Ranks 40 and 61: the textbook interval of the median of 100.
        assert_eq!((median.value, median.low, median.high), (50.0, 40.0, 61.0));
        assert_eq!(quantile(&sample, 0.9).unwrap().value, 90.0);
        let one = quantile(&[7.0], 0.9).unwrap();
        assert_eq!((one.value, one.low, one.high), (7.0, 7.0, 7.0));
        assert_eq!(quantile(&[], 0.5), None);
    }
}
