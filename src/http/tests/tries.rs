//! What all live triggers would do in a home.

use hearthway_core::time::Span;
use serde_json::{Value, json};

use super::{house, product, trigger};

fn named(id: &str, above: &str) -> Value {
    let mut other = trigger();
    other["id"] = json!(id);
    other["on"]["rises_above"] = json!(above);
    other["test"] = json!([]);
    other
}

#[tokio::test]
async fn all_live_triggers_are_tried_at_once_and_nothing_is_written_or_sent() {
    let house = house().await;
    let shop = house.shop.clone();
    house.ok("PUT", "/v1/products/flt-20x25", &shop, product()).await;
    for (id, above) in [("filter-worn", "600 h"), ("late", "700 h"), ("also", "610 h"), ("draft", "605 h")] {
        house.ok("PUT", &format!("/v1/triggers/{id}"), &shop, named(id, above)).await;
        if id != "draft" {
            house.ok("POST", &format!("/v1/triggers/{id}/publish"), &shop, json!({})).await;
        }
    }
    let home = house.link("d-1", "p1").await["household"].clone();
    house.used("d-1", 590.0).await;
    let ask = |input: Value| json!({"household": home, "input": input});
    let worn = ask(json!({"slot": {"air_filter": {"used": 612}}}));
    let told = house.ok("POST", "/v1/triggers:try", &shop, worn.clone()).await;
    assert_eq!((&told["device"], &told["live"]), (&json!("d-1"), &json!(3)), "{told}");
    let woken: Vec<(&str, &str)> = told["woken"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| (one["trigger"].as_str().unwrap(), one["verdict"].as_str().unwrap()))
        .collect();
    assert_eq!(woken, [("also", "sent"), ("filter-worn", "held")], "one surface: the first id of equal ones");
    assert_eq!(told["woken"][0]["would_send"]["text"]["title"], "Filtre bientôt usé");
    assert_eq!(
        (&told["woken"][1]["first_block"], &told["woken"][1]["would_send"]),
        (&json!("placement"), &Value::Null)
    );
    // It did not happen: the same again, and no offer is there.
    assert_eq!(house.ok("POST", "/v1/triggers:try", &shop, worn.clone()).await["woken"].as_array().unwrap().len(), 2);
    assert_eq!(house.get("/v1/offers", &shop).await.json["items"], json!([]));

    let asleep = house.ok("POST", "/v1/triggers:try", &shop, ask(json!({"slot": {"air_filter": {"used": 591}}}))).await;
    assert_eq!((&asleep["woken"], &asleep["live"]), (&json!([]), &json!(3)));
    let at = (house.app.now() + Span::days(1)).to_string();
    let later =
        json!({"household": home, "input": {"slot": {"air_filter": {"used": 612}}}, "at": at, "device": "acme/d-1"});
    assert_eq!(house.ok("POST", "/v1/triggers:try", &shop, later).await["woken"][0]["at"], at);
}

#[tokio::test]
async fn of_several_devices_it_is_tried_on_the_first_that_it_wakes_something_on() {
    let house = house().await;
    let shop = house.shop.clone();
    house.ok("PUT", "/v1/products/flt-20x25", &shop, product()).await;
    house.ok("PUT", "/v1/triggers/filter-worn", &shop, trigger()).await;
    house.ok("POST", "/v1/triggers/filter-worn/publish", &shop, json!({})).await;
    let home = house.link("d-1", "p1").await["household"].clone();
    house.link("d-2", "p1").await;
    house.used("d-2", 590.0).await;
    let worn =
        |device: Value| json!({"household": home, "device": device, "input": {"slot": {"air_filter": {"used": 612}}}});
    let told = house.ok("POST", "/v1/triggers:try", &shop, worn(Value::Null)).await;
    assert_eq!((&told["device"], &told["woken"][0]["trigger"]), (&json!("d-2"), &json!("filter-worn")));
    let told = house.ok("POST", "/v1/triggers:try", &shop, worn(json!("d-1"))).await;
    assert_eq!((&told["device"], &told["woken"]), (&json!("d-1"), &json!([])), "its first report makes no edge");

    let wrong = house.call("POST", "/v1/triggers:try", &shop, worn(json!("d-9"))).await;
    assert_eq!(wrong.status, 404, "{}", wrong.text);
    let odd = json!({"household": home, "input": {"slot": {"bag": {"used": 1}}}});
    let wrong = house.call("POST", "/v1/triggers:try", &shop, odd).await;
    assert_eq!((wrong.status, &wrong.json["pointer"]), (422, &json!("/input")), "{}", wrong.text);
    let wrong = house.call("POST", "/v1/triggers:try", &house.other_shop, worn(Value::Null)).await;
    assert_eq!(wrong.status, 404, "{}", wrong.text);
}
