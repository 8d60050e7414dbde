//! The home's shelf: spares that were delivered or bought and are not inserted yet. Orders and
//! purchases fill it, refills take from it, and while something stands on it nobody is asked to buy.

use super::draft::Draft;
use super::foreseen::prior_of;
use super::steps::Look;
use super::{Answered, Reply};
use crate::decision::Change;
use crate::id::{DeviceKey, ProductId, SlotId, derive_bytes};
use crate::limits::{BOUGHT_KEPT_MAX, SHELVES_MAX};
use crate::model::{Bought, Order, OrderState, Product, Shelf};

/// A purchase made anywhere else: in the store, in another shop, at a neighbour's.
pub(super) fn bought_elsewhere(draft: &mut Draft<'_>, product: &ProductId, bought: Bought) -> Answered {
    let mut shelf = shelf(draft, product);
    if !shelf.buy(bought, BOUGHT_KEPT_MAX) {
        draft.note("this purchase was told before");
        return Ok(Reply::Unchanged);
    }
    shelf.arrive(bought.qty);
    draft.note(format!("{} of {product} bought elsewhere: {} at home", bought.qty, shelf.spares));
    set(draft, product, shelf);
    Ok(Reply::Done)
}

/// An order was placed here: it will come, and says how often the home buys.
pub(super) fn ordered(draft: &mut Draft<'_>, order: &Order) {
    if order.test {
        return;
    }
    for line in &order.lines {
        let mut shelf = shelf(draft, &line.product);
        let bought = Bought { at: order.created_at, qty: line.qty, cause: cause_of(order, &line.product) };
        if shelf.buy(bought, BOUGHT_KEPT_MAX) {
            set(draft, &line.product, shelf);
        }
    }
}

/// An order moved on: goods that arrive are spares until they are inserted; goods that go back, or
/// never came, are none.
pub(super) fn order_moved(draft: &mut Draft<'_>, from: OrderState, order: &Order) {
    if order.test {
        return;
    }
    let is_home = |state| matches!(state, OrderState::Delivered | OrderState::PickedUp);
    for line in &order.lines {
        let mut shelf = shelf(draft, &line.product);
        if is_home(order.state) && !is_home(from) {
            shelf.arrive(line.qty);
        } else if matches!(order.state, OrderState::Returned | OrderState::Refunded) && is_home(from) {
            shelf.give_back(line.qty);
        } else if order.state.is_undone() && !is_home(from) {
            let cause = cause_of(order, &line.product);
            shelf.bought.retain(|bought| bought.cause != cause);
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

/// A fresh one was inserted into a slot: it came from the shelf, from a parcel whose arrival nobody
/// told yet, or from somewhere else.
pub(super) fn inserted(draft: &mut Draft<'_>, key: &DeviceKey, slot: &SlotId) {
    let fitting = fitting(draft, key, slot);
    let shelves = &draft.home().supply.shelves;
    let has_spares = |product: &&ProductId| shelves.get(*product).is_some_and(|shelf| shelf.spares > 0);
    let Some(product) = fitting.iter().find(has_spares).or(fitting.first()).cloned() else { return };
    let under_way = draft
        .home()
        .orders
        .values()
        .any(|order| order.state.is_open() && order.lines.iter().any(|line| line.product == product));
    let mut shelf = shelf(draft, &product);
    if shelf.insert(under_way) {
        draft.note(format!("a spare of {product} was inserted: {} left", shelf.spares));
        set(draft, &product, shelf);
    } else {
        draft.note(format!("inserted from elsewhere: no spare of {product} was known"));
    }
}

/// The products of the home's retailer that fit a slot, in the order of their ids.
fn fitting(draft: &Draft<'_>, key: &DeviceKey, slot: &SlotId) -> Vec<ProductId> {
    let (home, rules) = (draft.before(), draft.rules);
    let (Some(retailer), Some(device)) = (&home.retailer, home.devices.get(key)) else { return Vec::new() };
    rules.products_for(retailer, &device.model, slot).map(|product| product.id.clone()).collect()
}

pub(super) fn first_fitting(draft: &Draft<'_>, key: &DeviceKey, slot: &SlotId) -> Option<ProductId> {
    fitting(draft, key, slot).into_iter().next()
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
pub(super) fn quantity(look: &Look<'_>, product: &Product) -> u32 {
    let Some(plan) = look.trigger.replenish else { return 1 };
    let Some(cover) = plan.cover else { return plan.min };
    let mut used = 0.0;
    for (key, track) in &look.home.supply.tracks {
        let Some(device) = look.home.devices.get(&key.device) else { continue };
        if product.fits(&device.model, &key.slot)
            && let Some(days) = track.cycle_days(prior_of(look.rules, track))
        {
            used += cover.0 as f64 / 86_400_000.0 / days.max(1.0);
        }
    }
    let spares = look.home.supply.shelves.get(&product.id).map_or(0, |shelf| shelf.spares);
    // The cast saturates.
    (used.round() as u32).saturating_sub(spares).clamp(plan.min, plan.max)
}
