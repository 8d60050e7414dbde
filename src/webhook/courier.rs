//! Takes events out into the world: which is next says [`Queue`], how it is said [`Wire`], and what
//! became of it is written into its row before the next event about the same subject goes.
//!
//! The rows are the truth. A gateway that is killed between a receiver's answer and the writing of
//! it tells the event again, with the same id.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use hearthway_core::event_out::{EventOut, EventType};
use hearthway_core::time::{Span, Timestamp};
use metrics::{Counter, Gauge, Histogram};
use serde_json::json;
use tokio::sync::{Notify, Semaphore};
use tokio::task::JoinSet;

use super::metrics as names;
use super::queue::{Queue, Turned, wait_after};
use super::sign::{self, SECRET_BYTES};
use super::wire::{Answered, Letterhead, Wire};
use crate::engine::events::{
    Attempt, EventRow, EventSink, EventState, Letter, SecretSeed, WebhookKey, WebhookRow, subject_mark,
};
use crate::engine::rows::{unless_erased, walk};
use crate::engine::{Engine, entropy};
use crate::store::codec::{self, Schema};
use crate::store::keys::{Key, number_of};
use crate::store::{Commit, Precondition, StoreError, Write};

/// Tries at once, of all webhooks together: sockets and bodies in memory.
pub const IN_FLIGHT_MAX: usize = 64;
/// How long an event is tried before it is given up.
pub const TRIED_FOR: Span = Span::days(3);
/// Calls of `test` at once.
const TESTS_AT_ONCE_MAX: usize = 8;
/// How long nothing is tried after the store could not write down what became of a try.
const STORE_PAUSE: Span = Span::seconds(5);
/// Rows that one commit of a replay or a deletion has.
const ROWS_PER_COMMIT: usize = 256;
/// Characters of what went wrong that are kept.
const ERROR_CHARS_MAX: usize = 200;
/// The status by which a receiver says that it wants nothing more.
const GONE: u16 = 410;
/// Those by which it says that it is too much for it, whatever the event.
const TOO_MANY_REQUESTS: u16 = 429;
const UNAVAILABLE: u16 = 503;

/// Where secrets come from: the master key, and what the row says.
pub type Secrets = Arc<dyn Fn(&SecretSeed) -> [u8; SECRET_BYTES] + Send + Sync>;

/// Takes events out. A clone is the same courier.
#[derive(Clone)]
pub struct Courier(Arc<Inner>);

struct Inner {
    engine: Engine,
    wire: Wire,
    secrets: Secrets,
    queue: Mutex<Queue>,
    wake: Notify,
    tests: Semaphore,
    meters: Meters,
}

struct Meters {
    delivered: Counter,
    failed: Counter,
    dead: Counter,
    waiting: Gauge,
    disabled: Gauge,
    seconds: Histogram,
}

/// A webhook's numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// Events that wait.
    pub waiting: usize,
    /// Dead letters.
    pub dead: usize,
}

impl Courier {
    /// Reads back what waits, and hears of what comes from here on.
    pub fn open(engine: Engine, wire: Wire, secrets: Secrets) -> Result<Courier, StoreError> {
        let meters = Meters {
            delivered: metrics::counter!(names::DELIVERED),
            failed: metrics::counter!(names::FAILED),
            dead: metrics::counter!(names::DEAD),
            waiting: metrics::gauge!(names::WAITING),
            disabled: metrics::gauge!(names::DISABLED),
            seconds: metrics::histogram!(names::ATTEMPT_SECONDS),
        };
        let (queue, wake, tests) = (Mutex::default(), Notify::new(), Semaphore::new(TESTS_AT_ONCE_MAX));
        let courier = Courier(Arc::new(Inner { engine, wire, secrets, queue, wake, tests, meters }));
        let store = Arc::clone(courier.0.engine.store());
        let mut webhooks = Vec::new();
        walk(&*store, &crate::store::keys::webhooks(), |key, bytes| {
            let row: WebhookRow = codec::decode(Schema::Webhook, key, bytes)?;
            if let Some((tenant, id)) = crate::store::keys::webhook_of(key) {
                webhooks.push((WebhookKey { tenant, id }, row.disabled.is_some()));
            }
            Ok(true)
        })?;
        webhooks.iter().for_each(|(key, is_disabled)| courier.0.lock().open(key, *is_disabled));
        // First, so that nothing falls between the reading and the hearing; twice is once.
        courier.0.engine.set_event_sink(Some(Arc::new(courier.clone())));
        for (key, _) in &webhooks {
            courier.read_back(key)?;
        }
        courier.0.count();
        Ok(courier)
    }

