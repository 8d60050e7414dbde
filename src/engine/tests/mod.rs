//! Proofs of the engine's laws on the memory store: every part moved by hand, the real rules of
//! the core, and offers by decree (an event `put` or `put_urgent` makes one).
#![allow(clippy::unwrap_used)]

mod budgets;
mod codes;
mod counting;
mod durable;
mod events;
mod former;
mod moving;
mod poison;
mod remembering;
mod speaking;
mod threaded;
mod trailing;
mod two_homes;

use std::collections::BTreeSet;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use hearthway_core::budget::Purse;
use hearthway_core::decision::{Change, Decision, Effect, Reply};
use hearthway_core::id::*;
use hearthway_core::input::{Command, Input, Join, Sender, What};
use hearthway_core::model::*;
use hearthway_core::rules::RuleSet;
use hearthway_core::time::{Span, Timestamp, Zone};
use hearthway_core::trigger::{SourceFile, TriggerSet, World, check};
use hearthway_core::wire::{DeviceMessage, DownMessage, EventUp, Sample};
use tokio::sync::oneshot;

use super::rows::LogRow;
use super::{Link, *};
use crate::store::Store;
use crate::store::codec::{self, Schema};
use crate::store::memory::MemoryStore;
use crate::store::{Rows, keys};

const START: Timestamp = Timestamp(1_774_000_000_000);

/// A trigger that wakes below 17 °C, one that wakes when a device is away for an hour, and one that
/// follows a trend also in prospects' homes, where nothing ever falls so fast.
const COLD: &str = r#"
[[trigger]]
id = "cold-home"
kind = "tip"
[trigger.on]
event = "telemetry"
device = { kind = "thermostat" }
field = "temperature"
falls_below = "17 °C"
rearm = "18 °C"
[trigger.offer]
actions = ["decline"]
[trigger.offer.text.fr]
title = "Il fait froid"
body = "Fermez les volets."

[[trigger]]
id = "lost-for-an-hour"
kind = "tip"
[trigger.on]
event = "presence"
becomes = "lost"
for = "1h"
[trigger.offer]
actions = ["decline"]
[trigger.offer.text.fr]
title = "Hors ligne"
body = "Rebranchez-le."

[[trigger]]
id = "cools-fast"
kind = "tip"
[trigger.on]
event = "telemetry"
device = { kind = "thermostat" }
field = "temperature"
trend_over = "4h"
falls_below = "-100 °C/h"
[trigger.audience]
link = "anonymous_ok"
[trigger.offer]
actions = ["decline"]
[trigger.offer.text.fr]
title = "Il refroidit vite"
body = "Fermez la fenêtre."
"#;

/// A clock that the test turns.
struct TestClock(AtomicI64);

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.load(Ordering::Relaxed))
    }
    fn sleep_until(&self, at: Timestamp) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        if at <= self.now() { Box::pin(std::future::ready(())) } else { Box::pin(std::future::pending()) }
    }
}

/// A memory store that fails on demand.
#[derive(Default)]
struct TestStore {
    rows: MemoryStore,
    fails: AtomicBool,
    /// Fails after readers can see what it wrote.
    lies: AtomicBool,
    /// While locked, commits wait.
    gate: Mutex<()>,
}

impl Store for TestStore {
    fn commit(&self, group: &[Commit]) -> Result<Vec<store::Outcome>, StoreError> {
        drop(self.gate.lock());
        if self.fails.load(Ordering::Relaxed) {
            return Err(StoreError::Failed { doing: "committing", cause: "the disk is full".into() });
        }
        let committed = self.rows.commit(group)?;
        if self.lies.load(Ordering::Relaxed) {
            return Err(StoreError::Failed { doing: "syncing", cause: "the disk is gone".into() });
        }
        Ok(committed)
    }
    fn get(&self, key: &keys::Key) -> Result<Option<Vec<u8>>, StoreError> {
        self.rows.get(key)
    }
    fn scan(&self, prefix: &[u8], after: Option<&keys::Key>, limit: usize) -> Result<Rows, StoreError> {
        self.rows.scan(prefix, after, limit)
    }
    fn scan_back(&self, prefix: &[u8], before: Option<&keys::Key>, limit: usize) -> Result<Rows, StoreError> {
        self.rows.scan_back(prefix, before, limit)
    }
    fn back(&self, log: &keys::Key, before: Option<store::Mark>, limit: usize) -> Result<store::Items, StoreError> {
        self.rows.back(log, before, limit)
    }
    fn items(&self, after: Option<store::Mark>, limit: usize) -> Result<store::AllItems, StoreError> {
        self.rows.items(after, limit)
    }
    fn divide_logs(&self, keep_from: Option<store::Mark>) -> Result<store::Mark, StoreError> {
        self.rows.divide_logs(keep_from)
    }
    fn health(&self) -> Result<(), StoreError> {
        Ok(())
    }
}

