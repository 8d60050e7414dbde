//! Whoever has a device next hears nothing of who had it before: over every topic, on every connection that
//! could carry it, whichever way the device left.

use std::fmt;

use device_sim::link::{Dial, Heard, Link, Protocol};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::gateway::{Gateway, OPERATOR, STEP_SECONDS_MAX};
use crate::stock_clients::load_the_sample_shop;

/// A language of the former owner that nothing else here has.
const LOCALE: &str = "fr-CA";
/// A zone of the former owner that nothing else here has.
const ZONE: &str = "Pacific/Chatham";
/// What a shop says of the former owner's parcel.
const ETA: &str = "2031-05-17";

/// How a device leaves its owner.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Leaving {
    /// A user reset on the device.
    Reset,
    /// A factory reset on the device.
    FactoryReset,
    /// Released by the owner; the device says that it is wiped.
    Released,
    /// Claimed by somebody who is at it, without a word of the owner.
    TakenOver,
}

impl Leaving {
    const ALL: [Leaving; 4] = [Leaving::Reset, Leaving::FactoryReset, Leaving::Released, Leaving::TakenOver];
}

impl fmt::Display for Leaving {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Leaving::Reset => "reset",
            Leaving::FactoryReset => "factory",
            Leaving::Released => "released",
            Leaving::TakenOver => "taken",
        })
    }
}

/// A connection that keeps all it ever heard.
struct Ear {
    link: Link,
    events: mpsc::Receiver<Heard>,
    said: u64,
    /// Topics and payloads.
    heard: Vec<(String, String)>,
    /// What was looked at.
    read: usize,
}

impl Ear {
    async fn open(gateway: &Gateway, user: &str, secret: &str, client_id: &str, filter: &str) -> Ear {
        let (host, port) = gateway.mqtt.clone();
        let dial = Dial {
            host,
            port,
            protocol: Protocol::V5,
            client_id: client_id.to_owned(),
            username: user.to_owned(),
            password: secret.to_owned(),
            will: None,
            // What waits for it in its session comes as well.
            clean: false,
            window: 4,
        };
        let (mut link, events) = Link::open(dial);
        link.subscribe(filter).unwrap();
        let mut ear = Ear { link, events, said: 0, heard: Vec::new(), read: 0 };
        while !matches!(ear.turn("a subscription").await, Heard::Subscribed { granted: true }) {}
        ear
    }

    async fn turn(&mut self, awaited: &str) -> Heard {
        let event = timeout(STEP_SECONDS_MAX, self.events.recv()).await;
        let event = event.unwrap_or_else(|_| panic!("{awaited} does not come; heard: {:#?}", self.heard)).unwrap();
        match &event {
            Heard::Message { topic, payload } => {
                self.heard.push((topic.clone(), String::from_utf8(payload.clone()).unwrap()));
            }
            Heard::Acked { refused: Some(why), .. } | Heard::Closed { why } => panic!("waiting for {awaited}: {why}"),
            Heard::Open | Heard::Subscribed { .. } | Heard::Acked { .. } => {}
        }
        event
    }

    /// Publishes, and waits until it is acknowledged.
    async fn says(&mut self, topic: &str, message: &str) {
        self.said += 1;
        self.link.publish(topic, message.as_bytes().to_vec(), self.said).unwrap();
        while !matches!(self.turn("an acknowledgement").await, Heard::Acked { .. }) {}
    }

    /// Looks on until a body on a topic fits; gives it.
    async fn hears(&mut self, topic: &str, fits: impl Fn(&Value) -> bool) -> Value {
        loop {
            while self.read < self.heard.len() {
                let (heard, payload) = &self.heard[self.read];
                self.read += 1;
                let envelope: Value = serde_json::from_str(payload).unwrap();
                if heard.ends_with(topic) && fits(&envelope["body"]) {
                    return envelope["body"].clone();
                }
            }
            self.turn(topic).await;
        }
    }
}

/// A device in a home, by its number of messages said.
struct Device {
    name: String,
    secret: String,
    said: u32,
    /// Everything that it said, to be said again.
    sent: Vec<(String, String)>,
}

impl Device {
    fn root(&self) -> String {
        format!("chan/v1/acme/{}", self.name)
    }

    async fn connect(&self, gateway: &Gateway, client_id: &str) -> Ear {
        Ear::open(gateway, &format!("acme/{}", self.name), &self.secret, client_id, &format!("{}/down/#", self.root()))
            .await
    }

