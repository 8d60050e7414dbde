//! What was sent and could not be understood, or failed the gateway itself, kept for its maker:
//! bounded by count and bytes per maker, redacted, on disk.

use std::collections::BTreeMap;
use std::sync::Mutex;

use hearthway_core::code::{Code, Refusal};
use hearthway_core::id::{DeviceKey, MakerId, derive_bytes};
use hearthway_core::time::{Span, Timestamp};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::house::lock;
use super::{excerpt, rows};
use crate::observe::limits::{Limit, hit};
use crate::store::codec::{self, Schema};
use crate::store::keys::{self, Key};
use crate::store::{Store, StoreError, Write};

/// Entries of one maker: more than a person reads, enough to see every kind of fault.
pub const ENTRIES_PER_MAKER_MAX: usize = 200;
/// Bytes of them on disk.
pub const BYTES_PER_MAKER_MAX: usize = 256 * 1024;
/// How often a maker's refused payloads are taken in: a fleet with one defect must not turn into
/// as many writes as it has devices.
const ENTRY_EVERY: Span = Span(200);
/// Entries ahead of that.
const ENTRIES_BURST: i64 = 50;
/// Characters of a topic below the device's root.
const TOPIC_CHARS_MAX: usize = 64;

/// One entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuarantineRow {
    /// When it came.
    pub at: Timestamp,
    /// From whom, or about whom.
    pub device: DeviceKey,
    /// The topic below the device's root, or the word `command`.
    pub topic: String,
    /// Why it was refused.
    pub code: Code,
    /// Where in the payload.
    pub pointer: Option<String>,
    /// How long it was.
    pub bytes: u32,
    /// SHA-256 of the payload; none where only what it meant was still there.
    pub sha256: Option<[u8; 32]>,
    /// Its structure, without values.
    pub excerpt: String,
    /// The message was in order as far as anybody knows; the gateway failed on it.
    pub is_fault_of_gateway: bool,
}

/// A refused payload as it came.
#[derive(Debug, Clone, Copy)]
pub struct RefusedPayload<'a> {
    /// From whom.
    pub device: &'a DeviceKey,
    /// The topic below the device's root.
    pub topic: &'a str,
    /// Why.
    pub refusal: &'a Refusal,
    /// The bytes.
    pub payload: &'a [u8],
}

impl RefusedPayload<'_> {
    /// Whether it is the payload that is wrong, and not who sent it, when, or how often.
    pub fn is_about_the_payload(&self) -> bool {
        matches!(
            self.refusal.code,
            Code::PayloadInvalid
                | Code::PayloadTooLarge
                | Code::VersionUnsupported
                | Code::DescInvalid
                | Code::FieldUnknown
                | Code::SlotUnknown
                | Code::UnitMismatch
                | Code::SigBad
        )
    }

    /// The entry that it becomes.
    pub fn row(&self, at: Timestamp) -> QuarantineRow {
        QuarantineRow {
            at,
            device: self.device.clone(),
            topic: self.topic.chars().take(TOPIC_CHARS_MAX).collect(),
            code: self.refusal.code,
            pointer: self.refusal.pointer.as_deref().map(excerpt::of_pointer),
            bytes: u32::try_from(self.payload.len()).unwrap_or(u32::MAX),
            sha256: Some(Sha256::digest(self.payload).into()),
            excerpt: excerpt::of_payload(self.payload),
            is_fault_of_gateway: false,
        }
    }
}

/// What is known of the entries on disk.
#[derive(Default)]
pub(super) struct Quarantine {
    makers: Mutex<BTreeMap<MakerId, Shelf>>,
}

/// One maker's entries.
#[derive(Default)]
struct Shelf {
    /// With the bytes of each; the oldest first.
    entries: BTreeMap<Key, usize>,
    bytes: usize,
    /// Up to when what was taken in is paid for.
    paid: Timestamp,
}

impl Shelf {
    fn put(&mut self, key: Key, bytes: usize) {
        self.bytes += bytes;
        self.bytes -= self.entries.insert(key, bytes).unwrap_or(0);
    }

    /// The oldest that must go.
    fn overflow(&mut self) -> Option<Key> {
        if self.entries.len() <= ENTRIES_PER_MAKER_MAX && self.bytes <= BYTES_PER_MAKER_MAX {
            return None;
        }
        let (key, bytes) = self.entries.pop_first()?;
        self.bytes -= bytes;
        Some(key)
    }
}

impl Quarantine {
    /// Reads back what there is.
    pub(super) fn open(store: &dyn Store) -> Result<Quarantine, StoreError> {
        let quarantine = Quarantine::default();
        rows::walk(store, &keys::quarantines(), |key, bytes| {
            let row = codec::decode::<QuarantineRow>(Schema::Quarantine, key, bytes)?;
            lock(&quarantine.makers).entry(row.device.maker).or_default().put(key.clone(), bytes.len());
            Ok(true)
        })?;
        Ok(quarantine)
    }

