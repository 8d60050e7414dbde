//! An accept: what was quoted is looked at again, goods are put aside, the budget is drawn from, and there
//! is one order; or the offer comes back with what is true by now, or ends.
//!
//! Inside its lock a price holds. Behind it a lower one is given, and a higher one is asked again. Where
//! the seller has none left, another one that asks no more is asked about; where there is none, the
//! offer ends. Nothing is drawn and nothing put aside unless the order is made.

use std::sync::Arc;

use super::budget::{self, Exhausted};
use super::draft::Draft;
use super::offer::{Answerer, mark, moved, withdraw};
use super::quote::{self, Ask, SellerQuote};
use super::{Answered, Refusal, mandate, order, pipeline, supply, wake};
use crate::budget::Reserve;
use crate::code::Code;
use crate::decision::{Change, Reply};
use crate::id::{OrderId, SellerId, StoreId};
use crate::input::{Answer, Choice};
use crate::limits::ORDER_QTY_MAX;
use crate::model::{Fulfil, Held, Offer, OfferItem, OfferPrice, OfferState, Pickup, Place, Product};
use crate::time::Span;
use crate::trigger::Moment;
use crate::wire::{DownMessage, alternative_id, pickup_code};

/// Why an offer ended whose budget had nothing left at its accept.
pub(super) const BUDGET_EXHAUSTED: &str = "budget exhausted";
/// Why an offer ended that nobody could sell any more at its accept.
pub(super) const SOLD_OUT: &str = "sold out";

/// What is accepted: from whom, at which price as it was quoted.
struct Wanted<'o> {
    item: &'o OfferItem,
    qty: u32,
    fulfil: Fulfil,
    seller: SellerId,
    sold_by: Option<String>,
    quoted: OfferPrice,
}

pub(super) fn accept(draft: &mut Draft<'_>, offer: &Offer, choice: &Choice, who: &Answerer<'_>) -> Answered {
    let (now, rules) = (draft.now, draft.rules);
    let Some(product) = offer.item.as_ref().and_then(|item| rules.product(&offer.retailer, &item.product)) else {
        let Some(item) = &offer.item else {
            return Err(Refusal::new(Code::OfferNotAllowed, "there is nothing to buy in this offer"));
        };
        return Err(sold_out(draft, offer, who, format!("`{}` is no longer sold", item.product)));
    };
    let wanted = wanted(offer, &product, choice)?;
    let live = rules.triggers.get(&offer.retailer, &offer.trigger);
    let ask = Ask {
        rules,
        retailer: &offer.retailer,
        product: &product,
        discount: live.and_then(|trigger| trigger.offer.discount.as_ref()),
        policy: live.and_then(|trigger| trigger.offer.policy.as_deref()),
        qty: wanted.item.qty,
        now,
        lock_until: now + (wanted.quoted.lock_until - offer.valid_from),
    };
    let sellers = quote::compare(&ask, draft.purse);
    let is_listed = |quote: &&SellerQuote| {
        quote.seller == wanted.seller && quote.passed_over != Some(quote::PassedOver::NotAllowed)
    };
    let Some(present) = sellers.iter().find(is_listed) else {
        let why = format!("{} does not sell it any more", wanted.named());
        return Err(resell(draft, offer, who, &wanted, &sellers, why));
    };
    let mut price = wanted.quoted.clone();
    if who.pressed_at >= wanted.quoted.lock_until {
        let fresh = &present.price;
        if fresh.total.currency != price.total.currency || fresh.total.minor > price.total.minor {
            let message = format!("the price is now {}; confirm it again", fresh.total);
            return Err(again(draft, offer, present, &sellers, "price changed", message));
        }
        price = fresh.clone();
    }
    let order_id = OrderId::derived(&[offer.id.bytes()]);
    let pickup = match wanted.fulfil {
        Fulfil::Deliver => None,
        Fulfil::Collect => Some(pickup(draft, offer, order_id, choice)?),
    };
    let held = match put_aside(draft, offer, &wanted, present, pickup.as_ref(), order_id) {
        Ok(held) => held,
        Err(NoneLeft) if pickup.is_some() => return Err(other_store(draft, offer, who, &wanted)),
        Err(NoneLeft) => {
            let why = format!("{} has not enough left", wanted.named());
            return Err(resell(draft, offer, who, &wanted, &sellers, why));
        }
    };
    if pickup.is_some() {
        price = price.without_delivery();
    }
    let total = quote::total(price.item, price.delivery, wanted.qty)
        .ok_or_else(|| Refusal::new(Code::PayloadInvalid, "the total is out of range").at("/body/choice/qty"))?;
    let mut order = order::placed(draft, offer, wanted.qty, price.item, total, wanted.fulfil, who.profile, who.channel);
    (order.held, order.pickup) = (held, pickup);
    (order.seller, order.sold_by) = (Some(wanted.seller.clone()), wanted.sold_by.clone());
    // Last, when nothing else can refuse: what is drawn is ordered.
    let amount = price.discount(wanted.item.qty, wanted.qty).unwrap_or(total);
    match budget::draw(draft, offer, order.id, amount) {
        Ok(drawn) => order.drawn = drawn,
        Err(Exhausted) => {
            withdraw(draft, offer.id, BUDGET_EXHAUSTED);
            return Err(budget_exhausted());
        }
    }
    let mut accepted = moved(offer, OfferState::Accepted { order: order.id }, now, who.channel);
    accepted.price = Some(price);
    (accepted.seller, accepted.sold_by) = (order.seller.clone(), order.sold_by.clone());
    accepted.last_answer = Some((mark(&Answer::accept(Choice::default()), who), now));
    let (offer_id, device) = (offer.id, offer.device.clone());
    pipeline::drop_waiting(draft, &device, offer_id);
    draft.change(Change::OfferSet(Arc::new(accepted)));
    draft.change(Change::OrderSet(Arc::new(order.clone())));
    supply::ordered(draft, &order);
    if who.channel != "device" && who.channel != mandate::CHANNEL {
        let withdraw = DownMessage::OfferWithdraw { offer: offer_id, reason: "accepted".to_owned() };
        draft.say(&device, withdraw, Some(offer.expires_at));
    }
    order::tell(draft, &order);
    super::drop_ended(draft);
    wake::by_moment(draft, &device, Moment::Order(order.state));
    Ok(Reply::Answered { offer: offer_id, state: "accepted".to_owned(), order: Some(order_id) })
}

