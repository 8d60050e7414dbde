//! Persons as one retailer knows them.

use std::collections::BTreeSet;
use std::sync::Arc;

use hearthway_core::id::{HouseholdId, ProfileId, RetailerId};
use hearthway_core::input::Command;
use hearthway_core::model::{Household, Member, Profile, Role};
use hearthway_core::time::Zone;

use super::documents::{Condition, etag};
use super::tenants::to_text;
use super::tokens::{Caller, Scope};
use super::{App, Failure, catalog, rows};
use crate::engine::rows::unless_erased;
use crate::engine::{Outcome, Target};
use crate::store::codec::{self, Schema};
use crate::store::keys::{self, Key};
use crate::store::sealed::{Subject, blind};
use crate::store::{Precondition, Store, Write};

/// Segments of one person.
const SEGMENTS_MAX: usize = 64;
/// Characters of the name that a device shows.
const DISPLAY_NAME_CHARS_MAX: usize = 64;
/// Homes of one person.
pub(crate) const HOUSEHOLDS_PER_PROFILE_MAX: usize = 16;
/// How often a change of a profile is tried again when another change came between.
const TRIES_MAX: usize = 8;

/// What a retailer says about a person. What is none stays as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProfileChange {
    /// What a device may show as the home's name.
    pub display_name: Option<String>,
    /// Preferred language.
    pub locale: Option<String>,
    /// Time zone.
    pub zone: Option<Zone>,
    /// Segments.
    pub segments: Option<BTreeSet<String>>,
}

/// A person with the homes they really are a member of.
#[derive(Debug, Clone)]
pub struct Person {
    /// The profile.
    pub profile: Profile,
    /// The homes.
    pub homes: Vec<Arc<Household>>,
}

impl Person {
    /// The tag of what can be edited.
    pub fn etag(&self) -> String {
        profile_etag(&self.profile)
    }
}

/// The tag of what can be edited of a profile; homes come and go by themselves.
fn profile_etag(profile: &Profile) -> String {
    etag(&to_text(&(&profile.display_name, &profile.locale, &profile.zone, &profile.segments)))
}

impl App {
    /// Makes or replaces a person.
    pub async fn put_profile(
        &self,
        who: &Caller,
        id: &ProfileId,
        new: ProfileChange,
        condition: &Condition,
    ) -> Result<Person, Failure> {
        let retailer = who.retailer(Scope::ProfilesWrite)?;
        check(&new)?;
        let replaced = |before: Option<&Profile>| Profile {
            id: id.clone(),
            display_name: new.display_name.clone().unwrap_or_else(|| id.to_string()),
            locale: new.locale.clone(),
            zone: new.zone.clone(),
            segments: new.segments.clone().unwrap_or_default(),
            households: before.map(|before| before.households.clone()).unwrap_or_default(),
        };
        let profile = self.change_profile(retailer, id, condition, Vec::new(), replaced).await?;
        self.tell_homes(&profile, None).await?;
        let homes = self.homes_of(retailer, &profile).await?;
        Ok(Person { profile, homes })
    }

    /// A person of the caller's.
    pub async fn profile(&self, who: &Caller, id: &str) -> Result<Person, Failure> {
        let retailer = who.retailer(Scope::ProfilesRead)?;
        self.person(retailer, id).await
    }

    pub(crate) async fn person(&self, retailer: &RetailerId, id: &str) -> Result<Person, Failure> {
        let missing = || Failure::not_found("profile", id.chars().take(80).collect::<String>());
        let id = ProfileId::new(id).map_err(|_| missing())?;
        let profile = self.stored_profile(retailer, &id)?.ok_or_else(missing)?;
        let homes = self.homes_of(retailer, &profile).await?;
        Ok(Person { profile, homes })
    }

    /// Where a person's row stands.
    pub(crate) fn profile_row(&self, retailer: &RetailerId, id: &ProfileId) -> ProfileRow {
        ProfileRow::of(&**self.engine.store(), retailer, id)
    }

    pub(crate) fn stored_profile(&self, retailer: &RetailerId, id: &ProfileId) -> Result<Option<Profile>, Failure> {
        let key = self.profile_row(retailer, id).key;
        Ok(rows::get(&**self.engine.store(), Schema::Profile, &key)?)
    }

    /// The homes that the person is a member of. A profile can name a home that a refused claim
    /// never made.
    pub(crate) async fn homes_of(
        &self,
        retailer: &RetailerId,
        profile: &Profile,
    ) -> Result<Vec<Arc<Household>>, Failure> {
        let mut homes = Vec::new();
        for id in &profile.households {
            let home = self.engine.facts(*id).await?;
            homes.extend(
                home.filter(|home| home.retailer.as_ref() == Some(retailer) && home.members.contains_key(&profile.id)),
            );
        }
        Ok(homes)
    }

