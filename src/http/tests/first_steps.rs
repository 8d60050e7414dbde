//! What trips somebody up who follows the guides for the first time: slips are told where they are made, and nothing
//! looks done that is not.

use hearthway_core::id::{DeviceKey, SlotId};
use hearthway_core::input::{Command, Input, What};
use hearthway_core::model::{Evidence, Purpose, Unit};
use hearthway_core::time::Span;
use hearthway_core::wire::{ConsentUp, ConsentWord, DeviceMessage, SlotUp};
use serde_json::{Value, json};

use super::{House, OPERATOR, house, product};
use crate::engine::{Outcome, Target};

/// What a device is answered: none where it was taken, else the code and the place.
async fn refused(house: &House, device: &str, message: DeviceMessage) -> Option<(String, String)> {
    let key: DeviceKey = format!("acme/{device}").parse().unwrap();
    let input = Input { what: What::Device(message), ..house.app.command(Some(&key), "test", b"", Command::Resume) };
    match house.app.engine.call(Target::Device(key), input).await {
        Outcome::Committed(Ok(_)) => None,
        Outcome::Committed(Err(refusal)) => Some((refusal.code.to_string(), refusal.pointer.unwrap_or_default())),
        other => panic!("{other:?}"),
    }
}

fn granted(text: Option<&str>) -> Value {
    json!({"consents": [{"purpose": "offers.device", "granted": true, "text_id": text}]})
}

fn on_device(granted: bool, text: Option<&str>) -> DeviceMessage {
    let word = ConsentWord {
        purpose: Purpose::OffersDevice,
        granted,
        t: None,
        method: Some("button".into()),
        text_id: text.map(str::to_owned),
    };
    DeviceMessage::Consent(ConsentUp { set: vec![word], pause_until: None })
}

async fn a_moment() {
    // A later word than the one known.
    tokio::time::sleep(std::time::Duration::from_millis(2)).await;
}

#[tokio::test]
async fn where_a_shop_has_a_text_for_a_purpose_a_grant_names_it() {
    let house = house().await;
    let shop = house.shop.clone();
    house.link("d-1", "p1").await;
    // A text for something else asks nothing of this purpose.
    let other = json!({"id": "t9", "purposes": ["share.seller"], "text": {"en": "Sellers?"}});
    house.ok("POST", "/v1/consent-texts", &shop, other).await;
    a_moment().await;
    house.ok("PUT", "/v1/profiles/p1/consents", &shop, granted(None)).await;
    let text =
        |again: bool| json!({"id": "t1", "purposes": ["offers.device"], "text": {"en": "Offers?"}, "ask_again": again});
    house.ok("POST", "/v1/consent-texts", &shop, text(false)).await;

    let wrong = house.call("PUT", "/v1/profiles/p1/consents", &shop, granted(None)).await;
    assert_eq!((wrong.status, &wrong.json["pointer"]), (422, &json!("/consents/0/text_id")), "{}", wrong.text);
    assert!(wrong.text.contains("`t1`"), "{}", wrong.text);
    house.register("d-2").await;
    let code = house.claim_code("d-2").await;
    let mut claim = granted(None);
    claim["code"] = json!(code);
    claim["profile"] = json!("p1");
    let wrong = house.call("POST", "/v1/claims/confirm", &shop, claim).await;
    assert_eq!((wrong.status, &wrong.json["pointer"]), (422, &json!("/consents/0/text_id")), "{}", wrong.text);
    let at = |pointer: &str| Some(("payload.invalid".to_owned(), pointer.to_owned()));
    assert_eq!(refused(&house, "d-1", on_device(true, None)).await, at("/body/set/0/text_id"));
    assert_eq!(refused(&house, "d-1", on_device(true, Some("t9"))).await, at("/body/set/0/text_id"));
    assert_eq!(refused(&house, "d-1", on_device(true, Some("t1"))).await, None);
    assert_eq!(refused(&house, "d-1", on_device(false, None)).await, None, "a withdrawal never needs a text");
}

