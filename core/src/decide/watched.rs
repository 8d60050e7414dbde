//! The value that a trigger watches, as a device has it.

use std::sync::Arc;

use crate::model::{Device, Value};
use crate::trigger::{On, Source};

/// What a trigger watches on a device, as it is now; none where it was never said, or where the
/// trigger watches no value.
pub(super) fn value_of(device: &Device, on: &On) -> Option<Value> {
    match &on.source {
        Source::Telemetry { field, .. } => device.reported.get(field).map(|reading| reading.value.clone()),
        Source::Slot { slot, field, .. } => device.slots.get(slot)?.value(field.as_str()),
        Source::Presence { .. } => Some(Value::Text(Arc::from(device.presence.state.as_str()))),
        Source::Context { name, .. } => device.context.get(name.as_str()).map(|entry| entry.value.clone()),
        Source::Event { .. }
        | Source::Moment(_)
        | Source::Silence { .. }
        | Source::Schedule(_)
        | Source::Forecast { .. } => None,
    }
}

/// Whether what once woke a trigger still stands, by the trigger as it is today: its last version
/// may have watched something else.
pub(super) fn still_stands(device: &Device, on: &On) -> bool {
    match on.edge() {
        Some(rule) => on.holds_on() && value_of(device, on).is_some_and(|value| rule.crossing.beyond(&value)),
        None => on.holds_on(),
    }
}
