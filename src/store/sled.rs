//! The embedded engine: sled 0.34.7, with a durability point of our own. This is the only file
//! that names sled.
//!
//! What sled leaves open, and what closes it here:
//! - Its flush writes and waits for the disk's queue, but never asks the disk to keep what it
//!   took. Every group therefore ends with `fdatasync` of the database file.
//! - A batch rolls its log twice, so a whole group is one batch.
//! - A page that outgrows a quarter of a segment goes to a file of its own that nobody syncs. A
//!   leaf splits by entries, not by bytes, so [`SEGMENT_BYTES`] is chosen that even a leaf full of
//!   the largest values stays inline; should such a file appear all the same, it is synced.
//! - It opens an empty database where files are missing, and panics on some damage.
//!   [`identity`](super::identity) says what must be there, and every call is behind
//!   `catch_unwind`.
//! - A failed batch may leave a part of itself in memory. Pages are read before the batch starts,
//!   so that damage shows before; after any failure nothing more is accepted.
//!
//! Reads may show a group that is applied and not yet durable; whoever acts on a read outside
//! the writer's thread must not publish what it has not heard committed.

use std::any::Any;
use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fmt;
use std::fs::{self, File};
use std::io;
use std::panic::{self, AssertUnwindSafe};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, Once, OnceLock, PoisonError, RwLock};
use std::time::Duration;

use hearthway_core::time::Timestamp;
use serde::{Deserialize, Serialize};

use super::codec::{self, Schema};
use super::identity::{Directory, StoreId, sync_directory};
use super::keys::{Key, table};
use super::{Commit, Outcome, Rows, SCAN_ROWS_MAX, Store, StoreError, group, range};

/// Bytes of one segment of sled's log. A page above a quarter of it leaves the log for a file
/// that is never synced. A leaf splits above 16 entries, and a merge can bring it to about 20, so
/// a quarter must hold 20 of the largest values with their keys: 1.3 MB. It is on disk: a
/// directory keeps the size it was made with.
pub const SEGMENT_BYTES: usize = 8 * 1024 * 1024;

/// Entries that a leaf holds at most while a merge is under way.
const LEAF_ENTRIES_MAX: usize = 24;

const _: () = assert!(LEAF_ENTRIES_MAX * (super::VALUE_BYTES_MAX + super::KEY_BYTES_MAX + 32) < SEGMENT_BYTES / 4);

/// How the store is opened.
#[derive(Debug, Clone)]
pub struct SledOptions {
    /// Bytes of pages kept in memory.
    pub cache_bytes: u64,
    /// The gateway that the directory belongs to: written into a new one, compared with an old.
    pub gateway: Option<String>,
    /// When a new directory is made, as the caller's clock says.
    pub created_at: Option<Timestamp>,
}

impl Default for SledOptions {
    /// 32 MiB of cache: the gateway keeps its households in memory itself.
    fn default() -> Self {
        SledOptions { cache_bytes: 32 * 1024 * 1024, gateway: None, created_at: None }
    }
}

/// The row by which the database knows whose it is and how far it got. It is part of each batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct EngineRow {
    store: StoreId,
    /// Groups written.
    generation: u64,
}

/// A store on disk. One process at a time; one thread writes.
pub struct SledStore {
    db: Database,
    writer: Mutex<Writer>,
    /// Held for reading by a scan and for writing by a batch, so that a scan sees whole groups.
    whole_groups: RwLock<()>,
    failed: OnceLock<StoreError>,
    rows_path: PathBuf,
    /// Dropped after the database: waits until its threads let go of the file.
    _released: ReleaseAwaited,
    /// Dropped last: it frees the directory for the next opening.
    directory: Directory,
}

struct Writer {
    file: File,
    generation: u64,
    row: Vec<u8>,
    blobs_synced: BTreeSet<OsString>,
}

impl SledStore {
    /// Opens the store in a directory, which is made where it is missing. A directory that is not
    /// a store, belongs to another gateway, is open already, or has lost what it once held is
    /// [`StoreError::Unusable`]; nothing is ever made anew in its place.
    pub fn open(path: &Path, options: SledOptions) -> Result<SledStore, StoreError> {
        let directory = Directory::open(path, options.gateway.as_deref(), options.created_at)?;
        let rows_path = directory.rows_path();
        let file_path = rows_path.join("db");
        if !directory.is_new() {
            for file in [&file_path, &rows_path.join("conf")] {
                if !fs::metadata(file).is_ok_and(|found| found.len() > 0) {
                    return Err(directory.lost(format!("the file `{}` is missing or empty", file.display())));
                }
            }
        }
        let config =
            ::sled::Config::new().path(&rows_path).cache_capacity(options.cache_bytes).segment_size(SEGMENT_BYTES);
        let db = guarded(|| config.open().and_then(|db| db.flush().map(|_| db)));
        let db = Database(Some(db.map_err(|cause| directory.lost(format!("the database does not open: {cause}")))?));

        let opening = |error: io::Error| directory.unreadable("opening the database file", &error);
        let file = File::options().read(true).write(true).open(&file_path).map_err(opening)?;
        sync_directory(&rows_path.join("blobs")).and_then(|()| sync_directory(&rows_path)).map_err(opening)?;
        sync_directory(path).map_err(opening)?;

        let _released = ReleaseAwaited(file.try_clone().map_err(opening)?);
        let writer = Writer { file, generation: 0, row: Vec::new(), blobs_synced: BTreeSet::new() };
        let mut store = SledStore {
            db,
            writer: Mutex::new(writer),
            whole_groups: RwLock::new(()),
            failed: OnceLock::new(),
            rows_path,
            _released,
            directory,
        };
        store.recognise()?;
        Ok(store)
    }

