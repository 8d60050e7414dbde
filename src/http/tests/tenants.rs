//! Who may do what, and who sees whom.

use serde_json::json;

use super::{OPERATOR, house, product, trigger};

#[tokio::test]
async fn without_a_live_token_nothing_is_told() {
    let house = house().await;
    for (token, code) in [("", "auth.missing"), ("hw_nobody_secret", "auth.invalid"), ("x", "auth.invalid")] {
        let answer = house.get("/v1/offers", token).await;
        assert_eq!((answer.status, answer.code()), (401, code));
        assert_eq!(answer.header("www-authenticate"), "Bearer");
        assert_eq!(answer.header("content-type"), "application/problem+json");
    }
    let made = house.ok("POST", "/v1/tokens", OPERATOR, json!({"tenant": "shop-a", "role": "support"})).await;
    let (id, token) = (made["id"].as_str().unwrap(), made["token"].as_str().unwrap());
    assert!(id.starts_with("tk_") && token.starts_with("hw_"));
    assert_eq!(house.get("/v1/offers", token).await.status, 200);
    // The right id with another secret opens nothing.
    let (head, _) = token.rsplit_once('_').unwrap();
    assert_eq!(house.get("/v1/offers", &format!("{head}_other")).await.status, 401);
    assert_eq!(house.send("DELETE", &format!("/v1/tokens/{id}"), OPERATOR, &[], None).await.status, 204);
    assert_eq!(house.get("/v1/offers", token).await.status, 401);
}

#[tokio::test]
async fn each_role_does_its_own_work_only() {
    let house = house().await;
    let marketer = house.token("shop-a", "marketer").await;
    let support = house.token("shop-a", "support").await;
    let listed = json!({"tenant": "shop-a", "role": "service", "scopes": ["orders.read"]});
    let service = house.ok("POST", "/v1/tokens", OPERATOR, listed).await["token"].as_str().unwrap().to_owned();
    house.ok("PUT", "/v1/products/flt-20x25", &house.shop, product()).await;
    house.ok("PUT", "/v1/triggers/filter-worn", &marketer, trigger()).await;
    for (method, path, token, status) in [
        ("POST", "/v1/triggers/filter-worn/publish", &marketer, 200),
        ("POST", "/v1/triggers/filter-worn/pause", &marketer, 403),
        ("POST", "/v1/triggers/filter-worn/publish", &support, 403),
        ("GET", "/v1/orders", &marketer, 403),
        ("PUT", "/v1/products/flt-20x25", &support, 403),
        ("GET", "/v1/orders", &service, 200),
        ("GET", "/v1/offers", &service, 403),
        ("GET", "/v1/offers", &OPERATOR.to_owned(), 403),
        ("GET", "/v1/devices", &OPERATOR.to_owned(), 200),
        ("PUT", "/v1/retailers/shop-c", &house.shop, 403),
        ("POST", "/v1/tokens", &house.shop, 403),
        ("GET", "/v1/orders", &house.maker, 403),
    ] {
        let body = match (method, path) {
            ("GET", _) | (_, "/v1/triggers/filter-worn/publish" | "/v1/triggers/filter-worn/pause") => json!({}),
            (_, "/v1/retailers/shop-c") => json!({"name": "C", "default_locale": "fr", "zone": "Europe/Paris"}),
            (_, "/v1/tokens") => json!({"tenant": "shop-a", "role": "support"}),
            _ => product(),
        };
        let answer = house.call(method, path, token, body).await;
        assert_eq!(answer.status, status, "{method} {path}: {}", answer.text);
        assert!(status != 403 || answer.code() == "auth.scope", "{}", answer.text);
    }
}

#[tokio::test]
async fn another_tenants_objects_look_like_missing_ones() {
    let house = house().await;
    let linked = house.link("d-1", "p1").await;
    house.ok("PUT", "/v1/products/flt-20x25", &house.shop, product()).await;
    house.ok("PUT", "/v1/triggers/filter-worn", &house.shop, trigger()).await;
    let household = linked["household"].as_str().unwrap();
    for (there, nowhere) in [
        ("/v1/devices/d-1".to_owned(), "/v1/devices/d-9"),
        ("/v1/devices/d-1/state".to_owned(), "/v1/devices/d-9/state"),
        ("/v1/devices/d-1/messages".to_owned(), "/v1/devices/d-9/messages"),
        ("/v1/profiles/p1".to_owned(), "/v1/profiles/p9"),
        ("/v1/profiles/p1/consents".to_owned(), "/v1/profiles/p9/consents"),
        ("/v1/products/flt-20x25".to_owned(), "/v1/products/flt-9"),
        ("/v1/triggers/filter-worn".to_owned(), "/v1/triggers/filter-9"),
        (format!("/v1/decisions?household={household}"), "/v1/decisions?household=hh_aaaaaaaaaaaaaaaaaaaaaaaa"),
    ] {
        assert_eq!(house.get(&there, &house.shop).await.status, 200, "{there}");
        let (foreign, missing) =
            (house.get(&there, &house.other_shop).await, house.get(nowhere, &house.other_shop).await);
        assert_eq!((foreign.status, foreign.code()), (404, missing.code()), "{there}");
    }
    for path in ["/v1/devices/d-1/suspend", "/v1/devices/d-1/release"] {
        assert_eq!(house.call("POST", path, &house.other_shop, json!({})).await.status, 404);
    }
    assert_eq!(house.get("/v1/devices", &house.other_shop).await.json["items"], json!([]));
    let seen = house.get("/v1/devices/d-1", &house.maker).await.json;
    assert_eq!(seen["link"], json!({"state": "linked"}));
}

