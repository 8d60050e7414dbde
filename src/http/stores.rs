use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::IntoResponse;
use hearthway_core::id::{SellerId, StoreId, TriggerId};
use hearthway_core::model::Fulfil;
use serde::Deserialize;

use super::documents::written;
use super::error::ApiResult;
use super::request::{Body, IfMatch, Params, Who, page, path_name};
use super::{Shared, views};
use crate::app::catalog::document_json;
use crate::app::catalog::quote::QuoteAsked;
use crate::app::catalog::reservations::ReservationBody;
use crate::app::catalog::sellers::SellerBody;
use crate::app::catalog::stores::StoreBody;

pub(super) async fn put_store(
    State(shared): State<Arc<Shared>>,
    Who(who): Who,
    IfMatch(condition): IfMatch,
    Path(id): Path<String>,
    Body(body): Body<StoreBody>,
) -> ApiResult {
    let id = path_name(StoreId::new(&id))?;
    let document = shared.app.put_store(&who, &id, body, &condition).await?;
    Ok(written("store", id.as_str(), &document))
}

pub(super) async fn get_store(State(shared): State<Arc<Shared>>, Who(who): Who, Path(id): Path<String>) -> ApiResult {
    let document = shared.app.store(&who, &id)?;
    Ok(written("store", &id, &document))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PageParams {
    limit: Option<usize>,
    cursor: Option<String>,
}

pub(super) async fn list_stores(
    State(shared): State<Arc<Shared>>,
    Who(who): Who,
    Params(params): Params<PageParams>,
) -> ApiResult {
    let found = shared.app.stores(&who, &page(params.limit, params.cursor)?)?;
    let shown = |(id, document): (String, Arc<crate::app::documents::Document>)| {
        let mut json = document_json(&document);
        json["store"] = id.into();
        json
    };
    Ok(Json(views::list(found, shown)).into_response())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct StockBody {
    /// Null ends the counting.
    on_hand: Option<u32>,
}

pub(super) async fn put_stock(
    State(shared): State<Arc<Shared>>,
    Who(who): Who,
    Path((store, product)): Path<(String, String)>,
    Body(body): Body<StockBody>,
) -> ApiResult {
    Ok(Json(shared.app.put_stock(&who, &store, &product, body.on_hand).await?).into_response())
}

pub(super) async fn get_stock(
    State(shared): State<Arc<Shared>>,
    Who(who): Who,
    Path((store, product)): Path<(String, String)>,
) -> ApiResult {
    Ok(Json(shared.app.stock(&who, &store, &product)?).into_response())
}

pub(super) async fn reserve(
    State(shared): State<Arc<Shared>>,
    Who(who): Who,
    Body(body): Body<ReservationBody>,
) -> ApiResult {
    Ok((StatusCode::CREATED, Json(shared.app.reserve(&who, &body).await?)).into_response())
}

pub(super) async fn end_reservation(
    State(shared): State<Arc<Shared>>,
    Who(who): Who,
    Path(id): Path<String>,
) -> ApiResult {
    shared.app.end_reservation(&who, &id).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

pub(super) async fn put_seller(
    State(shared): State<Arc<Shared>>,
    Who(who): Who,
    Path((product, seller)): Path<(String, String)>,
    Body(body): Body<SellerBody>,
) -> ApiResult {
    let seller = path_name(SellerId::new(&seller))?;
    Ok(Json(shared.app.put_seller_offer(&who, &product, &seller, body).await?).into_response())
}

pub(super) async fn delete_seller(
    State(shared): State<Arc<Shared>>,
    Who(who): Who,
    Path((product, seller)): Path<(String, String)>,
) -> ApiResult {
    shared.app.delete_seller_offer(&who, &product, &seller).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct QuoteParams {
    profile: Option<String>,
    trigger: Option<TriggerId>,
    qty: Option<u32>,
    fulfil: Option<Fulfil>,
}

pub(super) async fn quote(
    State(shared): State<Arc<Shared>>,
    Who(who): Who,
    Path(product): Path<String>,
    Params(params): Params<QuoteParams>,
) -> ApiResult {
    let QuoteParams { profile, trigger, qty, fulfil } = params;
    let asked = QuoteAsked { profile, trigger, qty, fulfil };
    Ok(Json(shared.app.quote(&who, &product, asked).await?).into_response())
}
