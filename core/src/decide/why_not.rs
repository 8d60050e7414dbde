//! Why an input did not wake a trigger.

use super::draft::description;
use super::pipeline::{self, Cause, Wake};
use super::watched::value_of;
use crate::id::DeviceKey;
use crate::input::{Input, What};
use crate::model::{Device, EdgeState, Household};
use crate::rules::RuleSet;
use crate::time::Timestamp;
use crate::trace::{CandidateTrace, Step, StepTrace, StepVerdict, Verdict};
use crate::trigger::{Moment, Source, Trigger};
use crate::wire::DeviceMessage;

/// Every step for an input that did not wake the trigger, led by the reason why it did not.
pub(super) fn why_not(facts: &Household, input: &Input, rules: &RuleSet, trigger: &Trigger) -> CandidateTrace {
    let now = input.received_at;
    let device = input
        .device
        .as_ref()
        .filter(|key| facts.devices.contains_key(*key))
        .or_else(|| facts.devices.keys().find(|key| watches(facts, key, rules, trigger)))
        .or_else(|| facts.devices.keys().next());
    let mut steps = Vec::new();
    if let Some(key) = device {
        let event = match &input.what {
            What::Device(DeviceMessage::Event(event)) => Some(event),
            _ => None,
        };
        let wake = Wake { device: key, slot: trigger.on.slot(), event, at: now, cause: Cause::Edge };
        steps = pipeline::evaluate(facts, rules, trigger, &wake, input, now).steps;
    }
    let reason = not_woken(facts, device, rules, trigger, now);
    let at = steps.iter().position(|step| step.step == Step::Age).unwrap_or(0);
    steps.insert(
        at,
        StepTrace { step: Step::Age, verdict: StepVerdict::Block, reason: reason.into(), numbers: Vec::new() },
    );
    CandidateTrace {
        decision: pipeline::decision_id(facts, input, trigger, device),
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

fn not_woken(facts: &Household, key: Option<&DeviceKey>, rules: &RuleSet, trigger: &Trigger, now: Timestamp) -> String {
    let Some(device) = key.and_then(|key| facts.devices.get(key)) else {
        return "not_woken: the household has no device".to_owned();
    };
    if !key.is_some_and(|key| watches(facts, key, rules, trigger)) {
        return format!("not_woken: the trigger does not concern model `{}`", device.model);
    }
    format!("not_woken: {}{}", watched(device, trigger), standing(device, trigger, now))
}

/// What is watched, as it is.
fn watched(device: &Device, trigger: &Trigger) -> String {
    let never = || "never reported".to_owned();
    let edge = |what: String| {
        let known = value_of(device, &trigger.on).map(|value| value.to_string());
        let crossing = trigger.on.edge().map(|edge| edge.crossing.to_string()).unwrap_or_default();
        format!("{what} is {}, it did not {crossing}", known.unwrap_or_else(never))
    };
    match &trigger.on.source {
        Source::Telemetry { field, .. } => edge(field.to_string()),
        Source::Slot { slot, field, .. } => edge(format!("{slot} {field}")),
        Source::Presence { .. } => edge("presence".to_owned()),
        Source::Context { name, .. } => edge(name.to_string()),
        Source::Silence { field, after } => {
            let what = field.as_ref().map_or("telemetry".to_owned(), ToString::to_string);
            let last = match field {
                Some(field) => device.reported.get(field).map(|reading| reading.t),
                None => device.reported.values().map(|reading| reading.t).max(),
            };
            let last = last.map_or_else(never, |last| format!("last came at {last}"));
            format!("{what} {last}, it was not absent for {after} while the device is connected")
        }
        Source::Event { r#type, .. } => format!("no event {}", r#type),
        Source::Moment(Moment::Linked) => "the device was not linked just then".to_owned(),
        Source::Moment(Moment::Order(state)) => format!("no order came to `{}`", state.as_str()),
        Source::Schedule(hour) => format!("it was not {hour}"),
    }
}

/// Where its edge stands, as the end of the sentence.
fn standing(device: &Device, trigger: &Trigger, now: Timestamp) -> String {
    let Some(edge) = device.edges.get(&trigger.id) else { return String::new() };
    match &edge.state {
        EdgeState::Ready => String::new(),
        EdgeState::Armed => "; the edge is crossed and waits for its conditions".to_owned(),
        EdgeState::Spent => "; the edge was crossed before and is quiet until it comes back".to_owned(),
        EdgeState::Unsure => "; it seemed crossed after a silence, the next sample decides".to_owned(),
        EdgeState::Staying => {
            let stays = trigger.on.edge().and_then(|rule| rule.stays).unwrap_or_default();
            format!("; it is crossed since {}, for {} of {stays}", edge.since, now - edge.since)
        }
        EdgeState::Counting { times, .. } => {
            let wanted = trigger.on.count().map(|count| count.to_string()).unwrap_or_default();
            format!("; it happened {} times, it takes {wanted}", times.len())
        }
        EdgeState::Listening => edge.again_at.map(|at| format!("; looked at again at {at}")).unwrap_or_default(),
    }
}
