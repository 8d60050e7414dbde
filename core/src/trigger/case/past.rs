//! What a home's slots went through before a case: thirty days of the same use, and what stands on
//! the shelf.

use super::super::definition::GivenDefinition;
use crate::forecast::Moment;
use crate::id::SlotId;
use crate::model::{Device, Evidence, Household, Report, Shelf, SlotKey, SlotState, Track};
use crate::rules::RuleSet;
use crate::time::Span;

/// Days of use that a case's `per_day` stands for: enough to be believed.
const DAYS: i64 = 30;

/// Lets the home have lived: its tracks as `per_day` taught them, its shelf as `on_hand` says.
pub(super) fn lived(given: &GivenDefinition, household: &mut Household, device: &Device, rules: &RuleSet) {
    for (name, slot) in given.slots.iter().flatten() {
        let (Ok(id), Some(retailer)) = (SlotId::new(name), household.retailer.clone()) else { continue };
        let product = rules.products.first_fitting(&retailer, &device.model, &id);
        if let (Some(spares), Some(product)) = (slot.on_hand, &product) {
            household.supply.shelves.insert(product.clone(), Shelf { spares, ..Shelf::default() });
        }
        let (Some(per_day), Some(state)) = (slot.per_day, device.slots.get(&id)) else { continue };
        let prior = rules.prior(household, product.as_ref());
        let mut track = Track::new(&state.evidence, prior, product.clone());
        let mut previous: Option<SlotState> = None;
        for ago in (0..=DAYS).rev() {
            let Some(evidence) = before(state, per_day * ago as f64) else { continue };
            let state = SlotState { evidence, t: state.t - Span::days(ago), ..state.clone() };
            let at = Moment::at(state.t);
            let report = Report { state: &state, previous: previous.as_ref(), at, restarted: false, ends: None };
            track.report(prior, report);
            previous = Some(state);
        }
        household.supply.tracks.insert(SlotKey { device: device.key.clone(), slot: id }, Box::new(track));
    }
}

/// The evidence when so much less was used; none where that was in a cycle before.
fn before(state: &SlotState, used_since: f64) -> Option<Evidence> {
    let capacity = state.capacity.unwrap_or(f64::INFINITY);
    match state.evidence {
        Evidence::Usage { used } => Some(Evidence::Usage { used: used - used_since }).filter(|_| used >= used_since),
        Evidence::Level { remaining } if remaining + used_since <= capacity => {
            Some(Evidence::Level { remaining: remaining + used_since })
        }
        Evidence::Countdown { remaining } if remaining + used_since <= capacity => {
            Some(Evidence::Countdown { remaining: remaining + used_since })
        }
        Evidence::Level { .. } | Evidence::Countdown { .. } | Evidence::Flag { .. } | Evidence::Life { .. } => None,
    }
}