    /// Whether one more refused payload of a maker is taken in; else it is only counted.
    pub(super) fn has_time_for(&self, maker: &MakerId, now: Timestamp) -> bool {
        let mut makers = lock(&self.makers);
        let shelf = makers.entry(maker.clone()).or_default();
        let paid = shelf.paid.max(now) + ENTRY_EVERY;
        let is_taken = paid <= now + Span(ENTRY_EVERY.0 * ENTRIES_BURST);
        if is_taken {
            shelf.paid = paid;
        } else {
            hit(Limit::Quarantine);
        }
        is_taken
    }

    /// The writes that keep an entry, and those that make room for it.
    pub(super) fn take_in(&self, row: &QuarantineRow) -> Vec<Write> {
        let key = key_of(row);
        let put = rows::put(Schema::Quarantine, key.clone(), row);
        let bytes = match &put {
            Write::Put(_, value) => value.len(),
            Write::Delete(_) | Write::Append(..) => 0,
        };
        let mut makers = lock(&self.makers);
        let shelf = makers.entry(row.device.maker.clone()).or_default();
        shelf.put(key, bytes);
        let mut writes = vec![put];
        writes.extend(std::iter::from_fn(|| shelf.overflow()).map(Write::Delete));
        writes
    }
}

/// By time; two of one instant are told apart by what they are.
fn key_of(row: &QuarantineRow) -> Key {
    let hash = row.sha256.unwrap_or_default();
    let parts: [&[u8]; 4] =
        [row.device.device.as_str().as_bytes(), row.topic.as_bytes(), &hash, row.excerpt.as_bytes()];
    let mut n = [0; 8];
    n.copy_from_slice(&derive_bytes("quarantine", &parts)[..8]);
    keys::quarantine(&row.device.maker, u64::try_from(row.at.0).unwrap_or(0), u64::from_be_bytes(n))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::store::Commit;
    use crate::store::memory::MemoryStore;

    fn row(n: i64, payload: &str) -> QuarantineRow {
        let refusal = Refusal::new(Code::PayloadInvalid, "").at("/body/slot");
        let device = "acme/d-42".parse().unwrap();
        let refused =
            RefusedPayload { device: &device, topic: "up/slot", refusal: &refusal, payload: payload.as_bytes() };
        refused.row(Timestamp(1_774_000_000_000 + n))
    }

    fn count(store: &MemoryStore) -> usize {
        store.scan(&keys::quarantines(), None, 10_000).unwrap().len()
    }

    #[test]
    fn a_makers_entries_are_bounded_by_count_and_bytes_and_the_oldest_go_also_after_a_restart() {
        let store = MemoryStore::default();
        let mut quarantine = Quarantine::open(&store).unwrap();
        let keep = |quarantine: &Quarantine, row: &QuarantineRow| {
            store.commit(&[Commit { preconditions: vec![], writes: quarantine.take_in(row) }]).unwrap();
        };
        for n in 0..250 {
            keep(&quarantine, &row(n, "{}"));
        }
        assert_eq!(count(&store), ENTRIES_PER_MAKER_MAX);
        quarantine = Quarantine::open(&store).unwrap();
        for n in 250..300 {
            keep(&quarantine, &row(n, "{}"));
        }
        assert_eq!(count(&store), ENTRIES_PER_MAKER_MAX);
        let (oldest, _) = store.scan(&keys::quarantines(), None, 1).unwrap().remove(0);
        assert_eq!(oldest, key_of(&row(100, "{}")));
        let long: Vec<String> = (0..400).map(|n| format!(r#""field-with-a-name-{n}":"x""#)).collect();
        let large = QuarantineRow { excerpt: "x".repeat(8_000), ..row(300, &format!("{{{}}}", long.join(","))) };
        for n in 300..340 {
            keep(&quarantine, &QuarantineRow { at: Timestamp(1_774_000_000_000 + n), ..large.clone() });
        }
        let bytes: usize =
            store.scan(&keys::quarantines(), None, 10_000).unwrap().iter().map(|(_, row)| row.len()).sum();
        assert!(bytes <= BYTES_PER_MAKER_MAX, "{bytes}");
    }

    #[test]
    fn a_fleet_with_one_defect_is_taken_in_at_a_bounded_rate() {
        let quarantine = Quarantine::default();
        let (acme, other): (MakerId, MakerId) = ("acme".parse().unwrap(), "other".parse().unwrap());
        let now = Timestamp(1_774_000_000_000);
        assert_eq!((0..1_000).filter(|_| quarantine.has_time_for(&acme, now)).count(), 50);
        assert!(quarantine.has_time_for(&other, now));
        assert_eq!((0..1_000).filter(|_| quarantine.has_time_for(&acme, now + Span::seconds(2))).count(), 10);
    }
}
