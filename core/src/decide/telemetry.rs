//! Readings and slot evidence: what is newer is kept, what crosses an edge wakes triggers.

use super::draft::{Draft, description};
use super::edge::Seen;
use super::event_time::{event_time, is_older};
use super::{Answered, Refusal, deadline, forecast, supply, trend, wake};
use crate::code::Code;
use crate::decision::{Change, Reply};
use crate::id::{DeviceKey, FieldName};
use crate::model::{DeviceDescription, Evidence, FieldType, Reading, SlotKind, SlotState, Value};
use crate::time::{Span, Timestamp};
use crate::trigger::Watched;
use crate::wire::{Sample, SlotUp, StateUp};

pub(super) fn samples(draft: &mut Draft<'_>, key: &DeviceKey, samples: &[Sample]) -> Answered {
    let Some(device) = draft.before().devices.get(key) else { return Ok(Reply::Unchanged) };
    let Some(can) = description(device, draft.rules) else { return Err(no_model(&device.model)) };
    check_values(samples.iter().map(|sample| sample.fields.as_slice()), can)?;
    // A batch is replayed in the order in which it happened, whatever the order it was sent in.
    let mut timed: Vec<(Timestamp, &Sample)> = samples
        .iter()
        .map(|sample| (event_time(device, &draft.input.sender, sample.t, draft.now).at, sample))
        .collect();
    if timed.len() > 1 {
        timed.sort_by_key(|(at, _)| *at);
    }
    let mut late = 0;
    for (at, sample) in timed {
        for (field, value) in sample.fields.iter().filter(|(field, _)| can.telemetry.contains_key(field)) {
            let max_age = can.telemetry.get(field).and_then(|schema| schema.max_age);
            late += usize::from(!report(draft, key, (field, value), at, max_age, samples.len() > 1));
        }
    }
    if late > 0 {
        draft.note(format!("{late} older values: history, no edge"));
    }
    let heard = |field: &FieldName| samples.iter().any(|sample| sample.fields.iter().any(|(name, _)| name == field));
    deadline::heard(draft, key, heard);
    Ok(Reply::Done)
}

pub(super) fn state(draft: &mut Draft<'_>, key: &DeviceKey, said: &StateUp) -> Answered {
    let sample = Sample { t: None, fields: said.reported.clone() };
    samples(draft, key, std::slice::from_ref(&sample))
}

/// Keeps a value if it is the newest of its field, and wakes what its edge wakes. `false` when it
/// is older than what is known.
fn report(
    draft: &mut Draft<'_>,
    key: &DeviceKey,
    (field, value): (&FieldName, &Value),
    at: Timestamp,
    max_age: Option<Span>,
    batch: bool,
) -> bool {
    // Within a batch the previous value may be of this very message.
    let device = if batch { draft.device(key) } else { draft.before().devices.get(key).map(|device| &**device) };
    let previous = device.and_then(|device| device.reported.get(field)).cloned();
    if previous.as_ref().is_some_and(|previous| is_older(at, previous.t, draft.now)) {
        return false;
    }
    let reading = Reading { value: value.clone(), t: at };
    draft.change(Change::Reported { device: key.clone(), field: field.clone(), reading });
    let seen = Seen {
        previous: previous.as_ref().map(|reading| (&reading.value, reading.t)),
        value,
        at,
        fresh_until: previous.as_ref().and_then(|reading| Some(reading.t + max_age?)),
    };
    wake::by_edge(draft, key, Watched::Telemetry(field), seen);
    if let Value::Number(number) = value
        && draft.rules.triggers.follows_trends()
    {
        trend::follow(draft, key, field, *number, at, max_age);
    }
    true
}

fn check_values<'s>(
    samples: impl Iterator<Item = &'s [(FieldName, Value)]>,
    can: &DeviceDescription,
) -> Result<(), Refusal> {
    let mut known = 0usize;
    let mut unknown = None;
    for (i, fields) in samples.enumerate() {
        for (field, value) in fields {
            let Some(schema) = can.telemetry.get(field) else {
                unknown.get_or_insert((i, field.clone()));
                continue;
            };
            known += 1;
            if let Err(wrong) = fits(value, &schema.r#type) {
                let message = format!("`{field}` {wrong}");
                return Err(Refusal::new(Code::PayloadInvalid, message).at(format!("/body/samples/{i}/f/{field}")));
            }
        }
    }
    match unknown {
        // A field more than the model declares is tolerated, as any unknown key is; a message with
        // nothing in it that we know is a mistake that its sender should hear of.
        Some((i, field)) if known == 0 => {
            let declared: Vec<&str> = can.telemetry.keys().map(FieldName::as_str).collect();
            let message =
                format!("model `{}` declares no telemetry field `{field}`; it has {}", can.model, declared.join(", "));
            Err(Refusal::new(Code::FieldUnknown, message).at(format!("/body/samples/{i}/f/{field}")))
        }
        _ => Ok(()),
    }
}

fn fits(value: &Value, r#type: &FieldType) -> Result<(), String> {
    match (r#type, value) {
        (FieldType::Number { min, max, .. }, Value::Number(x)) => {
            if min.is_some_and(|min| *x < min) || max.is_some_and(|max| *x > max) {
                let bound = |bound: &Option<f64>| bound.map_or_else(|| "…".to_owned(), |bound| bound.to_string());
                return Err(format!("is {x}, outside the declared range {} to {}", bound(min), bound(max)));
            }
            Ok(())
        }
        (FieldType::Enum { values }, Value::Text(word)) if values.iter().any(|known| **known == **word) => Ok(()),
        (FieldType::Enum { values }, Value::Text(word)) => {
            Err(format!("is `{word}`; the model declares {}", values.join(", ")))
        }
        (FieldType::Bool, Value::Bool(_)) | (FieldType::Text, Value::Text(_)) => Ok(()),
        (wanted, _) => Err(format!("must be {}", type_name(wanted))),
    }
}

