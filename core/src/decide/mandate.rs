//! Orders without asking: what a customer's mandate permits is ordered, announced, and can be
//! cancelled until its notice ends; what it does not permit is asked.

use std::sync::Arc;

use super::draft::Draft;
use super::render::Proposal;
use super::said::{Said, fact, said, said_of, text};
use super::steps::Look;
use super::supply::{self, Spares};
use super::{Answered, Refusal, forecast, offer, order};
use crate::code::Code;
use crate::decision::{Change, Reply};
use crate::id::{DeviceKey, MandateId, OrderId, ProductId};
use crate::limits::MANDATES_MAX;
use crate::model::{Household, MANDATE_WINDOW, Mandate, Offer, Order, OrderState, Purpose};
use crate::rules::RuleSet;
use crate::time::{Span, Timestamp};
use crate::trace::{Fact, Step, StepTrace, StepVerdict};
use crate::trigger::Trigger;
use crate::wire::{DownMessage, ReplenishOp, ReplenishUp};
use crate::words::{Reason, Tongue};

/// How long "later" is where the person did not say.
const LATER_DEFAULT: Span = Span::days(3);
/// "Later" is not now, and not never: a device's clock may say either.
const LATER_MIN: Span = Span::hours(6);
const LATER_MAX: Span = Span::days(365);
/// How long a trigger is quiet after a cancelled order, where it does not say.
const REFUSED_DEFAULT: Span = Span::days(14);
/// The same after "not needed".
const NOT_NEEDED_DEFAULT: Span = Span::days(30);

/// The channel in the history of what was ordered under a mandate.
pub(super) const CHANNEL: &str = "mandate";

/// Gives or replaces a mandate. What was ordered under it before still counts.
pub(super) fn given(draft: &mut Draft<'_>, mandate: &Mandate) -> Answered {
    let home = draft.before();
    let refused = |message: String, pointer: &str| Err(Refusal::new(Code::PayloadInvalid, message).at(pointer));
    match home.members.get(&mandate.profile) {
        None => return refused(format!("`{}` does not live here", mandate.profile), "/profile"),
        Some(member) if !member.role.may_order() => {
            return refused(format!("a {} may not order", member.role.as_str()), "/profile");
        }
        Some(_) => {}
    }
    if home.link_of(&mandate.device).is_none() {
        return refused(format!("{} is linked to nobody here", mandate.device), "/device");
    }
    let known = home.supply.mandates.get(&mandate.id);
    if known.is_none() && home.supply.mandates.len() >= MANDATES_MAX {
        return refused(format!("a home has at most {MANDATES_MAX} mandates"), "");
    }
    let mandate = Mandate { ordered: known.map(|known| known.ordered.clone()).unwrap_or_default(), ..mandate.clone() };
    if known.is_some_and(|known| Mandate { given_at: known.given_at, ..mandate.clone() } == **known) {
        return Ok(Reply::Unchanged);
    }
    draft.note(format!("mandate {} given by {}", mandate.id, mandate.profile));
    draft.change(Change::MandateSet(Box::new(mandate)));
    Ok(Reply::Done)
}

/// Ends a mandate. What was ordered stays ordered, and can be cancelled as long as before.
pub(super) fn ended(draft: &mut Draft<'_>, id: &MandateId) -> Answered {
    if !draft.before().supply.mandates.contains_key(id) {
        return Ok(Reply::Unchanged);
    }
    draft.note(format!("mandate {id} ended"));
    draft.change(Change::MandateEnded(id.clone()));
    Ok(Reply::Done)
}

/// The device left the people who gave these: they end.
pub(super) fn end_all_of(draft: &mut Draft<'_>, key: &DeviceKey) {
    let mandates = draft.home().supply.mandates.values();
    let of_device: Vec<MandateId> =
        mandates.filter(|mandate| mandate.device == *key).map(|mandate| mandate.id.clone()).collect();
    for id in of_device {
        draft.change(Change::MandateEnded(id));
    }
}

/// What a mandate says to an order: whether it may be made without asking, or why it is asked.
pub(super) struct Permission {
    /// What the step says.
    pub(super) said: Said,
    /// The mandate under which it may be ordered.
    under: Option<MandateId>,
    /// Whether there is a mandate at all: who gave one is told why it did not serve.
    is_given: bool,
}

