//! Reports of a retailer: counts of its own homes, and nobody's data.

use std::sync::Arc;

use hearthway_core::id::TriggerId;
use hearthway_core::report::{Day, Period};
use hearthway_core::time::{Timestamp, Zone};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinError;

use super::documents::{Kind, Name};
use super::tokens::{Caller, Scope};
use super::{App, Failure};
use crate::engine::reports::{Found, NoReport, Question, Report};
use crate::store::StoreError;

/// Reports at work at once: each reads through a shop's ledgers on a thread of its own, and two
/// leave the disk to those who are being acknowledged. A further one waits for its turn.
const AT_WORK_MAX: usize = 2;

/// The places for reports at work.
pub(crate) struct Reports(Arc<Semaphore>);

impl Default for Reports {
    fn default() -> Reports {
        Reports(Arc::new(Semaphore::new(AT_WORK_MAX)))
    }
}

impl App {
    /// The zone of the days of a caller's reports.
    pub fn report_zone(&self, who: &Caller) -> Result<Zone, Failure> {
        let retailer = who.retailer(Scope::ReportsRead)?;
        Ok(self.engine.past().zone_of(retailer))
    }

    /// A report of the caller's own homes.
    pub async fn report(&self, who: &Caller, question: Question) -> Result<Report, Failure> {
        let retailer = who.retailer(Scope::ReportsRead)?.clone();
        let turn = self.report_turn().await?;
        let (past, now, trigger) = (self.engine.past(), self.now(), question.asked.trigger.clone());
        let of = retailer.clone();
        let work = tokio::task::spawn_blocking(move || {
            // Held here: a caller who goes away does not make room before the work has ended.
            let _turn = turn;
            past.report(&of, &question, now)
        });
        let report = made(work.await)?;
        match trigger.filter(|_| report.found.table().rows.is_empty()) {
            // Nothing was counted of a trigger that there is, or of one that there never was.
            Some(id) if !self.has_trigger(&retailer, &id) => Err(Failure::not_found("trigger", id)),
            _ => Ok(report),
        }
    }

    /// A place among the reports at work.
    pub(super) async fn report_turn(&self) -> Result<OwnedSemaphorePermit, Failure> {
        let turn = Arc::clone(&self.reports.0).acquire_owned().await;
        turn.map_err(|_| Failure::Conflict("the gateway is stopping".to_owned()))
    }

    fn has_trigger(&self, retailer: &hearthway_core::id::RetailerId, id: &TriggerId) -> bool {
        let kinds = [Kind::Trigger, Kind::Draft];
        kinds.iter().any(|kind| self.rulebook.get(&Name::of_retailer(*kind, retailer, id.as_str())).is_some())
    }
}

/// What was counted on a thread of its own.
pub(super) fn made<T>(work: Result<Result<T, NoReport>, JoinError>) -> Result<T, Failure> {
    let broken = |_| StoreError::Failed { doing: "making a report", cause: "it broke off".to_owned() };
    match work.map_err(broken)? {
        Ok(found) => Ok(found),
        Err(NoReport::TooMuch(why)) => Err(Failure::Conflict(why.to_string())),
        Err(NoReport::Store(error)) => Err(error.into()),
    }
}

/// Reads the days of a report: `2026-11-10`, or an instant of RFC 3339. Reports count by day, so an
/// instant stands for its day: the first day is taken whole, and so is the last where the instant
/// lies inside of it.
pub fn period(from: Option<&str>, until: Option<&str>, zone: &Zone) -> Result<Period, (&'static str, String)> {
    let day = |name: &'static str, text: &str| -> Result<(Day, bool), (&'static str, String)> {
        if let Some(day) = Day::parse(text) {
            return Ok((day, false));
        }
        // A `+` in a query that was not escaped arrives as a space.
        let at = Timestamp::parse_rfc3339(&text.replace(' ', "+"));
        let at = at.ok_or((name, "write a day as `2026-11-10`, or an instant as RFC 3339 has it".to_owned()))?;
        let is_inside = zone.local(at).time() != jiff::civil::Time::midnight();
        Ok((Day::of(at, zone), is_inside))
    };
    let from = from.map(|text| day("from", text)).transpose()?.map(|(day, _)| day);
    let until = until.map(|text| day("until", text)).transpose()?;
    let until = until.map(|(day, is_inside)| if is_inside { day.next() } else { day });
    if let Some((from, until)) = from.zip(until).filter(|(from, until)| from >= until) {
        let why = format!("{until} is not after `from` {from}: `until` is the first day that is not counted any more");
        return Err(("until", why));
    }
    Ok(Period { from, until })
}

/// A report as CSV.
pub fn csv(found: &Found) -> String {
    found.table().csv()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn read(from: &str, until: &str) -> Result<(String, String), String> {
        let zone = Zone::new("Europe/Paris").unwrap();
        let period = period(Some(from), Some(until), &zone).map_err(|(name, why)| format!("{name}: {why}"))?;
        Ok((period.from.unwrap().to_string(), period.until.unwrap().to_string()))
    }

    #[test]
    fn days_and_instants_are_read_in_the_retailers_zone() {
        let ok = |from: &str, until: &str| Ok((from.to_owned(), until.to_owned()));
        assert_eq!(read("2026-11-01", "2026-11-08"), ok("2026-11-01", "2026-11-08"));
        // 23:00 in UTC is midnight in Paris: the first day is the 2nd, and the 8th is not counted.
        assert_eq!(read("2026-11-01T23:00:00Z", "2026-11-07T23:00:00Z"), ok("2026-11-02", "2026-11-08"));
        assert_eq!(read("2026-11-01T12:00:00 01:00", "2026-11-07T00:00:00Z"), ok("2026-11-01", "2026-11-08"));
    }

    #[test]
    fn wrong_days_are_told_with_their_name() {
        assert!(read("yesterday", "2026-11-08").unwrap_err().starts_with("from: write a day"));
        assert!(read("2026-11-08", "2026-11-31").unwrap_err().starts_with("until: write a day"));
        assert!(read("2026-11-08", "2026-11-08").unwrap_err().starts_with("until: 2026-11-08 is not after"));
    }
}
