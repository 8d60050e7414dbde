//! Purchases or refills alone: the logarithm of the gap to the next one, learned from a product's prior and the slot's
//! own past, with forgetting toward the prior.
//!
//! A gap is long when much was bought at its start (`gamma`), so `y = ln gap - gamma ln quantity` is what is learned: a
//! normal law with unknown mean and variance, whose conjugate prior is the normal-inverse-gamma law. A missed purchase
//! makes one gap look like two; a weight after Huber keeps such a gap from bending the mean.

use serde::{Deserialize, Serialize};

use super::clock::Season;
use super::curve::Curve;
use super::normal::ln;
use super::run_out::RunOut;
use super::verdict::{Verdict, Wrong};
use super::{Moment, normal};

/// The shortest gap that is told from none, in operational days: two purchases of one day are one errand.
pub const GAP_DAYS_MIN: f64 = 0.3;

/// Quantities beyond these are as good as these: a logarithm must stay finite.
const QUANTITY_MIN: f64 = 1e-3;
const QUANTITY_MAX: f64 = 1e6;

/// Errors beyond so many standard deviations weigh less, after Huber.
const OUTLIER: f64 = 2.5;

/// How many purchases beside the base a late one may come before and still be put in its place: a till reports within
/// days, and the last three purchases are weeks.
const RECENT: usize = 2;

const DAY_SECONDS: f64 = 86_400.0;

/// What is known of the gaps of a product before anything is known of a slot.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct GapPrior {
    /// Mean over slots of `ln gap - gamma ln quantity`, gap in operational days.
    pub mean: f32,
    /// Variance within a slot.
    pub within: f32,
    /// Variance of the means between slots.
    pub between: f32,
    /// How the gap grows with the quantity bought at its start: 0 not at all, 1 in proportion.
    pub gamma: f32,
    /// What a state keeps of itself at each gap; the rest is the prior's again. 1 forgets nothing.
    pub keep: f32,
    /// How many gaps the prior of the variance is worth, times two.
    pub variance_weight: f32,
    /// Measured errors after 0, 1-2, 3-6 and 7 or more gaps.
    pub curves: [Curve; 4],
    /// How use is spread over the year.
    pub season: Season,
    /// Variance over slots of how strongly a slot follows that season, around 1. With 0 all follow it alike.
    pub season_spread: f32,
}

impl Default for GapPrior {
    /// A neutral product: 30 days, within a factor of three from home to home, learned quickly.
    fn default() -> GapPrior {
        GapPrior {
            mean: 3.4,
            within: 0.4,
            between: 0.4,
            gamma: 0.3,
            keep: 0.93,
            variance_weight: 8.0,
            curves: [Curve::default(); 4],
            season: Season::default(),
            season_spread: 0.0,
        }
    }
}

/// The law of one slot's log gaps: a regression on a constant and on how much of the gap the season explains, whose
/// errors have an unknown variance. Without a season it is the normal-inverse-gamma law of a mean.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Belief {
    mean: f32,
    /// How strongly the slot follows the product's season.
    strength: f32,
    /// The precision of both, in units of the errors' variance.
    weight: f32,
    weight_shared: f32,
    weight_strength: f32,
    shape: f32,
    scale: f32,
}

/// A slot that follows the season more strongly than this would use nothing for months.
const STRENGTH_MAX: f64 = 1.5;

/// One gap, as the law learns it.
#[derive(Debug, Clone, Copy)]
struct Gap {
    /// Days.
    days: f64,
    /// Operational days of a slot that follows the season fully.
    seasonal: f64,
    /// Operational days of this slot.
    operational: f64,
    /// Logarithm of the quantity at its start times gamma.
    quantity: f64,
}

impl Belief {
    fn new(prior: &GapPrior) -> Belief {
        let (weight, shape, scale) = prior.strength();
        Belief {
            mean: prior.mean,
            strength: 1.0,
            weight: weight as f32,
            weight_shared: 0.0,
            weight_strength: prior.weight_strength() as f32,
            shape: shape as f32,
            scale: scale as f32,
        }
    }

