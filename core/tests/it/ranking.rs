//! Which of several offers a surface shows.

use std::sync::Arc;

use hearthway_core::chance::{Chances, OfTrigger, Tally};
use hearthway_core::id::{ProductId, ProfileId, TriggerId};
use hearthway_core::input::{Command, What};
use hearthway_core::model::{OfferState, Purpose};
use hearthway_core::money::Money;
use hearthway_core::time::Span;
use hearthway_core::trace::{Step, Verdict};
use hearthway_core::words::Tongue;

use crate::by_time::{each_ten_minutes, home_with, offers, temperature, tip};
use crate::replenish::RUNS_OUT;
use crate::triggers::QUIET;
use crate::world::{World, set_triggers, shop, thermostat};

fn below(id: &str, threshold: u32, priority: u32) -> String {
    let on = format!("event = \"telemetry\"\nfield = \"temperature\"\nfalls_below = {threshold}\nrearm = 18");
    tip(id, &on, "").replace("kind = \"tip\"", &format!("kind = \"tip\"\npriority = {priority}"))
}

fn spoke(world: &mut World) -> Vec<String> {
    world.offers_put(&thermostat()).into_iter().map(|offer| offer.trigger.to_string()).collect()
}

#[test]
fn of_two_offers_for_one_surface_the_higher_priority_wins_and_the_other_is_told_why() {
    let mut world = home_with(&[below("a", 17, 40), below("b", 17, 60)].concat());
    temperature(&mut world, 19.0);
    temperature(&mut world, 16.0);
    assert_eq!(spoke(&mut world), ["b"]);
    let lost = world.last_trace();
    assert_eq!((lost.trigger.as_str(), lost.first_block, lost.verdict), ("a", Some(Step::Placement), Verdict::Held));
    let step = lost.steps.iter().find(|step| step.step == Step::Placement).unwrap();
    assert_eq!(step.reason, "lost_ranking: b with 60 against 40");
    let told = |tongue: Tongue| step.in_words(tongue);
    assert_eq!(told(Tongue::En), "Another offer takes home.card: that of b with priority 60; this one has 40.");
    assert_eq!(told(Tongue::Fr), "Une autre offre occupe home.card : celle de b, de priorité 60 ; celle-ci a 40.");
}

#[test]
fn what_lost_is_looked_at_again_with_the_next_input_while_its_edge_holds() {
    let mut world = home_with(&[below("a", 17, 40), below("b", 17, 60)].concat());
    each_ten_minutes(&mut world, &[19.0, 16.0]);
    assert_eq!(spoke(&mut world), ["b"]);
    temperature(&mut world, 16.0);
    assert_eq!(spoke(&mut world), ["a"], "both are live now, each said at its own moment");
    let mut world = home_with(&[below("a", 17, 40), below("b", 17, 60)].concat());
    each_ten_minutes(&mut world, &[19.0, 16.0, 19.0]);
    assert_eq!(spoke(&mut world), ["b"], "on the way back it is disarmed");
}

#[test]
fn of_equal_priority_the_one_that_was_silent_for_longer_wins_and_then_the_first_id() {
    let triggers = [below("a", 17, 50), below("b", 10, 50), below("c", 10, 50)].concat();
    let mut world = home_with(&triggers);
    each_ten_minutes(&mut world, &[19.0, 16.0]);
    assert_eq!(spoke(&mut world), ["a"]);
    each_ten_minutes(&mut world, &[19.0, 9.0]);
    assert_eq!(spoke(&mut world), ["b"], "neither b nor c ever spoke, a did");
}

#[test]
fn a_full_device_gives_up_its_weakest_offer_for_a_stronger_one_and_none_for_a_weaker() {
    let strong: String = (0..4).map(|n| below(&format!("s{n}"), 17 - n, 60)).collect();
    let mut world = home_with(&[strong, below("weak", 13, 50), below("top", 12, 70)].concat());
    each_ten_minutes(&mut world, &[19.0, 16.5, 15.5, 14.5, 13.5]);
    assert_eq!(spoke(&mut world), ["s0", "s1", "s2", "s3"]);
    each_ten_minutes(&mut world, &[12.5]);
    assert!(spoke(&mut world).is_empty());
    assert_eq!(world.last_trace().first_block, Some(Step::Placement));
    each_ten_minutes(&mut world, &[11.5]);
    assert_eq!(spoke(&mut world), ["top"]);
    let home = world.home_of(&thermostat());
    let gone = |state: OfferState| state == OfferState::Withdrawn;
    let gone: Vec<_> = home.offers.values().filter(|offer| gone(offer.state)).map(|o| o.trigger.to_string()).collect();
    assert_eq!(gone, ["s0"], "of equal ones the oldest");
}

