//! How likely an offer is accepted once it is seen: what ranking weighs a margin with.
//!
//! Counts of seen and accepted offers per trigger and device model, learned from the ledgers and published as a
//! version of the rules, so that a replay ranks as it was ranked. A model leans on its trigger and a trigger on all of
//! the retailer's: each is a Beta law whose prior is the mean above it, worth some seen offers (the conjugate posterior
//! of a share; Gelman et al., *Bayesian Data Analysis*, ch. 2 and 5).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::id::{DecisionId, ModelId, TriggerId, derive_bytes};
use crate::report::{Counts, Fate, Ledger, TooMuch};
use crate::time::Timestamp;

/// One in ten, worth ten offers: what is believed of a retailer of whom nothing is known.
const FIRST: Beta = Beta { accepted: 1.0, not: 9.0 };
/// How many seen offers the mean above is worth to a trigger, and to a model of it.
const LEANS: f64 = 20.0;

/// How often offers were seen, and how often accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tally {
    /// Shown on the device, or answered anywhere.
    pub seen: u64,
    /// Of these, accepted.
    pub accepted: u64,
}

/// What was counted of one trigger.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OfTrigger {
    /// On every device.
    pub all: Tally,
    /// By device model.
    #[serde(default)]
    pub models: BTreeMap<ModelId, Tally>,
}

/// What was learned of a retailer's offers.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Chances {
    /// When.
    pub learned_at: Timestamp,
    /// Whether chances are drawn from what is believed, so that what is not known well is tried (Thompson 1933);
    /// else their means are taken.
    #[serde(default)]
    pub explore: bool,
    /// Of all triggers.
    pub all: Tally,
    /// By trigger.
    #[serde(default)]
    pub triggers: BTreeMap<TriggerId, OfTrigger>,
}

/// What is believed of a share.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Beta {
    accepted: f64,
    not: f64,
}

impl Beta {
    fn after(self, tally: Tally) -> Beta {
        let accepted = tally.accepted.min(tally.seen);
        Beta { accepted: self.accepted + accepted as f64, not: self.not + (tally.seen - accepted) as f64 }
    }
    /// The mean of it as a prior.
    fn leaning(self) -> Beta {
        Beta { accepted: LEANS * self.mean(), not: LEANS * (1.0 - self.mean()) }
    }
    /// The mean.
    pub fn mean(self) -> f64 {
        self.accepted / (self.accepted + self.not)
    }
    /// One draw, the same for the same seed on every machine.
    pub fn draw(self, seed: u64) -> f64 {
        let mut dice = Dice(seed);
        let (x, y) = (gamma(self.accepted, &mut dice), gamma(self.not, &mut dice));
        if x + y > 0.0 { x / (x + y) } else { self.mean() }
    }
}

impl Chances {
    /// What is believed of the offers of a trigger on a model.
    pub fn of(&self, trigger: &TriggerId, model: &ModelId) -> Beta {
        let of_trigger = self.of_trigger(trigger);
        match self.triggers.get(trigger).and_then(|known| known.models.get(model)) {
            Some(tally) => of_trigger.leaning().after(*tally),
            None => of_trigger,
        }
    }
    /// What is believed of the offers of a trigger on any model.
    pub fn of_trigger(&self, trigger: &TriggerId) -> Beta {
        let all = FIRST.after(self.all).leaning();
        self.triggers.get(trigger).map_or(all, |known| all.after(known.all))
    }
    /// The chance that an offer is accepted: the mean, or where the retailer explores, a draw of the decision's own.
    pub fn chance(&self, trigger: &TriggerId, model: &ModelId, decision: DecisionId) -> f64 {
        let believed = self.of(trigger, model);
        if !self.explore {
            return believed.mean();
        }
        let [a, b, c, d, e, f, g, h, ..] = derive_bytes("chance", &[decision.bytes()]);
        believed.draw(u64::from_be_bytes([a, b, c, d, e, f, g, h]))
    }
}

impl Counts for Chances {
    fn add(&mut self, home: &[Ledger]) -> Result<(), TooMuch> {
        for said in home.iter().flat_map(Ledger::spoken).filter(|said| said.was_sent()) {
            let is_seen =
                [Fate::Shown, Fate::Accepted, Fate::Declined, Fate::Snoozed].iter().any(|fate| said.became(*fate));
            let Some(trigger) = TriggerId::new(said.trigger).ok().filter(|_| is_seen) else { continue };
            let accepted = u64::from(said.became(Fate::Accepted));
            let of_trigger = self.triggers.entry(trigger).or_default();
            let of_model = said.model.and_then(|model| ModelId::new(model).ok());
            let of_model = of_model.map(|model| of_trigger.models.entry(model).or_default());
            for tally in [&mut self.all, &mut of_trigger.all].into_iter().chain(of_model) {
                tally.seen += 1;
                tally.accepted += accepted;
            }
        }
        Ok(())
    }
}

