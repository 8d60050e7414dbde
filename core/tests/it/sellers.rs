//! Who sells it, where it can be had, and what becomes of an accept when that changed meanwhile.

use std::sync::Arc;

use hearthway_core::code::Code;
use hearthway_core::decision::Reply;
use hearthway_core::event_out::EventType;
use hearthway_core::id::{OfferId, PriceListId, ProductId, SellerId, StoreId};
use hearthway_core::input::{Answer, Choice, Command};
use hearthway_core::model::{
    Category, Condition, Fulfil, LeadDays, ListedPrice, Offer, OfferState, Order, OrderState, Place, PriceWindow,
    Product, Promotion, RankBy, Ranking, Reduction, Retailer, SellerOffer, Store,
};
use hearthway_core::money::Money;
use hearthway_core::time::{Span, Timestamp};
use hearthway_core::trace::Fact;
use hearthway_core::wire::{DownMessage, offer_json, order_json};

use crate::transcript::{FILTER_WORN, used};
use crate::world::{World, shop, thermostat};

pub(crate) fn eur(text: &str) -> Money {
    Money::parse(&format!("{text} EUR")).unwrap()
}
pub(crate) fn product_id() -> ProductId {
    ProductId::new("flt-20x25").unwrap()
}
pub(crate) fn seller(id: &str) -> SellerId {
    SellerId::new(id).unwrap()
}
pub(crate) fn at_seller(id: &str) -> Place {
    Place::Seller(seller(id))
}
pub(crate) fn in_store(id: &str) -> Place {
    Place::Store(StoreId::new(id).unwrap())
}

/// A home whose shop's product somebody changes.
pub(crate) fn change(world: &mut World, change: impl FnOnce(&mut Product)) {
    let product = world.rules.products.listed.get_mut(&(shop(), product_id()));
    change(Arc::make_mut(product.unwrap()));
}
pub(crate) fn rank(world: &mut World, policy: &[RankBy], sellers: Option<&[&str]>) {
    let sellers = sellers.map(|sellers| sellers.iter().map(|id| seller(id)).collect());
    let retailer: &mut Retailer = Arc::make_mut(world.rules.retailers.get_mut(&shop()).unwrap());
    retailer.ranking = Ranking { policy: policy.to_vec(), sellers };
}
pub(crate) fn count(world: &World, place: Place, on_hand: u32) {
    world.draws.borrow_mut().stock.count(&shop(), &product_id(), &place, Some(on_hand), 0);
}
pub(crate) fn free(world: &World, place: &Place) -> Option<u32> {
    world.draws.borrow().stock.level(&shop(), &product_id(), place).free()
}
pub(crate) fn sold_by(id: &str, price: &str, delivery: &str, days: u16) -> SellerOffer {
    let lead_days = Some(LeadDays { p10: days, p50: days, p90: days });
    let (price, delivery) = (eur(price), eur(delivery));
    SellerOffer {
        seller: seller(id),
        name: Some(format!("Shop {id}")),
        price,
        delivery,
        lead_days,
        condition: Condition::New,
    }
}

pub(crate) fn world(more: &str) -> World {
    let trigger = FILTER_WORN.replace("actions =", &format!("price_lock = \"24h\"\n{more}\nactions ="));
    let mut world = World::at_home(&trigger);
    for id in ["st-1", "st-2"] {
        let store = Store {
            name: format!("Store {id}"),
            opening: None,
            region: Some(if id == "st-2" { "Europe/Paris" } else { "Europe/Berlin" }.into()),
            ready: Some("today".into()),
            hold_hours: 72,
            collects: true,
        };
        world.rules.stores.insert((shop(), StoreId::new(id).unwrap()), Arc::new(store));
    }
    world
}
/// Three sellers: the shop itself for 19.90, one for 18.00 in all, one for 17.00 that takes long.
pub(crate) fn three(more: &str) -> World {
    let mut world = world(more);
    change(&mut world, |product| {
        product.lead_days = Some(LeadDays { p10: 1, p50: 2, p90: 3 });
        product.sellers = vec![sold_by("s-1", "15.00", "3.00", 4), sold_by("s-2", "17.00", "0.00", 9)];
    });
    world
}

