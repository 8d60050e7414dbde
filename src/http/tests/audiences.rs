//! Audiences: who is in them, what triggers make of that, and what is told of them.

use serde_json::{Value, json};

use super::{House, OPERATOR, house, model, product, trigger};

const RULE: &str = "\"eco\" in profile.segments && device.kind == \"thermostat\"";

fn for_audience(audience: Value) -> Value {
    let mut trigger = trigger();
    trigger["audience"] = audience;
    trigger["test"] = json!([]);
    trigger
}

async fn publish(house: &House, audience: Value) {
    house.ok("PUT", "/v1/triggers/filter-worn", &house.shop, for_audience(audience)).await;
    house.ok("POST", "/v1/triggers/filter-worn/publish", &house.shop, json!({})).await;
}

/// Two homes of the shop, `d-1` of `p1` and `d-2` of `p2`, and a product.
async fn two_homes() -> (House, [String; 2]) {
    let house = house().await;
    house.ok("PUT", "/v1/products/flt-20x25", &house.shop, product()).await;
    let mut homes = Vec::new();
    for (device, profile) in [("d-1", "p1"), ("d-2", "p2")] {
        homes.push(house.link(device, profile).await["household"].as_str().unwrap().to_owned());
    }
    (house, homes.try_into().unwrap())
}

async fn put_list(house: &House, id: &str) {
    house.ok("PUT", &format!("/v1/audiences/{id}"), &house.shop, json!({"kind": "list"})).await;
}

async fn members(house: &House, id: &str, lines: &[Value]) -> Vec<Value> {
    let lines: Vec<String> = lines.iter().map(Value::to_string).collect();
    house.bulk(&format!("/v1/audiences/{id}/members:bulk"), &house.shop, &lines).await
}

/// Crosses the edge once more, and says what first stood in the way; null where the offer left.
async fn first_block(house: &House, device: &str, household: &str) -> Value {
    house.used(device, 20.0).await;
    house.used(device, 612.0).await;
    let path = format!("/v1/explain?household={household}&trigger=filter-worn");
    let told = house.send("GET", &path, &house.shop, &[("accept-language", "en")], None).await;
    let steps = told.json["steps"].as_array().unwrap().clone();
    steps.into_iter().find(|step| step["verdict"] == "block").unwrap_or(Value::Null)
}

async fn count(house: &House, id: &str, token: &str) -> [Value; 3] {
    let told = house.get(&format!("/v1/audiences/{id}/count"), token).await;
    assert_eq!(told.status, 200, "{}", told.text);
    ["households", "devices", "profiles"].map(|key| told.json[key].clone())
}

#[tokio::test]
async fn only_who_is_on_the_list_is_offered_something_and_consent_is_asked_all_the_same() {
    let (house, [first, second]) = two_homes().await;
    put_list(&house, "vip").await;
    publish(&house, json!({"audience": "vip"})).await;
    let told = members(&house, "vip", &[json!({"profile": "p1"}), json!({"profile": "p99"}), json!({"who": 1})]).await;
    assert_eq!(told[0], json!({"profile": "p1", "member": true}));
    assert_eq!(
        (&told[1]["error"]["code"], &told[2]["error"]["code"]),
        (&json!("not_found"), &json!("payload.invalid"))
    );

    assert_eq!(first_block(&house, "d-1", &first).await, Value::Null, "p1 is on the list");
    let block = first_block(&house, "d-2", &second).await;
    assert_eq!((&block["step"], &block["code"]), (&json!("audience"), &json!("not_in_audience")), "{block}");
    assert_eq!(block["numbers"]["audience"], "vip");

    // On the list and not asked: nobody without consent is contacted.
    members(&house, "vip", &[json!({"profile": "p2"})]).await;
    let no = json!({"consents": [{"purpose": "offers.device", "granted": false}]});
    house.ok("PUT", "/v1/profiles/p2/consents", &house.shop, no).await;
    assert_eq!(first_block(&house, "d-2", &second).await["step"], "consent");

    // Off the list again, the next decision knows.
    members(&house, "vip", &[json!({"profile": "p1", "remove": true})]).await;
    assert_eq!(first_block(&house, "d-1", &first).await["code"], "not_in_audience");
    for home in [&first, &second] {
        assert_eq!(house.app.engine.replay(home.parse().unwrap()).unwrap().differences, []);
    }
}

