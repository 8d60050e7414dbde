//! What wakes a trigger by time: a value that stays, silence that lasts, something that happens often
//! enough, an hour that comes.

use std::sync::Arc;

use hearthway_core::id::FieldName;
use hearthway_core::input::What;
use hearthway_core::model::{EdgeState, Purpose};
use hearthway_core::time::{Span, Timestamp, Zone};
use hearthway_core::trace::Step;
use hearthway_core::words::Tongue;

use crate::world::{World, thermostat};

/// A trigger that wakes on this.
pub fn tip(id: &str, on: &str, more: &str) -> String {
    format!(
        "[[trigger]]\nid = \"{id}\"\nkind = \"tip\"\n[trigger.on]\n{on}\n[trigger.offer]\nactions = [\"decline\"]\n\
         [trigger.offer.text.fr]\ntitle = \"Titre\"\nbody = \"Texte\"\n{more}\n"
    )
}

/// A home with such a trigger, whose readings of the temperature stay fresh for 30 minutes.
pub fn home(on: &str) -> World {
    home_with(&tip("t", on, ""))
}

pub fn home_with(triggers: &str) -> World {
    let mut world = World::at_home(triggers);
    let mut model = (*world.rules.models["th-200"]).clone();
    let field = FieldName::new("temperature").unwrap();
    model.description.telemetry.get_mut(&field).unwrap().max_age = Some(Span::minutes(30));
    world.rules.models.insert(model.description.model.clone(), Arc::new(model));
    world
}

