//! What a device says about itself: presence, description, events, context, time, doctor.

use std::collections::BTreeMap;

use super::draft::{Draft, description};
use super::edge::Seen;
use super::event_time::{event_time, is_trusted, measure};
use super::{Answered, REPLY_TTL, deadline, purchases, wake};
use crate::code::{Code, Refusal};
use crate::decision::{Change, Effect, Reply};
use crate::id::DeviceKey;
use crate::model::{ClockState, DeviceDescription, Presence, PresenceState, Value};
use crate::time::{Span, Timestamp};
use crate::trigger::Watched;
use crate::wire::{DownMessage, EventUp, PresenceUp, PresenceWord};

/// Counts the gaps in the device's own numbering. A lower number is a restart of the count or a
/// late message; neither is refused here, because the message id already makes repeats harmless.
pub(super) fn count_sequence(draft: &mut Draft<'_>, key: &DeviceKey) {
    let (Some(seq), Some(device)) = (draft.input.sender.seq, draft.before().devices.get(key)) else { return };
    let missed = device.last_seq.map_or(0, |last| seq.saturating_sub(last).saturating_sub(1));
    if device.last_seq.is_none_or(|last| seq > last) {
        draft.change(Change::SeqSet { device: key.clone(), last: seq, gaps: device.seq_gaps.saturating_add(missed) });
    }
}

pub(super) fn presence(draft: &mut Draft<'_>, key: &DeviceKey, said: &PresenceUp) -> Answered {
    let now = draft.now;
    let Some(device) = draft.before().devices.get(key) else { return Ok(Reply::Unchanged) };
    let epoch = said.epoch.or(draft.input.sender.epoch);
    let is_late = epoch.is_some_and(|epoch| epoch < device.presence.epoch);
    if is_late && matches!(said.state, PresenceWord::Lost) {
        draft.note("ignored: a will of an older connection than the present one");
        return Ok(Reply::Unchanged);
    }
    let state = match said.state {
        PresenceWord::Online => PresenceState::Online,
        PresenceWord::Lost => PresenceState::Lost,
        PresenceWord::Offline => PresenceState::Offline,
        PresenceWord::Sleeping => PresenceState::Sleeping { wake_at: said.wake_at },
    };
    let since = if state == device.presence.state { device.presence.since } else { now };
    draft.note(format!("presence {} → {}", device.presence.state.as_str(), state.as_str()));
    let presence = Presence { state, since, epoch: epoch.unwrap_or(device.presence.epoch) };
    if presence != device.presence || said.firmware.as_ref().is_some_and(|fw| device.firmware.as_ref() != Some(fw)) {
        draft.change(Change::PresenceSet { device: key.clone(), presence, firmware: said.firmware.clone() });
    }
    presence_moved(draft, key, device.presence.state, state);
    if matches!(said.state, PresenceWord::Online) && !said.is_will {
        measure_clock(draft, key, None);
        if device.wipe_pending {
            draft.say(key, DownMessage::Wipe, None);
        }
    }
    Ok(Reply::Done)
}

/// Learns the device's clock from a message that carries its time of sending; a wrong one is
/// told the right time.
pub(super) fn measure_clock(draft: &mut Draft<'_>, key: &DeviceKey, t0: Option<Timestamp>) {
    let Some(device) = draft.before().devices.get(key) else { return };
    let measured = measure(device.clock, &draft.input.sender, t0, draft.now);
    // A clock is a clock whatever the last few milliseconds of the way; rewriting it for those
    // would make every birth a change.
    let moved = |a: Option<Span>, b: Option<Span>| match (a, b) {
        (Some(a), Some(b)) => (a.0 - b.0).abs() > 1_000,
        (a, b) => a != b,
    };
    let started = |clock: &ClockState| clock.started_at.map(|at| Span(at.0));
    if moved(measured.skew, device.clock.skew) || moved(started(&measured), started(&device.clock)) {
        draft.change(Change::ClockSet { device: key.clone(), clock: measured });
    }
    if measured.skew.is_some() && !is_trusted(&measured) {
        let now = draft.now;
        draft.note("the device's clock is wrong by more than two minutes");
        draft.say(key, DownMessage::Time { t0: t0.or(draft.input.sender.t), t1: now, t2: now }, Some(now + REPLY_TTL));
    }
}

pub(super) fn connection_lost(draft: &mut Draft<'_>, key: &DeviceKey) -> Answered {
    let Some(device) = draft.before().devices.get(key) else { return Ok(Reply::Unchanged) };
    if device.presence.state != PresenceState::Online {
        return Ok(Reply::Unchanged);
    }
    let presence = Presence { state: PresenceState::Lost, since: draft.now, epoch: device.presence.epoch };
    draft.change(Change::PresenceSet { device: key.clone(), presence, firmware: None });
    presence_moved(draft, key, device.presence.state, PresenceState::Lost);
    Ok(Reply::Done)
}

