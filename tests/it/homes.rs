//! Homes that a stranger watches: each has a device that says what it owes until it is acknowledged,
//! and keeps a book of its own about what was acknowledged, offered and ordered.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use rumqttc::{AsyncClient, Event, EventLoop, MqttOptions, Outgoing, Packet, QoS};
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::gateway::{Gateway, OPERATOR, STEP_SECONDS_MAX};

/// Messages of a client's own queue: one is in flight at a time.
const CLIENT_QUEUE_MESSAGES: usize = 16;

/// A device, and what a stranger knows of it.
pub struct Device {
    pub name: String,
    pub secret: String,
    /// Not acknowledged yet, oldest first: id, topic, body. Sent again with the same id until it is.
    pub owes: VecDeque<(String, &'static str, Value)>,
    /// Acknowledged ids, in order.
    pub acknowledged: Vec<String>,
    said: u32,
    pub offers: BTreeSet<String>,
    pub orders: BTreeSet<String>,
    /// Codes of refusals that it heard, each message's once.
    pub errors: Vec<String>,
    /// Whether it accepts what it is offered; who does not may be refused.
    pub answers: bool,
    refused: BTreeSet<String>,
    may_be_refused: bool,
}

impl Device {
    fn new(name: String, secret: String, readings: u32) -> Device {
        let mut device = Device {
            name,
            secret,
            owes: VecDeque::new(),
            acknowledged: Vec::new(),
            said: 0,
            offers: BTreeSet::new(),
            orders: BTreeSet::new(),
            errors: Vec::new(),
            answers: true,
            refused: BTreeSet::new(),
            may_be_refused: false,
        };
        let slot = |used: u32| json!({"slot": "air_filter", "kind": "usage", "used": used, "unit": "h"});
        device.will_say("presence", json!({"state": "online", "epoch": 1}));
        device.will_say("up/slot", slot(590));
        device.will_say("up/slot", slot(612));
        for n in 0..readings {
            device.will_say("up/telemetry", json!({"samples": [{"f": {"temperature": 18 + n % 4}}]}));
        }
        device
    }

    /// Adds to what it owes.
    pub fn will_say(&mut self, topic: &'static str, body: Value) {
        self.said += 1;
        self.owes.push_back((format!("m-{}", self.said), topic, body));
    }

    /// It has nothing more to say and has its order.
    pub fn is_content(&self) -> bool {
        self.owes.is_empty() && !self.orders.is_empty()
    }

    /// It will accept an offer, and hear a refusal where that is the answer.
    pub fn accept(&mut self, offer: &str) {
        self.may_be_refused = true;
        self.will_say("up/offer/answer", json!({"offer": offer, "rev": 1, "answer": "accept", "nonce": "n-1"}));
    }

    /// It has its order, or was refused one.
    pub fn is_answered(&self) -> bool {
        !self.orders.is_empty() || !self.errors.is_empty()
    }

    /// Talks to the gateway until it is content, the connection ends, or `over`.
    pub async fn live(self, address: (String, u16), over: watch::Receiver<bool>) -> Device {
        self.live_until(address, over, Device::is_content).await
    }

    /// The same until it is so.
    pub async fn live_until(
        mut self,
        address: (String, u16),
        mut over: watch::Receiver<bool>,
        is_so: fn(&Device) -> bool,
    ) -> Device {
        let (client, mut events) = self.connect(address);
        let mut sent = None;
        while !is_so(&self) {
            if sent.is_none()
                && let Some((id, topic, body)) = self.owes.front()
            {
                let payload = json!({"v": "1.0", "id": id, "body": body}).to_string();
                let topic = format!("chan/v1/acme/{}/{topic}", self.name);
                if client.publish(topic, QoS::AtLeastOnce, false, payload).await.is_err() {
                    break;
                }
                sent = Some(None);
            }
            let event = tokio::select! {
                event = events.poll() => event,
                _ = over.wait_for(|over| *over) => break,
            };
            match event {
                Ok(Event::Outgoing(Outgoing::Publish(packet))) => sent = Some(Some(packet)),
                Ok(Event::Incoming(Packet::PubAck(ack))) if sent == Some(Some(ack.pkid)) => {
                    let (id, ..) = self.owes.pop_front().unwrap();
                    self.acknowledged.push(id);
                    sent = None;
                }
                Ok(Event::Incoming(Packet::Publish(heard))) => {
                    self.hears(&heard.topic, &serde_json::from_slice(&heard.payload).unwrap());
                }
                Ok(_) => {}
                // The gateway died; what is not acknowledged is sent to the next one.
                Err(_) => break,
            }
        }
        self
    }

    fn connect(&self, (host, port): (String, u16)) -> (AsyncClient, EventLoop) {
        let mut options = MqttOptions::new(&self.name, host, port);
        options.set_credentials(format!("acme/{}", self.name), &self.secret);
        let (client, events) = AsyncClient::new(options, CLIENT_QUEUE_MESSAGES);
        client.try_subscribe(format!("chan/v1/acme/{}/down/#", self.name), QoS::AtLeastOnce).unwrap();
        (client, events)
    }

