//! How often the interval of an uplift holds the truth: a shop's homes, drawn, offered and ordering
//! through the rules themselves, a hundred times over.

use std::sync::Arc;

use hearthway_core::decide::decide;
use hearthway_core::id::{HouseholdId, InputId, OfferId};
use hearthway_core::input::{Answer, Command, Input, Sender, What};
use hearthway_core::model::{Household, OfferState};
use hearthway_core::report::{Asked, Counts, Ledger, Uplift, UpliftTrigger, notes};
use hearthway_core::rules::RuleSet;
use hearthway_core::time::{Span, Timestamp};
use hearthway_core::wire::{DeviceMessage, EventUp};

use crate::world::{World, rules, thermostat};

/// Homes of the shop whose filter is worn in two weeks.
const HOMES: u32 = 600;
/// Runs, each with other homes, another salt and other people.
const SEEDS: u64 = 100;
/// Buys without being asked.
const ANYWAY: f64 = 0.10;

/// The trigger that is looked into, and the shelf on which the same product is found anyway.
fn triggers(salt: u64) -> String {
    let of = |id: &str, event: &str, more: &str| {
        format!(
            "[[trigger]]\nid = \"{id}\"\nkind = \"offer\"\n[trigger.on]\nevent = \"event\"\ntype = \"{event}\"\n\
             [trigger.offer]\nproduct = \"flt-20x25\"\ncancel_window = \"0 s\"\nactions = [\"order\", \"decline\"]\n\
             [trigger.offer.text.fr]\ntitle = \"Un filtre ?\"\nbody = \"Neuf.\"\n{more}"
        )
    };
    let holdout = format!("[trigger.rollout]\nholdout = {{ percent = 20, salt = \"run-{salt}\" }}\n");
    of("asked", "worn", &holdout) + &of("shelf", "looks", "")
}

/// Chance, the same in every run: splitmix64 (Steele, Lea and Flood, 2014).
struct Chance(u64);

impl Chance {
    fn is(&mut self, share: f64) -> bool {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((x ^ (x >> 31)) >> 11) as f64 / (1_u64 << 53) as f64 <= share
    }
}

/// One home with its ledger.
struct Home<'h> {
    rules: &'h RuleSet,
    facts: Household,
    ledger: Ledger,
    now: Timestamp,
}

impl Home<'_> {
    fn take(&mut self, what: What) {
        let device = Some(thermostat());
        let id = InputId::derived(&[self.facts.id.bytes(), &self.facts.seq.to_be_bytes()]);
        let sender = Sender::default();
        let input =
            Input { id, message: None, received_at: self.now, device, entropy: 1, payload_bytes: 0, sender, what };
        let decision = decide(&self.facts, &input, self.rules, self.now);
        decision.reply.as_ref().unwrap();
        for note in notes(&self.facts, &decision, self.rules) {
            self.ledger.take(&note.what);
        }
        decision.changes.iter().for_each(|change| self.facts.apply(change));
        self.facts.seq += 1;
    }

    fn event(&mut self, name: &str) {
        self.take(What::Device(DeviceMessage::Event(EventUp { r#type: name.into(), t: None, data: vec![] })));
    }

    fn offer(&self) -> Option<OfferId> {
        self.facts.offers.values().find(|offer| offer.state == OfferState::Sent).map(|offer| offer.id)
    }

    fn accept(&mut self, offer: OfferId) {
        let answer = Answer::Accept { qty: None, fulfil: None };
        self.take(What::Command(Command::AnswerOffer { offer, rev: 1, answer, channel: "app".into(), profile: None }));
    }
}

/// A run: how much more those who are asked buy is the truth, the report what is seen of it.
fn run(template: &Household, seed: u64, uplift: f64) -> UpliftTrigger {
    let rules = Arc::new(rules(&triggers(seed)));
    let now = Timestamp::parse_rfc3339("2026-03-18T09:00:00Z").unwrap();
    let mut chance = Chance(seed);
    let mut counted = Uplift::new(Asked::default(), Span::days(14), now);
    for n in 0..HOMES {
        let id = HouseholdId::derived(&[b"uplift", &seed.to_be_bytes(), &n.to_be_bytes()]);
        let facts = Household { id, ..template.clone() };
        let mut home = Home { rules: &rules, facts, ledger: Ledger::default(), now };
        home.event("worn");
        // Who is asked buys through the offer, or anyway: together the share that is to be seen.
        let through_the_offer = uplift / (1.0 - ANYWAY);
        let anyway = chance.is(ANYWAY);
        let persuaded = chance.is(through_the_offer);
        match home.offer() {
            Some(offer) if persuaded => home.accept(offer),
            _ if anyway => {
                home.now = now + Span::days(3);
                home.event("looks");
                let offer = home.facts.offers.values().find(|offer| offer.trigger.as_str() == "shelf");
                let offer = offer.expect("the shelf offers to everybody").id;
                home.accept(offer);
            }
            _ => {}
        }
        counted.add(std::slice::from_ref(&home.ledger)).unwrap();
    }
    let report = counted.report();
    report.triggers.into_iter().find(|of| of.trigger == "asked").unwrap()
}

/// In how many runs the interval holds the truth, and the means of what was seen.
#[allow(clippy::disallowed_macros, reason = "the figure is printed for docs/figures.md")]
fn covered(uplift: f64) -> (u64, f64, f64) {
    let world = World::at_home(&triggers(0));
    let template = world.home_of(&thermostat()).clone();
    let (mut holds, mut seen, mut base) = (0, 0.0, 0.0);
    for seed in 0..SEEDS {
        let of = run(&template, seed, uplift);
        assert_eq!(of.treated.households + of.held_out.households, u64::from(HOMES));
        let interval = of.uplift.unwrap();
        holds += u64::from(interval.low <= uplift && uplift <= interval.high);
        seen += interval.difference / SEEDS as f64;
        base += of.held_out.rate.unwrap() / SEEDS as f64;
    }
    println!("true uplift {uplift}: {holds} of {SEEDS}; mean {seen:.4} over {base:.4}");
    (holds, seen, base)
}

/// The interval promises 95 of 100: of a hundred runs fewer than 90 are 1 in 90 by chance alone,
/// and the runs are the same each time.
#[test]
fn the_interval_holds_an_uplift_of_5_points_in_at_least_90_of_100_runs() {
    let (holds, seen, base) = covered(0.05);
    assert!((90..100).contains(&holds), "{holds}: too few, or so wide that it says nothing");
    assert!((seen - 0.05).abs() < 0.01 && (base - ANYWAY).abs() < 0.01, "{seen} over {base}");
}

#[test]
fn the_interval_holds_no_uplift_where_there_is_none() {
    let (holds, seen, _) = covered(0.0);
    assert!((90..=100).contains(&holds), "{holds}");
    assert!(seen.abs() < 0.01, "{seen}");
}