impl Wanted<'_> {
    /// The seller as the customer was told.
    fn named(&self) -> &str {
        self.sold_by.as_deref().unwrap_or_else(|| self.seller.as_str())
    }
}

/// What the choice comes to.
fn wanted<'o>(offer: &'o Offer, product: &Product, choice: &Choice) -> Result<Wanted<'o>, Refusal> {
    let (Some(item), Some(quoted)) = (&offer.item, &offer.price) else {
        return Err(Refusal::new(Code::OfferNotAllowed, "there is nothing to buy in this offer"));
    };
    let qty = choice.qty.unwrap_or(item.qty);
    if !(1..=ORDER_QTY_MAX).contains(&qty) {
        let message = format!("`qty` must be 1 to {ORDER_QTY_MAX}; it is {qty}");
        return Err(Refusal::new(Code::PayloadInvalid, message).at("/body/choice/qty"));
    }
    let fulfil = choice.fulfil.or_else(|| offer.fulfil.first().copied()).unwrap_or(Fulfil::Deliver);
    if !offer.fulfil.is_empty() && !offer.fulfil.contains(&fulfil) {
        let message = "this way of delivery is not offered";
        return Err(Refusal::new(Code::OfferNotAllowed, message).at("/body/choice/fulfil"));
    }
    let Some(named) = &choice.alternative else {
        let seller = offer.seller.clone().unwrap_or_else(|| quote::own_seller(&offer.retailer, product));
        return Ok(Wanted { item, qty, fulfil, seller, sold_by: offer.sold_by.clone(), quoted: quoted.clone() });
    };
    let others = offer.alternatives.iter().enumerate();
    let Some((_, other)) = others.into_iter().find(|(n, _)| alternative_id(*n) == *named) else {
        let known: Vec<String> = (0..offer.alternatives.len()).map(alternative_id).collect();
        let message = format!("this offer has no such alternative; it has: {}", known.join(", "));
        return Err(Refusal::new(Code::PayloadInvalid, message).at("/body/choice/alternative"));
    };
    if fulfil == Fulfil::Collect {
        let message = "what another seller sells is delivered";
        return Err(Refusal::new(Code::OfferNotAllowed, message).at("/body/choice/fulfil"));
    }
    let sold_by = Some(other.sold_by.clone());
    Ok(Wanted { item, qty, fulfil, seller: other.seller.clone(), sold_by, quoted: other.price.clone() })
}

/// Where it is collected, and what is shown there.
fn pickup(draft: &Draft<'_>, offer: &Offer, order: OrderId, choice: &Choice) -> Result<Pickup, Refusal> {
    let named = match (&choice.store, offer.stores.as_slice()) {
        (Some(named), _) => Some(named.clone()),
        (None, [only]) => Some(only.store.clone()),
        (None, _) => None,
    };
    let known = || offer.stores.iter().map(|store| store.store.as_str()).collect::<Vec<_>>().join(", ");
    let refused = |message: String| Refusal::new(Code::PayloadInvalid, message).at("/body/choice/store");
    let id: StoreId = named.ok_or_else(|| refused(format!("say in which store: {}", known())))?;
    let store = draft.rules.store(&offer.retailer, &id).filter(|store| store.collects);
    let store = store.ok_or_else(|| refused(format!("`{id}` gives out no orders; these do: {}", known())))?;
    let hold = Span::hours(store.hold_hours.into());
    Ok(Pickup { store: id, name: store.name.clone(), code: pickup_code(&order), hold, until: None })
}

