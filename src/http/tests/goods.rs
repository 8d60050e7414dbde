//! Sellers, stores, stock and orders over HTTP.

use std::sync::Arc;

use hearthway_core::time::{Span, Timestamp};
use serde_json::{Value, json};
use tokio::sync::watch;

use super::{Disk, House, furnished, house, house_by, product, trigger};
use crate::store::keys::{KeyBuilder, table};
use crate::store::{Commit, Store, Write};
use crate::webhook::tests::TurnedClock;

const BOTH: &[&str] = &["deliver", "collect"];

/// A house with two stores, and a home whose filter is worn: its offer.
async fn offered(house: &House, device: &str, profile: &str) -> Value {
    house.link(device, profile).await;
    house.used(device, 590.0).await;
    house.used(device, 612.0).await;
    let offers = house.get("/v1/offers?state=sent", &house.shop).await;
    let items = offers.json["items"].as_array().unwrap().clone();
    items.into_iter().find(|offer| offer["device"] == device).expect("an offer")
}

async fn shop() -> House {
    with_stores(house().await).await
}

pub(super) async fn with_stores(house: House) -> House {
    house.ok("PUT", "/v1/products/flt-20x25", &house.shop, product()).await;
    for (id, region) in [("st-1", "Europe/Berlin"), ("st-2", "Europe/Paris")] {
        let body = json!({"name": format!("Store {id}"), "region": region, "ready": "today"});
        house.ok("PUT", &format!("/v1/stores/{id}"), &house.shop, body).await;
    }
    let mut trigger = trigger();
    trigger["offer"]["fulfil"] = json!(BOTH);
    house.ok("PUT", "/v1/triggers/filter-worn", &house.shop, trigger).await;
    house.ok("POST", "/v1/triggers/filter-worn/publish", &house.shop, json!({})).await;
    house
}

#[tokio::test]
async fn an_order_is_collected_in_the_store_whose_stock_it_takes() {
    let house = shop().await;
    let stock = "/v1/stock/st-2/flt-20x25";
    let counted = house.ok("PUT", stock, &house.shop, json!({"on_hand": 2})).await;
    assert_eq!((&counted["free"], &counted["reserved"]), (&json!(2), &json!(0)));
    let offer = offered(&house, "d-42", "p1").await;
    let path = format!("/v1/offers/{}", offer["offer"].as_str().unwrap());
    let whole = house.get(&path, &house.shop).await.json;
    assert_eq!((&whole["stores"][0]["id"], &whole["sold_by"]), (&json!("st-2"), &json!("Enseigne X")));
    let accept = json!({"rev": 1, "answer": "accept", "channel": "app", "profile": "p1", "choice": {"fulfil": "collect", "store": "st-2"}});
    let order = house.ok("POST", &format!("{path}/answer"), &house.shop, accept).await["order"].clone();
    let orders = format!("/v1/orders/{}", order.as_str().unwrap());
    let made = house.get(&orders, &house.shop).await.json;
    assert_eq!(made["pickup"]["code"].as_str().unwrap().len(), 8, "{made}");
    assert_eq!(house.get(stock, &house.shop).await.json["free"], 1);
    let ready = json!({"rev": 2, "state": "ready_for_pickup"});
    let ready = house.ok("POST", &format!("{orders}/status"), &house.shop, ready).await;
    assert!(ready["pickup"]["until"].is_string(), "{ready}");
    house.ok("POST", &format!("{orders}/status"), &house.shop, json!({"rev": 3, "state": "picked_up"})).await;
    assert_eq!(house.get(stock, &house.shop).await.json["free"], 1, "it left the store");
    let counted = house.ok("PUT", stock, &house.shop, json!({"on_hand": 1})).await;
    assert_eq!((&counted["free"], &counted["reserved"]), (&json!(1), &json!(0)), "the count is without it");
    let refused = house
        .call("POST", &format!("{orders}/refund"), &house.shop, json!({"lines": [{"product": "flt-20x25", "qty": 2}]}))
        .await;
    assert_eq!((refused.status, &refused.json["pointer"]), (422, &json!("/lines/0/qty")), "{}", refused.text);
    let back = house
        .ok("POST", &format!("{orders}/refund"), &house.shop, json!({"lines": [{"product": "flt-20x25", "qty": 1}]}))
        .await;
    assert_eq!((&back["state"], &back["lines"][0]["refunded"]), (&json!("refunded"), &json!(1)));
}

