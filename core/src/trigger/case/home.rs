//! The home and the input of a case.

use std::sync::Arc;

use std::collections::BTreeSet;

use super::super::definition::{CaseDefinition, GivenDefinition, Scalar, SlotGiven};
use super::super::shape::GIVEN;
use super::super::tree::{Findings, Tree};
use super::super::{Crossing, Source, Trigger};
use super::ReadFile;
use super::past::lived;
use crate::id::{
    AudienceId, DeviceKey, DeviceName, FieldName, HouseholdId, InputId, LinkId, ModelId, OfferId, ProfileId, SlotId,
};
use crate::input::{Input, Sender, What};
use crate::limits::SAMPLES_MAX;
use crate::model::{
    ConsentRecord, ConsentSource, Contact, ContactState, ContextEntry, Device, DeviceDescription, Evidence, FieldType,
    Household, Link, Member, Presence, PresenceState, Purpose, Reading, Role, SlotKind, SlotSchema, SlotState, Value,
    list_mark,
};
use crate::rules::RuleSet;
use crate::time::{Span, Timestamp, Zone};
use crate::wire::{ContextUp, DeviceMessage, EventUp, PresenceUp, PresenceWord, Sample, SlotUp};

/// What `given` says was said this long before the input: fresh for every field.
const SAID_BEFORE: Span = Span::minutes(1);
/// The day on which cases play that name none; noon in their zone.
const DAY_DEFAULT: jiff::civil::Date = jiff::civil::date(2026, 3, 24);
/// Where cases play that name no place.
const ZONE_DEFAULT: &str = "Europe/Paris";
/// How long context is believed, seconds: the contract's example.
const CONTEXT_TTL_SECONDS: u32 = 900;

/// A home, and what comes in.
pub(super) struct Home {
    pub(super) household: Household,
    pub(super) input: Input,
}

/// Builds the home and the input of a case, or says what in it makes no sense.
pub(super) fn build(
    case: &CaseDefinition,
    trigger: &Trigger,
    rules: &RuleSet,
    read: ReadFile<'_>,
) -> Result<Home, String> {
    let given = given(case, read)?;
    let model = model(&given, trigger, rules)?;
    let (now, zone) = instant(&given, trigger)?;
    let name = DeviceName::new("case-device").map_err(|error| error.to_string())?;
    let key = DeviceKey::new(model.maker.clone(), name);
    let device = device(&given, trigger, &model.description, &key, now)?;
    let mut household = household(&given, trigger, device.clone(), now, zone)?;
    lived(&given, &mut household, &device, rules);
    let input = Input {
        id: InputId::derived(&[b"case", case.name.as_deref().unwrap_or_default().as_bytes()]),
        message: None,
        received_at: now,
        device: Some(key),
        entropy: 0,
        payload_bytes: 0,
        sender: Sender::default(),
        what: What::Device(message(case, &model.description, now, read)?),
    };
    Ok(Home { household, input })
}

/// What is given: the file's keys, and over them those of the case.
fn given(case: &CaseDefinition, read: ReadFile<'_>) -> Result<GivenDefinition, String> {
    let over = case.given.clone().unwrap_or_default();
    let Some(file) = &over.household else { return Ok(over) };
    let text = read(file).map_err(|error| format!("reading `{file}`: {error}"))?;
    let (tree, errors) = Tree::from_toml(&text);
    if let Some((_, error)) = errors.first() {
        return Err(format!("`{file}` is not TOML: {error}"));
    }
    let mut findings = Findings::new(file, &text, &tree);
    let under = GIVEN.sound(&tree, "", &mut findings);
    if let Some(problem) = findings.problems.first() {
        return Err(problem.to_string());
    }
    let (Some(serde_json::Value::Object(mut all)), Ok(serde_json::Value::Object(over))) =
        (under, serde_json::to_value(&over))
    else {
        return Err(format!("`{file}` is no table"));
    };
    all.extend(over);
    serde_json::from_value(all.into()).map_err(|error| format!("`{file}`: {error}"))
}

