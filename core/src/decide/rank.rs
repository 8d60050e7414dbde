//! Which of several offers a surface shows. One input makes one offer for a surface, and a device
//! holds few: where two compete, the higher [`Rank`] wins and the other is told `lost_ranking`.

use std::cmp::Reverse;
use std::sync::Arc;

use super::draft::Draft;
use super::pipeline::decision_id;
use super::render;
use super::said::{Said, fact, said_of, text};
use super::steps::Look;
use super::supply;
use crate::id::{DecisionId, DeviceKey, OfferId, PlacementId, SlotId, TriggerId};
use crate::limits::LIVE_OFFERS_PER_DEVICE_MAX;
use crate::model::{Household, Offer, OfferState, Product};
use crate::money::Currency;
use crate::rules::RuleSet;
use crate::time::Timestamp;
use crate::trace::{Fact, StepVerdict};
use crate::trigger::Trigger;
use crate::words::Reason;

/// Where an offer stands among others: by priority, then by what it is expected to earn, then by who has been silent for
/// longer, then by id. A total order; the greater one wins.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Rank<'r> {
    priority: u8,
    expected: Expected,
    /// When it last spoke to this home, before this instant; one that never did wins.
    last: Reverse<Option<Timestamp>>,
    id: Reverse<&'r TriggerId>,
}

/// What an offer is expected to earn, in millionths of the currency's smallest unit: margin times the chance that it is
/// accepted. Nothing where no margin is known, and beside one in another currency.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Expected(i64);

/// The same with its currency; none where no margin is known.
type Hoped = Option<(Currency, Expected)>;

/// Whether what is hoped for can be compared: the rate between two currencies is nobody's knowledge here.
fn in_one_currency(hoped: impl IntoIterator<Item = Hoped>) -> bool {
    let mut currencies = hoped.into_iter().flatten().map(|(currency, _)| currency);
    let first = currencies.next();
    currencies.all(|other| Some(other) == first)
}

impl Expected {
    fn of(product: &Product, qty: u32, chance: f64) -> Hoped {
        let margin = product.margin?.times(qty)?;
        Some((margin.currency, Expected((margin.minor as f64 * chance * 1e6) as i64)))
    }
    /// What counts of what is hoped for.
    fn counted(hoped: Hoped, is_comparable: bool) -> Expected {
        hoped.filter(|_| is_comparable).map(|(_, expected)| expected).unwrap_or_default()
    }
    /// In the currency's smallest unit, to a hundredth.
    fn minor(self) -> f64 {
        (self.0 / 10_000) as f64 / 100.0
    }
}

impl<'r> Rank<'r> {
    fn of(home: &Household, priority: u8, expected: Expected, id: &'r TriggerId, now: Timestamp) -> Rank<'r> {
        let contacts = home.contacts.iter().filter(|contact| contact.trigger == *id && contact.at < now);
        Rank { priority, expected, last: Reverse(contacts.map(|contact| contact.at).max()), id: Reverse(id) }
    }
}

/// What one input wakes, the best first, so that what loses is never said; what has no trigger any
/// more comes last.
pub(super) fn best_first<'t, T>(
    draft: &Draft<'_>,
    home: &Household,
    key: &DeviceKey,
    woken: impl Iterator<Item = T>,
    trigger: impl Fn(&T) -> Option<&'t Arc<Trigger>>,
) -> Vec<T> {
    let mut woken: Vec<T> = woken.collect();
    if woken.len() > 1 {
        let now = draft.now;
        let hoped = |trigger: &Trigger| {
            let decision = decision_id(home, draft.input, trigger, Some(key));
            expected(home, draft.rules, trigger, key, trigger.on.slot(), decision)
        };
        let is_comparable = in_one_currency(woken.iter().filter_map(&trigger).map(|trigger| hoped(trigger)));
        let rank = |item: &T| {
            let trigger = trigger(item)?;
            let expected = Expected::counted(hoped(trigger), is_comparable);
            Some(Rank::of(home, trigger.priority, expected, &trigger.id, now))
        };
        woken.sort_by_cached_key(|item| Reverse(rank(item)));
    }
    woken
}

