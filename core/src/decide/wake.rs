//! What wakes a trigger: edges of values, things that happen, and the second look at what is armed.

use std::collections::BTreeSet;

use super::draft::{Draft, description};
use super::edge::{self, Seen, Turn};
use super::forecast;
use super::pipeline::{self, Cause, Wake};
use super::rank::best_first;
use super::watched::{is_unknown_trend, still_stands};
use crate::decision::Change;
use crate::id::{DeviceKey, FieldName, ProfileId, SlotId};
use crate::limits::{ARMED_PER_DEVICE_MAX, EDGES_PER_DEVICE_MAX};
use crate::model::{Device, DeviceDescription, Edge, EdgeState, Household, SlotState};
use crate::time::Timestamp;
use crate::trigger::{Concerned, Moment, On, Source, Trigger, Watched};
use crate::wire::EventUp;

/// The triggers that can concern a device, and what it is asked about with.
pub(super) fn concerned<'a>(home: &'a Household, device: &'a Device, can: &'a DeviceDescription) -> Concerned<'a> {
    Concerned { retailer: home.retailer.as_ref(), kind: &can.kind, model: &device.model }
}

/// Whether a trigger watches this value.
fn watches(on: &On, watched: Watched<'_>) -> bool {
    match (watched, &on.source) {
        (Watched::Telemetry(field), Source::Telemetry { field: own, .. }) => field == own,
        (Watched::Trend(field, over), Source::Trend { field: own, over: of, .. }) => field == own && over == *of,
        (Watched::Slot(slot, field), Source::Slot { slot: at, field: own, .. }) => slot == at && field == own,
        (Watched::Presence, Source::Presence { .. }) => true,
        (Watched::Context(name), Source::Context { name: own, .. }) => name == own.as_str(),
        _ => false,
    }
}

/// A newer value came: edges that it brings back are ready again, edges that it crosses wake
/// their triggers.
pub(super) fn by_edge(draft: &mut Draft<'_>, key: &DeviceKey, watched: Watched<'_>, seen: Seen<'_>) {
    let made = turn_standing(draft, key, watched, &seen);
    let rules = draft.rules;
    let home = draft.before();
    let Some(device) = home.devices.get(key) else { return };
    let Some(can) = description(device, rules) else { return };
    let previous = seen.previous.map(|(value, _)| value);
    let crossed_now = rules.triggers.crossed(concerned(home, device, can), watched, previous, seen.value);
    for trigger in best_first(draft, home, key, crossed_now, |trigger| Some(*trigger)) {
        let state = draft.device(key).map_or(EdgeState::Ready, |device| device.edge(&trigger.id));
        if !state.is_ready() || made.contains(&trigger.id) {
            continue;
        }
        if !seen.after_gap() {
            crossed(draft, key, trigger, seen.at);
        } else if let EdgeState::Counting { times, .. } = state {
            // Nobody knows how often it went to and fro: this one is not counted.
            let since = times.first().copied().unwrap_or(seen.at);
            let state = EdgeState::Counting { ready: false, times };
            set(draft, key, trigger, Some(Edge { state, since, again_at: None }));
        } else {
            set(draft, key, trigger, Some(edge::unsure(seen.at)));
        }
    }
}

