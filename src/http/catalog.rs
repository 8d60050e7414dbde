use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use hearthway_core::forecast::ProductPrior;
use hearthway_core::id::{ModelId, ProductId, SlotId};
use serde::Deserialize;
use serde_json::Value;

use super::documents::{tagged, written, written_with};
use super::error::{ApiError, ApiResult};
use super::request::{Body, IfMatch, Params, Who, page, path_name};
use super::{Shared, views};
use crate::app::catalog::TaggedProduct;
use crate::app::catalog::form::ProductBody;

pub(super) async fn put_model(
    State(shared): State<Arc<Shared>>,
    Who(who): Who,
    IfMatch(condition): IfMatch,
    Path(id): Path<String>,
    Body(body): Body<Value>,
) -> ApiResult {
    let id = path_name(ModelId::new(&id))?;
    let (document, warnings) = shared.app.put_model(&who, &id, &body, &condition).await?;
    Ok(written_with("model", id.as_str(), &document, &warnings))
}

pub(super) async fn get_model(State(shared): State<Arc<Shared>>, Who(who): Who, Path(id): Path<String>) -> ApiResult {
    let document = shared.app.model(&who, &id)?;
    Ok(written("model", &id, &document))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PriorQuery {
    /// Of the homes of one time zone only.
    region: Option<String>,
}

pub(super) async fn put_prior(
    State(shared): State<Arc<Shared>>,
    Who(who): Who,
    IfMatch(condition): IfMatch,
    Path(product): Path<String>,
    Params(of): Params<PriorQuery>,
    Body(prior): Body<ProductPrior>,
) -> ApiResult {
    let document = shared.app.put_prior(&who, &product, of.region.as_deref(), &prior, &condition).await?;
    Ok(written("product", &product, &document))
}

pub(super) async fn get_prior(
    State(shared): State<Arc<Shared>>,
    Who(who): Who,
    Path(product): Path<String>,
    Params(of): Params<PriorQuery>,
) -> ApiResult {
    let document = shared.app.prior(&who, &product, of.region.as_deref())?;
    Ok(written("product", &product, &document))
}

pub(super) async fn put_product(
    State(shared): State<Arc<Shared>>,
    Who(who): Who,
    IfMatch(condition): IfMatch,
    Path(id): Path<String>,
    Body(body): Body<ProductBody>,
) -> ApiResult {
    let id = path_name(ProductId::new(&id))?;
    if body.id.as_ref().is_some_and(|named| *named != id) {
        return Err(ApiError::invalid("/id", format!("the path says `{id}`; leave the field out or repeat it")));
    }
    let kept = shared.app.put_product(&who, &id, body, &condition).await?;
    let warnings = kept.warnings.clone();
    Ok(shown_with(kept, &warnings))
}

pub(super) async fn get_product(State(shared): State<Arc<Shared>>, Who(who): Who, Path(id): Path<String>) -> ApiResult {
    Ok(shown(shared.app.product(&who, &id)?))
}

pub(super) async fn delete_product(
    State(shared): State<Arc<Shared>>,
    Who(who): Who,
    IfMatch(condition): IfMatch,
    Path(id): Path<String>,
) -> ApiResult {
    shared.app.delete_product(&who, &id, &condition).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// A product with its tag, its id also under the name of its noun.
fn shown(product: TaggedProduct) -> Response {
    shown_with(product, &[])
}

/// The same, with what looked like a slip in what was written.
fn shown_with(product: TaggedProduct, warnings: &[String]) -> Response {
    let mut json = product.json;
    json["product"] = json["id"].clone();
    if !warnings.is_empty() {
        json["warnings"] = warnings.into();
    }
    tagged(json, &product.etag)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ProductParams {
    fits: Option<String>,
    limit: Option<usize>,
    cursor: Option<String>,
}

pub(super) async fn list_products(
    State(shared): State<Arc<Shared>>,
    Who(who): Who,
    Params(params): Params<ProductParams>,
) -> ApiResult {
    let fits = params.fits.as_deref().map(fit).transpose()?;
    let found = shared.app.products(&who, fits.as_ref(), &page(params.limit, params.cursor)?)?;
    Ok(Json(views::list(found, |product| product)).into_response())
}

fn fit(text: &str) -> Result<(ModelId, SlotId), ApiError> {
    let bad = || ApiError::bad_query("fits", "write it as `model:slot`, such as `th-200:air_filter`");
    let (model, slot) = text.split_once(':').ok_or_else(bad)?;
    Ok((ModelId::new(model).map_err(|_| bad())?, SlotId::new(slot).map_err(|_| bad())?))
}
