//! Rows that are durable in the journal and not yet in the database: their keys, and where in the
//! journal their values stand.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::collections::{BTreeMap, HashMap};
use std::ops::{Bound, RangeBounds};
use std::sync::Arc;

use super::super::keys::{Key, table};
use super::super::range::Range;
use super::super::{Rows, StoreError};
use super::head_key;
use super::journal::{Halves, Place};

/// The last write of each key, and the last position of each log.
#[derive(Debug, Default)]
pub(super) struct Overlay {
    /// Rows that are hardly ever looked for in order.
    points: HashMap<Key, Value>,
    /// All others.
    sorted: BTreeMap<Key, Value>,
    /// The last position of each log, by its key.
    heads: HashMap<Box<[u8]>, u64>,
    /// Bytes of all keys and values, with what a row needs beside them: how long a turn is.
    pub(super) bytes: usize,
}

/// What a write leaves at its key: where its value stands; none removes it.
type Value = Option<Place>;

/// What a row of the overlay gives to the database.
#[derive(Clone, Copy)]
pub(super) enum Last {
    /// The row goes.
    Gone,
    /// Its value stands in the journal.
    At(Place),
    /// The position of a log's newest item.
    Head(u64),
}

impl Last {
    /// The value; none where the row goes.
    pub(super) fn value(self, halves: &Halves) -> Result<Option<Vec<u8>>, StoreError> {
        match self {
            Last::Gone => Ok(None),
            Last::At(place) => read(halves, place).map(Some),
            Last::Head(position) => Ok(Some(position.to_be_bytes().into())),
        }
    }
}

fn read(halves: &Halves, place: Place) -> Result<Vec<u8>, StoreError> {
    halves.read(place).map_err(|cause| StoreError::Failed { doing: "reading a row that waits", cause })
}

/// Bytes of a row beside its key and value, in the database as here.
const ROW_OVERHEAD_BYTES: usize = 100;
/// Every message writes a row of these tables, and the next message of the same home writes it
/// again. They are walked through only when the gateway starts or is backed up.
const POINT_TABLES: [u8; 3] = [table::HOUSEHOLD, table::ROUTE, table::TOLD];

fn is_point(key: &[u8]) -> bool {
    key.first().is_some_and(|table| POINT_TABLES.contains(table))
}

impl Overlay {
    /// Takes a write.
    pub(super) fn set(&mut self, key: &[u8], value: Value) {
        let bytes = |value: &Value| value.map_or(0, |place| place.bytes as usize);
        let known = if is_point(key) { self.points.get_mut(key) } else { self.sorted.get_mut(key) };
        if let Some(known) = known {
            self.bytes = self.bytes + bytes(&value) - bytes(known);
            *known = value;
            return;
        }
        self.bytes += key.len() + bytes(&value) + ROW_OVERHEAD_BYTES;
        let at = Key(key.to_vec());
        if is_point(key) {
            self.points.insert(at, value)
        } else {
            self.sorted.insert(at, value)
        };
    }

    /// Takes the position of a log's newest item.
    pub(super) fn set_head(&mut self, log: &[u8], position: u64) {
        if let Some(known) = self.heads.get_mut(log) {
            *known = position;
            return;
        }
        self.bytes += log.len() + size_of::<u64>() + ROW_OVERHEAD_BYTES;
        self.heads.insert(log.into(), position);
    }

    fn get(&self, key: &Key) -> Option<&Value> {
        if is_point(&key.0) { self.points.get(key) } else { self.sorted.get(key) }
    }

    /// All rows as the database gets them, sorted: neighbours of its tree are then written together.
    pub(super) fn rows(&self) -> Vec<(Cow<'_, Key>, Last)> {
        let heads = self.heads.iter().map(|(log, position)| (Cow::Owned(head_key(log)), Last::Head(*position)));
        let rows = self.points.iter().chain(&self.sorted);
        let rows = rows.map(|(key, value)| (Cow::Borrowed(key), value.map_or(Last::Gone, Last::At)));
        let mut all: Vec<_> = heads.chain(rows).collect();
        all.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        all
    }

    /// The rows of a range in order.
    fn range(&self, range: &(Bound<Key>, Bound<Key>)) -> InOrder<'_> {
        if is_empty(range) {
            return Box::new(std::iter::empty());
        }
        let sorted = self.sorted.range(range.clone());
        if !POINT_TABLES.iter().any(|table| may_hold(range, *table)) {
            return Box::new(sorted);
        }
        let points = self.points.iter().filter(|(key, _)| range.contains(*key));
        let mut rows: Vec<_> = points.chain(sorted).collect();
        rows.sort_unstable_by_key(|(key, _)| *key);
        Box::new(rows.into_iter())
    }
}

