//! What came of a run.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use hearthway_core::time::{Span, Zone};
use serde::Serialize;

use crate::fleet::{Counted, Expect, Fleet};
use crate::happening::Happening;
use crate::oracle::{Fact, Finding};

/// Findings that the table prints; `--json` has them all.
const FINDINGS_SHOWN: usize = 20;

/// What came of a run.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Summary {
    /// The seed that repeats it.
    pub seed: u64,
    /// Homes played.
    pub homes: u64,
    /// Devices played.
    pub devices: u64,
    /// Time that passed in the homes.
    pub played: Span,
    /// Milliseconds that passed on the machine.
    pub real_ms: u64,
    /// How often each kind of thing happened.
    pub counts: BTreeMap<String, u64>,
    /// Different offers.
    pub offers: u64,
    /// Different offers that a device showed: one may be shown again, as after a restart.
    pub shown: u64,
    /// Different orders.
    pub orders: u64,
    /// Up messages that left for the first time.
    pub sent: u64,
    /// Acknowledgements, those of repeated messages too.
    pub acknowledged: u64,
    /// Refusals by code.
    pub errors: BTreeMap<String, u64>,
    /// Faults that were done to messages.
    pub faults: u64,
    /// What the oracle found.
    pub findings: Vec<Finding>,
    /// Findings beyond the number kept.
    pub findings_left_out: u64,
    /// What was expected, and what was.
    pub expectations: Vec<Outcome>,
    /// What was checked and not played, and what could not be checked.
    pub notes: Vec<String>,
}

/// One expectation and what was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Outcome {
    /// The expectation in words.
    pub expected: String,
    /// The value counted.
    pub was: u64,
    /// Whether it holds.
    pub holds: bool,
}

impl Summary {
    /// Whether nothing was found and every expectation holds.
    pub fn is_good(&self) -> bool {
        self.findings.is_empty() && self.expectations.iter().all(|outcome| outcome.holds)
    }
    /// How often something happened, by [`Happening::word`].
    pub fn count(&self, word: &str) -> u64 {
        self.counts.get(word).copied().unwrap_or(0)
    }
}

fn counted(n: u64, word: &str) -> String {
    if n == 1 { format!("1 {word}") } else { format!("{n} {word}s") }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let row = |f: &mut fmt::Formatter<'_>, name: &str, value: String| writeln!(f, "  {name:<24} {value}");
        let seconds = self.real_ms as f64 / 1_000.0;
        writeln!(
            f,
            "Played {} in {} with {}, seed {}, in {seconds:.1} s",
            self.played,
            counted(self.homes, "home"),
            counted(self.devices, "device"),
            self.seed
        )?;
        row(f, "registered, linked", format!("{}, {}", self.count("registered"), self.count("linked")))?;
        row(
            f,
            "messages sent",
            format!("{} ({} acknowledgements, {} faults)", self.sent, self.acknowledged, self.faults),
        )?;
        row(f, "offers, shown", format!("{}, {}", self.offers, self.shown))?;
        row(f, "answers, orders", format!("{}, {}", self.count("answered"), self.orders))?;
        row(f, "refusals", if self.errors.is_empty() { "none".into() } else { listed(&self.errors) })?;
        for outcome in &self.expectations {
            let sign = if outcome.holds { "ok " } else { "NOT" };
            writeln!(f, "  {sign} {} (was {})", outcome.expected, outcome.was)?;
        }
        for note in &self.notes {
            writeln!(f, "  note: {note}")?;
        }
        if self.findings.is_empty() {
            return write!(f, "  oracle: every acknowledged message has its effect, every offer its cause");
        }
        write!(f, "  oracle: {} findings", self.findings.len() as u64 + self.findings_left_out)?;
        for finding in self.findings.iter().take(FINDINGS_SHOWN) {
            let Finding { rule, home, device, id, what } = finding;
            write!(f, "\n    {rule}: {home} {device} {id}: {what}")?;
        }
        if self.findings.len() > FINDINGS_SHOWN {
            write!(f, "\n    … {} more with --json", self.findings.len() - FINDINGS_SHOWN)?;
        }
        Ok(())
    }
}

fn listed(counts: &BTreeMap<String, u64>) -> String {
    counts.iter().map(|(name, n)| format!("{name} {n}")).collect::<Vec<_>>().join(", ")
}

/// Counts what happens, by home, for the summary and the expectations.
#[derive(Debug, Default)]
pub struct Tally {
    zones: BTreeMap<String, Zone>,
    counts: BTreeMap<String, u64>,
    errors: BTreeMap<String, u64>,
    per_home: BTreeMap<(String, &'static str), u64>,
    shown_at: Vec<(String, jiff::civil::DateTime)>,
    offers: BTreeSet<(String, String)>,
    shown: BTreeSet<(String, String)>,
    orders: BTreeSet<(String, String)>,
    reset: BTreeSet<String>,
    linked: BTreeSet<String>,
    after_reset: Vec<String>,
    sent: u64,
    acknowledged: u64,
}

impl Tally {
    /// An empty tally for a fleet.
    pub fn new(fleet: &Fleet) -> Tally {
        let zones = fleet.homes.iter().map(|home| (home.id.clone(), home.zone.clone())).collect();
        Tally { zones, ..Tally::default() }
    }

