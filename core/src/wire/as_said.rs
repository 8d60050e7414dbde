//! A device's message as it stood on the wire: what is kept of it, in the words of the contract.

use serde_json::{Map, Value as Json, json};

use super::{
    AnswerUp, ClaimUp, ConsentUp, DeviceMessage, LifecycleUp, OrderOp, PresenceUp, PresenceWord, ReceiptWord,
    ReplenishOp, ReplenishUp, SlotUp, description_to_json,
};
use crate::id::FieldName;
use crate::input::{Answer, Choice};
use crate::model::{Evidence, Value};
use crate::time::Timestamp;

/// The body of a message, as a device writes it. What was not said is left out.
pub fn body_json(message: &DeviceMessage) -> Json {
    let said = match message {
        DeviceMessage::Presence(said) => presence(said),
        DeviceMessage::Desc(description) => description_to_json(description),
        DeviceMessage::Telemetry(samples) => {
            let one = |t: Option<Timestamp>, fields| json!({"t": t.map(|t| t.0), "f": flat(fields)});
            json!({"samples": samples.iter().map(|sample| spoken(one(sample.t, &sample.fields))).collect::<Vec<_>>()})
        }
        DeviceMessage::Event(said) => json!({"type": said.r#type, "t": at(said.t), "data": flat(&said.data)}),
        DeviceMessage::Context(said) => {
            let mut body = flat(&said.entries);
            body.insert("ttl_s".into(), said.ttl_s.into());
            body.into()
        }
        DeviceMessage::Slot(said) => slot(said),
        DeviceMessage::State(said) => json!({"reported": flat(&said.reported), "version": said.version}),
        DeviceMessage::Sync(said) => json!({"want": said.want, "have": {"offers": said.have_offers}}),
        DeviceMessage::Claim(ClaimUp::Start { presence }) => json!({"op": "start", "presence": presence}),
        DeviceMessage::Claim(ClaimUp::Cancel) => json!({"op": "cancel"}),
        DeviceMessage::Receipt(said) => {
            let state = match said.state {
                ReceiptWord::Delivered => "delivered",
                ReceiptWord::Shown => "shown",
                ReceiptWord::Hidden => "hidden",
                ReceiptWord::SuppressedOnDevice => "suppressed_on_device",
                ReceiptWord::Expired => "expired",
            };
            json!({"offer": said.offer, "rev": said.rev, "state": state, "t": at(said.t)})
        }
        DeviceMessage::Answer(said) => answer(said),
        DeviceMessage::OfferGet { placement } => json!({"placement": placement}),
        DeviceMessage::ReplenishUnread { op } => json!({"op": op}),
        DeviceMessage::Order(said) => {
            let op = match said.op {
                OrderOp::Cancel => "cancel",
                OrderOp::Withdraw => "withdraw",
                OrderOp::Problem => "problem",
            };
            json!({"order": said.order, "op": op, "nonce": said.nonce})
        }
        // Written whole: the end of a pause is said by null.
        DeviceMessage::Consent(said) => return consent(said),
        DeviceMessage::Lifecycle(LifecycleUp::Reset { factory, presence }) => {
            json!({"op": "reset", "level": if *factory { "factory" } else { "user" }, "presence": presence})
        }
        DeviceMessage::Lifecycle(LifecycleUp::Wiped) => json!({"op": "wiped"}),
        DeviceMessage::Lifecycle(LifecycleUp::Decommission) => json!({"op": "decommission"}),
        DeviceMessage::Time { t0 } => json!({"t0": at(*t0)}),
        DeviceMessage::Doctor { seen } => return serde_json::from_str(seen).unwrap_or_else(|_| seen.as_str().into()),
        DeviceMessage::Replenish(said) => replenish(said),
    };
    spoken(said)
}

fn at(t: Option<Timestamp>) -> Option<i64> {
    t.map(|t| t.0)
}

fn flat(values: &[(FieldName, Value)]) -> Map<String, Json> {
    values.iter().map(|(name, value)| (name.to_string(), value.to_json())).collect()
}

/// Without what was not said.
fn spoken(mut body: Json) -> Json {
    if let Some(object) = body.as_object_mut() {
        object.retain(|_, value| !value.is_null());
    }
    body
}

fn presence(said: &PresenceUp) -> Json {
    let state = match said.state {
        PresenceWord::Online => "online",
        PresenceWord::Lost => "lost",
        PresenceWord::Offline => "offline",
        PresenceWord::Sleeping => "sleeping",
    };
    json!({"state": state, "epoch": said.epoch, "fw": said.firmware, "wake_at": at(said.wake_at)})
}

fn slot(said: &SlotUp) -> Json {
    let (kind, name, value) = match &said.evidence {
        Evidence::Usage { used } => ("usage", "used", json!(used)),
        Evidence::Level { remaining } => ("level", "remaining", json!(remaining)),
        Evidence::Countdown { remaining } => ("countdown", "remaining", json!(remaining)),
        Evidence::Flag { flag } => ("flag", "flag", json!(flag)),
        Evidence::Life { ends } => ("life", "ends", json!(ends)),
    };
    let mut body = json!({
        "slot": said.slot, "kind": kind, "capacity": said.capacity, "unit": said.unit.map(|unit| unit.to_string()),
        "changed_at": at(said.changed_at), "on_hand": said.on_hand, "t": at(said.t),
    });
    body[name] = value;
    body
}

fn answer(said: &AnswerUp) -> Json {
    let mut body = json!({
        "offer": said.offer, "rev": said.rev, "answer": said.answer.as_str(), "nonce": said.nonce, "t": at(said.t),
    });
    match &said.answer {
        Answer::Snooze { until } => body["until"] = json!(at(*until)),
        Answer::NotNeeded { reason } => body["reason"] = json!(reason),
        Answer::Accept { .. } | Answer::AcceptAs(_) | Answer::Decline | Answer::Why => {}
    }
    if let Some(Choice { qty, fulfil, store, alternative }) = said.answer.choice() {
        let choice = json!({
            "qty": qty, "fulfil": fulfil, "store": store, "alternative": alternative,
        });
        body["choice"] = spoken(choice);
    }
    body
}

fn consent(said: &ConsentUp) -> Json {
    let word = |word: &super::ConsentWord| {
        spoken(json!({
            "purpose": word.purpose.as_str(), "granted": word.granted, "t": at(word.t), "method": word.method,
            "text_id": word.text_id,
        }))
    };
    let mut body = json!({"set": said.set.iter().map(word).collect::<Vec<_>>()});
    if let Some(until) = said.pause_until {
        body["pause_until"] = json!(at(until));
    }
    body
}

fn replenish(said: &ReplenishUp) -> Json {
    let (op, until, reason) = match &said.op {
        ReplenishOp::Cancel => ("cancel", None, None),
        ReplenishOp::Later { until } => ("later", *until, None),
        ReplenishOp::NotNeeded { reason } => ("not_needed", None, reason.as_ref()),
    };
    json!({"order": said.order, "op": op, "until": at(until), "reason": reason, "nonce": said.nonce})
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::time::Timestamp;
    use crate::wire::decode;

    /// What is written reads as the same message.
    #[test]
    fn a_message_that_is_told_again_reads_as_it_did() {
        let offer = format!("of_{}", "a".repeat(26));
        let order = format!("or_{}", "a".repeat(26));
        let said = [
            ("presence", json!({"state": "online", "epoch": 17, "fw": "2.1.0"})),
            (
                "up/telemetry",
                json!({"samples": [{"t": 1_774_000_000_000_i64, "f": {"temperature": 16.5, "mode": "heat"}}]}),
            ),
            ("up/event", json!({"type": "cycle_done", "t": 1_774_000_000_000_i64, "data": {"program": "eco"}})),
            ("up/context", json!({"presence": "home", "ttl_s": 900})),
            (
                "up/slot",
                json!({"slot": "air_filter", "kind": "usage", "used": 612.0, "capacity": 720.0, "unit": "h", "on_hand": 2}),
            ),
            ("up/slot", json!({"slot": "salt", "kind": "flag", "flag": "low"})),
            ("up/sync", json!({"want": ["time", "offers"], "have": {"offers": []}})),
            ("up/claim", json!({"op": "start", "presence": true})),
            ("up/offer/receipt", json!({"offer": offer, "rev": 1, "state": "shown"})),
            (
                "up/offer/answer",
                json!({"offer": offer, "rev": 1, "answer": "accept", "nonce": "n-1", "choice": {"qty": 1, "fulfil": "deliver"}}),
            ),
            (
                "up/offer/answer",
                json!({"offer": offer, "rev": 1, "answer": "accept", "choice": {"fulfil": "collect", "store": "st-12"}}),
            ),
            ("up/offer/answer", json!({"offer": offer, "rev": 1, "answer": "snooze", "until": 1_774_000_000_000_i64})),
            ("up/offer/answer", json!({"offer": offer, "rev": 1, "answer": "not_needed", "reason": "have_spare"})),
            ("up/order", json!({"order": order, "op": "cancel", "nonce": "n-2"})),
            ("up/replenish", json!({"op": "later", "until": 1_774_000_000_000_i64})),
            (
                "up/consent",
                json!({"set": [{"purpose": "offers.device", "granted": false, "method": "button", "text_id": "t1"}], "pause_until": 1_774_000_000_000_i64}),
            ),
            ("up/lifecycle", json!({"op": "reset", "level": "factory", "presence": true})),
        ];
        for (topic, body) in said {
            let payload = json!({"v": "1.0", "id": "m-1", "body": body}).to_string();
            let read = decode(&format!("chan/v1/acme/d-42/{topic}"), payload.as_bytes()).unwrap();
            let told = body_json(&read.message);
            let again = json!({"v": "1.0", "id": "m-1", "body": told}).to_string();
            let reread = decode(&format!("chan/v1/acme/d-42/{topic}"), again.as_bytes()).unwrap();
            assert_eq!(reread.message, read.message, "{topic}: {told}");
            assert_eq!(told, body, "{topic}");
        }
    }

    #[test]
    fn the_end_of_a_pause_is_told() {
        let said = ConsentUp { set: Vec::new(), pause_until: Some(None) };
        assert_eq!(body_json(&DeviceMessage::Consent(said)), json!({"set": [], "pause_until": null}));
        let said = ConsentUp { set: Vec::new(), pause_until: Some(Some(Timestamp(5))) };
        assert_eq!(body_json(&DeviceMessage::Consent(said))["pause_until"], 5);
    }
}
