//! What is foreseen of a slot: the law that its track gives, as instants.

use super::purchases::{self, Habit};
use crate::forecast::when::{Costs, Lead, is_sure, order_day};
use crate::forecast::{Moment, ProductPrior, RunOut, instant};
use crate::id::{DeviceKey, ProductId, SlotId};
use crate::model::{Household, SlotKey, Track};
use crate::rules::RuleSet;
use crate::time::{Timestamp, Zone};
use crate::trigger::{ForecastField, Replenish};

/// Days of own use below which a home's forecast is only its prior: where that is the neutral one,
/// nothing is foreseen.
const DAYS_LEARNED_MIN: f64 = 5.0;
/// Days from order to arrival where the product does not say.
const LEAD_DAYS_DEFAULT: f64 = 3.0;

/// What is foreseen of one slot, seen from an instant.
#[derive(Debug, Clone, Copy)]
pub struct Foreseen<'f> {
    law: Law<'f>,
    /// By what it is decided when to speak: the same, but for purchases alone as it stood at the last one. Who has not
    /// bought by now may buy at any time from now on, and by that the moment to speak would for ever be tomorrow.
    plan: Law<'f>,
    now: Moment,
    cycle_days: Option<f64>,
    lead: Lead,
    is_stuck: bool,
    basis: Basis,
}

/// What a forecast rests on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Basis {
    /// What the slot reports.
    Reports,
    /// Purchases alone, with so many gaps between them.
    Purchases(u16),
}

#[derive(Debug, Clone, Copy)]
enum Law<'f> {
    RunOut(RunOut<'f>),
    /// The device knows the day itself.
    Date(Timestamp),
}

/// Why nothing is foreseen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unforeseen {
    /// Nothing was reported that teaches anything.
    NoEvidence,
    /// Fewer days of use than a forecast needs.
    NotEnoughHistory,
}

impl Unforeseen {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Unforeseen::NoEvidence => "no_evidence",
            Unforeseen::NotEnoughHistory => "not_enough_history",
        }
    }
}

/// The instant as forecasts count it, with the home's absence.
pub(super) fn moment(home: &Household, at: Timestamp) -> Moment {
    let moment = Moment::at(at);
    moment.with_away(home.supply.absence.away_days(moment.day))
}

/// What is known of the use of a track's product before anything is known of the home's.
pub(super) fn prior_of<'r>(home: &Household, rules: &'r RuleSet, track: &Track) -> &'r ProductPrior {
    rules.prior(home, track.product.as_ref())
}

/// What is foreseen of a slot of a home: by what it reports, or, where that tells nothing, by what is bought for it.
pub fn foreseen<'f>(
    home: &'f Household,
    rules: &'f RuleSet,
    device: &DeviceKey,
    slot: &SlotId,
    now: Timestamp,
) -> Result<Foreseen<'f>, Unforeseen> {
    let key = SlotKey { device: device.clone(), slot: slot.clone() };
    let by_reports = match home.supply.tracks.get(&key) {
        Some(track) => by_reports(home, rules, track, now),
        None => Err(Unforeseen::NoEvidence),
    };
    let nothing = match by_reports {
        Err(nothing) if purchases::is_silent(home, device, slot) => nothing,
        known => return known,
    };
    match purchases::habit(home, rules, device, slot) {
        Some(habit) => by_purchases(home, rules, &habit, now),
        None => Err(nothing),
    }
}

fn by_reports<'f>(
    home: &'f Household,
    rules: &'f RuleSet,
    track: &'f Track,
    now: Timestamp,
) -> Result<Foreseen<'f>, Unforeseen> {
    let prior = prior_of(home, rules, track);
    let law = match track.ends() {
        Some(ends) => Law::Date(ends),
        None => Law::RunOut(track.run_out(prior).ok_or(Unforeseen::NoEvidence)?),
    };
    if track.days_learned() < DAYS_LEARNED_MIN && !has_prior(home, rules, track.product.as_ref()) {
        return Err(Unforeseen::NotEnoughHistory);
    }
    Ok(Foreseen {
        law,
        plan: law,
        now: moment(home, now),
        cycle_days: track.cycle_days(prior),
        lead: lead(home, rules, track.product.as_ref()),
        is_stuck: track.is_stuck(),
        basis: Basis::Reports,
    })
}

