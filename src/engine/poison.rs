//! An input that the gateway itself fails on: caught, kept for its maker, answered, counted, so
//! that it neither ends its shard nor comes again and again.

use std::panic::{AssertUnwindSafe, catch_unwind};

use hearthway_core::code::{Code, Refusal};
use hearthway_core::input::{Input, What};
use hearthway_core::time::Span;

use super::Waiter;
use super::excerpt;
use super::outbox::Outgoing;
use super::quarantine::QuarantineRow;
use crate::store::Commit;

/// A deadline whose input failed is tried again after this: by an operator's update, perhaps.
pub(super) const POISON_RETRY: Span = Span::hours(1);

/// A failed input on its way to the disk.
pub(super) struct Poisoned {
    pub(super) commit: Commit,
    pub(super) waiter: Waiter,
    pub(super) refusal: Refusal,
    /// What its sender is told, once it is on disk.
    pub(super) outgoing: Vec<Outgoing>,
}

/// Runs rules; none where they panicked. The caller must not use what they may have half changed.
pub(super) fn guarded<T>(rules: impl FnOnce() -> T) -> Option<T> {
    catch_unwind(AssertUnwindSafe(rules)).ok()
}

/// What the sender is told.
pub(super) fn refusal() -> Refusal {
    Refusal::new(
        Code::PayloadInvalid,
        "the gateway failed on this message and has not taken it; its maker finds it in the quarantine",
    )
}

/// The entry for the maker; none for what is about no device.
pub(super) fn row(input: &Input) -> Option<QuarantineRow> {
    let (topic, meant) = match &input.what {
        What::Device(message) => (message.topic(), serde_json::to_value(message)),
        What::Command(command) => ("command", serde_json::to_value(command)),
        What::Timer | What::Reachable { .. } | What::ConnectionLost => ("own", Ok(serde_json::Value::Null)),
    };
    Some(QuarantineRow {
        at: input.received_at,
        device: input.device.clone()?,
        topic: topic.to_owned(),
        code: Code::PayloadInvalid,
        pointer: None,
        bytes: input.payload_bytes,
        sha256: None,
        excerpt: meant.map_or_else(|_| "not shown".to_owned(), |meant| excerpt::of_value(&meant)),
        is_fault_of_gateway: true,
    })
}
