//! What stands in stores and at sellers: counted by the shop, taken off by orders and reservations.
//!
//! As with budgets one sum in memory under one lock counts every reservation the moment it is granted;
//! its row is part of the commit that makes the order, and where that does not come to be the goods are
//! given back. What is freed is free only when that is on disk. So the sum never says less is taken than
//! the rows do, and a start adds the rows up.

use std::sync::Arc;

use hearthway_core::budget::{Level, Reserve};
use hearthway_core::decision::{Change, Decision, Effect};
use hearthway_core::id::{OrderId, ProductId, RetailerId};
use hearthway_core::model::{Held, Place};
use hearthway_core::time::Timestamp;
use serde::{Deserialize, Serialize};

use super::Engine;
use super::budget::Budgets;
use super::house::lock;
use super::prepared::Prepared;
use super::rows;
use crate::store::codec::{self, Schema};
use crate::store::{Commit, Outcome, Precondition, Store, StoreError, Write, keys};

/// What a shop counted at a place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StockRow {
    /// So many.
    pub on_hand: u32,
    /// When.
    pub at: Timestamp,
}

/// Goods that are put aside, or that left since they were counted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReservationRow {
    /// So many.
    pub qty: u32,
    /// Whether they have left.
    pub gone: bool,
}

impl Budgets {
    /// Reads what was counted and what is taken.
    pub(super) fn read_stock(&self, store: &dyn Store) -> Result<(), StoreError> {
        let mut held = lock(&self.held);
        rows::walk(store, &keys::all_stock(), |key, bytes| {
            if let Some((retailer, product, place)) = keys::stock_of(key) {
                let row: StockRow = codec::decode(Schema::Stock, key, bytes)?;
                held.stock.count(&retailer, &product, &place, Some(row.on_hand), 0);
            }
            Ok(true)
        })?;
        rows::walk(store, &keys::all_reservations(), |key, bytes| {
            if let Some((retailer, product, place, _)) = keys::reservation_of(key) {
                let row: ReservationRow = codec::decode(Schema::Reservation, key, bytes)?;
                held.stock.take(&retailer, &product, &place, row.qty);
            }
            Ok(true)
        })
    }

    /// Puts goods aside, if there are enough.
    pub(super) fn reserve(budgets: &Arc<Budgets>, wanted: &Reserve<'_>) -> Option<TakenStock> {
        lock(&budgets.held).stock.reserve(wanted).then(|| TakenStock {
            budgets: Arc::clone(budgets),
            retailer: wanted.retailer.clone(),
            held: Held { place: wanted.place.clone(), product: wanted.product.clone(), qty: wanted.qty },
            order: wanted.order,
            is_kept: false,
        })
    }
}

/// Goods that are put aside and not yet on disk. Dropping it gives them back.
pub(super) struct TakenStock {
    budgets: Arc<Budgets>,
    retailer: RetailerId,
    held: Held,
    order: OrderId,
    is_kept: bool,
}

impl TakenStock {
    fn key(&self) -> keys::Key {
        keys::reservation(&self.retailer, &self.held.product, &self.held.place, self.order)
    }
    fn write(&self) -> Write {
        let row = ReservationRow { qty: self.held.qty, gone: false };
        rows::put(Schema::Reservation, self.key(), &row)
    }
    /// Its commit failed, as far as the store says: what it may have kept is taken to be kept.
    fn settle(mut self, store: &dyn Store) {
        self.is_kept = !matches!(store.get(&self.key()), Ok(None));
    }
}

impl Drop for TakenStock {
    fn drop(&mut self) {
        if !self.is_kept {
            let Held { place, product, qty } = &self.held;
            lock(&self.budgets.held).stock.give_back(&self.retailer, product, place, *qty);
        }
    }
}

/// What one input does to stock, once it is on disk.
#[derive(Default)]
pub(super) struct PutAside {
    taken: Vec<TakenStock>,
    freed: Vec<(RetailerId, Held)>,
}

impl Prepared {
    /// Rows of what orders put aside, free and take away.
    pub(super) fn follow_stock(&mut self, taken: Vec<TakenStock>, decision: &Decision) {
        for taken in taken {
            let holds = |change: &Change| matches!(change, Change::OrderSet(order) if order.id == taken.order && order.held.as_ref() == Some(&taken.held));
            // What no order holds is given back here and now.
            if decision.changes.iter().any(holds) {
                self.writes.push(taken.write());
                self.put_aside.taken.push(taken);
            }
        }
        decision.effects.iter().for_each(|effect| self.put_aside.follow(effect, &mut self.writes));
    }
}

