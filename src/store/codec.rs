//! How a value stands on disk: postcard inside a versioned, checked envelope.
//!
//! ```text
//! magic u8 | schema u8 | version u8 | flags u8 | key id u32 BE | body | crc32 BE of all before
//! ```
//!
//! Nothing is read that is not understood whole: a foreign magic, schema, version or flag is refused
//! with a message that says which, and no bytes make [`decode`] panic.
//!
//! The key id names the customer's key that the body is for; 0 is nobody's. Who writes says for whom
//! ([`belong_to`]), and the store that holds the keys (`sealed/`) seals on the way to the disk and opens
//! on the way back, so that everybody else meets bodies in clear. The flags tell a body that is sealed,
//! and one whose key was destroyed: such a value is [`StoreError::Erased`], not damaged.
//!
//! To change a stored type: raise its version in [`Schema::version`], keep the old type beside an
//! [`Upgrade`] in `upgrades.rs`, and leave the golden bytes of the old version in the tests.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::StoreError;
use super::keys::Key;
use super::upgrades::UPGRADES;

/// The first byte of every value.
pub const MAGIC: u8 = 0xA7;
/// Bytes before the body.
pub const HEADER_BYTES: usize = 8;
/// Bytes after the body.
pub const CRC_BYTES: usize = 4;

/// Names one of the keys that customers' values are sealed with. On disk: never given twice.
pub type KeyId = u32;
/// The key id of a body that is not sealed.
pub const NOT_SEALED: KeyId = 0;
/// The flag of a body that is sealed, as it stands on disk.
pub const FLAG_SEALED: u8 = 1;
/// The flag of a value whose key was destroyed. It has no body, and stands on no disk.
pub const FLAG_ERASED: u8 = 2;

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
    Household = 1, version 4;
    /// A page of message ids that were seen.
    Seen = 2, version 1;
    /// An item of the input log.
    Log = 3, version 4;
    /// What repeats of a message are told.
    Told = 4, version 1;
    /// Where a device lives.
    Route = 5, version 1;
    /// A message that waits for a device.
    Outbox = 6, version 1;
    /// A move between households.
    Move = 7, version 2;
    /// An offer as other channels see it.
    Offer = 8, version 3;
    /// An order as other channels see it.
    Order = 9, version 3;
    /// A tenant's document.
    Document = 10, version 1;
    /// A retailer's profile.
    Profile = 11, version 2;
    /// An access token or key, hashed.
    Token = 12, version 1;
    /// An answer kept for `Idempotency-Key`.
    Idempotency = 13, version 1;
    /// A serial or a nonce of provisioning.
    Provision = 14, version 1;
    /// A counter, such as the version of the rules.
    Counter = 15, version 1;
    /// What an engine notes about itself.
    Engine = 16, version 2;
    /// An entry of a maker's quarantine.
    Quarantine = 17, version 1;
    /// What happened to a household since its record was written, in pieces.
    Tail = 18, version 1;
    /// What an order holds of a budget.
    Draw = 19, version 1;
    /// A unique code of a pool.
    Code = 20, version 1;
    /// What reports count of a home in a month.
    Ledger = 21, version 1;
    /// An offer that left under a cap of all homes.
    Sent = 22, version 1;
    /// How far the sweep of a trigger came that went live.
    Sweep = 23, version 1;
    /// Where the pieces of the input log begin.
    LogPieces = 24, version 1;
    /// In which home a mandate stands.
    Mandate = 25, version 1;
    /// A webhook of a tenant.
    Webhook = 26, version 1;
    /// An event of a webhook.
    Event = 27, version 1;
    /// An entry of the audit trail.
    Audit = 28, version 1;
    /// Products that changed together.
    ProductPack = 29, version 2;
    /// What a shop counted at a place.
    Stock = 30, version 1;
    /// Goods that are put aside, or that left since they were counted.
    Reservation = 31, version 1;
    /// Whose an identity is.
    Identity = 32, version 1;
    /// Two profiles that are one.
    Merge = 33, version 1;
    /// A word on a consent, as it was told.
    ConsentSaid = 34, version 1;
    /// An erasure at work or done.
    Erasure = 35, version 1;
    /// What the law wants kept of an order whose buyer was erased.
    KeptOrder = 36, version 2;
    /// Which file holds the customers' keys.
    KeysFile = 37, version 1;
    /// When a reservation ends by itself.
    ReservationEnd = 38, version 1;
    /// A token with which a customer acts for themselves.
    CustomerToken = 39, version 1;
    /// That a home is watched, because somebody in it has another one too.
    WatchedHome = 40, version 1;
    /// Leave that a customer gave to read what a device reports.
    Grant = 41, version 1;
    /// What a person heard in a home that they left.
    TakenAlong = 42, version 1;
    /// Where an order is kept whose buyer was erased, and by which erasure.
    KeptAt = 43, version 1;
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

