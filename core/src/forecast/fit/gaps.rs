//! Priors of gaps, by moments; what moments cannot tell is chosen by how well each slot's past foretold it.

use std::collections::{BTreeMap, BTreeSet};

use super::super::Moment;
use super::super::clock::{self, FACTOR_MIN, Season};
use super::super::curve::Curve;
use super::super::gaps::{GAP_DAYS_MIN, GapPrior, GapState, bin};
use super::super::normal::ln;
use super::{curve, mean};

/// One slot's purchases or refills.
#[derive(Debug, Clone, PartialEq)]
pub struct GapSeries {
    /// The product's name.
    pub product: String,
    /// Day since 1970 and quantity, in order of time.
    pub events: Vec<(f64, f64)>,
}

/// Whether use is spread over the year.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seasons {
    /// All months alike.
    Flat,
    /// A table per product, that all its slots follow alike.
    Table,
    /// One table for all products, that each slot follows as strongly as its own past says.
    Shared,
    /// `Shared` where enough slots were seen for long enough to tell a season from a trend, else `Flat`.
    Measured,
}

/// What a fit of gaps takes as given.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct GapChoice {
    /// Whether use is spread over the year.
    pub seasons: Seasons,
    /// See [`GapPrior::keep`]; `None` chooses the one that foretells the series best.
    pub keep: Option<f64>,
    /// See [`GapPrior::variance_weight`].
    pub variance_weight: f64,
    /// A product with so many slots is half its own and half what all products are.
    pub borrow_slots: f64,
    /// So many errors of an early gap make a curve that is half its own and half that of all gaps.
    pub borrow_errors: f64,
}

