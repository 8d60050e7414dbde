//! What is told of offers and orders.

use serde_json::{Value, json};

use super::{EventType, Teller, join};
use crate::id::{HouseholdId, RetailerId};
use crate::model::{Offer, OfferState, Order, OrderState, StateChange};
use crate::money::Money;

/// The kind of an offer that proposes to fill up.
const REPLENISH: &str = "replenish";

impl Teller<'_> {
    /// An offer as it is, beside what it was.
    pub(super) fn offer(&mut self, offer: &Offer, before: Option<&Offer>) {
        let word = offer.state.as_str();
        // A new price, or a second press, is another word about the same offer and not another state.
        if before.is_some_and(|before| before.state.as_str() == word) {
            return;
        }
        let kind = match offer.state {
            OfferState::Sent => EventType::OfferSent,
            OfferState::Shown => EventType::OfferShown,
            OfferState::Accepted { .. } | OfferState::Declined | OfferState::Snoozed { .. } => EventType::OfferAnswered,
            OfferState::Expired => EventType::OfferExpired,
            OfferState::Withdrawn | OfferState::Failed => EventType::OfferWithdrawn,
            OfferState::Queued { .. } | OfferState::Delivered => return,
        };
        self.about_home(&offer.retailer, kind, |household| told_of_offer(household, offer));
        if &*offer.kind != REPLENISH {
            return;
        }
        let kind = match offer.state {
            OfferState::Sent => EventType::ReplenishSuggested,
            OfferState::Accepted { .. } => EventType::ReplenishConfirmed,
            _ => return,
        };
        self.about_home(&offer.retailer, kind, |household| told_of_offer(household, offer));
    }

    /// An order as it is, beside what it was.
    pub(super) fn order(&mut self, order: &Order, before: Option<&Order>, offers: &[&Offer]) {
        // One more piece that is sent or paid back is news too.
        if before.is_some_and(|before| before.state == order.state && before.lines == order.lines) {
            return;
        }
        let was_the_shops = before.is_some_and(|before| before.state != OrderState::Confirmed);
        let offer = self.offer_of(order.offer, offers).cloned();
        let offer = offer.as_ref();
        match order.state {
            OrderState::Submitted if !was_the_shops => {
                self.about_order(EventType::OrderRequested, order, offer, || requested(order, offer));
            }
            OrderState::Cancelled => {
                let more = || json!({"requested": was_the_shops, "cause": cause(&order.history)});
                self.about_order(EventType::OrderCancelled, order, offer, more);
                if offer.is_some_and(|offer| &*offer.kind == REPLENISH) {
                    self.about_order(EventType::ReplenishCancelled, order, offer, more);
                }
            }
            _ => {
                let more = || {
                    json!({
                        "cause": cause(&order.history),
                        "eta": order.eta,
                        "cancel_until": order.cancel_until.map(|at| at.to_string()),
                        "refunded": money(order.refunded()),
                    })
                };
                self.about_order(EventType::OrderStatus, order, offer, more);
            }
        }
    }

    fn about_order(&mut self, kind: EventType, order: &Order, offer: Option<&Offer>, more: impl FnOnce() -> Value) {
        let retailer: &RetailerId = &order.retailer;
        self.about_home(retailer, kind, |household| {
            let mut data = json!({
                "order": order.id,
                "rev": order.rev,
                "state": order.state.as_str(),
                "offer": order.offer,
                "trigger": offer.map(|offer| &offer.trigger),
                "household": household,
                "device": order.device.device,
                "maker": order.device.maker,
                "profile": order.profile,
                "test": order.test,
            });
            join(&mut data, more());
            data
        });
    }
}

/// All that a shop needs to fulfil an order without asking back.
fn requested(order: &Order, offer: Option<&Offer>) -> Value {
    let lines =
        order.lines.iter().map(|line| json!({"product": line.product, "qty": line.qty, "price": money(line.price)}));
    json!({
        "lines": lines.collect::<Vec<_>>(),
        "total": money(order.total),
        "fulfil": order.fulfil,
        "seller": order.seller,
        "pickup": order.pickup.as_ref().map(|pickup| json!({"store": pickup.store, "code": pickup.code})),
        "channel": order.history.first().map(|first| &*first.cause),
        "code": offer.and_then(|offer| offer.code.as_ref()).map(|code| code.code.as_str()),
        "slot": offer.and_then(|offer| offer.slot.as_ref()),
        "created_at": order.created_at.to_string(),
    })
}

fn told_of_offer(household: HouseholdId, offer: &Offer) -> Value {
    let order = match offer.state {
        OfferState::Accepted { order } => Some(order),
        _ => None,
    };
    json!({
        "offer": offer.id,
        "rev": offer.rev,
        "kind": &*offer.kind,
        "state": offer.state.as_str(),
        "trigger": offer.trigger,
        "decision": offer.decision,
        "household": household,
        "device": offer.device.device,
        "maker": offer.device.maker,
        "slot": offer.slot,
        "placement": offer.placement,
        "product": offer.item.as_ref().map(|item| &item.product),
        "qty": offer.item.as_ref().map(|item| item.qty),
        "price": offer.price.as_ref().map(|price| money(price.total)),
        "expires_at": offer.expires_at.to_string(),
        "order": order,
        "cause": cause(&offer.history),
        "test": offer.test,
    })
}

/// Why it stands where it does.
fn cause(history: &[StateChange]) -> Option<&str> {
    history.last().map(|last| &*last.cause)
}

fn money(money: Money) -> Value {
    json!({"minor": money.minor, "currency": money.currency.as_str()})
}
