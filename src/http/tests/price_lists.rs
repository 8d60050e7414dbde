//! Named price lists over HTTP.

use std::sync::Arc;

use hearthway_core::time::{Span, Timestamp};
use serde_json::{Value, json};
use tokio::sync::watch;

use super::{Disk, House, furnished, house, house_by, house_on, product, trigger};
use crate::webhook::tests::TurnedClock;

const START: Timestamp = Timestamp(1_800_000_000_000);
const LIST: &str = "/v1/prices/black-friday";

fn eur(minor: i64) -> Value {
    json!({"minor": minor, "currency": "EUR"})
}

fn item(product: &str, minor: i64, from: Timestamp, until: Option<Timestamp>) -> Value {
    json!({"product": product, "price": eur(minor), "from": from.to_string(), "until": until.map(|until| until.to_string())})
}

async fn shop() -> House {
    let house = house().await;
    for id in ["flt-1", "flt-2", "flt-3"] {
        house.ok("PUT", &format!("/v1/products/{id}"), &house.shop, product()).await;
    }
    house
}

async fn costs(house: &House, product: &str) -> Value {
    let quote = house.get(&format!("/v1/products/{product}/quote"), &house.shop).await.json;
    quote["price"]["item"]["minor"].clone()
}

#[tokio::test]
async fn a_list_is_set_as_a_whole_read_in_pages_and_ends() {
    let house = shop().await;
    let (then, now) = (house.app.now() - Span::hours(1), house.app.now());
    let later = Some(now + Span::hours(24));
    let items = json!({"items": [item("flt-2", 1500, then, later), item("flt-1", 1400, then, None)]});
    let set = house.ok("PUT", LIST, &house.shop, items.clone()).await;
    assert_eq!((&set["items"], &set["products"], &set["changed"]), (&json!(2), &json!(2), &json!(2)), "{set}");
    assert_eq!(costs(&house, "flt-1").await, 1400);
    assert_eq!(costs(&house, "flt-2").await, 1500);
    assert_eq!(costs(&house, "flt-3").await, 1990);
    assert_eq!(house.ok("PUT", LIST, &house.shop, items).await["changed"], 0, "what is so already changes nothing");

    let first = house.get(&format!("{LIST}?limit=1"), &house.shop).await;
    assert_eq!((first.header("etag"), &first.json["etag"]), (set["etag"].as_str().unwrap(), &set["etag"]));
    assert_eq!(first.json["items"], json!([item("flt-1", 1400, then, None)]));
    let next = first.json["next"].as_str().unwrap();
    let second = house.get(&format!("{LIST}?limit=1&cursor={next}"), &house.shop).await.json;
    assert_eq!((&second["items"], &second["next"]), (&json!([item("flt-2", 1500, then, later)]), &Value::Null));
    let page = house.call("PUT", LIST, &house.shop, first.json).await;
    assert_eq!((page.status, &page.json["pointer"]), (422, &json!("/next")), "a page is not the list: {}", page.text);
    let lists = house.get("/v1/prices", &house.shop).await.json;
    assert_eq!(lists["items"], json!([{"list": "black-friday", "products": 2}]));

    // What it names no more has its own price again, as soon as it is set.
    let only = house.get(LIST, &house.shop).await.json["items"][1].clone();
    house.ok("PUT", LIST, &house.shop, json!({"items": [only]})).await;
    assert_eq!((costs(&house, "flt-1").await, costs(&house, "flt-2").await), (json!(1990), json!(1500)));
    let ended = house.send("DELETE", LIST, &house.shop, &[], None).await;
    assert_eq!((ended.status, costs(&house, "flt-2").await), (204, json!(1990)));
    assert_eq!(house.get(LIST, &house.shop).await.status, 404);
    assert_eq!(house.send("DELETE", LIST, &house.shop, &[], None).await.status, 404);
    assert_eq!(house.get("/v1/prices", &house.shop).await.json["items"], json!([]));
}

