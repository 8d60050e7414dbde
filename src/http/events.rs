use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::IntoResponse;
use hearthway_core::id::{HouseholdId, ProductId, ProfileId};
use serde::Deserialize;
use serde_json::{Value, json};

use super::Shared;
use super::error::{ApiError, ApiResult};
use super::request::{Body, Who, instant_at, read_part};
use crate::app::events::{Heard, PurchaseEvent};
use crate::app::tokens::Caller;

/// Events of one call: each is a commit of its home, and the call has half a minute.
const EVENTS_MAX: usize = 1_000;
/// The version of CloudEvents that is understood.
const SPEC_VERSION: &str = "1.0";

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
    let (result, home) = match shared.app.purchased(who, &event).await? {
        Heard::Taken(home) => ("taken", home),
        Heard::Repeated(home) => ("repeated", home),
    };
    Ok(json!({"id": event.id, "result": result, "household": home}))
}

fn read(event: Value) -> Result<PurchaseEvent, ApiError> {
    let event: CloudEvent = read_part(event, "")?;
    if event.specversion != SPEC_VERSION {
        let message = format!("CloudEvents {SPEC_VERSION} is understood, not {}", event.specversion);
        return Err(ApiError::invalid("/specversion", message));
    }
    if event.id.is_empty() || event.source.is_empty() {
        return Err(ApiError::invalid("/id", "`id` and `source` together name the event: neither is empty"));
    }
    if event.r#type != "purchase" {
        let message = format!("`{}` is not taken in yet; write `purchase`", event.r#type);
        return Err(ApiError::invalid("/type", message));
    }
    let at = event.time.as_deref().map(|text| instant_at("/time", text)).transpose()?;
    let data: PurchaseData = read_part(event.data, "/data")?;
    let PurchaseData { profile, product, qty, household } = data;
    Ok(PurchaseEvent { id: event.id, source: event.source, at, profile, household, product, qty })
}
