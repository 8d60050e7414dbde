//! The customers' keys in memory.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use hearthway_core::id::HouseholdId;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::super::StoreError;
use super::super::codec::{self, KeyId};
use super::super::keys::Key;
use super::cipher::{Cipher, KEY_BYTES, NONCE_BYTES, erased};
use super::file::{Entry, FileId, KeysFile, Known};
use super::{BLIND_BYTES, SealingSecrets, is_sealed};

/// Whose key it is: a home, or a person as one retailer knows them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Subject(pub(super) [u8; 16]);

impl Subject {
    /// A home.
    pub fn household(id: HouseholdId) -> Subject {
        Subject::new(b'h', id.bytes())
    }
    /// A person, by the name under which their rows stand (see [`super::blind`]).
    pub fn profile(blind: &[u8; BLIND_BYTES]) -> Subject {
        Subject::new(b'p', blind)
    }
    /// What ends with a day, counted from 1970, whoever it is about: all answers to calls of that day, and the last
    /// words about who is erased.
    pub fn day(day: u64) -> Subject {
        let mut name = [0; BLIND_BYTES];
        name[BLIND_BYTES - 8..].copy_from_slice(&day.to_be_bytes());
        Subject::new(DAY, &name)
    }
    fn is_day_before(&self, day: u64) -> bool {
        self.0[0] == DAY && self.0 < Subject::day(day).0
    }
    fn new(kind: u8, name: &[u8]) -> Subject {
        let mut subject = [kind; 16];
        subject[1..].copy_from_slice(name);
        Subject(subject)
    }
}

/// The first byte of a subject that is a day.
const DAY: u8 = b'd';

/// All keys of all customers.
pub struct Vault {
    keys: RwLock<Keys>,
    file: Mutex<KeysFile>,
    file_id: FileId,
    blinding: [u8; 32],
    nonces: Nonces,
}

#[derive(Default)]
struct Keys {
    /// The key that each seals with.
    of: HashMap<Subject, KeyId>,
    /// Every key that opens something.
    known: HashMap<KeyId, (Subject, [u8; KEY_BYTES])>,
    /// The next id: none is given twice.
    next: KeyId,
    /// Keys that are not yet on disk.
    unwritten: Vec<KeyId>,
    /// Keys whose destruction has begun: they open, and seal nothing more, whoever still has their ids. One whose
    /// destruction failed stays here until it is asked for again, and is written to no file meanwhile.
    doomed: HashSet<KeyId>,
}

/// Nonces that never repeat: counted on from a random start of this process. Two starts out of 2^96 that
/// lie nearer than a process counts do not happen.
struct Nonces {
    high: [u8; 4],
    low: AtomicU64,
}

impl Nonces {
    fn start() -> Result<Nonces, StoreError> {
        let (mut high, mut low) = ([0; 4], [0; 8]);
        let drawn = getrandom::fill(&mut high).and_then(|()| getrandom::fill(&mut low));
        drawn.map_err(|error| StoreError::Failed { doing: "drawing a nonce", cause: error.to_string() })?;
        Ok(Nonces { high, low: AtomicU64::new(u64::from_be_bytes(low)) })
    }
}

impl Vault {
    pub(super) fn open(path: &Path, secrets: SealingSecrets, known: Option<FileId>) -> Result<Vault, StoreError> {
        let (file, Known { entries, next }) = KeysFile::open(path, Cipher::new(&secrets.wrapping), known)?;
        let mut keys = Keys { next, ..Keys::default() };
        for Entry { id, subject, key } in entries {
            // Where a kill came between a home's new key and the end of its old one, the newer one seals.
            let current = keys.of.entry(subject).or_insert(id);
            *current = (*current).max(id);
            keys.known.insert(id, (subject, key));
        }
        Ok(Vault {
            file_id: file.id(),
            keys: RwLock::new(keys),
            file: Mutex::new(file),
            blinding: secrets.blinding,
            nonces: Nonces::start()?,
        })
    }

    pub(super) fn file_id(&self) -> FileId {
        self.file_id
    }

