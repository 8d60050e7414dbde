//! Customers' values, sealed on the way to the disk and opened on the way back.
//!
//! Deleted bytes stay in the files of every engine for a while, in backups for longer. So what belongs to
//! a customer is sealed with a key of their own, and to erase them is to destroy that key.
//!
//! Who writes says whose a value is, in its envelope ([`super::codec::belong_to`]); [`SealedStore`] is
//! around the engine and seals those values with AES-256-GCM, the store's key and the envelope's head as
//! associated data: a value cannot be moved to another place or passed for another one's. A value whose
//! key is destroyed reads as erased.
//!
//! | file | what it holds |
//! |---|---|
//! | `vault` | the customers' keys in memory: found, made, replaced, destroyed |
//! | `file` | the keys on disk, wrapped by the master key |
//! | `cipher` | one value or key, sealed and opened |

mod cipher;
mod file;
#[cfg(test)]
mod tests;
mod vault;

use std::path::Path;
use std::sync::Arc;

pub use vault::{Subject, Vault};

use hearthway_core::id::{ProfileId, RetailerId};

use super::codec::{self, FLAG_SEALED, NOT_SEALED, Schema};
use super::keys::{self, Key};
use super::{AllItems, Commit, Items, Mark, Outcome, Precondition, Rows, Store, StoreError, Write};
use cipher::Cipher;

/// What the master key gives for sealing.
pub struct SealingSecrets {
    /// Wraps the customers' keys in their file.
    pub wrapping: [u8; 32],
    /// Hides the names that stand in keys of the store.
    pub blinding: [u8; 32],
}

/// Bytes of a name that is hidden.
pub const BLIND_BYTES: usize = 15;

/// A name that must not stand in a key of the store, as it stands there: nobody without the master key
/// can tell whose it is. Where nothing is sealed it is a plain hash, and only of a fixed width.
pub fn blind(store: &dyn Store, parts: &[&[u8]]) -> [u8; BLIND_BYTES] {
    match store.vault() {
        Some(vault) => vault.blind(parts),
        None => {
            let hash = hearthway_core::id::derive_bytes("name", parts);
            *hash.first_chunk().expect("a hash is longer than 15 bytes")
        }
    }
}

/// The hidden name of a person, by which rows about them stand.
pub fn hidden_name(store: &dyn Store, retailer: &RetailerId, profile: &ProfileId) -> [u8; BLIND_BYTES] {
    blind(store, &[b"profile", retailer.as_str().as_bytes(), profile.as_str().as_bytes()])
}

/// A store around another, that seals what belongs to customers.
pub struct SealedStore {
    inner: Arc<dyn Store>,
    vault: Vault,
}

/// Whether a file of keys may be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Making {
    /// Where neither the file nor a store that had one is there.
    Allowed,
    /// Never: somebody only reads.
    Refused,
}

impl SealedStore {
    /// Opens the customers' keys of a store. A file that is missing or of another store is told, and never
    /// made anew beside values that it may have sealed.
    pub fn open(
        inner: Arc<dyn Store>,
        path: &Path,
        secrets: SealingSecrets,
        making: Making,
    ) -> Result<Arc<dyn Store>, StoreError> {
        let place = keys::keys_file();
        let known: Option<file::FileId> =
            inner.get(&place)?.map(|bytes| codec::decode(Schema::KeysFile, &place, &bytes)).transpose()?;
        if known.is_none() && making == Making::Refused {
            // Nothing of this store was ever sealed.
            return Ok(inner);
        }
        let vault = Vault::open(path, secrets, known)?;
        if known.is_none() {
            let writes = vec![Write::Put(place, codec::encode(Schema::KeysFile, &vault.file_id()))];
            inner.commit(&[Commit { preconditions: Vec::new(), writes }])?;
        }
        Ok(Arc::new(SealedStore { inner, vault }))
    }

    /// The commits of a group as they are stored, and of those that cannot be, which key is in the way: it was
    /// destroyed meanwhile, and the same again goes under a new one. They alone are refused.
    fn sealed(&self, group: &[Commit]) -> Result<(Vec<Commit>, Vec<Option<Key>>), StoreError> {
        let mut seal = Sealing { vault: &self.vault, last: None, place: Vec::new() };
        let (mut commits, mut late) = (Vec::with_capacity(group.len()), Vec::with_capacity(group.len()));
        for commit in group {
            match self.sealed_commit(commit, &mut seal)? {
                Ok(commit) => {
                    commits.push(commit);
                    late.push(None);
                }
                Err(TooLate(key)) => late.push(Some(key)),
            }
        }
        Ok((commits, late))
    }

    fn sealed_commit(&self, commit: &Commit, seal: &mut Sealing<'_>) -> Result<Result<Commit, TooLate>, StoreError> {
        let mut writes = Vec::with_capacity(commit.writes.len());
        for write in &commit.writes {
            let sealed = match write {
                Write::Put(key, value) => seal.value(key, value)?.map(|value| Write::Put(key.clone(), value)),
                Write::Append(log, item) => seal.value(log, item)?.map(|item| Write::Append(log.clone(), item)),
                Write::Delete(key) => Ok(Write::Delete(key.clone())),
            };
            match sealed {
                Ok(write) => writes.push(write),
                Err(late) => return Ok(Err(late)),
            }
        }
        let preconditions = commit.preconditions.iter().map(|precondition| self.as_stored(precondition));
        Ok(Ok(Commit { preconditions: preconditions.collect::<Result<_, _>>()?, writes }))
    }

