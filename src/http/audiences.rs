use std::sync::Arc;

use axum::Json;
use axum::body::Body as RawBody;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::IntoResponse;
use hearthway_core::id::AudienceId;
use serde::Deserialize;
use serde_json::{Value, json};

use super::documents::tagged;
use super::error::ApiResult;
use super::profiles::PageParams;
use super::request::{Body, IfMatch, Params, Who, path_name, read};
use super::{Shared, lines, views};
use crate::app::audiences::AudienceBody;
use crate::app::tokens::Caller;

pub(super) async fn put_audience(
    State(shared): State<Arc<Shared>>,
    Who(who): Who,
    IfMatch(condition): IfMatch,
    Path(id): Path<String>,
    Body(body): Body<AudienceBody>,
) -> ApiResult {
    let id = path_name(AudienceId::new(&id))?;
    let view = shared.app.put_audience(&who, &id, body, &condition).await?;
    Ok(tagged(view.to_json(), &view.document.etag()))
}

pub(super) async fn get_audience(
    State(shared): State<Arc<Shared>>,
    Who(who): Who,
    Path(id): Path<String>,
) -> ApiResult {
    let view = shared.app.audience(&who, &id)?;
    Ok(tagged(view.to_json(), &view.document.etag()))
}

pub(super) async fn list_audiences(
    State(shared): State<Arc<Shared>>,
    Who(who): Who,
    Params(params): Params<PageParams>,
) -> ApiResult {
    let found = shared.app.audiences(&who, &params.page()?)?;
    Ok(Json(views::list(found, |view| view.to_json())).into_response())
}

pub(super) async fn delete_audience(
    State(shared): State<Arc<Shared>>,
    Who(who): Who,
    Path(id): Path<String>,
) -> ApiResult {
    shared.app.delete_audience(&who, &id).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

pub(super) async fn count_audience(
    State(shared): State<Arc<Shared>>,
    Who(who): Who,
    Path(id): Path<String>,
) -> ApiResult {
    Ok(Json(shared.app.count_audience(&who, &id).await?).into_response())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct MemberLine {
    profile: String,
    #[serde(default)]
    remove: bool,
}

pub(super) async fn bulk_members(
    State(shared): State<Arc<Shared>>,
    Who(who): Who,
    Path(id): Path<String>,
    body: RawBody,
) -> ApiResult {
    shared.app.check_list(&who, &id)?;
    Ok(lines::answer(body, move |line| bulk_member(shared.clone(), who.clone(), id.clone(), line)))
}

async fn bulk_member(shared: Arc<Shared>, who: Caller, audience: String, line: Vec<u8>) -> ApiResult<Value> {
    let MemberLine { profile, remove } = read(&line)?;
    shared.app.set_on_list(&who, &audience, &profile, !remove).await?;
    Ok(json!({"profile": profile, "member": !remove}))
}
