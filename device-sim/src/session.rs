//! One device and the person at it, from its first provisioning to its last report.
//!
//! This is a state machine without a socket or a clock: it is told the time and what was heard,
//! and answers with [`Wish`]es. The run connects it to the network; a test plays the gateway.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use hearthway_core::time::{Span, Timestamp};
use serde_json::{Value, json};

use crate::fleet::{Cause, Device, Home, Person};
use crate::happening::{Happening, Scene};
use crate::link::Heard;
use crate::model::{Appliance, Remark, Surroundings};
use crate::oracle::{Duty, Fact};
use crate::post::{Fate, Post};
use crate::rng::Stream;
use crate::wire::{
    ClaimDown, Down, ErrorDown, LifecycleDown, OfferDown, OfferSeen, OrderSeen, ProvisionDown, Stamp, SyncDown, envelope,
};

/// Samples of one telemetry message after an outage; the contract takes 200.
const SAMPLES_MAX: usize = 200;
/// How often a claim is tried before the person gives up.
const CLAIM_TRIES_MAX: u32 = 5;
/// The longest wait before a new connection is tried.
const RECONNECT_MAX: Span = Span::hours(1);
/// Messages that are the connection's and not the device's.
const OF_CONNECTION: [&str; 3] = ["presence", "desc", "up/sync"];

/// A device's own credential.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credential {
    /// Its name at the gateway.
    pub device: String,
    /// Its user name.
    pub username: String,
    /// Its secret.
    pub secret: String,
}

/// Who connects, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// MQTT client id.
    pub client_id: String,
    /// User name.
    pub username: String,
    /// Password.
    pub password: String,
    /// Topic and payload of the will.
    pub will: Option<(String, Vec<u8>)>,
    /// Whether the gateway forgets the session.
    pub clean: bool,
}

/// What the session asks of its surroundings.
#[derive(Debug, Clone, PartialEq)]
pub enum Wish {
    /// Connect; a connection that is open is dropped first.
    Open(Box<Identity>),
    /// Subscribe.
    Subscribe(String),
    /// Publish at QoS 1.
    Publish {
        /// The topic.
        topic: String,
        /// The bytes.
        payload: Vec<u8>,
        /// Comes back with the acknowledgement.
        ticket: u64,
    },
    /// Disconnect in order.
    Leave,
    /// Drop the connection.
    Cut,
    /// Somebody confirms this claim code; the answer comes to [`Session::confirmed`].
    Confirm(String),
    /// The shop moves an order on.
    Advance {
        /// Which.
        order: String,
        /// Its next revision.
        rev: u32,
        /// Its next state.
        state: &'static str,
    },
    /// The device has a name at the gateway.
    Named(String),
    /// For the oracle.
    Fact(Fact),
    /// For the host.
    Tell(Happening),
}

/// What every session of a run shares.
#[derive(Debug, Clone)]
pub struct Stage {
    /// Fixes everything that is drawn.
    pub seed: u64,
    /// When the story starts.
    pub start: Timestamp,
    /// Put after serial numbers and before message ids, so that a second run against the same
    /// gateway plays other devices.
    pub tag: String,
    /// Whether devices stamp messages with their clock: only where it is the gateway's.
    pub stamps: bool,
    /// What the shop watches, where known: tells which slot a product is for.
    pub causes: Vec<Cause>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// No connection.
    Away,
    /// Connected or connecting with the maker's bootstrap secret.
    Bootstrap,
    /// Connecting with its own credential.
    Arriving,
    /// Subscribed and born.
    Home,
}

/// What is due at an instant.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Task {
    Look,
    Connect,
    Claim,
    Release(u64),
    Show(String),
    Answer { offer: String, person: usize, asked_why: bool },
    NetworkGone,
    NetworkBack,
    Reset,
    WithdrawConsent,
    Advance { order: String, rev: u32, state: &'static str },
    Cancel { order: String, person: usize },
    Replace(String),
}

#[derive(Debug)]
struct Held {
    offer: OfferSeen,
    sent_at: Timestamp,
    shown: bool,
}

/// One device and the person at it.
pub struct Session {
    home: Arc<Home>,
    device: Device,
    stage: Arc<Stage>,
    serial: String,
    bootstrap_secret: Option<String>,
    credential: Option<Credential>,
    appliance: Appliance,
    post: Post,
    habits: Stream,
    pace: Stream,
    nonce: String,
    agenda: BTreeMap<(Timestamp, u64), Task>,
    noted: u64,
    phase: Phase,
    epoch: u64,
    failures: u32,
    offline: bool,
    linked: bool,
    /// The reset that the gateway has not acknowledged yet.
    reset_message: Option<String>,
    claim_tries: u32,
    presses: u64,
    samples: VecDeque<Value>,
    offers: BTreeMap<String, Held>,
    orders: BTreeMap<String, OrderSeen>,
    /// Article of each offer that was accepted here.
    bought: BTreeMap<String, String>,
    draining: bool,
}

