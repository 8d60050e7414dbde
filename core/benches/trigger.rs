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

/// Match only, at the worst skew: all triggers on one kind, all messages of that kind on one field.
/// The values go up and down below all thresholds, so that none is crossed: the usual message.
#[divan::bench(args = [10, 1_000, 10_000], sample_size = 1_000)]
fn match_without_a_crossing(bencher: Bencher<'_, '_>, count: usize) {
    one_step(bencher, count, (20.0, 20.4), 0);
}

/// The same where each step crosses one threshold in the middle.
#[divan::bench(args = [10, 1_000, 10_000], sample_size = 1_000)]
fn match_with_one_crossing(bencher: Bencher<'_, '_>, count: usize) {
    let width = 10.0 / count as f64;
    let middle = 5.0 + 10.0 * (count / 2) as f64 / count as f64;
    one_step(bencher, count, (middle + width / 4.0, middle - width / 4.0), 1);
}

fn one_step(bencher: Bencher<'_, '_>, count: usize, (before, after): (f64, f64), crossed: usize) {
    let set = TriggerSet::build(triggers(count));
    let (kind, model) = (KindId::new("thermostat").unwrap(), ModelId::new("th-200").unwrap());
    let (field, shop) = (FieldName::new("temperature").unwrap(), retailer());
    let (before, after) = (Value::Number(before), Value::Number(after));
    let device = Concerned { retailer: Some(&shop), kind: &kind, model: &model };
    let step = || {
        let device = black_box(device);
        set.crossed(device, Watched::Telemetry(&field), Some(black_box(&before)), black_box(&after)).count()
    };
    assert_eq!(step(), crossed);
    bencher.bench_local(step);
}

/// Building the index of compiled triggers.
#[divan::bench(args = [10_000], sample_count = 5)]
fn index_a_set(bencher: Bencher<'_, '_>, count: usize) {
    let triggers = triggers(count);
    bencher.bench_local(|| TriggerSet::build(black_box(triggers.iter().cloned())));
}

/// From the text of a file with so many triggers to a set that is ready to be swapped in.
#[divan::bench(args = [10_000], sample_count = 3)]
fn build_a_set_from_its_text(bencher: Bencher<'_, '_>, count: usize) {
    use std::fmt::Write;
    let rules = rules();
    let mut text = String::new();
    for n in 0..count {
        let threshold = 5.0 + 10.0 * n as f64 / count as f64;
        write!(
            text,
            "[[trigger]]\nid = \"t{n}\"\nkind = \"tip\"\n[trigger.on]\nevent = \"telemetry\"\n\
             device = {{ kind = \"thermostat\" }}\nfield = \"temperature\"\nfalls_below = {threshold:.4}\n\
             [trigger.when]\nall = 'local.hour >= 17 && context.presence == \"home\"'\n\
             [trigger.offer.text.fr]\ntitle = \"a\"\nbody = \"b\"\n"
        )
        .unwrap();
    }
    let files = [SourceFile { name: "many.toml".into(), text }];
    bencher.bench_local(|| {
        let checked = check(black_box(&files), &world::world(&rules));
        assert_eq!(checked.triggers.len(), count, "{:?}", checked.problems.first());
        TriggerSet::build(checked.triggers)
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
