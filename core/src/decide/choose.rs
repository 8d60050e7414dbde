//! Which of the products that fit a slot is proposed: what the home bought last, what the shop sells itself, else
//! the first.

use std::cmp::Reverse;

use crate::id::{ModelId, ProductId, RetailerId, SlotId};
use crate::model::{Household, Product};
use crate::rules::RuleSet;
use crate::trigger::Prefer;

/// The product for a slot, by the wishes of a trigger, the weightiest first. None where nothing fits.
///
/// One satisfies a list of wishes better than another as words stand in a dictionary: `own, same_as_last` takes what
/// the home bought last only where it is the shop's own, or where the shop has nothing of its own.
pub(super) fn fitting(
    home: &Household,
    rules: &RuleSet,
    retailer: &RetailerId,
    prefer: &[Prefer],
    (model, slot): (&ModelId, &SlotId),
) -> Option<ProductId> {
    let first = rules.products.first_fitting(retailer, model, slot)?;
    if prefer.is_empty() {
        return Some(first);
    }
    let is_own = |id: &ProductId| rules.product(retailer, id).is_some_and(|product| is_own(rules, retailer, &product));
    let last =
        prefer.contains(&Prefer::SameAsLast).then(|| last_bought(home, rules, retailer, (model, slot))).flatten();
    let own = || rules.products.fitting(retailer, model, slot).iter().find(|id| is_own(id)).cloned();
    let own = if prefer.contains(&Prefer::Own) { own() } else { None };
    let grants = |id: &ProductId, wish: &Prefer| match wish {
        Prefer::Own => is_own(id),
        Prefer::SameAsLast => last.as_ref() == Some(id),
    };
    // Of equal ones the first of these stands: what is known, then the order of the catalogue.
    let candidates = [last.clone(), own, Some(first)].into_iter().flatten();
    candidates.min_by_key(|id| prefer.iter().map(|wish| Reverse(grants(id, wish))).collect::<Vec<_>>())
}

/// What the home bought last of all that fits the slot and is in the catalogue still, here or on any other channel.
fn last_bought(
    home: &Household,
    rules: &RuleSet,
    retailer: &RetailerId,
    (model, slot): (&ModelId, &SlotId),
) -> Option<ProductId> {
    let fits = |id: &ProductId| rules.product(retailer, id).is_some_and(|product| product.fits(model, slot));
    let bought = home.supply.shelves.iter().filter_map(|(id, shelf)| Some((shelf.bought.last()?.at, id)));
    bought.filter(|(_, id)| fits(id)).max_by_key(|(at, id)| (*at, Reverse(*id))).map(|(_, id)| id.clone())
}

/// Whether the retailer sells a product itself: its id or its name stands as the seller.
fn is_own(rules: &RuleSet, retailer: &RetailerId, product: &Product) -> bool {
    let name = || rules.retailers.get(retailer).is_some_and(|retailer| retailer.name == product.seller);
    product.seller == retailer.as_str() || name()
}