/// Moves every edge that stands somewhere to where the value brings it; gives those that it made.
fn turn_standing(
    draft: &mut Draft<'_>,
    key: &DeviceKey,
    watched: Watched<'_>,
    seen: &Seen<'_>,
) -> Vec<crate::id::TriggerId> {
    let (rules, home) = (draft.rules, draft.before());
    // The usual device has no edge to bring back; only those that have are looked at closer. Edges
    // that this very message set are in the draft, so a device with none before may have some.
    let nothing_before = home.devices.get(key).is_none_or(|device| device.edges.is_empty());
    if nothing_before && !draft.moved_an_edge() {
        return Vec::new();
    }
    // Nothing but such an edge is read here: a plain reading copies no home for it.
    let device = if draft.moved_an_edge() { draft.device(key) } else { home.devices.get(key).map(|device| &**device) };
    let Some(device) = device else { return Vec::new() };
    let retailer = home.retailer.as_ref();
    let is_about = |on: &On| on.edge().is_some() && watches(on, watched);
    let concerned = device
        .edges
        .iter()
        .filter(|(id, _)| rules.triggers.known(retailer, id).is_none_or(|trigger| is_about(&trigger.on)));
    let edges: Vec<_> = concerned.map(|(id, edge)| (id.clone(), edge.clone())).collect();
    let mut made = Vec::new();
    for (id, mut standing) in edges {
        let Some(trigger) = rules.triggers.known(retailer, &id) else {
            draft.change(Change::EdgeSet { device: key.clone(), trigger: id, edge: None });
            continue;
        };
        let Some(rule) = trigger.on.edge() else { continue };
        if let Turn::Stayed(due) = edge::turn(&standing, rule, seen) {
            stayed(draft, key, trigger, &standing, due);
            match draft.device(key).and_then(|device| device.edges.get(&id)) {
                Some(after) => standing = after.clone(),
                None => continue,
            }
        }
        match edge::turn(&standing, rule, seen) {
            Turn::Stays | Turn::Stayed(_) => {}
            Turn::To(to) => set(draft, key, trigger, to),
            Turn::Made => {
                made.push(id);
                crossed(draft, key, trigger, seen.at);
            }
        }
    }
    made
}

/// An edge is crossed: its trigger is woken, or waits until the value has stayed or crossed often enough.
fn crossed(draft: &mut Draft<'_>, key: &DeviceKey, trigger: &Trigger, at: Timestamp) {
    let Some(rule) = trigger.on.edge() else { return };
    match (rule.stays, rule.count) {
        (Some(stays), _) => set(draft, key, trigger, Some(edge::staying(at, stays))),
        (None, Some(count)) => {
            let before = draft.device(key).and_then(|device| device.edges.get(&trigger.id)).cloned();
            // A change is over at once: the next one may be counted.
            match edge::counted(before.as_ref(), count, at, !trigger.on.holds_on()) {
                Some(more) => set(draft, key, trigger, Some(more)),
                None => fire(draft, key, trigger, None, at, Cause::Counted(count)),
            }
        }
        (None, None) => fire(draft, key, trigger, None, at, Cause::Edge),
    }
}

/// The trigger went live, and the value stands beyond its threshold: as a crossing at this moment.
pub(super) fn activated(draft: &mut Draft<'_>, key: &DeviceKey, trigger: &Trigger) {
    let now = draft.now;
    match trigger.on.edge().and_then(|rule| rule.stays) {
        Some(stays) => set(draft, key, trigger, Some(edge::staying(now, stays))),
        None => fire(draft, key, trigger, None, now, Cause::Activated),
    }
}

/// The value stayed beyond until the edge's hour.
pub(super) fn stayed(draft: &mut Draft<'_>, key: &DeviceKey, trigger: &Trigger, standing: &Edge, due: Timestamp) {
    fire(draft, key, trigger, None, due, Cause::Stayed(due - standing.since));
}

/// A trigger is woken: looked at once, quiet until it comes back, and armed where only its
/// conditions stand in the way.
pub(super) fn fire(
    draft: &mut Draft<'_>,
    key: &DeviceKey,
    trigger: &Trigger,
    event: Option<&EventUp>,
    at: Timestamp,
    cause: Cause,
) {
    let holds_on = trigger.on.holds_on();
    set(draft, key, trigger, holds_on.then(|| edge::spent(at)));
    let wake = Wake { device: key, slot: trigger.on.slot(), event, at, cause };
    let considered = pipeline::consider(draft, trigger, &wake);
    if holds_on {
        arm(draft, key, trigger, at, considered.waits);
    }
}

