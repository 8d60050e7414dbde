use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use serde::Deserialize;
use serde_json::json;

use super::claims::{ConsentBody, given};
use super::documents::tagged;
use super::error::ApiResult;
use super::offers::{AnswerBody, answered};
use super::profiles::PreferencesBody;
use super::request::{Body, IfMatch, Language, Who};
use super::{Shared, customer_views, erasures, own_views, views};
use crate::app::offers::OfferAnswer;
use crate::app::preferences::preferences_etag;

/// Where an answer comes from that does not say it.
const APP: &str = "app";

pub(super) async fn get_me(State(shared): State<Arc<Shared>>, Who(who): Who) -> ApiResult {
    Ok(Json(own_views::person(&shared.app.own_person(&who).await?)).into_response())
}

pub(super) async fn get_devices(State(shared): State<Arc<Shared>>, Who(who): Who) -> ApiResult {
    let devices = shared.app.own_devices(&who).await?;
    let rules = shared.app.rules();
    let shown = devices.iter().map(|own| own_views::device(own, &rules)).collect();
    Ok(Json(views::whole_list(shown)).into_response())
}

pub(super) async fn get_data(State(shared): State<Arc<Shared>>, Who(who): Who, language: Language) -> ApiResult {
    let all = shared.app.own_data(&who).await?;
    let headers = [
        (header::CONTENT_TYPE, "application/x-ndjson"),
        (header::CONTENT_DISPOSITION, "attachment; filename=\"me.jsonl\""),
    ];
    Ok((headers, customer_views::export(&all, language)).into_response())
}

pub(super) async fn get_consents(State(shared): State<Arc<Shared>>, Who(who): Who) -> ApiResult {
    Ok(Json(customer_views::consent_list(&shared.app.own_person(&who).await?)).into_response())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct OwnConsentsBody {
    consents: Vec<ConsentBody>,
}

pub(super) async fn put_consents(
    State(shared): State<Arc<Shared>>,
    Who(who): Who,
    Body(body): Body<OwnConsentsBody>,
) -> ApiResult {
    let person = shared.app.set_own_consents(&who, &given(body.consents)?).await?;
    Ok(Json(customer_views::consent_list(&person)).into_response())
}

pub(super) async fn get_preferences(State(shared): State<Arc<Shared>>, Who(who): Who) -> ApiResult {
    let preferences = shared.app.own_person(&who).await?.profile.preferences;
    Ok(tagged(customer_views::preferences(&preferences), &preferences_etag(&preferences)))
}

pub(super) async fn put_preferences(
    State(shared): State<Arc<Shared>>,
    Who(who): Who,
    IfMatch(condition): IfMatch,
    Body(body): Body<PreferencesBody>,
) -> ApiResult {
    let preferences = shared.app.set_own_preferences(&who, body.given()?, &condition).await?;
    Ok(tagged(customer_views::preferences(&preferences), &preferences_etag(&preferences)))
}

pub(super) async fn list_offers(State(shared): State<Arc<Shared>>, Who(who): Who) -> ApiResult {
    let offers = shared.app.own_offers(&who).await?;
    let shown = offers.iter().map(|(_, offer)| own_views::offer(offer)).collect();
    Ok(Json(views::whole_list(shown)).into_response())
}

pub(super) async fn get_offer(State(shared): State<Arc<Shared>>, Who(who): Who, Path(id): Path<String>) -> ApiResult {
    let (_, offer) = shared.app.own_offer(&who, &id).await?;
    Ok(Json(own_views::offer(&offer)).into_response())
}

pub(super) async fn answer(
    State(shared): State<Arc<Shared>>,
    Who(who): Who,
    Path(id): Path<String>,
    Body(body): Body<AnswerBody>,
) -> ApiResult {
    let answer = OfferAnswer { profile: None, ..body.given(Some(APP))? };
    Ok(answered(&shared.app.answer_own_offer(&who, &id, answer).await?))
}

pub(super) async fn why(
    State(shared): State<Arc<Shared>>,
    Who(who): Who,
    language: Language,
    Path(id): Path<String>,
) -> ApiResult {
    let why = shared.app.own_why(&who, &id, language.tongue()).await?;
    let headers = [(header::CONTENT_LANGUAGE, language.tag())];
    Ok((headers, Json(own_views::why(&why))).into_response())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Nothing {}

pub(super) async fn release(
    State(shared): State<Arc<Shared>>,
    Who(who): Who,
    Path(name): Path<String>,
    _: Option<Body<Nothing>>,
) -> ApiResult {
    let is_nobodys = shared.app.give_back_own(&who, &name).await?;
    Ok(Json(json!({"device": name, "given_back": if is_nobodys { "for_all" } else { "for_you" }})).into_response())
}

pub(super) async fn delete_me(State(shared): State<Arc<Shared>>, Who(who): Who) -> ApiResult {
    let (retailer, erasure) = shared.app.erase_me(&who).await?;
    let at = format!("/v1/erased/{retailer}/{}", erasure.id);
    let body = json!({"erase": erasure.id, "state": "running", "report": at});
    Ok((StatusCode::ACCEPTED, [(header::LOCATION, at)], Json(body)).into_response())
}

/// How an erasure of a customer stands, by its id alone: who asked for it has no token any more.
pub(super) async fn get_erased(
    State(shared): State<Arc<Shared>>,
    Path((retailer, id)): Path<(String, String)>,
) -> ApiResult {
    Ok(Json(erasures::view(&shared.app.erasure_by_id(&retailer, &id)?)).into_response())
}
