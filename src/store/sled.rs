//! The rows of the embedded engine: sled 0.34.7, written behind the journal. This is the only
//! file that names sled.
//!
//! What sled leaves open, and what closes it here:
//! - Its flush writes and waits for the disk's queue, but never asks the disk to keep what it
//!   took. Every turn therefore ends with `fdatasync` of the database file, and the journal keeps
//!   what the turn holds until then.
//! - A batch rolls its log twice and holds up every reader, so rows are written one by one. A turn
//!   that is cut short is written again from the journal; the row that says how far the database
//!   got goes last, after all others are durable.
//! - A page that is damaged in the middle of its file may come back as it was before, or without a
//!   row. So the engine's row also says what all rows add up to, and whoever opens adds them up
//!   again. While a turn is being written it says what those add up to that the turn leaves alone:
//!   a turn that is cut short must not pass for damage, nor damage for such a turn.
//! - A page that outgrows a quarter of a segment goes to a file of its own that nobody syncs. A
//!   leaf splits by entries, not by bytes, so a value above [`PIECE_BYTES`] is kept in pieces, and
//!   even a leaf full of them stays inline; should such a file appear all the same, it is synced.
//! - It writes the snapshot of its page table to a file beside the last one and renames that. When
//!   a kill leaves the file unfinished, it takes it for the newest at the next opening and gives
//!   up. Unfinished ones are therefore removed before: the last one goes only after the renaming.
//! - It opens an empty database where files are missing, and panics on some damage. The row and
//!   [`identity`](super::identity) say what must be there, and every call is
//!   [`guarded`].

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::codec::{self, Schema};
use super::guarded::guarded;
use super::identity::{Directory, StoreId, sync_directory};
use super::keys::{Key, table};
use super::tally::Tally;
use super::{Rows, StoreError, range};

/// Bytes of one segment of sled's log; it keeps several in memory. A page above a quarter of it
/// leaves the log for a file that is never synced. It is on disk: a directory keeps the size it
/// was made with.
const SEGMENT_BYTES: usize = 512 * 1024;

/// Rows written behind between two pauses.
const ROWS_PER_PAUSE: usize = 64;

/// Bytes of a value that stands in its row; what is longer stands in pieces of so many bytes.
const PIECE_BYTES: usize = 2 * 1024;

/// Entries that a leaf holds at most: it splits above 16 at its next consolidation, up to ten writes
/// later, and a merge adds some.
const LEAF_ENTRIES_MAX: usize = 32;

/// Entries that an index node holds at most: it splits above 256.
const INDEX_ENTRIES_MAX: usize = 288;

const _: () = assert!(INDEX_ENTRIES_MAX * (super::KEY_BYTES_MAX + 32) < SEGMENT_BYTES / 4);
const _: () = assert!(LEAF_ENTRIES_MAX * (PIECE_BYTES + super::KEY_BYTES_MAX + 32) < SEGMENT_BYTES / 4);

/// How a row begins whose value stands in it.
const WHOLE: u8 = 0;
/// How a row begins whose value stands in pieces; their number and generation follow.
const IN_PIECES: u8 = 1;
/// How often a value is read that is written over meanwhile: turns are far apart.
const READS_MAX: usize = 8;

/// Whose the database is and how far it got.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Reached {
    pub(super) store: StoreId,
    /// The last group that is written behind.
    pub(super) generation: u64,
    /// How far the logs had got with it.
    pub(super) logs_end: u64,
}

/// The row by which the database knows itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct EngineRow {
    pub(super) reached: Reached,
    pub(super) counted: Counted,
}

/// What the rows add up to; its own is not among them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Counted {
    /// Written by a release that did not count.
    Unknown,
    /// All of them: no turn was being written.
    All(Tally),
    /// Those that no group writes after the one reached and up to `until`: they were being written.
    AllBut { until: u64, tally: Tally },
}

impl Counted {
    /// The last group of the turn that was being written.
    pub(super) fn until(&self) -> Option<u64> {
        match self {
            Counted::AllBut { until, .. } => Some(*until),
            Counted::Unknown | Counted::All(_) => None,
        }
    }
}

/// Rows on disk. One process at a time; one thread writes.
pub(super) struct SledRows {
    db: Database,
    /// Pieces of long values, by the row's key and their number.
    pieces: Option<::sled::Tree>,
    file: Mutex<File>,
    blobs_synced: Mutex<BTreeSet<OsString>>,
    /// What the database holds; none before [`SledRows::start`] or [`SledRows::verify`].
    standing: Mutex<Option<Standing>>,
    path: PathBuf,
    /// Dropped after the database: waits until its threads let go of the file.
    _released: ReleaseAwaited,
}

