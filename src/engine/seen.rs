//! Message ids that were seen: the newest in the household's record, the ones before in pages, and
//! what a repeat is told in a row of its own where that is anything.

use std::collections::{HashMap, VecDeque};

use hearthway_core::decision::{Decision, Effect};
use hearthway_core::id::{DeviceKey, MessageId, derive_bytes};
use hearthway_core::input::{Input, What};
use hearthway_core::limits::{SEEN_AGE_MAX, SEEN_IDS_PER_DEVICE};
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

/// Pages of the devices of a household that are in memory, oldest first, with their numbers.
#[derive(Debug, Default)]
pub(super) struct Pages(HashMap<DeviceKey, VecDeque<(u64, SeenPage)>>);

impl Pages {
    /// Whether a message was seen, and what its repeat is told. Its age does not count: a clock that
    /// leaps by a year must not make the repeat of a message new that was just sent.
    pub(super) fn find(
        &mut self,
        row: &HouseholdRow,
        (device, hash): &Mark,
        store: &dyn Store,
    ) -> Result<Option<ToldRow>, StoreError> {
        let older = self.read(device, store)?.iter().map(|(_, page)| page);
        let pages = older.chain(row.heard.get(device).map(|recent| &recent.ids));
        match pages.into_iter().flat_map(|page| &page.hashes).find(|seen| **seen & !TOLD == *hash) {
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
    ) -> Result<(), StoreError> {
        let older = self.read(device, store)?;
        if !row.heard.contains_key(device) {
            let page = older.back().map_or(0, |(number, _)| number + 1);
            row.heard.insert(device.clone(), Recent { page, ..Recent::default() });
        }
        let recent = row.heard.get_mut(device).expect("it was there or has just been put there");
        recent.ids.hashes.push(hash | if told.is_some() { TOLD } else { 0 });
        recent.ids.last_at = now;
        if let Some(told) = told {
            writes.push(rows::put(Schema::Told, keys::told(device, *hash), told));
        }
        if recent.ids.hashes.len() >= PAGE_IDS {
            let page = std::mem::take(&mut recent.ids);
            writes.push(rows::put(Schema::Seen, keys::seen(device, recent.page), &page));
            older.push_back((recent.page, page));
            recent.page += 1;
            trim(device, older, now, writes);
        }
        Ok(())
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
        self.0.clear();
    }

    fn read(&mut self, device: &DeviceKey, store: &dyn Store) -> Result<&mut VecDeque<(u64, SeenPage)>, StoreError> {
        if !self.0.contains_key(device) {
            let mut pages = VecDeque::new();
            rows::walk(store, &keys::all_seen(device), |key, bytes| {
                pages.push_back((rows::number_of(key), codec::decode(Schema::Seen, key, bytes)?));
                Ok(true)
            })?;
            self.0.insert(device.clone(), pages);
        }
        Ok(self.0.get_mut(device).expect("it was there or has just been put there"))
    }
}

/// Lets pages go that are of another week, or beyond the newest [`SEEN_IDS_PER_DEVICE`]. The newest
/// one stays however old it seems, for the same reason.
fn trim(device: &DeviceKey, pages: &mut VecDeque<(u64, SeenPage)>, now: Timestamp, writes: &mut Vec<Write>) {
    let mut ids: usize = pages.iter().map(|(_, page)| page.hashes.len()).sum();
    while pages.len() > 1
        && let Some((_, oldest)) = pages.front()
        && (is_old(oldest, now) || ids - oldest.hashes.len() >= SEEN_IDS_PER_DEVICE)
        && let Some((number, oldest)) = pages.pop_front()
    {
        ids -= oldest.hashes.len();
        writes.push(Write::Delete(keys::seen(device, number)));
        forget_told(device, &oldest, writes);
    }
}

fn forget_told(device: &DeviceKey, page: &SeenPage, writes: &mut Vec<Write>) {
    let told = page.hashes.iter().filter(|hash| **hash & TOLD != 0);
    writes.extend(told.map(|hash| Write::Delete(keys::told(device, hash & !TOLD))));
}

fn is_old(page: &SeenPage, now: Timestamp) -> bool {
    page.last_at < now - SEEN_AGE_MAX
}
