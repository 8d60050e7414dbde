//! A thermostat: a room that loses heat, a heater with hysteresis, a schedule, and a filter that
//! wears with the hours the heater runs.

use hearthway_core::time::{Span, Timestamp};
use jiff::civil::Weekday;
use serde_json::{Map, Value, json};

use super::{Remark, SlotReading, Surroundings, fields, rounded};
use crate::rng::Stream;

/// One step of the thermal model.
const STEP: Span = Span::minutes(1);
/// How often the appliance looks at itself.
const LOOK: Span = Span::minutes(5);
/// Hours in which an unheated room loses two thirds of its distance to the outside.
const ROOM_HOURS: f64 = 26.0;
/// How far above the outside the heater could hold the room for ever, kelvin.
const HEATER_LIFT: f64 = 32.0;
/// The heater switches this far from the setpoint, kelvin.
const HYSTERESIS: f64 = 0.3;
/// A change worth a report of its own, kelvin.
const WORTH_REPORTING: f64 = 0.5;
/// Hours a filter lasts.
const FILTER_HOURS: f64 = 720.0;
/// A filter is reported again after so many hours of use.
const FILTER_REPORT_HOURS: f64 = 4.0;

/// The thermostat of one home.
#[derive(Debug, Clone)]
pub struct Thermostat {
    around: Surroundings,
    luck: Stream,
    at: Timestamp,
    indoor: f64,
    /// Weather beside the season and the hour: a slow walk around 0, kelvin.
    weather: f64,
    /// How warm these people like it, against the usual, kelvin.
    taste: f64,
    heating: bool,
    runtime_hours: f64,
    filter_used_hours: f64,
    reported: Option<(Timestamp, f64)>,
    filter_reported: Option<f64>,
}

impl Thermostat {
    /// A thermostat that starts at an instant in a room at its setpoint.
    pub fn new(at: Timestamp, around: Surroundings, mut luck: Stream) -> Thermostat {
        let taste = luck.between(-0.8, 0.8);
        let used = (around.wear * FILTER_HOURS).clamp(0.0, 2.0 * FILTER_HOURS);
        let mut it = Thermostat {
            around,
            luck,
            at,
            indoor: 0.0,
            weather: 0.0,
            taste,
            heating: false,
            runtime_hours: used,
            filter_used_hours: used,
            reported: None,
            filter_reported: None,
        };
        it.indoor = if it.mode() == "heat" { it.setpoint() } else { it.outside().max(18.0) };
        it
    }

    /// When it has to be looked at next.
    pub fn next_look(&self) -> Timestamp {
        self.at + LOOK
    }

    /// Lives on to `to`.
    pub fn advance(&mut self, to: Timestamp) -> Vec<Remark> {
        let mut remarks = Vec::new();
        while self.at + STEP <= to {
            self.step();
            let worth = self.reported.is_none_or(|(at, indoor)| {
                self.at - at >= self.around.report_every || (self.indoor - indoor).abs() >= WORTH_REPORTING
            });
            if worth {
                self.reported = Some((self.at, self.indoor));
                remarks.push(Remark::Sample { at: self.at, fields: self.sample() });
            }
            if self.filter_reported.is_none_or(|last| self.filter_used_hours - last >= FILTER_REPORT_HOURS) {
                self.filter_reported = Some(self.filter_used_hours);
                remarks.push(Remark::Slot { at: self.at, reading: self.air_filter() });
            }
        }
        remarks
    }

    /// The filter as it is.
    pub fn air_filter(&self) -> SlotReading {
        SlotReading {
            slot: "air_filter",
            kind: "usage",
            field: "used",
            value: rounded(self.filter_used_hours, 1),
            capacity: FILTER_HOURS,
            unit: "h",
        }
    }

    /// The person puts a new filter in.
    pub fn replace(&mut self, slot: &str) -> bool {
        if slot != "air_filter" {
            return false;
        }
        self.filter_used_hours = 0.0;
        self.filter_reported = None;
        true
    }

    /// The temperature indoors, °C.
    pub fn indoor(&self) -> f64 {
        self.indoor
    }

    /// Hours the heater ran in its life.
    pub fn runtime_hours(&self) -> f64 {
        self.runtime_hours
    }

    fn step(&mut self) {
        self.at = self.at + STEP;
        // Once an hour the weather moves a little and is pulled back to the season's mean.
        if self.at.0.rem_euclid(Span::hours(1).0) < STEP.0 {
            self.weather = self.weather * 0.985 + self.luck.noise(0.5);
        }
        let setpoint = self.setpoint();
        self.heating = match self.mode() {
            "off" => false,
            _ if self.indoor < setpoint - HYSTERESIS => true,
            _ if self.indoor > setpoint + HYSTERESIS => false,
            _ => self.heating,
        };
        let hours = STEP.0 as f64 / Span::hours(1).0 as f64;
        let settles_at = self.outside() + if self.heating { HEATER_LIFT } else { 0.0 };
        self.indoor += (settles_at - self.indoor) * (1.0 - (-hours / ROOM_HOURS).exp());
        if self.heating {
            self.runtime_hours += hours;
            self.filter_used_hours += hours;
        }
    }

