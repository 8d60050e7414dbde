//! What became of a retailer's triggers: counted as it happens, told when somebody asks.
//!
//! | file | what it holds |
//! |---|---|
//! | `note` | what of one decision is counted |
//! | `ledger` | what is kept of one home in one month |
//! | `period` | days, months, and which of them are asked about |
//! | `funnel` | from a woken trigger to an order, and what stood in the way |
//! | `uplift`, `opt_outs` | homes that were spoken to beside those that were held out |
//! | `channel` | by kind and model of device, and hour of day |
//! | `forecast_error` | what was foreseen beside what came, by product |
//! | `interval` | how sure a difference of two shares is |
//! | `table` | a report as rows |
//!
//! Reports hold counts and no person's data: a ledger knows homes by their derived id, and a
//! report no home at all.

mod channel;
mod forecast_error;
mod funnel;
mod interval;
mod ledger;
mod note;
mod opt_outs;
mod period;
mod table;
mod uplift;

pub use channel::{Channel, ChannelReport, ChannelRow};
pub use forecast_error::{ForecastError, ForecastErrorReport, ForecastErrorRow};
pub use funnel::{
    Count, Funnel, FunnelDay, FunnelReport, FunnelTrigger, ReasonCount, ReasonsReport, ReasonsTrigger, Stage,
    StageCount,
};
pub use interval::{Interval, Share, difference};
pub use ledger::{Group, Ledger, Look, OptOut, Ordered, Spoken};
pub use note::{Fate, Note, Noted, OptOutKind, notes};
pub use opt_outs::{OptOutCounts, OptOuts, OptOutsReport, OptOutsTrigger};
pub use period::{Day, Month, Period};
pub use table::Table;
pub use uplift::{GroupCounts, Uplift, UpliftReport, UpliftTrigger};

/// What a report is asked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Asked {
    /// Which days: the day on which a trigger was looked at or an offer was sent.
    pub period: Period,
    /// Only this trigger.
    pub trigger: Option<crate::id::TriggerId>,
}

impl Asked {
    /// Whether something of a trigger on a day is asked about.
    pub fn takes(&self, trigger: &str, day: Day) -> bool {
        self.period.contains(day) && self.trigger.as_ref().is_none_or(|wanted| wanted.as_str() == trigger)
    }
}

/// A report would have more rows than are told at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the report would have more than {ROWS_MAX} rows; ask for fewer days, or for one trigger")]
pub struct TooMuch;

/// Rows of a report: a hundred triggers over half a year fit, at some 100 bytes each.
pub const ROWS_MAX: usize = 200_000;

/// Counts something, home by home.
pub trait Counts {
    /// Takes in all that is kept of one home, month after month.
    fn add(&mut self, home: &[Ledger]) -> Result<(), TooMuch>;
}
