//! What all homes together may draw.

use std::collections::BTreeSet;

use jiff::civil::Date;

use super::super::BudgetPlan;
use super::super::definition::BudgetDefinition;
use super::super::tree::Findings;
use crate::budget::{Budget, EvenByDay};
use crate::money::{Currency, Money};

/// Compiles a budget; `sold` are the currencies in which orders will be, where there can be any. None when it cannot be used; the reasons were told.
pub(super) fn compile(
    written: &BudgetDefinition,
    valid: (Option<Date>, Option<Date>),
    sold: Option<&BTreeSet<Currency>>,
    findings: &mut Findings<'_>,
) -> Option<BudgetPlan> {
    let amount = written.amount.as_deref().and_then(|amount| Money::parse(amount).ok());
    let is_blamed = ["count", "amount"].iter().any(|key| findings.blamed(&format!("/limits/budget/{key}")));
    if amount.is_none() && written.count.is_none() && !is_blamed {
        let help = Some("write `count = 50` (orders), `amount = \"500.00 EUR\"`, or both".to_owned());
        findings.error("trigger.missing_key", "/limits/budget", "a budget needs a bound", help);
        return None;
    }
    if amount.is_some_and(|amount| amount.minor == 0) {
        let help = Some("leave the budget out for none".to_owned());
        findings.error("trigger.value", "/limits/budget/amount", "with no money nothing can be sent", help);
    }
    if let (Some(amount), Some(sold)) = (amount, sold)
        && let Some(other) = sold.iter().find(|other| **other != amount.currency)
    {
        let message = format!("what it proposes is sold in {other}, and an amount counts in {} only", amount.currency);
        findings.error("trigger.currency", "/limits/budget/amount", message, None);
    }
    if sold.is_none() && !findings.blamed("/offer/product") {
        let message = "orders draw from a budget, and this trigger proposes nothing to order";
        findings.warning("trigger.no_effect", "/limits/budget", message, None);
    }
    let even = match (written.pace.as_deref(), valid) {
        (Some("even_by_day"), (Some(from), Some(until))) => EvenByDay::between(from, until),
        (Some("even_by_day"), _) => {
            let help = Some("say both days: `valid = { from = 2026-09-01, until = 2027-04-30 }`".to_owned());
            let message = "an even share needs a first and a last day";
            findings.error("trigger.missing_key", "/limits/budget/pace", message, help);
            return None;
        }
        _ => None,
    };
    let limits = Budget { count: written.count, amount, honour_shown: written.honour_shown.unwrap_or(false) };
    Some(BudgetPlan { limits, even })
}