    /// The temperature outside: season, hour of the day, weather. Coldest in late January.
    fn outside(&self) -> f64 {
        let local = self.around.zone.local(self.at);
        let year = f64::from(local.date().day_of_year() - 25) / 365.0;
        let day = (f64::from(local.hour()) + f64::from(local.minute()) / 60.0 - 4.0) / 24.0;
        let turn = std::f64::consts::TAU;
        12.0 - 8.0 * (year * turn).cos() - 3.5 * (day * turn).cos() + self.weather
    }

    fn setpoint(&self) -> f64 {
        let local = self.around.zone.local(self.at);
        let weekend = matches!(local.date().weekday(), Weekday::Saturday | Weekday::Sunday);
        let minute = i32::from(local.hour()) * 60 + i32::from(local.minute());
        let comfort = match minute {
            360..510 | 1_020..1_350 => true,
            510..1_020 => weekend,
            _ => false,
        };
        rounded(if comfort { 20.5 } else { 17.5 } + self.taste, 1)
    }

    fn mode(&self) -> &'static str {
        // People switch the heating off from June to the middle of September.
        let date = self.around.zone.local(self.at).date();
        match (date.month(), date.day()) {
            (6..=8, _) | (9, ..=15) => "off",
            _ => "heat",
        }
    }

    fn sample(&self) -> Map<String, Value> {
        fields([
            ("temperature", json!(rounded(self.indoor, 1))),
            ("setpoint", json!(self.setpoint())),
            ("mode", json!(self.mode())),
            ("runtime", json!(rounded(self.runtime_hours, 1))),
        ])
    }
}

pub(super) fn description() -> Value {
    json!({
        "model": "th-200", "kind": "thermostat",
        "telemetry": {
            "temperature": {"type": "number", "unit": "°C", "min": -40, "max": 80},
            "setpoint": {"type": "number", "unit": "°C", "min": 5, "max": 30},
            "mode": {"type": "enum", "values": ["off", "heat"]},
            "runtime": {"type": "number", "unit": "h", "min": 0}
        },
        "slots": [{"slot": "air_filter", "kind": "usage", "unit": "h", "capacity": FILTER_HOURS}],
        "placements": [{"id": "home.card", "title_max": 40, "body_max": 160}],
        "locales": ["fr", "en"], "confirm": ["press2s"], "buttons": ["ok", "later"]
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use hearthway_core::time::Zone;

    use super::*;

    fn at(text: &str) -> Timestamp {
        Timestamp::parse_rfc3339(text).unwrap()
    }
    fn thermostat(start: &str, seed: u64) -> Thermostat {
        let around = Surroundings {
            zone: Zone::new("Europe/Paris").unwrap(),
            people: 2,
            wear: 0.5,
            report_every: Span::minutes(30),
        };
        Thermostat::new(at(start), around, Stream::of(seed, &["th"]))
    }

    #[test]
    fn a_winter_month_heats_for_hundreds_of_hours_and_keeps_the_room_warm() {
        let mut it = thermostat("2026-01-05T00:00:00+01:00", 7);
        let before = it.runtime_hours();
        let mut coldest = f64::MAX;
        for hour in 0..30 * 24 {
            it.advance(at("2026-01-05T00:00:00+01:00") + Span::hours(hour));
            coldest = coldest.min(it.indoor());
        }
        let ran = it.runtime_hours() - before;
        assert!((200.0..600.0).contains(&ran), "{ran} h in a month");
        assert!(coldest > 14.0, "{coldest} °C");
        assert!((it.air_filter().value - (360.0 + ran)).abs() < 0.2, "the filter wears with the runtime");
    }

    #[test]
    fn in_summer_the_mode_is_off_and_the_filter_does_not_wear() {
        let mut it = thermostat("2026-07-01T00:00:00+02:00", 7);
        let remarks = it.advance(at("2026-07-08T00:00:00+02:00"));
        assert_eq!(it.air_filter().value, 360.0);
        let modes = remarks.iter().filter_map(|remark| match remark {
            Remark::Sample { fields, .. } => fields.get("mode"),
            Remark::Slot { .. } | Remark::Event { .. } => None,
        });
        assert!(modes.clone().count() > 100);
        assert!(modes.into_iter().all(|mode| mode == "off"));
    }

    #[test]
    fn the_same_seed_lives_the_same_month_however_often_it_is_looked_at() {
        let start = "2026-02-01T00:00:00+01:00";
        let (mut often, mut once) = (thermostat(start, 3), thermostat(start, 3));
        let mut small = Vec::new();
        for minute in 0..=3 * 1_440 {
            small.extend(often.advance(at(start) + Span::minutes(minute)));
        }
        assert_eq!(small, once.advance(at(start) + Span::days(3)));
        assert_ne!(small, thermostat(start, 4).advance(at(start) + Span::days(3)));
    }

    #[test]
    fn a_new_filter_counts_from_zero_and_is_reported_at_once() {
        let start = at("2026-01-05T00:00:00+01:00");
        let mut it = thermostat("2026-01-05T00:00:00+01:00", 7);
        it.advance(start + Span::days(1));
        assert!(it.replace("air_filter"));
        assert!(!it.replace("beans"));
        let remarks = it.advance(start + Span::days(1) + Span::minutes(1));
        assert!(
            remarks.iter().any(|r| matches!(r, Remark::Slot { reading, .. } if reading.value < 0.1)),
            "{remarks:?}"
        );
    }
}