/// SplitMix64 (Steele, Lea and Flood 2014): small, and good enough to try offers with.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }
    /// Above 0 and below 1.
    fn share(&mut self) -> f64 {
        ((self.next() >> 12) as f64 + 0.5) / (1u64 << 52) as f64
    }
    /// Of the standard normal law.
    fn normal(&mut self) -> f64 {
        crate::forecast::normal::quantile(self.share())
    }
}

/// Tries of a draw; one fails less often than once in twenty.
const TRIES_MAX: usize = 64;

/// A draw of the gamma law with scale 1 (Marsaglia and Tsang 2000); `libm`, so that it is the same everywhere.
fn gamma(shape: f64, dice: &mut Dice) -> f64 {
    if shape < 1.0 {
        let lift = libm::exp(libm::log(dice.share()) / shape.max(1e-6));
        return gamma(shape + 1.0, dice) * lift;
    }
    let d = shape - 1.0 / 3.0;
    let c = 1.0 / (9.0 * d).sqrt();
    for _ in 0..TRIES_MAX {
        let x = dice.normal();
        let root = 1.0 + c * x;
        let v = root * root * root;
        if v > 0.0 && libm::log(dice.share()) < 0.5 * x * x + d - d * v + d * libm::log(v) {
            return d * v;
        }
    }
    shape
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn learned(rows: &[(&str, u64, u64)]) -> Chances {
        let mut chances = Chances::default();
        for (trigger, seen, accepted) in rows {
            let tally = Tally { seen: *seen, accepted: *accepted };
            chances
                .triggers
                .insert(TriggerId::new(*trigger).unwrap(), OfTrigger { all: tally, ..OfTrigger::default() });
            chances.all = Tally { seen: chances.all.seen + seen, accepted: chances.all.accepted + accepted };
        }
        chances
    }

    fn mean(chances: &Chances, trigger: &str) -> f64 {
        chances.of(&TriggerId::new(trigger).unwrap(), &ModelId::new("th-200").unwrap()).mean()
    }

    #[test]
    fn few_offers_lean_on_the_others_and_many_stand_for_themselves() {
        let chances = learned(&[("usual", 10_000, 1_000), ("lucky", 2, 2), ("proven", 2_000, 1_600)]);
        let usual = mean(&chances, "usual");
        assert!((0.09..0.11).contains(&usual), "{usual}");
        assert!(mean(&chances, "lucky") < 0.35, "two of two are no certainty: {}", mean(&chances, "lucky"));
        assert!((0.78..0.80).contains(&mean(&chances, "proven")));
        assert!((0.20..0.24).contains(&mean(&chances, "unheard-of")), "the share of all: 2 602 of 12 002");
        assert!((mean(&Chances::default(), "first") - 0.1).abs() < 1e-9);
    }

    #[test]
    fn draws_have_the_mean_and_the_spread_of_the_law_and_are_the_same_for_the_same_seed() {
        for beta in
            [Beta { accepted: 3.0, not: 7.0 }, Beta { accepted: 0.4, not: 2.0 }, Beta { accepted: 90.0, not: 10.0 }]
        {
            let draws: Vec<f64> = (0..20_000).map(|seed| beta.draw(seed)).collect();
            assert!(draws.iter().all(|draw| (0.0..=1.0).contains(draw)));
            let n = draws.len() as f64;
            let mean = draws.iter().sum::<f64>() / n;
            let variance = draws.iter().map(|draw| (draw - mean).powi(2)).sum::<f64>() / n;
            let (a, b) = (beta.accepted, beta.not);
            let wanted = a * b / ((a + b).powi(2) * (a + b + 1.0));
            assert!((mean - beta.mean()).abs() < 0.01, "{mean} of {beta:?}");
            assert!((variance / wanted - 1.0).abs() < 0.05, "{variance} for {wanted} of {beta:?}");
        }
        let beta = Beta { accepted: 3.0, not: 7.0 };
        assert_eq!(beta.draw(7).to_bits(), beta.draw(7).to_bits());
    }
}
