use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::response::IntoResponse;
use serde::Deserialize;

use super::error::ApiResult;
use super::request::{Params, Who, page};
use super::{Shared, views};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct QuarantineParams {
    limit: Option<usize>,
    cursor: Option<String>,
}

pub(super) async fn list_quarantine(
    State(shared): State<Arc<Shared>>,
    Who(who): Who,
    Path(maker): Path<String>,
    Params(params): Params<QuarantineParams>,
) -> ApiResult {
    let found = shared.app.quarantine(&who, &maker, &page(params.limit, params.cursor)?)?;
    Ok(Json(views::list(found, |row| views::quarantined(&row))).into_response())
}