#[tokio::test]
async fn who_is_left_out_by_name_gets_nothing() {
    let (house, [first, second]) = two_homes().await;
    put_list(&house, "staff").await;
    publish(&house, json!({"except": ["staff"]})).await;
    members(&house, "staff", &[json!({"profile": "p1"})]).await;
    assert_eq!(first_block(&house, "d-1", &first).await["code"], "audience_excepted");
    assert_eq!(first_block(&house, "d-2", &second).await, Value::Null);
    // Whoever cannot be told to be outside of it counts as inside: unknown never sends.
    let rich = json!({"kind": "rule", "rule": "profile.loyalty_points > 500"});
    house.ok("PUT", "/v1/audiences/rich", &house.shop, rich).await;
    publish(&house, json!({"except": ["rich"]})).await;
    assert_eq!(first_block(&house, "d-2", &second).await["code"], "audience_excepted");
    house.ok("PATCH", "/v1/profiles/p2", &house.shop, json!({"loyalty": {"tier": null, "points": 3}})).await;
    assert_eq!(first_block(&house, "d-2", &second).await, Value::Null);
}

#[tokio::test]
async fn a_case_says_on_whose_lists_its_person_is() {
    let (house, _) = two_homes().await;
    put_list(&house, "vip").await;
    let mut wanted = trigger();
    wanted["audience"] = json!({"audience": "vip"});
    let answer = house.call("PUT", "/v1/triggers/filter-worn", &house.shop, wanted.clone()).await;
    assert_eq!(
        (answer.status, &answer.json["problems"][0]["code"]),
        (422, &json!("trigger.case_failed")),
        "{}",
        answer.text
    );
    wanted["test"][0]["given"]["lists"] = json!(["vip"]);
    house.ok("PUT", "/v1/triggers/filter-worn", &house.shop, wanted).await;
}

#[tokio::test]
async fn a_changed_rule_is_read_by_live_triggers_at_once_and_the_past_stays_as_it_was() {
    let (house, [first, second]) = two_homes().await;
    let shop = house.shop.clone();
    house.ok("PATCH", "/v1/profiles/p1", &shop, json!({"segments": ["eco"]})).await;
    let told = house.ok("PUT", "/v1/audiences/savers", &shop, json!({"kind": "rule", "rule": RULE})).await;
    assert_eq!((&told["version"], &told["triggers"]), (&json!(1), &json!([])));
    publish(&house, json!({"audience": "savers"})).await;
    assert_eq!(first_block(&house, "d-1", &first).await, Value::Null);
    let block = first_block(&house, "d-2", &second).await;
    assert_eq!(block["numbers"]["condition"], "\"eco\" in profile.segments", "{block}");
    assert_eq!(count(&house, "savers", &shop).await, [json!(1), json!(1), Value::Null]);

    let other = json!({"kind": "rule", "rule": "profile.loyalty_points >= 100"});
    let told = house.ok("PUT", "/v1/audiences/savers", &shop, other).await;
    assert_eq!((&told["version"], &told["triggers"]), (&json!(2), &json!(["filter-worn"])));
    house.ok("PATCH", "/v1/profiles/p2", &shop, json!({"loyalty": {"tier": null, "points": 120}})).await;
    assert_eq!(first_block(&house, "d-2", &second).await, Value::Null);
    let block = first_block(&house, "d-1", &first).await;
    assert_eq!((&block["code"], &block["numbers"]["version"]), (&json!("not_in_audience"), &json!(2)), "{block}");
    for home in [&first, &second] {
        assert_eq!(house.app.engine.replay(home.parse().unwrap()).unwrap().differences, []);
    }
}

