//! Rows of documents, tokens and the like: read, scan whole tables page by page, write.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Failure;
use crate::engine::Engine;
use crate::engine::rows::{unless_erased, walk};
use crate::store::codec::{self, Schema};
use crate::store::keys::Key;
use crate::store::{Commit, Outcome, Precondition, Store, StoreError, Write};

/// One value, if it is there.
pub fn get<T: DeserializeOwned>(store: &dyn Store, schema: Schema, key: &Key) -> Result<Option<T>, StoreError> {
    match store.get(key)? {
        Some(bytes) => unless_erased(codec::decode(schema, key, &bytes)),
        None => Ok(None),
    }
}

/// Every row below a prefix, in order, without holding them all.
pub fn each(
    store: &dyn Store,
    prefix: &[u8],
    mut row: impl FnMut(&Key, &[u8]) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    walk(store, prefix, |key, bytes| row(key, bytes).map(|()| true))
}

/// A write of one value.
pub fn put<T: Serialize>(schema: Schema, key: Key, value: &T) -> Write {
    Write::Put(key, codec::encode(schema, value))
}

/// Commits writes that nothing has to hold for.
pub async fn write(engine: &Engine, writes: Vec<Write>) -> Result<(), Failure> {
    commit(engine, Vec::new(), writes).await
}

/// Commits writes under preconditions; a failed one is a conflict.
pub async fn commit(engine: &Engine, preconditions: Vec<Precondition>, writes: Vec<Write>) -> Result<(), Failure> {
    match engine.write(Commit { preconditions, writes }).await? {
        Outcome::Committed => Ok(()),
        Outcome::Conflict { .. } => {
            Err(Failure::Conflict("somebody else wrote this at the same moment; read it again and repeat".into()))
        }
    }
}

/// The first `count` names of a key, after its table byte.
pub fn names(key: &Key, count: usize) -> Vec<String> {
    let parts = key.0.get(1..).unwrap_or_default().splitn(count + 1, |byte| *byte == 0);
    parts.take(count).map(|part| String::from_utf8_lossy(part).into_owned()).collect()
}
