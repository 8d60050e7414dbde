//! The store: one trait, one conformance suite for all engines.
//!
//! A [`Commit`] is atomic, a group of commits is durable together: when [`Store::commit`]
//! returns, all of it is on disk. A failed precondition rejects its commit alone. Reads are
//! never unbounded.

pub mod backup;
pub mod codec;
pub mod conformance;
pub mod embedded;
pub mod faults;
mod group;
mod guarded;
mod identity;
pub mod keys;
pub mod memory;
mod range;
pub mod sealed;
mod sled;
mod tally;
mod upgrades;

use std::sync::Arc;

use keys::Key;
use sealed::Vault;

/// Writes of one household (or one document) that happen together or not at all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Commit {
    /// What must hold of the store as it is, else the commit is refused.
    pub preconditions: Vec<Precondition>,
    /// What is written, in order.
    pub writes: Vec<Write>,
}

impl Commit {
    /// Whether an engine would take its keys and values. An engine refuses a whole group for one
    /// commit that fails here, so whoever forms groups asks before.
    pub fn check(&self) -> Result<(), StoreError> {
        self.writes.iter().try_for_each(|write| match write {
            Write::Put(key, value) if value.len() >= VALUE_BYTES_MAX => {
                Err(StoreError::TooLarge { key: key.to_string(), bytes: value.len() })
            }
            Write::Append(log, item) if item.len() > ITEM_BYTES_MAX => {
                Err(StoreError::TooLarge { key: log.to_string(), bytes: item.len() })
            }
            Write::Put(key, _) | Write::Delete(key) | Write::Append(key, _) => key_is_ours(key),
        })
    }
}

fn key_is_ours(key: &Key) -> Result<(), StoreError> {
    let cause = match key.0.first() {
        None => "it has no table",
        Some(&keys::table::ENGINE) => "its table belongs to the engine",
        Some(_) if key.0.len() > KEY_BYTES_MAX => "it is longer than the store keeps",
        Some(_) => return Ok(()),
    };
    Err(StoreError::BadKey { key: key.to_string(), cause })
}

/// What must hold before a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Precondition {
    /// Nothing stands at the key.
    Absent(Key),
    /// Exactly this stands at the key.
    Equals(Key, Vec<u8>),
}

/// One write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Write {
    /// Puts a value; it must be shorter than [`VALUE_BYTES_MAX`].
    Put(Key, Vec<u8>),
    /// Removes a key, if it is there.
    Delete(Key),
    /// Adds an item of at most [`ITEM_BYTES_MAX`] to the end of a log. Logs have names of their
    /// own: a row may have the key of a log.
    Append(Key, Vec<u8>),
}

/// Where an item stands: later items of one log have greater marks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mark(pub u64);

/// Items of a log, the newest first.
pub type Items = Vec<(Mark, Vec<u8>)>;

/// Items of all logs, the oldest first, each with its log.
pub type AllItems = Vec<(Mark, Key, Vec<u8>)>;

/// What became of one commit of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It is on disk.
    Committed,
    /// A precondition failed; what stands at that key.
    Conflict {
        /// The key.
        key: Key,
        /// Its value now.
        current: Option<Vec<u8>>,
    },
}

/// Bytes of one value. sled keeps larger ones in files that it never syncs.
pub const VALUE_BYTES_MAX: usize = 64 * 1024;
/// Bytes of one item of a log: a message of the largest size with all its traces, or a household.
pub const ITEM_BYTES_MAX: usize = 1024 * 1024;
/// Bytes of one key: four names of 64 with numbers fit, and index nodes stay small.
pub const KEY_BYTES_MAX: usize = 384;
/// Rows that one scan returns at most.
pub const SCAN_ROWS_MAX: usize = 10_000;

/// Rows of a scan, in key order.
pub type Rows = Vec<(Key, Vec<u8>)>;

