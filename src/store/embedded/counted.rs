//! What the rows of the database add up to, and what is noticed by it: rows that are written here
//! without being counted stand for pages that come back damaged.
#![allow(clippy::unwrap_used)]
use std::path::PathBuf;

use super::super::codec;
use super::super::sled::Counted;
use super::tests::{copy, filled, group, killed_at, refusal, row};
use super::*;
use crate::store::Write;

/// One turn holds all that a test writes.
fn options() -> EmbeddedOptions {
    EmbeddedOptions { log_file_bytes: 64 * 1024, ..EmbeddedOptions::default() }
}

/// Does something to the database of a closed store behind its back.
fn behind_its_back<T>(path: &Path, work: impl FnOnce(&SledRows) -> T) -> T {
    let directory = Directory::open(path, None, None).unwrap();
    work(&SledRows::open(&directory, 1024 * 1024).unwrap())
}

fn log() -> Key {
    Key(b"log".to_vec())
}

#[test]
fn a_row_that_is_missing_foreign_or_as_it_was_before_is_refused() {
    let origin = tempfile::tempdir().unwrap();
    filled(origin.path(), 300);
    let store = EmbeddedStore::open(origin.path(), options()).unwrap();
    store.commit(&[Commit { preconditions: vec![], writes: vec![Write::Append(log(), b"item".to_vec())] }]).unwrap();
    drop(store);
    let cases: [(Key, Option<&[u8]>, &str); 4] = [
        (row(7).0, None, "300 rows are in the database, and there were 301"),
        (row(7_000).0, Some(b"\0back again"), "302 rows are in the database, and there were 301"),
        (row(7).0, Some(b"\0as before"), "one or more of the 301 rows of the database are not as they were"),
        (head_key(&log().0), None, "300 rows are in the database, and there were 301"),
    ];
    for (key, bytes, expected) in cases {
        let image = tempfile::tempdir().unwrap();
        copy(origin.path(), image.path());
        behind_its_back(image.path(), |rows| rows.set_uncounted(&key, bytes));
        for _ in 0..2 {
            let said = refusal(image.path());
            assert!(said.contains(expected) && said.contains("restore the last backup"), "{said}");
        }
    }
    assert_eq!(EmbeddedStore::open(origin.path(), options()).unwrap().count_rows().unwrap(), 301);
}

