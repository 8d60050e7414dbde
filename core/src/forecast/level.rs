//! Readings of what is left in a slot: the level and its rate, filtered; refills and faults of the sensor told apart.
//!
//! The rate reverts to the slot's own mean, and that mean starts from the product's: an absence of a week then moves
//! the date by a week, not by a year. A reading far from the expected is held until the next one agrees or does not.

use serde::{Deserialize, Serialize};

use super::prior::LevelPrior;
use super::run_out::{Fall, RunOut};
use super::verdict::{Verdict, Wrong};
use super::weekdays::Weekdays;
use super::{Moment, normal};

/// A level is in points: percent of a full slot. So much above 100 or below 0 is still noise of a sensor.
const NOISE_POINTS_MAX: f64 = 10.0;

/// A rate is never less, in points a day: a slot that lasts fourteen years.
const RATE_MIN: f64 = 0.02;

/// A slot's usual rate is at least this share of the product's: below it, the slot is not in use.
const USUAL_MIN: f64 = 0.05;

/// A jump is at least so many points; less is noise or a top-up.
const JUMP_POINTS_MIN: f64 = 8.0;

/// A jump is at least so many standard deviations.
const JUMP_DEVIATIONS: f64 = 4.5;

/// A rise of so many standard deviations that is no jump is a top-up.
const TOP_UP_DEVIATIONS: f64 = 3.0;

/// A refill to at least so many points is a full one.
const FULL_POINTS: f64 = 90.0;

/// Both levels below this are empty, whatever the difference.
const EMPTY_POINTS: f64 = 4.0;

/// The same value for at least so many days, while the usual use would have taken [`STUCK_POINTS`]: stuck.
const STUCK_DAYS: f64 = 21.0;
const STUCK_POINTS: f64 = 25.0;

/// A gap between readings beyond this tells nothing of the days in it, and is a wild clock more often than a silence.
const SILENCE_DAYS_MAX: f64 = 1_000.0;

/// When a held reading came is known to half a minute.
const HELD_DAYS_EXACT: f64 = 0.000_4;

/// Readings a day apart, give or take, teach what a weekday is worth.
const DAY_APART: std::ops::Range<f64> = 0.8..1.2;

/// What one slot's readings have told: at most 160 bytes. Levels and rates are in points.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct LevelState {
    /// The last reading that was taken, days since 1970.
    at: f64,
    /// Absence at that reading.
    away: f32,
    level: f32,
    rate: f32,
    level_variance: f32,
    shared_variance: f32,
    rate_variance: f32,
    /// Use and days that the slot's own mean was learned from, the old ones faded.
    used: f32,
    days: f32,
    diffusion: f32,
    diffusion_weight: f32,
    /// The smallest step seen between readings: how coarse the sensor is.
    step: f32,
    /// The newest reading, held or not, and the newest that was taken.
    last: f32,
    taken: f32,
    /// Days for which the readings have not changed.
    same_days: f32,
    /// The reading that waits, and how many days after `at` it came.
    held: f32,
    held_after: f32,
    /// Where the present stretch for learning the diffusion began.
    stretch_level: f32,
    stretch_days: f32,
    stretch_worth: f32,
    weekdays: Weekdays,
    refills: u8,
    /// A counter has no noise to speak of.
    exact: bool,
    known: bool,
    waits: bool,
    stretches: bool,
    follows: bool,
}

/// The noise of a reading, in points².
const NOISE_COUNTER: f64 = 0.01;
const NOISE_FINE: f64 = 1.2;
const NOISE_COARSE: f64 = 9.0;
/// Steps below this are those of a fine sensor.
const STEP_FINE: f64 = 2.5;
/// No sensor is coarser.
const COARSEST_POINTS: f64 = 10.0;
/// Less than this share of the usual use is a quiet day.
const QUIET_SHARE: f64 = 0.3;
/// No step was seen yet.
const STEP_UNKNOWN: f32 = 99.0;

impl LevelState {
    /// Before the first reading of a sensor.
    pub fn new(prior: &LevelPrior) -> LevelState {
        let spread = 0.8 * prior.rate;
        LevelState {
            at: 0.0,
            away: 0.0,
            level: 0.0,
            rate: prior.rate,
            level_variance: 9.0,
            shared_variance: 0.0,
            rate_variance: spread * spread,
            used: 0.0,
            days: 0.0,
            diffusion: prior.diffusion,
            diffusion_weight: 6.0,
            step: STEP_UNKNOWN,
            last: 0.0,
            taken: 0.0,
            same_days: 0.0,
            held: 0.0,
            held_after: 0.0,
            stretch_level: 0.0,
            stretch_days: 0.0,
            stretch_worth: 0.0,
            weekdays: Weekdays::default(),
            refills: 0,
            exact: false,
            known: false,
            waits: false,
            stretches: false,
            follows: false,
        }
    }

