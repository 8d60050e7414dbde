//! All integration tests in one binary, so that the gateway is linked once.
#![allow(clippy::unwrap_used)]

mod documents;
mod tidy;
