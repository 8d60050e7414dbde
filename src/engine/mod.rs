//! Input → outcome: one writer per household, over N shards, with group commit.
//!
//! The way of an input: `submit` → shard queue → facts → `decide` → commit → (durable) →
//! waiter answered, outbox dispatched. Nothing is acknowledged before it is on disk.
//!
//! | file | what it holds |
//! |---|---|
//! | `shard` | the state machine that decides; no threads |
//! | `writer` | groups of commits, and what happens once they are durable |
//! | `threads` | the shell that moves both |
//! | `house` | what shards share; `facts` the households in memory |
//! | `routes` | where devices live, and what waits while one moves |
//! | `outbox`, `speak` | what waits for devices, and its rendering |
//! | `seen`, `log`, `rows` | message ids, the input log, the types on disk |
//! | `sealing` | whose key seals what an input leaves on disk |
//! | `budget` | what orders of all homes draw from budgets |
//! | `log_age` | how long the input log is kept |
//! | `sweep` | homes looked at because a trigger went live |
//! | `elsewhere` | what people with several homes were told in each |
//! | `sends` | what all homes were sent under caps that they share |
//! | `events` | what is told to webhooks |
//! | `codes` | unique codes of pools, each for one offer |
//! | `stock` | what stands in stores and at sellers, each piece put aside once |
//! | `tail` | what happened to a household since its record was written |
//! | `ledgers`, `reports` | what reports count, and what they tell |
//! | `poison`, `quarantine`, `excerpt` | what nobody understood or what failed us, redacted, for its maker |
//! | `timers` | deadlines of households |
//! | `explain` | why, also of silence |
//! | `past`, `replay`, `backtest` | the log decided again: as it was, and with other triggers |
//! | `reach` | whom a trigger would reach |

mod audiences;
pub mod backtest;
mod budget;
pub mod codes;
mod decider;
mod elsewhere;
pub mod entropy;
pub mod events;
mod excerpt;
pub mod explain;
mod facts;
pub mod history;
mod house;
mod job;
mod ledgers;
mod log;
mod log_age;
pub mod metrics;
mod outbox;
pub mod past;
mod poison;
mod prepared;
pub mod quarantine;
pub mod reach;
pub mod replay;
pub mod reports;
pub mod routes;
pub mod rows;
mod sealing;
mod seen;
mod sends;
mod shard;
mod speak;
pub mod stock;
pub mod sweep;
mod tail;
#[cfg(test)]
mod tests;
mod threads;
mod timers;
mod writer;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use hearthway_core::budget::{Hearing, SharedCap, Spent};
use hearthway_core::code::{Code, Refusal};
use hearthway_core::decision::Reply;
use hearthway_core::id::{DeviceKey, DeviceName, HouseholdId, InputId, MakerId, RetailerId, TriggerId};
use hearthway_core::input::{Command, Input, What};
use hearthway_core::model::Household;
use hearthway_core::money::Currency;
use hearthway_core::rules::RuleSet;
use tokio::sync::{mpsc, oneshot};

pub use decider::Decider;
pub use explain::{Explained, MessageSeen};
pub(crate) use ledgers::MONTHS_KEPT;
pub use past::{Past, Window};
pub use quarantine::{QuarantineRow, RefusedPayload};
pub use routes::Route;

use crate::clock::Clock;
use crate::store::{self, Commit, Store, StoreError};
use house::{House, Inboxes, lock};
use job::{InputJob, Job, Queued, retry};
use routes::Admitted;
use shard::{Shard, Step};
use writer::{Work, Writer};

/// Rounds of emptying the queues at the end: a move needs two, and what it forwards one more.
const DRAIN_ROUNDS_MAX: usize = 16;

/// Where an input goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// To the household that the device lives in; a device that is not registered is refused,
    /// except for `Register`, which goes to its prospect household.
    Device(DeviceKey),
    /// To this household.
    Household(HouseholdId),
}