/// A link that keeps what is delivered to devices that listen.
#[derive(Default)]
struct TestLink {
    listening: Mutex<BTreeSet<DeviceKey>>,
    delivered: Mutex<Vec<Delivery>>,
    disconnected: Mutex<Vec<DeviceKey>>,
}

impl Link for TestLink {
    fn deliver(&self, delivery: Delivery) -> bool {
        let listens = self.listening.lock().unwrap().contains(&delivery.device);
        if listens {
            self.delivered.lock().unwrap().push(delivery);
        }
        listens
    }
    fn disconnect(&self, device: &DeviceKey, _: &str) {
        self.disconnected.lock().unwrap().push(device.clone());
    }
}

struct OneBook(Arc<RuleSet>);

impl RuleBook for OneBook {
    fn current(&self) -> Arc<RuleSet> {
        Arc::clone(&self.0)
    }
    fn at(&self, version: u64) -> Option<Arc<RuleSet>> {
        (version == self.0.version).then(|| Arc::clone(&self.0))
    }
}

/// A gateway's engine with its world.
struct Home {
    engine: Engine,
    store: Arc<TestStore>,
    clock: Arc<TestClock>,
    link: Arc<TestLink>,
    settings: Settings,
    causes: AtomicU64,
}

impl Home {
    fn new() -> Home {
        Home::with(Settings { shards: 2, snapshot_inputs: 16, ..Settings::default() })
    }

    fn with(settings: Settings) -> Home {
        let (store, clock) = (Arc::new(TestStore::default()), Arc::new(TestClock(AtomicI64::new(START.0))));
        let link = Arc::new(TestLink::default());
        let engine = open(&settings, &store, &clock, &link);
        Home { engine, store, clock, link, settings, causes: AtomicU64::new(0) }
    }

    /// The process dies and starts again: only the store and the clock remain.
    fn crash(&mut self) {
        self.link = Arc::default();
        self.engine = open(&self.settings, &self.store, &self.clock, &self.link);
    }

    fn turn_clock(&self, span: Span) {
        self.clock.0.fetch_add(span.0, Ordering::Relaxed);
    }

    fn step_shards(&self) -> bool {
        (0..self.engine.shards()).fold(false, |moved, shard| moved | self.engine.step_shard(shard))
    }

    /// Decides everything that is queued, without writing.
    fn decide_all(&self) {
        while self.step_shards() {}
    }

    /// Until nothing moves.
    fn settle(&self) {
        loop {
            self.decide_all();
            let wrote = self.engine.step_writer();
            if !self.step_shards() && !wrote {
                return;
            }
        }
    }

    /// Submits and gives where the outcome will come.
    fn submit(&self, to: Target, input: Input, repeat: Repeat) -> oneshot::Receiver<Outcome> {
        let (waiter, outcome) = oneshot::channel();
        now_or_never(self.engine.submit(to, input, repeat, Waiter::Caller(waiter)));
        outcome
    }

    fn command(&self, device: &DeviceKey, command: Command) -> oneshot::Receiver<Outcome> {
        let cause = self.causes.fetch_add(1, Ordering::Relaxed).to_be_bytes();
        let input = self.engine.command(Some(device.clone()), &[b"test", &cause], command);
        self.submit(Target::Device(device.clone()), input, Repeat::Ignore)
    }

