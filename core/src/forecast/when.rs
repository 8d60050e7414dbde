//! When to speak: the order whose arrival costs least, and whether to show a date at all.
//!
//! A day without costs `late`, a day too early costs `early`. The cheapest arrival is the early/(late+early)
//! quantile of the run-out (the newsvendor's rule, Arrow, Harris and Marschak 1951); a delivery that takes some days makes
//! it the same quantile of run-out minus lead time.

use serde::{Deserialize, Serialize};

use super::run_out::RunOut;
use super::{HORIZON_DAYS_MAX, Moment, Quantiles};

/// What a day costs, in any unit: only the ratio counts.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Costs {
    /// A day without the product.
    pub late: f64,
    /// A day on which the product lies unused.
    pub early: f64,
}

impl Default for Costs {
    /// Nine to one: aims the delivery at the 10 % quantile, so that the printed interval and the decision are one thing.
    fn default() -> Costs {
        Costs { late: 9.0, early: 1.0 }
    }
}

impl Costs {
    /// The share of cases in which the product may run out before it arrives.
    pub fn share_late(&self) -> f64 {
        let share = self.early / (self.late + self.early);
        if share.is_finite() { share.clamp(SHARE_LATE_MIN, 1.0 - SHARE_LATE_MIN) } else { 0.1 }
    }
}

/// Costs that ask for more certainty than this ask for a date that no history supports.
const SHARE_LATE_MIN: f64 = 0.01;

/// Days from order to arrival: in one of ten deliveries at most, in one of two, in nine of ten.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Lead {
    /// One of ten deliveries takes at most so many days.
    pub p10: f64,
    /// One of two.
    pub p50: f64,
    /// Nine of ten.
    pub p90: f64,
}

impl Lead {
    /// A delivery that always takes as long.
    pub fn days(days: f64) -> Lead {
        Lead { p10: days, p50: days, p90: days }
    }

    fn points(&self) -> [(f64, f64); 3] {
        let days = |days: f64| if days.is_finite() { days.clamp(0.0, LEAD_DAYS_MAX) } else { 0.0 };
        [(days(self.p10), 0.3), (days(self.p50), 0.4), (days(self.p90), 0.3)]
    }
}

/// No delivery takes longer than a year.
const LEAD_DAYS_MAX: f64 = 366.0;

/// An interval wider than so many mean cycles is not shown: "not sure yet".
const WIDTH_CYCLES_MAX: f64 = 1.5;

/// Whether the interval from p10 to p90 is narrow enough to name a date.
pub fn is_sure(quantiles: &Quantiles, cycle_days: f64) -> bool {
    quantiles.p90 - quantiles.p10 <= WIDTH_CYCLES_MAX * cycle_days
}

/// The day (since 1970) on which to order; never before `now`.
pub fn order_day(run_out: &RunOut<'_>, now: Moment, lead: &Lead, costs: &Costs) -> f64 {
    let share = costs.share_late();
    let points = lead.points();
    // The probability that an order on a day comes too late, over the lead times.
    let too_late =
        |day: f64| -> f64 { points.iter().map(|(lead, weight)| weight * run_out.probability_by(day + lead)).sum() };
    let (mut low, mut high) = (now.day, now.day + HORIZON_DAYS_MAX);
    if too_late(low) >= share {
        return low;
    }
    for _ in 0..HALVINGS {
        let middle = 0.5 * (low + high);
        if too_late(middle) < share {
            low = middle;
        } else {
            high = middle;
        }
    }
    low
}

/// Halvings of the horizon: 30 leave a third of a second.
const HALVINGS: usize = 30;
