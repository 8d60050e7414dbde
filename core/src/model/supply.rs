use serde::{Deserialize, Serialize};

use super::{Few, Mandate, Track};
use crate::forecast::Absence;
use crate::id::{DeviceKey, MandateId, ProductId, SlotId};
use crate::time::Timestamp;

/// What a home keeps of its consumables beyond what its devices report: spares on the shelf and
/// how often they are bought. It belongs to the home: a device that leaves takes nothing of it along.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Supply {
    /// Spares and purchases, by product.
    pub shelves: Few<ProductId, Shelf>,
    /// Standing permissions to order.
    pub mandates: Few<MandateId, Box<Mandate>>,
    /// What was learned of each slot.
    pub tracks: Few<SlotKey, Box<Track>>,
    /// Purchases that were told from elsewhere, newest last, so that each is taken once.
    pub heard: Vec<u64>,
    /// How long nobody was at home: by what is told of presence, else by the silence of its slots.
    pub absence: Absence,
}

/// One slot of one device of a home.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SlotKey {
    /// The device.
    pub device: DeviceKey,
    /// Its slot.
    pub slot: SlotId,
}

/// What a home has of one product, not yet inserted anywhere.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Shelf {
    /// Spares: delivered or bought, not inserted.
    pub spares: u32,
    /// Refills seen while goods were under way and no spare was left: the shop's word of the
    /// delivery came later than the goods, so so many of them are inserted already.
    pub inserted_ahead: u32,
    /// The last purchases, oldest first: from orders made here and from any other channel.
    pub bought: Vec<Bought>,
}

/// One purchase of a product.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bought {
    /// When.
    pub at: Timestamp,
    /// How many.
    pub qty: u32,
    /// Derived from its cause, so that the same purchase told again changes nothing.
    pub cause: u64,
}

impl Shelf {
    /// Takes in a purchase; `false` when it is known, or older than all that are kept. The oldest makes room.
    pub fn buy(&mut self, bought: Bought, kept_max: usize) -> bool {
        let is_known = self.bought.iter().any(|known| known.cause == bought.cause);
        let is_full = self.bought.len() >= kept_max;
        if is_known || (is_full && self.bought.first().is_some_and(|oldest| bought.at <= oldest.at)) {
            return false;
        }
        let place = self.bought.partition_point(|known| known.at <= bought.at);
        self.bought.insert(place, bought);
        if is_full {
            self.bought.remove(0);
        }
        true
    }
    /// Goods came: some of them may be inserted already.
    pub fn arrive(&mut self, qty: u32) {
        let ahead = self.inserted_ahead.min(qty);
        self.inserted_ahead -= ahead;
        self.spares = self.spares.saturating_add(qty - ahead);
    }
    /// A fresh one was inserted; `true` when it came from the shelf, or from the goods that are under way.
    pub fn insert(&mut self, under_way: u32) -> bool {
        if self.spares > 0 {
            self.spares -= 1;
            return true;
        }
        let is_ahead = self.inserted_ahead < under_way;
        self.inserted_ahead += u32::from(is_ahead);
        is_ahead
    }
    /// Goods went back.
    pub fn give_back(&mut self, qty: u32) {
        self.spares = self.spares.saturating_sub(qty);
    }
}
