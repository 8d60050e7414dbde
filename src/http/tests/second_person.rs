//! What reaches many homes is published by two persons.

use std::sync::Arc;

use hearthway_core::id::TriggerId;
use hearthway_core::time::{Span, Timestamp};
use serde_json::{Value, json};
use tokio::sync::watch;

use super::{Answer, Disk, House, furnished, house_by, house_reaching, product, trigger};
use crate::webhook::tests::TurnedClock;

const START: Timestamp = Timestamp(1_800_000_000_000);
const PUBLISH: &str = "/v1/triggers/filter-worn/publish";

/// A shop where one person alone may reach two homes, and so many homes.
async fn shop(clock: &Arc<TurnedClock>, homes: u32) -> House {
    let house = furnished(house_by(Disk::new(), clock.clone()).await).await;
    house.ok("PUT", "/v1/products/flt-20x25", &house.shop, product()).await;
    house.ok("PUT", "/v1/triggers/filter-worn", &house.shop, trigger()).await;
    for n in 0..homes {
        house.link(&format!("d-{n}"), &format!("p{n}")).await;
    }
    house
}

fn clock() -> Arc<TurnedClock> {
    Arc::new(TurnedClock(watch::Sender::new(START)))
}

#[tokio::test]
async fn where_nobody_publishes_alone_what_reaches_no_home_yet_takes_two_as_well() {
    let house = furnished(house_reaching(Disk::new(), clock(), 0).await).await;
    house.ok("PUT", "/v1/products/flt-20x25", &house.shop, product()).await;
    house.ok("PUT", "/v1/triggers/filter-worn", &house.shop, trigger()).await;
    let marketer = house.token("shop-a", "marketer").await;
    let told = house.call("POST", PUBLISH, &marketer, json!({})).await;
    assert_eq!((told.status, told.code()), (409, "trigger.second_person"), "{}", told.text);
    assert_eq!(house.call("POST", PUBLISH, &house.shop, json!({})).await.status, 200, "who answers for the shop may");
}

async fn asked(house: &House, token: &str) -> String {
    let told = house.call("POST", PUBLISH, token, json!({})).await;
    assert_eq!((told.status, told.code()), (409, "trigger.second_person"), "{}", told.text);
    assert_eq!(told.json["reach_more_than"], 2, "{}", told.text);
    told.json["request"].as_str().unwrap().to_owned()
}

async fn confirm(house: &House, token: &str, request: &str) -> Answer {
    house.call("POST", PUBLISH, token, json!({"confirm": request})).await
}

async fn state(house: &House) -> Value {
    house.get("/v1/triggers/filter-worn", &house.shop).await.json["state"].clone()
}

#[tokio::test]
async fn what_reaches_few_homes_is_published_alone_and_what_reaches_more_by_another_token() {
    let house = shop(&clock(), 2).await;
    let (first, second) = (house.token("shop-a", "marketer").await, house.token("shop-a", "marketer").await);
    let alone = house.call("POST", PUBLISH, &first, json!({})).await;
    assert_eq!((alone.status, state(&house).await), (200, json!("published")), "two homes: {}", alone.text);
    house.ok("POST", "/v1/triggers/filter-worn/pause", &house.shop, json!({})).await;

    house.link("d-2", "p2").await;
    let request = asked(&house, &first).await;
    assert_eq!(state(&house).await, "paused", "nothing speaks before the second person");
    let by_the_same = confirm(&house, &first, &request).await;
    assert_eq!((by_the_same.status, by_the_same.code()), (409, "conflict"), "{}", by_the_same.text);
    let (support, stranger) = (house.token("shop-a", "support").await, house.token("shop-b", "marketer").await);
    assert_eq!(confirm(&house, &support, &request).await.status, 403);
    assert_eq!(confirm(&house, &stranger, &request).await.status, 404);
    assert_eq!(confirm(&house, &second, "pq_other").await.status, 409);
    assert_eq!(state(&house).await, "paused");
    let confirmed = confirm(&house, &second, &request).await;
    assert_eq!((confirmed.status, state(&house).await), (200, json!("published")), "{}", confirmed.text);
    assert_eq!(confirm(&house, &second, &request).await.status, 409, "a request is confirmed once");

    // Who asked and who confirmed are both in the trail.
    let trail = house.get("/v1/audit?target=triggers/filter-worn", &house.shop).await.json;
    let actions: Vec<(&Value, &Value)> =
        trail["items"].as_array().unwrap().iter().map(|entry| (&entry["action"], &entry["actor"])).collect();
    let by = |action: &str| actions.iter().filter(|(done, _)| *done == action).map(|(_, by)| *by).collect::<Vec<_>>();
    let token_of = |token: &str| json!(format!("tk_{}", token.split('_').nth(1).unwrap()));
    assert_eq!(by("ask to publish"), [&token_of(&first)], "{trail}");
    let published = [&token_of(&second), &token_of(&first)];
    assert_eq!(by("POST /v1/triggers/{trigger}/publish"), published, "newest first: who confirmed; alone: {trail}");
}