    /// Compares what the database says of itself with what the directory says of it.
    fn recognise(&mut self) -> Result<(), StoreError> {
        let key = engine_key();
        let row = match self.get(&key)? {
            Some(bytes) => Some(codec::decode::<EngineRow>(Schema::Engine, &key, &bytes)?),
            None => None,
        };
        let store = self.directory.store_id();
        match row {
            None if self.directory.is_new() => {
                self.write(&mut self.writer(), &BTreeMap::new())?;
                self.directory.ready()
            }
            None => Err(self.directory.lost("the database is empty, and it was not".to_owned())),
            Some(row) if row.store != store => {
                Err(self.directory.lost("the database belongs to another store".to_owned()))
            }
            Some(row) if row.generation < self.directory.watermark() => Err(self.directory.lost(format!(
                "the last {} groups of commits are missing from the database",
                self.directory.watermark() - row.generation
            ))),
            Some(row) => {
                self.writer().generation = row.generation;
                if self.directory.is_new() { self.directory.ready() } else { Ok(()) }
            }
        }
    }

    /// How many rows there are. Walks over all of them.
    pub fn count_rows(&self) -> Result<usize, StoreError> {
        guarded(|| Ok(self.db.len().saturating_sub(1))).map_err(|cause| corrupt(&[], cause))
    }

    /// Bytes of the database's files.
    pub fn size_on_disk(&self) -> Result<u64, StoreError> {
        guarded(|| self.db.size_on_disk()).map_err(|cause| corrupt(&[], cause))
    }

    /// Groups written since the directory was made.
    pub fn generation(&self) -> u64 {
        self.writer().generation
    }

    /// Keeps the first failure: everything after it is refused with it.
    fn fail(&self, error: StoreError) -> StoreError {
        self.failed.get_or_init(|| error).clone()
    }

    fn writer(&self) -> std::sync::MutexGuard<'_, Writer> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One batch, durable on return.
    fn write(&self, writer: &mut Writer, writes: &BTreeMap<&Key, Option<&[u8]>>) -> Result<(), StoreError> {
        writer.generation += 1;
        let row = EngineRow { store: self.directory.store_id(), generation: writer.generation };
        codec::encode_into(Schema::Engine, &row, &mut writer.row);

        let mut batch = ::sled::Batch::default();
        batch.insert(engine_key().0, writer.row.as_slice());
        for (key, value) in writes {
            match value {
                Some(value) => batch.insert(key.0.as_slice(), *value),
                None => batch.remove(key.0.as_slice()),
            }
        }
        // A damaged page must show before the batch, not in the midst of it.
        guarded(|| writes.keys().try_for_each(|key| self.db.get(&key.0).map(drop)))
            .map_err(failed("reading the pages to be written"))?;
        guarded(|| {
            let _whole = self.whole_groups.write().unwrap_or_else(PoisonError::into_inner);
            self.db.apply_batch(batch)
        })
        .map_err(failed("writing a group"))?;
        guarded(|| self.db.flush()).map_err(failed("flushing a group"))?;
        self.sync_blobs(&mut writer.blobs_synced).map_err(failed("syncing the large values"))?;
        writer.file.sync_data().map_err(failed("syncing the database file"))?;
        self.directory.raise_watermark(writer.generation).map_err(failed("raising the watermark"))
    }

    /// Syncs files of outsized pages. There are none while [`SEGMENT_BYTES`] holds its promise.
    fn sync_blobs(&self, synced: &mut BTreeSet<OsString>) -> io::Result<()> {
        let blobs = self.rows_path.join("blobs");
        let mut appeared = false;
        for entry in fs::read_dir(&blobs)? {
            let name = entry?.file_name();
            if synced.contains(&name) {
                continue;
            }
            match File::open(blobs.join(&name)) {
                Ok(file) => file.sync_data()?,
                // Collected since it was listed.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            }
            appeared = true;
            synced.insert(name);
        }
        if appeared { sync_directory(&blobs) } else { Ok(()) }
    }

    fn collect(
        &self,
        prefix: &[u8],
        range: Option<range::Range>,
        take: impl FnOnce(::sled::Iter) -> ::sled::Result<Vec<(::sled::IVec, ::sled::IVec)>>,
    ) -> Result<Rows, StoreError> {
        let Some(range) = range else { return Ok(Rows::new()) };
        let rows = guarded(|| {
            let _whole = self.whole_groups.read().unwrap_or_else(PoisonError::into_inner);
            take(self.db.range::<Vec<u8>, _>(range))
        });
        let rows = rows.map_err(|cause| corrupt(prefix, cause))?;
        Ok(rows.into_iter().map(|(key, value)| (Key(key.to_vec()), value.to_vec())).collect())
    }
}

impl fmt::Debug for SledStore {
    /// Where it is. sled's own form prints every row, and rows are people's data.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SledStore")
            .field("rows_path", &self.rows_path)
            .field("failed", &self.failed)
            .finish_non_exhaustive()
    }
}