#[tokio::test]
async fn all_that_is_wrong_is_told_with_its_place_and_nothing_is_applied() {
    let house = shop().await;
    let now = house.app.now();
    let until = Some(now + Span::hours(10));
    house.ok("PUT", LIST, &house.shop, json!({"items": [item("flt-1", 1400, now, None)]})).await;
    let before = house.get(LIST, &house.shop).await.text;
    let wrong = [
        (item("flt-1", 1300, now, until), None),
        (item("flt-9", 1300, now, until), Some("/product")),
        (item("flt-2", 0, now, until), Some("/price/minor")),
        (
            json!({"product": "flt-2", "price": {"minor": 900, "currency": "USD"}, "from": now.to_string()}),
            Some("/price/currency"),
        ),
        (item("flt-1", 1200, now + Span::hours(9), None), Some("/from")),
        (item("flt-3", 1200, now, Some(now)), Some("/until")),
        (json!({"product": "flt-3", "price": eur(900), "from": "tomorrow"}), Some("/from")),
    ];
    let told = |answer: &Value| -> Vec<(Value, Value)> {
        let problems = answer["problems"].as_array().unwrap();
        let words = problems.iter().filter_map(|problem| problem["message"].as_str());
        assert_eq!(
            words.filter(|words| words.contains("payload.invalid")).count(),
            0,
            "the code stands elsewhere: {answer}"
        );
        problems.iter().map(|problem| (problem["line"].clone(), problem["pointer"].clone())).collect()
    };
    // Some can only be seen where the others are right: first form and overlaps, then what products say.
    let rounds: [&[usize]; 2] = [&[2, 4, 5, 6], &[1, 3]];
    for round in rounds {
        let sent: Vec<&Value> = std::iter::once(0).chain(round.iter().copied()).map(|n| &wrong[n].0).collect();
        let answer = house.call("PUT", LIST, &house.shop, json!({"items": sent})).await;
        assert_eq!((answer.status, answer.code()), (422, "payload.invalid"), "{}", answer.text);
        let mut expected: Vec<(Value, Value)> = (1..)
            .zip(round)
            .map(|(at, n)| (Value::Null, json!(format!("/items/{at}{}", wrong[*n].1.unwrap()))))
            .collect();
        let mut found = told(&answer.json);
        expected.sort_by_key(|(_, pointer)| pointer.to_string());
        found.sort_by_key(|(_, pointer)| pointer.to_string());
        assert_eq!(found, expected, "{}", answer.text);

        let lines: Vec<String> = sent.iter().map(ToString::to_string).collect();
        let kind = [("content-type", "application/x-ndjson")];
        let answer = house.send("PUT", LIST, &house.shop, &kind, Some(lines.join("\n\n"))).await;
        let mut found = told(&answer.json);
        let mut expected: Vec<(Value, Value)> =
            (1..).zip(round).map(|(at, n)| (json!(2 * at + 1), json!(wrong[*n].1.unwrap()))).collect();
        expected.sort_by_key(|(line, _)| line.as_u64());
        found.sort_by_key(|(line, _)| line.as_u64());
        assert_eq!(found, expected, "{}", answer.text);
    }
    assert_eq!(house.get(LIST, &house.shop).await.text, before, "nothing half-applied");
    assert_eq!(costs(&house, "flt-2").await, 1990);
    for (body, pointer) in [(json!({"items": []}), "/items"), (json!({"items": vec![json!({}); 10_001]}), "/items")] {
        let answer = house.call("PUT", LIST, &house.shop, body).await;
        assert_eq!((answer.status, &answer.json["pointer"]), (422, &json!(pointer)), "{}", answer.text);
    }
    let amount = json!({"from": now.to_string(), "amount": eur(1000)});
    let mut promoted = product();
    promoted["promotions"] = json!([amount]);
    house.ok("PUT", "/v1/products/flt-2", &house.shop, promoted).await;
    let below = json!({"items": [item("flt-2", 900, now, until)]});
    let answer = house.call("PUT", LIST, &house.shop, below).await;
    assert_eq!(
        answer.json["problems"][0]["pointer"], "/items/0/price",
        "below what a promotion takes off: {}",
        answer.text
    );
}

