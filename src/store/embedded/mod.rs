//! The embedded engine: a journal that makes groups durable, logs for what is only ever added, and
//! a database of rows that is written behind.
//!
//! ```text
//! commit: stage → journal (one write, fdatasync) → logs (a write) → shown to readers → caller told
//! behind: a turn of the journal is over → logs fdatasync → rows into the database → fdatasync
//!         → "so far" into the database → that half of the journal may be written over
//! open:   database, logs up to "so far" → groups of the journal after it → written behind
//! ```
//!
//! So a household that reports ten times in a turn is written to the database once, and its log
//! never: a row in the database costs more than all else that a message does (`docs/figures.md`).
//!
//! | file | what it holds |
//! |---|---|
//! | `journal` | frames, turns, replay |
//! | `logs` | items that point back |
//! | `overlay` | rows not yet in the database, and scans over both |
//! | `behind` | the thread that writes behind |
//! | `space` | room on the disk, asked for in time |

mod behind;
#[cfg(test)]
mod counted;
#[cfg(test)]
mod images;
mod journal;
mod logs;
mod overlay;
mod space;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use hearthway_core::time::Timestamp;

use super::group::Staged;
use super::identity::{Directory, sync_directory};
use super::keys::{Key, table};
use super::sled::{EngineRow, Reached, SledRows};
use super::{AllItems, Commit, Items, Mark, Outcome, Rows, SCAN_ROWS_MAX, Store, StoreError, group, range};
use behind::Behind;
use journal::{Entry, Halves, Journal, Place, Unwritten};
use logs::{End, Logs};
use overlay::Shown;

/// How the store is opened.
#[derive(Debug, Clone)]
pub struct EmbeddedOptions {
    /// Bytes of database pages kept in memory.
    pub cache_bytes: u64,
    /// Bytes of one half of the journal: what a turn may be at most before rows are written behind.
    pub journal_bytes: u64,
    /// Bytes of rows that are not yet in the database: the other end of a turn. Memory has their
    /// keys only.
    pub overlay_bytes: usize,
    /// Bytes of all logs together; beyond it the oldest items go.
    pub logs_bytes_max: u64,
    /// Bytes of one file of the logs: so much goes at once.
    pub log_file_bytes: u64,
    /// The gateway that the directory belongs to: written into a new one, compared with an old.
    pub gateway: Option<String>,
    /// When a new directory is made, as the caller's clock says.
    pub created_at: Option<Timestamp>,
}

impl Default for EmbeddedOptions {
    /// For 10 000 homes on two cores: each is written behind about once in ten messages.
    fn default() -> EmbeddedOptions {
        const MIB: u64 = 1024 * 1024;
        EmbeddedOptions {
            cache_bytes: 8 * MIB,
            journal_bytes: 128 * MIB,
            overlay_bytes: 32 * 1024 * 1024,
            logs_bytes_max: 4 * 1024 * MIB,
            log_file_bytes: 64 * MIB,
            gateway: None,
            created_at: None,
        }
    }
}

/// A store on disk. One process at a time.
pub struct EmbeddedStore {
    inner: Arc<Inner>,
    behind: Option<std::thread::JoinHandle<()>>,
}

struct Inner {
    options: EmbeddedOptions,
    rows: SledRows,
    logs: Logs,
    /// The journal's files, where what waits is read.
    halves: Arc<Halves>,
    shown: RwLock<Shown>,
    writer: Mutex<Writer>,
    turn: Behind,
    /// The first failure that only another opening mends.
    failed: OnceLock<StoreError>,
    /// Dropped last: it frees the directory for the next opening.
    directory: Directory,
}

struct Writer {
    journal: Journal,
    logs_end: End,
    generation: u64,
}

