//! How fast a field rises or falls over a stretch of time: the slope of the straight line through its
//! readings, by least squares.
//!
//! The stretch stands in quarters, and of each quarter the readings' number, mean and spread: so what
//! is kept does not grow with the readings, what lies behind the stretch goes whole, and the slope is
//! that of least squares over *all* readings of the last 1 to 1¼ stretches, neither less nor
//! estimated. An exponentially weighted slope would take fewer numbers, never forget, and need
//! `exp`, which machines round differently: a replay elsewhere would decide something else.

use std::cmp::Ordering;

use serde::{Deserialize, Serialize};

use crate::id::{DeviceKey, FieldName};
use crate::time::{Span, Timestamp};

/// Quarters of the stretch, beside the one that is being filled.
const QUARTERS: i64 = 4;
/// Fewer readings say nothing about a trend: two make a line of any noise.
pub const TREND_READINGS_MIN: u32 = 3;
/// Milliseconds in an hour: slopes are per hour.
const HOUR_MS: f64 = 3_600_000.0;

/// Which trend of a household: of a field of a device, over a stretch of time.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct TrendKey {
    /// The device.
    pub device: DeviceKey,
    /// The field.
    pub field: FieldName,
    /// The stretch.
    pub over: Span,
}

/// One reading on its way into a trend.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct TrendReading {
    /// In the field's unit.
    pub value: f64,
    /// When it was so.
    pub at: Timestamp,
    /// A silence longer than this breaks the trend: it begins anew.
    pub silence_max: Span,
}

/// The trend of a field over a stretch of time.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Trend {
    /// Quarters with readings, oldest first.
    quarters: Vec<Quarter>,
    /// The slope when it was last known, in the field's unit per hour, with its time.
    known: Option<(Timestamp, f64)>,
    /// The last reading's time.
    last: Timestamp,
    /// Until when the last reading could be believed.
    fresh_until: Timestamp,
}

/// The readings of a quarter: how many, their mean, and how they spread around it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Quarter {
    number: i64,
    first: Timestamp,
    readings: u32,
    /// Means: hours since the quarter began, and the value.
    t: f64,
    x: f64,
    /// Sums of (t − mean)² and of (t − mean)·(x − mean).
    tt: f64,
    tx: f64,
}

impl Trend {
    /// Takes a newer reading in. One from before the last comes after a clock that went back, and begins
    /// it anew.
    pub fn take(&mut self, over: Span, reading: TrendReading) {
        let quarter_ms = (over.0 / QUARTERS).max(1);
        let TrendReading { value, at, silence_max } = reading;
        if at < self.last || at > self.fresh_until {
            self.quarters.clear();
        }
        let number = at.0.div_euclid(quarter_ms);
        self.quarters.retain(|quarter| quarter.number >= number - QUARTERS);
        let t = at.0.rem_euclid(quarter_ms) as f64 / HOUR_MS;
        match self.quarters.last_mut().filter(|quarter| quarter.number == number) {
            Some(quarter) => quarter.add(t, value),
            None => {
                self.quarters.push(Quarter { number, first: at, readings: 1, t, x: value, tt: 0.0, tx: 0.0 });
            }
        }
        self.last = at;
        self.fresh_until = at + Span(silence_max.0.min(over.0));
        if let Some(slope) = self.slope(over, quarter_ms as f64 / HOUR_MS) {
            self.known = Some((at, slope));
        }
    }

    /// The slope as it was last known, with the time of its last reading, however long ago.
    pub fn last_known(&self) -> Option<(Timestamp, f64)> {
        self.known
    }
    /// The slope with the last reading, in the field's unit per hour; none after too few readings or a
    /// silence: then the trend is unknown.
    pub fn current(&self) -> Option<f64> {
        self.known.filter(|(at, _)| *at == self.last).map(|(_, slope)| slope)
    }
    /// Until when the last reading can be believed, and the trend with it.
    pub fn fresh_until(&self) -> Timestamp {
        self.fresh_until
    }

    /// Least squares over all quarters, where there are enough readings and they spread over half of
    /// the stretch at least.
    fn slope(&self, over: Span, quarter_hours: f64) -> Option<f64> {
        let (first, rest) = self.quarters.split_first()?;
        if self.last - first.first < Span(over.0 / 2) {
            return None;
        }
        let mut all = *first;
        for quarter in rest {
            all.join(quarter, (quarter.number - first.number) as f64 * quarter_hours);
        }
        let is_known = all.readings >= TREND_READINGS_MIN && all.tt.partial_cmp(&0.0) == Some(Ordering::Greater);
        is_known.then(|| all.tx / all.tt).filter(|slope| slope.is_finite())
    }
}

