//! `Idempotency-Key`: the same request twice is done once, and answered twice.
//!
//! The answer is kept for 24 hours under the token and the key, with a hash of the request, so
//! that the same key with another request is noticed. Only answers of success are kept: a refused
//! request changed nothing and may be tried again. Answers that show a secret are not kept; their
//! repeat is told so. An answer may be about anybody, so all of a day are sealed with one key, which is
//! destroyed when the last of them has ended.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use hearthway_core::id::{MessageId, base32, derive_bytes};
use hearthway_core::time::{Span, Timestamp};
use serde::{Deserialize, Serialize};
use tracing::warn;

use super::tokens::Caller;
use super::{App, Failure, rows};
use crate::engine::Engine;
use crate::store::codec::{self, Schema};
use crate::store::keys::{Key, KeyBuilder, table};
use crate::store::sealed::Subject;
use crate::store::{StoreError, Write};

/// How long an answer is kept.
const KEPT_FOR: Span = Span::hours(24);
/// Bytes of a kept body: below what the store keeps in one value.
const BODY_BYTES_MAX: usize = 48 * 1024;
/// Requests with a key that run at once.
const RUNNING_MAX: usize = 10_000;
/// Old answers that are swept away in one go.
const SWEPT_AT_ONCE: usize = 256;

/// An answer as kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct AnswerRow {
    at: Timestamp,
    request_hash: [u8; 32],
    status: u16,
    content_type: String,
    /// None where the answer showed a secret, or was too long to keep.
    body: Option<Vec<u8>>,
}

/// What is known of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Known {
    /// Nothing: go on. The request is marked as running until [`App::keep_answer`] or [`App::forget_request`].
    New,
    /// Answered before.
    Answered {
        /// Status.
        status: u16,
        /// Content type.
        content_type: String,
        /// Body.
        body: Vec<u8>,
    },
    /// Done before, but its answer cannot be shown again.
    NotShownAgain,
    /// Used for another request.
    OtherRequest,
    /// The first request with this key has not ended.
    Running,
}

/// An answer to be kept.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Status.
    pub status: u16,
    /// Content type.
    pub content_type: String,
    /// Body; none where it shows a secret.
    pub body: Option<Vec<u8>>,
}

/// Answers between two sweeps, each of which looks at several times as many.
const ANSWERS_PER_SWEEP: u64 = 64;

#[derive(Default)]
pub(crate) struct Idempotency {
    running: Mutex<BTreeSet<Key>>,
    swept_to: Mutex<Option<Key>>,
    /// Answers that were kept since the start.
    kept: AtomicU64,
    /// The day whose predecessors' keys are destroyed.
    day: Mutex<u64>,
}

/// A request by its token and key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestKey {
    key: Key,
    request_hash: [u8; 32],
}

tokio::task_local! {
    /// The call that the running work is part of, where its caller named it.
    static CALL: MessageId;
}

/// Does the work of a call that its caller may repeat: what it asks of a home is known by the call.
pub async fn within<T>(request: &RequestKey, work: impl Future<Output = T>) -> T {
    let hash = derive_bytes("call", &[request.key.0.as_slice(), &request.request_hash]);
    match MessageId::new(base32(&hash)) {
        Ok(call) => CALL.scope(call, work).await,
        Err(_) => work.await,
    }
}

/// By what the running call is known; none where its caller did not name it.
pub(crate) fn call() -> Option<MessageId> {
    CALL.try_with(MessageId::clone).ok()
}

impl RequestKey {
    /// What identifies a request: who sends it, the key they chose, and what the request is.
    pub fn new(who: &Caller, chosen: &str, method: &str, path: &str, body: &[u8]) -> RequestKey {
        let chosen = derive_bytes("idempotency key", &[chosen.as_bytes()]);
        let key = KeyBuilder::table(table::IDEMPOTENCY).name(who.token()).fixed(&chosen).key();
        let request_hash = derive_bytes("idempotent request", &[method.as_bytes(), path.as_bytes(), body]);
        RequestKey { key, request_hash }
    }
}

impl Idempotency {
    /// Sweeps away what is too old.
    pub(crate) async fn open(engine: &Engine) -> Result<Idempotency, Failure> {
        let this = Idempotency::default();
        while this.sweep(engine).await? {}
        Ok(this)
    }

    /// Removes all that are too old.
    pub(crate) async fn sweep_all(&self, engine: &Engine) -> Result<(), Failure> {
        // The stretch at hand may be in the middle: to the end, and once from the first.
        for _ in 0..2 {
            while self.sweep(engine).await? {
                tokio::task::yield_now().await;
            }
        }
        Ok(())
    }