impl Session {
    /// A device that will connect soon after the start.
    pub fn new(
        home: Arc<Home>,
        device: Device,
        stage: Arc<Stage>,
        bootstrap_secret: Option<String>,
        credential: Option<Credential>,
    ) -> Session {
        let serial = if stage.tag.is_empty() { device.serial.clone() } else { format!("{}-{}", device.serial, stage.tag) };
        let stream = |concern: &str| Stream::of(stage.seed, &[&home.id, &device.serial, concern]);
        let around = Surroundings {
            zone: home.zone.clone(),
            people: home.people.len() as u32,
            wear: device.wear,
            report_every: device.report_every,
        };
        let appliance = device.known.build(stage.start, around, stream("appliance"));
        // Two runs must not ask with one nonce, or the second gets the first one's answer.
        let nonce = Stream::of(stage.seed, &[&home.id, &serial, "nonce"]).word();
        let mut session = Session {
            post: Post::new(device.faults.clone(), stream("faults")),
            habits: stream("people"),
            pace: stream("pace"),
            serial,
            bootstrap_secret,
            credential,
            appliance,
            nonce,
            agenda: BTreeMap::new(),
            noted: 0,
            phase: Phase::Away,
            epoch: 0,
            failures: 0,
            offline: false,
            linked: false,
            reset_message: None,
            claim_tries: 0,
            presses: 0,
            samples: VecDeque::new(),
            offers: BTreeMap::new(),
            orders: BTreeMap::new(),
            bought: BTreeMap::new(),
            draining: false,
            home,
            device,
            stage,
        };
        session.first_plans();
        session
    }

    /// The serial number under which the fleet knows this device.
    pub fn serial(&self) -> &str {
        &self.device.serial
    }

    /// Its home.
    pub fn home(&self) -> &Arc<Home> {
        &self.home
    }

    /// Faults done so far.
    pub fn faults_done(&self) -> u64 {
        self.post.faults_done
    }

    /// When it has to be woken.
    pub fn wakes_at(&self) -> Option<Timestamp> {
        self.agenda.first_key_value().map(|((at, _), _)| *at)
    }

    /// Time has come to `now`.
    pub fn wake(&mut self, now: Timestamp, wishes: &mut Vec<Wish>) {
        while let Some(entry) = self.agenda.first_entry() {
            if entry.key().0 > now {
                break;
            }
            let ((at, _), task) = entry.remove_entry();
            self.act(at.max(self.stage.start), now, task, wishes);
        }
        self.send_post(wishes);
    }

    /// The story is over: no new reports and answers; what waits is sent, what is owed may come.
    pub fn drain(&mut self, now: Timestamp, wishes: &mut Vec<Wish>) {
        self.draining = true;
        self.agenda.clear();
        self.offline = false;
        self.post.release_all();
        if self.phase == Phase::Away {
            self.plan(now, Task::Connect);
        }
        self.wake(now, wishes);
    }

    /// Whether it has nothing left to send.
    pub fn is_done(&self) -> bool {
        self.post.is_empty()
    }

    /// Somebody has (not) confirmed the claim code.
    pub fn confirmed(&mut self, now: Timestamp, result: Result<(), String>, wishes: &mut Vec<Wish>) {
        if let Err(message) = result {
            self.tell_error(now, "claim.unconfirmed", message, wishes);
            self.try_claim_again(now);
        }
    }

    /// Something came over the connection.
    pub fn hear(&mut self, now: Timestamp, heard: Heard, wishes: &mut Vec<Wish>) {
        match heard {
            Heard::Open => {
                let filter = match self.phase {
                    Phase::Bootstrap => format!("chan/v1/{}/_prov/{}/res", self.maker(), self.nonce),
                    Phase::Away | Phase::Arriving | Phase::Home => format!("{}/down/#", self.root()),
                };
                wishes.push(Wish::Subscribe(filter));
            }
            Heard::Subscribed { granted: false } => {
                self.tell_error(now, "subscribe.refused", "the gateway refused the device's own topics".into(), wishes);
            }
            Heard::Subscribed { granted: true } => match self.phase {
                Phase::Bootstrap => self.ask_for_credential(wishes),
                Phase::Arriving => self.arrive(now, wishes),
                Phase::Away | Phase::Home => {}
            },
            Heard::Acked { ticket, refused } => self.acked(now, ticket, refused, wishes),
            Heard::Message { topic, payload } => self.message(now, &topic, &payload, wishes),
            Heard::Closed { why } => self.closed(now, why, wishes),
        }
        self.send_post(wishes);
    }

    fn first_plans(&mut self) {
        let start = self.stage.start;
        let spread = Span((self.pace.between(0.0, 60.0) * 1_000.0) as i64);
        self.plan(start + spread, Task::Connect);
        self.plan(start + Span::minutes(1), Task::Look);
        for window in self.device.faults.offline.clone() {
            let from = window.from.at(start);
            if from + window.length > start {
                self.plan(from.max(start), Task::NetworkGone);
                self.plan(from + window.length, Task::NetworkBack);
            }
        }
        if let Some(after) = self.device.faults.reset_at {
            self.plan(start + after, Task::Reset);
        }
        if let Some(after) = self.home.withdraw_at {
            self.plan(start + after, Task::WithdrawConsent);
        }
    }

