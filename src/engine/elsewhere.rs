//! Homes of people who have another one too: what each was told is counted in memory for the person's caps, under
//! the lock under which budgets are drawn.
//!
//! Which homes these are stands in a row each, written before the person comes to their second home. What they
//! heard does not: that is in the homes' own records, and is read from there when a home begins to be watched, and
//! at a start. So nothing of it is kept that an erasure would have to look for. Who leaves a home takes along what it
//! had heard: a row of the person's own, sealed with their key, so that it goes with them.

use std::sync::Arc;

use hearthway_core::budget::{Heard, Speaking};
use hearthway_core::decision::{Change, Decision};
use hearthway_core::id::{HouseholdId, OfferId, ProfileId, RetailerId};
use hearthway_core::input::{Command, Input, What};
use hearthway_core::model::{Contact, ContactState, Household};
use hearthway_core::time::{Span, Timestamp};
use serde::{Deserialize, Serialize};

use super::budget::Budgets;
use super::decider::Decider;
use super::facts::read_household;
use super::house::lock;
use super::prepared::Prepared;
use super::{Engine, rows};
use crate::store::codec::{self, Schema};
use crate::store::sealed::{Subject, hidden_name};
use crate::store::{Commit, Store, StoreError, Write, keys};

/// How long a home is watched of which nobody has another one: whoever was about to come has come by then.
const WATCHED_IN_VAIN: Span = Span::hours(24);
/// How long it counts what was heard in a home that was left: longer than a cap says "in a year".
const TAKEN_ALONG_FOR: Span = Span::days(400);
/// Rows deleted in one commit.
const GONE_AT_ONCE: usize = 256;

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

/// What a person heard in a home that they left.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct TakenAlongRow {
    retailer: RetailerId,
    profile: ProfileId,
    household: HouseholdId,
    heard: Vec<Heard>,
}

/// What people take along who leave a home by an input, and who is forgotten there.
#[derive(Default)]
pub(super) struct Leavers {
    rows: Vec<TakenAlongRow>,
    writes: Vec<Write>,
    forgotten: Vec<ProfileId>,
}

impl Leavers {
    /// Of the home as it was before. Who is merged into another, or again two, does not leave.
    pub(super) fn of(
        store: &dyn Store,
        home: &Household,
        input: &Input,
        decision: &Decision,
    ) -> Result<Leavers, StoreError> {
        let mut leavers = Leavers::default();
        match &input.what {
            What::Command(Command::Merge(_) | Command::Unmerge(_)) => return Ok(leavers),
            What::Command(Command::ForgetPerson(leaving)) => leavers.forgotten.clone_from(&leaving.names),
            _ => {}
        }
        let Some(retailer) = &home.retailer else { return Ok(leavers) };
        for change in &decision.changes {
            let Change::MemberLeft(profile) = change else { continue };
            // What nobody has seen yet they will not see.
            let seen = home.contacts.iter().filter(|contact| contact.state == ContactState::Counted);
            let heard: Vec<Heard> = seen.map(Heard::from).collect();
            if heard.is_empty() {
                continue;
            }
            let name = hidden_name(store, retailer, profile);
            let (retailer, profile) = (retailer.clone(), profile.clone());
            let key = keys::taken_along(&retailer, &name, home.id);
            let row = TakenAlongRow { retailer, profile, household: home.id, heard };
            let mut bytes = codec::encode(Schema::TakenAlong, &row);
            if let Some(vault) = store.vault() {
                codec::belong_to(vault.key_for(Subject::profile(&name))?, &mut bytes);
            }
            leavers.writes.push(Write::Put(key, bytes));
            leavers.rows.push(row);
        }
        Ok(leavers)
    }
}

impl Engine {
    /// Does not watch homes any more of which nobody has had another one for a day. How many.
    pub async fn unwatch_homes(&self) -> Result<usize, StoreError> {
        let (budgets, now) = (&self.house().budgets, self.clock().now());
        let mut wanted = budgets.watching.lock().await;
        let mut over = Vec::new();
        {
            // In one go: whoever is decided to come is among its people at once.
            let elsewhere = &mut lock(&budgets.held).elsewhere;
            for home in elsewhere.idle() {
                let since = wanted.entry(home).or_insert(now);
                *since = (*since).min(now);
                if now >= *since + WATCHED_IN_VAIN {
                    elsewhere.unwatch(home);
                    over.push(home);
                }
            }
        }
        for part in over.chunks(GONE_AT_ONCE) {
            wanted.retain(|home, _| !part.contains(home));
            let writes = part.iter().map(|home| Write::Delete(keys::watched_home(*home))).collect();
            self.write(Commit { preconditions: Vec::new(), writes }).await?;
        }
        Ok(over.len())
    }

