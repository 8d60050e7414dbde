//! The semantics that must be right, one test each, in the order of the contract. Details of each are
//! told beside it: edges and caps in `triggers`, time in `by_time`, clocks in `clock_jumps`.

use hearthway_core::code::Code;
use hearthway_core::decide::decide;
use hearthway_core::decision::Reply;
use hearthway_core::id::{FieldName, HouseholdId, ProfileId, RetailerId};
use hearthway_core::input::{Command, What};
use hearthway_core::model::{EdgeState, OfferState, Purpose};
use hearthway_core::time::{Span, Timestamp, Zone};
use hearthway_core::trace::{Step, Verdict};
use hearthway_core::trigger::{BUCKETS, Holdout};
use hearthway_core::words::Tongue;

use crate::budgets::{self, accept, budgeted, homes, wear_out};
use crate::by_time::{each_ten_minutes, home, home_with, offers, temperature, tip};
use crate::triggers::QUIET;
use crate::world::{World, set_triggers, thermostat};

const COLD: &str = "event = \"telemetry\"\nfield = \"temperature\"\nfalls_below = 17\nrearm = 18";

fn conditional(condition: &str) -> String {
    tip("t", COLD, &format!("[trigger.when]\nall = '{condition}'"))
}

fn at(text: &str) -> Timestamp {
    Timestamp::parse_rfc3339(text).unwrap()
}

#[test]
fn s01_edges_not_levels() {
    let mut world = home(COLD);
    each_ten_minutes(&mut world, &[19.0, 16.0, 15.0, 16.9, 17.5, 16.0]);
    assert_eq!(offers(&mut world), 1, "once for all messages below, and 17.5 does not re-arm");
    each_ten_minutes(&mut world, &[18.0, 16.0]);
    assert_eq!(offers(&mut world), 1, "18 re-arms");

    // Without `rearm`: 2 % of the declared range of 120 degrees.
    let mut world = home(&COLD.replace("rearm = 18", ""));
    each_ten_minutes(&mut world, &[19.5, 16.0, 19.3, 16.0]);
    assert_eq!(offers(&mut world), 1);
    each_ten_minutes(&mut world, &[19.4, 16.0]);
    assert_eq!(offers(&mut world), 1);
}

