//! Chance that is the same in every release: SplitMix64, so that a seed names a night for good.

/// A stream of pseudo-random numbers.
#[derive(Debug, Clone)]
pub struct Chance(u64);

impl Chance {
    /// One of many independent streams of a seed.
    pub fn of(seed: u64, stream: usize) -> Self {
        let mut chance = Self(seed ^ 0x5851_F42D_4C95_7F2D);
        let seed = chance.draw();
        Self(seed.wrapping_add((stream as u64).wrapping_mul(0xD134_2543_DE82_EF95)))
    }

    fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// Anything from 0 up to, not including, 1.
    #[expect(clippy::cast_precision_loss, reason = "53 bits fit a float exactly")]
    pub fn share(&mut self) -> f64 {
        (self.draw() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Anything between the two.
    pub fn between(&mut self, from: f64, to: f64) -> f64 {
        from + (to - from) * self.share()
    }

    /// True as often as that share says.
    pub fn happens(&mut self, share: f64) -> bool {
        self.share() < share
    }

    /// A draw from the normal distribution, mean 0 and deviation 1 (Box-Muller).
    pub fn normal(&mut self) -> f64 {
        let (radius, turn) =
            ((-2.0 * (1.0 - self.share()).ln()).sqrt(), std::f64::consts::TAU * self.share());
        radius * turn.cos()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_numbers_are_those_of_every_release() {
        let mut chance = Chance(1_234_567);
        let drawn: Vec<_> = (0..3).map(|_| chance.draw()).collect();
        assert_eq!(drawn, [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423]);
    }

    #[test]
    fn normal_draws_have_mean_0_and_deviation_1() {
        let mut chance = Chance::of(7, 0);
        let drawn: Vec<f64> = (0..10_000).map(|_| chance.normal()).collect();
        let mean = drawn.iter().sum::<f64>() / 10_000.0;
        let variance = drawn.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / 10_000.0;
        assert!(mean.abs() < 0.05 && (variance - 1.0).abs() < 0.05, "{mean} {variance}");
    }

    #[test]
    fn streams_differ() {
        assert_ne!(Chance::of(7, 0).draw(), Chance::of(7, 1).draw());
        assert_ne!(Chance::of(7, 0).draw(), Chance::of(8, 0).draw());
    }
}
