//! All integration tests in one binary, so that the gateway is linked once.
#![allow(clippy::unwrap_used)]

mod command_line;
mod documents;
mod gateway;
mod stock_clients;
mod tidy;
