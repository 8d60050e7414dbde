//! Whatever is accepted, declined, cancelled, expires, changes its price or runs out, in whatever order and
//! on whatever channel: an offer makes one order at most, and only on a quote that was told and still
//! held. Checked from what was said to the device and what stands in the shop, without `decide`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use hearthway_core::id::{OfferId, OrderId, ProductId, SellerId, StoreId};
use hearthway_core::input::{Answer, Choice, Command};
use hearthway_core::model::{Condition, Fulfil, Offer, Order, OrderState, Place, Product, SellerOffer, Store};
use hearthway_core::money::Money;
use hearthway_core::time::Span;
use hearthway_core::wire::DownMessage;
use proptest::prelude::*;

use crate::transcript::{used, with_cancel_window};
use crate::world::{World, shop, thermostat};

#[derive(Debug, Clone)]
enum Step {
    Accept { channel: u8, alternative: bool, collect: bool, qty: u32, old_rev: bool },
    Decline(u8),
    Cancel(u8),
    Price { of_other: bool, minor: i64 },
    Count { place: u8, on_hand: u32 },
    Pass(u16),
    Wear,
    Gone(bool),
    OtherGone(bool),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0u8..3, any::<bool>(), any::<bool>(), 1u32..3, prop::bool::weighted(0.1)).prop_map(
            |(channel, alternative, collect, qty, old_rev)| Step::Accept { channel, alternative, collect, qty, old_rev }
        ),
        1 => (0u8..3).prop_map(Step::Decline),
        1 => (0u8..3).prop_map(Step::Cancel),
        3 => (any::<bool>(), 1_000i64..3_000).prop_map(|(of_other, minor)| Step::Price { of_other, minor }),
        3 => (0u8..3, 0u32..3).prop_map(|(place, on_hand)| Step::Count { place, on_hand }),
        3 => (1u16..2_000).prop_map(Step::Pass),
        3 => Just(Step::Wear),
        1 => any::<bool>().prop_map(Step::Gone),
        1 => any::<bool>().prop_map(Step::OtherGone),
    ]
}

const DELIVERY: i64 = 300;

fn product_id() -> ProductId {
    ProductId::new("flt-20x25").unwrap()
}

/// The shop as it is, by itself.
struct Shop {
    world: World,
    price: i64,
    other_price: i64,
    has_other: bool,
    is_sold: bool,
    counted: BTreeMap<Place, u32>,
    /// The orders that were ever seen, by their offers.
    orders: BTreeMap<OfferId, BTreeSet<OrderId>>,
    made: usize,
}

