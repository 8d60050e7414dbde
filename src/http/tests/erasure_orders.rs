//! What becomes of the orders of somebody who is erased: apart from those who stay, and the shop goes on with them.

use hearthway_core::id::{OrderId, RetailerId};
use hearthway_core::model::OrderState;
use hearthway_core::time::Span;
use serde_json::{Value, json};

use super::erasure::{NAME, PROFILE, done, id_of, in_clear, linked, opened_with, sealed_with};
use super::goods::with_stores;
use super::{House, house, house_on, trigger};
use crate::app::erasures::{KeptOrder, Step};
use crate::engine::rows::OrderRow;
use crate::store::codec::{self, Schema};
use crate::store::keys::{self, Key, table};
use crate::store::sealed::Subject;
use crate::store::{Commit, SCAN_ROWS_MAX, Store, Write};

const STOCK: &str = "/v1/stock/st-2/flt-20x25";

/// A home of two at one device, the shop of which counts its goods; one of them has bought, and may cancel so long.
async fn shared(window: &str) -> (House, String, String) {
    let house = with_stores(house().await).await;
    let shop = house.shop.clone();
    house.ok("PUT", STOCK, &shop, json!({"on_hand": 2})).await;
    let mut windowed = trigger();
    windowed["offer"]["fulfil"] = json!(["deliver", "collect"]);
    windowed["offer"]["cancel_window"] = window.into();
    windowed["limits"] = json!({"budget": {"count": 3}});
    house.ok("PUT", "/v1/triggers/filter-worn", &shop, windowed).await;
    house.ok("POST", "/v1/triggers/filter-worn/publish", &shop, json!({})).await;
    let home = linked(&house, "d-42", PROFILE, NAME, None).await["household"].as_str().unwrap().to_owned();
    let joins = json!({"profile": "jean", "display_name": "Chez Jean", "role": "owner"});
    house.ok("POST", "/v1/devices/d-42/members", &shop, joins).await;
    house.used("d-42", 590.0).await;
    house.used("d-42", 612.0).await;
    let offers = house.get("/v1/offers?state=sent", &shop).await;
    let offer = offers.json["items"][0]["offer"].as_str().unwrap_or_else(|| panic!("{}", offers.text)).to_owned();
    let accept = json!({
        "rev": 1, "answer": "accept", "channel": "app", "profile": PROFILE,
        "choice": {"fulfil": "collect", "store": "st-2"},
    });
    let order = house.ok("POST", &format!("/v1/offers/{offer}/answer"), &shop, accept).await;
    assert_eq!(free(&house).await, 1);
    (house, home, order["order"].as_str().unwrap().to_owned())
}

async fn free(house: &House) -> Value {
    house.get(STOCK, &house.shop).await.json["free"].clone()
}

async fn drawn(house: &House) -> Value {
    house.get("/v1/triggers/filter-worn/budget", &house.shop).await.json["spent"]["count"].clone()
}

async fn erased(house: &House, profile: &str) -> Value {
    let begun = house.ok("POST", "/v1/erase", &house.shop, json!({"profile": profile})).await;
    done(house, begun["erase"].as_str().unwrap()).await["report"].clone()
}

fn rows_of(house: &House, table: u8) -> usize {
    house.app.engine.store().scan(&[table], None, SCAN_ROWS_MAX).unwrap().len()
}

async fn says(house: &House, token: &str, order: &str, rev: u32, state: &str) -> super::Answer {
    house.call("POST", &format!("/v1/orders/{order}/status"), token, json!({"rev": rev, "state": state})).await
}