#[test]
fn a_turn_that_is_cut_short_is_no_damage_and_hides_none() {
    // 0 to 200 stand; the turn writes 100 to 300, and 0 to 5 are written while that goes on.
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store");
    filled(&path, 200);
    let store = EmbeddedStore::open(&path, options()).unwrap();
    let other = |n: u32| (row(n).0, b"other".repeat(n as usize * 13));
    let put = |n: u32| Commit { preconditions: vec![], writes: vec![Write::Put(other(n).0, other(n).1)] };
    let gone = |n: u32| Commit { preconditions: vec![], writes: vec![Write::Delete(row(n).0)] };
    let turn: Vec<_> = (100..300).map(|n| if n % 10 == 0 { gone(n) } else { put(n) }).collect();
    store.commit(&turn).unwrap();
    store.commit(&[Commit { preconditions: vec![], writes: vec![Write::Append(log(), b"item".to_vec())] }]).unwrap();

    let inner = &store.inner;
    let reached = inner.reached(&inner.writer());
    let rows = Arc::new(std::mem::take(&mut inner.shown_mut().active));
    inner.shown_mut().behind = Some(Arc::clone(&rows));
    inner.writer().journal.turn();
    let mut images = Vec::new();
    let mut meanwhile = 0..5;
    let pause = || {
        store.commit(&meanwhile.next().map(put).into_iter().collect::<Vec<_>>()).unwrap();
        inner.rows.sync().unwrap();
        images.push((killed_at(&path), meanwhile.start));
    };
    inner.rows.write(&rows.rows(), |last| last.value(&inner.halves), reached, pause).unwrap();
    inner.shown_mut().behind = None;
    drop(store);

    let expected = |meanwhile: u32| -> Rows {
        let rows = (0..300).filter(|n| *n < 100 || n % 10 != 0);
        rows.map(|n| if n < meanwhile || n >= 100 { other(n) } else { row(n) }).collect()
    };
    let mut cut_short = Vec::new();
    for (image, meanwhile) in &images {
        let engine = behind_its_back(image.path(), |rows| rows.engine_row().unwrap().unwrap());
        let is_cut_short = engine.counted.until().is_some();
        if is_cut_short {
            cut_short.push(behind_its_back(image.path(), |rows| rows.get(&row(101).0).unwrap()) == Some(other(101).1));
        }
        let open = |damaged: Option<(Key, Option<&[u8]>)>| -> Result<Rows, String> {
            let copied = tempfile::tempdir().unwrap();
            copy(image.path(), copied.path());
            if let Some((key, bytes)) = damaged {
                behind_its_back(copied.path(), |rows| rows.set_uncounted(&key, bytes));
            }
            let store = EmbeddedStore::open(copied.path(), options()).map_err(|error| error.to_string())?;
            assert_eq!(store.back(&log(), None, 5).unwrap().len(), 1);
            drop(store);
            let again = EmbeddedStore::open(copied.path(), options()).unwrap();
            Ok(again.scan(b"n", None, usize::MAX).unwrap())
        };
        assert_eq!(open(None).unwrap(), expected(*meanwhile));
        // Left alone by the turn; the second is written by a group after it.
        for n in [50, 0] {
            assert!(open(Some((row(n).0, None))).unwrap_err().contains("rows are in the database"), "row {n}");
            assert!(open(Some((row(n).0, Some(b"\0old")))).unwrap_err().contains("not as they were"), "row {n}");
        }
        if is_cut_short {
            let rewritten = open(Some((row(201).0, Some(b"\0old"))));
            assert_eq!(rewritten.unwrap(), expected(*meanwhile), "the journal writes it again");
        }
    }
    assert!(cut_short.len() >= 3 && cut_short.contains(&true), "{cut_short:?}: the images miss the writing");
    assert_eq!(EmbeddedStore::open(&path, options()).unwrap().scan(b"n", None, usize::MAX).unwrap(), expected(5));
}

/// The engine's row as version 1 wrote it: the store's id, the group, the end of the logs.
fn engine_row_of_version_1(engine: EngineRow) -> Vec<u8> {
    let Reached { store, generation, logs_end } = engine.reached;
    let mut bytes = vec![codec::MAGIC, 16, 1, 0, 0, 0, 0, 0];
    bytes.extend(postcard::to_stdvec(&(store, generation, logs_end)).unwrap());
    let crc = crc32fast::hash(&bytes);
    [[0].as_slice(), &bytes, &crc.to_be_bytes()].concat()
}

#[test]
fn a_database_of_a_release_that_did_not_count_is_counted_when_it_is_opened() {
    let directory = tempfile::tempdir().unwrap();
    let path: PathBuf = directory.path().into();
    filled(&path, 100);
    behind_its_back(&path, |rows| {
        let old = engine_row_of_version_1(rows.engine_row().unwrap().unwrap());
        rows.set_uncounted(&Key(vec![table::ENGINE]), Some(&old));
        assert_eq!(rows.engine_row().unwrap().unwrap().counted, Counted::Unknown);
    });
    let store = EmbeddedStore::open(&path, options()).unwrap();
    assert_eq!(store.scan(b"n", None, 200).unwrap().len(), 100);
    store.commit(&group(100..110)).unwrap();
    drop(store);
    behind_its_back(&path, |rows| rows.set_uncounted(&row(7).0, None));
    let said = refusal(&path);
    assert!(said.contains("109 rows are in the database, and there were 110"), "{said}");
}
