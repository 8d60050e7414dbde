use std::sync::Arc;

use axum::Json;
use axum::body::{Body as ResponseBody, Bytes};
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use hearthway_core::wire::body_json;
use serde::Deserialize;
use serde_json::json;
use tokio::sync::mpsc;

use super::backup::Stream;
use super::error::{ApiError, ApiResult, HttpCode};
use super::request::{Body, Who, bearer, instant_at};
use super::{Shared, own_views, views};
use crate::app::readings::{Reading, Readings};

/// Pages that wait for a slow reader; then the reading waits.
const PAGES_MAX: usize = 2;

pub(super) async fn own_readings(
    State(shared): State<Arc<Shared>>,
    Who(who): Who,
    Path(device): Path<String>,
) -> ApiResult {
    Ok(streamed(shared.app.own_readings(&who, &device).await?))
}

/// What a grant's token opens: asked for without any other token.
pub(super) async fn granted_readings(State(shared): State<Arc<Shared>>, headers: HeaderMap) -> ApiResult {
    let readings = shared.app.granted_readings(bearer(&headers)?).await?;
    let readings =
        readings.ok_or_else(|| ApiError::new(HttpCode::AuthInvalid, "this token is unknown, over or taken back"))?;
    Ok(streamed(readings))
}

/// JSON Lines as they are read. What ends before its last line was cut short.
fn streamed(mut readings: Readings) -> Response {
    let (pages, rest) = mpsc::channel(PAGES_MAX);
    tokio::spawn(async move {
        let mut count = 0u64;
        loop {
            let (text, ends) = match readings.next().await {
                Ok(Some(page)) => {
                    count += page.len() as u64;
                    (page.iter().map(line).collect::<String>(), false)
                }
                Ok(None) => (format!("{}\n", json!({"kind": "end", "readings": count})), true),
                Err(failure) => {
                    tracing::warn!(reason = failure.kind(), "A stream of readings was cut short");
                    return;
                }
            };
            // Who reads no more has left.
            if (!text.is_empty() && pages.send(Bytes::from(text)).await.is_err()) || ends {
                return;
            }
        }
    });
    let mut response = Response::new(ResponseBody::new(Stream { first: None, rest }));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson"));
    response
}

fn line(reading: &Reading) -> String {
    let message = &reading.message;
    let at = views::time(reading.at);
    format!("{}\n", json!({"kind": "reading", "at": at, "topic": message.topic(), "body": body_json(message)}))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct GrantBody {
    device: String,
    party: String,
    until: String,
}

pub(super) async fn post_grant(
    State(shared): State<Arc<Shared>>,
    Who(who): Who,
    Body(body): Body<GrantBody>,
) -> ApiResult {
    let until = instant_at("/until", &body.until)?;
    let (id, token, grant) = shared.app.grant_readings(&who, &body.device, &body.party, until).await?;
    let mut told = own_views::grant(&id, &grant);
    told["token"] = token.into();
    Ok((StatusCode::CREATED, Json(told)).into_response())
}

pub(super) async fn list_grants(State(shared): State<Arc<Shared>>, Who(who): Who) -> ApiResult {
    let grants = shared.app.own_grants(&who).await?;
    Ok(Json(views::whole_list(grants.iter().map(|(id, grant)| own_views::grant(id, grant)).collect())).into_response())
}

pub(super) async fn delete_grant(
    State(shared): State<Arc<Shared>>,
    Who(who): Who,
    Path(id): Path<String>,
) -> ApiResult {
    shared.app.end_grant(&who, &id).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}
