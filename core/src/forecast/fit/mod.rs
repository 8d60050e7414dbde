//! Priors and constants from a fleet's past. This runs seldom and over everything; it allocates and takes its time.

mod gaps;
mod levels;

use std::collections::BTreeSet;

pub use gaps::{GapChoice, GapFit, GapSeries, Seasons, gaps};
pub use levels::{LevelChoice, LevelSeries, Report, Slot, levels};

use super::curve::{Curve, SHARES};
use super::normal::exp;
use super::{LevelPrior, Priors, ProductPrior};

/// The next version of priors: gaps per product, levels over all products together with each product's own rate where
/// enough of its slots were seen. What was not seen at all stays as it was.
pub fn priors(
    old: &Priors,
    gap_series: &[GapSeries],
    level_series: &[LevelSeries],
    progress: &mut dyn FnMut(f64),
) -> Priors {
    let mut new = Priors { version: old.version.saturating_add(1), ..old.clone() };
    if !gap_series.is_empty() {
        let fit = gaps(gap_series, &GapChoice::default(), &mut |share| progress(0.5 * share));
        new.pooled.gaps = fit.pooled;
        for (name, prior) in fit.products {
            new.products.entry(name).or_insert(new.pooled).gaps = prior;
        }
    }
    if !level_series.is_empty() {
        let fit = levels(level_series, &LevelChoice::default(), &mut |share| progress(0.5 + 0.5 * share));
        new.pooled.level = fit;
        let names: BTreeSet<&str> = level_series.iter().map(|one| one.product.as_str()).collect();
        for name in names {
            let own: Vec<LevelSeries> = level_series.iter().filter(|one| one.product == name).cloned().collect();
            let rate = if own.len() >= OWN_RATE_SLOTS_MIN { levels::usual_rate(&own) } else { None };
            let level = LevelPrior { rate: rate.unwrap_or(fit.rate), ..fit };
            new.products.entry(name.to_owned()).or_insert(new.pooled).level = level;
        }
    }
    progress(1.0);
    new
}

/// So many slots tell a product's own rate from a home's.
const OWN_RATE_SLOTS_MIN: usize = 5;

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
