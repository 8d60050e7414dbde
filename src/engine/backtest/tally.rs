//! What a backtest counts, per home and over all of them.

use std::collections::{BTreeMap, BTreeSet};

use hearthway_core::id::{HouseholdId, RetailerId, TriggerId};
use hearthway_core::model::OfferPrice;
use hearthway_core::money::{Currency, Money};
use hearthway_core::rules::RuleSet;
use hearthway_core::time::Timestamp;
use hearthway_core::trace::{CandidateTrace, Step, StepVerdict, Verdict};
use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use super::super::past::Window;

/// Homes shown that were contacted most: as many as somebody would look into.
const MOST_CONTACTED_MAX: usize = 10;
/// Homes named whose history begins late; the others are only counted.
const SHORTER_HISTORY_NAMED_MAX: usize = 10;
/// Days counted apart: three years. What comes after them counts with the last.
const DAYS_MAX: usize = 1_096;

/// How a look at a trigger ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// An offer left.
    Sent,
    /// It waits for a better hour.
    Held,
    /// A step blocked it, for a reason by its code.
    Blocked(Step, String),
}

impl Outcome {
    /// How the look ended that left this trace.
    pub fn of(candidate: &CandidateTrace) -> Outcome {
        if candidate.verdict == Verdict::Sent {
            return Outcome::Sent;
        }
        let block = candidate.steps.iter().find(|step| step.verdict == StepVerdict::Block);
        match block {
            Some(step) => Outcome::Blocked(step.step, step.code().to_owned()),
            None => Outcome::Held,
        }
    }
}

/// Numbers of looks by their end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Offers that left.
    pub sent: u64,
    /// Looks after which an offer waits for a better hour.
    pub held: u64,
    /// Looks that a step ended.
    pub blocked: u64,
}

impl Counts {
    fn add(&mut self, outcome: &Outcome) {
        match outcome {
            Outcome::Sent => self.sent += 1,
            Outcome::Held => self.held += 1,
            Outcome::Blocked(..) => self.blocked += 1,
        }
    }
    fn add_all(&mut self, other: Counts) {
        self.sent += other.sent;
        self.held += other.held;
        self.blocked += other.blocked;
    }
}

/// What became of one trigger.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TriggerTally {
    /// Whether a trigger of this id is live today.
    pub is_live: bool,
    /// Looks at it.
    #[serde(flatten)]
    pub counts: Counts,
    /// Homes that got an offer of it.
    pub households: u64,
    /// Looks that ended at a step, by `step:reason`.
    pub blocked_by: BTreeMap<String, u64>,
}

/// A home and how often it was contacted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contacted {
    /// Which.
    pub household: HouseholdId,
    /// Offers that it got.
    pub sent: u64,
}

/// A home whose older history is gone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShorterHistory {
    /// Which.
    pub household: HouseholdId,
    /// From when on it is known.
    #[serde(serialize_with = "shown", deserialize_with = "read")]
    pub since: Timestamp,
}

/// What a backtest found. The same log and triggers give the same report, byte for byte.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Whose triggers.
    pub retailer: RetailerId,
    /// From when, where that was said.
    #[serde(serialize_with = "maybe_shown", deserialize_with = "maybe_read")]
    pub from: Option<Timestamp>,
    /// The first instant after it.
    #[serde(serialize_with = "maybe_shown", deserialize_with = "maybe_read")]
    pub until: Option<Timestamp>,
    /// Inputs decided again.
    pub inputs: u64,
    /// Homes with an input in the window.
    pub households: u64,
    /// All looks at triggers.
    #[serde(flatten)]
    pub counts: Counts,
    /// Homes that got an offer.
    pub households_contacted: u64,
    /// What all offers would have come to, had everybody accepted: minor units by currency.
    pub worth: BTreeMap<Currency, i64>,
    /// What the discounts of all offers would give if all are accepted, in minor units.
    #[serde(default)]
    pub discounts: BTreeMap<Currency, i64>,
    /// Looks that ended at a step, by `step:reason`.
    pub blocked_by: BTreeMap<String, u64>,
    /// By trigger.
    pub triggers: BTreeMap<TriggerId, TriggerTally>,
    /// By day in the home's own zone.
    pub days: BTreeMap<String, Counts>,
    /// The homes that were contacted most, most first.
    pub most_contacted: Vec<Contacted>,
    /// Homes whose history begins inside the window, because what is older is gone.
    pub shorter_history: u64,
    /// Some of them.
    pub shorter_history_of: Vec<ShorterHistory>,
}

fn shown<S: serde::Serializer>(at: &Timestamp, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(at)
}
fn maybe_shown<S: serde::Serializer>(at: &Option<Timestamp>, to: S) -> Result<S::Ok, S::Error> {
    at.map(|at| at.to_string()).serialize(to)
}

