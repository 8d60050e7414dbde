//! Whose key seals what an input leaves on disk.
//!
//! A home that has or had people is sealed with its own key: record, tail, log, what waits for its
//! devices, offers and orders. A device that nobody has claimed is nobody's, and is not sealed. A claim is
//! decided in the household that the device comes from, and names the customer that it goes to: its item in
//! that log, and the device on its way, are sealed with the key of the home that they are about.

use hearthway_core::decision::{Change, Decision};
use hearthway_core::id::HouseholdId;
use hearthway_core::input::{Command, Input, What};

use super::facts::Known;
use crate::store::codec::{self, KeyId, NOT_SEALED, Schema};
use crate::store::sealed::Subject;
use crate::store::{Store, StoreError, Write};

/// The keys that one commit is sealed with.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Sealing {
    /// The home's own.
    pub(super) own: KeyId,
    /// The key of the home that the input is about, where it says for whom a device is.
    pub(super) about: KeyId,
}

impl Sealing {
    /// Asked before an input is applied, so that a key that cannot be made leaves nothing half done.
    pub(super) fn of(
        store: &dyn Store,
        known: &mut Known,
        input: &Input,
        decision: &Decision,
    ) -> Result<Sealing, StoreError> {
        let Some(vault) = store.vault() else { return Ok(Sealing::default()) };
        let home = known.row.facts.id;
        let has_people = || {
            !known.row.facts.members.is_empty()
                || decision.changes.iter().any(|change| matches!(change, Change::MemberSet(_)))
        };
        if known.key == NOT_SEALED && (has_people() || names_a_person(input)) {
            known.key = vault.key_for(Subject::household(home))?;
        }
        let about = match joins(input) {
            Some(other) => vault.key_for(Subject::household(other))?,
            None => known.key,
        };
        Ok(Sealing { own: known.key, about })
    }

    /// Says of every value of the home whose it is, unless that has been said.
    pub(super) fn of_home(self, writes: &mut [Write]) {
        for write in writes {
            if let Write::Put(_, bytes) | Write::Append(_, bytes) = write
                && codec::key_of(bytes) == NOT_SEALED
                && codec::schema_of(bytes).is_some_and(is_the_homes)
            {
                codec::belong_to(self.own, bytes);
            }
        }
    }

    /// The same of one value.
    pub(super) fn own(self, mut bytes: Vec<u8>) -> Vec<u8> {
        codec::belong_to(self.own, &mut bytes);
        bytes
    }

    /// The same of a value that says for whom a device is.
    pub(super) fn about(self, mut bytes: Vec<u8>) -> Vec<u8> {
        codec::belong_to(self.about, &mut bytes);
        bytes
    }
}

/// The home that an input wants to bring a device to.
fn joins(input: &Input) -> Option<HouseholdId> {
    match &input.what {
        What::Command(
            Command::ConfirmClaim { join, .. } | Command::LinkDirectly { join } | Command::JoinForStay { join, .. },
        ) => Some(join.household),
        What::Command(Command::Arrive { join: Some(join), .. } | Command::ArriveKnown { join: Some(join), .. }) => {
            Some(join.household)
        }
        What::Command(_) | What::Device(_) | What::Timer | What::Reachable { .. } | What::ConnectionLost => None,
    }
}

/// Whether an input names a person beside whom it would bring a device to: a refused one too.
fn names_a_person(input: &Input) -> bool {
    match &input.what {
        What::Command(
            Command::SetConsents { .. }
            | Command::ProfileChanged { .. }
            | Command::GiveMandate(_)
            | Command::ForgetPerson(_)
            | Command::ElsewhereSaid { .. }
            | Command::SetStanding { .. }
            | Command::AddMember { .. }
            | Command::SetRole { .. }
            | Command::RemoveMember { .. }
            | Command::Merge(_)
            | Command::Unmerge(_)
            | Command::AnswerOffer { profile: Some(_), .. },
        ) => true,
        What::Command(_) | What::Device(_) | What::Timer | What::Reachable { .. } | What::ConnectionLost => false,
    }
}

/// Values that hold what is known of a home and the people in it. Ledgers count offers and orders and name
/// nobody; a route says where a device is; message ids are hashes.
fn is_the_homes(schema: Schema) -> bool {
    matches!(
        schema,
        Schema::Household
            | Schema::Tail
            | Schema::Log
            | Schema::Told
            | Schema::Outbox
            | Schema::Offer
            | Schema::Order
            | Schema::Event
    )
}
