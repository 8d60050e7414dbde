use hearthway_core::code::{Code, Refusal};
use hearthway_core::id::{NameError, OrderId};
use hearthway_core::time::Timestamp;

use super::triggers::Finding;
use crate::store::StoreError;

/// What is wrong with one of many things that come together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ItemProblem {
    /// Its line, where each stands on one of its own.
    pub line: Option<u64>,
    /// Where in the body, or in its line.
    pub pointer: String,
    /// What is wrong.
    pub message: String,
}

/// Why something that was asked for was not done.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// Refused with a code of the contract.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// Nothing there, or nothing that this caller may know of.
    #[error("there is no {what} `{id}`")]
    NotFound {
        /// What was looked for.
        what: &'static str,
        /// By which name.
        id: String,
    },
    /// Nothing there yet; the message says what makes it.
    #[error("{0}")]
    NotYet(String),
    /// It contradicts what exists.
    #[error("{0}")]
    Conflict(String),
    /// Two makers use this device name.
    #[error(
        "the device name `{device}` is used by the makers {}; write `{}%2F{device}` in the path",
        makers.join(", "),
        makers.first().map_or("maker", String::as_str)
    )]
    Ambiguous {
        /// The name.
        device: String,
        /// Who uses it.
        makers: Vec<String>,
    },
    /// It changed since it was read.
    #[error("the {what} changed since it was read; read it again and repeat the change")]
    Stale {
        /// What changed.
        what: &'static str,
    },
    /// The token may not do this.
    #[error("{0}")]
    Forbidden(String),
    /// The trigger is not right.
    #[error("the trigger has problems, the first: {}", findings.iter().find(|finding| finding.is_error).map_or("", |first| first.message.as_str()))]
    Trigger {
        /// What is wrong with it, in order.
        findings: Vec<Finding>,
    },
    /// Of many things that come together some are not right, and none was taken.
    #[error("{} of the {what} are wrong and none was taken, the first: {}", problems.len(), problems.first().map_or("", |first| first.message.as_str()))]
    Items {
        /// What they are.
        what: &'static str,
        /// What is wrong, in order.
        problems: Vec<ItemProblem>,
    },
    /// It reaches more homes than one person may alone.
    #[error(
        "it reaches more than {reach_more_than} homes, which a marketer does not publish alone: somebody with another token of the shop, a `retailer_admin` or a `marketer`, confirms it until {until} by `POST …/publish` with {{\"confirm\":\"{request}\"}}"
    )]
    SecondPerson {
        /// By which it is confirmed.
        request: String,
        /// Homes that one may reach alone.
        reach_more_than: u64,
        /// Until when it waits.
        until: Timestamp,
    },
    /// The offer was accepted before.
    #[error("{refusal}")]
    AlreadyAccepted {
        /// The refusal.
        refusal: Refusal,
        /// The order that the first accept made.
        order: Option<OrderId>,
    },
    /// The store could not do it.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Failure {
    /// What went wrong in words for a person, without its code.
    pub fn words(&self) -> String {
        match self {
            Failure::Refused(refusal) => refusal.message.clone(),
            other => other.to_string(),
        }
    }
    /// What went wrong in one word, for logs: the rest may name somebody.
    pub fn kind(&self) -> &'static str {
        match self {
            Failure::Refused(refusal) | Failure::AlreadyAccepted { refusal, .. } => refusal.code.as_str(),
            Failure::NotFound { what, .. } => what,
            Failure::NotYet(_) => "not yet",
            Failure::Conflict(_) => "conflict",
            Failure::Ambiguous { .. } => "ambiguous",
            Failure::Stale { .. } => "stale",
            Failure::Forbidden(_) => "forbidden",
            Failure::Trigger { .. } => "trigger",
            Failure::Items { .. } => "items",
            Failure::SecondPerson { .. } => "second person",
            Failure::Store(_) => "store",
        }
    }
    /// Nothing there by this name.
    pub fn not_found(what: &'static str, id: impl ToString) -> Failure {
        Failure::NotFound { what, id: id.to_string() }
    }
    /// No such device, or not this caller's.
    pub fn device_not_found(name: &str) -> Failure {
        let shown: String = name.chars().take(130).collect();
        Refusal::new(Code::DeviceUnknown, format!("there is no device `{shown}`")).into()
    }
    /// A value that cannot be taken, with where it stands.
    pub fn invalid(pointer: &str, message: impl Into<String>) -> Failure {
        Refusal::new(Code::PayloadInvalid, message).at(pointer).into()
    }
    /// A name against its grammar, with where it stands.
    pub fn name(pointer: &str, error: NameError) -> Failure {
        Failure::invalid(pointer, error.to_string())
    }
}