impl PutAside {
    /// What an order frees and takes away.
    pub(super) fn follow(&mut self, effect: &Effect, writes: &mut Vec<Write>) {
        match effect {
            Effect::FreeStock { retailer, order, held } => {
                let key = keys::reservation(retailer, &held.product, &held.place, *order);
                writes.push(Write::Delete(key));
                self.freed.push((retailer.clone(), held.clone()));
            }
            Effect::StockLeft { retailer, order, held } => {
                let key = keys::reservation(retailer, &held.product, &held.place, *order);
                let row = ReservationRow { qty: held.qty, gone: true };
                writes.push(rows::put(Schema::Reservation, key, &row));
            }
            Effect::StockParted { retailer, order, rev, rest, gone, free } => {
                let Held { place, product, qty } = rest;
                let row = |order, qty, gone| {
                    let key = keys::reservation(retailer, product, place, order);
                    rows::put(Schema::Reservation, key, &ReservationRow { qty, gone })
                };
                writes.push(match qty {
                    0 => Write::Delete(keys::reservation(retailer, product, place, *order)),
                    _ => row(*order, *qty, false),
                });
                if *gone > 0 {
                    // A row of its own: a count takes it away and leaves what still waits alone.
                    let part = OrderId::derived(&[b"part that left", order.bytes(), &rev.to_be_bytes()]);
                    writes.push(row(part, *gone, true));
                }
                if *free > 0 {
                    self.freed.push((retailer.clone(), Held { qty: *free, ..rest.clone() }));
                }
            }
            _ => {}
        }
    }
    /// It is on disk.
    pub(super) fn stand(self, budgets: &Budgets) {
        self.taken.into_iter().for_each(|mut taken| taken.is_kept = true);
        if self.freed.is_empty() {
            return;
        }
        let mut held = lock(&budgets.held);
        for (retailer, Held { place, product, qty }) in &self.freed {
            held.stock.give_back(retailer, product, place, *qty);
        }
    }
    /// It is not on disk, as far as the store says. What would have been freed stays taken until the next start.
    pub(super) fn failed(self, store: &dyn Store) {
        self.taken.into_iter().for_each(|taken| taken.settle(store));
    }
}

impl Engine {
    /// How a product stands at a place.
    pub fn stock_level(&self, retailer: &RetailerId, product: &ProductId, place: &Place) -> Level {
        lock(&self.house().budgets.held).stock.level(retailer, product, place)
    }

    /// Where a product is counted, and how it stands there.
    pub fn stock_levels(&self, retailer: &RetailerId, product: &ProductId) -> Vec<(Place, Level)> {
        let held = lock(&self.house().budgets.held);
        let levels = held.stock.levels(retailer, product).filter(|(_, level)| level.on_hand.is_some());
        levels.map(|(place, level)| (place.clone(), *level)).collect()
    }

    /// The stores that have so many.
    pub fn stores_with(
        &self,
        retailer: &RetailerId,
        product: &ProductId,
        qty: u32,
    ) -> Vec<hearthway_core::id::StoreId> {
        lock(&self.house().budgets.held).stock.stores_with(retailer, product, qty)
    }

    /// The shop counted, with what is put aside and still there; none ends the counting. Whoever calls this holds
    /// others off meanwhile: the count and what left before it belong together.
    pub async fn count_stock(
        &self,
        retailer: &RetailerId,
        product: &ProductId,
        place: &Place,
        on_hand: Option<u32>,
    ) -> Result<Level, StoreError> {
        let house = self.house();
        let (mut gone, mut writes) = (0, Vec::new());
        rows::walk(&*house.store, &keys::reservations_at(retailer, product, place), |key, bytes| {
            let row: ReservationRow = codec::decode(Schema::Reservation, key, bytes)?;
            if row.gone {
                gone += u64::from(row.qty);
                writes.push(Write::Delete(key.clone()));
            }
            Ok(true)
        })?;
        let key = keys::stock(retailer, product, place);
        writes.push(match on_hand {
            Some(on_hand) => rows::put(Schema::Stock, key, &StockRow { on_hand, at: house.clock.now() }),
            None => Write::Delete(key),
        });
        self.write(Commit { preconditions: Vec::new(), writes }).await?;
        let mut held = lock(&house.budgets.held);
        held.stock.count(retailer, product, place, on_hand, gone);
        Ok(held.stock.level(retailer, product, place))
    }

    /// Puts goods aside for somebody who is no order, with the row that ends it. Whether there were enough.
    pub async fn reserve_stock(&self, wanted: &Reserve<'_>, ends: Write) -> Result<bool, StoreError> {
        let Some(mut taken) = Budgets::reserve(&self.house().budgets, wanted) else { return Ok(false) };
        let writes = vec![taken.write(), ends];
        let commit = Commit { preconditions: vec![Precondition::Absent(taken.key())], writes };
        match self.write(commit).await {
            Ok(outcome) => {
                taken.is_kept = outcome == Outcome::Committed;
                Ok(taken.is_kept)
            }
            Err(error) => {
                taken.settle(&*self.house().store);
                Err(error)
            }
        }
    }

    /// Ends such a reservation, by the key of its row; `more` is written with it. Whether there was one.
    pub async fn free_stock(&self, reservation: &keys::Key, more: Vec<Write>) -> Result<bool, StoreError> {
        let house = self.house();
        let Some((retailer, product, place, _)) = keys::reservation_of(reservation) else { return Ok(false) };
        let Some(bytes) = house.store.get(reservation)? else { return Ok(false) };
        let row: ReservationRow = codec::decode(Schema::Reservation, reservation, &bytes)?;
        if row.gone {
            return Ok(false);
        }
        let preconditions = vec![Precondition::Equals(reservation.clone(), bytes)];
        let writes = std::iter::once(Write::Delete(reservation.clone())).chain(more).collect();
        let outcome = self.write(Commit { preconditions, writes }).await?;
        let is_freed = outcome == Outcome::Committed;
        if is_freed {
            lock(&house.budgets.held).stock.give_back(&retailer, &product, &place, row.qty);
        }
        Ok(is_freed)
    }
}
