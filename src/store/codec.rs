//! How a value stands on disk: postcard inside a versioned, checked envelope.
//!
//! ```text
//! magic u8 | schema u8 | version u8 | flags u8 | key id u32 BE | body | crc32 BE of all before
//! ```
//!
//! Nothing is read that is not understood whole: a foreign magic, schema, version, flag or key
//! id is refused with a message that says which, and no bytes make [`decode`] panic. The key id
//! names the key that the body is sealed with; 0 is not sealed, and no other id is written so far.
//!
//! To change a stored type: raise its version in [`Schema::version`], keep the old type beside an
//! [`Upgrade`] in [`UPGRADES`], and leave the golden bytes of the old version in the tests.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::StoreError;
use super::keys::Key;

/// The first byte of every value.
pub const MAGIC: u8 = 0xA7;
/// Bytes before the body.
pub const HEADER_BYTES: usize = 8;
/// Bytes after the body.
pub const CRC_BYTES: usize = 4;

/// The key id of a body that is not sealed.
const NOT_SEALED: u32 = 0;

macro_rules! schemas {
    ($($(#[$doc:meta])* $name:ident = $kind:literal, version $version:literal;)*) => {
        /// What a value is. The numbers are on disk: never give one to something else.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum Schema { $($(#[$doc])* $name = $kind,)* }

        impl Schema {
            /// All of them.
            pub const ALL: &[Schema] = &[$(Schema::$name,)*];
            /// The version that is written; older ones are upgraded on read.
            pub const fn version(self) -> u8 {
                match self { $(Schema::$name => $version,)* }
            }
            /// The schema with this number.
            pub fn of_kind(kind: u8) -> Option<Schema> {
                match kind { $($kind => Some(Schema::$name),)* _ => None }
            }
        }
    };
}

schemas! {
    /// A household record.
    Household = 1, version 1;
    /// A household where its input log was cut.
    Snapshot = 2, version 1;
    /// A row of the input log.
    Input = 3, version 1;
    /// A message id that was seen.
    Seen = 4, version 1;
    /// A stored trace.
    Trace = 5, version 1;
    /// Where a device lives.
    Route = 6, version 1;
    /// A message that waits for a device.
    Outbox = 7, version 1;
    /// A move between households.
    Move = 8, version 1;
    /// An offer as other channels see it.
    Offer = 9, version 1;
    /// An order as other channels see it.
    Order = 10, version 1;
    /// A tenant's document.
    Document = 11, version 1;
    /// A retailer's profile.
    Profile = 12, version 1;
    /// An access token or key, hashed.
    Token = 13, version 1;
    /// An answer kept for `Idempotency-Key`.
    Idempotency = 14, version 1;
    /// A serial or a nonce of provisioning.
    Provision = 15, version 1;
    /// A counter, such as the version of the rules.
    Counter = 16, version 1;
    /// What an engine notes about itself.
    Engine = 17, version 1;
}

/// A step from one version of a schema to the next, on the bodies.
#[derive(Debug, Clone, Copy)]
pub struct Upgrade {
    /// Of which schema.
    pub schema: Schema,
    /// The version that it reads; it writes the next.
    pub from: u8,
    /// Reads the old body, writes the body of the next version.
    pub step: fn(&[u8]) -> postcard::Result<Vec<u8>>,
}

/// Every upgrade that reads know.
pub const UPGRADES: &[Upgrade] = &[];

/// A value in its envelope.
///
/// # Panics
/// When the type cannot be written in postcard at all (a sequence of unknown length, a flattened
/// struct): a mistake in the type, found by its first test, not a matter of the value.
pub fn encode<T: Serialize + ?Sized>(schema: Schema, value: &T) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(256);
    encode_into(schema, value, &mut bytes);
    bytes
}

/// The same into a buffer that is kept between calls; what it held is gone.
///
/// # Panics
/// As [`encode`].
pub fn encode_into<T: Serialize + ?Sized>(schema: Schema, value: &T, bytes: &mut Vec<u8>) {
    bytes.clear();
    bytes.extend_from_slice(&[MAGIC, schema as u8, schema.version(), 0]);
    bytes.extend_from_slice(&NOT_SEALED.to_be_bytes());
    postcard::serialize_with_flavor(value, Appending(bytes)).expect("stored types have a postcard form");
    let crc = crc32fast::hash(bytes);
    bytes.extend_from_slice(&crc.to_be_bytes());
}

/// Reads a value back. `key_for_messages` only serves the error's text.
pub fn decode<T: DeserializeOwned>(schema: Schema, key_for_messages: &Key, bytes: &[u8]) -> Result<T, StoreError> {
    read(schema, bytes, UPGRADES).map_err(|cause| StoreError::Corrupt { key: key_for_messages.to_string(), cause })
}

fn read<T: DeserializeOwned>(schema: Schema, bytes: &[u8], upgrades: &[Upgrade]) -> Result<T, String> {
    let (version, body) = open_envelope(schema, bytes)?;
    let unreadable = |error: String| format!("its body is not a {schema:?} of version {version}: {error}");
    if version == schema.version() {
        return read_body(body).map_err(unreadable);
    }
    let mut body = body.to_vec();
    for from in version..schema.version() {
        let upgrade = upgrades.iter().find(|upgrade| upgrade.schema == schema && upgrade.from == from);
        let upgrade = upgrade.ok_or_else(|| {
            format!("it is a {schema:?} of version {version}, and nothing upgrades version {from}; open it once with the release that wrote it")
        })?;
        body = (upgrade.step)(&body).map_err(|error| unreadable(error.to_string()))?;
    }
    read_body(&body).map_err(unreadable)
}

/// Checks all but the body; gives its version and the body.
fn open_envelope(schema: Schema, bytes: &[u8]) -> Result<(u8, &[u8]), String> {
    let Some((checked, crc)) = bytes.split_last_chunk::<CRC_BYTES>() else {
        return Err(format!("it has {} bytes, fewer than an envelope", bytes.len()));
    };
    let Some((&[magic, kind, version, flags, k0, k1, k2, k3], body)) = checked.split_first_chunk::<HEADER_BYTES>()
    else {
        return Err(format!("it has {} bytes, fewer than an envelope", bytes.len()));
    };
    if magic != MAGIC {
        return Err(format!("it begins with {magic:#04x} instead of {MAGIC:#04x}: not a value of this store"));
    }
    if crc32fast::hash(checked) != u32::from_be_bytes(*crc) {
        return Err("its checksum is wrong: the bytes were damaged".to_owned());
    }
    if kind != schema as u8 {
        let found = Schema::of_kind(kind).map_or(format!("unknown schema {kind}"), |found| format!("{found:?}"));
        return Err(format!("it is a value of another kind: {found} instead of {schema:?}"));
    }
    if version == 0 || version > schema.version() {
        let known = schema.version();
        return Err(format!(
            "it is a {schema:?} of version {version}, and this release reads up to {known}: update it"
        ));
    }
    if flags != 0 {
        return Err(format!("it carries the flags {flags:#010b}, which this release does not know: update it"));
    }
    match u32::from_be_bytes([k0, k1, k2, k3]) {
        NOT_SEALED => Ok((version, body)),
        id => Err(format!("it is sealed with key {id}, which this release cannot open: update it")),
    }
}

fn read_body<T: DeserializeOwned>(body: &[u8]) -> Result<T, String> {
    match postcard::take_from_bytes(body) {
        Ok((value, [])) => Ok(value),
        Ok((_, rest)) => Err(format!("{} bytes follow its end", rest.len())),
        Err(error) => Err(error.to_string()),
    }
}

/// Lets postcard write behind what a buffer already holds.
struct Appending<'a>(&'a mut Vec<u8>);

impl postcard::ser_flavors::Flavor for Appending<'_> {
    type Output = ();
    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        self.0.push(byte);
        Ok(())
    }
    fn try_extend(&mut self, bytes: &[u8]) -> postcard::Result<()> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }
    fn finalize(self) -> postcard::Result<()> {
        Ok(())
    }
}
