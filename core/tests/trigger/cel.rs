//! The condition language beside Google's CEL, over what both share: the same text must come out the
//! same. The oracle is the `cel` crate; what is not known here has no key there, where reading it
//! is an error.
//!
//! Left out, because the two mean different things by it: `+` and `/` on texts and whole numbers
//! (all numbers are floating-point here), quantities with units, division by zero (unknown here,
//! infinite there), and `&&`, `||` with an error on one side, where CEL lets an interpreter choose.

#![allow(clippy::disallowed_types, reason = "the oracle takes no other map")]

use std::collections::HashMap;

use cel::{Context, Program, Value as CelValue};
use hearthway_core::id::FieldName;
use hearthway_core::model::{Few, Reading, Value};
use hearthway_core::trigger::condition::{Scope, Truth};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, TestRunner};

use crate::conditions::compile;
use crate::world::{home, now, thermostat};

/// What the device said; none of a field means that it never did.
#[derive(Debug, Clone)]
struct Said {
    temperature: Option<f64>,
    mode: Option<&'static str>,
    window_open: Option<bool>,
}

fn said() -> impl Strategy<Value = Said> {
    let temperature = prop::option::weighted(0.9, prop::sample::select(vec![-5.0, 0.0, 16.4, 17.0, 21.5]));
    let mode = prop::option::weighted(0.9, prop::sample::select(vec!["heat", "off"]));
    let window_open = prop::option::weighted(0.9, any::<bool>());
    (temperature, mode, window_open).prop_map(|(temperature, mode, window_open)| Said {
        temperature,
        mode,
        window_open,
    })
}

fn pick(of: &'static [&'static str]) -> impl Strategy<Value = String> {
    prop::sample::select(of).prop_map(str::to_owned)
}

fn numbers() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        pick(&["telemetry.temperature", "household.size", "household.devices", "local.hour", "slot.used", "local.day"]),
        pick(&["0.0", "1.0", "2.5", "16.4", "17.0", "100.0"]),
    ];
    leaf.prop_recursive(3, 8, 2, |inner| {
        prop_oneof![
            (inner.clone(), pick(&["+", "-", "*"]), inner.clone()).prop_map(|(a, op, b)| format!("({a} {op} {b})")),
            (inner.clone(), pick(&["2.0", "0.5"])).prop_map(|(a, b)| format!("({a} / {b})")),
            inner.clone().prop_map(|a| format!("(-{a})")),
            (flags(), inner.clone(), inner).prop_map(|(c, a, b)| format!("({c} ? {a} : {b})")),
        ]
    })
}

fn flags() -> impl Strategy<Value = String> {
    pick(&["telemetry.window_open", "telemetry.mode == \"heat\"", "has(telemetry.temperature)"])
}

fn truths() -> impl Strategy<Value = String> {
    let texts = || pick(&["profile.locale", "profile.role", "telemetry.mode", "household.zone", "context.presence"]);
    let words = || pick(&["\"fr-FR\"", "\"fr\"", "\"owner\"", "'home'", "\"e\"", "\"\""]);
    let leaf = prop_oneof![
        flags(),
        (numbers(), pick(&["==", "!=", "<", "<=", ">", ">="]), numbers())
            .prop_map(|(a, op, b)| format!("{a} {op} {b}")),
        numbers().prop_map(|a| format!("{a} in [0.0, 1.0, 16.4, 18.0]")),
        (pick(&["\"eco\"", "\"staff\"", "\"home-owners\""])).prop_map(|a| format!("{a} in profile.segments")),
        pick(&[
            "telemetry.mode in [\"heat\"]",
            "telemetry.mode in [\"off\", \"heat\"]",
            "profile.role in [\"owner\", \"buyer\"]"
        ]),
        (texts(), pick(&["startsWith", "endsWith", "contains"]), words()).prop_map(|(a, f, b)| format!("{a}.{f}({b})")),
        (pick(&["profile.locale", "household.zone"]), pick(&["==", "!="]), words())
            .prop_map(|(a, op, b)| format!("{a} {op} {b}")),
        pick(&["size(profile.segments) == 2", "profile.locale.size() > 4", "size(profile.locale) < 5"]),
    ];
    leaf.prop_recursive(4, 16, 3, |inner| {
        prop_oneof![
            inner.clone().prop_map(|a| format!("!({a})")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a}) && ({b})")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a}) || ({b})")),
            (inner.clone(), inner.clone(), inner.clone()).prop_map(|(a, b, c)| format!("(({a}) ? ({b}) : ({c}))")),
            // Without parentheses: which binds closer is part of the language.
            (inner.clone(), inner).prop_map(|(a, b)| format!("{a} || !{a2} && {b}", a2 = "telemetry.window_open")),
        ]
    })
}

