use std::collections::BTreeSet;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::response::IntoResponse;
use hearthway_core::id::ProfileId;
use hearthway_core::time::Zone;
use serde::Deserialize;

use super::claims::{ConsentBody, given};
use super::documents::tagged;
use super::error::ApiResult;
use super::request::{Body, IfMatch, Who, path_name};
use super::{Shared, views};
use crate::app::profiles::ProfileChange;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ProfileBody {
    display_name: Option<String>,
    locale: Option<String>,
    tz: Option<Zone>,
    segments: Option<BTreeSet<String>>,
}

pub(super) async fn put_profile(
    State(shared): State<Arc<Shared>>,
    Who(who): Who,
    IfMatch(condition): IfMatch,
    Path(id): Path<String>,
    Body(body): Body<ProfileBody>,
) -> ApiResult {
    let id = path_name(ProfileId::new(&id))?;
    let change =
        ProfileChange { display_name: body.display_name, locale: body.locale, zone: body.tz, segments: body.segments };
    let person = shared.app.put_profile(&who, &id, change, &condition).await?;
    Ok(tagged(views::person(&person), &person.etag()))
}

pub(super) async fn get_profile(State(shared): State<Arc<Shared>>, Who(who): Who, Path(id): Path<String>) -> ApiResult {
    let person = shared.app.profile(&who, &id).await?;
    Ok(tagged(views::person(&person), &person.etag()))
}

pub(super) async fn get_consents(
    State(shared): State<Arc<Shared>>,
    Who(who): Who,
    Path(id): Path<String>,
) -> ApiResult {
    let person = shared.app.profile(&who, &id).await?;
    Ok(Json(views::consent_list(&person)).into_response())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ConsentsBody {
    consents: Vec<ConsentBody>,
}

pub(super) async fn put_consents(
    State(shared): State<Arc<Shared>>,
    Who(who): Who,
    Path(id): Path<String>,
    Body(body): Body<ConsentsBody>,
) -> ApiResult {
    let id = path_name(ProfileId::new(&id))?;
    let person = shared.app.set_consents(&who, &id, &given(body.consents)?).await?;
    Ok(Json(views::consent_list(&person)).into_response())
}