    fn read_back(&self, key: &WebhookKey) -> Result<(), StoreError> {
        let (store, now) = (Arc::clone(self.0.engine.store()), self.0.now());
        walk(&*store, &key.events(), |at, bytes| {
            let Some(row) = unless_erased(codec::decode::<EventRow>(Schema::Event, at, bytes))? else {
                return Ok(true);
            };
            let n = number_of(at);
            let mut queue = self.0.lock();
            match row.state {
                EventState::Waiting => queue.push(&letter(key, n, &row), now),
                EventState::Delivered | EventState::Dead => {
                    queue.keep(key, n, row.state, row.last.as_ref().map_or(row.at, |last| last.at));
                }
            }
            Ok(true)
        })?;
        let waiting = self.0.lock().waiting(key);
        self.0.engine.set_waiting_events(key, waiting);
        Ok(())
    }

    /// Works until it is dropped or the engine is closed.
    pub async fn run(&self) {
        let clock = Arc::clone(self.0.engine.clock());
        let mut tries = JoinSet::new();
        while !self.0.engine.is_closed() {
            let now = self.0.now();
            while tries.len() < IN_FLIGHT_MAX {
                let Some((key, n, subject)) = self.0.lock().take(now) else { break };
                let inner = Arc::clone(&self.0);
                tries.spawn(async move { inner.take_out(key, n, subject).await });
            }
            self.0.count();
            let due = self.0.lock().next_due();
            let is_full = tries.len() >= IN_FLIGHT_MAX;
            tokio::select! {
                () = self.0.wake.notified() => {}
                Some(_) = tries.join_next(), if !tries.is_empty() => {}
                () = clock.sleep_until(due.unwrap_or(now)), if due.is_some() && !is_full => {}
            }
        }
    }

    /// A webhook was made or changed.
    pub fn opened(&self, key: &WebhookKey, row: &WebhookRow) {
        self.0.engine.subscribe(key, Some(row));
        self.0.lock().open(key, row.disabled.is_some());
        self.0.wake.notify_one();
    }

    /// A webhook was deleted: its events go too.
    pub async fn closed(&self, key: &WebhookKey) -> Result<(), StoreError> {
        self.0.engine.subscribe(key, None);
        self.0.lock().close(key);
        loop {
            let rows = self.0.engine.store().scan(&key.events(), None, ROWS_PER_COMMIT)?;
            if rows.is_empty() {
                return Ok(());
            }
            let writes = rows.into_iter().map(|(key, _)| Write::Delete(key)).collect();
            self.0.engine.write(Commit { preconditions: Vec::new(), writes }).await?;
        }
    }

