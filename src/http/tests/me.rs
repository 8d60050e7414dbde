//! Customers for themselves: what their token opens, and whose things it shows.

use serde_json::{Value, json};

use super::{House, OPERATOR, house, house_on, product, trigger};

async fn token_of(house: &House, profile: &str) -> String {
    let made = house.ok("POST", "/v1/tokens", &house.shop, json!({"role": "customer", "profile": profile})).await;
    made["token"].as_str().unwrap().to_owned()
}

/// `p1` owns `d-1` and `p2` buys there too; `d-2` in another home is `p3`'s. Each device has an offer.
async fn two_homes() -> House {
    let house = house().await;
    house.ok("PUT", "/v1/products/flt-20x25", &house.shop, product()).await;
    house.ok("PUT", "/v1/triggers/filter-worn", &house.shop, trigger()).await;
    house.ok("POST", "/v1/triggers/filter-worn/publish", &house.shop, json!({})).await;
    for (device, profile) in [("d-1", "p1"), ("d-2", "p3")] {
        house.link(device, profile).await;
    }
    house.ok("POST", "/v1/devices/d-1/members", &house.shop, json!({"profile": "p2", "role": "buyer"})).await;
    for device in ["d-1", "d-2"] {
        house.used(device, 20.0).await;
        house.used(device, 612.0).await;
    }
    house
}

async fn offers(house: &House, token: &str) -> Vec<Value> {
    let told = house.get("/v1/me/offers", token).await;
    assert_eq!(told.status, 200, "{}", told.text);
    told.json["items"].as_array().unwrap().clone()
}

#[tokio::test]
async fn a_customers_token_opens_me_and_nothing_else() {
    let house = two_homes().await;
    let me = token_of(&house, "p1").await;
    let (mut own, mut others) = (0, 0);
    for entry in crate::http::routes::all().into_iter().filter(|entry| !entry.open) {
        if entry.path == "/v1/me" || entry.path.starts_with("/v1/me/") {
            own += 1;
            // And nobody else's opens it.
            for token in [OPERATOR, &house.shop, &house.maker] {
                let path = entry.path.replace("{offer}", "of_x").replace("{device}", "d-1").replace("{grant}", "gr_x");
                let answer =
                    house.send(&entry.method.to_uppercase(), &path, token, &[], entry.body.map(str::to_owned)).await;
                assert_eq!(answer.status, 403, "{} {path}: {}", entry.method, answer.text);
            }
            continue;
        }
        others += 1;
        let path = entry.path.replace("{profile}", "p1").replace("{device}", "d-1").replace("{retailer}", "shop-a");
        let path: String = path.replace(['{', '}'], "");
        let answer = house.send(&entry.method.to_uppercase(), &path, &me, &[], entry.body.map(str::to_owned)).await;
        assert_eq!((answer.status, answer.code()), (403, "auth.scope"), "{} {path}: {}", entry.method, answer.text);
    }
    println!("{own} routes of their own, {others} refused");
    assert!(own >= 13 && others >= 90, "{own} {others}");
}

#[tokio::test]
async fn a_customer_sees_their_own_and_another_persons_things_look_like_none() {
    let house = two_homes().await;
    let (p1, p3) = (token_of(&house, "p1").await, token_of(&house, "p3").await);
    let me = house.get("/v1/me", &p1).await;
    assert_eq!((&me.json["profile"], me.json["links"].as_array().unwrap().len()), (&json!("p1"), 1));
    for hidden in ["offers", "orders", "flags", "households", "merged_from"] {
        assert!(me.json.get(hidden).is_none(), "{hidden}: {}", me.text);
    }
    let devices = house.get("/v1/me/devices", &p1).await;
    let first = &devices.json["items"][0];
    assert_eq!((&first["device"], &first["role"]), (&json!("d-1"), &json!("owner")), "{}", devices.text);
    assert_eq!(first["slots"][0]["used"], 612.0);

    let (mine, theirs) = (offers(&house, &p1).await, offers(&house, &p3).await);
    assert_eq!((mine.len(), theirs.len()), (1, 1));
    assert!(mine[0].get("trigger").is_none() && mine[0].get("priority").is_none(), "{}", mine[0]);
    for text in [&me.text, &devices.text, &mine[0].to_string()] {
        assert!(!text.contains("\"p2\"") && !text.contains("\"p3\"") && !text.contains("d-2"), "{text}");
    }
    // Whatever is another's, by its right name and by one that nobody has.
    let other = theirs[0]["offer"].as_str().unwrap();
    let nobodys = format!("of_{}", "a".repeat(24));
    let accept = json!({"rev": 1, "answer": "accept"});
    for (method, path, body) in [
        ("GET", "/v1/me/offers/{}", json!({})),
        ("POST", "/v1/me/offers/{}/answer", accept),
        ("GET", "/v1/me/why/{}", json!({})),
    ] {
        let answers = [other, &nobodys].map(|id| (path.replace("{}", id), id.to_owned()));
        let mut told = Vec::new();
        for (path, id) in answers {
            let answer = house.call(method, &path, &p1, body.clone()).await;
            told.push((answer.status, answer.text.replace(&id, "it")));
        }
        assert_eq!((told[0].0, &told[0]), (404, &told[1]), "{method} {path}");
    }
    for (path, body) in [("/v1/me/release/DEVICE", json!({})), ("/v1/me/preferences", json!({"devices": ["DEVICE"]}))] {
        let mut told = Vec::new();
        for device in ["d-2", "d-99"] {
            let body: Value = serde_json::from_str(&body.to_string().replace("DEVICE", device)).unwrap();
            let method = if path.contains("release") { "POST" } else { "PUT" };
            let answer = house.call(method, &path.replace("DEVICE", device), &p1, body).await;
            assert!(answer.status >= 400, "{}", answer.text);
            told.push((answer.status, answer.text.replace(device, "it")));
        }
        assert_eq!(told[0], told[1], "{path}");
    }
    assert_eq!(offers(&house, &p3).await[0]["state"], theirs[0]["state"], "nothing of it was changed");
}

