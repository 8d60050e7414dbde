//! A person is erased: what ends, what is destroyed, what is kept, and that nothing is left of them.

use std::collections::BTreeSet;

use hearthway_core::id::{HouseholdId, OfferId, OrderId, ProfileId, RetailerId};
use hearthway_core::time::Timestamp;
use hearthway_core::wire::{DeviceMessage, LifecycleUp};
use serde_json::{Value, json};

use super::{Disk, House, OPERATOR, house, house_on, product, trigger};
use crate::app::erasures::Step;
use crate::store::codec;
use crate::store::keys::{Key, table};
use crate::store::sealed::{Subject, hidden_name, is_sealed};
use crate::store::{SCAN_ROWS_MAX, Store};

/// What is known of the person, each to be found wherever it stands in clear.
pub(super) const PROFILE: &str = "marie-marker-0451";
pub(super) const NAME: &str = "Chez Marker";
/// What they were called when they were sold to.
pub(super) const FORMER: &str = "Chez Autrefois";
/// Longer than an erasure takes on a busy machine.
const LOOKS_MAX: usize = 500;

/// A shop that sells filters, and a person with a home, an offer and an order.
pub(super) async fn sold() -> (House, String, String) {
    sold_in(house().await).await
}

/// The same where something was set up before. Offers greet the home.
pub(super) async fn sold_in(house: House) -> (House, String, String) {
    let shop = house.shop.clone();
    let mut greeting = trigger();
    greeting["offer"]["text"]["fr"]["title"] = "{{ household.name | upper }} : filtre".into();
    house.ok("PUT", "/v1/products/flt-20x25", &shop, product()).await;
    house.ok("PUT", "/v1/triggers/filter-worn", &shop, greeting).await;
    house.ok("POST", "/v1/triggers/filter-worn/publish", &shop, json!({})).await;
    let linked = linked(&house, "d-42", PROFILE, FORMER, None).await;
    let household = linked["household"].as_str().unwrap().to_owned();
    house.used("d-42", 590.0).await;
    house.used("d-42", 612.0).await;
    let offers = house.get("/v1/offers?state=sent", &shop).await;
    let offer = offers.json["items"][0]["offer"].as_str().unwrap().to_owned();
    let accept = json!({"rev": 1, "answer": "accept", "channel": "app", "profile": PROFILE});
    assert!(!opened_with(&house, &["chez autrefois : filtre"]).is_empty(), "the offer greets them");
    let order = house.ok("POST", &format!("/v1/offers/{offer}/answer"), &shop, accept).await;
    house.ok("PATCH", &format!("/v1/profiles/{PROFILE}"), &shop, json!({"display_name": NAME})).await;
    (house, household, order["order"].as_str().unwrap().to_owned())
}

pub(super) async fn linked(house: &House, device: &str, profile: &str, name: &str, home: Option<&str>) -> Value {
    if house.get(&format!("/v1/devices/{device}"), OPERATOR).await.status == 404 {
        house.register(device).await;
    }
    let code = house.claim_code(device).await;
    let mut body = json!({
        "code": code, "profile": profile, "display_name": name, "tz": "Europe/Paris", "locale": "fr-FR",
        "consents": [{"purpose": "offers.device", "granted": true, "text_id": "t1"}],
    });
    if let Some(home) = home {
        body["household"] = home.into();
    }
    house.ok("POST", "/v1/claims/confirm", &house.shop, body).await
}

