use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use hearthway_core::id::TriggerId;
use hearthway_core::report::Asked;
use hearthway_core::time::Span;
use serde::Deserialize;

use super::Shared;
use super::error::{ApiError, ApiResult};
use super::request::{Params, Who};
use crate::app::reports;
use crate::app::tokens::Caller;
use crate::engine::reports::{Question, ReportKind};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ReportParams {
    from: Option<String>,
    until: Option<String>,
    trigger: Option<String>,
    window: Option<String>,
    format: Option<String>,
}

pub(super) async fn funnel(
    State(shared): State<Arc<Shared>>,
    Who(who): Who,
    Params(params): Params<ReportParams>,
) -> ApiResult {
    report(&shared, &who, ReportKind::Funnel, params).await
}

pub(super) async fn uplift(
    State(shared): State<Arc<Shared>>,
    Who(who): Who,
    Params(params): Params<ReportParams>,
) -> ApiResult {
    report(&shared, &who, ReportKind::Uplift, params).await
}

pub(super) async fn opt_outs(
    State(shared): State<Arc<Shared>>,
    Who(who): Who,
    Params(params): Params<ReportParams>,
) -> ApiResult {
    report(&shared, &who, ReportKind::OptOuts, params).await
}

pub(super) async fn blocked_reasons(
    State(shared): State<Arc<Shared>>,
    Who(who): Who,
    Params(params): Params<ReportParams>,
) -> ApiResult {
    report(&shared, &who, ReportKind::BlockedReasons, params).await
}

pub(super) async fn channel(
    State(shared): State<Arc<Shared>>,
    Who(who): Who,
    Params(params): Params<ReportParams>,
) -> ApiResult {
    report(&shared, &who, ReportKind::Channel, params).await
}

pub(super) async fn forecast_error(
    State(shared): State<Arc<Shared>>,
    Who(who): Who,
    Params(params): Params<ReportParams>,
) -> ApiResult {
    report(&shared, &who, ReportKind::ForecastError, params).await
}

async fn report(shared: &Shared, who: &Caller, kind: ReportKind, params: ReportParams) -> ApiResult {
    let zone = shared.app.report_zone(who)?;
    let period = reports::period(params.from.as_deref(), params.until.as_deref(), &zone);
    let period = period.map_err(|(name, why)| ApiError::bad_query(name, why))?;
    let trigger =
        params.trigger.as_deref().map(|id| TriggerId::new(id).map_err(|wrong| ApiError::bad_query("trigger", wrong)));
    let window = match &params.window {
        Some(_) if !kind.has_window() => {
            return Err(ApiError::bad_query("window", format!("`{}` looks at no time after an offer", kind.as_str())));
        }
        Some(text) => Some(Span::parse(text).map_err(|wrong| ApiError::bad_query("window", wrong))?),
        None => None,
    };
    if kind == ReportKind::ForecastError && params.trigger.is_some() {
        return Err(ApiError::bad_query("trigger", "forecasts are of products, not of triggers"));
    }
    let as_csv = match params.format.as_deref() {
        None | Some("json") => false,
        Some("csv") => true,
        Some(_) => return Err(ApiError::bad_query("format", "takes `json` or `csv`")),
    };
    let question = Question { kind, asked: Asked { period, trigger: trigger.transpose()? }, window };
    let report = shared.app.report(who, question).await?;
    if as_csv {
        let kind = [(header::CONTENT_TYPE, "text/csv; charset=utf-8")];
        return Ok((kind, reports::csv(&report.found)).into_response());
    }
    Ok(Json(report).into_response())
}
