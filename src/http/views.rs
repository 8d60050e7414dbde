//! How the nouns look over HTTP: the shapes that clients are written against.

use axum::Json;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use hearthway_core::chance::Chances;
use hearthway_core::id::{HouseholdId, SlotId};
use hearthway_core::model::{
    Evidence, FieldType, Habit, Mandate, Offer, Order, PresenceState, SlotKey, SlotState, StateChange,
};
use hearthway_core::rules::RuleSet;
use hearthway_core::time::Timestamp;
use hearthway_core::trace::{CandidateTrace, StepTrace, Verdict};
use hearthway_core::wire::alternative_id;
use serde_json::{Map, Value, json};

use super::request::Language;
use crate::app::Page;
use crate::app::devices::DeviceView;
use crate::app::documents::Document;
use crate::app::offers::order_of;
use crate::app::provisioning::Attempt;
use crate::app::tries::{Tried, TriedLive};
use crate::engine::history::SlotHistory;
use crate::engine::{Explained, MessageSeen, QuarantineRow};

/// A list.
pub fn list<T>(page: Page<T>, item: impl Fn(T) -> Value) -> Value {
    json!({"items": page.items.into_iter().map(item).collect::<Vec<_>>(), "next": page.next})
}

/// A list that is one page.
pub fn whole_list(items: Vec<Value>) -> Value {
    json!({"items": items, "next": null})
}

pub(super) fn time(at: Timestamp) -> Value {
    at.to_string().into()
}

pub(super) fn time_or_null(at: Option<Timestamp>) -> Value {
    at.map_or(Value::Null, time)
}

fn history(changes: &[StateChange]) -> Value {
    changes
        .iter()
        .map(|change| json!({"state": &*change.state, "at": time(change.at), "cause": &*change.cause}))
        .collect()
}

/// An offer in a list.
pub fn offer(household: HouseholdId, offer: &Offer) -> Value {
    let price = offer.price.as_ref().map(|price| {
        json!({
            "item": price.item, "delivery": price.delivery, "total": price.total,
            "was": price.was.filter(|was| *was != price.total), "tax_incl": price.tax_incl,
            "lock_until": time(price.lock_until),
        })
    });
    json!({
        "offer": offer.id,
        "rev": offer.rev,
        "device": offer.device.device.as_str(),
        "household": household,
        "trigger": offer.trigger.as_str(),
        "state": offer.state.as_str(),
        "price": price,
        "expires_at": time(offer.expires_at),
        "order": order_of(offer),
    })
}

/// An offer by itself: what the list says, and all that it says to the customer.
pub fn whole_offer(household: HouseholdId, this: &Offer) -> Value {
    let mut json = offer(household, this);
    let item = this.item.as_ref();
    let others = this.alternatives.iter().enumerate().map(|(n, other)| {
        json!({
            "id": alternative_id(n), "seller": other.seller, "sold_by": other.sold_by, "total": other.price.total,
            "condition": other.condition, "ships_by": time_or_null(other.ships_by),
        })
    });
    let more = json!({
        "maker": this.device.maker.as_str(),
        "kind": &*this.kind,
        "slot": this.slot.as_ref().map(|slot| slot.as_str()),
        "placement": this.placement.as_str(),
        "priority": this.priority,
        "decision": this.decision,
        "trigger_version": this.trigger_version,
        "valid_from": time(this.valid_from),
        "text": {
            "locale": this.text.locale, "title": this.text.title, "body": this.text.body, "short": this.text.short,
            "say": this.text.say, "why": this.text.why,
        },
        "item": item.map(|item| json!({"product": item.product.as_str(), "name": item.name, "qty": item.qty})),
        "sold_by": this.sold_by,
        "seller": this.seller,
        "ships_by": time_or_null(this.ships_by),
        "alternatives": others.collect::<Vec<_>>(),
        "stores": this.stores.iter().map(|store| json!({"id": store.store, "name": store.name, "ready": store.ready})).collect::<Vec<_>>(),
        "code": this.code.as_ref().map(|code| code.code.as_str()),
        "withdraw_days": this.withdraw_days,
        "fulfil": this.fulfil,
        "actions": this.actions.iter().map(|action| action.as_str()).collect::<Vec<_>>(),
        "test": this.test,
        "history": history(&this.history),
    });
    extend(&mut json, more);
    json
}

