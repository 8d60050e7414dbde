//! The JSON Schema that editors use: the committed one is what the code says.

use hearthway_core::trigger::file_schema;
use serde_json::Value;

#[test]
fn the_committed_schema_is_what_the_check_takes() {
    let committed = include_str!("../../../config/triggers.schema.json");
    assert!(
        committed == file_schema(),
        "it differs; run `cargo run -- triggers schema > config/triggers.schema.json` and read the diff"
    );
}

/// Every key of a table with its path.
fn keys<'v>(schema: &'v Value, path: &str, found: &mut Vec<(String, &'v Value)>) {
    for (name, key) in schema["properties"].as_object().into_iter().flatten() {
        found.push((format!("{path}/{name}"), key));
        keys(key, &format!("{path}/{name}"), found);
    }
    for below in ["items", "additionalProperties"] {
        if schema[below].is_object() {
            keys(&schema[below], path, found);
        }
    }
    schema["anyOf"].as_array().into_iter().flatten().for_each(|form| keys(form, path, found));
}

#[test]
fn every_key_of_a_trigger_has_a_meaning_and_no_other_is_taken() {
    let schema: Value = serde_json::from_str(&file_schema()).unwrap();
    let mut found = Vec::new();
    keys(&schema["properties"]["trigger"]["items"], "", &mut found);
    assert!(found.len() > 100, "{}", found.len());
    for (path, key) in &found {
        assert!(
            key["description"].is_string(),
            "{path} is in the table of forms and has no docstring in the definition"
        );
        assert!(key["type"] != "object" || key["additionalProperties"] != Value::Null, "{path} takes any key");
    }
    let on = &schema["properties"]["trigger"]["items"]["properties"]["on"];
    assert_eq!(on["required"], serde_json::json!(["event"]));
    assert_eq!(on["properties"]["count"]["maximum"], 32);
}
