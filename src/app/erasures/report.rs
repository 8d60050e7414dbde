//! What is told of an erasure, and what is kept of orders.

use std::collections::BTreeMap;

use hearthway_core::budget::Drawn;
use hearthway_core::id::{DERIVED_BYTES, DeviceKey, DeviceName, MakerId, OfferId, OrderId, RetailerId, SellerId};
use hearthway_core::model::{Fulfil, Held, Order, OrderLine, OrderState, Pickup, StateChange};
use hearthway_core::money::Money;
use hearthway_core::time::Timestamp;
use serde::{Deserialize, Serialize};

/// What came of an erasure.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErasureReport {
    /// Homes that nobody is left in.
    pub homes_emptied: u64,
    /// Homes where others live on.
    pub homes_left: u64,
    /// Devices that went back to households of their own, and owe a wipe.
    pub devices_given_back: u64,
    /// Links that ended.
    pub links_ended: u64,
    /// Offers that were taken back.
    pub offers_withdrawn: u64,
    /// Mandates that ended.
    pub mandates_ended: u64,
    /// Messages that waited for those devices.
    pub messages_taken_back: u64,
    /// Rows that were deleted, by table.
    pub deleted: BTreeMap<String, u64>,
    /// Rows of homes where others live, sealed with another key, by table.
    pub sealed_anew: BTreeMap<String, u64>,
    /// Keys that were destroyed: what they sealed is unreadable, in logs and backups too.
    pub keys_destroyed: u64,
    /// What is kept, and until when.
    pub kept: Vec<Kept>,
}

/// Something that is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// What it is.
    pub what: String,
    /// Its id, where it has one.
    pub id: Option<String>,
    /// Why.
    pub why: String,
    /// Until when.
    pub until: Timestamp,
}

/// How an erasure stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Erasure {
    /// Its id.
    pub id: String,
    /// When it was begun.
    pub begun_at: Timestamp,
    /// When it was done; none while it is at work.
    pub ended_at: Option<Timestamp>,
    /// Why it does not get on at the moment.
    pub trouble: Option<String>,
    /// What came of it, with the orders that are kept.
    pub report: ErasureReport,
    /// How many orders are kept beside those that the report lists.
    pub kept_more: u64,
}

/// What the law wants kept of an order: nobody is named, no device, no home.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptOrder {
    /// Its id, which the shop has too.
    pub id: OrderId,
    /// Where it stood.
    pub state: OrderState,
    /// What it cost.
    pub total: Money,
    /// How it was had.
    pub fulfil: Fulfil,
    /// What was bought.
    pub lines: Vec<OrderLine>,
    /// When.
    pub created_at: Timestamp,
    /// What the shop needs to go on with it; none where nothing follows.
    pub at_work: Option<Box<AtWork>>,
}

/// What the shop needs to go on with an order of nobody.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AtWork {
    rev: u32,
    history: Vec<StateChange>,
    eta: Option<String>,
    test: bool,
    drawn: Option<Drawn>,
    seller: Option<SellerId>,
    sold_by: Option<String>,
    held: Option<Held>,
    pickup: Option<Pickup>,
    withdraw_days: Option<u32>,
    withdrawn_at: Option<Timestamp>,
}

/// Where an order is kept, and by which erasure.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct KeptAt {
    pub(super) until: Timestamp,
    pub(super) erasure: [u8; DERIVED_BYTES],
    /// Whether the shop may go on with it.
    pub(super) is_at_work: bool,
}

impl KeptOrder {
    /// What is kept of an order: without buyer, home, device and offer.
    pub(super) fn of(order: &Order) -> KeptOrder {
        let order = order.clone();
        let at_work = AtWork {
            rev: order.rev,
            history: order.history,
            eta: order.eta,
            test: order.test,
            drawn: order.drawn,
            seller: order.seller,
            sold_by: order.sold_by,
            held: order.held,
            pickup: order.pickup,
            withdraw_days: order.withdraw_days,
            withdrawn_at: order.withdrawn_at,
        };
        KeptOrder {
            id: order.id,
            state: order.state,
            total: order.total,
            fulfil: order.fulfil,
            lines: order.lines,
            created_at: order.created_at,
            at_work: (!order.state.is_final()).then(|| Box::new(at_work)),
        }
    }

    /// The order as the rules move it on, on a device of nobody's; none where nothing follows.
    pub(super) fn at_work(&self, retailer: &RetailerId) -> Option<Order> {
        let more = (**self.at_work.as_ref()?).clone();
        let nobody = || MakerId::new("nobody").ok().zip(DeviceName::new("nobody").ok());
        let (maker, device) = nobody()?;
        Some(Order {
            id: self.id,
            offer: OfferId::derived(&[b"nobody", self.id.bytes()]),
            retailer: retailer.clone(),
            device: DeviceKey::new(maker, device),
            profile: None,
            rev: more.rev,
            state: self.state,
            total: self.total,
            cancel_until: None,
            fulfil: self.fulfil,
            lines: self.lines.clone(),
            eta: more.eta,
            test: more.test,
            created_at: self.created_at,
            history: more.history,
            drawn: more.drawn,
            seller: more.seller,
            sold_by: more.sold_by,
            held: more.held,
            pickup: more.pickup,
            withdraw_days: more.withdraw_days,
            withdrawn_at: more.withdrawn_at,
        })
    }
}
