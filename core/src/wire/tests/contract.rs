//! Every message that the contract shows is understood as it says.

use std::collections::BTreeSet;

use super::super::*;

use super::{OFFER, ORDER, enveloped, examples, message, on};
use crate::id::{FieldName, ModelId, PlacementId, SlotId};
use crate::input::Answer;
use crate::model::{Evidence, FieldSchema, FieldType, Fulfil, Placement, Purpose, SlotKind, SlotSchema, Unit, Value};
use crate::time::{Span, Timestamp};

const T: Timestamp = Timestamp(1_774_000_000_000);

fn name(text: &str) -> FieldName {
    FieldName::new(text).unwrap()
}

#[test]
fn every_example_reads_the_same_in_the_envelope_and_in_the_short_form() {
    let mut topics = BTreeSet::new();
    for (below, body) in examples() {
        let short = on(below, &body).unwrap_or_else(|e| panic!("{below} {body}: {}", e.refusal));
        let long = on(below, &enveloped(&body)).unwrap_or_else(|e| panic!("{below} {body}: {}", e.refusal));
        assert_eq!(short.message, long.message, "{below} {body}");
        assert_eq!(short.message.topic(), below);
        assert_eq!((short.id, long.id.unwrap().as_str()), (None, "01JD9ZK3"));
        assert_eq!(short.device.to_string(), "acme/d-42");
        topics.insert(below);
    }
    assert_eq!(topics, BTreeSet::from(UP_TOPICS), "an example for each topic");
}

/// Members of a JSON object have no order.
fn in_order(mut said: DeviceMessage) -> DeviceMessage {
    let lists: Vec<&mut Vec<(FieldName, Value)>> = match &mut said {
        DeviceMessage::Telemetry(samples) => samples.iter_mut().map(|sample| &mut sample.fields).collect(),
        DeviceMessage::State(said) => vec![&mut said.reported],
        DeviceMessage::Event(said) => vec![&mut said.data],
        DeviceMessage::Context(said) => vec![&mut said.entries],
        _ => Vec::new(),
    };
    lists.into_iter().for_each(|fields| fields.sort_by(|(a, _), (b, _)| a.cmp(b)));
    said
}

