//! Which triggers drive homes away: who withdrew soon after an offer, beside who did so after an
//! offer that was held out.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::interval::{Interval, Share, difference};
use super::ledger::{Group, Ledger};
use super::note::{Fate, OptOutKind};
use super::table::{Table, places};
use super::{Asked, Counts, TooMuch};
use crate::time::{Span, Timestamp};

/// Counts opt-outs, home by home.
#[derive(Debug)]
pub struct OptOuts {
    asked: Asked,
    within: Span,
    triggers: BTreeMap<String, Sides>,
}

#[derive(Debug, Default)]
struct Sides {
    spoken_to: OptOutCounts,
    /// Of those the ones that were drawn, which alone can be compared.
    treated: Share,
    held_out: OptOutCounts,
    ordered: u64,
}

/// One side. A home that withdrew in two ways is in both numbers, and once in `opted_out`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct OptOutCounts {
    /// Homes.
    pub households: u64,
    /// Homes that withdrew in any way in the time after an offer.
    pub opted_out: u64,
    /// Their share.
    pub rate: Option<f64>,
    /// Homes that withdrew a consent.
    pub consent_withdrawn: u64,
    /// Homes that asked for silence.
    pub paused: u64,
    /// Homes that gave a device back.
    pub released: u64,
}

impl OptOutCounts {
    fn share(&self) -> Share {
        Share { of: self.opted_out, all: self.households }
    }
    fn add(&mut self, kinds: &BTreeSet<OptOutKind>) {
        self.households += 1;
        self.opted_out += u64::from(!kinds.is_empty());
        for kind in kinds {
            match kind {
                OptOutKind::ConsentWithdrawn => self.consent_withdrawn += 1,
                OptOutKind::Paused => self.paused += 1,
                OptOutKind::Released => self.released += 1,
            }
        }
    }
}

impl OptOuts {
    /// Nothing counted yet.
    pub fn new(asked: Asked, within: Span) -> OptOuts {
        OptOuts { asked, within, triggers: BTreeMap::new() }
    }

    /// What was counted.
    pub fn report(self) -> OptOutsReport {
        let triggers = self.triggers.into_iter().map(|(trigger, Sides { spoken_to, treated, held_out, ordered })| {
            let more = difference(treated, held_out.share());
            OptOutsTrigger {
                trigger,
                spoken_to: OptOutCounts { rate: spoken_to.share().rate(), ..spoken_to },
                held_out: OptOutCounts { rate: held_out.share().rate(), ..held_out },
                more,
                drives_opt_outs: more.is_some_and(|more| more.low > 0.0),
                ordered,
            }
        });
        OptOutsReport { within_s: self.within.0 / 1_000, triggers: triggers.collect() }
    }
}

/// What a home came to at one trigger.
struct Met {
    first: Group,
    at: Vec<Timestamp>,
    offers: Vec<u64>,
}

impl Counts for OptOuts {
    fn add(&mut self, home: &[Ledger]) -> Result<(), TooMuch> {
        let mut met: BTreeMap<&str, Met> = BTreeMap::new();
        let said = home.iter().flat_map(Ledger::spoken);
        // What was put back has not reached anybody.
        let said = said.filter(|said| said.group == Group::HeldOut || said.was_sent());
        for said in said.filter(|said| self.asked.takes(said.trigger, said.day)) {
            let first = Met { first: said.group, at: Vec::new(), offers: Vec::new() };
            let met = met.entry(said.trigger).or_insert(first);
            met.at.push(said.at);
            if said.became(Fate::Accepted) {
                met.offers.push(said.offer);
            }
        }
        let out: Vec<_> = home.iter().flat_map(Ledger::opt_outs).collect();
        for (trigger, met) in met {
            let soon = |at: Timestamp| met.at.iter().any(|said| *said <= at && at <= *said + self.within);
            let kinds: BTreeSet<OptOutKind> = out.iter().filter(|out| soon(out.at)).map(|out| out.kind).collect();
            let mut orders = home.iter().flat_map(Ledger::orders);
            let sides = self.triggers.entry(trigger.to_owned()).or_default();
            if met.first == Group::HeldOut {
                sides.held_out.add(&kinds);
                continue;
            }
            sides.spoken_to.add(&kinds);
            sides.ordered += u64::from(orders.any(|order| order.stands && met.offers.contains(&order.offer)));
            if met.first == Group::Treated {
                sides.treated.all += 1;
                sides.treated.of += u64::from(!kinds.is_empty());
            }
        }
        Ok(())
    }
}

/// A trigger's opt-outs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OptOutsTrigger {
    /// The trigger.
    pub trigger: String,
    /// Homes that got an offer of it.
    pub spoken_to: OptOutCounts,
    /// Homes that were held out.
    pub held_out: OptOutCounts,
    /// How much larger the share is among those who were spoken to, of those whose offer was drawn;
    /// none where nobody was held out.
    pub more: Option<Interval>,
    /// Whether that is more than chance: the whole interval lies above 0.
    pub drives_opt_outs: bool,
    /// Homes that ordered through an offer of it: what it sells beside what it costs.
    pub ordered: u64,
}

/// The opt-outs of all triggers.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct OptOutsReport {
    /// For how long after an offer a withdrawal is put down to it, seconds.
    pub within_s: i64,
    /// By trigger.
    pub triggers: Vec<OptOutsTrigger>,
}

impl OptOutsReport {
    /// A row per trigger.
    pub fn table(&self) -> Table {
        let rows = self.triggers.iter().map(|of| {
            let side = |side: &OptOutCounts| {
                let OptOutCounts { households, opted_out, rate, consent_withdrawn, paused, released } = *side;
                let kinds = [consent_withdrawn, paused, released].map(|n| n.to_string());
                [households.to_string(), opted_out.to_string(), places(rate)].into_iter().chain(kinds)
            };
            let more = of.more;
            let ends = [more.map(|at| at.difference), more.map(|at| at.low), more.map(|at| at.high)].map(places);
            let sides = side(&of.spoken_to).chain(side(&of.held_out));
            let last = [of.drives_opt_outs.to_string(), of.ordered.to_string()];
            [of.trigger.clone()].into_iter().chain(sides).chain(ends).chain(last).collect()
        });
        let columns = vec![
            "trigger",
            "spoken_to",
            "opted_out",
            "rate",
            "consent_withdrawn",
            "paused",
            "released",
            "held_out",
            "held_out_opted_out",
            "held_out_rate",
            "held_out_consent_withdrawn",
            "held_out_paused",
            "held_out_released",
            "more",
            "low",
            "high",
            "drives_opt_outs",
            "ordered",
        ];
        Table { columns, rows: rows.collect() }
    }
}
