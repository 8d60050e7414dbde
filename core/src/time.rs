//! Instants, spans and the household's local time. Nobody here asks what time it is.

use std::fmt;
use std::sync::Arc;

use jiff::civil;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use crate::shared::shared;

/// An instant: milliseconds since 1970-01-01T00:00:00Z.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Timestamp(pub i64);

/// A length of time in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Span(pub i64);

impl Span {
    /// No time.
    pub const ZERO: Span = Span(0);
    /// So many seconds.
    pub const fn seconds(n: i64) -> Span {
        Span(n * 1_000)
    }
    /// So many minutes.
    pub const fn minutes(n: i64) -> Span {
        Span(n * 60_000)
    }
    /// So many hours.
    pub const fn hours(n: i64) -> Span {
        Span(n * 3_600_000)
    }
    /// So many times 24 hours (elapsed time, not the calendar).
    pub const fn days(n: i64) -> Span {
        Span(n * 86_400_000)
    }
    /// Reads "30 min", "24h", "7d", "1 h 30 min": jiff's friendly form; days and weeks are
    /// 24 and 168 hours, months and years are refused because their length varies.
    pub fn parse(text: &str) -> Result<Span, String> {
        let span: jiff::Span =
            text.trim().parse().map_err(|_| format!("`{text}` is not a duration; write `30 min`, `24h` or `7d`"))?;
        if span.get_years() != 0 || span.get_months() != 0 {
            return Err(format!("`{text}` has months or years, whose length varies; write days, such as `30d`"));
        }
        let total = span
            .to_duration(jiff::SpanRelativeTo::days_are_24_hours())
            .ok()
            .and_then(|total| i64::try_from(total.as_millis()).ok())
            .ok_or_else(|| format!("`{text}` is too long a duration"))?;
        if !(0..=10 * 366 * 86_400_000).contains(&total) {
            return Err(format!("`{text}` is outside 0 to 10 years"));
        }
        Ok(Span(total))
    }
}

impl fmt::Display for Span {
    /// The shortest exact form: "2 h", "90 s", "1 d 2 h".
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.0.unsigned_abs();
        if self.0 < 0 {
            f.write_str("-")?;
        }
        if rest == 0 {
            return f.write_str("0 s");
        }
        let mut first = true;
        for (unit, length) in [("d", 86_400_000), ("h", 3_600_000), ("min", 60_000), ("s", 1_000), ("ms", 1)] {
            let n = rest / length;
            rest %= length;
            if n > 0 {
                write!(f, "{}{n} {unit}", if first { "" } else { " " })?;
                first = false;
            }
        }
        Ok(())
    }
}

impl std::ops::Add<Span> for Timestamp {
    type Output = Timestamp;
    fn add(self, span: Span) -> Timestamp {
        Timestamp(self.0.saturating_add(span.0))
    }
}
impl std::ops::Sub<Span> for Timestamp {
    type Output = Timestamp;
    fn sub(self, span: Span) -> Timestamp {
        Timestamp(self.0.saturating_sub(span.0))
    }
}
impl std::ops::Sub for Timestamp {
    type Output = Span;
    fn sub(self, other: Timestamp) -> Span {
        Span(self.0.saturating_sub(other.0))
    }
}

impl Timestamp {
    /// Reads RFC 3339.
    pub fn parse_rfc3339(text: &str) -> Option<Timestamp> {
        text.parse::<jiff::Timestamp>().ok().map(|t| Timestamp(t.as_millisecond()))
    }
    /// The instant for the calendar library, clamped to the years it knows.
    fn jiff(self) -> jiff::Timestamp {
        jiff::Timestamp::from_millisecond(self.0).unwrap_or(if self.0 < 0 {
            jiff::Timestamp::MIN
        } else {
            jiff::Timestamp::MAX
        })
    }
}

impl fmt::Display for Timestamp {
    /// RFC 3339 in UTC, with milliseconds only where there are some.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.jiff())
    }
}

/// A time zone by its IANA name, such as `Europe/Paris`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Zone(Arc<str>);

impl Zone {
    /// Takes a name that the bundled zone database knows.
    pub fn new(name: impl AsRef<str>) -> Result<Zone, String> {
        let name = name.as_ref();
        if name.len() <= 64 && TimeZone::get(name).is_ok() {
            return Ok(Zone(shared(name)));
        }
        let shown: String = name.chars().take(80).collect();
        Err(format!("`{shown}` is not an IANA time zone; write one such as `Europe/Paris`"))
    }
    /// The IANA name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
    fn tz(&self) -> TimeZone {
        TimeZone::get(&self.0).unwrap_or(TimeZone::UTC)
    }
    /// Universal time, for what has no home.
    pub fn utc() -> Zone {
        Zone(shared("UTC"))
    }
    /// Local calendar time at an instant.
    pub fn local(&self, at: Timestamp) -> civil::DateTime {
        self.tz().to_datetime(at.jiff())
    }
    /// What the wall clock shows at an instant, in whole hours since the first of 1970.
    pub fn wall_clock_hours(&self, at: Timestamp) -> i64 {
        self.local(at).duration_since(civil::date(1970, 1, 1).at(0, 0, 0, 0)).as_hours()
    }
    /// The last instant of a local date.
    pub fn end_of(&self, date: civil::Date) -> Timestamp {
        let next = date.tomorrow().unwrap_or(date);
        let midnight = self.tz().to_ambiguous_zoned(next.to_datetime(civil::Time::midnight())).compatible();
        midnight.map_or(Timestamp(i64::MAX), |midnight| Timestamp(midnight.timestamp().as_millisecond() - 1))
    }
    /// The instant at which the local day of another begins.
    pub fn day_begins(&self, at: Timestamp) -> Timestamp {
        // No day has more than 26 hours: the search begins before yesterday's end at the latest.
        let midnight = civil::Time::midnight();
        let mut begins = self.next(at - Span::hours(26), midnight);
        loop {
            let next = self.next(begins, midnight);
            if next > at || next <= begins {
                return begins;
            }
            begins = next;
        }
    }
    /// The first instant, strictly after `after`, at which the local clock shows `time`.
    /// A time that a clock change skips is taken as the instant of the change.
    pub fn next(&self, after: Timestamp, time: civil::Time) -> Timestamp {
        let tz = self.tz();
        let mut date = self.local(after).date();
        for _ in 0..4 {
            if let Ok(zoned) = tz.to_ambiguous_zoned(date.to_datetime(time)).compatible() {
                let at = Timestamp(zoned.timestamp().as_millisecond());
                if at > after {
                    return at;
                }
            }
            date = date.tomorrow().unwrap_or(date);
        }
        after + Span::days(1)
    }
}

