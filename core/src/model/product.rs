use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::locale_chain;
use crate::id::{ModelId, PriceListId, ProductId, SellerId, SlotId};
use crate::money::Money;
use crate::time::Timestamp;

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
    /// Of which product it is a variant.
    #[serde(default)]
    pub variant_of: Option<ProductId>,
    /// What tells it from other variants, such as `color`: `white`.
    #[serde(default)]
    pub attributes: BTreeMap<String, String>,
    /// What it is, as far as that decides how it may be sold.
    #[serde(default)]
    pub category: Option<Category>,
    /// Other prices for some time; they do not overlap.
    #[serde(default)]
    pub prices: Vec<PriceWindow>,
    /// What is taken off for some time.
    #[serde(default)]
    pub promotions: Vec<Promotion>,
    /// What takes its place when it is gone.
    #[serde(default)]
    pub successor: Option<ProductId>,
    /// Who else sells it, and how.
    #[serde(default)]
    pub sellers: Vec<SellerOffer>,
    /// Its prices in named price lists, by list and beginning; those of one list do not overlap.
    #[serde(default)]
    pub listed: Vec<ListedPrice>,
}

/// A kind of goods, as far as it decides how they may be sold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Category {
    /// Its name, such as `medicine`.
    pub id: String,
    /// Never ordered without asking, whatever a mandate says.
    #[serde(default)]
    pub never_auto: bool,
    /// For grown-ups only: never ordered without asking, and confirmed in the strongest way that the device has.
    #[serde(default)]
    pub age_limited: bool,
    /// Whether it may show where everybody of the home looks. What may not is no offer on a device: its
    /// surfaces are everybody's.
    #[serde(default = "yes")]
    pub shared_ok: bool,
}

fn yes() -> bool {
    true
}

/// A price that holds for some time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PriceWindow {
    /// From when.
    pub from: Timestamp,
    /// Up to and without this instant; open where not said.
    pub until: Option<Timestamp>,
    /// Price of one.
    pub price: Money,
}

/// What a named price list says of a product for some time. It holds where no window of the product's own does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListedPrice {
    /// The list.
    pub list: PriceListId,
    /// From when, until when, and how much.
    pub window: PriceWindow,
}

/// Something taken off the price for some time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Promotion {
    /// From when.
    pub from: Timestamp,
    /// Up to and without this instant; open where not said.
    pub until: Option<Timestamp>,
    /// What is taken off.
    pub off: Reduction,
}

/// What a promotion takes off a piece.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reduction {
    /// Hundredths of a percent of its price.
    Percent(u32),
    /// So much.
    Amount(Money),
}

/// How one more seller sells a product.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SellerOffer {
    /// Who.
    pub seller: SellerId,
    /// The name that customers see; the id where not said.
    pub name: Option<String>,
    /// Price of one.
    pub price: Money,
    /// Price of the delivery.
    pub delivery: Money,
    /// How long it takes.
    pub lead_days: Option<LeadDays>,
    /// New, or not.
    pub condition: Condition,
}

/// In which condition goods are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Condition {
    /// Never used.
    New,
    /// Mended and tested.
    Refurbished,
    /// As the one before left it.
    Used,
}

impl Condition {
    /// The condition as written.
    pub fn as_str(self) -> &'static str {
        match self {
            Condition::New => "new",
            Condition::Refurbished => "refurbished",
            Condition::Used => "used",
        }
    }
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

/// Whether an instant lies between two, the second one outside.
fn holds(from: Timestamp, until: Option<Timestamp>, at: Timestamp) -> bool {
    from <= at && until.is_none_or(|until| at < until)
}

impl Product {
    /// A product with what nobody can do without: delivered for nothing, tax included, of no category.
    pub fn plain(id: ProductId, name: LocalisedText, price: Money, seller: impl Into<String>) -> Product {
        Product {
            id,
            name,
            gtin: None,
            price,
            delivery: Money { minor: 0, ..price },
            tax_incl: true,
            seller: seller.into(),
            withdraw_days: 14,
            fits: Vec::new(),
            lead_days: None,
            margin: None,
            variant_of: None,
            attributes: BTreeMap::new(),
            category: None,
            prices: Vec::new(),
            promotions: Vec::new(),
            successor: None,
            sellers: Vec::new(),
            listed: Vec::new(),
        }
    }
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
    /// Its price windows, the one before that holds before the one behind: its own, then those of lists by name.
    pub fn windows(&self) -> impl Iterator<Item = &PriceWindow> {
        self.prices.iter().chain(self.listed.iter().map(|listed| &listed.window))
    }
    /// What one costs at an instant before any promotion: its window's price, else its own.
    pub fn price_at(&self, at: Timestamp) -> Money {
        let window = self.windows().find(|window| holds(window.from, window.until, at));
        window.map_or(self.price, |window| window.price)
    }
    /// The promotions that hold at an instant.
    pub fn promotions_at(&self, at: Timestamp) -> impl Iterator<Item = &Promotion> {
        self.promotions.iter().filter(move |promotion| holds(promotion.from, promotion.until, at))
    }
    /// What one costs at an instant, with the promotion that takes off most: never two at once.
    pub fn piece_at(&self, at: Timestamp) -> Money {
        let price = self.price_at(at);
        let off = self.promotions_at(at).filter_map(|promotion| match promotion.off {
            Reduction::Percent(hundredths) => price.share(hundredths),
            Reduction::Amount(amount) => Some(amount).filter(|amount| amount.currency == price.currency),
        });
        let off = off.map(|off| off.minor).max().unwrap_or(0);
        Money { minor: price.minor.saturating_sub(off).max(0), ..price }
    }
    /// When what it costs may next be something else.
    pub fn next_price_change(&self, after: Timestamp) -> Option<Timestamp> {
        let windows = self.windows().flat_map(|window| [Some(window.from), window.until]);
        let promotions = self.promotions.iter().flat_map(|promotion| [Some(promotion.from), promotion.until]);
        windows.chain(promotions).flatten().filter(|at| *at > after).min()
    }
    /// Whether it may be ordered without asking.
    pub fn may_be_automatic(&self) -> bool {
        self.category.as_ref().is_none_or(|category| !category.never_auto && !category.age_limited)
    }
}

/// A place of a retailer where customers collect what they ordered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Store {
    /// The name that customers see.
    pub name: String,
    /// When it is open, in words for people.
    pub opening: Option<String>,
    /// The region that it is in: a time zone, as of the homes that it is near to.
    pub region: Option<String>,
    /// When goods of its stock are ready, in a word such as `today`.
    pub ready: Option<String>,
    /// How many hours what is ready waits for its buyer.
    pub hold_hours: u32,
    /// Whether it gives out orders at present.
    pub collects: bool,
}
