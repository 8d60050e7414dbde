//! The session of the device contract as one description. Who plays it and over what is
//! `every_client.rs`; the gateway and the shop may have other homes beside it.

use serde_json::{Value, json};

use crate::mosquitto::signed;
use crate::stock_clients::{Account, Client, Line};
use crate::way::{Over, Stage};

/// Plays the whole session with a device of its own, `tag` in its serial number.
pub async fn play(stage: &Stage, client: Client, over: Over, tag: &str) {
    let (gateway, shop) = (&stage.gateway, stage.shop.as_str());

    // dev → _prov/req, gw → _prov/res
    let credential = provision(stage, &client, tag).await;
    let name = credential["device"].as_str().unwrap().to_owned();
    assert_eq!(credential["username"], format!("acme/{name}"));
    let (port, is_secure) = stage.told(over);
    assert_eq!((&credential["broker"]["port"], &credential["broker"]["tls"]), (&json!(port), &json!(is_secure)));
    let secret = credential["secret"].as_str().unwrap();
    stage.admit(over, &format!("acme/{name}"), secret).await;

    // dev → presence, desc, sync; gw → sync
    let mut device = Device::connect(stage, client, over, &name, secret).await;
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
    let sync = device.hear("down/sync").await;
    assert_eq!((&sync["link"]["state"], &sync["offers"]), (&json!("none"), &json!([])));

    // dev → claim; shop → preview, confirm; gw → linked
    device.say("up/claim", json!({"op": "start", "presence": true, "show": "code"})).await;
    let code = device.hear("down/claim").await["code"].clone();
    let preview = gateway.ask(shop, "POST", "/v1/claims/preview", Some(&json!({"code": code}))).await;
    assert_eq!((&preview["device"], &preview["model"]), (&json!(name), &json!("th-200")));
    let confirm = json!({
        "code": code, "profile": format!("p-{tag}"), "display_name": "Maison", "tz": "Europe/Paris", "locale": "fr-FR",
        "consents": [{"purpose": "offers.device", "granted": true, "text_id": "t1"},
                     {"purpose": "replenish.device", "granted": true, "text_id": "t1"}],
    });
    let (status, link) = gateway.call(shop, "POST", "/v1/claims/confirm", Some(&confirm)).await;
    assert_eq!(status, 201, "{link}");
    let household = link["household"].as_str().unwrap().to_owned();
    let linked = device.hear("down/claim").await;
    assert_eq!((&linked["op"], &linked["display_name"]), (&json!("linked"), &json!("Maison")));

    // dev → slot 590 (no edge), slot 612; gw → offer
    let slot = |used: u32| json!({"slot": "air_filter", "kind": "usage", "used": used, "capacity": 720, "unit": "h"});
    device.say("up/slot", slot(590)).await;
    device.say("up/slot", slot(612)).await;
    let put = device.hear("down/offer").await;
    assert_eq!(put["op"], "put");
    let offer = &put["offer"];
    assert_eq!((&offer["rev"], &offer["placement"]), (&json!(1), &json!("home.card")));
    assert_eq!(offer["item"]["product"], "flt-20x25");
    assert_eq!(offer["price"]["total"], json!({"minor": 1990, "currency": "EUR"}));
    let id = offer["id"].as_str().unwrap().to_owned();

    // dev → receipts, answer; gw → order
    device.say("up/offer/receipt", json!({"offer": id, "rev": 1, "state": "delivered"})).await;
    device.say("up/offer/receipt", json!({"offer": id, "rev": 1, "state": "shown"})).await;
    let choice = json!({"qty": 1, "fulfil": "deliver"});
    let accept = json!({"offer": id, "rev": 1, "answer": "accept", "nonce": "n-1", "choice": choice});
    if over == Over::Broker {
        // Behind a broker an order needs the device's signature: the sender is only what a topic says.
        let unsigned = device.say("up/offer/answer", accept.clone()).await;
        let refused = device.hear("down/error").await;
        assert_eq!((&refused["code"], &refused["ref"]["id"]), (&json!("sig.missing"), &json!(unsigned)));
        device.say_signed("up/offer/answer", accept).await;
    } else {
        device.say("up/offer/answer", accept).await;
    }
    let order = device.hear("down/order").await;
    assert_eq!((&order["state"], &order["rev"]), (&json!("submitted"), &json!(1)));
    let order = order["order"].as_str().unwrap().to_owned();

    // shop → explain, orders, status; gw → order
    let why = gateway.ask(shop, "GET", &format!("/v1/explain?household={household}&trigger=filter-worn"), None).await;
    assert_eq!(why["verdict"], "sent", "{why}");
    let steps: Vec<&str> = why["steps"].as_array().unwrap().iter().filter_map(|step| step["step"].as_str()).collect();
    for step in ["consent", "caps", "offer", "placement", "send"] {
        assert!(steps.contains(&step), "the explanation lacks `{step}`: {steps:?}");
    }
    let open = gateway.ask(shop, "GET", "/v1/orders?state=submitted", None).await;
    let of_this_offer = open["items"].as_array().unwrap().iter().filter(|open| open["offer"] == id);
    assert_eq!(of_this_offer.map(|open| &open["order"]).collect::<Vec<_>>(), [&json!(order)], "{open}");
    for (rev, state) in [(2, "shipped"), (3, "delivered")] {
        let status = json!({"rev": rev, "state": state, "eta": "2026-12-01"});
        gateway.ask(shop, "POST", &format!("/v1/orders/{order}/status"), Some(&status)).await;
        let told = device.hear("down/order").await;
        assert_eq!((&told["state"], &told["rev"]), (&json!(state), &json!(rev)));
    }

    // shop → release; gw → wipe; dev → wiped; gw → released
    gateway.ask(shop, "POST", &format!("/v1/devices/{name}/release"), Some(&json!({}))).await;
    assert_eq!(device.hear("down/lifecycle").await["op"], "wipe");
    device.say("up/lifecycle", json!({"op": "wiped"})).await;
    let released = device.hear("down/lifecycle").await;
    assert_eq!(released["op"], "released");
    assert!(released["receipt"].is_string(), "{released}");
}