/// Writes where an edge stands, if that is news. A device with too many keeps no more of them.
pub(super) fn set(draft: &mut Draft<'_>, key: &DeviceKey, trigger: &Trigger, to: Option<Edge>) {
    let Some(device) = draft.device(key) else { return };
    let known = device.edges.get(&trigger.id);
    if known == to.as_ref() {
        return;
    }
    if known.is_none() && device.edges.len() >= EDGES_PER_DEVICE_MAX {
        draft.note_once(format!("more than {EDGES_PER_DEVICE_MAX} edges on {key}: the others are not remembered"));
        return;
    }
    draft.change(Change::EdgeSet { device: key.clone(), trigger: trigger.id.clone(), edge: to });
}

/// An edge whose conditions do not hold yet stays armed: it is looked at again at the device's
/// next input, and when a time bound in its conditions can turn.
fn arm(draft: &mut Draft<'_>, key: &DeviceKey, trigger: &Trigger, since: Timestamp, waits: bool) {
    let now = draft.now;
    let home = draft.home();
    let Some(device) = home.devices.get(key) else { return };
    let armed = device.edges.values().filter(|edge| edge.state == EdgeState::Armed).count();
    let was_armed = device.edge(&trigger.id) == EdgeState::Armed;
    let edge = if waits && (was_armed || armed < ARMED_PER_DEVICE_MAX) {
        let again_at = trigger.when.as_ref().and_then(|when| when.next_turn(home, now));
        Edge { state: EdgeState::Armed, since, again_at }
    } else {
        Edge { again_at: forecast::again_at(draft, key, trigger), ..edge::spent(since) }
    };
    set(draft, key, trigger, Some(edge));
}

/// Looks again at every edge that was armed before this input.
pub(super) fn armed(draft: &mut Draft<'_>, key: &DeviceKey) {
    let (rules, home) = (draft.rules, draft.before());
    let Some(device) = home.devices.get(key) else { return };
    let armed = device.edges.iter().filter(|(_, edge)| edge.state == EdgeState::Armed).map(|(id, _)| id);
    for id in best_first(draft, home, key, armed, |id| rules.triggers.known(home.retailer.as_ref(), id)) {
        let still = draft.device(key).and_then(|device| device.edges.get(id)).cloned();
        if let Some(edge) = still.filter(|edge| edge.state == EdgeState::Armed) {
            again(draft, key, id, &edge);
        }
    }
}

/// Looks again at an armed edge.
pub(super) fn again(draft: &mut Draft<'_>, key: &DeviceKey, id: &crate::id::TriggerId, edge: &Edge) {
    let (rules, home) = (draft.rules, draft.before());
    let Some(trigger) = rules.triggers.known(home.retailer.as_ref(), id) else {
        draft.change(Change::EdgeSet { device: key.clone(), trigger: id.clone(), edge: None });
        return;
    };
    // Its last version may have watched something else, or another threshold.
    let now = draft.now;
    let home = draft.home();
    let device = home.devices.get(key);
    if device.is_some_and(|device| is_unknown_trend(home, device, &trigger.on, now)) {
        // Unknown never sends, and is no way back either: looked at again with a later input.
        return set(draft, key, trigger, Some(Edge { again_at: None, ..edge.clone() }));
    }
    if !device.is_some_and(|device| still_stands(home, device, &trigger.on)) {
        draft.change(Change::EdgeSet { device: key.clone(), trigger: id.clone(), edge: None });
        return;
    }
    // The edge still holds, so what counts is that it holds now, not when it was crossed.
    let wake = Wake { device: key, slot: trigger.on.slot(), event: None, at: draft.now, cause: Cause::Armed };
    let considered = pipeline::consider(draft, trigger, &wake);
    arm(draft, key, trigger, edge.since, considered.waits);
}

