//! The last unit of a budget, wanted by homes on several shards while the disk works, fails and lies.

use std::path::Path;

use hearthway_core::code::Code;
use hearthway_core::input::Answer;

use super::*;
use crate::config::samples::Catalog;

/// A worn filter's trigger: with these keys in its offer, this text, and what comes after.
pub(super) fn worn(offer: &str, body: &str, more: &str) -> String {
    format!(
        r#"
[[trigger]]
id = "filter-worn"
kind = "offer"
[trigger.on]
event = "slot"
device = {{ kind = "thermostat" }}
slot = "air_filter"
field = "used"
rises_above = "600 h"
rearm = "50 h"
[trigger.offer]
product = "flt-20x25"
{offer}
[trigger.offer.text.fr]
title = "Filtre usé"
body = "{body}"
{more}
"#
    )
}

pub(super) fn shop() -> RetailerId {
    join().retailer
}

pub(super) fn rules(triggers: &str) -> Arc<dyn RuleBook> {
    let catalog = Catalog::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("config/catalog")).unwrap();
    let (models, products) = (catalog.models, catalog.products);
    let mut rules = RuleSet { version: 1, models, products, ..RuleSet::default() };
    let world =
        World { retailer: shop(), version: 1, models: &rules.models, products: &rules.products, default_locale: "fr" };
    let checked = check(&[SourceFile { name: "worn.toml".into(), text: triggers.into() }], &world);
    assert!(checked.is_sound(), "{:#?}", checked.problems);
    rules.triggers = TriggerSet::build(checked.triggers);
    Arc::new(OneBook(Arc::new(rules)))
}

/// Homes that share a shop.
pub(super) struct Street {
    pub(super) home: Home,
    triggers: String,
    /// With an offer on the screen.
    offers: Vec<(DeviceKey, OfferId)>,
}

impl Street {
    /// So many homes with an offer on the screen of each.
    fn new(homes: usize) -> Street {
        let mut street = Street::of(worn(
            "cancel_window = \"30 min\"",
            "{{ product.name }}",
            "[trigger.limits]\nbudget = { count = 1 }",
        ));
        for n in 0..homes {
            let device = street.moves_in(n);
            street.offers.push((device.clone(), street.wears_out(&device).expect("there is budget left").id));
        }
        street
    }

    pub(super) fn of(triggers: String) -> Street {
        let settings = Settings { shards: 4, ..Settings::default() };
        let (store, clock) = (Arc::new(TestStore::default()), Arc::new(TestClock(AtomicI64::new(START.0))));
        let engine =
            Engine::unmanned(settings.clone(), clock.clone(), store.clone(), rules(&triggers), Decider::core())
                .unwrap();
        let home = Home { engine, store, clock, link: Arc::default(), settings, causes: AtomicU64::new(0) };
        Street { home, triggers, offers: Vec::new() }
    }

    /// A home with its device.
    pub(super) fn moves_in(&self, n: usize) -> DeviceKey {
        let device = self.home.registered(&format!("acme/d-{n}"));
        self.link(&device, &format!("p{n}"));
        device
    }

    fn link(&self, device: &DeviceKey, profile: &str) {
        let household = HouseholdId::of_profile(&shop(), &ProfileId::new(profile).unwrap());
        self.link_in(device, profile, household);
    }

    /// A device comes to a home of somebody's.
    pub(super) fn link_in(&self, device: &DeviceKey, profile: &str, household: HouseholdId) {
        let granted = ConsentRecord {
            granted: true,
            at: START,
            source: ConsentSource::Shop,
            method: None,
            text_id: None,
            expires_at: None,
        };
        let profile = ProfileId::new(profile).unwrap();
        let consents = [(Purpose::OffersDevice, granted)].into_iter().collect();
        let member = Member { profile, locale: Some("fr-FR".into()), consents, ..join().member };
        let link = LinkId::derived(&[household.bytes(), device.to_string().as_bytes()]);
        let join = Join { household, link, member, ..join() };
        self.home.command(device, Command::LinkDirectly { join });
        self.home.settle();
    }

    /// Its filter wears out; decided and written. Its offer, if there is one.
    pub(super) fn wears_out(&self, device: &DeviceKey) -> Option<Offer> {
        self.wears(device);
        self.home.settle();
        self.offer_of(device)
    }

