use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use hearthway_core::id::{ProfileId, StoreId};
use hearthway_core::input::{Answer, Choice};
use hearthway_core::model::Fulfil;
use serde::Deserialize;
use serde_json::json;

use super::error::{ApiError, ApiResult};
use super::request::{Body, Params, Who, instant, page};
use super::{Shared, views};
use crate::app::offers::{Answered, OfferAnswer};

/// The states of an offer, as a filter takes them.
const STATES: [&str; 10] =
    ["queued", "sent", "delivered", "shown", "accepted", "declined", "snoozed", "expired", "withdrawn", "failed"];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct OfferParams {
    state: Option<String>,
    limit: Option<usize>,
    cursor: Option<String>,
}

pub(super) async fn list_offers(
    State(shared): State<Arc<Shared>>,
    Who(who): Who,
    Params(params): Params<OfferParams>,
) -> ApiResult {
    let state = params.state.as_deref().filter(|state| !state.is_empty());
    if state.is_some_and(|state| !STATES.contains(&state)) {
        return Err(ApiError::bad_query("state", format!("is one of {}", STATES.join(", "))));
    }
    let found = shared.app.offers(&who, state, &page(params.limit, params.cursor)?)?;
    Ok(Json(views::list(found, |(household, offer)| views::offer(household, &offer))).into_response())
}

pub(super) async fn get_offer(State(shared): State<Arc<Shared>>, Who(who): Who, Path(id): Path<String>) -> ApiResult {
    let (household, offer) = shared.app.offer(&who, &id)?;
    Ok(Json(views::whole_offer(household, &offer)).into_response())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ChoiceBody {
    qty: Option<u32>,
    fulfil: Option<Fulfil>,
    store: Option<StoreId>,
    alternative: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AnswerBody {
    rev: u32,
    answer: String,
    channel: Option<String>,
    profile: Option<ProfileId>,
    choice: Option<ChoiceBody>,
    until: Option<String>,
    reason: Option<String>,
}

impl AnswerBody {
    /// What was said; on `channel` where the body does not tell.
    pub(super) fn given(self, channel: Option<&str>) -> Result<OfferAnswer, ApiError> {
        let answer = self.answer()?;
        if self.reason.as_ref().is_some_and(|reason| reason.len() > 200) {
            return Err(ApiError::invalid("/reason", "a reason takes at most 200 bytes"));
        }
        let channel = self.channel.or_else(|| channel.map(str::to_owned));
        let channel = channel.ok_or_else(|| ApiError::invalid("", "missing field `channel`"))?;
        Ok(OfferAnswer { rev: self.rev, answer, channel, profile: self.profile })
    }
    fn answer(&self) -> Result<Answer, ApiError> {
        let choice = self.choice.as_ref();
        match self.answer.as_str() {
            "accept" => Ok(Answer::accept(choice.map_or_else(Choice::default, |choice| Choice {
                qty: choice.qty,
                fulfil: choice.fulfil,
                store: choice.store.clone(),
                alternative: choice.alternative.clone(),
            }))),
            "decline" => Ok(Answer::Decline),
            "snooze" => {
                let until = self.until.as_deref().map(|text| {
                    instant(text).ok_or_else(|| ApiError::invalid("/until", "write an instant as RFC 3339 has it"))
                });
                Ok(Answer::Snooze { until: until.transpose()? })
            }
            "not_needed" => Ok(Answer::NotNeeded { reason: self.reason.clone() }),
            "why" => Ok(Answer::Why),
            _ => Err(ApiError::invalid("/answer", "an answer is one of accept, decline, snooze, not_needed, why")),
        }
    }
}

pub(super) async fn answer(
    State(shared): State<Arc<Shared>>,
    Who(who): Who,
    Path(id): Path<String>,
    Body(body): Body<AnswerBody>,
) -> ApiResult {
    let answer = body.given(None)?;
    Ok(answered(&shared.app.answer_offer(&who, &id, answer).await?))
}

pub(super) fn answered(answered: &Answered) -> Response {
    Json(json!({"state": answered.state, "order": answered.order})).into_response()
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WithdrawBody {
    reason: Option<String>,
}

pub(super) async fn withdraw(
    State(shared): State<Arc<Shared>>,
    Who(who): Who,
    Path(id): Path<String>,
    body: Option<Body<WithdrawBody>>,
) -> ApiResult {
    let reason = body.and_then(|Body(body)| body.reason);
    let ended = shared.app.withdraw_offer(&who, &id, reason.as_deref()).await?;
    Ok(Json(json!({"state": ended.state, "order": ended.order})).into_response())
}