#[test]
fn what_was_said_is_written_again_as_it_was_said() {
    let extra = [
        ("up/offer/answer", format!(r#"{{"offer":"{OFFER}","rev":1,"answer":"accept","choice":{{"fulfil":"collect","store":"st-1","alternative":"a1"}}}}"#)),
        ("up/consent", r#"{"set":[{"purpose":"offers.device","granted":true,"t":5,"method":"button","text_id":"t1"}],"pause_until":7}"#.to_owned()),
        ("presence", r#"{"state":"offline"}"#.to_owned()),
        ("up/lifecycle", r#"{"op":"reset","level":"factory","presence":true}"#.to_owned()),
    ];
    for (below, body) in examples().into_iter().chain(extra) {
        let said = message(below, &body);
        let written = body_json(&said);
        if !matches!(said, DeviceMessage::Doctor { .. }) {
            let again = message(below, &enveloped(&written.to_string()));
            assert_eq!(in_order(again), in_order(said), "{below} {body} as {written}");
        }
    }
    let (_, slot) = examples().into_iter().find(|(below, _)| *below == "up/slot").unwrap();
    let as_said: serde_json::Value =
        serde_json::from_str(&slot.replace("612", "612.0").replace("720", "720.0")).unwrap();
    assert_eq!(body_json(&message("up/slot", &slot)), as_said);
}

#[test]
fn the_envelope_says_who_when_and_in_which_order() {
    let payload = r#"{"v":"1.3","id":"01JD9ZK3","seq":7,"epoch":17,"t":1774000000000,"up_ms":5000,"corr":"c-1","later":{"x":1},"body":{"op":"wiped"}}"#;
    let envelope = on("up/lifecycle", payload).unwrap();
    let sender = envelope.sender;
    assert_eq!((sender.t, sender.up_ms, sender.seq, sender.epoch), (Some(T), Some(5000), Some(7), Some(17)));
    assert_eq!(sender.corr.as_deref(), Some("c-1"));
    assert_eq!(envelope.signed, None);
    let bare = on("up/lifecycle", r#"{"v":"1.0","id":"x","t":null,"seq":null,"body":{"op":"wiped"}}"#).unwrap();
    assert_eq!(bare.sender, Default::default());
    assert!(
        on("up/lifecycle", r#"{"v":"1.0","id":"x","t":1.774e12,"body":{"op":"wiped"}}"#).unwrap().sender.t == Some(T)
    );
}

#[test]
fn in_the_short_form_every_member_is_the_bodys_own() {
    // A voltmeter may well call its field `v`, and `id` is no envelope without a body.
    let DeviceMessage::Telemetry(samples) = message("up/telemetry", r#"{"v":2.5,"id":"a.b"}"#) else { panic!() };
    assert_eq!(samples[0].fields.len(), 2);
    assert_eq!(samples[0].t, None);
}

#[test]
fn a_signature_covers_the_bytes_of_the_body_as_they_were_sent() {
    let topic = "chan/v1/acme/d-42/up/offer/answer";
    let body = format!(r#"{{ "offer":"{OFFER}",  "rev":1,"answer":"accept","nonce":"n-1" }}"#);
    let payload = format!(r#"{{"v":"1.0","id":"a","epoch":17,"seq":4,"sig":"ab","body": {body} }}"#);
    let signed = decode(topic, payload.as_bytes()).unwrap().signed.unwrap();
    assert_eq!(signed.sig, "ab");
    // By another road than the code's: the SHA-256 of the text above between and with its braces.
    let hash = data_encoding::HEXLOWER.encode(&<sha2::Sha256 as sha2::Digest>::digest(body.as_bytes()));
    assert_eq!(signed.text, format!("{topic}\n17\n4\nn-1\n{hash}"));

    let payload = r#"{"v":"1.0","id":"a","sig":"ab","body":{"op":"wiped"}}"#;
    let signed = on("up/lifecycle", payload).unwrap().signed.unwrap();
    // sha256 of {"op":"wiped"}, computed with coreutils.
    let expected = "chan/v1/acme/d-42/up/lifecycle\n\n\n\nHASH";
    assert_eq!(signed.text, expected.replace("HASH", WIPED_SHA256));
}
/// `printf '{"op":"wiped"}' | sha256sum`
const WIPED_SHA256: &str = "65e774656f104cab372af5e4d8048b3eba12703a25a95bf1631925eb4a2b6fc8";

#[test]
fn presence_tells_birth_will_and_sleep_apart() {
    let birth = message("presence", r#"{"state":"online","epoch":17,"fw":"2.1.0"}"#);
    let expected = PresenceUp {
        state: PresenceWord::Online,
        epoch: Some(17),
        firmware: Some("2.1.0".to_owned()),
        wake_at: None,
        is_will: false,
    };
    assert_eq!(birth, DeviceMessage::Presence(expected));
    let will = |id: &str, state: &str| {
        let payload = format!(r#"{{"v":"1.0","id":"{id}","epoch":9,"body":{{"state":"{state}"}}}}"#);
        let DeviceMessage::Presence(presence) = message("presence", &payload) else { panic!() };
        assert_eq!(presence.epoch, Some(9), "the envelope's epoch stands in");
        presence.is_will
    };
    assert!(will("will-9", "lost"));
    assert!(!will("will-9", "online") && !will("m-9", "lost"));
}

#[test]
fn a_description_reads_and_writes_the_same() {
    let (_, body) = examples().into_iter().find(|(below, _)| *below == "desc").unwrap();
    let DeviceMessage::Desc(description) = message("desc", &body) else { panic!() };
    let temperature = FieldType::Number { unit: Some(Unit::Celsius), min: Some(-40.0), max: Some(80.0) };
    assert_eq!(description.telemetry[&name("temperature")], FieldSchema { r#type: temperature, max_age: None });
    let mode = FieldType::Enum { values: vec!["off".to_owned(), "heat".to_owned()] };
    assert_eq!(description.telemetry[&name("mode")].r#type, mode);
    let filter = SlotSchema { kind: SlotKind::Usage, unit: Some(Unit::Hour), capacity: Some(720.0) };
    assert_eq!(description.slots[&SlotId::new("air_filter").unwrap()], filter);
    let card = Placement { id: PlacementId::new("home.card").unwrap(), title_max: Some(40), body_max: Some(160) };
    assert_eq!(description.placements, [card]);
    assert_eq!((description.model.as_str(), description.kind.as_str()), ("th-200", "thermostat"));
    assert_eq!(
        (&description.locales[..], &description.confirm[..]),
        (&["fr".to_owned(), "en".to_owned()][..], &["press2s".to_owned()][..])
    );
    assert_eq!(read_description(&description_to_json(&description), None).unwrap(), *description);
}

#[test]
fn a_model_is_read_like_a_description_and_takes_its_name_from_the_path() {
    let model = ModelId::new("th-200").unwrap();
    let body = serde_json::json!({"maker":"acme","kind":"thermostat","telemetry":{
        "a":{"type":"number","max_age":900},"b":{"type":"bool","max_age":"15 min"},"c":{"type":"string"},"d":{"type":"text","x":1}},
        "slots":[{"slot":"salt","kind":"flag","unit":"anything"},{"slot":"f","kind":"life"}]});
    let description = read_description(&body, Some(model.clone())).unwrap();
    assert_eq!(description.model, model);
    assert_eq!(description.telemetry[&name("a")].max_age, Some(Span::minutes(15)));
    assert_eq!(
        description.telemetry[&name("b")],
        FieldSchema { r#type: FieldType::Bool, max_age: Some(Span::minutes(15)) }
    );
    assert_eq!(description.telemetry[&name("c")].r#type, FieldType::Text);
    assert_eq!(description.slots[&SlotId::new("salt").unwrap()].unit, None);
    assert_eq!(read_description(&description_to_json(&description), None).unwrap(), description);
    assert_eq!(read_description(&body, None).unwrap_err().pointer.as_deref(), Some("/model"));
}

#[test]
fn telemetry_is_a_list_of_samples_or_one_flat_sample() {
    let sample = |t, fields: &[(&str, Value)]| Sample {
        t,
        fields: fields.iter().map(|(key, value)| (name(key), value.clone())).collect(),
    };
    let (temperature, mode) = (("temperature", Value::Number(16.4)), ("mode", Value::Text("heat".into())));
    assert_eq!(
        message(
            "up/telemetry",
            r#"{"samples":[{"t":1774000000000,"f":{"temperature":16.4,"mode":"heat"}},{"f":{"on":true,"gone":null}}]}"#
        ),
        DeviceMessage::Telemetry(vec![
            sample(Some(T), &[temperature.clone(), mode]),
            sample(None, &[("on", Value::Bool(true))])
        ])
    );
    assert_eq!(
        message("up/telemetry", r#"{"temperature":16.4}"#),
        DeviceMessage::Telemetry(vec![sample(None, &[temperature])])
    );
    assert_eq!(message("up/telemetry", r#"{"samples":[]}"#), DeviceMessage::Telemetry(vec![]));
}

#[test]
fn events_keep_flat_data_and_context_has_a_default_life() {
    let event = message(
        "up/event",
        r#"{"type":"cycle_done","t":1774000000000,"data":{"program":"eco","deep":{"x":1},"list":[1]}}"#,
    );
    let data = vec![(name("program"), Value::Text("eco".into()))];
    assert_eq!(event, DeviceMessage::Event(EventUp { r#type: "cycle_done".to_owned(), t: Some(T), data }));
    let home = vec![(name("presence"), Value::Text("home".into()))];
    let context = |ttl_s| DeviceMessage::Context(ContextUp { entries: home.clone(), ttl_s });
    assert_eq!(message("up/context", r#"{"presence":"home","ttl_s":60}"#), context(60));
    assert_eq!(message("up/context", r#"{"presence":"home"}"#), context(900));
}

#[test]
fn slots_report_by_their_kind() {
    let evidence = |body: &str| {
        let DeviceMessage::Slot(slot) = message("up/slot", body) else { panic!() };
        (slot.evidence, slot.capacity, slot.unit)
    };
    let usage = evidence(r#"{"slot":"air_filter","kind":"usage","used":612,"capacity":720,"unit":"h"}"#);
    assert_eq!(usage, (Evidence::Usage { used: 612.0 }, Some(720.0), Some(Unit::Hour)));
    let level = evidence(r#"{"slot":"beans","kind":"level","remaining":180,"capacity":500,"unit":"g"}"#);
    assert_eq!(level, (Evidence::Level { remaining: 180.0 }, Some(500.0), Some(Unit::Gram)));
    let countdown = evidence(r#"{"slot":"w","kind":"countdown","remaining":0,"unit":"count"}"#);
    assert_eq!(countdown, (Evidence::Countdown { remaining: 0.0 }, None, Some(Unit::Count)));
    for word in ["ok", "low", "empty"] {
        let flag = evidence(&format!(r#"{{"slot":"salt","kind":"flag","flag":"{word}"}}"#));
        assert_eq!(flag, (Evidence::Flag { flag: word.to_owned() }, None, None));
    }
    let life = evidence(r#"{"slot":"f","kind":"life","ends":"2026-12-01"}"#);
    assert_eq!(life, (Evidence::Life { ends: "2026-12-01".to_owned() }, None, None));
    let (_, body) = examples().into_iter().find(|(_, body)| body.contains("product_ref")).unwrap();
    let DeviceMessage::Slot(slot) = message("up/slot", &body) else { panic!() };
    assert_eq!((slot.changed_at, slot.on_hand, slot.t), (Some(T), Some(2), None));
}

#[test]
fn answers_carry_their_choice() {
    let answer = |rest: &str| {
        let DeviceMessage::Answer(up) = message("up/offer/answer", &format!(r#"{{"offer":"{OFFER}","rev":2,{rest}}}"#))
        else {
            panic!()
        };
        assert_eq!((up.offer.to_string().as_str(), up.rev), (OFFER, 2));
        (up.answer, up.nonce)
    };
    let accept = |qty, fulfil| Answer::Accept { qty, fulfil };
    let nonce = Some("n-1".to_owned());
    assert_eq!(
        answer(r#""answer":"accept","nonce":"n-1","choice":{"qty":1,"fulfil":"deliver"}"#),
        (accept(Some(1), Some(Fulfil::Deliver)), nonce)
    );
    assert_eq!(
        answer(r#""answer":"accept","choice":{"fulfil":"collect"}"#),
        (accept(None, Some(Fulfil::Collect)), None)
    );
    assert_eq!(answer(r#""answer":"accept""#).0, accept(None, None));
    assert_eq!(answer(r#""answer":"decline""#).0, Answer::Decline);
    assert_eq!(answer(r#""answer":"snooze","until":1774000000000"#).0, Answer::Snooze { until: Some(T) });
    assert_eq!(answer(r#""answer":"snooze""#).0, Answer::Snooze { until: None });
    assert_eq!(
        answer(r#""answer":"not_needed","reason":"have_spare""#).0,
        Answer::NotNeeded { reason: Some("have_spare".to_owned()) }
    );
    assert_eq!(answer(r#""answer":"why""#).0, Answer::Why);
}

#[test]
fn the_other_messages_are_what_they_say() {
    let id = OFFER.parse().unwrap();
    assert_eq!(
        message("up/sync", &format!(r#"{{"want":["offers","tomorrow"],"have":{{"offers":["{OFFER}","of_1",7]}}}}"#)),
        DeviceMessage::Sync(SyncUp { want: vec!["offers".to_owned(), "tomorrow".to_owned()], have_offers: vec![id] })
    );
    assert_eq!(
        message("up/claim", r#"{"op":"start","presence":true,"show":"code"}"#),
        DeviceMessage::Claim(ClaimUp::Start { presence: true })
    );
    assert_eq!(message("up/claim", r#"{"op":"start"}"#), DeviceMessage::Claim(ClaimUp::Start { presence: false }));
    assert_eq!(message("up/claim", r#"{"op":"cancel"}"#), DeviceMessage::Claim(ClaimUp::Cancel));
    assert_eq!(
        message("up/offer/receipt", &format!(r#"{{"offer":"{OFFER}","rev":1,"state":"shown","t":1774000000000}}"#)),
        DeviceMessage::Receipt(ReceiptUp { offer: id, rev: 1, state: ReceiptWord::Shown, t: Some(T) })
    );
    assert_eq!(
        message("up/order", &format!(r#"{{"order":"{ORDER}","op":"problem"}}"#)),
        DeviceMessage::Order(OrderUp { order: ORDER.parse().unwrap(), op: OrderOp::Problem, nonce: None })
    );
    assert_eq!(message("up/offer/get", r#"{"placement":null}"#), DeviceMessage::OfferGet { placement: None });
    let op = |body| match message("up/replenish", body) {
        DeviceMessage::Replenish(said) => said.op,
        other => panic!("{other:?}"),
    };
    assert_eq!(op(r#"{"op":"cancel"}"#), ReplenishOp::Cancel);
    assert_eq!(op(r#"{"op":"later","until":1774000000000}"#), ReplenishOp::Later { until: Some(T) });
    let reason = Some("have_spare".to_owned());
    assert_eq!(op(r#"{"op":"not_needed","reason":"have_spare"}"#), ReplenishOp::NotNeeded { reason });
    assert_eq!(
        message("up/state", r#"{"reported":{"setpoint":20.5},"version":3}"#),
        DeviceMessage::State(StateUp { reported: vec![(name("setpoint"), Value::Number(20.5))], version: Some(3) })
    );
    let reset =
        |level: &str| message("up/lifecycle", &format!(r#"{{"op":"reset","level":"{level}","presence":true}}"#));
    assert_eq!(reset("user"), DeviceMessage::Lifecycle(LifecycleUp::Reset { factory: false, presence: true }));
    assert_eq!(reset("factory"), DeviceMessage::Lifecycle(LifecycleUp::Reset { factory: true, presence: true }));
    assert_eq!(message("up/time", r#"{"t":1774000000000}"#), DeviceMessage::Time { t0: Some(T) });
    assert_eq!(
        message("up/time", r#"{"v":"1.0","id":"x","t":1774000000000,"body":{}}"#),
        DeviceMessage::Time { t0: Some(T) }
    );
    assert_eq!(message("up/time", "{}"), DeviceMessage::Time { t0: None });
}

#[test]
fn consent_says_yes_no_and_whether_it_speaks_of_a_pause() {
    let consent = |body: &str| {
        let DeviceMessage::Consent(consent) = message("up/consent", body) else { panic!() };
        consent
    };
    let word = ConsentWord {
        purpose: Purpose::OffersDevice,
        granted: false,
        t: Some(T),
        method: Some("button".to_owned()),
        text_id: Some("t1".to_owned()),
    };
    let (_, example) = examples().into_iter().find(|(below, _)| *below == "up/consent").unwrap();
    assert_eq!(consent(&example), ConsentUp { set: vec![word], pause_until: Some(None) });
    assert_eq!(consent(r#"{"pause_until":1774000000000}"#), ConsentUp { set: vec![], pause_until: Some(Some(T)) });
    assert_eq!(consent(r#"{"set":[]}"#).pause_until, None);
    for purpose in Purpose::ALL {
        let body = format!(r#"{{"set":[{{"purpose":"{}","granted":true}}]}}"#, purpose.as_str());
        assert_eq!(consent(&body).set[0].purpose, purpose);
    }
}

#[test]
fn the_doctor_takes_anything_and_keeps_a_kilobyte_of_it() {
    let seen = |payload: &str| {
        let DeviceMessage::Doctor { seen } = message("up/doctor", payload) else { panic!() };
        seen
    };
    assert_eq!(seen(" [1, 2] "), "[1, 2]");
    assert_eq!(seen(r#"{"v":"1.0","id":"x","body": "hello" }"#), r#""hello""#);
    assert_eq!(seen(r#"{"b\u006fdy":{"a": 1}}"#), r#"{"a": 1}"#);
    let long = format!("[{}]", vec!["\"é\""; 900].join(","));
    let kept = seen(&long);
    assert!(kept.len() <= 1024 && kept.len() > 1020 && long.starts_with(&kept));
}

#[test]
fn a_provisioning_request_is_understood() {
    let topic = "chan/v1/acme/_prov/0123456789abcdefABCDE_-/req";
    let body = r#"{"serial":"TH-0001","model":"th-200","hw":"b","fw":"2.1.0","proof":null}"#;
    let request = decode_provision(topic, enveloped(body).as_bytes()).unwrap();
    assert_eq!((request.maker.as_str(), request.nonce.as_str()), ("acme", "0123456789abcdefABCDE_-"));
    assert_eq!((request.serial.as_str(), request.model.as_str()), ("TH-0001", "th-200"));
    assert_eq!((request.hw.as_deref(), request.fw.as_deref(), request.proof), (Some("b"), Some("2.1.0"), None));
    assert_eq!(request.id.unwrap().as_str(), "01JD9ZK3");
    let short = decode_provision(topic, body.as_bytes()).unwrap();
    assert_eq!(short.id, None);
}
