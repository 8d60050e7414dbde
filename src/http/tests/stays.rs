//! A hotel room's device: who has it has it for a stay.

use std::sync::Arc;

use hearthway_core::id::DeviceKey;
use hearthway_core::time::{Span, Timestamp};
use serde_json::{Value, json};
use tokio::sync::watch;

use super::{Disk, House, OPERATOR, furnished, house, house_by};
use crate::webhook::tests::TurnedClock;

const START: Timestamp = Timestamp(1_800_000_000_000);
const MODE: &str = "/v1/devices/d-1/mode";

fn shared() -> Value {
    json!({"mode": "shared_public"})
}

async fn token_of(house: &House, profile: &str) -> String {
    let made = house.ok("POST", "/v1/tokens", &house.shop, json!({"role": "customer", "profile": profile})).await;
    made["token"].as_str().unwrap().to_owned()
}

async fn checks_in(house: &House, profile: &str, until: Timestamp) {
    let code = house.claim_code("d-1").await;
    let body = json!({"code": code, "profile": profile, "tz": "Europe/Paris", "until": until.to_string()});
    house.ok("POST", "/v1/claims/confirm", &house.shop, body).await;
}

/// Waits until the device is back with nobody.
async fn is_given_back(house: &House) {
    let device: DeviceKey = "acme/d-1".parse().unwrap();
    for _ in 0..500 {
        // Its way is known before it has arrived.
        let route = house.app.engine.route(&device).unwrap();
        let home = house.app.engine.facts(route.household).await.unwrap();
        if route.retailer.is_none() && home.is_some_and(|home| home.devices.contains_key(&device)) {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("the stay does not end");
}

#[tokio::test]
async fn a_shared_device_is_linked_with_an_end_only_and_says_how_to_mend_it() {
    let house = house().await;
    house.register("d-1").await;
    for (token, status) in [(&house.shop, 404), (&house.other_shop, 404)] {
        assert_eq!(house.call("PUT", MODE, token, shared()).await.status, status, "nobody's customer has it");
    }
    let wrong = house.call("PUT", MODE, &house.maker, json!({"mode": "public"})).await;
    assert_eq!((wrong.status, &wrong.json["pointer"]), (422, &json!("/mode")), "{}", wrong.text);
    for token in [house.maker.as_str(), OPERATOR] {
        assert_eq!(house.ok("PUT", MODE, token, shared()).await["mode"], "shared_public");
    }
    let at = |hours: i64| (house.app.now() + Span::hours(hours)).to_string();
    let link =
        |until: Value| json!({"device": "d-1", "profile": "p1", "tz": "Europe/Paris", "until": until}).to_string();
    for until in [Value::Null, json!("tomorrow"), json!(at(-1)), json!(at(24 * 366 + 1))] {
        let told = house.bulk("/v1/links:bulk", &house.shop, &[link(until.clone())]).await;
        assert_eq!(told[0]["error"]["pointer"], "/until", "{until}: {}", told[0]);
        let code = house.claim_code("d-1").await;
        let body = json!({"code": code, "profile": "p1", "tz": "Europe/Paris", "until": until});
        let told = house.call("POST", "/v1/claims/confirm", &house.shop, body).await;
        assert_eq!((told.status, &told.json["pointer"]), (422, &json!("/until")), "{until}: {}", told.text);
    }
    let told = house.bulk("/v1/links:bulk", &house.shop, &[link(json!(at(5)))]).await;
    assert!(told[0]["link"].is_string(), "{}", told[0]);
    let seen = house.get("/v1/devices/d-1", &house.shop).await.json;
    assert!(seen["stay_until"].is_string(), "{seen}");
    assert_eq!(house.get("/v1/devices/d-1", &house.maker).await.json["stay_until"], Value::Null, "not the maker's");
    assert_eq!(house.call("PUT", MODE, &house.other_shop, shared()).await.status, 404);
    assert_eq!(house.send("DELETE", MODE, &house.shop, &[], None).await.status, 204);
    assert_eq!(house.get("/v1/devices/d-1", &house.shop).await.json["mode"], "own");
    house.link("d-2", "p2").await;
    let body = json!({"code": house.claim_code("d-2").await, "profile": "p2", "until": at(5)});
    let told = house.call("POST", "/v1/claims/confirm", &house.shop, body).await;
    assert_eq!((told.status, &told.json["pointer"]), (422, &json!("/until")), "{}", told.text);
    let support = house.token("shop-a", "support").await;
    assert_eq!(house.call("PUT", "/v1/devices/d-2/mode", &support, shared()).await.json["pointer"], "/until");
    let body = json!({"mode": "shared_public", "until": at(5)});
    assert!(house.ok("PUT", "/v1/devices/d-2/mode", &support, body).await["stay_until"].is_string());
}

#[tokio::test]
async fn a_stay_ends_over_a_restart_and_nobody_sees_the_stay_of_another() {
    let (clock, disk) = (Arc::new(TurnedClock(watch::Sender::new(START))), Disk::new());
    let first = furnished(house_by(disk.clone(), clock.clone()).await).await;
    first.register("d-1").await;
    first.ok("PUT", MODE, &first.maker, shared()).await;
    checks_in(&first, "p1", START + Span::days(2)).await;
    let guests = first.app.engine.route(&"acme/d-1".parse().unwrap()).unwrap().household;
    first.used("d-1", 17.5).await;
    let p1 = token_of(&first, "p1").await;
    let body = json!({"device": "d-1", "party": "Energy Advice Ltd", "until": (START + Span::days(30)).to_string()});
    let granted = first.ok("POST", "/v1/me/grants", &p1, body).await["token"].as_str().unwrap().to_owned();
    assert_eq!(first.get("/v1/granted/data", &granted).await.status, 200);
    assert!(first.get("/v1/me/devices", &p1).await.json["items"][0]["stay_until"].is_string());
    first.app.engine.drain().await;
    let (shop, maker) = (first.shop.clone(), first.maker.clone());
    drop(first);

    // Nobody touches the home: its deadline is found at the start.
    let house = House { shop, maker, ..house_by(disk, clock.clone()).await };
    assert_eq!(house.get("/v1/devices/d-1", &house.shop).await.json["link"]["profile"], "p1");
    clock.0.send_replace(START + Span::days(2));
    is_given_back(&house).await;
    assert_eq!(house.get("/v1/devices/d-1", &house.shop).await.status, 404);
    let seen = house.get("/v1/devices/d-1", &house.maker).await.json;
    assert_eq!((&seen["link"]["state"], &seen["mode"]), (&json!("wipe_pending"), &json!("shared_public")), "{seen}");
    // A customer's token does not last as long as a stay.
    let p1 = token_of(&house, "p1").await;
    assert_eq!(house.get("/v1/me/devices", &p1).await.json["items"], json!([]));
    let told = house.get("/v1/granted/data", &granted).await;
    assert!(told.status >= 400, "{}: {}", told.status, told.text);
    let told = house.get("/v1/profiles/p1/timeline", &house.shop).await.json;
    let last = &told["items"][0];
    assert_eq!(
        (&last["what"], &last["device"], &last["detail"]),
        (&json!("device.released"), &json!("d-1"), &json!("the stay is over")),
        "{told}"
    );
    assert_eq!(told["items"].as_array().unwrap().iter().filter(|one| one["what"] == "device.linked").count(), 1);

    assert_eq!(house.app.engine.replay(guests).unwrap().differences, []);

    clock.0.send_replace(START + Span::days(3));
    checks_in(&house, "p2", START + Span::days(4)).await;
    house.used("d-1", 18.5).await;
    let (p1, p2) = (token_of(&house, "p1").await, token_of(&house, "p2").await);
    let data = house.get("/v1/me/devices/d-1/data", &p2).await;
    assert!(data.text.contains("18.5") && !data.text.contains("17.5"), "{}", data.text);
    assert_eq!(house.get("/v1/me/devices/d-1/data", &p1).await.status, 404);
    assert!(house.get("/v1/granted/data", &granted).await.status >= 400);
    let theirs = house.get("/v1/profiles/p1/timeline", &house.shop).await.json;
    let of_next = theirs["items"].as_array().unwrap().iter().filter(|one| one["profile"] == "p2").count();
    assert_eq!((of_next, &theirs["items"][0]["what"]), (0, &json!("device.released")), "{theirs}");
}

#[tokio::test]
async fn all_rooms_of_a_guest_end_at_once() {
    let clock = Arc::new(TurnedClock(watch::Sender::new(START)));
    let house = furnished(house_by(Disk::new(), clock.clone()).await).await;
    let until = (START + Span::days(1)).to_string();
    for device in ["d-1", "d-2", "d-3"] {
        house.register(device).await;
        house.ok("PUT", &format!("/v1/devices/{device}/mode"), &house.maker, shared()).await;
        let line = json!({"device": device, "profile": "p1", "tz": "Europe/Paris", "until": until}).to_string();
        house.bulk("/v1/links:bulk", &house.shop, &[line]).await;
    }
    clock.0.send_replace(START + Span::days(1));
    // The clock stands: none of them waits for a further try.
    for _ in 0..500 {
        if house.get("/v1/devices", &house.shop).await.json["items"] == json!([]) {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("{}", house.get("/v1/devices", &house.shop).await.text);
}