#[tokio::test]
async fn the_tenant_in_a_body_is_the_tokens_or_none() {
    let house = house().await;
    house.ok("PUT", "/v1/makers/brewco", OPERATOR, json!({"name": "Brewco"})).await;
    let mut model = super::model();
    model["maker"] = json!("brewco");
    let foreign = house.call("PUT", "/v1/models/th-300", &house.maker, model.clone()).await;
    assert_eq!((foreign.status, &foreign.json["pointer"]), (422, &json!("/maker")));
    model.as_object_mut().unwrap().remove("maker");
    assert_eq!(house.call("PUT", "/v1/models/th-300", OPERATOR, model.clone()).await.json["pointer"], "/maker");
    model["colour"] = json!("white");
    let made = house.ok("PUT", "/v1/models/th-300", &house.maker, model).await;
    assert_eq!(made["maker"], "acme");
    let brewco = house.token("brewco", "maker").await;
    assert_eq!(house.get("/v1/models/th-300", &brewco).await.status, 404);
    assert_eq!(house.call("PUT", "/v1/models/th-300", &brewco, super::model()).await.status, 422);
}

#[tokio::test]
async fn two_makers_may_use_one_device_name() {
    let house = house().await;
    house.ok("PUT", "/v1/makers/brewco", OPERATOR, json!({"name": "Brewco"})).await;
    let mut model = super::model();
    model["maker"] = json!("brewco");
    house.ok("PUT", "/v1/models/cm-300", OPERATOR, model).await;
    house.register("d-1").await;
    let line = json!({"maker": "brewco", "device": "d-1", "model": "cm-300", "serial": null}).to_string();
    house.bulk("/v1/devices:bulk", OPERATOR, &[line]).await;
    let both = house.get("/v1/devices/d-1", OPERATOR).await;
    assert_eq!((both.status, both.code()), (409, "device.ambiguous"), "{}", both.text);
    assert_eq!(house.get("/v1/devices/brewco%2Fd-1", OPERATOR).await.json["model"], "cm-300");
    assert_eq!(house.get("/v1/devices/d-1", &house.maker).await.json["maker"], "acme");
    let first = house.get("/v1/devices?limit=1", OPERATOR).await.json;
    let next = first["next"].as_str().unwrap().replace('/', "%2F");
    let second = house.get(&format!("/v1/devices?limit=1&cursor={next}"), OPERATOR).await.json;
    assert_eq!((&first["items"][0]["maker"], &second["items"][0]["maker"]), (&json!("acme"), &json!("brewco")));
}

#[tokio::test]
async fn keys_open_their_makers_door_until_four_newer_ones_exist() {
    use crate::app::tokens::KeyKind;
    let house = house().await;
    let maker = hearthway_core::id::MakerId::new("acme").unwrap();
    let first = house.ok("POST", "/v1/bootstrap-keys", OPERATOR, json!({"maker": "acme"})).await;
    assert_eq!(first["username"], "acme/_bootstrap");
    let opens = |kind, secret: &str| house.app.key_opens(&maker, kind, secret.as_bytes());
    let secret = first["secret"].as_str().unwrap();
    assert!(opens(KeyKind::Bootstrap, secret));
    assert!(!opens(KeyKind::Bridge, secret));
    assert!(!opens(KeyKind::Bootstrap, "guess"));
    for _ in 0..4 {
        house.ok("POST", "/v1/bootstrap-keys", &house.maker, json!({})).await;
    }
    assert!(!opens(KeyKind::Bootstrap, secret));
}

#[tokio::test]
async fn who_may_make_no_customers_token_is_told_by_the_scope_that_this_takes() {
    let house = house().await;
    let marketer = house.token("shop-a", "marketer").await;
    for (body, scope) in [
        (json!({"role": "customer", "profile": "p1"}), "`me.tokens`"),
        (json!({"role": "marketer", "tenant": "shop-a", "name": "m"}), "`tenants.write`"),
    ] {
        let told = house.call("POST", "/v1/tokens", &marketer, body).await;
        assert!(told.status == 403 && told.text.contains(scope), "{}", told.text);
    }
}