#[tokio::test]
async fn an_open_order_leaves_a_shared_home_with_its_buyer_and_the_shop_goes_on_with_it() {
    let (house, home, order) = shared("0 s").await;
    let shop = house.shop.clone();
    let report = erased(&house, PROFILE).await;
    assert_eq!((&report["homes_emptied"], &report["homes_left"]), (&json!(0), &json!(1)), "{report}");
    let kept = &report["kept"][0];
    assert_eq!((&kept["what"], &kept["id"]), (&json!("order"), &json!(order)), "{report}");
    assert!(kept["why"].as_str().unwrap().contains("until the shop is done with it"), "{kept}");
    assert_eq!(report["kept_more"], 0);

    // Nobody who stays sees it, by whatever call; nor does the shop, in whatever list.
    assert_eq!(house.get(&format!("/v1/orders/{order}"), &shop).await.status, 404);
    assert_eq!(house.get("/v1/orders", &shop).await.json["items"], json!([]));
    let jean =
        house.ok("POST", "/v1/tokens", &shop, json!({"role": "customer", "profile": "jean"})).await["token"].clone();
    let jean = jean.as_str().unwrap();
    for (path, token) in [
        ("/v1/profiles/jean", shop.as_str()),
        ("/v1/profiles/jean/timeline", &shop),
        ("/v1/profiles/jean/export", &shop),
        ("/v1/me", jean),
        ("/v1/me/data", jean),
    ] {
        let told = house.get(path, token).await;
        assert_eq!(told.status, 200, "{path}: {}", told.text);
        assert!(!told.text.contains(PROFILE) && !told.text.contains(NAME), "{path}: {}", told.text);
        assert!(!told.text.contains("pickup"), "{path}: {}", told.text);
    }
    let facts = house.app.engine.facts(id_of(&home)).await.unwrap().unwrap();
    assert!(facts.orders.is_empty() && facts.members.len() == 1);
    // What waits for the device that stays tells nothing of it either.
    let waits = house.app.engine.store().scan(&[table::OUTBOX], None, SCAN_ROWS_MAX).unwrap();
    let told: Vec<String> = waits.iter().map(|(_, bytes)| String::from_utf8_lossy(bytes).into_owned()).collect();
    assert!(told.iter().all(|told| !told.contains(&order)), "{told:?}");
    assert_eq!(opened_with(&house, &[PROFILE, NAME]), [] as [&str; 0]);
    assert_eq!(house.app.engine.replay(id_of(&home)).unwrap().differences, []);

    // The shop goes on, by the rules of any order; it is the only one.
    assert_eq!(says(&house, &house.other_shop, &order, 2, "accepted").await.status, 404);
    let told = says(&house, &shop, &order, 2, "accepted").await;
    assert_eq!(
        (told.status, &told.json["rev"], &told.json["state"]),
        (200, &json!(2), &json!("accepted")),
        "{}",
        told.text
    );
    for hidden in ["household", "device", "offer", "pickup"] {
        assert!(told.json.get(hidden).is_none(), "{}", told.text);
    }
    let late = says(&house, &shop, &order, 2, "ready_for_pickup").await;
    assert_eq!((late.status, late.code()), (409, "state.version_conflict"), "{}", late.text);
    let back = says(&house, &shop, &order, 3, "confirmed").await;
    assert_eq!((back.status, back.code()), (409, "state.version_conflict"), "{}", back.text);
    // It goes on after a start too, and what is put aside for it is.
    house.app.engine.drain().await;
    let house = House { shop: shop.clone(), ..house_on(house.disk.clone()).await };
    assert_eq!((free(&house).await, drawn(&house).await), (json!(1), json!(1)));
    assert_eq!(says(&house, &shop, &order, 3, "picked_up").await.status, 200);
    assert_eq!(free(&house).await, 1, "it left the store");
    let counted = house.ok("PUT", STOCK, &shop, json!({"on_hand": 1})).await;
    assert_eq!((&counted["free"], &counted["reserved"]), (&json!(1), &json!(0)), "the count is without it");
    assert_eq!(rows_of(&house, table::KEPT_ORDER), 1, "for the accounts");
}

#[tokio::test]
async fn a_locked_order_of_which_nothing_is_left_goes_at_once_with_all_that_it_held() {
    for refused in [true, false] {
        let (house, _, order) = shared("0 s").await;
        let shop = house.shop.clone();
        erased(&house, PROFILE).await;
        assert_eq!((rows_of(&house, table::KEPT_ORDER), rows_of(&house, table::KEPT_AT)), (1, 2));
        assert_eq!((free(&house).await, drawn(&house).await), (json!(1), json!(1)));
        let told = match refused {
            true => says(&house, &shop, &order, 2, "refused").await,
            false => {
                let lines = json!({"lines": [{"product": "flt-20x25", "qty": 1}]});
                house.call("POST", &format!("/v1/orders/{order}/refund"), &shop, lines).await
            }
        };
        assert_eq!((told.status, &told.json["rev"]), (200, &json!(2)), "{}", told.text);
        assert_eq!((rows_of(&house, table::KEPT_ORDER), rows_of(&house, table::KEPT_AT)), (0, 0));
        assert_eq!((free(&house).await, drawn(&house).await), (json!(2), json!(0)), "for others");
        assert_eq!(says(&house, &shop, &order, 3, "accepted").await.status, 404);
    }
}

