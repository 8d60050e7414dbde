//! Message ids that were seen: the newest in the household's record, the ones before in pages, and
//! what a repeat is told in a row of its own where that is anything.

use std::collections::VecDeque;

use hearthway_core::decision::{Decision, Effect};
use hearthway_core::id::{DeviceKey, MessageId, derive_bytes};
use hearthway_core::input::{Input, What};
use hearthway_core::limits::{SEEN_AGE_MAX, SEEN_IDS_PER_DEVICE};
use hearthway_core::model::Few;
use hearthway_core::time::Timestamp;

use super::rows::{self, HouseholdRow, Recent, SeenPage, ToldRow};
use super::speak;
use crate::store::codec::{self, Schema};
use crate::store::{Store, StoreError, Write, keys};

/// Ids of one page. The record carries less than a page, a device has few pages.
const PAGE_IDS: usize = 32;
/// The bit of a hash that says whether a repeat is told something.
const TOLD: u64 = 1;

/// A device and the hash of one of its message ids.
pub(super) type Mark = (DeviceKey, u64);

/// What remembering a message changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Remembered {
    /// One more id in the record: what [`hear_again`] does again.
    Following,
    /// More than that.
    Otherwise,
}

/// An id as it is kept.
pub(super) fn kept(hash: u64, is_told: bool) -> u64 {
    hash | if is_told { TOLD } else { 0 }
}

/// Adds an id that followed a record to it again.
pub(super) fn hear_again(heard: &mut Few<DeviceKey, Recent>, device: &DeviceKey, kept: u64, at: Timestamp) {
    if let Some(recent) = heard.get_mut(device) {
        recent.ids.hashes.push(kept);
        recent.ids.last_at = at;
    }
}

/// What a message is remembered by; none for what has no message id.
pub(super) fn mark(input: &Input) -> Option<Mark> {
    let (What::Device(_), Some(device), Some(message)) = (&input.what, &input.device, &input.message) else {
        return None;
    };
    Some((device.clone(), hash(message)))
}

fn hash(message: &MessageId) -> u64 {
    let bytes = derive_bytes("message", &[message.as_str().as_bytes()]);
    u64::from_be_bytes(*bytes.first_chunk().expect("a hash is longer than 8 bytes")) & !TOLD
}

/// What a repeat of a message is told; none where that is nothing.
pub(super) fn told(input: &Input, decision: &Decision) -> Option<ToldRow> {
    let told = decision.effects.iter().filter_map(|effect| match effect {
        Effect::Down { device, message, .. } if input.device.as_ref() == Some(device) => speak::told_again(message),
        _ => None,
    });
    let row = ToldRow { told: told.collect(), refusal: decision.reply.as_ref().err().cloned() };
    (row != ToldRow::default()).then_some(row)
}

/// Pages of the devices of a household, as far as they were asked for.
#[derive(Debug, Default)]
pub(super) struct Pages(Few<DeviceKey, VecDeque<Page>>);

/// A page in memory: a thousand homes have a thousand ids each, and hardly any comes again.
#[derive(Debug)]
struct Page {
    number: u64,
    last_at: Timestamp,
    ids: Ids,
}

#[derive(Debug)]
enum Ids {
    /// As they are: the page may not be on disk yet.
    Whole(Vec<u64>),
    /// Enough of each to know most ids that are not among them; the page itself knows the rest.
    Prints(Box<[u16]>),
}

impl Page {
    fn len(&self) -> usize {
        match &self.ids {
            Ids::Whole(ids) => ids.len(),
            Ids::Prints(prints) => prints.len(),
        }
    }

    /// Its place in the page of an id that is kept there.
    fn find(&self, device: &DeviceKey, hash: u64, store: &dyn Store) -> Result<Option<u64>, StoreError> {
        let among = |ids: &[u64]| ids.iter().copied().find(|id| id & !TOLD == hash);
        match &self.ids {
            Ids::Whole(ids) => Ok(among(ids)),
            Ids::Prints(prints) if prints.contains(&print(hash)) => Ok(among(&self.read(device, store)?)),
            Ids::Prints(_) => Ok(None),
        }
    }

    /// All its ids.
    fn read(&self, device: &DeviceKey, store: &dyn Store) -> Result<Vec<u64>, StoreError> {
        if let Ids::Whole(ids) = &self.ids {
            return Ok(ids.clone());
        }
        let key = keys::seen(device, self.number);
        let page = rows::get::<SeenPage>(store, Schema::Seen, &key)?;
        page.map(|page| page.hashes).ok_or_else(|| StoreError::Corrupt {
            key: key.to_string(),
            cause: "the page was there when the household was read, and is gone".to_owned(),
        })
    }

    fn settle(&mut self) {
        if let Ids::Whole(ids) = &self.ids {
            self.ids = Ids::Prints(ids.iter().copied().map(print).collect());
        }
    }
}

/// 16 bits of an id: of a thousand other ids one in sixty has a twin among them.
fn print(hash: u64) -> u16 {
    (hash >> 48) as u16
}

