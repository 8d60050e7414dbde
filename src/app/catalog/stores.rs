//! Stores, what stands in them, and what is put aside there.

use std::sync::Arc;

use hearthway_core::budget::{Level, Reserve};
use hearthway_core::code::{Code, Refusal};
use hearthway_core::id::{OrderId, ProductId, RetailerId, StoreId};
use hearthway_core::limits::ORDER_QTY_MAX;
use hearthway_core::model::{Place, Store};
use hearthway_core::time::Zone;
use serde::Deserialize;
use serde_json::{Value, json};

use super::super::documents::{Condition, Document, Kind, Name};
use super::super::tenants::{check_name, to_text};
use super::super::tokens::{Caller, Scope};
use super::super::{App, Failure, Page, PageQuery, idempotency, rows};
use super::products::missing;
use crate::engine::entropy;
use crate::store::keys;

/// Stores of one retailer: all of a country's largest chains.
const STORES_PER_RETAILER_MAX: usize = 10_000;
/// Characters of the words on a store.
const WORDS_CHARS_MAX: usize = 200;
/// The longest that something may wait in a store, hours: a month.
const HOLD_HOURS_MAX: u32 = 744;
/// Pieces that a count may say: no store has as many of one article.
const ON_HAND_MAX: u32 = 1_000_000;

/// A store as clients write it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StoreBody {
    name: String,
    opening: Option<String>,
    region: Option<String>,
    ready: Option<String>,
    #[serde(default = "three_days")]
    hold_hours: u32,
    #[serde(default = "yes")]
    collects: bool,
}

fn yes() -> bool {
    true
}

fn three_days() -> u32 {
    72
}

/// A reservation as clients ask for it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReservationBody {
    store: StoreId,
    product: ProductId,
    qty: u32,
}

fn no_store(id: &str) -> Failure {
    Failure::not_found("store", id.chars().take(80).collect::<String>())
}

/// How much of a product stands in a store.
fn stock_json(store: &StoreId, product: &ProductId, level: Level) -> Value {
    json!({
        "store": store, "product": product, "on_hand": level.on_hand, "reserved": level.taken, "free": level.free(),
    })
}

impl App {
    /// Makes or replaces a store of the caller's.
    pub async fn put_store(
        &self,
        who: &Caller,
        id: &StoreId,
        body: StoreBody,
        condition: &Condition,
    ) -> Result<Arc<Document>, Failure> {
        let retailer = who.retailer(Scope::ProductsWrite)?;
        check_name(&body.name)?;
        for (pointer, words) in [("/opening", &body.opening), ("/ready", &body.ready)] {
            if words.as_ref().is_some_and(|words| words.trim().is_empty() || words.chars().count() > WORDS_CHARS_MAX) {
                return Err(Failure::invalid(pointer, format!("1 to {WORDS_CHARS_MAX} characters, or leave it out")));
            }
        }
        if let Some(region) = &body.region
            && Zone::new(region).is_err()
        {
            let message = "a region is a time zone, as of the homes near it, such as `Europe/Paris`";
            return Err(Failure::invalid("/region", message));
        }
        if !(1..=HOLD_HOURS_MAX).contains(&body.hold_hours) {
            return Err(Failure::invalid("/hold_hours", format!("1 to {HOLD_HOURS_MAX} hours")));
        }
        let rules = self.engine.rules();
        if rules.store(retailer, id).is_none() && rules.stores_of(retailer).count() >= STORES_PER_RETAILER_MAX {
            return Err(Failure::Conflict(format!("a retailer has at most {STORES_PER_RETAILER_MAX} stores")));
        }
        let StoreBody { name, opening, region, ready, hold_hours, collects } = body;
        let store = Store { name, opening, region, ready, hold_hours, collects };
        let name = Name::of_retailer(Kind::Store, retailer, id.as_str());
        self.rulebook.put(&self.engine, name, to_text(&store), false, condition).await
    }

    /// A store of the caller's.
    pub fn store(&self, who: &Caller, id: &str) -> Result<Arc<Document>, Failure> {
        let retailer = who.retailer(Scope::ProductsRead)?;
        self.rulebook.get(&Name::of_retailer(Kind::Store, retailer, id)).ok_or_else(|| no_store(id))
    }

    /// The caller's stores, by id.
    pub fn stores(&self, who: &Caller, page: &PageQuery) -> Result<Page<(String, Arc<Document>)>, Failure> {
        let retailer = who.retailer(Scope::ProductsRead)?;
        Ok(self.rulebook.list(Kind::Store, retailer.as_str(), page, |_, _| true))
    }