/// What follows from a device's coming and going: edges of its presence, and whether its silence
/// says anything.
fn presence_moved(draft: &mut Draft<'_>, key: &DeviceKey, before: PresenceState, state: PresenceState) {
    let word = |state: PresenceState| Value::Text(state.as_str().into());
    let (previous, value, at) = (word(before), word(state), draft.now);
    let since = draft.before().devices.get(key).map_or(at, |device| device.presence.since);
    // A device that was never seen before was not away.
    let previous = (before != PresenceState::Unseen).then_some((&previous, since));
    wake::by_edge(draft, key, Watched::Presence, Seen { previous, value: &value, at, fresh_until: None });
    if state == PresenceState::Online {
        deadline::begin(draft, key);
        purchases::returned(draft, key);
    } else {
        deadline::gone(draft, key);
    }
}

pub(super) fn credential_used(draft: &mut Draft<'_>, key: &DeviceKey) -> Answered {
    let Some(device) = draft.before().devices.get(key) else { return Ok(Reply::Unchanged) };
    if device.credential_used {
        return Ok(Reply::Unchanged);
    }
    draft.change(Change::CredentialSet { device: key.clone(), generation: device.generation, used: true });
    Ok(Reply::Done)
}

pub(super) fn describe(draft: &mut Draft<'_>, key: &DeviceKey, said: &DeviceDescription) -> Answered {
    let Some(device) = draft.before().devices.get(key) else { return Ok(Reply::Unchanged) };
    if said.model != device.model {
        let message =
            format!("this device was registered as model `{}`; its `desc` says `{}`", device.model, said.model);
        return Err(Refusal::new(Code::DescInvalid, message).at("/body/model"));
    }
    let model = draft.rules.models.get(&device.model);
    if let Some(model) = model
        && said.kind != model.description.kind
    {
        let message =
            format!("model `{}` is a `{}`; its `desc` says `{}`", said.model, model.description.kind, said.kind);
        return Err(Refusal::new(Code::DescInvalid, message).at("/body/kind"));
    }
    // Most devices say what their model says; keeping that once, in the model, keeps records small.
    let own = match model {
        Some(model) => filled_up(said, &model.description),
        None => said.clone(),
    };
    let own = model.is_none_or(|model| own != model.description).then(|| Box::new(own));
    draft.note(if own.is_some() { "described itself in its own words" } else { "described itself as its model does" });
    if !device.described || device.description != own {
        draft.change(Change::Described { device: key.clone(), description: own });
    }
    Ok(Reply::Done)
}

/// A description that leaves a part out means its model's part.
fn filled_up(said: &DeviceDescription, model: &DeviceDescription) -> DeviceDescription {
    let mut full = said.clone();
    if full.telemetry.is_empty() {
        full.telemetry.clone_from(&model.telemetry);
    }
    if full.slots.is_empty() {
        full.slots.clone_from(&model.slots);
    }
    if full.placements.is_empty() {
        full.placements.clone_from(&model.placements);
    }
    if full.locales.is_empty() {
        full.locales.clone_from(&model.locales);
    }
    if full.confirm.is_empty() {
        full.confirm.clone_from(&model.confirm);
    }
    if full.buttons.is_empty() {
        full.buttons.clone_from(&model.buttons);
    }
    full
}

