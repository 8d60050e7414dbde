//! What a reading does to the trends of its field that triggers watch.

use super::draft::{Draft, description};
use super::edge::{self, Seen};
use super::wake::{self, concerned, set};
use crate::decision::Change;
use crate::id::{DeviceKey, FieldName};
use crate::limits::TRENDS_PER_DEVICE_MAX;
use crate::model::{EdgeState, TrendKey, TrendReading, Value};
use crate::time::{Span, Timestamp};
use crate::trigger::{Source, Watched};

/// Takes a newest reading of a field into each of its trends, and wakes what their edges wake. A
/// silence longer than the field stays fresh begins a trend anew, and so does one as long as its own
/// stretch of time.
pub(super) fn follow(
    draft: &mut Draft<'_>,
    key: &DeviceKey,
    field: &FieldName,
    value: f64,
    at: Timestamp,
    max_age: Option<Span>,
) {
    let (rules, home) = (draft.rules, draft.before());
    let Some(device) = home.devices.get(key) else { return };
    let Some(can) = description(device, rules) else { return };
    let mut watched: Vec<Span> = rules.triggers.trends(concerned(home, device, can), field).collect();
    watched.sort_unstable();
    watched.dedup();
    forget_unwatched(draft, key, field, &watched);
    for over in watched {
        let reading = TrendReading { value, at, silence_max: max_age.unwrap_or(over) };
        follow_over(draft, &TrendKey { device: key.clone(), field: field.clone(), over }, reading);
    }
}

fn follow_over(draft: &mut Draft<'_>, of: &TrendKey, reading: TrendReading) {
    let (key, over) = (&of.device, of.over);
    let trends = &draft.home().trends;
    let before = trends.get(of).cloned();
    if before.is_none() && trends.keys().filter(|of| of.device == *key).count() >= TRENDS_PER_DEVICE_MAX {
        draft.note_once(format!("more than {TRENDS_PER_DEVICE_MAX} trends on {key}: the others are not followed"));
        return;
    }
    let mut trend = before.unwrap_or_default();
    let previous = trend.last_known().map(|(at, slope)| (Value::Number(slope), at));
    trend.take(over, reading);
    draft.change(Change::TrendFed { device: key.clone(), field: of.field.clone(), over, reading });
    match trend.current() {
        // After a silence the readings that make it known again are more than the second sample that
        // any edge needs: it goes on from where it was last known.
        Some(slope) => {
            let previous = previous.as_ref().map(|(value, at)| (value, *at));
            let seen = Seen { previous, value: &Value::Number(slope), at: reading.at, fresh_until: None };
            wake::by_edge(draft, key, Watched::Trend(&of.field, over), seen);
        }
        None => nobody_knows(draft, of, reading.at),
    }
}

/// A trend is unknown: what had to stay is broken, and begins anew where the trend is found beyond.
fn nobody_knows(draft: &mut Draft<'_>, of: &TrendKey, at: Timestamp) {
    let rules = draft.rules;
    let retailer = draft.before().retailer.as_ref();
    let Some(device) = draft.device(&of.device) else { return };
    let staying = device.edges.iter().filter(|(_, edge)| edge.state == EdgeState::Staying);
    let known: Vec<_> = staying.filter_map(|(id, _)| rules.triggers.known(retailer, id)).collect();
    for trigger in known {
        let is_about = |field: &FieldName, over: Span| *field == of.field && over == of.over;
        if matches!(&trigger.on.source, Source::Trend { field, over, .. } if is_about(field, *over)) {
            set(draft, &of.device, trigger, Some(edge::unsure(at)));
        }
    }
}

/// Trends of the field that no trigger watches any more leave the record.
fn forget_unwatched(draft: &mut Draft<'_>, key: &DeviceKey, field: &FieldName, watched: &[Span]) {
    let of_field = draft.before().trends.keys().filter(|of| of.device == *key && of.field == *field);
    for of in of_field.filter(|of| !watched.contains(&of.over)) {
        // In a batch the first sample dropped it.
        if draft.home().trends.get(of).is_some() {
            draft.change(Change::TrendDropped(of.clone()));
        }
    }
}
