use serde::{Deserialize, Serialize};

use super::{Evidence, SlotState};
use crate::forecast::{Counter, Moment, Quantiles};
use crate::forecast::{CounterState, GapState, LevelState, ProductPrior, RunOut, Verdict};
use crate::id::ProductId;
use crate::time::{Span, Timestamp};

/// Ended cycles of a slot that are remembered, to compare what was foreseen with what came.
const CYCLES_KEPT_MAX: usize = 8;
/// A count of use that falls by less than this share of the capacity is a correction, not a fresh one.
const FELL_SHARE: f64 = 0.01;
/// An end of life that moves by less is estimated anew, or seen from another zone.
const RENEWED_AFTER: Span = Span::days(7);
/// At this level, in percent of a full slot, the forecast is written down that a cycle is judged by.
const JUDGED_AT_POINTS: f64 = 50.0;

/// What a home's use of one slot has taught.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Track {
    /// The product that it is about, whose prior it began with.
    pub product: Option<ProductId>,
    /// What was learned.
    pub learned: Learned,
    /// What the last report turned out to be.
    pub verdict: Option<Verdict>,
    /// The full amount by which shares are told, in the slot's unit.
    pub capacity: Option<f64>,
    /// What was foreseen in the present cycle.
    pub foreseen: Option<Foresight>,
    /// The last ended cycles, oldest first.
    pub cycles: Vec<Cycle>,
}

/// What was learned, by how the slot is measured.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub enum Learned {
    /// From readings of what is left.
    Level(LevelState),
    /// From a counter of use since the last replacement.
    Counter(CounterState),
    /// From refills alone: a flag says only `low` and `empty`.
    Refills(GapState),
    /// The device knows the day itself.
    Life {
        /// The end of that day, in the home's zone.
        ends: Timestamp,
    },
}

/// A forecast as it was written down.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Foresight {
    /// When.
    pub at: Timestamp,
    /// What: days since 1970.
    pub empty: Quantiles,
}

/// An ended cycle: what was foreseen, and what came.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Cycle {
    /// The forecast.
    pub foreseen: Foresight,
    /// When it ran out: seen empty, or as it would have been at the last rate.
    pub ran_out_at: Timestamp,
    /// When it was refilled.
    pub refilled_at: Timestamp,
}

/// One report of a slot, as a track takes it.
#[derive(Debug, Clone, Copy)]
pub struct Report<'r> {
    /// The evidence as it is now.
    pub state: &'r SlotState,
    /// As it was before.
    pub previous: Option<&'r SlotState>,
    /// When, with the home's absence.
    pub at: Moment,
    /// Whether the device started again since the report before: its counter may have lost its count.
    pub restarted: bool,
    /// The end of life that the evidence names, in the home's zone.
    pub ends: Option<Timestamp>,
}

impl Track {
    /// Before the first report of a slot; none for evidence that teaches nothing.
    pub fn new(evidence: &Evidence, prior: &ProductPrior, product: Option<ProductId>) -> Track {
        let learned = match evidence {
            Evidence::Usage { .. } => Learned::Counter(CounterState::new(&prior.level)),
            Evidence::Level { .. } | Evidence::Countdown { .. } => Learned::Level(LevelState::new(&prior.level)),
            Evidence::Flag { .. } => Learned::Refills(GapState::new(&prior.gaps)),
            Evidence::Life { .. } => Learned::Life { ends: Timestamp(0) },
        };
        Track { product, learned, verdict: None, capacity: None, foreseen: None, cycles: Vec::new() }
    }

    /// Whether it learns from such evidence.
    pub fn takes(&self, evidence: &Evidence) -> bool {
        matches!(
            (&self.learned, evidence),
            (Learned::Counter(_), Evidence::Usage { .. })
                | (Learned::Level(_), Evidence::Level { .. } | Evidence::Countdown { .. })
                | (Learned::Refills(_), Evidence::Flag { .. })
                | (Learned::Life { .. }, Evidence::Life { .. })
        )
    }