pub(crate) fn try_offer(world: &mut World) -> Option<Offer> {
    for hours in [590, 612] {
        world.up(&thermostat(), "up/slot", &used(hours)).unwrap();
    }
    world.offers_put(&thermostat()).pop()
}
pub(crate) fn offered(world: &mut World) -> Offer {
    try_offer(world).expect("an offer")
}

pub(crate) fn accept_rev(world: &mut World, offer: OfferId, rev: u32, choice: Choice) -> Result<Reply, Code> {
    let answer = Answer::accept(choice);
    world.command(&thermostat(), Command::AnswerOffer { offer, rev, answer, channel: "app".into(), profile: None })
}
pub(crate) fn accept(world: &mut World, offer: &Offer) -> Result<Reply, Code> {
    accept_rev(world, offer.id, offer.rev, Choice::default())
}
pub(crate) fn status(world: &mut World, state: OrderState) -> Result<Reply, Code> {
    let (order, rev) = (order(world).id, order(world).rev + 1);
    world.command(&thermostat(), Command::SetOrderStatus { order, rev, state, eta: None })
}
pub(crate) fn order(world: &World) -> Order {
    let orders = world.orders();
    assert_eq!(orders.len(), 1);
    orders[0].clone()
}
pub(crate) fn first_block(world: &World) -> String {
    let trace = world.last_trace();
    trace.steps.iter().find(|step| Some(step.step) == trace.first_block).map_or("", |step| step.code()).to_owned()
}
pub(crate) fn collect(store: &str) -> Choice {
    Choice {
        fulfil: Some(hearthway_core::model::Fulfil::Collect),
        store: Some(StoreId::new(store).unwrap()),
        ..Choice::default()
    }
}
pub(crate) const BOTH: &str = "fulfil = [\"deliver\", \"collect\"]";

#[test]
fn the_policy_says_who_sells_and_the_trace_shows_every_seller_with_its_figures() {
    use RankBy::{Delay, OwnFirst, TotalPrice};
    for (policy, expected) in [
        (vec![], ["Enseigne X", "Shop s-2", "Shop s-1"]),
        (vec![TotalPrice], ["Shop s-2", "Shop s-1", "Enseigne X"]),
        (vec![Delay, TotalPrice], ["Enseigne X", "Shop s-1", "Shop s-2"]),
        (vec![OwnFirst, Delay], ["Enseigne X", "Shop s-1", "Shop s-2"]),
    ] {
        let mut world = three("");
        rank(&mut world, &policy, None);
        let offer = offered(&mut world);
        let others = offer.alternatives.iter().map(|other| other.sold_by.as_str());
        let all: Vec<&str> = offer.sold_by.as_deref().into_iter().chain(others).collect();
        assert_eq!(all, expected, "{policy:?}");
        let step = world.last_trace().steps.iter().find(|step| step.step.as_str() == "offer").unwrap();
        let totals = step.numbers.iter().filter(|(name, _)| *name == "total_minor");
        let mut totals: Vec<&Fact> = totals.map(|(_, fact)| fact).collect();
        totals.sort_by_key(|fact| format!("{fact:?}"));
        assert_eq!(totals, [&Fact::Int(1700), &Fact::Int(1800), &Fact::Int(1990)]);
    }
    let mut world = three("sellers = { policy = [\"total_price\"], max_alternatives = 1 }");
    let shown = offer_json(&offered(&mut world));
    assert_eq!((&shown["sold_by"], &shown["legal"]["seller_id"]), (&"Shop s-2".into(), &"s-2".into()));
    assert_eq!(shown["alternatives"].as_array().unwrap().len(), 1, "the trigger's own words are stronger");
    assert_eq!(shown["alternatives"][0]["id"], "a1");
    assert_eq!(shown["alternatives"][0]["total"]["minor"], 1800);
    assert_eq!(shown["ships"]["by"], "2026-03-27", "nine days after 2026-03-18");
}

#[test]
fn who_is_not_listed_or_has_none_left_is_passed_over() {
    let mut world = three("");
    rank(&mut world, &[RankBy::TotalPrice], Some(&["s-1"]));
    assert_eq!(offered(&mut world).sold_by.as_deref(), Some("Shop s-1"));
    let mut world = three("");
    rank(&mut world, &[RankBy::TotalPrice], None);
    count(&world, at_seller("s-2"), 0);
    assert_eq!(offered(&mut world).sold_by.as_deref(), Some("Shop s-1"));
    let mut world = three("");
    ["s-1", "s-2", "shop-a"].iter().for_each(|id| count(&world, at_seller(id), 0));
    assert!(try_offer(&mut world).is_none());
    assert_eq!(first_block(&world), "sold_out");
}

