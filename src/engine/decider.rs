//! The rules of the core as the engine calls them.

use hearthway_core::budget::Purse;
use hearthway_core::decision::{Change, Decision};
use hearthway_core::input::Input;
use hearthway_core::model::Household;
use hearthway_core::rules::RuleSet;
use hearthway_core::time::Timestamp;
use hearthway_core::trace::CandidateTrace;
use hearthway_core::trigger::Trigger;

/// The pure functions that the engine is built round. [`Decider::core`] is the product; tests of
/// the engine bring smaller rules, so that they prove the engine and not the rules.
#[derive(Clone, Copy)]
pub struct Decider {
    /// What follows from one input.
    pub decide: fn(&Household, &Input, &RuleSet, Timestamp, &dyn Purse) -> Decision,
    /// How one change becomes part of the household.
    pub apply: fn(&mut Household, &Change),
    /// Why a trigger was not woken by an input.
    pub why_not: fn(&Household, &Input, &RuleSet, &Trigger) -> CandidateTrace,
}

impl Decider {
    /// The rules of `hearthway-core`.
    pub fn core() -> Decider {
        Decider {
            decide: hearthway_core::decide::decide_with,
            apply: Household::apply,
            why_not: hearthway_core::decide::why_not_candidate,
        }
    }
    /// The household after a decision: its changes applied, one input further.
    pub fn advance(&self, household: &mut Household, decision: &Decision) {
        for change in &decision.changes {
            (self.apply)(household, change);
        }
        household.seq += 1;
    }
}
