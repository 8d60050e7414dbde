//! What goes by itself once its time is over, looked for once a day and at every start.
//!
//! | what | when it goes |
//! |---|---|
//! | bare lines of an erased buyer's order | at the end that the erasure's report names |
//! | what reports count of a home | after 25 months, also of a home where nobody is left to count |
//! | kept answers to `Idempotency-Key` | after 24 hours, also where no other call comes |
//! | leave to read what a device reports | at its date |
//! | names of imports | 90 days after their last use |
//! | former versions of products | when no log has an input that read them |
//! | that a home is watched for its people's caps | when nobody in it has had another one for a day |
//! | what people heard in homes that they left | after 400 days |

use hearthway_core::report::Month;
use hearthway_core::time::{Span, Timestamp};
use tracing::{info, warn};

use super::{App, Failure, rows};
use crate::engine::MONTHS_KEPT;
use crate::store::{Store, Write, keys};

/// How often it is looked.
const EVERY: Span = Span::hours(24);
/// Rows looked at between two pauses: below a millisecond of work.
const PAGE_ROWS: usize = 256;

/// When it was looked last.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Upkeep(Option<Timestamp>);

impl Upkeep {
    /// Whether it is time: a day is over, or the clock has gone back.
    pub(super) fn is_due(&mut self, now: Timestamp) -> bool {
        let is_due = self.0.is_none_or(|last| now >= last + EVERY || now < last);
        if is_due {
            self.0 = Some(now);
        }
        is_due
    }
}

impl App {
    /// Removes what is over. What cannot be removed keeps nothing else from it, and is tried again on the next day.
    pub(crate) async fn upkeep(&self) {
        let told = [
            ("orders that need not be kept", self.sweep_kept_orders().await),
            ("counts that are too old", self.sweep_ledgers().await),
            ("answers to repeated calls", self.idempotency.sweep_all(&self.engine).await),
            ("leave to read what devices report", self.sweep_grants().await),
            ("names of imports", self.sweep_import_names().await),
            ("former versions of products", self.sweep_products().await),
            ("homes that are watched in vain", self.engine.unwatch_homes().await.map(drop).map_err(Failure::from)),
            (
                "what was heard in homes that were left",
                self.engine.forget_taken_along().await.map(drop).map_err(Failure::from),
            ),
        ];
        for (what, outcome) in told {
            if let Err(failure) = outcome {
                warn!(reason = failure.kind(), "What is over could not be removed, and is tried again: {what}");
            }
        }
    }

    /// Counts for reports that are older than reports reach.
    async fn sweep_ledgers(&self) -> Result<(), Failure> {
        let this_month = Month::of(self.now());
        let is_over =
            |key: &keys::Key| keys::home_and_month(key).is_some_and(|(_, month)| month.0 + MONTHS_KEPT <= this_month.0);
        let mut after = None;
        loop {
            let page = self.engine.store().scan(&keys::all_ledgers(), after.as_ref(), PAGE_ROWS)?;
            let Some((last, _)) = page.last() else { return Ok(()) };
            after = Some(last.clone());
            let over: Vec<Write> = page.into_iter().map(|(key, _)| key).filter(is_over).map(Write::Delete).collect();
            if !over.is_empty() {
                rows::write(&self.engine, over).await?;
            }
            tokio::task::yield_now().await;
        }
    }

    /// Former versions of products that nothing reads.
    async fn sweep_products(&self) -> Result<(), Failure> {
        let engine = self.engine.clone();
        let read = tokio::task::spawn_blocking(move || engine.oldest_rules_read()).await;
        let oldest = read.map_err(|_| Failure::Conflict("the gateway is stopping".to_owned()))??;
        let gone = self.rulebook.let_products_go(&self.engine, oldest).await?;
        if gone > 0 {
            info!(versions = gone, "Former versions of products went: no log has an input that read them");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_time_at_the_start_after_a_day_and_where_a_clock_went_back() {
        let (mut upkeep, start) = (Upkeep::default(), Timestamp(1_800_000_000_000));
        assert!(upkeep.is_due(start));
        assert!(!upkeep.is_due(start + Span::hours(23)));
        assert!(upkeep.is_due(start + Span::hours(24)));
        assert!(!upkeep.is_due(start + Span::hours(25)));
        assert!(upkeep.is_due(start), "a clock that went back a day is not waited for");
    }
}
