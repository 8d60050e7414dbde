//! What purchases alone tell of a slot that reports nothing, or only a flag that never rose: about when the next
//! is due.

use super::draft::{Draft, description};
use super::forecast;
use crate::forecast::{GapState, Moment, RunOut};
use crate::id::{DeviceKey, ProductId, SlotId};
use crate::model::{Bought, Household, Learned, SlotKey};
use crate::rules::RuleSet;
use crate::time::Timestamp;

/// How often a home buys what a slot takes.
pub(super) struct Habit<'r> {
    /// When the next purchase is due, as it stood at the last one.
    pub(super) law: RunOut<'r>,
    /// What was bought last.
    pub(super) product: ProductId,
    /// Days from one purchase to the next.
    pub(super) cycle_days: Option<f64>,
    /// Gaps between purchases that it rests on.
    pub(super) gaps: u16,
}

/// The habit of a home about a slot: whatever fits is bought for it, one brand or the other.
pub(super) fn habit<'r>(home: &Household, rules: &'r RuleSet, device: &DeviceKey, slot: &SlotId) -> Option<Habit<'r>> {
    let retailer = home.retailer.as_ref()?;
    let model = &home.devices.get(device)?.model;
    home.link_of(device)?;
    let fits = |product: &ProductId| rules.product(retailer, product).is_some_and(|known| known.fits(model, slot));
    let shelves = home.supply.shelves.iter().filter(|(product, shelf)| !shelf.bought.is_empty() && fits(product));
    let mut bought: Vec<(&Bought, &ProductId)> =
        shelves.flat_map(|(product, shelf)| shelf.bought.iter().map(move |bought| (bought, product))).collect();
    bought.sort_by_key(|(bought, _)| (bought.at, bought.cause));
    let product = bought.last()?.1.clone();
    let prior = &rules.prior(home, Some(&product)).gaps;
    let mut gaps = GapState::new(prior);
    for (bought, _) in bought {
        // A verdict on a purchase changes nothing here: what is wrong with it was said when it came.
        let _ = gaps.update(prior, Moment::at(bought.at), f64::from(bought.qty));
    }
    let (law, cycle_days) = (gaps.run_out(prior)?, gaps.cycle_days(prior));
    Some(Habit { law, product, cycle_days, gaps: gaps.gaps() })
}

/// Whether a slot tells nothing by itself from which a forecast could be made.
pub(super) fn is_silent(home: &Household, device: &DeviceKey, slot: &SlotId) -> bool {
    let key = SlotKey { device: device.clone(), slot: slot.clone() };
    home.supply.tracks.get(&key).is_none_or(|track| match &track.learned {
        Learned::Refills(gaps) => gaps.gaps() == 0,
        Learned::Level(_) | Learned::Counter(_) | Learned::Life { .. } => false,
    })
}

/// A product was bought: the forecasts of the silent slots that take it moved.
pub(super) fn bought(draft: &mut Draft<'_>, product: &ProductId, at: Timestamp) {
    look_where(draft, at, |_, known| known == product);
}

/// A device is back: what was published since the last purchase looks at its silent slots.
pub(super) fn returned(draft: &mut Draft<'_>, key: &DeviceKey) {
    let now = draft.now;
    look_where(draft, now, |device, _| device == key);
}

/// Looks at the silent slots that take a product that was bought once.
fn look_where(draft: &mut Draft<'_>, at: Timestamp, of: impl Fn(&DeviceKey, &ProductId) -> bool) {
    let (rules, home) = (draft.rules, draft.home());
    let Some(retailer) = home.retailer.clone().filter(|_| rules.triggers.foresees()) else { return };
    let mut slots = Vec::new();
    for (product, _) in home.supply.shelves.iter().filter(|(_, shelf)| !shelf.bought.is_empty()) {
        let Some(product) = rules.product(&retailer, product) else { continue };
        for (key, device) in home.devices.iter().filter(|(key, _)| of(key, &product.id)) {
            let Some(can) = description(device, rules) else { continue };
            let fitting = can.slots.keys().filter(|slot| product.fits(&device.model, slot));
            slots.extend(fitting.filter(|slot| is_silent(home, key, slot)).map(|slot| (key.clone(), slot.clone())));
        }
    }
    slots.sort_unstable();
    slots.dedup();
    for (key, slot) in slots {
        forecast::look(draft, &key, &slot, at);
    }
}
