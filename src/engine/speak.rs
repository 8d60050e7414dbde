//! From a message that a decision wants said to the row that waits for its device.

use hearthway_core::id::{DeviceKey, HouseholdId, InputId, OfferId, base32, derive_bytes};
use hearthway_core::input::Input;
use hearthway_core::model::Household;
use hearthway_core::time::Timestamp;
use hearthway_core::wire::{self, DownHead, DownMessage};

use super::rows::{OutboxRow, Told};

/// What a message is said in answer to: gives it its id and trace.
pub(super) struct Cause<'a> {
    pub(super) household: HouseholdId,
    pub(super) seq: u64,
    pub(super) input: InputId,
    pub(super) now: Timestamp,
    /// Apart from the first answer: its id must not be taken for the same message.
    pub(super) again: bool,
    pub(super) corr: Option<&'a str>,
}

impl<'a> Cause<'a> {
    /// The first answer to an input, said after it.
    pub(super) fn first(facts: &Household, input: &'a Input) -> Cause<'a> {
        Cause {
            household: facts.id,
            seq: facts.seq,
            input: input.id,
            now: input.received_at,
            again: false,
            corr: input.sender.corr.as_deref(),
        }
    }
}

/// Renders the `index`th message of a decision.
pub(super) fn render(
    cause: &Cause<'_>,
    index: usize,
    device: &DeviceKey,
    message: &DownMessage,
    expires_at: Option<Timestamp>,
) -> OutboxRow {
    let trace = match message {
        DownMessage::OfferPut(offer) => offer.decision.to_string(),
        _ => cause.input.to_string(),
    };
    let id = derive_bytes(
        "down",
        &[
            cause.household.bytes(),
            &cause.seq.to_be_bytes(),
            &(index as u64).to_be_bytes(),
            if cause.again { cause.input.bytes() } else { b"" },
        ],
    );
    let head = DownHead {
        id: base32(&id[..hearthway_core::id::DERIVED_BYTES]),
        t: cause.now,
        exp: expires_at,
        trace: trace.clone(),
        corr: cause.corr.map(str::to_owned),
        device: device.clone(),
    };
    let down = wire::encode(message, &head);
    OutboxRow {
        topic: down.topic.to_owned(),
        payload: down.payload,
        expires_at,
        trace,
        puts: puts(message),
        about: about(message),
        critical: is_critical(message),
    }
}

/// Whether a message is stale as soon as it is late: it is tried once and never waits.
pub(super) fn is_of_the_moment(message: &DownMessage) -> bool {
    matches!(message, DownMessage::Time { .. })
}

/// What of a message its sender is told again when it repeats itself. Never an offer.
pub(super) fn told_again(message: &DownMessage) -> Option<Told> {
    match message {
        DownMessage::Error { .. } | DownMessage::ClaimLinked { .. } | DownMessage::ClaimRefused { .. } => {
            Some(Told::Words(Box::new(message.clone())))
        }
        DownMessage::ClaimCode { .. } => Some(Told::Code),
        DownMessage::Order(order) => Some(Told::Order(order.id)),
        DownMessage::Sync(_) => Some(Told::Sync),
        DownMessage::OfferPut(_)
        | DownMessage::Replenish { .. }
        | DownMessage::OfferWithdraw { .. }
        | DownMessage::Consent { .. }
        | DownMessage::Wipe
        | DownMessage::Released { .. }
        | DownMessage::Suspended { .. }
        | DownMessage::Time { .. }
        | DownMessage::Doctor { .. }
        | DownMessage::Reply { .. } => None,
    }
}

fn puts(message: &DownMessage) -> Option<OfferId> {
    match message {
        DownMessage::OfferPut(offer) => Some(offer.id),
        _ => None,
    }
}

fn about(message: &DownMessage) -> Option<OfferId> {
    match message {
        DownMessage::OfferPut(offer) => Some(offer.id),
        DownMessage::OfferWithdraw { offer, .. } => Some(*offer),
        _ => None,
    }
}

/// What a device must not miss, because nothing says it a second time.
fn is_critical(message: &DownMessage) -> bool {
    match message {
        DownMessage::OfferWithdraw { .. }
        | DownMessage::ClaimLinked { .. }
        | DownMessage::Order(_)
        | DownMessage::Replenish { .. }
        | DownMessage::Consent { .. }
        | DownMessage::Wipe
        | DownMessage::Released { .. }
        | DownMessage::Suspended { .. } => true,
        DownMessage::OfferPut(_)
        | DownMessage::Sync(_)
        | DownMessage::ClaimCode { .. }
        | DownMessage::ClaimRefused { .. }
        | DownMessage::Time { .. }
        | DownMessage::Doctor { .. }
        | DownMessage::Reply { .. }
        | DownMessage::Error { .. } => false,
    }
}