    /// The variance of what covariates 1 and `x` say, in units of the errors' variance, and half of the way to it.
    fn spread(&self, x: f64) -> (f64, f64, f64) {
        let [w, s, t] = [self.weight, self.weight_shared, self.weight_strength].map(f64::from);
        if t == 0.0 {
            return (1.0 / w, 1.0 / w, 0.0);
        }
        let determinant = (w * t - s * s).max(1e-9);
        let (gain, gain_strength) = ((t - s * x) / determinant, (w * x - s) / determinant);
        (gain + gain_strength * x, gain, gain_strength)
    }

    fn deviation(&self, spread: f64) -> f64 {
        (f64::from(self.scale) / f64::from(self.shape) * (1.0 + spread)).max(1e-6).sqrt()
    }

    /// Forgets toward the prior, then learns one gap.
    fn learn(&mut self, prior: &GapPrior, gap: &Gap) {
        let (weight0, shape0, scale0) = prior.strength();
        let keep = f64::from(prior.keep);
        let fade = |own: f32, prior: f64| (keep * f64::from(own) + (1.0 - keep) * prior) as f32;
        self.weight = fade(self.weight, weight0);
        self.shape = fade(self.shape, shape0);
        self.scale = fade(self.scale, scale0);
        // How strongly a slot follows the season is a property of the home: it is not forgotten.
        self.weight_shared *= keep.sqrt() as f32;

        let seasonal = if self.weight_strength > 0.0 { (gap.days - gap.seasonal) / gap.operational } else { 0.0 };
        let error = ln(gap.operational) - gap.quantity - f64::from(self.mean);
        let (spread, gain, gain_strength) = self.spread(seasonal);
        let counts = (OUTLIER / (error.abs() / self.deviation(spread))).min(1.0);
        let shrunk = counts / (1.0 + counts * spread);
        self.mean += (shrunk * gain * error) as f32;
        let strength = f64::from(self.strength) + shrunk * gain_strength * error;
        self.strength = strength.clamp(0.0, STRENGTH_MAX) as f32;
        self.weight += counts as f32;
        if self.weight_strength > 0.0 {
            self.weight_shared += (counts * seasonal) as f32;
            self.weight_strength += (counts * seasonal * seasonal) as f32;
        }
        self.scale += (0.5 * shrunk * error * error) as f32;
        self.shape += (0.5 * counts) as f32;
    }
}

/// What is expected of the next gap.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct NextGap {
    /// Mean of its logarithm, in operational days of the slot.
    pub mean: f64,
    /// Standard deviation of its logarithm.
    pub deviation: f64,
    /// How strongly the slot follows the product's season.
    pub strength: f64,
}

impl GapPrior {
    /// Weight, shape and scale of the law before the first gap.
    fn strength(&self) -> (f64, f64, f64) {
        let within = f64::from(self.within).max(1e-4);
        let shape = f64::from(self.variance_weight).max(0.1) / 2.0;
        ((within / f64::from(self.between).max(1e-4)).max(1e-3), shape, shape * within)
    }

    /// The precision of how strongly a slot follows the season, before the first gap; 0 where all follow it alike.
    fn weight_strength(&self) -> f64 {
        if self.season_spread <= 0.0 || self.season.is_flat() {
            return 0.0;
        }
        f64::from(self.within).max(1e-4) / f64::from(self.season_spread)
    }

    /// The curve of a slot that has seen so many gaps.
    fn curve(&self, gaps: u16) -> &Curve {
        &self.curves[bin(usize::from(gaps))]
    }
}

/// Which of the four curves belongs to so many gaps seen.
pub(super) fn bin(gaps: usize) -> usize {
    match gaps {
        0 => 0,
        1..=2 => 1,
        3..=6 => 2,
        _ => 3,
    }
}

/// One purchase, counted from the oldest that the state still knows by itself.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
struct Later {
    /// Seconds after the base.
    seconds: u32,
    /// Quantity, in the product's packs.
    quantity: f32,
    /// Days of absence since the base, in tenths.
    away: u16,
}

