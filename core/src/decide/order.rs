//! The life of an order: placed by an accept, cancelled inside its window, moved on by the shop.

use std::sync::Arc;

use super::draft::Draft;
use super::{Answered, Refusal, mandate, supply, wake};
use crate::code::Code;
use crate::decision::{Change, Effect, Reply};
use crate::id::{DeviceKey, OrderId, ProductId, ProfileId};
use crate::limits::DELAYS_MAX;
use crate::model::{Fulfil, Held, Offer, Order, OrderLine, OrderState, Role, StateChange};
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
    if eta.is_some() {
        next.eta = eta.map(str::to_owned);
    }
    match state {
        OrderState::Shipped | OrderState::Delivered | OrderState::PickedUp => {
            next.lines.iter_mut().for_each(|line| line.shipped += line.owed());
        }
        OrderState::Refunded => next.lines.iter_mut().for_each(|line| line.refunded = line.qty),
        OrderState::ReadyForPickup => {
            let now = draft.now;
            if let Some(pickup) = &mut next.pickup {
                pickup.until = Some(now + pickup.hold);
            }
        }
        _ => {}
    }
    enter(draft, order, next, state, cause)
}

/// The order as it is next, with what is said of it and all that follows.
fn enter(draft: &mut Draft<'_>, before: &Order, mut next: Order, said: OrderState, cause: &str) -> Answered {
    // What is refunded before it arrives leaves the rest on its way: the lines say how much it is.
    let goes_on = said == OrderState::PartiallyRefunded && !before.state.has_arrived();
    let state = if goes_on { before.state } else { said };
    next.rev += 1;
    next.state = state;
    next.history.push(entry(said, draft, cause));
    if state.is_undone()
        && let Some(drawn) = next.drawn.take()
    {
        draft.effect(Effect::GiveBack { retailer: next.retailer.clone(), order: next.id, drawn });
    }
    settle_goods(draft, before, &mut next);
    let reply = Reply::OrderMoved { order: next.id, rev: next.rev, state };
    draft.change(Change::OrderSet(Arc::new(next.clone())));
    supply::order_moved(draft, before, &next);
    if state.is_undone() {
        mandate::gave_up(draft, &next);
    }
    tell(draft, &next);
    super::drop_ended(draft);
    wake::by_moment(draft, &next.device, Moment::Order(said));
    Ok(reply)
}

/// An order ends inside its window, and nobody is told of it or woken by it: what it drew and put aside is free.
pub(super) fn called_off(draft: &mut Draft<'_>, before: &Order, cause: &str) {
    let mut next = before.clone();
    next.rev += 1;
    next.state = OrderState::Cancelled;
    next.history.push(entry(next.state, draft, cause));
    if let Some(drawn) = next.drawn.take() {
        draft.effect(Effect::GiveBack { retailer: next.retailer.clone(), order: next.id, drawn });
    }
    settle_goods(draft, before, &mut next);
    draft.change(Change::OrderSet(Arc::new(next.clone())));
    supply::order_moved(draft, before, &next);
}

/// What becomes of the goods that are put aside: what left is gone, what nobody gets any more is free, and the rest
/// waits.
fn settle_goods(draft: &mut Draft<'_>, before: &Order, next: &mut Order) {
    let Some(held) = next.held.take() else { return };
    let (retailer, order) = (next.retailer.clone(), next.id);
    if next.state.is_undone() {
        return draft.effect(Effect::FreeStock { retailer, order, held });
    }
    // What came back has left, whoever forgot to say so: the next count has it, if it can be sold.
    if next.state == OrderState::Shipped || next.state.has_arrived() {
        return draft.effect(Effect::StockLeft { retailer, order, held });
    }
    let of_held = |order: &Order| order.lines.iter().find(|line| line.product == held.product).cloned();
    let (Some(was), Some(is)) = (of_held(before), of_held(next)) else {
        next.held = Some(held);
        return;
    };
    let rest = Held { qty: is.owed().min(held.qty), ..held.clone() };
    let gone = (is.shipped - was.shipped).min(held.qty - rest.qty);
    let free = held.qty - rest.qty - gone;
    next.held = Some(rest.clone()).filter(|rest| rest.qty > 0);
    if gone + free > 0 {
        draft.effect(Effect::StockParted { retailer, order, rev: next.rev, rest, gone, free });
    }
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
    of_device(draft, key, said)?;
    let message = "ask the shop: what is wrong with the goods is not settled on the device";
    Err(Refusal::new(Code::OrderNotCancellable, message).at("/body/op"))
}

fn of_device(draft: &Draft<'_>, key: &DeviceKey, said: &OrderUp) -> Result<Order, Refusal> {
    let order = find(draft, said.order)?;
    if order.device != *key {
        return Err(Refusal::new(Code::OfferUnknown, "this order was not made on this device").at("/body/order"));
    }
    Ok(order)
}

