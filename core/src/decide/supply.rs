//! The home's shelf: spares that were delivered or bought and are not inserted yet. Orders and
//! purchases fill it, refills take from it, and while something stands on it nobody is asked to buy.

use std::sync::Arc;

use super::draft::Draft;
use super::foreseen::prior_of;
use super::steps::Look;
use super::{Answered, Reply, purchases};
use crate::decision::Change;
use crate::forecast::Moment;
use crate::id::{DeviceKey, ProductId, SlotId, derive_bytes};
use crate::limits::{BOUGHT_KEPT_MAX, SHELVES_MAX, SPARE_AGE_MAX};
use crate::model::{Bought, Household, Order, OrderState, Product, Shelf};
use crate::rules::RuleSet;
use crate::time::{Span, Timestamp};
use crate::trigger::{OfferKind, Source, Trigger};

/// Spares that were not inserted in so many times of what they last may not be there: the customer is asked, and
/// nothing is ordered without asking.
const DOUBTED_AFTER_CYCLES: f64 = 2.0;

/// A purchase made anywhere else: in the store, in another shop, at a neighbour's. An old one is no spare any
/// more, it only says how often the home buys; one that no slot here takes is heard and not kept.
pub(super) fn bought_elsewhere(draft: &mut Draft<'_>, product: &ProductId, bought: Bought) -> Answered {
    if draft.before().supply.heard.contains(&bought.cause) {
        draft.note("this purchase was told before");
        return Ok(Reply::Unchanged);
    }
    // It is not kept in mind either: once the product says what it fits, the same event may be told again.
    if !is_taken_here(draft, product) {
        draft.note(format!("no slot of this home takes {product}"));
        return Ok(Reply::Done);
    }
    draft.change(Change::PurchaseHeard(bought.cause));
    let mut shelf = shelf(draft, product);
    if !shelf.buy(bought, BOUGHT_KEPT_MAX) {
        draft.note("older than all purchases that are kept");
        return Ok(Reply::Done);
    }
    if draft.now - bought.at <= SPARE_AGE_MAX {
        shelf.arrive(bought.qty);
    }
    draft.note(format!("{} of {product} bought elsewhere: {} at home", bought.qty, shelf.spares));
    set(draft, product, shelf);
    purchases::bought(draft, product, bought.at);
    Ok(Reply::Done)
}

/// Whether a slot of any device of the home takes a product.
fn is_taken_here(draft: &Draft<'_>, product: &ProductId) -> bool {
    let home = draft.before();
    let sold = home.retailer.as_ref().and_then(|retailer| draft.rules.product(retailer, product));
    let is_model_here = |model: &crate::id::ModelId| home.devices.values().any(|device| device.model == *model);
    sold.is_some_and(|product| product.fits.iter().any(|fit| is_model_here(&fit.model)))
}

/// An order was placed here: it will come, and says how often the home buys.
pub(super) fn ordered(draft: &mut Draft<'_>, order: &Order) {
    if order.test {
        return;
    }
    for line in &order.lines {
        if !is_taken_here(draft, &line.product) {
            continue;
        }
        let (rules, now) = (draft.rules, draft.now);
        let is_doubted = is_doubted(draft.home(), rules, &line.product, now);
        let mut shelf = shelf(draft, &line.product);
        if is_doubted {
            // Who orders although some should be there says that they are not.
            shelf.spares = 0;
        }
        let bought = Bought { at: order.created_at, qty: line.qty, cause: cause_of(order, &line.product) };
        if shelf.buy(bought, BOUGHT_KEPT_MAX) {
            set(draft, &line.product, shelf);
            purchases::bought(draft, &line.product, order.created_at);
        }
    }
}

/// An order moved on: goods that arrive are spares until they are inserted; goods that go back, or
/// never came, are none.
pub(super) fn order_moved(draft: &mut Draft<'_>, before: &Order, order: &Order) {
    let from = before.state;
    if order.test {
        return;
    }
    let is_home = |state| matches!(state, OrderState::Delivered | OrderState::PickedUp);
    let goes_back = |state| matches!(state, OrderState::Returned | OrderState::Refunded);
    // Its own entry is the last one: what is asked is what it was before.
    let earlier = order.history.iter().rev().skip(1).filter_map(|entry| OrderState::parse(&entry.state));
    let (mut was_home, mut went_back) = (is_home(from), goes_back(from));
    earlier.for_each(|state| {
        was_home |= is_home(state);
        went_back |= goes_back(state);
    });
    for line in &order.lines {
        if !is_taken_here(draft, &line.product) {
            continue;
        }
        let mut shelf = shelf(draft, &line.product);
        let told = before.lines.iter().find(|known| known.product == line.product).map_or(0, |known| known.refunded);
        if is_home(order.state) && !was_home {
            shelf.arrive(line.qty - line.refunded);
        } else if order.state == OrderState::Returned && was_home && !went_back {
            shelf.give_back(line.qty - line.refunded);
        } else if line.refunded > told && was_home && !went_back {
            shelf.give_back(line.refunded - told);
        } else if line.refunded > told && !was_home && !order.state.is_undone() {
            let cause = cause_of(order, &line.product);
            let bought = shelf.bought.iter_mut().filter(|bought| bought.cause == cause);
            bought.for_each(|bought| bought.qty = line.qty - line.refunded);
        } else if order.state.is_undone() && !was_home && !from.is_undone() {
            let cause = cause_of(order, &line.product);
            shelf.bought.retain(|bought| bought.cause != cause);
            shelf.inserted_ahead = 0;
        } else {
            continue;
        }
        draft.note(format!("{} of {} at home", shelf.spares, line.product));
        set(draft, &line.product, shelf);
    }
}

