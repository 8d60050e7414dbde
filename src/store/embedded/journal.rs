//! The journal: every group of commits as one checksummed frame, on disk before it counts.
//!
//! ```text
//! magic u32 | crc32 u32 | generation u64 | body bytes u32 | 0 u32 | body | zeros up to 8 bytes
//! ```
//!
//! Two files take turns: while one is written, what the other holds is written behind into the
//! database, and then it is written over from its start. A frame of an earlier turn is told by its
//! generation, which grows by one from frame to frame. The checksum begins with the store's id,
//! so that no message of a device can pass for a frame.
//!
//! Until a row is in the database its value is read from here: memory keeps only the [`Place`], so
//! that it does not grow with what waits.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::super::identity::StoreId;
use super::space;

const MAGIC: u32 = 0x4857_6a01;
const HEADER_BYTES: usize = 24;
const ALIGNMENT: usize = 8;

/// One write of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Entry<'a> {
    /// A row is put.
    Put(&'a [u8], &'a [u8]),
    /// A row goes.
    Delete(&'a [u8]),
    /// An item joins a log; first the position of the one before it.
    Append(u64, &'a [u8], &'a [u8]),
}

/// Where a value stands in the journal, with a checksum of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    offset: u64,
    pub(super) bytes: u32,
    crc: u32,
    file: u8,
}

/// The two files, for reading what waits.
#[derive(Debug)]
pub(super) struct Halves([File; 2]);

impl Halves {
    /// The value at a place. The file must not have been written over since.
    pub(super) fn read(&self, place: Place) -> Result<Vec<u8>, String> {
        let mut value = vec![0; place.bytes as usize];
        let file = &self.0[usize::from(place.file)];
        file.read_exact_at(&mut value, place.offset).map_err(|error| format!("the journal cannot be read: {error}"))?;
        if crc32fast::hash(&value) != place.crc {
            return Err(format!("the journal is damaged at byte {} of file {}", place.offset, place.file));
        }
        Ok(value)
    }
}

/// The two files, and where the next frame goes.
pub(super) struct Journal {
    store: StoreId,
    halves: Arc<Halves>,
    current: usize,
    offset: u64,
    reserved: [u64; 2],
    frame: Vec<u8>,
}

impl Journal {
    /// Opens the two files, making them where they are missing.
    pub(super) fn open(directory: &Path, store: StoreId) -> io::Result<Journal> {
        std::fs::create_dir_all(directory)?;
        let open = |number: usize| {
            File::options().read(true).write(true).create(true).truncate(false).open(path(directory, number))
        };
        let halves = Arc::new(Halves([open(0)?, open(1)?]));
        Ok(Journal { store, halves, current: 0, offset: 0, reserved: [0; 2], frame: Vec::new() })
    }

    /// For reading what waits, beside the one who writes.
    pub(super) fn halves(&self) -> Arc<Halves> {
        Arc::clone(&self.halves)
    }

