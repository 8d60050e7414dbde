//! Who a device belongs to, and what its former people leave behind: nothing.

use hearthway_core::code::Code;
use hearthway_core::decision::Reply;
use hearthway_core::id::{DeviceKey, HouseholdId, LinkId, ProfileId};
use hearthway_core::input::{Command, What};
use hearthway_core::model::{Few, Household, Leaving, OfferState, Purpose};
use hearthway_core::time::Span;
use hearthway_core::wire::DownMessage;

use crate::transcript::{FILTER_WORN, used};
use crate::world::{World, shop, thermostat};

fn code(world: &mut World, presence: bool) -> Option<String> {
    world.up(&thermostat(), "up/claim", &format!(r#"{{"op":"start","presence":{presence}}}"#)).unwrap();
    world.heard(&thermostat()).into_iter().find_map(|message| match message {
        DownMessage::ClaimCode { code, .. } => Some(code),
        _ => None,
    })
}

fn confirm(world: &mut World, code: &str, profile: &str) -> Result<Reply, Code> {
    let join = world.join(profile, &[Purpose::OffersDevice]);
    world.command(&thermostat(), Command::ConfirmClaim { code: code.to_owned(), join })
}

#[test]
fn a_claim_code_dies_after_ten_minutes_or_one_use() {
    let mut world = World::with(FILTER_WORN);
    world.register(&thermostat());
    let first = code(&mut world, true).unwrap();
    assert_eq!(first.len(), 8);
    assert_eq!(code(&mut world, true).as_ref(), Some(&first), "the code that is shown is shown again");
    assert_eq!(confirm(&mut world, "22222222", "p1"), Err(Code::ClaimExpired));
    world.pass(Span::minutes(10));
    assert_eq!(confirm(&mut world, &first, "p1"), Err(Code::ClaimExpired));
    let second = code(&mut world, true).unwrap();
    assert_ne!(first, second);
    assert!(matches!(confirm(&mut world, &second, "p1"), Ok(Reply::Linked { .. })));
    assert_eq!(confirm(&mut world, &second, "p2"), Err(Code::ClaimExpired));
}

#[test]
fn a_linked_device_is_taken_over_only_by_somebody_who_is_at_it() {
    let mut world = World::at_home(FILTER_WORN);
    assert_eq!(code(&mut world, false), None);
    let code = code(&mut world, true).unwrap();
    assert!(matches!(confirm(&mut world, &code, "p2"), Ok(Reply::Linked { .. })));
    let home = world.home_of(&thermostat());
    assert_eq!(home.members.keys().map(|profile| profile.as_str()).collect::<Vec<_>>(), ["p2"]);
    assert!(home.devices[&thermostat()].wipe_pending, "no personal content before the wipe");
    for hours in [590, 612] {
        world.up(&thermostat(), "up/slot", &used(hours)).unwrap();
    }
    assert!(world.offers_put(&thermostat()).is_empty());
}

#[test]
fn a_reset_leaves_nothing_of_the_former_owner() {
    let mut world = World::at_home(FILTER_WORN);
    let device = thermostat();
    for hours in [590, 612] {
        world.up(&device, "up/slot", &used(hours)).unwrap();
    }
    world.up(&device, "up/lifecycle", r#"{"op":"reset","level":"user","presence":true}"#).unwrap();
    let home = world.home_of(&device);
    let left = serde_json::to_string(&serde_json::json!({
        "members": home.members.len(), "links": home.links.len(), "offers": home.offers.len(),
        "orders": home.orders.len(), "contacts": home.contacts.len(),
        "slots": home.devices[&device].slots.len(), "reported": home.devices[&device].reported.len(),
    }));
    assert_eq!(left.unwrap(), r#"{"contacts":0,"links":0,"members":0,"offers":0,"orders":0,"reported":0,"slots":0}"#);
    let code = code(&mut world, true).unwrap();
    assert!(matches!(confirm(&mut world, &code, "p2"), Ok(Reply::Linked { .. })));
    assert!(!world.home_of(&device).devices[&device].wipe_pending);
}

#[test]
fn a_move_that_is_delivered_twice_is_applied_once() {
    let mut world = World::with(FILTER_WORN);
    world.register(&thermostat());
    world.link(&thermostat(), "p1", &[]);
    let (id, arrival) = world.log.last().cloned().unwrap();
    let before = world.homes[&id].clone();
    world.said.clear();
    assert!(matches!(world.run_in(id, arrival), Ok(Reply::Linked { .. })));
    let after = hearthway_core::model::Household { seq: before.seq, ..world.homes[&id].clone() };
    assert_eq!(after, before);
    assert!(world.said.is_empty());
}

#[test]
fn an_owed_wipe_is_asked_for_at_each_birth_until_it_is_done() {
    let mut world = World::at_home(FILTER_WORN);
    let device = thermostat();
    world.up(&device, "presence", r#"{"state":"offline"}"#).unwrap();
    world.command(&device, Command::Release).unwrap();
    assert!(world.heard(&device).is_empty(), "nobody is there to wipe");
    for epoch in [2, 3] {
        world.up(&device, "presence", &format!(r#"{{"state":"online","epoch":{epoch}}}"#)).unwrap();
        assert!(matches!(&world.heard(&device)[..], [DownMessage::Wipe]));
    }
    world.up(&device, "up/lifecycle", r#"{"op":"wiped"}"#).unwrap();
    world.heard(&device);
    world.up(&device, "presence", r#"{"state":"online","epoch":4}"#).unwrap();
    assert!(world.heard(&device).is_empty());
}

/// A home with an order, and an offer that waits for an answer.
fn sold() -> (World, ProfileId, HouseholdId) {
    let mut world = World::at_home(FILTER_WORN);
    let profile = ProfileId::new("p1").unwrap();
    for hours in [590, 612] {
        world.up(&thermostat(), "up/slot", &used(hours)).unwrap();
    }
    let offer = world.offers_put(&thermostat()).remove(0);
    let answer = format!(r#"{{"offer":"{}","rev":1,"answer":"accept","nonce":"n-1"}}"#, offer.id);
    world.up(&thermostat(), "up/offer/answer", &answer).unwrap();
    assert_eq!(world.orders()[0].profile, Some(profile.clone()));
    let home = HouseholdId::of_profile(&shop(), &profile);
    (world, profile, home)
}

fn forget(profile: &ProfileId) -> Command {
    Command::ForgetPerson(Box::new(Leaving { names: vec![profile.clone()], called: vec!["Chez P1".to_owned()] }))
}

#[test]
fn a_home_whose_last_person_is_erased_forgets_all_but_how_many_inputs_it_had() {
    let (mut world, profile, home) = sold();
    let seq = world.homes[&home].seq;
    world.command(&thermostat(), forget(&profile)).unwrap();
    // Moves that arrived stay known, so that none arrives twice.
    let arrived = world.homes[&home].arrived.clone();
    assert_eq!(world.homes[&home], Household { seq: seq + 1, arrived, ..Household::empty(home) });
    let alone = world.home_of(&thermostat());
    assert_eq!(alone.id, HouseholdId::prospect(&thermostat()));
    let device = &alone.devices[&thermostat()];
    assert!(device.wipe_pending && device.slots.is_empty() && device.reported.is_empty());
    assert!(alone.links.is_empty() && alone.members.is_empty());
    // Again, and of somebody who never lived there: nothing follows.
    let input = world.log.iter().rev().find(|(id, _)| *id == home).unwrap().1.clone();
    let before = world.homes[&home].clone();
    assert!(matches!(world.run_in(home, input), Ok(Reply::Unchanged)));
    assert_eq!(world.homes[&home], Household { seq: before.seq + 1, ..before });
}

#[test]
fn who_is_erased_from_a_home_with_others_takes_only_what_was_theirs_alone() {
    let (mut world, profile, home) = sold();
    let other: DeviceKey = "acme/d-43".parse().unwrap();
    world.register(&other);
    let mut join = world.join("p2", &[Purpose::OffersDevice]);
    (join.household, join.link) = (home, LinkId::derived(&[b"p2"]));
    world.command(&other, Command::LinkDirectly { join }).unwrap();
    world.command(&thermostat(), forget(&profile)).unwrap();
    let left = &world.homes[&home];
    assert_eq!(left.members.keys().map(ProfileId::as_str).collect::<Vec<_>>(), ["p2"]);
    assert_eq!(left.devices.keys().collect::<Vec<_>>(), [&other]);
    assert!(left.links.values().all(|link| link.profile != profile));
    assert!(left.orders.is_empty(), "what they bought is theirs");
    assert!(left.offers.values().all(|offer| !matches!(offer.state, OfferState::Sent | OfferState::Shown)));
    assert!(!format!("{left:?}").contains("p1"), "{left:?}");
    assert_eq!(world.home_of(&thermostat()).id, HouseholdId::prospect(&thermostat()));
}

#[test]
fn a_person_with_several_names_leaves_by_all_of_them_at_once() {
    let (mut world, profile, home) = sold();
    let other: DeviceKey = "acme/d-43".parse().unwrap();
    world.register(&other);
    let mut join = world.join("p2", &[Purpose::OffersDevice]);
    (join.household, join.link) = (home, LinkId::derived(&[b"p2"]));
    world.command(&other, Command::LinkDirectly { join }).unwrap();
    let names = vec![ProfileId::new("p2").unwrap(), profile];
    world.command(&thermostat(), Command::ForgetPerson(Box::new(Leaving { names, called: Vec::new() }))).unwrap();
    let (seq, arrived) = (world.homes[&home].seq, world.homes[&home].arrived.clone());
    assert_eq!(world.homes[&home], Household { seq, arrived, ..Household::empty(home) });
}

#[test]
fn a_home_that_its_last_person_left_before_is_emptied_all_the_same() {
    let (mut world, profile, home) = sold();
    world.command(&thermostat(), Command::Release).unwrap();
    let left = world.homes.get_mut(&home).unwrap();
    left.members = Few::new();
    assert!(!left.orders.is_empty() && left.retailer.is_some());
    for order in left.orders.values_mut() {
        std::sync::Arc::make_mut(order).profile = None;
    }
    let input = world.make(&thermostat(), What::Command(forget(&profile)));
    world.run_in(home, input).unwrap();
    let (seq, arrived) = (world.homes[&home].seq, world.homes[&home].arrived.clone());
    assert_eq!(world.homes[&home], Household { seq, arrived, ..Household::empty(home) });
}

#[test]
fn no_offer_greets_who_is_erased_and_what_was_answered_keeps_its_silence() {
    let mut world = World::at_home(&FILTER_WORN.replace("Filtre bientôt usé", "CHEZ P1: filtre usé"));
    let (profile, other): (_, DeviceKey) = (ProfileId::new("p1").unwrap(), "acme/d-43".parse().unwrap());
    let home = HouseholdId::of_profile(&shop(), &profile);
    world.register(&other);
    world.up(&other, "presence", r#"{"state":"online","epoch":1}"#).unwrap();
    let mut join = world.join("p2", &[Purpose::OffersDevice]);
    (join.household, join.link) = (home, LinkId::derived(&[b"p2"]));
    world.command(&other, Command::LinkDirectly { join }).unwrap();
    for hours in [590, 612] {
        world.up(&other, "up/slot", &used(hours)).unwrap();
    }
    let offer = world.offers_put(&other).remove(0);
    assert!(offer.text.title.contains("CHEZ P1"), "{offer:?}");
    // Whoever is not called so leaves it alone.
    let stranger = Leaving { names: vec![profile.clone()], called: vec!["Chez P".to_owned()] };
    let mut spared = World::with(FILTER_WORN);
    spared.homes = world.homes.clone();
    let input = spared.make(&other, What::Command(Command::ForgetPerson(Box::new(stranger))));
    spared.run_in(home, input).unwrap();
    assert_eq!(spared.homes[&home].offers[&offer.id].state, OfferState::Sent);

    world.command(&other, forget(&profile)).unwrap();
    let left = &world.homes[&home].offers[&offer.id];
    assert_eq!((left.state, left.text.title.as_str(), left.text.body.as_str()), (OfferState::Withdrawn, "", ""));
    assert!(left.text.why.is_none());
    let heard = world.heard(&other);
    assert!(
        matches!(&heard[..], [DownMessage::OfferWithdraw { offer: gone, .. }] if *gone == offer.id),
        "the device takes it away: {heard:?}"
    );
}

#[test]
fn a_deserted_home_keeps_what_others_ordered_there() {
    let (mut world, profile, home) = sold();
    world.command(&thermostat(), Command::Release).unwrap();
    let (before, stranger) = (world.homes.get_mut(&home).unwrap(), ProfileId::new("p9").unwrap());
    before.members = Few::new();
    let input = world.make(&thermostat(), What::Command(forget(&stranger)));
    world.run_in(home, input).unwrap();
    let left = &world.homes[&home];
    assert!(!left.is_nobodys() && left.orders.values().all(|order| order.profile.as_ref() == Some(&profile)));
    let input = world.make(&thermostat(), What::Command(forget(&profile)));
    world.run_in(home, input).unwrap();
    assert!(world.homes[&home].is_nobodys() && world.homes[&home].orders.is_empty());
}

#[test]
fn what_silences_a_stolen_device_besides_holds_when_it_is_found_and_the_device_hears_of_no_theft() {
    let mut world = World::at_home(FILTER_WORN);
    let device = thermostat();
    world.command(&device, Command::FlagStolen).unwrap();
    assert_eq!(world.up(&device, "up/slot", &used(590)), Err(Code::DeviceSuspended));
    for message in world.heard(&device) {
        let told = format!("{message:?}");
        assert!(!told.contains("stolen"), "{told}");
    }
    assert_eq!(world.command(&device, Command::Suspend { reason: "recalled".into() }), Ok(Reply::Done));
    assert_eq!(world.command(&device, Command::Suspend { reason: "again".into() }), Ok(Reply::Unchanged));
    assert!(world.home_of(&device).devices[&device].is_stolen());
    world.command(&device, Command::EndStolen).unwrap();
    assert_eq!(world.home_of(&device).devices[&device].suspended.as_deref(), Some("recalled"));
}

#[test]
fn a_stolen_device_that_another_took_the_place_of_is_still_stolen() {
    let mut world = World::at_home(FILTER_WORN);
    let (old, new): (DeviceKey, DeviceKey) = (thermostat(), "acme/d-new".parse().unwrap());
    world.register(&new);
    world.link(&new, "p1", &[]);
    assert_eq!(world.home_of(&new).id, world.home_of(&old).id);
    world.command(&old, Command::FlagStolen).unwrap();
    assert_eq!(world.command(&new, Command::Replace { old: old.clone() }), Ok(Reply::Done));
    let gone = &world.home_of(&old).devices[&old];
    assert!(gone.is_stolen(), "{:?}", gone.suspended);
    assert!(gone.suspended.as_deref().unwrap().ends_with("replaced by d-new"), "{:?}", gone.suspended);
}
