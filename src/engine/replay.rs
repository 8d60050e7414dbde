//! The input log decided again: the same facts, inputs, rules and times give the same decisions.

use std::sync::Arc;

use hearthway_core::decision::Decision;
use hearthway_core::id::HouseholdId;
use hearthway_core::model::Household;
use hearthway_core::rules::RuleSet;

use super::explain::stored_of;
use super::log::{TRACES_PER_INPUT_MAX, verdict};
use super::rows::{self, LogRow};
use super::{Decider, Engine};
use crate::store::StoreError;
use crate::store::codec::{self, Schema};
use crate::store::keys::{self, Key};

/// What a replay found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Replayed {
    /// Inputs decided again.
    pub inputs: u64,
    /// Where the second decision was another one than the first; empty when all is well.
    pub differences: Vec<String>,
}

impl Engine {
    /// Decides a household's whole log again, and compares verdicts and traces with the stored
    /// ones, and the end with the household's record.
    pub fn replay(&self, household: HouseholdId) -> Result<Replayed, StoreError> {
        let mut replayed = Replayed::default();
        let Some(mut recording) = Recording::open(self, household, None)? else { return Ok(replayed) };
        while let Some(moment) = recording.next()? {
            replayed.inputs += 1;
            let (seq, input) = (moment.seq, moment.row.input.id);
            if verdict(&moment.decision) != moment.row.verdict {
                let first = &moment.row.verdict;
                replayed
                    .differences
                    .push(format!("input {seq} ({input}) was {first}, and again {}", verdict(&moment.decision)));
            }
            let mut candidates = moment.decision.trace.candidates;
            candidates.truncate(TRACES_PER_INPUT_MAX);
            if candidates != stored_of(&**self.store(), household, seq)? {
                replayed.differences.push(format!("input {seq} ({input}) has another trace than the stored one"));
            }
        }
        let record = super::facts::read_record(household, &**self.store())?;
        if record.as_ref() != Some(&recording.household) {
            replayed.differences.push("the household at the end is another than its record".into());
        }
        Ok(replayed)
    }

    pub(super) fn decider(&self) -> Decider {
        self.house().decider
    }
}

/// A household's log from a snapshot on, decided again row by row.
pub(super) struct Recording<'e> {
    engine: &'e Engine,
    /// The household after the inputs so far.
    pub(super) household: Household,
    after: Key,
}

/// One input, decided again.
pub(super) struct Moment {
    pub(super) seq: u64,
    pub(super) row: LogRow,
    pub(super) rules: Arc<RuleSet>,
    /// The household as the decision read it.
    pub(super) before: Household,
    pub(super) decision: Decision,
}

impl<'e> Recording<'e> {
    /// From the nearest snapshot before input `upto`; without it from the oldest. None when the
    /// household has no log.
    pub(super) fn open(
        engine: &'e Engine,
        id: HouseholdId,
        upto: Option<u64>,
    ) -> Result<Option<Recording<'e>>, StoreError> {
        let store = &**engine.store();
        let rows = match upto {
            Some(seq) => store.scan_back(&keys::snapshots(id), Some(&keys::snapshot(id, seq)), 1)?,
            None => store.scan(&keys::snapshots(id), None, 1)?,
        };
        let first = store.scan(&keys::inputs(id), None, 1)?;
        let Some(first) = first.first().map(|(key, _)| rows::number_of(key)) else { return Ok(None) };
        // As long as the log begins at its first input, the household begins as an empty one.
        let household = match rows.first() {
            Some((key, bytes)) if upto.is_some() || first > 1 => codec::decode(Schema::Snapshot, key, bytes)?,
            _ => Household::empty(id),
        };
        let after = keys::input(id, household.seq);
        Ok(Some(Recording { engine, household, after }))
    }

    /// The next input.
    pub(super) fn next(&mut self) -> Result<Option<Moment>, StoreError> {
        let id = self.household.id;
        let store = &**self.engine.store();
        let Some((key, bytes)) = store.scan(&keys::inputs(id), Some(&self.after), 1)?.pop() else { return Ok(None) };
        let row: LogRow = codec::decode(Schema::Input, &key, &bytes)?;
        let seq = rows::number_of(&key);
        if seq != self.household.seq + 1 {
            let cause = format!("the log goes from input {} to {seq}", self.household.seq);
            return Err(StoreError::Corrupt { key: key.to_string(), cause });
        }
        let decider = self.engine.decider();
        let rules = self.engine.house().rules.at(row.rules).ok_or_else(|| StoreError::Corrupt {
            key: key.to_string(),
            cause: format!("version {} of the rules is gone", row.rules),
        })?;
        let decision = (decider.decide)(&self.household, &row.input, &rules, row.input.received_at);
        let before = self.household.clone();
        decider.advance(&mut self.household, &decision);
        self.after = key;
        Ok(Some(Moment { seq, row, rules, before, decision }))
    }
}
