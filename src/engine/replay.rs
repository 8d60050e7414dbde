//! The input log decided again: the same facts, inputs, rules and times give the same decisions.

use std::sync::Arc;

use hearthway_core::decision::Decision;
use hearthway_core::id::HouseholdId;
use hearthway_core::model::Household;
use hearthway_core::rules::RuleSet;

use super::log::{Stretch, TRACES_PER_INPUT_MAX, verdict};
use super::rows::LogRow;
use super::{Decider, Engine};
use crate::store::{StoreError, keys};

/// What a replay found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Replayed {
    /// Inputs decided again.
    pub inputs: u64,
    /// Inputs that are older than the first snapshot that is left, and so cannot be.
    pub cut: u64,
    /// Where the second decision was another one than the first; empty when all is well.
    pub differences: Vec<String>,
}

impl Engine {
    /// Decides a household's whole log again, and compares verdicts and traces with the stored
    /// ones, and the end of each stretch with the snapshot there or the household's record.
    pub fn replay(&self, household: HouseholdId) -> Result<Replayed, StoreError> {
        let store = &**self.store();
        let mut replayed = Replayed::default();
        let record = super::facts::read_household(household, store, self.decider())?;
        let (mut end, mut what) = (record.map(|stored| stored.row.facts), "the household's record".to_owned());
        let mut before = None;
        // From the newest stretch back to the oldest.
        loop {
            let stretch = Stretch::back(store, household, before, u64::MAX)?;
            let Some(start) = stretch.start else {
                replayed.cut = stretch.rows.len() as u64;
                return Ok(replayed);
            };
            let mut recording = Recording::new(self, &start);
            for row in &stretch.rows {
                replayed.inputs += 1;
                compare(row, recording.decide(row)?.decision, &mut replayed.differences);
            }
            let is_same = end.as_ref().map_or(recording.household.seq == 0, |end| **end == recording.household);
            if !is_same {
                replayed.differences.push(format!("{what} is another than what its log comes to"));
            }
            what = format!("the snapshot after input {}", start.seq);
            end = Some(start);
            before = stretch.before;
            if before.is_none() {
                return Ok(replayed);
            }
        }
    }

    pub(super) fn decider(&self) -> Decider {
        self.house().decider
    }
}

fn compare(row: &LogRow, again: Decision, differences: &mut Vec<String>) {
    let (seq, input, first) = (row.seq, row.input.id, &row.verdict);
    if verdict(&again) != *first {
        differences.push(format!("input {seq} ({input}) was {first}, and again {}", verdict(&again)));
    }
    let mut candidates = again.trace.candidates;
    candidates.truncate(TRACES_PER_INPUT_MAX);
    if candidates != row.candidates {
        differences.push(format!("input {seq} ({input}) has another trace than the stored one"));
    }
}

/// A household's log from where it is known, decided again row by row.
pub(super) struct Recording<'e> {
    engine: &'e Engine,
    /// The household after the inputs so far.
    household: Household,
}

/// One input, decided again.
pub(super) struct Moment {
    pub(super) rules: Arc<RuleSet>,
    /// The household as the decision read it.
    pub(super) before: Household,
    pub(super) decision: Decision,
}

impl<'e> Recording<'e> {
    pub(super) fn new(engine: &'e Engine, start: &Household) -> Recording<'e> {
        Recording { engine, household: start.clone() }
    }

    /// The next input.
    pub(super) fn decide(&mut self, row: &LogRow) -> Result<Moment, StoreError> {
        let corrupt = |cause| StoreError::Corrupt { key: keys::log(self.household.id).to_string(), cause };
        if row.seq != self.household.seq + 1 {
            return Err(corrupt(format!("the log goes from input {} to {}", self.household.seq, row.seq)));
        }
        let rules = self.engine.house().rules.at(row.rules);
        let rules = rules.ok_or_else(|| corrupt(format!("version {} of the rules is gone", row.rules)))?;
        let decider = self.engine.decider();
        let decision = (decider.decide)(&self.household, &row.input, &rules, row.input.received_at);
        let before = self.household.clone();
        decider.advance(&mut self.household, &decision);
        Ok(Moment { rules, before, decision })
    }
}
