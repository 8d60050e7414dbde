//! Persons as one retailer knows them.

use std::collections::BTreeSet;
use std::sync::Arc;

use hearthway_core::id::{DeviceKey, HouseholdId, ProfileId, RetailerId};
use hearthway_core::input::Command;
use hearthway_core::model::{Household, Loyalty, Member, Profile, Purpose, Role, is_list_mark};
use hearthway_core::time::Zone;

use super::consents::latest;
use super::documents::{Condition, etag};
use super::identities::IdentityGiven;
use super::tenants::to_text;
use super::tokens::{Caller, Scope};
use super::{App, Failure, catalog, rows};
use crate::engine::rows::unless_erased;
use crate::engine::{Outcome, Target};
use crate::store::codec::{self, NOT_SEALED, Schema};
use crate::store::keys::{self, Key, KeyBuilder, table};
use crate::store::sealed::{BLIND_BYTES, Subject, blind, hidden_name};
use crate::store::{Precondition, Store, StoreError, Write};

/// Segments of one person.
const SEGMENTS_MAX: usize = 64;
/// Characters of the name that a device shows.
const DISPLAY_NAME_CHARS_MAX: usize = 64;
/// Homes of one person.
pub(crate) const HOUSEHOLDS_PER_PROFILE_MAX: usize = 16;
/// Characters of a loyalty tier.
const TIER_CHARS_MAX: usize = 64;
/// Points either way: whole numbers that a condition holds exactly.
const POINTS_MAX: i64 = 1_000_000_000_000;
/// Merges that follow each other from one name to who stands for it.
const MERGES_IN_A_ROW_MAX: usize = 16;
/// Profiles that are looked through between two pauses.
const PAGE_ROWS: usize = 256;
/// How often a change of a profile is tried again when another change came between.
const TRIES_MAX: usize = 8;

/// What a retailer says about a person with a claim. What is none stays as it is.
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

/// What a retailer says about a person by itself. What is none stays as it is; what is none inside is taken away.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProfilePatch {
    /// What a device may show as the home's name.
    pub display_name: Option<String>,
    /// Preferred language.
    pub locale: Option<Option<String>>,
    /// Time zone.
    pub zone: Option<Option<Zone>>,
    /// Segments.
    pub segments: Option<BTreeSet<String>>,
    /// The loyalty programme.
    pub loyalty: Option<Option<Loyalty>>,
    /// All identities. They cannot be read back, so that whoever leaves them out keeps them.
    pub identities: Option<Vec<IdentityGiven>>,
}

impl ProfilePatch {
    /// The same as the whole truth: what is not said is taken away, but for identities.
    fn into_whole(self, id: &ProfileId) -> ProfilePatch {
        ProfilePatch {
            display_name: Some(self.display_name.unwrap_or_else(|| id.to_string())),
            locale: Some(self.locale.flatten()),
            zone: Some(self.zone.flatten()),
            segments: Some(self.segments.unwrap_or_default()),
            loyalty: Some(self.loyalty.flatten()),
            identities: self.identities,
        }
    }

    fn on(&self, mut profile: Profile) -> Profile {
        let ProfilePatch { display_name, locale, zone, segments, loyalty, identities: _ } = self.clone();
        profile.display_name = display_name.unwrap_or(profile.display_name);
        profile.locale = locale.unwrap_or(profile.locale);
        profile.zone = zone.unwrap_or(profile.zone);
        if let Some(segments) = segments {
            profile.set_segments(segments);
        }
        profile.loyalty = loyalty.unwrap_or(profile.loyalty);
        profile
    }
}

/// A profile as it is to be written, with what is written beside it and must hold.
pub(crate) struct Changed {
    pub(crate) profile: Profile,
    pub(crate) more: Vec<Write>,
    pub(crate) only_if: Vec<Precondition>,
}

impl From<Profile> for Changed {
    fn from(profile: Profile) -> Changed {
        Changed { profile, more: Vec::new(), only_if: Vec::new() }
    }
}

/// A person with the homes they really are a member of.
#[derive(Debug, Clone)]
pub struct Person {
    /// The profile.
    pub profile: Profile,
    /// The homes.
    pub homes: Vec<Arc<Household>>,
    /// What their latest words permit now: a word that ended, or whose text asks again, permits nothing.
    pub permits: BTreeSet<Purpose>,
}