impl EmbeddedStore {
    /// Opens the store in a directory, which is made where it is missing. A directory that is not
    /// a store, belongs to another gateway, is open already, or has lost what it once held is
    /// [`StoreError::Unusable`]; nothing is ever made anew in its place.
    pub fn open(path: &Path, options: EmbeddedOptions) -> Result<EmbeddedStore, StoreError> {
        let directory = Directory::open(path, options.gateway.as_deref(), options.created_at)?;
        let rows = SledRows::open(&directory, options.cache_bytes)?;
        let store = directory.store_id();
        let engine = match rows.engine_row()? {
            Some(row) if row.reached.store == store => Some(row),
            Some(_) => return Err(directory.lost("the database belongs to another store".to_owned())),
            None if directory.is_new() => None,
            None => return Err(directory.lost("the database is empty, and it was not".to_owned())),
        };
        let first = Reached { store, generation: 0, logs_end: logs::FIRST };
        let reached = engine.map_or(first, |engine| engine.reached);
        if engine.is_none() {
            rows.start(first)?;
        }
        let (logs, logs_end) =
            Logs::open(&path.join("logs"), store, reached.logs_end).map_err(|cause| directory.lost(cause))?;
        let journal = Journal::open(&path.join("journal"), store);
        let journal = journal.map_err(|error| directory.unreadable("opening the journal", &error))?;
        for made in [path, &path.join("journal"), &path.join("logs")] {
            sync_directory(made).map_err(|error| directory.unreadable("syncing the directory", &error))?;
        }
        let halves = journal.halves();
        let mut inner = Inner {
            writer: Mutex::new(Writer { journal, logs_end, generation: reached.generation }),
            options,
            rows,
            logs,
            shown: RwLock::new(Shown::new(Arc::clone(&halves))),
            halves,
            turn: Behind::default(),
            failed: OnceLock::new(),
            directory,
        };
        inner.recover(engine).map_err(|error| match error {
            StoreError::Failed { doing, cause } => inner.directory.not_recovered(format!("{doing}: {cause}")),
            told => told,
        })?;
        if inner.directory.is_new() {
            inner.directory.ready()?;
        }
        let inner = Arc::new(inner);
        let behind = behind::start(Arc::clone(&inner))?;
        Ok(EmbeddedStore { inner, behind: Some(behind) })
    }

    /// Writes everything into the database: the next opening has nothing to recover.
    pub fn settle(&self) -> Result<(), StoreError> {
        let mut writer = self.inner.writer();
        self.inner.health()?;
        self.inner.begin_turn(&mut writer)?;
        self.inner.turn.wait(&self.inner)
    }

    /// How many rows there are. Walks over all of them.
    pub fn count_rows(&self) -> Result<usize, StoreError> {
        self.settle()?;
        self.inner.rows.count()
    }

    /// Bytes of all files, but for the journal.
    pub fn size_on_disk(&self) -> Result<u64, StoreError> {
        let end = self.inner.writer().logs_end.position;
        Ok(self.inner.rows.size_on_disk()? + self.inner.logs.bytes(end))
    }

    /// Groups written since the directory was made.
    pub fn generation(&self) -> u64 {
        self.inner.writer().generation
    }
}

impl Drop for EmbeddedStore {
    fn drop(&mut self) {
        if let Err(error) = self.settle() {
            tracing::warn!(%error, "Closing the store: what is in the journal is written behind at the next start");
        }
        self.inner.turn.stop();
        if let Some(behind) = self.behind.take()
            && behind.join().is_err()
        {
            tracing::error!("The thread that writes behind had panicked");
        }
    }
}

impl Inner {
    /// Takes up the groups that are only in the journal, sees that the database holds the rows that
    /// it should (a new one has none), and writes the groups behind at once.
    fn recover(&mut self, engine: Option<EngineRow>) -> Result<(), StoreError> {
        let mut writer = self.writer();
        let Writer { journal, logs_end, generation } = &mut *writer;
        let until = engine.and_then(|engine| engine.counted.until()).unwrap_or(*generation);
        let (mut taken_up, mut being_written) = (*generation, HashSet::new());
        let last = journal.replay(*generation, |entries, places| {
            taken_up += 1;
            if taken_up <= until {
                being_written.extend(entries.iter().map(key_behind));
            }
            self.take_up(logs_end, entries, places)
        });
        let last = last.map_err(|cause| self.directory.lost(cause))?;
        let durable = self.directory.watermark().max(until);
        if last < durable {
            let missing = durable - last;
            return Err(self.directory.lost(format!("the last {missing} groups of commits are missing")));
        }
        if let Some(engine) = engine {
            let verified = self.rows.verify(engine, |key| being_written.contains(key));
            verified.map_err(|cause| self.directory.lost(cause))?;
        }
        *generation = last;
        let reached = self.reached(&writer);
        drop(writer);
        self.write_behind(&std::mem::take(&mut self.shown_mut().active), reached, || {})
    }

