#![allow(clippy::unwrap_used)]
use super::*;
use crate::store::{Write, conformance};

/// A small cache, so that pages are read from the file too.
fn options() -> SledOptions {
    SledOptions { cache_bytes: 1024 * 1024, ..SledOptions::default() }
}
fn open(path: &Path) -> Result<SledStore, StoreError> {
    SledStore::open(path, options())
}

/// A store in a directory that goes with it.
struct Temporary(SledStore, #[expect(dead_code, reason = "it removes the directory when dropped")] tempfile::TempDir);

impl Temporary {
    fn new() -> Temporary {
        let directory = tempfile::tempdir().unwrap();
        Temporary(open(&directory.path().join("store")).unwrap(), directory)
    }
}

impl Store for Temporary {
    fn commit(&self, group: &[Commit]) -> Result<Vec<Outcome>, StoreError> {
        self.0.commit(group)
    }
    fn get(&self, key: &Key) -> Result<Option<Vec<u8>>, StoreError> {
        self.0.get(key)
    }
    fn scan(&self, prefix: &[u8], after: Option<&Key>, limit: usize) -> Result<Rows, StoreError> {
        self.0.scan(prefix, after, limit)
    }
    fn scan_back(&self, prefix: &[u8], before: Option<&Key>, limit: usize) -> Result<Rows, StoreError> {
        self.0.scan_back(prefix, before, limit)
    }
    fn health(&self) -> Result<(), StoreError> {
        self.0.health()
    }
}

#[test]
fn sled_conforms() {
    conformance::check(Temporary::new);
}

#[test]
fn what_was_committed_is_there_after_reopening() {
    let directory = tempfile::tempdir().unwrap();
    conformance::check_reopening(|| open(directory.path()).unwrap());
}