#[tokio::test]
async fn a_grant_without_a_text_does_not_outlive_a_text_that_asks_again() {
    let house = house().await;
    let shop = house.shop.clone();
    house.ok("PUT", "/v1/products/flt-20x25", &shop, product()).await;
    house.ok("PUT", "/v1/triggers/filter-worn", &shop, super::trigger()).await;
    house.ok("POST", "/v1/triggers/filter-worn/publish", &shop, json!({})).await;
    let home = house.link("d-1", "p1").await["household"].as_str().unwrap().to_owned();
    a_moment().await;
    house.ok("PUT", "/v1/profiles/p1/consents", &shop, granted(None)).await;
    let text =
        |again: bool| json!({"id": "t1", "purposes": ["offers.device"], "text": {"en": "Offers?"}, "ask_again": again});
    house.ok("POST", "/v1/consent-texts", &shop, text(false)).await;
    let word = || async { house.get("/v1/profiles/p1/consents", &shop).await.json["items"][0].clone() };
    assert_eq!((&word().await["granted"], &word().await["counts"]), (&json!(true), &json!(true)));
    a_moment().await;
    house.ok("POST", "/v1/consent-texts", &shop, text(true)).await;
    assert_eq!((&word().await["granted"], &word().await["counts"]), (&json!(true), &json!(false)));
    house.used("d-1", 20.0).await;
    house.used("d-1", 612.0).await;
    let told = house.get(&format!("/v1/explain?household={home}&trigger=filter-worn"), &shop).await.json;
    let step = told["steps"].as_array().unwrap().iter().find(|step| step["step"] == "consent").unwrap();
    assert_eq!((&step["verdict"], &step["code"]), (&json!("block"), &json!("text_asks_again")), "{step}");
    assert!(step["reason"].as_str().unwrap().contains("ask again"), "{step}");
    a_moment().await;
    house.ok("PUT", "/v1/profiles/p1/consents", &shop, granted(Some("t1"))).await;
    assert_eq!(word().await["counts"], json!(true));
}

fn slot(evidence: Evidence, unit: Option<Unit>, on_hand: Option<u32>) -> DeviceMessage {
    let slot = SlotId::new("air_filter").unwrap();
    DeviceMessage::Slot(SlotUp { slot, evidence, capacity: None, unit, changed_at: None, on_hand, t: None })
}

#[tokio::test]
async fn a_report_that_was_refused_is_no_part_of_its_slots_history() {
    let house = house().await;
    house.link("d-1", "p1").await;
    house.used("d-1", 600.0).await;
    let wrong = slot(Evidence::Usage { used: 1.0 }, Unit::parse("count"), None);
    assert_eq!(refused(&house, "d-1", wrong).await.unwrap().0, "unit.mismatch");
    house.used("d-1", 601.0).await;
    let told = house.get("/v1/devices/d-1/slots/air_filter/history", &house.shop).await.json;
    let points = told["points"].as_array().unwrap();
    assert!(points.len() == 2 && points.iter().all(|point| point["refilled"] == false), "{told}");
}

#[tokio::test]
async fn wrong_codes_of_one_customer_lock_nobody_else_of_the_shop() {
    let house = house().await;
    let shop = house.shop.clone();
    house.register("d-1").await;
    let code = house.claim_code("d-1").await;
    let claim = |code: &str, profile: &str| json!({"code": code, "profile": profile, "tz": "Europe/Paris"});
    for _ in 0..9 {
        let empty = house.call("POST", "/v1/claims/confirm", &shop, claim(" - ", "p1")).await;
        assert_eq!((empty.status, &empty.json["pointer"]), (422, &json!("/code")), "{}", empty.text);
    }
    for _ in 0..5 {
        house.call("POST", "/v1/claims/confirm", &shop, claim("AAAA-AAAA", "p1")).await;
    }
    let locked = house.call("POST", "/v1/claims/confirm", &shop, claim(&code, "p1")).await;
    assert_eq!((locked.status, locked.code()), (429, "claim.locked"), "{}", locked.text);
    let preview = |profile: Value| json!({"code": code, "profile": profile});
    let locked = house.call("POST", "/v1/claims/preview", &shop, preview(json!("p1"))).await;
    assert_eq!(locked.status, 429, "{}", locked.text);
    house.ok("POST", "/v1/claims/preview", &shop, preview(Value::Null)).await;
    house.ok("POST", "/v1/claims/confirm", &shop, claim(&code, "p2")).await;
    // Pressed again and again: it served, so it is no guess.
    for _ in 0..9 {
        let again = house.call("POST", "/v1/claims/confirm", &shop, claim(&code, "p2")).await;
        assert_eq!(again.code(), "claim.expired", "{}", again.text);
    }
}

