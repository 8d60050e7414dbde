//! What happened to a household since its record was written. A reading changes a few bytes of a
//! household; they go into its tail, a small row beside the record. The record is written again
//! only when the tail has become long or when more than a few bytes changed.

use std::sync::Arc;

use hearthway_core::decision::Change;
use hearthway_core::id::{DeviceKey, HouseholdId};
use hearthway_core::time::Timestamp;
use serde::{Deserialize, Serialize};

use super::decider::Decider;
use super::rows::{self, HouseholdRow};
use super::seen;
use crate::store::codec::{self, Schema};
use crate::store::keys::Key;
use crate::store::{StoreError, keys};

/// Bytes at which a tail ends and the record is written again: about a record's own size, so that
/// neither the writing of tails nor the reading of records with theirs gets far from the least.
const TAIL_BYTES_MAX: usize = 768;

/// The tail of a household in memory: its row's body.
#[derive(Debug, Default)]
pub(super) struct Tail {
    /// The number of the input that the record was written after, then one [`Step`] for each since.
    body: Vec<u8>,
}

/// What one input added. Borrowed when it is written, owned when it is read.
#[derive(Serialize, Deserialize)]
struct Step<D, C> {
    /// The id of its message as it is remembered, with the device that sent it.
    heard: Option<(D, u64)>,
    /// When.
    at: Timestamp,
    /// What it changed.
    changes: C,
}

impl Tail {
    /// No tail: the record was written after the input with this number.
    pub(super) fn after(seq: u64) -> Tail {
        let mut tail = Tail::default();
        codec::append(&seq, &mut tail.body);
        tail
    }

    /// Gives back the room that it may grow into.
    pub(super) fn rest(&mut self) {
        self.body.shrink_to_fit();
    }

    /// Whether changes may follow here instead of in a new record.
    pub(super) fn takes(&self, changes: &[Change]) -> bool {
        !self.body.is_empty() && self.body.len() < TAIL_BYTES_MAX && changes.iter().all(is_small)
    }

    /// Adds an input; gives the row.
    pub(super) fn follow(&mut self, heard: Option<(&DeviceKey, u64)>, at: Timestamp, changes: &[Change]) -> Vec<u8> {
        codec::append(&Step { heard, at, changes }, &mut self.body);
        codec::seal(Schema::Tail, &self.body)
    }

    /// Brings a record up to date with the tail that was stored for it, which may be an older one.
    pub(super) fn catch_up(
        row: &mut HouseholdRow,
        stored: Option<&[u8]>,
        decider: Decider,
    ) -> Result<Tail, StoreError> {
        let (household, written_after) = (row.facts.id, row.facts.seq);
        let Some(stored) = stored else { return Ok(Tail::after(written_after)) };
        let key = keys::household_tail(household);
        // A tail of before an erasure: the record was written anew under another key since.
        let Some(mut pieces) = rows::unless_erased(codec::pieces(Schema::Tail, &key, stored))? else {
            return Ok(Tail::after(written_after));
        };
        let after = pieces.read::<u64>()?.unwrap_or_default();
        if after < written_after {
            return Ok(Tail::after(written_after));
        }
        if after > written_after {
            return Err(not_its_own(&key, after, written_after));
        }
        let facts = Arc::make_mut(&mut row.facts);
        while let Some(step) = pieces.read::<Step<DeviceKey, Vec<Change>>>()? {
            for change in &step.changes {
                (decider.apply)(facts, change);
            }
            facts.seq += 1;
            if let Some((device, id)) = step.heard {
                seen::hear_again(&mut row.heard, &device, id, step.at);
            }
        }
        Ok(Tail { body: pieces.whole().to_vec() })
    }
}

/// Which household a row of the table belongs to, and whether it is a tail.
pub(super) fn is_tail(key: &Key, household: HouseholdId) -> bool {
    *key == keys::household_tail(household)
}

fn not_its_own(key: &Key, after: u64, written_after: u64) -> StoreError {
    let cause = format!("it goes on from input {after}, and the household's record is of input {written_after}");
    StoreError::Corrupt { key: key.to_string(), cause }
}

/// Whether a change takes a few bytes: then it is written by itself, else with the whole record.
fn is_small(change: &Change) -> bool {
    match change {
        Change::PresenceSet { .. }
        | Change::ClockSet { .. }
        | Change::Reported { .. }
        | Change::SlotSet { .. }
        | Change::ContextSet { .. }
        | Change::ContextDropped { .. }
        | Change::EdgeSet { .. }
        | Change::TrendFed { .. }
        | Change::TrendDropped(_)
        | Change::PauseSet { .. }
        | Change::OfferDropped(_)
        | Change::OrderDropped(_)
        | Change::ContactSet(_)
        | Change::ContactReleased(_)
        | Change::ShelfSet { .. }
        | Change::MandateSet(_)
        | Change::MandateEnded(_)
        | Change::TrackSet { .. }
        | Change::AbsenceSet(_)
        | Change::PurchaseHeard(_)
        | Change::SeqSet { .. } => true,
        Change::HomeSet { .. }
        | Change::MemberSet(_)
        | Change::MemberLeft(_)
        | Change::DeviceSet(_)
        | Change::DeviceLeft { .. }
        | Change::Arrived(_)
        | Change::Described { .. }
        | Change::ClaimSet { .. }
        | Change::LinkSet(_)
        | Change::LinkEnded(_)
        | Change::ConsentSet { .. }
        | Change::OfferSet(_)
        | Change::OrderSet(_)
        | Change::WipePending { .. }
        | Change::SuspendedSet { .. }
        | Change::CredentialSet { .. }
        | Change::StandingSet { .. }
        | Change::MergeSet(_)
        | Change::MergeEnded(_)
        | Change::PersonForgotten(_)
        | Change::HabitSet { .. } => false,
    }
}
