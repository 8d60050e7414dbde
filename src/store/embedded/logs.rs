//! The logs: items that are only ever added, in files of their own, each pointing back to the one
//! before it in the same log. So the newest items of one log are found without an index, and all
//! items of all logs are read in the order in which they happened.
//!
//! ```text
//! crc32 u32 | value bytes u32 | key bytes u16 | position before u64 | key | value
//! ```
//!
//! A position counts bytes over all files; a file is named by its first position, and the oldest
//! file goes when there are too many. The journal is what makes items durable: these files are
//! synced only before it is written over.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use super::super::identity::{StoreId, sync_directory};
use super::super::keys::Key;
use super::super::{AllItems, Mark};
use super::space;

const HEADER_BYTES: usize = 18;
/// Read at once: most items fit, so that one call of the system brings them.
const READ_BYTES: usize = 512;
/// The first position; none before it means that the log begins.
pub(super) const FIRST: u64 = 1;

/// The files, for reading; and their end, for the one who writes.
pub(super) struct Logs {
    store: StoreId,
    directory: PathBuf,
    files: RwLock<VecDeque<LogFile>>,
    /// Files that begin before this were synced when they were no longer the last.
    synced: AtomicU64,
    /// Files that end before this go.
    kept_from: AtomicU64,
}

#[derive(Clone)]
struct LogFile {
    base: u64,
    file: Arc<File>,
}

/// Where the next item goes.
pub(super) struct End {
    pub(super) position: u64,
    reserved: u64,
    buffer: Vec<u8>,
    /// Whether the next item begins a file of its own.
    pub(super) is_divided: bool,
}

/// An item, read back.
pub(super) struct Item {
    /// The position of the item before it in the same log; 0 when it is the first.
    pub(super) before: u64,
    pub(super) key: Vec<u8>,
    pub(super) value: Vec<u8>,
}

impl Logs {
    /// Opens what stands up to `end`; what stands beyond was not yet counted, and goes.
    pub(super) fn open(directory: &Path, store: StoreId, end: u64) -> Result<(Logs, End), String> {
        let io = |error: io::Error| format!("the logs cannot be read: {error}");
        fs::create_dir_all(directory).map_err(io)?;
        let mut bases = Vec::new();
        for entry in fs::read_dir(directory).map_err(io)? {
            let name = entry.map_err(io)?.file_name();
            let base = name.to_str().and_then(|name| u64::from_str_radix(name.strip_suffix(".log")?, 16).ok());
            bases.push(base.ok_or_else(|| format!("`{}` is no log file", directory.join(name).display()))?);
        }
        bases.sort_unstable();
        let mut files = VecDeque::new();
        let mut position = None;
        for base in bases {
            let path = path(directory, base);
            if base >= end {
                fs::remove_file(path).map_err(io)?;
                continue;
            }
            if position.is_some_and(|position| position != base) {
                return Err(format!("the log before `{}` is not whole", path.display()));
            }
            let file = File::options().read(true).write(true).open(path).map_err(io)?;
            let length = file.metadata().map_err(io)?.len();
            if base + length > end {
                file.set_len(end - base).map_err(io)?;
            }
            position = Some((base + length).min(end));
            files.push_back(LogFile { base, file: Arc::new(file) });
        }
        if position.unwrap_or(FIRST) != end {
            return Err(format!("the logs end at {} and reached {end}", position.unwrap_or(FIRST)));
        }
        let reserved = files.back().map_or(0, |last| end - last.base);
        let logs = Logs {
            store,
            directory: directory.to_owned(),
            files: RwLock::new(files),
            synced: AtomicU64::new(0),
            kept_from: AtomicU64::new(0),
        };
        Ok((logs, End { position: end, reserved, buffer: Vec::new(), is_divided: false }))
    }

