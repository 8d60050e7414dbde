//! What is told of an erasure, and what is kept of orders.

use std::collections::BTreeMap;

use hearthway_core::id::OrderId;
use hearthway_core::model::{Fulfil, OrderLine, OrderState};
use hearthway_core::money::Money;
use hearthway_core::time::Timestamp;
use serde::{Deserialize, Serialize};

/// What came of an erasure.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErasureReport {
    /// Homes that nobody is left in.
    pub homes_emptied: u64,
    /// Homes where others live on.
    pub homes_left: u64,
    /// Devices that went back to households of their own, and owe a wipe.
    pub devices_given_back: u64,
    /// Links that ended.
    pub links_ended: u64,
    /// Offers that were taken back.
    pub offers_withdrawn: u64,
    /// Mandates that ended.
    pub mandates_ended: u64,
    /// Messages that waited for those devices.
    pub messages_taken_back: u64,
    /// Rows that were deleted, by table.
    pub deleted: BTreeMap<String, u64>,
    /// Rows of homes where others live, sealed with another key, by table.
    pub sealed_anew: BTreeMap<String, u64>,
    /// Keys that were destroyed: what they sealed is unreadable, in logs and backups too.
    pub keys_destroyed: u64,
    /// What is kept, and until when.
    pub kept: Vec<Kept>,
}

/// Something that is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// What it is.
    pub what: String,
    /// Its id, where it has one.
    pub id: Option<String>,
    /// Why.
    pub why: String,
    /// Until when.
    pub until: Timestamp,
}

/// How an erasure stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Erasure {
    /// Its id.
    pub id: String,
    /// When it was begun.
    pub begun_at: Timestamp,
    /// When it was done; none while it is at work.
    pub ended_at: Option<Timestamp>,
    /// Why it does not get on at the moment.
    pub trouble: Option<String>,
    /// What came of it.
    pub report: ErasureReport,
}

/// What the law wants kept of an order: nobody is named, no device, no home.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptOrder {
    /// Its id, which the shop has too.
    pub id: OrderId,
    /// Where it stood.
    pub state: OrderState,
    /// What it cost.
    pub total: Money,
    /// How it was had.
    pub fulfil: Fulfil,
    /// What was bought.
    pub lines: Vec<OrderLine>,
    /// When.
    pub created_at: Timestamp,
}
