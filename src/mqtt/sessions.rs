//! Who is connected, listens to what, and what outlives a connection.
//!
//! Sharded by identity; a shard's lock is held for a look-up, never across a wait, and nothing is
//! parsed or written under it. The outbox keeps what must be said to absent devices: a session
//! keeps filters and packet ids only.

use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hearthway_core::id::{DeviceKey, MakerId};
use hearthway_core::wire::topic::{Who, matches};
use tokio::time::Instant;

use super::limits::{
    BRIDGE_CONNECTIONS_MAX, FILTERS_PER_CLIENT_MAX, PerMinute, SIDE_CONNECTIONS_MAX, TAKEOVERS_PER_MINUTE_MAX,
};
use super::mailbox::{Bounds, Kept, Mailbox, Offered, Outgoing};
use super::reason;

/// Shards of the table: enough that two threads rarely meet.
const SHARDS: usize = 64;

/// All sessions.
pub struct Sessions {
    shards: Vec<Mutex<BTreeMap<Who, Vec<Seat>>>>,
    epochs: AtomicU64,
}

/// One client of an identity: connected, or kept for its return.
struct Seat {
    client_id: Arc<str>,
    is_main: bool,
    filters: Vec<(Arc<str>, u8)>,
    mailbox: Arc<Mailbox>,
    /// When a session without a connection is forgotten; none while connected.
    parked_until: Option<Instant>,
    takeovers: PerMinute,
}

impl Seat {
    fn is_live(&self) -> bool {
        self.parked_until.is_none()
    }
}

/// A client that comes in.
#[derive(Debug, Clone)]
pub struct Arrival {
    /// As whom.
    pub who: Who,
    /// Never empty.
    pub client_id: Arc<str>,
    /// Forget what was.
    pub clean_start: bool,
    /// How much its mailbox holds.
    pub bounds: Bounds,
}

/// A client that is in.
#[derive(Debug)]
pub struct Admitted {
    /// For the others to reach it.
    pub mailbox: Arc<Mailbox>,
    /// The session of before goes on.
    pub session_present: bool,
    /// Its filters are those of before.
    pub listens: bool,
    /// An older connection was told to end.
    pub took_over: bool,
    /// Too many takeovers in a minute: two clients fight for one name.
    pub is_storm: bool,
}

/// How a connection left its seat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Left {
    /// Nobody else has the seat.
    Vacant,
    /// A newer connection has it.
    TakenOver,
}

impl Default for Sessions {
    fn default() -> Sessions {
        Sessions { shards: (0..SHARDS).map(|_| Mutex::default()).collect(), epochs: AtomicU64::new(1) }
    }
}

impl Sessions {
    fn shard(&self, who: &Who) -> MutexGuard<'_, BTreeMap<Who, Vec<Seat>>> {
        let mut hasher = std::hash::DefaultHasher::new();
        match who {
            Who::Device(device) => device.hash(&mut hasher),
            Who::Bridge(maker) | Who::Bootstrap(maker) => maker.hash(&mut hasher),
        }
        let place = hasher.finish() as usize % SHARDS;
        // A panic elsewhere leaves whole seats behind: each change below is complete in itself.
        self.shards[place].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The number of a new connection; no two have the same.
    pub fn next_epoch(&self) -> u64 {
        self.epochs.fetch_add(1, Ordering::Relaxed)
    }