    fn plan(&mut self, at: Timestamp, task: Task) {
        if self.draining && !matches!(task, Task::Connect | Task::Release(_)) {
            return;
        }
        self.noted += 1;
        self.agenda.insert((at, self.noted), task);
    }

    fn act(&mut self, at: Timestamp, now: Timestamp, task: Task, wishes: &mut Vec<Wish>) {
        match task {
            Task::Look => self.look(at, wishes),
            Task::Connect => self.connect(now, wishes),
            Task::Claim => self.claim(now),
            Task::Release(ticket) => self.post.release(ticket),
            Task::Show(offer) => self.show(now, &offer, wishes),
            Task::Answer { offer, person, asked_why } => self.answer(now, &offer, person, asked_why, wishes),
            Task::NetworkGone => self.network_gone(now, wishes),
            Task::NetworkBack => {
                self.offline = false;
                self.connect(now, wishes);
            }
            Task::Reset => self.reset(now, wishes),
            Task::WithdrawConsent => self.withdraw_consent(now),
            Task::Advance { order, rev, state } => self.advance(order, rev, state, wishes),
            Task::Cancel { order, person } => self.cancel(now, order, person, wishes),
            Task::Replace(slot) => self.replace(now, slot, wishes),
        }
    }

    // What the appliance reports.

    fn look(&mut self, at: Timestamp, wishes: &mut Vec<Wish>) {
        for remark in self.appliance.advance(at) {
            match remark {
                Remark::Sample { at, fields } => self.sample(at, fields, wishes),
                Remark::Slot { at, reading } => {
                    let report = format!("{} {} {} {}", reading.slot, reading.field, reading.value, reading.unit);
                    wishes.push(Wish::Tell(Happening::Reported { scene: self.scene(at), report, slot: true }));
                    self.send_slot(at, &reading, false);
                }
                Remark::Event { at, kind, data } => {
                    let mut body = json!({"type": kind, "data": data});
                    if let Some(t) = self.device_time(at) {
                        body["t"] = json!(t.0);
                    }
                    self.send(at, "up/event", &body, Duty::Keep);
                }
            }
        }
        let next = self.appliance.next_look().max(at + Span::minutes(1));
        self.plan(next, Task::Look);
    }

    fn send_slot(&mut self, at: Timestamp, reading: &crate::model::SlotReading, changed: bool) {
        let body = reading.body(self.device_time(at), changed);
        let duty =
            Duty::Slot { slot: reading.slot.into(), field: reading.field.into(), value: reading.value, at };
        self.send(at, "up/slot", &body, duty);
    }

    /// Without a connection samples gather, and go out together afterwards.
    fn sample(&mut self, at: Timestamp, fields: serde_json::Map<String, Value>, wishes: &mut Vec<Wish>) {
        let words: Vec<String> = fields.iter().map(|(name, value)| format!("{name} {value}")).collect();
        let report = words.join(", ").replace('"', "");
        wishes.push(Wish::Tell(Happening::Reported { scene: self.scene(at), report, slot: false }));
        let mut sample = json!({"f": fields});
        if let Some(t) = self.device_time(at) {
            sample["t"] = json!(t.0);
        }
        self.samples.push_back(sample);
        if self.samples.len() > SAMPLES_MAX {
            self.samples.pop_front();
        }
        if self.phase == Phase::Home {
            self.send_samples(at);
        }
    }

    fn send_samples(&mut self, now: Timestamp) {
        if self.samples.is_empty() {
            return;
        }
        let samples: Vec<Value> = self.samples.drain(..).collect();
        let numbers = samples
            .iter()
            .filter_map(|sample| sample["f"].as_object())
            .flatten()
            .filter_map(|(name, value)| value.as_f64().map(|number| (name.clone(), number)))
            .collect();
        self.send(now, "up/telemetry", &json!({"samples": samples}), Duty::Telemetry { numbers });
    }

    // The connection.

    fn connect(&mut self, now: Timestamp, wishes: &mut Vec<Wish>) {
        if self.offline || self.phase != Phase::Away {
            return;
        }
        let identity = match (&self.credential, &self.bootstrap_secret) {
            (Some(credential), _) => {
                self.epoch += 1;
                let body = json!({"state": "lost", "epoch": self.epoch});
                let id = format!("will-{}", self.epoch);
                let stamp = Stamp { epoch: Some(self.epoch), ..Stamp::default() };
                self.phase = Phase::Arriving;
                Identity {
                    client_id: credential.device.clone(),
                    username: credential.username.clone(),
                    password: credential.secret.clone(),
                    will: Some((format!("{}/presence", self.root()), envelope(&id, stamp, &body))),
                    clean: !self.device.persistent,
                }
            }
            (None, Some(secret)) => {
                self.phase = Phase::Bootstrap;
                Identity {
                    client_id: self.serial.to_ascii_lowercase(),
                    username: format!("{}/_bootstrap", self.maker()),
                    password: secret.clone(),
                    will: None,
                    clean: true,
                }
            }
            (None, None) => {
                let message = format!("no bootstrap secret of {} and no credential was given", self.maker());
                return self.tell_error(now, "no_credential", message, wishes);
            }
        };
        wishes.push(Wish::Open(Box::new(identity)));
    }

