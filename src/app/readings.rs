//! The readings of one device that are kept for one person: what the logs of their homes still have from the time in
//! which the device was theirs, and nothing of whoever had it before. Read a page at a time, so that a year of them
//! is never in memory.

use std::collections::VecDeque;
use std::sync::Arc;

use hearthway_core::code::{Code, Refusal};
use hearthway_core::id::{DeviceKey, HouseholdId};
use hearthway_core::input::What;
use hearthway_core::time::Timestamp;
use hearthway_core::wire::DeviceMessage;
use tokio::sync::OwnedSemaphorePermit;

use super::me::Me;
use super::profiles::Person;
use super::tenure::Tenure;
use super::tokens::{Caller, Scope};
use super::{App, Failure};
use crate::engine::rows::{LogRow, LogVerdict};
use crate::store::{Mark, StoreError};

/// Items of a log that are read in one go: below a millisecond of work, some 50 KiB.
const PAGE_ITEMS: usize = 256;
/// Readings on their way at once, of all customers: two pages of each wait in memory.
pub(super) const READINGS_MAX: usize = 32;
/// Of these, pages that are read at once: each is read and decoded on a thread of its own.
pub(super) const PAGES_AT_ONCE: usize = 2;
/// When to ask again.
const RETRY_SECONDS: u32 = 5;

/// What a device reported.
#[derive(Debug, Clone, PartialEq)]
pub struct Reading {
    /// When the gateway heard it.
    pub at: Timestamp,
    /// What it said: values, a slot, an event, its surroundings, its state.
    pub message: DeviceMessage,
}

/// Readings on their way to whoever asked, newest first, home after home.
pub struct Readings {
    app: Arc<App>,
    device: DeviceKey,
    homes: VecDeque<(HouseholdId, Tenure)>,
    before: Option<Mark>,
    /// Where somebody else reads them by a grant: as long as that holds.
    grant: Option<String>,
    /// Its place among those that are on their way.
    _place: OwnedSemaphorePermit,
}

impl Readings {
    /// The next page, which may be an empty one; none at the end.
    ///
    /// # Errors
    /// Where the store cannot be read, or where the grant by which they are read ended meanwhile.
    pub async fn next(&mut self) -> Result<Option<Vec<Reading>>, Failure> {
        if let Some(grant) = &self.grant
            && !self.app.is_granted(grant).await?
        {
            return Err(Failure::Forbidden("the grant ended".to_owned()));
        }
        let Some((home, tenure)) = self.homes.pop_front() else { return Ok(None) };
        let (engine, before) = (self.app.engine.clone(), self.before);
        let _turn = self.app.pages_at_once.acquire().await;
        let read = tokio::task::spawn_blocking(move || engine.inputs_page(home, before, PAGE_ITEMS));
        let broken = |_| StoreError::Failed { doing: "reading what a device said", cause: "it broke off".to_owned() };
        let (rows, more) = read.await.map_err(broken)??;
        self.before = more;
        let found = rows.into_iter().filter_map(|row| reading(row, &self.device, &tenure)).collect();
        if more.is_some() {
            self.homes.push_front((home, tenure));
        }
        Ok(Some(found))
    }
}

/// What an input tells of the device itself. What its people answered, wished and bought there is no reading.
fn reading(row: LogRow, device: &DeviceKey, tenure: &Tenure) -> Option<Reading> {
    let at = row.input.received_at;
    let is_theirs = row.input.device.as_ref() == Some(device) && tenure.covers(device, at);
    if !is_theirs || matches!(row.verdict, LogVerdict::Refused(_)) {
        return None;
    }
    let What::Device(message) = row.input.what else { return None };
    let is_reading = match &message {
        DeviceMessage::Telemetry(_)
        | DeviceMessage::Event(_)
        | DeviceMessage::Context(_)
        | DeviceMessage::Slot(_)
        | DeviceMessage::State(_) => true,
        DeviceMessage::Presence(_)
        | DeviceMessage::Desc(_)
        | DeviceMessage::Sync(_)
        | DeviceMessage::Claim(_)
        | DeviceMessage::Receipt(_)
        | DeviceMessage::Answer(_)
        | DeviceMessage::OfferGet { .. }
        | DeviceMessage::Replenish(_)
        | DeviceMessage::ReplenishUnread { .. }
        | DeviceMessage::Order(_)
        | DeviceMessage::Consent(_)
        | DeviceMessage::Lifecycle(_)
        | DeviceMessage::Time { .. }
        | DeviceMessage::Doctor { .. } => false,
    };
    is_reading.then_some(Reading { at, message })
}

impl App {
    /// The readings of one of the caller's own devices.
    pub async fn own_readings(self: &Arc<Self>, who: &Caller, device: &str) -> Result<Readings, Failure> {
        let me: Me = self.me(who, &[Scope::DevicesRead]).await?;
        let device = me.link_to(device)?.device.clone();
        self.readings(me.into_person(), device, None).await
    }

    /// The readings of a device in the time in which it was a person's.
    pub(super) async fn readings(
        self: &Arc<Self>,
        person: Person,
        device: DeviceKey,
        grant: Option<String>,
    ) -> Result<Readings, Failure> {
        let place = Arc::clone(&self.readings_at_once).try_acquire_owned().map_err(|_| Refusal {
            retry_after_seconds: Some(RETRY_SECONDS),
            ..Refusal::new(Code::RateLimited, "many others read what devices reported; ask again in a moment")
        })?;
        let _turn = self.pages_at_once.acquire().await;
        let engine = self.engine.clone();
        let read = tokio::task::spawn_blocking(move || {
            let homes = person.homes.iter().map(|home| Ok((home.id, Tenure::read(&engine, home, &person)?)));
            homes.collect::<Result<VecDeque<_>, StoreError>>()
        });
        let broken = |_| StoreError::Failed { doing: "reading what a device said", cause: "it broke off".to_owned() };
        let homes = read.await.map_err(broken)??;
        Ok(Readings { app: Arc::clone(self), device, homes, before: None, grant, _place: place })
    }
}
