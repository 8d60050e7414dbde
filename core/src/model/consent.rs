use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::id::{ProfileId, ReceiptId};
use crate::time::Timestamp;

/// What a permission is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Purpose {
    /// Offers on the device.
    #[serde(rename = "offers.device")]
    OffersDevice,
    /// Replenishment suggestions on the device.
    #[serde(rename = "replenish.device")]
    ReplenishDevice,
    /// Learning from how the device is used.
    #[serde(rename = "profiling.usage")]
    ProfilingUsage,
    /// Passing data to a seller.
    #[serde(rename = "share.seller")]
    ShareSeller,
    /// Ordering without asking each time.
    #[serde(rename = "auto_order")]
    AutoOrder,
}

impl Purpose {
    /// Every purpose.
    pub const ALL: [Purpose; 5] = [
        Purpose::OffersDevice,
        Purpose::ReplenishDevice,
        Purpose::ProfilingUsage,
        Purpose::ShareSeller,
        Purpose::AutoOrder,
    ];
    /// The purpose as it stands on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Purpose::OffersDevice => "offers.device",
            Purpose::ReplenishDevice => "replenish.device",
            Purpose::ProfilingUsage => "profiling.usage",
            Purpose::ShareSeller => "share.seller",
            Purpose::AutoOrder => "auto_order",
        }
    }
    /// Reads the wire form.
    pub fn parse(text: &str) -> Option<Purpose> {
        Purpose::ALL.into_iter().find(|purpose| purpose.as_str() == text)
    }
}

/// Where a consent was given or withdrawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ConsentSource {
    /// On the device itself.
    Device,
    /// By the shop for its signed-in customer, at the claim or later.
    Shop,
    /// By the customer in the shop's app.
    App,
    /// By a merge of two profiles of which one had withdrawn it. The last: sources are stored by their place.
    Merge,
}

impl ConsentSource {
    /// The source as written.
    pub fn as_str(self) -> &'static str {
        match self {
            ConsentSource::Device => "device",
            ConsentSource::Shop => "shop",
            ConsentSource::App => "app",
            ConsentSource::Merge => "merge",
        }
    }
}

/// What people are shown when they are asked. Each change is a version of its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConsentText {
    /// For what it asks.
    pub purposes: BTreeSet<Purpose>,
    /// The words by language.
    pub text: BTreeMap<String, String>,
    /// A grant from before this moment was given to something else: it must be asked again.
    pub asks_since: Timestamp,
}

impl ConsentText {
    /// Whether a grant that names this text is one to what it asks for.
    pub fn covers(&self, purpose: Purpose, record: &ConsentRecord) -> bool {
        self.purposes.contains(&purpose) && record.at >= self.asks_since
    }
}

/// The latest word on one purpose, with its proof.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConsentRecord {
    /// Granted or withdrawn.
    pub granted: bool,
    /// When the person said so.
    pub at: Timestamp,
    /// Where.
    pub source: ConsentSource,
    /// How, such as `button`.
    pub method: Option<String>,
    /// Which text was shown.
    pub text_id: Option<String>,
    /// When it ends by itself.
    pub expires_at: Option<Timestamp>,
}

impl ConsentRecord {
    /// Whether it permits at `now`.
    pub fn is_live(&self, now: Timestamp) -> bool {
        self.granted && self.expires_at.is_none_or(|end| now < end)
    }
    /// Whether `newer` replaces this record: the later word wins, and at the same instant the
    /// withdrawal does.
    pub fn yields_to(&self, newer: &ConsentRecord) -> bool {
        newer.at > self.at || (newer.at == self.at && !newer.granted)
    }
    /// The id of the proof of this word: the same word told twice, or in several homes, is one.
    pub fn receipt(&self, profile: &ProfileId, purpose: Purpose) -> ReceiptId {
        let (method, text) = (self.method.as_deref().unwrap_or_default(), self.text_id.as_deref().unwrap_or_default());
        ReceiptId::derived(&[
            profile.as_str().as_bytes(),
            purpose.as_str().as_bytes(),
            &self.at.0.to_be_bytes(),
            &[u8::from(self.granted)],
            self.source.as_str().as_bytes(),
            method.as_bytes(),
            text.as_bytes(),
        ])
    }
}
