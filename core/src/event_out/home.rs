//! What is told of devices, slots and consents.

use serde_json::{Value, json};

use super::{EventType, Teller};
use crate::decision::Change;
use crate::forecast::Verdict;
use crate::health::{HealthReason, health};
use crate::id::{DeviceKey, ProfileId, RetailerId, SlotId};
use crate::model::{ConsentRecord, Evidence, Household, Link, PresenceState, Purpose, SlotState};

/// A slot is low from this share of its capacity on: the last tenth is where a shop still has time.
const LOW_SHARE: f64 = 0.1;
/// Where nothing was learned of a slot, a rise by this share of its capacity is a refill: more than
/// any sensor's noise.
const REFILL_SHARE: f64 = 0.3;
/// A count of use that falls by less than this share of the capacity is a correction.
const FELL_SHARE: f64 = 0.01;

impl Teller<'_> {
    /// One change of the home.
    pub(super) fn of_home(&mut self, change: &Change) {
        match change {
            Change::DeviceSet(device) => {
                let arrives = self.changes.iter().any(|change| matches!(change, Change::Arrived(_)));
                if !arrives && !self.home.devices.contains_key(&device.key) {
                    self.about_device_to_maker(
                        EventType::DeviceRegistered,
                        &device.key,
                        || json!({"serial": device.serial}),
                    );
                }
            }
            Change::LinkSet(link) => self.linked(link),
            Change::DeviceLeft { device, .. } if self.home.link_of(device).is_some() => self.released(device),
            Change::LinkEnded(id) => {
                let Some(link) = self.home.links.get(id) else { return };
                let stays = |other: &Link| other.device == link.device && other.id != *id;
                if !self.home.links.values().any(stays) {
                    let device = link.device.clone();
                    self.released(&device);
                }
            }
            Change::PresenceSet { device, presence, .. } if presence.state == PresenceState::Lost => {
                let known = self.home.devices.get(device);
                if known.is_some_and(|known| known.presence.state != PresenceState::Lost) {
                    let since = json!({"since": presence.since.to_string()});
                    self.both(EventType::DeviceLost, device, &since, &since);
                }
            }
            Change::SlotSet { device, slot, state } => self.slot(device, slot, state),
            Change::ConsentSet { profile, purpose, record } => self.consent(profile, *purpose, record),
            _ => {}
        }
    }

    /// Tells whose customers the device's people are, and its maker.
    fn both(&mut self, kind: EventType, device: &DeviceKey, to_retailer: &Value, to_maker: &Value) {
        if let Some(retailer) = self.retailer().cloned().filter(|_| self.is_linked(device)) {
            self.about_device(&retailer, kind, device, || to_retailer.clone());
        }
        self.about_device_to_maker(kind, device, || to_maker.clone());
    }

    fn is_linked(&self, device: &DeviceKey) -> bool {
        self.home.link_of(device).is_some()
            || self.changes.iter().any(|change| matches!(change, Change::LinkSet(link) if link.device == *device))
    }

    fn linked(&mut self, link: &Link) {
        let told = json!({"link": link.id, "profile": link.profile, "role": link.role.as_str()});
        // Another person of a device that is linked already is nothing that its maker hears of.
        if self.home.link_of(&link.device).is_some() {
            let Some(retailer) = self.retailer().cloned() else { return };
            return self.about_device(&retailer, EventType::DeviceLinked, &link.device, || told);
        }
        self.both(EventType::DeviceLinked, &link.device, &told, &json!({}));
    }

    fn released(&mut self, device: &DeviceKey) {
        // The home's retailer as it was: a device leaves the shop that had it.
        if let Some(retailer) = self.home.retailer.clone() {
            let links = self.home.links.values().filter(|link| link.device == *device);
            let links: Vec<String> = links.map(|link| link.id.to_string()).collect();
            self.about_device(&retailer, EventType::DeviceReleased, device, || json!({"links": links}));
        }
        self.about_device_to_maker(EventType::DeviceReleased, device, || json!({}));
    }

    fn slot(&mut self, device: &DeviceKey, slot: &SlotId, state: &SlotState) {
        let Some(retailer) = self.retailer().cloned().filter(|_| self.is_linked(device)) else { return };
        let wanted = self.wanted.by_retailer(&retailer);
        if ![EventType::SlotLow, EventType::SlotRefilled, EventType::SlotReset].into_iter().any(|kind| wanted.has(kind))
        {
            return;
        }
        let before = self.home.devices.get(device).and_then(|device| device.slots.get(slot));
        let verdict = self.changes.iter().rev().find_map(|change| match change {
            Change::TrackSet { device: of, slot: at, track } if of == device && at == slot => {
                track.as_ref().map(|track| track.verdict)
            }
            _ => None,
        });
        let turn = before.and_then(|before| turned(before, state, verdict.flatten(), verdict.is_some()));
        if let Some(kind) = turn {
            self.about_slot(&retailer, kind, device, slot, state);
        }
        if is_low(state) && !before.is_some_and(is_low) {
            self.about_slot(&retailer, EventType::SlotLow, device, slot, state);
        }
    }

    fn about_slot(
        &mut self,
        retailer: &RetailerId,
        kind: EventType,
        device: &DeviceKey,
        slot: &SlotId,
        state: &SlotState,
    ) {
        self.about_device(retailer, kind, device, || {
            let flag = match &state.evidence {
                Evidence::Flag { flag } => Some(flag.as_str()),
                _ => None,
            };
            let ends = match &state.evidence {
                Evidence::Life { ends } => Some(ends.as_str()),
                _ => None,
            };
            json!({
                "slot": slot,
                "used": state.number("used"),
                "remaining": state.number("remaining"),
                "capacity": state.capacity,
                "unit": state.unit.map(|unit| unit.as_str()),
                "flag": flag,
                "ends": ends,
                "t": state.t.to_string(),
            })
        });
    }

    fn consent(&mut self, profile: &ProfileId, purpose: Purpose, record: &ConsentRecord) {
        let Some(retailer) = self.retailer().cloned() else { return };
        let known = self.home.members.get(profile).and_then(|member| member.consents.get(&purpose));
        if known == Some(record) {
            return;
        }
        self.about_home(&retailer, EventType::ConsentChanged, |household| {
            json!({
                "household": household,
                "profile": profile,
                "purpose": purpose.as_str(),
                "granted": record.granted,
                "at": record.at.to_string(),
                "source": record.source,
                "text_id": record.text_id,
                "expires_at": record.expires_at.map(|at| at.to_string()),
            })
        });
    }

    /// What somebody should look at, where it is not what it was.
    pub(super) fn health(&mut self) {
        let mut touched: Vec<DeviceKey> = Vec::new();
        for change in self.changes {
            let device = match change {
                Change::Described { device, .. }
                | Change::ClockSet { device, .. }
                | Change::WipePending { device, .. }
                | Change::SuspendedSet { device, .. } => device,
                // Most messages carry a number, and few miss one.
                Change::SeqSet { device, gaps, .. }
                    if self.home.devices.get(device).is_some_and(|known| known.seq_gaps == 0 && *gaps > 0) =>
                {
                    device
                }
                _ => continue,
            };
            if !touched.contains(device) && self.home.devices.contains_key(device) && self.is_health_wanted(device) {
                touched.push(device.clone());
            }
        }
        if touched.is_empty() {
            return;
        }
        let mut after = self.home.clone();
        self.changes.iter().for_each(|change| after.apply(change));
        for device in touched {
            let (was, now) = (self.words(self.home, &device), self.words(&after, &device));
            if was != now && after.devices.contains_key(&device) {
                let told = json!({"health": now, "was": was});
                self.both(EventType::DeviceHealthChanged, &device, &told, &told);
            }
        }
    }

    fn is_health_wanted(&self, device: &DeviceKey) -> bool {
        let kind = EventType::DeviceHealthChanged;
        self.wanted.by_maker(&device.maker).has(kind)
            || self.retailer().is_some_and(|retailer| self.retailer_wants(retailer, kind))
    }

    fn words(&self, home: &Household, device: &DeviceKey) -> Vec<&'static str> {
        let Some(device) = home.devices.get(device) else { return Vec::new() };
        let model = self.rules.models.get(&device.model);
        health(home, device, model.map(|model| &**model), self.at).iter().map(HealthReason::word).collect()
    }
}

