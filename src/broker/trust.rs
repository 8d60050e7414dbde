//! What may be believed of a message that came through a broker.
//!
//! On the endpoint the connection proves the sender. Behind a broker the topic names the device,
//! and whether the topic can be believed rests on the broker's access rules, which the gateway
//! tests but does not enforce. So whatever orders, cancels, consents or changes hands must carry
//! the device's signature.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError, RwLock};

use hearthway_core::code::{Code, Refusal};
use hearthway_core::id::MessageId;
use hearthway_core::input::Answer;
use hearthway_core::wire::{ClaimUp, DeviceMessage, Envelope, LifecycleUp, OrderOp, Signed};

/// Signatures remembered against being used a second time: some days of orders and consents of
/// ten thousand homes.
const SIGNATURES_REMEMBERED_MAX: usize = 65_536;

/// What the self-test says of the broker's access rules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Acl {
    /// It has not run, and why.
    Untested(String),
    /// A device could neither speak as another nor read what is another's.
    Proved,
    /// It could, and what.
    Broken(String),
}

/// What is believed.
pub struct Trust {
    acl: RwLock<Acl>,
    accepts_unsigned_where_proved: bool,
    signatures: Mutex<Signatures>,
}

#[derive(Default)]
struct Signatures {
    seen: HashMap<String, Option<MessageId>>,
    oldest_first: VecDeque<String>,
}

impl Trust {
    /// Nothing is proved yet.
    pub fn new(accepts_unsigned_where_proved: bool, why_untested: &str) -> Trust {
        let acl = RwLock::new(Acl::Untested(why_untested.to_owned()));
        Trust { acl, accepts_unsigned_where_proved, signatures: Mutex::default() }
    }