pub(super) fn withdrawn_on_device(draft: &mut Draft<'_>, key: &DeviceKey, said: &OrderUp) -> Answered {
    of_device(draft, key, said)?;
    withdraw(draft, said.order, "device")
}

/// The customer withdraws: inside the window that is a cancellation, later a return that the shop settles. The
/// days of the right begin when the goods arrive.
pub(super) fn withdraw(draft: &mut Draft<'_>, id: OrderId, channel: &str) -> Answered {
    let order = find(draft, id)?;
    if order.state == OrderState::Confirmed || order.state == OrderState::Cancelled {
        return cancel(draft, id, channel);
    }
    if order.withdrawn_at.is_some() {
        tell(draft, &order);
        return Ok(Reply::OrderMoved { order: id, rev: order.rev, state: order.state });
    }
    let refused = |message: String| Err(Refusal::new(Code::OrderNotCancellable, message));
    if !order.may_be_withdrawn() {
        return refused(format!("the order is {}; there is nothing to withdraw from", order.state.as_str()));
    }
    if let Some(ended) = order.withdrawn_from_until().filter(|ended| *ended <= draft.now) {
        return refused(format!("the right to withdraw ended at {ended}; ask the shop"));
    }
    let mut next = order.clone();
    next.rev += 1;
    next.withdrawn_at = Some(draft.now);
    next.history
        .push(StateChange { cause: Arc::from(format!("withdrawn: {channel}")), ..entry(order.state, draft, "") });
    draft.change(Change::OrderSet(Arc::new(next.clone())));
    tell(draft, &next);
    Ok(Reply::OrderMoved { order: id, rev: next.rev, state: next.state })
}

/// What a caller may ask again without meaning it twice, as it names its calls: then it is told how the order
/// stands.
pub(super) fn once(draft: &mut Draft<'_>, id: OrderId, act: impl FnOnce(&mut Draft<'_>) -> Answered) -> Answered {
    let Some(call) = &draft.input.message else { return act(draft) };
    let cause = supply::cause(&[b"call", call.as_str().as_bytes()]);
    if draft.before().supply.heard.contains(&cause) {
        let order = find(draft, id)?;
        draft.note("this was asked before");
        return Ok(Reply::OrderMoved { order: id, rev: order.rev, state: order.state });
    }
    let reply = act(draft)?;
    draft.change(Change::PurchaseHeard(cause));
    Ok(reply)
}

/// The shop gives money back for some of the goods: what they drew of the budget is there again, they are no spares
/// any more, and the product is not proposed for a while. What was not sent yet is not sent any more.
pub(super) fn refund(draft: &mut Draft<'_>, id: OrderId, rev: Option<u32>, lines: &[(ProductId, u32)]) -> Answered {
    let order = find(draft, id)?;
    of_rev(&order, rev)?;
    if order.state == OrderState::Confirmed {
        let message = "the customer may still cancel; nothing was paid yet".to_owned();
        return Err(Refusal::new(Code::OrderInCancelWindow, message));
    }
    if order.state.is_final() {
        let message = format!("the order is {}; there is nothing to give back", order.state.as_str());
        return Err(Refusal::new(Code::StateVersionConflict, message));
    }
    let mut next = order.clone();
    let mut pieces = 0;
    for (n, (product, qty)) in lines.iter().enumerate() {
        let line = line_of(&mut next, product, n)?;
        let left = line.qty - line.refunded;
        if *qty == 0 || *qty > left {
            let message = format!("{left} of `{product}` are not refunded yet; say 1 to {left}");
            return Err(Refusal::new(Code::PayloadInvalid, message).at(format!("/lines/{n}/qty")));
        }
        line.refunded += qty;
        pieces += qty;
    }
    if next.lines.iter().all(|line| line.refunded == line.qty) {
        return enter(draft, &order, next, OrderState::Refunded, "shop");
    }
    let all: u32 = order.lines.iter().map(|line| line.qty).sum();
    if let Some(drawn) = &mut next.drawn {
        // What is left is rounded up to the pieces that are: the last one gives the rest back.
        let undone: u32 = order.lines.iter().map(|line| line.refunded).sum();
        let (had, pieces) = (i128::from(all - undone), i128::from(pieces));
        let back = i64::try_from(i128::from(drawn.amount.minor) * pieces / had.max(1)).unwrap_or(0);
        drawn.amount.minor -= back;
        let (retailer, back) = (order.retailer.clone(), Money { minor: back, ..drawn.amount });
        draft.effect(Effect::GivePartBack { retailer, order: id, left: drawn.clone(), back });
    }
    enter(draft, &order, next, OrderState::PartiallyRefunded, "shop")
}

