//! Goods that are put aside for somebody who is no order: at the till, on the phone. Each ends by itself.

use hearthway_core::budget::Reserve;
use hearthway_core::code::{Code, Refusal};
use hearthway_core::id::{OrderId, ProductId, StoreId};
use hearthway_core::limits::ORDER_QTY_MAX;
use hearthway_core::model::Place;
use hearthway_core::time::{Span, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::super::tokens::{Caller, Scope};
use super::super::{App, Failure, idempotency, rows};
use super::products::missing;
use super::stores::no_store;
use crate::engine::entropy;
use crate::engine::rows::OrderRow;
use crate::store::codec::Schema;
use crate::store::keys::{self, Key};
use crate::store::{Store, Write};

/// How a reservation's id begins.
const RESERVATION: &str = "rv_";
/// How long one lasts where nothing is said: until the shop opens again.
const EXPIRES_IN_DEFAULT: Span = Span::hours(24);
/// The shortest, long enough to pay at a till, and the longest: as long as an order may wait in a store.
const EXPIRES_IN_MIN: Span = Span::seconds(10);
const EXPIRES_IN_MAX: Span = Span::days(31);
/// Reservations that are ended in one go, between two looks at who else waits for the store.
const ENDED_AT_ONCE_MAX: usize = 256;

/// A reservation as clients ask for it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReservationBody {
    store: StoreId,
    product: ProductId,
    qty: u32,
    /// Seconds.
    expires_in: Option<u32>,
}

/// That a reservation ends by itself; when, says its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct ReservationEnd;

impl App {
    /// Puts goods aside for somebody who is no order, for a while.
    pub async fn reserve(&self, who: &Caller, body: &ReservationBody) -> Result<Value, Failure> {
        let retailer = who.retailer(Scope::OrdersStatus)?;
        let ReservationBody { store, product, qty, expires_in } = body;
        let invalid = |pointer: &'static str| move |failure: Failure| Failure::invalid(pointer, failure.words());
        let rules = self.engine.rules();
        rules.store(retailer, store).ok_or_else(|| no_store(store.as_str())).map_err(invalid("/store"))?;
        rules.product(retailer, product).ok_or_else(|| missing(product.as_str())).map_err(invalid("/product"))?;
        if !(1..=ORDER_QTY_MAX).contains(qty) {
            return Err(Failure::invalid("/qty", format!("1 to {ORDER_QTY_MAX}")));
        }
        let lasts = expires_in.map_or(EXPIRES_IN_DEFAULT, |seconds| Span::seconds(seconds.into()));
        if !(EXPIRES_IN_MIN..=EXPIRES_IN_MAX).contains(&lasts) {
            let (min, max) = (EXPIRES_IN_MIN.0 / 1_000, EXPIRES_IN_MAX.0 / 1_000);
            return Err(Failure::invalid("/expires_in", format!("{min} to {max} seconds; left out, it is a day")));
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
        let told = |expires_at: Timestamp| {
            json!({
                "reservation": shown(id), "store": store, "product": product, "qty": qty,
                "expires_at": expires_at.to_string(),
            })
        };
        let own = keys::reservation(retailer, product, &place, id);
        if self.engine.store().get(&own)?.is_some() {
            return Ok(told(self.end_of(&own)?.unwrap_or_else(|| self.now())));
        }
        let expires_at = self.now() + lasts;
        let end = keys::reservation_end(expires_at, &own);
        let wanted = Reserve { retailer, place: &place, product, qty: *qty, order: id };
        let ends = rows::put(Schema::ReservationEnd, end, &ReservationEnd);
        if !self.engine.reserve_stock(&wanted, ends).await? {
            let free = self.engine.stock_level(retailer, product, &place).free().unwrap_or(0);
            let message = format!("{free} of `{product}` are free in `{store}`");
            return Err(Refusal::new(Code::OfferOutOfStock, message).at("/qty").into());
        }
        self.lapses.notify_one();
        Ok(told(expires_at))
    }

    /// When a reservation ends by itself.
    fn end_of(&self, reservation: &Key) -> Result<Option<Timestamp>, Failure> {
        let mut found = None;
        rows::each(&**self.engine.store(), &keys::reservation_ends(), |key, _| {
            found = keys::reservation_end_of(key).filter(|(_, of)| of == reservation).map(|(at, _)| at).or(found);
            Ok(())
        })?;
        Ok(found)
    }

    /// Ends a reservation: the goods are there for others. An order frees its own by its states.
    pub async fn end_reservation(&self, who: &Caller, id: &str) -> Result<(), Failure> {
        let retailer = who.retailer(Scope::OrdersStatus)?;
        let gone = || Failure::not_found("reservation", id.chars().take(80).collect::<String>());
        let order = id.strip_prefix(RESERVATION).and_then(|hash| format!("or_{hash}").parse::<OrderId>().ok());
        let order = order.ok_or_else(gone)?;
        let mut found = None;
        rows::each(&**self.engine.store(), &keys::reservations_of(retailer), |key, _| {
            if keys::reservation_of(key).is_some_and(|(.., of)| of == order) {
                found = Some(key.clone());
            }
            Ok(())
        })?;
        let reservation = found.ok_or_else(gone)?;
        // An order's id is no reservation's: nobody frees an order's goods under it.
        let of_order = keys::order(retailer, order);
        let is_order = rows::get::<OrderRow>(&**self.engine.store(), Schema::Order, &of_order)?.is_some();
        // Its end finds nothing to do when it comes.
        if is_order || !self.engine.free_stock(&reservation, Vec::new()).await? {
            return Err(gone());
        }
        Ok(())
    }

    /// Ends reservations whose time is over, and says when the next one's is.
    pub async fn end_lapsed_reservations(&self) -> Result<Option<Timestamp>, Failure> {
        loop {
            let page = self.engine.store().scan(&keys::reservation_ends(), None, ENDED_AT_ONCE_MAX)?;
            let ends: Vec<(Key, Timestamp, Key)> = page
                .into_iter()
                .filter_map(|(key, _)| keys::reservation_end_of(&key).map(|(at, reservation)| (key, at, reservation)))
                .collect();
            if ends.is_empty() {
                return Ok(None);
            }
            for (end, at, reservation) in ends {
                if at > self.now() {
                    return Ok(Some(at));
                }
                // With the goods its end goes; where they were freed before, it goes alone.
                if !self.engine.free_stock(&reservation, vec![Write::Delete(end.clone())]).await? {
                    rows::write(&self.engine, vec![Write::Delete(end)]).await?;
                }
            }
        }
    }
}

fn shown(id: OrderId) -> String {
    format!("{RESERVATION}{}", id.to_string().trim_start_matches(OrderId::PREFIX))
}
