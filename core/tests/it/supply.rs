//! What stands on the shelf: spares that came, that were inserted, and that silence suggestions.

use hearthway_core::decision::Reply;
use hearthway_core::id::ProductId;
use hearthway_core::input::{Answer, Command};
use hearthway_core::model::{Bought, OrderState, Purpose, Shelf};
use hearthway_core::time::Span;
use hearthway_core::trace::Step;
use hearthway_core::words::Tongue;

use crate::transcript::{FILTER_WORN, used};
use crate::world::{World, thermostat};

fn filter() -> ProductId {
    ProductId::new("flt-20x25").unwrap()
}

fn home() -> World {
    let mut world = World::with(&FILTER_WORN.replace(r#"kind = "offer""#, r#"kind = "replenish""#));
    world.register(&thermostat());
    world.up(&thermostat(), "presence", r#"{"state":"online","epoch":1}"#).unwrap();
    world.link(&thermostat(), "p1", &[Purpose::ReplenishDevice]);
    world.said.clear();
    world
}

fn shelf(world: &World) -> Shelf {
    world.home_of(&thermostat()).supply.shelves.get(&filter()).cloned().unwrap_or_default()
}

fn buy(world: &mut World, qty: u32, cause: u64) {
    let bought = Bought { at: world.now, qty, cause };
    world.command(&thermostat(), Command::Purchased { product: filter(), bought }).unwrap();
}

fn say(world: &mut World, hours: u32) -> usize {
    world.up(&thermostat(), "up/slot", &used(hours)).unwrap();
    world.offers_put(&thermostat()).len()
}

#[test]
fn a_spare_at_home_silences_the_suggestion_and_explain_says_so() {
    let mut world = home();
    buy(&mut world, 2, 1);
    assert_eq!(say(&mut world, 590) + say(&mut world, 612), 0);
    let trace = world.last_trace();
    assert_eq!(trace.first_block, Some(Step::Suppression));
    let step = trace.steps.iter().find(|step| step.step == Step::Suppression).unwrap();
    assert_eq!(step.in_words(Tongue::En), "There is enough at home: 2 of flt-20x25, not inserted yet.");
}

#[test]
fn the_same_purchase_told_twice_is_one() {
    let mut world = home();
    buy(&mut world, 2, 7);
    buy(&mut world, 2, 7);
    assert_eq!((shelf(&world).spares, shelf(&world).bought.len()), (2, 1));
    buy(&mut world, 1, 8);
    assert_eq!((shelf(&world).spares, shelf(&world).bought.len()), (3, 2));
}

#[test]
fn an_order_is_a_spare_when_it_is_delivered_and_not_before() {
    let mut world = home();
    say(&mut world, 590);
    world.up(&thermostat(), "up/slot", &used(612)).unwrap();
    let offer = world.offers_put(&thermostat()).remove(0).id;
    let accept = Answer::Accept { qty: Some(2), fulfil: None };
    let what = Command::AnswerOffer { offer, rev: 1, answer: accept, channel: "app".into(), profile: None };
    world.command(&thermostat(), what).unwrap();
    assert_eq!((shelf(&world).spares, shelf(&world).bought.len()), (0, 1));
    let order = world.orders()[0].id;
    let status = |rev, state| Command::SetOrderStatus { order, rev, state, eta: None };
    world.command(&thermostat(), status(2, OrderState::Shipped)).unwrap();
    assert_eq!(shelf(&world).spares, 0);
    world.command(&thermostat(), status(3, OrderState::Delivered)).unwrap();
    assert_eq!(shelf(&world).spares, 2);
    world.command(&thermostat(), status(4, OrderState::Returned)).unwrap();
    assert_eq!(shelf(&world).spares, 0, "what went back is none");
}

#[test]
fn a_lost_parcel_is_no_spare_and_no_purchase() {
    let mut world = home();
    say(&mut world, 590);
    world.up(&thermostat(), "up/slot", &used(612)).unwrap();
    let offer = world.offers_put(&thermostat()).remove(0).id;
    let accept = Answer::Accept { qty: None, fulfil: None };
    let what = Command::AnswerOffer { offer, rev: 1, answer: accept, channel: "app".into(), profile: None };
    world.command(&thermostat(), what).unwrap();
    let order = world.orders()[0].id;
    let status = |rev, state| Command::SetOrderStatus { order, rev, state, eta: None };
    world.command(&thermostat(), status(2, OrderState::Shipped)).unwrap();
    world.command(&thermostat(), status(3, OrderState::Refunded)).unwrap();
    assert_eq!(shelf(&world), Shelf::default());
}

#[test]
fn who_has_one_at_home_says_so_once_and_is_not_asked() {
    let mut world = home();
    say(&mut world, 590);
    world.up(&thermostat(), "up/slot", &used(612)).unwrap();
    let offer = world.offers_put(&thermostat()).remove(0).id;
    let body = format!(r#"{{"offer":"{offer}","rev":1,"answer":"not_needed","reason":"have_spare"}}"#);
    world.up(&thermostat(), "up/offer/answer", &body).unwrap();
    assert_eq!(shelf(&world).spares, 1);
    world.pass(Span::days(1));
    assert_eq!(say(&mut world, 620), 0);
    assert_eq!(say(&mut world, 20), 0);
    assert_eq!(shelf(&world).spares, 0, "it is in the device now");
    assert_eq!(say(&mut world, 590) + say(&mut world, 612), 1, "and when that is worn, there is none at home");
}

#[test]
fn a_device_that_counts_its_spares_is_believed() {
    let mut world = home();
    buy(&mut world, 5, 1);
    let counted = |n| format!(r#"{{"slot":"air_filter","kind":"usage","used":10,"on_hand":{n}}}"#);
    world.up(&thermostat(), "up/slot", &counted(2)).unwrap();
    assert_eq!(shelf(&world).spares, 2);
    world.up(&thermostat(), "up/slot", &counted(0)).unwrap();
    assert_eq!(shelf(&world).spares, 0);
}

#[test]
fn an_old_purchase_is_history_and_no_spare_and_a_repeat_is_known_among_many() {
    let mut world = home();
    for n in 0..30 {
        let bought = Bought { at: world.now - Span::days(900 - 20 * n), qty: 1, cause: n as u64 };
        world.command(&thermostat(), Command::Purchased { product: filter(), bought }).unwrap();
    }
    assert_eq!((shelf(&world).spares, shelf(&world).bought.len()), (0, 16), "all of them are long used up");
    buy(&mut world, 2, 100);
    let oldest = Bought { at: world.now - Span::days(900), qty: 5, cause: 0 };
    let again = world.command(&thermostat(), Command::Purchased { product: filter(), bought: oldest });
    assert_eq!((again, shelf(&world).spares), (Ok(Reply::Unchanged), 2));
}

#[test]
fn what_no_slot_of_the_home_takes_stands_on_no_shelf() {
    let mut world = home();
    let bought = Bought { at: world.now, qty: 2, cause: 1 };
    let milk = ProductId::new("milk").unwrap();
    world.command(&thermostat(), Command::Purchased { product: milk, bought }).unwrap();
    assert!(world.home_of(&thermostat()).supply.shelves.is_empty());
}

#[test]
fn a_filter_inserted_before_the_shops_word_came_is_counted_once() {
    let mut world = home();
    let order = ordered(&mut world);
    let status = |rev, state| Command::SetOrderStatus { order, rev, state, eta: None };
    world.command(&thermostat(), status(2, OrderState::Shipped)).unwrap();
    world.pass(Span::days(2));
    say(&mut world, 3);
    say(&mut world, 2);
    assert_eq!(shelf(&world).inserted_ahead, 1, "one is under way: a count that falls by an hour is no second one");
    world.command(&thermostat(), status(3, OrderState::Delivered)).unwrap();
    assert_eq!((shelf(&world).spares, shelf(&world).inserted_ahead), (0, 0));
    world.command(&thermostat(), status(4, OrderState::PartiallyRefunded)).unwrap();
    buy(&mut world, 2, 9);
    world.command(&thermostat(), status(5, OrderState::Refunded)).unwrap();
    assert_eq!(shelf(&world).spares, 1, "what was at home once goes back, whatever came between");
}

#[test]
fn what_was_inserted_before_an_order_left_is_none_of_it() {
    let mut world = home();
    let order = ordered(&mut world);
    world.pass(Span::days(1));
    say(&mut world, 3);
    assert_eq!(shelf(&world).inserted_ahead, 0, "the shop has not sent it yet");
    let status = |rev, state| Command::SetOrderStatus { order, rev, state, eta: None };
    world.command(&thermostat(), status(2, OrderState::Delivered)).unwrap();
    assert_eq!(shelf(&world).spares, 1);
}

/// An order of one filter, taken in the app.
fn ordered(world: &mut World) -> hearthway_core::id::OrderId {
    say(world, 590);
    world.up(&thermostat(), "up/slot", &used(612)).unwrap();
    let offer = world.offers_put(&thermostat()).remove(0).id;
    let accept = Answer::Accept { qty: None, fulfil: None };
    let what = Command::AnswerOffer { offer, rev: 1, answer: accept, channel: "app".into(), profile: None };
    world.command(&thermostat(), what).unwrap();
    world.orders()[0].id
}
