//! Leave that customers give to others to read what one of their devices reports: to somebody by name, until a date,
//! and taken back at once. It holds for one link: with that it ends, whoever has the device next.
//!
//! Whoever is given leave reads with a token of its own, which opens nothing else. It is told once; its hash is in a
//! row that is sealed with the person's key, and goes with them.

use std::collections::BTreeMap;
use std::sync::{Arc, RwLock, RwLockReadGuard, RwLockWriteGuard};

use hearthway_core::id::{DeviceKey, HouseholdId, LinkId, ProfileId, RetailerId};
use hearthway_core::model::Role;
use hearthway_core::time::{Span, Timestamp};
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;
use tracing::info;

use super::profiles::Person;
use super::readings::Readings;
use super::tokens::{Caller, hash, random_text, secret};
use super::{App, Failure, rows};
use crate::engine::Engine;
use crate::engine::rows::unless_erased;
use crate::store::codec::{self, Schema};
use crate::store::keys::{Key, KeyBuilder, table};
use crate::store::{StoreError, Write};

/// For how long at most: whoever wants longer asks the customer again.
const GRANT_MAX: Span = Span::days(366);
/// Characters of the name of who is given leave.
const PARTY_CHARS_MAX: usize = 64;
/// Grants of one person at once.
const GRANTS_PER_PERSON_MAX: usize = 16;
/// Grants of all shops' customers together: they are in memory, some 300 bytes each.
const GRANTS_MAX: usize = 200_000;
/// Rows that are removed in one write.
const SWEPT_AT_ONCE: usize = 256;

/// Leave to read what a device reports.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    retailer: RetailerId,
    profile: ProfileId,
    household: HouseholdId,
    link: LinkId,
    /// Of which device.
    pub device: DeviceKey,
    /// To whom, as the customer calls them.
    pub party: String,
    secret_hash: [u8; 32],
    /// Since when.
    pub since: Timestamp,
    /// Until when.
    pub until: Timestamp,
}

/// All grants that are not known to be over, by their ids.
#[derive(Default)]
pub(super) struct Grants(RwLock<BTreeMap<String, Arc<Grant>>>);

fn row_key(id: &str) -> Key {
    KeyBuilder::table(table::TOKEN).name("grant").name(id).key()
}

impl Grants {
    /// Loads those whose person is still there.
    pub(super) fn open(engine: &Engine) -> Result<Grants, StoreError> {
        let mut all = BTreeMap::new();
        rows::each(&**engine.store(), &KeyBuilder::table(table::TOKEN).name("grant").prefix(), |key, bytes| {
            let id = rows::names(key, 2).pop().unwrap_or_default();
            if let Some(grant) = unless_erased(codec::decode::<Grant>(Schema::Grant, key, bytes))? {
                all.insert(id, Arc::new(grant));
            }
            Ok(())
        })?;
        Ok(Grants(RwLock::new(all)))
    }

    fn read(&self) -> RwLockReadGuard<'_, BTreeMap<String, Arc<Grant>>> {
        self.0.read().expect("no holder of this lock panics")
    }
    fn write(&self) -> RwLockWriteGuard<'_, BTreeMap<String, Arc<Grant>>> {
        self.0.write().expect("no holder of this lock panics")
    }
    fn get(&self, id: &str) -> Option<Arc<Grant>> {
        self.read().get(id).cloned()
    }
}

impl App {
    /// Lets somebody read what one of the caller's devices reports. Gives the grant's id and the token, which is
    /// not kept.
    pub async fn grant_readings(
        &self,
        who: &Caller,
        device: &str,
        party: &str,
        until: Timestamp,
    ) -> Result<(String, String, Arc<Grant>), Failure> {
        let me = self.me(who, &[]).await?;
        let (retailer, person) = (me.retailer().clone(), me.person());
        let _busy = self.erasures.check(&retailer, &person.profile.id)?;
        let link = me.link_to(device)?.clone();
        if link.role != Role::Owner {
            return Err(Failure::Forbidden("only who owns a device lets others read what it reports".to_owned()));
        }
        let (party, now) = (party.trim(), self.now());
        if party.is_empty() || party.chars().count() > PARTY_CHARS_MAX {
            let message = format!("say in 1 to {PARTY_CHARS_MAX} characters who may read it");
            return Err(Failure::invalid("/party", message));
        }
        if until <= now || until > now + GRANT_MAX {
            let message = format!("an instant after now and within {} days", GRANT_MAX.0 / Span::days(1).0);
            return Err(Failure::invalid("/until", message));
        }
        let (live, over) = self.grants_of(&retailer, person).await?;
        if live.len() >= GRANTS_PER_PERSON_MAX {
            let message = format!("{GRANTS_PER_PERSON_MAX} others may read already; take one back first");
            return Err(Failure::Conflict(message));
        }
        if self.grants.read().len().saturating_sub(over.len()) >= GRANTS_MAX {
            return Err(Failure::Conflict(format!("{GRANTS_MAX} grants are there already; come again later")));
        }
        let households = me.links().find(|(_, own)| own.id == link.id).map(|(home, _)| home.id);
        let household = households.ok_or_else(|| Failure::device_not_found(device))?;
        let (name, secret) = (random_text(10)?, secret()?);
        let (id, token) = (format!("gr_{name}"), format!("hw_{name}_{secret}"));
        let grant = Arc::new(Grant {
            retailer: retailer.clone(),
            profile: person.profile.id.clone(),
            household,
            link: link.id,
            device: link.device,
            party: party.to_owned(),
            secret_hash: hash(&secret),
            since: now,
            until,
        });
        let put = rows::put(Schema::Grant, row_key(&id), &*grant);
        let put = self.profile_row(&retailer, &grant.profile).own(&**self.engine.store(), put)?;
        let writes = over.iter().map(|id| Write::Delete(row_key(id))).chain([put]).collect();
        rows::write(&self.engine, writes).await?;
        let mut all = self.grants.write();
        over.iter().for_each(|id| drop(all.remove(id)));
        all.insert(id.clone(), Arc::clone(&grant));
        drop(all);
        info!(grant = id, "A customer lets somebody read what a device reports");
        Ok((id, token, grant))
    }

