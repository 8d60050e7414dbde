use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{ConsentRecord, Few, Flag, Locale, Loyalty, Preferences, Purpose, Standing};
use crate::id::{DeviceKey, HouseholdId, LinkId, MakerId, ProfileId, RetailerId, SellerId};
use crate::time::{Timestamp, Zone};

/// What a person may do in a household.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Everything, also release.
    Owner,
    /// May buy.
    Buyer,
    /// May look.
    Viewer,
    /// No offers, no orders.
    Child,
}

impl Role {
    /// The role as written.
    pub fn as_str(self) -> &'static str {
        match self {
            Role::Owner => "owner",
            Role::Buyer => "buyer",
            Role::Viewer => "viewer",
            Role::Child => "child",
        }
    }
    /// Whether this person may accept a priced offer.
    pub fn may_order(self) -> bool {
        matches!(self, Role::Owner | Role::Buyer)
    }
}

/// A retailer: the tenant of the HTTP side.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retailer {
    /// The name that customers see as the seller.
    pub name: String,
    /// The language to fall back on.
    pub default_locale: Locale,
    /// The retailer's own time zone.
    pub zone: Zone,
    /// How it ranks the sellers of a product.
    #[serde(default)]
    pub ranking: Ranking,
}

/// How a retailer ranks the sellers of a product.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ranking {
    /// By what, the first first; by all in their order where it is empty.
    #[serde(default)]
    pub policy: Vec<RankBy>,
    /// The sellers that may sell beside the retailer; all where not said.
    #[serde(default)]
    pub sellers: Option<Vec<SellerId>>,
}

/// By what sellers are ranked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RankBy {
    /// The retailer itself before others.
    OwnFirst,
    /// The lower total with delivery.
    TotalPrice,
    /// The shorter delivery.
    Delay,
}

impl RankBy {
    /// Reads the written form.
    pub fn parse(text: &str) -> Option<RankBy> {
        match text {
            "own_first" => Some(RankBy::OwnFirst),
            "total_price" => Some(RankBy::TotalPrice),
            "delay" => Some(RankBy::Delay),
            _ => None,
        }
    }
}

/// A device maker: the tenant of the MQTT side.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Maker {
    /// Its name.
    pub name: String,
}

/// A way to recognise a person that the shop told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IdentityKind {
    /// Their login in the shop's app.
    App,
    /// Their loyalty card.
    Loyalty,
    /// An e-mail address.
    Email,
    /// A phone number.
    Phone,
}

impl IdentityKind {
    /// Every kind.
    pub const ALL: [IdentityKind; 4] =
        [IdentityKind::App, IdentityKind::Loyalty, IdentityKind::Email, IdentityKind::Phone];
    /// The kind as written.
    pub fn as_str(self) -> &'static str {
        match self {
            IdentityKind::App => "app",
            IdentityKind::Loyalty => "loyalty",
            IdentityKind::Email => "email",
            IdentityKind::Phone => "phone",
        }
    }
    /// Reads the written form.
    pub fn parse(text: &str) -> Option<IdentityKind> {
        IdentityKind::ALL.into_iter().find(|kind| kind.as_str() == text)
    }
}

/// What is kept of an identity: not the value, only its keyed hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Identity {
    /// Of which kind.
    pub kind: IdentityKind,
    /// HMAC-SHA256 of the value under the gateway's key.
    pub mark: [u8; 32],
}

/// Why somebody is flagged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlagNote {
    /// Since when.
    pub at: Timestamp,
    /// In the words of who set it.
    pub reason: String,
    /// By which token.
    pub by: String,
}

/// A person as one retailer knows them, whatever the household.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Profile {
    /// The retailer's id for the person.
    pub id: ProfileId,
    /// What a device may show as the home's name.
    pub display_name: String,
    /// Preferred language.
    pub locale: Option<Locale>,
    /// The person's time zone.
    pub zone: Option<Zone>,
    /// The segments that the retailer put them in.
    pub segments: BTreeSet<String>,
    /// The homes they belong to.
    pub households: BTreeSet<HouseholdId>,
    /// By what they are recognised, with since when.
    pub identities: BTreeMap<Identity, Timestamp>,
    /// The shop's loyalty programme.
    pub loyalty: Option<Loyalty>,
    /// What they decide about being spoken to.
    pub preferences: Preferences,
    /// Reasons not to sell to them.
    pub flags: BTreeMap<Flag, FlagNote>,
    /// The profile that stands for this one since a merge.
    pub merged_into: Option<ProfileId>,
    /// The profiles that this one stands for.
    pub merged_from: BTreeSet<ProfileId>,
}

impl Profile {
    /// A person of whom nothing is known but the name.
    pub fn named(id: ProfileId) -> Profile {
        Profile {
            display_name: id.to_string(),
            id,
            locale: None,
            zone: None,
            segments: BTreeSet::new(),
            households: BTreeSet::new(),
            identities: BTreeMap::new(),
            loyalty: None,
            preferences: Preferences::default(),
            flags: BTreeMap::new(),
            merged_into: None,
            merged_from: BTreeSet::new(),
        }
    }
    /// What their homes know of them beside who they are.
    pub fn standing(&self) -> Standing {
        Standing {
            loyalty: self.loyalty.clone(),
            preferences: self.preferences.clone(),
            flags: self.flags.keys().copied().collect(),
        }
    }
}

/// A person inside one household: what decisions read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// The retailer's id for the person.
    pub profile: ProfileId,
    /// What a device may show.
    pub display_name: String,
    /// Preferred language.
    pub locale: Option<Locale>,
    /// What they may do.
    pub role: Role,
    /// Segments.
    pub segments: BTreeSet<String>,
    /// The latest word per purpose.
    pub consents: Few<Purpose, ConsentRecord>,
}

/// A device–profile relation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// Its id.
    pub id: LinkId,
    /// The device.
    pub device: DeviceKey,
    /// The person.
    pub profile: ProfileId,
    /// What they may do with it.
    pub role: Role,
    /// Since when.
    pub since: Timestamp,
}

/// The tenant that a household's customer data belongs to, with the maker side apart.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Tenant {
    /// The house itself.
    Operator,
    /// A device maker.
    Maker(MakerId),
    /// A retailer.
    Retailer(RetailerId),
}
