//! `hearthway report`: what became of a retailer's triggers.

mod page;

use std::process::ExitCode;

use anyhow::{Context, anyhow, bail};
use hearthway_core::id::{RetailerId, TriggerId};
use hearthway_core::report::{Asked, Period};
use hearthway_core::time::{Span, Zone};

use super::at_rest;
use super::gateway_client::GatewayClient;
use crate::app::reports;
use crate::clock::{Clock, SystemClock};
use crate::engine::Past;
use crate::engine::reports::{Question, Report, ReportKind};

/// What to do where a gateway is at work on the directory.
const WHEN_IT_RUNS: &str = "A running gateway tells its reports itself: name its HTTP address by `--url`";

/// Which report.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
pub enum Kind {
    /// From woken triggers to orders, by trigger and day, and what stood in the way.
    Funnel,
    /// What triggers sell beside the homes that they hold out, with its 95 % interval.
    Uplift,
    /// Homes that withdrew soon after an offer, beside those that were held out.
    OptOuts,
    /// What stopped triggers, by step and reason.
    BlockedReasons,
    /// What was said and answered, by kind and model of device and by hour of day.
    Channel,
    /// What was foreseen beside what came, by product.
    ForecastError,
}

impl From<Kind> for ReportKind {
    fn from(kind: Kind) -> ReportKind {
        match kind {
            Kind::Funnel => ReportKind::Funnel,
            Kind::Uplift => ReportKind::Uplift,
            Kind::OptOuts => ReportKind::OptOuts,
            Kind::BlockedReasons => ReportKind::BlockedReasons,
            Kind::Channel => ReportKind::Channel,
            Kind::ForecastError => ReportKind::ForecastError,
        }
    }
}

/// How it is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For people at a terminal.
    Table,
    /// As the API answers.
    Json,
    /// Rows for a spreadsheet.
    Csv,
}

/// Tells what became of triggers: how far they came, what they sold, whom they drove away.
///
/// A report holds counts and nobody's data. Its days are those of the retailer's zone.
#[derive(Debug, clap::Args)]
pub struct ReportCommand {
    /// Which.
    pub kind: Kind,
    /// Only this trigger.
    #[arg(long, value_name = "ID")]
    pub trigger: Option<TriggerId>,
    /// From this day on, such as 2026-11-01; without it, from the first that is kept.
    #[arg(long, value_name = "DAY")]
    pub from: Option<String>,
    /// Up to and without this day; without it, to the last.
    #[arg(long, value_name = "DAY")]
    pub until: Option<String>,
    /// For how long after an offer an order (`uplift`, 14d) or a withdrawal (`opt-outs`, 7d) is put
    /// down to it.
    #[arg(long, value_name = "TIME", value_parser = Span::parse)]
    pub window: Option<Span>,
    /// How it is shown.
    #[arg(long, value_enum, default_value = "table")]
    pub format: Format,
    /// Whose; may be left out where there is one retailer.
    #[arg(long, value_name = "ID")]
    pub retailer: Option<RetailerId>,
    /// A running gateway's HTTP address, such as http://127.0.0.1:8080; the retailer's token is
    /// taken from HEARTHWAY_TOKEN. Without it the one of HEARTHWAY_URL, or the data directory of a stopped one.
    #[arg(long, value_name = "URL", conflicts_with_all = ["data", "config", "retailer"])]
    pub url: Option<String>,
    /// Which data.
    #[command(flatten)]
    pub place: at_rest::Place,
}

impl ReportCommand {
    /// Does it.
    pub fn run(self) -> ExitCode {
        let report = self.place.gateway(self.url.as_ref(), self.retailer.is_some()).and_then(|url| match url {
            Some(url) => super::on_runtime(self.remote(&url)),
            None => self.place.open(WHEN_IT_RUNS).and_then(|past| self.at_rest(&past)),
        });
        match report.and_then(|report| self.shown(&report)).context("no report") {
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
        Ok(match self.format {
            Format::Table => page::page(report),
            Format::Csv => reports::csv(&report.found),
            Format::Json => format!("{}\n", serde_json::to_string_pretty(report).context("writing the report")?),
        })
    }

    fn at_rest(&self, past: &Past) -> anyhow::Result<Report> {
        let retailer = at_rest::retailer_of(past, self.retailer.as_ref())?;
        let kind = ReportKind::from(self.kind);
        if self.window.is_some() && !kind.has_window() {
            bail!("`{}` looks at no time after an offer; leave `--window` out", kind.as_str());
        }
        let period = self.period(&past.zone_of(&retailer))?;
        let asked = Asked { period, trigger: self.trigger.clone() };
        Ok(past.report(&retailer, &Question { kind, asked, window: self.window }, SystemClock.now())?)
    }

    fn period(&self, zone: &Zone) -> anyhow::Result<Period> {
        let period = reports::period(self.from.as_deref(), self.until.as_deref(), zone);
        period.map_err(|(name, why)| anyhow!("`--{name}`: {why}"))
    }

    async fn remote(&self, url: &str) -> anyhow::Result<Report> {
        let gateway = GatewayClient::new(url)?;
        let window = self.window.map(|window| window.to_string());
        let trigger = self.trigger.as_ref().map(TriggerId::to_string);
        let asked = [("from", &self.from), ("until", &self.until), ("trigger", &trigger), ("window", &window)];
        let asked: Vec<String> = asked
            .into_iter()
            .filter_map(|(name, value)| value.as_ref().map(|value| format!("{name}={}", escaped(value))))
            .collect();
        let path = format!("/v1/reports/{}?{}", ReportKind::from(self.kind).as_str(), asked.join("&"));
        let report = gateway.call("GET", &path, None).await?;
        serde_json::from_value(report).context("reading the report")
    }
}

/// A value in a query.
fn escaped(value: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b':');
    value.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}