    /// Its filter wears out; decided.
    pub(super) fn wears(&self, device: &DeviceKey) {
        for used in [590, 612] {
            let body = format!(r#"{{"body":{{"slot":"air_filter","kind":"usage","used":{used},"unit":"h"}}}}"#);
            let topic = format!("chan/v1/{device}/up/slot");
            let message = hearthway_core::wire::decode(&topic, body.as_bytes()).unwrap().message;
            self.home.say(device, &format!("u-{used}"), message);
        }
        self.home.decide_all();
    }

    pub(super) fn offer_of(&self, device: &DeviceKey) -> Option<Offer> {
        let household = self.home.engine.route(device).unwrap().household;
        let facts = self.home.facts(household).unwrap();
        facts.offers.values().next().map(|offer| (**offer).clone())
    }

    /// Home `n` accepts; decided, and not yet on disk.
    fn accepts(&self, n: usize) -> oneshot::Receiver<Outcome> {
        let (device, offer) = self.offers[n].clone();
        let answer = Answer::Accept { qty: None, fulfil: None };
        let channel = "app".to_owned();
        let outcome =
            self.home.command(&device, Command::AnswerOffer { offer, rev: 1, answer, channel, profile: None });
        self.home.decide_all();
        outcome
    }

    fn cancels(&self, n: usize) -> oneshot::Receiver<Outcome> {
        let (device, offer) = self.offers[n].clone();
        let order = OrderId::derived(&[offer.bytes()]);
        let outcome = self.home.command(&device, Command::CancelOrder { order, channel: "app".into() });
        self.home.decide_all();
        outcome
    }

    fn spent(&self) -> u64 {
        self.home.engine.spent(&shop(), &TriggerId::new("filter-worn").unwrap(), None).count
    }

    /// Starts again on what is on disk.
    pub(super) fn again(&mut self) {
        let Home { settings, clock, store, .. } = &self.home;
        let engine =
            Engine::unmanned(settings.clone(), clock.clone(), store.clone(), rules(&self.triggers), Decider::core());
        self.home.engine = engine.unwrap();
    }
}

fn code(outcome: oneshot::Receiver<Outcome>) -> Option<Code> {
    match taken(outcome) {
        Outcome::Committed(reply) => reply.err().map(|refusal| refusal.code),
        Outcome::Duplicate(reply) => panic!("{reply:?}"),
        Outcome::Failed(refusal) => Some(refusal.code),
    }
}

#[test]
fn the_last_unit_is_taken_when_it_is_granted_and_not_when_it_is_on_disk() {
    let street = Street::new(2);
    let (first, second) = (street.accepts(0), street.accepts(1));
    assert_eq!(street.spent(), 1, "nothing is written yet");
    street.home.settle();
    assert_eq!((code(first), code(second)), (None, Some(Code::OfferBudgetExhausted)));
    assert_eq!(street.home.count(&keys::draws()), 1);
}

#[test]
fn a_commit_that_failed_gives_back_what_it_drew() {
    let mut street = Street::new(2);
    let first = street.accepts(0);
    street.home.store.fails.store(true, Ordering::Relaxed);
    street.home.engine.step_writer();
    assert_eq!((code(first), street.spent()), (Some(Code::InternalRetry), 0));
    street.home.store.fails.store(false, Ordering::Relaxed);
    let second = street.accepts(1);
    street.home.settle();
    assert_eq!((code(second), street.spent()), (None, 1));
    street.again();
    assert_eq!(street.spent(), 1);
}

#[test]
fn what_a_store_kept_though_it_said_it_had_not_stays_drawn() {
    let street = Street::new(2);
    let first = street.accepts(0);
    street.home.store.lies.store(true, Ordering::Relaxed);
    street.home.engine.step_writer();
    assert_eq!((code(first), street.spent()), (Some(Code::InternalRetry), 1));
    street.home.store.lies.store(false, Ordering::Relaxed);
    let second = street.accepts(1);
    street.home.settle();
    assert_eq!(code(second), Some(Code::OfferBudgetExhausted), "it was sold, and who bought it will come again");
    let again = street.accepts(0);
    street.home.settle();
    assert_eq!(code(again), Some(Code::OfferAlreadyAccepted));
}

#[test]
fn what_is_cancelled_is_there_again_when_that_is_on_disk() {
    let mut street = Street::new(4);
    street.accepts(0);
    street.home.settle();
    let cancelled = street.cancels(0);
    let early = street.accepts(1);
    assert_eq!(street.spent(), 1, "the cancellation may still fail");
    street.home.settle();
    assert_eq!((code(cancelled), code(early)), (None, Some(Code::OfferBudgetExhausted)));
    assert_eq!((street.spent(), street.home.count(&keys::draws())), (0, 0));
    street.cancels(0);
    street.home.settle();
    let (one, other) = (street.accepts(2), street.accepts(3));
    street.home.settle();
    assert_eq!((code(one), code(other)), (None, Some(Code::OfferBudgetExhausted)), "given back once");
    street.again();
    assert_eq!(street.spent(), 1);
}

#[test]
fn an_accept_and_its_cancellation_that_fail_together_leave_nothing_drawn_twice_or_free_twice() {
    let mut street = Street::new(3);
    let (accepted, cancelled) = (street.accepts(0), street.cancels(0));
    street.home.store.fails.store(true, Ordering::Relaxed);
    street.home.engine.step_writer();
    assert_eq!((code(accepted), code(cancelled)), (Some(Code::InternalRetry), Some(Code::InternalRetry)));
    assert_eq!(street.spent(), 0);
    street.home.store.fails.store(false, Ordering::Relaxed);
    let (one, other) = (street.accepts(1), street.accepts(2));
    street.home.settle();
    assert_eq!((code(one), code(other)), (None, Some(Code::OfferBudgetExhausted)));
    street.again();
    assert_eq!(street.spent(), 1);
}

#[test]
fn the_log_says_what_was_left_and_decides_the_same_again() {
    let street = Street::new(3);
    for n in 0..3 {
        street.accepts(n);
    }
    street.home.settle();
    let mut answers = Vec::new();
    for (device, _) in &street.offers {
        let household = street.home.engine.route(device).unwrap().household;
        assert_eq!(street.home.engine.replay(household).unwrap().differences, []);
        answers.extend(street.home.log(household).into_iter().flat_map(|row| row.answers));
    }
    use hearthway_core::budget::Answer::Draw;
    let draws: Vec<_> = answers.into_iter().filter(|answer| matches!(answer, Draw(_))).collect();
    assert_eq!(draws, [Draw(true), Draw(false), Draw(false)]);
}

fn street_under_a_cap(max: usize, homes: usize) -> (Street, Vec<DeviceKey>) {
    let cap =
        format!("[trigger.limits]\ncaps = [{{ max = {max}, per = \"offer\", scope = \"global\", within = \"7d\" }}]");
    let street = Street::of(worn("", "{{ product.name }}", &cap));
    let devices = (0..homes).map(|n| street.moves_in(n)).collect();
    (street, devices)
}

fn sent(street: &Street) -> u32 {
    let cap =
        hearthway_core::budget::SharedCap { max: 0, own_only: true, from: Timestamp(0), until: Timestamp(i64::MAX) };
    street.home.engine.sent(&shop(), &TriggerId::new("filter-worn").unwrap(), &cap)
}

#[test]
fn the_last_place_under_a_cap_of_all_homes_is_taken_when_it_is_granted_and_outlives_a_start() {
    let (mut street, devices) = street_under_a_cap(2, 4);
    devices[..3].iter().for_each(|device| street.wears(device));
    assert_eq!(sent(&street), 2, "nothing is written yet");
    street.home.settle();
    assert_eq!(devices.iter().filter(|device| street.offer_of(device).is_some()).count(), 2);
    assert_eq!(street.home.count(&keys::all_sent()), 2);
    street.again();
    assert_eq!(sent(&street), 2);
    assert!(street.wears_out(&devices[3]).is_none());
    for device in &devices {
        let household = street.home.engine.route(device).unwrap().household;
        assert_eq!(street.home.engine.replay(household).unwrap().differences, []);
    }
}

#[test]
fn a_send_whose_commit_failed_is_none_and_one_that_a_lying_store_kept_is_one() {
    for (lies, left) in [(false, 0), (true, 1)] {
        let (mut street, devices) = street_under_a_cap(1, 2);
        street.wears(&devices[0]);
        let fails = if lies { &street.home.store.lies } else { &street.home.store.fails };
        fails.store(true, Ordering::Relaxed);
        street.home.engine.step_writer();
        fails.store(false, Ordering::Relaxed);
        assert_eq!(sent(&street), left, "lies: {lies}");
        assert_eq!(street.wears_out(&devices[1]).is_some(), left == 0);
        street.again();
        assert_eq!(sent(&street), 1);
    }
}

#[test]
fn an_offer_that_ends_unseen_gives_its_place_back_when_that_is_on_disk() {
    let (mut street, devices) = street_under_a_cap(1, 2);
    let offer = street.wears_out(&devices[0]).unwrap().id;
    let outcome = street.home.command(&devices[0], Command::WithdrawOffer { offer, reason: "test".into() });
    street.home.decide_all();
    assert_eq!(sent(&street), 1, "the end may still fail");
    street.home.settle();
    assert!(matches!(taken(outcome), Outcome::Committed(Ok(_))));
    assert_eq!((sent(&street), street.home.count(&keys::all_sent())), (0, 0));
    assert!(street.wears_out(&devices[1]).is_some());
    street.again();
    assert_eq!(sent(&street), 1);
}

#[tokio::test]
async fn a_cap_of_a_year_counts_what_the_log_no_longer_knows() {
    let cap = "[trigger.limits]\ncaps = [{ max = 1, per = \"offer\", scope = \"household\", within = \"365d\" }]";
    let mut street = Street::of(worn("", "{{ product.name }}", cap));
    let device = street.moves_in(0);
    let household = street.home.engine.route(&device).unwrap().household;
    let offer = street.wears_out(&device).unwrap().id;
    let shown = format!(r#"{{"body":{{"offer":"{offer}","rev":1,"state":"shown"}}}}"#);
    let shown = hearthway_core::wire::decode(&format!("chan/v1/{device}/up/offer/receipt"), shown.as_bytes()).unwrap();
    street.home.say(&device, "shown", shown.message);
    street.home.settle();
    let oldest = |street: &Street| street.home.log(household).iter().map(|row| row.input.received_at).min().unwrap();
    let first = oldest(&street);
    // Three hundred days, of which thirty are kept: the clock is looked at once a day.
    for day in 0..300 {
        street.home.turn_clock(Span::days(1));
        street.home.say(&device, &format!("t-{day}"), temperature(20.0));
        street.home.settle();
        let (engine, done) = (street.home.engine.clone(), std::sync::atomic::AtomicBool::new(false));
        let aging = async {
            engine.age_log(Span::days(30)).await.unwrap();
            done.store(true, Ordering::Relaxed);
        };
        // Nobody but the test moves the writer.
        let moving = async {
            while !done.load(Ordering::Relaxed) {
                street.home.engine.step_writer();
                tokio::task::yield_now().await;
            }
        };
        tokio::join!(aging, moving);
    }
    let now = street.home.clock.now();
    assert!(first < now - Span::days(290) && oldest(&street) > now - Span::days(34), "{} {}", oldest(&street), now);
    let replayed = street.home.engine.replay(household).unwrap();
    assert_eq!(replayed.differences, []);
    assert!(replayed.inputs >= 28 && replayed.inputs < 40, "what is left is decided again: {}", replayed.inputs);
    let since = street.home.engine.past().history_from(household).unwrap();
    assert!(since.is_some_and(|since| since > now - Span::days(34)), "{since:?}");
    assert_eq!(replayed.since, since);
    street.again();
    let renewed = r#"{"body":{"slot":"air_filter","kind":"usage","used":1,"unit":"h"}}"#;
    let renewed = hearthway_core::wire::decode(&format!("chan/v1/{device}/up/slot"), renewed.as_bytes()).unwrap();
    street.home.say(&device, "renewed", renewed.message);
    let worn_again = r#"{"body":{"slot":"air_filter","kind":"usage","used":700,"unit":"h"}}"#;
    let worn_again = hearthway_core::wire::decode(&format!("chan/v1/{device}/up/slot"), worn_again.as_bytes()).unwrap();
    street.home.say(&device, "worn-again", worn_again.message);
    street.home.settle();
    let said = street.home.log(household).into_iter().rev().find_map(|row| row.candidates.into_iter().next()).unwrap();
    assert_eq!(said.first_block, Some(hearthway_core::trace::Step::Caps), "{said}");
}
