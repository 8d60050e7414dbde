//! One person with two homes: a cap of the person's counts in both, whichever is faster, and whatever becomes of the
//! disk.

use super::budgets::{Street, shop, worn};
use super::*;
use hearthway_core::trace::{CandidateTrace, Step};
use hearthway_core::words::Tongue;

const ONE_A_WEEK: &str =
    "[trigger.limits]\ncaps = [{ max = 1, per = \"offer\", scope = \"profile\", within = \"7d\" }]";

/// The homes of `p1`, two, and one of `p2`: each with its device.
fn street() -> (Street, [DeviceKey; 3]) {
    let street = Street::of(worn("", "{{ product.name }}", ONE_A_WEEK));
    let devices = ["town", "sea", "theirs"].map(|name| street.home.registered(&format!("acme/{name}")));
    watch(&street, &[home_named("town"), home_named("sea")]);
    for (device, profile) in devices.iter().zip(["p1", "p1", "p2"]) {
        street.link_in(device, profile, home_named(device.device.as_str()));
    }
    (street, devices)
}

fn home_named(name: &str) -> HouseholdId {
    HouseholdId::derived(&[name.as_bytes()])
}

/// Nobody but the test moves the writer.
fn watch(street: &Street, homes: &[HouseholdId]) {
    let homes = homes.iter().copied().collect();
    let mut watching = std::pin::pin!(street.home.engine.watch_homes(&homes));
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    for _ in 0..3 {
        if let std::task::Poll::Ready(done) = watching.as_mut().poll(&mut context) {
            return done.unwrap();
        }
        street.home.settle();
    }
    panic!("it was never written");
}

/// What was last decided about the trigger there.
fn said(street: &Street, device: &DeviceKey) -> CandidateTrace {
    let home = street.home.engine.route(device).unwrap().household;
    street.home.log(home).into_iter().rev().find_map(|row| row.candidates.into_iter().next()).unwrap()
}

fn replays(street: &Street, devices: &[DeviceKey]) {
    for device in devices {
        let household = street.home.engine.route(device).unwrap().household;
        assert_eq!(street.home.engine.replay(household).unwrap().differences, []);
    }
}

#[test]
fn what_a_person_heard_in_one_home_counts_in_the_other_and_for_nobody_else() {
    let (street, devices) = street();
    assert!(street.wears_out(&devices[0]).is_some());
    assert!(street.wears_out(&devices[1]).is_none(), "they heard it in town");
    let why = said(&street, &devices[1]);
    assert_eq!(why.first_block, Some(Step::Caps));
    let words = why.steps.iter().find(|step| step.step == Step::Caps).unwrap().in_words(Tongue::En);
    assert_eq!(
        words,
        "The cap is reached: the customer was contacted 1 of 1 times in 7 days, 1 of them in another home."
    );
    assert!(street.wears_out(&devices[2]).is_some(), "somebody else's home");
    replays(&street, &devices);
}

#[test]
fn the_last_room_goes_to_the_home_that_is_decided_first_and_outlives_a_start() {
    let (mut street, devices) = street();
    devices[..2].iter().for_each(|device| street.wears(device));
    street.home.settle();
    let offered = |street: &Street| devices[..2].iter().filter(|device| street.offer_of(device).is_some()).count();
    assert_eq!(offered(&street), 1, "both were decided before either was on disk");
    replays(&street, &devices);

    let (mut street, devices) = (std::mem::replace(&mut street, self::street().0), devices);
    let silent = devices[..2].iter().find(|device| street.offer_of(device).is_none()).unwrap();
    street.again();
    renew(&street, silent);
    assert!(street.offer_of(silent).is_none(), "a start knows what they heard");
    assert_eq!(said(&street, silent).first_block, Some(Step::Caps));
    street.home.turn_clock(Span::days(8));
    renew_as(&street, silent, "later");
    assert!(street.offer_of(silent).is_some(), "a week is over");
}

fn renew(street: &Street, device: &DeviceKey) {
    renew_as(street, device, "again");
}

