use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::{Body as ResponseBody, Bytes};
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use hearthway_core::wire::body_json;
use serde::Deserialize;
use serde_json::json;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::SendTimeoutError;

use super::backup::Stream;
use super::error::{ApiError, ApiResult, HttpCode};
use super::request::{Body, Who, bearer, instant_at};
use super::{Shared, own_views, views};
use crate::app::readings::{Reading, Readings};

/// Pages that wait for a slow reader; then the reading waits.
const PAGES_MAX: usize = 2;
/// How long a page waits for who reads: others want to read as well.
const PAGE_TIMEOUT: Duration = Duration::from_secs(60);

pub(super) async fn own_readings(
    State(shared): State<Arc<Shared>>,
    Who(who): Who,
    Path(device): Path<String>,
) -> ApiResult {
    Ok(streamed(shared.app.own_readings(&who, &device).await?))
}

/// What a grant's token opens: asked for without any other token.
pub(super) async fn granted_readings(State(shared): State<Arc<Shared>>, headers: HeaderMap) -> ApiResult {
    let unknown = || ApiError::new(HttpCode::AuthInvalid, "this token is unknown, over or taken back");
    let token = bearer(&headers)?;
    shared.in_pace_of_grant(&shared.app.grant_of(token).ok_or_else(unknown)?)?;
    let readings = shared.app.granted_readings(token).await?.ok_or_else(unknown)?;
    Ok(streamed(readings))
}

/// JSON Lines as they are read. What ends before its last line was cut short.
fn streamed(mut readings: Readings) -> Response {
    let (pages, rest) = mpsc::channel(PAGES_MAX);
    tokio::spawn(async move {
        let mut count = 0u64;
        loop {
            // Who reads no more has left: also while nothing of the device is found, page after page.
            let page = tokio::select! {
                () = pages.closed() => return,
                page = readings.next() => page,
            };
            let (text, ends) = match page {
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
            if !text.is_empty() {
                match pages.send_timeout(Bytes::from(text), PAGE_TIMEOUT).await {
                    Ok(()) => {}
                    Err(SendTimeoutError::Closed(_)) => return,
                    Err(SendTimeoutError::Timeout(_)) => {
                        tracing::warn!("A stream of readings was cut short: nobody took its pages");
                        return;
                    }
                }
            }
            if ends {
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
