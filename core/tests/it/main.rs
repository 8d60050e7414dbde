//! Stories and laws of the rules, on virtual time.
#![allow(clippy::unwrap_used, missing_docs)]

mod activation;
mod budgets;
mod by_time;
mod clock_jumps;
mod explained;
mod laws;
mod orders;
mod ownership;
mod ranking;
mod records;
mod reports;
mod semantics;
mod shared_caps;
mod transcript;
mod trends;
mod triggers;
mod uplift;
mod world;
