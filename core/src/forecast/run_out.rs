//! The law of a run-out: when the next purchase comes, or when a slot is empty, and how sure that is.

use super::clock::Season;
use super::curve::Curve;
use super::gaps::NextGap;
use super::weekdays::Weekdays;
use super::{HORIZON_DAYS_MAX, Moment, Quantiles, normal};

/// The law of one run-out. It stands at the last evidence and borrows the product's prior; ask it any number of
/// times.
#[derive(Debug, Clone, Copy)]
pub struct RunOut<'p> {
    /// Days since 1970 of the evidence that it stands on.
    from: f64,
    /// The probability that is ruled out: it has not happened by some moment after `from`.
    ruled_out: f64,
    kind: Kind<'p>,
    curve: &'p Curve,
}

#[derive(Debug, Clone, Copy)]
enum Kind<'p> {
    /// A gap in operational days with a normal logarithm.
    Gap { mean: f64, deviation: f64, season: &'p Season, strength: f64 },
    /// A level that falls by a mean-reverting rate.
    Level { law: Fall, weekdays: Weekdays },
}

/// How a level falls from the last reading on: mean and variance of what is used by a time.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fall {
    /// What is left, in points.
    pub left: f64,
    /// The slot's usual rate, points a day.
    pub usual: f64,
    /// The present rate, points a day.
    pub rate: f64,
    /// How fast the present rate goes back to the usual, a day.
    pub reversion: f64,
    /// Variance of the use of a day, points² a day.
    pub daily: f64,
    /// Variance of the present rate.
    pub rate_variance: f64,
    /// Variance of the usual rate.
    pub usual_variance: f64,
    /// Variance of what is left.
    pub left_variance: f64,
}

/// The shortest time to an empty slot that is told, in days: half an hour.
const SOON_DAYS: f64 = 0.02;

/// A run-out later than so many times the mean is not told apart: the rate is within a tenth of the usual.
const FAR: f64 = 6.0;

/// Halvings of the search for a quantile: 26 leave eight seconds of the slowest slot.
const HALVINGS: usize = 26;

impl Fall {
    /// How far the mean is past empty after so many days, in standard deviations.
    fn z(&self, days: f64) -> f64 {
        let eased = (1.0 - normal::exp(-self.reversion * days)) / self.reversion;
        let mean = self.usual * days + (self.rate - self.usual) * eased - self.left;
        let variance = self.daily * days
            + self.rate_variance * eased * eased
            + self.usual_variance * days * days
            + self.left_variance;
        mean / variance.max(1e-9).sqrt()
    }

    /// The time at which the law ends.
    fn end(&self) -> f64 {
        FAR * self.left / self.rate.min(self.usual)
    }

    /// The greatest z whose [`Fall::days`] is not later: that search undone, step by step.
    ///
    /// Up to the mean it is [`Fall::z`]. Beyond it doubt about the usual rate can outgrow what is used, and z falls again;
    /// but what was empty by a day is empty by the next, so only the search tells one share for one day.
    fn z_by(&self, days: f64) -> f64 {
        let plain = self.z(days);
        if plain <= 0.0 {
            return plain;
        }
        let (mut low, mut high) = (SOON_DAYS, self.end());
        let (mut reached, mut most) = (0.0f64, f64::INFINITY);
        for _ in 0..HALVINGS {
            let middle = 0.5 * (low + high);
            if middle <= days {
                reached = reached.max(self.z(middle).min(most));
                low = middle;
            } else {
                most = most.min(self.z(middle));
                high = middle;
            }
        }
        reached
    }

    fn days(&self, z: f64) -> f64 {
        let (mut low, mut high) = (SOON_DAYS, self.end());
        for _ in 0..HALVINGS {
            let middle = 0.5 * (low + high);
            if self.z(middle) < z {
                low = middle;
            } else {
                high = middle;
            }
        }
        0.5 * (low + high)
    }
}

/// What is ruled out is never all: a slot that should long be empty may still be in use.
const RULED_OUT_MAX: f64 = 0.995;

impl<'p> RunOut<'p> {
    pub(super) fn gap(from: f64, next: &NextGap, curve: &'p Curve, season: &'p Season) -> RunOut<'p> {
        let NextGap { mean, deviation, strength } = *next;
        RunOut { from, ruled_out: 0.0, kind: Kind::Gap { mean, deviation, season, strength }, curve }
    }

    pub(super) fn level(from: f64, law: Fall, weekdays: Weekdays, curve: &'p Curve) -> RunOut<'p> {
        RunOut { from, ruled_out: 0.0, kind: Kind::Level { law, weekdays }, curve }
    }

    /// The same, knowing that it has not happened by a moment: nobody has bought yet, or the slot is seen not empty.
    /// A sensor that is silent tells no such thing.
    pub fn given_not_by(self, now: Moment) -> RunOut<'p> {
        let by_now = RunOut { ruled_out: 0.0, ..self }.probability_by(now.day);
        RunOut { ruled_out: by_now.min(RULED_OUT_MAX), ..self }
    }

    /// How far past the mean a day (since 1970) is, in standard deviations of the law; `None` for a day not after the
    /// evidence.
    pub fn z_at(&self, day: f64) -> Option<f64> {
        if day.is_nan() || day <= self.from {
            return None;
        }
        Some(match &self.kind {
            Kind::Gap { mean, deviation, season, strength } => {
                (normal::ln(season.between(self.from, day, *strength).max(1e-9)) - mean) / deviation
            }
            Kind::Level { law, weekdays } => law.z(weekdays.between(self.from, day).max(SOON_DAYS)),
        })
    }

    /// The probability that it has run out by a day (days since 1970).
    pub fn probability_by(&self, day: f64) -> f64 {
        let Some(z) = self.z_at(day) else { return 0.0 };
        let z = match &self.kind {
            Kind::Gap { .. } => z,
            Kind::Level { law, weekdays } => match weekdays.between(self.from, day).max(SOON_DAYS) {
                days if days >= law.end() => return 1.0,
                days => law.z_by(days),
            },
        };
        let share = self.curve.share(z);
        ((share - self.ruled_out) / (1.0 - self.ruled_out)).clamp(0.0, 1.0)
    }

    /// The day (since 1970) by which it has run out with a probability; between `now` and [`HORIZON_DAYS_MAX`] later.
    pub fn quantile(&self, p: f64, now: Moment) -> f64 {
        let p = if p.is_nan() { 0.5 } else { p.clamp(0.0, 1.0) };
        let z = self.curve.z(self.ruled_out + p * (1.0 - self.ruled_out));
        let day = match &self.kind {
            Kind::Gap { mean, deviation, season, strength } => {
                let days = normal::exp((mean + deviation * z).min(20.0));
                season.after(self.from, days, *strength)
            }
            Kind::Level { law, weekdays } => weekdays.after(self.from, law.days(z)),
        };
        day.clamp(now.day, now.day + HORIZON_DAYS_MAX)
    }

    /// The three usual quantiles.
    pub fn quantiles(&self, now: Moment) -> Quantiles {
        let [p10, p50, p90] = [0.1, 0.5, 0.9].map(|p| self.quantile(p, now));
        Quantiles { p10, p50, p90 }
    }
}
