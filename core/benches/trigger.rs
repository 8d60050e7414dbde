//! What triggers cost: `cargo bench -p hearthway-core --bench trigger`.
#![allow(clippy::unwrap_used, missing_docs)]

#[path = "../tests/trigger/world.rs"]
#[allow(dead_code)]
mod world;

use std::sync::Arc;

use divan::{Bencher, black_box};
use hearthway_core::id::{FieldName, KindId, ModelId};
use hearthway_core::model::Value;
use hearthway_core::trigger::condition::{Condition, Schema, Scope};
use hearthway_core::trigger::{Concerned, SourceFile, Trigger, TriggerSet, Watched, check, compile_json};
use serde_json::json;
use world::{home, now, retailer, rules, thermostat};

fn main() {
    divan::main();
}

fn triggers(count: usize) -> Vec<Arc<Trigger>> {
    let rules = rules();
    let world = world::world(&rules);
    (0..count)
        .map(|i| {
            let threshold = 5.0 + 10.0 * i as f64 / count as f64;
            let value = json!({
                "id": format!("t{i}"), "kind": "tip",
                "on": {"event": "telemetry", "device": {"kind": "thermostat"}, "field": "temperature", "falls_below": threshold},
                "offer": {"text": {"fr": {"title": "a", "body": "b"}}},
            });
            compile_json(&value, &retailer(), 1, &world).unwrap()
        })
        .collect()
}

/// One message, all triggers on its field, none crossed.
#[divan::bench(args = [10, 100, 1_000, 10_000])]
fn match_without_a_crossing(bencher: Bencher<'_, '_>, count: usize) {
    let set = TriggerSet::build(triggers(count));
    let (kind, model) = (KindId::new("thermostat").unwrap(), ModelId::new("th-200").unwrap());
    let (field, shop) = (FieldName::new("temperature").unwrap(), retailer());
    let (before, after) = (Value::Number(20.0), Value::Number(20.4));
    let device = Concerned { retailer: Some(&shop), kind: &kind, model: &model };
    bencher.bench_local(|| {
        set.crossed(device, Watched::Telemetry(&field), Some(black_box(&before)), black_box(&after)).count()
    });
}

/// The truth of a condition with five leaves.
#[divan::bench]
fn condition_truth(bencher: Bencher<'_, '_>) {
    let description = thermostat();
    let schema = Schema { models: vec![&description], products: ["flt-20x25"].into(), ..Schema::default() };
    let source = "local.hour >= 17 && local.weekday != \"sat\" && context.presence == \"home\" \
                  && \"eco\" in profile.segments && household.days_since_order(\"flt-20x25\", 9999) > 90";
    let condition = Condition::compile(source, &schema).unwrap();
    let (household, device) = home();
    let scope = Scope {
        household: &household,
        device: &device,
        description: &description,
        slot: None,
        event: None,
        now: now(),
    };
    bencher.bench_local(|| condition.truth(black_box(&scope)));
}

/// Checking and compiling the sample file with two triggers.
#[divan::bench]
fn check_a_file(bencher: Bencher<'_, '_>) {
    let rules = rules();
    let text = include_str!("../../config/triggers/thermostat.toml").to_owned();
    let files = [SourceFile { name: "thermostat.toml".into(), text }];
    bencher.bench_local(|| check(black_box(&files), &world::world(&rules)));
}
