//! What is drawn from a trigger's budget, and what is left.

use hearthway_core::budget::{Budget, Spent};
use hearthway_core::id::{RetailerId, TriggerId};
use hearthway_core::money::Money;
use hearthway_core::time::Zone;
use hearthway_core::trigger::{BudgetPlan, budget_of};
use serde_json::{Value, json};

use super::catalog::document_json;
use super::tokens::{Caller, Scope};
use super::triggers::compiled;
use super::{App, Failure};

/// A budget as its retailer sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BudgetView {
    /// Of which trigger.
    pub trigger: TriggerId,
    /// What may be drawn: of the live trigger, else of the draft. None where there is no budget.
    pub plan: Option<BudgetPlan>,
    /// What is drawn, by all versions of the trigger.
    pub spent: Spent,
    /// What may be drawn up to the end of today, where it is spread.
    pub until_today: Option<Budget>,
}

impl BudgetView {
    /// As JSON; a bound that there is not is null.
    pub fn to_json(&self) -> Value {
        let limits = self.plan.map(|plan| plan.limits);
        let spent_minor = |max: Money| Money::new(self.spent.minor, max.currency);
        let left = |limits: Budget| {
            let count = limits.count.map(|max| u64::from(max).saturating_sub(self.spent.count));
            let amount = limits.amount.map(|max| Money::new((max.minor - self.spent.minor).max(0), max.currency));
            json!({"count": count, "amount": amount})
        };
        json!({
            "trigger": self.trigger.as_str(),
            "budget": self.plan.map(|plan| json!({
                "count": plan.limits.count,
                "amount": plan.limits.amount,
                "pace": if plan.even.is_some() { "even_by_day" } else { "none" },
                "honour_shown": plan.limits.honour_shown,
            })),
            "spent": {
                "count": self.spent.count,
                "amount": limits.and_then(|limits| limits.amount).map(spent_minor),
            },
            "left": limits.map(left),
            "until_today": self.until_today.map(|share| json!({"count": share.count, "amount": share.amount})),
        })
    }
}

impl App {
    /// A trigger's budget.
    pub fn trigger_budget(&self, who: &Caller, id: &TriggerId) -> Result<BudgetView, Failure> {
        let retailer = who.retailer(Scope::TriggersRead)?;
        let plan = self.budget_plan(who, retailer, id)?;
        let currency = plan.and_then(|plan| plan.limits.currency());
        let spent = self.engine.spent(retailer, id, currency);
        let zone = self.engine.rules().retailers.get(retailer).map_or_else(Zone::utc, |retailer| retailer.zone.clone());
        let today = zone.local(self.now()).date();
        let until_today = plan.and_then(|plan| Some(plan.even?.share(&plan.limits, today)));
        Ok(BudgetView { trigger: id.clone(), plan, spent, until_today })
    }

    /// Of the live trigger; of one that is paused or was never live, as it is written.
    fn budget_plan(&self, who: &Caller, retailer: &RetailerId, id: &TriggerId) -> Result<Option<BudgetPlan>, Failure> {
        let view = self.trigger(who, id.as_str())?;
        let rules = self.engine.rules();
        if let Some(live) = rules.triggers.get(retailer, id) {
            return Ok(live.budget);
        }
        let written = document_json(view.live.as_deref().unwrap_or(&view.draft));
        // It was sound when it went live, and what it draws hangs on no model.
        if view.live.is_some() {
            return Ok(budget_of(&written));
        }
        Ok(compiled(&written, retailer, &rules)?.budget)
    }
}
