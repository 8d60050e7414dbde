//! How households, offers and orders were stored before they knew of discounts and budgets (version 1), of
//! trends and of what stands on the shelf (version 2), of sellers, stores and what becomes of single lines, of what
//! people decide about being spoken to and of merges (version 3, of offers and orders 2, of profiles 1): read once
//! from what an older release wrote.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{
    Action, Contact, Device, Few, Fulfil, Household, Link, Locale, Member, Offer, OfferCode, OfferItem, OfferPrice,
    OfferState, OfferText, Order, OrderLine, OrderState, Profile, StateChange, Supply, Trend, TrendKey,
};
use crate::budget::{Budget, Drawn};
use crate::id::{
    DecisionId, DeviceKey, HouseholdId, LinkId, MoveId, OfferId, OrderId, PlacementId, ProductId, ProfileId,
    RetailerId, SlotId, TriggerId,
};
use crate::money::Money;
use crate::time::{Span, Timestamp, Zone};

/// A household of version 1, of the same fields in the same order as [`Household`].
#[derive(Deserialize)]
pub struct HouseholdV1 {
    id: HouseholdId,
    seq: u64,
    retailer: Option<RetailerId>,
    zone: Option<Zone>,
    locale: Option<Locale>,
    members: Few<ProfileId, Arc<Member>>,
    devices: Few<DeviceKey, Box<Device>>,
    links: Few<LinkId, Link>,
    paused_until: Option<Timestamp>,
    offers: Few<OfferId, OfferV1>,
    orders: Few<OrderId, OrderV1>,
    contacts: Vec<Contact>,
    arrived: Vec<MoveId>,
}

/// A household of version 2: one that knew no trends and nothing of its shelf, else of the same fields in the
/// same order.
#[derive(Deserialize, Serialize)]
pub struct HouseholdV2 {
    id: HouseholdId,
    seq: u64,
    retailer: Option<RetailerId>,
    zone: Option<Zone>,
    locale: Option<Locale>,
    members: Few<ProfileId, Arc<Member>>,
    devices: Few<DeviceKey, Box<Device>>,
    links: Few<LinkId, Link>,
    paused_until: Option<Timestamp>,
    offers: Few<OfferId, OfferV2>,
    orders: Few<OrderId, OrderV2>,
    contacts: Vec<Contact>,
    arrived: Vec<MoveId>,
}

/// A household of version 3: one whose offers and orders are of version 2, and that knew no standings and no merges,
/// else of the same fields in the same order.
#[derive(Deserialize, Serialize)]
pub struct HouseholdV3 {
    id: HouseholdId,
    seq: u64,
    retailer: Option<RetailerId>,
    zone: Option<Zone>,
    locale: Option<Locale>,
    members: Few<ProfileId, Arc<Member>>,
    devices: Few<DeviceKey, Box<Device>>,
    links: Few<LinkId, Link>,
    paused_until: Option<Timestamp>,
    offers: Few<OfferId, OfferV2>,
    orders: Few<OrderId, OrderV2>,
    contacts: Vec<Contact>,
    arrived: Vec<MoveId>,
    supply: Supply,
    trends: Few<TrendKey, Trend>,
}

/// An offer of version 2.
#[derive(Deserialize, Serialize)]
pub struct OfferV2 {
    id: OfferId,
    rev: u32,
    retailer: RetailerId,
    trigger: TriggerId,
    trigger_version: u64,
    decision: DecisionId,
    #[serde(deserialize_with = "crate::shared::deserialize")]
    kind: Arc<str>,
    device: DeviceKey,
    slot: Option<SlotId>,
    placement: PlacementId,
    priority: u8,
    valid_from: Timestamp,
    expires_at: Timestamp,
    text: OfferText,
    item: Option<OfferItem>,
    price: Option<OfferPriceV2>,
    sold_by: Option<String>,
    withdraw_days: Option<u32>,
    fulfil: Vec<Fulfil>,
    actions: Vec<Action>,
    confirm: Option<(String, String)>,
    cancel_window: Span,
    test: bool,
    state: OfferState,
    history: Vec<StateChange>,
    last_answer: Option<(String, Timestamp)>,
    budget: Option<Budget>,
    code: Option<OfferCode>,
}

/// A price of version 2.
#[derive(Deserialize, Serialize)]
struct OfferPriceV2 {
    item: Money,
    delivery: Money,
    total: Money,
    tax_incl: bool,
    lock_until: Timestamp,
    was: Option<Money>,
}

