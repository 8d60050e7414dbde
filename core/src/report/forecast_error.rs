//! What was foreseen beside what came: how far off, how honest its interval, how often empty.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::period::Day;
use super::table::Table;
use super::{Asked, Period};
use crate::forecast::instant;
use crate::model::{Cycle, Household};
use crate::time::{Timestamp, Zone};

/// A slot that stood empty for longer than this before it was refilled was a stock-out: people put
/// a new one in when they next pass by.
const STOCK_OUT_AFTER_DAYS: f64 = 1.0;

/// Compares forecasts with what came, home by home. A cycle is judged by the forecast that was made
/// at the first report below half, and belongs to the day of its refill.
#[derive(Debug)]
pub struct ForecastError {
    period: Period,
    zone: Zone,
    products: BTreeMap<String, Sums>,
}

#[derive(Debug, Default)]
struct Sums {
    cycles: u64,
    absolute: f64,
    signed: f64,
    below: u64,
    above: u64,
    stock_outs: u64,
    days_without: f64,
    early: u64,
    days_early: f64,
}

impl ForecastError {
    /// Nothing compared yet; days are of this zone.
    pub fn new(asked: &Asked, zone: Zone) -> ForecastError {
        ForecastError { period: asked.period, zone, products: BTreeMap::new() }
    }

    /// Takes in a home; `true` where any of its cycles counts.
    pub fn add(&mut self, home: &Household) -> bool {
        let mut counts = false;
        for track in home.supply.tracks.values() {
            let product = track.product.as_ref().map_or("", |product| product.as_str());
            for cycle in
                track.cycles.iter().filter(|cycle| self.period.contains(Day::of(cycle.refilled_at, &self.zone)))
            {
                self.products.entry(product.to_owned()).or_default().add(cycle);
                counts = true;
            }
        }
        counts
    }

    /// What was found.
    pub fn report(self) -> ForecastErrorReport {
        let products = self.products.into_iter().map(|(product, sums)| sums.report(product));
        ForecastErrorReport { products: products.collect() }
    }
}

fn days(from: Timestamp, to: Timestamp) -> f64 {
    (to - from).0 as f64 / 86_400_000.0
}

impl Sums {
    fn add(&mut self, cycle: &Cycle) {
        let foreseen = cycle.foreseen.empty;
        let error = days(cycle.ran_out_at, instant(foreseen.p50));
        self.cycles += 1;
        self.absolute += error.abs();
        self.signed += error;
        self.below += u64::from(cycle.ran_out_at < instant(foreseen.p10));
        self.above += u64::from(cycle.ran_out_at > instant(foreseen.p90));
        let without = days(cycle.ran_out_at, cycle.refilled_at);
        if without > STOCK_OUT_AFTER_DAYS {
            self.stock_outs += 1;
            self.days_without += without;
        } else if without < 0.0 {
            self.early += 1;
            self.days_early -= without;
        }
    }

    fn report(self, product: String) -> ForecastErrorRow {
        let mean = |sum: f64, of: u64| if of == 0 { 0.0 } else { (100.0 * sum / of as f64).round() / 100.0 };
        ForecastErrorRow {
            product,
            cycles: self.cycles,
            mean_error_days: mean(self.absolute, self.cycles),
            bias_days: mean(self.signed, self.cycles),
            coverage_80: mean((self.cycles - self.below - self.above) as f64, self.cycles),
            earlier_than_p10: self.below,
            later_than_p90: self.above,
            stock_outs: self.stock_outs,
            days_without: mean(self.days_without, self.stock_outs),
            refilled_early: self.early,
            days_early: mean(self.days_early, self.early),
        }
    }
}

/// One product's forecasts beside what came.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ForecastErrorRow {
    /// The product; empty where none was known.
    pub product: String,
    /// Ended cycles that a forecast was made for.
    pub cycles: u64,
    /// Mean distance between the median forecast and the run-out, days.
    pub mean_error_days: f64,
    /// Mean of the signed distance: above zero, forecasts are too late.
    pub bias_days: f64,
    /// Share of run-outs between p10 and p90; 0.8 is honest.
    pub coverage_80: f64,
    /// Run-outs before p10.
    pub earlier_than_p10: u64,
    /// Run-outs after p90.
    pub later_than_p90: u64,
    /// Cycles that ended with more than a day without.
    pub stock_outs: u64,
    /// Their mean days without.
    pub days_without: f64,
    /// Cycles that ended before the old one was used up.
    pub refilled_early: u64,
    /// Their mean days too early.
    pub days_early: f64,
}

/// Forecasts beside what came, by product.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ForecastErrorReport {
    /// The rows.
    pub products: Vec<ForecastErrorRow>,
}

impl ForecastErrorReport {
    /// A row per product.
    pub fn table(&self) -> Table {
        let rows = self.products.iter().map(|row| {
            let numbers = [
                row.cycles.to_string(),
                row.mean_error_days.to_string(),
                row.bias_days.to_string(),
                row.coverage_80.to_string(),
                row.earlier_than_p10.to_string(),
                row.later_than_p90.to_string(),
                row.stock_outs.to_string(),
                row.days_without.to_string(),
                row.refilled_early.to_string(),
                row.days_early.to_string(),
            ];
            std::iter::once(row.product.clone()).chain(numbers).collect()
        });
        let columns = vec![
            "product",
            "cycles",
            "mean_error_days",
            "bias_days",
            "coverage_80",
            "earlier_than_p10",
            "later_than_p90",
            "stock_outs",
            "days_without",
            "refilled_early",
            "days_early",
        ];
        Table { columns, rows: rows.collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::forecast::Quantiles;
    use crate::model::Foresight;

    fn cycle(p10: f64, p50: f64, p90: f64, ran_out: f64, refilled: f64) -> Cycle {
        let foreseen = Foresight { at: instant(0.0), empty: Quantiles { p10, p50, p90 } };
        Cycle { foreseen, ran_out_at: instant(ran_out), refilled_at: instant(refilled) }
    }

    #[test]
    fn errors_coverage_stock_outs_and_early_refills_are_told_apart() {
        let mut sums = Sums::default();
        sums.add(&cycle(8.0, 10.0, 12.0, 11.0, 11.5));
        sums.add(&cycle(8.0, 10.0, 12.0, 7.0, 10.0));
        sums.add(&cycle(8.0, 10.0, 12.0, 14.0, 12.0));
        let row = sums.report("salt".to_owned());
        assert_eq!((row.cycles, row.earlier_than_p10, row.later_than_p90, row.coverage_80), (3, 1, 1, 0.33));
        assert_eq!((row.mean_error_days, row.bias_days), (2.67, -0.67));
        assert_eq!((row.stock_outs, row.days_without), (1, 3.0), "half a day is no stock-out");
        assert_eq!((row.refilled_early, row.days_early), (1, 2.0));
    }
}
