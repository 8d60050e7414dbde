//! From a message of the broker to an input, or to a refusal.
//!
//! The topic names maker and device: the broker's access rules must tie it to who published
//! (see [`super::trust`]). What is refused or foreign is acknowledged, for it never improves;
//! everything else is acknowledged after the commit.

use std::sync::Arc;
use std::time::Instant as SystemInstant;

use hearthway_core::code::{Code, Refusal};
use hearthway_core::id::{DeviceKey, MakerId, MessageId};
use hearthway_core::input::{Command, Sender, What};
use hearthway_core::wire::topic::{ProvisioningLeg, Topic, Who, may_publish, provisioning_response_topic};
use hearthway_core::wire::{self, DeviceMessage, PresenceWord, ProvisionHead};
use metrics::counter;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use super::acks::Acks;
use super::house::House;
use super::line::Message;
use super::trust::Acl;
use super::ways::Sign;
use super::{metrics as names, selftest};
use crate::engine::{Outcome, RefusedPayload, Repeat, Target, Waiter};
use crate::mqtt::mailbox::Outgoing;
use crate::mqtt::refusals::{Refusals, Refused, answer};
use crate::mqtt::understand::{Arrived, identify, input, input_of, is_within_bounds, known, understand};

/// Where the messages of one connection go.
pub struct Arrivals {
    house: Arc<House>,
    acks: Arc<Acks>,
    refusals: Refusals,
}

impl Arrivals {
    /// For one connection.
    pub fn new(house: Arc<House>, acks: Arc<Acks>) -> Arrivals {
        Arrivals { house, acks, refusals: Refusals::default() }
    }

    /// Takes messages until the connection ends. Waits while the engine's queues are full: then
    /// the broker runs into the Receive Maximum and holds the rest.
    pub async fn run(mut self, mut messages: mpsc::Receiver<Message>) {
        loop {
            let due = self.refusals.summary_due();
            tokio::select! {
                message = messages.recv() => match message {
                    Some(message) => self.take(message).await,
                    None => return,
                },
                () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => self.summarize(),
            }
        }
    }

    async fn take(&mut self, message: Message) {
        counter!(names::MESSAGES_IN).increment(1);
        let place = self.acks.expect(message.id, message.qos);
        let parsed = if is_within_bounds(&message.topic) { Topic::parse(&message.topic) } else { None };
        match parsed {
            // We never ask for what is retained; where it comes nevertheless, it is of the past.
            _ if message.retain => counter!(names::MESSAGES_DROPPED, "reason" => "retained").increment(1),
            Some(Topic::Device { device, below }) if is_from_a_device(&device, &message.topic) => {
                if self.decide(&device, below, &message, place).await {
                    return; // acknowledged after the commit
                }
            }
            Some(Topic::Provisioning { maker, nonce, leg: ProvisioningLeg::Request }) => {
                return self.provision(maker, nonce.into_owned(), message.payload, place).await;
            }
            _ => counter!(names::MESSAGES_DROPPED, "reason" => "foreign").increment(1),
        }
        self.acks.done(place);
    }

    /// Hands a device's message to the engine. `false` when it was refused before.
    async fn decide(&mut self, device: &DeviceKey, below: &str, message: &Message, place: u64) -> bool {
        if selftest::is_probe(device) || self.house.settings.is_probe(device) {
            counter!(names::MESSAGES_DROPPED, "reason" => "probe").increment(1);
            return false;
        }
        let arrived = Arrived {
            topic: &message.topic,
            payload: &message.payload,
            qos: message.qos,
            id: message.id,
            dup: message.dup,
            correlation: message.correlation.as_deref(),
        };
        let house = self.house.clone();
        let known = match known(&*house.intake, device) {
            Ok(known) => known,
            Err(rejected) => {
                self.refuse(device, rejected.refusal, rejected.id, below);
                return false;
            }
        };
        if let Err(refusal) = house.flood.admit(device, &message.topic, below, &message.payload, Instant::now()) {
            self.refuse(device, refusal, None, below);
            return false;
        }
        let mut envelope = match understand(known, &*house.door, device, below, &arrived) {
            Ok(envelope) => envelope,
            Err(rejected) => {
                let refusal = &rejected.refusal;
                let payload = &message.payload;
                house.intake.quarantine(&RefusedPayload { device, topic: below, refusal, payload });
                self.refuse(device, rejected.refusal, rejected.id, below);
                return false;
            }
        };
        if let Err(refusal) = house.trust.check(&envelope, (house.is_linked)(device)) {
            self.refuse(device, refusal, envelope.id.clone(), below);
            return false;
        }
        let is_proved = envelope.signed.is_some() || house.trust.acl() == Acl::Proved;
        if is_proved && !known.credential_used {
            self.command(device, Command::CredentialUsed).await;
        }
        let sign = sign_of(&mut envelope.message);
        let (id, repeat) = identify(&house.settings.client_id, &arrived, envelope.id.clone());
        let input = input_of(&arrived, envelope, id, house.intake.now());
        let waiter = match message.qos {
            0 => Waiter::None,
            _ => acknowledgement(self.acks.clone(), place),
        };
        // Known as here before the decision, for its answer may leave before this goes on.
        let begins = house.ways.heard(device, sign, SystemInstant::now());
        house.intake.submit(Target::Device(device.clone()), input, repeat, waiter).await;
        if begins {
            house.intake.reachable(device);
        }
        message.qos > 0
    }

