//! Appliances that use up what stands in their reservoirs: a printer, a water softener, a pet feeder
//! and a fridge with a water filter. What they are is a table; how they live is the same: use that
//! comes and goes by the day, a sensor that rounds and errs, now and then a reading that is lost,
//! wrong, or counted from zero again.

use hearthway_core::time::{Span, Timestamp};
use jiff::civil::Weekday;
use serde_json::{Value, json};

use super::{Remark, SlotReading, Surroundings, fields, rounded};
use crate::rng::Stream;

/// How often the appliance uses and reports.
const LOOK: Span = Span::hours(24);
/// Share of days on which a reading is lost on its way.
const LOST: f64 = 0.05;
/// Share of readings that are far off: something lay on the scale.
const SPIKES: f64 = 0.004;
/// Share of days on which a counter loses its count: a power cut before it was stored.
const COUNT_LOST: f64 = 0.003;

/// One reservoir of a kind of appliance.
#[derive(Debug, Clone, Copy)]
struct Reservoir {
    slot: &'static str,
    /// How it is measured: `level` or `usage`.
    kind: &'static str,
    unit: &'static str,
    capacity: f64,
    /// Use of one person in a day on which it is used.
    use_per_person: f64,
    /// Share of days on which it is used.
    days_used: f64,
    /// Standard deviation of the sensor.
    noise: f64,
    /// The step in which it is told.
    step: f64,
}

/// A kind of appliance.
#[derive(Debug)]
pub struct Kind {
    model: &'static str,
    kind: &'static str,
    reservoirs: &'static [Reservoir],
    /// How much a weekend day uses beside a working day.
    weekend: f64,
}

/// Ink in percent, told in steps of one; most days nothing is printed.
pub static PRINTER: Kind = Kind {
    model: "pr-4",
    kind: "printer",
    weekend: 0.4,
    reservoirs: &[ink("black", 2.2, 0.45), ink("cyan", 1.5, 0.30), ink("magenta", 1.6, 0.30), ink("yellow", 1.4, 0.30)],
};

const fn ink(slot: &'static str, use_per_person: f64, days_used: f64) -> Reservoir {
    Reservoir { slot, kind: "level", unit: "%", capacity: 100.0, use_per_person, days_used, noise: 0.6, step: 1.0 }
}

/// Salt, weighed under the tank in steps of half a kilogram.
pub static SOFTENER: Kind = Kind {
    model: "ws-25",
    kind: "water_softener",
    weekend: 1.2,
    reservoirs: &[Reservoir {
        slot: "salt",
        kind: "level",
        unit: "kg",
        capacity: 25.0,
        use_per_person: 0.12,
        days_used: 0.95,
        noise: 0.25,
        step: 0.5,
    }],
};

/// Dry food, weighed; the animal eats every day.
pub static FEEDER: Kind = Kind {
    model: "pf-3",
    kind: "pet_feeder",
    weekend: 1.0,
    reservoirs: &[Reservoir {
        slot: "kibble",
        kind: "level",
        unit: "g",
        capacity: 3_000.0,
        use_per_person: 45.0,
        days_used: 1.0,
        noise: 25.0,
        step: 10.0,
    }],
};

/// Litres through a filter, counted since it was changed.
pub static FRIDGE: Kind = Kind {
    model: "fr-70",
    kind: "fridge",
    weekend: 1.3,
    reservoirs: &[Reservoir {
        slot: "water_filter",
        kind: "usage",
        unit: "l",
        capacity: 750.0,
        use_per_person: 2.0,
        days_used: 0.98,
        noise: 0.0,
        step: 0.1,
    }],
};

/// An appliance with reservoirs.
#[derive(Debug, Clone)]
pub struct Reservoirs {
    of: &'static Kind,
    around: Surroundings,
    use_of_day: Stream,
    sensor: Stream,
    at: Timestamp,
    /// How thirsty this home is beside the usual one.
    appetite: f64,
    /// What is really left, in the units of the table.
    left: Vec<f64>,
    /// What a counter says beside what was really used: what it lost.
    lost: Vec<f64>,
    /// When it started last: a power cut ends a run.
    up_since: Timestamp,
}

