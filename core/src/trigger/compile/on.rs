//! What wakes a trigger: which devices, and what about them.

use super::super::check::World;
use super::super::condition::WEEKDAYS;
use super::super::definition::{Amount, DeviceFilter, OnDefinition};
use super::super::nearest::suggestion;
use super::super::problem::NOT_SERVED_YET;
use super::super::tree::Findings;
use super::super::{ForecastField, Hour, Moment, On, Source};
use super::edge::{Watched, count, edge, lasting};
use crate::id::{FieldName, KindId, ModelId, SlotId};
use crate::limits::HISTORY_AGE_MAX;
use crate::model::{DeviceDescription, FieldType, OrderState, SlotKind, SlotSchema, Unit};
use crate::time::{DailyWindow, Span};
use std::collections::BTreeSet;

/// The shortest stretch of a trend: its quarters are then of a minute.
const TREND_OVER_MIN: Span = Span::minutes(4);
/// The longest: as far back as a reading may reach.
const TREND_OVER_MAX: Span = HISTORY_AGE_MAX;

/// Fields of a slot that a trigger can watch.
const SLOT_FIELDS: [&str; 5] = ["used", "remaining", "capacity", "on_hand", "flag"];

/// What a forecast has.
const FORECAST_FIELDS: &str = "`order_by`, or `expected_empty.p50` with any percent from p1 to p99";
/// How much further ahead a forecast must be to be ready for the next time, where nothing is said.
const FORECAST_REARM: Span = Span::days(3);
/// How far ahead a forecast is looked at.
const FORECAST_AHEAD_MAX: Span = Span::days(365);

/// The keys of an edge.
macro_rules! edge_keys {
    ($($more:literal),*) => {
        &["falls_below", "rises_above", "becomes", "changes", "rearm", "on_first", "on_activate", "for", "count", "within", "broad", $($more),*]
    };
}

const NO_EDGE: &str = "an event has no value that crosses anything";
const NO_TYPE: &str = "only an event, a refill, a channel, a link and an order have a type";

/// What can wake a trigger, the keys that each takes beside `event` and `device`, and why no others.
const TAKEN: [(&str, &[&str], &str); 11] = [
    ("telemetry", edge_keys!("field", "absent_for", "trend_over"), "telemetry has fields only"),
    ("slot", edge_keys!("slot", "field"), "a slot has evidence only"),
    ("forecast", &["slot", "field", "falls_below", "rearm"], "a forecast comes nearer, and nothing else crosses"),
    ("refill", &["slot", "type"], "a refill has no value that crosses anything"),
    ("presence", edge_keys!(), "a device is there or not, nothing more"),
    ("context", edge_keys!("field"), "context has entries only, each named by `field`"),
    ("event", &["type", "count", "within"], NO_EDGE),
    ("channel", &["type"], "what another channel tells has no value that crosses anything"),
    ("link", &["type"], "a link has no value that crosses anything"),
    ("order", &["type"], "an order has no value that crosses anything"),
    ("schedule", &["at", "days"], "an hour comes, nothing crosses anything"),
];

