//! What a person may have left in rows of homes where others live, and in events that somebody waits for.

use std::collections::BTreeMap;

use hearthway_core::event_out::EventType;
use hearthway_core::id::{HouseholdId, RetailerId};
use hearthway_core::model::{Leaving, Tenant};
use serde_json::Value;

use crate::app::Failure;
use crate::app::members::{Invitation, is_invitation};
use crate::engine::events::{EventRow, EventState};
use crate::engine::rows::{MoveRow, OfferRow, OrderRow, OutboxRow};
use crate::store::codec::{self, KeyId, Schema};
use crate::store::keys::{self, Key, table};

/// Fields of an event that name a person.
const PERSONS: [&str; 5] = ["profile", "from", "into", "by", "member"];

/// A person who leaves, and the keys under which they may be named, each with the home that it was of; none
/// for their own.
pub(super) struct LeftBehind {
    pub(super) leaving: Leaving,
    pub(super) old: BTreeMap<KeyId, Option<HouseholdId>>,
}

impl LeftBehind {
    /// A row of a home where others live, without the person; none where it has to go.
    pub(super) fn without_person(&self, key: &Key, bytes: &[u8]) -> Result<Option<Vec<u8>>, Failure> {
        let as_it_is = |stays: bool| stays.then(|| bytes.to_vec());
        Ok(match key.0.first().copied().unwrap_or_default() {
            table::ORDER => {
                let row: OrderRow = codec::decode(Schema::Order, key, bytes)?;
                as_it_is(!row.order.profile.is_some_and(|buyer| self.leaving.is(&buyer)))
            }
            table::EVENT => self.event(key, bytes)?,
            // Those that the home still knows have lost their greeting already.
            table::OFFER => {
                let row: OfferRow = codec::decode(Schema::Offer, key, bytes)?;
                as_it_is(!self.leaving.is_called_in_offer(&row.offer.text))
            }
            table::OUTBOX => {
                let row: OutboxRow = codec::decode(Schema::Outbox, key, bytes)?;
                let said = serde_json::from_slice::<Value>(&row.payload);
                as_it_is(said.is_ok_and(|said| !self.is_named_in(&said)))
            }
            table::MOVE => {
                let row: MoveRow = codec::decode(Schema::Move, key, bytes)?;
                as_it_is(!row.join.is_some_and(|join| self.leaving.is(&join.member.profile)))
            }
            // A tail from before: the record has been written anew. What repeats of old messages are told
            // may greet the person; a repeat is then told nothing.
            table::HOUSEHOLD | table::TOLD => None,
            _ if is_invitation(key) => {
                let row: Invitation = codec::decode(Schema::Document, key, bytes)?;
                as_it_is(!self.leaving.is(&row.by))
            }
            // Whatever else a home has goes where the person may be named in it: rather too much than too little.
            _ => as_it_is(!self.may_be_named_in(bytes)),
        })
    }

    /// An event that is still to be told, without the person. One that was told is of no more use where nobody lives.
    pub(super) fn waiting_event(&self, key: &Key, bytes: &[u8]) -> Result<Option<Vec<u8>>, Failure> {
        let row: EventRow = codec::decode(Schema::Event, key, bytes)?;
        if row.state == EventState::Waiting { self.event(key, bytes) } else { Ok(None) }
    }

    /// An event without the person: it is told as its decision stands, of nobody. One that is about nothing
    /// but the person goes.
    fn event(&self, key: &Key, bytes: &[u8]) -> Result<Option<Vec<u8>>, Failure> {
        let mut row: EventRow = codec::decode(Schema::Event, key, bytes)?;
        let Ok(mut body) = serde_json::from_slice::<Value>(&row.body) else { return Ok(None) };
        if self.leaving.names.iter().any(|name| name.as_str() == row.subject) {
            return Ok(None);
        }
        let changed = body.get_mut("data").is_some_and(|data| self.unname(data));
        if !changed {
            return Ok(Some(bytes.to_vec()));
        }
        row.body = body.to_string().into_bytes();
        Ok(Some(codec::encode(Schema::Event, &row)))
    }

    /// Takes the person out of the fields that name somebody; gives whether there was any.
    fn unname(&self, data: &mut Value) -> bool {
        match data {
            Value::Object(fields) => fields.iter_mut().fold(false, |changed, (field, value)| {
                let names = PERSONS.contains(&field.as_str()) && value.as_str().is_some_and(|text| self.is_name(text));
                if names {
                    *value = Value::Null;
                }
                let within = self.unname(value);
                changed || names || within
            }),
            Value::Array(items) => items.iter_mut().fold(false, |changed, item| {
                let within = self.unname(item);
                changed || within
            }),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
        }
    }

    /// Whether any text of a message is the person's name, or calls them by it.
    fn is_named_in(&self, said: &Value) -> bool {
        match said {
            Value::Object(fields) => fields.values().any(|value| self.is_named_in(value)),
            Value::Array(items) => items.iter().any(|item| self.is_named_in(item)),
            Value::String(text) => self.is_name(text) || self.leaving.is_called_in(text),
            Value::Null | Value::Bool(_) | Value::Number(_) => false,
        }
    }

    /// Whether a row that is another person's waits to tell of a merge of both that was taken back.
    pub(super) fn is_told_of_a_merge(&self, retailer: &RetailerId, key: &Key, bytes: &[u8]) -> bool {
        let to_shop = || keys::webhook_of(key).is_some_and(|(of, _)| of == Tenant::Retailer(retailer.clone()));
        if key.0.first() != Some(&table::EVENT) || !to_shop() {
            return false;
        }
        let merged = codec::decode::<EventRow>(Schema::Event, key, bytes).ok();
        let merged = merged.filter(|row| row.kind == EventType::ProfileMerged.as_str());
        let said = merged.and_then(|row| serde_json::from_slice::<Value>(&row.body).ok());
        said.is_some_and(|said| self.is_named_in(&said))
    }

    fn is_name(&self, text: &str) -> bool {
        self.leaving.names.iter().any(|name| name.as_str() == text)
    }

    fn may_be_named_in(&self, bytes: &[u8]) -> bool {
        let names = self.leaving.names.iter().map(hearthway_core::id::ProfileId::as_str);
        names.chain(self.leaving.called.iter().map(String::as_str)).any(|name| contains(bytes, name.as_bytes()))
    }
}

fn contains(bytes: &[u8], text: &[u8]) -> bool {
    !text.is_empty() && bytes.windows(text.len()).any(|window| window == text)
}
