//! What may be shown of a payload that somebody must look at: its structure. Names of fields stay
//! where they look like names; every value is replaced by its kind and length.

use serde_json::{Map, Value};

/// Bytes of an excerpt: a screenful.
const EXCERPT_BYTES_MAX: usize = 1_024;
/// Members of one object that are shown.
const MEMBERS_SHOWN_MAX: usize = 24;
/// Items of one list that are shown: the others mostly look alike.
const ITEMS_SHOWN_MAX: usize = 2;
/// Nesting that is shown.
const DEPTH_SHOWN_MAX: usize = 8;
/// Characters of a name; what is longer is a value in the wrong place.
const NAME_CHARS_MAX: usize = 32;
/// Digits of a name; more are a number of somebody or something.
const NAME_DIGITS_MAX: usize = 4;

/// The structure of a payload.
pub(super) fn of_payload(payload: &[u8]) -> String {
    match serde_json::from_slice::<Value>(payload) {
        Ok(value) => of_value(&value),
        Err(error) if std::str::from_utf8(payload).is_ok() => {
            // The category only: the message itself may quote.
            format!("not JSON from line {}, column {} on", error.line(), error.column())
        }
        Err(_) => "not text in UTF-8".to_owned(),
    }
}

/// The structure of a value.
pub(super) fn of_value(value: &Value) -> String {
    let mut text = redacted(value, 0).to_string();
    if text.len() > EXCERPT_BYTES_MAX {
        let mut end = EXCERPT_BYTES_MAX;
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text.truncate(end);
        text.push('…');
    }
    text
}

/// A JSON pointer without what is no name.
pub(super) fn of_pointer(pointer: &str) -> String {
    let shown: Vec<String> = pointer.split('/').take(DEPTH_SHOWN_MAX + 1).map(name).collect();
    shown.join("/")
}

fn redacted(value: &Value, depth: usize) -> Value {
    match value {
        Value::Null => Value::Null,
        Value::Bool(_) => "boolean".into(),
        Value::Number(_) => "number".into(),
        Value::String(text) => format!("text of {}", text.chars().count()).into(),
        Value::Array(items) if depth >= DEPTH_SHOWN_MAX => format!("list of {}", items.len()).into(),
        Value::Object(members) if depth >= DEPTH_SHOWN_MAX => format!("object of {}", members.len()).into(),
        Value::Array(items) => {
            let mut shown: Vec<Value> =
                items.iter().take(ITEMS_SHOWN_MAX).map(|item| redacted(item, depth + 1)).collect();
            if items.len() > ITEMS_SHOWN_MAX {
                shown.push(format!("{} more", items.len() - ITEMS_SHOWN_MAX).into());
            }
            shown.into()
        }
        Value::Object(members) => {
            let shown = members.iter().take(MEMBERS_SHOWN_MAX);
            let mut shown: Map<String, Value> =
                shown.map(|(key, value)| (name(key), redacted(value, depth + 1))).collect();
            if members.len() > MEMBERS_SHOWN_MAX {
                shown.insert("…".to_owned(), format!("{} more", members.len() - MEMBERS_SHOWN_MAX).into());
            }
            shown.into()
        }
    }
}

/// A name, where it looks like one.
fn name(key: &str) -> String {
    let is_plain = key.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | ':'));
    let digits = key.chars().filter(char::is_ascii_digit).count();
    if is_plain && key.len() <= NAME_CHARS_MAX && digits <= NAME_DIGITS_MAX {
        return key.to_owned();
    }
    format!("name of {}", key.chars().count())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn structure_and_names_stay_and_no_value_does() {
        let payload = r#"{"v":"1.0","id":"m-77","body":{"samples":[{"t":1774000000000,"f":{"name":"Ada Lovelace"}},2,3],
            "ada@example.org":true,"0612345678":null,"Zoë":1.5}}"#;
        let shown = of_payload(payload.as_bytes());
        for value in ["1.0", "m-77", "1774", "Ada", "ada@", "0612", "Zoë", "true", "1.5"] {
            assert!(!shown.contains(value), "{value} is shown: {shown}");
        }
        for name in
            [r#""samples":["#, r#""t":"number""#, r#""name":"text of 12""#, r#""1 more""#, r#""id":"text of 4""#]
        {
            assert!(shown.contains(name), "{name} is not shown: {shown}");
        }
        assert_eq!(of_pointer("/body/f/ada@example.org/0612345678/x"), "/body/f/name of 15/name of 10/x");
    }

    #[test]
    fn whatever_comes_is_shown_within_the_bound() {
        assert_eq!(of_payload(b"\xff\xfe"), "not text in UTF-8");
        assert_eq!(of_payload(br#"{"secret": hunter2}"#), "not JSON from line 1, column 12 on");
        let deep = format!("{}1{}", "[".repeat(100), "]".repeat(100));
        assert!(of_payload(deep.as_bytes()).contains("list of 1"));
        let wide: Vec<String> = (0..5_000).map(|n| format!(r#""field_{n}":{{"a":[1,2,3,4],"b":"é"}}"#)).collect();
        let shown = of_payload(format!("{{{}}}", wide.join(",")).as_bytes());
        assert!(shown.len() <= EXCERPT_BYTES_MAX + '…'.len_utf8());
    }
}
