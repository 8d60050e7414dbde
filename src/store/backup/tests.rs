#![allow(clippy::unwrap_used)]
use std::sync::Arc;

use super::*;
use crate::store::keys::{self, Key};
use crate::store::memory::MemoryStore;
use crate::store::{Commit, Store, Write, conformance};

fn header() -> Header {
    Header { gateway: "gw_1".into(), made_at: "2026-11-23T00:00:00Z".into(), release: "0.1.0".into() }
}
fn key(n: u32) -> Key {
    Key([&[keys::table::HOUSEHOLD], n.to_be_bytes().as_slice()].concat())
}
/// A commit as the gateway's are: a row written over, an item for its log; now and then a row goes.
fn commit(store: &impl Store, n: u32) {
    let mut writes = vec![
        Write::Put(key(n % 700), n.to_be_bytes().repeat(20)),
        Write::Append(key(n % 50), n.to_be_bytes().repeat(10)),
    ];
    if n.is_multiple_of(5) {
        writes.push(Write::Delete(key((n + 350) % 700)));
    }
    store.commit(&[Commit { preconditions: vec![], writes }]).unwrap();
}
fn filled(commits: u32) -> (MemoryStore, Watched) {
    let memory = Arc::new(MemoryStore::new());
    (0..commits).for_each(|n| commit(&memory, n));
    ((*memory).clone(), Watched::new(memory))
}
fn backup(store: &Watched) -> Vec<u8> {
    let mut file = Vec::new();
    let counts = take(store, &header(), &mut file, |_| {}).unwrap();
    assert_eq!(read_all(&*file).unwrap(), (header(), counts));
    file
}
fn restored(file: &[u8]) -> MemoryStore {
    let store = MemoryStore::new();
    let expected = restore(&mut Reader::open(file).unwrap(), &store, |_| {}).unwrap();
    expected.compare(&store).unwrap();
    store
}
fn same(one: &MemoryStore, other: &MemoryStore) {
    assert_eq!(one.scan(&[], None, 10_000).unwrap(), other.scan(&[], None, 10_000).unwrap());
    let items = |store: &MemoryStore| -> Vec<_> {
        let items = store.items(None, 10_000).unwrap().into_iter();
        items.map(|(_, log, item)| (log, item)).collect()
    };
    assert_eq!(items(one), items(other));
}

#[test]
fn a_watched_store_is_the_store_that_it_wraps() {
    conformance::check(|| Watched::new(Arc::new(MemoryStore::new())));
}

#[test]
fn what_is_backed_up_comes_back_with_its_logs_in_order() {
    for commits in [0, 1, 255, 256, 257, 3_000] {
        let (before, store) = filled(commits);
        same(&before, &restored(&backup(&store)));
    }
}

/// A reader that lets commits pass while the backup is on its way to it.
struct Meanwhile<'a> {
    file: &'a mut Vec<u8>,
    store: &'a Watched,
    n: &'a mut u32,
}

impl std::io::Write for Meanwhile<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        // Far apart enough that the backup comes to its end.
        if *self.n < 9_000 && self.file.len().is_multiple_of(7) {
            commit(self.store, *self.n);
            *self.n += 1;
        }
        self.file.extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_backup_in_use_is_of_one_moment() {
    let memory = Arc::new(MemoryStore::new());
    (0..2_000).for_each(|n| commit(&memory, n));
    let store = Watched::new(memory.clone());
    let (mut file, mut n) = (Vec::new(), 2_000);
    take(&store, &header(), Meanwhile { file: &mut file, store: &store, n: &mut n }, |_| {}).unwrap();
    assert!(n > 2_500, "hardly anything changed meanwhile: {n}");
    let restored = restored(&file);
    let moment = restored.items(None, 10_000).unwrap().len() as u32;
    assert!(moment > 2_400, "it ends with what had changed until its end: {moment} of {n}");
    let expected = MemoryStore::new();
    (0..moment).for_each(|n| commit(&expected, n));
    same(&expected, &restored);
}

#[test]
fn one_backup_at_a_time() {
    let (_, store) = filled(10);
    let watching = store.watch().unwrap();
    assert!(matches!(take(&store, &header(), Vec::new(), |_| {}), Err(BackupError::Busy)));
    drop(watching);
    backup(&store);
}

