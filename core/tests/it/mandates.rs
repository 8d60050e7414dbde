//! Orders without asking: what a mandate permits, and what is asked all the same.

use std::collections::BTreeSet;

use hearthway_core::code::Code;
use hearthway_core::id::{MandateId, ProductId, ProfileId};
use hearthway_core::input::Command;
use hearthway_core::model::{Mandate, OrderState, Purpose};
use hearthway_core::money::{Currency, Money};
use hearthway_core::time::Span;
use hearthway_core::trace::{Step, StepTrace};
use hearthway_core::wire::DownMessage;
use hearthway_core::words::Tongue;

use crate::transcript::{FILTER_WORN, used};
use crate::world::{World, thermostat};

/// The worn filter's trigger as a replenishment that may order by itself, with a day of notice.
fn auto() -> String {
    FILTER_WORN.replace(r#"kind = "offer""#, r#"kind = "replenish""#)
        + "[trigger.replenish]\nmode = \"auto\"\nnotice = \"24h\"\n"
}

fn eur(minor: i64) -> Money {
    Money::new(minor, Currency::new("EUR").unwrap())
}

fn home() -> World {
    let mut world = World::with(&auto());
    world.register(&thermostat());
    world.up(&thermostat(), "presence", r#"{"state":"online","epoch":1}"#).unwrap();
    world.link(&thermostat(), "p1", &[Purpose::ReplenishDevice, Purpose::AutoOrder]);
    world.said.clear();
    world
}

fn mandate(world: &World) -> Mandate {
    Mandate {
        id: MandateId::new("m-1").unwrap(),
        profile: ProfileId::new("p1").unwrap(),
        device: thermostat(),
        slot: None,
        products: BTreeSet::from([ProductId::new("flt-20x25").unwrap()]),
        max_price: eur(2_000),
        max_per_30d: 1,
        expires_at: world.now + Span::days(365),
        given_at: world.now,
        ordered: Vec::new(),
    }
}

fn give(world: &mut World, mandate: Mandate) -> Result<(), Code> {
    world.command(&thermostat(), Command::GiveMandate(Box::new(mandate))).map(|_| ())
}

/// The filter is worn: what the device hears of it.
fn worn(world: &mut World) -> Vec<DownMessage> {
    for hours in [590, 612] {
        world.up(&thermostat(), "up/slot", &used(hours)).unwrap();
    }
    world.heard(&thermostat())
}

fn send_step(world: &World) -> &StepTrace {
    world.last_trace().steps.iter().find(|step| step.step == Step::Send).unwrap()
}

/// Nothing was ordered, an offer was put, and its words say why.
fn asked(world: &mut World, code: &str) -> String {
    let heard = worn(world);
    let [DownMessage::OfferPut(offer)] = &heard[..] else { panic!("an offer is put: {heard:?}") };
    assert!(world.orders().is_empty());
    assert_eq!(send_step(world).reason.split(':').next(), Some(code));
    offer.text.why.clone().unwrap_or_default()
}

#[test]
fn what_a_mandate_permits_is_ordered_announced_and_leaves_after_its_notice() {
    let mut world = home();
    let given = mandate(&world);
    give(&mut world, given).unwrap();
    let heard = worn(&mut world);
    let [DownMessage::Order(order), DownMessage::Replenish { order: announced, mandate, text }] = &heard[..] else {
        panic!("the order and its announcement: {heard:?}")
    };
    assert_eq!((order.id, order.state), (announced.id, OrderState::Confirmed));
    assert_eq!(announced.cancel_until, Some(world.now + Span::days(1)));
    assert_eq!((mandate.as_str(), text.title.as_str()), ("m-1", "Filtre bientôt usé"));
    assert_eq!(&*announced.history[0].cause, "mandate");
    assert_eq!(send_step(&world).reason, "mandate_permits: m-1");
    let told = send_step(&world).in_words(Tongue::En);
    assert_eq!(told, "The mandate m-1 permits to order it without asking.");
    world.pass(Span::hours(23));
    assert_eq!(world.orders()[0].state, OrderState::Confirmed);
    world.pass(Span::hours(2));
    assert_eq!(world.orders()[0].state, OrderState::Submitted);
}

#[test]
fn the_announced_order_is_cancelled_on_the_device_and_counts_no_more() {
    for (answer, spares) in [("cancel", 0), ("later", 0), ("not_needed", 1)] {
        let mut world = home();
        let given = mandate(&world);
        give(&mut world, given).unwrap();
        worn(&mut world);
        let body = format!(r#"{{"op":"{answer}","reason":"have_spare","nonce":"n-1"}}"#);
        let body = if answer == "not_needed" { body } else { format!(r#"{{"op":"{answer}"}}"#) };
        world.up(&thermostat(), "up/replenish", &body).unwrap();
        assert_eq!(world.orders()[0].state, OrderState::Cancelled);
        let home = world.home_of(&thermostat());
        assert!(home.supply.mandates.values().next().unwrap().ordered.is_empty(), "{answer}");
        let shelf = home.supply.shelves.values().next().cloned().unwrap_or_default();
        assert_eq!(shelf.spares, spares, "{answer}");
        assert_eq!(world.up(&thermostat(), "up/replenish", r#"{"op":"cancel"}"#), Err(Code::OrderNotCancellable));
    }
}

#[test]
fn without_a_mandate_or_the_consent_to_orders_the_customer_is_asked() {
    let mut world = home();
    assert_eq!(asked(&mut world, "mandate_missing"), "Votre filtre a fonctionné 612 h.", "nothing was promised");
    let mut world = World::with(&auto());
    world.register(&thermostat());
    world.up(&thermostat(), "presence", r#"{"state":"online","epoch":1}"#).unwrap();
    world.link(&thermostat(), "p1", &[Purpose::ReplenishDevice]);
    let given = mandate(&world);
    give(&mut world, given).unwrap();
    world.said.clear();
    let why = asked(&mut world, "mandate_no_consent");
    assert!(
        why.ends_with("Qui a donné le mandat ne consent pas aux commandes automatiques : on demande au client."),
        "{why}"
    );
}

#[test]
fn above_its_price_beyond_its_number_for_another_product_or_after_its_end_the_customer_is_asked() {
    let mut world = home();
    let given = Mandate { max_price: eur(1_989), ..mandate(&world) };
    give(&mut world, given).unwrap();
    let why = asked(&mut world, "mandate_price");
    assert!(why.ends_with("Cela coûte 19.90 EUR, le mandat m-1 autorise 19.89 EUR : on demande au client."), "{why}");

    let mut world = home();
    let given = Mandate { products: BTreeSet::from([ProductId::new("another").unwrap()]), ..mandate(&world) };
    give(&mut world, given).unwrap();
    asked(&mut world, "mandate_other_product");

    let mut world = home();
    let given = Mandate { expires_at: world.now + Span::hours(1), ..mandate(&world) };
    give(&mut world, given).unwrap();
    world.pass(Span::hours(1));
    asked(&mut world, "mandate_ended");

    let mut world = home();
    let given = mandate(&world);
    give(&mut world, given).unwrap();
    worn(&mut world);
    let order = world.orders()[0].id;
    world.pass(Span::days(2));
    // The shop refuses nothing and the parcel comes; the new filter is in, and wears.
    let status = |rev, state| Command::SetOrderStatus { order, rev, state, eta: None };
    world.command(&thermostat(), status(3, OrderState::Delivered)).unwrap();
    world.up(&thermostat(), "up/slot", r#"{"slot":"air_filter","kind":"usage","used":1,"on_hand":0}"#).unwrap();
    world.heard(&thermostat());
    let heard = worn(&mut world);
    assert!(matches!(&heard[..], [DownMessage::OfferPut(_)]), "{heard:?}");
    assert_eq!(send_step(&world).reason, "mandate_used_up", "a second order within 30 days is asked");
    assert_eq!(world.orders().len(), 1);
}

#[test]
fn a_mandate_ends_with_the_word_and_with_the_device() {
    let mut world = home();
    let given = mandate(&world);
    give(&mut world, given.clone()).unwrap();
    world.command(&thermostat(), Command::EndMandate(given.id.clone())).unwrap();
    asked(&mut world, "mandate_missing");
    give(&mut world, given).unwrap();
    let home = world.home_of(&thermostat()).id;
    world.command(&thermostat(), Command::Release).unwrap();
    assert!(world.homes[&home].supply.mandates.is_empty());
}

#[test]
fn a_mandate_of_a_stranger_or_a_child_is_refused() {
    let mut world = home();
    let stranger = Mandate { profile: ProfileId::new("p9").unwrap(), ..mandate(&world) };
    assert_eq!(give(&mut world, stranger), Err(Code::PayloadInvalid));
    let other = Mandate { device: "acme/d-43".parse().unwrap(), ..mandate(&world) };
    assert_eq!(give(&mut world, other), Err(Code::PayloadInvalid));
}

/// The same on a forecast, so that the trigger comes back by itself.
fn foreseen() -> World {
    foreseen_by("field = \"order_by\"")
}

fn foreseen_by(field: &str) -> World {
    let trigger = crate::replenish::RUNS_OUT.replace("field = \"order_by\"", field);
    let trigger = trigger + "[trigger.replenish]\nmode = \"auto\"\n";
    let mut world = World::with(&trigger);
    world.register(&thermostat());
    world.up(&thermostat(), "presence", r#"{"state":"online","epoch":1}"#).unwrap();
    world.link(&thermostat(), "p1", &[Purpose::ReplenishDevice, Purpose::AutoOrder]);
    let given = Mandate { max_per_30d: 9, ..mandate(&world) };
    give(&mut world, given).unwrap();
    for day in 0..95 {
        world.pass(Span::days(1));
        world.up(&thermostat(), "up/slot", &used((8 * day).min(720))).unwrap();
        if !world.orders().is_empty() {
            return world;
        }
    }
    panic!("nothing was ordered")
}

#[test]
fn a_cancelled_order_is_not_made_again_before_the_silence_after_a_refusal() {
    for (answer, silent_days) in
        [(r#"{"op":"cancel"}"#, 13), (r#"{"op":"not_needed"}"#, 29), (r#"{"op":"later","until":1}"#, 0)]
    {
        let mut world = foreseen();
        world.up(&thermostat(), "up/replenish", answer).unwrap();
        world.pass(Span::hours(5));
        assert_eq!(world.orders().len(), 1, "{answer}: a clock in 1970 is not now");
        world.pass(Span::days(silent_days));
        assert_eq!(world.orders().len(), 1, "{answer}");
    }
}

#[test]
fn when_who_gave_the_mandate_withdraws_the_consent_the_customer_is_asked() {
    let mut world = home();
    let given = mandate(&world);
    give(&mut world, given).unwrap();
    let profile = ProfileId::new("p1").unwrap();
    let records = vec![(Purpose::AutoOrder, world.word(false))];
    world.command(&thermostat(), Command::SetConsents { profile, records }).unwrap();
    world.heard(&thermostat());
    asked(&mut world, "mandate_no_consent");
}

#[test]
fn who_says_later_is_not_asked_before_though_the_forecast_moves_away_and_back() {
    let mut world = foreseen_by("field = \"expected_empty.p50\"\nfalls_below = \"20 d\"\nrearm = \"22 d\"");
    let until = (world.now + Span::days(30)).0;
    world.up(&thermostat(), "up/replenish", &format!(r#"{{"op":"later","until":{until}}}"#)).unwrap();
    // Two quiet weeks move the date away, the next days bring it near again.
    let begun = world.home_of(&thermostat()).devices[&thermostat()].slots.values().next().unwrap().number("used");
    let begun = begun.unwrap();
    let left = 720.0 - begun;
    for day in 0..24 {
        world.pass(Span::days(1));
        let share = if day < 14 { 0.01 * f64::from(day) } else { (0.14 + 0.1 * f64::from(day - 13)).min(0.97) };
        let hours = begun + share * left;
        let body = format!(r#"{{"slot":"air_filter","kind":"usage","used":{hours:.2}}}"#);
        world.up(&thermostat(), "up/slot", &body).unwrap();
        assert_eq!(world.orders().len(), 1, "day {day}, {hours} h");
    }
    for _ in 0..5 {
        world.pass(Span::days(2));
        world.up(&thermostat(), "up/slot", &used(720)).unwrap();
    }
    assert_eq!(world.orders().len(), 2, "and then it is ordered");
}
