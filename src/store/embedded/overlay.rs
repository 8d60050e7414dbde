//! Rows that are durable in the journal and not yet in the database.

use std::cmp::Ordering;
use std::collections::{BTreeMap, btree_map};
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
            let more = page.last().filter(|_| page.len() >= limit).map(|(last, _)| last.0.clone());
            let end = more.clone().map_or_else(|| to.clone(), Bound::Included);
            let (behind, active) = self.within((from, end));
            merge(page, behind, active, Ord::cmp, limit, &mut found);
            let Some(last) = more else { break };
            from = Bound::Excluded(last);
        }
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
            let more = page.last().filter(|_| page.len() >= limit).map(|(first, _)| first.0.clone());
            let start = more.clone().map_or_else(|| from.clone(), Bound::Included);
            let (behind, active) = self.within((start, to));
            merge(page, behind.rev(), active.rev(), |a, b| b.cmp(a), limit, &mut found);
            let Some(first) = more else { break };
            to = Bound::Excluded(first);
        }
        Ok(found)
    }

    /// The writes of a range: those of the turn before, those of this one.
    fn within(&self, (from, to): Range) -> (btree_map::Range<'_, Key, Value>, btree_map::Range<'_, Key, Value>) {
        let range = (from.map(Key), to.map(Key));
        if is_empty(&range) {
            return Default::default();
        }
        let behind = self.behind.as_ref().map(|behind| behind.rows.range(range.clone()));
        (behind.unwrap_or_default(), self.active.rows.range(range))
    }
}

/// What a write leaves at its key.
type Value = Option<Vec<u8>>;

/// Adds rows of the database under the writes of two turns, the newer of which counts, until there
/// are `limit`. All three are in the same order.
fn merge<'a>(
    page: Rows,
    behind: impl Iterator<Item = (&'a Key, &'a Value)>,
    active: impl Iterator<Item = (&'a Key, &'a Value)>,
    order: impl Fn(&Key, &Key) -> Ordering,
    limit: usize,
    found: &mut Rows,
) {
    let (mut page, mut behind, mut active) = (page.into_iter().peekable(), behind.peekable(), active.peekable());
    while found.len() < limit {
        let keys = [page.peek().map(|row| &row.0), behind.peek().map(|row| row.0), active.peek().map(|row| row.0)];
        let Some(key) = keys.into_iter().flatten().min_by(|a, b| order(a, b)).cloned() else { return };
        let stored = page.next_if(|(of, _)| *of == key).map(|(_, value)| value);
        let older = behind.next_if(|(of, _)| **of == key);
        let newer = active.next_if(|(of, _)| **of == key);
        let value = match newer.or(older) {
            Some((_, written)) => written.clone(),
            None => stored,
        };
        found.extend(value.map(|value| (key, value)));
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
