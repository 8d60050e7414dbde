use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::response::IntoResponse;
use hearthway_core::forecast::ProductPrior;
use hearthway_core::id::{ModelId, ProductId, SlotId};
use hearthway_core::model::{Fit, LeadDays, LocalisedText, Product};
use hearthway_core::money::Money;
use serde::Deserialize;
use serde_json::Value;

use super::documents::written;
use super::error::{ApiError, ApiResult};
use super::request::{Body, IfMatch, Params, Who, page, path_name};
use super::{Shared, views};

pub(super) async fn put_model(
    State(shared): State<Arc<Shared>>,
    Who(who): Who,
    IfMatch(condition): IfMatch,
    Path(id): Path<String>,
    Body(body): Body<Value>,
) -> ApiResult {
    let id = path_name(ModelId::new(&id))?;
    let document = shared.app.put_model(&who, &id, &body, &condition).await?;
    Ok(written("model", id.as_str(), &document))
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

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ProductBody {
    id: Option<ProductId>,
    name: LocalisedText,
    gtin: Option<String>,
    price: Money,
    delivery: Option<Money>,
    #[serde(default = "yes")]
    tax_incl: bool,
    seller: Option<String>,
    #[serde(default = "legal_withdraw_days")]
    withdraw_days: u32,
    #[serde(default)]
    fits: Vec<Fit>,
    /// Days from an order to its arrival.
    lead_days: Option<LeadDays>,
    /// What the shop earns on one; without tax and in the currency of the price.
    margin: Option<Money>,
}

/// Prices for people include tax.
fn yes() -> bool {
    true
}

/// The right of withdrawal of European distance selling.
fn legal_withdraw_days() -> u32 {
    14
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
    let own = match who.tenant() {
        hearthway_core::model::Tenant::Retailer(retailer) => retailer.to_string(),
        hearthway_core::model::Tenant::Operator | hearthway_core::model::Tenant::Maker(_) => String::new(),
    };
    let product = Product {
        id: id.clone(),
        name: body.name,
        gtin: body.gtin,
        delivery: body.delivery.unwrap_or(Money::new(0, body.price.currency)),
        price: body.price,
        tax_incl: body.tax_incl,
        seller: body.seller.unwrap_or(own),
        withdraw_days: body.withdraw_days,
        fits: body.fits,
        lead_days: body.lead_days,
        margin: body.margin,
    };
    let document = shared.app.put_product(&who, &product, &condition).await?;
    Ok(written("product", id.as_str(), &document))
}

pub(super) async fn get_product(State(shared): State<Arc<Shared>>, Who(who): Who, Path(id): Path<String>) -> ApiResult {
    let document = shared.app.product(&who, &id)?;
    Ok(written("product", &id, &document))
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
