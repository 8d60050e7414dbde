//! The shop while its customers press: prices, sellers, stock and a till, each changed by a task of its
//! own; and the shop's own book of what it was told, from which the verdict is reached.

use std::sync::Mutex;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::watch;

use super::door::{Door, Window};
use super::script::{Draw, Pace};

/// What the shop brings its own goods for.
pub const DELIVERY: i64 = 300;
pub const OWN: &str = "Enseigne X";
pub const OTHER: &str = "Filtres & Cie";
/// The longest pause between two changes of one kind, milliseconds.
const PAUSE_MILLISECONDS_MAX: u64 = 60;

/// What was said one after the other, each in force from some instant of its window on.
#[derive(Default)]
pub struct History<T>(Vec<(T, Window)>);

impl<T> History<T> {
    pub fn add(&mut self, what: T, window: Window) {
        self.0.push((what, window));
    }
    /// What may have been in force at an instant of this window.
    pub fn possible(&self, at: Window) -> impl Iterator<Item = &T> {
        let is_over =
            move |window: &Window| self.0.iter().any(|(_, later)| later.from >= window.to && later.to <= at.from);
        self.0.iter().filter(move |(_, window)| window.from <= at.to && !is_over(window)).map(|(what, _)| what)
    }
    /// All of it, for whoever reads a failure.
    pub fn told(&self) -> String
    where
        T: std::fmt::Debug,
    {
        let line = |(what, at): &(T, Window)| {
            format!("{what:?} {:.1}–{:.1}", at.from.as_secs_f64() * 1_000.0, at.to.as_secs_f64() * 1_000.0)
        };
        self.0.iter().map(line).collect::<Vec<_>>().join(", ")
    }
    pub fn all(&self) -> &[(T, Window)] {
        &self.0
    }
}

/// Goods that a till put aside.
pub struct AtTill {
    pub qty: u32,
    pub taken: Window,
    pub freed: Option<Window>,
}

/// All that the shop said and was answered.
#[derive(Default)]
pub struct Ledger {
    /// The price of a piece; none while it is not sold.
    pub own: History<Option<i64>>,
    /// What the other seller asks; none while it does not sell.
    pub other: History<Option<i64>>,
    pub in_store: History<Option<u32>>,
    pub at_other: History<Option<u32>>,
    pub tills: Vec<AtTill>,
    /// Pieces that a till may have put aside without hearing of it: a kill took the answer away.
    pub ghosts: u64,
}

impl Ledger {
    /// All of it, for whoever reads a failure.
    pub fn told(&self) -> String {
        let Ledger { own, other, in_store, at_other, .. } = self;
        let [own, other, in_store, at_other] = [own.told(), other.told(), in_store.told(), at_other.told()];
        format!("own price: {own}\nother price: {other}\nin the store: {in_store}\nat the other: {at_other}")
    }
}

pub struct Market {
    pub door: Door,
    pub round: u64,
    pub ledger: Mutex<Ledger>,
}

impl Market {
    /// A product of this round with its models, its triggers, another seller and a store.
    pub async fn open(door: &Door, operator: &Door, round: u64, draw: &mut Draw) -> Market {
        let market = Market { door: door.clone(), round, ledger: Mutex::default() };
        for pace in Pace::ALL {
            let model = json!({
                "maker": "acme", "kind": "thermostat", "locales": ["fr", "en"], "confirm": ["press2s"],
                "buttons": ["ok", "later"],
                "slots": [{"slot": "air_filter", "kind": "usage", "unit": "h", "capacity": 720}],
                "placements": [{"id": "home.card", "title_max": 40, "body_max": 160}],
            });
            let told = operator.call("PUT", &format!("/v1/models/{}", market.model(pace)), Some(&model), "").await;
            assert!(told.is_success(), "{}", told.body);
        }
        market.price(1_990).await;
        market.sell_elsewhere(draw).await;
        market.count(Some(6)).await;
        for pace in Pace::ALL {
            let path = format!("/v1/triggers/{}", market.model(pace));
            let told = door.call("PUT", &path, Some(&market.trigger(pace)), "").await;
            assert!(told.is_success(), "{}", told.body);
            let told = door.call("POST", &format!("{path}/publish"), Some(&json!({})), "").await;
            assert!(told.is_success(), "{}", told.body);
        }
        market
    }

    pub fn model(&self, pace: Pace) -> String {
        format!("th-{}-{}", self.round, pace.word())
    }
    pub fn product(&self) -> String {
        format!("flt-{}", self.round)
    }
    /// Where its stock stands.
    pub fn stock(&self) -> String {
        format!("/v1/stock/st-1/{}", self.product())
    }
    fn seller(&self) -> String {
        format!("/v1/products/{}/sellers/s-1/offer", self.product())
    }

    fn trigger(&self, pace: Pace) -> Value {
        let [price_lock, expires, cancel_window] = pace.terms();
        json!({
            "id": self.model(pace), "kind": "offer",
            "on": {"event": "slot", "device": {"model": self.model(pace)}, "slot": "air_filter", "field": "used",
                   "rises_above": "600 h", "rearm": "50 h"},
            "audience": {"consent": ["offers.device"]},
            "offer": {"product": self.product(), "price_lock": price_lock, "expires": expires,
                      "cancel_window": cancel_window, "actions": ["order", "snooze", "decline", "why"],
                      "fulfil": ["deliver", "collect"],
                      "text": {"fr": {"title": "Filtre", "body": "{{ price.total }}."},
                               "en": {"title": "Filter", "body": "{{ price.total }}."}}},
            "channel": {"order": ["device:home.card"]},
        })
    }