#[tokio::test]
async fn a_request_is_over_after_a_day_and_when_its_draft_is_another_one() {
    let clock = clock();
    let house = shop(&clock, 3).await;
    let (first, second) = (house.token("shop-a", "marketer").await, house.token("shop-a", "marketer").await);
    let late = asked(&house, &first).await;
    clock.0.send_replace(START + Span::hours(24));
    assert_eq!(confirm(&house, &second, &late).await.status, 409);
    let changed = asked(&house, &first).await;
    let mut other = trigger();
    other["offer"]["text"]["fr"]["title"] = "Nouveau".into();
    house.ok("PUT", "/v1/triggers/filter-worn", &first, other).await;
    let told = confirm(&house, &second, &changed).await;
    assert!(told.status == 409 && told.text.contains("the draft is another one"), "{}", told.text);
    assert_eq!(state(&house).await, "draft");
    // Who runs the shop publishes alone, and confirms too.
    let request = asked(&house, &first).await;
    clock.0.send_replace(START + Span::hours(47));
    assert_eq!(confirm(&house, &house.shop, &request).await.status, 200);
    assert_eq!(house.call("POST", PUBLISH, &house.shop, json!({})).await.status, 200);
}

#[tokio::test]
async fn homes_that_asked_for_silence_count_as_those_that_did_not() {
    let house = shop(&clock(), 3).await;
    let silent = json!({"pause_until": (START + Span::days(7)).to_string()});
    for n in 0..3 {
        house.ok("PUT", &format!("/v1/profiles/p{n}/preferences"), &house.shop, silent.clone()).await;
    }
    let marketer = house.token("shop-a", "marketer").await;
    asked(&house, &marketer).await;
    assert_eq!(state(&house).await, "draft");
}

#[tokio::test]
async fn homes_are_counted_one_look_after_the_other_and_nobody_else_waits() {
    let house = shop(&clock(), 1).await;
    let marketer = house.app.caller(&house.token("shop-a", "marketer").await).unwrap();
    let id = TriggerId::new("filter-worn").unwrap();
    // Somebody's look at every home is on.
    let look = house.app.counting_homes.clone().acquire_owned().await.unwrap();
    let (published, ()) = tokio::join!(house.app.publish_trigger(&marketer, &id, None), async {
        // What waits for its turn to look keeps nobody from audiences, nor from triggers.
        house.ok("PUT", "/v1/audiences/warm", &house.shop, json!({"kind": "list"})).await;
        let mut other = trigger();
        other["id"] = json!("other");
        house.ok("PUT", "/v1/triggers/other", &house.shop, other).await;
        house.ok("POST", "/v1/triggers/other/publish", &house.shop, json!({})).await;
        assert_eq!(state(&house).await, "draft");
        drop(look);
    });
    assert_eq!(published.unwrap().state(), "published");
}
