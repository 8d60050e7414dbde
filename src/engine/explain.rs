//! Why a decision is what it is, also when it was silence.
//!
//! A candidate's steps are stored with its decision. Plain silence is not: it is recomputed from
//! the snapshot and the input log, with the rules in the version that was read, and says so.

use hearthway_core::decision::Decision;
use hearthway_core::id::{DeviceKey, HouseholdId, InputId, MessageId, TriggerId};
use hearthway_core::input::What;
use hearthway_core::model::Household;
use hearthway_core::rules::RuleSet;
use hearthway_core::time::Timestamp;
use hearthway_core::trace::CandidateTrace;
use hearthway_core::trigger::Trigger;

use super::Engine;
use super::replay::Recording;
use super::rows::{self, LogRow, TraceRow};
use crate::store::codec::{self, Schema};
use crate::store::{Store, StoreError, keys};

/// The look at one trigger at one input.
#[derive(Debug, Clone, PartialEq)]
pub struct Explained {
    /// The steps.
    pub candidate: CandidateTrace,
    /// The input that was decided.
    pub input: InputId,
    /// When.
    pub at: Timestamp,
    /// Recomputed from the log; else as it was stored with the decision.
    pub recomputed: bool,
}

/// A message of a device as the input log has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessageSeen {
    /// The id its sender gave it.
    pub id: Option<MessageId>,
    /// The topic below the device's root.
    pub topic: &'static str,
    /// When it came.
    pub t: Timestamp,
    /// Bytes of its payload.
    pub bytes: u32,
    /// How it ended, in words.
    pub verdict: String,
}

impl Engine {
    /// Why a trigger did or did not send, at the last input at or before `at`; without `at` at the
    /// latest decision in which it was a candidate, else at the latest message. None when the
    /// household or the trigger is unknown, or `at` is before the log.
    pub async fn explain(
        &self,
        household: HouseholdId,
        trigger: &TriggerId,
        at: Option<Timestamp>,
    ) -> Result<Option<Explained>, StoreError> {
        let store = &**self.store();
        let Some(at) = at else {
            if let Some((_, row)) = stored(store, household, Some(trigger), None, 1)?.pop() {
                return Ok(Some(Explained {
                    candidate: row.candidate,
                    input: row.input,
                    at: row.at,
                    recomputed: false,
                }));
            }
            return self.explain_silence(household, trigger, Timestamp(i64::MAX)).await;
        };
        let Some((seq, _)) = last_input(store, household, at, |_| true)? else { return Ok(None) };
        if let Some((_, row)) = stored(store, household, Some(trigger), Some(seq), 1)?.pop() {
            return Ok(Some(Explained { candidate: row.candidate, input: row.input, at: row.at, recomputed: false }));
        }
        self.explain_silence(household, trigger, at).await
    }

    /// Stored traces, newest first.
    pub fn decisions(
        &self,
        household: HouseholdId,
        trigger: Option<&TriggerId>,
        limit: usize,
    ) -> Result<Vec<(Timestamp, InputId, CandidateTrace)>, StoreError> {
        let rows = stored(&**self.store(), household, trigger, None, limit)?;
        Ok(rows.into_iter().map(|(_, row)| (row.at, row.input, row.candidate)).collect())
    }

    /// The last messages of a device in its household's log, newest first.
    pub fn messages(&self, device: &DeviceKey, last: usize) -> Result<Vec<MessageSeen>, StoreError> {
        let Some(route) = self.route(device) else { return Ok(Vec::new()) };
        let mut messages = Vec::new();
        rows::walk_back(&**self.store(), &keys::inputs(route.household), None, |key, bytes| {
            if messages.len() >= last {
                return Ok(false);
            }
            let row: LogRow = codec::decode(Schema::Input, key, bytes)?;
            if let What::Device(message) = &row.input.what
                && row.input.device.as_ref() == Some(device)
            {
                messages.push(MessageSeen {
                    id: row.input.message.clone(),
                    topic: message.topic(),
                    t: row.input.received_at,
                    bytes: row.input.payload_bytes,
                    verdict: row.verdict.to_string(),
                });
            }
            Ok(true)
        })?;
        Ok(messages)
    }

