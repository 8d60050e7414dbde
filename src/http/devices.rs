use std::sync::Arc;

use axum::Json;
use axum::body::Body as RawBody;
use axum::extract::{Path, State};
use axum::response::IntoResponse;
use hearthway_core::id::{DeviceName, MakerId, ModelId};
use serde::Deserialize;
use serde_json::{Value, json};

use super::error::{ApiError, ApiResult};
use super::request::{Body, Params, Who, page, read};
use super::triggers::Nothing;
use super::{Shared, lines, views};
use crate::app::devices::{DeviceFilter, MESSAGES_MAX};
use crate::app::registry::NewDevice;
use crate::app::tokens::{Caller, Scope};

/// Messages shown where the caller does not say.
const MESSAGES_DEFAULT: usize = 20;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DeviceParams {
    health: Option<String>,
    model: Option<String>,
    q: Option<String>,
    limit: Option<usize>,
    cursor: Option<String>,
}

pub(super) async fn list_devices(
    State(shared): State<Arc<Shared>>,
    Who(who): Who,
    Params(params): Params<DeviceParams>,
) -> ApiResult {
    let filter = DeviceFilter { health: params.health, model: params.model, q: params.q };
    let found = shared.app.devices(&who, &filter, &page(params.limit, params.cursor)?).await?;
    Ok(Json(views::list(found, |view| views::device(&view))).into_response())
}

pub(super) async fn get_device(
    State(shared): State<Arc<Shared>>,
    Who(who): Who,
    Path(name): Path<String>,
) -> ApiResult {
    Ok(Json(views::device(&shared.app.device(&who, &name).await?)).into_response())
}

pub(super) async fn get_state(State(shared): State<Arc<Shared>>, Who(who): Who, Path(name): Path<String>) -> ApiResult {
    Ok(Json(views::device_state(&shared.app.device(&who, &name).await?)).into_response())
}

pub(super) async fn get_slot_history(
    State(shared): State<Arc<Shared>>,
    Who(who): Who,
    Path((name, slot)): Path<(String, String)>,
) -> ApiResult {
    let (view, slot, history) = shared.app.slot_history(&who, &name, &slot).await?;
    Ok(Json(views::slot_history(&view, &shared.app.engine.rules(), &slot, &history)).into_response())
}

pub(super) async fn get_slots(State(shared): State<Arc<Shared>>, Who(who): Who, Path(name): Path<String>) -> ApiResult {
    Ok(Json(views::device_slots(&shared.app.device(&who, &name).await?, &shared.app.engine.rules())).into_response())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct MessageParams {
    last: Option<usize>,
}

pub(super) async fn get_messages(
    State(shared): State<Arc<Shared>>,
    Who(who): Who,
    Path(name): Path<String>,
    Params(params): Params<MessageParams>,
) -> ApiResult {
    let last = params.last.unwrap_or(MESSAGES_DEFAULT);
    if last == 0 || last > MESSAGES_MAX {
        return Err(ApiError::bad_query("last", format!("takes 1 to {MESSAGES_MAX}")));
    }
    let seen = shared.app.device_messages(&who, &name, last)?;
    Ok(Json(views::whole_list(seen.iter().map(views::message).collect())).into_response())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SuspendBody {
    reason: Option<String>,
}

pub(super) async fn suspend(
    State(shared): State<Arc<Shared>>,
    Who(who): Who,
    Path(name): Path<String>,
    body: Option<Body<SuspendBody>>,
) -> ApiResult {
    let reason = body.and_then(|Body(body)| body.reason).unwrap_or_else(|| "suspended by hand".into());
    Ok(Json(views::device(&shared.app.suspend_device(&who, &name, &reason).await?)).into_response())
}

pub(super) async fn resume(
    State(shared): State<Arc<Shared>>,
    Who(who): Who,
    Path(name): Path<String>,
    _: Option<Body<Nothing>>,
) -> ApiResult {
    Ok(Json(views::device(&shared.app.resume_device(&who, &name).await?)).into_response())
}

pub(super) async fn release(
    State(shared): State<Arc<Shared>>,
    Who(who): Who,
    Path(name): Path<String>,
    _: Option<Body<Nothing>>,
) -> ApiResult {
    Ok(Json(views::device(&shared.app.release_device(&who, &name).await?)).into_response())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DeviceLine {
    maker: Option<MakerId>,
    device: DeviceName,
    model: ModelId,
    serial: Option<String>,
}

pub(super) async fn bulk_devices(State(shared): State<Arc<Shared>>, Who(who): Who, body: RawBody) -> ApiResult {
    who.may(Scope::DevicesRegister)?;
    Ok(lines::answer(body, move |line| bulk_device(shared.clone(), who.clone(), line)))
}

async fn bulk_device(shared: Arc<Shared>, who: Caller, line: Vec<u8>) -> ApiResult<Value> {
    let line: DeviceLine = read(&line)?;
    let new = NewDevice { maker: line.maker, device: line.device, model: line.model, serial: line.serial };
    let credential = shared.app.register_device(&who, new).await?;
    Ok(json!({
        "device": credential.device.device.as_str(),
        "username": credential.device.to_string(),
        "secret": credential.secret,
    }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AttemptParams {
    limit: Option<usize>,
}

pub(super) async fn list_attempts(
    State(shared): State<Arc<Shared>>,
    Who(who): Who,
    Params(params): Params<AttemptParams>,
) -> ApiResult {
    let attempts = shared.app.provisioning_attempts(&who, page(params.limit, None)?.limit)?;
    Ok(Json(views::whole_list(attempts.iter().map(views::attempt).collect())).into_response())
}
