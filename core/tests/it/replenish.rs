//! What runs out is foreseen, and spoken of at the right moment.

use hearthway_core::code::Code;
use hearthway_core::decide::{Unforeseen, foreseen};
use hearthway_core::forecast::{Verdict, instant};
use hearthway_core::id::{ProductId, SlotId};
use hearthway_core::input::Command;
use hearthway_core::model::{Bought, Offer, OfferState, Purpose, Track};
use hearthway_core::time::{Span, Timestamp};
use hearthway_core::trace::Step;
use hearthway_core::words::Tongue;

use crate::world::{World, thermostat};

/// Speaks when it is time to order, by what the home's filter usually lasts.
pub const RUNS_OUT: &str = r#"
[[trigger]]
id   = "filter-runs-out"
kind = "replenish"
[trigger.on]
event = "forecast"
device = { kind = "thermostat" }
slot = "air_filter"
field = "order_by"
[trigger.offer]
product = { by = "slot_compatible" }
actions = ["order", "snooze", "decline", "why"]
[trigger.offer.text.fr]
title = "Filtre bientôt usé"
body = "{{ product.name }} : remplacement {{ slot.expected_empty }}."
"#;

fn home_with(triggers: &str) -> World {
    let mut world = World::with(triggers);
    world.register(&thermostat());
    world.up(&thermostat(), "presence", r#"{"state":"online","epoch":1}"#).unwrap();
    world.link(&thermostat(), "p1", &[Purpose::ReplenishDevice]);
    world.said.clear();
    world
}

fn slot() -> SlotId {
    SlotId::new("air_filter").unwrap()
}

fn track(world: &World) -> &Track {
    world.home_of(&thermostat()).supply.tracks.values().next().unwrap()
}

fn used(world: &mut World, hours: f64) {
    let body = format!(r#"{{"slot":"air_filter","kind":"usage","used":{hours},"capacity":720}}"#);
    world.up(&thermostat(), "up/slot", &body).unwrap();
}

/// Lives so many days of so many hours each from a number of hours on; the offers, with their days.
fn live(world: &mut World, from: f64, per_day: f64, days: u32) -> Vec<(u32, Offer)> {
    let mut offers = Vec::new();
    for day in 0..days {
        world.pass(Span::days(1));
        used(world, from + per_day * f64::from(day));
        offers.extend(world.offers_put(&thermostat()).into_iter().map(|offer| (day, offer)));
    }
    offers
}

fn empty(world: &World, p: f64) -> Result<Timestamp, Unforeseen> {
    let home = world.home_of(&thermostat());
    foreseen(home, &world.rules, &thermostat(), &slot(), world.now).map(|seen| seen.empty(p))
}

fn days(span: Span) -> f64 {
    span.0 as f64 / 86_400_000.0
}

#[test]
fn the_suggestion_comes_once_and_early_enough_for_the_parcel() {
    let mut world = home_with(RUNS_OUT);
    // 720 h at 8 h a day last 90 days; the parcel takes three.
    let offers = live(&mut world, 0.0, 8.0, 90);
    let on: Vec<u32> = offers.iter().map(|(day, _)| *day).collect();
    assert!(matches!(on.first(), Some(75..=86)), "said on days {on:?}");
    let (_, offer) = &offers[0];
    assert!(offer.text.body.starts_with("Filtre 20×25 : remplacement vers le "), "{}", offer.text.body);
    assert_eq!((&*offer.kind, offer.slot.as_ref()), ("replenish", Some(&slot())));
    let step = world.traces.iter().find(|trace| trace.offer == Some(offer.id)).unwrap();
    let step = step.steps.iter().find(|step| step.step == Step::Age).unwrap();
    assert_eq!(step.reason, "runs_out");
    let told = step.in_words(Tongue::En);
    assert!(told.starts_with("The air_filter is expected to run out about 2026-06-"), "{told}");
    assert!(on.windows(2).all(|pair| pair[1] - pair[0] >= 3), "nobody is pestered: {on:?}");
}

#[test]
fn the_forecast_of_a_steady_home_is_right_and_narrow() {
    let mut world = home_with("");
    live(&mut world, 0.0, 8.0, 46);
    let (p10, p50, p90) = (empty(&world, 0.1).unwrap(), empty(&world, 0.5).unwrap(), empty(&world, 0.9).unwrap());
    assert!(p10 < p50 && p50 < p90);
    let left = days(p50 - world.now);
    assert!((35.0..=55.0).contains(&left), "360 h at 8 h a day are 45 days, not {left}");
}

#[test]
fn a_month_told_at_once_is_history_and_only_its_newest_report_speaks() {
    let mut world = home_with(RUNS_OUT);
    for ago in (1..=30).rev() {
        let (t, hours) = ((world.now - Span::days(ago)).0, 700 - 8 * ago);
        let body = format!(r#"{{"slot":"air_filter","kind":"usage","used":{hours},"capacity":720,"t":{t}}}"#);
        world.up(&thermostat(), "up/slot", &body).unwrap();
        assert!(world.offers_put(&thermostat()).is_empty(), "{ago} days ago is no news");
    }
    used(&mut world, 700.0);
    assert_eq!(world.offers_put(&thermostat()).len(), 1);
}

#[test]
fn where_nothing_follows_an_old_report_its_trigger_speaks_after_a_while() {
    let mut world = home_with(RUNS_OUT);
    for ago in (1..=30).rev() {
        let (t, hours) = ((world.now - Span::days(ago)).0, 700 - 8 * ago);
        let body = format!(r#"{{"slot":"air_filter","kind":"usage","used":{hours},"capacity":720,"t":{t}}}"#);
        world.up(&thermostat(), "up/slot", &body).unwrap();
    }
    world.pass(Span::hours(1));
    assert_eq!(world.offers_put(&thermostat()).len(), 1);
}

#[test]
fn below_five_days_of_use_nothing_is_foreseen_and_nothing_is_said() {
    let mut world = home_with(RUNS_OUT);
    assert_eq!(empty(&world, 0.5), Err(Unforeseen::NoEvidence));
    let offers = live(&mut world, 690.0, 8.0, 4);
    assert_eq!(empty(&world, 0.5), Err(Unforeseen::NotEnoughHistory));
    assert!(offers.is_empty(), "{offers:?}");
}

#[test]
fn a_refill_takes_the_suggestion_back_begins_anew_and_takes_a_spare() {
    let mut world = home_with(RUNS_OUT);
    let offers = live(&mut world, 0.0, 8.0, 88);
    let (_, last) = offers.last().unwrap();
    let id = last.id;
    // Bought in the store, and inserted a day later.
    let bought = Bought { at: world.now, qty: 2, cause: 1 };
    let product = ProductId::new("flt-20x25").unwrap();
    world.command(&thermostat(), Command::Purchased { product, bought }).unwrap();
    world.pass(Span::days(1));
    used(&mut world, 3.0);
    assert!(matches!(track(&world).verdict, Some(Verdict::Replaced)), "{:?}", track(&world).verdict);
    let home = world.home_of(&thermostat());
    assert_eq!(home.supply.shelves.values().next().unwrap().spares, 1);
    let state = home.offers[&id].state;
    assert!(matches!(state, OfferState::Withdrawn | OfferState::Expired), "{state:?}");
    let left = days(empty(&world, 0.5).unwrap() - world.now);
    assert!((75.0..=105.0).contains(&left), "a fresh one at the home's own rate: {left} days");
    let cycle = track(&world).cycles[0];
    let error = days(instant(cycle.foreseen.empty.p50) - cycle.ran_out_at);
    assert!(error.abs() < 8.0, "foreseen at half: {error} days off");
    let again = live(&mut world, 3.0, 8.0, 80);
    assert!(again.is_empty(), "there is a spare at home: {again:?}");
}

#[test]
fn a_leap_of_a_level_waits_for_the_next_reading_and_a_spike_is_dropped() {
    let mut world = home_with("");
    let beans = r#"{"model":"th-200","kind":"thermostat","telemetry":{"temperature":{"type":"number","unit":"°C"}},
        "slots":[{"slot":"salt","kind":"level","unit":"kg","capacity":20}],
        "placements":[{"id":"home.card","title_max":40,"body_max":160}],"locales":["fr"],"confirm":["press2s"]}"#;
    world.up(&thermostat(), "desc", beans).unwrap();
    let say = |world: &mut World, kilograms: f64| {
        world.pass(Span::days(1));
        let body = format!(r#"{{"slot":"salt","kind":"level","remaining":{kilograms},"unit":"kg"}}"#);
        world.up(&thermostat(), "up/slot", &body).unwrap();
        let home = world.home_of(&thermostat());
        let shown = home.devices[&thermostat()].slots[&SlotId::new("salt").unwrap()].number("remaining").unwrap();
        (track(world).verdict.unwrap(), shown)
    };
    for day in 0..20 {
        say(&mut world, 20.0 - 0.4 * f64::from(day));
    }
    let (verdict, shown) = say(&mut world, 1.0);
    assert!(matches!(verdict, Verdict::Held { .. }) && shown > 12.0, "{verdict:?}, shown {shown}");
    let (verdict, shown) = say(&mut world, 11.6);
    assert!(matches!(verdict, Verdict::SpikeDropped { .. }) && shown == 11.6, "{verdict:?}, shown {shown}");
    assert!(matches!(say(&mut world, 20.0).0, Verdict::Held { .. }));
    let (verdict, shown) = say(&mut world, 19.6);
    assert!(matches!(verdict, Verdict::Refill { .. }) && shown == 19.6, "{verdict:?}, shown {shown}");
    let wild = r#"{"slot":"salt","kind":"level","remaining":300,"unit":"kg"}"#;
    assert_eq!(world.up(&thermostat(), "up/slot", wild), Err(Code::PayloadInvalid), "the slot holds 20 kg");
}

#[test]
fn days_of_absence_move_the_date_and_not_the_rate() {
    #[derive(PartialEq)]
    enum Holiday {
        None,
        Told,
        Untold,
    }
    let lived = |holiday: Holiday| {
        let mut world = home_with("");
        live(&mut world, 0.0, 8.0, 40);
        let is_told = holiday == Holiday::Told;
        if is_told {
            world.up(&thermostat(), "up/context", r#"{"presence":"away","ttl_s":86400}"#).unwrap();
        }
        if holiday != Holiday::None {
            // Two weeks in which the heating runs less than an hour a day.
            live(&mut world, 312.8, 0.8, 14);
        }
        if is_told {
            world.up(&thermostat(), "up/context", r#"{"presence":"home","ttl_s":86400}"#).unwrap();
        }
        live(&mut world, 332.0, 8.0, 1);
        days(empty(&world, 0.5).unwrap() - world.now)
    };
    let (stayed, told, untold) = (lived(Holiday::None), lived(Holiday::Told), lived(Holiday::Untold));
    assert!((told - stayed).abs() < 4.0, "told {told}, stayed {stayed}");
    assert!((untold - stayed).abs() > 2.0 * (told - stayed).abs(), "untold {untold}, told {told}, stayed {stayed}");
}

#[test]
fn an_order_covers_what_the_home_uses_less_what_it_has() {
    let trigger = RUNS_OUT.to_owned() + "[trigger.replenish]\nquantity = { cover = \"270d\", min = 1, max = 5 }\n";
    let mut world = home_with(&trigger);
    let offers = live(&mut world, 0.0, 8.0, 88);
    let (_, offer) = &offers[0];
    assert_eq!(offer.item.as_ref().unwrap().qty, 3, "270 days at 90 days each");
    assert_eq!(offer.price.as_ref().unwrap().total.minor, 3 * 1990);
}

#[test]
fn a_life_with_a_date_is_ordered_before_it_ends() {
    let trigger = RUNS_OUT.replace("air_filter", "cartridge").replace("{ by = \"slot_compatible\" }", "\"flt-20x25\"");
    let trigger =
        trigger.replace("field = \"order_by\"", "field = \"slot.expected_empty.p50\"\nfalls_below = \"10 d\"");
    let mut rules = crate::world::rules("");
    let description = serde_json::json!({
        "model": "th-200", "kind": "thermostat", "telemetry": {"temperature": {"type": "number", "unit": "°C"}},
        "slots": [{"slot": "cartridge", "kind": "life"}],
        "placements": [{"id": "home.card", "title_max": 40, "body_max": 160}], "locales": ["fr"], "confirm": ["press2s"]
    });
    let mut model = (**rules.models.values().next().unwrap()).clone();
    model.description = hearthway_core::wire::read_description(&description, None).unwrap();
    rules.models.insert(model.description.model.clone(), std::sync::Arc::new(model));
    for product in rules.products.listed.values_mut() {
        std::sync::Arc::make_mut(product).fits[0].slot = SlotId::new("cartridge").unwrap();
    }
    crate::world::set_triggers(&mut rules, &trigger);
    let mut world = home_with("");
    world.rules = rules;
    world.up(&thermostat(), "up/slot", r#"{"slot":"cartridge","kind":"life","ends":"2026-05-01"}"#).unwrap();
    world.pass(Span::days(30));
    assert!(world.offers_put(&thermostat()).is_empty());
    world.pass(Span::days(5));
    // 2026-03-18 and 35 days are 2026-04-22: nine days before, at the gateway's own hour.
    let offers = world.offers_put(&thermostat());
    assert_eq!(offers.len(), 1);
    assert_eq!(offers[0].text.body, "Filtre 20×25 : remplacement vers le 1er mai.");
}

#[test]
fn what_led_to_nothing_is_suggested_again_after_some_days() {
    let mut world = home_with(RUNS_OUT);
    let offers = live(&mut world, 0.0, 8.0, 110);
    let on: Vec<u32> = offers.iter().map(|(day, _)| *day).collect();
    assert!(on.len() >= 2, "the first was never answered, and the filter runs out: {on:?}");
    assert!(on.windows(2).all(|pair| pair[1] - pair[0] >= 3), "{on:?}");
}

#[test]
fn a_life_that_is_estimated_anew_by_a_day_is_no_new_one() {
    let mut world = home_with("");
    let desc = r#"{"model":"th-200","kind":"thermostat","telemetry":{"temperature":{"type":"number","unit":"°C"}},
        "slots":[{"slot":"air_filter","kind":"life"}],"placements":[{"id":"home.card"}],"locales":["fr"],"confirm":["press2s"]}"#;
    world.up(&thermostat(), "desc", desc).unwrap();
    let product = ProductId::new("flt-20x25").unwrap();
    let bought = Bought { at: world.now, qty: 1, cause: 1 };
    world.command(&thermostat(), Command::Purchased { product, bought }).unwrap();
    for (ends, spares) in [("2026-06-01", 1), ("2026-06-02", 1), ("2026-12-01", 0)] {
        let body = format!(r#"{{"slot":"air_filter","kind":"life","ends":"{ends}"}}"#);
        world.up(&thermostat(), "up/slot", &body).unwrap();
        assert_eq!(world.home_of(&thermostat()).supply.shelves.values().next().unwrap().spares, spares, "{ends}");
    }
}
