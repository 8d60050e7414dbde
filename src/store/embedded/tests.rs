#![allow(clippy::unwrap_used)]
use std::fs::{self, File};
use std::io;
use std::path::PathBuf;

use super::*;
use crate::store::{Write, conformance};

/// A small cache, so that pages are read from the file too; short turns and small files, so that
/// rows come from memory, from the turn before and from the database.
fn options() -> EmbeddedOptions {
    EmbeddedOptions {
        cache_bytes: 1024 * 1024,
        journal_bytes: 16 * 1024,
        overlay_bytes: 8 * 1024,
        log_file_bytes: 4 * 1024,
        ..EmbeddedOptions::default()
    }
}
fn open(path: &Path) -> Result<EmbeddedStore, StoreError> {
    EmbeddedStore::open(path, options())
}

/// A store in a directory that goes with it.
struct Temporary(EmbeddedStore, tempfile::TempDir);

impl Temporary {
    fn new() -> Temporary {
        let directory = tempfile::tempdir().unwrap();
        Temporary(open(&directory.path().join("store")).unwrap(), directory)
    }
}

impl Store for Temporary {
    fn commit(&self, group: &[Commit]) -> Result<Vec<Outcome>, StoreError> {
        self.0.commit(group)
    }
    fn get(&self, key: &Key) -> Result<Option<Vec<u8>>, StoreError> {
        self.0.get(key)
    }
    fn scan(&self, prefix: &[u8], after: Option<&Key>, limit: usize) -> Result<Rows, StoreError> {
        self.0.scan(prefix, after, limit)
    }
    fn scan_back(&self, prefix: &[u8], before: Option<&Key>, limit: usize) -> Result<Rows, StoreError> {
        self.0.scan_back(prefix, before, limit)
    }
    fn back(&self, log: &Key, before: Option<Mark>, limit: usize) -> Result<Items, StoreError> {
        self.0.back(log, before, limit)
    }
    fn items(&self, after: Option<Mark>, limit: usize) -> Result<AllItems, StoreError> {
        self.0.items(after, limit)
    }
    fn divide_logs(&self, keep_from: Option<Mark>) -> Result<Mark, StoreError> {
        self.0.divide_logs(keep_from)
    }
    fn health(&self) -> Result<(), StoreError> {
        self.0.health()
    }
}

#[test]
fn the_embedded_store_conforms() {
    conformance::check(Temporary::new);
}

#[test]
fn what_was_committed_is_there_after_reopening() {
    let directory = tempfile::tempdir().unwrap();
    conformance::check_reopening(|| open(directory.path()).unwrap());
}

/// Rows of one size, told apart by their number.
pub(super) fn row(n: u32) -> (Key, Vec<u8>) {
    (Key([b"n".as_slice(), &n.to_be_bytes()].concat()), n.to_be_bytes().repeat(100))
}
pub(super) fn group(numbers: std::ops::Range<u32>) -> Vec<Commit> {
    let put = |n| Write::Put(row(n).0, row(n).1);
    numbers.map(|n| Commit { preconditions: vec![], writes: vec![put(n)] }).collect()
}
/// A closed store with so many rows, written in groups of 50 and over two openings.
pub(super) fn filled(path: &Path, rows: u32) {
    for half in [0..rows / 2, rows / 2..rows] {
        let store = open(path).unwrap();
        for start in half.clone().step_by(50) {
            store.commit(&group(start..(start + 50).min(half.end))).unwrap();
        }
    }
}
pub(super) fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to.join(entry.file_name()));
        } else {
            fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
}
pub(super) fn refusal(path: &Path) -> String {
    match open(path) {
        Err(error @ StoreError::Unusable { .. }) => error.to_string(),
        other => panic!("expected a refusal to open, found {other:?}"),
    }
}
/// Where the log ends; sled fills what it has not written with zeros.
fn last_written(file: &[u8]) -> usize {
    file.iter().rposition(|&byte| byte != 0).unwrap()
}
/// The snapshot that sled keeps of its page table.
fn snapshot_file(path: &Path) -> PathBuf {
    let entries = fs::read_dir(path.join("rows")).unwrap().map(|entry| entry.unwrap().path());
    entries.into_iter().find(|path| path.file_name().unwrap().to_string_lossy().starts_with("snap.")).unwrap()
}