#[tokio::test]
async fn forty_homes_and_a_till_never_sell_more_than_was_counted() {
    let house = std::sync::Arc::new(shop().await);
    house.ok("PUT", "/v1/stock/st-2/flt-20x25", &house.shop, json!({"on_hand": 5})).await;
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..40 {
        let house = house.clone();
        tasks.spawn(async move {
            let body = json!({"store": "st-2", "product": "flt-20x25", "qty": 1});
            house.call("POST", "/v1/reservations", &house.shop, body).await
        });
    }
    let (mut taken, mut refused) = (Vec::new(), 0);
    while let Some(told) = tasks.join_next().await {
        let told = told.unwrap();
        match told.status {
            201 => taken.push(told.json["reservation"].as_str().unwrap().to_owned()),
            _ => {
                assert_eq!((told.status, told.code()), (409, "offer.out_of_stock"), "{}", told.text);
                refused += 1;
            }
        }
    }
    assert_eq!((taken.len(), refused), (5, 35));
    let ended = |id: String| {
        let house = house.clone();
        async move { house.send("DELETE", &format!("/v1/reservations/{id}"), &house.shop, &[], None).await.status }
    };
    assert_eq!((ended(taken[0].clone()).await, ended(taken[0].clone()).await), (204, 404), "once");
    assert_eq!(house.get("/v1/stock/st-2/flt-20x25", &house.shop).await.json["free"], 1);
}

