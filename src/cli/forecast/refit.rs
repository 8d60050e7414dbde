//! `hearthway forecast refit`: what the fleet tells of products, from its own log.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use hearthway_core::forecast::fit::{self, GapSeries, LevelSeries, Report};
use hearthway_core::forecast::{Counter, Priors};
use hearthway_core::id::{DeviceKey, ProductId, RetailerId, SlotId};
use hearthway_core::model::{Evidence, Household};
use hearthway_core::rules::RuleSet;
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

/// What the fleet went through.
#[derive(Default)]
struct Fleet {
    gaps: Vec<GapSeries>,
    levels: Vec<LevelSeries>,
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
        new.products
            .retain(|product, _| ProductId::new(product).is_ok_and(|id| rules.product(&retailer, &id).is_some()));
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
        gateway.call("PUT", &format!("/v1/priors/{product}"), Some(&body)).await?;
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
        for (product, shelf) in &home.supply.shelves {
            let events: Vec<_> = shelf.bought.iter().map(|of| (day_of(of.at.0), f64::from(of.qty))).collect();
            if events.len() > 1 {
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
            self.levels.extend(series(product.to_string(), capacity, &reports));
        }
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
