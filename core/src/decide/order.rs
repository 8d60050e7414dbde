//! The life of an order: placed by an accept, cancelled inside its window, moved on by the shop.

use std::sync::Arc;

use super::draft::Draft;
use super::{Answered, Refusal, mandate, supply, wake};
use crate::code::Code;
use crate::decision::{Change, Effect, Reply};
use crate::id::{DeviceKey, OrderId, ProfileId};
use crate::model::{Fulfil, Offer, Order, OrderLine, OrderState, Role, StateChange};
use crate::money::Money;
use crate::time::Span;
use crate::trigger::Moment;
use crate::wire::{DownMessage, OrderUp};

/// How long a change of an order is worth telling to a device that is away.
pub(super) const TELL_TTL: Span = Span::days(30);

/// The order that an accept makes. Its id is derived from the offer, so there can be only one.
#[allow(clippy::too_many_arguments, reason = "an order is the sum of these, and only `accept` makes one")]
pub(super) fn placed(
    draft: &Draft<'_>,
    offer: &Offer,
    qty: u32,
    price: Money,
    total: Money,
    fulfil: Fulfil,
    actor: Option<&ProfileId>,
    channel: &str,
) -> Order {
    let home = draft.before();
    // The acting person where known, else the owner who stands for the household.
    let owner = || {
        home.link_of(&offer.device)
            .filter(|link| link.role == Role::Owner)
            .map(|link| &link.profile)
            .or_else(|| home.owner().map(|owner| &owner.profile))
    };
    let has_window = offer.cancel_window > Span::ZERO;
    let state = if has_window { OrderState::Confirmed } else { OrderState::Submitted };
    let name = offer.item.as_ref().map(|item| (item.product.clone(), item.name.clone()));
    Order {
        id: OrderId::derived(&[offer.id.bytes()]),
        offer: offer.id,
        retailer: offer.retailer.clone(),
        device: offer.device.clone(),
        profile: actor.or_else(owner).cloned(),
        rev: 1,
        state,
        total,
        cancel_until: has_window.then_some(draft.now + offer.cancel_window),
        fulfil,
        lines: name
            .into_iter()
            .map(|(product, name)| OrderLine { product, name, qty, price, shipped: 0, refunded: 0 })
            .collect(),
        eta: None,
        test: offer.test,
        created_at: draft.now,
        history: vec![entry(state, draft, channel)],
        drawn: None,
        seller: offer.seller.clone(),
        sold_by: offer.sold_by.clone(),
        held: None,
        pickup: None,
        withdraw_days: offer.withdraw_days,
        withdrawn_at: None,
    }
}

fn entry(state: OrderState, draft: &Draft<'_>, cause: &str) -> StateChange {
    StateChange { state: Arc::from(state.as_str()), at: draft.now, cause: Arc::from(cause) }
}

/// Tells the device, if it still lives here, how the order stands.
pub(super) fn tell(draft: &mut Draft<'_>, order: &Order) {
    let home = draft.home();
    if home.devices.contains_key(&order.device) && home.link_of(&order.device).is_some() {
        let until = draft.now + TELL_TTL;
        draft.say(&order.device, DownMessage::Order(Arc::new(order.clone())), Some(until));
    }
}

fn advance(draft: &mut Draft<'_>, order: &Order, state: OrderState, cause: &str, eta: Option<&str>) -> Answered {
    let mut next = order.clone();
    next.rev += 1;
    next.state = state;
    next.history.push(entry(state, draft, cause));
    if eta.is_some() {
        next.eta = eta.map(str::to_owned);
    }
    if state.is_undone()
        && let Some(drawn) = next.drawn.take()
    {
        draft.effect(Effect::GiveBack { retailer: next.retailer.clone(), order: next.id, drawn });
    }
    let reply = Reply::OrderMoved { order: next.id, rev: next.rev, state };
    draft.change(Change::OrderSet(Arc::new(next.clone())));
    supply::order_moved(draft, order.state, &next);
    if state.is_undone() {
        mandate::gave_up(draft, &next);
    }
    tell(draft, &next);
    super::drop_ended(draft);
    wake::by_moment(draft, &next.device, Moment::Order(state));
    Ok(reply)
}