    fn hears(&mut self, topic: &str, envelope: &Value) {
        let body = &envelope["body"];
        if topic.ends_with("down/offer") && body["op"] == "put" {
            let offer = body["offer"]["id"].as_str().unwrap();
            if self.offers.insert(offer.to_owned()) && self.answers {
                let answer = json!({"offer": offer, "rev": 1, "answer": "accept", "nonce": "n-1"});
                self.will_say("up/offer/answer", answer);
            }
        }
        if topic.ends_with("down/order") {
            self.orders.insert(body["order"].as_str().unwrap().to_owned());
        }
        if topic.ends_with("down/error") {
            assert!(self.may_be_refused, "{}: {envelope}", self.name);
            if self.refused.insert(body["ref"]["id"].as_str().unwrap().to_owned()) {
                self.errors.push(body["code"].as_str().unwrap().to_owned());
            }
        }
    }
}

/// Lets homes live until each has said what it owes and has its order.
pub async fn live_until_content(gateway: &Gateway, devices: Vec<Device>) -> Vec<Device> {
    let (_never, is_over) = watch::channel(false);
    let lives = devices.into_iter().map(|device| tokio::spawn(device.live(gateway.mqtt.clone(), is_over.clone())));
    let lives: Vec<_> = lives.collect();
    let mut devices = Vec::new();
    for life in lives {
        let device = tokio::time::timeout(STEP_SECONDS_MAX, life).await;
        let device = device.expect("a device waits for ever: its edge, its offer or its answer was lost").unwrap();
        assert!(device.is_content(), "the connection of {} ended before it had said all", device.name);
        devices.push(device);
    }
    devices
}

/// What the gateway logged is what was acknowledged, in order and once.
pub async fn nothing_is_lost_or_logged_twice(gateway: &Gateway, shop: &str, devices: &[Device]) {
    for device in devices {
        let path = format!("/v1/devices/{}/messages?last=1000", device.name);
        let log = gateway.ask(shop, "GET", &path, None).await;
        let mut logged: Vec<&str> = log["items"].as_array().unwrap().iter().filter_map(|m| m["id"].as_str()).collect();
        // Newest first; what took effect again would stand there again.
        logged.reverse();
        assert_eq!(logged, device.acknowledged, "{}: the log beside what was acknowledged", device.name);
    }
}

/// Each home was offered one thing, and ordered it once.
pub async fn nothing_is_sold_twice(gateway: &Gateway, shop: &str, devices: &[Device]) {
    let mut sold: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut path = "/v1/orders?limit=100".to_owned();
    loop {
        let page = gateway.ask(shop, "GET", &path, None).await;
        for order in page["items"].as_array().unwrap() {
            let (offer, order) = (order["offer"].as_str().unwrap(), order["order"].as_str().unwrap());
            sold.entry(offer.to_owned()).or_default().push(order.to_owned());
        }
        let Some(next) = page["next"].as_str() else { break };
        path = format!("/v1/orders?limit=100&cursor={next}");
    }
    assert_eq!(sold.len(), devices.len(), "each home was offered one filter and took it");
    for device in devices {
        // The edge was crossed once: however often it was told, it is one offer and one order.
        assert_eq!((device.offers.len(), device.orders.len()), (1, 1), "{}", device.name);
        let orders: Vec<String> = device.orders.iter().cloned().collect();
        assert_eq!(sold.get(device.offers.first().unwrap()), Some(&orders), "{}", device.name);
    }
}

/// Homes with a linked device each, as a shop brings an existing fleet in.
pub async fn new_homes(gateway: &Gateway, shop: &str, round: u64, number: usize, readings: u32) -> Vec<Device> {
    let names: Vec<String> = (0..number).map(|n| format!("d-{round}-{n}")).collect();
    let lines = |of: &dyn Fn(&String) -> Value| names.iter().map(|name| format!("{}\n", of(name))).collect::<String>();
    let registered = gateway
        .bulk(OPERATOR, "/v1/devices:bulk", lines(&|name| json!({"maker": "acme", "device": name, "model": "th-200"})))
        .await;
    let linked = gateway
        .bulk(
            shop,
            "/v1/links:bulk",
            lines(&|name| {
                json!({"device": name, "profile": format!("p-{name}"), "role": "owner", "tz": "Europe/Paris",
                       "locale": "fr-FR", "consents": [{"purpose": "offers.device", "granted": true}]})
            }),
        )
        .await;
    assert!(linked.iter().all(|line| line["link"].is_string()), "{linked:?}");
    let secrets = registered.iter().map(|line| line["secret"].as_str().unwrap().to_owned());
    names.iter().cloned().zip(secrets).map(|(name, secret)| Device::new(name, secret, readings)).collect()
}
