//! A message to a device in; its topic and bytes out.

use serde::Serialize;
use serde_json::json;

use super::errors::doc_anchor;
use super::shown::{AnnouncementShown, ConsentShown, OfferShown, OrderShown, hyphenated};
use super::{DownMessage, SyncDown, device_topic};
use crate::code::Refusal;
use crate::id::{DeviceKey, MessageId, ProfileId};
use crate::model::{ConsentRecord, Purpose};
use crate::time::Timestamp;

/// The minor version that the gateway writes.
pub const VERSION: &str = "1.0";

/// What stands round a message to a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DownHead {
    /// To whom.
    pub device: DeviceKey,
    /// The message's id; the same when it is sent again.
    pub id: String,
    /// When it was written.
    pub t: Timestamp,
    /// Until when it is worth reading.
    pub exp: Option<Timestamp>,
    /// The decision that it comes from.
    pub trace: String,
    /// Repeats the `corr` of what it answers.
    pub corr: Option<String>,
}

/// A message ready to be published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Down {
    /// The topic below the device's root, such as `down/offer`.
    pub topic: &'static str,
    /// The envelope with the body.
    pub payload: Vec<u8>,
}

/// The topic below the device's root that a message goes to.
pub fn down_topic(message: &DownMessage) -> &'static str {
    match message {
        DownMessage::OfferPut(_) | DownMessage::OfferWithdraw { .. } => "down/offer",
        DownMessage::Sync(_) => "down/sync",
        DownMessage::ClaimCode { .. } | DownMessage::ClaimLinked { .. } | DownMessage::ClaimRefused { .. } => {
            "down/claim"
        }
        DownMessage::Order(_) => "down/order",
        DownMessage::Consent { .. } => "down/consent",
        DownMessage::Wipe | DownMessage::Released { .. } | DownMessage::Suspended { .. } => "down/lifecycle",
        DownMessage::Time { .. } => "down/time",
        DownMessage::Doctor { .. } => "down/doctor",
        DownMessage::Reply { .. } => "down/reply",
        DownMessage::Error { .. } => "down/error",
        DownMessage::Replenish { .. } => "down/replenish",
    }
}

/// Renders a message for a device.
pub fn encode(message: &DownMessage, head: &DownHead) -> Down {
    let payload = match message {
        DownMessage::OfferPut(offer) => enveloped(head, OfferPut { op: "put", offer: OfferShown::of(offer) }),
        DownMessage::OfferWithdraw { offer, reason } => {
            enveloped(head, json!({"op": "withdraw", "offer": offer, "reason": reason}))
        }
        DownMessage::Sync(sync) => enveloped(head, SyncShown::of(sync)),
        DownMessage::ClaimCode { code, expires_at } => {
            enveloped(head, json!({"op": "code", "code": hyphenated(code), "expires_at": expires_at, "url": null}))
        }
        DownMessage::ClaimLinked { display_name } => {
            enveloped(head, json!({"op": "linked", "display_name": display_name}))
        }
        DownMessage::ClaimRefused { error } => enveloped(head, json!({"op": "refused", "error": error.as_str()})),
        DownMessage::Order(order) => enveloped(head, OrderShown::of(order)),
        DownMessage::Consent { consents, pause_until, profile } => {
            let consents = shown(consents, profile.as_ref());
            enveloped(head, json!({"consents": consents, "pause_until": pause_until}))
        }
        DownMessage::Wipe => enveloped(head, json!({"op": "wipe"})),
        DownMessage::Released { receipt } => enveloped(head, json!({"op": "released", "receipt": receipt})),
        DownMessage::Suspended { reason } => enveloped(head, json!({"op": "suspended", "reason": reason})),
        DownMessage::Time { t0, t1, t2 } => enveloped(head, json!({"t0": t0, "t1": t1, "t2": t2})),
        DownMessage::Doctor { findings, known, reference } => {
            let findings: Vec<_> = findings.iter().map(|(code, text)| json!({"code": code, "message": text})).collect();
            enveloped(head, json!({"findings": findings, "known": known, "ref": {"id": reference}}))
        }
        DownMessage::Reply { about } => enveloped(head, about),
        DownMessage::Error { refusal, reference, topic } => {
            enveloped(head, ErrorShown::of(refusal, reference.as_ref(), device_topic(&head.device, topic)))
        }
        DownMessage::Replenish { order, text, mandate } => enveloped(head, AnnouncementShown::of(order, text, mandate)),
    };
    Down { topic: down_topic(message), payload }
}