/// Whether what is left is the last of it.
fn is_low(state: &SlotState) -> bool {
    match &state.evidence {
        Evidence::Flag { flag } => matches!(flag.as_str(), "low" | "empty"),
        Evidence::Usage { .. } | Evidence::Level { .. } | Evidence::Countdown { .. } => {
            let (Some(left), Some(full)) = (state.number("remaining"), state.capacity) else { return false };
            full > 0.0 && left <= full * LOW_SHARE
        }
        // Which day that is only the home's zone tells; a forecast looks after it.
        Evidence::Life { .. } => false,
    }
}

/// Whether a slot was filled or its counter began anew: as the forecast understood it, and by the
/// evidence alone where it learns nothing.
fn turned(before: &SlotState, after: &SlotState, verdict: Option<Verdict>, is_learned: bool) -> Option<EventType> {
    match verdict {
        Some(Verdict::Reset { .. }) => return Some(EventType::SlotReset),
        Some(verdict) if verdict.is_refill() => return Some(EventType::SlotRefilled),
        Some(Verdict::Backwards { .. } | Verdict::Wrapped) => return None,
        Some(_) | None => {}
    }
    let full = after.capacity.unwrap_or(0.0);
    let filled = match (&before.evidence, &after.evidence) {
        (Evidence::Flag { flag: before }, Evidence::Flag { flag: after }) => before != "ok" && after == "ok",
        (Evidence::Usage { used: before }, Evidence::Usage { used: after }) => before - after > FELL_SHARE * full,
        (Evidence::Level { remaining: before }, Evidence::Level { remaining: after })
        | (Evidence::Countdown { remaining: before }, Evidence::Countdown { remaining: after }) => {
            !is_learned && full > 0.0 && after - before >= REFILL_SHARE * full
        }
        _ => false,
    };
    filled.then_some(EventType::SlotRefilled)
}
