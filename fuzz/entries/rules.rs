//! What is fuzzed of the rules: bytes in, and what must hold whatever they are. Shared by the
//! targets of cargo-fuzz and by the test that replays the corpus.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use hearthway_core::decide::decide;
use hearthway_core::id::{DeviceKey, FieldName, HouseholdId, InputId, ModelId, RetailerId, SlotId};
use hearthway_core::input::{Command, Input, Sender, What};
use hearthway_core::limits::PAYLOAD_BYTES_MAX;
use hearthway_core::model::{DeviceModel, Evidence, Household, Retailer, Value};
use hearthway_core::money::Money;
use hearthway_core::rules::RuleSet;
use hearthway_core::time::{Timestamp, Zone};
use hearthway_core::trigger::condition::{Condition, Schema, Scope, Truth};
use hearthway_core::trigger::definition::TextDefinition;
use hearthway_core::trigger::{SourceFile, TextVars, Texts, TriggerSet, World, check, check_json};
use hearthway_core::wire::topic::{Topic, Who, is_filter, is_topic, matches, may_publish, may_subscribe};
use hearthway_core::wire::{
    self, DeviceMessage, Rejected, Sample, SlotUp, decode, decode_provision, description_to_json, read_description,
};

const NOW: Timestamp = Timestamp(1_774_000_000_000);

/// Texts only: what is not UTF-8 never reaches these readers.
fn text(data: &[u8]) -> Option<&str> {
    std::str::from_utf8(data).ok()
}

/// The first line, and what follows it.
fn split(data: &[u8]) -> Option<(&str, &[u8])> {
    let end = data.iter().position(|byte| *byte == b'\n')?;
    Some((text(&data[..end])?, &data[end + 1..]))
}

fn is_answerable(rejected: &Rejected) {
    assert!(!rejected.refusal.message.is_empty());
    if let Some(pointer) = &rejected.refusal.pointer {
        assert!(pointer.starts_with('/'), "{pointer}");
    }
}

/// A topic, a line's end, a payload.
pub fn message(data: &[u8]) {
    let Some((topic, payload)) = split(data) else { return };
    match decode(topic, payload) {
        Ok(envelope) => {
            assert!(payload.len() <= PAYLOAD_BYTES_MAX);
            assert!(topic.ends_with(envelope.message.topic()));
            let again = decode(topic, payload).expect("what was understood is understood again");
            assert_eq!(again, envelope);
        }
        Err(rejected) => is_answerable(&rejected),
    }
}

/// The payload of a provisioning request.
pub fn provision(data: &[u8]) {
    if let Err(rejected) = decode_provision("chan/v1/acme/_prov/0123456789abcdefABCDE_-/req", data) {
        is_answerable(&rejected);
    }
}

/// A filter, a line's end, a topic.
pub fn topics(data: &[u8]) {
    let Some((filter, topic)) = split(data) else { return };
    let Some(topic) = text(topic) else { return };
    let device: DeviceKey = "acme/d-42".parse().expect("a name");
    let (me, bridge) = (Who::Device(device.clone()), Who::Bridge(device.maker.clone()));
    if matches(filter, topic) {
        assert!(is_filter(filter) && is_topic(topic));
        if may_subscribe(&me, filter) {
            assert!(
                topic == "chan/v1/acme/d-42/down" || topic.starts_with("chan/v1/acme/d-42/down/"),
                "{filter} {topic}"
            );
        }
        if may_subscribe(&bridge, filter) {
            assert!(topic.starts_with("chan/v1/acme/"), "{filter} {topic}");
        }
    }
    if may_publish(&me, topic) {
        assert!(may_publish(&bridge, topic), "a bridge may what its device may: {topic}");
        assert!(matches!(Topic::parse(topic), Some(Topic::Device { device: of, .. }) if of == device), "{topic}");
    }
}

/// The self-description of a device: what is read can be written, and reads the same.
pub fn description(data: &[u8]) {
    let Ok(value) = serde_json::from_slice(data) else { return };
    let Ok(read) = read_description(&value, None) else { return };
    let again = read_description(&description_to_json(&read), None);
    assert_eq!(again.as_ref(), Ok(&read));
}

/// A home with a thermostat that has reported, and the rules that stand round it.
struct Stage {
    rules: RuleSet,
    household: Household,
    device: DeviceKey,
}

static STAGE: LazyLock<Stage> = LazyLock::new(|| {
    let model = ModelId::new("th-200").expect("a name");
    let described = serde_json::json!({
        "model": "th-200", "kind": "thermostat",
        "telemetry": {
            "temperature": {"type": "number", "unit": "°C", "min": -40, "max": 80},
            "mode": {"type": "enum", "values": ["off", "heat"]},
            "window_open": {"type": "bool"}
        },
        "slots": [{"slot": "air_filter", "kind": "usage", "unit": "h", "capacity": 720}],
        "placements": [{"id": "home.card", "title_max": 40, "body_max": 160}],
        "locales": ["fr", "en"], "confirm": ["press2s"], "buttons": ["ok"]
    });
    let description = read_description(&described, None).expect("the stage's model is sound");
    let mut rules = RuleSet { version: 1, ..RuleSet::default() };
    let maker = "acme".parse().expect("a name");
    rules.models.insert(model.clone(), Arc::new(DeviceModel { maker, description }));
    let zone = Zone::new("Europe/Paris").expect("a zone");
    let retailer =
        Retailer { name: "Enseigne X".into(), default_locale: "fr".into(), zone, ranking: Default::default() };
    rules.retailers.insert(retailer_id(), Arc::new(retailer));
    let device: DeviceKey = "acme/d-42".parse().expect("a name");
    let mut stage = Stage { rules, household: Household::empty(HouseholdId::prospect(&device)), device };
    let register = What::Command(Command::Register { model, serial: None, generation: 1 });
    for what in std::iter::once(register).chain(happenings()) {
        let decision = decide(&stage.household, &stage.input(what), &stage.rules, NOW);
        assert!(decision.reply.is_ok(), "{:?}", decision.reply);
        for change in &decision.changes {
            stage.household.apply(change);
        }
        stage.household.seq += 1;
    }
    stage
});

