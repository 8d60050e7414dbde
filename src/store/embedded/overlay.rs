//! Rows that are durable in the journal and not yet in the database.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use super::super::keys::Key;
use super::super::range::Range;
use super::super::{Rows, StoreError};

/// The last write of each key; none removes it.
#[derive(Debug, Default)]
pub(super) struct Overlay {
    pub(super) rows: BTreeMap<Key, Option<Vec<u8>>>,
    /// Bytes of all keys and values, with what the map itself needs.
    pub(super) bytes: usize,
}

/// Bytes of a row beside its key and value: two vectors, the map's nodes, the allocator.
const ROW_OVERHEAD_BYTES: usize = 100;

impl Overlay {
    /// Takes a write.
    pub(super) fn set(&mut self, key: &[u8], value: Option<&[u8]>) {
        let new = value.map_or(0, <[u8]>::len);
        if let Some(known) = self.rows.get_mut(key) {
            self.bytes = self.bytes + new - known.as_ref().map_or(0, Vec::len);
            match (known, value) {
                // Records keep their size more or less: their place is used again.
                (Some(known), Some(value)) => {
                    known.clear();
                    known.extend_from_slice(value);
                }
                (known, value) => *known = value.map(<[u8]>::to_vec),
            }
            return;
        }
        self.bytes += key.len() + new + ROW_OVERHEAD_BYTES;
        self.rows.insert(Key(key.to_vec()), value.map(<[u8]>::to_vec));
    }
}

/// What is shown: the database under the writes of the last turn of the journal under those of
/// this one.
#[derive(Debug, Default)]
pub(super) struct Shown {
    pub(super) active: Overlay,
    pub(super) behind: Option<Arc<Overlay>>,
}

impl Shown {
    /// The last write of a key, if it is not in the database yet.
    pub(super) fn get(&self, key: &Key) -> Option<Option<&Vec<u8>>> {
        let written = self.active.rows.get(key);
        let written = written.or_else(|| self.behind.as_ref().and_then(|behind| behind.rows.get(key)));
        written.map(Option::as_ref)
    }

    /// The first rows of a range; `read` reads the first ones of the database.
    pub(super) fn first(
        &self,
        (mut from, to): Range,
        limit: usize,
        read: impl Fn(Range, usize) -> Result<Rows, StoreError>,
    ) -> Result<Rows, StoreError> {
        let mut found = Rows::new();
        while found.len() < limit {
            let page = read((from.clone(), to.clone()), limit)?;
            let whole = page.len() < limit;
            let end = match page.last() {
                Some((last, _)) if !whole => Bound::Included(last.0.clone()),
                _ => to.clone(),
            };
            let merged = self.merge((from, end.clone()), page);
            found.extend(merged);
            if whole {
                break;
            }
            let Bound::Included(last) = end else { break };
            from = Bound::Excluded(last);
        }
        found.truncate(limit);
        Ok(found)
    }

    /// The last rows of a range, the last first; `read` reads the last ones of the database.
    pub(super) fn last(
        &self,
        (from, mut to): Range,
        limit: usize,
        read: impl Fn(Range, usize) -> Result<Rows, StoreError>,
    ) -> Result<Rows, StoreError> {
        let mut found = Rows::new();
        while found.len() < limit {
            let page = read((from.clone(), to.clone()), limit)?;
            let whole = page.len() < limit;
            let start = match page.last() {
                Some((first, _)) if !whole => Bound::Included(first.0.clone()),
                _ => from.clone(),
            };
            let merged = self.merge((start.clone(), to), page);
            found.extend(merged.into_iter().rev());
            if whole {
                break;
            }
            let Bound::Included(first) = start else { break };
            to = Bound::Excluded(first);
        }
        found.truncate(limit);
        Ok(found)
    }

    /// Rows of the database under the writes of a range, in order.
    fn merge(&self, (from, to): Range, page: Rows) -> Rows {
        let range = (from.map(Key), to.map(Key));
        if is_empty(&range) {
            return page;
        }
        let mut merged: BTreeMap<Key, Vec<u8>> = page.into_iter().collect();
        let behind = self.behind.as_ref().map(|behind| behind.rows.range(range.clone()));
        for (key, value) in behind.into_iter().flatten().chain(self.active.rows.range(range)) {
            match value {
                Some(value) => drop(merged.insert(key.clone(), value.clone())),
                None => drop(merged.remove(key)),
            }
        }
        merged.into_iter().collect()
    }
}

/// A range that a sorted map would refuse: it is upside down, or excludes its only key.
fn is_empty(range: &(Bound<Key>, Bound<Key>)) -> bool {
    match range {
        (Bound::Excluded(from), Bound::Excluded(to)) => from >= to,
        (Bound::Included(from) | Bound::Excluded(from), Bound::Included(to) | Bound::Excluded(to)) => from > to,
        _ => false,
    }
}
