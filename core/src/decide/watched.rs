//! The value that a trigger watches, as a device has it.

use std::sync::Arc;

use super::draft::description;
use crate::model::{Device, Household, Trend, TrendKey, Value};
use crate::rules::RuleSet;
use crate::time::Timestamp;
use crate::trigger::{On, Source};

/// What a trigger watches on a device, as it is now; none where it was never said, or where the
/// trigger watches no value.
pub(super) fn value_of(home: &Household, device: &Device, on: &On) -> Option<Value> {
    match &on.source {
        Source::Telemetry { field, .. } => device.reported.get(field).map(|reading| reading.value.clone()),
        Source::Trend { .. } => Some(Value::Number(trend_of(home, device, on)?.current()?)),
        Source::Slot { slot, field, .. } => device.slots.get(slot)?.value(field.as_str()),
        Source::Presence { .. } => Some(Value::Text(Arc::from(device.presence.state.as_str()))),
        Source::Context { name, .. } => device.context.get(name.as_str()).map(|entry| entry.value.clone()),
        Source::Event { .. }
        | Source::Moment(_)
        | Source::Silence { .. }
        | Source::Schedule(_)
        | Source::Forecast { .. }
        | Source::Channel { .. }
        | Source::Refill { .. } => None,
    }
}

/// Whether what once woke a trigger still stands, by the trigger as it is today: its last version
/// may have watched something else.
pub(super) fn still_stands(home: &Household, device: &Device, on: &On) -> bool {
    match on.edge() {
        Some(rule) => on.holds_on() && value_of(home, device, on).is_some_and(|value| rule.crossing.beyond(&value)),
        None => on.holds_on(),
    }
}

/// Until when the value that a trigger watches can be believed, where that has an end.
pub(super) fn fresh_until(home: &Household, device: &Device, rules: &RuleSet, on: &On) -> Option<Timestamp> {
    match &on.source {
        Source::Telemetry { field, .. } => {
            let max_age = description(device, rules).and_then(|can| can.telemetry.get(field)?.max_age);
            device.reported.get(field).and_then(|reading| Some(reading.t + max_age?))
        }
        Source::Trend { .. } => trend_of(home, device, on).map(Trend::fresh_until),
        Source::Context { name, .. } => device.context.get(name.as_str()).map(|entry| entry.until),
        Source::Slot { .. }
        | Source::Presence { .. }
        | Source::Silence { .. }
        | Source::Event { .. }
        | Source::Moment(_)
        | Source::Schedule(_)
        | Source::Forecast { .. }
        | Source::Channel { .. }
        | Source::Refill { .. } => None,
    }
}

/// The trend that a trigger watches, where it watches one and the device has begun it.
pub(super) fn trend_of<'h>(home: &'h Household, device: &Device, on: &On) -> Option<&'h Trend> {
    let Source::Trend { field, over, .. } = &on.source else { return None };
    home.trends.get(&TrendKey { device: device.key.clone(), field: field.clone(), over: *over })
}

/// Whether a trigger watches a trend of which nobody knows how it is: too few readings, or none lately.
pub(super) fn is_unknown_trend(home: &Household, device: &Device, on: &On, now: Timestamp) -> bool {
    matches!(on.source, Source::Trend { .. })
        && trend_of(home, device, on).is_none_or(|trend| trend.current().is_none() || now > trend.fresh_until())
}