    /// Answers a request for a credential, by a task, for it waits for the disk more than once.
    async fn provision(&self, maker: MakerId, nonce: String, payload: Vec<u8>, place: u64) {
        let (house, acks) = (self.house.clone(), self.acks.clone());
        // Waiting here is the back-pressure of a storm of new devices.
        let Ok(permit) = house.provisions.clone().acquire_owned().await else { return };
        tokio::spawn(async move {
            let answer = match house.trust.acl() {
                // The answer carries a secret, and everybody could read it.
                Acl::Broken(what) => refused_for_all_to_read(&nonce, &what, house.intake.now()),
                Acl::Proved | Acl::Untested(_) => {
                    // How the device itself reaches the broker, the broker does not say.
                    let is_secure = house.settings.address.tls;
                    house.provisioner.provision(&maker, &nonce, &payload, is_secure).await
                }
            };
            let taken = house.outgo.offer(Outgoing {
                row: None,
                settles: false,
                topic: provisioning_response_topic(&maker, &nonce).into(),
                payload: answer.into(),
                qos: 1,
                expires_at: None,
                trace: "".into(),
            });
            if !taken {
                // The device asks again with the same nonce and gets the same answer.
                tracing::debug!("An answer to a provisioning request found no connection");
            }
            acks.done(place);
            drop(permit);
        });
    }

    /// Tells a device that a message was refused: at once, unless it was told within the second.
    fn refuse(&mut self, device: &DeviceKey, refusal: Refusal, reference: Option<MessageId>, topic: &str) {
        let refused = Refused { refusal, reference, topic: topic.to_owned() };
        if let Some(told) = self.refusals.refuse(device, refused, Instant::now()) {
            self.house.outgo.offer(answer(device, told, self.house.intake.now()));
        }
    }

    fn summarize(&mut self) {
        for (device, told) in self.refusals.summaries(Instant::now()) {
            self.house.outgo.offer(answer(&device, told, self.house.intake.now()));
        }
    }

    async fn command(&self, device: &DeviceKey, command: Command) {
        let now = self.house.intake.now();
        let input = input(device.clone(), now, None, 0, Sender::default(), What::Command(command));
        self.house.intake.submit(Target::Device(device.clone()), input, Repeat::Ignore, Waiter::None).await;
    }
}

/// Whether a device could have published this: its own presence, description or anything upward.
fn is_from_a_device(device: &DeviceKey, topic: &str) -> bool {
    may_publish(&Who::Bridge(device.maker.clone()), topic)
}

/// What a message says of its sender's listening. A broker publishes a will as any other message.
fn sign_of(message: &mut DeviceMessage) -> Sign {
    match message {
        DeviceMessage::Presence(presence) => match presence.state {
            PresenceWord::Online => Sign::Arrived,
            PresenceWord::Lost => {
                presence.is_will = true;
                Sign::Left
            }
            PresenceWord::Offline | PresenceWord::Sleeping => Sign::Left,
        },
        DeviceMessage::Sync(_) => Sign::Arrived,
        _ => Sign::Spoke,
    }
}

/// The acknowledgement of one message on one connection.
fn acknowledgement(acks: Arc<Acks>, place: u64) -> Waiter {
    Waiter::Ack(Box::new(move |outcome| match outcome {
        Outcome::Committed(_) | Outcome::Duplicate(_) => acks.done(place),
        Outcome::Failed(refusal) => acks.fail(refusal.to_string()),
    }))
}

fn refused_for_all_to_read(nonce: &str, what: &str, now: hearthway_core::time::Timestamp) -> Vec<u8> {
    let why = format!("the broker's access rules do not hold ({what}), so a secret would be everybody's to read");
    let refusal = Refusal::new(Code::TopicNotAllowed, why);
    let head = ProvisionHead { id: format!("pr-{nonce}"), t: now, trace: String::new(), corr: None };
    wire::encode_provision(&Err(refusal), &head)
}