fn extend(json: &mut Value, more: Value) {
    if let (Some(object), Value::Object(more)) = (json.as_object_mut(), more) {
        object.extend(more);
    }
}

/// An order.
pub fn order(household: HouseholdId, order: &Order) -> Value {
    let pickup = order.pickup.as_ref().map(|pickup| {
        json!({"store": pickup.store, "name": pickup.name, "code": pickup.code, "until": time_or_null(pickup.until)})
    });
    json!({
        "order": order.id,
        "offer": order.offer,
        "household": household,
        "device": order.device.device.as_str(),
        "profile": order.profile.as_ref().map(|profile| profile.as_str()),
        "rev": order.rev,
        "state": order.state.as_str(),
        "total": order.total,
        "refunded": order.refunded(),
        "cancel_until": time_or_null(order.cancel_until),
        "fulfil": order.fulfil,
        "seller": order.seller,
        "sold_by": order.sold_by,
        "pickup": pickup,
        "withdrawn_at": time_or_null(order.withdrawn_at),
        "eta": order.eta,
        "created_at": time(order.created_at),
        "test": order.test,
        "lines": lines(order),
        "history": history(&order.history),
    })
}

fn lines(order: &Order) -> Vec<Value> {
    let lines = order
        .lines
        .iter()
        .map(|line| json!({"product": line.product.as_str(), "name": line.name, "qty": line.qty, "price": line.price, "shipped": line.shipped, "refunded": line.refunded}));
    lines.collect()
}

/// An order whose buyer was erased: how it stands, and nothing of where it came from.
pub fn locked_order(order: &Order) -> Value {
    json!({
        "order": order.id,
        "profile": null,
        "rev": order.rev,
        "state": order.state.as_str(),
        "total": order.total,
        "refunded": order.refunded(),
        "fulfil": order.fulfil,
        "eta": order.eta,
        "created_at": time(order.created_at),
        "lines": lines(order),
    })
}

/// A device in a list and by itself.
pub fn device(view: &DeviceView) -> Value {
    let device = &view.device;
    let health = view.health().into_iter().map(|reason| json!({"code": reason.code, "message": reason.message}));
    let wake_at = match device.presence.state {
        PresenceState::Sleeping { wake_at } => time_or_null(wake_at),
        PresenceState::Unseen | PresenceState::Online | PresenceState::Lost | PresenceState::Offline => Value::Null,
    };
    json!({
        "device": view.key.device.as_str(),
        "maker": view.key.maker.as_str(),
        "model": device.model.as_str(),
        "kind": view.description().map(|description| description.kind.as_str()),
        "serial": device.serial,
        "firmware": device.firmware,
        "presence": {
            "state": device.presence.state.as_str(), "since": time(device.presence.since), "wake_at": wake_at,
        },
        "link": link(view),
        "health": health.collect::<Vec<_>>(),
        "suspended": device.suspended.is_some(),
        "stolen": device.is_stolen(),
        "mode": if device.is_shared_public() { "shared_public" } else { "own" },
        "stay_until": device.stay_until().filter(|_| view.shows_link).map(time),
        "usage": view.home.habits.get(&view.key).filter(|_| view.shows_link).map(|habit| usage(habit, view.at)),
    })
}

/// When a device is used: uses by local hour, the old ones fading, and what follows from them where it is enough.
pub fn usage(habit: &Habit, now: Timestamp) -> Value {
    json!({
        "hours": habit.hours(),
        "uses_per_day": habit.uses_per_day(now).map(|uses| (uses * 100.0).round() / 100.0),
        "usual_hour": habit.usual_hour(now),
        "last": time(habit.used_at()),
    })
}