#[test]
fn the_largest_values_never_leave_the_log() {
    let store = Temporary::new();
    for n in 0..200u8 {
        let key = Key([[b'l'; super::super::KEY_BYTES_MAX - 1].as_slice(), &[n.wrapping_mul(37)]].concat());
        let put = Write::Put(key.clone(), vec![n; super::super::VALUE_BYTES_MAX - 1]);
        let delete = Write::Delete(Key([&key.0[1..], &[n]].concat()));
        store.commit(&[Commit { preconditions: vec![], writes: vec![put, delete] }]).unwrap();
    }
    store.0.settle().unwrap();
    assert_eq!(fs::read_dir(store.0.inner.directory.rows_path().join("blobs")).unwrap().count(), 0);
}

#[test]
fn a_value_in_pieces_shrinks_grows_and_goes_without_a_rest() {
    let store = Temporary::new();
    let key = Key(b"long".to_vec());
    for bytes in [60_000, 2_048, 2_049, 0, 12_288, 65_535] {
        let value: Vec<u8> = (0..bytes).map(|n| (n % 251) as u8).collect();
        store
            .commit(&[Commit { preconditions: vec![], writes: vec![Write::Put(key.clone(), value.clone())] }])
            .unwrap();
        store.0.settle().unwrap();
        assert_eq!(store.get(&key).unwrap(), Some(value.clone()));
        assert_eq!(store.scan(b"l", None, 5).unwrap(), [(key.clone(), value)]);
    }
    store.commit(&[Commit { preconditions: vec![], writes: vec![Write::Delete(key.clone())] }]).unwrap();
    store.0.settle().unwrap();
    assert_eq!(store.get(&key).unwrap(), None);
    assert_eq!(store.0.inner.rows.count_pieces(), 0);
}

#[test]
fn a_long_value_is_read_whole_while_it_is_written_over() {
    let store = Temporary::new();
    let value = |n: u8| vec![n; 2_049 + 311 * usize::from(n % 40)];
    let put = |n: u8| Write::Put(Key(b"long".to_vec()), value(n));
    store.commit(&[Commit { preconditions: vec![], writes: vec![put(0)] }]).unwrap();
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            for n in 1..=250 {
                store.commit(&[Commit { preconditions: vec![], writes: vec![put(n)] }]).unwrap();
                store.0.inner.begin_turn(&mut store.0.inner.writer()).unwrap();
            }
        });
        while !writer.is_finished() {
            let rows = store.scan(b"l", None, 5).unwrap();
            assert_eq!(rows[0].1, value(rows[0].1[0]));
            let row = store.get(&Key(b"long".to_vec())).unwrap().unwrap();
            assert_eq!(row, value(row[0]));
            // Past what covers it, as a slow reader would.
            store.0.inner.rows.get(&Key(b"long".to_vec())).unwrap();
        }
    });
    store.0.settle().unwrap();
    assert_eq!(store.0.inner.rows.count_pieces(), value(250).len().div_ceil(2_048));
}

#[test]
fn a_store_is_open_once_at_a_time() {
    let directory = tempfile::tempdir().unwrap();
    let first = open(directory.path()).unwrap();
    assert!(refusal(directory.path()).contains("another process has it open"));
    drop(first);
    open(directory.path()).unwrap();
}

#[test]
fn who_lets_go_of_a_store_in_a_moment_is_waited_for() {
    let directory = tempfile::tempdir().unwrap();
    open(directory.path()).unwrap();
    // A process that its holder starts has the lock until it begins.
    let lock = File::options().write(true).open(directory.path().join("lock")).unwrap();
    lock.lock().unwrap();
    let holder = std::thread::spawn(move || {
        std::thread::sleep(std::time::Duration::from_millis(100));
        drop(lock);
    });
    open(directory.path()).unwrap();
    holder.join().unwrap();
}