impl Default for GapChoice {
    fn default() -> GapChoice {
        GapChoice {
            seasons: Seasons::Measured,
            keep: None,
            variance_weight: 16.0,
            borrow_slots: 6.0,
            borrow_errors: 40.0,
        }
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

/// What a state may keep of itself at each gap.
const KEEPS: [f64; 6] = [0.65, 0.75, 0.85, 0.93, 0.97, 1.0];

/// Fits priors of gaps. `progress` is called with how much of the work is done, from 0 to 1.
pub fn gaps(series: &[GapSeries], choice: &GapChoice, progress: &mut dyn FnMut(f64)) -> GapFit {
    let mut fit = moments(series, choice);
    let keeps = choice.keep.map_or(KEEPS.to_vec(), |keep| vec![keep]);
    let mut best = (f64::INFINITY, fit.clone());
    for (n, keep) in keeps.iter().enumerate() {
        progress((n + 1) as f64 / (keeps.len() + 1) as f64);
        for prior in fit.all() {
            prior.keep = *keep as f32;
        }
        let loss = calibrate(&mut fit, series, choice.borrow_errors);
        if loss < best.0 || n == 0 {
            best = (loss, fit.clone());
        }
    }
    progress(1.0);
    best.1
}

impl GapFit {
    fn all(&mut self) -> impl Iterator<Item = &mut GapPrior> {
        std::iter::once(&mut self.pooled).chain(self.products.values_mut())
    }
}

/// What the moments of each product tell.
fn moments(series: &[GapSeries], choice: &GapChoice) -> GapFit {
    let all: Vec<&GapSeries> = series.iter().collect();
    let seasons = match choice.seasons {
        Seasons::Measured if tells_seasons(series) => Seasons::Shared,
        Seasons::Measured => Seasons::Flat,
        given => given,
    };
    let shared = if seasons == Seasons::Shared { season(&all) } else { Season::default() };
    let choice = GapChoice { seasons, ..*choice };
    let pooled = product(&all, &choice, &shared).unwrap_or_default();
    let names: BTreeSet<&str> = series.iter().map(|one| one.product.as_str()).collect();
    let mut products = BTreeMap::new();
    for name in names {
        let own: Vec<&GapSeries> = series.iter().filter(|one| one.product == name).collect();
        if let Some(prior) = product(&own, &choice, &shared) {
            products.insert(name.to_owned(), borrowed(prior, &pooled, own.len() as f64, choice.borrow_slots));
        }
    }
    GapFit { pooled, products }
}

/// A season is told from a trend by two years at least, and from a habit by some slots.
const SEASON_YEARS_MIN: f64 = 2.0;
const SEASON_SLOTS_MIN: usize = 5;

fn tells_seasons(series: &[GapSeries]) -> bool {
    let days = |one: &GapSeries| Some(one.events.last()?.0 - one.events.first()?.0);
    let long = series.iter().filter_map(days).filter(|days| *days >= SEASON_YEARS_MIN * 365.25).count();
    long >= SEASON_SLOTS_MIN && 2 * long >= series.len()
}

/// A product with few slots borrows from all products what it cannot tell.
fn borrowed(own: GapPrior, pooled: &GapPrior, slots: f64, borrow_slots: f64) -> GapPrior {
    let part = (slots / (slots + borrow_slots)) as f32;
    let mix = |own: f32, pooled: f32| part * own + (1.0 - part) * pooled;
    GapPrior {
        mean: mix(own.mean, pooled.mean),
        within: mix(own.within, pooled.within),
        between: mix(own.between, pooled.between),
        gamma: mix(own.gamma, pooled.gamma),
        ..own
    }
}

/// A slot with fewer purchases tells nothing of what differs within slots.
const EVENTS_MIN: usize = 3;

/// What a slope of quantities must overcome: a prior of 30 squared log units at no slope.
const SLOPE_RIDGE: f64 = 30.0;

/// Slots differ at least so much, so that a slot's own past counts.
const BETWEEN_MIN: f64 = 0.02;

/// The prior of one product by moments; `None` when no slot has enough purchases.
fn product(series: &[&GapSeries], choice: &GapChoice, shared: &Season) -> Option<GapPrior> {
    let season = match choice.seasons {
        Seasons::Flat | Seasons::Measured => Season::default(),
        Seasons::Table => season(series),
        Seasons::Shared => *shared,
    };
    let mut slots: Vec<Vec<(f64, f64)>> = Vec::new();
    for one in series.iter().filter(|one| one.events.len() >= EVENTS_MIN) {
        let pairs = one.events.windows(2).map(|two| {
            let gap = season.between(two[0].0, two[1].0, 1.0).max(GAP_DAYS_MIN);
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
        keep: choice.keep.unwrap_or(1.0) as f32,
        variance_weight: choice.variance_weight as f32,
        curves: [Curve::default(); 4],
        season,
        season_spread: if choice.seasons == Seasons::Shared { SEASON_SPREAD } else { 0.0 },
    })
}

/// Variance of how strongly slots follow a season: between half and one and a half times.
const SEASON_SPREAD: f32 = 0.15;

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

/// Measures how far the truth lies from the law, after 0, 1-2, 3-6 and more gaps, over all products together, and takes
/// it as the curves. Returns the loss that is left: the mean pinball loss of the log gap at 10, 50 and 90 %.
fn calibrate(fit: &mut GapFit, series: &[GapSeries], borrow: f64) -> f64 {
    let mut errors: [Vec<f64>; 4] = Default::default();
    let mut weighed: Vec<(usize, f64, f64)> = Vec::new();
    for one in series {
        let prior = fit.of(&one.product);
        let mut state = GapState::new(prior);
        for two in one.events.windows(2) {
            state.update(prior, Moment::day(two[0].0), two[0].1);
            let Some(next) = state.next_gap(prior) else { continue };
            let gap = prior.season.between(two[0].0, two[1].0, next.strength).max(GAP_DAYS_MIN);
            let error = (ln(gap) - next.mean) / next.deviation;
            let bin = bin(usize::from(state.gaps()));
            errors[bin].push(error);
            weighed.push((bin, error, next.deviation));
        }
    }
    let all: Vec<f64> = errors.iter().flatten().copied().collect();
    let whole = curve(all);
    let curves = errors.map(|own| {
        let part = if own.is_empty() { 0.0 } else { own.len() as f64 / (own.len() as f64 + borrow) };
        curve(own).mixed(&whole, part as f32)
    });
    for prior in fit.all() {
        prior.curves = curves;
    }
    mean(weighed.into_iter().map(|(bin, error, deviation)| deviation * pinball(&curves[bin], error)))
}

fn pinball(curve: &Curve, error: f64) -> f64 {
    let one = |share: f64| {
        let over = error - curve.z(share);
        (share * over).max((share - 1.0) * over)
    };
    (one(0.1) + one(0.5) + one(0.9)) / 3.0
}
