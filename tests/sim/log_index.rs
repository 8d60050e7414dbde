//! Which messages the input log holds, in what a crash would leave: read on from where the last
//! look ended, because the log only grows.

use std::collections::{BTreeMap, BTreeSet};

use hearthway::store::faults::FaultyStore;
use hearthway::store::keys::{Key, table};
use hearthway::store::memory::MemoryStore;
use hearthway_core::id::{DERIVED_BYTES, MessageId};

#[derive(Default)]
pub struct LogIndex {
    /// The last row seen of each household: the key without its number, and the whole key.
    ends: BTreeMap<Vec<u8>, Key>,
    /// Rows that carry each message id.
    rows: BTreeMap<String, usize>,
}

impl LogIndex {
    /// Whether a durable row carries a message id.
    pub fn holds(&mut self, store: &FaultyStore<MemoryStore>, id: &MessageId) -> bool {
        // A durable row stays: what was seen once need not be looked for again.
        self.rows.contains_key(id.as_str()) || self.rows_of(store, id) > 0
    }

    /// How many durable rows carry a message id.
    pub fn rows_of(&mut self, store: &FaultyStore<MemoryStore>, id: &MessageId) -> usize {
        self.read_on(store);
        self.rows.get(id.as_str()).copied().unwrap_or(0)
    }

    fn read_on(&mut self, store: &FaultyStore<MemoryStore>) {
        self.find_households(store);
        for (household, end) in &mut self.ends {
            for (key, value) in store.scan_durable(household, Some(end), usize::MAX).unwrap() {
                for id in ids_in(&value) {
                    *self.rows.entry(id).or_default() += 1;
                }
                *end = key;
            }
        }
    }

    /// Leaps from one household's rows to the next one's.
    fn find_households(&mut self, store: &FaultyStore<MemoryStore>) {
        let mut after = None;
        while let Some((key, _)) = store.scan_durable(&[table::INPUT], after.as_ref(), 1).unwrap().pop() {
            let household = key.0[..1 + DERIVED_BYTES].to_vec();
            let number = |byte: u8| Key(household.iter().copied().chain([byte; 8]).collect());
            after = Some(number(0xff));
            self.ends.entry(household.clone()).or_insert_with(|| number(0));
        }
    }
}

/// The message ids `m-<number>` in a row, each once. A text is stored with its length before it,
/// so that `m-1` is not found in `m-12`; nothing else of the row's form is known here.
fn ids_in(row: &[u8]) -> BTreeSet<String> {
    let starts = (1..row.len().saturating_sub(2)).filter(|at| row[*at..].starts_with(b"m-"));
    let ids = starts.filter_map(|at| {
        let id = row.get(at..at + usize::from(row[at - 1]))?;
        let is_id = id.len() > 2 && id[2..].iter().all(u8::is_ascii_digit);
        is_id.then(|| String::from_utf8_lossy(id).into_owned())
    });
    ids.collect()
}

#[test]
fn an_id_is_found_whole_and_once() {
    let row = b"\x01\x04m-12..\x03m-1\x04m-12m-7\x05m-1";
    assert_eq!(ids_in(row).into_iter().collect::<Vec<_>>(), ["m-1", "m-12"]);
    assert!(ids_in(b"").is_empty() && ids_in(b"m-").is_empty() && ids_in(b"\x02m-").is_empty());
}
