//! What purchases alone tell, what is asked of spares that nobody inserts, and refills from elsewhere.

use hearthway_core::decide::{Basis, Unforeseen, foreseen};
use hearthway_core::id::{ProductId, SlotId};
use hearthway_core::input::{Answer, Command};
use hearthway_core::model::{Bought, Offer, OrderState, Purpose};
use hearthway_core::time::{Span, Timestamp};
use hearthway_core::trace::Step;
use hearthway_core::words::Tongue;

use crate::replenish::RUNS_OUT;
use crate::world::{World, set_triggers, thermostat};

fn home(triggers: &str) -> World {
    let mut world = World::with(triggers);
    world.register(&thermostat());
    world.up(&thermostat(), "presence", r#"{"state":"online","epoch":1}"#).unwrap();
    world.link(&thermostat(), "p1", &[Purpose::ReplenishDevice, Purpose::OffersDevice]);
    world.said.clear();
    world
}

fn filter() -> ProductId {
    ProductId::new("flt-20x25").unwrap()
}

fn slot() -> SlotId {
    SlotId::new("air_filter").unwrap()
}

fn buy(world: &mut World, qty: u32) {
    let bought = Bought { at: world.now, qty, cause: world.now.0 as u64 };
    world.command(&thermostat(), Command::Purchased { product: filter(), bought }).unwrap();
}

fn empty(world: &World, p: f64) -> Result<(Timestamp, Basis), Unforeseen> {
    let home = world.home_of(&thermostat());
    foreseen(home, &world.rules, &thermostat(), &slot(), world.now).map(|seen| (seen.empty(p), seen.basis()))
}

fn offers(world: &mut World) -> Vec<Offer> {
    world.offers_put(&thermostat())
}

fn used(world: &mut World, hours: u32) -> Vec<Offer> {
    let body = format!(r#"{{"slot":"air_filter","kind":"usage","used":{hours},"capacity":720}}"#);
    world.up(&thermostat(), "up/slot", &body).unwrap();
    offers(world)
}

#[test]
fn purchases_alone_tell_when_the_next_is_due() {
    let mut world = home(RUNS_OUT);
    buy(&mut world, 1);
    assert_eq!(empty(&world, 0.5), Err(Unforeseen::NotEnoughHistory), "one purchase is no habit");
    for _ in 0..5 {
        world.pass(Span::days(60));
        buy(&mut world, 1);
    }
    let (at, basis) = empty(&world, 0.5).unwrap();
    let days = (at - world.now).0 as f64 / 86_400_000.0;
    assert!((50.0..=70.0).contains(&days), "every 60 days, and next in {days}");
    assert_eq!(basis, Basis::Purchases(5));
    // Who has not bought by now buys later.
    world.pass(Span::days(80));
    assert!(empty(&world, 0.5).unwrap().0 > world.now);
}

#[test]
fn a_silent_slot_is_spoken_of_before_the_next_purchase_is_due() {
    let mut world = home(RUNS_OUT);
    buy(&mut world, 1);
    for _ in 0..5 {
        world.pass(Span::days(60));
        buy(&mut world, 1);
        assert!(offers(&mut world).is_empty(), "it was bought just now");
    }
    let mut said = Vec::new();
    for day in 0..60 {
        world.pass(Span::days(1));
        said.extend(offers(&mut world).into_iter().map(|offer| (day, offer)));
    }
    assert!(matches!(said.first(), Some((15..=57, _))), "said on {:?}", said.iter().map(|s| s.0).collect::<Vec<_>>());
    assert_eq!(said[0].1.slot.as_ref(), Some(&slot()));
}

#[test]
fn a_batch_of_old_purchases_is_history_until_the_rest_of_it_has_come() {
    let mut world = home(RUNS_OUT);
    for n in (1..=6).rev() {
        let bought = Bought { at: world.now - Span::days(60 * n), qty: 1, cause: n as u64 };
        world.command(&thermostat(), Command::Purchased { product: filter(), bought }).unwrap();
        assert!(offers(&mut world).is_empty());
    }
    world.pass(Span::hours(1));
    assert_eq!(offers(&mut world).len(), 1, "60 days after the last of them the next is due");
}

#[test]
fn what_the_slot_reports_is_believed_before_what_is_bought() {
    let mut world = home(RUNS_OUT);
    for _ in 0..6 {
        buy(&mut world, 1);
        world.pass(Span::days(60));
    }
    used(&mut world, 10);
    assert_eq!(empty(&world, 0.5), Err(Unforeseen::NotEnoughHistory), "it will tell soon enough itself");
}

#[test]
fn a_device_that_comes_back_finds_what_was_published_meanwhile() {
    let mut world = home("");
    for _ in 0..6 {
        buy(&mut world, 1);
        world.pass(Span::days(60));
    }
    set_triggers(&mut world.rules, RUNS_OUT);
    world.up(&thermostat(), "presence", r#"{"state":"online","epoch":2}"#).unwrap();
    world.up(&thermostat(), "presence", r#"{"state":"lost","epoch":2}"#).unwrap();
    world.up(&thermostat(), "presence", r#"{"state":"online","epoch":3}"#).unwrap();
    assert_eq!(offers(&mut world).len(), 1);
}

/// A home with one spare that stands there for two years; the filter is worn, and nobody changes it.
fn doubted() -> (World, Offer) {
    let mut world = home(RUNS_OUT);
    buy(&mut world, 1);
    let mut hours = 0;
    let mut said = Vec::new();
    for _ in 0..120 {
        world.pass(Span::days(7));
        hours = (hours + 50).min(720);
        said.extend(used(&mut world, hours));
        if !said.is_empty() {
            break;
        }
    }
    let asked = said.pop().expect("in the end it is asked");
    (world, asked)
}

#[test]
fn a_spare_that_nobody_inserts_is_asked_about_and_not_ordered_again() {
    let (world, asked) = doubted();
    assert_eq!(&*asked.text.title, "En avez-vous encore ?");
    assert!(asked.text.body.starts_with("Il devrait en rester 1"), "{}", asked.text.body);
    let step = world.last_trace().steps.iter().find(|step| step.step == Step::Suppression).unwrap().clone();
    let told = step.in_words(Tongue::En);
    assert!(told.starts_with("There should be 1 at home, not inserted for long"), "{told}");
    let bought = world.home_of(&thermostat()).supply.shelves.get(&filter()).unwrap().bought[0].at;
    assert!(world.now - bought > Span::days(170), "100 days last one, twice over");
}

#[test]
fn who_still_has_the_spare_is_left_alone_for_as_long_as_it_lasts() {
    let (mut world, asked) = doubted();
    let body = format!(r#"{{"offer":"{}","rev":1,"answer":"not_needed","reason":"have_spare"}}"#, asked.id);
    world.up(&thermostat(), "up/offer/answer", &body).unwrap();
    let mut quiet = 0;
    while used(&mut world, 720).is_empty() {
        world.pass(Span::days(7));
        quiet += 7;
        assert!(quiet < 1000);
    }
    assert!((70..=140).contains(&quiet), "{quiet} days");
}

#[test]
fn who_orders_although_one_should_be_there_has_none() {
    let (mut world, asked) = doubted();
    let accept = Answer::Accept { qty: Some(1), fulfil: None };
    let what = Command::AnswerOffer { offer: asked.id, rev: 1, answer: accept, channel: "app".into(), profile: None };
    world.command(&thermostat(), what).unwrap();
    world.pass(Span::hours(1));
    let order = world.orders()[0].id;
    let status = |rev, state| Command::SetOrderStatus { order, rev, state, eta: None };
    world.command(&thermostat(), status(3, OrderState::Delivered)).unwrap();
    assert_eq!(world.home_of(&thermostat()).supply.shelves.get(&filter()).unwrap().spares, 1, "the new one");
}

/// Asks once, neutrally, where a refill came from elsewhere.
const WHOSE: &str = r#"
[[trigger]]
id = "whose-filter"
kind = "service"
[trigger.on]
event = "refill"
slot = "air_filter"
type = "elsewhere"
device = { kind = "thermostat" }
[trigger.offer]
product = { by = "slot_compatible" }
actions = ["decline", "why"]
[trigger.offer.text.fr]
title = "Nouveau filtre en place"
body = "Une autre marque ? Dites-le, nous ne proposerons plus le nôtre."
"#;

#[test]
fn a_refill_from_elsewhere_asks_one_question_and_one_from_the_shelf_none() {
    let mut world = home(WHOSE);
    buy(&mut world, 1);
    assert!(used(&mut world, 700).is_empty());
    assert!(used(&mut world, 3).is_empty(), "that one was ours");
    assert!(used(&mut world, 700).is_empty());
    let asked = used(&mut world, 2);
    assert_eq!(asked.len(), 1, "this one came from elsewhere");
    assert!(asked[0].actions.iter().all(|action| action.as_str() != "order"));
}

#[test]
fn who_uses_another_brand_is_not_offered_ours_for_ninety_days() {
    let mut world = home(&format!("{WHOSE}\n{RUNS_OUT}"));
    used(&mut world, 700);
    let asked = used(&mut world, 2).remove(0);
    let body = format!(r#"{{"offer":"{}","rev":1,"answer":"not_needed","reason":"other_brand"}}"#, asked.id);
    world.up(&thermostat(), "up/offer/answer", &body).unwrap();
    let mut said = Vec::new();
    let mut first = None;
    for day in 1..200u32 {
        world.pass(Span::days(1));
        said.extend(used(&mut world, (2 + 12 * day).min(720)));
        if !said.is_empty() && first.is_none() {
            first = Some(day);
        }
    }
    assert!(matches!(first, Some(90..=100)), "60 days last one, but ours is not offered for 90: {first:?}");
}
