//! A seeded world in front of the seams: devices, people, faults.

mod acts;
mod ways;

use std::collections::{BTreeSet, VecDeque};
use std::future::Future;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use hearthway::engine::rows::OrderRow;
use hearthway::engine::{Decider, Engine, Outcome, Repeat, Settings, Target, Waiter};
use hearthway::store::Store;
use hearthway::store::codec::{self, Schema};
use hearthway::store::faults::{Fault, FaultyStore};
use hearthway::store::keys::table;
use hearthway::store::memory::MemoryStore;
use hearthway_core::decision::Reply;
use hearthway_core::id::{DeviceKey, HouseholdId, InputId, LinkId, MessageId, OfferId, ProfileId};
use hearthway_core::input::{Answer, Command, Input, Join, What};
use hearthway_core::limits::SEEN_AGE_MAX;
use hearthway_core::model::{ConsentRecord, ConsentSource, Member, OrderState, Purpose, Role};
use hearthway_core::rules::RuleSet;
use hearthway_core::time::{Span, Timestamp, Zone};
use hearthway_core::wire::decode;

use crate::random::Stream;
use crate::seams::{OneBook, WorldClock, WorldLink};
use crate::witness::{Counts, Said, Witness};
use crate::{shop, told};

/// Devices of the world; p1 owns two of them in one home.
const DEVICES: [&str; 3] = ["d-1", "d-2", "d-3"];
/// Steps with faults.
const STEPS: u64 = 150;
/// Rounds without faults within which everything must end.
const CALM_ROUNDS_MAX: u64 = 600;

/// A message that a device must bring to its acknowledgement.
#[derive(Clone)]
struct Pending {
    id: MessageId,
    topic: String,
    payload: String,
    said: Option<Said>,
    /// Sent on the present connection and not answered yet.
    on_its_way: bool,
    /// When its acknowledgement arrived.
    done_at: Timestamp,
}

struct Unit {
    key: DeviceKey,
    /// What it still has to say, oldest first: QoS 1 with one message in flight.
    outbox: VecDeque<Pending>,
    /// What it said long ago and may say again.
    old: Vec<Pending>,
    used: u32,
    skew: Span,
    offers: Vec<OfferId>,
    orders: Vec<String>,
    connection: u64,
    /// The claim code that it shows.
    code: Option<String>,
    /// Whether somebody asked for its suspension.
    suspended: bool,
}

/// An acknowledgement on its way to a device.
struct Ack {
    unit: usize,
    id: MessageId,
    connection: u64,
    outcome: Outcome,
}

pub struct World {
    clock: Arc<WorldClock>,
    now: Timestamp,
    store: Arc<FaultyStore<MemoryStore>>,
    link: Arc<WorldLink>,
    engine: Option<Engine>,
    rules: Arc<RuleSet>,
    units: Vec<Unit>,
    acks: Arc<Mutex<VecDeque<Ack>>>,
    calls: Vec<Call>,
    witness: Witness,
    messages: u64,
    commands: u64,
    actions: Stream,
    schedule: Stream,
    network: Stream,
    faults: Stream,
    time: Stream,
    calm: bool,
}

/// A command of a shop, tried again with the same cause until it is answered.
struct Call {
    target: Target,
    input: Input,
    answer: Option<tokio::sync::oneshot::Receiver<Outcome>>,
    said: Option<Said>,
}

impl World {
    pub fn new(seed: u64, rules: Arc<RuleSet>, tell: bool) -> World {
        let now = Timestamp::parse_rfc3339("2026-03-18T10:00:00+01:00").unwrap();
        let clock = WorldClock::at(now);
        let store = Arc::new(FaultyStore::new(MemoryStore::new()));
        let units = DEVICES.iter().map(|name| Unit {
            key: format!("acme/{name}").parse().unwrap(),
            outbox: VecDeque::new(),
            old: Vec::new(),
            used: 0,
            skew: Span::ZERO,
            offers: Vec::new(),
            orders: Vec::new(),
            connection: 0,
            code: None,
            suspended: false,
        });
        let mut world = World {
            clock,
            now,
            witness: Witness::new(Arc::clone(&store), tell),
            store,
            link: Arc::new(WorldLink::default()),
            engine: None,
            rules,
            units: units.collect(),
            acks: Arc::default(),
            calls: Vec::new(),
            messages: 0,
            commands: 0,
            actions: Stream::new(seed, "actions"),
            schedule: Stream::new(seed, "schedule"),
            network: Stream::new(seed, "network"),
            faults: Stream::new(seed, "faults"),
            time: Stream::new(seed, "time"),
            calm: false,
        };
        told::listen(&*world.store, now);
        world.start();
        world
    }

    fn start(&mut self) {
        let settings = Settings {
            shards: 2,
            group_commits_max: 1 + self.faults.below(4) as usize,
            shard_queue_inputs_max: 64,
            cached_households_max: 2 + self.faults.below(7) as usize,
            snapshot_inputs: 100_000,
        };
        let book = Arc::new(OneBook(Arc::clone(&self.rules)));
        let engine = Engine::unmanned(settings, self.clock.clone(), self.store.clone(), book, Decider::core()).unwrap();
        engine.set_link(self.link.clone());
        self.engine = Some(engine);
    }

    fn engine(&self) -> &Engine {
        self.engine.as_ref().unwrap()
    }

    /// The process dies: memory is gone, connections are gone, what was not durable is gone.
    fn crash(&mut self) {
        self.engine = None;
        self.store.reopen();
        self.acks.lock().unwrap().clear();
        for at in 0..self.units.len() {
            self.hang_up(at);
        }
        for call in &mut self.calls {
            call.answer = None;
        }
        self.start();
        self.witness.check_budget(&self.engine().clone());
    }