#[test]
fn a_missing_directory_is_made_for_its_owner_alone() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a/b");
    open(&path).unwrap();
    #[cfg(unix)]
    assert_eq!(std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&path).unwrap().permissions()) & 0o777, 0o700);
}

#[test]
fn a_directory_of_something_else_is_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("holiday.jpg"), "sea").unwrap();
    assert!(refusal(directory.path()).contains("it holds `holiday.jpg` and no `identity.json`"));
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
}

#[test]
fn a_database_without_its_identity_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    filled(directory.path(), 100);
    fs::remove_file(directory.path().join("identity.json")).unwrap();
    assert!(refusal(directory.path()).contains("no `identity.json`"));
}

#[test]
fn a_directory_belongs_to_one_gateway() {
    let directory = tempfile::tempdir().unwrap();
    let of = |gateway: &str| EmbeddedOptions { gateway: Some(gateway.to_owned()), ..options() };
    EmbeddedStore::open(directory.path(), of("kitchen")).unwrap();
    EmbeddedStore::open(directory.path(), of("kitchen")).unwrap();
    let error = EmbeddedStore::open(directory.path(), of("cellar")).unwrap_err();
    assert!(error.to_string().contains("it belongs to the gateway `kitchen`, and this one is `cellar`"));
}

#[test]
fn a_directory_of_a_later_release_is_left_as_it_is() {
    let directory = tempfile::tempdir().unwrap();
    filled(directory.path(), 10);
    let identity = directory.path().join("identity.json");
    let text = fs::read_to_string(&identity).unwrap();
    fs::write(&identity, text.replace("\"version\": 1", "\"version\": 2")).unwrap();
    let before: Vec<_> =
        ["rows/db", "journal/0", "watermark"].map(|file| fs::read(directory.path().join(file)).unwrap()).into();
    let said = refusal(directory.path());
    assert!(said.contains("version 2, and this release reads"), "{said}");
    assert!(said.contains("Start the release that wrote it"), "{said}");
    let after: Vec<_> =
        ["rows/db", "journal/0", "watermark"].map(|file| fs::read(directory.path().join(file)).unwrap()).into();
    assert!(before == after, "nothing of it is touched");
    fs::write(&identity, text).unwrap();
    assert_eq!(open(directory.path()).unwrap().scan(b"n", None, 100).unwrap().len(), 10);
}

#[test]
fn missing_and_foreign_files_are_refused_and_nothing_is_made_in_their_place() {
    let origin = tempfile::tempdir().unwrap();
    filled(origin.path(), 1_000);
    type Damage = fn(&Path);
    let cases: [(Damage, &str); 7] = [
        (|path| fs::remove_file(path.join("rows/db")).unwrap(), "rows/db` is missing or empty"),
        (|path| fs::write(path.join("rows/db"), "").unwrap(), "rows/db` is missing or empty"),
        (|path| fs::remove_file(path.join("rows/conf")).unwrap(), "rows/conf` is missing or empty"),
        (|path| fs::remove_dir_all(path.join("rows")).unwrap(), "rows/db` is missing or empty"),
        (|path| fs::write(path.join("identity.json"), "{").unwrap(), "`identity.json` is damaged"),
        (|path| fs::write(path.join("watermark"), [7; 28]).unwrap(), "`watermark` is damaged"),
        (
            |path| {
                let other = tempfile::tempdir().unwrap();
                filled(other.path(), 50);
                fs::remove_dir_all(path.join("rows")).unwrap();
                copy(&other.path().join("rows"), &path.join("rows"));
            },
            "the database belongs to another store",
        ),
    ];
    for (damage, expected) in cases {
        let copied = tempfile::tempdir().unwrap();
        copy(origin.path(), copied.path());
        damage(copied.path());
        let said = refusal(copied.path());
        assert!(said.contains(expected), "{said}");
        let said = refusal(copied.path());
        assert!(said.contains(expected), "the second opening says the same: {said}");
    }
}

