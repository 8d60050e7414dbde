//! Images of the data directory, as a process that is stopped at any moment leaves them, whole and
//! damaged: a tail cut off, a hole of zeros, a block as it was before, a flipped bit, in any file.
//!
//! Another process writes groups that follow from their number. It is stopped, all its files are
//! copied, and it goes on; what it had been told is durable stands in a file beside. An image without
//! damage must open with all of that. One with damage opens with all of that, or is refused with
//! words that say what to do, or the damage is told when a value is read. What is never there: a
//! value that is not the right one, or a row or an item that is missing without a word.
//!
//! `HEARTHWAY_IMAGES=10000 cargo test --release --lib images -- --nocapture` looks at so many.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::*;
use crate::store::{Precondition, Write};

/// Images on a person's machine, and in CI.
const IMAGES: usize = 40;
const IMAGES_IN_CI: usize = 200;
/// Images of one moment: the first without damage.
const OF_ONE_MOMENT: usize = 8;
/// Moments in the life of one directory.
const MOMENTS: usize = 15;
/// The longest that a directory is written to between two moments.
const LIFE_MICROSECONDS_MAX: u64 = 40_000;
/// How long a step may take before the test gives up.
const STEP_MAX: Duration = Duration::from_secs(60);

const DIRECTORY: &str = "HEARTHWAY_IMAGES_DIRECTORY";
const SEED: &str = "HEARTHWAY_IMAGES_SEED";
const NUMBER: &str = "HEARTHWAY_IMAGES";

/// Short turns and small files, so that every moment of the writing behind is met.
fn options() -> EmbeddedOptions {
    EmbeddedOptions {
        cache_bytes: 1024 * 1024,
        journal_bytes: 48 * 1024,
        overlay_bytes: 32 * 1024,
        log_file_bytes: 16 * 1024,
        logs_bytes_max: u64::MAX,
        ..EmbeddedOptions::default()
    }
}

/// A stream of numbers (SplitMix64): the same seed, the same images.
#[derive(Clone)]
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
    fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }
}

fn counter() -> Key {
    Key(b"counter".to_vec())
}

/// Group `n`, which anybody can make again.
fn group(seed: u64, n: u64) -> Vec<Commit> {
    let mut dice = Dice(seed ^ n.wrapping_mul(0x2545_f491_4f6c_dd1d));
    let mut commits =
        vec![Commit { preconditions: vec![], writes: vec![Write::Put(counter(), n.to_be_bytes().into())] }];
    for _ in 0..1 + dice.below(3) {
        let writes = (0..1 + dice.below(4)).map(|_| {
            let key = Key([b"n", (dice.below(300) as u16).to_be_bytes().as_slice()].concat());
            let length = match dice.below(100) {
                0 => dice.below(40_000),
                1..10 => dice.below(6_000),
                _ => dice.below(300),
            };
            let value = |dice: &mut Dice| dice.next().to_be_bytes().into_iter().cycle().take(length).collect();
            match dice.below(10) {
                0 => Write::Delete(key),
                1..4 => Write::Append(Key(vec![b'l', dice.below(10) as u8]), value(&mut dice)),
                _ => Write::Put(key, value(&mut dice)),
            }
        });
        let writes = writes.collect();
        // One in twenty is refused by its precondition and must leave no trace.
        let preconditions = if dice.below(20) == 0 { vec![Precondition::Absent(counter())] } else { vec![] };
        commits.push(Commit { preconditions, writes });
    }
    commits
}

/// What must stand in the store.
#[derive(Clone, Default)]
struct Model {
    n: u64,
    rows: BTreeMap<Key, Vec<u8>>,
    logs: BTreeMap<Key, Vec<Vec<u8>>>,
}

impl Model {
    fn take(&mut self, seed: u64, until: u64) {
        for n in self.n + 1..=until {
            for commit in group(seed, n).into_iter().filter(|commit| commit.preconditions.is_empty()) {
                for write in commit.writes {
                    match write {
                        Write::Put(key, value) => drop(self.rows.insert(key, value)),
                        Write::Delete(key) => drop(self.rows.remove(&key)),
                        Write::Append(log, item) => self.logs.entry(log).or_default().push(item),
                    }
                }
            }
        }
        self.n = until;
    }
}

#[test]
#[ignore = "the process that the images are taken of"]
fn writes_until_it_is_killed() {
    let directory = PathBuf::from(std::env::var_os(DIRECTORY).expect("only the test of the images starts it"));
    let seed = std::env::var(SEED).unwrap().parse().unwrap();
    let store = EmbeddedStore::open(&directory.join("store"), options()).unwrap();
    let durable = File::create(directory.join("durable")).unwrap();
    for n in 1.. {
        store.commit(&group(seed, n)).unwrap();
        durable.write_all_at(&n.to_be_bytes(), 0).unwrap();
    }
}

/// The process that writes.
struct Writer {
    child: Child,
    directory: tempfile::TempDir,
}

