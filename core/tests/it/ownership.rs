//! Who a device belongs to, and what its former people leave behind: nothing.

use hearthway_core::code::Code;
use hearthway_core::decision::Reply;
use hearthway_core::input::Command;
use hearthway_core::model::Purpose;
use hearthway_core::time::Span;
use hearthway_core::wire::DownMessage;

use crate::transcript::{FILTER_WORN, used};
use crate::world::{World, thermostat};

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
