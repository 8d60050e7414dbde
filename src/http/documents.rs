//! Documents in answers: their text and their `ETag`.

use axum::Json;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use serde_json::Value;

use crate::app::catalog::document_json;
use crate::app::documents::Document;

/// A JSON answer with a tag for `If-Match`.
pub(super) fn tagged(json: Value, etag: &str) -> Response {
    let mut response = Json(json).into_response();
    if let Ok(value) = HeaderValue::from_str(etag) {
        response.headers_mut().insert(header::ETAG, value);
    }
    response
}

/// A document as it is kept, with its id under the name of its noun.
pub(super) fn written(noun: &str, id: &str, document: &Document) -> Response {
    written_with(noun, id, document, &[])
}

/// The same, with what follows from it that may not be meant.
pub(super) fn written_with(noun: &str, id: &str, document: &Document, warnings: &[String]) -> Response {
    let mut json = document_json(document);
    if let Some(object) = json.as_object_mut() {
        object.entry(noun).or_insert_with(|| id.into());
        if !warnings.is_empty() {
            object.insert("warnings".into(), warnings.into());
        }
    }
    tagged(json, &document.etag())
}