#[test]
fn a_database_that_went_back_in_time_is_brought_up_by_the_journal_or_refused() {
    let directory = tempfile::tempdir().unwrap();
    let earlier = tempfile::tempdir().unwrap();
    filled(directory.path(), 200);
    copy(&directory.path().join("rows"), earlier.path());
    let go_back = || {
        fs::remove_dir_all(directory.path().join("rows")).unwrap();
        copy(earlier.path(), &directory.path().join("rows"));
    };
    open(directory.path()).unwrap().commit(&group(200..201)).unwrap();
    go_back();
    let store = open(directory.path()).unwrap();
    assert_eq!(store.scan(b"n", None, 1_000).unwrap().len(), 201, "the journal still has it");
    store.commit(&group(201..202)).unwrap();
    store.settle().unwrap();
    store.commit(&group(202..203)).unwrap();
    store.settle().unwrap();
    store.commit(&group(203..204)).unwrap();
    drop(store);
    go_back();
    let said = refusal(directory.path());
    assert!(said.contains("the journal is damaged: group"), "{said}");
    fs::remove_dir_all(directory.path().join("journal")).unwrap();
    let said = refusal(directory.path());
    assert!(said.contains("the last 4 groups of commits are missing"), "{said}");
}

#[test]
fn a_lost_tail_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    filled(directory.path(), 1_000);
    let path = directory.path().join("rows/db");
    let written = last_written(&fs::read(&path).unwrap());
    File::options().write(true).open(&path).unwrap().set_len(written as u64 / 2).unwrap();
    let said = refusal(directory.path());
    assert!(said.contains("restore the last backup"), "{said}");
}

#[test]
fn a_creation_that_was_cut_short_is_taken_up_again() {
    let directory = tempfile::tempdir().unwrap();
    drop(open(directory.path()).unwrap());
    let identity = directory.path().join("identity.json");
    let text = fs::read_to_string(&identity).unwrap();
    assert!(text.contains("\"ready\": true"), "{text}");
    fs::write(&identity, text.replace("true", "false")).unwrap();
    fs::remove_dir_all(directory.path().join("rows")).unwrap();
    fs::remove_file(directory.path().join("watermark")).unwrap();
    let store = open(directory.path()).unwrap();
    store.commit(&group(0..1)).unwrap();
    assert!(fs::read_to_string(&identity).unwrap().contains("\"ready\": true"));
}

/// sled writes the snapshot of its page table beside the last one, then renames it. On opening it
/// takes the unfinished one for the newest.
#[test]
fn a_kill_while_the_page_table_is_written_leaves_a_store_that_opens() {
    let directory = tempfile::tempdir().unwrap();
    filled(directory.path(), 1_000);
    let snapshot = fs::read(snapshot_file(directory.path())).unwrap();
    for written in [0, 12, snapshot.len() / 2, snapshot.len() - 1] {
        let unfinished = directory.path().join("rows/snap.00000000FFFFFFFF.generating");
        fs::write(&unfinished, &snapshot[..written]).unwrap();
        let store = open(directory.path()).unwrap();
        assert_eq!(store.scan(b"n", None, 2_000).unwrap().len(), 1_000);
        assert!(!unfinished.exists());
    }
}

