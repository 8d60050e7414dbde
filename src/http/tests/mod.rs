//! The API over a real connection, with the engine and the store in memory behind it.
#![allow(clippy::unwrap_used)]

mod audiences;
mod audit;
mod catalog;
mod changed_models;
mod consents;
mod context;
mod conventions;
mod customers;
mod erasure;
mod erasure_apart;
mod erasure_orders;
mod first_steps;
mod goods;
mod grants;
mod households;
mod me;
mod merges;
mod price_lists;
mod reports;
mod second_person;
mod session;
mod stays;
mod stolen;
mod supply;
mod tenants;
mod tries;
mod two_homes;
mod upkeep;
mod visibility;
mod webhooks;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use hearthway_core::id::DeviceKey;
use hearthway_core::input::{Input, What};
use hearthway_core::model::Evidence;
use hearthway_core::wire::{ClaimUp, DeviceMessage, SlotUp};
use serde_json::{Value, json};

use crate::app::{App, BrokerAddress, Rulebook, Settings};
use crate::clock::{Clock, SystemClock};
use crate::engine::{self, Engine, Outcome, Target};
use crate::store::keys::Key;
use crate::store::memory::MemoryStore;
use crate::store::sealed::{Making, SealedStore, SealingSecrets};
use crate::store::{self, AllItems, Commit, Items, Mark, Rows, Store, StoreError, reads_pass_through};
use crate::webhook::address::Reach;
use crate::webhook::{Courier, Wire};

pub(super) const OPERATOR: &str = "operator-token-of-the-tests";

/// A gateway without its device endpoint: devices speak to the engine directly.
pub(super) struct House {
    base: String,
    pub(super) app: Arc<App>,
    client: reqwest::Client,
    pub(super) shop: String,
    pub(super) other_shop: String,
    pub(super) maker: String,
    pub(super) disk: Disk,
}

/// What outlives a gateway: the store under its seal, and the customers' keys.
#[derive(Clone)]
pub(super) struct Disk {
    pub(super) rows: Arc<MemoryStore>,
    pub(super) dir: Arc<tempfile::TempDir>,
    /// Whether it writes nothing, and whether it writes and says that it did not.
    pub(super) trouble: Arc<Trouble>,
}

/// What is wrong with a disk.
#[derive(Default)]
pub(super) struct Trouble {
    pub(super) fails: AtomicBool,
    pub(super) lies: AtomicBool,
}

/// A store on a disk that may be in trouble.
struct Troubled(Arc<MemoryStore>, Arc<Trouble>);

impl Store for Troubled {
    fn commit(&self, group: &[Commit]) -> Result<Vec<store::Outcome>, StoreError> {
        let failed = || Err(StoreError::Failed { doing: "committing", cause: "the disk is in trouble".into() });
        if self.1.fails.load(Ordering::Relaxed) {
            return failed();
        }
        let outcomes = self.0.commit(group)?;
        if self.1.lies.load(Ordering::Relaxed) { failed() } else { Ok(outcomes) }
    }
    reads_pass_through!(self => self.0);
}

impl Disk {
    pub(super) fn new() -> Disk {
        let dir = Arc::new(tempfile::tempdir().unwrap());
        Disk { rows: Arc::new(MemoryStore::new()), dir, trouble: Arc::default() }
    }
    pub(super) fn keys_file(&self) -> std::path::PathBuf {
        self.dir.path().join("customers.keys")
    }
    pub(super) fn open(&self) -> Arc<dyn Store> {
        let secrets = SealingSecrets { wrapping: [1; 32], blinding: [2; 32] };
        let rows = Arc::new(Troubled(self.rows.clone(), self.trouble.clone()));
        SealedStore::open(rows, &self.keys_file(), secrets, Making::Allowed).unwrap()
    }
}

/// An answer: status, body as JSON (null where there is none), headers.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) json: Value,
    pub(super) text: String,
    pub(super) headers: reqwest::header::HeaderMap,
}