    async fn says(&mut self, ear: &mut Ear, topic: &str, body: Value) {
        self.said += 1;
        let topic = format!("{}/{topic}", self.root());
        let message = json!({"v": "1.0", "id": format!("m-{}", self.said), "body": body}).to_string();
        ear.says(&topic, &message).await;
        self.sent.push((topic, message));
    }

    async fn used(&mut self, ear: &mut Ear, hours: u32) {
        self.says(ear, "up/slot", json!({"slot": "air_filter", "kind": "usage", "used": hours, "unit": "h"})).await;
    }

    /// Somebody takes it; gives what the claim answered.
    async fn claimed(&mut self, gateway: &Gateway, shop: &str, ear: &mut Ear, who: &Value) -> Value {
        self.says(ear, "up/claim", json!({"op": "start", "presence": true, "show": "code"})).await;
        let code = ear.hears("down/claim", |body| body["op"] == "code").await["code"].clone();
        let mut body = who.clone();
        body["code"] = code;
        let answer = gateway.ask(shop, "POST", "/v1/claims/confirm", Some(&body)).await;
        ear.hears("down/claim", |body| body["op"] == "linked").await;
        answer
    }
}

fn person(profile: &str, name: &str, zone: &str, locale: &str) -> Value {
    json!({"profile": profile, "display_name": name, "tz": zone, "locale": locale, "consents": [
        {"purpose": "offers.device", "granted": true, "text_id": format!("text-of-{profile}")},
        {"purpose": "replenish.device", "granted": true}]})
}

