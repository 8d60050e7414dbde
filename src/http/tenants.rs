use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use hearthway_core::id::{MakerId, RetailerId};
use hearthway_core::model::{Maker, Ranking, Retailer};
use hearthway_core::time::Zone;
use serde::Deserialize;
use serde_json::json;

use super::Shared;
use super::documents::written;
use super::error::{ApiError, ApiResult};
use super::request::{Body, IfMatch, Who, path_name};
use crate::app::catalog::check_locale;
use crate::app::tenants::RetailerPatch;
use crate::app::tokens::{Caller, KeyKind, NewToken, Scope, TokenRole};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RetailerBody {
    name: String,
    default_locale: String,
    zone: Zone,
    #[serde(default)]
    ranking: Ranking,
}

pub(super) async fn put_retailer(
    State(shared): State<Arc<Shared>>,
    Who(who): Who,
    IfMatch(condition): IfMatch,
    Path(id): Path<String>,
    body: Result<Body<RetailerBody>, ApiError>,
) -> ApiResult {
    who.may(Scope::TenantsWrite)?;
    let Body(body) = body?;
    let id = path_name(RetailerId::new(&id))?;
    check_locale("/default_locale", &body.default_locale)?;
    let RetailerBody { name, default_locale, zone, ranking } = body;
    let retailer = Retailer { name, default_locale, zone, ranking };
    let document = shared.app.put_retailer(&who, &id, &retailer, &condition).await?;
    Ok(written("retailer", id.as_str(), &document))
}

/// A shop as those who run it see it.
pub(super) async fn get_retailer(
    State(shared): State<Arc<Shared>>,
    Who(who): Who,
    Path(id): Path<String>,
) -> ApiResult {
    let document = shared.app.retailer_document(&who, &id)?;
    Ok(written("retailer", &id, &document))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RetailerPatchBody {
    name: Option<String>,
    default_locale: Option<String>,
    zone: Option<Zone>,
    ranking: Option<Ranking>,
}

pub(super) async fn patch_retailer(
    State(shared): State<Arc<Shared>>,
    Who(who): Who,
    IfMatch(condition): IfMatch,
    Path(id): Path<String>,
    body: Result<Body<RetailerPatchBody>, ApiError>,
) -> ApiResult {
    // Before the body, so that nobody mends a body that they may not send.
    shared.app.retailer_document(&who, &id)?;
    let Body(RetailerPatchBody { name, default_locale, zone, ranking }) = body?;
    let new = RetailerPatch { name, default_locale, zone, ranking };
    let document = shared.app.patch_retailer(&who, &id, new, &condition).await?;
    Ok(written("retailer", &id, &document))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct MakerBody {
    name: String,
}

pub(super) async fn put_maker(
    State(shared): State<Arc<Shared>>,
    Who(who): Who,
    IfMatch(condition): IfMatch,
    Path(id): Path<String>,
    body: Result<Body<MakerBody>, ApiError>,
) -> ApiResult {
    who.may(Scope::TenantsWrite)?;
    let Body(body) = body?;
    let id = path_name(MakerId::new(&id))?;
    let document = shared.app.put_maker(&who, &id, &Maker { name: body.name }, &condition).await?;
    Ok(written("maker", id.as_str(), &document))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TokenBody {
    tenant: Option<String>,
    role: String,
    #[serde(default)]
    name: String,
    #[serde(default)]
    scopes: Vec<String>,
    /// Of a customer's token: whose it is.
    profile: Option<String>,
    /// And how long it lives, seconds.
    expires_in: Option<u32>,
}

pub(super) async fn post_token(
    State(shared): State<Arc<Shared>>,
    Who(who): Who,
    body: Result<Body<TokenBody>, ApiError>,
) -> ApiResult {
    if who.may(Scope::MeTokens).is_err() && who.may(Scope::TenantsWrite).is_err() {
        // Who names what they want is told what that takes.
        let wants_customer = body.as_ref().is_ok_and(|body| body.0.role == TokenRole::Customer.as_str());
        who.may(if wants_customer { Scope::MeTokens } else { Scope::TenantsWrite })?;
    }
    let Body(body) = body?;
    let role = TokenRole::parse(&body.role)
        .ok_or_else(|| ApiError::invalid("/role", format!("a role is one of {}", TokenRole::words())))?;
    if role == TokenRole::Customer {
        return post_customer_token(&shared, &who, &body).await;
    }
    for (pointer, is_given) in [("/profile", body.profile.is_some()), ("/expires_in", body.expires_in.is_some())] {
        if is_given {
            return Err(ApiError::invalid(pointer, "only a token with the role customer has this"));
        }
    }
    who.may(Scope::TenantsWrite)?;
    let scopes = body.scopes.iter().enumerate().map(|(at, text)| {
        Scope::parse(text).ok_or_else(|| {
            let known: Vec<&str> = Scope::ALL.iter().map(|scope| scope.as_str()).collect();
            ApiError::invalid(format!("/scopes/{at}"), format!("a scope is one of {}", known.join(", ")))
        })
    });
    let scopes = scopes.collect::<Result<Vec<_>, _>>()?;
    if body.name.chars().count() > 120 {
        return Err(ApiError::invalid("/name", "a token's name takes at most 120 characters"));
    }
    let new = NewToken { tenant: body.tenant, role, name: body.name, scopes };
    let (id, token) = shared.app.create_token(&who, new).await?;
    Ok((StatusCode::CREATED, Json(json!({"id": id, "token": token}))).into_response())
}

/// A token for a customer who is signed in at the shop that asks.
async fn post_customer_token(shared: &Shared, who: &Caller, body: &TokenBody) -> ApiResult {
    if body.tenant.is_some() {
        return Err(ApiError::invalid("/tenant", "a customer is the shop's that asks: leave it out"));
    }
    if !body.scopes.is_empty() {
        return Err(ApiError::invalid("/scopes", "a customer's token opens `me/…` and nothing else"));
    }
    let profile = body.profile.as_deref().ok_or_else(|| ApiError::invalid("/profile", "name the customer"))?;
    let made = shared.app.create_customer_token(who, profile, body.expires_in).await?;
    let told = json!({"id": made.id, "token": made.text, "expires_at": made.expires_at.to_string()});
    Ok((StatusCode::CREATED, Json(told)).into_response())
}

pub(super) async fn delete_token(
    State(shared): State<Arc<Shared>>,
    Who(who): Who,
    Path(id): Path<String>,
) -> ApiResult {
    shared.app.delete_token(&who, &id).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct KeyBody {
    maker: Option<MakerId>,
}

pub(super) async fn post_bootstrap_key(shared: State<Arc<Shared>>, who: Who, body: Option<Body<KeyBody>>) -> ApiResult {
    post_key(shared, who, body, KeyKind::Bootstrap).await
}

pub(super) async fn post_bridge_key(shared: State<Arc<Shared>>, who: Who, body: Option<Body<KeyBody>>) -> ApiResult {
    post_key(shared, who, body, KeyKind::Bridge).await
}

async fn post_key(
    State(shared): State<Arc<Shared>>,
    Who(who): Who,
    body: Option<Body<KeyBody>>,
    kind: KeyKind,
) -> ApiResult<Response> {
    let maker = body.and_then(|Body(body)| body.maker);
    let (username, secret) = shared.app.create_key(&who, maker.as_ref(), kind).await?;
    Ok((StatusCode::CREATED, Json(json!({"username": username, "secret": secret}))).into_response())
}
