//! What wakes a trigger by how fast a value rises or falls.

use hearthway_core::decide::why_not_candidate;
use hearthway_core::id::{RetailerId, TriggerId};
use hearthway_core::input::Command;
use hearthway_core::model::EdgeState;
use hearthway_core::time::Span;
use hearthway_core::words::Tongue;

use crate::by_time::{each_ten_minutes, home, home_with, offers, temperature, tip};
use crate::world::{World, set_triggers, thermostat};

const COOLING: &str = "event = \"telemetry\"\nfield = \"temperature\"\ntrend_over = \"2h\"\nfalls_below = \"-1 °C/h\"";
/// Two hours in which nothing changes, one reading every ten minutes.
const STEADY: [f64; 12] = [20.0; 12];
/// Two hours that lose three degrees an hour.
const FALLING: [f64; 12] = [19.5, 19.0, 18.5, 18.0, 17.5, 17.0, 16.5, 16.0, 15.5, 15.0, 14.5, 14.0];

fn edge(world: &World) -> EdgeState {
    world.home_of(&thermostat()).devices[&thermostat()].edge(&TriggerId::new("t").unwrap())
}
fn batch(world: &mut World, values: &[f64]) {
    let begin = world.now;
    world.pass(Span::minutes(10 * values.len() as i64));
    let mut samples: Vec<String> = (0..)
        .zip(values)
        .map(|(n, value)| format!(r#"{{"t":{},"f":{{"temperature":{value}}}}}"#, (begin + Span::minutes(10 * n)).0))
        .collect();
    samples.reverse();
    world.up(&thermostat(), "up/telemetry", &format!(r#"{{"samples":[{}]}}"#, samples.join(","))).unwrap();
}

#[test]
fn a_trend_fires_once_when_it_crosses_and_is_ready_again_when_it_came_back() {
    let mut world = home(COOLING);
    each_ten_minutes(&mut world, &STEADY);
    assert_eq!(offers(&mut world), 0);
    each_ten_minutes(&mut world, &FALLING);
    assert_eq!(offers(&mut world), 1, "once, however long it goes on");
    let said = world.last_trace().steps[1].in_words(Tongue::En);
    assert!(said.starts_with("The value changed by -1.") && said.ends_with(" per hour over 2 hours."), "{said}");
    assert!(world.last_trace().steps[1].in_words(Tongue::Fr).contains("par heure sur 2 heures"));
    each_ten_minutes(&mut world, &[14.0; 20]);
    each_ten_minutes(&mut world, &FALLING.map(|value| value - 5.5));
    assert_eq!(offers(&mut world), 1, "it stood still in between");
}

#[test]
fn a_slope_that_is_not_steep_enough_fires_nothing() {
    let mut world = home(COOLING);
    each_ten_minutes(&mut world, &STEADY);
    each_ten_minutes(&mut world, &(0..24).map(|n| 20.0 - 0.15 * f64::from(n)).collect::<Vec<_>>());
    assert_eq!(offers(&mut world), 0, "0.9 degrees an hour");
}

#[test]
fn a_first_trend_is_no_edge_unless_asked_for() {
    let mut world = home(COOLING);
    each_ten_minutes(&mut world, &FALLING);
    assert_eq!(offers(&mut world), 0);
    let mut world = home(&format!("{COOLING}\non_first = true"));
    each_ten_minutes(&mut world, &FALLING[..6]);
    assert_eq!(offers(&mut world), 0, "unknown in its first hour");
    each_ten_minutes(&mut world, &FALLING[6..]);
    assert_eq!(offers(&mut world), 1);
}

#[test]
fn after_a_silence_a_trend_is_unknown_until_its_readings_reach_over_half_of_its_time() {
    let mut world = home(COOLING);
    each_ten_minutes(&mut world, &STEADY);
    world.pass(Span::minutes(31));
    each_ten_minutes(&mut world, &FALLING[..6]);
    assert_eq!(offers(&mut world), 0, "fifty minutes of falling, and nothing from before counts");
    each_ten_minutes(&mut world, &FALLING[6..7]);
    assert_eq!(offers(&mut world), 1, "from where it was last known");
}

#[test]
fn what_must_stay_is_broken_by_a_silence_of_the_field() {
    let staying = format!("{COOLING}\nfor = \"1h\"");
    let mut world = home(&staying);
    each_ten_minutes(&mut world, &STEADY);
    each_ten_minutes(&mut world, &FALLING[..6]);
    assert_eq!(edge(&world), EdgeState::Staying);
    world.pass(Span::minutes(31));
    assert_eq!((edge(&world), offers(&mut world)), (EdgeState::Staying, 0));
    world.pass(Span::minutes(30));
    assert_eq!((edge(&world), offers(&mut world)), (EdgeState::Unsure, 0), "its hour came, and nobody knows");

    let mut world = home(&staying);
    each_ten_minutes(&mut world, &STEADY);
    each_ten_minutes(&mut world, &FALLING[..6]);
    world.pass(Span::minutes(25));
    temperature(&mut world, 16.0);
    assert_eq!((edge(&world), offers(&mut world)), (EdgeState::Unsure, 0), "a reading after the silence");
}

#[test]
fn an_older_reading_is_no_part_of_a_trend() {
    let (mut world, mut other) = (home(COOLING), home(COOLING));
    for world in [&mut world, &mut other] {
        each_ten_minutes(world, &STEADY);
    }
    let late = format!(r#"{{"samples":[{{"t":{},"f":{{"temperature":-30}}}}]}}"#, (world.now - Span::minutes(45)).0);
    world.up(&thermostat(), "up/telemetry", &late).unwrap();
    assert_eq!(world.home_of(&thermostat()).trends, other.home_of(&thermostat()).trends);
}

#[test]
fn a_batch_makes_the_trend_that_its_readings_make_one_by_one() {
    let values = [&STEADY[..], &FALLING[..8]].concat();
    let (mut live, mut late) = (home(COOLING), home(COOLING));
    each_ten_minutes(&mut live, &values);
    batch(&mut late, &values);
    assert_eq!(live.home_of(&thermostat()).trends, late.home_of(&thermostat()).trends);
    assert_eq!((offers(&mut live), offers(&mut late)), (1, 1));
}

#[test]
fn an_armed_trend_waits_while_it_is_unknown() {
    let mut world = home_with(&tip("t", COOLING, "[trigger.when]\nall = 'context.presence == \"home\"'"));
    each_ten_minutes(&mut world, &STEADY);
    each_ten_minutes(&mut world, &FALLING[..7]);
    assert_eq!(edge(&world), EdgeState::Armed);
    world.pass(Span::minutes(31));
    world.up(&thermostat(), "up/context", r#"{"presence":"home","ttl_s":9000}"#).unwrap();
    assert_eq!((edge(&world), offers(&mut world)), (EdgeState::Armed, 0), "unknown never sends");
    each_ten_minutes(&mut world, &FALLING[..7].iter().map(|value| value - 4.0).collect::<Vec<_>>());
    assert_eq!(offers(&mut world), 1, "known again, and beyond");
}

#[test]
fn triggers_over_the_same_stretch_share_one_trend_and_one_that_nobody_watches_leaves() {
    let steep = COOLING.replace("-1 °C/h", "-0.05 °C/min");
    let long = COOLING.replace("2h", "6h");
    let mut world = home_with(&[tip("a", COOLING, ""), tip("b", &steep, ""), tip("c", &long, "")].concat());
    each_ten_minutes(&mut world, &STEADY);
    assert_eq!(world.home_of(&thermostat()).trends.len(), 2);
    set_triggers(&mut world.rules, &[tip("a", COOLING, ""), tip("b", &steep, "")].concat());
    each_ten_minutes(&mut world, &FALLING);
    assert_eq!(world.home_of(&thermostat()).trends.len(), 1);
    let sent: Vec<&str> = world.traces.iter().map(|trace| trace.trigger.as_str()).collect();
    assert_eq!(sent, ["a"], "-3 an hour is not below -0.05 a minute");
}

#[test]
fn a_device_that_leaves_takes_no_trend_with_it() {
    let mut world = home(COOLING);
    each_ten_minutes(&mut world, &STEADY);
    let home = world.routes[&thermostat()];
    world.command(&thermostat(), Command::Release).unwrap();
    assert_eq!(world.homes[&home].trends.len(), 0);
    assert_eq!(world.home_of(&thermostat()).trends.len(), 0);
}

#[test]
fn why_not_names_the_trend_as_it_is() {
    let mut world = home(COOLING);
    each_ten_minutes(&mut world, &STEADY);
    let (facts, retailer) = (world.home_of(&thermostat()).clone(), RetailerId::new("shop-a").unwrap());
    let trigger = world.rules.triggers.get(&retailer, &TriggerId::new("t").unwrap()).unwrap().clone();
    let (_, input) = world.log.last().unwrap().clone();
    let candidate = why_not_candidate(&facts, &input, &world.rules, &trigger);
    let said = candidate.steps.iter().find(|step| step.reason.starts_with("not_woken")).unwrap();
    assert_eq!(said.reason, "not_woken: temperature/h (2 h) is 0, it did not fall below -1");
}