impl Shop {
    fn new() -> Shop {
        let trigger = with_cancel_window("10 min");
        let trigger =
            trigger.replace("actions =", "price_lock = \"4h\"\nfulfil = [\"deliver\", \"collect\"]\nactions =");
        let mut world = World::at_home(&trigger);
        let store =
            Store { name: "Store".into(), opening: None, region: None, ready: None, hold_hours: 1, collects: true };
        world.rules.stores.insert((shop(), StoreId::new("st-1").unwrap()), Arc::new(store));
        let mut shop = Shop {
            world,
            price: 1_990,
            other_price: 2_000,
            has_other: true,
            is_sold: true,
            counted: BTreeMap::new(),
            orders: BTreeMap::new(),
            made: 0,
        };
        shop.publish();
        shop
    }
    /// The catalogue says what is true.
    fn publish(&mut self) {
        let key = (shop(), product_id());
        let eur = hearthway_core::money::Currency::new("EUR").unwrap();
        if !self.is_sold {
            self.world.rules.products.listed.remove(&key);
            return;
        }
        let other = SellerOffer {
            seller: SellerId::new("s-1").unwrap(),
            name: None,
            price: Money::new(self.other_price, eur),
            delivery: Money::new(0, eur),
            lead_days: None,
            condition: Condition::New,
        };
        let name = [("fr".to_owned(), "Filtre".to_owned())].into();
        let product = Product {
            delivery: Money::new(DELIVERY, eur),
            fits: vec![hearthway_core::model::Fit {
                model: "th-200".to_owned().try_into().unwrap(),
                slot: "air_filter".to_owned().try_into().unwrap(),
            }],
            sellers: self.has_other.then_some(other).into_iter().collect(),
            ..Product::plain(product_id(), name, Money::new(self.price, eur), "shop-a")
        };
        self.world.rules.products.listed.insert(key, Arc::new(product));
    }
    /// What was told last of an offer that is worth answering: nothing after a withdrawal.
    fn told(&self, id: OfferId) -> Option<Arc<Offer>> {
        let mut told = None;
        for (_, said) in &self.world.ever_said {
            match said {
                DownMessage::OfferPut(offer) if offer.id == id => told = Some(Arc::clone(offer)),
                DownMessage::OfferWithdraw { offer, .. } if *offer == id => told = None,
                _ => {}
            }
        }
        told
    }
    fn newest(&self) -> Option<OfferId> {
        self.world.ever_said.iter().rev().find_map(|(_, said)| match said {
            DownMessage::OfferPut(offer) => Some(offer.id),
            _ => None,
        })
    }
    fn all_orders(&self) -> Vec<Order> {
        self.world.orders().into_iter().cloned().collect()
    }
    /// How many are left at a place by what was counted and what live orders hold.
    fn left(&self, place: &Place) -> Option<i64> {
        let on_hand = i64::from(*self.counted.get(place)?);
        let all = self.all_orders();
        let held = all.iter().filter_map(|order| order.held.as_ref()).filter(|held| held.place == *place);
        Some(on_hand - held.map(|held| i64::from(held.qty)).sum::<i64>())
    }
    fn answer(&mut self, channel: u8, offer: OfferId, rev: u32, answer: Answer) {
        if channel == 0 {
            let choice = answer.choice().map(|choice| {
                let mut json = serde_json::Map::new();
                choice.qty.map(|qty| json.insert("qty".into(), qty.into()));
                choice.fulfil.map(|way| json.insert("fulfil".into(), serde_json::to_value(way).unwrap()));
                choice.store.map(|store| json.insert("store".into(), store.as_str().into()));
                choice.alternative.map(|other| json.insert("alternative".into(), other.into()));
                format!(r#","choice":{}"#, serde_json::Value::from(json))
            });
            let body = format!(
                r#"{{"offer":"{offer}","rev":{rev},"answer":"{}"{}}}"#,
                answer.as_str(),
                choice.unwrap_or_default()
            );
            let _ = self.world.up(&thermostat(), "up/offer/answer", &body);
        } else {
            let channel = ["", "app", "store"][usize::from(channel)].into();
            let what = Command::AnswerOffer { offer, rev, answer, channel, profile: None };
            let _ = self.world.command(&thermostat(), what);
        }
    }
    fn play(&mut self, step: &Step) {
        match *step {
            Step::Accept { channel, alternative, collect, qty, old_rev } => {
                let Some(offer) = self.newest() else { return };
                let last = self.world.home_of(&thermostat()).offers.get(&offer).map_or(1, |offer| offer.rev);
                let rev = if old_rev { last.saturating_sub(1).max(1) } else { last };
                let choice = Choice {
                    qty: Some(qty),
                    fulfil: collect.then_some(Fulfil::Collect),
                    store: collect.then(|| StoreId::new("st-1").unwrap()),
                    alternative: alternative.then(|| "a1".to_owned()),
                };
                let (told, now) = (self.told(offer), self.world.now);
                let before: BTreeSet<OrderId> = self.all_orders().iter().map(|order| order.id).collect();
                let left = [0, 1, 2].map(|n| (place(n), self.left(&place(n))));
                self.answer(channel, offer, rev, Answer::accept(choice));
                for order in self.all_orders().iter().filter(|order| !before.contains(&order.id)) {
                    let told = told.as_ref().expect("an order without an offer that was told and not taken back");
                    assert!(now < told.expires_at, "an order on an offer that has ended");
                    assert_eq!(told.rev, rev, "an order on another revision than the last one that was told");
                    self.holds(order, told, &left.clone().into());
                    self.made += 1;
                }
            }
            Step::Decline(channel) => {
                if let Some(offer) = self.newest() {
                    self.answer(channel, offer, self.told(offer).map_or(1, |offer| offer.rev), Answer::Decline);
                }
            }
            Step::Cancel(channel) => {
                let Some(order) = self.all_orders().last().map(|order| order.id) else { return };
                let what =
                    Command::CancelOrder { order, channel: ["device", "app", "store"][usize::from(channel)].into() };
                let _ = self.world.command(&thermostat(), what);
            }
            Step::Price { of_other, minor } => {
                *(if of_other { &mut self.other_price } else { &mut self.price }) = minor;
                self.publish();
            }
            Step::Count { place: n, on_hand } => {
                self.counted.insert(place(n), on_hand);
                let stock = &mut self.world.draws.get_mut().stock;
                stock.count(&shop(), &product_id(), &place(n), Some(on_hand), 0);
            }
            Step::Pass(minutes) => self.world.pass(Span::minutes(minutes.into())),
            Step::Wear => {
                for hours in [10, 650] {
                    let _ = self.world.up(&thermostat(), "up/slot", &used(hours));
                }
            }
            Step::Gone(is_gone) => {
                self.is_sold = !is_gone;
                self.publish();
            }
            Step::OtherGone(is_gone) => {
                self.has_other = !is_gone;
                self.publish();
            }
        }
    }
    /// The order's price is the one that was told; behind its lock it is the present one, and no higher.
    fn holds(&self, order: &Order, told: &Offer, left: &BTreeMap<Place, Option<i64>>) {
        assert!(self.is_sold, "an order of what is not sold");
        let seller = order.seller.as_ref().unwrap();
        let is_own = seller.as_str() == "shop-a";
        assert!(is_own || self.has_other, "an order at a seller that is gone");
        let quoted = match told.seller.as_ref() == Some(seller) {
            true => told.price.as_ref().unwrap(),
            false => &told.alternatives.iter().find(|other| other.seller == *seller).expect("nobody told of it").price,
        };
        let piece = order.lines[0].price.minor;
        if self.world.now < quoted.lock_until {
            assert_eq!(piece, quoted.item.minor, "inside its lock the price holds");
        } else {
            assert_eq!(piece, if is_own { self.price } else { self.other_price }, "behind it the present one holds");
            assert!(piece <= quoted.item.minor, "and never a higher one");
        }
        let is_brought = order.fulfil == Fulfil::Deliver;
        let delivery = if is_own && is_brought { DELIVERY } else { 0 };
        assert_eq!(order.total.minor, piece * i64::from(order.lines[0].qty) + delivery);
        let from = if is_brought { Place::Seller(seller.clone()) } else { place(2) };
        if let Some(left) = left[&from] {
            assert!(left >= i64::from(order.lines[0].qty), "{left} were left at {from}");
        }
    }
    fn check(&mut self) {
        for order in self.all_orders() {
            let ids = self.orders.entry(order.offer).or_default();
            ids.insert(order.id);
            assert_eq!(ids.len(), 1, "two orders of one offer");
            assert!(order.held.is_none() || order.state != OrderState::Cancelled, "a cancelled order frees its goods");
        }
        for n in 0..3 {
            let Some(left) = self.left(&place(n)) else { continue };
            let free = self.world.draws.borrow().stock.level(&shop(), &product_id(), &place(n)).free();
            assert_eq!(free.map(i64::from), Some(left.max(0)), "what is free at {}", place(n));
        }
    }
}

fn place(n: u8) -> Place {
    match n {
        0 => Place::Seller(SellerId::new("shop-a").unwrap()),
        1 => Place::Seller(SellerId::new("s-1").unwrap()),
        _ => Place::Store(StoreId::new("st-1").unwrap()),
    }
}

#[test]
fn a_thousand_interleavings_never_make_two_orders_or_one_without_a_live_quote() {
    let mut made = 0;
    let config = ProptestConfig { cases: 1_000, failure_persistence: None, ..ProptestConfig::default() };
    let mut runner = proptest::test_runner::TestRunner::new_with_rng(
        config,
        proptest::test_runner::TestRng::deterministic_rng(proptest::test_runner::RngAlgorithm::ChaCha),
    );
    let total = std::cell::Cell::new(0);
    let ran = runner.run(&prop::collection::vec(step(), 4..16), |steps| {
        let mut shop = Shop::new();
        shop.play(&Step::Wear);
        for step in &steps {
            shop.play(step);
            shop.check();
        }
        total.set(total.get() + shop.made);
        Ok(())
    });
    made += total.get();
    ran.unwrap_or_else(|failure| panic!("{failure}"));
    assert!(made > 300, "the stories must sell something to be worth it: {made} orders");
}
