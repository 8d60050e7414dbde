//! What a person permits, as the shop says for its signed-in customer.

use std::collections::BTreeMap;
use std::sync::Arc;

use hearthway_core::id::{ProfileId, ReceiptId, RetailerId};
use hearthway_core::input::Command;
use hearthway_core::model::{ConsentRecord, ConsentSource, Household, Purpose};
use hearthway_core::time::Timestamp;

use super::profiles::{Person, settled, writable};
use super::tokens::{Caller, Scope};
use super::{App, Failure, Page, PageQuery, rows};
use crate::engine::Target;
use crate::engine::rows::{ConsentSaid, unless_erased};
use crate::store::codec::{self, Schema};
use crate::store::keys;
use crate::store::sealed::hidden_name;

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

/// The latest word per purpose over all homes of a person; at the same instant a withdrawal.
pub fn latest(person: &ProfileId, homes: &[Arc<Household>]) -> BTreeMap<Purpose, ConsentRecord> {
    let mut latest: BTreeMap<Purpose, ConsentRecord> = BTreeMap::new();
    let members = homes.iter().filter_map(|home| home.members.get(person));
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
    /// The records that follow from what is said; a purpose is named once, and a text is one of the shop's.
    pub(crate) fn records(
        &self,
        retailer: &RetailerId,
        given: &[ConsentGiven],
        source: ConsentSource,
    ) -> Result<Vec<(Purpose, ConsentRecord)>, Failure> {
        let (now, rules) = (self.now(), self.engine.rules());
        let mut records = BTreeMap::new();
        for (at, word) in given.iter().enumerate() {
            for (field, text) in [("text_id", &word.text_id), ("method", &word.method)] {
                if text.as_ref().is_some_and(|text| text.is_empty() || text.chars().count() > PROOF_CHARS_MAX) {
                    let message = format!("1 to {PROOF_CHARS_MAX} characters");
                    return Err(Failure::invalid(&format!("/consents/{at}/{field}"), message));
                }
            }
            if word.granted
                && let Some(why) = rules.refuses_grant(retailer, word.purpose, word.text_id.as_deref())
            {
                let message = format!("{why}; see GET /v1/consent-texts");
                return Err(Failure::invalid(&format!("/consents/{at}/text_id"), message));
            }
            if word.expires_at.is_some_and(|end| word.granted && end <= now) {
                let message = "a consent that has ended permits nothing; name an instant that is to come";
                return Err(Failure::invalid(&format!("/consents/{at}/expires_at"), message));
            }
            let record = ConsentRecord {
                granted: word.granted,
                at: now,
                source,
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

    /// Sets consents in every home of the person; what is not named stays as it is.
    pub async fn set_consents(
        &self,
        who: &Caller,
        id: &ProfileId,
        given: &[ConsentGiven],
        source: ConsentSource,
    ) -> Result<Person, Failure> {
        let retailer = who.retailer(Scope::ProfilesWrite)?;
        let _busy = self.erasures.check(retailer, id)?;
        writable(&self.known_profile(retailer, id.as_str())?)?;
        let person = self.person(retailer, id.as_str()).await?;
        let records = self.records(retailer, given, source)?;
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

    /// Every word of a person on consents, oldest first, also those said under a name that was merged into theirs.
    pub async fn consent_history(
        &self,
        who: &Caller,
        id: &str,
        page: &PageQuery,
    ) -> Result<Page<(ProfileId, ConsentSaid)>, Failure> {
        let retailer = who.retailer(Scope::ProfilesRead)?;
        let person = self.person(retailer, id).await?;
        let mut said = self.all_consents_said(retailer, &person)?;
        let after = match &page.cursor {
            Some(text) => Some(
                text.parse::<ReceiptId>()
                    .map_err(|_| Failure::invalid("", "the parameter `cursor` is not one of ours"))?,
            ),
            None => None,
        };
        if let Some(after) = after {
            let at = said.iter().position(|(who, said)| said.record.receipt(who, said.purpose) == after);
            said.drain(..at.map_or(0, |at| at + 1));
        }
        let more = said.len() > page.limit;
        said.truncate(page.limit);
        let next = said.last().filter(|_| more).map(|(who, said)| said.record.receipt(who, said.purpose).to_string());
        Ok(Page { items: said, next })
    }

    /// The same, all at once.
    pub(crate) fn all_consents_said(
        &self,
        retailer: &RetailerId,
        person: &Person,
    ) -> Result<Vec<(ProfileId, ConsentSaid)>, Failure> {
        let mut said: Vec<(ProfileId, ConsentSaid)> = Vec::new();
        for name in std::iter::once(&person.profile.id).chain(&person.profile.merged_from) {
            let hidden = hidden_name(&**self.engine.store(), retailer, name);
            rows::each(&**self.engine.store(), &keys::consents_said(retailer, &hidden), |key, bytes| {
                if let Some(word) = unless_erased(codec::decode(Schema::ConsentSaid, key, bytes))? {
                    said.push((name.clone(), word));
                }
                Ok(())
            })?;
        }
        said.sort_by_key(|(who, said)| (said.record.at, said.purpose, said.record.receipt(who, said.purpose)));
        Ok(said)
    }
}
