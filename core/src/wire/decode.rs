//! A topic and a payload in; an understood message out, or a refusal that says what, where and how to mend it.

use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use super::fields::{Fields, Within, wrong};
use super::read::{Json, read, shortened};
use super::{DeviceMessage, Envelope, Rejected, Signed, Topic};
use super::{body, description, fields, measured, sold};
use crate::code::{Code, Refusal};
use crate::id::MessageId;
use crate::input::Sender;
use crate::limits::STRING_BYTES_MAX;

/// The topics below a device's root on which a device speaks.
pub const UP_TOPICS: [&str; 18] = [
    "presence",
    "desc",
    "up/telemetry",
    "up/event",
    "up/context",
    "up/slot",
    "up/state",
    "up/sync",
    "up/claim",
    "up/offer/receipt",
    "up/offer/answer",
    "up/offer/get",
    "up/replenish",
    "up/order",
    "up/consent",
    "up/lifecycle",
    "up/time",
    "up/doctor",
];

/// Understands a device's message. Total: any bytes on any topic get an answer, within the bounds
/// of [`crate::limits`].
///
/// Pointers in refusals are relative to the whole payload: `/body/slot`, in the short form `/slot`.
pub fn decode(topic: &str, payload: &[u8]) -> Result<Envelope, Rejected> {
    let Some(Topic::Device { device, below }) = Topic::parse(topic) else {
        return Err(not_a_topic(&format!("`{}`", shortened(topic)), payload));
    };
    if !UP_TOPICS.contains(&below) {
        return Err(not_a_topic(&format!("`{}`", shortened(below)), payload));
    }
    let opened = open(payload)?;
    let message = match message(below, &opened, payload) {
        Ok(message) => message,
        Err(refusal) => return Err(opened.rejected(refusal)),
    };
    let signed = opened.signature(topic, payload);
    Ok(Envelope { device, id: opened.id, sender: opened.sender, signed, message })
}

fn not_a_topic(shown: &str, payload: &[u8]) -> Rejected {
    let message = format!(
        "no message is defined on {shown}; below chan/v1/{{maker}}/{{device}}/ a device publishes {}",
        UP_TOPICS.join(", ")
    );
    let id = open(payload).map_or_else(|rejected| rejected.id, |opened| opened.id);
    Rejected { refusal: Refusal::new(Code::TopicNotAllowed, message), id }
}

fn message(below: &str, opened: &Opened<'_>, payload: &[u8]) -> Result<DeviceMessage, Refusal> {
    if below == "up/doctor" {
        return Ok(DeviceMessage::Doctor { seen: opened.raw_body(payload).unwrap_or_default() });
    }
    let what = if opened.is_short { "the payload" } else { "`body`" };
    Fields::of(&opened.body, what)
        .and_then(|fields| read_body(below, fields, opened))
        .map_err(|refusal| if opened.is_short { refusal } else { refusal.within("/body") })
}

fn read_body(below: &str, fields: Fields<'_>, opened: &Opened<'_>) -> Result<DeviceMessage, Refusal> {
    match below {
        "presence" => body::presence(fields, opened).map(DeviceMessage::Presence),
        "desc" => description::read(fields, None).map(Box::new).map(DeviceMessage::Desc),
        "up/telemetry" => measured::telemetry(fields).map(DeviceMessage::Telemetry),
        "up/event" => measured::event(fields).map(DeviceMessage::Event),
        "up/context" => measured::context(fields).map(DeviceMessage::Context),
        "up/slot" => measured::slot(fields).map(DeviceMessage::Slot),
        "up/state" => body::state(fields).map(DeviceMessage::State),
        "up/sync" => body::sync(fields).map(DeviceMessage::Sync),
        "up/claim" => body::claim(fields).map(DeviceMessage::Claim),
        "up/offer/receipt" => sold::receipt(fields).map(DeviceMessage::Receipt),
        "up/offer/answer" => sold::answer(fields).map(DeviceMessage::Answer),
        "up/offer/get" => sold::get(fields).map(|placement| DeviceMessage::OfferGet { placement }),
        "up/replenish" => sold::replenish(fields).map(DeviceMessage::Replenish),
        "up/order" => sold::order(fields).map(DeviceMessage::Order),
        "up/consent" => body::consent(fields).map(DeviceMessage::Consent),
        "up/lifecycle" => body::lifecycle(fields).map(DeviceMessage::Lifecycle),
        "up/time" => body::time(fields, opened).map(|t0| DeviceMessage::Time { t0 }),
        // `UP_TOPICS` holds exactly these and `up/doctor`; a test walks them all.
        other => Err(Refusal::new(Code::TopicNotAllowed, format!("no message is defined on `{other}`"))),
    }
}

/// A payload with its envelope taken off.
pub(super) struct Opened<'a> {
    pub(super) id: Option<MessageId>,
    pub(super) sender: Sender,
    sig: Option<String>,
    pub(super) body: Json<'a>,
    /// Whether the payload came without an envelope, so that it is its own body.
    pub(super) is_short: bool,
}

