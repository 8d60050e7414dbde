//! What other threads leave for a connection: deliveries, commits, an end.
//!
//! One mailbox per connection and never reused, so a late commit cannot acknowledge on a newer
//! connection of the same client. Its lock is held for moments, never across a wait.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hearthway_core::id::DeviceKey;
use hearthway_core::time::Timestamp;
use tokio::sync::Notify;

use super::reason;

/// A row of the outbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Whose.
    pub device: DeviceKey,
    /// Its number.
    pub n: u64,
}

/// A message on its way to a client.
#[derive(Debug, Clone)]
pub struct Outgoing {
    /// The outbox row; none for an answer that no outbox keeps.
    pub row: Option<Row>,
    /// This copy's acknowledgement is the row's.
    pub settles: bool,
    /// The full topic.
    pub topic: Arc<str>,
    /// The payload.
    pub payload: Arc<[u8]>,
    /// 0 or 1.
    pub qos: u8,
    /// Until when it is worth saying.
    pub expires_at: Option<Timestamp>,
    /// The trace id; empty for none.
    pub trace: Arc<str>,
}

/// A delivery that waits for its PUBACK.
#[derive(Debug)]
pub struct Flight {
    /// Its packet id.
    pub id: u16,
    /// The outbox row.
    pub row: Option<Row>,
    /// Whether the acknowledgement is the row's.
    pub settles: bool,
}

impl Flight {
    fn n(&self) -> Option<u64> {
        self.row.as_ref().map(|row| row.n)
    }
}

/// A message to write at once.
#[derive(Debug)]
pub struct Due {
    /// What.
    pub outgoing: Outgoing,
    /// Its packet id; 0 at QoS 0.
    pub id: u16,
    /// A redelivery.
    pub dup: bool,
}

/// What became of a publish.
#[derive(Debug)]
pub enum Note {
    /// It is on disk: acknowledge.
    Durable {
        /// Which.
        id: u16,
        /// 0, 1 or 2.
        qos: u8,
    },
    /// It is not: end the connection, so that the client sends it again.
    Failed(String),
    /// A provisioning request was answered.
    Provisioned {
        /// Which.
        id: u16,
        /// At which QoS it came.
        qos: u8,
        /// Where to answer.
        topic: String,
        /// The answer.
        payload: Vec<u8>,
    },
}

/// Why a connection must end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ending {
    /// The MQTT 5 reason code.
    pub reason: u8,
    /// In words.
    pub why: String,
}

/// What a mailbox did with a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Offered {
    /// Has it.
    Taken,
    /// Has no room; the outbox is asked again when there is some.
    Full,
    /// The connection ends.
    Ending,
}

/// How much a mailbox holds.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Deliveries that wait for an acknowledgement.
    pub flights: usize,
    /// Deliveries that wait to be written.
    pub waiting: usize,
    /// Bytes of those.
    pub waiting_bytes: usize,
}

/// What a session keeps from one connection to the next.
#[derive(Debug, Default)]
pub struct Kept {
    /// Rows written before and not acknowledged, with their packet ids: if the outbox sends them
    /// again, they go out again as the same packet.
    earlier: BTreeMap<u64, u16>,
    /// QoS 2 publishes that are on disk and not released.
    received: BTreeSet<u16>,
    last_id: u16,
}

/// See the module.
#[derive(Debug)]
pub struct Mailbox {
    /// Grows with every connection.
    pub epoch: u64,
    bounds: Bounds,
    inner: Mutex<Inner>,
    bell: Notify,
}

#[derive(Debug, Default)]
struct Inner {
    notes: Vec<Note>,
    waiting: VecDeque<Outgoing>,
    waiting_bytes: usize,
    flights: Vec<Flight>,
    held: BTreeSet<u64>,
    turned_away: bool,
    ending: Option<Ending>,
    kept: Kept,
}

impl Outgoing {
    fn n(&self) -> Option<u64> {
        self.row.as_ref().map(|row| row.n)
    }
    fn bytes(&self) -> usize {
        self.payload.len() + self.topic.len()
    }
}

