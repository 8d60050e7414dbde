//! The operational clock: days that count more or less, because the season asks for more or less use.

use jiff::civil::Date;
use serde::{Deserialize, Serialize};

/// Twelve factors, January first: how fast the product is used in a month against its mean. Their mean is 1.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Season(pub [f32; 12]);

/// The least use in a month against the mean: a product that is hardly used in summer is still used a little, and
/// a clock that stands still could not be turned back into a date.
pub const FACTOR_MIN: f64 = 0.05;

impl Default for Season {
    /// No season.
    fn default() -> Season {
        Season([1.0; 12])
    }
}

/// Days before each month in a year that is no leap year.
const BEFORE: [i32; 12] = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334];

/// Year, days since its start, whether it is a leap year.
fn year_day(day: i32) -> (i32, i32, bool) {
    // Civil days count from 0000-03-01 in cycles of 400 years (146 097 days), as in the proleptic Gregorian calendar.
    // No device lives ten thousand years before or after; so the sum cannot leave its range.
    let shifted = day.clamp(-3_652_425, 3_652_425) + 719_468;
    let cycle = shifted.div_euclid(146_097);
    let of_cycle = shifted.rem_euclid(146_097);
    let year_of_cycle = (of_cycle - of_cycle / 1460 + of_cycle / 36_524 - of_cycle / 146_096) / 365;
    let from_march = of_cycle - (365 * year_of_cycle + year_of_cycle / 4 - year_of_cycle / 100);
    let march_year = cycle * 400 + year_of_cycle;
    let year = if from_march >= 306 { march_year + 1 } else { march_year };
    let leap = is_leap(year);
    let of_year = if from_march >= 306 { from_march - 306 } else { from_march + 59 + i32::from(leap) };
    (year, of_year, leap)
}

fn is_leap(year: i32) -> bool {
    year.rem_euclid(4) == 0 && (year.rem_euclid(100) != 0 || year.rem_euclid(400) == 0)
}

/// Days before a month (0 is January, 12 the next January).
fn before(month: usize, leap: bool) -> i32 {
    if month >= 12 { 365 + i32::from(leap) } else { BEFORE[month] + i32::from(leap && month >= 2) }
}

fn month_of(of_year: i32, leap: bool) -> usize {
    // No month is shorter than 28 or longer than 31 days: the guess is right or one too early.
    let guess = (of_year / 32) as usize;
    if of_year >= before(guess + 1, leap) { guess + 1 } else { guess }
}

/// The month of a day since 1970-01-01, 0 is January.
pub(super) fn month(day: f64) -> usize {
    let (_, of_year, leap) = year_day(day.floor() as i32);
    month_of(of_year, leap)
}

/// The longest stretch that is looked through day by day or year by year, in days: some 27 years.
const STRETCH_DAYS_MAX: f64 = 10_000.0;

impl Season {
    /// Twelve factors brought to a mean of 1; factors that are no numbers count as 1, small ones as [`FACTOR_MIN`].
    pub fn balanced(factors: [f64; 12]) -> Season {
        let kept = factors.map(|factor| if factor.is_finite() { factor.max(FACTOR_MIN) } else { 1.0 });
        let mean = kept.iter().sum::<f64>() / 12.0;
        Season(kept.map(|factor| (factor / mean) as f32))
    }

    /// Whether no month differs from another.
    pub fn is_flat(&self) -> bool {
        self.0.iter().all(|factor| *factor == self.0[0])
    }

    /// What a day of a month is worth to a slot whose use follows the season that strongly: 0 not at all, 1 as the
    /// product does, more where less of the use is the same all year.
    fn factor(&self, month: usize, strength: f64) -> f64 {
        (1.0 + strength * (f64::from(self.0[month % 12]) - 1.0)).max(FACTOR_MIN)
    }

    /// Operational days from the start of a year to a moment in it.
    fn since_new_year(&self, of_year: f64, leap: bool, strength: f64) -> f64 {
        let month = month_of(of_year.floor() as i32, leap);
        let whole: f64 =
            (0..month).map(|m| f64::from(before(m + 1, leap) - before(m, leap)) * self.factor(m, strength)).sum();
        whole + (of_year - f64::from(before(month, leap))) * self.factor(month, strength)
    }

