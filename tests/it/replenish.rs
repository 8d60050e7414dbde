//! What runs out, over MQTT and HTTP against the program: a month of history, an order under a
//! mandate that outlives a kill, a purchase elsewhere, a refill, the drawing.

use std::process::Command;

use hearthway_core::forecast::{Priors, ProductPrior};
use rumqttc::{AsyncClient, Event, EventLoop, MqttOptions, Packet, QoS};
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::gateway::{Gateway, OPERATOR, STEP_SECONDS_MAX};
use crate::stock_clients::load_the_sample_shop;

const DAY_MS: i64 = 86_400_000;

/// A thermostat with a session of its own.
pub struct Thermostat {
    client: AsyncClient,
    events: EventLoop,
    said: u32,
}

impl Thermostat {
    pub async fn connect(gateway: &Gateway, secret: &str) -> Thermostat {
        let (host, port) = gateway.mqtt.clone();
        let mut options = MqttOptions::new("d-1", host, port);
        options.set_credentials("acme/d-1", secret);
        let (client, events) = AsyncClient::new(options, 64);
        client.subscribe("chan/v1/acme/d-1/down/#", QoS::AtLeastOnce).await.unwrap();
        let mut it = Thermostat { client, events, said: 0 };
        it.says("presence", json!({"state": "online", "epoch": 1})).await;
        it
    }
    /// Says something and waits until it is acknowledged; what it hears meanwhile.
    pub async fn says(&mut self, topic: &str, body: Value) -> Vec<(String, Value)> {
        self.publishes(topic, json!({"body": body})).await
    }
    /// The same from a device that has just started.
    pub async fn says_after_a_start(&mut self, topic: &str, body: Value) -> Vec<(String, Value)> {
        self.publishes(topic, json!({"body": body, "up_ms": 0})).await
    }
    async fn publishes(&mut self, topic: &str, mut envelope: Value) -> Vec<(String, Value)> {
        self.said += 1;
        envelope["v"] = "1.0".into();
        envelope["id"] = format!("m-{}-{}", std::process::id(), self.said).into();
        let payload = envelope.to_string();
        self.client.publish(format!("chan/v1/acme/d-1/{topic}"), QoS::AtLeastOnce, false, payload).await.unwrap();
        let mut heard = Vec::new();
        loop {
            match timeout(STEP_SECONDS_MAX, self.events.poll()).await.expect("an acknowledgement comes").unwrap() {
                Event::Incoming(Packet::PubAck(_)) => return heard,
                Event::Incoming(Packet::Publish(packet)) => heard.push(read(&packet.topic, &packet.payload)),
                _ => {}
            }
        }
    }
    /// The next message on a topic.
    pub async fn hears(&mut self, wanted: &str, mut heard: Vec<(String, Value)>) -> Value {
        loop {
            if let Some(at) = heard.iter().position(|(topic, _)| topic == wanted) {
                return heard.swap_remove(at).1;
            }
            let Ok(event) = timeout(STEP_SECONDS_MAX, self.events.poll()).await else { panic!("no {wanted}") };
            if let Event::Incoming(Packet::Publish(packet)) = event.unwrap() {
                heard.push(read(&packet.topic, &packet.payload));
            }
        }
    }
    async fn used(&mut self, hours: f64, t: i64) -> Vec<(String, Value)> {
        let body = json!({"slot": "air_filter", "kind": "usage", "used": hours, "capacity": 720, "unit": "h", "t": t});
        self.says("up/slot", body).await
    }
}

fn read(topic: &str, payload: &[u8]) -> (String, Value) {
    let envelope: Value = serde_json::from_slice(payload).unwrap();
    (topic.trim_start_matches("chan/v1/acme/d-1/").to_owned(), envelope["body"].clone())
}

pub fn now() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}

fn runs_out() -> Value {
    json!({
        "kind": "replenish",
        "on": {"event": "forecast", "device": {"kind": "thermostat"}, "slot": "air_filter", "field": "order_by"},
        "offer": {
            "product": {"by": "slot_compatible"}, "actions": ["order", "decline"],
            "text": {
                "fr": {"title": "Filtre bientôt usé", "body": "{{ product.name }}, {{ slot.expected_empty }}."},
                "en": {"title": "Filter nearly worn", "body": "{{ product.name }}, {{ slot.expected_empty }}."},
            },
        },
        "replenish": {"mode": "auto", "notice": "24h"},
    })
}

