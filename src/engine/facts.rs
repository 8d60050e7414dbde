//! The households that a shard has in memory: those that something happens to just now as they are, the others
//! asleep, as the bytes of their record. A home of one device is some forty values in as many places, which take more
//! than twice the room of their bytes; to wake one costs a fraction of reading it from the store and opening it.

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

/// One of so many households is awake: a home that says something often says more within the next minutes.
const AWAKE_SHARE: usize = 8;
/// Awake whatever the share is: as many as one batch of commits has.
const AWAKE_MIN: usize = 64;

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
    /// Used again since the last look at it: gets a second chance before it falls asleep.
    used: bool,
}

/// A household that nothing happens to just now; everything of it is on disk.
struct Asleep {
    /// Its row as it is encoded, with all that followed the record.
    row: Box<[u8]>,
    pages: Pages,
    ledgers: Ledgers,
    record_bytes: usize,
    tail: Tail,
    key: KeyId,
    /// Woken since the last look at it: gets a second chance before it leaves.
    used: bool,
}

enum State {
    Awake(Box<Known>),
    Asleep(Box<Asleep>),
}

/// A bounded cache. A household with decisions in flight never falls asleep, and one that is awake never leaves.
pub(super) struct Facts {
    known: HashMap<HouseholdId, State>,
    /// All of them in the order of arrival: who is looked at first when there is no room.
    order: VecDeque<HouseholdId>,
    /// Those that are awake, in the order in which they woke.
    awake: VecDeque<HouseholdId>,
    max: usize,
    awake_max: usize,
}

impl Facts {
    pub(super) fn new(max: usize) -> Facts {
        let awake_max = (max / AWAKE_SHARE).max(AWAKE_MIN);
        Facts::of(max.max(1), awake_max.min(max.max(1)))
    }
    fn of(max: usize, awake_max: usize) -> Facts {
        Facts { known: HashMap::new(), order: VecDeque::new(), awake: VecDeque::new(), max, awake_max }
    }

    /// A household, awake; read from the store where it is not in memory. `true` when it was read.
    pub(super) fn load(
        &mut self,
        id: HouseholdId,
        store: &dyn Store,
        decider: Decider,
    ) -> Result<(&mut Known, bool), StoreError> {
        let read = match self.known.get_mut(&id) {
            Some(State::Awake(known)) => {
                known.used = true;
                false
            }
            Some(State::Asleep(_)) => {
                self.send_to_sleep();
                let Some(State::Asleep(asleep)) = self.known.remove(&id) else { unreachable!("it was there") };
                self.known.insert(id, State::Awake(Box::new(asleep.wake())));
                self.awake.push_back(id);
                false
            }
            None => {
                let Stored { row, record_bytes, tail, key } = read_or_empty(id, store, decider)?;
                self.send_to_sleep();
                self.make_room();
                let (pages, ledgers) = (Pages::default(), Ledgers::default());
                let known = Known { row, pages, ledgers, in_flight: 0, record_bytes, tail, key, used: false };
                self.known.insert(id, State::Awake(Box::new(known)));
                self.order.push_back(id);
                self.awake.push_back(id);
                true
            }
        };
        Ok((self.get_mut(id).expect("it was awake or has just been woken"), read))
    }

    /// A household that is awake.
    pub(super) fn get_mut(&mut self, id: HouseholdId) -> Option<&mut Known> {
        match self.known.get_mut(&id) {
            Some(State::Awake(known)) => Some(known),
            Some(State::Asleep(_)) | None => None,
        }
    }

    /// The facts of a household as they are on disk, where they are in memory. Wakes nobody.
    pub(super) fn durable(&self, id: HouseholdId) -> Option<Arc<Household>> {
        match self.known.get(&id)? {
            State::Awake(known) => (known.in_flight == 0).then(|| Arc::clone(&known.row.facts)),
            State::Asleep(asleep) => Some(asleep.row().facts),
        }
    }

    /// Forgets everything; gives the households that had decisions in flight.
    pub(super) fn clear(&mut self) -> Vec<HouseholdId> {
        self.order.clear();
        self.awake.clear();
        let in_flight = |state: &State| matches!(state, State::Awake(known) if known.in_flight > 0);
        self.known.drain().filter(|(_, state)| in_flight(state)).map(|(id, _)| id).collect()
    }

    /// Makes room among those that are awake.
    fn send_to_sleep(&mut self) {
        // Twice round at most: the first time each loses its second chance.
        for _ in 0..2 * self.awake.len() {
            if self.awake.len() < self.awake_max {
                return;
            }
            let Some(id) = self.awake.pop_front() else { return };
            let Some(State::Awake(known)) = self.known.get_mut(&id) else { continue };
            if known.used || known.in_flight > 0 {
                known.used = false;
                self.awake.push_back(id);
            } else if let Some(State::Awake(known)) = self.known.remove(&id) {
                self.known.insert(id, State::Asleep(Box::new(known.fall_asleep())));
            }
        }
    }

