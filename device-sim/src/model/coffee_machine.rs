//! A coffee machine: cups by the habits of its people, a water filter that counts down, a bean
//! hopper that is weighed with some noise and refilled by hand.

use std::collections::VecDeque;

use hearthway_core::time::{Span, Timestamp};
use jiff::civil::{Date, Weekday, time};
use serde_json::{Value, json};

use super::{Remark, SlotReading, Surroundings, fields, rounded};
use crate::rng::Stream;

/// How often the appliance looks at itself.
const LOOK: Span = Span::minutes(15);
/// Cups one person drinks on a working day.
const CUPS_PER_PERSON: f64 = 2.2;
/// Cups a water filter lasts.
const FILTER_CUPS: f64 = 200.0;
/// Grams of beans that fit.
const HOPPER_GRAMS: f64 = 500.0;
/// Grams of beans in a cup.
const CUP_GRAMS: f64 = 9.0;
/// Standard deviation of the scale under the hopper, grams.
const SCALE_NOISE_GRAMS: f64 = 3.0;
/// A level that moved by so much is reported, grams.
const LEVEL_REPORT_GRAMS: f64 = 25.0;
/// Share of people who fill the hopper as soon as it runs low.
const REFILLS_EARLY: f64 = 0.7;
/// How many cups fall into each hour of the day, as weights.
const HOURS: [f64; 24] =
    [0., 0., 0., 0., 0., 0.5, 3., 8., 7., 4., 3., 2., 2., 4., 3., 2., 2., 1.5, 1., 1., 1., 0.5, 0.2, 0.];

/// The coffee machine of one home.
#[derive(Debug, Clone)]
pub struct CoffeeMachine {
    around: Surroundings,
    habits: Stream,
    scale: Stream,
    at: Timestamp,
    /// The day whose cups are planned.
    planned: Option<Date>,
    cups: VecDeque<Timestamp>,
    cups_total: u64,
    filter_cups_left: f64,
    beans_grams: f64,
    reported_at: Option<Timestamp>,
    level_reported: Option<f64>,
    filter_reported: Option<f64>,
}

impl CoffeeMachine {
    /// A machine that starts at an instant.
    pub fn new(at: Timestamp, around: Surroundings, mut luck: Stream) -> CoffeeMachine {
        let scale = Stream::of(luck.draw(), &["scale"]);
        let left = (1.0 - around.wear).clamp(0.0, 1.0);
        CoffeeMachine {
            habits: luck,
            scale,
            at,
            planned: None,
            cups: VecDeque::new(),
            cups_total: 0,
            filter_cups_left: (left * FILTER_CUPS).round(),
            beans_grams: (HOPPER_GRAMS * (0.3 + 0.7 * left)).round(),
            reported_at: None,
            level_reported: None,
            filter_reported: None,
            around,
        }
    }

    /// When it has to be looked at next.
    pub fn next_look(&self) -> Timestamp {
        self.at + LOOK
    }

    /// Lives on to `to`.
    pub fn advance(&mut self, to: Timestamp) -> Vec<Remark> {
        let mut remarks = Vec::new();
        while self.at + LOOK <= to {
            let next = self.at + LOOK;
            self.plan(next);
            while let Some(cup) = self.cups.front().copied().filter(|cup| *cup <= next) {
                self.cups.pop_front();
                if cup > self.at {
                    self.brew(cup, &mut remarks);
                }
            }
            self.at = next;
            self.report(&mut remarks);
        }
        remarks
    }

    /// Both consumables as they are; the hopper is weighed, so asking draws noise.
    pub fn slots(&mut self) -> Vec<SlotReading> {
        vec![self.water_filter(), self.beans()]
    }

    /// The person puts a new consumable in.
    pub fn replace(&mut self, slot: &str) -> bool {
        match slot {
            "water_filter" => {
                self.filter_cups_left = FILTER_CUPS;
                self.filter_reported = None;
            }
            "beans" => {
                self.beans_grams = HOPPER_GRAMS;
                self.level_reported = None;
            }
            _ => return false,
        }
        true
    }

