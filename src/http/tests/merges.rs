//! Two profiles that are one person, and two again.

use serde_json::{Value, json};

use super::{House, house, product, trigger};

/// Two homes of two names, each with an offer, an order and consents of their own.
async fn two_names(house: &House) {
    let shop = &house.shop;
    house.ok("PUT", "/v1/products/flt-20x25", shop, product()).await;
    house.ok("PUT", "/v1/triggers/filter-worn", shop, trigger()).await;
    house.ok("POST", "/v1/triggers/filter-worn/publish", shop, json!({})).await;
    for (device, profile, card) in [("d-1", "p1", "1"), ("d-2", "p2", "2")] {
        house.link(device, profile).await;
        let more = json!({
            "segments": [format!("of-{profile}")], "loyalty": {"points": 100},
            "identities": [{"type": "loyalty", "value": card}],
        });
        house.ok("PATCH", &format!("/v1/profiles/{profile}"), shop, more).await;
        house.used(device, 20.0).await;
        house.used(device, 612.0).await;
        let offer =
            house.get("/v1/offers?state=sent", shop).await.json["items"][0]["offer"].as_str().unwrap().to_owned();
        let accept = json!({"rev": 1, "answer": "accept", "channel": "app", "profile": profile});
        let order = house.ok("POST", &format!("/v1/offers/{offer}/answer"), shop, accept).await["order"].clone();
        // An open order would silence the trigger by itself.
        let path = format!("/v1/orders/{}/status", order.as_str().unwrap());
        house.ok("POST", &path, shop, json!({"rev": 2, "state": "delivered"})).await;
    }
    tokio::time::sleep(std::time::Duration::from_millis(2)).await; // a later word than that of the claim
    let no = json!({"consents": [{"purpose": "offers.device", "granted": false}, {"purpose": "auto_order", "granted": true}]});
    house.ok("PUT", "/v1/profiles/p2/consents", shop, no).await;
    let mandate = json!({
        "profile": "p2", "device": "d-2", "products": ["flt-20x25"], "max_price": {"minor": 5000, "currency": "EUR"},
        "max_per_30d": 1, "expires_at": (house.app.now() + hearthway_core::time::Span::hours(24)).to_string(),
    });
    house.ok("PUT", "/v1/mandates/m-2", shop, mandate).await;
    house.ok("PUT", "/v1/profiles/p2/preferences", shop, json!({"frequency": {"per_week": 2}})).await;
}

/// All that a merge must give back: both persons whole, their homes as the engine has them, and who finds whom.
async fn everything(house: &House) -> Vec<Value> {
    let mut all = Vec::new();
    for path in ["/v1/profiles/p1", "/v1/profiles/p2", "/v1/mandates/m-2", "/v1/orders"] {
        all.push(house.get(path, &house.shop).await.json);
    }
    for device in ["d-1", "d-2"] {
        let key = format!("acme/{device}").parse().unwrap();
        let route = house.app.engine.route(&key).unwrap();
        let home = house.app.engine.facts(route.household).await.unwrap().unwrap();
        all.push(json!({
            "contacts": home.contacts, "links": format!("{:?}", home.links), "members": format!("{:?}", home.members),
            "orders": format!("{:?}", home.orders), "standings": format!("{:?}", home.standings),
            "mandates": format!("{:?}", home.supply.mandates),
        }));
    }
    for card in ["1", "2"] {
        let found =
            house.call("POST", "/v1/profiles/lookup", &house.shop, json!({"type": "loyalty", "value": card})).await;
        all.push(found.json["profile"].clone());
    }
    all
}

