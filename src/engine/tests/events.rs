//! What is told stands exactly if its decision stands.

use hearthway_core::event_out::{EventOut, EventType};

use super::super::events::{
    EventRow, EventSink, EventState, Letter, SecretSeed, WAITING_EVENTS_MAX, WebhookKey, WebhookRow, subject_mark,
};
use super::super::rows;
use super::*;

/// Keeps what it hears.
#[derive(Default)]
struct Heard(Mutex<Vec<Letter>>);

impl EventSink for Heard {
    fn queued(&self, letters: Vec<Letter>) {
        self.0.lock().unwrap().extend(letters);
    }
}

impl Heard {
    fn take(&self) -> Vec<Letter> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }
}

fn makers() -> WebhookKey {
    WebhookKey { tenant: Tenant::Maker(MakerId::new("acme").unwrap()), id: WebhookId::new("devices").unwrap() }
}

fn wants(types: &[EventType]) -> WebhookRow {
    WebhookRow {
        url: "https://hooks.acme.example/".to_owned(),
        types: types.iter().map(|kind| kind.as_str().to_owned()).collect(),
        subject: None,
        seed: SecretSeed([1; 16]),
        former: None,
        disabled: None,
        created_at: START,
    }
}

impl Home {
    /// A maker listens for new devices.
    fn maker_listens(&self) -> Arc<Heard> {
        let row = wants(&[EventType::DeviceRegistered]);
        let write = rows::put(Schema::Webhook, makers().row(), &row);
        self.store.rows.commit(&[Commit { preconditions: Vec::new(), writes: vec![write] }]).unwrap();
        self.engine.subscribe(&makers(), Some(&row));
        self.hear()
    }

    fn hear(&self) -> Arc<Heard> {
        let heard = Arc::new(Heard::default());
        self.engine.set_event_sink(Some(heard.clone()));
        heard
    }

    fn events(&self) -> Vec<EventRow> {
        let found = self.store.scan(&makers().events(), None, 100).unwrap();
        found.iter().map(|(key, bytes)| codec::decode(Schema::Event, key, bytes).unwrap()).collect()
    }

    fn register(&self, name: &str) -> oneshot::Receiver<Outcome> {
        let model = ModelId::new("th-200").unwrap();
        self.command(&name.parse().unwrap(), Command::Register { model, serial: None, generation: 1 })
    }
}

#[test]
fn an_event_is_known_only_when_its_decision_is_on_disk() {
    let home = Home::new();
    let heard = home.maker_listens();
    home.register("acme/d-1");
    home.decide_all();
    assert!(heard.take().is_empty() && home.events().is_empty(), "decided, not yet on disk");
    home.engine.step_writer();
    let letters = heard.take();
    let row = home.events().remove(0);
    assert_eq!((letters.len(), letters[0].subject), (1, subject_mark("acme/d-1")));
    assert_eq!(
        (row.kind.as_str(), row.subject.as_str(), row.state),
        ("device.registered", "acme/d-1", EventState::Waiting)
    );
    home.register("acme/d-1");
    home.settle();
    assert!(heard.take().is_empty(), "the same again is no news");
}

#[test]
fn a_decision_that_is_forgotten_was_not_told_and_one_that_the_store_kept_is() {
    let home = Home::new();
    let heard = home.maker_listens();
    home.store.fails.store(true, Ordering::Relaxed);
    let outcome = home.register("acme/d-1");
    home.settle();
    assert!(matches!(taken(outcome), Outcome::Failed(_)));
    assert!(heard.take().is_empty() && home.events().is_empty());
    home.store.fails.store(false, Ordering::Relaxed);
    // The disk kept what it said it had not: it is told once, though it is registered again.
    home.store.lies.store(true, Ordering::Relaxed);
    home.register("acme/d-1");
    home.settle();
    home.store.lies.store(false, Ordering::Relaxed);
    home.register("acme/d-1");
    home.settle();
    assert_eq!((heard.take().len(), home.events().len()), (1, 1));
}

#[test]
fn who_listened_before_a_crash_is_told_from_the_first_decision_after_it() {
    let mut home = Home::new();
    home.maker_listens();
    home.register("acme/d-1");
    home.settle();
    home.crash();
    home.register("acme/d-2");
    home.settle();
    let told: Vec<String> = home.events().into_iter().map(|row| row.subject).collect();
    assert_eq!(told, ["acme/d-1", "acme/d-2"], "nobody had to say again that somebody listens");
    let ids: BTreeSet<EventId> = home.events().iter().map(|row| row.id).collect();
    assert_eq!(ids.len(), 2);
}

#[test]
fn where_nobody_listens_nothing_is_written() {
    let home = Home::new();
    home.registered("acme/d-1");
    assert_eq!(home.count(&[keys::table::EVENT]), 0);
    let heard = home.maker_listens();
    home.registered("brewco/d-1");
    assert!(heard.take().is_empty(), "another maker's device");
    home.engine.subscribe(&makers(), None);
    home.registered("acme/d-2");
    assert_eq!((heard.take().len(), home.count(&[keys::table::EVENT])), (0, 0), "it listens no more");
}

#[test]
fn a_webhook_may_filter_by_subject() {
    let home = Home::new();
    let heard = home.maker_listens();
    let row = WebhookRow { subject: Some("acme/d-2".to_owned()), ..wants(&[EventType::DeviceRegistered]) };
    home.engine.subscribe(&makers(), Some(&row));
    home.registered("acme/d-1");
    home.registered("acme/d-2");
    assert_eq!(heard.take().len(), 1);
    assert_eq!(home.events()[0].subject, "acme/d-2");
}

#[test]
fn when_too_many_wait_only_orders_join_them() {
    let home = Home::new();
    let retailer = Tenant::Retailer(RetailerId::new("shop-a").unwrap());
    let key = WebhookKey { tenant: retailer.clone(), id: WebhookId::new("orders").unwrap() };
    home.engine.subscribe(&key, Some(&wants(&[EventType::OrderRequested, EventType::OfferSent])));
    home.engine.set_waiting_events(&key, WAITING_EVENTS_MAX - 1);
    let stage = |kind| {
        let event = EventOut::of_tenant(&retailer, kind, "hh_x", &[], START, serde_json::json!({}));
        home.engine.house().events.stage(&[event], START, &mut Vec::new()).len()
    };
    assert_eq!((stage(EventType::OfferSent), stage(EventType::OfferSent)), (1, 0), "the bound is reached");
    assert_eq!(
        (stage(EventType::OrderRequested), stage(EventType::OrderRequested)),
        (1, 1),
        "an order never waits outside"
    );
    home.engine.settle_events(&key, 3);
    assert_eq!(stage(EventType::OfferSent), 1, "there is room again");
}
