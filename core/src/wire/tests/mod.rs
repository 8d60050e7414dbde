#![allow(clippy::unwrap_used)]

mod contract;
mod down;
mod hostile;
mod refusals;
mod topics;

use super::{DeviceMessage, Envelope, Rejected, decode};
use crate::code::Code;

/// Decodes what a device of the tests publishes below its root.
fn on(below: &str, payload: &str) -> Result<Envelope, Rejected> {
    decode(&format!("chan/v1/acme/d-42/{below}"), payload.as_bytes())
}

/// The message in a payload that must be understood.
fn message(below: &str, payload: &str) -> DeviceMessage {
    on(below, payload).unwrap_or_else(|rejected| panic!("{below} {payload}: {}", rejected.refusal)).message
}

/// The same body in the envelope.
fn enveloped(body: &str) -> String {
    format!(r#"{{"v":"1.0","id":"01JD9ZK3","body":{body}}}"#)
}

/// Code and pointer of a payload that must be refused.
fn refused(below: &str, payload: &str) -> (Code, Option<String>) {
    let refusal = on(below, payload).expect_err(payload).refusal;
    assert!(refusal.message.len() > 20, "{refusal}");
    (refusal.code, refusal.pointer)
}

/// An offer's and an order's id as the gateway writes them.
const OFFER: &str = "of_aaaaaaaaaaaaaaaaaaaaaaaa";
const ORDER: &str = "or_aaaaaaaaaaaaaaaaaaaaaaaa";

/// Every message that the contract shows, with the topic it comes on, as a body.
fn examples() -> Vec<(&'static str, String)> {
    [
        ("presence", r#"{"state":"online","epoch":17,"fw":"2.1.0"}"#),
        ("presence", r#"{"state":"lost","epoch":17}"#),
        ("presence", r#"{"state":"sleeping","wake_at":1774003600000}"#),
        (
            "desc",
            r#"{"model":"th-200","kind":"thermostat","telemetry":{"temperature":{"type":"number","unit":"°C","min":-40,"max":80},"mode":{"type":"enum","values":["off","heat"]}},
 "slots":[{"slot":"air_filter","kind":"usage","unit":"h","capacity":720}],
 "placements":[{"id":"home.card","title_max":40,"body_max":160}],"locales":["fr","en"],"confirm":["press2s"],"buttons":["ok","later"]}"#,
        ),
        ("up/telemetry", r#"{"samples":[{"t":1774000000000,"f":{"temperature":16.4,"mode":"heat"}}]}"#),
        ("up/telemetry", r#"{"temperature":16.4}"#),
        ("up/event", r#"{"type":"cycle_done","t":1774000000000,"data":{"program":"eco"}}"#),
        ("up/context", r#"{"presence":"home","ttl_s":900}"#),
        ("up/slot", r#"{"slot":"air_filter","kind":"usage","used":612,"capacity":720,"unit":"h"}"#),
        ("up/slot", r#"{"slot":"beans","kind":"level","remaining":180,"capacity":500,"unit":"g"}"#),
        ("up/slot", r#"{"slot":"water_filter","kind":"countdown","remaining":48,"unit":"count"}"#),
        ("up/slot", r#"{"slot":"salt","kind":"flag","flag":"low"}"#),
        ("up/slot", r#"{"slot":"fridge_filter","kind":"life","ends":"2026-12-01"}"#),
        (
            "up/slot",
            r#"{"slot":"a","kind":"level","remaining":1,"changed_at":1774000000000,"on_hand":2,"product_ref":{"type":"gtin","value":"4006381333931"}}"#,
        ),
        ("up/state", r#"{"reported":{"setpoint":20.5,"mode":"heat"},"version":3}"#),
        ("up/sync", r#"{"want":["time","link","offers","orders","consent","state"],"have":{"offers":[]}}"#),
        ("up/sync", "{}"),
        ("up/claim", r#"{"op":"start","presence":true,"show":"code"}"#),
        ("up/claim", r#"{"op":"cancel"}"#),
        ("up/offer/receipt", r#"{"offer":"OFFER","rev":1,"state":"shown","t":1774000000000}"#),
        ("up/offer/receipt", r#"{"offer":"OFFER","rev":1,"state":"delivered"}"#),
        ("up/offer/receipt", r#"{"offer":"OFFER","rev":1,"state":"hidden"}"#),
        ("up/offer/receipt", r#"{"offer":"OFFER","rev":1,"state":"suppressed_on_device"}"#),
        ("up/offer/receipt", r#"{"offer":"OFFER","rev":1,"state":"expired"}"#),
        (
            "up/offer/answer",
            r#"{"offer":"OFFER","rev":1,"answer":"accept","nonce":"n-1","choice":{"qty":1,"fulfil":"deliver"}}"#,
        ),
        ("up/offer/answer", r#"{"offer":"OFFER","rev":1,"answer":"decline"}"#),
        ("up/offer/answer", r#"{"offer":"OFFER","rev":1,"answer":"snooze","until":1774003600000}"#),
        ("up/offer/answer", r#"{"offer":"OFFER","rev":1,"answer":"not_needed","reason":"have_spare"}"#),
        ("up/offer/answer", r#"{"offer":"OFFER","rev":1,"answer":"why"}"#),
        ("up/offer/get", "{}"),
        ("up/offer/get", r#"{"placement":"home.card"}"#),
        ("up/replenish", r#"{"op":"later"}"#),
        ("up/order", r#"{"order":"ORDER","op":"cancel","nonce":"n-2"}"#),
        (
            "up/consent",
            r#"{"set":[{"purpose":"offers.device","granted":false,"t":1774000000000,"method":"button","text_id":"t1"}],"pause_until":null}"#,
        ),
        ("up/lifecycle", r#"{"op":"reset","level":"user","presence":true}"#),
        ("up/lifecycle", r#"{"op":"wiped"}"#),
        ("up/lifecycle", r#"{"op":"decommission"}"#),
        ("up/time", r#"{"t0":1774000000000}"#),
        ("up/doctor", r#"{"anything":[1,2,{"x":null}]}"#),
    ]
    .into_iter()
    .map(|(below, body)| (below, body.replace("OFFER", OFFER).replace("ORDER", ORDER)))
    .collect()
}
