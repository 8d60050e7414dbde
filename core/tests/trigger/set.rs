//! The index: what it finds is what a look at every trigger finds.

use std::sync::Arc;

use hearthway_core::id::{FieldName, KindId, ModelId, RetailerId, SlotId, TriggerId};
use hearthway_core::model::Value;
use hearthway_core::trigger::{Crossing, Source, Trigger, TriggerSet, World, compile_json};
use proptest::prelude::*;
use serde_json::json;

use crate::world::{retailer, rules, world};

fn trigger(id: &str, on: serde_json::Value, link: &str) -> Arc<Trigger> {
    let rules = rules();
    let value = json!({
        "id": id, "kind": "tip", "on": on, "audience": {"link": link},
        "offer": {"text": {"fr": {"title": "a", "body": "b"}}},
    });
    let world = World { retailer: retailer(), ..world(&rules) };
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
    assert_eq!(ids(set.on_telemetry(Some(&shop), &kind, &model, &field)), ["by-both", "by-model", "by-kind", "by-any"]);
    assert_eq!(ids(set.on_telemetry(Some(&shop), &kind, &other_model, &field)), ["by-kind", "by-any"]);
    assert_eq!(ids(set.on_telemetry(None, &kind, &model, &field)), ["by-kind"]);
    assert_eq!(ids(set.on_telemetry(Some(&other), &kind, &model, &field)), [""; 0]);
    assert_eq!(ids(set.on_slot(Some(&shop), &kind, &model, &slot, "used")), ["slot"]);
    assert_eq!(ids(set.on_slot(Some(&shop), &kind, &model, &slot, "remaining")), [""; 0]);
    assert_eq!(ids(set.on_event(Some(&shop), &kind, &model, "error")), ["event"]);
    assert_eq!((set.len(), set.iter().count()), (6, 6));
    assert!(set.get(&shop, &TriggerId::new("slot").unwrap()).is_some());
    let (before, after) = (Value::Number(590.0), Value::Number(612.0));
    let crossed = set.crossed_by_slot(Some(&shop), &kind, &model, &slot, "used", Some(&before), &after);
    assert_eq!(ids(crossed), ["slot"]);
}

/// The edge's definition, read from `previous` to `value`, without any index.
fn crosses(trigger: &Trigger, previous: Option<&Value>, value: &Value) -> bool {
    let Source::Telemetry { edge, .. } = &trigger.on.source else { return false };
    match (previous, &edge.crossing) {
        (None, crossing) => edge.on_first && crossing.beyond(value),
        (Some(Value::Number(_)), Crossing::FallsBelow { .. } | Crossing::RisesAbove { .. }) => {
            !edge.crossing.beyond(previous.unwrap()) && edge.crossing.beyond(value)
        }
        (Some(_), Crossing::FallsBelow { .. } | Crossing::RisesAbove { .. }) => false,
        (Some(previous), crossing @ Crossing::Becomes(_)) => previous != value && crossing.beyond(value),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn the_index_finds_what_a_look_at_every_trigger_finds(
        rules in prop::collection::vec((0..3u8, -5..5i8, any::<bool>()), 0..12),
        steps in prop::collection::vec((prop::option::of(-6..6i8), -6..6i8), 1..20),
    ) {
        let triggers: Vec<Arc<Trigger>> = rules.iter().enumerate().map(|(i, (crossing, threshold, on_first))| {
            let crossing = ["falls_below", "rises_above", "becomes"][*crossing as usize];
            let on = json!({"event": "telemetry", "field": "temperature", crossing: threshold, "on_first": on_first});
            trigger(&format!("t{i:02}"), on, "required")
        }).collect();
        let set = TriggerSet::build(triggers.iter().cloned());
        let (kind, model, field) = names();
        for (previous, value) in steps {
            let (previous, value) = (previous.map(|x| Value::Number(x.into())), Value::Number(value.into()));
            let mut found = ids(set.crossed_by_telemetry(Some(&retailer()), &kind, &model, &field, previous.as_ref(), &value));
            found.sort_unstable();
            let naive = ids(triggers.iter().filter(|trigger| crosses(trigger, previous.as_ref(), &value)));
            prop_assert_eq!(found, naive);
        }
    }
}
