//! A person with two homes: what they heard in one counts in the other.

use serde_json::{Value, json};

use super::{House, house, house_on, product, trigger};
use crate::store::{Commit, Store, Write, keys};

/// A shop that speaks to nobody about filters more than once a week.
async fn shop_with_a_cap() -> House {
    let house = house().await;
    let mut once = trigger();
    once["limits"] = json!({"caps": [{"max": 1, "per": "offer", "scope": "profile", "within": "7d"}]});
    once["test"] = json!([]);
    house.ok("PUT", "/v1/products/flt-20x25", &house.shop, product()).await;
    house.ok("PUT", "/v1/triggers/filter-worn", &house.shop, once).await;
    house.ok("POST", "/v1/triggers/filter-worn/publish", &house.shop, json!({})).await;
    house
}

/// How many offers are on screens after the filter of a device wore out once more.
async fn worn(house: &House, device: &str) -> usize {
    house.used(device, 20.0).await;
    house.used(device, 612.0).await;
    house.get("/v1/offers?state=sent", &house.shop).await.json["items"].as_array().unwrap().len()
}

async fn why_silent(house: &House, home: &Value) -> Value {
    let path = format!("/v1/explain?household={}&trigger=filter-worn", home.as_str().unwrap());
    house.get(&path, &house.shop).await.json
}

#[tokio::test]
async fn a_member_of_two_homes_is_spoken_to_as_often_as_one_person() {
    let house = shop_with_a_cap().await;
    house.link("d-1", "p1").await;
    let other = house.link("d-2", "p2").await;
    house.ok("POST", "/v1/devices/d-2/members", &house.shop, json!({"profile": "p1", "role": "buyer"})).await;
    assert_eq!(worn(&house, "d-1").await, 1);
    assert_eq!(worn(&house, "d-2").await, 1, "p1 heard it at home");
    let why = why_silent(&house, &other["household"]).await;
    let caps = why["steps"].as_array().unwrap().iter().find(|step| step["step"] == "caps").unwrap();
    assert_eq!((&why["first_block"], &caps["numbers"]["elsewhere"]), (&json!("caps"), &json!(1)), "{why}");
    // A stop forgets nothing.
    let mut again = house_on(house.disk.clone()).await;
    again.shop.clone_from(&house.shop);
    assert_eq!(worn(&again, "d-2").await, 1);
    // Without p1 the home is only p2's, who has heard nothing.
    again.call("DELETE", "/v1/devices/d-2/members/p1", &again.shop, json!({})).await;
    assert_eq!(worn(&again, "d-2").await, 2);
}

#[tokio::test]
async fn two_profiles_that_are_one_have_one_cap_and_two_again_when_that_is_taken_back() {
    let house = shop_with_a_cap().await;
    house.link("d-1", "p1").await;
    house.link("d-2", "p2").await;
    assert_eq!(worn(&house, "d-1").await, 1);
    let merge = json!({"from": "p2", "into": "p1"});
    let merge = house.ok("POST", "/v1/profiles/merge", &house.shop, merge).await["merge"].clone();
    assert_eq!(worn(&house, "d-2").await, 1, "the caps of both add up");
    let undo = format!("/v1/profiles/merges/{}/undo", merge.as_str().unwrap());
    house.ok("POST", &undo, &house.shop, json!({})).await;
    assert_eq!(worn(&house, "d-2").await, 2, "p2 had heard nothing");
}

#[tokio::test]
async fn who_had_two_homes_before_they_were_watched_is_found_at_a_start() {
    let house = shop_with_a_cap().await;
    house.link("d-1", "p1").await;
    house.link("d-2", "p2").await;
    house.ok("POST", "/v1/devices/d-2/members", &house.shop, json!({"profile": "p1", "role": "buyer"})).await;
    // As a gateway left it that did not watch.
    let store = house.app.engine.store();
    let watched = store.scan(&keys::watched_homes(), None, 10).unwrap();
    assert_eq!(watched.len(), 2);
    let writes = watched.into_iter().map(|(key, _)| Write::Delete(key)).collect();
    house.app.engine.write(Commit { preconditions: Vec::new(), writes }).await.unwrap();
    let mut again = house_on(house.disk.clone()).await;
    again.shop.clone_from(&house.shop);
    again.app.watch_known_homes().await.unwrap();
    assert_eq!(worn(&again, "d-1").await, 1);
    assert_eq!(worn(&again, "d-2").await, 1, "p1 heard it at home");
}
