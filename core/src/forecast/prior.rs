//! What is known of products before anything is known of a slot: versioned data, fitted over the fleet.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::curve::Curve;
use super::gaps::GapPrior;

/// What is known of one product.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct ProductPrior {
    /// Of its purchases or refills.
    pub gaps: GapPrior,
    /// Of its levels and counters.
    pub level: LevelPrior,
}

/// One version of what is known of all products.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Priors {
    /// Counts up with each fit; 0 is the built-in neutral one.
    pub version: u32,
    /// For a product that has no line of its own.
    pub pooled: ProductPrior,
    /// Products by name.
    pub products: BTreeMap<String, ProductPrior>,
}

impl Priors {
    /// The prior of a product; of all products where it has none.
    pub fn of(&self, product: &str) -> &ProductPrior {
        self.products.get(product).unwrap_or(&self.pooled)
    }
}

/// What is known of the levels of a product before anything is known of a slot.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct LevelPrior {
    /// Use of a usual slot, in points a day.
    pub rate: f32,
    /// How many days of own use the prior of the rate is worth.
    pub rate_days: f32,
    /// Variance of a usual day's use that does not show within weeks, over the square of the mean: what a slot's own
    /// few days cannot tell of its usual rate.
    pub lasting: f32,
    /// Variance of a day's use over the square of its mean.
    pub diffusion: f32,
    /// How fast a rate goes back to the slot's mean, a day.
    pub reversion: f32,
    /// How much a rate wanders in a day: its variance over the square of the mean.
    pub wander: f32,
    /// Whether weekdays are told apart.
    pub weekdays: bool,
    /// Measured errors.
    pub curve: Curve,
}

impl Default for LevelPrior {
    /// A neutral product: 40 days, learned within weeks.
    fn default() -> LevelPrior {
        LevelPrior {
            rate: 2.5,
            rate_days: 6.0,
            lasting: 1.0,
            diffusion: 0.8,
            reversion: 0.02,
            wander: 0.002,
            weekdays: true,
            curve: Curve::default(),
        }
    }
}
