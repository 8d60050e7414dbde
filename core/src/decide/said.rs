//! What the steps of the pipeline say: a verdict, a reason with its code, and numbers.

use std::fmt;

use crate::time::Span;
use crate::trace::{Fact, Phrase, Step, StepTrace, StepVerdict};
use crate::words::Reason;

/// What a step says, before it gets its name.
pub(super) type Said = (StepVerdict, Phrase, Vec<(Phrase, Fact)>);

/// What a step says, with its numbers.
pub(super) fn said(verdict: StepVerdict, reason: Reason, numbers: Vec<(Phrase, Fact)>) -> Said {
    (verdict, Phrase::Borrowed(reason.code()), numbers)
}
/// What a step says, with what it is about behind the code.
pub(super) fn said_of(
    verdict: StepVerdict,
    reason: Reason,
    detail: impl fmt::Display,
    numbers: Vec<(Phrase, Fact)>,
) -> Said {
    (verdict, Phrase::Owned(format!("{}: {detail}", reason.code())), numbers)
}
/// A text among the numbers of a step.
pub(super) fn text(name: &'static str, text: impl Into<Phrase>) -> (Phrase, Fact) {
    fact(name, Fact::Text(text.into()))
}
/// A length of time among the numbers of a step; its name ends in `_s`.
pub(super) fn seconds(name: &'static str, span: Span) -> (Phrase, Fact) {
    fact(name, Fact::Int(span.0 / 1_000))
}
/// A number of a step, by its name.
pub(super) fn fact(name: &'static str, fact: Fact) -> (Phrase, Fact) {
    (Phrase::Borrowed(name), fact)
}
pub(super) fn pass(reason: Reason) -> Said {
    said(StepVerdict::Pass, reason, Vec::new())
}
pub(super) fn block(reason: Reason) -> Said {
    said(StepVerdict::Block, reason, Vec::new())
}
pub(super) fn not_configured(reason: Reason) -> Said {
    said(StepVerdict::NotConfigured, reason, Vec::new())
}
pub(super) fn skipped(reason: Reason) -> Said {
    said(StepVerdict::Skipped, reason, Vec::new())
}

/// The steps that were taken, in order.
pub(super) struct Steps(pub(super) Vec<StepTrace>);

impl Steps {
    pub(super) fn new() -> Steps {
        Steps(Vec::with_capacity(Step::ALL.len()))
    }
    pub(super) fn say(&mut self, step: Step, (verdict, reason, numbers): Said) {
        self.0.push(StepTrace { step, verdict, reason, numbers });
    }
    /// A step says something else, because of what was found after it.
    pub(super) fn say_instead(&mut self, step: Step, (verdict, reason, numbers): Said) {
        if let Some(taken) = self.0.iter_mut().find(|taken| taken.step == step) {
            *taken = StepTrace { step, verdict, reason, numbers };
        }
    }
    pub(super) fn is_blocked(&self) -> bool {
        self.0.iter().any(|step| step.verdict == StepVerdict::Block)
    }
}
