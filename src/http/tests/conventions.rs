//! What holds for every call: exact bodies, problem answers, lists, tags, repeats, bounds.

use serde_json::json;

use super::{OPERATOR, house, product, trigger};

#[tokio::test]
async fn an_unknown_field_is_refused_with_its_place() {
    let house = house().await;
    let mut body = product();
    body["price"]["amount"] = json!(3);
    let answer = house.call("PUT", "/v1/products/flt-20x25", &house.shop, body).await;
    assert_eq!((answer.status, answer.code()), (422, "payload.invalid"), "{}", answer.text);
    assert_eq!(answer.json["pointer"], "/price/amount");
    for key in ["type", "title", "status", "code", "detail"] {
        assert!(!answer.json[key].is_null(), "{key}");
    }
    let mut body = trigger();
    body["offer"]["colour"] = json!("red");
    house.ok("PUT", "/v1/products/flt-20x25", &house.shop, product()).await;
    let answer = house.call("PUT", "/v1/triggers/filter-worn", &house.shop, body).await;
    assert_eq!((answer.status, answer.code()), (422, "payload.invalid"), "{}", answer.text);
    assert_eq!(answer.json["pointer"], "/offer/colour", "{}", answer.text);
}

#[tokio::test]
async fn a_trigger_whose_case_fails_is_not_published() {
    let house = house().await;
    house.ok("PUT", "/v1/products/flt-20x25", &house.shop, product()).await;
    let mut body = trigger();
    body["test"][0]["expect"] = json!({"send": false});
    let answer = house.call("POST", "/v1/triggers/filter-worn/check", &house.shop, body.clone()).await;
    assert_eq!((answer.status, &answer.json["ok"]), (200, &json!(false)), "{}", answer.text);
    assert_eq!(answer.json["problems"][0]["pointer"], "/test/0");
    assert_eq!(house.call("PUT", "/v1/triggers/filter-worn", &house.shop, body).await.status, 422);
    assert_eq!(house.call("POST", "/v1/triggers/filter-worn/publish", &house.shop, json!({})).await.status, 404);
}