impl Reservoirs {
    /// An appliance that starts at an instant.
    pub fn new(of: &'static Kind, at: Timestamp, around: Surroundings, mut luck: Stream) -> Reservoirs {
        let sensor = Stream::of(luck.draw(), &["sensor"]);
        let appetite = luck.log_between(0.6, 1.6);
        let left = (1.0 - around.wear).clamp(0.0, 1.0);
        Reservoirs {
            left: of.reservoirs.iter().map(|reservoir| left * reservoir.capacity).collect(),
            lost: vec![0.0; of.reservoirs.len()],
            of,
            use_of_day: luck,
            sensor,
            at,
            up_since: at,
            appetite,
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
            self.at = self.at + LOOK;
            self.use_up();
            let at = self.at;
            remarks.push(Remark::Sample {
                at,
                fields: fields([("signal", json!(self.sensor.between(-70.0, -50.0).round()))]),
            });
            for place in 0..self.left.len() {
                let is_lost = self.sensor.happens(LOST);
                let reading = self.read(place);
                if !is_lost {
                    remarks.push(Remark::Slot { at, reading });
                }
            }
        }
        remarks
    }

    /// When it started last, as its `up_ms` tells.
    pub fn up_since(&self) -> Timestamp {
        self.up_since
    }

    /// Every reservoir as its sensor tells it.
    pub fn slots(&mut self) -> Vec<SlotReading> {
        (0..self.left.len()).map(|place| self.read(place)).collect()
    }

    /// What is really left of each, as a share of a full one.
    pub fn truly_left(&self) -> Vec<(&'static str, f64)> {
        self.of.reservoirs.iter().zip(&self.left).map(|(of, left)| (of.slot, left / of.capacity)).collect()
    }

    /// The person fills it or puts a new one in.
    pub fn replace(&mut self, slot: &str) -> bool {
        let Some(place) = self.of.reservoirs.iter().position(|reservoir| reservoir.slot == slot) else { return false };
        self.left[place] = self.of.reservoirs[place].capacity;
        self.lost[place] = 0.0;
        true
    }

    fn use_up(&mut self) {
        let is_weekend = matches!(self.around.zone.local(self.at).weekday(), Weekday::Saturday | Weekday::Sunday);
        let day = if is_weekend { self.of.weekend } else { 1.0 } * f64::from(self.around.people.max(1)) * self.appetite;
        for (place, of) in self.of.reservoirs.iter().enumerate() {
            let (is_used, amount) = (self.use_of_day.happens(of.days_used), self.use_of_day.between(0.5, 1.5));
            if is_used {
                self.left[place] = (self.left[place] - of.use_per_person * day * amount).max(0.0);
            }
            if of.kind == "usage" && self.use_of_day.happens(COUNT_LOST) {
                // What it counted is gone; the filter is as worn as before.
                self.lost[place] = of.capacity - self.left[place];
                self.up_since = self.at;
            }
        }
    }

    fn read(&mut self, place: usize) -> SlotReading {
        let of = self.of.reservoirs[place];
        let is_counter = of.kind == "usage";
        let true_value = if is_counter { of.capacity - self.left[place] - self.lost[place] } else { self.left[place] };
        let erring = true_value + self.sensor.noise(of.noise);
        let spike = self.sensor.happens(SPIKES) && !is_counter;
        let told = if spike { self.sensor.between(0.0, of.capacity) } else { erring };
        let value = rounded((told / of.step).round() * of.step, 2).clamp(0.0, of.capacity);
        let field = if is_counter { "used" } else { "remaining" };
        SlotReading { slot: of.slot, kind: of.kind, field, value, capacity: of.capacity, unit: of.unit }
    }
}

