//! What wakes a trigger: edges of readings and slots, events, and the second look at what is armed.

use std::sync::Arc;

use super::draft::{Draft, description};
use super::pipeline::{self, Cause, Wake};
use crate::decision::Change;
use crate::id::{DeviceKey, FieldName, SlotId};
use crate::input::{Input, What};
use crate::limits::ARMED_PER_DEVICE_MAX;
use crate::model::{Edge, EdgeState, Evidence, Household, SlotState, Value};
use crate::rules::RuleSet;
use crate::time::Timestamp;
use crate::trace::{CandidateTrace, Step, StepTrace, StepVerdict, Verdict};
use crate::trigger::{EdgeRule, Source, Trigger};
use crate::wire::{DeviceMessage, EventUp};

/// A value that triggers may watch.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Watched<'w> {
    /// A telemetry field.
    Telemetry(&'w FieldName),
    /// A field of a slot.
    Slot(&'w SlotId, &'w FieldName),
}

impl<'w> Watched<'w> {
    /// The edge rule of a trigger that watches this value.
    fn edge_of(self, trigger: &Trigger) -> Option<&EdgeRule> {
        match (self, &trigger.on.source) {
            (Watched::Telemetry(field), Source::Telemetry { field: watched, edge }) if field == watched => Some(edge),
            (Watched::Slot(slot, field), Source::Slot { slot: at, field: watched, edge })
                if slot == at && field == watched =>
            {
                Some(edge)
            }
            _ => None,
        }
    }
    fn slot(self) -> Option<&'w SlotId> {
        match self {
            Watched::Telemetry(_) => None,
            Watched::Slot(slot, _) => Some(slot),
        }
    }
}

/// A newer value came: edges that it brings back are ready again, edges that it crosses wake
/// their triggers.
pub(super) fn by_edge(
    draft: &mut Draft<'_>,
    key: &DeviceKey,
    watched: Watched<'_>,
    previous: Option<&Value>,
    value: &Value,
    at: Timestamp,
) {
    ready_again(draft, key, watched, value, at);
    let rules = draft.rules;
    let home = draft.before();
    let Some(device) = home.devices.get(key) else { return };
    let Some(can) = description(device, rules) else { return };
    let (retailer, set) = (home.retailer.as_ref(), &rules.triggers);
    let crossed: &mut dyn Iterator<Item = &Arc<Trigger>> = match watched {
        Watched::Telemetry(field) => {
            &mut set.crossed_by_telemetry(retailer, &can.kind, &device.model, field, previous, value)
        }
        Watched::Slot(slot, field) => {
            &mut set.crossed_by_slot(retailer, &can.kind, &device.model, slot, field.as_str(), previous, value)
        }
    };
    for trigger in crossed {
        if draft.device(key).is_none_or(|device| device.edge(&trigger.id) != EdgeState::Ready) {
            continue;
        }
        let spent = Edge { state: EdgeState::Spent, since: at, again_at: None };
        draft.change(Change::EdgeSet { device: key.clone(), trigger: trigger.id.clone(), edge: Some(spent) });
        let wake = Wake { device: key, slot: watched.slot(), event: None, at, cause: Cause::Edge };
        let verdict = pipeline::consider(draft, trigger, &wake);
        arm(draft, key, trigger, at, verdict.waits_for_conditions);
    }
}

