//! Devices as makers, retailers and the operator see them.

use std::sync::Arc;

use hearthway_core::decide::{Basis, Unforeseen, foreseen};
use hearthway_core::health::{HealthReason, health};
use hearthway_core::id::{DeviceKey, DeviceName, SlotId};
use hearthway_core::input::Command;
use hearthway_core::model::{Device, DeviceDescription, DeviceModel, Household, SlotSchema, Tenant};
use hearthway_core::rules::RuleSet;
use hearthway_core::time::Timestamp;
use hearthway_core::trigger::Replenish;

use super::profiles::settled;
use super::tokens::{Caller, Scope};
use super::{App, Failure, Page, PageQuery};
use crate::engine::history::SlotHistory;
use crate::engine::{MessageSeen, Route, Target};
use crate::store::StoreError;

/// Devices looked at for one page of a filtered list, so that a filter that fits nothing ends.
const LOOKED_AT_MAX: usize = 5_000;
/// Messages of one answer.
pub const MESSAGES_MAX: usize = 1000;
/// Readings of one slot in an answer: a year of daily ones, or a week of a talkative sensor.
const SLOT_POINTS_MAX: usize = 2_000;
/// Characters of a suspension's reason.
const REASON_CHARS_MAX: usize = 200;

/// A device with the home it is in.
#[derive(Debug, Clone)]
pub struct DeviceView {
    /// Where it stands.
    pub key: DeviceKey,
    /// The device.
    pub device: Device,
    /// Its home.
    pub home: Arc<Household>,
    /// Its model, where that exists.
    pub model: Option<Arc<DeviceModel>>,
    /// Whether the caller may see who it is linked to.
    pub shows_link: bool,
    /// When it was looked at.
    pub at: Timestamp,
}

/// What is foreseen of a slot, for whoever shows it.
#[derive(Debug, Clone, PartialEq)]
pub struct SlotForecast {
    /// By when it is empty, with some probabilities, rising.
    pub empty: Vec<(f64, Timestamp)>,
    /// By when to order, with the usual costs.
    pub order_by: Timestamp,
    /// How long one lasts, in days.
    pub cycle_days: Option<f64>,
    /// Whether a date may be shown.
    pub is_sure: bool,
    /// Of which version the priors are.
    pub priors_version: u32,
    /// Gaps between purchases that it rests on, where the slot itself tells nothing.
    pub purchase_gaps: Option<u16>,
}

/// The probabilities of a forecast that is shown: enough to draw its fan.
const FAN: [f64; 7] = [0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95];

impl DeviceView {
    /// What is foreseen of a slot, or the word for why nothing is.
    pub fn forecast(&self, rules: &RuleSet, slot: &SlotId) -> Result<SlotForecast, &'static str> {
        let seen = foreseen(&self.home, rules, &self.key, slot, self.at).map_err(Unforeseen::as_str)?;
        Ok(SlotForecast {
            empty: FAN.map(|p| (p, seen.empty(p))).to_vec(),
            order_by: seen.order_by(&Replenish::DEFAULT),
            cycle_days: seen.cycle_days(),
            is_sure: seen.is_sure(),
            priors_version: rules.priors(self.home.retailer.as_ref()).version,
            purchase_gaps: match seen.basis() {
                Basis::Purchases(gaps) => Some(gaps),
                Basis::Reports => None,
            },
        })
    }
    /// The slots that it has and never reported.
    pub fn silent_slots(&self) -> impl Iterator<Item = (&SlotId, &SlotSchema)> {
        let declared = self.description().into_iter().flat_map(|can| can.slots.iter());
        declared.filter(|(slot, _)| !self.device.slots.contains_key(*slot))
    }
}

impl SlotForecast {
    /// By when it is empty with one of the probabilities that are shown.
    pub fn empty_by(&self, probability: f64) -> Option<Timestamp> {
        self.empty.iter().find(|(p, _)| (p - probability).abs() < 1e-9).map(|(_, at)| *at)
    }
}

/// Which devices are asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeviceFilter {
    /// With this health reason; `ok` for those without any, `any` for those with one.
    pub health: Option<String>,
    /// Of this model.
    pub model: Option<String>,
    /// Whose name or serial number contains this.
    pub q: Option<String>,
}

