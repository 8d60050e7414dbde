//! A person is erased: nothing of them is left in the home.

use super::Answered;
use super::draft::Draft;
use super::leave;
use crate::decision::{Change, Reply};
use crate::id::{DeviceKey, HouseholdId, ProfileId};
use crate::model::Household;

/// Devices that nobody else here is linked to go back to households of their own and owe a wipe; what the
/// person gave ends; then they leave. A home where nobody is left forgets everything but how many inputs
/// it had, so that nothing that follows from their numbers comes twice.
pub(super) fn forgotten(draft: &mut Draft<'_>, profile: &ProfileId) -> Answered {
    let home = draft.before();
    if !is_known(home, profile) {
        return Ok(Reply::Unchanged);
    }
    let is_left_empty = home.members.keys().all(|member| member == profile);
    let is_theirs_alone = |device: &DeviceKey| {
        let mut links = home.links.values().filter(|link| link.device == *device).peekable();
        links.peek().is_some() && links.all(|link| link.profile == *profile)
    };
    let prospect = |device: &DeviceKey| HouseholdId::prospect(device);
    let leaving: Vec<DeviceKey> = home
        .devices
        .keys()
        .filter(|device| home.id != prospect(device) && (is_left_empty || is_theirs_alone(device)))
        .cloned()
        .collect();
    for device in &leaving {
        leave::depart(draft, device, prospect(device), None, true)?;
    }
    draft.note("a person of this home was erased");
    draft.change(Change::PersonForgotten(profile.clone()));
    Ok(Reply::Done)
}

/// Whether anything here names a person.
fn is_known(home: &Household, profile: &ProfileId) -> bool {
    home.members.contains_key(profile)
        || home.links.values().any(|link| link.profile == *profile)
        || home.supply.mandates.values().any(|mandate| mandate.profile == *profile)
        || home.orders.values().any(|order| order.profile.as_ref() == Some(profile))
        || home.standings.contains_key(profile)
        || home.merges.iter().any(|merged| merged.names(profile))
}

impl Household {
    /// Applies [`Change::PersonForgotten`].
    pub(super) fn forget_person(&mut self, profile: &ProfileId) {
        self.members.remove(profile);
        self.standings.remove(profile);
        self.merges.retain(|merged| !merged.names(profile));
        self.links.retain(|_, link| link.profile != *profile);
        self.supply.mandates.retain(|_, mandate| mandate.profile != *profile);
        for order in self.orders.values_mut().filter(|order| order.profile.as_ref() == Some(profile)) {
            std::sync::Arc::make_mut(order).profile = None;
        }
        if self.members.is_empty() {
            // A device that is still here never left: it is nobody's, and goes on as such.
            let devices = std::mem::take(&mut self.devices);
            let arrived = std::mem::take(&mut self.arrived);
            *self = Household { seq: self.seq, devices, arrived, ..Household::empty(self.id) };
        }
    }
}
