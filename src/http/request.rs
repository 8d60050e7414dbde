//! What handlers take from a request: who calls, the body, the page, the condition, the language.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, OptionalFromRequest, Query, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use hearthway_core::id::NameError;
use hearthway_core::time::Timestamp;
use hearthway_core::words::Tongue;
use serde::de::DeserializeOwned;
use serde_path_to_error::Segment;

use super::Shared;
use super::audit::OnBehalfOfTheTrail;
use super::error::{ApiError, HttpCode};
use crate::app::Failure;
use crate::app::documents::Condition;
use crate::app::plain_words::in_plain_words;
use crate::app::tokens::Caller;
use crate::app::{PAGE_ROWS_DEFAULT, PAGE_ROWS_MAX, PageQuery};
use crate::observe::limits::{Limit, hit};

/// Nesting of a JSON body: triggers nest deepest, and need less than half.
const JSON_DEPTH_MAX: usize = 32;

/// Who is calling, by their bearer token.
pub struct Who(pub Caller);

impl FromRequestParts<Arc<Shared>> for Who {
    type Rejection = ApiError;
    async fn from_request_parts(parts: &mut Parts, shared: &Arc<Shared>) -> Result<Who, ApiError> {
        let caller = caller(&parts.headers, shared)?;
        // At the one place that every handler passes, so that no route can forget it.
        if caller.person().is_some() && !is_own(parts.uri.path()) {
            let why = "a customer's token opens `/v1/me/…` and nothing else; this is for the shop's own system";
            return Err(Failure::Forbidden(why.to_owned()).into());
        }
        if parts.extensions.get::<OnBehalfOfTheTrail>().is_none() {
            shared.in_pace(&caller)?;
        }
        Ok(Who(caller))
    }
}

