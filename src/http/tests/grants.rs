//! The readings of a device: for whose it is, and for whom they let read it.

use std::sync::atomic::Ordering;

use hearthway_core::time::Span;
use hearthway_core::wire::{DeviceMessage, LifecycleUp};
use serde_json::{Value, json};

use super::{Answer, House, OPERATOR, house, house_on};

async fn token_of(house: &House, profile: &str) -> String {
    let made = house.ok("POST", "/v1/tokens", &house.shop, json!({"role": "customer", "profile": profile})).await;
    made["token"].as_str().unwrap().to_owned()
}

fn lines(told: &Answer) -> Vec<Value> {
    assert_eq!(told.status, 200, "{}", told.text);
    assert_eq!(told.header("content-type"), "application/x-ndjson");
    told.text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// How worn the filter was at each reading, newest first.
fn used(told: &Answer) -> Vec<f64> {
    let lines = lines(told);
    let (end, readings) = lines.split_last().unwrap();
    assert_eq!(*end, json!({"kind": "end", "readings": readings.len()}));
    readings.iter().map(|line| line["body"]["used"].as_f64().unwrap()).collect()
}

fn in_days(house: &House, days: i64) -> String {
    (house.app.now() + Span::days(days)).to_string()
}

async fn granted(house: &House, token: &str, device: &str) -> (String, String) {
    let body = json!({"device": device, "party": "Energy Advice Ltd", "until": in_days(house, 30)});
    let made = house.call("POST", "/v1/me/grants", token, body).await;
    assert_eq!(made.status, 201, "{}", made.text);
    (made.json["grant"].as_str().unwrap().to_owned(), made.json["token"].as_str().unwrap().to_owned())
}

const READ: &str = "/v1/granted/data";

#[tokio::test]
async fn a_customer_takes_what_their_device_reported_and_nothing_of_who_had_it_before() {
    let house = house().await;
    house.link("d-1", "p1").await;
    house.used("d-1", 11.0).await;
    house.ok("POST", "/v1/devices/d-1/release", &house.shop, json!({})).await;
    house.used("d-1", 12.0).await;
    let body = json!({"code": house.claim_code("d-1").await, "profile": "p2", "tz": "Europe/Paris"});
    house.ok("POST", "/v1/claims/confirm", &house.shop, body).await;
    for n in 0..600 {
        house.used("d-1", 13.0 + f64::from(n)).await;
    }
    house.link("d-2", "p2").await;
    house.used("d-2", 5.0).await;
    let p2 = token_of(&house, "p2").await;
    let told = used(&house.get("/v1/me/devices/d-1/data", &p2).await);
    assert_eq!((told.len(), told[0], told[599]), (600, 612.0, 13.0), "over several pages, of this device alone");
    let p1 = token_of(&house, "p1").await;
    for device in ["d-1", "d-99"] {
        let told = house.get(&format!("/v1/me/devices/{device}/data"), &p1).await;
        assert_eq!((told.status, told.code()), (404, "device.unknown"), "{device}");
    }
}

#[tokio::test]
async fn a_named_party_reads_one_device_until_that_is_taken_back() {
    let house = house().await;
    house.link("d-1", "p1").await;
    house.used("d-1", 11.0).await;
    house.link("d-2", "p1").await;
    house.ok("POST", "/v1/devices/d-1/members", &house.shop, json!({"profile": "p2", "role": "buyer"})).await;
    let (p1, p2) = (token_of(&house, "p1").await, token_of(&house, "p2").await);
    for (who, body, status, pointer) in [
        (&p1, json!({"device": "d-1", "party": " ", "until": in_days(&house, 1)}), 422, "/party"),
        (&p1, json!({"device": "d-1", "party": "E", "until": in_days(&house, -1)}), 422, "/until"),
        (&p1, json!({"device": "d-1", "party": "E", "until": in_days(&house, 400)}), 422, "/until"),
        (&p1, json!({"device": "d-1", "party": "E", "until": "soon"}), 422, "/until"),
        (&p1, json!({"device": "d-9", "party": "E", "until": in_days(&house, 1)}), 404, ""),
        (&p2, json!({"device": "d-1", "party": "E", "until": in_days(&house, 1)}), 403, ""),
    ] {
        let told = house.call("POST", "/v1/me/grants", who, body.clone()).await;
        let at = told.json["pointer"].as_str().unwrap_or_default();
        assert_eq!((told.status, at), (status, pointer), "{body}: {}", told.text);
    }
    let (id, token) = granted(&house, &p1, "d-1").await;
    assert_eq!(used(&house.get(READ, &token).await), [11.0]);
    for (method, path) in [("GET", "/v1/me"), ("GET", "/v1/me/devices/d-2/data"), ("GET", "/v1/devices/d-1")] {
        assert_eq!(house.send(method, path, &token, &[], None).await.status, 401, "{path}");
    }
    for wrong in [p1.as_str(), house.shop.as_str(), "hw_x_y", "", &token[..token.len() - 1]] {
        assert_eq!(house.get(READ, wrong).await.status, 401, "{wrong}");
    }
    let list = house.get("/v1/me/grants", &p1).await;
    let only = &list.json["items"][0];
    assert_eq!(
        (&only["grant"], &only["party"], &only["device"]),
        (&json!(id), &json!("Energy Advice Ltd"), &json!("d-1"))
    );
    assert!(!list.text.contains("hw_"), "{}", list.text);
    assert_eq!(house.get("/v1/me/grants", &p2).await.json["items"], json!([]));
    let export = house.get("/v1/me/data", &p1).await.text;
    assert!(export.lines().any(|line| line.contains("\"kind\":\"grant\"") && line.contains(&id)), "{export}");
    // It outlives a start; only a hash of its token is kept.
    let again = house_on(house.disk.clone()).await;
    assert_eq!(used(&again.get(READ, &token).await), [11.0]);

    let path = format!("/v1/me/grants/{id}");
    assert_eq!(house.call("DELETE", &path, &p2, json!({})).await.status, 404, "somebody else's is none");
    assert_eq!(house.call("DELETE", &path, &p1, json!({})).await.status, 204);
    assert_eq!(house.get(READ, &token).await.status, 401);
    assert_eq!(house.call("DELETE", &path, &p1, json!({})).await.status, 404);
    let again = house_on(house.disk.clone()).await;
    assert_eq!(again.get(READ, &token).await.status, 401);
    let trail = house.get("/v1/audit?target=profiles/p1", &house.shop).await.text;
    assert!(trail.contains("POST /v1/me/grants") && trail.contains("DELETE /v1/me/grants/{grant}"), "{trail}");
}

#[tokio::test]
async fn a_grant_ends_with_the_link_and_with_the_person() {
    let house = house().await;
    let key = |house: &House| {
        let device: hearthway_core::id::DeviceKey = "acme/d-1".parse().unwrap();
        house.app.engine.route(&device).unwrap().household
    };
    house.link("d-1", "p1").await;
    let p1 = token_of(&house, "p1").await;
    let (_, token) = granted(&house, &p1, "d-1").await;
    let home = key(&house);
    house.device_says("d-1", DeviceMessage::Lifecycle(LifecycleUp::Reset { factory: false, presence: true })).await;
    assert_eq!(house.get(READ, &token).await.status, 401, "reset");
    let body = json!({"code": house.claim_code("d-1").await, "profile": "p1", "tz": "Europe/Paris"});
    house.ok("POST", "/v1/claims/confirm", &house.shop, body).await;
    assert_eq!(key(&house), home);
    assert_eq!(house.get(READ, &token).await.status, 401, "another link of the same person does not bring it back");
    let (_, token) = granted(&house, &p1, "d-1").await;
    assert_eq!(house.get("/v1/me/grants", &p1).await.json["items"].as_array().unwrap().len(), 1);

    let erasing = house.call("DELETE", "/v1/me", &p1, json!({})).await;
    assert_eq!(erasing.status, 202, "{}", erasing.text);
    assert_eq!(house.get(READ, &token).await.status, 401, "from the moment on at which they are being erased");
    for _ in 0..500 {
        if house.get(erasing.header("location"), "").await.json["state"] == "done" {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    let again = house_on(house.disk.clone()).await;
    assert_eq!(again.get(READ, &token).await.status, 401);
}

#[tokio::test]
async fn a_reading_that_is_cut_off_by_its_customer_has_no_end() {
    let house = house().await;
    house.link("d-1", "p1").await;
    for n in 0..300 {
        house.used("d-1", f64::from(n)).await;
    }
    let p1 = token_of(&house, "p1").await;
    let (id, token) = granted(&house, &p1, "d-1").await;
    let mut readings = house.app.granted_readings(&token).await.unwrap().unwrap();
    assert!(!readings.next().await.unwrap().unwrap().is_empty());
    assert_eq!(house.call("DELETE", &format!("/v1/me/grants/{id}"), &p1, json!({})).await.status, 204);
    assert!(readings.next().await.is_err(), "taken back while it is read");
}

#[tokio::test]
async fn readings_are_paced_by_their_grant_and_so_many_leave_at_once() {
    let house = house().await;
    house.link("d-1", "p1").await;
    house.used("d-1", 11.0).await;
    let p1 = token_of(&house, "p1").await;
    let (_, token) = granted(&house, &p1, "d-1").await;
    let (_, other) = granted(&house, &p1, "d-1").await;
    let mut under_way = Vec::new();
    while let Ok(readings) = house.app.granted_readings(&token).await {
        under_way.push(readings.unwrap());
        assert!(under_way.len() < 1_000, "without an end");
    }
    for (path, token) in [(READ, &other), ("/v1/me/devices/d-1/data", &p1)] {
        let told = house.get(path, token).await;
        assert_eq!((told.status, told.code()), (429, "rate.limited"), "{}", told.text);
        assert_eq!(told.header("retry-after"), "5");
    }
    // Who is gone makes room, also where nobody told the gateway more than that.
    under_way.clear();
    assert_eq!(used(&house.get(READ, &other).await), [11.0]);
    let asked = asked_often(&house, &token, 60).await;
    assert!(asked.contains(&429), "too often by one grant: {asked:?}");
    assert_eq!(used(&house.get(READ, &other).await), [11.0], "another grant has a pace of its own");
}

async fn asked_often(house: &House, token: &str, calls: usize) -> Vec<u16> {
    let mut told = Vec::new();
    for _ in 0..calls {
        told.push(house.get(READ, token).await.status);
    }
    told
}

#[tokio::test]
async fn grants_go_when_their_time_is_over() {
    use crate::store::keys::{KeyBuilder, table};
    use crate::webhook::tests::TurnedClock;
    let start = hearthway_core::time::Timestamp(1_800_000_000_000);
    let clock = std::sync::Arc::new(TurnedClock(tokio::sync::watch::Sender::new(start)));
    let house = super::furnished(super::house_by(super::Disk::new(), clock.clone()).await).await;
    house.link("d-1", "p1").await;
    let p1 = token_of(&house, "p1").await;
    granted(&house, &p1, "d-1").await;
    let left = |house: &House| {
        let prefix = KeyBuilder::table(table::TOKEN).name("grant").prefix();
        house.app.engine.store().scan(&prefix, None, 10).unwrap().len()
    };
    for (days, rows) in [(29, 1), (31, 0)] {
        clock.0.send_replace(start + Span::days(days));
        house.app.upkeep().await;
        assert_eq!(left(&house), rows, "after {days} days");
    }
}

/// Waits until the writer has looked after a disk that is well again.
async fn well_again(house: &House) {
    while house.call("PUT", "/v1/makers/acme", OPERATOR, json!({"name": "Acme"})).await.status != 200 {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
}

/// Deletes as soon as the disk is well again.
async fn deleted(house: &House, token: &str, path: &str) -> u16 {
    well_again(house).await;
    house.send("DELETE", path, token, &[], None).await.status
}

/// What ends leave or a token says so only when that is on disk, and what failed can be done again; where the disk had
/// it all the same it stays ended.
#[tokio::test]
async fn what_could_not_be_ended_on_disk_is_told_so_and_no_end_that_was_told_is_taken_back() {
    for (lies, again) in [(false, true), (false, false), (true, true), (true, false)] {
        let house = house().await;
        let shop = house.shop.clone();
        house.link("d-1", "p1").await;
        let p1 = token_of(&house, "p1").await;
        let (grant, party) = granted(&house, &p1, "d-1").await;
        let made = house.ok("POST", "/v1/tokens", &shop, json!({"role": "customer", "profile": "p1"})).await;
        let (token, text) = (made["id"].as_str().unwrap(), made["token"].as_str().unwrap());
        let paths = [(format!("/v1/me/grants/{grant}"), &p1), (format!("/v1/tokens/{token}"), &shop)];
        let trouble = if lies { &house.disk.trouble.lies } else { &house.disk.trouble.fails };
        for (path, who) in &paths {
            trouble.store(true, Ordering::Relaxed);
            let told = house.send("DELETE", path, who, &[], None).await;
            assert_eq!(told.status, 503, "{path}: {}", told.text);
            trouble.store(false, Ordering::Relaxed);
            // It was not told to have ended, and has not.
            if again {
                assert_eq!(deleted(&house, who, path).await, 204, "{path}");
                assert_eq!(deleted(&house, who, path).await, 404, "{path}");
            } else {
                well_again(&house).await;
            }
        }
        let is_listed = |told: &Answer| told.text.contains(&grant);
        assert_eq!(is_listed(&house.get("/v1/me/grants", &p1).await), !again, "lies: {lies}");
        let opens =
            async |house: &House| [house.get(READ, &party).await.status, house.get("/v1/me", text).await.status];
        assert_eq!(opens(&house).await, if again { [401, 401] } else { [200, 200] }, "lies: {lies}");
        house.app.engine.drain().await;
        let house = House { shop, ..house_on(house.disk.clone()).await };
        let expected = if again || lies { [401, 401] } else { [200, 200] };
        assert_eq!(opens(&house).await, expected, "after a start, lies: {lies}, again: {again}");
        assert_eq!(is_listed(&house.get("/v1/me/grants", &p1).await), !(again || lies));
    }
}
