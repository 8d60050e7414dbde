//! A product as JSON: as clients write it, and as it is shown.

use std::collections::BTreeMap;
use std::sync::Arc;

use hearthway_core::id::{ProductId, RetailerId};
use hearthway_core::model::{
    Category, Fit, LeadDays, LocalisedText, PriceWindow, Product, Promotion, Reduction, SellerOffer,
};
use hearthway_core::money::Money;
use hearthway_core::time::Timestamp;
use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};

use super::super::Failure;
use super::check::{check, check_size};
use super::csv::Head;

/// A product as clients write it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProductBody {
    /// May be repeated from the path; a line of an import needs it.
    pub id: Option<ProductId>,
    name: LocalisedText,
    gtin: Option<String>,
    price: Money,
    delivery: Option<Money>,
    #[serde(default = "yes")]
    tax_incl: bool,
    seller: Option<String>,
    #[serde(default = "legal_withdraw_days")]
    withdraw_days: u32,
    #[serde(default)]
    fits: Vec<Fit>,
    lead_days: Option<LeadDays>,
    /// What the shop earns on one, without tax and in the currency of the price.
    margin: Option<Money>,
    variant_of: Option<ProductId>,
    #[serde(default)]
    attributes: BTreeMap<String, String>,
    category: Option<Category>,
    prices: Option<Vec<WindowBody>>,
    promotions: Option<Vec<PromotionBody>>,
    successor: Option<ProductId>,
    /// Shown with a product, and told by itself: what is written here is not looked at, so that what was
    /// read can be written back.
    #[serde(default, rename = "sellers")]
    _sellers: serde::de::IgnoredAny,
    /// The same of its prices in lists.
    #[serde(default, rename = "lists")]
    _lists: serde::de::IgnoredAny,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct WindowBody {
    from: Instant,
    until: Option<Instant>,
    price: Money,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct PromotionBody {
    from: Instant,
    until: Option<Instant>,
    percent: Option<f64>,
    amount: Option<Money>,
}

/// An instant as RFC 3339 has it.
#[derive(Debug, Clone, Copy)]
pub struct Instant(pub Timestamp);

impl<'de> Deserialize<'de> for Instant {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Instant, D::Error> {
        let text = String::deserialize(from)?;
        Timestamp::parse_rfc3339(&text).map(Instant).ok_or_else(|| {
            serde::de::Error::custom("write an instant as RFC 3339 has it, such as 2026-12-01T08:00:00Z")
        })
    }
}

/// Prices for people include tax.
fn yes() -> bool {
    true
}

/// The right of withdrawal of European distance selling.
fn legal_withdraw_days() -> u32 {
    14
}

impl ProductBody {
    /// The product that it describes, as it would be if there were none before.
    fn into_product(self, id: ProductId, own: &RetailerId) -> Result<Product, Failure> {
        let prices = self.prices.unwrap_or_default().into_iter().map(WindowBody::into_window).collect();
        let promotions = self.promotions.unwrap_or_default().into_iter().enumerate();
        let promotions = promotions.map(|(n, promotion)| promotion.into_promotion(n)).collect::<Result<_, _>>()?;
        Ok(Product {
            id,
            name: self.name,
            gtin: self.gtin,
            delivery: self.delivery.unwrap_or(Money::new(0, self.price.currency)),
            price: self.price,
            tax_incl: self.tax_incl,
            seller: self.seller.unwrap_or_else(|| own.to_string()),
            withdraw_days: self.withdraw_days,
            fits: self.fits,
            lead_days: self.lead_days,
            margin: self.margin,
            variant_of: self.variant_of,
            attributes: self.attributes,
            category: self.category,
            prices,
            promotions,
            successor: self.successor,
            sellers: Vec::new(),
            listed: Vec::new(),
        })
    }
}

/// A product as somebody wrote it, and what of it stays as it was.
#[derive(Debug, Clone)]
pub(super) struct Written {
    product: Product,
    /// The columns of its table; JSON says all of a product.
    table: Option<Arc<Head>>,
}

impl Written {
    /// A product as it was written.
    pub(super) fn new(
        id: ProductId,
        own: &RetailerId,
        body: ProductBody,
        table: Option<Arc<Head>>,
    ) -> Result<Written, Failure> {
        Ok(Written { product: body.into_product(id, own)?, table })
    }
    /// Which one.
    pub(super) fn id(&self) -> &ProductId {
        &self.product.id
    }
    /// The product that comes of it where this one was before, checked as a whole. What clients tell by itself, and
    /// what the form has no place for, stays.
    pub(super) fn onto(mut self, before: Option<&Product>) -> Result<Product, Failure> {
        if let Some(before) = before {
            if let Some(table) = &self.table {
                table.keep(&mut self.product, before);
            }
            self.product.sellers.clone_from(&before.sellers);
            self.product.listed.clone_from(&before.listed);
        }
        check(&self.product)?;
        check_size(&self.product)?;
        Ok(self.product)
    }
}

/// In which form a product came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// JSON, which says all of it.
    Json,
    /// A row of a table.
    Csv,
}

