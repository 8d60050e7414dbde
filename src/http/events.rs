use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::IntoResponse;
use hearthway_core::id::{FieldName, HouseholdId, NameError, ProductId, ProfileId};
use hearthway_core::model;
use hearthway_core::time::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Shared;
use super::error::{ApiError, ApiResult};
use super::request::{Body, Who, instant_at, read_part};
use crate::app::events::{ChannelEvent, Heard, PurchaseEvent};
use crate::app::tokens::Caller;

/// Events of one call: each is a commit of its home, and the call has half a minute.
const EVENTS_MAX: usize = 1_000;
/// The version of CloudEvents that is understood.
const SPEC_VERSION: &str = "1.0";
/// Values that come with an event of another channel: a condition names few.
const DATA_VALUES_MAX: usize = 32;
/// Bytes of one text among them.
const TEXT_BYTES_MAX: usize = 256;

/// One event, or a batch of them.
#[derive(Deserialize)]
#[serde(untagged)]
pub(super) enum EventsBody {
    Batch(Vec<Value>),
    One(Value),
}

/// A CloudEvent 1.0 in its JSON form; attributes beyond these are accepted, as the standard asks.
#[derive(Deserialize)]
struct CloudEvent {
    specversion: String,
    id: String,
    source: String,
    r#type: String,
    time: Option<String>,
    data: Value,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PurchaseData {
    profile: ProfileId,
    product: ProductId,
    #[serde(default = "one")]
    qty: u32,
    household: Option<HouseholdId>,
}

#[derive(Deserialize)]
struct WhoData {
    profile: ProfileId,
    household: Option<HouseholdId>,
}

fn one() -> u32 {
    1
}

pub(super) async fn post_events(
    State(shared): State<Arc<Shared>>,
    Who(who): Who,
    Body(body): Body<EventsBody>,
) -> ApiResult {
    let events = match body {
        EventsBody::One(event) => return Ok(Json(take(&shared, &who, event).await?).into_response()),
        EventsBody::Batch(events) => events,
    };
    if events.len() > EVENTS_MAX {
        let message = format!("a call carries at most {EVENTS_MAX} events, this one has {}", events.len());
        return Err(ApiError::invalid("", message));
    }
    let mut items = Vec::with_capacity(events.len());
    for event in events {
        let id = event.get("id").cloned().unwrap_or_default();
        items.push(match take(&shared, &who, event).await {
            Ok(taken) => taken,
            // One that is wrong does not hold up the others; what is wrong with all is told once.
            Err(error) if error.is_about_the_body() => {
                json!({"id": id, "result": "refused", "error": error.to_json()})
            }
            Err(error) => return Err(error),
        });
    }
    Ok(Json(json!({"items": items})).into_response())
}

async fn take(shared: &Shared, who: &Caller, event: Value) -> ApiResult<Value> {
    let event = read(event)?;
    let (heard, id) = match event {
        Told::Purchase(event) => (shared.app.purchased(who, &event).await?, event.id),
        Told::Elsewhere(event) => (shared.app.happened_elsewhere(who, &event).await?, event.id),
    };
    let (result, home) = match heard {
        Heard::Taken(home) => ("taken", home),
        Heard::Repeated(home) => ("repeated", home),
        Heard::FitsNothing(home) => {
            let warning = "no device of this home takes the product, so nothing was counted; where that is wrong, name the \
                           model and slot in the product's `fits` and tell the event again";
            return Ok(json!({"id": id, "result": "taken", "household": home, "warning": warning}));
        }
    };
    Ok(json!({"id": id, "result": result, "household": home}))
}

/// What an event tells.
enum Told {
    Purchase(PurchaseEvent),
    Elsewhere(ChannelEvent),
}

/// What comes with an event of another channel: who, and flat values that conditions read.
fn elsewhere(event: CloudEvent, at: Option<Timestamp>) -> Result<ChannelEvent, ApiError> {
    let wrong = |why: NameError| ApiError::invalid("/type", why.to_string());
    let r#type = FieldName::new(&event.r#type).map_err(wrong)?;
    let Value::Object(mut data) = event.data else {
        return Err(ApiError::invalid("/data", "an object with the `profile` that it is about"));
    };
    let who: WhoData =
        read_part(json!({"profile": data.remove("profile"), "household": data.remove("household")}), "/data")?;
    if data.len() > DATA_VALUES_MAX {
        return Err(ApiError::invalid("/data", format!("at most {DATA_VALUES_MAX} values besides the person's")));
    }
    let mut values = Vec::with_capacity(data.len());
    for (name, value) in data {
        let pointer = format!("/data/{}", name.replace('~', "~0").replace('/', "~1"));
        let name = FieldName::new(&name).map_err(|why| ApiError::invalid(&pointer, why.to_string()))?;
        let value = match value {
            Value::Bool(is) => Some(model::Value::Bool(is)),
            Value::Number(n) => n.as_f64().map(model::Value::Number),
            Value::String(text) if text.len() <= TEXT_BYTES_MAX => Some(model::Value::Text(text.as_str().into())),
            _ => None,
        };
        let message = format!("a number, `true` or `false`, or a text of at most {TEXT_BYTES_MAX} bytes");
        values.push((name, value.ok_or_else(|| ApiError::invalid(&pointer, message))?));
    }
    let (id, source) = (event.id, event.source);
    Ok(ChannelEvent { id, source, r#type, at, profile: who.profile, household: who.household, data: values })
}

fn read(event: Value) -> Result<Told, ApiError> {
    let event: CloudEvent = read_part(event, "")?;
    if event.specversion != SPEC_VERSION {
        let message = format!("CloudEvents {SPEC_VERSION} is understood, not {}", event.specversion);
        return Err(ApiError::invalid("/specversion", message));
    }
    if event.id.is_empty() || event.source.is_empty() {
        return Err(ApiError::invalid("/id", "`id` and `source` together name the event: neither is empty"));
    }
    let at = event.time.as_deref().map(|text| instant_at("/time", text)).transpose()?;
    if event.r#type != "purchase" {
        return elsewhere(event, at).map(Told::Elsewhere);
    }
    let data: PurchaseData = read_part(event.data, "/data")?;
    let PurchaseData { profile, product, qty, household } = data;
    Ok(Told::Purchase(PurchaseEvent { id: event.id, source: event.source, at, profile, household, product, qty }))
}
