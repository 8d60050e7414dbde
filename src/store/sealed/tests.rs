#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use hearthway_core::id::HouseholdId;
use tempfile::TempDir;

use super::file::FileId;
use super::*;
use crate::store::keys::KeyBuilder;
use crate::store::memory::MemoryStore;

const MARK: &str = "Madame-Marker-0451";

struct Place {
    dir: TempDir,
    inner: Arc<MemoryStore>,
}

fn secrets(n: u8) -> SealingSecrets {
    SealingSecrets { wrapping: [n; 32], blinding: [n ^ 0xff; 32] }
}
fn home(name: &[u8]) -> Subject {
    Subject::household(HouseholdId::derived(&[name]))
}
fn at(name: &str) -> Key {
    KeyBuilder::table(b'?').name(name).key()
}
fn value_for(id: codec::KeyId, text: &str) -> Vec<u8> {
    let mut bytes = codec::encode(Schema::Offer, text);
    codec::belong_to(id, &mut bytes);
    bytes
}
fn text_of(key: &Key, bytes: &[u8]) -> Result<String, StoreError> {
    codec::decode(Schema::Offer, key, bytes)
}
fn contains(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

impl Place {
    fn new() -> Place {
        Place { dir: tempfile::tempdir().unwrap(), inner: Arc::new(MemoryStore::new()) }
    }
    fn file(&self) -> PathBuf {
        self.dir.path().join("customers.keys")
    }
    fn open(&self) -> Result<Arc<dyn Store>, StoreError> {
        SealedStore::open(self.inner.clone(), &self.file(), secrets(1), Making::Allowed)
    }
    fn refused(&self) -> String {
        match self.open() {
            Ok(_) => panic!("it was opened"),
            Err(error) => error.to_string(),
        }
    }
    /// What a value reads as after a start.
    fn read(&self, name: &str) -> Result<String, StoreError> {
        let key = at(name);
        let bytes = self.open()?.get(&key)?.unwrap();
        text_of(&key, &bytes)
    }
}

fn put(store: &dyn Store, subject: Subject, name: &str, text: &str) -> codec::KeyId {
    let id = store.vault().unwrap().key_for(subject).unwrap();
    let writes = vec![Write::Put(at(name), value_for(id, text))];
    store.commit(&[Commit { preconditions: vec![], writes }]).unwrap();
    id
}

#[test]
fn what_belongs_to_a_customer_is_sealed_below_and_clear_above() {
    let place = Place::new();
    let store = place.open().unwrap();
    let id = put(&*store, home(b"a"), "one", MARK);
    let log = at("log");
    let item = value_for(id, MARK);
    store.commit(&[Commit { preconditions: vec![], writes: vec![Write::Append(log.clone(), item.clone())] }]).unwrap();
    assert_eq!(place.read("one").unwrap(), MARK);
    // Each way to read gives it in clear.
    let clear = |bytes: &[u8]| assert_eq!(text_of(&log, bytes).unwrap(), MARK);
    store.scan(b"?", None, 10).unwrap().iter().for_each(|(_, value)| clear(value));
    store.scan_back(b"?", None, 10).unwrap().iter().for_each(|(_, value)| clear(value));
    store.back(&log, None, 10).unwrap().iter().for_each(|(_, value)| clear(value));
    store.items(None, 10).unwrap().iter().for_each(|(_, _, value)| clear(value));
    // Below it is not there, neither is the key in clear.
    let raw = place.inner.get(&at("one")).unwrap().unwrap();
    assert!(is_sealed(&raw) && !contains(&raw, MARK));
    assert!(text_of(&at("one"), &raw).unwrap_err().to_string().contains("was read without the customers' keys"));
    assert!(!contains(&place.inner.back(&log, None, 1).unwrap()[0].1, MARK));
    // The same value twice is two other values below: nothing tells that they are the same.
    put(&*store, home(b"a"), "one", MARK);
    assert_ne!(place.inner.get(&at("one")).unwrap().unwrap(), raw);
}

#[test]
fn what_is_nobodys_passes_as_it_is() {
    let place = Place::new();
    let store = place.open().unwrap();
    let bytes = codec::encode(Schema::Offer, MARK);
    let writes = vec![Write::Put(at("one"), bytes.clone())];
    store.commit(&[Commit { preconditions: vec![], writes }]).unwrap();
    assert_eq!(place.inner.get(&at("one")).unwrap().unwrap(), bytes);
}

#[test]
fn a_destroyed_key_erases_its_values_and_no_others_for_good() {
    let place = Place::new();
    let store = place.open().unwrap();
    let gone = put(&*store, home(b"a"), "gone", MARK);
    put(&*store, home(b"b"), "stays", MARK);
    let before = fs::read(place.file()).unwrap();
    store.vault().unwrap().destroy(&[gone]).unwrap();
    let erased = |read: Result<String, StoreError>| assert!(matches!(read, Err(StoreError::Erased { .. })));
    let bytes = store.get(&at("gone")).unwrap().unwrap();
    erased(text_of(&at("gone"), &bytes));
    erased(place.read("gone"));
    assert_eq!(place.read("stays").unwrap(), MARK);
    // Nothing of the key is left in the file, wrapped or not: it is shorter by its entry.
    let after = fs::read(place.file()).unwrap();
    assert!(after.len() < before.len());
    assert_eq!(fs::read_dir(place.dir.path()).unwrap().count(), 1, "no copy of the file is left");
    // The id is never given again, not after a start either.
    let store = place.open().unwrap();
    let next = store.vault().unwrap().key_for(home(b"c")).unwrap();
    assert!(next > gone);
    let again = store.vault().unwrap().key_for(home(b"a")).unwrap();
    assert!(again > next, "a customer who comes again begins with another key");
    erased(place.read("gone"));
}

#[test]
fn the_highest_key_destroyed_is_not_given_again() {
    let place = Place::new();
    let store = place.open().unwrap();
    let gone = put(&*store, home(b"a"), "gone", MARK);
    store.vault().unwrap().destroy(&[gone]).unwrap();
    let store = place.open().unwrap();
    assert!(store.vault().unwrap().key_for(home(b"b")).unwrap() > gone);
}

#[test]
fn a_home_that_is_sealed_anew_keeps_its_old_values_until_the_old_key_ends() {
    let place = Place::new();
    let store = place.open().unwrap();
    let vault = store.vault().unwrap();
    let old = put(&*store, home(b"a"), "old", MARK);
    vault.retire(home(b"a"));
    let new = put(&*store, home(b"a"), "new", MARK);
    assert_ne!(old, new);
    assert_eq!((vault.current(home(b"a")), vault.retired(home(b"a"))), (Some(new), vec![old]));
    assert_eq!((place.read("old").unwrap(), place.read("new").unwrap()), (MARK.to_owned(), MARK.to_owned()));
    // After a kill in between the new one goes on.
    let again = place.open().unwrap();
    let vault = again.vault().unwrap();
    assert_eq!((vault.current(home(b"a")), vault.retired(home(b"a"))), (Some(new), vec![old]));
    vault.destroy(&vault.retired(home(b"a"))).unwrap();
    assert!(matches!(place.read("old"), Err(StoreError::Erased { .. })));
    assert_eq!(place.read("new").unwrap(), MARK);
}

#[test]
fn the_keys_of_past_days_end_and_no_others() {
    let place = Place::new();
    let store = place.open().unwrap();
    let subjects = [Subject::day(255), Subject::day(256), Subject::day(257), home(b"a")];
    for (at, subject) in subjects.into_iter().enumerate() {
        put(&*store, subject, &format!("v{at}"), MARK);
    }
    store.vault().unwrap().end_days_before(257).unwrap();
    let left: Vec<bool> = (0..4).map(|at| place.read(&format!("v{at}")).is_ok()).collect();
    assert_eq!(left, [false, false, true, true]);
}

#[test]
fn a_key_is_on_disk_before_its_first_value() {
    let place = Place::new();
    let store = place.open().unwrap();
    let bytes = || fs::read(place.file()).unwrap().len();
    let empty = bytes();
    let id = store.vault().unwrap().key_for(home(b"a")).unwrap();
    assert_eq!(bytes(), empty, "a key alone is not written: a group of claims is one write");
    // The file cannot be written: neither is the value.
    fs::remove_file(place.file()).unwrap();
    fs::create_dir(place.file()).unwrap();
    store.vault().unwrap().destroy(&[]).unwrap_err();
    fs::remove_dir(place.file()).unwrap();
    store.vault().unwrap().destroy(&[]).unwrap();
    let writes = vec![Write::Put(at("one"), value_for(id, MARK))];
    store.commit(&[Commit { preconditions: vec![], writes }]).unwrap();
    assert_eq!(place.read("one").unwrap(), MARK);
}

#[test]
fn a_value_cannot_be_moved_to_another_place_nor_opened_as_another_kind() {
    let place = Place::new();
    let store = place.open().unwrap();
    put(&*store, home(b"a"), "one", MARK);
    let raw = place.inner.get(&at("one")).unwrap().unwrap();
    let write = |bytes: Vec<u8>| {
        let writes = vec![Write::Put(at("other"), bytes)];
        place.inner.commit(&[Commit { preconditions: vec![], writes }]).unwrap();
        store.get(&at("other")).unwrap_err().to_string()
    };
    assert!(write(raw.clone()).contains("for another place"));
    let mut other_kind = raw;
    other_kind[1] = Schema::Order as u8;
    other_kind.truncate(other_kind.len() - 4);
    codec::finish(&mut other_kind);
    assert!(write(other_kind).contains("was sealed with another key"));
}

#[test]
fn damage_is_told_as_damage_and_never_as_erased() {
    let place = Place::new();
    let store = place.open().unwrap();
    put(&*store, home(b"a"), "one", MARK);
    let raw = place.inner.get(&at("one")).unwrap().unwrap();
    for bit in 0..raw.len() * 8 {
        let mut flipped = raw.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        let writes = vec![Write::Put(at("one"), flipped)];
        place.inner.commit(&[Commit { preconditions: vec![], writes }]).unwrap();
        let read = store.get(&at("one")).and_then(|bytes| text_of(&at("one"), &bytes.unwrap()));
        assert!(matches!(read, Err(StoreError::Corrupt { .. })), "bit {bit}: {read:?}");
    }
}

#[test]
fn preconditions_hold_over_what_a_value_says_and_not_over_its_bytes() {
    let place = Place::new();
    let store = place.open().unwrap();
    let id = put(&*store, home(b"a"), "one", MARK);
    let change = |wanted: Vec<u8>, text: &str| {
        let preconditions = vec![Precondition::Equals(at("one"), wanted)];
        let writes = vec![Write::Put(at("one"), value_for(id, text))];
        store.commit(&[Commit { preconditions, writes }]).unwrap().remove(0)
    };
    let read = store.get(&at("one")).unwrap().unwrap();
    assert_eq!(change(read.clone(), "two"), Outcome::Committed);
    let Outcome::Conflict { current, .. } = change(read, "three") else { panic!("it was changed twice") };
    assert_eq!(text_of(&at("one"), &current.unwrap()).unwrap(), "two");
}

#[test]
fn a_write_that_a_crash_cut_short_is_left_out_and_written_over() {
    let place = Place::new();
    let store = place.open().unwrap();
    put(&*store, home(b"a"), "one", MARK);
    let whole = fs::read(place.file()).unwrap();
    put(&*store, home(b"b"), "two", MARK);
    let longer = fs::read(place.file()).unwrap();
    for cut in whole.len() + 1..longer.len() {
        fs::write(place.file(), &longer[..cut]).unwrap();
        assert_eq!(place.read("one").unwrap(), MARK);
        // What the lost key has sealed cannot have been acknowledged; that it is here is told.
        let error = place.read("two").unwrap_err().to_string();
        assert!(error.contains("that file is older than the store"), "{error}");
    }
    fs::write(place.file(), &longer[..longer.len() - 3]).unwrap();
    put(&*place.open().unwrap(), home(b"c"), "three", MARK);
    assert_eq!(place.read("three").unwrap(), MARK);
    assert_eq!(fs::read(place.file()).unwrap().len(), longer.len());
}

#[test]
fn a_missing_or_foreign_file_is_told_and_nothing_is_made_in_its_place() {
    let place = Place::new();
    put(&*place.open().unwrap(), home(b"a"), "one", MARK);
    let ours = fs::read(place.file()).unwrap();

    fs::remove_file(place.file()).unwrap();
    let said = place.refused();
    assert!(said.contains("customers.keys` cannot be used: it is missing"), "{said}");
    assert!(!place.file().exists());

    let other = Place::new();
    put(&*other.open().unwrap(), home(b"a"), "one", MARK);
    fs::copy(other.file(), place.file()).unwrap();
    assert!(place.refused().contains("it holds the keys of another store"), "{}", place.refused());

    fs::write(place.file(), &ours).unwrap();
    let foreign = SealedStore::open(place.inner.clone(), &place.file(), secrets(2), Making::Allowed);
    assert!(foreign.err().unwrap().to_string().contains("under another master key"));

    for (bytes, expected) in [
        (Vec::new(), "it is no file of customers' keys"),
        (b"hello, this is a text and no file of keys, and long enough to be read as one".to_vec(), "no file of"),
        ([&ours[..15], &[9], &ours[16..]].concat(), "it is of version 9"),
        ([&ours[..20], &[!ours[20]], &ours[21..]].concat(), "under another master key, or its head is damaged"),
    ] {
        fs::write(place.file(), bytes).unwrap();
        assert!(place.refused().contains(expected), "{}", place.refused());
    }

    // Beside a store that has never sealed anything, keys are somebody else's; an empty file is a start
    // that was cut short.
    fs::write(place.file(), &ours).unwrap();
    let fresh = Place { dir: place.dir, inner: Arc::new(MemoryStore::new()) };
    assert!(fresh.refused().contains("this store has never sealed anything"), "{}", fresh.refused());
    fs::remove_file(fresh.file()).unwrap();
    fresh.open().unwrap();
    let cut_short = Place { dir: fresh.dir, inner: Arc::new(MemoryStore::new()) };
    cut_short.open().unwrap();
}

#[test]
fn who_only_reads_makes_no_file_and_a_file_that_others_can_read_is_refused() {
    use std::os::unix::fs::PermissionsExt;
    let place = Place::new();
    let store = SealedStore::open(place.inner.clone(), &place.file(), secrets(1), Making::Refused).unwrap();
    assert!(store.vault().is_none() && !place.file().exists());
    place.open().unwrap();
    assert_eq!(fs::metadata(place.file()).unwrap().permissions().mode() & 0o777, 0o600);
    fs::set_permissions(place.file(), fs::Permissions::from_mode(0o640)).unwrap();
    assert!(place.refused().contains("chmod 600"), "{}", place.refused());
}

#[test]
fn a_key_in_the_file_cannot_be_given_to_another() {
    let place = Place::new();
    put(&*place.open().unwrap(), home(b"a"), "one", MARK);
    let mut bytes = fs::read(place.file()).unwrap();
    // The first byte of the first entry's subject, with the frame's checksum made right again.
    let frame = bytes.len() - (4 + 4 + 16 + 12 + 48 + 4);
    bytes[frame + 8] ^= 1;
    let end = bytes.len() - 4;
    let crc = crc32fast::hash(&bytes[frame..end]).to_be_bytes();
    bytes[end..].copy_from_slice(&crc);
    fs::write(place.file(), bytes).unwrap();
    assert!(place.refused().contains("was not wrapped by this master key"), "{}", place.refused());
}

#[test]
fn a_name_is_hidden_by_the_master_key() {
    let names = |n: u8| {
        let place = Place::new();
        let store = SealedStore::open(place.inner.clone(), &place.file(), secrets(n), Making::Allowed).unwrap();
        [blind(&*store, &[b"ab", b"c"]), blind(&*store, &[b"a", b"bc"]), blind(&*store, &[b"ab", b"c"])]
    };
    let (ours, theirs) = (names(1), names(2));
    assert_eq!(ours[0], ours[2]);
    assert_ne!(ours[0], ours[1], "where a part ends is part of the name");
    assert_ne!(ours[0], theirs[0]);
    let plain = MemoryStore::new();
    assert_ne!(blind(&plain, &[b"ab", b"c"]), ours[0]);
}

#[test]
fn the_name_of_a_file_stays_as_it_is_on_disk() {
    let id: FileId = [7; 16];
    assert_eq!(codec::encode(Schema::KeysFile, &id).len(), 8 + 16 + 4);
}

#[test]
fn a_write_that_comes_after_its_key_was_destroyed_is_refused_and_nobody_elses() {
    let place = Place::new();
    let store = place.open().unwrap();
    let vault = store.vault().unwrap();
    let (gone, here) = (vault.key_for(home(b"gone")).unwrap(), vault.key_for(home(b"here")).unwrap());
    let put = |name: &str, own| Commit {
        preconditions: Vec::new(),
        writes: vec![Write::Put(at(name), value_for(own, MARK))],
    };
    store.commit(&[put("1", gone), put("2", here)]).unwrap();
    vault.destroy(&[gone]).unwrap();
    let outcomes = store.commit(&[put("3", here), put("4", gone), put("5", here)]).unwrap();
    let late = Outcome::Conflict { key: at("4"), current: None };
    assert_eq!(outcomes, [Outcome::Committed, late, Outcome::Committed]);
    assert_eq!((place.read("3").unwrap().as_str(), place.read("5").unwrap().as_str()), (MARK, MARK));
    assert_eq!(store.get(&at("4")).unwrap(), None);
}
