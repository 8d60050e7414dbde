//! Deadlines in the household's record: what is due, in the order in which it became due.

use super::draft::Draft;
use super::{Answered, deadline, offer, order, rank, stay};
use crate::decision::{Change, Reply};
use crate::model::{OfferState, OrderState};

pub(super) fn due(draft: &mut Draft<'_>) -> Answered {
    let now = draft.now;
    let home = draft.before();
    // The gateway ends each stay with an input of its own, which says of which device; a backtest comes by here.
    // What else is due comes behind it, without what left.
    if home.stay_over(now).is_some() {
        for key in home.devices.keys() {
            stay::over(draft, key)?;
        }
        return Ok(Reply::Done);
    }
    for (key, device) in &home.devices {
        if device.claim.as_ref().is_some_and(|claim| claim.expires_at <= now) {
            draft.note("the claim code ended unused");
            draft.change(Change::ClaimSet { device: key.clone(), claim: None });
        }
    }
    if home.paused_until.is_some_and(|until| until <= now) {
        draft.change(Change::PauseSet { until: None });
    }
    for (id, known) in &home.orders {
        if known.state == OrderState::Confirmed && known.cancel_until.is_none_or(|until| until <= now) {
            order::submit(draft, *id);
        }
        if known.waits_until().is_some_and(|until| until <= now) {
            order::pickup_ended(draft, *id);
        }
    }
    let mut waited = Vec::new();
    for (id, known) in &home.offers {
        if !known.state.is_live() {
            continue;
        }
        if known.expires_at <= now {
            offer::expire(draft, *id);
        } else if matches!(known.state, OfferState::Queued { until } | OfferState::Snoozed { until } if until <= now) {
            waited.push(&**known);
        }
    }
    for id in rank::held_best_first(draft, home, waited) {
        offer::hour_has_come(draft, id);
    }
    for key in home.devices.keys() {
        deadline::due(draft, key);
    }
    Ok(Reply::Done)
}
