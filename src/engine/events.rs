//! What is told to webhooks, from the decision to the disk: an event's row is part of the commit of
//! the decision that it follows from, one for each webhook that wants it. So an event is told
//! exactly if its decision stands. Who takes the rows out into the world is `crate::webhook`.
//!
//! A webhook that is not heard keeps its events waiting. Their number is bounded; beyond the bound
//! only events about orders join them.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use arc_swap::ArcSwap;
use hearthway_core::decision::Decision;
use hearthway_core::event_out::{self, EventOut, EventType, EventTypes, Wanted};
use hearthway_core::id::{EventId, HouseholdId, MakerId, RetailerId, WebhookId, derive_bytes};
use hearthway_core::input::Input;
use hearthway_core::model::{Household, Tenant};
use hearthway_core::rules::RuleSet;
use hearthway_core::time::Timestamp;
use metrics::Counter;
use serde::{Deserialize, Serialize};

use super::house::House;
use super::metrics as names;
use super::prepared::Prepared;
use super::{Engine, rows};
use crate::store::codec::{self, KeyId, NOT_SEALED, Schema};
use crate::store::{Commit, Store, StoreError, Write, keys};

/// Events that wait for one webhook: three days of a shop with a hundred thousand homes. Some two hundred
/// megabytes on disk, and at most twenty or thirty in memory, where each is about another home.
pub const WAITING_EVENTS_MAX: usize = 200_000;

/// Whose webhook, and which.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WebhookKey {
    /// Whose.
    pub tenant: Tenant,
    /// Which.
    pub id: WebhookId,
}

impl WebhookKey {
    /// Its row.
    pub fn row(&self) -> keys::Key {
        keys::webhook(&self.tenant, &self.id)
    }
    /// The row of one of its events.
    pub fn event(&self, n: u64) -> keys::Key {
        keys::event(&self.tenant, &self.id, n)
    }
    /// Before the rows of all of its events.
    pub fn events(&self) -> Vec<u8> {
        keys::events_of(&self.tenant, &self.id)
    }
}

/// What a secret follows from, together with the master key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecretSeed(pub [u8; 16]);

/// A webhook as it is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WebhookRow {
    /// Where events go.
    pub url: String,
    /// The types that it wants, as written.
    pub types: Vec<String>,
    /// Only events about this subject.
    pub subject: Option<String>,
    /// Events are signed with this secret.
    pub seed: SecretSeed,
    /// The secret before it, which signs as well until then.
    pub former: Option<(SecretSeed, Timestamp)>,
    /// Since when and why nothing is sent any more.
    pub disabled: Option<(Timestamp, String)>,
    /// When it was made.
    pub created_at: Timestamp,
}

/// Where an event of a webhook stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum EventState {
    /// To be told, or told again.
    Waiting,
    /// Its receiver has it.
    Delivered,
    /// Given up: a dead letter.
    Dead,
}

impl EventState {
    /// The state as written.
    pub fn as_str(self) -> &'static str {
        match self {
            EventState::Waiting => "waiting",
            EventState::Delivered => "delivered",
            EventState::Dead => "dead",
        }
    }
    /// Reads the written form.
    pub fn parse(text: &str) -> Option<EventState> {
        [EventState::Waiting, EventState::Delivered, EventState::Dead].into_iter().find(|state| state.as_str() == text)
    }
}

/// How a try to tell an event ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// When it began.
    pub at: Timestamp,
    /// How long it took, milliseconds.
    pub took_ms: u32,
    /// What the receiver answered, where it answered.
    pub status: Option<u16>,
    /// What went wrong, where something did.
    pub error: Option<String>,
}

/// An event of a webhook as it is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventRow {
    /// Its id: the same in each try.
    pub id: EventId,
    /// Its type, as written.
    pub kind: String,
    /// What it is about.
    pub subject: String,
    /// The home that it tells of.
    pub household: Option<HouseholdId>,
    /// When it happened.
    pub at: Timestamp,
    /// What is sent, byte for byte.
    pub body: Vec<u8>,
    /// Where it stands.
    pub state: EventState,
    /// From when its three days count.
    pub since: Timestamp,
    /// Tries so far.
    pub attempts: u32,
    /// When it is tried next, where it waits.
    pub next_at: Timestamp,
    /// The last try.
    pub last: Option<Attempt>,
}