/// The shop sends a part.
pub(super) fn ship_lines(
    draft: &mut Draft<'_>,
    id: OrderId,
    rev: u32,
    lines: &[(ProductId, u32)],
    eta: Option<&str>,
) -> Answered {
    let order = find(draft, id)?;
    let another_part = order.state == OrderState::PartiallyShipped;
    if another_part {
        of_rev(&order, Some(rev))?
    } else {
        may_move(&order, rev, OrderState::PartiallyShipped)?
    };
    let mut next = order.clone();
    next.eta = eta.map(str::to_owned).or(next.eta);
    for (n, (product, qty)) in lines.iter().enumerate() {
        let line = line_of(&mut next, product, n)?;
        let left = line.owed();
        if *qty == 0 || *qty > left {
            let message = match (left, line.refunded) {
                (0, _) => format!("nothing of `{product}` is left to be sent: {} are refunded", line.refunded),
                (_, 0) => format!("{left} of `{product}` are not sent yet; say 1 to {left}"),
                (_, back) => format!("{left} of `{product}` are not sent yet and {back} refunded; say 1 to {left}"),
            };
            return Err(Refusal::new(Code::PayloadInvalid, message).at(format!("/lines/{n}/qty")));
        }
        line.shipped += qty;
    }
    let is_all = next.lines.iter().all(|line| line.owed() == 0);
    let state = if is_all { OrderState::Shipped } else { OrderState::PartiallyShipped };
    enter(draft, &order, next, state, "shop")
}

fn line_of<'o>(order: &'o mut Order, product: &ProductId, n: usize) -> Result<&'o mut OrderLine, Refusal> {
    let found = order.lines.iter_mut().find(|line| line.product == *product);
    found.ok_or_else(|| {
        let message = format!("the order has no line of `{product}`");
        Refusal::new(Code::PayloadInvalid, message).at(format!("/lines/{n}/product"))
    })
}

fn of_rev(order: &Order, rev: Option<u32>) -> Result<(), Refusal> {
    if let Some(rev) = rev.filter(|rev| *rev != order.rev + 1) {
        let message =
            format!("the order is at rev {}; the next change carries rev {}, not {rev}", order.rev, order.rev + 1);
        return Err(Refusal::new(Code::StateVersionConflict, message).at("/rev"));
    }
    Ok(())
}

/// What is ready waits for its buyer so long and no longer: the goods are there for others.
pub(super) fn pickup_ended(draft: &mut Draft<'_>, id: OrderId) {
    let Some(order) = draft.home().orders.get(&id).cloned() else { return };
    if order.waits_until().is_some_and(|until| until <= draft.now) {
        let _ = advance(draft, &order, OrderState::PickupExpired, "nobody came", None);
    }
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
    may_move(&order, rev, state)?;
    advance(draft, &order, state, "shop", eta)
}

fn may_move(order: &Order, rev: u32, state: OrderState) -> Result<(), Refusal> {
    if order.state == OrderState::Confirmed && state != OrderState::Refused {
        let until = order.cancel_until.map_or_else(String::new, |until| format!(" until {until}"));
        let message = format!("the customer may still cancel{until}; the order is the shop's afterwards");
        return Err(Refusal::new(Code::OrderInCancelWindow, message));
    }
    of_rev(order, Some(rev))?;
    let refused = |message: String| Err(Refusal::new(Code::StateVersionConflict, message).at("/state"));
    if let Some(cure) = blocked(order, state) {
        return refused(format!("an order cannot go from {} to {}{cure}", order.state.as_str(), state.as_str()));
    }
    let is_of_store = matches!(state, OrderState::ReadyForPickup | OrderState::PickedUp | OrderState::PickupExpired);
    if is_of_store && order.fulfil == Fulfil::Deliver {
        return refused(format!("the order is delivered; it cannot be {}", state.as_str()));
    }
    let delays = order.history.iter().filter(|change| *change.state == *OrderState::Delayed.as_str()).count();
    if state == OrderState::Delayed && delays >= DELAYS_MAX {
        return refused(format!("it was delayed {delays} times; send it, or refuse it"));
    }
    Ok(())
}

/// Whether a state cannot follow, with what to do instead. Forward jumps are allowed; to the side only where both
/// make sense of the same goods, and never back and forth without an end.
fn blocked(order: &Order, state: OrderState) -> Option<&'static str> {
    use OrderState::{
        Confirmed, Delayed, PartiallyRefunded, PartiallyShipped, PickupExpired, ReadyForPickup, Returned, Shipped,
        Submitted,
    };
    let from = order.state;
    match (from, state) {
        _ if from.is_final() => Some(""),
        (_, Confirmed | Submitted) => Some(""),
        (PickupExpired, _) if !state.is_final() => {
            Some(": nobody came for it, and its goods are free for others; refund it, and let it be ordered anew")
        }
        (_, PickupExpired) if from.has_arrived() => Some(": it was fetched; say `returned` when it comes back"),
        (_, PartiallyRefunded) if !from.has_arrived() => {
            Some(": refund lines instead; what is left goes on from where it stands")
        }
        (PartiallyShipped, Delayed) | (Delayed, PartiallyShipped) | (Shipped, ReadyForPickup) => None,
        (PartiallyRefunded, Returned) if !order.has_been(Returned) => None,
        _ if state.rank() > from.rank() => None,
        _ => Some(""),
    }
}
