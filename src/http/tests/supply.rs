//! What stands on the shelf of a home: purchases elsewhere, mandates, and what the slots show.

use hearthway_core::forecast::ProductPrior;
use serde_json::{Value, json};

use super::{House, house, product};

async fn home() -> House {
    let house = house().await;
    house.ok("PUT", "/v1/products/flt-20x25", &house.shop, product()).await;
    house.ok("PUT", "/v1/profiles/p1", &house.shop, json!({"display_name": "Maison"})).await;
    house.register("d-1").await;
    let link = json!({
        "device": "d-1", "profile": "p1", "role": "owner", "tz": "Europe/Paris", "locale": "fr-FR",
        "consents": [{"purpose": "replenish.device", "granted": true}, {"purpose": "auto_order", "granted": true}],
    });
    let told = house.bulk("/v1/links:bulk", &house.shop, &[link.to_string()]).await;
    assert!(told[0]["link"].is_string(), "{}", told[0]);
    house
}

fn purchase(id: &str) -> Value {
    json!({
        "specversion": "1.0", "id": id, "source": "/stores/st-12", "type": "purchase", "extra": 1,
        "time": null,
        "data": {"profile": "p1", "product": "flt-20x25", "qty": 2},
    })
}

async fn slot(house: &House, token: &str) -> Value {
    let answer = house.get("/v1/devices/d-1/slots", token).await;
    answer.json["items"][0].clone()
}

#[tokio::test]
async fn a_purchase_elsewhere_is_taken_once_and_stands_on_the_shelf() {
    let house = home().await;
    house.used("d-1", 100.0).await;
    let taken = house.ok("POST", "/v1/events", &house.shop, purchase("e-1")).await;
    assert_eq!((&taken["id"], &taken["result"]), (&json!("e-1"), &json!("taken")));
    let again = house.ok("POST", "/v1/events", &house.shop, purchase("e-1")).await;
    assert_eq!((&again["result"], &again["household"]), (&json!("repeated"), &taken["household"]));
    let slot = slot(&house, &house.shop).await;
    assert_eq!((&slot["on_hand"], &slot["used"]), (&json!(2), &json!(100)));
    assert_eq!((&slot["forecast"], &slot["no_forecast"]), (&Value::Null, &json!("not_enough_history")));
    assert_eq!(slot["learned"]["product"], "flt-20x25");
    house.used("d-1", 1.0).await;
    assert_eq!(self::slot(&house, &house.shop).await["on_hand"], 1, "a fresh one was inserted");
}

#[tokio::test]
async fn in_a_batch_each_event_stands_for_itself_and_says_where_it_is_wrong() {
    let house = home().await;
    let with = |pointer: &str, value: Value| {
        let mut event = purchase("e-2");
        *event.pointer_mut(pointer).unwrap() = value;
        event
    };
    let batch = json!([
        purchase("e-1"),
        with("/type", json!("store visit")),
        with("/specversion", json!("0.3")),
        with("/data/product", json!("nothing")),
        with("/data/profile", json!("nobody")),
        with("/data/qty", json!(0)),
        with("/data/qty", json!("two")),
        with("/data", json!({"profile": "p1"})),
        json!({"id": "e-3"}),
    ]);
    let told = house.ok("POST", "/v1/events", &house.shop, batch).await;
    let told: Vec<_> = told["items"].as_array().unwrap().iter().collect();
    let pointers: Vec<_> = told.iter().map(|item| item["error"]["pointer"].as_str().unwrap_or("taken")).collect();
    let wrong = ["/type", "/specversion", "/data/product", "/data/profile", "/data/qty", "/data/qty", "/data", ""];
    assert_eq!(pointers[0], "taken");
    assert_eq!(&pointers[1..], &wrong, "{told:#?}");
    let single = house.call("POST", "/v1/events", &house.shop, with("/type", json!("vi/ew"))).await;
    assert_eq!((single.status, &single.json["code"]), (422, &json!("payload.invalid")));
    assert_eq!(house.call("POST", "/v1/events", &house.maker, purchase("e-9")).await.status, 403);
    let other = house.call("POST", "/v1/events", &house.other_shop, purchase("e-9")).await;
    assert_eq!(other.json["pointer"], "/data/product", "another shop has neither the product nor the customer");
}

fn mandate() -> Value {
    json!({
        "profile": "p1", "device": "d-1", "slot": "air_filter", "products": ["flt-20x25"],
        "max_price": {"minor": 2500, "currency": "EUR"}, "max_per_30d": 1, "expires_at": "2027-06-30T00:00:00Z",
    })
}

#[tokio::test]
async fn a_mandate_is_given_seen_replaced_and_ended() {
    let house = home().await;
    let path = "/v1/mandates/m-1";
    let given = house.call("PUT", path, &house.shop, mandate()).await;
    assert_eq!(given.status, 200, "{}", given.text);
    assert_eq!((&given.json["device"], &given.json["ordered"]), (&json!("d-1"), &json!([])));
    let mut cheaper = mandate();
    cheaper["max_price"]["minor"] = json!(1_000);
    house.ok("PUT", path, &house.shop, cheaper).await;
    assert_eq!(house.get(path, &house.shop).await.json["max_price"]["minor"], 1_000);
    assert_eq!(house.get(path, &house.other_shop).await.status, 404, "another shop's looks like none");
    assert_eq!(house.send("DELETE", path, &house.shop, &[], None).await.status, 204);
    assert_eq!(house.get(path, &house.shop).await.status, 404);
    assert_eq!(house.send("DELETE", path, &house.shop, &[], None).await.status, 404);
}