/// What the database holds while no turn is being written.
#[derive(Debug, Clone, Copy)]
struct Standing {
    reached: Reached,
    tally: Tally,
}

impl SledRows {
    /// Opens the database of a directory; makes it where the directory is new.
    pub(super) fn open(directory: &Directory, cache_bytes: u64) -> Result<SledRows, StoreError> {
        let path = directory.rows_path();
        let file_path = path.join("db");
        if !directory.is_new() {
            for file in [&file_path, &path.join("conf")] {
                if !fs::metadata(file).is_ok_and(|found| found.len() > 0) {
                    return Err(directory.lost(format!("the file `{}` is missing or empty", file.display())));
                }
            }
        }
        let clearing = |error: io::Error| directory.unreadable("clearing away an unfinished snapshot", &error);
        remove_unfinished_snapshots(&path).map_err(clearing)?;
        let config = ::sled::Config::new().path(&path).cache_capacity(cache_bytes).segment_size(SEGMENT_BYTES);
        let db = guarded(|| config.open().and_then(|db| db.flush().map(|_| db)));
        let db = Database(Some(db.map_err(|cause| directory.lost(format!("the database does not open: {cause}")))?));

        let pieces = guarded(|| db.open_tree("pieces"));
        let pieces = pieces.map_err(|cause| directory.lost(format!("the database does not open: {cause}")))?;

        let opening = |error: io::Error| directory.unreadable("opening the database file", &error);
        let file = File::options().read(true).write(true).open(&file_path).map_err(opening)?;
        sync_directory(&path.join("blobs")).and_then(|()| sync_directory(&path)).map_err(opening)?;
        let _released = ReleaseAwaited(file.try_clone().map_err(opening)?);
        Ok(SledRows {
            db,
            pieces: Some(pieces),
            file: Mutex::new(file),
            blobs_synced: Mutex::default(),
            standing: Mutex::default(),
            path,
            _released,
        })
    }

    /// What the database says of itself; none in a fresh one.
    pub(super) fn engine_row(&self) -> Result<Option<EngineRow>, StoreError> {
        let key = engine_key();
        self.get(&key)?.map(|bytes| codec::decode(Schema::Engine, &key, &bytes)).transpose()
    }

    /// Begins a database that has no rows.
    pub(super) fn start(&self, reached: Reached) -> Result<(), StoreError> {
        self.note(EngineRow { reached, counted: Counted::All(Tally::default()) })?;
        *self.standing() = Some(Standing { reached, tally: Tally::default() });
        Ok(())
    }

    /// Adds up all rows in one walk and compares with what the engine's row says. `being_written`
    /// names the keys of the turn that was being written, if one was.
    pub(super) fn verify(&self, engine: EngineRow, being_written: impl Fn(&[u8]) -> bool) -> Result<(), String> {
        let is_engine_row = |key: &[u8]| key == [table::ENGINE];
        let (begun, mut all, mut left_alone) = (Instant::now(), Tally::default(), Tally::default());
        let walked = guarded(|| {
            for row in self.db.iter() {
                let (key, row) = row?;
                if is_engine_row(&key) {
                    continue;
                }
                all.add(&key, &row);
                if !being_written(&key) {
                    left_alone.add(&key, &row);
                }
            }
            Ok::<_, ::sled::Error>(())
        });
        walked.map_err(|cause| format!("a row of the database cannot be read: {cause}"))?;
        let (expected, found) = match engine.counted {
            Counted::Unknown => (all, all),
            Counted::All(expected) => (expected, all),
            Counted::AllBut { tally: expected, .. } => (expected, left_alone),
        };
        if found.rows != expected.rows {
            return Err(format!("{} rows are in the database, and there were {}", found.rows, expected.rows));
        }
        if found != expected {
            return Err(format!("one or more of the {} rows of the database are not as they were", found.rows));
        }
        let duration_ms = begun.elapsed().as_millis() as u64;
        tracing::debug!(rows = all.rows, duration_ms, "Added up {} rows in {duration_ms} ms", all.rows);
        *self.standing() = Some(Standing { reached: engine.reached, tally: all });
        Ok(())
    }

    fn standing(&self) -> MutexGuard<'_, Option<Standing>> {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One value.
    pub(super) fn get(&self, key: &Key) -> Result<Option<Vec<u8>>, StoreError> {
        self.get_bytes(&key.0)
    }

