//! Offers, orders and consents as JSON: the same over MQTT and, where it wants them, over HTTP.

use serde::{Serialize, Serializer};

use crate::id::{MandateId, OfferId, OrderId, ProfileId, ReceiptId, SellerId, derive_bytes};
use crate::model::{
    Action, ConsentRecord, Fulfil, Offer, OfferItem, OfferPrice, OfferText, Order, OrderState, Purpose, StoreChoice,
};
use crate::money::Money;
use crate::time::Timestamp;

/// What claim codes and short codes are written in: no 0, 1, I and O, which people confuse.
pub const CODE_ALPHABET: &[u8; 31] = b"23456789ABCDEFGHJKMNPQRSTUVWXYZ";
/// Characters of a claim code or short code.
pub const CODE_CHARS: usize = 8;

/// The short code by which an offer is continued on another channel: read out on the phone, or
/// typed at a till. Derived, so that the same offer has the same code everywhere.
pub fn continue_code(offer: &OfferId) -> String {
    code_of(&derive_bytes("continue", &[offer.bytes()]))
}

/// Eight characters of the alphabet out of a hash.
fn code_of(hash: &[u8]) -> String {
    // One character per pair of bytes: 65 536 is near enough a multiple of 31 to favour none.
    hash.as_chunks::<2>().0[..CODE_CHARS]
        .iter()
        .map(|pair| char::from(CODE_ALPHABET[usize::from(u16::from_be_bytes(*pair)) % CODE_ALPHABET.len()]))
        .collect()
}

/// A claim code as people read it: `7K4Q9XMP` → `7K4Q-9XMP`.
pub fn hyphenated(code: &str) -> String {
    match code.split_at_checked(CODE_CHARS / 2) {
        Some((first, second)) if code.len() == CODE_CHARS => format!("{first}-{second}"),
        Some(_) | None => code.to_owned(),
    }
}

/// An offer as the contract writes it.
pub fn offer_json(offer: &Offer) -> serde_json::Value {
    serde_json::to_value(OfferShown::of(offer)).expect("plain fields with text keys serialise")
}

/// An order as the contract writes it.
pub fn order_json(order: &Order) -> serde_json::Value {
    serde_json::to_value(OrderShown::of(order)).expect("plain fields with text keys serialise")
}

/// What the customer can do with an order on the device.
pub fn order_can(order: &Order) -> &'static [&'static str] {
    match order.state {
        OrderState::Confirmed => &["cancel"],
        state if !state.is_undone() && order.may_be_withdrawn() => &["withdraw"],
        _ => &[],
    }
}

/// What a customer shows in the store to take an order with them. Derived, so that it is the same everywhere.
pub fn pickup_code(order: &OrderId) -> String {
    code_of(&derive_bytes("pickup", &[order.bytes()]))
}

/// Text of an id without an allocation of its own.
fn as_text<S: Serializer, T: std::fmt::Display>(id: &T, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(id)
}

/// An offer on its way out. The keys and their order are the contract's; what the gateway does not
/// know yet is null or empty, so that a device sees one shape always.
#[derive(Serialize)]
pub(super) struct OfferShown<'o> {
    #[serde(serialize_with = "as_text")]
    id: OfferId,
    rev: u32,
    kind: &'o str,
    placement: &'o str,
    priority: u8,
    valid_from: i64,
    expires_at: i64,
    text: TextShown<'o>,
    item: Option<ItemShown<'o>>,
    price: Option<PriceShown>,
    sold_by: Option<&'o str>,
    ships: Option<ShipsShown>,
    alternatives: Vec<AlternativeShown<'o>>,
    fulfil: &'o [Fulfil],
    stores: Vec<StoreShown<'o>>,
    actions: &'o [Action],
    confirm: Option<ConfirmShown<'o>>,
    legal: Option<LegalShown<'o>>,
    why: Option<WhyShown<'o>>,
    r#continue: String,
    test: bool,
}

#[derive(Serialize)]
struct TextShown<'o> {
    locale: &'o str,
    title: &'o str,
    body: &'o str,
    short: Option<&'o str>,
    say: Option<&'o str>,
}

