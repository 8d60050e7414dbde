//! The customers' keys on disk.
//!
//! ```text
//! head:  "hearthway-keys" | version u16 | file id 16 | next key id u32 | nonce 12 | tag 16
//! frame: entries u32 | entry … | crc32
//! entry: key id u32 | subject 16 | nonce 12 | key 32, encrypted | tag 16
//! ```
//!
//! Numbers are big-endian. The head's tag is over the head alone, by the master key: a file of another
//! gateway is known at once. A frame is added and synced before any value is sealed with its keys, so a
//! frame that a crash cut short has sealed nothing and is left out. To destroy keys the file is written
//! anew without them, synced, and takes the old one's place.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::super::StoreError;
use super::super::codec::KeyId;
use super::super::identity::sync_directory;
use super::cipher::{Cipher, KEY_BYTES, NONCE_BYTES, TAG_BYTES};
use super::vault::Subject;

/// Names a file of keys among all: random, drawn when it is made.
pub(super) type FileId = [u8; 16];

const MAGIC: &[u8; 14] = b"hearthway-keys";
const VERSION: u16 = 1;
const HEAD_BYTES: usize = MAGIC.len() + 2 + 16 + 4 + NONCE_BYTES + TAG_BYTES;
const ENTRY_BYTES: usize = 4 + 16 + NONCE_BYTES + KEY_BYTES + TAG_BYTES;
/// Entries of one frame: a group of claims has fewer.
const ENTRIES_PER_FRAME_MAX: usize = 4_096;
/// Bytes of a file that is read at all: some ten million customers.
const FILE_BYTES_MAX: u64 = 1 << 30;

const HELP_MISSING: &str = "Put the newest copy of that file back, with mode 600. Without it nothing of any customer can be \
    read; nothing was made anew in its place";
const HELP_FOREIGN: &str = "Put the file back that belongs to this store and master key";

/// One key as it is kept.
#[derive(Clone)]
pub(super) struct Entry {
    pub(super) id: KeyId,
    pub(super) subject: Subject,
    pub(super) key: [u8; KEY_BYTES],
}

/// The file, open to be added to.
pub(super) struct KeysFile {
    path: PathBuf,
    id: FileId,
    file: File,
    /// Bytes of whole frames: what a failed write left behind them is written over.
    bytes: u64,
    wrapping: Cipher,
    /// Whether it is not known which file has the name: then nothing is added before all is written anew.
    is_unsure: bool,
    /// Makes a new name durable.
    pub(super) sync_folder: fn(&Path) -> io::Result<()>,
}

/// What a file of keys says.
pub(super) struct Known {
    pub(super) entries: Vec<Entry>,
    /// The next key id to be given.
    pub(super) next: KeyId,
}

