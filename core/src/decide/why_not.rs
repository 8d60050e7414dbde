//! Why an input did not wake a trigger.

use super::draft::description;
use super::pipeline::{self, Cause, Wake};
use super::said::text;
use super::watched::value_of;
use crate::budget::Purse;
use crate::id::DeviceKey;
use crate::input::{Input, What};
use crate::model::{Device, EdgeState, Household, Value};
use crate::rules::RuleSet;
use crate::time::Timestamp;
use crate::trace::{CandidateTrace, Fact, Phrase, Step, StepTrace, StepVerdict, Verdict};
use crate::trigger::{Crossing, Moment, Source, Trigger};
use crate::wire::DeviceMessage;

/// Every step for an input that did not wake the trigger, led by the reason why it did not.
pub(super) fn why_not(
    facts: &Household,
    input: &Input,
    rules: &RuleSet,
    trigger: &Trigger,
    purse: &dyn Purse,
) -> CandidateTrace {
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
        steps = pipeline::evaluate(facts, rules, trigger, &wake, input, now, purse).steps;
    }
    let (reason, numbers) = not_woken(facts, device, rules, trigger, now);
    let age = StepTrace { step: Step::Age, verdict: StepVerdict::Block, reason: reason.into(), numbers };
    match steps.iter_mut().find(|step| step.step == Step::Age) {
        Some(step) => *step = age,
        None => steps.insert(0, age),
    }
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

/// A reason, and what it names as numbers, for other languages.
type Told = (String, Vec<(Phrase, Fact)>);

fn not_woken(facts: &Household, key: Option<&DeviceKey>, rules: &RuleSet, trigger: &Trigger, now: Timestamp) -> Told {
    let Some(device) = key.and_then(|key| facts.devices.get(key)) else {
        return ("not_woken: the household has no device".to_owned(), Vec::new());
    };
    if !key.is_some_and(|key| watches(facts, key, rules, trigger)) {
        return (format!("not_woken: the trigger does not concern model `{}`", device.model), Vec::new());
    }
    let (what, numbers) = match edge_value(facts, device, trigger) {
        Some((what, known)) => on_edge(device, trigger, what, known),
        None => (other_source(device, trigger), Vec::new()),
    };
    (format!("not_woken: {what}{}", standing(device, trigger, now)), numbers)
}

/// What an edge watches, and its value as last reported.
fn edge_value(home: &Household, device: &Device, trigger: &Trigger) -> Option<(String, Option<Value>)> {
    let what = match &trigger.on.source {
        Source::Telemetry { field, .. } => field.to_string(),
        Source::Trend { field, over, .. } => format!("{field}/h ({over})"),
        Source::Slot { slot, field, .. } => format!("{slot} {field}"),
        Source::Presence { .. } => "presence".to_owned(),
        Source::Context { name, .. } => name.to_string(),
        Source::Silence { .. }
        | Source::Event { .. }
        | Source::Moment(_)
        | Source::Schedule(_)
        | Source::Forecast { .. }
        | Source::Channel { .. }
        | Source::Refill { .. } => return None,
    };
    Some((what, value_of(home, device, &trigger.on)))
}

/// Where the watched value is, and what it did not do.
fn on_edge(device: &Device, trigger: &Trigger, what: String, known: Option<Value>) -> Told {
    let Some(crossing) = trigger.on.edge().map(|edge| &edge.crossing) else { return (what, Vec::new()) };
    let shown = known.as_ref().map(Value::to_string);
    let mut numbers = vec![text("what", what.clone())];
    numbers.extend(shown.clone().map(|shown| text("known", shown)));
    let unknown = if matches!(trigger.on.source, Source::Trend { .. }) { "not known yet" } else { "never reported" };
    let is = format!("{what} is {}", shown.as_deref().unwrap_or(unknown));
    let is_beyond = *crossing != Crossing::Changes && known.is_some_and(|value| crossing.beyond(&value));
    let state = device.edges.get(&trigger.id).map(|edge| &edge.state);
    // Where it was crossed and something else is waited for, that is told alone.
    if is_beyond && matches!(state, Some(EdgeState::Armed | EdgeState::Staying | EdgeState::Unsure)) {
        return (is, numbers);
    }
    let (name, value) = match crossing {
        Crossing::FallsBelow { threshold, .. } => ("falls_below", threshold.to_string()),
        Crossing::RisesAbove { threshold, .. } => ("rises_above", threshold.to_string()),
        Crossing::Becomes(value) => ("becomes", value.to_string()),
        Crossing::Changes => ("changes", "true".to_owned()),
    };
    if is_beyond {
        numbers.push(text("beyond", value));
        return (format!("{is} already: it must come back before it can {crossing}"), numbers);
    }
    numbers.push(text(name, value));
    (format!("{is}, it did not {crossing}"), numbers)
}

/// What is waited for that is no edge of a value, as it is.
fn other_source(device: &Device, trigger: &Trigger) -> String {
    match &trigger.on.source {
        Source::Telemetry { .. }
        | Source::Trend { .. }
        | Source::Slot { .. }
        | Source::Presence { .. }
        | Source::Context { .. } => String::new(),
        Source::Silence { field, after } => {
            let what = field.as_ref().map_or("telemetry".to_owned(), ToString::to_string);
            let last = match field {
                Some(field) => device.reported.get(field).map(|reading| reading.t),
                None => device.reported.values().map(|reading| reading.t).max(),
            };
            let last = last.map_or_else(|| "never reported".to_owned(), |last| format!("last came at {last}"));
            format!("{what} {last}, it was not absent for {after} while the device is connected")
        }
        Source::Event { r#type, .. } => format!("no event {}", r#type),
        Source::Moment(Moment::Linked) => "the device was not linked just then".to_owned(),
        Source::Moment(Moment::Order(state)) => format!("no order came to `{}`", state.as_str()),
        Source::Schedule(hour) => format!("it was not {hour}"),
        Source::Forecast { slot, field, ahead, .. } => format!("the forecast {field} of {slot} is not within {ahead}"),
        Source::Channel { r#type } => format!("nothing of the type {} was told of another channel", r#type),
        Source::Refill { slot, elsewhere: false } => format!("no fresh one was inserted into {slot}"),
        Source::Refill { slot, elsewhere: true } => format!("no fresh one from elsewhere was inserted into {slot}"),
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
