//! What becomes of an order part by part: goods that left are nobody's, goods that nobody gets are free, and an
//! order goes on until it ends. And what a home remembers of those that ended.

use hearthway_core::code::Code;
use hearthway_core::decision::Reply;
use hearthway_core::event_out::EventType;
use hearthway_core::id::{OfferId, OrderId, ProductId, ProfileId};
use hearthway_core::input::{Choice, Command};
use hearthway_core::limits::{DELAYS_MAX, ORDER_ENTRIES_MAX};
use hearthway_core::model::{OfferState, Order, OrderState, Place, Preferences, Shelf, Standing};
use hearthway_core::time::Span;
use hearthway_core::wire::order_can;
use proptest::prelude::*;

use crate::sellers::{
    BOTH, accept, accept_rev, at_seller, change, collect, count, eur, first_block, free, in_store, offered, order,
    product_id, sold_by, status, world,
};
use crate::transcript::{FILTER_WORN, used};
use crate::triggers::COLD;
use crate::world::{World, thermostat};

fn ordered(world: &mut World, on_hand: u32, qty: u32) {
    count(world, at_seller("shop-a"), on_hand);
    let offer = offered(world);
    accept_rev(world, offer.id, 1, Choice { qty: Some(qty), ..Choice::default() }).unwrap();
}
fn send(world: &mut World, qty: u32) -> Result<Reply, Code> {
    let (order, rev) = (order(world).id, order(world).rev + 1);
    world.command(&thermostat(), Command::ShipLines { order, rev, lines: vec![(product_id(), qty)], eta: None })
}
fn refund(world: &mut World, qty: u32) -> Result<Reply, Code> {
    let order = order(world).id;
    world.command(&thermostat(), Command::RefundOrder { order, rev: None, lines: vec![(product_id(), qty)] })
}
fn own() -> Place {
    at_seller("shop-a")
}
fn shelf(world: &World) -> Shelf {
    world.home_of(&thermostat()).supply.shelves.get(&product_id()).cloned().unwrap_or_default()
}

