use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use hearthway_core::id::TriggerId;
use serde::Deserialize;
use serde_json::{Value, json};

use super::documents::tagged;
use super::error::{ApiResult, finding_json};
use super::request::{Body, IfMatch, Params, Who, page, path_name};
use super::{Shared, views};
use crate::app::triggers::TriggerView;

/// A body that says nothing: `{}` or none.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Nothing {}

fn shown(view: &TriggerView) -> Response {
    tagged(view.to_json(), &view.draft.etag())
}

pub(super) async fn put_trigger(
    State(shared): State<Arc<Shared>>,
    Who(who): Who,
    IfMatch(condition): IfMatch,
    Path(id): Path<String>,
    Body(body): Body<Value>,
) -> ApiResult {
    let id = path_name(TriggerId::new(&id))?;
    Ok(shown(&shared.app.put_trigger(&who, &id, body, &condition).await?))
}

pub(super) async fn get_trigger(State(shared): State<Arc<Shared>>, Who(who): Who, Path(id): Path<String>) -> ApiResult {
    Ok(shown(&shared.app.trigger(&who, &id)?))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ListParams {
    limit: Option<usize>,
    cursor: Option<String>,
}

pub(super) async fn list_triggers(
    State(shared): State<Arc<Shared>>,
    Who(who): Who,
    Params(params): Params<ListParams>,
) -> ApiResult {
    let found = shared.app.triggers(&who, &page(params.limit, params.cursor)?)?;
    Ok(Json(views::list(found, |view| view.to_json())).into_response())
}

pub(super) async fn check_trigger(
    State(shared): State<Arc<Shared>>,
    Who(who): Who,
    Path(id): Path<String>,
    body: Option<Body<Value>>,
) -> ApiResult {
    let id = path_name(TriggerId::new(&id))?;
    // `{}` asks for the draft, as no body does.
    let body = body.map(|Body(body)| body).filter(|body| body.as_object().is_none_or(|object| !object.is_empty()));
    let findings = shared.app.check_trigger(&who, &id, body)?;
    let problems: Vec<Value> = findings.iter().map(finding_json).collect();
    Ok(Json(json!({"ok": findings.iter().all(|finding| !finding.is_error), "problems": problems})).into_response())
}

pub(super) async fn publish_trigger(
    State(shared): State<Arc<Shared>>,
    Who(who): Who,
    Path(id): Path<String>,
    _: Option<Body<Nothing>>,
) -> ApiResult {
    let id = path_name(TriggerId::new(&id))?;
    Ok(shown(&shared.app.publish_trigger(&who, &id).await?))
}

pub(super) async fn pause_trigger(
    State(shared): State<Arc<Shared>>,
    Who(who): Who,
    Path(id): Path<String>,
    _: Option<Body<Nothing>>,
) -> ApiResult {
    let id = path_name(TriggerId::new(&id))?;
    Ok(shown(&shared.app.pause_trigger(&who, &id).await?))
}
