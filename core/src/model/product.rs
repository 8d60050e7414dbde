use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::locale_chain;
use crate::id::{ModelId, ProductId, SlotId};
use crate::money::Money;

/// A text by language.
pub type LocalisedText = BTreeMap<String, String>;

/// A device model's slot that a product fits.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fit {
    /// The device model.
    pub model: ModelId,
    /// Its slot.
    pub slot: SlotId,
}

/// A sellable article of one retailer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Product {
    /// The retailer's article number.
    pub id: ProductId,
    /// Its name by language.
    pub name: LocalisedText,
    /// The world's number, where it has one.
    pub gtin: Option<String>,
    /// Price of one.
    pub price: Money,
    /// Price of the delivery.
    pub delivery: Money,
    /// Whether the prices include tax.
    pub tax_incl: bool,
    /// Who sells it.
    pub seller: String,
    /// Days in which a customer may withdraw from the purchase.
    pub withdraw_days: u32,
    /// The slots it fits.
    pub fits: Vec<Fit>,
    /// Days from an order to its arrival; 3 where not said.
    #[serde(default)]
    pub lead_days: Option<LeadDays>,
    /// What the retailer earns on one: what ranking weighs offers of one priority by.
    #[serde(default)]
    pub margin: Option<Money>,
}

/// How many days a delivery takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LeadDays {
    /// At most so many in one of ten deliveries.
    pub p10: u16,
    /// In one of two.
    pub p50: u16,
    /// In nine of ten.
    pub p90: u16,
}

impl Product {
    /// The name in the nearest language, else in any.
    pub fn name_in(&self, locale: &str) -> &str {
        locale_chain(locale)
            .find_map(|tag| self.name.get(tag))
            .or_else(|| self.name.values().next())
            .map_or(self.id.as_str(), String::as_str)
    }
    /// Whether it fits a slot of a model.
    pub fn fits(&self, model: &ModelId, slot: &SlotId) -> bool {
        self.fits.iter().any(|fit| fit.model == *model && fit.slot == *slot)
    }
}
