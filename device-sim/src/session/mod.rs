//! One device and the person at it, from its first provisioning to its last report.
//!
//! This is a state machine without a socket or a clock: it is told the time and what was heard,
//! and answers with [`Wish`]es. The run connects it to the network; a test plays the gateway.

mod claim;
mod connection;
mod hearing;
mod offers;
mod orders;
mod reports;

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
    ClaimDown, Down, ErrorDown, LifecycleDown, OfferDown, OfferSeen, OrderSeen, ProvisionDown, Stamp, SyncDown,
    envelope, signed_envelope,
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
        let serial =
            if stage.tag.is_empty() { device.serial.clone() } else { format!("{}-{}", device.serial, stage.tag) };
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