#[tokio::test]
async fn a_paused_trigger_is_silent_and_a_published_one_speaks_again() {
    let house = house().await;
    house.ok("PUT", "/v1/products/flt-20x25", &house.shop, product()).await;
    house.ok("PUT", "/v1/triggers/filter-worn", &house.shop, trigger()).await;
    house.ok("POST", "/v1/triggers/filter-worn/publish", &house.shop, json!({})).await;
    assert_eq!(house.ok("POST", "/v1/triggers/filter-worn/pause", &house.shop, json!({})).await["state"], "paused");
    house.link("d-1", "p1").await;
    house.used("d-1", 590.0).await;
    house.used("d-1", 612.0).await;
    assert_eq!(house.get("/v1/offers", &house.shop).await.json["items"], json!([]));
    house.ok("POST", "/v1/triggers/filter-worn/publish", &house.shop, json!({})).await;
    house.used("d-1", 10.0).await;
    house.used("d-1", 612.0).await;
    assert_eq!(house.get("/v1/offers", &house.shop).await.json["items"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_changed_document_is_not_overwritten_blindly() {
    let house = house().await;
    let path = "/v1/products/flt-20x25";
    let missing = house.send("PUT", path, &house.shop, &[("if-match", "*")], Some(product().to_string())).await;
    assert_eq!((missing.status, missing.code()), (412, "precondition.failed"));
    house.ok("PUT", path, &house.shop, product()).await;
    let tag = house.get(path, &house.shop).await.header("etag").to_owned();
    assert!(tag.starts_with('"') && tag.len() > 2);
    let mut dearer = product();
    dearer["price"]["minor"] = json!(2290);
    let fits = house.send("PUT", path, &house.shop, &[("if-match", &tag)], Some(dearer.to_string())).await;
    assert_eq!(fits.status, 200);
    assert_ne!(fits.header("etag"), tag);
    let stale = house.send("PUT", path, &house.shop, &[("if-match", &tag)], Some(product().to_string())).await;
    assert_eq!((stale.status, stale.code()), (412, "precondition.failed"));
    assert_eq!(house.get(path, &house.shop).await.json["price"]["minor"], 2290);

    house.ok("PUT", "/v1/profiles/p1", &house.shop, json!({"display_name": "Maison"})).await;
    let stale = Some(json!({"display_name": "Chalet"}).to_string());
    assert_eq!(house.send("PUT", "/v1/profiles/p1", &house.shop, &[("if-match", "\"x\"")], stale).await.status, 412);
}

#[tokio::test]
async fn the_same_request_with_the_same_key_is_done_once() {
    let house = house().await;
    house.ok("PUT", "/v1/products/flt-20x25", &house.shop, product()).await;
    house.ok("PUT", "/v1/triggers/filter-worn", &house.shop, trigger()).await;
    house.ok("POST", "/v1/triggers/filter-worn/publish", &house.shop, json!({})).await;
    house.link("d-1", "p1").await;
    house.used("d-1", 590.0).await;
    house.used("d-1", 612.0).await;
    let offers = house.get("/v1/offers", &house.shop).await.json;
    let path = format!("/v1/offers/{}/answer", offers["items"][0]["offer"].as_str().unwrap());
    let key = [("idempotency-key", "k-1")];
    let body = json!({"rev": 1, "answer": "accept", "channel": "app"}).to_string();
    let first = house.send("POST", &path, &house.shop, &key, Some(body.clone())).await;
    let second = house.send("POST", &path, &house.shop, &key, Some(body.clone())).await;
    assert_eq!((first.status, second.status), (200, 200), "{} {}", first.text, second.text);
    assert_eq!(first.text, second.text);
    assert_eq!(second.header("idempotent-replayed"), "true");
    let other = house.send("POST", &path, &house.shop, &key, Some(body.replace("app", "web"))).await;
    assert_eq!((other.status, other.code()), (422, "idempotency.other_request"));
    // Another token's key of the same text is another key.
    let theirs = house.send("POST", &path, &house.other_shop, &key, Some(body)).await;
    assert_eq!(theirs.status, 404);

    let token = json!({"tenant": "shop-a", "role": "support"}).to_string();
    assert_eq!(house.send("POST", "/v1/tokens", OPERATOR, &key, Some(token.clone())).await.status, 201);
    let shown = house.send("POST", "/v1/tokens", OPERATOR, &key, Some(token)).await;
    assert_eq!((shown.status, shown.code()), (409, "idempotency.secret_shown"));
}

#[tokio::test]
async fn lists_come_in_pages_and_say_where_the_next_begins() {
    let house = house().await;
    for n in 0..5 {
        house.ok("PUT", &format!("/v1/products/p-{n}"), &house.shop, product()).await;
    }
    let mut cursor = String::new();
    let mut seen = Vec::new();
    for _ in 0..3 {
        let page = house.get(&format!("/v1/products?limit=2&fits=th-200:air_filter{cursor}"), &house.shop).await.json;
        seen.extend(page["items"].as_array().unwrap().iter().map(|item| item["id"].as_str().unwrap().to_owned()));
        cursor = page["next"].as_str().map_or_else(String::new, |next| format!("&cursor={next}"));
    }
    assert_eq!((seen.join(" ").as_str(), cursor.as_str()), ("p-0 p-1 p-2 p-3 p-4", ""));
    let none = house.get("/v1/products?fits=th-200:beans", &house.shop).await.json;
    assert_eq!(none, json!({"items": [], "next": null}));
    for query in ["limit=0", "limit=1001", "limit=x", "colour=red", "fits=th-200"] {
        let answer = house.get(&format!("/v1/products?{query}"), &house.shop).await;
        assert_eq!((answer.status, answer.code()), (422, "payload.invalid"), "{query}");
    }
}

#[tokio::test]
async fn bodies_have_bounds_and_wrong_paths_are_problems_too() {
    let house = house().await;
    let long = format!("{{\"name\":\"{}\"}}", "x".repeat(2 * 1024 * 1024));
    let answer = house.send("PUT", "/v1/makers/acme", OPERATOR, &[], Some(long)).await;
    assert_eq!((answer.status, answer.code()), (413, "payload.too_large"));
    let deep = format!("{{\"kind\":{}{}}}", "[".repeat(5_000), "]".repeat(5_000));
    assert_eq!(house.send("PUT", "/v1/models/m", OPERATOR, &[], Some(deep)).await.status, 422);
    assert_eq!(house.get("/v1/nothing", OPERATOR).await.code(), "route.unknown");
    let method = house.send("DELETE", "/v1/offers", &house.shop, &[], None).await;
    assert_eq!((method.status, method.code()), (405, "method.not_allowed"));
    assert_eq!(house.call("PUT", "/v1/makers/A_b", OPERATOR, json!({"name": "x"})).await.status, 422);
    let gtin = json!({"gtin": "4006381333932"});
    let mut body = product();
    body["gtin"] = gtin["gtin"].clone();
    assert_eq!(house.call("PUT", "/v1/products/x", &house.shop, body).await.json["pointer"], "/gtin");
}

#[tokio::test]
async fn health_metrics_and_the_document_are_open() {
    let house = house().await;
    assert_eq!(house.get("/health/live", "").await.json["status"], "live");
    assert_eq!(house.get("/health/ready", "").await.json["status"], "ready");
    assert_eq!(house.get("/metrics", "").await.text, "metrics_total 1\n");
    let document = house.get("/openapi.json", "").await;
    assert_eq!(document.text, crate::http::openapi());
    assert_eq!(document.json["openapi"], "3.1.0");
    assert!(document.json["paths"]["/v1/devices:bulk"]["post"].is_object());
}
