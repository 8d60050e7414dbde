//! Price lists: set as a whole, as JSON or as JSON Lines.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, Request, State};
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use hearthway_core::id::PriceListId;
use serde::Deserialize;
use serde_json::{Value, json};

use super::documents::tagged;
use super::error::{ApiError, ApiResult};
use super::request::{IfMatch, Params, Who, page, path_name, read, whole};
use super::{Shared, views};
use crate::app::catalog::price_lists::{ListBody, ListPage, ListSet};

/// A list as JSON. What a GET shows beside its items may be written back with them.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ItemsBody {
    items: Vec<Value>,
    next: Option<String>,
    #[serde(default, rename = "list")]
    _list: serde::de::IgnoredAny,
    #[serde(default, rename = "products")]
    _products: serde::de::IgnoredAny,
    #[serde(default, rename = "etag")]
    _etag: serde::de::IgnoredAny,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ListParams {
    limit: Option<usize>,
    cursor: Option<String>,
}

pub(super) async fn put_price_list(
    State(shared): State<Arc<Shared>>,
    Who(who): Who,
    IfMatch(condition): IfMatch,
    Path(list): Path<String>,
    request: Request,
) -> ApiResult {
    let list = path_name(PriceListId::new(&list))?;
    let kind = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let is_lines =
        ["application/x-ndjson", "application/jsonl"].iter().any(|lines| kind.trim_start().starts_with(lines));
    let bytes = whole(request, &shared).await?;
    let body = match is_lines {
        true => ListBody::Lines(bytes.into()),
        false => {
            let ItemsBody { items, next, .. } = read(&bytes)?;
            if next.is_some() {
                let why = "this is a page of a list, and a list is set as a whole; send all of its items";
                return Err(ApiError::invalid("/next", why));
            }
            ListBody::Items(items)
        }
    };
    let ListSet { items, products, changed, etag } = shared.app.put_price_list(&who, &list, body, &condition).await?;
    Ok(tagged(json!({"list": list, "items": items, "products": products, "changed": changed, "etag": etag}), &etag))
}

pub(super) async fn get_price_list(
    State(shared): State<Arc<Shared>>,
    Who(who): Who,
    Path(list): Path<String>,
    Params(params): Params<ListParams>,
) -> ApiResult {
    let ListPage { page, products, etag } =
        shared.app.price_list(&who, &list, &page(params.limit, params.cursor)?).await?;
    let shown = json!({"list": list, "products": products, "etag": etag, "items": page.items, "next": page.next});
    Ok(tagged(shown, &etag))
}

pub(super) async fn delete_price_list(
    State(shared): State<Arc<Shared>>,
    Who(who): Who,
    IfMatch(condition): IfMatch,
    Path(list): Path<String>,
) -> ApiResult {
    shared.app.delete_price_list(&who, &list, &condition).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

pub(super) async fn list_price_lists(
    State(shared): State<Arc<Shared>>,
    Who(who): Who,
    Params(params): Params<ListParams>,
) -> ApiResult {
    let found = shared.app.price_lists(&who, &page(params.limit, params.cursor)?)?;
    Ok(Json(views::list(found, |list| list)).into_response())
}