/// Who waits for the durable commit.
pub enum Waiter {
    /// Nobody.
    None,
    /// An MQTT connection that owes an acknowledgement. Called once, from one of the engine's
    /// threads, after the commit is durable; must not block.
    Ack(Box<dyn FnOnce(Outcome) + Send>),
    /// A caller.
    Caller(oneshot::Sender<Outcome>),
}

/// Whether an input's message id is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repeat {
    /// Checked and remembered.
    Remember,
    /// Remembered and not checked: the short form without a redelivery flag, whose id is only as
    /// good as MQTT's packet id.
    RememberUnlessRedelivered,
    /// Neither.
    Ignore,
}

/// What became of an input.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// Decided and on disk.
    Committed(Result<Reply, Refusal>),
    /// Seen before: nothing changed, the earlier reply where it is repeated.
    Duplicate(Result<Reply, Refusal>),
    /// Not done and not on disk: do not acknowledge; the same again later will.
    Failed(Refusal),
}

/// A message of the outbox on its way to a device: rendered, with what its delivery needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// The row's number: unique and growing. `Engine::delivered` takes it back.
    pub n: u64,
    /// To whom.
    pub device: DeviceKey,
    /// The topic below the device's root, such as `down/offer`.
    pub topic: Arc<str>,
    /// The payload.
    pub payload: Arc<[u8]>,
    /// 0 for `down/time`, else 1.
    pub qos: u8,
    /// Until when it is worth saying.
    pub expires_at: Option<hearthway_core::time::Timestamp>,
    /// The trace id, for the v5 user property.
    pub trace: Arc<str>,
}

/// The way to devices. One of the three seams of the simulation. The outbox is the truth of what
/// must be said; a link only tries.
pub trait Link: Send + Sync + 'static {
    /// Tries to hand a message to the device's connection; must not block. `true` when a
    /// connection took it: the link then calls `Engine::delivered` at the acknowledgement.
    /// `false` when nobody listens: it waits in the outbox until `Engine::reachable`.
    fn deliver(&self, delivery: Delivery) -> bool;
    /// Ends the device's live connections.
    fn disconnect(&self, device: &DeviceKey, reason: &str);
}

/// The rules in their versions.
pub trait RuleBook: Send + Sync + 'static {
    /// The newest version.
    fn current(&self) -> Arc<RuleSet>;
    /// One version; kept as long as the input log.
    fn at(&self, version: u64) -> Option<Arc<RuleSet>>;
}

/// Reads of one household's facts.
pub type Facts = Arc<Household>;

/// The engine's bounds.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Shards, each with a thread: as many as cores.
    pub shards: usize,
    /// Inputs made durable together.
    pub group_commits_max: usize,
    /// Inputs queued for one shard; a full queue slows its senders.
    pub shard_queue_inputs_max: usize,
    /// Households kept in memory.
    pub cached_households_max: usize,
    /// Inputs of a household between two snapshots in its log.
    pub snapshot_inputs: u64,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            shards: 2,
            group_commits_max: 256,
            shard_queue_inputs_max: 1_024,
            cached_households_max: 10_000,
            snapshot_inputs: 256,
        }
    }
}

/// The engine. A clone is the same engine.
#[derive(Clone)]
pub struct Engine(Arc<Handle>);

/// Ends the threads when the last clone goes: the threads hold `Inner`, not this.
struct Handle(Arc<Inner>);

impl Drop for Handle {
    fn drop(&mut self) {
        // Not joined: a clone may be dropped on one of the threads themselves.
        drop(threads::stop(&self.0));
    }
}

struct Inner {
    house: Arc<House>,
    shards: Arc<[Mutex<Shard>]>,
    writer: Writer,
    works_in: mpsc::Sender<Work>,
    /// Taken by the threads; where there are none, moved by hand.
    works: Mutex<Option<mpsc::Receiver<Work>>>,
    queues: Vec<Mutex<Option<mpsc::Receiver<Job>>>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    stopping: AtomicBool,
}