#[tokio::test]
async fn a_products_own_window_holds_before_lists_and_lists_hold_by_their_names() {
    let house = shop().await;
    let now = house.app.now() - Span::hours(1);
    for (list, minor) in [("b-list", 1200), ("a-list", 1300)] {
        let items = json!({"items": [item("flt-1", minor, now, None)]});
        house.ok("PUT", &format!("/v1/prices/{list}"), &house.shop, items).await;
    }
    assert_eq!(costs(&house, "flt-1").await, 1300, "the first list by name");
    let mut own = product();
    own["prices"] = json!([{"from": now.to_string(), "price": eur(1700)}]);
    house.ok("PUT", "/v1/products/flt-1", &house.shop, own).await;
    assert_eq!(costs(&house, "flt-1").await, 1700, "its own window, and a PUT takes it out of no list");
    house.ok("PUT", "/v1/products/flt-1", &house.shop, product()).await;
    let shown = house.get("/v1/products/flt-1", &house.shop).await.json;
    let lists: Vec<&Value> = shown["lists"].as_array().unwrap().iter().map(|listed| &listed["list"]).collect();
    assert_eq!(lists, ["a-list", "b-list"]);
    // What was read can be written back, and a table or an import keeps the lists too.
    let mut again = shown.clone();
    again.as_object_mut().unwrap().remove("product");
    house.ok("PUT", "/v1/products/flt-1", &house.shop, again).await;
    let line = json!({"id": "flt-1", "name": {"en": "Filter"}, "price": eur(2100)}).to_string();
    house.bulk("/v1/products:import", &house.shop, &[line]).await;
    assert_eq!(costs(&house, "flt-1").await, 1300);
    let dollars = json!({"id": "flt-1", "name": {"en": "Filter"}, "price": {"minor": 2100, "currency": "USD"}});
    let told = house.call("PUT", "/v1/products/flt-1", &house.shop, dollars).await;
    assert!(told.status == 422 && told.text.contains("`a-list` (EUR), `b-list` (EUR)"), "{}", told.text);

    // A restart finds the lists where they were; a product that goes leaves them.
    let reopened = house_on(house.disk.clone()).await;
    let kept = reopened.app.rulebook.catalog().lists(&"shop-a".parse().unwrap());
    assert_eq!(
        kept.iter().map(|(list, products)| (list.as_str(), *products)).collect::<Vec<_>>(),
        [("a-list", 1), ("b-list", 1)]
    );
    house.send("DELETE", "/v1/products/flt-1", &house.shop, &[], None).await;
    assert_eq!(house.get("/v1/prices", &house.shop).await.json["items"], json!([]));
}

#[tokio::test]
async fn a_list_whose_products_grew_too_large_for_one_commit_still_shrinks_and_ends() {
    let house = house().await;
    let now = house.app.now();
    let ids: Vec<String> = (0..1_150).map(|n| format!("p-{n:04}")).collect();
    let import = async |names: &Value| {
        let line = |id: &String| json!({"id": id, "name": names, "price": eur(1000)}).to_string();
        for part in ids.chunks(200) {
            let told = house.bulk("/v1/products:import", &house.shop, &part.iter().map(line).collect::<Vec<_>>()).await;
            assert_eq!(told.last().unwrap()["summary"]["changed"], part.len(), "{told:?}");
        }
    };
    let list = |ids: &[String], minor: i64| {
        let items: Vec<Value> = ids.iter().map(|id| item(id, minor, now, None)).collect();
        json!({"items": items})
    };
    import(&json!({"en": "Small"})).await;
    house.ok("PUT", LIST, &house.shop, list(&ids, 900)).await;
    let languages = (0..38).map(|n| {
        let [a, b] = [n / 26, n % 26].map(|at| char::from(b'a' + at));
        (format!("{a}{b}"), json!("\u{1F600}".repeat(195)))
    });
    import(&Value::Object(std::iter::once(("en".to_owned(), json!("Large"))).chain(languages).collect())).await;
    let dearer = house.call("PUT", LIST, &house.shop, list(&ids, 950)).await;
    assert!(dearer.status == 422 && dearer.text.contains("MiB"), "{}", dearer.text);
    let one_less = house.ok("PUT", LIST, &house.shop, list(&ids[1..], 900)).await;
    assert_eq!((&one_less["items"], &one_less["changed"]), (&json!(1_149), &json!(1)), "{one_less}");
    let ended = house.send("DELETE", LIST, &house.shop, &[], None).await;
    assert_eq!((ended.status, costs(&house, "p-0007").await), (204, json!(1000)), "{}", ended.text);
}