    /// A device's message under its own id.
    fn say(&self, device: &DeviceKey, id: &str, message: DeviceMessage) -> oneshot::Receiver<Outcome> {
        let input = Input {
            id: InputId::derived(&[device.to_string().as_bytes(), id.as_bytes()]),
            message: Some(MessageId::new(id).unwrap()),
            received_at: self.clock.now(),
            device: Some(device.clone()),
            entropy: 7,
            payload_bytes: 20,
            sender: Sender::default(),
            what: What::Device(message),
        };
        self.submit(Target::Device(device.clone()), input, Repeat::Remember)
    }

    fn registered(&self, name: &str) -> DeviceKey {
        let device: DeviceKey = name.parse().unwrap();
        let model = ModelId::new("th-200").unwrap();
        let outcome = self.command(&device, Command::Register { model, serial: None, generation: 1 });
        self.settle();
        assert_eq!(taken(outcome), Outcome::Committed(Ok(Reply::Done)));
        device
    }

    fn facts(&self, household: HouseholdId) -> Option<Facts> {
        now_or_never(self.engine.facts(household)).unwrap()
    }

    fn log(&self, household: HouseholdId) -> Vec<LogRow> {
        let mut rows = Vec::new();
        log::inputs_back(&*self.store, household, |row| {
            rows.push(row);
            true
        })
        .unwrap();
        rows.reverse();
        rows
    }

    fn count(&self, prefix: &[u8]) -> usize {
        self.store.scan(prefix, None, 10_000).unwrap().len()
    }

    fn listen(&self, device: &DeviceKey) {
        self.link.listening.lock().unwrap().insert(device.clone());
    }

    fn heard(&self) -> Vec<Delivery> {
        std::mem::take(&mut *self.link.delivered.lock().unwrap())
    }
}

fn open(settings: &Settings, store: &Arc<TestStore>, clock: &Arc<TestClock>, link: &Arc<TestLink>) -> Engine {
    let engine = Engine::unmanned(settings.clone(), clock.clone(), store.clone(), book(), decider()).unwrap();
    engine.set_link(link.clone());
    engine
}

fn book() -> Arc<dyn RuleBook> {
    let model = DeviceModel { maker: MakerId::new("acme").unwrap(), description: thermostat() };
    let mut rules = RuleSet { version: 3, ..RuleSet::default() };
    rules.models.insert(ModelId::new("th-200").unwrap(), Arc::new(model));
    let zone = Zone::new("Europe/Paris").unwrap();
    let retailer =
        Retailer { name: "Enseigne X".into(), default_locale: "fr".into(), zone, ranking: Default::default() };
    rules.retailers.insert(join().retailer, Arc::new(retailer));
    let world = World {
        retailer: join().retailer,
        version: 1,
        models: &rules.models,
        products: &rules.products,
        default_locale: "fr",
    };
    let checked = check(&[SourceFile { name: "cold.toml".into(), text: COLD.into() }], &world);
    assert!(checked.is_sound(), "the sample trigger is sound");
    rules.triggers = TriggerSet::build(checked.triggers);
    Arc::new(OneBook(Arc::new(rules)))
}

/// The core's rules, and offers by decree.
fn decider() -> Decider {
    Decider { decide, apply, ..Decider::core() }
}

fn decide(facts: &Household, input: &Input, rules: &RuleSet, now: Timestamp, purse: &dyn Purse) -> Decision {
    let mut decision = hearthway_core::decide::decide_with(facts, input, rules, now, purse);
    let fails = |event: &EventUp| event.r#type == "poison";
    assert!(!matches!(&input.what, What::Device(DeviceMessage::Event(event)) if fails(event)), "a defect, on purpose");
    let Some(device) = input.device.clone() else { return decision };
    match &input.what {
        What::Device(DeviceMessage::Event(event)) if event.r#type == "put" => {
            decision.effects.push(put(&device, OfferId::derived(&[b"offer"])));
        }
        What::Device(DeviceMessage::Event(event)) if event.r#type == "many" => {
            for n in 0u8..30 {
                decision.effects.push(put(&device, OfferId::derived(&[&[n]])));
            }
        }
        What::Device(DeviceMessage::Event(event)) if event.r#type == "drop" => {
            decision.effects.push(Effect::DropAll { device });
        }
        What::Reachable { waiting } => {
            decision.effects.clear();
            for offer in waiting {
                decision.effects.push(Effect::DropOffer { device: device.clone(), offer: *offer });
                decision.effects.push(put(&device, *offer));
            }
        }
        _ => {}
    }
    decision
}

