//! One customer repository: who a person is, what they wish, and what is done with that.

use serde_json::{Value, json};

use super::{House, house, product, trigger};
use crate::store::SCAN_ROWS_MAX;

/// A home with a device, a product and a live trigger that offers it.
async fn home_with_offers(house: &House) -> String {
    house.ok("PUT", "/v1/products/flt-20x25", &house.shop, product()).await;
    house.ok("PUT", "/v1/triggers/filter-worn", &house.shop, trigger()).await;
    house.ok("POST", "/v1/triggers/filter-worn/publish", &house.shop, json!({})).await;
    house.link("d-1", "p1").await["household"].as_str().unwrap().to_owned()
}

async fn first_block(house: &House, household: &str) -> Value {
    let path = format!("/v1/explain?household={household}&trigger=filter-worn");
    let told = house.get(&path, &house.shop).await;
    assert_eq!(told.status, 200, "{}", told.text);
    let step = told.json["steps"].as_array().unwrap().iter();
    let step = step.clone().find(|step| step["verdict"] == "block" || step["verdict"] == "hold");
    step.cloned().unwrap_or(Value::Null)
}

/// Crosses the edge once more.
async fn worn(house: &House, device: &str) {
    house.used(device, 20.0).await;
    house.used(device, 612.0).await;
}

async fn offers(house: &House, state: &str) -> usize {
    let found = house.get(&format!("/v1/offers?state={state}"), &house.shop).await;
    found.json["items"].as_array().unwrap().len()
}

/// Every value of the store, as one long text of bytes.
fn all_bytes(house: &House) -> Vec<u8> {
    let store = house.app.engine.store();
    let mut all = Vec::new();
    for table in 1..=u8::MAX {
        let mut after = None;
        loop {
            let rows = store.scan(&[table], after.as_ref(), SCAN_ROWS_MAX).unwrap();
            for (key, value) in &rows {
                all.extend_from_slice(&key.0);
                all.extend_from_slice(value);
            }
            match rows.into_iter().last() {
                Some((key, _)) => after = Some(key),
                None => break,
            }
        }
    }
    all
}

