//! A usage counter as a level: what a cartridge of known capacity has left.
//!
//! The counter is remembered at "replaced": what was used between the last report and the replacement belongs to
//! the old cartridge.

use serde::{Deserialize, Serialize};

use super::Moment;
use super::level::LevelState;
use super::prior::LevelPrior;
use super::run_out::RunOut;
use super::verdict::{Verdict, Wrong};

/// What a counter of a slot is, from the device's model.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Counter {
    /// What a full cartridge gives, in the counter's unit.
    pub capacity: f64,
    /// The value at which the counter goes on from zero, where it has one.
    pub wraps_at: Option<f64>,
}

/// What one slot's counter has told: at most 160 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct CounterState {
    level: LevelState,
    /// The last value of the counter.
    value: f64,
    /// Used of the present cartridge, in the counter's unit.
    used: f32,
    known: bool,
}

/// A counter that fell is one that started again from zero only if what it shows since is at most so many times what
/// would usually have been used, or a quarter of the capacity.
const PLAUSIBLE: f64 = 8.0;
const PLAUSIBLE_SHARE: f64 = 0.25;

/// A counter near its highest value may have gone over it.
const WRAP_SHARE: f64 = 0.8;

/// No more than so many capacities are used between two reports: beyond it, counting tells nothing.
const USED_CAPACITIES_MAX: f64 = 1_000.0;

impl CounterState {
    /// Before the first report.
    pub fn new(prior: &LevelPrior) -> CounterState {
        CounterState { level: LevelState::exact(prior), value: 0.0, used: 0.0, known: false }
    }

    /// The level that follows from the counter, in points.
    pub fn level(&self) -> &LevelState {
        &self.level
    }

    /// The law of the next empty cartridge, or `None` before the first report.
    pub fn run_out<'p>(&self, prior: &'p LevelPrior) -> Option<RunOut<'p>> {
        self.level.run_out(prior)
    }

    fn wrong(counter: &Counter, at: Moment, value: f64) -> Option<Wrong> {
        match () {
            () if at.wrong().is_some() => at.wrong(),
            () if !counter.capacity.is_finite() || counter.capacity <= 0.0 => Some(Wrong::NoCapacity),
            () if !value.is_finite() => Some(Wrong::NotANumber),
            () if value < 0.0 => Some(Wrong::Negative),
            () => None,
        }
    }

    /// Takes the counter's value.
    pub fn update(&mut self, prior: &LevelPrior, counter: &Counter, at: Moment, value: f64) -> Verdict {
        if let Some(wrong) = Self::wrong(counter, at, value) {
            return Verdict::Wrong(wrong);
        }
        // The counter of a later moment has counted this one's use already.
        let newest = self.level.newest();
        if newest.is_some_and(|newest| at.day <= newest) {
            return if newest == Some(at.day) && value == self.value { Verdict::Duplicate } else { Verdict::Late };
        }
        let (used, kind) = self.used_since(prior, counter, at, value);
        let used = (f64::from(self.used) + used).min(counter.capacity * USED_CAPACITIES_MAX);
        let left = 100.0 - 100.0 * used / counter.capacity;
        let verdict = self.level.update(prior, at, left.max(0.0));
        if !verdict.changed() {
            return verdict;
        }
        (self.value, self.used, self.known) = (value, used as f32, true);
        kind.unwrap_or(verdict)
    }

    /// A cartridge that is known from here on, of which so much is used: the first report of a counter that counts
    /// since the last replacement, or the first after one.
    pub fn begin(&mut self, counter: &Counter, at: Moment, used: f64) -> Verdict {
        if let Some(wrong) = Self::wrong(counter, at, used) {
            return Verdict::Wrong(wrong);
        }
        let left = (100.0 - 100.0 * used / counter.capacity).max(0.0);
        let verdict = self.level.replaced_to(at, left);
        if verdict.changed() {
            (self.used, self.value, self.known) = (used as f32, used, true);
        }
        verdict
    }

    /// A full cartridge, and the counter at that moment.
    pub fn replaced(&mut self, counter: &Counter, at: Moment, value: f64) -> Verdict {
        if let Some(wrong) = Self::wrong(counter, at, value) {
            return Verdict::Wrong(wrong);
        }
        let verdict = self.level.replaced(at);
        if verdict == Verdict::Replaced {
            (self.used, self.value, self.known) = (0.0, value, true);
        }
        verdict
    }

    /// What was used since the last value, and what to say when the counter did not simply go on.
    fn used_since(&self, prior: &LevelPrior, counter: &Counter, at: Moment, value: f64) -> (f64, Option<Verdict>) {
        if !self.known || value >= self.value {
            return (if self.known { value - self.value } else { 0.0 }, None);
        }
        let days = self.level.newest().map_or(0.0, |newest| at.day - newest);
        let usual = self.level.usual_rate(prior) * days * counter.capacity / 100.0;
        let plausible = (PLAUSIBLE * usual).max(PLAUSIBLE_SHARE * counter.capacity);
        let over = counter.wraps_at.filter(|highest| self.value > WRAP_SHARE * highest && *highest >= self.value);
        if let Some(used) = over.map(|highest| highest - self.value + value).filter(|used| *used <= plausible) {
            return (used, Some(Verdict::Wrapped));
        }
        if value > plausible {
            return (0.0, Some(Verdict::Backwards { by: (self.value - value) as f32 }));
        }
        (value, Some(Verdict::Reset { since: value as f32 }))
    }
}
