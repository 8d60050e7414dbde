//! What a device would be quoted, told to anybody who asks: a web shop, an app, a till.

use hearthway_core::decide::{Ask, SellerQuote, compare, stores};
use hearthway_core::id::{ProductId, TriggerId};
use hearthway_core::limits::ORDER_QTY_MAX;
use hearthway_core::model::{Fulfil, OfferPrice};
use hearthway_core::time::Span;
use serde_json::{Value, json};

use super::super::tokens::{Caller, Scope};
use super::super::tries::Looking;
use super::super::{App, Failure};
use super::products::missing;

/// How long a quote holds where no trigger says how long it locks its price.
const QUOTE_VALID: Span = Span::minutes(15);

/// What is asked.
#[derive(Debug, Clone, Default)]
pub struct QuoteAsked {
    /// For whom; decides which stores are near.
    pub profile: Option<String>,
    /// By whose terms: a live trigger's discount, ranking and lock.
    pub trigger: Option<TriggerId>,
    /// How many; one where not said.
    pub qty: Option<u32>,
    /// How it is had.
    pub fulfil: Option<Fulfil>,
}

fn price_json(price: &OfferPrice) -> Value {
    json!({
        "item": price.item, "delivery": price.delivery, "total": price.total,
        "was": price.was.filter(|was| *was != price.total), "tax_incl": price.tax_incl,
    })
}

fn seller_json(quote: &SellerQuote, chosen: bool) -> Value {
    json!({
        "seller": quote.seller, "sold_by": quote.sold_by, "own": quote.is_own, "price": price_json(&quote.price),
        "condition": quote.condition, "lead_days": quote.lead_days, "stock": quote.free, "chosen": chosen,
        "passed_over": quote.passed_over.map(|why| why.as_str()),
    })
}

impl App {
    /// What so many of a product cost now, by whom, and until when that holds.
    pub async fn quote(&self, who: &Caller, id: &str, asked: QuoteAsked) -> Result<Value, Failure> {
        let retailer = who.retailer(Scope::ProductsRead)?;
        let (rules, now) = (self.engine.rules(), self.now());
        let product = ProductId::new(id).ok().and_then(|id| rules.product(retailer, &id));
        let product = product.ok_or_else(|| missing(id))?;
        let qty = asked.qty.unwrap_or(1);
        if !(1..=ORDER_QTY_MAX).contains(&qty) {
            return Err(Failure::invalid("", format!("the parameter `qty`: 1 to {ORDER_QTY_MAX}")));
        }
        let zone = match &asked.profile {
            Some(profile) => self.profile(who, profile).await?.profile.zone,
            None => None,
        };
        let trigger = match &asked.trigger {
            Some(id) => Some(rules.triggers.get(retailer, id).ok_or_else(|| Failure::not_found("trigger", id))?),
            None => None,
        };
        let plan = trigger.map(|trigger| &trigger.offer);
        let lock_until = now + plan.map_or(QUOTE_VALID, |plan| plan.price_lock);
        let ask = Ask {
            rules: &rules,
            retailer,
            product: &product,
            discount: plan.and_then(|plan| plan.discount.as_ref()),
            policy: plan.and_then(|plan| plan.policy.as_deref()),
            qty,
            now,
            lock_until,
        };
        let purse = Looking(&self.engine);
        let sellers = compare(&ask, &purse);
        let stores = stores(&rules, retailer, &product.id, qty, zone.as_ref(), &purse);
        let fulfil = asked.fulfil.unwrap_or(Fulfil::Deliver);
        let chosen = match fulfil {
            Fulfil::Deliver => sellers.first().filter(|quote| quote.passed_over.is_none()),
            // Only the shop itself has stores, also where it has none left to be delivered.
            Fulfil::Collect => sellers.iter().find(|quote| quote.is_own),
        };
        let price = chosen.map(|quote| match fulfil {
            Fulfil::Deliver => quote.price.clone(),
            Fulfil::Collect => quote.price.clone().without_delivery(),
        });
        let is_had = chosen.is_some() && (fulfil == Fulfil::Deliver || !stores.is_empty());
        let valid_until = match plan {
            Some(_) => lock_until,
            // Without a lock a quote ends where the price does.
            None => product.next_price_change(now).map_or(lock_until, |change| change.min(lock_until)),
        };
        let shown = sellers.iter().map(|quote| seller_json(quote, chosen.is_some_and(|of| of.seller == quote.seller)));
        Ok(json!({
            "product": product.id, "qty": qty, "fulfil": fulfil, "available": is_had,
            "price": price.as_ref().map(price_json), "valid_until": valid_until.to_string(),
            "seller": chosen.map(|quote| &quote.seller), "sold_by": chosen.map(|quote| &quote.sold_by),
            "ships": chosen.and_then(|quote| quote.ships_by(now)).map(|by| json!({"by": by.to_string()[..10]})),
            "sellers": shown.collect::<Vec<_>>(),
            "stores": stores.iter().map(|store| json!({"id": store.store, "name": store.name, "ready": store.ready})).collect::<Vec<_>>(),
        }))
    }
}
