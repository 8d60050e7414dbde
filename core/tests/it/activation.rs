//! A trigger that goes live over values that stand beyond its threshold already.

use hearthway_core::id::TriggerId;
use hearthway_core::input::{Command, What};
use hearthway_core::model::EdgeState;
use hearthway_core::time::Span;
use hearthway_core::words::Tongue;

use crate::by_time::{each_ten_minutes, home, home_with, offers, temperature, tip};
use crate::world::{World, set_triggers, thermostat};

const COLD: &str = "event = \"telemetry\"\nfield = \"temperature\"\nfalls_below = 17\nrearm = 18\non_activate = true";

/// The gateway looks at the device because a version of the trigger went live.
fn looks(world: &mut World, version: u64) {
    let trigger = TriggerId::new("t").unwrap();
    world.input(&thermostat(), What::Command(Command::Activated { trigger, version })).unwrap();
}
/// A home that has been at 16 degrees since before the trigger.
fn cold_before(triggers: &str) -> World {
    let mut world = home_with("");
    temperature(&mut world, 16.0);
    set_triggers(&mut world.rules, triggers);
    world
}

#[test]
fn a_value_beyond_the_threshold_is_one_crossing_and_is_ready_again_when_it_came_back() {
    let mut world = cold_before(&tip("t", COLD, ""));
    assert_eq!(offers(&mut world), 0, "nothing before it is looked at");
    for _ in 0..3 {
        looks(&mut world, 1);
    }
    assert_eq!(offers(&mut world), 1, "however often it is looked at");
    let said = world.last_trace().steps[1].in_words(Tongue::En);
    assert_eq!(said, "The trigger went live, and the value stood beyond its threshold.");
    each_ten_minutes(&mut world, &[16.0, 18.0, 16.0]);
    assert_eq!(offers(&mut world), 1, "an edge like any other from then on");
}

#[test]
fn what_is_not_beyond_not_fresh_or_not_asked_for_wakes_nothing() {
    let mut world = cold_before(&tip("t", COLD, ""));
    temperature(&mut world, 17.0);
    looks(&mut world, 1);
    assert_eq!(offers(&mut world), 0, "17 is not below 17");
    let mut world = cold_before(&tip("t", COLD, ""));
    world.pass(Span::minutes(31));
    looks(&mut world, 1);
    assert_eq!(offers(&mut world), 0, "the reading stays fresh for 30 minutes");
    let mut world = cold_before(&tip("t", COLD, ""));
    looks(&mut world, 2);
    assert_eq!(offers(&mut world), 0, "another version is live");
    let mut world = cold_before(&tip("t", &COLD.replace("on_activate = true", ""), ""));
    looks(&mut world, 1);
    assert_eq!(offers(&mut world), 0, "nobody asked for it");
    let mut world = home(COLD);
    each_ten_minutes(&mut world, &[19.0, 16.0]);
    assert_eq!(offers(&mut world), 1);
    looks(&mut world, 1);
    assert_eq!(offers(&mut world), 0, "it crossed after the trigger went live and was told then");
}

#[test]
fn what_must_stay_stays_from_the_look_and_what_waits_for_its_conditions_is_armed() {
    let mut world = cold_before(&tip("t", &format!("{COLD}\nfor = \"30 min\""), ""));
    looks(&mut world, 1);
    each_ten_minutes(&mut world, &[16.0, 16.0]);
    world.pass(Span::minutes(9));
    assert_eq!(offers(&mut world), 0);
    world.pass(Span::minutes(1));
    assert_eq!(offers(&mut world), 1);

    let mut world = cold_before(&tip("t", COLD, "[trigger.when]\nall = 'local.hour >= 17'"));
    looks(&mut world, 1);
    let device = &world.home_of(&thermostat()).devices[&thermostat()];
    assert_eq!(device.edge(&TriggerId::new("t").unwrap()), EdgeState::Armed);
    world.pass(Span::hours(7));
    assert_eq!(offers(&mut world), 1);
}
