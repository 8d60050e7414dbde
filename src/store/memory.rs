//! The reference engine: a sorted map. It keeps nothing over a restart.

use std::collections::BTreeMap;
use std::sync::{PoisonError, RwLock, RwLockReadGuard};

use super::keys::Key;
use super::{Commit, Outcome, Rows, SCAN_ROWS_MAX, Store, StoreError, group, range};

/// A store in memory. A clone is a snapshot: it shares nothing with the original.
#[derive(Debug, Default)]
pub struct MemoryStore {
    rows: RwLock<BTreeMap<Key, Vec<u8>>>,
}

impl MemoryStore {
    /// An empty store.
    pub fn new() -> MemoryStore {
        MemoryStore::default()
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.read().len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.read().is_empty()
    }

    /// Nothing panics while the lock is held but the allocator, so that a poisoned map is whole.
    fn read(&self) -> RwLockReadGuard<'_, BTreeMap<Key, Vec<u8>>> {
        self.rows.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Clone for MemoryStore {
    fn clone(&self) -> MemoryStore {
        MemoryStore { rows: RwLock::new(self.read().clone()) }
    }
}

impl Store for MemoryStore {
    fn commit(&self, group: &[Commit]) -> Result<Vec<Outcome>, StoreError> {
        let mut rows = self.rows.write().unwrap_or_else(PoisonError::into_inner);
        let staged = group::stage(group, |key| Ok(rows.get(key).cloned()))?;
        for (key, value) in staged.writes {
            match value {
                Some(value) => rows.insert(key.clone(), value.to_vec()),
                None => rows.remove(key),
            };
        }
        Ok(staged.outcomes)
    }

    fn get(&self, key: &Key) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.read().get(key).cloned())
    }

    fn scan(&self, prefix: &[u8], after: Option<&Key>, limit: usize) -> Result<Rows, StoreError> {
        let Some((from, to)) = range::forward(prefix, after) else { return Ok(Rows::new()) };
        let rows = self.read();
        let rows = rows.range((from.map(Key), to.map(Key))).take(limit.min(SCAN_ROWS_MAX));
        Ok(rows.map(|(key, value)| (key.clone(), value.clone())).collect())
    }

    fn scan_back(&self, prefix: &[u8], before: Option<&Key>, limit: usize) -> Result<Rows, StoreError> {
        let Some((from, to)) = range::backward(prefix, before) else { return Ok(Rows::new()) };
        let rows = self.read();
        let rows = rows.range((from.map(Key), to.map(Key))).rev().take(limit.min(SCAN_ROWS_MAX));
        Ok(rows.map(|(key, value)| (key.clone(), value.clone())).collect())
    }

    fn health(&self) -> Result<(), StoreError> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::store::{Write, conformance};

    #[test]
    fn the_reference_conforms() {
        conformance::check(MemoryStore::new);
    }

    #[test]
    fn a_clone_is_a_snapshot() {
        let store = MemoryStore::new();
        let snapshot = store.clone();
        let commit = Commit { preconditions: vec![], writes: vec![Write::Put(Key(vec![1]), vec![2])] };
        store.commit(&[commit]).unwrap();
        assert_eq!((store.len(), snapshot.len()), (1, 0));
    }
}
