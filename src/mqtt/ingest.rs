//! From a publish to an input, or to a refusal.
//!
//! A refused message is acknowledged, because it never improves by being sent again, and
//! answered on `down/error`. Only what is on disk is acknowledged otherwise.

use std::sync::Arc;

use hearthway_core::code::{Code, Refusal};
use hearthway_core::id::{DeviceKey, MessageId};
use hearthway_core::input::{Command, Sender, What};
use hearthway_core::wire::topic::{Topic, Who, device_topic, may_publish};
use hearthway_core::wire::{self, DeviceMessage, Envelope, PresenceWord};
use metrics::counter;
use tokio::time::Instant;

use super::codec::{Publish, Will};
use super::flood::Flood;
use super::house::{Doorkeeper, Intake};
use super::mailbox::{Mailbox, Note};
use super::metrics as names;
use super::refusals::{Refusals, Refused, answer};
use super::sessions::Sessions;
pub use super::understand::is_within_bounds;
use super::understand::{Arrived, identify, input, input_of, known, understand};
use crate::engine::{Outcome, RefusedPayload, Repeat, Target, Waiter};
use crate::observe::limits::{Limit, hit};

/// What became of a publish.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// On its way to the disk; the mailbox will say when it is there.
    Settling,
    /// Done with: acknowledge at once.
    Done,
    /// Not this client's to publish.
    Forbidden,
    /// More than its device may publish: refused.
    Limited,
}

/// Where the publishes of one connection go.
pub struct Ingest {
    who: Who,
    client_id: Arc<str>,
    intake: Arc<dyn Intake>,
    door: Arc<dyn Doorkeeper>,
    sessions: Arc<Sessions>,
    flood: Arc<Flood>,
    refusals: Refusals,
}

impl Ingest {
    /// The way in for a client that logged in.
    pub fn new(
        who: Who,
        client_id: Arc<str>,
        intake: Arc<dyn Intake>,
        door: Arc<dyn Doorkeeper>,
        sessions: Arc<Sessions>,
        flood: Arc<Flood>,
    ) -> Ingest {
        Ingest { who, client_id, intake, door, sessions, flood, refusals: Refusals::default() }
    }

    /// Takes a publish of a device or a bridge. Waits only while the engine's queue is full.
    pub async fn publish(&mut self, publish: &Publish, mailbox: &Arc<Mailbox>) -> Taken {
        let topic = publish.topic();
        let parsed = if is_within_bounds(topic) {
            Topic::parse(topic)
        } else {
            hit(Limit::TopicBounds);
            None
        };
        let (device, below) = match parsed {
            Some(Topic::Device { device, below }) if may_publish(&self.who, topic) => (device, below),
            _ => {
                self.forbidden(topic);
                return Taken::Forbidden;
            }
        };
        let arrived = Arrived {
            topic,
            payload: publish.payload(),
            qos: publish.qos,
            id: publish.id,
            dup: publish.dup,
            correlation: publish.correlation(),
        };
        let known = match known(&*self.intake, &device) {
            Ok(known) => known,
            Err(rejected) => {
                self.refuse(&device, rejected.refusal, rejected.id, below);
                return Taken::Done;
            }
        };
        // Whoever has the connection to itself was slowed; of many, one must not slow the others.
        if let Who::Bridge(_) = self.who
            && let Err(refusal) = self.flood.admit(&device, topic, below, publish.payload(), Instant::now())
        {
            self.refuse(&device, refusal, None, below);
            return Taken::Limited;
        }
        let envelope = match understand(known, &*self.door, &device, below, &arrived) {
            Ok(envelope) => envelope,
            Err(rejected) => {
                let refusal = &rejected.refusal;
                let payload = publish.payload();
                self.intake.quarantine(&RefusedPayload { device: &device, topic: below, refusal, payload });
                self.refuse(&device, rejected.refusal, rejected.id, below);
                return Taken::Done;
            }
        };
        let (message, repeat) = identify(&self.client_id, &arrived, envelope.id.clone());
        let input = input_of(&arrived, envelope, message, self.intake.now());
        let waiter = match publish.qos {
            0 => Waiter::None,
            qos => acknowledgement(mailbox.clone(), publish.id, qos),
        };
        self.intake.submit(Target::Device(device), input, repeat, waiter).await;
        if publish.qos == 0 { Taken::Done } else { Taken::Settling }
    }