/// A value in its envelope.
///
/// # Panics
/// When the type cannot be written in postcard at all (a sequence of unknown length, a flattened
/// struct): a mistake in the type, found by its first test, not a matter of the value.
pub fn encode<T: Serialize + ?Sized>(schema: Schema, value: &T) -> Vec<u8> {
    encode_about(schema, value, 256)
}

/// The same, with room for about so many bytes from the start.
///
/// # Panics
/// As [`encode`].
pub fn encode_about<T: Serialize + ?Sized>(schema: Schema, value: &T, bytes: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(bytes);
    encode_into(schema, value, &mut bytes);
    bytes
}

/// The same into a buffer that is kept between calls; what it held is gone.
///
/// # Panics
/// As [`encode`].
pub fn encode_into<T: Serialize + ?Sized>(schema: Schema, value: &T, bytes: &mut Vec<u8>) {
    bytes.clear();
    bytes.extend_from_slice(&header(schema));
    append(value, bytes);
    finish(bytes);
}

/// The first bytes of an envelope.
fn header(schema: Schema) -> [u8; HEADER_BYTES] {
    let [k0, k1, k2, k3] = NOT_SEALED.to_be_bytes();
    [MAGIC, schema as u8, schema.version(), 0, k0, k1, k2, k3]
}

/// Says whose a value is: the store that holds the keys seals it with this one. The checksum is made
/// anew there; until then the value is only on its way.
pub fn belong_to(key: KeyId, bytes: &mut [u8]) {
    if let Some(place) = bytes.get_mut(HEADER_BYTES - 4..HEADER_BYTES) {
        place.copy_from_slice(&key.to_be_bytes());
    }
}

/// Whose a value is; nobody's where it has no envelope.
pub fn key_of(bytes: &[u8]) -> KeyId {
    match bytes.first_chunk::<HEADER_BYTES>() {
        Some(&[MAGIC, _, _, _, k0, k1, k2, k3]) => KeyId::from_be_bytes([k0, k1, k2, k3]),
        Some(_) | None => NOT_SEALED,
    }
}

/// What a value is, where it has an envelope.
pub fn schema_of(bytes: &[u8]) -> Option<Schema> {
    match bytes {
        [MAGIC, kind, ..] => Schema::of_kind(*kind),
        _ => None,
    }
}

/// The flags of a value's envelope.
pub fn flags_of(bytes: &[u8]) -> u8 {
    match bytes {
        [MAGIC, _, _, flags, ..] => *flags,
        _ => 0,
    }
}

/// Ends a value with the checksum of all before.
pub(super) fn finish(bytes: &mut Vec<u8>) {
    let crc = crc32fast::hash(bytes);
    bytes.extend_from_slice(&crc.to_be_bytes());
}

/// A value without its checksum; none where that is wrong or where there is no envelope.
pub(super) fn checked(bytes: &[u8]) -> Option<&[u8]> {
    let (checked, crc) = bytes.split_last_chunk::<CRC_BYTES>()?;
    (checked.len() >= HEADER_BYTES && crc32fast::hash(checked) == u32::from_be_bytes(*crc)).then_some(checked)
}

