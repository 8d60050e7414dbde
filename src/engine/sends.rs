//! Offers that left under caps of all homes: counted in memory the moment one is let go, as draws from
//! budgets are and under the same lock, with a row in the commit that sends it.

use std::sync::Arc;

use hearthway_core::budget::{Sending, Sent, SharedCap};
use hearthway_core::decision::{Change, Decision, Effect};
use hearthway_core::id::{RetailerId, TriggerId};
use serde::{Deserialize, Serialize};

use super::budget::Budgets;
use super::house::lock;
use super::prepared::Prepared;
use super::rows;
use crate::store::codec::{self, Schema};
use crate::store::{Store, StoreError, Write, keys};

/// An offer that left under a shared cap; when, its key says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SentRow {
    /// By which trigger.
    trigger: TriggerId,
}

impl Budgets {
    /// Reads what was sent.
    pub(super) fn read_sends(&self, store: &dyn Store) -> Result<(), StoreError> {
        rows::walk(store, &keys::all_sent(), |key, bytes| {
            let row = codec::decode::<SentRow>(Schema::Sent, key, bytes)?;
            if let Some((retailer, at, offer)) = keys::sent_of(key) {
                lock(&self.held).sends.add(&retailer, &row.trigger, Sent { at, offer });
            }
            Ok(true)
        })
    }

    /// How many a cap of all homes counts.
    pub(super) fn sent(&self, retailer: &RetailerId, trigger: &TriggerId, cap: &SharedCap) -> u32 {
        lock(&self.held).sends.count(retailer, trigger, cap)
    }

    /// Lets an offer go, where every cap has room.
    pub(super) fn send(budgets: &Arc<Budgets>, sending: &Sending<'_>) -> Option<TakenSend> {
        let forgotten = lock(&budgets.held).sends.send(sending)?;
        Some(TakenSend {
            budgets: Arc::clone(budgets),
            of: SentBy { retailer: sending.retailer.clone(), trigger: sending.trigger.clone() },
            sent: Sent { at: sending.at, offer: sending.offer },
            forgotten,
            is_kept: false,
        })
    }
}

/// Whose offer it was.
#[derive(Debug, Clone)]
struct SentBy {
    retailer: RetailerId,
    trigger: TriggerId,
}

/// An offer that is counted and not yet on disk. Dropping it gives its place back.
pub(super) struct TakenSend {
    budgets: Arc<Budgets>,
    of: SentBy,
    sent: Sent,
    /// What is too old to be counted by any cap: its rows go with this one's commit.
    forgotten: Vec<Sent>,
    is_kept: bool,
}

impl TakenSend {
    /// Its commit failed; a store may have kept what it said it had not.
    fn settle(mut self, store: &dyn Store) {
        let row = store.get(&keys::sent(&self.of.retailer, self.sent.at, self.sent.offer));
        self.is_kept = !matches!(row, Ok(None));
    }
}

impl Drop for TakenSend {
    fn drop(&mut self) {
        if !self.is_kept {
            lock(&self.budgets.held).sends.give_back(&self.of.retailer, &self.of.trigger, &self.sent);
        }
    }
}

/// What one input does to what all homes were sent, once it is on disk.
#[derive(Default)]
pub(super) struct Sendings {
    taken: Vec<TakenSend>,
    unsent: Vec<(SentBy, Sent)>,
}

impl Prepared {
    /// Rows of what leaves, and of what ended unseen.
    pub(super) fn follow_sends(&mut self, taken: Vec<TakenSend>, decision: &Decision) {
        for taken in taken {
            let leaves =
                |change: &Change| matches!(change, Change::ContactSet(contact) if contact.offer == taken.sent.offer);
            // What does not leave gives its place back here and now.
            if decision.changes.iter().any(leaves) {
                let forgotten = taken.forgotten.iter();
                let gone = forgotten.map(|sent| Write::Delete(keys::sent(&taken.of.retailer, sent.at, sent.offer)));
                self.writes.extend(gone);
                let key = keys::sent(&taken.of.retailer, taken.sent.at, taken.sent.offer);
                self.writes.push(rows::put(Schema::Sent, key, &SentRow { trigger: taken.of.trigger.clone() }));
                self.sendings.taken.push(taken);
            }
        }
        for effect in &decision.effects {
            if let Effect::Unsent { retailer, trigger, offer, at } = effect {
                let sent = Sent { at: *at, offer: *offer };
                let of = SentBy { retailer: retailer.clone(), trigger: trigger.clone() };
                self.writes.push(Write::Delete(keys::sent(retailer, *at, *offer)));
                self.sendings.unsent.push((of, sent));
            }
        }
    }
}

impl Sendings {
    /// It is on disk.
    pub(super) fn stand(self, budgets: &Budgets) {
        self.taken.into_iter().for_each(|mut taken| taken.is_kept = true);
        if !self.unsent.is_empty() {
            let mut held = lock(&budgets.held);
            self.unsent.iter().for_each(|(of, sent)| held.sends.give_back(&of.retailer, &of.trigger, sent));
        }
    }

    /// It is not on disk, as far as the store says; what ended unseen goes on counting until the next
    /// start, which knows.
    pub(super) fn failed(self, store: &dyn Store) {
        self.taken.into_iter().for_each(|taken| taken.settle(store));
    }
}