    fn forbidden(&mut self, topic: &str) {
        let shown: String = topic.chars().take(80).collect();
        let why = format!("`{shown}` is not yours to publish; below your own root publish presence, desc and up/…");
        let refusal = Refusal::new(Code::TopicNotAllowed, why);
        match &self.who {
            // Told on the sender's own topic, whatever the forbidden one was.
            Who::Device(device) => self.refuse(&device.clone(), refusal, None, ""),
            Who::Bridge(maker) => match Topic::parse(topic) {
                Some(Topic::Device { device, below }) if device.maker == *maker => {
                    self.refuse(&device, refusal, None, below);
                }
                _ => counter!(names::MESSAGES_REFUSED, "code" => Code::TopicNotAllowed.as_str()).increment(1),
            },
            Who::Bootstrap(_) => {
                counter!(names::MESSAGES_REFUSED, "code" => Code::TopicNotAllowed.as_str()).increment(1);
            }
        }
    }

    /// Tells a device that a message was refused: at once, unless it was told within the second.
    fn refuse(&mut self, device: &DeviceKey, refusal: Refusal, reference: Option<MessageId>, topic: &str) {
        let refused = Refused { refusal, reference, topic: topic.to_owned() };
        if let Some(told) = self.refusals.refuse(device, refused, Instant::now()) {
            self.sessions.deliver(device, &answer(device, told, self.intake.now()));
        }
    }

    /// When the next counted summary is due.
    pub fn summary_due(&self) -> Option<Instant> {
        self.refusals.summary_due()
    }

    /// Sends the summaries that are due.
    pub fn summarize(&mut self, now: Instant) {
        for (device, told) in self.refusals.summaries(now) {
            self.sessions.deliver(&device, &answer(&device, told, self.intake.now()));
        }
    }

    /// The device used its current secret for the first time.
    pub async fn credential_used(&self, device: &DeviceKey) {
        self.command(device, Command::CredentialUsed).await;
    }

    /// Two clients fight for the device's name.
    pub async fn suspend_for_takeovers(&self, device: &DeviceKey) {
        let reason = "more than 3 takeovers of its connection in a minute: the credential is used twice";
        self.command(device, Command::Suspend { reason: reason.to_owned() }).await;
    }

    async fn command(&self, device: &DeviceKey, command: Command) {
        let what = What::Command(command);
        let input = input(device.clone(), self.intake.now(), None, 0, Sender::default(), what);
        self.intake.submit(Target::Device(device.clone()), input, Repeat::Ignore, Waiter::None).await;
    }
}

/// What to say when a main connection breaks: the device's will, else that it is lost.
#[derive(Debug, Clone)]
pub struct LastWord {
    envelope: Option<(Box<Envelope>, u32)>,
}

impl LastWord {
    /// Checks a will: it must be the device's own presence and say `lost`.
    pub fn of(device: &DeviceKey, will: Option<&Will>) -> Result<LastWord, Refusal> {
        let Some(will) = will else { return Ok(LastWord { envelope: None }) };
        if will.topic != device_topic(device, "presence") {
            let why = "a will goes to the device's own presence topic";
            return Err(Refusal::new(Code::TopicNotAllowed, why));
        }
        let mut envelope = wire::decode(&will.topic, &will.payload).map_err(|rejected| rejected.refusal)?;
        match &mut envelope.message {
            DeviceMessage::Presence(presence) if presence.state == PresenceWord::Lost => presence.is_will = true,
            _ => return Err(Refusal::new(Code::PayloadInvalid, "a will says `\"state\":\"lost\"`").at("/body/state")),
        }
        let bytes = u32::try_from(will.payload.len()).unwrap_or(u32::MAX);
        Ok(LastWord { envelope: Some((Box::new(envelope), bytes)) })
    }

    /// Says it.
    pub async fn say(self, device: DeviceKey, intake: &dyn Intake) {
        let now = intake.now();
        let (input, repeat) = match self.envelope {
            Some((envelope, bytes)) => {
                counter!(names::WILLS).increment(1);
                let Envelope { id, sender, message, .. } = *envelope;
                let repeat = if id.is_some() { Repeat::Remember } else { Repeat::Ignore };
                (input(device.clone(), now, id, bytes, sender, What::Device(message)), repeat)
            }
            None => (input(device.clone(), now, None, 0, Sender::default(), What::ConnectionLost), Repeat::Ignore),
        };
        intake.submit(Target::Device(device), input, repeat, Waiter::None).await;
    }
}

/// The acknowledgement of one publish on one connection. It holds that connection's mailbox, so
/// a newer connection of the same client never sees it.
fn acknowledgement(mailbox: Arc<Mailbox>, id: u16, qos: u8) -> Waiter {
    Waiter::Ack(Box::new(move |outcome| {
        mailbox.note(match outcome {
            Outcome::Committed(_) | Outcome::Duplicate(_) => Note::Durable { id, qos },
            Outcome::Failed(refusal) => Note::Failed(refusal.to_string()),
        });
    }))
}
