//! The gateway from outside: one binary for all integration tests, so that they link once.

mod mqtt_clients;
mod mqtt_delivery;
mod mqtt_faults;
mod mqtt_house;
mod mqtt_rules;
