use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::IntoResponse;
use hearthway_core::id::{MakerId, ProfileId};
use serde::Deserialize;
use serde_json::json;

use super::error::ApiResult;
use super::request::{Body, Params, Who};
use super::triggers::Nothing;
use super::{Shared, views};

pub(super) async fn flag_own(
    State(shared): State<Arc<Shared>>,
    Who(who): Who,
    Path(device): Path<String>,
    _: Option<Body<Nothing>>,
) -> ApiResult {
    shared.app.flag_own_stolen(&who, &device, true).await?;
    Ok(Json(json!({"device": device, "stolen": true})).into_response())
}

pub(super) async fn end_own(State(shared): State<Arc<Shared>>, Who(who): Who, Path(device): Path<String>) -> ApiResult {
    shared.app.flag_own_stolen(&who, &device, false).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

pub(super) async fn flag(
    State(shared): State<Arc<Shared>>,
    Who(who): Who,
    Path(device): Path<String>,
    _: Option<Body<Nothing>>,
) -> ApiResult {
    Ok(Json(views::device(&shared.app.flag_stolen(&who, &device, true).await?)).into_response())
}

pub(super) async fn end(State(shared): State<Arc<Shared>>, Who(who): Who, Path(device): Path<String>) -> ApiResult {
    shared.app.flag_stolen(&who, &device, false).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ClaimableParams {
    maker: Option<MakerId>,
    profile: Option<ProfileId>,
}

pub(super) async fn claimable(
    State(shared): State<Arc<Shared>>,
    Who(who): Who,
    Path(serial): Path<String>,
    Params(params): Params<ClaimableParams>,
) -> ApiResult {
    let asked = shared.app.is_claimable(&who, &serial, params.maker.as_ref(), params.profile.as_ref());
    Ok(Json(json!({"claimable": asked.await?})).into_response())
}
