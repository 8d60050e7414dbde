//! One value, sealed and opened, and one key, wrapped and unwrapped.
//!
//! ```text
//! sealed value: head of its envelope (flags: sealed) | nonce 12 | body, encrypted | tag 16 | crc32
//! ```

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};

use super::super::StoreError;
use super::super::codec::{self, CRC_BYTES, FLAG_ERASED, FLAG_SEALED, HEADER_BYTES};
use super::super::keys::Key;

/// Bytes of a key.
pub(super) const KEY_BYTES: usize = 32;
/// Bytes that sealing adds to a value or key, beside the nonce.
pub(super) const TAG_BYTES: usize = 16;
/// Bytes of a nonce. No key ever sees one twice: see [`super::vault::Vault::nonce`].
pub(super) const NONCE_BYTES: usize = NONCE_LEN;
/// Where an envelope has its flags.
const FLAGS_AT: usize = 3;

/// A key, ready for use.
pub(super) struct Cipher(LessSafeKey);

impl Cipher {
    pub(super) fn new(key: &[u8; KEY_BYTES]) -> Cipher {
        let key = UnboundKey::new(&AES_256_GCM, key).expect("AES-256 takes 32 bytes");
        Cipher(LessSafeKey::new(key))
    }

    /// A value as it stands on disk, at this key of the store. `place` is room that is kept between calls.
    pub(super) fn seal(
        &self,
        key: &Key,
        value: &[u8],
        nonce: [u8; NONCE_BYTES],
        place: &mut Vec<u8>,
    ) -> Result<Vec<u8>, StoreError> {
        let body = value.get(HEADER_BYTES..value.len().saturating_sub(CRC_BYTES)).unwrap_or_default();
        let mut sealed = Vec::with_capacity(value.len() + NONCE_BYTES + TAG_BYTES);
        sealed.extend_from_slice(&value[..HEADER_BYTES]);
        sealed[FLAGS_AT] = FLAG_SEALED;
        bind(&sealed, key, place);
        sealed.extend_from_slice(&nonce);
        sealed.extend_from_slice(body);
        let tag = self
            .0
            .seal_in_place_separate_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(&place[..]),
                &mut sealed[HEADER_BYTES + NONCE_BYTES..],
            )
            .map_err(|_| StoreError::Failed { doing: "sealing a value", cause: "the cipher refuses it".to_owned() })?;
        sealed.extend_from_slice(tag.as_ref());
        codec::finish(&mut sealed);
        Ok(sealed)
    }

    /// A sealed value in clear; none where it was sealed with another key or for another place.
    pub(super) fn open(&self, key: &Key, mut sealed: Vec<u8>) -> Option<Vec<u8>> {
        let mut place = Vec::new();
        bind(sealed.get(..HEADER_BYTES)?, key, &mut place);
        let nonce: [u8; NONCE_BYTES] = *sealed.get(HEADER_BYTES..)?.first_chunk()?;
        let end = sealed.len().checked_sub(CRC_BYTES)?;
        let body = sealed.get_mut(HEADER_BYTES + NONCE_BYTES..end)?;
        let opened = self.0.open_in_place(Nonce::assume_unique_for_key(nonce), Aad::from(&place[..]), body).ok()?;
        let bytes = opened.len();
        sealed[FLAGS_AT] = 0;
        sealed.drain(HEADER_BYTES..HEADER_BYTES + NONCE_BYTES);
        sealed.truncate(HEADER_BYTES + bytes);
        codec::finish(&mut sealed);
        Some(sealed)
    }

    /// A key as it stands in the file of keys: encrypted, with its tag.
    pub(super) fn wrap(
        &self,
        key: &[u8; KEY_BYTES],
        about: &[u8],
        nonce: [u8; NONCE_BYTES],
    ) -> [u8; KEY_BYTES + TAG_BYTES] {
        let mut wrapped = [0; KEY_BYTES + TAG_BYTES];
        wrapped[..KEY_BYTES].copy_from_slice(key);
        let tag = self
            .0
            .seal_in_place_separate_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(about),
                &mut wrapped[..KEY_BYTES],
            )
            .expect("32 bytes are below the cipher's bound");
        wrapped[KEY_BYTES..].copy_from_slice(tag.as_ref());
        wrapped
    }

    /// A wrapped key; none where it was wrapped by another key, or about something else.
    pub(super) fn unwrap_key(
        &self,
        mut wrapped: [u8; KEY_BYTES + TAG_BYTES],
        about: &[u8],
        nonce: [u8; NONCE_BYTES],
    ) -> Option<[u8; KEY_BYTES]> {
        let opened = self.0.open_in_place(Nonce::assume_unique_for_key(nonce), Aad::from(about), &mut wrapped).ok()?;
        (&*opened).try_into().ok()
    }
}

/// What a sealed value is bound to: the head of its envelope and its place in the store.
fn bind(head: &[u8], key: &Key, place: &mut Vec<u8>) {
    place.clear();
    place.extend_from_slice(head);
    place.extend_from_slice(&key.0);
}

/// What a value reads as whose key is destroyed.
pub(super) fn erased(mut sealed: Vec<u8>) -> Vec<u8> {
    sealed.truncate(HEADER_BYTES);
    sealed[FLAGS_AT] = FLAG_ERASED;
    codec::finish(&mut sealed);
    sealed
}