#[derive(Serialize)]
struct ItemShown<'o> {
    product: &'o str,
    name: &'o str,
    qty: u32,
    unit: &'static str,
    image: Option<()>,
}

#[derive(Serialize)]
struct PriceShown {
    item: Money,
    delivery: Money,
    total: Money,
    was: Option<Money>,
    tax_incl: bool,
    lock_until: i64,
}

#[derive(Serialize)]
struct ConfirmShown<'o> {
    strength: &'o str,
    pay_label: &'o str,
}

#[derive(Serialize)]
struct LegalShown<'o> {
    withdraw_days: u32,
    terms_id: Option<()>,
    seller_id: Option<&'o str>,
}

#[derive(Serialize)]
struct ShipsShown {
    /// The day by which it should be there.
    by: String,
}

impl ShipsShown {
    fn of(by: Timestamp) -> ShipsShown {
        ShipsShown { by: by.to_string().chars().take("2026-03-24".len()).collect() }
    }
}

#[derive(Serialize)]
struct AlternativeShown<'o> {
    id: String,
    name: &'o str,
    total: Money,
    sold_by: &'o str,
    condition: &'static str,
    ships: Option<ShipsShown>,
}

impl<'o> AlternativeShown<'o> {
    fn all_of(offer: &'o Offer) -> Vec<AlternativeShown<'o>> {
        let name = offer.item.as_ref().map_or("", |item| &item.name);
        let shown = offer.alternatives.iter().enumerate().map(|(n, other)| AlternativeShown {
            id: alternative_id(n),
            name,
            total: other.price.total,
            sold_by: &other.sold_by,
            condition: other.condition.as_str(),
            ships: other.ships_by.map(ShipsShown::of),
        });
        shown.collect()
    }
}

/// The id of the n-th alternative of an offer: `a1` is the first.
pub fn alternative_id(n: usize) -> String {
    format!("a{}", n + 1)
}

#[derive(Serialize)]
struct StoreShown<'o> {
    id: &'o str,
    name: &'o str,
    ready: Option<&'o str>,
}

impl<'o> StoreShown<'o> {
    fn of(choice: &'o StoreChoice) -> StoreShown<'o> {
        StoreShown { id: choice.store.as_str(), name: &choice.name, ready: choice.ready.as_deref() }
    }
}

#[derive(Serialize)]
struct WhyShown<'o> {
    short: &'o str,
}

impl<'o> OfferShown<'o> {
    pub(super) fn of(offer: &'o Offer) -> OfferShown<'o> {
        let text = &offer.text;
        OfferShown {
            id: offer.id,
            rev: offer.rev,
            kind: &offer.kind,
            placement: offer.placement.as_str(),
            priority: offer.priority,
            valid_from: offer.valid_from.0,
            expires_at: offer.expires_at.0,
            text: TextShown {
                locale: &text.locale,
                title: &text.title,
                body: &text.body,
                short: text.short.as_deref(),
                say: text.say.as_deref(),
            },
            item: offer.item.as_ref().map(ItemShown::of),
            price: offer.price.as_ref().map(PriceShown::of),
            sold_by: offer.sold_by.as_deref(),
            ships: offer.ships_by.map(ShipsShown::of),
            alternatives: AlternativeShown::all_of(offer),
            fulfil: &offer.fulfil,
            stores: offer.stores.iter().map(StoreShown::of).collect(),
            actions: &offer.actions,
            confirm: offer.confirm.as_ref().map(|(strength, pay_label)| ConfirmShown { strength, pay_label }),
            legal: offer.withdraw_days.map(|withdraw_days| LegalShown {
                withdraw_days,
                terms_id: None,
                seller_id: offer.seller.as_ref().map(SellerId::as_str),
            }),
            why: text.why.as_deref().map(|short| WhyShown { short }),
            r#continue: continue_code(&offer.id),
            test: offer.test,
        }
    }
}

impl<'o> ItemShown<'o> {
    fn of(item: &'o OfferItem) -> ItemShown<'o> {
        ItemShown { product: item.product.as_str(), name: &item.name, qty: item.qty, unit: "count", image: None }
    }
}

impl PriceShown {
    fn of(price: &OfferPrice) -> PriceShown {
        PriceShown {
            item: price.item,
            delivery: price.delivery,
            total: price.total,
            was: price.was.filter(|was| *was != price.total),
            tax_incl: price.tax_incl,
            lock_until: price.lock_until.0,
        }
    }
}

/// An order on its way out.
#[derive(Serialize)]
pub(super) struct OrderShown<'o> {
    #[serde(serialize_with = "as_text")]
    order: OrderId,
    #[serde(serialize_with = "as_text")]
    offer: OfferId,
    rev: u32,
    state: &'static str,
    total: Money,
    cancel_until: Option<i64>,
    can: &'static [&'static str],
    #[serde(skip_serializing_if = "Option::is_none")]
    eta: Option<&'o str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pickup: Option<PickupShown<'o>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    withdrawn_at: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    refunded: Option<Money>,
}

