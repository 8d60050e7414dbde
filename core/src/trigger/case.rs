//! `[[trigger.test]]`: cases that travel with a trigger.
//!
//! A case says what the home is like, what comes in, and what must follow:
//!
//! ```toml
//! [[trigger.test]]
//! name   = "nobody home gets nothing"
//! given  = { now = "2026-11-10T18:00:00+01:00[Europe/Paris]", context = { presence = "away" } }
//! input  = { telemetry = { temperature = 16.0 } }
//! expect = { send = false, first_block = "conditions: context.presence" }
//! ```
//!
//! **The home, where nothing else is said:** Europe/Paris at noon, one owner who consents to what
//! the trigger needs, one device of the trigger's first model, linked and connected, and what the
//! trigger watches stands ready: at its `rearm`, so that an input beyond the threshold crosses it.
//! `given` changes any of it; `household` names a file with the same keys that lies under them.
//! Values in `given` were said a minute ago.
//!
//! **The input** is one of `{ telemetry = { field = value } }`,
//! `{ slot = { id = { used = 612 } } }`, `{ event = { type = "error", data = {} } }`,
//! `{ presence = "lost" }` and `{ context = { presence = "home" } }`, or a file with the same as JSON; a flat object is one
//! telemetry sample, as on the wire. Several samples, such as a trend needs, are a list, each with how long
//! ago it was taken: `{ telemetry = [{ ago = "2h", temperature = 20 }, { ago = "0 s", temperature = 16 }] }`.
//!
//! `after` says how much time passes after the input, in which nothing more comes: what must stay
//! has stayed, silence has lasted, a held offer may leave.
//!
//! **Expected** are `send`, `first_block` (a step, or a step and what it must name, such as
//! `conditions: context.presence`), and of the offer `locale`, `product` and `title`.

mod home;
mod past;

pub use home::tried_message;

use std::sync::Arc;

use super::definition::{CaseDefinition, ExpectDefinition, TriggerDefinition};
use super::nearest::suggestion;
use super::{Trigger, TriggerSet};
use crate::decide::decide;
use crate::decision::{Change, Decision};
use crate::id::InputId;
use crate::input::{Input, What};
use crate::model::Offer;
use crate::rules::RuleSet;
use crate::time::Span;
use crate::trace::{CandidateTrace, Step, Verdict};

/// Deadlines that one case plays: more than its days have minutes worth telling.
const DEADLINES_MAX: u32 = 1_000;

/// Reads a file that a case names; the core itself reads none.
pub type ReadFile<'a> = &'a dyn Fn(&str) -> Result<String, String>;

/// How a case came out.
#[derive(Debug, Clone, PartialEq)]
pub struct CaseOutcome {
    /// The case.
    pub name: String,
    /// What did not come out as expected; empty when all did.
    pub differences: Vec<String>,
    /// Why the trigger did what it did; none when the input did not wake it.
    pub trace: Option<CandidateTrace>,
}

impl CaseOutcome {
    /// Whether all came out as expected.
    pub fn passed(&self) -> bool {
        self.differences.is_empty()
    }
}

/// Runs all cases of a trigger against the models, products and retailers of `rules`; of the
/// triggers only this one is live.
pub fn run_cases(
    trigger: &Arc<Trigger>,
    definition: &TriggerDefinition,
    rules: &RuleSet,
    read: ReadFile<'_>,
) -> Vec<CaseOutcome> {
    let rules = RuleSet { triggers: TriggerSet::build([trigger.clone()]), ..rules.clone() };
    definition.test.iter().flatten().map(|case| run_case(case, trigger, &rules, read)).collect()
}

fn run_case(case: &CaseDefinition, trigger: &Trigger, rules: &RuleSet, read: ReadFile<'_>) -> CaseOutcome {
    let name = case.name.clone().unwrap_or_default();
    let home = match home::build(case, trigger, rules, read) {
        Ok(home) => home,
        Err(problem) => return CaseOutcome { name, differences: vec![problem], trace: None },
    };
    let after = case.after.as_deref().and_then(|after| Span::parse(after).ok()).unwrap_or_default();
    let Some(played) = play(home, after, rules) else {
        let why = format!("more than {DEADLINES_MAX} deadlines come in `after`; let less time pass");
        return CaseOutcome { name, differences: vec![why], trace: None };
    };
    // What was sent tells more than a later look at the same trigger.
    let own = || played.iter().flat_map(|decision| &decision.trace.candidates).filter(|c| c.trigger == trigger.id);
    let trace = own().find(|candidate| candidate.verdict == Verdict::Sent).or_else(|| own().last()).cloned();
    let expect = case.expect.clone().unwrap_or_default();
    let mut differences = Vec::new();
    if let Some(Err(refusal)) = played.first().map(|decision| &decision.reply) {
        differences.push(format!("the input is refused: {refusal}"));
    }
    compare_verdict(&expect, trace.as_ref(), &mut differences);
    let offer = played.iter().find_map(|decision| offer_of(decision, trigger));
    compare_offer(&expect, offer, &mut differences);
    CaseOutcome { name, differences, trace }
}