pub(super) fn description(of: &Kind) -> Value {
    let slots: Vec<Value> = of
        .reservoirs
        .iter()
        .map(|of| json!({"slot": of.slot, "kind": of.kind, "unit": of.unit, "capacity": of.capacity}))
        .collect();
    json!({
        "model": of.model, "kind": of.kind,
        "telemetry": {"signal": {"type": "number", "min": -120, "max": 0}},
        "slots": slots,
        "placements": [{"id": "display.card", "title_max": 32, "body_max": 120}],
        "locales": ["fr", "en"], "confirm": ["press2s"], "buttons": ["ok", "later"]
    })
}

impl Reservoirs {
    /// What kind it is.
    pub(super) fn kind(&self) -> &'static Kind {
        self.of
    }
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
    fn around(people: u32) -> Surroundings {
        let zone = Zone::new("Europe/Paris").unwrap();
        Surroundings { zone, people, wear: 0.0, report_every: Span::hours(1) }
    }
    fn readings(it: &mut Reservoirs, days: i64) -> Vec<SlotReading> {
        let to = it.at + Span::days(days);
        let slot = |remark| match remark {
            Remark::Slot { reading, .. } => Some(reading),
            Remark::Sample { .. } | Remark::Event { .. } => None,
        };
        it.advance(to).into_iter().filter_map(slot).collect()
    }

    #[test]
    fn each_kind_uses_up_a_full_one_within_weeks_or_months() {
        for (kind, weeks) in [(&PRINTER, 6..60), (&SOFTENER, 6..60), (&FEEDER, 2..14), (&FRIDGE, 10..90)] {
            let mut it = Reservoirs::new(kind, at(START), around(2), Stream::of(3, &[kind.model]));
            let mut week = 0;
            while it.left[0] > 0.0 && week < 100 {
                readings(&mut it, 7);
                week += 1;
            }
            assert!(weeks.contains(&week), "{}: {week} weeks", kind.model);
        }
    }

    #[test]
    fn a_sensor_rounds_errs_loses_readings_and_now_and_then_says_something_wild() {
        let mut it = Reservoirs::new(&FEEDER, at(START), around(1), Stream::of(5, &["pf"]));
        let (mut heard, mut wild) = (0, 0);
        for _ in 0..3_000 {
            it.replace("kibble");
            for reading in readings(&mut it, 1) {
                heard += 1;
                assert_eq!(reading.value % 10.0, 0.0, "told in steps of ten grams");
                wild += i32::from((reading.value - it.left[0]).abs() > 300.0);
            }
        }
        assert!((2_750..2_950).contains(&heard), "{heard} of 3 000 readings");
        assert!((3..30).contains(&wild), "{wild} wild ones");
    }

    #[test]
    fn a_counter_that_loses_its_count_starts_from_zero_and_the_filter_stays_as_worn() {
        let mut fell = 0;
        for seed in 0..20 {
            let mut it = Reservoirs::new(&FRIDGE, at(START), around(1), Stream::of(seed, &["fr"]));
            let mut before = 0.0;
            for _ in 0..100 {
                for reading in readings(&mut it, 1) {
                    fell += i32::from(reading.value < before);
                    before = reading.value;
                    assert!(reading.value <= 750.0 - it.left[0] + 0.1, "it never counts more than went through");
                }
            }
        }
        assert!((2..20).contains(&fell), "{fell} in 2 000 days at three in a thousand");
    }

    #[test]
    fn the_same_seed_lives_the_same_however_often_it_is_looked_at() {
        let make = || Reservoirs::new(&PRINTER, at(START), around(3), Stream::of(5, &["pr"]));
        let (mut often, mut once) = (make(), make());
        let mut small = Vec::new();
        for hour in 0..=40 * 24 {
            small.extend(often.advance(at(START) + Span::hours(hour)));
        }
        assert_eq!(small, once.advance(at(START) + Span::days(40)));
    }
}
