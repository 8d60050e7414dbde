//! The JSON Schema of a trigger file, for editors. The forms are those of the table that the check
//! itself walks (`shape`), so that an editor and the check never disagree; what each key means is
//! said by the docstrings of the definition.

use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use super::definition::TriggerDefinition;
use super::shape::{Key, Shape, TRIGGER};

/// The schema of a file of triggers, as pretty JSON with a newline at its end.
pub fn file_schema() -> String {
    let settings = SchemaSettings::draft2020_12().with(|settings| settings.inline_subschemas = true);
    let described = settings.into_generator().into_root_schema_for::<TriggerDefinition>();
    let schema = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Hearthway triggers",
        "description": "A file of triggers. `hearthway triggers check` says more: names, units, conditions and texts.",
        "type": "object",
        "additionalProperties": false,
        "properties": {"trigger": {"type": "array", "items": TRIGGER.schema(described.as_value())}},
    });
    let mut text = format!("{schema:#}");
    text.push('\n');
    text
}

impl Shape {
    /// Its schema; `described` says what the keys below it mean.
    fn schema(&self, described: &Value) -> Value {
        match self {
            Shape::Text(max) => json!({"type": "string", "maxLength": max}),
            Shape::Read(_) => json!({"type": "string"}),
            Shape::OneOf(words) => json!({"enum": words}),
            Shape::Whole(min, max) => json!({"type": "integer", "minimum": min, "maximum": max}),
            Shape::Number(min, max) => json!({"type": "number", "minimum": min, "maximum": max}),
            Shape::Bool => json!({"type": "boolean"}),
            Shape::Amount => json!({"type": ["number", "string"]}),
            Shape::Scalar => json!({"type": ["number", "string", "boolean"]}),
            Shape::List(item, max) => {
                json!({"type": "array", "maxItems": max, "items": item.schema(below(described, "items"))})
            }
            Shape::OneOrMany(item, max) => {
                let item = item.schema(&Value::Null);
                json!({"anyOf": [item, {"type": "array", "maxItems": max, "items": item}]})
            }
            Shape::Table(keys) => table(keys, described),
            Shape::Map(_, of, max) => {
                let of = of.schema(below(described, "additionalProperties"));
                json!({"type": "object", "maxProperties": max, "additionalProperties": of})
            }
            Shape::TextOr(text, table) => json!({"anyOf": [text.schema(&Value::Null), table.schema(described)]}),
            Shape::Any => json!({}),
        }
    }
}

fn table(keys: &[Key], described: &Value) -> Value {
    let mut properties = Map::new();
    for key in keys {
        let described = below(described, "properties").get(key.name).unwrap_or(&Value::Null);
        let mut schema = key.shape.schema(described);
        let meaning = described.get("description").and_then(Value::as_str).unwrap_or_default();
        let meaning = match key.later {
            Some(why) => format!("{meaning} Not served yet: {why}."),
            None => meaning.to_owned(),
        };
        if let Some(object) = schema.as_object_mut().filter(|_| !meaning.is_empty()) {
            object.insert("description".to_owned(), meaning.trim().into());
        }
        properties.insert(key.name.to_owned(), schema);
    }
    let required: Vec<&str> = keys.iter().filter(|key| key.required).map(|key| key.name).collect();
    let mut table = json!({"type": "object", "additionalProperties": false, "properties": properties});
    if let Some(object) = table.as_object_mut().filter(|_| !required.is_empty()) {
        object.insert("required".to_owned(), required.into());
    }
    table
}

/// A part of what is described, also where it is one of several forms.
fn below<'v>(described: &'v Value, part: &str) -> &'v Value {
    let of_forms =
        || described.get("anyOf")?.as_array()?.iter().map(|form| below(form, part)).find(|found| !found.is_null());
    described.get(part).or_else(of_forms).unwrap_or(&Value::Null)
}