impl Engine {
    /// Reads back what the store holds (routes, deadlines, outbox, unfinished moves) and starts.
    pub fn start(
        settings: Settings,
        clock: Arc<dyn Clock>,
        store: Arc<dyn Store>,
        rules: Arc<dyn RuleBook>,
    ) -> Result<Engine, StoreError> {
        Engine::start_with(settings, clock, store, rules, Decider::core())
    }

    fn start_with(
        settings: Settings,
        clock: Arc<dyn Clock>,
        store: Arc<dyn Store>,
        rules: Arc<dyn RuleBook>,
        decider: Decider,
    ) -> Result<Engine, StoreError> {
        let engine = Engine::unmanned(settings, clock, store, rules, decider)?;
        threads::start(engine.inner())?;
        Ok(engine)
    }

    /// An engine without threads: [`Engine::step_shard`], [`Engine::step_writer`] and
    /// [`Engine::step_time`] move it, one step at a time, so that a simulation can stop it between
    /// any two.
    pub fn unmanned(
        settings: Settings,
        clock: Arc<dyn Clock>,
        store: Arc<dyn Store>,
        rules: Arc<dyn RuleBook>,
        decider: Decider,
    ) -> Result<Engine, StoreError> {
        let shards = settings.shards.max(1);
        // The writer's queue holds the next group while one is being flushed.
        let (works_in, works) = mpsc::channel(settings.group_commits_max.max(1));
        let (queues_in, queues): (Vec<_>, Vec<_>) =
            (0..shards).map(|_| mpsc::channel(settings.shard_queue_inputs_max.max(1))).unzip();
        let house = House::open(settings, clock, store, rules, decider, Inboxes::new(queues_in))?;
        let shards: Arc<[_]> = (0..shards).map(|at| Mutex::new(Shard::new(Arc::clone(&house), at))).collect();
        let inner = Inner {
            writer: Writer::new(Arc::clone(&house), Arc::clone(&shards)),
            house,
            shards,
            works_in,
            works: Mutex::new(Some(works)),
            queues: queues.into_iter().map(|queue| Mutex::new(Some(queue))).collect(),
            threads: Mutex::default(),
            stopping: AtomicBool::new(false),
        };
        Ok(Engine(Arc::new(Handle(Arc::new(inner)))))
    }

    /// The way to devices. Until it is set everything waits in the outbox.
    pub fn set_link(&self, link: Arc<dyn Link>) {
        self.house().set_link(Some(link));
    }

    /// Submits an input; waits only while the shard's queue is full. Inputs of one device are
    /// decided in the order of submission, as long as each submission waits for the one before.
    pub async fn submit(&self, to: Target, input: Input, repeat: Repeat, waiter: Waiter) {
        let house = self.house();
        if house.closed.load(Ordering::Acquire) {
            return waiter.answer(retry("the gateway is stopping"));
        }
        let job = Job::Input(Box::new(InputJob { to: to.clone(), input, repeat, waiter, queued: None }));
        let (mut job, household) = match &to {
            Target::Household(household) => (job, *household),
            Target::Device(device) => match house.directory.enter(device, job) {
                Admitted::Here(mut job, household) => {
                    if let Job::Input(job) = &mut job {
                        job.queued = Some(Queued::new(Arc::downgrade(house), device.clone()));
                    }
                    (job, household)
                }
                Admitted::Parked => return,
                Admitted::Unknown(job) => (job, HouseholdId::prospect(device)),
                Admitted::Full(job) => return refuse(job, "the device is moving"),
            },
        };
        let shard = house.inboxes.shard_of(household);
        if let Err(closed) = house.inboxes.queue(shard).send(job).await {
            job = closed.0;
            refuse(job, "the gateway is stopping");
        }
    }

    /// Submits and waits for the outcome; a move is answered after the arrival is durable.
    pub async fn call(&self, to: Target, input: Input) -> Outcome {
        let (waiter, outcome) = oneshot::channel();
        self.submit(to, input, Repeat::Ignore, Waiter::Caller(waiter)).await;
        outcome.await.unwrap_or_else(|_| retry("the gateway is stopping"))
    }

