//! Randomness that a seed repeats: one stream per concern, so that one more draw in one of them
//! leaves the others as they were.

use hearthway_core::id::{base32, derive_bytes};

/// A stream of numbers that its seed and its name fix (SplitMix64).
#[derive(Debug, Clone)]
pub struct Stream {
    state: u64,
}

impl Stream {
    /// The stream of one concern, such as `["paris-2p", "th-1", "faults"]`, under a seed.
    pub fn of(seed: u64, concern: &[&str]) -> Stream {
        let seed = seed.to_be_bytes();
        let mut parts: Vec<&[u8]> = vec![&seed];
        parts.extend(concern.iter().map(|part| part.as_bytes()));
        let hash = derive_bytes("device-sim", &parts);
        let mut first = [0; 8];
        first.copy_from_slice(&hash[..8]);
        Stream { state: u64::from_be_bytes(first) }
    }

    /// The next 64 bits.
    pub fn draw(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number in 0..1.
    pub fn unit(&mut self) -> f64 {
        (self.draw() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// A number in `from..to`.
    pub fn between(&mut self, from: f64, to: f64) -> f64 {
        from + (to - from) * self.unit()
    }

    /// A whole number in `0..n`; 0 where `n` is 0.
    pub fn below(&mut self, n: u64) -> u64 {
        if n == 0 { 0 } else { self.draw() % n }
    }

    /// Whether something of this probability happens. Always draws once.
    pub fn happens(&mut self, probability: f64) -> bool {
        self.unit() < probability
    }

    /// A number between the two whose logarithm is uniform: short waits often, long ones at times.
    pub fn log_between(&mut self, from: f64, to: f64) -> f64 {
        (self.between(from.ln(), to.ln())).exp()
    }

    /// Noise around 0 with about this standard deviation.
    pub fn noise(&mut self, deviation: f64) -> f64 {
        // Twelve uniform draws have variance 1; no tails beyond 6, which suits a sensor.
        let sum: f64 = (0..12).map(|_| self.unit()).sum();
        (sum - 6.0) * deviation
    }

    /// How often something happens that is expected `mean` times (Poisson, by Knuth).
    pub fn count(&mut self, mean: f64) -> u32 {
        let floor = (-mean.clamp(0.0, 60.0)).exp();
        let mut product = self.unit();
        let mut n = 0;
        while product > floor {
            product *= self.unit();
            n += 1;
        }
        n
    }

    /// A word of 26 letters and digits, for nonces.
    pub fn word(&mut self) -> String {
        let (a, b) = (self.draw().to_be_bytes(), self.draw().to_be_bytes());
        base32(&[a, b].concat())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_repeats_under_its_seed_and_differs_under_another() {
        let draw = |seed, concern: &[&str]| {
            let mut stream = Stream::of(seed, concern);
            (0..8).map(|_| stream.draw()).collect::<Vec<_>>()
        };
        assert_eq!(draw(7, &["a", "b"]), draw(7, &["a", "b"]));
        assert_ne!(draw(7, &["a", "b"]), draw(8, &["a", "b"]));
        assert_ne!(draw(7, &["a", "b"]), draw(7, &["ab"]));
    }

    #[test]
    fn counts_have_the_mean_that_was_asked_for() {
        let mut stream = Stream::of(1, &["count"]);
        let mean = (0..4_000).map(|_| f64::from(stream.count(4.5))).sum::<f64>() / 4_000.0;
        assert!((mean - 4.5).abs() < 0.15, "{mean}");
        assert_eq!(stream.count(0.0), 0);
    }
}