#[tokio::test]
async fn spares_that_were_counted_before_the_product_came_stand_on_its_shelf() {
    let house = house().await;
    let shop = house.shop.clone();
    house.link("d-1", "p1").await;
    assert_eq!(refused(&house, "d-1", slot(Evidence::Usage { used: 10.0 }, None, Some(2))).await, None);
    let mut nothing = product();
    nothing["fits"] = json!([]);
    house.ok("PUT", "/v1/products/flt-20x25", &shop, nothing).await;
    let purchase = json!({"specversion": "1.0", "id": "e-1", "source": "/till", "type": "purchase", "time": null,
        "data": {"profile": "p1", "product": "flt-20x25", "qty": 3}});
    let told = house.ok("POST", "/v1/events", &shop, purchase.clone()).await;
    assert!(told["warning"].as_str().unwrap().contains("no device of this home takes"), "{told}");
    house.ok("PUT", "/v1/products/flt-20x25", &shop, product()).await;
    house.used("d-1", 11.0).await;
    let spares = || async { house.get("/v1/devices/d-1/slots", &shop).await.json["items"][0].clone() };
    let seen = spares().await;
    assert_eq!((&seen["on_hand"], &seen["learned"]["product"]), (&json!(2), &json!("flt-20x25")), "{seen}");
    let told = house.ok("POST", "/v1/events", &shop, purchase.clone()).await;
    assert_eq!((&told["result"], &told["warning"]), (&json!("taken"), &Value::Null), "told again, it counts");
    assert_eq!(spares().await["on_hand"], 5);
    assert_eq!(house.ok("POST", "/v1/events", &shop, purchase).await["result"], "repeated");
}

#[tokio::test]
async fn a_mandate_that_could_never_order_is_refused() {
    let house = house().await;
    let shop = house.shop.clone();
    house.ok("PUT", "/v1/products/flt-20x25", &shop, product()).await;
    let mut elsewhere = product();
    elsewhere["fits"] = json!([{"model": "th-900", "slot": "air_filter"}]);
    house.ok("PUT", "/v1/products/flt-other", &shop, elsewhere).await;
    house.link("d-1", "p1").await;
    let until = (house.app.now() + Span::hours(24)).to_string();
    let mandate = json!({
        "profile": "p1", "device": "d-1", "slot": "air_filter", "products": ["flt-20x25"],
        "max_price": {"minor": 2500, "currency": "EUR"}, "max_per_30d": 1, "expires_at": until,
    });
    let with = |pointer: &str, value: Value| {
        let mut body = mandate.clone();
        *body.pointer_mut(pointer).unwrap() = value;
        body
    };
    for (body, pointer, words) in [
        (with("/slot", json!("air_filtre")), "/slot", "did you mean `air_filter`"),
        (with("/max_price/currency", json!("USD")), "/max_price/currency", "the limit is in USD"),
        (with("/products", json!(["flt-20x25", "flt-other"])), "/products", "does not fit `th-200:air_filter`"),
    ] {
        let wrong = house.call("PUT", "/v1/mandates/m-1", &shop, body).await;
        assert_eq!((wrong.status, &wrong.json["pointer"]), (422, &json!(pointer)), "{}", wrong.text);
        assert!(wrong.text.contains(words), "{}", wrong.text);
    }
    house.ok("PUT", "/v1/mandates/m-1", &shop, mandate.clone()).await;
    house.ok("PUT", "/v1/mandates/m-1", &shop, with("/slot", Value::Null)).await;
}

