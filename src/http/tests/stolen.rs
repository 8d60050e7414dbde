//! A stolen device, its owner, and who is offered it.

use serde_json::{Value, json};

use super::{House, OPERATOR, house};

async fn token_of(house: &House, profile: &str) -> String {
    let made = house.ok("POST", "/v1/tokens", &house.shop, json!({"role": "customer", "profile": profile})).await;
    made["token"].as_str().unwrap().to_owned()
}

async fn registered(house: &House, device: &str, serial: &str) {
    let line = json!({"maker": "acme", "device": device, "model": "th-200", "serial": serial}).to_string();
    assert_eq!(house.bulk("/v1/devices:bulk", OPERATOR, &[line]).await[0]["username"], format!("acme/{device}"));
}

async fn claims(house: &House, device: &str, profile: &str) {
    let code = house.claim_code(device).await;
    let body = json!({"code": code, "profile": profile, "tz": "Europe/Paris"});
    house.ok("POST", "/v1/claims/confirm", &house.shop, body).await;
}

async fn claimable(house: &House, serial: &str, profile: &str) -> Value {
    let told = house.get(&format!("/v1/serials/{serial}/claimable?profile={profile}"), &house.other_shop).await;
    assert_eq!(told.status, 200, "{}", told.text);
    told.json
}

#[tokio::test]
async fn an_owner_says_that_it_was_stolen_and_takes_that_back() {
    let house = house().await;
    let shop = house.shop.clone();
    registered(&house, "d-1", "TH-1").await;
    claims(&house, "d-1", "p1").await;
    house.ok("POST", "/v1/devices/d-1/members", &shop, json!({"profile": "p2", "role": "buyer"})).await;
    let (p1, p2) = (token_of(&house, "p1").await, token_of(&house, "p2").await);
    let code = house.claim_code("d-1").await;
    let path = "/v1/me/devices/d-1/stolen";
    assert_eq!(house.call("PUT", path, &p2, json!({})).await.status, 403, "a buyer does not");
    assert_eq!(house.call("PUT", "/v1/me/devices/d-9/stolen", &p1, json!({})).await.status, 404);
    for _ in 0..2 {
        assert_eq!(house.ok("PUT", path, &p1, json!({})).await, json!({"device": "d-1", "stolen": true}));
    }
    assert_eq!(house.get("/v1/me/devices", &p1).await.json["items"][0]["stolen"], true);
    assert_eq!(house.get("/v1/devices/d-1", &shop).await.json["suspended"], true);
    // The code that it showed tells what a mistyped one tells, also before anything is claimed.
    for (call, wrong) in [("preview", "AAAA-AAAA"), ("confirm", "BBBB-BBBB")] {
        let mut told = Vec::new();
        for code in [code.as_str(), wrong] {
            let body = json!({"code": code, "profile": "thief"});
            let body =
                if call == "confirm" { json!({"code": code, "profile": "thief", "tz": "Europe/Paris"}) } else { body };
            told.push(house.call("POST", &format!("/v1/claims/{call}"), &house.other_shop, body).await.text);
        }
        assert_eq!(told[0], told[1], "{call}");
    }
    // Its maker cannot undo what its owner said.
    let resumed = house.call("POST", "/v1/devices/d-1/resume", &house.maker, json!({})).await;
    assert_eq!(resumed.code(), "device.suspended", "{}", resumed.text);
    assert_eq!(house.send("DELETE", path, &p2, &[], None).await.status, 403);
    assert_eq!(house.send("DELETE", path, &p1, &[], None).await.status, 204);
    assert_eq!(house.get("/v1/devices/d-1", &shop).await.json["suspended"], false);
    house.used("d-1", 1.0).await;
    let trail = house.get("/v1/audit?target=profiles/p1", &shop).await.text;
    assert!(trail.contains("PUT /v1/me/devices/{device}/stolen"), "{trail}");
}

#[tokio::test]
async fn support_says_it_for_a_customer_and_what_its_maker_said_before_holds_again() {
    let house = house().await;
    let support = house.token("shop-a", "support").await;
    registered(&house, "d-1", "TH-1").await;
    claims(&house, "d-1", "p1").await;
    house.ok("POST", "/v1/devices/d-1/suspend", &house.maker, json!({"reason": "recalled"})).await;
    let told = house.ok("PUT", "/v1/devices/d-1/stolen", &support, json!({})).await;
    assert_eq!(told["stolen"], true, "{told}");
    for (token, status) in [(&house.other_shop, 404), (&house.maker, 403)] {
        assert_eq!(house.call("PUT", "/v1/devices/d-1/stolen", token, json!({})).await.status, status);
    }
    assert_eq!(house.send("DELETE", "/v1/devices/d-1/stolen", &support, &[], None).await.status, 204);
    let after = house.get("/v1/devices/d-1", &house.maker).await.json;
    assert_eq!((&after["stolen"], &after["suspended"]), (&json!(false), &json!(true)), "{after}");
    assert!(after["health"].to_string().contains("suspended: recalled"), "{after}");
    house.ok("POST", "/v1/devices/d-1/resume", &house.maker, json!({})).await;
}