impl Person {
    /// The tag of what can be edited.
    pub fn etag(&self) -> String {
        profile_etag(&self.profile)
    }
}

/// The tag of what can be edited of a profile; homes come and go by themselves.
pub(crate) fn profile_etag(profile: &Profile) -> String {
    let Profile { display_name, locale, zone, loyalty, identities, .. } = profile;
    let (identities, segments): (Vec<_>, Vec<_>) = (identities.keys().collect(), profile.own_segments().collect());
    etag(&to_text(&(display_name, locale, zone, segments, loyalty, identities)))
}

impl App {
    /// Makes or replaces a person.
    pub async fn put_profile(
        &self,
        who: &Caller,
        id: &ProfileId,
        new: ProfilePatch,
        condition: &Condition,
    ) -> Result<Person, Failure> {
        let retailer = who.retailer(Scope::ProfilesWrite)?;
        self.set_profile(retailer, id, new.into_whole(id), condition).await
    }

    /// Changes what is said of a person, and nothing else.
    pub async fn patch_profile(
        &self,
        who: &Caller,
        id: &str,
        change: ProfilePatch,
        condition: &Condition,
    ) -> Result<Person, Failure> {
        let retailer = who.retailer(Scope::ProfilesWrite)?;
        let id = self.known_profile(retailer, id)?.id;
        self.set_profile(retailer, &id, change, condition).await
    }

    async fn set_profile(
        &self,
        retailer: &RetailerId,
        id: &ProfileId,
        new: ProfilePatch,
        condition: &Condition,
    ) -> Result<Person, Failure> {
        check_patch(&new)?;
        let _busy = self.erasures.check(retailer, id)?;
        let marks = new.identities.as_deref().map(|given| self.marks(retailer, given)).transpose()?;
        let change = |before: Option<&Profile>| {
            let known = before.cloned().unwrap_or_else(|| Profile::named(id.clone()));
            let profile = new.on(known);
            match &marks {
                Some(marks) => self.with_identities(retailer, profile, marks),
                None => Ok(profile.into()),
            }
        };
        let profile = self.change_profile(retailer, id, condition, change).await?;
        self.tell_homes(&profile, None).await?;
        self.with_homes(retailer, profile).await
    }

    /// A person of the caller's.
    pub async fn profile(&self, who: &Caller, id: &str) -> Result<Person, Failure> {
        let retailer = who.retailer(Scope::ProfilesRead)?;
        self.person(retailer, id).await
    }

    /// A person, also by the name of one whose profile was merged into theirs.
    pub(crate) async fn person(&self, retailer: &RetailerId, id: &str) -> Result<Person, Failure> {
        let mut profile = self.known_profile(retailer, id)?;
        for _ in 0..MERGES_IN_A_ROW_MAX {
            let Some(into) = profile.merged_into.take() else { break };
            profile = self.known_profile(retailer, into.as_str())?;
        }
        self.with_homes(retailer, profile).await
    }

    async fn with_homes(&self, retailer: &RetailerId, profile: Profile) -> Result<Person, Failure> {
        let homes = self.homes_of(retailer, &profile).await?;
        let (rules, now) = (self.engine.rules(), self.now());
        let said = latest(&profile.id, &homes);
        let permits = said.iter().filter(|(purpose, word)| rules.permits(Some(retailer), **purpose, word, now));
        let permits = permits.map(|(purpose, _)| *purpose).collect();
        Ok(Person { profile, homes, permits })
    }

    /// A profile by its own name.
    pub(crate) fn known_profile(&self, retailer: &RetailerId, id: &str) -> Result<Profile, Failure> {
        let missing = || Failure::not_found("profile", id.chars().take(80).collect::<String>());
        let id = ProfileId::new(id).map_err(|_| missing())?;
        self.stored_profile(retailer, &id)?.ok_or_else(missing)
    }

    /// Where a person's row stands.
    pub(crate) fn profile_row(&self, retailer: &RetailerId, id: &ProfileId) -> ProfileRow {
        ProfileRow::of(&**self.engine.store(), retailer, id)
    }

    /// A person's name as it may stand in keys of the store, and in ids that do.
    pub(crate) fn hidden(&self, retailer: &RetailerId, id: &ProfileId) -> [u8; BLIND_BYTES] {
        hidden_name(&**self.engine.store(), retailer, id)
    }