    /// Before the first reading of a counter.
    pub(super) fn exact(prior: &LevelPrior) -> LevelState {
        LevelState { exact: true, ..LevelState::new(prior) }
    }

    /// What is left as far as is known, in points, and the moment of that knowledge in days since 1970.
    pub fn level(&self) -> Option<(f64, f64)> {
        self.known.then(|| (f64::from(self.level), self.at))
    }

    /// The newest moment of a reading that was taken or is held, in days since 1970.
    pub(super) fn newest(&self) -> Option<f64> {
        let held = if self.waits { f64::from(self.held_after) } else { 0.0 };
        self.known.then_some(self.at + held)
    }

    /// How many refills were seen, 255 at most.
    pub fn refills(&self) -> u8 {
        self.refills
    }

    /// The slot's usual use, points a day.
    pub fn usual_rate(&self, prior: &LevelPrior) -> f64 {
        let days = f64::from(prior.rate_days);
        ((f64::from(prior.rate) * days + f64::from(self.used)) / (days + f64::from(self.days)))
            .max(USUAL_MIN * f64::from(prior.rate))
            .max(RATE_MIN)
    }

    /// How many times a day the slot is used, as far as the sensor could show it: what a day without use weighs
    /// (see [`super::Absence::quiet`]).
    pub fn uses_a_day(&self, prior: &LevelPrior) -> f64 {
        let shown = self.usual_rate(prior) / f64::from(self.step).clamp(1.0, COARSEST_POINTS).max(self.told_points());
        (1.0 / f64::from(self.diffusion).max(DIFFUSION_MIN)).min(shown)
    }

    /// What the sensor's noise alone does not show, in points.
    fn told_points(&self) -> f64 {
        2.0 * self.noise().sqrt()
    }

    /// Whether a verdict on a reading, so many days after the one before, tells of use, of none, or of neither.
    pub fn tells_use(&self, prior: &LevelPrior, verdict: &Verdict, days: f64) -> Option<bool> {
        match verdict {
            Verdict::Used { points } | Verdict::SpikeDropped { points } => {
                let points = f64::from(*points);
                match QUIET_SHARE * self.usual_rate(prior) * days {
                    quiet if points <= quiet => Some(false),
                    _ if points > self.told_points() => Some(true),
                    _ => None,
                }
            }
            Verdict::Refill { .. } | Verdict::PartialRefill { .. } | Verdict::Replaced | Verdict::TopUp { .. } => {
                Some(true)
            }
            _ => None,
        }
    }

    fn noise(&self) -> f64 {
        match self.exact {
            true => NOISE_COUNTER,
            false if f64::from(self.step) < STEP_FINE => NOISE_FINE,
            false => NOISE_COARSE,
        }
    }

    /// Takes a reading in points: percent of a full slot.
    pub fn update(&mut self, prior: &LevelPrior, at: Moment, points: f64) -> Verdict {
        if let Some(wrong) = at.wrong() {
            return Verdict::Wrong(wrong);
        }
        if !points.is_finite() {
            return Verdict::Wrong(Wrong::NotANumber);
        }
        if points > 100.0 + NOISE_POINTS_MAX {
            return Verdict::Wrong(Wrong::AboveCapacity);
        }
        if points < -NOISE_POINTS_MAX {
            return Verdict::Wrong(Wrong::Negative);
        }
        if self.known && at.day <= self.at {
            return if at.day == self.at && points as f32 == self.last { Verdict::Duplicate } else { Verdict::Late };
        }
        if !self.known || at.day - self.at > SILENCE_DAYS_MAX {
            self.note(points, 0.0);
            self.restart(at, points);
            return Verdict::First;
        }
        let waited = if self.waits { f64::from(self.held_after) } else { 0.0 };
        let since = at.day - self.at - waited;
        if since <= HELD_DAYS_EXACT {
            return match () {
                () if points as f32 == self.held => Verdict::Duplicate,
                () if since < -HELD_DAYS_EXACT => Verdict::Late,
                () => Verdict::TooSoon,
            };
        }
        self.note(points, since);
        self.filter(prior, at, points)
    }

    /// Another cartridge by the word of the device or its owner, of which so much is left, in points.
    pub fn replaced_to(&mut self, at: Moment, points: f64) -> Verdict {
        if !(-NOISE_POINTS_MAX..=100.0 + NOISE_POINTS_MAX).contains(&points) {
            return Verdict::Wrong(if points.is_nan() { Wrong::NotANumber } else { Wrong::AboveCapacity });
        }
        let is_first = !self.known;
        let verdict = self.replaced(at);
        if verdict == Verdict::Replaced {
            self.restart(at, points.clamp(0.0, 100.0));
            self.last = points as f32;
            if is_first {
                self.refills = 0;
                return Verdict::First;
            }
        }
        verdict
    }

