//! Plays homes full of devices against a Hearthway gateway, over real MQTT connections.
//!
//! It is an independent witness: it knows the device contract and nothing of the gateway's code.
//!
//! | module | what it holds |
//! |---|---|
//! | [`fleet`] | homes, people, devices, faults and expectations, read from a file |
//! | [`model`] | the appliances: a thermostat's room, a coffee machine's cups |
//! | [`session`], `post` | one device and the person at it, as a state machine without a socket |
//! | [`link`] | one MQTT connection |
//! | [`customer`], [`shop`] | who confirms claims and ships orders; over HTTP |
//! | [`oracle`] | what was acknowledged must show, what is offered must have a cause |
//! | [`run`](mod@run) | a task per device, from the clock and the network to the session and back |
//! | [`happening`], [`summary`] | what the host is told meanwhile and in the end |
//! | [`load`] | many devices, few thoughts: throughput and latency |

pub mod cli;
pub mod clock;
pub mod customer;
pub mod fleet;
pub mod happening;
pub mod link;
pub mod load;
pub mod model;
pub mod oracle;
mod post;
pub mod relay;
pub mod rng;
pub mod run;
pub mod session;
pub mod shop;
pub mod summary;
pub mod wire;

pub use clock::{PacedClock, SimClock, Soon};
pub use customer::{Customer, Witness};
pub use fleet::Fleet;
pub use happening::{Happening, Scene};
pub use link::Protocol;
pub use run::{Target, run};
pub use session::Credential;
pub use summary::Summary;