/// A webhook that is on disk, and an event of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Letter {
    /// To which webhook.
    pub webhook: WebhookKey,
    /// Its number.
    pub n: u64,
    /// What stands for its subject: see [`subject_mark`].
    pub subject: u64,
    /// When it is to be tried.
    pub next_at: Timestamp,
}

/// What stands for a subject in memory. Two subjects with one mark would only wait for each other.
pub fn subject_mark(subject: &str) -> u64 {
    let hash = derive_bytes("subject", &[subject.as_bytes()]);
    hash.first_chunk::<8>().map_or(0, |bytes| u64::from_be_bytes(*bytes))
}

/// Who takes events out into the world. Learns of an event when it is on disk; must not block.
pub trait EventSink: Send + Sync + 'static {
    /// These are on disk and wait.
    fn queued(&self, letters: Vec<Letter>);
}

/// One webhook as decisions see it.
#[derive(Debug)]
struct Subscription {
    key: WebhookKey,
    types: EventTypes,
    subject: Option<String>,
    /// How many of its events wait.
    waiting: Arc<AtomicUsize>,
}

impl Subscription {
    fn new(key: WebhookKey, row: &WebhookRow, waiting: Arc<AtomicUsize>) -> Subscription {
        let types = row.types.iter().filter_map(|word| EventType::parse(word)).collect();
        Subscription { key, types, subject: row.subject.clone(), waiting }
    }
    fn wants(&self, event: &EventOut) -> bool {
        self.types.has(event.kind) && self.subject.as_ref().is_none_or(|subject| *subject == event.subject)
    }
}

/// All webhooks, by tenant.
#[derive(Debug, Clone, Default)]
struct Subscriptions {
    retailers: BTreeMap<RetailerId, Vec<Arc<Subscription>>>,
    makers: BTreeMap<MakerId, Vec<Arc<Subscription>>>,
}

impl Subscriptions {
    fn is_empty(&self) -> bool {
        self.retailers.is_empty() && self.makers.is_empty()
    }
    fn of(&self, tenant: &Tenant) -> &[Arc<Subscription>] {
        let found = match tenant {
            Tenant::Operator => None,
            Tenant::Retailer(retailer) => self.retailers.get(retailer),
            Tenant::Maker(maker) => self.makers.get(maker),
        };
        found.map_or(&[], Vec::as_slice)
    }
    fn set(&mut self, key: &WebhookKey, row: Option<&WebhookRow>) {
        let place = match &key.tenant {
            Tenant::Operator => return,
            Tenant::Retailer(retailer) => self.retailers.entry(retailer.clone()).or_default(),
            Tenant::Maker(maker) => self.makers.entry(maker.clone()).or_default(),
        };
        let known = place.iter().position(|known| known.key == *key).map(|at| place.remove(at));
        if let Some(row) = row {
            let waiting = known.map(|known| Arc::clone(&known.waiting)).unwrap_or_default();
            place.push(Arc::new(Subscription::new(key.clone(), row, waiting)));
        }
        self.retailers.retain(|_, webhooks| !webhooks.is_empty());
        self.makers.retain(|_, webhooks| !webhooks.is_empty());
    }
}

fn all_types(webhooks: Option<&Vec<Arc<Subscription>>>) -> EventTypes {
    webhooks.into_iter().flatten().fold(EventTypes::NONE, |types, webhook| types.or(webhook.types))
}

impl Wanted for Subscriptions {
    fn by_retailer(&self, retailer: &RetailerId) -> EventTypes {
        all_types(self.retailers.get(retailer))
    }
    fn by_maker(&self, maker: &MakerId) -> EventTypes {
        all_types(self.makers.get(maker))
    }
}

