//! Nothing is known before it is on disk, and the same twice is once.

use super::*;

#[test]
fn a_caller_is_answered_only_after_the_commit_is_durable() {
    let home = Home::new();
    let device = home.registered("acme/d-1");
    let mut outcome = home.say(&device, "m1", temperature(16.0));
    home.decide_all();
    assert!(is_open(&mut outcome), "decided, not yet on disk");
    home.engine.step_writer();
    assert_eq!(taken(outcome), Outcome::Committed(Ok(Reply::Done)));
}

#[test]
fn facts_are_what_is_on_disk_and_decisions_run_ahead_of_it() {
    let home = Home::new();
    let device = home.registered("acme/d-1");
    let household = HouseholdId::prospect(&device);
    for (n, value) in (0..).zip([16.0, 17.0, 18.0]) {
        home.say(&device, &format!("m{n}"), temperature(value));
    }
    home.decide_all();
    assert_eq!(home.facts(household).unwrap().seq, 1, "the registration alone is durable");
    home.engine.step_writer();
    let facts = home.facts(household).unwrap();
    assert_eq!(facts.seq, 4);
    assert_eq!(facts.devices[&device].reported.values().next().unwrap().value, Value::Number(18.0));
}

#[test]
fn inputs_of_one_household_are_decided_in_the_order_of_submission() {
    let home = Home::with(Settings { snapshot_inputs: 512, ..Settings::default() });
    let device = home.registered("acme/d-1");
    for n in 0..50 {
        home.say(&device, &format!("m{n}"), temperature(f64::from(n)));
        if n % 7 == 0 {
            home.decide_all();
        }
        if n % 11 == 0 {
            home.engine.step_writer();
        }
    }
    home.settle();
    let order: Vec<_> =
        home.log(HouseholdId::prospect(&device)).into_iter().filter_map(|row| row.input.message).collect();
    let said: Vec<_> = (0..50).map(|n| MessageId::new(format!("m{n}")).unwrap()).collect();
    assert_eq!(order, said);
}

#[test]
fn a_hundred_repeats_are_one_decision_also_in_flight_and_across_a_crash() {
    let mut home = Home::with(Settings { snapshot_inputs: 512, ..Settings::default() });
    let device = home.registered("acme/d-1");
    let first = home.say(&device, "m1", temperature(16.0));
    let mut repeats: Vec<_> = (0..40).map(|_| home.say(&device, "m1", temperature(16.0))).collect();
    home.decide_all();
    assert!(repeats.iter_mut().all(is_open), "a repeat waits for the commit of the first");
    home.settle();
    assert_eq!(taken(first), Outcome::Committed(Ok(Reply::Done)));
    repeats.extend((0..30).map(|_| home.say(&device, "m1", temperature(16.0))));
    home.settle();
    home.crash();
    repeats.extend((0..30).map(|_| home.say(&device, "m1", temperature(16.0))));
    home.settle();
    for repeat in repeats {
        assert!(matches!(taken(repeat), Outcome::Duplicate(Ok(_))));
    }
    assert_eq!(home.log(HouseholdId::prospect(&device)).len(), 2, "the registration and one message");
}

#[test]
fn a_repeat_of_a_refused_message_is_refused_again_with_the_same_words() {
    let home = Home::new();
    let device = home.registered("acme/d-1");
    home.listen(&device);
    let unknown = OfferId::derived(&[b"nothing"]);
    let answer = || {
        let answer = hearthway_core::input::Answer::Decline;
        DeviceMessage::Answer(hearthway_core::wire::AnswerUp { offer: unknown, rev: 1, answer, nonce: None, t: None })
    };
    let first = home.say(&device, "a1", answer());
    home.settle();
    let told = home.heard();
    let again = home.say(&device, "a1", answer());
    home.settle();
    let Outcome::Committed(Err(refusal)) = taken(first) else { panic!("an unknown offer is refused") };
    assert_eq!(taken(again), Outcome::Duplicate(Err(refusal)));
    let repeated = home.heard();
    assert_eq!((told.len(), repeated.len()), (1, 1));
    assert_eq!(&*repeated[0].topic, "down/error");
    assert!(repeated[0].n > told[0].n);
}

#[test]
fn a_repeat_never_gets_an_offer_again_but_the_current_set() {
    let home = Home::new();
    let device = home.registered("acme/d-1");
    home.listen(&device);
    let sync = || DeviceMessage::Sync(hearthway_core::wire::SyncUp { want: vec![], have_offers: vec![] });
    home.say(&device, "s1", sync());
    home.say(&device, "p1", event("put"));
    home.settle();
    let first: Vec<_> = home.heard().into_iter().map(|delivery| delivery.topic.to_string()).collect();
    assert_eq!(first, ["down/sync", "down/offer"]);
    home.say(&device, "s1", sync());
    home.say(&device, "p1", event("put"));
    home.settle();
    let again: Vec<_> = home.heard().into_iter().map(|delivery| delivery.topic.to_string()).collect();
    assert_eq!(again, ["down/sync"]);
}