impl KeysFile {
    /// Opens the file that a store knows, or makes one for a store that knows none.
    pub(super) fn open(path: &Path, wrapping: Cipher, known: Option<FileId>) -> Result<(KeysFile, Known), StoreError> {
        let io = |doing: &'static str| {
            move |error: io::Error| {
                unusable(
                    path,
                    format!("{doing} it: {error}"),
                    "Check the path, its owner, its permissions, and the disk",
                )
            }
        };
        let bytes = match File::open(path) {
            Ok(file) => {
                let about = file.metadata().map_err(io("reading"))?;
                let mode = about.permissions().mode() & 0o777;
                if mode & 0o077 != 0 {
                    let help = format!("Run `chmod 600 {}`", path.display());
                    return Err(unusable(path, format!("it has mode {mode:o}: others can read it"), &help));
                }
                let mut bytes = Vec::new();
                file.take(FILE_BYTES_MAX).read_to_end(&mut bytes).map_err(io("reading"))?;
                Some(bytes)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(io("opening")(error)),
        };
        let Some(bytes) = bytes else {
            if known.is_some() {
                return Err(unusable(
                    path,
                    "it is missing, and values of this store are sealed with its keys".to_owned(),
                    HELP_MISSING,
                ));
            }
            let mut id = FileId::default();
            getrandom::fill(&mut id).map_err(|error| io("drawing an id for")(io::Error::other(error)))?;
            let text = written(&wrapping, &id, 1, &[]).map_err(io("making"))?;
            let file = written_beside(path, &text).map_err(io("making"))?;
            fs::rename(beside(path), path).and_then(|()| sync_folder(path)).map_err(io("making"))?;
            let (path, bytes) = (path.to_owned(), text.len() as u64);
            let keys = KeysFile { path, id, file, bytes, wrapping, is_unsure: false, sync_folder };
            return Ok((keys, Known { entries: Vec::new(), next: 1 }));
        };
        let (id, next) = read_head(path, &bytes, &wrapping)?;
        let (entries, whole) = read_frames(path, &bytes, &id, &wrapping)?;
        match known {
            Some(known) if known != id => {
                return Err(unusable(path, "it holds the keys of another store".to_owned(), HELP_FOREIGN));
            }
            // One that was made, and the process ended before the store was told, has no keys.
            None if !entries.is_empty() => {
                let cause = "it holds keys, and this store has never sealed anything: it belongs to another store";
                return Err(unusable(
                    path,
                    cause.to_owned(),
                    "Move it aside, or put the store back that it belongs to",
                ));
            }
            Some(_) | None => {}
        }
        let next = entries.iter().map(|entry| entry.id.saturating_add(1)).max().unwrap_or(1).max(next);
        let file = append_to(path).map_err(io("opening"))?;
        let path = path.to_owned();
        let keys = KeysFile { path, id, file, bytes: whole, wrapping, is_unsure: false, sync_folder };
        Ok((keys, Known { entries, next }))
    }

    pub(super) fn id(&self) -> FileId {
        self.id
    }

    /// Whether it must be written anew before anything is added.
    pub(super) fn is_unsure(&self) -> bool {
        self.is_unsure
    }

    /// Adds keys; durable on return.
    pub(super) fn append(&mut self, entries: &[Entry]) -> Result<(), StoreError> {
        if self.is_unsure {
            // What is open may have lost its name: a key in it would be gone with the next start.
            return Err(failed(io::Error::other("the last writing of the file did not come to an end")));
        }
        let mut added = Vec::new();
        for frame in entries.chunks(ENTRIES_PER_FRAME_MAX) {
            write_frame(&self.wrapping, &self.id, frame, &mut added).map_err(failed)?;
        }
        self.file.set_len(self.bytes).map_err(failed)?;
        self.file.seek(SeekFrom::Start(self.bytes)).map_err(failed)?;
        self.file.write_all(&added).map_err(failed)?;
        self.file.sync_all().map_err(failed)?;
        self.bytes += added.len() as u64;
        Ok(())
    }

    /// Leaves these keys and no others in the file; durable on return.
    pub(super) fn rewrite(&mut self, next: KeyId, entries: &[Entry]) -> Result<(), StoreError> {
        let text = written(&self.wrapping, &self.id, next, entries).map_err(failed)?;
        let file = written_beside(&self.path, &text).map_err(failed)?;
        // From here on the name may be the new file's, whatever the system says of it.
        self.is_unsure = true;
        fs::rename(beside(&self.path), &self.path).map_err(failed)?;
        self.file = file;
        self.bytes = text.len() as u64;
        (self.sync_folder)(&self.path).map_err(failed)?;
        self.is_unsure = false;
        Ok(())
    }
}