/// What shards share of it.
pub(super) struct Events {
    subscriptions: ArcSwap<Subscriptions>,
    next: AtomicU64,
    sink: RwLock<Option<Arc<dyn EventSink>>>,
    /// Held over a change of the subscriptions.
    changing: std::sync::Mutex<()>,
    made: Counter,
    dropped: Counter,
}

impl Events {
    /// Reads who wants what, so that nothing is missed from the first decision on.
    pub(super) fn open(store: &dyn Store) -> Result<Events, StoreError> {
        let mut subscriptions = Subscriptions::default();
        let mut next = 1;
        rows::walk(store, &keys::webhooks(), |key, bytes| {
            let Some((tenant, id)) = keys::webhook_of(key) else { return Ok(true) };
            let (row, key) = (codec::decode::<WebhookRow>(Schema::Webhook, key, bytes)?, WebhookKey { tenant, id });
            let last = store.scan_back(&key.events(), None, 1)?;
            next = last.first().map_or(next, |(key, _)| next.max(keys::number_of(key) + 1));
            subscriptions.set(&key, Some(&row));
            Ok(true)
        })?;
        Ok(Events {
            subscriptions: ArcSwap::from_pointee(subscriptions),
            next: AtomicU64::new(next),
            sink: RwLock::default(),
            changing: std::sync::Mutex::default(),
            made: metrics::counter!(names::EVENTS),
            dropped: metrics::counter!(names::EVENTS_DROPPED),
        })
    }

    /// What is told of a decision about a home as it was before.
    pub(super) fn of_decision(
        &self,
        home: &Household,
        input: &Input,
        decision: &Decision,
        rules: &RuleSet,
    ) -> Vec<EventOut> {
        let subscriptions = self.subscriptions.load();
        if subscriptions.is_empty() {
            return Vec::new();
        }
        event_out::events(home, input, decision, rules, &**subscriptions)
    }

    /// Rows of events, one for each webhook that wants it, and what is told of them once they are on
    /// disk.
    pub(super) fn stage(&self, events: &[EventOut], now: Timestamp, writes: &mut Vec<Write>) -> Vec<Letter> {
        let subscriptions = self.subscriptions.load();
        let mut letters = Vec::new();
        for event in events {
            let mut body = None;
            for webhook in subscriptions.of(&event.to).iter().filter(|webhook| webhook.wants(event)) {
                let waiting = webhook.waiting.fetch_add(1, Ordering::Relaxed);
                if waiting >= WAITING_EVENTS_MAX && !event.kind.is_about_an_order() {
                    webhook.waiting.fetch_sub(1, Ordering::Relaxed);
                    self.dropped.increment(1);
                    continue;
                }
                let n = self.next.fetch_add(1, Ordering::Relaxed);
                let body: &Vec<u8> = body.get_or_insert_with(|| event.body());
                let row = EventRow {
                    id: event.id,
                    kind: event.kind.as_str().to_owned(),
                    subject: event.subject.clone(),
                    household: event.household,
                    at: event.at,
                    body: body.clone(),
                    state: EventState::Waiting,
                    since: now,
                    attempts: 0,
                    next_at: now,
                    last: None,
                };
                writes.push(rows::put(Schema::Event, webhook.key.event(n), &row));
                let subject = subject_mark(&event.subject);
                letters.push(Letter { webhook: webhook.key.clone(), n, subject, next_at: now });
                self.made.increment(1);
            }
        }
        letters
    }

    /// Rows are on disk.
    pub(super) fn stand(&self, letters: Vec<Letter>) {
        if letters.is_empty() {
            return;
        }
        // Without anybody to take them out they are found on disk by whoever comes.
        if let Some(sink) = &*self.sink.read().unwrap_or_else(PoisonError::into_inner) {
            sink.queued(letters);
        }
    }

    /// Rows are not on disk, as far as the store says; where it kept them after all, they stand.
    pub(super) fn failed(&self, letters: Vec<Letter>, store: &dyn Store) {
        let (kept, lost): (Vec<_>, Vec<_>) =
            letters.into_iter().partition(|letter| matches!(store.get(&letter.webhook.event(letter.n)), Ok(Some(_))));
        for letter in lost {
            self.settled(&letter.webhook, 1);
        }
        self.stand(kept);
    }

