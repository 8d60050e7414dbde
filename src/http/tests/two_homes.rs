//! A person with two homes: what they heard in one counts in the other.

use std::sync::Arc;

use hearthway_core::time::{Span, Timestamp};
use hearthway_core::wire::{DeviceMessage, ReceiptUp, ReceiptWord};
use serde_json::{Value, json};
use tokio::sync::watch;

use super::{Disk, House, furnished, house, house_by, house_on, product, trigger};
use crate::store::{Commit, Store, Write, keys};
use crate::webhook::tests::TurnedClock;

/// A shop that speaks to nobody about filters more than once a week.
async fn shop_with_a_cap() -> House {
    capped(house().await, "7d").await
}

/// The same within so many days.
async fn capped(house: House, within: &str) -> House {
    let mut once = trigger();
    once["limits"] = json!({"caps": [{"max": 1, "per": "offer", "scope": "profile", "within": within}]});
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
    // p2, who lives there too, reads nothing of p1's other home.
    let export = house.get("/v1/profiles/p2/export", &house.shop).await.text;
    assert!(export.contains("person_cap_reached") && !export.contains("elsewhere"), "{export}");
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

/// A home of p1 and p3 that heard of its filter, and one of p2; then p3 moves from the one to the other.
async fn moved_house(house: &House, seen: bool) -> Value {
    house.link("d-1", "p1").await;
    let other = house.link("d-2", "p2").await["household"].clone();
    let buyer = json!({"profile": "p3", "role": "buyer"});
    house.ok("POST", "/v1/devices/d-1/members", &house.shop, buyer.clone()).await;
    assert_eq!(worn(house, "d-1").await, 1);
    if seen {
        let offers = house.get("/v1/offers", &house.shop).await.json;
        let offer = offers["items"][0]["offer"].as_str().unwrap().parse().unwrap();
        let receipt = ReceiptUp { offer, rev: 1, state: ReceiptWord::Shown, t: None };
        house.device_says("d-1", DeviceMessage::Receipt(receipt)).await;
    }
    house.call("DELETE", "/v1/devices/d-1/members/p3", &house.shop, json!({})).await;
    house.ok("POST", "/v1/devices/d-2/members", &house.shop, buyer).await;
    other
}

#[tokio::test]
async fn who_leaves_a_home_takes_along_how_often_they_were_spoken_to() {
    let house = shop_with_a_cap().await;
    let other = moved_house(&house, true).await;
    assert_eq!(worn(&house, "d-2").await, 0, "p3 heard it where they lived before");
    let why = why_silent(&house, &other).await;
    assert_eq!(why["first_block"], "caps", "{why}");
    // Neither a stop nor a day forgets it, though nobody has two homes.
    let mut again = house_on(house.disk.clone()).await;
    again.shop.clone_from(&house.shop);
    assert_eq!(worn(&again, "d-2").await, 0);
    // Who was erased has heard nothing: they come as somebody new.
    let begun = again.ok("POST", "/v1/erase", &again.shop, json!({"profile": "p3"})).await;
    super::erasure::done(&again, begun["erase"].as_str().unwrap()).await;
    let taken_along = || again.app.engine.store().scan(&keys::all_taken_along(), None, 10).unwrap().len();
    assert_eq!(taken_along(), 0);
    let buyer = json!({"profile": "p3", "role": "buyer"});
    again.ok("POST", "/v1/devices/d-2/members", &again.shop, buyer).await;
    assert_eq!(worn(&again, "d-2").await, 1);
}

#[tokio::test]
async fn what_nobody_had_seen_when_somebody_left_they_have_not_heard() {
    let house = shop_with_a_cap().await;
    moved_house(&house, false).await;
    assert_eq!(worn(&house, "d-2").await, 2);
}

#[tokio::test]
async fn a_home_is_watched_no_longer_than_somebody_has_another_one() {
    let clock = Arc::new(TurnedClock(watch::Sender::new(Timestamp(1_800_000_000_000))));
    let house = capped(furnished(house_by(Disk::new(), clock.clone()).await).await, "30d").await;
    let pass = async |days: i64| {
        clock.0.send_modify(|now| *now = *now + Span::days(days));
        house.app.upkeep().await;
    };
    let rows = |prefix: Vec<u8>| house.app.engine.store().scan(&prefix, None, 10).unwrap().len();
    moved_house(&house, true).await;
    assert_eq!((rows(keys::watched_homes()), rows(keys::all_taken_along())), (2, 1));
    pass(0).await;
    pass(2).await;
    assert_eq!(rows(keys::watched_homes()), 0, "p3 has one home");
    assert_eq!(worn(&house, "d-2").await, 0, "and heard it in the other all the same");
    // Of p1 and p2 nobody lives in two.
    house.call("DELETE", "/v1/devices/d-2/members/p3", &house.shop, json!({})).await;
    assert_eq!(worn(&house, "d-2").await, 1);
    let p1 = json!({"profile": "p1", "role": "buyer"});
    house.ok("POST", "/v1/devices/d-2/members", &house.shop, p1).await;
    pass(0).await;
    pass(2).await;
    assert_eq!(rows(keys::watched_homes()), 2, "p1 has two");
    pass(400).await;
    assert_eq!(rows(keys::all_taken_along()), 0, "no cap looks so far back");
}

#[tokio::test]
async fn a_look_back_at_a_silence_says_that_nobody_asked_about_the_other_home() {
    let house = shop_with_a_cap().await;
    let home = house.link("d-1", "p1").await["household"].clone();
    house.used("d-1", 20.0).await;
    let why = why_silent(&house, &home).await;
    let caps = why["steps"].as_array().unwrap().iter().find(|step| step["step"] == "caps").unwrap();
    assert_eq!((&caps["verdict"], &caps["code"]), (&json!("skipped"), &json!("elsewhere_not_asked")), "{why}");
}
