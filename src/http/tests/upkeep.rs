//! What goes by itself once its time is over.

use std::sync::Arc;

use hearthway_core::time::{Span, Timestamp};
use serde_json::{Value, json};
use tokio::sync::watch;

use super::erasure::{PROFILE, done, id_of, sold_in};
use super::{Disk, House, furnished, house, house_by, product};
use crate::store::keys::{self, KeyBuilder, table};
use crate::store::{SCAN_ROWS_MAX, Store};
use crate::webhook::tests::TurnedClock;

const START: Timestamp = Timestamp(1_800_000_000_000);

async fn house_at(clock: &Arc<TurnedClock>) -> House {
    furnished(house_by(Disk::new(), clock.clone()).await).await
}

fn rows_of(house: &House, table: u8) -> usize {
    house.app.engine.store().scan(&KeyBuilder::table(table).prefix(), None, SCAN_ROWS_MAX).unwrap().len()
}

#[tokio::test]
async fn what_is_kept_of_an_erased_buyer_goes_at_its_end_though_nothing_else_happens() {
    let clock = Arc::new(TurnedClock(watch::Sender::new(START)));
    let (house, _, order) = sold_in(house_at(&clock).await).await;
    let headers = [("Idempotency-Key", "k-1")];
    let paused = house.send("POST", "/v1/triggers/filter-worn/pause", &house.shop, &headers, Some("{}".into())).await;
    assert_eq!(paused.status, 200, "{}", paused.text);
    let begun = house.ok("POST", "/v1/erase", &house.shop, json!({"profile": PROFILE})).await;
    let report = done(&house, begun["erase"].as_str().unwrap()).await["report"].clone();
    assert_eq!(report["kept"][0]["id"], json!(order), "{report}");
    let left =
        |house: &House| [table::KEPT_ORDER, table::LEDGER, table::IDEMPOTENCY].map(|table| rows_of(house, table));
    let [orders, counts, answers] = left(&house);
    assert!(orders == 1 && counts > 0 && answers > 0, "{orders} {counts} {answers}");

    let lasting = |hours: i64| {
        clock.0.send_replace(START + Span::hours(hours));
        house.app.upkeep()
    };
    lasting(23).await;
    assert_eq!(left(&house), [1, counts, answers]);
    lasting(25).await;
    assert_eq!(left(&house), [1, counts, 0], "a day");
    lasting(24 * 30 * 24).await;
    assert_eq!(left(&house), [1, counts, 0]);
    lasting(24 * 31 * 26).await;
    assert_eq!(left(&house), [1, 0, 0], "25 months");
    lasting(24 * 3650).await;
    assert_eq!(left(&house), [1, 0, 0]);
    // Nobody asks for it: the gateway looks by itself.
    clock.0.send_replace(START + Span::days(3654));
    let app = house.app.clone();
    let looking = tokio::spawn(async move { app.keep_up().await });
    for _ in 0..500 {
        if rows_of(&house, table::KEPT_ORDER) == 0 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    looking.abort();
    assert_eq!(left(&house), [0, 0, 0], "ten years");
}

#[tokio::test]
async fn the_name_of_an_import_is_known_for_ninety_days_and_gives_way_to_newer_ones() {
    let clock = Arc::new(TurnedClock(watch::Sender::new(START)));
    let house = house_at(&clock).await;
    let line = json!({"id": "p-1", "name": {"en": "One"}, "price": {"minor": 100, "currency": "EUR"}}).to_string();
    let import = async |name: &str| {
        let told =
            house.bulk(&format!("/v1/products:import?import={name}"), &house.shop, std::slice::from_ref(&line)).await;
        told.last().unwrap()["summary"]["skipped"].clone()
    };
    let reached =
        async |name: &str| house.get(&format!("/v1/products:import/{name}"), &house.shop).await.json["lines"].clone();
    for n in 0..5 {
        clock.0.send_replace(START + Span::hours(n));
        import(&format!("night-{n}")).await;
    }
    assert_eq!(import("night-0").await, 1, "all five are known, and the oldest is still going on");
    import("night-5").await;
    assert_eq!(
        (reached("night-1").await, reached("night-0").await, reached("night-5").await),
        (json!(0), json!(1), json!(1))
    );
    clock.0.send_replace(START + Span::days(89));
    import("night-6").await;
    house.app.upkeep().await;
    assert_eq!((reached("night-5").await, reached("night-6").await), (json!(1), json!(1)));
    clock.0.send_replace(START + Span::days(91));
    house.app.upkeep().await;
    assert_eq!((reached("night-5").await, reached("night-6").await), (json!(0), json!(1)));
    let names = house.app.engine.store().scan(&KeyBuilder::table(table::STOCK).name("import-at").prefix(), None, 100);
    assert_eq!(names.unwrap().len(), 1, "nothing else is left of them");
}

#[tokio::test]
async fn former_versions_of_a_product_go_when_no_log_has_an_input_that_read_them() {
    let (house, home, _) = sold_in(house().await).await;
    let versions = || {
        let packs = house.app.engine.store().scan(&keys::product_packs(), None, SCAN_ROWS_MAX).unwrap();
        packs.len()
    };
    let price = async |minor: i64| {
        let dearer = Value::Object(
            product()
                .as_object()
                .unwrap()
                .clone()
                .into_iter()
                .chain([("price".to_owned(), json!({"minor": minor, "currency": "EUR"}))])
                .collect(),
        );
        house.ok("PUT", "/v1/products/flt-20x25", &house.shop, dearer).await;
    };
    for minor in 2001..=2010 {
        price(minor).await;
    }
    let all = versions();
    assert!(all > 10, "{all}");
    house.app.upkeep().await;
    assert_eq!(versions(), all, "the log of the home read the first of them");
    assert_eq!(house.app.engine.replay(id_of(&home)).unwrap().differences, []);

    // The log of before goes, as it does by its age; what comes reads what is now.
    let store = house.app.engine.store();
    let mark = store.divide_logs(None).unwrap();
    house.used("d-42", 615.0).await;
    store.divide_logs(Some(mark)).unwrap();
    house.app.upkeep().await;
    assert_eq!(versions(), 3, "the one that was read, and two versions that are spared");
    assert_eq!(house.get("/v1/products/flt-20x25", &house.shop).await.json["price"]["minor"], 2010);
    assert_eq!(house.app.engine.replay(id_of(&home)).unwrap().differences, []);
}