#[tokio::test]
async fn an_order_that_the_shop_was_not_asked_for_yet_is_called_off() {
    for alone in [true, false] {
        let (house, _, order) = shared("2 h").await;
        assert_eq!(house.get(&format!("/v1/orders/{order}"), &house.shop).await.json["state"], "confirmed");
        if alone {
            house.ok("DELETE", "/v1/devices/d-42/members/jean", &house.shop, json!({})).await;
        }
        let report = erased(&house, PROFILE).await;
        assert_eq!((&report["deleted"]["orders"], &report["homes_emptied"]), (&json!(1), &json!(u32::from(alone))));
        assert!(!report.to_string().contains(&order), "nothing of it is kept: {report}");
        assert_eq!((free(&house).await, drawn(&house).await), (json!(2), json!(0)), "for others");
        assert_eq!((rows_of(&house, table::KEPT_ORDER), rows_of(&house, table::KEPT_AT)), (0, 0));
    }
}

#[tokio::test]
async fn while_its_buyer_is_being_erased_an_order_waits_and_a_stop_after_any_step_loses_none() {
    let retailer = RetailerId::new("shop-a").unwrap();
    for stop_after in 0..=6 {
        let (house, home, order) = shared("0 s").await;
        let shop = house.shop.clone();
        let mut job = house.app.plan_erasure(&retailer, PROFILE).await.unwrap();
        let planned = job.steps();
        assert_eq!(planned.len(), 6, "{planned:?}");
        for step in &planned[..stop_after] {
            let told = says(&house, &shop, &order, 2, "accepted").await;
            assert_eq!(told.status, 409, "before {step:?}: {}", told.text);
            house.app.erasure_step(&mut job, *step).await.unwrap();
            if *step == Step::Sweep {
                assert_eq!(says(&house, &shop, &order, 2, "accepted").await.status, 200, "it is apart");
            }
        }
        house.app.engine.drain().await;
        let again = House { shop: shop.clone(), ..house_on(house.disk.clone()).await };
        let told = done(&again, &job.name()).await;
        let told: Vec<&Value> =
            told["report"]["kept"].as_array().unwrap().iter().filter(|kept| kept["id"] == json!(order)).collect();
        assert_eq!(told.len(), 1, "stopped after {stop_after} steps");
        assert_eq!((rows_of(&again, table::KEPT_ORDER), rows_of(&again, table::KEPT_AT)), (1, 2));
        let rev = if stop_after > 2 { 3 } else { 2 };
        assert_eq!(says(&again, &shop, &order, rev, "ready_for_pickup").await.status, 200);
        assert_eq!(in_clear(&again.disk, &[PROFILE, NAME]), [] as [&str; 0]);
        assert_eq!(opened_with(&again, &[PROFILE, NAME]), [] as [&str; 0]);
        let vault_key = again.app.engine.store().vault().unwrap().current(Subject::household(id_of(&home))).unwrap();
        assert!(sealed_with(&again.disk).contains(&vault_key), "the home goes on");
    }
}

