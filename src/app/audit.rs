//! Who changed what: an entry for each change that somebody made over HTTP, each chained to the one
//! before by its hash, so that an entry that is changed, removed or slipped in shows.
//!
//! An entry names ids and hashes, never contents: what is forgotten of a person stays forgotten
//! without breaking the chain.

use std::sync::Mutex;

use hearthway_core::id::{ProfileId, base32, derive_bytes};
use hearthway_core::model::Tenant;
use hearthway_core::time::Timestamp;
use metrics::Counter;
use serde::{Deserialize, Serialize};

use super::tokens::{Caller, Scope};
use super::{App, Failure, Page, PageQuery, rows};
use crate::engine::Engine;
use crate::observe::Declared;
use crate::store::codec::{self, Schema};
use crate::store::keys::{self, Key};
use crate::store::sealed::{blind, hidden_name};
use crate::store::{Store, StoreError};

/// Entries that wait for the store while it is in trouble. The API then refuses changes anyway.
const WAITING_MAX: usize = 1_000;
/// Entries written together.
const ENTRIES_PER_COMMIT: usize = 256;
/// Entries that one page looks at, so that a filter that fits nothing ends.
const LOOKED_AT_MAX: usize = 10_000;
/// Characters of a target: longer paths are none of ours.
pub const TARGET_CHARS_MAX: usize = 300;

/// Entries written.
const ENTRIES: &str = "audit_entries_total";
/// Entries that could not be written.
const LOST: &str = "audit_entries_lost_total";

/// The metrics of this area.
pub const METRICS: Declared = &[
    (ENTRIES, "count", "Changes over HTTP that the audit trail has an entry of."),
    (LOST, "count", "Changes over HTTP without an entry, because the store refused it for too long."),
];

/// One change, before it has its place in the chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// By which token.
    pub actor: String,
    /// In which role.
    pub role: String,
    /// Whose token it is.
    pub tenant: Tenant,
    /// The call, such as `POST /v1/triggers/{trigger}/publish`.
    pub action: String,
    /// What was changed, such as `triggers/filter-worn`.
    pub target: String,
    /// Whether it is a customer's business, which the operator does not see.
    pub is_about_a_customer: bool,
    /// SHA-256 of what it was, keyed where it is a customer's.
    pub before: Option<[u8; 32]>,
    /// The same of what it became.
    pub after: Option<[u8; 32]>,
    /// Whether the call ended without an answer, or with a failure of the gateway: it may be done, in part or whole.
    pub is_unfinished: bool,
}

/// An entry as it is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditRow {
    /// When it was written down, right after the change.
    pub at: Timestamp,
    /// The change.
    pub change: Change,
    /// The hash of the entry before.
    pub previous: [u8; 32],
    /// The hash of this one.
    pub hash: [u8; 32],
}

impl AuditRow {
    fn new(n: u64, at: Timestamp, change: Change, previous: [u8; 32]) -> AuditRow {
        let row = AuditRow { at, change, previous, hash: [0; 32] };
        AuditRow { hash: row.sealed(n), ..row }
    }

    /// What its hash must be at its place.
    fn sealed(&self, n: u64) -> [u8; 32] {
        let change = &self.change;
        let (kind, tenant) = match &change.tenant {
            Tenant::Operator => ("operator", ""),
            Tenant::Maker(maker) => ("maker", maker.as_str()),
            Tenant::Retailer(retailer) => ("retailer", retailer.as_str()),
        };
        let hash_or_none = |hash: &Option<[u8; 32]>| hash.map(|hash| hash.to_vec()).unwrap_or_default();
        let parts: [&[u8]; 12] = [
            &self.previous,
            &n.to_be_bytes(),
            &self.at.0.to_be_bytes(),
            change.actor.as_bytes(),
            change.role.as_bytes(),
            kind.as_bytes(),
            tenant.as_bytes(),
            change.action.as_bytes(),
            change.target.as_bytes(),
            &[u8::from(change.is_about_a_customer), u8::from(change.is_unfinished)],
            &hash_or_none(&change.before),
            &hash_or_none(&change.after),
        ];
        derive_bytes("audit", &parts)
    }

    /// Whether a caller may see it: its own tenant's, and for the operator what is no customer's business.
    fn is_visible_to(&self, tenant: &Tenant) -> bool {
        let change = &self.change;
        change.tenant == *tenant || (*tenant == Tenant::Operator && !change.is_about_a_customer)
    }
}

/// The end of the chain: how many entries there are, and the hash of the last. It stands in a row of its
/// own, so that entries that are missing at the end show as well.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// Entries so far.
    pub entries: u64,
    /// The last one's hash.
    pub hash: [u8; 32],
}

/// The trail of a running gateway.
pub(super) struct Trail {
    /// Held over a write: the chain has one end.
    head: tokio::sync::Mutex<Head>,
    /// Entries on their way; bounded by [`WAITING_MAX`].
    waiting: Mutex<Vec<(Timestamp, Change)>>,
    entries: Counter,
    lost: Counter,
}

