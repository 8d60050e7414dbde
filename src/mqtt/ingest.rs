//! From a publish to an input, or to a refusal.
//!
//! A refused message is acknowledged, because it never improves by being sent again, and
//! answered on `down/error`. Only what is on disk is acknowledged otherwise.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use hearthway_core::code::{Code, Refusal};
use hearthway_core::id::{DeviceKey, InputId, MessageId, base32, derive_bytes};
use hearthway_core::input::{Command, Input, Sender, What};
use hearthway_core::time::Timestamp;
use hearthway_core::wire::topic::{Topic, Who, device_topic, may_publish};
use hearthway_core::wire::{self, DeviceMessage, DownHead, DownMessage, Envelope, PresenceWord, Rejected};
use metrics::counter;
use tokio::time::Instant;

use super::codec::{Publish, Will};
use super::house::{Doorkeeper, Intake};
use super::limits::{PACED_DEVICES_MAX, TOPIC_BYTES_MAX, TOPIC_LEVELS_MAX};
use super::mailbox::{Mailbox, Note, Outgoing};
use super::metrics as names;
use super::sessions::Sessions;
use crate::engine::{Outcome, Repeat, Target, Waiter};

/// How often one device is told of a refusal; what comes between is counted in the next.
const ERROR_EVERY: Duration = Duration::from_secs(1);
/// Characters of `corr` taken from v5 Correlation Data.
const CORRELATION_BYTES_MAX: usize = 64;

/// What became of a publish.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// On its way to the disk; the mailbox will say when it is there.
    Settling,
    /// Done with: acknowledge at once.
    Done,
    /// Not this client's to publish.
    Forbidden,
}

/// Where the publishes of one connection go.
pub struct Ingest {
    who: Who,
    client_id: Arc<str>,
    intake: Arc<dyn Intake>,
    door: Arc<dyn Doorkeeper>,
    sessions: Arc<Sessions>,
    errors: BTreeMap<DeviceKey, Pace>,
}

/// How one device is told of its refusals.
struct Pace {
    told: Instant,
    /// Refusals since, and the last of them.
    untold: u32,
    last: Option<(Refusal, Option<MessageId>, String)>,
}

impl Ingest {
    /// The way in for a client that logged in.
    pub fn new(
        who: Who,
        client_id: Arc<str>,
        intake: Arc<dyn Intake>,
        door: Arc<dyn Doorkeeper>,
        sessions: Arc<Sessions>,
    ) -> Ingest {
        Ingest { who, client_id, intake, door, sessions, errors: BTreeMap::new() }
    }

    /// Takes a publish of a device or a bridge. Waits only while the engine's queue is full.
    pub async fn publish(&mut self, publish: &Publish, mailbox: &Arc<Mailbox>) -> Taken {
        let topic = publish.topic();
        let parsed = if is_within_bounds(topic) { Topic::parse(topic) } else { None };
        let (device, below) = match parsed {
            Some(Topic::Device { device, below }) if may_publish(&self.who, topic) => (device, below),
            _ => {
                self.forbidden(topic);
                return Taken::Forbidden;
            }
        };
        let envelope = match self.understand(&device, below, publish) {
            Ok(envelope) => envelope,
            Err(rejected) => {
                self.refuse(&device, rejected.refusal, rejected.id, below);
                return Taken::Done;
            }
        };
        let (message, repeat) = self.identify(publish, envelope.id.clone());
        let input = self.input(publish, envelope, message);
        let waiter = match publish.qos {
            0 => Waiter::None,
            qos => acknowledgement(mailbox.clone(), publish.id, qos),
        };
        self.intake.submit(Target::Device(device), input, repeat, waiter).await;
        if publish.qos == 0 { Taken::Done } else { Taken::Settling }
    }

    /// Decodes a publish and checks all that stands between it and a decision.
    fn understand(&self, device: &DeviceKey, below: &str, publish: &Publish) -> Result<Envelope, Rejected> {
        let bare = |refusal| Rejected { refusal, id: None };
        let known = self.intake.known(device).ok_or_else(|| bare(device_unknown(device)))?;
        let envelope = wire::decode(publish.topic(), publish.payload())?;
        let refused = |refusal| Rejected { refusal, id: envelope.id.clone() };
        if known.suspended {
            return Err(refused(Refusal::new(
                Code::DeviceSuspended,
                "the device is suspended: its messages have no effect until an operator resumes it",
            )));
        }
        if publish.qos == 0 && !may_be_lost(&envelope.message) {
            let why = format!("`{below}` is published at QoS 1, so that it is on disk when it is acknowledged");
            return Err(refused(Refusal::new(Code::QosUnsupported, why)));
        }
        if let Some(signed) = &envelope.signed
            && !self.door.is_signed_by(device, &signed.text, &signed.sig)
        {
            let why =
                "the signature is not this device's over topic, epoch, seq, nonce and body; leave `sig` out or mend it";
            return Err(refused(Refusal::new(Code::SigBad, why).at("/sig")));
        }
        Ok(envelope)
    }

