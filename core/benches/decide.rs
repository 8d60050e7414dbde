//! What a decision costs, without disk: `cargo bench -p hearthway-core --bench decide`.
#![allow(clippy::unwrap_used)]

use std::fmt::Write;
use std::sync::Arc;

use divan::{Bencher, black_box};
use hearthway_core::decide::decide;
use hearthway_core::id::{DeviceKey, FieldName, HouseholdId, InputId, LinkId, ModelId, ProfileId, RetailerId};
use hearthway_core::input::{Command, Input, Join, Sender, What};
use hearthway_core::model::{
    ConsentRecord, ConsentSource, DeviceModel, Household, Member, Purpose, Retailer, Role, Value,
};
use hearthway_core::rules::RuleSet;
use hearthway_core::time::{Timestamp, Zone};
use hearthway_core::trigger::{SourceFile, TriggerSet, World, check};
use hearthway_core::wire::{DeviceMessage, Sample, read_description};

/// The gateway's own: a decision is a hundred small values, and what they cost is the allocator's.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

const NOW: Timestamp = Timestamp(1_774_000_000_000);

fn main() {
    divan::main();
}

/// A reading that crosses nothing: the usual message.
#[divan::bench(args = [10, 100, 1_000], sample_size = 100)]
fn reading_without_a_candidate(bencher: Bencher<'_, '_>, triggers: usize) {
    let rules = rules(triggers);
    let home = home(&rules, 30.0);
    let input = reading(31.0);
    bencher.bench(|| decide(black_box(&home), black_box(&input), black_box(&rules), NOW));
}

/// A reading that crosses the edge of one trigger: a whole decision with its offer.
#[divan::bench(args = [10, 100, 1_000], sample_size = 100)]
fn reading_with_one_candidate(bencher: Bencher<'_, '_>, triggers: usize) {
    let rules = rules(triggers);
    let home = home(&rules, 18.5);
    let input = reading(16.95);
    let decision = decide(&home, &input, &rules, NOW);
    assert_eq!(decision.trace.candidates.len(), 1);
    assert!(decision.trace.candidates[0].offer.is_some(), "{}", decision.trace.candidates[0]);
    bencher.bench(|| decide(black_box(&home), black_box(&input), black_box(&rules), NOW));
}

/// Triggers on one field, their thresholds spread over 16.9 °C and below.
fn rules(triggers: usize) -> RuleSet {
    let mut text = String::new();
    for n in 0..triggers {
        let threshold = 17.0 - n as f64 * 0.05;
        write!(
            text,
            "[[trigger]]\nid = \"cold-{n}\"\nkind = \"tip\"\n[trigger.on]\nevent = \"telemetry\"\n\
             device = {{ kind = \"thermostat\" }}\nfield = \"temperature\"\nfalls_below = {threshold:.2}\n\
             [trigger.when]\nall = 'telemetry.temperature < 17.5 && local.hour >= 6'\n\
             [trigger.offer]\nactions = [\"decline\"]\n[trigger.offer.text.fr]\ntitle = \"Froid\"\nbody = \"{{{{ telemetry.temperature }}}}\"\n"
        )
        .unwrap();
    }
    let mut rules = RuleSet { version: 1, ..RuleSet::default() };
    let zone = Zone::new("Europe/Paris").unwrap();
    rules.retailers.insert(
        shop(),
        Arc::new(Retailer { name: "X".into(), default_locale: "fr".into(), zone, ranking: Default::default() }),
    );
    let description = serde_json::json!({
        "model": "th-200", "kind": "thermostat",
        "telemetry": {"temperature": {"type": "number", "unit": "°C", "min": -40, "max": 80}},
        "slots": [], "placements": [{"id": "home.card"}], "locales": ["fr"], "confirm": ["press2s"]
    });
    let description = read_description(&description, None).unwrap();
    let model = DeviceModel { maker: "acme".to_owned().try_into().unwrap(), description };
    rules.models.insert(model.description.model.clone(), Arc::new(model));
    let world = World {
        retailer: shop(),
        version: 1,
        models: &rules.models,
        products: &hearthway_core::catalog::Products::default(),
        default_locale: "fr",
    };
    let checked = check(&[SourceFile { name: "bench.toml".into(), text }], &world);
    assert_eq!(checked.triggers.len(), triggers, "{:#?}", checked.problems.first());
    rules.triggers = TriggerSet::build(checked.triggers);
    rules
}

fn shop() -> RetailerId {
    RetailerId::new("shop-a").unwrap()
}

fn device() -> DeviceKey {
    "acme/d-42".parse().unwrap()
}

fn input(n: u64, what: What) -> Input {
    Input {
        id: InputId::derived(&[&n.to_be_bytes()]),
        message: None,
        received_at: NOW,
        device: Some(device()),
        entropy: n,
        payload_bytes: 0,
        sender: Sender::default(),
        what,
    }
}

fn reading(value: f64) -> Input {
    let field = FieldName::new("temperature").unwrap();
    let sample = Sample { t: None, fields: vec![(field, Value::Number(value))] };
    input(9, What::Device(DeviceMessage::Telemetry(vec![sample])))
}

/// A linked home whose thermostat last reported `value`.
fn home(rules: &RuleSet, value: f64) -> Household {
    let profile = ProfileId::new("p1").unwrap();
    let id = HouseholdId::of_profile(&shop(), &profile);
    let mut home = Household::empty(id);
    let word = ConsentRecord {
        granted: true,
        at: NOW,
        source: ConsentSource::Shop,
        method: None,
        text_id: None,
        expires_at: None,
    };
    let member = Member {
        profile,
        display_name: "Maison".into(),
        locale: Some("fr-FR".into()),
        role: Role::Owner,
        segments: Default::default(),
        consents: [(Purpose::OffersDevice, word)].into_iter().collect(),
    };
    let zone = Zone::new("Europe/Paris").unwrap();
    let join = Join { household: id, retailer: shop(), link: LinkId::derived(&[]), member, zone, locale: None };
    let model = ModelId::new("th-200").unwrap();
    let steps = [
        What::Command(Command::Register { model, serial: None, generation: 1 }),
        What::Command(Command::LinkDirectly { join }),
        reading(value).what,
    ];
    for (n, what) in (0..).zip(steps) {
        for change in &decide(&home, &input(n, what), rules, NOW).changes {
            home.apply(change);
        }
    }
    home
}
