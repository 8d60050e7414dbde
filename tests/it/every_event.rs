//! Every type of event that webhooks can ask for is told by something that a device says or somebody calls,
//! over the program; a table shows which. One is not: no trigger stops itself yet.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::gateway::{Gateway, OPERATOR, STEP_SECONDS_MAX};
use crate::replenish::{Thermostat, now};
use crate::webhooks::{Shop, serve};

/// The contract's list.
const TYPES: [&str; 26] = [
    "device.registered",
    "device.linked",
    "device.released",
    "device.lost",
    "device.health_changed",
    "slot.low",
    "slot.refilled",
    "slot.reset",
    "offer.sent",
    "offer.shown",
    "offer.answered",
    "offer.expired",
    "offer.withdrawn",
    "replenish.suggested",
    "replenish.confirmed",
    "replenish.cancelled",
    "order.requested",
    "order.cancelled",
    "order.withdrawn",
    "order.status",
    "consent.changed",
    "profile.merged",
    "profile.erased",
    "trigger.published",
    "trigger.auto_stopped",
    "budget.threshold",
];
const NOT_TOLD: [&str; 1] = ["trigger.auto_stopped"];

/// A shop with a filter, and a trigger for each way in which an offer can go.
struct Story {
    gateway: Gateway,
    token: String,
    device: Thermostat,
}