    /// The shop counted a product in a store, with what is put aside and still there; none ends the counting.
    pub async fn put_stock(
        &self,
        who: &Caller,
        store: &str,
        product: &str,
        on_hand: Option<u32>,
    ) -> Result<Value, Failure> {
        let retailer = who.retailer(Scope::ProductsWrite)?;
        let (store, product) = self.of_store(retailer, store, product)?;
        if on_hand.is_some_and(|on_hand| on_hand > ON_HAND_MAX) {
            return Err(Failure::invalid("/on_hand", format!("at most {ON_HAND_MAX}")));
        }
        // One count at a time: what left before belongs to one of them.
        let _counting = self.counting_stock.lock().await;
        let level = self.engine.count_stock(retailer, &product, &Place::Store(store.clone()), on_hand).await?;
        Ok(stock_json(&store, &product, level))
    }

    /// How a product stands in a store.
    pub fn stock(&self, who: &Caller, store: &str, product: &str) -> Result<Value, Failure> {
        let retailer = who.retailer(Scope::ProductsRead)?;
        let (store, product) = self.of_store(retailer, store, product)?;
        let level = self.engine.stock_level(retailer, &product, &Place::Store(store.clone()));
        Ok(stock_json(&store, &product, level))
    }

    fn of_store(&self, retailer: &RetailerId, store: &str, product: &str) -> Result<(StoreId, ProductId), Failure> {
        let rules = self.engine.rules();
        let store = StoreId::new(store).ok().filter(|id| rules.store(retailer, id).is_some());
        let store = store.ok_or_else(|| no_store("of this name"))?;
        let id = ProductId::new(product).ok().filter(|id| rules.product(retailer, id).is_some());
        Ok((store, id.ok_or_else(|| missing(product))?))
    }

    /// Puts goods aside for somebody who is no order: at the till, on the phone.
    pub async fn reserve(&self, who: &Caller, body: &ReservationBody) -> Result<Value, Failure> {
        let retailer = who.retailer(Scope::OrdersStatus)?;
        let ReservationBody { store, product, qty } = body;
        let invalid = |pointer: &'static str| move |failure: Failure| Failure::invalid(pointer, failure.to_string());
        let rules = self.engine.rules();
        rules.store(retailer, store).ok_or_else(|| no_store(store.as_str())).map_err(invalid("/store"))?;
        rules.product(retailer, product).ok_or_else(|| missing(product.as_str())).map_err(invalid("/product"))?;
        if !(1..=ORDER_QTY_MAX).contains(qty) {
            return Err(Failure::invalid("/qty", format!("1 to {ORDER_QTY_MAX}")));
        }
        let place = Place::Store(store.clone());
        if self.engine.stock_level(retailer, product, &place).on_hand.is_none() {
            return Err(Failure::Conflict(format!("nobody counts `{product}` in `{store}`; PUT its stock first")));
        }
        let drawn = (entropy::draw(), entropy::draw());
        let id = match idempotency::call() {
            // The same call again is the same reservation.
            Some(call) => OrderId::derived(&[b"reservation", call.as_str().as_bytes()]),
            None => OrderId::derived(&[b"reservation", &drawn.0.to_be_bytes(), &drawn.1.to_be_bytes()]),
        };
        let told = json!({"reservation": shown(id), "store": store, "product": product, "qty": qty});
        if self.engine.store().get(&keys::reservation(retailer, product, &place, id))?.is_some() {
            return Ok(told);
        }
        let wanted = Reserve { retailer, place: &place, product, qty: *qty, order: id };
        if !self.engine.reserve_stock(&wanted).await? {
            let free = self.engine.stock_level(retailer, product, &place).free().unwrap_or(0);
            let message = format!("{free} of `{product}` are free in `{store}`");
            return Err(Refusal::new(Code::OfferOutOfStock, message).at("/qty").into());
        }
        Ok(told)
    }

    /// Ends a reservation: the goods are there for others. An order frees its own by its states.
    pub async fn end_reservation(&self, who: &Caller, id: &str) -> Result<(), Failure> {
        let retailer = who.retailer(Scope::OrdersStatus)?;
        let gone = || Failure::not_found("reservation", id.chars().take(80).collect::<String>());
        let order = id.strip_prefix(RESERVATION).and_then(|hash| format!("or_{hash}").parse::<OrderId>().ok());
        let order = order.ok_or_else(gone)?;
        let mut found = None;
        rows::each(&**self.engine.store(), &keys::reservations_of(retailer), |key, _| {
            if let Some((_, product, place, _)) = keys::reservation_of(key).filter(|(.., of)| *of == order) {
                found = Some((product, place));
            }
            Ok(())
        })?;
        let (product, place) = found.ok_or_else(gone)?;
        // An order's id is no reservation's: nobody frees an order's goods under it.
        let is_order = rows::get::<crate::engine::rows::OrderRow>(
            &**self.engine.store(),
            crate::store::codec::Schema::Order,
            &keys::order(retailer, order),
        )?;
        if is_order.is_some() || !self.engine.free_stock(retailer, &product, &place, order).await? {
            return Err(gone());
        }
        Ok(())
    }
}

/// How a reservation's id begins.
const RESERVATION: &str = "rv_";

fn shown(id: OrderId) -> String {
    format!("{RESERVATION}{}", id.to_string().trim_start_matches(OrderId::PREFIX))
}