    fn ask_for_credential(&mut self, wishes: &mut Vec<Wish>) {
        let body = json!({"serial": self.serial, "model": self.device.known.model, "hw": "b", "fw": "2.1.0", "proof": null});
        wishes.push(Wish::Publish {
            topic: format!("chan/v1/{}/_prov/{}/req", self.maker(), self.nonce),
            payload: envelope(&format!("prov-{}", self.nonce), Stamp::default(), &body),
            ticket: 0,
        });
    }

    fn arrive(&mut self, now: Timestamp, wishes: &mut Vec<Wish>) {
        self.phase = Phase::Home;
        self.failures = 0;
        wishes.push(Wish::Tell(Happening::Online { scene: self.scene(now) }));
        self.send(now, "presence", &json!({"state": "online", "epoch": self.epoch, "fw": "2.1.0"}), Duty::Keep);
        self.send(now, "desc", &self.appliance.description(), Duty::Keep);
        let have: Vec<&String> = self.offers.keys().collect();
        let want = ["time", "link", "offers", "orders", "consent", "state"];
        let body = json!({"want": want, "have": {"offers": have}});
        self.send(now, "up/sync", &body, Duty::Sync);
        self.send_samples(now);
    }

    fn network_gone(&mut self, now: Timestamp, wishes: &mut Vec<Wish>) {
        self.offline = true;
        if self.phase != Phase::Away {
            wishes.push(Wish::Cut);
            self.away(now, "no network".into(), wishes);
        }
    }

    fn closed(&mut self, now: Timestamp, why: String, wishes: &mut Vec<Wish>) {
        if self.phase == Phase::Away {
            return;
        }
        self.away(now, why, wishes);
        self.failures = (self.failures + 1).min(8);
        let wait = (Span::seconds(30).0 << self.failures).min(RECONNECT_MAX.0) as f64;
        let wait = Span((wait * self.pace.between(0.5, 1.0)) as i64);
        self.plan(now + wait, Task::Connect);
    }

    fn away(&mut self, now: Timestamp, why: String, wishes: &mut Vec<Wish>) {
        self.phase = Phase::Away;
        self.post.disconnected();
        // The next birth writes its own; the old ones are settled as far as the oracle goes.
        for id in self.post.forget(&OF_CONNECTION) {
            wishes.push(Wish::Fact(Fact::Refused { id: Some(id.clone()) }));
            wishes.push(Wish::Fact(Fact::Acked { id }));
        }
        wishes.push(Wish::Tell(Happening::Offline { scene: self.scene(now), why }));
    }

    fn acked(&mut self, now: Timestamp, ticket: u64, refused: Option<String>, wishes: &mut Vec<Wish>) {
        let Some((id, again)) = self.post.acked(ticket) else { return };
        if let Some(reason) = refused {
            wishes.push(Wish::Fact(Fact::Refused { id: Some(id.clone()) }));
            self.tell_error(now, "puback", format!("{id}: {reason}"), wishes);
        }
        if self.reset_message.as_ref() == Some(&id) {
            // From here on the gateway knows: nothing of the former owner may come any more.
            self.reset_message = None;
            wishes.push(Wish::Fact(Fact::Unlinked));
        }
        wishes.push(Wish::Fact(Fact::Acked { id }));
        if again {
            self.plan(now + Span::minutes(2), Task::Release(ticket));
        }
    }

    fn send(&mut self, now: Timestamp, tail: &'static str, body: &Value, duty: Duty) {
        let (number, id) = (self.post.next_number(), self.next_id());
        let t = self.device_time(now);
        let stamp = Stamp {
            t,
            up_ms: t.map(|_| (now - self.stage.start).0),
            // A device that existed before has a life of numbers that this side does not know.
            seq: self.bootstrap_secret.as_ref().map(|_| number),
            epoch: Some(self.epoch),
        };
        let payload = envelope(&id, stamp, body);
        if let (ticket, Fate::Held(span)) = self.post.take(id, tail, payload, duty) {
            self.plan(now + span, Task::Release(ticket));
        }
        if self.draining {
            self.post.release_all();
        }
    }

    fn next_id(&self) -> String {
        let tag = if self.stage.tag.is_empty() { "m" } else { &self.stage.tag };
        format!("{tag}-{}", self.post.next_number())
    }

