//! The condition language: what it takes, what it refuses, how it comes out.

use hearthway_core::id::{FieldName, SlotId};
use hearthway_core::model::{Reading, Value};
use hearthway_core::time::Span;
use hearthway_core::trigger::condition::{Condition, DEPTH_MAX, Fault, LIST_MAX, NODES_MAX, Schema, Scope, Truth};
use hearthway_core::wire::EventUp;

use crate::world::{at, coffee_machine, home, now, thermostat};

pub fn compile(source: &str) -> Result<Condition, Vec<Fault>> {
    let model = thermostat();
    let slot = SlotId::new("air_filter").unwrap();
    compile_for(
        source,
        &Schema { models: vec![&model], slot: Some(&slot), event: true, products: ["flt-20x25"].into() },
    )
}
fn compile_for(source: &str, schema: &Schema<'_>) -> Result<Condition, Vec<Fault>> {
    Condition::compile(source, schema)
}

fn truth(source: &str) -> Truth {
    let condition = compile(source).unwrap_or_else(|faults| panic!("{source}: {faults:#?}"));
    let ((household, device), description) = (home(), thermostat());
    let slot = SlotId::new("air_filter").unwrap();
    let code = (FieldName::new("code").unwrap(), Value::Text("E7".into()));
    let event = EventUp { r#type: "error".into(), t: None, data: vec![code] };
    let scope = Scope {
        household: &household,
        device: &device,
        description: &description,
        slot: Some(&slot),
        event: Some(&event),
        now: now(),
    };
    let evaluation = condition.evaluate(&scope);
    assert_eq!(condition.truth(&scope), evaluation.truth, "{source}");
    evaluation.truth
}

#[test]
fn each_operator_and_path_comes_out_as_written() {
    for (source, expected) in [
        ("telemetry.temperature < 17", Truth::True),
        ("telemetry.temperature < 16.4", Truth::False),
        ("telemetry.temperature <= 16.4", Truth::True),
        ("telemetry.temperature < \"17 °C\"", Truth::True),
        ("17 > telemetry.temperature", Truth::True),
        ("telemetry.temperature * 2 - 1 > 31.7", Truth::True),
        ("telemetry.temperature + 2 * 3 > 22", Truth::True),
        ("(telemetry.temperature + 2) * 3 > 50", Truth::True),
        ("-telemetry.temperature < 0", Truth::True),
        ("telemetry.temperature / (household.size - 1) > 0", Truth::Unknown),
        ("telemetry.mode == 'heat'", Truth::True),
        ("telemetry.mode != \"heat\"", Truth::False),
        ("telemetry.temperature in [16.4, 17]", Truth::True),
        ("\"eco\" in profile.segments", Truth::True),
        ("\"staff\" in profile.segments", Truth::False),
        ("size(profile.segments) == 2", Truth::True),
        ("profile.locale.startsWith(\"fr\")", Truth::True),
        ("profile.locale.endsWith(\"FR\") && profile.locale.contains(\"-\")", Truth::True),
        ("profile.locale.size() == 5", Truth::True),
        ("profile.role == \"owner\"", Truth::True),
        ("household.size == 1 && household.devices == 1", Truth::True),
        ("household.zone == \"Europe/Paris\"", Truth::True),
        ("device.presence == \"unseen\"", Truth::True),
        ("device.presence in [\"online\", \"sleeping\"]", Truth::False),
        ("context.presence == \"home\"", Truth::True),
        ("local.hour == 18 && local.minute == 30", Truth::True),
        ("local.weekday == \"tue\" && local.day == 10 && local.month == 11", Truth::True),
        ("slot.used > \"600 h\"", Truth::True),
        ("slot.remaining == 108", Truth::True),
        ("slot.used / slot.capacity > 0.8", Truth::True),
        ("event.type == \"error\" && event.data.code == \"E7\"", Truth::True),
        ("has(telemetry.temperature) && !has(telemetry.runtime)", Truth::True),
        ("telemetry.mode == \"heat\" ? telemetry.temperature < 17 : telemetry.temperature < 5", Truth::True),
        ("(telemetry.mode == \"heat\" ? 17 : 5) > telemetry.temperature", Truth::True),
        ("household.days_since_order(\"flt-20x25\", 9999) > 90", Truth::True),
        ("!(telemetry.temperature > 17) // and a comment", Truth::True),
    ] {
        assert_eq!(truth(source), expected, "{source}");
    }
}

#[test]
fn what_is_not_known_is_unknown_and_never_becomes_true_under_not() {
    for source in [
        "telemetry.runtime > 5",       // never reported
        "telemetry.setpoint > 18",     // two hours old, fresh for thirty minutes
        "context.tariff == \"low\"",   // its end is this instant
        "context.weather == \"cold\"", // never said
        "event.data.code > 5",         // came as a text
        "slot.on_hand == 0",           // never said
        "telemetry.runtime * telemetry.temperature > 1",
        "telemetry.runtime in [1, 2]",
    ] {
        assert_eq!(truth(source), Truth::Unknown, "{source}");
        assert_eq!(truth(&format!("!({source})")), Truth::Unknown, "!({source})");
        assert_eq!(truth(&format!("({source}) || telemetry.temperature < 17")), Truth::True, "{source}");
        assert_eq!(truth(&format!("({source}) && telemetry.temperature > 17")), Truth::False, "{source}");
        assert_eq!(truth(&format!("({source}) && telemetry.temperature < 17")), Truth::Unknown, "{source}");
    }
}

#[test]
fn each_leaf_keeps_its_value_source_and_age() {
    let condition = compile("telemetry.temperature < 17 && !(telemetry.setpoint > 18)\n || local.hour < 6").unwrap();
    let ((household, device), description) = (home(), thermostat());
    let scope = Scope {
        household: &household,
        device: &device,
        description: &description,
        slot: None,
        event: None,
        now: now(),
    };
    let evaluation = condition.evaluate(&scope);
    let shown: Vec<String> = evaluation.leaves.iter().map(ToString::to_string).collect();
    assert_eq!(
        shown,
        [
            "telemetry.temperature < 17: true (telemetry.temperature = 16.4, 40 s old)",
            "telemetry.setpoint > 18: unknown (telemetry.setpoint is no longer believed, 2 h old)",
            "local.hour < 6: false (local.hour = 18)",
        ]
    );
    assert_eq!(evaluation.truth, Truth::Unknown);
    assert_eq!(failing(&condition), ["telemetry.setpoint"], "the hour alone would not have made it unknown");
}

/// What made a condition fail or unknown, by name.
fn failing(condition: &Condition) -> Vec<String> {
    let ((household, device), description) = (home(), thermostat());
    let scope = Scope {
        household: &household,
        device: &device,
        description: &description,
        slot: None,
        event: None,
        now: now(),
    };
    condition.evaluate(&scope).failing().iter().map(|leaf| leaf.source.clone()).collect()
}

#[test]
fn what_made_a_condition_fail_is_named_and_nothing_that_another_part_stood_in_for() {
    // The temperature is 16.4, the hour 18; the setpoint is too old to be believed.
    for (source, blamed) in [
        ("local.hour > 5 && !(telemetry.temperature < 17)", &["telemetry.temperature"][..]),
        ("(local.hour < 3 || local.hour > 5) && telemetry.temperature > 17", &["telemetry.temperature"]),
        ("local.hour < 3 || telemetry.temperature > 17", &["local.hour", "telemetry.temperature"]),
        ("!(local.hour > 3 && telemetry.temperature < 17)", &["local.hour", "telemetry.temperature"]),
        ("!(local.hour < 3 || telemetry.temperature < 17)", &["telemetry.temperature"]),
        ("telemetry.setpoint > 18 && telemetry.temperature > 17", &["telemetry.temperature"]),
        ("telemetry.setpoint > 18 && telemetry.temperature < 17", &["telemetry.setpoint"]),
        ("telemetry.temperature < telemetry.setpoint", &["telemetry.setpoint"]),
        ("telemetry.setpoint > telemetry.temperature", &["telemetry.setpoint"]),
        ("local.hour > 5 ? telemetry.temperature > 17 : local.hour > 3", &["telemetry.temperature"]),
        ("telemetry.setpoint > 18 ? local.hour > 5 : local.hour > 3", &["telemetry.setpoint"]),
        ("telemetry.temperature < 17 || local.hour < 3", &[]),
    ] {
        assert_eq!(failing(&compile(source).unwrap()), blamed, "{source}");
    }
}

#[test]
fn a_field_without_max_age_stays_known() {
    let condition = compile("telemetry.mode == \"heat\"").unwrap();
    let ((household, mut device), description) = (home(), thermostat());
    let old = Reading { value: Value::Text("heat".into()), t: now() - Span::days(300) };
    device.reported.insert(FieldName::new("mode").unwrap(), old);
    let scope = Scope {
        household: &household,
        device: &device,
        description: &description,
        slot: None,
        event: None,
        now: now(),
    };
    assert_eq!(condition.truth(&scope), Truth::True);
}

#[test]
fn faults_are_told_with_place_and_help() {
    for (source, place, code, help) in [
        ("telemetry.temprature < 17", "temprature", "condition.unknown_field", "`temperature`"),
        ("device.temperature < 17", "device.temperature", "condition.unknown_field", "`telemetry.temperature`"),
        ("locl.hour > 5", "locl", "condition.unknown_field", "`local`"),
        ("local.hours > 5", "hours", "condition.unknown_field", "`hour`"),
        ("telemetry.mode == \"heet\"", "\"heet\"", "condition.value", "\"heat\""),
        ("telemetry.mode in [\"off\", \"hat\"]", "\"hat\"", "condition.value", "\"heat\""),
        ("telemetry.temperature < \"17 h\"", "\"17 h\"", "condition.unit", "in °C"),
        ("telemetry.temperature < \"warm\"", "\"warm\"", "condition.type", "17 °C"),
        (
            "telemetry.temperature > telemetry.runtime",
            "telemetry.temperature > telemetry.runtime",
            "condition.unit",
            "",
        ),
        ("telemetry.temperature == true", "telemetry.temperature == true", "condition.type", ""),
        ("telemetry.mode > \"heat\"", "telemetry.mode > \"heat\"", "condition.type", ""),
        ("telemetry.temperature", "telemetry.temperature", "condition.type", "compare it"),
        ("profile.segments == \"eco\"", "profile.segments == \"eco\"", "condition.type", "`in`"),
        ("local.hour = 5", "=", "condition.syntax", "`==`"),
        ("local.hour > 5 and local.hour < 9", "and", "condition.syntax", "`&&`"),
        ("local.hour >", "", "condition.syntax", ""),
        ("(local.hour > 5", "", "condition.syntax", ""),
        ("profile.locale == \"fr", "\"", "condition.syntax", "close it"),
        (
            "profile.locale.startWith(\"fr\")",
            "profile.locale.startWith(\"fr\")",
            "condition.unknown_function",
            "`startsWith`",
        ),
        (
            "household.days_since_order(\"flt-20x52\", 9) > 5",
            "\"flt-20x52\"",
            "condition.unknown_product",
            "`flt-20x25`",
        ),
        ("slot.flag == \"low\"", "flag", "condition.not_here", ""),
        ("telemetry.temperature > 100", "telemetry.temperature > 100", "condition.constant", "-40 and 80"),
        ("local.hour < 24", "local.hour < 24", "condition.constant", "0 and 23"),
        ("true && local.hour > 5", "true", "condition.constant", ""),
        ("local.hour > 5 || 1 < 2", "local.hour > 5 || 1 < 2", "condition.constant", ""),
        ("local.hour >= 22 && local.hour < 8", "local.hour < 8", "condition.constant", "`||`"),
        ("local.hour > 7 && local.hour < 8", "local.hour < 8", "condition.constant", ""),
        (
            "telemetry.mode == \"off\" && telemetry.mode == \"heat\"",
            "telemetry.mode == \"heat\"",
            "condition.constant",
            "",
        ),
        ("telemetry.mode in [\"off\", \"heat\"]", "telemetry.mode in [\"off\", \"heat\"]", "condition.constant", ""),
        (
            "context.presence == \"home\" && context.presence == \"away\"",
            "context.presence == \"away\"",
            "condition.constant",
            "",
        ),
        ("telemetry.temperature in []", "[]", "condition.constant", ""),
        // What says nothing beside the rest.
        ("local.hour > 5 && local.hour > 3", "local.hour > 3", "condition.constant", "leave it out"),
        ("local.hour > 3 && local.hour > 5", "local.hour > 3", "condition.constant", ""),
        ("local.hour > 5 && local.hour > 5", "local.hour > 5", "condition.constant", ""),
        ("local.hour >= 6 && local.hour > 5", "local.hour > 5", "condition.constant", ""),
        (
            "telemetry.temperature < 5 && telemetry.temperature <= 5",
            "telemetry.temperature <= 5",
            "condition.constant",
            "",
        ),
        (
            "telemetry.temperature > 5 && telemetry.temperature > 5.0",
            "telemetry.temperature > 5.0",
            "condition.constant",
            "",
        ),
        (
            "telemetry.mode == \"off\" && telemetry.mode != \"heat\"",
            "telemetry.mode != \"heat\"",
            "condition.constant",
            "",
        ),
        (
            "context.presence != \"away\" && context.presence == \"home\"",
            "context.presence != \"away\"",
            "condition.constant",
            "",
        ),
        (
            "telemetry.window_open && (telemetry.mode == \"off\" || telemetry.mode == \"heat\")",
            "telemetry.mode == \"off\" || telemetry.mode == \"heat\"",
            "condition.constant",
            "`has(",
        ),
        ("local.hour > 5 || local.hour < 9", "local.hour > 5 || local.hour < 9", "condition.constant", ""),
        (
            "telemetry.window_open || local.hour < 9 || local.hour >= 9",
            "telemetry.window_open || local.hour < 9 || local.hour >= 9",
            "condition.constant",
            "",
        ),
        (
            "context.presence == \"home\" || context.presence != \"home\"",
            "context.presence == \"home\" || context.presence != \"home\"",
            "condition.constant",
            "",
        ),
    ] {
        let faults = compile(source).expect_err(source);
        let fault = &faults[0];
        assert_eq!(faults.len(), 1, "{source}: {faults:#?}");
        assert_eq!(&source[fault.span.clone()], place, "{source}: {fault:?}");
        assert_eq!(fault.code, code, "{source}: {fault:?}");
        assert!(fault.help.as_deref().unwrap_or_default().contains(help), "{source}: {fault:?}");
    }
}

#[test]
fn parts_that_each_say_something_are_no_fault() {
    for source in [
        "local.hour > 5 && local.hour < 9",
        "local.hour > 5 && local.hour != 7",
        "local.hour != 7 && local.hour != 8",
        "local.hour < 5 || local.hour > 9",
        "telemetry.temperature < 5 || telemetry.temperature > 5",
        "telemetry.temperature <= 5 && telemetry.temperature != 5",
        "local.hour in [6, 8] && local.hour != 7",
        "context.presence == \"home\" || context.presence == \"away\"",
        "context.presence != \"home\" && context.presence != \"away\"",
        "telemetry.mode == \"off\" || local.hour > 5",
        "local.hour > 5 && (local.hour > 3 || telemetry.window_open)",
        "household.days_since_order(\"flt-20x25\", 0) > 9 && household.days_since_order(\"flt-20x25\", 99) > 5",
    ] {
        assert!(compile(source).is_ok(), "{source}: {:#?}", compile(source).err());
    }
}

#[test]
fn all_type_faults_of_a_condition_come_at_once() {
    let faults = compile("telemetry.temprature < 17 && local.hours > 5 && telemetry.mode == \"heet\"").unwrap_err();
    assert_eq!(faults.len(), 3);
}

#[test]
fn slot_and_event_are_known_only_where_they_wake_the_trigger() {
    let model = thermostat();
    let schema = Schema { models: vec![&model], ..Schema::default() };
    assert_eq!(compile_for("slot.used > 5", &schema).unwrap_err()[0].code, "condition.not_here");
    assert_eq!(compile_for("event.type == \"x\"", &schema).unwrap_err()[0].code, "condition.not_here");
}

#[test]
fn a_field_that_only_one_of_two_models_has_is_a_field() {
    let (a, b) = (thermostat(), coffee_machine());
    let schema = Schema { models: vec![&a, &b], ..Schema::default() };
    assert!(compile_for("telemetry.cups > 5 && telemetry.temperature < 17", &schema).is_ok());
    let mut other = coffee_machine();
    other.telemetry.insert(FieldName::new("temperature").unwrap(), other.telemetry["cups"].clone());
    let schema = Schema { models: vec![&a, &other], ..Schema::default() };
    let faults = compile_for("telemetry.temperature < 17", &schema).unwrap_err();
    assert_eq!(faults[0].message, "models th-200 and cm-300 declare `temperature` differently");
}

#[test]
fn a_condition_is_bounded() {
    let chain = |n: usize| (0..n).map(|i| format!("\"s{i}\" in profile.segments")).collect::<Vec<_>>().join(" && ");
    assert!(compile(&chain(NODES_MAX / 3)).is_ok());
    assert_eq!(compile(&chain(NODES_MAX)).unwrap_err()[0].code, "condition.too_large");
    let nested = |n: usize| format!("{}local.hour > 5{}", "(".repeat(n), ")".repeat(n));
    assert!(compile(&nested(DEPTH_MAX - 1)).is_ok());
    assert_eq!(compile(&nested(DEPTH_MAX)).unwrap_err()[0].code, "condition.too_large");
    assert_eq!(compile(&format!("{}has(slot.used)", "!".repeat(5_000))).unwrap_err()[0].code, "condition.too_large");
    let list = |n: usize| format!("telemetry.temperature in [{}]", vec!["7"; n].join(","));
    assert!(compile(&list(LIST_MAX)).is_ok());
    assert_eq!(compile(&list(LIST_MAX + 1)).unwrap_err()[0].code, "condition.too_large");
    assert_eq!(compile(&"x".repeat(100_000)).unwrap_err()[0].code, "condition.too_large");
}

#[test]
fn a_bound_on_local_time_turns_at_the_next_hour_minute_or_day() {
    let (home, _) = home();
    let turn = |source: &str| compile(source).unwrap().next_turn(&home, at("2026-11-10T18:30:12.345+01:00"));
    assert_eq!(turn("local.hour >= 17"), Some(at("2026-11-10T19:00:00+01:00")));
    assert_eq!(turn("local.hour >= 17 && local.minute > 5"), Some(at("2026-11-10T18:31:00+01:00")));
    assert_eq!(turn("local.weekday == \"sat\""), Some(at("2026-11-11T00:00:00+01:00")));
    assert_eq!(turn("telemetry.temperature < 17"), None);
    assert!(compile("local.month == 5").unwrap().uses_local_time());
    // On the hour itself the next turn is an hour later.
    let on_the_hour = compile("local.hour >= 17").unwrap().next_turn(&home, at("2026-11-10T18:00:00+01:00"));
    assert_eq!(on_the_hour, Some(at("2026-11-10T19:00:00+01:00")));
}

#[test]
fn without_a_zone_local_time_is_unknown() {
    let condition = compile("local.hour >= 17").unwrap();
    let ((mut household, device), description) = (home(), thermostat());
    household.zone = None;
    let scope = Scope {
        household: &household,
        device: &device,
        description: &description,
        slot: None,
        event: None,
        now: now(),
    };
    assert_eq!(condition.truth(&scope), Truth::Unknown);
}
