//! Reports of a retailer, made from the ledgers of its homes.

use hearthway_core::chance::Chances;
use hearthway_core::id::RetailerId;
use hearthway_core::report::{
    Asked, Channel, ChannelReport, Counts, ForecastError, ForecastErrorReport, Funnel, FunnelReport, OptOuts,
    OptOutsReport, Period, ReasonsReport, Table, TooMuch, Uplift, UpliftReport,
};
use hearthway_core::time::{Span, Timestamp, Zone};
use serde::{Deserialize, Serialize};

use super::past::Past;
use crate::store::StoreError;

/// For how long after an offer what a home buys is put down to it, where nobody says: most who buy
/// do so within two weeks, and it is shorter than most cool-downs.
pub const UPLIFT_WINDOW: Span = Span::days(14);
/// For how long after an offer a withdrawal is put down to it, where nobody says.
pub const OPT_OUT_WINDOW: Span = Span::days(7);

/// Which report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReportKind {
    /// From woken triggers to orders, and what stood in the way.
    Funnel,
    /// What triggers sell beside what would have been bought anyway.
    Uplift,
    /// Which triggers drive homes away.
    OptOuts,
    /// What stopped triggers, by step and reason.
    BlockedReasons,
    /// What was said and answered, by kind and model of device and by hour.
    Channel,
    /// What was foreseen beside what came, by product.
    ForecastError,
}

impl ReportKind {
    /// As in paths and on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            ReportKind::Funnel => "funnel",
            ReportKind::Uplift => "uplift",
            ReportKind::OptOuts => "opt-outs",
            ReportKind::BlockedReasons => "blocked-reasons",
            ReportKind::Channel => "channel",
            ReportKind::ForecastError => "forecast-error",
        }
    }
    /// Whether time after an offer counts, so that its length can be said.
    pub fn has_window(self) -> bool {
        matches!(self, ReportKind::Uplift | ReportKind::OptOuts)
    }
}

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// Which report.
    pub kind: ReportKind,
    /// Of which days and trigger.
    pub asked: Asked,
    /// How long after an offer counts, where the report asks that.
    pub window: Option<Span>,
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "report", rename_all = "kebab-case")]
pub enum Found {
    /// A funnel.
    Funnel(FunnelReport),
    /// An uplift.
    Uplift(UpliftReport),
    /// Opt-outs.
    OptOuts(OptOutsReport),
    /// What stopped triggers.
    BlockedReasons(ReasonsReport),
    /// The device as a channel.
    Channel(ChannelReport),
    /// Forecasts beside what came.
    ForecastError(ForecastErrorReport),
}

impl Found {
    /// As rows.
    pub fn table(&self) -> Table {
        match self {
            Found::Funnel(report) => report.table(),
            Found::Uplift(report) => report.table(),
            Found::OptOuts(report) => report.table(),
            Found::BlockedReasons(report) => report.table(),
            Found::Channel(report) => report.table(),
            Found::ForecastError(report) => report.table(),
        }
    }
}

/// A report. The same ledgers give the same report, byte for byte; only windows that end meanwhile
/// change it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Whose.
    pub retailer: RetailerId,
    /// The zone of its days: the retailer's.
    pub zone: String,
    /// The first day, where one was said.
    pub from: Option<String>,
    /// The first day after it.
    pub until: Option<String>,
    /// Homes of which anything is known in these months.
    pub households: u64,
    /// What found no room in the ledger of a home that wakes triggers hundreds of times a month; it
    /// is in no other number here.
    pub uncounted: u64,
    /// What was found.
    #[serde(flatten)]
    pub found: Found,
}

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub enum NoReport {
    /// It would be too long.
    #[error(transparent)]
    TooMuch(#[from] TooMuch),
    /// The ledgers cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Past {
    /// The zone that a retailer's days are of: its own, or universal time where it has none.
    pub fn zone_of(&self, retailer: &RetailerId) -> Zone {
        self.rules().retailers.get(retailer).map_or_else(Zone::utc, |retailer| retailer.zone.clone())
    }

    /// Makes a report: walks through the ledgers of all of the retailer's homes, one home after the
    /// other. `now` tells which windows have ended.
    pub fn report(&self, retailer: &RetailerId, question: &Question, now: Timestamp) -> Result<Report, NoReport> {
        let Question { kind, asked, window } = question.clone();
        let mut report = Report {
            retailer: retailer.clone(),
            zone: self.zone_of(retailer).to_string(),
            from: asked.period.from.map(|day| day.to_string()),
            until: asked.period.until.map(|day| day.to_string()),
            households: 0,
            uncounted: 0,
            found: Found::Channel(ChannelReport::default()),
        };
        let period = asked.period;
        report.found = match kind {
            ReportKind::Funnel => Found::Funnel(self.counted(Funnel::new(asked), &period, &mut report)?.report()),
            ReportKind::BlockedReasons => {
                Found::BlockedReasons(self.counted(Funnel::new(asked), &period, &mut report)?.report().into())
            }
            ReportKind::Channel => Found::Channel(self.counted(Channel::new(asked), &period, &mut report)?.report()),
            ReportKind::ForecastError => Found::ForecastError(self.foreseen(&asked, &mut report)?),
            ReportKind::Uplift => {
                let uplift = Uplift::new(asked, window.unwrap_or(UPLIFT_WINDOW), now);
                Found::Uplift(self.counted(uplift, &period, &mut report)?.report())
            }
            ReportKind::OptOuts => {
                let opt_outs = OptOuts::new(asked, window.unwrap_or(OPT_OUT_WINDOW));
                Found::OptOuts(self.counted(opt_outs, &period, &mut report)?.report())
            }
        };
        Ok(report)
    }

    /// How often a retailer's offers were seen and accepted.
    pub fn chances(&self, retailer: &RetailerId, period: &Period) -> Result<Chances, NoReport> {
        let mut chances = Chances::default();
        self.ledgers(retailer, period, |_, ledgers| chances.add(ledgers).map_err(NoReport::from))?;
        Ok(chances)
    }

    /// Walks through the records of all homes: what was foreseen stands with them.
    fn foreseen(&self, asked: &Asked, report: &mut Report) -> Result<ForecastErrorReport, NoReport> {
        let retailer = report.retailer.clone();
        let mut errors = ForecastError::new(asked, self.zone_of(&retailer));
        self.households(|id| {
            if let Some(home) = self.household(id)?
                && home.retailer.as_ref() == Some(&retailer)
            {
                report.households += u64::from(errors.add(&home));
            }
            Ok(())
        })?;
        Ok(errors.report())
    }

    fn counted<C: Counts>(&self, mut counts: C, period: &Period, report: &mut Report) -> Result<C, NoReport> {
        let retailer = report.retailer.clone();
        self.ledgers(&retailer, period, |_, ledgers| {
            report.households += 1;
            report.uncounted += ledgers.iter().map(|ledger| ledger.beyond()).sum::<u64>();
            counts.add(ledgers).map_err(NoReport::from)
        })?;
        Ok(counts)
    }
}
