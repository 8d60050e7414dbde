//! What a condition can read, and its value in a scope.

use std::fmt;

use jiff::civil::Weekday;

use super::Scope;
use super::evaluate::Val;
use crate::id::FieldName;
use crate::model::{Evidence, Habit, Loyalty, Member, Value};
use crate::time::{Span, Timestamp};

/// A path of a condition, resolved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Path {
    Telemetry(FieldName),
    Slot(SlotField),
    EventType,
    EventData(FieldName),
    Context(String),
    Local(LocalPart),
    Segments,
    ProfileLocale,
    ProfileRole,
    LoyaltyTier,
    LoyaltyPoints,
    HouseholdSize,
    HouseholdDevices,
    HouseholdZone,
    DeviceModel,
    DeviceKind,
    DevicePresence,
    UsualHour,
    UsesPerDay,
}

/// A field of the slot that woke the trigger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SlotField {
    Used,
    Remaining,
    Capacity,
    OnHand,
    Flag,
}

impl SlotField {
    pub(super) const ALL: [SlotField; 5] =
        [SlotField::Used, SlotField::Remaining, SlotField::Capacity, SlotField::OnHand, SlotField::Flag];
    pub(super) fn as_str(self) -> &'static str {
        match self {
            SlotField::Used => "used",
            SlotField::Remaining => "remaining",
            SlotField::Capacity => "capacity",
            SlotField::OnHand => "on_hand",
            SlotField::Flag => "flag",
        }
    }
}

/// A part of local time, the finest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum LocalPart {
    Minute,
    Hour,
    Part,
    Weekday,
    Day,
    Month,
}

impl LocalPart {
    pub(super) const ALL: [LocalPart; 6] =
        [LocalPart::Minute, LocalPart::Hour, LocalPart::Part, LocalPart::Weekday, LocalPart::Day, LocalPart::Month];
    pub(super) fn as_str(self) -> &'static str {
        match self {
            LocalPart::Minute => "minute",
            LocalPart::Hour => "hour",
            LocalPart::Part => "part",
            LocalPart::Weekday => "weekday",
            LocalPart::Day => "day",
            LocalPart::Month => "month",
        }
    }
}

/// The weekdays as written, from Monday.
pub(crate) const WEEKDAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

/// The parts of a day as written, from midnight on: night until 6, and again from 22.
pub(super) const DAY_PARTS: [&str; 4] = ["night", "morning", "afternoon", "evening"];

fn day_part(hour: i8) -> &'static str {
    match hour {
        6..12 => "morning",
        12..18 => "afternoon",
        18..22 => "evening",
        _ => "night",
    }
}

pub(crate) fn weekday(day: Weekday) -> &'static str {
    match day {
        Weekday::Monday => "mon",
        Weekday::Tuesday => "tue",
        Weekday::Wednesday => "wed",
        Weekday::Thursday => "thu",
        Weekday::Friday => "fri",
        Weekday::Saturday => "sat",
        Weekday::Sunday => "sun",
    }
}

impl fmt::Display for Path {
    /// The path as written.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Path::Telemetry(field) => write!(f, "telemetry.{field}"),
            Path::Slot(field) => write!(f, "slot.{}", field.as_str()),
            Path::EventType => f.write_str("event.type"),
            Path::EventData(name) => write!(f, "event.data.{name}"),
            Path::Context(name) => write!(f, "context.{name}"),
            Path::Local(part) => write!(f, "local.{}", part.as_str()),
            Path::Segments => f.write_str("profile.segments"),
            Path::ProfileLocale => f.write_str("profile.locale"),
            Path::ProfileRole => f.write_str("profile.role"),
            Path::LoyaltyTier => f.write_str("profile.loyalty_tier"),
            Path::LoyaltyPoints => f.write_str("profile.loyalty_points"),
            Path::HouseholdSize => f.write_str("household.size"),
            Path::HouseholdDevices => f.write_str("household.devices"),
            Path::HouseholdZone => f.write_str("household.zone"),
            Path::DeviceModel => f.write_str("device.model"),
            Path::DeviceKind => f.write_str("device.kind"),
            Path::DevicePresence => f.write_str("device.presence"),
            Path::UsualHour => f.write_str("device.usual_hour"),
            Path::UsesPerDay => f.write_str("device.uses_per_day"),
        }
    }
}

/// The person the trigger speaks to: linked to the device with the strongest role, else the owner.
fn person<'a>(scope: &Scope<'a>) -> Option<&'a Member> {
    scope
        .household
        .link_of(&scope.device.key)
        .and_then(|link| scope.household.members.get(&link.profile).map(|member| &**member))
        .or_else(|| scope.household.owner())
}

/// What the shop's loyalty programme says of that person.
fn loyalty<'a>(scope: &Scope<'a>) -> Option<&'a Loyalty> {
    let standing = scope.household.standings.get(&person(scope)?.profile)?;
    standing.loyalty.as_ref()
}

/// When the device is used.
fn habit<'a>(scope: &Scope<'a>) -> Option<&'a Habit> {
    scope.household.habits.get(&scope.device.key).map(|habit| &**habit)
}

fn of_value(value: &Value) -> Val<'_> {
    match value {
        Value::Number(x) => Val::Number(*x),
        Value::Text(text) => Val::Text(text),
        Value::Bool(b) => Val::Bool(*b),
    }
}

fn known<'a, T>(found: Option<T>, val: impl FnOnce(T) -> Val<'a>) -> Val<'a> {
    found.map_or(Val::Unknown, val)
}

