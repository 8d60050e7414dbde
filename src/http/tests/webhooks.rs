//! Webhooks from the call that makes one to the event that arrives.

use std::sync::Arc;

use hearthway_core::time::{Span, Timestamp};
use serde_json::{Value, json};
use tokio::sync::watch;

use super::{Disk, House, OPERATOR, furnished, house, house_by, product, trigger};
use crate::engine::events::EventRow;
use crate::store::codec::{self, Schema};
use crate::store::keys::{Key, table};
use crate::store::{SCAN_ROWS_MAX, Store};
use crate::webhook::receiver::{Receiver, Say};
use crate::webhook::tests::TurnedClock;

async fn hook(house: &House, token: &str, name: &str, body: Value) -> Value {
    house.ok("PUT", &format!("/v1/webhooks/{name}"), token, body).await
}

/// The line of a delivered event in the log; it stands there a moment after its receiver had it.
async fn line_of(house: &House, event: &str) -> Value {
    for _ in 0..2_000 {
        let log = house.get("/v1/webhooks/orders/deliveries?state=delivered&limit=100", &house.shop).await.json;
        if let Some(line) = log["items"].as_array().unwrap().iter().find(|line| line["event"] == event) {
            return line.clone();
        }
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    panic!("{event} is not told");
}

#[tokio::test]
async fn an_accepted_offer_becomes_a_signed_order_with_all_that_its_shop_needs() {
    let house = house().await;
    let receiver = Receiver::start(|_, _| Say::Status(204)).await;
    let made = hook(&house, &house.shop, "orders", json!({"url": receiver.url()})).await;
    let secret = made["secret"].as_str().unwrap().to_owned();
    assert!(secret.starts_with("whsec_") && made["types"].as_array().unwrap().len() > 20, "{made}");

    house.ok("PUT", "/v1/products/flt-20x25", &house.shop, product()).await;
    house.ok("PUT", "/v1/triggers/filter-worn", &house.shop, trigger()).await;
    house.ok("POST", "/v1/triggers/filter-worn/publish", &house.shop, json!({})).await;
    let household = house.link("d-1", "p1").await["household"].as_str().unwrap().to_owned();
    house.used("d-1", 590.0).await;
    house.used("d-1", 612.0).await;
    let offers = house.get("/v1/offers?state=sent", &house.shop).await;
    let offer = offers.json["items"][0]["offer"].as_str().unwrap().to_owned();
    let accept = json!({"rev": 1, "answer": "accept", "channel": "app", "profile": "p1"});
    let order = house.ok("POST", &format!("/v1/offers/{offer}/answer"), &house.shop, accept).await["order"].clone();

    let heard = receiver.until(1, |heard| heard.kind() == "order.requested").await.remove(0);
    assert!(heard.is_signed_by(&secret));
    assert_eq!(heard.path, "/hook?from=hearthway");
    assert_eq!(heard.headers["content-type"], "application/cloudevents+json; charset=utf-8");
    assert_eq!(heard.headers["webhook-id"], heard.id());
    let event = &heard.event;
    assert_eq!(
        (&event["specversion"], &event["source"], &event["subject"]),
        (&json!("1.0"), &json!("/retailers/shop-a"), &json!(household))
    );
    let data = &event["data"];
    assert_eq!(
        (&data["order"], &data["offer"], &data["household"], &data["device"], &data["profile"], &data["trigger"]),
        (&order, &json!(offer), &json!(household), &json!("d-1"), &json!("p1"), &json!("filter-worn"))
    );
    let price = json!({"minor": 1990, "currency": "EUR"});
    assert_eq!(data["lines"], json!([{"product": "flt-20x25", "qty": 1, "price": price}]));
    assert_eq!((&data["total"], &data["fulfil"], &data["channel"]), (&price, &json!("deliver"), &json!("app")));
    // Of one home, in the order in which it happened; names of people are in none.
    let kinds: Vec<String> = receiver
        .heard()
        .iter()
        .filter(|heard| heard.subject() == household)
        .map(|heard| heard.kind().to_owned())
        .collect();
    assert_eq!(kinds, ["consent.changed", "offer.sent", "offer.answered", "order.requested"]);
    let told = receiver.until(1, |heard| heard.kind() == "device.linked").await.remove(0);
    assert_eq!((told.subject(), &told.event["data"]["profile"]), ("acme/d-1", &json!("p1")));
    receiver.until(1, |heard| heard.kind() == "trigger.published").await;
    assert!(receiver.heard().iter().all(|heard| !String::from_utf8_lossy(&heard.body).contains("Maison")));

    let line = line_of(&house, heard.id()).await;
    assert_eq!((&line["attempts"], &line["last"]["status"]), (&json!(1), &json!(204)), "{line}");
}

#[tokio::test]
async fn a_maker_hears_of_its_devices_and_of_nobody_who_has_one() {
    let house = house().await;
    let receiver = Receiver::start(|_, _| Say::Status(200)).await;
    hook(&house, &house.maker, "devices", json!({"url": receiver.url(), "types": ["device.*"]})).await;
    let linked = house.link("d-1", "p1").await;
    house.ok("POST", "/v1/devices/d-1/suspend", &house.shop, json!({"reason": "stolen"})).await;
    house.ok("POST", "/v1/devices/d-1/resume", &house.shop, json!({})).await;
    house.ok("POST", "/v1/devices/d-1/release", &house.shop, json!({})).await;
    let heard = receiver.until(5, |_| true).await;
    let kinds: Vec<&str> = heard.iter().map(|heard| heard.kind()).collect();
    let health = "device.health_changed";
    assert_eq!(kinds, ["device.registered", "device.linked", health, health, "device.released"]);
    assert_eq!(
        (&heard[2].event["data"]["was"], &heard[2].event["data"]["health"]),
        (&json!([]), &json!(["suspended"]))
    );
    for heard in &heard {
        let text = String::from_utf8_lossy(&heard.body).into_owned();
        let household = linked["household"].as_str().unwrap();
        assert!(!text.contains("p1") && !text.contains(household) && !text.contains("shop-a"), "{text}");
        assert_eq!((heard.subject(), &heard.event["source"]), ("acme/d-1", &json!("/makers/acme")));
    }
    let refused =
        house.call("PUT", "/v1/webhooks/x", &house.maker, json!({"url": receiver.url(), "types": ["order.*"]})).await;
    assert_eq!((refused.status, &refused.json["pointer"]), (422, &json!("/types/0")), "{}", refused.text);
}

#[tokio::test]
async fn a_webhook_is_made_changed_rotated_tried_and_deleted() {
    let house = house().await;
    let receiver = Receiver::start(|_, _| Say::Status(204)).await;
    let body = json!({"url": receiver.url(), "types": ["order.requested", "offer.*"]});
    let made = house.call("PUT", "/v1/webhooks/orders", &house.shop, body.clone()).await;
    assert_eq!(made.status, 201, "{}", made.text);
    let first = made.json["secret"].as_str().unwrap().to_owned();
    assert_eq!(made.json["types"].as_array().unwrap().len(), 6, "{}", made.text);
    let again = house.call("PUT", "/v1/webhooks/orders", &house.shop, body.clone()).await;
    assert_eq!((again.status, &again.json["secret"]), (200, &Value::Null), "shown once");
    let shown = house.get("/v1/webhooks/orders", &house.shop).await;
    assert_eq!((shown.status, &shown.json["secret"], &shown.json["state"]), (200, &Value::Null, &json!("active")));
    let stale =
        house.send("PUT", "/v1/webhooks/orders", &house.shop, &[("if-match", "\"x\"")], Some(body.to_string())).await;
    assert_eq!(stale.status, 412, "{}", stale.text);
    let fresh = shown.header("etag").to_owned();
    let fits =
        house.send("PUT", "/v1/webhooks/orders", &house.shop, &[("if-match", &fresh)], Some(body.to_string())).await;
    assert_eq!(fits.status, 200, "{}", fits.text);

    let tested = house.ok("POST", "/v1/webhooks/orders/test", &house.shop, json!({})).await;
    assert_eq!((&tested["delivered"], &tested["status"]), (&json!(true), &json!(204)), "{tested}");
    let rotated = house.ok("POST", "/v1/webhooks/orders/rotate", &house.shop, json!({})).await;
    let second = rotated["secret"].as_str().unwrap().to_owned();
    assert!(second != first && rotated["former_secret_until"].is_string(), "{rotated}");
    house.ok("POST", "/v1/webhooks/orders/test", &house.shop, json!({})).await;
    let heard = receiver.until(2, |heard| heard.kind() == "webhook.test").await;
    assert!(heard[0].is_signed_by(&first) && !heard[0].is_signed_by(&second));
    assert!(heard[1].is_signed_by(&first) && heard[1].is_signed_by(&second), "both while receivers change over");
    assert_eq!(heard[0].event["id"], tested["event"]);

    let replayed =
        house.call("POST", "/v1/webhooks/orders/replay", &house.shop, json!({"from": "2026-01-01T00:00:00Z"})).await;
    assert_eq!((replayed.status, &replayed.json["replayed"]), (202, &json!(0)), "{}", replayed.text);
    assert_eq!(house.send("DELETE", "/v1/webhooks/orders", &house.shop, &[], None).await.status, 204);
    assert_eq!(house.get("/v1/webhooks/orders", &house.shop).await.status, 404);
    assert_eq!(house.get("/v1/webhooks", &house.shop).await.json["items"], json!([]));
    let made = hook(&house, &house.shop, "orders", body).await;
    assert!(made["secret"].as_str().unwrap() != first, "a name that is used again has another secret");
}

#[tokio::test]
async fn a_wrong_webhook_is_told_what_is_wrong_with_it() {
    let house = house().await;
    for (body, pointer, words) in [
        (json!({"url": "http://hooks.shop.example/x"}), "/url", "https only"),
        (json!({"url": "https://10.0.0.1/x"}), "/url", "10.0.0.1 is private"),
        (json!({"url": "https://169.254.169.254/latest/meta-data"}), "/url", "metadata"),
        (json!({"url": "https://hooks.shop.example:6379/"}), "/url", "port 6379"),
        (json!({"url": "https://me:secret@hooks.shop.example/"}), "/url", "name and password"),
        (json!({"url": "https://intranet/"}), "/url", "no public name"),
        (json!({"url": "nonsense"}), "/url", "no URL"),
        (json!({"url": "https://hooks.shop.example/", "types": []}), "/types", "at least one"),
        (
            json!({"url": "https://hooks.shop.example/", "types": ["order.requested", "order.eaten"]}),
            "/types/1",
            "order.eaten",
        ),
        (json!({"url": "https://hooks.shop.example/", "subject": ""}), "/subject", "1 to"),
        (json!({"url": "https://hooks.shop.example/", "secret": "mine"}), "/secret", "unknown field"),
        (json!({"types": ["order.requested"]}), "", "url"),
    ] {
        let answer = house.call("PUT", "/v1/webhooks/w", &house.shop, body.clone()).await;
        assert_eq!(
            (answer.status, answer.code(), &answer.json["pointer"]),
            (422, "payload.invalid", &json!(pointer)),
            "{body}: {}",
            answer.text
        );
        assert!(answer.json["detail"].as_str().unwrap().contains(words), "{body}: {}", answer.text);
    }
    assert_eq!(house.get("/v1/webhooks", &house.shop).await.json["items"], json!([]), "nothing was kept");
    for (method, path, body, words) in [
        ("POST", "/v1/webhooks/w/replay", json!({"from": "yesterday"}), "RFC 3339"),
        ("GET", "/v1/webhooks/w/deliveries?state=lost", json!({}), "`waiting`, `delivered` or `dead`"),
        ("GET", "/v1/webhooks/w/deliveries?cursor=x", json!({}), "cursor"),
    ] {
        hook(&house, &house.shop, "w", json!({"url": "https://hooks.shop.example/"})).await;
        let answer = house.call(method, path, &house.shop, body).await;
        assert_eq!(answer.status, 422, "{path}: {}", answer.text);
        assert!(answer.text.contains(words), "{path}: {}", answer.text);
    }
    for n in 0..9 {
        hook(&house, &house.shop, &format!("w{n}"), json!({"url": "https://hooks.shop.example/"})).await;
    }
    let one_more =
        house.call("PUT", "/v1/webhooks/more", &house.shop, json!({"url": "https://hooks.shop.example/"})).await;
    assert_eq!((one_more.status, one_more.code()), (409, "conflict"), "{}", one_more.text);
}

#[tokio::test]
async fn a_webhook_of_another_tenant_looks_like_a_missing_one() {
    let house = house().await;
    hook(&house, &house.shop, "orders", json!({"url": "https://hooks.shop.example/"})).await;
    let calls = [
        ("GET", "", Value::Null),
        ("DELETE", "", Value::Null),
        ("POST", "/rotate", json!({})),
        ("POST", "/test", json!({})),
        ("GET", "/deliveries", Value::Null),
        ("POST", "/replay", json!({"from": "2026-01-01T00:00:00Z"})),
    ];
    let mut compared = 0;
    for (method, rest, body) in calls {
        for token in [&house.other_shop, &house.maker] {
            let path = |name: &str| format!("/v1/webhooks/{name}{rest}");
            let there = house.call(method, &path("orders"), token, body.clone()).await;
            let nowhere = house.call(method, &path("nowhere"), token, body.clone()).await;
            assert_eq!((there.status, there.code()), (404, "not_found"), "{method} {rest}: {}", there.text);
            assert_eq!(there.text.replace("orders", "nowhere"), nowhere.text, "{method} {rest}");
            compared += 1;
        }
        assert_eq!(house.call(method, &format!("/v1/webhooks/orders{rest}"), OPERATOR, body.clone()).await.status, 403);
    }
    println!("{compared} calls with another tenant's token compared with a missing webhook");
    assert_eq!(house.get("/v1/webhooks", &house.other_shop).await.json["items"], json!([]));
    // The same name is another tenant's own webhook.
    hook(&house, &house.other_shop, "orders", json!({"url": "https://other.shop.example/"})).await;
    assert_eq!(house.get("/v1/webhooks/orders", &house.shop).await.json["url"], "https://hooks.shop.example/");
}

#[tokio::test]
async fn a_budget_is_told_when_an_order_brings_it_to_its_thresholds() {
    let house = house().await;
    let receiver = Receiver::start(|_, _| Say::Status(204)).await;
    hook(&house, &house.shop, "w", json!({"url": receiver.url(), "types": ["budget.threshold"]})).await;
    let mut limited = trigger();
    limited["limits"] = json!({"budget": {"count": 1}});
    house.ok("PUT", "/v1/products/flt-20x25", &house.shop, product()).await;
    house.ok("PUT", "/v1/triggers/filter-worn", &house.shop, limited).await;
    house.ok("POST", "/v1/triggers/filter-worn/publish", &house.shop, json!({})).await;
    house.link("d-1", "p1").await;
    house.used("d-1", 590.0).await;
    house.used("d-1", 612.0).await;
    let offers = house.get("/v1/offers?state=sent", &house.shop).await;
    let offer = offers.json["items"][0]["offer"].as_str().unwrap().to_owned();
    let accept = json!({"rev": 1, "answer": "accept", "channel": "app", "profile": "p1"});
    house.ok("POST", &format!("/v1/offers/{offer}/answer"), &house.shop, accept).await;
    let heard = receiver.until(2, |_| true).await;
    let told: Vec<Value> = heard.iter().map(|heard| heard.event["data"].clone()).collect();
    let reached = |percent: u32| json!({"trigger": "filter-worn", "percent": percent, "orders": 1});
    assert_eq!(told, [reached(90), reached(100)]);
    assert_eq!(heard[0].subject(), "filter-worn");
}

#[tokio::test]
async fn two_who_are_one_are_told_and_who_is_erased_is_told_last_and_kept_nowhere() {
    let house = house().await;
    let receiver = Receiver::start(|_, _| Say::Status(204)).await;
    hook(&house, &house.shop, "persons", json!({"url": receiver.url(), "types": ["profile.*"]})).await;
    for profile in ["p1", "p2"] {
        house.ok("PUT", &format!("/v1/profiles/{profile}"), &house.shop, json!({"display_name": "Maison"})).await;
    }
    let merge = json!({"from": "p2", "into": "p1"});
    let merge = house.ok("POST", "/v1/profiles/merge", &house.shop, merge).await["merge"].as_str().unwrap().to_owned();
    house.ok("POST", &format!("/v1/profiles/merges/{merge}/undo"), &house.shop, json!({})).await;
    let heard = receiver.until(2, |heard| heard.kind() == "profile.merged").await;
    for (heard, state) in heard.iter().zip(["merged", "undone"]) {
        let data = json!({"merge": merge, "from": "p2", "into": "p1", "state": state});
        assert_eq!((heard.subject(), &heard.event["data"]), ("p1", &data));
    }
    assert_ne!(heard[0].id(), heard[1].id());

    let begun = house.send("DELETE", "/v1/profiles/p2", &house.shop, &[], None).await.json;
    let heard = receiver.until(1, |heard| heard.kind() == "profile.erased").await.remove(0);
    let data = json!({"erase": begun["erase"], "profile": "p2", "merged": []});
    assert_eq!((heard.subject(), &heard.event["data"]), ("p2", &data));
    let done = house.get(&format!("/v1/erase/{}", begun["erase"].as_str().unwrap()), &house.shop).await.json;
    assert_eq!(done["state"], "done", "it is told after the keys are destroyed: {done}");
    let kept = done["report"]["kept"].as_array().unwrap();
    assert!(kept.iter().any(|kept| kept["what"].as_str().unwrap().contains("the event")), "{done}");
    // Told, it is gone, and so is what told of a merge that was taken back.
    let mut left = house.get("/v1/webhooks/persons/deliveries", &house.shop).await.json;
    for _ in 0..2_000 {
        if left["items"] == json!([]) {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        left = house.get("/v1/webhooks/persons/deliveries", &house.shop).await.json;
    }
    assert_eq!(left["items"], json!([]), "{left}");
    assert_eq!(house.get(&format!("/v1/profiles/merges/{merge}"), &house.shop).await.status, 404);
}

#[tokio::test]
async fn the_last_word_about_who_was_erased_is_tried_for_three_days_and_then_nobody_can_read_it() {
    let clock = Arc::new(TurnedClock(watch::Sender::new(Timestamp(1_774_000_000_000))));
    let pass = |span: Span| clock.0.send_modify(|now| *now = *now + span);
    let house = furnished(house_by(Disk::new(), clock.clone()).await).await;
    let receiver = Receiver::start(|_, _| Say::Status(500)).await;
    hook(&house, &house.shop, "persons", json!({"url": receiver.url(), "types": ["profile.erased"]})).await;
    house.ok("PUT", "/v1/profiles/p-marker-0451", &house.shop, json!({"display_name": "Maison"})).await;
    house.send("DELETE", "/v1/profiles/p-marker-0451", &house.shop, &[], None).await;
    receiver.until(1, |heard| heard.kind() == "profile.erased").await;
    let is_in_clear = || {
        let rows = house.disk.rows.scan(&[], None, SCAN_ROWS_MAX).unwrap();
        rows.iter().any(|(_, bytes)| bytes.windows(13).any(|part| part == b"p-marker-0451"))
    };
    let events = || house.app.engine.store().scan(&[table::EVENT], None, SCAN_ROWS_MAX).unwrap();
    let can_be_read = || {
        let read = |(key, bytes): &(Key, Vec<u8>)| codec::decode::<EventRow>(Schema::Event, key, bytes).is_ok();
        events().iter().filter(|row| read(row)).count()
    };
    let end_days = || house.app.idempotency.end_days(&house.app.engine, house.app.now()).unwrap();
    pass(Span::days(3));
    end_days();
    assert_eq!((events().len(), can_be_read()), (1, 1), "it is still tried");
    pass(Span::hours(26));
    end_days();
    assert_eq!(can_be_read(), 0, "its key is gone");
    assert!(!is_in_clear());
}
