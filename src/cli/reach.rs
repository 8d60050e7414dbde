//! `hearthway triggers reach`: whom triggers would reach before they are published.

use std::fmt::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use hearthway_core::id::RetailerId;
use hearthway_core::time::Span;
use serde_json::json;

use super::gateway_client::GatewayClient;
use super::{at_rest, bar, triggers};
use crate::clock::{Clock, SystemClock};
use crate::engine::Past;
use crate::engine::reach::{DAYS_DEFAULT, DAYS_MAX, ReachReport};

/// What to do where a gateway is at work on the directory.
const WHEN_IT_RUNS: &str = "A running gateway makes the forecast itself: name its HTTP address by `--url`";
/// How often the gateway is asked how far it is.
const ASKED_EVERY: Duration = Duration::from_millis(300);
/// Cells of the longest bar.
const BAR_CELLS: u64 = 30;

/// Whom triggers would reach of a retailer's homes as they are, step by step, and how many offers a
/// day they would have sent lately. Nothing is written or sent.
#[derive(Debug, clap::Args)]
pub struct Reach {
    /// Trigger files, or directories of `*.toml`.
    #[arg(required = true, value_name = "PATH")]
    pub paths: Vec<PathBuf>,
    /// Days of history to look back over.
    #[arg(long, value_name = "N", default_value_t = DAYS_DEFAULT, value_parser = clap::value_parser!(u32).range(1..=i64::from(DAYS_MAX)))]
    pub days: u32,
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
    /// The forecasts as JSON, one per line.
    #[arg(long)]
    pub json: bool,
}

impl Reach {
    /// Does it.
    pub fn run(self) -> ExitCode {
        let reports = self.place.gateway(self.url.as_ref(), self.retailer.is_some()).and_then(|url| match url {
            Some(url) => super::on_runtime(self.remote(&url)),
            None => self.place.open(WHEN_IT_RUNS).and_then(|past| self.at_rest(&past)),
        });
        match reports.and_then(|reports| reports.iter().map(|report| self.shown(report)).collect::<Result<String, _>>())
        {
            Ok(text) => {
                super::say(&text);
                ExitCode::SUCCESS
            }
            Err(error) => {
                eprintln!("error: no forecast: {error:#}");
                ExitCode::FAILURE
            }
        }
    }

    fn shown(&self, report: &ReachReport) -> anyhow::Result<String> {
        if self.json {
            return Ok(format!("{}\n", serde_json::to_string(report).context("writing the forecast")?));
        }
        Ok(page(report))
    }

    fn at_rest(&self, past: &Past) -> anyhow::Result<Vec<ReachReport>> {
        let retailer = at_rest::retailer_of(past, self.retailer.as_ref())?;
        let sound = triggers::sound_triggers(past, &retailer, &self.paths)?;
        // A directory at rest ends with its last input, however long ago that was.
        let now = past.newest()?.map_or_else(|| SystemClock.now(), |newest| newest + Span(1));
        let reach =
            |trigger| past.reach(trigger, now, self.days, &mut ())?.ok_or_else(|| anyhow!("it was ended early"));
        sound.iter().map(reach).collect()
    }

    async fn remote(&self, url: &str) -> anyhow::Result<Vec<ReachReport>> {
        let gateway = GatewayClient::new(url)?;
        let mut reports = Vec::new();
        for trigger in triggers::definitions(&self.paths)? {
            let body = json!({"trigger": trigger, "days": self.days});
            let begun = gateway.call("POST", "/v1/triggers:reach", Some(&body)).await?;
            let id = begun["reach"].as_str().context("the gateway names no forecast")?.to_owned();
            let bar = bar::counted("decided", 0, "households");
            let report = loop {
                let state = gateway.call("GET", &format!("/v1/triggers:reach/{id}"), None).await?;
                match state["state"].as_str() {
                    Some("done") => break state["report"].clone(),
                    Some("running") => {}
                    _ => bail!("the gateway could not make it: {}", state["detail"].as_str().unwrap_or("no reason")),
                }
                bar.set_length(state["households_total"].as_u64().unwrap_or(0));
                bar.set_position(state["households"].as_u64().unwrap_or(0));
                tokio::time::sleep(ASKED_EVERY).await;
            };
            bar.finish_and_clear();
            reports.push(serde_json::from_value(report).context("reading the forecast")?);
        }
        Ok(reports)
    }
}

/// The page.
fn page(report: &ReachReport) -> String {
    let mut page = String::new();
    // Writing into a string does not fail.
    let _ = write_page(&mut page, report);
    page
}

fn write_page(page: &mut String, report: &ReachReport) -> std::fmt::Result {
    let most = report.stages.first().map_or(0, |stage| stage.households);
    writeln!(page, "Reach of {}: homes that are left after each step", report.trigger)?;
    for stage in &report.stages {
        let cells = if most == 0 { 0 } else { (stage.households * BAR_CELLS).div_ceil(most) };
        writeln!(page, "  {:<12} {:>7} {}", stage.stage, stage.households, "█".repeat(cells as usize))?;
    }
    for block in &report.blocked_by {
        writeln!(page, "  stopped by {:<32} {:>7}", block.reason, block.households)?;
    }
    let (hold, held_out) = (report.conditions_hold, report.held_out);
    writeln!(page, "  of those left: conditions hold now in {hold}, held out {held_out}")?;
    let history = &report.history;
    let days = history.days;
    write!(page, "  in the last {days:.1} days it would have sent {} to {} homes", history.sent, history.households)?;
    match history.sent_per_day {
        Some(a_day) => writeln!(page, ": {a_day:.1} a day"),
        None => writeln!(page, "; a day of history is needed to say how many a day"),
    }
}
