//! What a device or its model can do: the body of `desc` and of `PUT /v1/models`, read and written.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, json};

use super::fields::{Fields, Within, count, invalid, number, positive, some, text, word, wrong};
use super::measured::{KINDS, unit_unknown};
use super::read::{Json, place};
use crate::code::{Code, Refusal};
use crate::id::{FieldName, KindId, ModelId, PlacementId, SlotId};
use crate::limits::{FIELDS_MAX, PLACEMENTS_MAX, SLOTS_MAX};
use crate::model::{DeviceDescription, FieldSchema, FieldType, Placement, SlotKind, SlotSchema, Unit};
use crate::time::Span;

/// Words of one enumeration field.
const ENUM_VALUES_MAX: usize = 64;
/// Languages, confirmations or buttons of one device: more than any panel has.
const WORDS_MAX: usize = 32;
/// The longest a reading may be declared fresh.
const MAX_AGE_MAX: Span = Span::days(366);

/// Reads a self-description from JSON, as it stands in `desc` or in `PUT /v1/models`. `model` is the
/// one that the caller knows already (from the path); without it the JSON must name it.
/// Unknown fields are accepted. Pointers are relative to `value`.
pub fn read_description(value: &serde_json::Value, model: Option<ModelId>) -> Result<DeviceDescription, Refusal> {
    read(Fields::of(&Json::from(value), "a description")?, model)
}

/// The same from the wire's own tree.
pub(super) fn read(body: Fields<'_>, model: Option<ModelId>) -> Result<DeviceDescription, Refusal> {
    let model = match model {
        Some(model) => model,
        None => body.need_name("model", ModelId::new, "the model's name such as `th-200`")?,
    };
    Ok(DeviceDescription {
        model,
        kind: body.need_name("kind", KindId::new, "the kind of device such as `thermostat`")?,
        telemetry: telemetry(body)?,
        slots: slots(body)?,
        placements: placements(body)?,
        locales: words(body, "locales", "language tags such as `fr-FR`", is_locale)?,
        confirm: words(body, "confirm", "ways to confirm such as `press2s`", |_| true)?,
        buttons: words(body, "buttons", "buttons such as `ok`", |_| true)?,
    })
}

/// A contradiction in a description, in the right shape otherwise.
fn contradiction(message: impl Into<String>) -> Refusal {
    Refusal::new(Code::DescInvalid, message)
}

/// Refuses more entries than a device may declare.
fn check_length(key: &str, given: usize, max: usize) -> Result<(), Refusal> {
    if given <= max {
        return Ok(());
    }
    Err(contradiction(format!("`{key}` declares {given} entries, the limit is {max}")).at(place(key)))
}

fn telemetry(body: Fields<'_>) -> Result<BTreeMap<FieldName, FieldSchema>, Refusal> {
    let Some(fields) = body.may_object("telemetry")? else { return Ok(BTreeMap::new()) };
    check_length("telemetry", fields.0.len(), FIELDS_MAX)?;
    let mut telemetry = BTreeMap::new();
    for (name, json) in fields.0 {
        let at = format!("/telemetry{}", place(name));
        let field = FieldName::new(name).map_err(|error| invalid(error.to_string()).at(&at))?;
        telemetry.insert(field, field_schema(json).within(&at)?);
    }
    Ok(telemetry)
}