/// Asks for a credential with the maker's bootstrap secret and gives the answer's body.
async fn provision(stage: &Stage, client: &Client, tag: &str) -> Value {
    let nonce = format!("the-nonce-of-the-device-{tag}");
    let (request, answer) = (format!("chan/v1/acme/_prov/{nonce}/req"), format!("chan/v1/acme/_prov/{nonce}/res"));
    let body = json!({"serial": format!("TH-{tag}"), "model": "th-200", "hw": "b", "fw": "2.1.0", "proof": null});
    let message = json!({"v": "1.0", "id": "p-1", "body": body}).to_string();
    let account =
        Account { client_id: &format!("prov-{tag}"), user: "acme/_bootstrap", secret: &stage.bootstrap_secret };
    let text = client.ask(account, &request, &message, &answer).await;
    let envelope: Value = serde_json::from_str(text.trim()).unwrap();
    assert_eq!(envelope["v"], "1.0");
    envelope["body"].clone()
}

/// A device made of a stock client.
struct Device {
    root: String,
    secret: String,
    line: Line,
    said: u32,
}

impl Device {
    async fn connect(stage: &Stage, client: Client, over: Over, name: &str, secret: &str) -> Device {
        let root = format!("chan/v1/acme/{name}");
        let way = if over == Over::Certificate { stage.way_with_certificate(name) } else { client.way.clone() };
        let spoken = if over == Over::Certificate { "" } else { secret };
        let account = Account { client_id: name, user: &format!("acme/{name}"), secret: spoken };
        let line = Client { way, ..client }.connect(account, &format!("{root}/down/#")).await;
        Device { root, secret: secret.to_owned(), line, said: 0 }
    }

    /// Publishes a body in an envelope with an id of its own, which it gives, and waits for the
    /// acknowledgement.
    async fn say(&mut self, topic: &str, body: Value) -> String {
        self.said += 1;
        let id = format!("m-{}", self.said);
        let message = json!({"v": "1.0", "id": id, "body": body}).to_string();
        self.line.publish(&format!("{}/{topic}", self.root), &message).await;
        id
    }

    /// The same, signed.
    async fn say_signed(&mut self, topic: &str, body: Value) {
        self.said += 1;
        let topic = format!("{}/{topic}", self.root);
        let message = signed(&self.secret, &topic, &format!("m-{}", self.said), self.said, &body);
        self.line.publish(&topic, &message).await;
    }

    /// Waits for the next message on a topic and gives its body.
    async fn hear(&mut self, topic: &str) -> Value {
        let text = self.line.next(&format!("{}/{topic}", self.root)).await;
        let envelope: Value = serde_json::from_str(&text).unwrap();
        assert!(envelope["id"].is_string() && envelope["t"].is_i64(), "the envelope of {envelope}");
        envelope["body"].clone()
    }
}
