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
use hearthway_core::trace::{CandidateTrace, Step, StepTrace, StepVerdict};
use hearthway_core::trigger::Trigger;
use hearthway_core::words::Reason;

use super::Engine;
use super::log::{self, Stretch, Walked, walk_back};
use super::past::Recording;
use super::rows::{LogItem, LogRow};
use crate::store::{Mark, Store, StoreError};

/// Inputs of a household that one question looks back over: a chatty device's week, in a tenth of
/// a second.
const LOOK_BACK_INPUTS_MAX: usize = 10_000;

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
            if let Some((at, input, candidate)) = self.decisions(household, Some(trigger), 1)?.pop() {
                return Ok(Some(Explained { candidate, input, at, recomputed: false }));
            }
            return self.explain_silence(household, trigger, Timestamp(i64::MAX));
        };
        let Some(row) = last_input(store, household, at, |_| true)? else { return Ok(None) };
        let (at_input, input) = (row.input.received_at, row.input.id);
        // One input may wake a trigger twice, over two slots: the last word counts, as it does without `at`.
        match row.candidates.into_iter().rev().find(|candidate| candidate.trigger == *trigger) {
            Some(candidate) => Ok(Some(Explained { candidate, input, at: at_input, recomputed: false })),
            None => self.explain_silence(household, trigger, at),
        }
    }

    /// Stored traces, newest first.
    pub fn decisions(
        &self,
        household: HouseholdId,
        trigger: Option<&TriggerId>,
        limit: usize,
    ) -> Result<Vec<(Timestamp, InputId, CandidateTrace)>, StoreError> {
        let mut found = Vec::new();
        inputs_within_reach(&**self.store(), household, |row| {
            let (at, input) = (row.input.received_at, row.input.id);
            let wanted = row.candidates.into_iter().rev();
            let wanted = wanted.filter(|candidate| trigger.is_none_or(|trigger| candidate.trigger == *trigger));
            found.extend(wanted.map(|candidate| (at, input, candidate)));
            found.len() < limit
        })?;
        found.truncate(limit);
        Ok(found)
    }

    /// The last messages of a device in its household's log, newest first.
    pub fn messages(&self, device: &DeviceKey, last: usize) -> Result<Vec<MessageSeen>, StoreError> {
        let Some(route) = self.route(device) else { return Ok(Vec::new()) };
        let mut messages = Vec::new();
        inputs_within_reach(&**self.store(), route.household, |row| {
            if let What::Device(message) = &row.input.what
                && row.input.device.as_ref() == Some(device)
                && messages.len() < last
            {
                messages.push(MessageSeen {
                    id: row.input.message.clone(),
                    topic: message.topic(),
                    t: row.input.received_at,
                    bytes: row.input.payload_bytes,
                    verdict: row.verdict.to_string(),
                });
            }
            messages.len() < last
        })?;
        Ok(messages)
    }

    /// The inputs of a home, newest first, as far back as one question may look, until `each` says no.
    pub fn inputs_back(&self, household: HouseholdId, each: impl FnMut(LogRow) -> bool) -> Result<(), StoreError> {
        inputs_within_reach(&**self.store(), household, each)
    }

    /// So many items of a home's log, back from before a mark: the inputs among them, newest first, and where the
    /// next ones are; none at the end.
    pub fn inputs_page(
        &self,
        household: HouseholdId,
        before: Option<Mark>,
        items: usize,
    ) -> Result<(Vec<LogRow>, Option<Mark>), StoreError> {
        let (mut rows, mut walked, mut last) = (Vec::new(), 0, None);
        walk_back(&**self.store(), household, before, |mark, item| {
            if let Walked::Item(LogItem::Input(row)) = item {
                rows.push(*row);
            }
            walked += 1;
            last = Some(mark);
            walked < items
        })?;
        Ok((rows, last.filter(|_| walked >= items)))
    }

    /// Decides the last device message at or before `at` again, to see why a trigger kept silent.
    fn explain_silence(
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
        let Some(wanted) = found else { return Ok(None) };
        let stretch = Stretch::back(store, household, None, wanted.seq)?;
        // What is older than the first snapshot that is left cannot be decided again.
        let Some(start) = stretch.start else { return Ok(None) };
        let past = self.past();
        let mut recording = Recording::new(&past, &start);
        for row in &stretch.rows {
            let (rules, decision) = recording.decide(row)?;
            if row.seq == wanted.seq {
                return Ok(self.look_again(trigger, recording.household(), row, &rules, decision));
            }
            recording.advance(&decision);
        }
        Ok(None)
    }

    /// What the trigger as it is now would say, led by its not having been live.
    fn not_live_then(&self, trigger: &TriggerId, before: &Household, row: &LogRow) -> Option<CandidateTrace> {
        let rules = self.rules();
        let trigger = trigger_for(&rules, before, trigger)?;
        let mut candidate = (self.house().decider.why_not)(before, &row.input, &rules, trigger);
        candidate.steps.insert(0, not_live());
        candidate.first_block = Some(Step::Validity);
        Some(candidate)
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
            None => match trigger_for(rules, before, trigger) {
                Some(trigger) => (self.house().decider.why_not)(before, &row.input, rules, trigger),
                None => self.not_live_then(trigger, before, row)?,
            },
        };
        Some(Explained { candidate, input: row.input.id, at: row.input.received_at, recomputed: true })
    }
}

/// The first step that stops a trigger which did not exist, or was paused, at the time.
fn not_live() -> StepTrace {
    let reason = Reason::NotLiveThen.code().into();
    StepTrace { step: Step::Validity, verdict: StepVerdict::Block, reason, numbers: Vec::new() }
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
) -> Result<Option<LogRow>, StoreError> {
    let mut found = None;
    inputs_within_reach(store, household, |row| {
        if row.input.received_at <= at && wanted(&row) {
            found = Some(row);
        }
        found.is_none()
    })?;
    Ok(found)
}

/// The newest inputs, as far back as one question may look.
fn inputs_within_reach(
    store: &dyn Store,
    household: HouseholdId,
    mut each: impl FnMut(LogRow) -> bool,
) -> Result<(), StoreError> {
    let mut left = LOOK_BACK_INPUTS_MAX;
    log::inputs_back(store, household, |row| {
        left -= 1;
        each(row) && left > 0
    })
}