/// Waits for the end of an erasure; gives its answer.
pub(super) async fn done(house: &House, id: &str) -> Value {
    for _ in 0..LOOKS_MAX {
        let answer = house.get(&format!("/v1/erase/{id}"), &house.shop).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        if answer.json["state"] == "done" {
            return answer.json;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    panic!("it is not done: {}", house.get(&format!("/v1/erase/{id}"), &house.shop).await.text);
}

/// All that stands on disk, under the seal: keys, values, items, the file of keys.
pub(super) fn on_disk(disk: &Disk) -> Vec<Vec<u8>> {
    let mut all = vec![std::fs::read(disk.keys_file()).unwrap()];
    for (key, value) in disk.rows.scan(&[], None, SCAN_ROWS_MAX).unwrap() {
        all.extend([key.0, value]);
    }
    for (_, log, item) in disk.rows.items(None, SCAN_ROWS_MAX).unwrap() {
        all.extend([log.0, item]);
    }
    all
}

pub(super) fn in_clear(disk: &Disk, texts: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    for text in texts {
        let holds = |bytes: &Vec<u8>| bytes.windows(text.len()).any(|window| window == text.as_bytes());
        found.extend(
            on_disk(disk)
                .iter()
                .filter(|bytes| holds(bytes))
                .map(|bytes| format!("`{text}` in {}", bytes.escape_ascii())),
        );
    }
    found
}

/// Every value that can be opened and names one of these texts, in whatever letters.
pub(super) fn opened_with(house: &House, texts: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    for (key, value) in house.app.engine.store().scan(&[], None, SCAN_ROWS_MAX).unwrap() {
        let said = String::from_utf8_lossy(&value).to_lowercase();
        let named = texts.iter().filter(|text| said.contains(&text.to_lowercase()));
        found.extend(named.map(|text| format!("`{text}` at {key}: {}", value.escape_ascii())));
    }
    found
}

/// Ids of the keys that something on disk is sealed with.
pub(super) fn sealed_with(disk: &Disk) -> BTreeSet<codec::KeyId> {
    on_disk(disk).iter().filter(|bytes| is_sealed(bytes)).map(|bytes| codec::key_of(bytes)).collect()
}

pub(super) fn id_of(home: &str) -> HouseholdId {
    home.parse().unwrap()
}

#[tokio::test]
async fn a_person_is_erased_with_their_home_and_an_open_order_keeps_its_bare_lines() {
    let (house, home, order) = sold().await;
    let shop = house.shop.clone();
    // An answer that is kept for a repeat names the person too.
    let body = json!({"display_name": NAME, "locale": "fr-FR", "tz": "Europe/Paris"}).to_string();
    let headers = [("Idempotency-Key", "k-1")];
    let path = format!("/v1/profiles/{PROFILE}");
    let first = house.send("PUT", &path, &shop, &headers, Some(body.clone())).await;
    let second = house.send("PUT", &path, &shop, &headers, Some(body)).await;
    assert_eq!((first.status, &first.json), (200, &second.json), "{}", first.text);
    assert_eq!(in_clear(&house.disk, &[PROFILE, NAME]), [] as [&str; 0], "sealed from the first byte on");
    assert!(sealed_with(&house.disk).len() >= 2, "a key for the home, one for the person");
    let past = house.app.engine.replay(id_of(&home)).unwrap();
    assert_eq!((past.differences.as_slice(), past.erased), (&[][..], 0));
    assert!(past.inputs > 3);

    let begun = house.call("DELETE", &format!("/v1/profiles/{PROFILE}"), &shop, Value::Null).await;
    assert_eq!(begun.status, 202, "{}", begun.text);
    let id = begun.json["erase"].as_str().unwrap().to_owned();
    let report = done(&house, &id).await["report"].clone();
    let counts = ["homes_emptied", "homes_left", "devices_given_back", "links_ended", "mandates_ended"];
    assert_eq!(counts.map(|what| report[what].as_u64().unwrap()), [1, 0, 1, 1, 0], "{report}");
    assert_eq!(report["keys_destroyed"], 2, "{report}");
    assert_eq!((&report["deleted"]["orders"], &report["deleted"]["offers"]), (&json!(1), &json!(1)), "{report}");
    let kept = report["kept"].as_array().unwrap();
    assert_eq!((&kept[0]["what"], &kept[0]["id"]), (&json!("order"), &json!(order)), "{report}");
    let until = Timestamp::parse_rfc3339(kept[0]["until"].as_str().unwrap()).unwrap();
    let now = house.app.now();
    assert!(until > now + hearthway_core::time::Span::days(3652), "an open order is kept from now on: {until}");
    for text in [PROFILE, NAME, home.as_str()] {
        assert!(!report.to_string().contains(text), "{report}");
    }

    // Nothing of them is there, and what is left of them in the log nobody can open.
    assert_eq!(in_clear(&house.disk, &[PROFILE, NAME]), [] as [&str; 0]);
    let store = house.app.engine.store();
    let vault = store.vault().unwrap();
    assert!(sealed_with(&house.disk).iter().all(|key| !vault.knows(*key)), "one of the keys is still there");
    for path in [format!("/v1/profiles/{PROFILE}"), format!("/v1/orders/{order}")] {
        assert_eq!(house.get(&path, &shop).await.status, 404, "{path}");
    }
    for path in ["/v1/offers", "/v1/orders"] {
        assert_eq!(house.get(path, &shop).await.json["items"], json!([]), "{path}");
    }
    let device = house.get("/v1/devices/d-42", OPERATOR).await.json;
    assert_eq!(device["link"]["state"], "wipe_pending", "{device}");

    // The log of the home says what cannot be decided again, and nothing differs.
    let past = house.app.engine.replay(id_of(&home)).unwrap();
    assert_eq!((past.differences.as_slice(), past.inputs), (&[][..], 0));
    assert!(past.erased > 3, "{past:?}");
    let prospect = HouseholdId::prospect(&"acme/d-42".parse().unwrap());
    let past = house.app.engine.replay(prospect).unwrap();
    assert_eq!(past.differences, [], "the device's own log goes on around the claim");
    assert!(past.erased >= 1 && past.inputs >= 1, "{past:?}");

    // It opens again; the same name is somebody new, with a key of their own.
    let again = house_on(house.disk.clone()).await;
    let again = House { shop: shop.clone(), ..again };
    assert_eq!(again.get(&format!("/v1/profiles/{PROFILE}"), &shop).await.status, 404);
    assert_eq!(again.get(&format!("/v1/erase/{id}"), &shop).await.json["state"], "done");
    let new = linked(&again, "d-42", PROFILE, NAME, None).await;
    assert_ne!(new["household"], json!(home), "who comes by the same name inherits nothing, not even a number");
    assert_eq!(again.get("/v1/orders", &shop).await.json["items"], json!([]), "{new}");
    let person = again.get(&format!("/v1/profiles/{PROFILE}"), &shop).await.json;
    assert_eq!((&person["orders"], &person["links"][0]["device"]), (&json!([]), &json!("d-42")), "{person}");
}

#[tokio::test]
async fn who_lives_with_others_leaves_and_the_home_goes_on_under_another_key() {
    let (house, home, order) = sold().await;
    let shop = house.shop.clone();
    linked(&house, "d-43", "jean", "Chez Jean", Some(&home)).await;
    let before = house.get("/v1/profiles/jean", &shop).await.json;
    let keys_before = sealed_with(&house.disk);
    let begun = house.ok("POST", "/v1/erase", &shop, json!({"profile": PROFILE})).await;
    let report = done(&house, begun["erase"].as_str().unwrap()).await["report"].clone();
    let counts = ["homes_emptied", "homes_left", "devices_given_back", "links_ended"];
    assert_eq!(counts.map(|what| report[what].as_u64().unwrap()), [0, 1, 1, 1], "{report}");
    assert_eq!((&report["deleted"]["orders"], &report["kept"][0]["id"]), (&json!(1), &json!(order)), "{report}");

    let vault_knows = |key: &codec::KeyId| house.app.engine.store().vault().unwrap().knows(*key);
    let gone: Vec<_> = keys_before.iter().filter(|key| !vault_knows(key)).collect();
    assert_eq!(gone.len(), 2, "the home's former key and the person's own: {keys_before:?}");
    assert_eq!(in_clear(&house.disk, &[PROFILE, NAME]), [] as [&str; 0]);
    // Also through the seal: what the home's others can open does not name the person.
    assert_eq!(opened_with(&house, &[PROFILE, NAME, FORMER]), [] as [&str; 0]);
    // The order left with its buyer, and the shop goes on with it; Jean's side is as it was.
    assert_eq!(house.get(&format!("/v1/orders/{order}"), &shop).await.status, 404);
    house.ok("POST", &format!("/v1/orders/{order}/status"), &shop, json!({"rev": 2, "state": "shipped"})).await;
    let after = house.get("/v1/profiles/jean", &shop).await.json;
    assert_eq!((&after["links"], &after["consents"]), (&before["links"], &before["consents"]));
    assert!(!after.to_string().contains(PROFILE), "{after}");
    house.used("d-43", 12.0).await;
    let past = house.app.engine.replay(id_of(&home)).unwrap();
    assert_eq!(past.differences, []);
    assert!(past.erased > 3 && past.inputs >= 1, "{past:?}");
    let again = house_on(house.disk.clone()).await;
    assert_eq!(again.get("/v1/devices/d-43", &shop).await.json["link"]["state"], "linked");
}

#[tokio::test]
async fn an_erasure_that_ends_after_any_step_goes_on_at_the_next_start() {
    let retailer = RetailerId::new("shop-a").unwrap();
    let steps = 6;
    for stop_after in 0..=steps {
        let (house, _, order) = sold().await;
        let shop = house.shop.clone();
        // Alone in one home, with another in a second one.
        let mut job = house.app.plan_erasure(&retailer, PROFILE).await.unwrap();
        let planned = job.steps();
        assert_eq!(planned.len(), steps, "{planned:?}");
        for step in &planned[..stop_after] {
            house.app.erasure_step(&mut job, *step).await.unwrap();
        }
        let is_done = planned[..stop_after].last() == Some(&Step::End);
        let unfinished = house.app.unfinished_erasures().unwrap().len();
        assert_eq!(unfinished, usize::from(!is_done), "after {:?}", planned[..stop_after].last());
        let disk = house.disk.clone();
        house.app.engine.drain().await;

        let again = House { shop: shop.clone(), ..house_on(disk).await };
        for _ in 0..LOOKS_MAX {
            if again.app.unfinished_erasures().unwrap().is_empty() {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        assert_eq!(again.app.unfinished_erasures().unwrap().len(), 0, "stopped after {stop_after} steps");
        assert_eq!(in_clear(&again.disk, &[PROFILE, NAME]), [] as [&str; 0]);
        let store = again.app.engine.store();
        assert!(sealed_with(&again.disk).iter().all(|key| !store.vault().unwrap().knows(*key)));
        let kept = store.scan(&crate::store::keys::kept_orders(), None, 10).unwrap();
        assert_eq!(kept.len(), 1, "the order {order} is kept once");
        let report = again.get(&format!("/v1/erase/{}", job.name()), &shop).await.json["report"].clone();
        let told = report["kept"].as_array().unwrap().iter().filter(|kept| kept["id"] == json!(order)).count();
        assert_eq!(told, 1, "stopped after {stop_after} steps, the report tells of the order: {report}");
        assert_eq!(again.get(&format!("/v1/profiles/{PROFILE}"), &shop).await.status, 404);
    }
}

#[tokio::test]
async fn an_erasure_is_its_retailers_alone_and_nobody_is_erased_twice_at_once() {
    let (house, ..) = sold().await;
    let other = house.other_shop.clone();
    let missing = house.call("POST", "/v1/erase", &other, json!({"profile": "nobody"})).await;
    assert_eq!(missing.status, 404);
    let theirs = house.call("POST", "/v1/erase", &other, json!({"profile": PROFILE})).await;
    assert_eq!(theirs.status, 404);
    let scrubbed = |text: &str| text.replace(PROFILE, "X").replace("nobody", "X");
    assert_eq!(scrubbed(&theirs.json["detail"].to_string()), scrubbed(&missing.json["detail"].to_string()));
    assert_eq!(house.call("DELETE", &format!("/v1/profiles/{PROFILE}"), &other, Value::Null).await.status, 404);
    let support = house.token("shop-a", "support").await;
    assert_eq!(house.call("POST", "/v1/erase", &support, json!({"profile": PROFILE})).await.status, 403);
    assert_eq!(house.call("POST", "/v1/erase", OPERATOR, json!({"profile": PROFILE})).await.status, 403);

    // While it is at work nothing is taken in about the person.
    let retailer = RetailerId::new("shop-a").unwrap();
    let mut job = house.app.plan_erasure(&retailer, PROFILE).await.unwrap();
    let shop = house.shop.clone();
    let again = house.call("POST", "/v1/erase", &shop, json!({"profile": PROFILE})).await;
    assert_eq!(again.status, 409, "{}", again.text);
    let body = json!({"display_name": NAME, "tz": "Europe/Paris"});
    let put = house.call("PUT", &format!("/v1/profiles/{PROFILE}"), &shop, body.clone()).await;
    assert_eq!(put.status, 409, "{}", put.text);
    house.register("d-50").await;
    let code = house.claim_code("d-50").await;
    let claim = json!({"code": code, "profile": PROFILE, "display_name": NAME, "tz": "Europe/Paris", "consents": []});
    let claimed = house.call("POST", "/v1/claims/confirm", &shop, claim).await;
    assert_eq!(claimed.status, 409, "{}", claimed.text);
    // Nor by any other call that names them.
    let profile = format!("/v1/profiles/{PROFILE}");
    let order = house.get("/v1/orders", &shop).await.json["items"][0].clone();
    let bought = json!({
        "specversion": "1.0", "id": "e-1", "source": "/till", "type": "purchase",
        "data": {"profile": PROFILE, "product": "flt-20x25", "qty": 1},
    });
    let mandate = json!({
        "profile": PROFILE, "device": "d-42", "products": ["flt-20x25"], "max_price": {"minor": 5000, "currency": "EUR"},
        "max_per_30d": 1, "expires_at": (house.app.now() + hearthway_core::time::Span::hours(24)).to_string(),
    });
    house.ok("PUT", "/v1/profiles/jean", &shop, json!({})).await;
    for (method, path, body) in [
        ("PUT", format!("{profile}/consents"), json!({"consents": [{"purpose": "offers.device", "granted": true}]})),
        ("PUT", format!("{profile}/preferences"), json!({"frequency": {"per_week": 2}})),
        ("PATCH", profile.clone(), json!({"display_name": "Anders"})),
        ("POST", "/v1/profiles/merge".to_owned(), json!({"from": PROFILE, "into": "jean"})),
        ("POST", "/v1/profiles/merge".to_owned(), json!({"from": "jean", "into": PROFILE})),
        ("PUT", "/v1/mandates/m-1".to_owned(), mandate),
        ("PUT", format!("/v1/devices/d-42/members/{PROFILE}"), json!({"role": "buyer"})),
        ("DELETE", format!("/v1/devices/d-42/members/{PROFILE}"), json!({})),
        ("POST", "/v1/devices/d-42/members".to_owned(), json!({"invite": true, "role": "viewer", "by": PROFILE})),
        ("POST", "/v1/devices/d-42/members".to_owned(), json!({"profile": PROFILE, "role": "viewer"})),
        (
            "POST",
            format!("/v1/offers/{}/answer", order["offer"].as_str().unwrap()),
            json!({"rev": 1, "answer": "decline", "channel": "app", "profile": PROFILE}),
        ),
        ("POST", "/v1/events".to_owned(), bought),
    ] {
        let told = house.call(method, &path, &shop, body).await;
        assert_eq!(told.status, 409, "{method} {path}: {}", told.text);
        assert!(told.text.contains("is being erased"), "{method} {path}: {}", told.text);
    }
    for step in job.steps() {
        house.app.erasure_step(&mut job, step).await.unwrap();
    }
    house.ok("PUT", &format!("/v1/profiles/{PROFILE}"), &shop, body).await;
    for wrong in ["er_", "er_zzz", "xx", &"a".repeat(300)] {
        assert_eq!(house.get(&format!("/v1/erase/{wrong}"), &shop).await.status, 404, "{wrong}");
    }
}

/// How a device leaves its owner: given back by them, or reset by somebody who is at it.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Leaving {
    Released,
    Reset,
}

#[tokio::test]
async fn after_a_release_and_a_new_claim_no_answer_names_the_former_owner() {
    nothing_names_the_former_owner(Leaving::Released).await;
}

#[tokio::test]
async fn after_a_reset_on_the_device_and_a_new_claim_no_answer_names_the_former_owner() {
    nothing_names_the_former_owner(Leaving::Reset).await;
}

async fn nothing_names_the_former_owner(leaving: Leaving) {
    let (house, home, order) = sold().await;
    let shop = house.shop.clone();
    let first = house.get(&format!("/v1/orders/{order}"), &shop).await.json["offer"].as_str().unwrap().to_owned();
    // One more offer stands when it leaves.
    let tip = json!({"id": "new-filter", "kind": "tip",
        "on": {"event": "slot", "device": {"kind": "thermostat"}, "slot": "air_filter", "field": "used", "falls_below": "10 h"},
        "offer": {"actions": ["decline"], "text": {"fr": {"title": "Neuf", "body": "Un filtre neuf."}}}});
    house.ok("PUT", "/v1/triggers/new-filter", &shop, tip).await;
    house.ok("POST", "/v1/triggers/new-filter/publish", &shop, json!({})).await;
    house.used("d-42", 4.0).await;
    let open = house.get("/v1/offers?state=sent", &shop).await.json["items"][0]["offer"].as_str().unwrap().to_owned();
    let person = house.get(&format!("/v1/profiles/{PROFILE}"), &shop).await.json;
    let (link, receipt) = (person["links"][0]["link"].clone(), person["consents"][0]["receipt"].clone());
    match leaving {
        Leaving::Released => {
            house.ok("POST", "/v1/devices/d-42/release", &shop, json!({})).await;
        }
        Leaving::Reset => {
            let reset = LifecycleUp::Reset { factory: false, presence: true };
            house.device_says("d-42", DeviceMessage::Lifecycle(reset)).await;
        }
    }
    let linked = linked(&house, "d-42", "jean", "Chez Jean", None).await;
    let new_home = linked["household"].as_str().unwrap().to_owned();
    house.used("d-42", 3.0).await;
    let former = [PROFILE, NAME, &home, &order, &first, &open, link.as_str().unwrap(), receipt.as_str().unwrap()];
    let own = json!({"role": "customer", "profile": "jean"});
    let jean = house.ok("POST", "/v1/tokens", &shop, own).await["token"].as_str().unwrap().to_owned();
    let mut asked = 0;
    for (method, path) in super::super::routes::paths() {
        // Lists of the shop are about all its customers, the former one too.
        let is_about_the_device = path.contains("{device}")
            || path.contains("{profile}")
            || path.ends_with("/explain")
            || path.ends_with("/decisions");
        if method != "get" || !is_about_the_device {
            continue;
        }
        let mut filled = path.replace("{device}", "d-42").replace("{profile}", "jean").replace("{slot}", "air_filter");
        if filled.ends_with("/explain") || filled.ends_with("/decisions") {
            filled = format!("{filled}?household={new_home}&trigger=filter-worn");
        }
        let answer = house.get(&filled, if path.starts_with("/v1/me/") { &jean } else { &shop }).await;
        assert!([200, 404].contains(&answer.status), "{filled}: {}", answer.text);
        asked += usize::from(answer.status == 200);
        for text in former {
            assert!(!answer.text.contains(text), "{filled} names `{text}`: {}", answer.text);
        }
    }
    assert!(asked >= 8, "{asked} answers: the walk found next to nothing");
    // Nor does any value but those that only the former owner's keys open, in any form of an id.
    let store = house.app.engine.store();
    let vault = store.vault().unwrap();
    let retailer = RetailerId::new("shop-a").unwrap();
    let name = hidden_name(&**store, &retailer, &ProfileId::new(PROFILE).unwrap());
    let theirs = [Subject::household(id_of(&home)), Subject::profile(&name)].map(|whose| vault.current(whose).unwrap());
    let key_of_home = vault.current(Subject::household(id_of(&new_home))).unwrap();
    // The audit trail says what the shop's people did with which offer and order, and whose it was it does not say;
    // and by a link's id the shop finds the number of the home that it stood in.
    let is_of_shop = |key: &Key| key.0[0] == table::AUDIT || key.0.starts_with(b"Dlink\0");
    let rows = store.scan(&[], None, SCAN_ROWS_MAX).unwrap().into_iter().filter(|(key, _)| !is_of_shop(key));
    let rows = rows.map(|(key, value)| (format!("the row {key}"), value));
    let items = store.items(None, SCAN_ROWS_MAX).unwrap().into_iter();
    let items = items.map(|(at, log, item)| (format!("the item {at:?} of {log:?}"), item));
    let readable: Vec<_> = rows.chain(items).filter(|(_, bytes)| !theirs.contains(&codec::key_of(bytes))).collect();
    assert!(readable.iter().filter(|(_, bytes)| codec::key_of(bytes) == key_of_home).count() > 3);
    let number_of_home = id_of(&home);
    let (first, open): (OfferId, OfferId) = (first.parse().unwrap(), open.parse().unwrap());
    let order: OrderId = order.parse().unwrap();
    let raw = [number_of_home.bytes(), first.bytes(), open.bytes(), order.bytes()];
    let parts: Vec<&[u8]> = former.iter().map(|text| text.as_bytes()).chain(raw).collect();
    for (place, bytes) in readable {
        // The log of the device by itself says from which home it came: a number, which a replay needs.
        let is_a_move = place.starts_with("the item") && codec::key_of(&bytes) == codec::NOT_SEALED;
        for part in parts.iter().filter(|part| !(is_a_move && **part == number_of_home.bytes())) {
            let holds = bytes.windows(part.len()).any(|window| window == *part);
            assert!(!holds, "`{}` in {place}: {}", part.escape_ascii(), bytes.escape_ascii());
        }
    }
}