#[tokio::test]
async fn sellers_are_told_ranked_quoted_and_end() {
    let house = shop().await;
    let offer = "/v1/products/flt-20x25/sellers/s-1/offer";
    let body = json!({"name": "Filtres & Cie", "price": {"minor": 1500, "currency": "EUR"}, "delivery": {"minor": 200, "currency": "EUR"}, "lead_days": {"p10": 1, "p50": 2, "p90": 4}, "stock": 3});
    for (pointer, wrong) in [
        ("/price/currency", json!({"price": {"minor": 1500, "currency": "USD"}})),
        ("/price/minor", json!({"price": {"minor": 0, "currency": "EUR"}})),
        ("/lead_days", json!({"price": {"minor": 1, "currency": "EUR"}, "lead_days": {"p10": 3, "p50": 2, "p90": 4}})),
    ] {
        let told = house.call("PUT", offer, &house.shop, wrong).await;
        assert_eq!((told.status, &told.json["pointer"]), (422, &json!(pointer)), "{}", told.text);
    }
    house.ok("PUT", offer, &house.shop, body.clone()).await;
    let quote = |more: &'static str| {
        let house = &house;
        async move { house.get(&format!("/v1/products/flt-20x25/quote{more}"), &house.shop).await.json }
    };
    let own = quote("").await;
    assert_eq!((&own["sold_by"], &own["price"]["total"]["minor"]), (&json!("Enseigne X"), &json!(1990)), "{own}");
    let ranked = json!({"name": "Enseigne X", "default_locale": "fr-FR", "zone": "Europe/Paris", "ranking": {"policy": ["total_price"]}});
    house.ok("PUT", "/v1/retailers/shop-a", super::OPERATOR, ranked).await;
    let cheapest = quote("?qty=2&profile=p1").await;
    assert_eq!(cheapest["sold_by"], Value::Null, "an unknown customer is told as such: {cheapest}");
    let cheapest = quote("?qty=2").await;
    assert_eq!((&cheapest["sold_by"], &cheapest["price"]["total"]["minor"]), (&json!("Filtres & Cie"), &json!(3200)));
    let many = quote("?qty=4").await;
    assert_eq!((&many["sold_by"], &many["sellers"][1]["passed_over"]), (&json!("Enseigne X"), &json!("sold_out")));
    assert_eq!(quote("?qty=0").await["status"], 422);
    let day = 86_400_000;
    let now = house.app.now().0;
    let at = |days: i64| hearthway_core::time::Timestamp(now + days * day).to_string();
    let mut reduced = product();
    reduced["delivery"] = json!({"minor": 490, "currency": "EUR"});
    reduced["promotions"] = json!([{"from": at(-1), "until": at(1), "percent": 10}]);
    house.ok("PUT", "/v1/products/flt-20x25", &house.shop, reduced).await;
    let collected = quote("?fulfil=collect").await["price"].clone();
    assert_eq!(
        (&collected["delivery"]["minor"], &collected["total"]["minor"], &collected["was"]["minor"]),
        (&json!(0), &json!(1791), &json!(1990)),
        "what is not brought was never paid for: {collected}"
    );
    house.ok("PUT", "/v1/products/flt-20x25", &house.shop, product()).await;
    // What a device is quoted is what the call says.
    let live = offered(&house, "d-42", "p1").await;
    let now = quote("?trigger=filter-worn&profile=p1").await;
    assert_eq!(
        (&live["price"]["total"], &now["price"]["total"]),
        (&json!({"minor": 1700, "currency": "EUR"}), &live["price"]["total"])
    );
    // A product that is written again keeps its sellers; one that is ended is gone.
    house.ok("PUT", "/v1/products/flt-20x25", &house.shop, product()).await;
    assert_eq!(house.get("/v1/products/flt-20x25", &house.shop).await.json["sellers"][0]["seller"], "s-1");
    assert_eq!(house.send("DELETE", offer, &house.shop, &[], None).await.status, 204);
    let path = format!("/v1/offers/{}/answer", live["offer"].as_str().unwrap());
    let late = house.call("POST", &path, &house.shop, json!({"rev": 1, "answer": "accept", "channel": "app"})).await;
    assert_eq!((late.status, late.code()), (409, "offer.out_of_stock"), "{}", late.text);
    let ended = house.get("/v1/offers?state=withdrawn", &house.shop).await;
    assert_eq!(ended.json["items"][0]["offer"], live["offer"]);
}

