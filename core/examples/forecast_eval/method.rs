//! From rows to answers: fits on one track, follows another in the order of time.

use std::collections::{BTreeMap, BTreeSet};

use hearthway_core::forecast::fit::{
    self, GapChoice, GapFit, GapSeries, LevelChoice, LevelSeries, Report, Seasons, Slot,
};
use hearthway_core::forecast::{Counter, GapState, LevelPrior, Moment, RunOut};

use super::track::{Answer, Kind, Series};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// The constants of the published reference.
    Reference,
    /// Those that this implementation chose.
    Best,
}

/// The least quantity that counts as one.
const QUANTITY_MIN: f64 = 1e-3;

/// A wash of a device whose capacity nobody declared.
const CAPACITY_UNKNOWN: f64 = 100.0;

pub fn answers(method: Method, train: &[&Series], test: &[&Series], done: &dyn Fn(f64)) -> Vec<Answer> {
    let events = test.iter().any(|series| series.has(Kind::Refill) || series.has(Kind::Purchase));
    if events { of_gaps(method, train, test, done) } else { of_levels(method, train, test, done) }
}

/// The same inside one track: each group of series is predicted with what the groups of other folds tell. A group is a
/// home, a tank or a car; for devices it is their product, so that every prediction is of a product never seen.
pub fn crossed<'t>(method: Method, track: &'t [Series], done: &dyn Fn(f64)) -> Vec<Answer> {
    let events = track.iter().any(|series| series.has(Kind::Refill) || series.has(Kind::Purchase));
    let first = |id: &str| id.split(':').next().unwrap_or_default().to_owned();
    let kinds: BTreeSet<String> = track.iter().map(|series| first(&series.id)).collect();
    let group = |series: &Series| match () {
        () if !events => series.product.clone(),
        () if kinds.len() > 1 => first(&series.id),
        () => series.id.clone(),
    };
    let groups: BTreeSet<String> = track.iter().map(group).collect();
    let folds = groups.len().min(FOLDS_MAX);
    let fold: BTreeMap<&String, usize> = groups.iter().enumerate().map(|(n, group)| (group, n % folds)).collect();
    let mut answers = Vec::new();
    for own in 0..folds {
        let (test, train): (Vec<_>, Vec<_>) =
            track.iter().enumerate().partition(|(_, series)| fold[&group(series)] == own);
        let only =
            |part: &[(usize, &'t Series)]| -> Vec<&'t Series> { part.iter().map(|(_, series)| *series).collect() };
        // Its own part of the bar.
        let part = |share: f64| done((own as f64 + share) / folds as f64);
        let found = self::answers(method, &only(&train), &only(&test), &part);
        answers.extend(found.into_iter().map(|answer| Answer { series: test[answer.series].0, ..answer }));
    }
    answers
}

/// Folds of a cross-fit; homes are dealt to them in turn.
const FOLDS_MAX: usize = 10;

fn of_gaps(method: Method, train: &[&Series], test: &[&Series], done: &dyn Fn(f64)) -> Vec<Answer> {
    let series: Vec<GapSeries> = train.iter().copied().map(Series::gaps).collect();
    let choice = match method {
        Method::Reference => {
            let tanks = train.iter().any(|series| series.has(Kind::Refill) && !series.has(Kind::Counter));
            let seasons = if tanks { Seasons::Table } else { Seasons::Flat };
            GapChoice { seasons, keep: Some(0.93), variance_weight: 8.0, borrow_slots: 0.0, borrow_errors: 0.0 }
        }
        Method::Best => GapChoice::default(),
    };
    let fit: GapFit = fit::gaps(&series, &choice, &mut |share| done(0.8 * share));
    let mut answers = Vec::new();
    for (n, one) in test.iter().enumerate() {
        let prior = fit.of(&one.product);
        let mut state = GapState::new(prior);
        let events = one.gaps().events;
        let mut events = events.iter().peekable();
        for (origin, asked) in one.origins.iter().enumerate() {
            while let Some((day, quantity)) = events.next_if(|(day, _)| *day <= asked.day + 1e-9) {
                state.update(prior, Moment::day(*day), *quantity);
            }
            answers.extend(state.run_out(prior).map(|law| answer(n, origin, asked.day, &law)));
        }
    }
    done(1.0);
    answers
}

fn of_levels(method: Method, train: &[&Series], test: &[&Series], done: &dyn Fn(f64)) -> Vec<Answer> {
    let series: Vec<LevelSeries> = train.iter().copied().map(Series::levels).collect();
    let choice = match method {
        Method::Reference => {
            let start =
                LevelPrior { rate_days: 10.0, reversion: 0.03, wander: 0.005, lasting: 0.0, ..LevelPrior::default() };
            LevelChoice { start, products_differ: 0.0 }
        }
        Method::Best => LevelChoice::default(),
    };
    let prior = fit::levels(&series, &choice, &mut |share| done(0.5 * share));
    let mut answers = Vec::new();
    for (n, one) in test.iter().enumerate() {
        let levels = one.levels();
        let mut slot = Slot::new(&prior, levels.counter);
        let mut reports = levels.reports.iter().peekable();
        for (origin, asked) in one.origins.iter().enumerate() {
            while let Some((day, report)) = reports.next_if(|(day, _)| *day <= asked.day + 1e-7) {
                slot.update(&prior, *day, *report);
            }
            answers.extend(slot.run_out(&prior).map(|law| answer(n, origin, asked.day, &law)));
        }
    }
    done(1.0);
    answers
}

fn answer(series: usize, origin: usize, day: f64, law: &RunOut<'_>) -> Answer {
    let quantiles = law.quantiles(Moment::day(day));
    Answer { series, origin, p10: quantiles.p10, p50: quantiles.p50, p90: quantiles.p90 }
}

impl Series {
    fn has(&self, kind: Kind) -> bool {
        self.rows.iter().any(|row| row.kind == kind)
    }

    /// Its refills where it has some, else its purchases.
    fn gaps(&self) -> GapSeries {
        let kind = if self.has(Kind::Refill) { Kind::Refill } else { Kind::Purchase };
        let rows = self.rows.iter().filter(|row| row.kind == kind);
        let events = rows.map(|row| (row.day, row.value.max(QUANTITY_MIN))).collect();
        GapSeries { product: self.product.clone(), events }
    }

    fn levels(&self) -> LevelSeries {
        let capacity = self.capacity.unwrap_or(CAPACITY_UNKNOWN);
        let counter = self.has(Kind::Counter).then_some(Counter { capacity, wraps_at: None });
        let reports = self.rows.iter().filter_map(|row| match row.kind {
            Kind::Level => Some((row.day, Report::Level(row.value))),
            Kind::Counter => Some((row.day, Report::Counter(row.value))),
            Kind::Replaced => Some((row.day, Report::Replaced(row.value))),
            Kind::Purchase | Kind::Refill | Kind::TruthRunOut | Kind::TruthRefill | Kind::TruthOther => None,
        });
        LevelSeries {
            product: self.product.clone(),
            counter,
            reports: reports.collect(),
            empty: self.rows.iter().filter(|row| row.kind == Kind::TruthRunOut).map(|row| row.day).collect(),
            asked: self.origins.iter().map(|origin| origin.day).collect(),
        }
    }
}
