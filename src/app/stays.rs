//! Devices that guests share: a rental flat's, a hotel room's. Who links one says when their stay ends.

use hearthway_core::input::Command;
use hearthway_core::model::Tenant;
use hearthway_core::time::Timestamp;
use tracing::info;

use super::devices::DeviceView;
use super::tokens::{Caller, Scope};
use super::{App, Failure};

/// What lets a tenant say it: a shop what lets it end links, a maker and the operator what lets them suspend.
fn scope(who: &Caller) -> Scope {
    match who.tenant() {
        Tenant::Retailer(_) => Scope::DevicesRelease,
        Tenant::Operator | Tenant::Maker(_) => Scope::DevicesSuspend,
    }
}

impl App {
    /// Guests share the device from here on. Where somebody is linked to it, `until` says when their stay ends.
    pub async fn share_with_guests(
        &self,
        who: &Caller,
        device: &str,
        until: Option<Timestamp>,
    ) -> Result<DeviceView, Failure> {
        let what = Command::ShareWithGuests { until };
        let view = self.command_device(who, scope(who), device, "shared", what).await?;
        info!(device.id = %view.key, "A device is shared by guests");
        Ok(view)
    }

    /// No further guests come. Who is there stays until the end that was said.
    pub async fn end_sharing(&self, who: &Caller, device: &str) -> Result<DeviceView, Failure> {
        let view = self.command_device(who, scope(who), device, "not shared", Command::EndSharing).await?;
        info!(device.id = %view.key, "A device is no longer shared by guests");
        Ok(view)
    }
}