#[tokio::test]
async fn another_shops_goods_look_like_none_at_all() {
    let house = shop().await;
    house.ok("PUT", "/v1/stock/st-2/flt-20x25", &house.shop, json!({"on_hand": 2})).await;
    let seller = json!({"price": {"minor": 1500, "currency": "EUR"}});
    house.ok("PUT", "/v1/products/flt-20x25/sellers/s-1/offer", &house.shop, seller.clone()).await;
    let made = house
        .ok("POST", "/v1/reservations", &house.shop, json!({"store": "st-2", "product": "flt-20x25", "qty": 1}))
        .await;
    let reservation = format!("/v1/reservations/{}", made["reservation"].as_str().unwrap());
    let offer = offered(&house, "d-42", "p1").await;
    let path = format!("/v1/offers/{}/answer", offer["offer"].as_str().unwrap());
    let order = house.ok("POST", &path, &house.shop, json!({"rev": 1, "answer": "accept", "channel": "app"})).await;
    let order = format!("/v1/orders/{}", order["order"].as_str().unwrap());
    let one = json!({"lines": [{"product": "flt-20x25", "qty": 1}]});
    let calls: Vec<(&str, String, Option<Value>)> = vec![
        ("GET", "/v1/products/flt-20x25".into(), None),
        ("DELETE", "/v1/products/flt-20x25".into(), None),
        ("GET", "/v1/products/flt-20x25/quote".into(), None),
        ("PUT", "/v1/products/flt-20x25/sellers/s-1/offer".into(), Some(seller)),
        ("DELETE", "/v1/products/flt-20x25/sellers/s-1/offer".into(), None),
        ("GET", "/v1/stores/st-2".into(), None),
        ("GET", "/v1/stock/st-2/flt-20x25".into(), None),
        ("PUT", "/v1/stock/st-2/flt-20x25".into(), Some(json!({"on_hand": 9}))),
        ("DELETE", reservation, None),
        ("POST", format!("{order}/refund"), Some(one)),
        ("POST", format!("{order}/withdraw"), Some(json!({"channel": "app"}))),
    ];
    for (method, path, body) in &calls {
        let nothing = path.replace("flt-20x25", "nothing").replace("st-2", "nowhere");
        let nothing = match nothing.rsplit_once('_').filter(|_| nothing.contains("rv_") || nothing.contains("or_")) {
            Some((before, hash)) => format!("{before}_{}", hash.replacen(&hash[..4], "aaaa", 1)),
            None => nothing,
        };
        let body = body.as_ref().map(Value::to_string);
        let theirs = house.send(method, path, &house.other_shop, &[], body.clone()).await;
        let none = house.send(method, &nothing, &house.other_shop, &[], body).await;
        assert_eq!((theirs.status, theirs.code()), (404, "not_found"), "{method} {path}: {}", theirs.text);
        assert_eq!((none.status, none.code()), (theirs.status, theirs.code()), "{method} {nothing}: {}", none.text);
    }
    println!("{} calls", calls.len());
    assert_eq!(house.get("/v1/products:export", &house.other_shop).await.text, "");
    assert_eq!(house.get("/v1/stores", &house.other_shop).await.json["items"], json!([]));
    assert_eq!(house.get("/v1/stock/st-2/flt-20x25", &house.shop).await.json["on_hand"], 2, "nothing was changed");
}

#[tokio::test]
async fn a_reservation_ends_by_itself_once_and_over_a_restart() {
    let (clock, disk) = (Arc::new(TurnedClock(watch::Sender::new(Timestamp(1_774_000_000_000)))), Disk::new());
    let pass = |span: Span| clock.0.send_modify(|now| *now = *now + span);
    let house = with_stores(furnished(house_by(disk.clone(), clock.clone()).await).await).await;
    let stock = "/v1/stock/st-2/flt-20x25";
    house.ok("PUT", stock, &house.shop, json!({"on_hand": 5})).await;
    let reserve = |qty: u32, expires_in: Value| {
        let (house, body) =
            (&house, json!({"store": "st-2", "product": "flt-20x25", "qty": qty, "expires_in": expires_in}));
        async move { house.call("POST", "/v1/reservations", &house.shop, body).await }
    };
    for wrong in [0, 9, 31 * 86_400 + 1] {
        let refused = reserve(1, json!(wrong)).await;
        assert_eq!((refused.status, &refused.json["pointer"]), (422, &json!("/expires_in")), "{}", refused.text);
    }
    let short = reserve(1, json!(60)).await.json;
    assert_eq!(short["expires_at"], Timestamp(1_774_000_060_000).to_string());
    let a_day = reserve(2, Value::Null).await.json;
    assert_eq!(a_day["expires_at"], Timestamp(1_774_086_400_000).to_string());
    let by_hand = reserve(1, json!(60)).await.json["reservation"].as_str().unwrap().to_owned();
    assert_eq!(house.get(stock, &house.shop).await.json["free"], 1);
    pass(Span::seconds(59));
    house.app.end_lapsed_reservations().await.unwrap();
    assert_eq!(house.get(stock, &house.shop).await.json["free"], 1, "a second is left");
    let ended = house.send("DELETE", &format!("/v1/reservations/{by_hand}"), &house.shop, &[], None).await;
    assert_eq!((ended.status, &house.get(stock, &house.shop).await.json["free"]), (204, &json!(2)));

    // It is not ended by whoever was there when it began.
    let (shop, house) = (house.shop.clone(), house_by(disk, clock.clone()).await);
    pass(Span::seconds(1));
    let next = house.app.end_lapsed_reservations().await.unwrap();
    assert_eq!(
        house.get(stock, &shop).await.json["free"],
        3,
        "its piece, and not again the one that was freed by hand"
    );
    assert_eq!(next.map(|at| at.to_string()).as_deref(), a_day["expires_at"].as_str());
    pass(Span::days(1));
    assert_eq!(house.app.end_lapsed_reservations().await.unwrap(), None);
    let told = house.get(stock, &shop).await.json;
    assert_eq!((&told["free"], &told["reserved"]), (&json!(5), &json!(0)));
}