/// One flipped byte anywhere: a refusal, an error on reading, or all of the rows. Never a panic,
/// never fewer rows than there were.
#[test]
fn a_flipped_byte_never_loses_a_row_in_silence() {
    const ROWS: u32 = 2_000;
    let origin = tempfile::tempdir().unwrap();
    filled(origin.path(), ROWS);
    let end = last_written(&fs::read(origin.path().join("rows/db")).unwrap());
    let snapshot = snapshot_file(origin.path()).strip_prefix(origin.path()).unwrap().to_owned();
    let snapshot_bytes = fs::metadata(origin.path().join(&snapshot)).unwrap().len() as usize;
    let mut places = Vec::new();
    places.extend((0..40).map(|n| (PathBuf::from("rows/db"), end / 40 * n + n)));
    places.extend((0..20).map(|n| (PathBuf::from("rows/db"), end - n * 29)));
    places.extend((0..12).map(|n| (snapshot.clone(), snapshot_bytes / 12 * n)));
    places.extend((0..30).step_by(6).map(|n| (PathBuf::from("rows/conf"), n)));

    places.push((PathBuf::from("rows/db"), usize::MAX)); // A copy without damage.

    let (mut refused, mut unreadable, mut whole) = (0, 0, 0);
    for (file, offset) in places {
        let copied = tempfile::tempdir().unwrap();
        copy(origin.path(), copied.path());
        let mut bytes = fs::read(copied.path().join(&file)).unwrap();
        if offset < bytes.len() {
            bytes[offset] ^= 0x10;
        }
        fs::write(copied.path().join(&file), bytes).unwrap();
        let store = match open(copied.path()) {
            Ok(store) => store,
            Err(error) => {
                assert!(matches!(error, StoreError::Unusable { .. } | StoreError::Corrupt { .. }), "{error}");
                refused += 1;
                continue;
            }
        };
        match store.scan(b"n", None, usize::MAX) {
            Err(_) => unreadable += 1,
            Ok(rows) => {
                assert_eq!(rows.len(), ROWS as usize, "byte {offset} of {} flipped", file.display());
                assert!((0..ROWS).map(row).eq(rows), "byte {offset} of {} flipped", file.display());
                whole += 1;
            }
        }
    }
    println!("{refused} refused, {unreadable} unreadable, {whole} whole");
    assert!(refused + unreadable > 0, "no flip hit anything that matters");
    assert!(whole > 0, "the copy without damage is refused too");
}

/// A directory as a SIGKILL at this moment would leave it.
fn killed(store: &Temporary) -> tempfile::TempDir {
    killed_at(store.1.path())
}
pub(super) fn killed_at(path: &Path) -> tempfile::TempDir {
    let image = tempfile::tempdir().unwrap();
    copy(path, image.path());
    image
}

#[test]
fn every_group_is_there_after_a_kill_at_any_moment() {
    let store = Temporary::new();
    for n in 0..300 {
        let mut once = group(n..n + 1);
        once[0].writes.push(Write::Append(Key(b"log".to_vec()), n.to_be_bytes().to_vec()));
        store.commit(&once).unwrap();
        if n % 23 == 0 {
            let image = killed(&store);
            let again = open(&image.path().join("store")).unwrap();
            assert_eq!(again.scan(b"n", None, usize::MAX).unwrap().len(), n as usize + 1);
            let log = again.back(&Key(b"log".to_vec()), None, usize::MAX).unwrap();
            assert!(log.iter().map(|(_, item)| item.as_slice()).eq((0..=n).rev().map(u32::to_be_bytes)));
            again.commit(&group(n + 1..n + 2)).unwrap();
            drop(again);
            let again = open(&image.path().join("store")).unwrap();
            assert_eq!(again.scan(b"n", None, usize::MAX).unwrap().len(), n as usize + 2);
        }
    }
}

#[test]
fn a_group_lost_from_the_journal_is_told() {
    let store = Temporary::new();
    store.commit(&group(0..3)).unwrap();
    let image = killed(&store);
    let journal = journal::path(&image.path().join("store/journal"), 0);
    fs::write(&journal, "").unwrap();
    let said = refusal(&image.path().join("store"));
    assert!(said.contains("groups of commits are missing"), "{said}");
}

