//! The device as a channel: what was said and answered, by kind and model of device and by hour.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::ledger::Ledger;
use super::note::Fate;
use super::table::Table;
use super::{Asked, Counts, ROWS_MAX, TooMuch};

/// Counts what was said, home by home.
#[derive(Debug, Default)]
pub struct Channel {
    asked: Asked,
    rows: BTreeMap<(String, String, u8), [u64; 4]>,
}

impl Channel {
    /// Nothing counted yet.
    pub fn new(asked: Asked) -> Channel {
        Channel { asked, rows: BTreeMap::new() }
    }

    /// What was counted.
    pub fn report(self) -> ChannelReport {
        let rows = self.rows.into_iter().map(|((kind, model, hour), [sent, shown, answered, accepted])| ChannelRow {
            kind,
            model,
            hour,
            sent,
            shown,
            answered,
            accepted,
        });
        ChannelReport { rows: rows.collect() }
    }
}

impl Counts for Channel {
    fn add(&mut self, home: &[Ledger]) -> Result<(), TooMuch> {
        let sent = home.iter().flat_map(Ledger::spoken).filter(|said| said.was_sent());
        for said in sent.filter(|said| self.asked.takes(said.trigger, said.day)) {
            let name = |name: Option<&str>| name.unwrap_or_default().to_owned();
            let [sent, shown, answered, accepted] =
                self.rows.entry((name(said.kind), name(said.model), said.hour)).or_default();
            let is_answered = [Fate::Accepted, Fate::Declined, Fate::Snoozed].iter().any(|fate| said.became(*fate));
            *sent += 1;
            *shown += u64::from(said.became(Fate::Shown));
            *answered += u64::from(is_answered);
            *accepted += u64::from(said.became(Fate::Accepted));
        }
        if self.rows.len() > ROWS_MAX { Err(TooMuch) } else { Ok(()) }
    }
}

/// Offers that left to one model of device in one hour of the day.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChannelRow {
    /// The device's kind.
    pub kind: String,
    /// Its model.
    pub model: String,
    /// The hour in which they left, 0 to 23, by the home's clock.
    pub hour: u8,
    /// How many.
    pub sent: u64,
    /// Of these, seen on the device.
    pub shown: u64,
    /// Of these, accepted, declined or put off, on any channel.
    pub answered: u64,
    /// Of these, accepted.
    pub accepted: u64,
}

/// By kind, model and hour.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChannelReport {
    /// The rows.
    pub rows: Vec<ChannelRow>,
}

impl ChannelReport {
    /// A row per kind, model and hour.
    pub fn table(&self) -> Table {
        let rows = self.rows.iter().map(|row| {
            let numbers =
                [row.hour.into(), row.sent, row.shown, row.answered, row.accepted].map(|n: u64| n.to_string());
            [row.kind.clone(), row.model.clone()].into_iter().chain(numbers).collect()
        });
        let columns = vec!["kind", "model", "hour", "sent", "shown", "answered", "accepted"];
        Table { columns, rows: rows.collect() }
    }
}