#[tokio::test]
async fn a_mandate_that_cannot_be_is_refused_where_it_is_wrong() {
    let house = home().await;
    for (pointer, value, expected) in [
        ("/max_per_30d", json!(0), "/max_per_30d"),
        ("/max_price/minor", json!(-5), "/max_price"),
        ("/products", json!([]), "/products"),
        ("/products", json!(["nothing"]), "/products"),
        ("/expires_at", json!("2020-01-01T00:00:00Z"), "/expires_at"),
        ("/profile", json!("p9"), "/profile"),
    ] {
        let mut body = mandate();
        *body.pointer_mut(pointer).unwrap() = value;
        let answer = house.call("PUT", "/v1/mandates/m-1", &house.shop, body).await;
        assert!((400..500).contains(&answer.status), "{pointer}: {}", answer.text);
        assert_eq!(answer.json["pointer"], expected, "{}", answer.text);
    }
    let mut elsewhere = mandate();
    elsewhere["device"] = json!("d-9");
    assert_eq!(house.call("PUT", "/v1/mandates/m-1", &house.shop, elsewhere).await.status, 404);
}

#[tokio::test]
async fn a_slots_history_tells_its_readings_its_refills_and_the_errors_of_its_forecasts() {
    let house = home().await;
    for hours in [500.0, 520.0, 540.0, 5.0, 25.0] {
        house.used("d-1", hours).await;
    }
    let history = house.get("/v1/devices/d-1/slots/air_filter/history", &house.shop).await;
    let points = history.json["points"].as_array().unwrap();
    let left: Vec<f64> = points.iter().map(|point| point["left_percent"].as_f64().unwrap()).collect();
    assert_eq!(left, [30.6, 27.8, 25.0, 99.3, 96.5]);
    let refilled: Vec<bool> = points.iter().map(|point| point["refilled"] == true).collect();
    assert_eq!(refilled, [false, false, false, true, false]);
    assert_eq!(points[3]["verdict"], "replaced by a full one");
    for path in ["/v1/devices/d-1/slots/beans/history", "/v1/devices/d-9/slots/air_filter/history"] {
        assert_eq!(house.get(path, &house.shop).await.status, 404, "{path}");
    }
    assert_eq!(house.get("/v1/devices/d-1/slots/air_filter/history", &house.other_shop).await.status, 404);
    let report = house.get("/v1/reports/forecast-error", &house.shop).await;
    assert_eq!((&report.json["report"], &report.json["households"]), (&json!("forecast-error"), &json!(1)));
    let row = &report.json["products"][0];
    assert_eq!((&row["product"], &row["cycles"]), (&json!("flt-20x25"), &json!(1)));
    let csv = house.get("/v1/reports/forecast-error?format=csv", &house.shop).await;
    assert!(csv.text.starts_with("product,cycles,mean_error_days,"), "{}", csv.text);
    let wrong = house.get("/v1/reports/forecast-error?trigger=x", &house.shop).await;
    assert_eq!(wrong.status, 422, "{}", wrong.text);
}

#[tokio::test]
async fn a_prior_is_published_for_a_product_and_begins_every_home_after_it() {
    let house = home().await;
    let prior = serde_json::to_value(ProductPrior::default()).unwrap();
    let path = "/v1/priors/flt-20x25";
    assert_eq!(house.get(path, &house.shop).await.status, 404);
    house.ok("PUT", path, &house.shop, prior.clone()).await;
    let known: ProductPrior = serde_json::from_value(house.get(path, &house.shop).await.json).unwrap();
    assert_eq!(known, ProductPrior::default());
    assert_eq!(house.get(path, &house.other_shop).await.status, 404);
    assert_eq!(house.call("PUT", "/v1/priors/nothing", &house.shop, prior.clone()).await.status, 404);
    house.ok("PUT", "/v1/priors/_any", &house.shop, prior.clone()).await;
    house.used("d-1", 300.0).await;
    let seen = slot(&house, &house.shop).await;
    assert!(
        seen["forecast"]["priors_version"].as_u64().unwrap() > 0,
        "a product's own prior is history enough: {seen}"
    );
    let mut wrong = prior;
    wrong["level"]["rate"] = json!(-1.0);
    let refused = house.call("PUT", path, &house.shop, wrong).await;
    assert_eq!((refused.status, &refused.json["pointer"]), (422, &json!("/level/rate")), "{}", refused.text);
}