    /// Decides the last device message at or before `at` again, to see why a trigger kept silent.
    async fn explain_silence(
        &self,
        household: HouseholdId,
        trigger: &TriggerId,
        at: Timestamp,
    ) -> Result<Option<Explained>, StoreError> {
        let store = &**self.store();
        let from_device = |row: &LogRow| matches!(row.input.what, What::Device(_));
        let found = match last_input(store, household, at, from_device)? {
            None => last_input(store, household, at, |_| true)?,
            found => found,
        };
        let Some((seq, _)) = found else { return Ok(None) };
        let Some(mut recording) = Recording::open(self, household, Some(seq))? else { return Ok(None) };
        while let Some(moment) = recording.next()? {
            if moment.seq == seq {
                return Ok(self.look_again(trigger, &moment.before, &moment.row, &moment.rules, moment.decision));
            }
        }
        Ok(None)
    }

    fn look_again(
        &self,
        trigger: &TriggerId,
        before: &Household,
        row: &LogRow,
        rules: &RuleSet,
        decision: Decision,
    ) -> Option<Explained> {
        let candidate = decision.trace.candidates.into_iter().find(|candidate| candidate.trigger == *trigger);
        let candidate = match candidate {
            Some(candidate) => candidate,
            None => (self.decider().why_not)(before, &row.input, rules, trigger_for(rules, before, trigger)?),
        };
        Some(Explained { candidate, input: row.input.id, at: row.input.received_at, recomputed: true })
    }
}

/// The trigger of the household's retailer; a prospect has none, and any retailer's is meant.
fn trigger_for<'r>(rules: &'r RuleSet, household: &Household, id: &TriggerId) -> Option<&'r Trigger> {
    match &household.retailer {
        Some(retailer) => rules.triggers.get(retailer, id).map(|trigger| &**trigger),
        None => rules.triggers.iter().find(|trigger| trigger.id == *id).map(|trigger| &**trigger),
    }
}

/// The last row of the log at or before `at` that is `wanted`.
fn last_input(
    store: &dyn Store,
    household: HouseholdId,
    at: Timestamp,
    wanted: impl Fn(&LogRow) -> bool,
) -> Result<Option<(u64, LogRow)>, StoreError> {
    let mut found = None;
    rows::walk_back(store, &keys::inputs(household), None, |key, bytes| {
        let row: LogRow = codec::decode(Schema::Input, key, bytes)?;
        if row.input.received_at <= at && wanted(&row) {
            found = Some((rows::number_of(key), row));
        }
        Ok(found.is_none())
    })?;
    Ok(found)
}

/// Stored traces, newest first; of one trigger, of one input, where named.
fn stored(
    store: &dyn Store,
    household: HouseholdId,
    trigger: Option<&TriggerId>,
    seq: Option<u64>,
    limit: usize,
) -> Result<Vec<(u64, TraceRow)>, StoreError> {
    let mut prefix = keys::traces(household);
    let at = prefix.len();
    if let Some(seq) = seq {
        prefix.extend_from_slice(&seq.to_be_bytes());
    }
    let mut found = Vec::new();
    rows::walk_back(store, &prefix, None, |key, bytes| {
        if found.len() >= limit {
            return Ok(false);
        }
        let row: TraceRow = codec::decode(Schema::Trace, key, bytes)?;
        if trigger.is_none_or(|trigger| row.candidate.trigger == *trigger) {
            found.push((super::log::seq_at(key, at).unwrap_or_default(), row));
        }
        Ok(true)
    })?;
    Ok(found)
}

/// The stored traces of one input, in the order of its candidates.
pub(super) fn stored_of(
    store: &dyn Store,
    household: HouseholdId,
    seq: u64,
) -> Result<Vec<CandidateTrace>, StoreError> {
    let mut rows = stored(store, household, None, Some(seq), super::log::TRACES_PER_INPUT_MAX)?;
    rows.reverse();
    Ok(rows.into_iter().map(|(_, row)| row.candidate).collect())
}
