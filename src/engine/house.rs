//! What all shards share: the seams, the ways in, and the indexes over all households.

use std::collections::{BTreeSet, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

use hearthway_core::id::{DeviceKey, HouseholdId, InputId};
use hearthway_core::input::{Command, Input, Sender, What};
use hearthway_core::time::Timestamp;
use tokio::sync::mpsc;

use super::budget::Budgets;
use super::codes::Codes;
use super::decider::Decider;
use super::events::Events;
use super::job::{InputJob, Job};
use super::metrics::Meters;
use super::outbox::Outbox;
use super::quarantine::Quarantine;
use super::routes::{Directory, Route};
use super::rows::{self, HouseholdRow, MoveRow};
use super::tail::{Tail, is_tail};
use super::timers::Timers;
use super::{Link, Repeat, RuleBook, Settings, Target, Waiter};
use crate::clock::Clock;
use crate::store::codec::{self, Schema};
use crate::store::{Store, StoreError, keys};

/// Devices on their way between households at once; a further one is told to come again. With
/// what waits for each it bounds what moves hold in memory.
pub(super) const MOVES_IN_FLIGHT_MAX: usize = 256;

pub(super) struct House {
    pub(super) settings: Settings,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) store: Arc<dyn Store>,
    pub(super) rules: Arc<dyn RuleBook>,
    pub(super) decider: Decider,
    pub(super) inboxes: Inboxes,
    pub(super) directory: Directory,
    pub(super) outbox: Outbox,
    pub(super) quarantine: Quarantine,
    pub(super) budgets: Arc<Budgets>,
    pub(super) codes: Arc<Codes>,
    pub(super) events: Events,
    pub(super) timers: Timers,
    pub(super) meters: Meters,
    /// Devices whose leaving is decided and whose arrival is not yet durable.
    pub(super) moves: AtomicUsize,
    /// No more is taken in.
    pub(super) closed: AtomicBool,
    link: RwLock<Option<Arc<dyn Link>>>,
    /// Arrivals that could not be committed; tried again by and by.
    stalled: Mutex<Vec<MoveRow>>,
    trouble: Mutex<Option<StoreError>>,
    /// Since when the store has been busy with the group that it is at.
    committing: Mutex<Option<Instant>>,
}

/// A disk that has not kept a group after so long is in trouble: a healthy one takes milliseconds,
/// and one that is busy with other work a second or two.
pub(super) const COMMIT_STALLED_AFTER: Duration = Duration::from_secs(5);

impl House {
    /// Reads back from the store all that the engine keeps in memory.
    pub(super) fn open(
        settings: Settings,
        clock: Arc<dyn Clock>,
        store: Arc<dyn Store>,
        rules: Arc<dyn RuleBook>,
        decider: Decider,
        inboxes: Inboxes,
    ) -> Result<Arc<House>, StoreError> {
        let (directory, timers) = (Directory::default(), Timers::default());
        rows::walk(&*store, &keys::routes(), |key, bytes| {
            if let Some(device) = keys::device_of(key) {
                directory.set_route(&device, codec::decode::<Route>(Schema::Route, key, bytes)?);
            }
            Ok(true)
        })?;
        let know = |row: HouseholdRow| {
            timers.set(row.facts.id, row.facts.next_deadline());
            for device in row.facts.devices.values() {
                if let Some(claim) = &device.claim {
                    directory.set_code(&device.key, Some(claim.code.clone()));
                }
            }
        };
        // A record is followed by its tail, if it has one.
        let mut last: Option<HouseholdRow> = None;
        rows::walk(&*store, &keys::households(), |key, bytes| {
            match &mut last {
                Some(row) if is_tail(key, row.facts.id) => {
                    Tail::catch_up(row, Some(bytes), decider)?;
                }
                // Of a home that was erased.
                None if keys::is_household_tail(key) => {}
                _ => {
                    let row = rows::unless_erased(codec::decode::<HouseholdRow>(Schema::Household, key, bytes))?;
                    std::mem::replace(&mut last, row).map(know);
                }
            }
            Ok(true)
        })?;
        last.map(know);
        let mut unfinished = Vec::new();
        rows::walk(&*store, &keys::moves(), |key, bytes| {
            unfinished.extend(rows::unless_erased(codec::decode::<MoveRow>(Schema::Move, key, bytes))?);
            Ok(true)
        })?;
        let house = Arc::new(House {
            outbox: Outbox::open(&*store)?,
            quarantine: Quarantine::open(&*store)?,
            budgets: Budgets::open(&*store, decider)?,
            codes: Codes::open(&*store)?,
            events: Events::open(&*store)?,
            settings,
            clock,
            store,
            rules,
            decider,
            inboxes,
            directory,
            timers,
            meters: Meters::new(),
            moves: AtomicUsize::new(unfinished.len()),
            closed: AtomicBool::new(false),
            link: RwLock::new(None),
            stalled: Mutex::default(),
            trouble: Mutex::default(),
            committing: Mutex::default(),
        });
        for unfinished in unfinished {
            let arrival = house.arrival(&unfinished, Waiter::None);
            house.inboxes.push(unfinished.to, [arrival]);
        }
        Ok(house)
    }

