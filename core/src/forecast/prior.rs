//! What is known of products before anything is known of a slot: versioned data, fitted over the fleet.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::gaps::GapPrior;
use super::level::LevelPrior;

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
