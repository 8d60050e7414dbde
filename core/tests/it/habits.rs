//! When the people of a home use a device, and offers that wait for that hour.

use hearthway_core::id::ProfileId;
use hearthway_core::input::Command;
use hearthway_core::model::{OfferState, Preferences, Purpose, Standing};
use hearthway_core::time::{DailyWindow, Span, Zone};

use crate::transcript::{FILTER_WORN, used};
use crate::world::{World, thermostat};

const AT_HOUR_OF_USE: &str = "[trigger.limits]\nhour = \"of_use\"\n";

fn permit(world: &mut World, granted: bool) {
    let records = vec![(Purpose::ProfilingUsage, world.word(granted))];
    let profile = ProfileId::new("p1").unwrap();
    world.command(&thermostat(), Command::SetConsents { profile, records }).unwrap();
}

fn touched(world: &mut World) {
    world.up(&thermostat(), "up/event", r#"{"type":"touched"}"#).unwrap();
}

/// To the next time that clocks in Paris show this hour and ten minutes.
fn pass_to(world: &mut World, hour: i8) {
    let zone = Zone::new("Europe/Paris").unwrap();
    world.pass(Span::hours(1));
    loop {
        let local = zone.local(world.now);
        let minutes = i64::from(hour - local.hour()) * 60 + 10 - i64::from(local.minute());
        if minutes == 0 {
            return;
        }
        world.pass(Span::minutes(if minutes > 0 { minutes } else { minutes + 24 * 60 }));
    }
}

/// A home in which somebody is at the thermostat every evening, at ten in the morning.
fn used_in_the_evening(triggers: &str, permitted: bool) -> World {
    let mut world = World::at_home(triggers);
    permit(&mut world, permitted);
    for _ in 0..14 {
        pass_to(&mut world, 19);
        touched(&mut world);
    }
    pass_to(&mut world, 10);
    world.offers_put(&thermostat());
    world
}

fn worn(world: &mut World) -> usize {
    world.up(&thermostat(), "up/slot", &used(20)).unwrap();
    world.up(&thermostat(), "up/slot", &used(612)).unwrap();
    world.offers_put(&thermostat()).len()
}

fn local_hour(world: &World) -> i8 {
    Zone::new("Europe/Paris").unwrap().local(world.now).hour()
}

#[test]
fn an_offer_waits_for_the_hour_in_which_the_device_is_used() {
    let mut world = used_in_the_evening(&format!("{FILTER_WORN}{AT_HOUR_OF_USE}"), true);
    assert_eq!(worn(&mut world), 0);
    let trace = world.last_trace();
    let quiet = trace.steps.iter().find(|step| step.step.as_str() == "quiet").unwrap();
    assert_eq!(quiet.code(), "waits_for_use");
    let home = world.home_of(&thermostat());
    let offer = home.offers.values().next().unwrap();
    assert!(matches!(offer.state, OfferState::Queued { .. }));
    assert_eq!(&*offer.history.last().unwrap().cause, "hour of use");
    while world.offers_put(&thermostat()).is_empty() {
        assert!(local_hour(&world) < 20, "it never left");
        world.pass(Span::minutes(10));
    }
    assert_eq!(local_hour(&world), 18, "half an hour of the evening before the most used counts as well");
}

#[test]
fn nothing_is_learned_without_the_word_for_it_and_then_nothing_waits() {
    let mut world = used_in_the_evening(&format!("{FILTER_WORN}{AT_HOUR_OF_USE}"), false);
    assert!(world.home_of(&thermostat()).habits.is_empty());
    assert_eq!(worn(&mut world), 1);
}

#[test]
fn what_was_learned_goes_with_the_word_and_with_the_device() {
    let known = |world: &World| world.home_of(&thermostat()).habits.contains_key(&thermostat());
    let mut world = used_in_the_evening(FILTER_WORN, true);
    assert!(known(&world));
    permit(&mut world, false);
    assert!(!known(&world));
    let mut world = used_in_the_evening(FILTER_WORN, true);
    let before = world.home_of(&thermostat()).id;
    world.command(&thermostat(), Command::Release).unwrap();
    assert!(!known(&world), "the next owner is somebody else");
    assert!(world.homes[&before].habits.is_empty());
}

#[test]
fn who_is_at_the_device_now_need_not_wait() {
    let touched_twice = FILTER_WORN.replace("event = \"slot\"", "event = \"event\"\ntype = \"touched\"");
    let lines = touched_twice.lines().filter(|line| {
        !["slot = ", "field = ", "rises_above = ", "rearm = ", "why = "].iter().any(|key| line.starts_with(key))
    });
    let on_touch = lines.collect::<Vec<_>>().join("\n");
    let mut world = used_in_the_evening(&format!("{on_touch}\n{AT_HOUR_OF_USE}"), true);
    touched(&mut world);
    assert_eq!(world.offers_put(&thermostat()).len(), 1);
}

#[test]
fn two_presses_in_an_hour_are_one_use() {
    let mut world = used_in_the_evening(FILTER_WORN, true);
    let uses = world.home_of(&thermostat()).habits[&thermostat()].uses();
    touched(&mut world);
    touched(&mut world);
    assert_eq!(world.home_of(&thermostat()).habits[&thermostat()].uses(), uses + 1);
}

#[test]
fn an_hour_of_use_inside_the_quiet_hours_is_none() {
    let mut world = used_in_the_evening(&format!("{FILTER_WORN}{AT_HOUR_OF_USE}"), true);
    let window = DailyWindow::parse("09:00", "21:00").unwrap();
    let preferences = Preferences { quiet: vec![window], ..Preferences::default() };
    let standing = Box::new(Standing { preferences, ..Standing::default() });
    world.command(&thermostat(), Command::SetStanding { profile: ProfileId::new("p1").unwrap(), standing }).unwrap();
    assert_eq!(worn(&mut world), 0);
    world.pass(Span::hours(10));
    assert!(world.offers_put(&thermostat()).is_empty(), "at eight it is quiet still");
    world.pass(Span::hours(2));
    assert_eq!(world.offers_put(&thermostat()).len(), 1);
}

#[test]
fn a_condition_reads_when_the_device_is_used() {
    let with = |condition: &str| {
        let when = format!("[trigger.when]\nall = '{condition}'\n[trigger.offer]\n");
        FILTER_WORN.replacen("[trigger.offer]\n", &when, 1)
    };
    let mut world = used_in_the_evening(&with("device.usual_hour >= 18 && device.uses_per_day > 0.5"), true);
    assert_eq!(worn(&mut world), 1);
    let mut world = used_in_the_evening(&with("device.usual_hour < 12"), true);
    assert_eq!(worn(&mut world), 0);
    let mut world = used_in_the_evening(&with("device.usual_hour < 12 || device.usual_hour >= 13"), false);
    assert_eq!(worn(&mut world), 0, "unknown is neither");
}