    /// Days of own use that the rate was learned from, the old ones faded.
    pub fn days(&self) -> f64 {
        f64::from(self.days)
    }

    /// A full slot by the word of the device or its owner.
    pub fn replaced(&mut self, at: Moment) -> Verdict {
        if let Some(wrong) = at.wrong() {
            return Verdict::Wrong(wrong);
        }
        if self.known && at.day < self.at {
            return Verdict::Late;
        }
        self.restart(at, 100.0);
        self.level_variance = NOISE_COUNTER as f32;
        self.refills = self.refills.saturating_add(1);
        Verdict::Replaced
    }

    /// How coarse the sensor is and for how long it says the same.
    fn note(&mut self, points: f64, days: f64) {
        let step = (points as f32 - self.last).abs();
        if self.known && step > 0.0 {
            self.step = self.step.min(step);
            self.same_days = 0.0;
        } else {
            self.same_days += days as f32;
        }
        self.last = points as f32;
    }

    /// The level is what the reading says; the rate stays what it was.
    fn restart(&mut self, at: Moment, points: f64) {
        self.known = true;
        self.at = at.day;
        self.away = at.away as f32;
        self.level = points as f32;
        self.level_variance = self.noise() as f32;
        self.shared_variance = 0.0;
        self.waits = false;
        self.follows = true;
        self.taken = points as f32;
        self.stretch_from(points);
    }

    fn stretch_from(&mut self, level: f64) {
        self.stretches = true;
        self.stretch_level = level as f32;
        self.stretch_days = 0.0;
        self.stretch_worth = 0.0;
    }

    /// Days' worth since the last reading that was taken.
    fn worth(&self, prior: &LevelPrior, at: Moment) -> f64 {
        let days = at.day - self.at;
        let weekdays = if prior.weekdays { self.weekdays } else { Weekdays::default() };
        weekdays.between(self.at, at.day) * super::gaps::at_home(days, at.away - f64::from(self.away))
    }

    fn filter(&mut self, prior: &LevelPrior, at: Moment, points: f64) -> Verdict {
        let (usual, rate) = (self.usual_rate(prior), f64::from(self.rate));
        let days = self.worth(prior, at);
        let daily = f64::from(self.diffusion) * rate.max(0.5 * usual).max(RATE_MIN).powi(2);
        let reversion = f64::from(prior.reversion).max(1e-4);
        let kept = normal::exp(-reversion * days);
        let eased = (1.0 - kept) / reversion;

        // Predict: the level falls, the rate goes back to the usual, both become less sure.
        let expected = f64::from(self.level) - usual * days - (rate - usual) * eased;
        let expected_rate = usual + (rate - usual) * kept;
        let [p00, p01, p11] = [self.level_variance, self.shared_variance, self.rate_variance].map(f64::from);
        let v00 = p00 - 2.0 * eased * p01 + eased * eased * p11 + daily * days;
        let v01 = kept * (p01 - eased * p11);
        let v11 = kept * kept * p11 + f64::from(prior.wander) * usual * usual * days;

        let noise = self.noise();
        let variance = v00 + noise;
        let surprise = points - expected;
        let jump = (JUMP_DEVIATIONS * variance.sqrt()).max(JUMP_POINTS_MIN);
        if surprise.abs() > jump && !(expected < EMPTY_POINTS && points < EMPTY_POINTS) {
            return self.hold(at, points, surprise, daily);
        }
        let dropped = std::mem::take(&mut self.waits);
        if points <= 0.6 * f64::from(self.step).min(5.0) && expected < 3.0 * variance.sqrt() {
            self.level = 0.0;
            (self.at, self.away) = (at.day, at.away as f32);
            self.level_variance = noise as f32;
            (self.stretches, self.follows) = (false, false);
            return Verdict::EmptyWaiting;
        }
        if f64::from(self.same_days) > STUCK_DAYS && f64::from(self.same_days) * usual > STUCK_POINTS {
            (self.at, self.away) = (at.day, at.away as f32);
            (self.stretches, self.follows) = (false, false);
            return Verdict::Stuck { days: self.same_days };
        }

        // Correct by what the reading says.
        let (gain, gain_rate) = (v00 / variance, v01 / variance);
        let before = f64::from(self.level);
        let level = expected + gain * surprise;
        let new_rate = (expected_rate + gain_rate * surprise).max(0.1 * usual);
        self.level_variance = (v00 - gain * v00) as f32;
        self.shared_variance = (v01 - gain * v01) as f32;
        self.rate_variance = (v11 - gain_rate * v01) as f32;
        let faded = normal::exp(-days / 365.0);
        self.used = (f64::from(self.used) * faded + before - level) as f32;
        self.days = (f64::from(self.days) * faded + days) as f32;
        self.level = level as f32;
        self.rate = new_rate as f32;
        if self.follows && DAY_APART.contains(&(at.day - self.at)) {
            self.weekdays.learn(at.day, (f64::from(self.taken) - points) / rate.max(RATE_MIN));
        }
        self.learn_diffusion(days, at, rate);
        (self.at, self.away) = (at.day, at.away as f32);
        (self.follows, self.taken) = (true, points as f32);
        let points_used = (before - level) as f32;
        match () {
            () if dropped => Verdict::SpikeDropped { points: points_used },
            () if surprise > TOP_UP_DEVIATIONS * variance.sqrt() => Verdict::TopUp { surprise: surprise as f32 },
            () => Verdict::Used { points: points_used },
        }
    }

