//! Which of several offers a surface shows. One input makes one offer for a surface, and a device
//! holds few: where two compete, the higher [`Rank`] wins and the other is told `lost_ranking`.

use std::cmp::Reverse;
use std::sync::Arc;

use super::said::{Said, fact, said_of, text};
use super::steps::Look;
use crate::id::{DeviceKey, OfferId, PlacementId, TriggerId};
use crate::limits::LIVE_OFFERS_PER_DEVICE_MAX;
use crate::model::{Household, Offer, OfferState};
use crate::time::Timestamp;
use crate::trace::{Fact, StepVerdict};
use crate::trigger::Trigger;
use crate::words::Reason;

/// Where a trigger stands among others: by priority, then by who has been silent for longer, then
/// by id. A total order; the greater one wins.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Rank<'r> {
    priority: u8,
    /// When it last spoke to this home, before this instant; one that never did wins.
    last: Reverse<Option<Timestamp>>,
    id: Reverse<&'r TriggerId>,
}

impl<'r> Rank<'r> {
    fn of(home: &Household, priority: u8, id: &'r TriggerId, now: Timestamp) -> Rank<'r> {
        let contacts = home.contacts.iter().filter(|contact| contact.trigger == *id && contact.at < now);
        Rank { priority, last: Reverse(contacts.map(|contact| contact.at).max()), id: Reverse(id) }
    }
}

/// What one input wakes, the best first, so that what loses is never said; what has no trigger any
/// more comes last.
pub(super) fn best_first<'t, T>(
    home: &Household,
    now: Timestamp,
    woken: impl Iterator<Item = T>,
    trigger: impl Fn(&T) -> Option<&'t Arc<Trigger>>,
) -> Vec<T> {
    let mut woken: Vec<T> = woken.collect();
    if woken.len() > 1 {
        let rank = |item: &T| trigger(item).map(|trigger| Rank::of(home, trigger.priority, &trigger.id, now));
        woken.sort_by_cached_key(|item| Reverse(rank(item)));
    }
    woken
}

/// Whether an offer for a surface loses against one that is there: one that this very instant put
/// on the same surface, or, where the device holds as many as it can, each of them. An offer that
/// was held competed when it was decided.
pub(super) fn lost(look: &Look<'_>, placement: &PlacementId) -> Option<Said> {
    let (home, trigger, now) = (look.home, look.trigger, look.now);
    let held = look.wake.cause.held();
    let live = || live(home, &look.device.key, held);
    let mine = Rank::of(home, trigger.priority, &trigger.id, now);
    let beside = live()
        .filter(|offer| held.is_none() && is_beside(offer, placement, now))
        .find(|offer| Rank::of(home, offer.priority, &offer.trigger, now) > mine);
    let is_full = live().count() >= LIVE_OFFERS_PER_DEVICE_MAX;
    let weakest = live().min_by_key(|offer| offer.priority).filter(|weakest| trigger.priority < weakest.priority);
    let winner = beside.or(weakest.filter(|_| is_full))?;
    let numbers = vec![
        text("placement", placement.to_string()),
        text("winner", winner.trigger.to_string()),
        fact("its_priority", Fact::Int(winner.priority.into())),
        fact("priority", Fact::Int(trigger.priority.into())),
    ];
    let detail = format!("{} with {} against {}", winner.trigger, winner.priority, trigger.priority);
    Some(said_of(StepVerdict::Block, Reason::LostRanking, detail, numbers))
}

/// Who makes room on a device for an offer that did not lose: those of this instant on the same
/// surface, and of too many live ones the weakest, the oldest of them first.
pub(super) fn outranked(home: &Household, coming: &Offer, was_held: bool, now: Timestamp) -> Vec<OfferId> {
    let mut live: Vec<&Offer> = live(home, &coming.device, Some(coming.id)).collect();
    live.sort_by_key(|offer| (offer.priority, offer.valid_from, offer.id));
    let surplus = (live.len() + 1).saturating_sub(LIVE_OFFERS_PER_DEVICE_MAX);
    let leaves = |at: usize, offer: &Offer| at < surplus || (!was_held && is_beside(offer, &coming.placement, now));
    live.iter().enumerate().filter(|(at, offer)| leaves(*at, offer)).map(|(_, offer)| offer.id).collect()
}

fn live<'h>(home: &'h Household, device: &DeviceKey, but: Option<OfferId>) -> impl Iterator<Item = &'h Offer> {
    let offers = home.offers.values().map(|offer| &**offer);
    offers.filter(move |offer| offer.state.is_live() && offer.device == *device && Some(offer.id) != but)
}

/// Whether this instant put an offer on a surface.
fn is_beside(offer: &Offer, placement: &PlacementId, now: Timestamp) -> bool {
    offer.state == OfferState::Sent && offer.placement == *placement && offer.valid_from == now
}
