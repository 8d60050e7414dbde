use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::response::IntoResponse;
use hearthway_core::id::{FieldName, HouseholdId};
use hearthway_core::time::{Span, Zone};
use serde::Deserialize;
use serde_json::json;

use super::Shared;
use super::error::{ApiError, ApiResult};
use super::request::{Body, Who, path_name};
use crate::app::context::{ContextWord, Place, Scalar};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ContextBody {
    value: Scalar,
    ttl_s: u32,
    household: Option<HouseholdId>,
    region: Option<Zone>,
    step_max: Option<f64>,
}

pub(super) async fn post_context(
    State(shared): State<Arc<Shared>>,
    Who(who): Who,
    Path(kind): Path<String>,
    Body(body): Body<ContextBody>,
) -> ApiResult {
    let kind = path_name(FieldName::new(&kind))?;
    let place = match (body.household, body.region) {
        (Some(home), None) => Place::Home(home),
        (None, Some(zone)) => Place::Region(zone),
        (None, None) | (Some(_), Some(_)) => {
            return Err(ApiError::invalid("/household", "name either `household` or `region`, a time zone"));
        }
    };
    let (value, ttl) = (body.value.to_value(), Span::seconds(body.ttl_s.into()));
    let word = ContextWord { kind, value, ttl, place, step_max: body.step_max };
    let told = shared.app.set_context(&who, &word).await?;
    let until = told.until.to_string();
    let told = json!({"kind": word.kind.as_str(), "homes": told.homes, "doubted": told.doubted, "until": until});
    Ok(Json(told).into_response())
}