    /// Takes a report; what it turned out to be, and whether a fresh one was inserted.
    pub fn report(&mut self, prior: &ProductPrior, report: Report<'_>) -> (Verdict, bool) {
        let state = report.state;
        let changed_anew =
            state.changed_at.is_some() && report.previous.is_some_and(|previous| state.changed_at > Some(previous.t));
        let before = self.run_out_seen(prior, report.at);
        let (verdict, refilled) = match (&mut self.learned, &state.evidence) {
            (Learned::Counter(counter), Evidence::Usage { used }) => {
                let of = Counter { capacity: state.capacity.unwrap_or(0.0), wraps_at: None };
                let fell = match report.previous.map(|previous| &previous.evidence) {
                    Some(Evidence::Usage { used: before }) => before - used > FELL_SHARE * of.capacity,
                    _ => false,
                };
                // Use is counted since the last replacement: a smaller one is of a fresh one, unless
                // the device lost its count.
                let replaced = changed_anew || (fell && !report.restarted);
                let verdict = if report.previous.is_none() || replaced {
                    counter.begin(&of, report.at, *used)
                } else {
                    counter.update(&prior.level, &of, report.at, *used)
                };
                (verdict, replaced && verdict.changed())
            }
            (Learned::Level(level), Evidence::Level { remaining } | Evidence::Countdown { remaining }) => {
                // Where nobody says what a full one is, the most that was seen is.
                let full = state.capacity.or(self.capacity).map_or(*remaining, |full| full.max(f64::MIN_POSITIVE));
                let full = if state.capacity.is_none() { full.max(*remaining) } else { full };
                self.capacity = Some(full);
                let points = if full > 0.0 { 100.0 * remaining / full } else { f64::NAN };
                let verdict = if changed_anew {
                    level.replaced_to(report.at, points)
                } else {
                    level.update(&prior.level, report.at, points)
                };
                (verdict, verdict.is_refill())
            }
            (Learned::Refills(gaps), Evidence::Flag { flag }) => {
                let was_low = match report.previous.map(|previous| &previous.evidence) {
                    Some(Evidence::Flag { flag: before }) => before != "ok",
                    _ => false,
                };
                let refilled = changed_anew || (was_low && flag == "ok");
                if refilled || gaps.last().is_none() {
                    (gaps.update(&prior.gaps, report.at, 1.0), refilled)
                } else {
                    (Verdict::Used { points: 0.0 }, false)
                }
            }
            (Learned::Life { ends }, Evidence::Life { .. }) => {
                let later = report.ends.unwrap_or(*ends);
                let refilled = changed_anew || (ends.0 > 0 && later - *ends > RENEWED_AFTER);
                *ends = later;
                (if refilled { Verdict::Replaced } else { Verdict::Used { points: 0.0 } }, refilled)
            }
            // The model measures it in another way now: begun anew by whoever holds the track.
            _ => (Verdict::First, false),
        };
        self.verdict = Some(verdict);
        if refilled {
            self.end_cycle(report.at, before);
        } else if self.foreseen.is_none() && self.is_worth_judging() {
            let now = report.at;
            let empty = self.run_out(prior).map(|law| law.quantiles(now));
            self.foreseen = empty.map(|empty| Foresight { at: crate::forecast::instant(now.day), empty });
        }
        (verdict, refilled)
    }

    /// The law of the run-out, as far as anything is known.
    pub fn run_out<'p>(&self, prior: &'p ProductPrior) -> Option<RunOut<'p>> {
        match &self.learned {
            Learned::Level(level) => level.run_out(&prior.level),
            Learned::Counter(counter) => counter.run_out(&prior.level),
            Learned::Refills(gaps) => gaps.run_out(&prior.gaps),
            Learned::Life { .. } => None,
        }
    }

    /// How long one lasts, in days.
    pub fn cycle_days(&self, prior: &ProductPrior) -> Option<f64> {
        match &self.learned {
            Learned::Level(level) => Some(100.0 / level.usual_rate(&prior.level)),
            Learned::Counter(counter) => Some(100.0 / counter.level().usual_rate(&prior.level)),
            Learned::Refills(gaps) => gaps.cycle_days(&prior.gaps),
            Learned::Life { .. } => None,
        }
    }

    /// The day that the device names itself.
    pub fn ends(&self) -> Option<Timestamp> {
        match &self.learned {
            Learned::Life { ends } => Some(*ends).filter(|ends| ends.0 > 0),
            Learned::Level(_) | Learned::Counter(_) | Learned::Refills(_) => None,
        }
    }

    /// What is left, in percent of a full one.
    pub fn points(&self) -> Option<f64> {
        match &self.learned {
            Learned::Level(level) => level.level().map(|(points, _)| points),
            Learned::Counter(counter) => counter.level().level().map(|(points, _)| points),
            Learned::Refills(_) | Learned::Life { .. } => None,
        }
    }

    /// Whether a report, so many days after the one before, tells of use, of none, or of neither; and how many
    /// times a day the slot is usually used.
    pub fn tells_use(&self, prior: &ProductPrior, verdict: &Verdict, days: f64) -> Option<(bool, f64)> {
        let level = match &self.learned {
            Learned::Level(level) => level,
            Learned::Counter(counter) => counter.level(),
            Learned::Refills(_) | Learned::Life { .. } => return None,
        };
        Some((level.tells_use(&prior.level, verdict, days)?, level.uses_a_day(&prior.level)))
    }

    /// Whether the sensor says the same for too long to be believed.
    pub fn is_stuck(&self) -> bool {
        matches!(self.verdict, Some(Verdict::Stuck { .. }))
    }

    /// Days of own use that it has learned from; what a new home waits for.
    pub fn days_learned(&self) -> f64 {
        match &self.learned {
            Learned::Level(level) => level.days(),
            Learned::Counter(counter) => counter.level().days(),
            Learned::Refills(gaps) => f64::from(gaps.gaps()) * 7.0,
            Learned::Life { .. } => f64::INFINITY,
        }
    }

    fn is_worth_judging(&self) -> bool {
        self.points().is_some_and(|points| points <= JUDGED_AT_POINTS)
    }

    /// When it runs out by what is known just before a refill: at once where it is empty.
    fn run_out_seen(&self, prior: &ProductPrior, now: Moment) -> Option<f64> {
        let points = self.points()?;
        let rate = 100.0 / self.cycle_days(prior)?;
        Some(now.day + (points / rate).max(0.0))
    }

    fn end_cycle(&mut self, at: Moment, ran_out: Option<f64>) {
        if let (Some(foreseen), Some(ran_out)) = (self.foreseen.take(), ran_out) {
            let ran_out_at = crate::forecast::instant(ran_out);
            self.cycles.push(Cycle { foreseen, ran_out_at, refilled_at: crate::forecast::instant(at.day) });
            if self.cycles.len() > CYCLES_KEPT_MAX {
                self.cycles.remove(0);
            }
        }
    }
}