#[tokio::test]
async fn what_is_wrong_with_an_audience_is_told_with_its_place() {
    let (house, _) = two_homes().await;
    let shop = house.shop.clone();
    put_list(&house, "vip").await;
    let wrong = async |id: &str, body: Value| {
        let answer = house.call("PUT", &format!("/v1/audiences/{id}"), &shop, body).await;
        let detail = answer.json["detail"].as_str().unwrap().to_owned();
        (answer.status, answer.json["pointer"].as_str().unwrap_or_default().to_owned(), detail)
    };
    let rule = |rule: &str| json!({"kind": "rule", "rule": rule});
    for (id, body, status, pointer, part) in [
        ("a", rule("profile.segmants == 3"), 422, "/rule", "at byte 9: there is no `profile.segmants`"),
        ("a", rule("telemetry.temperature < 17"), 422, "/rule", "at byte 1: `telemetry.temperature` changes by itself"),
        ("a", rule("local.hour > 9 && context.presence == \"away\""), 422, "/rule", "; at byte 19: `context.presence`"),
        ("a", rule("device.kind == \"oven\""), 422, "/rule", "thermostat"),
        ("a", json!({"kind": "rule"}), 422, "/rule", "write the condition"),
        ("a", json!({"kind": "list", "rule": RULE}), 422, "/rule", "a list has no rule"),
        ("a", json!({"kind": "crowd"}), 422, "/kind", "`crowd` is not among `rule` or `list`"),
        ("a", json!({"kind": "list", "about": " "}), 422, "/about", "1 to 200"),
        ("a", json!({"kind": "list", "colour": 1}), 422, "/colour", "unknown field"),
        ("a%20b", json!({"kind": "list"}), 422, "", "is not a valid audience"),
        ("vip", rule(RULE), 409, "", "of the other kind"),
    ] {
        let told = wrong(id, body.clone()).await;
        assert!(told.0 == status && told.1 == pointer && told.2.contains(part), "{body}: {told:?}");
    }
    // A trigger that names one that is not there, with the one that was meant.
    for key in ["audience", "except"] {
        let mut body = json!({});
        body[key] = json!("vips");
        let answer = house.call("PUT", "/v1/triggers/filter-worn", &shop, for_audience(body)).await;
        assert_eq!(answer.status, 422);
        let problem = &answer.json["problems"][0];
        assert_eq!(problem["code"], "trigger.unknown_audience", "{}", answer.text);
        assert_eq!(
            (&problem["pointer"], &problem["help"]),
            (&json!(format!("/audience/{key}")), &json!("did you mean `vip`?"))
        );
    }
    // A rule has no members; nobody is called like a mark, and no condition reads one.
    house.ok("PUT", "/v1/audiences/savers", &shop, rule(RULE)).await;
    let answer = house.call("POST", "/v1/audiences/savers/members:bulk", &shop, json!({"profile": "p1"})).await;
    assert_eq!(answer.status, 409, "{}", answer.text);
    let answer = house.call("PATCH", "/v1/profiles/p1", &shop, json!({"segments": ["@vip"]})).await;
    assert_eq!((answer.status, &answer.json["pointer"]), (422, &json!("/segments")));
    let sneaky = rule("\"@vip\" in profile.segments || size(profile.segments) > 0");
    house.ok("PUT", "/v1/audiences/sneaky", &shop, sneaky).await;
    members(&house, "vip", &[json!({"profile": "p1"})]).await;
    assert_eq!(count(&house, "sneaky", &shop).await[0], 0);
}

#[tokio::test]
async fn a_profile_that_is_written_anew_stays_on_its_lists_and_a_merged_one_counts_once() {
    let (house, _) = two_homes().await;
    let shop = house.shop.clone();
    put_list(&house, "vip").await;
    members(&house, "vip", &[json!({"profile": "p1"}), json!({"profile": "p2"})]).await;
    let told = house.ok("PUT", "/v1/profiles/p1", &shop, json!({"segments": ["eco"]})).await;
    assert_eq!((&told["segments"], &told["audiences"]), (&json!(["eco"]), &json!(["vip"])));
    assert_eq!(count(&house, "vip", &shop).await, [json!(2), json!(2), json!(2)]);
    let merge = house.ok("POST", "/v1/profiles/merge", &shop, json!({"from": "p2", "into": "p1"})).await;
    assert_eq!(count(&house, "vip", &shop).await, [json!(2), json!(2), json!(1)]);
    let undo = format!("/v1/profiles/merges/{}/undo", merge["merge"].as_str().unwrap());
    house.ok("POST", &undo, &shop, json!({})).await;
    assert_eq!(count(&house, "vip", &shop).await, [json!(2), json!(2), json!(2)]);
    // A line about a merged profile is refused as every other change of it.
    house.ok("POST", "/v1/profiles/merge", &shop, json!({"from": "p2", "into": "p1"})).await;
    let told = members(&house, "vip", &[json!({"profile": "p2", "remove": true})]).await;
    assert!(told[0]["error"]["message"].as_str().unwrap().contains("was merged into `p1`"), "{told:?}");
}

#[tokio::test]
async fn a_marketer_is_told_counts_and_no_small_one() {
    let (house, _) = two_homes().await;
    let marketer = house.token("shop-a", "marketer").await;
    put_list(&house, "vip").await;
    members(&house, "vip", &[json!({"profile": "p1"})]).await;
    house
        .ok("PUT", "/v1/audiences/all", &house.shop, json!({"kind": "rule", "rule": "device.kind == \"thermostat\""}))
        .await;
    assert_eq!(count(&house, "vip", &house.shop).await, [json!(1), json!(1), json!(1)]);
    assert_eq!(count(&house, "vip", &marketer).await, [Value::Null, Value::Null, Value::Null]);
    let told = house.get("/v1/audiences/vip/count", &marketer).await.json;
    assert_eq!(told["hidden_below"], 10);
    // Nine and a half are no ten: the tenth person makes the number known.
    for n in 0..10 {
        house.ok("PUT", &format!("/v1/profiles/x{n}"), &house.shop, json!({})).await;
    }
    let lines: Vec<Value> = (0..10).map(|n| json!({"profile": format!("x{n}")})).collect();
    members(&house, "vip", &lines).await;
    assert_eq!(count(&house, "vip", &house.shop).await, [json!(1), json!(1), json!(11)]);
    assert_eq!(count(&house, "vip", &marketer).await[2], Value::Null, "one of three is small: none is told");
    for (method, path, body) in [
        ("PUT", "/v1/audiences/vip", json!({"kind": "list"})),
        ("POST", "/v1/audiences/vip/members:bulk", json!({"profile": "p1"})),
        ("DELETE", "/v1/audiences/vip", json!({})),
        ("GET", "/v1/profiles/p1", json!({})),
    ] {
        assert_eq!(house.call(method, path, &marketer, body).await.status, 403, "{method} {path}");
    }
    let listed = house.get("/v1/audiences", &marketer).await;
    assert_eq!(listed.json["items"].as_array().unwrap().len(), 2);
    assert!(!listed.text.contains("\"p1\"") && !listed.text.contains("x3"), "{}", listed.text);
}

