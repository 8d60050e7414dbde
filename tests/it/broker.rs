//! The broker link against Debian's mosquitto: the session of the contract, brokers and gateways
//! that die in the middle, access rules that hold and that do not.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::gateway::{Gateway, OPERATOR, STEP_SECONDS_MAX};
use crate::mosquitto::{Device, GATEWAY_PASSWORD, Mosquitto, PROBE_PASSWORD, gateway_toml, is_there};
use crate::stock_clients::load_the_sample_shop;

/// A gateway linked to a broker, with the account for the self-test.
fn serve(folder: &Path, broker: &Mosquitto, more: &str) -> Gateway {
    let config = gateway_toml(folder, broker.port, &format!("probe_username = \"acme/probe\"\n{more}"));
    let environment =
        [("HEARTHWAY_BROKER_PASSWORD", GATEWAY_PASSWORD), ("HEARTHWAY_BROKER_PROBE_PASSWORD", PROBE_PASSWORD)];
    Gateway::serve_with(&folder.join("data"), &["--config", &config], &environment)
}

/// Waits until what the health page says of the broker fits, and gives it.
async fn complaints(gateway: &Gateway, fits: impl Fn(&[String]) -> bool) -> Vec<String> {
    let until = Instant::now() + STEP_SECONDS_MAX;
    loop {
        let (_, health) = gateway.call(OPERATOR, "GET", "/health/ready", None).await;
        let reasons = health["reasons"].as_array().cloned().unwrap_or_default();
        let of_the_broker = reasons.iter().filter(|reason| reason["part"] == "broker");
        let said: Vec<String> =
            of_the_broker.map(|reason| reason["message"].as_str().unwrap_or_default().to_owned()).collect();
        if fits(&said) {
            return said;
        }
        assert!(Instant::now() < until, "the health page goes on to say {health}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn slot(used: u32) -> Value {
    json!({"slot": "air_filter", "kind": "usage", "used": used, "capacity": 720, "unit": "h"})
}

#[tokio::test(flavor = "multi_thread")]
async fn broker_link_plays_the_session_of_the_contract() {
    if !is_there() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let broker = Mosquitto::start(folder.path());
    let gateway = serve(folder.path(), &broker, "");
    let shop = load_the_sample_shop(&gateway).await;
    complaints(&gateway, |said| said.is_empty()).await;

    // The bootstrap account asks for a credential, and is told to come back to the broker.
    broker.add_account("acme/_bootstrap", "bootstrap");
    let nonce = "nonce-of-the-first-device";
    let answer = format!("chan/v1/acme/_prov/{nonce}/res");
    let mut fresh =
        Device::connect_as(broker.port, "acme/_bootstrap", "bootstrap", "chan/v1/acme".into(), answer.clone()).await;
    let request = json!({"serial": "TH-0001", "model": "th-200", "hw": "b", "fw": "2.1.0", "proof": null});
    fresh.say(&format!("_prov/{nonce}/req"), request).await;
    let credential = fresh.hear_that("its credential", |heard| heard.topic == answer).await;
    assert_eq!(credential["broker"]["port"], broker.port, "{credential}");
    let (name, secret) = (credential["device"].as_str().unwrap(), credential["secret"].as_str().unwrap());
    broker.add_account(&format!("acme/{name}"), secret);

    let mut device = Device::connect(broker.port, &format!("acme/{name}"), secret).await;
    device.say("presence", json!({"state": "online", "epoch": 1, "fw": "2.1.0"})).await;
    let desc = json!({
        "model": "th-200", "kind": "thermostat",
        "telemetry": {"temperature": {"type": "number", "unit": "°C", "min": -40, "max": 80}},
        "slots": [{"slot": "air_filter", "kind": "usage", "unit": "h", "capacity": 720}],
        "placements": [{"id": "home.card", "title_max": 40, "body_max": 160}],
        "locales": ["fr", "en"], "confirm": ["press2s"], "buttons": ["ok", "later"],
    });
    device.say("desc", desc).await;
    device.say("up/sync", json!({"want": ["time", "link", "offers"], "have": {"offers": []}})).await;
    assert_eq!(device.hear("down/sync").await["link"]["state"], "none");

    device.say("up/claim", json!({"op": "start", "presence": true, "show": "code"})).await;
    let code = device.hear("down/claim").await["code"].clone();
    let confirm = json!({
        "code": code, "profile": "p1", "display_name": "Maison", "tz": "Europe/Paris", "locale": "fr-FR",
        "consents": [{"purpose": "offers.device", "granted": true, "text_id": "t1"}],
    });
    gateway.ask(&shop, "POST", "/v1/claims/confirm", Some(&confirm)).await;
    assert_eq!(device.hear("down/claim").await["op"], "linked");

    device.say("up/slot", slot(590)).await;
    device.say("up/slot", slot(612)).await;
    let put = device.hear("down/offer").await;
    let offer = put["offer"]["id"].as_str().unwrap().to_owned();
    device.say("up/offer/receipt", json!({"offer": offer, "rev": 1, "state": "shown"})).await;

    // Behind a broker an order needs the device's signature, and a listener cannot use it again.
    let accept = json!({"offer": offer, "rev": 1, "answer": "accept", "nonce": "n-1"});
    let unsigned = device.say("up/offer/answer", accept.clone()).await;
    let refused = device.hear("down/error").await;
    assert_eq!((&refused["code"], &refused["ref"]["id"]), (&json!("sig.missing"), &json!(unsigned)));
    device.say_signed("up/offer/answer", accept).await;
    let order = device.hear("down/order").await;
    assert_eq!(order["state"], "submitted");
    let order = order["order"].as_str().unwrap().to_owned();
    for (rev, state) in [(2, "shipped"), (3, "delivered")] {
        let status = json!({"rev": rev, "state": state, "eta": "2026-12-01"});
        gateway.ask(&shop, "POST", &format!("/v1/orders/{order}/status"), Some(&status)).await;
        assert_eq!(device.hear("down/order").await["state"], state);
    }

    gateway.ask(&shop, "POST", &format!("/v1/devices/{name}/release"), Some(&json!({}))).await;
    assert_eq!(device.hear("down/lifecycle").await["op"], "wipe");
    device.say("up/lifecycle", json!({"op": "wiped"})).await;
    assert_eq!(device.hear("down/lifecycle").await["op"], "released");
    assert!(gateway.end(), "the gateway ends by itself, and in order, when it is asked to");
}
