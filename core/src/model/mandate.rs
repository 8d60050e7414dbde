use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::id::{DeviceKey, MandateId, OrderId, ProductId, ProfileId, SlotId};
use crate::money::Money;
use crate::time::{Span, Timestamp};

/// The stretch of elapsed time in which a mandate's orders are counted.
pub const MANDATE_WINDOW: Span = Span::days(30);

/// A customer's standing permission to order consumables of a device without asking each time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mandate {
    /// The retailer's id for it.
    pub id: MandateId,
    /// Who gave it.
    pub profile: ProfileId,
    /// For which device.
    pub device: DeviceKey,
    /// For which slot of it; none means every slot.
    pub slot: Option<SlotId>,
    /// The products that it names: it never moves to another one by itself.
    pub products: BTreeSet<ProductId>,
    /// What one order may cost at most, all together.
    pub max_price: Money,
    /// How many orders in any thirty days.
    pub max_per_30d: u32,
    /// Until when it holds.
    pub expires_at: Timestamp,
    /// Since when.
    pub given_at: Timestamp,
    /// The orders of the last thirty days that were made under it and not cancelled.
    pub ordered: Vec<(OrderId, Timestamp)>,
}

impl Mandate {
    /// Whether it is about this slot.
    pub fn covers(&self, device: &DeviceKey, slot: Option<&SlotId>) -> bool {
        self.device == *device && (self.slot.is_none() || self.slot.as_ref() == slot)
    }
    /// Orders made under it in the thirty days before an instant. One from after it, before the
    /// clock went back, counts: it was made, and not long ago.
    pub fn made(&self, now: Timestamp) -> usize {
        self.ordered.iter().filter(|(_, at)| now - *at < MANDATE_WINDOW).count()
    }
}
