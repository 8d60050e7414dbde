//! The secrets of devices: derived, not stored.
//!
//! A device's secret is HKDF-SHA256 of the master key over `maker/device/generation`: there is
//! nothing per device to leak, and losing the master key means provisioning again.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use hearthway_core::id::DeviceKey;
use hkdf::Hkdf;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;

use super::house::Known;
use crate::store::sealed::SealingSecrets;

/// Bytes of the master key, and of a device's secret before it is written as text.
pub const KEY_BYTES: usize = 32;

/// Why there is no master key.
#[derive(Debug, thiserror::Error)]
pub enum MasterKeyError {
    /// The file cannot be read or made.
    #[error("opening the master key `{path}`")]
    Open {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Others may read it.
    #[error("the master key `{path}` has mode {mode:o}: others can read it; run `chmod 600 {path}`")]
    Readable {
        /// Which file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// It is not a key.
    #[error("the master key `{path}` is not 64 hexadecimal digits; restore it from its backup")]
    Malformed {
        /// Which file.
        path: PathBuf,
    },
    /// The system gave no randomness.
    #[error("drawing a master key")]
    Entropy,
}

/// The one secret from which all devices' secrets follow.
pub struct MasterKey([u8; KEY_BYTES]);

impl std::fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("MasterKey(…)")
    }
}

impl MasterKey {
    /// A key of one's choice.
    pub fn new(key: [u8; KEY_BYTES]) -> MasterKey {
        MasterKey(key)
    }

    /// Reads the key from its file; makes one, readable by its owner only, where there is none.
    pub fn load_or_create(path: &Path) -> Result<MasterKey, MasterKeyError> {
        match MasterKey::load_existing(path)? {
            Some(key) => Ok(key),
            None => MasterKey::create(path),
        }
    }

    fn load(path: &Path, mut file: File) -> Result<MasterKey, MasterKeyError> {
        let open = |source| MasterKeyError::Open { path: path.to_owned(), source };
        let mode = file.metadata().map_err(open)?.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            return Err(MasterKeyError::Readable { path: path.to_owned(), mode });
        }
        let mut text = String::new();
        file.read_to_string(&mut text).map_err(open)?;
        let key = data_encoding::HEXLOWER_PERMISSIVE.decode(text.trim().as_bytes()).ok();
        let key = key.and_then(|key| <[u8; KEY_BYTES]>::try_from(key).ok());
        key.map(MasterKey).ok_or_else(|| MasterKeyError::Malformed { path: path.to_owned() })
    }

    fn create(path: &Path) -> Result<MasterKey, MasterKeyError> {
        let open = |source| MasterKeyError::Open { path: path.to_owned(), source };
        let mut key = [0; KEY_BYTES];
        getrandom::fill(&mut key).map_err(|_| MasterKeyError::Entropy)?;
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(open)?;
        writeln!(file, "{}", data_encoding::HEXLOWER.encode(&key)).map_err(open)?;
        // A key that a crash forgets would lock every device out that it let in.
        file.sync_all().map_err(open)?;
        Ok(MasterKey(key))
    }

    /// Reads the key from its file, where there is one.
    pub fn load_existing(path: &Path) -> Result<Option<MasterKey>, MasterKeyError> {
        match File::open(path) {
            Ok(file) => MasterKey::load(path, file).map(Some),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(MasterKeyError::Open { path: path.to_owned(), source }),
        }
    }

    /// Names the gateway that has this key, and tells nothing of the key: a data directory and a
    /// backup are of use only together with the key that their devices' secrets follow from.
    pub fn fingerprint(&self) -> String {
        let mut name = [0; 8];
        // No device's name has a slash at its end, so that no secret begins like this.
        Hkdf::<Sha256>::new(None, &self.0)
            .expand(b"fingerprint/", &mut name)
            .expect("8 bytes are below HKDF's bound of 8160");
        format!("gw_{}", data_encoding::HEXLOWER.encode(&name))
    }

    /// The secret of a webhook that was drawn this seed.
    pub fn webhook_secret(&self, seed: &[u8; 16]) -> [u8; KEY_BYTES] {
        let mut secret = [0; KEY_BYTES];
        // No maker has an upper-case letter in its name, so that no device's secret begins like this.
        Hkdf::<Sha256>::new(None, &self.0)
            .expand_multi_info(&[b"WEBHOOK/", seed], &mut secret)
            .expect("32 bytes are below HKDF's bound of 8160");
        secret
    }

    /// The key under which identities of persons are hashed: without it a store tells no address and no number.
    pub fn identity_key(&self) -> [u8; KEY_BYTES] {
        let mut key = [0; KEY_BYTES];
        // No device's name has a slash at its end, so that no secret begins like this.
        Hkdf::<Sha256>::new(None, &self.0)
            .expand(b"identities/", &mut key)
            .expect("32 bytes are below HKDF's bound of 8160");
        key
    }

    /// What customers' values are sealed and their names hidden with.
    pub fn sealing_secrets(&self) -> SealingSecrets {
        let derived = |label: &[u8]| {
            let mut key = [0; KEY_BYTES];
            // A slash at its end, as above.
            Hkdf::<Sha256>::new(None, &self.0)
                .expand(label, &mut key)
                .expect("32 bytes are below HKDF's bound of 8160");
            key
        };
        SealingSecrets { wrapping: derived(b"customers/keys/"), blinding: derived(b"customers/names/") }
    }

    /// A device's secret of a generation, as the device sends it: 43 characters of base64url.
    pub fn device_secret(&self, device: &DeviceKey, generation: u32) -> String {
        let mut secret = [0; KEY_BYTES];
        let info = format!("{}/{}/{generation}", device.maker, device.device);
        Hkdf::<Sha256>::new(None, &self.0)
            .expand(info.as_bytes(), &mut secret)
            .expect("32 bytes are below HKDF's bound of 8160");
        data_encoding::BASE64URL_NOPAD.encode(&secret)
    }

    /// Which live generation of the device's secret this is.
    pub fn generation_of(&self, device: &DeviceKey, known: Known, secret: &[u8]) -> Option<u32> {
        live_generations(known).find(|generation| is_same(self.device_secret(device, *generation).as_bytes(), secret))
    }

    /// Whether `sig` is the lower-case hex HMAC-SHA256 of `text` under a live secret of the device.
    pub fn is_signature(&self, device: &DeviceKey, known: Known, text: &str, sig: &str) -> bool {
        live_generations(known).any(|generation| {
            let secret = self.device_secret(device, generation);
            let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("HMAC takes keys of any length");
            mac.update(text.as_bytes());
            is_same(data_encoding::HEXLOWER.encode(&mac.finalize().into_bytes()).as_bytes(), sig.as_bytes())
        })
    }
}