#[test]
fn s02_a_late_conjunct_is_waited_for_while_the_edge_holds() {
    let mut world = home_with(&conditional("local.hour >= 17"));
    each_ten_minutes(&mut world, &[19.0, 16.0]);
    assert_eq!(offers(&mut world), 0, "it is ten in the morning");
    world.pass(Span::hours(6));
    assert_eq!(offers(&mut world), 0);
    world.pass(Span::hours(1));
    assert_eq!(offers(&mut world), 1, "at the instant at which the bound turns, without any message");

    let mut world = home_with(&conditional("context.presence == \"home\""));
    each_ten_minutes(&mut world, &[19.0, 16.0]);
    world.up(&thermostat(), "up/context", r#"{"presence":"home","ttl_s":900}"#).unwrap();
    assert_eq!(offers(&mut world), 1, "at the device's next input");

    let mut world = home_with(&conditional("local.hour >= 17"));
    each_ten_minutes(&mut world, &[19.0, 16.0, 17.2]);
    world.pass(Span::hours(8));
    assert_eq!(offers(&mut world), 0, "disarmed on the way back");
}

#[test]
fn s02_at_most_so_many_edges_are_armed() {
    let condition = "[trigger.when]\nall = 'local.hour >= 17'";
    let triggers: String = (0..40).map(|n| tip(&format!("t{n}"), COLD, condition)).collect();
    let mut world = home_with(&triggers);
    each_ten_minutes(&mut world, &[19.0, 16.0]);
    let device = &world.home_of(&thermostat()).devices[&thermostat()];
    let armed = device.edges.values().filter(|edge| edge.state == EdgeState::Armed).count();
    assert_eq!(armed, hearthway_core::limits::ARMED_PER_DEVICE_MAX);
}

#[test]
fn s03_a_first_report_is_no_edge_unless_asked_for() {
    let mut world = home(COLD);
    each_ten_minutes(&mut world, &[16.0, 15.0]);
    assert_eq!(offers(&mut world), 0);
    let mut world = home(&format!("{COLD}\non_first = true"));
    each_ten_minutes(&mut world, &[16.0, 15.0]);
    assert_eq!(offers(&mut world), 1);
}

#[test]
fn s04_a_reload_does_not_fire_on_values_that_are_beyond_already() {
    let mut world = World::at_home("");
    temperature(&mut world, 16.0);
    set_triggers(&mut world.rules, &tip("t", COLD, ""));
    each_ten_minutes(&mut world, &[16.0, 15.0]);
    world.pass(Span::hours(1));
    assert_eq!(offers(&mut world), 0);
    each_ten_minutes(&mut world, &[19.0, 16.0]);
    assert_eq!(offers(&mut world), 1, "the next crossing does");
}

#[test]
fn s05_an_older_sample_updates_history_and_makes_no_edge() {
    let mut world = home(COLD);
    temperature(&mut world, 19.0);
    let (begin, device) = (world.now, thermostat());
    world.pass(Span::minutes(10));
    temperature(&mut world, 18.5);
    let late = format!(r#"{{"samples":[{{"t":{},"f":{{"temperature":12}}}}]}}"#, (begin + Span::minutes(5)).0);
    world.up(&device, "up/telemetry", &late).unwrap();
    assert_eq!(offers(&mut world), 0);
    assert_eq!(world.home_of(&device).devices[&device].reported["temperature"].value.to_string(), "18.5");
    temperature(&mut world, 16.0);
    assert_eq!(offers(&mut world), 1, "from 18.5, the newest by event time");
}

#[test]
fn s06_after_a_gap_an_edge_needs_a_second_sample() {
    let mut world = home(COLD);
    temperature(&mut world, 19.0);
    world.pass(Span::minutes(31));
    temperature(&mut world, 16.0);
    assert_eq!(offers(&mut world), 0, "31 minutes without a word, and the field stays fresh for 30");
    world.pass(Span::minutes(10));
    temperature(&mut world, 16.2);
    assert_eq!(offers(&mut world), 1, "the second sample says so too");

    temperature(&mut world, 19.0);
    world.pass(Span::minutes(31));
    each_ten_minutes(&mut world, &[16.0, 18.5, 18.5]);
    assert_eq!(offers(&mut world), 0, "the second sample says otherwise");
    each_ten_minutes(&mut world, &[16.0]);
    assert_eq!(offers(&mut world), 1, "an edge without a gap");
}

#[test]
fn s06_what_must_stay_is_broken_by_a_gap() {
    let mut world = home(&format!("{COLD}\nfor = \"45 min\""));
    each_ten_minutes(&mut world, &[19.0, 16.0]);
    world.pass(Span::hours(3));
    assert_eq!(offers(&mut world), 0);
}

#[test]
fn s07_a_batch_after_an_outage_makes_no_storm_of_offers() {
    let mut world = home(COLD);
    temperature(&mut world, 19.0);
    world.pass(Span::hours(12));
    // Ten hours of crossings, out of order; only those of the last two hours may speak.
    let mut samples: Vec<String> = (0..60)
        .map(|n| {
            let t = world.now - Span::minutes(10 * n);
            format!(r#"{{"t":{},"f":{{"temperature":{}}}}}"#, t.0, if n % 2 == 0 { 16 } else { 19 })
        })
        .collect();
    samples.swap(3, 50);
    world.up(&thermostat(), "up/telemetry", &format!(r#"{{"samples":[{}]}}"#, samples.join(","))).unwrap();
    assert_eq!(offers(&mut world), 1, "one message makes one offer of a trigger");
    let blocked = world.traces.iter().filter(|trace| trace.first_block == Some(Step::Age)).count();
    assert!(blocked >= 20, "{blocked} edges were seen and too old");
}

#[test]
fn s08_absence_counts_while_the_device_is_connected() {
    let mut world = home("event = \"telemetry\"\nabsent_for = \"45 min\"");
    temperature(&mut world, 19.0);
    world.pass(Span::minutes(30));
    world.input(&thermostat(), What::ConnectionLost).unwrap();
    world.pass(Span::hours(5));
    assert_eq!(offers(&mut world), 0, "an offline device is not silent, it is not there");
    world.up(&thermostat(), "presence", r#"{"state":"online","epoch":2}"#).unwrap();
    world.pass(Span::minutes(44));
    assert_eq!(offers(&mut world), 0);
    world.pass(Span::minutes(1));
    assert_eq!(offers(&mut world), 1, "45 minutes since it is connected again");
}

#[test]
fn s09_within_is_elapsed_time_and_each_day_is_the_local_calendar_day() {
    let daily = "[trigger.limits]\ncaps = [{ max = 1, per = \"all\", scope = \"household\", each = \"day\" }]";
    let mut world = home_with(&tip("t", COLD, daily));
    // The night of 29 March 2026 has 23 hours in Paris.
    world.pass(at("2026-03-28T23:30:00+01:00") - world.now);
    each_ten_minutes(&mut world, &[19.0, 16.0]);
    assert_eq!(offers(&mut world), 1);
    world.pass(Span::minutes(20));
    each_ten_minutes(&mut world, &[19.0, 16.0, 19.0, 16.0]);
    assert_eq!(offers(&mut world), 1, "a new day after midnight, and only one in it");
    world.pass(at("2026-03-29T23:40:00+02:00") - world.now);
    temperature(&mut world, 19.0);
    temperature(&mut world, 16.0);
    assert_eq!(offers(&mut world), 0, "the same day");
}

#[test]
fn s09_two_devices_of_one_home_cannot_both_pass_a_cap() {
    let capped = "[trigger.limits]\ncaps = [{ max = 1, per = \"offer\", scope = \"household\", within = \"7d\" }]";
    let mut world = home_with(&tip("t", COLD, capped));
    let second = "acme/d-43".parse().unwrap();
    world.register(&second);
    world.up(&second, "presence", r#"{"state":"online","epoch":1}"#).unwrap();
    let mut join = world.join("p1", &[Purpose::OffersDevice]);
    join.link = hearthway_core::id::LinkId::derived(&[b"second"]);
    world.command(&second, Command::LinkDirectly { join }).unwrap();
    for value in [19, 16] {
        for device in [thermostat(), second.clone()] {
            world.up(&device, "up/telemetry", &format!(r#"{{"temperature":{value}}}"#)).unwrap();
        }
    }
    assert_eq!(world.offers_put(&thermostat()).len() + world.offers_put(&second).len(), 1);
    assert_eq!(world.last_trace().first_block, Some(Step::Caps));
}

#[test]
fn s10_quiet_hours_hold_and_the_held_offer_leaves_only_if_it_is_still_eligible() {
    let mut world = home_with(&tip("t", COLD, QUIET));
    world.pass(at("2026-03-18T23:00:00+01:00") - world.now);
    each_ten_minutes(&mut world, &[19.0, 16.0]);
    assert_eq!((offers(&mut world), world.last_trace().first_block), (0, Some(Step::Quiet)));
    world.pass(at("2026-03-19T07:59:59+01:00") - world.now);
    assert_eq!(offers(&mut world), 0);
    world.pass(Span::minutes(6));
    assert_eq!(offers(&mut world), 1, "within the jitter after eight");

    world.pass(at("2026-03-19T23:00:00+01:00") - world.now);
    each_ten_minutes(&mut world, &[19.0, 16.0]);
    let (profile, word) = (hearthway_core::id::ProfileId::new("p1").unwrap(), world.word(false));
    let records = vec![(Purpose::OffersDevice, word)];
    world.command(&thermostat(), Command::SetConsents { profile, records }).unwrap();
    world.pass(Span::hours(12));
    assert_eq!(offers(&mut world), 0);
    assert!(world.offer_states(&thermostat()).contains(&OfferState::Withdrawn));

    let mut nowhere = home_with(&tip("t", COLD, QUIET));
    let id = nowhere.routes[&thermostat()];
    nowhere.homes.get_mut(&id).unwrap().zone = None;
    each_ten_minutes(&mut nowhere, &[19.0, 16.0]);
    assert_eq!(nowhere.last_trace().first_block, Some(Step::Quiet), "an unknown zone is quiet");
}

#[test]
fn s11_a_budget_is_one_for_all_homes_and_its_last_unit_is_sold_once() {
    let trigger = budgeted("{ count = 3 }", "", "");
    let mut world = homes(&trigger, 10);
    let offers: Vec<_> = (0..10).map(|n| wear_out(&mut world, &budgets::home(n)).unwrap().id).collect();
    let mut sold = 0;
    for (n, offer) in offers.into_iter().enumerate() {
        // A new version in between goes on where the old one was.
        if n == 2 {
            world.rules.version += 1;
            set_triggers(&mut world.rules, &trigger.replace("count = 3", "count = 4"));
        }
        match accept(&mut world, &budgets::home(n), offer) {
            Ok(_) => sold += 1,
            Err(code) => assert_eq!(code, Code::OfferBudgetExhausted),
        }
    }
    assert_eq!((sold, budgets::live_orders(&world)), (4, 4));
}

#[test]
fn s12_the_control_group_is_drawn_where_the_offer_would_leave() {
    let home_id = HouseholdId::of_profile(&RetailerId::new("shop-a").unwrap(), &ProfileId::new("p1").unwrap());
    let half = |more: &str, held_out: bool| {
        let salts = (0..).map(|n| Holdout { below: BUCKETS / 2, salt: format!("s{n}") });
        let salt = salts.into_iter().find(|half| half.holds_out(home_id) == held_out).unwrap().salt;
        home_with(&tip("t", COLD, &format!("{more}[trigger.rollout]\nholdout = {{ percent = 50, salt = \"{salt}\" }}")))
    };
    let capped = "[trigger.limits]\ncaps = [{ max = 1, within = \"7d\" }]\n";
    let mut spoken_to = half(capped, false);
    each_ten_minutes(&mut spoken_to, &[19.0, 16.0]);
    assert_eq!(offers(&mut spoken_to), 1);

    let mut held_out = half(capped, true);
    for _ in 0..2 {
        each_ten_minutes(&mut held_out, &[19.0, 16.0]);
        assert_eq!(offers(&mut held_out), 0);
        let trace = held_out.last_trace();
        assert_eq!(trace.first_block, Some(Step::Holdout), "all before would have let it go: {trace}");
    }
    let home = &held_out.homes[&home_id];
    assert!(home.contacts.is_empty() && home.offers.is_empty(), "nothing is used up by what was not said");

    let mut at_night = half(QUIET, true);
    at_night.pass(at("2026-03-18T23:00:00+01:00") - at_night.now);
    each_ten_minutes(&mut at_night, &[19.0, 16.0]);
    assert_eq!(at_night.last_trace().first_block, Some(Step::Quiet), "at night it would not have left");
    at_night.pass(Span::hours(12));
    assert_eq!(offers(&mut at_night), 0);
    assert_eq!(at_night.last_trace().first_block, Some(Step::Holdout));
    assert_eq!(at_night.offer_states(&thermostat()), [OfferState::Withdrawn]);
}

#[test]
fn s13_a_deadline_missed_while_down_fires_once_and_is_marked_overdue() {
    let mut world = home(&format!("{COLD}\nfor = \"20 min\""));
    each_ten_minutes(&mut world, &[19.0, 16.0]);
    // The gateway is away for an hour: its timers are built again from the records.
    world.now = world.now + Span::hours(1);
    world.pass(Span::ZERO);
    assert_eq!(offers(&mut world), 1);
    assert_eq!(
        world.last_trace().steps[1].in_words(Tongue::En),
        "The value stayed for 20 minutes; that was full 50 minutes ago."
    );
    world.pass(Span::hours(3));
    assert_eq!(offers(&mut world), 0, "once");

    let mut world = home(&format!("{COLD}\nfor = \"20 min\""));
    each_ten_minutes(&mut world, &[19.0, 16.0]);
    world.now = world.now + Span::hours(5);
    world.pass(Span::ZERO);
    assert_eq!(
        (offers(&mut world), world.last_trace().first_block),
        (0, Some(Step::Age)),
        "older than `max_event_age`"
    );
}

#[test]
fn s14_a_decision_names_its_version_and_the_edge_belongs_to_the_id_across_versions() {
    let mut world = home(COLD);
    each_ten_minutes(&mut world, &[19.0, 16.0]);
    assert_eq!((offers(&mut world), world.last_trace().trigger_version), (1, 1));
    world.rules.version = 2;
    set_triggers(&mut world.rules, &tip("t", COLD, ""));
    each_ten_minutes(&mut world, &[17.5, 16.0]);
    assert_eq!(offers(&mut world), 0, "crossed under version 1, and not back at `rearm` since");
    each_ten_minutes(&mut world, &[18.0, 16.0]);
    assert_eq!((offers(&mut world), world.last_trace().trigger_version), (1, 2));
    assert_eq!(world.last_trace().verdict, Verdict::Sent);
}

#[test]
fn s14_an_edge_of_another_kind_in_the_next_version_is_forgotten_at_its_deadline() {
    let mut world = home("event = \"schedule\"\nat = \"18:30\"");
    temperature(&mut world, 19.0);
    set_triggers(&mut world.rules, &tip("t", COLD, ""));
    world.pass(Span::hours(12));
    assert_eq!(offers(&mut world), 0);
    assert!(world.home_of(&thermostat()).devices[&thermostat()].edges.is_empty());
    each_ten_minutes(&mut world, &[19.0, 16.0]);
    assert_eq!(offers(&mut world), 1);
}

/// A home whose trigger becomes another one while its edge stands.
fn republished(before: &str, readings: &[f64], after: &str) -> World {
    let mut world = home_with(before);
    each_ten_minutes(&mut world, readings);
    assert_eq!(offers(&mut world), 0, "nothing leaves under the first version");
    world.rules.version = 2;
    set_triggers(&mut world.rules, after);
    world
}

#[test]
fn s14_what_stood_under_another_version_fires_only_where_it_stands_under_this_one() {
    let stays = |below: u32, lasts: &str| {
        tip(
            "t",
            &format!("event = \"telemetry\"\nfield = \"temperature\"\nfalls_below = {below}\nfor = \"{lasts}\""),
            "",
        )
    };
    let mut world = republished(&stays(17, "20 min"), &[19.0, 16.0], &stays(10, "20 min"));
    world.pass(Span::minutes(30));
    assert_eq!(offers(&mut world), 0, "16 is not below 10");

    let mut world = republished(&stays(17, "20 min"), &[19.0, 16.0], &stays(17, "25 min"));
    world.pass(Span::minutes(12));
    assert_eq!(offers(&mut world), 0, "below for 22 minutes, and it takes 25 now");
    world.pass(Span::minutes(6));
    assert_eq!(offers(&mut world), 1);

    let mut world =
        republished(&stays(17, "20 min"), &[19.0, 16.0], &tip("t", "event = \"event\"\ntype = \"cycle_done\"", ""));
    world.pass(Span::minutes(30));
    assert_eq!(offers(&mut world), 0, "nothing happened");

    // Armed, and then about an event: the next message of any kind must not send.
    let armed = conditional("local.hour >= 17");
    let mut world = republished(&armed, &[19.0, 16.0], &tip("t", "event = \"event\"\ntype = \"cycle_done\"", ""));
    temperature(&mut world, 15.0);
    world.pass(Span::hours(12));
    assert_eq!(offers(&mut world), 0);

    let colder = tip("t", &COLD.replace("17", "10").replace("18", "11"), "");
    let mut world = republished(&armed, &[19.0, 16.0], &colder);
    temperature(&mut world, 15.0);
    assert_eq!(offers(&mut world), 0, "15 is not below 10");
}

#[test]
fn s14_an_hour_is_the_one_of_the_present_version_and_of_the_present_zone() {
    let at = |hour: &str| tip("t", &format!("event = \"schedule\"\nat = \"{hour}\""), "");
    let mut world = republished(&at("18:30"), &[19.0], &at("21:00"));
    world.pass(Span::hours(10));
    assert_eq!(offers(&mut world), 0, "half past six is nobody's hour any more");
    world.pass(Span::hours(4));
    assert_eq!(offers(&mut world), 1);

    let mut world = home_with(&at("18:30"));
    temperature(&mut world, 19.0);
    let id = world.routes[&thermostat()];
    world.homes.get_mut(&id).unwrap().zone = Some(Zone::new("America/New_York").unwrap());
    world.pass(Span::hours(10));
    assert_eq!(offers(&mut world), 0, "it is afternoon there");
    world.pass(Span::hours(8));
    assert_eq!(offers(&mut world), 1);
}

#[test]
fn a_device_keeps_sixteen_entries_of_context_and_those_that_ended_make_room() {
    let mut world = home(COLD);
    let say = |world: &mut World, names: std::ops::Range<u32>, seconds: u32| {
        let entries: String = names.map(|n| format!("\"c{n}\":1,")).collect();
        world.up(&thermostat(), "up/context", &format!("{{{entries}\"ttl_s\":{seconds}}}"))
    };
    say(&mut world, 0..12, 60).unwrap();
    say(&mut world, 12..16, 3_600).unwrap();
    let kept = |world: &World| world.home_of(&thermostat()).devices[&thermostat()].context.len();
    assert!(say(&mut world, 16..17, 60).is_err(), "all sixteen are believed");
    assert!(say(&mut world, 11..17, 60).is_err(), "all of a message or nothing of it");
    assert!(say(&mut world, 100..160, 60).is_err(), "one message cannot pass the bound");
    assert_eq!(kept(&world), 16);
    world.pass(Span::minutes(2));
    say(&mut world, 16..28, 60).unwrap();
    assert_eq!(kept(&world), 16, "twelve had ended");
    assert!(world.home_of(&thermostat()).devices[&thermostat()].context.contains_key("c27"));
}

#[test]
fn a_feed_that_jumps_is_not_believed_until_two_of_its_words_agree() {
    let mild = "[trigger.when]\nall = 'context.outside < 15'\n";
    let mut world = home_with(&tip("t", COLD, mild));
    let say = |world: &mut World, value: f64| {
        let until = world.now + Span::hours(3);
        let name = FieldName::new("outside").unwrap();
        world.command(&thermostat(), Command::SetSteadyContext { name, value, step_max: 10.0, until }).unwrap()
    };
    let is_known = |world: &World| {
        let home = world.home_of(&thermostat());
        world.now < home.devices[&thermostat()].context["outside"].until
    };
    assert_eq!(say(&mut world, -2.0), Reply::Done, "nothing is known that it could jump from");
    assert_eq!((say(&mut world, 8.0), is_known(&world)), (Reply::Done, true), "ten degrees are no jump");
    assert_eq!((say(&mut world, -40.0), is_known(&world)), (Reply::Doubted, false));
    temperature(&mut world, 19.0);
    temperature(&mut world, 16.0);
    assert_eq!(offers(&mut world), 0, "below 15 as it is, nobody believes it");
    assert!(world.last_trace().steps.iter().any(|step| step.reason.starts_with("conditions_unknown")));
    assert_eq!((say(&mut world, 999.0), is_known(&world)), (Reply::Doubted, false), "nor does this agree with it");
    assert_eq!((say(&mut world, 8.0), is_known(&world)), (Reply::Doubted, false));
    assert_eq!(say(&mut world, 8.5), Reply::Done);
    assert_eq!(offers(&mut world), 1, "two words agree, and the edge still holds");
    world.pass(Span::hours(4));
    assert_eq!(
        (say(&mut world, 30.0), is_known(&world)),
        (Reply::Done, true),
        "of a feed that was away any word is good"
    );
}

#[test]
fn an_entry_that_made_room_and_is_said_again_in_the_same_message_makes_no_seventeenth() {
    let mut world = home(COLD);
    let say = |world: &mut World, names: &[&str], seconds: u32| {
        let entries: String = names.iter().map(|name| format!("\"{name}\":1,")).collect();
        world.up(&thermostat(), "up/context", &format!("{{{entries}\"ttl_s\":{seconds}}}")).unwrap();
    };
    say(&mut world, &["x"], 30);
    say(&mut world, &["y"], 60);
    let names: Vec<String> = (0..14).map(|n| format!("c{n}")).collect();
    say(&mut world, &names.iter().map(String::as_str).collect::<Vec<_>>(), 3_600);
    world.pass(Span::minutes(2));
    say(&mut world, &["a", "x"], 60);
    assert_eq!(world.home_of(&thermostat()).devices[&thermostat()].context.len(), 16);
}

#[test]
fn a_batch_that_swings_to_and_fro_is_looked_at_so_often_and_no_more() {
    let triggers: String =
        (0..20).map(|n| tip(&format!("t{n}"), COLD, "[trigger.audience]\ninclude = [\"nobody\"]\n")).collect();
    let mut world = home_with(&triggers);
    let start = world.now.0 - 3_600_000;
    let sample = |n: i64| {
        let (t, value) = (start + n * 1_000, if n % 2 == 0 { 19 } else { 16 });
        format!(r#"{{"t":{t},"f":{{"temperature":{value}}}}}"#)
    };
    let samples: Vec<String> = (0..200).map(sample).collect();
    world.up(&thermostat(), "up/telemetry", &format!("{{\"samples\":[{}]}}", samples.join(","))).unwrap();
    let looks = world.traces.len();
    assert_eq!(looks, hearthway_core::limits::LOOKS_PER_INPUT_MAX, "100 crossings of 20 triggers would be 2 000");
}

#[test]
fn the_same_records_and_the_same_inputs_give_the_same_edges() {
    let triggers = [
        tip("stays", &format!("{COLD}\nfor = \"20 min\""), ""),
        tip("counts", &format!("{COLD}\ncount = 2\nwithin = \"3h\""), ""),
        tip("silent", "event = \"telemetry\"\nabsent_for = \"45 min\"", ""),
        tip("hour", "event = \"schedule\"\nat = \"11:15\"", ""),
        tip("lost", "event = \"presence\"\nbecomes = \"lost\"\nfor = \"1h\"", ""),
    ]
    .concat();
    let mut world = home_with(&triggers);
    each_ten_minutes(&mut world, &[19.0, 16.0, 16.0, 16.0, 19.0, 16.0, 19.0]);
    world.pass(Span::hours(1));
    world.input(&thermostat(), What::ConnectionLost).unwrap();
    world.pass(Span::hours(2));
    let woke: std::collections::BTreeSet<_> = world.traces.iter().map(|trace| trace.trigger.to_string()).collect();
    assert_eq!(woke.len(), 5, "{woke:?}");
    // Once more from the log, each record written and read between two inputs, as after a restart.
    let mut homes = std::collections::BTreeMap::new();
    for (id, input) in &world.log {
        let home = homes.entry(*id).or_insert_with(|| hearthway_core::model::Household::empty(*id));
        let decision = decide(home, input, &world.rules, input.received_at);
        for change in &decision.changes {
            let stored = postcard::to_stdvec(change).unwrap();
            home.apply(&postcard::from_bytes(&stored).unwrap());
        }
        home.seq += 1;
        *home = postcard::from_bytes(&postcard::to_stdvec(home).unwrap()).unwrap();
    }
    assert_eq!(homes, world.homes);
    let _ = Zone::utc();
}
