//! What people permit: its proofs, its history, and the texts that it was given to.

use hearthway_core::wire::{ConsentUp, ConsentWord, DeviceMessage};
use serde_json::{Value, json};

use super::{House, house, product, trigger};
use hearthway_core::model::Purpose;

async fn selling(house: &House) -> String {
    house.ok("PUT", "/v1/products/flt-20x25", &house.shop, product()).await;
    house.ok("PUT", "/v1/triggers/filter-worn", &house.shop, trigger()).await;
    house.ok("POST", "/v1/triggers/filter-worn/publish", &house.shop, json!({})).await;
    house.link("d-1", "p1").await["household"].as_str().unwrap().to_owned()
}

async fn verdict(house: &House, household: &str) -> String {
    house.used("d-1", 20.0).await;
    house.used("d-1", 612.0).await;
    let told = house.get(&format!("/v1/decisions?household={household}&limit=1"), &house.shop).await;
    let item = &told.json["items"][0];
    format!("{} {}", item["verdict"].as_str().unwrap(), item["first_block"].as_str().unwrap_or("-"))
}

fn word(granted: bool, text: &str) -> Value {
    json!({"consents": [{"purpose": "offers.device", "granted": granted, "text_id": text}]})
}

#[tokio::test]
async fn every_word_has_a_receipt_and_stands_in_the_history() {
    let house = house().await;
    let shop = house.shop.clone();
    selling(&house).await;
    let mut app = word(false, "t1");
    app["source"] = json!("app");
    let set = house.ok("PUT", "/v1/profiles/p1/consents", &shop, app).await;
    assert_eq!((&set["items"][0]["source"], &set["items"][0]["granted"]), (&json!("app"), &json!(false)));
    let receipt = set["items"][0]["receipt"].as_str().unwrap().to_owned();
    assert!(receipt.starts_with("cr_"));
    let on_device = ConsentWord {
        purpose: Purpose::ReplenishDevice,
        granted: true,
        t: None,
        method: Some("button".into()),
        text_id: None,
    };
    house.device_says("d-1", DeviceMessage::Consent(ConsentUp { set: vec![on_device], pause_until: None })).await;

    let history = house.get("/v1/profiles/p1/consents/history", &shop).await.json;
    let told: Vec<(&str, bool, &str)> = history["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| (it["purpose"].as_str().unwrap(), it["granted"].as_bool().unwrap(), it["source"].as_str().unwrap()))
        .collect();
    assert_eq!(
        told,
        [("offers.device", true, "shop"), ("offers.device", false, "app"), ("replenish.device", true, "device")]
    );
    assert_eq!(history["items"][1]["receipt"], json!(receipt), "the receipt is the one that was given back");
    assert_eq!((&history["items"][0]["text_id"], &history["items"][0]["profile"]), (&json!("t1"), &json!("p1")));
    // Page by page it is the same.
    let first = house.get("/v1/profiles/p1/consents/history?limit=2", &shop).await.json;
    let next = first["next"].as_str().unwrap();
    let rest = house.get(&format!("/v1/profiles/p1/consents/history?limit=2&cursor={next}"), &shop).await.json;
    assert_eq!((first["items"].as_array().unwrap().len(), rest["items"].as_array().unwrap().len()), (2, 1));
    assert_eq!(rest["items"][0], history["items"][2]);
    let wrong = house.get("/v1/profiles/p1/consents/history?cursor=x", &shop).await;
    assert_eq!(wrong.status, 422, "{}", wrong.text);
}

#[tokio::test]
async fn a_text_that_comes_to_ask_for_something_else_asks_again() {
    let house = house().await;
    let shop = house.shop.clone();
    let home = selling(&house).await;
    let text = |purposes: Value, again: bool| json!({"id": "t1", "purposes": purposes, "text": {"en": "Offers on this device?"}, "ask_again": again});
    let first = house.call("POST", "/v1/consent-texts", &shop, text(json!(["offers.device"]), false)).await;
    assert_eq!((first.status, &first.json["version"], &first.json["asks_since"]), (201, &json!(1), &json!(null)));
    assert_eq!(verdict(&house, &home).await, "sent -", "what was granted before the texts were here counts");
    let mut better = text(json!(["offers.device"]), false);
    better["text"]["fr"] = json!("Des offres sur cet appareil ?");
    assert_eq!(house.ok("POST", "/v1/consent-texts", &shop, better).await["version"], 2);
    assert_eq!(verdict(&house, &home).await, "sent -", "better words ask for the same");
    let wider = text(json!(["offers.device", "profiling.usage"]), false);
    let wider = house.ok("POST", "/v1/consent-texts", &shop, wider).await;
    assert_eq!(wider["version"], 3);
    assert!(wider["asks_since"].is_string());
    assert_eq!(verdict(&house, &home).await, "held consent", "it asks for more than was granted");
    tokio::time::sleep(std::time::Duration::from_millis(2)).await; // a later word than the one known
    house.ok("PUT", "/v1/profiles/p1/consents", &shop, word(true, "t1")).await;
    assert_eq!(verdict(&house, &home).await, "sent -", "asked again, and granted");
    let versions = house.get("/v1/consent-texts/t1/versions", &shop).await.json;
    let numbers: Vec<u64> =
        versions["items"].as_array().unwrap().iter().map(|it| it["version"].as_u64().unwrap()).collect();
    assert_eq!(numbers, [3, 2, 1]);

    // A word to a text that nobody has seen, or to something that it does not ask for, is none.
    for (body, pointer) in [
        (word(true, "t9"), "/consents/0/text_id"),
        (json!({"consents": [{"purpose": "share.seller", "granted": true, "text_id": "t1"}]}), "/consents/0/text_id"),
        (
            json!({"consents": [{"purpose": "share.seller", "granted": true, "expires_at": "2020-01-01T00:00:00Z"}]}),
            "/consents/0/expires_at",
        ),
    ] {
        let wrong = house.call("PUT", "/v1/profiles/p1/consents", &shop, body).await;
        assert_eq!((wrong.status, &wrong.json["pointer"]), (422, &json!(pointer)), "{}", wrong.text);
    }
    // A withdrawal needs no text.
    house.ok("PUT", "/v1/profiles/p1/consents", &shop, word(false, "t9")).await;
    for (body, pointer) in [
        (json!({"id": "t 2", "purposes": ["offers.device"], "text": {"en": "?"}}), "/id"),
        (json!({"id": "t2", "purposes": [], "text": {"en": "?"}}), "/purposes"),
        (json!({"id": "t2", "purposes": ["offers.device"], "text": {}}), "/text"),
        (json!({"id": "t2", "purposes": ["offers.device"], "text": {"en": " "}}), "/text/en"),
        (json!({"id": "t2", "purposes": ["everything"], "text": {"en": "?"}}), "/purposes/0"),
    ] {
        let wrong = house.call("POST", "/v1/consent-texts", &shop, body).await;
        assert_eq!((wrong.status, &wrong.json["pointer"]), (422, &json!(pointer)), "{}", wrong.text);
    }
    assert_eq!(house.get("/v1/consent-texts", &shop).await.json["items"].as_array().unwrap().len(), 1);
    assert_eq!(house.get("/v1/consent-texts", &house.other_shop).await.json["items"], json!([]));
}

#[tokio::test]
async fn an_offer_does_not_outlive_the_consent_that_permits_it() {
    let house = house().await;
    let shop = house.shop.clone();
    let home = selling(&house).await;
    let soon = house.app.now() + hearthway_core::time::Span::minutes(10);
    let body = json!({"consents": [{"purpose": "offers.device", "granted": true, "expires_at": soon.to_string()}]});
    tokio::time::sleep(std::time::Duration::from_millis(2)).await; // a later word than that of the claim
    house.ok("PUT", "/v1/profiles/p1/consents", &shop, body).await;
    assert_eq!(verdict(&house, &home).await, "sent -");
    let offer = house.get("/v1/offers?state=sent", &shop).await.json["items"][0].clone();
    assert_eq!(offer["expires_at"], json!(soon.to_string()), "{offer}");
}