impl Answer {
    pub(super) fn code(&self) -> &str {
        self.json["code"].as_str().unwrap_or_default()
    }
    pub(super) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

/// Two shops, one maker, one model; no product yet.
pub(super) async fn house() -> House {
    furnished(house_on(Disk::new()).await).await
}

/// The same in a house that is there.
pub(super) async fn furnished(mut house: House) -> House {
    house.ok("PUT", "/v1/makers/acme", OPERATOR, json!({"name": "Acme"})).await;
    for shop in ["shop-a", "shop-b"] {
        let body = json!({"name": "Enseigne X", "default_locale": "fr-FR", "zone": "Europe/Paris"});
        house.ok("PUT", &format!("/v1/retailers/{shop}"), OPERATOR, body).await;
    }
    house.shop = house.token("shop-a", "retailer_admin").await;
    house.other_shop = house.token("shop-b", "retailer_admin").await;
    house.maker = house.token("acme", "maker").await;
    house.ok("PUT", "/v1/models/th-200", OPERATOR, model()).await;
    house
}

/// A gateway on what another left, or on nothing; nobody has a token of it yet but the operator.
pub(super) async fn house_on(disk: Disk) -> House {
    house_by(disk, Arc::new(SystemClock)).await
}

/// The same by a clock of the test's.
pub(super) async fn house_by(disk: Disk, clock: Arc<dyn Clock>) -> House {
    house_reaching(disk, clock, 2).await
}

/// The same where one person alone publishes what reaches so many homes.
pub(super) async fn house_reaching(disk: Disk, clock: Arc<dyn Clock>, publish_reach_max_alone: u64) -> House {
    let store = disk.open();
    let rulebook = Rulebook::open(store.clone()).unwrap();
    let settings = engine::Settings { shards: 2, ..engine::Settings::default() };
    let engine = Engine::start(settings, clock, store, rulebook.clone()).unwrap();
    let settings = Settings {
        operator_token: Some(OPERATOR.into()),
        secrets: Arc::new(|device: &DeviceKey, generation: u32| format!("secret of {device} {generation}")),
        identity_key: [7; 32],
        broker: BrokerAddress { host: "127.0.0.1".into(), port: 1883, tls: false },
        telemetry_s: 60,
        devices_per_maker_max: 3,
        calls_per_second: 500,
        order_retention: hearthway_core::time::Span::days(3653),
        publish_reach_max_alone,
    };
    let app = App::start(engine.clone(), rulebook, settings).await.unwrap().app;
    let wire = Wire::new(Reach::LoopbackToo, None).unwrap();
    let courier = Courier::open(engine, wire, Arc::new(|seed| std::array::from_fn(|at| seed.0[at % 16]))).unwrap();
    app.set_courier(courier.clone());
    tokio::spawn(async move { courier.run().await });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let router = super::router(app.clone(), Arc::new(|| "metrics_total 1\n".to_owned()));
    tokio::spawn(super::serve(listener, router, 100, std::future::pending()));
    let client = reqwest::Client::new();
    let empty = String::new;
    House { base, app, client, shop: empty(), other_shop: empty(), maker: empty(), disk }
}

pub(super) fn model() -> Value {
    json!({
        "maker": "acme", "kind": "thermostat",
        "telemetry": {"temperature": {"type": "number", "unit": "°C", "min": -40, "max": 80}},
        "slots": [{"slot": "air_filter", "kind": "usage", "unit": "h", "capacity": 720}],
        "placements": [{"id": "home.card", "title_max": 40, "body_max": 160}],
        "locales": ["fr", "en"], "confirm": ["press2s"], "buttons": ["ok"],
    })
}

pub(super) fn product() -> Value {
    json!({
        "name": {"fr": "Filtre 20×25", "en": "Filter 20×25"}, "gtin": null,
        "price": {"minor": 1990, "currency": "EUR"}, "delivery": {"minor": 0, "currency": "EUR"},
        "tax_incl": true, "seller": "shop-a", "withdraw_days": 14,
        "fits": [{"model": "th-200", "slot": "air_filter"}],
    })
}

pub(super) fn trigger() -> Value {
    json!({
        "id": "filter-worn", "kind": "offer",
        "on": {
            "event": "slot", "device": {"kind": "thermostat"}, "slot": "air_filter", "field": "used",
            "rises_above": "600 h", "rearm": "50 h",
        },
        "offer": {
            "product": "flt-20x25", "cancel_window": "0 s", "actions": ["order", "decline", "why"],
            "text": {"fr": {"title": "Filtre bientôt usé", "body": "{{ product.name }}, {{ price.total }}."}},
        },
        "test": [{
            "name": "worn", "given": {"slots": {"air_filter": {"used": 590}}},
            "input": {"slot": {"air_filter": {"used": 612}}}, "expect": {"send": true},
        }],
    })
}

impl House {
    pub(super) async fn send(
        &self,
        method: &str,
        path: &str,
        token: &str,
        headers: &[(&str, &str)],
        body: Option<String>,
    ) -> Answer {
        let mut request = self.client.request(method.parse().unwrap(), format!("{}{path}", self.base));
        if !token.is_empty() {
            request = request.bearer_auth(token);
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(body) = body {
            request = request.body(body);
        }
        let response = request.send().await.unwrap();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let text = response.text().await.unwrap();
        Answer { status, json: serde_json::from_str(&text).unwrap_or(Value::Null), text, headers }
    }

    pub(super) async fn call(&self, method: &str, path: &str, token: &str, body: Value) -> Answer {
        self.send(method, path, token, &[], Some(body.to_string())).await
    }

    pub(super) async fn get(&self, path: &str, token: &str) -> Answer {
        self.send("GET", path, token, &[], None).await
    }

    /// A call that must succeed; its body.
    pub(super) async fn ok(&self, method: &str, path: &str, token: &str, body: Value) -> Value {
        let answer = self.call(method, path, token, body).await;
        assert!((200..300).contains(&answer.status), "{method} {path}: {} {}", answer.status, answer.text);
        answer.json
    }

    pub(super) async fn token(&self, tenant: &str, role: &str) -> String {
        let made = self.ok("POST", "/v1/tokens", OPERATOR, json!({"tenant": tenant, "role": role, "name": "t"})).await;
        made["token"].as_str().unwrap().to_owned()
    }

    /// Bulk lines in, answers out.
    pub(super) async fn bulk(&self, path: &str, token: &str, lines: &[String]) -> Vec<Value> {
        let answer = self.send("POST", path, token, &[], Some(lines.join("\n"))).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        answer.text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    pub(super) async fn register(&self, device: &str) {
        let line = json!({"maker": "acme", "device": device, "model": "th-200", "serial": null}).to_string();
        let told = self.bulk("/v1/devices:bulk", OPERATOR, &[line]).await;
        assert_eq!(told[0]["username"], format!("acme/{device}"), "{}", told[0]);
    }

    /// A message of a device, as the device endpoint would hand it to the engine.
    pub(super) async fn device_says(&self, device: &str, message: DeviceMessage) {
        let key: DeviceKey = format!("acme/{device}").parse().unwrap();
        let engine = &self.app.engine;
        let filled = hearthway_core::input::Command::Resume;
        let input = self.app.command(Some(&key), "test", b"", filled);
        let input = Input { what: What::Device(message), ..input };
        let outcome = engine.call(Target::Device(key), input).await;
        assert!(matches!(outcome, Outcome::Committed(Ok(_))), "{outcome:?}");
    }

    /// Lets a device show a claim code; the code as people type it.
    pub(super) async fn claim_code(&self, device: &str) -> String {
        self.device_says(device, DeviceMessage::Claim(ClaimUp::Start { presence: true })).await;
        let key: DeviceKey = format!("acme/{device}").parse().unwrap();
        let route = self.app.engine.route(&key).unwrap();
        let home = self.app.engine.facts(route.household).await.unwrap().unwrap();
        let code = home.devices[&key].claim.as_ref().unwrap().code.clone();
        format!("{}-{}", &code[..4], &code[4..]).to_lowercase()
    }

    pub(super) async fn used(&self, device: &str, used: f64) {
        let message = SlotUp {
            slot: hearthway_core::id::SlotId::new("air_filter").unwrap(),
            evidence: Evidence::Usage { used },
            capacity: None,
            unit: None,
            changed_at: None,
            on_hand: None,
            t: None,
        };
        self.device_says(device, DeviceMessage::Slot(message)).await;
    }

    pub(super) async fn link(&self, device: &str, profile: &str) -> Value {
        self.register(device).await;
        let code = self.claim_code(device).await;
        let body = json!({
            "code": code, "profile": profile, "display_name": "Maison", "tz": "Europe/Paris", "locale": "fr-FR",
            "consents": [{"purpose": "offers.device", "granted": true, "text_id": "t1"}],
        });
        self.ok("POST", "/v1/claims/confirm", &self.shop, body).await
    }
}
