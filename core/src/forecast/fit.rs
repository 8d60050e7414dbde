//! Priors and constants from a fleet's past. This runs seldom and over everything; it allocates and takes its time.

use std::collections::{BTreeMap, BTreeSet};

use super::clock::{self, FACTOR_MIN, Season};
use super::counter::{Counter, CounterState};
use super::curve::{Curve, SHARES};
use super::gaps::{GAP_DAYS_MIN, GapPrior, GapState, bin};
use super::level::{LevelPrior, LevelState};
use super::normal::{exp, ln};
use super::run_out::RunOut;
use super::verdict::Verdict;
use super::{Moment, Priors, ProductPrior};

/// One slot's purchases or refills.
#[derive(Debug, Clone, PartialEq)]
pub struct GapSeries {
    /// The product's name.
    pub product: String,
    /// Day since 1970 and quantity, in order of time.
    pub events: Vec<(f64, f64)>,
}

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

/// Whether use is spread over the year.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seasons {
    /// All months alike.
    Flat,
    /// A table per product.
    Table,
}

/// What a fit of gaps takes as given.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct GapChoice {
    /// Whether use is spread over the year.
    pub seasons: Seasons,
    /// See [`GapPrior::keep`].
    pub keep: f64,
    /// See [`GapPrior::variance_weight`].
    pub variance_weight: f64,
}

impl Default for GapChoice {
    fn default() -> GapChoice {
        GapChoice { seasons: Seasons::Flat, keep: 0.93, variance_weight: 8.0 }
    }
}

/// Priors of gaps per product, and one for products that were not seen.
#[derive(Debug, Clone, PartialEq)]
pub struct GapFit {
    /// For any other product.
    pub pooled: GapPrior,
    /// Products by name.
    pub products: BTreeMap<String, GapPrior>,
}

impl GapFit {
    /// The prior of a product.
    pub fn of(&self, product: &str) -> &GapPrior {
        self.products.get(product).unwrap_or(&self.pooled)
    }
}

/// Fits priors of gaps. `progress` is called with how much of the work is done, from 0 to 1.
pub fn gaps(series: &[GapSeries], choice: &GapChoice, progress: &mut dyn FnMut(f64)) -> GapFit {
    let names: BTreeSet<&str> = series.iter().map(|one| one.product.as_str()).collect();
    let all: Vec<&GapSeries> = series.iter().collect();
    let pooled = product(&all, choice).unwrap_or_default();
    let mut products = BTreeMap::new();
    for (n, name) in names.iter().enumerate() {
        progress(n as f64 / (names.len() + 1) as f64);
        let own: Vec<&GapSeries> = series.iter().filter(|one| one.product == *name).collect();
        if let Some(prior) = product(&own, choice) {
            products.insert((*name).to_owned(), prior);
        }
    }
    let mut fit = GapFit { pooled, products };
    calibrate(&mut fit, series);
    progress(1.0);
    fit
}

/// A slot with fewer purchases tells nothing of what differs within slots.
const EVENTS_MIN: usize = 3;

/// What a slope of quantities must overcome: a prior of 30 squared log units at no slope.
const SLOPE_RIDGE: f64 = 30.0;

/// Slots differ at least so much, so that a slot's own past counts.
const BETWEEN_MIN: f64 = 0.02;

/// The prior of one product by moments; `None` when no slot has enough purchases.
fn product(series: &[&GapSeries], choice: &GapChoice) -> Option<GapPrior> {
    let season = match choice.seasons {
        Seasons::Flat => Season::default(),
        Seasons::Table => season(series),
    };
    let mut slots: Vec<Vec<(f64, f64)>> = Vec::new();
    for one in series.iter().filter(|one| one.events.len() >= EVENTS_MIN) {
        let pairs = one.events.windows(2).map(|two| {
            let gap = season.between(two[0].0, two[1].0).max(GAP_DAYS_MIN);
            (ln(gap), ln(two[0].1.max(1e-3)))
        });
        slots.push(pairs.collect());
    }
    if slots.is_empty() {
        return None;
    }
    let (mut slope, mut spread) = (0.0, SLOPE_RIDGE);
    for slot in &slots {
        let (gap, quantity) = (mean(slot.iter().map(|pair| pair.0)), mean(slot.iter().map(|pair| pair.1)));
        slope += slot.iter().map(|pair| (pair.0 - gap) * (pair.1 - quantity)).sum::<f64>();
        spread += slot.iter().map(|pair| (pair.1 - quantity).powi(2)).sum::<f64>();
    }
    let gamma = (slope / spread).clamp(0.0, 1.0);
    let (mut squares, mut freedom, mut inverse) = (0.0, 0.0, 0.0);
    let mut means = Vec::new();
    for slot in &slots {
        let middle = mean(slot.iter().map(|pair| pair.0 - gamma * pair.1));
        squares += slot.iter().map(|pair| (pair.0 - gamma * pair.1 - middle).powi(2)).sum::<f64>();
        freedom += (slot.len() - 1) as f64;
        inverse += 1.0 / slot.len() as f64;
        means.push(middle);
    }
    let within = squares / f64::max(freedom, 1.0);
    let middle = mean(means.iter().copied());
    let variance = mean(means.iter().map(|one| (one - middle).powi(2)));
    let between = (variance - within * inverse / slots.len() as f64).max(BETWEEN_MIN);
    Some(GapPrior {
        mean: middle as f32,
        within: within as f32,
        between: between as f32,
        gamma: gamma as f32,
        keep: choice.keep as f32,
        variance_weight: choice.variance_weight as f32,
        curves: [Curve::default(); 4],
        season,
    })
}