    fn send_post(&mut self, wishes: &mut Vec<Wish>) {
        if self.phase != Phase::Home {
            return;
        }
        let root = self.root();
        while let Some((ticket, letter)) = self.post.next() {
            if !letter.left {
                wishes.push(Wish::Fact(Fact::Sent { id: letter.id, duty: letter.duty }));
            }
            wishes.push(Wish::Publish { topic: format!("{root}/{}", letter.tail), payload: letter.payload, ticket });
        }
    }

    // What the gateway says.

    fn message(&mut self, now: Timestamp, topic: &str, payload: &[u8], wishes: &mut Vec<Wish>) {
        let down: Down = match serde_json::from_slice(payload) {
            Ok(down) => down,
            Err(error) => return self.tell_error(now, "down.unreadable", format!("{topic}: {error}"), wishes),
        };
        if self.phase == Phase::Bootstrap {
            return self.provisioned(now, down.body, wishes);
        }
        let root = format!("{}/down/", self.root());
        let Some(tail) = topic.strip_prefix(&root) else {
            return wishes.push(Wish::Fact(Fact::Foreign { topic: topic.to_owned() }));
        };
        let sent_at = down.t.map_or(now, Timestamp);
        let result = match tail {
            "offer" => serde_json::from_value(down.body).map(|offer| self.offer(now, sent_at, offer, wishes)),
            "order" => serde_json::from_value(down.body).map(|order| self.order(now, order, wishes)),
            "claim" => serde_json::from_value(down.body).map(|claim| self.claim_answered(now, claim, wishes)),
            "sync" => serde_json::from_value(down.body).map(|sync| self.synced(now, sent_at, sync, wishes)),
            "error" => serde_json::from_value(down.body).map(|error| self.refused(now, error, wishes)),
            "lifecycle" => serde_json::from_value(down.body).map(|word| self.lifecycle(now, &word, wishes)),
            // Read by other parts of a real device; nothing here depends on them.
            "consent" | "state" | "time" | "doctor" | "reply" | "replenish" => Ok(()),
            other => {
                let message = format!("the contract has no topic down/{other}");
                self.tell_error(now, "down.unknown", message, wishes);
                Ok(())
            }
        };
        if let Err(error) = result {
            self.tell_error(now, "down.unreadable", format!("down/{tail}: {error}"), wishes);
        }
    }

    fn provisioned(&mut self, now: Timestamp, body: Value, wishes: &mut Vec<Wish>) {
        match serde_json::from_value(body) {
            Ok(ProvisionDown::Granted { device, username, secret }) => {
                self.credential = Some(Credential { device: device.clone(), username, secret });
                self.phase = Phase::Away;
                wishes.push(Wish::Leave);
                wishes.push(Wish::Named(device));
                wishes.push(Wish::Tell(Happening::Registered {
                    scene: self.scene(now),
                    maker: self.maker().to_owned(),
                    model: self.device.known.model.to_owned(),
                    serial: self.serial.clone(),
                }));
                self.plan(now + Span::seconds(1), Task::Connect);
            }
            Ok(ProvisionDown::Refused { error }) => {
                // Asking again with the same serial changes nothing.
                self.offline = true;
                self.phase = Phase::Away;
                wishes.push(Wish::Leave);
                self.tell_error(now, &error.code, error.message, wishes);
            }
            Err(error) => self.tell_error(now, "down.unreadable", format!("_prov: {error}"), wishes),
        }
    }

    fn refused(&mut self, now: Timestamp, error: ErrorDown, wishes: &mut Vec<Wish>) {
        wishes.push(Wish::Fact(Fact::Refused { id: error.about.id }));
        self.tell_error(now, &error.code, error.message, wishes);
    }

    fn lifecycle(&mut self, now: Timestamp, word: &LifecycleDown, wishes: &mut Vec<Wish>) {
        match word.op.as_str() {
            "wipe" => {
                self.unlink(wishes);
                self.send(now, "up/lifecycle", &json!({"op": "wiped"}), Duty::Keep);
            }
            "released" => self.unlink(wishes),
            other => self.tell_error(now, "lifecycle", format!("the gateway says `{other}`"), wishes),
        }
    }

    fn unlink(&mut self, wishes: &mut Vec<Wish>) {
        self.linked = false;
        self.offers.clear();
        wishes.push(Wish::Fact(Fact::Unlinked));
    }

    fn synced(&mut self, now: Timestamp, sent_at: Timestamp, sync: SyncDown, wishes: &mut Vec<Wish>) {
        wishes.push(Wish::Fact(Fact::Synced));
        match sync.link {
            Some(link) if link.state == "linked" => self.belongs(now, link.display_name.unwrap_or_default(), wishes),
            Some(link) if link.state == "wipe_pending" => {
                self.unlink(wishes);
                self.send(now, "up/lifecycle", &json!({"op": "wiped"}), Duty::Keep);
            }
            Some(_) if self.claim_tries == 0 => self.plan_claim(now),
            Some(_) | None => {}
        }
        let live: Vec<String> = sync.offers.iter().map(|offer| offer.id.clone()).collect();
        self.offers.retain(|id, _| live.contains(id));
        for offer in sync.offers {
            self.put(now, sent_at, offer, true, wishes);
        }
        for order in sync.orders {
            self.order(now, order, wishes);
        }
    }