pub fn temperature(world: &mut World, value: f64) {
    world.up(&thermostat(), "up/telemetry", &format!(r#"{{"temperature":{value}}}"#)).unwrap();
}

/// One reading every ten minutes.
pub fn each_ten_minutes(world: &mut World, values: &[f64]) {
    for value in values {
        temperature(world, *value);
        world.pass(Span::minutes(10));
    }
}

pub fn offers(world: &mut World) -> usize {
    world.offers_put(&thermostat()).len()
}

fn edge(world: &World) -> EdgeState {
    let device = &world.home_of(&thermostat()).devices[&thermostat()];
    device.edges.values().next().map_or(EdgeState::Ready, |edge| edge.state.clone())
}

const COLD_FOR: &str = "event = \"telemetry\"\nfield = \"temperature\"\nfalls_below = 17\nrearm = 18\nfor = \"30 min\"";

#[test]
fn a_value_that_stays_fires_when_its_time_is_full_and_once() {
    let mut world = home(COLD_FOR);
    each_ten_minutes(&mut world, &[19.0, 16.0, 16.5]);
    world.pass(Span::minutes(9));
    assert_eq!(offers(&mut world), 0, "29 minutes");
    world.pass(Span::minutes(1));
    assert_eq!(offers(&mut world), 1, "30 minutes, by the household's own timer");
    assert_eq!(world.last_trace().steps[1].in_words(Tongue::En), "The value stayed for 30 minutes.");
    each_ten_minutes(&mut world, &[16.0, 16.0, 16.0, 16.0, 17.5, 16.0, 16.0, 16.0, 16.0]);
    assert_eq!(offers(&mut world), 0, "it fired, and 17.5 does not re-arm at 18");
    each_ten_minutes(&mut world, &[18.0, 16.0, 16.0, 16.0, 16.0]);
    assert_eq!(offers(&mut world), 1);
}

#[test]
fn the_way_back_ends_what_must_stay() {
    let mut world = home(COLD_FOR);
    each_ten_minutes(&mut world, &[19.0, 16.0, 16.0, 17.2, 16.0, 16.0]);
    world.pass(Span::minutes(5));
    assert_eq!(offers(&mut world), 0, "17.2 was in between: 25 minutes");
    world.pass(Span::minutes(5));
    assert_eq!(offers(&mut world), 1, "30 minutes since then");
}

#[test]
fn a_gap_ends_what_must_stay_and_the_second_sample_after_it_begins_anew() {
    let mut world = home("event = \"telemetry\"\nfield = \"temperature\"\nfalls_below = 17\nfor = \"45 min\"");
    each_ten_minutes(&mut world, &[19.0, 16.0]);
    world.pass(Span::hours(2));
    assert_eq!(offers(&mut world), 0, "at 45 minutes the last reading was too old to be believed");
    assert_eq!(edge(&world), EdgeState::Unsure);
    temperature(&mut world, 16.0);
    assert_eq!(edge(&world), EdgeState::Unsure, "the first sample after the gap");
    world.pass(Span::minutes(10));
    each_ten_minutes(&mut world, &[16.0, 16.0, 16.0, 16.0]);
    assert_eq!(offers(&mut world), 0);
    each_ten_minutes(&mut world, &[16.0]);
    assert_eq!(offers(&mut world), 1, "45 minutes after the second sample");
}

#[test]
fn samples_of_one_batch_mean_the_same_as_one_by_one() {
    let values = [19.0, 16.0, 16.5, 16.0, 16.0, 19.0];
    let mut live = home(COLD_FOR);
    each_ten_minutes(&mut live, &values);
    assert_eq!(offers(&mut live), 1);
    let mut batch = home(COLD_FOR);
    let begin = batch.now;
    batch.pass(Span::minutes(60));
    let samples: Vec<String> = (0..)
        .zip(values)
        .map(|(n, value)| format!(r#"{{"t":{},"f":{{"temperature":{value}}}}}"#, (begin + Span::minutes(10 * n)).0))
        .collect();
    batch.up(&thermostat(), "up/telemetry", &format!(r#"{{"samples":[{}]}}"#, samples.join(","))).unwrap();
    assert_eq!(offers(&mut batch), 1, "the hour lay between two samples of the batch");
    assert_eq!(
        batch.last_trace().steps[1].in_words(Tongue::En),
        "The value stayed for 30 minutes; that was full 20 minutes ago."
    );
    assert_eq!(edge(&batch), edge(&live), "and 19 re-armed both");
}

#[test]
fn presence_can_last_too() {
    let mut world = home("event = \"presence\"\nbecomes = \"lost\"\nfor = \"24h\"");
    let device = thermostat();
    let lost = |world: &mut World| world.input(&device, What::ConnectionLost).unwrap();
    lost(&mut world);
    world.pass(Span::hours(23));
    world.up(&device, "presence", r#"{"state":"online","epoch":2}"#).unwrap();
    world.pass(Span::hours(2));
    assert_eq!(offers(&mut world), 0, "it came back within the day");
    lost(&mut world);
    world.pass(Span::hours(24));
    assert_eq!(offers(&mut world), 1);
}

#[test]
fn silence_of_a_connected_device_fires_once_and_clears_with_its_next_word() {
    let mut world = home("event = \"telemetry\"\nabsent_for = \"45 min\"");
    each_ten_minutes(&mut world, &[19.0, 19.0, 19.0, 19.0, 19.0, 19.0, 19.0]);
    assert_eq!(offers(&mut world), 0, "it reports");
    world.pass(Span::minutes(34));
    assert_eq!(offers(&mut world), 0, "44 minutes");
    world.pass(Span::minutes(1));
    assert_eq!(offers(&mut world), 1, "45 minutes");
    assert_eq!(world.last_trace().steps[1].in_words(Tongue::En), "Nothing came for 45 minutes.");
    world.pass(Span::hours(5));
    assert_eq!(offers(&mut world), 0, "once");
    temperature(&mut world, 19.0);
    world.pass(Span::minutes(45));
    assert_eq!(offers(&mut world), 1, "its word cleared it");
}

#[test]
fn silence_of_one_field_is_not_broken_by_another() {
    let mut world = home("event = \"telemetry\"\nfield = \"temperature\"\nabsent_for = \"45 min\"");
    temperature(&mut world, 19.0);
    for _ in 0..5 {
        world.pass(Span::minutes(10));
        world.up(&thermostat(), "up/telemetry", r#"{"mode":"heat"}"#).unwrap();
    }
    assert_eq!(offers(&mut world), 1);
}

#[test]
fn a_gateway_that_was_away_heard_nobody_and_calls_that_no_silence() {
    let mut world = home("event = \"telemetry\"\nabsent_for = \"45 min\"");
    temperature(&mut world, 19.0);
    // The gateway is away for three hours: no deadline is kept at its instant.
    world.now = world.now + Span::hours(3);
    world.pass(Span::minutes(44));
    assert_eq!(offers(&mut world), 0);
    world.pass(Span::minutes(1));
    assert_eq!(offers(&mut world), 1, "counted from when it listened again");
}

const THREE_ERRORS: &str = "event = \"event\"\ntype = \"error\"\ncount = 3\nwithin = \"24h\"";

fn error(world: &mut World) {
    world.up(&thermostat(), "up/event", r#"{"type":"error"}"#).unwrap();
}

#[test]
fn so_many_events_within_the_window_fire_and_the_counting_begins_anew() {
    let mut world = home(THREE_ERRORS);
    for hours in [0, 20, 10] {
        world.pass(Span::hours(hours));
        error(&mut world);
    }
    assert_eq!(offers(&mut world), 0, "three, but over 30 hours");
    world.pass(Span::hours(1));
    error(&mut world);
    assert_eq!(offers(&mut world), 1, "the last three within 11 hours");
    assert_eq!(world.last_trace().steps[1].in_words(Tongue::En), "It happened 3 times within 1 day.");
    error(&mut world);
    error(&mut world);
    assert_eq!(offers(&mut world), 0, "two of the next three");
    error(&mut world);
    assert_eq!(offers(&mut world), 1);
}

#[test]
fn crossings_are_counted_once_each() {
    let mut world = home(
        "event = \"telemetry\"\nfield = \"temperature\"\nfalls_below = 17\nrearm = 18\ncount = 3\nwithin = \"2h\"",
    );
    each_ten_minutes(&mut world, &[19.0, 16.0, 16.5, 16.0, 17.5, 16.0]);
    assert_eq!(offers(&mut world), 0, "one crossing");
    each_ten_minutes(&mut world, &[19.0, 16.0, 19.0]);
    assert_eq!(offers(&mut world), 0, "two");
    each_ten_minutes(&mut world, &[16.0]);
    assert_eq!(offers(&mut world), 1, "three");
    each_ten_minutes(&mut world, &[16.0, 19.0, 16.0]);
    assert_eq!(offers(&mut world), 0, "and one again");
}

#[test]
fn any_change_wakes_and_only_a_change() {
    let mut world = home("event = \"telemetry\"\nfield = \"mode\"\nchanges = true");
    for (mode, expected) in [("off", 0), ("off", 0), ("heat", 1), ("heat", 0), ("off", 1)] {
        world.pass(Span::minutes(1));
        world.up(&thermostat(), "up/telemetry", &format!(r#"{{"mode":"{mode}"}}"#)).unwrap();
        assert_eq!(offers(&mut world), expected, "{mode}");
    }
}

#[test]
fn an_entry_of_context_has_edges() {
    let mut world = home("event = \"context\"\nfield = \"presence\"\nbecomes = \"home\"");
    for (presence, expected) in [("home", 0), ("away", 0), ("home", 1), ("home", 0)] {
        world.pass(Span::minutes(1));
        let body = format!(r#"{{"presence":"{presence}","ttl_s":900}}"#);
        world.up(&thermostat(), "up/context", &body).unwrap();
        assert_eq!(offers(&mut world), expected, "{presence}");
    }
}

#[test]
fn a_new_link_and_a_delivered_order_are_moments() {
    let mut world = World::with(&tip("t", "event = \"link\"\ntype = \"linked\"", ""));
    world.register(&thermostat());
    world.up(&thermostat(), "presence", r#"{"state":"online","epoch":1}"#).unwrap();
    world.link(&thermostat(), "p1", &[Purpose::OffersDevice]);
    assert_eq!(offers(&mut world), 1);

    let sold = crate::transcript::FILTER_WORN;
    let mut world = World::at_home(&format!("{sold}{}", tip("thanks", "event = \"order\"\ntype = \"submitted\"", "")));
    for hours in [590, 612] {
        world.up(&thermostat(), "up/slot", &crate::transcript::used(hours)).unwrap();
    }
    let offer = world.offers_put(&thermostat()).remove(0);
    let accept = format!(r#"{{"offer":"{}","rev":1,"answer":"accept","nonce":"n"}}"#, offer.id);
    world.up(&thermostat(), "up/offer/answer", &accept).unwrap();
    assert_eq!(world.last_trace().trigger.as_str(), "thanks");
    assert_eq!(offers(&mut world), 1, "{}", world.last_trace());
}

#[test]
fn an_hour_comes_on_its_days_by_the_homes_clock() {
    let mut world = home("event = \"schedule\"\nat = \"18:30\"\ndays = [\"fri\", \"sat\"]");
    temperature(&mut world, 19.0);
    world.pass(Span::days(2));
    assert_eq!(offers(&mut world), 0, "Wednesday and Thursday");
    world.pass(Span::days(5));
    let sent: Vec<_> = world.traces.iter().map(|trace| trace.steps[1].in_words(Tongue::En)).collect();
    assert_eq!(sent, vec!["The trigger's hour has come."; 2]);
    let paris = Zone::new("Europe/Paris").unwrap();
    let hours: Vec<_> = world.ever_said.iter().rev().take(2).map(|(at, _)| paris.local(*at).to_string()).collect();
    assert_eq!(hours, ["2026-03-21T18:30:00", "2026-03-20T18:30:00"]);
}

#[test]
fn a_device_remembers_a_bounded_number_of_edges() {
    let triggers: String = (0..300)
        .map(|n| tip(&format!("t{n}"), "event = \"telemetry\"\nfield = \"temperature\"\nfalls_below = 17", ""))
        .collect();
    let mut world = home_with(&triggers);
    each_ten_minutes(&mut world, &[19.0, 16.0]);
    assert_eq!(world.traces.len(), 300, "all of them were looked at");
    let device = &world.home_of(&thermostat()).devices[&thermostat()];
    assert_eq!(device.edges.len(), hearthway_core::limits::EDGES_PER_DEVICE_MAX);
}

#[test]
fn why_it_did_not_wake_says_how_far_it_is() {
    let mut world = home(COLD_FOR);
    each_ten_minutes(&mut world, &[19.0, 16.0]);
    temperature(&mut world, 16.0);
    let (id, input) = world.log.last().cloned().unwrap();
    let trigger = world.rules.triggers.iter().next().unwrap().clone();
    let trace = hearthway_core::decide::why_not_candidate(&world.homes[&id], &input, &world.rules, &trigger);
    let age = trace.steps.iter().find(|step| step.step == Step::Age).unwrap();
    assert!(age.reason.contains("temperature is 16") && age.reason.contains("for 10 min of 30 min"), "{}", age.reason);
    let _ = Timestamp(0);
}