/// Its filter is changed and wears out once more.
fn renew_as(street: &Street, device: &DeviceKey, word: &str) {
    for used in [1, 590, 612] {
        let body = format!(r#"{{"body":{{"slot":"air_filter","kind":"usage","used":{used},"unit":"h"}}}}"#);
        let message = hearthway_core::wire::decode(&format!("chan/v1/{device}/up/slot"), body.as_bytes()).unwrap();
        street.home.say(device, &format!("{word}-{used}"), message.message);
    }
    street.home.settle();
}

#[test]
fn an_offer_whose_commit_failed_was_not_heard_and_one_that_a_lying_store_kept_was() {
    for lies in [false, true] {
        let (street, devices) = street();
        street.wears(&devices[0]);
        let fails = if lies { &street.home.store.lies } else { &street.home.store.fails };
        fails.store(true, Ordering::Relaxed);
        street.home.engine.step_writer();
        fails.store(false, Ordering::Relaxed);
        assert_eq!(street.wears_out(&devices[1]).is_some(), !lies, "lies: {lies}");
    }
}

#[test]
fn what_ended_unseen_was_not_heard() {
    let (street, devices) = street();
    let offer = street.wears_out(&devices[0]).unwrap().id;
    street.home.command(&devices[0], Command::WithdrawOffer { offer, reason: "test".into() });
    street.home.settle();
    assert!(street.wears_out(&devices[1]).is_some());
    replays(&street, &devices);
}

#[test]
fn what_a_home_was_told_before_its_person_had_another_one_counts_from_then_on() {
    let street = Street::of(worn("", "{{ product.name }}", ONE_A_WEEK));
    let devices = ["town", "sea"].map(|name| street.home.registered(&format!("acme/{name}")));
    street.link_in(&devices[0], "p1", home_named("town"));
    assert!(street.wears_out(&devices[0]).is_some());
    assert_eq!(street.home.count(&keys::watched_homes()), 0, "nobody is counted who has one home");
    watch(&street, &[home_named("town"), home_named("sea")]);
    watch(&street, &[home_named("town"), home_named("sea")]);
    assert_eq!(street.home.count(&keys::watched_homes()), 2);
    street.link_in(&devices[1], "p1", home_named("sea"));
    assert!(street.wears_out(&devices[1]).is_none());
}

#[test]
fn nothing_is_counted_of_who_was_erased() {
    let (mut street, devices) = street();
    street.wears_out(&devices[0]).unwrap();
    let leaving = Leaving { names: vec![ProfileId::new("p1").unwrap()], called: Vec::new() };
    let input = street.home.engine.command(None, &[b"forget"], Command::ForgetPerson(Box::new(leaving)));
    street.home.submit(Target::Household(home_named("town")), input, Repeat::Ignore);
    street.home.settle();
    for _ in 0..2 {
        let trigger = TriggerId::new("filter-worn").unwrap();
        let (p1, until) = (ProfileId::new("p1").unwrap(), Timestamp(i64::MAX));
        let hearing = Hearing { household: home_named("sea"), retailer: &shop(), people: &[&p1], trigger: &trigger };
        let cap = SharedCap { max: 9, own_only: false, from: Timestamp(0), until };
        assert_eq!(street.home.engine.elsewhere(&hearing, &cap), 0);
        street.again();
    }
}

#[test]
fn who_is_on_the_way_into_a_home_is_counted_there_before_that_is_on_disk() {
    let street = Street::of(worn("", "{{ product.name }}", ONE_A_WEEK));
    let devices = ["town", "sea"].map(|name| street.home.registered(&format!("acme/{name}")));
    watch(&street, &[home_named("town"), home_named("sea")]);
    street.link_in(&devices[0], "p1", home_named("town"));
    street.link_in(&devices[1], "p2", home_named("sea"));
    let member = Member { profile: ProfileId::new("p1").unwrap(), ..join().member };
    let household = home_named("sea");
    let join = Join { household, link: LinkId::derived(&[b"p1 by the sea"]), member, ..join() };
    for fails in [true, false] {
        street.home.command(&devices[1], Command::AddMember { join: Box::new(join.clone()) });
        street.home.decide_all();
        street.wears(&devices[1]);
        if fails {
            street.home.store.fails.store(true, Ordering::Relaxed);
            street.home.engine.step_writer();
            street.home.store.fails.store(false, Ordering::Relaxed);
            street.home.settle();
            let p1 = ProfileId::new("p1").unwrap();
            let (trigger, until) = (TriggerId::new("filter-worn").unwrap(), Timestamp(i64::MAX));
            let hearing =
                Hearing { household: home_named("town"), retailer: &shop(), people: &[&p1], trigger: &trigger };
            let cap = SharedCap { max: 9, own_only: false, from: Timestamp(0), until };
            assert_eq!(street.home.engine.elsewhere(&hearing, &cap), 0, "they never came");
            continue;
        }
        street.wears(&devices[0]);
        street.home.settle();
        let offered = devices.iter().filter(|device| street.offer_of(device).is_some()).count();
        assert_eq!(offered, 1, "both were decided before p1 was there on disk");
    }
    replays(&street, &devices);
}
