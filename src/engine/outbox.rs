//! What must be said to devices and has not been acknowledged by them.
//!
//! The rows in the store are the truth; here stands an index of them, which learns of a row when
//! it is decided and delivers it only after it is durable. Delivery to one device is in the order
//! of the numbers, because it happens under the index's lock; a link must not block, and may call
//! back `Engine::delivered` and `Engine::reachable` at once.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hearthway_core::id::{DeviceKey, MakerId, OfferId};
use hearthway_core::time::Timestamp;

use super::metrics::Meters;
use super::rows::{self, OutboxRow};
use super::{Delivery, Link};
use crate::store::codec::{self, Schema};
use crate::store::keys::{self, Key};
use crate::store::{Store, StoreError, Write};

/// Rows that wait for one device: more than a device reads at its return helps nobody.
pub(super) const ROWS_PER_DEVICE_MAX: usize = 100;
/// Bytes of payload that wait for one device: it must fit a small device's patience.
pub(super) const BYTES_PER_DEVICE_MAX: usize = 64 * 1024;
/// Numbers reserved at once: one write of the counter serves so many messages.
const NUMBERS_PER_BLOCK: u64 = 4_096;

/// What the index knows of a row.
#[derive(Debug, Clone)]
struct Waiting {
    n: u64,
    bytes: usize,
    expires_at: Option<Timestamp>,
    puts: Option<OfferId>,
    about: Option<OfferId>,
    critical: bool,
    durable: bool,
}

/// A message on its way out of a decision.
#[derive(Debug)]
pub(super) struct Outgoing {
    pub(super) delivery: Delivery,
    /// Whether it has a row. An answer that is stale at once (`down/time`) or given again at each
    /// repeat has none.
    pub(super) stored: bool,
}

#[derive(Default)]
struct Index {
    devices: BTreeMap<DeviceKey, VecDeque<Waiting>>,
    rows: usize,
}

#[derive(Default)]
pub(super) struct Outbox {
    index: Mutex<Index>,
    next: AtomicU64,
    /// Acknowledged by devices, not yet deleted. Bounded by the rows that exist.
    acknowledged: Mutex<Vec<(DeviceKey, u64)>>,
}

impl Outbox {
    /// Reads the index back.
    pub(super) fn open(store: &dyn Store) -> Result<Outbox, StoreError> {
        let outbox = Outbox::default();
        let counter = keys::outbox_numbers();
        let mut next: u64 = rows::get(store, Schema::Counter, &counter)?.unwrap_or(1);
        let mut index = Index::default();
        rows::walk(store, &keys::all_outbox(), |key, bytes| {
            if *key != counter
                && let Some(device) = keys::device_of(key)
            {
                let Some((waiting, _)) = rows::unless_erased(read_row(key, bytes))? else {
                    next = next.max(keys::number_of(key) + 1);
                    return Ok(true);
                };
                next = next.max(waiting.n + 1);
                index.rows += 1;
                index.devices.entry(device).or_default().push_back(waiting);
            }
            Ok(true)
        })?;
        outbox.next.store(next, Ordering::Relaxed);
        *outbox.lock() = index;
        Ok(outbox)
    }

    /// The next number, and now and then a write that keeps it from ever being given again.
    pub(super) fn number(&self, writes: &mut Vec<Write>) -> u64 {
        let n = self.next.fetch_add(1, Ordering::Relaxed);
        if n.is_multiple_of(NUMBERS_PER_BLOCK) || n == 1 {
            writes.push(rows::put(Schema::Counter, keys::outbox_numbers(), &(n + 2 * NUMBERS_PER_BLOCK)));
        }
        n
    }

    /// Takes a message into the index and its row into the writes; what no longer fits leaves.
    pub(super) fn stage(&self, device: &DeviceKey, n: u64, row: &OutboxRow, writes: &mut Vec<Write>, meters: &Meters) {
        let mut guard = self.lock();
        let index = &mut *guard;
        let waiting = index.devices.entry(device.clone()).or_default();
        waiting.push_back(Waiting {
            n,
            bytes: row.payload.len(),
            expires_at: row.expires_at,
            puts: row.puts,
            about: row.about,
            critical: row.critical,
            durable: false,
        });
        index.rows += 1;
        writes.push(rows::put(Schema::Outbox, keys::outbox(device, n), row));
        while waiting.len() > 1
            && (waiting.len() > ROWS_PER_DEVICE_MAX
                || waiting.iter().map(|row| row.bytes).sum::<usize>() > BYTES_PER_DEVICE_MAX)
        {
            let oldest = waiting.iter().position(|row| !row.critical).unwrap_or(0);
            let Some(dropped) = waiting.remove(oldest) else { break };
            index.rows -= 1;
            meters.outbox_dropped.increment(1);
            crate::observe::limits::hit(crate::observe::limits::Limit::OfflineQueue);
            writes.push(Write::Delete(keys::outbox(device, dropped.n)));
        }
        meters.outbox_rows.set(index.rows as f64);
    }

    /// Takes back what waits about an offer, or all of it.
    pub(super) fn withdraw(&self, device: &DeviceKey, offer: Option<OfferId>, writes: &mut Vec<Write>) {
        let mut guard = self.lock();
        let index = &mut *guard;
        let Some(waiting) = index.devices.get_mut(device) else { return };
        waiting.retain(|row| {
            let stays = offer.is_some_and(|offer| row.about != Some(offer));
            if !stays {
                index.rows -= 1;
                writes.push(Write::Delete(keys::outbox(device, row.n)));
            }
            stays
        });
        index.forget_if_empty(device);
    }

