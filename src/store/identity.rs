//! Whose a data directory is, and how far its database must have got: kept beside the database,
//! so that a database that lost its contents cannot pass for a fresh one.
//!
//! ```text
//! lock            held while the store is open
//! identity.json   which store and gateway; written once, replaced whole
//! watermark       groups that are durable for certain; overwritten after each group, not synced
//! rows/           the database
//! ```
//!
//! The watermark is written after the group is durable, so it never promises too much: after a
//! power cut it may stand lower than the database, never higher.

use std::fs::{self, File, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use hearthway_core::time::Timestamp;
use serde::{Deserialize, Serialize};

use super::StoreError;

/// Names one store among all: random, drawn when the directory is made.
pub(super) type StoreId = [u8; 16];

const FORMAT: &str = "hearthway-store";
const VERSION: u32 = 1;
const LOCK: &str = "lock";
const IDENTITY: &str = "identity.json";
const IDENTITY_NEW: &str = "identity.json.new";
const WATERMARK: &str = "watermark";
const ROWS: &str = "rows";
/// Tries for the lock, a second altogether.
const LOCK_TRIES: usize = 50;
/// Between two tries.
const LOCK_AGAIN: Duration = Duration::from_millis(20);
/// What a directory may hold and still count as empty.
const NOTHING: [&str; 3] = [LOCK, IDENTITY_NEW, "lost+found"];

const HELP_LOST: &str = "Nothing was made anew in its place. Move the directory aside, restore the last backup into an empty one, and point the gateway there";
const HELP_FOREIGN: &str = "Name an empty directory, or the one that this gateway has used before";

/// What `identity.json` says.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Identity {
    format: String,
    version: u32,
    /// The store's id, in hexadecimal.
    store: String,
    gateway: Option<String>,
    created_at: Option<String>,
    /// False until the database stands; nothing was ever acknowledged before.
    ready: bool,
}

/// A data directory that this process holds.
#[derive(Debug)]
pub(super) struct Directory {
    path: PathBuf,
    identity: Identity,
    store: StoreId,
    watermark: u64,
    watermark_file: Option<File>,
    _lock: File,
}

impl Directory {
    /// Locks a directory and reads who it is; makes it where there is nothing.
    pub(super) fn open(
        path: &Path,
        gateway: Option<&str>,
        created_at: Option<Timestamp>,
    ) -> Result<Directory, StoreError> {
        let io = |doing: &'static str| move |error: io::Error| unreadable(path, doing, &error);
        make_directory(path).map_err(io("making the directory"))?;
        let found = read_identity(path)?;
        if found.is_none()
            && let Some(name) = first_entry(path).map_err(io("listing the directory"))?
        {
            let cause = format!("it holds `{name}` and no `{IDENTITY}`, so it is not a data directory of this gateway");
            return Err(unusable(path, cause, HELP_FOREIGN));
        }
        let lock = take_lock(path)?;
        let identity = match found {
            Some(identity) => identity,
            None => {
                let mut store = StoreId::default();
                getrandom::fill(&mut store)
                    .map_err(|error| unreadable(path, "drawing an id for the store", &io::Error::other(error)))?;
                let identity = Identity {
                    format: FORMAT.to_owned(),
                    version: VERSION,
                    store: data_encoding::HEXLOWER.encode(&store),
                    gateway: gateway.map(str::to_owned),
                    created_at: created_at.map(|at| at.to_string()),
                    ready: false,
                };
                write_identity(path, &identity).map_err(io("writing the identity"))?;
                identity
            }
        };
        if let (Some(ours), Some(theirs)) = (gateway, identity.gateway.as_deref())
            && ours != theirs
        {
            let cause = format!("it belongs to the gateway `{theirs}`, and this one is `{ours}`");
            return Err(unusable(path, cause, HELP_FOREIGN));
        }
        let store = data_encoding::HEXLOWER.decode(identity.store.as_bytes()).ok();
        let store = store.and_then(|bytes| StoreId::try_from(bytes).ok());
        let store = store.ok_or_else(|| unusable(path, format!("`{IDENTITY}` names no store"), HELP_LOST))?;
        let mut directory =
            Directory { path: path.to_owned(), identity, store, watermark: 0, watermark_file: None, _lock: lock };
        directory.read_watermark()?;
        Ok(directory)
    }

    /// Whether the database has yet to be made.
    pub(super) fn is_new(&self) -> bool {
        !self.identity.ready
    }

    /// Says that the database stands: from here on it must be there.
    pub(super) fn ready(&mut self) -> Result<(), StoreError> {
        self.identity.ready = true;
        write_identity(&self.path, &self.identity).map_err(|error| self.unreadable("writing the identity", &error))
    }

    pub(super) fn rows_path(&self) -> PathBuf {
        self.path.join(ROWS)
    }

    pub(super) fn store_id(&self) -> StoreId {
        self.store
    }

    /// Groups that were durable for certain when the store was last open.
    pub(super) fn watermark(&self) -> u64 {
        self.watermark
    }

