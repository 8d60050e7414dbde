//! Reasons not to sell to a person: one flag, and all marketing is off wherever they are linked.

use hearthway_core::model::{Flag, FlagNote, Profile};
use tracing::info;

use super::documents::Condition;
use super::profiles::Person;
use super::tokens::{Caller, Scope};
use super::{App, Failure};

/// Characters of a flag's reason.
const REASON_CHARS_MAX: usize = 200;

impl App {
    /// Flags a person: live offers of their devices are taken back, and mandates order nothing until it ends.
    pub async fn set_flag(&self, who: &Caller, id: &str, flag: Flag, reason: &str) -> Result<Person, Failure> {
        if reason.trim().is_empty() || reason.chars().count() > REASON_CHARS_MAX {
            return Err(Failure::invalid("/reason", format!("the reason takes 1 to {REASON_CHARS_MAX} characters")));
        }
        let note = FlagNote { at: self.now(), reason: reason.trim().to_owned(), by: who.token().to_owned() };
        self.change_flags(who, id, flag, Some(note)).await
    }

    /// Ends a flag.
    pub async fn end_flag(&self, who: &Caller, id: &str, flag: Flag) -> Result<Person, Failure> {
        self.change_flags(who, id, flag, None).await
    }

    async fn change_flags(
        &self,
        who: &Caller,
        id: &str,
        flag: Flag,
        note: Option<FlagNote>,
    ) -> Result<Person, Failure> {
        let retailer = who.retailer(Scope::ProfilesWrite)?;
        let id = self.open_profile(retailer, id)?;
        let _busy = self.erasures.check(retailer, &id)?;
        let is_set = note.is_some();
        let change = |before: Option<&Profile>| {
            let mut profile = before.cloned().unwrap_or_else(|| Profile::named(id.clone()));
            match &note {
                Some(note) => profile.flags.insert(flag, note.clone()),
                None => profile.flags.remove(&flag),
            };
            Ok(profile.into())
        };
        let profile = self.change_profile(retailer, &id, &Condition::Any, change).await?;
        // Who was flagged is nobody's business in a log: only that it happened, and by which token.
        info!(token = who.token(), flag = flag.as_str(), is_set, "A flag of a person was changed");
        self.tell_homes(&profile, None).await?;
        self.person(retailer, id.as_str()).await
    }
}