/// Decides the input, and every deadline that comes in the time after it; none where those are too many.
fn play(home: home::Home, after: Span, rules: &RuleSet) -> Option<Vec<Decision>> {
    let home::Home { mut household, mut input } = home;
    let end = input.received_at + after;
    let mut played = Vec::new();
    for n in 0..DEADLINES_MAX {
        let decision = decide(&household, &input, rules, input.received_at);
        decision.changes.iter().for_each(|change| household.apply(change));
        household.seq += 1;
        played.push(decision);
        let Some(due) = household.next_deadline().filter(|due| *due <= end) else { return Some(played) };
        input = Input {
            id: InputId::derived(&[b"case deadline", &n.to_be_bytes()]),
            device: None,
            received_at: due.max(input.received_at),
            what: What::Timer,
            ..input
        };
    }
    None
}

fn compare_verdict(expect: &ExpectDefinition, trace: Option<&CandidateTrace>, differences: &mut Vec<String>) {
    let sent = trace.is_some_and(|trace| trace.verdict == Verdict::Sent);
    let block = trace.and_then(|trace| trace.first_block);
    let because = match (trace, block) {
        (None, _) => "the input does not wake it".to_owned(),
        (Some(trace), Some(step)) => {
            let reason = trace.steps.iter().find(|taken| taken.step == step).map(|taken| &*taken.reason);
            format!("{step}: {}", reason.unwrap_or_default())
        }
        (Some(_), None) => "no step stops it".to_owned(),
    };
    if let Some(send) = expect.send
        && send != sent
    {
        let (wanted, found) = if send { ("an offer", "none leaves") } else { ("no offer", "one leaves") };
        differences.push(format!("expected {wanted}, {found} ({because})"));
    }
    let Some(wanted) = &expect.first_block else { return };
    let (step, detail) = match wanted.split_once(':') {
        Some((step, detail)) => (step.trim(), Some(detail.trim())),
        None => (wanted.trim(), None),
    };
    let Some(step) = Step::ALL.iter().copied().find(|known| known.as_str() == step) else {
        let help = suggestion(step, Step::ALL.iter().map(|step| step.as_str())).unwrap_or_default();
        differences.push(format!("`first_block` names no step: `{step}`; {help}"));
        return;
    };
    if block != Some(step) {
        differences.push(format!("expected `{step}` to stop it first ({because})"));
    } else if let (Some(detail), Some(trace)) = (detail, trace)
        && !names(trace, step, detail)
    {
        differences.push(format!("expected `{step}` to name `{detail}` ({because})"));
    }
}

/// Whether a step's reason or numbers name something.
fn names(trace: &CandidateTrace, step: Step, detail: &str) -> bool {
    trace.steps.iter().filter(|taken| taken.step == step).any(|taken| {
        taken.reason.contains(detail)
            || taken.numbers.iter().any(|(name, fact)| {
                name.contains(detail) || matches!(fact, crate::trace::Fact::Text(text) if text.contains(detail))
            })
    })
}

/// The offer that the decision made for the trigger.
fn offer_of<'a>(decision: &'a Decision, trigger: &Trigger) -> Option<&'a Offer> {
    decision.changes.iter().rev().find_map(|change| match change {
        Change::OfferSet(offer) if offer.trigger == trigger.id => Some(&**offer),
        _ => None,
    })
}

fn compare_offer(expect: &ExpectDefinition, offer: Option<&Offer>, differences: &mut Vec<String>) {
    let product = offer.and_then(|offer| offer.item.as_ref()).map(|item| item.product.as_str());
    for (what, wanted, found) in [
        ("locale", &expect.locale, offer.map(|offer| offer.text.locale.as_str())),
        ("product", &expect.product, product),
        ("title", &expect.title, offer.map(|offer| offer.text.title.as_str())),
    ] {
        if let Some(wanted) = wanted
            && Some(wanted.as_str()) != found
        {
            differences.push(format!("expected the {what} `{wanted}`, found `{}`", found.unwrap_or("no offer")));
        }
    }
}
