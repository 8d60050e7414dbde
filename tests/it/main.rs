//! All integration tests in one binary, so that the gateway is linked once.
#![allow(clippy::unwrap_used)]

mod activation;
mod backtest;
mod backup;
mod broker;
mod budgets;
mod catalogue;
mod certificates;
mod command_line;
mod contract_session;
mod customers;
mod documents;
mod erasure;
mod every_client;
mod every_event;
mod frozen_disk;
mod full_disk;
mod fuzz_corpus;
mod gateway;
mod homes;
mod hostile_broker;
mod kill;
mod mosquitto;
mod mqtt_clients;
mod mqtt_delivery;
mod mqtt_faults;
mod mqtt_house;
mod mqtt_rules;
mod protection_flood;
mod protection_house;
mod protection_limits;
mod races;
#[path = "../sim/recount.rs"]
mod recount;
mod replenish;
mod reports;
mod retailer_guide;
mod stock_clients;
mod sync_order;
mod tidy;
mod tls;
mod tls_gateway;
mod trigger_sets;
mod way;
mod webhooks;
mod websocket;