/// Where an order waits, or will.
#[derive(Serialize)]
struct PickupShown<'o> {
    store: &'o str,
    name: &'o str,
    code: &'o str,
    until: Option<i64>,
}

impl<'o> OrderShown<'o> {
    pub(super) fn of(order: &'o Order) -> OrderShown<'o> {
        OrderShown {
            order: order.id,
            offer: order.offer,
            rev: order.rev,
            state: order.state.as_str(),
            total: order.total,
            cancel_until: order.cancel_until.map(|t| t.0),
            can: order_can(order),
            eta: order.eta.as_deref(),
            pickup: order.pickup.as_ref().map(|pickup| PickupShown {
                store: pickup.store.as_str(),
                name: &pickup.name,
                code: &pickup.code,
                until: pickup.until.map(|t| t.0),
            }),
            withdrawn_at: order.withdrawn_at.map(|t| t.0),
            refunded: Some(order.refunded()).filter(|back| back.minor > 0),
        }
    }
}

/// An order that was made under a mandate, as a device sees it.
#[derive(Serialize)]
pub(super) struct AnnouncementShown<'a> {
    #[serde(serialize_with = "as_text")]
    order: OrderId,
    rev: u32,
    mandate: &'a str,
    text: &'a OfferText,
    lines: Vec<LineShown<'a>>,
    total: Money,
    cancel_until: Option<i64>,
    can: &'static [&'static str],
}

#[derive(Serialize)]
struct LineShown<'a> {
    product: &'a str,
    name: &'a str,
    qty: u32,
    price: Money,
}

impl<'a> AnnouncementShown<'a> {
    pub(super) fn of(order: &'a Order, text: &'a OfferText, mandate: &'a MandateId) -> AnnouncementShown<'a> {
        let lines = order.lines.iter().map(|line| LineShown {
            product: line.product.as_str(),
            name: &line.name,
            qty: line.qty,
            price: line.price,
        });
        AnnouncementShown {
            order: order.id,
            rev: order.rev,
            mandate: mandate.as_str(),
            text,
            lines: lines.collect(),
            total: order.total,
            cancel_until: order.cancel_until.map(|t| t.0),
            can: &["cancel", "later", "not_needed"],
        }
    }
}

/// One purpose of the authoritative list.
#[derive(Serialize)]
pub(super) struct ConsentShown<'c> {
    purpose: Purpose,
    granted: bool,
    t: i64,
    source: crate::model::ConsentSource,
    method: Option<&'c str>,
    text_id: Option<&'c str>,
    expires_at: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    receipt: Option<ReceiptId>,
}

impl<'c> ConsentShown<'c> {
    pub(super) fn of((purpose, record): &'c (Purpose, ConsentRecord), profile: Option<&ProfileId>) -> ConsentShown<'c> {
        ConsentShown {
            purpose: *purpose,
            granted: record.granted,
            t: record.at.0,
            source: record.source,
            method: record.method.as_deref(),
            text_id: record.text_id.as_deref(),
            expires_at: record.expires_at.map(|t| t.0),
            receipt: profile.map(|profile| record.receipt(profile, *purpose)),
        }
    }
}
