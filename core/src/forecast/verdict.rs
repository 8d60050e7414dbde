//! What a report turned out to be: named, with the numbers that decided, for the trace of a decision.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What a purchase, a reading of a level or of a counter turned out to be, and what was done with it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The first of its kind: the forecast starts from it and the prior.
    First,
    /// A purchase; its gap to the one before was learned.
    Bought {
        /// Days since the purchase before.
        gap_days: f32,
    },
    /// A purchase at the moment of another: the quantities were added.
    BoughtTogether,
    /// A purchase that was reported after a later one: the gaps were learned again in their order.
    BoughtEarlier {
        /// How many later purchases were known.
        known_after: u8,
    },
    /// A reading that fits the expected use; it was learned.
    Used {
        /// Points (percent of a full slot) that the level fell since the reading before.
        points: f32,
    },
    /// A reading so far from the expected that it waits for the next one to agree.
    Held {
        /// Points above (or, negative, below) what was expected.
        surprise: f32,
    },
    /// The held reading was a fault of the sensor: this one fits what was expected before it.
    SpikeDropped {
        /// Points that this reading fell since the one before the spike.
        points: f32,
    },
    /// Two readings agree that the slot was filled.
    Refill {
        /// Points that were added.
        added: f32,
        /// The level after it.
        level: f32,
    },
    /// Two readings agree that the slot was filled, but not nearly full.
    PartialRefill {
        /// Points that were added.
        added: f32,
        /// The level after it.
        level: f32,
    },
    /// The level rose by more than its noise and less than a refill; it was learned as a correction.
    TopUp {
        /// Points above the expected.
        surprise: f32,
    },
    /// Two readings agree that the level fell at once: an emptier cartridge, or a spill.
    Fell {
        /// Points that went.
        points: f32,
    },
    /// The slot is empty and waits for a refill: nobody can use what is not there, so no use was learned.
    EmptyWaiting,
    /// The same value for weeks in which much should have been used: nothing was learned, nothing automatic may follow.
    Stuck {
        /// Days without a change.
        days: f32,
    },
    /// The counter started again from zero; the use since then was counted.
    Reset {
        /// Use since the start from zero, in the counter's unit.
        since: f32,
    },
    /// The counter went over its highest value and on from zero.
    Wrapped,
    /// The counter ran backwards without starting from zero: it was taken as a new base, no use was counted.
    Backwards {
        /// How far it ran back, in the counter's unit.
        by: f32,
    },
    /// A new cartridge by the word of the device or its owner: the slot is full.
    Replaced,
    /// It is not later than what is known already; nothing changed.
    Late,
    /// The same value at the same moment as known already; nothing changed.
    Duplicate,
    /// It cannot be true; nothing changed.
    Wrong(Wrong),
    /// It came so soon after the reading before that it tells of the same moment; nothing changed. The last: verdicts
    /// are stored by their place.
    TooSoon,
}

/// Why a report cannot be true.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Wrong {
    /// The value is no number, or infinite.
    NotANumber,
    /// The moment is no number, or outside the years 1970 to 2105.
    NoMoment,
    /// A level above a full slot by more than a sensor's noise, in points or in the slot's unit.
    AboveCapacity,
    /// A level, a counter or a quantity below zero by more than a sensor's noise.
    Negative,
    /// A purchase of nothing.
    NoQuantity,
    /// The slot's capacity is no positive number, so that no share can be told.
    NoCapacity,
    /// Older than the state can go back: a year of readings at once, or the fourth purchase from the end.
    TooOld,
}

impl Verdict {
    /// Whether the report changed what is known.
    pub fn changed(&self) -> bool {
        !matches!(self, Verdict::Late | Verdict::Duplicate | Verdict::TooSoon | Verdict::Wrong(_))
    }

    /// Whether a refill was seen, by readings or by the owner's word.
    pub fn is_refill(&self) -> bool {
        matches!(self, Verdict::Refill { .. } | Verdict::PartialRefill { .. } | Verdict::Replaced)
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Verdict::First => f.write_str("the first report"),
            Verdict::Bought { gap_days } => write!(f, "bought, {gap_days:.1} d after the purchase before"),
            Verdict::BoughtTogether => f.write_str("bought together with another purchase"),
            Verdict::BoughtEarlier { known_after } => {
                write!(f, "bought before {known_after} purchases that were known; learned again in order")
            }
            Verdict::Used { points } => write!(f, "used {points:.1} points"),
            Verdict::Held { surprise } => {
                write!(f, "{surprise:+.1} points from the expected; waits for the next reading")
            }
            Verdict::SpikeDropped { points } => {
                write!(f, "used {points:.1} points; the reading before was a fault of the sensor")
            }
            Verdict::Refill { added, level } => write!(f, "refilled by {added:.1} points to {level:.1}"),
            Verdict::PartialRefill { added, level } => write!(f, "partly refilled by {added:.1} points to {level:.1}"),
            Verdict::TopUp { surprise } => write!(f, "topped up: {surprise:.1} points above the expected"),
            Verdict::Fell { points } => write!(f, "fell by {points:.1} points at once"),
            Verdict::EmptyWaiting => f.write_str("empty and waiting for a refill; no use learned"),
            Verdict::Stuck { days } => write!(f, "the same value for {days:.0} d; the sensor seems stuck"),
            Verdict::Reset { since } => write!(f, "the counter started again from zero, {since:.1} since"),
            Verdict::Wrapped => f.write_str("the counter went over its highest value"),
            Verdict::Backwards { by } => write!(f, "the counter ran back by {by:.1}; taken as a new base"),
            Verdict::Replaced => f.write_str("replaced by a full one"),
            Verdict::Late => f.write_str("not later than what is known; ignored"),
            Verdict::TooSoon => f.write_str("within half a minute of the reading before; ignored"),
            Verdict::Duplicate => f.write_str("known already; ignored"),
            Verdict::Wrong(wrong) => write!(f, "{wrong}"),
        }
    }
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Wrong::NotANumber => "the value is no finite number; send one",
            Wrong::NoMoment => "the moment is outside 1970 to 2105; check the device's clock",
            Wrong::AboveCapacity => "more than the slot can hold; check its capacity and unit",
            Wrong::Negative => "less than nothing; check the sensor's zero and unit",
            Wrong::NoQuantity => "a purchase of nothing; send a quantity above zero",
            Wrong::NoCapacity => "the slot has no capacity above zero; declare it in the device model",
            Wrong::TooOld => "too old to be put in its place; ignored",
        })
    }
}
