//! The gateway: edges (MQTT, HTTP, command line) around the rules of `hearthway-core`.
//!
//! `docs/ARCHITECTURE.md` is the map. Knowledge points inward only: `mqtt`, `http`, `cli` →
//! `app`, `engine` → `store` and `hearthway_core`.

pub mod app;
pub mod broker;
pub mod bucket;
pub mod cli;
pub mod clock;
pub mod config;
pub mod engine;
pub mod gateway;
pub mod http;
pub mod mqtt;
pub mod observe;
pub mod pki;
pub mod shutdown;
pub mod store;
pub mod webhook;