fn model<'a>(
    given: &GivenDefinition,
    trigger: &Trigger,
    rules: &'a RuleSet,
) -> Result<&'a crate::model::DeviceModel, String> {
    let named = given.model.as_deref().and_then(|model| ModelId::new(model).ok());
    let model = match &named {
        Some(model) => rules.models.get(model).ok_or_else(|| format!("there is no device model `{model}`"))?,
        None => rules
            .models
            .values()
            .find(|model| trigger.on.covers(&model.description.kind, &model.description.model))
            .ok_or("there is no device model that the trigger is about")?,
    };
    Ok(model)
}

/// When the case plays, and where.
fn instant(given: &GivenDefinition, trigger: &Trigger) -> Result<(Timestamp, Zone), String> {
    let (mut now, mut named) = (None, None);
    if let Some(text) = &given.now {
        if let Ok(zoned) = text.parse::<jiff::Zoned>() {
            now = Some(Timestamp(zoned.timestamp().as_millisecond()));
            named = zoned.time_zone().iana_name().map(str::to_owned);
        } else {
            let at = Timestamp::parse_rfc3339(text);
            now = Some(at.ok_or_else(|| format!("`now` is not RFC 3339: `{text}`"))?);
        }
    }
    let zone = Zone::new(given.zone.clone().or(named).unwrap_or_else(|| ZONE_DEFAULT.to_owned()))?;
    let now = now.unwrap_or_else(|| {
        let day = trigger.valid.0.unwrap_or(DAY_DEFAULT);
        // The zone finds noon from any instant of the day before it.
        let midnight = day.at(0, 0, 0, 0).in_tz("UTC").map_or(0, |at| at.timestamp().as_millisecond());
        zone.next(Timestamp(midnight) - Span::hours(1), jiff::civil::time(12, 0, 0, 0))
    });
    Ok((now, zone))
}

fn device(
    given: &GivenDefinition,
    trigger: &Trigger,
    description: &DeviceDescription,
    key: &DeviceKey,
    now: Timestamp,
) -> Result<Device, String> {
    let said = now - SAID_BEFORE;
    let mut device = Device::registered(key.clone(), description.model.clone(), None, now - Span::days(30));
    device.described = true;
    device.credential_used = true;
    device.presence = Presence { state: PresenceState::Online, since: now - Span::hours(1), epoch: 1 };
    ready(&mut device, trigger, description, said);
    for (name, value) in given.telemetry.iter().flatten() {
        let field = FieldName::new(name).map_err(|error| error.to_string())?;
        device.reported.insert(field, Reading { value: value.to_value(), t: said });
    }
    for (name, slot) in given.slots.iter().flatten() {
        let id = SlotId::new(name).map_err(|error| error.to_string())?;
        let schema = description.slots.get(&id).ok_or_else(|| format!("the model has no slot `{name}`"))?;
        let evidence = evidence(name, slot, schema)?;
        let mut state = slot_state(evidence, schema, said);
        state.capacity = slot.capacity.or(state.capacity);
        state.on_hand = slot.on_hand;
        device.slots.insert(id, state);
    }
    for (name, value) in given.context.iter().flatten() {
        let until = now + Span::seconds(CONTEXT_TTL_SECONDS.into());
        device.context.insert(name.clone(), ContextEntry { value: value.to_value(), t: said, until });
    }
    Ok(device)
}

fn slot_state(evidence: Evidence, schema: &SlotSchema, t: Timestamp) -> SlotState {
    SlotState { evidence, capacity: schema.capacity, unit: schema.unit, t, changed_at: None, on_hand: None }
}