impl Trail {
    pub(super) fn open(engine: &Engine) -> Result<Trail, StoreError> {
        let head = rows::get(&**engine.store(), Schema::Audit, &keys::audit_head())?.unwrap_or_default();
        Ok(Trail {
            head: tokio::sync::Mutex::new(head),
            waiting: Mutex::default(),
            entries: metrics::counter!(ENTRIES),
            lost: metrics::counter!(LOST),
        })
    }

    fn waiting(&self) -> std::sync::MutexGuard<'_, Vec<(Timestamp, Change)>> {
        self.waiting.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// Which entries are asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AuditFilter {
    /// At or after this instant.
    pub from: Option<Timestamp>,
    /// By this token.
    pub actor: Option<String>,
    /// About this, or what begins with it and a slash.
    pub target: Option<String>,
}

impl AuditFilter {
    fn fits(&self, row: &AuditRow) -> bool {
        let is_about = |target: &String| {
            row.change.target.strip_prefix(target.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        self.actor.as_ref().is_none_or(|actor| *actor == row.change.actor) && self.target.as_ref().is_none_or(is_about)
    }
}

/// A part of a path with its `%3A` written out; what is no such thing stays.
fn percent_decoded(part: &str) -> Vec<u8> {
    let (bytes, mut decoded, mut at) = (part.as_bytes(), Vec::with_capacity(part.len()), 0);
    while let Some(byte) = bytes.get(at) {
        let written = part.get(at + 1..at + 3).filter(|_| *byte == b'%');
        match written.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(code) => {
                decoded.push(code);
                at += 3;
            }
            None => {
                decoded.push(*byte);
                at += 1;
            }
        }
    }
    decoded
}

/// What the hidden name of a person begins with.
const HIDDEN: &str = "pr_";
/// Words in a path before the name of a person.
const BEFORE_A_PERSON: [&str; 3] = ["profiles", "members", "mandates"];
/// What else stands there.
const NO_PERSONS: [&str; 3] = ["merge", "merges", "lookup"];

impl App {
    /// A target with persons by a name that tells nobody who they are: the chain cannot forget one, so it never
    /// knows.
    pub fn unnamed(&self, tenant: &Tenant, target: &str) -> String {
        let Tenant::Retailer(retailer) = tenant else { return target.to_owned() };
        let mut before = "";
        let parts = target.split('/').map(|part| {
            let is_person = BEFORE_A_PERSON.contains(&before) && !NO_PERSONS.contains(&part);
            before = part;
            if !is_person || part.starts_with(HIDDEN) {
                return part.to_owned();
            }
            let (store, written) = (&**self.engine.store(), percent_decoded(part));
            // A mandate may be named after a person, and what is no name at all may hold one.
            let name = match std::str::from_utf8(&written).ok().and_then(|text| ProfileId::new(text).ok()) {
                Some(profile) => hidden_name(store, retailer, &profile),
                None => blind(store, &[b"in a path", retailer.as_str().as_bytes(), &written]),
            };
            format!("{HIDDEN}{}", base32(&name))
        });
        parts.collect::<Vec<_>>().join("/")
    }

    /// The hash of what a customer's object looked like: keyed, since nobody may try out afterwards what an erased
    /// person's few preferences were.
    pub fn hash_of_a_customers(&self, shown: &[u8; 32]) -> [u8; 32] {
        derive_bytes("of a customer", &[&blind(&**self.engine.store(), &[b"audit", shown])])
    }

    /// Writes down a change that was just made; durable on return, where the store takes it. Those who come while one
    /// is being written are written together by the next.
    pub async fn record(&self, change: Change) {
        {
            let mut waiting = self.trail.waiting();
            if waiting.len() >= WAITING_MAX {
                self.trail.lost.increment(1);
                tracing::error!(
                    action = change.action,
                    "A change has no entry in the audit trail: the store refuses it"
                );
                return;
            }
            waiting.push((self.now(), change));
        }
        self.write_trail().await;
    }

    /// Writes whatever waits; what the store refuses waits on.
    async fn write_trail(&self) {
        let mut head = self.trail.head.lock().await;
        // Until nothing waits: more than fit into one commit may have come while this one waited for its turn.
        while self.write_entries(&mut head).await {}
    }

    /// Before the end: what the store refused before is tried once more, and what it refuses still is counted as lost.
    pub async fn end_trail(&self) {
        self.write_trail().await;
        let lost = self.trail.waiting().len();
        if lost > 0 {
            self.trail.lost.increment(lost as u64);
            tracing::error!(lost, "Changes have no entry in the audit trail: the store refuses them");
        }
    }