    /// A group of the journal, once more. The database may be further: a turn was being written.
    fn take_up(&self, logs_end: &mut End, entries: &[Entry<'_>], places: &[Place]) -> Result<(), String> {
        let io = |error: std::io::Error| format!("the logs cannot be written: {error}");
        let bytes = entries.iter().map(item_bytes).sum();
        self.logs.reserve(logs_end, bytes, self.options.log_file_bytes).map_err(io)?;
        self.show(logs_end, entries, places).map_err(io)
    }

    /// Lets readers see a group: items in the logs' files, then rows, by the places where their
    /// values stand, and heads.
    fn show(&self, logs_end: &mut End, entries: &[Entry<'_>], places: &[Place]) -> std::io::Result<()> {
        let items = entries.iter().filter_map(|entry| match entry {
            Entry::Append(before, log, item) => Some((*before, *log, *item)),
            Entry::Put(..) | Entry::Delete(_) => None,
        });
        let mut heads = Vec::new();
        self.logs.append(logs_end, items, |log, position| heads.push((log, position)))?;
        let mut shown = self.shown_mut();
        let mut places = places.iter();
        for entry in entries {
            match entry {
                Entry::Put(key, _) => {
                    let place = places.next().expect("the journal gives a place for each row that is put");
                    shown.active.set(key, Some(*place));
                }
                Entry::Delete(key) => shown.active.set(key, None),
                Entry::Append(..) => {}
            }
        }
        for (head, position) in &heads {
            shown.active.set_head(head, *position);
        }
        Ok(())
    }

    /// What a group writes, for the journal: the last write of each row, then what joins the logs,
    /// each item with the position of the one before it.
    fn entries<'a>(&self, logs_end: &End, staged: &'a Staged<'_>) -> Result<Vec<Entry<'a>>, StoreError> {
        let rows = staged.writes.iter().map(|(key, value)| match value {
            Some(value) => Entry::Put(&key.0, value),
            None => Entry::Delete(&key.0),
        });
        let mut entries: Vec<Entry<'a>> = rows.collect();
        let mut heads: HashMap<&[u8], u64> = HashMap::new();
        let mut position = logs_end.position;
        for (log, item) in &staged.appends {
            let log = log.0.as_slice();
            let before = match heads.get(log) {
                Some(before) => *before,
                None => self.head(log)?,
            };
            heads.insert(log, position);
            position += Logs::item_bytes(log, item);
            entries.push(Entry::Append(before, log, item));
        }
        Ok(entries)
    }

    /// The position of the last item of a log; 0 when it has none.
    fn head(&self, log: &[u8]) -> Result<u64, StoreError> {
        if let Some(position) = self.shown().head(log) {
            return Ok(position);
        }
        let head = head_key(log);
        let bytes = self.rows.get(&head)?;
        let position = |bytes: &Vec<u8>| bytes.as_slice().try_into().ok().map(u64::from_be_bytes);
        match bytes {
            None => Ok(0),
            Some(bytes) => position(&bytes).ok_or_else(|| StoreError::Corrupt {
                key: head.to_string(),
                cause: "it is no position in the logs".to_owned(),
            }),
        }
    }

    fn get(&self, key: &Key) -> Result<Option<Vec<u8>>, StoreError> {
        if let Some(written) = self.shown().get(key)? {
            return Ok(written);
        }
        self.rows.get(key)
    }

    fn commit(&self, group: &[Commit]) -> Result<Vec<Outcome>, StoreError> {
        let mut writer = self.writer();
        self.health()?;
        let staged = group::stage(group, |key| self.get(key))?;
        if staged.is_empty() {
            return Ok(staged.outcomes);
        }
        let is_long = writer.journal.is_full(self.options.journal_bytes);
        if is_long || self.shown().active.bytes >= self.options.overlay_bytes {
            self.begin_turn(&mut writer)?;
        }
        self.write(&mut writer, &staged)?;
        Ok(staged.outcomes)
    }

    /// One group, durable on return. Up to the journal's sync a failure leaves everything as it was.
    fn write(&self, writer: &mut Writer, staged: &Staged<'_>) -> Result<(), StoreError> {
        let Writer { journal, logs_end, generation } = writer;
        let bytes = staged.appends.iter().map(|(log, item)| Logs::item_bytes(&log.0, item)).sum();
        self.logs.reserve(logs_end, bytes, self.options.log_file_bytes).map_err(failed("making room in the logs"))?;
        let entries = self.entries(logs_end, staged)?;
        let places = journal.write(*generation + 1, &entries).map_err(|unwritten| match unwritten {
            Unwritten::NoRoom(error) => failed("writing the journal")(error),
            Unwritten::NotSynced(error) => self.fail(failed("syncing the journal")(error)),
        })?;
        *generation += 1;
        // From here on the group is durable, whatever follows.
        let shown = self.show(logs_end, &entries, &places);
        shown.map_err(failed("writing the logs")).map_err(|error| self.fail(error))?;
        let raised = self.directory.raise_watermark(*generation);
        raised.map_err(failed("raising the watermark")).map_err(|error| self.fail(error))
    }

    fn reached(&self, writer: &Writer) -> Reached {
        let store = self.directory.store_id();
        Reached { store, generation: writer.generation, logs_end: writer.logs_end.position }
    }

    /// Keeps the first failure: everything after it is refused with it.
    fn fail(&self, error: StoreError) -> StoreError {
        self.failed.get_or_init(|| error).clone()
    }

    fn health(&self) -> Result<(), StoreError> {
        self.failed.get().map_or(Ok(()), |error| Err(error.clone()))
    }

    fn writer(&self) -> MutexGuard<'_, Writer> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }
    fn shown(&self) -> RwLockReadGuard<'_, Shown> {
        self.shown.read().unwrap_or_else(PoisonError::into_inner)
    }
    fn shown_mut(&self) -> RwLockWriteGuard<'_, Shown> {
        self.shown.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Bytes that an entry takes in the logs.
fn item_bytes(entry: &Entry<'_>) -> u64 {
    match entry {
        Entry::Append(_, log, item) => Logs::item_bytes(log, item),
        Entry::Put(..) | Entry::Delete(_) => 0,
    }
}

/// The row of the database that an entry writes.
fn key_behind(entry: &Entry<'_>) -> Vec<u8> {
    match entry {
        Entry::Put(key, _) | Entry::Delete(key) => key.to_vec(),
        Entry::Append(_, log, _) => head_key(log).0,
    }
}

/// Where the last position of a log is kept: in the engine's own table, out of reach of commits.
fn head_key(log: &[u8]) -> Key {
    Key([&[table::ENGINE, b'L'], log].concat())
}

fn failed(doing: &'static str) -> impl Fn(std::io::Error) -> StoreError {
    move |error| StoreError::Failed { doing, cause: error.to_string() }
}

impl fmt::Debug for EmbeddedStore {
    /// Where it is. Rows are people's data.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EmbeddedStore")
            .field("rows_path", &self.inner.directory.rows_path())
            .field("failed", &self.inner.failed)
            .finish_non_exhaustive()
    }
}

impl Store for EmbeddedStore {
    fn commit(&self, group: &[Commit]) -> Result<Vec<Outcome>, StoreError> {
        self.inner.commit(group)
    }

