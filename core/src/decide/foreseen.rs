//! What is foreseen of a slot: the law that its track gives, as instants.

use crate::forecast::when::{Costs, Lead, is_sure, order_day};
use crate::forecast::{Moment, ProductPrior, RunOut, instant};
use crate::id::{DeviceKey, SlotId};
use crate::model::{Household, SlotKey, Track};
use crate::rules::RuleSet;
use crate::time::Timestamp;
use crate::trigger::{ForecastField, Replenish};

/// Days of own use below which a home's forecast is only its prior: where that is the neutral one,
/// nothing is foreseen.
const DAYS_LEARNED_MIN: f64 = 5.0;
/// Days from order to arrival where the product does not say.
const LEAD_DAYS_DEFAULT: f64 = 3.0;

/// What is foreseen of one slot, seen from an instant.
#[derive(Debug, Clone, Copy)]
pub struct Foreseen<'f> {
    track: &'f Track,
    law: Law<'f>,
    now: Moment,
    cycle_days: Option<f64>,
    lead: Lead,
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
    rules.prior(home.retailer.as_ref(), track.product.as_ref())
}

/// What is foreseen of a slot of a home.
pub fn foreseen<'f>(
    home: &'f Household,
    rules: &'f RuleSet,
    device: &DeviceKey,
    slot: &SlotId,
    now: Timestamp,
) -> Result<Foreseen<'f>, Unforeseen> {
    let key = SlotKey { device: device.clone(), slot: slot.clone() };
    let track = home.supply.tracks.get(&key).ok_or(Unforeseen::NoEvidence)?;
    let prior = prior_of(home, rules, track);
    let law = match track.ends() {
        Some(ends) => Law::Date(ends),
        None => Law::RunOut(track.run_out(prior).ok_or(Unforeseen::NoEvidence)?),
    };
    let has_own_prior = track
        .product
        .as_ref()
        .is_some_and(|product| rules.priors(home.retailer.as_ref()).products.contains_key(product.as_str()));
    if track.days_learned() < DAYS_LEARNED_MIN && !has_own_prior {
        return Err(Unforeseen::NotEnoughHistory);
    }
    let product = track.product.as_ref().zip(home.retailer.as_ref());
    let lead = product.and_then(|(product, retailer)| rules.product(retailer, product)?.lead_days);
    let lead = lead.map_or(Lead::days(LEAD_DAYS_DEFAULT), |days| Lead {
        p10: days.p10.into(),
        p50: days.p50.into(),
        p90: days.p90.into(),
    });
    Ok(Foreseen { track, law, now: moment(home, now), cycle_days: track.cycle_days(prior), lead })
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
        self.track.is_stuck()
    }
    /// By when to order: a delivery that comes later than this costs more than one too early.
    pub fn order_by(&self, replenish: &Replenish) -> Timestamp {
        let costs = Costs { late: replenish.cost_without, early: 1.0 };
        let day = match self.law {
            Law::RunOut(law) => instant(order_day(&law, self.now, &self.lead, &costs)),
            Law::Date(ends) => Timestamp(ends.0 - (self.lead.p90 * 86_400_000.0) as i64),
        };
        day - replenish.safety
    }
    /// The instant that a trigger watches.
    pub(super) fn instant(&self, field: ForecastField, replenish: Option<&Replenish>) -> Timestamp {
        match field {
            ForecastField::ExpectedEmpty(percent) => self.empty(f64::from(percent) / 100.0),
            ForecastField::OrderBy => self.order_by(replenish.unwrap_or(&Replenish::DEFAULT)),
        }
    }
}