    fn settled(&self, key: &WebhookKey, number: usize) {
        let subscriptions = self.subscriptions.load();
        if let Some(webhook) = subscriptions.of(&key.tenant).iter().find(|webhook| webhook.key == *key) {
            let less = |waiting: usize| Some(waiting.saturating_sub(number));
            let _ = webhook.waiting.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
        }
    }
}

impl Prepared {
    /// What is told of it, into its commit.
    pub(super) fn tell(&mut self, house: &House, mut events: Vec<EventOut>, now: Timestamp) {
        events.extend(self.draws.thresholds_reached(now));
        if !events.is_empty() {
            self.letters = house.events.stage(&events, now, &mut self.writes);
        }
    }
}

impl Engine {
    /// Who takes events out into the world. Until it is set they wait on disk.
    pub fn set_event_sink(&self, sink: Option<Arc<dyn EventSink>>) {
        *self.house().events.sink.write().unwrap_or_else(PoisonError::into_inner) = sink;
    }

    /// A webhook is on disk as it is now, or is there no more: the next decision knows.
    pub fn subscribe(&self, key: &WebhookKey, row: Option<&WebhookRow>) {
        let events = &self.house().events;
        let _changing = events.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut subscriptions = (**events.subscriptions.load()).clone();
        subscriptions.set(key, row);
        events.subscriptions.store(Arc::new(subscriptions));
    }

    /// So many events of a webhook wait.
    pub fn set_waiting_events(&self, key: &WebhookKey, number: usize) {
        let subscriptions = self.house().events.subscriptions.load();
        if let Some(webhook) = subscriptions.of(&key.tenant).iter().find(|webhook| webhook.key == *key) {
            webhook.waiting.store(number, Ordering::Relaxed);
        }
    }

    /// So many events of a webhook that waited do so no more.
    pub fn settle_events(&self, key: &WebhookKey, number: usize) {
        self.house().events.settled(key, number);
    }

    /// Tells events that follow from no home's decision; durable on return.
    pub async fn tell(&self, events: &[EventOut]) -> Result<(), StoreError> {
        let mut writes = Vec::new();
        let telling = self.telling(events, NOT_SEALED, &mut writes);
        if writes.is_empty() {
            return Ok(());
        }
        self.write(Commit { preconditions: Vec::new(), writes }).await?;
        telling.stand();
        Ok(())
    }

    /// Rows of events for the commit of what they tell of, sealed with somebody's key.
    pub fn telling(&self, events: &[EventOut], key: KeyId, writes: &mut Vec<Write>) -> Telling<'_> {
        let mut rows = Vec::new();
        let letters = self.house().events.stage(events, self.clock().now(), &mut rows);
        for row in &mut rows {
            if let Write::Put(_, bytes) = row {
                codec::belong_to(key, bytes);
            }
        }
        writes.extend(rows);
        Telling { engine: self, letters }
    }

    /// Events that are on disk go out.
    pub fn tell_standing(&self, letters: Vec<Letter>) {
        self.house().events.stand(letters);
    }
}

/// Events on their way to the disk, in a commit of somebody else's. Dropped, they are not told, unless the store
/// kept them.
#[must_use = "events that are not said to stand are taken back"]
pub struct Telling<'e> {
    engine: &'e Engine,
    letters: Vec<Letter>,
}

impl Telling<'_> {
    /// They are on disk, and go out.
    pub fn stand(self) {
        let engine = self.engine;
        engine.tell_standing(self.keep());
    }
    /// They are on disk, and go out when it is said so; at the next start by themselves.
    pub fn keep(mut self) -> Vec<Letter> {
        std::mem::take(&mut self.letters)
    }
}

impl Drop for Telling<'_> {
    fn drop(&mut self) {
        let letters = std::mem::take(&mut self.letters);
        if !letters.is_empty() {
            self.engine.house().events.failed(letters, &**self.engine.store());
        }
    }
}
