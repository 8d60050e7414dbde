//! The appliances: what happens in them as time goes by, and what they say of themselves.
//!
//! A model is advanced to an instant and answers with what it wants to report; it knows nothing
//! of MQTT, and two of the same seed do the same.

mod coffee_machine;
mod reservoirs;
mod thermostat;

use hearthway_core::time::{Span, Timestamp, Zone};
use serde::Serialize;
use serde_json::{Map, Value, json};

pub use coffee_machine::CoffeeMachine;
pub use reservoirs::Reservoirs;
pub use thermostat::Thermostat;

use crate::rng::Stream;

/// What a home is like for its appliances.
#[derive(Debug, Clone)]
pub struct Surroundings {
    /// The home's time zone.
    pub zone: Zone,
    /// How many people live there.
    pub people: u32,
    /// Share of the consumables that is used up at the start, 0..1.
    pub wear: f64,
    /// How often telemetry is sent at least.
    pub report_every: Span,
}

/// A consumable's evidence, as it goes on the wire.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SlotReading {
    /// Which slot.
    pub slot: &'static str,
    /// `usage`, `level` or `countdown`.
    pub kind: &'static str,
    /// `used` for usage, else `remaining`.
    #[serde(skip)]
    pub field: &'static str,
    /// The value of that field.
    #[serde(skip)]
    pub value: f64,
    /// The full amount.
    pub capacity: f64,
    /// Its unit.
    pub unit: &'static str,
}

impl SlotReading {
    /// The body of `up/slot`; without `t` the arrival time counts.
    pub fn body(&self, t: Option<Timestamp>, changed: bool) -> Value {
        let mut body = json!({"slot": self.slot, "kind": self.kind, "capacity": self.capacity, "unit": self.unit});
        body[self.field] = json!(self.value);
        if let Some(t) = t {
            body["t"] = json!(t.0);
            if changed {
                body["changed_at"] = json!(t.0);
            }
        }
        body
    }
    /// The share that is used up, 0..1.
    pub fn worn(&self) -> f64 {
        let share = self.value / self.capacity;
        if self.field == "used" { share } else { 1.0 - share }
    }
}

/// What an appliance wants to say.
#[derive(Debug, Clone, PartialEq)]
pub enum Remark {
    /// Values measured at an instant.
    Sample {
        /// When.
        at: Timestamp,
        /// The values, by field.
        fields: Map<String, Value>,
    },
    /// A consumable's evidence.
    Slot {
        /// When.
        at: Timestamp,
        /// The evidence.
        reading: SlotReading,
    },
    /// A discrete fact.
    Event {
        /// When.
        at: Timestamp,
        /// Its type, such as `cycle_done`.
        kind: &'static str,
        /// What comes with it.
        data: Map<String, Value>,
    },
}

/// An appliance of a known model.
#[derive(Debug, Clone)]
pub enum Appliance {
    /// `th-200` by `acme`.
    Thermostat(Box<Thermostat>),
    /// `cm-300` by `brewco`.
    CoffeeMachine(Box<CoffeeMachine>),
    /// `pr-4`, `ws-25` and `fr-70` by `acme`, `pf-3` by `brewco`.
    Reservoirs(Box<Reservoirs>),
}

/// A model that can be simulated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Known {
    /// The model's id.
    pub model: &'static str,
    /// Who makes it.
    pub maker: &'static str,
    /// The persona that plays it, which is also the kind of device.
    pub persona: &'static str,
    /// Its consumable slots.
    pub slots: &'static [&'static str],
    /// What serial numbers begin with.
    pub serial: &'static str,
}

/// Every model that can be simulated.
pub const KNOWN: [Known; 6] = [
    Known { model: "th-200", maker: "acme", persona: "thermostat", slots: &["air_filter"], serial: "TH" },
    Known {
        model: "cm-300",
        maker: "brewco",
        persona: "coffee_machine",
        slots: &["water_filter", "beans"],
        serial: "CM",
    },
    Known {
        model: "pr-4",
        maker: "acme",
        persona: "printer",
        slots: &["black", "cyan", "magenta", "yellow"],
        serial: "PR",
    },
    Known { model: "ws-25", maker: "acme", persona: "water_softener", slots: &["salt"], serial: "WS" },
    Known { model: "pf-3", maker: "brewco", persona: "pet_feeder", slots: &["kibble"], serial: "PF" },
    Known { model: "fr-70", maker: "acme", persona: "fridge", slots: &["water_filter"], serial: "FR" },
];

impl Known {
    /// The model of this id.
    pub fn of(model: &str) -> Option<Known> {
        KNOWN.into_iter().find(|known| known.model == model)
    }
    /// An appliance of this model, at an instant.
    pub fn build(self, at: Timestamp, around: Surroundings, luck: Stream) -> Appliance {
        match self.persona {
            "thermostat" => Appliance::Thermostat(Box::new(Thermostat::new(at, around, luck))),
            "printer" => reservoirs(&reservoirs::PRINTER, at, around, luck),
            "water_softener" => reservoirs(&reservoirs::SOFTENER, at, around, luck),
            "pet_feeder" => reservoirs(&reservoirs::FEEDER, at, around, luck),
            "fridge" => reservoirs(&reservoirs::FRIDGE, at, around, luck),
            _ => Appliance::CoffeeMachine(Box::new(CoffeeMachine::new(at, around, luck))),
        }
    }
}

fn reservoirs(of: &'static reservoirs::Kind, at: Timestamp, around: Surroundings, luck: Stream) -> Appliance {
    Appliance::Reservoirs(Box::new(Reservoirs::new(of, at, around, luck)))
}

impl Appliance {
    /// Lives on to `to` and says what it wants to report, in order of time.
    pub fn advance(&mut self, to: Timestamp) -> Vec<Remark> {
        match self {
            Appliance::Thermostat(it) => it.advance(to),
            Appliance::CoffeeMachine(it) => it.advance(to),
            Appliance::Reservoirs(it) => it.advance(to),
        }
    }
    /// When it has to be looked at next.
    pub fn next_look(&self) -> Timestamp {
        match self {
            Appliance::Thermostat(it) => it.next_look(),
            Appliance::CoffeeMachine(it) => it.next_look(),
            Appliance::Reservoirs(it) => it.next_look(),
        }
    }
    /// All consumables as they are.
    pub fn slots(&mut self) -> Vec<SlotReading> {
        match self {
            Appliance::Thermostat(it) => vec![it.air_filter()],
            Appliance::CoffeeMachine(it) => it.slots(),
            Appliance::Reservoirs(it) => it.slots(),
        }
    }
    /// The person puts a new consumable in; false where there is no such slot.
    pub fn replace(&mut self, slot: &str) -> bool {
        match self {
            Appliance::Thermostat(it) => it.replace(slot),
            Appliance::CoffeeMachine(it) => it.replace(slot),
            Appliance::Reservoirs(it) => it.replace(slot),
        }
    }
    /// The body of `desc`.
    pub fn description(&self) -> Value {
        match self {
            Appliance::Thermostat(_) => thermostat::description(),
            Appliance::CoffeeMachine(_) => coffee_machine::description(),
            Appliance::Reservoirs(it) => reservoirs::description(it.kind()),
        }
    }
}

/// Rounds as the display of an appliance does.
fn rounded(value: f64, digits: i32) -> f64 {
    let scale = 10f64.powi(digits);
    (value * scale).round() / scale
}

/// An object of these members.
fn fields<const N: usize>(members: [(&str, Value); N]) -> Map<String, Value> {
    members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}