fn enveloped(head: &DownHead, body: impl Serialize) -> Vec<u8> {
    in_envelope(&head.id, head.t, head.exp, &head.trace, head.corr.as_deref(), body)
}

/// Puts a body into the envelope of the way down.
pub(super) fn in_envelope(
    id: &str,
    t: Timestamp,
    exp: Option<Timestamp>,
    trace: &str,
    corr: Option<&str>,
    body: impl Serialize,
) -> Vec<u8> {
    #[derive(Serialize)]
    struct Envelope<'e, B> {
        v: &'static str,
        id: &'e str,
        t: Timestamp,
        exp: Option<Timestamp>,
        trace: &'e str,
        #[serde(skip_serializing_if = "Option::is_none")]
        corr: Option<&'e str>,
        body: B,
    }
    let envelope = Envelope { v: VERSION, id, t, exp, trace, corr, body };
    serde_json::to_vec(&envelope).expect("plain fields with text keys serialise")
}

#[derive(Serialize)]
struct OfferPut<'o> {
    op: &'static str,
    offer: OfferShown<'o>,
}

fn shown<'c>(consents: &'c [(Purpose, ConsentRecord)], profile: Option<&ProfileId>) -> Vec<ConsentShown<'c>> {
    consents.iter().map(|word| ConsentShown::of(word, profile)).collect()
}

/// The current set: what was asked for, and the gateway's time always.
#[derive(Serialize)]
struct SyncShown<'s> {
    t: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    zone: Option<Option<&'s str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    link: Option<LinkShown<'s>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    offers: Option<Vec<OfferShown<'s>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    orders: Option<Vec<OrderShown<'s>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    consents: Option<Vec<ConsentShown<'s>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<StateShown>,
}

#[derive(Serialize)]
struct LinkShown<'s> {
    state: &'s str,
    display_name: Option<&'s str>,
}

/// The desired state. Nobody can desire anything of a device in this version.
#[derive(Serialize)]
struct StateShown {
    version: u64,
    desired: serde_json::Map<String, serde_json::Value>,
}

impl<'s> SyncShown<'s> {
    fn of(sync: &'s SyncDown) -> SyncShown<'s> {
        let wants = |part: &str| sync.want.is_empty() || sync.want.iter().any(|word| word == part);
        SyncShown {
            t: sync.t,
            zone: wants("time").then(|| sync.zone.as_ref().map(|zone| zone.as_str())),
            link: wants("link").then(|| LinkShown { state: &sync.link, display_name: sync.display_name.as_deref() }),
            offers: wants("offers").then(|| sync.offers.iter().map(OfferShown::of).collect()),
            orders: wants("orders").then(|| sync.orders.iter().map(OrderShown::of).collect()),
            consents: wants("consent").then(|| shown(&sync.consents, sync.profile.as_ref())),
            state: wants("state").then(|| StateShown { version: 0, desired: serde_json::Map::new() }),
        }
    }
}

#[derive(Serialize)]
struct ErrorShown<'e> {
    code: &'static str,
    message: &'e str,
    r#ref: RefShown<'e>,
    pointer: Option<&'e str>,
    retry_after_s: Option<u32>,
    doc: String,
}

#[derive(Serialize)]
struct RefShown<'e> {
    id: Option<&'e str>,
    topic: String,
}

impl<'e> ErrorShown<'e> {
    fn of(refusal: &'e Refusal, reference: Option<&'e MessageId>, topic: String) -> ErrorShown<'e> {
        ErrorShown {
            code: refusal.code.as_str(),
            message: &refusal.message,
            r#ref: RefShown { id: reference.map(|id| id.as_str()), topic },
            pointer: refusal.pointer.as_deref(),
            retry_after_s: refusal.retry_after_seconds,
            doc: doc_anchor(refusal.code),
        }
    }
}
