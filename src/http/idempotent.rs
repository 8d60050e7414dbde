//! `Idempotency-Key` on POST: the same request again is answered from what was kept.

use std::sync::Arc;

use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::error::{ApiError, ApiResult, HttpCode};
use super::request::caller;
use super::{BODY_BYTES_MAX, Shared};
use crate::app::App;
use crate::app::idempotency::{Answer, Known, RequestKey, within};

/// The header.
const IDEMPOTENCY_KEY: &str = "idempotency-key";
/// Marks an answer that was kept.
pub(super) const REPLAYED: &str = "idempotent-replayed";
/// Characters of a key.
const KEY_CHARS_MAX: usize = 255;
/// Paths whose answers show a secret once; such an answer is not kept.
const SECRET_PATHS: [&str; 4] = ["/v1/tokens", "/v1/bootstrap-keys", "/v1/bridge-keys", "/v1/me/grants"];

/// Marks a request as no longer running, also when its handler is dropped half-way.
struct Running<'a>(&'a App, &'a RequestKey);
impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.forget_request(self.1);
    }
}

/// Answers a repeated POST from what was kept of the first.
pub(super) async fn once(State(shared): State<Arc<Shared>>, request: Request, next: Next) -> ApiResult {
    let chosen = match request.headers().get(IDEMPOTENCY_KEY) {
        Some(chosen) if request.method() == Method::POST => chosen.to_str().unwrap_or_default().to_owned(),
        _ => return Ok(next.run(request).await),
    };
    if chosen.is_empty() || chosen.len() > KEY_CHARS_MAX {
        return Err(ApiError::invalid("", format!("an Idempotency-Key takes 1 to {KEY_CHARS_MAX} ASCII characters")));
    }
    let who = caller(request.headers(), &shared)?;
    let (parts, body) = request.into_parts();
    let path = parts.uri.path().to_owned();
    let shows_secret = SECRET_PATHS.contains(&path.as_str()) || path.ends_with("/rotate");
    let body = to_bytes(body, BODY_BYTES_MAX)
        .await
        .map_err(|_| ApiError::too_large(format!("a body has at most {BODY_BYTES_MAX} bytes")))?;
    let key = RequestKey::new(&who, &chosen, parts.method.as_str(), &path, &body);
    match shared.app.begin_request(&key)? {
        Known::New => {}
        Known::Answered { status, content_type, body } => return Ok(repeated(status, &content_type, body)),
        Known::NotShownAgain => {
            return Err(ApiError::new(HttpCode::IdempotencySecretShown, "done before; its answer is not shown again"));
        }
        Known::OtherRequest => {
            return Err(ApiError::new(HttpCode::IdempotencyOtherRequest, "this key was used with another request"));
        }
        Known::Running => {
            return Err(ApiError::new(HttpCode::IdempotencyRunning, "the first request with this key is not done"));
        }
    }
    let running = Running(&shared.app, &key);
    let response = within(&key, next.run(Request::from_parts(parts, Body::from(body)))).await;
    if !response.status().is_success() {
        return Ok(response);
    }
    let (parts, body) = response.into_parts();
    let body = to_bytes(body, BODY_BYTES_MAX).await.map_err(|_| ApiError::too_large("the answer is too long"))?;
    let content_type = parts.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let answer = Answer {
        status: parts.status.as_u16(),
        content_type: content_type.unwrap_or("application/json").to_owned(),
        body: (!shows_secret).then(|| body.to_vec()),
    };
    shared.app.keep_answer(&key, answer).await;
    drop(running);
    Ok(Response::from_parts(parts, Body::from(body)))
}

fn repeated(status: u16, content_type: &str, body: Vec<u8>) -> Response {
    let mut response = (StatusCode::from_u16(status).unwrap_or(StatusCode::OK), body).into_response();
    let headers = response.headers_mut();
    if let Ok(value) = HeaderValue::from_str(content_type) {
        headers.insert(header::CONTENT_TYPE, value);
    }
    headers.insert(REPLAYED, HeaderValue::from_static("true"));
    response
}