    // Claiming.

    fn plan_claim(&mut self, now: Timestamp) {
        if let Some(after) = self.home.claim_after {
            self.plan(now.max(self.stage.start + after), Task::Claim);
        }
    }

    fn claim(&mut self, now: Timestamp) {
        if self.linked || self.claim_tries >= CLAIM_TRIES_MAX {
            return;
        }
        if self.phase != Phase::Home {
            // The person sees that the device has no network and comes back later.
            return self.plan(now + Span::minutes(30), Task::Claim);
        }
        self.claim_tries += 1;
        self.send(now, "up/claim", &json!({"op": "start", "presence": true, "show": "code"}), Duty::Claim);
    }

    fn try_claim_again(&mut self, now: Timestamp) {
        if !self.linked {
            self.plan(now + Span::minutes(15), Task::Claim);
        }
    }

    fn claim_answered(&mut self, now: Timestamp, claim: ClaimDown, wishes: &mut Vec<Wish>) {
        match claim {
            ClaimDown::Code { code } => {
                wishes.push(Wish::Fact(Fact::Code));
                wishes.push(Wish::Fact(Fact::Consented { purposes: self.home.consents.clone() }));
                wishes.push(Wish::Tell(Happening::ClaimCode { scene: self.scene(now), code: code.clone() }));
                if !self.draining {
                    wishes.push(Wish::Confirm(code));
                }
            }
            ClaimDown::Linked { display_name } => self.belongs(now, display_name, wishes),
            ClaimDown::Refused { error } => {
                wishes.push(Wish::Fact(Fact::ClaimRefused));
                self.tell_error(now, &error, "the claim was refused".into(), wishes);
                self.try_claim_again(now);
            }
        }
    }

    fn belongs(&mut self, now: Timestamp, display_name: String, wishes: &mut Vec<Wish>) {
        wishes.push(Wish::Fact(Fact::Linked));
        if !std::mem::replace(&mut self.linked, true) {
            wishes.push(Wish::Tell(Happening::Linked { scene: self.scene(now), display_name }));
        }
    }

    fn reset(&mut self, now: Timestamp, wishes: &mut Vec<Wish>) {
        self.linked = false;
        self.claim_tries = 0;
        self.offers.clear();
        wishes.push(Wish::Tell(Happening::Reset { scene: self.scene(now) }));
        self.reset_message = Some(self.next_id());
        self.send(now, "up/lifecycle", &json!({"op": "reset", "level": "user", "presence": true}), Duty::Keep);
        if self.home.claim_after.is_some() {
            self.plan(now + Span::hours(1), Task::Claim);
        }
    }

    fn withdraw_consent(&mut self, now: Timestamp) {
        self.offers.clear();
        let mut word = json!({"purpose": "offers.device", "granted": false, "method": "button", "text_id": "t1"});
        if let Some(t) = self.device_time(now) {
            word["t"] = json!(t.0);
        }
        let duty = Duty::Withdrawal { purpose: "offers.device".into() };
        self.send(now, "up/consent", &json!({"set": [word]}), duty);
    }

    // Offers and the person who answers them.

    fn offer(&mut self, now: Timestamp, sent_at: Timestamp, offer: OfferDown, wishes: &mut Vec<Wish>) {
        match offer {
            OfferDown::Put { offer } => self.put(now, sent_at, offer, false, wishes),
            OfferDown::Withdraw { offer } => {
                wishes.push(Wish::Fact(Fact::OfferWithdrawn { offer: offer.clone() }));
                if self.offers.remove(&offer).is_some() {
                    wishes.push(Wish::Tell(Happening::OfferWithdrawn { scene: self.scene(now), offer }));
                }
            }
        }
    }

    fn put(&mut self, now: Timestamp, sent_at: Timestamp, offer: OfferSeen, in_sync: bool, wishes: &mut Vec<Wish>) {
        wishes.push(Wish::Fact(Fact::Put {
            offer: offer.id.clone(),
            kind: offer.kind.clone(),
            product: offer.item.as_ref().map(|item| item.product.clone()),
            expires_at: offer.expires_at.map(Timestamp),
            sent_at,
            in_sync,
        }));
        if self.offers.get(&offer.id).is_some_and(|held| held.offer.rev >= offer.rev) || self.draining {
            return;
        }
        // Validity is the gateway's time; how long ago it spoke is this side's.
        if offer.expires_at.is_some_and(|end| sent_at.0 >= end) {
            return self.receipt(now, &offer, "expired");
        }
        self.receipt(now, &offer, "delivered");
        let glance = Span((self.pace.between(2.0, 60.0) * 1_000.0) as i64);
        self.plan(now + glance, Task::Show(offer.id.clone()));
        self.offers.insert(offer.id.clone(), Held { offer, sent_at, shown: false });
    }

