//! What every engine must do, as a suite that a test runs on each. It panics where one does not.
//!
//! The model that engines are compared with shares no code with them.

#![allow(clippy::unwrap_used)] // A suite for tests: a panic is its verdict.

use std::collections::BTreeMap;

use super::keys::{Key, table};
use super::{
    Commit, ITEM_BYTES_MAX, KEY_BYTES_MAX, Mark, Outcome, Precondition, SCAN_ROWS_MAX, Store, StoreError,
    VALUE_BYTES_MAX, Write,
};

/// Runs every rule, each on a store of its own.
pub fn check<S: Store>(fresh: impl Fn() -> S) {
    what_is_put_is_read_and_what_is_deleted_is_gone(&fresh());
    the_last_write_of_a_key_wins_within_a_commit_and_a_group(&fresh());
    a_failed_precondition_rejects_its_commit_whole_and_alone(&fresh());
    a_commit_sees_the_accepted_ones_before_it_and_not_the_rejected(&fresh());
    a_scan_keeps_to_its_prefix_order_limit_and_start(&fresh());
    a_scan_is_never_longer_than_the_bound(&fresh());
    prefixes_of_full_bytes_and_the_whole_store_are_scanned(&fresh());
    a_value_or_key_that_cannot_be_kept_refuses_the_group_and_harms_nothing(&fresh());
    the_largest_values_are_kept_side_by_side(&fresh());
    an_empty_group_and_an_empty_commit_are_fine(&fresh());
    items_of_a_log_come_back_newest_first_and_apart_from_rows_and_other_logs(&fresh());
    items_of_all_logs_come_in_the_order_in_which_they_joined_them(&fresh());
    for seed in 0..8 {
        random_groups_agree_with_the_model(&fresh(), seed, 60);
    }
}

/// What must hold of an engine that keeps its rows: `open` opens the same store again.
pub fn check_reopening<S: Store>(open: impl Fn() -> S) {
    let mut model = Model::default();
    for round in 0..6 {
        let store = open();
        model.stands_in(&store, &format!("opened for the {round}th time"));
        run_random_groups(&store, &mut model, &mut Dice(round + 1_000), 25);
        drop(store);
    }
}

fn key(text: &str) -> Key {
    Key(text.as_bytes().to_vec())
}
fn put(key: &Key, value: &[u8]) -> Write {
    Write::Put(key.clone(), value.to_vec())
}
fn writing(writes: Vec<Write>) -> Commit {
    Commit { preconditions: Vec::new(), writes }
}
fn when(preconditions: Vec<Precondition>, writes: Vec<Write>) -> Commit {
    Commit { preconditions, writes }
}
fn commit_all<S: Store>(store: &S, writes: Vec<Write>) {
    assert_eq!(store.commit(&[writing(writes)]).unwrap(), [Outcome::Committed]);
}
fn rows<S: Store>(store: &S) -> BTreeMap<Key, Vec<u8>> {
    store.scan(&[], None, usize::MAX).unwrap().into_iter().collect()
}
fn names(rows: super::Rows) -> Vec<String> {
    rows.into_iter().map(|(key, _)| String::from_utf8(key.0).unwrap()).collect()
}

fn what_is_put_is_read_and_what_is_deleted_is_gone<S: Store>(store: &S) {
    let (a, b) = (key("a"), key("b"));
    assert_eq!(store.get(&a).unwrap(), None);
    commit_all(store, vec![put(&a, b"1"), put(&b, b"")]);
    assert_eq!(store.get(&a).unwrap(), Some(b"1".to_vec()));
    assert_eq!(store.get(&b).unwrap(), Some(Vec::new()), "an empty value is a value");
    commit_all(store, vec![Write::Delete(a.clone()), Write::Delete(key("never there"))]);
    assert_eq!(store.get(&a).unwrap(), None);
    assert_eq!(store.get(&b).unwrap(), Some(Vec::new()));
    assert!(store.health().is_ok());
}

fn the_last_write_of_a_key_wins_within_a_commit_and_a_group<S: Store>(store: &S) {
    let (a, b, c) = (key("a"), key("b"), key("c"));
    let first = writing(vec![put(&a, b"1"), put(&a, b"2"), put(&b, b"1"), Write::Delete(c.clone()), put(&c, b"1")]);
    let second = writing(vec![put(&a, b"3"), Write::Delete(b.clone())]);
    assert_eq!(store.commit(&[first, second]).unwrap(), [Outcome::Committed, Outcome::Committed]);
    assert_eq!(rows(store), BTreeMap::from([(a, b"3".to_vec()), (c, b"1".to_vec())]));
}

