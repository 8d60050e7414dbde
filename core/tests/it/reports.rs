//! What reports count of stories.

use std::sync::Arc;

use hearthway_core::decision::Change;
use hearthway_core::id::{OfferId, RetailerId, TriggerId};
use hearthway_core::input::{Answer, Command, What};
use hearthway_core::model::{OrderState, Purpose};
use hearthway_core::report::{
    Asked, Channel, Counts, Day, Funnel, FunnelTrigger, Group, Ledger, Noted, OptOutKind, OptOuts, OptOutsTrigger,
    Period, Spoken, Stage, Uplift, UpliftTrigger, notes,
};
use hearthway_core::time::{Span, Timestamp};
use hearthway_core::trigger::{SourceFile, TriggerSet, World as Catalogue, check};

use crate::transcript::{FILTER_WORN, used, with_cancel_window};
use crate::world::{World, set_triggers, shop, thermostat};

const QUIET: &str = "[trigger.limits]\nquiet = { from = \"21:00\", to = \"08:00\" }\n";
const HOLDOUT: &str = "[trigger.rollout]\nholdout = { percent = 50 }\n";

fn wear(world: &mut World) {
    world.up(&thermostat(), "up/slot", &used(590)).unwrap();
    world.up(&thermostat(), "up/slot", &used(612)).unwrap();
}

fn worn(triggers: &str) -> World {
    let mut world = World::at_home(triggers);
    wear(&mut world);
    world
}