impl Stage {
    fn input(&self, what: What) -> Input {
        Input {
            id: InputId::derived(&[&self.household.seq.to_be_bytes()]),
            message: None,
            received_at: NOW,
            device: Some(self.device.clone()),
            entropy: 7,
            payload_bytes: 20,
            sender: Sender::default(),
            what,
        }
    }

    fn world(&self) -> World<'_> {
        World {
            retailer: retailer_id(),
            version: 1,
            models: &self.rules.models,
            products: &self.rules.products,
            default_locale: "fr",
        }
    }
}

fn retailer_id() -> RetailerId {
    RetailerId::new("shop-a").expect("a name")
}

fn happenings() -> Vec<What> {
    let temperature = |value| {
        let fields = vec![(FieldName::new("temperature").expect("a name"), Value::Number(value))];
        What::Device(DeviceMessage::Telemetry(vec![Sample { t: None, fields }]))
    };
    let used = |used| {
        let slot = SlotId::new("air_filter").expect("a name");
        let evidence = Evidence::Usage { used };
        What::Device(DeviceMessage::Slot(SlotUp {
            slot,
            evidence,
            capacity: Some(720.0),
            unit: None,
            changed_at: None,
            on_hand: None,
            t: None,
        }))
    };
    vec![temperature(21.0), used(590.0), temperature(16.0), used(612.0), What::Timer, temperature(22.0)]
}

/// A condition of the language, compiled and evaluated.
pub fn condition(data: &[u8]) {
    let Some(source) = text(data) else { return };
    let stage = &*STAGE;
    let (slot, model) = (SlotId::new("air_filter").expect("a name"), stage.rules.models.values().next());
    let description = &model.expect("the stage has a model").description;
    let schema = Schema { models: vec![description], slot: Some(&slot), event: false, products: ["flt-20x25"].into() };
    match Condition::compile(source, &schema) {
        Err(faults) => assert!(!faults.is_empty()),
        Ok(condition) => {
            let device = &stage.household.devices[&stage.device];
            let household = &stage.household;
            let scope = Scope { household, device, description, slot: Some(&slot), event: None, now: NOW };
            let evaluation = condition.evaluate(&scope);
            assert_eq!(condition.truth(&scope), evaluation.truth);
            // What fails has a cause, and what holds has none.
            assert_eq!(
                evaluation.failing().is_empty(),
                evaluation.truth == Truth::True || evaluation.leaves.is_empty()
            );
            if let Some(next) = condition.next_turn(household, NOW) {
                assert!(next > NOW);
            }
        }
    }
}

/// Plays the stage's day under triggers, so that what compiles is also decided with.
fn play(triggers: Vec<Arc<hearthway_core::trigger::Trigger>>) {
    let stage = &*STAGE;
    let mut rules = stage.rules.clone();
    rules.triggers = TriggerSet::build(triggers);
    let mut household = stage.household.clone();
    for what in happenings() {
        let input = Input { id: InputId::derived(&[&household.seq.to_be_bytes()]), ..stage.input(what) };
        let decision = decide(&household, &input, &rules, NOW);
        assert_eq!(decision, decide(&household, &input, &rules, NOW), "the same facts give the same decision");
        for change in &decision.changes {
            household.apply(change);
        }
        household.seq += 1;
    }
}

/// A trigger file.
pub fn trigger_file(data: &[u8]) {
    let Some(file) = text(data) else { return };
    let checked = check(&[SourceFile { name: "fuzzed.toml".into(), text: file.into() }], &STAGE.world());
    for problem in &checked.problems {
        assert!(!problem.to_string().is_empty());
    }
    play(checked.triggers);
}

/// A trigger as JSON.
pub fn trigger_json(data: &[u8]) {
    let Ok(value) = serde_json::from_slice(data) else { return };
    let (trigger, problems) = check_json(&value, &STAGE.world());
    assert!(trigger.is_some() || !problems.is_empty(), "what is refused is told why");
    play(trigger.into_iter().map(|(_, trigger)| trigger).collect());
}

/// The text of an offer.
pub fn template(data: &[u8]) {
    let Some(source) = text(data) else { return };
    let vars = || TextVars::default().with_product("Filter & Co", Money::parse("19.90 EUR").expect("money"), "en");
    let written = TextDefinition { title: Some(source.into()), body: Some("b".into()), ..TextDefinition::default() };
    let Ok(texts) = Texts::compile(&BTreeMap::from([("en".to_owned(), written)]), |_| vars()) else { return };
    let said = texts.render(&[], "en", &vars()).expect("what was tried with a sample is said with it");
    assert!(said.title.len() < 64 * 1024);
    // A value that is missing is an error and never a panic.
    let _ = texts.render(&[], "en", &TextVars::default());
    let _ = wire::doc_anchor(hearthway_core::code::Code::PayloadInvalid);
}
