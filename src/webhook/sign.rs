//! Signatures of Standard Webhooks 1.0: HMAC-SHA256 over id, time and body.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// The text before a secret.
pub const PREFIX: &str = "whsec_";
/// Bytes of the secrets that the gateway makes; the standard takes 24 to 64.
pub const SECRET_BYTES: usize = 32;

/// A secret as its receiver keeps it.
pub fn secret_text(secret: &[u8]) -> String {
    format!("{PREFIX}{}", data_encoding::BASE64.encode(secret))
}

/// One signature: `v1,…`.
pub fn signature(secret: &[u8], id: &str, timestamp_seconds: i64, body: &[u8]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret).expect("HMAC takes keys of any length");
    mac.update(format!("{id}.{timestamp_seconds}.").as_bytes());
    mac.update(body);
    format!("v1,{}", data_encoding::BASE64.encode(&mac.finalize().into_bytes()))
}

/// The header: a signature for each secret that is good, so that a receiver can change over.
pub fn signatures(secrets: &[[u8; SECRET_BYTES]], id: &str, timestamp_seconds: i64, body: &[u8]) -> String {
    secrets.iter().map(|secret| signature(secret, id, timestamp_seconds, body)).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// The example that the standard's libraries are tested with.
    #[test]
    fn the_standards_own_example_comes_out() {
        let secret = data_encoding::BASE64.decode(b"MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let body = br#"{"test": 2432232314}"#;
        let signed = signature(&secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, body);
        assert_eq!(signed, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
        assert_eq!(secret_text(&secret), "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
    }

    /// The example of docs/webhooks.md.
    #[test]
    fn the_example_of_the_document_comes_out() {
        let secret: [u8; SECRET_BYTES] = std::array::from_fn(|n| n as u8);
        let body = br#"{"specversion":"1.0","id":"ev_example"}"#;
        let said = format!(
            "secret     {}\nid         ev_example\ntimestamp  1774000000\nbody       {}\nsignature  {}\n",
            secret_text(&secret),
            String::from_utf8_lossy(body),
            signature(&secret, "ev_example", 1_774_000_000, body),
        );
        let page = include_str!("../../docs/webhooks.md");
        assert!(page.contains(&said), "docs/webhooks.md must have:\n{said}");
    }

    #[test]
    fn each_part_is_signed_and_two_secrets_sign_side_by_side() {
        let (one, other) = ([1; SECRET_BYTES], [2; SECRET_BYTES]);
        let signed = signature(&one, "ev_a", 1, b"x");
        for changed in [
            signature(&other, "ev_a", 1, b"x"),
            signature(&one, "ev_b", 1, b"x"),
            signature(&one, "ev_a", 2, b"x"),
            signature(&one, "ev_a", 1, b"y"),
        ] {
            assert_ne!(signed, changed);
        }
        let both = signatures(&[one, other], "ev_a", 1, b"x");
        assert_eq!(both, format!("{signed} {}", signature(&other, "ev_a", 1, b"x")));
    }
}
