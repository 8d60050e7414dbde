use std::collections::BTreeSet;
use std::sync::Arc;

use axum::Json;
use axum::body::Body as RawBody;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use hearthway_core::id::ProfileId;
use hearthway_core::model::{Flag, Loyalty, Preferences};
use hearthway_core::money::Money;
use hearthway_core::time::{DailyWindow, Zone};
use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};

use super::documents::tagged;
use super::error::{ApiError, ApiResult};
use super::request::{Body, IfMatch, Language, Params, Who, instant_at, page, path_name, read};
use super::{Shared, customer_views, lines, views};
use crate::app::documents::Condition;
use crate::app::identities::IdentityGiven;
use crate::app::preferences::{PreferencesGiven, preferences_etag};
use crate::app::profiles::ProfilePatch;
use crate::app::tokens::{Caller, Scope};

/// A field that may be absent, null or there.
fn said<'de, D: Deserializer<'de>, T: Deserialize<'de>>(from: D) -> Result<Option<Option<T>>, D::Error> {
    Option::deserialize(from).map(Some)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LoyaltyBody {
    tier: Option<String>,
    #[serde(default)]
    points: i64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct IdentityBody {
    r#type: String,
    value: String,
}

impl From<IdentityBody> for IdentityGiven {
    fn from(body: IdentityBody) -> IdentityGiven {
        IdentityGiven { kind: body.r#type, value: body.value }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ProfileBody {
    display_name: Option<String>,
    #[serde(default, deserialize_with = "said")]
    locale: Option<Option<String>>,
    #[serde(default, deserialize_with = "said")]
    tz: Option<Option<Zone>>,
    segments: Option<BTreeSet<String>>,
    #[serde(default, deserialize_with = "said")]
    loyalty: Option<Option<LoyaltyBody>>,
    identities: Option<Vec<IdentityBody>>,
}

impl From<ProfileBody> for ProfilePatch {
    fn from(body: ProfileBody) -> ProfilePatch {
        let loyalty = |body: LoyaltyBody| Loyalty { tier: body.tier, points: body.points };
        ProfilePatch {
            display_name: body.display_name,
            locale: body.locale,
            zone: body.tz,
            segments: body.segments,
            loyalty: body.loyalty.map(|said| said.map(loyalty)),
            identities: body.identities.map(|all| all.into_iter().map(IdentityGiven::from).collect()),
        }
    }
}

pub(super) async fn put_profile(
    State(shared): State<Arc<Shared>>,
    Who(who): Who,
    IfMatch(condition): IfMatch,
    Path(id): Path<String>,
    Body(body): Body<ProfileBody>,
) -> ApiResult {
    let id = path_name(ProfileId::new(&id))?;
    let person = shared.app.put_profile(&who, &id, body.into(), &condition).await?;
    Ok(tagged(customer_views::person(&person), &person.etag()))
}

pub(super) async fn patch_profile(
    State(shared): State<Arc<Shared>>,
    Who(who): Who,
    IfMatch(condition): IfMatch,
    Path(id): Path<String>,
    Body(body): Body<ProfileBody>,
) -> ApiResult {
    let person = shared.app.patch_profile(&who, &id, body.into(), &condition).await?;
    Ok(tagged(customer_views::person(&person), &person.etag()))
}

pub(super) async fn get_profile(State(shared): State<Arc<Shared>>, Who(who): Who, Path(id): Path<String>) -> ApiResult {
    let person = shared.app.profile(&who, &id).await?;
    Ok(tagged(customer_views::person(&person), &person.etag()))
}

pub(super) async fn look_up(
    State(shared): State<Arc<Shared>>,
    Who(who): Who,
    Body(body): Body<IdentityBody>,
) -> ApiResult {
    let person = shared.app.look_up(&who, &body.into()).await?;
    Ok(tagged(customer_views::person(&person), &person.etag()))
}

#[derive(Deserialize)]
struct ProfileLine {
    profile: ProfileId,
    #[serde(flatten)]
    rest: serde_json::Map<String, Value>,
}

pub(super) async fn bulk_profiles(State(shared): State<Arc<Shared>>, Who(who): Who, body: RawBody) -> ApiResult {
    who.retailer(Scope::ProfilesWrite)?;
    Ok(lines::answer(body, move |line| bulk_profile(shared.clone(), who.clone(), line)))
}

async fn bulk_profile(shared: Arc<Shared>, who: Caller, line: Vec<u8>) -> ApiResult<Value> {
    let ProfileLine { profile, rest } = read(&line)?;
    // Read again without the name, so that an unknown field is told with its place.
    let body: ProfileBody = super::request::read_part(Value::Object(rest), "")?;
    let person = shared.app.put_profile(&who, &profile, body.into(), &Condition::Any).await?;
    Ok(json!({"profile": person.profile.id.as_str(), "households": person.homes.len()}))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PageParams {
    limit: Option<usize>,
    cursor: Option<String>,
}

impl PageParams {
    pub(super) fn page(self) -> Result<crate::app::PageQuery, ApiError> {
        page(self.limit, self.cursor)
    }
}

pub(super) async fn get_timeline(
    State(shared): State<Arc<Shared>>,
    Who(who): Who,
    Path(id): Path<String>,
    Params(params): Params<PageParams>,
) -> ApiResult {
    let found = shared.app.timeline(&who, &id, &params.page()?).await?;
    Ok(Json(views::list(found, |item| customer_views::happened(&item))).into_response())
}

pub(super) async fn export_profile(
    State(shared): State<Arc<Shared>>,
    Who(who): Who,
    language: Language,
    Path(id): Path<String>,
) -> ApiResult {
    let all = shared.app.export_person(&who, &id).await?;
    let headers = [
        (header::CONTENT_TYPE, "application/x-ndjson"),
        (header::CONTENT_DISPOSITION, "attachment; filename=\"person.jsonl\""),
    ];
    Ok((headers, customer_views::export(&all, language)).into_response())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WindowBody {
    from: String,
    to: String,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct FrequencyBody {
    per_day: Option<u8>,
    per_week: Option<u8>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PreferencesBody {
    #[serde(default)]
    quiet: Vec<WindowBody>,
    #[serde(default)]
    frequency: Option<FrequencyBody>,
    channels: Option<BTreeSet<String>>,
    devices: Option<Vec<String>>,
    pause_until: Option<String>,
    auto_order: Option<bool>,
    unattended_max: Option<Money>,
}

impl PreferencesBody {
    pub(super) fn given(self) -> Result<PreferencesGiven, ApiError> {
        let window = |(at, body): (usize, WindowBody)| {
            DailyWindow::parse(&body.from, &body.to).map_err(|error| ApiError::invalid(format!("/quiet/{at}"), error))
        };
        let frequency = self.frequency.unwrap_or_default();
        let pause_until = self.pause_until.as_deref().map(|text| instant_at("/pause_until", text)).transpose()?;
        let preferences = Preferences {
            quiet: self.quiet.into_iter().enumerate().map(window).collect::<Result<_, _>>()?,
            per_day: frequency.per_day,
            per_week: frequency.per_week,
            channels: self.channels,
            devices: None,
            pause_until,
            no_auto_order: self.auto_order == Some(false),
            unattended_max: self.unattended_max,
        };
        Ok(PreferencesGiven { preferences, devices: self.devices })
    }
}

pub(super) async fn get_preferences(
    State(shared): State<Arc<Shared>>,
    Who(who): Who,
    Path(id): Path<String>,
) -> ApiResult {
    let preferences = shared.app.preferences(&who, &id).await?;
    Ok(tagged(customer_views::preferences(&preferences), &preferences_etag(&preferences)))
}

pub(super) async fn put_preferences(
    State(shared): State<Arc<Shared>>,
    Who(who): Who,
    IfMatch(condition): IfMatch,
    Path(id): Path<String>,
    Body(body): Body<PreferencesBody>,
) -> ApiResult {
    let preferences = shared.app.put_preferences(&who, &id, body.given()?, &condition).await?;
    Ok(tagged(customer_views::preferences(&preferences), &preferences_etag(&preferences)))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FlagBody {
    reason: String,
}

fn flag_of(text: &str) -> Result<Flag, ApiError> {
    let known = Flag::ALL.map(Flag::as_str).join(", ");
    Flag::parse(text).ok_or_else(|| ApiError::invalid("", format!("in the path: a flag is one of {known}")))
}

pub(super) async fn put_flag(
    State(shared): State<Arc<Shared>>,
    Who(who): Who,
    Path((id, flag)): Path<(String, String)>,
    Body(body): Body<FlagBody>,
) -> ApiResult {
    let person = shared.app.set_flag(&who, &id, flag_of(&flag)?, &body.reason).await?;
    Ok(Json(customer_views::person(&person)).into_response())
}

pub(super) async fn delete_flag(
    State(shared): State<Arc<Shared>>,
    Who(who): Who,
    Path((id, flag)): Path<(String, String)>,
) -> ApiResult {
    shared.app.end_flag(&who, &id, flag_of(&flag)?).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}