/// Which keys are written.
fn present(on: &OnDefinition) -> [(&'static str, bool); 18] {
    [
        ("field", on.field.is_some()),
        ("slot", on.slot.is_some()),
        ("type", on.r#type.is_some()),
        ("falls_below", on.falls_below.is_some()),
        ("rises_above", on.rises_above.is_some()),
        ("becomes", on.becomes.is_some()),
        ("changes", on.changes.is_some()),
        ("rearm", on.rearm.is_some()),
        ("on_first", on.on_first.is_some()),
        ("on_activate", on.on_activate.is_some()),
        ("broad", on.broad.is_some()),
        ("trend_over", on.trend_over.is_some()),
        ("for", on.r#for.is_some()),
        ("absent_for", on.absent_for.is_some()),
        ("count", on.count.is_some()),
        ("within", on.within.is_some()),
        ("at", on.at.is_some()),
        ("days", on.days.is_some()),
    ]
}

/// Compiles `on`; the models that it is about come out also when the rest is faulty.
pub(super) fn compile<'a>(
    on: Option<&OnDefinition>,
    world: &World<'a>,
    findings: &mut Findings<'_>,
) -> (Option<On>, Vec<&'a DeviceDescription>) {
    let Some(on) = on else { return (None, Vec::new()) };
    let (kinds, model_ids, models) = devices(on.device.as_ref(), world, findings);
    if let Some((_, takes, why)) = TAKEN.iter().find(|(event, _, _)| Some(*event) == on.event.as_deref()) {
        for (key, present) in present(on) {
            misplaced(present && !takes.contains(&key), key, if key == "type" { NO_TYPE } else { why }, findings);
        }
    }
    let source = match on.event.as_deref() {
        Some("telemetry") if on.absent_for.is_some() => silence(on, &models, findings),
        Some("telemetry") => telemetry(on, &models, findings),
        Some("slot") => slot(on, &models, findings),
        Some("forecast") => forecast(on, &models, findings),
        Some("refill") => refill(on, &models, findings),
        Some("presence") => presence(on, findings),
        Some("context") => context(on, findings),
        Some("event") => event(on, findings),
        Some("link") => link(on, findings),
        Some("order") => order(on, findings),
        Some("schedule") => schedule(on, findings),
        Some("channel") => channel(on, findings),
        Some(other) => {
            let message = format!("waking on `{other}` is not served yet");
            let help = TAKEN.iter().map(|(event, _, _)| *event).collect::<Vec<_>>().join(", ");
            findings.error(NOT_SERVED_YET, "/on/event", message, Some(format!("write one of {help}")));
            None
        }
        None => None,
    };
    (source.map(|source| On { kinds, models: model_ids, source, on_activate: on.on_activate == Some(true) }), models)
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

pub(super) fn misplaced(present: bool, key: &str, why: &str, findings: &mut Findings<'_>) {
    if present {
        findings.key_error(
            "trigger.no_effect",
            &format!("/on/{key}"),
            format!("`{key}` has no place here: {why}"),
            None,
        );
    }
}
pub(super) fn missing(key: &str, why: &str, findings: &mut Findings<'_>) {
    findings.key_error("trigger.missing_key", &format!("/on/{key}"), format!("`{key}` is missing: {why}"), None);
}

fn telemetry(on: &OnDefinition, models: &[&DeviceDescription], findings: &mut Findings<'_>) -> Option<Source> {
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
    if let Some(over) = on.trend_over.as_deref() {
        return trend(on, over, field, r#type, findings);
    }
    let watched = match r#type {
        FieldType::Number { unit, min, max } => Watched::Number { unit: *unit, min: *min, max: *max, range: None },
        FieldType::Enum { values } => Watched::Words(values.clone()),
        FieldType::Bool => Watched::Bool,
        FieldType::Text => Watched::Text,
    };
    Some(Source::Telemetry { field, edge: edge(on, &watched, findings)? })
}

/// How fast a number rises or falls.
fn trend(
    on: &OnDefinition,
    over: &str,
    field: FieldName,
    r#type: &FieldType,
    findings: &mut Findings<'_>,
) -> Option<Source> {
    let FieldType::Number { unit, .. } = r#type else {
        let message = "only a number rises and falls, the field is none";
        findings.key_error("trigger.type", "/on/trend_over", message, Some("leave it out".to_owned()));
        return None;
    };
    for (key, present) in [("becomes", on.becomes.is_some()), ("changes", on.changes.is_some())] {
        misplaced(present, key, "a trend falls below or rises above a threshold", findings);
    }
    let over = lasting(over, "/on/trend_over", findings)?;
    if !(TREND_OVER_MIN..=TREND_OVER_MAX).contains(&over) {
        let message = format!("a trend is taken over {TREND_OVER_MIN} to {TREND_OVER_MAX}");
        findings.error("trigger.value", "/on/trend_over", message, None);
        return None;
    }
    Some(Source::Trend { field, over, edge: edge(on, &Watched::Rate { unit: *unit }, findings)? })
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

/// The forecast of a slot comes nearer than `falls_below`.
fn forecast(on: &OnDefinition, models: &[&DeviceDescription], findings: &mut Findings<'_>) -> Option<Source> {
    let slot = on.slot.as_deref().and_then(|slot| SlotId::new(slot).ok());
    if on.slot.is_none() {
        missing("slot", "of which slot", findings);
    }
    let field = match on.field.as_deref() {
        None => {
            missing("field", FORECAST_FIELDS, findings);
            None
        }
        Some(written) => {
            let field = ForecastField::parse(written);
            if field.is_none() {
                let message = format!("a forecast has no `{written}`");
                findings.error("trigger.unknown_field", "/on/field", message, Some(FORECAST_FIELDS.to_owned()));
            }
            field
        }
    };
    let ahead = match (&on.falls_below, field) {
        (Some(amount), _) => ahead(amount, "/on/falls_below", findings)?,
        (None, Some(ForecastField::OrderBy)) => Span::ZERO,
        (None, Some(ForecastField::ExpectedEmpty(_))) => {
            missing("falls_below", "how long before, such as `7 d`", findings);
            return None;
        }
        (None, None) => return None,
    };
    let rearm = match &on.rearm {
        None => Span(ahead.0 + FORECAST_REARM.0),
        Some(amount) => ahead_of(amount, ahead, findings)?,
    };
    let (slot, field) = (has_slot(slot?, models, findings)?, field?);
    Some(Source::Forecast { slot, field, ahead, rearm })
}

/// A slot that a model has.
fn has_slot(slot: SlotId, models: &[&DeviceDescription], findings: &mut Findings<'_>) -> Option<SlotId> {
    if models.is_empty() || models.iter().any(|model| model.slots.contains_key(&slot)) {
        return Some(slot);
    }
    let known: BTreeSet<&str> = models.iter().flat_map(|model| model.slots.keys()).map(|s| s.as_str()).collect();
    let message = format!("no model has a slot `{slot}`");
    findings.error("trigger.unknown_slot", "/on/slot", message, suggestion(slot.as_str(), known));
    None
}

/// A fresh one in a slot: any, or only what came neither from the shelf nor from a parcel under way.
fn refill(on: &OnDefinition, models: &[&DeviceDescription], findings: &mut Findings<'_>) -> Option<Source> {
    let slot = on.slot.as_deref().and_then(|slot| SlotId::new(slot).ok());
    if on.slot.is_none() {
        missing("slot", "of which slot", findings);
    }
    let elsewhere = match on.r#type.as_deref() {
        None | Some("any") => false,
        Some("elsewhere") => true,
        Some(other) => {
            let help = suggestion(other, ["any", "elsewhere"]).or(Some("write `any` or `elsewhere`".to_owned()));
            findings.error("trigger.value", "/on/type", format!("a refill is never `{other}`"), help);
            return None;
        }
    };
    Some(Source::Refill { slot: has_slot(slot?, models, findings)?, elsewhere })
}

/// A length of time before an instant: in days where it is a bare number.
fn ahead(amount: &Amount, pointer: &str, findings: &mut Findings<'_>) -> Option<Span> {
    let span = match amount {
        Amount::Number(days) => Some(Span((days * 86_400_000.0) as i64)),
        Amount::Text(text) => Span::parse(text).ok(),
    };
    let span = span.filter(|span| (Span::ZERO..=FORECAST_AHEAD_MAX).contains(span));
    if span.is_none() {
        let message = format!("a length of time up to {FORECAST_AHEAD_MAX}");
        findings.error("trigger.value", pointer, message, Some("write it as `7 d`".to_owned()));
    }
    span
}

fn ahead_of(amount: &Amount, threshold: Span, findings: &mut Findings<'_>) -> Option<Span> {
    let rearm = ahead(amount, "/on/rearm", findings)?;
    if rearm <= threshold {
        let message = format!("it is ready again further ahead than {threshold}, not at {rearm}");
        findings.error("trigger.value", "/on/rearm", message, None);
        return None;
    }
    Some(rearm)
}

/// Silence of a field, or of all telemetry, while the device is connected.
fn silence(on: &OnDefinition, models: &[&DeviceDescription], findings: &mut Findings<'_>) -> Option<Source> {
    const ALONE: &str = "silence crosses nothing, it lasts";
    for (key, present) in present(on) {
        // What has no place with telemetry at all was told.
        let is_of_edge = !["field", "absent_for", "slot", "type", "at", "days"].contains(&key);
        misplaced(present && is_of_edge, key, ALONE, findings);
    }
    let after = lasting(on.absent_for.as_deref()?, "/on/absent_for", findings)?;
    let Some(name) = on.field.as_deref() else { return Some(Source::Silence { field: None, after }) };
    let field = FieldName::new(name).ok()?;
    if !models.is_empty() && !models.iter().any(|model| model.telemetry.contains_key(&field)) {
        findings.error(
            "trigger.unknown_field",
            "/on/field",
            format!("no model has a telemetry field `{field}`"),
            suggestion(name, models.iter().flat_map(|model| model.telemetry.keys()).map(|f| f.as_str())),
        );
        return None;
    }
    Some(Source::Silence { field: Some(field), after })
}

fn presence(on: &OnDefinition, findings: &mut Findings<'_>) -> Option<Source> {
    let words = ["online", "sleeping", "lost", "offline"].map(str::to_owned).to_vec();
    Some(Source::Presence { edge: edge(on, &Watched::Words(words), findings)? })
}

/// An entry of context: whoever says it, says of which form it is.
fn context(on: &OnDefinition, findings: &mut Findings<'_>) -> Option<Source> {
    let Some(name) = on.field.as_deref().and_then(|field| FieldName::new(field).ok()) else {
        missing("field", "which entry of context is watched, such as `presence`", findings);
        return None;
    };
    Some(Source::Context { name, edge: edge(on, &Watched::Any, findings)? })
}

fn event(on: &OnDefinition, findings: &mut Findings<'_>) -> Option<Source> {
    let count = count(on, findings);
    match on.r#type.as_deref() {
        Some(r#type) if !r#type.is_empty() => Some(Source::Event { r#type: r#type.to_owned(), count: count? }),
        _ => {
            missing("type", "which event, such as `cycle_done`", findings);
            None
        }
    }
}

/// What another channel's system tells: any type, so that a shop can tell what it likes.
fn channel(on: &OnDefinition, findings: &mut Findings<'_>) -> Option<Source> {
    let Some(r#type) = on.r#type.as_deref() else {
        missing("type", "what happened there, such as `store.visit`", findings);
        return None;
    };
    if let Err(wrong) = FieldName::new(r#type) {
        findings.error("trigger.value", "/on/type", wrong.to_string(), Some("such as `store.visit`".to_owned()));
        return None;
    }
    Some(Source::Channel { r#type: r#type.to_owned() })
}

fn link(on: &OnDefinition, findings: &mut Findings<'_>) -> Option<Source> {
    match on.r#type.as_deref() {
        Some("linked") => Some(Source::Moment(Moment::Linked)),
        Some(other) => {
            let help = Some("write \"linked\"; whoever gave a device away is not spoken to any more".to_owned());
            findings.error("trigger.value", "/on/type", format!("a link is never `{other}`"), help);
            None
        }
        None => {
            missing("type", "write `linked`", findings);
            None
        }
    }
}

fn order(on: &OnDefinition, findings: &mut Findings<'_>) -> Option<Source> {
    let Some(name) = on.r#type.as_deref() else {
        missing("type", "the state of the order, such as `delivered`", findings);
        return None;
    };
    let Some(state) = OrderState::parse(name) else {
        let help = suggestion(name, OrderState::ALL.iter().map(|state| state.as_str()));
        findings.error("trigger.value", "/on/type", format!("an order is never `{name}`"), help);
        return None;
    };
    Some(Source::Moment(Moment::Order(state)))
}

fn schedule(on: &OnDefinition, findings: &mut Findings<'_>) -> Option<Source> {
    let Some(minute) = on.at.as_deref().and_then(|at| DailyWindow::parse(at, at).ok()).map(|window| window.from_minute)
    else {
        if !findings.blamed("/on/at") {
            missing("at", "the home's local time, such as `18:30`", findings);
        }
        return None;
    };
    let at = jiff::civil::time((minute / 60) as i8, (minute % 60) as i8, 0, 0);
    if on.days.as_ref().is_some_and(Vec::is_empty) {
        let help = Some("leave `days` out for every day".to_owned());
        findings.error("trigger.value", "/on/days", "with no day the hour never comes", help);
    }
    let place = |day: &String| WEEKDAYS.iter().position(|known| known == day);
    let day = |place: usize| jiff::civil::Weekday::from_monday_zero_offset(place as i8).ok();
    let days = on.days.iter().flatten().filter_map(place).filter_map(day).collect();
    Some(Source::Schedule(Hour { at, days }))
}
