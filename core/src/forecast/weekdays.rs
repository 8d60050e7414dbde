//! What each day of the week is worth to one slot.

use serde::{Deserialize, Serialize};

/// Running ratios of a day's use to the usual, Monday first; their mean is 1.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Weekdays {
    worth: [f32; 7],
    seen: [u8; 7],
}

/// No day stands still, and none is a week.
const WORTH_MIN: f32 = 0.05;
const WORTH_MAX: f32 = 6.0;

/// Readings that the prior of an even week is worth.
const SEEN_PRIOR: u8 = 10;
/// A day's worth is a mean over so many of its readings at most: a year of them.
const SEEN_MAX: u8 = 60;

impl Default for Weekdays {
    /// An even week.
    fn default() -> Weekdays {
        Weekdays { worth: [1.0; 7], seen: [SEEN_PRIOR; 7] }
    }
}

/// 1970-01-01 was a Thursday; 0 is Monday.
fn weekday(day: f64) -> usize {
    (day as i64 + 3).rem_euclid(7) as usize
}

impl Weekdays {
    fn is_even(&self) -> bool {
        self.worth == [1.0; 7]
    }

    fn worth(&self, day: f64) -> f64 {
        f64::from(self.worth[weekday(day)])
    }

    /// Days' worth between two moments.
    pub(super) fn between(&self, from: f64, to: f64) -> f64 {
        if to <= from || self.is_even() {
            return (to - from).max(0.0);
        }
        // Whole weeks are worth seven days.
        let weeks = ((to - from) / 7.0).floor() * 7.0;
        let mut day = (from + 1e-9).floor();
        let end = to - weeks;
        let mut sum = weeks;
        while day < end {
            sum += (end.min(day + 1.0) - from.max(day)).max(0.0) * self.worth(day);
            day += 1.0;
        }
        sum
    }

    /// The moment after so many days' worth: [`Weekdays::between`] undone.
    pub(super) fn after(&self, from: f64, worth: f64) -> f64 {
        if worth <= 0.0 || self.is_even() {
            return from + worth.max(0.0);
        }
        let weeks = (worth / 7.0).floor() * 7.0;
        let mut left = worth - weeks;
        let mut day = (from + 1e-9).floor();
        // A week is worth seven days, so that eight days are enough.
        for _ in 0..8 {
            let start = from.max(day);
            let whole = (day + 1.0 - start) * self.worth(day);
            if whole >= left {
                return weeks + start + left / self.worth(day);
            }
            left -= whole;
            day += 1.0;
        }
        weeks + day
    }

    /// Learns what a day used, in days of usual use.
    pub(super) fn learn(&mut self, day: f64, used: f64) {
        let n = weekday(day);
        self.seen[n] = (self.seen[n] + 1).min(SEEN_MAX);
        self.worth[n] += ((used.clamp(-3.0, 6.0) - f64::from(self.worth[n])) / f64::from(self.seen[n])) as f32;
        self.worth = self.worth.map(|worth| worth.clamp(WORTH_MIN, WORTH_MAX));
        let sum: f32 = self.worth.iter().sum();
        self.worth = self.worth.map(|worth| worth * 7.0 / sum);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_week_is_worth_seven_days_and_the_way_back_is_the_same() {
        let mut weekdays = Weekdays::default();
        for day in 0..200 {
            weekdays.learn(f64::from(day), if day % 7 < 2 { 3.0 } else { 0.4 });
        }
        assert!(weekdays.worth(1.5) > 2.0 * weekdays.worth(3.5), "{weekdays:?}");
        assert!((weekdays.between(100.3, 121.3) - 21.0).abs() < 1e-4);
        for n in 1..300 {
            let worth = f64::from(n) * 0.17;
            let to = weekdays.after(100.3, worth);
            assert!((weekdays.between(100.3, to) - worth).abs() < 1e-4, "{worth} {to}");
        }
    }
}
