//! The HTTP API for retailers, makers, operators and other channels.
//!
//! Handlers are thin: they read a request into its exact shape, ask `app`, and write the answer.
//! [`routes`] is the page of all routes; [`error`] says how failures look.

mod audiences;
mod audit;
mod backup;
mod broker;
mod catalog;
mod claims;
mod codes;
mod consents;
mod context;
mod customer_views;
mod decisions;
mod devices;
mod documents;
mod erasures;
pub mod error;
mod events;
mod grants;
mod idempotent;
mod import;
mod lines;
mod mandates;
mod me;
mod members;
mod merges;
mod offers;
mod openapi;
mod orders;
mod own_views;
mod price_lists;
mod profiles;
mod quarantine;
mod reports;
mod request;
mod routes;
mod serve;
mod stays;
mod steady;
mod stolen;
mod stores;
mod system;
mod tenants;
#[cfg(test)]
mod tests;
mod triggers;
mod views;
mod webhooks;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::Method;
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use hearthway_core::code::{Code, Refusal};
use tokio::sync::Semaphore;
use tokio::time::Instant;

pub use error::errors_page;
pub use openapi::openapi;
pub use serve::serve;

use self::error::{ApiError, HttpCode};
use crate::app::App;
use crate::app::tokens::Caller;
use crate::bucket::Bucket;
use crate::observe::limits::{Limit, hit};

/// Bytes of one body: the largest documents have a thirtieth.
const BODY_BYTES_MAX: usize = 2 * 1024 * 1024;
/// Seconds' worth of calls that a token may make at once: a page of a console loads many.
const CALLS_BURST_SECONDS: u32 = 2;
/// Calls a second of a customer's token: a person reads pages, and there are as many as there are customers.
const CUSTOMER_CALLS_PER_SECOND: u32 = 10;
/// Tokens whose pace is kept before those go that have been quiet: all that are made to last, and customers who act
/// in the same two seconds.
const PACES_MAX: usize = 150_000;
/// How long one call may take; bulk calls take as long as their lines.
const CALL_TIMEOUT: Duration = Duration::from_secs(30);

/// Changes at work at once, also those that nobody waits for any more: four times the connections that are let in
/// where nobody says otherwise, a few kilobytes each.
const CALLS_AT_WORK_MAX: usize = 4_096;

/// Renders the metrics.
pub type RenderMetrics = Arc<dyn Fn() -> String + Send + Sync>;

/// What handlers share.
pub(crate) struct Shared {
    app: Arc<App>,
    metrics: RenderMetrics,
    /// How often each token called lately.
    paces: Mutex<HashMap<String, Bucket>>,
}

impl Shared {
    /// Refuses a token that calls too often.
    fn in_pace(&self, who: &Caller) -> Result<(), ApiError> {
        let of_a_system = self.app.calls_per_second();
        let per_second = who.person().map_or(of_a_system, |_| of_a_system.min(CUSTOMER_CALLS_PER_SECOND));
        self.in_pace_of(who.token(), per_second)
    }

    /// Refuses who reads by a grant too often: as often as its customer could.
    fn in_pace_of_grant(&self, grant: &str) -> Result<(), ApiError> {
        self.in_pace_of(grant, self.app.calls_per_second().min(CUSTOMER_CALLS_PER_SECOND))
    }

    fn in_pace_of(&self, token: &str, per_second: u32) -> Result<(), ApiError> {
        let now = Instant::now();
        let mut paces = self.paces.lock().unwrap_or_else(PoisonError::into_inner);
        let full = || Bucket::new(per_second.saturating_mul(CALLS_BURST_SECONDS), per_second.into(), now);
        if paces.len() >= PACES_MAX && !paces.contains_key(token) {
            // Customers' tokens come and go: one that has been quiet long enough to be full again is as a new one.
            paces.retain(|_, pace| !pace.is_full(now));
        }
        let Err(wait) = paces.entry(token.to_owned()).or_insert_with(full).take(now) else { return Ok(()) };
        hit(Limit::HttpRate);
        let seconds = u32::try_from(wait.as_secs()).unwrap_or(u32::MAX).saturating_add(1);
        let why =
            format!("this token makes more than {per_second} calls a second; use the bulk calls, or call less often");
        Err(Refusal { retry_after_seconds: Some(seconds), ..Refusal::new(Code::RateLimited, why) }.into())
    }
}

/// All routes over an application.
pub fn router(app: Arc<App>, metrics: RenderMetrics) -> Router {
    let shared = Arc::new(Shared { app, metrics, paces: Mutex::default() });
    let (mut calls, mut bulk) = (Router::new(), Router::new());
    let mut readable = std::collections::BTreeSet::new();
    for entry in routes::all() {
        if entry.method == "get" && !entry.binary {
            readable.insert(entry.path);
        }
        let (path, handler) = (entry.path, *entry.handler);
        if entry.bulk || entry.lines || entry.binary {
            bulk = bulk.route(path, handler)
        } else {
            calls = calls.route(path, handler)
        };
    }
    let plain: Router = calls.clone().with_state(shared.clone());
    let audited = audit::Audited::new(shared.clone(), plain, readable);
    let calls = calls
        .layer(from_fn_with_state(shared.clone(), idempotent::once))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(from_fn_with_state(audited.clone(), audit::audited))
        .layer(from_fn_with_state(Arc::new(Semaphore::new(CALLS_AT_WORK_MAX)), in_time));
    let bulk = bulk.layer(from_fn_with_state(audited, audit::audited_bulk));
    // Bulk bodies are counted as they stream, in `lines`.
    calls
        .merge(bulk)
        .fallback(system::unknown_route)
        .method_not_allowed_fallback(system::unknown_method)
        .with_state(shared)
}

/// Does a call to its end, whether or not anybody waits for it: a change that is half made when its caller leaves
/// would be on disk, and neither counted, audited nor answered at its repeat.
async fn whole(at_work: Arc<Semaphore>, request: Request, next: Next) -> Response {
    if request.method() == Method::GET {
        return next.run(request).await;
    }
    let Ok(at_work) = at_work.try_acquire_owned() else {
        let refusal = Refusal::new(Code::RateLimited, "too many calls are at work; repeat it in a moment");
        return ApiError::from(Refusal { retry_after_seconds: Some(1), ..refusal }).into_response();
    };
    let work = tokio::spawn(async move {
        let _at_work = at_work;
        next.run(request).await
    });
    match work.await {
        Ok(response) => response,
        Err(_) => ApiError::new(HttpCode::Timeout, "the gateway is stopping; repeat the call").into_response(),
    }
}

/// Ends the wait for a call that takes too long. What it had begun may still be committed: a repeat with the
/// same `Idempotency-Key`, or simply the same call, is safe.
async fn in_time(State(at_work): State<Arc<Semaphore>>, request: Request, next: Next) -> Response {
    match tokio::time::timeout(CALL_TIMEOUT, whole(at_work, request, next)).await {
        Ok(response) => response,
        Err(_) => {
            hit(Limit::HttpTime);
            ApiError::new(HttpCode::Timeout, "the gateway did not finish within 30 s; repeat the call").into_response()
        }
    }
}
