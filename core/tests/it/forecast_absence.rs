//! Homes with holidays: what it is worth to know that nobody was there.
// The figures of a run are for the reader.
#![allow(clippy::disallowed_macros)]

use hearthway_core::forecast::{Absence, LevelPrior, LevelState, Moment};

/// Numbers from 0 to 1, the same in every run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 11) as f64 / (1u64 << 53) as f64
    }
    /// A day's use around 1: nothing on some days, much on others.
    fn use_of_a_day(&mut self) -> f64 {
        -(self.roll().max(1e-12).ln()) * 0.5 + -(self.roll().max(1e-12).ln()) * 0.5
    }
    fn noise(&mut self) -> f64 {
        self.roll() + self.roll() + self.roll() + self.roll() - 2.0
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Known {
    Nothing,
    Silence,
    Presence,
}

const DAYS: usize = 500;
const SLOTS: usize = 4;
const FIRST: f64 = 20_000.0;

/// Whether somebody is at home, day by day: three holidays of two to four weeks.
fn at_home(dice: &mut Dice) -> Vec<bool> {
    let mut home = vec![true; DAYS];
    for n in 0..3 {
        let start = 90 + 130 * n + (dice.roll() * 30.0) as usize;
        let days = 14 + (dice.roll() * 14.0) as usize;
        home[start..start + days].fill(false);
    }
    home
}

/// True levels of one slot after each day, filled the day after it is empty, and the days on which it was empty.
fn levels(dice: &mut Dice, home: &[bool], rate: f64) -> (Vec<f64>, Vec<usize>) {
    let (mut level, mut levels, mut empty) = (100.0, Vec::new(), Vec::new());
    for (day, home) in home.iter().enumerate() {
        if level == 0.0 {
            level = 100.0;
        }
        let used = rate * dice.use_of_a_day() * if *home { 1.0 } else { 0.05 };
        level = f64::max(level - used, 0.0);
        if level == 0.0 {
            empty.push(day);
        }
        levels.push(level);
    }
    (levels, empty)
}

/// Mean error in days of the median, asked daily for three weeks after each return, and how many days of absence of
/// those that were there were seen, with those that were not.
fn follow(known: Known) -> (f64, f64, f64) {
    let prior = LevelPrior { rate: 2.5, weekdays: false, ..LevelPrior::default() };
    let (mut errors, mut asked, mut seen, mut there, mut wrong) = (0.0, 0.0, 0.0, 0.0, 0.0);
    for seed in 0..80 {
        let mut dice = Dice(seed * 7919 + 11);
        let home = at_home(&mut dice);
        let slots: Vec<(Vec<f64>, Vec<usize>)> = (0..SLOTS).map(|n| levels(&mut dice, &home, 1.5 + n as f64)).collect();
        let mut states = [LevelState::new(&prior); SLOTS];
        let mut absence = Absence::default();
        absence.sign_of_life(FIRST);
        for day in 0..DAYS {
            let now = FIRST + day as f64 + 1.0;
            if known == Known::Presence {
                match home[day] {
                    true => absence.sign_of_life(now - 1.0),
                    false if !absence.is_away() => absence.left(now - 1.0),
                    false => {}
                }
            }
            let at = Moment::day(now).with_away(absence.away_days(now));
            for (state, (levels, _)) in states.iter_mut().zip(&slots) {
                let points = (levels[day] + 1.5 * dice.noise()).round().clamp(0.0, 100.0);
                let verdict = state.update(&prior, at, points);
                if known == Known::Silence {
                    match state.tells_use(&prior, &verdict, 1.0) {
                        Some(true) => absence.sign_of_life(now),
                        Some(false) => absence.quiet(state.uses_a_day(&prior), 1.0),
                        None => {}
                    }
                }
            }
            match (absence.is_away(), home[day]) {
                (true, false) => seen += 1.0,
                (true, true) => wrong += 1.0,
                (false, _) => {}
            }
            there += f64::from(u8::from(!home[day]));
            let back = home[day] && (day.saturating_sub(21)..day).any(|before| !home[before]);
            if !back {
                continue;
            }
            for (state, (_, empty)) in states.iter().zip(&slots) {
                let Some(truth) = empty.iter().find(|empty| **empty > day) else { continue };
                // What the next holiday does, nobody can know.
                if home[day..*truth].contains(&false) {
                    continue;
                }
                let law = state.run_out(&prior).unwrap();
                errors += (law.quantile(0.5, at) - (FIRST + *truth as f64 + 0.5)).abs();
                asked += 1.0;
            }
        }
    }
    (errors / asked, seen / there, wrong / (80.0 * DAYS as f64 - there))
}

#[test]
fn knowing_that_nobody_was_at_home_brings_the_date_back() {
    let [nothing, silence, presence] = [Known::Nothing, Known::Silence, Known::Presence].map(follow);
    for (name, (error, seen, wrong)) in [("nothing known", nothing), ("silence", silence), ("presence", presence)] {
        println!("{name:14} error {error:.2} d, absence seen {:.0} %, wrongly {:.1} %", 100.0 * seen, 100.0 * wrong);
    }
    assert!(presence.0 < 0.95 * nothing.0, "presence {} for {}", presence.0, nothing.0);
    assert!(silence.0 < 0.98 * nothing.0, "silence {} for {}", silence.0, nothing.0);
    assert!(silence.1 > 0.6 && silence.2 < 0.03, "{silence:?}");
}