/// Whether a range may hold a key of a table.
fn may_hold((from, to): &(Bound<Key>, Bound<Key>), table: u8) -> bool {
    let first = |key: &Key| key.0.first().copied();
    let starts = match from {
        Bound::Included(key) | Bound::Excluded(key) => first(key).is_none_or(|first| first <= table),
        Bound::Unbounded => true,
    };
    let ends = match to {
        Bound::Included(key) | Bound::Excluded(key) => first(key).is_some_and(|first| first >= table),
        Bound::Unbounded => true,
    };
    starts && ends
}

/// What is shown: the database under the writes of the last turn of the journal under those of
/// this one. As long as it is held nothing that waits is written over.
#[derive(Debug)]
pub(super) struct Shown {
    pub(super) active: Overlay,
    pub(super) behind: Option<Arc<Overlay>>,
    halves: Arc<Halves>,
}

impl Shown {
    /// Nothing waits; what will, stands in these files.
    pub(super) fn new(halves: Arc<Halves>) -> Shown {
        Shown { active: Overlay::default(), behind: None, halves }
    }

    /// The last write of a key, if it is not in the database yet.
    pub(super) fn get(&self, key: &Key) -> Result<Option<Option<Vec<u8>>>, StoreError> {
        let written = self.active.get(key);
        let written = written.or_else(|| self.behind.as_ref().and_then(|behind| behind.get(key)));
        written.map(|value| value.map(|place| read(&self.halves, place)).transpose()).transpose()
    }

    /// The last position of a log, if it is not in the database yet.
    pub(super) fn head(&self, log: &[u8]) -> Option<u64> {
        let head = self.active.heads.get(log);
        head.or_else(|| self.behind.as_ref().and_then(|behind| behind.heads.get(log))).copied()
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
            merge(page, behind, active, Ord::cmp, limit, &mut found, &self.halves)?;
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
            merge(page, behind.rev(), active.rev(), |a, b| b.cmp(a), limit, &mut found, &self.halves)?;
            let Some(first) = more else { break };
            to = Bound::Excluded(first);
        }
        Ok(found)
    }

    /// The writes of a range: those of the turn before, those of this one.
    fn within(&self, (from, to): Range) -> (InOrder<'_>, InOrder<'_>) {
        let range = (from.map(Key), to.map(Key));
        let behind = self.behind.as_ref().map(|behind| behind.range(&range));
        (behind.unwrap_or_else(|| Box::new(std::iter::empty())), self.active.range(&range))
    }
}

/// Rows in order, from either end.
type InOrder<'a> = Box<dyn DoubleEndedIterator<Item = (&'a Key, &'a Value)> + 'a>;

/// Adds rows of the database under the writes of two turns, the newer of which counts, until there
/// are `limit`. All three are in the same order.
fn merge<'a>(
    page: Rows,
    behind: impl Iterator<Item = (&'a Key, &'a Value)>,
    active: impl Iterator<Item = (&'a Key, &'a Value)>,
    order: impl Fn(&Key, &Key) -> Ordering,
    limit: usize,
    found: &mut Rows,
    halves: &Halves,
) -> Result<(), StoreError> {
    let (mut page, mut behind, mut active) = (page.into_iter().peekable(), behind.peekable(), active.peekable());
    while found.len() < limit {
        let keys = [page.peek().map(|row| &row.0), behind.peek().map(|row| row.0), active.peek().map(|row| row.0)];
        let Some(key) = keys.into_iter().flatten().min_by(|a, b| order(a, b)).cloned() else { return Ok(()) };
        let stored = page.next_if(|(of, _)| *of == key).map(|(_, value)| value);
        let older = behind.next_if(|(of, _)| **of == key);
        let newer = active.next_if(|(of, _)| **of == key);
        let value = match newer.or(older) {
            Some((_, written)) => written.map(|place| read(halves, place)).transpose()?,
            None => stored,
        };
        found.extend(value.map(|value| (key, value)));
    }
    Ok(())
}

/// A range that a sorted map would refuse: it is upside down, or excludes its only key.
fn is_empty(range: &(Bound<Key>, Bound<Key>)) -> bool {
    match range {
        (Bound::Excluded(from), Bound::Excluded(to)) => from >= to,
        (Bound::Included(from) | Bound::Excluded(from), Bound::Included(to) | Bound::Excluded(to)) => from > to,
        _ => false,
    }
}