#[tokio::test]
async fn a_merge_is_one_person_and_its_undoing_is_exactly_two_again() {
    let house = house().await;
    let shop = house.shop.clone();
    two_names(&house).await;
    let before = everything(&house).await;
    let told = house.call("POST", "/v1/profiles/merge", &shop, json!({"from": "p2", "into": "p1"})).await;
    assert_eq!((told.status, &told.json["state"]), (200, &json!("merged")), "{}", told.text);
    let merge = told.json["merge"].as_str().unwrap().to_owned();

    let one = house.get("/v1/profiles/p1", &shop).await.json;
    assert_eq!((one["links"].as_array().unwrap().len(), one["orders"].as_array().unwrap().len()), (2, 2), "{one}");
    assert_eq!((&one["loyalty"]["points"], &one["segments"]), (&json!(200), &json!(["of-p1", "of-p2"])));
    assert_eq!(one["preferences"]["frequency"]["per_week"], 2, "the stricter wish");
    let word = |purpose: &str| one["consents"].as_array().unwrap().iter().find(|it| it["purpose"] == purpose).cloned();
    assert_eq!(word("offers.device").unwrap()["granted"], json!(false), "withdrawn by one is withdrawn");
    assert_eq!(word("auto_order").unwrap()["granted"], json!(true), "what only one spoke of stays");
    assert_eq!(house.get("/v1/profiles/p2", &shop).await.json["profile"], "p1", "the old name finds the person");
    assert_eq!(house.get("/v1/mandates/m-2", &shop).await.json["profile"], "p1");
    for card in ["1", "2"] {
        let found = house.ok("POST", "/v1/profiles/lookup", &shop, json!({"type": "loyalty", "value": card})).await;
        assert_eq!(found["profile"], "p1");
    }
    // What is done in the old name is refused with the way out.
    let late = house.call("PUT", "/v1/profiles/p2", &shop, json!({})).await;
    assert!(late.status == 409 && late.text.contains("merged into `p1`"), "{}", late.text);
    // History tells in whose name each word was said.
    let history = house.get("/v1/profiles/p1/consents/history", &shop).await.text;
    assert!(history.contains("\"profile\":\"p2\"") && history.contains("\"source\":\"merge\""), "{history}");

    let undone = house.ok("POST", &format!("/v1/profiles/merges/{merge}/undo"), &shop, json!({})).await;
    assert_eq!(undone["state"], "undone");
    let after = everything(&house).await;
    for (before, after) in before.iter().zip(&after) {
        assert_eq!(before, after);
    }
    let again = house.call("POST", &format!("/v1/profiles/merges/{merge}/undo"), &shop, json!({})).await;
    assert!(again.status == 409 && again.text.contains("taken back before"), "{}", again.text);
}

