//! The people of a home, and units that take each other's place.

use hearthway_core::wire::{ClaimUp, DeviceMessage};
use serde_json::{Value, json};

use super::{House, OPERATOR, house, product, trigger};

async fn home(house: &House) -> String {
    house.ok("PUT", "/v1/products/flt-20x25", &house.shop, product()).await;
    house.ok("PUT", "/v1/triggers/filter-worn", &house.shop, trigger()).await;
    house.ok("POST", "/v1/triggers/filter-worn/publish", &house.shop, json!({})).await;
    house.link("d-1", "p1").await["household"].as_str().unwrap().to_owned()
}

async fn roles(house: &House, device: &str) -> Vec<(String, String)> {
    let told = house.get(&format!("/v1/devices/{device}/members"), &house.shop).await;
    let items = told.json["items"].as_array().unwrap().iter();
    let mut roles: Vec<(String, String)> =
        items.map(|it| (it["profile"].as_str().unwrap().to_owned(), it["role"].as_str().unwrap().to_owned())).collect();
    roles.sort();
    roles
}

fn of(roles: &[(&str, &str)]) -> Vec<(String, String)> {
    roles.iter().map(|(profile, role)| ((*profile).to_owned(), (*role).to_owned())).collect()
}

async fn worn(house: &House, device: &str) -> Value {
    house.used(device, 20.0).await;
    house.used(device, 612.0).await;
    house.get("/v1/offers?state=sent", &house.shop).await.json["items"][0]["offer"].clone()
}

#[tokio::test]
async fn an_owner_invites_and_only_who_may_buy_accepts() {
    let house = house().await;
    let shop = house.shop.clone();
    let household = home(&house).await;
    for (body, pointer) in [
        (json!({"invite": true, "role": "buyer"}), "/by"),
        (json!({"invite": true, "role": "buyer", "by": "p9"}), "/by"),
        (json!({"role": "buyer"}), "/profile"),
        (json!({"profile": "p2", "role": "king"}), "/role"),
    ] {
        let wrong = house.call("POST", "/v1/devices/d-1/members", &shop, body.clone()).await;
        assert_eq!(wrong.json["pointer"], pointer, "{body}: {}", wrong.text);
    }
    let invited = house
        .call("POST", "/v1/devices/d-1/members", &shop, json!({"invite": true, "role": "viewer", "by": "p1"}))
        .await;
    assert_eq!(invited.status, 201, "{}", invited.text);
    let code = invited.json["code"].as_str().unwrap().to_lowercase();
    let accept = json!({"code": code, "profile": "p2", "display_name": "Paul"});
    let foreign = house.call("POST", "/v1/invitations/accept", &house.other_shop, accept.clone()).await;
    assert_eq!(foreign.code(), "claim.expired", "another shop has no such invitation: {}", foreign.text);
    let joined = house.call("POST", "/v1/invitations/accept", &shop, accept.clone()).await;
    assert_eq!((joined.status, &joined.json["household"]), (201, &json!(household)), "{}", joined.text);
    let again = house.call("POST", "/v1/invitations/accept", &shop, accept).await;
    assert_eq!(again.code(), "claim.expired", "it serves once: {}", again.text);
    assert_eq!(roles(&house, "d-1").await, of(&[("p1", "owner"), ("p2", "viewer")]));
    let told = house.get("/v1/devices/d-1/household", &shop).await.json;
    assert_eq!((told["members"].as_array().unwrap().len(), &told["household"]), (2, &json!(household)));

    let offer = worn(&house, "d-1").await;
    let path = format!("/v1/offers/{}/answer", offer.as_str().unwrap());
    let by = |profile: &str| json!({"rev": 1, "answer": "accept", "channel": "app", "profile": profile});
    let refused = house.call("POST", &path, &shop, by("p2")).await;
    assert_eq!(refused.code(), "offer.not_allowed", "{}", refused.text);
    house.ok("PUT", "/v1/devices/d-1/members/p2", &shop, json!({"role": "buyer"})).await;
    house.ok("POST", &path, &shop, by("p2")).await;
    assert_eq!(house.get("/v1/orders", &shop).await.json["items"].as_array().unwrap().len(), 1);

    // Wrong codes are counted as those of claims are.
    for _ in 0..5 {
        let wrong = json!({"code": "AAAA-AAAA", "profile": "p7"});
        house.call("POST", "/v1/invitations/accept", &shop, wrong).await;
    }
    let locked =
        house.call("POST", "/v1/invitations/accept", &shop, json!({"code": "AAAA-AAAA", "profile": "p7"})).await;
    assert_eq!((locked.status, locked.code()), (429, "claim.locked"), "{}", locked.text);
}

