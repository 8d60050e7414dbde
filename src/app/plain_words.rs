//! What is wrong with JSON, in the words of JSON: who writes a client knows objects, lists and numbers, not the types of this
//! program.

/// A message of the JSON reader without its words for types.
pub(crate) fn in_plain_words(text: &str) -> String {
    if text.starts_with("EOF while parsing") {
        let place = text.rfind(" at line").map_or("", |at| &text[at..]);
        return format!("the JSON ends before it is complete,{place}");
    }
    if text.starts_with("data did not match any variant") {
        return "it has none of the forms that /openapi.json shows for this place".to_owned();
    }
    if let Some((name, known)) = text.strip_prefix("unknown variant ").and_then(|rest| rest.split_once(", expected ")) {
        let known = known.strip_prefix("one of ").unwrap_or(known);
        return format!("{name} is not among {known}");
    }
    let Some((found, expected)) = text.split_once(", expected ") else { return text.to_owned() };
    let (expected, place) = match expected.rfind(" at line ") {
        Some(at) => expected.split_at(at),
        None => (expected, ""),
    };
    let Some(kind) = kind_of(expected) else { return text.to_owned() };
    format!("{}, expected {kind}{place}", found_in(found, kind))
}

/// What a type of this program is in JSON; none where the words are plain already.
fn kind_of(expected: &str) -> Option<&'static str> {
    let first = expected.split(' ').next().unwrap_or_default();
    Some(match first {
        "struct" | "map" | "internally" | "adjacently" => "an object",
        "enum" | "variant" | "string" => "a text",
        "tuple" | "sequence" | "array" => "a list",
        "i8" | "i16" | "i32" | "i64" | "i128" | "isize" => "a whole number",
        "u8" | "u16" | "u32" | "u64" | "u128" | "usize" => "a whole number that is not below 0 and not too large",
        "nonzero" => "a whole number above 0",
        "f32" | "f64" => "a number",
        _ => match expected {
            "a map" => "an object",
            "a sequence" => "a list",
            "a string" | "a borrowed string" | "a character" => "a text",
            "a boolean" => "`true` or `false`",
            _ => return None,
        },
    })
}

/// What stood there instead.
fn found_in(found: &str, kind: &str) -> String {
    match found {
        // A list in the place of an object is counted by its elements.
        text if text.starts_with("invalid length") && kind == "an object" => "invalid type: list".to_owned(),
        "invalid type: map" => "invalid type: object".to_owned(),
        "invalid type: sequence" => "invalid type: list".to_owned(),
        text => text
            .replace("floating point `", "number `")
            .replace("integer `", "number `")
            .replace("string \"", "text \""),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::collections::BTreeMap;

    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[allow(dead_code)]
    struct Body {
        n: u32,
        i: Option<i64>,
        x: Option<f64>,
        word: Option<Word>,
        list: Option<Vec<u8>>,
        map: Option<BTreeMap<String, u8>>,
        yes: Option<bool>,
        text: Option<String>,
    }
    #[derive(Debug, Deserialize)]
    #[serde(rename_all = "snake_case")]
    enum Word {
        One,
        Two,
    }

    #[test]
    fn no_words_of_the_program_reach_a_client() {
        let told = |text: &str| in_plain_words(&serde_json::from_str::<Body>(text).unwrap_err().to_string());
        for (text, words) in [
            ("[]", "invalid type: list, expected an object"),
            ("3", "invalid type: number `3`, expected an object"),
            (r#"{"n":-1}"#, "invalid value: number `-1`, expected a whole number that is not below 0"),
            (r#"{"n":1.5}"#, "invalid type: number `1.5`, expected a whole number"),
            (r#"{"n":1,"i":"x"}"#, "invalid type: text \"x\", expected a whole number"),
            (r#"{"n":1,"x":"x"}"#, "expected a number"),
            (r#"{"n":1,"word":"three"}"#, "`three` is not among `one`"),
            (r#"{"n":1,"list":{}}"#, "invalid type: object, expected a list"),
            (r#"{"n":1,"map":[]}"#, "invalid type: list, expected an object"),
            (r#"{"n":1,"yes":1}"#, "expected `true` or `false`"),
            (r#"{"n":1,"text":1}"#, "expected a text"),
            (r#"{"n":1"#, "the JSON ends before it is complete"),
        ] {
            let told = told(text);
            assert!(told.starts_with(words) || told.contains(words), "{text}: {told}");
            for foreign in ["struct", "variant", "EOF", "i64", "u32", "f64", "map", "sequence", "string"] {
                assert!(!told.contains(foreign), "{text}: {told}");
            }
        }
        assert_eq!(told("{}").split(" at ").next().unwrap(), "missing field `n`");
    }
}
