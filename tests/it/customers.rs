//! One customer on two channels at once: what they say in the app holds on the device, and the other way round.

use rumqttc::{AsyncClient, Event, EventLoop, MqttOptions, Packet, QoS};
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::gateway::{Gateway, OPERATOR, STEP_SECONDS_MAX};
use crate::stock_clients::load_the_sample_shop;

/// A thermostat with a session of its own.
struct Thermostat {
    client: AsyncClient,
    events: EventLoop,
    said: u32,
    heard: Vec<(String, Value)>,
}

impl Thermostat {
    async fn connect(gateway: &Gateway, name: &str, secret: &str, listens: bool) -> Thermostat {
        let (host, port) = gateway.mqtt.clone();
        let mut options = MqttOptions::new(name, host, port);
        options.set_credentials(format!("acme/{name}"), secret);
        let (client, events) = AsyncClient::new(options, 64);
        if listens {
            client.subscribe(format!("chan/v1/acme/{name}/down/#"), QoS::AtLeastOnce).await.unwrap();
        }
        Thermostat { client, events, said: 0, heard: Vec::new() }
    }

    /// Says something and waits until it is acknowledged.
    async fn says(&mut self, name: &str, topic: &str, body: Value) {
        self.said += 1;
        let id = format!("m-{}-{}", jiff::Timestamp::now().as_nanosecond(), self.said);
        let payload = json!({"v": "1.0", "id": id, "body": body}).to_string();
        self.client.publish(format!("chan/v1/acme/{name}/{topic}"), QoS::AtLeastOnce, false, payload).await.unwrap();
        while !self.turns().await {}
    }

    async fn worn(&mut self, name: &str) {
        for used in [20, 612] {
            let body = json!({"slot": "air_filter", "kind": "usage", "used": used, "capacity": 720, "unit": "h"});
            self.says(name, "up/slot", body).await;
        }
    }

    /// One turn of the connection; whether it was an acknowledgement.
    async fn turns(&mut self) -> bool {
        match timeout(STEP_SECONDS_MAX, self.events.poll()).await.expect("the gateway answers").unwrap() {
            Event::Incoming(Packet::PubAck(_)) => true,
            Event::Incoming(Packet::Publish(packet)) => {
                let envelope: Value = serde_json::from_slice(&packet.payload).unwrap();
                let topic = packet.topic.splitn(5, '/').last().unwrap().to_owned();
                self.heard.push((topic, envelope["body"].clone()));
                false
            }
            _ => false,
        }
    }

    /// The next message on a topic that fits.
    async fn hears(&mut self, topic: &str, fits: impl Fn(&Value) -> bool) -> Value {
        loop {
            if let Some(at) = self.heard.iter().position(|(heard, body)| heard == topic && fits(body)) {
                return self.heard.swap_remove(at).1;
            }
            self.turns().await;
        }
    }
}

fn granted(yes: bool) -> Value {
    json!({"consents": [{"purpose": "offers.device", "granted": yes}], "source": "app"})
}

