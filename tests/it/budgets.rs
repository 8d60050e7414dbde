//! A budget of 50 orders and 200 homes that all want one at once: by the app over HTTP, by the devices
//! over MQTT, and with the gateway killed in the midst of it.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::gateway::{Gateway, STEP_SECONDS_MAX};
use crate::homes::{Device, new_homes};
use crate::stock_clients::load_the_sample_shop;

const HOMES: usize = 200;
const BUDGET: u64 = 50;
/// Kills in the midst of the accepts.
const KILLS: u64 = 4;
/// Calls of one page.
const PAGE: &str = "limit=500";

/// A shop with a budget, and homes with an offer on the screen of each.
struct Sale {
    data: tempfile::TempDir,
    config: std::path::PathBuf,
    gateway: Gateway,
    shop: String,
    /// Offer and device, by offer.
    offers: BTreeMap<String, String>,
    devices: Vec<Device>,
}

impl Sale {
    async fn begin(budget: Value) -> Sale {
        let data = tempfile::tempdir().unwrap();
        let config = data.path().join("gateway.toml");
        // More shards than cores: what they share must hold all the same.
        std::fs::write(&config, "[engine]\nshards = 4\n").unwrap();
        let gateway = Gateway::serve_with(&data.path().join("data"), &config, &[]);
        let shop = load_the_sample_shop(&gateway).await;
        gateway.ask(&shop, "PUT", "/v1/triggers/filter-worn", Some(&trigger(&budget))).await;
        gateway.ask(&shop, "POST", "/v1/triggers/filter-worn/publish", Some(&json!({}))).await;
        let mut devices = new_homes(&gateway, &shop, 0, HOMES, 0).await;
        // They are offered something, and answer nothing yet.
        devices.iter_mut().for_each(|device| device.answers = false);
        let devices = live(&gateway, devices, |device| device.owes.is_empty() && !device.offers.is_empty()).await;
        let offers = devices.iter().map(|device| (device.offers.first().unwrap().clone(), device.name.clone()));
        let offers: BTreeMap<String, String> = offers.collect();
        assert_eq!(offers.len(), HOMES, "offers draw nothing: there are more of them than there is budget");
        Sale { data, config, gateway, shop, offers, devices }
    }

    async fn again(mut self) -> Sale {
        drop(self.gateway);
        self.gateway = Gateway::serve_with(&self.data.path().join("data"), &self.config, &[]);
        self
    }

    /// Orders that are not undone.
    async fn orders(&self) -> Vec<Value> {
        let page = self.gateway.ask(&self.shop, "GET", &format!("/v1/orders?{PAGE}"), None).await;
        assert!(page["next"].is_null(), "one page holds them all");
        let items = page["items"].as_array().unwrap().clone();
        items.into_iter().filter(|order| order["state"] != "cancelled").collect()
    }

    async fn spent(&self) -> Value {
        self.gateway.ask(&self.shop, "GET", "/v1/triggers/filter-worn/budget", None).await
    }

    /// The log of every home decides again what was decided.
    fn replays(self) {
        let Sale { data, gateway, .. } = self;
        assert!(gateway.end(), "it ends by itself");
        let replay = std::process::Command::new(env!("CARGO_BIN_EXE_hearthway"))
            .args(["replay", "--data"])
            .arg(data.path().join("data"))
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&replay.stdout).into_owned();
        assert!(replay.status.success(), "{said}{}", String::from_utf8_lossy(&replay.stderr));
    }
}

fn trigger(budget: &Value) -> Value {
    json!({
        "kind": "offer",
        "on": {"event": "slot", "device": {"kind": "thermostat"}, "slot": "air_filter", "field": "used",
               "rises_above": "600 h", "rearm": "50 h"},
        "offer": {"product": "flt-20x25", "cancel_window": "30 min", "discount": {"percent": 10},
                  "text": {"fr": {"title": "Filtre", "body": "{{ price.total }}"},
                           "en": {"title": "Filter", "body": "{{ price.total }}"}}},
        "limits": {"budget": budget},
    })
}

/// Lets devices live until each is `content`; one whose connection ends before fails the test.
async fn live(gateway: &Gateway, devices: Vec<Device>, content: fn(&Device) -> bool) -> Vec<Device> {
    let (_never, is_over) = watch::channel(false);
    let mut lives = JoinSet::new();
    for device in devices {
        lives.spawn(device.live_until(gateway.mqtt.clone(), is_over.clone(), content));
    }
    let lived = tokio::time::timeout(STEP_SECONDS_MAX, lives.join_all()).await.expect("a device waits for ever");
    assert!(lived.iter().all(content), "a connection ended early");
    lived
}

