//! `hearthway forecast compare`: a year of many homes, by forecast and by threshold.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Mutex;

use anyhow::Context;

use super::fleet::{Outcome, Policy, Shop};
use super::svg::Drawing;
use crate::cli::{bar, say};

/// Days of a week of the plot.
const WEEK: usize = 7;

/// Plays a year of many homes twice, by forecast and by threshold, and compares run-outs and parcels.
///
/// Every home has a printer with four inks, a water softener, a pet feeder and a fridge with a water filter. By the
/// rule of a threshold one piece is ordered when a reading falls to a fifth. By forecast, the gateway's own triggers
/// decide: one on `order_by` for each slot, under the customers' mandates. The same seed gives the same homes, the
/// same use and the same figures.
#[derive(Debug, clap::Args)]
pub struct Compare {
    /// How many homes.
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    homes: u32,
    /// How many days each lives.
    #[arg(long, default_value_t = 365, value_parser = clap::value_parser!(u32).range(1..=3_650))]
    days: u32,
    /// What all chance comes from.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Where the drawing goes.
    #[arg(long, value_name = "FILE", default_value = "fleet.svg")]
    out: PathBuf,
    /// The figures as JSON instead of a table.
    #[arg(long)]
    json: bool,
}

impl Compare {
    /// Does it.
    pub fn run(self) -> ExitCode {
        match self.compare() {
            Ok(text) => {
                say(&text);
                ExitCode::SUCCESS
            }
            Err(error) => {
                eprintln!("Error: {error:#}");
                ExitCode::FAILURE
            }
        }
    }

    fn compare(&self) -> anyhow::Result<String> {
        let shop = Shop::open()?;
        let threshold = self.live(&shop, Policy::Threshold, "threshold")?;
        let forecast = self.live(&shop, Policy::Forecast, "forecast")?;
        std::fs::write(&self.out, drawing(&threshold, &forecast))
            .with_context(|| format!("writing the drawing to `{}`", self.out.display()))?;
        if self.json {
            return Ok(format!("{}\n", self.json_of(&threshold, &forecast)));
        }
        Ok(self.table(&threshold, &forecast))
    }

