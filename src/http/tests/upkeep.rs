//! What goes by itself once its time is over.

use std::sync::Arc;

use hearthway_core::time::{Span, Timestamp};
use serde_json::{Value, json};
use tokio::sync::watch;

use super::erasure::{PROFILE, done, id_of, sold_in};
use super::{Disk, House, furnished, house, house_by, product};
use crate::config::Config;
use crate::gateway::Gateway;
use crate::mqtt::credentials::MasterKey;
use crate::store::keys::{self, Key, KeyBuilder, table};
use crate::store::{AllItems, Commit, Items, Mark, Outcome as StoreOutcome, Rows, SCAN_ROWS_MAX, Store, StoreError};
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

/// A store whose counts of reports take as long to read as somebody likes.
struct Slow {
    store: Arc<dyn Store>,
    /// Whether somebody reads them, and whether they may.
    state: std::sync::Mutex<(bool, bool)>,
    changed: std::sync::Condvar,
}

impl Slow {
    fn is_read(&self) -> bool {
        self.state.lock().unwrap().0
    }
    fn let_go(&self) {
        self.state.lock().unwrap().1 = true;
        self.changed.notify_all();
    }
}

impl Store for Slow {
    fn commit(&self, group: &[Commit]) -> Result<Vec<StoreOutcome>, StoreError> {
        self.store.commit(group)
    }
    fn get(&self, key: &Key) -> Result<Option<Vec<u8>>, StoreError> {
        self.store.get(key)
    }
    fn scan(&self, prefix: &[u8], after: Option<&Key>, limit: usize) -> Result<Rows, StoreError> {
        if prefix == keys::all_ledgers() {
            let mut state = self.state.lock().unwrap();
            state.0 = true;
            drop(self.changed.wait_while(state, |(_, may)| !*may).unwrap());
        }
        self.store.scan(prefix, after, limit)
    }
    fn scan_back(&self, prefix: &[u8], before: Option<&Key>, limit: usize) -> Result<Rows, StoreError> {
        self.store.scan_back(prefix, before, limit)
    }
    fn back(&self, log: &Key, before: Option<Mark>, limit: usize) -> Result<Items, StoreError> {
        self.store.back(log, before, limit)
    }
    fn items(&self, after: Option<Mark>, limit: usize) -> Result<AllItems, StoreError> {
        self.store.items(after, limit)
    }
    fn divide_logs(&self, keep_from: Option<Mark>) -> Result<Mark, StoreError> {
        self.store.divide_logs(keep_from)
    }
    fn health(&self) -> Result<(), StoreError> {
        self.store.health()
    }
    fn vault(&self) -> Option<&crate::store::sealed::Vault> {
        self.store.vault()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_reservation_ends_at_its_minute_while_the_daily_upkeep_is_at_work() {
    let clock = Arc::new(TurnedClock(watch::Sender::new(START)));
    let house = house_at(&clock).await;
    house.ok("PUT", "/v1/products/flt-20x25", &house.shop, product()).await;
    let store = json!({"name": "Store", "region": "Europe/Paris", "ready": "today"});
    house.ok("PUT", "/v1/stores/st-1", &house.shop, store).await;
    house.ok("PUT", "/v1/stock/st-1/flt-20x25", &house.shop, json!({"on_hand": 5})).await;
    let wanted = json!({"store": "st-1", "product": "flt-20x25", "qty": 1, "expires_in": 60});
    assert!(house.call("POST", "/v1/reservations", &house.shop, wanted).await.status < 300);
    let store = Arc::new(Slow { store: house.disk.open(), state: Default::default(), changed: Default::default() });
    let waiting = || store.scan(&keys::reservation_ends(), None, 10).unwrap().len();
    assert_eq!(waiting(), 1);

    clock.0.send_replace(START + Span::minutes(2));
    let mut config = Config::default();
    config.http.bind = "127.0.0.1:0".parse().unwrap();
    config.mqtt.bind = "127.0.0.1:0".parse().unwrap();
    let master = MasterKey::new([7; 32]);
    let gateway = Gateway::build(&config, clock.clone(), store.clone(), master).await.unwrap();
    for _ in 0..1_000 {
        if waiting() == 0 && store.is_read() {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    assert_eq!((waiting(), store.is_read()), (0, true), "the upkeep is not over");
    store.let_go();
    gateway.drain().await;
}