fn find(draft: &Draft<'_>, id: OrderId) -> Result<Order, Refusal> {
    let unknown = || Refusal::new(Code::OfferUnknown, format!("there is no order {id} here")).at("/body/order");
    draft.before().orders.get(&id).map(|order| (**order).clone()).ok_or_else(unknown)
}

pub(super) fn cancelled_on_device(draft: &mut Draft<'_>, key: &DeviceKey, said: &OrderUp) -> Answered {
    let order = find(draft, said.order)?;
    if order.device != *key {
        return Err(Refusal::new(Code::OfferUnknown, "this order was not made on this device").at("/body/order"));
    }
    cancel(draft, said.order, "device")
}

pub(super) fn cancelled_elsewhere(draft: &mut Draft<'_>, id: OrderId, channel: &str) -> Answered {
    cancel(draft, id, channel)
}

/// Cancels inside the window; the same cancellation again changes nothing.
pub(super) fn cancel(draft: &mut Draft<'_>, id: OrderId, channel: &str) -> Answered {
    let order = find(draft, id)?;
    if order.state == OrderState::Cancelled {
        tell(draft, &order);
        return Ok(Reply::OrderMoved { order: id, rev: order.rev, state: order.state });
    }
    let in_window = order.state == OrderState::Confirmed && order.cancel_until.is_some_and(|until| draft.now < until);
    if !in_window {
        let message = format!(
            "the order is {}; its cancel window has closed, withdraw from it through the shop",
            order.state.as_str()
        );
        return Err(Refusal::new(Code::OrderNotCancellable, message));
    }
    advance(draft, &order, OrderState::Cancelled, channel, None)
}

/// The device passes on what only the shop can settle; it stays in the input log and the trace.
pub(super) fn told_to_the_shop(draft: &mut Draft<'_>, key: &DeviceKey, said: &OrderUp) -> Answered {
    let order = find(draft, said.order)?;
    if order.device != *key {
        return Err(Refusal::new(Code::OfferUnknown, "this order was not made on this device").at("/body/order"));
    }
    let message = "ask the shop: returns are not opened from the device here";
    Err(Refusal::new(Code::OrderNotCancellable, message).at("/body/op"))
}

/// The window closes: the order leaves to the shop.
pub(super) fn submit(draft: &mut Draft<'_>, id: OrderId) {
    let Some(order) = draft.home().orders.get(&id).cloned() else { return };
    if order.state == OrderState::Confirmed && order.cancel_until.is_none_or(|until| until <= draft.now) {
        let _ = advance(draft, &order, OrderState::Submitted, "cancel window closed", None);
    }
}

/// The shop moves an order on: by revision, never backwards, forward jumps allowed.
pub(super) fn moved_by_shop(
    draft: &mut Draft<'_>,
    id: OrderId,
    rev: u32,
    state: OrderState,
    eta: Option<&str>,
) -> Answered {
    let order = find(draft, id)?;
    if order.state == OrderState::Confirmed && state != OrderState::Refused {
        let until = order.cancel_until.map_or_else(String::new, |until| format!(" until {until}"));
        let message = format!("the customer may still cancel{until}; the order is the shop's afterwards");
        return Err(Refusal::new(Code::OrderInCancelWindow, message));
    }
    if rev != order.rev + 1 {
        let message =
            format!("the order is at rev {}; the next status carries rev {}, not {rev}", order.rev, order.rev + 1);
        return Err(Refusal::new(Code::StateVersionConflict, message).at("/rev"));
    }
    let sideways = order.state.rank() == state.rank() && order.state != state && !order.state.is_final();
    let forward = state.rank() > order.state.rank() && !order.state.is_final();
    if !(forward || sideways) || matches!(state, OrderState::Confirmed | OrderState::Submitted) {
        let message = format!("an order cannot go from {} to {}", order.state.as_str(), state.as_str());
        return Err(Refusal::new(Code::StateVersionConflict, message).at("/state"));
    }
    advance(draft, &order, state, "shop", eta)
}
