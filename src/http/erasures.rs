use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::IntoResponse;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Shared;
use super::error::ApiResult;
use super::request::{Body, Who};
use crate::app::erasures::Erasure;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct EraseBody {
    profile: String,
}

pub(super) async fn post_erase(
    State(shared): State<Arc<Shared>>,
    Who(who): Who,
    Body(body): Body<EraseBody>,
) -> ApiResult {
    begun(shared.app.begin_erasure(&who, &body.profile).await?)
}

pub(super) async fn delete_profile(
    State(shared): State<Arc<Shared>>,
    Who(who): Who,
    Path(profile): Path<String>,
) -> ApiResult {
    begun(shared.app.begin_erasure(&who, &profile).await?)
}

pub(super) async fn get_erase(State(shared): State<Arc<Shared>>, Who(who): Who, Path(id): Path<String>) -> ApiResult {
    Ok(Json(view(&shared.app.erasure(&who, &id)?)).into_response())
}

fn begun(erasure: Erasure) -> ApiResult {
    Ok((StatusCode::ACCEPTED, Json(view(&erasure))).into_response())
}

pub(super) fn view(erasure: &Erasure) -> Value {
    let Erasure { id, begun_at, ended_at, trouble, report, kept_more } = erasure;
    let kept = report
        .kept
        .iter()
        .map(|kept| json!({"what": kept.what, "id": kept.id, "why": kept.why, "until": kept.until.to_string()}));
    json!({
        "erase": id,
        "state": if ended_at.is_some() { "done" } else { "running" },
        "detail": trouble,
        "begun_at": begun_at.to_string(),
        "ended_at": ended_at.map(|at| at.to_string()),
        "report": {
            "homes_emptied": report.homes_emptied,
            "homes_left": report.homes_left,
            "devices_given_back": report.devices_given_back,
            "links_ended": report.links_ended,
            "offers_withdrawn": report.offers_withdrawn,
            "mandates_ended": report.mandates_ended,
            "messages_taken_back": report.messages_taken_back,
            "deleted": report.deleted,
            "sealed_anew": report.sealed_anew,
            "keys_destroyed": report.keys_destroyed,
            "kept": kept.collect::<Vec<_>>(),
            "kept_more": kept_more,
        },
    })
}