impl Mailbox {
    /// An empty mailbox that goes on where an earlier connection ended.
    pub fn new(epoch: u64, bounds: Bounds, kept: Kept) -> Mailbox {
        let inner = Inner { kept, ..Inner::default() };
        Mailbox { epoch, bounds, inner: Mutex::new(inner), bell: Notify::new() }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Nothing under this lock can leave it half changed, so a panic elsewhere is no reason to fail here.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Resolves when something was left. Cancel-safe.
    pub async fn rung(&self) {
        self.bell.notified().await;
    }

    /// Leaves a delivery. A row that is here already is taken and not said twice.
    pub fn offer(&self, outgoing: Outgoing) -> Offered {
        let mut inner = self.lock();
        if inner.ending.is_some() {
            return Offered::Ending;
        }
        if outgoing.n().is_some_and(|n| inner.held.contains(&n)) {
            return Offered::Taken;
        }
        let bytes = outgoing.bytes();
        if inner.waiting.len() >= self.bounds.waiting || inner.waiting_bytes + bytes > self.bounds.waiting_bytes {
            inner.turned_away = true;
            return Offered::Full;
        }
        inner.held.extend(outgoing.n());
        inner.waiting_bytes += bytes;
        inner.waiting.push_back(outgoing);
        drop(inner);
        self.bell.notify_one();
        Offered::Taken
    }

    /// Leaves what became of a publish. Bounded by the publishes in flight.
    pub fn note(&self, note: Note) {
        self.lock().notes.push(note);
        self.bell.notify_one();
    }

    /// Asks the connection to end. The first reason stays.
    pub fn end(&self, reason: u8, why: &str) {
        self.lock().ending.get_or_insert_with(|| Ending { reason, why: why.to_owned() });
        self.bell.notify_one();
    }

    /// Why the connection must end, where it must.
    pub fn ending(&self) -> Option<Ending> {
        self.lock().ending.clone()
    }

    /// Takes the notes, in the order they were left.
    pub fn take_notes(&self, into: &mut Vec<Note>) {
        into.append(&mut self.lock().notes);
    }

    /// Takes the next delivery that the window lets out.
    pub fn next_due(&self) -> Option<Due> {
        let mut inner = self.lock();
        if inner.waiting.front()?.qos > 0 && inner.flights.len() >= self.bounds.flights {
            return None;
        }
        let outgoing = inner.waiting.pop_front()?;
        inner.waiting_bytes -= outgoing.bytes();
        if outgoing.qos == 0 {
            if let Some(n) = outgoing.n() {
                inner.held.remove(&n);
            }
            return Some(Due { outgoing, id: 0, dup: false });
        }
        let earlier = outgoing.n().and_then(|n| inner.kept.earlier.remove(&n));
        let id = earlier.unwrap_or_else(|| inner.free_id());
        inner.flights.push(Flight { id, row: outgoing.row.clone(), settles: outgoing.settles });
        Some(Due { outgoing, id, dup: earlier.is_some() })
    }

    /// Whether deliveries were turned away and there is room: time to ask the outbox again.
    pub fn has_room_again(&self) -> bool {
        let mut inner = self.lock();
        let has_room = inner.turned_away && inner.waiting.is_empty() && inner.flights.len() < self.bounds.flights;
        if has_room {
            inner.turned_away = false;
        }
        has_room
    }

    /// A delivery was acknowledged, or given up.
    pub fn landed(&self, id: u16) -> Option<Flight> {
        let mut inner = self.lock();
        if let Some(place) = inner.flights.iter().position(|flight| flight.id == id) {
            let flight = inner.flights.remove(place);
            if let Some(n) = flight.n() {
                inner.held.remove(&n);
            }
            return Some(flight);
        }
        // An acknowledgement of what an earlier connection wrote: its row is told by the outbox.
        inner.kept.earlier.retain(|_, earlier| *earlier != id);
        None
    }

    /// Whether a QoS 2 publish is on disk and not yet released.
    pub fn is_received(&self, id: u16) -> bool {
        self.lock().kept.received.contains(&id)
    }

    /// A QoS 2 publish is on disk.
    pub fn received(&self, id: u16) {
        self.lock().kept.received.insert(id);
    }

    /// How many QoS 2 publishes are on disk and not released.
    pub fn unreleased(&self) -> usize {
        self.lock().kept.received.len()
    }

    /// A QoS 2 publish is released. Says whether it was known.
    pub fn released(&self, id: u16) -> bool {
        self.lock().kept.received.remove(&id)
    }

    /// Takes what the next connection of the session needs. From here on this mailbox is dead.
    pub fn take_kept(&self) -> Kept {
        let mut inner = self.lock();
        inner.ending.get_or_insert_with(|| Ending { reason: reason::SESSION_TAKEN_OVER, why: String::new() });
        let mut kept = std::mem::take(&mut inner.kept);
        // What was neither sent again nor acknowledged by now has been withdrawn or has expired.
        if kept.earlier.len() > 4 * self.bounds.flights {
            kept.earlier.clear();
        }
        kept.earlier.extend(inner.flights.drain(..).filter_map(|flight| Some((flight.n()?, flight.id))));
        inner.waiting.clear();
        inner.held.clear();
        kept
    }
}

impl Inner {
    /// The next packet id that nothing unacknowledged has.
    fn free_id(&mut self) -> u16 {
        loop {
            self.kept.last_id = self.kept.last_id.checked_add(1).unwrap_or(1);
            let id = self.kept.last_id;
            let is_free = !self.flights.iter().any(|flight| flight.id == id)
                && !self.kept.earlier.values().any(|used| *used == id);
            if is_free {
                return id;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const BOUNDS: Bounds = Bounds { flights: 2, waiting: 3, waiting_bytes: 1_000 };

    fn outgoing(n: u64) -> Outgoing {
        Outgoing {
            row: Some(Row { device: "acme/d-42".parse().unwrap(), n }),
            settles: true,
            topic: "t".into(),
            payload: Arc::from(&b"p"[..]),
            qos: 1,
            expires_at: None,
            trace: "".into(),
        }
    }

    #[test]
    fn the_window_holds_deliveries_back_until_one_is_acknowledged() {
        let mailbox = Mailbox::new(1, BOUNDS, Kept::default());
        for n in 1..=3 {
            assert_eq!(mailbox.offer(outgoing(n)), Offered::Taken);
        }
        let first = mailbox.next_due().unwrap();
        assert!(mailbox.next_due().is_some());
        assert!(mailbox.next_due().is_none(), "two are unacknowledged and the client takes two");
        assert_eq!(mailbox.landed(first.id).unwrap().n(), Some(1));
        assert_eq!(mailbox.next_due().unwrap().outgoing.n(), Some(3));
    }

    #[test]
    fn what_has_no_room_is_asked_for_again_when_there_is_some() {
        let mailbox = Mailbox::new(1, BOUNDS, Kept::default());
        for n in 1..=3 {
            mailbox.offer(outgoing(n));
        }
        assert_eq!(mailbox.offer(outgoing(4)), Offered::Full);
        assert!(!mailbox.has_room_again());
        let ids: Vec<u16> = (0..2).map(|_| mailbox.next_due().unwrap().id).collect();
        for id in ids {
            mailbox.landed(id);
        }
        mailbox.next_due().unwrap();
        assert!(mailbox.has_room_again());
        assert!(!mailbox.has_room_again(), "once is enough");
    }

    #[test]
    fn a_row_that_is_held_is_not_said_twice() {
        let mailbox = Mailbox::new(1, BOUNDS, Kept::default());
        mailbox.offer(outgoing(1));
        assert_eq!(mailbox.offer(outgoing(1)), Offered::Taken);
        mailbox.next_due().unwrap();
        assert!(mailbox.next_due().is_none());
    }

    #[test]
    fn a_resumed_session_repeats_with_the_same_packet_id_and_dup() {
        let old = Mailbox::new(1, BOUNDS, Kept::default());
        old.offer(outgoing(7));
        let written = old.next_due().unwrap();
        let resumed = Mailbox::new(2, BOUNDS, old.take_kept());
        resumed.offer(outgoing(8));
        resumed.offer(outgoing(7));
        let fresh = resumed.next_due().unwrap();
        let again = resumed.next_due().unwrap();
        assert_ne!(fresh.id, written.id, "an unacknowledged packet id is not given away");
        assert!(!fresh.dup);
        assert_eq!((again.id, again.dup), (written.id, true));
        assert_eq!(old.offer(outgoing(9)), Offered::Ending);
    }
}