/// What an accept in the app came to: `accepted`, or a code.
async fn accept(gateway: &Gateway, shop: &str, offer: &str) -> String {
    let body = json!({"rev": 1, "answer": "accept", "channel": "app"});
    let (status, answer) = gateway.call(shop, "POST", &format!("/v1/offers/{offer}/answer"), Some(&body)).await;
    match status {
        200 => answer["state"].as_str().unwrap().to_owned(),
        _ => format!("{status} {}", answer["code"].as_str().unwrap_or_default()),
    }
}

fn counted<'a>(answers: impl IntoIterator<Item = &'a String>) -> BTreeMap<&'a str, usize> {
    answers.into_iter().fold(BTreeMap::new(), |mut counts, answer| {
        *counts.entry(answer.as_str()).or_default() += 1;
        counts
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_hundred_accepts_at_once_fifty_are_orders_and_a_cancelled_one_is_sold_again() {
    let sale = Sale::begin(json!({"count": BUDGET})).await;
    let answers = futures_of(&sale).await;
    let expected = BTreeMap::from([("accepted", 50), ("409 offer.budget_exhausted", 150)]);
    assert_eq!(counted(answers.values()), expected);
    assert_eq!(sale.orders().await.len(), 50);
    let spent = sale.spent().await;
    assert_eq!((&spent["spent"]["count"], &spent["left"]["count"]), (&json!(50), &json!(0)), "{spent}");

    // The 51st is there as soon as one of the fifty goes back, and only once.
    let order = sale.orders().await[0]["order"].as_str().unwrap().to_owned();
    let cancel = format!("/v1/orders/{order}/cancel");
    for _ in 0..2 {
        sale.gateway.ask(&sale.shop, "POST", &cancel, Some(&json!({"channel": "app"}))).await;
    }
    assert_eq!(sale.spent().await["left"]["count"], 1);
    let sale = sale.again().await;
    assert_eq!(sale.spent().await["left"]["count"], 1, "after a kill as before");
    let Sale { gateway, shop, .. } = &sale;
    let mut devices = new_homes(gateway, shop, 1, 2, 0).await;
    devices.iter_mut().for_each(|device| device.answers = false);
    let devices = live(gateway, devices, |device| !device.offers.is_empty()).await;
    let mut late = Vec::new();
    for device in &devices {
        late.push(accept(gateway, shop, device.offers.first().unwrap()).await);
    }
    assert_eq!(late, ["accepted", "409 offer.budget_exhausted"]);
    sale.replays();
}

/// All accepts at once; the answer by offer.
async fn futures_of(sale: &Sale) -> BTreeMap<String, String> {
    let calls =
        sale.offers.keys().map(|offer| async { (offer.clone(), accept(&sale.gateway, &sale.shop, offer).await) });
    futures_util::future::join_all(calls).await.into_iter().collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn with_kills_in_the_midst_of_it_devices_that_come_again_make_fifty_orders_too() {
    let mut sale = Sale::begin(json!({"count": BUDGET})).await;
    for device in &mut sale.devices {
        let offer = device.offers.first().unwrap().clone();
        device.accept(&offer);
    }
    let settled: fn(&Device) -> bool = |device| device.owes.is_empty() && device.is_answered();
    let mut in_the_midst = 0;
    for round in 1..=KILLS {
        let (over, is_over) = watch::channel(false);
        let mut lives = JoinSet::new();
        for device in std::mem::take(&mut sale.devices) {
            lives.spawn(device.live_until(sale.gateway.mqtt.clone(), is_over.clone(), settled));
        }
        // Killed when some are answered and others are not.
        wait_for_orders(&sale, round * BUDGET / (KILLS + 1)).await;
        sale = sale.again().await;
        over.send_replace(true);
        sale.devices = lives.join_all().await;
        let answered = sale.devices.iter().filter(|device| settled(device)).count();
        in_the_midst += usize::from((1..HOMES).contains(&answered));
    }
    assert!(in_the_midst > 0, "kills before or after all of it prove nothing");
    let devices = std::mem::take(&mut sale.devices);
    sale.devices = live(&sale.gateway, devices, settled).await;
    let ordered = sale.devices.iter().filter(|device| !device.orders.is_empty()).count();
    let refused = sale.devices.iter().flat_map(|device| &device.errors);
    assert_eq!(counted(refused), BTreeMap::from([("offer.budget_exhausted", 150)]));
    assert_eq!((ordered, sale.orders().await.len()), (50, 50));
    assert_eq!(sale.spent().await["spent"], json!({"count": 50, "amount": null}));
    sale.replays();
}

async fn wait_for_orders(sale: &Sale, wanted: u64) {
    let begun = std::time::Instant::now();
    while sale.spent().await["spent"]["count"].as_u64().unwrap() < wanted {
        assert!(begun.elapsed() < STEP_SECONDS_MAX, "the accepts stand still");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// Homes that are offered a code in the test of codes, and codes for them.
const CODED_HOMES: usize = 60;
const CODES: usize = 40;

#[tokio::test(flavor = "multi_thread")]
async fn forty_codes_are_on_forty_offers_each_on_one_also_with_a_kill_in_the_midst() {
    let data = tempfile::tempdir().unwrap();
    let mut gateway = Gateway::serve(data.path());
    let shop = load_the_sample_shop(&gateway).await;
    let mut coded = trigger(&json!({"count": 1_000}));
    coded["offer"]["discount"] = json!({"code_pool": "HEAT26"});
    for language in ["fr", "en"] {
        coded["offer"]["text"][language]["body"] = json!("{{ discount.code }}");
    }
    gateway.ask(&shop, "PUT", "/v1/triggers/filter-worn", Some(&coded)).await;
    gateway.ask(&shop, "POST", "/v1/triggers/filter-worn/publish", Some(&json!({}))).await;
    assert_eq!(gateway.call(&shop, "GET", "/v1/codes/HEAT26", None).await.0, 404);
    let mut codes: Vec<String> = (0..CODES).map(|n| format!("HEAT-{n:04}")).collect();
    codes.push("HEAT-0000".to_owned());
    let import = json!({"pool": "HEAT26", "codes": codes});
    let imported = gateway.ask(&shop, "POST", "/v1/codes:import", Some(&import)).await;
    assert_eq!(imported, json!({"pool": "HEAT26", "added": CODES, "known": 1}));
    let again = gateway.ask(&shop, "POST", "/v1/codes:import", Some(&import)).await;
    assert_eq!(again, json!({"pool": "HEAT26", "added": 0, "known": CODES + 1}));
    let (status, refused) =
        gateway.call(&shop, "POST", "/v1/codes:import", Some(&json!({"pool": "HEAT26", "codes": ["a b"]}))).await;
    assert_eq!((status, &refused["pointer"]), (422, &json!("/codes/0")), "{refused}");

    let mut devices = new_homes(&gateway, &shop, 0, CODED_HOMES, 20).await;
    devices.iter_mut().for_each(|device| device.answers = false);
    let (over, is_over) = watch::channel(false);
    let mut lives = JoinSet::new();
    let said: fn(&Device) -> bool = |device| device.owes.is_empty();
    for device in devices {
        lives.spawn(device.live_until(gateway.mqtt.clone(), is_over.clone(), said));
    }
    let begun = std::time::Instant::now();
    while gateway.ask(&shop, "GET", "/v1/codes/HEAT26", None).await["reserved"].as_u64().unwrap() < 5 {
        assert!(begun.elapsed() < STEP_SECONDS_MAX, "no code is taken");
    }
    drop(gateway);
    gateway = Gateway::serve(data.path());
    over.send_replace(true);
    let devices = lives.join_all().await;
    assert!(devices.iter().any(|device| !said(device)), "a kill after all of it proves nothing");
    live(&gateway, devices, said).await;

    let page = gateway.ask(&shop, "GET", &format!("/v1/offers?{PAGE}"), None).await;
    let offers = page["items"].as_array().unwrap().iter().filter(|offer| offer["trigger"] == "filter-worn");
    let mut seen = std::collections::BTreeSet::new();
    for offer in offers {
        let whole = gateway.ask(&shop, "GET", &format!("/v1/offers/{}", offer["offer"].as_str().unwrap()), None).await;
        assert_eq!(whole["text"]["body"], whole["code"]);
        assert!(seen.insert(whole["code"].as_str().unwrap().to_owned()), "{} is on two offers", whole["code"]);
    }
    assert_eq!(seen.len(), CODES);
    let counts = json!({"pool": "HEAT26", "total": CODES, "left": 0, "reserved": CODES, "shown": 0, "used": 0});
    assert_eq!(gateway.ask(&shop, "GET", "/v1/codes/HEAT26", None).await, counts);
}