#[tokio::test]
async fn a_slot_that_never_reported_shows_what_its_purchases_tell() {
    let house = home().await;
    let before = house.get("/v1/devices/d-1/slots", &house.shop).await;
    assert_eq!(before.json["items"], json!([]), "nothing is known of it");
    let batch: Vec<_> = (1..=4)
        .map(|n| {
            let mut event = purchase(&format!("old-{n}"));
            let at = house.app.now() - hearthway_core::time::Span::days(50 * n);
            event["time"] = json!(at.to_string());
            event
        })
        .collect();
    house.ok("POST", "/v1/events", &house.shop, json!(batch)).await;
    let slot = slot(&house, &house.shop).await;
    assert_eq!((&slot["slot"], &slot["kind"], &slot["t"]), (&json!("air_filter"), &json!("usage"), &Value::Null));
    assert_eq!(slot["forecast"]["purchase_gaps"], 3);
    assert_eq!(slot["forecast"]["cycle_days"].as_f64().map(|days| (30.0..=90.0).contains(&days)), Some(true));
    assert_eq!(self::slot(&house, &house.maker).await, Value::Null, "what a home buys is not its maker's to see");
}

#[tokio::test]
async fn a_region_has_a_prior_of_its_own_and_only_its_homes_begin_with_it() {
    let house = home().await;
    let mut prior = serde_json::to_value(ProductPrior::default()).unwrap();
    house.ok("PUT", "/v1/priors/flt-20x25", &house.shop, prior.clone()).await;
    house.used("d-1", 300.0).await;
    let cycle = |seen: &Value| seen["forecast"]["cycle_days"].as_f64().unwrap();
    let usual = cycle(&slot(&house, &house.shop).await);
    let rate = prior["level"]["rate"].as_f64().unwrap();
    prior["level"]["rate"] = json!(rate * 4.0);
    house.ok("PUT", "/v1/priors/flt-20x25?region=Europe/Madrid", &house.shop, prior.clone()).await;
    let elsewhere = cycle(&slot(&house, &house.shop).await);
    assert!((elsewhere - usual).abs() < 1e-6, "a home in Paris is none of Madrid: {elsewhere}, {usual}");
    house.ok("PUT", "/v1/priors/flt-20x25?region=Europe/Paris", &house.shop, prior.clone()).await;
    let own = cycle(&slot(&house, &house.shop).await);
    assert!(own < usual, "four times the use is a shorter cycle: {own}, {usual}");
    assert_eq!(house.get("/v1/priors/flt-20x25?region=Europe/Paris", &house.shop).await.status, 200);
    assert_eq!(house.get("/v1/priors/flt-20x25?region=Europe/Rome", &house.shop).await.status, 404);
    for path in ["/v1/priors/flt-20x25?region=Paris", "/v1/priors/_any?region=Europe/Paris"] {
        assert_eq!(house.call("PUT", path, &house.shop, prior.clone()).await.status, 422, "{path}");
    }
}

#[tokio::test]
async fn what_a_person_does_on_another_channel_wakes_a_trigger_once_where_its_condition_holds() {
    let house = home().await;
    let trigger = json!({
        "kind": "tip", "on": {"event": "channel", "type": "store.visit", "device": {"kind": "thermostat"}},
        "when": {"all": "event.data.store == \"st-12\""},
        "offer": {"actions": ["decline"], "text": {"fr": {"title": "Merci de votre visite", "body": "A bientot."}}},
    });
    house.ok("PUT", "/v1/triggers/thanks", &house.shop, trigger).await;
    house.ok("POST", "/v1/triggers/thanks/publish", &house.shop, json!({})).await;
    let link = json!({"consents": [{"purpose": "offers.device", "granted": true, "text_id": "t1"}]});
    house.ok("PUT", "/v1/profiles/p1/consents", &house.shop, link).await;
    let visit = |id: &str, store: &str| {
        json!({"specversion": "1.0", "id": id, "source": "/stores", "type": "store.visit",
               "data": {"profile": "p1", "store": store, "minutes": 12}})
    };
    let spoken = async || house.get("/v1/offers", &house.shop).await.json["items"].as_array().unwrap().len();
    let elsewhere = house.ok("POST", "/v1/events", &house.shop, visit("v-1", "st-1")).await;
    assert_eq!((&elsewhere["result"], spoken().await), (&json!("taken"), 0), "another store");
    house.ok("POST", "/v1/events", &house.shop, visit("v-2", "st-12")).await;
    assert_eq!(spoken().await, 1);
    let again = house.ok("POST", "/v1/events", &house.shop, visit("v-2", "st-12")).await;
    assert_eq!((&again["result"], spoken().await), (&json!("repeated"), 1));
    for (data, pointer) in [
        (json!({"profile": "p1", "list": [1]}), "/data/list"),
        (json!({"profile": "p1", "a b": 1}), "/data/a b"),
        (json!({"store": "st-12"}), "/data/profile"),
        (json!([1]), "/data"),
    ] {
        let mut wrong = visit("v-3", "st-12");
        wrong["data"] = data;
        let refused = house.call("POST", "/v1/events", &house.shop, wrong).await;
        assert_eq!((refused.status, refused.json["pointer"].as_str()), (422, Some(pointer)), "{}", refused.text);
    }
}