fn a_failed_precondition_rejects_its_commit_whole_and_alone<S: Store>(store: &S) {
    let (a, b) = (key("a"), key("b"));
    commit_all(store, vec![put(&a, b"1")]);
    let stale = Precondition::Equals(a.clone(), b"0".to_vec());
    let group = [
        writing(vec![put(&key("x"), b"1")]),
        when(vec![Precondition::Absent(b.clone()), stale], vec![put(&key("y"), b"1"), Write::Delete(a.clone())]),
        when(vec![Precondition::Absent(a.clone())], vec![put(&key("y"), b"2")]),
        when(vec![Precondition::Equals(b.clone(), b"1".to_vec())], vec![put(&key("y"), b"3")]),
        when(vec![Precondition::Equals(a.clone(), b"1".to_vec())], vec![put(&key("z"), b"1")]),
    ];
    let conflict = |key: &Key, current: Option<&[u8]>| Outcome::Conflict {
        key: key.clone(),
        current: current.map(<[u8]>::to_vec),
    };
    let expected = [
        Outcome::Committed,
        conflict(&a, Some(b"1")),
        conflict(&a, Some(b"1")),
        conflict(&b, None),
        Outcome::Committed,
    ];
    assert_eq!(store.commit(&group).unwrap(), expected);
    assert_eq!(names(store.scan(&[], None, 10).unwrap()), ["a", "x", "z"]);
    let rejected = when(vec![Precondition::Absent(a)], vec![put(&b, b"1")]);
    assert!(matches!(store.commit(&[rejected]).unwrap()[..], [Outcome::Conflict { .. }]));
    assert_eq!(store.get(&b).unwrap(), None, "a group of rejected commits writes nothing");
}

fn a_commit_sees_the_accepted_ones_before_it_and_not_the_rejected<S: Store>(store: &S) {
    let (a, b) = (key("a"), key("b"));
    commit_all(store, vec![put(&b, b"old")]);
    let group = [
        when(vec![Precondition::Absent(a.clone())], vec![put(&a, b"1"), Write::Delete(b.clone())]),
        when(vec![Precondition::Absent(a.clone())], vec![put(&a, b"lost")]),
        when(
            vec![Precondition::Equals(a.clone(), b"1".to_vec()), Precondition::Absent(b.clone())],
            vec![put(&a, b"2"), put(&b, b"new")],
        ),
        when(vec![Precondition::Equals(a.clone(), b"2".to_vec())], vec![Write::Delete(a.clone())]),
        when(vec![Precondition::Absent(a.clone())], vec![put(&a, b"3")]),
    ];
    let outcomes = store.commit(&group).unwrap();
    let rejected = Outcome::Conflict { key: a.clone(), current: Some(b"1".to_vec()) };
    let committed = Outcome::Committed;
    assert_eq!(outcomes, [committed.clone(), rejected, committed.clone(), committed.clone(), committed]);
    assert_eq!(rows(store), BTreeMap::from([(a, b"3".to_vec()), (b, b"new".to_vec())]));
}

fn a_scan_keeps_to_its_prefix_order_limit_and_start<S: Store>(store: &S) {
    let all = ["a", "b", "b1", "b2", "b3", "c"];
    commit_all(store, all.iter().rev().map(|name| put(&key(name), b"")).collect());
    let scan = |prefix: &str, after: Option<&str>, limit| {
        names(store.scan(prefix.as_bytes(), after.map(key).as_ref(), limit).unwrap())
    };
    let back = |prefix: &str, before: Option<&str>, limit| {
        names(store.scan_back(prefix.as_bytes(), before.map(key).as_ref(), limit).unwrap())
    };
    assert_eq!(scan("b", None, 10), ["b", "b1", "b2", "b3"]);
    assert_eq!(scan("b", None, 2), ["b", "b1"]);
    assert_eq!(scan("b", Some("b1"), 10), ["b2", "b3"]);
    assert_eq!(scan("b", Some("b11"), 10), ["b2", "b3"], "the start need not exist");
    assert_eq!(scan("b", Some("a"), 10), ["b", "b1", "b2", "b3"], "a start before the prefix is no start");
    assert_eq!(scan("", Some("b2"), 2), ["b3", "c"]);
    assert_eq!(back("b", None, 10), ["b3", "b2", "b1", "b"]);
    assert_eq!(back("b", None, 1), ["b3"]);
    assert_eq!(back("b", Some("b2"), 10), ["b1", "b"]);
    assert_eq!(back("b", Some("c"), 10), ["b3", "b2", "b1", "b"], "a start after the prefix is no start");
    assert_eq!(back("", Some("b1"), 10), ["b", "a"]);
    for empty in [
        scan("b", Some("b3"), 10),
        scan("b", Some("c"), 10),
        scan("b", None, 0),
        scan("d", None, 10),
        back("b", Some("b"), 10),
        back("b", Some("a"), 10),
        back("b", None, 0),
        back("bb", None, 10),
    ] {
        assert_eq!(empty, [""; 0]);
    }
}

