//! The input log: bounded, replayed, and asked why.

use super::*;
use hearthway_core::limits::SEEN_IDS_PER_DEVICE;
use hearthway_core::trace::{Step, Verdict};

#[test]
fn the_whole_log_replays_to_the_record_over_snapshots_and_crashes() {
    let mut home = Home::new();
    let device = home.registered("acme/d-1");
    let household = HouseholdId::prospect(&device);
    for n in 0..100 {
        home.say(&device, &format!("m{n}"), temperature(f64::from(n % 30)));
        home.settle();
        let replayed = home.engine.replay(household).unwrap();
        assert_eq!(replayed.differences, []);
        assert_eq!((replayed.inputs, replayed.cut), (n as u64 + 2, 0));
        if n == 50 {
            home.crash();
        }
    }
    let mut snapshots = 0;
    log::walk_back(&*home.store, household, None, |_, item| {
        snapshots += usize::from(matches!(item, log::Walked::Item(rows::LogItem::Snapshot(_))));
        true
    })
    .unwrap();
    assert_eq!(snapshots, 101 / 16);
}

#[test]
fn a_household_that_reports_rarely_has_a_snapshot_for_every_day() {
    let home = Home::new();
    let device = home.registered("acme/d-1");
    let household = HouseholdId::prospect(&device);
    for n in 0..4 {
        home.turn_clock(Span::hours(13));
        home.say(&device, &format!("m{n}"), temperature(20.0));
        home.settle();
    }
    let mut shape = String::new();
    log::walk_back(&*home.store, household, None, |_, item| {
        shape.insert(0, if matches!(item, log::Walked::Item(rows::LogItem::Snapshot(_))) { 'S' } else { 'i' });
        true
    })
    .unwrap();
    assert_eq!(shape, "iiiSiiS");
    assert_eq!(home.engine.replay(household).unwrap().inputs, 5);
}

#[test]
fn a_replay_tells_a_household_that_was_changed_by_other_means() {
    let home = Home::new();
    let device = home.registered("acme/d-1");
    let household = HouseholdId::prospect(&device);
    let mut row = facts::read_household(household, &*home.store, Decider::core()).unwrap().unwrap().row;
    Arc::make_mut(&mut row.facts).paused_until = Some(START);
    let bytes = codec::encode(Schema::Household, &row);
    let write = store::Write::Put(keys::household(household), bytes);
    home.store.rows.commit(&[Commit { preconditions: vec![], writes: vec![write] }]).unwrap();
    assert_eq!(home.engine.replay(household).unwrap().differences.len(), 1);
}

#[test]
fn messages_are_listed_newest_first_with_their_verdict() {
    let home = Home::new();
    let device = home.registered("acme/d-1");
    home.say(&device, "m1", temperature(16.0));
    home.say(
        &device,
        "m2",
        DeviceMessage::Answer(hearthway_core::wire::AnswerUp {
            offer: OfferId::derived(&[b"nothing"]),
            rev: 1,
            answer: hearthway_core::input::Answer::Decline,
            nonce: None,
            t: None,
        }),
    );
    home.settle();
    let messages = home.engine.messages(&device, 5).unwrap();
    let shown: Vec<_> =
        messages.iter().map(|m| (m.id.as_ref().unwrap().as_str(), m.topic, m.verdict.as_str())).collect();
    assert_eq!(shown, [("m2", "up/offer/answer", "refused: offer.unknown"), ("m1", "up/telemetry", "accepted")]);
    assert_eq!(home.engine.messages(&device, 1).unwrap().len(), 1);
}

#[test]
fn a_stored_candidate_explains_itself_and_silence_is_decided_again_and_says_so() {
    let mut home = Home::with(Settings { snapshot_inputs: 8, ..Settings::default() });
    let device = home.registered("acme/d-1");
    home.command(&device, Command::LinkDirectly { join: join() });
    home.settle();
    let household = join().household;
    let trigger = TriggerId::new("cold-home").unwrap();
    // Warm, then the crossing, then colder still: only the second wakes the trigger.
    for (n, value) in (0..).zip([20.0, 16.4, 15.0, 15.1, 15.2, 15.3]) {
        home.turn_clock(Span::minutes(1));
        home.say(&device, &format!("m{n}"), temperature(value));
        home.settle();
    }
    home.crash();
    let explain = |at| now_or_never(home.engine.explain(household, &trigger, at)).unwrap();
    let stored = explain(None).unwrap();
    assert!(!stored.recomputed);
    assert_eq!(stored.at, START + Span::minutes(2), "the crossing");
    assert_eq!(stored.candidate.verdict, Verdict::Held);
    assert_eq!(stored.candidate.first_block, Some(Step::Consent), "{}", stored.candidate);
    assert_eq!(explain(Some(START + Span::seconds(150))), Some(stored.clone()), "the last input before that time");
    for (minutes, why) in [(1, "warm"), (3, "spent"), (6, "after a snapshot")] {
        let silence = explain(Some(START + Span::minutes(minutes))).unwrap();
        assert!(silence.recomputed, "{why}");
        assert_eq!(silence.at, START + Span::minutes(minutes));
        assert_eq!(silence.candidate.verdict, Verdict::Held);
        assert!(!silence.candidate.steps.is_empty());
    }
    assert_eq!(explain(Some(START - Span::days(1))), None, "before the log");
    let decisions = home.engine.decisions(household, Some(&trigger), 10).unwrap();
    assert_eq!(decisions.len(), 1);
    assert_eq!(decisions[0].2, stored.candidate);
    assert_eq!(home.engine.replay(household).unwrap().differences, []);
}

