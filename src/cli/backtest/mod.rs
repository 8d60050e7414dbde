//! `hearthway backtest`: what would have happened with other triggers.

mod page;
mod remote;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, anyhow, bail};
use hearthway_core::id::RetailerId;
use hearthway_core::time::Timestamp;
use hearthway_core::trigger::TriggerSet;

use super::{at_rest, bar, triggers};
use crate::engine::backtest::{Backtest, Listener, Progress, Report};
use crate::engine::{Past, Window};

/// What to do where a gateway is at work on the directory.
const WHEN_IT_RUNS: &str = "A running gateway makes the backtest itself: name its HTTP address by `--url`";

/// Runs the input log through other triggers, on virtual time: what would have been sent, to whom,
/// and what would have stood in the way.
///
/// The triggers of the files take the place of all of the retailer's, from `--from` on. The same
/// log and files give the same report, byte for byte.
#[derive(Debug, clap::Args)]
pub struct BacktestCommand {
    /// Trigger files, or directories of `*.toml`.
    #[arg(required_unless_present = "live", value_name = "PATH")]
    pub paths: Vec<PathBuf>,
    /// The triggers that are live now; with files, these take the place of those of the same id.
    #[arg(long)]
    pub live: bool,
    /// From this instant on, as RFC 3339 has it; without it, from the log's beginning.
    #[arg(long, value_name = "TIME", value_parser = super::instant)]
    pub from: Option<Timestamp>,
    /// Up to and without this instant; without it, to the log's end.
    #[arg(long, value_name = "TIME", value_parser = super::instant)]
    pub to: Option<Timestamp>,
    /// Whose triggers they are; may be left out where there is one retailer.
    #[arg(long, value_name = "ID")]
    pub retailer: Option<RetailerId>,
    /// A running gateway's HTTP address, such as http://127.0.0.1:8080; the retailer's token is
    /// taken from HEARTHWAY_TOKEN. Without it the one of HEARTHWAY_URL, or the data directory of a stopped one.
    #[arg(long, value_name = "URL", conflicts_with_all = ["data", "config", "retailer"])]
    pub url: Option<String>,
    /// Which data.
    #[command(flatten)]
    pub place: at_rest::Place,
    /// The whole report as JSON.
    #[arg(long, conflicts_with = "csv")]
    pub json: bool,
    /// The days as a table.
    #[arg(long)]
    pub csv: bool,
}

impl BacktestCommand {
    /// Does it.
    pub fn run(self) -> ExitCode {
        let asked = self.place.gateway(self.url.as_ref(), self.retailer.is_some());
        let report = self.window().and_then(|window| match asked? {
            Some(url) => super::on_runtime(remote::run(&self, &url)),
            None => self.place.open(WHEN_IT_RUNS).and_then(|past| self.at_rest(past, window)),
        });
        match report.and_then(|report| self.shown(&report)).context("no backtest") {
            Ok(text) => {
                super::say(&text);
                ExitCode::SUCCESS
            }
            Err(error) => {
                eprintln!("error: {error:#}");
                ExitCode::FAILURE
            }
        }
    }

    fn shown(&self, report: &Report) -> anyhow::Result<String> {
        if self.json {
            let text = serde_json::to_string_pretty(report).context("writing the report")?;
            return Ok(format!("{text}\n"));
        }
        Ok(if self.csv { page::table(report) } else { page::page(report) })
    }

    /// The time that is asked about.
    fn window(&self) -> anyhow::Result<Window> {
        if let Some((from, to)) = self.from.zip(self.to).filter(|(from, to)| from >= to) {
            bail!("no time is left: `--from` {from} is not before `--to` {to}; put the earlier of the two first");
        }
        Ok(Window { from: self.from, until: self.to })
    }

    fn at_rest(&self, past: Past, window: Window) -> anyhow::Result<Report> {
        let retailer = at_rest::retailer_of(&past, self.retailer.as_ref())?;
        let candidates = self.candidates(&past, &retailer)?;
        let bar = bar::counted("decided", 0, "households");
        let mut on_bar = OnBar(bar.clone());
        let report = Backtest::new(past, retailer, candidates, window).run(&mut on_bar)?;
        bar.finish_and_clear();
        report.ok_or_else(|| anyhow!("it was ended early"))
    }

    /// The triggers of the files, checked against the gateway's own models and products.
    fn candidates(&self, past: &Past, retailer: &RetailerId) -> anyhow::Result<TriggerSet> {
        let rules = past.rules();
        let own = rules.triggers.iter().filter(|trigger| trigger.retailer == *retailer).cloned();
        let live: Vec<_> = own.filter(|_| self.live).collect();
        if self.paths.is_empty() {
            return Ok(TriggerSet::build(live));
        }
        let named = triggers::sound_triggers(past, retailer, &self.paths)?;
        // Of two with one id the later stands.
        Ok(TriggerSet::build(live.into_iter().chain(named)))
    }
}

/// Shows how far it is.
struct OnBar(indicatif::ProgressBar);

impl Listener for OnBar {
    fn progress(&mut self, progress: Progress) -> bool {
        self.0.set_length(progress.households_total);
        self.0.set_position(progress.households);
        true
    }
}