#[tokio::test]
async fn a_person_is_found_by_each_identity_and_none_of_them_is_kept() {
    let house = house().await;
    let shop = house.shop.clone();
    house.link("d-1", "p1").await;
    let person = json!({
        "display_name": "Maison", "tz": "Europe/Paris",
        "identities": [
            {"type": "email", "value": " Anna.Weber@Example.org "}, {"type": "phone", "value": "+33 6 12 34 56 78"},
            {"type": "loyalty", "value": "4711"}, {"type": "app", "value": "anna-w"},
        ],
    });
    let told = house.ok("PUT", "/v1/profiles/p1", &shop, person).await;
    let kinds: Vec<&str> =
        told["identities"].as_array().unwrap().iter().map(|it| it["type"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["app", "loyalty", "email", "phone"]);
    for (kind, value) in [
        ("email", "anna.weber@example.ORG"),
        ("phone", "0033612345678"),
        ("loyalty", "4711"),
        ("app", "anna-w"),
        ("device", "d-1"),
        ("device", "acme/d-1"),
    ] {
        let found = house.call("POST", "/v1/profiles/lookup", &shop, json!({"type": kind, "value": value})).await;
        assert_eq!((found.status, &found.json["profile"]), (200, &json!("p1")), "{kind}: {}", found.text);
        // Another shop learns nothing, not even that somebody is there.
        let other =
            house.call("POST", "/v1/profiles/lookup", &house.other_shop, json!({"type": kind, "value": value})).await;
        assert_eq!(other.status, 404, "{kind}: {}", other.text);
    }
    // Saying who somebody is does not take away by what they are known.
    house.ok("PUT", "/v1/profiles/p1", &shop, json!({"display_name": "Chez Anna"})).await;
    let known = house.get("/v1/profiles/p1", &shop).await.json;
    assert_eq!((known["identities"].as_array().unwrap().len(), &known["tz"]), (4, &json!(null)));
    let kept = all_bytes(&house);
    for value in ["anna.weber", "Anna.Weber", "612345678", "4711", "anna-w"] {
        let found = kept.windows(value.len()).any(|bytes| bytes == value.as_bytes());
        assert!(!found, "`{value}` stands in the store");
    }

    // One address, one person; nothing is told of the other one.
    let taken = json!({"identities": [{"type": "email", "value": "anna.weber@example.org"}]});
    let refused = house.call("PUT", "/v1/profiles/p2", &shop, taken.clone()).await;
    assert_eq!(refused.status, 409, "{}", refused.text);
    assert!(!refused.text.contains("p1") && !refused.text.contains("anna"), "{}", refused.text);
    assert_eq!(house.get("/v1/profiles/p2", &shop).await.status, 404, "nothing is half done");
    // In another shop the same address is somebody else's.
    house.ok("PUT", "/v1/profiles/p2", &house.other_shop, taken.clone()).await;
    // Given up here, it is free.
    house.ok("PATCH", "/v1/profiles/p1", &shop, json!({"identities": []})).await;
    house.ok("PUT", "/v1/profiles/p2", &shop, taken).await;

    for (identity, pointer) in [
        (json!({"type": "email", "value": "anna"}), "/identities/0/value"),
        (json!({"type": "phone", "value": "0612345678"}), "/identities/0/value"),
        (json!({"type": "device", "value": "d-1"}), "/identities/0/type"),
        (json!({"type": "shoe", "value": "42"}), "/identities/0/type"),
    ] {
        let wrong = house.call("PATCH", "/v1/profiles/p1", &shop, json!({"identities": [identity]})).await;
        assert_eq!((wrong.status, &wrong.json["pointer"]), (422, &json!(pointer)), "{}", wrong.text);
    }
    assert_eq!(house.call("PATCH", "/v1/profiles/p9", &shop, json!({})).await.status, 404);
}

#[tokio::test]
async fn a_patch_changes_what_it_names_and_bulk_lines_fail_one_by_one() {
    let house = house().await;
    let shop = house.shop.clone();
    let whole = json!({"display_name": "Maison", "locale": "fr-FR", "segments": ["eco"], "loyalty": {"tier": "gold", "points": 12}});
    let made = house.call("PUT", "/v1/profiles/p1", &shop, whole).await;
    let tag = made.header("etag").to_owned();
    let patch = |body: Value| (body.to_string(), [("if-match", tag.as_str())]);
    let (body, headers) = patch(json!({"locale": null, "loyalty": {"tier": "gold", "points": 13}}));
    let changed = house.send("PATCH", "/v1/profiles/p1", &shop, &headers, Some(body.clone())).await;
    assert_eq!((changed.status, &changed.json["locale"]), (200, &json!(null)), "{}", changed.text);
    assert_eq!((&changed.json["segments"], &changed.json["loyalty"]["points"]), (&json!(["eco"]), &json!(13)));
    let stale = house.send("PATCH", "/v1/profiles/p1", &shop, &headers, Some(body)).await;
    assert_eq!(stale.status, 412, "{}", stale.text);

    house.ok("PATCH", "/v1/profiles/p1", &shop, json!({"identities": [{"type": "loyalty", "value": "7"}]})).await;
    let lines = [
        json!({"profile": "p2", "segments": ["eco"], "identities": [{"type": "loyalty", "value": "8"}]}).to_string(),
        json!({"profile": "p3", "shoe": 42}).to_string(),
        json!({"profile": "p4", "identities": [{"type": "loyalty", "value": "7"}]}).to_string(),
        "{".to_owned(),
        json!({"profile": "p5", "loyalty": {"tier": "silver"}}).to_string(),
    ];
    let told = house.bulk("/v1/profiles:bulk", &shop, &lines).await;
    assert_eq!(told.len(), 5);
    assert_eq!(told[0], json!({"profile": "p2", "households": 0}));
    assert_eq!(told[1]["error"]["code"], "payload.invalid", "{}", told[1]);
    assert_eq!((&told[2]["error"]["code"], told[3].get("error").is_some()), (&json!("conflict"), true), "{told:?}");
    assert_eq!(told[4]["profile"], "p5");
    for (id, status) in [("p3", 404), ("p4", 404), ("p5", 200)] {
        assert_eq!(house.get(&format!("/v1/profiles/{id}"), &shop).await.status, status, "{id}");
    }
}

#[tokio::test]
async fn loyalty_can_be_asked_for_in_a_condition() {
    let house = house().await;
    let home = home_with_offers(&house).await;
    let mut gold = trigger();
    gold["when"] = json!({"all": "profile.loyalty_tier == \"gold\" && profile.loyalty_points >= 100"});
    gold.as_object_mut().unwrap().remove("test");
    house.ok("PUT", "/v1/triggers/filter-worn", &house.shop, gold.clone()).await;
    house.ok("POST", "/v1/triggers/filter-worn/publish", &house.shop, json!({})).await;
    worn(&house, "d-1").await;
    assert_eq!(first_block(&house, &home).await["step"], "conditions", "nothing is known of the tier");
    house.ok("PATCH", "/v1/profiles/p1", &house.shop, json!({"loyalty": {"tier": "gold", "points": 99}})).await;
    worn(&house, "d-1").await;
    assert_eq!(offers(&house, "sent").await, 0);
    house.ok("PATCH", "/v1/profiles/p1", &house.shop, json!({"loyalty": {"tier": "gold", "points": 100}})).await;
    worn(&house, "d-1").await;
    assert_eq!(offers(&house, "sent").await, 1);
    gold["when"] = json!({"all": "profile.loyalty == \"gold\""});
    let wrong = house.call("POST", "/v1/triggers/filter-worn/check", &house.shop, gold).await;
    assert!(wrong.text.contains("loyalty_tier"), "the nearest name is told: {}", wrong.text);
}

#[tokio::test]
async fn what_a_person_prefers_is_stronger_than_any_trigger_and_told_in_the_trace() {
    let house = house().await;
    let shop = house.shop.clone();
    let home = home_with_offers(&house).await;
    house.register("d-2").await;
    for (preferences, step, code) in [
        (json!({"pause_until": "2100-01-01T00:00:00Z"}), "", ""),
        (json!({"pause_until": "2030-01-01T00:00:00Z"}), "controls", "paused"),
        (json!({"devices": []}), "controls", "device_not_chosen"),
        (json!({"channels": ["app"]}), "controls", "channel_not_chosen"),
        (
            json!({"quiet": [{"from": "00:00", "to": "12:00"}, {"from": "12:00", "to": "00:00"}]}),
            "quiet",
            "quiet_hours",
        ),
    ] {
        let told = house.call("PUT", "/v1/profiles/p1/preferences", &shop, preferences).await;
        if step.is_empty() {
            assert_eq!((told.status, &told.json["pointer"]), (422, &json!("/pause_until")), "{}", told.text);
            continue;
        }
        assert_eq!(told.status, 200, "{}", told.text);
        worn(&house, "d-1").await;
        let block = first_block(&house, &home).await;
        assert_eq!((&block["step"], &block["code"]), (&json!(step), &json!(code)), "{block}");
        assert_eq!(offers(&house, "sent").await, 0, "{code}");
    }
    assert_eq!(offers(&house, "queued").await, 1, "what waits for its hour");
    // Silence altogether reaches what waits, and what is on the screen.
    house.ok("PUT", "/v1/profiles/p1/preferences", &shop, json!({"channels": []})).await;
    assert_eq!((offers(&house, "queued").await, offers(&house, "withdrawn").await), (0, 1));
    house
        .ok("PUT", "/v1/profiles/p1/preferences", &shop, json!({"frequency": {"per_day": 1}, "devices": ["d-1"]}))
        .await;
    worn(&house, "d-1").await;
    assert_eq!(offers(&house, "sent").await, 1);
    worn(&house, "d-1").await;
    let block = first_block(&house, &home).await;
    assert_eq!((&block["code"], &block["numbers"]["made"]), (&json!("often_enough"), &json!(1)), "{block}");
    assert!(block["reason"].as_str().unwrap().contains("1 offers today"), "{block}");
    house.ok("PUT", "/v1/profiles/p1/preferences", &shop, json!({"pause_until": "2030-01-01T00:00:00Z"})).await;
    assert_eq!((offers(&house, "sent").await, offers(&house, "withdrawn").await), (0, 2));

    let told = house.get("/v1/profiles/p1/preferences", &shop).await;
    assert_eq!(told.json["pause_until"], "2030-01-01T00:00:00Z");
    let stale =
        house.send("PUT", "/v1/profiles/p1/preferences", &shop, &[("if-match", "\"x\"")], Some("{}".into())).await;
    assert_eq!(stale.status, 412, "{}", stale.text);
    for (wrong, pointer) in [
        (json!({"quiet": [{"from": "21:00", "to": "21:00"}]}), "/quiet/0/to"),
        (json!({"quiet": [{"from": "25:00", "to": "08:00"}]}), "/quiet/0"),
        (json!({"frequency": {"per_day": 0}}), "/frequency/per_day"),
        (json!({"frequency": {"per_week": 51}}), "/frequency/per_week"),
        (json!({"devices": ["d-9"]}), "/devices/0"),
        (json!({"devices": ["d-2"]}), "/devices/0"),
        (json!({"channels": ["The Device"]}), "/channels"),
        (json!({"unattended_max": {"minor": -1, "currency": "EUR"}}), "/unattended_max"),
        (json!({"shoe": 42}), "/shoe"),
    ] {
        let told = house.call("PUT", "/v1/profiles/p1/preferences", &shop, wrong.clone()).await;
        assert_eq!((told.status, &told.json["pointer"]), (422, &json!(pointer)), "{wrong}: {}", told.text);
    }
}

#[tokio::test]
async fn a_wish_is_known_before_the_first_offer_of_a_new_home() {
    let house = house().await;
    let mut welcome = trigger();
    welcome["id"] = json!("welcome");
    welcome["kind"] = json!("tip");
    welcome["on"] = json!({"event": "link", "type": "linked"});
    welcome["offer"] = json!({"actions": ["decline"], "text": {"fr": {"title": "Bonjour", "body": "Bienvenue."}}});
    welcome.as_object_mut().unwrap().remove("test");
    house.ok("PUT", "/v1/triggers/welcome", &house.shop, welcome).await;
    house.ok("POST", "/v1/triggers/welcome/publish", &house.shop, json!({})).await;
    house.ok("PUT", "/v1/profiles/p1", &house.shop, json!({})).await;
    house.ok("PUT", "/v1/profiles/p1/preferences", &house.shop, json!({"channels": ["app"]})).await;
    house.link("d-1", "p1").await;
    assert_eq!(offers(&house, "sent").await, 0, "the wish came first");
    house.link("d-2", "p2").await;
    assert_eq!(offers(&house, "sent").await, 1, "who wishes nothing is welcomed");
}

#[tokio::test]
async fn more_than_may_be_ordered_unattended_needs_the_app() {
    let house = house().await;
    let shop = house.shop.clone();
    home_with_offers(&house).await;
    let limit = |minor: u32| json!({"unattended_max": {"minor": minor, "currency": "EUR"}});
    house.ok("PUT", "/v1/profiles/p1/preferences", &shop, limit(1989)).await;
    worn(&house, "d-1").await;
    let offer = house.get("/v1/offers?state=sent", &shop).await.json["items"][0]["offer"].as_str().unwrap().to_owned();
    let path = format!("/v1/offers/{offer}/answer");
    let unknown = json!({"rev": 1, "answer": "accept", "channel": "kiosk"});
    let refused = house.call("POST", &path, &shop, unknown.clone()).await;
    assert_eq!((refused.status, refused.code()), (403, "offer.not_allowed"), "{}", refused.text);
    house.ok("PUT", "/v1/profiles/p1/preferences", &shop, limit(1990)).await;
    house.ok("POST", &path, &shop, unknown).await;
}

#[tokio::test]
async fn one_flag_ends_all_marketing_and_says_why_to_the_shop_alone() {
    let house = house().await;
    let shop = house.shop.clone();
    let home = home_with_offers(&house).await;
    worn(&house, "d-1").await;
    assert_eq!(offers(&house, "sent").await, 1);
    let flagged = house.ok("PUT", "/v1/profiles/p1/flags/minor", &shop, json!({"reason": "school project"})).await;
    assert_eq!(
        (&flagged["flags"][0]["flag"], &flagged["flags"][0]["reason"]),
        (&json!("minor"), &json!("school project"))
    );
    assert!(flagged["flags"][0]["by"].as_str().unwrap().starts_with("tk_"));
    assert_eq!((offers(&house, "sent").await, offers(&house, "withdrawn").await), (0, 1));
    worn(&house, "d-1").await;
    let block = first_block(&house, &home).await;
    assert_eq!((&block["code"], block.to_string().contains("school")), (&json!("marketing_off"), false), "{block}");
    for (path, body, status) in [
        ("/v1/profiles/p1/flags/tall", json!({"reason": "x"}), 422),
        ("/v1/profiles/p1/flags/minor", json!({"reason": " "}), 422),
        ("/v1/profiles/p9/flags/minor", json!({"reason": "x"}), 404),
    ] {
        assert_eq!(house.call("PUT", path, &shop, body).await.status, status, "{path}");
    }
    assert_eq!(house.send("DELETE", "/v1/profiles/p1/flags/minor", &shop, &[], None).await.status, 204);
    worn(&house, "d-1").await;
    assert_eq!(offers(&house, "sent").await, 1);
}
