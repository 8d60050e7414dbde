//! What wakes a trigger: devices, field, crossing.

use super::super::check::World;
use super::super::definition::{Amount, DeviceFilter, OnDefinition, Scalar};
use super::super::nearest::suggestion;
use super::super::problem::NOT_SERVED_YET;
use super::super::quantity::parse_quantity;
use super::super::tree::Findings;
use super::super::{Crossing, EdgeRule, On, Source};
use crate::id::{FieldName, KindId, ModelId, SlotId};
use crate::model::{DeviceDescription, FieldType, SlotKind, SlotSchema, Unit, Value};
use std::collections::BTreeSet;

/// Share of a field's range by which a value must come back before an edge is ready again.
const REARM_SHARE: f64 = 0.02;

/// Fields of a slot that a trigger can watch.
const SLOT_FIELDS: [&str; 5] = ["used", "remaining", "capacity", "on_hand", "flag"];

/// Compiles `on`; the models that it is about come out also when the rest is faulty.
pub(super) fn compile<'a>(
    on: Option<&OnDefinition>,
    world: &World<'a>,
    findings: &mut Findings<'_>,
) -> (Option<On>, Vec<&'a DeviceDescription>) {
    let Some(on) = on else { return (None, Vec::new()) };
    let (kinds, model_ids, models) = devices(on.device.as_ref(), world, findings);
    if on.on_activate == Some(true) {
        let help = Some("leave it out: an edge fires on the next crossing".to_owned());
        findings.error(NOT_SERVED_YET, "/on/on_activate", "firing on existing values is not served yet", help);
    }
    let source = match on.event.as_deref() {
        Some("telemetry") => telemetry(on, &models, findings),
        Some("slot") => slot(on, &models, findings),
        Some("event") => event(on, findings),
        Some(other) => {
            let message = format!("waking on `{other}` is not served yet");
            let help = Some("write \"telemetry\", \"slot\" or \"event\"".to_owned());
            findings.error(NOT_SERVED_YET, "/on/event", message, help);
            None
        }
        None => None,
    };
    (source.map(|source| On { kinds, models: model_ids, source }), models)
}

fn devices<'a>(
    filter: Option<&DeviceFilter>,
    world: &World<'a>,
    findings: &mut Findings<'_>,
) -> (Vec<KindId>, Vec<ModelId>, Vec<&'a DeviceDescription>) {
    let all: Vec<&DeviceDescription> = world.models.values().map(|model| &model.description).collect();
    let (mut kinds, mut models) = (Vec::new(), Vec::new());
    let mut sound = true;
    for (pointer, name) in
        filter.and_then(|filter| filter.kind.as_ref()).map(|n| n.places("/on/device/kind")).unwrap_or_default()
    {
        if findings.blamed(&pointer) {
            sound = false;
        } else if all.iter().any(|model| model.kind.as_str() == name) {
            kinds.extend(KindId::new(name).ok());
        } else {
            let known: BTreeSet<&str> = all.iter().map(|model| model.kind.as_str()).collect();
            let message = format!("there is no device kind `{name}`");
            findings.error("trigger.unknown_kind", &pointer, message, suggestion(name, known));
            sound = false;
        }
    }
    for (pointer, name) in
        filter.and_then(|filter| filter.model.as_ref()).map(|n| n.places("/on/device/model")).unwrap_or_default()
    {
        match all.iter().find(|model| model.model.as_str() == name) {
            Some(model) if !kinds.is_empty() && !kinds.contains(&model.kind) => {
                let message = format!("model `{name}` is of kind `{}`, not of the kind asked for", model.kind);
                findings.error("trigger.value", &pointer, message, None);
                sound = false;
            }
            Some(model) => models.push(model.model.clone()),
            None if findings.blamed(&pointer) => sound = false,
            None => {
                let known = all.iter().map(|model| model.model.as_str()).collect::<Vec<_>>();
                let message = format!("there is no device model `{name}`");
                findings.error("trigger.unknown_model", &pointer, message, suggestion(name, known));
                sound = false;
            }
        }
    }
    let described: Vec<&DeviceDescription> = all
        .into_iter()
        .filter(|model| kinds.is_empty() || kinds.contains(&model.kind))
        .filter(|model| models.is_empty() || models.contains(&model.model))
        .collect();
    if described.is_empty() && sound {
        let help = Some("put a device model first".to_owned());
        findings.error("trigger.unknown_model", "/on/device", "there is no device model at all", help);
    }
    // A filter with an unknown name is not widened to every device: nothing more is checked by it.
    let described = if sound || !kinds.is_empty() || !models.is_empty() { described } else { Vec::new() };
    (kinds, models, described)
}