/// A value at which a crossing is ready: where it re-arms, or any other than the awaited one.
fn ready_value(crossing: &Crossing, declared: Option<&FieldType>) -> Option<Value> {
    match (crossing, declared) {
        (Crossing::FallsBelow { rearm, .. } | Crossing::RisesAbove { rearm, .. }, _) => Some(Value::Number(*rearm)),
        (Crossing::Becomes(Value::Bool(b)), _) => Some(Value::Bool(!b)),
        (Crossing::Becomes(Value::Number(x)), _) => Some(Value::Number(x + 1.0)),
        (Crossing::Becomes(wanted), Some(FieldType::Enum { values })) => {
            values.iter().map(|word| Value::Text(word.as_str().into())).find(|word| word != wanted)
        }
        (Crossing::Becomes(Value::Text(_)), _) => Some(Value::Text("".into())),
        (Crossing::Changes, Some(FieldType::Number { min, .. })) => Some(Value::Number(min.unwrap_or(0.0))),
        (Crossing::Changes, Some(FieldType::Enum { values })) => {
            values.first().map(|word| Value::Text(word.as_str().into()))
        }
        (Crossing::Changes, Some(FieldType::Bool)) => Some(Value::Bool(false)),
        (Crossing::Changes, Some(FieldType::Text) | None) => Some(Value::Text("".into())),
    }
}

