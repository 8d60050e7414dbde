//! TOML as the JSON that the API takes: what somebody keeps in files is what a client would send.

use serde_json::{Map, Value};

/// The tables of a TOML text as JSON: dates become text, `2026-09-01`. The error says where the text is none.
pub fn read(text: &str) -> Result<Map<String, Value>, Box<toml::de::Error>> {
    let tables: toml::Table = toml::from_str(text).map_err(Box::new)?;
    Ok(tables.into_iter().map(|(name, value)| (name, json_of(value))).collect())
}

/// A value of TOML as JSON.
fn json_of(value: toml::Value) -> Value {
    match value {
        toml::Value::String(text) => text.into(),
        toml::Value::Integer(n) => n.into(),
        toml::Value::Float(x) => x.into(),
        toml::Value::Boolean(b) => b.into(),
        toml::Value::Datetime(at) => at.to_string().into(),
        toml::Value::Array(items) => items.into_iter().map(json_of).collect(),
        toml::Value::Table(table) => table.into_iter().map(|(name, value)| (name, json_of(value))).collect(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;

    #[test]
    fn dates_and_times_become_the_text_that_they_are_written_as() {
        let text = "valid = { from = 2026-09-01, until = \"2027-04-30\" }\nat = 18:30:00\n[[deep]]\nx = [1979-05-27T07:32:00Z]\n";
        let wanted = json!({
            "valid": {"from": "2026-09-01", "until": "2027-04-30"}, "at": "18:30:00",
            "deep": [{"x": ["1979-05-27T07:32:00Z"]}],
        });
        assert_eq!(Value::Object(read(text).unwrap()), wanted);
        assert!(read("a = \n").unwrap_err().to_string().contains("line 1"));
    }
}
