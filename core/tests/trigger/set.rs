//! The index: what it finds is what a look at every trigger finds.

use std::sync::Arc;

use hearthway_core::id::{FieldName, KindId, ModelId, RetailerId, SlotId, TriggerId};
use hearthway_core::model::Value;
use hearthway_core::rules::RuleSet;
use hearthway_core::time::Span;
use hearthway_core::trigger::{Concerned, Crossing, Moment, Source, Trigger, TriggerSet, Watched, World, compile_json};
use proptest::prelude::*;
use serde_json::json;

use crate::world::{retailer, rules, world};

fn trigger(id: &str, on: serde_json::Value, link: &str) -> Arc<Trigger> {
    static RULES: std::sync::LazyLock<RuleSet> = std::sync::LazyLock::new(rules);
    let rules = &*RULES;
    let value = json!({
        "id": id, "kind": "tip", "on": on, "audience": {"link": link},
        "offer": {"text": {"fr": {"title": "a", "body": "b"}}},
    });
    let world = World { retailer: retailer(), ..world(rules) };
    compile_json(&value, &retailer(), 1, &world).unwrap_or_else(|problems| panic!("{problems:#?}"))
}
fn names() -> (KindId, ModelId, FieldName) {
    (KindId::new("thermostat").unwrap(), ModelId::new("th-200").unwrap(), FieldName::new("temperature").unwrap())
}
fn ids<'a>(found: impl Iterator<Item = &'a Arc<Trigger>>) -> Vec<&'a str> {
    found.map(|trigger| trigger.id.as_str()).collect()
}

#[test]
fn a_trigger_is_found_by_what_it_watches_and_for_whom() {
    let warm = |device: serde_json::Value| json!({"event": "telemetry", "device": device, "field": "temperature", "rises_above": 25});
    let set = TriggerSet::build([
        trigger("by-model", warm(json!({"model": "th-200"})), "required"),
        trigger("by-kind", warm(json!({"kind": "thermostat"})), "anonymous_ok"),
        trigger("by-both", warm(json!({"kind": "thermostat", "model": ["th-200"]})), "required"),
        trigger("by-any", warm(json!({})), "required"),
        trigger(
            "slot",
            json!({"event": "slot", "slot": "air_filter", "field": "used", "rises_above": 600}),
            "required",
        ),
        trigger("event", json!({"event": "event", "type": "error"}), "required"),
    ]);
    let (kind, model, field) = names();
    let (shop, other) = (retailer(), RetailerId::new("shop-b").unwrap());
    let slot = SlotId::new("air_filter").unwrap();
    let other_model = ModelId::new("th-300").unwrap();
    let at_shop = Concerned { retailer: Some(&shop), kind: &kind, model: &model };
    let other_model = Concerned { model: &other_model, ..at_shop };
    let (prospect, elsewhere) =
        (Concerned { retailer: None, ..at_shop }, Concerned { retailer: Some(&other), ..at_shop });
    let telemetry = Watched::Telemetry(&field);
    assert_eq!(ids(set.watching(at_shop, telemetry)), ["by-both", "by-model", "by-kind", "by-any"]);
    assert_eq!(ids(set.watching(other_model, telemetry)), ["by-kind", "by-any"]);
    assert_eq!(ids(set.watching(prospect, telemetry)), ["by-kind"]);
    assert_eq!(ids(set.watching(elsewhere, telemetry)), [""; 0]);
    let (used, remaining) = (FieldName::new("used").unwrap(), FieldName::new("remaining").unwrap());
    assert_eq!(ids(set.watching(at_shop, Watched::Slot(&slot, &used))), ["slot"]);
    assert_eq!(ids(set.watching(at_shop, Watched::Slot(&slot, &remaining))), [""; 0]);
    assert_eq!(ids(set.on_event(at_shop, "error")), ["event"]);
    assert_eq!(ids(set.at_moment(at_shop, Moment::Linked)), [""; 0]);
    assert_eq!((set.len(), set.iter().count()), (6, 6));
    assert!(set.get(&shop, &TriggerId::new("slot").unwrap()).is_some());
    let (before, after) = (Value::Number(590.0), Value::Number(612.0));
    let crossed = set.crossed(at_shop, Watched::Slot(&slot, &used), Some(&before), &after);
    assert_eq!(ids(crossed), ["slot"]);
}