    /// Every group after `generation` in order, as far as it was written whole, with the places of
    /// the rows that it puts. Gives the last generation. A group after a gap is damage, and told.
    pub(super) fn replay(
        &self,
        generation: u64,
        mut each: impl FnMut(&[Entry<'_>], &[Place]) -> Result<(), String>,
    ) -> Result<u64, String> {
        let read = |file: &File| read_whole(file).map_err(|error| format!("the journal cannot be read: {error}"));
        let mut last = generation;
        let mut highest = 0;
        // One file in memory at a time; the first again, for it may go on where the second ends.
        for file in [0, 1, 0] {
            let bytes = read(&self.halves.0[file])?;
            for (found, at, body) in frames(&self.store, &bytes) {
                if found == last + 1 {
                    let entries = entries(body).ok_or("a group of the journal is malformed")?;
                    each(&entries, &places(&entries, file, at))?;
                    last = found;
                }
            }
            highest = strays(&self.store, &bytes).fold(highest, u64::max);
        }
        if highest > last {
            return Err(format!("the journal is damaged: group {highest} stands after group {last}"));
        }
        Ok(last)
    }

    /// Whether the current file holds so many bytes or more.
    pub(super) fn is_full(&self, bytes_max: u64) -> bool {
        self.offset >= bytes_max
    }

    /// Goes on with the other file, from its start. What it held must be in the database.
    pub(super) fn turn(&mut self) {
        self.current = 1 - self.current;
        self.offset = 0;
    }

    /// Makes a group durable; gives the places of the rows that it puts, in order. After an error
    /// nothing of it counts, unless the disk kept it unasked; the next frame takes its place.
    pub(super) fn write(&mut self, generation: u64, entries: &[Entry<'_>]) -> Result<Vec<Place>, Unwritten> {
        self.frame.clear();
        self.frame.resize(HEADER_BYTES, 0);
        entries.iter().for_each(|entry| put_entry(&mut self.frame, *entry));
        let body_bytes = self.frame.len() - HEADER_BYTES;
        let length =
            u32::try_from(body_bytes).map_err(|_| Unwritten::NoRoom(io::Error::other("a group above 4 GiB")))?;
        self.frame[8..16].copy_from_slice(&generation.to_le_bytes());
        self.frame[16..20].copy_from_slice(&length.to_le_bytes());
        self.frame[0..4].copy_from_slice(&MAGIC.to_le_bytes());
        let crc = checksum(&self.store, &self.frame);
        self.frame[4..8].copy_from_slice(&crc.to_le_bytes());
        self.frame.resize(self.frame.len().next_multiple_of(ALIGNMENT), 0);

        let file = &self.halves.0[self.current];
        let end = self.offset + self.frame.len() as u64;
        space::reserve(file, &mut self.reserved[self.current], end).map_err(Unwritten::NoRoom)?;
        file.write_all_at(&self.frame, self.offset).map_err(Unwritten::NoRoom)?;
        file.sync_data().map_err(Unwritten::NotSynced)?;
        let places = places(entries, self.current, self.offset + HEADER_BYTES as u64);
        self.offset = end;
        if self.frame.capacity() > FRAME_KEPT_BYTES_MAX {
            self.frame = Vec::new();
        }
        Ok(places)
    }

    /// Puts something else in the place of the current file, to see it fail.
    #[cfg(test)]
    pub(super) fn replace_file(&mut self, file: File) {
        let mut halves = self.halves.0.each_ref().map(|file| file.try_clone().expect("a handle is left"));
        halves[self.current] = file;
        self.halves = Arc::new(Halves(halves));
    }
}

/// A buffer above this is given back after a rare large group.
const FRAME_KEPT_BYTES_MAX: usize = 1024 * 1024;

/// Why a group is not durable.
#[derive(Debug)]
pub(super) enum Unwritten {
    /// The file did not take it: the next one may pass.
    NoRoom(io::Error),
    /// The disk did not keep what the file took: what else it lost is not known.
    NotSynced(io::Error),
}

pub(super) fn path(directory: &Path, number: usize) -> PathBuf {
    directory.join(number.to_string())
}

fn read_whole(mut file: &File) -> io::Result<Vec<u8>> {
    use std::io::{Read, Seek, SeekFrom};
    file.seek(SeekFrom::Start(0))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Over the store's id, the generation, the length and the body.
fn checksum(store: &StoreId, frame: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(store);
    hasher.update(&frame[8..]);
    hasher.finalize()
}

/// The frame that begins the bytes, if one does: its generation, its body, its whole length.
fn frame<'a>(store: &StoreId, bytes: &'a [u8]) -> Option<(u64, &'a [u8], usize)> {
    let header = bytes.get(..HEADER_BYTES)?;
    let number = |at: usize| u32::from_le_bytes(header[at..at + 4].try_into().expect("four bytes"));
    if number(0) != MAGIC {
        return None;
    }
    let generation = u64::from_le_bytes(header[8..16].try_into().expect("eight bytes"));
    let end = HEADER_BYTES.checked_add(usize::try_from(number(16)).ok()?)?;
    let whole = bytes.get(..end)?;
    (number(4) == checksum(store, whole)).then(|| (generation, &whole[HEADER_BYTES..], end.next_multiple_of(ALIGNMENT)))
}

/// The frames from the start on, as long as each generation follows the one before: the
/// generation, where its body stands, the body.
fn frames<'a>(store: &'a StoreId, bytes: &'a [u8]) -> impl Iterator<Item = (u64, u64, &'a [u8])> {
    let (mut at, mut next) = (0, None);
    std::iter::from_fn(move || {
        let (generation, body, length) = frame(store, bytes.get(at..)?)?;
        if next.is_some_and(|next| next != generation) {
            return None;
        }
        next = Some(generation + 1);
        let body_at = at + HEADER_BYTES;
        at += length;
        Some((generation, body_at as u64, body))
    })
}

/// The generations of all frames wherever they stand.
fn strays<'a>(store: &'a StoreId, bytes: &'a [u8]) -> impl Iterator<Item = u64> {
    let starts = (0..bytes.len()).step_by(ALIGNMENT).filter(|at| bytes[*at..].starts_with(&MAGIC.to_le_bytes()));
    starts.filter_map(|at| frame(store, &bytes[at..]).map(|(generation, _, _)| generation))
}

const PUT: u8 = 1;
const DELETE: u8 = 2;
const APPEND: u8 = 3;

/// Tag and two lengths.
const ENTRY_HEAD_BYTES: usize = 7;
/// An item's position of the one before it.
const BEFORE_BYTES: usize = 8;

impl<'a> Entry<'a> {
    fn parts(self) -> (u8, &'a [u8], &'a [u8]) {
        match self {
            Entry::Put(key, value) => (PUT, key, value),
            Entry::Delete(key) => (DELETE, key, &[]),
            Entry::Append(_, key, item) => (APPEND, key, item),
        }
    }
}

/// Where the rows that a body puts stand, in order; the body begins at `at`.
fn places(entries: &[Entry<'_>], file: usize, mut at: u64) -> Vec<Place> {
    let mut places = Vec::new();
    for entry in entries {
        let (tag, key, value) = entry.parts();
        let before = if tag == APPEND { BEFORE_BYTES } else { 0 };
        let offset = at + (ENTRY_HEAD_BYTES + before + key.len()) as u64;
        if tag == PUT {
            // A value is below its bound, which is far below this type's own.
            places.push(Place { offset, bytes: value.len() as u32, crc: crc32fast::hash(value), file: file as u8 });
        }
        at = offset + value.len() as u64;
    }
    places
}

fn put_entry(frame: &mut Vec<u8>, entry: Entry<'_>) {
    let (tag, key, value) = entry.parts();
    // Keys and values are below their bounds, which are far below these types' own.
    frame.push(tag);
    frame.extend_from_slice(&(key.len() as u16).to_le_bytes());
    frame.extend_from_slice(&(value.len() as u32).to_le_bytes());
    if let Entry::Append(before, ..) = entry {
        frame.extend_from_slice(&before.to_le_bytes());
    }
    frame.extend_from_slice(key);
    frame.extend_from_slice(value);
}

/// None when the body is not one that [`put_entry`] makes.
fn entries(mut body: &[u8]) -> Option<Vec<Entry<'_>>> {
    let mut entries = Vec::new();
    while !body.is_empty() {
        let (head, rest) = body.split_first_chunk::<ENTRY_HEAD_BYTES>()?;
        let key_bytes = usize::from(u16::from_le_bytes([head[1], head[2]]));
        let value_bytes = usize::try_from(u32::from_le_bytes([head[3], head[4], head[5], head[6]])).ok()?;
        let (before, rest) = match head[0] {
            APPEND => {
                rest.split_first_chunk::<BEFORE_BYTES>().map(|(before, rest)| (u64::from_le_bytes(*before), rest))?
            }
            _ => (0, rest),
        };
        let (key, rest) = rest.split_at_checked(key_bytes)?;
        let (value, rest) = rest.split_at_checked(value_bytes)?;
        entries.push(match head[0] {
            PUT => Entry::Put(key, value),
            DELETE => Entry::Delete(key),
            APPEND => Entry::Append(before, key, value),
            _ => return None,
        });
        body = rest;
    }
    Some(entries)
}

const _: () = assert!(super::super::KEY_BYTES_MAX <= u16::MAX as usize);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const STORE: StoreId = [7; 16];