    /// Rows became durable: they are tried at once. A row that was taken back meanwhile is not.
    pub(super) fn dispatch(&self, outgoing: Vec<Outgoing>, link: Option<&Arc<dyn Link>>, meters: &Meters) {
        let mut index = self.lock();
        for Outgoing { delivery, stored } in outgoing {
            if stored {
                let waiting = index.devices.get_mut(&delivery.device);
                let row = waiting.and_then(|waiting| waiting.iter_mut().find(|row| row.n == delivery.n));
                let Some(row) = row else { continue };
                row.durable = true;
            }
            if link.is_some_and(|link| link.deliver(delivery)) {
                meters.deliveries.increment(1);
            }
        }
    }

    /// The device listens: everything that waits goes out again in order, but for offers, which
    /// are decided again first. Gives those offers. Expired rows are let go.
    pub(super) fn resend(
        &self,
        device: &DeviceKey,
        now: Timestamp,
        store: &dyn Store,
        link: Option<&Arc<dyn Link>>,
        meters: &Meters,
    ) -> Result<Vec<OfferId>, StoreError> {
        let index = self.lock();
        let mut offers = Vec::new();
        for row in index.devices.get(device).into_iter().flatten().filter(|row| row.durable) {
            let key = keys::outbox(device, row.n);
            let stored = rows::get::<OutboxRow>(store, Schema::Outbox, &key)?;
            if row.puts.is_none() && row.expires_at.is_some_and(|expires_at| expires_at <= now) {
                meters.outbox_expired.increment(1);
                self.acknowledge(device, row.n);
                continue;
            }
            let Some(stored) = stored else {
                // Taken back by a commit that the index was read again in the middle of.
                self.acknowledge(device, row.n);
                continue;
            };
            if let Some(offer) = row.puts {
                offers.push(offer);
                continue;
            }
            let delivery = delivery(device.clone(), row.n, stored);
            if link.is_some_and(|link| link.deliver(delivery)) {
                meters.deliveries.increment(1);
            }
        }
        offers.sort_unstable();
        offers.dedup();
        Ok(offers)
    }

    /// Devices of a maker for which something waits.
    pub(super) fn waiting_of(&self, maker: &MakerId) -> Vec<DeviceKey> {
        self.lock().devices.keys().filter(|device| device.maker == *maker).cloned().collect()
    }

    /// The device acknowledged a row. Never waits for the index.
    pub(super) fn acknowledge(&self, device: &DeviceKey, n: u64) {
        let mut acknowledged = self.acknowledged.lock().unwrap_or_else(PoisonError::into_inner);
        acknowledged.push((device.clone(), n));
    }

    /// At most `max` acknowledged rows, to be deleted; the index forgets them.
    pub(super) fn take_acknowledged(&self, max: usize, meters: &Meters) -> Vec<(DeviceKey, u64)> {
        let mut rows: Vec<_> = {
            let mut acknowledged = self.acknowledged.lock().unwrap_or_else(PoisonError::into_inner);
            if acknowledged.is_empty() {
                return Vec::new();
            }
            let rest = acknowledged.len().min(max);
            acknowledged.drain(..rest).collect()
        };
        let mut guard = self.lock();
        let index = &mut *guard;
        rows.retain(|(device, n)| {
            let Some(waiting) = index.devices.get_mut(device) else { return false };
            let Some(at) = waiting.iter().position(|row| row.n == *n) else { return false };
            waiting.remove(at);
            index.rows -= 1;
            index.forget_if_empty(device);
            true
        });
        meters.outbox_rows.set(index.rows as f64);
        rows
    }

    /// Whether acknowledged rows wait for their deletion.
    pub(super) fn has_acknowledged(&self) -> bool {
        !self.acknowledged.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    /// A commit failed: what waits for a device is read from the store again. The rows that it
    /// would have written are `gone`; those of later decisions are still on their way.
    pub(super) fn reread(&self, device: &DeviceKey, gone: &BTreeSet<u64>, store: &dyn Store) -> Result<(), StoreError> {
        let mut found = VecDeque::new();
        let mut guard = self.lock();
        rows::walk(store, &keys::outbox_of(device), |key, bytes| {
            found.extend(rows::unless_erased(read_row(key, bytes))?.map(|(waiting, _)| waiting));
            Ok(true)
        })?;
        let index = &mut *guard;
        let known = index.devices.remove(device).unwrap_or_default();
        index.rows -= known.len();
        found.extend(known.into_iter().filter(|row| !row.durable && !gone.contains(&row.n)));
        if !found.is_empty() {
            index.rows += found.len();
            index.devices.insert(device.clone(), found);
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Index> {
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Index {
    fn forget_if_empty(&mut self, device: &DeviceKey) {
        if self.devices.get(device).is_some_and(VecDeque::is_empty) {
            self.devices.remove(device);
        }
    }
}

/// A row on its way to its device.
pub(super) fn delivery(device: DeviceKey, n: u64, row: OutboxRow) -> Delivery {
    Delivery {
        n,
        device,
        topic: row.topic.into(),
        payload: row.payload.into(),
        qos: 1,
        expires_at: row.expires_at,
        trace: row.trace.into(),
    }
}

fn read_row(key: &Key, bytes: &[u8]) -> Result<(Waiting, OutboxRow), StoreError> {
    let row: OutboxRow = codec::decode(Schema::Outbox, key, bytes)?;
    let waiting = Waiting {
        n: keys::number_of(key),
        bytes: row.payload.len(),
        expires_at: row.expires_at,
        puts: row.puts,
        about: row.about,
        critical: row.critical,
        durable: true,
    };
    Ok((waiting, row))
}
