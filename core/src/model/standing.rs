use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::id::DeviceKey;
use crate::money::Money;
use crate::time::{DailyWindow, Timestamp};

/// The word for the gateway's own channel in a person's preferences.
pub const DEVICE_CHANNEL: &str = "device";

/// What the shop's loyalty programme says of a person.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Loyalty {
    /// The tier, in the shop's words.
    pub tier: Option<String>,
    /// Points, which may be owed.
    pub points: i64,
}

/// What a person decides about being spoken to. It is stronger than any trigger.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Preferences {
    /// No offer leaves in these hours of the home's time.
    pub quiet: Vec<DailyWindow>,
    /// At most so many offers on a day of the home's time, of all shops' triggers together.
    pub per_day: Option<u8>,
    /// At most so many offers in seven days.
    pub per_week: Option<u8>,
    /// The channels that may be used; all where not said.
    pub channels: Option<BTreeSet<String>>,
    /// The devices that may sell; all where not said.
    pub devices: Option<BTreeSet<DeviceKey>>,
    /// Silence until then.
    pub pause_until: Option<Timestamp>,
    /// No orders without asking, whatever mandates say.
    pub no_auto_order: bool,
    /// What may be ordered on a device where nobody knows who presses; more needs the app.
    pub unattended_max: Option<Money>,
}

impl Preferences {
    /// Both at once: where they differ, the one that permits less.
    pub fn strictest(&self, other: &Preferences) -> Preferences {
        let unattended_max = match (self.unattended_max, other.unattended_max) {
            (Some(a), Some(b)) if a.currency == b.currency => Some(if a.minor <= b.minor { a } else { b }),
            (one, None) | (None, one) => one,
            // Two currencies cannot be compared: nothing without the app.
            (Some(a), Some(_)) => Some(Money::new(0, a.currency)),
        };
        Preferences {
            quiet: self.quiet.iter().chain(other.quiet.iter().filter(|w| !self.quiet.contains(w))).copied().collect(),
            per_day: least(self.per_day, other.per_day),
            per_week: least(self.per_week, other.per_week),
            channels: in_both(&self.channels, &other.channels),
            devices: in_both(&self.devices, &other.devices),
            pause_until: self.pause_until.max(other.pause_until),
            no_auto_order: self.no_auto_order || other.no_auto_order,
            unattended_max,
        }
    }
}

/// What two selections have in common; one that was not made takes nothing away.
fn in_both<T: Ord + Clone>(a: &Option<BTreeSet<T>>, b: &Option<BTreeSet<T>>) -> Option<BTreeSet<T>> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.intersection(b).cloned().collect()),
        (one, None) | (None, one) => one.clone(),
    }
}

/// The smaller of two bounds that may not be there.
fn least(a: Option<u8>, b: Option<u8>) -> Option<u8> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (one, None) | (None, one) => one,
    }
}

/// What must be known about a person so that nobody sells to them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Flag {
    /// They are not of age.
    Minor,
    /// They are to be left alone: bereavement, illness, debt.
    Vulnerable,
}

impl Flag {
    /// Every flag.
    pub const ALL: [Flag; 2] = [Flag::Minor, Flag::Vulnerable];
    /// The flag as written.
    pub fn as_str(self) -> &'static str {
        match self {
            Flag::Minor => "minor",
            Flag::Vulnerable => "vulnerable",
        }
    }
    /// Reads the written form.
    pub fn parse(text: &str) -> Option<Flag> {
        Flag::ALL.into_iter().find(|flag| flag.as_str() == text)
    }
}

/// What a home knows of a person beside who they are and what they consent to: it decides what
/// reaches them. A home keeps none for a person of whom nothing of this was said.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Standing {
    /// The shop's loyalty programme.
    pub loyalty: Option<Loyalty>,
    /// Their own wishes.
    pub preferences: Preferences,
    /// Reasons not to sell to them.
    pub flags: BTreeSet<Flag>,
}

impl Standing {
    /// Whether nothing was said of the person.
    pub fn is_empty(&self) -> bool {
        *self == Standing::default()
    }
}
