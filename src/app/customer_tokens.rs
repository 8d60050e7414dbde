//! Tokens with which a customer acts for themselves. The shop's own system makes one for whoever is signed in
//! there; it lives for hours, opens `me/…` and nothing else, and ends with the person's erasure.
//!
//! A row is sealed with the person's key, so that nobody can be found in it once that key is destroyed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, RwLock, RwLockReadGuard, RwLockWriteGuard};

use hearthway_core::id::{ProfileId, RetailerId};
use hearthway_core::time::{Span, Timestamp};
use serde::{Deserialize, Serialize};

use super::profiles::writable;
use super::tokens::{Caller, Scope, hash, random_text, secret};
use super::{App, Failure, rows};
use crate::engine::Engine;
use crate::engine::rows::unless_erased;
use crate::store::codec::{self, Schema};
use crate::store::keys::{Key, KeyBuilder, table};
use crate::store::{StoreError, Write};

/// How long a token lives where nobody says, seconds.
pub const EXPIRES_IN_DEFAULT: u32 = 3_600;
/// How long at least: less than a minute is gone before the page is read.
pub const EXPIRES_IN_MIN: u32 = 60;
/// And at most: a day, so that who lost a phone is not asked to wait for long.
pub const EXPIRES_IN_MAX: u32 = 24 * 3_600;
/// Live tokens of all shops' customers together: they are in memory, some 200 bytes each.
const LIVE_MAX: usize = 200_000;
/// Live tokens of one person: their devices and browsers; the first to end goes when there would be more.
const LIVE_PER_PERSON_MAX: usize = 16;
/// Rows of ended tokens that go with the commit of a new one: more than one, so that they never pile up.
const SWEPT_AT_ONCE: usize = 64;

/// A token as kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct CustomerToken {
    pub(super) retailer: RetailerId,
    pub(super) profile: ProfileId,
    pub(super) secret_hash: [u8; 32],
    expires_at: Timestamp,
}

impl CustomerToken {
    fn person(&self) -> (RetailerId, ProfileId) {
        (self.retailer.clone(), self.profile.clone())
    }
}

/// A token that was just made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MadeToken {
    /// Its id.
    pub id: String,
    /// Its text, which is not kept.
    pub text: String,
    /// When it ends.
    pub expires_at: Timestamp,
}

#[derive(Default)]
struct Live {
    tokens: BTreeMap<String, Arc<CustomerToken>>,
    /// By their end, those that end first first.
    ends: BTreeSet<(Timestamp, String)>,
    /// Each person's, in the same order.
    of_persons: BTreeMap<(RetailerId, ProfileId), BTreeSet<(Timestamp, String)>>,
}

impl Live {
    fn insert(&mut self, id: String, token: CustomerToken) {
        let end = (token.expires_at, id.clone());
        self.of_persons.entry(token.person()).or_default().insert(end.clone());
        self.ends.insert(end);
        self.tokens.insert(id, Arc::new(token));
    }
    fn remove(&mut self, id: &str) {
        let Some(token) = self.tokens.remove(id) else { return };
        let (end, person) = ((token.expires_at, id.to_owned()), token.person());
        self.ends.remove(&end);
        if let Some(theirs) = self.of_persons.get_mut(&person) {
            theirs.remove(&end);
            if theirs.is_empty() {
                self.of_persons.remove(&person);
            }
        }
    }
    /// The ids of those that have ended.
    fn ended(&self, now: Timestamp) -> Vec<String> {
        let ended = self.ends.iter().take_while(|(end, _)| *end <= now).take(SWEPT_AT_ONCE);
        ended.map(|(_, id)| id.clone()).collect()
    }
    /// The first of a person's to end, where they have as many as they may.
    fn one_too_many(&self, token: &CustomerToken) -> Option<String> {
        let theirs = self.of_persons.get(&token.person())?;
        (theirs.len() >= LIVE_PER_PERSON_MAX).then(|| theirs.first().map(|(_, id)| id.clone()))?
    }
    fn forget(&mut self, person: &(RetailerId, ProfileId)) {
        let theirs = self.of_persons.get(person).cloned().unwrap_or_default();
        theirs.iter().for_each(|(_, id)| self.remove(id));
    }
}

/// The live tokens of customers.
#[derive(Default)]
pub(super) struct CustomerTokens(RwLock<Live>);

