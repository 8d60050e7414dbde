//! The device contract as a device maker reads it. Written from the contract and not shared with
//! the gateway, so that a mistake on either side shows.

use data_encoding::HEXLOWER;
use hearthway_core::time::Timestamp;
use hmac::{Hmac, KeyInit, Mac};
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// The version this side speaks.
const VERSION: &str = "1.0";

/// An up message in its envelope.
pub fn envelope(id: &str, stamp: Stamp, body: &Value) -> Vec<u8> {
    let mut message = json!({"v": VERSION, "id": id, "body": body});
    let optional = [
        ("t", stamp.t.map(|t| t.0)),
        ("up_ms", stamp.up_ms),
        ("seq", stamp.seq.map(|n| n as i64)),
        ("epoch", stamp.epoch.map(|n| n as i64)),
    ];
    for (name, value) in optional {
        if let Some(value) = value {
            message[name] = json!(value);
        }
    }
    message.to_string().into_bytes()
}

/// The same with the device's signature: lower-case hex HMAC-SHA256 with its secret over topic,
/// epoch, seq, the body's nonce and the SHA-256 of the body's bytes.
pub fn signed_envelope(id: &str, stamp: Stamp, body: &Value, topic: &str, secret: &str) -> Vec<u8> {
    let decimal = |n: Option<u64>| n.map_or_else(String::new, |n| n.to_string());
    let (epoch, seq) = (decimal(stamp.epoch), decimal(stamp.seq));
    let nonce = body["nonce"].as_str().unwrap_or_default();
    // The body stands in the envelope byte for byte as it is written here.
    let hash = HEXLOWER.encode(&Sha256::digest(body.to_string().as_bytes()));
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("HMAC takes keys of any length");
    mac.update(format!("{topic}\n{epoch}\n{seq}\n{nonce}\n{hash}").as_bytes());
    let sig = HEXLOWER.encode(&mac.finalize().into_bytes());
    let mut message: Value = serde_json::from_slice(&envelope(id, stamp, body)).expect("what was just written");
    message["sig"] = json!(sig);
    message.to_string().into_bytes()
}

/// What the envelope says of time and order.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stamp {
    /// The device's clock.
    pub t: Option<Timestamp>,
    /// Milliseconds since the device started.
    pub up_ms: Option<i64>,
    /// Grows by 1 over the device's life.
    pub seq: Option<u64>,
    /// Grows at every connection.
    pub epoch: Option<u64>,
}

/// A down message, its body still unread.
#[derive(Debug, Clone, Deserialize)]
pub struct Down {
    /// Its id.
    #[serde(default)]
    pub id: String,
    /// When the gateway sent it, by its clock.
    pub t: Option<i64>,
    /// The message it answers.
    pub corr: Option<String>,
    /// What it says.
    pub body: Value,
}

/// The body of `down/offer`.
#[derive(Debug, Clone, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case")]
pub enum OfferDown {
    /// Show it.
    Put {
        /// The offer.
        offer: OfferSeen,
    },
    /// Put it away.
    Withdraw {
        /// Which.
        offer: String,
    },
}

/// An offer as far as this device reads it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct OfferSeen {
    /// Its id.
    pub id: String,
    /// Its revision.
    pub rev: u32,
    /// `offer`, `replenish`, `tip`, `service`.
    #[serde(default)]
    pub kind: String,
    /// When it dies, epoch milliseconds.
    pub expires_at: Option<i64>,
    /// What to show.
    #[serde(default)]
    pub text: TextSeen,
    /// What is proposed.
    pub item: Option<ItemSeen>,
    /// What it costs.
    pub price: Option<PriceSeen>,
    /// What can be answered.
    #[serde(default)]
    pub actions: Vec<String>,
}

/// Texts of an offer.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
pub struct TextSeen {
    /// The title.
    #[serde(default)]
    pub title: String,
    /// The body.
    #[serde(default)]
    pub body: String,
}

/// The article of an offer.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct ItemSeen {
    /// Article number.
    pub product: String,
    /// Its name.
    #[serde(default)]
    pub name: String,
}

/// The price of an offer.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct PriceSeen {
    /// All together.
    pub total: hearthway_core::money::Money,
}

/// The body of `down/order`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct OrderSeen {
    /// Its id.
    pub order: String,
    /// The offer it comes from.
    #[serde(default)]
    pub offer: String,
    /// Its revision.
    pub rev: u32,
    /// Where it stands.
    pub state: String,
    /// What can be done with it.
    #[serde(default)]
    pub can: Vec<String>,
}