    fn get_bytes(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        for _ in 0..READS_MAX {
            let Some(row) = guarded(|| self.db.get(key)).map_err(|cause| corrupt(key, cause))? else { return Ok(None) };
            if let Some(value) = self.whole(key, &row)? {
                return Ok(Some(value));
            }
        }
        Err(corrupt(key, "a piece of it is missing".to_owned()))
    }

    /// The value of a row; none when a piece is missing, because the row was written over meanwhile.
    fn whole(&self, key: &[u8], row: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        if let Some((&WHOLE, value)) = row.split_first() {
            return Ok(Some(value.to_vec()));
        }
        let pieces = Pieces::of(row).ok_or_else(|| corrupt(key, "its row begins as none does".to_owned()))?;
        let mut value = Vec::with_capacity(usize::from(pieces.number) * PIECE_BYTES);
        for at in 0..pieces.number {
            let piece = guarded(|| self.pieces().get(pieces.key(key, at))).map_err(|cause| corrupt(key, cause))?;
            let Some(piece) = piece else { return Ok(None) };
            value.extend_from_slice(&piece);
        }
        Ok(Some(value))
    }

    /// Puts or removes a row with its pieces; gives the row as it stands then. The pieces of
    /// `generation` stand beside those of the value before until its row is written over, so that
    /// no reader meets a mixture.
    fn set(&self, key: &[u8], value: Option<&[u8]>, generation: u64) -> ::sled::Result<Option<Vec<u8>>> {
        let mut now = Pieces { number: 0, generation };
        let row = match value {
            Some(value) if value.len() <= PIECE_BYTES => Some([&[WHOLE], value].concat()),
            Some(value) => {
                for piece in value.chunks(PIECE_BYTES) {
                    self.pieces().insert(now.key(key, now.number), piece)?;
                    now.number += 1;
                }
                Some(now.row())
            }
            None => None,
        };
        let before = match &row {
            Some(row) => self.db.insert(key, row.as_slice())?,
            // Most rows that go never came this far, and removing costs a write all the same.
            None if self.db.contains_key(key)? => self.db.remove(key)?,
            None => None,
        };
        if let Some(before) = before.and_then(|row| Pieces::of(&row)) {
            // A turn that was cut short is written again in the same generation.
            let kept = if before.generation == generation { now.number } else { 0 };
            for at in kept..before.number {
                self.pieces().remove(before.key(key, at))?;
            }
        }
        Ok(row)
    }

    fn pieces(&self) -> &::sled::Tree {
        self.pieces.as_ref().expect("it is taken only when dropped")
    }

