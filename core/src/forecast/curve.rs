//! How far the truth lies from what a law expects, in the law's own standard deviations: measured, not assumed.

use serde::{Deserialize, Serialize};

use super::normal;

/// The shares at which a curve is measured. The outer two are as far as a few hundred cycles can tell.
pub const SHARES: [f64; 7] = [0.02, 0.1, 0.25, 0.5, 0.75, 0.9, 0.98];

/// The same shares of a standard normal law, and of one that nothing was measured about.
const NORMAL: [f64; 7] = [
    -2.053748910631823,
    -1.2815515655446004,
    -0.6744897501960817,
    0.0,
    0.6744897501960817,
    1.2815515655446004,
    2.053748910631823,
];

/// The least distance between two points, so that every share has its own moment.
const STEP_MIN: f32 = 0.01;

/// Empirical quantiles of standardised errors, joined by straight lines on normal paper and continued beyond
/// the ends with the slope of the last piece.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Curve(pub [f32; 7]);

impl Default for Curve {
    /// A law that is taken at its word.
    fn default() -> Curve {
        Curve(NORMAL.map(|z| z as f32))
    }
}

impl Curve {
    /// Makes the points rise; anything that is no number becomes the normal law's.
    pub fn rising(points: [f64; 7]) -> Curve {
        let mut curve = Curve::default();
        let mut last = f32::NEG_INFINITY;
        for (kept, point) in curve.0.iter_mut().zip(points) {
            if point.is_finite() {
                *kept = point.clamp(-20.0, 20.0) as f32;
            }
            *kept = kept.max(last + STEP_MIN);
            last = *kept;
        }
        curve
    }

    /// A part of this curve and the rest of another: for a curve that few errors were measured for.
    pub fn mixed(&self, other: &Curve, part: f32) -> Curve {
        let mut mixed = *self;
        for (own, other) in mixed.0.iter_mut().zip(other.0) {
            *own = part * *own + (1.0 - part) * other;
        }
        mixed
    }

    /// How many standard deviations from the middle the truth is with that probability at most.
    pub fn z(&self, p: f64) -> f64 {
        // The usual questions are points of the curve.
        if let Some(n) = SHARES.iter().position(|share| *share == p) {
            return f64::from(self.0[n]);
        }
        let g = normal::quantile(p);
        let n = NORMAL[1..6].iter().take_while(|knot| **knot < g).count();
        let (g0, g1) = (NORMAL[n], NORMAL[n + 1]);
        let (z0, z1) = (f64::from(self.0[n]), f64::from(self.0[n + 1]));
        z0 + (z1 - z0) * (g - g0) / (g1 - g0)
    }

    /// The probability that the truth is at most so many standard deviations from the middle: [`Curve::z`] undone.
    pub fn share(&self, z: f64) -> f64 {
        let n = self.0[1..6].iter().take_while(|knot| f64::from(**knot) < z).count();
        let (g0, g1) = (NORMAL[n], NORMAL[n + 1]);
        let (z0, z1) = (f64::from(self.0[n]), f64::from(self.0[n + 1]));
        normal::below(g0 + (g1 - g0) * (z - z0) / (z1 - z0).max(f64::from(STEP_MIN) / 2.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn share_undoes_z_and_both_rise() {
        let curve = Curve::rising([-3.0, -1.5, -0.9, 0.1, 0.4, 1.0, 3.5]);
        let mut last = f64::NEG_INFINITY;
        for n in 1..1000 {
            let p = n as f64 / 1000.0;
            let z = curve.z(p);
            assert!(z > last, "{p}");
            assert!((curve.share(z) - p).abs() < 1e-6, "{p} {z} {}", curve.share(z));
            last = z;
        }
        assert!((curve.z(0.9) - 1.0).abs() < 1e-6);
    }

    #[test]
    fn points_that_fall_or_are_no_numbers_still_make_a_curve() {
        let curve = Curve::rising([5.0, f64::NAN, f64::INFINITY, -9.0, 0.0, 0.0, f64::NEG_INFINITY]);
        assert!(curve.0.windows(2).all(|two| two[0] < two[1]), "{curve:?}");
    }
}
