//! The device contract: topics, envelope, messages; decoding is bounded and total.
//!
//! `decode` turns a topic and a payload into an [`Envelope`] or a [`Rejected`]; nothing panics
//! and nothing is read twice. `encode` renders a [`DownMessage`] for its topic.

mod body;
mod decode;
mod description;
mod encode;
mod errors;
mod fields;
mod measured;
mod message;
mod provision;
mod read;
mod shown;
mod sold;
#[cfg(test)]
mod tests;
pub mod topic;
mod written;

pub use decode::{UP_TOPICS, decode};
pub use description::{description_to_json, read_description};
pub use encode::{Down, DownHead, VERSION, down_topic, encode};
pub use errors::{ERRORS_PAGE, cause_and_cure, doc_anchor, errors_page};
pub use message::*;
pub use provision::{ProvisionGrant, ProvisionHead, ProvisionRequest, decode_provision, encode_provision};
pub use shown::{
    CODE_ALPHABET, CODE_CHARS, alternative_id, continue_code, hyphenated, offer_json, order_can, order_json,
    pickup_code,
};
pub use topic::{
    ProvisioningLeg, Topic, Who, covers, covers_all_down, device_topic, is_filter, is_nonce, is_topic, matches,
    may_publish, may_subscribe, provisioning_response_topic,
};
pub use written::body_json;

use crate::code::Refusal;
use crate::id::{DeviceKey, MessageId};
use crate::input::Sender;

/// A device message as it came, understood.
#[derive(Debug, Clone, PartialEq)]
pub struct Envelope {
    /// Who the topic says it is from.
    pub device: DeviceKey,
    /// The id its sender gave it; none in the short form.
    pub id: Option<MessageId>,
    /// Time, order and correlation, as the sender said.
    pub sender: Sender,
    /// What a signature covers, where one came.
    pub signed: Option<Signed>,
    /// The message.
    pub message: DeviceMessage,
}

/// A signature with what it is over; the edge, which has the secret, checks it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signed {
    /// Lower-case hex HMAC-SHA256 as it came.
    pub sig: String,
    /// `topic\nepoch\nseq\nnonce\n` + lower-case hex SHA-256 of the raw bytes of `body`.
    pub text: String,
}

/// A message that was refused, with what could be understood of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Rejected {
    /// What is wrong, where, and how to mend it.
    pub refusal: Refusal,
    /// The sender's id, where it could be read.
    pub id: Option<MessageId>,
}