fn here(source: &str, said: &Said) -> Option<Truth> {
    let condition = compile(source).ok()?;
    let ((household, mut device), description) = (home(), thermostat());
    device.reported = Few::new();
    let mut report = |field: &str, value: Option<Value>| {
        if let Some(value) = value {
            device.reported.insert(FieldName::new(field).unwrap(), Reading { value, t: now() });
        }
    };
    report("temperature", said.temperature.map(Value::Number));
    report("mode", said.mode.map(|mode| Value::Text(mode.into())));
    report("window_open", said.window_open.map(Value::Bool));
    let slot = hearthway_core::id::SlotId::new("air_filter").unwrap();
    let scope = Scope {
        household: &household,
        device: &device,
        description: &description,
        slot: Some(&slot),
        event: None,
        now: now(),
    };
    Some(condition.truth(&scope))
}

fn map(entries: Vec<(&str, Option<CelValue>)>) -> CelValue {
    let known = entries.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?)));
    known.collect::<HashMap<String, CelValue>>().into()
}

/// None where CEL says that it cannot be told.
fn there(source: &str, said: &Said) -> Option<bool> {
    let ((household, device), local) = (home(), home().0.zone.unwrap().local(now()));
    let text = |text: &str| Some(CelValue::from(text));
    let number = |number: f64| Some(CelValue::from(number));
    let member = household.members.values().next().unwrap();
    let segments: Vec<CelValue> = member.segments.iter().map(|segment| segment.as_str().into()).collect();
    let mut context = Context::default();
    let telemetry = vec![
        ("temperature", said.temperature.map(CelValue::from)),
        ("mode", said.mode.map(CelValue::from)),
        ("window_open", said.window_open.map(CelValue::from)),
    ];
    let used = device.slots.values().next().unwrap().value("used").unwrap();
    let Value::Number(used) = used else { panic!("{used} is no number") };
    for (name, entries) in [
        ("telemetry", telemetry),
        ("slot", vec![("used", number(used))]),
        ("context", vec![("presence", text("home"))]),
        ("local", vec![("hour", number(local.hour().into())), ("day", number(local.day().into()))]),
        (
            "household",
            vec![
                ("size", number(household.members.len() as f64)),
                ("devices", number(household.devices.len() as f64)),
                ("zone", text(household.zone.as_ref().unwrap().as_str())),
            ],
        ),
        (
            "profile",
            vec![
                ("segments", Some(segments.into())),
                ("locale", text(member.locale.as_deref().unwrap())),
                ("role", text(member.role.as_str())),
            ],
        ),
    ] {
        context.add_variable_from_value(name, map(entries));
    }
    let program = Program::compile(source).unwrap_or_else(|error| panic!("no CEL: {source}: {error}"));
    match program.execute(&context) {
        Ok(CelValue::Bool(truth)) => Some(truth),
        Ok(other) => panic!("{source} is no truth value: {other:?}"),
        Err(_) => None,
    }
}

#[test]
fn a_condition_means_what_it_means_in_cel() {
    let (mut known, mut unknown) = (0, 0);
    let mut runner = TestRunner::new(Config { cases: 4_000, ..Config::default() });
    let runs = runner.run(&(truths(), said()), |(source, said)| {
        // Too large, or with a part that is always true: refused here, and that is another test's matter.
        let Some(here) = here(&source, &said) else { return Ok(()) };
        match there(&source, &said) {
            Some(there) => prop_assert_eq!(here, if there { Truth::True } else { Truth::False }, "{}", source),
            None if here == Truth::Unknown => {}
            // Decided by the other side alone.
            None => prop_assert!(source.contains("&&") || source.contains("||"), "{}", source),
        }
        Ok(())
    });
    runs.unwrap_or_else(|failure| panic!("{failure}"));
    // Enough of each must have been compared.
    let mut runner = TestRunner::deterministic();
    for _ in 0..500 {
        let (source, said) = (truths(), said()).new_tree(&mut runner).unwrap().current();
        match here(&source, &said) {
            Some(Truth::True | Truth::False) => known += 1,
            Some(Truth::Unknown) => unknown += 1,
            None => {}
        }
    }
    assert!(known >= 100 && unknown >= 10, "{known} known and {unknown} unknown of 500");
}