impl Store for SledStore {
    fn commit(&self, group: &[Commit]) -> Result<Vec<Outcome>, StoreError> {
        let mut writer = self.writer();
        self.health()?;
        let staged = group::stage(group, |key| self.get(key)).map_err(|error| match error {
            StoreError::TooLarge { .. } | StoreError::BadKey { .. } => error,
            StoreError::Failed { .. } | StoreError::Unusable { .. } | StoreError::Corrupt { .. } => self.fail(error),
        })?;
        if !staged.writes.is_empty() {
            self.write(&mut writer, &staged.writes).map_err(|error| self.fail(error))?;
        }
        Ok(staged.outcomes)
    }

    fn get(&self, key: &Key) -> Result<Option<Vec<u8>>, StoreError> {
        let value = guarded(|| self.db.get(&key.0)).map_err(|cause| corrupt(&key.0, cause))?;
        Ok(value.map(|value| value.to_vec()))
    }

    fn scan(&self, prefix: &[u8], after: Option<&Key>, limit: usize) -> Result<Rows, StoreError> {
        let limit = limit.min(SCAN_ROWS_MAX);
        self.collect(prefix, range::forward(prefix, after), |rows| rows.take(limit).collect())
    }

    fn scan_back(&self, prefix: &[u8], before: Option<&Key>, limit: usize) -> Result<Rows, StoreError> {
        let limit = limit.min(SCAN_ROWS_MAX);
        self.collect(prefix, range::backward(prefix, before), |rows| rows.rev().take(limit).collect())
    }

    fn health(&self) -> Result<(), StoreError> {
        self.failed.get().map_or(Ok(()), |error| Err(error.clone()))
    }
}

/// The database; its closing may panic as its opening may.
struct Database(Option<::sled::Db>);

impl std::ops::Deref for Database {
    type Target = ::sled::Db;
    fn deref(&self) -> &::sled::Db {
        self.0.as_ref().expect("it is taken only when dropped")
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let db = self.0.take();
        if let Err(cause) = guarded(|| {
            drop(db);
            Ok(())
        }) {
            tracing::warn!("Closing the database failed: {cause}");
        }
    }
}

/// Waits when dropped until the database file is unlocked: sled's threads hold it for a moment
/// after the database is closed, and an opening in that moment would fail.
struct ReleaseAwaited(File);

impl Drop for ReleaseAwaited {
    fn drop(&mut self) {
        const PAUSE: Duration = Duration::from_millis(1);
        const PAUSES_MAX: usize = 2_000;
        for _ in 0..PAUSES_MAX {
            if self.0.try_lock().is_ok() {
                return;
            }
            std::thread::sleep(PAUSE);
        }
        tracing::warn!("The database file is still held after it was closed");
    }
}

fn engine_key() -> Key {
    Key(vec![table::ENGINE])
}

fn corrupt(key: &[u8], cause: String) -> StoreError {
    StoreError::Corrupt { key: Key(key.to_vec()).to_string(), cause }
}

fn failed<E: ToString>(doing: &'static str) -> impl FnOnce(E) -> StoreError {
    move |cause| StoreError::Failed { doing, cause: cause.to_string() }
}

thread_local! {
    /// How many guarded calls this thread is in.
    static GUARDED: Cell<usize> = const { Cell::new(0) };
}

/// Runs a piece of sled: an error and a panic both come back as text, and a panic here is not
/// printed, because the error says it.
fn guarded<T>(work: impl FnOnce() -> ::sled::Result<T>) -> Result<T, String> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let printing = panic::take_hook();
        panic::set_hook(Box::new(move |panicked| {
            if GUARDED.get() == 0 {
                printing(panicked);
            }
        }));
    });
    GUARDED.set(GUARDED.get() + 1);
    let done = panic::catch_unwind(AssertUnwindSafe(work));
    GUARDED.set(GUARDED.get() - 1);
    match done {
        Ok(done) => done.map_err(|error| error.to_string()),
        Err(panicked) => Err(format!("the engine panicked: {}", words_of(&*panicked))),
    }
}

/// The first words of a panic; some of sled's print whole pages.
fn words_of(panicked: &(dyn Any + Send)) -> String {
    let text = panicked.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panicked.downcast_ref::<&str>().copied()).unwrap_or("without a word");
    text.chars().take(300).collect()
}

#[cfg(test)]
#[path = "sled_tests.rs"]
mod tests;