    /// Makes room for one more: those leave first that were not woken lately.
    fn make_room(&mut self) {
        for _ in 0..2 * self.order.len() {
            if self.known.len() < self.max {
                return;
            }
            let Some(id) = self.order.pop_front() else { return };
            match self.known.get_mut(&id) {
                Some(State::Awake(_)) => self.order.push_back(id),
                Some(State::Asleep(asleep)) if asleep.used => {
                    asleep.used = false;
                    self.order.push_back(id);
                }
                Some(State::Asleep(_)) | None => {
                    self.known.remove(&id);
                }
            }
        }
    }
}

impl Known {
    fn fall_asleep(self) -> Asleep {
        let Known { row, pages, ledgers, record_bytes, mut tail, key, .. } = self;
        let mut bytes = Vec::with_capacity(record_bytes);
        codec::append(&row, &mut bytes);
        tail.rest();
        Asleep { row: bytes.into(), pages, ledgers, record_bytes, tail, key, used: true }
    }
}

impl Asleep {
    fn row(&self) -> HouseholdRow {
        codec::first(&self.row).expect("what this process wrote for itself reads back")
    }
    fn wake(self) -> Known {
        let row = self.row();
        let Asleep { pages, ledgers, record_bytes, tail, key, .. } = self;
        Known { row, pages, ledgers, in_flight: 0, record_bytes, tail, key, used: false }
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

/// Reads a household; an empty one where there is none.
fn read_or_empty(id: HouseholdId, store: &dyn Store, decider: Decider) -> Result<Stored, StoreError> {
    Ok(read_household(id, store, decider)?.unwrap_or_else(|| {
        let facts = Arc::new(Household::empty(id));
        let row = HouseholdRow { facts, heard: Few::new(), snapshot: LastSnapshot::default() };
        Stored { row, record_bytes: 0, tail: Tail::default(), key: NOT_SEALED }
    }))
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

    fn named<const N: usize>() -> [HouseholdId; N] {
        std::array::from_fn(|n| HouseholdId::derived(&[&[u8::try_from(n).unwrap()]]))
    }

    #[test]
    fn a_household_with_decisions_in_flight_never_leaves_the_cache() {
        let store = MemoryStore::new();
        let mut facts = Facts::of(2, 1);
        let ids = named::<4>();
        facts.load(ids[0], &store, Decider::core()).unwrap().0.in_flight = 1;
        for id in &ids[1..] {
            assert!(facts.load(*id, &store, Decider::core()).unwrap().1, "it was not in memory");
        }
        assert!(!facts.load(ids[0], &store, Decider::core()).unwrap().1, "it stayed");
        assert!(facts.known.len() <= 3, "{}", facts.known.len());
        assert_eq!(facts.clear(), [ids[0]]);
    }

    #[test]
    fn a_household_that_slept_is_as_it_was_and_few_are_awake() {
        let store = MemoryStore::new();
        let mut facts = Facts::of(16, 3);
        let ids = named::<12>();
        for (n, id) in ids.iter().enumerate() {
            let known = facts.load(*id, &store, Decider::core()).unwrap().0;
            let home = Arc::make_mut(&mut known.row.facts);
            (home.seq, home.locale) = (n as u64 + 1, Some("fr-FR".into()));
            known.row.snapshot.seq = n as u64;
            known.record_bytes = 100 + n;
            known.tail = Tail::after(n as u64);
        }
        assert!(facts.awake.len() <= 3, "{}", facts.awake.len());
        for round in 0..3 {
            for (n, id) in ids.iter().enumerate() {
                assert_eq!(facts.durable(*id).unwrap().seq, n as u64 + 1, "read without waking");
                let (known, read) = facts.load(*id, &store, Decider::core()).unwrap();
                assert!(!read, "{n} in round {round}");
                let home = &known.row.facts;
                let what = (home.id, home.seq, home.locale.as_deref(), known.row.snapshot.seq, known.record_bytes);
                assert_eq!(what, (*id, n as u64 + 1, Some("fr-FR"), n as u64, 100 + n));
                let awake = facts.known.values().filter(|state| matches!(state, State::Awake(_))).count();
                assert_eq!((awake, facts.awake.len(), facts.order.len()), (3, 3, 12));
            }
        }
    }

    #[test]
    fn what_is_used_again_and_again_stays_awake() {
        let store = MemoryStore::new();
        let mut facts = Facts::of(16, 3);
        let ids = named::<8>();
        for id in ids[1..].iter().cycle().take(40) {
            facts.load(ids[0], &store, Decider::core()).unwrap();
            facts.load(*id, &store, Decider::core()).unwrap();
            assert!(facts.get_mut(ids[0]).is_some());
        }
    }
}