fn misplaced(present: bool, key: &str, why: &str, findings: &mut Findings<'_>) {
    if present {
        findings.key_error(
            "trigger.no_effect",
            &format!("/on/{key}"),
            format!("`{key}` has no place here: {why}"),
            None,
        );
    }
}
fn missing(key: &str, why: &str, findings: &mut Findings<'_>) {
    findings.key_error("trigger.missing_key", &format!("/on/{key}"), format!("`{key}` is missing: {why}"), None);
}

fn telemetry(on: &OnDefinition, models: &[&DeviceDescription], findings: &mut Findings<'_>) -> Option<Source> {
    misplaced(on.slot.is_some(), "slot", "telemetry has fields only", findings);
    misplaced(on.r#type.is_some(), "type", "only an event has a type", findings);
    let Some(field) = on.field.as_deref().and_then(|field| FieldName::new(field).ok()) else {
        missing("field", "which value is watched", findings);
        return None;
    };
    if models.is_empty() {
        return None;
    }
    let declared: Vec<_> =
        models.iter().filter_map(|model| Some((*model, &model.telemetry.get(&field)?.r#type))).collect();
    let Some((first, r#type)) = declared.first() else {
        let known: BTreeSet<&str> =
            models.iter().flat_map(|model| model.telemetry.keys()).map(|f| f.as_str()).collect();
        let message = format!("no model has a telemetry field `{field}`");
        findings.error("trigger.unknown_field", "/on/field", message, suggestion(field.as_str(), known));
        return None;
    };
    if let Some((other, _)) = declared.iter().find(|(_, other)| !same_form(r#type, other)) {
        let message = format!("models {} and {} declare `{field}` differently", first.model, other.model);
        let help = Some("narrow `on.device.model` to models that agree".to_owned());
        findings.error("trigger.type", "/on/field", message, help);
        return None;
    }
    for model in models.iter().filter(|model| !model.telemetry.contains_key(&field)) {
        let message = format!("model {} has no field `{field}`: it never wakes this trigger", model.model);
        findings.warning("trigger.no_effect", "/on/field", message, None);
    }
    let watched = match r#type {
        FieldType::Number { unit, min, max } => Watched::Number { unit: *unit, min: *min, max: *max, range: None },
        FieldType::Enum { values } => Watched::Words(values.clone()),
        FieldType::Bool => Watched::Bool,
        FieldType::Text => Watched::Text,
    };
    Some(Source::Telemetry { field, edge: edge(on, &watched, findings)? })
}

fn same_form(a: &FieldType, b: &FieldType) -> bool {
    match (a, b) {
        (FieldType::Number { unit: a, .. }, FieldType::Number { unit: b, .. }) => a == b,
        (FieldType::Enum { .. }, FieldType::Enum { .. })
        | (FieldType::Bool, FieldType::Bool)
        | (FieldType::Text, FieldType::Text) => true,
        _ => false,
    }
}

fn slot(on: &OnDefinition, models: &[&DeviceDescription], findings: &mut Findings<'_>) -> Option<Source> {
    misplaced(on.r#type.is_some(), "type", "only an event has a type", findings);
    let slot = on.slot.as_deref().and_then(|slot| SlotId::new(slot).ok());
    if on.slot.is_none() {
        missing("slot", "which slot is watched", findings);
    }
    let Some(field) = on.field.as_deref() else {
        missing("field", "`used`, `remaining`, `capacity`, `on_hand` or `flag`", findings);
        return None;
    };
    if !SLOT_FIELDS.contains(&field) {
        let message = format!("a slot has no field `{field}`");
        findings.error("trigger.unknown_field", "/on/field", message, suggestion(field, SLOT_FIELDS));
        return None;
    }
    let slot = slot?;
    if models.is_empty() {
        return None;
    }
    let declared: Vec<&SlotSchema> = models.iter().filter_map(|model| model.slots.get(&slot)).collect();
    let Some(schema) = declared.first() else {
        let known: BTreeSet<&str> = models.iter().flat_map(|model| model.slots.keys()).map(|s| s.as_str()).collect();
        let message = format!("no model has a slot `{slot}`");
        findings.error("trigger.unknown_slot", "/on/slot", message, suggestion(slot.as_str(), known));
        return None;
    };
    if declared.iter().any(|other| other.kind != schema.kind || other.unit != schema.unit) {
        let help = Some("narrow `on.device.model` to models that agree".to_owned());
        findings.error("trigger.type", "/on/slot", format!("the models declare `{slot}` differently"), help);
        return None;
    }
    let reported = match field {
        "used" => schema.kind == SlotKind::Usage,
        "remaining" | "capacity" => matches!(schema.kind, SlotKind::Usage | SlotKind::Level | SlotKind::Countdown),
        "flag" => schema.kind == SlotKind::Flag,
        _ => true,
    };
    if !reported {
        let message = format!("`{slot}` is of kind {} and never reports `{field}`", schema.kind.as_str());
        findings.error("trigger.unknown_field", "/on/field", message, None);
        return None;
    }
    let watched = match field {
        "flag" => Watched::Words(["ok", "low", "empty"].map(str::to_owned).to_vec()),
        "on_hand" => Watched::Number { unit: Some(Unit::Count), min: Some(0.0), max: None, range: None },
        _ => Watched::Number { unit: schema.unit, min: Some(0.0), max: None, range: schema.capacity },
    };
    let edge = edge(on, &watched, findings)?;
    Some(Source::Slot { slot, field: FieldName::new(field).ok()?, edge })
}

fn event(on: &OnDefinition, findings: &mut Findings<'_>) -> Option<Source> {
    const NO_EDGE: &str = "an event has no value that crosses anything";
    misplaced(on.slot.is_some(), "slot", NO_EDGE, findings);
    misplaced(on.field.is_some(), "field", NO_EDGE, findings);
    misplaced(on.falls_below.is_some(), "falls_below", NO_EDGE, findings);
    misplaced(on.rises_above.is_some(), "rises_above", NO_EDGE, findings);
    misplaced(on.becomes.is_some(), "becomes", NO_EDGE, findings);
    misplaced(on.rearm.is_some(), "rearm", NO_EDGE, findings);
    misplaced(on.on_first.is_some(), "on_first", NO_EDGE, findings);
    match on.r#type.as_deref() {
        Some(r#type) if !r#type.is_empty() => Some(Source::Event { r#type: r#type.to_owned() }),
        _ => {
            missing("type", "which event, such as `cycle_done`", findings);
            None
        }
    }
}

/// The values of what is watched.
enum Watched {
    Number {
        unit: Option<Unit>,
        min: Option<f64>,
        max: Option<f64>,
        /// Its range, where it is not from `min` to `max`.
        range: Option<f64>,
    },
    Words(Vec<String>),
    Bool,
    Text,
}

fn edge(on: &OnDefinition, watched: &Watched, findings: &mut Findings<'_>) -> Option<EdgeRule> {
    let crossings = [on.falls_below.is_some(), on.rises_above.is_some(), on.becomes.is_some()];
    if crossings.iter().filter(|present| **present).count() != 1 {
        let help = Some("write one of `falls_below`, `rises_above` and `becomes`".to_owned());
        let message = "this needs exactly one crossing";
        findings.error("trigger.crossing", "/on", message, help);
        return None;
    }
    let crossing = match (&on.falls_below, &on.rises_above, &on.becomes) {
        (Some(threshold), _, _) => level("falls_below", threshold, on.rearm.as_ref(), watched, findings)?,
        (_, Some(threshold), _) => level("rises_above", threshold, on.rearm.as_ref(), watched, findings)?,
        (_, _, Some(value)) => {
            misplaced(on.rearm.is_some(), "rearm", "`becomes` is ready again at any other value", findings);
            Crossing::Becomes(becomes(value, watched, findings)?)
        }
        (None, None, None) => return None,
    };
    Some(EdgeRule { crossing, on_first: on.on_first.unwrap_or(false) })
}

fn level(
    key: &str,
    threshold: &Amount,
    rearm: Option<&Amount>,
    watched: &Watched,
    findings: &mut Findings<'_>,
) -> Option<Crossing> {
    let pointer = format!("/on/{key}");
    let Watched::Number { unit, min, max, range } = watched else {
        let help = Some("write `becomes`".to_owned());
        findings.key_error("trigger.type", &pointer, format!("`{key}` needs a number, the field is none"), help);
        return None;
    };
    // Both are read before either can end this, so that both are told.
    let given_rearm = rearm.map(|rearm| amount(rearm, *unit, "/on/rearm", findings));
    let threshold = amount(threshold, *unit, &pointer, findings)?;
    let falls = key == "falls_below";
    let below_min = min.is_some_and(|min| if falls { threshold <= min } else { threshold < min });
    let above_max = max.is_some_and(|max| if falls { threshold > max } else { threshold >= max });
    if below_min || above_max {
        let range = format!("{} to {}", bound(*min), bound(*max));
        let help = Some(format!("the field lies within {range}"));
        findings.error("trigger.value", &pointer, "no value ever crosses this", help);
        return None;
    }
    let span = range.or_else(|| Some(max.as_ref()? - min.as_ref()?)).unwrap_or(threshold.abs());
    let rearm = match given_rearm {
        Some(rearm) => rearm?,
        None if falls => threshold + span * REARM_SHARE,
        None => threshold - span * REARM_SHARE,
    };
    if (falls && rearm < threshold) || (!falls && rearm > threshold) {
        let side = if falls { "at or above" } else { "at or below" };
        let message = format!("`rearm` must lie {side} the threshold, else it is ready while still beyond");
        findings.error("trigger.value", "/on/rearm", message, None);
        return None;
    }
    Some(if falls { Crossing::FallsBelow { threshold, rearm } } else { Crossing::RisesAbove { threshold, rearm } })
}

fn bound(bound: Option<f64>) -> String {
    bound.map_or("any".to_owned(), |bound| bound.to_string())
}

fn amount(amount: &Amount, unit: Option<Unit>, pointer: &str, findings: &mut Findings<'_>) -> Option<f64> {
    let text = match amount {
        Amount::Number(x) => return Some(*x),
        Amount::Text(text) => text,
    };
    let (number, given) = parse_quantity(text).ok()?;
    if given.is_some() && given != unit {
        let name = |unit: Option<Unit>| unit.map_or("a plain number".to_owned(), |unit| unit.to_string());
        let message = format!("the unit here is {}, not {}", name(unit), name(given));
        let help = Some(format!("write the amount in {}", name(unit)));
        findings.error("trigger.unit", pointer, message, help);
        return None;
    }
    Some(number)
}

fn becomes(value: &Scalar, watched: &Watched, findings: &mut Findings<'_>) -> Option<Value> {
    let wanted = match (watched, value) {
        (Watched::Words(words), Scalar::Text(text)) if words.contains(text) => return Some(value.to_value()),
        (Watched::Words(words), Scalar::Text(text)) => {
            let help = suggestion(text, words.iter().map(String::as_str));
            findings.error("trigger.value", "/on/becomes", format!("`{text}` is not among its values"), help);
            return None;
        }
        (Watched::Number { unit, .. }, Scalar::Text(text)) => {
            return amount(&Amount::Text(text.clone()), *unit, "/on/becomes", findings).map(Value::Number).or_else(
                || {
                    if parse_quantity(text).is_err() {
                        findings.error("trigger.type", "/on/becomes", "the field is a number, this is a text", None);
                    }
                    None
                },
            );
        }
        (Watched::Number { .. }, Scalar::Number(_))
        | (Watched::Bool, Scalar::Bool(_))
        | (Watched::Text, Scalar::Text(_)) => return Some(value.to_value()),
        (Watched::Number { .. }, Scalar::Bool(_)) => "a number",
        (Watched::Words(_) | Watched::Text, Scalar::Bool(_) | Scalar::Number(_)) => "a text",
        (Watched::Bool, Scalar::Text(_) | Scalar::Number(_)) => "true or false",
    };
    findings.error("trigger.type", "/on/becomes", format!("the field is {wanted}"), None);
    None
}