    /// Makes sure that a group's items fit, and begins a new file where the last is full. A group
    /// is never cut between two files.
    pub(super) fn reserve(&self, end: &mut End, bytes: u64, file_bytes_max: u64) -> io::Result<()> {
        if bytes == 0 {
            return Ok(());
        }
        let last = self.files().back().cloned();
        let file = match last {
            Some(last)
                if end.position - last.base < file_bytes_max && !(end.is_divided && end.position > last.base) =>
            {
                last
            }
            _ => {
                let path = path(&self.directory, end.position);
                let options = File::options().read(true).write(true).create(true).truncate(true).clone();
                let new = LogFile { base: end.position, file: Arc::new(options.open(path)?) };
                self.write_files().push_back(new.clone());
                end.reserved = 0;
                end.is_divided = false;
                new
            }
        };
        space::reserve(&file.file, &mut end.reserved, end.position - file.base + bytes)
    }

    /// Bytes that an item takes.
    pub(super) fn item_bytes(key: &[u8], value: &[u8]) -> u64 {
        (HEADER_BYTES + key.len() + value.len()) as u64
    }

    /// Adds items (the position of the one before in the same log, the log, the value); gives each
    /// log's new last position. Room must have been reserved.
    pub(super) fn append<'a>(
        &self,
        end: &mut End,
        items: impl IntoIterator<Item = (u64, &'a [u8], &'a [u8])>,
        mut placed: impl FnMut(&'a [u8], u64),
    ) -> io::Result<()> {
        let start = end.position;
        end.buffer.clear();
        for (before, key, value) in items {
            let position = start + end.buffer.len() as u64;
            placed(key, position);
            let at = end.buffer.len();
            end.buffer.extend_from_slice(&[0; 4]);
            end.buffer.extend_from_slice(&(value.len() as u32).to_le_bytes());
            end.buffer.extend_from_slice(&(key.len() as u16).to_le_bytes());
            end.buffer.extend_from_slice(&before.to_le_bytes());
            end.buffer.extend_from_slice(key);
            end.buffer.extend_from_slice(value);
            let crc = checksum(&self.store, position, &end.buffer[at + 4..]);
            end.buffer[at..at + 4].copy_from_slice(&crc.to_le_bytes());
        }
        if end.buffer.is_empty() {
            return Ok(());
        }
        let last = self.files().back().cloned().ok_or_else(|| io::Error::other("no room was reserved"))?;
        last.file.write_all_at(&end.buffer, start - last.base)?;
        end.position = start + end.buffer.len() as u64;
        Ok(())
    }

    /// Makes everything so far durable.
    pub(super) fn sync(&self) -> io::Result<()> {
        let files: Vec<LogFile> = self.files().iter().cloned().collect();
        let Some(last) = files.last() else { return Ok(()) };
        let synced = self.synced.load(Ordering::Relaxed);
        let written = files.iter().rev().take_while(|file| file.base >= synced);
        // The file that the last sync ended in may have grown.
        let grown = files.iter().rev().find(|file| file.base < synced);
        written.chain(grown).try_for_each(|file| file.file.sync_data())?;
        sync_directory(&self.directory)?;
        self.synced.store(last.base + 1, Ordering::Relaxed);
        Ok(())
    }

    /// What lies before this position may go.
    pub(super) fn keep_from(&self, position: u64) {
        self.kept_from.fetch_max(position, Ordering::Relaxed);
    }

    /// Lets the oldest files go as long as all together hold more than so many bytes up to `end`, or
    /// lie before what is kept. The file that `end` is in stays, and so does one that ends there.
    pub(super) fn cut(&self, end: u64, bytes_max: u64) -> io::Result<()> {
        loop {
            let oldest = {
                let mut files = self.write_files();
                let Some(next) = files.get(1).map(|next| next.base).filter(|next| *next < end) else { return Ok(()) };
                let is_old = next <= self.kept_from.load(Ordering::Relaxed);
                if end - files[0].base <= bytes_max && !is_old {
                    return Ok(());
                }
                files.pop_front()
            };
            if let Some(oldest) = oldest {
                fs::remove_file(path(&self.directory, oldest.base))?;
            }
        }
    }