    pub(super) fn link(&self) -> Option<Arc<dyn Link>> {
        self.link.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
    pub(super) fn set_link(&self, link: Option<Arc<dyn Link>>) {
        *self.link.write().unwrap_or_else(PoisonError::into_inner) = link;
    }

    /// The input that brings a device to its new household.
    pub(super) fn arrival(&self, row: &MoveRow, waiter: Waiter) -> Job {
        let id = InputId::derived(&[b"arrive", row.id.bytes()]);
        let (id_of_move, from, device, join) = (row.id, row.from, row.device.clone(), row.join.clone());
        let command = match row.contacts.clone() {
            none if none.is_empty() => Command::Arrive { id: id_of_move, from, device, join },
            contacts => Command::ArriveKnown { id: id_of_move, from, device, join, contacts },
        };
        let what = What::Command(command);
        let input = self.own_input(id, Some(row.device.key.clone()), self.clock.now(), what);
        let to = Target::Household(row.to);
        Job::Input(Box::new(InputJob { to, input, repeat: Repeat::Ignore, waiter, queued: None }))
    }

    /// An input that the engine itself makes: its randomness is derived as its id is, so that a
    /// seeded world stays one.
    pub(super) fn own_input(
        &self,
        id: InputId,
        device: Option<DeviceKey>,
        received_at: Timestamp,
        what: What,
    ) -> Input {
        let entropy = id.0.first_chunk::<8>().map_or(0, |bytes| u64::from_be_bytes(*bytes));
        let sender = Sender::default();
        Input { id, message: None, received_at, device, entropy, payload_bytes: 0, sender, what }
    }

    pub(super) fn stall(&self, arrival: MoveRow) {
        lock(&self.stalled).push(arrival);
    }
    /// Arrivals that could not be committed are tried again.
    pub(super) fn retry_stalled(&self) {
        for row in std::mem::take(&mut *lock(&self.stalled)) {
            let arrival = self.arrival(&row, Waiter::None);
            self.inboxes.push(row.to, [arrival]);
        }
    }

    /// The last failure of the store, until a commit succeeds again.
    pub(super) fn trouble(&self) -> Option<StoreError> {
        lock(&self.trouble).clone()
    }
    pub(super) fn set_trouble(&self, trouble: Option<StoreError>) {
        *lock(&self.trouble) = trouble;
    }
    /// A group is handed to the store, or the store has answered.
    pub(super) fn set_committing(&self, since: Option<Instant>) {
        *lock(&self.committing) = since;
    }
    /// A store that does not answer. Nothing is acknowledged meanwhile, and nothing has failed.
    pub(super) fn stalled_commit(&self) -> Option<StoreError> {
        let waited = lock(&self.committing).map(|since| since.elapsed())?;
        let cause =
            || format!("the disk has not answered for {} s; nothing is acknowledged meanwhile", waited.as_secs());
        (waited >= COMMIT_STALLED_AFTER).then(|| StoreError::Failed { doing: "committing a group", cause: cause() })
    }
    pub(super) fn move_ended(&self) {
        let before = self.moves.fetch_sub(1, Ordering::Relaxed);
        self.meters.moves_in_flight.set(before.saturating_sub(1) as f64);
    }
}

/// The ways into the shards: a bounded queue each, and a side door for what the engine itself
/// must pass on. The side door never blocks, so that no thread of the engine ever waits for
/// another in a circle; it is bounded by [`MOVES_IN_FLIGHT_MAX`] with what waits for each, and by
/// one entry per device.
pub(super) struct Inboxes {
    of: Vec<Inbox>,
}

struct Inbox {
    queue: mpsc::Sender<Job>,
    urgent: Mutex<Urgent>,
}

#[derive(Default)]
struct Urgent {
    jobs: VecDeque<Job>,
    reachable: BTreeSet<DeviceKey>,
}

impl Inboxes {
    pub(super) fn new(queues: impl IntoIterator<Item = mpsc::Sender<Job>>) -> Inboxes {
        Inboxes { of: queues.into_iter().map(|queue| Inbox { queue, urgent: Mutex::default() }).collect() }
    }
    pub(super) fn len(&self) -> usize {
        self.of.len()
    }
    /// The shard of a household.
    pub(super) fn shard_of(&self, household: HouseholdId) -> usize {
        usize::from(household.0[0]) % self.of.len()
    }
    pub(super) fn queue(&self, shard: usize) -> &mpsc::Sender<Job> {
        &self.of[shard].queue
    }
    /// Passes jobs on to a household's shard, by the side door.
    pub(super) fn push(&self, household: HouseholdId, jobs: impl IntoIterator<Item = Job>) {
        let shard = self.shard_of(household);
        lock(&self.of[shard].urgent).jobs.extend(jobs);
        self.wake(shard);
    }
    /// A device of a household listens.
    pub(super) fn push_reachable(&self, household: HouseholdId, device: DeviceKey) {
        let shard = self.shard_of(household);
        lock(&self.of[shard].urgent).reachable.insert(device);
        self.wake(shard);
    }
    /// What came by the side door, in order.
    pub(super) fn take_urgent(&self, shard: usize) -> Option<Job> {
        let mut urgent = lock(&self.of[shard].urgent);
        urgent.jobs.pop_front().or_else(|| urgent.reachable.pop_first().map(Job::Reachable))
    }
    pub(super) fn wake(&self, shard: usize) {
        // A full queue is awake.
        let _ = self.of[shard].queue.try_send(Job::Wake);
    }
    /// Whether nothing waits at any side door.
    pub(super) fn side_doors_are_empty(&self) -> bool {
        self.of.iter().all(|inbox| {
            let urgent = lock(&inbox.urgent);
            urgent.jobs.is_empty() && urgent.reachable.is_empty()
        })
    }
}

/// A panic in a test's rule must not hide the failure behind a poisoned lock.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