#[tokio::test]
async fn what_one_of_two_withdrew_reaches_the_homes_of_both() {
    let house = house().await;
    let shop = house.shop.clone();
    two_names(&house).await;
    house.used("d-1", 20.0).await;
    house.used("d-1", 612.0).await;
    let live = |state: &'static str| house.get(state, &shop);
    assert_eq!(live("/v1/offers?state=sent").await.json["items"].as_array().unwrap().len(), 1, "p1 permits it");
    house.ok("POST", "/v1/profiles/merge", &shop, json!({"from": "p2", "into": "p1"})).await;
    assert_eq!(live("/v1/offers?state=sent").await.json["items"], json!([]), "and p2, who is p1, does not");
    assert_eq!(live("/v1/offers?state=withdrawn").await.json["items"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn what_is_said_while_two_are_one_is_marked_and_a_withdrawal_then_holds_for_both() {
    let house = house().await;
    let shop = house.shop.clone();
    two_names(&house).await;
    let yes = json!({"consents": [{"purpose": "offers.device", "granted": true}]});
    tokio::time::sleep(std::time::Duration::from_millis(2)).await;
    house.ok("PUT", "/v1/profiles/p2/consents", &shop, yes).await;
    let told = house.ok("POST", "/v1/profiles/merge", &shop, json!({"from": "p2", "into": "p1"})).await;
    let merge = told["merge"].as_str().unwrap().to_owned();
    house.used("d-2", 20.0).await;
    house.used("d-2", 612.0).await;
    let home =
        house.get("/v1/offers?state=sent", &shop).await.json["items"][0]["household"].as_str().unwrap().to_owned();
    let why = house.get(&format!("/v1/explain?household={home}&trigger=filter-worn"), &shop).await.json;
    let link = why["steps"].as_array().unwrap().iter().find(|step| step["step"] == "link").unwrap().clone();
    assert_eq!(link["numbers"]["merged_context"], json!(merge), "{why}");
    let live = house.get("/v1/offers?state=sent", &shop).await.json["items"][0].clone();

    tokio::time::sleep(std::time::Duration::from_millis(2)).await;
    let no = json!({"consents": [{"purpose": "share.seller", "granted": false}, {"purpose": "profiling.usage", "granted": true}]});
    house.ok("PUT", "/v1/profiles/p1/consents", &shop, no).await;
    house.ok("POST", &format!("/v1/profiles/merges/{merge}/undo"), &shop, json!({})).await;
    let still = house.get("/v1/offers?state=sent", &shop).await.json["items"][0].clone();
    assert_eq!(live["offer"], still["offer"], "a live offer keeps its id");
    for (profile, seller, usage) in [("p1", Some(false), Some(true)), ("p2", Some(false), None)] {
        let told = house.get(&format!("/v1/profiles/{profile}/consents"), &shop).await.json;
        let said = |purpose: &str| {
            let word = told["items"].as_array().unwrap().iter().find(|it| it["purpose"] == purpose);
            word.map(|word| word["granted"].as_bool().unwrap())
        };
        assert_eq!((said("share.seller"), said("profiling.usage")), (seller, usage), "{profile}: {told}");
    }
}

#[tokio::test]
async fn a_merge_that_makes_no_sense_is_refused_and_changes_nothing() {
    let house = house().await;
    let shop = house.shop.clone();
    two_names(&house).await;
    house.link("d-3", "p3").await;
    let before = everything(&house).await;
    for (from, into, token, status) in [
        ("p1", "p1", &shop, 422),
        ("p1", "p9", &shop, 404),
        ("p9", "p1", &shop, 404),
        ("p2", "p1", &house.other_shop, 404),
        ("p2", "p1", &house.maker, 403),
    ] {
        let told = house.call("POST", "/v1/profiles/merge", token, json!({"from": from, "into": into})).await;
        assert_eq!(told.status, status, "{from} into {into}: {}", told.text);
    }
    assert_eq!(everything(&house).await, before);
    let first = house.ok("POST", "/v1/profiles/merge", &shop, json!({"from": "p2", "into": "p1"})).await;
    let twice = house.call("POST", "/v1/profiles/merge", &shop, json!({"from": "p2", "into": "p3"})).await;
    assert!(twice.status == 409 && twice.text.contains("merged into `p1`"), "{}", twice.text);
    let second = house.ok("POST", "/v1/profiles/merge", &shop, json!({"from": "p1", "into": "p3"})).await;
    assert_eq!(house.get("/v1/profiles/p2", &shop).await.json["profile"], "p3", "through both merges");
    let undo = |merge: &Value| format!("/v1/profiles/merges/{}/undo", merge["merge"].as_str().unwrap());
    let early = house.call("POST", &undo(&first), &shop, json!({})).await;
    assert!(early.status == 409 && early.text.contains(second["merge"].as_str().unwrap()), "{}", early.text);
    assert_eq!(house.call("POST", &undo(&second), &house.other_shop, json!({})).await.status, 404);
    house.ok("POST", &undo(&second), &shop, json!({})).await;
    house.ok("POST", &undo(&first), &shop, json!({})).await;
    assert_eq!(everything(&house).await, before);
    let unknown = house.call("POST", "/v1/profiles/merges/mg_aaaaaaaaaaaaaaaaaaaaaaaa/undo", &shop, json!({})).await;
    assert_eq!(unknown.status, 404);
}

#[tokio::test]
async fn a_merge_that_was_cut_short_is_finished() {
    let house = house().await;
    let shop = house.shop.clone();
    two_names(&house).await;
    house.ok("POST", "/v1/profiles/merge", &shop, json!({"from": "p2", "into": "p1"})).await;
    let whole = everything(&house).await;
    // The same document, as a kill between its homes leaves it: what is told again changes nothing.
    let retailer = hearthway_core::id::RetailerId::new("shop-a").unwrap();
    crate::app::merges::tests_only::cut_short(&house.app, &retailer).await;
    crate::app::merges::resume(&house.app).unwrap();
    for _ in 0..500 {
        if crate::app::merges::tests_only::states(&house.app) == ["merged"] {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(2)).await;
    }
    assert_eq!(crate::app::merges::tests_only::states(&house.app), ["merged"]);
    assert_eq!(everything(&house).await, whole);
}
