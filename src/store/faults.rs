//! A store that fails on demand, for the simulation.
//!
//! Three things can go wrong with a group, told apart by what is left of it:
//!
//! | fault | reads until the crash | after [`FaultyStore::reopen`] | the caller hears |
//! |---|---|---|---|
//! | [`Fault::Refuse`] | nothing of it | nothing of it | an error |
//! | [`Fault::Lose`] | all of it | nothing of it: it was never synced | an error |
//! | [`Fault::LoseAnswer`] | all of it | all of it: the crash came after the sync | an error |
//!
//! As in every engine the first failure sticks: no commit passes before the store is opened again.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use super::keys::Key;
use super::{AllItems, Commit, Items, Mark, Outcome, Rows, Store, StoreError, reads_pass_through};

/// What happens to a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It is refused before anything is written: a full disk, a write error.
    Refuse,
    /// It is written and lost before it is durable: a power cut before the sync.
    Lose,
    /// It is durable, and nobody hears of it: a crash between the sync and the answer.
    LoseAnswer,
}

/// A store around another, with faults set for some of its groups.
#[derive(Debug)]
pub struct FaultyStore<S> {
    state: Mutex<State<S>>,
}

#[derive(Debug)]
struct State<S> {
    /// What reads see.
    shown: S,
    /// What is left after a crash, where that is less.
    durable: Option<S>,
    /// Groups committed or failed so far.
    groups: u64,
    faults: BTreeMap<u64, Fault>,
    failed: Option<StoreError>,
}

impl<S: Store + Clone> FaultyStore<S> {
    /// Without faults yet.
    pub fn new(store: S) -> FaultyStore<S> {
        let state = State { shown: store, durable: None, groups: 0, faults: BTreeMap::new(), failed: None };
        FaultyStore { state: Mutex::new(state) }
    }

    /// Sets a fault for the group that comes after `groups` others from here.
    pub fn inject(&self, fault: Fault, groups: u64) {
        let mut state = self.state();
        let number = state.groups + groups;
        state.faults.insert(number, fault);
    }

    /// Takes back all faults that are still to come.
    pub fn heal(&self) {
        self.state().faults.clear();
    }

    /// The process starts again: what was not durable is gone, and commits pass again.
    pub fn reopen(&self) {
        let mut state = self.state();
        if let Some(durable) = state.durable.take() {
            state.shown = durable;
        }
        state.failed = None;
    }

    /// What a crash at this moment would leave.
    pub fn durable(&self) -> S {
        let state = self.state();
        state.durable.as_ref().unwrap_or(&state.shown).clone()
    }

    /// A scan of what a crash at this moment would leave, without a copy of all of it.
    pub fn scan_durable(&self, prefix: &[u8], after: Option<&Key>, limit: usize) -> Result<Rows, StoreError> {
        let state = self.state();
        state.durable.as_ref().unwrap_or(&state.shown).scan(prefix, after, limit)
    }

    /// A log as a crash at this moment would leave it.
    pub fn back_durable(&self, log: &Key, before: Option<Mark>, limit: usize) -> Result<Items, StoreError> {
        let state = self.state();
        state.durable.as_ref().unwrap_or(&state.shown).back(log, before, limit)
    }

    /// Groups committed or failed so far.
    pub fn groups(&self) -> u64 {
        self.state().groups
    }

    fn state(&self) -> MutexGuard<'_, State<S>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S: Store + Clone> Store for FaultyStore<S> {
    fn commit(&self, group: &[Commit]) -> Result<Vec<Outcome>, StoreError> {
        let mut state = self.state();
        if let Some(error) = &state.failed {
            return Err(error.clone());
        }
        let number = state.groups;
        state.groups += 1;
        let Some(fault) = state.faults.remove(&number) else { return state.shown.commit(group) };
        match fault {
            Fault::Refuse => {}
            Fault::Lose => {
                state.durable = Some(state.shown.clone());
                state.shown.commit(group)?;
            }
            Fault::LoseAnswer => {
                state.shown.commit(group)?;
            }
        }
        let error = StoreError::Failed { doing: "committing a group", cause: format!("injected: {fault:?}") };
        state.failed = Some(error.clone());
        Err(error)
    }

    fn get(&self, key: &Key) -> Result<Option<Vec<u8>>, StoreError> {
        self.state().shown.get(key)
    }

