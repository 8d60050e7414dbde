//! A device between two households: two commits, and a crash between them.

use super::*;

fn linked(home: &Home, device: &DeviceKey) -> oneshot::Receiver<Outcome> {
    home.command(device, Command::LinkDirectly { join: join() })
}

/// Moves the source's commit to the disk and leaves the arrival queued.
fn leave(home: &Home) {
    home.decide_all();
    assert!(home.engine.step_writer());
}

#[test]
fn a_move_is_answered_after_the_arrival_is_durable() {
    let home = Home::new();
    let device = home.registered("acme/d-1");
    let mut outcome = linked(&home, &device);
    leave(&home);
    assert!(is_open(&mut outcome), "the source's commit alone answers nobody");
    assert_eq!(home.count(&keys::moves()), 1);
    home.settle();
    let to = join().household;
    assert_eq!(taken(outcome), Outcome::Committed(Ok(Reply::Linked { link: join().link, household: to })));
    assert_eq!(home.count(&keys::moves()), 0);
    let route = home.engine.route(&device).unwrap();
    assert_eq!((route.household, route.retailer), (to, Some(join().retailer)));
    assert!(home.facts(to).unwrap().devices.contains_key(&device));
    assert!(!home.facts(HouseholdId::prospect(&device)).unwrap().devices.contains_key(&device));
}

#[test]
fn a_crash_between_the_two_commits_of_a_move_loses_nothing_and_applies_it_once() {
    let mut home = Home::new();
    let device = home.registered("acme/d-1");
    linked(&home, &device);
    leave(&home);
    home.crash();
    assert_eq!(
        home.engine.route(&device).unwrap().household,
        join().household,
        "the forwarding route was in the first commit"
    );
    home.settle();
    let household = home.facts(join().household).unwrap();
    assert!(household.devices.contains_key(&device));
    assert_eq!((household.links.len(), home.count(&keys::moves())), (1, 0));
    home.crash();
    home.settle();
    assert_eq!(home.facts(join().household).unwrap().seq, household.seq, "nothing arrives twice");
}

#[test]
fn an_arrival_that_the_store_refused_is_tried_again() {
    let home = Home::new();
    let device = home.registered("acme/d-1");
    let outcome = linked(&home, &device);
    leave(&home);
    home.store.fails.store(true, Ordering::Relaxed);
    home.decide_all();
    home.engine.step_writer();
    assert!(matches!(taken(outcome), Outcome::Failed(_)));
    home.store.fails.store(false, Ordering::Relaxed);
    home.engine.step_time();
    home.settle();
    assert!(home.facts(join().household).unwrap().devices.contains_key(&device));
    assert_eq!(home.count(&keys::moves()), 0);
}

#[test]
fn a_leaving_that_the_store_refused_leaves_the_device_where_it_is() {
    let home = Home::new();
    let device = home.registered("acme/d-1");
    home.store.fails.store(true, Ordering::Relaxed);
    let outcome = linked(&home, &device);
    home.decide_all();
    let parked = home.say(&device, "m1", temperature(16.0));
    home.decide_all();
    home.engine.step_writer();
    assert!(matches!(taken(outcome), Outcome::Failed(_)));
    assert!(matches!(taken(parked), Outcome::Failed(_)), "what waited for the move is not acknowledged");
    home.store.fails.store(false, Ordering::Relaxed);
    let again = home.say(&device, "m1", temperature(16.0));
    home.settle();
    assert_eq!(taken(again), Outcome::Committed(Ok(Reply::Done)));
    assert_eq!(home.engine.route(&device).unwrap().household, HouseholdId::prospect(&device));
}

#[test]
fn messages_sent_while_a_device_moves_are_decided_in_order_in_its_new_household() {
    let home = Home::with(Settings { snapshot_inputs: 512, ..Settings::default() });
    let device = home.registered("acme/d-1");
    let mut outcomes = vec![linked(&home, &device)];
    // Behind the move in the old household's queue, before its decision, and at every step after.
    for n in 0..3 {
        outcomes.push(home.say(&device, &format!("m{n}"), temperature(1.0)));
    }
    home.engine.step_shard(0);
    home.engine.step_shard(1);
    for n in 3..6 {
        outcomes.push(home.say(&device, &format!("m{n}"), temperature(1.0)));
    }
    home.engine.step_writer();
    for n in 6..9 {
        outcomes.push(home.say(&device, &format!("m{n}"), temperature(1.0)));
    }
    home.settle();
    outcomes.push(home.say(&device, "m9", temperature(1.0)));
    home.settle();
    for outcome in outcomes {
        assert!(matches!(taken(outcome), Outcome::Committed(Ok(_))));
    }
    let order: Vec<_> = home.log(join().household).into_iter().filter_map(|row| row.input.message).collect();
    let said: Vec<_> = (0..10).map(|n| MessageId::new(format!("m{n}")).unwrap()).collect();
    assert_eq!(order, said);
}

#[test]
fn a_claim_code_leads_to_its_device_from_its_commit_to_its_end() {
    let mut home = Home::new();
    let device = home.registered("acme/d-1");
    home.say(&device, "c1", DeviceMessage::Claim(hearthway_core::wire::ClaimUp::Start { presence: true }));
    home.settle();
    let claim = home.facts(HouseholdId::prospect(&device)).unwrap().devices[&device].claim.clone().unwrap();
    assert_eq!(home.engine.claimed_by_code(&claim.code), Some(device.clone()));
    home.crash();
    assert_eq!(home.engine.claimed_by_code(&claim.code), Some(device.clone()), "rebuilt at the start");
    let outcome = home.command(&device, Command::ConfirmClaim { code: claim.code.clone(), join: join() });
    home.settle();
    assert!(matches!(taken(outcome), Outcome::Committed(Ok(Reply::Linked { .. }))));
    assert_eq!(home.engine.claimed_by_code(&claim.code), None);
}

#[test]
fn two_makers_may_use_one_name() {
    let home = Home::new();
    let a = home.registered("acme/d-1");
    let b = home.registered("bolt/d-1");
    home.registered("acme/d-10");
    assert_eq!(home.engine.devices_named(&a.device), [a.clone(), b.clone()]);
    let all: Vec<_> = home.engine.devices(None, 10).into_iter().map(|(key, _)| key.to_string()).collect();
    assert_eq!(all, ["acme/d-1", "acme/d-10", "bolt/d-1"]);
    assert_eq!(home.engine.devices(Some(&a), 1)[0].0.to_string(), "acme/d-10");
}