    fn get(&self, key: &Key) -> Result<Option<Vec<u8>>, StoreError> {
        self.inner.get(key)
    }

    fn scan(&self, prefix: &[u8], after: Option<&Key>, limit: usize) -> Result<Rows, StoreError> {
        let Some(range) = range::forward(prefix, after) else { return Ok(Rows::new()) };
        let read = |range, limit| self.inner.rows.first(range, limit);
        self.inner.shown().first(range, limit.min(SCAN_ROWS_MAX), read)
    }

    fn scan_back(&self, prefix: &[u8], before: Option<&Key>, limit: usize) -> Result<Rows, StoreError> {
        let Some(range) = range::backward(prefix, before) else { return Ok(Rows::new()) };
        let read = |range, limit| self.inner.rows.last(range, limit);
        self.inner.shown().last(range, limit.min(SCAN_ROWS_MAX), read)
    }

    fn back(&self, log: &Key, before: Option<Mark>, limit: usize) -> Result<Items, StoreError> {
        let corrupt = |cause| StoreError::Corrupt { key: log.to_string(), cause };
        let read = |position: u64| match self.inner.logs.read(position).map_err(corrupt)? {
            Some(item) if item.key == log.0 => Ok(Some(item)),
            Some(_) => Err(corrupt(format!("an item of another log stands at {position}"))),
            None => Ok(None),
        };
        let mut position = match before {
            None => self.inner.head(&log.0)?,
            Some(Mark(mark)) => read(mark)?.map_or(0, |item| item.before),
        };
        let mut items = Items::new();
        while position != 0 && items.len() < limit.min(SCAN_ROWS_MAX) {
            let Some(item) = read(position)? else { break };
            items.push((Mark(position), item.value));
            position = item.before;
        }
        Ok(items)
    }

    fn items(&self, after: Option<Mark>, limit: usize) -> Result<AllItems, StoreError> {
        let end = self.inner.writer().logs_end.position;
        let limit = limit.min(SCAN_ROWS_MAX);
        let corrupt = |cause| StoreError::Corrupt { key: "the logs".to_owned(), cause };
        self.inner.logs.forward(after.map(|mark| mark.0), end, limit).map_err(corrupt)
    }

    fn divide_logs(&self, keep_from: Option<Mark>) -> Result<Mark, StoreError> {
        // They go when a turn ends, with what is too much for the disk.
        if let Some(from) = keep_from {
            self.inner.logs.keep_from(from.0);
        }
        let mut writer = self.inner.writer();
        writer.logs_end.is_divided = true;
        Ok(Mark(writer.logs_end.position))
    }

    fn health(&self) -> Result<(), StoreError> {
        self.inner.health()
    }
}