    /// The id against repeats. In the short form there is none, and only MQTT's own redelivery is
    /// recognised: same client, packet id, topic and payload, with DUP.
    fn identify(&self, publish: &Publish, id: Option<MessageId>) -> (Option<MessageId>, Repeat) {
        if id.is_some() {
            return (id, Repeat::Remember);
        }
        if publish.qos == 0 {
            return (None, Repeat::Ignore);
        }
        let parts: [&[u8]; 4] =
            [self.client_id.as_bytes(), &publish.id.to_be_bytes(), publish.topic().as_bytes(), publish.payload()];
        let id = MessageId::new(format!("mqtt-{}", base32(&derive_bytes("mqtt", &parts)[..15]))).ok();
        (id, if publish.dup { Repeat::Remember } else { Repeat::RememberUnlessRedelivered })
    }

    fn input(&self, publish: &Publish, envelope: Envelope, message: Option<MessageId>) -> Input {
        let mut sender = envelope.sender;
        if sender.corr.is_none() {
            let corr = publish.correlation().filter(|corr| corr.len() <= CORRELATION_BYTES_MAX);
            sender.corr = corr.map(str::to_owned);
        }
        let bytes = u32::try_from(publish.payload().len()).unwrap_or(u32::MAX);
        let what = What::Device(envelope.message);
        input(envelope.device, self.intake.now(), message, bytes, sender, what)
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
        counter!(names::MESSAGES_REFUSED, "code" => refusal.code.as_str()).increment(1);
        let now = Instant::now();
        if !self.errors.contains_key(device) && self.errors.len() >= PACED_DEVICES_MAX {
            self.errors.retain(|_, pace| pace.untold > 0 || now.saturating_duration_since(pace.told) < ERROR_EVERY);
            if self.errors.len() >= PACED_DEVICES_MAX {
                return; // counted above; a bridge in such trouble reads the metric
            }
        }
        if let Some(pace) = self.errors.get_mut(device)
            && now.saturating_duration_since(pace.told) < ERROR_EVERY
        {
            pace.untold += 1;
            pace.last = Some((refusal, reference, topic.to_owned()));
            return;
        }
        self.errors.insert(device.clone(), Pace { told: now, untold: 0, last: None });
        self.tell(device, refusal, reference, topic);
    }

    /// When the next counted summary is due.
    pub fn summary_due(&self) -> Option<Instant> {
        self.errors.values().filter(|pace| pace.untold > 0).map(|pace| pace.told + ERROR_EVERY).min()
    }

    /// Sends the summaries that are due.
    pub fn summarize(&mut self, now: Instant) {
        let due = self.errors.iter_mut().filter(|(_, pace)| pace.untold > 0 && pace.told + ERROR_EVERY <= now);
        let due: Vec<_> = due
            .filter_map(|(device, pace)| {
                pace.told = now;
                Some((device.clone(), std::mem::take(&mut pace.untold), pace.last.take()?))
            })
            .collect();
        for (device, count, (mut refusal, reference, topic)) in due {
            if count > 1 {
                refusal.message =
                    format!("{count} messages were refused in the last second; the last one: {}", refusal.message);
            }
            self.tell(&device, refusal, reference, &topic);
        }
    }

    fn tell(&self, device: &DeviceKey, refusal: Refusal, reference: Option<MessageId>, topic: &str) {
        let now = self.intake.now();
        let message = DownMessage::Error { refusal, reference, topic: topic.to_owned() };
        let head = DownHead {
            device: device.clone(),
            id: format!("er-{:016x}", entropy()),
            t: now,
            exp: None,
            trace: String::new(),
            corr: None,
        };
        let down = wire::encode(&message, &head);
        // No outbox row: a device that is not there does not miss that a message was wrong.
        let answer = Outgoing {
            row: None,
            settles: false,
            topic: device_topic(device, down.topic).into(),
            payload: down.payload.into(),
            qos: 1,
            expires_at: None,
            trace: "".into(),
        };
        self.sessions.deliver(device, &answer);
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

/// Whether a message may come at QoS 0: the next one makes up for it.
fn may_be_lost(message: &DeviceMessage) -> bool {
    matches!(message, DeviceMessage::Telemetry(_) | DeviceMessage::Time { .. } | DeviceMessage::Doctor { .. })
}

fn device_unknown(device: &DeviceKey) -> Refusal {
    Refusal::new(Code::DeviceUnknown, format!("`{device}` is not registered; provision it or register it first"))
}

/// Whether a topic or filter keeps the endpoint's bounds.
pub fn is_within_bounds(topic: &str) -> bool {
    topic.len() <= TOPIC_BYTES_MAX && topic.split('/').count() <= TOPIC_LEVELS_MAX
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

fn input(
    device: DeviceKey,
    now: Timestamp,
    message: Option<MessageId>,
    payload_bytes: u32,
    sender: Sender,
    what: What,
) -> Input {
    let entropy = entropy();
    let id = message.as_ref().map_or("", MessageId::as_str);
    let cause: [&[u8]; 5] = [
        device.maker.as_str().as_bytes(),
        device.device.as_str().as_bytes(),
        id.as_bytes(),
        &now.0.to_be_bytes(),
        &entropy.to_be_bytes(),
    ];
    let id = InputId::derived(&cause);
    Input { id, message, received_at: now, device: Some(device), entropy, payload_bytes, sender, what }
}

/// Randomness for one input; the log keeps it, so a replay draws the same.
fn entropy() -> u64 {
    // Without the system's randomness ids are still told apart by time and cause.
    getrandom::u64().unwrap_or_default()
}
