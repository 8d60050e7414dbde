//! What a forecast costs: `cargo bench -p hearthway-core --bench forecast`. At most 1 µs an update and 5 µs for three
//! quantiles.
#![allow(clippy::unwrap_used)]

use divan::{Bencher, black_box};
use hearthway_core::forecast::{Counter, CounterState, GapPrior, GapState, LevelPrior, LevelState, Moment, Season};

fn main() {
    divan::main();
}

const DAY: f64 = 20_000.0;
const COUNTER: Counter = Counter { capacity: 1_000.0, wraps_at: None };

/// Purchases of a product with a season, the dearest clock.
fn seasonal() -> GapPrior {
    let season = Season::balanced([2.6, 2.4, 1.6, 0.8, 0.3, 0.1, 0.05, 0.05, 0.2, 0.8, 1.4, 2.2]);
    GapPrior { season, season_spread: 0.15, ..GapPrior::default() }
}

fn bought(prior: &GapPrior) -> GapState {
    let mut state = GapState::new(prior);
    for n in 0..20 {
        state.update(prior, Moment::day(DAY + 31.0 * f64::from(n)), 1.0 + f64::from(n % 3));
    }
    state
}

fn level(prior: &LevelPrior) -> LevelState {
    let mut state = LevelState::new(prior);
    for n in 0..200 {
        state.update(prior, Moment::day(DAY + f64::from(n)), 100.0 - 2.5 * f64::from(n % 36) - f64::from(n % 7));
    }
    state
}

fn counter(prior: &LevelPrior) -> CounterState {
    let mut state = CounterState::new(prior);
    for n in 0..30 {
        state.update(prior, &COUNTER, Moment::day(DAY + f64::from(n)), f64::from(n * 20 + n % 7));
    }
    state
}

#[divan::bench]
fn update_with_a_purchase(bencher: Bencher<'_, '_>) {
    let prior = seasonal();
    let state = bought(&prior);
    bencher.bench(|| {
        let mut state = black_box(state);
        state.update(black_box(&prior), Moment::day(DAY + 700.0), 2.0);
        state
    });
}

#[divan::bench]
fn update_with_a_level(bencher: Bencher<'_, '_>) {
    let prior = LevelPrior::default();
    let state = level(&prior);
    let points = state.level().unwrap().0 - 2.5;
    bencher.bench(|| {
        let mut state = black_box(state);
        state.update(black_box(&prior), Moment::day(DAY + 200.0), points);
        state
    });
}

#[divan::bench]
fn update_with_a_count(bencher: Bencher<'_, '_>) {
    let prior = LevelPrior::default();
    let state = counter(&prior);
    bencher.bench(|| {
        let mut state = black_box(state);
        state.update(black_box(&prior), &COUNTER, Moment::day(DAY + 30.0), 605.0);
        state
    });
}

#[divan::bench]
fn three_quantiles_of_a_purchase(bencher: Bencher<'_, '_>) {
    let prior = seasonal();
    let state = bought(&prior);
    let now = Moment::day(DAY + 600.0);
    bencher.bench(|| black_box(&state).run_out(&prior).unwrap().given_not_by(now).quantiles(now));
}

#[divan::bench]
fn three_quantiles_of_a_level(bencher: Bencher<'_, '_>) {
    let prior = LevelPrior::default();
    let state = level(&prior);
    let now = Moment::day(DAY + 199.0);
    bencher.bench(|| black_box(&state).run_out(&prior).unwrap().quantiles(now));
}