/// What customers call for themselves.
fn is_own(path: &str) -> bool {
    path.strip_prefix("/v1/me").is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Who a request's token belongs to.
pub(super) fn caller(headers: &HeaderMap, shared: &Shared) -> Result<Caller, ApiError> {
    shared
        .app
        .caller(bearer(headers)?)
        .ok_or_else(|| ApiError::new(HttpCode::AuthInvalid, "this token is unknown or was deleted"))
}

/// The token that a request came with.
pub(super) fn bearer(headers: &HeaderMap) -> Result<&str, ApiError> {
    let value = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let bearer =
        value.and_then(|value| value.split_once(' ')).filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
    let missing = || ApiError::new(HttpCode::AuthMissing, "send `Authorization: Bearer` and your token");
    bearer.map(|(_, token)| token.trim()).ok_or_else(missing)
}

/// A JSON body in its exact shape. The media type is not looked at: curl's default is welcome.
pub struct Body<T>(pub T);

impl<T: DeserializeOwned> FromRequest<Arc<Shared>> for Body<T> {
    type Rejection = ApiError;
    async fn from_request(request: Request, shared: &Arc<Shared>) -> Result<Body<T>, ApiError> {
        read(&whole(request, shared).await?).map(Body)
    }
}

impl<T: DeserializeOwned> OptionalFromRequest<Arc<Shared>> for Body<T> {
    type Rejection = ApiError;
    /// None for an empty body.
    async fn from_request(request: Request, shared: &Arc<Shared>) -> Result<Option<Body<T>>, ApiError> {
        let bytes = whole(request, shared).await?;
        if bytes.iter().all(u8::is_ascii_whitespace) { Ok(None) } else { read(&bytes).map(Body).map(Some) }
    }
}

/// The whole body.
pub(super) async fn whole(request: Request, shared: &Arc<Shared>) -> Result<Bytes, ApiError> {
    Bytes::from_request(request, shared).await.map_err(|rejection| match rejection.status().as_u16() {
        413 => {
            hit(Limit::HttpBody);
            ApiError::too_large(format!("a body has at most {} bytes", super::BODY_BYTES_MAX))
        }
        _ => ApiError::invalid("", "the body ended before its length"),
    })
}

/// Reads JSON into its exact shape; an error points at the place.
pub(super) fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, ApiError> {
    if depth(bytes) > JSON_DEPTH_MAX {
        return Err(ApiError::invalid("", format!("the body nests deeper than {JSON_DEPTH_MAX}")));
    }
    let mut json = serde_json::Deserializer::from_slice(bytes);
    let value = serde_path_to_error::deserialize(&mut json).map_err(|error| misshapen(error, ""))?;
    json.end().map_err(|error| ApiError::invalid("", plain(&error)))?;
    Ok(value)
}

/// The same of a part that was read already; `within` is the pointer of that part.
pub(super) fn read_part<T: DeserializeOwned>(part: serde_json::Value, within: &str) -> Result<T, ApiError> {
    serde_path_to_error::deserialize(part).map_err(|error| misshapen(error, within))
}

fn misshapen(error: serde_path_to_error::Error<serde_json::Error>, within: &str) -> ApiError {
    let pointer: String = error.path().iter().map(pointer_part).collect();
    ApiError::invalid(format!("{within}{pointer}"), plain(&error.into_inner()))
}

fn pointer_part(segment: &Segment) -> String {
    match segment {
        Segment::Seq { index } => format!("/{index}"),
        Segment::Map { key } => format!("/{}", key.replace('~', "~0").replace('/', "~1")),
        Segment::Enum { variant } => format!("/{variant}"),
        Segment::Unknown => String::new(),
    }
}

/// The message without the quoted value, which may be somebody's, cut at a bearable length.
fn plain(error: &serde_json::Error) -> String {
    in_plain_words(&error.to_string()).chars().take(300).collect()
}

/// How deep the brackets nest, without reading further than a scan.
fn depth(bytes: &[u8]) -> usize {
    let (mut now, mut deepest, mut in_text, mut escaped) = (0_usize, 0, false, false);
    for byte in bytes {
        match (in_text, byte) {
            (true, _) if escaped => escaped = false,
            (true, b'\\') => escaped = true,
            (_, b'"') => in_text = !in_text,
            (false, b'{' | b'[') => {
                now += 1;
                deepest = deepest.max(now);
            }
            (false, b'}' | b']') => now = now.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

/// An instant at a place in a body, as RFC 3339 has it.
pub(super) fn instant_at(pointer: &str, text: &str) -> Result<Timestamp, ApiError> {
    Timestamp::parse_rfc3339(text)
        .ok_or_else(|| ApiError::invalid(pointer, "write an instant as RFC 3339 has it, such as 2026-12-01T08:00:00Z"))
}

/// Query parameters in their exact shape.
pub struct Params<T>(pub T);

impl<T: DeserializeOwned> FromRequestParts<Arc<Shared>> for Params<T> {
    type Rejection = ApiError;
    async fn from_request_parts(parts: &mut Parts, shared: &Arc<Shared>) -> Result<Params<T>, ApiError> {
        match Query::<T>::from_request_parts(parts, shared).await {
            Ok(Query(value)) => Ok(Params(value)),
            Err(rejection) => Err(query_problem(&rejection.body_text())),
        }
    }
}

/// What is wrong with a query, under the name of its parameter.
fn query_problem(text: &str) -> ApiError {
    let text = text.strip_prefix("Failed to deserialize query string: ").unwrap_or(text);
    let quoted = |text: &str| text.split('`').nth(1).map(str::to_owned);
    let (name, problem) = match text.split_once(": ") {
        Some((name, problem)) if !name.contains([' ', '`']) => (name.to_owned(), problem.to_owned()),
        _ if text.starts_with("missing field") => (quoted(text).unwrap_or_default(), "is missing".to_owned()),
        _ if text.starts_with("unknown field") => {
            let known = text.split_once(", expected ").map_or("", |(_, known)| known);
            (quoted(text).unwrap_or_default(), format!("there is none of this name, but {known}"))
        }
        _ => (String::new(), text.to_owned()),
    };
    if name.is_empty() {
        ApiError::invalid("", format!("the query: {problem}"))
    } else {
        ApiError::bad_query(&name, in_plain_words(&problem))
    }
}

/// The page that is asked for.
pub fn page(limit: Option<usize>, cursor: Option<String>) -> Result<PageQuery, ApiError> {
    let limit = limit.unwrap_or(PAGE_ROWS_DEFAULT);
    if limit == 0 || limit > PAGE_ROWS_MAX {
        return Err(ApiError::bad_query("limit", format!("takes 1 to {PAGE_ROWS_MAX}")));
    }
    Ok(PageQuery { limit, cursor })
}

/// An RFC 3339 instant in a query or body.
pub fn instant(text: &str) -> Option<Timestamp> {
    // A `+` in a query that was not escaped arrives as a space.
    Timestamp::parse_rfc3339(&text.replace(' ', "+"))
}

/// What `If-Match` asks of the object.
pub struct IfMatch(pub Condition);

impl FromRequestParts<Arc<Shared>> for IfMatch {
    type Rejection = ApiError;
    async fn from_request_parts(parts: &mut Parts, _: &Arc<Shared>) -> Result<IfMatch, ApiError> {
        let values: Vec<&str> =
            parts.headers.get_all(header::IF_MATCH).iter().filter_map(|value| value.to_str().ok()).collect();
        let tags: Vec<String> =
            values.iter().flat_map(|value| value.split(',')).map(|tag| tag.trim().to_owned()).collect();
        Ok(IfMatch(match tags.as_slice() {
            [] => Condition::Any,
            [star] if star == "*" => Condition::Exists,
            _ => Condition::Tags(tags),
        }))
    }
}

/// The language of texts meant for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Language {
    /// English.
    En,
    /// French.
    Fr,
}

impl FromRequestParts<Arc<Shared>> for Language {
    type Rejection = ApiError;
    async fn from_request_parts(parts: &mut Parts, _: &Arc<Shared>) -> Result<Language, ApiError> {
        let wanted = parts.headers.get(header::ACCEPT_LANGUAGE).and_then(|value| value.to_str().ok());
        Ok(Language::of(wanted.unwrap_or_default()))
    }
}

impl Language {
    /// The first language of `Accept-Language` that we have.
    fn of(accept: &str) -> Language {
        let words = accept.split(',').map(|part| part.split([';', '-']).next().unwrap_or_default().trim());
        let known = |word: &str| match word.to_ascii_lowercase().as_str() {
            "fr" => Some(Language::Fr),
            "en" => Some(Language::En),
            _ => None,
        };
        words.into_iter().find_map(known).unwrap_or(Language::En)
    }
    /// The language of reasons.
    pub fn tongue(self) -> Tongue {
        match self {
            Language::En => Tongue::En,
            Language::Fr => Tongue::Fr,
        }
    }
    /// The tag.
    pub fn tag(self) -> &'static str {
        match self {
            Language::En => "en",
            Language::Fr => "fr",
        }
    }
}

/// A name in a path that is to be made.
pub fn path_name<T>(name: Result<T, NameError>) -> Result<T, ApiError> {
    name.map_err(|error| ApiError::invalid("", format!("in the path: {error}")))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use axum::response::IntoResponse;
    use serde::Deserialize;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Outer {
        #[allow(dead_code)]
        items: Vec<Inner>,
    }
    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Inner {
        #[allow(dead_code)]
        n: u32,
    }

    fn line(body: &str) -> serde_json::Value {
        read::<Outer>(body.as_bytes()).unwrap_err().to_line()["error"].clone()
    }

    #[test]
    fn an_error_points_at_its_place() {
        assert_eq!(line(r#"{"items":[{"n":1},{"n":1,"x/y":2}]}"#)["pointer"], "/items/1/x~1y");
        assert_eq!(line(r#"{"items":[{"n":"one"}]}"#)["pointer"], "/items/0/n");
        assert_eq!(line(r#"{"items":[{}]}"#)["pointer"], "/items/0");
        assert_eq!(line(r#"{"items":[]} x"#)["code"], "payload.invalid");
        let error = read::<Outer>(b"nonsense").unwrap_err();
        assert_eq!(error.into_response().status().as_u16(), 422);
    }

    #[test]
    fn brackets_in_texts_do_not_nest() {
        assert_eq!(depth(br#"{"a":"[[[\"[","b":[{}]}"#), 3);
        let deep = "[".repeat(100_000);
        assert!(read::<serde_json::Value>(deep.as_bytes()).is_err());
    }

    #[test]
    fn the_first_known_language_wins() {
        assert_eq!(Language::of("de-DE, fr-FR;q=0.9, en"), Language::Fr);
        assert_eq!(Language::of("en-GB,fr"), Language::En);
        assert_eq!(Language::of(""), Language::En);
    }
}
