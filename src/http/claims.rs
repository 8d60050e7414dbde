use std::sync::Arc;

use axum::Json;
use axum::body::Body as RawBody;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::IntoResponse;
use hearthway_core::id::{DeviceName, HouseholdId, MakerId, ProfileId};
use hearthway_core::model::{Purpose, Role};
use hearthway_core::time::Zone;
use serde::Deserialize;
use serde_json::{Value, json};

use super::error::{ApiError, ApiResult};
use super::request::{Body, Who, instant, instant_at, read};
use super::{Shared, lines};
use crate::app::claims::{ClaimConfirm, Linked};
use crate::app::consents::ConsentGiven;
use crate::app::links::DirectLink;
use crate::app::profiles::ProfileChange;
use crate::app::tokens::Caller;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PreviewBody {
    code: String,
    /// Whose wrong codes these are; the token's where not said.
    profile: Option<ProfileId>,
}

pub(super) async fn preview(
    State(shared): State<Arc<Shared>>,
    Who(who): Who,
    Body(body): Body<PreviewBody>,
) -> ApiResult {
    let preview = shared.app.preview_claim(&who, &body.code, body.profile.as_ref()).await?;
    Ok(Json(json!({
        "device": preview.device.device.as_str(),
        "maker": preview.device.maker.as_str(),
        "model": preview.model.as_str(),
        "data": preview.data,
        "purposes": preview.purposes.iter().map(|purpose| purpose.as_str()).collect::<Vec<_>>(),
    }))
    .into_response())
}

/// One consent as the shop writes it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ConsentBody {
    purpose: Purpose,
    granted: bool,
    text_id: Option<String>,
    method: Option<String>,
    expires_at: Option<String>,
}

pub(super) fn given(bodies: Vec<ConsentBody>) -> Result<Vec<ConsentGiven>, ApiError> {
    let one = |(at, body): (usize, ConsentBody)| {
        let expires_at = body.expires_at.as_deref().map(|text| {
            instant(text).ok_or_else(|| {
                ApiError::invalid(format!("/consents/{at}/expires_at"), "write an instant as RFC 3339 has it")
            })
        });
        Ok(ConsentGiven {
            purpose: body.purpose,
            granted: body.granted,
            text_id: body.text_id,
            method: body.method,
            expires_at: expires_at.transpose()?,
        })
    };
    bodies.into_iter().enumerate().map(one).collect()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ConfirmBody {
    code: String,
    profile: ProfileId,
    household: Option<HouseholdId>,
    display_name: Option<String>,
    tz: Option<Zone>,
    locale: Option<String>,
    role: Option<Role>,
    #[serde(default)]
    consents: Vec<ConsentBody>,
    until: Option<String>,
}

pub(super) async fn confirm(
    State(shared): State<Arc<Shared>>,
    Who(who): Who,
    Body(body): Body<ConfirmBody>,
) -> ApiResult {
    let claim = ClaimConfirm {
        code: body.code,
        profile: body.profile,
        household: body.household,
        change: ProfileChange { display_name: body.display_name, locale: body.locale, zone: body.tz, segments: None },
        role: body.role.unwrap_or(Role::Owner),
        consents: given(body.consents)?,
        until: body.until.as_deref().map(|text| instant_at("/until", text)).transpose()?,
    };
    let linked = shared.app.confirm_claim(&who, claim).await?;
    Ok((StatusCode::CREATED, Json(link_json(&linked))).into_response())
}

pub(super) fn link_json(linked: &Linked) -> Value {
    json!({
        "link": linked.link,
        "device": linked.device.device.as_str(),
        "household": linked.household,
        "role": linked.role.as_str(),
    })
}

pub(super) async fn delete_link(State(shared): State<Arc<Shared>>, Who(who): Who, Path(id): Path<String>) -> ApiResult {
    shared.app.end_link(&who, &id).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LinkLine {
    device: DeviceName,
    maker: Option<MakerId>,
    profile: ProfileId,
    role: Option<Role>,
    household: Option<HouseholdId>,
    display_name: Option<String>,
    tz: Option<Zone>,
    locale: Option<String>,
    #[serde(default)]
    consents: Vec<ConsentBody>,
    until: Option<String>,
}

pub(super) async fn bulk_links(State(shared): State<Arc<Shared>>, Who(who): Who, body: RawBody) -> ApiResult {
    who.retailer(crate::app::tokens::Scope::LinksWrite)?;
    Ok(lines::answer(body, move |line| bulk_link(shared.clone(), who.clone(), line)))
}

async fn bulk_link(shared: Arc<Shared>, who: Caller, line: Vec<u8>) -> ApiResult<Value> {
    let line: LinkLine = read(&line)?;
    let new = DirectLink {
        device: line.device,
        maker: line.maker,
        profile: line.profile,
        role: line.role.unwrap_or(Role::Owner),
        household: line.household,
        change: ProfileChange { display_name: line.display_name, locale: line.locale, zone: line.tz, segments: None },
        consents: given(line.consents)?,
        until: line.until.as_deref().map(|text| instant_at("/until", text)).transpose()?,
    };
    let linked = shared.app.link_directly(&who, new).await?;
    Ok(link_json(&linked))
}