/// The customer says that there is one at home still.
pub(super) fn has_spare(draft: &mut Draft<'_>, product: &ProductId) {
    let mut shelf = shelf(draft, product);
    if shelf.spares == 0 {
        shelf.spares = 1;
        draft.note(format!("one of {product} at home, says the customer"));
        set(draft, product, shelf);
    }
}

/// The device counts the spares itself: its word is the newest.
pub(super) fn counted_by_device(draft: &mut Draft<'_>, key: &DeviceKey, slot: &SlotId, spares: u32) {
    let Some(product) = first_fitting(draft, key, slot) else { return };
    let mut shelf = shelf(draft, &product);
    if shelf.spares != spares {
        shelf.spares = spares;
        shelf.inserted_ahead = 0;
        set(draft, &product, shelf);
    }
}

/// The device counted spares before the catalogue knew what fits its slot: they are on a shelf from now on.
pub(super) fn counted_before(draft: &mut Draft<'_>, key: &DeviceKey, slot: &SlotId, spares: u32) {
    let Some(product) = first_fitting(draft, key, slot) else { return };
    if spares > 0 && !draft.home().supply.shelves.contains_key(&product) {
        counted_by_device(draft, key, slot, spares);
    }
}

/// Spares at home, as far as they can be believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Spares {
    /// So many.
    Counted(u32),
    /// So many should be there, but they would have been used twice over since: whoever is asked knows better.
    Doubted(u32),
}

/// The spares of a product beyond those that the home keeps, for a trigger that replenishes; none where there are
/// none, or nothing can be said of them.
pub(super) fn spares(look: &Look<'_>, product: &ProductId) -> Option<Spares> {
    let keep = look.trigger.replenish.map_or(0, |plan| plan.keep);
    let shelves = Some(&look.home.supply.shelves).filter(|_| look.trigger.kind == OfferKind::Replenish)?;
    let shelf = shelves.get(product).filter(|shelf| shelf.spares > keep)?;
    if is_watched(look.home, look.rules, product) {
        let is_doubted = is_doubted(look.home, look.rules, product, look.now);
        return Some(if is_doubted { Spares::Doubted(shelf.spares) } else { Spares::Counted(shelf.spares) });
    }
    // Nobody sees what is inserted: what was bought is there until it is usually bought again, and a forecast from
    // purchases has it in it already.
    let slot = look.wake.slot.filter(|_| !matches!(look.trigger.on.source, Source::Forecast { .. }))?;
    let seen = purchases::habit(look.home, look.rules, &look.device.key, slot)?;
    let is_used_up = seen.law.probability_by(Moment::at(look.now).day) >= 0.5;
    (!is_used_up).then_some(Spares::Counted(shelf.spares))
}

/// The longest that one of a product lasts in any slot of the home that reports; none where none does.
fn lasts(home: &Household, rules: &RuleSet, product: &ProductId) -> Option<f64> {
    let known = rules.product(home.retailer.as_ref()?, product)?;
    let tracks =
        home.supply.tracks.iter().filter(|(key, _)| {
            home.devices.get(&key.device).is_some_and(|device| known.fits(&device.model, &key.slot))
        });
    // A life with a date tells no length: it lasts for ever here, and its spares are not doubted.
    tracks.map(|(_, track)| track.cycle_days(prior_of(home, rules, track)).unwrap_or(f64::INFINITY)).reduce(f64::max)
}

/// Whether any slot of the home shows what is inserted of a product.
fn is_watched(home: &Household, rules: &RuleSet, product: &ProductId) -> bool {
    lasts(home, rules, product).is_some()
}

/// Whether spares stand there for longer than two of them last.
fn is_doubted(home: &Household, rules: &RuleSet, product: &ProductId, now: Timestamp) -> bool {
    let Some(shelf) = home.supply.shelves.get(product).filter(|shelf| shelf.spares > 0) else { return false };
    let (Some(last), Some(days)) = (shelf.bought.last(), lasts(home, rules, product)) else { return false };
    (now - last.at).0 as f64 / 86_400_000.0 > DOUBTED_AFTER_CYCLES * f64::from(shelf.spares) * days
}

