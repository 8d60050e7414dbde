//! The prior of levels: how fast a usual slot is used, and how far the truth lies from the law.

use std::collections::BTreeSet;

use super::super::Moment;
use super::super::counter::{Counter, CounterState};
use super::super::gaps::GAP_DAYS_MIN;
use super::super::level::LevelState;
use super::super::normal::{exp, ln};
use super::super::prior::LevelPrior;
use super::super::run_out::RunOut;
use super::super::verdict::Verdict;
use super::{curve, mean};

/// What a device said of a slot.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Report {
    /// What is left, in points.
    Level(f64),
    /// The usage counter's value.
    Counter(f64),
    /// A full cartridge was put in; the counter's value then.
    Replaced(f64),
}

/// One slot's readings, and when it was really empty.
#[derive(Debug, Clone, PartialEq)]
pub struct LevelSeries {
    /// The product's name.
    pub product: String,
    /// For slots with a counter.
    pub counter: Option<Counter>,
    /// Day since 1970 and report, in order of time.
    pub reports: Vec<(f64, Report)>,
    /// Days on which the slot was empty.
    pub empty: Vec<f64>,
    /// Days at which a forecast is asked for and compared with what came.
    pub asked: Vec<f64>,
}

/// A slot with a sensor or a counter, as it is followed while it reports.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Slot {
    /// It says what is left.
    Sensor(LevelState),
    /// It counts its use.
    Counted(CounterState, Counter),
}

impl Slot {
    /// Before the first report.
    pub fn new(prior: &LevelPrior, counter: Option<Counter>) -> Slot {
        match counter {
            Some(counter) => Slot::Counted(CounterState::new(prior), counter),
            None => Slot::Sensor(LevelState::new(prior)),
        }
    }

    /// Takes a report; a level of a counted slot and a count of a sensor's say nothing.
    pub fn update(&mut self, prior: &LevelPrior, day: f64, report: Report) -> Option<Verdict> {
        let at = Moment::day(day);
        match (self, report) {
            (Slot::Sensor(state), Report::Level(points)) => Some(state.update(prior, at, points)),
            (Slot::Sensor(state), Report::Replaced(_)) => Some(state.replaced(at)),
            (Slot::Counted(state, counter), Report::Counter(value)) => Some(state.update(prior, counter, at, value)),
            (Slot::Counted(state, counter), Report::Replaced(value)) => Some(state.replaced(counter, at, value)),
            (Slot::Sensor(_), Report::Counter(_)) | (Slot::Counted(..), Report::Level(_)) => None,
        }
    }

    /// The law of the next empty slot.
    pub fn run_out<'p>(&self, prior: &'p LevelPrior) -> Option<RunOut<'p>> {
        match self {
            Slot::Sensor(state) => state.run_out(prior),
            Slot::Counted(state, _) => state.run_out(prior),
        }
    }
}

/// What a fit of levels takes as given.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LevelChoice {
    /// What is not fitted: how rates wander and go back.
    pub start: LevelPrior,
    /// Products differ from each other: the curve of few of them is widened by this share over their number, because
    /// the next product is none of them.
    pub products_differ: f64,
}

impl Default for LevelChoice {
    fn default() -> LevelChoice {
        LevelChoice { start: LevelPrior::default(), products_differ: 0.1 }
    }
}

/// Fits the prior of levels over all slots together; constants that are not fitted are taken from `choice.start`.
pub fn levels(series: &[LevelSeries], choice: &LevelChoice, progress: &mut dyn FnMut(f64)) -> LevelPrior {
    let mut prior = choice.start;
    prior.rate = usual_rate(series).unwrap_or(prior.rate);
    let mut errors = Vec::new();
    for (n, one) in series.iter().enumerate() {
        progress(n as f64 / series.len() as f64);
        errors.extend(level_errors(one, &prior));
    }
    let products: BTreeSet<&str> = series.iter().map(|one| one.product.as_str()).collect();
    let wider = 1.0 + choice.products_differ / products.len().max(1) as f64;
    prior.curve = curve(errors.iter().map(|error| error * wider).collect());
    progress(1.0);
    prior
}

/// The rate of the usual cycle from empty to empty, in points a day.
pub(super) fn usual_rate(series: &[LevelSeries]) -> Option<f32> {
    let cycles = series.iter().flat_map(|one| one.empty.windows(2).map(|two| ln((two[1] - two[0]).max(GAP_DAYS_MIN))));
    let cycle = mean(cycles);
    (cycle > 0.0).then(|| (100.0 / exp(cycle)) as f32)
}

/// How far past the mean each asked run-out came, in standard deviations of its law.
fn level_errors(series: &LevelSeries, prior: &LevelPrior) -> Vec<f64> {
    let mut slot = Slot::new(prior, series.counter);
    let mut reports = series.reports.iter().peekable();
    let mut errors = Vec::new();
    for asked in &series.asked {
        while let Some((day, report)) = reports.next_if(|(day, _)| *day <= asked + 1e-7) {
            slot.update(prior, *day, *report);
        }
        let empty = series.empty.iter().find(|empty| **empty > asked + 1e-9);
        if let (Some(law), Some(empty)) = (slot.run_out(prior), empty) {
            errors.extend(law.z_at(*empty));
        }
    }
    errors
}