/// What one slot's purchases or refills have told: at most 64 bytes.
///
/// The law stands at a base; with it the last three purchases are known, so that one that is reported late is put
/// in its place and the gaps are learned again.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct GapState {
    belief: Belief,
    base_seconds: u32,
    base_quantity: f32,
    base_away: f32,
    recent_seconds: [u32; RECENT],
    recent_quantity: [f32; RECENT],
    recent_away: [u16; RECENT],
    gaps: u16,
    recent: u8,
    known: bool,
}

impl GapState {
    /// Before the first purchase.
    pub fn new(prior: &GapPrior) -> GapState {
        GapState {
            belief: Belief::new(prior),
            base_seconds: 0,
            base_quantity: 1.0,
            base_away: 0.0,
            recent_seconds: [0; RECENT],
            recent_quantity: [0.0; RECENT],
            recent_away: [0; RECENT],
            gaps: 0,
            recent: 0,
            known: false,
        }
    }

    /// How many gaps were seen.
    pub fn gaps(&self) -> u16 {
        self.gaps
    }

    /// The last purchase, in days since 1970.
    pub fn last(&self) -> Option<f64> {
        self.known.then(|| self.day(self.end()))
    }

    /// Takes a purchase or a refill: its quantity in the product's packs (or the unit of the refill).
    pub fn update(&mut self, prior: &GapPrior, at: Moment, quantity: f64) -> Verdict {
        if let Some(wrong) = at.wrong() {
            return Verdict::Wrong(wrong);
        }
        if !quantity.is_finite() {
            return Verdict::Wrong(Wrong::NotANumber);
        }
        if quantity < 0.0 {
            return Verdict::Wrong(Wrong::Negative);
        }
        if quantity == 0.0 {
            return Verdict::Wrong(Wrong::NoQuantity);
        }
        let quantity = quantity.clamp(QUANTITY_MIN, QUANTITY_MAX) as f32;
        let seconds = (at.day * DAY_SECONDS).round() as u32;
        if !self.known {
            self.known = true;
            (self.base_seconds, self.base_quantity, self.base_away) = (seconds, quantity, at.away as f32);
            return Verdict::First;
        }
        if seconds < self.base_seconds {
            return Verdict::Wrong(Wrong::TooOld);
        }
        let later = Later {
            seconds: seconds - self.base_seconds,
            quantity,
            away: ((at.away - f64::from(self.base_away)) * 10.0).round() as u16,
        };
        self.place(prior, later)
    }

    fn place(&mut self, prior: &GapPrior, later: Later) -> Verdict {
        let known = usize::from(self.recent);
        if later.seconds == 0 {
            return same_moment(&mut self.base_quantity, later.quantity);
        }
        if let Some(n) = (0..known).find(|n| self.recent_seconds[*n] == later.seconds) {
            return same_moment(&mut self.recent_quantity[n], later.quantity);
        }
        let place = (0..known).find(|n| self.recent_seconds[*n] > later.seconds).unwrap_or(known);
        let gap = later.seconds - if known == 0 { 0 } else { self.recent_seconds[known - 1].min(later.seconds) };
        let mut all = [Later::default(); RECENT + 1];
        for (n, slot) in all.iter_mut().enumerate().take(known + 1) {
            *slot = match n.cmp(&place) {
                std::cmp::Ordering::Less => self.later(n),
                std::cmp::Ordering::Equal => later,
                std::cmp::Ordering::Greater => self.later(n - 1),
            };
        }
        self.gaps = self.gaps.saturating_add(1);
        let mut first = 0;
        if known == RECENT {
            self.fold(prior, all[0]);
            first = 1;
        } else {
            self.recent += 1;
        }
        let base = if first == 1 { all[0] } else { Later::default() };
        for (n, later) in all[first..=known].iter().enumerate() {
            self.recent_seconds[n] = later.seconds - base.seconds;
            self.recent_quantity[n] = later.quantity;
            self.recent_away[n] = later.away.saturating_sub(base.away);
        }
        if place < known {
            return Verdict::BoughtEarlier { known_after: (known - place) as u8 };
        }
        Verdict::Bought { gap_days: (f64::from(gap) / DAY_SECONDS) as f32 }
    }