fn receipt(world: &mut World, offer: OfferId, state: &str) {
    let said = format!(r#"{{"offer":"{offer}","rev":1,"state":"{state}"}}"#);
    world.up(&thermostat(), "up/offer/receipt", &said).unwrap();
}

fn answer(world: &mut World, offer: OfferId, answer: Answer) {
    let command = Command::AnswerOffer { offer, rev: 1, answer, channel: "app".into(), profile: None };
    world.command(&thermostat(), command).unwrap();
}

const ACCEPT: Answer = Answer::Accept { qty: None, fulfil: None };

fn funnel(world: &World) -> FunnelTrigger {
    funnel_of(world, Asked::default()).expect("something was counted")
}

fn funnel_of(world: &World, asked: Asked) -> Option<FunnelTrigger> {
    let mut triggers = world.counted(&shop(), Funnel::new(asked)).report().triggers;
    assert!(triggers.len() <= 1, "{triggers:?}");
    triggers.pop()
}

/// The stages that something came to, with how often.
fn stages(of: &FunnelTrigger) -> Vec<(&str, u64)> {
    of.stages.iter().filter(|at| at.decisions > 0).map(|at| (at.stage.as_str(), at.decisions)).collect()
}

fn reasons(of: &FunnelTrigger) -> Vec<(&str, u64)> {
    of.blocked_by.iter().map(|by| (by.reason.as_str(), by.decisions)).collect()
}

#[test]
fn an_offer_is_counted_at_every_stage_it_comes_to() {
    let mut world = worn(FILTER_WORN);
    let offer = world.offers_put(&thermostat())[0].id;
    assert_eq!(stages(&funnel(&world)), [("matched", 1), ("sent", 1)]);
    receipt(&mut world, offer, "shown");
    assert_eq!(stages(&funnel(&world))[2..], [("delivered", 1), ("shown", 1)], "who saw it has it");
    receipt(&mut world, offer, "shown");
    answer(&mut world, offer, ACCEPT);
    let of = funnel(&world);
    assert_eq!(stages(&of)[2..], [("delivered", 1), ("shown", 1), ("accepted", 1), ("ordered", 1)]);
    assert_eq!(of.count(Stage::Ordered).households, 1);
}

#[test]
fn a_cancelled_or_refused_order_is_no_order() {
    for refused in [false, true] {
        let mut world = worn(&with_cancel_window(if refused { "0 s" } else { "30 min" }));
        let offer = world.offers_put(&thermostat())[0].id;
        answer(&mut world, offer, ACCEPT);
        assert_eq!(funnel(&world).count(Stage::Ordered).decisions, 1);
        let order = world.orders()[0].id;
        let end = match refused {
            false => Command::CancelOrder { order, channel: "app".into() },
            true => Command::SetOrderStatus { order, rev: 2, state: OrderState::Refused, eta: None },
        };
        world.command(&thermostat(), end).unwrap();
        let of = funnel(&world);
        assert_eq!((of.count(Stage::Accepted).decisions, of.count(Stage::Ordered).decisions), (1, 0));
    }
}

#[test]
fn what_stops_a_trigger_is_counted_by_its_first_reason() {
    let mut world = World::with(FILTER_WORN);
    world.register(&thermostat());
    world.link(&thermostat(), "p1", &[]);
    wear(&mut world);
    let of = funnel(&world);
    assert_eq!((stages(&of), reasons(&of)), (vec![("matched", 1), ("blocked", 1)], vec![("consent:no_consent", 1)]));
}

#[test]
fn an_edge_that_waits_for_its_conditions_counts_once_and_again_when_it_leaves() {
    let waiting =
        FILTER_WORN.replace("[trigger.offer]", "[trigger.when]\nall = 'context.presence == \"home\"'\n[trigger.offer]");
    let mut world = worn(&waiting);
    for hours in 613..620 {
        world.up(&thermostat(), "up/slot", &used(hours)).unwrap();
    }
    assert_eq!(world.traces.len(), 8, "it is looked at with each input");
    assert_eq!(stages(&funnel(&world)), [("matched", 1), ("blocked", 1)]);
    world.up(&thermostat(), "up/context", r#"{"presence":"home","ttl_s":900}"#).unwrap();
    assert_eq!(stages(&funnel(&world)), [("matched", 2), ("blocked", 1), ("sent", 1)]);
}

#[test]
fn a_device_that_nobody_claimed_is_nobodys_and_counts_nowhere() {
    let mut world = World::with(FILTER_WORN);
    world.register(&thermostat());
    wear(&mut world);
    assert!(world.ledgers.is_empty());
    // A trigger that needs no link is looked at there, and is its retailer's.
    let mut world = World::with(&format!("{FILTER_WORN}[trigger.audience]\nlink = \"anonymous_ok\"\n"));
    world.register(&thermostat());
    wear(&mut world);
    assert_eq!(reasons(&funnel(&world)), [("consent:no_consent", 1)]);
}

#[test]
fn another_retailers_trigger_in_a_customers_home_is_counted_for_nobody() {
    let mut world = World::at_home(FILTER_WORN);
    let other = RetailerId::new("shop-b").unwrap();
    let product = world.rules.products.listed.values().next().unwrap().clone();
    world.rules.products.listed.insert((other.clone(), product.id.clone()), product);
    let catalogue = Catalogue {
        retailer: other.clone(),
        version: 1,
        models: &world.rules.models,
        products: &world.rules.products,
        default_locale: "fr-FR",
    };
    let theirs = check(&[SourceFile { name: "theirs.toml".into(), text: FILTER_WORN.into() }], &catalogue).triggers;
    world.rules.triggers = TriggerSet::build(world.rules.triggers.iter().cloned().chain(theirs).collect::<Vec<_>>());
    wear(&mut world);
    assert_eq!(stages(&funnel(&world)), [("matched", 1), ("sent", 1)]);
    assert!(world.counted(&other, Funnel::default()).report().triggers.is_empty());
}

#[test]
fn an_offer_that_waits_for_the_morning_is_held_then_and_sent_later() {
    let mut world = World::at_home(&format!("{FILTER_WORN}{QUIET}"));
    world.pass(Span::hours(12));
    wear(&mut world);
    assert_eq!(stages(&funnel(&world)), [("matched", 1), ("held", 1)]);
    world.pass(Span::hours(12));
    assert_eq!(stages(&funnel(&world)), [("matched", 2), ("held", 1), ("sent", 1)]);
    assert_eq!(funnel(&world).count(Stage::Matched).households, 1, "the same home");
    let days: Vec<_> = funnel(&world).days.iter().map(|day| day.day.clone()).collect();
    assert_eq!(days, ["2026-03-18", "2026-03-19"]);
}

#[test]
fn an_offer_that_comes_back_before_it_reached_the_device_is_held_and_sent_anew() {
    let mut world = World::at_home(&format!("{FILTER_WORN}{QUIET}"));
    wear(&mut world);
    let waiting = vec![world.offers_put(&thermostat())[0].id];
    // The device was away until the evening: what waits for it is looked at again.
    world.pass(Span::hours(12));
    world.input(&thermostat(), What::Reachable { waiting }).unwrap();
    assert_eq!(stages(&funnel(&world)), [("matched", 1), ("held", 1)]);
    world.pass(Span::hours(12));
    assert_eq!(stages(&funnel(&world)), [("matched", 2), ("held", 1), ("sent", 1)]);
    let offer = world.offers_put(&thermostat())[0].id;
    receipt(&mut world, offer, "shown");
    assert_eq!(stages(&funnel(&world))[2..], [("sent", 1), ("delivered", 1), ("shown", 1)]);
}

#[test]
fn a_silent_look_counts_on_the_retailers_day() {
    let mut world = World::with(FILTER_WORN);
    world.register(&thermostat());
    world.link(&thermostat(), "p1", &[]);
    world.pass(Timestamp::parse_rfc3339("2026-03-18T23:30:00Z").unwrap() - world.now);
    wear(&mut world);
    let days: Vec<_> = funnel(&world).days.into_iter().map(|day| day.day).collect();
    assert_eq!(days, ["2026-03-19"], "it is past midnight in Paris");
}

#[test]
fn an_offer_counts_on_the_day_it_left_whatever_becomes_of_it_later() {
    let mut world = World::at_home(FILTER_WORN);
    // To the evening of the last of the month: in Paris it is April already, in universal time not.
    world.pass(Timestamp::parse_rfc3339("2026-03-31T22:30:00Z").unwrap() - world.now);
    wear(&mut world);
    let offer = world.offers_put(&thermostat())[0].id;
    world.pass(Span::hours(20));
    answer(&mut world, offer, ACCEPT);
    assert_eq!(world.ledgers.len(), 2, "the order stands in the ledger of April");
    let day = |text: &str| Day::parse(text);
    let on = |from: &str, until: &str| {
        let period = Period { from: day(from), until: day(until) };
        funnel_of(&world, Asked { period, trigger: None }).map(|of| of.count(Stage::Ordered).decisions)
    };
    assert_eq!(on("2026-04-01", "2026-04-02"), Some(1));
    assert_eq!(on("2026-03-01", "2026-04-01"), None);
    assert_eq!(on("2026-04-02", "2026-05-01"), None);
}

#[test]
fn one_trigger_can_be_asked_about_alone() {
    let second = FILTER_WORN.replace("filter-worn", "filter-very-worn").replace("600 h", "605 h");
    let world = worn(&format!("{FILTER_WORN}{second}"));
    assert_eq!(world.counted(&shop(), Funnel::default()).report().triggers.len(), 2);
    let trigger = Some(TriggerId::new("filter-very-worn").unwrap());
    let of = funnel_of(&world, Asked { trigger, ..Asked::default() }).unwrap();
    assert_eq!(of.trigger, "filter-very-worn");
}

#[test]
fn what_expires_unseen_is_sent_and_expired() {
    let mut world = worn(FILTER_WORN);
    world.pass(Span::days(3));
    assert_eq!(stages(&funnel(&world)), [("matched", 1), ("sent", 1), ("expired", 1)]);
}

#[test]
fn the_channel_is_told_by_model_and_by_the_homes_hour() {
    let mut world = worn(FILTER_WORN);
    let offer = world.offers_put(&thermostat())[0].id;
    receipt(&mut world, offer, "shown");
    answer(&mut world, offer, Answer::Snooze { until: None });
    let rows = world.counted(&shop(), Channel::default()).report().rows;
    let [row] = &rows[..] else { panic!("{rows:?}") };
    assert_eq!((row.kind.as_str(), row.model.as_str(), row.hour), ("thermostat", "th-200", 10));
    assert_eq!((row.sent, row.shown, row.answered, row.accepted), (1, 1, 1, 0));
}

#[test]
fn test_offers_and_orders_are_not_counted() {
    let mut world = worn(FILTER_WORN);
    let offer = world.offers_put(&thermostat())[0].id;
    let home = world.home_of(&thermostat()).clone();
    let input = world.log.last().unwrap().1.clone();
    let mut decision = hearthway_core::decide::decide(&home, &input, &world.rules, world.now);
    let mut shown = (*home.offers[&offer]).clone();
    shown.state = hearthway_core::model::OfferState::Shown;
    for test in [false, true] {
        decision.changes = vec![Change::OfferSet(Arc::new(hearthway_core::model::Offer { test, ..shown.clone() }))];
        assert_eq!(notes(&home, &decision, &world.rules).is_empty(), test);
    }
}

/// A profile whose home is in the control group of the salt `filter-worn`, or is not.
fn profile(is_held_out: bool) -> String {
    let world = World::with(&format!("{FILTER_WORN}{HOLDOUT}"));
    let rule = world.rules.triggers.iter().next().unwrap().holdout.clone().unwrap();
    let named = |n: &u32| world.join(&format!("p{n}"), &[]).household;
    let found = (1..50).find(|n| rule.holds_out(named(n)) == is_held_out).unwrap();
    format!("p{found}")
}

fn drawn(is_held_out: bool) -> World {
    let mut world = World::with(&format!("{FILTER_WORN}{HOLDOUT}"));
    world.register(&thermostat());
    world.link(&thermostat(), &profile(is_held_out), &[Purpose::OffersDevice]);
    wear(&mut world);
    world
}

fn uplift(world: &World, window: Span) -> UpliftTrigger {
    let report = world.counted(&shop(), Uplift::new(Asked::default(), window, world.now)).report();
    report.triggers.into_iter().next().expect("a home was drawn")
}

#[test]
fn a_home_that_is_held_out_is_counted_where_its_offer_would_have_left() {
    let world = drawn(true);
    assert_eq!(stages(&funnel(&world)), [("matched", 1), ("held_out", 1)]);
    let of = uplift(&world, Span::days(14));
    assert_eq!((of.held_out.households, of.treated.households, of.uplift), (1, 0, None));
    assert_eq!(of.held_out.still_open, 1);
}

#[test]
fn a_home_that_is_blocked_before_the_draw_is_on_neither_side() {
    let mut world = World::with(&format!("{FILTER_WORN}{HOLDOUT}"));
    world.register(&thermostat());
    world.link(&thermostat(), &profile(true), &[]);
    wear(&mut world);
    assert_eq!(reasons(&funnel(&world)), [("consent:no_consent", 1)]);
    let report = world.counted(&shop(), Uplift::new(Asked::default(), Span::days(14), world.now)).report();
    assert!(report.triggers.is_empty());
}

#[test]
fn an_order_of_the_product_counts_within_the_window_and_while_it_stands() {
    let mut world = drawn(false);
    let offer = world.offers_put(&thermostat())[0].id;
    world.pass(Span::hours(30));
    answer(&mut world, offer, ACCEPT);
    let ordered = |world: &World, window: Span| uplift(world, window).treated.ordered;
    assert_eq!((ordered(&world, Span::hours(30)), ordered(&world, Span::hours(29))), (1, 0));
    let order = world.orders()[0].id;
    let refused = Command::SetOrderStatus { order, rev: 2, state: OrderState::Refused, eta: None };
    world.command(&thermostat(), refused).unwrap();
    assert_eq!(ordered(&world, Span::days(14)), 0);
}

#[test]
fn homes_of_a_trigger_that_holds_nobody_out_are_not_compared() {
    let world = worn(FILTER_WORN);
    let report = world.counted(&shop(), Uplift::new(Asked::default(), Span::days(14), world.now)).report();
    assert!(report.triggers.is_empty(), "{report:?}");
}

#[test]
fn an_order_of_another_product_is_not_what_the_trigger_sells() {
    let mut ledger = Ledger::default();
    let at = Timestamp(0);
    let said = |group: Group| Spoken {
        offer: 1,
        trigger: "worn".to_owned(),
        product: Some("filter".to_owned()),
        kind: None,
        model: None,
        at,
        day: Day(0),
        hour: 0,
        group,
        fates: 0,
    };
    ledger.take(&Noted::Spoke(said(Group::Treated)));
    let ordered = |product: &str, order: u64| {
        let product = product.to_owned().try_into().unwrap();
        Noted::Ordered { order, offer: 9, product, at: at + Span::days(1), stands: true }
    };
    for (product, bought) in [("beans", 0), ("filter", 1)] {
        ledger.take(&ordered(product, bought));
        let mut uplift = Uplift::new(Asked::default(), Span::days(14), at);
        uplift.add(std::slice::from_ref(&ledger)).unwrap();
        assert_eq!(uplift.report().triggers[0].treated.ordered, bought, "{product}");
    }
}

#[test]
fn who_is_compared_stays_on_the_side_of_the_first_draw() {
    let mut world = drawn(true);
    // Nobody is held out any more; the filter is changed, and worn again.
    set_triggers(&mut world.rules, &FILTER_WORN.replace("cancel_window", "expires = \"4h\"\ncancel_window"));
    world.up(&thermostat(), "up/slot", &used(10)).unwrap();
    wear(&mut world);
    let of = uplift(&world, Span::days(14));
    assert_eq!((of.held_out.households, of.treated.households), (1, 0), "that offer was not drawn");
    set_triggers(&mut world.rules, &format!("{FILTER_WORN}{}", HOLDOUT.replace("50", "0.01")));
    world.up(&thermostat(), "up/slot", &used(10)).unwrap();
    wear(&mut world);
    let of = uplift(&world, Span::days(14));
    assert_eq!((of.held_out.households, of.treated.households, of.changed_side), (1, 0, 1));
}

fn opt_outs(world: &World) -> OptOutsTrigger {
    let report = world.counted(&shop(), OptOuts::new(Asked::default(), Span::days(7))).report();
    report.triggers.into_iter().next().expect("a home was spoken to")
}

#[test]
fn a_withdrawal_soon_after_an_offer_is_put_down_to_it() {
    let withdraw = r#"{"set":[{"purpose":"offers.device","granted":false}]}"#;
    for (later, counted) in [(Span::days(6), 1), (Span::days(8), 0)] {
        let mut world = worn(FILTER_WORN);
        world.pass(later);
        world.up(&thermostat(), "up/consent", withdraw).unwrap();
        // Once more withdraws nothing.
        world.up(&thermostat(), "up/consent", withdraw).unwrap();
        let of = opt_outs(&world);
        assert_eq!((of.spoken_to.consent_withdrawn, of.spoken_to.opted_out), (counted, counted), "{later}");
        assert_eq!((of.more, of.drives_opt_outs), (None, false), "there is nobody to compare with");
    }
}

#[test]
fn a_no_to_what_was_never_granted_is_no_withdrawal() {
    let mut world = worn(FILTER_WORN);
    let no = r#"{"set":[{"purpose":"profiling.usage","granted":false}]}"#;
    world.up(&thermostat(), "up/consent", no).unwrap();
    assert_eq!(opt_outs(&world).spoken_to.opted_out, 0);
}

#[test]
fn a_pause_and_a_release_are_opt_outs_of_one_home() {
    let mut world = drawn(false);
    let until = world.now + Span::days(30);
    world.up(&thermostat(), "up/consent", &format!(r#"{{"set":[],"pause_until":{}}}"#, until.0)).unwrap();
    world.command(&thermostat(), Command::Release).unwrap();
    let of = opt_outs(&world);
    let spoken_to = of.spoken_to;
    assert_eq!((spoken_to.paused, spoken_to.released, spoken_to.opted_out), (1, 1, 1), "{of:?}");
}

#[test]
fn a_home_that_is_held_out_and_leaves_is_on_the_other_side() {
    let mut world = drawn(true);
    world.command(&thermostat(), Command::Release).unwrap();
    let of = opt_outs(&world);
    assert_eq!((of.held_out.released, of.held_out.opted_out, of.spoken_to.households), (1, 1, 0));
}

/// A ledger with as much of everything as fits.
fn full() -> Ledger {
    let mut ledger = Ledger::default();
    let name = |n: usize| format!("{n:0>64}");
    let trigger = |n: usize| TriggerId::new(name(n % 60)).unwrap();
    for n in 0..4_000_usize {
        let day = Day(20_000 + i32::try_from(n / 60).unwrap());
        let stopped_by = Some(format!("conditions:{:0>50}", n % 60));
        ledger.take(&Noted::Looked { trigger: trigger(n), day, stopped_by });
        ledger.take(&Noted::Spoke(Spoken {
            offer: u64::MAX,
            trigger: name(n % 60),
            product: Some(name(n)),
            kind: Some(name(n)),
            model: Some(name(n)),
            at: Timestamp(i64::MAX),
            day,
            hour: 23,
            group: Group::HeldOut,
            fates: u16::MAX,
        }));
        let product = name(n).try_into().unwrap();
        let (order, offer) = (u64::MAX - n as u64, u64::MAX);
        ledger.take(&Noted::Ordered { order, offer, product, at: Timestamp(i64::MAX), stands: true });
        ledger.take(&Noted::OptedOut { at: Timestamp(i64::MAX), kind: OptOutKind::Released });
    }
    ledger
}

#[test]
fn a_full_ledger_fits_into_a_row_and_numbers_what_found_no_room() {
    let ledger = full();
    let bytes = postcard::to_stdvec(&ledger).unwrap();
    assert!((40_000..65_000).contains(&bytes.len()), "{} bytes", bytes.len());
    assert!(ledger.beyond() > 10_000);
    assert_eq!(postcard::from_bytes::<Ledger>(&bytes).unwrap(), ledger);
}
