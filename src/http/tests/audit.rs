//! The audit trail: every change has its entry, at once, and nobody sees another's.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{House, OPERATOR, house, product, trigger};
use crate::app::audit::{Verified, tampered, verify};
use crate::store::Commit;
use crate::store::codec::{self, Schema};
use crate::store::keys;

async fn trail(house: &House, token: &str, query: &str) -> Vec<Value> {
    let answer = house.get(&format!("/v1/audit?limit=200{query}"), token).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    answer.json["items"].as_array().unwrap().clone()
}

fn actions(entries: &[Value]) -> Vec<String> {
    entries.iter().rev().map(|entry| entry["action"].as_str().unwrap().to_owned()).collect()
}

fn sha256(text: &str) -> String {
    data_encoding::HEXLOWER.encode(&Sha256::digest(text.as_bytes()))
}

#[tokio::test]
async fn every_change_of_a_rule_says_who_what_when_before_and_after() {
    let house = house().await;
    house.ok("PUT", "/v1/products/flt-20x25", &house.shop, product()).await;
    let first = house.get("/v1/products/flt-20x25", &house.shop).await.text;
    let mut dearer = product();
    dearer["price"]["minor"] = json!(2090);
    house.ok("PUT", "/v1/products/flt-20x25", &house.shop, dearer).await;
    let second = house.get("/v1/products/flt-20x25", &house.shop).await.text;
    house.ok("PUT", "/v1/triggers/filter-worn", &house.shop, trigger()).await;
    house.ok("POST", "/v1/triggers/filter-worn/publish", &house.shop, json!({})).await;
    house.ok("POST", "/v1/triggers/filter-worn/pause", &house.shop, json!({})).await;
    let entries = trail(&house, &house.shop, "").await;
    assert_eq!(
        actions(&entries),
        [
            "PUT /v1/products/{product}",
            "PUT /v1/products/{product}",
            "PUT /v1/triggers/{trigger}",
            "POST /v1/triggers/{trigger}/publish",
            "POST /v1/triggers/{trigger}/pause",
        ]
    );
    let (made, changed) = (&entries[4], &entries[3]);
    assert_eq!((&made["target"], &made["before"]), (&json!("products/flt-20x25"), &Value::Null));
    assert_eq!((&made["after"], &changed["before"]), (&json!(sha256(&first)), &json!(sha256(&first))));
    assert_eq!(changed["after"], sha256(&second));
    assert_eq!((&made["role"], &made["tenant"]), (&json!("retailer_admin"), &json!("shop-a")));
    assert!(made["actor"].as_str().unwrap().starts_with("tk_") && made["at"].is_string());
    assert!(entries[1]["before"] != entries[1]["after"], "publishing shows");

    let of_triggers = trail(&house, &house.shop, "&target=triggers/filter-worn").await;
    assert_eq!(of_triggers.len(), 3);
    assert_eq!(trail(&house, &house.shop, "&target=triggers/filter").await.len(), 0, "whole parts only");
    let actor = made["actor"].as_str().unwrap();
    assert_eq!(trail(&house, &house.shop, &format!("&actor={actor}")).await.len(), 5);
    assert_eq!(trail(&house, &house.shop, "&actor=tk_nobody").await.len(), 0);
    assert_eq!(trail(&house, &house.shop, "&from=2999-01-01T00:00:00Z").await.len(), 0);
    let paged = house.get("/v1/audit?limit=2", &house.shop).await.json;
    let next = paged["next"].as_str().unwrap();
    let rest = house.get(&format!("/v1/audit?limit=3&cursor={next}"), &house.shop).await.json;
    assert_eq!(
        (paged["items"][1]["n"].as_u64().unwrap() - 1, rest["items"].as_array().unwrap().len()),
        (rest["items"][0]["n"].as_u64().unwrap(), 3)
    );
    assert_eq!(house.get("/v1/audit?from=yesterday", &house.shop).await.status, 422);
}

#[tokio::test]
async fn what_changed_nothing_has_no_entry() {
    let house = house().await;
    let before = trail(&house, OPERATOR, "").await.len();
    house.call("PUT", "/v1/products/flt-20x25", &house.shop, json!({"price": "free"})).await;
    house.call("PUT", "/v1/retailers/shop-c", &house.shop, json!({"name": "C"})).await;
    house.call("POST", "/v1/claims/preview", &house.shop, json!({"code": "7K4Q-9XMP"})).await;
    house.call("PUT", "/v1/products/flt-20x25", "hw_nobody_x", product()).await;
    house.get("/v1/products", &house.shop).await;
    assert_eq!(trail(&house, OPERATOR, "").await.len(), before);
    assert!(trail(&house, &house.shop, "").await.is_empty());
    // A repeat with the same key was done once.
    let headers = [("idempotency-key", "k-1")];
    for _ in 0..3 {
        let body = json!({"pool": "HEAT26", "codes": ["HEAT-7K4Q"]}).to_string();
        let answer = house.send("POST", "/v1/codes:import", &house.shop, &headers, Some(body)).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
    }
    assert_eq!(trail(&house, &house.shop, "").await.len(), 1);
}