#[tokio::test]
async fn an_offer_that_the_shop_takes_back_is_gone_everywhere_and_an_order_stays_one() {
    let house = shop().await;
    let path = |offer: &Value| format!("/v1/offers/{}", offer["offer"].as_str().unwrap());
    let accept = json!({"rev": 1, "answer": "accept", "channel": "app"});
    let recalled = offered(&house, "d-42", "p1").await;
    let withdraw = format!("{}/withdraw", path(&recalled));
    for wrong in ["", " ", &"x".repeat(101)] {
        let refused = house.call("POST", &withdraw, &house.shop, json!({"reason": wrong})).await;
        assert_eq!((refused.status, &refused.json["pointer"]), (422, &json!("/reason")), "{}", refused.text);
    }
    for _ in 0..2 {
        let told = house.ok("POST", &withdraw, &house.shop, json!({"reason": "sold out"})).await;
        assert_eq!(told, json!({"state": "withdrawn", "order": null}), "and again the same");
    }
    let whole = house.get(&path(&recalled), &house.shop).await.json;
    assert_eq!(whole["history"].as_array().unwrap().last().unwrap()["cause"], "shop: sold out");
    let late = house.call("POST", &format!("{}/answer", path(&recalled)), &house.shop, accept.clone()).await;
    assert_eq!((late.status, late.code()), (410, "offer.withdrawn"), "{}", late.text);
    assert_eq!(house.get("/v1/orders", &house.shop).await.json["items"], json!([]));

    let taken = offered(&house, "d-43", "p2").await;
    let order = house.ok("POST", &format!("{}/answer", path(&taken)), &house.shop, accept).await["order"].clone();
    let refused = house.call("POST", &format!("{}/withdraw", path(&taken)), &house.shop, json!({})).await;
    assert_eq!((refused.status, refused.code(), &refused.json["order"]), (409, "offer.already_accepted", &order));
    let strange = house.call("POST", &withdraw, &house.other_shop, json!({})).await;
    assert_eq!((strange.status, strange.code()), (404, "offer.unknown"), "{}", strange.text);
}

#[tokio::test]
async fn a_price_and_a_seller_that_are_told_at_once_both_stand() {
    let house = Arc::new(shop().await);
    let seller = "/v1/products/flt-20x25/sellers/s-1/offer";
    for round in 0..40 {
        let minor = 1_000 + round;
        let mut priced = product();
        priced["price"]["minor"] = json!(minor);
        let sells = json!({"price": {"minor": 2_000 + round, "currency": "EUR"}});
        let ends = round % 2 == 1;
        let (of_shop, of_seller) = (house.clone(), house.clone());
        let price = tokio::spawn(async move {
            of_shop.ok("PUT", "/v1/products/flt-20x25", &of_shop.shop, priced).await;
        });
        let other = tokio::spawn(async move {
            match ends {
                true => assert_eq!(of_seller.send("DELETE", seller, &of_seller.shop, &[], None).await.status, 204),
                false => drop(of_seller.ok("PUT", seller, &of_seller.shop, sells).await),
            }
        });
        price.await.unwrap();
        other.await.unwrap();
        let now = house.get("/v1/products/flt-20x25", &house.shop).await.json;
        assert_eq!(now["price"]["minor"], minor, "round {round}: {now}");
        let sellers: Vec<_> =
            now["sellers"].as_array().unwrap().iter().map(|other| other["price"]["minor"].clone()).collect();
        assert_eq!(sellers, if ends { vec![] } else { vec![json!(2_000 + round)] }, "round {round}: {now}");
    }
}