    /// The last word of the self-test.
    pub fn acl(&self) -> Acl {
        self.acl.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The self-test has spoken. Says whether that is news.
    pub fn set_acl(&self, acl: Acl) -> bool {
        metrics::gauge!(super::metrics::ACL_PROVED).set(f64::from(u8::from(acl == Acl::Proved)));
        let mut known = self.acl.write().unwrap_or_else(PoisonError::into_inner);
        let is_news = *known != acl;
        *known = acl;
        is_news
    }

    /// Refuses what needs a signature and has none, and a signature that was used before. The
    /// signature itself was checked when the message was understood.
    pub fn check(&self, envelope: &Envelope, is_linked: bool) -> Result<(), Refusal> {
        let Some(what) = needs_signature(&envelope.message, is_linked) else { return Ok(()) };
        match &envelope.signed {
            Some(signed) => self.check_fresh(signed, envelope.id.as_ref()),
            None if self.accepts_unsigned_where_proved && self.acl() == Acl::Proved => Ok(()),
            None => {
                metrics::counter!(super::metrics::UNSIGNED).increment(1);
                let why = format!("{what} needs `sig` when it comes through a broker, where the topic proves nothing");
                Err(Refusal::new(Code::SigMissing, why).at("/sig"))
            }
        }
    }

    /// A repeat of the same message is the engine's to absorb; the same signature under another
    /// id is somebody who listened.
    fn check_fresh(&self, signed: &Signed, id: Option<&MessageId>) -> Result<(), Refusal> {
        let mut signatures = self.signatures.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(before) = signatures.seen.get(&signed.sig) {
            return if before.as_ref() == id {
                Ok(())
            } else {
                let why = "this signature came before in another message; sign every message with a new seq or nonce";
                Err(Refusal::new(Code::SeqReplayed, why).at("/sig"))
            };
        }
        if signatures.oldest_first.len() >= SIGNATURES_REMEMBERED_MAX
            && let Some(oldest) = signatures.oldest_first.pop_front()
        {
            signatures.seen.remove(&oldest);
        }
        signatures.oldest_first.push_back(signed.sig.clone());
        signatures.seen.insert(signed.sig.clone(), id.cloned());
        Ok(())
    }
}

/// What a message does that needs a signature on this way; none for all others. Withdrawing a
/// consent never needs one.
fn needs_signature(message: &DeviceMessage, is_linked: bool) -> Option<&'static str> {
    match message {
        DeviceMessage::Answer(answer) => match answer.answer {
            Answer::Accept { .. } | Answer::AcceptAs(_) => Some("an answer that orders"),
            Answer::Decline | Answer::Snooze { .. } | Answer::NotNeeded { .. } | Answer::Why => None,
        },
        DeviceMessage::Order(order) => match order.op {
            OrderOp::Cancel | OrderOp::Withdraw => Some("the cancellation of an order"),
            OrderOp::Problem => None,
        },
        DeviceMessage::Consent(consent) if consent.set.iter().any(|word| word.granted) => Some("a consent"),
        DeviceMessage::Consent(consent) if consent.pause_until == Some(None) => Some("the end of a pause"),
        DeviceMessage::Lifecycle(LifecycleUp::Reset { .. }) => Some("a reset"),
        DeviceMessage::Lifecycle(LifecycleUp::Decommission) => Some("the end of a device"),
        DeviceMessage::Claim(ClaimUp::Start { .. }) if is_linked => Some("the transfer of a linked device"),
        DeviceMessage::Consent(_)
        | DeviceMessage::Lifecycle(LifecycleUp::Wiped)
        | DeviceMessage::Claim(_)
        | DeviceMessage::Presence(_)
        | DeviceMessage::Desc(_)
        | DeviceMessage::Telemetry(_)
        | DeviceMessage::Event(_)
        | DeviceMessage::Context(_)
        | DeviceMessage::Slot(_)
        | DeviceMessage::State(_)
        | DeviceMessage::Sync(_)
        | DeviceMessage::Receipt(_)
        | DeviceMessage::OfferGet { .. }
        | DeviceMessage::Replenish(_)
        | DeviceMessage::ReplenishUnread { .. }
        | DeviceMessage::Time { .. }
        | DeviceMessage::Doctor { .. } => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use hearthway_core::wire;

    fn envelope(below: &str, payload: &str) -> Envelope {
        wire::decode(&format!("chan/v1/acme/d-42/{below}"), payload.as_bytes()).unwrap()
    }

    #[test]
    fn what_orders_consents_or_changes_hands_needs_a_signature_and_a_withdrawal_never_does() {
        let trust = Trust::new(false, "");
        let offer = hearthway_core::id::OfferId::derived(&[b"an offer"]);
        for (below, body, is_linked, wanted) in [
            ("up/offer/answer", format!(r#"{{"offer":"{offer}","rev":1,"answer":"accept"}}"#), true, true),
            ("up/offer/answer", format!(r#"{{"offer":"{offer}","rev":1,"answer":"decline"}}"#), true, false),
            ("up/consent", r#"{"set":[{"purpose":"offers.device","granted":true}]}"#.to_owned(), true, true),
            ("up/consent", r#"{"set":[{"purpose":"offers.device","granted":false}]}"#.to_owned(), true, false),
            ("up/lifecycle", r#"{"op":"reset","level":"user","presence":true}"#.to_owned(), true, true),
            ("up/lifecycle", r#"{"op":"wiped"}"#.to_owned(), true, false),
            ("up/claim", r#"{"op":"start","presence":true}"#.to_owned(), true, true),
            ("up/claim", r#"{"op":"start","presence":true}"#.to_owned(), false, false),
            ("up/telemetry", r#"{"temperature":16.4}"#.to_owned(), true, false),
        ] {
            let refused = trust.check(&envelope(below, &body), is_linked).map_err(|refusal| refusal.code);
            assert_eq!(refused, if wanted { Err(Code::SigMissing) } else { Ok(()) }, "{below} {body}");
        }
    }

    #[test]
    fn unsigned_orders_pass_only_where_asked_for_and_only_while_the_access_rules_are_proved() {
        let accept = envelope("up/lifecycle", r#"{"op":"reset","level":"user","presence":true}"#);
        let (strict, lenient) = (Trust::new(false, ""), Trust::new(true, ""));
        assert!(lenient.check(&accept, true).is_err(), "nothing is proved yet");
        for trust in [&strict, &lenient] {
            trust.set_acl(Acl::Proved);
        }
        assert!(strict.check(&accept, true).is_err());
        assert!(lenient.check(&accept, true).is_ok());
        lenient.set_acl(Acl::Broken("reads all".into()));
        assert!(lenient.check(&accept, true).is_err());
    }

    #[test]
    fn a_signature_serves_one_message() {
        let trust = Trust::new(false, "");
        let signed = |id: &str| {
            envelope("up/lifecycle", &format!(r#"{{"v":"1.0","id":"{id}","sig":"ab","body":{{"op":"decommission"}}}}"#))
        };
        assert!(trust.check(&signed("m-1"), true).is_ok());
        assert!(trust.check(&signed("m-1"), true).is_ok(), "MQTT's redelivery is the engine's to absorb");
        assert_eq!(trust.check(&signed("m-2"), true).map_err(|refusal| refusal.code), Err(Code::SeqReplayed));
    }
}