    fn scan(&self, prefix: &[u8], after: Option<&Key>, limit: usize) -> Result<Rows, StoreError> {
        self.state().shown.scan(prefix, after, limit)
    }

    fn scan_back(&self, prefix: &[u8], before: Option<&Key>, limit: usize) -> Result<Rows, StoreError> {
        self.state().shown.scan_back(prefix, before, limit)
    }

    fn back(&self, log: &Key, before: Option<Mark>, limit: usize) -> Result<Items, StoreError> {
        self.state().shown.back(log, before, limit)
    }

    fn items(&self, after: Option<Mark>, limit: usize) -> Result<AllItems, StoreError> {
        self.state().shown.items(after, limit)
    }

    fn divide_logs(&self, keep_from: Option<Mark>) -> Result<Mark, StoreError> {
        self.state().shown.divide_logs(keep_from)
    }

    fn health(&self) -> Result<(), StoreError> {
        self.state().failed.clone().map_or(Ok(()), Err)
    }
}

/// A store whose disk can stop answering: commits wait until it is thawed, reads go on.
pub struct FreezingStore {
    store: Arc<dyn Store>,
    frozen: Mutex<bool>,
    thawed: Condvar,
}

impl FreezingStore {
    /// Around a store; not frozen yet.
    pub fn new(store: Arc<dyn Store>) -> FreezingStore {
        FreezingStore { store, frozen: Mutex::default(), thawed: Condvar::new() }
    }
    /// From here on commits do not return.
    pub fn freeze(&self) {
        *self.frozen() = true;
    }
    /// Those that wait, and all others, return.
    pub fn thaw(&self) {
        *self.frozen() = false;
        self.thawed.notify_all();
    }
    fn frozen(&self) -> MutexGuard<'_, bool> {
        self.frozen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store for FreezingStore {
    fn commit(&self, group: &[Commit]) -> Result<Vec<Outcome>, StoreError> {
        let waited = self.thawed.wait_while(self.frozen(), |frozen| *frozen);
        drop(waited.unwrap_or_else(PoisonError::into_inner));
        self.store.commit(group)
    }
    reads_pass_through!(self => self.store);
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::store::conformance;
    use crate::store::memory::MemoryStore;
    use crate::store::{Precondition, Write};

    fn put(key: &str, value: &str) -> Commit {
        let key = Key(key.into());
        Commit { preconditions: vec![Precondition::Absent(key.clone())], writes: vec![Write::Put(key, value.into())] }
    }
    fn shown(store: &FaultyStore<MemoryStore>) -> Vec<String> {
        let rows = store.scan(&[], None, 100).unwrap();
        rows.into_iter().map(|(key, _)| String::from_utf8(key.0).unwrap()).collect()
    }

    #[test]
    fn without_faults_it_is_the_store_that_it_wraps() {
        conformance::check(|| FaultyStore::new(MemoryStore::new()));
    }

    #[test]
    fn each_fault_leaves_what_it_says() {
        let cases: [(Fault, &[&str], &[&str]); 3] = [
            (Fault::Refuse, &["a"], &["a"]),
            (Fault::Lose, &["a", "b"], &["a"]),
            (Fault::LoseAnswer, &["a", "b"], &["a", "b"]),
        ];
        for (fault, before_crash, after_crash) in cases {
            let store = FaultyStore::new(MemoryStore::new());
            store.inject(fault, 1);
            store.commit(&[put("a", "1")]).unwrap();
            store.commit(&[put("b", "2")]).unwrap_err();
            assert_eq!(shown(&store), before_crash, "{fault:?} before the crash");
            assert_eq!(store.durable().len(), after_crash.len(), "{fault:?} at the crash");
            let left = store.scan_durable(&[], None, 100).unwrap();
            assert_eq!(left.len(), after_crash.len(), "{fault:?} at the crash, without a copy");
            store.reopen();
            assert_eq!(shown(&store), after_crash, "{fault:?} after the crash");
        }
    }

    #[test]
    fn a_failure_sticks_until_the_store_is_opened_again() {
        let store = FaultyStore::new(MemoryStore::new());
        store.inject(Fault::Refuse, 0);
        store.commit(&[put("a", "1")]).unwrap_err();
        store.commit(&[put("a", "1")]).unwrap_err();
        assert!(store.health().is_err());
        store.reopen();
        assert!(store.health().is_ok());
        assert_eq!(store.commit(&[put("a", "1")]).unwrap(), [Outcome::Committed]);
    }
}
