//! What a trigger sells beside what would have been bought anyway: homes that were spoken to beside
//! homes that were held out.
//!
//! Compared is everybody whose offer came as far as the `holdout` step in the period, on the side
//! on which the draw put them at their first such offer: intention to treat. Whether the offer was
//! delivered, seen or taken back afterwards does not move a home to the other side, because it could
//! not have done so there, where nothing was sent. Offers from before the trigger held anybody out
//! are not compared. A home has bought when it ordered that product, through any offer, within the
//! window after its first offer; orders that were cancelled or refused do not count.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::interval::{Interval, Share, difference};
use super::ledger::{Group, Ledger};
use super::table::{Table, places};
use super::{Asked, Counts, TooMuch};
use crate::time::{Span, Timestamp};

/// Counts an uplift, home by home.
#[derive(Debug)]
pub struct Uplift {
    asked: Asked,
    window: Span,
    now: Timestamp,
    triggers: BTreeMap<String, Sides>,
}

#[derive(Debug, Default)]
struct Sides {
    treated: GroupCounts,
    held_out: GroupCounts,
    changed_side: u64,
}

/// One side.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct GroupCounts {
    /// Homes.
    pub households: u64,
    /// Homes that bought within the window.
    pub ordered: u64,
    /// Their share.
    pub rate: Option<f64>,
    /// Homes whose window has not ended: they may still buy.
    pub still_open: u64,
}

impl GroupCounts {
    fn share(&self) -> Share {
        Share { of: self.ordered, all: self.households }
    }
}

impl Uplift {
    /// Nothing counted yet. `now` tells which windows have not ended.
    pub fn new(asked: Asked, window: Span, now: Timestamp) -> Uplift {
        Uplift { asked, window, now, triggers: BTreeMap::new() }
    }

    /// What was counted.
    pub fn report(self) -> UpliftReport {
        let triggers = self.triggers.into_iter().map(|(trigger, Sides { treated, held_out, changed_side })| {
            let with_rate = |side: GroupCounts| GroupCounts { rate: side.share().rate(), ..side };
            UpliftTrigger {
                trigger,
                treated: with_rate(treated),
                held_out: with_rate(held_out),
                uplift: difference(treated.share(), held_out.share()),
                changed_side,
            }
        });
        let method = "Newcombe 1998, method 10 (hybrid score), 95 %".to_owned();
        UpliftReport { window_s: self.window.0 / 1_000, method, triggers: triggers.collect() }
    }
}

impl Counts for Uplift {
    fn add(&mut self, home: &[Ledger]) -> Result<(), TooMuch> {
        // By trigger: the first offer that was drawn, and whether a later one was on the other side.
        let mut firsts: BTreeMap<&str, (Group, Timestamp, &str, bool)> = BTreeMap::new();
        let said = home.iter().flat_map(Ledger::spoken);
        let drawn = said.filter(|said| said.group != Group::NotDrawn && self.asked.takes(said.trigger, said.day));
        for said in drawn {
            let Some(product) = said.product else { continue };
            let first = firsts.entry(said.trigger).or_insert((said.group, said.at, product, false));
            first.3 |= first.0 != said.group;
        }
        for (trigger, (group, at, product, changed)) in firsts {
            let end = at + self.window;
            let bought = home
                .iter()
                .flat_map(Ledger::orders)
                .any(|order| order.stands && order.product == product && at <= order.at && order.at <= end);
            let sides = self.triggers.entry(trigger.to_owned()).or_default();
            let side = if group == Group::HeldOut { &mut sides.held_out } else { &mut sides.treated };
            side.households += 1;
            side.ordered += u64::from(bought);
            side.still_open += u64::from(end > self.now);
            sides.changed_side += u64::from(changed);
        }
        Ok(())
    }
}

/// A trigger's uplift.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct UpliftTrigger {
    /// The trigger.
    pub trigger: String,
    /// Homes that were spoken to.
    pub treated: GroupCounts,
    /// Homes that were held out.
    pub held_out: GroupCounts,
    /// How much more of those who were spoken to bought, as a share; none where a side is empty.
    pub uplift: Option<Interval>,
    /// Homes that were on the other side at a later offer, because the holdout was changed: they
    /// are counted on their first.
    pub changed_side: u64,
}

/// The uplift of all triggers that hold homes out and sell something.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct UpliftReport {
    /// How long after its first offer what a home buys counts, seconds.
    pub window_s: i64,
    /// How the interval is made.
    pub method: String,
    /// By trigger.
    pub triggers: Vec<UpliftTrigger>,
}

impl UpliftReport {
    /// A row per trigger.
    pub fn table(&self) -> Table {
        let rows = self.triggers.iter().map(|of| {
            let side = |side: &GroupCounts| {
                [side.households.to_string(), side.ordered.to_string(), places(side.rate), side.still_open.to_string()]
            };
            let uplift = of.uplift;
            let ends = [uplift.map(|at| at.difference), uplift.map(|at| at.low), uplift.map(|at| at.high)].map(places);
            let sides = side(&of.treated).into_iter().chain(side(&of.held_out));
            [of.trigger.clone()].into_iter().chain(sides).chain(ends).chain([of.changed_side.to_string()]).collect()
        });
        let columns = vec![
            "trigger",
            "treated",
            "treated_ordered",
            "treated_rate",
            "treated_still_open",
            "held_out",
            "held_out_ordered",
            "held_out_rate",
            "held_out_still_open",
            "uplift",
            "low",
            "high",
            "changed_side",
        ];
        Table { columns, rows: rows.collect() }
    }
}