/// An order of three, to be collected in a store that has three.
async fn three_ordered(house: &House) -> String {
    house.ok("PUT", STOCK, &house.shop, json!({"on_hand": 3})).await;
    let offer = offered(house, "d-42", "p1").await;
    let path = format!("/v1/offers/{}/answer", offer["offer"].as_str().unwrap());
    let choice = json!({"fulfil": "collect", "store": "st-2", "qty": 3});
    let accept = json!({"rev": 1, "answer": "accept", "channel": "app", "profile": "p1", "choice": choice});
    let order = house.ok("POST", &path, &house.shop, accept).await["order"].clone();
    format!("/v1/orders/{}", order.as_str().unwrap())
}

const STOCK: &str = "/v1/stock/st-2/flt-20x25";

fn lines(qty: u32) -> Value {
    json!([{"product": "flt-20x25", "qty": qty}])
}

#[tokio::test]
async fn a_part_that_left_is_never_free_whatever_is_counted_restarted_or_refused_after_it() {
    for counts_between in [false, true] {
        let house = shop().await;
        let order = three_ordered(&house).await;
        let part = json!({"rev": 2, "state": "partially_shipped", "lines": lines(1)});
        house.ok("POST", &format!("{order}/status"), &house.shop, part).await;
        assert_eq!(house.get(STOCK, &house.shop).await.json["free"], 0);
        if counts_between {
            let counted = house.ok("PUT", STOCK, &house.shop, json!({"on_hand": 2})).await;
            assert_eq!((&counted["reserved"], &counted["free"]), (&json!(2), &json!(0)), "two wait, one is gone");
        }
        house.ok("POST", &format!("{order}/refund"), &house.shop, json!({"lines": lines(1)})).await;
        assert_eq!(house.get(STOCK, &house.shop).await.json["free"], 1, "one is not sent any more");
        let again = super::house_on(house.disk.clone()).await;
        let shop = again.token("shop-a", "retailer_admin").await;
        assert_eq!(again.get(STOCK, &shop).await.json["free"], 1, "and after a restart");
        again.ok("POST", &format!("{order}/status"), &shop, json!({"rev": 4, "state": "refused"})).await;
        assert_eq!(again.get(STOCK, &shop).await.json["free"], 2, "the one that left is not there");
        let counted = again.ok("PUT", STOCK, &shop, json!({"on_hand": 2})).await;
        assert_eq!((&counted["reserved"], &counted["free"]), (&json!(0), &json!(2)));
    }
}

/// The gateway is killed between what a call did and its answer: nothing is kept to answer its repeat from.
fn lose_answers(house: &House) {
    let prefix = KeyBuilder::table(table::IDEMPOTENCY).prefix();
    let kept = house.disk.rows.scan(&prefix, None, 100).unwrap();
    assert!(!kept.is_empty(), "an answer was kept");
    let writes = kept.into_iter().map(|(key, _)| Write::Delete(key)).collect();
    house.disk.rows.commit(&[Commit { preconditions: Vec::new(), writes }]).unwrap();
}