/// A slot's evidence changed: every field of it that triggers can watch.
pub(super) fn by_slot(
    draft: &mut Draft<'_>,
    key: &DeviceKey,
    slot: &SlotId,
    previous: Option<&SlotState>,
    state: &SlotState,
    at: Timestamp,
) {
    for name in ["used", "remaining", "capacity", "on_hand", "flag"] {
        let Some(value) = state.value(name) else { continue };
        let Ok(field) = FieldName::new(name) else { continue };
        let before = previous.and_then(|previous| Some((previous.value(name)?, previous.t)));
        let previous = before.as_ref().map(|(value, t)| (value, *t));
        let seen = Seen { previous, value: &value, at, fresh_until: None };
        by_edge(draft, key, Watched::Slot(slot, &field), seen);
    }
}

/// The device said that something happened.
pub(super) fn by_event(draft: &mut Draft<'_>, key: &DeviceKey, event: &EventUp, at: Timestamp) {
    let rules = draft.rules;
    let home = draft.before();
    let Some(device) = home.devices.get(key) else { return };
    let Some(can) = description(device, rules) else { return };
    let awaiting = rules.triggers.on_event(concerned(home, device, can), &event.r#type);
    for trigger in best_first(draft, home, key, awaiting, |trigger| Some(*trigger)) {
        let Some(count) = trigger.on.count() else {
            fire(draft, key, trigger, Some(event), at, Cause::Event);
            continue;
        };
        let before = draft.device(key).and_then(|device| device.edges.get(&trigger.id)).cloned();
        match edge::counted(before.as_ref(), count, at, true) {
            Some(more) => set(draft, key, trigger, Some(more)),
            None => fire(draft, key, trigger, Some(event), at, Cause::Counted(count)),
        }
    }
}

/// A fresh one was inserted into a slot, from the shelf or from elsewhere.
pub(super) fn by_refill(draft: &mut Draft<'_>, key: &DeviceKey, slot: &SlotId, elsewhere: bool, at: Timestamp) {
    let (rules, home) = (draft.rules, draft.before());
    let Some(device) = home.devices.get(key) else { return };
    let Some(can) = description(device, rules) else { return };
    let waiting = rules.triggers.on_refill(concerned(home, device, can), slot, elsewhere);
    for trigger in best_first(draft, home, key, waiting, |trigger| Some(*trigger)) {
        fire(draft, key, trigger, None, at, Cause::Event);
    }
}

/// Something that a person did on another channel: the devices that are linked to them may speak of it.
pub(super) fn by_channel(draft: &mut Draft<'_>, profile: &ProfileId, event: &EventUp, at: Timestamp) {
    let (rules, home) = (draft.rules, draft.before());
    let theirs: BTreeSet<&DeviceKey> =
        home.links.values().filter(|link| link.profile == *profile).map(|link| &link.device).collect();
    for key in theirs {
        let Some(device) = home.devices.get(key) else { continue };
        let Some(can) = description(device, rules) else { continue };
        let waiting = rules.triggers.on_channel(concerned(home, device, can), &event.r#type);
        for trigger in best_first(draft, home, key, waiting, |trigger| Some(*trigger)) {
            fire(draft, key, trigger, Some(event), at, Cause::Event);
        }
    }
}

/// Something happened to the device's link or to an order made on it.
pub(super) fn by_moment(draft: &mut Draft<'_>, key: &DeviceKey, moment: Moment) {
    let (rules, now) = (draft.rules, draft.now);
    if !rules.triggers.awaits_moments() {
        return;
    }
    let home = draft.home().clone();
    let Some(device) = home.devices.get(key) else { return };
    let Some(can) = description(device, rules) else { return };
    let awaiting = rules.triggers.at_moment(concerned(&home, device, can), moment);
    for trigger in best_first(draft, &home, key, awaiting, |trigger| Some(*trigger)) {
        fire(draft, key, trigger, None, now, Cause::Event);
    }
}