    /// Gives a client its seat. An older connection of it is told to end; none when the identity
    /// has as many clients as it may.
    pub fn admit(&self, arrival: &Arrival, now: Instant) -> Option<Admitted> {
        let epoch = self.next_epoch();
        let is_main = matches!(&arrival.who, Who::Device(device) if device.device.as_str() == &*arrival.client_id);
        let mut shard = self.shard(&arrival.who);
        let seats = shard.entry(arrival.who.clone()).or_default();
        seats.retain(|seat| seat.parked_until.is_none_or(|until| until > now));
        let Some(seat) = seats.iter_mut().find(|seat| seat.client_id == arrival.client_id) else {
            if !is_main && !make_room(seats, matches!(arrival.who, Who::Bridge(_))) {
                return None;
            }
            let mailbox = Arc::new(Mailbox::new(epoch, arrival.bounds, Kept::default()));
            seats.push(Seat {
                client_id: arrival.client_id.clone(),
                is_main,
                filters: Vec::new(),
                mailbox: mailbox.clone(),
                parked_until: None,
                takeovers: PerMinute::default(),
            });
            return Some(Admitted {
                mailbox,
                session_present: false,
                listens: false,
                took_over: false,
                is_storm: false,
            });
        };
        let took_over = seat.is_live();
        let is_storm = took_over && is_main && seat.takeovers.exceeds(TAKEOVERS_PER_MINUTE_MAX, now);
        if took_over {
            seat.mailbox.end(reason::SESSION_TAKEN_OVER, "a newer connection has this client id");
        }
        let mut kept = seat.mailbox.take_kept();
        if arrival.clean_start {
            kept = Kept::default();
            seat.filters.clear();
        }
        seat.mailbox = Arc::new(Mailbox::new(epoch, arrival.bounds, kept));
        seat.parked_until = None;
        Some(Admitted {
            mailbox: seat.mailbox.clone(),
            session_present: !arrival.clean_start,
            listens: !seat.filters.is_empty(),
            took_over,
            is_storm,
        })
    }

    /// A connection ended; its session stays for `keep`.
    pub fn leave(&self, who: &Who, client_id: &str, epoch: u64, keep: Duration, now: Instant) -> Left {
        let mut shard = self.shard(who);
        let Some(seats) = shard.get_mut(who) else { return Left::Vacant };
        let Some(place) = seats.iter().position(|seat| &*seat.client_id == client_id) else { return Left::Vacant };
        let seat = &mut seats[place];
        if seat.mailbox.epoch != epoch {
            return Left::TakenOver;
        }
        seat.mailbox.end(reason::SUCCESS, "");
        if keep.is_zero() {
            seats.swap_remove(place);
            if seats.is_empty() {
                shard.remove(who);
            }
        } else {
            seat.parked_until = Some(now + keep);
        }
        Left::Vacant
    }

    /// Whether a client of this identity came back after a connection of that number.
    pub fn is_back(&self, who: &Who, client_id: &str, epoch: u64) -> bool {
        let shard = self.shard(who);
        let seat = shard.get(who).and_then(|seats| seats.iter().find(|seat| &*seat.client_id == client_id));
        seat.is_some_and(|seat| seat.mailbox.epoch > epoch)
    }

    /// Adds a subscription; `false` when the client has as many as it may.
    pub fn subscribe(&self, who: &Who, client_id: &str, epoch: u64, filter: &str, qos: u8) -> bool {
        let mut shard = self.shard(who);
        let Some(seat) = seat_of(&mut shard, who, client_id, epoch) else { return false };
        if let Some(known) = seat.filters.iter_mut().find(|known| &*known.0 == filter) {
            known.1 = qos;
            return true;
        }
        if seat.filters.len() >= FILTERS_PER_CLIENT_MAX {
            return false;
        }
        seat.filters.push((Arc::from(filter), qos));
        true
    }

    /// Takes a subscription away; `false` when there was none.
    pub fn unsubscribe(&self, who: &Who, client_id: &str, epoch: u64, filter: &str) -> bool {
        let mut shard = self.shard(who);
        let Some(seat) = seat_of(&mut shard, who, client_id, epoch) else { return false };
        let before = seat.filters.len();
        seat.filters.retain(|known| &*known.0 != filter);
        seat.filters.len() < before
    }

