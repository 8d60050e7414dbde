//! Which ended offers and orders stay in a home's record: the last few of each, and beside them those that
//! something still depends on. An order is needed while the customer may withdraw from it, a withdrawal or a
//! return is unsettled, it silences something, or it is the last of a product: conditions ask how long ago that was.
//! A refusal while it silences something and no newer one
//! silences the same.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::draft::Draft;
use super::steps::{OTHER_BRAND, OTHER_BRAND_SILENCE, REFUND_SILENCE};
use crate::decision::Change;
use crate::id::{OfferId, OrderId, ProductId, TriggerId};
use crate::limits::{ENDED_KEPT_MAX, ORDERS_NEEDED_MAX, REFUSALS_NEEDED_MAX};
use crate::model::{Household, Offer, OfferState, Order, OrderState};
use crate::rules::RuleSet;
use crate::time::{Span, Timestamp};

/// Ended offers and orders beyond the number kept leave the record, oldest first.
pub(super) fn drop_ended(draft: &mut Draft<'_>) {
    let (rules, now) = (draft.rules, draft.now);
    let home = draft.home();
    let offers = offers_to_drop(home, rules, now);
    let orders = orders_to_drop(home, rules, now);
    offers.into_iter().for_each(|id| draft.change(Change::OfferDropped(id)));
    orders.into_iter().for_each(|id| draft.change(Change::OrderDropped(id)));
}

fn offers_to_drop(home: &Household, rules: &RuleSet, now: Timestamp) -> Vec<OfferId> {
    let mut ended: Vec<&Arc<Offer>> = home.offers.values().filter(|offer| !offer.state.is_live()).collect();
    let surplus = ended.len().saturating_sub(ENDED_KEPT_MAX);
    if surplus == 0 {
        return Vec::new();
    }
    let says_little = |offer: &Offer| matches!(offer.state, OfferState::Expired | OfferState::Withdrawn);
    ended.sort_by_key(|offer| (!says_little(offer), offer.valid_from, offer.id));
    let needed = needed_refusals(&ended, rules, now);
    ended.into_iter().take(surplus).map(|offer| offer.id).filter(|id| !needed.contains(id)).collect()
}

/// What a refusal silences.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Silences<'o> {
    /// A trigger, after a "no".
    Trigger(&'o TriggerId),
    /// A trigger, after a "not needed".
    Need(&'o TriggerId),
    /// Every offer of a product.
    Product(&'o ProductId),
}

/// The newest refusal of everything that is silent because of one; where those are too many, the newest of them.
fn needed_refusals(ended: &[&Arc<Offer>], rules: &RuleSet, now: Timestamp) -> BTreeSet<OfferId> {
    let mut refusals: Vec<(Timestamp, &str, &Offer)> = ended
        .iter()
        .filter(|offer| offer.state == OfferState::Declined)
        .filter_map(|offer| offer.history.last().map(|last| (last.at, &*last.cause, &***offer)))
        .collect();
    refusals.sort_by_key(|(at, _, offer)| Reverse((*at, offer.id)));
    let (mut silent, mut needed) = (BTreeSet::new(), BTreeSet::new());
    for (at, cause, offer) in refusals {
        let after = rules.triggers.get(&offer.retailer, &offer.trigger).map(|trigger| trigger.after);
        let is_other = cause == OTHER_BRAND;
        let (of_trigger, silence) = match is_other || cause == "not needed" {
            true => (Silences::Need(&offer.trigger), after.and_then(|after| after.not_needed)),
            false => (Silences::Trigger(&offer.trigger), after.and_then(|after| after.declined)),
        };
        // A trigger that is paused comes back with its silence: as long as the longest that is ours.
        let silence = if after.is_none() { Some(OTHER_BRAND_SILENCE) } else { silence };
        let of_product = offer.item.as_ref().filter(|_| is_other).map(|item| Silences::Product(&item.product));
        let both = [(Some(of_trigger), silence), (of_product, Some(OTHER_BRAND_SILENCE))];
        for (what, silence) in both {
            let (Some(what), Some(silence)) = (what, silence) else { continue };
            if now < at + silence && silent.insert(what) && needed.len() < REFUSALS_NEEDED_MAX {
                needed.insert(offer.id);
            }
        }
    }
    needed
}

fn orders_to_drop(home: &Household, rules: &RuleSet, now: Timestamp) -> Vec<OrderId> {
    let mut ended: Vec<&Arc<Order>> = home.orders.values().filter(|order| !order.state.is_open()).collect();
    ended.sort_by_key(|order| (order.created_at, order.id));
    let surplus = ended.len().saturating_sub(ENDED_KEPT_MAX);
    if surplus == 0 {
        return Vec::new();
    }
    let triggers = rules.triggers.iter().filter(|trigger| Some(&trigger.retailer) == home.retailer.as_ref());
    let bought_silence = triggers.filter_map(|trigger| trigger.after.ordered).max().unwrap_or(Span::ZERO);
    let leaving = &ended[..surplus];
    let last = last_of_a_product(home);
    let is_kept = |order: &&&Arc<Order>| is_needed(order, bought_silence, now) || last.contains(&order.id);
    let mut needed: Vec<&&Arc<Order>> = leaving.iter().filter(is_kept).collect();
    needed.sort_by_key(|order| Reverse((is_unsettled(order), order.created_at, order.id)));
    let needed: BTreeSet<OrderId> = needed.into_iter().take(ORDERS_NEEDED_MAX).map(|order| order.id).collect();
    leaving.iter().map(|order| order.id).filter(|id| !needed.contains(id)).collect()
}

/// The last purchase of each product.
fn last_of_a_product(home: &Household) -> BTreeSet<OrderId> {
    let mut orders: Vec<&Arc<Order>> = home.orders.values().filter(|order| order.state.is_purchase()).collect();
    orders.sort_by_key(|order| (order.created_at, order.id));
    let lines = orders.iter().flat_map(|order| order.lines.iter().map(|line| (&line.product, order.id)));
    lines.collect::<BTreeMap<&ProductId, OrderId>>().into_values().collect()
}

/// Whether anything may still follow from an ended order that only this record permits.
fn is_needed(order: &Order, bought_silence: Span, now: Timestamp) -> bool {
    let may_go_back = !order.state.is_final() && order.withdrawn_from_until().is_some_and(|until| now < until);
    let refunds = order.lines.iter().filter_map(|line| order.refunded_at(&line.product));
    let silences = refunds.max().is_some_and(|at| now < at + REFUND_SILENCE)
        || (order.state.is_purchase() && now < order.created_at + bought_silence);
    may_go_back || is_unsettled(order) || silences
}

/// Whether the shop owes an answer: the goods are on their way back, or are put aside still.
fn is_unsettled(order: &Order) -> bool {
    let goes_back = order.withdrawn_at.is_some() || order.state == OrderState::Returned;
    !order.state.is_final() && (goes_back || order.held.is_some())
}