impl Path {
    /// Its value; unknown where there is none that can still be believed.
    pub(super) fn value<'a>(&self, scope: &Scope<'a>) -> Val<'a> {
        match self {
            Path::Telemetry(field) => {
                let Some(reading) = scope.device.reported.get(field) else { return Val::Unknown };
                let max_age = scope.description.telemetry.get(field).and_then(|schema| schema.max_age);
                if max_age.is_some_and(|max| scope.now - reading.t > max) {
                    return Val::Unknown;
                }
                of_value(&reading.value)
            }
            Path::Slot(field) => {
                let Some(state) = scope.slot.and_then(|slot| scope.device.slots.get(slot)) else {
                    return Val::Unknown;
                };
                match (field, &state.evidence) {
                    (SlotField::Flag, Evidence::Flag { flag }) => Val::Text(flag),
                    (SlotField::Flag, _) => Val::Unknown,
                    (field, _) => known(state.number(field.as_str()), Val::Number),
                }
            }
            Path::EventType => known(scope.event, |event| Val::Text(&event.r#type)),
            Path::EventData(name) => {
                known(scope.event.and_then(|event| event.data.iter().find(|(n, _)| n == name)), |(_, v)| of_value(v))
            }
            Path::Context(name) => {
                let entry = scope.device.context.get(name).filter(|entry| scope.now < entry.until);
                known(entry, |entry| of_value(&entry.value))
            }
            Path::Local(part) => known(scope.household.zone.as_ref(), |zone| {
                let local = zone.local(scope.now);
                match part {
                    LocalPart::Minute => Val::Number(local.minute().into()),
                    LocalPart::Hour => Val::Number(local.hour().into()),
                    LocalPart::Part => Val::Text(day_part(local.hour())),
                    LocalPart::Weekday => Val::Text(weekday(local.weekday())),
                    LocalPart::Day => Val::Number(local.day().into()),
                    LocalPart::Month => Val::Number(local.month().into()),
                }
            }),
            Path::Segments => known(person(scope), |member| Val::Segments(&member.segments)),
            Path::ProfileLocale => {
                let own = person(scope).and_then(|member| member.locale.as_ref());
                known(own.or(scope.household.locale.as_ref()), |locale| Val::Text(locale))
            }
            Path::ProfileRole => known(person(scope), |member| Val::Text(member.role.as_str())),
            Path::LoyaltyTier => known(loyalty(scope).and_then(|loyalty| loyalty.tier.as_deref()), Val::Text),
            Path::LoyaltyPoints => known(loyalty(scope), |loyalty| Val::Number(loyalty.points as f64)),
            Path::HouseholdSize => Val::Number(scope.household.members.len() as f64),
            Path::HouseholdDevices => Val::Number(scope.household.devices.len() as f64),
            Path::HouseholdZone => known(scope.household.zone.as_ref(), |zone| Val::Text(zone.as_str())),
            Path::DeviceModel => Val::Text(scope.device.model.as_str()),
            Path::DeviceKind => Val::Text(scope.description.kind.as_str()),
            Path::DevicePresence => Val::Text(scope.device.presence.state.as_str()),
            Path::UsualHour => {
                known(habit(scope).and_then(|habit| habit.usual_hour(scope.now)), |hour| Val::Number(hour.into()))
            }
            Path::UsesPerDay => known(habit(scope).and_then(|habit| habit.uses_per_day(scope.now)), Val::Number),
        }
    }
    /// Whether it says who somebody is and what they have, and not what happens to be.
    pub(super) fn is_lasting(&self) -> bool {
        match self {
            Path::Segments
            | Path::ProfileLocale
            | Path::ProfileRole
            | Path::LoyaltyTier
            | Path::LoyaltyPoints
            | Path::HouseholdSize
            | Path::HouseholdDevices
            | Path::HouseholdZone
            | Path::DeviceModel
            | Path::DeviceKind
            | Path::UsualHour
            | Path::UsesPerDay => true,
            Path::Telemetry(_)
            | Path::Slot(_)
            | Path::EventType
            | Path::EventData(_)
            | Path::Context(_)
            | Path::Local(_)
            | Path::DevicePresence => false,
        }
    }
    /// When its value was said, where that is kept; also for a value too old to be believed.
    pub(super) fn said_at(&self, scope: &Scope<'_>) -> Option<Timestamp> {
        match self {
            Path::Telemetry(field) => scope.device.reported.get(field).map(|reading| reading.t),
            Path::Slot(_) => scope.slot.and_then(|slot| scope.device.slots.get(slot)).map(|state| state.t),
            Path::Context(name) => scope.device.context.get(name).map(|entry| entry.t),
            Path::DevicePresence => Some(scope.device.presence.since),
            Path::UsualHour | Path::UsesPerDay => habit(scope).map(Habit::used_at),
            Path::EventType
            | Path::EventData(_)
            | Path::Local(_)
            | Path::Segments
            | Path::ProfileLocale
            | Path::ProfileRole
            | Path::LoyaltyTier
            | Path::LoyaltyPoints
            | Path::HouseholdSize
            | Path::HouseholdDevices
            | Path::HouseholdZone
            | Path::DeviceModel
            | Path::DeviceKind => None,
        }
    }
    /// Its age at the scope's instant.
    pub(super) fn age(&self, scope: &Scope<'_>) -> Option<Span> {
        self.said_at(scope).map(|t| scope.now - t)
    }
}
