//! What somebody should look at about a device.

use crate::limits::CLOCK_SKEW_TRUSTED;
use crate::model::{Device, DeviceModel, Household, OfferState, PresenceState};
use crate::time::{Span, Timestamp};

/// After this time without a receipt a sent offer counts as not acknowledged.
const RECEIPT_EXPECTED_WITHIN: Span = Span::minutes(5);

/// Something about a device that somebody should look at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealthReason {
    /// A stable word.
    pub code: &'static str,
    /// For people.
    pub message: String,
}

impl HealthReason {
    /// The stable word.
    pub fn word(&self) -> &'static str {
        self.code
    }
}

/// All of it; nothing where the device is well.
pub fn health(home: &Household, device: &Device, model: Option<&DeviceModel>, now: Timestamp) -> Vec<HealthReason> {
    let mut reasons = Vec::new();
    let mut add = |code, message: String| reasons.push(HealthReason { code, message });
    let linked = home.link_of(&device.key).is_some();
    if linked && home.zone.is_none() {
        add("no_zone", "the home's time zone is unknown: quiet hours count as quiet all day".into());
    }
    if let Some(skew) = device.clock.skew.filter(|skew| skew.0.abs() >= CLOCK_SKEW_TRUSTED.0) {
        let direction = if skew.0 > 0 { "fast" } else { "slow" };
        add("clock_skew", format!("the device's clock is {} {direction}", Span(skew.0.abs())));
    }
    if model.is_none() {
        add("model_unknown", format!("there is no model `{}`", device.model));
    }
    let description = device.description.as_deref().or(model.map(|model| &model.description));
    for slot in description.into_iter().flat_map(|description| description.slots.keys()) {
        if !model.is_none_or(|model| model.description.slots.contains_key(slot)) {
            add("slot_unmapped", format!("the device has a slot `{slot}` that its model does not declare"));
        }
    }
    if device.seq_gaps > 0 {
        add("messages_missed", format!("{} messages by their sequence numbers never came", device.seq_gaps));
    }
    let overdue = home.offers.values().filter(|offer| offer.device == device.key).filter(|offer| {
        matches!(offer.state, OfferState::Sent)
            && offer.history.last().is_some_and(|change| now - change.at > RECEIPT_EXPECTED_WITHIN)
    });
    let overdue = overdue.count();
    if overdue > 0 && device.presence.state == PresenceState::Online {
        add("never_acknowledges", format!("{overdue} offers were sent and got no receipt"));
    }
    if device.wipe_pending {
        add("wipe_pending", "the device has not yet confirmed that it wiped the former owner's data".into());
    }
    if let Some(reason) = &device.suspended {
        add("suspended", format!("suspended: {reason}"));
    }
    reasons
}