#[tokio::test]
async fn who_leaves_takes_what_they_permitted_along_and_the_last_owner_stays() {
    let house = house().await;
    let shop = house.shop.clone();
    home(&house).await;
    let child = json!({"profile": "p3", "role": "child", "consents": [{"purpose": "offers.device", "granted": true}]});
    house.ok("POST", "/v1/devices/d-1/members", &shop, child).await;
    house.ok("POST", "/v1/devices/d-1/members", &shop, json!({"profile": "p2", "role": "buyer"})).await;
    let alone = house.send("DELETE", "/v1/devices/d-1/members/p1", &shop, &[], None).await;
    assert!(alone.code() == "offer.not_allowed" && alone.text.contains("release"), "{}", alone.text);
    let demoted = house.call("PUT", "/v1/devices/d-1/members/p1", &shop, json!({"role": "viewer"})).await;
    assert_eq!(demoted.code(), "offer.not_allowed", "{}", demoted.text);
    let mandate = json!({
        "profile": "p1", "device": "d-1", "products": ["flt-20x25"], "max_price": {"minor": 5000, "currency": "EUR"},
        "max_per_30d": 1, "expires_at": (house.app.now() + hearthway_core::time::Span::hours(24)).to_string(),
    });
    house.ok("PUT", "/v1/mandates/m-1", &shop, mandate).await;
    assert!(worn(&house, "d-1").await.is_string());

    house.ok("PUT", "/v1/devices/d-1/members/p2", &shop, json!({"role": "owner"})).await;
    assert_eq!(house.send("DELETE", "/v1/devices/d-1/members/p1", &shop, &[], None).await.status, 204);
    assert_eq!(roles(&house, "d-1").await, of(&[("p2", "owner"), ("p3", "child")]));
    // The offer rested on the consent of who left; a child's word does not stand for it.
    assert_eq!(house.get("/v1/offers?state=sent", &shop).await.json["items"], json!([]));
    assert_eq!(house.get("/v1/mandates/m-1", &shop).await.status, 404, "their mandate went with them");
    assert_eq!(house.get("/v1/profiles/p1", &shop).await.json["links"], json!([]));
    assert!(worn(&house, "d-1").await.is_null());
    let gone = house.send("DELETE", "/v1/devices/d-1/members/p1", &shop, &[], None).await;
    assert_eq!(gone.status, 404, "{}", gone.text);
}