struct NoneLeft;

/// Puts the goods aside where they are counted.
fn put_aside(
    draft: &Draft<'_>,
    offer: &Offer,
    wanted: &Wanted<'_>,
    present: &SellerQuote,
    pickup: Option<&Pickup>,
    order: OrderId,
) -> Result<Option<Held>, NoneLeft> {
    let place = match pickup {
        Some(pickup) => Place::Store(pickup.store.clone()),
        None if present.free.is_none() => return Ok(None),
        None => Place::Seller(wanted.seller.clone()),
    };
    if offer.test {
        return Ok(None);
    }
    let product = &wanted.item.product;
    let reserve = Reserve { retailer: &offer.retailer, place: &place, product, qty: wanted.qty, order };
    if !draft.purse.reserve(&reserve) {
        return Err(NoneLeft);
    }
    Ok(Some(Held { place, product: product.clone(), qty: wanted.qty }))
}

pub(super) fn budget_exhausted() -> Refusal {
    Refusal::new(Code::OfferBudgetExhausted, "what the shop gives for this offer is used up; nothing was ordered")
}

/// Nobody can sell it: the offer ends on all channels.
fn sold_out(draft: &mut Draft<'_>, offer: &Offer, who: &Answerer<'_>, why: String) -> Refusal {
    if who.channel != mandate::CHANNEL {
        draft.note(format!("wanted, and nobody could sell it: {why}"));
        withdraw(draft, offer.id, SOLD_OUT);
    }
    Refusal::new(Code::OfferOutOfStock, format!("{why}; nothing was ordered"))
}

/// The seller cannot: another one that asks no more is asked about, else the offer ends.
fn resell(
    draft: &mut Draft<'_>,
    offer: &Offer,
    who: &Answerer<'_>,
    wanted: &Wanted<'_>,
    sellers: &[SellerQuote],
    why: String,
) -> Refusal {
    let most = wanted.quoted.total;
    let costs_no_more = |quote: &&SellerQuote| {
        quote.passed_over.is_none()
            && quote.seller != wanted.seller
            && quote.price.total.currency == most.currency
            && quote.price.total.minor <= most.minor
            && quote.free.is_none_or(|free| free >= wanted.qty)
    };
    match sellers.iter().find(costs_no_more).filter(|_| who.channel != mandate::CHANNEL) {
        Some(other) => {
            let message = format!("{why}; {} sells it for {}: confirm it again", other.sold_by, other.price.total);
            again(draft, offer, other, sellers, "other seller", message)
        }
        None => sold_out(draft, offer, who, why),
    }
}

/// The store has none left: the others are shown, or delivery alone.
fn other_store(draft: &mut Draft<'_>, offer: &Offer, who: &Answerer<'_>, wanted: &Wanted<'_>) -> Refusal {
    let (rules, product) = (draft.rules, &wanted.item.product);
    let zone = draft.before().zone.as_ref();
    let stores = quote::stores(rules, &offer.retailer, product, wanted.qty, zone, draft.purse);
    let ways = offer.fulfil.iter().copied();
    let fulfil: Vec<Fulfil> = ways.filter(|way| *way != Fulfil::Collect || !stores.is_empty()).collect();
    if fulfil.is_empty() {
        return sold_out(draft, offer, who, "no store has it any more".to_owned());
    }
    let mut next = moved(offer, OfferState::Sent, draft.now, "other store");
    (next.stores, next.fulfil) = (stores, fulfil);
    put_again(draft, next);
    let message = "this store has not enough left; choose another, or have it delivered, and confirm it again";
    Refusal::new(Code::OfferPriceChanged, message).at("/body/choice/store")
}

/// The offer as it is by now: a new revision, to be confirmed.
fn again(
    draft: &mut Draft<'_>,
    offer: &Offer,
    by: &SellerQuote,
    sellers: &[SellerQuote],
    cause: &str,
    message: String,
) -> Refusal {
    let now = draft.now;
    let mut next = moved(offer, OfferState::Sent, now, cause);
    next.price = Some(by.price.clone());
    next.seller = Some(by.seller.clone());
    next.sold_by = Some(by.sold_by.clone());
    next.ships_by = by.ships_by(now);
    let others = sellers.iter().filter(|quote| quote.passed_over.is_none() && quote.seller != by.seller);
    let shown = offer.alternatives.len();
    next.alternatives = others.take(shown).map(|quote| quote.alternative(now)).collect();
    put_again(draft, next);
    Refusal::new(Code::OfferPriceChanged, message)
}

fn put_again(draft: &mut Draft<'_>, mut next: Offer) {
    next.rev += 1;
    let (expires_at, next) = (next.expires_at, Arc::new(next));
    pipeline::drop_waiting(draft, &next.device, next.id);
    draft.say(&next.device, DownMessage::OfferPut(Arc::clone(&next)), Some(expires_at));
    draft.change(Change::OfferSet(next));
}