#[tokio::test]
async fn who_came_to_a_home_later_does_not_see_what_was_offered_before_and_a_child_sees_nothing() {
    let house = two_homes().await;
    house.ok("POST", "/v1/devices/d-1/members", &house.shop, json!({"profile": "p4", "role": "viewer"})).await;
    let (p2, p4) = (token_of(&house, "p2").await, token_of(&house, "p4").await);
    assert_eq!(offers(&house, &p2).await.len(), 1);
    assert_eq!(offers(&house, &p4).await, Vec::<Value>::new());
    house.ok("PUT", "/v1/devices/d-1/members/p2", &house.shop, json!({"role": "child"})).await;
    assert_eq!(offers(&house, &p2).await, Vec::<Value>::new());
}

#[tokio::test]
async fn what_customers_do_for_themselves_is_done_in_their_name_and_stands_in_the_trail() {
    let house = two_homes().await;
    let p1 = token_of(&house, "p1").await;
    let offer = offers(&house, &p1).await[0]["offer"].as_str().unwrap().to_owned();
    let path = format!("/v1/me/offers/{offer}/answer");
    // Whoever the body names: it is the token's.
    let told = house.ok("POST", &path, &p1, json!({"rev": 1, "answer": "accept", "profile": "p3"})).await;
    let order = house.get(&format!("/v1/orders/{}", told["order"].as_str().unwrap()), &house.shop).await;
    assert!(order.text.contains("\"p1\"") && !order.text.contains("\"p3\""), "{}", order.text);
    let again = house.call("POST", &path, &p1, json!({"rev": 1, "answer": "accept"})).await;
    assert_eq!((again.status, &again.json["order"]), (409, &told["order"]));

    let quiet = json!({"quiet": [{"from": "21:00", "to": "08:00"}], "devices": ["d-1"]});
    let told = house.ok("PUT", "/v1/me/preferences", &p1, quiet).await;
    assert_eq!(told, house.get("/v1/profiles/p1/preferences", &house.shop).await.json);
    let told = house
        .ok("PUT", "/v1/me/consents", &p1, json!({"consents": [{"purpose": "offers.device", "granted": false}]}))
        .await;
    assert_eq!((&told["items"][0]["granted"], &told["items"][0]["source"]), (&json!(false), &json!("app")));
    let data = house.get("/v1/me/data", &p1).await;
    assert_eq!(data.status, 200);
    let lines: Vec<Value> = data.text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((&lines[0]["kind"], &lines[0]["profile"]), (&json!("profile"), &json!("p1")));

    let trail = house.get("/v1/audit?target=profiles/p1", &house.shop).await;
    let actions: Vec<&str> =
        trail.json["items"].as_array().unwrap().iter().map(|item| item["action"].as_str().unwrap()).collect();
    let own = ["PUT /v1/me/consents", "PUT /v1/me/preferences", "POST /v1/me/offers/{offer}/answer"];
    assert_eq!(actions[..3], own, "{}", trail.text);
    assert_eq!(trail.json["items"][0]["role"], "customer");
    assert!(!trail.text.contains("/p1") && !trail.text.contains("\"p1"), "the trail names nobody: {}", trail.text);
    assert!(house.get("/v1/audit", OPERATOR).await.text.contains("/v1/tokens"));
    assert!(!house.get("/v1/audit", OPERATOR).await.text.contains("/v1/me"), "a customer's business");
}