/// On the way back an armed edge is disarmed; past `rearm` any edge is ready again.
fn ready_again(draft: &mut Draft<'_>, key: &DeviceKey, watched: Watched<'_>, value: &Value, at: Timestamp) {
    let rules = draft.rules;
    let home = draft.before();
    // The usual device has no edge to bring back; only those that have are looked at closer. Edges
    // that this very message set are in the draft, so a device with none before may have some.
    let Some(retailer) = home.retailer.clone() else { return };
    let nothing_before = home.devices.get(key).is_none_or(|device| device.edges.is_empty());
    if nothing_before && !draft.moved_an_edge() {
        return;
    }
    let Some(device) = draft.device(key) else { return };
    let edges: Vec<_> = device.edges.iter().map(|(id, edge)| (id.clone(), *edge)).collect();
    for (id, edge) in edges {
        let Some(trigger) = rules.triggers.get(&retailer, &id) else {
            draft.change(Change::EdgeSet { device: key.clone(), trigger: id, edge: None });
            continue;
        };
        let Some(rule) = watched.edge_of(trigger) else { continue };
        if rule.crossing.rearms(value) {
            draft.change(Change::EdgeSet { device: key.clone(), trigger: id, edge: None });
        } else if edge.state == EdgeState::Armed && !rule.crossing.beyond(value) {
            let spent = Edge { state: EdgeState::Spent, since: at, again_at: None };
            draft.change(Change::EdgeSet { device: key.clone(), trigger: id, edge: Some(spent) });
        }
    }
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
        let again_at = home.zone.as_ref().and_then(|zone| trigger.when.as_ref()?.next_turn(zone, now));
        Edge { state: EdgeState::Armed, since, again_at }
    } else {
        Edge { state: EdgeState::Spent, since, again_at: None }
    };
    if device.edges.get(&trigger.id) != Some(&edge) {
        draft.change(Change::EdgeSet { device: key.clone(), trigger: trigger.id.clone(), edge: Some(edge) });
    }
}

/// Looks again at every edge that was armed before this input.
pub(super) fn armed(draft: &mut Draft<'_>, key: &DeviceKey) {
    again(draft, key, |_| true);
}

/// Looks again at the armed edges whose time has come.
pub(super) fn armed_and_due(draft: &mut Draft<'_>, key: &DeviceKey) {
    let now = draft.now;
    again(draft, key, |edge| edge.again_at.is_some_and(|at| at <= now));
}

fn again(draft: &mut Draft<'_>, key: &DeviceKey, due: impl Fn(&Edge) -> bool) {
    let home = draft.before();
    let (Some(retailer), Some(device)) = (&home.retailer, home.devices.get(key)) else { return };
    let rules = draft.rules;
    for (id, edge) in device.edges.iter().filter(|(_, edge)| edge.state == EdgeState::Armed && due(edge)) {
        let still = draft.device(key).and_then(|device| device.edges.get(id)).copied();
        if still.is_none_or(|still| still.state != EdgeState::Armed) {
            continue;
        }
        let Some(trigger) = rules.triggers.get(retailer, id) else {
            draft.change(Change::EdgeSet { device: key.clone(), trigger: id.clone(), edge: None });
            continue;
        };
        let slot = match &trigger.on.source {
            Source::Slot { slot, .. } => Some(slot),
            Source::Telemetry { .. } | Source::Event { .. } => None,
        };
        // The edge still holds, so what counts is that it holds now, not when it was crossed.
        let wake = Wake { device: key, slot, event: None, at: draft.now, cause: Cause::Armed };
        let verdict = pipeline::consider(draft, trigger, &wake);
        arm(draft, key, trigger, edge.since, verdict.waits_for_conditions);
    }
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
    for name in ["used", "remaining", "on_hand"] {
        let Some(value) = state.number(name).map(Value::Number) else { continue };
        let Ok(field) = FieldName::new(name) else { continue };
        let previous = previous.and_then(|previous| previous.number(name)).map(Value::Number);
        by_edge(draft, key, Watched::Slot(slot, &field), previous.as_ref(), &value, at);
    }
    if let Evidence::Flag { flag } = &state.evidence {
        let Ok(field) = FieldName::new("flag") else { return };
        let previous = previous.and_then(|previous| match &previous.evidence {
            Evidence::Flag { flag } => Some(Value::Text(Arc::from(flag.as_str()))),
            _ => None,
        });
        by_edge(draft, key, Watched::Slot(slot, &field), previous.as_ref(), &Value::Text(Arc::from(flag.as_str())), at);
    }
}