/// Everything in an answer that names somebody or something of theirs, by its form.
fn ids_in(answer: &Value) -> Vec<String> {
    let text = answer.to_string();
    let words = text.split(|letter: char| !(letter.is_ascii_alphanumeric() || letter == '_'));
    let is_id = |word: &&str| ["hh_", "ln_", "of_", "or_", "cr_", "de_"].iter().any(|form| word.starts_with(form));
    words.filter(is_id).map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_has_a_device_next_hears_nothing_of_its_former_owner() {
    let data = tempfile::tempdir().unwrap();
    let gateway = Gateway::serve(data.path());
    let shop = load_the_sample_shop(&gateway).await;
    let tip = json!({"id": "chilly", "kind": "tip",
        "on": {"event": "telemetry", "device": {"kind": "thermostat"}, "field": "temperature", "falls_below": "17 °C"},
        "offer": {"actions": ["decline", "why"], "text": {"en": {"title": "Chilly", "body": "Close the window."}}}});
    gateway.ask(&shop, "PUT", "/v1/triggers/chilly", Some(&tip)).await;
    gateway.ask(&shop, "POST", "/v1/triggers/chilly/publish", Some(&json!({}))).await;
    let key = gateway.ask(OPERATOR, "POST", "/v1/bridge-keys", Some(&json!({"maker": "acme"}))).await;
    for leaving in Leaving::ALL {
        let heard = pass_on(&gateway, &shop, key["secret"].as_str().unwrap(), leaving).await;
        assert!(heard > 20, "{leaving}: {heard} messages: the search found next to nothing to look at");
    }
    assert!(gateway.end());
}

/// The device is told to forget, and says that it has.
async fn wiped(device: &mut Device, ear: &mut Ear) {
    // It may have come before the new link did.
    let is_wipe =
        |(topic, payload): &(String, String)| topic.ends_with("/down/lifecycle") && payload.contains(r#""op":"wipe""#);
    while !ear.heard.iter().any(is_wipe) {
        ear.turn("a wipe").await;
    }
    device.says(ear, "up/lifecycle", json!({"op": "wiped"})).await;
    ear.hears("down/lifecycle", |body| body["op"] == "released").await;
}

/// One device from one owner to the next. Gives how many messages were searched.
async fn pass_on(gateway: &Gateway, shop: &str, bridge_secret: &str, leaving: Leaving) -> usize {
    let name = format!("d-{leaving}");
    let line = json!({"maker": "acme", "device": name, "model": "th-200"}).to_string();
    let secret = gateway.bulk(OPERATOR, "/v1/devices:bulk", line).await[0]["secret"].as_str().unwrap().to_owned();
    let mut device = Device { name: name.clone(), secret, said: 0, sent: Vec::new() };

    // The former owner has an order, an offer that stands, and words on consents.
    let (former, display) = (format!("marie-{leaving}"), format!("Chez Marie {leaving}"));
    let mut ear = device.connect(gateway, &name).await;
    device.says(&mut ear, "presence", json!({"state": "online", "epoch": 1})).await;
    let link = device.claimed(gateway, shop, &mut ear, &person(&former, &display, ZONE, LOCALE)).await;
    device.used(&mut ear, 590).await;
    device.used(&mut ear, 612).await;
    let put = ear.hears("down/offer", |body| body["op"] == "put").await;
    let sold = put["offer"]["id"].as_str().unwrap().to_owned();
    let accept = |offer: &str| json!({"offer": offer, "rev": 1, "answer": "accept", "nonce": "n-1"});
    device.says(&mut ear, "up/offer/answer", accept(&sold)).await;
    let order =
        ear.hears("down/order", |body| body["state"] == "submitted").await["order"].as_str().unwrap().to_owned();
    let word = json!({"set": [{"purpose": "profiling.usage", "granted": true, "method": "button"}]});
    device.says(&mut ear, "up/consent", word).await;
    let consents = ear.hears("down/consent", |_| true).await;
    device.says(&mut ear, "up/sync", json!({})).await;
    ear.hears("down/sync", |body| body["orders"][0]["order"] == json!(order)).await;

    // While it is away, more of theirs waits for it.
    ear.link.cut();
    drop(ear);
    let status = |rev: u32, state: &str| json!({"rev": rev, "state": state, "eta": ETA});
    let path = format!("/v1/orders/{order}/status");
    gateway.ask(shop, "POST", &path, Some(&status(2, "accepted"))).await;
    let said = json!({"consents": [{"purpose": "share.seller", "granted": true}], "source": "app"});
    gateway.ask(shop, "PUT", &format!("/v1/profiles/{former}/consents"), Some(&said)).await;
    let user = format!("acme/{name}");
    let mut tool = Ear::open(gateway, &user, &device.secret, "tool", &format!("{}/down/error", device.root())).await;
    for degrees in [20, 16] {
        device.says(&mut tool, "up/telemetry", json!({"samples": [{"f": {"temperature": degrees}}]})).await;
    }
    let page = format!("/v1/profiles/{former}");
    let known = gateway.ask(shop, "GET", &page, None).await;
    let open = known["offers"].as_array().unwrap().iter().find(|offer| offer["trigger"] == "chilly");
    let open = open.unwrap_or_else(|| panic!("no offer waits: {known}"))["offer"].as_str().unwrap().to_owned();

    // It leaves.
    match leaving {
        Leaving::Reset | Leaving::FactoryReset => {
            let level = if leaving == Leaving::Reset { "user" } else { "factory" };
            device.says(&mut tool, "up/lifecycle", json!({"op": "reset", "level": level, "presence": true})).await;
        }
        Leaving::Released => {
            gateway.ask(shop, "POST", &format!("/v1/devices/{name}/release"), Some(&json!({}))).await;
        }
        Leaving::TakenOver => {}
    }
    drop(tool);

    // What comes to it is heard by its maker too, while it is away, and beside it.
    let bridge = format!("bridge-{leaving}");
    let listening = || Ear::open(gateway, "acme/_bridge", bridge_secret, &bridge, "chan/v1/acme/+/down/#");
    let maker = if leaving == Leaving::TakenOver { None } else { Some(listening().await) };
    // It comes back to its session. Until somebody else takes it over it is still the former owner's.
    let mut own = device.connect(gateway, &name).await;
    device.says(&mut own, "presence", json!({"state": "online", "epoch": 2})).await;
    if leaving == Leaving::TakenOver {
        own.hears("down/order", |body| body["eta"] == ETA).await;
        own.hears("down/offer", |body| body["offer"]["id"] == json!(open)).await;
    }
    if leaving == Leaving::Released {
        wiped(&mut device, &mut own).await;
    }
    let next = person(&format!("jean-{leaving}"), "Chez Jean", "Europe/Paris", "fr-FR");
    let taken = device.claimed(gateway, shop, &mut own, &next).await;
    assert_ne!(taken["household"], link["household"]);
    let first = if leaving == Leaving::TakenOver { own.read } else { 0 };
    let mut maker = match maker {
        Some(maker) => maker,
        None => listening().await,
    };
    let mut beside = device.connect(gateway, &format!("{name}-beside")).await;
    if leaving == Leaving::TakenOver {
        wiped(&mut device, &mut own).await;
    }

    // The former owner's life goes on.
    gateway.ask(shop, "POST", &path, Some(&status(3, "shipped"))).await;
    gateway.ask(shop, "POST", &path, Some(&status(4, "delivered"))).await;
    let back = json!({"lines": [{"product": "flt-20x25", "qty": 1}]});
    gateway.ask(shop, "POST", &format!("/v1/orders/{order}/refund"), Some(&back)).await;
    let said = json!({"consents": [{"purpose": "offers.device", "granted": false}], "source": "app"});
    gateway.ask(shop, "PUT", &format!("{page}/consents"), Some(&said)).await;
    gateway.ask(shop, "PATCH", &page, Some(&json!({"display_name": display, "segments": ["eco"]}))).await;
    gateway.ask(shop, "PUT", &format!("{page}/preferences"), Some(&json!({"frequency": {"per_day": 1}}))).await;

    // The device asks for all there is, says again all that it said for the former owner, and asks after their things.
    device.says(&mut own, "up/sync", json!({})).await;
    let sync = own.hears("down/sync", |_| true).await;
    assert_eq!((&sync["offers"], &sync["orders"]), (&json!([]), &json!([])), "{leaving}: {sync}");
    device.says(&mut own, "up/offer/get", json!({})).await;
    device.says(&mut own, "up/doctor", json!({"anything": 1})).await;
    own.hears("down/doctor", |_| true).await;
    let named = own.heard.len();
    for (topic, message) in device.sent.clone() {
        let is_harmless = !topic.ends_with("/up/lifecycle") && !topic.ends_with("/up/claim");
        if is_harmless {
            own.says(&topic, &message).await;
        }
    }
    let new = format!("/v1/profiles/jean-{leaving}");
    let person = gateway.ask(shop, "GET", &new, None).await;
    let words = person["consents"].as_array().unwrap().iter().map(|word| word["purpose"].as_str().unwrap());
    let words: Vec<&str> = words.collect();
    assert_eq!(words, ["offers.device", "replenish.device"], "{leaving}: a word said again is not the next owner's");
    assert_eq!(person["offers"], json!([]), "{leaving}: a reading said again is not the next owner's");
    for offer in [&sold, &open] {
        device.says(&mut own, "up/offer/receipt", json!({"offer": offer, "rev": 1, "state": "shown"})).await;
        device.says(&mut own, "up/offer/answer", json!({"offer": offer, "rev": 1, "answer": "why"})).await;
        device.says(&mut own, "up/offer/answer", accept(offer)).await;
    }
    for op in ["cancel", "withdraw", "problem"] {
        device.says(&mut own, "up/order", json!({"order": order, "op": op, "nonce": "n-7"})).await;
    }
    device.says(&mut own, "up/replenish", json!({"order": order, "op": "cancel", "nonce": "n-8"})).await;
    device.says(&mut own, "up/sync", json!({"want": ["link"]})).await;
    own.hears("down/sync", |body| body["link"]["display_name"] == "Chez Jean" && body.get("offers").is_none()).await;
    let named = named..own.heard.len();

    // The next owner is spoken to as anybody.
    device.used(&mut own, 10).await;
    device.used(&mut own, 640).await;
    let put = own.hears("down/offer", |body| body["op"] == "put").await;
    let offer = put["offer"]["id"].as_str().unwrap().to_owned();
    device.says(&mut own, "up/offer/answer", accept(&offer)).await;
    own.hears("down/order", |body| body["offer"] == json!(offer)).await;
    beside.hears("down/order", |body| body["offer"] == json!(offer)).await;

    let mut former_words =
        vec![former.clone(), display, format!("text-of-{former}"), LOCALE.into(), ZONE.into(), ETA.into()];
    former_words
        .extend([&known, &link, &consents, &gateway.ask(shop, "GET", &page, None).await].into_iter().flat_map(ids_in));
    let whole = gateway.ask(shop, "GET", &format!("/v1/offers/{open}"), None).await;
    former_words.push(whole["decision"].as_str().unwrap().to_owned());
    let mut searched = 0;
    for (who, ear) in [("its own session", &own), ("a session beside", &beside), ("its maker", &maker)] {
        let first = if who == "its own session" { first } else { 0 };
        for (n, (topic, payload)) in ear.heard.iter().enumerate().skip(first) {
            if !topic.contains(&name) {
                continue;
            }
            searched += 1;
            // An answer to a message that names something repeats that name, and says only that there is no such thing.
            let mut rest = payload.clone();
            let is_answer = topic.ends_with("/down/error");
            if is_answer && (who != "its own session" || named.contains(&n)) {
                let body: Value = serde_json::from_str::<Value>(payload).unwrap()["body"].clone();
                let knows_nothing = ["offer.unknown", "order.not_cancellable"].iter().any(|code| body["code"] == *code);
                assert!(knows_nothing, "{leaving}: {who}: {payload}");
                for asked in [&sold, &open, &order] {
                    rest = rest.replace(asked.as_str(), "");
                }
            }
            for word in &former_words {
                assert!(!rest.contains(word.as_str()), "{leaving}: {who} heard `{word}` on {topic}: {payload}");
            }
        }
    }
    maker.link.disconnect();
    searched
}
