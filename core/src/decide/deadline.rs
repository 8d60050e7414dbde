//! What wakes a trigger by the clock: a value that stayed, silence that lasted, an hour that came.
//! Each is a deadline in the household's record, and so outlives the gateway that noted it.

use super::draft::{Draft, description};
use super::pipeline::Cause;
use super::rank::best_first;
use super::wake::{self, concerned, fire, set};
use super::watched::{fresh_until, still_stands};
use super::{edge, forecast};
use crate::decision::Change;
use crate::id::{DeviceKey, FieldName, TriggerId};
use crate::limits::OVERDUE_AFTER;
use crate::model::{Device, Edge, EdgeState, Household, PresenceState};
use crate::time::{Span, Timestamp};
use crate::trigger::{Source, Trigger};

/// Looks at every edge of a device whose time has come.
pub(super) fn due(draft: &mut Draft<'_>, key: &DeviceKey) {
    let now = draft.now;
    let (rules, home) = (draft.rules, draft.before());
    let Some(device) = home.devices.get(key) else { return };
    let due = device.edges.iter().filter(|(_, edge)| edge.again_at.is_some_and(|at| at <= now));
    for (id, edge) in best_first(draft, home, key, due, |(id, _)| rules.triggers.known(home.retailer.as_ref(), id)) {
        // An earlier deadline of this very input may have moved it.
        if draft.device(key).and_then(|device| device.edges.get(id)) != Some(edge) {
            continue;
        }
        let Some(trigger) = rules.triggers.known(home.retailer.as_ref(), id) else {
            forget(draft, key, id);
            continue;
        };
        match (&edge.state, &trigger.on.source) {
            (EdgeState::Armed, _) => wake::again(draft, key, id, edge),
            (EdgeState::Staying, _) => stays(draft, key, trigger, edge),
            (EdgeState::Listening, Source::Silence { field, after }) => {
                silence(draft, key, trigger, edge, field.as_ref(), *after);
            }
            (EdgeState::Listening, Source::Schedule(_)) => hour(draft, key, trigger, edge),
            (EdgeState::Listening | EdgeState::Spent, Source::Forecast { .. }) => {
                forecast::due(draft, key, trigger, edge);
            }
            // The trigger is about something else since its last version.
            (EdgeState::Listening, _)
            | (EdgeState::Ready | EdgeState::Spent | EdgeState::Unsure | EdgeState::Counting { .. }, _) => {
                forget(draft, key, id);
            }
        }
    }
}

fn forget(draft: &mut Draft<'_>, key: &DeviceKey, id: &TriggerId) {
    draft.change(Change::EdgeSet { device: key.clone(), trigger: id.clone(), edge: None });
}

/// A value had to stay until now. Where it could not be believed any more by then, nobody knows
/// whether it did: the samples to come decide.
fn stays(draft: &mut Draft<'_>, key: &DeviceKey, trigger: &Trigger, edge: &Edge) {
    let (rules, home, now) = (draft.rules, draft.before(), draft.now);
    let Some(device) = home.devices.get(key) else { return };
    // The trigger may watch something else since its last version, or for another time.
    let rule = trigger.on.edge().filter(|_| still_stands(home, device, &trigger.on));
    let Some(stays) = rule.and_then(|rule| rule.stays) else { return forget(draft, key, &trigger.id) };
    let due = edge.since + stays;
    if due > now {
        return set(draft, key, trigger, Some(edge::staying(edge.since, stays)));
    }
    let fresh_until = fresh_until(home, device, rules, &trigger.on);
    if edge::stayed(due, fresh_until) {
        wake::stayed(draft, key, trigger, edge, due);
    } else {
        draft.note(format!("{}: no word for longer than the value stays fresh, `for` begins anew", trigger.id));
        set(draft, key, trigger, Some(edge::unsure(due)));
    }
}

/// A device came, or came into another home: begins to listen to it.
pub(super) fn begin(draft: &mut Draft<'_>, key: &DeviceKey) {
    if draft.rules.triggers.listens() {
        let home = draft.home().clone();
        listen(draft, &home, key, |_| false, false);
    }
}

/// A device reported: its silence is over, and begins anew. `fields` says whether of a field.
pub(super) fn heard(draft: &mut Draft<'_>, key: &DeviceKey, fields: impl Fn(&FieldName) -> bool) {
    if draft.rules.triggers.listens() {
        // A report changes neither who is connected nor who listens: no copy of the home is needed.
        listen(draft, draft.before(), key, fields, true);
    }
}

