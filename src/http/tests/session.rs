//! A shop's side of the first session, from the product to the release.

use serde_json::json;

use super::{house, product, trigger};

#[tokio::test]
async fn an_offer_is_sold_once_explained_and_delivered() {
    let house = house().await;
    let shop = house.shop.clone();
    house.ok("PUT", "/v1/products/flt-20x25", &shop, product()).await;
    house.ok("PUT", "/v1/triggers/filter-worn", &shop, trigger()).await;
    assert_eq!(house.get("/v1/triggers/filter-worn", &shop).await.json["state"], "draft");
    let live = house.ok("POST", "/v1/triggers/filter-worn/publish", &shop, json!({})).await;
    assert_eq!((&live["state"], &live["version"]), (&json!("published"), &json!(1)));

    house.register("d-42").await;
    let code = house.claim_code("d-42").await;
    let preview = house.ok("POST", "/v1/claims/preview", &shop, json!({"code": code})).await;
    assert_eq!((&preview["device"], &preview["model"]), (&json!("d-42"), &json!("th-200")));
    assert_eq!(preview["purposes"], json!(["offers.device"]));
    let body = json!({
        "code": code, "profile": "p1", "display_name": "Maison", "tz": "Europe/Paris", "locale": "fr-FR",
        "consents": [{"purpose": "offers.device", "granted": true, "text_id": "t1"}],
    });
    let linked = house.call("POST", "/v1/claims/confirm", &shop, body).await;
    assert_eq!((linked.status, &linked.json["role"]), (201, &json!("owner")), "{}", linked.text);
    let household = linked.json["household"].as_str().unwrap().to_owned();

    house.used("d-42", 590.0).await;
    house.used("d-42", 612.0).await;
    let offers = house.get("/v1/offers?state=sent", &shop).await;
    let offer = offers.json["items"][0].clone();
    assert_eq!(offers.json["items"].as_array().unwrap().len(), 1, "{}", offers.text);
    assert_eq!((&offer["device"], &offer["household"]), (&json!("d-42"), &json!(household)));
    assert_eq!((&offer["trigger"], &offer["rev"], &offer["order"]), (&json!("filter-worn"), &json!(1), &json!(null)));
    assert_eq!(offer["price"]["total"], json!({"minor": 1990, "currency": "EUR"}));

    let path = format!("/v1/explain?household={household}&trigger=filter-worn");
    let why = house.get(&path, &shop).await;
    assert_eq!(
        (why.status, &why.json["verdict"], &why.json["first_block"]),
        (200, &json!("sent"), &json!(null)),
        "{}",
        why.text
    );
    let steps = why.json["steps"].as_array().unwrap();
    assert!(steps.iter().any(|step| step["step"] == "consent" && step["verdict"] == "pass"), "{}", why.text);
    assert!(why.json["decision"].as_str().unwrap().starts_with("de_"));
    let listed = house.get(&format!("/v1/decisions?household={household}"), &shop).await;
    assert_eq!(listed.json["items"][0]["decision"], why.json["decision"]);

    let id = offer["offer"].as_str().unwrap();
    let accept = json!({"rev": 1, "answer": "accept", "channel": "app", "profile": "p1"});
    let first = house.ok("POST", &format!("/v1/offers/{id}/answer"), &shop, accept).await;
    assert_eq!(first["state"], "accepted");
    let order = first["order"].as_str().unwrap().to_owned();
    // Another revision and another channel: the order of the first is told all the same.
    let again = json!({"rev": 9, "answer": "accept", "channel": "web"});
    let second = house.call("POST", &format!("/v1/offers/{id}/answer"), &shop, again).await;
    assert_eq!((second.status, second.code()), (409, "offer.already_accepted"), "{}", second.text);
    assert_eq!(second.json["order"], json!(order));

    let orders = house.get("/v1/orders?state=submitted", &shop).await;
    assert_eq!(orders.json["items"][0]["order"], json!(order), "{}", orders.text);
    let path = format!("/v1/orders/{order}/status");
    let wrong = house.call("POST", &path, &shop, json!({"rev": 5, "state": "shipped"})).await;
    assert_eq!(wrong.status, 409, "{}", wrong.text);
    let shipped = house.ok("POST", &path, &shop, json!({"rev": 2, "state": "shipped", "eta": "2026-12-01"})).await;
    assert_eq!(
        (&shipped["state"], &shipped["rev"], &shipped["eta"]),
        (&json!("shipped"), &json!(2), &json!("2026-12-01"))
    );
    let late = house.call("POST", &format!("/v1/orders/{order}/cancel"), &shop, json!({"channel": "app"})).await;
    assert_eq!((late.status, late.code()), (409, "order.not_cancellable"), "{}", late.text);
    house.ok("POST", &path, &shop, json!({"rev": 3, "state": "delivered"})).await;

    let person = house.get("/v1/profiles/p1", &shop).await.json;
    assert_eq!(person["links"][0]["device"], "d-42");
    assert_eq!(person["consents"][0]["purpose"], "offers.device");
    assert_eq!(person["orders"][0]["state"], "delivered");
    assert_eq!(person["households"][0]["household"], json!(household));

    let slots = house.get("/v1/devices/d-42/slots", &shop).await.json;
    assert_eq!(slots["items"][0]["used"], json!(612), "{slots}");
    let messages = house.get("/v1/devices/d-42/messages?last=2", &shop).await.json;
    assert_eq!(messages["items"].as_array().unwrap().len(), 2);
    assert_eq!(messages["items"][0]["topic"], "up/slot");
    let device = house.get("/v1/devices/d-42", &shop).await.json;
    assert_eq!((&device["link"]["state"], &device["suspended"]), (&json!("linked"), &json!(false)));

    let released = house.ok("POST", "/v1/devices/d-42/release", &shop, json!({})).await;
    assert_eq!(released["link"]["state"], "wipe_pending", "{released}");
    assert_eq!(house.get("/v1/devices/d-42", &shop).await.status, 404);
    assert_eq!(house.get("/v1/profiles/p1", &shop).await.json["links"], json!([]));
    assert_eq!(house.get(&format!("/v1/orders/{order}"), &shop).await.json["state"], "delivered");
}

