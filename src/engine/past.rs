//! What a gateway has on disk of its past, and the rules to decide it again: all that replay and
//! backtest need. They work on a data directory at rest as on a running engine.

use std::sync::Arc;

use hearthway_core::budget::Recalling;
use hearthway_core::decision::Decision;
use hearthway_core::id::{DERIVED_BYTES, HouseholdId};
use hearthway_core::model::Household;
use hearthway_core::rules::RuleSet;
use hearthway_core::time::Timestamp;
use hearthway_core::trace::CandidateTrace;

use super::log::{self, Walked};
use super::rows::{self, HouseholdRow, LogItem, LogRow};
use super::tail::Tail;
use super::{Decider, Engine, RuleBook};
use crate::store::codec::{self, Schema};
use crate::store::{Store, StoreError, keys};

/// The past of all households. A clone is the same past.
#[derive(Clone)]
pub struct Past {
    pub(super) store: Arc<dyn Store>,
    pub(super) rules: Arc<dyn RuleBook>,
    pub(super) decider: Decider,
}

/// A stretch of time: from an instant, up to and without another. Open where nothing is said.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Window {
    /// The first instant of it.
    pub from: Option<Timestamp>,
    /// The first instant after it.
    pub until: Option<Timestamp>,
}

impl Window {
    /// Whether an instant lies in it.
    pub fn contains(&self, at: Timestamp) -> bool {
        !self.is_before(at) && self.until.is_none_or(|until| at < until)
    }
    /// Whether an instant lies before it.
    pub fn is_before(&self, at: Timestamp) -> bool {
        self.from.is_some_and(|from| at < from)
    }
}

impl Past {
    /// The past in a store that no engine runs on.
    pub fn at_rest(store: Arc<dyn Store>, rules: Arc<dyn RuleBook>) -> Past {
        Past { store, rules, decider: Decider::core() }
    }

    /// The newest rules.
    pub fn rules(&self) -> Arc<RuleSet> {
        self.rules.current()
    }

    /// Every household that there ever was, in the order of their ids.
    pub fn households(&self, mut each: impl FnMut(HouseholdId) -> Result<(), StoreError>) -> Result<(), StoreError> {
        self.households_while(|household| each(household).map(|()| true))
    }

    /// The same, for as long as `each` wants more.
    pub fn households_while(
        &self,
        mut each: impl FnMut(HouseholdId) -> Result<bool, StoreError>,
    ) -> Result<(), StoreError> {
        rows::walk(&*self.store, &keys::households(), |key, _| {
            // A tail stands behind its record and has a longer key.
            match <[u8; DERIVED_BYTES]>::try_from(&key.0[1..]) {
                Ok(id) => each(HouseholdId(id)),
                Err(_) => Ok(true),
            }
        })
    }

    /// A household as it is on disk; none where there is no such.
    pub fn household(&self, id: HouseholdId) -> Result<Option<Household>, StoreError> {
        let key = keys::household(id);
        // The tail first: a record that is written in between is newer, and then holds all of it.
        let tail = self.store.get(&keys::household_tail(id))?;
        let Some(record) = self.store.get(&key)? else { return Ok(None) };
        let read = rows::unless_erased(codec::decode::<HouseholdRow>(Schema::Household, &key, &record))?;
        let Some(mut row) = read else { return Ok(None) };
        Tail::catch_up(&mut row, tail.as_deref(), self.decider)?;
        Ok(Some(Arc::unwrap_or_clone(row.facts)))
    }

    /// When the oldest input of a household came that can still be decided again; none where none can.
    pub fn history_from(&self, household: HouseholdId) -> Result<Option<Timestamp>, StoreError> {
        let (mut oldest, mut from) = (None, None);
        log::walk_back(&*self.store, household, None, |_, item| {
            match item {
                // What is older goes on to where it was erased, and no further.
                Walked::Erased => oldest = None,
                Walked::Item(LogItem::Input(row)) => {
                    oldest = Some(row.input.received_at);
                    // The very first began with an empty home.
                    from = if row.seq == 1 { oldest } else { from };
                }
                Walked::Item(LogItem::Snapshot(_)) => from = oldest.or(from),
            }
            true
        })?;
        Ok(from)
    }

