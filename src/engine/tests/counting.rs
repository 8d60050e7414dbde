//! What reports count is exactly what is on disk: with a decision, not before it and not twice.

use hearthway_core::report::{Asked, Note, Noted, Stage};

use super::*;
use crate::engine::ledgers::{Ledgers, MONTHS_KEPT};
use crate::engine::reports::{Found, Question, ReportKind};

fn customers(home: &Home) -> DeviceKey {
    let device = home.registered("acme/d-1");
    home.command(&device, Command::LinkDirectly { join: join() });
    home.settle();
    device
}

/// Looks at the trigger of the tests, in all: it is blocked, for the home has not consented.
fn looks(home: &Home) -> u64 {
    let question = Question { kind: ReportKind::Funnel, asked: Asked::default(), window: None };
    let report = home.engine.past().report(&join().retailer, &question, START).unwrap();
    let Found::Funnel(funnel) = report.found else { panic!("another report") };
    funnel.triggers.iter().map(|of| of.count(Stage::Matched).decisions).sum()
}

/// Ledgers on disk.
fn ledgers(home: &Home) -> usize {
    home.count(&[keys::table::LEDGER])
}

fn cold(home: &Home, device: &DeviceKey, round: u32) {
    home.turn_clock(Span::minutes(1));
    home.say(device, &format!("warm-{round}"), temperature(20.0));
    home.say(device, &format!("cold-{round}"), temperature(16.0));
}

#[test]
fn a_reading_that_wakes_nothing_writes_no_ledger() {
    let home = Home::new();
    let device = customers(&home);
    for n in 0..20 {
        home.say(&device, &format!("m{n}"), temperature(20.0));
    }
    home.settle();
    assert_eq!((ledgers(&home), looks(&home)), (0, 0));
    cold(&home, &device, 0);
    home.settle();
    assert_eq!((ledgers(&home), looks(&home)), (1, 1));
}

#[test]
fn what_a_crash_forgets_was_not_counted_and_its_repeat_is_counted_once() {
    let mut home = Home::new();
    let device = customers(&home);
    cold(&home, &device, 0);
    home.decide_all();
    assert_eq!(looks(&home), 0, "decided, not yet on disk");
    home.crash();
    assert_eq!(looks(&home), 0);
    for _ in 0..3 {
        home.say(&device, "warm-0", temperature(20.0));
        home.say(&device, "cold-0", temperature(16.0));
        home.settle();
        home.crash();
    }
    assert_eq!(looks(&home), 1);
}

#[test]
fn looks_that_share_a_commit_are_all_counted() {
    let mut home = Home::new();
    let device = customers(&home);
    for round in 0..5 {
        cold(&home, &device, round);
    }
    home.settle();
    assert_eq!((ledgers(&home), looks(&home)), (1, 5));
    home.crash();
    cold(&home, &device, 5);
    home.settle();
    assert_eq!(looks(&home), 6, "the count goes on after a start");
}

#[test]
fn a_failed_commit_counts_nothing() {
    let home = Home::new();
    let device = customers(&home);
    cold(&home, &device, 0);
    home.settle();
    for lies in [false, true] {
        let fault = if lies { &home.store.lies } else { &home.store.fails };
        fault.store(true, Ordering::Relaxed);
        cold(&home, &device, 1);
        home.settle();
        fault.store(false, Ordering::Relaxed);
        // Its sender was told to come again, and does; what a lying store kept it recognises.
        home.engine.step_time();
        home.say(&device, "warm-1", temperature(20.0));
        home.say(&device, "cold-1", temperature(16.0));
        home.settle();
        assert_eq!(looks(&home), 2, "lies: {lies}");
    }
}

#[test]
fn a_ledger_beyond_the_months_that_are_kept_goes_with_the_next_of_its_home() {
    let store = MemoryStore::new();
    let (retailer, home) = (join().retailer, join().household);
    let note = |at: Timestamp| {
        let what = Noted::OptedOut { at, kind: hearthway_core::report::OptOutKind::Paused };
        Note { retailer: retailer.clone(), month: hearthway_core::report::Month::of(at), what }
    };
    let mut ledgers = Ledgers::default();
    let mut take = |note: Note| {
        let mut writes = Vec::new();
        ledgers.open(home, std::slice::from_ref(&note), &store).unwrap();
        ledgers.write(home, &[note], &mut writes);
        store.commit(&[Commit { preconditions: Vec::new(), writes }]).unwrap();
        ledgers.settle();
        store.scan(&keys::ledgers(&retailer), None, 100).unwrap().len()
    };
    let month = |n: i64| START + Span::days(n * 30 + n / 2);
    assert_eq!(take(note(month(0))), 1);
    assert_eq!(take(note(month(1))), 2);
    assert_eq!(take(note(month(i64::from(MONTHS_KEPT)))), 2, "the first went");
    assert_eq!(take(note(month(i64::from(MONTHS_KEPT) * 3))), 1, "all others went");
    // What becomes of an offer whose month is gone brings it not back.
    let late = Noted::Became { offer: 7, fate: hearthway_core::report::Fate::Expired };
    assert_eq!(take(Note { what: late, ..note(month(0)) }), 1);
}

#[test]
fn the_bytes_of_a_ledger_of_version_1_stay_as_they_are() {
    let mut ledger = hearthway_core::report::Ledger::default();
    let trigger = TriggerId::new("t").unwrap();
    let day = hearthway_core::report::Day(20_000);
    ledger.take(&Noted::Looked { trigger, day, stopped_by: Some("age:old".into()) });
    ledger.take(&Noted::Spoke(hearthway_core::report::Spoken {
        offer: 7,
        trigger: "t".into(),
        product: Some("p".into()),
        kind: None,
        model: Some("m".into()),
        at: START,
        day,
        hour: 9,
        group: hearthway_core::report::Group::Treated,
        fates: 0,
    }));
    let product = ProductId::new("p").unwrap();
    ledger.take(&Noted::Ordered { order: 3, offer: 7, product, at: START, stands: true });
    ledger.take(&Noted::OptedOut { at: START, kind: hearthway_core::report::OptOutKind::Paused });
    let bytes = codec::encode(Schema::Ledger, &ledger);
    assert_eq!(
        data_encoding::HEXLOWER.encode(&bytes),
        "a715010000000000040174076167653a6f6c640170016d01000101c0b80201010700010200010380b09eaaa167c0b8020901000103070280b09eaaa167010180b09eaaa167010091c00691"
    );
    let key = keys::ledger(&join().retailer, join().household, hearthway_core::report::Month(1));
    let read: hearthway_core::report::Ledger = codec::decode(Schema::Ledger, &key, &bytes).unwrap();
    assert_eq!(read, ledger);
}