    /// A home that a person begins: its id tells nobody without the master key whose it is, and who comes by the
    /// same name after an erasure has another key, and begins another home.
    pub(crate) fn new_home(
        &self,
        retailer: &RetailerId,
        id: &ProfileId,
        device: Option<&DeviceKey>,
    ) -> Result<HouseholdId, Failure> {
        let store = &**self.engine.store();
        let key = match store.vault() {
            Some(vault) => vault.key_for(self.profile_row(retailer, id).subject)?,
            None => NOT_SEALED,
        };
        let device = device.map(ToString::to_string).unwrap_or_default();
        let parts: [&[u8]; 5] =
            [b"home", retailer.as_str().as_bytes(), id.as_str().as_bytes(), &key.to_be_bytes(), device.as_bytes()];
        Ok(HouseholdId(blind(store, &parts)))
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

    /// Reads, changes and writes a profile; again where somebody else wrote in between.
    pub(crate) async fn change_profile(
        &self,
        retailer: &RetailerId,
        id: &ProfileId,
        condition: &Condition,
        change: impl Fn(Option<&Profile>) -> Result<Changed, Failure>,
    ) -> Result<Profile, Failure> {
        let _busy = self.erasures.check(retailer, id)?;
        let row = self.profile_row(retailer, id);
        let key = row.key.clone();
        for _ in 0..TRIES_MAX {
            let before = self.engine.store().get(&key)?;
            let known: Option<Profile> = match &before {
                Some(bytes) => unless_erased(codec::decode(Schema::Profile, &key, bytes))?,
                None => None,
            };
            if let Some(profile) = &known {
                writable(profile)?;
            }
            condition.check("profile", known.as_ref().map(profile_etag).as_deref())?;
            let Changed { profile, more, mut only_if } = change(known.as_ref())?;
            self.watch_homes(&profile).await?;
            if known.as_ref() == Some(&profile) && more.is_empty() {
                return Ok(profile);
            }
            only_if.push(match before {
                Some(bytes) => Precondition::Equals(key.clone(), bytes),
                None => Precondition::Absent(key.clone()),
            });
            let mut writes = more;
            writes.push(row.put(&**self.engine.store(), &profile)?);
            match rows::commit(&self.engine, only_if, writes).await {
                Err(Failure::Conflict(_)) => continue,
                done => return done.map(|()| profile),
            }
        }
        Err(Failure::Conflict(format!("the profile `{id}` is being changed by many at once; try again")))
    }

    /// Whoever has more than one home is counted in each for the caps that follow them. A home that is then not
    /// come to is watched in vain.
    pub(crate) async fn watch_homes(&self, profile: &Profile) -> Result<(), Failure> {
        if profile.households.len() > 1 {
            self.engine.watch_homes(&profile.households).await?;
        }
        Ok(())
    }

    /// The same of whoever had more than one home before these were watched: looked for at every start.
    ///
    /// # Errors
    /// Where the store cannot be read or written.
    pub(crate) async fn watch_known_homes(&self) -> Result<(), Failure> {
        let (prefix, mut after) = (KeyBuilder::table(table::PROFILE).prefix(), None);
        loop {
            let page = self.engine.store().scan(&prefix, after.as_ref(), PAGE_ROWS)?;
            let Some((last, _)) = page.last() else { return Ok(()) };
            after = Some(last.clone());
            for (key, bytes) in &page {
                if let Some(profile) = unless_erased(codec::decode::<Profile>(Schema::Profile, key, bytes))?
                    && profile.households.len() > 1
                {
                    let homes = self.lived_in(&profile).await?;
                    if homes.len() > 1 {
                        self.engine.watch_homes(&homes).await?;
                    }
                }
            }
            tokio::task::yield_now().await;
        }
    }

    /// The homes that somebody has not left.
    async fn lived_in(&self, profile: &Profile) -> Result<BTreeSet<HouseholdId>, Failure> {
        let mut homes = BTreeSet::new();
        for id in &profile.households {
            if self.engine.facts(*id).await?.is_some_and(|home| home.members.contains_key(&profile.id)) {
                homes.insert(*id);
            }
        }
        Ok(homes)
    }

    /// Tells the person's homes how they are called and spoken to.
    pub(crate) async fn tell_homes(&self, profile: &Profile, but: Option<HouseholdId>) -> Result<(), Failure> {
        for id in profile.households.iter().filter(|id| Some(**id) != but) {
            let Some(home) = self.engine.facts(*id).await? else { continue };
            if !home.members.contains_key(&profile.id) {
                continue;
            }
            self.tell_standing(profile, &home).await?;
            let member = Arc::new(member_of(profile, Role::Viewer));
            let what = Command::ProfileChanged { member, zone: profile.zone.clone() };
            let input = self.command(None, "profile", id.bytes(), what);
            settled(self.engine.call(Target::Household(*id), input).await)?;
        }
        Ok(())
    }
}

/// Refuses a profile that another one stands for.
pub(crate) fn writable(profile: &Profile) -> Result<(), Failure> {
    let id = &profile.id;
    match &profile.merged_into {
        Some(into) => Err(Failure::Conflict(format!(
            "the profile `{id}` was merged into `{into}`; change that one, or undo the merge"
        ))),
        None => Ok(()),
    }
}

/// The row of a person: at a name that tells nobody who it is, sealed with their own key.
pub(crate) struct ProfileRow {
    pub(crate) key: Key,
    pub(crate) subject: Subject,
}

impl ProfileRow {
    pub(crate) fn of(store: &dyn Store, retailer: &RetailerId, id: &ProfileId) -> ProfileRow {
        let name = hidden_name(store, retailer, id);
        ProfileRow { key: keys::profile(retailer, &name), subject: Subject::profile(&name) }
    }

