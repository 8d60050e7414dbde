//! Days and months of reports.

use std::fmt;

use jiff::civil::{self, Date};
use serde::{Deserialize, Serialize};

use crate::time::{Timestamp, Zone};

/// A calendar day in the retailer's zone: days since 1970-01-01.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Day(pub i32);

/// Seconds of a day of the calendar, which knows no clock changes.
const DAY_SECONDS: i64 = 86_400;

impl Day {
    /// The day that an instant lies in.
    pub fn of(at: Timestamp, zone: &Zone) -> Day {
        Day::of_date(zone.local(at).date())
    }
    fn of_date(date: Date) -> Day {
        let days = date.duration_since(civil::date(1970, 1, 1)).as_secs() / DAY_SECONDS;
        Day(i32::try_from(days).unwrap_or_default())
    }
    /// Reads `2026-11-10`.
    pub fn parse(text: &str) -> Option<Day> {
        text.parse::<Date>().ok().filter(|date| date.to_string() == text).map(Day::of_date)
    }
    /// The day after.
    pub fn next(self) -> Day {
        Day(self.0.saturating_add(1))
    }
    fn date(self) -> Option<Date> {
        civil::date(1970, 1, 1).checked_add(jiff::Span::new().try_days(self.0).ok()?).ok()
    }
    /// The month before the one that the day lies in: what happened on a day stands in a ledger of
    /// universal time, which may be the month before where the zone is ahead of it.
    pub fn month_before(self) -> Month {
        self.date().map_or(Month(0), |date| Month(Month::of_date(date).0.saturating_sub(1)))
    }
}

impl fmt::Display for Day {
    /// As `2026-11-10`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.date() {
            Some(date) => write!(f, "{date}"),
            None => write!(f, "day {}", self.0),
        }
    }
}

/// A month of universal time: months since the year 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Month(pub u32);

impl Month {
    /// The month that an instant lies in.
    pub fn of(at: Timestamp) -> Month {
        Month::of_date(Zone::utc().local(at).date())
    }
    fn of_date(date: Date) -> Month {
        let (year, month) = (u32::try_from(date.year()).unwrap_or(0), u32::try_from(date.month()).unwrap_or(1));
        Month(year * 12 + month - 1)
    }
}

/// Days from one, up to and without another. Open where nothing is said.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Period {
    /// The first day of it.
    pub from: Option<Day>,
    /// The first day after it.
    pub until: Option<Day>,
}

impl Period {
    /// Whether a day lies in it.
    pub fn contains(&self, day: Day) -> bool {
        self.from.is_none_or(|from| from <= day) && self.until.is_none_or(|until| day < until)
    }
    /// Whether a ledger of this month may hold something of it, or of what came of it later.
    pub fn reaches(&self, month: Month) -> bool {
        self.from.is_none_or(|from| from.month_before() <= month)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_day_is_the_retailers_own() {
        let at = Timestamp::parse_rfc3339("2026-11-09T23:30:00Z").unwrap();
        assert_eq!(Day::of(at, &Zone::new("Europe/Paris").unwrap()).to_string(), "2026-11-10");
        assert_eq!(Day::of(at, &Zone::utc()).to_string(), "2026-11-09");
    }

    #[test]
    fn days_are_read_as_they_are_written_and_in_no_other_way() {
        for text in ["2026-11-10", "1969-12-31", "2024-02-29"] {
            assert_eq!(Day::parse(text).unwrap().to_string(), text);
        }
        for wrong in ["2026-02-29", "20261110", "2026-11-10T00:00:00Z", "today", ""] {
            assert_eq!(Day::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_period_reaches_the_month_of_universal_time_before_its_first_day() {
        let first = Day::parse("2026-12-01").unwrap();
        let period = Period { from: Some(first), until: None };
        let at = |text: &str| Month::of(Timestamp::parse_rfc3339(text).unwrap());
        assert!(period.reaches(at("2026-11-30T23:30:00Z")), "it is December in Paris");
        assert!(period.reaches(at("2027-03-01T00:00:00Z")), "what came of it later");
        assert!(!period.reaches(at("2026-10-31T00:00:00Z")));
    }
}