/// The current generation, and the one before it until the current one has been used.
fn live_generations(known: Known) -> impl Iterator<Item = u32> {
    let before = known.generation.checked_sub(1).filter(|before| *before > 0 && !known.credential_used);
    std::iter::once(known.generation).chain(before)
}

/// Compares secrets in a time that does not tell where they differ.
pub fn is_same(expected: &[u8], given: &[u8]) -> bool {
    expected.ct_eq(given).into()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn device() -> DeviceKey {
        "acme/d-42".parse().unwrap()
    }
    fn known(generation: u32, credential_used: bool) -> Known {
        Known { generation, credential_used, suspended: false }
    }

    #[test]
    fn a_secret_is_the_devices_and_the_generations_own() {
        let key = MasterKey::new([7; 32]);
        let secret = key.device_secret(&device(), 1);
        assert_eq!(secret.len(), 43);
        assert_eq!(secret, MasterKey::new([7; 32]).device_secret(&device(), 1));
        assert_ne!(secret, key.device_secret(&device(), 2));
        assert_ne!(secret, key.device_secret(&"acme/d-43".parse().unwrap(), 1));
        assert_ne!(secret, MasterKey::new([8; 32]).device_secret(&device(), 1));
    }

    #[test]
    fn the_secret_before_lives_until_the_next_one_is_used() {
        let key = MasterKey::new([7; 32]);
        let (old, new) = (key.device_secret(&device(), 1), key.device_secret(&device(), 2));
        assert_eq!(key.generation_of(&device(), known(2, false), old.as_bytes()), Some(1));
        assert_eq!(key.generation_of(&device(), known(2, false), new.as_bytes()), Some(2));
        assert_eq!(key.generation_of(&device(), known(2, true), old.as_bytes()), None);
        assert_eq!(key.generation_of(&device(), known(2, true), new.as_bytes()), Some(2));
        let nothing = key.device_secret(&device(), 0);
        assert_eq!(key.generation_of(&device(), known(1, false), nothing.as_bytes()), None);
    }

    #[test]
    fn a_signature_is_over_this_text_by_this_device() {
        let key = MasterKey::new([7; 32]);
        let mut mac = Hmac::<Sha256>::new_from_slice(key.device_secret(&device(), 1).as_bytes()).unwrap();
        mac.update(b"text");
        let sig = data_encoding::HEXLOWER.encode(&mac.finalize().into_bytes());
        assert!(key.is_signature(&device(), known(1, true), "text", &sig));
        assert!(!key.is_signature(&device(), known(1, true), "other", &sig));
        assert!(!key.is_signature(&"acme/d-43".parse().unwrap(), known(1, true), "text", &sig));
        assert!(!key.is_signature(&device(), known(1, true), "text", "00"));
    }

    #[test]
    fn the_key_file_is_made_once_for_its_owner_only_and_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("master.key");
        let made = MasterKey::load_or_create(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(MasterKey::load_or_create(&path).unwrap().0, made.0);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert!(MasterKey::load_or_create(&path).unwrap_err().to_string().contains("chmod 600"));
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        std::fs::write(&path, "not a key").unwrap();
        assert!(matches!(MasterKey::load_or_create(&path), Err(MasterKeyError::Malformed { .. })));
    }
}
