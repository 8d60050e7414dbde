//! Since when and until when a device was a person's: what it said and was told in that time is theirs to see, also
//! after it is sold or replaced, and nothing of before and after.

use std::collections::BTreeMap;

use hearthway_core::id::{DeviceKey, ProfileId};
use hearthway_core::input::{Command, Join, What};
use hearthway_core::model::Household;
use hearthway_core::time::Timestamp;
use hearthway_core::wire::{DeviceMessage, LifecycleUp};

use super::profiles::Person;
use crate::engine::Engine;
use crate::engine::rows::{LogRow, LogVerdict};
use crate::store::StoreError;

/// A stretch of time; without an end it goes on.
type Stretch = (Timestamp, Option<Timestamp>);

/// What an input meant for who has a device.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Turn {
    /// The person has it from here on.
    Begins(DeviceKey),
    /// They have it no longer.
    Ends(DeviceKey),
    /// The second takes the place of the first.
    Replaced(DeviceKey, DeviceKey),
}

/// When which devices of one home were a person's, as far as the home's log reaches.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Tenure {
    devices: BTreeMap<DeviceKey, Vec<Stretch>>,
}

impl Tenure {
    /// Reads it from the log of a home.
    pub(crate) fn read(engine: &Engine, home: &Household, person: &Person) -> Result<Tenure, StoreError> {
        let mut turns = Vec::new();
        engine.inputs_back(home.id, |row| {
            turns.extend(turns_of(&row, home, person).into_iter().rev().map(|turn| (row.input.received_at, turn)));
            true
        })?;
        let mut tenure = Tenure::default();
        for (at, turn) in turns.into_iter().rev() {
            tenure.take(at, turn);
        }
        let own = home.links.values().filter(|link| link.profile == person.profile.id);
        let own: BTreeMap<&DeviceKey, Timestamp> = own.map(|link| (&link.device, link.since)).collect();
        // Where the log does not show how it ended, it is not known whose the device was since.
        tenure.devices.retain(|device, stretches| {
            stretches.retain(|(_, end)| end.is_some() || own.contains_key(device));
            !stretches.is_empty()
        });
        for (device, since) in own {
            if !tenure.has_open(device) {
                tenure.devices.entry(device.clone()).or_default().push((since, None));
            }
        }
        Ok(tenure)
    }

    /// Whether it was theirs at this instant.
    pub(crate) fn covers(&self, device: &DeviceKey, at: Timestamp) -> bool {
        let stretches = self.devices.get(device);
        stretches.into_iter().flatten().any(|(begin, end)| *begin <= at && end.is_none_or(|end| at <= end))
    }

    /// When the first of them came to the person.
    pub(crate) fn since(&self) -> Option<Timestamp> {
        self.devices.values().flatten().map(|(begin, _)| *begin).min()
    }

    fn has_open(&self, device: &DeviceKey) -> bool {
        self.devices.get(device).is_some_and(|stretches| stretches.iter().any(|(_, end)| end.is_none()))
    }

    fn take(&mut self, at: Timestamp, turn: Turn) {
        match turn {
            Turn::Begins(device) => {
                if !self.has_open(&device) {
                    self.devices.entry(device).or_default().push((at, None));
                }
            }
            Turn::Ends(device) => self.end(&device, at),
            Turn::Replaced(old, new) => {
                if self.has_open(&old) {
                    self.end(&old, at);
                    self.take(at, Turn::Begins(new));
                }
            }
        }
    }

    fn end(&mut self, device: &DeviceKey, at: Timestamp) {
        for (_, end) in self.devices.get_mut(device).into_iter().flatten() {
            end.get_or_insert(at);
        }
    }
}

fn turns_of(row: &LogRow, home: &Household, person: &Person) -> Vec<Turn> {
    if matches!(row.verdict, LogVerdict::Refused(_)) {
        return Vec::new();
    }
    let names = |profile: &ProfileId| *profile == person.profile.id || person.profile.merged_from.contains(profile);
    let device = row.input.device.clone();
    // Into this home it is a beginning for whom it names, and of whoever had it before the end.
    let joined = |device: Option<DeviceKey>, join: &Join, ends_others: bool| {
        let Some(device) = device else { return Vec::new() };
        let begins = join.household == home.id && names(&join.member.profile);
        let ends = (ends_others || join.household != home.id).then(|| Turn::Ends(device.clone()));
        ends.into_iter().chain(begins.then(|| Turn::Begins(device.clone()))).collect()
    };
    match &row.input.what {
        What::Command(
            Command::ConfirmClaim { join, .. } | Command::LinkDirectly { join } | Command::JoinForStay { join, .. },
        ) => joined(device, join, false),
        What::Command(Command::AddMember { join }) => joined(device, join, false),
        What::Command(
            Command::Arrive { device, join: Some(join), .. } | Command::ArriveKnown { device, join: Some(join), .. },
        ) => joined(Some(device.key.clone()), join, true),
        What::Command(Command::RemoveMember { profile }) if names(profile) => {
            device.into_iter().map(Turn::Ends).collect()
        }
        What::Command(Command::Replace { old }) => {
            device.into_iter().map(|new| Turn::Replaced(old.clone(), new)).collect()
        }
        What::Command(Command::Release | Command::EndStay)
        | What::Device(DeviceMessage::Lifecycle(LifecycleUp::Reset { .. } | LifecycleUp::Decommission)) => {
            device.into_iter().map(Turn::Ends).collect()
        }
        What::Command(_) | What::Device(_) | What::Timer | What::Reachable { .. } | What::ConnectionLost => Vec::new(),
    }
}
