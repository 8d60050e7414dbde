//! What one home was told and what it said, on all of its channels: all that the verdict on it knows.

use std::collections::BTreeMap;
use std::time::Duration;

use hearthway_core::time::Timestamp;
use serde_json::Value;

use super::door::Window;
use super::script::{Act, Channel, Choice};

/// What an offer asks in one revision, as a channel was told.
#[derive(Clone, Debug, PartialEq)]
pub struct Quote {
    pub sold_by: String,
    pub piece: i64,
    pub delivery: i64,
    /// Milliseconds, by the gateway's clock.
    pub lock_until: i64,
    pub expires_at: i64,
    /// Id, total of the offered piece, and who sells it.
    pub alternatives: Vec<(String, i64, String)>,
}

/// Milliseconds of a time as MQTT or as HTTP writes it.
pub fn milliseconds(time: &Value) -> i64 {
    time.as_i64().unwrap_or_else(|| Timestamp::parse_rfc3339(time.as_str().unwrap()).unwrap().0)
}

impl Quote {
    /// Of an offer as it is told over MQTT or over HTTP: both say these alike.
    pub fn of(offer: &Value) -> Quote {
        let minor = |money: &Value| money["minor"].as_i64().unwrap();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let price = &offer["price"];
        let alternatives = offer["alternatives"].as_array().unwrap();
        Quote {
            sold_by: text(&offer["sold_by"]),
            piece: minor(&price["item"]),
            delivery: minor(&price["delivery"]),
            lock_until: milliseconds(&price["lock_until"]),
            expires_at: milliseconds(&offer["expires_at"]),
            alternatives: alternatives
                .iter()
                .map(|other| (text(&other["id"]), minor(&other["total"]), text(&other["sold_by"])))
                .collect(),
        }
    }
}

/// What an accept came to.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// Said over MQTT and not refused: an order follows, or there was one.
    Taken,
    Order(String),
    /// With the order that is named beside it. `may_be_ours` where a kill took the first answer away.
    Refused {
        code: String,
        order: Option<String>,
        may_be_ours: bool,
    },
}

#[derive(Clone, Debug)]
pub struct Attempt {
    pub channel: Channel,
    pub rev: u32,
    pub choice: Choice,
    pub alternative: Option<String>,
    pub window: Window,
    pub outcome: Outcome,
}

/// Something else that was said, and answered with success.
#[derive(Clone, Debug)]
pub struct Done {
    pub channel: Channel,
    pub act: Act,
    pub window: Window,
    /// The state that the answer told.
    pub state: String,
}

#[derive(Default)]
pub struct Book {
    pub offer: Option<String>,
    pub last_rev: u32,
    /// By revision, as the device was told.
    pub on_device: BTreeMap<u32, Quote>,
    /// By revision, as the app was.
    pub in_app: BTreeMap<u32, Quote>,
    /// The device was told that it is over.
    pub taken_back: Option<String>,
    pub attempts: Vec<Attempt>,
    pub done: Vec<Done>,
    /// When the device said that the order, or the offer that it came of, is not wanted: it hears no answer that tells
    /// whether its word or another's came first.
    pub not_wanted_on_device: Vec<Window>,
    /// Where an order was named, and which.
    pub orders: Vec<(String, String)>,
    /// Revision, state and total of the order, as the device heard them.
    pub order_on_device: Vec<(u32, String, i64)>,
    /// Accepts of the device, by the id of their message; refusals that came before their acknowledgement.
    pub said_by_device: BTreeMap<String, usize>,
    pub refusals: BTreeMap<String, String>,
    /// What an old revision was asked for with another price than a new one: told twice with a difference.
    pub faults: Vec<String>,
    /// All of it, for whoever reads a failure.
    pub lines: Vec<String>,
}

impl Book {
    pub fn note(&mut self, at: Duration, line: String) {
        self.lines.push(format!("{:8.1} ms  {line}", at.as_secs_f64() * 1_000.0));
    }

    /// The offer was told on a channel.
    pub fn told(&mut self, is_device: bool, offer: &Value) {
        let rev = u32::try_from(offer["rev"].as_u64().unwrap()).unwrap();
        let id = offer.get("id").or_else(|| offer.get("offer")).and_then(Value::as_str).unwrap().to_owned();
        if self.offer.as_ref().is_some_and(|known| *known != id) {
            self.faults.push(format!("a second offer: {id}"));
        }
        self.offer = Some(id);
        self.last_rev = self.last_rev.max(rev);
        let quote = Quote::of(offer);
        let other = if is_device { &self.in_app } else { &self.on_device };
        // What an accept does to the price of an offer is told with the order.
        if let Some(other) = other.get(&rev).filter(|other| **other != quote && offer["state"] != "accepted") {
            self.faults.push(format!("revision {rev} on two channels: {other:?} and {quote:?}"));
        }
        let place = if is_device { &mut self.on_device } else { &mut self.in_app };
        if offer["state"] != "accepted" {
            place.insert(rev, quote);
        }
    }

    /// A message of the device was refused.
    pub fn refused(&mut self, id: &str, code: &str) {
        match self.said_by_device.get(id) {
            Some(at) => {
                self.attempts[*at].outcome =
                    Outcome::Refused { code: code.to_owned(), order: None, may_be_ours: false };
            }
            None => {
                self.refusals.insert(id.to_owned(), code.to_owned());
            }
        }
    }

    pub fn order_named(&mut self, place: &str, order: &str) {
        self.orders.push((place.to_owned(), order.to_owned()));
    }

    pub fn order(&self) -> Option<String> {
        self.orders.first().map(|(_, order)| order.clone())
    }
}