impl Pages {
    /// Whether a message was seen, and what its repeat is told. Its age does not count: a clock that
    /// leaps by a year must not make the repeat of a message new that was just sent.
    pub(super) fn find(
        &mut self,
        row: &HouseholdRow,
        (device, hash): &Mark,
        store: &dyn Store,
    ) -> Result<Option<ToldRow>, StoreError> {
        let recent = row.heard.get(device).map_or(&[][..], |recent| &recent.ids.hashes);
        let mut seen = recent.iter().copied().find(|id| id & !TOLD == *hash);
        for page in self.of(device, store)?.iter() {
            if seen.is_some() {
                break;
            }
            seen = page.find(device, *hash, store)?;
        }
        match seen {
            None => Ok(None),
            Some(seen) if seen & TOLD == 0 => Ok(Some(ToldRow::default())),
            Some(_) => Ok(Some(rows::get(store, Schema::Told, &keys::told(device, *hash))?.unwrap_or_default())),
        }
    }

    /// Remembers a message with what its repeat is told; old ids go.
    pub(super) fn remember(
        &mut self,
        row: &mut HouseholdRow,
        (device, hash): &Mark,
        now: Timestamp,
        told: Option<&ToldRow>,
        store: &dyn Store,
        writes: &mut Vec<Write>,
    ) -> Result<Remembered, StoreError> {
        let older = self.of(device, store)?;
        let is_first = !row.heard.contains_key(device);
        if is_first {
            let page = older.back().map_or(0, |page| page.number + 1);
            row.heard.insert(device.clone(), Recent { page, ..Recent::default() });
        }
        let recent = row.heard.get_mut(device).expect("it was there or has just been put there");
        recent.ids.hashes.push(kept(*hash, told.is_some()));
        recent.ids.last_at = now;
        if let Some(told) = told {
            writes.push(rows::put(Schema::Told, keys::told(device, *hash), told));
        }
        let is_full = recent.ids.hashes.len() >= PAGE_IDS;
        if is_full {
            let page = std::mem::take(&mut recent.ids);
            writes.push(rows::put(Schema::Seen, keys::seen(device, recent.page), &page));
            older.push_back(Page { number: recent.page, last_at: now, ids: Ids::Whole(page.hashes) });
            recent.page += 1;
            trim(device, older, now, store, writes)?;
        }
        Ok(if is_first || is_full { Remembered::Otherwise } else { Remembered::Following })
    }

    /// A device leaves the household: its ids go with it, all in pages.
    pub(super) fn leave(&mut self, row: &mut HouseholdRow, device: &DeviceKey, writes: &mut Vec<Write>) {
        self.0.remove(device);
        if let Some(recent) = row.heard.remove(device)
            && !recent.ids.hashes.is_empty()
        {
            writes.push(rows::put(Schema::Seen, keys::seen(device, recent.page), &recent.ids));
        }
    }

    /// Forgets what is in memory: it is read again.
    pub(super) fn clear(&mut self) {
        self.0 = Few::new();
    }

    /// Everything that was remembered is on disk: from here on a part of it is enough in memory.
    pub(super) fn settle(&mut self) {
        self.0.values_mut().flat_map(VecDeque::iter_mut).for_each(Page::settle);
    }

    /// The pages of a device, oldest first.
    fn of(&mut self, device: &DeviceKey, store: &dyn Store) -> Result<&mut VecDeque<Page>, StoreError> {
        if !self.0.contains_key(device) {
            let mut pages = VecDeque::new();
            rows::walk(store, &keys::all_seen(device), |key, bytes| {
                let SeenPage { hashes, last_at } = codec::decode(Schema::Seen, key, bytes)?;
                let mut page = Page { number: keys::number_of(key), last_at, ids: Ids::Whole(hashes) };
                page.settle();
                pages.push_back(page);
                Ok(true)
            })?;
            self.0.insert(device.clone(), pages);
        }
        Ok(self.0.get_mut(device).expect("it was there or has just been put there"))
    }
}

/// Lets pages go that are of another week, or beyond the newest [`SEEN_IDS_PER_DEVICE`]. The newest
/// one stays however old it seems, for the same reason.
fn trim(
    device: &DeviceKey,
    pages: &mut VecDeque<Page>,
    now: Timestamp,
    store: &dyn Store,
    writes: &mut Vec<Write>,
) -> Result<(), StoreError> {
    let mut ids: usize = pages.iter().map(Page::len).sum();
    while pages.len() > 1
        && let Some(oldest) = pages.front()
        && (is_old(oldest, now) || ids - oldest.len() >= SEEN_IDS_PER_DEVICE)
    {
        ids -= oldest.len();
        let told = oldest.read(device, store)?.into_iter().filter(|id| id & TOLD != 0);
        writes.push(Write::Delete(keys::seen(device, oldest.number)));
        writes.extend(told.map(|id| Write::Delete(keys::told(device, id & !TOLD))));
        pages.pop_front();
    }
    Ok(())
}

fn is_old(page: &Page, now: Timestamp) -> bool {
    page.last_at < now - SEEN_AGE_MAX
}