impl Writer {
    fn start(seed: u64) -> Writer {
        let directory = tempfile::tempdir().unwrap();
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", "store::embedded::images::writes_until_it_is_killed"])
            .env(DIRECTORY, directory.path())
            .env(SEED, seed.to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let writer = Writer { child, directory };
        let begun = Instant::now();
        while writer.durable() == 0 {
            assert!(begun.elapsed() < STEP_MAX, "nothing is written");
            std::thread::sleep(Duration::from_millis(1));
        }
        writer
    }

    /// The last group that it was told is durable.
    fn durable(&self) -> u64 {
        let bytes = fs::read(self.directory.path().join("durable")).unwrap_or_default();
        bytes.try_into().map(u64::from_be_bytes).unwrap_or(0)
    }

    /// Lets it write for a while and stops it: whoever looks at images takes longer than it does.
    /// Copies all its files of that moment into a directory, and says what was durable then.
    fn image(&self, after: Duration, to: &Path) -> u64 {
        self.signal("-CONT");
        std::thread::sleep(after);
        self.signal("-STOP");
        let begun = Instant::now();
        while !self.stands_still() {
            assert!(begun.elapsed() < STEP_MAX, "it does not stop");
            std::thread::yield_now();
        }
        let durable = self.durable();
        copy(&self.directory.path().join("store"), to);
        durable
    }

    fn signal(&self, signal: &str) {
        assert!(Command::new("kill").args([signal, &self.child.id().to_string()]).status().unwrap().success());
    }

    /// Whether every thread of it has come to rest, also those that were in the midst of a sync.
    fn stands_still(&self) -> bool {
        let threads = fs::read_dir(format!("/proc/{}/task", self.child.id())).unwrap();
        threads.flatten().all(|thread| {
            let stat = fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
            stat.rsplit_once(") ").is_some_and(|(_, state)| state.starts_with('T'))
        })
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

fn files(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            found.extend(files(&entry.path()));
        } else if entry.metadata().unwrap().len() > 0 {
            found.push(entry.path());
        }
    }
    found.sort();
    found
}

/// Damages an image in one way, and says which.
fn damage(image: &Path, before: Option<&Path>, dice: &mut Dice) -> String {
    let files = files(image);
    // Half of all damage hits the files where nearly all bytes are.
    let (large, all): (Vec<_>, Vec<_>) =
        (files.iter().filter(|file| file.to_string_lossy().contains("rows/db")).collect(), files.iter().collect());
    let file = if dice.below(3) == 0 && !large.is_empty() { large[0] } else { all[dice.below(all.len())] };
    let mut bytes = fs::read(file).unwrap();
    let written = bytes.iter().rposition(|byte| *byte != 0).map_or(1, |last| last + 1);
    // Half of it where the last writes went.
    let at = if dice.below(2) == 0 { written - 1 - dice.below(written.min(4096)) } else { dice.below(written) };
    let length = [1, 8, 64, 512, 4096][dice.below(5)];
    let end = (at + length).min(bytes.len());
    let what = match dice.below(4) {
        0 => {
            bytes.truncate(at);
            format!("cut at {at}")
        }
        1 => {
            bytes[at..end].fill(0);
            format!("zeros from {at} to {end}")
        }
        2 => {
            let (start, end) = (at / 512 * 512, (at / 512 * 512 + length.max(512)).min(bytes.len()));
            let name = file.strip_prefix(image).unwrap();
            match before.and_then(|before| fs::read(before.join(name)).ok()).filter(|old| old.len() >= end) {
                Some(old) => {
                    bytes[start..end].copy_from_slice(&old[start..end]);
                    format!("as before from {start} to {end}")
                }
                None => {
                    bytes[at..end.max(at)].fill(0xff);
                    format!("ones from {at} to {end}")
                }
            }
        }
        _ => {
            bytes[at] ^= 1 << dice.below(8);
            format!("a bit flipped at {at}")
        }
    };
    fs::write(file, bytes).unwrap();
    format!("{}: {what}", file.strip_prefix(image).unwrap().display())
}

#[derive(Debug, PartialEq)]
enum Verdict {
    Whole,
    Refused(String),
    /// It opened, and what it cannot give is an error when it is asked for.
    Told(String),
    Wrong(String),
}

/// Opens an image and compares all that it gives with what was durable, or one group more: that one
/// was on its way.
fn verdict(image: &Path, durable: &Model, more: &Model) -> Verdict {
    let store = match EmbeddedStore::open(image, options()) {
        Ok(store) => store,
        Err(error) => return Verdict::Refused(error.to_string()),
    };
    let mut told = None;
    let mut n = None;
    match store.get(&counter()) {
        Ok(Some(value)) => n = value.try_into().ok().map(u64::from_be_bytes),
        Ok(None) => return Verdict::Wrong("the counter is missing".to_owned()),
        Err(error) => told = Some(error.to_string()),
    }
    let model = match n {
        Some(n) if n == durable.n => durable,
        Some(n) if n == more.n => more,
        Some(n) => return Verdict::Wrong(format!("group {n} is the last one, and {} was durable", durable.n)),
        None => durable,
    };
    match store.scan(&[], None, SCAN_ROWS_MAX) {
        Ok(rows) if n.is_some() => {
            if !rows.iter().map(|(key, value)| (key, value)).eq(&model.rows) {
                let wrong =
                    |key: &&Key| rows.iter().find(|row| row.0 == **key).map(|row| &row.1) != model.rows.get(*key);
                let known = model.rows.keys().chain(rows.iter().map(|row| &row.0));
                let wrong: Vec<String> = known.filter(wrong).map(|key| key.to_string()).take(5).collect();
                return Verdict::Wrong(format!("a scan gives other rows than there are: {wrong:?}"));
            }
        }
        Ok(_) => {}
        Err(error) => told = Some(error.to_string()),
    }
    for key in (0..300u16).map(|n| Key([b"n", n.to_be_bytes().as_slice()].concat())) {
        match store.get(&key) {
            Ok(value) if value.as_ref() == model.rows.get(&key) => {}
            Ok(value) if n.is_none() && value.as_ref() == more.rows.get(&key) => {}
            Ok(_) => return Verdict::Wrong(format!("the row {key} is another")),
            Err(error) => told = Some(error.to_string()),
        }
    }
    for log in (0..10).map(|n| Key(vec![b'l', n])) {
        let empty = Vec::new();
        let items = |model: &Model| model.logs.get(&log).unwrap_or(&empty).iter().rev().cloned().collect::<Vec<_>>();
        match store.back(&log, None, usize::MAX) {
            Ok(found) => {
                let found: Vec<_> = found.into_iter().map(|(_, item)| item).collect();
                if found != items(model) && (n.is_some() || found != items(more)) {
                    return Verdict::Wrong(format!("the log {log} has other items"));
                }
            }
            Err(error) => told = Some(error.to_string()),
        }
    }
    told.map_or(Verdict::Whole, Verdict::Told)
}

fn number() -> usize {
    match std::env::var(NUMBER) {
        Ok(number) => number.parse().expect("HEARTHWAY_IMAGES is a number"),
        Err(_) if std::env::var_os("CI").is_some() => IMAGES_IN_CI,
        Err(_) => IMAGES,
    }
}

/// Words of a refusal that tell a person how to go on.
const WAYS_ON: [&str; 4] =
    ["restore the last backup", "remove that file", "Start the release that wrote it", "Name an empty directory"];

#[test]
fn an_image_of_any_moment_opens_whole_and_a_damaged_one_is_never_wrong_in_silence() {
    let seed = std::env::var(SEED).map_or(7, |seed| seed.parse().unwrap());
    let (mut dice, mut looked_at) = (Dice(seed), 0);
    let (mut whole, mut refused, mut told) = (0, 0, 0);
    let mut wrong = Vec::new();
    while looked_at < number() {
        let life = dice.next();
        let writer = Writer::start(life);
        let mut durable = Model::default();
        let mut before: Option<tempfile::TempDir> = None;
        for _ in 0..MOMENTS {
            if looked_at == number() {
                break;
            }
            let moment = tempfile::tempdir().unwrap();
            durable.take(life, writer.image(Duration::from_micros(dice.next() % LIFE_MICROSECONDS_MAX), moment.path()));
            let mut more = durable.clone();
            more.take(life, durable.n + 1);
            for n in 0..OF_ONE_MOMENT {
                if looked_at == number() {
                    break;
                }
                let image = tempfile::tempdir().unwrap();
                copy(moment.path(), image.path());
                let damaged = (n > 0).then(|| damage(image.path(), before.as_ref().map(|old| old.path()), &mut dice));
                let what = damaged.clone().unwrap_or("no damage".to_owned());
                looked_at += 1;
                match verdict(image.path(), &durable, &more) {
                    Verdict::Whole => whole += 1,
                    Verdict::Refused(said) | Verdict::Told(said) if damaged.is_none() => {
                        wrong.push(format!("{what}, group {}: not whole: {said}", durable.n));
                    }
                    Verdict::Refused(said) => {
                        if !WAYS_ON.iter().any(|way| said.contains(way)) {
                            wrong.push(format!("{what}: refused without a way on: {said}"));
                        }
                        refused += 1;
                    }
                    Verdict::Told(_) => told += 1,
                    Verdict::Wrong(said) => wrong.push(format!("{what}, group {}: {said}", durable.n)),
                }
            }
            before = Some(moment);
        }
    }
    println!("{looked_at} images: {whole} whole, {refused} refused, {told} told when read, {} wrong", wrong.len());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(refused > 0 && whole > looked_at / OF_ONE_MOMENT, "the damage hit nothing, or all of it everything");
}
