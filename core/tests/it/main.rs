//! Stories and laws of the rules, on virtual time.
#![allow(clippy::unwrap_used, missing_docs)]

mod laws;
mod transcript;
mod triggers;
mod world;
mod ownership;
mod orders;
