//! `hearthway forecast refit`: what the fleet tells of products, from its own log.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use hearthway_core::forecast::fit::{self, GapSeries, LevelSeries, Report};
use hearthway_core::forecast::{Counter, Priors, of_region};
use hearthway_core::id::{DeviceKey, ProductId, RetailerId, SlotId};
use hearthway_core::model::{Evidence, Household};
use hearthway_core::rules::RuleSet;
use hearthway_core::time::Zone;
use hearthway_core::wire::SlotUp;

use crate::app::documents::ANY_PRODUCT;
use crate::cli::gateway_client::GatewayClient;
use crate::cli::{at_rest, bar, on_runtime, say};
use crate::engine::Past;

/// What to do where a gateway is at work on the directory.
const WHEN_IT_RUNS: &str =
    "A running gateway's fleet is read from its backup: `hearthway backup`, `hearthway restore`, then this";
/// A slot below this, in percent of a full one, is empty.
const EMPTY_POINTS: f64 = 2.0;
/// The levels at which a forecast is asked for and compared with what came, percent of a full one.
const ASKED_AT: [f64; 4] = [75.0, 50.0, 25.0, 12.0];

/// Fits what is known of products anew over the whole fleet, and says what changed.
///
/// Reads the log of a stopped gateway: levels, counts and refills of every slot, purchases of every home. Writes the
/// priors as JSON; with `--url` it publishes them too, and every home that begins from then on begins with them.
#[derive(Debug, clap::Args)]
pub struct Refit {
    /// Whose; may be left out where there is one retailer.
    #[arg(long, value_name = "ID")]
    retailer: Option<RetailerId>,
    /// Where the priors go.
    #[arg(long, value_name = "FILE", default_value = "priors.json")]
    out: PathBuf,
    /// Publish them to a running gateway; the retailer's token is taken from HEARTHWAY_TOKEN.
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// Which data.
    #[command(flatten)]
    place: at_rest::Place,
}

/// Series of a product in one region below which the region has no prior of its own: fewer tell less than all do.
const REGION_SERIES_MIN: usize = 20;

/// What the fleet went through.
#[derive(Default)]
struct Fleet {
    gaps: Vec<GapSeries>,
    levels: Vec<LevelSeries>,
    /// The same by product and region, for what a region uses otherwise than the others.
    regional: (Vec<GapSeries>, Vec<LevelSeries>),
    homes: u64,
}

