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

impl ProductPrior {
    /// Whether it can be the prior of anything; else the JSON pointer of what is wrong, and why.
    pub fn check(&self) -> Result<(), (&'static str, &'static str)> {
        let LevelPrior { rate, rate_days, lasting, diffusion, reversion, wander, .. } = self.level;
        let GapPrior { mean, within, between, gamma, keep, variance_weight, .. } = self.gaps;
        let above_zero = [
            ("/level/rate", rate),
            ("/level/rate_days", rate_days),
            ("/level/diffusion", diffusion),
            ("/level/reversion", reversion),
            ("/gaps/within", within),
            ("/gaps/variance_weight", variance_weight),
        ];
        let not_below = [("/level/lasting", lasting), ("/level/wander", wander), ("/gaps/between", between)];
        let shares = [("/gaps/gamma", gamma), ("/gaps/keep", keep)];
        let wrong = |of: &[(&'static str, f32)], is_right: fn(f32) -> bool, why| {
            of.iter().find(|(_, value)| !is_right(*value)).map(|(pointer, _)| (*pointer, why))
        };
        let found = wrong(&above_zero, |value| value.is_finite() && value > 0.0, "a number above zero")
            .or(wrong(&not_below, |value| value.is_finite() && value >= 0.0, "a number not below zero"))
            .or(wrong(&shares, |value| (0.0..=1.0).contains(&value), "a share from 0 to 1"))
            .or(wrong(&[("/gaps/mean", mean)], |value| value.abs() <= 10.0, "the logarithm of days, -10 to 10"));
        found.map_or(Ok(()), Err)
    }
}

/// One version of what is known of all products.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Priors {
    /// Counts up with each fit; 0 is the built-in neutral one.
    pub version: u32,
    /// For a product that has no line of its own.
    pub pooled: ProductPrior,
    /// Products by name, and by name and region as [`of_region`] writes it.
    pub products: BTreeMap<String, ProductPrior>,
}

impl Priors {
    /// The prior of a product in a region; of the product everywhere where the region has none of its own, of all
    /// products where it has none at all.
    pub fn of(&self, product: &str, region: Option<&str>) -> &ProductPrior {
        self.own(product, region).unwrap_or(&self.pooled)
    }
    /// The prior that a product has of its own.
    pub fn own(&self, product: &str, region: Option<&str>) -> Option<&ProductPrior> {
        let regional = region.and_then(|region| self.products.get(&of_region(product, region)));
        regional.or_else(|| self.products.get(product))
    }
}

/// How a product in one region is named: a season and a use that are not those of the others.
pub fn of_region(product: &str, region: &str) -> String {
    format!("{product}@{region}")
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
