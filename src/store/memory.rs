//! The reference engine: a sorted map. It keeps nothing over a restart.

use std::collections::BTreeMap;
use std::sync::{PoisonError, RwLock, RwLockReadGuard};

use super::keys::Key;
use super::{AllItems, Commit, Items, Mark, Outcome, Rows, SCAN_ROWS_MAX, Store, StoreError, group, range};

/// A store in memory. A clone is a snapshot: it shares nothing with the original.
#[derive(Debug, Default)]
pub struct MemoryStore {
    kept: RwLock<Kept>,
}

#[derive(Debug, Clone, Default)]
struct Kept {
    rows: BTreeMap<Key, Vec<u8>>,
    /// Each item with the number of all items before it.
    logs: BTreeMap<Key, Vec<(Mark, Vec<u8>)>>,
    items: u64,
}

impl MemoryStore {
    /// An empty store.
    pub fn new() -> MemoryStore {
        MemoryStore::default()
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.read().rows.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.read().rows.is_empty()
    }

    /// Nothing panics while the lock is held but the allocator, so that a poisoned map is whole.
    fn read(&self) -> RwLockReadGuard<'_, Kept> {
        self.kept.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Clone for MemoryStore {
    fn clone(&self) -> MemoryStore {
        MemoryStore { kept: RwLock::new(self.read().clone()) }
    }
}

impl Store for MemoryStore {
    fn commit(&self, group: &[Commit]) -> Result<Vec<Outcome>, StoreError> {
        let mut kept = self.kept.write().unwrap_or_else(PoisonError::into_inner);
        let Kept { rows, logs, items } = &mut *kept;
        let staged = group::stage(group, |key| Ok(rows.get(key).cloned()))?;
        for (key, value) in staged.writes {
            match value {
                Some(value) => rows.insert(key.clone(), value.to_vec()),
                None => rows.remove(key),
            };
        }
        for (log, item) in staged.appends {
            *items += 1;
            logs.entry(log.clone()).or_default().push((Mark(*items), item.to_vec()));
        }
        Ok(staged.outcomes)
    }

    fn get(&self, key: &Key) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.read().rows.get(key).cloned())
    }

    fn scan(&self, prefix: &[u8], after: Option<&Key>, limit: usize) -> Result<Rows, StoreError> {
        let Some((from, to)) = range::forward(prefix, after) else { return Ok(Rows::new()) };
        let kept = self.read();
        let rows = kept.rows.range((from.map(Key), to.map(Key))).take(limit.min(SCAN_ROWS_MAX));
        Ok(rows.map(|(key, value)| (key.clone(), value.clone())).collect())
    }

    fn scan_back(&self, prefix: &[u8], before: Option<&Key>, limit: usize) -> Result<Rows, StoreError> {
        let Some((from, to)) = range::backward(prefix, before) else { return Ok(Rows::new()) };
        let kept = self.read();
        let rows = kept.rows.range((from.map(Key), to.map(Key))).rev().take(limit.min(SCAN_ROWS_MAX));
        Ok(rows.map(|(key, value)| (key.clone(), value.clone())).collect())
    }

    fn back(&self, log: &Key, before: Option<Mark>, limit: usize) -> Result<Items, StoreError> {
        let kept = self.read();
        let items = kept.logs.get(log).map_or(&[][..], Vec::as_slice);
        let end = before.map_or(items.len(), |before| items.partition_point(|(mark, _)| *mark < before));
        Ok(items[..end].iter().rev().take(limit.min(SCAN_ROWS_MAX)).cloned().collect())
    }

    fn items(&self, after: Option<Mark>, limit: usize) -> Result<AllItems, StoreError> {
        let kept = self.read();
        let mut found = AllItems::new();
        for (log, items) in &kept.logs {
            let start = after.map_or(0, |after| items.partition_point(|(mark, _)| *mark <= after));
            found.extend(items[start..].iter().take(limit).map(|(mark, item)| (*mark, log.clone(), item.clone())));
        }
        found.sort_unstable_by_key(|(mark, ..)| *mark);
        found.truncate(limit.min(SCAN_ROWS_MAX));
        Ok(found)
    }

    fn divide_logs(&self, keep_from: Option<Mark>) -> Result<Mark, StoreError> {
        let mut kept = self.kept.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(from) = keep_from {
            kept.logs.values_mut().for_each(|items| items.retain(|(mark, _)| *mark >= from));
        }
        Ok(Mark(kept.items + 1))
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
