use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use hearthway_core::id::WebhookId;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Shared;
use super::error::{ApiError, ApiResult};
use super::request::{Body, IfMatch, Params, Who, instant_at, page, path_name};
use crate::app::webhooks::{Delivered, WebhookGiven, WebhookView};
use crate::engine::events::{Attempt, EventState};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WebhookBody {
    url: String,
    types: Option<Vec<String>>,
    subject: Option<String>,
}

pub(super) async fn put_webhook(
    State(shared): State<Arc<Shared>>,
    Who(who): Who,
    Path(id): Path<String>,
    IfMatch(condition): IfMatch,
    Body(body): Body<WebhookBody>,
) -> ApiResult {
    let id = path_name(WebhookId::new(&id))?;
    let WebhookBody { url, types, subject } = body;
    let (view, is_new) = shared.app.put_webhook(&who, &id, WebhookGiven { url, types, subject }, &condition).await?;
    let status = if is_new { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, tagged(&view)).into_response())
}

pub(super) async fn get_webhook(State(shared): State<Arc<Shared>>, Who(who): Who, Path(id): Path<String>) -> ApiResult {
    Ok(tagged(&shared.app.webhook(&who, &id)?))
}

pub(super) async fn list_webhooks(State(shared): State<Arc<Shared>>, Who(who): Who) -> ApiResult {
    let items: Vec<Value> = shared.app.webhooks(&who)?.iter().map(webhook).collect();
    Ok(Json(json!({"items": items, "next": null})).into_response())
}

pub(super) async fn delete_webhook(
    State(shared): State<Arc<Shared>>,
    Who(who): Who,
    Path(id): Path<String>,
) -> ApiResult {
    shared.app.delete_webhook(&who, &id).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

pub(super) async fn rotate(State(shared): State<Arc<Shared>>, Who(who): Who, Path(id): Path<String>) -> ApiResult {
    Ok(tagged(&shared.app.rotate_webhook(&who, &id).await?))
}

pub(super) async fn test(State(shared): State<Arc<Shared>>, Who(who): Who, Path(id): Path<String>) -> ApiResult {
    let tested = shared.app.test_webhook(&who, &id).await?;
    let mut answer = attempt(&tested.attempt);
    answer["event"] = tested.event.into();
    answer["delivered"] = tested.attempt.error.is_none().into();
    Ok(Json(answer).into_response())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ReplayBody {
    from: String,
    #[serde(default)]
    delivered: bool,
}

pub(super) async fn replay(
    State(shared): State<Arc<Shared>>,
    Who(who): Who,
    Path(id): Path<String>,
    Body(body): Body<ReplayBody>,
) -> ApiResult {
    let from = instant_at("/from", &body.from)?;
    let replayed = shared.app.replay_webhook(&who, &id, from, body.delivered).await?;
    Ok((StatusCode::ACCEPTED, Json(json!({"replayed": replayed}))).into_response())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LogQuery {
    state: Option<String>,
    limit: Option<usize>,
    cursor: Option<String>,
}

pub(super) async fn deliveries(
    State(shared): State<Arc<Shared>>,
    Who(who): Who,
    Path(id): Path<String>,
    Params(query): Params<LogQuery>,
) -> ApiResult {
    let wrong = || ApiError::bad_query("state", "takes `waiting`, `delivered` or `dead`");
    let state = query.state.map(|text| EventState::parse(&text).ok_or_else(wrong)).transpose()?;
    let found = shared.app.webhook_deliveries(&who, &id, state, &page(query.limit, query.cursor)?)?;
    let items: Vec<Value> = found.items.iter().map(delivery).collect();
    Ok(Json(json!({"items": items, "next": found.next})).into_response())
}

fn tagged(view: &WebhookView) -> Response {
    ([(header::ETAG, view.etag())], Json(webhook(view))).into_response()
}

fn webhook(view: &WebhookView) -> Value {
    let row = &view.row;
    let disabled = row.disabled.as_ref();
    let mut shown = json!({
        "webhook": view.id,
        "url": row.url,
        "types": row.types,
        "subject": row.subject,
        "state": if disabled.is_some() { "disabled" } else { "active" },
        "disabled": disabled.map(|(at, reason)| json!({"at": at.to_string(), "reason": reason})),
        "waiting": view.standing.waiting,
        "dead": view.standing.dead,
        "created_at": row.created_at.to_string(),
        "former_secret_until": row.former.map(|(_, until)| until.to_string()),
    });
    if let Some(secret) = &view.secret {
        shown["secret"] = secret.as_str().into();
    }
    shown
}

fn delivery((_, row): &Delivered) -> Value {
    json!({
        "event": row.id,
        "type": row.kind,
        "subject": row.subject,
        "time": row.at.to_string(),
        "state": row.state.as_str(),
        "attempts": row.attempts,
        "next_at": (row.state == EventState::Waiting).then(|| row.next_at.to_string()),
        "last": row.last.as_ref().map(attempt),
    })
}

fn attempt(attempt: &Attempt) -> Value {
    json!({
        "at": attempt.at.to_string(),
        "status": attempt.status,
        "error": attempt.error,
        "took_ms": attempt.took_ms,
    })
}
