use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::IntoResponse;
use serde::Deserialize;

use super::error::{ApiError, ApiResult};
use super::request::{Language, Params, Who, instant, page};
use super::{Shared, views};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ExplainParams {
    household: String,
    trigger: String,
    at: Option<String>,
}

pub(super) async fn explain(
    State(shared): State<Arc<Shared>>,
    Who(who): Who,
    wanted: Language,
    Params(params): Params<ExplainParams>,
) -> ApiResult {
    let at = params
        .at
        .as_deref()
        .filter(|text| !text.is_empty())
        .map(|text| instant(text).ok_or_else(|| ApiError::bad_query("at", "write an instant as RFC 3339 has it")));
    let explained = shared.app.explain(&who, &params.household, &params.trigger, at.transpose()?).await?;
    Ok(views::spoken(views::explained(&explained, wanted), wanted))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DecisionParams {
    household: String,
    trigger: Option<String>,
    limit: Option<usize>,
}

pub(super) async fn list_decisions(
    State(shared): State<Arc<Shared>>,
    Who(who): Who,
    Params(params): Params<DecisionParams>,
) -> ApiResult {
    let limit = page(params.limit, None)?.limit;
    let trigger = params.trigger.as_deref().filter(|text| !text.is_empty());
    let found = shared.app.decisions(&who, &params.household, trigger, limit).await?;
    let items = found.iter().map(|(at, input, candidate)| views::decision(*at, *input, candidate)).collect();
    Ok(Json(views::whole_list(items)).into_response())
}