#[test]
fn an_id_that_a_prospect_remembers_is_a_trigger_that_needs_no_link() {
    let warm = || json!({"event": "telemetry", "field": "temperature", "rises_above": 25});
    let set = TriggerSet::build([trigger("linked", warm(), "required"), trigger("anyone", warm(), "anonymous_ok")]);
    let known = |retailer, id: &str| set.known(retailer, &TriggerId::new(id).unwrap()).is_some();
    assert_eq!([known(None, "linked"), known(None, "anyone"), known(Some(&retailer()), "linked")], [false, true, true]);
}

/// The naive evaluator: the definition of an edge, read from `previous` to `value` for one trigger,
/// without any index and without the code that the index is built on.
fn crosses(trigger: &Trigger, watched: Watched<'_>, previous: Option<&Value>, value: &Value) -> bool {
    let edge = match (&trigger.on.source, watched) {
        (Source::Telemetry { field, edge }, Watched::Telemetry(wanted)) if field == wanted => edge,
        (Source::Trend { field, over, edge }, Watched::Trend(wanted, of)) if field == wanted && *over == of => edge,
        (Source::Slot { slot, field, edge }, Watched::Slot(at, wanted)) if slot == at && field == wanted => edge,
        (Source::Presence { edge }, Watched::Presence) => edge,
        (Source::Context { name, edge }, Watched::Context(wanted)) if name.as_str() == wanted => edge,
        _ => return false,
    };
    match (&edge.crossing, previous, value) {
        (Crossing::FallsBelow { threshold, .. }, Some(Value::Number(a)), Value::Number(b)) => {
            a >= threshold && b < threshold
        }
        (Crossing::FallsBelow { threshold, .. }, None, Value::Number(b)) => edge.on_first && b < threshold,
        (Crossing::RisesAbove { threshold, .. }, Some(Value::Number(a)), Value::Number(b)) => {
            a <= threshold && b > threshold
        }
        (Crossing::RisesAbove { threshold, .. }, None, Value::Number(b)) => edge.on_first && b > threshold,
        (Crossing::FallsBelow { .. } | Crossing::RisesAbove { .. }, _, _) => false,
        (Crossing::Becomes(wanted), Some(before), value) => before != wanted && value == wanted,
        (Crossing::Becomes(wanted), None, value) => edge.on_first && value == wanted,
        (Crossing::Changes, before, value) => before.is_some_and(|before| before != value),
    }
}

/// What a random trigger watches: of the thermostat or of any device, on one of several values.
fn on(what: u8, crossing: u8, threshold: i8, on_first: bool, device: u8) -> serde_json::Value {
    let device = [
        json!({}),
        json!({"kind": "thermostat"}),
        json!({"model": "th-200"}),
        json!({"kind": ["thermostat", "coffee_machine"]}),
    ][usize::from(device % 4)]
    .clone();
    let on = match what % 7 {
        0 => json!({"event": "telemetry", "field": "temperature"}),
        1 => json!({"event": "telemetry", "field": "mode"}),
        2 => json!({"event": "telemetry", "field": "window_open"}),
        3 => json!({"event": "slot", "slot": "air_filter", "field": "remaining"}),
        4 => json!({"event": "presence"}),
        5 => json!({"event": "context", "field": "tariff"}),
        _ => json!({"event": "telemetry", "field": "temperature", "trend_over": if on_first { "2h" } else { "6h" }}),
    };
    let number = if what % 7 == 3 { json!(f64::from(threshold) + 20.0) } else { json!(threshold) };
    let value = match what % 7 {
        0 | 3 | 6 => number.clone(),
        1 => json!(if threshold < 0 { "off" } else { "heat" }),
        2 => json!(threshold < 0),
        4 => json!(if threshold < 0 { "online" } else { "lost" }),
        _ => [json!("low"), json!("high"), json!(true), number.clone()][usize::from(threshold.unsigned_abs() % 4)]
            .clone(),
    };
    let (key, value) = match (crossing % 4, what % 7) {
        (0, 0 | 3 | 5 | 6) => ("falls_below", number),
        (1, 0 | 3 | 5) | (_, 6) => ("rises_above", number),
        (2, _) => ("changes", json!(true)),
        _ => ("becomes", value),
    };
    let mut on = on;
    let keys = on.as_object_mut().unwrap();
    keys.insert("device".to_owned(), device);
    keys.insert(key.to_owned(), value);
    match key {
        "changes" => keys.insert("broad".to_owned(), json!(true)),
        _ => keys.insert("on_first".to_owned(), json!(on_first)),
    };
    on
}