    fn journal(directory: &Path) -> Journal {
        Journal::open(directory, STORE).unwrap()
    }
    fn write(journal: &mut Journal, generation: u64) {
        let key = generation.to_be_bytes();
        journal
            .write(generation, &[Entry::Put(&key, b"value"), Entry::Delete(b"k"), Entry::Append(7, b"l", &key)])
            .unwrap();
    }
    fn replayed(journal: &Journal, after: u64) -> Result<(u64, Vec<u64>), String> {
        let mut seen = Vec::new();
        let last = journal.replay(after, |entries, places| {
            let Entry::Put(key, b"value") = entries[0] else { panic!("{entries:?}") };
            assert_eq!(entries[1..], [Entry::Delete(b"k"), Entry::Append(7, b"l", key)]);
            assert_eq!(places.len(), 1);
            assert_eq!(journal.halves().read(places[0]).unwrap(), b"value");
            seen.push(u64::from_be_bytes(key.try_into().unwrap()));
            Ok(())
        })?;
        Ok((last, seen))
    }

    #[test]
    fn frames_come_back_in_order_over_turns_and_old_ones_do_not_count() {
        let directory = tempfile::tempdir().unwrap();
        let mut written = journal(directory.path());
        (1..=5).for_each(|n| write(&mut written, n));
        written.turn();
        (6..=8).for_each(|n| write(&mut written, n));
        assert_eq!(replayed(&written, 0).unwrap(), (8, (1..=8).collect()));
        assert_eq!(replayed(&written, 6).unwrap(), (8, vec![7, 8]));
        written.turn();
        (9..=10).for_each(|n| write(&mut written, n));
        let again = journal(directory.path());
        assert_eq!(
            replayed(&again, 5).unwrap(),
            (10, (6..=10).collect()),
            "3 to 5 of the first turn still stand there"
        );
        assert_eq!(replayed(&again, 10).unwrap(), (10, vec![]));
    }