    /// What people heard in homes that they left counts no more once it is so old that no cap looks back to it. How
    /// many rows went.
    pub async fn forget_taken_along(&self) -> Result<usize, StoreError> {
        let before = self.clock().now() - TAKEN_ALONG_FOR;
        let mut over = Vec::new();
        rows::walk(&**self.store(), &keys::all_taken_along(), |key, bytes| {
            let row = rows::unless_erased(codec::decode::<TakenAlongRow>(Schema::TakenAlong, key, bytes))?;
            if row.is_some_and(|row| row.heard.iter().all(|heard| heard.at < before)) {
                over.push(Write::Delete(key.clone()));
            }
            Ok(true)
        })?;
        lock(&self.house().budgets.held).elsewhere.forget_before(before);
        for part in over.chunks(GONE_AT_ONCE) {
            self.write(Commit { preconditions: Vec::new(), writes: part.to_vec() }).await?;
        }
        Ok(over.len())
    }
}

impl Budgets {
    /// Reads what people with several homes heard, and those who left one.
    pub(super) fn read_elsewhere(&self, store: &dyn Store, decider: Decider) -> Result<(), StoreError> {
        rows::walk(store, &keys::all_taken_along(), |key, bytes| {
            let row = codec::decode::<TakenAlongRow>(Schema::TakenAlong, key, bytes);
            if let Some(TakenAlongRow { retailer, profile, household, heard }) = rows::unless_erased(row)? {
                lock(&self.held).elsewhere.take_along(&retailer, &profile, household, heard);
            }
            Ok(true)
        })?;
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

    /// Lets something be said, where every cap of the people has room; else says which has none.
    pub(super) fn speak(budgets: &Arc<Budgets>, speaking: &Speaking<'_>) -> Result<TakenWord, usize> {
        let (household, offer) = (speaking.hearing.household, speaking.offer);
        let is_new = lock(&budgets.held).elsewhere.speak(speaking)?;
        // What was counted before stays so, whatever becomes of this.
        Ok(TakenWord { budgets: Arc::clone(budgets), household, offer, is_kept: !is_new })
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
    /// What people take along.
    left: Vec<TakenAlongRow>,
    /// Whom the home forgets, who may have taken something along.
    forgotten: Vec<ProfileId>,
}

impl Prepared {
    /// What people take along who leave.
    pub(super) fn take_along(&mut self, leavers: Leavers) {
        self.writes.extend(leavers.writes);
        self.words.left = leavers.rows;
        self.words.forgotten = leavers.forgotten;
    }

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
        if self.words.moved.is_some() {
            // What is decided next already speaks to them; who goes is gone once that is on disk.
            lock(&budgets.held).elsewhere.people_come(facts);
        }
    }
}

impl Words {
    /// It is on disk.
    pub(super) fn stand(self, budgets: &Budgets, household: HouseholdId) {
        self.taken.into_iter().for_each(|mut word| word.is_kept = true);
        if self.said.is_empty()
            && self.unheard.is_empty()
            && self.moved.is_none()
            && self.left.is_empty()
            && self.forgotten.is_empty()
        {
            return;
        }
        let mut held = lock(&budgets.held);
        for TakenAlongRow { retailer, profile, household, heard } in self.left {
            held.elsewhere.take_along(&retailer, &profile, household, heard);
        }
        self.forgotten.iter().for_each(|who| held.elsewhere.leave_behind(who, household));
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
    pub(super) fn failed(self, budgets: &Budgets, store: &dyn Store, decider: Decider) {
        self.taken.into_iter().for_each(|word| word.settle(store, decider));
        // Who did not come after all: as the store has it.
        if let Some(home) = self.moved
            && let Ok(stored) = read_household(home.id, store, decider)
        {
            let stands = stored.map_or_else(|| Arc::new(Household::empty(home.id)), |stored| stored.row.facts);
            lock(&budgets.held).elsewhere.people_are(&stands);
        }
    }
}