impl Refit {
    /// Does it.
    pub fn run(self) -> ExitCode {
        match self.refit() {
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

    fn refit(&self) -> anyhow::Result<String> {
        let past = self.place.open(WHEN_IT_RUNS)?;
        let retailer = at_rest::retailer_of(&past, self.retailer.as_ref())?;
        let rules = past.rules();
        let old = rules.priors(Some(&retailer)).clone();
        let fleet = Fleet::read(&past, &retailer, &rules)?;
        let progress = bar::counted("fitting", 100, "percent");
        let mut new = fit::priors(&old, &fleet.gaps, &fleet.levels, &mut |share| {
            progress.set_position((100.0 * share) as u64);
        });
        progress.finish_and_clear();
        let (gaps, levels) = fleet.regional();
        if !gaps.is_empty() || !levels.is_empty() {
            let progress = bar::counted("fitting regions", 100, "percent");
            let regional = fit::priors(&old, &gaps, &levels, &mut |share| {
                progress.set_position((100.0 * share) as u64);
            });
            progress.finish_and_clear();
            new.products.extend(regional.products.into_iter().filter(|(name, _)| name.contains('@')));
        }
        let sold = |name: &str| name.split_once('@').map_or(name, |(product, _)| product).to_owned();
        new.products
            .retain(|name, _| ProductId::new(sold(name)).is_ok_and(|id| rules.product(&retailer, &id).is_some()));
        let text = serde_json::to_string_pretty(&new).context("writing the priors")?;
        std::fs::write(&self.out, text).with_context(|| format!("writing `{}`", self.out.display()))?;
        let published = match &self.url {
            Some(url) => on_runtime(publish(url, &old, &new))?,
            None => String::new(),
        };
        let changes = fit::changes(&old, &new);
        let changes = if changes.is_empty() { "nothing changed".to_owned() } else { changes.join("\n") };
        Ok(format!(
            "{} homes, {} slots, {} series of purchases\n{changes}\nwritten to {}\n{published}",
            fleet.homes,
            fleet.levels.len(),
            fleet.gaps.len(),
            self.out.display()
        ))
    }
}

async fn publish(url: &str, old: &Priors, new: &Priors) -> anyhow::Result<String> {
    let gateway = GatewayClient::new(url)?;
    let mut count = 0;
    let any = (old.pooled != new.pooled).then_some((ANY_PRODUCT, &new.pooled));
    let changed = new.products.iter().filter(|(product, prior)| old.products.get(*product) != Some(*prior));
    for (product, prior) in any.into_iter().chain(changed.map(|(product, prior)| (product.as_str(), prior))) {
        let body = serde_json::to_value(prior).context("writing a prior")?;
        let path = match product.split_once('@') {
            Some((product, region)) => format!("/v1/priors/{product}?region={}", region.replace('/', "%2F")),
            None => format!("/v1/priors/{product}"),
        };
        gateway.call("PUT", &path, Some(&body)).await?;
        count += 1;
    }
    Ok(format!("{count} priors published\n"))
}

impl Fleet {
    fn read(past: &Past, retailer: &RetailerId, rules: &RuleSet) -> anyhow::Result<Fleet> {
        let mut ids = Vec::new();
        past.households(|id| {
            ids.push(id);
            Ok(())
        })?;
        let progress = bar::counted("reading", ids.len() as u64, "homes");
        let mut fleet = Fleet::default();
        for id in ids {
            progress.inc(1);
            let Some(home) = past.household(id)?.filter(|home| home.retailer.as_ref() == Some(retailer)) else {
                continue;
            };
            fleet.homes += 1;
            fleet.add(&home, rules, past.slot_reports(id)?);
        }
        progress.finish_and_clear();
        Ok(fleet)
    }

    fn add(&mut self, home: &Household, rules: &RuleSet, reports: BTreeMap<(DeviceKey, SlotId), Vec<(f64, SlotUp)>>) {
        let region = home.zone.as_ref().map(Zone::as_str);
        for (product, shelf) in &home.supply.shelves {
            let events: Vec<_> = shelf.bought.iter().map(|of| (day_of(of.at.0), f64::from(of.qty))).collect();
            if events.len() > 1 {
                if let Some(region) = region {
                    let product = of_region(product.as_str(), region);
                    self.regional.0.push(GapSeries { product, events: events.clone() });
                }
                self.gaps.push(GapSeries { product: product.to_string(), events });
            }
        }
        for ((device, slot), reports) in reports {
            let Some(device) = home.devices.get(&device) else { continue };
            let capacity = device.description_in(rules).and_then(|can| can.slots.get(&slot)?.capacity);
            let retailer = home.retailer.as_ref();
            let product =
                retailer.into_iter().find_map(|retailer| rules.products.first_fitting(retailer, &device.model, &slot));
            let Some(product) = product else { continue };
            let Some(found) = series(product.to_string(), capacity, &reports) else { continue };
            if let Some(region) = region {
                let product = of_region(product.as_str(), region);
                self.regional.1.push(LevelSeries { product, ..found.clone() });
            }
            self.levels.push(found);
        }
    }

    /// The series of those products and regions that are many enough to tell more than all regions together do.
    fn regional(&self) -> (Vec<GapSeries>, Vec<LevelSeries>) {
        let (gaps, levels) = &self.regional;
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        let names = gaps.iter().map(|series| &series.product).chain(levels.iter().map(|series| &series.product));
        names.for_each(|name| *counts.entry(name).or_default() += 1);
        let product = |name: &str| name.split_once('@').map(|(product, _)| product.to_owned());
        let is_alone = |name: &str| counts.keys().filter(|other| product(other) == product(name)).count() == 1;
        let is_kept = |name: &str| counts.get(name).is_some_and(|n| *n >= REGION_SERIES_MIN) && !is_alone(name);
        (
            gaps.iter().filter(|series| is_kept(&series.product)).cloned().collect(),
            levels.iter().filter(|series| is_kept(&series.product)).cloned().collect(),
        )
    }
}

fn day_of(milliseconds: i64) -> f64 {
    milliseconds as f64 / 86_400_000.0
}

/// A slot's reports as a fit takes them; none for evidence without amounts.
fn series(product: String, declared: Option<f64>, reports: &[(f64, SlotUp)]) -> Option<LevelSeries> {
    let capacity =
        reports.iter().find_map(|(_, said)| said.capacity).or(declared).filter(|capacity| *capacity > 0.0)?;
    let mut found = LevelSeries { product, counter: None, reports: Vec::new(), empty: Vec::new(), asked: Vec::new() };
    let mut before = f64::INFINITY;
    for (day, said) in reports {
        let left = match said.evidence {
            Evidence::Usage { used } => {
                found.counter = Some(Counter { capacity, wraps_at: None });
                let left = 100.0 - 100.0 * used / capacity;
                let is_fresh = found.reports.is_empty() || left > before + 1.0;
                found.reports.push((*day, if is_fresh { Report::Replaced(used) } else { Report::Counter(used) }));
                left
            }
            Evidence::Level { remaining } | Evidence::Countdown { remaining } => {
                let left = 100.0 * remaining / capacity;
                found.reports.push((*day, Report::Level(left)));
                left
            }
            Evidence::Flag { .. } | Evidence::Life { .. } => return None,
        };
        if left <= EMPTY_POINTS && before > EMPTY_POINTS {
            found.empty.push(*day);
        }
        if ASKED_AT.iter().any(|at| left <= *at && before > *at) && before.is_finite() {
            found.asked.push(*day);
        }
        before = left;
    }
    (found.reports.len() > 1).then_some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_region_has_its_own_prior_where_it_tells_enough_and_is_not_all_there_is() {
        let mut fleet = Fleet::default();
        let mut add = |product: &str, region: &str, n: usize| {
            let series = GapSeries { product: of_region(product, region), events: vec![(0.0, 1.0), (30.0, 1.0)] };
            fleet.regional.0.extend(std::iter::repeat_n(series, n));
        };
        add("salt", "Europe/Paris", 25);
        add("salt", "Europe/Madrid", 19);
        add("ink", "Europe/Paris", 40);
        let kept: std::collections::BTreeSet<_> = fleet.regional().0.into_iter().map(|series| series.product).collect();
        assert_eq!(
            kept.into_iter().collect::<Vec<_>>(),
            ["salt@Europe/Paris"],
            "Madrid is too few, ink has one region"
        );
    }
}
