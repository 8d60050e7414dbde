#![allow(clippy::unwrap_used)]
//! Logs written by hand, and what a backtest makes of them.

use std::path::Path;
use std::sync::Arc;

use hearthway_core::decide::decide;
use hearthway_core::id::{DeviceKey, InputId, LinkId, ModelId, OrderId, ProfileId, RetailerId};
use hearthway_core::input::{Answer, Command, Input, Join, Sender, What};
use hearthway_core::model::{ConsentRecord, ConsentSource, Few, Household, Member, OrderState, Purpose, Role};
use hearthway_core::rules::RuleSet;
use hearthway_core::time::{Span, Timestamp, Zone};
use hearthway_core::trace::Verdict;
use hearthway_core::trigger::{SourceFile, TriggerSet, World, check};
use hearthway_core::wire::decode;

use super::segments::SEGMENT_INPUTS_MAX;
use super::{Backtest, Listener, Looked, Report};
use crate::config::samples::Catalog;
use crate::engine::rows::{HouseholdRow, LastSnapshot, LogItem, LogRow, LogVerdict};
use crate::engine::{Past, RuleBook, Window};
use crate::store::codec::{self, Schema};
use crate::store::memory::MemoryStore;
use crate::store::{Commit, Store, Write, keys};

/// 2026-03-18T10:00:00+01:00, a Wednesday morning in Paris.
const MORNING: &str = "2026-03-18T10:00:00+01:00";

const WORN: &str = r#"
[[trigger]]
id = "filter-worn"
kind = "offer"
[trigger.on]
event = "slot"
device = { kind = "thermostat" }
slot = "air_filter"
field = "used"
rises_above = "600 h"
rearm = "50 h"
[trigger.offer]
product = "flt-20x25"
[trigger.offer.text.fr]
title = "Filtre usé"
body = "{{ product.name }}"
[trigger.offer.text.en]
title = "Filter worn"
body = "{{ product.name }}"
"#;

struct OneBook(Arc<RuleSet>);

impl RuleBook for OneBook {
    fn current(&self) -> Arc<RuleSet> {
        Arc::clone(&self.0)
    }
    fn at(&self, version: u64) -> Option<Arc<RuleSet>> {
        (version == self.0.version).then(|| Arc::clone(&self.0))
    }
}

fn shop() -> RetailerId {
    RetailerId::new("shop-a").unwrap()
}

/// One home's log, in the making. Live there was no trigger at all.
struct Log {
    rules: Arc<RuleSet>,
    home: Household,
    device: DeviceKey,
    now: Timestamp,
    items: Vec<LogItem>,
}

