//! What a decision does with a trigger's budget: looks whether there is some left before an offer
//! leaves, and draws from it when an order is made. Offers draw nothing, so there may be more of
//! them out than there is budget; the purse sees to it that there are never more orders.

use super::draft::Draft;
use super::pipeline::decision_id;
use super::said::{Said, fact, not_configured, said, skipped, text};
use super::steps::Look;
use crate::budget::{Budget, Draw, Drawn, Purse, TakenCode, sample_code};
use crate::id::{OfferId, OrderId, PoolId, UniqueCode};
use crate::model::{Offer, OfferCode, OfferPrice, OfferState};
use crate::money::Money;
use crate::rules::RuleSet;
use crate::time::Zone;
use crate::trace::{Fact, Phrase, StepVerdict};
use crate::words::Reason;

/// There was no room for one more order.
pub(super) struct Exhausted;

/// The unique code of an offer in the making.
pub(super) enum Code {
    /// The trigger has no pool.
    NotAsked,
    /// This one.
    Taken(OfferCode),
    /// Its pool has none left.
    Empty(PoolId),
    /// None is taken, because nothing will leave.
    Later,
}

impl Code {
    /// What stands in the text: a sample where none is taken.
    pub(super) fn shown(&self) -> Option<UniqueCode> {
        match self {
            Code::NotAsked => None,
            Code::Taken(code) => Some(code.code.clone()),
            Code::Empty(_) | Code::Later => Some(sample_code()),
        }
    }
    pub(super) fn into_offered(self) -> Option<OfferCode> {
        match self {
            Code::Taken(code) => Some(code),
            Code::NotAsked | Code::Empty(_) | Code::Later => None,
        }
    }
}

/// A code for an offer: the one that it held over quiet hours, else one of the trigger's pool.
pub(super) fn code(look: &Look<'_>, is_blocked: bool, purse: &dyn Purse) -> Code {
    let held = look.wake.cause.held();
    let held_code = held.and_then(|held| look.home.offers.get(&held)).and_then(|offer| offer.code.clone());
    if let Some(code) = held_code {
        return Code::Taken(code);
    }
    let Some(pool) = &look.trigger.offer.code_pool else { return Code::NotAsked };
    if is_blocked {
        return Code::Later;
    }
    let decision = || decision_id(look.home, look.input, look.trigger, Some(look.wake.device));
    let offer = held.unwrap_or_else(|| OfferId::derived(&[decision().bytes()]));
    match purse.take_code(&look.trigger.retailer, pool, offer) {
        TakenCode::Code(code) => Code::Taken(OfferCode { pool: pool.clone(), code }),
        TakenCode::Empty => Code::Empty(pool.clone()),
        TakenCode::Unknown => Code::Later,
    }
}

/// The step: is there budget left for what the offer would draw, and for today?
pub(super) fn step(
    look: &Look<'_>,
    rules: &RuleSet,
    price: Option<&OfferPrice>,
    code: &Code,
    purse: &dyn Purse,
) -> Said {
    let said = of_budget(look, rules, price, purse);
    match code {
        _ if said.0 == StepVerdict::Block => said,
        Code::Empty(pool) => said_of_pool(pool),
        Code::NotAsked | Code::Taken(_) | Code::Later => said,
    }
}

fn said_of_pool(pool: &PoolId) -> Said {
    said(StepVerdict::Block, Reason::CodePoolEmpty, vec![text("pool", pool.as_str().to_owned())])
}

fn of_budget(look: &Look<'_>, rules: &RuleSet, price: Option<&OfferPrice>, purse: &dyn Purse) -> Said {
    let Some(plan) = &look.trigger.budget else { return not_configured(Reason::NoBudget) };
    let Some(price) = price else { return skipped(Reason::NothingToBuy) };
    let budget = plan.limits;
    let amount = price.discount(1, 1).unwrap_or(price.total);
    if let Some(currency) = budget.currency().filter(|currency| *currency != amount.currency) {
        return said(StepVerdict::Block, Reason::BudgetCurrency, vec![text("currency", currency.to_string())]);
    }
    let (retailer, trigger) = (&look.trigger.retailer, &look.trigger.id);
    let Some(spent) = purse.spent(retailer, trigger, budget.currency()) else {
        return skipped(Reason::BudgetNotAsked);
    };
    let mut numbers = Vec::new();
    if let Some(max) = budget.count {
        numbers.push(fact("spent_count", Fact::Int(i64::try_from(spent.count).unwrap_or(i64::MAX))));
        numbers.push(fact("count_max", Fact::Int(max.into())));
    }
    if let Some(max) = budget.amount {
        numbers.push(text("spent", Money::new(spent.minor, max.currency).to_string()));
        numbers.push(text("amount", max.to_string()));
    }
    if !budget.has_room(spent, amount) {
        return said(StepVerdict::Block, Reason::BudgetExhausted, numbers);
    }
    let Some(even) = &plan.even else { return said(StepVerdict::Pass, Reason::BudgetLeft, numbers) };
    // The shop's day: all its homes share one budget, whatever their own clocks say.
    let zone = rules.retailers.get(retailer).map_or_else(Zone::utc, |retailer| retailer.zone.clone());
    let today = zone.local(look.now).date();
    let share = even.share(&budget, today);
    numbers.extend(shown_share(&share));
    numbers.push(text("today", today.to_string()));
    // A share is used when it is reached, and not when one more order would not fit into it: a day's
    // share that is smaller than any order must not keep silent for ever.
    let is_used = share.count.is_some_and(|max| spent.count >= u64::from(max))
        || share.amount.is_some_and(|max| spent.minor >= max.minor);
    if is_used {
        return said(StepVerdict::Block, Reason::BudgetPaced, numbers);
    }
    said(StepVerdict::Pass, Reason::BudgetLeft, numbers)
}

fn shown_share(share: &Budget) -> impl Iterator<Item = (Phrase, Fact)> {
    let count = share.count.map(|max| fact("share_count", Fact::Int(max.into())));
    count.into_iter().chain(share.amount.map(|max| text("share", max.to_string())))
}

/// Draws for an order: by the terms of the trigger as it is, and while it is paused by those that
/// the offer was made on. Nothing where there is no budget.
pub(super) fn draw(
    draft: &Draft<'_>,
    offer: &Offer,
    order: OrderId,
    amount: Money,
) -> Result<Option<Drawn>, Exhausted> {
    let budget = match draft.rules.triggers.get(&offer.retailer, &offer.trigger) {
        Some(trigger) => trigger.budget.map(|plan| plan.limits),
        None => offer.budget,
    };
    let Some(budget) = budget else { return Ok(None) };
    let was_shown = offer.state == OfferState::Shown || offer.history.iter().any(|change| *change.state == *"shown");
    let honoured = budget.honour_shown && was_shown;
    let (retailer, trigger) = (&offer.retailer, &offer.trigger);
    if draft.purse.draw(&Draw { retailer, trigger, order, amount, budget, honoured }) {
        Ok(Some(Drawn { trigger: trigger.clone(), amount }))
    } else {
        Err(Exhausted)
    }
}
