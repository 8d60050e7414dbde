//! What a shard takes: one input, with who waits for it.

use std::sync::Weak;

use hearthway_core::code::{Code, Refusal};
use hearthway_core::id::{DeviceKey, HouseholdId};
use hearthway_core::input::Input;
use hearthway_core::time::Timestamp;

use super::house::House;
use super::{Outcome, Repeat, Target, Waiter};

/// Work for a shard.
pub(super) enum Job {
    /// An input.
    Input(Box<InputJob>),
    /// A household's deadline came.
    Timer { household: HouseholdId, deadline: Timestamp },
    /// A household is to be sealed with another key.
    Reseal { household: HouseholdId, waiter: Waiter },
    /// A device listens.
    Reachable(DeviceKey),
    /// Look at what is urgent.
    Wake,
    /// Tells when everything before it was taken.
    Barrier(tokio::sync::oneshot::Sender<()>),
}

/// An input with its way and its waiter.
pub(super) struct InputJob {
    pub(super) to: Target,
    pub(super) input: Input,
    pub(super) repeat: Repeat,
    pub(super) waiter: Waiter,
    /// Counts the device's inputs in its queue, from submission to taking.
    pub(super) queued: Option<Queued>,
}

/// One count of a device's queued inputs; given back when dropped.
pub(super) struct Queued {
    house: Weak<House>,
    device: Option<DeviceKey>,
}

impl Queued {
    pub(super) fn new(house: Weak<House>, device: DeviceKey) -> Queued {
        Queued { house, device: Some(device) }
    }
    /// The directory counts it out itself.
    pub(super) fn taken(mut self) {
        self.device = None;
    }
}

impl Drop for Queued {
    fn drop(&mut self) {
        if let (Some(device), Some(house)) = (self.device.take(), self.house.upgrade()) {
            house.directory.gave_up(&device, &house.inboxes);
        }
    }
}

impl Waiter {
    /// Answers; a caller who has gone does not mind.
    pub(super) fn answer(self, outcome: Outcome) {
        match self {
            Waiter::None => {}
            Waiter::Ack(acknowledge) => acknowledge(outcome),
            Waiter::Caller(caller) => {
                let _ = caller.send(outcome);
            }
        }
    }
}

/// "Not done; the same again later will."
pub(super) fn retry(message: impl Into<String>) -> Outcome {
    Outcome::Failed(Refusal { retry_after_seconds: Some(1), ..Refusal::new(Code::InternalRetry, message) })
}
