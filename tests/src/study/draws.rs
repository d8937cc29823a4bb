//! More ways to draw from the simulator's chance.

use vigil_agent::simulate::Chance;

/// Independent streams of one night, so that a change of one model leaves the others' draws alone.
#[derive(Debug, Clone, Copy)]
pub enum Stream {
    /// What is to happen.
    Plan,
    /// What the guard does.
    Life,
    /// How positions err.
    Receiver,
    /// What the network does.
    Network,
    /// Which tasks come.
    Errands,
}

/// The stream of a night of a row. A row has fewer than 2^24 nights, a study fewer than 2^8 rows.
pub fn chance(seed: u64, row: usize, night: usize, stream: Stream) -> Chance {
    Chance::of(seed, (((row << 24) | night) << 3) | stream as usize)
}

/// Waiting time until an event that comes once in `mean`.
pub fn exponential(chance: &mut Chance, mean: f64) -> f64 {
    -mean * (1.0 - chance.share()).ln()
}

/// Around a median, with the deviation of its logarithm.
pub fn lognormal(chance: &mut Chance, median: f64, deviation: f64) -> f64 {
    median * (deviation * chance.normal()).exp()
}

/// Anything between the two, evenly on a logarithmic scale.
pub fn log_between(chance: &mut Chance, from: f64, to: f64) -> f64 {
    chance.between(from.ln(), to.ln()).exp()
}

/// One of some.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "a few choices"
)]
pub fn pick<T: Copy>(chance: &mut Chance, of: &[T]) -> T {
    of[((chance.share() * of.len() as f64) as usize).min(of.len() - 1)]
}

/// The events of a Poisson process in `[from, to)`.
pub fn events(chance: &mut Chance, from: f64, to: f64, mean_gap: f64) -> Vec<f64> {
    let mut found = vec![];
    let mut now = from + exponential(chance, mean_gap);
    while now < to {
        found.push(now);
        now += exponential(chance, mean_gap);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_come_as_often_as_they_should() {
        let mut chance = chance(1, 0, 0, Stream::Plan);
        let found = events(&mut chance, 0.0, 100_000.0, 10.0);
        assert!((9_700..10_300).contains(&found.len()), "{}", found.len());
        assert!(found.windows(2).all(|w| w[0] < w[1]));
        let middle: Vec<f64> = (0..1_001).map(|_| lognormal(&mut chance, 20.0, 0.5)).collect();
        let below = middle.iter().filter(|x| **x < 20.0).count();
        assert!((440..560).contains(&below), "{below}");
    }

    #[test]
    fn nights_and_streams_differ() {
        let first = |row, night, stream| chance(1, row, night, stream).share();
        let all = [
            first(0, 0, Stream::Plan),
            first(0, 1, Stream::Plan),
            first(1, 0, Stream::Plan),
            first(0, 0, Stream::Life),
        ];
        for (i, a) in all.iter().enumerate() {
            assert!(all[..i].iter().all(|b| (a - b).abs() > 1e-12));
        }
    }
}