    /// Hands a message to every connection of the device that listens, else to a bridge of its
    /// maker. One copy's acknowledgement is the row's: the main connection's, else that of any
    /// side connection at QoS 1, else the writing at QoS 0. `true` when that copy was taken.
    pub fn deliver(&self, device: &DeviceKey, outgoing: &Outgoing) -> bool {
        let mut listeners = self.listeners(&Who::Device(device.clone()), &outgoing.topic);
        if listeners.is_empty() {
            listeners = self.listeners(&Who::Bridge(device.maker.clone()), &outgoing.topic);
            // Bridges share the work of one maker: one of them has the message, the one that came last.
            listeners.sort_by_key(|listener| std::cmp::Reverse(listener.mailbox.epoch));
            listeners.truncate(1);
        }
        let Some(best) = listeners.iter().map(Listener::rank).max() else { return false };
        let mut was_taken = false;
        for listener in listeners {
            let settles = listener.rank() == best;
            let qos = listener.qos.min(outgoing.qos);
            let offered = listener.mailbox.offer(Outgoing { settles, qos, ..outgoing.clone() });
            was_taken |= settles && offered == Offered::Taken;
        }
        was_taken
    }

    fn listeners(&self, who: &Who, topic: &str) -> Vec<Listener> {
        let shard = self.shard(who);
        let seats = shard.get(who).map(Vec::as_slice).unwrap_or_default();
        let live = seats.iter().filter(|seat| seat.is_live());
        live.filter_map(|seat| {
            let granted =
                seat.filters.iter().filter(|(filter, _)| matches(filter, topic)).map(|(_, qos)| *qos).max()?;
            Some(Listener { mailbox: seat.mailbox.clone(), qos: granted, is_main: seat.is_main })
        })
        .collect()
    }

    /// Ends every live connection of an identity. Says how many there were.
    pub fn end(&self, who: &Who, reason: u8, why: &str) -> usize {
        let shard = self.shard(who);
        let seats = shard.get(who).map(Vec::as_slice).unwrap_or_default();
        seats.iter().filter(|seat| seat.is_live()).map(|seat| seat.mailbox.end(reason, why)).count()
    }

    /// Ends every live connection of a maker's bridges.
    pub fn end_bridges(&self, maker: &MakerId, reason: u8, why: &str) -> usize {
        self.end(&Who::Bridge(maker.clone()), reason, why)
    }

    /// Whether a device has a live main connection.
    pub fn is_connected(&self, device: &DeviceKey) -> bool {
        let who = Who::Device(device.clone());
        let shard = self.shard(&who);
        shard.get(&who).is_some_and(|seats| seats.iter().any(|seat| seat.is_main && seat.is_live()))
    }

    /// Forgets sessions whose time is over.
    pub fn sweep(&self, now: Instant) {
        for shard in &self.shards {
            let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            shard.retain(|_, seats| {
                seats.retain(|seat| seat.parked_until.is_none_or(|until| until > now));
                !seats.is_empty()
            });
        }
    }
}

struct Listener {
    mailbox: Arc<Mailbox>,
    qos: u8,
    is_main: bool,
}

impl Listener {
    /// The higher, the more its acknowledgement says.
    fn rank(&self) -> u8 {
        match (self.is_main, self.qos) {
            (true, 1..) => 3,
            (false, 1..) => 2,
            (true, 0) => 1,
            (false, 0) => 0,
        }
    }
}

fn seat_of<'a>(
    shard: &'a mut BTreeMap<Who, Vec<Seat>>,
    who: &Who,
    client_id: &str,
    epoch: u64,
) -> Option<&'a mut Seat> {
    let seat = shard.get_mut(who)?.iter_mut().find(|seat| &*seat.client_id == client_id)?;
    (seat.mailbox.epoch == epoch).then_some(seat)
}

/// Makes room for one more side connection, at the cost of the session that ends first among
/// those without a connection.
fn make_room(seats: &mut Vec<Seat>, is_bridge: bool) -> bool {
    let bound = if is_bridge { BRIDGE_CONNECTIONS_MAX } else { SIDE_CONNECTIONS_MAX };
    if seats.iter().filter(|seat| !seat.is_main).count() < bound {
        return true;
    }
    let parked = seats.iter().enumerate().filter(|(_, seat)| !seat.is_main && !seat.is_live());
    match parked.min_by_key(|(_, seat)| seat.parked_until).map(|(place, _)| place) {
        Some(place) => {
            seats.swap_remove(place);
            true
        }
        None => false,
    }
}