    /// Lets a household go on under another key, or under none where nobody lives in it; durable on
    /// return. What was sealed with the old one is as it was.
    pub async fn reseal(&self, household: HouseholdId) -> Outcome {
        let (waiter, outcome) = oneshot::channel();
        let job = Job::Reseal { household, waiter: Waiter::Caller(waiter) };
        let inboxes = &self.house().inboxes;
        let shard = inboxes.shard_of(household);
        if self.is_closed() || inboxes.queue(shard).send(job).await.is_err() {
            return retry("the gateway is stopping");
        }
        outcome.await.unwrap_or_else(|_| retry("the gateway is stopping"))
    }

    /// An input that carries a command: its id derived from what caused it, the time and
    /// randomness drawn.
    pub fn command(&self, device: Option<DeviceKey>, cause: &[&[u8]], what: Command) -> Input {
        let id = InputId::derived(cause);
        let mut input = self.house().own_input(id, device, self.clock().now(), What::Command(what));
        input.entropy = entropy::draw();
        input
    }

    /// What all homes have drawn from a trigger's budget.
    pub fn spent(&self, retailer: &RetailerId, trigger: &TriggerId, currency: Option<Currency>) -> Spent {
        self.house().budgets.spent(retailer, trigger, currency)
    }

    /// How many a cap of all homes counts.
    pub fn sent(&self, retailer: &RetailerId, trigger: &TriggerId, cap: &SharedCap) -> u32 {
        self.house().budgets.sent(retailer, trigger, cap)
    }

    /// Counts from here on what each of these homes is told, for the caps of a person who lives in more than one of
    /// them. Called before the person comes to the second; durable on return.
    pub async fn watch_homes(&self, homes: &BTreeSet<HouseholdId>) -> Result<(), StoreError> {
        let (budgets, now) = (&self.house().budgets, self.clock().now());
        let mut wanted = budgets.watching.lock().await;
        wanted.extend(homes.iter().map(|home| (*home, now)));
        let new: Vec<HouseholdId> = homes.iter().copied().filter(|home| !budgets.watches(*home)).collect();
        if new.is_empty() {
            return Ok(());
        }
        let writes = new.iter().map(|home| elsewhere::watched(*home, now)).collect();
        self.write(Commit { preconditions: Vec::new(), writes }).await?;
        for home in new {
            let shard = self.house().inboxes.shard_of(home);
            lock(&self.inner().shards[shard]).watch(home)?;
        }
        Ok(())
    }

    /// How often people heard something in their other homes.
    pub fn elsewhere(&self, hearing: &Hearing<'_>, cap: &SharedCap) -> u32 {
        lock(&self.house().budgets.held).elsewhere.count(hearing, cap)
    }

    /// A household's facts as they are on disk.
    pub async fn facts(&self, household: HouseholdId) -> Result<Option<Arc<Household>>, StoreError> {
        let shard = self.house().inboxes.shard_of(household);
        lock(&self.inner().shards[shard]).durable_facts(household)
    }

    /// Where a device lives.
    pub fn route(&self, device: &DeviceKey) -> Option<Route> {
        self.house().directory.route(device)
    }
    /// The devices of this name, of any maker.
    pub fn devices_named(&self, name: &DeviceName) -> Vec<DeviceKey> {
        self.house().directory.named(name)
    }
    /// A page of all devices, by maker and name.
    pub fn devices(&self, after: Option<&DeviceKey>, limit: usize) -> Vec<(DeviceKey, Route)> {
        self.house().directory.page(after, limit)
    }
    /// The device that shows a claim code (eight characters, without the hyphen).
    pub fn claimed_by_code(&self, code: &str) -> Option<DeviceKey> {
        self.house().directory.claimed_by(code)
    }

    /// Writes documents and the like through the one writer; durable on return.
    pub async fn write(&self, commit: Commit) -> Result<store::Outcome, StoreError> {
        // One bad value would refuse its whole group.
        commit.check()?;
        let stopping = || StoreError::Failed { doing: "writing", cause: "the gateway is stopping".into() };
        let (waiter, outcome) = oneshot::channel();
        self.inner().works_in.send(Work::Document { commit, waiter }).await.map_err(|_| stopping())?;
        outcome.await.unwrap_or_else(|_| Err(stopping()))
    }