#[tokio::test]
async fn five_wrong_codes_lock_the_token_also_for_the_right_one() {
    let house = house().await;
    house.register("d-1").await;
    let code = house.claim_code("d-1").await;
    for _ in 0..5 {
        let wrong = house.call("POST", "/v1/claims/preview", &house.shop, json!({"code": "2222-2222"})).await;
        assert_eq!((wrong.status, wrong.code()), (410, "claim.expired"), "{}", wrong.text);
    }
    let locked = house.call("POST", "/v1/claims/preview", &house.shop, json!({"code": code})).await;
    assert_eq!((locked.status, locked.code()), (429, "claim.locked"));
    assert!(!locked.header("retry-after").is_empty());
    let other = house.call("POST", "/v1/claims/preview", &house.other_shop, json!({"code": code})).await;
    assert_eq!(other.status, 200, "{}", other.text);
}

#[tokio::test]
async fn a_claim_needs_to_know_where_the_home_is() {
    let house = house().await;
    house.register("d-1").await;
    let code = house.claim_code("d-1").await;
    let homeless = house.call("POST", "/v1/claims/confirm", &house.shop, json!({"code": code, "profile": "p1"})).await;
    assert_eq!((homeless.status, &homeless.json["pointer"]), (422, &json!("/tz")), "{}", homeless.text);
    house.ok("PUT", "/v1/profiles/p1", &house.shop, json!({"display_name": "Maison", "tz": "Europe/Paris"})).await;
    let linked = house.call("POST", "/v1/claims/confirm", &house.shop, json!({"code": code, "profile": "p1"})).await;
    assert_eq!(linked.status, 201, "{}", linked.text);
}

