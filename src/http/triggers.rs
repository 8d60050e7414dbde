use std::sync::Arc;

use axum::Json;
use axum::body::Body as RawBody;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use hearthway_core::id::TriggerId;
use hearthway_core::time::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

use super::documents::tagged;
use super::error::{ApiError, ApiResult};
use super::request::{Body, IfMatch, Language, Params, Who, instant, page, path_name};
use super::{Shared, lines, views};
use crate::app::backtests::{Standing, Wanted};
use crate::app::documents::Published;
use crate::app::tries::{Try, TryLive};
use crate::app::triggers::{Finding, TriggerView};

/// A body that says nothing: `{}` or none.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Nothing {}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PublishBody {
    /// The request of somebody else that this one confirms.
    confirm: Option<String>,
}

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
    let problems: Vec<Value> = findings.iter().map(Finding::to_json).collect();
    Ok(Json(json!({"ok": findings.iter().all(|finding| !finding.is_error), "problems": problems})).into_response())
}

pub(super) async fn publish_trigger(
    State(shared): State<Arc<Shared>>,
    Who(who): Who,
    Path(id): Path<String>,
    body: Option<Body<PublishBody>>,
) -> ApiResult {
    let id = path_name(TriggerId::new(&id))?;
    let confirm = body.and_then(|Body(body)| body.confirm);
    Ok(shown(&shared.app.publish_trigger(&who, &id, confirm.as_deref()).await?))
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

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PublishParams {
    others: Option<String>,
}

pub(super) async fn publish_triggers(
    State(shared): State<Arc<Shared>>,
    Who(who): Who,
    Params(params): Params<PublishParams>,
    body: RawBody,
) -> ApiResult {
    let pause_others = match params.others.as_deref() {
        None | Some("keep") => false,
        Some("pause") => true,
        Some(_) => return Err(ApiError::invalid("/others", "`others` is `keep` or `pause`")),
    };
    let lines = lines::whole(body).await?;
    let Published { published, unchanged, paused, held } =
        shared.app.publish_set(&who, lines.into(), pause_others).await?;
    let told = json!({"published": published, "unchanged": unchanged, "paused": paused, "held": held});
    Ok(Json(told).into_response())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RollbackBody {
    version: Option<u64>,
}

pub(super) async fn roll_back_trigger(
    State(shared): State<Arc<Shared>>,
    Who(who): Who,
    Path(id): Path<String>,
    body: Option<Body<RollbackBody>>,
) -> ApiResult {
    let id = path_name(TriggerId::new(&id))?;
    let to = body.and_then(|Body(body)| body.version);
    Ok(shown(&shared.app.roll_back_trigger(&who, &id, to).await?))
}

pub(super) async fn list_versions(
    State(shared): State<Arc<Shared>>,
    Who(who): Who,
    Path(id): Path<String>,
) -> ApiResult {
    let id = path_name(TriggerId::new(&id))?;
    let versions = shared.app.trigger_versions(&who, &id)?;
    Ok(Json(views::whole_list(versions.iter().map(|version| views::version(version)).collect())).into_response())
}

pub(super) async fn get_budget(State(shared): State<Arc<Shared>>, Who(who): Who, Path(id): Path<String>) -> ApiResult {
    let id = path_name(TriggerId::new(&id))?;
    Ok(Json(shared.app.trigger_budget(&who, &id)?.to_json()).into_response())
}

pub(super) async fn list_conflicts(State(shared): State<Arc<Shared>>, Who(who): Who) -> ApiResult {
    let conflicts = shared.app.trigger_conflicts(&who)?;
    Ok(Json(views::whole_list(conflicts.iter().map(|conflict| json!(conflict)).collect())).into_response())
}

pub(super) async fn stop_triggers(
    State(shared): State<Arc<Shared>>,
    Who(who): Who,
    _: Option<Body<Nothing>>,
) -> ApiResult {
    let stopped = shared.app.stop_triggers(&who).await?;
    Ok(Json(json!({"stopped": stopped})).into_response())
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LearnBody {
    /// Whether offers of which little is known are tried; as before where it is not said.
    explore: Option<bool>,
}

pub(super) async fn learn_chances(
    State(shared): State<Arc<Shared>>,
    Who(who): Who,
    body: Option<Body<LearnBody>>,
) -> ApiResult {
    let explore = body.and_then(|Body(body)| body.explore);
    let chances = shared.app.learn_chances(&who, explore).await?;
    Ok(Json(views::chances(&chances)).into_response())
}

pub(super) async fn get_chances(State(shared): State<Arc<Shared>>, Who(who): Who) -> ApiResult {
    Ok(Json(views::chances(&shared.app.chances(&who)?)).into_response())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TryBody {
    household: String,
    device: Option<String>,
    input: Value,
    at: Option<String>,
    trigger: Option<Value>,
}

pub(super) async fn try_trigger(
    State(shared): State<Arc<Shared>>,
    Who(who): Who,
    language: Language,
    Path(id): Path<String>,
    Body(body): Body<TryBody>,
) -> ApiResult {
    let id = path_name(TriggerId::new(&id))?;
    let at = moment("/at", body.at)?;
    let TryBody { household, device, input, trigger, .. } = body;
    let tried = shared.app.try_trigger(&who, &id, Try { household, device, input, at, trigger }).await?;
    Ok(views::spoken(views::tried(&tried, language), language))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TryLiveBody {
    household: String,
    device: Option<String>,
    input: Value,
    at: Option<String>,
}

pub(super) async fn try_live(
    State(shared): State<Arc<Shared>>,
    Who(who): Who,
    language: Language,
    Body(body): Body<TryLiveBody>,
) -> ApiResult {
    let at = moment("/at", body.at)?;
    let TryLiveBody { household, device, input, .. } = body;
    let tried = shared.app.try_live(&who, TryLive { household, device, input, at }).await?;
    Ok(views::spoken(views::tried_live(&tried, language), language))
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DraftBacktestBody {
    from: Option<String>,
    to: Option<String>,
}

pub(super) async fn backtest_draft(
    State(shared): State<Arc<Shared>>,
    Who(who): Who,
    Path(id): Path<String>,
    body: Option<Body<DraftBacktestBody>>,
) -> ApiResult {
    let id = path_name(TriggerId::new(&id))?;
    let DraftBacktestBody { from, to } = body.map(|Body(body)| body).unwrap_or_default();
    let (from, until) = (moment("/from", from)?, moment("/to", to)?);
    Ok(begun(&shared.app.begin_backtest_of_draft(&who, &id, from, until)?))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct BacktestBody {
    #[serde(default)]
    triggers: Vec<Value>,
    #[serde(default)]
    live: bool,
    from: Option<String>,
    to: Option<String>,
}

pub(super) async fn begin_backtest(
    State(shared): State<Arc<Shared>>,
    Who(who): Who,
    Body(body): Body<BacktestBody>,
) -> ApiResult {
    let (from, until) = (moment("/from", body.from)?, moment("/to", body.to)?);
    let wanted = Wanted { triggers: body.triggers, with_live: body.live, from, until };
    Ok(begun(&shared.app.begin_backtest(&who, wanted)?))
}

pub(super) async fn get_backtest(
    State(shared): State<Arc<Shared>>,
    Who(who): Who,
    Path(id): Path<String>,
) -> ApiResult {
    Ok(standing("backtest", &id, shared.app.backtest(&who, &id)?))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ReachBody {
    trigger: Value,
    days: Option<u32>,
}

pub(super) async fn begin_reach(
    State(shared): State<Arc<Shared>>,
    Who(who): Who,
    Body(body): Body<ReachBody>,
) -> ApiResult {
    let id = shared.app.begin_reach(&who, &body.trigger, body.days)?;
    Ok((StatusCode::ACCEPTED, Json(json!({"reach": id, "state": "running"}))).into_response())
}

pub(super) async fn get_reach(State(shared): State<Arc<Shared>>, Who(who): Who, Path(id): Path<String>) -> ApiResult {
    Ok(standing("reach", &id, shared.app.reach(&who, &id)?))
}

/// How a job stands; `name` is what its id is called.
fn standing(name: &str, id: &str, standing: Standing) -> Response {
    let progress = |state: &str, households: u64, total: u64, inputs: u64| json!({"state": state, "households": households, "households_total": total, "inputs": inputs});
    let mut told = match standing {
        Standing::Begun => progress("running", 0, 0, 0),
        Standing::Running(at) => progress("running", at.households, at.households_total, at.inputs),
        Standing::Done(report) => json!({"state": "done", "report": report}),
        Standing::Reached(report) => json!({"state": "done", "report": report}),
        Standing::Failed(detail) => json!({"state": "failed", "detail": detail}),
    };
    told[name] = id.into();
    Json(told).into_response()
}

fn begun(id: &str) -> Response {
    (StatusCode::ACCEPTED, Json(json!({"backtest": id, "state": "running"}))).into_response()
}

/// An instant of a body.
fn moment(pointer: &str, text: Option<String>) -> Result<Option<Timestamp>, ApiError> {
    let wrong = || ApiError::invalid(pointer, "write an instant as RFC 3339 has it");
    text.map(|text| instant(&text).ok_or_else(wrong)).transpose()
}