/// A random value of what is watched.
fn value(what: u8, n: i8) -> Value {
    let text = |text: &str| Value::Text(text.into());
    match what % 7 {
        0 | 6 => Value::Number(n.into()),
        1 => text(if n < 0 { "off" } else { "heat" }),
        2 => Value::Bool(n < 0),
        3 => Value::Number(f64::from(n) + 20.0),
        4 => text(if n < 0 { "online" } else { "lost" }),
        _ => [text("low"), text("high"), Value::Bool(true), Value::Number(n.into())][usize::from(n.unsigned_abs() % 4)]
            .clone(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]
    #[test]
    fn the_index_finds_what_a_look_at_every_trigger_finds(
        rules in prop::collection::vec((any::<u8>(), any::<u8>(), -5..5i8, any::<bool>(), any::<u8>(), any::<bool>()), 0..24),
        steps in prop::collection::vec((any::<u8>(), prop::option::weighted(0.9, -6..6i8), -6..6i8, 0..4u8), 1..40),
    ) {
        let triggers: Vec<Arc<Trigger>> = rules.iter().enumerate().map(|(i, (what, crossing, threshold, on_first, device, anyone))| {
            let link = if *anyone { "anonymous_ok" } else { "required" };
            trigger(&format!("t{i:02}"), on(*what, *crossing, *threshold, *on_first, *device), link)
        }).collect();
        let set = TriggerSet::build(triggers.iter().cloned());
        let (thermostat, th_200, temperature) = names();
        let (coffee_machine, cm_300) = (KindId::new("coffee_machine").unwrap(), ModelId::new("cm-300").unwrap());
        let [mode, window, remaining] = ["mode", "window_open", "remaining"].map(|name| FieldName::new(name).unwrap());
        let (slot, shop) = (SlotId::new("air_filter").unwrap(), retailer());
        for (what, previous, next, device) in steps {
            let watched = [
                Watched::Telemetry(&temperature),
                Watched::Telemetry(&mode),
                Watched::Telemetry(&window),
                Watched::Slot(&slot, &remaining),
                Watched::Presence,
                Watched::Context("tariff"),
                Watched::Trend(&temperature, Span::hours(if device < 2 { 2 } else { 6 })),
            ][usize::from(what % 7)];
            let (kind, model) = if device % 2 == 0 { (&thermostat, &th_200) } else { (&coffee_machine, &cm_300) };
            let asked = Concerned { retailer: (device < 2).then_some(&shop), kind, model };
            let (previous, next) = (previous.map(|n| value(what, n)), value(what, next));
            let mut found = ids(set.crossed(asked, watched, previous.as_ref(), &next));
            found.sort_unstable();
            let naive = ids(triggers.iter().filter(|trigger| {
                trigger.on.covers(kind, model)
                    && (asked.retailer.is_some() || !trigger.link_required)
                    && crosses(trigger, watched, previous.as_ref(), &next)
            }));
            prop_assert_eq!(found, naive);
        }
    }
}
