//! Feeds: what surrounds homes, told over HTTP.

use serde_json::json;

use super::{house, product};

fn rainy() -> serde_json::Value {
    json!({
        "id": "rainy", "kind": "tip",
        "on": {"event": "context", "device": {"kind": "thermostat"}, "field": "weather", "becomes": "rain"},
        "offer": {"actions": ["decline"], "text": {"fr": {"title": "Pluie", "body": "Il pleut."}}},
    })
}

#[tokio::test]
async fn a_feed_tells_a_home_or_all_homes_of_a_region_and_wakes_their_triggers() {
    let house = house().await;
    house.ok("PUT", "/v1/products/flt-20x25", &house.shop, product()).await;
    house.ok("PUT", "/v1/triggers/rainy", &house.shop, rainy()).await;
    house.ok("POST", "/v1/triggers/rainy/publish", &house.shop, json!({})).await;
    for (device, profile) in [("d-1", "p1"), ("d-2", "p2")] {
        house.link(device, profile).await;
    }
    let say = |value: &str, place: serde_json::Value| {
        let mut body = json!({"value": value, "ttl_s": 3600});
        body.as_object_mut().unwrap().extend(place.as_object().unwrap().clone());
        body
    };
    let paris = || json!({"region": "Europe/Paris"});
    let told = house.ok("POST", "/v1/context/weather", &house.shop, say("sun", paris())).await;
    assert_eq!((&told["kind"], &told["homes"]), (&json!("weather"), &json!(2)), "{told}");
    let tokyo = say("rain", json!({"region": "Asia/Tokyo"}));
    assert_eq!(house.ok("POST", "/v1/context/weather", &house.shop, tokyo).await["homes"], 0);
    assert_eq!(house.ok("POST", "/v1/context/weather", &house.other_shop, say("rain", paris())).await["homes"], 0);
    assert_eq!(house.get("/v1/offers", &house.shop).await.json["items"], json!([]));

    let id = house.get("/v1/profiles/p1", &house.shop).await.json["links"][0]["household"].as_str().unwrap().to_owned();
    let rain = say("rain", json!({"household": id}));
    assert_eq!(house.call("POST", "/v1/context/weather", &house.other_shop, rain.clone()).await.status, 404);
    assert_eq!(house.ok("POST", "/v1/context/weather", &house.shop, rain).await["homes"], 1);
    let offers = house.get("/v1/offers", &house.shop).await.json;
    assert_eq!(offers["items"].as_array().unwrap().len(), 1, "{offers}");
    assert_eq!(offers["items"][0]["household"], json!(id));
}

#[tokio::test]
async fn a_number_that_jumps_is_counted_as_doubted_until_the_next_agrees() {
    let house = house().await;
    house.link("d-1", "p1").await;
    for (value, doubted) in [(12.0, 0), (400.0, 1), (401.0, 0), (12.0, 1)] {
        let body = json!({"value": value, "ttl_s": 60, "region": "Europe/Paris", "step_max": 10});
        let told = house.ok("POST", "/v1/context/outside", &house.shop, body).await;
        assert_eq!((&told["homes"], &told["doubted"]), (&json!(1), &json!(doubted)), "{value}: {told}");
    }
}

#[tokio::test]
async fn a_word_without_a_place_or_an_end_is_refused_with_its_pointer() {
    let house = house().await;
    for (body, pointer) in [
        (json!({"value": "rain", "ttl_s": 60}), "/household"),
        (json!({"value": "rain", "ttl_s": 0, "region": "Europe/Paris"}), "/ttl_s"),
        (json!({"value": "rain", "ttl_s": 604_801, "region": "Europe/Paris"}), "/ttl_s"),
        (json!({"value": "", "ttl_s": 60, "region": "Europe/Paris"}), "/value"),
        (json!({"value": "rain", "ttl_s": 60, "region": "Europe/Pariss"}), "/region"),
        (json!({"value": "rain", "ttl_s": 60, "region": "Europe/Paris", "step_max": 1}), "/step_max"),
        (json!({"value": 12, "ttl_s": 60, "region": "Europe/Paris", "step_max": 0}), "/step_max"),
    ] {
        let answer = house.call("POST", "/v1/context/weather", &house.shop, body.clone()).await;
        assert_eq!((answer.status, &answer.json["pointer"]), (422, &json!(pointer)), "{body} {}", answer.text);
    }
}
