//! Stories and laws of the rules, on virtual time.
#![allow(clippy::unwrap_used, missing_docs)]

mod activation;
mod budgets;
mod by_time;
mod clock_jumps;
mod explained;
mod forecast;
mod forecast_absence;
mod forecast_laws;
mod laws;
mod mandates;
mod orders;
mod ownership;
mod people;
mod ranking;
mod records;
mod replenish;
mod reports;
mod semantics;
mod shared_caps;
mod supply;
mod transcript;
mod trends;
mod triggers;
mod uplift;
mod world;
