use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::response::IntoResponse;
use serde::Deserialize;

use super::error::ApiResult;
use super::request::{Body, Who};
use super::triggers::Nothing;
use super::{Shared, customer_views};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct MergeBody {
    from: String,
    into: String,
}

pub(super) async fn merge(State(shared): State<Arc<Shared>>, Who(who): Who, Body(body): Body<MergeBody>) -> ApiResult {
    let row = shared.app.merge_profiles(&who, &body.from, &body.into).await?;
    Ok(Json(customer_views::merge(&row)).into_response())
}

pub(super) async fn get_merge(State(shared): State<Arc<Shared>>, Who(who): Who, Path(id): Path<String>) -> ApiResult {
    Ok(Json(customer_views::merge(&shared.app.merge(&who, &id)?)).into_response())
}

pub(super) async fn undo_merge(
    State(shared): State<Arc<Shared>>,
    Who(who): Who,
    Path(id): Path<String>,
    _: Option<Body<Nothing>>,
) -> ApiResult {
    let row = shared.app.undo_merge(&who, &id).await?;
    Ok(Json(customer_views::merge(&row)).into_response())
}