/// A home with a thermostat whose owner consents to orders without asking; the device's secret.
async fn a_home(gateway: &Gateway, shop: &str) -> String {
    let line = json!({"maker": "acme", "device": "d-1", "model": "th-200"}).to_string();
    let made = gateway.bulk(OPERATOR, "/v1/devices:bulk", line).await;
    let link = json!({
        "device": "d-1", "profile": "p-1", "role": "owner", "tz": "Europe/Paris", "locale": "fr-FR",
        "consents": [{"purpose": "replenish.device", "granted": true}, {"purpose": "auto_order", "granted": true}],
    });
    let linked = gateway.bulk(shop, "/v1/links:bulk", link.to_string()).await;
    assert!(linked[0]["link"].is_string(), "{linked:?}");
    gateway.ask(shop, "PUT", "/v1/triggers/runs-out", Some(&runs_out())).await;
    gateway.ask(shop, "POST", "/v1/triggers/runs-out/publish", Some(&json!({}))).await;
    made[0]["secret"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_mandate_orders_what_runs_out_over_a_kill_and_the_home_may_still_say_no() {
    let data = tempfile::tempdir().unwrap();
    let gateway = Gateway::serve(data.path());
    let shop = load_the_sample_shop(&gateway).await;
    let secret = a_home(&gateway, &shop).await;
    let mandate = json!({
        "profile": "p-1", "device": "d-1", "slot": "air_filter", "products": ["flt-20x25"],
        "max_price": {"minor": 5000, "currency": "EUR"}, "max_per_30d": 2,
        "expires_at": jiff::Timestamp::from_millisecond(now() + 90 * DAY_MS).unwrap().to_string(),
    });
    gateway.ask(&shop, "PUT", "/v1/mandates/m-1", Some(&mandate)).await;
    let mut device = Thermostat::connect(&gateway, &secret).await;
    let mut heard = Vec::new();
    // Eight hours a day for thirty days: at 700 of 720 hours it is late to order.
    for ago in (0..=30).rev() {
        let hours = 700.0 - 8.0 * f64::from(ago);
        heard.extend(device.used(hours, now() - i64::from(ago) * DAY_MS).await);
    }
    let order = device.hears("down/replenish", heard).await;
    assert_eq!((&order["mandate"], &order["lines"][0]["product"]), (&json!("m-1"), &json!("flt-20x25")), "{order}");
    let id = order["order"].as_str().unwrap().to_owned();
    drop(gateway);

    let gateway = Gateway::serve(data.path());
    let known = gateway.ask(&shop, "GET", &format!("/v1/orders/{id}"), None).await;
    assert_eq!((&known["state"], &known["lines"][0]["qty"]), (&json!("confirmed"), &json!(1)), "{known}");
    assert_eq!(gateway.ask(&shop, "GET", "/v1/mandates/m-1", None).await["ordered"][0]["order"], json!(id));
    let mut device = Thermostat::connect(&gateway, &secret).await;
    device.said = 1_000;
    let heard = device.says("up/replenish", json!({"order": id, "op": "cancel", "nonce": "n-1"})).await;
    let mut told = device.hears("down/order", heard).await;
    while told["state"] != "cancelled" {
        told = device.hears("down/order", Vec::new()).await;
    }
    assert_eq!(told["order"], json!(id));
    assert_eq!(gateway.ask(&shop, "GET", "/v1/mandates/m-1", None).await["ordered"], json!([]));

    // Bought in the store, inserted, and seen.
    let bought = json!({
        "specversion": "1.0", "id": "till-1", "source": "/stores/st-1", "type": "purchase",
        "data": {"profile": "p-1", "product": "flt-20x25", "qty": 2},
    });
    gateway.ask(&shop, "POST", "/v1/events", Some(&bought)).await;
    device.used(2.0, now()).await;
    let slots = gateway.ask(&shop, "GET", "/v1/devices/d-1/slots", None).await;
    let slot = &slots["items"][0];
    assert_eq!((&slot["on_hand"], &slot["used"]), (&json!(1), &json!(2)), "{slot}");
    assert!(slot["forecast"]["expected_empty"]["p50"].is_string(), "{slot}");
    let history = gateway.ask(&shop, "GET", "/v1/devices/d-1/slots/air_filter/history", None).await;
    let points = history["points"].as_array().unwrap();
    assert_eq!((points.len(), &points[31]["refilled"]), (32, &json!(true)));
    assert!(history["decisions"].as_array().unwrap().iter().any(|of| of["verdict"] == "sent"), "{history}");
    let report = gateway.ask(&shop, "GET", "/v1/reports/forecast-error", None).await;
    assert_eq!(report["products"][0]["cycles"], 1, "{report}");

    let svg = data.path().join("filter.svg");
    let plot = Command::new(env!("CARGO_BIN_EXE_hearthway"))
        .args(["forecast", "plot", "--device", "d-1", "--url", &gateway.http, "--out"])
        .arg(&svg)
        .env("HEARTHWAY_TOKEN", &shop)
        .output()
        .unwrap();
    assert!(plot.status.success(), "{}", String::from_utf8_lossy(&plot.stderr));
    assert!(String::from_utf8_lossy(&plot.stdout).starts_with("32 readings, "));
    assert!(std::fs::read_to_string(svg).unwrap().contains("replaced by a full one"));

    // The stopped gateway's log tells what its homes taught, and a running one takes it.
    assert!(gateway.end());
    let priors = data.path().join("priors.json");
    let gateway = Gateway::serve(&data.path().join("another"));
    let shop = load_the_sample_shop(&gateway).await;
    let refit = Command::new(env!("CARGO_BIN_EXE_hearthway"))
        .args(["forecast", "refit", "--url", &gateway.http, "--data"])
        .arg(data.path())
        .arg("--out")
        .arg(&priors)
        .env("HEARTHWAY_TOKEN", &shop)
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&refit.stdout).into_owned();
    assert!(refit.status.success(), "{told}{}", String::from_utf8_lossy(&refit.stderr));
    assert!(told.starts_with("1 homes, 1 slots, "), "{told}");
    assert!(told.contains("flt-20x25: new, ") && told.contains(" priors published"), "{told}");
    let fitted: Priors = serde_json::from_str(&std::fs::read_to_string(priors).unwrap()).unwrap();
    let published = gateway.ask(&shop, "GET", "/v1/priors/flt-20x25", None).await;
    let published: ProductPrior = serde_json::from_value(published).unwrap();
    assert_eq!(published, fitted.products["flt-20x25"]);
}