#[test]
fn what_one_press_may_order_is_held_against_the_alternative_that_it_names() {
    let mut world = world("");
    change(&mut world, |product| product.sellers = vec![sold_by("s-1", "29.00", "0.00", 1)]);
    let preferences = Preferences { unattended_max: Some(eur("20.00")), ..Preferences::default() };
    let standing = Box::new(Standing { preferences, ..Standing::default() });
    let profile = ProfileId::new("p1").unwrap();
    world.command(&thermostat(), Command::SetStanding { profile, standing }).unwrap();
    let offer = offered(&mut world);
    let press = |world: &mut World, choice: &str, nonce: &str| {
        let id = offer.id;
        let body = format!(r#"{{"offer":"{id}","rev":1,"answer":"accept","nonce":"{nonce}","choice":{choice}}}"#);
        world.up(&thermostat(), "up/offer/answer", &body)
    };
    assert_eq!(press(&mut world, r#"{"alternative":"a1"}"#, "n-1"), Err(Code::OfferNotAllowed));
    assert_eq!(press(&mut world, r#"{"alternative":"a9"}"#, "n-2"), Err(Code::PayloadInvalid));
    assert_eq!(press(&mut world, r#"{"qty":2}"#, "n-3"), Err(Code::OfferNotAllowed));
    assert!(world.orders().is_empty());
    press(&mut world, "{}", "n-4").unwrap();
    assert_eq!(order(&world).total, eur("19.90"));
}

#[test]
fn goods_that_have_left_are_not_freed_when_the_rest_is_undone() {
    for undone in [OrderState::Refused, OrderState::Refunded] {
        let mut world = world("");
        ordered(&mut world, 3, 3);
        send(&mut world, 1).unwrap();
        assert_eq!(order(&world).held.unwrap().qty, 2);
        status(&mut world, undone).unwrap();
        assert_eq!(free(&world, &own()), Some(2), "{undone:?}: two of three are there");
    }
    let mut world = world("");
    ordered(&mut world, 3, 3);
    [1, 2].into_iter().for_each(|qty| drop(send(&mut world, qty).unwrap()));
    assert_eq!((order(&world).state, order(&world).held), (OrderState::Shipped, None));
    status(&mut world, OrderState::Refunded).unwrap();
    assert_eq!(free(&world, &own()), Some(0), "all of them left");
}

#[test]
fn what_expired_in_the_store_is_not_picked_up_and_what_was_picked_up_does_not_expire() {
    let mut world = world(BOTH);
    count(&world, in_store("st-1"), 1);
    let offer = offered(&mut world);
    accept_rev(&mut world, offer.id, 1, collect("st-1")).unwrap();
    status(&mut world, OrderState::ReadyForPickup).unwrap();
    world.pass(Span::hours(73));
    assert_eq!((order(&world).state, free(&world, &in_store("st-1"))), (OrderState::PickupExpired, Some(1)));
    for late in [OrderState::PickedUp, OrderState::Delivered, OrderState::Returned, OrderState::PartiallyRefunded] {
        assert_eq!(status(&mut world, late), Err(Code::StateVersionConflict), "{late:?}");
    }
    assert_eq!(free(&world, &in_store("st-1")), Some(1));
    status(&mut world, OrderState::Refunded).unwrap();

    let mut world = self::world(BOTH);
    count(&world, in_store("st-1"), 1);
    let offer = offered(&mut world);
    accept_rev(&mut world, offer.id, 1, collect("st-1")).unwrap();
    status(&mut world, OrderState::PickedUp).unwrap();
    for wrong in [OrderState::PickupExpired, OrderState::Delivered] {
        assert_eq!(status(&mut world, wrong), Err(Code::StateVersionConflict), "{wrong:?}");
    }
    assert_eq!(free(&world, &in_store("st-1")), Some(0));
}

#[test]
fn an_order_goes_on_when_a_part_is_refunded_before_it_arrives() {
    let mut world = world("");
    ordered(&mut world, 5, 3);
    refund(&mut world, 1).unwrap();
    let made = order(&world);
    assert_eq!((made.state, made.lines[0].refunded, made.held.unwrap().qty), (OrderState::Submitted, 1, 2));
    assert_eq!(made.history.last().map(|last| last.state.to_string()).as_deref(), Some("partially_refunded"));
    assert_eq!(free(&world, &own()), Some(3), "what is not sent any more is free");
    let told = world.told.iter().filter(|told| told.kind == EventType::OrderStatus).count();
    assert_eq!(told, 1, "and the shop's systems hear of it");
    assert_eq!(status(&mut world, OrderState::PartiallyRefunded), Err(Code::StateVersionConflict), "of which lines?");
    assert_eq!(shelf(&world).bought[0].qty, 2);
    for hours in [10, 650] {
        world.up(&thermostat(), "up/slot", &used(hours)).unwrap();
    }
    assert_eq!(first_block(&world), "open_order", "two are on their way");
    send(&mut world, 1).unwrap();
    assert_eq!(send(&mut world, 2), Err(Code::PayloadInvalid), "one is left");
    send(&mut world, 1).unwrap();
    assert_eq!((order(&world).state, free(&world, &own())), (OrderState::Shipped, Some(3)));
    status(&mut world, OrderState::Delivered).unwrap();
    assert_eq!((shelf(&world).spares, order(&world).lines[0].shipped), (2, 2));
    assert_eq!(order_can(&order(&world)), ["withdraw"]);
    refund(&mut world, 1).unwrap();
    assert_eq!((order(&world).state, shelf(&world).spares), (OrderState::PartiallyRefunded, 1));
    assert_eq!(order_can(&order(&world)), ["withdraw"], "one is there still");
    let (id, channel) = (order(&world).id, "app".to_owned());
    world.command(&thermostat(), Command::WithdrawOrder { order: id, channel }).unwrap();
    status(&mut world, OrderState::Returned).unwrap();
    assert!(order_can(&order(&world)).is_empty());
    refund(&mut world, 1).unwrap();
    assert_eq!((order(&world).state, free(&world, &own())), (OrderState::Refunded, Some(3)));
}

#[test]
fn what_waits_in_the_store_keeps_its_deadline_when_a_part_is_refunded() {
    let mut world = world(BOTH);
    count(&world, in_store("st-1"), 3);
    let offer = offered(&mut world);
    accept_rev(&mut world, offer.id, 1, Choice { qty: Some(2), ..collect("st-1") }).unwrap();
    status(&mut world, OrderState::ReadyForPickup).unwrap();
    refund(&mut world, 1).unwrap();
    assert_eq!((order(&world).state, free(&world, &in_store("st-1"))), (OrderState::ReadyForPickup, Some(2)));
    world.pass(Span::hours(73));
    assert_eq!((order(&world).state, free(&world, &in_store("st-1"))), (OrderState::PickupExpired, Some(3)));
}

#[test]
fn what_came_back_has_left_whoever_forgot_to_say_so() {
    let mut world = world("");
    ordered(&mut world, 2, 2);
    status(&mut world, OrderState::Returned).unwrap();
    assert_eq!((order(&world).held, free(&world, &own())), (None, Some(0)), "the next count has it, if it can be sold");
    status(&mut world, OrderState::Refunded).unwrap();
    assert_eq!(free(&world, &own()), Some(0));
}

#[test]
fn an_order_is_late_a_few_times_and_not_for_ever() {
    let mut world = world("");
    ordered(&mut world, 3, 3);
    for _ in 0..DELAYS_MAX {
        status(&mut world, OrderState::Delayed).unwrap();
        status(&mut world, OrderState::PartiallyShipped).unwrap();
        assert_eq!(status(&mut world, OrderState::PartiallyShipped), Err(Code::StateVersionConflict), "of what?");
    }
    assert_eq!(status(&mut world, OrderState::Delayed), Err(Code::StateVersionConflict));
    send(&mut world, 3).unwrap();
}

#[derive(Debug, Clone)]
enum Act {
    Status(OrderState),
    Send(u32),
    Refund(u32),
    Withdraw,
    Pass(u16),
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        6 => prop::sample::select(OrderState::ALL).prop_map(Act::Status),
        3 => (1u32..3).prop_map(Act::Send),
        3 => (1u32..3).prop_map(Act::Refund),
        1 => Just(Act::Withdraw),
        1 => (1u16..100).prop_map(Act::Pass),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]
    #[test]
    fn whatever_a_shop_says_of_an_order_no_piece_is_free_that_left_or_is_owed(
        collected in any::<bool>(), qty in 1u32..6, acts in prop::collection::vec(act(), 1..60),
    ) {
        let mut world = world(BOTH);
        let place = if collected { in_store("st-1") } else { own() };
        count(&world, place.clone(), 9);
        let offer = offered(&mut world);
        let choice = if collected { collect("st-1") } else { Choice::default() };
        accept_rev(&mut world, offer.id, 1, Choice { qty: Some(qty), ..choice }).unwrap();
        let mut gone = 0;
        for act in acts {
            let before = order(&world);
            match act {
                Act::Status(state) => drop(status(&mut world, state)),
                Act::Send(qty) => drop(send(&mut world, qty)),
                Act::Refund(qty) => drop(refund(&mut world, qty)),
                Act::Withdraw => {
                    let what = Command::WithdrawOrder { order: before.id, channel: "app".into() };
                    let _ = world.command(&thermostat(), what);
                }
                Act::Pass(hours) => world.pass(Span::hours(hours.into())),
            }
            let is = order(&world);
            gone = gone.max(is.lines[0].shipped);
            if is.state == OrderState::Returned && before.state != OrderState::Returned {
                // It left, and came back.
                gone = gone.max(before.lines[0].shipped + before.lines[0].owed());
            }
            let waits = if is.state.is_open() { is.lines[0].owed() } else { 0 };
            let held = is.held.as_ref().map_or(0, |held| held.qty);
            let is_free = free(&world, &place).unwrap();
            prop_assert!(is_free + gone + waits <= 9, "{is_free} free, {gone} gone, {waits} owed: {is:#?}");
            prop_assert!(is.state.is_open() || held == 0, "{held} are put aside for good: {is:#?}");
            prop_assert!(is.state.is_open() || is_free + gone == 9, "{is_free} free, {gone} gone: {is:#?}");
            prop_assert!(is.history.len() <= ORDER_ENTRIES_MAX);
        }
    }
}

/// One more order of one piece, delivered at once.
fn deliver_one(world: &mut World) -> OrderId {
    for hours in [10, 650] {
        world.up(&thermostat(), "up/slot", &used(hours)).unwrap();
    }
    let offer = world.offers_put(&thermostat()).pop().expect("an offer");
    accept(world, &offer).unwrap();
    let id = OrderId::derived(&[offer.id.bytes()]);
    let what = Command::SetOrderStatus { order: id, rev: 2, state: OrderState::Delivered, eta: None };
    world.command(&thermostat(), what).unwrap();
    id
}

fn press_no(world: &mut World, offer: OfferId) {
    let body = format!(r#"{{"offer":"{offer}","rev":1,"answer":"decline","nonce":"no"}}"#);
    world.up(&thermostat(), "up/offer/answer", &body).unwrap();
}

fn find(world: &World, id: OrderId) -> Option<Order> {
    world.home_of(&thermostat()).orders.get(&id).map(|order| (**order).clone())
}

#[test]
fn an_order_is_remembered_while_the_customer_may_withdraw_and_until_the_withdrawal_is_settled() {
    let mut world = world("");
    let first = deliver_one(&mut world);
    for _ in 0..10 {
        world.pass(Span::hours(20));
        deliver_one(&mut world);
    }
    let kept = world.home_of(&thermostat()).orders.len();
    assert_eq!(kept, 11, "all of them can be withdrawn from");
    let what = Command::WithdrawOrder { order: first, channel: "app".into() };
    world.command(&thermostat(), what).unwrap();
    for _ in 0..20 {
        world.pass(Span::hours(20));
        deliver_one(&mut world);
    }
    assert!(find(&world, first).is_some(), "the shop has not settled it yet");
    let all = world.home_of(&thermostat()).orders.len();
    assert!((9..25).contains(&all), "the right of the others has ended: {all}");
    let lines = vec![(product_id(), 1)];
    world.command(&thermostat(), Command::RefundOrder { order: first, rev: None, lines }).unwrap();
    assert_eq!(find(&world, first).map(|order| order.state), Some(OrderState::Refunded));
}

#[test]
fn the_last_order_of_each_product_is_remembered_since_conditions_ask_how_long_ago_it_was() {
    let mut world = world("");
    let first = deliver_one(&mut world);
    let home = world.home_of(&thermostat()).id;
    let record = world.homes.get_mut(&home).unwrap();
    for n in 0..12u8 {
        let mut other = (*record.orders[&first]).clone();
        other.id = OrderId::derived(&[&[n]]);
        other.created_at = other.created_at + Span::minutes(i64::from(n) + 1);
        other.lines[0].product = ProductId::new("of-another-kind").unwrap();
        record.orders.insert(other.id, other.into());
    }
    world.pass(Span::days(100));
    // An offer that ends takes what is old along.
    for hours in [10, 650] {
        world.up(&thermostat(), "up/slot", &used(hours)).unwrap();
    }
    let offer = world.offers_put(&thermostat()).pop().expect("an offer").id;
    press_no(&mut world, offer);
    assert!(find(&world, first).is_some(), "of the others there is a newer one each");
    assert_eq!(world.home_of(&thermostat()).orders.len(), 9);
}

#[test]
fn a_bound_on_the_days_since_an_order_turns_by_itself() {
    let cold = COLD.replace(
        "[trigger.offer]\n",
        "[trigger.when]\nall = 'household.days_since_order(\"flt-20x25\", 9999) >= 3'\n[trigger.offer]\n",
    );
    let cold = cold.replace("actions = [\"order\", \"decline\"]", "actions = [\"decline\"]");
    assert!(cold.contains("days_since_order") && !cold.contains("\"order\""), "{cold}");
    let mut world = World::at_home(&format!("{FILTER_WORN}{cold}"));
    let ordered_at = world.now;
    deliver_one(&mut world);
    world.pass(Span::hours(5));
    for celsius in [19, 16] {
        let body = format!(r#"{{"samples":[{{"f":{{"temperature":{celsius}}}}}]}}"#);
        world.up(&thermostat(), "up/telemetry", &body).unwrap();
    }
    assert_eq!(first_block(&world), "conditions");
    world.pass(ordered_at + Span::days(3) - Span::minutes(1) - world.now);
    assert!(world.offers_put(&thermostat()).is_empty());
    world.pass(Span::minutes(2));
    assert_eq!(world.offers_put(&thermostat()).len(), 1, "{}", world.last_trace());
}

#[test]
fn an_order_that_the_shop_refused_was_no_purchase() {
    let mut world = World::at_home(&format!("{FILTER_WORN}[trigger.limits]\nafter = {{ ordered = \"30d\" }}\n"));
    let offer = offered(&mut world);
    accept(&mut world, &offer).unwrap();
    let again = |world: &mut World| {
        for hours in [10, 650] {
            world.up(&thermostat(), "up/slot", &used(hours)).unwrap();
        }
        world.offers_put(&thermostat()).len()
    };
    status(&mut world, OrderState::Refused).unwrap();
    assert_eq!(again(&mut world), 1);
}

#[test]
fn what_a_home_remembers_of_ended_orders_has_a_bound() {
    use hearthway_core::limits::{ENDED_KEPT_MAX, ORDERS_NEEDED_MAX};
    let mut world = world("");
    for _ in 0..ENDED_KEPT_MAX + ORDERS_NEEDED_MAX + 5 {
        world.pass(Span::minutes(10));
        deliver_one(&mut world);
    }
    assert_eq!(world.home_of(&thermostat()).orders.len(), ENDED_KEPT_MAX + ORDERS_NEEDED_MAX);
}

#[test]
fn a_refusal_silences_as_long_as_it_says_whatever_is_refused_after_it() {
    let second =
        FILTER_WORN.replace("filter-worn", "filter-tip").replace("rises_above = \"600 h\"", "rises_above = \"300 h\"");
    let after = "[trigger.limits]\nafter = { not_needed = \"60d\" }\n";
    let both = format!("{FILTER_WORN}{after}{second}");
    let mut world = World::at_home(&both);
    let say = |world: &mut World, answer: &str| {
        let Some(offer) = world.offers_put(&thermostat()).pop() else { return false };
        let body = format!(r#"{{"offer":"{}","rev":1,"answer":{answer},"nonce":"{}"}}"#, offer.id, offer.id);
        world.up(&thermostat(), "up/offer/answer", &body).unwrap();
        true
    };
    for hours in [590, 612] {
        world.up(&thermostat(), "up/slot", &used(hours)).unwrap();
    }
    assert!(say(&mut world, r#""not_needed""#));
    for _ in 0..12 {
        world.pass(Span::hours(20));
        for hours in [10, 400] {
            world.up(&thermostat(), "up/slot", &used(hours)).unwrap();
        }
        assert!(say(&mut world, r#""decline""#), "the other trigger asks for no silence");
    }
    for hours in [590, 612] {
        world.up(&thermostat(), "up/slot", &used(hours)).unwrap();
    }
    assert!(world.offers_put(&thermostat()).is_empty(), "not needed, for sixty days");
    assert_eq!(first_block(&world), "not_needed");
    let declined = |state: &OfferState| *state == OfferState::Declined;
    let ended = world.offer_states(&thermostat()).into_iter().filter(declined).count();
    assert_eq!(ended, 9, "refusals that silence nothing go");
}