    fn receipt(&mut self, now: Timestamp, offer: &OfferSeen, state: &str) {
        let mut body = json!({"offer": offer.id, "rev": offer.rev, "state": state});
        if let Some(t) = self.device_time(now) {
            body["t"] = json!(t.0);
        }
        self.send(now, "up/offer/receipt", &body, Duty::Keep);
    }

    fn show(&mut self, now: Timestamp, id: &str, wishes: &mut Vec<Wish>) {
        let Some(held) = self.offers.get_mut(id) else { return };
        if std::mem::replace(&mut held.shown, true) {
            return;
        }
        let offer = held.offer.clone();
        wishes.push(Wish::Tell(Happening::OfferShown {
            scene: self.scene(now),
            offer: offer.id.clone(),
            title: offer.text.title.clone(),
            product: offer.item.as_ref().map(|item| item.product.clone()),
            price: offer.price.as_ref().map(|price| price.total.to_string()),
        }));
        self.receipt(now, &offer, "shown");
        let adults: Vec<usize> = (0..self.home.people.len())
            .filter(|n| matches!(self.home.people[*n].role.as_str(), "owner" | "buyer"))
            .collect();
        let Some(person) = adults.get(self.habits.below(adults.len() as u64) as usize).copied() else { return };
        let minutes = self.habits.log_between(1.0, 180.0);
        let at = self.when_awake(now + Span((minutes * 60_000.0) as i64));
        self.plan(at, Task::Answer { offer: id.to_owned(), person, asked_why: false });
    }

    /// Nobody answers between eleven and seven.
    fn when_awake(&self, at: Timestamp) -> Timestamp {
        let hour = self.home.zone.local(at).hour();
        if (7..23).contains(&hour) { at } else { self.home.zone.next(at, jiff::civil::time(7, 10, 0, 0)) }
    }

    fn answer(&mut self, now: Timestamp, id: &str, person: usize, asked_why: bool, wishes: &mut Vec<Wish>) {
        let Some(held) = self.offers.get(id) else { return };
        let (offer, sent_at) = (held.offer.clone(), held.sent_at);
        let Some(who) = self.home.people.get(person).cloned() else { return };
        // Only where the clocks are one does this side know that the offer has ended meanwhile.
        if self.stage.stamps && offer.expires_at.is_some_and(|end| now.0 >= end) {
            self.offers.remove(id);
            return self.receipt(now, &offer, "expired");
        }
        let wonders = self.habits.happens(who.why);
        if wonders && !asked_why && offer.actions.iter().any(|action| action == "why") {
            self.press(now, &offer, "why", &who, json!({}), wishes);
            let again = Task::Answer { offer: id.to_owned(), person, asked_why: true };
            return self.plan(now + Span::minutes(1), again);
        }
        let Some(answer) = choose(&who, &offer.actions, self.habits.unit()) else { return };
        let more = match answer {
            "accept" => json!({"choice": {"qty": 1, "fulfil": "deliver"}}),
            "snooze" => json!({"until": (if self.stage.stamps { now } else { sent_at } + Span::hours(24)).0}),
            "not_needed" => json!({"reason": "have_spare"}),
            _ => json!({}),
        };
        self.press(now, &offer, answer, &who, more, wishes);
        self.offers.remove(id);
    }

    fn press(&mut self, now: Timestamp, offer: &OfferSeen, answer: &str, who: &Person, more: Value, wishes: &mut Vec<Wish>) {
        self.presses += 1;
        let mut body = json!({"offer": offer.id, "rev": offer.rev, "answer": answer, "nonce": format!("n-{}", self.presses)});
        if let (Some(body), Value::Object(more)) = (body.as_object_mut(), more) {
            body.extend(more);
        }
        if let Some(t) = self.device_time(now) {
            body["t"] = json!(t.0);
        }
        let duty = match answer {
            "accept" => Duty::Accept { offer: offer.id.clone() },
            _ => Duty::Keep,
        };
        if let (Duty::Accept { .. }, Some(item)) = (&duty, &offer.item) {
            self.bought.insert(offer.id.clone(), item.product.clone());
        }
        wishes.push(Wish::Tell(Happening::Answered {
            scene: self.scene(now),
            offer: offer.id.clone(),
            person: who.id.clone(),
            answer: answer.to_owned(),
        }));
        self.send(now, "up/offer/answer", &body, duty);
    }

    // Orders.