#[test]
fn another_seller_is_chosen_by_the_customer_and_has_one_less() {
    let mut world = three("");
    count(&world, at_seller("s-2"), 1);
    let offer = offered(&mut world);
    let body = format!(
        r#"{{"offer":"{}","rev":1,"answer":"accept","nonce":"n-1","choice":{{"alternative":"a1"}}}}"#,
        offer.id
    );
    world.up(&thermostat(), "up/offer/answer", &body).unwrap();
    let made = order(&world);
    assert_eq!((made.sold_by.as_deref(), made.total), (Some("Shop s-2"), eur("17.00")));
    assert_eq!(free(&world, &at_seller("s-2")), Some(0));
    let mut world = three("");
    let offer = offered(&mut world);
    let unknown = Choice { alternative: Some("a7".into()), ..Choice::default() };
    assert_eq!(accept_rev(&mut world, offer.id, 1, unknown), Err(Code::PayloadInvalid));
}

#[test]
fn a_seller_that_is_gone_hands_over_to_one_that_asks_no_more_else_the_offer_ends() {
    let mut world = three("");
    let offer = offered(&mut world);
    count(&world, at_seller("shop-a"), 0);
    assert_eq!(accept(&mut world, &offer), Err(Code::OfferPriceChanged), "another one is asked about");
    let again = world.offers_put(&thermostat()).remove(0);
    assert_eq!(
        (again.rev, again.sold_by.as_deref(), again.price.as_ref().unwrap().total),
        (2, Some("Shop s-2"), eur("17.00"))
    );
    change(&mut world, |product| product.sellers.retain(|other| other.seller != seller("s-2")));
    assert_eq!(accept(&mut world, &again), Err(Code::OfferOutOfStock), "who is left asks more than was agreed");
    assert!(matches!(world.offer_states(&thermostat())[..], [OfferState::Withdrawn]));
    assert!(world.heard(&thermostat()).iter().any(|said| matches!(said, DownMessage::OfferWithdraw { .. })));
    assert_eq!(accept(&mut world, &again), Err(Code::OfferOutOfStock), "and says so again");
    assert!(world.orders().is_empty());
}

#[test]
fn an_offer_of_a_seller_or_product_that_is_gone_is_not_said_again() {
    for product_too in [false, true] {
        let mut world = three("sellers = { policy = [\"total_price\"] }");
        let offer = offered(&mut world);
        match product_too {
            true => drop(world.rules.products.listed.remove(&(shop(), product_id()))),
            false => change(&mut world, |product| product.sellers.clear()),
        }
        let waiting = vec![offer.id];
        world.input(&thermostat(), hearthway_core::input::What::Reachable { waiting }).unwrap();
        assert!(matches!(world.offer_states(&thermostat())[..], [OfferState::Withdrawn]), "{product_too}");
    }
    let mut world = world("");
    let offer = offered(&mut world);
    world.rules.products.listed.clear();
    assert_eq!(accept(&mut world, &offer), Err(Code::OfferOutOfStock));
}

#[test]
fn the_last_piece_is_sold_once() {
    let mut world = world("");
    count(&world, at_seller("shop-a"), 1);
    let offer = offered(&mut world);
    let two = Choice { qty: Some(2), ..Choice::default() };
    assert_eq!(accept_rev(&mut world, offer.id, 1, two), Err(Code::OfferOutOfStock), "two were wanted, one is there");
    let mut world = self::world("");
    count(&world, at_seller("shop-a"), 1);
    let offer = offered(&mut world);
    accept(&mut world, &offer).unwrap();
    assert_eq!(free(&world, &at_seller("shop-a")), Some(0));
    status(&mut world, OrderState::Refused).unwrap();
    assert_eq!(free(&world, &at_seller("shop-a")), Some(1), "a refused order frees it");
}