    /// The key that somebody's values are sealed with; made where there is none. It is on disk before the
    /// first value is that is sealed with it.
    pub fn key_for(&self, subject: Subject) -> Result<KeyId, StoreError> {
        if let Some(id) = self.read().of.get(&subject) {
            return Ok(*id);
        }
        let failed = |cause: String| StoreError::Failed { doing: "making a customer's key", cause };
        let mut key = [0; KEY_BYTES];
        getrandom::fill(&mut key).map_err(|error| failed(error.to_string()))?;
        let mut keys = self.write();
        if let Some(id) = keys.of.get(&subject) {
            return Ok(*id);
        }
        let id = keys.next;
        keys.next = id.checked_add(1).ok_or_else(|| failed("all 4 294 967 295 ids were given".to_owned()))?;
        keys.known.insert(id, (subject, key));
        keys.of.insert(subject, id);
        keys.unwritten.push(id);
        Ok(id)
    }

    /// The key that somebody's values are sealed with, if they have one.
    pub fn current(&self, subject: Subject) -> Option<KeyId> {
        self.read().of.get(&subject).copied()
    }

    /// From here on nothing more is sealed with somebody's key; the next value makes another one.
    pub fn retire(&self, subject: Subject) {
        self.write().of.remove(&subject);
    }

    /// Somebody's keys that open values and seal none.
    pub fn retired(&self, subject: Subject) -> Vec<KeyId> {
        let keys = self.read();
        let current = keys.of.get(&subject);
        let theirs = keys.known.iter().filter(|(id, (whose, _))| *whose == subject && current != Some(id));
        let mut ids: Vec<KeyId> = theirs.map(|(id, _)| *id).collect();
        ids.sort_unstable();
        ids
    }

    /// Whether a key is there.
    pub fn knows(&self, id: KeyId) -> bool {
        self.read().known.contains_key(&id)
    }

    /// How many keys there are.
    pub fn len(&self) -> usize {
        self.read().known.len()
    }

    /// Whether there is no key.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Destroys keys: on return they are in no file and in no memory. Nobody opens what they sealed.
    pub fn destroy(&self, ids: &[KeyId]) -> Result<(), StoreError> {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let ids: HashSet<KeyId> = ids.iter().copied().collect();
        let (left, next) = {
            let mut keys = self.write();
            // Nothing more is sealed with them; what they sealed is read until the file is without them.
            keys.of.retain(|_, id| !ids.contains(id));
            keys.doomed.extend(&ids);
            (keys.to_be_written(), keys.next)
        };
        // Whoever reads does not wait for the disk. A key that is made meanwhile waits for the file and is added to it.
        file.rewrite(next, &left)?;
        let mut keys = self.write();
        let written: HashSet<KeyId> = left.iter().map(|entry| entry.id).collect();
        keys.unwritten.retain(|id| !written.contains(id) && !ids.contains(id));
        keys.known.retain(|id, _| !ids.contains(id));
        keys.doomed.retain(|id| !ids.contains(id));
        Ok(())
    }

    /// Destroys the keys of all days before one.
    pub fn end_days_before(&self, day: u64) -> Result<(), StoreError> {
        let over: Vec<KeyId> = {
            let keys = self.read();
            keys.known.iter().filter(|(_, (whose, _))| whose.is_day_before(day)).map(|(id, _)| *id).collect()
        };
        if over.is_empty() { Ok(()) } else { self.destroy(&over) }
    }