/// Why the store could not do it.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// A write failed; nothing is acknowledged until the store is opened again.
    #[error("the store failed while {doing}: {cause}")]
    Failed {
        /// What it was doing.
        doing: &'static str,
        /// What went wrong.
        cause: String,
    },
    /// The directory cannot be used as it is.
    #[error("the data directory `{path}` cannot be opened: {cause}. {help}")]
    Unusable {
        /// The directory.
        path: std::path::PathBuf,
        /// What is wrong.
        cause: String,
        /// How to go on.
        help: String,
    },
    /// The customers' keys cannot be used.
    #[error("the customers' keys `{path}` cannot be used: {cause}. {help}")]
    KeysUnusable {
        /// Their file.
        path: std::path::PathBuf,
        /// What is wrong.
        cause: String,
        /// How to go on.
        help: String,
    },
    /// A value was sealed with a customer's key, and that key was destroyed. Whoever goes through many
    /// values goes on with the next.
    #[error("the value at {key} was erased: the customer's key that it was sealed with is destroyed")]
    Erased {
        /// Where.
        key: String,
    },
    /// A value cannot be read.
    #[error("the value at {key} cannot be read: {cause}")]
    Corrupt {
        /// Where.
        key: String,
        /// What is wrong.
        cause: String,
    },
    /// A value is longer than the store keeps safely.
    #[error(
        "{bytes} bytes at {key} are more than the store keeps safely: a value has below {VALUE_BYTES_MAX}, an item of a log {ITEM_BYTES_MAX} at most"
    )]
    TooLarge {
        /// Where.
        key: String,
        /// How long it is.
        bytes: usize,
    },
    /// A key that no value may stand at.
    #[error("the key {key} cannot be written: {cause}")]
    BadKey {
        /// The key.
        key: String,
        /// What is wrong with it.
        cause: &'static str,
    },
}

/// A store engine. One of the three seams of the simulation.
pub trait Store: Send + Sync + 'static {
    /// Commits a group; returns only when all of it is durable. Later commits of the group see
    /// the earlier ones. A commit that fails [`Commit::check`] refuses its group before anything
    /// is written; after any other error the store refuses every commit until it is opened again.
    fn commit(&self, group: &[Commit]) -> Result<Vec<Outcome>, StoreError>;
    /// One value.
    fn get(&self, key: &Key) -> Result<Option<Vec<u8>>, StoreError>;
    /// At most `limit` rows (and at most [`SCAN_ROWS_MAX`]) whose keys begin with `prefix`, in
    /// order, starting after `after` where given.
    fn scan(&self, prefix: &[u8], after: Option<&Key>, limit: usize) -> Result<Rows, StoreError>;
    /// The same, last key first, starting before `before` where given.
    fn scan_back(&self, prefix: &[u8], before: Option<&Key>, limit: usize) -> Result<Rows, StoreError>;
    /// At most `limit` items (and at most [`SCAN_ROWS_MAX`]) of a log, the newest first, starting
    /// before `before` where given. An engine may let the oldest items of all logs go.
    fn back(&self, log: &Key, before: Option<Mark>, limit: usize) -> Result<Items, StoreError>;
    /// At most `limit` items (and at most [`SCAN_ROWS_MAX`]) of all logs in the order in which they
    /// joined them, starting after `after` where given, and with the oldest that is left where
    /// that one is gone. Items of one commit may come on two pages.
    fn items(&self, after: Option<Mark>, limit: usize) -> Result<AllItems, StoreError>;
    /// Begins a new piece of all logs: what joins them from here on goes apart from what came before. Gives
    /// the mark that it begins at, and lets items before another mark go as far as whole pieces go.
    fn divide_logs(&self, keep_from: Option<Mark>) -> Result<Mark, StoreError>;
    /// Whether writes are possible, and why not.
    fn health(&self) -> Result<(), StoreError>;
    /// The customers' keys; none where nothing is sealed.
    fn vault(&self) -> Option<&Vault> {
        None
    }
}

/// The reads of a store that is around another: they pass through.
macro_rules! reads_pass_through {
    ($self:ident => $store:expr) => {
        fn get(&$self, key: &Key) -> Result<Option<Vec<u8>>, StoreError> {
            $store.get(key)
        }
        fn scan(&$self, prefix: &[u8], after: Option<&Key>, limit: usize) -> Result<Rows, StoreError> {
            $store.scan(prefix, after, limit)
        }
        fn scan_back(&$self, prefix: &[u8], before: Option<&Key>, limit: usize) -> Result<Rows, StoreError> {
            $store.scan_back(prefix, before, limit)
        }
        fn back(&$self, log: &Key, before: Option<Mark>, limit: usize) -> Result<Items, StoreError> {
            $store.back(log, before, limit)
        }
        fn items(&$self, after: Option<Mark>, limit: usize) -> Result<AllItems, StoreError> {
            $store.items(after, limit)
        }
        fn divide_logs(&$self, keep_from: Option<Mark>) -> Result<Mark, StoreError> {
            $store.divide_logs(keep_from)
        }
        fn health(&$self) -> Result<(), StoreError> {
            $store.health()
        }
        fn vault(&$self) -> Option<&crate::store::sealed::Vault> {
            $store.vault()
        }
    };
}
pub(crate) use reads_pass_through;

impl<S: Store + ?Sized> Store for Arc<S> {
    fn commit(&self, group: &[Commit]) -> Result<Vec<Outcome>, StoreError> {
        (**self).commit(group)
    }
    reads_pass_through!(self => (**self));
}