    /// Cups of its whole life.
    pub fn cups_total(&self) -> u64 {
        self.cups_total
    }

    /// Draws the cups of each local day once, when the day is first reached.
    fn plan(&mut self, until: Timestamp) {
        let today = self.around.zone.local(until).date();
        if self.planned == Some(today) {
            return;
        }
        self.planned = Some(today);
        let weekend = matches!(today.weekday(), Weekday::Saturday | Weekday::Sunday);
        let mean = f64::from(self.around.people) * CUPS_PER_PERSON * if weekend { 1.3 } else { 1.0 };
        let mut midnight = self.around.zone.next(until - Span::days(1), time(0, 0, 0, 0));
        if self.around.zone.local(midnight).date() != today {
            // Yesterday had 23 hours, so that a day ago was the day before.
            midnight = self.around.zone.next(midnight, time(0, 0, 0, 0));
        }
        let weight: f64 = HOURS.iter().sum();
        let mut cups: Vec<Timestamp> = (0..self.habits.count(mean))
            .map(|_| {
                let mut rest = self.habits.between(0.0, weight);
                // On a weekend the same habits, an hour and a half later.
                let mut hour = if weekend { 1.5 } else { 0.0 };
                for share in HOURS {
                    if rest < share {
                        hour += rest / share;
                        break;
                    }
                    rest -= share;
                    hour += 1.0;
                }
                midnight + Span((hour * Span::hours(1).0 as f64) as i64)
            })
            .collect();
        cups.sort_unstable();
        self.cups.extend(cups);
    }

    fn brew(&mut self, at: Timestamp, remarks: &mut Vec<Remark>) {
        if self.beans_grams < CUP_GRAMS * 3.0 && self.habits.happens(REFILLS_EARLY) {
            self.replace("beans");
        }
        if self.beans_grams < CUP_GRAMS {
            remarks.push(Remark::Event { at, kind: "error", data: fields([("code", json!("beans_empty"))]) });
            self.replace("beans");
        }
        self.beans_grams -= self.habits.between(CUP_GRAMS - 1.0, CUP_GRAMS + 1.0).min(self.beans_grams);
        self.filter_cups_left = (self.filter_cups_left - 1.0).max(0.0);
        self.cups_total += 1;
        let program = if self.habits.happens(0.6) { "espresso" } else { "lungo" };
        remarks.push(Remark::Event { at, kind: "cycle_done", data: fields([("program", json!(program))]) });
    }

    fn report(&mut self, remarks: &mut Vec<Remark>) {
        let at = self.at;
        if self.reported_at.is_none_or(|last| at - last >= self.around.report_every) {
            self.reported_at = Some(at);
            let sample = fields([("cups", json!(self.cups_total))]);
            remarks.push(Remark::Sample { at, fields: sample });
        }
        if self.filter_reported != Some(self.filter_cups_left) {
            self.filter_reported = Some(self.filter_cups_left);
            remarks.push(Remark::Slot { at, reading: self.water_filter() });
        }
        if self.level_reported.is_none_or(|last| (last - self.beans_grams).abs() >= LEVEL_REPORT_GRAMS) {
            self.level_reported = Some(self.beans_grams);
            let reading = self.beans();
            remarks.push(Remark::Slot { at, reading });
        }
    }

    fn water_filter(&self) -> SlotReading {
        SlotReading {
            slot: "water_filter",
            kind: "countdown",
            field: "remaining",
            value: self.filter_cups_left,
            capacity: FILTER_CUPS,
            unit: "count",
        }
    }

    fn beans(&mut self) -> SlotReading {
        let weighed = (self.beans_grams + self.scale.noise(SCALE_NOISE_GRAMS)).clamp(0.0, HOPPER_GRAMS);
        SlotReading {
            slot: "beans",
            kind: "level",
            field: "remaining",
            value: rounded(weighed, 0),
            capacity: HOPPER_GRAMS,
            unit: "g",
        }
    }
}