/// Who has not bought by now buys later: unlike a sensor, a home that is silent tells that.
fn by_purchases<'f>(
    home: &'f Household,
    rules: &'f RuleSet,
    habit: &Habit<'f>,
    now: Timestamp,
) -> Result<Foreseen<'f>, Unforeseen> {
    if habit.gaps == 0 && !has_prior(home, rules, Some(&habit.product)) {
        return Err(Unforeseen::NotEnoughHistory);
    }
    let at = moment(home, now);
    Ok(Foreseen {
        law: Law::RunOut(habit.law.given_not_by(at)),
        plan: Law::RunOut(habit.law),
        now: at,
        cycle_days: habit.cycle_days,
        lead: lead(home, rules, Some(&habit.product)),
        is_stuck: false,
        basis: Basis::Purchases(habit.gaps),
    })
}

/// Whether the fleet has told of a product.
fn has_prior(home: &Household, rules: &RuleSet, product: Option<&ProductId>) -> bool {
    let region = home.zone.as_ref().map(Zone::as_str);
    product.is_some_and(|product| rules.priors(home.retailer.as_ref()).own(product.as_str(), region).is_some())
}

/// How long the delivery of a product takes.
fn lead(home: &Household, rules: &RuleSet, product: Option<&ProductId>) -> Lead {
    let product = product.zip(home.retailer.as_ref());
    let lead = product.and_then(|(product, retailer)| rules.product(retailer, product)?.lead_days);
    lead.map_or(Lead::days(LEAD_DAYS_DEFAULT), |days| Lead {
        p10: days.p10.into(),
        p50: days.p50.into(),
        p90: days.p90.into(),
    })
}

impl Foreseen<'_> {
    /// By when it is empty with a probability.
    pub fn empty(&self, probability: f64) -> Timestamp {
        match self.law {
            Law::RunOut(law) => instant(law.quantile(probability, self.now)),
            Law::Date(ends) => ends,
        }
    }
    /// How long one lasts, in days, where that is known.
    pub fn cycle_days(&self) -> Option<f64> {
        self.cycle_days
    }
    /// Whether a date may be shown: the interval is no wider than one and a half cycles.
    pub fn is_sure(&self) -> bool {
        match (self.law, self.cycle_days) {
            (Law::RunOut(law), Some(cycle)) => is_sure(&law.quantiles(self.now), cycle),
            (Law::RunOut(_), None) => false,
            (Law::Date(_), _) => true,
        }
    }
    /// Whether the sensor says the same for too long to be believed.
    pub fn is_stuck(&self) -> bool {
        self.is_stuck
    }
    /// What it rests on.
    pub fn basis(&self) -> Basis {
        self.basis
    }
    /// By when to order: a delivery that comes later than this costs more than one too early.
    pub fn order_by(&self, replenish: &Replenish) -> Timestamp {
        let costs = Costs { late: replenish.cost_without, early: 1.0 };
        let day = match self.plan {
            Law::RunOut(law) => instant(order_day(&law, self.now, &self.lead, &costs)),
            Law::Date(ends) => Timestamp(ends.0 - (self.lead.p90 * 86_400_000.0) as i64),
        };
        day - replenish.safety
    }
    /// The instant that a trigger watches.
    pub(super) fn instant(&self, field: ForecastField, replenish: Option<&Replenish>) -> Timestamp {
        match field {
            ForecastField::ExpectedEmpty(percent) => {
                Foreseen { law: self.plan, ..*self }.empty(f64::from(percent) / 100.0)
            }
            ForecastField::OrderBy => self.order_by(replenish.unwrap_or(&Replenish::DEFAULT)),
        }
    }
}
