//! A device that its people say was stolen: suspended, and claimed by nobody, until they or their shop take that
//! back. Why it was suspended before is kept, and holds again afterwards.

use super::draft::Draft;
use super::{Answered, Refusal, device};
use crate::code::Code;
use crate::decision::{Change, Reply};
use crate::id::DeviceKey;
use crate::model::Device;

/// Why a stolen device is suspended.
const STOLEN: &str = "stolen, as its owner says";
/// Between that and why it was suspended before.
const BEFORE: &str = "; before: ";
/// Why a device is suspended that another one took the place of.
const REPLACED: &str = "replaced by ";
/// What the device itself is told: whoever holds it need not know more.
const NEUTRAL: &str = "suspended";

impl Device {
    /// Whether its people say that it was stolen.
    pub fn is_stolen(&self) -> bool {
        self.suspended.as_deref().is_some_and(|reason| reason.starts_with(STOLEN))
    }
    /// Whether another one took its place, stolen or not.
    pub fn was_replaced_by(&self, new: &DeviceKey) -> bool {
        let reason = if self.is_stolen() { self.suspended_before() } else { self.suspended.clone() };
        reason.is_some_and(|reason| reason == replaced_by(new))
    }
    /// Why it is suspended beside that.
    fn suspended_before(&self) -> Option<String> {
        let reason = self.suspended.as_deref()?.strip_prefix(STOLEN)?;
        reason.strip_prefix(BEFORE).map(str::to_owned)
    }
}

/// A reason as a tenant wrote it, never to be taken for the gateway's own word: what begins like one is quoted.
pub(super) fn in_their_words(reason: &str) -> String {
    match [STOLEN, REPLACED].iter().any(|own| reason.starts_with(own)) {
        true => format!("\"{reason}\""),
        false => reason.to_owned(),
    }
}

/// Why a device is suspended that another took the place of.
pub(super) fn replaced_by(new: &DeviceKey) -> String {
    format!("{REPLACED}{}", new.device)
}

pub(super) fn flagged(draft: &mut Draft<'_>, key: &DeviceKey) -> Answered {
    let Some(device) = draft.before().devices.get(key) else { return Ok(Reply::Unchanged) };
    if device.is_stolen() {
        return Ok(Reply::Unchanged);
    }
    let reason = match &device.suspended {
        Some(before) => and_before(before),
        None => STOLEN.to_owned(),
    };
    draft.note("flagged as stolen");
    // A code that it shows would tell whoever types it that there is a device.
    draft.change(Change::ClaimSet { device: key.clone(), claim: None });
    device::suspend_for(draft, key, &reason, NEUTRAL)
}

fn and_before(reason: &str) -> String {
    format!("{STOLEN}{BEFORE}{reason}")
}

/// Suspends a device once more. Of a stolen one that is kept for when it is found; else the first reason stays.
pub(super) fn suspended_too(draft: &mut Draft<'_>, key: &DeviceKey, reason: &str) -> Answered {
    let device = draft.before().devices.get(key);
    if device.is_none_or(|device| !device.is_stolen() || device.suspended_before().is_some()) {
        return Ok(Reply::Unchanged);
    }
    draft.change(Change::SuspendedSet { device: key.clone(), reason: Some(and_before(reason)) });
    Ok(Reply::Done)
}

/// Why a device is suspended that another took the place of: a stolen one stays that, whatever else.
pub(super) fn with_mark(device: &Device, reason: String) -> String {
    match device.is_stolen() {
        true => and_before(&reason),
        false => reason,
    }
}

pub(super) fn found(draft: &mut Draft<'_>, key: &DeviceKey) -> Answered {
    let Some(device) = draft.before().devices.get(key).filter(|device| device.is_stolen()) else {
        return Ok(Reply::Unchanged);
    };
    draft.note("not stolen any more");
    draft.change(Change::SuspendedSet { device: key.clone(), reason: device.suspended_before() });
    Ok(Reply::Done)
}

/// Nobody but its people and their shop says that it is not stolen after all.
pub(super) fn stays_suspended(draft: &Draft<'_>, key: &DeviceKey) -> Result<(), Refusal> {
    let home = draft.before();
    let is_stolen = home.devices.get(key).is_some_and(|device| device.is_stolen());
    match is_stolen && home.link_of(key).is_some() {
        true => Err(Refusal::new(
            Code::DeviceSuspended,
            "its owner says that it was stolen; they or their shop take that back (`DELETE …/stolen`)",
        )),
        false => Ok(()),
    }
}
