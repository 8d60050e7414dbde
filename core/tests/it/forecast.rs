//! Forecasts: what a state may cost, what reports turn out to be, and the public series where they are at hand.
// A test that needs data from outside says when it has none.
#![allow(clippy::disallowed_macros)]

use std::path::PathBuf;

use hearthway_core::forecast::{Counter, CounterState, GapPrior, GapState, LevelPrior, LevelState, Moment, Verdict};

#[allow(dead_code)]
#[path = "../../examples/forecast_eval/method.rs"]
mod method;
#[allow(dead_code)]
#[path = "../../examples/forecast_eval/score.rs"]
mod score;
#[allow(dead_code, clippy::disallowed_methods)]
#[path = "../../examples/forecast_eval/track.rs"]
mod track;

/// The public series lie beside the repository; they are not part of it.
fn public_series() -> Option<PathBuf> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..");
    ["..", "../.."].iter().map(|up| root.join(up).join("shared/data/replenishment")).find(|folder| folder.exists())
}

#[test]
fn a_slot_costs_at_most_160_bytes_and_64_where_only_purchases_are_known() {
    assert!(size_of::<GapState>() <= 64, "{}", size_of::<GapState>());
    assert!(size_of::<LevelState>() <= 160, "{}", size_of::<LevelState>());
    assert!(size_of::<CounterState>() <= 160, "{}", size_of::<CounterState>());
    let prior = LevelPrior::default();
    let counter = Counter { capacity: 1234.5, wraps_at: None };
    let mut level = LevelState::new(&prior);
    let mut counted = CounterState::new(&prior);
    let mut bought = GapState::new(&GapPrior::default());
    for day in 0..100 {
        let at = Moment::day(20_000.0 + f64::from(day));
        level.update(&prior, at, 100.0 - f64::from(day));
        counted.update(&prior, &counter, at, f64::from(day) * 10.0);
        bought.update(&GapPrior::default(), at, 1.5);
    }
    assert!(postcard::to_stdvec(&level).unwrap().len() <= 160);
    assert!(postcard::to_stdvec(&counted).unwrap().len() <= 160);
    assert!(postcard::to_stdvec(&bought).unwrap().len() <= 64);
}

#[test]
fn a_refill_needs_two_readings_that_agree_and_a_spike_has_none() {
    let prior = LevelPrior::default();
    let mut state = LevelState::new(&prior);
    let mut verdicts = Vec::new();
    for (n, points) in [90.0, 87.0, 85.0, 20.0, 80.0, 77.0, 100.0, 98.0, 95.0].into_iter().enumerate() {
        verdicts.push(state.update(&prior, Moment::day(20_000.0 + n as f64), points));
    }
    assert!(matches!(verdicts[3], Verdict::Held { surprise } if surprise < -50.0), "{}", verdicts[3]);
    assert!(matches!(verdicts[4], Verdict::SpikeDropped { .. }), "{}", verdicts[4]);
    assert!(matches!(verdicts[6], Verdict::Held { .. }), "{}", verdicts[6]);
    assert!(matches!(verdicts[7], Verdict::Refill { level, .. } if level == 98.0), "{}", verdicts[7]);
    assert_eq!(state.refills(), 1);
}

#[test]
fn the_reference_figures_come_out_on_the_public_series() {
    let Some(folder) = public_series() else {
        println!("skipped: the public series are not beside this repository");
        return;
    };
    for (name, reference) in [
        ("household_purchases", 0.1984),
        ("fuel_tank_refills", 0.1203),
        ("vehicle_fillups", 0.1711),
        ("device_level", 0.0265),
        ("device_counter", 0.0254),
    ] {
        let track = track::read(&folder, name).unwrap();
        let series: Vec<_> = track.series.iter().collect();
        let answers = method::answers(method::Method::Reference, &series, &series, &|_| ());
        let (score, _) = score::score(&track, &answers);
        assert!((score.spinball() - reference).abs() <= 0.0003, "{name}: {} for {reference}", score.spinball());
    }
}