/// A field's type in words.
pub(super) fn type_name(r#type: &FieldType) -> String {
    match r#type {
        FieldType::Number { unit: Some(unit), .. } => format!("a number in {unit}"),
        FieldType::Number { unit: None, .. } => "a number".to_owned(),
        FieldType::Enum { values } => format!("one of {}", values.join(", ")),
        FieldType::Bool => "true or false".to_owned(),
        FieldType::Text => "a text".to_owned(),
    }
}

fn no_model(model: &crate::id::ModelId) -> Refusal {
    let message = format!("no model `{model}` is defined and the device has not described itself; publish `desc`");
    Refusal::new(Code::DescInvalid, message)
}

/// How much above its capacity a slot may be said to hold: a heaped hopper, a sensor's noise.
const OVERFULL_MAX: f64 = 1.1;

pub(super) fn slot(draft: &mut Draft<'_>, key: &DeviceKey, said: &SlotUp) -> Answered {
    let Some(device) = draft.before().devices.get(key) else { return Ok(Reply::Unchanged) };
    let Some(can) = description(device, draft.rules) else { return Err(no_model(&device.model)) };
    let Some(schema) = can.slots.get(&said.slot) else {
        let slots: Vec<&str> = can.slots.keys().map(|slot| slot.as_str()).collect();
        let message = format!("this device has no slot `{}`; it has {}", said.slot, slots.join(", "));
        return Err(Refusal::new(Code::SlotUnknown, message).at("/body/slot"));
    };
    let kind = kind_of(&said.evidence);
    if kind != schema.kind {
        let message =
            format!("slot `{}` is measured as `{}`, not `{}`", said.slot, schema.kind.as_str(), kind.as_str());
        return Err(Refusal::new(Code::PayloadInvalid, message).at("/body/kind"));
    }
    if let (Some(said_unit), Some(unit)) = (said.unit, schema.unit)
        && said_unit != unit
    {
        let message = format!("slot `{}` is measured in {unit}, not {said_unit}", said.slot);
        return Err(Refusal::new(Code::UnitMismatch, message).at("/body/unit"));
    }
    let capacity = said.capacity.or(schema.capacity);
    if let (Evidence::Level { remaining } | Evidence::Countdown { remaining }, Some(capacity)) =
        (&said.evidence, capacity)
        && *remaining > capacity * OVERFULL_MAX
    {
        let unit = schema.unit.map_or(String::new(), |unit| format!(" {unit}"));
        let message = format!(
            "slot `{}` holds {capacity}{unit}, and {remaining}{unit} is more; check the unit, or send `capacity`",
            said.slot
        );
        return Err(Refusal::new(Code::PayloadInvalid, message).at("/body/remaining"));
    }
    let at = event_time(device, &draft.input.sender, said.t, draft.now).at;
    let previous = device.slots.get(&said.slot);
    if previous.is_some_and(|previous| is_older(at, previous.t, draft.now)) {
        draft.note(format!("slot {}: older evidence: history, no edge", said.slot));
        return Ok(Reply::Done);
    }
    let state = SlotState {
        evidence: said.evidence.clone(),
        capacity,
        unit: schema.unit,
        t: at,
        changed_at: said.changed_at.or(previous.and_then(|previous| previous.changed_at)),
        on_hand: said.on_hand.or(previous.and_then(|previous| previous.on_hand)),
    };
    let learned = forecast::reported(draft, key, &said.slot, previous, &state);
    let verdict = learned.verdict.map_or(String::new(), |verdict| format!("; {verdict}"));
    let before = previous.map_or("unknown".to_owned(), in_words);
    draft.note(format!("slot {}: {before} → {}{verdict}", said.slot, in_words(&state)));
    if learned.is_held {
        return Ok(Reply::Done);
    }
    draft.change(Change::SlotSet { device: key.clone(), slot: said.slot.clone(), state: Box::new(state.clone()) });
    match (said.on_hand, state.on_hand) {
        (Some(spares), _) => supply::counted_by_device(draft, key, &said.slot, spares),
        (None, Some(spares)) => supply::counted_before(draft, key, &said.slot, spares),
        (None, None) => {}
    }
    wake::by_slot(draft, key, &said.slot, previous, &state, at);
    forecast::look(draft, key, &said.slot, at);
    Ok(Reply::Done)
}

/// The kind of slot that a piece of evidence speaks of.
fn kind_of(evidence: &Evidence) -> SlotKind {
    match evidence {
        Evidence::Usage { .. } => SlotKind::Usage,
        Evidence::Level { .. } => SlotKind::Level,
        Evidence::Countdown { .. } => SlotKind::Countdown,
        Evidence::Flag { .. } => SlotKind::Flag,
        Evidence::Life { .. } => SlotKind::Life,
    }
}

/// A slot's state in a few words, such as `used 612 h`.
fn in_words(state: &SlotState) -> String {
    let unit = state.unit.map_or(String::new(), |unit| format!(" {unit}"));
    match &state.evidence {
        Evidence::Usage { used } => format!("used {used}{unit}"),
        Evidence::Level { remaining } | Evidence::Countdown { remaining } => format!("remaining {remaining}{unit}"),
        Evidence::Flag { flag } => flag.clone(),
        Evidence::Life { ends } => format!("ends {ends}"),
    }
}
