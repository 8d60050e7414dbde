use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::Shared;
use super::error::{ApiError, HttpCode};

pub(super) async fn live() -> Response {
    Json(json!({"status": "live"})).into_response()
}

pub(super) async fn ready(State(shared): State<Arc<Shared>>) -> Response {
    match shared.app.health() {
        // A part in trouble is told, and work is taken nevertheless.
        Ok(()) => {
            let reasons = shared.app.complaints().into_iter();
            let reasons: Vec<_> = reasons.map(|(part, message)| json!({"part": part, "message": message})).collect();
            Json(json!({"status": "ready", "reasons": reasons})).into_response()
        }
        Err(error) => {
            let body = json!({"status": "not_ready", "reasons": [{"part": "store", "message": error.to_string()}]});
            (StatusCode::SERVICE_UNAVAILABLE, Json(body)).into_response()
        }
    }
}

pub(super) async fn metrics(State(shared): State<Arc<Shared>>) -> Response {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], (shared.metrics)()).into_response()
}

pub(super) async fn openapi() -> Response {
    ([(header::CONTENT_TYPE, "application/json")], super::openapi()).into_response()
}

pub(super) async fn unknown_route() -> ApiError {
    ApiError::new(HttpCode::RouteUnknown, "no call of the API has this path; see /openapi.json")
}

pub(super) async fn unknown_method() -> ApiError {
    ApiError::new(HttpCode::MethodNotAllowed, "the path exists, but not with this method; see /openapi.json")
}
