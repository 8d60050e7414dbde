use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::response::IntoResponse;
use hearthway_core::id::PoolId;
use serde::Deserialize;

use super::error::ApiResult;
use super::request::{Body, Who, path_name};
use super::{Shared, error::ApiError};
use crate::app::codes::pool_json;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ImportBody {
    pool: String,
    codes: Vec<String>,
}

pub(super) async fn import_codes(
    State(shared): State<Arc<Shared>>,
    Who(who): Who,
    Body(body): Body<ImportBody>,
) -> ApiResult {
    let pool = PoolId::new(&body.pool).map_err(|error| ApiError::invalid("/pool", error.to_string()))?;
    let imported = shared.app.import_codes(&who, &pool, &body.codes).await?;
    Ok(Json(imported.to_json(&pool)).into_response())
}

pub(super) async fn get_pool(State(shared): State<Arc<Shared>>, Who(who): Who, Path(pool): Path<String>) -> ApiResult {
    let pool = path_name(PoolId::new(&pool))?;
    Ok(Json(pool_json(&pool, &shared.app.code_pool(&who, &pool)?)).into_response())
}