pub(super) fn event(draft: &mut Draft<'_>, key: &DeviceKey, event: &EventUp) -> Answered {
    let Some(device) = draft.before().devices.get(key) else { return Ok(Reply::Unchanged) };
    let at = event_time(device, &draft.input.sender, event.t, draft.now);
    draft.note(format!("event {}", event.r#type));
    super::habit::learn(draft, key, at.at);
    wake::by_event(draft, key, event, at.at);
    Ok(Reply::Done)
}

pub(super) fn time(draft: &mut Draft<'_>, key: &DeviceKey, t0: Option<Timestamp>) -> Answered {
    let now = draft.now;
    let wrong_before =
        draft.before().devices.get(key).map(|device| measure(device.clock, &draft.input.sender, t0, now));
    measure_clock(draft, key, t0);
    // `measure_clock` has answered already when the clock is wrong.
    if wrong_before.is_none_or(|clock| clock.skew.is_none() || is_trusted(&clock)) {
        draft.say(key, DownMessage::Time { t0: t0.or(draft.input.sender.t), t1: now, t2: now }, Some(now + REPLY_TTL));
    }
    Ok(Reply::Done)
}

pub(super) fn suspend(draft: &mut Draft<'_>, key: &DeviceKey, reason: &str) -> Answered {
    let Some(device) = draft.before().devices.get(key) else { return Ok(Reply::Unchanged) };
    let reason = super::stolen::in_their_words(reason);
    if device.suspended.is_some() {
        return super::stolen::suspended_too(draft, key, &reason);
    }
    suspend_for(draft, key, &reason, &reason)
}

/// Silences a device for a reason, and tells it one.
pub(super) fn suspend_for(draft: &mut Draft<'_>, key: &DeviceKey, reason: &str, told: &str) -> Answered {
    draft.change(Change::SuspendedSet { device: key.clone(), reason: Some(reason.to_owned()) });
    draft.say(key, DownMessage::Suspended { reason: told.to_owned() }, Some(draft.now + REPLY_TTL));
    super::offer::withdraw_all_of(draft, key, "device suspended");
    draft.effect(Effect::Disconnect { device: key.clone(), reason: told.to_owned() });
    Ok(Reply::Done)
}

pub(super) fn resume(draft: &mut Draft<'_>, key: &DeviceKey) -> Answered {
    let Some(device) = draft.before().devices.get(key) else { return Ok(Reply::Unchanged) };
    if device.suspended.is_none() {
        return Ok(Reply::Unchanged);
    }
    super::stolen::stays_suspended(draft, key)?;
    draft.change(Change::SuspendedSet { device: key.clone(), reason: None });
    Ok(Reply::Done)
}

/// What the gateway knows of the device, and what it makes of the sample that came along: for the
/// person who connects hardware and wonders why nothing happens.
pub(super) fn doctor(draft: &mut Draft<'_>, key: &DeviceKey, seen: &str) -> Answered {
    let home = draft.before();
    let Some(device) = home.devices.get(key) else { return Ok(Reply::Unchanged) };
    let mut known = BTreeMap::new();
    let mut findings = Vec::new();
    let mut find = |code: &str, text: String| findings.push((code.to_owned(), text));
    known.insert("model".to_owned(), device.model.to_string());
    known.insert("presence".to_owned(), device.presence.state.as_str().to_owned());
    known.insert("link".to_owned(), super::sync::link_state(home, device).to_owned());
    if let Some(skew) = device.clock.skew {
        known.insert("clock_skew_s".to_owned(), (skew.0 / 1_000).to_string());
        if !is_trusted(&device.clock) {
            find(
                "clock.untrusted",
                format!("the device's clock is {} off; take the time of `down/time`", Span(skew.0.abs())),
            );
        }
    }
    if !device.described {
        find("desc.missing", "publish `desc` once after each birth, so that offers fit the device".to_owned());
    }
    if matches!(device.presence.state, PresenceState::Unseen) {
        find("presence.missing", "publish `presence` with {\"state\":\"online\"} after connecting".to_owned());
    }
    if home.link_of(key).is_none() {
        find(
            "device.not_linked",
            "no household yet: publish `up/claim` {\"op\":\"start\"} and confirm the code".to_owned(),
        );
    }
    match description(device, draft.rules) {
        None => find(
            "desc.invalid",
            format!("no model `{}` is defined; the maker puts it with PUT /v1/models", device.model),
        ),
        Some(can) => {
            known.insert("telemetry".to_owned(), join(can.telemetry.keys()));
            known.insert("slots".to_owned(), join(can.slots.keys()));
            known.insert("placements".to_owned(), join(can.placements.iter().map(|placement| &placement.id)));
            for slot in can.slots.keys().filter(|slot| !device.slots.contains_key(*slot)) {
                find("slot.silent", format!("slot `{slot}` was never reported; publish `up/slot`"));
            }
            if let Ok(serde_json::Value::Object(sample)) = serde_json::from_str(seen) {
                for name in sample.keys() {
                    match can.telemetry.iter().find(|(field, _)| field.as_str() == name) {
                        Some((field, schema)) => {
                            known.insert(format!("understood {field}"), super::telemetry::type_name(&schema.r#type));
                        }
                        None => find("field.unknown", format!("`{name}` is not a telemetry field of this model")),
                    }
                }
            }
        }
    }
    let message = DownMessage::Doctor { findings, known, reference: draft.input.message.clone() };
    draft.say(key, message, Some(draft.now + REPLY_TTL));
    Ok(Reply::Done)
}

fn join<T: std::fmt::Display>(names: impl Iterator<Item = T>) -> String {
    names.map(|name| name.to_string()).collect::<Vec<_>>().join(" ")
}
