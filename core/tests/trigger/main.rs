//! Triggers from the outside: what is written, what is told about it, and what it then does.
#![allow(clippy::unwrap_used)]

mod cases;
mod cel;
mod checking;
mod conditions;
mod conflicts;
mod kleene;
mod samples;
mod schema;
mod set;
mod texts;
mod world;