    /// Keeps a refused payload for its maker, where there is time for it; never waits.
    pub fn quarantine(&self, refused: &RefusedPayload<'_>) {
        let house = self.house();
        let now = house.clock.now();
        if !refused.is_about_the_payload() || !house.quarantine.has_time_for(&refused.device.maker, now) {
            return;
        }
        // The writer's queue has the messages of others: when it is full this one is only counted.
        let Ok(room) = self.inner().works_in.try_reserve() else {
            return crate::observe::limits::hit(crate::observe::limits::Limit::Quarantine);
        };
        let writes = house.quarantine.take_in(&refused.row(now));
        let (waiter, _) = oneshot::channel();
        room.send(Work::Document { commit: Commit { preconditions: Vec::new(), writes }, waiter });
    }
    /// A page of a maker's quarantine, newest first, from before a key.
    pub fn quarantined(
        &self,
        maker: &MakerId,
        before: Option<&store::keys::Key>,
        limit: usize,
    ) -> Result<Vec<(store::keys::Key, QuarantineRow)>, StoreError> {
        let rows = self.store().scan_back(&store::keys::quarantine_of(maker), before, limit)?;
        let read = rows.into_iter().map(|(key, bytes)| {
            let row = store::codec::decode(store::codec::Schema::Quarantine, &key, &bytes)?;
            Ok((key, row))
        });
        read.collect()
    }