#[tokio::test]
async fn a_new_unit_takes_the_place_of_the_old_one_and_the_old_one_is_blocked() {
    let house = house().await;
    let shop = house.shop.clone();
    let household = home(&house).await;
    house.ok("POST", "/v1/devices/d-1/members", &shop, json!({"profile": "p2", "role": "buyer"})).await;
    let mandate = json!({
        "profile": "p1", "device": "d-1", "products": ["flt-20x25"], "max_price": {"minor": 5000, "currency": "EUR"},
        "max_per_30d": 1, "expires_at": (house.app.now() + hearthway_core::time::Span::hours(24)).to_string(),
    });
    house.ok("PUT", "/v1/mandates/m-1", &shop, mandate).await;
    house.ok("PUT", "/v1/profiles/p1/preferences", &shop, json!({"devices": ["d-1"]})).await;
    assert!(worn(&house, "d-1").await.is_string());
    house.register("d-2").await;
    for (new, old, token, status) in [
        ("d-9", "d-1", &shop, 404),
        ("d-2", "d-9", &shop, 404),
        ("d-1", "d-1", &shop, 422),
        ("d-2", "d-1", &house.other_shop, 404),
    ] {
        let wrong = house.call("POST", &format!("/v1/devices/{new}/replace"), token, json!({"old": old})).await;
        assert_eq!(wrong.status, status, "{new} for {old}: {}", wrong.text);
    }
    let told = house.call("POST", "/v1/devices/d-2/replace", &shop, json!({"old": "d-1"})).await;
    assert_eq!((told.status, &told.json["device"]), (200, &json!("d-2")), "{}", told.text);
    assert_eq!(roles(&house, "d-2").await, of(&[("p1", "owner"), ("p2", "buyer")]));
    assert_eq!(house.get("/v1/devices/d-2/household", &shop).await.json["household"], json!(household));
    assert_eq!(house.get("/v1/mandates/m-1", &shop).await.json["device"], "d-2");
    assert_eq!(house.get("/v1/profiles/p1/preferences", &shop).await.json["devices"], json!(["d-2"]));
    assert_eq!(house.get("/v1/devices/d-2/slots", &shop).await.json["items"], json!([]), "its counters begin anew");
    assert_eq!(house.get("/v1/offers?state=sent", &shop).await.json["items"], json!([]), "the suggestion is over");
    assert!(worn(&house, "d-2").await.is_string(), "and computed again from the new unit's own reports");

    // The old one is nobody's, and nobody listens to it.
    assert_eq!(house.get("/v1/devices/d-1", &shop).await.status, 404);
    let seen = house.get("/v1/devices/d-1", OPERATOR).await.json;
    assert_eq!((&seen["suspended"], &seen["link"]["state"]), (&json!(true), &json!("wipe_pending")), "{seen}");
    let key: hearthway_core::id::DeviceKey = "acme/d-1".parse().unwrap();
    let filled = hearthway_core::input::Command::Resume;
    let input = house.app.command(Some(&key), "test", b"", filled);
    let start = hearthway_core::input::What::Device(DeviceMessage::Claim(ClaimUp::Start { presence: true }));
    let input = hearthway_core::input::Input { what: start, ..input };
    let outcome = house.app.engine.call(crate::engine::Target::Device(key), input).await;
    assert!(matches!(outcome, crate::engine::Outcome::Committed(Err(_))), "{outcome:?}");
    // Asked again after an answer that got lost: done is done.
    assert_eq!(house.call("POST", "/v1/devices/d-2/replace", &shop, json!({"old": "d-1"})).await.status, 200);
}

#[tokio::test]
async fn a_stolen_device_is_claimed_by_nobody_and_who_tries_learns_nothing() {
    let house = house().await;
    let shop = house.shop.clone();
    home(&house).await;
    let code = house.claim_code("d-1").await;
    house.ok("POST", "/v1/devices/d-1/suspend", &shop, json!({"reason": "stolen"})).await;
    let claim = |code: &str| json!({"code": code, "profile": "thief", "tz": "Europe/Paris"});
    let stolen = house.call("POST", "/v1/claims/confirm", &house.other_shop, claim(&code)).await;
    let unknown = house.call("POST", "/v1/claims/confirm", &house.other_shop, claim("AAAA-AAAA")).await;
    assert_eq!((stolen.status, stolen.code()), (unknown.status, unknown.code()), "{}", stolen.text);
    assert_eq!(roles(&house, "d-1").await, of(&[("p1", "owner")]));
}

