//! At which hours of the day the people of a home use a device.

use serde::{Deserialize, Serialize};

use crate::time::{Span, Timestamp, Zone};

/// Fewer hours of use make no habit.
pub const HABIT_USES_MIN: u32 = 12;
/// What was counted halves after so many local days: a home that changes its ways is followed within weeks.
const HALVED_AFTER_DAYS: i64 = 28;
/// A device that nobody has used for so long has no habit any more.
const HABIT_ENDS_AFTER: Span = Span::days(60);

/// Uses of a device by local hour of the day, the old ones fading.
///
/// A use is what a person does: something that the device reports as an event, or an answer given on
/// it. One hour of one day counts once, however often a button was pressed in it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Habit {
    /// Uses by local hour, from midnight on.
    hours: [u16; 24],
    /// The last hour that counted, in local hours since 1970.
    last: i64,
    /// The first day that counts, in local days since 1970.
    since: i64,
    /// When the counts were last halved, in local days since 1970.
    halved: i64,
    /// When it was last used.
    used_at: Timestamp,
}

impl Habit {
    /// The habit with one more use; none where this hour counted before, or a later one.
    pub fn with(&self, at: Timestamp, zone: &Zone) -> Option<Habit> {
        let hour = zone.wall_clock_hours(at);
        if hour <= self.last {
            return None;
        }
        let (day, mut next) = (hour.div_euclid(24), self.clone());
        if next.uses() == 0 {
            (next.since, next.halved) = (day, day);
        }
        let halvings = (day - next.halved).max(0) / HALVED_AFTER_DAYS;
        if halvings > 0 {
            next.hours = next.hours.map(|uses| uses.checked_shr(halvings.min(16) as u32).unwrap_or(0));
            next.halved += halvings * HALVED_AFTER_DAYS;
        }
        let uses = &mut next.hours[hour.rem_euclid(24) as usize];
        *uses = uses.saturating_add(1);
        (next.last, next.used_at) = (hour, at);
        Some(next)
    }

    /// Uses by local hour, from midnight on.
    pub fn hours(&self) -> &[u16; 24] {
        &self.hours
    }

    /// How many uses there are in all.
    pub fn uses(&self) -> u32 {
        self.hours.iter().map(|uses| u32::from(*uses)).sum()
    }

    /// When the device was last used.
    pub fn used_at(&self) -> Timestamp {
        self.used_at
    }

    /// Whether it says something at an instant: there were uses enough, and not too long ago.
    pub fn is_known(&self, now: Timestamp) -> bool {
        self.uses() >= HABIT_USES_MIN && now - self.used_at < HABIT_ENDS_AFTER
    }

    /// In how many hours of a day it is used, the last weeks counting most. None where nothing is known.
    pub fn uses_per_day(&self, now: Timestamp) -> Option<f64> {
        let today = self.last.div_euclid(24) + (now - self.used_at).0.max(0) / Span::days(1).0;
        let halvings = ((self.halved - self.since) / HALVED_AFTER_DAYS).clamp(0, 16) as i32;
        // What was counted before each halving weighs half as many days.
        let faded = HALVED_AFTER_DAYS as f64 * (1.0 - 0.5f64.powi(halvings));
        let days = (today - self.halved + 1).max(1) as f64 + faded;
        self.is_known(now).then(|| f64::from(self.uses()) / days)
    }

    /// The hour at which the device is used most, looked at with its neighbours; the earliest of equals. None where
    /// nothing is known.
    pub fn usual_hour(&self, now: Timestamp) -> Option<u8> {
        let most = (0..24u8).max_by_key(|hour| (self.weight(*hour), std::cmp::Reverse(*hour)));
        most.filter(|_| self.is_known(now))
    }

    /// Whether an hour of the day is one of the habitual ones: used at least half as much as the most used. None
    /// where nothing is known. A device that is used around the clock has 24 of them.
    pub fn is_habitual(&self, hour: u8, now: Timestamp) -> Option<bool> {
        let most = (0..24).map(|hour| self.weight(hour)).max()?;
        self.is_known(now).then(|| 2 * self.weight(hour % 24) >= most)
    }

    /// An hour's uses, with half of its neighbours': who comes home at six today comes at seven tomorrow.
    fn weight(&self, hour: u8) -> u32 {
        let uses = |hour: u8| u32::from(self.hours[usize::from(hour % 24)]);
        uses(hour + 23) + 2 * uses(hour) + uses(hour + 1)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn paris() -> Zone {
        Zone::new("Europe/Paris").unwrap()
    }

    /// Used every day at these hours of the winter in Paris, from a midnight on.
    fn used(days: i64, hours: &[i64]) -> (Habit, Timestamp) {
        let midnight = Timestamp::parse_rfc3339("2026-01-04T23:00:00Z").unwrap();
        let mut habit = Habit::default();
        let mut last = midnight;
        for day in 0..days {
            for hour in hours {
                last = midnight + Span::hours(24 * day + hour) + Span::minutes(10);
                habit = habit.with(last, &paris()).unwrap();
            }
        }
        (habit, last)
    }

    #[test]
    fn the_hours_of_use_are_local() {
        let (habit, now) = used(10, &[7, 19]);
        assert_eq!((habit.hours()[7], habit.hours()[19], habit.uses()), (10, 10, 20));
        assert_eq!(habit.usual_hour(now), Some(7), "the earliest of equals");
        assert_eq!(habit.is_habitual(19, now), Some(true));
        assert_eq!(habit.is_habitual(20, now), Some(true), "beside it");
        assert_eq!(habit.is_habitual(13, now), Some(false));
    }

    #[test]
    fn an_hour_counts_once_and_what_comes_late_not_at_all() {
        let (habit, last) = used(1, &[7, 19]);
        assert_eq!(habit.with(last + Span::minutes(20), &paris()), None);
        assert_eq!(habit.with(last - Span::hours(3), &paris()), None);
    }

    #[test]
    fn a_few_uses_are_no_habit_and_a_device_that_nobody_uses_has_none_any_more() {
        let (few, now) = used(5, &[7, 19]);
        assert_eq!((few.usual_hour(now), few.is_habitual(7, now)), (None, None));
        let (habit, now) = used(10, &[7, 19]);
        assert!(habit.is_known(now));
        assert!(!habit.is_known(now + Span::days(61)));
    }

    #[test]
    fn a_home_that_changes_its_ways_is_followed() {
        let (mut habit, mut now) = used(60, &[7]);
        for _ in 0..60 {
            now = now + Span::days(1);
            habit = habit.with(now + Span::hours(13), &paris()).unwrap();
        }
        now = now + Span::hours(13);
        // Half of these days have summer time.
        assert!(matches!(habit.usual_hour(now), Some(20 | 21)), "{habit:?}");
        assert_eq!(habit.is_habitual(7, now), Some(false));
        assert!(habit.uses() < 80, "what was is forgotten: {habit:?}");
        let per_day = habit.uses_per_day(now).unwrap();
        assert!((0.9..1.1).contains(&per_day), "once a day through all of it: {per_day}");
    }

    #[test]
    fn who_is_used_around_the_clock_has_no_better_hour() {
        let (habit, now) = used(3, &(0..24).collect::<Vec<_>>());
        assert!((0..24).all(|hour| habit.is_habitual(hour, now) == Some(true)));
    }

    #[test]
    fn after_a_silence_of_years_nothing_overflows() {
        let (habit, now) = used(10, &[7]);
        let later = habit.with(now + Span::days(4_000), &paris()).unwrap();
        assert_eq!(later.uses(), 1);
    }
}