/// Adds a piece to a body that grows piece by piece; [`seal`] makes a value of it.
///
/// # Panics
/// As [`encode`].
pub fn append<T: Serialize + ?Sized>(piece: &T, body: &mut Vec<u8>) {
    postcard::serialize_with_flavor(piece, Appending(body)).expect("stored types have a postcard form");
}

/// The first piece of a body that [`append`] wrote; none where it is another.
pub fn first<T: DeserializeOwned>(body: &[u8]) -> Option<T> {
    postcard::take_from_bytes(body).ok().map(|(piece, _)| piece)
}

/// A body of pieces in its envelope.
pub fn seal(schema: Schema, body: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEADER_BYTES + body.len() + CRC_BYTES);
    bytes.extend_from_slice(&header(schema));
    bytes.extend_from_slice(body);
    finish(&mut bytes);
    bytes
}

/// Reads the pieces of a value back, one by one.
#[derive(Debug)]
pub struct Pieces<'a> {
    key_for_messages: &'a Key,
    whole: &'a [u8],
    rest: &'a [u8],
}

/// The pieces of a value. There are no upgrades for pieces: another version is refused.
pub fn pieces<'a>(schema: Schema, key_for_messages: &'a Key, bytes: &'a [u8]) -> Result<Pieces<'a>, StoreError> {
    refuse_erased(key_for_messages, bytes)?;
    let corrupt = |cause| StoreError::Corrupt { key: key_for_messages.to_string(), cause };
    let (version, body) = open_envelope(schema, bytes).map_err(corrupt)?;
    if version != schema.version() {
        return Err(corrupt(format!("it is a {schema:?} of version {version}, which this release cannot upgrade")));
    }
    Ok(Pieces { key_for_messages, whole: body, rest: body })
}

impl<'a> Pieces<'a> {
    /// The next piece; none at the end.
    pub fn read<T: DeserializeOwned>(&mut self) -> Result<Option<T>, StoreError> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let (piece, rest) = postcard::take_from_bytes(self.rest).map_err(|error| StoreError::Corrupt {
            key: self.key_for_messages.to_string(),
            cause: format!("one of its pieces cannot be read: {error}"),
        })?;
        self.rest = rest;
        Ok(Some(piece))
    }
    /// The whole body.
    pub fn whole(&self) -> &'a [u8] {
        self.whole
    }
}

/// Reads a value back. `key_for_messages` only serves the error's text.
pub fn decode<T: DeserializeOwned>(schema: Schema, key_for_messages: &Key, bytes: &[u8]) -> Result<T, StoreError> {
    refuse_erased(key_for_messages, bytes)?;
    read(schema, bytes).map_err(|cause| StoreError::Corrupt { key: key_for_messages.to_string(), cause })
}

fn refuse_erased(key: &Key, bytes: &[u8]) -> Result<(), StoreError> {
    match flags_of(bytes) {
        FLAG_ERASED if checked(bytes).is_some() => Err(StoreError::Erased { key: key.to_string() }),
        _ => Ok(()),
    }
}

fn read<T: DeserializeOwned>(schema: Schema, bytes: &[u8]) -> Result<T, String> {
    let (version, body) = open_envelope(schema, bytes)?;
    upgrade_and_read(schema, version, body, UPGRADES)
}

