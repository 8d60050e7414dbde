//! One offer, one order, whatever channels race.

use hearthway_core::code::Code;
use hearthway_core::decision::Reply;
use hearthway_core::id::{OfferId, ProfileId};
use hearthway_core::input::{Answer, Command, What};
use hearthway_core::model::{OfferState, OrderState};
use hearthway_core::time::Span;
use hearthway_core::wire::DownMessage;

use crate::transcript::{used, with_cancel_window};
use crate::world::{World, shop, thermostat};

fn offered(world: &mut World) -> OfferId {
    for hours in [590, 612] {
        world.up(&thermostat(), "up/slot", &used(hours)).unwrap();
    }
    world.offers_put(&thermostat()).remove(0).id
}

fn press(world: &mut World, offer: OfferId, answer: &str, nonce: &str) -> Result<Reply, Code> {
    let body = format!(r#"{{"offer":"{offer}","rev":1,"answer":"{answer}","nonce":"{nonce}"}}"#);
    world.up(&thermostat(), "up/offer/answer", &body)
}

fn in_app(world: &mut World, offer: OfferId, answer: Answer) -> Result<Reply, Code> {
    let profile = Some(ProfileId::new("p1").unwrap());
    world.command(&thermostat(), Command::AnswerOffer { offer, rev: 1, answer, channel: "app".into(), profile })
}

const ACCEPT: Answer = Answer::Accept { qty: None, fulfil: None };

fn world() -> World {
    let trigger = with_cancel_window("30 min").replace("actions =", "price_lock = \"24h\"\nactions =");
    World::at_home(&trigger)
}

#[test]
fn a_second_accept_from_another_channel_is_told_that_it_is_sold() {
    let mut world = world();
    let offer = offered(&mut world);
    press(&mut world, offer, "accept", "n-1").unwrap();
    assert_eq!(in_app(&mut world, offer, ACCEPT), Err(Code::OfferAlreadyAccepted));
    assert_eq!(world.orders().len(), 1);
}

#[test]
fn an_accept_in_the_app_takes_the_card_off_the_device() {
    let mut world = world();
    let offer = offered(&mut world);
    in_app(&mut world, offer, ACCEPT).unwrap();
    let heard = world.heard(&thermostat());
    assert!(matches!(&heard[..], [DownMessage::OfferWithdraw { .. }, DownMessage::Order(_)]), "{heard:?}");
    assert_eq!(press(&mut world, offer, "accept", "n-1"), Err(Code::OfferAlreadyAccepted));
}

#[test]
fn a_bouncing_button_and_a_repeated_nonce_are_one_answer() {
    let mut world = world();
    let offer = offered(&mut world);
    press(&mut world, offer, "accept", "n-1").unwrap();
    world.pass(Span::seconds(2));
    assert!(matches!(press(&mut world, offer, "accept", "n-2"), Ok(Reply::Answered { order: Some(_), .. })));
    world.pass(Span::minutes(3));
    assert!(matches!(press(&mut world, offer, "accept", "n-1"), Ok(Reply::Answered { order: Some(_), .. })));
    assert_eq!(press(&mut world, offer, "accept", "n-3"), Err(Code::OfferAlreadyAccepted));
    assert_eq!(world.orders().len(), 1);
}

#[test]
fn declining_right_after_accepting_cancels_inside_the_window() {
    let mut world = world();
    let offer = offered(&mut world);
    press(&mut world, offer, "accept", "n-1").unwrap();
    world.pass(Span::seconds(1));
    assert!(matches!(
        press(&mut world, offer, "decline", "n-2"),
        Ok(Reply::OrderMoved { state: OrderState::Cancelled, .. })
    ));
    world.pass(Span::hours(1));
    assert_eq!(world.orders()[0].state, OrderState::Cancelled, "a cancelled order never leaves to the shop");
}

#[test]
fn after_the_window_an_order_cannot_be_cancelled_on_the_device() {
    let mut world = world();
    let offer = offered(&mut world);
    press(&mut world, offer, "accept", "n-1").unwrap();
    let order = world.orders()[0].id;
    world.pass(Span::minutes(31));
    let body = format!(r#"{{"order":"{order}","op":"cancel","nonce":"n-2"}}"#);
    assert_eq!(world.up(&thermostat(), "up/order", &body), Err(Code::OrderNotCancellable));
}

#[test]
fn the_shop_moves_an_order_only_forward_and_by_revision() {
    let mut world = world();
    let offer = offered(&mut world);
    press(&mut world, offer, "accept", "n-1").unwrap();
    let order = world.orders()[0].id;
    let set = |world: &mut World, rev, state| {
        world.command(&thermostat(), Command::SetOrderStatus { order, rev, state, eta: None })
    };
    assert_eq!(set(&mut world, 2, OrderState::Shipped), Err(Code::OrderInCancelWindow));
    world.pass(Span::minutes(31));
    assert_eq!(set(&mut world, 2, OrderState::Shipped), Err(Code::StateVersionConflict), "it is at rev 2 by now");
    assert!(set(&mut world, 3, OrderState::Shipped).is_ok());
    assert_eq!(set(&mut world, 4, OrderState::Accepted), Err(Code::StateVersionConflict));
    assert!(set(&mut world, 4, OrderState::Delivered).is_ok());
}

#[test]
fn an_accept_after_the_end_is_refused_unless_it_was_pressed_in_time() {
    let mut world = world();
    let offer = offered(&mut world);
    let pressed = world.now + Span::hours(1);
    world
        .up_raw(
            &thermostat(),
            "presence",
            &format!(r#"{{"id":"c-1","t":{},"body":{{"state":"online"}}}}"#, world.now.0),
        )
        .unwrap();
    world.pass(Span::hours(49));
    assert_eq!(press(&mut world, offer, "accept", "n-1"), Err(Code::OfferExpired));
    let body = format!(r#"{{"offer":"{offer}","rev":1,"answer":"accept","nonce":"n-2","t":{}}}"#, pressed.0);
    assert!(world.up(&thermostat(), "up/offer/answer", &body).is_ok());
    assert_eq!(world.orders().len(), 1);
}

#[test]
fn a_price_that_rose_after_its_lock_asks_again_and_a_lower_one_is_given() {
    for (minor, higher) in [(2290, true), (1490, false)] {
        let mut world = world();
        let offer = offered(&mut world);
        reprice(&mut world, minor);
        world.pass(Span::hours(25));
        world.said.clear();
        if higher {
            assert_eq!(press(&mut world, offer, "accept", "n-1"), Err(Code::OfferPriceChanged));
            let again = world.offers_put(&thermostat()).remove(0);
            assert_eq!((again.rev, again.price.unwrap().total.minor), (2, 2290));
            let body = format!(r#"{{"offer":"{offer}","rev":2,"answer":"accept","nonce":"n-2"}}"#);
            world.up(&thermostat(), "up/offer/answer", &body).unwrap();
        } else {
            press(&mut world, offer, "accept", "n-1").unwrap();
        }
        assert_eq!(world.orders()[0].total.minor, minor);
    }
}

#[test]
fn inside_the_lock_the_quoted_price_holds() {
    let mut world = world();
    let offer = offered(&mut world);
    reprice(&mut world, 2290);
    world.pass(Span::hours(23));
    press(&mut world, offer, "accept", "n-1").unwrap();
    assert_eq!(world.orders()[0].total.minor, 1990);
}

#[test]
fn a_child_may_not_order() {
    let mut world = world();
    let offer = offered(&mut world);
    let home = world.routes[&thermostat()];
    world
        .homes
        .get_mut(&home)
        .unwrap()
        .members
        .values_mut()
        .for_each(|member| std::sync::Arc::make_mut(member).role = hearthway_core::model::Role::Child);
    assert_eq!(in_app(&mut world, offer, ACCEPT), Err(Code::OfferNotAllowed));
}

#[test]
fn a_snoozed_offer_comes_back_at_its_hour() {
    let mut world = world();
    let offer = offered(&mut world);
    let until = world.now + Span::hours(9);
    let body = format!(r#"{{"offer":"{offer}","rev":1,"answer":"snooze","until":{},"nonce":"n-1"}}"#, until.0);
    world.up(&thermostat(), "up/offer/answer", &body).unwrap();
    assert!(matches!(world.offer_states(&thermostat())[..], [OfferState::Snoozed { .. }]));
    world.offers_put(&thermostat());
    world.input(&thermostat(), What::Reachable { waiting: vec![offer] }).unwrap();
    assert!(world.offers_put(&thermostat()).is_empty(), "nor earlier because the device comes back");
    world.pass(Span::hours(10));
    assert_eq!(world.offers_put(&thermostat()).len(), 1);
}

/// The product costs something else from now on.
fn reprice(world: &mut World, minor: i64) {
    let key = (shop(), "flt-20x25".to_owned().try_into().unwrap());
    let mut product = (*world.rules.products.listed[&key]).clone();
    product.price.minor = minor;
    world.rules.products.listed.insert(key, std::sync::Arc::new(product));
}

#[test]
fn what_comes_back_dearer_is_another_revision_so_that_nobody_orders_what_they_did_not_read() {
    let mut world = world();
    let offer = offered(&mut world);
    let until = Some(world.now + Span::hours(9));
    in_app(&mut world, offer, Answer::Snooze { until }).unwrap();
    reprice(&mut world, 2490);
    world.pass(Span::hours(10));
    let again = world.offers_put(&thermostat()).remove(0);
    assert_eq!((again.rev, again.price.as_ref().unwrap().total.minor), (2, 2490));
    assert!(press(&mut world, offer, "accept", "n-1").is_err(), "revision 1 was read at 19.90");
    assert!(world.orders().is_empty());
    assert!(again.may_have_been_seen(), "who put it off has read it, and its code");
}

#[test]
fn a_price_that_is_asked_again_is_promised_no_longer_than_the_first() {
    let trigger = with_cancel_window("30 min").replace("actions =", "price_lock = \"1h\"\nactions =");
    let mut world = World::at_home(&trigger);
    let offer = offered(&mut world);
    for (rev, minor) in [(2, 2290), (3, 2490), (4, 2690)] {
        world.pass(Span::hours(5));
        reprice(&mut world, minor);
        let body = format!(r#"{{"offer":"{offer}","rev":{},"answer":"accept","nonce":"n-{rev}"}}"#, rev - 1);
        assert_eq!(world.up(&thermostat(), "up/offer/answer", &body), Err(Code::OfferPriceChanged));
        let again = world.offers_put(&thermostat()).pop().unwrap();
        assert_eq!(again.rev, rev);
        assert_eq!(again.price.unwrap().lock_until, world.now + Span::hours(1));
    }
}

#[test]
fn an_unknown_offer_and_an_offer_of_another_device_are_the_same_nothing() {
    let mut world = world();
    let offer = offered(&mut world);
    let other = "acme/d-43".parse().unwrap();
    world.register(&other);
    let body = format!(r#"{{"offer":"{offer}","rev":1,"answer":"accept","nonce":"n-1"}}"#);
    assert_eq!(world.up(&other, "up/offer/answer", &body), Err(Code::OfferUnknown));
    let nothing = OfferId::derived(&[b"nothing"]);
    assert_eq!(press(&mut world, nothing, "accept", "n-1"), Err(Code::OfferUnknown));
}