#[tokio::test]
async fn an_audience_that_a_live_trigger_names_stays_and_a_deleted_list_leaves_no_mark() {
    let (house, [first, _]) = two_homes().await;
    let shop = house.shop.clone();
    put_list(&house, "vip").await;
    publish(&house, json!({"audience": ["vip"]})).await;
    members(&house, "vip", &[json!({"profile": "p1"}), json!({"profile": "p2"})]).await;
    let answer = house.call("DELETE", "/v1/audiences/vip", &shop, json!({})).await;
    assert_eq!(answer.status, 409);
    assert!(answer.json["detail"].as_str().unwrap().contains("filter-worn"), "{}", answer.text);

    house.ok("POST", "/v1/triggers/filter-worn/pause", &shop, json!({})).await;
    assert_eq!(house.call("DELETE", "/v1/audiences/vip", &shop, json!({})).await.status, 204);
    assert_eq!(house.call("DELETE", "/v1/audiences/vip", &shop, json!({})).await.status, 404);
    assert_eq!(house.get("/v1/audiences/vip", &shop).await.status, 404);
    assert_eq!(house.get("/v1/profiles/p1", &shop).await.json["audiences"], json!([]));
    let facts = house.app.engine.facts(first.parse().unwrap()).await.unwrap().unwrap();
    assert!(facts.members.values().all(|member| member.segments.is_empty()), "{:?}", facts.members);
    // What names it cannot speak again, in any way.
    let answer = house.call("POST", "/v1/triggers/filter-worn/publish", &shop, json!({})).await;
    assert_eq!(answer.json["problems"][0]["code"], "trigger.unknown_audience", "{}", answer.text);
    // The same name again is another list, with nobody on it.
    put_list(&house, "vip").await;
    assert_eq!(count(&house, "vip", &shop).await, [json!(0), json!(0), json!(0)]);
}

#[tokio::test]
async fn an_audience_that_only_a_held_trigger_names_stays() {
    let (house, _) = two_homes().await;
    put_list(&house, "vip").await;
    put_list(&house, "staff").await;
    publish(&house, json!({"audience": "vip", "except": ["staff"]})).await;
    let mut changed = model();
    changed["slots"] = json!([]);
    house.ok("PUT", "/v1/models/th-200", OPERATOR, changed).await;
    assert_eq!(house.get("/v1/triggers/filter-worn", &house.shop).await.json["state"], "held");
    for id in ["vip", "staff"] {
        let answer = house.call("DELETE", &format!("/v1/audiences/{id}"), &house.shop, json!({})).await;
        assert!(answer.status == 409 && answer.text.contains("filter-worn"), "{}", answer.text);
    }
    house.ok("PUT", "/v1/models/th-200", OPERATOR, model()).await;
    assert_eq!(house.get("/v1/triggers/filter-worn", &house.shop).await.json["state"], "published");
}

#[tokio::test]
async fn who_is_erased_is_on_no_list() {
    let (house, _) = two_homes().await;
    put_list(&house, "vip").await;
    members(&house, "vip", &[json!({"profile": "p1"}), json!({"profile": "p2"})]).await;
    let erase = house.ok("DELETE", "/v1/profiles/p1", &house.shop, json!({})).await;
    let path = format!("/v1/erase/{}", erase["erase"].as_str().unwrap());
    for _ in 0..500 {
        if house.get(&path, &house.shop).await.json["state"] == "done" {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    assert_eq!(count(&house, "vip", &house.shop).await, [json!(1), json!(1), json!(1)]);
    let told = members(&house, "vip", &[json!({"profile": "p1"})]).await;
    assert_eq!(told[0]["error"]["code"], "not_found", "a line does not make a person: {told:?}");
}
