//! What every way in does with a publish whose sender is known: decode it, check what stands
//! between it and a decision, and make it an input.

use hearthway_core::code::{Code, Refusal};
use hearthway_core::id::{DeviceKey, InputId, MessageId, base32, derive_bytes};
use hearthway_core::input::{Input, Sender, What};
use hearthway_core::time::Timestamp;
use hearthway_core::wire::{self, DeviceMessage, Envelope, Rejected};

use super::house::{Doorkeeper, Intake, Known};
use super::limits::{TOPIC_BYTES_MAX, TOPIC_LEVELS_MAX};
use crate::engine::{Repeat, entropy};

/// Characters of `corr` taken from v5 Correlation Data.
const CORRELATION_BYTES_MAX: usize = 64;

/// A publish as it came, whatever library read it.
#[derive(Debug, Clone, Copy)]
pub struct Arrived<'a> {
    /// The whole topic.
    pub topic: &'a str,
    /// The payload.
    pub payload: &'a [u8],
    /// 0, 1 or 2.
    pub qos: u8,
    /// The packet id; 0 at QoS 0.
    pub id: u16,
    /// MQTT's own redelivery.
    pub dup: bool,
    /// v5 Correlation Data, where it is text.
    pub correlation: Option<&'a str>,
}

/// What is known of the device that a publish is of.
pub fn known(intake: &dyn Intake, device: &DeviceKey) -> Result<Known, Rejected> {
    intake.known(device).ok_or_else(|| Rejected { refusal: device_unknown(device), id: None })
}

/// Decodes a publish and checks all that stands between it and a decision. `below` is its topic
/// below the device's root.
pub fn understand(
    known: Known,
    door: &dyn Doorkeeper,
    device: &DeviceKey,
    below: &str,
    arrived: &Arrived<'_>,
) -> Result<Envelope, Rejected> {
    let envelope = wire::decode(arrived.topic, arrived.payload)?;
    let refused = |refusal| Rejected { refusal, id: envelope.id.clone() };
    if known.suspended {
        return Err(refused(Refusal::new(
            Code::DeviceSuspended,
            "the device is suspended: its messages have no effect until an operator resumes it",
        )));
    }
    if arrived.qos == 0 && !may_be_lost(&envelope.message) {
        let why = format!("`{below}` is published at QoS 1, so that it is on disk when it is acknowledged");
        return Err(refused(Refusal::new(Code::QosUnsupported, why)));
    }
    if let Some(signed) = &envelope.signed
        && !door.is_signed_by(device, &signed.text, &signed.sig)
    {
        let why =
            "the signature is not this device's over topic, epoch, seq, nonce and body; leave `sig` out or mend it";
        return Err(refused(Refusal::new(Code::SigBad, why).at("/sig")));
    }
    Ok(envelope)
}

/// The id against repeats. In the short form there is none, and only MQTT's own redelivery is
/// recognised: same client, packet id, topic and payload, with DUP.
pub fn identify(client_id: &str, arrived: &Arrived<'_>, id: Option<MessageId>) -> (Option<MessageId>, Repeat) {
    if id.is_some() {
        return (id, Repeat::Remember);
    }
    if arrived.qos == 0 {
        return (None, Repeat::Ignore);
    }
    let parts: [&[u8]; 4] =
        [client_id.as_bytes(), &arrived.id.to_be_bytes(), arrived.topic.as_bytes(), arrived.payload];
    let id = MessageId::new(format!("mqtt-{}", base32(&derive_bytes("mqtt", &parts)[..15]))).ok();
    (id, if arrived.dup { Repeat::Remember } else { Repeat::RememberUnlessRedelivered })
}

/// The input that an understood publish is.
pub fn input_of(arrived: &Arrived<'_>, envelope: Envelope, message: Option<MessageId>, now: Timestamp) -> Input {
    let mut sender = envelope.sender;
    if sender.corr.is_none() {
        let corr = arrived.correlation.filter(|corr| corr.len() <= CORRELATION_BYTES_MAX);
        sender.corr = corr.map(str::to_owned);
    }
    let bytes = u32::try_from(arrived.payload.len()).unwrap_or(u32::MAX);
    input(envelope.device, now, message, bytes, sender, What::Device(envelope.message))
}

/// An input of a device, with randomness of its own.
pub fn input(
    device: DeviceKey,
    now: Timestamp,
    message: Option<MessageId>,
    payload_bytes: u32,
    sender: Sender,
    what: What,
) -> Input {
    let entropy = entropy::draw();
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

/// Whether a topic or filter keeps the endpoint's bounds.
pub fn is_within_bounds(topic: &str) -> bool {
    topic.len() <= TOPIC_BYTES_MAX && topic.split('/').count() <= TOPIC_LEVELS_MAX
}

/// Whether a message may come at QoS 0: the next one makes up for it.
fn may_be_lost(message: &DeviceMessage) -> bool {
    matches!(message, DeviceMessage::Telemetry(_) | DeviceMessage::Time { .. } | DeviceMessage::Doctor { .. })
}

fn device_unknown(device: &DeviceKey) -> Refusal {
    Refusal::new(Code::DeviceUnknown, format!("`{device}` is not registered; provision it or register it first"))
}
