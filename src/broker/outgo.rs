//! What waits to be published: a bounded queue between the engine's threads and the line.
//!
//! The rows in the outbox are the truth; here stand those that are on their way. When the
//! connection ends, all that is kept is for which devices something was on its way: at the next
//! connection the outbox is asked for it again.

use std::collections::{BTreeSet, HashSet, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use hearthway_core::id::DeviceKey;
use tokio::sync::Notify;

use crate::mqtt::mailbox::Outgoing;

/// Messages that wait to be published: some seconds of a busy broker's work.
pub const WAITING_MESSAGES_MAX: usize = 4_096;
/// Bytes of those: all of them large offers.
pub const WAITING_BYTES_MAX: usize = 16 * 1024 * 1024;

/// The queue.
#[derive(Default)]
pub struct Outgo {
    inner: Mutex<Inner>,
    bell: Notify,
}

#[derive(Default)]
struct Inner {
    is_open: bool,
    waiting: VecDeque<Outgoing>,
    waiting_bytes: usize,
    /// Rows that wait here or are in flight: they are not taken a second time.
    held: HashSet<u64>,
    /// Devices whose messages found no room or no connection. Bounded by the devices heard
    /// through the broker.
    turned_away: BTreeSet<DeviceKey>,
}

impl Outgo {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes messages from here on.
    pub fn open(&self) {
        self.lock().is_open = true;
    }

    /// Takes no more and forgets every message; not for whom they were.
    pub fn close(&self) {
        let mut inner = self.lock();
        let mut turned_away = std::mem::take(&mut inner.turned_away);
        turned_away.extend(inner.waiting.drain(..).filter_map(|outgoing| Some(outgoing.row?.device)));
        *inner = Inner { turned_away, ..Inner::default() };
    }

    /// Something for this device was lost on its way.
    pub fn turn_away(&self, device: &DeviceKey) {
        self.lock().turned_away.insert(device.clone());
    }

    /// Leaves a message. A row that is here already is taken and not said twice.
    pub fn offer(&self, outgoing: Outgoing) -> bool {
        let mut inner = self.lock();
        let row = outgoing.row.as_ref();
        if !inner.is_open {
            inner.turned_away.extend(row.map(|row| row.device.clone()));
            return false;
        }
        if row.is_some_and(|row| inner.held.contains(&row.n)) {
            return true;
        }
        let bytes = outgoing.payload.len() + outgoing.topic.len();
        if inner.waiting.len() >= WAITING_MESSAGES_MAX || inner.waiting_bytes + bytes > WAITING_BYTES_MAX {
            if let Some(row) = row {
                inner.turned_away.insert(row.device.clone());
            }
            return false;
        }
        if let Some(row) = &outgoing.row {
            inner.held.insert(row.n);
        }
        inner.waiting_bytes += bytes;
        inner.waiting.push_back(outgoing);
        drop(inner);
        self.bell.notify_one();
        true
    }

    /// Resolves when something was left. Cancel-safe.
    pub async fn rung(&self) {
        self.bell.notified().await;
    }

    /// Takes the next message.
    pub fn next(&self) -> Option<Outgoing> {
        let mut inner = self.lock();
        let outgoing = inner.waiting.pop_front()?;
        inner.waiting_bytes -= outgoing.payload.len() + outgoing.topic.len();
        Some(outgoing)
    }

    /// A row is no longer on its way.
    pub fn let_go(&self, n: u64) {
        self.lock().held.remove(&n);
    }

    /// Devices that were turned away, once there is room for them.
    pub fn take_turned_away(&self) -> BTreeSet<DeviceKey> {
        let mut inner = self.lock();
        if !inner.is_open
            || inner.waiting.len() > WAITING_MESSAGES_MAX / 2
            || inner.waiting_bytes > WAITING_BYTES_MAX / 2
        {
            return BTreeSet::new();
        }
        std::mem::take(&mut inner.turned_away)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::mqtt::mailbox::Row;

    fn row(n: u64, bytes: usize) -> Outgoing {
        Outgoing {
            row: Some(Row { device: "acme/d-42".parse().unwrap(), n }),
            settles: true,
            topic: "t".into(),
            payload: vec![0; bytes].into(),
            qos: 1,
            expires_at: None,
            trace: "".into(),
        }
    }

    #[test]
    fn a_row_on_its_way_is_not_taken_twice_and_a_closed_queue_forgets_it() {
        let outgo = Outgo::default();
        assert!(!outgo.offer(row(1, 1)), "nobody is connected");
        outgo.open();
        assert!(outgo.offer(row(1, 1)) && outgo.offer(row(1, 1)));
        assert!(outgo.next().is_some() && outgo.next().is_none());
        assert!(outgo.offer(row(1, 1)) && outgo.next().is_none(), "in flight is on its way, too");
        outgo.turn_away(&"acme/d-42".parse().unwrap());
        outgo.close();
        assert!(outgo.take_turned_away().is_empty(), "nobody can be told yet");
        outgo.open();
        assert_eq!(outgo.take_turned_away().len(), 1);
        assert!(outgo.offer(row(1, 1)) && outgo.next().is_some(), "a lost connection leaves the row to the outbox");
        outgo.let_go(1);
        assert!(outgo.offer(row(1, 1)) && outgo.next().is_some());
    }

    #[test]
    fn a_full_queue_names_those_it_turned_away_once_there_is_room() {
        let outgo = Outgo::default();
        outgo.open();
        outgo.take_turned_away();
        let half = WAITING_BYTES_MAX / 2;
        assert!(outgo.offer(row(1, half)) && !outgo.offer(row(2, half)));
        assert!(outgo.take_turned_away().is_empty(), "there is no room yet");
        outgo.next().unwrap();
        assert_eq!(outgo.take_turned_away().len(), 1);
        assert!(outgo.take_turned_away().is_empty());
    }
}