impl Story {
    async fn call(&self, method: &str, path: &str, body: Value) -> Value {
        self.gateway.ask(&self.token, method, path, Some(&body)).await
    }
    /// A trigger that a program of the device wakes, or its filter.
    async fn publish(&self, id: &str, kind: &str, on: Value, offer: Value, limits: Value) {
        let mut trigger = json!({
            "id": id, "kind": kind, "on": on, "offer": offer, "limits": limits,
            "audience": {"consent": ["offers.device"]}, "channel": {"order": ["device:home.card"]},
        });
        trigger["offer"]["text"] =
            json!({"fr": {"title": "Bonjour", "body": "Un mot."}, "en": {"title": "Hello", "body": "A word."}});
        self.call("PUT", &format!("/v1/triggers/{id}"), trigger).await;
        self.call("POST", &format!("/v1/triggers/{id}/publish"), json!({})).await;
    }
    /// The path of the offer that the device was told of last.
    async fn offered(&mut self, heard: Vec<(String, Value)>) -> String {
        let mut put = self.device.hears("down/offer", heard).await;
        // What is accepted or taken back elsewhere is told as well.
        while put["op"] != "put" {
            put = self.device.hears("down/offer", Vec::new()).await;
        }
        format!("/v1/offers/{}", put["offer"]["id"].as_str().unwrap())
    }
    async fn programme(&mut self, word: &str) -> String {
        let heard = self.device.says("up/event", json!({"type": word})).await;
        self.offered(heard).await
    }
    async fn accept(&self, offer: &str) -> String {
        let accept = json!({"rev": 1, "answer": "accept", "channel": "app"});
        let answered = self.call("POST", &format!("{offer}/answer"), accept).await;
        format!("/v1/orders/{}", answered["order"].as_str().unwrap())
    }
    async fn receipt(&mut self, offer: &str, state: &str) {
        let offer = offer.trim_start_matches("/v1/offers/");
        self.device.says("up/offer/receipt", json!({"offer": offer, "rev": 1, "state": state})).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_type_of_event_is_told_by_something_that_happens() {
    let folder = tempfile::tempdir().unwrap();
    let gateway = serve(folder.path());
    let put = |token: &'static str, path: &'static str, body: Value| {
        let gateway = &gateway;
        async move { gateway.ask(token, "PUT", path, Some(&body)).await }
    };
    put(OPERATOR, "/v1/makers/acme", json!({"name": "Acme"})).await;
    put(
        OPERATOR,
        "/v1/retailers/shop-a",
        json!({"name": "Enseigne X", "default_locale": "fr-FR", "zone": "Europe/Paris"}),
    )
    .await;
    let model = json!({
        "maker": "acme", "kind": "thermostat", "locales": ["fr", "en"], "confirm": ["press2s"], "buttons": ["ok"],
        "slots": [{"slot": "air_filter", "kind": "usage", "unit": "h", "capacity": 720}],
        "placements": [{"id": "home.card", "title_max": 40, "body_max": 160}],
    });
    put(OPERATOR, "/v1/models/th-200", model).await;
    let mut tokens = Vec::new();
    for (tenant, role) in [("shop-a", "retailer_admin"), ("acme", "maker")] {
        let asked = json!({"tenant": tenant, "role": role, "name": "t"});
        let made = gateway.ask(OPERATOR, "POST", "/v1/tokens", Some(&asked)).await;
        tokens.push(made["token"].as_str().unwrap().to_owned());
    }
    let (shop, maker) = (Shop::open().await, Shop::open().await);
    for (token, receiver) in [(&tokens[0], &shop), (&tokens[1], &maker)] {
        receiver.is_up();
        gateway.ask(token, "PUT", "/v1/webhooks/all", Some(&json!({"url": receiver.url()}))).await;
    }
    let register = |device: &str| json!({"maker": "acme", "device": device, "model": "th-200"}).to_string();
    let link = |device: &str, profile: &str| {
        json!({"device": device, "profile": profile, "role": "owner", "tz": "Europe/Paris", "locale": "fr-FR",
               "consents": [{"purpose": "offers.device", "granted": true}, {"purpose": "replenish.device", "granted": true}]})
        .to_string()
    };
    let made = gateway.bulk(OPERATOR, "/v1/devices:bulk", format!("{}\n{}", register("d-1"), register("d-2"))).await;
    gateway.bulk(&tokens[0], "/v1/links:bulk", format!("{}\n{}", link("d-1", "p-1"), link("d-2", "p-2"))).await;
    let device = Thermostat::connect(&gateway, made[0]["secret"].as_str().unwrap()).await;
    let mut story = Story { gateway, token: tokens[0].clone(), device };
    sold_and_withdrawn(&mut story).await;
    worn_and_replaced(&mut story).await;
    known_and_forgotten(&mut story).await;

    let told = |receiver: &Shop| {
        let mut told: BTreeMap<String, usize> = BTreeMap::new();
        receiver.kinds().into_iter().for_each(|kind| *told.entry(kind).or_default() += 1);
        told
    };
    let wanted: BTreeSet<&str> = TYPES.into_iter().filter(|kind| !NOT_TOLD.contains(kind)).collect();
    let begun = std::time::Instant::now();
    let is_all = |told: &BTreeMap<String, usize>| {
        wanted.iter().all(|kind| told.contains_key(*kind) || *kind == "device.registered")
    };
    while !(is_all(&told(&shop)) && told(&maker).len() == 5) && begun.elapsed() < STEP_SECONDS_MAX {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    let (to_shop, to_maker) = (told(&shop), told(&maker));
    let count = |told: &BTreeMap<String, usize>, kind: &str| told.get(kind).copied().unwrap_or(0);
    println!("{:<24} {:>5} {:>6}", "type", "shop", "maker");
    for kind in TYPES {
        println!("{kind:<24} {:>5} {:>6}", count(&to_shop, kind), count(&to_maker, kind));
    }
    for kind in TYPES {
        let is_told = count(&to_shop, kind) + count(&to_maker, kind) > 0;
        assert_eq!(is_told, !NOT_TOLD.contains(&kind), "{kind}: {to_shop:?} {to_maker:?}");
    }
    // It came back, and what becomes of it is the shop's to say.
    let withdrawn = shop.data("order.withdrawn");
    assert_eq!(
        (&withdrawn["state"], &withdrawn["cause"]),
        (&json!("shipped"), &json!("withdrawn: app")),
        "{withdrawn}"
    );
    assert!(withdrawn["withdrawn_at"].is_string() && withdrawn["lines"][0]["product"] == "flt-20x25", "{withdrawn}");
    assert_eq!(shop.data("profile.erased")["profile"], "p-2");
    let unknown = to_shop.keys().chain(to_maker.keys()).find(|kind| !TYPES.contains(&kind.as_str()));
    assert_eq!(unknown, None, "a type that the contract does not name");
    assert!(to_maker.keys().all(|kind| kind.starts_with("device.")), "{to_maker:?}");
}

/// Offers that are ordered, taken back and run out; an order that is sent and comes back.
async fn sold_and_withdrawn(story: &mut Story) {
    let product = json!({
        "name": {"fr": "Filtre", "en": "Filter"}, "price": {"minor": 1990, "currency": "EUR"},
        "delivery": {"minor": 0, "currency": "EUR"}, "tax_incl": true, "seller": "shop-a", "withdraw_days": 14,
        "fits": [{"model": "th-200", "slot": "air_filter"}],
    });
    // Two, since what is on its way is not suggested.
    for id in ["flt-20x25", "flt-20x25-b"] {
        story.call("PUT", &format!("/v1/products/{id}"), product.clone()).await;
    }
    let on = |word: &str| json!({"event": "event", "type": word});
    let sells = json!({"product": "flt-20x25", "cancel_window": "0 s", "actions": ["order", "decline"]});
    story.publish("t-order", "offer", on("ordered"), sells, json!({"budget": {"count": 1}})).await;
    for id in ["recalled", "forgotten"] {
        story.publish(id, "tip", on(id), json!({"actions": ["decline"]}), json!({})).await;
    }
    let offer = story.programme("ordered").await;
    story.receipt(&offer, "shown").await;
    let order = story.accept(&offer).await;
    story.call("POST", &format!("{order}/status"), json!({"rev": 2, "state": "shipped"})).await;
    story.call("POST", &format!("{order}/withdraw"), json!({"channel": "app"})).await;
    let offer = story.programme("recalled").await;
    story.call("POST", &format!("{offer}/withdraw"), json!({"reason": "recalled"})).await;
    let offer = story.programme("forgotten").await;
    story.receipt(&offer, "expired").await;
}

/// A filter that wears, is suggested, ordered and not wanted after all; then replaced, and its counter lost.
async fn worn_and_replaced(story: &mut Story) {
    let on = json!({"event": "slot", "device": {"model": "th-200"}, "slot": "air_filter", "field": "used", "rises_above": "600 h"});
    let sells = json!({"product": "flt-20x25-b", "cancel_window": "10 min", "actions": ["order", "decline"]});
    story.publish("t-worn", "replenish", on, sells, json!({})).await;
    // Some minutes apart: what comes within a moment tells nothing of use.
    let used = |hours: u32, minutes_ago: i64| json!({"slot": "air_filter", "kind": "usage", "used": hours, "unit": "h", "t": now() - minutes_ago * 60_000});
    story.device.says("up/slot", used(590, 100)).await;
    let heard = story.device.says("up/slot", used(612, 95)).await;
    let offer = story.offered(heard).await;
    let order = story.accept(&offer).await;
    story.call("POST", &format!("{order}/cancel"), json!({"channel": "app"})).await;
    for (hours, minutes_ago) in [(700, 90), (3, 80), (9, 40)] {
        story.device.says("up/slot", used(hours, minutes_ago)).await;
    }
    story.device.says_after_a_start("up/slot", used(1, 0)).await;
    story.device.says("presence", json!({"state": "lost", "epoch": 1})).await;
}

/// People who permit, are met twice, and are forgotten; a device that is blocked and given back.
async fn known_and_forgotten(story: &mut Story) {
    let words = json!({"consents": [{"purpose": "profiling.usage", "granted": true}], "source": "app"});
    story.call("PUT", "/v1/profiles/p-1/consents", words).await;
    story.call("PUT", "/v1/profiles/p-3", json!({"display_name": "Maison"})).await;
    story.call("POST", "/v1/profiles/merge", json!({"from": "p-3", "into": "p-1"})).await;
    story.call("POST", "/v1/devices/d-2/suspend", json!({"reason": "stolen"})).await;
    story.call("POST", "/v1/devices/d-2/resume", json!({})).await;
    story.call("POST", "/v1/devices/d-2/release", json!({})).await;
    story.gateway.ask(&story.token, "DELETE", "/v1/profiles/p-2", None).await;
}
