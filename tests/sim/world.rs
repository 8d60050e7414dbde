//! A seeded world in front of the seams: devices, people, faults.

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
use crate::shop;
use crate::witness::{Counts, Said, Witness};

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
        self.witness.check_log(&engine, &self.units.iter().map(|unit| unit.key.clone()).collect::<Vec<_>>());
    }

    fn listen_all(&mut self) {
        (0..self.units.len()).for_each(|at| self.listen(at));
    }

    /// Something happens in the world.
    fn act(&mut self) {
        // Suspensions are short: a world in which devices sleep sells nothing.
        if let Some(asleep) = self.units.iter().position(|unit| unit.suspended)
            && self.actions.one_in(5)
        {
            self.suspend(asleep);
        }
        let at = self.actions.below(self.units.len() as u64) as usize;
        match self.actions.below(38) {
            0..=5 | 30..=36 => {
                // Worn, a little more worn, or changed: mostly across the edge, one way or the other.
                let unit = &mut self.units[at];
                unit.used = match unit.used {
                    ..600 if self.actions.one_in(4) => unit.used + 40,
                    ..600 => 601 + self.actions.below(100) as u32,
                    _ => self.actions.below(40) as u32,
                };
                let used = self.units[at].used;
                self.say(
                    at,
                    "up/slot",
                    &format!(r#"{{"slot":"air_filter","kind":"usage","used":{used},"unit":"h"}}"#),
                    Some(Said::Used(used)),
                );
            }
            6..=8 | 37 => {
                let value = 10 + self.actions.below(14);
                self.say(at, "up/telemetry", &format!(r#"{{"samples":[{{"f":{{"temperature":{value}}}}}]}}"#), None);
            }
            9 | 10 => self.listen(at),
            11 => self.hang_up(at),
            12 | 13 => {
                let granted = !self.actions.one_in(4);
                if !granted && self.actions.one_in(2) {
                    // It stops listening, so that an offer may wait that the word must reach.
                    self.hang_up(at);
                }
                let body = format!(r#"{{"set":[{{"purpose":"offers.device","granted":{granted}}}]}}"#);
                self.say(at, "up/consent", &body, Some(Said::Consent(granted)));
            }
            14..=16 => self.answer(at),
            17 => {
                let profile = *self.actions.pick(&["p1", "p2"]);
                let key = self.units[at].key.clone();
                let join = self.join(profile, &key);
                self.command(Some(key), Command::LinkDirectly { join }, Some(Said::Linked(profile.to_owned())));
            }
            18 if self.actions.one_in(2) => {
                let key = self.units[at].key.clone();
                self.command(Some(key), Command::Release, Some(Said::Released));
            }
            18 => self.say(at, "up/lifecycle", r#"{"op":"reset","level":"user","presence":true}"#, Some(Said::Reset)),
            19 => self.say(at, "up/lifecycle", r#"{"op":"wiped"}"#, Some(Said::Wiped)),
            20 => self.answer(at),
            21 => {
                let profile = ProfileId::new("p1").unwrap();
                let granted = !self.actions.one_in(3);
                let record = self.word(granted);
                let household = HouseholdId::of_profile(&shop::retailer(), &profile);
                let command = Command::SetConsents { profile, records: vec![(Purpose::OffersDevice, record)] };
                let input = self.make(None, command);
                self.call(Target::Household(household), input, Some(Said::ShopConsent("p1".into(), granted)));
            }
            22 => self.say(at, "up/sync", "{}", None),
            23 | 24 => self.claim(at),
            25 if self.actions.one_in(3) => self.suspend(at),
            25 => self.answer(at),
            26 | 27 => self.shop_moves_an_order(),
            28 => self.cancel(at),
            _ => {
                self.units[at].skew = *self.actions.pick(&[Span::ZERO, Span::days(-20_000), Span::days(400)]);
                let t = (self.now + self.units[at].skew).0;
                let body = r#"{"state":"online"}"#.to_owned();
                self.say_at(at, "presence", &body, None, Some(t));
            }
        }
    }

    fn answer(&mut self, at: usize) {
        let Some(offer) = self.units[at].offers.last().copied() else { return };
        let word = *self.actions.pick(&["accept", "accept", "decline", "snooze"]);
        if self.actions.one_in(2) {
            let nonce = self.actions.below(3);
            self.say(
                at,
                "up/offer/answer",
                &format!(r#"{{"offer":"{offer}","rev":1,"answer":"{word}","nonce":"n-{nonce}"}}"#),
                None,
            );
        } else {
            let answer = match word {
                "accept" => Answer::Accept { qty: None, fulfil: None },
                "decline" => Answer::Decline,
                _ => Answer::Snooze { until: None },
            };
            let command = Command::AnswerOffer { offer, rev: 1, answer, channel: "app".into(), profile: None };
            self.command(Some(self.units[at].key.clone()), command, None);
        }
    }

    /// The device asks for a code; somebody types the one that it shows.
    fn claim(&mut self, at: usize) {
        let Some(code) = self.units[at].code.take() else {
            return self.say(at, "up/claim", r#"{"op":"start","presence":true}"#, None);
        };
        let profile = *self.actions.pick(&["p1", "p2"]);
        let key = self.units[at].key.clone();
        let join = self.join(profile, &key);
        self.command(Some(key), Command::ConfirmClaim { code, join }, Some(Said::Linked(profile.to_owned())));
    }

    /// Suspends a device, or wakes it.
    fn suspend(&mut self, at: usize) {
        let key = self.units[at].key.clone();
        self.units[at].suspended = !self.units[at].suspended;
        if self.units[at].suspended {
            self.command(Some(key), Command::Suspend { reason: "stolen".into() }, Some(Said::Suspended));
        } else {
            self.command(Some(key), Command::Resume, Some(Said::Resumed));
        }
    }

    /// The shop tells how it goes on with an order that it knows.
    fn shop_moves_an_order(&mut self) {
        let Some(row) = self.some_order() else { return };
        let state = *self.actions.pick(&[
            OrderState::Accepted,
            OrderState::Shipped,
            OrderState::Delivered,
            OrderState::Refused,
            OrderState::Cancelled,
        ]);
        let command = Command::SetOrderStatus { order: row.order.id, rev: row.order.rev + 1, state, eta: None };
        let input = self.make(None, command);
        self.call(Target::Household(row.household), input, None);
    }

    /// Somebody cancels: at the device, or in the app.
    fn cancel(&mut self, at: usize) {
        if let Some(order) = self.units[at].orders.last().cloned()
            && self.actions.one_in(2)
        {
            return self.say(at, "up/order", &format!(r#"{{"order":"{order}","op":"cancel","nonce":"x"}}"#), None);
        }
        let Some(row) = self.some_order() else { return };
        let command = Command::CancelOrder { order: row.order.id, channel: "app".into() };
        let input = self.make(None, command);
        self.call(Target::Household(row.household), input, None);
    }

    fn some_order(&mut self) -> Option<OrderRow> {
        let rows = self.store.scan(&[table::ORDER], None, 1_000).unwrap();
        if rows.is_empty() {
            return None;
        }
        let (key, value) = self.actions.pick(&rows);
        Some(codec::decode(Schema::Order, key, value).unwrap())
    }

    fn listen(&mut self, at: usize) {
        let key = self.units[at].key.clone();
        self.link.listen(&key, true);
        self.engine().reachable(&key);
    }

    fn say(&mut self, at: usize, topic: &str, body: &str, said: Option<Said>) {
        self.say_at(at, topic, body, said, None);
    }

    fn say_at(&mut self, at: usize, topic: &str, body: &str, said: Option<Said>, t: Option<i64>) {
        self.messages += 1;
        let id = format!("m-{}", self.messages);
        let t = t.map_or(String::new(), |t| format!(r#""t":{t},"#));
        let payload = format!(r#"{{"v":"1.0","id":"{id}",{t}"body":{body}}}"#);
        let topic = format!("chan/v1/{}/{topic}", self.units[at].key);
        let id = MessageId::new(id).unwrap();
        self.units[at].outbox.push_back(Pending { id, topic, payload, said, on_its_way: false, done_at: self.now });
    }

    fn word(&self, granted: bool) -> ConsentRecord {
        ConsentRecord {
            granted,
            at: self.now,
            source: ConsentSource::Shop,
            method: None,
            text_id: None,
            expires_at: None,
        }
    }

    fn join(&self, profile: &str, device: &DeviceKey) -> Join {
        let profile = ProfileId::new(profile).unwrap();
        let household = HouseholdId::of_profile(&shop::retailer(), &profile);
        Join {
            household,
            retailer: shop::retailer(),
            link: LinkId::derived(&[household.bytes(), device.to_string().as_bytes()]),
            member: Member {
                profile,
                display_name: "Maison".into(),
                locale: Some("fr-FR".into()),
                role: Role::Owner,
                segments: BTreeSet::new(),
                consents: [(Purpose::OffersDevice, self.word(true))].into_iter().collect(),
            },
            zone: Zone::new("Europe/Paris").unwrap(),
            locale: None,
        }
    }

    fn make(&mut self, device: Option<DeviceKey>, command: Command) -> Input {
        self.commands += 1;
        Input {
            id: InputId::derived(&[b"command", &self.commands.to_be_bytes()]),
            message: None,
            received_at: self.now,
            device,
            entropy: self.commands,
            payload_bytes: 0,
            sender: Default::default(),
            what: What::Command(command),
        }
    }

    fn command(&mut self, device: Option<DeviceKey>, command: Command, said: Option<Said>) {
        let target = Target::Device(device.clone().unwrap());
        let input = self.make(device, command);
        self.call(target, input, said);
    }

    fn call(&mut self, target: Target, input: Input, said: Option<Said>) {
        if let Some(said) = &said {
            self.witness.tries(&cause(&input), input.device.as_ref(), said);
        }
        self.calls.push(Call { target, input, answer: None, said });
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

    fn send_calls(&mut self) {
        for at in 0..self.calls.len() {
            let answered = match &mut self.calls[at].answer {
                None => None,
                Some(answer) => match answer.try_recv() {
                    Ok(outcome) => Some(Some(outcome)),
                    Err(tokio::sync::oneshot::error::TryRecvError::Empty) => continue,
                    Err(tokio::sync::oneshot::error::TryRecvError::Closed) => Some(None),
                },
            };
            match answered {
                Some(Some(Outcome::Committed(reply) | Outcome::Duplicate(reply))) => {
                    let call = &mut self.calls[at];
                    if let Some(said) = call.said.take() {
                        let moment = self.link.next_moment();
                        let cause = cause(&call.input);
                        self.witness.answered(&cause, call.input.device.as_ref(), &said, &reply, moment);
                    }
                    if let Ok(Reply::Answered { offer, order: Some(order), .. }) = &reply {
                        self.witness.accepted(*offer, *order);
                    }
                    // Done: marked by an input that is not sent again.
                    self.calls[at].target = Target::Household(HouseholdId([0; 15]));
                    self.calls[at].answer = None;
                }
                Some(Some(Outcome::Failed(_)) | None) | None => {
                    let (waiter, answer) = tokio::sync::oneshot::channel();
                    let mut input = self.calls[at].input.clone();
                    input.received_at = self.now;
                    let target = self.calls[at].target.clone();
                    let engine = self.engine().clone();
                    if now_or_never(engine.submit(target, input, Repeat::Ignore, Waiter::Caller(waiter))) {
                        self.calls[at].answer = Some(answer);
                    }
                }
            }
        }
        self.calls.retain(|call| call.target != Target::Household(HouseholdId([0; 15])));
    }

    fn send_messages(&mut self, all: bool) {
        for at in 0..self.units.len() {
            if !all && self.network.one_in(3) {
                continue;
            }
            // An old message once more, as a broker or a retrying device would.
            if !self.calm && self.network.one_in(12) && !self.units[at].old.is_empty() {
                let n = self.network.below(self.units[at].old.len() as u64) as usize;
                let old = self.units[at].old[n].clone();
                // Ids are remembered for seven days; the clock may have jumped past that.
                if (self.now - old.done_at).0.abs() < SEEN_AGE_MAX.0 {
                    self.submit(at, &old);
                }
            }
            let Some(next) = self.units[at].outbox.front().cloned() else { continue };
            let again = next.on_its_way && !self.calm && self.network.one_in(6);
            if !next.on_its_way || again {
                if let Some(said) = &next.said {
                    self.witness.tries(next.id.as_str(), Some(&self.units[at].key), said);
                }
                if self.submit(at, &next) {
                    self.units[at].outbox.front_mut().unwrap().on_its_way = true;
                }
            }
        }
    }

    fn submit(&mut self, at: usize, pending: &Pending) -> bool {
        let unit = &self.units[at];
        let envelope = decode(&pending.topic, pending.payload.as_bytes()).unwrap();
        let input = Input {
            id: InputId::derived(&[unit.key.to_string().as_bytes(), pending.id.as_str().as_bytes()]),
            message: Some(pending.id.clone()),
            received_at: self.now,
            device: Some(unit.key.clone()),
            entropy: self.network.next(),
            payload_bytes: pending.payload.len() as u32,
            sender: envelope.sender,
            what: What::Device(envelope.message),
        };
        let (acks, id, connection) = (Arc::clone(&self.acks), pending.id.clone(), unit.connection);
        let waiter = Waiter::Ack(Box::new(move |outcome| {
            acks.lock().unwrap().push_back(Ack { unit: at, id, connection, outcome });
        }));
        let engine = self.engine().clone();
        now_or_never(engine.submit(Target::Device(unit.key.clone()), input, Repeat::Remember, waiter))
    }

    fn deliver_acks(&mut self, lossy: bool) {
        loop {
            let Some(ack) = self.acks.lock().unwrap().pop_front() else { return };
            let key = self.units[ack.unit].key.clone();
            let reply = match &ack.outcome {
                Outcome::Failed(_) => {
                    // The endpoint closes the connection; the device sends again.
                    self.hang_up(ack.unit);
                    continue;
                }
                Outcome::Committed(reply) | Outcome::Duplicate(reply) => reply.clone(),
            };
            self.witness.acknowledged(&key, &ack.id, &reply);
            if let Ok(Reply::Answered { offer, order: Some(order), .. }) = &reply {
                self.witness.accepted(*offer, *order);
            }
            if ack.connection != self.units[ack.unit].connection || (lossy && self.network.one_in(10)) {
                continue;
            }
            let unit = &mut self.units[ack.unit];
            if unit.outbox.front().is_some_and(|front| front.id == ack.id)
                && let Some(mut done) = unit.outbox.pop_front()
            {
                done.done_at = self.now;
                if let Some(said) = &done.said {
                    let moment = self.link.next_moment();
                    self.witness.answered(done.id.as_str(), Some(&key), said, &reply, moment);
                }
                unit.old.push(done);
            }
            if lossy {
                return;
            }
        }
    }

    fn deliver_down(&mut self, lossy: bool) {
        while let Some((moment, delivery)) = self.link.take() {
            let at = self.units.iter().position(|unit| unit.key == delivery.device).unwrap();
            if lossy && self.network.one_in(8) {
                self.hang_up(at);
                continue;
            }
            let body: serde_json::Value = serde_json::from_slice(&delivery.payload).unwrap();
            self.witness.delivered(&delivery.device, &delivery.topic, &body["body"], moment);
            if body["body"]["op"] == "put" {
                let offer = body["body"]["offer"]["id"].as_str().unwrap().parse().unwrap();
                self.units[at].offers.push(offer);
                if self.actions.one_in(2) {
                    self.answer(at);
                }
                if self.actions.one_in(2) {
                    self.say(
                        at,
                        "up/offer/receipt",
                        &format!(r#"{{"offer":"{offer}","rev":1,"state":"shown"}}"#),
                        None,
                    );
                }
            }
            if body["body"]["op"] == "wipe" && !self.actions.one_in(4) {
                self.say(at, "up/lifecycle", r#"{"op":"wiped"}"#, Some(Said::Wiped));
            }
            if let Some(code) = body["body"]["code"].as_str() {
                self.units[at].code = Some(code.replace('-', ""));
                self.witness.counts.claims += 1;
            }
            if let Some(order) = body["body"]["order"].as_str() {
                self.units[at].orders.push(order.to_owned());
            }
            self.engine().delivered(&delivery.device, delivery.n);
            if lossy {
                return;
            }
        }
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