/// A temperature whose report cannot be applied, after other changes of its message were.
const HALF_WAY: f64 = 666.5;

fn apply(facts: &mut Household, change: &Change) {
    facts.apply(change);
    if matches!(change, Change::Reported { .. }) && format!("{change:?}").contains("666.5") {
        panic!("a defect in applying, on purpose");
    }
}

fn put(device: &DeviceKey, id: OfferId) -> Effect {
    let text = |text: &str| text.to_owned();
    let offer = Offer {
        id,
        rev: 1,
        retailer: RetailerId::new("shop-a").unwrap(),
        trigger: TriggerId::new("filter-worn").unwrap(),
        trigger_version: 1,
        decision: DecisionId::derived(&[b"decision"]),
        kind: "tip".into(),
        device: device.clone(),
        slot: None,
        placement: PlacementId::new("home.card").unwrap(),
        priority: 50,
        valid_from: START,
        expires_at: START + Span::days(1),
        text: OfferText { locale: text("en"), title: text("A"), body: text("B"), short: None, say: None, why: None },
        item: None,
        price: None,
        sold_by: None,
        withdraw_days: None,
        fulfil: vec![],
        actions: vec![Action::Inform],
        confirm: None,
        cancel_window: Span::ZERO,
        test: false,
        state: OfferState::Sent,
        history: vec![],
        last_answer: None,
        budget: None,
        code: None,
        seller: None,
        ships_by: None,
        alternatives: vec![],
        stores: vec![],
    };
    let expires_at = Some(offer.expires_at);
    Effect::Down {
        device: device.clone(),
        message: Box::new(DownMessage::OfferPut(Arc::new(offer))),
        expires_at,
        corr: None,
    }
}

fn thermostat() -> DeviceDescription {
    let number =
        FieldSchema { r#type: FieldType::Number { unit: Some(Unit::Celsius), min: None, max: None }, max_age: None };
    DeviceDescription {
        model: ModelId::new("th-200").unwrap(),
        kind: KindId::new("thermostat").unwrap(),
        telemetry: [(FieldName::new("temperature").unwrap(), number)].into(),
        slots: Default::default(),
        placements: vec![],
        locales: vec![],
        confirm: vec![],
        buttons: vec![],
    }
}

fn temperature(value: f64) -> DeviceMessage {
    let fields = vec![(FieldName::new("temperature").unwrap(), Value::Number(value))];
    DeviceMessage::Telemetry(vec![Sample { t: None, fields }])
}

fn event(name: &str) -> DeviceMessage {
    DeviceMessage::Event(EventUp { r#type: name.into(), t: None, data: vec![] })
}

fn join() -> Join {
    let retailer = RetailerId::new("shop-a").unwrap();
    let profile = ProfileId::new("p1").unwrap();
    Join {
        household: HouseholdId::of_profile(&retailer, &profile),
        link: LinkId::derived(&[b"link"]),
        retailer,
        member: Member {
            profile,
            display_name: "Maison".into(),
            locale: None,
            role: Role::Owner,
            segments: Default::default(),
            consents: Default::default(),
        },
        zone: Zone::new("Europe/Paris").unwrap(),
        locale: None,
    }
}

/// The outcome, which must be there.
fn taken(mut outcome: oneshot::Receiver<Outcome>) -> Outcome {
    outcome.try_recv().expect("it was answered")
}

fn is_open(outcome: &mut oneshot::Receiver<Outcome>) -> bool {
    matches!(outcome.try_recv(), Err(oneshot::error::TryRecvError::Empty))
}

/// Runs a future that has nothing to wait for.
fn now_or_never<T>(future: impl Future<Output = T>) -> T {
    let mut future = std::pin::pin!(future);
    match future.as_mut().poll(&mut std::task::Context::from_waker(std::task::Waker::noop())) {
        std::task::Poll::Ready(value) => value,
        std::task::Poll::Pending => panic!("it waits"),
    }
}