    /// The store, for reading.
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.house().store
    }
    /// The newest rules.
    pub fn rules(&self) -> Arc<RuleSet> {
        self.house().rules.current()
    }
    /// The clock.
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.house().clock
    }

    /// The device acknowledged row `n` of its outbox; the row goes with one of the next groups.
    pub fn delivered(&self, device: &DeviceKey, n: u64) {
        self.house().outbox.acknowledge(device, n);
    }
    /// The device connected and listens: what waits for it is sent, offers after a new decision.
    pub fn reachable(&self, device: &DeviceKey) {
        if let Some(route) = self.route(device) {
            self.house().inboxes.push_reachable(route.household, device.clone());
        }
    }
    /// A bridge of a maker listens: what waits for any of its devices is sent.
    pub fn reachable_maker(&self, maker: &MakerId) {
        for device in self.house().outbox.waiting_of(maker) {
            self.reachable(&device);
        }
    }

    /// Whether what is acknowledged can be kept, and why not.
    pub fn health(&self) -> Result<(), StoreError> {
        self.house().store.health()?;
        self.house().trouble().or_else(|| self.house().stalled_commit()).map_or(Ok(()), Err)
    }

    /// Takes nothing more in, finishes what is queued, deletes what is acknowledged, ends.
    pub async fn drain(&self) {
        self.house().closed.store(true, Ordering::Release);
        for _ in 0..DRAIN_ROUNDS_MAX {
            self.pass_barriers().await;
            let house = self.house();
            if house.inboxes.side_doors_are_empty() && !house.directory.any_moving() && !house.outbox.has_acknowledged()
            {
                break;
            }
        }
        for thread in threads::stop(self.inner()) {
            if thread.join().is_err() {
                tracing::error!("A thread of the engine had panicked");
            }
        }
        // A link knows the engine, and the engine the link: here the circle ends.
        self.house().set_link(None);
        self.set_event_sink(None);
    }

    /// One job of one shard, where there are no threads. `false` when it has nothing to do or the
    /// writer's queue is full.
    pub fn step_shard(&self, shard: usize) -> bool {
        let inner = self.inner();
        if inner.works_in.capacity() == 0 {
            return false;
        }
        let mut queue = lock(&inner.queues[shard]);
        let job = inner.house.inboxes.take_urgent(shard);
        let job = job.or_else(|| queue.as_mut().and_then(|queue| queue.try_recv().ok()));
        drop(queue);
        let Some(job) = job else { return false };
        let step = lock(&inner.shards[shard]).take(job);
        if let Some(work) = inner.finish(step) {
            // There was room, and nobody else sends: see above.
            let _ = inner.works_in.try_send(work);
        }
        true
    }

    /// One group of the writer, where there are no threads. `false` when nothing is queued.
    pub fn step_writer(&self) -> bool {
        let inner = self.inner();
        let mut group = Vec::new();
        if let Some(works) = lock(&inner.works).as_mut() {
            while group.len() < inner.house.settings.group_commits_max
                && let Ok(work) = works.try_recv()
            {
                group.push(work);
            }
        }
        let any = !group.is_empty();
        inner.writer.commit(group);
        any
    }

    /// Queues what is due at the clock's time, where there are no threads, and tidies up as the
    /// time keeper does every second.
    pub fn step_time(&self) {
        let inner = self.inner();
        let now = inner.house.clock.now();
        while let Some((household, deadline)) = inner.house.timers.due(now) {
            inner.house.inboxes.push(household, [Job::Timer { household, deadline }]);
        }
        inner.tend();
    }

    /// The soonest deadline of any household: to where a simulation may turn its clock.
    pub fn next_deadline(&self) -> Option<hearthway_core::time::Timestamp> {
        self.house().timers.soonest()
    }

    /// How many shards there are.
    pub fn shards(&self) -> usize {
        self.house().inboxes.len()
    }

    async fn pass_barriers(&self) {
        let inner = self.inner();
        for shard in 0..inner.house.inboxes.len() {
            let (done, passed) = oneshot::channel();
            if inner.house.inboxes.queue(shard).send(Job::Barrier(done)).await.is_ok() {
                while self.is_unmanned() && self.step_shard(shard) {
                    while self.step_writer() {}
                }
                let _ = passed.await;
            }
        }
        let (done, flushed) = oneshot::channel();
        if inner.works_in.send(Work::Flush(Some(done))).await.is_ok() {
            while self.is_unmanned() && self.step_writer() {}
            let _ = flushed.await;
        }
    }

    /// Whether nothing more is taken in.
    pub fn is_closed(&self) -> bool {
        self.house().closed.load(Ordering::Acquire)
    }

    fn is_unmanned(&self) -> bool {
        lock(&self.inner().works).is_some()
    }
    fn inner(&self) -> &Arc<Inner> {
        &self.0.0
    }
    fn house(&self) -> &Arc<House> {
        &self.inner().house
    }
}

impl Inner {
    /// Lets what needs no disk be known, and gives what must be committed. Called without the
    /// shard's lock: answers may call the engine back.
    fn finish(&self, step: Step) -> Option<Work> {
        // After a failed write, reads may show what is not on disk: whoever was taken for a repeat
        // by such a row must come again.
        let trusted = self.house.trouble().is_none();
        for (waiter, outcome) in step.answers {
            waiter.answer(if trusted { outcome } else { retry("the store cannot write") });
        }
        if trusted && !step.outgoing.is_empty() {
            self.house.outbox.dispatch(step.outgoing, self.house.link().as_ref(), &self.house.meters);
        }
        if let Some((household, job)) = step.forward {
            self.house.inboxes.push(household, [job]);
        }
        step.commit.map(Work::Prepared).or(step.poisoned.map(Work::Poisoned))
    }

    /// What need not be done at once.
    fn tend(&self) {
        self.house.retry_stalled();
        if self.house.outbox.has_acknowledged() {
            // A full queue flushes by itself.
            let _ = self.works_in.try_send(Work::Flush(None));
        }
        if self.house.trouble().is_some() {
            let _ = self.works_in.try_send(Work::Probe);
        }
    }
}

fn refuse(job: Job, message: &str) {
    if let Job::Input(job) = job {
        let refusal = Refusal { retry_after_seconds: Some(1), ..Refusal::new(Code::InternalRetry, message) };
        job.waiter.answer(Outcome::Failed(refusal));
    }
}