/// An order of version 2.
#[derive(Deserialize, Serialize)]
pub struct OrderV2 {
    id: OrderId,
    offer: OfferId,
    retailer: RetailerId,
    device: DeviceKey,
    profile: Option<ProfileId>,
    rev: u32,
    state: OrderState,
    total: Money,
    cancel_until: Option<Timestamp>,
    fulfil: Fulfil,
    lines: Vec<OrderLineV2>,
    eta: Option<String>,
    test: bool,
    created_at: Timestamp,
    history: Vec<StateChange>,
    drawn: Option<Drawn>,
}

/// A line of an order of versions 1 and 2.
#[derive(Deserialize, Serialize)]
struct OrderLineV2 {
    product: ProductId,
    name: String,
    qty: u32,
    price: Money,
}

/// A profile of version 1: a name, a place, segments and homes.
#[derive(Deserialize)]
pub struct ProfileV1 {
    id: ProfileId,
    display_name: String,
    locale: Option<Locale>,
    zone: Option<Zone>,
    segments: BTreeSet<String>,
    households: BTreeSet<HouseholdId>,
}

impl From<ProfileV1> for Profile {
    fn from(old: ProfileV1) -> Profile {
        let ProfileV1 { id, display_name, locale, zone, segments, households } = old;
        Profile { display_name, locale, zone, segments, households, ..Profile::named(id) }
    }
}

/// An offer of version 1.
#[derive(Deserialize)]
pub struct OfferV1 {
    id: OfferId,
    rev: u32,
    retailer: RetailerId,
    trigger: TriggerId,
    trigger_version: u64,
    decision: DecisionId,
    #[serde(deserialize_with = "crate::shared::deserialize")]
    kind: Arc<str>,
    device: DeviceKey,
    slot: Option<SlotId>,
    placement: PlacementId,
    priority: u8,
    valid_from: Timestamp,
    expires_at: Timestamp,
    text: OfferText,
    item: Option<OfferItem>,
    price: Option<OfferPriceV1>,
    sold_by: Option<String>,
    withdraw_days: Option<u32>,
    fulfil: Vec<Fulfil>,
    actions: Vec<Action>,
    confirm: Option<(String, String)>,
    cancel_window: Span,
    test: bool,
    state: OfferState,
    history: Vec<StateChange>,
    last_answer: Option<(String, Timestamp)>,
}

/// A price of version 1.
#[derive(Deserialize)]
struct OfferPriceV1 {
    item: Money,
    delivery: Money,
    total: Money,
    tax_incl: bool,
    lock_until: Timestamp,
}

/// An order of version 1.
#[derive(Deserialize)]
pub struct OrderV1 {
    id: OrderId,
    offer: OfferId,
    retailer: RetailerId,
    device: DeviceKey,
    profile: Option<ProfileId>,
    rev: u32,
    state: OrderState,
    total: Money,
    cancel_until: Option<Timestamp>,
    fulfil: Fulfil,
    lines: Vec<OrderLineV2>,
    eta: Option<String>,
    test: bool,
    created_at: Timestamp,
    history: Vec<StateChange>,
}

impl From<HouseholdV1> for HouseholdV2 {
    fn from(old: HouseholdV1) -> HouseholdV2 {
        let HouseholdV1 { id, seq, retailer, zone, locale, members, devices, links, paused_until, .. } = old;
        let HouseholdV1 { offers, orders, contacts, arrived, .. } = old;
        let offers = offers.into_iter().map(|(id, offer)| (id, offer.into())).collect();
        let orders = orders.into_iter().map(|(id, order)| (id, order.into())).collect();
        HouseholdV2 {
            id,
            seq,
            retailer,
            zone,
            locale,
            members,
            devices,
            links,
            paused_until,
            offers,
            orders,
            contacts,
            arrived,
        }
    }
}

impl From<HouseholdV2> for HouseholdV3 {
    fn from(old: HouseholdV2) -> HouseholdV3 {
        let HouseholdV2 { id, seq, retailer, zone, locale, members, devices, links, paused_until, .. } = old;
        let HouseholdV2 { offers, orders, contacts, arrived, .. } = old;
        HouseholdV3 {
            id,
            seq,
            retailer,
            zone,
            locale,
            members,
            devices,
            links,
            paused_until,
            offers,
            orders,
            contacts,
            arrived,
            supply: Supply::default(),
            trends: Few::new(),
        }
    }
}