#[tokio::test]
async fn a_withdrawal_in_the_app_reaches_the_screen_the_outbox_and_what_is_held() {
    let data = tempfile::tempdir().unwrap();
    let gateway = Gateway::serve(data.path());
    let shop = load_the_sample_shop(&gateway).await;
    let line = json!({"maker": "acme", "device": "d-1", "model": "th-200"}).to_string();
    let secret = gateway.bulk(OPERATOR, "/v1/devices:bulk", line).await[0]["secret"].as_str().unwrap().to_owned();
    let link = json!({"device": "d-1", "profile": "p-1", "tz": "Europe/Paris", "locale": "fr-FR",
        "consents": [{"purpose": "offers.device", "granted": true}]});
    let linked = gateway.bulk(&shop, "/v1/links:bulk", link.to_string()).await;
    assert!(linked[0]["link"].is_string(), "{linked:?}");
    let consents = "/v1/profiles/p-1/consents";
    let state = async |offer: &Value| {
        let path = format!("/v1/offers/{}", offer.as_str().unwrap());
        gateway.ask(&shop, "GET", &path, None).await["state"].as_str().unwrap().to_owned()
    };

    // On the screen: the device is told at once, with the proof of the word.
    let mut device = Thermostat::connect(&gateway, "d-1", &secret, true).await;
    device.says("d-1", "presence", json!({"state": "online", "epoch": 1})).await;
    device.worn("d-1").await;
    let put = device.hears("down/offer", |body| body["op"] == "put").await;
    let set = gateway.ask(&shop, "PUT", consents, Some(&granted(false))).await;
    let gone = device.hears("down/offer", |body| body["op"] == "withdraw").await;
    assert_eq!((&gone["offer"], &gone["reason"]), (&put["offer"]["id"], &json!("consent withdrawn")));
    let list = device.hears("down/consent", |body| body["consents"][0]["granted"] == json!(false)).await;
    assert_eq!(list["consents"][0]["receipt"], set["items"][0]["receipt"], "one word, one receipt: {list}");

    // Said on the device, it is what the app reads; a word from before the last one changes nothing.
    let before = jiff::Timestamp::now().as_millisecond() - 60_000;
    device.says("d-1", "up/time", json!({"t0": jiff::Timestamp::now().as_millisecond()})).await;
    let word = |granted: bool, t: Option<i64>| json!({"set": [{"purpose": "offers.device", "granted": granted, "t": t, "method": "button"}]});
    device.says("d-1", "up/consent", word(true, Some(before))).await;
    let read = gateway.ask(&shop, "GET", consents, None).await;
    assert_eq!(read["items"][0]["granted"], json!(false), "{read}");
    device.says("d-1", "up/consent", word(true, None)).await;
    let read = gateway.ask(&shop, "GET", consents, None).await;
    assert_eq!((&read["items"][0]["granted"], &read["items"][0]["source"]), (&json!(true), &json!("device")));

    // In the outbox: the device did not listen, and when it does there is nothing to hear.
    drop(device);
    let mut deaf = Thermostat::connect(&gateway, "d-1", &secret, false).await;
    deaf.worn("d-1").await;
    let waiting = gateway.ask(&shop, "GET", "/v1/offers?state=sent", None).await["items"][0]["offer"].clone();
    assert!(waiting.is_string());
    drop(deaf);
    gateway.ask(&shop, "PUT", consents, Some(&granted(false))).await;
    assert_eq!(state(&waiting).await, "withdrawn");
    let mut device = Thermostat::connect(&gateway, "d-1", &secret, true).await;
    device.says("d-1", "up/sync", json!({"want": ["offers", "consent"]})).await;
    let sync = device.hears("down/sync", |_| true).await;
    assert_eq!((&sync["offers"], &sync["consents"][0]["granted"]), (&json!([]), &json!(false)));
    assert!(sync["consents"][0]["receipt"].as_str().unwrap().starts_with("cr_"));
    let put_again = device.heard.iter().any(|(topic, body)| topic == "down/offer" && body["op"] == "put");
    assert!(!put_again, "{:?}", device.heard);

    // Held for the customer's own quiet hours: it ends too.
    gateway.ask(&shop, "PUT", consents, Some(&granted(true))).await;
    let quiet = json!({"quiet": [{"from": "00:00", "to": "12:00"}, {"from": "12:00", "to": "00:00"}]});
    gateway.ask(&shop, "PUT", "/v1/profiles/p-1/preferences", Some(&quiet)).await;
    device.worn("d-1").await;
    let held = gateway.ask(&shop, "GET", "/v1/offers?state=queued", None).await["items"][0]["offer"].clone();
    assert!(held.is_string());
    gateway.ask(&shop, "PUT", consents, Some(&granted(false))).await;
    assert_eq!(state(&held).await, "withdrawn");
}

#[tokio::test]
async fn preferences_identities_and_a_merge_outlive_a_kill() {
    let data = tempfile::tempdir().unwrap();
    let gateway = Gateway::serve(data.path());
    let shop = load_the_sample_shop(&gateway).await;
    for (device, profile) in [("d-1", "p-1"), ("d-2", "p-2")] {
        let line = json!({"maker": "acme", "device": device, "model": "th-200"}).to_string();
        gateway.bulk(OPERATOR, "/v1/devices:bulk", line).await;
        let link = json!({"device": device, "profile": profile, "tz": "Europe/Paris", "locale": "fr-FR",
            "consents": [{"purpose": "offers.device", "granted": true}]});
        gateway.bulk(&shop, "/v1/links:bulk", link.to_string()).await;
    }
    let mail = json!({"identities": [{"type": "email", "value": "anna@example.org"}]});
    gateway.ask(&shop, "PATCH", "/v1/profiles/p-2", Some(&mail)).await;
    let wish = json!({"frequency": {"per_week": 2}, "auto_order": false});
    gateway.ask(&shop, "PUT", "/v1/profiles/p-2/preferences", Some(&wish)).await;
    let before = gateway.ask(&shop, "GET", "/v1/profiles/p-2", None).await;
    let merge = gateway.ask(&shop, "POST", "/v1/profiles/merge", Some(&json!({"from": "p-2", "into": "p-1"}))).await;
    drop(gateway);
    let gateway = Gateway::serve(data.path());
    let found = json!({"type": "email", "value": "Anna@Example.org"});
    let one = gateway.ask(&shop, "POST", "/v1/profiles/lookup", Some(&found)).await;
    assert_eq!((&one["profile"], one["links"].as_array().unwrap().len()), (&json!("p-1"), 2), "{one}");
    assert_eq!(one["preferences"]["frequency"]["per_week"], 2);
    let path = format!("/v1/profiles/merges/{}/undo", merge["merge"].as_str().unwrap());
    gateway.ask(&shop, "POST", &path, Some(&json!({}))).await;
    assert_eq!(gateway.ask(&shop, "GET", "/v1/profiles/p-2", None).await, before);
}