impl Log {
    fn begin() -> Log {
        let catalog = Catalog::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("config/catalog")).unwrap();
        let (models, products) = (catalog.models, catalog.products);
        let rules = Arc::new(RuleSet { version: 1, models, products, ..RuleSet::default() });
        let (profile, device) = (ProfileId::new("p1").unwrap(), "acme/d-42".parse().unwrap());
        let home = Household::empty(hearthway_core::id::HouseholdId::of_profile(&shop(), &profile));
        let now = Timestamp::parse_rfc3339(MORNING).unwrap();
        let mut log = Log { rules, home, device, now, items: Vec::new() };
        let granted = ConsentRecord {
            granted: true,
            at: now,
            source: ConsentSource::Shop,
            method: None,
            text_id: None,
            expires_at: None,
        };
        let member = Member {
            profile,
            display_name: "Maison".into(),
            locale: Some("fr-FR".into()),
            role: Role::Owner,
            segments: Default::default(),
            consents: [(Purpose::OffersDevice, granted)].into_iter().collect(),
        };
        let (zone, locale) = (Zone::new("Europe/Paris").unwrap(), Some("fr-FR".into()));
        let (household, link) = (log.home.id, LinkId::derived(&[log.home.id.bytes()]));
        let join = Join { household, retailer: shop(), link, member, zone, locale };
        let model = ModelId::new("th-200").unwrap();
        log.happens(What::Command(Command::Register { model, serial: None, generation: 1 }));
        log.happens(What::Command(Command::LinkDirectly { join }));
        log
    }

    fn happens(&mut self, what: What) {
        let seq = self.home.seq + 1;
        let input = Input {
            id: InputId::derived(&[self.home.id.bytes(), &seq.to_be_bytes()]),
            message: None,
            received_at: self.now,
            device: Some(self.device.clone()),
            entropy: seq,
            payload_bytes: 60,
            sender: Sender::default(),
            what,
        };
        let decision = decide(&self.home, &input, &self.rules, self.now);
        let verdict = crate::engine::log::verdict(&decision);
        let is_silent = verdict == LogVerdict::Accepted { sent: 0, held: 0 };
        assert!(is_silent || !self.rules.triggers.is_empty(), "live there is no trigger");
        decision.changes.iter().for_each(|change| self.home.apply(change));
        self.home.seq = seq;
        let candidates = decision.trace.candidates;
        let row = LogRow { seq, input, rules: 1, verdict, candidates, answers: Vec::new() };
        self.items.push(LogItem::Input(Box::new(row)));
    }

    /// The filter has run so many hours, so long after what was before.
    fn used(&mut self, after: Span, hours: u32) {
        self.now = self.now + after;
        let body = format!(r#"{{"body":{{"slot":"air_filter","kind":"usage","used":{hours},"unit":"h"}}}}"#);
        let message = decode(&format!("chan/v1/{}/up/slot", self.device), body.as_bytes()).unwrap().message;
        self.happens(What::Device(message));
    }

    fn snapshot(&mut self) {
        self.items.push(LogItem::Snapshot(Arc::new(self.home.clone())));
    }

    fn checked(&self, triggers: &str) -> TriggerSet {
        let world = World {
            retailer: shop(),
            version: 1,
            models: &self.rules.models,
            products: &self.rules.products,
            default_locale: "fr-FR",
        };
        let checked = check(&[SourceFile { name: "t.toml".into(), text: triggers.into() }], &world);
        assert!(checked.is_sound(), "{:#?}", checked.problems);
        TriggerSet::build(checked.triggers)
    }

    /// A backtest of triggers over the log.
    fn with(&self, triggers: &str, window: Window) -> (Report, Vec<(Timestamp, Verdict)>) {
        self.of(&shop(), triggers, window)
    }

    fn of(&self, retailer: &RetailerId, triggers: &str, window: Window) -> (Report, Vec<(Timestamp, Verdict)>) {
        let store = MemoryStore::new();
        let facts = Arc::new(self.home.clone());
        let row = HouseholdRow { facts, heard: Few::new(), snapshot: LastSnapshot::default() };
        let mut writes = vec![Write::Put(keys::household(self.home.id), codec::encode(Schema::Household, &row))];
        let log = keys::log(self.home.id);
        writes.extend(self.items.iter().map(|item| Write::Append(log.clone(), codec::encode(Schema::Log, item))));
        store.commit(&[Commit { preconditions: Vec::new(), writes }]).unwrap();
        let triggers = self.checked(triggers);
        let past = Past::at_rest(Arc::new(store), Arc::new(OneBook(Arc::clone(&self.rules))));
        let mut looks = Looks::default();
        let backtest = Backtest::new(past, retailer.clone(), triggers, window);
        (backtest.run(&mut looks).unwrap().unwrap(), looks.0)
    }
}

#[derive(Default)]
struct Looks(Vec<(Timestamp, Verdict)>);

impl Listener for Looks {
    fn looked(&mut self, looked: &Looked<'_>) {
        self.0.push((looked.at, looked.candidate.verdict));
    }
}

#[test]
fn a_device_that_nobody_claimed_is_no_home_of_the_shop() {
    let mut log = Log::begin();
    log.used(Span::hours(1), 612);
    assert_eq!(log.with(WORN, Window::default()).0.households, 1);
    log.home.retailer = None;
    let (report, looks) = log.with(WORN, Window::default());
    assert_eq!((report.households, report.inputs, looks.len()), (0, 0, 0), "{report:#?}");
}

#[test]
fn a_cap_counts_offers_that_were_never_made() {
    let mut log = Log::begin();
    for _ in 0..2 {
        log.used(Span::hours(1), 590);
        log.used(Span::hours(1), 612);
        log.used(Span::days(7), 5);
    }
    let capped = format!("{WORN}[trigger.limits]\ncaps = [{{ max = 1, per = \"offer\", within = \"21d\" }}]\n");
    let (free, _) = log.with(WORN, Window::default());
    assert_eq!((free.counts.sent, free.counts.blocked), (2, 0), "{free:#?}");
    assert_eq!(free.worth.values().sum::<i64>(), 2 * 1990);
    let (report, _) = log.with(&capped, Window::default());
    assert_eq!((report.counts.sent, report.counts.blocked), (1, 1), "{report:#?}");
    assert_eq!(report.blocked_by.get("caps:cap_reached"), Some(&1));
}

