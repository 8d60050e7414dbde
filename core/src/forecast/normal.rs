//! The few functions of a real number that a forecast needs, the same to the last bit on every machine.
//!
//! The standard library leaves `exp` and `ln` to the platform, whose last bits differ; a replay on another
//! machine would then give another date. `libm` is plain arithmetic, which IEEE 754 fixes.

/// e to the power of x.
pub(super) fn exp(x: f64) -> f64 {
    libm::exp(x)
}

/// The natural logarithm.
pub(super) fn ln(x: f64) -> f64 {
    libm::log(x)
}

/// The share of a standard normal law at or below z.
pub fn below(z: f64) -> f64 {
    0.5 * libm::erfc(-z * std::f64::consts::FRAC_1_SQRT_2)
}

/// The farthest from the middle that [`quantile`] goes, in standard deviations: beyond it `below` is 0 or 1 to
/// the precision that a share of homes could ever have.
const Z_MAX: f64 = 7.0;

/// The z with that share of a standard normal law below it, clamped to ±7.
///
/// Abramowitz and Stegun 26.2.23 (error below 4.5e-4), then two steps of Newton's method with Halley's correction.
pub fn quantile(p: f64) -> f64 {
    if p.is_nan() || p <= below(-Z_MAX) {
        return -Z_MAX;
    }
    if p >= below(Z_MAX) {
        return Z_MAX;
    }
    let tail = p.min(1.0 - p);
    let t = (-2.0 * ln(tail)).sqrt();
    let top = 2.515517 + t * (0.802853 + t * 0.010328);
    let bottom = 1.0 + t * (1.432788 + t * (0.189269 + t * 0.001308));
    let upper = t - top / bottom;
    let mut z = if p < 0.5 { -upper } else { upper };
    for _ in 0..2 {
        let density = exp(-0.5 * z * z) * 0.398_942_280_401_432_7;
        let step = (below(z) - p) / density;
        z -= step / (1.0 + 0.5 * z * step);
    }
    z
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_quantile_undoes_the_share() {
        for n in 1..1000 {
            let p = n as f64 / 1000.0;
            assert!((below(quantile(p)) - p).abs() < 1e-12, "{p}");
        }
        assert!((quantile(0.9) - 1.281_551_565_544_600_4).abs() < 1e-12);
        assert!((quantile(0.001) + 3.090_232_306_167_813).abs() < 1e-9);
    }

    #[test]
    fn the_ends_are_finite_and_nothing_panics() {
        for p in [f64::NAN, f64::NEG_INFINITY, -1.0, 0.0, 1.0, 2.0, f64::INFINITY, 1e-300] {
            assert!(quantile(p).abs() <= Z_MAX, "{p}");
        }
    }
}