/// The body of `down/claim`.
#[derive(Debug, Clone, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case")]
pub enum ClaimDown {
    /// Show this code.
    Code {
        /// The code, such as `7K4Q-9XMP`.
        code: String,
    },
    /// The device belongs to somebody.
    Linked {
        /// The name of the home.
        #[serde(default)]
        display_name: String,
    },
    /// It did not work.
    Refused {
        /// Why.
        #[serde(default)]
        error: String,
    },
}

/// The body of `down/error`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct ErrorDown {
    /// The stable code.
    pub code: String,
    /// What is wrong.
    #[serde(default)]
    pub message: String,
    /// Which message it is about.
    #[serde(default, rename = "ref")]
    pub about: About,
}

/// What a refusal is about.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
pub struct About {
    /// The message's id.
    pub id: Option<String>,
}

/// The body of `down/sync`.
#[derive(Debug, Clone, Deserialize)]
pub struct SyncDown {
    /// Whether the device belongs to somebody.
    pub link: Option<LinkSeen>,
    /// Live offers.
    #[serde(default)]
    pub offers: Vec<OfferSeen>,
    /// Open orders.
    #[serde(default)]
    pub orders: Vec<OrderSeen>,
}

/// The link in a sync.
#[derive(Debug, Clone, Deserialize)]
pub struct LinkSeen {
    /// `none`, `linked`, `wipe_pending`.
    pub state: String,
    /// The name of the home.
    #[serde(default)]
    pub display_name: Option<String>,
}

/// The body of `down/lifecycle`.
#[derive(Debug, Clone, Deserialize)]
pub struct LifecycleDown {
    /// `wipe`, `released`, `suspended`, `rotate_credentials`.
    pub op: String,
}

/// The answer to a provisioning request.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub enum ProvisionDown {
    /// It worked.
    Granted {
        /// The device's name.
        device: String,
        /// Its user name.
        username: String,
        /// Its secret.
        secret: String,
    },
    /// It did not.
    Refused {
        /// Why.
        error: ProvisionError,
    },
}

/// Why a device was not registered.
#[derive(Debug, Clone, Deserialize)]
pub struct ProvisionError {
    /// The stable code.
    pub code: String,
    /// What is wrong.
    #[serde(default)]
    pub message: String,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn the_offer_of_the_contract_is_read() {
        let text = r#"{"op":"put","offer":{"id":"of_7q2","rev":1,"kind":"replenish","placement":"home.card",
            "expires_at":1774170000000,"text":{"locale":"fr-FR","title":"Filtre bientôt usé","body":"…"},
            "item":{"product":"flt-20x25","name":"Filtre","qty":1,"unit":"count","image":null},
            "price":{"item":{"minor":1990,"currency":"EUR"},"total":{"minor":1990,"currency":"EUR"},"was":null},
            "actions":["order","snooze"]}}"#;
        let OfferDown::Put { offer } = serde_json::from_str(text).unwrap() else { panic!("not a put") };
        assert_eq!((offer.id.as_str(), offer.rev, offer.actions.len()), ("of_7q2", 1, 2));
        assert_eq!(offer.price.unwrap().total.to_string(), "19.90 EUR");
    }

    #[test]
    fn an_envelope_leaves_out_what_is_not_known() {
        let bytes = envelope("m-1", Stamp { seq: Some(4), ..Stamp::default() }, &json!({"a": 1}));
        let value: Value = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(value, json!({"v": "1.0", "id": "m-1", "seq": 4, "body": {"a": 1}}));
    }

    #[test]
    fn a_signature_is_the_contracts() {
        let stamp = Stamp { seq: Some(4), ..Stamp::default() };
        let bytes = signed_envelope("m-1", stamp, &json!({"nonce": "n-1"}), "chan/v1/acme/d-1/up/order", "secret");
        let value: Value = serde_json::from_slice(&bytes).unwrap();
        // printf 'chan/v1/acme/d-1/up/order\n\n4\nn-1\nSHA' | openssl dgst -sha256 -hmac secret, where SHA is
        // printf '{"nonce":"n-1"}' | openssl dgst -sha256
        assert_eq!(value["sig"], "3abeff485d33e3466c9b92083312fdfe4f1d2262debbbabfdefa7cc73573582f");
        assert_eq!(value["body"], json!({"nonce": "n-1"}));
    }

    #[test]
    fn a_provisioning_answer_is_a_grant_or_a_refusal() {
        let granted = r#"{"device":"d-42","username":"acme/d-42","secret":"s","broker":{"host":"h","port":1,"tls":false},"policy":{}}"#;
        assert!(matches!(serde_json::from_str(granted), Ok(ProvisionDown::Granted { .. })));
        let refused = r#"{"error":{"code":"prov.serial_unknown","message":"…"}}"#;
        assert!(matches!(serde_json::from_str(refused), Ok(ProvisionDown::Refused { .. })));
    }
}