fn written(wrapping: &Cipher, id: &FileId, next: KeyId, entries: &[Entry]) -> io::Result<Vec<u8>> {
    let mut text = MAGIC.to_vec();
    text.extend_from_slice(&VERSION.to_be_bytes());
    text.extend_from_slice(id);
    text.extend_from_slice(&next.to_be_bytes());
    let nonce = drawn()?;
    // The wrapped key of the head is 32 zero bytes: only the proof of who wrote it is wanted.
    let proof = wrapping.wrap(&[0; KEY_BYTES], &text, nonce);
    text.extend_from_slice(&nonce);
    text.extend_from_slice(&proof[KEY_BYTES..]);
    for frame in entries.chunks(ENTRIES_PER_FRAME_MAX) {
        write_frame(wrapping, id, frame, &mut text)?;
    }
    Ok(text)
}

fn write_frame(wrapping: &Cipher, id: &FileId, entries: &[Entry], text: &mut Vec<u8>) -> io::Result<()> {
    let begin = text.len();
    text.extend_from_slice(&(entries.len() as u32).to_be_bytes());
    for entry in entries {
        let nonce = drawn()?;
        text.extend_from_slice(&entry.id.to_be_bytes());
        text.extend_from_slice(&entry.subject.0);
        text.extend_from_slice(&nonce);
        text.extend_from_slice(&wrapping.wrap(&entry.key, &about(id, entry.id, &entry.subject), nonce));
    }
    let crc = crc32fast::hash(&text[begin..]);
    text.extend_from_slice(&crc.to_be_bytes());
    Ok(())
}

/// What a wrapped key is bound to.
fn about(file: &FileId, id: KeyId, subject: &Subject) -> [u8; 36] {
    let mut about = [0; 36];
    about[..16].copy_from_slice(file);
    about[16..20].copy_from_slice(&id.to_be_bytes());
    about[20..].copy_from_slice(&subject.0);
    about
}

fn read_head(path: &Path, bytes: &[u8], wrapping: &Cipher) -> Result<(FileId, KeyId), StoreError> {
    let damaged =
        || unusable(path, "it is no file of customers' keys, or its head is damaged".to_owned(), HELP_MISSING);
    let head = bytes.get(..HEAD_BYTES).ok_or_else(damaged)?;
    let (told, proof) = head.split_at(HEAD_BYTES - NONCE_BYTES - TAG_BYTES);
    let rest = told.strip_prefix(&MAGIC[..]).ok_or_else(damaged)?;
    let (version, rest) = rest.split_first_chunk::<2>().ok_or_else(damaged)?;
    if u16::from_be_bytes(*version) != VERSION {
        let cause = format!("it is of version {}, and this release reads {VERSION}", u16::from_be_bytes(*version));
        return Err(unusable(path, cause, "Start the release that wrote it"));
    }
    let (id, next) = rest.split_first_chunk::<16>().ok_or_else(damaged)?;
    let next = KeyId::from_be_bytes(*next.first_chunk().ok_or_else(damaged)?);
    let nonce = *proof.first_chunk::<NONCE_BYTES>().ok_or_else(damaged)?;
    // GCM gives the same bytes for the same key, nonce and text: the proof can be made again.
    let again = wrapping.wrap(&[0; KEY_BYTES], told, nonce);
    if again[KEY_BYTES..] != proof[NONCE_BYTES..] {
        let cause = "it was written under another master key, or its head is damaged".to_owned();
        return Err(unusable(path, cause, HELP_FOREIGN));
    }
    Ok((*id, next))
}

/// All whole frames, and how far they go. What follows them was cut short before it sealed anything; a
/// later frame cannot stand behind it, because a frame is added only behind whole ones.
fn read_frames(path: &Path, bytes: &[u8], id: &FileId, wrapping: &Cipher) -> Result<(Vec<Entry>, u64), StoreError> {
    let mut entries = Vec::new();
    let mut at = HEAD_BYTES;
    while let Some(frame) = frame_at(bytes, at) {
        for entry in frame[4..frame.len() - 4].chunks_exact(ENTRY_BYTES) {
            let read = read_entry(entry, id, wrapping);
            entries.push(read.ok_or_else(|| {
                let cause = format!("a key at byte {at} was not wrapped by this master key");
                unusable(path, cause, HELP_FOREIGN)
            })?);
        }
        at += frame.len();
    }
    Ok((entries, at as u64))
}