#[test]
fn a_reader_that_is_too_slow_is_told_and_costs_no_memory() {
    let (_, store) = filled(10);
    let watching = store.watch().unwrap();
    let value = vec![7; 60 * 1024];
    for n in 0..1_200 {
        let writes = vec![Write::Put(key(n), value.clone())];
        store.commit(&[Commit { preconditions: vec![], writes }]).unwrap();
    }
    assert!(matches!(watching.changed(), Err(BackupError::TooSlow)));
    drop(watching);
    backup(&store);
}

#[test]
fn a_backup_cut_anywhere_is_refused() {
    let (_, store) = filled(40);
    let file = backup(&store);
    for length in 0..file.len() {
        match read_all(&file[..length]) {
            Err(BackupError::Foreign) => assert!(length < 16),
            Err(BackupError::CutShort { at, .. }) => assert!(at == length as u64 && length >= 16),
            other => panic!("{length} of {} bytes: {other:?}", file.len()),
        }
    }
}

#[test]
fn a_backup_with_any_bit_flipped_is_refused() {
    let (_, store) = filled(20);
    let file = backup(&store);
    for at in 0..file.len() {
        for bit in [0, 3, 7] {
            let mut flipped = file.clone();
            flipped[at] ^= 1 << bit;
            let said = read_all(&*flipped).expect_err("a flipped bit passes").to_string();
            assert!(["damaged", "no backup", "format", "cut short"].iter().any(|word| said.contains(word)), "{said}");
        }
    }
}

#[test]
fn records_that_are_missing_twice_there_or_moved_are_damage() {
    let (_, store) = filled(6);
    let file = backup(&store);
    let mut starts = vec![20];
    while let Some(head) = file.get(*starts.last().unwrap()..).filter(|rest| !rest.is_empty()) {
        let key = usize::from(u16::from_le_bytes([head[1], head[2]]));
        let value = u32::from_le_bytes([head[3], head[4], head[5], head[6]]) as usize;
        starts.push(starts.last().unwrap() + 11 + key + value);
    }
    let record = |n: usize| &file[starts[n]..starts[n + 1]];
    let records = starts.len() - 1;
    for n in 1..records - 1 {
        let without = [&file[..starts[n]], &file[starts[n + 1]..]].concat();
        let twice = [&file[..starts[n + 1]], record(n), &file[starts[n + 1]..]].concat();
        assert!(matches!(read_all(&*without), Err(BackupError::Damaged { .. })), "record {n} of {records} is missing");
        assert!(matches!(read_all(&*twice), Err(BackupError::Damaged { .. })), "record {n} of {records} twice");
    }
    let more = [&file[..], b"\0"].concat();
    assert!(read_all(&*more).unwrap_err().to_string().contains("something follows the end"));
}

#[test]
fn what_is_no_backup_and_what_is_from_the_future_is_told_apart() {
    let (_, store) = filled(3);
    let mut file = backup(&store);
    let said = |file: &[u8]| read_all(file).unwrap_err().to_string();
    assert!(said(b"PK\x03\x04 a photo album of the sea").contains("it is no backup of Hearthway"));
    assert!(said(b"").contains("it is no backup of Hearthway"));
    file[16] = 2;
    assert!(said(&file).contains("format 2, and this release reads format 1"), "{}", said(&file));
}

#[test]
fn a_store_that_fails_ends_the_backup_with_its_reason_in_the_file() {
    let (_, store) = filled(10);
    let watching = store.watch().unwrap();
    let mut file = Vec::new();
    let writer = file::Writer::begin(&mut file, &header()).unwrap();
    writer.give_up(&BackupError::TooSlow);
    drop(watching);
    assert!(matches!(read_all(&*file), Err(BackupError::GivenUp(why)) if why.contains("faster disk")));
}

#[test]
fn a_store_that_is_not_what_the_file_holds_is_told() {
    let (_, store) = filled(300);
    let file = backup(&store);
    let restored = MemoryStore::new();
    let expected = restore(&mut Reader::open(&*file).unwrap(), &restored, |_| {}).unwrap();
    let differing = |writes: Vec<Write>| {
        let other = restored.clone();
        other.commit(&[Commit { preconditions: vec![], writes }]).unwrap();
        expected.compare(&other).unwrap_err().to_string()
    };
    assert!(differing(vec![Write::Delete(key(7))]).contains("rows stand in the store"));
    assert!(differing(vec![Write::Put(key(7), b"other".to_vec())]).contains("other values"));
    assert!(differing(vec![Write::Append(key(7), b"more".to_vec())]).contains("items of the logs"));
    let twice = restore(&mut Reader::open(&*file).unwrap(), &restored, |_| {});
    assert!(twice.unwrap_err().to_string().contains("was not empty"));
}