    /// Looks at the next stretch of answers and removes the old ones; false after the last stretch.
    async fn sweep(&self, engine: &Engine) -> Result<bool, Failure> {
        let after = self.swept_to.lock().expect("no holder of this lock panics").take();
        let now = engine.clock().now();
        let prefix = KeyBuilder::table(table::IDEMPOTENCY).prefix();
        let found = engine.store().scan(&prefix, after.as_ref(), SWEPT_AT_ONCE)?;
        let last = found.last().map(|(key, _)| key.clone());
        let is_old = |key: &Key, bytes: &[u8]| match codec::decode::<AnswerRow>(Schema::Idempotency, key, bytes) {
            Ok(row) => row.at + KEPT_FOR <= now,
            Err(error) => matches!(error, StoreError::Erased { .. }),
        };
        let old: Vec<Write> =
            found.into_iter().filter(|(key, bytes)| is_old(key, bytes)).map(|(key, _)| Write::Delete(key)).collect();
        if !old.is_empty() {
            rows::write(engine, old).await?;
        }
        self.end_days(engine, now)?;
        let more = last.is_some();
        *self.swept_to.lock().expect("no holder of this lock panics") = last;
        Ok(more)
    }
}

impl Idempotency {
    /// Once a day the key ends under which no answer is left that is still given.
    pub(crate) fn end_days(&self, engine: &Engine, now: Timestamp) -> Result<(), Failure> {
        let first = day_of(now - KEPT_FOR);
        let mut done = self.day.lock().expect("no holder of this lock panics");
        if let Some(vault) = engine.store().vault().filter(|_| *done < first) {
            vault.end_days_before(first)?;
            *done = first;
        }
        Ok(())
    }
}

/// The day whose key opens what it sealed until an instant at least, and when that key ends.
pub(super) fn day_until(at: Timestamp) -> (u64, Timestamp) {
    let day = day_of(at - KEPT_FOR);
    let end = Span::days(i64::try_from(day).unwrap_or(i64::MAX / Span::days(1).0 - 1) + 1);
    (day, Timestamp(end.0) + KEPT_FOR)
}

/// Days since 1970.
fn day_of(at: Timestamp) -> u64 {
    u64::try_from(at.0 / Span::days(1).0).unwrap_or(0)
}

impl App {
    /// What is known of a request's key; marks it as running where that is nothing.
    pub fn begin_request(&self, request: &RequestKey) -> Result<Known, Failure> {
        let mut running = self.idempotency.running.lock().expect("no holder of this lock panics");
        if running.contains(&request.key) || running.len() >= RUNNING_MAX {
            return Ok(Known::Running);
        }
        let row: Option<AnswerRow> = rows::get(&**self.engine.store(), Schema::Idempotency, &request.key)?;
        match row.filter(|row| self.now() < row.at + KEPT_FOR) {
            None => {
                running.insert(request.key.clone());
                Ok(Known::New)
            }
            Some(row) if row.request_hash != request.request_hash => Ok(Known::OtherRequest),
            Some(AnswerRow { status, content_type, body: Some(body), .. }) => {
                Ok(Known::Answered { status, content_type, body })
            }
            Some(_) => Ok(Known::NotShownAgain),
        }
    }

    /// The request ended without an answer worth keeping.
    pub fn forget_request(&self, request: &RequestKey) {
        self.idempotency.running.lock().expect("no holder of this lock panics").remove(&request.key);
    }

    async fn write_answer(&self, request: &RequestKey, row: &AnswerRow) -> Result<(), Failure> {
        let mut bytes = codec::encode(Schema::Idempotency, row);
        if let Some(vault) = self.engine.store().vault() {
            codec::belong_to(vault.key_for(Subject::day(day_of(row.at)))?, &mut bytes);
        }
        rows::write(&self.engine, vec![Write::Put(request.key.clone(), bytes)]).await
    }

    /// Keeps an answer, durable on return, and sweeps a few old ones away.
    pub async fn keep_answer(&self, request: &RequestKey, answer: Answer) {
        let row = AnswerRow {
            at: self.now(),
            request_hash: request.request_hash,
            status: answer.status,
            content_type: answer.content_type,
            body: answer.body.filter(|body| body.len() <= BODY_BYTES_MAX),
        };
        if let Err(error) = self.write_answer(request, &row).await {
            warn!("An answer could not be kept for its Idempotency-Key: {error}");
        }
        self.forget_request(request);
        // Each sweep reads what several answers take: now and then is enough to remove more than come.
        let is_time = self.idempotency.kept.fetch_add(1, Ordering::Relaxed).is_multiple_of(ANSWERS_PER_SWEEP);
        if is_time && let Err(error) = self.idempotency.sweep(&self.engine).await {
            warn!("Old answers kept for Idempotency-Key could not be swept away: {error}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_days_key_opens_until_the_instant_that_was_asked_for_and_ends_a_day_later_at_most() {
        for hours in 0..72 {
            let at = Timestamp(1_774_000_000_000) + Span::hours(hours);
            let (day, end) = day_until(at);
            assert!(end > at && end <= at + Span::days(1), "{at}: {end}");
            let is_over = |now: Timestamp| day_of(now - KEPT_FOR) > day;
            assert!(!is_over(at) && !is_over(end - Span(1)) && is_over(end), "{at}: {end}");
        }
    }
}