fn read<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Timestamp, D::Error> {
    let text = String::deserialize(from)?;
    Timestamp::parse_rfc3339(&text).ok_or_else(|| serde::de::Error::custom("this is no instant of RFC 3339"))
}
fn maybe_read<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<Timestamp>, D::Error> {
    let text = Option::<String>::deserialize(from)?;
    let wrong = || serde::de::Error::custom("this is no instant of RFC 3339");
    text.map(|text| Timestamp::parse_rfc3339(&text).ok_or_else(wrong)).transpose()
}

/// The looks at one trigger in one home.
#[derive(Debug, Default)]
struct Looks {
    counts: Counts,
    blocked_by: BTreeMap<(Step, String), u64>,
}

/// What one home came to.
#[derive(Debug, Default)]
pub(super) struct HomeTally {
    pub(super) inputs: u64,
    pub(super) begins_late: Option<Timestamp>,
    looks: BTreeMap<TriggerId, Looks>,
    days: BTreeMap<Date, Counts>,
    worth: BTreeMap<Currency, i64>,
    discounts: BTreeMap<Currency, i64>,
}

impl HomeTally {
    pub(super) fn add(&mut self, candidate: &CandidateTrace, outcome: Outcome, day: Date, price: Option<&OfferPrice>) {
        let looks = self.looks.entry(candidate.trigger.clone()).or_default();
        looks.counts.add(&outcome);
        day_of(&mut self.days, day).add(&outcome);
        match outcome {
            Outcome::Sent => {
                if let Some(price) = price {
                    add_up(&mut self.worth, price.total);
                    price.discount(1, 1).into_iter().for_each(|discount| add_up(&mut self.discounts, discount));
                }
            }
            Outcome::Held => {}
            Outcome::Blocked(step, code) => *looks.blocked_by.entry((step, code)).or_default() += 1,
        }
    }
}

/// Adds an amount to the sum of its currency.
fn add_up(sums: &mut BTreeMap<Currency, i64>, amount: Money) {
    let sum = sums.entry(amount.currency).or_default();
    *sum = sum.saturating_add(amount.minor);
}

/// The counts of a day.
fn day_of<Day: Ord + Clone>(days: &mut BTreeMap<Day, Counts>, day: Day) -> &mut Counts {
    let is_full = days.len() >= DAYS_MAX && !days.contains_key(&day);
    let day = days.keys().next_back().cloned().filter(|_| is_full).unwrap_or(day);
    days.entry(day).or_default()
}

impl Report {
    pub(super) fn new(retailer: &RetailerId, rules: &RuleSet, live: &BTreeSet<TriggerId>, window: Window) -> Report {
        let tally = |id: &TriggerId| TriggerTally { is_live: live.contains(id), ..TriggerTally::default() };
        Report {
            retailer: retailer.clone(),
            from: window.from,
            until: window.until,
            inputs: 0,
            households: 0,
            counts: Counts::default(),
            households_contacted: 0,
            worth: BTreeMap::new(),
            discounts: BTreeMap::new(),
            blocked_by: BTreeMap::new(),
            triggers: rules.triggers.iter().map(|trigger| (trigger.id.clone(), tally(&trigger.id))).collect(),
            days: BTreeMap::new(),
            most_contacted: Vec::new(),
            shorter_history: 0,
            shorter_history_of: Vec::new(),
        }
    }

    pub(super) fn add(&mut self, household: HouseholdId, home: HomeTally) {
        self.inputs += home.inputs;
        self.households += u64::from(home.inputs > 0);
        let mut sent = 0;
        for (trigger, Looks { counts, blocked_by }) in home.looks {
            sent += counts.sent;
            self.counts.add_all(counts);
            let tally = self.triggers.entry(trigger).or_default();
            tally.counts.add_all(counts);
            tally.households += u64::from(counts.sent > 0);
            for ((step, code), times) in blocked_by {
                let key = format!("{step}:{code}");
                *tally.blocked_by.entry(key.clone()).or_default() += times;
                *self.blocked_by.entry(key).or_default() += times;
            }
        }
        for (day, counts) in home.days {
            day_of(&mut self.days, day.to_string()).add_all(counts);
        }
        for (currency, minor) in home.worth {
            add_up(&mut self.worth, Money { minor, currency });
        }
        for (currency, minor) in home.discounts {
            add_up(&mut self.discounts, Money { minor, currency });
        }
        if sent > 0 {
            self.households_contacted += 1;
            let place = self.most_contacted.partition_point(|other| other.sent >= sent);
            self.most_contacted.insert(place, Contacted { household, sent });
            self.most_contacted.truncate(MOST_CONTACTED_MAX);
        }
        if let Some(since) = home.begins_late {
            self.shorter_history += 1;
            if self.shorter_history_of.len() < SHORTER_HISTORY_NAMED_MAX {
                self.shorter_history_of.push(ShorterHistory { household, since });
            }
        }
    }
}