fn a_scan_is_never_longer_than_the_bound<S: Store>(store: &S) {
    let numbered = |n: usize| Key(vec![b'n', (n >> 16) as u8, (n >> 8) as u8, n as u8]);
    commit_all(store, (0..SCAN_ROWS_MAX + 1).map(|n| put(&numbered(n), b"")).collect());
    let rows = store.scan(b"n", None, usize::MAX).unwrap();
    assert_eq!(rows.len(), SCAN_ROWS_MAX);
    let rest = store.scan(b"n", rows.last().map(|(key, _)| key), usize::MAX).unwrap();
    assert_eq!(rest, [(numbered(SCAN_ROWS_MAX), Vec::new())]);
    let rows = store.scan_back(b"n", None, usize::MAX).unwrap();
    assert_eq!(rows.len(), SCAN_ROWS_MAX);
    assert_eq!(rows.first().unwrap().0, numbered(SCAN_ROWS_MAX));
}

fn prefixes_of_full_bytes_and_the_whole_store_are_scanned<S: Store>(store: &S) {
    let (low, high, full) = (Key(vec![1]), Key(vec![0xff, 0xff]), Key(vec![0xff, 0xff, 0xff]));
    commit_all(store, vec![put(&low, b""), put(&high, b""), put(&full, b"")]);
    let keys = |rows: super::Rows| rows.into_iter().map(|(key, _)| key).collect::<Vec<_>>();
    assert_eq!(keys(store.scan(&[0xff, 0xff], None, 10).unwrap()), [high.clone(), full.clone()]);
    assert_eq!(keys(store.scan_back(&[0xff, 0xff], None, 10).unwrap()), [full.clone(), high.clone()]);
    assert_eq!(keys(store.scan_back(&[0xff], Some(&full), 10).unwrap()), std::slice::from_ref(&high));
    assert_eq!(keys(store.scan(&[], None, 10).unwrap()), [low, high, full]);
}

fn a_value_or_key_that_cannot_be_kept_refuses_the_group_and_harms_nothing<S: Store>(store: &S) {
    let good = writing(vec![put(&key("a"), b"1")]);
    let too_large = put(&key("big"), &vec![0; VALUE_BYTES_MAX]);
    let error = store.commit(&[good.clone(), writing(vec![too_large])]).unwrap_err();
    assert!(matches!(error, StoreError::TooLarge { bytes: VALUE_BYTES_MAX, .. }), "{error}");
    let too_long = Write::Append(key("log"), vec![0; ITEM_BYTES_MAX + 1]);
    let error = store.commit(&[good.clone(), writing(vec![too_long])]).unwrap_err();
    assert!(matches!(error, StoreError::TooLarge { .. }), "{error}");
    for bad in [Key(Vec::new()), Key(vec![table::ENGINE]), Key(vec![b'k'; KEY_BYTES_MAX + 1])] {
        for write in [put(&bad, b""), Write::Delete(bad.clone()), Write::Append(bad.clone(), Vec::new())] {
            let error = store.commit(&[good.clone(), writing(vec![write])]).unwrap_err();
            assert!(matches!(error, StoreError::BadKey { .. }), "{error}");
        }
    }
    assert!(rows(store).is_empty(), "nothing of a refused group is written");
    assert!(store.health().is_ok(), "a bad commit is the caller's mistake, not a failure of the store");
    assert_eq!(store.commit(&[good]).unwrap(), [Outcome::Committed]);
}

