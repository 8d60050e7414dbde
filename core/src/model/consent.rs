use serde::{Deserialize, Serialize};

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
}