#[tokio::test]
async fn a_person_who_is_erased_leaves_everything_and_gives_back_what_only_they_owned() {
    let house = house().await;
    let shop = house.shop.clone();
    home(&house).await;
    house.link("d-2", "p2").await;
    house.ok("POST", "/v1/devices/d-2/members", &shop, json!({"profile": "p1", "role": "buyer"})).await;
    house.ok("PATCH", "/v1/profiles/p1", &shop, json!({"identities": [{"type": "loyalty", "value": "1"}]})).await;
    let begun = house.send("DELETE", "/v1/profiles/p1", &shop, &[], None).await;
    assert_eq!(begun.status, 202, "{}", begun.text);
    let job = format!("/v1/erase/{}", begun.json["erase"].as_str().unwrap());
    while house.get(&job, &shop).await.json["state"] != "done" {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    assert_eq!(house.get("/v1/profiles/p1", &shop).await.status, 404);
    assert_eq!(house.get("/v1/devices/d-1", &shop).await.status, 404, "given back");
    assert_eq!(roles(&house, "d-2").await, of(&[("p2", "owner")]), "the others stay");
    let found = house.call("POST", "/v1/profiles/lookup", &shop, json!({"type": "loyalty", "value": "1"})).await;
    assert_eq!(found.status, 404, "{}", found.text);
    assert_eq!(house.send("DELETE", "/v1/profiles/p1", &shop, &[], None).await.status, 404);
    let anew = house.ok("PUT", "/v1/profiles/p1", &shop, json!({"display_name": "Somebody else"})).await;
    assert_eq!(anew["identities"], json!([]), "the same id is somebody new: {anew}");
    let history = house.get("/v1/profiles/p1/consents/history", &shop).await;
    assert_eq!(history.json["items"], json!([]), "and said nothing yet");
}

#[tokio::test]
async fn the_timeline_and_the_export_tell_a_person_everything_and_of_nobody_else() {
    let house = house().await;
    let shop = house.shop.clone();
    home(&house).await;
    let other = json!({"profile": "p2", "role": "buyer", "consents": [{"purpose": "share.seller", "granted": true}]});
    house.ok("POST", "/v1/devices/d-1/members", &shop, other).await;
    house.ok("PATCH", "/v1/profiles/p1", &shop, json!({"identities": [{"type": "loyalty", "value": "1"}]})).await;
    let offer = worn(&house, "d-1").await;
    let path = format!("/v1/offers/{}/answer", offer.as_str().unwrap());
    let accept = json!({"rev": 1, "answer": "accept", "channel": "app", "profile": "p1"});
    let order = house.ok("POST", &path, &shop, accept).await["order"].as_str().unwrap().to_owned();
    house.ok("POST", &format!("/v1/orders/{order}/status"), &shop, json!({"rev": 2, "state": "shipped"})).await;
    tokio::time::sleep(std::time::Duration::from_millis(2)).await;
    let no = json!({"consents": [{"purpose": "offers.device", "granted": false}]});
    house.ok("PUT", "/v1/profiles/p1/consents", &shop, no.clone()).await;
    house.ok("PUT", "/v1/profiles/p2/consents", &shop, no).await;

    let told = house.get("/v1/profiles/p1/timeline", &shop).await.json;
    let what: Vec<String> = told["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| {
            format!(
                "{} {} {}",
                it["what"].as_str().unwrap(),
                it["channel"].as_str().unwrap(),
                it["detail"].as_str().unwrap_or("-")
            )
        })
        .collect();
    assert_eq!(
        what,
        [
            "consent.set shop offers.device withdrawn",
            "order.status shop shipped",
            "offer.answered app accept",
            "offer.sent device filter-worn",
            "device.linked shop -",
        ]
    );
    let mut paged = Vec::new();
    let mut cursor = String::new();
    loop {
        let page = house.get(&format!("/v1/profiles/p1/timeline?limit=2{cursor}"), &shop).await.json;
        paged.extend(page["items"].as_array().unwrap().clone());
        let Some(next) = page["next"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    assert_eq!(json!(paged), told["items"], "page by page it is the same");

    let export = house.get("/v1/profiles/p1/export", &shop).await;
    assert_eq!(export.header("content-type"), "application/x-ndjson");
    let lines: Vec<Value> = export.text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let count = |kind: &str| lines.iter().filter(|line| line["kind"] == kind).count();
    let kinds =
        ["profile", "identity", "link", "consent", "consent_said", "device", "offer", "order", "decision", "message"];
    let found: Vec<usize> = kinds.iter().map(|kind| count(kind)).collect();
    assert_eq!(found, [1, 1, 1, 1, 2, 1, 1, 1, 1, 2], "{}", export.text);
    assert_eq!(count("happened"), 5);
    assert_eq!(lines.last().unwrap(), &json!({"kind": "end", "lines": lines.len() - 1}));
    assert!(!export.text.contains("\"p2\"") && !export.text.contains("share.seller"), "{}", export.text);
}

/// What somebody's export holds of what devices said: which, and how long the filter had run.
async fn readings(house: &House, profile: &str) -> Vec<(String, f64)> {
    let export = house.get(&format!("/v1/profiles/{profile}/export"), &house.shop).await;
    let lines = export.text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let slots = lines.filter(|line| line["kind"] == "message" && line["topic"] == "up/slot");
    let reading = |line: Value| (line["device"].as_str().unwrap().to_owned(), line["body"]["used"].as_f64().unwrap());
    let mut found: Vec<(String, f64)> = slots.map(reading).collect();
    found.reverse();
    found
}

#[tokio::test]
async fn a_person_is_told_what_a_device_said_while_it_was_theirs_also_after_it_is_sold_or_replaced() {
    let house = house().await;
    let shop = house.shop.clone();
    let household = home(&house).await;
    let a_moment = || tokio::time::sleep(std::time::Duration::from_millis(2));
    let claimed = async |device: &str, profile: &str| {
        if house.get(&format!("/v1/devices/{device}"), OPERATOR).await.status == 404 {
            house.register(device).await;
        }
        let body = json!({"code": house.claim_code(device).await, "profile": profile, "display_name": "Maison",
            "tz": "Europe/Paris", "locale": "fr-FR", "household": household, "consents": []});
        house.ok("POST", "/v1/claims/confirm", &shop, body).await;
        a_moment().await;
    };
    let offer = worn(&house, "d-1").await;
    a_moment().await;
    house.ok("POST", "/v1/devices/d-1/release", &shop, json!({})).await;
    a_moment().await;
    // Somebody else of the same home has it next, and the person has another one, and one in its place.
    claimed("d-1", "p2").await;
    house.used("d-1", 3.0).await;
    claimed("d-2", "p1").await;
    house.used("d-2", 50.0).await;
    a_moment().await;
    claimed("d-3", "p1").await;
    house.ok("POST", "/v1/devices/d-3/replace", &shop, json!({"old": "d-2"})).await;
    a_moment().await;
    house.used("d-3", 7.0).await;

    let reading = |device: &str, used: f64| (device.to_owned(), used);
    let of_p1 = [reading("d-1", 20.0), reading("d-1", 612.0), reading("d-2", 50.0), reading("d-3", 7.0)];
    assert_eq!(readings(&house, "p1").await, of_p1);
    assert_eq!(readings(&house, "p2").await, [reading("d-1", 3.0)]);
    for (profile, wanted) in [("p1", 1), ("p2", 0)] {
        let export = house.get(&format!("/v1/profiles/{profile}/export"), &shop).await;
        let lines: Vec<Value> = export.text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let offers = lines.iter().filter(|line| line["offer"] == offer && line["rev"].is_number()).count();
        assert_eq!(offers, wanted, "{profile}: {}", export.text);
    }
    let told = house.get("/v1/profiles/p1/timeline", &shop).await.json;
    let last = told["items"].as_array().unwrap().last().unwrap().clone();
    assert_eq!(
        (&last["what"], &last["device"]),
        (&json!("device.linked"), &json!("d-1")),
        "it begins with them: {told}"
    );
}
