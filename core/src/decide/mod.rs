//! The one entry and the pipeline.

use crate::decision::Decision;
use crate::input::Input;
use crate::model::Household;
use crate::rules::RuleSet;
use crate::time::Timestamp;

/// Decides what follows from one input.
///
/// Pure: the same facts, input, rules and `now` give the same decision, byte for byte. The
/// caller commits `changes` and `effects` together, and only then answers.
pub fn decide(_facts: &Household, _input: &Input, _rules: &RuleSet, _now: Timestamp) -> Decision {
    unimplemented!("written next")
}
