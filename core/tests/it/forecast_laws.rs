//! Laws of forecasts: whatever is reported, nothing panics and no date is wild.

use hearthway_core::forecast::fit::{Report, Slot};
use hearthway_core::forecast::when::{Costs, Lead, order_day};
use hearthway_core::forecast::{
    Counter, GapPrior, GapState, HORIZON_DAYS_MAX, LevelPrior, Moment, RunOut, Season, Verdict,
};
use proptest::prelude::*;

/// A number that a device may send: mostly sensible, sometimes wild.
fn wild(usual: std::ops::Range<f64>) -> impl Strategy<Value = f64> {
    prop_oneof![
        12 => usual,
        1 => Just(0.0),
        1 => prop_oneof![Just(f64::NAN), Just(f64::INFINITY), Just(f64::NEG_INFINITY), Just(-1e300), Just(1e300)],
        1 => -1e6..1e6f64,
    ]
}

/// Days from one report to the next: mostly forward, sometimes back, the same moment, or years.
fn steps() -> impl Strategy<Value = f64> {
    prop_oneof![10 => 0.01..3.0f64, 2 => Just(0.0), 2 => -30.0..0.0f64, 1 => 100.0..4000.0f64, 1 => Just(f64::NAN)]
}

fn seasonal() -> GapPrior {
    let season = Season::balanced([2.6, 2.4, 1.6, 0.8, 0.3, 0.1, 0.05, 0.05, 0.2, 0.8, 1.4, 2.2]);
    GapPrior { season, season_spread: 0.15, ..GapPrior::default() }
}

fn check(law: RunOut<'_>, now: Moment) {
    for law in [law, law.given_not_by(now)] {
        let mut last = now.day;
        for n in 0..=20 {
            let day = law.quantile(f64::from(n) / 20.0, now);
            assert!((now.day..=now.day + HORIZON_DAYS_MAX).contains(&day), "{day} for {law:?}");
            assert!(day >= last - 1e-6, "quantiles fall at {n}: {last} then {day} for {law:?}");
            last = day;
        }
        let three = law.quantiles(now);
        assert!(three.p10 <= three.p50 && three.p50 <= three.p90, "{three:?}");
        let mut before = 0.0;
        for days in [0.0, 0.5, 5.0, 50.0, 500.0, 5000.0] {
            let share = law.probability_by(now.day + days);
            assert!((0.0..=1.0).contains(&share) && share >= before - 1e-9, "{share} after {before} for {law:?}");
            before = share;
        }
        let order = order_day(&law, now, &Lead { p10: 1.0, p50: 2.0, p90: f64::NAN }, &Costs::default());
        assert!((now.day..=now.day + HORIZON_DAYS_MAX).contains(&order));
    }
}

proptest! {
    #[test]
    fn no_reports_of_a_slot_give_a_wild_date(
        counted in any::<bool>(),
        reports in prop::collection::vec((steps(), wild(0.0..105.0), 0..12u8), 0..60),
        capacity in wild(50.0..500.0),
    ) {
        let prior = LevelPrior::default();
        let mut slot = Slot::new(&prior, counted.then_some(Counter { capacity, wraps_at: None }));
        let mut now = 20_000.0;
        let mut newest = now;
        for (step, value, kind) in reports {
            now = if step.is_nan() { f64::NAN } else { newest + step };
            let report = match (kind, counted) {
                (0, _) => Report::Replaced(value),
                (_, true) => Report::Counter(value * f64::from(kind)),
                (_, false) => Report::Level(value),
            };
            let before = slot;
            let verdict = slot.update(&prior, now, report);
            if verdict.is_some_and(|verdict| !verdict.changed()) {
                // As text, because a capacity may be no number, which equals nothing.
                prop_assert_eq!(format!("{before:?}"), format!("{slot:?}"), "{:?} changed the state", verdict);
            } else if now > newest {
                newest = now;
            }
            if let Some(law) = slot.run_out(&prior) {
                check(law, Moment::day(newest + 0.5));
            }
        }
    }

    #[test]
    fn no_purchases_give_a_wild_date(
        purchases in prop::collection::vec((steps(), wild(0.1..5.0)), 0..40), with_season in any::<bool>(),
    ) {
        let prior = if with_season { seasonal() } else { GapPrior::default() };
        let mut state = GapState::new(&prior);
        let mut newest = 15_000.0f64;
        for (step, quantity) in purchases {
            let day = newest + 10.0 * step;
            let before = state;
            let verdict = state.update(&prior, Moment::day(day), quantity);
            if verdict.changed() {
                newest = newest.max(day);
            } else {
                prop_assert_eq!(before, state, "{:?} changed the state", verdict);
            }
            if let Some(law) = state.run_out(&prior) {
                check(law, Moment::day(newest));
                check(law, Moment::day(newest + 400.0));
            }
        }
    }

    #[test]
    fn a_purchase_that_is_reported_late_is_learned_as_if_in_time(
        gaps in prop::collection::vec(1.0..60.0f64, 4..12), late in 0..2usize,
    ) {
        let prior = seasonal();
        let mut days = vec![15_000.0];
        for gap in &gaps {
            days.push(days[days.len() - 1] + gap);
        }
        let follow = |order: &[usize]| {
            let mut state = GapState::new(&prior);
            for n in order {
                state.update(&prior, Moment::day(days[*n]), 1.0 + *n as f64);
            }
            state
        };
        let in_time: Vec<usize> = (0..days.len()).collect();
        let mut mixed = in_time.clone();
        // The one before the last, or before the last two, comes at the end.
        let moved = mixed.remove(days.len() - 2 - late.min(1));
        mixed.push(moved);
        prop_assert_eq!(follow(&in_time).next_gap(&prior), follow(&mixed).next_gap(&prior));
    }
}