    fn hang_up(&mut self, at: usize) {
        let unit = &mut self.units[at];
        unit.connection += 1;
        unit.outbox.iter_mut().for_each(|pending| pending.on_its_way = false);
        self.link.listen(&unit.key, false);
    }

    pub fn run(&mut self) {
        self.register();
        for _ in 0..STEPS {
            // Less is said than can be carried, so that most of it suffers the faults and little is
            // left for the calm.
            if self.actions.one_in(2) {
                self.act();
            }
            self.step();
            self.witness.check();
        }
        self.calm_down();
    }

    fn register(&mut self) {
        for at in 0..self.units.len() {
            let key = self.units[at].key.clone();
            let model = hearthway_core::id::ModelId::new("th-200").unwrap();
            self.command(Some(key), Command::Register { model, serial: None, generation: 1 }, None);
        }
        self.settle();
        for (at, profile) in [(0, "p1"), (1, "p1"), (2, "p2")] {
            let key = self.units[at].key.clone();
            let join = self.join(profile, &key);
            self.command(Some(key), Command::LinkDirectly { join }, Some(Said::Linked(profile.to_owned())));
            self.listen(at);
        }
        self.settle();
    }

    /// Without faults, until nothing moves.
    fn settle(&mut self) {
        for _ in 0..CALM_ROUNDS_MAX {
            self.send_calls();
            self.send_messages(true);
            while self.step_engine() {}
            self.engine().step_time();
            self.deliver_acks(false);
            self.deliver_down(false);
            let idle = self.calls.is_empty() && self.units.iter().all(|unit| unit.outbox.is_empty());
            if idle && !self.step_engine() && self.link.is_empty() {
                return;
            }
        }
        panic!(
            "something never ends: {} calls, {:?} messages wait",
            self.calls.len(),
            self.units.iter().map(|u| u.outbox.len()).collect::<Vec<_>>()
        );
    }

    fn calm_down(&mut self) {
        self.calm = true;
        self.store.heal();
        self.crash();
        self.listen_all();
        self.settle();
        // A device that sleeps is not listened to; woken, it connects and hears what waits.
        for at in (0..self.units.len()).filter(|at| self.units[*at].suspended).collect::<Vec<_>>() {
            self.suspend(at);
        }
        self.settle();
        self.listen_all();
        self.settle();
        self.witness.check();
        // Every deadline comes, and whatever is open ends by itself.
        let end = self.now + Span::days(60);
        for _ in 0..10_000 {
            let Some(next) = self.engine().next_deadline().filter(|next| *next <= end) else { break };
            self.now = self.now.max(next) + Span(1);
            self.clock.set(self.now);
            self.engine().step_time();
            self.settle();
            self.witness.check();
        }
        self.now = end.max(self.now);
        self.clock.set(self.now);
        // Once more, for what a connection that ended at a reset or release has not taken.
        self.listen_all();
        self.settle();
        let engine = self.engine().clone();
        self.witness.check_ended(&engine);
        told::check(&*self.store);
        self.witness.check_log(&engine, &self.units.iter().map(|unit| unit.key.clone()).collect::<Vec<_>>());
    }

    fn listen_all(&mut self) {
        (0..self.units.len()).for_each(|at| self.listen(at));
    }

    /// One step of one part of the house, and perhaps a fault.
    fn step(&mut self) {
        if self.faults.one_in(60) {
            self.crash();
        }
        if self.faults.one_in(50) {
            let fault = *self.faults.pick(&[Fault::Refuse, Fault::Lose, Fault::LoseAnswer]);
            self.store.inject(fault, self.faults.below(3));
        }
        if self.time.one_in(4) {
            let jump = match self.time.below(60) {
                0 => Span::days(30),
                1 => Span::hours(-1),
                2..=20 => Span::hours(self.time.below(9) as i64),
                _ => Span::minutes(self.time.below(30) as i64),
            };
            self.now = self.now + jump;
            self.clock.set(self.now);
        }
        for _ in 0..self.schedule.below(10) {
            match self.schedule.below(8) {
                0 => self.send_calls(),
                1 | 2 => self.send_messages(false),
                3 | 4 => drop(self.step_engine()),
                5 => self.engine().step_time(),
                6 => self.deliver_acks(true),
                _ => self.deliver_down(true),
            }
            self.witness.check();
        }
        // The store failed: the process is started again, as an operator's supervisor would.
        if self.engine().health().is_err() && self.faults.one_in(3) {
            self.crash();
        }
    }

    fn step_engine(&mut self) -> bool {
        let engine = self.engine().clone();
        let mut moved = false;
        let first = self.schedule.below(2) as usize;
        for shard in [first, 1 - first] {
            moved |= engine.step_shard(shard);
        }
        if self.calm || self.schedule.one_in(2) {
            moved |= engine.step_writer();
        }
        moved
    }

    pub fn counts(&self) -> Counts {
        self.witness.counts
    }
}

/// What a command is known by at each of its tries.
fn cause(input: &Input) -> String {
    format!("c-{}", input.entropy)
}

/// Polls a submission once: the queues have room, so it is taken at once or not at all.
fn now_or_never(submission: impl Future<Output = ()>) -> bool {
    let mut submission = std::pin::pin!(submission);
    matches!(submission.as_mut().poll(&mut Context::from_waker(Waker::noop())), Poll::Ready(()))
}