    /// Operational days between two moments (days since 1970-01-01); 0 when the second is not later.
    pub fn between(&self, from: f64, to: f64, strength: f64) -> f64 {
        if to.is_nan() || from.is_nan() || to <= from {
            return 0.0;
        }
        if self.is_flat() || to - from > STRETCH_DAYS_MAX {
            return to - from;
        }
        let (first, first_day, first_leap) = year_day(from.floor() as i32);
        let (last, last_day, last_leap) = year_day(to.floor() as i32);
        let years: f64 = (first..last).map(|year| self.of_whole_year(is_leap(year), strength)).sum();
        years + self.since_new_year(f64::from(last_day) + to - to.floor(), last_leap, strength)
            - self.since_new_year(f64::from(first_day) + from - from.floor(), first_leap, strength)
    }

    fn of_whole_year(&self, leap: bool, strength: f64) -> f64 {
        (0..12).map(|m| f64::from(before(m + 1, leap) - before(m, leap)) * self.factor(m, strength)).sum()
    }

    /// The moment at which so many operational days have passed since another: [`Season::between`] undone.
    pub fn after(&self, from: f64, operational: f64, strength: f64) -> f64 {
        if operational.is_nan() || operational <= 0.0 {
            return from;
        }
        if self.is_flat() || operational > STRETCH_DAYS_MAX {
            return from + operational;
        }
        let (mut year, of_year, mut leap) = year_day(from.floor() as i32);
        let mut month = month_of(of_year, leap);
        let mut at = from;
        let mut left = operational;
        let mut into = f64::from(of_year) + from - from.floor();
        // At most 12 months a year for the stretch, each of at least 28 · FACTOR_MIN operational days.
        loop {
            let days = f64::from(before(month + 1, leap)) - into;
            let worth = days * self.factor(month, strength);
            if worth >= left || at - from > STRETCH_DAYS_MAX {
                return at + left / self.factor(month, strength);
            }
            left -= worth;
            at += days;
            month += 1;
            into = f64::from(before(month, leap));
            if month == 12 {
                (year, month, into) = (year + 1, 0, 0.0);
                leap = is_leap(year);
            }
        }
    }
}

/// Days since 1970-01-01 of a calendar date; for tests and tables.
pub fn day_of(date: Date) -> f64 {
    let days = date.since(Date::constant(1970, 1, 1)).map(|span| span.get_days()).unwrap_or_default();
    f64::from(days)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn heating() -> Season {
        Season::balanced([2.6, 2.4, 1.6, 0.8, 0.3, 0.1, 0.05, 0.05, 0.2, 0.8, 1.4, 2.2])
    }

    #[test]
    fn months_are_those_of_the_calendar() {
        let mut date = Date::constant(1968, 1, 1);
        for _ in 0..30_000 {
            assert_eq!(month(day_of(date)), date.month() as usize - 1, "{date}");
            date = date.tomorrow().unwrap();
        }
    }

    #[test]
    fn the_clock_adds_up_day_by_day_and_turns_back() {
        let season = heating();
        let start = day_of(Date::constant(2019, 11, 3)) + 0.25;
        let mut sum = 0.0;
        for n in 0..1200 {
            let at = start + f64::from(n);
            assert!((season.between(start, at, 1.0) - sum).abs() < 1e-6, "{n}");
            assert!((season.after(start, sum, 1.0) - at).abs() < 1e-6, "{n}");
            sum += 0.75 * season.factor(month(at), 1.0) + 0.25 * season.factor(month(at + 0.75), 1.0);
        }
    }

    #[test]
    fn without_a_season_a_day_is_a_day() {
        assert_eq!(Season::default().between(100.0, 142.5, 1.0), 42.5);
        assert_eq!(Season::default().after(100.0, 42.5, 1.0), 142.5);
    }

    #[test]
    fn wild_arguments_give_a_moment_not_a_panic() {
        for from in [-1e9, 0.0, 1e9] {
            for days in [f64::NAN, f64::NEG_INFINITY, -5.0, 0.0, 1e12] {
                assert!(heating().after(from, days, 1.4) >= from);
                assert!(heating().between(from, days, 1.4) >= 0.0);
            }
        }
        assert_eq!(heating().between(0.0, f64::INFINITY, 1.0), f64::INFINITY);
    }
}