#[tokio::test]
async fn two_who_set_a_list_at_once_do_not_write_each_other_over() {
    let house = shop().await;
    let now = house.app.now();
    let items = |minor: i64| json!({"items": [item("flt-1", minor, now, None)]}).to_string();
    let absent = house.send("PUT", LIST, &house.shop, &[("if-match", "*")], Some(items(1500))).await;
    assert_eq!((absent.status, absent.code()), (412, "precondition.failed"));
    house.send("PUT", LIST, &house.shop, &[], Some(items(1500))).await;
    let read = house.get(LIST, &house.shop).await.header("etag").to_owned();
    let first = house.send("PUT", LIST, &house.shop, &[("if-match", &read)], Some(items(1400))).await;
    assert_eq!(first.status, 200, "{}", first.text);
    let second = house.send("PUT", LIST, &house.shop, &[("if-match", &read)], Some(items(1300))).await;
    assert_eq!((second.status, costs(&house, "flt-1").await), (412, json!(1400)));
    let ended = house.send("DELETE", LIST, &house.shop, &[("if-match", &read)], None).await;
    assert_eq!(ended.status, 412, "{}", ended.text);
}

#[tokio::test]
async fn an_offers_price_is_locked_and_compared_with_lists_that_came_later() {
    let clock = Arc::new(TurnedClock(watch::Sender::new(START)));
    let house = furnished(house_by(Disk::new(), clock.clone()).await).await;
    house.ok("PUT", "/v1/products/flt-20x25", &house.shop, product()).await;
    let mut terms = trigger();
    terms["offer"]["price_lock"] = json!("1h");
    terms["offer"]["expires"] = json!("48h");
    house.ok("PUT", "/v1/triggers/filter-worn", &house.shop, terms).await;
    house.ok("POST", "/v1/triggers/filter-worn/publish", &house.shop, json!({})).await;
    house.ok("PUT", LIST, &house.shop, json!({"items": [item("flt-20x25", 1500, START, None)]})).await;
    let mut offers = Vec::new();
    for (device, profile) in [("d-1", "p1"), ("d-2", "p2")] {
        house.link(device, profile).await;
        house.used(device, 590.0).await;
        house.used(device, 612.0).await;
        let sent = house.get("/v1/offers?state=sent", &house.shop).await.json;
        let items = sent["items"].as_array().unwrap().clone();
        let offer = items.into_iter().find(|offer| offer["device"] == device).unwrap();
        assert_eq!(offer["price"]["total"]["minor"], 1500, "{offer}");
        offers.push((format!("/v1/offers/{}/answer", offer["offer"].as_str().unwrap()), profile));
    }
    house.ok("PUT", LIST, &house.shop, json!({"items": [item("flt-20x25", 1800, START, None)]})).await;
    let accept = |n: usize, rev: u32| {
        let (house, (path, profile)) = (&house, &offers[n]);
        let body = json!({"rev": rev, "answer": "accept", "channel": "app", "profile": profile});
        async move { house.call("POST", path, &house.shop, body).await }
    };
    let inside = accept(0, 1).await;
    assert_eq!(inside.status, 200, "{}", inside.text);
    let order = format!("/v1/orders/{}", inside.json["order"].as_str().unwrap());
    assert_eq!(house.get(&order, &house.shop).await.json["total"]["minor"], 1500, "the lock holds");
    clock.0.send_replace(START + Span::hours(2));
    let behind = accept(1, 1).await;
    assert_eq!((behind.status, behind.code()), (409, "offer.price_changed"), "{}", behind.text);
    let again = accept(1, 2).await;
    assert_eq!(again.status, 200, "{}", again.text);
    let order = format!("/v1/orders/{}", again.json["order"].as_str().unwrap());
    assert_eq!(house.get(&order, &house.shop).await.json["total"]["minor"], 1800);
}