    /// Reads, changes and writes a profile together with `more`; again where somebody else wrote
    /// in between.
    pub(crate) async fn change_profile(
        &self,
        retailer: &RetailerId,
        id: &ProfileId,
        condition: &Condition,
        more: Vec<Write>,
        change: impl Fn(Option<&Profile>) -> Profile,
    ) -> Result<Profile, Failure> {
        self.erasures.check(retailer, id)?;
        let row = self.profile_row(retailer, id);
        let key = row.key.clone();
        for _ in 0..TRIES_MAX {
            let before = self.engine.store().get(&key)?;
            let known: Option<Profile> = match &before {
                Some(bytes) => unless_erased(codec::decode(Schema::Profile, &key, bytes))?,
                None => None,
            };
            condition.check("profile", known.as_ref().map(profile_etag).as_deref())?;
            let after = change(known.as_ref());
            if known.as_ref() == Some(&after) && more.is_empty() {
                return Ok(after);
            }
            let unchanged = match before {
                Some(bytes) => Precondition::Equals(key.clone(), bytes),
                None => Precondition::Absent(key.clone()),
            };
            let mut writes = more.clone();
            writes.push(row.put(&**self.engine.store(), &after)?);
            match rows::commit(&self.engine, vec![unchanged], writes).await {
                Err(Failure::Conflict(_)) => continue,
                done => return done.map(|()| after),
            }
        }
        Err(Failure::Conflict(format!("the profile `{id}` is being changed by many at once; try again")))
    }

    /// Tells the person's homes how they are called and spoken to.
    pub(crate) async fn tell_homes(&self, profile: &Profile, but: Option<HouseholdId>) -> Result<(), Failure> {
        for id in profile.households.iter().filter(|id| Some(**id) != but) {
            let Some(home) = self.engine.facts(*id).await? else { continue };
            if !home.members.contains_key(&profile.id) {
                continue;
            }
            let member = Arc::new(member_of(profile, Role::Viewer));
            let what = Command::ProfileChanged { member, zone: profile.zone.clone() };
            let input = self.command(None, "profile", id.bytes(), what);
            settled(self.engine.call(Target::Household(*id), input).await)?;
        }
        Ok(())
    }
}

/// The row of a person: at a name that tells nobody who it is, sealed with their own key.
pub(crate) struct ProfileRow {
    pub(crate) key: Key,
    pub(crate) subject: Subject,
}

impl ProfileRow {
    pub(crate) fn of(store: &dyn Store, retailer: &RetailerId, id: &ProfileId) -> ProfileRow {
        let name = blind(store, &[b"profile", retailer.as_str().as_bytes(), id.as_str().as_bytes()]);
        ProfileRow { key: keys::profile(retailer, &name), subject: Subject::profile(&name) }
    }

    pub(crate) fn put(&self, store: &dyn Store, profile: &Profile) -> Result<Write, Failure> {
        let mut bytes = codec::encode(Schema::Profile, profile);
        if let Some(vault) = store.vault() {
            codec::belong_to(vault.key_for(self.subject)?, &mut bytes);
        }
        Ok(Write::Put(self.key.clone(), bytes))
    }
}

/// What a home keeps of a person.
pub(crate) fn member_of(profile: &Profile, role: Role) -> Member {
    Member {
        profile: profile.id.clone(),
        display_name: profile.display_name.clone(),
        locale: profile.locale.clone(),
        role,
        segments: profile.segments.clone(),
        consents: Default::default(),
    }
}

/// The reply of an input that is on disk.
pub(crate) fn settled(outcome: Outcome) -> Result<hearthway_core::decision::Reply, Failure> {
    match outcome {
        Outcome::Committed(reply) | Outcome::Duplicate(reply) => Ok(reply?),
        Outcome::Failed(refusal) => Err(refusal.into()),
    }
}

pub(crate) fn check(change: &ProfileChange) -> Result<(), Failure> {
    if let Some(name) = &change.display_name {
        let chars = name.chars().count();
        if name.trim().is_empty() || chars > DISPLAY_NAME_CHARS_MAX {
            let message = format!("the name takes 1 to {DISPLAY_NAME_CHARS_MAX} characters, this one has {chars}");
            return Err(Failure::invalid("/display_name", message));
        }
    }
    if let Some(locale) = &change.locale {
        catalog::check_locale("/locale", locale)?;
    }
    let segments = change.segments.iter().flatten();
    if segments.clone().count() > SEGMENTS_MAX {
        return Err(Failure::invalid("/segments", format!("a person is in at most {SEGMENTS_MAX} segments")));
    }
    if segments.clone().any(|segment| segment.is_empty() || segment.len() > 64) {
        return Err(Failure::invalid("/segments", "a segment's name takes 1 to 64 bytes"));
    }
    Ok(())
}