    /// A jump: holds the reading, or takes it when it agrees with the one that was held before.
    fn hold(&mut self, at: Moment, points: f64, surprise: f64, daily: f64) -> Verdict {
        let after = at.day - self.at;
        if self.waits {
            let since = after - f64::from(self.held_after);
            let agrees = f64::from(self.held) - f64::from(self.rate) * since;
            let apart = (4.0 * (2.0 * self.noise() + daily * since).sqrt()).max(5.0);
            if (points - agrees).abs() < apart {
                self.restart(at, points);
                return self.jumped(points, surprise);
            }
        }
        self.waits = true;
        (self.held, self.held_after) = (points as f32, after as f32);
        Verdict::Held { surprise: surprise as f32 }
    }

    fn jumped(&mut self, points: f64, surprise: f64) -> Verdict {
        let (added, level) = (surprise as f32, points as f32);
        if surprise < 0.0 {
            return Verdict::Fell { points: -added };
        }
        self.refills = self.refills.saturating_add(1);
        if points >= FULL_POINTS { Verdict::Refill { added, level } } else { Verdict::PartialRefill { added, level } }
    }

    /// Compares a stretch of at least a week with what its rate foretold: how irregular the use is.
    fn learn_diffusion(&mut self, worth: f64, at: Moment, rate_before: f64) {
        if !self.stretches {
            self.stretch_from(f64::from(self.level));
            return;
        }
        self.stretch_days += (at.day - self.at) as f32;
        self.stretch_worth += worth as f32;
        if f64::from(self.stretch_days) < STRETCH_DAYS {
            return;
        }
        let worth = f64::from(self.stretch_worth).max(0.1);
        let error = f64::from(self.stretch_level) - f64::from(self.level) - f64::from(self.rate) * worth;
        let noise = self.noise().min(f64::from(self.level_variance));
        let seen = (error * error - 2.0 * noise) / (worth * rate_before.max(RATE_MIN).powi(2));
        self.diffusion_weight = (self.diffusion_weight + 1.0).min(DIFFUSION_MEMORY);
        let learned = seen.clamp(0.0, DIFFUSION_MAX) - f64::from(self.diffusion);
        let diffusion = f64::from(self.diffusion) + learned / f64::from(self.diffusion_weight);
        self.diffusion = diffusion.max(DIFFUSION_MIN) as f32;
        self.stretch_from(f64::from(self.level));
    }

    /// The law of the next empty slot, or `None` before the first reading. It stands at the last reading that was
    /// taken.
    pub fn run_out<'p>(&self, prior: &'p LevelPrior) -> Option<RunOut<'p>> {
        if !self.known {
            return None;
        }
        let (usual, rate) = (self.usual_rate(prior), f64::from(self.rate).max(RATE_MIN));
        let diffusion = f64::from(self.diffusion);
        let law = Fall {
            left: f64::from(self.level).max(LEFT_MIN),
            usual,
            rate,
            reversion: f64::from(prior.reversion).max(1e-4),
            daily: diffusion * rate.max(0.5 * usual).powi(2),
            rate_variance: f64::from(self.rate_variance),
            usual_variance: (diffusion + f64::from(prior.lasting)) * usual * usual
                / (f64::from(self.days) + f64::from(prior.rate_days)),
            left_variance: f64::from(self.level_variance),
        };
        let weekdays = if prior.weekdays { self.weekdays } else { Weekdays::default() };
        Some(RunOut::level(self.at, law, weekdays, &prior.curve))
    }

    /// The usual length of a cycle in days, from full to empty: what an interval's width is measured by.
    pub fn cycle_days(&self, prior: &LevelPrior) -> f64 {
        100.0 / self.usual_rate(prior)
    }
}

/// Less than this is not told from empty, in points.
const LEFT_MIN: f64 = 0.4;

/// How irregular use is, is learned from stretches of at least so many days.
const STRETCH_DAYS: f64 = 7.0;
/// It is a mean over so many stretches at most.
const DIFFUSION_MEMORY: f32 = 40.0;
/// One stretch cannot tell of more.
const DIFFUSION_MAX: f64 = 12.0;
const DIFFUSION_MIN: f64 = 0.03;