/// Listens for silence of a device that is connected, and for the hours of its home.
fn listen(draft: &mut Draft<'_>, home: &Household, key: &DeviceKey, heard: impl Fn(&FieldName) -> bool, any: bool) {
    let (rules, now) = (draft.rules, draft.now);
    let Some(device) = home.devices.get(key) else { return };
    let Some(can) = description(device, rules) else { return };
    let asked = concerned(home, device, can);
    if is_connected(device) {
        for trigger in rules.triggers.on_silence(asked) {
            let Source::Silence { field, after } = &trigger.on.source else { continue };
            let is_heard = field.as_ref().map_or(any, &heard);
            // While it listens already, the deadline finds out by itself when something came last.
            let begins = match device.edge(&trigger.id) {
                EdgeState::Listening => false,
                EdgeState::Ready => true,
                _ => is_heard,
            };
            if begins {
                let edge = Edge { state: EdgeState::Listening, since: now, again_at: Some(now + *after) };
                set(draft, key, trigger, Some(edge));
            }
        }
    }
    for trigger in rules.triggers.on_schedule(asked) {
        let (Source::Schedule(hour), Some(zone)) = (&trigger.on.source, &home.zone) else { continue };
        if device.edge(&trigger.id) != EdgeState::Listening {
            let edge = Edge { state: EdgeState::Listening, since: now, again_at: Some(hour.next(zone, now)) };
            set(draft, key, trigger, Some(edge));
        }
    }
}

/// The device is not connected any more: its silence says nothing.
pub(super) fn gone(draft: &mut Draft<'_>, key: &DeviceKey) {
    let (rules, home) = (draft.rules, draft.before());
    let Some(device) = home.devices.get(key) else { return };
    for (id, _) in device.edges.iter().filter(|(_, edge)| edge.state == EdgeState::Listening) {
        let trigger = rules.triggers.known(home.retailer.as_ref(), id);
        if trigger.is_none_or(|trigger| matches!(trigger.on.source, Source::Silence { .. })) {
            forget(draft, key, id);
        }
    }
}

fn is_connected(device: &Device) -> bool {
    device.presence.state == PresenceState::Online
}

/// The silence may have lasted: counted from the last word, and from when the device connected.
fn silence(
    draft: &mut Draft<'_>,
    key: &DeviceKey,
    trigger: &Trigger,
    edge: &Edge,
    field: Option<&FieldName>,
    after: Span,
) {
    let now = draft.now;
    let Some(device) = draft.device(key) else { return };
    if !is_connected(device) {
        return forget(draft, key, &trigger.id);
    }
    let last = match field {
        Some(field) => device.reported.get(field).map(|reading| reading.t),
        None => device.reported.values().map(|reading| reading.t).max(),
    };
    let lasts_at = last.map_or(edge.since, |last| last.max(edge.since)) + after;
    let again = |since: Timestamp, at: Timestamp| Edge { state: EdgeState::Listening, since, again_at: Some(at) };
    if lasts_at > now {
        set(draft, key, trigger, Some(again(edge.since, lasts_at)));
    } else if now - lasts_at > OVERDUE_AFTER {
        // The gateway was away and heard nobody: that is no silence of the device.
        set(draft, key, trigger, Some(again(now, now + after)));
    } else {
        fire(draft, key, trigger, None, lasts_at, Cause::Silent(after));
    }
}

/// The hour has come; the next one is noted.
fn hour(draft: &mut Draft<'_>, key: &DeviceKey, trigger: &Trigger, edge: &Edge) {
    let (Source::Schedule(hour), Some(at)) = (&trigger.on.source, edge.again_at) else { return };
    let now = draft.now;
    // By another version of the trigger, or in another zone of the home, the hour was another one.
    let is_its_hour = |zone| hour.next(zone, Timestamp(at.0 - 1)) == at;
    if draft.home().zone.as_ref().is_some_and(is_its_hour) {
        fire(draft, key, trigger, None, at, Cause::Hour);
    }
    let next = draft.home().zone.as_ref().map(|zone| hour.next(zone, now));
    let edge = next.map(|next| Edge { state: EdgeState::Listening, since: now, again_at: Some(next) });
    set(draft, key, trigger, edge);
}