#[test]
fn what_is_collected_is_put_aside_has_a_code_and_waits_until_its_deadline() {
    let mut world = world(BOTH);
    change(&mut world, |product| product.delivery = eur("3.00"));
    ["st-1", "st-2"].iter().for_each(|id| count(&world, in_store(id), 2));
    let offer = offered(&mut world);
    let near: Vec<&str> = offer.stores.iter().map(|store| store.store.as_str()).collect();
    assert_eq!(near, ["st-2", "st-1"], "of the home's own region first");
    let nowhere = Choice { store: None, ..collect("st-1") };
    assert_eq!(accept_rev(&mut world, offer.id, 1, nowhere), Err(Code::PayloadInvalid));
    accept_rev(&mut world, offer.id, 1, collect("st-2")).unwrap();
    let made = order(&world);
    let pickup = made.pickup.clone().unwrap();
    assert_eq!((made.total, pickup.code.len(), free(&world, &in_store("st-2"))), (eur("19.90"), 8, Some(1)));
    assert_eq!(order_json(&made)["pickup"]["store"], "st-2");
    let price = world.home_of(&thermostat()).offers[&offer.id].price.clone().unwrap();
    assert_eq!((price.total, price.delivery), (eur("19.90"), eur("0.00")), "what is told of the offer adds up");
    let told = &world.told.iter().rfind(|event| event.kind == EventType::OrderRequested).unwrap().data;
    assert_eq!(told["pickup"], serde_json::json!({"store": "st-2", "code": pickup.code}), "the shop need not ask back");
    assert_eq!(told["seller"], "shop-a");
    status(&mut world, OrderState::ReadyForPickup).unwrap();
    let until = order(&world).pickup.unwrap().until.unwrap();
    assert_eq!(until, world.now + Span::hours(72));
    world.pass(Span::hours(73));
    let over = order(&world);
    assert_eq!((over.state, free(&world, &in_store("st-2"))), (OrderState::PickupExpired, Some(2)));
    let shelf = world.home_of(&thermostat()).supply.shelves.get(&product_id()).cloned().unwrap_or_default();
    assert_eq!((shelf.spares, shelf.bought.len()), (0, 0), "nobody has it, nobody bought it");
}

#[test]
fn what_was_picked_up_is_gone_until_the_next_count() {
    let mut world = world(BOTH);
    count(&world, in_store("st-1"), 2);
    let offer = offered(&mut world);
    accept_rev(&mut world, offer.id, 1, Choice { store: None, ..collect("st-1") }).unwrap();
    assert!(order(&world).pickup.is_some(), "where one store has it, it is that one");
    status(&mut world, OrderState::ReadyForPickup).unwrap();
    status(&mut world, OrderState::PickedUp).unwrap();
    world.pass(Span::hours(100));
    assert_eq!((order(&world).state, free(&world, &in_store("st-1"))), (OrderState::PickedUp, Some(1)));
    assert_eq!(world.home_of(&thermostat()).supply.shelves[&product_id()].spares, 1);
}

#[test]
fn a_store_that_sold_out_leaves_the_others_and_the_door() {
    let mut world = world(BOTH);
    ["st-1", "st-2"].iter().for_each(|id| count(&world, in_store(id), 1));
    let offer = offered(&mut world);
    count(&world, in_store("st-2"), 0);
    assert_eq!(accept_rev(&mut world, offer.id, 1, collect("st-2")), Err(Code::OfferPriceChanged));
    let again = world.offers_put(&thermostat()).remove(0);
    assert_eq!((again.rev, again.stores.len(), again.fulfil.len()), (2, 1, 2));
    assert_eq!(again.price.unwrap().total, eur("19.90"), "the price stays as it was");
    accept_rev(&mut world, again.id, 2, Choice::default()).unwrap();
    // Where no store has it, it cannot be collected; where it can only be collected, it is not offered.
    let mut world = self::world(BOTH);
    assert_eq!(offered(&mut world).fulfil.len(), 1);
    let mut world = self::world("fulfil = [\"collect\"]");
    assert!(try_offer(&mut world).is_none());
    assert_eq!(first_block(&world), "no_store");
}