    pub(crate) fn put(&self, store: &dyn Store, profile: &Profile) -> Result<Write, Failure> {
        Ok(self.own(store, rows::put(Schema::Profile, self.key.clone(), profile))?)
    }

    /// Another row about the person, sealed with their own key: it goes with them.
    pub(crate) fn own(&self, store: &dyn Store, mut write: Write) -> Result<Write, StoreError> {
        if let (Some(vault), Write::Put(_, bytes)) = (store.vault(), &mut write) {
            codec::belong_to(vault.key_for(self.subject)?, bytes);
        }
        Ok(write)
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
    let ProfileChange { display_name, locale, zone: _, segments } = change;
    check_said(display_name.as_deref(), locale.as_deref(), segments.as_ref())
}

fn check_patch(patch: &ProfilePatch) -> Result<(), Failure> {
    let locale = patch.locale.as_ref().and_then(|locale| locale.as_deref());
    check_said(patch.display_name.as_deref(), locale, patch.segments.as_ref())?;
    let tier = patch.loyalty.iter().flatten().find_map(|loyalty| loyalty.tier.as_deref());
    if tier.is_some_and(|tier| tier.trim().is_empty() || tier.chars().count() > TIER_CHARS_MAX) {
        return Err(Failure::invalid("/loyalty/tier", format!("a tier takes 1 to {TIER_CHARS_MAX} characters")));
    }
    let points = patch.loyalty.iter().flatten().map(|loyalty| loyalty.points).next();
    if points.is_some_and(|points| points.abs() > POINTS_MAX) {
        return Err(Failure::invalid("/loyalty/points", format!("at most {POINTS_MAX} either way")));
    }
    Ok(())
}

fn check_said(name: Option<&str>, locale: Option<&str>, segments: Option<&BTreeSet<String>>) -> Result<(), Failure> {
    if let Some(name) = name {
        let chars = name.chars().count();
        if name.trim().is_empty() || chars > DISPLAY_NAME_CHARS_MAX {
            let message = format!("the name takes 1 to {DISPLAY_NAME_CHARS_MAX} characters, this one has {chars}");
            return Err(Failure::invalid("/display_name", message));
        }
    }
    if let Some(locale) = locale {
        catalog::check_locale("/locale", locale)?;
    }
    let segments = segments.into_iter().flatten();
    if segments.clone().count() > SEGMENTS_MAX {
        return Err(Failure::invalid("/segments", format!("a person is in at most {SEGMENTS_MAX} segments")));
    }
    if segments.clone().any(|segment| segment.is_empty() || segment.len() > 64) {
        return Err(Failure::invalid("/segments", "a segment's name takes 1 to 64 bytes"));
    }
    if segments.clone().any(|segment| is_list_mark(segment)) {
        let message = "no segment begins with `@`; people join the list of an audience by its `members:bulk`";
        return Err(Failure::invalid("/segments", message));
    }
    Ok(())
}
