use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::Value;
use crate::time::Timestamp;

macro_rules! units {
    ($($name:ident = $text:literal;)*) => {
        /// Units of the contract.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[allow(missing_docs)]
        pub enum Unit { $(#[serde(rename = $text)] $name,)* }
        impl Unit {
            /// Every unit.
            pub const ALL: &'static [Unit] = &[$(Unit::$name,)*];
            /// The unit as written.
            pub fn as_str(self) -> &'static str { match self { $(Unit::$name => $text,)* } }
            /// Reads the written form.
            pub fn parse(text: &str) -> Option<Unit> {
                Unit::ALL.iter().copied().find(|unit| unit.as_str() == text)
            }
        }
    };
}
units! {
    Percent = "%"; Count = "count"; Gram = "g"; Kilogram = "kg"; Millilitre = "ml"; Litre = "l";
    Minute = "min"; Hour = "h"; Day = "d"; Celsius = "°C"; Watt = "W"; KilowattHour = "kWh";
}
impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How a slot is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SlotKind {
    /// A counter of use since the last replacement.
    Usage,
    /// How much remains.
    Level,
    /// How many uses or how much time remain.
    Countdown,
    /// Only `ok`, `low` or `empty`.
    Flag,
    /// A date at which it ends.
    Life,
}

impl SlotKind {
    /// The kind as written.
    pub fn as_str(self) -> &'static str {
        match self {
            SlotKind::Usage => "usage",
            SlotKind::Level => "level",
            SlotKind::Countdown => "countdown",
            SlotKind::Flag => "flag",
            SlotKind::Life => "life",
        }
    }
}

/// One slot as a model declares it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SlotSchema {
    /// How it is measured.
    pub kind: SlotKind,
    /// In which unit; flags and lives have none.
    pub unit: Option<Unit>,
    /// The full amount, in the unit.
    pub capacity: Option<f64>,
}

/// What a device reports of a slot.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Evidence {
    /// Used so much of `capacity`.
    Usage {
        /// Use since the last replacement, in the slot's unit.
        used: f64,
    },
    /// So much remains.
    Level {
        /// What remains, in the slot's unit.
        remaining: f64,
    },
    /// So many uses or so much time remain.
    Countdown {
        /// What remains, in the slot's unit.
        remaining: f64,
    },
    /// A word.
    Flag {
        /// `ok`, `low` or `empty`.
        flag: String,
    },
    /// A date.
    Life {
        /// Local calendar date `YYYY-MM-DD`.
        ends: String,
    },
}

/// The latest evidence of one slot.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SlotState {
    /// What was reported.
    pub evidence: Evidence,
    /// The capacity: as reported, else as declared.
    pub capacity: Option<f64>,
    /// The unit: as declared.
    pub unit: Option<Unit>,
    /// When it was so.
    pub t: Timestamp,
    /// When the consumable was last changed, where the device says so.
    pub changed_at: Option<Timestamp>,
    /// Spares at home, where the device says so.
    pub on_hand: Option<u32>,
}

impl SlotState {
    /// A field by its name in triggers: a number, or `flag`.
    pub fn value(&self, field: &str) -> Option<Value> {
        match (field, &self.evidence) {
            ("flag", Evidence::Flag { flag }) => Some(Value::Text(Arc::from(flag.as_str()))),
            (field, _) => self.number(field).map(Value::Number),
        }
    }
    /// A numeric field by its name in triggers: `used`, `remaining`, `capacity`, `on_hand`.
    pub fn number(&self, field: &str) -> Option<f64> {
        match (field, &self.evidence) {
            ("used", Evidence::Usage { used }) => Some(*used),
            ("remaining", Evidence::Level { remaining } | Evidence::Countdown { remaining }) => Some(*remaining),
            ("remaining", Evidence::Usage { used }) => self.capacity.map(|capacity| (capacity - used).max(0.0)),
            ("capacity", _) => self.capacity,
            ("on_hand", _) => self.on_hand.map(f64::from),
            _ => None,
        }
    }
}
