//! The device endpoint: MQTT 3.1.1 and 5 on one port, terminated here so that a PUBACK means
//! that the message is on disk.
//!
//! The way of a publish: `connection` reads → `codec` parses → `ingest` decides who and what →
//! the engine commits → the connection's `mailbox` is told → PUBACK. The way of a message to a
//! device: the engine's outbox → [`crate::engine::Link`] → `sessions` → a mailbox → written.

pub mod codec;
mod connection;
pub mod credentials;
pub mod encode;
pub mod flood;
mod handshake;
pub mod house;
pub mod ingest;
pub mod limits;
mod listener;
pub mod lobby;
pub mod login;
pub mod mailbox;
pub mod metrics;
pub mod reason;
pub mod refusals;
pub mod sessions;
pub mod tls;
mod transport;
pub mod understand;
pub mod websocket;

pub use house::{Doorkeeper, Intake, IssuedSecrets, Known, Login, LoginRefused, Provisioner};
pub use limits::Settings;
pub use listener::{Endpoint, EndpointError};