impl DeviceView {
    /// What the device says it can do, else what its model says.
    pub fn description(&self) -> Option<&DeviceDescription> {
        match (&self.device.description, &self.model) {
            (Some(own), _) => Some(own),
            (None, Some(model)) => Some(&model.description),
            (None, None) => None,
        }
    }

    /// What somebody should look at.
    pub fn health(&self) -> Vec<HealthReason> {
        health(&self.home, &self.device, self.model.as_deref(), self.at)
    }
}

impl App {
    /// A device that the caller may see, by its bare name or as `maker/device`.
    pub async fn device(&self, who: &Caller, name: &str) -> Result<DeviceView, Failure> {
        let (key, route) = self.find_device(who, Scope::DevicesRead, name)?;
        self.device_view(who, key, &route).await?.ok_or_else(|| Failure::device_not_found(name))
    }

    /// Devices that the caller may see, by maker and name.
    pub async fn devices(
        &self,
        who: &Caller,
        filter: &DeviceFilter,
        page: &PageQuery,
    ) -> Result<Page<DeviceView>, Failure> {
        who.may(Scope::DevicesRead)?;
        let mut after: Option<DeviceKey> = match &page.cursor {
            Some(cursor) => {
                Some(cursor.parse().map_err(|_| Failure::invalid("", "the parameter `cursor` is not one of ours"))?)
            }
            None => None,
        };
        let mut items = Vec::new();
        let mut looked_at = 0;
        loop {
            let rows = self.engine.devices(after.as_ref(), page.limit.max(64));
            if rows.is_empty() {
                return Ok(Page { items, next: None });
            }
            for (key, route) in rows {
                if items.len() == page.limit || looked_at == LOOKED_AT_MAX {
                    // The last key that was looked at: the next page begins behind it.
                    return Ok(Page { items, next: after.map(|key| key.to_string()) });
                }
                looked_at += 1;
                after = Some(key.clone());
                if visible(who, &key, &route) && filter.fits_route(&key, &route) {
                    let view = self.device_view(who, key, &route).await?;
                    items.extend(view.filter(|view| filter.fits_health(view)));
                }
            }
        }
    }

    /// The device's last messages, newest first.
    pub fn device_messages(&self, who: &Caller, name: &str, last: usize) -> Result<Vec<MessageSeen>, Failure> {
        let (key, _) = self.find_device(who, Scope::DevicesRead, name)?;
        Ok(self.engine.messages(&key, last.min(MESSAGES_MAX))?)
    }

    /// What a slot of a device went through, for the retailer of its people.
    pub async fn slot_history(
        &self,
        who: &Caller,
        name: &str,
        slot: &str,
    ) -> Result<(DeviceView, SlotId, SlotHistory), Failure> {
        let retailer = who.retailer(Scope::DevicesRead)?.clone();
        let view = self.device(who, name).await?;
        let missing = || Failure::not_found("slot", slot.chars().take(80).collect::<String>());
        let slot = SlotId::new(slot).map_err(|_| missing())?;
        if view.home.retailer.as_ref() != Some(&retailer) || !view.device.slots.contains_key(&slot) {
            return Err(missing());
        }
        let (past, rules) = (self.engine.past(), self.engine.rules());
        let (home, key, of) = (Arc::clone(&view.home), view.key.clone(), slot.clone());
        // A home's log may be long: it is read on a thread of its own.
        let read = tokio::task::spawn_blocking(move || past.slot_history(&home, &rules, &key, &of, SLOT_POINTS_MAX));
        let broken = |_| StoreError::Failed { doing: "reading a slot's history", cause: "it broke off".to_owned() };
        Ok((view, slot, read.await.map_err(broken)??))
    }

    /// Silences a device and ends its connections.
    pub async fn suspend_device(&self, who: &Caller, name: &str, reason: &str) -> Result<DeviceView, Failure> {
        if reason.trim().is_empty() || reason.chars().count() > REASON_CHARS_MAX {
            return Err(Failure::invalid("/reason", format!("the reason takes 1 to {REASON_CHARS_MAX} characters")));
        }
        let what = Command::Suspend { reason: reason.to_owned() };
        self.command_device(who, Scope::DevicesSuspend, name, "suspend", what).await
    }