impl From<HouseholdV3> for Household {
    fn from(old: HouseholdV3) -> Household {
        let HouseholdV3 { id, seq, retailer, zone, locale, members, devices, links, paused_until, .. } = old;
        let HouseholdV3 { offers, orders, contacts, arrived, supply, trends, .. } = old;
        let offers = offers.into_iter().map(|(id, offer)| (id, Arc::new(offer.into()))).collect();
        let orders = orders.into_iter().map(|(id, order)| (id, Arc::new(order.into()))).collect();
        Household {
            id,
            seq,
            retailer,
            zone,
            locale,
            members,
            devices,
            links,
            paused_until,
            offers,
            orders,
            contacts,
            arrived,
            supply,
            trends,
            habits: Few::new(),
            standings: Few::new(),
            merges: Vec::new(),
        }
    }
}

impl From<OfferV1> for OfferV2 {
    fn from(old: OfferV1) -> OfferV2 {
        let price = old.price.map(|OfferPriceV1 { item, delivery, total, tax_incl, lock_until }| OfferPriceV2 {
            item,
            delivery,
            total,
            tax_incl,
            lock_until,
            was: None,
        });
        OfferV2 {
            id: old.id,
            rev: old.rev,
            retailer: old.retailer,
            trigger: old.trigger,
            trigger_version: old.trigger_version,
            decision: old.decision,
            kind: old.kind,
            device: old.device,
            slot: old.slot,
            placement: old.placement,
            priority: old.priority,
            valid_from: old.valid_from,
            expires_at: old.expires_at,
            text: old.text,
            item: old.item,
            price,
            sold_by: old.sold_by,
            withdraw_days: old.withdraw_days,
            fulfil: old.fulfil,
            actions: old.actions,
            confirm: old.confirm,
            cancel_window: old.cancel_window,
            test: old.test,
            state: old.state,
            history: old.history,
            last_answer: old.last_answer,
            budget: None,
            code: None,
        }
    }
}

impl From<OrderV1> for OrderV2 {
    fn from(old: OrderV1) -> OrderV2 {
        OrderV2 {
            id: old.id,
            offer: old.offer,
            retailer: old.retailer,
            device: old.device,
            profile: old.profile,
            rev: old.rev,
            state: old.state,
            total: old.total,
            cancel_until: old.cancel_until,
            fulfil: old.fulfil,
            lines: old.lines,
            eta: old.eta,
            test: old.test,
            created_at: old.created_at,
            history: old.history,
            drawn: None,
        }
    }
}

impl From<OfferV2> for Offer {
    fn from(old: OfferV2) -> Offer {
        let price = old.price.map(|OfferPriceV2 { item, delivery, total, tax_incl, lock_until, was }| OfferPrice {
            item,
            delivery,
            total,
            tax_incl,
            lock_until,
            was,
            // Until then nothing but the trigger's discount made a difference.
            reduced: was.map(|was| Money { minor: was.minor.saturating_sub(total.minor), ..total }),
        });
        Offer {
            id: old.id,
            rev: old.rev,
            retailer: old.retailer,
            trigger: old.trigger,
            trigger_version: old.trigger_version,
            decision: old.decision,
            kind: old.kind,
            device: old.device,
            slot: old.slot,
            placement: old.placement,
            priority: old.priority,
            valid_from: old.valid_from,
            expires_at: old.expires_at,
            text: old.text,
            item: old.item,
            price,
            sold_by: old.sold_by,
            withdraw_days: old.withdraw_days,
            fulfil: old.fulfil,
            actions: old.actions,
            confirm: old.confirm,
            cancel_window: old.cancel_window,
            test: old.test,
            state: old.state,
            history: old.history,
            last_answer: old.last_answer,
            budget: old.budget,
            code: old.code,
            seller: None,
            ships_by: None,
            alternatives: Vec::new(),
            stores: Vec::new(),
        }
    }
}

impl From<OrderV2> for Order {
    fn from(old: OrderV2) -> Order {
        let has_left = old.state.rank() >= OrderState::Shipped.rank() && !old.state.is_final();
        let line = |OrderLineV2 { product, name, qty, price }: OrderLineV2| OrderLine {
            product,
            name,
            qty,
            price,
            shipped: if has_left { qty } else { 0 },
            refunded: if old.state == OrderState::Refunded { qty } else { 0 },
        };
        Order {
            id: old.id,
            offer: old.offer,
            retailer: old.retailer,
            device: old.device,
            profile: old.profile,
            rev: old.rev,
            state: old.state,
            total: old.total,
            cancel_until: old.cancel_until,
            fulfil: old.fulfil,
            lines: old.lines.into_iter().map(line).collect(),
            eta: old.eta,
            test: old.test,
            created_at: old.created_at,
            history: old.history,
            drawn: old.drawn,
            seller: None,
            sold_by: None,
            held: None,
            pickup: None,
            withdraw_days: None,
            withdrawn_at: None,
        }
    }
}