#[tokio::test]
async fn when_a_device_is_used_is_shown_to_the_shop_and_to_the_customer_and_to_no_maker() {
    let house = house().await;
    house.link("d-1", "p1").await;
    let usage = async |token: &str| house.get("/v1/devices/d-1", token).await.json["usage"].clone();
    let touched = || {
        let event = hearthway_core::wire::EventUp { t: None, r#type: "touched".into(), data: Default::default() };
        hearthway_core::wire::DeviceMessage::Event(event)
    };
    house.device_says("d-1", touched()).await;
    assert_eq!(usage(&house.shop).await, json!(null), "nobody permitted it");
    let permit = |granted: bool| json!({"consents": [{"purpose": "profiling.usage", "granted": granted}]});
    house.ok("PUT", "/v1/profiles/p1/consents", &house.shop, permit(true)).await;
    house.device_says("d-1", touched()).await;
    let shown = usage(&house.shop).await;
    let uses: u64 = shown["hours"].as_array().unwrap().iter().map(|uses| uses.as_u64().unwrap()).sum();
    assert_eq!((uses, &shown["usual_hour"]), (1, &json!(null)), "one use is no habit: {shown}");
    assert_eq!(usage(&house.maker).await, json!(null));
    let export = house.get("/v1/profiles/p1/export", &house.shop).await.text;
    assert!(export.lines().any(|line| line.contains("\"kind\":\"usage\"")), "{export}");
    house.ok("PUT", "/v1/profiles/p1/consents", &house.shop, permit(false)).await;
    assert_eq!(usage(&house.shop).await, json!(null), "what nobody permits is forgotten");
}

#[tokio::test]
async fn a_device_is_claimed_released_and_claimed_again_and_again() {
    let house = house().await;
    let first = house.link("d-1", "p1").await;
    for _ in 0..2 {
        house.ok("POST", "/v1/devices/d-1/release", &house.shop, json!({})).await;
        house
            .device_says(
                "d-1",
                hearthway_core::wire::DeviceMessage::Lifecycle(hearthway_core::wire::LifecycleUp::Wiped),
            )
            .await;
        let again = house.link("d-1", "p1").await;
        assert_eq!(again["household"], first["household"]);
        assert_ne!(again["link"], first["link"]);
        assert_eq!(house.get("/v1/devices/d-1", &house.shop).await.json["link"]["state"], "linked");
    }
}

#[tokio::test]
async fn consents_are_set_in_the_home_and_a_link_is_ended_by_its_id() {
    let house = house().await;
    let linked = house.link("d-1", "p1").await;
    let body = json!({"consents": [{"purpose": "offers.device", "granted": false}, {"purpose": "profiling.usage", "granted": true, "text_id": "t2"}]});
    let set = house.ok("PUT", "/v1/profiles/p1/consents", &house.shop, body).await;
    let words: Vec<(&str, bool)> = set["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| (item["purpose"].as_str().unwrap(), item["granted"].as_bool().unwrap()))
        .collect();
    assert_eq!(words, [("offers.device", false), ("profiling.usage", true)]);

    let path = format!("/v1/links/{}", linked["link"].as_str().unwrap());
    assert_eq!(house.send("DELETE", &path, &house.other_shop, &[], None).await.status, 404);
    assert_eq!(house.send("DELETE", &path, &house.shop, &[], None).await.status, 204);
    assert_eq!(house.get("/v1/devices/d-1", &house.shop).await.status, 404);
    assert_eq!(house.send("DELETE", &path, &house.shop, &[], None).await.status, 404);
}

#[tokio::test]
async fn a_fleet_is_registered_and_linked_line_by_line_and_a_broken_line_is_alone() {
    let house = house().await;
    let line = |device: &str| json!({"maker": "acme", "device": device, "model": "th-200", "serial": null}).to_string();
    let lines = [line("d-1"), "{broken".into(), line("d-2"), line("D_3"), String::new(), line("d-1")];
    let told = house.bulk("/v1/devices:bulk", &house.maker, &lines).await;
    assert_eq!(told.len(), 5);
    assert_eq!(told[0]["secret"], "secret of acme/d-1 1");
    assert_eq!(told[1]["error"]["code"], "payload.invalid");
    assert_eq!(told[2]["username"], "acme/d-2");
    assert_eq!(told[3]["error"]["pointer"], "/device");
    assert_eq!(told[4], told[0]);

    let link = |device: &str| {
        json!({"device": device, "profile": "p7", "role": "owner", "tz": "Europe/Paris", "locale": "fr-FR",
            "consents": [{"purpose": "offers.device", "granted": true}]})
        .to_string()
    };
    let told = house.bulk("/v1/links:bulk", &house.shop, &[link("d-1"), link("d-9"), link("d-2")]).await;
    assert!(told[0]["link"].as_str().unwrap().starts_with("ln_"), "{}", told[0]);
    assert_eq!(told[1]["error"]["code"], "device.unknown");
    assert_eq!(told[2]["household"], told[0]["household"]);
}

#[tokio::test]
async fn a_serial_provisions_again_until_its_credential_is_used() {
    let house = house().await;
    let maker = hearthway_core::id::MakerId::new("acme").unwrap();
    let ask = |nonce: &'static str, serial: &'static str, model: &'static str| {
        let (app, maker) = (house.app.clone(), maker.clone());
        async move {
            let payload = json!({"serial": serial, "model": model}).to_string();
            let answer = app.provision(&maker, nonce, payload.as_bytes(), false).await;
            serde_json::from_slice::<serde_json::Value>(&answer).unwrap()["body"].clone()
        }
    };
    let first = ask("nonce-1-aaaaaaaaaaaaaaaaaa", "TH-0001", "th-200").await;
    assert!(first["device"].as_str().unwrap().starts_with("d-"), "{first}");
    assert_eq!(first["broker"], json!({"host": "127.0.0.1", "port": 1883, "tls": false}));
    assert_eq!(ask("nonce-1-aaaaaaaaaaaaaaaaaa", "TH-0001", "th-200").await, first);
    let replay = ask("nonce-1-aaaaaaaaaaaaaaaaaa", "TH-0002", "th-200").await;
    assert_eq!(replay["error"]["code"], "prov.replayed");
    let next = ask("nonce-2-aaaaaaaaaaaaaaaaaa", "TH-0001", "th-200").await;
    assert_eq!(next["device"], first["device"]);
    assert_ne!(next["secret"], first["secret"]);
    assert_eq!(ask("nonce-3-aaaaaaaaaaaaaaaaaa", "TH-0003", "no-such").await["error"]["code"], "desc.invalid");

    let key: hearthway_core::id::DeviceKey = first["username"].as_str().unwrap().parse().unwrap();
    let used = house.app.command(Some(&key), "login", b"", hearthway_core::input::Command::CredentialUsed);
    house.app.engine.call(crate::engine::Target::Device(key), used).await;
    let taken = ask("nonce-4-aaaaaaaaaaaaaaaaaa", "TH-0001", "th-200").await;
    assert_eq!(taken["error"]["code"], "prov.serial_taken");

    ask("nonce-5-aaaaaaaaaaaaaaaaaa", "TH-0005", "th-200").await;
    ask("nonce-6-aaaaaaaaaaaaaaaaaa", "TH-0006", "th-200").await;
    let full = ask("nonce-7-aaaaaaaaaaaaaaaaaa", "TH-0007", "th-200").await;
    assert_eq!(full["error"]["code"], "prov.quota", "{full}");
    let attempts = house.get("/v1/provisioning/attempts?limit=2", &house.maker).await.json;
    assert_eq!(attempts["items"][0]["error"]["code"], "prov.quota");
    assert_eq!(attempts["items"].as_array().unwrap().len(), 2);
}