fn row_key(id: &str) -> Key {
    KeyBuilder::table(table::TOKEN).name("customer").name(id).key()
}

impl CustomerTokens {
    /// Loads those whose person is still there.
    pub(super) fn open(engine: &Engine) -> Result<CustomerTokens, StoreError> {
        let mut live = Live::default();
        rows::each(&**engine.store(), &KeyBuilder::table(table::TOKEN).name("customer").prefix(), |key, bytes| {
            let id = rows::names(key, 2).pop().unwrap_or_default();
            if let Some(token) = unless_erased(codec::decode(Schema::CustomerToken, key, bytes))? {
                live.insert(id, token);
            }
            Ok(())
        })?;
        Ok(CustomerTokens(RwLock::new(live)))
    }

    /// A live token by its id.
    pub(super) fn get(&self, id: &str, now: Timestamp) -> Option<Arc<CustomerToken>> {
        self.read().tokens.get(id).filter(|token| token.expires_at > now).cloned()
    }

    fn read(&self) -> RwLockReadGuard<'_, Live> {
        self.0.read().expect("no holder of this lock panics")
    }
    fn write(&self) -> RwLockWriteGuard<'_, Live> {
        self.0.write().expect("no holder of this lock panics")
    }
}

impl App {
    /// Makes a token for a customer of the caller's, who is signed in there.
    pub async fn create_customer_token(
        &self,
        who: &Caller,
        profile: &str,
        expires_in: Option<u32>,
    ) -> Result<MadeToken, Failure> {
        let retailer = who.retailer(Scope::MeTokens)?;
        let seconds = expires_in.unwrap_or(EXPIRES_IN_DEFAULT);
        if !(EXPIRES_IN_MIN..=EXPIRES_IN_MAX).contains(&seconds) {
            let message = format!("{EXPIRES_IN_MIN} to {EXPIRES_IN_MAX} seconds; {EXPIRES_IN_DEFAULT} where not said");
            return Err(Failure::invalid("/expires_in", message));
        }
        let known = self.known_profile(retailer, profile)?;
        writable(&known)?;
        let _busy = self.erasures.check(retailer, &known.id)?;
        let (id, secret, now) = (random_text(10)?, secret()?, self.now());
        let token = CustomerToken {
            retailer: retailer.clone(),
            profile: known.id,
            secret_hash: hash(&secret),
            expires_at: now + Span::seconds(i64::from(seconds)),
        };
        let made =
            MadeToken { id: format!("tk_{id}"), text: format!("hw_{id}_{secret}"), expires_at: token.expires_at };
        let mut over = self.customer_tokens.read().ended(now);
        over.extend(self.customer_tokens.read().one_too_many(&token));
        if self.customer_tokens.read().tokens.len() - over.len() >= LIVE_MAX {
            return Err(Failure::Conflict(format!("{LIVE_MAX} customers' tokens are live; make shorter ones")));
        }
        let put = rows::put(Schema::CustomerToken, row_key(&made.id), &token);
        let put = self.profile_row(retailer, &token.profile).own(&**self.engine.store(), put)?;
        let writes = over.iter().map(|id| Write::Delete(row_key(id))).chain([put]).collect();
        rows::write(&self.engine, writes).await?;
        let mut live = self.customer_tokens.write();
        over.iter().for_each(|id| live.remove(id));
        live.insert(made.id.clone(), token);
        Ok(made)
    }

    /// Ends a customer's token at once, for the shop of theirs; whether there was one.
    pub(super) async fn end_customer_token(&self, retailer: &RetailerId, id: &str) -> Result<bool, Failure> {
        let is_theirs = |token: &Arc<CustomerToken>| token.retailer == *retailer;
        if !self.customer_tokens.read().tokens.get(id).is_some_and(is_theirs) {
            return Ok(false);
        }
        // First on disk: where that fails the caller hears of it, and can end it again. Ended in memory alone it would
        // be there again at the next start, and whoever asked again meanwhile would be told that there is none.
        rows::write(&self.engine, vec![Write::Delete(row_key(id))]).await?;
        self.customer_tokens.write().remove(id);
        Ok(true)
    }

    /// Ends every token of a person who is being erased.
    pub(super) fn forget_customer_tokens(&self, retailer: &RetailerId, profile: &ProfileId) {
        self.customer_tokens.write().forget(&(retailer.clone(), profile.clone()));
    }
}