fn frame_at(bytes: &[u8], at: usize) -> Option<&[u8]> {
    let rest = bytes.get(at..)?;
    let entries = u32::from_be_bytes(*rest.first_chunk()?) as usize;
    if entries > ENTRIES_PER_FRAME_MAX {
        return None;
    }
    let frame = rest.get(..4 + entries * ENTRY_BYTES + 4)?;
    let (checked, crc) = frame.split_last_chunk::<4>()?;
    (crc32fast::hash(checked) == u32::from_be_bytes(*crc)).then_some(frame)
}

fn read_entry(bytes: &[u8], file: &FileId, wrapping: &Cipher) -> Option<Entry> {
    let (id, rest) = bytes.split_first_chunk::<4>()?;
    let (subject, rest) = rest.split_first_chunk::<16>()?;
    let (nonce, wrapped) = rest.split_first_chunk::<NONCE_BYTES>()?;
    let (id, subject) = (KeyId::from_be_bytes(*id), Subject(*subject));
    let key = wrapping.unwrap_key(wrapped.try_into().ok()?, &about(file, id, &subject), *nonce)?;
    Some(Entry { id, subject, key })
}

fn drawn() -> io::Result<[u8; NONCE_BYTES]> {
    let mut nonce = [0; NONCE_BYTES];
    getrandom::fill(&mut nonce).map_err(io::Error::other)?;
    Ok(nonce)
}

/// Where a new file stands until it takes the place of the one before.
fn beside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    PathBuf::from(name)
}

/// A whole new file beside the one there is, on disk on return and open to be added to: it stays so under any name.
fn written_beside(path: &Path, text: &[u8]) -> io::Result<File> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(beside(path))?;
    file.write_all(text)?;
    file.sync_all()?;
    Ok(file)
}

/// Makes the name of a file durable.
fn sync_folder(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => sync_directory(parent),
        _ => sync_directory(Path::new(".")),
    }
}

fn append_to(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).open(path)
}

fn failed(error: io::Error) -> StoreError {
    StoreError::Failed { doing: "writing the customers' keys", cause: error.to_string() }
}

fn unusable(path: &Path, cause: String, help: &str) -> StoreError {
    StoreError::KeysUnusable { path: path.to_owned(), cause, help: help.to_owned() }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn entry(id: KeyId) -> Entry {
        Entry { id, subject: Subject([id as u8; 16]), key: [id as u8; KEY_BYTES] }
    }

    fn cipher() -> Cipher {
        Cipher::new(&[1; KEY_BYTES])
    }

    fn ids(path: &Path, id: FileId) -> Vec<KeyId> {
        let (_, known) = KeysFile::open(path, cipher(), Some(id)).unwrap();
        known.entries.iter().map(|entry| entry.id).collect()
    }

    #[test]
    fn no_key_is_added_to_a_file_that_may_have_lost_its_name() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("customers.keys");
        let (mut file, _) = KeysFile::open(&path, cipher(), None).unwrap();
        file.append(&[entry(1), entry(2)]).unwrap();
        // The new file has the name, and that it is durable cannot be said.
        file.sync_folder = |_| Err(io::Error::other("the disk is gone"));
        file.rewrite(4, &[entry(2)]).unwrap_err();
        let refused = file.append(&[entry(3)]).unwrap_err().to_string();
        assert!(refused.contains("did not come to an end"), "{refused}");
        assert_eq!(ids(&path, file.id()), [2]);
        file.sync_folder = sync_folder;
        file.rewrite(4, &[entry(2), entry(3)]).unwrap();
        file.append(&[entry(4)]).unwrap();
        assert_eq!(ids(&path, file.id()), [2, 3, 4], "what is added is in the file that has the name");
    }
}
