//! Identifiers: names that people choose, and ids derived from their cause.
//!
//! A derived id is a hash of what caused it, so that doing a thing twice is doing it once
//! and a replay yields the same ids.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use serde::de::Visitor;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::shared::shared;

/// Why a text is not a valid name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{given}` is not a valid {what}: it takes {grammar}")]
pub struct NameError {
    /// What the name was meant to be, such as `device`.
    pub what: &'static str,
    /// The grammar in words, such as `1 to 64 of a-z, 0-9 and -`.
    pub grammar: &'static str,
    /// The text that was given, cut at 80 characters.
    pub given: String,
}

const PLAIN: &str = "1 to 64 of a-z, 0-9 and -";
const LOOSE: &str = "1 to 64 of A-Z, a-z, 0-9 and . _ : -";
const WORD: &str = "1 to 64 of a-z, A-Z, 0-9, _ . and -";

fn is_plain(c: u8) -> bool {
    c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-'
}
fn is_loose(c: u8) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, b'.' | b'_' | b':' | b'-')
}
fn is_word(c: u8) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, b'.' | b'_' | b'-')
}

/// Reads what is written as text.
struct Parsed<T>(PhantomData<T>);

impl<T: std::str::FromStr<Err = NameError>> Visitor<'_> for Parsed<T> {
    type Value = T;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }
    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<T, E> {
        text.parse().map_err(E::custom)
    }
}

/// A name that is read from what was kept: a record has a score of them, and most are in every record.
trait Kept: Sized {
    /// Checks the grammar and takes the copy that there is already.
    fn keep(text: &str) -> Result<Self, NameError>;
}

/// Reads such a name.
struct Named<T>(PhantomData<T>);

impl<T: Kept> Visitor<'_> for Named<T> {
    type Value = T;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }
    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<T, E> {
        T::keep(text).map_err(E::custom)
    }
}

/// Reads the bytes of a derived id.
struct Bytes;

impl Visitor<'_> for Bytes {
    type Value = [u8; DERIVED_BYTES];
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{DERIVED_BYTES} bytes")
    }
    fn visit_bytes<E: serde::de::Error>(self, bytes: &[u8]) -> Result<Self::Value, E> {
        bytes.try_into().map_err(|_| E::invalid_length(bytes.len(), &self))
    }
}

macro_rules! names {
    ($($(#[$doc:meta])* $name:ident, $what:literal, $allowed:ident, $grammar:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Checks the grammar and makes the name.
            pub fn new(text: impl AsRef<str>) -> Result<Self, NameError> {
                let text = text.as_ref();
                Self::check(text).map(|()| Self(Arc::from(text)))
            }
            fn check(text: &str) -> Result<(), NameError> {
                if (1..=64).contains(&text.len()) && text.bytes().all($allowed) {
                    return Ok(());
                }
                Err(NameError { what: $what, grammar: $grammar, given: text.chars().take(80).collect() })
            }
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
        impl TryFrom<String> for $name {
            type Error = NameError;
            fn try_from(text: String) -> Result<Self, NameError> { Self::new(text) }
        }
        impl From<$name> for String {
            fn from(name: $name) -> String { name.0.to_string() }
        }
        impl std::str::FromStr for $name {
            type Err = NameError;
            fn from_str(text: &str) -> Result<Self, NameError> { Self::new(text) }
        }
        impl Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> { to.serialize_str(&self.0) }
        }
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                from.deserialize_str(Named(PhantomData))
            }
        }
        impl Kept for $name {
            fn keep(text: &str) -> Result<Self, NameError> {
                Self::check(text).map(|()| Self(shared(text)))
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { f.write_str(&self.0) }
        }
        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str { &self.0 }
        }
        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str { &self.0 }
        }
    )*};
}

names! {
    /// A device maker: the tenant of the device side.
    MakerId, "maker", is_plain, PLAIN;
    /// A device's name, unique within its maker.
    DeviceName, "device", is_plain, PLAIN;
    /// A retailer: the tenant of the HTTP side.
    RetailerId, "retailer", is_plain, PLAIN;
    /// A device model.
    ModelId, "model", is_plain, PLAIN;
    /// A kind of device, such as `thermostat`.
    KindId, "device kind", is_word, WORD;
    /// A trigger.
    TriggerId, "trigger", is_word, WORD;
    /// A product: the retailer's article number.
    ProductId, "product", is_loose, LOOSE;
    /// A retailer's list of prices.
    PriceListId, "price list", is_loose, LOOSE;
    /// A seller: the retailer itself, or one whose goods it offers.
    SellerId, "seller", is_loose, LOOSE;
    /// A store of a retailer.
    StoreId, "store", is_loose, LOOSE;
    /// A person as the retailer names them.
    ProfileId, "profile", is_loose, LOOSE;
    /// A customer's standing permission to order.
    MandateId, "mandate", is_loose, LOOSE;
    /// A named group of a retailer's customers.
    AudienceId, "audience", is_word, WORD;
    /// Where a tenant wants to be told of events.
    WebhookId, "webhook", is_loose, LOOSE;
    /// A pool of unique codes.
    PoolId, "code pool", is_loose, LOOSE;
    /// A code that is given to one customer.
    UniqueCode, "unique code", is_loose, LOOSE;
    /// One consumable position of a device.
    SlotId, "slot", is_word, WORD;
    /// A telemetry field.
    FieldName, "field", is_word, WORD;
    /// A surface on a device where an offer may show.
    PlacementId, "placement", is_word, WORD;
    /// The id that a sender gave its message; makes a repeat harmless.
    MessageId, "message id", is_word, WORD;
}

