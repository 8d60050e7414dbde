//! The OpenAPI document, made from the page of routes. Its golden is `docs/openapi.json`.

use serde_json::{Map, Value, json};

use super::routes::{self, Entry};

/// Pinned: tools read this first.
const OPENAPI_VERSION: &str = "3.1.0";

/// The document as pretty JSON, with a newline at its end.
pub fn openapi() -> String {
    let mut paths: Map<String, Value> = Map::new();
    for entry in routes::all() {
        let methods = paths.entry(entry.path).or_insert_with(|| json!({}));
        if let Some(methods) = methods.as_object_mut() {
            methods.insert(entry.method.into(), operation(&entry));
        }
    }
    let document = json!({
        "openapi": OPENAPI_VERSION,
        "info": {
            "title": "Hearthway",
            "version": "1.0",
            "description": "For retailers, makers, operators and other channels. Failures are problem bodies (RFC 9457); their codes stand in docs/errors.md and docs/errors-http.md. Lists take `limit` and `cursor` and answer `next`. POST honours `Idempotency-Key` for 24 hours; PUT of documents and profiles honours `If-Match`.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "security": [{"bearer": []}],
        "paths": paths,
        "components": {
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}},
            "schemas": {"Problem": problem_schema()},
        },
    });
    let mut text = serde_json::to_string_pretty(&document).expect("a document of texts and maps is JSON");
    text.push('\n');
    text
}

fn problem_schema() -> Value {
    let text = json!({"type": "string"});
    json!({
        "type": "object",
        "required": ["type", "title", "status", "code", "detail", "pointer"],
        "properties": {
            "type": {"type": "string", "format": "uri-reference"},
            "title": text, "status": {"type": "integer"}, "code": text, "detail": text,
            "pointer": {"type": ["string", "null"], "description": "JSON pointer into the body, where one place is to blame"},
            "order": {"type": ["string", "null"], "description": "offer.already_accepted: the order of the first accept"},
            "problems": {"type": "array", "description": "a trigger's problems", "items": {"type": "object"}},
        },
    })
}

/// JSON Lines.
const LINES: &str = "application/x-ndjson";

fn operation(entry: &Entry) -> Value {
    let media = match entry {
        Entry { bulk: true, .. } => LINES,
        Entry { binary: true, .. } => "application/octet-stream",
        _ => "application/json",
    };
    let body_media = if entry.lines { LINES } else { media };
    let content = |media: &str, example: Option<&str>| {
        let example: Option<Value> = example.and_then(|text| serde_json::from_str(text).ok());
        let mut content = json!({"schema": {"type": "object"}});
        if let (Some(object), Some(example)) = (content.as_object_mut(), example) {
            object.insert("example".into(), example);
        }
        json!({media: content})
    };
    let mut success = json!({"description": if entry.status == 204 { "Done" } else { entry.summary }});
    if let Some(object) = success.as_object_mut().filter(|_| entry.status != 204 && entry.path != "/metrics") {
        object.insert("content".into(), content(media, entry.answer));
    }
    let problem = json!({
        "description": "A problem",
        "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
    });
    let mut operation = json!({
        "operationId": operation_id(entry),
        "tags": [entry.group],
        "summary": entry.summary,
        "parameters": parameters(entry),
        "responses": {entry.status.to_string(): success, "default": problem},
    });
    if let Some(object) = operation.as_object_mut() {
        if entry.open {
            object.insert("security".into(), json!([]));
        }
        if entry.body.is_some() || entry.method == "put" {
            object.insert("requestBody".into(), json!({"content": content(body_media, entry.body)}));
        }
    }
    operation
}

fn parameters(entry: &Entry) -> Vec<Value> {
    let in_path = entry.path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
    let named = |name: &str, place: &str, required: bool| json!({"name": name, "in": place, "required": required, "schema": {"type": "string"}});
    let mut parameters: Vec<Value> = in_path.map(|name| named(name, "path", true)).collect();
    parameters.extend(entry.query.iter().map(|name| {
        let required = entry.group.starts_with("Offers")
            && (*name == "household" || (*name == "trigger" && entry.path == "/v1/explain"));
        named(name, "query", required)
    }));
    if entry.method == "post" && !entry.bulk && !entry.lines {
        parameters.push(named("Idempotency-Key", "header", false));
    }
    let has_no_tag = ["/consents", "/flags/{flag}", "/members/{profile}"];
    if entry.method == "put" && !has_no_tag.iter().any(|end| entry.path.ends_with(end)) {
        parameters.push(named("If-Match", "header", false));
    }
    parameters
}

/// `put_v1_retailers_retailer`: stable as long as the path is.
fn operation_id(entry: &Entry) -> String {
    let words = entry.path.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    std::iter::once(entry.method).chain(words).collect::<Vec<_>>().join("_")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::collections::BTreeSet;

    use super::*;

    /// Set to write the golden instead of comparing with it.
    const WRITE_GOLDEN: &str = "HEARTHWAY_WRITE_GOLDEN";

    fn compare(path: &str, made: &str) {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
        if std::env::var_os(WRITE_GOLDEN).is_some() {
            std::fs::write(&path, made).unwrap();
        }
        let golden = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            golden == made,
            "{} is not what the routes say; run the tests with {WRITE_GOLDEN}=1 and read the diff",
            path.display()
        );
    }

    #[test]
    fn the_committed_documents_are_what_the_code_says() {
        compare("docs/openapi.json", &openapi());
        compare("docs/errors-http.md", &super::super::error::errors_page());
    }

    #[test]
    fn every_call_has_its_own_name_and_examples_that_are_json() {
        let mut names = BTreeSet::new();
        for entry in routes::all() {
            assert!(names.insert(operation_id(&entry)), "{} {}", entry.method, entry.path);
            for example in [entry.body, entry.answer].into_iter().flatten() {
                assert!(serde_json::from_str::<Value>(example).is_ok(), "{example}");
            }
        }
    }
}