#[tokio::test]
async fn the_chain_names_nobody_however_a_path_is_written() {
    let house = house().await;
    let body = json!({"display_name": "Anna", "tz": "Europe/Paris"});
    for written in ["crm:4711", "crm%3A4711", "crm%3a4711"] {
        house.ok("PUT", &format!("/v1/profiles/{written}"), &house.shop, body.clone()).await;
    }
    house.call("PATCH", "/v1/profiles/crm%3A4711%0A", &house.shop, body).await;
    let all = trail(&house, &house.shop, "").await;
    let targets: BTreeSet<&str> = all.iter().map(|entry| entry["target"].as_str().unwrap()).collect();
    assert_eq!(targets.len(), 1, "one person, one name: {targets:?}");
    assert!(targets.iter().all(|target| target.starts_with("profiles/pr_") && !target.contains("4711")), "{targets:?}");
    assert_eq!(trail(&house, &house.shop, "&target=profiles/crm:4711").await.len(), 3);
}

#[tokio::test]
async fn a_tenant_sees_its_own_and_the_operator_nothing_of_customers() {
    let house = house().await;
    let linked = house.link("d-1", "p1").await;
    let body = json!({"consents": [{"purpose": "offers.device", "granted": false}]});
    house.ok("PUT", "/v1/profiles/p1/consents", &house.shop, body).await;
    house.ok("POST", "/v1/devices/d-1/suspend", &house.shop, json!({"reason": "stolen"})).await;
    house.ok("PUT", "/v1/webhooks/w", &house.shop, json!({"url": "https://hooks.shop.example/"})).await;
    let own = trail(&house, &house.shop, "").await;
    assert_eq!(
        actions(&own),
        [
            "POST /v1/claims/confirm",
            "PUT /v1/profiles/{profile}/consents",
            "POST /v1/devices/{device}/suspend",
            "PUT /v1/webhooks/{webhook}",
        ]
    );
    let claim = &own[3];
    assert_eq!(claim["target"], format!("claims/confirm/{}", linked["link"].as_str().unwrap()));
    assert!(own[2]["before"].is_string() && own[2]["before"] != own[2]["after"]);
    let operators = trail(&house, OPERATOR, "").await;
    let of_shop: Vec<&Value> = operators.iter().filter(|entry| entry["tenant"] == "shop-a").collect();
    assert_eq!(of_shop.len(), 1, "{of_shop:?}");
    assert_eq!(of_shop[0]["action"], "PUT /v1/webhooks/{webhook}");
    let by_operator = actions(&operators);
    for wanted in ["PUT /v1/makers/{maker}", "POST /v1/tokens", "PUT /v1/models/{model}", "POST /v1/devices:bulk"] {
        assert!(by_operator.iter().any(|action| action == wanted), "{wanted}: {by_operator:?}");
    }
    let token = operators.iter().find(|entry| entry["action"] == "POST /v1/tokens").unwrap();
    assert!(token["target"].as_str().unwrap().starts_with("tokens/tk_"), "{token}");
    assert!(trail(&house, &house.other_shop, "").await.is_empty());
    assert!(trail(&house, &house.maker, "").await.is_empty());
    let marketer = house.token("shop-a", "marketer").await;
    assert_eq!(house.get("/v1/audit", &marketer).await.status, 403);
    // Neither a secret nor a name of a person stands in any entry.
    let bytes: Vec<u8> = house
        .app
        .engine
        .store()
        .scan(&keys::audits(), None, 10_000)
        .unwrap()
        .into_iter()
        .flat_map(|(_, row)| row)
        .collect();
    let text = String::from_utf8_lossy(&bytes).into_owned();
    assert!(!text.contains("Maison") && !text.contains("hw_") && !text.contains("whsec_"));
}

#[tokio::test]
async fn calls_at_once_make_one_chain_and_any_change_of_it_shows() {
    let house = std::sync::Arc::new(house().await);
    let calls = (0..40).map(|n| {
        let house = house.clone();
        tokio::spawn(async move {
            house.ok("PUT", &format!("/v1/products/p-{n}"), &house.shop, product()).await;
        })
    });
    for call in calls.collect::<Vec<_>>() {
        call.await.unwrap();
    }
    let store = house.app.engine.store().clone();
    let entries = trail(&house, OPERATOR, "").await.len() as u64;
    assert!(entries >= 40);
    let Verified::Whole(head) = verify(&*store).unwrap() else { panic!("the chain is broken") };
    assert_eq!(head.entries, entries);

    let row_at = |n: u64| -> crate::app::audit::AuditRow {
        let key = keys::audit(n);
        codec::decode(Schema::Audit, &key, &store.get(&key).unwrap().unwrap()).unwrap()
    };
    let write = |write| {
        store.commit(&[Commit { preconditions: Vec::new(), writes: vec![write] }]).unwrap();
    };
    let broken_at = || match verify(&*store).unwrap() {
        Verified::Broken { at, .. } => Some(at),
        Verified::Whole(_) => None,
    };
    let kept = row_at(7);
    let mut changed = kept.clone();
    changed.change.actor = "tk_somebody".to_owned();
    write(tampered(7, &changed));
    assert_eq!(broken_at(), Some(7), "an entry was changed");
    write(crate::store::Write::Delete(keys::audit(7)));
    assert_eq!(broken_at(), Some(7), "an entry is missing");
    write(tampered(7, &row_at(8)));
    assert_eq!(broken_at(), Some(7), "another stands in its place");
    write(tampered(7, &kept));
    assert_eq!(broken_at(), None);
    write(crate::store::Write::Delete(keys::audit(entries - 1)));
    assert_eq!(broken_at(), Some(entries - 1), "the end is missing");
}

#[test]
fn what_is_no_change_is_a_call_that_exists() {
    let known: Vec<&str> = super::super::routes::all().iter().map(|entry| entry.path).collect();
    for path in super::super::audit::NOT_CHANGES {
        assert!(known.contains(&path), "{path}");
    }
}