#[test]
fn a_log_that_lost_its_end_or_its_middle_is_refused() {
    let store = Temporary::new();
    for n in 0..60u8 {
        let append = Write::Append(Key(b"log".to_vec()), vec![n; 500]);
        store.commit(&[Commit { preconditions: vec![], writes: vec![append] }]).unwrap();
    }
    store.0.settle().unwrap();
    let mut files: Vec<_> =
        fs::read_dir(store.1.path().join("store/logs")).unwrap().map(|e| e.unwrap().file_name()).collect();
    files.sort();
    assert!(files.len() > 3, "{files:?}");
    for (file, cause) in [(files.len() - 1, "the logs end at"), (1, "is not whole")] {
        let image = killed(&store);
        fs::remove_file(image.path().join("store/logs").join(&files[file])).unwrap();
        let said = refusal(&image.path().join("store"));
        assert!(said.contains(cause), "{said}");
    }
    let image = killed(&store);
    fs::remove_file(image.path().join("store/logs").join(&files[0])).unwrap();
    let kept = open(&image.path().join("store")).unwrap().back(&Key(b"log".to_vec()), None, 100).unwrap();
    assert!(kept.len() > 40 && kept.len() < 60, "the oldest file may be gone: {}", kept.len());
}

#[test]
fn the_oldest_items_go_when_the_logs_are_full() {
    let directory = tempfile::tempdir().unwrap();
    let options = EmbeddedOptions { logs_bytes_max: 16 * 1024, ..options() };
    let store = EmbeddedStore::open(directory.path(), options).unwrap();
    let log = Key(b"log".to_vec());
    for n in 0..200u32 {
        let append = Write::Append(log.clone(), n.to_be_bytes().repeat(100));
        store.commit(&[Commit { preconditions: vec![], writes: vec![append] }]).unwrap();
    }
    store.settle().unwrap();
    let items = store.back(&log, None, usize::MAX).unwrap();
    assert!(items.len() >= 30 && items.len() < 60, "{}", items.len());
    assert!(items.iter().map(|(_, item)| &item[..4]).eq((0..200u32).rev().take(items.len()).map(u32::to_be_bytes)));
    assert_eq!(store.back(&log, Some(Mark(1)), 5).unwrap(), [], "a mark whose file is gone ends the log");
}

#[test]
fn what_lies_before_a_piece_goes_when_it_is_not_kept_and_what_is_kept_outlives_openings() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store");
    let log = Key(b"log".to_vec());
    let mut marks = Vec::new();
    let mut store = open(&path).unwrap();
    for piece in 0..4u32 {
        for n in 0..10u32 {
            let append = Write::Append(log.clone(), (piece * 10 + n).to_be_bytes().to_vec());
            store.commit(&[Commit { preconditions: vec![], writes: vec![append] }]).unwrap();
        }
        marks.push(store.divide_logs(None).unwrap());
        if piece == 1 {
            drop(store);
            store = open(&path).unwrap();
        }
    }
    let numbers = |store: &EmbeddedStore| {
        let items = store.back(&log, None, 100).unwrap();
        items.iter().rev().map(|(_, item)| u32::from_be_bytes(item[..4].try_into().unwrap())).collect::<Vec<_>>()
    };
    store.divide_logs(Some(marks[0])).unwrap();
    store.settle().unwrap();
    assert_eq!(numbers(&store), (10..40).collect::<Vec<_>>(), "the first piece is gone, whole");
    // An opening forgets that a piece was to begin: it goes with the next one.
    store.divide_logs(Some(marks[1])).unwrap();
    store.settle().unwrap();
    assert_eq!(numbers(&store), (10..40).collect::<Vec<_>>());
    store.divide_logs(Some(marks[2])).unwrap();
    store.settle().unwrap();
    assert_eq!(numbers(&store), (30..40).collect::<Vec<_>>());
    // Where nothing came since, the last file stays, so that the next opening knows where the logs end.
    store.divide_logs(Some(marks[3])).unwrap();
    store.settle().unwrap();
    assert_eq!(numbers(&store), (30..40).collect::<Vec<_>>());
    drop(store);
    assert_eq!(numbers(&open(&path).unwrap()), (30..40).collect::<Vec<_>>());
}

