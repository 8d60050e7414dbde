//! What a person permits, as the shop says for its signed-in customer.

use std::collections::BTreeMap;

use hearthway_core::id::ProfileId;
use hearthway_core::input::Command;
use hearthway_core::model::{ConsentRecord, ConsentSource, Purpose};
use hearthway_core::time::Timestamp;

use super::profiles::{Person, settled};
use super::tokens::{Caller, Scope};
use super::{App, Failure};
use crate::engine::Target;

/// Characters of a method or text id.
const PROOF_CHARS_MAX: usize = 120;

/// One word on one purpose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsentGiven {
    /// What for.
    pub purpose: Purpose,
    /// Yes or no.
    pub granted: bool,
    /// Which text was shown.
    pub text_id: Option<String>,
    /// How, such as `checkbox`.
    pub method: Option<String>,
    /// When it ends by itself.
    pub expires_at: Option<Timestamp>,
}

/// The records that follow from what the shop says; a purpose is named once.
pub(crate) fn records(given: &[ConsentGiven], now: Timestamp) -> Result<Vec<(Purpose, ConsentRecord)>, Failure> {
    let mut records = BTreeMap::new();
    for (at, word) in given.iter().enumerate() {
        for (field, text) in [("text_id", &word.text_id), ("method", &word.method)] {
            if text.as_ref().is_some_and(|text| text.is_empty() || text.chars().count() > PROOF_CHARS_MAX) {
                let message = format!("1 to {PROOF_CHARS_MAX} characters");
                return Err(Failure::invalid(&format!("/consents/{at}/{field}"), message));
            }
        }
        let record = ConsentRecord {
            granted: word.granted,
            at: now,
            source: ConsentSource::Shop,
            method: word.method.clone(),
            text_id: word.text_id.clone(),
            expires_at: word.expires_at,
        };
        if records.insert(word.purpose, record).is_some() {
            let message = format!("the purpose `{}` is named twice", word.purpose.as_str());
            return Err(Failure::invalid(&format!("/consents/{at}/purpose"), message));
        }
    }
    Ok(records.into_iter().collect())
}

/// The latest word per purpose over all homes of a person; at the same instant a withdrawal.
pub fn latest(person: &Person) -> BTreeMap<Purpose, ConsentRecord> {
    let mut latest: BTreeMap<Purpose, ConsentRecord> = BTreeMap::new();
    let members = person.homes.iter().filter_map(|home| home.members.get(&person.profile.id));
    for (purpose, record) in members.flat_map(|member| &member.consents) {
        match latest.get(purpose) {
            Some(known) if !known.yields_to(record) => {}
            _ => {
                latest.insert(*purpose, record.clone());
            }
        }
    }
    latest
}

impl App {
    /// Sets consents in every home of the person; what is not named stays as it is.
    pub async fn set_consents(&self, who: &Caller, id: &ProfileId, given: &[ConsentGiven]) -> Result<Person, Failure> {
        let retailer = who.retailer(Scope::ProfilesWrite)?;
        let person = self.person(retailer, id.as_str()).await?;
        let records = records(given, self.now())?;
        if person.homes.is_empty() {
            return Err(Failure::Conflict(format!(
                "the profile `{id}` has no linked device yet; give the consents with the claim (POST /v1/claims/confirm)"
            )));
        }
        for home in &person.homes {
            let what = Command::SetConsents { profile: id.clone(), records: records.clone() };
            let input = self.command(None, "consents", home.id.bytes(), what);
            settled(self.engine.call(Target::Household(home.id), input).await)?;
        }
        self.person(retailer, id.as_str()).await
    }
}
