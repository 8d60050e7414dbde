//! What all homes together may draw: budgets, and the discounts that they pay for.

use hearthway_core::code::Code;
use hearthway_core::decision::Reply;
use hearthway_core::id::{DeviceKey, OfferId};
use hearthway_core::input::{Answer, Command, What};
use hearthway_core::model::{Offer, OfferState, OrderState, Purpose};
use hearthway_core::money::{Currency, Money};
use hearthway_core::time::{Span, Timestamp};
use hearthway_core::trace::Step;
use hearthway_core::wire::{DownMessage, offer_json};
use hearthway_core::words::Tongue;

use crate::transcript::{FILTER_WORN, used, with_cancel_window};
use crate::world::{World, set_triggers, shop, thermostat};

/// The trigger of the stories with a cancel window, a budget and what else it is to have.
pub fn budgeted(budget: &str, offer: &str, valid: &str) -> String {
    with_cancel_window("30 min")
        .replace("kind = \"offer\"", &format!("kind = \"offer\"\n{valid}"))
        .replace("product =", &format!("{offer}\nproduct ="))
        + &format!("[trigger.limits]\nbudget = {budget}\n")
}

pub fn home(n: usize) -> DeviceKey {
    format!("acme/d-{n}").parse().unwrap()
}

/// So many homes, each with a thermostat.
pub fn homes(triggers: &str, count: usize) -> World {
    let mut world = World::with(triggers);
    for n in 0..count {
        world.register(&home(n));
        world.link(&home(n), &format!("p{n}"), &[Purpose::OffersDevice]);
    }
    world.said.clear();
    world
}

/// Wears the filter of a home out; its offer, if one is made.
pub fn wear_out(world: &mut World, device: &DeviceKey) -> Option<Offer> {
    for hours in [590, 612] {
        world.up(device, "up/slot", &used(hours)).unwrap();
    }
    world.offers_put(device).pop()
}

