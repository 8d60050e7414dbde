use serde::{Deserialize, Serialize};

use super::{Fulfil, StateChange};
use crate::budget::Drawn;
use crate::id::{DeviceKey, OfferId, OrderId, ProductId, ProfileId, RetailerId, SellerId, StoreId};
use crate::money::Money;
use crate::time::{Span, Timestamp};

macro_rules! order_states {
    ($($(#[$doc:meta])* $name:ident = $text:literal;)*) => {
        /// Where an order stands.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum OrderState { $($(#[$doc])* #[serde(rename = $text)] $name,)* }
        impl OrderState {
            /// Every state.
            pub const ALL: &'static [OrderState] = &[$(OrderState::$name,)*];
            /// The state as written.
            pub fn as_str(self) -> &'static str { match self { $(OrderState::$name => $text,)* } }
            /// Reads the written form.
            pub fn parse(text: &str) -> Option<OrderState> {
                OrderState::ALL.iter().copied().find(|state| state.as_str() == text)
            }
        }
    };
}
order_states! {
    /// Accepted, the cancel window is open.
    Confirmed = "confirmed";
    /// Handed to the shop.
    Submitted = "submitted";
    /// Taken by the shop.
    Accepted = "accepted";
    /// A part is on its way.
    PartiallyShipped = "partially_shipped";
    /// On its way.
    Shipped = "shipped";
    /// Waiting in the store.
    ReadyForPickup = "ready_for_pickup";
    /// Later than promised.
    Delayed = "delayed";
    /// At the door.
    Delivered = "delivered";
    /// Taken from the store.
    PickedUp = "picked_up";
    /// Nobody came for it.
    PickupExpired = "pickup_expired";
    /// Cancelled by the customer.
    Cancelled = "cancelled";
    /// Refused by the shop.
    Refused = "refused";
    /// Sent back.
    Returned = "returned";
    /// A part of the money is back.
    PartiallyRefunded = "partially_refunded";
    /// The money is back.
    Refunded = "refunded";
}

impl OrderState {
    /// How far along the main road, for "forward only"; side states have the place they leave from.
    pub fn rank(self) -> u8 {
        match self {
            OrderState::Confirmed => 0,
            OrderState::Submitted => 1,
            OrderState::Accepted => 2,
            OrderState::Delayed | OrderState::PartiallyShipped => 3,
            OrderState::Shipped | OrderState::ReadyForPickup => 4,
            OrderState::Delivered | OrderState::PickedUp | OrderState::PickupExpired => 5,
            OrderState::Returned | OrderState::PartiallyRefunded => 6,
            OrderState::Cancelled | OrderState::Refused | OrderState::Refunded => 7,
        }
    }
    /// Whether nothing follows.
    pub fn is_final(self) -> bool {
        self.rank() == 7
    }
    /// Whether nothing of the sale is left: what it drew from a budget goes back.
    pub fn is_undone(self) -> bool {
        matches!(self, OrderState::Cancelled | OrderState::Refused | OrderState::Refunded | OrderState::PickupExpired)
    }
    /// Whether something was bought, whatever became of it: no order that came to nothing.
    pub fn is_purchase(self) -> bool {
        !matches!(self, OrderState::Cancelled | OrderState::Refused)
    }
    /// Whether goods are still owed: such an order silences further offers of the same product.
    pub fn is_open(self) -> bool {
        self.rank() < 5
    }
    /// Whether the goods reached the customer, wherever they are by now.
    pub fn has_arrived(self) -> bool {
        matches!(
            self,
            OrderState::Delivered | OrderState::PickedUp | OrderState::Returned | OrderState::PartiallyRefunded
        )
    }
}

/// One line of an order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderLine {
    /// Article number.
    pub product: ProductId,
    /// Its name as ordered.
    pub name: String,
    /// How many.
    pub qty: u32,
    /// One piece.
    pub price: Money,
    /// How many are on their way or there.
    pub shipped: u32,
    /// Of how many the money is back.
    pub refunded: u32,
}

impl OrderLine {
    /// How many are still to be sent. What is refunded counts as what was not sent yet, as far as there is such.
    pub fn owed(&self) -> u32 {
        self.qty.saturating_sub(self.shipped.saturating_add(self.refunded))
    }
}

/// A commitment to buy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// Derived from the offer.
    pub id: OrderId,
    /// The offer it comes from.
    pub offer: OfferId,
    /// Whose order it is.
    pub retailer: RetailerId,
    /// On which device it was proposed.
    pub device: DeviceKey,
    /// Who buys: the acting person, else the owner.
    pub profile: Option<ProfileId>,
    /// Raised at every change of state, the gateway's own too.
    pub rev: u32,
    /// Where it stands.
    pub state: OrderState,
    /// What it costs, all together.
    pub total: Money,
    /// Until when the customer may cancel at the device; none when there is no window.
    pub cancel_until: Option<Timestamp>,
    /// How it is had.
    pub fulfil: Fulfil,
    /// What is bought.
    pub lines: Vec<OrderLine>,
    /// When the goods should arrive, as the shop said.
    pub eta: Option<String>,
    /// A test order.
    pub test: bool,
    /// When it was made.
    pub created_at: Timestamp,
    /// How it got here.
    pub history: Vec<StateChange>,
    /// What it drew from a budget and still holds.
    pub drawn: Option<Drawn>,
    /// Who sells it.
    pub seller: Option<SellerId>,
    /// As the customer was told.
    pub sold_by: Option<String>,
    /// Goods that are put aside for it, where they are counted.
    pub held: Option<Held>,
    /// Where it is collected, when it is.
    pub pickup: Option<Pickup>,
    /// Days in which the customer may withdraw from it.
    pub withdraw_days: Option<u32>,
    /// When the customer withdrew.
    pub withdrawn_at: Option<Timestamp>,
}