fn link(view: &DeviceView) -> Value {
    let link = view.home.link_of(&view.key);
    let state = match (link, view.device.wipe_pending) {
        (_, true) => "wipe_pending",
        (Some(_), false) => "linked",
        (None, false) => "none",
    };
    match link.filter(|_| view.shows_link) {
        Some(link) => json!({
            "state": state, "link": link.id, "household": view.home.id, "profile": link.profile.as_str(),
            "role": link.role.as_str(), "since": time(link.since),
        }),
        None => json!({"state": state}),
    }
}

/// What a device reported, and what is wanted of it.
pub fn device_state(view: &DeviceView) -> Value {
    let description = view.description();
    let unit =
        |field| match description.and_then(|description| description.telemetry.get(field)).map(|schema| &schema.r#type)
        {
            Some(FieldType::Number { unit, .. }) => unit.map(|unit| unit.as_str()),
            Some(FieldType::Enum { .. } | FieldType::Bool | FieldType::Text) | None => None,
        };
    let reported: Map<String, Value> = view
        .device
        .reported
        .iter()
        .map(|(field, reading)| {
            let value = json!({"value": reading.value.to_json(), "unit": unit(field), "t": time(reading.t)});
            (field.to_string(), value)
        })
        .collect();
    json!({"reported": reported, "desired": {}, "version": 0})
}

/// A device's consumables: the evidence as it came, and for the retailer of its people what is
/// foreseen.
pub fn device_slots(view: &DeviceView, rules: &RuleSet) -> Value {
    let slots = view.device.slots.iter().map(|(id, state)| {
        let mut json = slot(id.as_str(), state);
        if view.shows_link && view.home.retailer.is_some() {
            extend(&mut json, slot_forecast(view, rules, id));
        }
        json
    });
    // What never reported is shown where purchases tell of it.
    let silent = view.silent_slots().filter(|_| view.shows_link && view.home.retailer.is_some());
    let silent = silent.filter(|(slot, _)| view.forecast(rules, slot).is_ok()).map(|(slot, schema)| {
        let mut json = json!({"slot": slot, "kind": schema.kind.as_str(), "unit": schema.unit.map(|unit| unit.as_str()), "t": null});
        extend(&mut json, slot_forecast(view, rules, slot));
        json
    });
    whole_list(slots.chain(silent).collect())
}

/// What is foreseen of a slot, and what that rests on.
fn slot_forecast(view: &DeviceView, rules: &RuleSet, slot: &SlotId) -> Value {
    let home = &*view.home;
    let key = SlotKey { device: view.key.clone(), slot: slot.clone() };
    let track = home.supply.tracks.get(&key);
    let spares = track.and_then(|track| track.product.as_ref()).and_then(|product| home.supply.shelves.get(product));
    let learned = track.map(|track| {
        let days = Some(track.days_learned()).filter(|days| days.is_finite());
        json!({
            "product": track.product, "left_percent": track.points().map(tenths), "days_learned": days.map(tenths),
            "verdict": track.verdict.map(|verdict| verdict.to_string()), "stuck": track.is_stuck(),
        })
    });
    let (forecast, why) = match view.forecast(rules, slot) {
        Ok(seen) => {
            let by = |p| time_or_null(seen.empty_by(p));
            let fan: Vec<_> = seen.empty.iter().map(|(p, at)| json!({"p": p, "at": time(*at)})).collect();
            let forecast = json!({
                "expected_empty": {"p10": by(0.1), "p50": by(0.5), "p90": by(0.9)},
                "order_by": time(seen.order_by),
                "cycle_days": seen.cycle_days.map(tenths),
                "sure": seen.is_sure,
                "priors_version": seen.priors_version,
                "purchase_gaps": seen.purchase_gaps,
                "fan": fan,
            });
            (Some(forecast), None)
        }
        Err(why) => (None, Some(why)),
    };
    json!({
        "on_hand": spares.map_or(0, |shelf| shelf.spares), "learned": learned, "forecast": forecast,
        "no_forecast": why,
    })
}

/// What a slot went through, and the fan of what is foreseen.
pub fn slot_history(view: &DeviceView, rules: &RuleSet, slot: &SlotId, history: &SlotHistory) -> Value {
    let mut json = slot_forecast(view, rules, slot);
    let points = history.points.iter().map(|point| {
        json!({
            "t": time(point.t), "left_percent": point.left_percent.map(tenths), "verdict": point.verdict,
            "refilled": point.refilled,
        })
    });
    let decisions = history.decisions.iter().map(
        |of| json!({"t": time(of.t), "trigger": of.trigger, "verdict": of.verdict, "first_block": of.first_block}),
    );
    let more = json!({
        "slot": slot, "at": time(view.at), "points": points.collect::<Vec<_>>(),
        "decisions": decisions.collect::<Vec<_>>(),
    });
    extend(&mut json, more);
    json
}

/// To a tenth: more is not known of days and percents.
fn tenths(x: f64) -> f64 {
    (x * 10.0).round() / 10.0
}

pub(super) fn slot(id: &str, state: &SlotState) -> Value {
    let mut json = json!({"slot": id});
    extend(
        &mut json,
        match &state.evidence {
            Evidence::Usage { used } => json!({"kind": "usage", "used": number(*used)}),
            Evidence::Level { remaining } => json!({"kind": "level", "remaining": number(*remaining)}),
            Evidence::Countdown { remaining } => json!({"kind": "countdown", "remaining": number(*remaining)}),
            Evidence::Flag { flag } => json!({"kind": "flag", "flag": flag}),
            Evidence::Life { ends } => json!({"kind": "life", "ends": ends}),
        },
    );
    let more = json!({
        "capacity": state.capacity.map(number),
        "unit": state.unit.map(|unit| unit.as_str()),
        "t": time(state.t),
        "changed_at": time_or_null(state.changed_at),
        "on_hand": state.on_hand,
    });
    extend(&mut json, more);
    json
}

/// How likely a retailer's offers are accepted: what was counted, and what is believed.
pub fn chances(chances: &Chances) -> Value {
    let share = |share: f64| (share * 10_000.0).round() / 10_000.0;
    let rows = chances.triggers.iter().flat_map(|(trigger, of)| {
        let all = (None, of.all, chances.of_trigger(trigger));
        let models = of.models.iter().map(move |(model, tally)| (Some(model), *tally, chances.of(trigger, model)));
        std::iter::once(all).chain(models).map(move |(model, tally, believed)| {
            json!({"trigger": trigger, "model": model, "seen": tally.seen, "accepted": tally.accepted,
                   "chance": share(believed.mean())})
        })
    });
    json!({"learned_at": time(chances.learned_at), "explore": chances.explore, "seen": chances.all.seen,
           "accepted": chances.all.accepted, "items": rows.collect::<Vec<_>>()})
}

/// A standing permission to order.
pub fn mandate(mandate: &Mandate) -> Value {
    let ordered: Vec<_> = mandate.ordered.iter().map(|(order, at)| json!({"order": order, "at": time(*at)})).collect();
    json!({
        "mandate": mandate.id, "profile": mandate.profile, "device": mandate.device.device, "slot": mandate.slot,
        "products": mandate.products, "max_price": mandate.max_price, "max_per_30d": mandate.max_per_30d,
        "given_at": time(mandate.given_at), "expires_at": time(mandate.expires_at), "ordered": ordered,
    })
}

/// A whole number without its `.0`, as devices write it.
fn number(x: f64) -> Value {
    // 2^53: above it a float does not hold every whole number.
    if x.fract() == 0.0 && x.abs() < 9_007_199_254_740_992.0 { (x as i64).into() } else { x.into() }
}

/// A device message that was seen.
pub fn message(seen: &MessageSeen) -> Value {
    json!({
        "id": seen.id.as_ref().map(|id| id.as_str()),
        "topic": seen.topic.to_string(),
        "t": time(seen.t),
        "bytes": seen.bytes,
        "verdict": seen.verdict.to_string(),
    })
}

fn verdict(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Sent => "sent",
        Verdict::Held => "held",
    }
}

