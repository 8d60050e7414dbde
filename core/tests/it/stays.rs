//! Devices that guests share: a link of one has an end.

use hearthway_core::code::Code;
use hearthway_core::decision::Reply;
use hearthway_core::event_out::EventType;
use hearthway_core::id::{DeviceKey, HouseholdId};
use hearthway_core::input::{Command, What};
use hearthway_core::model::{Purpose, Sharing, Tenant};
use hearthway_core::report::{Asked, OptOuts};
use hearthway_core::time::{Span, Timestamp};
use hearthway_core::wire::DownMessage;

use crate::transcript::{FILTER_WORN, used};
use crate::world::{World, shop, thermostat};

fn shared() -> World {
    let mut world = World::with(FILTER_WORN);
    world.register(&thermostat());
    world.up(&thermostat(), "presence", r#"{"state":"online","epoch":1}"#).unwrap();
    assert_eq!(world.command(&thermostat(), Command::ShareWithGuests { until: None }), Ok(Reply::Done));
    world
}

fn stays(world: &mut World, profile: &str, until: Timestamp) -> Result<Reply, Code> {
    let join = world.join(profile, &[Purpose::OffersDevice]);
    world.command(&thermostat(), Command::JoinForStay { code: None, join, until })
}

fn is_linked(world: &World) -> bool {
    world.home_of(&thermostat()).link_of(&thermostat()).is_some()
}

fn sharing(world: &World) -> Option<Sharing> {
    world.home_of(&thermostat()).devices[&thermostat()].sharing()
}

const FREE: Option<Sharing> = Some(Sharing { goes_on: true, until: None });

/// What a refused input says, and where.
fn refused(world: &mut World, what: Command) -> (Code, Option<String>) {
    let input = world.make(&thermostat(), What::Command(what));
    let id = world.home_of(&thermostat()).id;
    let refusal = world.run_in(id, input).unwrap_err();
    (refusal.code, refusal.pointer)
}

#[test]
fn a_link_of_a_shared_device_has_an_end_and_another_has_none() {
    let mut world = shared();
    let at_until = (Code::PayloadInvalid, Some("/until".to_owned()));
    let join = world.join("p1", &[]);
    assert_eq!(refused(&mut world, Command::LinkDirectly { join: join.clone() }), at_until);
    let now = world.now;
    for until in [now, now + Span::days(366) + Span::seconds(1)] {
        let stay = Command::JoinForStay { code: None, join: join.clone(), until };
        assert_eq!(refused(&mut world, stay), at_until, "{until}");
    }
    assert!(matches!(stays(&mut world, "p1", now + Span::days(366)), Ok(Reply::Linked { .. })));
    let mut world = World::with(FILTER_WORN);
    world.register(&thermostat());
    let stay = Command::JoinForStay { code: None, join, until: now + Span::days(1) };
    assert_eq!(refused(&mut world, stay), at_until, "nobody shares it");
}

#[test]
fn a_code_is_still_good_after_a_claim_without_an_end_was_refused() {
    let mut world = shared();
    world.up(&thermostat(), "up/claim", r#"{"op":"start","presence":true}"#).unwrap();
    let heard = world.heard(&thermostat());
    let code = heard.iter().find_map(|said| match said {
        DownMessage::ClaimCode { code, .. } => Some(code.clone()),
        _ => None,
    });
    let (code, join) = (code.unwrap(), world.join("p1", &[]));
    let what = Command::ConfirmClaim { code: code.clone(), join: join.clone() };
    assert_eq!(refused(&mut world, what).1.as_deref(), Some("/until"));
    let until = world.now + Span::days(2);
    let linked = world.command(&thermostat(), Command::JoinForStay { code: Some(code), join, until });
    assert!(matches!(linked, Ok(Reply::Linked { .. })), "{linked:?}");
    assert_eq!(world.home_of(&thermostat()).next_deadline(), Some(until));
}

#[test]
fn a_stay_ends_by_itself_and_the_next_guest_finds_nothing_of_it() {
    let mut world = shared();
    let until = world.now + Span::days(3);
    stays(&mut world, "p1", until).unwrap();
    for hours in [590, 612] {
        world.up(&thermostat(), "up/slot", &used(hours)).unwrap();
    }
    assert_eq!(world.offers_put(&thermostat()).len(), 1);
    let guests = world.home_of(&thermostat()).id;
    world.said.clear();
    world.pass(Span::seconds(3 * 86_400 - 1));
    assert!(is_linked(&world));
    world.pass(Span::seconds(1));
    let home = world.home_of(&thermostat());
    let device = &home.devices[&thermostat()];
    assert_eq!((home.id, home.links.len(), home.offers.len()), (HouseholdId::prospect(&thermostat()), 0, 0));
    assert!(device.wipe_pending && device.slots.is_empty());
    assert_eq!(sharing(&world), FREE);
    assert!(world.heard(&thermostat()).contains(&DownMessage::Wipe));
    let released: Vec<_> = world.told.iter().filter(|event| event.kind == EventType::DeviceReleased).collect();
    let told_to: Vec<&Tenant> = released.iter().map(|event| &event.to).collect();
    assert!(told_to.contains(&&Tenant::Retailer(shop())) && released.len() == 2, "{told_to:?}");
    assert!(world.homes[&guests].devices.is_empty() && world.homes[&guests].links.is_empty());
    assert_eq!(world.homes[&guests].next_deadline(), None);
    // Who leaves at the end did not opt out of anything.
    let counted = world.counted(&shop(), OptOuts::new(Asked::default(), Span::days(7))).report();
    assert_eq!(counted.triggers[0].spoken_to.opted_out, 0, "{counted:?}");

    let next = world.now + Span::days(1);
    stays(&mut world, "p2", next).unwrap();
    let home = world.home_of(&thermostat());
    assert_eq!(home.devices[&thermostat()].stay_until(), Some(next));
    assert!(home.offers.is_empty() && home.devices[&thermostat()].slots.is_empty());
}

#[test]
fn a_guest_who_leaves_early_does_not_end_the_next_stay() {
    let mut world = shared();
    let (early, late) = (world.now + Span::days(3), world.now + Span::days(9));
    stays(&mut world, "p1", early).unwrap();
    world.up(&thermostat(), "up/lifecycle", r#"{"op":"reset","level":"user","presence":true}"#).unwrap();
    assert_eq!((is_linked(&world), sharing(&world)), (false, FREE));
    stays(&mut world, "p2", late).unwrap();
    world.pass(Span::days(4));
    assert!(is_linked(&world));
    // The same guest again: later, and then earlier.
    for until in [late + Span::days(1), world.now + Span::hours(1)] {
        stays(&mut world, "p2", until).unwrap();
        assert_eq!(world.home_of(&thermostat()).next_deadline(), Some(until));
    }
    world.pass(Span::hours(1));
    assert!(!is_linked(&world));
}

#[test]
fn a_mode_that_is_taken_back_lets_the_last_stay_end_when_it_was_to() {
    let mut world = shared();
    let until = world.now + Span::days(1);
    stays(&mut world, "p1", until).unwrap();
    assert_eq!(world.command(&thermostat(), Command::EndSharing), Ok(Reply::Done));
    assert_eq!(sharing(&world), Some(Sharing { goes_on: false, until: Some(until) }));
    assert_eq!(world.command(&thermostat(), Command::EndSharing), Ok(Reply::Unchanged));
    world.pass(Span::days(1));
    assert_eq!((is_linked(&world), sharing(&world)), (false, None));
    world.link(&thermostat(), "p2", &[]);
    // Who has it without an end gets one with the mode, or the mode is refused.
    let told = refused(&mut world, Command::ShareWithGuests { until: None });
    assert_eq!(told, (Code::PayloadInvalid, Some("/until".to_owned())));
    let until = world.now + Span::hours(2);
    world.command(&thermostat(), Command::ShareWithGuests { until: Some(until) }).unwrap();
    assert_eq!(world.command(&thermostat(), Command::ShareWithGuests { until: None }), Ok(Reply::Unchanged));
    world.pass(Span::hours(2));
    assert_eq!((is_linked(&world), sharing(&world)), (false, FREE));
    assert_eq!(refused(&mut world, Command::ShareWithGuests { until: Some(until + Span::days(1)) }), told);
}

#[test]
fn another_unit_takes_over_the_stay_too() {
    let mut world = shared();
    let until = world.now + Span::days(1);
    stays(&mut world, "p1", until).unwrap();
    let new: DeviceKey = "acme/d-new".parse().unwrap();
    world.register(&new);
    world.link(&new, "p1", &[]);
    world.command(&new, Command::Replace { old: thermostat() }).unwrap();
    assert_eq!(world.home_of(&new).devices[&new].stay_until(), Some(until));
    world.pass(Span::days(1));
    assert!(world.home_of(&new).link_of(&new).is_none());
}

#[test]
fn no_word_of_the_device_takes_the_place_of_its_mode() {
    let mut world = shared();
    let until = world.now + Span::hours(2);
    stays(&mut world, "p1", until).unwrap();
    assert!(world.up(&thermostat(), "up/context", r#"{"shared public":"no","ttl_s":60}"#).is_err());
    for n in 0..40 {
        let body = format!(r#"{{"word-{n}":"yes","ttl_s":60}}"#);
        world.up(&thermostat(), "up/context", &body).unwrap();
        world.now = world.now + Span::minutes(2);
        assert_eq!(
            world.home_of(&thermostat()).devices[&thermostat()].sharing(),
            Some(Sharing { goes_on: true, until: Some(until) }),
            "{n}"
        );
    }
    for n in 0..15 {
        world.up(&thermostat(), "up/context", &format!(r#"{{"long-{n}":"yes","ttl_s":86400}}"#)).unwrap();
    }
    // The stay is over, and its deadline has not been looked at yet.
    world.now = until + Span::seconds(1);
    world.up(&thermostat(), "up/context", r#"{"one-more":"yes","ttl_s":60}"#).unwrap();
    assert!(sharing(&world).is_some());
    world.pass(Span::hours(1));
    assert_eq!(sharing(&world), FREE);
}

#[test]
fn what_guests_share_shows_nobodys_name() {
    let named = FILTER_WORN.replace(
        "{{ product.name }}, {{ price.total }}.",
        "{{ household.name }}: {{ product.name }}, {{ price.total }}.",
    );
    assert_ne!(named, FILTER_WORN);
    let offers = |is_shared: bool| {
        let mut world = World::with(&named);
        world.register(&thermostat());
        world.up(&thermostat(), "presence", r#"{"state":"online","epoch":1}"#).unwrap();
        if is_shared {
            world.command(&thermostat(), Command::ShareWithGuests { until: None }).unwrap();
            let until = world.now + Span::days(1);
            stays(&mut world, "p1", until).unwrap();
        } else {
            world.link(&thermostat(), "p1", &[Purpose::OffersDevice]);
        }
        for hours in [590, 612] {
            world.up(&thermostat(), "up/slot", &used(hours)).unwrap();
        }
        let why = world.last_trace().to_string();
        (world.offers_put(&thermostat()).len(), why)
    };
    assert_eq!(offers(false).0, 1);
    let (sent, why) = offers(true);
    assert_eq!(sent, 0, "{why}");
    assert!(why.contains("text"), "{why}");
}