    /// Writes rows, each once, between two words of the engine's row; durable on return. `value`
    /// gives what a row gets; none removes it. `pause` is called now and then. After an error only
    /// another opening knows what stands.
    pub(super) fn write<V: Copy>(
        &self,
        rows: &[(Cow<'_, Key>, V)],
        value: impl Fn(V) -> Result<Option<Vec<u8>>, StoreError>,
        reached: Reached,
        mut pause: impl FnMut(),
    ) -> Result<(), StoreError> {
        let uncounted = || failed("writing behind")("the rows that stand there were not counted");
        let Standing { reached: before, mut tally } = self.standing().take().ok_or_else(uncounted)?;
        let mut pause_after = |at: usize| {
            if at % ROWS_PER_PAUSE == ROWS_PER_PAUSE - 1 {
                pause();
            }
        };
        for (at, (key, _)) in rows.iter().enumerate() {
            if let Some(row) = guarded(|| self.db.get(&key.0)).map_err(failed("reading what is written over"))? {
                tally.remove(&key.0, &row);
            }
            pause_after(at);
        }
        if !rows.is_empty() {
            self.note(EngineRow { reached: before, counted: Counted::AllBut { until: reached.generation, tally } })?;
        }
        for (at, (key, last)) in rows.iter().enumerate() {
            let value = value(*last)?;
            let row = guarded(|| self.set(&key.0, value.as_deref(), reached.generation));
            if let Some(row) = row.map_err(failed("writing behind"))? {
                tally.add(&key.0, &row);
            }
            pause_after(at);
        }
        self.sync()?;
        self.note(EngineRow { reached, counted: Counted::All(tally) })?;
        *self.standing() = Some(Standing { reached, tally });
        Ok(())
    }

    /// Writes the engine's row; durable on return.
    fn note(&self, engine: EngineRow) -> Result<(), StoreError> {
        let bytes = codec::encode(Schema::Engine, &engine);
        guarded(|| self.set(&engine_key().0, Some(&bytes), engine.reached.generation))
            .map_err(failed("writing the engine's row"))?;
        self.sync()
    }

    pub(super) fn sync(&self) -> Result<(), StoreError> {
        guarded(|| self.db.flush()).map_err(failed("flushing the database"))?;
        let mut synced = self.blobs_synced.lock().unwrap_or_else(PoisonError::into_inner);
        self.sync_blobs(&mut synced).map_err(failed("syncing the large values"))?;
        self.file().sync_data().map_err(failed("syncing the database file"))
    }

    pub(super) fn file(&self) -> MutexGuard<'_, File> {
        self.file.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many rows there are. Walks over all of them.
    pub(super) fn count(&self) -> Result<usize, StoreError> {
        guarded(|| Ok::<_, ::sled::Error>(self.db.len().saturating_sub(1))).map_err(|cause| corrupt(&[], cause))
    }

    /// Puts or removes a row as damage would.
    #[cfg(test)]
    pub(super) fn set_uncounted(&self, key: &Key, row: Option<&[u8]>) {
        let done = row.map_or_else(|| self.db.remove(&key.0), |row| self.db.insert(&key.0, row));
        done.expect("the test's disk works");
        self.sync().expect("the test's disk works");
    }

    #[cfg(test)]
    pub(super) fn count_pieces(&self) -> usize {
        self.pieces().len()
    }

    /// Bytes of the database's files.
    pub(super) fn size_on_disk(&self) -> Result<u64, StoreError> {
        guarded(|| self.db.size_on_disk()).map_err(|cause| corrupt(&[], cause))
    }

    /// The first rows of a range.
    pub(super) fn first(&self, range: range::Range, limit: usize) -> Result<Rows, StoreError> {
        self.collect(range, |rows| rows.take(limit).collect())
    }

    /// The last rows of a range, the last first.
    pub(super) fn last(&self, range: range::Range, limit: usize) -> Result<Rows, StoreError> {
        self.collect(range, |rows| rows.rev().take(limit).collect())
    }

    /// Syncs files of outsized pages. There are none while [`SEGMENT_BYTES`] holds its promise.
    fn sync_blobs(&self, synced: &mut BTreeSet<OsString>) -> io::Result<()> {
        let blobs = self.path.join("blobs");
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
        range: range::Range,
        take: impl FnOnce(::sled::Iter) -> ::sled::Result<Vec<(::sled::IVec, ::sled::IVec)>>,
    ) -> Result<Rows, StoreError> {
        let rows = guarded(|| take(self.db.range::<Vec<u8>, _>(range))).map_err(|cause| corrupt(&[], cause))?;
        let mut found = Rows::with_capacity(rows.len());
        for (key, row) in rows {
            let value = match self.whole(&key, &row)? {
                Some(value) => Some(value),
                None => self.get_bytes(&key)?,
            };
            // A row that went meanwhile keeps its place, or the page would seem to be the last one:
            // what made it go still covers it.
            found.push((Key(key.to_vec()), value.unwrap_or_default()));
        }
        Ok(found)
    }
}

impl Drop for SledRows {
    /// The database closes with its last handle, which must be the guarded one.
    fn drop(&mut self) {
        drop(self.pieces.take());
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
            Ok::<_, ::sled::Error>(())
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

/// Where the pieces of a long value stand.
struct Pieces {
    /// How many there are: a value has at most 64 KiB, so 32.
    number: u8,
    /// When they were written.
    generation: u64,
}

impl Pieces {
    /// What a row says of its pieces; none when its value stands in it.
    fn of(row: &[u8]) -> Option<Pieces> {
        let (number, generation) = row.strip_prefix(&[IN_PIECES])?.split_first()?;
        Some(Pieces { number: *number, generation: u64::from_be_bytes(generation.try_into().ok()?) })
    }
    fn row(&self) -> Vec<u8> {
        [[IN_PIECES, self.number].as_slice(), &self.generation.to_be_bytes()].concat()
    }
    /// No two rows share a piece: what follows the row's key has a fixed width.
    fn key(&self, key: &[u8], at: u8) -> Vec<u8> {
        [key, &self.generation.to_be_bytes(), &[at]].concat()
    }
}

/// Removes what a kill left of a snapshot; the directory's lock is held.
fn remove_unfinished_snapshots(path: &Path) -> io::Result<()> {
    let entries = match fs::read_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name();
        if name.to_str().is_some_and(|name| name.starts_with("snap.") && name.ends_with(".generating")) {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
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
