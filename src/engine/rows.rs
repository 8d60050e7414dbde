//! What the engine keeps in the store beside household records: one type per table.

use std::sync::Arc;

use hearthway_core::budget::Answer;
use hearthway_core::code::{Code, Refusal};
use hearthway_core::id::{DeviceKey, HouseholdId, MoveId, OfferId, OrderId};
use hearthway_core::input::{Input, Join};
use hearthway_core::model::{CodeState, ConsentRecord, Contact, Device, Few, Household, Offer, Order, Purpose};
use hearthway_core::time::Timestamp;
use hearthway_core::trace::CandidateTrace;
use hearthway_core::wire::DownMessage;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::store::codec::{self, Schema};
use crate::store::keys::Key;
use crate::store::{Store, StoreError, Write};

/// A household as it is on disk.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct HouseholdRow {
    /// The facts.
    pub facts: Arc<Household>,
    /// The last message ids of its devices; the ones before are in pages of their own.
    pub heard: Few<DeviceKey, Recent>,
    /// The last snapshot in its log.
    pub snapshot: LastSnapshot,
}

/// Where the last snapshot of a log is.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub struct LastSnapshot {
    /// The input it was taken after.
    pub seq: u64,
    /// When.
    pub at: Timestamp,
}

/// The last message ids of a device, before they fill a page.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Recent {
    /// The number that the page will have.
    pub page: u64,
    /// The ids.
    pub ids: SeenPage,
}

/// Message ids in the order in which they came.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeenPage {
    /// Hashes of the ids; the lowest bit says whether a repeat is told something.
    pub hashes: Vec<u64>,
    /// When the last of them came.
    pub last_at: Timestamp,
}

/// An item of a household's input log.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum LogItem {
    /// An input.
    Input(Box<LogRow>),
    /// The household after the input before: from here on the log can be decided again.
    Snapshot(Arc<Household>),
}

/// What happened, what else the decision read, and what came of it. The household it read is what
/// the snapshot and the inputs before give.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LogRow {
    /// The number of the input in its household.
    pub seq: u64,
    /// What happened; its `received_at` is the decision's `now`.
    pub input: Input,
    /// The version of the rules that was read.
    pub rules: u64,
    /// How it ended.
    pub verdict: LogVerdict,
    /// The steps of each candidate.
    pub candidates: Vec<CandidateTrace>,
    /// What the decision was told of what homes share, in the order in which it asked.
    pub answers: Vec<Answer>,
}

/// How an input ended, in short.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum LogVerdict {
    /// Taken; how many candidates were sent and how many held.
    Accepted {
        /// Offers that left.
        sent: u8,
        /// Candidates that stayed silent.
        held: u8,
    },
    /// Refused.
    Refused(Code),
}

impl std::fmt::Display for LogVerdict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            LogVerdict::Accepted { sent: 0, held: 0 } => f.write_str("accepted"),
            LogVerdict::Accepted { sent, held } => write!(f, "accepted: {sent} sent, {held} held"),
            LogVerdict::Refused(code) => write!(f, "refused: {code}"),
        }
    }
}

/// What a repeat of a message is answered, where that is anything.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ToldRow {
    /// What the sender was told, where that is told again.
    pub told: Vec<Told>,
    /// The refusal, if it was one.
    pub refusal: Option<Refusal>,
}

/// An answer that a repeated message gets again. Offers are never among them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Told {
    /// The same words again: `down/error` and `down/claim` (linked, refused).
    Words(Box<DownMessage>),
    /// The claim code, if the device still shows one.
    Code,
    /// The order as it is at the repeat.
    Order(OrderId),
    /// The current set as it is at the repeat.
    Sync,
}

/// A message that waits for a device, rendered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutboxRow {
    /// The topic below the device's root.
    pub topic: String,
    /// The payload.
    pub payload: Vec<u8>,
    /// Until when it is worth saying.
    pub expires_at: Option<Timestamp>,
    /// The trace id.
    pub trace: String,
    /// The offer it puts, if it puts one: such a row is decided again before it is sent again.
    pub puts: Option<OfferId>,
    /// The offer it is about.
    pub about: Option<OfferId>,
    /// Not dropped for room as long as something else can be.
    pub critical: bool,
}

/// A device on its way between households.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MoveRow {
    /// The move.
    pub id: MoveId,
    /// Where it comes from.
    pub from: HouseholdId,
    /// Where to.
    pub to: HouseholdId,
    /// The device as it left.
    pub device: Box<Device>,
    /// For whom, when it goes to a customer.
    pub join: Option<Box<Join>>,
    /// The times that it was spoken to as a prospect.
    pub contacts: Vec<Contact>,
}

/// One word of a person on a consent, as it was told.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ConsentSaid {
    /// What for.
    pub purpose: Purpose,
    /// The word.
    pub record: ConsentRecord,
    /// When the gateway heard it.
    pub heard_at: Timestamp,
}

/// An offer as other channels see it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OfferRow {
    /// Whose.
    pub household: HouseholdId,
    /// The offer.
    pub offer: Offer,
}

/// An order as other channels see it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OrderRow {
    /// Whose.
    pub household: HouseholdId,
    /// The order.
    pub order: Order,
}

/// A unique code, as far as it went.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CodeRow {
    /// What has become of it.
    pub state: CodeState,
    /// The offer that carries it or did.
    pub offer: Option<OfferId>,
}

/// Rows read in one page of a long scan: keeps the page small beside the caches.
const SCAN_PAGE_ROWS: usize = 512;

pub(super) fn put<T: Serialize>(schema: Schema, key: Key, value: &T) -> Write {
    Write::Put(key, codec::encode(schema, value))
}

pub(super) fn get<T: DeserializeOwned>(store: &dyn Store, schema: Schema, key: &Key) -> Result<Option<T>, StoreError> {
    match store.get(key)? {
        Some(bytes) => unless_erased(codec::decode(schema, key, &bytes)),
        None => Ok(None),
    }
}

/// A value, or none where its customer was erased: whoever reads on does as if it had never been.
pub fn unless_erased<T>(read: Result<T, StoreError>) -> Result<Option<T>, StoreError> {
    match read {
        Ok(value) => Ok(Some(value)),
        Err(StoreError::Erased { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Every row below a prefix in order, page by page, until `each` says no.
pub(crate) fn walk(
    store: &dyn Store,
    prefix: &[u8],
    mut each: impl FnMut(&Key, &[u8]) -> Result<bool, StoreError>,
) -> Result<(), StoreError> {
    let mut after: Option<Key> = None;
    loop {
        let rows = store.scan(prefix, after.as_ref(), SCAN_PAGE_ROWS)?;
        for (key, bytes) in &rows {
            if !each(key, bytes)? {
                return Ok(());
            }
        }
        match rows.into_iter().last() {
            Some((key, _)) => after = Some(key),
            None => return Ok(()),
        }
    }
}