#[tokio::test]
async fn somebody_with_a_thousand_orders_and_more_is_erased_like_anybody() {
    const MORE: u32 = 1_200;
    let (house, home, order) = shared("0 s").await;
    let (store, shop) = (house.app.engine.store().clone(), RetailerId::new("shop-a").unwrap());
    let at = keys::order(&shop, order.parse().unwrap());
    let row: OrderRow = codec::decode(Schema::Order, &at, &store.get(&at).unwrap().unwrap()).unwrap();
    let key = store.vault().unwrap().key_for(Subject::household(id_of(&home))).unwrap();
    let mut writes = Vec::new();
    for n in 0..MORE {
        let mut row = row.clone();
        row.order.id = OrderId::derived(&[b"one more", &n.to_be_bytes()]);
        (row.order.state, row.order.held, row.order.drawn) = (OrderState::Delivered, None, None);
        let mut bytes = codec::encode(Schema::Order, &row);
        codec::belong_to(key, &mut bytes);
        writes.push(Write::Put(keys::order(&shop, row.order.id), bytes));
    }
    for some in writes.chunks(100) {
        house.app.engine.write(Commit { preconditions: Vec::new(), writes: some.to_vec() }).await.unwrap();
    }
    let report = erased(&house, PROFILE).await;
    assert_eq!(report["deleted"]["orders"], MORE + 1, "{}", report["deleted"]);
    let told = report["kept"].as_array().unwrap().iter().filter(|kept| kept["what"] == "order").count();
    assert_eq!((told, &report["kept_more"]), (1_000, &json!(MORE + 1 - 1_000)));
    let count = |prefix: &[u8]| {
        let mut n = 0;
        crate::app::rows::each(&*store, prefix, |_, _| {
            n += 1;
            Ok(())
        })
        .unwrap();
        n
    };
    assert_eq!((count(&keys::kept_orders()), count(&[table::KEPT_AT])), (MORE + 1, 2 * (MORE + 1)));
}

#[tokio::test]
async fn what_is_kept_of_an_order_goes_at_its_end_with_all_that_leads_to_it() {
    let (house, _, order) = shared("0 s").await;
    erased(&house, PROFILE).await;
    // As if its end had come: the same rows, by an end that is over.
    let store = house.app.engine.store().clone();
    let (shop, id): (RetailerId, OrderId) = (RetailerId::new("shop-a").unwrap(), order.parse().unwrap());
    let (key, bytes) = store.scan(&keys::kept_orders(), None, 2).unwrap().remove(0);
    let (until, retailer, named) = keys::kept_order_of(&key).unwrap();
    assert_eq!((&retailer, named), (&shop, id));
    assert!(until > house.app.now() + Span::days(3_600));
    let past = house.app.now() - Span::days(1);
    let mut writes = vec![Write::Delete(key), Write::Put(keys::kept_order(past, &shop, id), bytes)];
    for (key, mut bytes) in store.scan(&[table::KEPT_AT], None, 10).unwrap() {
        let (end, rest) = postcard::take_from_bytes::<i64>(&bytes[8..bytes.len() - 4]).unwrap();
        assert_eq!(end, until.0);
        let body = [postcard::to_allocvec(&past.0).unwrap(), rest.to_vec()].concat();
        bytes = codec::seal(Schema::KeptAt, &body);
        writes.push(Write::Put(key, bytes));
    }
    house.app.engine.write(Commit { preconditions: Vec::new(), writes }).await.unwrap();
    assert_eq!((free(&house).await, rows_of(&house, table::KEPT_AT)), (json!(1), 2));
    house.app.upkeep().await;
    assert_eq!((rows_of(&house, table::KEPT_ORDER), rows_of(&house, table::KEPT_AT)), (0, 0));
    let counted = house.ok("PUT", STOCK, &house.shop, json!({"on_hand": 2})).await;
    assert_eq!((&counted["free"], &counted["reserved"]), (&json!(2), &json!(0)), "nothing waits for it any more");
}

#[test]
fn an_order_that_a_release_before_kept_is_read_and_nobody_goes_on_with_it() {
    // As version 1 wrote it: id, state, total, fulfil, lines, when.
    let former = "a7240100000000000f070707070707070707070707070707048c1f03455552000109666c742d3230\
        7832350646696c747265018c1f03455552010080\
        c0e285e368db46646b";
    let bytes = data_encoding::HEXLOWER.decode(former.as_bytes()).unwrap();
    assert_eq!(bytes[2], 1, "it is of that version");
    let kept: KeptOrder = codec::decode(Schema::KeptOrder, &Key(b"X".to_vec()), &bytes).unwrap();
    assert_eq!((kept.state, kept.total.to_string().as_str()), (OrderState::Shipped, "19.90 EUR"));
    assert_eq!((kept.lines.len(), &kept.at_work), (1, &None));
    let again = codec::encode(Schema::KeptOrder, &kept);
    assert_eq!((again[2], again.len()), (2, bytes.len() + 1), "and a word at its end that nothing follows");
    assert!(kept.created_at > hearthway_core::time::Timestamp(0) + Span::days(365));
}