fn the_largest_values_are_kept_side_by_side<S: Store>(store: &S) {
    let value = |n: u8| vec![n; VALUE_BYTES_MAX - 1];
    let long = |n: u8| Key([vec![b'l'; KEY_BYTES_MAX - 1], vec![n]].concat());
    for n in 0..40 {
        commit_all(store, vec![put(&long(n), &value(n))]);
    }
    for n in 0..40 {
        assert_eq!(store.get(&long(n)).unwrap(), Some(value(n)), "the {n}th of the largest values");
    }
}

fn an_empty_group_and_an_empty_commit_are_fine<S: Store>(store: &S) {
    assert_eq!(store.commit(&[]).unwrap(), []);
    assert_eq!(store.commit(&[Commit::default()]).unwrap(), [Outcome::Committed]);
    assert!(rows(store).is_empty());
}

fn items_of_a_log_come_back_newest_first_and_apart_from_rows_and_other_logs<S: Store>(store: &S) {
    let (log, other) = (key("log"), key("log2"));
    let add = |log: &Key, item: &[u8]| Write::Append(log.clone(), item.to_vec());
    let items = |log: &Key, before: Option<Mark>, limit| {
        let items = store.back(log, before, limit).unwrap();
        assert!(items.is_sorted_by(|a, b| a.0 > b.0), "later items have greater marks");
        items
    };
    assert_eq!(items(&log, None, 10), []);
    commit_all(store, vec![add(&log, b"1"), put(&log, b"row"), add(&other, b"x"), add(&log, b"2")]);
    let rejected = when(vec![Precondition::Absent(log.clone())], vec![add(&log, b"lost")]);
    store.commit(&[rejected, writing(vec![add(&log, &[3; ITEM_BYTES_MAX])]), writing(vec![add(&log, b"")])]).unwrap();
    let all = items(&log, None, 10);
    let values: Vec<&[u8]> = all.iter().map(|(_, item)| item.as_slice()).collect();
    assert!(values == [b"".as_slice(), &[3; ITEM_BYTES_MAX], b"2", b"1"], "four items, the newest first");
    assert_eq!(items(&log, None, 1), all[..1]);
    assert_eq!(items(&log, Some(all[1].0), 10), all[2..]);
    assert_eq!(items(&log, Some(all[3].0), 10), []);
    assert_eq!(items(&log, None, 0), []);
    assert_eq!(items(&other, None, 10).len(), 1);
    assert_eq!(store.get(&log).unwrap(), Some(b"row".to_vec()));
    assert_eq!(rows(store).len(), 1, "no log shows among the rows");
}

/// What a store must hold.
#[derive(Default)]
struct Model {
    rows: BTreeMap<Key, Vec<u8>>,
    logs: BTreeMap<Key, Vec<Vec<u8>>>,
}

impl Model {
    fn stands_in<S: Store>(&self, store: &S, when: &str) {
        assert_eq!(rows(store), self.rows, "rows, {when}");
        for (log, items) in &self.logs {
            let found: Vec<_> = store.back(log, None, usize::MAX).unwrap().into_iter().map(|(_, item)| item).collect();
            assert!(found.iter().eq(items.iter().rev()), "log {log}, {when}");
        }
    }
}

fn random_groups_agree_with_the_model<S: Store>(store: &S, seed: u64, groups: usize) {
    let mut dice = Dice(seed);
    let mut model = Model::default();
    run_random_groups(store, &mut model, &mut dice, groups);
    model.stands_in(store, &format!("seed {seed}"));
    for _ in 0..40 {
        let (prefix, start) = (dice.prefix(), dice.key());
        let limit = dice.below(6);
        let under = |key: &&Key| key.0.starts_with(&prefix);
        let keys = || model.rows.keys();
        let expected: Vec<_> = keys().filter(under).filter(|key| **key > start).take(limit).collect();
        let found = store.scan(&prefix, Some(&start), limit).unwrap();
        assert_eq!(found.iter().map(|(key, _)| key).collect::<Vec<_>>(), expected, "seed {seed}: scan");
        let expected: Vec<_> = keys().rev().filter(under).filter(|key| **key < start).take(limit).collect();
        let found = store.scan_back(&prefix, Some(&start), limit).unwrap();
        assert_eq!(found.iter().map(|(key, _)| key).collect::<Vec<_>>(), expected, "seed {seed}: scan_back");
    }
}

