//! The named audiences that a trigger asks for or leaves out. An unknown never sends: who cannot be told to be
//! in a wanted audience is not, and who cannot be told to be outside of one that is left out counts as in it.

use super::said::{Said, fact, said_of, text};
use super::steps::Look;
use crate::id::AudienceId;
use crate::trace::{Fact, StepVerdict};
use crate::trigger::Truth;
use crate::words::Reason;

/// What the audiences of a trigger say; none where it names none.
pub(super) fn said(look: &Look<'_>) -> Option<Said> {
    let trigger = look.trigger;
    let found = |id: &AudienceId| look.rules.audience(&trigger.retailer, id);
    let missing = trigger.except.iter().chain(&trigger.audiences).find(|id| found(id).is_none());
    if let Some(missing) = missing {
        return Some(about(look, StepVerdict::Block, Reason::AudienceMissing, missing));
    }
    let truth = |id: &AudienceId| found(id).map_or(Truth::Unknown, |audience| audience.holds(&look.scope()));
    if let Some(left_out) = trigger.except.iter().find(|id| truth(id) != Truth::False) {
        return Some(about(look, StepVerdict::Block, Reason::AudienceExcepted, left_out));
    }
    let first = trigger.audiences.first()?;
    Some(match trigger.audiences.iter().find(|id| truth(id) == Truth::True) {
        Some(id) => about(look, StepVerdict::Pass, Reason::InAudience, id),
        None => about(look, StepVerdict::Block, Reason::NotInAudience, first),
    })
}

/// A word about one audience, with its version and, where a rule blocks, the comparison that did.
fn about(look: &Look<'_>, verdict: StepVerdict, reason: Reason, id: &AudienceId) -> Said {
    let mut numbers = vec![text("audience", id.to_string())];
    if let Some(audience) = look.rules.audience(&look.trigger.retailer, id) {
        numbers.push(fact("version", Fact::Int(i64::try_from(audience.version).unwrap_or(i64::MAX))));
        let evaluation = audience.evaluate(&look.scope()).filter(|_| reason == Reason::NotInAudience);
        if let Some(leaf) = evaluation.as_ref().and_then(|evaluation| evaluation.failing().into_iter().next()) {
            numbers.push(text("condition", leaf.text.to_string()));
            numbers.extend(leaf.value.as_ref().map(|value| text("found", value.to_string())));
        }
    }
    said_of(verdict, reason, id, numbers)
}