    /// Notes that so many groups are durable.
    pub(super) fn raise_watermark(&self, generation: u64) -> io::Result<()> {
        let Some(mut file) = self.watermark_file.as_ref() else { return Ok(()) };
        file.seek(SeekFrom::Start(0))?;
        file.write_all(&watermark_bytes(&self.store, generation))
    }

    fn read_watermark(&mut self) -> Result<(), StoreError> {
        let doing = "reading the watermark";
        let options = File::options().read(true).write(true).create(true).truncate(false).clone();
        let file = options.open(self.path.join(WATERMARK));
        let mut file = file.map_err(|error| self.unreadable(doing, &error))?;
        let mut bytes = Vec::new();
        (&mut file).take(64).read_to_end(&mut bytes).map_err(|error| self.unreadable(doing, &error))?;
        if !bytes.is_empty() {
            self.watermark = parse_watermark(&self.store, &bytes).ok_or_else(|| {
                let help = "If the database is known to be whole, remove that file and start again";
                unusable(&self.path, format!("the file `{WATERMARK}` is damaged or of another store"), help)
            })?;
        }
        self.watermark_file = Some(file);
        Ok(())
    }

    /// The directory lost something that it had.
    pub(super) fn lost(&self, cause: String) -> StoreError {
        unusable(&self.path, cause, HELP_LOST)
    }

    /// What the journal holds could not be written behind: the disk is full, or the database damaged.
    pub(super) fn not_recovered(&self, cause: String) -> StoreError {
        unusable(&self.path, cause, &format!("If the disk is full, make room and start again. Else: {HELP_LOST}"))
    }

    /// The system refused something.
    pub(super) fn unreadable(&self, doing: &str, error: &io::Error) -> StoreError {
        unreadable(&self.path, doing, error)
    }
}

/// Makes the entries of a directory durable.
pub(super) fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

fn make_directory(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)?;
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => sync_directory(parent),
        _ => Ok(()),
    }
}

fn first_entry(path: &Path) -> io::Result<Option<String>> {
    for entry in fs::read_dir(path)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if !NOTHING.contains(&name.as_str()) {
            return Ok(Some(name));
        }
    }
    Ok(None)
}

/// Takes the lock, waiting a moment for who is about to let go: a process that has ended, or one that
/// was started by its holder and has not yet begun, with the holder's files still open.
fn take_lock(path: &Path) -> Result<File, StoreError> {
    let lock = File::options().write(true).create(true).truncate(false).open(path.join(LOCK));
    let lock = lock.map_err(|error| unreadable(path, "opening the lock", &error))?;
    for _ in 0..LOCK_TRIES {
        match lock.try_lock() {
            Ok(()) => return Ok(lock),
            Err(TryLockError::WouldBlock) => std::thread::sleep(LOCK_AGAIN),
            Err(TryLockError::Error(error)) => return Err(unreadable(path, "taking the lock", &error)),
        }
    }
    let help = "Stop the other process, or give this one a directory of its own";
    Err(unusable(path, "another process has it open".to_owned(), help))
}

fn read_identity(path: &Path) -> Result<Option<Identity>, StoreError> {
    let text = match fs::read(path.join(IDENTITY)) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(unreadable(path, "reading the identity", &error)),
    };
    let identity: Identity = serde_json::from_slice(&text)
        .map_err(|error| unusable(path, format!("`{IDENTITY}` is damaged: {error}"), HELP_LOST))?;
    if identity.format != FORMAT || identity.version != VERSION {
        let cause = format!(
            "it is `{}` of version {}, and this release reads `{FORMAT}` of version {VERSION}",
            identity.format, identity.version
        );
        return Err(unusable(path, cause, "Start the release that wrote it"));
    }
    Ok(Some(identity))
}

fn write_identity(path: &Path, identity: &Identity) -> io::Result<()> {
    let mut text = serde_json::to_vec_pretty(identity)?;
    text.push(b'\n');
    let new = path.join(IDENTITY_NEW);
    let mut file = File::create(&new)?;
    file.write_all(&text)?;
    file.sync_all()?;
    fs::rename(&new, path.join(IDENTITY))?;
    sync_directory(path)
}

fn watermark_bytes(store: &StoreId, generation: u64) -> [u8; 28] {
    let mut bytes = [0; 28];
    bytes[..16].copy_from_slice(store);
    bytes[16..24].copy_from_slice(&generation.to_be_bytes());
    let crc = crc32fast::hash(&bytes[..24]);
    bytes[24..].copy_from_slice(&crc.to_be_bytes());
    bytes
}

fn parse_watermark(store: &StoreId, bytes: &[u8]) -> Option<u64> {
    let generation = u64::from_be_bytes(bytes.get(16..24)?.try_into().ok()?);
    (bytes == watermark_bytes(store, generation)).then_some(generation)
}

fn unusable(path: &Path, cause: String, help: &str) -> StoreError {
    StoreError::Unusable { path: path.to_owned(), cause, help: help.to_owned() }
}

fn unreadable(path: &Path, doing: &str, error: &io::Error) -> StoreError {
    unusable(path, format!("{doing}: {error}"), "Check the path, its owner and its permissions, and the disk")
}