    /// Counts a happening.
    pub fn happened(&mut self, happening: &Happening) {
        let home = happening.scene().home.clone();
        *self.counts.entry(happening.word().to_owned()).or_default() += 1;
        *self.per_home.entry((home.clone(), happening.word())).or_default() += 1;
        match happening {
            Happening::Error { code, .. } => *self.errors.entry(code.clone()).or_default() += 1,
            Happening::OfferShown { scene, offer, .. } => {
                self.shown.insert((home.clone(), offer.clone()));
                if let Some(zone) = self.zones.get(&home) {
                    self.shown_at.push((home, zone.local(scene.at)));
                }
            }
            Happening::Registered { .. }
            | Happening::Online { .. }
            | Happening::Offline { .. }
            | Happening::ClaimCode { .. }
            | Happening::Linked { .. }
            | Happening::Reported { .. }
            | Happening::OfferWithdrawn { .. }
            | Happening::Answered { .. }
            | Happening::OrderChanged { .. }
            | Happening::Replaced { .. }
            | Happening::Reset { .. } => {}
        }
    }

    /// Counts a fact about a device.
    pub fn observed(&mut self, home: &str, serial: &str, fact: &Fact) {
        match fact {
            Fact::Sent { .. } => self.sent += 1,
            Fact::Acked { .. } => self.acknowledged += 1,
            Fact::Put { offer, .. } => {
                self.offers.insert((home.to_owned(), offer.clone()));
                if self.reset.contains(serial) {
                    self.after_reset.push(home.to_owned());
                }
            }
            Fact::Order { order, .. } => {
                self.orders.insert((home.to_owned(), order.clone()));
            }
            Fact::Linked => {
                self.reset.remove(serial);
                self.linked.insert(serial.to_owned());
            }
            Fact::Unlinked => {
                self.reset.insert(serial.to_owned());
            }
            Fact::Refused { .. }
            | Fact::Code
            | Fact::ClaimRefused
            | Fact::Consented { .. }
            | Fact::Synced
            | Fact::OfferWithdrawn { .. }
            | Fact::Foreign { .. } => {}
        }
    }

    /// The value of an expectation.
    pub fn value(&self, expect: &Expect) -> u64 {
        let here = |home: &str| expect.home.as_deref().is_none_or(|wanted| wanted == home);
        let words = |word: &str| -> u64 {
            self.per_home.iter().filter(|((home, of), _)| here(home) && *of == word).map(|(_, n)| n).sum()
        };
        match expect.that {
            Counted::Registered => words("registered"),
            Counted::Linked => words("linked"),
            Counted::Shown => words("offer_shown"),
            Counted::Answers => words("answered"),
            Counted::Errors => words("error"),
            Counted::Offers => self.offers.iter().filter(|(home, _)| here(home)).count() as u64,
            Counted::Orders => self.orders.iter().filter(|(home, _)| here(home)).count() as u64,
            Counted::PersonalAfterReset => self.after_reset.iter().filter(|home| here(home)).count() as u64,
            Counted::ShownBetween(window) => {
                let inside = |shown: &&(String, jiff::civil::DateTime)| here(&shown.0) && window.contains(shown.1);
                self.shown_at.iter().filter(inside).count() as u64
            }
        }
    }

    /// Writes the counts into a summary and judges the fleet's expectations.
    pub fn fill(self, fleet: &Fleet, summary: &mut Summary) {
        summary.expectations = fleet
            .expects
            .iter()
            .map(|expect| {
                let was = self.value(expect);
                let place = expect.home.as_deref().map(|home| format!(" in {home}")).unwrap_or_default();
                let expected = format!("{}{place} {} {}", expect.that.as_str(), expect.op.as_str(), expect.value);
                Outcome { expected, was, holds: expect.op.holds(was, expect.value) }
            })
            .collect();
        summary.offers = self.offers.len() as u64;
        // A device shows what it was sent.
        summary.shown = self.shown.intersection(&self.offers).count() as u64;
        summary.orders = self.orders.len() as u64;
        summary.sent = self.sent;
        summary.acknowledged = self.acknowledged;
        summary.counts = self.counts;
        summary.errors = self.errors;
    }
}

#[cfg(test)]
mod tests {
    use hearthway_core::time::Timestamp;

    use super::*;
    use crate::happening::Scene;

    #[test]
    fn an_offer_that_is_shown_twice_is_one_that_was_shown() {
        let mut tally = Tally::default();
        let scene = || Scene { at: Timestamp(0), home: "maison".into(), device: "d-1".into() };
        for _ in 0..2 {
            tally.offers.insert(("maison".into(), "of_1".into()));
            tally.happened(&Happening::OfferShown {
                scene: scene(),
                offer: "of_1".into(),
                title: String::new(),
                product: None,
                price: None,
            });
        }
        let mut summary = Summary::default();
        let (seed, start, length) = (0, None, Span::hours(1));
        let (homes, causes, expects, notes) = Default::default();
        tally.fill(&Fleet { seed, start, length, homes, causes, expects, notes }, &mut summary);
        assert_eq!((summary.offers, summary.shown, summary.count("offer_shown")), (1, 1, 2));
    }
}