#[test]
fn when_the_store_fails_nothing_is_acknowledged_and_everything_is_decided_anew() {
    let home = Home::new();
    let device = home.registered("acme/d-1");
    let household = HouseholdId::prospect(&device);
    home.store.fails.store(true, Ordering::Relaxed);
    let lost = home.say(&device, "m1", temperature(16.0));
    let repeat = home.say(&device, "m1", temperature(16.0));
    home.decide_all();
    home.engine.step_writer();
    assert!(matches!(taken(lost), Outcome::Failed(_)));
    assert!(matches!(taken(repeat), Outcome::Failed(_)), "the repeat is not acknowledged either");
    assert!(home.engine.health().is_err());
    home.store.fails.store(false, Ordering::Relaxed);
    let again = home.say(&device, "m1", temperature(16.5));
    home.settle();
    assert_eq!(taken(again), Outcome::Committed(Ok(Reply::Done)), "it is not taken for a repeat");
    assert!(home.engine.health().is_ok());
    let facts = home.facts(household).unwrap();
    assert_eq!((facts.seq, home.log(household).len()), (2, 2));
    assert_eq!(home.engine.replay(household).unwrap().differences, []);
}

#[test]
fn what_was_decided_on_top_of_a_failed_commit_fails_with_it() {
    let home = Home::with(Settings { group_commits_max: 1, shards: 1, ..Settings::default() });
    let device = home.registered("acme/d-1");
    let household = HouseholdId::prospect(&device);
    home.store.fails.store(true, Ordering::Relaxed);
    let first = home.say(&device, "m1", temperature(16.0));
    home.decide_all();
    // The queue holds one commit: the second is decided on top of it once the writer took it.
    home.engine.step_writer();
    home.store.fails.store(false, Ordering::Relaxed);
    let second = home.say(&device, "m2", temperature(17.0));
    home.settle();
    assert!(matches!(taken(first), Outcome::Failed(_)));
    assert_eq!(taken(second), Outcome::Committed(Ok(Reply::Done)));
    assert_eq!(home.facts(household).unwrap().seq, 2);
    assert_eq!(home.engine.replay(household).unwrap().differences, []);
}

#[test]
fn commits_decided_before_a_failure_are_never_written_after_it() {
    let home = Home::with(Settings { group_commits_max: 2, shards: 1, ..Settings::default() });
    let device = home.registered("acme/d-1");
    let first = home.say(&device, "m1", temperature(16.0));
    let second = home.say(&device, "m2", temperature(17.0));
    home.decide_all();
    // The world between decision and commit: the facts are forgotten, as after another group's failure.
    for shard in home.engine.inner().shards.iter() {
        house::lock(shard).failed();
    }
    home.settle();
    assert!(matches!(taken(first), Outcome::Failed(_)));
    assert!(matches!(taken(second), Outcome::Failed(_)));
    assert_eq!(home.log(HouseholdId::prospect(&device)).len(), 1);
}

#[test]
fn a_device_that_nobody_registered_is_refused_without_a_commit() {
    let home = Home::new();
    let device: DeviceKey = "acme/d-9".parse().unwrap();
    let outcome = home.say(&device, "m1", temperature(16.0));
    home.settle();
    let Outcome::Committed(Err(refusal)) = taken(outcome) else { panic!("refused") };
    assert_eq!(refusal.code, Code::DeviceUnknown);
    assert!(home.store.rows.is_empty());
}

#[test]
fn a_document_is_durable_when_its_write_returns_and_a_bad_one_harms_nobody() {
    let home = Home::new();
    let device = home.registered("acme/d-1");
    let key = keys::document("trigger", "shop-a", "t", 1);
    let commit = Commit {
        preconditions: vec![store::Precondition::Absent(key.clone())],
        writes: vec![store::Write::Put(key.clone(), vec![1])],
    };
    let outcome = home.say(&device, "m1", temperature(16.0));
    let mut write = Box::pin(home.engine.write(commit.clone()));
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    assert!(write.as_mut().poll(&mut context).is_pending());
    home.settle();
    assert!(matches!(write.as_mut().poll(&mut context), std::task::Poll::Ready(Ok(store::Outcome::Committed))));
    assert!(matches!(taken(outcome), Outcome::Committed(Ok(_))));
    let huge = Commit { preconditions: vec![], writes: vec![store::Write::Put(key, vec![0; store::VALUE_BYTES_MAX])] };
    assert!(now_or_never(home.engine.write(huge)).is_err());
}

#[test]
fn a_row_that_reads_show_after_a_failed_write_makes_no_repeat() {
    let home = Home::new();
    let device = home.registered("acme/d-1");
    home.listen(&device);
    let claim = || DeviceMessage::Claim(hearthway_core::wire::ClaimUp::Start { presence: true });
    // The write fails after readers can see it: nobody knows whether it is on disk.
    home.store.lies.store(true, Ordering::Relaxed);
    home.say(&device, "c1", claim());
    home.decide_all();
    home.engine.step_writer();
    let household = HouseholdId::prospect(&device);
    assert_eq!(home.log(household).len(), 2, "it is shown");
    let repeat = home.say(&device, "c1", claim());
    home.settle();
    home.engine.reachable(&device);
    home.settle();
    assert!(matches!(taken(repeat), Outcome::Failed(_)));
    assert_eq!(home.heard(), []);
}

#[test]
fn an_unknown_device_is_not_acknowledged_while_the_store_fails() {
    let home = Home::new();
    let device = home.registered("acme/d-1");
    home.store.fails.store(true, Ordering::Relaxed);
    home.say(&device, "m1", temperature(16.0));
    home.settle();
    let outcome = home.say(&"acme/d-9".parse().unwrap(), "m1", temperature(16.0));
    home.settle();
    assert!(matches!(taken(outcome), Outcome::Failed(_)));
}
