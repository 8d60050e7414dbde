//! Webhooks: events go out to systems of retailers and makers, signed, in order, until they are
//! heard.
//!
//! | file | what it holds |
//! |---|---|
//! | `address` | where a webhook may lead |
//! | `sign` | the signature of Standard Webhooks |
//! | `wire` | one try over HTTPS |
//! | `queue` | which event is next: an index in memory |
//! | `courier` | from the row of an event to its receiver, and back into the row |
//!
//! What is told, and to whom, is decided with the decision itself: `core/src/event_out/` and
//! `src/engine/events.rs`. This room never waits for a receiver while it holds anything that a
//! decision needs.

pub mod address;
mod courier;
pub mod metrics;
mod queue;
#[cfg(test)]
pub(crate) mod receiver;
pub mod sign;
#[cfg(test)]
pub(crate) mod tests;
mod wire;

pub use courier::{Courier, Secrets, Standing, TRIED_FOR};
pub use wire::{AuthoritiesError, Resolve, Wire};