impl Serialize for Zone {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&self.0)
    }
}
impl<'de> Deserialize<'de> for Zone {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Zone::new(crate::shared::deserialize(from)?).map_err(serde::de::Error::custom)
    }
}
impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A daily window of local time that may cross midnight; `from` is inside, `to` is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct DailyWindow {
    /// First minute of the day inside, 0..1440.
    pub from_minute: u16,
    /// First minute of the day outside, 0..1440.
    pub to_minute: u16,
}

impl DailyWindow {
    /// Reads two times such as "21:00" and "08:00".
    pub fn parse(from: &str, to: &str) -> Result<DailyWindow, String> {
        let minute = |text: &str| -> Result<u16, String> {
            let bad = || format!("`{text}` is not a time of day; write it as `21:00`");
            let (h, m) = text.split_once(':').ok_or_else(bad)?;
            let h: u16 = h.parse().map_err(|_| bad())?;
            let m: u16 = m.parse().map_err(|_| bad())?;
            if h > 23 || m > 59 { Err(bad()) } else { Ok(h * 60 + m) }
        };
        Ok(DailyWindow { from_minute: minute(from)?, to_minute: minute(to)? })
    }
    /// Whether a local time lies inside. Equal ends mean an empty window.
    pub fn contains(&self, local: civil::DateTime) -> bool {
        let minute = local.hour() as u16 * 60 + local.minute() as u16;
        if self.from_minute <= self.to_minute {
            (self.from_minute..self.to_minute).contains(&minute)
        } else {
            minute >= self.from_minute || minute < self.to_minute
        }
    }
    /// The instant at which the window that `now` lies in ends.
    pub fn end(&self, zone: &Zone, now: Timestamp) -> Timestamp {
        zone.next(now, civil::time((self.to_minute / 60) as i8, (self.to_minute % 60) as i8, 0, 0))
    }
}

impl fmt::Display for DailyWindow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (a, b) = (self.from_minute, self.to_minute);
        write!(f, "{:02}:{:02}–{:02}:{:02}", a / 60, a % 60, b / 60, b % 60)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn at(text: &str) -> Timestamp {
        Timestamp::parse_rfc3339(text).unwrap()
    }

    #[test]
    fn durations_are_written_one_way_everywhere() {
        assert_eq!(Span::parse("30 min"), Ok(Span::minutes(30)));
        assert_eq!(Span::parse("24h"), Ok(Span::hours(24)));
        assert_eq!(Span::parse("7d"), Ok(Span::days(7)));
        assert_eq!(Span::parse("0 s"), Ok(Span::ZERO));
        assert!(Span::parse("2 months").is_err());
        assert!(Span::parse("soon").is_err());
        assert_eq!(Span::hours(26).to_string(), "1 d 2 h");
    }

    #[test]
    fn quiet_hours_hold_on_both_nights_of_a_clock_change() {
        let zone = Zone::new("Europe/Paris").unwrap();
        let quiet = DailyWindow::parse("21:00", "08:00").unwrap();
        // Spring: 2026-03-29 has no 02:00–03:00; autumn: 2026-10-25 has it twice.
        for (inside, end) in [
            ("2026-03-28T23:30:00+01:00", "2026-03-29T08:00:00+02:00"),
            ("2026-03-29T07:59:00+02:00", "2026-03-29T08:00:00+02:00"),
            ("2026-10-25T02:30:00+02:00", "2026-10-25T08:00:00+01:00"),
            ("2026-10-25T02:30:00+01:00", "2026-10-25T08:00:00+01:00"),
        ] {
            assert!(quiet.contains(zone.local(at(inside))), "{inside}");
            assert_eq!(quiet.end(&zone, at(inside)), at(end), "{inside}");
        }
        assert!(!quiet.contains(zone.local(at("2026-03-29T08:00:00+02:00"))));
    }

    #[test]
    fn a_time_that_the_clock_change_skips_is_the_change_itself() {
        let zone = Zone::new("Europe/Paris").unwrap();
        let next = zone.next(at("2026-03-29T00:00:00+01:00"), civil::time(2, 30, 0, 0));
        assert_eq!(zone.local(next).date(), civil::date(2026, 3, 29));
    }

    #[test]
    fn an_unknown_zone_is_refused() {
        assert!(Zone::new("Europe/Pariss").is_err());
    }
}