/// The customer says that the spares are there that were doubted: how long to believe it.
pub(super) fn believed_for(draft: &mut Draft<'_>, product: &ProductId) -> Option<Span> {
    let (rules, now) = (draft.rules, draft.now);
    let home = draft.home();
    if !is_doubted(home, rules, product, now) {
        return None;
    }
    lasts(home, rules, product).map(|days| Span((days * 86_400_000.0) as i64))
}

/// A fresh one was inserted into a slot: it came from the shelf, from a parcel whose arrival nobody
/// told yet, or from somewhere else.
/// Gives whether it came from elsewhere.
pub(super) fn inserted(draft: &mut Draft<'_>, key: &DeviceKey, slot: &SlotId) -> bool {
    let fitting = fitting(draft, key, slot);
    let shelves = &draft.home().supply.shelves;
    let has_spares = |product: &&ProductId| shelves.get(*product).is_some_and(|shelf| shelf.spares > 0);
    let Some(product) = fitting.iter().find(has_spares).or(fitting.first()).cloned() else { return true };
    let shipped = draft.home().orders.values().filter(|order| is_under_way(order.state));
    let lines = shipped.flat_map(|order| order.lines.iter()).filter(|line| line.product == product);
    let under_way = lines.map(|line| line.qty.saturating_sub(line.refunded)).sum();
    let mut shelf = shelf(draft, &product);
    let is_ours = shelf.insert(under_way);
    if is_ours {
        draft.note(format!("a spare of {product} was inserted: {} left", shelf.spares));
        set(draft, &product, shelf);
    } else {
        draft.note(format!("inserted from elsewhere: no spare of {product} was known"));
    }
    !is_ours
}

/// Whether goods have left the shop and their arrival was not told.
fn is_under_way(state: OrderState) -> bool {
    matches!(
        state,
        OrderState::Shipped | OrderState::PartiallyShipped | OrderState::Delayed | OrderState::ReadyForPickup
    )
}

/// The products of the home's retailer that fit a slot, in the order of their ids.
fn fitting(draft: &Draft<'_>, key: &DeviceKey, slot: &SlotId) -> Arc<Vec<ProductId>> {
    let (home, rules) = (draft.before(), draft.rules);
    let (Some(retailer), Some(device)) = (&home.retailer, home.devices.get(key)) else { return Arc::default() };
    rules.products.fitting(retailer, &device.model, slot)
}

pub(super) fn first_fitting(draft: &Draft<'_>, key: &DeviceKey, slot: &SlotId) -> Option<ProductId> {
    let (home, rules) = (draft.before(), draft.rules);
    rules.products.first_fitting(home.retailer.as_ref()?, &home.devices.get(key)?.model, slot)
}

fn shelf(draft: &mut Draft<'_>, product: &ProductId) -> Shelf {
    draft.home().supply.shelves.get(product).cloned().unwrap_or_default()
}

/// Writes a shelf. A home with too many of them keeps no more.
fn set(draft: &mut Draft<'_>, product: &ProductId, shelf: Shelf) {
    let shelves = &draft.home().supply.shelves;
    if !shelves.contains_key(product) && shelves.len() >= SHELVES_MAX {
        draft.note_once(format!("more than {SHELVES_MAX} products at home: the others are not counted"));
        return;
    }
    draft.change(Change::ShelfSet { product: product.clone(), shelf });
}

fn cause_of(order: &Order, product: &ProductId) -> u64 {
    cause(&[order.id.bytes(), product.as_str().as_bytes()])
}

/// What a purchase is known by.
pub fn cause(parts: &[&[u8]]) -> u64 {
    let [a, b, c, d, e, f, g, h, ..] = derive_bytes("purchase", parts);
    u64::from_be_bytes([a, b, c, d, e, f, g, h])
}

/// How many to propose: as many as all slots of the home that take the product use up in the time
/// that an order should last, less what is on the shelf. Where the use is not known, the least.
pub(super) fn quantity(home: &Household, rules: &RuleSet, trigger: &Trigger, product: &Product) -> u32 {
    let Some(plan) = trigger.replenish else { return 1 };
    let Some(cover) = plan.cover else { return plan.min };
    let mut used = 0.0;
    for (key, track) in &home.supply.tracks {
        let Some(device) = home.devices.get(&key.device) else { continue };
        if product.fits(&device.model, &key.slot)
            && let Some(days) = track.cycle_days(prior_of(home, rules, track))
        {
            used += cover.0 as f64 / 86_400_000.0 / days.max(1.0);
        }
    }
    let spares = home.supply.shelves.get(&product.id).map_or(0, |shelf| shelf.spares);
    // The cast saturates.
    (used.round() as u32).saturating_sub(spares).clamp(plan.min, plan.max)
}
