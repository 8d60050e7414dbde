//! How large an audience is: the retailer's homes as they are on disk, one after the other.

use hearthway_core::audience::Audience;
use hearthway_core::id::RetailerId;
use hearthway_core::time::Timestamp;
use hearthway_core::trigger::{Scope, Truth};

use super::facts::read_household;
use super::past::Past;
use crate::store::StoreError;

/// How many homes and devices an audience has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AudienceSize {
    /// Homes with such a device.
    pub households: u64,
    /// Devices whose people are in it.
    pub devices: u64,
}

impl Past {
    /// How large an audience is at `now`. Counted is what the step `audience` of a decision would find.
    pub fn audience_size(
        &self,
        retailer: &RetailerId,
        audience: &Audience,
        now: Timestamp,
    ) -> Result<AudienceSize, StoreError> {
        let rules = self.rules();
        let mut size = AudienceSize::default();
        self.households(|household| {
            let Some(stored) = read_household(household, &*self.store, self.decider)? else { return Ok(()) };
            let home = &*stored.row.facts;
            if home.retailer.as_ref() != Some(retailer) {
                return Ok(());
            }
            let is_in = |device: &&_| {
                let device: &hearthway_core::model::Device = device;
                device.description_in(&rules).is_some_and(|description| {
                    let scope = Scope { household: home, device, description, slot: None, event: None, now };
                    audience.holds(&scope) == Truth::True
                })
            };
            let devices = home.devices.values().map(|device| &**device).filter(is_in).count() as u64;
            size.devices += devices;
            size.households += u64::from(devices > 0);
            Ok(())
        })?;
        Ok(size)
    }
}
