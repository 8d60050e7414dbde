use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::IntoResponse;
use hearthway_core::id::ProfileId;
use hearthway_core::model::{ConsentSource, Purpose};
use serde::Deserialize;

use super::claims::{ConsentBody, given};
use super::error::ApiResult;
use super::profiles::PageParams;
use super::request::{Body, Params, Who, path_name};
use super::{Shared, customer_views, views};
use crate::app::consent_texts::ConsentTextGiven;

pub(super) async fn get_consents(
    State(shared): State<Arc<Shared>>,
    Who(who): Who,
    Path(id): Path<String>,
) -> ApiResult {
    let person = shared.app.profile(&who, &id).await?;
    Ok(Json(customer_views::consent_list(&person)).into_response())
}

/// Who set it: the shop where nothing is said, or the customer in the shop's app.
#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum SetBy {
    #[default]
    Shop,
    App,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ConsentsBody {
    consents: Vec<ConsentBody>,
    #[serde(default)]
    source: SetBy,
}

pub(super) async fn put_consents(
    State(shared): State<Arc<Shared>>,
    Who(who): Who,
    Path(id): Path<String>,
    Body(body): Body<ConsentsBody>,
) -> ApiResult {
    let id = path_name(ProfileId::new(&id))?;
    let source = match body.source {
        SetBy::Shop => ConsentSource::Shop,
        SetBy::App => ConsentSource::App,
    };
    let person = shared.app.set_consents(&who, &id, &given(body.consents)?, source).await?;
    Ok(Json(customer_views::consent_list(&person)).into_response())
}

pub(super) async fn get_history(
    State(shared): State<Arc<Shared>>,
    Who(who): Who,
    Path(id): Path<String>,
    Params(params): Params<PageParams>,
) -> ApiResult {
    let found = shared.app.consent_history(&who, &id, &params.page()?).await?;
    Ok(Json(views::list(found, |(who, said)| customer_views::consent_said(&who, &said))).into_response())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TextBody {
    id: String,
    purposes: BTreeSet<Purpose>,
    text: BTreeMap<String, String>,
    #[serde(default)]
    ask_again: bool,
}

pub(super) async fn post_text(
    State(shared): State<Arc<Shared>>,
    Who(who): Who,
    Body(body): Body<TextBody>,
) -> ApiResult {
    let TextBody { id, purposes, text, ask_again } = body;
    let written = shared.app.put_consent_text(&who, ConsentTextGiven { id, purposes, text, ask_again }).await?;
    Ok((StatusCode::CREATED, Json(customer_views::consent_text(&written))).into_response())
}

pub(super) async fn list_texts(
    State(shared): State<Arc<Shared>>,
    Who(who): Who,
    Params(params): Params<PageParams>,
) -> ApiResult {
    let found = shared.app.consent_texts(&who, &params.page()?)?;
    Ok(Json(views::list(found, |view| customer_views::consent_text(&view))).into_response())
}

pub(super) async fn list_text_versions(
    State(shared): State<Arc<Shared>>,
    Who(who): Who,
    Path(id): Path<String>,
) -> ApiResult {
    let versions = shared.app.consent_text_versions(&who, &id)?;
    Ok(Json(views::whole_list(versions.iter().map(customer_views::consent_text).collect())).into_response())
}