pub(super) fn by_event(draft: &mut Draft<'_>, key: &DeviceKey, event: &EventUp, at: Timestamp) {
    let rules = draft.rules;
    let home = draft.before();
    let Some(device) = home.devices.get(key) else { return };
    let Some(can) = description(device, rules) else { return };
    for trigger in rules.triggers.on_event(home.retailer.as_ref(), &can.kind, &device.model, &event.r#type) {
        let wake = Wake { device: key, slot: None, event: Some(event), at, cause: Cause::Event };
        pipeline::consider(draft, trigger, &wake);
    }
}

/// Every step for an input that did not wake the trigger, led by the reason why it did not.
pub(super) fn why_not(facts: &Household, input: &Input, rules: &RuleSet, trigger: &Trigger) -> CandidateTrace {
    let now = input.received_at;
    let device = input
        .device
        .as_ref()
        .filter(|key| facts.devices.contains_key(*key))
        .or_else(|| facts.devices.keys().find(|key| watches(facts, key, rules, trigger)))
        .or_else(|| facts.devices.keys().next());
    let slot = match &trigger.on.source {
        Source::Slot { slot, .. } => Some(slot),
        Source::Telemetry { .. } | Source::Event { .. } => None,
    };
    let mut steps = Vec::new();
    if let Some(key) = device {
        let event = match &input.what {
            What::Device(DeviceMessage::Event(event)) => Some(event),
            _ => None,
        };
        let wake = Wake { device: key, slot, event, at: now, cause: Cause::Edge };
        steps = pipeline::evaluate(facts, rules, trigger, &wake, input, now).steps;
    }
    let reason = not_woken(facts, device, rules, trigger);
    let at = steps.iter().position(|step| step.step == Step::Age).unwrap_or(0);
    steps.insert(
        at,
        StepTrace { step: Step::Age, verdict: StepVerdict::Block, reason: reason.into(), numbers: Vec::new() },
    );
    CandidateTrace {
        decision: pipeline::decision_id(facts, input, trigger),
        trigger: trigger.id.clone(),
        trigger_version: trigger.version,
        verdict: Verdict::Held,
        first_block: Some(Step::Age),
        offer: None,
        steps,
    }
}

fn watches(facts: &Household, key: &DeviceKey, rules: &RuleSet, trigger: &Trigger) -> bool {
    facts
        .devices
        .get(key)
        .is_some_and(|device| description(device, rules).is_some_and(|can| trigger.on.covers(&can.kind, &device.model)))
}

fn not_woken(facts: &Household, key: Option<&DeviceKey>, rules: &RuleSet, trigger: &Trigger) -> String {
    let Some(device) = key.and_then(|key| facts.devices.get(key)) else {
        return "not_woken: the household has no device".to_owned();
    };
    if !key.is_some_and(|key| watches(facts, key, rules, trigger)) {
        return format!("not_woken: the trigger does not concern model `{}`", device.model);
    }
    let spent = match device.edge(&trigger.id) {
        EdgeState::Ready => "",
        EdgeState::Armed => "; the edge is crossed and waits for its conditions",
        EdgeState::Spent => "; the edge was crossed before and is quiet until it comes back",
    };
    match &trigger.on.source {
        Source::Telemetry { field, edge } => {
            let known =
                device.reported.get(field).map_or("never reported".to_owned(), |reading| reading.value.to_string());
            format!("not_woken: {field} is {known}, it did not {}{spent}", edge.crossing)
        }
        Source::Slot { slot, field, edge } => {
            let known = device
                .slots
                .get(slot)
                .and_then(|state| state.number(field.as_str()))
                .map_or("never reported".to_owned(), |x| x.to_string());
            format!("not_woken: {slot} {field} is {known}, it did not {}{spent}", edge.crossing)
        }
        Source::Event { r#type } => format!("not_woken: no event {type}"),
    }
}