#[tokio::test]
async fn why_is_told_in_the_customers_language_without_what_is_the_shops_own() {
    let house = two_homes().await;
    let mut about = trigger();
    about["audience"] = json!({"include": ["eco"]});
    about["limits"] = json!({"caps": [{"max": 3, "per": "all", "within": "7d"}], "budget": {"count": 500}});
    about["rollout"] = json!({"holdout": {"percent": 0.1, "salt": "x"}});
    about["test"] = json!([]);
    house.ok("PATCH", "/v1/profiles/p1", &house.shop, json!({"segments": ["eco"]})).await;
    house.ok("PUT", "/v1/triggers/filter-worn", &house.shop, about).await;
    house.ok("POST", "/v1/triggers/filter-worn/publish", &house.shop, json!({})).await;
    let p1 = token_of(&house, "p1").await;
    let decline = json!({"rev": 1, "answer": "decline"});
    let first = offers(&house, &p1).await[0]["offer"].as_str().unwrap().to_owned();
    house.ok("POST", &format!("/v1/me/offers/{first}/answer"), &p1, decline).await;
    house.used("d-1", 20.0).await;
    house.used("d-1", 613.0).await;
    let newest = offers(&house, &p1).await;
    assert_eq!(newest.len(), 2, "{newest:?}");
    let offer =
        newest.iter().find(|offer| offer["offer"] != first.as_str()).unwrap()["offer"].as_str().unwrap().to_owned();
    let path = format!("/v1/me/why/{offer}");
    for (language, group, agreed) in [
        ("fr-FR", "L'enseigne vous compte dans son groupe « eco ».", "avez accepté ces offres"),
        ("en", "The shop counts you among its group “eco”.", "agreed to such offers"),
    ] {
        let told = house.send("GET", &path, &p1, &[("accept-language", language)], None).await;
        assert_eq!(told.status, 200, "{}", told.text);
        let because = told.json["because"].to_string();
        assert!(because.contains(group) && because.contains(agreed), "{because}");
        assert_eq!(told.header("content-language"), &language[..2]);
        assert!(because.contains(" Europe/Paris"), "in the home's own time: {because}");
        for inner in ["budget", "holdout", "margin", "priority", "trigger", "numbers", "filter-worn", "\"p2\""] {
            assert!(!told.text.contains(inner), "{inner}: {}", told.text);
        }
        assert_eq!(told.json["consents"][0]["purpose"], "offers.device");
    }
}

#[tokio::test]
async fn an_owner_gives_the_device_back_for_all_and_others_for_themselves() {
    let house = two_homes().await;
    let (p1, p2) = (token_of(&house, "p1").await, token_of(&house, "p2").await);
    let told = house.ok("POST", "/v1/me/release/d-1", &p2, json!({})).await;
    assert_eq!(told["given_back"], "for_you");
    assert_eq!(house.get("/v1/me/devices", &p2).await.json["items"], json!([]));
    assert_eq!(house.get("/v1/me/devices", &p1).await.json["items"].as_array().unwrap().len(), 1);
    let told = house.ok("POST", "/v1/me/release/d-1", &p1, json!({})).await;
    assert_eq!(told["given_back"], "for_all");
    assert_eq!(house.get("/v1/me/devices", &p1).await.json["items"], json!([]));
    assert_eq!(house.call("POST", "/v1/me/release/d-1", &p1, json!({})).await.status, 404);
}