fn press(world: &mut World, device: &DeviceKey, offer: OfferId, answer: &str, nonce: &str) -> Result<Reply, Code> {
    let body = format!(r#"{{"offer":"{offer}","rev":1,"answer":"{answer}","nonce":"{nonce}"}}"#);
    world.up(device, "up/offer/answer", &body)
}

pub fn accept(world: &mut World, device: &DeviceKey, offer: OfferId) -> Result<Reply, Code> {
    press(world, device, offer, "accept", "n-1")
}

pub fn live_orders(world: &World) -> usize {
    world.orders().iter().filter(|order| !order.state.is_undone()).count()
}

fn order(world: &mut World, n: usize) -> Result<Reply, Code> {
    let offer = wear_out(world, &home(n)).expect("there is budget left for an offer");
    accept(world, &home(n), offer.id)
}

#[test]
fn an_accept_beyond_the_budget_is_refused_and_takes_the_card_down() {
    let mut world = homes(&budgeted("{ count = 1 }", "", ""), 2);
    let offers: Vec<Offer> = (0..2).map(|n| wear_out(&mut world, &home(n)).unwrap()).collect();
    accept(&mut world, &home(0), offers[0].id).unwrap();
    assert_eq!(accept(&mut world, &home(1), offers[1].id), Err(Code::OfferBudgetExhausted));
    assert_eq!(live_orders(&world), 1);
    assert_eq!(world.offer_states(&home(1)), [OfferState::Withdrawn]);
    let heard = world.heard(&home(1));
    let [DownMessage::OfferWithdraw { offer, reason }, DownMessage::Error { refusal, .. }] = &heard[..] else {
        panic!("{heard:?}")
    };
    assert_eq!((*offer, reason.as_str(), refusal.code), (offers[1].id, "budget exhausted", Code::OfferBudgetExhausted));
    // Whoever did not hear it and presses again is told the same.
    world.pass(Span::minutes(1));
    assert_eq!(press(&mut world, &home(1), offers[1].id, "accept", "n-2"), Err(Code::OfferBudgetExhausted));
}

#[test]
fn a_cancelled_and_a_refused_order_give_back_once_what_they_drew() {
    let mut world = homes(&budgeted("{ count = 1 }", "", ""), 3);
    let offers: Vec<OfferId> = (0..3).map(|n| wear_out(&mut world, &home(n)).unwrap().id).collect();
    accept(&mut world, &home(0), offers[0]).unwrap();
    world.pass(Span::minutes(1));
    for nonce in ["n-2", "n-3"] {
        let cancelled = press(&mut world, &home(0), offers[0], "decline", nonce).unwrap();
        assert!(matches!(cancelled, Reply::OrderMoved { state: OrderState::Cancelled, .. }), "{cancelled:?}");
        world.pass(Span::minutes(1));
    }
    accept(&mut world, &home(1), offers[1]).unwrap();
    let of_home = |world: &World, n: usize| world.home_of(&home(n)).orders.values().next().unwrap().clone();
    let placed = of_home(&world, 1);
    assert!(placed.drawn.is_some());
    let refuse = |rev| Command::SetOrderStatus { order: placed.id, rev, state: OrderState::Refused, eta: None };
    world.command(&home(1), refuse(2)).unwrap();
    assert!(world.command(&home(1), refuse(3)).is_err());
    assert!(of_home(&world, 1).drawn.is_none());
    accept(&mut world, &home(2), offers[2]).unwrap();
    let spent = world.draws.borrow().spent(&shop(), &"filter-worn".to_owned().try_into().unwrap(), None);
    assert_eq!((spent.count, live_orders(&world)), (1, 1));
}

#[test]
fn nothing_is_sent_when_nothing_is_left_and_explain_tells_the_numbers() {
    let mut world = homes(&budgeted("{ count = 2, amount = \"500.00 EUR\" }", "", ""), 3);
    order(&mut world, 0).unwrap();
    order(&mut world, 1).unwrap();
    assert!(wear_out(&mut world, &home(2)).is_none());
    assert_eq!(world.last_trace().first_block, Some(Step::Budget));
    let step = world.last_trace().steps.iter().find(|step| step.step == Step::Budget).unwrap();
    let en = "The budget is used up; 2 of 2 orders; 39.80 EUR of 500.00 EUR.";
    assert_eq!((step.code(), step.in_words(Tongue::En).as_str()), ("budget_exhausted", en));
    let fr = "Le budget est épuisé ; 2 commandes sur 2 ; 39.80 EUR sur 500.00 EUR.";
    assert_eq!(step.in_words(Tongue::Fr), fr);
}

#[test]
fn an_amount_counts_the_discount_of_each_order_and_without_one_its_total() {
    let discount = "discount = { percent = 12.5 }";
    // 2.49 a piece: two fit, a third does not.
    let mut world = homes(&budgeted("{ amount = \"7.00 EUR\" }", discount, ""), 3);
    order(&mut world, 0).unwrap();
    order(&mut world, 1).unwrap();
    assert!(wear_out(&mut world, &home(2)).is_none(), "2.02 is left, and an order would draw 2.49");
    let mut world = homes(&budgeted("{ amount = \"40.00 EUR\" }", "", ""), 3);
    order(&mut world, 0).unwrap();
    order(&mut world, 1).unwrap();
    assert!(wear_out(&mut world, &home(2)).is_none(), "0.20 is left, and an order would draw 19.90");
}

#[test]
fn who_orders_several_draws_for_each_of_them() {
    let discount = "discount = { percent = 10 }";
    let mut world = homes(&budgeted("{ amount = \"7.00 EUR\" }", discount, ""), 2);
    let several = |qty| Answer::Accept { qty: Some(qty), fulfil: None };
    let answer =
        |offer, qty| Command::AnswerOffer { offer, rev: 1, answer: several(qty), channel: "app".into(), profile: None };
    let offer = wear_out(&mut world, &home(0)).unwrap().id;
    let refused = world.command(&home(0), answer(offer, 4));
    assert_eq!(refused, Err(Code::OfferBudgetExhausted), "4 × 1.99 does not fit");
    let offer = wear_out(&mut world, &home(1)).unwrap().id;
    world.command(&home(1), answer(offer, 3)).unwrap();
    let drawn = world.orders()[0].drawn.clone().unwrap().amount;
    assert_eq!(drawn, Money::new(597, Currency::new("EUR").unwrap()));
}

#[test]
fn an_even_pace_leaves_some_for_each_day_of_the_shop() {
    let valid = "valid = { from = 2026-03-18, until = 2026-03-19 }";
    let mut world = homes(&budgeted("{ count = 4, pace = \"even_by_day\" }", "", valid), 5);
    let offers: Vec<OfferId> = (0..3).map(|n| wear_out(&mut world, &home(n)).unwrap().id).collect();
    for n in [0, 1] {
        accept(&mut world, &home(n), offers[n]).unwrap();
    }
    assert!(wear_out(&mut world, &home(3)).is_none(), "the first day's share is two");
    let step = world.last_trace().steps.iter().find(|step| step.step == Step::Budget).unwrap();
    let en = "The budget's share up to 2026-03-18 is used; 2 of 2 orders; there is more tomorrow.";
    assert_eq!((step.code(), step.in_words(Tongue::En).as_str()), ("budget_paced", en));
    accept(&mut world, &home(2), offers[2]).expect("an offer that is out is honoured: there is budget left");
    // Midnight in Paris, where the shop is.
    world.now = Timestamp::parse_rfc3339("2026-03-18T23:30:00Z").unwrap();
    assert!(wear_out(&mut world, &home(4)).is_some());
}

#[test]
fn what_was_shown_is_honoured_where_the_trigger_says_so() {
    for (honour_shown, receipt, wanted) in [
        (true, Some("shown"), Ok(())),
        (true, Some("delivered"), Err(Code::OfferBudgetExhausted)),
        (true, None, Err(Code::OfferBudgetExhausted)),
        (false, Some("shown"), Err(Code::OfferBudgetExhausted)),
    ] {
        let budget = format!("{{ count = 1, honour_shown = {honour_shown} }}");
        let mut world = homes(&budgeted(&budget, "", ""), 2);
        let offers: Vec<OfferId> = (0..2).map(|n| wear_out(&mut world, &home(n)).unwrap().id).collect();
        if let Some(state) = receipt {
            let body = format!(r#"{{"offer":"{}","rev":1,"state":"{state}"}}"#, offers[1]);
            world.up(&home(1), "up/offer/receipt", &body).unwrap();
        }
        accept(&mut world, &home(0), offers[0]).unwrap();
        assert_eq!(accept(&mut world, &home(1), offers[1]).map(|_| ()), wanted, "{budget} {receipt:?}");
    }
}

#[test]
fn a_paused_triggers_offers_draw_from_the_budget_they_were_made_on() {
    let mut world = homes(&budgeted("{ count = 1 }", "", ""), 2);
    let offers: Vec<OfferId> = (0..2).map(|n| wear_out(&mut world, &home(n)).unwrap().id).collect();
    set_triggers(&mut world.rules, "");
    accept(&mut world, &home(0), offers[0]).unwrap();
    assert_eq!(accept(&mut world, &home(1), offers[1]), Err(Code::OfferBudgetExhausted));
}

#[test]
fn a_discount_reduces_the_item_and_not_the_delivery_and_is_told() {
    let discount = "discount = { percent = 10, max = \"1.50 EUR\" }";
    let trigger = FILTER_WORN
        .replace("product =", &format!("{discount}\nproduct ="))
        .replace("{{ price.total }}.", "{{ price.total }} au lieu de {{ price.was }} (-{{ price.discount }})");
    let mut world = World::with("");
    let key = world.rules.products.listed.keys().next().unwrap().clone();
    let product = world.rules.products.listed.get_mut(&key).unwrap();
    std::sync::Arc::make_mut(product).delivery = Money::parse("3.00 EUR").unwrap();
    set_triggers(&mut world.rules, &trigger);
    world.register(&thermostat());
    world.link(&thermostat(), "p1", &[Purpose::OffersDevice]);
    world.said.clear();
    let offer = wear_out(&mut world, &thermostat()).unwrap();
    assert_eq!(offer.text.body, "Filtre 20×25, 21,40 € au lieu de 22,90 € (-1,50 €)");
    let shown = &offer_json(&offer)["price"];
    for (field, minor) in [("item", 1840), ("delivery", 300), ("total", 2140), ("was", 2290)] {
        assert_eq!(shown[field]["minor"], minor, "{field}: {shown}");
    }
    accept(&mut world, &thermostat(), offer.id).unwrap();
    let placed = world.orders()[0].clone();
    assert_eq!((placed.total.minor, placed.lines[0].price.minor), (2140, 1840));
    assert!(placed.drawn.is_none(), "there is no budget");
}

#[test]
fn after_the_price_lock_the_discount_of_the_live_trigger_counts() {
    let discount = "discount = { percent = 10 }\nprice_lock = \"1h\"";
    let trigger = FILTER_WORN.replace("product =", &format!("{discount}\nproduct ="));
    let mut world = homes(&trigger, 2);
    let offers: Vec<OfferId> = (0..2).map(|n| wear_out(&mut world, &home(n)).unwrap().id).collect();
    world.pass(Span::hours(2));
    accept(&mut world, &home(0), offers[0]).unwrap();
    assert_eq!(world.orders()[0].total.minor, 1791);
    set_triggers(&mut world.rules, FILTER_WORN);
    assert_eq!(accept(&mut world, &home(1), offers[1]), Err(Code::OfferPriceChanged), "it is the full price now");
    let put = world.offers_put(&home(1)).pop().unwrap();
    assert_eq!((put.rev, put.price.clone().unwrap().total.minor, put.price.unwrap().was), (2, 1990, None));
}

#[test]
fn a_timer_and_a_reading_draw_nothing() {
    let mut world = homes(&budgeted("{ count = 1 }", "", ""), 1);
    wear_out(&mut world, &home(0)).unwrap();
    world.pass(Span::days(3));
    world.input(&home(0), What::ConnectionLost).unwrap();
    let spent = world.draws.borrow().spent(&shop(), &"filter-worn".to_owned().try_into().unwrap(), None);
    assert_eq!(spent.count, 0, "an offer that ended unanswered had drawn nothing");
}