#[test]
fn what_cannot_be_true_is_named() {
    use hearthway_core::forecast::{CounterState, LevelState, Wrong};
    let prior = LevelPrior::default();
    let at = |day: f64| Moment::day(20_000.0 + day);
    let mut level = LevelState::new(&prior);
    assert_eq!(level.update(&prior, at(0.0), f64::NAN), Verdict::Wrong(Wrong::NotANumber));
    assert_eq!(level.update(&prior, at(0.0), 140.0), Verdict::Wrong(Wrong::AboveCapacity));
    assert_eq!(level.update(&prior, at(0.0), -30.0), Verdict::Wrong(Wrong::Negative));
    assert_eq!(level.update(&prior, Moment::day(f64::INFINITY), 50.0), Verdict::Wrong(Wrong::NoMoment));
    assert_eq!(level.update(&prior, at(0.0), 50.0), Verdict::First);
    assert_eq!(level.update(&prior, at(0.0), 50.0), Verdict::Duplicate);
    assert_eq!(level.update(&prior, at(-365.0), 80.0), Verdict::Late);
    let seconds = |n: f64| at(n / 86_400.0);
    assert_eq!(level.update(&prior, seconds(20.0), 49.0), Verdict::TooSoon, "of the same moment as the one before");
    assert!(!Verdict::TooSoon.changed() && Verdict::TooSoon.to_string().contains("half a minute"));
    assert!(level.update(&prior, seconds(40.0), 49.0).changed());

    let counter = Counter { capacity: 500.0, wraps_at: Some(9_999.0) };
    let mut state = CounterState::new(&prior);
    assert_eq!(state.update(&prior, &counter, at(0.0), 9_950.0), Verdict::First);
    assert_eq!(state.update(&prior, &counter, at(1.0), 40.0), Verdict::Wrapped);
    let mut state = CounterState::new(&prior);
    let plain = Counter { capacity: 500.0, wraps_at: None };
    assert_eq!(state.update(&prior, &plain, at(0.0), 900.0), Verdict::First);
    assert_eq!(state.update(&prior, &plain, at(1.0), 890.0), Verdict::Backwards { by: 10.0 });
    assert_eq!(state.update(&prior, &plain, at(2.0), 12.0), Verdict::Reset { since: 12.0 });
    assert_eq!(state.update(&prior, &plain, at(1.5), 950.0), Verdict::Late);
    let none = Counter { capacity: 0.0, wraps_at: None };
    assert_eq!(state.update(&prior, &none, at(3.0), 20.0), Verdict::Wrong(Wrong::NoCapacity));

    let gaps = GapPrior::default();
    let mut bought = GapState::new(&gaps);
    assert_eq!(bought.update(&gaps, at(0.0), 0.0), Verdict::Wrong(Wrong::NoQuantity));
    assert_eq!(bought.update(&gaps, at(0.0), 1.0), Verdict::First);
    assert_eq!(bought.update(&gaps, at(0.0), 1.0), Verdict::Duplicate);
    assert_eq!(bought.update(&gaps, at(-400.0), 1.0), Verdict::Wrong(Wrong::TooOld));
}

#[test]
fn a_sensor_that_is_stuck_for_weeks_teaches_nothing() {
    let prior = LevelPrior::default();
    let mut slot = Slot::new(&prior, None);
    let mut day = 20_000.0;
    for n in 0..60 {
        slot.update(&prior, day, Report::Level(100.0 - 2.5 * f64::from(n % 36)));
        day += 1.0;
    }
    let usual = |slot: &Slot| match slot {
        Slot::Sensor(state) => state.usual_rate(&prior),
        Slot::Counted(..) => 0.0,
    };
    let before = usual(&slot);
    let mut stuck = 0;
    for _ in 0..90 {
        let verdict = slot.update(&prior, day, Report::Level(40.0));
        stuck += u32::from(matches!(verdict, Some(Verdict::Stuck { .. })));
        day += 1.0;
    }
    assert!(stuck > 60, "{stuck} readings were seen as stuck");
    assert!(usual(&slot) > 0.6 * before, "{} after {before}", usual(&slot));
}
