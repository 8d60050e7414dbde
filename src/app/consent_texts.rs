//! What a retailer's customers are shown when they are asked for consent, in versions. A version that asks for
//! something else makes what was granted before count no more.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use hearthway_core::model::{ConsentText, Purpose};
use hearthway_core::time::Timestamp;

use super::documents::{Condition, Document, Kind, Name};
use super::tenants::to_text;
use super::tokens::{Caller, Scope};
use super::{App, Failure, Page, PageQuery, catalog};

/// Characters of a text's id.
const ID_CHARS_MAX: usize = 64;
/// Characters of a text in one language.
const TEXT_CHARS_MAX: usize = 4_000;
/// Languages of one text.
const LANGUAGES_MAX: usize = 32;
/// Versions of one text that are shown.
const VERSIONS_SHOWN_MAX: usize = 100;

/// A text as a shop writes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsentTextGiven {
    /// Its id, which consents name.
    pub id: String,
    /// For what it asks.
    pub purposes: BTreeSet<Purpose>,
    /// The words by language.
    pub text: BTreeMap<String, String>,
    /// Ask again, although the purposes are the same.
    pub ask_again: bool,
}

/// One version of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsentTextView {
    /// Its id.
    pub id: String,
    /// From 1.
    pub version: u64,
    /// When it was written.
    pub at: Timestamp,
    /// The text.
    pub text: ConsentText,
}

fn view(id: &str, document: &Document) -> Option<ConsentTextView> {
    let text = serde_json::from_str(&document.body).ok()?;
    Some(ConsentTextView { id: id.to_owned(), version: document.number, at: document.at, text })
}

impl App {
    /// Writes the next version of a text; the same again changes nothing.
    pub async fn put_consent_text(&self, who: &Caller, new: ConsentTextGiven) -> Result<ConsentTextView, Failure> {
        let retailer = who.retailer(Scope::ProfilesWrite)?;
        check(&new)?;
        let name = Name::of_retailer(Kind::ConsentText, retailer, &new.id);
        let before = self.rulebook.get(&name).and_then(|document| view(&new.id, &document));
        let asks_since = match &before {
            // What was granted before the shop kept its texts here was granted to this one.
            None => Timestamp(0),
            Some(before) if new.ask_again || before.text.purposes != new.purposes => self.now(),
            Some(before) => before.text.asks_since,
        };
        let text = ConsentText { purposes: new.purposes, text: new.text, asks_since };
        let written: Arc<Document> =
            self.rulebook.put(&self.engine, name, to_text(&text), false, &Condition::Any).await?;
        Ok(ConsentTextView { id: new.id, version: written.number, at: written.at, text })
    }

    /// The caller's texts in their latest version.
    pub fn consent_texts(&self, who: &Caller, page: &PageQuery) -> Result<Page<ConsentTextView>, Failure> {
        let retailer = who.retailer(Scope::ProfilesRead)?;
        let Page { items, next } = self.rulebook.list(Kind::ConsentText, retailer.as_str(), page, |_, _| true);
        Ok(Page { items: items.iter().filter_map(|(id, document)| view(id, document)).collect(), next })
    }

    /// All versions of a text, newest first.
    pub fn consent_text_versions(&self, who: &Caller, id: &str) -> Result<Vec<ConsentTextView>, Failure> {
        let retailer = who.retailer(Scope::ProfilesRead)?;
        let shown: String = id.chars().take(80).collect();
        let name = Name::of_retailer(Kind::ConsentText, retailer, id);
        if self.rulebook.get(&name).is_none() {
            return Err(Failure::not_found("consent text", shown));
        }
        let versions = self.rulebook.versions(&name, VERSIONS_SHOWN_MAX)?;
        Ok(versions.iter().filter_map(|document| view(id, document)).collect())
    }
}

fn check(new: &ConsentTextGiven) -> Result<(), Failure> {
    let is_word = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'.' | b'_' | b'-');
    if !(1..=ID_CHARS_MAX).contains(&new.id.len()) || !new.id.bytes().all(is_word) {
        let message = format!("1 to {ID_CHARS_MAX} of a-z, A-Z, 0-9, _ . and -");
        return Err(Failure::invalid("/id", message));
    }
    if new.purposes.is_empty() {
        return Err(Failure::invalid("/purposes", "name at least one purpose, such as `offers.device`"));
    }
    if new.text.is_empty() || new.text.len() > LANGUAGES_MAX {
        return Err(Failure::invalid("/text", format!("write it in 1 to {LANGUAGES_MAX} languages")));
    }
    for (locale, text) in &new.text {
        let pointer = format!("/text/{locale}");
        catalog::check_locale(&pointer, locale)?;
        let chars = text.chars().count();
        if text.trim().is_empty() || chars > TEXT_CHARS_MAX {
            let message = format!("the text takes 1 to {TEXT_CHARS_MAX} characters, this one has {chars}");
            return Err(Failure::invalid(&pointer, message));
        }
    }
    Ok(())
}
