//! What stands where: the one count that every reservation goes through.
//!
//! A shop counts what stands in a store or at a seller; from then on what is put aside for an order is
//! taken off, and what left since the count stays taken off until it counts again. So nothing here is
//! ever written by two at once: the count by the shop alone, the rest by the orders.

use std::collections::BTreeMap;

use crate::id::{OrderId, ProductId, RetailerId, StoreId};
use crate::model::Place;

/// Stores that a decision is told of: it shows three, and has room to leave out those that are closed.
const STORES_TOLD_MAX: usize = 16;

/// Goods that an order wants put aside.
#[derive(Debug, Clone, Copy)]
pub struct Reserve<'r> {
    /// Whose goods.
    pub retailer: &'r RetailerId,
    /// Where.
    pub place: &'r Place,
    /// What.
    pub product: &'r ProductId,
    /// How many.
    pub qty: u32,
    /// For which order.
    pub order: OrderId,
}

/// How many of a product are at a place.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Level {
    /// As the shop counted them, with those that were put aside then; none where nobody counted.
    pub on_hand: Option<u32>,
    /// Put aside, or gone since the count.
    pub taken: u64,
}

impl Level {
    /// How many may still be put aside; none where nobody counts.
    pub fn free(&self) -> Option<u32> {
        let left = u64::from(self.on_hand?).saturating_sub(self.taken);
        Some(u32::try_from(left).unwrap_or(u32::MAX))
    }
}

/// All stock of all retailers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stock {
    levels: BTreeMap<RetailerId, BTreeMap<ProductId, BTreeMap<Place, Level>>>,
}

impl Stock {
    /// How it stands at a place.
    pub fn level(&self, retailer: &RetailerId, product: &ProductId, place: &Place) -> Level {
        let places = self.levels.get(retailer).and_then(|products| products.get(product));
        places.and_then(|places| places.get(place)).copied().unwrap_or_default()
    }
    /// Where a product is counted.
    pub fn levels(&self, retailer: &RetailerId, product: &ProductId) -> impl Iterator<Item = (&Place, &Level)> {
        self.levels.get(retailer).and_then(|products| products.get(product)).into_iter().flatten()
    }
    /// Stores that have so many, by their ids.
    pub fn stores_with(&self, retailer: &RetailerId, product: &ProductId, qty: u32) -> Vec<StoreId> {
        let has = self.levels(retailer, product).filter(|(_, level)| level.free().is_some_and(|free| free >= qty));
        let stores = has.filter_map(|(place, _)| match place {
            Place::Store(store) => Some(store.clone()),
            Place::Seller(_) => None,
        });
        stores.take(STORES_TOLD_MAX).collect()
    }
    /// Puts aside where there are enough, or where nobody counts. Whether it did.
    pub fn reserve(&mut self, wanted: &Reserve<'_>) -> bool {
        let free = self.level(wanted.retailer, wanted.product, wanted.place).free();
        if free.is_some_and(|free| free < wanted.qty) {
            return false;
        }
        self.take(wanted.retailer, wanted.product, wanted.place, wanted.qty);
        true
    }
    /// So many are put aside, whatever the count says: read back from the disk.
    pub fn take(&mut self, retailer: &RetailerId, product: &ProductId, place: &Place, qty: u32) {
        let level = self.at(retailer, product, place);
        level.taken = level.taken.saturating_add(qty.into());
    }
    /// So many are not put aside any more.
    pub fn give_back(&mut self, retailer: &RetailerId, product: &ProductId, place: &Place, qty: u32) {
        let level = self.at(retailer, product, place);
        level.taken = level.taken.saturating_sub(qty.into());
    }
    /// The shop counted; `gone` of what was taken had left before, and is not in the count.
    pub fn count(
        &mut self,
        retailer: &RetailerId,
        product: &ProductId,
        place: &Place,
        on_hand: Option<u32>,
        gone: u64,
    ) {
        let level = self.at(retailer, product, place);
        level.on_hand = on_hand;
        level.taken = level.taken.saturating_sub(gone);
    }
    fn at(&mut self, retailer: &RetailerId, product: &ProductId, place: &Place) -> &mut Level {
        let products = self.levels.entry(retailer.clone()).or_default();
        products.entry(product.clone()).or_default().entry(place.clone()).or_default()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn the_last_piece_is_put_aside_once_and_what_left_stays_off_until_the_next_count() {
        let (retailer, product) = (RetailerId::new("shop").unwrap(), ProductId::new("p").unwrap());
        let place = Place::Store(StoreId::new("st-1").unwrap());
        let mut stock = Stock::default();
        let order = OrderId::derived(&[b"o"]);
        let wanted = Reserve { retailer: &retailer, place: &place, product: &product, qty: 2, order };
        assert!(stock.reserve(&wanted), "who does not count sells");
        stock.count(&retailer, &product, &place, Some(5), 0);
        assert_eq!(stock.level(&retailer, &product, &place).free(), Some(3));
        assert!(stock.reserve(&wanted));
        assert!(!stock.reserve(&wanted), "one is left, and two are wanted");
        assert!(stock.stores_with(&retailer, &product, 2).is_empty());
        assert_eq!(stock.stores_with(&retailer, &product, 1).len(), 1);
        stock.give_back(&retailer, &product, &place, 2);
        assert!(stock.reserve(&wanted));
        // Two of the four left the store, and are not in the count any more.
        stock.count(&retailer, &product, &place, Some(3), 2);
        assert_eq!(stock.level(&retailer, &product, &place).free(), Some(1));
    }
}
