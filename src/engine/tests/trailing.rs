//! A household is its record and what followed: readings do not write the record again.

use super::*;

#[test]
fn readings_follow_the_record_and_a_crash_after_any_of_them_loses_nothing() {
    let mut home = Home::with(Settings { snapshot_inputs: 512, ..Settings::default() });
    let device = home.registered("acme/d-1");
    let household = HouseholdId::prospect(&device);
    let record = |home: &Home| home.store.get(&keys::household(household)).unwrap();
    let (mut last, mut written) = (record(&home), 0);
    for n in 0..80 {
        home.turn_clock(Span::seconds(1));
        home.say(&device, &format!("m{n}"), temperature(f64::from(n % 30)));
        home.settle();
        let before = home.facts(household).unwrap();
        if n % 3 == 0 {
            home.crash();
        }
        let after = home.facts(household).unwrap();
        assert_eq!(after, before, "after reading {n}");
        assert_eq!(home.engine.replay(household).unwrap().differences, []);
        let repeat = home.say(&device, &format!("m{n}"), temperature(f64::from(n % 30)));
        home.settle();
        assert!(matches!(taken(repeat), Outcome::Duplicate(Ok(_))), "reading {n} was seen");
        let now = record(&home);
        written += usize::from(now != last);
        last = now;
    }
    assert!((5..30).contains(&written), "80 readings wrote the record {written} times");
}

#[test]
fn a_trend_outlives_a_crash_after_any_reading() {
    let mut home = Home::with(Settings { snapshot_inputs: 16, ..Settings::default() });
    let device = home.registered("acme/d-1");
    let household = HouseholdId::prospect(&device);
    for n in 0..60 {
        home.turn_clock(Span::minutes(10));
        home.say(&device, &format!("m{n}"), temperature(20.0 - f64::from(n) / 12.0));
        home.settle();
        let before = home.facts(household).unwrap();
        home.crash();
        let after = home.facts(household).unwrap();
        assert_eq!((&after.trends, after.trends.len()), (&before.trends, 1), "after reading {n}");
    }
    let slope = home.facts(household).unwrap().trends.values().next().unwrap().current().unwrap();
    assert!((slope + 0.5).abs() < 1e-9, "{slope}: half a degree an hour, over crashes and all");
    assert_eq!(home.engine.replay(household).unwrap().differences, []);
}

#[test]
fn a_failed_commit_takes_what_followed_back_with_it() {
    let home = Home::new();
    let device = home.registered("acme/d-1");
    let household = HouseholdId::prospect(&device);
    home.say(&device, "m1", temperature(20.0));
    home.say(&device, "m2", temperature(21.0));
    home.settle();
    let before = home.facts(household).unwrap();
    home.store.fails.store(true, Ordering::Relaxed);
    home.say(&device, "m3", temperature(22.0));
    home.settle();
    home.store.fails.store(false, Ordering::Relaxed);
    assert_eq!(home.facts(household).unwrap(), before);
    home.say(&device, "m4", temperature(23.0));
    home.settle();
    assert_eq!(home.facts(household).unwrap().seq, before.seq + 1);
    assert_eq!(home.engine.replay(household).unwrap().differences, []);
}

#[test]
fn what_follows_a_record_that_is_not_there_is_told_and_not_believed() {
    let home = Home::with(Settings { snapshot_inputs: 512, ..Settings::default() });
    let device = home.registered("acme/d-1");
    let household = HouseholdId::prospect(&device);
    let old = home.store.get(&keys::household(household)).unwrap().unwrap();
    for n in 0..60 {
        home.say(&device, &format!("m{n}"), temperature(20.0));
        home.settle();
    }
    let write = store::Write::Put(keys::household(household), old);
    home.store.rows.commit(&[Commit { preconditions: vec![], writes: vec![write] }]).unwrap();
    let read = facts::read_household(household, &*home.store, Decider::core());
    let said = read.err().expect("an old record with a newer tail").to_string();
    assert!(said.contains("it goes on from input"), "{said}");
}
