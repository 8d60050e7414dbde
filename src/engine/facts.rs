//! The households that a shard has in memory.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use hearthway_core::id::HouseholdId;
use hearthway_core::model::{Few, Household};

use super::decider::Decider;
use super::ledgers::Ledgers;
use super::rows::{self, HouseholdRow, LastSnapshot};
use super::seen::Pages;
use super::tail::Tail;
use crate::store::codec::{self, KeyId, NOT_SEALED, Schema};
use crate::store::{Store, StoreError, keys};

/// One household in memory.
pub(super) struct Known {
    /// The record with every decision so far, also those not yet on disk.
    pub(super) row: HouseholdRow,
    /// Older message ids of its devices, as far as they were asked for.
    pub(super) pages: Pages,
    /// What reports count of it, as far as it was asked for.
    pub(super) ledgers: Ledgers,
    /// Decisions of this household that are not yet on disk.
    pub(super) in_flight: usize,
    /// Bytes of its record when last written.
    pub(super) record_bytes: usize,
    /// What followed since then.
    pub(super) tail: Tail,
    /// What its values are sealed with.
    pub(super) key: KeyId,
    /// Used since the last look at it: gets a second chance before it leaves.
    used: bool,
}

/// A bounded cache. A household with decisions in flight never leaves.
pub(super) struct Facts {
    known: HashMap<HouseholdId, Known>,
    /// In the order of arrival: who is looked at first when there is no room.
    order: VecDeque<HouseholdId>,
    max: usize,
}

impl Facts {
    pub(super) fn new(max: usize) -> Facts {
        Facts { known: HashMap::new(), order: VecDeque::new(), max: max.max(1) }
    }

    /// A household, read from the store where it is not in memory. `true` when it was read.
    pub(super) fn load(
        &mut self,
        id: HouseholdId,
        store: &dyn Store,
        decider: Decider,
    ) -> Result<(&mut Known, bool), StoreError> {
        let read = !self.known.contains_key(&id);
        if read {
            let Stored { row, record_bytes, tail, key } = read_household(id, store, decider)?.unwrap_or_else(|| {
                let facts = Arc::new(Household::empty(id));
                let row = HouseholdRow { facts, heard: Few::new(), snapshot: LastSnapshot::default() };
                Stored { row, record_bytes: 0, tail: Tail::default(), key: NOT_SEALED }
            });
            self.make_room();
            let (pages, ledgers) = (Pages::default(), Ledgers::default());
            let known = Known { row, pages, ledgers, in_flight: 0, record_bytes, tail, key, used: false };
            self.known.insert(id, known);
            self.order.push_back(id);
        }
        let known = self.known.get_mut(&id).expect("it was there or has just been put there");
        known.used = true;
        Ok((known, read))
    }

    pub(super) fn get_mut(&mut self, id: HouseholdId) -> Option<&mut Known> {
        self.known.get_mut(&id)
    }

    /// Forgets everything; gives the households that had decisions in flight.
    pub(super) fn clear(&mut self) -> Vec<HouseholdId> {
        self.order.clear();
        self.known.drain().filter(|(_, known)| known.in_flight > 0).map(|(id, _)| id).collect()
    }

    fn make_room(&mut self) {
        // Twice round at most: the first time each loses its second chance.
        for _ in 0..2 * self.order.len() {
            if self.known.len() < self.max {
                return;
            }
            let Some(id) = self.order.pop_front() else { return };
            match self.known.get_mut(&id) {
                Some(known) if known.used || known.in_flight > 0 => {
                    known.used = false;
                    self.order.push_back(id);
                }
                _ => {
                    self.known.remove(&id);
                }
            }
        }
    }
}

/// A household as it is on disk.
pub(super) struct Stored {
    /// Its record, with all that followed.
    pub(super) row: HouseholdRow,
    /// Bytes of the record.
    pub(super) record_bytes: usize,
    /// What followed.
    pub(super) tail: Tail,
    /// What it is sealed with.
    pub(super) key: KeyId,
}

/// Reads a household; none where there is none, or where it was erased.
pub(super) fn read_household(
    id: HouseholdId,
    store: &dyn Store,
    decider: Decider,
) -> Result<Option<Stored>, StoreError> {
    let key = keys::household(id);
    let Some(record) = store.get(&key)? else { return Ok(None) };
    let read = rows::unless_erased(codec::decode::<HouseholdRow>(Schema::Household, &key, &record))?;
    let Some(mut row) = read else { return Ok(None) };
    let stored = store.get(&keys::household_tail(id))?;
    let tail = Tail::catch_up(&mut row, stored.as_deref(), decider)?;
    Ok(Some(Stored { row, record_bytes: record.len(), tail, key: codec::key_of(&record) }))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::store::memory::MemoryStore;

    #[test]
    fn a_household_with_decisions_in_flight_never_leaves_the_cache() {
        let store = MemoryStore::new();
        let mut facts = Facts::new(2);
        let ids = [b"a", b"b", b"c", b"d"].map(|name| HouseholdId::derived(&[name]));
        facts.load(ids[0], &store, Decider::core()).unwrap().0.in_flight = 1;
        for id in &ids[1..] {
            assert!(facts.load(*id, &store, Decider::core()).unwrap().1, "it was not in memory");
        }
        assert!(!facts.load(ids[0], &store, Decider::core()).unwrap().1, "it stayed");
        assert!(facts.known.len() <= 2, "{}", facts.known.len());
        assert_eq!(facts.clear(), [ids[0]]);
    }
}
