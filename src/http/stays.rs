use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::IntoResponse;
use serde::Deserialize;

use super::error::{ApiError, ApiResult};
use super::request::{Body, Who, instant_at};
use super::{Shared, views};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ModeBody {
    mode: String,
    until: Option<String>,
}

pub(super) async fn share(
    State(shared): State<Arc<Shared>>,
    Who(who): Who,
    Path(device): Path<String>,
    Body(body): Body<ModeBody>,
) -> ApiResult {
    if body.mode != "shared_public" {
        return Err(ApiError::invalid("/mode", "the only mode is `shared_public`; DELETE takes it back"));
    }
    let until = body.until.as_deref().map(|text| instant_at("/until", text)).transpose()?;
    Ok(Json(views::device(&shared.app.share_with_guests(&who, &device, until).await?)).into_response())
}

pub(super) async fn end(State(shared): State<Arc<Shared>>, Who(who): Who, Path(device): Path<String>) -> ApiResult {
    shared.app.end_sharing(&who, &device).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}
