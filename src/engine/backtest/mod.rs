//! What would have happened: the input log decided again with other triggers, on virtual time.
//!
//! One household after the other, and of its log a few thousand inputs at a time, so that memory
//! does not grow with the log. Each begins as it was at the start of the window; from there on
//! the candidate triggers are the only ones, over the models, products and prices of today.
//! What people did is what they did: an offer that was made live as well is seen and answered as
//! it was; one that was not made live counts as seen and is not answered.
//!
//! Budgets are untouched at the start of the window, and orders draw from them as home follows home:
//! who comes first by the order of the homes, and not by the clock, gets the last unit.

mod rerun;
mod segments;
mod tally;
#[cfg(test)]
mod tests;

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::sync::Arc;

use hearthway_core::budget::AllDrawn;
use hearthway_core::id::{HouseholdId, RetailerId, TriggerId};
use hearthway_core::rules::RuleSet;
use hearthway_core::time::{Span, Timestamp};
use hearthway_core::trace::CandidateTrace;
use hearthway_core::trigger::TriggerSet;

pub use tally::{Contacted, Counts, Outcome, Report, ShorterHistory, TriggerTally};

use super::past::{Past, Window};
use crate::store::StoreError;
use rerun::Rerun;
use segments::Segments;
use tally::HomeTally;

/// A backtest: whose, with which triggers, over which time.
pub struct Backtest {
    past: Past,
    retailer: RetailerId,
    rules: Arc<RuleSet>,
    live: BTreeSet<TriggerId>,
    window: Window,
}

/// How far a backtest is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Progress {
    /// Households done.
    pub households: u64,
    /// Of so many.
    pub households_total: u64,
    /// Inputs decided again.
    pub inputs: u64,
}

/// One look at one trigger on virtual time.
#[derive(Debug)]
pub struct Looked<'l> {
    /// In which household.
    pub household: HouseholdId,
    /// When.
    pub at: Timestamp,
    /// What every step said.
    pub candidate: &'l CandidateTrace,
}

/// What hears of a backtest while it runs.
pub trait Listener {
    /// After each household; `false` ends the backtest early.
    fn progress(&mut self, progress: Progress) -> bool {
        let _ = progress;
        true
    }
    /// At each look at a trigger.
    fn looked(&mut self, looked: &Looked<'_>) {
        let _ = looked;
    }
}

/// Hears of nothing.
impl Listener for () {}

impl Backtest {
    /// A backtest of these triggers in place of all of the retailer's. Triggers of other retailers
    /// in the set are not looked at.
    pub fn new(past: Past, retailer: RetailerId, candidates: TriggerSet, window: Window) -> Backtest {
        let now = past.rules();
        let of_retailer = |trigger: &&Arc<_>| -> bool {
            let trigger: &hearthway_core::trigger::Trigger = trigger;
            trigger.retailer == retailer
        };
        let live = now.triggers.iter().filter(of_retailer).map(|trigger| trigger.id.clone()).collect();
        let candidates = TriggerSet::build(candidates.iter().filter(of_retailer).cloned());
        let rules = Arc::new(RuleSet { triggers: candidates, ..(*now).clone() });
        Backtest { past, retailer, rules, live, window }
    }

    /// Runs it. None when the listener ended it.
    pub fn run(&self, listener: &mut dyn Listener) -> Result<Option<Report>, StoreError> {
        let mut progress = Progress::default();
        let mut newest: Option<Timestamp> = None;
        self.past.households(|household| {
            progress.households_total += u64::from(self.is_own(household)?);
            let last = self.past.newest_input(household)?.map(|(_, at)| at);
            newest = newest.max(last);
            Ok(())
        })?;
        // After the last thing that is known nothing is made up: no deadline fires there.
        let end = newest.map_or(Timestamp(0), |newest| newest + Span(1));
        let until = self.window.until.map_or(end, |until| until.min(end));
        let window = Window { from: self.window.from, until: Some(until) };
        let mut report = Report::new(&self.retailer, &self.rules, &self.live, window);
        let draws = RefCell::default();
        let mut goes_on = true;
        self.past.households(|household| {
            if goes_on && self.is_own(household)? {
                let home = self.home(household, window, &draws, listener)?;
                progress.households += 1;
                progress.inputs += home.inputs;
                report.add(household, home);
                goes_on = listener.progress(progress);
            }
            Ok(())
        })?;
        Ok(goes_on.then_some(report))
    }

    /// Whether a home is the retailer's: not a device that nobody has claimed, nor another one's customer.
    fn is_own(&self, household: HouseholdId) -> Result<bool, StoreError> {
        Ok(self.past.household(household)?.is_some_and(|home| home.retailer.as_ref() == Some(&self.retailer)))
    }

    fn home(
        &self,
        household: HouseholdId,
        window: Window,
        draws: &RefCell<AllDrawn>,
        listener: &mut dyn Listener,
    ) -> Result<HomeTally, StoreError> {
        let mut segments = Segments::of(&self.past, household, window)?;
        let Some(start) = segments.take_start() else { return Ok(HomeTally::default()) };
        let mut rerun = Rerun::new(&self.past, &self.rules, start, window, draws);
        while let Some(rows) = segments.next()? {
            rerun.take(&rows, listener)?;
        }
        rerun.end(listener);
        Ok(rerun.into_tally(segments.begins_late()))
    }
}
