use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::IntoResponse;
use hearthway_core::id::ProfileId;
use hearthway_core::model::Role;
use serde::Deserialize;

use super::claims::{ConsentBody, given, link_json};
use super::error::{ApiError, ApiResult};
use super::request::{Body, Who};
use super::{Shared, customer_views, views};
use crate::app::members::NewMember;
use crate::app::profiles::ProfileChange;

pub(super) async fn get_household(
    State(shared): State<Arc<Shared>>,
    Who(who): Who,
    Path(device): Path<String>,
) -> ApiResult {
    Ok(Json(customer_views::household(&shared.app.home_of_device(&who, &device).await?)).into_response())
}

pub(super) async fn list_members(
    State(shared): State<Arc<Shared>>,
    Who(who): Who,
    Path(device): Path<String>,
) -> ApiResult {
    Ok(Json(customer_views::members(&shared.app.home_of_device(&who, &device).await?)).into_response())
}

/// Either a person who is linked at once, or whoever takes the invitation up.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct MemberBody {
    profile: Option<ProfileId>,
    #[serde(default)]
    invite: bool,
    by: Option<ProfileId>,
    role: Role,
    display_name: Option<String>,
    locale: Option<String>,
    #[serde(default)]
    consents: Vec<ConsentBody>,
}

pub(super) async fn add_member(
    State(shared): State<Arc<Shared>>,
    Who(who): Who,
    Path(device): Path<String>,
    Body(body): Body<MemberBody>,
) -> ApiResult {
    let MemberBody { profile, invite, by, role, display_name, locale, consents } = body;
    match (profile, invite, by) {
        (None, true, Some(by)) => {
            let invitation = shared.app.invite(&who, &device, &by, role).await?;
            Ok((StatusCode::CREATED, Json(customer_views::invitation(&invitation))).into_response())
        }
        (None, true, None) => Err(ApiError::invalid("/by", "say which owner invites")),
        (None, false, _) => Err(ApiError::invalid("/profile", "say who joins, or `invite` somebody by a code")),
        (Some(_), true, _) => Err(ApiError::invalid("/profile", "whoever takes the invitation up says who they are")),
        (Some(profile), false, _) => {
            let change = ProfileChange { display_name, locale, zone: None, segments: None };
            let new = NewMember { profile, role, change, consents: given(consents)? };
            let linked = shared.app.add_member(&who, &device, new).await?;
            Ok((StatusCode::CREATED, Json(link_json(&linked))).into_response())
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AcceptBody {
    code: String,
    profile: ProfileId,
    display_name: Option<String>,
    locale: Option<String>,
    #[serde(default)]
    consents: Vec<ConsentBody>,
}

pub(super) async fn accept_invitation(
    State(shared): State<Arc<Shared>>,
    Who(who): Who,
    Body(body): Body<AcceptBody>,
) -> ApiResult {
    let AcceptBody { code, profile, display_name, locale, consents } = body;
    let change = ProfileChange { display_name, locale, zone: None, segments: None };
    let linked = shared.app.accept_invitation(&who, &code, profile, change, given(consents)?).await?;
    Ok((StatusCode::CREATED, Json(link_json(&linked))).into_response())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RoleBody {
    role: Role,
}

pub(super) async fn put_member(
    State(shared): State<Arc<Shared>>,
    Who(who): Who,
    Path((device, profile)): Path<(String, String)>,
    Body(body): Body<RoleBody>,
) -> ApiResult {
    let view = shared.app.set_role(&who, &device, &profile, body.role).await?;
    Ok(Json(customer_views::members(&view)).into_response())
}

pub(super) async fn delete_member(
    State(shared): State<Arc<Shared>>,
    Who(who): Who,
    Path((device, profile)): Path<(String, String)>,
) -> ApiResult {
    shared.app.remove_member(&who, &device, &profile).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ReplaceBody {
    old: String,
}

pub(super) async fn replace(
    State(shared): State<Arc<Shared>>,
    Who(who): Who,
    Path(device): Path<String>,
    Body(body): Body<ReplaceBody>,
) -> ApiResult {
    let view = shared.app.replace_device(&who, &device, &body.old).await?;
    Ok(Json(views::device(&view)).into_response())
}