/// Refills before a slot tells of a season.
const SEASON_EVENTS_MIN: usize = 8;
/// Rounds in which the table settles.
const SEASON_ROUNDS: usize = 6;

/// Spreads what was put in over the gap before it in proportion to the table, and adds up again.
fn season(series: &[&GapSeries]) -> Season {
    let mut table = [1.0; 12];
    for _ in 0..SEASON_ROUNDS {
        let (mut used, mut days) = ([0.0; 12], [0.0; 12]);
        for one in series.iter().filter(|one| one.events.len() >= SEASON_EVENTS_MIN) {
            let (first, last) = (one.events[0].0, one.events[one.events.len() - 1].0);
            let rate = one.events[1..].iter().map(|event| event.1).sum::<f64>() / (last - first).max(1.0);
            for two in one.events.windows(2) {
                let (from, to) = (two[0].0.floor(), two[1].0.floor().max(two[0].0.floor() + 1.0));
                let months: Vec<usize> = (0..(to - from) as usize).map(|n| clock::month(from + n as f64)).collect();
                let worth: f64 = months.iter().map(|month| table[*month]).sum();
                for month in months {
                    used[month] += two[1].1 / rate * table[month] / worth;
                    days[month] += 1.0;
                }
            }
        }
        for month in 0..12 {
            table[month] = (used[month] / f64::max(days[month], 1.0)).max(FACTOR_MIN);
        }
        let middle = mean(table.iter().copied());
        table = table.map(|factor| factor / middle);
    }
    Season::balanced(table)
}

/// Measures how far the truth lies from the law, after 0, 1-2, 3-6 and more gaps, over all products together.
fn calibrate(fit: &mut GapFit, series: &[GapSeries]) {
    let mut errors: [Vec<f64>; 4] = Default::default();
    for one in series {
        let prior = fit.of(&one.product);
        let mut state = GapState::new(prior);
        for two in one.events.windows(2) {
            state.update(prior, Moment::day(two[0].0), two[0].1);
            if let Some((mean, deviation)) = state.log_gap(prior) {
                let gap = prior.season.between(two[0].0, two[1].0).max(GAP_DAYS_MIN);
                errors[bin(usize::from(state.gaps()))].push((ln(gap) - mean) / deviation);
            }
        }
    }
    let all: Vec<f64> = errors.iter().flatten().copied().collect();
    let curves = errors.map(|own| curve(if own.is_empty() { all.clone() } else { own }));
    fit.pooled.curves = curves;
    for prior in fit.products.values_mut() {
        prior.curves = curves;
    }
}

fn curve(mut errors: Vec<f64>) -> Curve {
    if errors.is_empty() {
        return Curve::default();
    }
    errors.sort_by(f64::total_cmp);
    Curve::rising(SHARES.map(|share| quantile(&errors, share)))
}

/// The quantile of sorted values, between neighbours by a straight line.
fn quantile(sorted: &[f64], share: f64) -> f64 {
    let place = share * (sorted.len() - 1) as f64;
    let low = place.floor() as usize;
    let high = (low + 1).min(sorted.len() - 1);
    sorted[low] + (sorted[high] - sorted[low]) * (place - low as f64)
}

fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let (mut sum, mut n) = (0.0, 0usize);
    for value in values {
        sum += value;
        n += 1;
    }
    if n == 0 { 0.0 } else { sum / n as f64 }
}

/// Fits the prior of levels over all slots together; constants that are not fitted are taken from `start`.
pub fn levels(series: &[LevelSeries], start: &LevelPrior, progress: &mut dyn FnMut(f64)) -> LevelPrior {
    let cycles = series.iter().flat_map(|one| one.empty.windows(2).map(|two| ln((two[1] - two[0]).max(GAP_DAYS_MIN))));
    let mut prior = *start;
    let cycle = mean(cycles);
    if cycle > 0.0 {
        prior.rate = (100.0 / exp(cycle)) as f32;
    }
    let mut errors = Vec::new();
    for (n, one) in series.iter().enumerate() {
        progress(n as f64 / series.len() as f64);
        errors.extend(level_errors(one, &prior));
    }
    prior.curve = curve(errors);
    progress(1.0);
    prior
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

/// What changed from one version of priors to another, one line each; nothing when all is the same.
pub fn changes(old: &Priors, new: &Priors) -> Vec<String> {
    let mut lines = Vec::new();
    let names: BTreeSet<&String> = old.products.keys().chain(new.products.keys()).collect();
    describe("(any other)", Some(&old.pooled), Some(&new.pooled), &mut lines);
    for name in names {
        describe(name, old.products.get(name), new.products.get(name), &mut lines);
    }
    lines
}

fn describe(name: &str, old: Option<&ProductPrior>, new: Option<&ProductPrior>, lines: &mut Vec<String>) {
    match (old, new) {
        (Some(old), Some(new)) if old == new => {}
        (Some(old), Some(new)) => lines.push(format!(
            "{name}: usual gap {:.1} d -> {:.1} d, spread within a home {:.2} -> {:.2}, between homes {:.2} -> {:.2}; \
             use {:.2} -> {:.2} points a day",
            exp(f64::from(old.gaps.mean)),
            exp(f64::from(new.gaps.mean)),
            old.gaps.within.sqrt(),
            new.gaps.within.sqrt(),
            old.gaps.between.sqrt(),
            new.gaps.between.sqrt(),
            old.level.rate,
            new.level.rate,
        )),
        (None, Some(new)) => lines.push(format!(
            "{name}: new, usual gap {:.1} d, use {:.2} points a day",
            exp(f64::from(new.gaps.mean)),
            new.level.rate
        )),
        (Some(_), None) => lines.push(format!("{name}: has no prior of its own any more")),
        (None, None) => {}
    }
}