impl Opened<'_> {
    /// A refusal of this message, with its id for the answer.
    pub(super) fn rejected(&self, refusal: Refusal) -> Rejected {
        Rejected { refusal, id: self.id.clone() }
    }

    /// What the signature must be over, where one came: the contract's text with the hash of the
    /// body's own bytes, so that no two JSON writers can disagree about it.
    fn signature(&self, topic: &str, payload: &[u8]) -> Option<Signed> {
        let sig = self.sig.clone()?;
        let decimal = |n: Option<u64>| n.map_or_else(String::new, |n| n.to_string());
        let nonce = match &self.body {
            Json::Object(members) => Fields(members).get("nonce").and_then(fields::text).unwrap_or_default(),
            _ => "",
        };
        let hash = data_encoding::HEXLOWER.encode(&Sha256::digest(self.raw(payload)?.as_bytes()));
        let (epoch, seq) = (decimal(self.sender.epoch), decimal(self.sender.seq));
        Some(Signed { sig, text: format!("{topic}\n{epoch}\n{seq}\n{nonce}\n{hash}") })
    }

    /// The body as it stands in the payload, at most 1 KiB of it.
    fn raw_body(&self, payload: &[u8]) -> Option<String> {
        let raw = self.raw(payload)?;
        let mut end = raw.len().min(STRING_BYTES_MAX);
        while !raw.is_char_boundary(end) {
            end -= 1;
        }
        Some(raw[..end].to_owned())
    }

    /// The body's own bytes. Read a second time, because few messages need it.
    fn raw<'p>(&self, payload: &'p [u8]) -> Option<&'p str> {
        #[derive(serde::Deserialize)]
        struct Raw<'p> {
            #[serde(borrow)]
            body: &'p RawValue,
        }
        if self.is_short {
            return std::str::from_utf8(payload).ok().map(str::trim);
        }
        serde_json::from_slice::<Raw<'p>>(payload).ok().map(|raw| raw.body.get())
    }
}

/// Takes the envelope off: an object with `body` is one; anything else is its own body, at arrival
/// time and without an id.
pub(super) fn open(payload: &[u8]) -> Result<Opened<'_>, Rejected> {
    let tree = read(payload).map_err(|unreadable| Rejected {
        refusal: unreadable.refusal,
        id: unreadable.id.and_then(|id| message_id(&id)),
    })?;
    let mut members = match tree {
        Json::Object(members) if members.iter().any(|(key, _)| key == "body") => members,
        body => {
            return Ok(Opened { id: None, sender: Sender::default(), sig: None, body, is_short: true });
        }
    };
    let body = members
        .iter_mut()
        .find(|(key, _)| key == "body")
        .map_or(Json::Null, |(_, body)| std::mem::replace(body, Json::Null));
    let head = Fields(&members);
    let id = head.get("id").and_then(fields::text).and_then(message_id);
    let read_head = || -> Result<(Sender, Option<String>), Refusal> {
        check_version(head)?;
        if let (None, Some(given)) = (&id, head.get("id")) {
            return Err(wrong("id", "1 to 64 of A-Z, a-z, 0-9, _ and -, such as `01JD9ZK3`", given));
        }
        let sender = Sender {
            t: head.may("t", fields::instant, fields::INSTANT)?,
            up_ms: head.may("up_ms", fields::counter, "milliseconds since the device started, such as 86400000")?,
            seq: head.may("seq", fields::counter, fields::COUNTER)?,
            epoch: head.may("epoch", fields::counter, fields::COUNTER)?,
            corr: head.may("corr", fields::word, "a text of 1 to 128 characters")?.map(str::to_owned),
        };
        Ok((sender, head.may("sig", fields::text, "64 lower-case hex digits")?.map(str::to_owned)))
    };
    match read_head() {
        Ok((sender, sig)) => Ok(Opened { id, sender, sig, body, is_short: false }),
        Err(refusal) => Err(Rejected { refusal, id }),
    }
}

/// Refuses a major version other than 1. An envelope without `v` is of this version.
fn check_version(head: Fields<'_>) -> Result<(), Refusal> {
    let (is_served, given) = match head.get("v") {
        None => return Ok(()),
        Some(Json::Text(text)) => (text.split('.').next() == Some("1"), format!("`{}`", shortened(text))),
        Some(number @ (Json::Integer(_) | Json::Number(_))) => {
            (fields::number(number).is_some_and(|x| x.trunc() == 1.0), number.describe())
        }
        Some(other) => return Err(wrong("v", "the version as a text, `1.0`", other)),
    };
    if is_served {
        return Ok(());
    }
    let message = format!("version {given} is not served on chan/v1; write `\"v\":\"1.0\"`");
    Err(Refusal::new(Code::VersionUnsupported, message).at("/v"))
}

/// An id by the contract's grammar, which is narrower than the core's: no dot.
fn message_id(text: &str) -> Option<MessageId> {
    MessageId::new(text).ok().filter(|_| !text.contains('.'))
}