impl Quarter {
    fn add(&mut self, t: f64, x: f64) {
        self.readings = self.readings.saturating_add(1);
        let n = f64::from(self.readings);
        let (dt, dx) = (t - self.t, x - self.x);
        self.t += dt / n;
        self.x += dx / n;
        self.tt += dt * (t - self.t);
        self.tx += dt * (x - self.x);
    }
    /// Adds the readings of a quarter that began so many hours later.
    fn join(&mut self, other: &Quarter, hours_later: f64) {
        let (n, m) = (f64::from(self.readings), f64::from(other.readings));
        let (dt, dx) = (other.t + hours_later - self.t, other.x - self.x);
        let share = m / (n + m);
        self.t += dt * share;
        self.x += dx * share;
        self.tt += other.tt + dt * dt * n * share;
        self.tx += other.tx + dt * dx * n * share;
        self.readings = self.readings.saturating_add(other.readings);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    const OVER: Span = Span::hours(2);

    fn taken(readings: &[(i64, f64)], silence_max: Span) -> Trend {
        let mut trend = Trend::default();
        for (minute, value) in readings {
            let at = Timestamp(0) + Span::minutes(*minute);
            trend.take(OVER, TrendReading { value: *value, at, silence_max });
        }
        trend
    }
    /// The definition: least squares over these readings, two passes, per hour.
    fn least_squares(readings: &[(i64, f64)]) -> f64 {
        let n = readings.len() as f64;
        let hours = |minute: i64| minute as f64 / 60.0;
        let t = readings.iter().map(|(minute, _)| hours(*minute)).sum::<f64>() / n;
        let x = readings.iter().map(|(_, value)| *value).sum::<f64>() / n;
        let tt: f64 = readings.iter().map(|(minute, _)| (hours(*minute) - t).powi(2)).sum();
        let tx: f64 = readings.iter().map(|(minute, value)| (hours(*minute) - t) * (value - x)).sum();
        tx / tt
    }

    #[test]
    fn a_straight_line_has_its_slope() {
        let line: Vec<_> = (0..60).map(|n| (n * 5, 20.0 - n as f64 * 5.0 / 60.0)).collect();
        let slope = taken(&line, Span::hours(1)).current().unwrap();
        assert!((slope + 1.0).abs() < 1e-9, "{slope}");
    }

    #[test]
    fn a_trend_is_unknown_before_three_readings_over_half_of_its_time() {
        assert_eq!(taken(&[(0, 20.0), (119, 19.0)], OVER).current(), None, "two readings");
        assert_eq!(taken(&[(0, 20.0), (30, 19.0), (59, 18.0)], OVER).current(), None, "59 minutes of two hours");
        assert!(taken(&[(0, 20.0), (30, 19.0), (60, 18.0)], OVER).current().is_some());
    }

    #[test]
    fn a_silence_begins_it_anew_and_leaves_what_was_last_known() {
        let mut readings = vec![(0, 20.0), (30, 19.0), (60, 18.0)];
        let before = taken(&readings, Span::minutes(30)).current().unwrap();
        readings.push((91, 17.0));
        let after = taken(&readings, Span::minutes(30));
        assert_eq!(after.current(), None);
        assert_eq!(after.last_known().unwrap().1, before);
        readings.extend([(120, 17.0), (150, 17.0), (151, 17.0)]);
        let again = taken(&readings, Span::minutes(30)).current().unwrap();
        assert_eq!(again, 0.0, "nothing from before the silence is in it");
    }

    #[test]
    fn what_is_kept_does_not_grow_with_the_readings() {
        let many: Vec<_> = (0..3_000).map(|n| (n, (n % 7) as f64)).collect();
        let trend = taken(&many, OVER);
        assert!(trend.quarters.len() <= QUARTERS as usize + 1);
        assert!(postcard::to_allocvec(&trend).unwrap().len() < 300);
    }

    proptest! {
        /// What the module promises: the slope is that of least squares over all readings of the last
        /// 1 to 1¼ stretches, so its only error is which of a quarter's readings are still in it.
        #[test]
        fn it_is_least_squares_over_the_last_stretch_to_a_stretch_and_a_quarter(
            steps in prop::collection::vec((1..20i64, -50.0..50.0f64), 20..120), begin in 0..9_000_000i64,
        ) {
            let mut at = begin;
            let readings: Vec<(i64, f64)> = steps.into_iter().map(|(step, value)| { at += step; (at, value) }).collect();
            let trend = taken(&readings, Span::hours(1));
            let within = |minutes: i64| readings.iter().filter(|(t, _)| at - t <= minutes).copied().collect::<Vec<_>>();
            // Some beginning between 120 and 150 minutes ago gives exactly this slope.
            let slopes: Vec<f64> = (120..=150).map(within).filter(|some| some.len() > 2).map(|some| least_squares(&some)).collect();
            if let Some(slope) = trend.current() {
                prop_assert!(slopes.iter().any(|exact| (slope - exact).abs() <= 1e-6 * (1.0 + exact.abs())), "{slope} not in {slopes:?}");
            } else {
                prop_assert!(readings.len() < 3 || at - readings[0].0 < 60);
            }
        }
    }
}