#[tokio::test]
async fn a_buyer_is_told_whether_a_serial_can_be_claimed_and_nothing_else() {
    let house = house().await;
    registered(&house, "d-1", "TH-1").await;
    let (yes, no) = (json!({"claimable": true}), json!({"claimable": false}));
    assert_eq!(claimable(&house, "TH-1", "b1").await, yes);
    assert_eq!(claimable(&house, "TH-9", "b1").await, no, "there is none");
    claims(&house, "d-1", "p1").await;
    assert_eq!(claimable(&house, "TH-1", "b1").await, no, "somebody has it");
    house.ok("PUT", "/v1/devices/d-1/stolen", &house.shop, json!({})).await;
    assert_eq!(claimable(&house, "TH-1", "b1").await, no);
    // Given back while it is stolen it stays so: nobody links it either.
    house.ok("POST", "/v1/devices/d-1/release", &house.shop, json!({})).await;
    assert_eq!(claimable(&house, "TH-1", "b1").await, no);
    let link = json!({"device": "d-1", "profile": "p3", "role": "owner", "tz": "Europe/Paris"}).to_string();
    let told = house.bulk("/v1/links:bulk", &house.shop, &[link]).await;
    assert_eq!(told[0]["error"]["code"], "device.suspended", "{}", told[0]);
    house.ok("POST", "/v1/devices/d-1/resume", &house.maker, json!({})).await;
    assert_eq!(claimable(&house, "TH-1", "b2").await, yes, "nobody's any more, and its maker let it go");
    for token in [&house.maker, &house.token("shop-b", "marketer").await] {
        assert_eq!(house.get("/v1/serials/TH-1/claimable?maker=acme", token).await.json, yes);
    }
    assert_eq!(house.get("/v1/serials/TH-1/claimable", OPERATOR).await.status, 403);
}

#[tokio::test]
async fn who_asks_for_many_serials_must_wait() {
    let house = house().await;
    registered(&house, "d-1", "TH-1").await;
    for n in 0..5 {
        assert_eq!(claimable(&house, &format!("X-{n}"), "b1").await, json!({"claimable": false}));
    }
    for serial in ["TH-1", "X-9"] {
        let told = house.get(&format!("/v1/serials/{serial}/claimable?profile=b1"), &house.other_shop).await;
        assert_eq!((told.status, told.code()), (429, "claim.locked"), "{}", told.text);
        assert!(told.json["retry_after_s"].as_u64().is_some_and(|seconds| seconds > 500), "{}", told.text);
    }
    assert_eq!(claimable(&house, "TH-1", "b2").await, json!({"claimable": true}), "nobody else of the shop waits");
}

#[tokio::test]
async fn a_token_that_names_a_new_customer_each_time_must_wait_too_and_many_at_once_are_no_more() {
    let house = house().await;
    registered(&house, "d-1", "TH-1").await;
    let path = |serial: &str, profile: &str| format!("/v1/serials/{serial}/claimable?profile={profile}");
    for n in 0..9 {
        assert_eq!(claimable(&house, "TH-1", "b1").await, json!({"claimable": true}), "{n}: a yes costs nothing");
    }
    let (x, shop) = (path("X-1", "b1"), &house.other_shop);
    let ask = || house.get(&x, shop);
    let told = tokio::join!(ask(), ask(), ask(), ask(), ask(), ask(), ask());
    let told = [told.0, told.1, told.2, told.3, told.4, told.5, told.6];
    assert_eq!(told.iter().filter(|told| told.status == 200).count(), 5);
    for n in 0..95 {
        assert_eq!(claimable(&house, "X-9", &format!("c{n}")).await, json!({"claimable": false}), "{n}");
    }
    let told = house.get(&path("X-9", "new"), &house.other_shop).await;
    assert_eq!((told.status, told.code()), (429, "claim.locked"), "{}", told.text);
    assert_eq!(house.get(&path("TH-1", "new"), &house.shop).await.status, 200, "another shop goes on");
    let body = json!({"tenant": "shop-a", "role": "service", "name": "t", "scopes": ["orders.status"]});
    let narrow = house.ok("POST", "/v1/tokens", OPERATOR, body).await["token"].as_str().unwrap().to_owned();
    assert_eq!(house.get(&path("TH-1", "new"), &narrow).await.status, 403);
}

#[tokio::test]
async fn no_word_of_a_tenant_is_taken_for_a_theft_and_none_hides_one() {
    let house = house().await;
    house.link("d-1", "p1").await;
    let forged = json!({"reason": "stolen, as its owner says; before: nothing"});
    let told = house.ok("POST", "/v1/devices/d-1/suspend", &house.maker, forged.clone()).await;
    assert_eq!((&told["suspended"], &told["stolen"]), (&json!(true), &json!(false)), "{told}");
    // A theft beside it is one, and ends without a trace of the other word being taken for it.
    let flagged = house.ok("PUT", "/v1/devices/d-1/stolen", &house.shop, json!({})).await;
    assert_eq!(flagged["stolen"], true, "{flagged}");
    assert_eq!(house.call("POST", "/v1/devices/d-1/resume", &house.maker, json!({})).await.status, 409);
    assert_eq!(house.send("DELETE", "/v1/devices/d-1/stolen", &house.shop, &[], None).await.status, 204);
    let after = house.get("/v1/devices/d-1", &house.shop).await.json;
    assert_eq!((&after["suspended"], &after["stolen"]), (&json!(true), &json!(false)), "{after}");
    let resumed = house.ok("POST", "/v1/devices/d-1/resume", &house.maker, json!({})).await;
    assert_eq!(resumed["suspended"], false, "{resumed}");
    // Said of one that is stolen already it is not lost, and is no theft when that has ended.
    house.ok("PUT", "/v1/devices/d-1/stolen", &house.shop, json!({})).await;
    house.ok("POST", "/v1/devices/d-1/suspend", &house.maker, forged).await;
    assert_eq!(house.send("DELETE", "/v1/devices/d-1/stolen", &house.shop, &[], None).await.status, 204);
    let after = house.get("/v1/devices/d-1", &house.shop).await.json;
    assert_eq!((&after["suspended"], &after["stolen"]), (&json!(true), &json!(false)), "{after}");
    assert_eq!(house.ok("POST", "/v1/devices/d-1/resume", &house.maker, json!({})).await["suspended"], false);
}
