//! The device endpoint.
pub mod codec;
pub mod encode;
pub mod reason;