    /// Tells again what was given up and, where wished, what was told, of all that happened at or
    /// after `from`. Gives how many.
    pub async fn replay(&self, key: &WebhookKey, from: Timestamp, told_too: bool) -> Result<usize, StoreError> {
        let (mut after, mut number): (Option<Key>, usize) = (None, 0);
        loop {
            let page = self.0.engine.store().scan(&key.events(), after.as_ref(), ROWS_PER_COMMIT)?;
            let Some((last, _)) = page.last() else { return Ok(number) };
            after = Some(last.clone());
            let (mut writes, mut letters) = (Vec::new(), Vec::new());
            let now = self.0.now();
            for (at, bytes) in &page {
                let Some(row) = unless_erased(codec::decode::<EventRow>(Schema::Event, at, bytes))? else { continue };
                let is_wanted = row.state == EventState::Dead || (told_too && row.state == EventState::Delivered);
                if is_wanted && row.at >= from {
                    let row = EventRow { state: EventState::Waiting, since: now, next_at: now, attempts: 0, ..row };
                    letters.push(letter(key, number_of(at), &row));
                    writes.push(Write::Put(at.clone(), written_over(bytes, &row)));
                }
            }
            if letters.is_empty() {
                continue;
            }
            let numbers: Vec<u64> = letters.iter().map(|letter| letter.n).collect();
            // Out of what is kept first, so that none goes by its age while it is told again.
            self.0.lock().unkeep(key, &numbers);
            self.0.engine.write(Commit { preconditions: Vec::new(), writes }).await?;
            number += letters.len();
            let waiting = {
                let mut queue = self.0.lock();
                letters.iter().for_each(|letter| queue.push(letter, now));
                queue.waiting(key)
            };
            self.0.engine.set_waiting_events(key, waiting);
            self.0.wake.notify_one();
        }
    }

    /// Says a word to a receiver at once, and how it went. Nothing is kept of it.
    pub async fn test(&self, key: &WebhookKey, row: &WebhookRow) -> (EventOut, Attempt) {
        let now = self.0.now();
        let data = json!({"webhook": key.id});
        let drawn = entropy::draw().to_be_bytes();
        let event = EventOut::of_tenant(&key.tenant, EventType::WebhookTest, key.id.as_str(), &[&drawn], now, data);
        let _turn = self.0.tests.acquire().await;
        let (attempt, _) = self.0.say(row, &event.id.to_string(), event.body()).await;
        (event, attempt)
    }

    /// A webhook's numbers.
    pub fn standing(&self, key: &WebhookKey) -> Standing {
        let queue = self.0.lock();
        Standing { waiting: queue.waiting(key), dead: queue.dead(key) }
    }

    /// A secret as its receiver keeps it.
    pub fn secret(&self, seed: &SecretSeed) -> String {
        sign::secret_text(&(self.0.secrets)(seed))
    }

    /// How far webhooks may reach.
    pub fn reach(&self) -> super::address::Reach {
        self.0.wire.reach()
    }

    /// What somebody should look at.
    pub fn complaints(&self) -> Vec<String> {
        let queue = self.0.lock();
        let ((_, disabled), resting) = (queue.sums(), queue.resting());
        let disabled = (disabled > 0).then(|| format!("{disabled} are disabled: their receivers said 410"));
        let resting = (resting > 0).then(|| format!("{resting} are not heard: their receivers do not answer"));
        disabled.into_iter().chain(resting).collect()
    }
}

/// An event with what became of it, sealed with the key of the home that it tells of, as it was.
fn written_over(stored: &[u8], row: &EventRow) -> Vec<u8> {
    let mut bytes = codec::encode(Schema::Event, row);
    codec::belong_to(codec::key_of(stored), &mut bytes);
    bytes
}

#[cfg(test)]
impl Courier {
    /// When the next event is due, for a test that turns the clock.
    pub(super) fn next_due(&self) -> Option<Timestamp> {
        self.0.lock().next_due()
    }
    /// Whether nothing is under way and nothing is due.
    pub(super) fn is_quiet(&self) -> bool {
        self.0.lock().is_quiet(self.0.now())
    }
}

impl EventSink for Courier {
    fn queued(&self, letters: Vec<Letter>) {
        let now = self.0.now();
        let mut queue = self.0.lock();
        letters.iter().for_each(|letter| queue.push(letter, now));
        drop(queue);
        self.0.wake.notify_one();
    }
}