    /// A name that must not stand in a key of the store, as it stands there.
    pub fn blind(&self, parts: &[&[u8]]) -> [u8; BLIND_BYTES] {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.blinding).expect("HMAC takes keys of any length");
        for part in parts {
            mac.update(&(part.len() as u64).to_be_bytes());
            mac.update(part);
        }
        let hash: [u8; 32] = mac.finalize().into_bytes().into();
        *hash.first_chunk().expect("15 of 32 bytes")
    }

    /// Brings new keys to the disk, all at once.
    pub(super) fn write_down(&self) -> Result<(), StoreError> {
        if self.read().unwritten.is_empty() {
            return Ok(());
        }
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        if file.is_unsure() {
            let (all, next) = {
                let keys = self.read();
                (keys.to_be_written(), keys.next)
            };
            // Whoever reads does not wait for the disk here either.
            file.rewrite(next, &all)?;
            let written: HashSet<KeyId> = all.iter().map(|entry| entry.id).collect();
            let mut keys = self.write();
            let Keys { unwritten, doomed, .. } = &mut *keys;
            unwritten.retain(|id| !written.contains(id) && !doomed.contains(id));
            return Ok(());
        }
        let (unwritten, entries) = {
            let keys = self.read();
            let entry =
                |id: &KeyId| keys.known.get(id).map(|(subject, key)| Entry { id: *id, subject: *subject, key: *key });
            let lasting = keys.unwritten.iter().filter(|id| !keys.doomed.contains(id));
            (keys.unwritten.clone(), lasting.filter_map(entry).collect::<Vec<_>>())
        };
        file.append(&entries)?;
        self.write().unwritten.retain(|id| !unwritten.contains(id));
        Ok(())
    }

    pub(super) fn nonce(&self) -> [u8; NONCE_BYTES] {
        let mut nonce = [0; NONCE_BYTES];
        nonce[..4].copy_from_slice(&self.nonces.high);
        nonce[4..].copy_from_slice(&self.nonces.low.fetch_add(1, Ordering::Relaxed).to_be_bytes());
        nonce
    }

    /// What seals a value; none for a key that was destroyed, or is being: a value that it sealed now would be lost.
    pub(super) fn sealing_cipher(&self, id: KeyId) -> Option<Cipher> {
        let keys = self.read();
        keys.known.get(&id).filter(|_| !keys.doomed.contains(&id)).map(|(_, key)| Cipher::new(key))
    }

    /// A value in clear, whether it was sealed or not.
    pub(super) fn opened(&self, key: &Key, value: Vec<u8>) -> Result<Vec<u8>, StoreError> {
        if !is_sealed(&value) || codec::checked(&value).is_none() {
            // What is damaged is told by whoever reads it.
            return Ok(value);
        }
        let id = codec::key_of(&value);
        let corrupt = |cause| StoreError::Corrupt { key: key.to_string(), cause };
        let (cipher, next) = {
            let keys = self.read();
            (keys.known.get(&id).map(|(_, key)| Cipher::new(key)), keys.next)
        };
        match cipher {
            Some(cipher) => cipher
                .open(key, value)
                .ok_or_else(|| corrupt(format!("it was sealed with another key {id}, or for another place"))),
            None if id < next => Ok(erased(value)),
            None => Err(corrupt(format!(
                "it is sealed with key {id}, and the customers' keys go up to {}: that file is older than the store; \
                 put its newest copy back",
                next - 1
            ))),
        }
    }

    fn read(&self) -> RwLockReadGuard<'_, Keys> {
        self.keys.read().unwrap_or_else(PoisonError::into_inner)
    }
    fn write(&self) -> RwLockWriteGuard<'_, Keys> {
        self.keys.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Keys {
    /// Keys that a file is to hold, in the order of their ids.
    fn to_be_written(&self) -> Vec<Entry> {
        let chosen = self.known.iter().filter(|(id, _)| !self.doomed.contains(id));
        let mut entries: Vec<Entry> =
            chosen.map(|(id, (subject, key))| Entry { id: *id, subject: *subject, key: *key }).collect();
        entries.sort_unstable_by_key(|entry| entry.id);
        entries
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::sync::{Arc, Barrier, mpsc};
    use std::thread;
    use std::time::Duration;

    use super::*;

    /// The file is at the disk, and is let on.
    static AT_THE_DISK: Barrier = Barrier::new(2);
    static GO_ON: Barrier = Barrier::new(2);

    impl Vault {
        fn opens(&self, id: KeyId) -> bool {
            self.read().known.contains_key(&id)
        }
    }

    fn opened(path: &Path, known: Option<FileId>) -> Vault {
        Vault::open(path, SealingSecrets { wrapping: [1; 32], blinding: [2; 32] }, known).unwrap()
    }

    #[test]
    fn a_key_whose_destruction_failed_seals_nothing_more_and_comes_back_in_no_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("customers.keys");
        let vault = opened(&path, None);
        let (gone, stays) = (Subject::day(1), Subject::day(2));
        let (gone_id, stays_id) = (vault.key_for(gone).unwrap(), vault.key_for(stays).unwrap());
        vault.write_down().unwrap();
        let synced = vault.file.lock().unwrap().sync_folder;
        vault.file.lock().unwrap().sync_folder = |_| Err(std::io::Error::other("the disk is gone"));
        vault.destroy(&[gone_id]).unwrap_err();
        assert!(vault.opens(gone_id) && vault.sealing_cipher(gone_id).is_none(), "until it is done it is read");
        let anew = vault.key_for(gone).unwrap();
        vault.write_down().unwrap_err();
        assert!(vault.sealing_cipher(anew).is_some());
        vault.file.lock().unwrap().sync_folder = synced;
        vault.write_down().unwrap();
        let known = |vault: &Vault| [gone_id, stays_id, anew].map(|id| vault.knows(id));
        assert_eq!(known(&opened(&path, Some(vault.file_id()))), [false, true, true]);
        vault.destroy(&[gone_id]).unwrap();
        assert_eq!(known(&vault), [false, true, true]);
        let late = vault.key_for(Subject::day(3)).unwrap();
        vault.write_down().unwrap();
        assert!(opened(&path, Some(vault.file_id())).knows(late));
    }

    /// As above, for the writing anew.
    static ANEW_AT_THE_DISK: Barrier = Barrier::new(2);
    static ANEW_GO_ON: Barrier = Barrier::new(2);

    #[test]
    fn nobody_who_reads_or_makes_a_key_waits_for_a_file_that_is_written_anew() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("customers.keys");
        let vault = Arc::new(opened(&path, None));
        let (gone_id, first) = (vault.key_for(Subject::day(1)).unwrap(), vault.key_for(Subject::day(2)).unwrap());
        vault.write_down().unwrap();
        vault.file.lock().unwrap().sync_folder = |_| Err(std::io::Error::other("the disk is gone"));
        vault.destroy(&[gone_id]).unwrap_err();
        vault.file.lock().unwrap().sync_folder = |_| {
            ANEW_AT_THE_DISK.wait();
            ANEW_GO_ON.wait();
            Ok(())
        };
        let second = vault.key_for(Subject::day(3)).unwrap();
        let writing = thread::spawn({
            let vault = vault.clone();
            move || vault.write_down()
        });
        ANEW_AT_THE_DISK.wait();
        let (told, hears) = mpsc::channel();
        thread::spawn({
            let vault = vault.clone();
            move || told.send((vault.opens(first), vault.key_for(Subject::day(4)).unwrap())).unwrap()
        });
        let heard = hears.recv_timeout(Duration::from_secs(20));
        ANEW_GO_ON.wait();
        writing.join().unwrap().unwrap();
        let (read, late) = heard.expect("who reads does not wait for the disk");
        assert!(read);
        vault.file.lock().unwrap().sync_folder = |_| Ok(());
        vault.write_down().unwrap();
        let again = opened(&path, Some(vault.file_id()));
        assert_eq!([gone_id, first, second, late].map(|id| again.knows(id)), [false, true, true, true]);
    }

    #[test]
    fn nobody_who_reads_or_makes_a_key_waits_for_the_disk_while_others_are_destroyed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("customers.keys");
        let open = |known| Vault::open(&path, SealingSecrets { wrapping: [1; 32], blinding: [2; 32] }, known).unwrap();
        let vault = Arc::new(open(None));
        let (gone, stays, late) = (Subject::day(1), Subject::day(2), Subject::day(3));
        let (gone_id, stays_id) = (vault.key_for(gone).unwrap(), vault.key_for(stays).unwrap());
        vault.write_down().unwrap();
        vault.file.lock().unwrap().sync_folder = |_| {
            AT_THE_DISK.wait();
            GO_ON.wait();
            Ok(())
        };
        let destroying = thread::spawn({
            let vault = vault.clone();
            move || vault.destroy(&[gone_id])
        });
        AT_THE_DISK.wait();
        let (told, hears) = mpsc::channel();
        thread::spawn({
            let vault = vault.clone();
            move || {
                let read = vault.opens(stays_id) && vault.opens(gone_id) && vault.sealing_cipher(gone_id).is_none();
                told.send((read, vault.key_for(late).unwrap(), vault.key_for(gone).unwrap())).unwrap();
            }
        });
        let heard = hears.recv_timeout(Duration::from_secs(20));
        GO_ON.wait();
        destroying.join().unwrap().unwrap();
        let (read, late_id, anew) = heard.expect("who reads does not wait for the disk");
        assert!(read, "what is not destroyed yet is read");
        assert!(anew != gone_id && !vault.knows(gone_id), "and nothing more is sealed with it");
        vault.write_down().unwrap();
        let again = open(Some(vault.file_id()));
        let known = [gone_id, stays_id, late_id, anew].map(|id| again.knows(id));
        assert_eq!(known, [false, true, true, true], "keys that were made meanwhile are in the file");
    }
}