/// Puts what the trigger watches where its edge is ready. Silence and hours begin with the input.
fn ready(device: &mut Device, trigger: &Trigger, description: &DeviceDescription, t: Timestamp) {
    match &trigger.on.source {
        Source::Telemetry { field, edge } => {
            let declared = description.telemetry.get(field).map(|schema| &schema.r#type);
            if let Some(value) = ready_value(&edge.crossing, declared) {
                device.reported.insert(field.clone(), Reading { value, t });
            }
        }
        Source::Slot { slot, edge, .. } => {
            let Some(schema) = description.slots.get(slot) else { return };
            let level = match ready_value(&edge.crossing, None) {
                Some(Value::Number(level)) => Some(level),
                _ => None,
            };
            let evidence = match (schema.kind, level) {
                (SlotKind::Usage, Some(used)) => Evidence::Usage { used },
                (SlotKind::Level, Some(remaining)) => Evidence::Level { remaining },
                (SlotKind::Countdown, Some(remaining)) => Evidence::Countdown { remaining },
                (SlotKind::Flag, _) => Evidence::Flag { flag: "ok".to_owned() },
                (SlotKind::Usage | SlotKind::Level | SlotKind::Countdown, None) | (SlotKind::Life, _) => return,
            };
            device.slots.insert(slot.clone(), slot_state(evidence, schema, t));
        }
        Source::Presence { edge } if edge.crossing.beyond(&Value::Text(PresenceState::Online.as_str().into())) => {
            device.presence.state = PresenceState::Lost;
        }
        Source::Context { name, edge } => {
            if let Some(value) = ready_value(&edge.crossing, None) {
                let until = t + Span::seconds(CONTEXT_TTL_SECONDS.into());
                device.context.insert(name.to_string(), ContextEntry { value, t, until });
            }
        }
        Source::Trend { .. }
        | Source::Presence { .. }
        | Source::Silence { .. }
        | Source::Event { .. }
        | Source::Moment(_)
        | Source::Schedule(_)
        | Source::Forecast { .. }
        | Source::Channel { .. }
        | Source::Refill { .. } => {}
    }
}

fn evidence(name: &str, given: &SlotGiven, schema: &SlotSchema) -> Result<Evidence, String> {
    let evidence = match schema.kind {
        SlotKind::Usage => given.used.map(|used| Evidence::Usage { used }),
        SlotKind::Level => given.remaining.map(|remaining| Evidence::Level { remaining }),
        SlotKind::Countdown => given.remaining.map(|remaining| Evidence::Countdown { remaining }),
        SlotKind::Flag => given.flag.clone().map(|flag| Evidence::Flag { flag }),
        SlotKind::Life => return Err(format!("`{name}` is a date; cases do not give dates")),
    };
    let wanted = match schema.kind {
        SlotKind::Usage => "used",
        SlotKind::Level | SlotKind::Countdown => "remaining",
        SlotKind::Flag | SlotKind::Life => "flag",
    };
    evidence.ok_or_else(|| format!("`{name}` is a slot of kind {}: give `{wanted}`", schema.kind.as_str()))
}

/// A household that is not in the trigger's control group: a case is about its rules, not about
/// the draw.
fn spoken_to(trigger: &Trigger) -> HouseholdId {
    let is_held_out = |home: &HouseholdId| trigger.holdout.as_ref().is_some_and(|holdout| holdout.holds_out(*home));
    let mut homes = (0u32..).map(|n| HouseholdId::derived(&[b"case", &n.to_be_bytes()]));
    homes.find(|home| !is_held_out(home)).expect("a control group has 90 % of all households at most")
}

fn household(
    given: &GivenDefinition,
    trigger: &Trigger,
    device: Device,
    now: Timestamp,
    zone: Zone,
) -> Result<Household, String> {
    let profile = ProfileId::new("case-person").map_err(|error| error.to_string())?;
    let role = match given.role.as_deref() {
        Some("none") => {
            let mut home = Household::empty(spoken_to(trigger));
            home.devices.insert(device.key.clone(), Box::new(device));
            return Ok(home);
        }
        Some("buyer") => Role::Buyer,
        Some("viewer") => Role::Viewer,
        Some("child") => Role::Child,
        _ => Role::Owner,
    };
    let mut home = Household::empty(spoken_to(trigger));
    let purposes = match &given.consents {
        Some(named) => named.iter().filter_map(|text| Purpose::parse(text)).collect(),
        None => trigger.consent.clone(),
    };
    let record = ConsentRecord {
        granted: true,
        at: now - Span::days(1),
        source: ConsentSource::Shop,
        method: None,
        text_id: None,
        expires_at: None,
    };
    let lists = given.lists.iter().flatten().filter_map(|name| AudienceId::new(name).ok());
    let marks: Vec<String> = lists.map(|audience| list_mark(&audience)).collect();
    let member = Member {
        profile: profile.clone(),
        display_name: "Maison".to_owned(),
        locale: given.locale.clone(),
        role,
        segments: given.segments.iter().flatten().cloned().chain(marks).collect::<BTreeSet<_>>(),
        consents: purposes.into_iter().map(|purpose| (purpose, record.clone())).collect(),
    };
    let id = LinkId::derived(&[b"case"]);
    let link = Link { id, device: device.key.clone(), profile: profile.clone(), role, since: now - Span::days(1) };
    for (i, ago) in given.contacts.iter().flatten().enumerate() {
        home.contacts.push(Contact {
            offer: OfferId::derived(&[b"case", &i.to_be_bytes()]),
            trigger: trigger.id.clone(),
            device: device.key.clone(),
            at: now - Span::parse(ago)?,
            state: ContactState::Counted,
        });
    }
    home.contacts.sort_by_key(|contact| contact.at);
    home.retailer = Some(trigger.retailer.clone());
    home.zone = Some(zone);
    home.locale = given.locale.clone();
    home.members.insert(profile, Arc::new(member));
    home.links.insert(id, link);
    home.devices.insert(device.key.clone(), Box::new(device));
    Ok(home)
}

/// The device message that comes in.
fn message(
    case: &CaseDefinition,
    description: &DeviceDescription,
    now: Timestamp,
    read: ReadFile<'_>,
) -> Result<DeviceMessage, String> {
    let from_file: serde_json::Value;
    let input = match case.input.as_ref() {
        Some(serde_json::Value::String(file)) => {
            let text = read(file).map_err(|error| format!("reading `{file}`: {error}"))?;
            from_file = serde_json::from_str(&text).map_err(|error| format!("`{file}` is not JSON: {error}"))?;
            &from_file
        }
        Some(input) => input,
        None => return Err("the case has no input".to_owned()),
    };
    tried_message(input, description, now)
}

/// The device message that an input of a case stands for at `now`, see the module of cases.
pub fn tried_message(
    input: &serde_json::Value,
    description: &DeviceDescription,
    now: Timestamp,
) -> Result<DeviceMessage, String> {
    let members = input.as_object().ok_or("the input is no table")?;
    let only = members.iter().next().filter(|_| members.len() == 1);
    match only.map(|(name, body)| (name.as_str(), body)) {
        Some(("telemetry", serde_json::Value::Array(samples))) => batch(samples, now),
        Some(("telemetry", body)) => telemetry(body),
        Some(("slot", body)) => slot(body, description),
        Some(("event", body)) => event(body),
        Some(("presence", body)) => presence(body),
        Some(("context", body)) => {
            let entries = values(body)?;
            Ok(DeviceMessage::Context(ContextUp { entries, ttl_s: CONTEXT_TTL_SECONDS }))
        }
        _ => telemetry(input),
    }
}

/// Names to flat values.
fn values(body: &serde_json::Value) -> Result<Vec<(FieldName, Value)>, String> {
    let members = body.as_object().ok_or("the input needs names and values")?;
    members
        .iter()
        .map(|(name, value)| {
            let field = FieldName::new(name).map_err(|error| error.to_string())?;
            let value: Scalar = serde_json::from_value(value.clone())
                .map_err(|_| format!("`{name}` is neither a number nor a text nor a truth value"))?;
            Ok((field, value.to_value()))
        })
        .collect()
}

fn telemetry(body: &serde_json::Value) -> Result<DeviceMessage, String> {
    Ok(DeviceMessage::Telemetry(vec![Sample { t: None, fields: values(body)? }]))
}

/// Several samples, each with how long `ago` it was taken.
fn batch(samples: &[serde_json::Value], now: Timestamp) -> Result<DeviceMessage, String> {
    if samples.is_empty() || samples.len() > SAMPLES_MAX {
        return Err(format!("a batch has 1 to {SAMPLES_MAX} samples, this one {}", samples.len()));
    }
    let sample = |(n, sample): (usize, &serde_json::Value)| {
        let mut sample = sample.clone();
        let ago = sample.as_object_mut().and_then(|members| members.remove("ago"));
        let ago = ago.as_ref().and_then(serde_json::Value::as_str);
        let ago =
            ago.ok_or_else(|| format!("sample {} of the batch needs `ago`, such as `ago = \"10 min\"`", n + 1))?;
        Ok(Sample { t: Some(now - Span::parse(ago)?), fields: values(&sample)? })
    };
    samples.iter().enumerate().map(sample).collect::<Result<_, String>>().map(DeviceMessage::Telemetry)
}

fn slot(body: &serde_json::Value, description: &DeviceDescription) -> Result<DeviceMessage, String> {
    let members = body.as_object().filter(|members| members.len() == 1);
    let (name, body) =
        members.and_then(|members| members.iter().next()).ok_or("the input needs one slot: { slot = { id = {…} } }")?;
    let slot = SlotId::new(name).map_err(|error| error.to_string())?;
    let schema = description.slots.get(&slot).ok_or_else(|| format!("the model has no slot `{name}`"))?;
    let given: SlotGiven = serde_json::from_value(body.clone()).map_err(|error| format!("slot `{name}`: {error}"))?;
    Ok(DeviceMessage::Slot(SlotUp {
        evidence: evidence(name, &given, schema)?,
        slot,
        capacity: given.capacity,
        unit: None,
        changed_at: None,
        on_hand: given.on_hand,
        t: None,
    }))
}

fn presence(body: &serde_json::Value) -> Result<DeviceMessage, String> {
    let state = match body.as_str() {
        Some("online") => PresenceWord::Online,
        Some("sleeping") => PresenceWord::Sleeping,
        Some("lost") => PresenceWord::Lost,
        Some("offline") => PresenceWord::Offline,
        _ => return Err("`presence` is one of online, sleeping, lost, offline".to_owned()),
    };
    Ok(DeviceMessage::Presence(PresenceUp { state, epoch: None, firmware: None, wake_at: None, is_will: false }))
}

fn event(body: &serde_json::Value) -> Result<DeviceMessage, String> {
    let r#type = body.get("type").and_then(serde_json::Value::as_str).ok_or("an event needs its `type`")?;
    let data = body.get("data").map(values).transpose()?.unwrap_or_default();
    Ok(DeviceMessage::Event(EventUp { r#type: r#type.to_owned(), t: None, data }))
}