#[tokio::test]
async fn what_was_done_and_not_answered_is_not_done_again_at_its_repeat() {
    let house = shop().await;
    let order = three_ordered(&house).await;
    let twice = |path: String, key: &'static str, body: Value| {
        let house = &house;
        async move {
            let headers = [("idempotency-key", key)];
            let first = house.send("POST", &path, &house.shop, &headers, Some(body.to_string())).await;
            assert!(first.status < 300, "{}", first.text);
            lose_answers(house);
            let second = house.send("POST", &path, &house.shop, &headers, Some(body.to_string())).await;
            assert_eq!((second.status, second.header("idempotent-replayed")), (first.status, ""), "{}", second.text);
            assert_eq!(second.json, first.json);
            second.json
        }
    };
    let refunded = twice(format!("{order}/refund"), "k-1", json!({"lines": lines(1)})).await;
    assert_eq!(refunded["lines"][0]["refunded"], 1);
    let refunded = house.ok("POST", &format!("{order}/refund"), &house.shop, json!({"lines": lines(1)})).await;
    assert_eq!(refunded["lines"][0]["refunded"], 2, "who asks without a key means it");
    let sent = json!({"rev": 4, "state": "partially_shipped", "lines": lines(1)});
    assert_eq!(twice(format!("{order}/status"), "k-2", sent).await["rev"], 4);
    assert_eq!(twice(format!("{order}/status"), "k-3", json!({"rev": 5, "state": "delivered"})).await["rev"], 5);
    house.ok("PUT", STOCK, &house.shop, json!({"on_hand": 3})).await;
    let one = json!({"store": "st-2", "product": "flt-20x25", "qty": 2});
    twice("/v1/reservations".into(), "k-4", one).await;
    assert_eq!(house.get(STOCK, &house.shop).await.json["free"], 1, "one reservation of two");
}

#[tokio::test]
async fn the_gateways_own_words_are_no_channels_of_a_shop() {
    let house = shop().await;
    let order = three_ordered(&house).await;
    for channel in ["mandate", "device", "Device"] {
        for call in ["cancel", "withdraw"] {
            let told = house.call("POST", &format!("{order}/{call}"), &house.shop, json!({"channel": channel})).await;
            assert_eq!((told.status, &told.json["pointer"]), (422, &json!("/channel")), "{}", told.text);
        }
        let offers = house.get("/v1/offers", &house.shop).await.json;
        let path = format!("/v1/offers/{}/answer", offers["items"][0]["offer"].as_str().unwrap());
        let told =
            house.call("POST", &path, &house.shop, json!({"rev": 1, "answer": "decline", "channel": channel})).await;
        assert_eq!((told.status, &told.json["pointer"]), (422, &json!("/channel")), "{}", told.text);
    }
}

#[tokio::test]
async fn a_change_is_made_to_its_end_when_its_caller_leaves() {
    use tokio::io::AsyncWriteExt;
    use tokio::sync::Semaphore;

    let (begun, goes_on, done) =
        (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
    let steps = (begun.clone(), goes_on.clone(), done.clone());
    let handler = move || {
        let (begun, goes_on, done) = steps.clone();
        async move {
            begun.add_permits(1);
            goes_on.acquire().await.unwrap().forget();
            done.add_permits(1);
        }
    };
    let at_work = Arc::new(Semaphore::new(1));
    let router = axum::Router::new()
        .route("/", axum::routing::post(handler))
        .layer(axum::middleware::from_fn_with_state(at_work.clone(), super::super::in_time));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(super::super::serve(listener, router, 10, std::future::pending()));
    let ask = b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n";
    let mut caller = tokio::net::TcpStream::connect(address).await.unwrap();
    caller.write_all(ask).await.unwrap();
    begun.acquire().await.unwrap().forget();
    drop(caller);
    let base = format!("http://{address}/");
    let busy = reqwest::Client::new().post(&base).send().await.unwrap();
    assert_eq!(busy.status().as_u16(), 429, "it is at work, and there is room for one");
    goes_on.add_permits(1);
    done.acquire().await.unwrap().forget();
    // Its place is free when it has ended.
    at_work.acquire().await.unwrap().forget();
}