    /// All homes of one policy, on every core; the sum does not depend on who was first.
    fn live(&self, shop: &Shop, policy: Policy, doing: &'static str) -> anyhow::Result<Outcome> {
        let progress = bar::counted(doing, self.homes.into(), "homes");
        let next = Mutex::new(0..self.homes);
        let sum: Mutex<anyhow::Result<Outcome>> = Mutex::new(Ok(Outcome::default()));
        let workers = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        std::thread::scope(|scope| {
            for _ in 0..workers {
                scope.spawn(|| {
                    while let Some(home) = next.lock().ok().and_then(|mut next| next.next()) {
                        let lived = shop.live(policy, self.seed, home, self.days);
                        let Ok(mut sum) = sum.lock() else { return };
                        match (lived, &mut *sum) {
                            (Ok(lived), Ok(sum)) => sum.add(&lived),
                            (Err(error), sum) => *sum = Err(error),
                            (Ok(_), Err(_)) => return,
                        }
                        progress.inc(1);
                    }
                });
            }
        });
        progress.finish_and_clear();
        sum.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn table(&self, threshold: &Outcome, forecast: &Outcome) -> String {
        let homes = f64::from(self.homes);
        let mut text = format!("{} homes, {} days, seed {}\n\n", self.homes, self.days, self.seed);
        text += &format!("{:<34}{:>12}{:>12}\n", "", "threshold", "forecast");
        let mut row = |name: &str, of: &dyn Fn(&Outcome) -> String| {
            text += &format!("{name:<34}{:>12}{:>12}\n", of(threshold), of(forecast));
        };
        row("used up", &|it| it.cycles.to_string());
        row("run-outs: none at home then", &|it| it.run_outs.to_string());
        row("  share of what was used up", &|it| format!("{:.2} %", 100.0 * share(it.run_outs, it.cycles)));
        row("days without", &|it| it.days_without.to_string());
        row("parcels", &|it| it.parcels.to_string());
        row("  a home", &|it| format!("{:.1}", it.parcels as f64 / homes));
        row("pieces a parcel", &|it| format!("{:.2}", share(it.pieces, it.parcels)));
        row("spares on a home's shelf", &|it| format!("{:.2}", it.spare_days as f64 / homes / f64::from(self.days)));
        text += &format!(
            "\n{:.1} % fewer parcels by forecast; drawn in {}\n",
            fewer(threshold, forecast),
            self.out.display()
        );
        text
    }

    fn json_of(&self, threshold: &Outcome, forecast: &Outcome) -> serde_json::Value {
        let of = |it: &Outcome| {
            serde_json::json!({
                "used_up": it.cycles, "run_outs": it.run_outs, "run_out_share": share(it.run_outs, it.cycles),
                "days_without": it.days_without, "parcels": it.parcels, "pieces": it.pieces,
                "spares_per_home": it.spare_days as f64 / f64::from(self.homes) / f64::from(self.days),
            })
        };
        serde_json::json!({
            "homes": self.homes, "days": self.days, "seed": self.seed, "threshold": of(threshold),
            "forecast": of(forecast), "fewer_parcels_percent": fewer(threshold, forecast),
        })
    }
}

fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

fn fewer(threshold: &Outcome, forecast: &Outcome) -> f64 {
    100.0 * (1.0 - share(forecast.parcels, threshold.parcels))
}

/// Parcels that left until each week's end, by both.
fn drawing(threshold: &Outcome, forecast: &Outcome) -> String {
    let summed = |it: &Outcome| -> Vec<(f64, f64)> {
        let mut sum = 0.0;
        let weeks = it.by_day.chunks(WEEK).enumerate().map(|(week, days)| {
            sum += f64::from(days.iter().sum::<u32>());
            (week as f64 + 1.0, sum)
        });
        std::iter::once((0.0, 0.0)).chain(weeks.collect::<Vec<_>>()).collect()
    };
    let (by_threshold, by_forecast) = (summed(threshold), summed(forecast));
    let last = |points: &[(f64, f64)]| points.last().copied().unwrap_or((1.0, 1.0));
    let (weeks, most) = (last(&by_threshold).0, last(&by_threshold).1.max(last(&by_forecast).1).max(1.0));
    let mut drawing = Drawing::new("Parcels sent, summed over the weeks", (0.0, weeks), (0.0, most), "parcels");
    for week in (0..=weeks as usize).step_by((weeks as usize / 12).max(1)) {
        drawing.tick(week as f64, &format!("week {week}"));
    }
    let legend = |name: &str, it: &Outcome| {
        format!("{name}: {} parcels, {:.2} % run-outs", it.parcels, 100.0 * share(it.run_outs, it.cycles))
    };
    for (colour, name, points, of) in
        [("#c0504d", "threshold", by_threshold, threshold), ("#1f6fb4", "forecast", by_forecast, forecast)]
    {
        drawing.line(points, colour);
        drawing.legend(colour, &legend(name, of));
    }
    drawing.finish()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn year(policy: Policy, seed: u64) -> Outcome {
        let shop = Shop::open().unwrap();
        let mut sum = Outcome::default();
        for home in 0..6 {
            sum.add(&shop.live(policy, seed, home, 365).unwrap());
        }
        sum
    }

    #[test]
    fn forecasts_send_fewer_parcels_and_let_less_run_out_than_a_threshold() {
        let (threshold, forecast) = (year(Policy::Threshold, 1), year(Policy::Forecast, 1));
        assert!(forecast.parcels * 4 <= threshold.parcels * 3, "{forecast:?} {threshold:?}");
        assert!(forecast.run_outs * 50 <= forecast.cycles, "{forecast:?}");
        assert_eq!(year(Policy::Forecast, 1), forecast, "the same seed, the same figures");
        assert_ne!(year(Policy::Threshold, 2), threshold);
        let svg = drawing(&threshold, &forecast);
        assert!(svg.contains(&format!("forecast: {} parcels", forecast.parcels)), "{svg}");
    }
}