impl Permission {
    /// Orders what may be ordered. `false` where it must be asked: then nothing was done.
    pub(super) fn order(&self, draft: &mut Draft<'_>, trigger: &Trigger, proposed: &Offer) -> bool {
        let (Some(mandate), Some(replenish)) = (&self.under, trigger.replenish) else { return false };
        let proposed = Offer { cancel_window: replenish.notice, ..proposed.clone() };
        order_instead(draft, mandate, &proposed)
    }
    /// Says to the customer why they are asked although they gave a mandate.
    pub(super) fn tell_why_asked(&self, offer: &mut Offer) {
        if !self.is_given {
            return;
        }
        let tongue = if offer.text.locale.starts_with("fr") { Tongue::Fr } else { Tongue::En };
        let (verdict, reason, numbers) = self.said.clone();
        let why = StepTrace { step: Step::Send, verdict, reason, numbers }.in_words(tongue);
        offer.text.why = Some(match offer.text.why.take() {
            Some(said) => format!("{said} {why}"),
            None => why,
        });
    }
}

/// Looks whether a mandate permits to order. Where it does not, the customer is asked: that blocks
/// nothing, and the reason stands with the step. None where the trigger asks anyhow.
pub(super) fn permission(look: &Look<'_>, proposal: Option<&Proposal>, spares: Option<Spares>) -> Option<Permission> {
    if !look.trigger.replenish.is_some_and(|replenish| replenish.auto) {
        return None;
    }
    let (product, price) = proposal?.sold()?;
    let home = look.home;
    let Some(mandate) = mandate_for(home, look, &product.id) else {
        let said = said(StepVerdict::Pass, Reason::MandateMissing, Vec::new());
        return Some(Permission { said, under: None, is_given: false });
    };
    let ask = |reason, numbers| {
        Some(Permission { said: said(StepVerdict::Pass, reason, numbers), under: None, is_given: true })
    };
    let id = text("mandate", mandate.id.to_string());
    if !gives_consent(home, look.rules, mandate, look.now) {
        return ask(Reason::MandateNoConsent, vec![id]);
    }
    let wish = home.standings.get(&mandate.profile).map(|standing| &standing.preferences);
    if wish.is_some_and(|wish| wish.no_auto_order) {
        return ask(Reason::MandateOff, vec![id]);
    }
    if mandate.expires_at <= look.now {
        return ask(Reason::MandateEnded, vec![id, fact("at", Fact::At(mandate.expires_at))]);
    }
    if !mandate.products.contains(&product.id) {
        return ask(Reason::MandateOtherProduct, vec![id, text("product", product.id.to_string())]);
    }
    if !product.may_be_automatic() {
        return ask(Reason::MandateNeverAuto, vec![id, text("product", product.id.to_string())]);
    }
    if price.total.currency != mandate.max_price.currency || price.total.minor > mandate.max_price.minor {
        let numbers = vec![id, text("price", price.total.to_string()), text("max", mandate.max_price.to_string())];
        return ask(Reason::MandatePrice, numbers);
    }
    let made = mandate.made(look.now);
    if made >= mandate.max_per_30d as usize {
        let numbers =
            vec![id, fact("made", Fact::Int(made as i64)), fact("max", Fact::Int(mandate.max_per_30d.into()))];
        return ask(Reason::MandateUsedUp, numbers);
    }
    if look.is_stale() {
        return ask(Reason::MandateStale, vec![id]);
    }
    if let Some(Spares::Doubted(spares)) = spares {
        return ask(Reason::SparesDoubted, vec![id, fact("spares", Fact::Int(spares.into()))]);
    }
    let said = said_of(StepVerdict::Pass, Reason::MandatePermits, &mandate.id, vec![id]);
    Some(Permission { said, under: Some(mandate.id.clone()), is_given: true })
}

/// Whether who gave the mandate may still order on the device, and consents to orders without asking.
fn gives_consent(home: &Household, rules: &RuleSet, mandate: &Mandate, now: Timestamp) -> bool {
    let mut links = home.links.values().filter(|link| link.device == mandate.device);
    let is_linked = links.any(|link| link.profile == mandate.profile && link.role.may_order());
    let member = home.members.get(&mandate.profile);
    let record = member.and_then(|member| member.consents.get(&Purpose::AutoOrder));
    let permits = |record| rules.permits(home.retailer.as_ref(), Purpose::AutoOrder, record, now);
    is_linked && record.is_some_and(permits)
}

/// The mandate that is nearest to permitting it: one that names the product before others, one of
/// the slot before one of the device.
fn mandate_for<'h>(home: &'h Household, look: &Look<'_>, product: &ProductId) -> Option<&'h Mandate> {
    let given = home.supply.mandates.values().map(|mandate| &**mandate);
    let covering = given.filter(|mandate| mandate.covers(&look.device.key, look.wake.slot));
    let rank = |mandate: &&Mandate| {
        (!mandate.products.contains(product), mandate.expires_at <= look.now, mandate.slot.is_none())
    };
    covering.min_by_key(rank)
}

