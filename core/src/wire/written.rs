//! What a device said, written again as the contract has it: for whoever asks what is kept of it. Decoded, it is
//! the same message.

use serde_json::{Map, Value as Json, json};

use super::message::*;
use super::{description_to_json, sold};
use crate::id::FieldName;
use crate::input::Answer;
use crate::model::{Evidence, Value};
use crate::time::Timestamp;

/// The body of a message from a device.
pub fn body_json(message: &DeviceMessage) -> Json {
    match message {
        DeviceMessage::Presence(said) => presence(said),
        DeviceMessage::Desc(said) => description_to_json(said),
        DeviceMessage::Telemetry(samples) => {
            let sample = |sample: &Sample| with(json!({"f": flat(&sample.fields)}), "t", sample.t.map(millis));
            json!({"samples": samples.iter().map(sample).collect::<Vec<_>>()})
        }
        DeviceMessage::Event(said) => {
            with(json!({"type": said.r#type, "data": flat(&said.data)}), "t", said.t.map(millis))
        }
        DeviceMessage::Context(said) => with(flat(&said.entries), "ttl_s", Some(said.ttl_s.into())),
        DeviceMessage::Slot(said) => slot(said),
        DeviceMessage::State(said) => {
            with(json!({"reported": flat(&said.reported)}), "version", said.version.map(Json::from))
        }
        DeviceMessage::Sync(said) => json!({"want": said.want, "have": {"offers": said.have_offers}}),
        DeviceMessage::Claim(ClaimUp::Start { presence }) => json!({"op": "start", "presence": presence}),
        DeviceMessage::Claim(ClaimUp::Cancel) => json!({"op": "cancel"}),
        DeviceMessage::Receipt(said) => {
            let (word, _) = sold::RECEIPTS.iter().find(|(_, word)| *word == said.state).unwrap_or(&sold::RECEIPTS[0]);
            with(json!({"offer": said.offer, "rev": said.rev, "state": word}), "t", said.t.map(millis))
        }
        DeviceMessage::Answer(said) => answer(said),
        DeviceMessage::OfferGet { placement } => {
            with(json!({}), "placement", placement.as_ref().map(|placement| placement.as_str().into()))
        }
        DeviceMessage::ReplenishUnread { op } => json!({"op": op}),
        DeviceMessage::Order(said) => {
            let op = match said.op {
                OrderOp::Cancel => "cancel",
                OrderOp::Withdraw => "withdraw",
                OrderOp::Problem => "problem",
            };
            with(json!({"order": said.order, "op": op}), "nonce", text(&said.nonce))
        }
        DeviceMessage::Consent(said) => consent(said),
        DeviceMessage::Lifecycle(LifecycleUp::Reset { factory, presence }) => {
            json!({"op": "reset", "level": if *factory { "factory" } else { "user" }, "presence": presence})
        }
        DeviceMessage::Lifecycle(LifecycleUp::Wiped) => json!({"op": "wiped"}),
        DeviceMessage::Lifecycle(LifecycleUp::Decommission) => json!({"op": "decommission"}),
        DeviceMessage::Time { t0 } => with(json!({}), "t0", t0.map(millis)),
        // Kept as text, since it need not be anything: it was looked at and answered.
        DeviceMessage::Doctor { seen } => serde_json::from_str(seen).unwrap_or_else(|_| seen.as_str().into()),
        DeviceMessage::Replenish(said) => replenish(said),
    }
}

/// The same object with one member more, where there is a value for it.
fn with(mut object: Json, key: &str, value: Option<Json>) -> Json {
    if let (Some(members), Some(value)) = (object.as_object_mut(), value) {
        members.insert(key.to_owned(), value);
    }
    object
}

fn millis(at: Timestamp) -> Json {
    at.0.into()
}

fn text(word: &Option<String>) -> Option<Json> {
    word.as_deref().map(Json::from)
}

fn flat(values: &[(FieldName, Value)]) -> Json {
    Json::Object(values.iter().map(|(name, value)| (name.to_string(), value.to_json())).collect::<Map<_, _>>())
}

fn presence(said: &PresenceUp) -> Json {
    let word = match said.state {
        PresenceWord::Online => "online",
        PresenceWord::Lost => "lost",
        PresenceWord::Offline => "offline",
        PresenceWord::Sleeping => "sleeping",
    };
    let body = with(json!({"state": word}), "epoch", said.epoch.map(Json::from));
    with(with(body, "fw", text(&said.firmware)), "wake_at", said.wake_at.map(millis))
}

fn slot(said: &SlotUp) -> Json {
    let (kind, key, value): (_, _, Json) = match &said.evidence {
        Evidence::Usage { used } => ("usage", "used", (*used).into()),
        Evidence::Level { remaining } => ("level", "remaining", (*remaining).into()),
        Evidence::Countdown { remaining } => ("countdown", "remaining", (*remaining).into()),
        Evidence::Flag { flag } => ("flag", "flag", flag.as_str().into()),
        Evidence::Life { ends } => ("life", "ends", ends.as_str().into()),
    };
    let mut body = json!({"slot": said.slot.as_str(), "kind": kind, key: value});
    for (key, value) in [
        ("capacity", said.capacity.map(Json::from)),
        ("unit", said.unit.map(|unit| unit.as_str().into())),
        ("changed_at", said.changed_at.map(millis)),
        ("on_hand", said.on_hand.map(Json::from)),
        ("t", said.t.map(millis)),
    ] {
        body = with(body, key, value);
    }
    body
}

fn answer(said: &AnswerUp) -> Json {
    let body = json!({"offer": said.offer, "rev": said.rev, "answer": said.answer.as_str()});
    let body = match &said.answer {
        Answer::Snooze { until } => with(body, "until", until.map(millis)),
        Answer::NotNeeded { reason } => with(body, "reason", text(reason)),
        Answer::Accept { .. } | Answer::AcceptAs(_) | Answer::Decline | Answer::Why => body,
    };
    let choice = said.answer.choice().map(|choice| {
        let mut shown = json!({});
        for (key, value) in [
            ("qty", choice.qty.map(Json::from)),
            ("fulfil", choice.fulfil.map(|fulfil| json!(fulfil))),
            ("store", choice.store.as_ref().map(|store| store.as_str().into())),
            ("alternative", text(&choice.alternative)),
        ] {
            shown = with(shown, key, value);
        }
        shown
    });
    let choice = choice.filter(|choice| choice.as_object().is_some_and(|members| !members.is_empty()));
    with(with(with(body, "choice", choice), "nonce", text(&said.nonce)), "t", said.t.map(millis))
}

fn consent(said: &ConsentUp) -> Json {
    let word = |word: &ConsentWord| {
        let mut shown = json!({"purpose": word.purpose.as_str(), "granted": word.granted});
        for (key, value) in
            [("t", word.t.map(millis)), ("method", text(&word.method)), ("text_id", text(&word.text_id))]
        {
            shown = with(shown, key, value);
        }
        shown
    };
    let body = json!({"set": said.set.iter().map(word).collect::<Vec<_>>()});
    with(body, "pause_until", said.pause_until.map(|until| until.map_or(Json::Null, millis)))
}

fn replenish(said: &ReplenishUp) -> Json {
    let body = match &said.op {
        ReplenishOp::Cancel => json!({"op": "cancel"}),
        ReplenishOp::Later { until } => with(json!({"op": "later"}), "until", until.map(millis)),
        ReplenishOp::NotNeeded { reason } => with(json!({"op": "not_needed"}), "reason", text(reason)),
    };
    let body = with(body, "order", said.order.map(|order| json!(order)));
    with(body, "nonce", text(&said.nonce))
}