fn upgrade_and_read<T: DeserializeOwned>(
    schema: Schema,
    version: u8,
    body: &[u8],
    upgrades: &[Upgrade],
) -> Result<T, String> {
    let unreadable = |error: String| format!("its body is not a {schema:?} of version {version}: {error}");
    let mut upgraded = None;
    for from in version..schema.version() {
        let known = upgrades.iter().find(|upgrade| upgrade.schema == schema && upgrade.from == from);
        let Some(known) = known else {
            return Err(format!(
                "it is a {schema:?} of version {version}, and nothing upgrades version {from}: open it once with a release that does"
            ));
        };
        let next = (known.step)(upgraded.as_deref().unwrap_or(body));
        upgraded = Some(next.map_err(|error| unreadable(error.to_string()))?);
    }
    read_body(upgraded.as_deref().unwrap_or(body)).map_err(unreadable)
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
    if flags == FLAG_SEALED {
        let id = KeyId::from_be_bytes([k0, k1, k2, k3]);
        return Err(format!("it is sealed with key {id}, and was read without the customers' keys"));
    }
    if flags != 0 {
        return Err(format!("it carries the flags {flags:#010b}, which this release does not know: update it"));
    }
    Ok((version, body))
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;
    use serde::Deserialize;

    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    struct Cup {
        n: u64,
        name: String,
        seen: Option<i64>,
        sizes: Vec<u16>,
    }

    fn cup() -> Cup {
        Cup { n: 300, name: "cup".to_owned(), seen: Some(-1), sizes: vec![1, 2] }
    }
    fn key() -> Key {
        Key(b"Hcup".to_vec())
    }
    fn cause(bytes: &[u8]) -> String {
        decode::<Cup>(Schema::Seen, &key(), bytes).unwrap_err().to_string()
    }
    /// The same bytes with one changed and the checksum made right again.
    fn forged(at: usize, byte: u8) -> Vec<u8> {
        let mut bytes = encode(Schema::Seen, &cup());
        bytes[at] = byte;
        seal(bytes)
    }
    fn seal(mut bytes: Vec<u8>) -> Vec<u8> {
        bytes.truncate(bytes.len() - CRC_BYTES);
        let crc = crc32fast::hash(&bytes);
        bytes.extend_from_slice(&crc.to_be_bytes());
        bytes
    }

    #[test]
    fn the_bytes_of_version_1_stay_as_they_are() {
        let golden = "a70201000000000" // magic, seen, version 1, no flags, not sealed
            .to_owned()
            + "0ac0203637570" // 300, "cup"
            + "0101" // Some(-1), in zigzag
            + "020102" // [1, 2]
            + "f2951714";
        assert_eq!(data_encoding::HEXLOWER.encode(&encode(Schema::Seen, &cup())), golden);
        assert_eq!(decode::<Cup>(Schema::Seen, &key(), &encode(Schema::Seen, &cup())).unwrap(), cup());
    }

    #[test]
    fn the_numbers_of_the_schemas_stay_as_they_are() {
        let kinds: Vec<_> = Schema::ALL.iter().map(|schema| (*schema as u8, format!("{schema:?}"))).collect();
        let names = "Household Seen Log Told Route Outbox Move Offer Order Document Profile Token \
            Idempotency Provision Counter Engine Quarantine Tail Draw Code Ledger Sent Sweep LogPieces Mandate \
            Webhook Event Audit ProductPack Stock Reservation Identity Merge ConsentSaid Erasure KeptOrder KeysFile \
            ReservationEnd CustomerToken WatchedHome Grant TakenAlong KeptAt";
        let expected: Vec<_> = (1..).zip(names.split_whitespace().map(str::to_owned)).collect();
        assert_eq!(kinds, expected);
        for schema in Schema::ALL {
            assert_eq!(Schema::of_kind(*schema as u8), Some(*schema));
        }
    }

    #[test]
    fn a_kept_buffer_holds_one_value_at_a_time() {
        let mut buffer = vec![9; 1_000];
        encode_into(Schema::Seen, &cup(), &mut buffer);
        assert_eq!(buffer, encode(Schema::Seen, &cup()));
    }

    #[test]
    fn what_is_not_understood_is_refused_and_named() {
        for (bytes, expected) in [
            (vec![], "it has 0 bytes, fewer than an envelope"),
            (vec![MAGIC; 11], "it has 11 bytes, fewer than an envelope"),
            (forged(0, b'{'), "it begins with 0x7b instead of 0xa7"),
            (forged(1, 8), "it is a value of another kind: Offer instead of Seen"),
            (forged(1, 200), "it is a value of another kind: unknown schema 200 instead of Seen"),
            (forged(2, 2), "it is a Seen of version 2, and this release reads up to 1"),
            (forged(2, 0), "it is a Seen of version 0"),
            (forged(3, 1), "it is sealed with key 0, and was read without the customers' keys"),
            (forged(3, 4), "it carries the flags 0b00000100"),
            (forged(10, 0xff), "its body is not a Seen of version 1"),
        ] {
            let cause = cause(&bytes);
            assert!(cause.starts_with("the value at H cup cannot be read: ") && cause.contains(expected), "{cause}");
        }
    }

    #[test]
    fn whose_a_value_is_stands_in_its_envelope_and_is_asked_of_nobody_else() {
        let mut bytes = encode(Schema::Seen, &cup());
        assert_eq!(key_of(&bytes), NOT_SEALED);
        belong_to(7, &mut bytes);
        assert_eq!((key_of(&bytes), schema_of(&bytes), flags_of(&bytes)), (7, Some(Schema::Seen), 0));
        assert_eq!((key_of(b"0 other by"), schema_of(b"0 other"), flags_of(b"")), (NOT_SEALED, None, 0));
        assert_eq!(decode::<Cup>(Schema::Seen, &key(), &seal(bytes)).unwrap(), cup());
    }

    #[test]
    fn what_was_erased_is_not_taken_for_damaged() {
        let mut erased = vec![MAGIC, Schema::Seen as u8, 1, FLAG_ERASED, 0, 0, 0, 7];
        finish(&mut erased);
        let error = decode::<Cup>(Schema::Seen, &key(), &erased).unwrap_err();
        assert!(matches!(error, StoreError::Erased { .. }), "{error}");
        let error = pieces(Schema::Tail, &key(), &erased).unwrap_err();
        assert!(matches!(error, StoreError::Erased { .. }), "{error}");
        // Damage stays damage.
        erased[7] ^= 1;
        assert!(cause(&erased).contains("its checksum is wrong"));
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        let bytes = encode(Schema::Seen, &cup());
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            cause(&flipped);
        }
    }

    #[test]
    fn bytes_behind_the_body_are_refused() {
        let mut bytes = encode(Schema::Seen, &cup());
        bytes.insert(bytes.len() - CRC_BYTES, 0);
        assert!(cause(&seal(bytes)).contains("1 bytes follow its end"));
    }

    #[test]
    fn an_older_version_is_upgraded_on_read_and_a_missing_step_is_said() {
        // Version 0 stands for the past: a cup was only its number.
        let body = postcard::to_stdvec(&7u64).unwrap();
        let step: fn(&[u8]) -> postcard::Result<Vec<u8>> = |body| {
            let n: u64 = postcard::from_bytes(body)?;
            postcard::to_stdvec(&Cup { n, name: String::new(), seen: None, sizes: vec![] })
        };
        let upgrades = [Upgrade { schema: Schema::Seen, from: 0, step }];
        let read: Cup = upgrade_and_read(Schema::Seen, 0, &body, &upgrades).unwrap();
        assert_eq!(read, Cup { n: 7, name: String::new(), seen: None, sizes: vec![] });
        let said = upgrade_and_read::<Cup>(Schema::Seen, 0, &body, &[]).unwrap_err();
        assert!(said.contains("nothing upgrades version 0"), "{said}");
        let said = upgrade_and_read::<Cup>(Schema::Seen, 0, &[], &upgrades).unwrap_err();
        assert!(said.contains("not a Seen of version 0"), "{said}");
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(n: u64, name: String, seen: Option<i64>, sizes: Vec<u16>) {
            let cup = Cup { n, name, seen, sizes };
            let bytes = encode(Schema::Offer, &cup);
            prop_assert_eq!(decode::<Cup>(Schema::Offer, &key(), &bytes).unwrap(), cup);
        }

        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>) {
            prop_assert!(decode::<Cup>(Schema::Seen, &key(), &bytes).is_err());
        }

        /// Behind a right checksum too: a body from another release, or a hostile one.
        #[test]
        fn no_body_makes_it_panic(body: Vec<u8>) {
            let mut bytes = vec![MAGIC, Schema::Seen as u8, 1, 0, 0, 0, 0, 0];
            bytes.extend_from_slice(&body);
            bytes.extend_from_slice(&[0; CRC_BYTES]);
            let _ = decode::<Cup>(Schema::Seen, &key(), &seal(bytes));
        }
    }
}
