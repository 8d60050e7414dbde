//! The stable codes by which the gateway refuses, and a refusal itself.

use serde::{Deserialize, Serialize};

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $text:literal, $status:literal;)*) => {
        /// A stable refusal code of the device and HTTP contracts.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum Code { $($(#[$doc])* #[serde(rename = $text)] $name,)* }

        impl Code {
            /// Every code, in the order of the contract.
            pub const ALL: &'static [Code] = &[$(Code::$name,)*];
            /// The code as it stands on the wire.
            pub fn as_str(self) -> &'static str {
                match self { $(Code::$name => $text,)* }
            }
            /// The HTTP status with which this code travels.
            pub fn http_status(self) -> u16 {
                match self { $(Code::$name => $status,)* }
            }
        }
    };
}

codes! {
    /// The body does not have the shape of its message.
    PayloadInvalid = "payload.invalid", 422;
    /// The payload is above the bounds of the contract.
    PayloadTooLarge = "payload.too_large", 413;
    /// The major version is not served.
    VersionUnsupported = "version.unsupported", 422;
    /// The topic is not the sender's.
    TopicNotAllowed = "topic.not_allowed", 403;
    /// The quality of service is not served.
    QosUnsupported = "qos.unsupported", 422;
    /// The self-description contradicts itself or names an unknown model.
    DescInvalid = "desc.invalid", 422;
    /// The telemetry field is not declared by the model.
    FieldUnknown = "field.unknown", 422;
    /// No such device.
    DeviceUnknown = "device.unknown", 404;
    /// The device is suspended.
    DeviceSuspended = "device.suspended", 409;
    /// The device belongs to no household.
    DeviceNotLinked = "device.not_linked", 409;
    /// The serial is not on the maker's list.
    ProvSerialUnknown = "prov.serial_unknown", 403;
    /// The serial has a device that used its credential.
    ProvSerialTaken = "prov.serial_taken", 409;
    /// The maker's quota of devices is used up.
    ProvQuota = "prov.quota", 429;
    /// The nonce was used for another request.
    ProvReplayed = "prov.replayed", 409;
    /// The claim code is unknown, used or too old.
    ClaimExpired = "claim.expired", 410;
    /// The device is linked and presence was not shown.
    ClaimAlreadyLinked = "claim.already_linked", 409;
    /// Too many wrong codes.
    ClaimLocked = "claim.locked", 429;
    /// A signature is required here.
    SigMissing = "sig.missing", 401;
    /// The signature does not match.
    SigBad = "sig.bad", 401;
    /// The sequence number or nonce was used before.
    SeqReplayed = "seq.replayed", 409;
    /// The device's clock cannot be believed.
    ClockUntrusted = "clock.untrusted", 422;
    /// The device has no such slot.
    SlotUnknown = "slot.unknown", 422;
    /// The unit is not the declared one.
    UnitMismatch = "unit.mismatch", 422;
    /// The shadow's version has moved on.
    StateVersionConflict = "state.version_conflict", 409;
    /// No such offer.
    OfferUnknown = "offer.unknown", 404;
    /// The offer has ended.
    OfferExpired = "offer.expired", 410;
    /// The offer was withdrawn.
    OfferWithdrawn = "offer.withdrawn", 410;
    /// The offer was accepted before.
    OfferAlreadyAccepted = "offer.already_accepted", 409;
    /// The price has changed since.
    OfferPriceChanged = "offer.price_changed", 409;
    /// The product is sold out.
    OfferOutOfStock = "offer.out_of_stock", 409;
    /// The budget is used up.
    OfferBudgetExhausted = "offer.budget_exhausted", 409;
    /// This answer is not among the offer's actions, or not this person's to give.
    OfferNotAllowed = "offer.not_allowed", 403;
    /// The order can no longer be cancelled.
    OrderNotCancellable = "order.not_cancellable", 409;
    /// The cancel window is still open.
    OrderInCancelWindow = "order.in_cancel_window", 409;
    /// A limit of the mandate is reached.
    MandateLimit = "mandate.limit", 409;
    /// A consent is missing.
    ConsentMissing = "consent.missing", 403;
    /// Too much in too little time.
    RateLimited = "rate.limited", 429;
    /// The gateway could not do it; the same again later will.
    InternalRetry = "internal.retry", 503;
}

impl std::fmt::Display for Code {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A refusal: what is wrong, where, and how to mend it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{code}: {message}")]
pub struct Refusal {
    /// The stable code.
    pub code: Code,
    /// One sentence for the person who mends it.
    pub message: String,
    /// JSON pointer into the message, where one place is to blame.
    pub pointer: Option<String>,
    /// When to try again, in seconds.
    pub retry_after_seconds: Option<u32>,
}

impl Refusal {
    /// A refusal without a place.
    pub fn new(code: Code, message: impl Into<String>) -> Refusal {
        Refusal { code, message: message.into(), pointer: None, retry_after_seconds: None }
    }
    /// The same refusal, pointing at a place.
    pub fn at(mut self, pointer: impl Into<String>) -> Refusal {
        self.pointer = Some(pointer.into());
        self
    }
}