    /// Whether some were written, and more may wait.
    async fn write_entries(&self, head: &mut Head) -> bool {
        let batch: Vec<_> = {
            let mut waiting = self.trail.waiting();
            let number = waiting.len().min(ENTRIES_PER_COMMIT);
            waiting.drain(..number).collect()
        };
        if batch.is_empty() {
            return false; // Somebody wrote it along.
        }
        let (mut next, mut writes) = (*head, Vec::with_capacity(batch.len() + 1));
        for (at, change) in &batch {
            let row = AuditRow::new(next.entries, *at, change.clone(), next.hash);
            writes.push(rows::put(Schema::Audit, keys::audit(next.entries), &row));
            next = Head { entries: next.entries + 1, hash: row.hash };
        }
        writes.push(rows::put(Schema::Audit, keys::audit_head(), &next));
        match rows::write(&self.engine, writes).await {
            Ok(()) => {
                self.trail.entries.increment(batch.len() as u64);
                *head = next;
                true
            }
            Err(error) => {
                tracing::warn!("Entries of the audit trail wait for the store: {error}");
                let mut waiting = self.trail.waiting();
                let later = std::mem::replace(&mut *waiting, batch);
                waiting.extend(later);
                false
            }
        }
    }

    /// Entries that the caller may see, newest first.
    pub fn audit(
        &self,
        who: &Caller,
        filter: &AuditFilter,
        page: &PageQuery,
    ) -> Result<Page<(u64, AuditRow)>, Failure> {
        who.may(Scope::AuditRead)?;
        let wrong = || Failure::invalid("", "the parameter `cursor` is not one of ours");
        let cursor = page.cursor.as_ref().map(|text| text.parse::<u64>().map_err(|_| wrong())).transpose()?;
        let (mut before, mut looked_at, mut items) = (cursor.map(keys::audit), 0, Vec::new());
        loop {
            let found = self.engine.store().scan_back(&keys::audits(), before.as_ref(), page.limit.clamp(64, 1000))?;
            for (key, bytes) in &found {
                let Some(n) = number_of(key) else { return Ok(Page { items, next: None }) };
                if items.len() == page.limit || looked_at == LOOKED_AT_MAX {
                    return Ok(Page { items, next: Some((n + 1).to_string()) });
                }
                looked_at += 1;
                let row: AuditRow = codec::decode(Schema::Audit, key, bytes)?;
                if filter.from.is_some_and(|from| row.at < from) {
                    return Ok(Page { items, next: None });
                }
                if row.is_visible_to(who.tenant()) && filter.fits(&row) {
                    items.push((n, row));
                }
            }
            match found.into_iter().last() {
                Some((key, _)) => before = Some(key),
                None => return Ok(Page { items, next: None }),
            }
        }
    }
}

/// What a look at the whole chain came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verified {
    /// Every entry is as it was written.
    Whole(Head),
    /// The first place at which it is not, and what is wrong there.
    Broken {
        /// The number of the entry.
        at: u64,
        /// What is wrong.
        why: String,
    },
}

/// Looks at each entry of a store that nobody writes to.
pub fn verify(store: &dyn Store) -> Result<Verified, StoreError> {
    let told: Head = rows::get(store, Schema::Audit, &keys::audit_head())?.unwrap_or_default();
    let mut seen = Head::default();
    let mut broken: Option<(u64, String)> = None;
    rows::each(store, &keys::audits(), |key, bytes| {
        let (Some(n), None) = (number_of(key), &broken) else { return Ok(()) };
        let read = codec::decode::<AuditRow>(Schema::Audit, key, bytes);
        let why = match &read {
            _ if n != seen.entries => Some(format!("entry {} is missing", seen.entries)),
            Err(error) => Some(error.to_string()),
            Ok(row) if row.previous != seen.hash => Some("it does not follow the entry before it".to_owned()),
            Ok(row) if row.sealed(n) != row.hash => Some("it was changed after it was written".to_owned()),
            Ok(_) => None,
        };
        match (why, read) {
            (Some(why), _) => broken = Some((seen.entries, why)),
            (None, Ok(row)) => seen = Head { entries: n + 1, hash: row.hash },
            (None, Err(_)) => {}
        }
        Ok(())
    })?;
    Ok(match broken {
        Some((at, why)) => Verified::Broken { at, why },
        None if seen != told => {
            let why = format!("the chain ends here, and {} entries were written", told.entries);
            Verified::Broken { at: seen.entries, why }
        }
        None => Verified::Whole(seen),
    })
}

/// The number of an entry; none for the head's row.
fn number_of(key: &Key) -> Option<u64> {
    let number = key.0.get(1..)?;
    <[u8; 8]>::try_from(number).ok().map(u64::from_be_bytes)
}

/// A write that puts an entry in place of another, for a test that tampers.
#[cfg(test)]
pub(crate) fn tampered(n: u64, row: &AuditRow) -> crate::store::Write {
    rows::put(Schema::Audit, keys::audit(n), row)
}