    /// The oldest of the recent purchases becomes the base.
    fn fold(&mut self, prior: &GapPrior, first: Later) {
        let base = Later { seconds: 0, quantity: self.base_quantity, away: 0 };
        let gap = self.gap(prior, &self.belief, base, first);
        self.belief.learn(prior, &gap);
        self.base_seconds = self.base_seconds.saturating_add(first.seconds);
        self.base_quantity = first.quantity;
        self.base_away += f32::from(first.away) / 10.0;
    }

    fn later(&self, n: usize) -> Later {
        Later { seconds: self.recent_seconds[n], quantity: self.recent_quantity[n], away: self.recent_away[n] }
    }

    fn end(&self) -> Later {
        match usize::from(self.recent) {
            0 => Later { seconds: 0, quantity: self.base_quantity, away: 0 },
            n => self.later(n - 1),
        }
    }

    fn day(&self, later: Later) -> f64 {
        (f64::from(self.base_seconds) + f64::from(later.seconds)) / DAY_SECONDS
    }

    /// What is learned of the gap between two purchases.
    fn gap(&self, prior: &GapPrior, belief: &Belief, from: Later, to: Later) -> Gap {
        let (start, end) = (self.day(from), self.day(to));
        let home = at_home(end - start, f64::from(to.away.saturating_sub(from.away)) / 10.0);
        let strength = f64::from(belief.strength);
        let operational = (prior.season.between(start, end, strength) * home).max(GAP_DAYS_MIN);
        let seasonal = match belief.weight_strength > 0.0 {
            true => prior.season.between(start, end, 1.0) * home,
            false => operational,
        };
        let quantity = f64::from(prior.gamma) * ln(f64::from(from.quantity));
        Gap { days: (end - start) * home, seasonal, operational, quantity }
    }

    /// The law of the next purchase, or `None` before the first.
    ///
    /// It stands at the last purchase; ask [`RunOut::given_not_by`] when the next one has not come by some moment.
    pub fn run_out<'p>(&self, prior: &'p GapPrior) -> Option<RunOut<'p>> {
        let (last, next) = self.expects(prior)?;
        Some(RunOut::gap(self.day(last), &next, prior.curve(self.gaps), &prior.season))
    }

    /// The last purchase, and what is expected of the gap after it.
    fn expects(&self, prior: &GapPrior) -> Option<(Later, NextGap)> {
        if !self.known {
            return None;
        }
        let mut belief = self.belief;
        let mut last = Later { seconds: 0, quantity: self.base_quantity, away: 0 };
        for n in 0..usize::from(self.recent) {
            let next = self.later(n);
            let gap = self.gap(prior, &belief, last, next);
            belief.learn(prior, &gap);
            last = next;
        }
        let mean = f64::from(belief.mean) + f64::from(prior.gamma) * ln(f64::from(last.quantity));
        let deviation = belief.deviation(belief.spread(0.0).0);
        Some((last, NextGap { mean, deviation, strength: f64::from(belief.strength) }))
    }

    /// What is expected of the next gap; `None` before the first purchase.
    pub fn next_gap(&self, prior: &GapPrior) -> Option<NextGap> {
        self.expects(prior).map(|(_, next)| next)
    }

    /// The usual length of a cycle in days, as learned so far: what an interval's width is measured by.
    pub fn cycle_days(&self, prior: &GapPrior) -> Option<f64> {
        self.expects(prior).map(|(_, next)| normal::exp(next.mean + 0.5 * next.deviation * next.deviation))
    }
}

/// The same purchase again, or a second one of the same moment.
fn same_moment(known: &mut f32, quantity: f32) -> Verdict {
    if *known == quantity {
        return Verdict::Duplicate;
    }
    *known = (*known + quantity).min(QUANTITY_MAX as f32);
    Verdict::BoughtTogether
}

/// The share of a stretch in which somebody was at home; never nothing, so that a gap keeps a length.
pub(super) fn at_home(days: f64, away: f64) -> f64 {
    if days > 0.0 { (1.0 - away / days).clamp(0.05, 1.0) } else { 1.0 }
}