fn field_schema(json: &Json<'_>) -> Result<FieldSchema, Refusal> {
    #[derive(Clone, Copy)]
    enum Type {
        Number,
        Enum,
        Bool,
        Text,
    }
    let body = Fields::of(json, "a telemetry field")?;
    let types = [
        ("number", Type::Number),
        ("enum", Type::Enum),
        ("bool", Type::Bool),
        ("text", Type::Text),
        ("boolean", Type::Bool),
        ("string", Type::Text),
    ];
    let r#type = match body.need_word("type", &types)? {
        Type::Bool => FieldType::Bool,
        Type::Text => FieldType::Text,
        Type::Enum => FieldType::Enum { values: enum_values(body)? },
        Type::Number => {
            let (min, max) = (body.may("min", number, "a number")?, body.may("max", number, "a number")?);
            if let (Some(min), Some(max)) = (min, max)
                && min > max
            {
                return Err(contradiction(format!("`min` {min} is above `max` {max}; swap them")).at("/min"));
            }
            FieldType::Number { unit: unit(body)?, min, max }
        }
    };
    Ok(FieldSchema { r#type, max_age: max_age(body)? })
}

fn enum_values(body: Fields<'_>) -> Result<Vec<String>, Refusal> {
    let values = words_up_to(body, "values", "words such as `heat`", ENUM_VALUES_MAX, |_| true)?;
    if values.is_empty() {
        return Err(contradiction("an enum needs `values`, such as [\"off\",\"heat\"]").at("/values"));
    }
    Ok(values)
}

/// `max_age`: seconds, or a duration such as "15 min".
fn max_age(body: Fields<'_>) -> Result<Option<Span>, Refusal> {
    const MAX_AGE: &str = "seconds such as 900 or a duration such as `15 min`, above 0 and at most a year";
    let Some(json) = body.get("max_age") else { return Ok(None) };
    let span = match json {
        Json::Text(text) => Span::parse(text).ok(),
        other => count(other).map(|s| Span::seconds(i64::from(s))),
    };
    let in_range = span.filter(|span| *span > Span::ZERO && *span <= MAX_AGE_MAX);
    in_range.map(Some).ok_or_else(|| wrong("max_age", MAX_AGE, json))
}

fn unit(body: Fields<'_>) -> Result<Option<Unit>, Refusal> {
    let Some(given) = body.may("unit", text, "a unit such as `h`")? else { return Ok(None) };
    Unit::parse(given).map(Some).ok_or_else(|| contradiction(unit_unknown(given)).at("/unit"))
}

fn slots(body: Fields<'_>) -> Result<BTreeMap<SlotId, SlotSchema>, Refusal> {
    let list = body.may_list("slots", r#"slots such as {"slot":"air_filter","kind":"usage","unit":"h"}"#)?;
    let list = list.unwrap_or_default();
    check_length("slots", list.len(), SLOTS_MAX)?;
    let mut slots = BTreeMap::new();
    for (n, json) in list.iter().enumerate() {
        let (slot, schema) = slot(json).within(&format!("/slots/{n}"))?;
        if slots.contains_key(&slot) {
            let message = format!("slot `{slot}` is declared twice; give each its own name");
            return Err(contradiction(message).at(format!("/slots/{n}/slot")));
        }
        slots.insert(slot, schema);
    }
    Ok(slots)
}

fn slot(json: &Json<'_>) -> Result<(SlotId, SlotSchema), Refusal> {
    let body = Fields::of(json, "a slot")?;
    let slot = body.need_name("slot", SlotId::new, "the slot's name such as `air_filter`")?;
    let kind = body.need_word("kind", &KINDS)?;
    let capacity = body.may("capacity", positive, "the full amount, a number above 0 such as 720")?;
    let (unit, capacity) = match kind {
        SlotKind::Usage | SlotKind::Level | SlotKind::Countdown => (unit(body)?, capacity),
        // A word and a date are measured in nothing.
        SlotKind::Flag | SlotKind::Life => (None, None),
    };
    Ok((slot, SlotSchema { kind, unit, capacity }))
}

fn placements(body: Fields<'_>) -> Result<Vec<Placement>, Refusal> {
    const LENGTH: &str = "the most characters it shows, a whole number such as 40";
    let list =
        body.may_list("placements", r#"surfaces such as {"id":"home.card","title_max":40}"#)?.unwrap_or_default();
    check_length("placements", list.len(), PLACEMENTS_MAX)?;
    let mut seen = BTreeSet::new();
    let mut placements = Vec::with_capacity(list.len());
    for (n, json) in list.iter().enumerate() {
        let read = || -> Result<Placement, Refusal> {
            let body = Fields::of(json, "a placement")?;
            Ok(Placement {
                id: body.need_name("id", PlacementId::new, "the surface's name such as `home.card`")?,
                title_max: body.may("title_max", some, LENGTH)?,
                body_max: body.may("body_max", some, LENGTH)?,
            })
        };
        let placement = read().within(&format!("/placements/{n}"))?;
        if !seen.insert(placement.id.clone()) {
            let message = format!("placement `{}` is declared twice; give each its own name", placement.id);
            return Err(contradiction(message).at(format!("/placements/{n}/id")));
        }
        placements.push(placement);
    }
    Ok(placements)
}

fn words(body: Fields<'_>, key: &str, of: &str, is_valid: fn(&str) -> bool) -> Result<Vec<String>, Refusal> {
    words_up_to(body, key, of, WORDS_MAX, is_valid)
}

fn words_up_to(
    body: Fields<'_>,
    key: &str,
    of: &str,
    max: usize,
    is_valid: fn(&str) -> bool,
) -> Result<Vec<String>, Refusal> {
    let list = body.may_list(key, of)?.unwrap_or_default();
    check_length(key, list.len(), max)?;
    let mut words = Vec::with_capacity(list.len());
    for (n, json) in list.iter().enumerate() {
        let given = word(json).filter(|given| is_valid(given)).ok_or_else(|| {
            invalid(format!("`{key}` must be a list of {of}; entry {n} is {}", json.describe()))
                .at(format!("{}/{n}", place(key)))
        })?;
        words.push(given.to_owned());
    }
    Ok(words)
}

/// Whether a text has the shape of a language tag: letters, then further parts.
fn is_locale(text: &str) -> bool {
    let mut parts = text.split(['-', '_']);
    let language = parts.next().unwrap_or_default();
    (2..=8).contains(&language.len())
        && language.bytes().all(|c| c.is_ascii_alphabetic())
        && parts.all(|part| (1..=8).contains(&part.len()) && part.bytes().all(|c| c.is_ascii_alphanumeric()))
}

/// Writes a description as the contract has it. [`read_description`] reads the same back.
pub fn description_to_json(description: &DeviceDescription) -> serde_json::Value {
    let telemetry: Map<String, serde_json::Value> =
        description.telemetry.iter().map(|(name, schema)| (name.to_string(), field_to_json(schema))).collect();
    let slots: Vec<serde_json::Value> =
        description.slots.iter().map(|(slot, schema)| slot_to_json(slot, schema)).collect();
    let placements: Vec<serde_json::Value> = description.placements.iter().map(placement_to_json).collect();
    json!({
        "model": description.model.as_str(),
        "kind": description.kind.as_str(),
        "telemetry": telemetry,
        "slots": slots,
        "placements": placements,
        "locales": description.locales,
        "confirm": description.confirm,
        "buttons": description.buttons,
    })
}

fn object(members: impl IntoIterator<Item = (&'static str, Option<serde_json::Value>)>) -> serde_json::Value {
    members.into_iter().filter_map(|(key, value)| value.map(|value| (key.to_owned(), value))).collect()
}

fn field_to_json(schema: &FieldSchema) -> serde_json::Value {
    let max_age = schema.max_age.map(|age| age.to_string().into());
    match &schema.r#type {
        FieldType::Number { unit, min, max } => object([
            ("type", Some("number".into())),
            ("unit", unit.map(|unit| unit.as_str().into())),
            ("min", min.map(Into::into)),
            ("max", max.map(Into::into)),
            ("max_age", max_age),
        ]),
        FieldType::Enum { values } => {
            object([("type", Some("enum".into())), ("values", Some(json!(values))), ("max_age", max_age)])
        }
        FieldType::Bool => object([("type", Some("bool".into())), ("max_age", max_age)]),
        FieldType::Text => object([("type", Some("text".into())), ("max_age", max_age)]),
    }
}

fn slot_to_json(slot: &SlotId, schema: &SlotSchema) -> serde_json::Value {
    object([
        ("slot", Some(slot.as_str().into())),
        ("kind", Some(schema.kind.as_str().into())),
        ("unit", schema.unit.map(|unit| unit.as_str().into())),
        ("capacity", schema.capacity.map(Into::into)),
    ])
}

fn placement_to_json(placement: &Placement) -> serde_json::Value {
    object([
        ("id", Some(placement.id.as_str().into())),
        ("title_max", placement.title_max.map(Into::into)),
        ("body_max", placement.body_max.map(Into::into)),
    ])
}
