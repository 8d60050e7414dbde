//! Caps that all homes of a retailer share.

use hearthway_core::budget::{Draw, Noting, Purse, Recalling, Sending, SharedCap, Speaking, Spent, TakenCode};
use hearthway_core::decide::{decide_with, why_not_candidate};
use hearthway_core::id::{DeviceKey, OfferId, PoolId, RetailerId, TriggerId};
use hearthway_core::money::Currency;
use hearthway_core::time::{Span, Timestamp};
use hearthway_core::trace::{Step, StepVerdict, Verdict};
use hearthway_core::words::Tongue;

use crate::budgets::{home, homes, wear_out};
use crate::transcript::FILTER_WORN;
use crate::world::{World, set_triggers, shop};

fn capped(caps: &str) -> String {
    format!("{FILTER_WORN}\n[trigger.limits]\ncaps = [{caps}]\n")
}
/// Another trigger of the shop, with no cap of its own.
fn uncapped() -> String {
    FILTER_WORN.replace("filter-worn", "also-worn").replace("priority", "# priority")
}
fn sends(world: &mut World, n: usize) -> bool {
    wear_out(world, &home(n)).is_some()
}
fn caps_step(world: &World) -> String {
    let trace = world.last_trace();
    trace.steps.iter().find(|step| step.step == Step::Caps).unwrap().in_words(Tongue::En)
}
/// Wears the filter again, for one more edge.
fn renews(world: &mut World, device: &DeviceKey) {
    world.up(device, "up/slot", r#"{"slot":"air_filter","kind":"usage","used":1,"unit":"h"}"#).unwrap();
}

const TWO_A_WEEK: &str = "{ max = 2, per = \"offer\", scope = \"global\", within = \"7d\" }";

#[test]
fn all_homes_together_get_as_many_as_the_cap_and_room_comes_back_with_time() {
    let mut world = homes(&capped(TWO_A_WEEK), 5);
    assert_eq!((0..3).map(|n| sends(&mut world, n)).collect::<Vec<_>>(), [true, true, false]);
    assert_eq!((world.last_trace().verdict, world.last_trace().first_block), (Verdict::Held, Some(Step::Caps)));
    assert_eq!(caps_step(&world), "The cap of all homes is reached: 2 of 2 offers in 7 days.");
    // Seen, so that they count for as long as the cap says.
    for n in 0..2 {
        let offer = *world.home_of(&home(n)).offers.keys().next().unwrap();
        world.up(&home(n), "up/offer/receipt", &format!(r#"{{"offer":"{offer}","rev":1,"state":"shown"}}"#)).unwrap();
    }
    world.pass(Span(Span::days(7).0 - 1));
    assert!(!sends(&mut world, 3));
    world.pass(Span(1));
    assert!(sends(&mut world, 4), "seven days have passed");
}

#[test]
fn who_looks_back_is_told_that_a_cap_of_all_homes_was_not_asked_and_not_that_it_is_reached() {
    let mut world = homes(&capped(TWO_A_WEEK), 1);
    world.up(&home(0), "up/slot", r#"{"slot":"air_filter","kind":"usage","used":1,"unit":"h"}"#).unwrap();
    let (facts, (_, input)) = (world.home_of(&home(0)).clone(), world.log.last().unwrap().clone());
    let trigger = world.rules.triggers.get(&shop(), &TriggerId::new("filter-worn").unwrap()).unwrap();
    let looked = why_not_candidate(&facts, &input, &world.rules, trigger);
    let caps: Vec<_> = looked.steps.iter().filter(|step| step.step == Step::Caps).collect();
    let [caps] = caps[..] else { panic!("{looked}") };
    assert!(caps.reason.starts_with("cap_not_asked"), "{looked}");
    let blocks: Vec<Step> =
        looked.steps.iter().filter(|step| step.verdict == StepVerdict::Block).map(|step| step.step).collect();
    assert_eq!(blocks, [Step::Age], "only that it was not woken: {looked}");
    assert_eq!(looked.steps.iter().filter(|step| step.step == Step::Age).count(), 1, "{looked}");
}

#[test]
fn what_ended_unseen_is_there_for_another_home() {
    let mut world = homes(&capped(&TWO_A_WEEK.replace("max = 2", "max = 1")), 3);
    assert!(sends(&mut world, 0) && !sends(&mut world, 1));
    world.pass(Span::hours(49));
    assert!(sends(&mut world, 2), "the first offer ended after two days, and nobody saw it");
}

#[test]
fn the_day_of_all_homes_is_the_shops() {
    let each_day = "{ max = 1, per = \"offer\", scope = \"global\", each = \"day\" }";
    let mut world = homes(&capped(each_day), 3);
    world.pass(Timestamp::parse_rfc3339("2026-03-28T23:30:00+01:00").unwrap() - world.now);
    assert!(sends(&mut world, 0) && !sends(&mut world, 1));
    world.pass(Span::minutes(30));
    assert!(sends(&mut world, 2), "midnight in the shop's zone, in the night that has 23 hours");
}

#[test]
fn a_cap_over_all_offers_counts_those_of_triggers_that_have_none() {
    let all = "{ max = 1, per = \"all\", scope = \"global\", within = \"1d\" }";
    let mut world = homes(&uncapped(), 3);
    set_triggers(&mut world.rules, &[uncapped(), capped(all)].concat());
    // Two triggers on one surface: one of them speaks, and it counts.
    assert!(sends(&mut world, 0));
    let sent = |world: &World| {
        world
            .traces
            .iter()
            .filter(|trace| trace.verdict == Verdict::Sent)
            .map(|t| t.trigger.to_string())
            .collect::<Vec<_>>()
    };
    assert_eq!(sent(&world).len(), 1);
    sends(&mut world, 1);
    sends(&mut world, 2);
    let own = sent(&world).into_iter().filter(|trigger| trigger == "filter-worn").count();
    assert!(own <= 1 && sent(&world).len() == 3, "{:?}", sent(&world));
}

#[test]
fn a_cap_on_a_channel_counts_what_leaves_there_and_nothing_leaves_by_webhook() {
    for (per, second) in [("channel:device", false), ("channel:webhook", true)] {
        for scope in ["household", "global"] {
            let cap = format!("{{ max = 1, per = \"{per}\", scope = \"{scope}\", within = \"7d\" }}");
            let mut world = homes(FILTER_WORN, 1);
            world.rules.triggers = hearthway_core::trigger::TriggerSet::build(compiled(&world, &capped(&cap)));
            assert!(sends(&mut world, 0));
            renews(&mut world, &home(0));
            assert_eq!(sends(&mut world, 0), second, "{cap}");
        }
    }
}

/// Triggers whose check warns, which the stories otherwise refuse.
fn compiled(world: &World, text: &str) -> Vec<std::sync::Arc<hearthway_core::trigger::Trigger>> {
    let catalogue = hearthway_core::trigger::World {
        retailer: shop(),
        version: 1,
        models: &world.rules.models,
        products: &world.rules.products,
        default_locale: "fr-FR",
    };
    let file = hearthway_core::trigger::SourceFile { name: "story.toml".into(), text: text.into() };
    let checked = hearthway_core::trigger::check(&[file], &catalogue);
    assert!(checked.is_sound(), "{:#?}", checked.problems);
    checked.triggers
}

/// Another home takes the last place between the look and the send.
struct Snatched;

impl Purse for Snatched {
    fn spent(&self, _: &RetailerId, _: &TriggerId, _: Option<Currency>) -> Option<Spent> {
        None
    }
    fn draw(&self, _: &Draw<'_>) -> bool {
        false
    }
    fn take_code(&self, _: &RetailerId, _: &PoolId, _: OfferId) -> TakenCode {
        TakenCode::Empty
    }
    fn sent(&self, _: &RetailerId, _: &TriggerId, _: &SharedCap) -> Option<u32> {
        Some(1)
    }
    fn send(&self, _: &Sending<'_>) -> bool {
        false
    }
}

#[test]
fn a_place_that_another_home_takes_between_the_look_and_the_send_is_not_sent_twice() {
    let mut world = homes(&capped(TWO_A_WEEK), 1);
    assert!(sends(&mut world, 0));
    let (id, input) = world.log.last().unwrap().clone();
    let facts = {
        let mut before = homes(&capped(TWO_A_WEEK), 1);
        before.up(&home(0), "up/slot", &crate::transcript::used(590)).unwrap();
        before.homes[&id].clone()
    };
    let decision = decide_with(&facts, &input, &world.rules, world.now, &Snatched);
    let candidate = &decision.trace.candidates[0];
    assert_eq!((candidate.offer, candidate.first_block), (None, Some(Step::Caps)), "{candidate}");
    assert!(decision.effects.is_empty(), "{:?}", decision.effects);
}

/// The people of the home heard as much as their second cap lets them, somewhere else and a moment ago.
struct HeardElsewhere;

impl Purse for HeardElsewhere {
    fn spent(&self, _: &RetailerId, _: &TriggerId, _: Option<Currency>) -> Option<Spent> {
        None
    }
    fn draw(&self, _: &Draw<'_>) -> bool {
        false
    }
    fn take_code(&self, _: &RetailerId, _: &PoolId, _: OfferId) -> TakenCode {
        TakenCode::Empty
    }
    fn sent(&self, _: &RetailerId, _: &TriggerId, _: &SharedCap) -> Option<u32> {
        Some(0)
    }
    fn send(&self, _: &Sending<'_>) -> bool {
        true
    }
    fn speak(&self, _: &Speaking<'_>) -> Result<(), usize> {
        Err(1)
    }
}

#[test]
fn of_two_caps_of_a_person_the_one_is_named_that_is_reached() {
    let two = "{ max = 9, per = \"all\", scope = \"profile\", within = \"1d\" }, \
               { max = 2, per = \"offer\", scope = \"profile\", within = \"7d\" }";
    let mut world = homes(&capped(two), 1);
    assert!(sends(&mut world, 0));
    let (id, input) = world.log.last().unwrap().clone();
    let facts = {
        let mut before = homes(&capped(two), 1);
        before.up(&home(0), "up/slot", &crate::transcript::used(590)).unwrap();
        before.homes[&id].clone()
    };
    let noting = Noting::new(&HeardElsewhere);
    let decided = decide_with(&facts, &input, &world.rules, world.now, &noting);
    let candidate = &decided.trace.candidates[0];
    let caps = candidate.steps.iter().find(|step| step.step == Step::Caps).unwrap();
    assert!(caps.reason.contains("profile 2 of 2"), "{caps:?}");
    // And again by what was noted.
    let answers = noting.into_answers();
    let again = decide_with(&facts, &input, &world.rules, world.now, &Recalling::new(&answers));
    assert_eq!(again.trace, decided.trace);
}
