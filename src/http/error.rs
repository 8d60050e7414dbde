//! How a failure looks outside: problem bodies (RFC 9457) with the stable codes.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use hearthway_core::code::{Code, Refusal};
use hearthway_core::wire;
use serde_json::{Map, Value, json};

use crate::app::Failure;
use crate::app::triggers::Finding;
use crate::store::StoreError;

macro_rules! http_codes {
    ($($(#[$doc:meta])* $name:ident = $text:literal, $status:literal, $cause:literal, $cure:literal;)*) => {
        /// Codes that only HTTP has, beside those of the contract.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum HttpCode { $($(#[$doc])* $name,)* }
        impl HttpCode {
            /// Every code.
            pub const ALL: &'static [HttpCode] = &[$(HttpCode::$name,)*];
            /// The code as written.
            pub fn as_str(self) -> &'static str { match self { $(HttpCode::$name => $text,)* } }
            /// Its status.
            pub fn status(self) -> u16 { match self { $(HttpCode::$name => $status,)* } }
            /// What leads to it, and what its receiver does about it.
            pub fn cause_and_cure(self) -> (&'static str, &'static str) { match self { $(HttpCode::$name => ($cause, $cure),)* } }
        }
    };
}
http_codes! {
    /// No token.
    AuthMissing = "auth.missing", 401, "The request has no `Authorization: Bearer …`.", "Send the token that `POST /v1/tokens` gave.";
    /// A token that is not ours.
    AuthInvalid = "auth.invalid", 401, "The token is unknown or was deleted.", "Use a live token; the operator makes a new one.";
    /// A token that may not.
    AuthScope = "auth.scope", 403, "The token's role does not include this call.", "Use a token with the role that `detail` names.";
    /// Nothing there.
    NotFound = "not_found", 404, "There is no such object, or it is another tenant's: both look the same.", "Check the id.";
    /// No such call.
    RouteUnknown = "route.unknown", 404, "No call of the API has this path.", "Look it up in `/openapi.json`.";
    /// Another method.
    MethodNotAllowed = "method.not_allowed", 405, "The path exists, but not with this method.", "Look it up in `/openapi.json`.";
    /// It contradicts what exists.
    Conflict = "conflict", 409, "The request contradicts what exists, as `detail` says.", "Read the object again and decide anew.";
    /// Two devices of that name.
    DeviceAmbiguous = "device.ambiguous", 409, "Two makers use this device name.", "Write `maker%2Fdevice` in the path.";
    /// It changed meanwhile.
    PreconditionFailed = "precondition.failed", 412, "The `If-Match` is not the object's present `ETag`.", "Read the object again, apply the change to it, and send its `ETag`.";
    /// The trigger is not right.
    TriggerInvalid = "payload.invalid", 422, "The trigger has problems; `problems` lists all of them with their places.", "Mend what is listed; `POST /v1/triggers/{t}/check` looks without writing.";
    /// One person alone may not.
    SecondPerson = "trigger.second_person", 409, "The trigger reaches more homes than a marketer publishes alone; `request` is waiting.", "Let somebody with another token of the shop send `{\"confirm\": request}` to the same path within a day.";
    /// The key was used for something else.
    IdempotencyOtherRequest = "idempotency.other_request", 422, "The `Idempotency-Key` was used with another request within 24 h.", "Use a new key for a new request.";
    /// The first request runs.
    IdempotencyRunning = "idempotency.running", 409, "A request with this `Idempotency-Key` has not ended.", "Wait for its answer, or repeat in a moment.";
    /// The answer held a secret.
    IdempotencySecretShown = "idempotency.secret_shown", 409, "The request was done, and its answer held a secret that is shown once.", "Delete what it made and make another with a new key.";
    /// Too slow.
    Timeout = "request.timeout", 503, "The gateway did not finish within 30 s.", "Repeat the request with the same `Idempotency-Key`.";
}

/// A failure on its way out; boxed, because most calls succeed.
#[derive(Debug)]
pub struct ApiError(Box<Problem>);

#[derive(Debug)]
struct Problem {
    status: u16,
    code: &'static str,
    title: String,
    kind: String,
    detail: String,
    pointer: Option<String>,
    retry_after_seconds: Option<u32>,
    more: Map<String, Value>,
}

/// What handlers answer.
pub type ApiResult<T = Response> = Result<T, ApiError>;

impl ApiError {
    /// With a code that only HTTP has.
    pub fn new(code: HttpCode, detail: impl Into<String>) -> ApiError {
        let text = code.as_str();
        ApiError(Box::new(Problem {
            status: code.status(),
            code: text,
            title: code.cause_and_cure().0.to_owned(),
            kind: format!("docs/errors-http.md#{}", text.replace(['.', '_'], "-")),
            detail: detail.into(),
            pointer: None,
            retry_after_seconds: None,
            more: Map::new(),
        }))
    }
    /// A body that does not have its shape.
    pub fn invalid(pointer: impl Into<String>, detail: impl Into<String>) -> ApiError {
        Refusal::new(Code::PayloadInvalid, detail).at(pointer).into()
    }
    /// A query parameter that cannot be taken.
    pub fn bad_query(name: &str, detail: impl std::fmt::Display) -> ApiError {
        Refusal::new(Code::PayloadInvalid, format!("the parameter `{name}`: {detail}")).into()
    }
    /// A body above the bound.
    pub fn too_large(detail: impl Into<String>) -> ApiError {
        Refusal::new(Code::PayloadTooLarge, detail).into()
    }
    fn with(mut self, key: &str, value: Value) -> ApiError {
        self.0.more.insert(key.into(), value);
        self
    }
    /// The status.
    pub fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.0.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }
    /// The problem as it stands in a line of a bulk answer.
    pub fn to_line(&self) -> Value {
        json!({"error": {"code": self.0.code, "message": self.0.detail, "pointer": self.0.pointer}})
    }
    /// Whether it is about what was sent, not about who sent it or about us.
    pub(super) fn is_about_the_body(&self) -> bool {
        matches!(self.0.status, 400 | 404 | 409 | 413 | 422)
    }
    pub(super) fn to_json(&self) -> Value {
        let mut body = json!({
            "type": self.0.kind,
            "title": self.0.title,
            "status": self.0.status,
            "code": self.0.code,
            "detail": self.0.detail,
            "pointer": self.0.pointer,
        });
        if let Some(object) = body.as_object_mut() {
            object.extend(self.0.more.clone());
            if let Some(seconds) = self.0.retry_after_seconds {
                object.insert("retry_after_s".into(), seconds.into());
            }
        }
        body
    }
}

impl From<Refusal> for ApiError {
    fn from(refusal: Refusal) -> ApiError {
        ApiError(Box::new(Problem {
            status: refusal.code.http_status(),
            code: refusal.code.as_str(),
            title: wire::cause_and_cure(refusal.code).0.to_owned(),
            kind: wire::doc_anchor(refusal.code),
            detail: refusal.message,
            pointer: refusal.pointer,
            retry_after_seconds: refusal.retry_after_seconds,
            more: Map::new(),
        }))
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> ApiError {
        tracing::warn!("The store refused a request: {error}");
        Refusal::new(Code::InternalRetry, "the gateway could not read or keep it; try again later").into()
    }
}

impl From<Failure> for ApiError {
    fn from(failure: Failure) -> ApiError {
        let detail = failure.to_string();
        match failure {
            Failure::Refused(refusal) => refusal.into(),
            Failure::NotFound { .. } | Failure::NotYet(_) => ApiError::new(HttpCode::NotFound, detail),
            Failure::Conflict(_) => ApiError::new(HttpCode::Conflict, detail),
            Failure::Ambiguous { makers, .. } => {
                ApiError::new(HttpCode::DeviceAmbiguous, detail).with("makers", makers.into())
            }
            Failure::Stale { .. } => ApiError::new(HttpCode::PreconditionFailed, detail),
            Failure::Forbidden(_) => ApiError::new(HttpCode::AuthScope, detail),
            Failure::Trigger { findings } => {
                let pointer = findings.iter().find(|finding| finding.is_error).map(|finding| finding.pointer.clone());
                let problems = findings.iter().map(Finding::to_json).collect();
                let mut error =
                    ApiError::new(HttpCode::TriggerInvalid, detail).with("problems", Value::Array(problems));
                error.0.pointer = pointer;
                error
            }
            Failure::Items { problems, .. } => {
                let told = problems.iter().map(
                    |problem| json!({"line": problem.line, "pointer": problem.pointer, "message": problem.message}),
                );
                let mut error =
                    ApiError::from(Refusal::new(Code::PayloadInvalid, detail)).with("problems", told.collect());
                error.0.pointer = problems.first().map(|first| first.pointer.clone());
                error
            }
            Failure::SecondPerson { request, reach_more_than, until } => ApiError::new(HttpCode::SecondPerson, detail)
                .with("request", request.into())
                .with("reach_more_than", reach_more_than.into())
                .with("until", until.to_string().into()),
            Failure::AlreadyAccepted { refusal, order } => {
                ApiError::from(refusal).with("order", json!(order.map(|order| order.to_string())))
            }
            Failure::Store(error) => error.into(),
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = (self.status(), Json(self.to_json())).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if self.0.status == 401 {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(seconds) = self.0.retry_after_seconds {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

/// The page that documents the codes of HTTP alone: the source of `docs/errors-http.md`.
pub fn errors_page() -> String {
    let mut page = String::from(
        "# Error codes of the HTTP API\n\n\
         Every failure is a problem body (RFC 9457, `application/problem+json`): `type`, `title`, `status`, `code`, \
         `detail`, `pointer`.\nThe codes of the device contract travel with the status below; their causes and cures stand \
         in [errors.md](errors.md).\nThe codes of the second table exist over HTTP alone. This page is written by \
         `http::errors_page()`.\n\n## Codes of the contract\n\n| Code | Status |\n|---|---|\n",
    );
    for code in Code::ALL {
        page.push_str(&format!(
            "| [`{code}`]({}) | {} |\n",
            wire::doc_anchor(*code).trim_start_matches("docs/"),
            code.http_status()
        ));
    }
    page.push_str("\n## Codes of HTTP alone\n\n| Code | Status | Cause | Cure |\n|---|---|---|---|\n");
    for code in HttpCode::ALL {
        let (cause, cure) = code.cause_and_cure();
        let (text, status) = (code.as_str(), code.status());
        page.push_str(&format!(
            "| <a id=\"{}\"></a>`{text}` | {status} | {cause} | {cure} |\n",
            text.replace(['.', '_'], "-")
        ));
    }
    page
}