fn run_random_groups<S: Store>(store: &S, model: &mut Model, dice: &mut Dice, groups: usize) {
    for _ in 0..groups {
        let group: Vec<Commit> = (0..dice.below(9)).map(|_| dice.commit(&model.rows)).collect();
        let outcomes = store.commit(&group).unwrap();
        let expected: Vec<Outcome> = group.iter().map(|commit| apply(model, commit)).collect();
        assert_eq!(outcomes, expected);
        let key = dice.key();
        assert_eq!(store.get(&key).unwrap().as_ref(), model.rows.get(&key));
    }
}

/// The rules of a commit, said once more.
fn apply(Model { rows, logs }: &mut Model, commit: &Commit) -> Outcome {
    for precondition in &commit.preconditions {
        let (key, holds) = match precondition {
            Precondition::Absent(key) => (key, !rows.contains_key(key)),
            Precondition::Equals(key, value) => (key, rows.get(key) == Some(value)),
        };
        if !holds {
            return Outcome::Conflict { key: key.clone(), current: rows.get(key).cloned() };
        }
    }
    for write in &commit.writes {
        match write {
            Write::Put(key, value) => drop(rows.insert(key.clone(), value.clone())),
            Write::Delete(key) => drop(rows.remove(key)),
            Write::Append(log, item) => logs.entry(log.clone()).or_default().push(item.clone()),
        }
    }
    Outcome::Committed
}

fn items_of_all_logs_come_in_the_order_in_which_they_joined_them<S: Store>(store: &S) {
    assert_eq!(store.items(None, 10).unwrap(), []);
    let (a, b) = (key("a"), key("b"));
    let append = |log: &Key, n: u32| Write::Append(log.clone(), n.to_be_bytes().repeat(40));
    for n in 0..60 {
        commit_all(store, vec![append(&b, 2 * n), append(&a, 2 * n + 1), put(&a, b"a row is no item")]);
    }
    let wanted = |n: u32| (if n.is_multiple_of(2) { b.clone() } else { a.clone() }, n.to_be_bytes().repeat(40));
    let (mut after, mut n) = (None, 0);
    loop {
        let page = store.items(after, 7).unwrap();
        let Some((last, ..)) = page.last() else { break };
        assert!(page.len() <= 7);
        after = Some(*last);
        for (mark, log, item) in page {
            assert_eq!((log.clone(), item), wanted(n), "item {n}");
            assert!(store.back(&log, None, 1_000).unwrap().iter().any(|(of, _)| *of == mark), "marks mean the same");
            n += 1;
        }
    }
    assert_eq!(n, 120);
}

/// A seeded stream of numbers (SplitMix64): the same seed, the same groups.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
    fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }
    /// Few keys, so that they meet often; of several lengths, so that some are prefixes of others.
    fn key(&mut self) -> Key {
        let length = 1 + self.below(3);
        Key((0..length).map(|_| [1, b'a', b'b', b'c', 0xff][self.below(5)]).collect())
    }
    fn prefix(&mut self) -> Vec<u8> {
        let key = self.key();
        key.0[..self.below(key.0.len() + 1)].to_vec()
    }
    fn value(&mut self) -> Vec<u8> {
        let length = if self.below(20) == 0 { self.below(20_000) } else { self.below(40) };
        vec![self.below(256) as u8; length]
    }
    /// Two preconditions in three look at what the model held before the group.
    fn commit(&mut self, model: &BTreeMap<Key, Vec<u8>>) -> Commit {
        let preconditions = (0..self.below(3)).map(|_| {
            let key = self.key();
            match (self.below(3), model.get(&key)) {
                (0, _) => Precondition::Absent(key),
                (1, Some(value)) => Precondition::Equals(key, value.clone()),
                (_, Some(_)) => Precondition::Equals(key, self.value()),
                (_, None) => Precondition::Absent(key),
            }
        });
        let preconditions = preconditions.collect();
        let writes = (0..self.below(5)).map(|_| {
            let key = self.key();
            match self.below(4) {
                0 => Write::Delete(key),
                1 => Write::Append(key, self.value()),
                _ => Write::Put(key, self.value()),
            }
        });
        Commit { preconditions, writes: writes.collect() }
    }
}