impl Inner {
    fn now(&self) -> Timestamp {
        self.engine.clock().now()
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn count(&self) {
        let (waiting, disabled) = self.lock().sums();
        self.meters.waiting.set(waiting as f64);
        self.meters.disabled.set(disabled as f64);
    }

    /// One event's turn, from its row to its row.
    async fn take_out(&self, key: WebhookKey, n: u64, subject: u64) {
        let turned = match self.try_once(&key, n).await {
            Ok(turned) => turned,
            Err(error) => {
                tracing::warn!(%error, "An event to a webhook waits for the store");
                Turned::Again(self.now() + STORE_PAUSE)
            }
        };
        let gone = self.lock().turned(&key, subject, n, turned, self.now(), entropy::draw());
        if matches!(turned, Turned::Delivered | Turned::Dead | Turned::Gone) {
            self.engine.settle_events(&key, 1);
        }
        if !gone.is_empty() {
            let writes = gone.into_iter().map(|n| Write::Delete(key.event(n))).collect();
            // What stays is found old again at the next start.
            if let Err(error) = self.engine.write(Commit { preconditions: Vec::new(), writes }).await {
                tracing::warn!(%error, "Old events of a webhook stay");
            }
        }
        self.wake.notify_one();
    }

    async fn try_once(&self, key: &WebhookKey, n: u64) -> Result<Turned, StoreError> {
        let store = self.engine.store();
        let (at, of) = (key.event(n), key.row());
        let (Some(stored), Some(webhook_bytes)) = (store.get(&at)?, store.get(&of)?) else { return Ok(Turned::Gone) };
        let found = unless_erased(codec::decode::<EventRow>(Schema::Event, &at, &stored))?;
        let Some(mut row) = found else { return Ok(Turned::Gone) };
        let webhook: WebhookRow = codec::decode(Schema::Webhook, &of, &webhook_bytes)?;
        if webhook.disabled.is_some() {
            self.lock().disable(key);
            return Ok(Turned::Again(self.now()));
        }
        let (attempt, retry_after) = self.say(&webhook, &row.id.to_string(), row.body.clone()).await;
        let now = self.now();
        let is_delivered = attempt.error.is_none();
        row.attempts = row.attempts.saturating_add(1);
        let mut writes = Vec::new();
        let turned = if is_delivered {
            row.state = EventState::Delivered;
            Turned::Delivered
        } else if attempt.status == Some(GONE) {
            row.next_at = now;
            self.disable(key, &webhook_bytes, &webhook, now).await?;
            Turned::Again(now)
        } else if now - row.since >= TRIED_FOR {
            row.state = EventState::Dead;
            Turned::Dead
        } else {
            let wait = wait_after(row.attempts, entropy::draw()).max(retry_after.unwrap_or_default());
            row.next_at = now + wait.min(TRIED_FOR);
            if let (Some(wait), Some(TOO_MANY_REQUESTS | UNAVAILABLE)) = (retry_after, attempt.status) {
                self.lock().rest(key, now + wait.min(TRIED_FOR));
            }
            Turned::Again(row.next_at)
        };
        match turned {
            Turned::Delivered => self.meters.delivered.increment(1),
            Turned::Dead => self.meters.dead.increment(1),
            Turned::Again(_) | Turned::Gone => self.meters.failed.increment(1),
        }
        row.last = Some(attempt);
        // The last word about a person is kept no longer than it has to be tried.
        let is_over = matches!(turned, Turned::Delivered | Turned::Dead);
        writes.push(match is_over && row.kind == EventType::ProfileErased.as_str() {
            true => Write::Delete(at.clone()),
            false => Write::Put(at.clone(), written_over(&stored, &row)),
        });
        // A webhook that was deleted meanwhile took its rows with it: none comes back.
        let preconditions = vec![Precondition::Equals(at, stored)];
        match self.engine.write(Commit { preconditions, writes }).await? {
            crate::store::Outcome::Committed => Ok(turned),
            // Sealed with another key meanwhile, as somebody of its home was erased: told once more, by the same id.
            crate::store::Outcome::Conflict { current: Some(_), .. } => Ok(Turned::Again(now)),
            crate::store::Outcome::Conflict { current: None, .. } => Ok(Turned::Gone),
        }
    }

    /// The receiver said 410. Who changes the webhook at the same moment knows better.
    async fn disable(
        &self,
        key: &WebhookKey,
        bytes: &[u8],
        row: &WebhookRow,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let reason = "the receiver answered 410: it wants no more events".to_owned();
        let row = WebhookRow { disabled: Some((now, reason)), ..row.clone() };
        let preconditions = vec![Precondition::Equals(key.row(), bytes.to_vec())];
        let writes = vec![Write::Put(key.row(), codec::encode(Schema::Webhook, &row))];
        if self.engine.write(Commit { preconditions, writes }).await? == crate::store::Outcome::Committed {
            tracing::warn!("A webhook is disabled: its receiver answered 410");
            self.lock().disable(key);
        }
        Ok(())
    }

    /// Says an event once; with what the receiver says about when to come again.
    async fn say(&self, webhook: &WebhookRow, id: &str, body: Vec<u8>) -> (Attempt, Option<Span>) {
        let (at, begun) = (self.now(), Instant::now());
        let former = webhook.former.filter(|(_, until)| at < *until).map(|(seed, _)| seed);
        let secrets: Vec<_> = [Some(webhook.seed), former].iter().flatten().map(|seed| (self.secrets)(seed)).collect();
        let timestamp_seconds = at.0.div_euclid(1_000);
        let signatures = sign::signatures(&secrets, id, timestamp_seconds, &body);
        let head = Letterhead { id: id.to_owned(), timestamp_seconds, signatures };
        let answered = self.wire.post(&webhook.url, &head, body).await;
        let took = begun.elapsed();
        self.meters.seconds.record(took.as_secs_f64());
        let took_ms = u32::try_from(took.as_millis()).unwrap_or(u32::MAX);
        let (status, error, retry_after) = match answered {
            Ok(Answered { status, .. }) if (200..300).contains(&status) => (Some(status), None, None),
            Ok(Answered { status, retry_after }) => {
                let wait = retry_after.and_then(|text| span_of(&text, self.now()));
                (Some(status), Some(refusal(status)), wait)
            }
            Err(error) => (None, Some(error.chars().take(ERROR_CHARS_MAX).collect()), None),
        };
        (Attempt { at, took_ms, status, error }, retry_after)
    }
}

fn refusal(status: u16) -> String {
    match status {
        300..400 => format!("{status}: redirects are not followed; write the URL that it leads to"),
        GONE => "410: the receiver wants no more events".to_owned(),
        status => format!("{status}: only 2xx means that the receiver has it"),
    }
}

/// `Retry-After`: seconds, or an instant.
fn span_of(text: &str, now: Timestamp) -> Option<Span> {
    if let Ok(seconds) = text.trim().parse::<u32>() {
        return Some(Span::seconds(seconds.into()));
    }
    let at = jiff::fmt::rfc2822::parse(text.trim()).ok()?;
    Some(Span((at.timestamp().as_millisecond() - now.0).max(0)))
}

fn letter(key: &WebhookKey, n: u64, row: &EventRow) -> Letter {
    Letter { webhook: key.clone(), n, subject: subject_mark(&row.subject), next_at: row.next_at }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_read_in_both_its_forms() {
        let now = Timestamp::parse_rfc3339("2026-11-23T12:00:00Z").unwrap_or_default();
        assert_eq!(span_of("120", now), Some(Span::minutes(2)));
        assert_eq!(span_of("Mon, 23 Nov 2026 12:00:30 GMT", now), Some(Span::seconds(30)));
        assert_eq!(span_of("Mon, 23 Nov 2026 11:00:00 GMT", now), Some(Span::ZERO), "it is past");
        assert_eq!(span_of("soon", now), None);
    }
}
