use std::collections::BTreeSet;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::IntoResponse;
use hearthway_core::id::{MandateId, ProductId, ProfileId, SlotId};
use hearthway_core::money::Money;
use serde::Deserialize;

use super::error::ApiResult;
use super::request::{Body, Who, instant_at, path_name};
use super::{Shared, views};
use crate::app::mandates::MandateGiven;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct MandateBody {
    profile: ProfileId,
    device: String,
    slot: Option<SlotId>,
    products: BTreeSet<ProductId>,
    max_price: Money,
    max_per_30d: u32,
    expires_at: String,
}

pub(super) async fn put_mandate(
    State(shared): State<Arc<Shared>>,
    Who(who): Who,
    Path(id): Path<String>,
    Body(body): Body<MandateBody>,
) -> ApiResult {
    let id = path_name(MandateId::new(&id))?;
    let MandateBody { profile, device, slot, products, max_price, max_per_30d, expires_at } = body;
    let expires_at = instant_at("/expires_at", &expires_at)?;
    let given = MandateGiven { profile, device, slot, products, max_price, max_per_30d, expires_at };
    let mandate = shared.app.put_mandate(&who, &id, given).await?;
    Ok(Json(views::mandate(&mandate)).into_response())
}

pub(super) async fn get_mandate(State(shared): State<Arc<Shared>>, Who(who): Who, Path(id): Path<String>) -> ApiResult {
    Ok(Json(views::mandate(&shared.app.mandate(&who, &id).await?)).into_response())
}

pub(super) async fn delete_mandate(
    State(shared): State<Arc<Shared>>,
    Who(who): Who,
    Path(id): Path<String>,
) -> ApiResult {
    shared.app.end_mandate(&who, &id).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}