#[test]
fn a_trigger_that_nobody_defined_explains_nothing() {
    let home = Home::new();
    let device = home.registered("acme/d-1");
    let trigger = TriggerId::new("filter-wrn").unwrap();
    let household = HouseholdId::prospect(&device);
    for at in [None, Some(START), Some(START - Span::days(1))] {
        assert_eq!(now_or_never(home.engine.explain(household, &trigger, at)).unwrap(), None);
    }
}

#[test]
fn the_ids_of_a_device_are_bounded_and_the_newest_are_remembered() {
    let home = Home::with(Settings { shards: 1, ..Settings::default() });
    let device = home.registered("acme/d-1");
    let kept = SEEN_IDS_PER_DEVICE;
    for n in 0..3 * kept {
        home.turn_clock(Span(1));
        home.say(&device, &format!("m{n}"), temperature(16.0));
        if n % 50 == 0 {
            home.settle();
        }
    }
    home.settle();
    let pages = home.count(&keys::all_seen(&device));
    assert!(pages * 32 >= kept && pages * 32 <= 2 * kept, "{pages} pages");
    let oldest_kept = home.say(&device, &format!("m{}", 2 * kept), temperature(16.0));
    home.settle();
    assert!(matches!(taken(oldest_kept), Outcome::Duplicate(_)));
    let forgotten = home.say(&device, "m0", temperature(16.0));
    home.settle();
    assert!(matches!(taken(forgotten), Outcome::Committed(_)));
}

#[test]
fn ids_of_another_week_go_with_what_their_repeats_are_told() {
    let mut home = Home::with(Settings { shards: 1, ..Settings::default() });
    let device = home.registered("acme/d-1");
    let told = || DeviceMessage::Claim(hearthway_core::wire::ClaimUp::Start { presence: true });
    home.say(&device, "c1", told());
    home.settle();
    let all_told = keys::KeyBuilder::table(keys::table::TOLD).prefix();
    assert_eq!(home.count(&all_told), 1);
    let talk = |home: &Home, prefix: &str| {
        for n in 0..70 {
            home.say(&device, &format!("{prefix}{n}"), temperature(16.0));
            home.settle();
        }
    };
    talk(&home, "a");
    home.turn_clock(hearthway_core::limits::SEEN_AGE_MAX);
    home.crash();
    talk(&home, "b");
    assert_eq!(home.count(&all_told), 1, "a week is not over a week");
    home.turn_clock(Span(1));
    talk(&home, "c");
    assert_eq!(home.count(&all_told), 0);
    let outcome = home.say(&device, "a1", temperature(16.0));
    home.settle();
    assert!(matches!(taken(outcome), Outcome::Committed(_)), "it was forgotten");
}

#[test]
fn a_clock_that_leaps_makes_no_repeat_new() {
    let mut home = Home::new();
    let device = home.registered("acme/d-1");
    home.say(&device, "m1", temperature(16.0));
    home.settle();
    for leap in [Span::days(365), Span::days(-400)] {
        home.turn_clock(leap);
        home.crash();
        let repeat = home.say(&device, "m1", temperature(16.0));
        home.settle();
        assert!(matches!(taken(repeat), Outcome::Duplicate(_)));
    }
}

#[test]
fn ids_go_with_a_device_that_moves() {
    let mut home = Home::new();
    let device = home.registered("acme/d-1");
    home.say(&device, "m1", temperature(16.0));
    home.settle();
    home.command(&device, Command::LinkDirectly { join: join() });
    home.settle();
    for _ in 0..2 {
        let repeat = home.say(&device, "m1", temperature(16.0));
        home.settle();
        assert!(matches!(taken(repeat), Outcome::Duplicate(_)));
        let new = home.say(&device, "m2", temperature(17.0));
        home.settle();
        drop(new);
        home.crash();
    }
    let repeat = home.say(&device, "m2", temperature(17.0));
    home.settle();
    assert!(matches!(taken(repeat), Outcome::Duplicate(_)));
}
