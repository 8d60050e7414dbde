//! Homes of people who have another one too: what each was told is counted in memory for the person's caps, under
//! the lock under which budgets are drawn.
//!
//! Which homes these are stands in a row each, written before the person comes to their second home. What they
//! heard does not: that is in the homes' own records, and is read from there when a home begins to be watched, and
//! at a start. So nothing of it is kept that an erasure would have to look for.

use std::sync::Arc;

use hearthway_core::budget::Speaking;
use hearthway_core::decision::{Change, Decision};
use hearthway_core::id::{HouseholdId, OfferId};
use hearthway_core::model::{Contact, Household};
use hearthway_core::time::Timestamp;
use serde::{Deserialize, Serialize};

use super::budget::Budgets;
use super::decider::Decider;
use super::facts::read_household;
use super::house::lock;
use super::prepared::Prepared;
use super::rows;
use crate::store::codec::Schema;
use crate::store::{Store, StoreError, Write, keys};

/// That a home is watched.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct WatchedRow {
    /// Since when.
    since: Timestamp,
}

/// The row that says that a home is watched.
pub(super) fn watched(home: HouseholdId, since: Timestamp) -> Write {
    rows::put(Schema::WatchedHome, keys::watched_home(home), &WatchedRow { since })
}

impl Budgets {
    /// Reads what people with several homes heard.
    pub(super) fn read_elsewhere(&self, store: &dyn Store, decider: Decider) -> Result<(), StoreError> {
        rows::walk(store, &keys::watched_homes(), |key, _| {
            let home = keys::watched_home_of(key);
            if let Some(stored) = home.map(|home| read_household(home, store, decider)).transpose()?.flatten() {
                lock(&self.held).elsewhere.watch(&stored.row.facts);
            } else if let Some(home) = home {
                // Its people have not come yet, or were erased.
                lock(&self.held).elsewhere.watch(&Household::empty(home));
            }
            Ok(true)
        })
    }

    /// Whether a home is watched.
    pub(super) fn watches(&self, home: HouseholdId) -> bool {
        lock(&self.held).elsewhere.watches(home)
    }

    /// Watches a home.
    pub(super) fn watch(&self, home: &Household) {
        lock(&self.held).elsewhere.watch(home);
    }

    /// Lets something be said, where every cap of the people has room.
    pub(super) fn speak(budgets: &Arc<Budgets>, speaking: &Speaking<'_>) -> Option<TakenWord> {
        let (household, offer) = (speaking.hearing.household, speaking.offer);
        let is_new = lock(&budgets.held).elsewhere.speak(speaking)?;
        // What was counted before stays so, whatever becomes of this.
        Some(TakenWord { budgets: Arc::clone(budgets), household, offer, is_kept: !is_new })
    }
}

/// A word that is counted and not yet on disk. Dropping it takes it back.
pub(super) struct TakenWord {
    budgets: Arc<Budgets>,
    household: HouseholdId,
    offer: OfferId,
    is_kept: bool,
}

impl TakenWord {
    /// Its commit failed; a store may have kept what it said it had not.
    fn settle(mut self, store: &dyn Store, decider: Decider) {
        let has = |home: &Household| home.contacts.iter().any(|contact| contact.offer == self.offer);
        self.is_kept = match read_household(self.household, store, decider) {
            Ok(stored) => stored.is_some_and(|stored| has(&stored.row.facts)),
            Err(_) => true,
        };
    }
}

impl Drop for TakenWord {
    fn drop(&mut self) {
        if !self.is_kept {
            lock(&self.budgets.held).elsewhere.take_back(self.household, self.offer);
        }
    }
}

/// What one input does to what a watched home heard, once it is on disk.
#[derive(Default)]
pub(super) struct Words {
    taken: Vec<TakenWord>,
    said: Vec<Contact>,
    unheard: Vec<OfferId>,
    /// The home, where other people live in it from here on.
    moved: Option<Arc<Household>>,
}

impl Prepared {
    /// What a watched home is told, and what nobody heard after all.
    pub(super) fn follow_words(
        &mut self,
        budgets: &Arc<Budgets>,
        taken: Vec<TakenWord>,
        facts: &Arc<Household>,
        decision: &Decision,
    ) {
        if !budgets.watches(facts.id) {
            return;
        }
        let said = |offer: OfferId| {
            decision
                .changes
                .iter()
                .any(|change| matches!(change, Change::ContactSet(contact) if contact.offer == offer))
        };
        // What does not leave is taken back here and now.
        self.words.taken.extend(taken.into_iter().filter(|word| said(word.offer)));
        for change in &decision.changes {
            // Also of triggers without such a cap: others' caps count it.
            if let Change::ContactSet(contact) = change {
                self.words.said.push(contact.clone());
                if lock(&budgets.held).elsewhere.add(facts.id, contact) {
                    let (budgets, household) = (Arc::clone(budgets), facts.id);
                    self.words.taken.push(TakenWord { budgets, household, offer: contact.offer, is_kept: false });
                }
            }
            if let Change::ContactReleased(offer) = change {
                self.words.unheard.push(*offer);
            }
            if let Change::MemberSet(_) | Change::MemberLeft(_) | Change::PersonForgotten(_) = change {
                self.words.moved = Some(Arc::clone(facts));
            }
        }
    }
}

impl Words {
    /// It is on disk.
    pub(super) fn stand(self, budgets: &Budgets, household: HouseholdId) {
        self.taken.into_iter().for_each(|mut word| word.is_kept = true);
        if self.said.is_empty() && self.unheard.is_empty() && self.moved.is_none() {
            return;
        }
        let mut held = lock(&budgets.held);
        // Once more: an earlier decision that said the same and failed may have taken it back meanwhile.
        for contact in &self.said {
            held.elsewhere.add(household, contact);
        }
        self.unheard.iter().for_each(|offer| held.elsewhere.take_back(household, *offer));
        if let Some(home) = self.moved {
            held.elsewhere.people_are(&home);
        }
    }

    /// It is not on disk, as far as the store says. What would have been taken back goes on counting until the next
    /// start, which knows.
    pub(super) fn failed(self, store: &dyn Store, decider: Decider) {
        self.taken.into_iter().for_each(|word| word.settle(store, decider));
    }
}
