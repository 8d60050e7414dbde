//! A trigger with `on_activate` went live: a value that stands beyond its threshold is one crossing, as
//! if it had come there now.

use super::draft::{Draft, description};
use super::watched::{fresh_until, is_unknown_trend, still_stands};
use super::{Answered, wake};
use crate::decision::Reply;
use crate::id::{DeviceKey, TriggerId};
use crate::model::Household;
use crate::rules::RuleSet;
use crate::time::Timestamp;
use crate::trigger::Trigger;

/// Whether a trigger that went live would look at a device now: it is about it, its edge is ready, and
/// the value stands beyond its threshold and can still be believed.
pub fn stands_beyond(home: &Household, key: &DeviceKey, rules: &RuleSet, trigger: &Trigger, now: Timestamp) -> bool {
    let Some(device) = home.devices.get(key) else { return false };
    let Some(can) = description(device, rules) else { return false };
    trigger.on.on_activate
        && home.retailer.as_ref() == Some(&trigger.retailer)
        && trigger.on.covers(&can.kind, &device.model)
        && device.edge(&trigger.id).is_ready()
        && still_stands(home, device, &trigger.on)
        && !is_unknown_trend(home, device, &trigger.on, now)
        && fresh_until(home, device, rules, &trigger.on).is_none_or(|until| now <= until)
}

/// Looks at a device for a version of a trigger that went live; one that is live no more looks at nothing.
pub(super) fn activated(draft: &mut Draft<'_>, key: &DeviceKey, id: &TriggerId, version: u64) -> Answered {
    let (rules, home, now) = (draft.rules, draft.before(), draft.now);
    let Some(retailer) = &home.retailer else { return Ok(Reply::Unchanged) };
    let Some(trigger) = rules.triggers.get(retailer, id).filter(|trigger| trigger.version == version) else {
        return Ok(Reply::Unchanged);
    };
    if !stands_beyond(home, key, rules, trigger, now) {
        return Ok(Reply::Unchanged);
    }
    wake::activated(draft, key, trigger);
    Ok(Reply::Done)
}