#[test]
fn one_message_with_many_samples_leaves_one_offer_on_a_surface() {
    let mut world = home_with(&[below("weak", 17, 40), below("strong", 10, 60)].concat());
    temperature(&mut world, 19.0);
    world.pass(Span::minutes(20));
    let t = |ago: i64| (world.now - Span::minutes(ago)).0;
    let batch = format!(
        r#"{{"samples":[{{"t":{},"f":{{"temperature":16}}}},{{"t":{},"f":{{"temperature":9}}}}]}}"#,
        t(10),
        t(1)
    );
    world.up(&thermostat(), "up/telemetry", &batch).unwrap();
    let home = world.home_of(&thermostat());
    let live: Vec<_> = home.offers.values().filter(|o| o.state.is_live()).map(|o| o.trigger.to_string()).collect();
    assert_eq!(live, ["strong"]);
}

#[test]
fn offers_that_were_held_for_the_night_do_not_compete_again_in_the_morning() {
    let quiet = |text: String| text + QUIET;
    for priorities in [[40, 60], [60, 40]] {
        let mut world =
            home_with(&[quiet(below("a", 17, priorities[0])), quiet(below("b", 15, priorities[1]))].concat());
        world.pass(Span::hours(12));
        each_ten_minutes(&mut world, &[19.0, 16.0, 14.0]);
        assert_eq!(offers(&mut world), 0, "it is ten in the evening");
        world.pass(Span::hours(12));
        let home = world.home_of(&thermostat());
        let sent = home.offers.values().filter(|offer| offer.state == OfferState::Sent);
        let mut sent: Vec<_> = sent.map(|offer| offer.trigger.to_string()).collect();
        sent.sort();
        assert_eq!(sent, ["a", "b"]);
    }
}

/// Lets what waits leave, by one input of the clock. Which offers did, and whether any waits beyond its hour.
fn morning(world: &mut World) -> (Vec<String>, bool) {
    let due = world.home_of(&thermostat()).next_deadline().unwrap();
    world.now = due;
    world.input(&thermostat(), What::Timer).unwrap();
    let home = world.home_of(&thermostat());
    let waits = home.offers.values().any(|o| matches!(o.state, OfferState::Queued { until } if until <= world.now));
    (spoke(world), waits)
}

#[test]
fn of_offers_that_are_due_together_the_one_that_ranks_highest_gets_what_the_cap_leaves() {
    let capped = "[trigger.limits]\nquiet = { from = \"21:00\", to = \"08:00\", when_quiet = \"hold\" }\n\
                  caps = [ { max = 1, per = \"all\", scope = \"household\", within = \"1d\" } ]\n";
    // In either order of their ids, which say nothing.
    for (priorities, best) in [([40, 60], "b"), ([60, 40], "a")] {
        let mut world =
            home_with(&[below("a", 17, priorities[0]) + capped, below("b", 15, priorities[1]) + capped].concat());
        world.pass(Span::hours(12));
        each_ten_minutes(&mut world, &[19.0, 16.0, 14.0]);
        assert_eq!(world.offer_states(&thermostat()).len(), 2, "both wait for the morning");
        assert_eq!(morning(&mut world), (vec![best.to_owned()], false));
        assert_eq!(world.last_trace().first_block, Some(Step::Caps), "the other is told why");
    }
}

#[test]
fn two_offers_of_one_trigger_that_are_due_together_are_both_looked_at() {
    let mut world = home_with(&(below("a", 17, 50) + QUIET));
    world.pass(Span::hours(12));
    each_ten_minutes(&mut world, &[19.0, 16.0, 19.0, 16.0]);
    assert_eq!(world.offer_states(&thermostat()).len(), 2);
    let seen = world.traces.len();
    let (spoke, waits) = morning(&mut world);
    assert!(!waits, "none waits for another input of the clock");
    assert_eq!(spoke, ["a", "a"]);
    let decisions: std::collections::BTreeSet<_> = world.traces[seen..].iter().map(|trace| trace.decision).collect();
    assert_eq!(decisions.len(), 2, "each is a decision of its own");
}

/// Two offers of one priority that a falling temperature wakes at once: `a` of the cheap filter, `b` of the dear one.
fn rivals() -> World {
    let offer = |id: &str, product: &str| {
        below(id, 17, 50)
            .replace("kind = \"tip\"", "kind = \"offer\"")
            .replace("[trigger.offer]\n", &format!("[trigger.offer]\nproduct = \"{product}\"\n"))
    };
    let mut world = home_with("");
    let cheap = world.rules.products.listed.values().next().unwrap().clone();
    for (name, margin) in [("cheap", 200), ("dear", 900)] {
        let mut product = (*cheap).clone();
        product.id = ProductId::new(name).unwrap();
        product.margin = Some(Money::new(margin, product.price.currency));
        world.rules.products.listed.insert((shop(), product.id.clone()), Arc::new(product));
    }
    set_triggers(&mut world.rules, &[offer("a", "cheap"), offer("b", "dear")].concat());
    world
}