impl WindowBody {
    fn into_window(self) -> PriceWindow {
        PriceWindow { from: self.from.0, until: self.until.map(|until| until.0), price: self.price }
    }
}

impl PromotionBody {
    fn into_promotion(self, n: usize) -> Result<Promotion, Failure> {
        let off = match (self.percent, self.amount) {
            (Some(percent), None) => {
                let hundredths = percent * 100.0;
                if !(1.0..10_000.0).contains(&hundredths) || (hundredths - hundredths.round()).abs() > 1e-6 {
                    let message = "write more than 0 and less than 100, with at most two decimals";
                    return Err(Failure::invalid(&format!("/promotions/{n}/percent"), message));
                }
                // Between 1 and 9 999.
                Reduction::Percent(hundredths.round() as u32)
            }
            (None, Some(amount)) => Reduction::Amount(amount),
            (Some(_), Some(_)) | (None, None) => {
                let message = "a promotion takes off a `percent` or an `amount`, one of them";
                return Err(Failure::invalid(&format!("/promotions/{n}"), message));
            }
        };
        Ok(Promotion { from: self.from.0, until: self.until.map(|until| until.0), off })
    }
}

/// A product as it is shown.
pub fn product_json(product: &Product) -> Value {
    let instant = |at: Option<Timestamp>| at.map(|at| at.to_string());
    let window = |window: &PriceWindow| json!({"from": window.from.to_string(), "until": instant(window.until), "price": window.price});
    let windows = product.prices.iter().map(window);
    let lists = product.listed.iter().map(|listed| {
        let mut shown = window(&listed.window);
        shown["list"] = listed.list.as_str().into();
        shown
    });
    let promotions = product.promotions.iter().map(|promotion| {
        let mut shown = json!({"from": promotion.from.to_string(), "until": instant(promotion.until)});
        match promotion.off {
            Reduction::Percent(hundredths) => shown["percent"] = (f64::from(hundredths) / 100.0).into(),
            Reduction::Amount(amount) => shown["amount"] = json!(amount),
        }
        shown
    });
    json!({
        "id": product.id, "name": product.name, "gtin": product.gtin, "price": product.price,
        "delivery": product.delivery, "tax_incl": product.tax_incl, "seller": product.seller,
        "withdraw_days": product.withdraw_days, "fits": product.fits, "lead_days": product.lead_days,
        "margin": product.margin, "variant_of": product.variant_of, "attributes": product.attributes, "category": product.category,
        "prices": windows.collect::<Vec<_>>(), "lists": lists.collect::<Vec<_>>(), "promotions": promotions.collect::<Vec<_>>(),
        "successor": product.successor, "sellers": product.sellers.iter().map(seller_json).collect::<Vec<_>>(),
    })
}

/// How a seller sells it.
pub fn seller_json(offer: &SellerOffer) -> Value {
    json!({
        "seller": offer.seller, "name": offer.name, "price": offer.price, "delivery": offer.delivery,
        "lead_days": offer.lead_days, "condition": offer.condition,
    })
}