#[test]
fn a_flipped_byte_in_the_logs_is_an_error_and_never_another_item() {
    let store = Temporary::new();
    let log = Key(b"log".to_vec());
    for n in 0..20u8 {
        let append = Write::Append(log.clone(), vec![n; 100]);
        store.commit(&[Commit { preconditions: vec![], writes: vec![append] }]).unwrap();
    }
    store.0.settle().unwrap();
    let whole = store.back(&log, None, 100).unwrap();
    let file = fs::read_dir(store.1.path().join("store/logs")).unwrap().next().unwrap().unwrap().path();
    let bytes = fs::read(&file).unwrap();
    for at in (0..bytes.len()).step_by(7) {
        let mut flipped = bytes.clone();
        flipped[at] ^= 0x20;
        fs::write(&file, flipped).unwrap();
        assert!(store.back(&log, None, 100).is_err(), "byte {at}");
    }
    fs::write(&file, bytes).unwrap();
    assert_eq!(store.back(&log, None, 100).unwrap(), whole);
}

#[test]
fn after_a_failed_sync_nothing_is_accepted_and_reads_go_on() {
    let store = Temporary::new();
    store.commit(&group(0..1)).unwrap();
    // A pipe cannot be synced nor written at an offset: it fails as a disk that is gone does.
    let (_reader, pipe) = io::pipe().unwrap();
    *store.0.inner.rows.file() = File::from(std::os::fd::OwnedFd::from(pipe));
    let error = store.0.settle().unwrap_err();
    assert!(matches!(error, StoreError::Failed { doing: "syncing the database file", .. }), "{error}");
    assert_eq!(store.commit(&group(2..3)).unwrap_err().to_string(), error.to_string());
    assert_eq!(store.health().unwrap_err().to_string(), error.to_string());
    assert_eq!(store.get(&row(0).0).unwrap(), Some(row(0).1));
    assert_eq!(store.get(&row(2).0).unwrap(), None);
}

#[test]
fn a_journal_that_takes_nothing_refuses_the_group_and_the_next_one_may_pass() {
    let store = Temporary::new();
    store.commit(&group(0..1)).unwrap();
    let (_reader, pipe) = io::pipe().unwrap();
    let journal = journal::path(&store.1.path().join("store/journal"), 0);
    store.0.inner.writer().journal.replace_file(File::from(std::os::fd::OwnedFd::from(pipe)));
    let error = store.commit(&group(1..2)).unwrap_err();
    assert!(matches!(error, StoreError::Failed { doing: "writing the journal", .. }), "{error}");
    assert_eq!(store.get(&row(1).0).unwrap(), None, "nothing of it shows");
    assert!(store.health().is_ok(), "the disk may have room again");
    store.0.inner.writer().journal.replace_file(File::options().read(true).write(true).open(journal).unwrap());
    store.commit(&group(2..3)).unwrap();
    let again = open(&killed(&store).path().join("store")).unwrap();
    assert_eq!(again.scan(b"n", None, 10).unwrap(), [row(0), row(2)]);
}

#[test]
fn a_scan_sees_whole_groups() {
    let store = Temporary::new();
    let pair = |n: u64| {
        let put = |key: u8| Write::Put(Key(vec![key]), n.to_be_bytes().to_vec());
        [Commit { preconditions: vec![], writes: vec![put(1), put(0xff)] }]
    };
    store.commit(&group(0..100)).unwrap();
    store.commit(&pair(0)).unwrap();
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| (1..200).for_each(|n| drop(store.commit(&pair(n)).unwrap())));
        while !writer.is_finished() {
            let rows = store.scan(&[], None, 1_000).unwrap();
            assert_eq!(rows.first().unwrap().1, rows.last().unwrap().1);
        }
    });
}

#[test]
fn the_store_counts_its_rows_groups_and_bytes() {
    let temporary = Temporary::new();
    let store = &temporary.0;
    let before = store.generation();
    store.commit(&group(0..10)).unwrap();
    assert_eq!(store.count_rows().unwrap(), 10);
    assert_eq!(store.generation(), before + 1);
    assert!(store.size_on_disk().unwrap() > 0);
}