/// Where goods are counted.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Place {
    /// In a store.
    Store(StoreId),
    /// At a seller that delivers.
    Seller(SellerId),
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Place::Store(store) => write!(f, "store {store}"),
            Place::Seller(seller) => write!(f, "seller {seller}"),
        }
    }
}

/// Goods that are put aside for an order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// Where.
    pub place: Place,
    /// What.
    pub product: ProductId,
    /// How many.
    pub qty: u32,
}

/// How an order is collected.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pickup {
    /// In which store.
    pub store: StoreId,
    /// As customers know it.
    pub name: String,
    /// What the customer shows there.
    pub code: String,
    /// How long what is ready waits.
    pub hold: Span,
    /// Until when it waits, once it is ready.
    pub until: Option<Timestamp>,
}

impl Order {
    /// Whether the customer may still withdraw from it, as far as its state tells.
    pub fn may_be_withdrawn(&self) -> bool {
        self.withdraw_days.is_some_and(|days| days > 0)
            && self.withdrawn_at.is_none()
            && !self.has_been(OrderState::Returned)
            && !self.state.is_undone()
    }
    /// Whether it was ever said to be so.
    pub fn has_been(&self, state: OrderState) -> bool {
        self.history.iter().any(|change| *change.state == *state.as_str())
    }
    /// Until when the customer may withdraw from what arrived.
    pub fn withdrawn_from_until(&self) -> Option<Timestamp> {
        let days = Span::days(self.withdraw_days.unwrap_or(0).into());
        self.arrived_at().map(|at| at + days)
    }
    /// Until when what is ready waits in the store.
    pub fn waits_until(&self) -> Option<Timestamp> {
        let pickup = self.pickup.as_ref().filter(|_| self.state == OrderState::ReadyForPickup);
        pickup.and_then(|pickup| pickup.until)
    }
    /// When the goods reached the customer.
    pub fn arrived_at(&self) -> Option<Timestamp> {
        let is_home =
            |state: &str| matches!(OrderState::parse(state), Some(OrderState::Delivered | OrderState::PickedUp));
        self.history.iter().find(|change| is_home(&change.state)).map(|change| change.at)
    }
    /// How much money is back by now: of every piece its price, and with the last one what was paid for delivery.
    pub fn refunded(&self) -> Money {
        if self.state == OrderState::Refunded {
            return self.total;
        }
        let pieces = |line: &OrderLine| line.price.minor.saturating_mul(line.refunded.into());
        let back = self.lines.iter().map(pieces).fold(0, i64::saturating_add);
        Money { minor: back.min(self.total.minor), ..self.total }
    }
    /// When money for a product came back last.
    pub fn refunded_at(&self, product: &ProductId) -> Option<Timestamp> {
        let is_back = |state: &str| {
            matches!(OrderState::parse(state), Some(OrderState::PartiallyRefunded | OrderState::Refunded))
        };
        self.lines.iter().find(|line| line.product == *product && line.refunded > 0)?;
        self.history.iter().rev().find(|change| is_back(&change.state)).map(|change| change.at)
    }
}