fn learned(world: &mut World, trigger: &str, seen: u64, accepted: u64, explore: bool) {
    let tally = Tally { seen, accepted };
    let of_trigger = OfTrigger { all: tally, ..OfTrigger::default() };
    let chances = Chances {
        all: tally,
        explore,
        triggers: [(TriggerId::new(trigger).unwrap(), of_trigger)].into(),
        ..Chances::default()
    };
    world.rules.chances.insert(shop(), Arc::new(chances));
}

#[test]
fn of_equal_priority_the_one_that_is_expected_to_earn_more_wins_and_the_other_is_told_the_figures() {
    let mut world = rivals();
    each_ten_minutes(&mut world, &[19.0, 16.0]);
    assert_eq!(spoke(&mut world), ["b"], "the greater margin, where nothing was learned");
    let step = world.last_trace().steps.iter().find(|step| step.step == Step::Placement).unwrap().clone();
    let told = step.in_words(Tongue::En);
    assert!(told.ends_with("It is expected to earn 90, this one 20 (in the currency's smallest unit)."), "{told}");
    // One in a hundred takes the dear one, and one in ten the cheap one.
    let mut world = rivals();
    learned(&mut world, "b", 1_000, 1, false);
    let all = Tally { seen: 10_000, accepted: 1_000 };
    let chances = Chances { all, ..(*world.rules.chances[&shop()]).clone() };
    world.rules.chances.insert(shop(), Arc::new(chances));
    each_ten_minutes(&mut world, &[19.0, 16.0]);
    assert_eq!(spoke(&mut world), ["a"]);
}

#[test]
fn five_of_the_cheap_one_earn_more_than_one_of_the_dear_one() {
    let replenish = |id: &str, product: &str, pieces: u32| {
        let quantity =
            format!("[trigger.replenish]\nquantity = {{ cover = \"30d\", min = {pieces}, max = {pieces} }}\n");
        let by = "product = { by = \"slot_compatible\" }";
        let trigger = RUNS_OUT.replace("filter-runs-out", id).replace(by, &format!("product = \"{product}\""));
        trigger + &quantity
    };
    let mut world = rivals();
    set_triggers(&mut world.rules, &[replenish("z-five", "cheap", 5), replenish("a-one", "dear", 1)].concat());
    let records = vec![(Purpose::ReplenishDevice, world.word(true))];
    let profile = ProfileId::new("p1").unwrap();
    world.command(&thermostat(), Command::SetConsents { profile, records }).unwrap();
    for day in 0..70 {
        world.pass(Span::days(1));
        let used = format!(r#"{{"slot":"air_filter","kind":"usage","used":{},"capacity":720}}"#, day * 10);
        world.up(&thermostat(), "up/slot", &used).unwrap();
        let spoke = spoke(&mut world);
        if let Some(first) = spoke.first() {
            assert_eq!(first.as_str(), "z-five", "5 x 2.00 against 9.00");
            let said = world.home_of(&thermostat()).offers.values().flat_map(|offer| &offer.history);
            assert_eq!(said.filter(|change| &*change.cause == "superseded").count(), 0, "what loses is never said");
            return;
        }
    }
    panic!("nobody spoke");
}

#[test]
fn who_explores_tries_now_and_then_what_is_not_known_well() {
    let won = |explore: bool| {
        let mut wins = 0;
        for n in 0..60 {
            let mut world = rivals();
            learned(&mut world, "b", 40, 1, explore);
            // So that each is another decision.
            (0..n).for_each(|_| temperature(&mut world, 19.5));
            each_ten_minutes(&mut world, &[19.0, 16.0]);
            wins += usize::from(spoke(&mut world) == ["b"]);
        }
        wins
    };
    assert_eq!(won(false), 60, "by the mean the dear one always earns more");
    assert!((1..60).contains(&won(true)), "a draw tries the other: {}", won(true));
    assert_eq!(won(true), won(true), "and the same each time it is decided");
}

#[test]
fn margins_in_two_currencies_say_nothing_beside_each_other() {
    let mut world = rivals();
    let dear = world.rules.products.listed.get_mut(&(shop(), ProductId::new("dear").unwrap())).unwrap();
    let dear = Arc::make_mut(dear);
    dear.margin = Some(Money::parse("90000 JPY").unwrap());
    (dear.price, dear.delivery) = (Money::parse("100000 JPY").unwrap(), Money::parse("0 JPY").unwrap());
    each_ten_minutes(&mut world, &[19.0, 16.0]);
    assert_eq!(spoke(&mut world), ["a"], "of equal ones the first id: a yen is no cent");
}
