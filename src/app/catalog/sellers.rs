//! What other sellers ask for a product.

use hearthway_core::id::{ProductId, SellerId};
use hearthway_core::model::{Condition, LeadDays, Place, Product, SellerOffer};
use hearthway_core::money::Money;
use serde::Deserialize;
use serde_json::{Value, json};

use super::super::tokens::{Caller, Scope};
use super::super::{App, Failure};
use super::check::{SELLERS_MAX, check_lead_days, check_size, check_terms};
use super::form::seller_json;
use super::products::missing;

/// Characters of a seller's name: it stands on small screens.
const NAME_CHARS_MAX: usize = 60;

/// A seller's terms as clients write them.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SellerBody {
    name: Option<String>,
    price: Money,
    delivery: Option<Money>,
    lead_days: Option<LeadDays>,
    #[serde(default = "new")]
    condition: Condition,
    /// How many it has; not counted where not said.
    stock: Option<u32>,
}

fn new() -> Condition {
    Condition::New
}

impl App {
    /// Says how somebody sells a product of the caller's. What is said of the stock is a count: from then on
    /// orders take from it. Without one nothing is counted.
    pub async fn put_seller_offer(
        &self,
        who: &Caller,
        product: &str,
        seller: &SellerId,
        body: SellerBody,
    ) -> Result<Value, Failure> {
        let retailer = who.retailer(Scope::ProductsWrite)?;
        let id = ProductId::new(product).map_err(|_| missing(product))?;
        let delivery = body.delivery.unwrap_or(Money::new(0, body.price.currency));
        check_terms("", body.price, delivery)?;
        check_lead_days("/lead_days", body.lead_days)?;
        if body.name.as_ref().is_some_and(|name| name.trim().is_empty() || name.chars().count() > NAME_CHARS_MAX) {
            return Err(Failure::invalid("/name", format!("a name takes 1 to {NAME_CHARS_MAX} characters")));
        }
        // One at a time: two sellers of one product must not write each other over.
        let _telling = self.counting_stock.lock().await;
        let SellerBody { name, price, lead_days, condition, stock, .. } = body;
        let offer = SellerOffer { seller: seller.clone(), name, price, delivery, lead_days, condition };
        let place = Place::Seller(seller.clone());
        let has_count = self.engine.stock_level(retailer, &id, &place).on_hand.is_some();
        let mut shown = seller_json(&offer);
        let (known, _) = self.rulebook.catalog().latest(retailer, &id).ok_or_else(|| missing(id.as_str()))?;
        with_seller(known, &offer)?;
        if stock.is_some() || has_count {
            self.engine.count_stock(retailer, &id, &place, stock).await?;
        }
        let of = id.clone();
        self.change_product(retailer, &id, move |before| {
            with_seller(before.ok_or_else(|| missing(of.as_str()))?.clone(), &offer)
        })
        .await?;
        shown["product"] = json!(id);
        shown["stock"] = json!(self.engine.stock_level(retailer, &id, &place).free());
        Ok(shown)
    }

    /// Somebody does not sell a product any more: live offers of theirs end when they are next looked at.
    pub async fn delete_seller_offer(&self, who: &Caller, product: &str, seller: &str) -> Result<(), Failure> {
        let retailer = who.retailer(Scope::ProductsWrite)?;
        let id = ProductId::new(product).map_err(|_| missing(product))?;
        let _telling = self.counting_stock.lock().await;
        let (of, gone) = (id.clone(), seller.to_owned());
        let without = move |before: Option<&Product>| {
            let mut known = before.ok_or_else(|| missing(of.as_str()))?.clone();
            let had = known.sellers.len();
            known.sellers.retain(|other| other.seller.as_str() != gone);
            match known.sellers.len() == had {
                true => Err(Failure::not_found("seller", gone.chars().take(80).collect::<String>())),
                false => Ok(known),
            }
        };
        without(self.rulebook.catalog().latest(retailer, &id).map(|(product, _)| product).as_ref())?;
        if let Ok(seller) = SellerId::new(seller) {
            self.engine.count_stock(retailer, &id, &Place::Seller(seller), None).await?;
        }
        self.change_product(retailer, &id, without).await?;
        Ok(())
    }
}

/// A product with what a seller asks for it, whatever it asked before.
fn with_seller(mut product: Product, offer: &SellerOffer) -> Result<Product, Failure> {
    if product.price.currency != offer.price.currency {
        let message = format!("the product's price is in {}", product.price.currency);
        return Err(Failure::invalid("/price/currency", message));
    }
    product.sellers.retain(|other| other.seller != offer.seller);
    if product.sellers.len() >= SELLERS_MAX {
        return Err(Failure::Conflict(format!("a product has at most {SELLERS_MAX} sellers; end one first")));
    }
    product.sellers.push(offer.clone());
    product.sellers.sort_by(|a, b| a.seller.cmp(&b.seller));
    check_size(&product)?;
    Ok(product)
}