/// Offers of a home whose hour has come at once, the best first: what the home may still hear goes to the one that ranks
/// highest, on whichever device.
pub(super) fn held_best_first(draft: &Draft<'_>, home: &Household, mut waited: Vec<&Offer>) -> Vec<OfferId> {
    if waited.len() > 1 {
        let (rules, now) = (draft.rules, draft.now);
        let is_comparable = in_one_currency(waited.iter().map(|offer| expected_of(home, rules, offer)));
        waited.sort_by_cached_key(|offer| {
            let expected = Expected::counted(expected_of(home, rules, offer), is_comparable);
            let live = rules.triggers.get(&offer.retailer, &offer.trigger);
            let priority = live.map_or(offer.priority, |trigger| trigger.priority);
            Reverse(Rank::of(home, priority, expected, &offer.trigger, now))
        });
    }
    waited.into_iter().map(|offer| offer.id).collect()
}

/// What an offer of a trigger would earn on a device.
fn expected(
    home: &Household,
    rules: &RuleSet,
    trigger: &Trigger,
    key: &DeviceKey,
    slot: Option<&SlotId>,
    decision: DecisionId,
) -> Hoped {
    let device = home.devices.get(key).filter(|_| trigger.offer.product.is_some())?;
    let product = render::product(home, rules, trigger, slot, device).and_then(Result::ok);
    let product = product.filter(|product| product.margin.is_some())?;
    let chance = rules.chances(&trigger.retailer).chance(&trigger.id, &device.model, decision);
    Expected::of(&product, supply::quantity(home, rules, trigger, &product), chance)
}

/// What a live offer is expected to earn still.
fn expected_of(home: &Household, rules: &RuleSet, offer: &Offer) -> Hoped {
    let (device, item) = (home.devices.get(&offer.device)?, offer.item.as_ref()?);
    let product = rules.product(&offer.retailer, &item.product)?;
    let chance = rules.chances(&offer.retailer).chance(&offer.trigger, &device.model, offer.decision);
    Expected::of(&product, item.qty, chance)
}

/// Whether an offer for a surface loses against one that is there: one that this very instant put
/// on the same surface, or, where the device holds as many as it can, each of them. An offer that
/// was held competed when it was decided.
pub(super) fn lost(look: &Look<'_>, placement: &PlacementId) -> Option<Said> {
    let (home, rules, trigger, now) = (look.home, look.rules, look.trigger, look.now);
    let held = look.wake.cause.held();
    let live = || live(home, &look.device.key, held);
    let beside: Vec<&Offer> = live().filter(|offer| held.is_none() && is_beside(offer, placement, now)).collect();
    let is_full = live().count() >= LIVE_OFFERS_PER_DEVICE_MAX;
    let weakest = live().min_by_key(|offer| offer.priority).filter(|weakest| trigger.priority < weakest.priority);
    if beside.is_empty() && !(is_full && weakest.is_some()) {
        return None;
    }
    let decision = decision_id(home, look.input, trigger, Some(look.wake.device));
    let own = expected(home, rules, trigger, look.wake.device, look.wake.slot, decision);
    let both = |offer: &Offer| {
        let its = expected_of(home, rules, offer);
        let is_comparable = in_one_currency([its, own]);
        (Expected::counted(its, is_comparable), Expected::counted(own, is_comparable))
    };
    let beside = beside.into_iter().find(|offer| {
        let (its, own) = both(offer);
        Rank::of(home, offer.priority, its, &offer.trigger, now)
            > Rank::of(home, trigger.priority, own, &trigger.id, now)
    });
    let winner = beside.or(weakest.filter(|_| is_full))?;
    let mut numbers = vec![
        text("placement", placement.to_string()),
        text("winner", winner.trigger.to_string()),
        fact("its_priority", Fact::Int(winner.priority.into())),
        fact("priority", Fact::Int(trigger.priority.into())),
    ];
    let (its, own) = both(winner);
    if (its, own) != (Expected::default(), Expected::default()) {
        numbers.push(fact("its_expected_minor", Fact::Real(its.minor())));
        numbers.push(fact("expected_minor", Fact::Real(own.minor())));
    }
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