/// A decision in a list.
pub fn decision(at: Timestamp, input: hearthway_core::id::InputId, candidate: &CandidateTrace) -> Value {
    json!({
        "decision": candidate.decision,
        "at": time(at),
        "input": input,
        "trigger": candidate.trigger.as_str(),
        "trigger_version": candidate.trigger_version,
        "verdict": verdict(candidate.verdict),
        "first_block": candidate.first_block.map(|step| step.as_str()),
        "offer": candidate.offer,
    })
}

/// A decision with its steps, its reasons in a language.
pub fn explained(explained: &Explained, language: Language) -> Value {
    let mut json = decision(explained.at, explained.input, &explained.candidate);
    extend(&mut json, json!({"recomputed": explained.recomputed, "steps": steps(&explained.candidate, language)}));
    json
}

pub(super) fn steps(candidate: &CandidateTrace, language: Language) -> Vec<Value> {
    let step = |step: &StepTrace| {
        let mut numbers: Map<String, Value> = Map::new();
        for (name, fact) in &step.numbers {
            // A step may look at several of a kind: the second leaf of a condition is `leaf_2`.
            let nth = (2..).map(|n| format!("{name}_{n}"));
            let name = std::iter::once(name.to_string()).chain(nth).find(|name| !numbers.contains_key(name));
            numbers.extend(name.map(|name| (name, fact.to_json())));
        }
        let reason = step.in_words(language.tongue());
        json!({"step": step.step.as_str(), "verdict": step.verdict, "code": step.code(), "reason": reason, "numbers": numbers})
    };
    candidate.steps.iter().map(step).collect()
}