#[tokio::test]
async fn slips_in_names_are_told_with_the_nearest_one() {
    let house = house().await;
    let shop = house.shop.clone();
    let household = house.link("d-1", "p1").await["household"].clone();
    let mut slipped = product();
    slipped["fits"] = json!([{"model": "th-20", "slot": "air_filter"}, {"model": "th-200", "slot": "air_filtre"}]);
    let told = house.ok("PUT", "/v1/products/flt-20x25", &shop, slipped).await;
    let warnings: Vec<&str> = told["warnings"].as_array().unwrap().iter().map(|it| it.as_str().unwrap()).collect();
    assert_eq!(warnings.len(), 2, "{told}");
    assert!(warnings[0].starts_with("/fits/0/model") && warnings[0].contains("`th-200`"), "{told}");
    assert!(warnings[1].starts_with("/fits/1/slot") && warnings[1].contains("`air_filter`"), "{told}");
    assert!(house.ok("PUT", "/v1/products/flt-20x25", &shop, product()).await["warnings"].is_null());

    let wrong = house.call("PUT", "/v1/profiles/p1/preferences", &shop, json!({"channels": ["devise"]})).await;
    assert_eq!((wrong.status, &wrong.json["pointer"]), (422, &json!("/channels")), "{}", wrong.text);
    assert!(wrong.text.contains("did you mean `device`"), "{}", wrong.text);
    house.ok("PUT", "/v1/profiles/p1/preferences", &shop, json!({"channels": ["device", "sms"]})).await;

    let hook = |subject: &Value| json!({"url": "https://hooks.shop.example/", "subject": subject});
    for (token, subject) in [
        (&shop, json!("hh_nothing")),
        (&shop, json!("acme/d-9")),
        (&shop, json!("d-1")),
        (&house.other_shop, household.clone()),
        (&house.other_shop, json!("acme/d-1")),
        (&house.maker, household.clone()),
    ] {
        let wrong = house.call("PUT", "/v1/webhooks/w", token, hook(&subject)).await;
        assert_eq!((wrong.status, &wrong.json["pointer"]), (422, &json!("/subject")), "{subject}: {}", wrong.text);
    }
    for (token, subject) in [(&shop, household), (&shop, json!("acme/d-1")), (&house.maker, json!("acme/d-1"))] {
        house.ok("PUT", "/v1/webhooks/w", token, hook(&subject)).await;
    }
}