#[test]
fn orders_draw_from_a_budget_of_virtual_time_and_discounts_are_the_cost() {
    let mut log = Log::begin();
    let terms = "cancel_window = \"0 s\"\nproduct =";
    let triggers = log.checked(&WORN.replace("product =", terms));
    log.rules = Arc::new(RuleSet { triggers, ..(*log.rules).clone() });
    for _ in 0..3 {
        log.used(Span::hours(1), 590);
        log.used(Span::hours(1), 612);
        let made = log.home.offers.values().find(|offer| offer.state.is_live()).map(|offer| offer.id);
        let offer = made.expect("live there is no budget");
        let (answer, channel) = (Answer::Accept { qty: None, fulfil: None }, "app".to_owned());
        log.happens(What::Command(Command::AnswerOffer { offer, rev: 1, answer, channel, profile: None }));
        let (order, rev, state) = (OrderId::derived(&[offer.bytes()]), 2, OrderState::Refused);
        log.happens(What::Command(Command::SetOrderStatus { order, rev, state, eta: None }));
        log.used(Span::days(7), 5);
    }
    assert_eq!(log.home.orders.len(), 3);
    let budgeted = WORN.replace("product =", &format!("discount = {{ percent = 10 }}\n{terms}"))
        + "[trigger.limits]\nbudget = { count = 1 }\n";
    let (report, _) = log.with(&budgeted, Window::default());
    assert_eq!(report.counts.sent, 3, "the shop refused each, so that each gave back what it drew: {report:#?}");
    assert_eq!(report.discounts.values().sum::<i64>(), 3 * 199);
    for item in &mut log.items {
        if let LogItem::Input(row) = item
            && let What::Command(Command::SetOrderStatus { state, .. }) = &mut row.input.what
        {
            *state = OrderState::Delivered;
        }
    }
    let (report, _) = log.with(&budgeted, Window::default());
    assert_eq!(report.counts.sent, 1, "{report:#?}");
    assert_eq!(report.blocked_by.get("budget:budget_exhausted"), Some(&2), "{report:#?}");
}

#[test]
fn a_deadline_between_inputs_fires_at_its_own_time_and_not_after_the_last_input() {
    let quiet = format!("{WORN}[trigger.limits]\nquiet = {{ from = \"21:00\", to = \"08:00\" }}\n");
    let mut log = Log::begin();
    log.used(Span::hours(10), 590);
    log.used(Span::hours(2), 612);
    let (report, _) = log.with(&quiet, Window::default());
    assert_eq!((report.counts.held, report.counts.sent), (1, 0), "what comes after the log is not made up");
    log.used(Span::days(2), 613);
    let (report, looks) = log.with(&quiet, Window::default());
    assert_eq!((report.counts.held, report.counts.sent), (1, 1), "{report:#?}");
    let eight = Timestamp::parse_rfc3339("2026-03-19T08:00:00+01:00").unwrap();
    let (at, verdict) = looks[1];
    assert_eq!(verdict, Verdict::Sent);
    assert!(at >= eight && at < eight + Span::hours(1), "{at}");
    let days: Vec<_> = report.days.iter().map(|(day, counts)| (day.as_str(), counts.held, counts.sent)).collect();
    assert_eq!(days, [("2026-03-18", 1, 0), ("2026-03-19", 0, 1)]);
}

#[test]
fn a_log_of_several_segments_is_read_in_order_and_whole() {
    let mut log = Log::begin();
    let rounds = SEGMENT_INPUTS_MAX / 2 + 10;
    for _ in 0..rounds {
        log.used(Span::minutes(1), 590);
        log.used(Span::minutes(1), 612);
        log.used(Span::minutes(1), 5);
    }
    let (report, _) = log.with(WORN, Window::default());
    assert_eq!(report.inputs, 3 * rounds as u64 + 2);
    assert_eq!(report.counts.sent, rounds as u64, "each round crosses once, in whatever segment");
}

#[test]
fn a_window_begins_with_the_home_as_it_was_then() {
    let mut log = Log::begin();
    log.used(Span::hours(1), 590);
    log.snapshot();
    log.used(Span::hours(1), 595);
    let from = log.now + Span::minutes(30);
    log.used(Span::hours(1), 612);
    let (report, _) = log.with(WORN, Window { from: Some(from), until: None });
    assert_eq!((report.inputs, report.counts.sent), (1, 1), "it was at 595 before: {report:#?}");
    assert_eq!(report.shorter_history, 0);
    let (report, _) = log.with(WORN, Window { from: None, until: Some(from) });
    assert_eq!((report.inputs, report.counts.sent), (4, 0), "{report:#?}");
}

#[test]
fn a_home_whose_older_inputs_are_gone_begins_at_its_snapshot_and_is_named() {
    let mut log = Log::begin();
    log.used(Span::hours(1), 5);
    log.used(Span::hours(1), 590);
    log.snapshot();
    log.used(Span::hours(1), 612);
    let first_known = log.now;
    log.items.drain(..3);
    let (report, _) = log.with(WORN, Window::default());
    assert_eq!((report.inputs, report.counts.sent, report.shorter_history), (1, 1, 1), "{report:#?}");
    assert_eq!(report.shorter_history_of[0].since, first_known);
}

#[test]
fn homes_of_other_retailers_are_not_counted() {
    let mut log = Log::begin();
    log.used(Span::hours(1), 590);
    let (report, _) = log.of(&RetailerId::new("shop-b").unwrap(), WORN, Window::default());
    assert_eq!((report.inputs, report.households), (0, 0), "{report:#?}");
}
