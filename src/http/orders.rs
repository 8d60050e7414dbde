use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use hearthway_core::id::ProductId;
use hearthway_core::model::OrderState;
use serde::Deserialize;

use super::error::{ApiError, ApiResult};
use super::request::{Body, Params, Who, page};
use super::{Shared, views};
use crate::app::orders::Moved;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct OrderParams {
    state: Option<String>,
    limit: Option<usize>,
    cursor: Option<String>,
}

fn states() -> String {
    OrderState::ALL.iter().map(|state| state.as_str()).collect::<Vec<_>>().join(", ")
}

pub(super) async fn list_orders(
    State(shared): State<Arc<Shared>>,
    Who(who): Who,
    Params(params): Params<OrderParams>,
) -> ApiResult {
    let state = params.state.as_deref().filter(|state| !state.is_empty()).map(|text| {
        OrderState::parse(text).ok_or_else(|| ApiError::bad_query("state", format!("is one of {}", states())))
    });
    let found = shared.app.orders(&who, state.transpose()?, &page(params.limit, params.cursor)?)?;
    Ok(Json(views::list(found, |(household, order)| views::order(household, &order))).into_response())
}

pub(super) async fn get_order(State(shared): State<Arc<Shared>>, Who(who): Who, Path(id): Path<String>) -> ApiResult {
    let (household, order) = shared.app.order(&who, &id)?;
    Ok(Json(views::order(household, &order)).into_response())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct StatusBody {
    rev: u32,
    state: String,
    eta: Option<String>,
    /// What is sent, where a part is.
    lines: Option<Vec<LineBody>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LineBody {
    product: ProductId,
    qty: u32,
}

/// An order as it is now; one that is kept apart tells nothing of whom it was for.
fn moved(order: &Moved) -> Response {
    Json(match order {
        Moved::Home(household, order) => views::order(*household, order),
        Moved::Locked(order) => views::locked_order(order),
    })
    .into_response()
}

fn lines(lines: Vec<LineBody>) -> Vec<(ProductId, u32)> {
    lines.into_iter().map(|line| (line.product, line.qty)).collect()
}

pub(super) async fn status(
    State(shared): State<Arc<Shared>>,
    Who(who): Who,
    Path(id): Path<String>,
    Body(body): Body<StatusBody>,
) -> ApiResult {
    let state = OrderState::parse(&body.state)
        .ok_or_else(|| ApiError::invalid("/state", format!("a state is one of {}", states())))?;
    let order = match body.lines {
        None => shared.app.set_order_status(&who, &id, body.rev, state, body.eta).await?,
        Some(sent) if state == OrderState::PartiallyShipped => {
            shared.app.ship_lines(&who, &id, body.rev, lines(sent), body.eta).await?
        }
        Some(_) => return Err(ApiError::invalid("/lines", "lines belong to `partially_shipped`; leave them out")),
    };
    Ok(moved(&order))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RefundBody {
    rev: Option<u32>,
    lines: Vec<LineBody>,
}

pub(super) async fn refund(
    State(shared): State<Arc<Shared>>,
    Who(who): Who,
    Path(id): Path<String>,
    Body(body): Body<RefundBody>,
) -> ApiResult {
    Ok(moved(&shared.app.refund_order(&who, &id, body.rev, lines(body.lines)).await?))
}

pub(super) async fn withdraw(
    State(shared): State<Arc<Shared>>,
    Who(who): Who,
    Path(id): Path<String>,
    body: Option<Body<CancelBody>>,
) -> ApiResult {
    let channel = body.and_then(|Body(body)| body.channel).unwrap_or_else(|| "shop".into());
    let (household, order) = shared.app.withdraw_order(&who, &id, &channel).await?;
    Ok(Json(views::order(household, &order)).into_response())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CancelBody {
    channel: Option<String>,
}

pub(super) async fn cancel(
    State(shared): State<Arc<Shared>>,
    Who(who): Who,
    Path(id): Path<String>,
    body: Option<Body<CancelBody>>,
) -> ApiResult {
    let channel = body.and_then(|Body(body)| body.channel).unwrap_or_else(|| "shop".into());
    let (household, order) = shared.app.cancel_order(&who, &id, &channel).await?;
    Ok(Json(views::order(household, &order)).into_response())
}
