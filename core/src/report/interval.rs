//! How sure a difference of two shares is.

use serde::{Deserialize, Serialize};

/// The quantile of the normal distribution that leaves 2.5 % on either side.
const Z: f64 = 1.959_963_984_540_054;

/// So many of so many.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Share {
    /// How many did.
    pub of: u64,
    /// Of how many.
    pub all: u64,
}

impl Share {
    /// The share itself; none of nobody.
    pub fn rate(self) -> Option<f64> {
        (self.all > 0).then(|| self.of as f64 / self.all as f64)
    }

    /// Wilson's score interval with 95 %: the ends at which the share would just not be surprising
    /// (E. B. Wilson, 1927). Unlike the share plus or minus its deviation it stays between 0 and 1
    /// and has a width also where nobody did, or everybody.
    fn wilson(self) -> Option<(f64, f64)> {
        let (p, n) = (self.rate()?, self.all as f64);
        let middle = 2.0 * n * p + Z * Z;
        let reach = Z * (Z * Z + 4.0 * n * p * (1.0 - p)).sqrt();
        let below = 2.0 * (n + Z * Z);
        // At the ends the exact value is 0 or 1, which rounding misses by a hair.
        let low = if self.of == 0 { 0.0 } else { (middle - reach) / below };
        let high = if self.of == self.all { 1.0 } else { (middle + reach) / below };
        Some((low, high))
    }
}

/// A difference of two shares, and between which values it lies with 95 %.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// The difference as counted.
    pub difference: f64,
    /// The lower end.
    pub low: f64,
    /// The upper end.
    pub high: f64,
}

/// The difference of two independent shares, the first less the second, with its 95 % interval by
/// Newcombe's hybrid score method: method 10 of R. G. Newcombe, "Interval estimation for the
/// difference between independent proportions: comparison of eleven methods", Statistics in
/// Medicine 17 (1998), 873–890. With the Wilson intervals `l₁ u₁` and `l₂ u₂` of the two shares:
///
/// ```text
/// low  = d − √((p₁ − l₁)² + (u₂ − p₂)²)
/// high = d + √((u₁ − p₁)² + (p₂ − l₂)²)
/// ```
///
/// It holds what it promises also where groups are small or the shares near 0, which is where
/// control groups and offers are. None where one of the groups is empty.
pub fn difference(first: Share, second: Share) -> Option<Interval> {
    let (p1, p2) = (first.rate()?, second.rate()?);
    let ((l1, u1), (l2, u2)) = (first.wilson()?, second.wilson()?);
    let difference = p1 - p2;
    Some(Interval {
        difference,
        low: difference - (p1 - l1).hypot(u2 - p2),
        high: difference + (u1 - p1).hypot(p2 - l2),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn share(of: u64, all: u64) -> Share {
        Share { of, all }
    }

    #[test]
    fn the_intervals_are_those_of_newcombes_table_ii() {
        // The eight comparisons (a) to (h) of the paper, method 10, to four places.
        for (first, second, low, high) in [
            ((56, 70), (48, 80), 0.0524, 0.3339),
            ((9, 10), (3, 10), 0.1705, 0.8090),
            ((6, 7), (2, 7), 0.0582, 0.8062),
            ((5, 56), (0, 29), -0.0381, 0.1926),
            ((0, 10), (0, 20), -0.1611, 0.2775),
            ((0, 10), (0, 10), -0.2775, 0.2775),
            ((10, 10), (0, 20), 0.6791, 1.0),
            ((10, 10), (0, 10), 0.6075, 1.0),
        ] {
            let found = difference(share(first.0, first.1), share(second.0, second.1)).unwrap();
            let near = |is: f64, wanted: f64| (is - wanted).abs() < 0.000_05;
            assert!(near(found.low, low) && near(found.high, high), "{first:?} {second:?}: {found:?}");
        }
    }

    #[test]
    fn of_nobody_nothing_is_known() {
        assert_eq!(difference(share(0, 0), share(1, 2)), None);
        assert_eq!(difference(share(1, 2), share(0, 0)), None);
    }

    proptest::proptest! {
        #[test]
        fn the_interval_holds_the_difference_and_stays_in_bounds(
            a in 0_u64..500, more in 1_u64..500, b in 0_u64..500, other in 1_u64..500,
        ) {
            let found = difference(share(a, a + more), share(b, b + other)).unwrap();
            proptest::prop_assert!(found.low <= found.difference && found.difference <= found.high);
            proptest::prop_assert!(found.low >= -1.0 - 1e-9 && found.high <= 1.0 + 1e-9);
            let turned = difference(share(b, b + other), share(a, a + more)).unwrap();
            proptest::prop_assert!((turned.low + found.high).abs() < 1e-12, "turned round it is the same");
        }
    }
}