#[tokio::test]
async fn an_erased_customers_tokens_end_and_the_report_is_found_without_one() {
    let house = two_homes().await;
    let (p1, also, p3) = (token_of(&house, "p1").await, token_of(&house, "p1").await, token_of(&house, "p3").await);
    let told = house.call("DELETE", "/v1/me", &p1, json!({})).await;
    assert_eq!(told.status, 202, "{}", told.text);
    let report = told.json["report"].as_str().unwrap().to_owned();
    assert_eq!(told.header("location"), report);
    for token in [&p1, &also] {
        assert_eq!(house.get("/v1/me", token).await.status, 401);
    }
    assert_eq!(house.get("/v1/me", &p3).await.status, 200, "others go on");
    let mut told = house.get(&report, "").await;
    for _ in 0..500 {
        if told.json["state"] == "done" {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        told = house.get(&report, "").await;
    }
    assert_eq!((told.status, &told.json["state"]), (200, &json!("done")), "{}", told.text);
    assert!(told.json["report"]["keys_destroyed"].as_u64().unwrap() >= 1, "{}", told.text);
    for wrong in [report.replace("shop-a", "shop-b"), report.replace("er_", "er_a"), "/v1/erased/x/y".to_owned()] {
        assert_eq!(house.get(&wrong, "").await.status, 404, "{wrong}");
    }
    let made = house.call("POST", "/v1/tokens", &house.shop, json!({"role": "customer", "profile": "p1"})).await;
    assert_eq!(made.status, 404, "{}", made.text);
    // What was asked is in the trail, by a name that says nothing.
    let trail = house.get("/v1/audit", &house.shop).await;
    assert!(trail.text.contains("DELETE /v1/me"), "{}", trail.text);
}

#[tokio::test]
async fn a_customers_token_is_made_by_their_shop_for_a_while_and_survives_a_restart() {
    let house = two_homes().await;
    let shop = house.shop.clone();
    for (token, body, status, pointer) in [
        (&shop, json!({"role": "customer"}), 422, "/profile"),
        (&shop, json!({"role": "customer", "profile": "p99"}), 404, ""),
        (&house.other_shop, json!({"role": "customer", "profile": "p1"}), 404, ""),
        (&shop, json!({"role": "customer", "profile": "p1", "expires_in": 59}), 422, "/expires_in"),
        (&shop, json!({"role": "customer", "profile": "p1", "expires_in": 86401}), 422, "/expires_in"),
        (&shop, json!({"role": "customer", "profile": "p1", "tenant": "shop-a"}), 422, "/tenant"),
        (&shop, json!({"role": "customer", "profile": "p1", "scopes": ["offers.read"]}), 422, "/scopes"),
        (&shop, json!({"role": "support", "profile": "p1", "tenant": "shop-a"}), 422, "/profile"),
        (&shop, json!({"role": "support", "tenant": "shop-a"}), 403, ""),
        (&OPERATOR.to_owned(), json!({"role": "customer", "profile": "p1"}), 403, ""),
    ] {
        let answer = house.call("POST", "/v1/tokens", token, body.clone()).await;
        let told = answer.json["pointer"].as_str().unwrap_or_default();
        assert_eq!((answer.status, told), (status, pointer), "{body}: {}", answer.text);
    }
    let made =
        house.ok("POST", "/v1/tokens", &shop, json!({"role": "customer", "profile": "p1", "expires_in": 60})).await;
    let (id, token) = (made["id"].as_str().unwrap(), made["token"].as_str().unwrap().to_owned());
    let wrong = format!("{}x", &token[..token.len() - 1]);
    assert_eq!(house.get("/v1/me", &wrong).await.status, 401);
    // The shop ends it, another cannot.
    let path = format!("/v1/tokens/{id}");
    assert_eq!(house.call("DELETE", &path, &house.other_shop, json!({})).await.status, 404);
    assert_eq!(house.get("/v1/me", &token).await.status, 200);
    assert_eq!(house.call("DELETE", &path, &shop, json!({})).await.status, 204);
    assert_eq!(house.get("/v1/me", &token).await.status, 401);
    // As many as sixteen; the seventeenth ends the one that would have ended first.
    let earlier = json!({"role": "customer", "profile": "p1", "expires_in": 3_000});
    let first = house.ok("POST", "/v1/tokens", &shop, earlier).await["token"].as_str().unwrap().to_owned();
    for _ in 0..16 {
        token_of(&house, "p1").await;
    }
    assert_eq!(house.get("/v1/me", &first).await.status, 401);
    let kept = token_of(&house, "p3").await;
    let again = house_on(house.disk.clone()).await;
    assert_eq!(again.get("/v1/me", &kept).await.json["profile"], "p3");
    assert_eq!(again.get("/v1/me", &first).await.status, 401);
}

#[tokio::test]
async fn a_merged_customer_is_who_they_are_by_now() {
    let house = two_homes().await;
    let p3 = token_of(&house, "p3").await;
    house.ok("POST", "/v1/profiles/merge", &house.shop, json!({"from": "p3", "into": "p1"})).await;
    assert_eq!(house.get("/v1/me", &p3).await.json["profile"], "p1");
    let told = house.call("PUT", "/v1/me/preferences", &p3, json!({"frequency": {"per_day": 1}})).await;
    assert_eq!(told.status, 200, "{}", told.text);
    assert_eq!(house.get("/v1/me/devices", &p3).await.json["items"].as_array().unwrap().len(), 2);
}