pub(super) fn description() -> Value {
    json!({
        "model": "cm-300", "kind": "coffee_machine",
        "telemetry": {"cups": {"type": "number", "unit": "count", "min": 0}},
        "slots": [
            {"slot": "water_filter", "kind": "countdown", "unit": "count", "capacity": FILTER_CUPS},
            {"slot": "beans", "kind": "level", "unit": "g", "capacity": HOPPER_GRAMS}
        ],
        "placements": [{"id": "display.card", "title_max": 32, "body_max": 120}],
        "locales": ["fr", "en"], "confirm": ["press2s"], "buttons": ["ok", "later"]
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use hearthway_core::time::Zone;

    use super::*;

    const START: &str = "2026-02-02T00:00:00+01:00";

    fn at(text: &str) -> Timestamp {
        Timestamp::parse_rfc3339(text).unwrap()
    }
    fn machine(people: u32, seed: u64) -> CoffeeMachine {
        let around =
            Surroundings { zone: Zone::new("Europe/Paris").unwrap(), people, wear: 0.2, report_every: Span::hours(1) };
        CoffeeMachine::new(at(START), around, Stream::of(seed, &["cm"]))
    }

    #[test]
    fn two_people_drink_about_thirty_cups_a_week_and_more_people_drink_more() {
        let mut two = machine(2, 7);
        two.advance(at(START) + Span::days(70));
        let a_week = two.cups_total() as f64 / 10.0;
        assert!((25.0..45.0).contains(&a_week), "{a_week}");
        let mut four = machine(4, 7);
        four.advance(at(START) + Span::days(70));
        assert!(four.cups_total() as f64 > 1.5 * two.cups_total() as f64);
    }

    #[test]
    fn each_cup_takes_one_from_the_filter_and_beans_from_the_hopper() {
        let mut it = machine(2, 7);
        let remarks = it.advance(at(START) + Span::days(2));
        let cups = remarks.iter().filter(|r| matches!(r, Remark::Event { kind: "cycle_done", .. })).count();
        assert_eq!(cups as u64, it.cups_total());
        assert_eq!(it.water_filter().value, 160.0 - cups as f64);
        assert!(it.beans_grams < 430.0 - 7.0 * cups as f64);
    }

    #[test]
    fn an_empty_hopper_is_refilled_by_hand() {
        let mut it = machine(4, 7);
        let remarks = it.advance(at(START) + Span::days(30));
        let levels: Vec<f64> = remarks
            .iter()
            .filter_map(|remark| match remark {
                Remark::Slot { reading, .. } if reading.slot == "beans" => Some(reading.value),
                Remark::Sample { .. } | Remark::Slot { .. } | Remark::Event { .. } => None,
            })
            .collect();
        assert!(levels.windows(2).any(|pair| pair[1] > pair[0] + 300.0), "the hopper was never filled");
        assert!(levels.iter().all(|level| (0.0..=HOPPER_GRAMS).contains(level)));
    }

    #[test]
    fn nobody_makes_coffee_in_the_dead_of_night_and_remarks_come_in_order() {
        let mut it = machine(3, 9);
        let remarks = it.advance(at(START) + Span::days(14));
        let zone = Zone::new("Europe/Paris").unwrap();
        let mut last = Timestamp(0);
        for remark in remarks {
            if let Remark::Event { at, .. } = remark {
                assert!((5..=24).contains(&zone.local(at).hour()), "{at}");
                assert!(at >= last);
                last = at;
            }
        }
    }

    #[test]
    fn the_same_seed_lives_the_same_however_often_it_is_looked_at() {
        let (mut often, mut once) = (machine(2, 5), machine(2, 5));
        let mut small = Vec::new();
        for minute in 0..=2 * 1_440 {
            small.extend(often.advance(at(START) + Span::minutes(minute)));
        }
        assert_eq!(small, once.advance(at(START) + Span::days(2)));
    }
}