    #[test]
    fn a_torn_last_frame_is_no_group_and_a_torn_middle_one_is_damage() {
        let directory = tempfile::tempdir().unwrap();
        let mut written = journal(directory.path());
        (1..=4).for_each(|n| write(&mut written, n));
        let file = path(directory.path(), 0);
        let bytes = std::fs::read(&file).unwrap();
        for cut in 1..bytes.len() / 4 {
            std::fs::write(&file, &bytes[..bytes.len() - cut]).unwrap();
            let found = replayed(&journal(directory.path()), 0).unwrap().0;
            assert!(found == 3 || (found == 4 && cut < ALIGNMENT), "{cut} bytes short: {found}");
        }
        for at in 0..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1;
            std::fs::write(&file, &flipped).unwrap();
            match replayed(&journal(directory.path()), 0) {
                Ok((4, _)) => {}
                Ok((last, _)) => assert!(at >= bytes.len() / 4 * 3 && last == 3, "byte {at}: {last}"),
                Err(said) => assert!(said.contains("damaged"), "{said}"),
            }
        }
    }

    #[test]
    fn a_value_that_waits_is_read_back_whole_or_not_at_all() {
        let directory = tempfile::tempdir().unwrap();
        let mut written = journal(directory.path());
        let entries = [
            Entry::Append(0, b"log", b"item"),
            Entry::Put(b"a", b"first"),
            Entry::Delete(b"b"),
            Entry::Put(b"c", b"second"),
        ];
        written.turn();
        written.write(1, &entries).unwrap();
        let places = written.write(2, &entries).unwrap();
        let read = |place| written.halves().read(place);
        assert_eq!(places.iter().map(|place| read(*place).unwrap()).collect::<Vec<_>>(), [&b"first"[..], b"second"]);
        let file = path(directory.path(), 1);
        let mut bytes = std::fs::read(&file).unwrap();
        bytes[places[1].offset as usize] ^= 1;
        std::fs::write(&file, bytes).unwrap();
        assert_eq!(read(places[0]).unwrap(), b"first");
        assert!(read(places[1]).unwrap_err().contains("damaged"));
    }

    #[test]
    fn a_frame_of_another_store_is_none() {
        let directory = tempfile::tempdir().unwrap();
        write(&mut journal(directory.path()), 1);
        let other = Journal::open(directory.path(), [8; 16]).unwrap();
        assert_eq!(replayed(&other, 0).unwrap(), (0, vec![]));
    }

    proptest::proptest! {
        #[test]
        fn no_body_makes_the_reader_panic(body: Vec<u8>) {
            let _ = entries(&body);
        }
    }
}