    /// Ends a suspension.
    pub async fn resume_device(&self, who: &Caller, name: &str) -> Result<DeviceView, Failure> {
        self.command_device(who, Scope::DevicesSuspend, name, "resume", Command::Resume).await
    }

    /// Gives a device back: its links end at once, and it owes a wipe. The view is the last one
    /// that the retailer gets.
    pub async fn release_device(&self, who: &Caller, name: &str) -> Result<DeviceView, Failure> {
        self.command_device(who, Scope::DevicesRelease, name, "release", Command::Release).await
    }

    pub(super) async fn command_device(
        &self,
        who: &Caller,
        scope: Scope,
        name: &str,
        word: &str,
        what: Command,
    ) -> Result<DeviceView, Failure> {
        let (key, _) = self.find_device(who, scope, name)?;
        let input = self.command(Some(&key), word, b"", what);
        settled(self.engine.call(Target::Device(key.clone()), input).await)?;
        self.account_changed(&key).await;
        // Read again: a release moves the device.
        let route = self.engine.route(&key).ok_or_else(|| Failure::device_not_found(name))?;
        self.device_view(who, key, &route).await?.ok_or_else(|| Failure::device_not_found(name))
    }

    /// The device that a path names, if the caller may see it.
    pub(crate) fn find_device(&self, who: &Caller, scope: Scope, name: &str) -> Result<(DeviceKey, Route), Failure> {
        who.may(scope)?;
        let missing = || Failure::device_not_found(name);
        let named = match name.contains('/') {
            true => vec![name.parse::<DeviceKey>().map_err(|_| missing())?],
            false => self.engine.devices_named(&DeviceName::new(name).map_err(|_| missing())?),
        };
        let routed = named.into_iter().filter_map(|key| self.engine.route(&key).map(|route| (key, route)));
        let mut seen: Vec<(DeviceKey, Route)> = routed.filter(|(key, route)| visible(who, key, route)).collect();
        match seen.len() {
            0 => Err(missing()),
            1 => Ok(seen.remove(0)),
            _ => Err(Failure::Ambiguous {
                device: name.to_owned(),
                makers: seen.into_iter().map(|(key, _)| key.maker.to_string()).collect(),
            }),
        }
    }

    pub(crate) async fn device_view(
        &self,
        who: &Caller,
        key: DeviceKey,
        route: &Route,
    ) -> Result<Option<DeviceView>, Failure> {
        let Some(home) = self.engine.facts(route.household).await? else { return Ok(None) };
        let Some(device) = home.devices.get(&key).cloned() else { return Ok(None) };
        let model = self.engine.rules().models.get(&device.model).cloned();
        let shows_link = match who.tenant() {
            Tenant::Retailer(retailer) => home.retailer.as_ref() == Some(retailer),
            Tenant::Operator | Tenant::Maker(_) => false,
        };
        Ok(Some(DeviceView { key, device: *device, home, model, shows_link, at: self.now() }))
    }
}

/// The operator sees every device, a maker its own, a retailer those linked to its customers.
fn visible(who: &Caller, key: &DeviceKey, route: &Route) -> bool {
    match who.tenant() {
        Tenant::Operator => true,
        Tenant::Maker(maker) => key.maker == *maker,
        Tenant::Retailer(retailer) => route.retailer.as_ref() == Some(retailer),
    }
}

impl DeviceFilter {
    fn fits_route(&self, key: &DeviceKey, route: &Route) -> bool {
        self.model.as_ref().is_none_or(|model| route.model.as_str() == model)
            && self.q.as_ref().is_none_or(|q| {
                key.device.as_str().contains(q.as_str())
                    || route.serial.as_ref().is_some_and(|serial| serial.contains(q.as_str()))
            })
    }
    fn fits_health(&self, view: &DeviceView) -> bool {
        let Some(wanted) = &self.health else { return true };
        let reasons = view.health();
        match wanted.as_str() {
            "ok" => reasons.is_empty(),
            "any" => !reasons.is_empty(),
            code => reasons.iter().any(|reason| reason.code == code),
        }
    }
}