/// What a trigger would do.
pub fn tried(tried: &Tried, language: Language) -> Value {
    let mut json = decision(tried.at, tried.input, &tried.candidate);
    let more = json!({
        "household": tried.household,
        "device": tried.device.device.as_str(),
        "woken": tried.is_woken,
        "steps": steps(&tried.candidate, language),
        "would_send": tried.offer.as_ref().map(|offer| whole_offer(tried.household, offer)),
    });
    extend(&mut json, more);
    json
}

/// What would happen with all that is live.
pub fn tried_live(found: &TriedLive, language: Language) -> Value {
    let woken: Vec<Value> = found.woken.iter().map(|woken| tried(woken, language)).collect();
    json!({"device": found.device.device.as_str(), "live": found.live, "woken": woken})
}

/// An answer that speaks a language.
pub fn spoken(json: Value, language: Language) -> Response {
    let mut response = Json(json).into_response();
    response.headers_mut().insert(header::CONTENT_LANGUAGE, HeaderValue::from_static(language.tag()));
    response
}

/// A version of a trigger.
pub fn version(document: &Document) -> Value {
    let text: Value = serde_json::from_str(&document.body).unwrap_or_default();
    json!({"version": document.number, "at": time(document.at), "paused": document.paused, "trigger": text})
}

/// A provisioning attempt.
pub fn attempt(attempt: &Attempt) -> Value {
    let error = attempt.outcome.as_ref().err();
    json!({
        "at": time(attempt.at),
        "maker": attempt.maker.as_str(),
        "serial": attempt.serial,
        "model": attempt.model.as_ref().map(|model| model.as_str()),
        "device": attempt.outcome.as_ref().ok().map(|key| key.device.as_str()),
        "error": error.map(|refusal| json!({"code": refusal.code, "message": refusal.message})),
    })
}

/// An entry of a maker's quarantine.
pub fn quarantined(row: &QuarantineRow) -> Value {
    json!({
        "t": time(row.at),
        "device": row.device.device.as_str(),
        "topic": row.topic,
        "code": row.code,
        "pointer": row.pointer,
        "bytes": row.bytes,
        "sha256": row.sha256.map(|hash| data_encoding::HEXLOWER.encode(&hash)),
        "excerpt": row.excerpt,
        "is_fault_of_gateway": row.is_fault_of_gateway,
    })
}
