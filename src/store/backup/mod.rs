//! Backup and restore, for every engine alike: all rows and all items of the logs, in one file.
//!
//! ```text
//! "hearthway-backup" | version u32 | record … | the record that ends it
//! record: kind u8 | key bytes u16 | value bytes u32 | crc32 u32 | key | value
//! ```
//!
//! Numbers are little-endian. A record's checksum begins with its number, so that a record that is
//! missing, twice there or moved does not pass. The last record holds the counts and a SHA-256
//! over everything before it; nothing follows it.
//!
//! | file | what it holds |
//! |---|---|
//! | `file` | records, written and read |
//! | `watched` | a store in use that tells a backup what changes meanwhile |
//! | `take` | from a store into a file |
//! | `restore` | from a file into an empty store, compared afterwards |

mod file;
mod restore;
mod take;
#[cfg(test)]
mod tests;
mod watched;

use hearthway_core::time::Timestamp;
use serde::{Deserialize, Serialize};

pub use file::{Reader, Record, read_all};
pub use restore::restore;
pub use take::take;
pub use watched::Watched;

use super::StoreError;

/// What a backup says of itself before its first row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// The gateway that it is of, by the fingerprint of its master key.
    pub gateway: String,
    /// When it was begun, by that gateway's clock.
    pub made_at: String,
    /// The release that made it.
    pub release: String,
}

impl Header {
    /// Of a backup that this release makes.
    pub fn new(gateway: String, at: Timestamp) -> Header {
        Header { gateway, made_at: at.to_string(), release: env!("CARGO_PKG_VERSION").to_owned() }
    }
}

/// What a backup holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Records that put or remove a row. A row that changed while the backup was made is there
    /// more than once; the last one counts.
    pub rows: u64,
    /// Items of the logs.
    pub items: u64,
    /// Bytes of all keys and values.
    pub bytes: u64,
}

/// Why there is no backup, or why it cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// It is something else.
    #[error("it is no backup of Hearthway: it does not begin with `hearthway-backup`")]
    Foreign,
    /// It was made by a later release.
    #[error("it is a backup of format {found}, and this release reads format {known}; use the release that made it")]
    Newer {
        /// What it says.
        found: u32,
        /// What is understood here.
        known: u32,
    },
    /// Bytes of it have changed.
    #[error("it is damaged at byte {at} (record {record}): {cause}; take another copy of it, or an older backup")]
    Damaged {
        /// Where.
        at: u64,
        /// In which record, counted from 0.
        record: u64,
        /// What does not fit.
        cause: &'static str,
    },
    /// Its end is missing.
    #[error("it ends at byte {at} in the middle, after {records} records: it was cut short; take another copy of it")]
    CutShort {
        /// How long it is.
        at: u64,
        /// Whole records before.
        records: u64,
    },
    /// The gateway that made it could not end it.
    #[error("the gateway gave up while making it: {0}")]
    GivenUp(String),
    /// Another one is being made.
    #[error("another backup is being made; wait for its end")]
    Busy,
    /// Whoever takes it in is slower than the gateway is.
    #[error(
        "more than {} MiB changed while one part of it was on its way: write it to a faster disk, or at a quieter hour",
        watched::CAPTURED_BYTES_MAX >> 20
    )]
    TooSlow,
    /// What was restored is not what the file holds.
    #[error("after restoring, {0}; nothing was put in place")]
    NotTheSame(String),
    /// A store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A file failed.
    #[error("{doing}: {cause}")]
    Io {
        /// What was being done.
        doing: &'static str,
        /// What the system said.
        cause: std::io::Error,
    },
}

/// Turns what the system said into an error.
fn io(doing: &'static str) -> impl Fn(std::io::Error) -> BackupError {
    move |cause| BackupError::Io { doing, cause }
}