    /// The item at a position; none when its file is gone.
    pub(super) fn read(&self, position: u64) -> Result<Option<Item>, String> {
        let Some(file) = self.file_at(position) else { return Ok(None) };
        let offset = position - file.base;
        let mut near = [0; READ_BYTES];
        let unreadable = |error: io::Error| format!("the log cannot be read at {position}: {error}");
        let got = read_some(&file.file, &mut near, offset).map_err(unreadable)?;
        let damaged = || format!("the log is damaged at {position}");
        let header = near[..got].first_chunk::<HEADER_BYTES>().ok_or_else(damaged)?;
        let crc = u32::from_le_bytes([header[0], header[1], header[2], header[3]]);
        let value_bytes = u32::from_le_bytes([header[4], header[5], header[6], header[7]]) as usize;
        let key_bytes = usize::from(u16::from_le_bytes([header[8], header[9]]));
        let before = u64::from_le_bytes(header[10..18].try_into().expect("eight bytes"));
        if value_bytes > super::super::ITEM_BYTES_MAX || before >= position {
            return Err(damaged());
        }
        let length = HEADER_BYTES + key_bytes + value_bytes;
        let long;
        let bytes = if length <= got {
            &near[..length]
        } else {
            let mut whole = near[..got].to_vec();
            whole.resize(length, 0);
            file.file.read_exact_at(&mut whole[got..], offset + got as u64).map_err(unreadable)?;
            long = whole;
            &long
        };
        if crc != checksum(&self.store, position, &bytes[4..]) {
            return Err(damaged());
        }
        let (key, value) = bytes[HEADER_BYTES..].split_at(key_bytes);
        Ok(Some(Item { before, key: key.to_vec(), value: value.to_vec() }))
    }

    /// At most `limit` items of all logs up to `end`, the oldest first, starting after the one at
    /// `after`, or with the oldest where that one is gone.
    pub(super) fn forward(&self, after: Option<u64>, end: u64, limit: usize) -> Result<AllItems, String> {
        let mut found = AllItems::new();
        let mut skipped = after;
        let mut position = after.unwrap_or(FIRST);
        while position < end && found.len() < limit {
            let Some(item) = self.read(position)? else {
                // Its file is gone, and all before it: the oldest that is left comes next.
                skipped = None;
                match self.files().front().map(|first| first.base) {
                    Some(first) if first > position => position = first,
                    _ => return Ok(found),
                }
                continue;
            };
            let next = position + Logs::item_bytes(&item.key, &item.value);
            if skipped != Some(position) {
                found.push((Mark(position), Key(item.key), item.value));
            }
            position = next;
        }
        Ok(found)
    }

    /// Bytes of all files.
    pub(super) fn bytes(&self, end: u64) -> u64 {
        self.files().front().map_or(0, |first| end - first.base)
    }

    fn file_at(&self, position: u64) -> Option<LogFile> {
        let files = self.files();
        let after = files.partition_point(|file| file.base <= position);
        files.get(after.checked_sub(1)?).cloned()
    }

    fn files(&self) -> std::sync::RwLockReadGuard<'_, VecDeque<LogFile>> {
        self.files.read().unwrap_or_else(PoisonError::into_inner)
    }
    fn write_files(&self) -> std::sync::RwLockWriteGuard<'_, VecDeque<LogFile>> {
        self.files.write().unwrap_or_else(PoisonError::into_inner)
    }
}

fn path(directory: &Path, base: u64) -> PathBuf {
    directory.join(format!("{base:016x}.log"))
}

/// The position is part of it: an item found elsewhere than where it was written is none.
fn checksum(store: &StoreId, position: u64, bytes: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(store);
    hasher.update(&position.to_le_bytes());
    hasher.update(bytes);
    hasher.finalize()
}

fn read_some(file: &File, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
    loop {
        match file.read_at(bytes, offset) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}