    /// The shop changes things until it is over; it ends with a product that is sold.
    pub async fn live(&self, seed: u64, all_offered: watch::Receiver<bool>, over: watch::Receiver<bool>) {
        let [prices, goods, till] = [1, 2, 3].map(|n| Draw::new(seed.wrapping_add(n)));
        let (a, b, c) = (over.clone(), over.clone(), over);
        tokio::join!(self.prices(prices, all_offered, a), self.goods(goods, b), self.till(till, c));
    }

    async fn prices(&self, mut draw: Draw, all_offered: watch::Receiver<bool>, over: watch::Receiver<bool>) {
        while pause(&mut draw, &over).await {
            // What is not sold is not offered: it goes when everybody has an offer.
            if *all_offered.borrow() && draw.one_in(12) {
                let told = self.door.call("DELETE", &format!("/v1/products/{}", self.product()), None, "").await;
                self.is_gone(told.window);
                tokio::time::sleep(draw.milliseconds(20)).await;
            }
            self.price(1_000 + i64::try_from(draw.below(2_000)).unwrap()).await;
        }
    }

    fn is_gone(&self, window: Window) {
        let mut ledger = self.ledger.lock().unwrap();
        ledger.own.add(None, window);
        // Who sold it beside the shop went with it.
        ledger.other.add(None, window);
    }

    async fn goods(&self, mut draw: Draw, over: watch::Receiver<bool>) {
        while pause(&mut draw, &over).await {
            match draw.below(8) {
                0..=3 => self.count(Some(u32::try_from(draw.below(30)).unwrap())).await,
                4 => self.count(None).await,
                5..=6 => self.sell_elsewhere(&mut draw).await,
                _ => {
                    let told = self.door.call("DELETE", &self.seller(), None, "").await;
                    if told.is_success() {
                        let mut ledger = self.ledger.lock().unwrap();
                        ledger.other.add(None, told.window);
                        ledger.at_other.add(None, told.window);
                    }
                }
            }
        }
    }

    async fn till(&self, mut draw: Draw, over: watch::Receiver<bool>) {
        for n in 0.. {
            if !pause(&mut draw, &over).await {
                return;
            }
            let qty = 1 + u32::try_from(draw.below(3)).unwrap();
            let body = json!({"store": "st-1", "product": self.product(), "qty": qty});
            let key = format!("till-{}-{n}", self.round);
            let told = self.door.call("POST", "/v1/reservations", Some(&body), &key).await;
            if told.tries > 1 {
                self.ledger.lock().unwrap().ghosts += u64::from(qty);
            }
            let Some(reservation) = told.word("reservation") else { continue };
            let mut at_till = AtTill { qty, taken: told.window, freed: None };
            tokio::time::sleep(draw.milliseconds(PAUSE_MILLISECONDS_MAX)).await;
            if draw.one_in(2) {
                let freed = self.door.call("DELETE", &format!("/v1/reservations/{reservation}"), None, "").await;
                // A kill may have kept the answer of the first try back: then it is gone already.
                assert!(freed.status == 204 || (freed.status == 404 && freed.tries > 1), "{}", freed.body);
                at_till.freed = Some(freed.window);
            }
            self.ledger.lock().unwrap().tills.push(at_till);
        }
    }

    async fn price(&self, minor: i64) {
        let fits = Pace::ALL.map(|pace| json!({"model": self.model(pace), "slot": "air_filter"}));
        let body = json!({
            "name": {"fr": "Filtre", "en": "Filter"}, "price": {"minor": minor, "currency": "EUR"},
            "delivery": {"minor": DELIVERY, "currency": "EUR"}, "tax_incl": true, "seller": "shop-a",
            "withdraw_days": 14, "fits": fits,
        });
        let told = self.door.call("PUT", &format!("/v1/products/{}", self.product()), Some(&body), "").await;
        assert!(told.is_success(), "{}", told.body);
        self.ledger.lock().unwrap().own.add(Some(minor), told.window);
    }

    async fn sell_elsewhere(&self, draw: &mut Draw) {
        let minor = 1_000 + i64::try_from(draw.below(2_000)).unwrap();
        let stock = (!draw.one_in(4)).then(|| u32::try_from(draw.below(12)).unwrap());
        let body = json!({"name": OTHER, "price": {"minor": minor, "currency": "EUR"}, "stock": stock});
        let told = self.door.call("PUT", &self.seller(), Some(&body), "").await;
        // 404 while the product is not sold.
        if told.is_success() {
            let mut ledger = self.ledger.lock().unwrap();
            ledger.other.add(Some(minor), told.window);
            ledger.at_other.add(stock, told.window);
        }
    }

    async fn count(&self, on_hand: Option<u32>) {
        let told = self.door.call("PUT", &self.stock(), Some(&json!({"on_hand": on_hand})), "").await;
        if told.is_success() {
            self.ledger.lock().unwrap().in_store.add(on_hand, told.window);
        }
    }
}

/// Whether it goes on after a while.
async fn pause(draw: &mut Draw, over: &watch::Receiver<bool>) -> bool {
    let mut over = over.clone();
    let wait = draw.milliseconds(PAUSE_MILLISECONDS_MAX) + Duration::from_millis(5);
    tokio::time::timeout(wait, over.wait_for(|over| *over)).await.is_err()
}
