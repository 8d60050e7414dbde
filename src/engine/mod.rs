//! Input → outcome: one writer per household, over N shards, with group commit.
//!
//! The way of an input: `submit` → shard queue → facts → `decide` → commit → (durable) →
//! waiter answered, outbox dispatched. Nothing is acknowledged before it is on disk.

pub mod routes;

use std::sync::Arc;

use hearthway_core::code::Refusal;
use hearthway_core::decision::Reply;
use hearthway_core::id::{DeviceKey, HouseholdId};
use hearthway_core::input::Input;
use hearthway_core::model::Household;

/// Where an input goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// To the household that the device lives in; a device that is not registered is refused,
    /// except for `Register`, which goes to its prospect household.
    Device(DeviceKey),
    /// To this household.
    Household(HouseholdId),
}

/// Who waits for the durable commit.
pub enum Waiter {
    /// Nobody.
    None,
    /// An MQTT connection that owes an acknowledgement. Called once, from the store's thread,
    /// after the commit is durable; must not block.
    Ack(Box<dyn FnOnce(Outcome) + Send>),
    /// A caller.
    Caller(tokio::sync::oneshot::Sender<Outcome>),
}

/// What became of an input.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// Decided and on disk.
    Committed(Result<Reply, Refusal>),
    /// Seen before: nothing changed, the earlier reply where it is repeated.
    Duplicate(Result<Reply, Refusal>),
    /// Not done and not on disk: do not acknowledge; the same again later will.
    Failed(Refusal),
}

/// A message of the outbox on its way to a device: rendered, with what its delivery needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// The row's number: unique and growing. `Engine::delivered` takes it back.
    pub n: u64,
    /// To whom.
    pub device: DeviceKey,
    /// The topic below the device's root, such as `down/offer`.
    pub topic: Arc<str>,
    /// The payload.
    pub payload: Arc<[u8]>,
    /// 0 for `down/time`, else 1.
    pub qos: u8,
    /// Until when it is worth saying.
    pub expires_at: Option<hearthway_core::time::Timestamp>,
    /// The trace id, for the v5 user property.
    pub trace: Arc<str>,
}

/// The way to devices. One of the three seams of the simulation. The outbox is the truth of what
/// must be said; a link only tries.
pub trait Link: Send + Sync + 'static {
    /// Tries to hand a message to the device's connection; must not block. `true` when a
    /// connection took it: the link then calls `Engine::delivered` at the acknowledgement.
    /// `false` when nobody listens: it waits in the outbox until `Engine::reachable`.
    fn deliver(&self, delivery: Delivery) -> bool;
    /// Ends the device's live connections.
    fn disconnect(&self, device: &DeviceKey, reason: &str);
}

/// Reads of one household's facts.
pub type Facts = Arc<Household>;
