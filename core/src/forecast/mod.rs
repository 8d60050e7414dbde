//! When something runs out, and how sure that is: values in, values out.
//!
//! | module | what it holds |
//! |---|---|
//! | [`absence`] | whether somebody is at home |
//! | [`clock`] | the operational clock: the season bends time |
//! | [`gaps`] | purchases or refills alone: how long from one to the next |
//! | [`level`] | readings of what is left: filter, refills and faults of the sensor told apart |
//! | [`counter`] | a usage counter as a level: resets, wraps, replacement |
//! | [`run_out`] | the law of the run-out: quantiles, probability by a date |
//! | [`curve`] | how far the truth lies from a law, measured |
//! | [`prior`] | what is known of a product before a slot is: versioned data |
//! | [`fit`] | priors and constants from a fleet's past |
//! | [`weekdays`] | what each day of the week is worth to a slot |
//! | [`when`] | the moment to order, from the costs of too late and too early |
//! | [`verdict`] | what a report turned out to be |
//! | [`normal`] | the few functions of a real number, the same bits on every machine |
//!
//! States are small and `Copy`, stand in a household's record, and are changed by `update` with a named
//! [`Verdict`]. Moments are days since 1970-01-01T00:00:00Z as `f64` (see [`Moment`]); what leaves this module as a
//! date lies between the question's moment and [`HORIZON_DAYS_MAX`] later. Nothing here allocates but [`fit`].
//! The method, its sources and its figures: `docs/forecast.md`.

pub mod absence;
pub mod clock;
pub mod counter;
pub mod curve;
pub mod fit;
pub mod gaps;
pub mod level;
pub mod normal;
pub mod prior;
pub mod run_out;
pub mod verdict;
pub mod weekdays;
pub mod when;

use serde::{Deserialize, Serialize};

use crate::time::Timestamp;

pub use absence::Absence;
pub use clock::Season;
pub use counter::{Counter, CounterState};
pub use curve::Curve;
pub use gaps::{GapPrior, GapState};
pub use level::LevelState;
pub use prior::{LevelPrior, Priors, ProductPrior, of_region};
pub use run_out::RunOut;
pub use verdict::{Verdict, Wrong};

/// The farthest date that a forecast names, in days from the question: ten years. What lies beyond is "not for years",
/// and no date of it would be believed.
pub const HORIZON_DAYS_MAX: f64 = 3_652.0;

/// The last moment that is believed of a report, in days since 1970: 2105, the end of 32 bits of seconds.
const DAY_MAX: f64 = 49_700.0;

const DAY_MILLISECONDS: f64 = 86_400_000.0;

/// An instant as forecasts count it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Moment {
    /// Days since 1970-01-01T00:00:00Z.
    pub day: f64,
    /// Days in which nobody was at home, from the household's first day to this moment, each counted by the share
    /// of the usual use that fell away. It never falls; 0 where absence is not known.
    pub away: f64,
}

impl Moment {
    /// A moment of a household whose absence is not known.
    pub fn day(day: f64) -> Moment {
        Moment { day, away: 0.0 }
    }

    /// The same for the house's instants.
    pub fn at(at: Timestamp) -> Moment {
        Moment::day(at.0 as f64 / DAY_MILLISECONDS)
    }

    /// With the days of absence so far.
    pub fn with_away(self, days: f64) -> Moment {
        Moment { away: days, ..self }
    }

    /// Why it cannot be a moment of a report.
    pub(crate) fn wrong(&self) -> Option<Wrong> {
        let known = (0.0..=DAY_MAX).contains(&self.day) && self.away.is_finite();
        (!known).then_some(Wrong::NoMoment)
    }
}

/// A moment of a forecast (days since 1970) as the house's instant.
pub fn instant(day: f64) -> Timestamp {
    // The cast saturates and takes what is no number as 0.
    Timestamp((day * DAY_MILLISECONDS) as i64)
}

/// Three moments of a run-out, in days since 1970-01-01T00:00:00Z: `p10 <= p50 <= p90`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Quantiles {
    /// It runs out before this in one of ten such cases.
    pub p10: f64,
    /// It runs out before this in one of two.
    pub p50: f64,
    /// It runs out before this in nine of ten.
    pub p90: f64,
}