    /// The stored looks at triggers of a household, newest first.
    pub fn traces(
        &self,
        household: HouseholdId,
        mut each: impl FnMut(Timestamp, CandidateTrace),
    ) -> Result<(), StoreError> {
        log::inputs_back(&*self.store, household, |row| {
            let at = row.input.received_at;
            row.candidates.into_iter().rev().for_each(|candidate| each(at, candidate));
            true
        })
    }

    /// When the newest input of all came; none where all logs are empty.
    pub fn newest(&self) -> Result<Option<Timestamp>, StoreError> {
        let mut newest = None;
        self.households(|household| {
            newest = newest.max(self.newest_input(household)?.map(|(_, at)| at));
            Ok(())
        })?;
        Ok(newest)
    }

    /// The number and the time of a household's newest input; none where its log is empty.
    pub(super) fn newest_input(&self, household: HouseholdId) -> Result<Option<(u64, Timestamp)>, StoreError> {
        let mut newest = None;
        log::walk_back(&*self.store, household, None, |_, item| {
            if let Walked::Item(LogItem::Input(row)) = item {
                newest = Some((row.seq, row.input.received_at));
            }
            newest.is_none()
        })?;
        Ok(newest)
    }
}

impl Engine {
    /// What this engine has on disk of its past.
    pub fn past(&self) -> Past {
        let house = self.house();
        Past { store: Arc::clone(&house.store), rules: Arc::clone(&house.rules), decider: house.decider }
    }
}

/// A household's log from where it is known, decided again row by row.
pub(super) struct Recording<'p> {
    past: &'p Past,
    household: Household,
}

impl<'p> Recording<'p> {
    pub(super) fn new(past: &'p Past, start: &Household) -> Recording<'p> {
        Recording { past, household: start.clone() }
    }

    /// The household after the inputs so far.
    pub(super) fn household(&self) -> &Household {
        &self.household
    }

    /// What the next input comes to, with the rules that it read. [`Recording::advance`] goes on.
    pub(super) fn decide(&self, row: &LogRow) -> Result<(Arc<RuleSet>, Decision), StoreError> {
        let corrupt = |cause| StoreError::Corrupt { key: keys::log(self.household.id).to_string(), cause };
        if row.seq != self.household.seq + 1 {
            return Err(corrupt(format!("the log goes from input {} to {}", self.household.seq, row.seq)));
        }
        let rules = self.past.rules.at(row.rules);
        let rules = rules.ok_or_else(|| corrupt(format!("version {} of the rules is gone", row.rules)))?;
        let told = Recalling::new(&row.answers);
        let decision = (self.past.decider.decide)(&self.household, &row.input, &rules, row.input.received_at, &told);
        Ok((rules, decision))
    }

    /// The household after a decision.
    pub(super) fn advance(&mut self, decision: &Decision) {
        self.past.decider.advance(&mut self.household, decision);
    }

    /// Hands over the household.
    pub(super) fn into_household(self) -> Household {
        self.household
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::store::memory::MemoryStore;
    use crate::store::{Commit, Write};

    /// Rules that say nothing.
    struct Blank;

    impl RuleBook for Blank {
        fn current(&self) -> Arc<RuleSet> {
            Arc::default()
        }
        fn at(&self, _: u64) -> Option<Arc<RuleSet>> {
            None
        }
    }

    #[test]
    fn a_walk_over_all_homes_ends_when_enough_was_seen() {
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
        let rows = [b"a", b"b", b"c"].map(|name| Write::Put(keys::household(HouseholdId::derived(&[name])), vec![0]));
        store.commit(&[Commit { preconditions: Vec::new(), writes: rows.to_vec() }]).unwrap();
        let past = Past::at_rest(store, Arc::new(Blank));
        for (enough, looked) in [(2, 2), (9, 3)] {
            let mut seen = 0;
            past.households_while(|_| {
                seen += 1;
                Ok(seen < enough)
            })
            .unwrap();
            assert_eq!(seen, looked);
        }
    }
}