    /// Who may read what the caller's devices report: the newest first.
    pub async fn own_grants(&self, who: &Caller) -> Result<Vec<(String, Arc<Grant>)>, Failure> {
        let me = self.me(who, &[]).await?;
        Ok(self.grants_of(me.retailer(), me.person()).await?.0)
    }

    /// Takes leave back: from here on it opens nothing.
    pub async fn end_grant(&self, who: &Caller, id: &str) -> Result<(), Failure> {
        let me = self.me(who, &[]).await?;
        let _busy = self.erasures.check(me.retailer(), &me.person().profile.id)?;
        let (live, _) = self.grants_of(me.retailer(), me.person()).await?;
        if !live.iter().any(|(own, _)| own == id) {
            return Err(Failure::not_found("grant", id.chars().take(80).collect::<String>()));
        }
        // First on disk: where that fails the caller hears of it, still finds the grant and can take it back again.
        // In memory alone it would come back at the next start.
        rows::write(&self.engine, vec![Write::Delete(row_key(id))]).await?;
        self.grants.write().remove(id);
        info!(grant = id, "A customer took back leave to read what a device reports");
        Ok(())
    }

    /// The id of the grant that a token is of, whether or not that still holds.
    pub fn grant_of(&self, token: &str) -> Option<String> {
        let (name, secret) = token.strip_prefix("hw_").and_then(|rest| rest.split_once('_'))?;
        let id = format!("gr_{name}");
        let grant = self.grants.get(&id)?;
        bool::from(hash(secret).ct_eq(&grant.secret_hash)).then_some(id)
    }

    /// The readings that a grant's token opens; none where it opens nothing.
    pub async fn granted_readings(self: &Arc<Self>, token: &str) -> Result<Option<Readings>, Failure> {
        let Some(id) = self.grant_of(token) else { return Ok(None) };
        let Some(grant) = self.grants.get(&id) else { return Ok(None) };
        match self.granted_by(&grant).await? {
            Some(person) => self.readings(person, grant.device.clone(), Some(id)).await.map(Some),
            None => Ok(None),
        }
    }

    /// Whether a grant still holds.
    pub(super) async fn is_granted(&self, id: &str) -> Result<bool, Failure> {
        match self.grants.get(id) {
            Some(grant) => Ok(self.granted_by(&grant).await?.is_some()),
            None => Ok(false),
        }
    }

    /// Who gave leave, as long as it holds: its time is not over, the link is theirs and there, they are not being
    /// erased.
    async fn granted_by(&self, grant: &Grant) -> Result<Option<Person>, Failure> {
        if grant.until <= self.now() {
            return Ok(None);
        }
        let person = match self.person(&grant.retailer, grant.profile.as_str()).await {
            Ok(person) => person,
            Err(Failure::NotFound { .. }) => return Ok(None),
            Err(failure) => return Err(failure),
        };
        let names = [&grant.profile, &person.profile.id];
        if names.into_iter().any(|name| self.erasures.check(&grant.retailer, name).is_err()) {
            return Ok(None);
        }
        let home = person.homes.iter().find(|home| home.id == grant.household);
        let link = home.and_then(|home| home.links.get(&grant.link));
        let holds = link.is_some_and(|link| link.device == grant.device && link.profile == person.profile.id);
        Ok(holds.then_some(person))
    }

    /// The grants of a person, also of those who are this person by now, the newest first; and the ids of those
    /// that are over.
    pub(super) async fn grants_of(
        &self,
        retailer: &RetailerId,
        person: &Person,
    ) -> Result<(Vec<(String, Arc<Grant>)>, Vec<String>), Failure> {
        let names = |name: &ProfileId| *name == person.profile.id || person.profile.merged_from.contains(name);
        let is_theirs = |grant: &Grant| grant.retailer == *retailer && names(&grant.profile);
        let theirs: Vec<(String, Arc<Grant>)> = {
            let all = self.grants.read();
            let theirs = all.iter().filter(|(_, grant)| is_theirs(grant));
            theirs.map(|(id, grant)| (id.clone(), Arc::clone(grant))).collect()
        };
        let (mut live, mut over) = (Vec::new(), Vec::new());
        for (id, grant) in theirs {
            match self.granted_by(&grant).await? {
                Some(_) => live.push((id, grant)),
                None => over.push(id),
            }
        }
        live.sort_by_key(|(_, grant)| std::cmp::Reverse(grant.since));
        Ok((live, over))
    }

    /// Removes the grants whose time is over.
    pub(super) async fn sweep_grants(&self) -> Result<(), Failure> {
        let now = self.now();
        let over: Vec<String> = {
            let all = self.grants.read();
            all.iter().filter(|(_, grant)| grant.until <= now).map(|(id, _)| id.clone()).collect()
        };
        for some in over.chunks(SWEPT_AT_ONCE) {
            rows::write(&self.engine, some.iter().map(|id| Write::Delete(row_key(id))).collect()).await?;
            let mut all = self.grants.write();
            some.iter().for_each(|id| drop(all.remove(id)));
        }
        Ok(())
    }

    /// Ends every grant of a person who is being erased.
    pub(super) fn forget_grants(&self, retailer: &RetailerId, profile: &ProfileId) {
        self.grants.write().retain(|_, grant| grant.retailer != *retailer || grant.profile != *profile);
    }
}