/// Orders at once what would have been asked, and announces it. `false` where it cannot be ordered
/// after all: then nothing was done.
fn order_instead(draft: &mut Draft<'_>, mandate: &MandateId, proposed: &Offer) -> bool {
    let Some(mandate) = draft.home().supply.mandates.get(mandate).cloned() else { return false };
    let Some(order) = offer::accept_under(draft, proposed, &mandate.profile, CHANNEL) else { return false };
    let mut mandate = mandate;
    let now = draft.now;
    mandate.ordered.retain(|(_, at)| now - *at < MANDATE_WINDOW);
    mandate.ordered.push((order.id, now));
    let id = mandate.id.clone();
    draft.change(Change::MandateSet(mandate));
    draft.note(format!("ordered under mandate {id}: {}", order.id));
    let until = order.cancel_until.unwrap_or(now).max(now + order::TELL_TTL);
    let announced = DownMessage::Replenish { order: Arc::new(order), text: proposed.text.clone(), mandate: id };
    draft.say(&proposed.device, announced, Some(until));
    forecast::join_delivery(draft);
    true
}

/// An order under a mandate was undone: it counts no more. Where the customer said no, its trigger is quiet for a
/// while, whatever channel the no came from.
pub(super) fn gave_up(draft: &mut Draft<'_>, order: &Order) {
    let home = draft.home();
    let counted = home.supply.mandates.values().find(|mandate| mandate.ordered.iter().any(|(id, _)| *id == order.id));
    let Some(mut mandate) = counted.cloned() else { return };
    mandate.ordered.retain(|(id, _)| *id != order.id);
    draft.change(Change::MandateSet(mandate));
    if order.state == OrderState::Cancelled {
        put_off(draft, order, |trigger| trigger.after.declined.unwrap_or(REFUSED_DEFAULT));
    }
}

/// Keeps the trigger of an order quiet for so long.
fn put_off(draft: &mut Draft<'_>, order: &Order, silence: impl Fn(&Trigger) -> Span) {
    let offer = draft.before().offers.get(&order.offer);
    let known = offer.and_then(|offer| draft.rules.triggers.get(&offer.retailer, &offer.trigger));
    if let Some(trigger) = known {
        let until = draft.now + silence(trigger).clamp(LATER_MIN, LATER_MAX);
        forecast::put_off(draft, &order.device, trigger, until);
    }
}

/// The device answers an announcement: no, later, or there is one at home still. Each cancels the
/// order while its notice runs.
pub(super) fn answered(draft: &mut Draft<'_>, key: &DeviceKey, said: &ReplenishUp) -> Answered {
    let Some(order) = announced(draft.before(), key, said.order, draft.now) else {
        return Err(Refusal::new(Code::OrderNotCancellable, "there is no announced automatic order to answer"));
    };
    let (id, product) = (order.id, order.lines.first().map(|line| line.product.clone()));
    let reply = order::cancel(draft, id, "device")?;
    match &said.op {
        ReplenishOp::Cancel => {}
        ReplenishOp::Later { until } => {
            let wait = until.map_or(LATER_DEFAULT, |until| until - draft.now);
            draft.note(format!("later, in {wait}"));
            put_off(draft, &order, |_| wait);
        }
        ReplenishOp::NotNeeded { reason } => {
            draft.note(format!("not needed: {}", reason.as_deref().unwrap_or("no reason said")));
            put_off(draft, &order, |trigger| trigger.after.not_needed.unwrap_or(NOT_NEEDED_DEFAULT));
            if reason.as_deref() == Some(offer::HAVE_SPARE)
                && let Some(product) = product
            {
                supply::has_spare(draft, &product);
            }
        }
    }
    Ok(reply)
}

/// The announced order that is meant: the named one, else the newest of the device that can still
/// be cancelled.
fn announced(home: &Household, key: &DeviceKey, named: Option<OrderId>, now: Timestamp) -> Option<Arc<Order>> {
    let is_announced = |order: &&Arc<Order>| {
        order.device == *key && order.history.first().is_some_and(|entry| *entry.cause == *CHANNEL)
    };
    let orders = home.orders.values().filter(is_announced);
    match named {
        Some(named) => orders.into_iter().find(|order| order.id == named).cloned(),
        None => orders
            .filter(|order| order.state == OrderState::Confirmed && order.cancel_until.is_some_and(|at| now < at))
            .max_by_key(|order| (order.created_at, order.id))
            .cloned(),
    }
}