    fn order(&mut self, now: Timestamp, order: OrderSeen, wishes: &mut Vec<Wish>) {
        wishes.push(Wish::Fact(Fact::Order { order: order.order.clone(), offer: order.offer.clone() }));
        if self.orders.get(&order.order).is_some_and(|known| known.rev >= order.rev) {
            return;
        }
        wishes.push(Wish::Tell(Happening::OrderChanged {
            scene: self.scene(now),
            order: order.order.clone(),
            state: order.state.clone(),
        }));
        let next = |hours: f64| now + Span((hours * 3_600_000.0) as i64);
        match order.state.as_str() {
            "confirmed" if order.can.iter().any(|can| can == "cancel") => {
                let owner = self.home.people.iter().position(|person| person.role == "owner").unwrap_or(0);
                let regrets = self.home.people.get(owner).map_or(0.0, |person| person.cancel);
                let minutes = self.habits.between(2.0, 20.0);
                if self.habits.happens(regrets) {
                    let task = Task::Cancel { order: order.order.clone(), person: owner };
                    self.plan(now + Span((minutes * 60_000.0) as i64), task);
                }
            }
            "submitted" | "accepted" => {
                let task = Task::Advance { order: order.order.clone(), rev: order.rev + 1, state: "shipped" };
                let at = next(self.pace.between(4.0, 20.0));
                self.plan(at, task);
            }
            "shipped" => {
                let task = Task::Advance { order: order.order.clone(), rev: order.rev + 1, state: "delivered" };
                let at = next(self.pace.between(18.0, 44.0));
                self.plan(at, task);
            }
            "delivered" | "picked_up" => {
                let slot = self.slot_of(&order.offer);
                let opened = next(self.habits.between(0.5, 30.0));
                let at = self.when_awake(opened);
                self.plan(at, Task::Replace(slot));
            }
            _ => {}
        }
        self.orders.insert(order.order.clone(), order);
    }

    /// What a delivered article is for: as the file's causes say, else the slot nearest its end.
    fn slot_of(&mut self, offer: &str) -> String {
        let product = self.bought.get(offer);
        let model = self.device.known.model;
        let stated = self.stage.causes.iter().find(|cause| cause.model == model && cause.product.as_ref() == product);
        if let Some(slot) = stated.filter(|_| product.is_some()).and_then(|cause| cause.slot.clone()) {
            return slot;
        }
        let mut slots = self.appliance.slots();
        slots.sort_by(|a, b| b.worn().total_cmp(&a.worn()));
        slots.first().map(|reading| reading.slot.to_owned()).unwrap_or_default()
    }

    fn advance(&mut self, order: String, rev: u32, state: &'static str, wishes: &mut Vec<Wish>) {
        // Somebody else may have moved it on meanwhile.
        if self.orders.get(&order).is_some_and(|known| known.rev + 1 == rev) {
            wishes.push(Wish::Advance { order, rev, state });
        }
    }

    fn cancel(&mut self, now: Timestamp, order: String, person: usize, wishes: &mut Vec<Wish>) {
        self.presses += 1;
        let who = self.home.people.get(person).map(|person| person.id.clone()).unwrap_or_default();
        let offer = self.orders.get(&order).map(|order| order.offer.clone()).unwrap_or_default();
        let answer = "cancel the order".to_owned();
        wishes.push(Wish::Tell(Happening::Answered { scene: self.scene(now), offer, person: who, answer }));
        let body = json!({"order": order, "op": "cancel", "nonce": format!("n-{}", self.presses)});
        self.send(now, "up/order", &body, Duty::Keep);
    }

    fn replace(&mut self, now: Timestamp, slot: String, wishes: &mut Vec<Wish>) {
        if !self.appliance.replace(&slot) {
            return;
        }
        wishes.push(Wish::Tell(Happening::Replaced { scene: self.scene(now), slot: slot.clone() }));
        if let Some(reading) = self.appliance.slots().into_iter().find(|reading| reading.slot == slot) {
            self.send_slot(now, &reading, true);
        }
    }

    // Small things.

    fn maker(&self) -> &str {
        self.device.known.maker
    }

    fn name(&self) -> &str {
        self.credential.as_ref().map_or(&self.serial, |credential| &credential.device)
    }

    fn root(&self) -> String {
        format!("chan/v1/{}/{}", self.maker(), self.name())
    }

    /// The device's own clock, where it has one that can be compared.
    fn device_time(&self, at: Timestamp) -> Option<Timestamp> {
        self.stage.stamps.then(|| at + self.device.faults.skew)
    }

    fn scene(&self, at: Timestamp) -> Scene {
        Scene { at, home: self.home.id.clone(), device: self.name().to_owned() }
    }

    fn tell_error(&self, now: Timestamp, code: &str, message: String, wishes: &mut Vec<Wish>) {
        wishes.push(Wish::Tell(Happening::Error { scene: self.scene(now), code: code.to_owned(), message }));
    }
}

/// What a person answers for a draw in 0..1; none is silence. An answer that the offer does not
/// take is silence too.
fn choose(who: &Person, actions: &[String], draw: f64) -> Option<&'static str> {
    let takes = |action: &str| actions.iter().any(|known| known == action);
    let mut rest = draw;
    for (share, answer, action) in [
        (who.accept, "accept", "order"),
        (who.snooze, "snooze", "snooze"),
        (who.decline, "decline", "decline"),
        (who.not_needed, "not_needed", "decline"),
    ] {
        if rest < share {
            return takes(action).then_some(answer);
        }
        rest -= share;
    }
    None
}