/// One device in the whole world: maker and device name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct DeviceKey {
    /// Who made it.
    pub maker: MakerId,
    /// Its name within the maker.
    pub device: DeviceName,
}

impl DeviceKey {
    /// Puts the two parts together.
    pub fn new(maker: MakerId, device: DeviceName) -> Self {
        Self { maker, device }
    }
}

impl fmt::Display for DeviceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.maker, self.device)
    }
}

impl std::str::FromStr for DeviceKey {
    type Err = NameError;
    /// Reads `maker/device`.
    fn from_str(text: &str) -> Result<Self, NameError> {
        let (maker, device) = text.split_once('/').unwrap_or(("", text));
        Ok(Self { maker: MakerId::new(maker)?, device: DeviceName::new(device)? })
    }
}

/// Bytes of a derived id: 120 bits, 24 characters of base32 without padding.
pub const DERIVED_BYTES: usize = 15;

/// Hashes parts, each with its length, under a domain.
pub fn derive_bytes(domain: &str, parts: &[&[u8]]) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update((domain.len() as u64).to_be_bytes());
    hash.update(domain);
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    hash.finalize().into()
}

/// Lower-case base32 without padding, the alphabet of all derived ids.
pub fn base32(bytes: &[u8]) -> String {
    data_encoding::BASE32_NOPAD.encode(bytes).to_ascii_lowercase()
}

macro_rules! derived {
    ($($(#[$doc:meta])* $name:ident, $prefix:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub [u8; DERIVED_BYTES]);

        impl $name {
            /// The text before the hash.
            pub const PREFIX: &'static str = $prefix;
            /// Derives the id from its cause.
            pub fn derived(parts: &[&[u8]]) -> Self {
                let mut id = [0; DERIVED_BYTES];
                id.copy_from_slice(&derive_bytes($prefix, parts)[..DERIVED_BYTES]);
                Self(id)
            }
            /// The bytes, for keys and further derivation.
            pub fn bytes(&self) -> &[u8] { &self.0 }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str($prefix)?;
                f.write_str(&base32(&self.0))
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { fmt::Display::fmt(self, f) }
        }
        impl std::str::FromStr for $name {
            type Err = NameError;
            fn from_str(text: &str) -> Result<Self, NameError> {
                text.strip_prefix($prefix)
                    .and_then(|rest| data_encoding::BASE32_NOPAD.decode(rest.to_ascii_uppercase().as_bytes()).ok())
                    .and_then(|bytes| <[u8; DERIVED_BYTES]>::try_from(bytes).ok())
                    .map(Self)
                    .ok_or_else(|| NameError {
                        what: concat!("id with the prefix ", $prefix),
                        grammar: concat!($prefix, " and 24 of a-z and 2-7"),
                        given: text.chars().take(80).collect(),
                    })
            }
        }
        impl Serialize for $name {
            /// Text where people read, bytes where machines do.
            fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                if to.is_human_readable() { to.collect_str(self) } else { to.serialize_bytes(&self.0) }
            }
        }
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                if from.is_human_readable() {
                    from.deserialize_str(Parsed(PhantomData))
                } else {
                    from.deserialize_bytes(Bytes).map(Self)
                }
            }
        }
    )*};
}

derived! {
    /// One home: the unit of decision and of consistency.
    HouseholdId, "hh_";
    /// A device–profile relation.
    LinkId, "ln_";
    /// One proposal to one household.
    OfferId, "of_";
    /// A commitment to buy.
    OrderId, "or_";
    /// One decision about one trigger.
    DecisionId, "de_";
    /// One thing that happened.
    InputId, "in_";
    /// A move of a device between two households.
    MoveId, "mv_";
    /// One event told to one tenant.
    EventId, "ev_";
    /// Two profiles that turned out to be one person.
    MergeId, "mg_";
    /// The proof of one word on one purpose.
    ReceiptId, "cr_";
}

impl HouseholdId {
    /// The household of a device that nobody has claimed: it is a home of its own.
    pub fn prospect(device: &DeviceKey) -> Self {
        Self::derived(&[b"prospect", device.maker.as_str().as_bytes(), device.device.as_str().as_bytes()])
    }
    /// The first home of a profile of a retailer.
    pub fn of_profile(retailer: &RetailerId, profile: &ProfileId) -> Self {
        Self::derived(&[b"profile", retailer.as_str().as_bytes(), profile.as_str().as_bytes()])
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_derived_id_reads_back_from_its_text() {
        let id = OfferId::derived(&[b"a", b"b"]);
        assert_eq!(id.to_string().parse::<OfferId>(), Ok(id));
        assert_eq!(id.to_string().len(), 27);
        assert!("or_aaaa".parse::<OfferId>().is_err());
    }

    #[test]
    fn parts_of_a_derivation_cannot_run_into_each_other() {
        assert_ne!(OfferId::derived(&[b"ab", b"c"]), OfferId::derived(&[b"a", b"bc"]));
        assert_ne!(OfferId::derived(&[b"a"]).0, OrderId::derived(&[b"a"]).0);
    }

    #[test]
    fn names_keep_to_their_grammar() {
        assert!(MakerId::new("acme-2").is_ok());
        assert!(MakerId::new("Acme").is_err());
        assert!(DeviceName::new("").is_err());
        assert!(ProfileId::new("p1:a@b").is_err());
        let error = MakerId::new("a/b").unwrap_err();
        assert_eq!(error.to_string(), "`a/b` is not a valid maker: it takes 1 to 64 of a-z, 0-9 and -");
    }
}
