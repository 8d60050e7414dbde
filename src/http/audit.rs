//! Who changed what, taken down in one place: around every call that is no GET. What an object was
//! and became is what a GET of it shows its caller right before and right after, as SHA-256; where it
//! cannot be read, `after` is of the request's body.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::body::{Body, to_bytes};
use axum::extract::{MatchedPath, Request, State};
use axum::http::{Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use hearthway_core::code::{Code, Refusal};
use hearthway_core::model::Tenant;
use hyper::service::Service;
use hyper_util::service::TowerToHyperService;
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::error::{ApiError, ApiResult};
use super::request::{Params, Who, caller, instant, page};
use super::{BODY_BYTES_MAX, Shared};
use crate::app::audit::{AuditFilter, AuditRow, Change, TARGET_CHARS_MAX};
use crate::app::tokens::Caller;
use crate::observe::limits::{Limit, hit};

/// Calls that change nothing, although they are no GET, and feeds of what happened elsewhere, of which
/// the input log has each.
pub(super) const NOT_CHANGES: [&str; 12] = [
    "/broker/auth",
    "/broker/acl",
    "/v1/claims/preview",
    "/v1/triggers/{trigger}/check",
    "/v1/triggers/{trigger}/try",
    "/v1/triggers:try",
    "/v1/triggers/{trigger}/backtest",
    "/v1/backtests",
    "/v1/triggers:reach",
    "/v1/webhooks/{webhook}/test",
    "/v1/events",
    "/v1/context/{kind}",
];
/// What the operator sees of tenants' changes: areas that are no customer's business. What is not here
/// is.
const SHOWN_TO_OPERATOR: [&str; 16] = [
    "/v1/retailers",
    "/v1/makers",
    "/v1/tokens",
    "/v1/bootstrap-keys",
    "/v1/bridge-keys",
    "/v1/models",
    "/v1/devices:bulk",
    "/v1/serials",
    "/v1/products",
    "/v1/prices",
    "/v1/priors",
    "/v1/stores",
    "/v1/stock",
    "/v1/triggers",
    "/v1/codes",
    "/v1/webhooks",
];

/// Asks on behalf of the trail: it is not counted as a call of the token.
#[derive(Clone, Copy)]
pub(super) struct OnBehalfOfTheTrail;

/// The calls themselves, to be asked how an object looks.
#[derive(Clone)]
pub(super) struct Audited {
    shared: Arc<Shared>,
    calls: TowerToHyperService<Router>,
    readable: Arc<BTreeSet<&'static str>>,
}

impl Audited {
    pub(super) fn new(shared: Arc<Shared>, calls: Router, readable: BTreeSet<&'static str>) -> Audited {
        Audited { shared, calls: TowerToHyperService::new(calls), readable: Arc::new(readable) }
    }

    /// Where a GET shows what a call changes: at its own path, or one part above, where the last part
    /// is a verb.
    fn shown_at(&self, template: &str, path: &str) -> Option<String> {
        if self.readable.contains(template) {
            return Some(path.to_owned());
        }
        let (above, last) = template.rsplit_once('/')?;
        let is_verb = !last.starts_with('{') && above.ends_with('}');
        (is_verb && self.readable.contains(above)).then(|| path.rsplit_once('/').map(|(above, _)| above.to_owned()))?
    }

    /// The hash of what a GET shows; none where there is nothing.
    async fn look(&self, at: &str, bearer: &header::HeaderValue) -> Option<[u8; 32]> {
        let request = Request::builder().method(Method::GET).uri(at).header(header::AUTHORIZATION, bearer);
        let request = request.extension(OnBehalfOfTheTrail).body(Body::empty()).ok()?;
        let answer = self.calls.call(request).await.ok()?;
        let shown = answer.status() == StatusCode::OK;
        let body = to_bytes(answer.into_body(), BODY_BYTES_MAX).await.ok()?;
        shown.then(|| hash(&body))
    }
}

fn hash(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

/// Around all calls. The change and its entry are made also where the caller does not wait for them.
pub(super) async fn audited(
    State(audited): State<Audited>,
    matched: Option<MatchedPath>,
    request: Request,
    next: Next,
) -> Response {
    let template = matched.map(|matched| matched.as_str().to_owned()).unwrap_or_default();
    let reads = matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
    if reads || template.is_empty() || NOT_CHANGES.contains(&template.as_str()) {
        return next.run(request).await;
    }
    // Who is nobody changes nothing.
    let (Ok(who), Some(bearer)) =
        (caller(request.headers(), &audited.shared), request.headers().get(header::AUTHORIZATION).cloned())
    else {
        return next.run(request).await;
    };
    let done = tokio::spawn(async move { audited.change(who, bearer, template, request, next).await });
    let broke_off = |_| ApiError::from(Refusal::new(Code::InternalRetry, "the call broke off; look, and repeat it"));
    done.await.map_err(broke_off).into_response()
}

impl Audited {
    async fn change(
        self,
        who: Caller,
        bearer: header::HeaderValue,
        template: String,
        request: Request,
        next: Next,
    ) -> Response {
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        let shown_at = self.shown_at(&template, &path);
        let (parts, body) = request.into_parts();
        let body = match to_bytes(body, BODY_BYTES_MAX).await {
            Ok(body) => body,
            Err(_) => {
                hit(Limit::HttpBody);
                return ApiError::too_large(format!("a body has at most {BODY_BYTES_MAX} bytes")).into_response();
            }
        };
        let before = match &shown_at {
            Some(at) => self.look(at, &bearer).await,
            None => None,
        };
        let answer = next.run(Request::from_parts(parts, Body::from(body.clone()))).await;
        // What the gateway did not finish may be done in part.
        let is_unfinished = answer.status().is_server_error();
        if !(answer.status().is_success() || is_unfinished)
            || answer.headers().contains_key(super::idempotent::REPLAYED)
        {
            return answer;
        }
        let (parts, told) = answer.into_parts();
        let Ok(told) = to_bytes(told, BODY_BYTES_MAX).await else {
            return ApiError::too_large("the answer is too long").into_response();
        };
        let after = match &shown_at {
            Some(at) => self.look(at, &bearer).await,
            None => (!body.is_empty()).then(|| hash(&body)),
        };
        let target = self.shared.app.unnamed(who.tenant(), &of_whom(&who, target(&path, &told)));
        let looks = [before, after];
        let entry = Change { is_unfinished, ..self.change_of(&who, &method, &template, target, looks) };
        self.shared.app.record(entry).await;
        Response::from_parts(parts, Body::from(told))
    }
}

/// Around bulk calls and backups: one entry when it begins, because what follows streams.
pub(super) async fn audited_bulk(
    State(audited): State<Audited>,
    matched: Option<MatchedPath>,
    request: Request,
    next: Next,
) -> Response {
    let template = matched.map(|matched| matched.as_str().to_owned()).unwrap_or_default();
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let who = caller(request.headers(), &audited.shared);
    let answer = next.run(request).await;
    // Whoever takes a backup changes nothing and takes all of it away.
    if let Ok(who) = who
        && answer.status().is_success()
    {
        let target = audited.shared.app.unnamed(who.tenant(), &target(&path, b""));
        let entry = audited.change_of(&who, &method, &template, target, [None, None]);
        // Also where the caller leaves meanwhile: the entries of others are on their way in the same commit.
        let written = tokio::spawn(async move { audited.shared.app.record(entry).await });
        if let Err(error) = written.await {
            tracing::error!(%error, "An entry of the audit trail was not written");
        }
    }
    answer
}

impl Audited {
    fn change_of(
        &self,
        who: &Caller,
        method: &Method,
        template: &str,
        target: String,
        [before, after]: [Option<[u8; 32]>; 2],
    ) -> Change {
        let is_in = |area: &str| {
            template.strip_prefix(area).is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', ':']))
        };
        let is_about_a_customer = !SHOWN_TO_OPERATOR.iter().any(|area| is_in(area));
        let kept = |look: [u8; 32]| match is_about_a_customer {
            true => self.shared.app.hash_of_a_customers(&look),
            false => look,
        };
        Change {
            actor: who.token().to_owned(),
            role: who.role().as_str().to_owned(),
            tenant: who.tenant().clone(),
            action: format!("{method} {template}"),
            target,
            is_about_a_customer,
            before: before.map(kept),
            after: after.map(kept),
            is_unfinished: false,
        }
    }
}

/// `me` by the name of the person, so that a shop finds what its customer did where it finds what it did itself.
fn of_whom(who: &Caller, target: String) -> String {
    match (who.person(), target.strip_prefix("me")) {
        (Some(person), Some(rest)) if rest.is_empty() || rest.starts_with('/') => format!("profiles/{person}{rest}"),
        _ => target,
    }
}

/// What was changed: the path, and the id of what a call made that does not name it.
fn target(path: &str, told: &[u8]) -> String {
    let path = path.strip_prefix("/v1/").unwrap_or(path);
    let told: Value = serde_json::from_slice(told).unwrap_or(Value::Null);
    let made = ["id", "link", "grant", "username"].iter().find_map(|name| told[*name].as_str());
    let named = match made {
        // A name in the path says it already.
        Some(made) if !path.contains(made) && path.matches('/').count() <= 1 => format!("{path}/{made}"),
        Some(_) | None => path.to_owned(),
    };
    named.chars().take(TARGET_CHARS_MAX).collect()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AuditQuery {
    from: Option<String>,
    actor: Option<String>,
    target: Option<String>,
    limit: Option<usize>,
    cursor: Option<String>,
}

pub(super) async fn list_audit(
    State(shared): State<Arc<Shared>>,
    Who(who): Who,
    Params(query): Params<AuditQuery>,
) -> ApiResult {
    let wrong = || ApiError::bad_query("from", "write an instant as RFC 3339 has it, such as 2026-12-01T08:00:00Z");
    let from = query.from.map(|text| instant(&text).ok_or_else(wrong)).transpose()?;
    let target = query.target.map(|target| shared.app.unnamed(who.tenant(), &target));
    let filter = AuditFilter { from, actor: query.actor, target };
    let found = shared.app.audit(&who, &filter, &page(query.limit, query.cursor)?)?;
    let items: Vec<Value> = found.items.iter().map(|(n, row)| entry(*n, row)).collect();
    Ok(Json(json!({"items": items, "next": found.next})).into_response())
}

fn entry(n: u64, row: &AuditRow) -> Value {
    let hex = |bytes: &[u8; 32]| data_encoding::HEXLOWER.encode(bytes);
    let change = &row.change;
    let tenant = match &change.tenant {
        Tenant::Operator => None,
        Tenant::Maker(maker) => Some(maker.to_string()),
        Tenant::Retailer(retailer) => Some(retailer.to_string()),
    };
    json!({
        "n": n,
        "at": row.at.to_string(),
        "actor": change.actor,
        "role": change.role,
        "tenant": tenant,
        "action": change.action,
        "target": change.target,
        "before": change.before.as_ref().map(hex),
        "after": change.after.as_ref().map(hex),
        "unfinished": change.is_unfinished,
        "hash": hex(&row.hash),
    })
}