#[test]
fn promotions_and_windows_make_the_price_and_the_best_promotion_holds_alone() {
    let mut world = world("");
    let now = world.now;
    change(&mut world, |product| {
        let (from, until) = (now, Some(now + Span::hours(12)));
        product.prices = vec![PriceWindow { from, until, price: eur("18.00") }];
        product.promotions = vec![
            Promotion { from, until, off: Reduction::Percent(1250) },
            Promotion { from, until, off: Reduction::Amount(eur("1.00")) },
        ];
    });
    let offer = offered(&mut world);
    let price = offer.price.clone().unwrap();
    assert_eq!((price.total, price.was, price.reduced), (eur("15.75"), Some(eur("18.00")), None));
    world.pass(Span::hours(13));
    accept(&mut world, &offer).unwrap();
    assert_eq!(order(&world).total, eur("15.75"), "the lock outlives the promotion");
    let mut world = self::world("");
    assert_eq!(offered(&mut world).price.unwrap().was, None);
}

#[test]
fn a_list_holds_where_no_window_of_the_product_does_and_promotions_come_off_it() {
    let now = Timestamp(1_800_000_000_000);
    let at = |hours: i64| now + Span::hours(hours);
    let window =
        |from: i64, until: i64, price: &str| PriceWindow { from: at(from), until: Some(at(until)), price: eur(price) };
    let listed = |list: &str, window| ListedPrice { list: PriceListId::new(list).unwrap(), window };
    let product = Product {
        prices: vec![window(0, 2, "5.00")],
        listed: vec![listed("a", window(1, 4, "6.00")), listed("b", window(0, 6, "7.00"))],
        promotions: vec![Promotion { from: at(3), until: Some(at(5)), off: Reduction::Percent(5000) }],
        ..Product::plain(product_id(), Default::default(), eur("9.00"), "shop-a")
    };
    let costs: Vec<_> = (0..7).map(|hours| product.piece_at(at(hours)).minor).collect();
    assert_eq!(costs, [500, 500, 600, 300, 350, 700, 900]);
    let mut changes = vec![now - Span(1)];
    while let Some(next) = product.next_price_change(*changes.last().unwrap()) {
        changes.push(next);
    }
    let hours: Vec<i64> = changes[1..].iter().map(|change| (*change - now).0 / Span::hours(1).0).collect();
    assert_eq!(hours, [0, 1, 2, 3, 4, 5, 6], "a quote without a lock ends where any of them may change the price");
}

#[test]
fn a_refunded_piece_gives_its_share_back_is_no_spare_and_is_not_proposed_for_a_season() {
    let mut world = world("");
    world.rules.triggers = {
        let text = FILTER_WORN
            .replace("[trigger.offer]", "[trigger.limits]\nbudget = { amount = \"100.00 EUR\" }\n[trigger.offer]");
        crate::world::set_triggers(&mut world.rules, &text);
        world.rules.triggers.clone()
    };
    let offer = offered(&mut world);
    accept_rev(&mut world, offer.id, 1, Choice { qty: Some(3), ..Choice::default() }).unwrap();
    status(&mut world, OrderState::Delivered).unwrap();
    let trigger = offer.trigger.clone();
    let spent = |world: &World| world.draws.borrow().spent(&shop(), &trigger, Some(eur("1").currency));
    assert_eq!((spent(&world).count, spent(&world).minor), (1, 5970));
    let id = order(&world).id;
    let refund = |world: &mut World, qty| {
        let lines = vec![(product_id(), qty)];
        world.command(&thermostat(), Command::RefundOrder { order: id, rev: None, lines })
    };
    assert_eq!(refund(&mut world, 4), Err(Code::PayloadInvalid));
    refund(&mut world, 1).unwrap();
    let made = order(&world);
    assert_eq!((made.state, made.lines[0].refunded), (OrderState::PartiallyRefunded, 1));
    assert_eq!((spent(&world).count, spent(&world).minor), (1, 3980));
    assert_eq!(world.home_of(&thermostat()).supply.shelves[&product_id()].spares, 2);
    for hours in [10, 650] {
        world.up(&thermostat(), "up/slot", &used(hours)).unwrap();
    }
    assert_eq!(first_block(&world), "just_refunded");
    world.pass(Span::days(91));
    for hours in [10, 650] {
        world.up(&thermostat(), "up/slot", &used(hours)).unwrap();
    }
    assert_ne!(first_block(&world), "just_refunded");
    refund(&mut world, 2).unwrap();
    assert_eq!((order(&world).state, spent(&world).count, spent(&world).minor), (OrderState::Refunded, 0, 0));
    assert_eq!(refund(&mut world, 1), Err(Code::StateVersionConflict));
}