    /// The same value is sealed to other bytes each time: what must stand there is what stands there now,
    /// if it opens to the value that is meant.
    fn as_stored(&self, precondition: &Precondition) -> Result<Precondition, StoreError> {
        if let Precondition::Equals(key, wanted) = precondition
            && codec::key_of(wanted) != NOT_SEALED
            && let Some(raw) = self.inner.get(key)?
            && self.vault.opened(key, raw.clone())? == *wanted
        {
            return Ok(Precondition::Equals(key.clone(), raw));
        }
        Ok(precondition.clone())
    }

    fn opened(&self, rows: Rows) -> Result<Rows, StoreError> {
        rows.into_iter().map(|(key, value)| self.vault.opened(&key, value).map(|value| (key, value))).collect()
    }
}

fn is_for_somebody(commit: &Commit) -> bool {
    let is_theirs = |bytes: &Vec<u8>| codec::key_of(bytes) != NOT_SEALED;
    commit.writes.iter().any(|write| match write {
        Write::Put(_, bytes) | Write::Append(_, bytes) => is_theirs(bytes),
        Write::Delete(_) => false,
    }) || commit.preconditions.iter().any(|precondition| match precondition {
        Precondition::Equals(_, bytes) => is_theirs(bytes),
        Precondition::Absent(_) => false,
    })
}

/// Seals the values of a group; those of one customer come together.
struct Sealing<'v> {
    vault: &'v Vault,
    last: Option<(codec::KeyId, Cipher)>,
    place: Vec<u8>,
}

/// The key of a value was destroyed before it was written, at this place.
struct TooLate(Key);

impl Sealing<'_> {
    fn value(&mut self, key: &Key, value: &[u8]) -> Result<Result<Vec<u8>, TooLate>, StoreError> {
        let id = codec::key_of(value);
        if id == NOT_SEALED || codec::flags_of(value) != 0 {
            return Ok(Ok(value.to_vec()));
        }
        let cipher = match &self.last {
            Some((known, cipher)) if *known == id => cipher,
            _ => match self.vault.sealing_cipher(id) {
                Some(cipher) => &self.last.insert((id, cipher)).1,
                None => return Ok(Err(TooLate(key.clone()))),
            },
        };
        cipher.seal(key, value, self.vault.nonce(), &mut self.place).map(Ok)
    }
}

impl Store for SealedStore {
    fn commit(&self, group: &[Commit]) -> Result<Vec<Outcome>, StoreError> {
        if !group.iter().any(is_for_somebody) {
            return self.inner.commit(group);
        }
        let (sealed, late) = self.sealed(group)?;
        // A key is on disk before the first value that is sealed with it.
        self.vault.write_down()?;
        let mut outcomes = self.inner.commit(&sealed)?.into_iter();
        let opened = late.into_iter().map(|late| match late {
            Some(key) => Ok(Outcome::Conflict { current: self.get(&key)?, key }),
            None => match outcomes.next() {
                Some(Outcome::Conflict { key, current: Some(value) }) => {
                    let current = Some(self.vault.opened(&key, value)?);
                    Ok(Outcome::Conflict { key, current })
                }
                Some(outcome) => Ok(outcome),
                None => Err(StoreError::Failed { doing: "committing", cause: "an outcome is missing".to_owned() }),
            },
        });
        opened.collect()
    }
    fn get(&self, key: &Key) -> Result<Option<Vec<u8>>, StoreError> {
        self.inner.get(key)?.map(|value| self.vault.opened(key, value)).transpose()
    }
    fn scan(&self, prefix: &[u8], after: Option<&Key>, limit: usize) -> Result<Rows, StoreError> {
        self.opened(self.inner.scan(prefix, after, limit)?)
    }
    fn scan_back(&self, prefix: &[u8], before: Option<&Key>, limit: usize) -> Result<Rows, StoreError> {
        self.opened(self.inner.scan_back(prefix, before, limit)?)
    }
    fn back(&self, log: &Key, before: Option<Mark>, limit: usize) -> Result<Items, StoreError> {
        let items = self.inner.back(log, before, limit)?;
        items.into_iter().map(|(mark, item)| Ok((mark, self.vault.opened(log, item)?))).collect()
    }
    fn items(&self, after: Option<Mark>, limit: usize) -> Result<AllItems, StoreError> {
        let items = self.inner.items(after, limit)?;
        let opened = items.into_iter().map(|(mark, log, item)| {
            let item = self.vault.opened(&log, item)?;
            Ok((mark, log, item))
        });
        opened.collect()
    }
    fn divide_logs(&self, keep_from: Option<Mark>) -> Result<Mark, StoreError> {
        self.inner.divide_logs(keep_from)
    }
    fn health(&self) -> Result<(), StoreError> {
        self.inner.health()
    }
    fn vault(&self) -> Option<&Vault> {
        Some(&self.vault)
    }
}

/// Whether bytes are sealed: as an engine has them, not as [`SealedStore`] gives them.
pub fn is_sealed(bytes: &[u8]) -> bool {
    codec::flags_of(bytes) & FLAG_SEALED != 0
}
