//! From a file into an empty store, and the proof afterwards that the store holds what the file does.

use std::collections::BTreeMap;
use std::io::Read;

use sha2::{Digest, Sha256};

use super::file::{Reader, Record};
use super::{BackupError, Counts};
use crate::store::keys::Key;
use crate::store::{Commit, Mark, Store, StoreError, Write};

/// Bytes of one group: large enough that syncs do not count.
const GROUP_BYTES: usize = 4 * 1024 * 1024;
/// Rows or items that are read back at once.
const PAGE: usize = 256;

/// What must stand in the store afterwards. A row's share in `sum` can be taken out again when a
/// later record replaces it, which a hash over all rows in order would not permit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Contents {
    rows: u64,
    sum: u128,
    items: u64,
    items_hash: [u8; 32],
}

/// Restores all of a backup into an empty store. `told` hears now and then how far it is. What is
/// to be compared afterwards, with the store opened again, is in the result.
pub fn restore(
    reader: &mut Reader<impl Read>,
    store: &impl Store,
    mut told: impl FnMut(Counts),
) -> Result<Expected, BackupError> {
    if !store.scan(&[], None, 1)?.is_empty() || !store.items(None, 1)?.is_empty() {
        return Err(BackupError::NotTheSame("the store was not empty before".to_owned()));
    }
    let mut contents = Contents::default();
    let mut items_hash = Sha256::new();
    let (mut rows, mut items, mut bytes) = (BTreeMap::new(), Vec::new(), 0);
    while let Some(record) = reader.next_record()? {
        match record {
            Record::Put(key, value) => {
                bytes += key.0.len() + value.len();
                rows.insert(key, Some(value));
            }
            Record::Delete(key) => {
                bytes += key.0.len();
                rows.insert(key, None);
            }
            Record::Item(log, item) => {
                bytes += log.0.len() + item.len();
                contents.items += 1;
                hash_item(&mut items_hash, &log, &item);
                items.push(Write::Append(log, item));
            }
        }
        if bytes >= GROUP_BYTES {
            write(store, &mut contents, std::mem::take(&mut rows), std::mem::take(&mut items))?;
            bytes = 0;
            told(reader.counts());
        }
    }
    write(store, &mut contents, rows, items)?;
    contents.items_hash = items_hash.finalize().into();
    Ok(Expected(contents))
}

/// What the restored store must hold.
#[derive(Debug)]
pub struct Expected(Contents);

impl Expected {
    /// Reads all of the store and compares: what counts is what it gives back.
    pub fn compare(&self, store: &impl Store) -> Result<(), BackupError> {
        let found = contents_of(store)?;
        let differs = |what: &str, wanted: u64, found: u64| {
            Err(BackupError::NotTheSame(format!("{found} {what} stand in the store, and {wanted} should")))
        };
        match &self.0 {
            wanted if wanted.rows != found.rows => differs("rows", wanted.rows, found.rows),
            wanted if wanted.items != found.items => differs("items of the logs", wanted.items, found.items),
            wanted if wanted != &found => Err(BackupError::NotTheSame("the store holds other values".to_owned())),
            _ => Ok(()),
        }
    }

    /// How many rows and items of logs there are.
    pub fn rows_and_items(&self) -> (u64, u64) {
        (self.0.rows, self.0.items)
    }
}

fn write(
    store: &impl Store,
    contents: &mut Contents,
    rows: BTreeMap<Key, Option<Vec<u8>>>,
    items: Vec<Write>,
) -> Result<(), StoreError> {
    let mut writes = items;
    for (key, value) in rows {
        if let Some(before) = store.get(&key)? {
            contents.rows -= 1;
            contents.sum = contents.sum.wrapping_sub(share(&key, &before));
        }
        writes.push(match value {
            Some(value) => {
                contents.rows += 1;
                contents.sum = contents.sum.wrapping_add(share(&key, &value));
                Write::Put(key, value)
            }
            None => Write::Delete(key),
        });
    }
    store.commit(&[Commit { preconditions: Vec::new(), writes }]).map(drop)
}

fn contents_of(store: &impl Store) -> Result<Contents, StoreError> {
    let mut contents = Contents::default();
    let mut after: Option<Key> = None;
    loop {
        let page = store.scan(&[], after.as_ref(), PAGE)?;
        let Some((last, _)) = page.last() else { break };
        after = Some(last.clone());
        contents.rows += page.len() as u64;
        contents.sum = page.iter().fold(contents.sum, |sum, (key, value)| sum.wrapping_add(share(key, value)));
    }
    let mut hash = Sha256::new();
    let mut after: Option<Mark> = None;
    loop {
        let page = store.items(after, PAGE)?;
        let Some((last, ..)) = page.last() else { break };
        after = Some(*last);
        contents.items += page.len() as u64;
        page.iter().for_each(|(_, log, item)| hash_item(&mut hash, log, item));
    }
    contents.items_hash = hash.finalize().into();
    Ok(contents)
}

fn share(key: &Key, value: &[u8]) -> u128 {
    let hash = Sha256::new().chain_update((key.0.len() as u64).to_le_bytes()).chain_update(&key.0).chain_update(value);
    let hash: [u8; 32] = hash.finalize().into();
    u128::from_le_bytes(*hash.first_chunk().expect("16 of 32 bytes"))
}

fn hash_item(hash: &mut Sha256, log: &Key, item: &[u8]) {
    for part in [&log.0, item] {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
}