#[tokio::test]
async fn lines_that_were_wrong_are_told_again_when_the_import_goes_on() {
    let house = house().await;
    let path = "/v1/products:import?import=night-7";
    let good = |id: &str| {
        let mut line = product();
        line["id"] = json!(id);
        line.to_string()
    };
    let lines = [good("f-1"), r#"{"id":"f-2"}"#.to_owned(), good("f-3")];
    let first = house.bulk(path, &house.shop, &lines).await;
    let summary = &first.last().unwrap()["summary"];
    assert_eq!((&summary["faults"], &summary["faults_before"]), (&json!(1), &Value::Null), "{summary}");
    let again = house.bulk(path, &house.shop, &lines).await;
    let summary = &again.last().unwrap()["summary"];
    assert_eq!((&summary["faults"], &summary["skipped"], &summary["faults_before"]), (&json!(0), &json!(3), &json!(1)));
    let told = house.get("/v1/products:import/night-7", &house.shop).await.json;
    assert_eq!(
        (&told["lines"], &told["faults"], &told["wrong"][0]["line"]),
        (&json!(3), &json!(1), &json!(2)),
        "{told}"
    );
    assert!(told["wrong"][0]["error"]["message"].as_str().unwrap().contains("name"), "{told}");
    assert_eq!(house.get("/v1/products:import/night-7", &house.other_shop).await.json["faults"], Value::Null);
}

#[tokio::test]
async fn who_runs_a_shop_reads_and_changes_it_and_nobody_elses() {
    let house = house().await;
    let path = "/v1/retailers/shop-a";
    let seen = house.get(path, &house.shop).await;
    assert_eq!(
        (seen.status, &seen.json["name"], &seen.json["retailer"]),
        (200, &json!("Enseigne X"), &json!("shop-a"))
    );
    let ranking = json!({"ranking": {"policy": ["total_price", "delay"], "sellers": ["s-1"]}});
    let changed = house.ok("PATCH", path, &house.shop, ranking).await;
    assert_eq!((&changed["ranking"]["sellers"], &changed["zone"]), (&json!(["s-1"]), &json!("Europe/Paris")));
    let wrong = house.call("PATCH", path, &house.shop, json!({"default_locale": "french!"})).await;
    assert_eq!((wrong.status, &wrong.json["pointer"]), (422, &json!("/default_locale")), "{}", wrong.text);
    let tag = seen.header("etag").to_owned();
    let stale = house.send("PATCH", path, &house.shop, &[("if-match", &tag)], Some(r#"{"name":"Y"}"#.into())).await;
    assert_eq!(stale.status, 412, "{}", stale.text);
    for path in ["/v1/retailers/shop-a", "/v1/retailers/shop-z"] {
        assert_eq!(house.get(path, &house.other_shop).await.status, 404);
        assert_eq!(house.call("PATCH", path, &house.other_shop, json!("nonsense")).await.status, 404);
    }
    let marketer = house.token("shop-a", "marketer").await;
    assert_eq!(house.get(path, &marketer).await.status, 403);
    // Who may not is told so, whatever they sent.
    for path in [path, "/v1/makers/acme"] {
        assert_eq!(house.call("PUT", path, &house.shop, json!({"nonsense": 1})).await.status, 403);
    }
    assert_eq!(house.call("POST", "/v1/tokens", &marketer, json!([])).await.status, 403);
    assert_eq!(house.get(path, OPERATOR).await.status, 200);
}

#[tokio::test]
async fn an_error_is_told_in_the_words_of_http_and_json() {
    let house = house().await;
    let shop = house.shop.clone();
    for (path, name) in
        [("/v1/orders?limit=many", "limit"), ("/v1/orders?limt=3", "limt"), ("/v1/explain", "household")]
    {
        let wrong = house.get(path, &shop).await;
        assert!(
            wrong.status == 422 && wrong.text.contains(&format!("the parameter `{name}`")),
            "{path}: {}",
            wrong.text
        );
    }
    let cursor = house.get("/v1/products?cursor=%20", &shop).await;
    assert!(cursor.text.contains("the parameter `cursor`"), "{}", cursor.text);
    for body in
        [json!([]), json!({"name": 3}), json!({"name": {"en": "x"}, "price": {"minor": "x", "currency": "EUR"}})]
    {
        let wrong = house.call("PUT", "/v1/products/f-1", &shop, body).await;
        assert_eq!(wrong.status, 422, "{}", wrong.text);
        for foreign in ["struct", "variant", "i64", "u32", "EOF", "elements"] {
            assert!(!wrong.text.contains(foreign), "{}", wrong.text);
        }
    }
    let chances = house.get("/v1/chances", &shop).await;
    assert!(chances.status == 404 && chances.text.contains("POST /v1/chances:learn"), "{}", chances.text);
    house.ok("PUT", "/v1/products/flt-20x25", &shop, product()).await;
    let stock = house.call("PUT", "/v1/stock/st-99/flt-20x25", &shop, json!({"on_hand": 1})).await;
    assert!(stock.status == 404 && stock.text.contains("`st-99`"), "{}", stock.text);
}

#[tokio::test]
async fn an_export_has_messages_as_they_stood_on_the_wire() {
    let house = house().await;
    house.link("d-1", "p1").await;
    assert_eq!(refused(&house, "d-1", on_device(false, None)).await, None);
    house.used("d-1", 12.0).await;
    let text = house.get("/v1/profiles/p1/export", &house.shop).await.text;
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let said = |topic: &str| lines.iter().find(|line| line["topic"] == topic).unwrap()["body"].clone();
    let word = json!({"purpose": "offers.device", "granted": false, "method": "button"});
    assert_eq!(said("up/consent"), json!({"set": [word]}));
    assert_eq!(said("up/slot"), json!({"slot": "air_filter", "kind": "usage", "used": 12.0}));
}