#[test]
fn a_refund_says_how_much_money_is_back_and_the_delivery_comes_with_the_last_piece() {
    let mut world = world("");
    change(&mut world, |product| product.delivery = eur("4.90"));
    let offer = offered(&mut world);
    accept_rev(&mut world, offer.id, 1, Choice { qty: Some(3), ..Choice::default() }).unwrap();
    assert_eq!(order_json(&order(&world)).get("refunded"), None, "nothing is back");
    status(&mut world, OrderState::Delivered).unwrap();
    for (total, back) in [("64.60", "19.90"), ("64.60", "39.80"), ("64.60", "64.60")] {
        let lines = vec![(product_id(), 1)];
        let refund = Command::RefundOrder { order: order(&world).id, rev: None, lines };
        world.command(&thermostat(), refund).unwrap();
        let made = order(&world);
        assert_eq!((made.total, made.refunded()), (eur(total), eur(back)));
        let told = serde_json::json!({"minor": eur(back).minor, "currency": "EUR"});
        assert_eq!(order_json(&made)["refunded"], told, "on the device");
        assert_eq!(world.told.last().unwrap().data["refunded"], told, "in the shop's system");
    }
}

#[test]
fn an_order_is_withdrawn_from_on_the_device_while_the_right_lasts() {
    let mut world = world("");
    let offer = offered(&mut world);
    accept(&mut world, &offer).unwrap();
    assert_eq!(order_json(&order(&world))["can"], serde_json::json!(["withdraw"]));
    let body = format!(r#"{{"order":"{}","op":"withdraw","nonce":"n-9"}}"#, order(&world).id);
    status(&mut world, OrderState::Delivered).unwrap();
    world.pass(Span::days(13));
    let rev = order(&world).rev;
    world.up(&thermostat(), "up/order", &body).unwrap();
    let withdrawn = order(&world);
    assert_eq!((withdrawn.rev, withdrawn.state), (rev + 1, OrderState::Delivered));
    assert_eq!(withdrawn.withdrawn_at, Some(world.now));
    world.up(&thermostat(), "up/order", &body).unwrap();
    assert_eq!(order(&world).rev, rev + 1, "once is enough");
    status(&mut world, OrderState::Returned).unwrap();

    let mut world = self::world("");
    let offer = offered(&mut world);
    accept(&mut world, &offer).unwrap();
    let body = format!(r#"{{"order":"{}","op":"withdraw","nonce":"n-9"}}"#, order(&world).id);
    status(&mut world, OrderState::Delivered).unwrap();
    world.pass(Span::days(14));
    assert_eq!(world.up(&thermostat(), "up/order", &body), Err(Code::OrderNotCancellable));
}

#[test]
fn a_part_is_sent_line_by_line_and_the_last_part_is_all() {
    let mut world = world("");
    let offer = offered(&mut world);
    accept_rev(&mut world, offer.id, 1, Choice { qty: Some(3), ..Choice::default() }).unwrap();
    let send = |world: &mut World, qty| {
        let (order, rev) = (order(world).id, order(world).rev + 1);
        let lines = vec![(product_id(), qty)];
        world.command(&thermostat(), Command::ShipLines { order, rev, lines, eta: None })
    };
    send(&mut world, 1).unwrap();
    assert_eq!((order(&world).state, order(&world).lines[0].shipped), (OrderState::PartiallyShipped, 1));
    assert_eq!(send(&mut world, 3), Err(Code::PayloadInvalid));
    send(&mut world, 2).unwrap();
    assert_eq!(order(&world).state, OrderState::Shipped);
    assert_eq!(status(&mut world, OrderState::ReadyForPickup), Err(Code::StateVersionConflict), "it is delivered");
}

#[test]
fn a_category_decides_how_it_is_confirmed_and_where_it_shows() {
    let of = |category: Category| {
        let mut world = world("");
        change(&mut world, |product| product.category = Some(category));
        let offer = try_offer(&mut world);
        (offer, first_block(&world))
    };
    let plain = Category { id: "wine".into(), never_auto: false, age_limited: false, shared_ok: true };
    let confirmed = |offer: Option<Offer>| offer.unwrap().confirm.unwrap().0;
    assert_eq!(confirmed(of(plain.clone()).0), "press2s");
    let (offer, block) = of(Category { shared_ok: false, ..plain.clone() });
    assert!(offer.is_none() && block == "not_for_shared", "{block}");
    assert!(!Product { category: Some(Category { age_limited: true, ..plain }), ..sample() }.may_be_automatic());
}

fn sample() -> Product {
    Product::plain(product_id(), Default::default(), eur("1"), "shop-a")
}

#[test]
fn an_order_that_would_not_be_lawful_goes_on_in_the_app() {
    let unlawful: [fn(&mut Product); 3] = [
        |product| product.tax_incl = false,
        |product| product.name = [("fr".to_owned(), " ".to_owned())].into(),
        |product| product.seller = " ".into(),
    ];
    for (n, wrong) in unlawful.into_iter().enumerate() {
        let mut world = world("");
        change(&mut world, wrong);
        let offer = offered(&mut world);
        let actions: Vec<&str> = offer.actions.iter().map(|action| action.as_str()).collect();
        assert_eq!(actions[0], "open_app", "{n}");
        assert!(offer.confirm.is_none());
        assert_eq!(accept(&mut world, &offer), Err(Code::OfferNotAllowed));
    }
}

#[test]
fn another_sellers_goods_are_delivered_and_only_the_shops_own_are_collected() {
    let mut world = three(BOTH);
    rank(&mut world, &[RankBy::TotalPrice], None);
    count(&world, in_store("st-1"), 5);
    let offer = offered(&mut world);
    assert_eq!(offer.sold_by.as_deref(), Some("Shop s-2"));
    assert_eq!((offer.fulfil.as_slice(), offer.stores.len()), ([Fulfil::Deliver].as_slice(), 0));
    assert_eq!(accept_rev(&mut world, offer.id, 1, collect("st-1")), Err(Code::OfferNotAllowed));

    // Nobody can have it delivered any more: it is fetched, from the shop and at its price.
    let mut world = self::world(BOTH);
    count(&world, at_seller("shop-a"), 0);
    count(&world, in_store("st-1"), 1);
    let offer = offered(&mut world);
    assert_eq!((offer.fulfil.as_slice(), offer.stores.len()), ([Fulfil::Collect].as_slice(), 1));
    accept_rev(&mut world, offer.id, 1, Choice::default()).unwrap();
    assert_eq!((order(&world).total, free(&world, &in_store("st-1"))), (eur("19.90"), Some(0)));

    // The shop has none left to send: who takes over delivers.
    let mut world = three(BOTH);
    count(&world, in_store("st-1"), 1);
    let offer = offered(&mut world);
    assert_eq!(offer.fulfil.len(), 2);
    count(&world, at_seller("shop-a"), 0);
    assert_eq!(accept(&mut world, &offer), Err(Code::OfferPriceChanged));
    let again = world.offers_put(&thermostat()).remove(0);
    assert_eq!((again.sold_by.as_deref(), again.stores.len()), (Some("Shop s-2"), 0));
    assert_eq!(accept_rev(&mut world, again.id, 2, collect("st-1")), Err(Code::OfferNotAllowed));
    accept(&mut world, &again).unwrap();
}

#[test]
fn what_can_only_be_collected_is_the_shops_own_whoever_is_cheaper() {
    let mut world = three("fulfil = [\"collect\"]");
    rank(&mut world, &[RankBy::TotalPrice], None);
    count(&world, in_store("st-1"), 1);
    let offer = offered(&mut world);
    assert_eq!((offer.sold_by.as_deref(), offer.alternatives.len()), (Some("Enseigne X"), 0));
    accept(&mut world, &offer).unwrap();
    assert_eq!(order(&world).seller, Some(seller("shop-a")));
}

#[test]
fn a_cheaper_alternative_that_is_gone_leaves_the_offer_as_it_was_asked() {
    let mut world = three("");
    let offer = offered(&mut world);
    count(&world, at_seller("s-2"), 0);
    let cheaper = Choice { alternative: Some("a1".into()), ..Choice::default() };
    assert_eq!(accept_rev(&mut world, offer.id, 1, cheaper), Err(Code::OfferPriceChanged));
    let again = world.offers_put(&thermostat()).remove(0);
    assert_eq!((again.rev, again.price.as_ref().unwrap().total), (2, eur("19.90")));
    accept(&mut world, &again).unwrap();
    assert_eq!(order(&world).total, eur("19.90"));
}
