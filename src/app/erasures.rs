//! Erasure of a customer: what it takes, step by step, and the report of it.
//!
//! An erasure is a row, begun before its first step and ended after its last; each step can be done again,
//! so one that a kill cut short goes on at the next start. Until its end the row is sealed with the key of
//! the person whom it is about.
//!
//! 1. In each home the person is forgotten: devices that nobody else is linked to go back to households of
//!    their own and owe a wipe, what they gave ends. A home where nobody is left is emptied.
//! 2. The home goes on under another key, its log begins anew with a snapshot; an empty one is not sealed.
//! 3. Rows under the old keys are deleted, or, in a home where others live, sealed anew. Of orders that
//!    stand, what the law wants is put apart.
//! 4. The profile's row goes, and the erasure's row names the keys to be destroyed and nobody any more. The shop's
//!    systems are to act on it too, by the name that they know: that event waits for them under the key of a day
//!    that is near, and is deleted when it is told.
//! 5. The keys are destroyed. Only then it is called done, and the event goes out.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hearthway_core::event_out::{EventOut, EventType};
use hearthway_core::id::{DERIVED_BYTES, HouseholdId, LinkId, MandateId, OrderId, ProfileId, RetailerId, base32};
use hearthway_core::input::Command;
use hearthway_core::model::{Fulfil, Household, Order, OrderLine, OrderState, Tenant};
use hearthway_core::money::Money;
use hearthway_core::time::{Span, Timestamp};
use serde::{Deserialize, Serialize};

use super::idempotency::day_until;
use super::merges::MergeRow;
use super::profiles::settled;
use super::tokens::{Caller, Scope};
use super::{App, Failure, links, rows};
use crate::engine::Target;
use crate::engine::events::{EventRow, Letter, Telling};
use crate::engine::rows::{MoveRow, OrderRow, OutboxRow, unless_erased};
use crate::store::codec::{self, KeyId, NOT_SEALED, Schema};
use crate::store::keys::{self, Key, table};
use crate::store::sealed::{Subject, Vault};
use crate::store::{Commit, Outcome, Precondition, Store, Write};
use crate::webhook::TRIED_FOR;

/// Rows looked at between two pauses: below a millisecond of work.
const PAGE_ROWS: usize = 256;
/// How often rows are gone through until none is left under an old key. What was on its way when the key
/// changed is there after the first time.
const PASSES_MAX: usize = 8;
/// The first pause after a step that failed, and the longest.
const PAUSE: Duration = Duration::from_millis(200);
const PAUSE_MAX: Duration = Duration::from_secs(60);
/// How often it is looked whether a device that was on its way has arrived.
const ARRIVAL_LOOKS_MAX: usize = 100;
/// Erasures at work at once: each goes through the whole store.
const AT_WORK_MAX: usize = 64;
/// Answers to repeated calls are kept so long.
const ANSWERS_KEPT: Span = Span::hours(24);
/// The word to the shop's systems can be read so long: as long as it is tried, with an hour for the last try.
const WORD_WAITS: Span = Span(TRIED_FOR.0 + Span::hours(1).0);
/// Counts for reports are kept so long: 25 months.
const COUNTS_KEPT: Span = Span::days(25 * 31);

/// What came of an erasure.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErasureReport {
    /// Homes that nobody is left in.
    pub homes_emptied: u64,
    /// Homes where others live on.
    pub homes_left: u64,
    /// Devices that went back to households of their own, and owe a wipe.
    pub devices_given_back: u64,
    /// Links that ended.
    pub links_ended: u64,
    /// Offers that were taken back.
    pub offers_withdrawn: u64,
    /// Mandates that ended.
    pub mandates_ended: u64,
    /// Messages that waited for those devices.
    pub messages_taken_back: u64,
    /// Rows that were deleted, by table.
    pub deleted: BTreeMap<String, u64>,
    /// Rows of homes where others live, sealed with another key, by table.
    pub sealed_anew: BTreeMap<String, u64>,
    /// Keys that were destroyed: what they sealed is unreadable, in logs and backups too.
    pub keys_destroyed: u64,
    /// What is kept, and until when.
    pub kept: Vec<Kept>,
}

/// Something that is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// What it is.
    pub what: String,
    /// Its id, where it has one.
    pub id: Option<String>,
    /// Why.
    pub why: String,
    /// Until when.
    pub until: Timestamp,
}

/// How an erasure stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Erasure {
    /// Its id.
    pub id: String,
    /// When it was begun.
    pub begun_at: Timestamp,
    /// When it was done; none while it is at work.
    pub ended_at: Option<Timestamp>,
    /// Why it does not get on at the moment.
    pub trouble: Option<String>,
    /// What came of it.
    pub report: ErasureReport,
}

/// What the law wants kept of an order: nobody is named, no device, no home.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptOrder {
    /// Its id, which the shop has too.
    pub id: OrderId,
    /// Where it stood.
    pub state: OrderState,
    /// What it cost.
    pub total: Money,
    /// How it was had.
    pub fulfil: Fulfil,
    /// What was bought.
    pub lines: Vec<OrderLine>,
    /// When.
    pub created_at: Timestamp,
}

/// An erasure on disk.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct ErasureRow {
    begun_at: Timestamp,
    stage: Stage,
    report: ErasureReport,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
enum Stage {
    /// Whom it is about, and where they are. Sealed with their key.
    AtWork { profile: ProfileId, display_name: String, homes: Vec<Home> },
    /// Nobody is named; these keys are to be destroyed.
    Destroying { keys: Vec<KeyId> },
    /// Nothing is left to do.
    Done { at: Timestamp },
}

/// A home of the person, with what is found by ids of its own.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Home {
    household: HouseholdId,
    links: Vec<LinkId>,
    mandates: Vec<MandateId>,
}

/// One step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    Forget(usize),
    Reseal(usize),
    Sweep,
    Close,
    Destroy,
    End,
}

/// One erasure at work.
pub(crate) struct Job {
    retailer: RetailerId,
    id: [u8; DERIVED_BYTES],
    row: ErasureRow,
    /// What the shop's systems are told at its end.
    letters: Vec<Letter>,
}

impl Job {
    /// What is left to do, in order.
    pub(crate) fn steps(&self) -> Vec<Step> {
        match &self.row.stage {
            Stage::AtWork { homes, .. } => {
                let homes = (0..homes.len()).flat_map(|at| [Step::Forget(at), Step::Reseal(at)]);
                homes.chain([Step::Sweep, Step::Close, Step::Destroy, Step::End]).collect()
            }
            Stage::Destroying { .. } => vec![Step::Destroy, Step::End],
            Stage::Done { .. } => Vec::new(),
        }
    }
    fn key(&self) -> Key {
        keys::erasure(&self.retailer, &self.id)
    }
    fn name(&self) -> String {
        name_of(&self.id)
    }
}

/// The erasures that are at work.
pub(crate) struct Erasures {
    order_retention: Span,
    /// Persons who are being erased: nothing about them is taken in.
    persons: Mutex<BTreeSet<(RetailerId, ProfileId)>>,
    /// Why one does not get on.
    trouble: Mutex<BTreeMap<String, String>>,
}

impl Erasures {
    pub(crate) fn new(order_retention: Span) -> Erasures {
        Erasures { order_retention, persons: Mutex::default(), trouble: Mutex::default() }
    }
    fn persons(&self) -> MutexGuard<'_, BTreeSet<(RetailerId, ProfileId)>> {
        self.persons.lock().unwrap_or_else(PoisonError::into_inner)
    }
    fn trouble(&self) -> MutexGuard<'_, BTreeMap<String, String>> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner)
    }
    /// Refuses what is about a person who is being erased.
    pub(crate) fn check(&self, retailer: &RetailerId, profile: &ProfileId) -> Result<(), Failure> {
        // Looked for without a copy of the names: this stands before every change of a person.
        let is_gone = self.persons().iter().any(|(whose, who)| whose == retailer && who == profile);
        match is_gone {
            true => Err(Failure::Conflict(format!("`{profile}` is being erased; come again when that is done"))),
            false => Ok(()),
        }
    }
}

impl App {
    /// Begins the erasure of a person; its first step is on disk on return.
    pub async fn begin_erasure(self: &Arc<Self>, who: &Caller, profile: &str) -> Result<Erasure, Failure> {
        let retailer = who.retailer(Scope::ProfilesErase)?;
        let job = self.plan_erasure(retailer, profile).await?;
        let told = erasure(&job.id, &job.row, None);
        tokio::spawn(Arc::clone(self).erase(job));
        Ok(told)
    }

    /// How an erasure of the caller's stands.
    pub fn erasure(&self, who: &Caller, id: &str) -> Result<Erasure, Failure> {
        self.find_erasure(who.retailer(Scope::ProfilesErase)?, id)
    }

    pub(super) fn find_erasure(&self, retailer: &RetailerId, id: &str) -> Result<Erasure, Failure> {
        let missing = || Failure::not_found("erasure", id.chars().take(80).collect::<String>());
        let bytes = id_of(id).ok_or_else(missing)?;
        let key = keys::erasure(retailer, &bytes);
        let row: ErasureRow = rows::get(&**self.engine.store(), Schema::Erasure, &key)?.ok_or_else(missing)?;
        Ok(erasure(&bytes, &row, self.erasures.trouble().get(id).cloned()))
    }

    /// Goes on with what an end of the gateway cut short.
    pub(crate) fn resume_erasures(self: &Arc<Self>) -> Result<(), Failure> {
        for job in self.unfinished_erasures()? {
            tokio::spawn(Arc::clone(self).erase(job));
        }
        Ok(())
    }

    pub(crate) fn unfinished_erasures(&self) -> Result<Vec<Job>, Failure> {
        let mut unfinished = Vec::new();
        rows::each(&**self.engine.store(), &keys::erasures(), |key, bytes| {
            // One whose person is gone was done after the backup that this store comes from.
            let Some(row) = unless_erased(codec::decode::<ErasureRow>(Schema::Erasure, key, bytes))? else {
                return Ok(());
            };
            if let (Stage::AtWork { .. } | Stage::Destroying { .. }, Some(retailer), Some(id)) =
                (&row.stage, keys::retailer_of(key), key.0.last_chunk::<DERIVED_BYTES>())
            {
                if let Stage::AtWork { profile, .. } = &row.stage {
                    self.erasures.persons().insert((retailer.clone(), profile.clone()));
                }
                if let (Stage::Destroying { keys }, Some(vault)) = (&row.stage, self.engine.store().vault()) {
                    // Before anybody may come by the same name: they begin with a key of their own.
                    vault.destroy(keys)?;
                }
                // What they are told was found on disk by whoever takes it out.
                unfinished.push(Job { retailer, id: *id, row, letters: Vec::new() });
            }
            Ok(())
        })?;
        Ok(unfinished)
    }

    /// What is to be erased, kept before anything is.
    pub(crate) async fn plan_erasure(&self, retailer: &RetailerId, profile: &str) -> Result<Job, Failure> {
        let person = self.person(retailer, profile).await?;
        let profile = person.profile.id.clone();
        let vault = self.vault()?;
        let whom = (retailer.clone(), profile.clone());
        {
            let mut persons = self.erasures.persons();
            if persons.len() >= AT_WORK_MAX {
                return Err(Failure::Conflict(format!("{AT_WORK_MAX} erasures are at work; come again later")));
            }
            if !persons.insert(whom.clone()) {
                return Err(Failure::Conflict(format!("`{profile}` is being erased already")));
            }
        }
        self.forget_customer_tokens(retailer, &profile);
        let begun = async {
            // Read again: nothing is taken in about the person from here on.
            let person = self.person(retailer, profile.as_str()).await?;
            let mut report = ErasureReport::default();
            let homes: Vec<Home> = person
                .homes
                .iter()
                .map(|home| self.foresee(home, &profile, &mut report))
                .collect::<Result<_, Failure>>()?;
            let mut id = [0; DERIVED_BYTES];
            getrandom::fill(&mut id).map_err(|_| Failure::Conflict("the system gives no randomness".to_owned()))?;
            let display_name = person.profile.display_name.clone();
            let stage = Stage::AtWork { profile: profile.clone(), display_name, homes };
            let row = ErasureRow { begun_at: self.now(), stage, report };
            let job = Job { retailer: retailer.clone(), id, row, letters: Vec::new() };
            let mut bytes = codec::encode(Schema::Erasure, &job.row);
            codec::belong_to(vault.key_for(self.profile_row(retailer, &profile).subject)?, &mut bytes);
            rows::write(&self.engine, vec![Write::Put(job.key(), bytes)]).await?;
            Ok(job)
        };
        let begun = begun.await;
        if begun.is_err() {
            self.erasures.persons().remove(&whom);
        }
        begun
    }

    /// What ends in a home.
    fn foresee(&self, home: &Household, profile: &ProfileId, report: &mut ErasureReport) -> Result<Home, Failure> {
        let is_emptied = home.members.keys().all(|member| member == profile);
        *(if is_emptied { &mut report.homes_emptied } else { &mut report.homes_left }) += 1;
        let links: Vec<LinkId> =
            home.links.iter().filter(|(_, link)| link.profile == *profile).map(|(id, _)| *id).collect();
        let mandates = home.supply.mandates.values().filter(|mandate| mandate.profile == *profile);
        let mandates: Vec<MandateId> = mandates.map(|mandate| mandate.id.clone()).collect();
        for device in home.devices.keys() {
            let mut of_device = home.links.values().filter(|link| link.device == *device);
            if !is_emptied && !of_device.all(|link| link.profile == *profile) {
                continue;
            }
            report.devices_given_back += 1;
            let live = home.offers.values().filter(|offer| offer.device == *device && offer.state.is_live());
            report.offers_withdrawn += live.count() as u64;
            let waiting = self.engine.store().scan(&keys::outbox_of(device), None, crate::store::SCAN_ROWS_MAX)?;
            report.messages_taken_back += waiting.len() as u64;
        }
        report.links_ended += links.len() as u64;
        report.mandates_ended += mandates.len() as u64;
        Ok(Home { household: home.id, links, mandates })
    }

    /// Does all steps; again after a while where one fails, and at the next start where the gateway ends.
    async fn erase(self: Arc<Self>, mut job: Job) {
        let mut pause = PAUSE;
        'again: loop {
            for step in job.steps() {
                if self.engine.is_closed() {
                    return;
                }
                if let Err(failure) = self.erasure_step(&mut job, step).await {
                    if self.engine.is_closed() {
                        return;
                    }
                    tracing::warn!("An erasure does not get on, and is tried again: {failure}");
                    self.erasures.trouble().insert(job.name(), failure.to_string());
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(PAUSE_MAX);
                    continue 'again;
                }
            }
            self.erasures.trouble().remove(&job.name());
            if let Err(failure) = self.sweep_kept_orders().await {
                tracing::warn!("Orders that need not be kept any longer could not be deleted: {failure}");
            }
            return;
        }
    }

    /// One step. Doing it twice is doing it once.
    pub(crate) async fn erasure_step(&self, job: &mut Job, step: Step) -> Result<(), Failure> {
        match (step, job.row.stage.clone()) {
            (Step::Forget(at), Stage::AtWork { profile, homes, .. }) => {
                let household = homes[at].household;
                self.wait_for_arrivals(household, &profile).await?;
                let input = self.command(None, "erase", household.bytes(), Command::ForgetPerson(profile));
                settled(self.engine.call(Target::Household(household), input).await).map(drop)
            }
            (Step::Reseal(at), Stage::AtWork { homes, .. }) => {
                settled(self.engine.reseal(homes[at].household).await).map(drop)
            }
            (Step::Sweep, Stage::AtWork { profile, display_name, homes }) => {
                let old = self.old_keys(job, &profile, &homes)?;
                let mut left_by = LeftBehind { profile, display_name, old };
                for _ in 0..PASSES_MAX {
                    if self.sweep_rows(job, &mut left_by).await? == 0 {
                        return Ok(());
                    }
                }
                Err(Failure::Conflict("rows of the person are still being written; it is tried again".to_owned()))
            }
            (Step::Close, Stage::AtWork { profile, homes, .. }) => self.close_erasure(job, &profile, &homes).await,
            (Step::Destroy, Stage::Destroying { keys }) => {
                self.vault()?.destroy(&keys)?;
                Ok(())
            }
            (Step::End, Stage::Destroying { .. }) => {
                job.row.stage = Stage::Done { at: self.now() };
                rows::write(&self.engine, vec![rows::put(Schema::Erasure, job.key(), &job.row)]).await?;
                // Whoever comes by this name from here on is somebody new.
                let whom =
                    self.erasures.persons().iter().find(|(retailer, profile)| self.is_gone(retailer, profile)).cloned();
                if let Some(whom) = whom {
                    self.erasures.persons().remove(&whom);
                }
                self.engine.tell_standing(std::mem::take(&mut job.letters));
                Ok(())
            }
            // The row is further than the list of steps: a list is made anew after each failure.
            (Step::Forget(_) | Step::Reseal(_) | Step::Sweep | Step::Close, _) | (Step::Destroy | Step::End, _) => {
                Ok(())
            }
        }
    }

    /// Whether a person has no row and no key: so is whoever is erased.
    fn is_gone(&self, retailer: &RetailerId, profile: &ProfileId) -> bool {
        let row = self.profile_row(retailer, profile);
        let has_key = self.engine.store().vault().is_some_and(|vault| vault.current(row.subject).is_some());
        !has_key && matches!(self.engine.store().get(&row.key), Ok(None))
    }

    fn vault(&self) -> Result<&Vault, Failure> {
        let none =
            || Failure::Conflict("this gateway's store is not sealed, so nobody can be erased from it".to_owned());
        self.engine.store().vault().ok_or_else(none)
    }

    /// A device that is on its way to the person arrives before they are forgotten.
    async fn wait_for_arrivals(&self, household: HouseholdId, profile: &ProfileId) -> Result<(), Failure> {
        for _ in 0..ARRIVAL_LOOKS_MAX {
            let mut on_their_way = 0;
            rows::each(&**self.engine.store(), &keys::moves(), |key, bytes| {
                let moving = unless_erased(codec::decode::<MoveRow>(Schema::Move, key, bytes))?;
                let is_theirs = moving.is_some_and(|moving| {
                    moving.to == household && moving.join.is_some_and(|join| join.member.profile == *profile)
                });
                on_their_way += usize::from(is_theirs);
                Ok(())
            })?;
            if on_their_way == 0 {
                return Ok(());
            }
            tokio::time::sleep(PAUSE / 10).await;
        }
        Err(Failure::Conflict("a device is on its way to the person; it is tried again".to_owned()))
    }

    /// The keys that end, each with the home that it was of; none for the person's own.
    fn old_keys(
        &self,
        job: &Job,
        profile: &ProfileId,
        homes: &[Home],
    ) -> Result<BTreeMap<KeyId, Option<HouseholdId>>, Failure> {
        let vault = self.vault()?;
        let of_homes = homes.iter().flat_map(|home| {
            let retired = vault.retired(Subject::household(home.household));
            retired.into_iter().map(|id| (id, Some(home.household)))
        });
        // Profiles that were merged into this one are the same person.
        let merged = self.stored_profile(&job.retailer, profile)?.map(|stored| stored.merged_from).unwrap_or_default();
        let subjects = std::iter::once(profile).chain(&merged).map(|id| self.profile_row(&job.retailer, id).subject);
        let own = subjects.flat_map(|subject| vault.retired(subject).into_iter().chain(vault.current(subject)));
        let own: Vec<_> = own.map(|id| (id, None)).collect();
        Ok(of_homes.chain(own).collect())
    }

    /// Goes once through all rows; gives how many stood under an old key.
    async fn sweep_rows(&self, job: &mut Job, left: &mut LeftBehind) -> Result<u64, Failure> {
        let store = Arc::clone(self.engine.store());
        let own_row = self.profile_row(&job.retailer, &left.profile).key;
        let (mut after, mut found): (Option<Key>, u64) = (None, 0);
        loop {
            let page = store.scan(&[], after.as_ref(), PAGE_ROWS)?;
            let Some((last, _)) = page.last() else { return Ok(found) };
            after = Some(last.clone());
            for (key, bytes) in page {
                let elsewhere = || left.is_named_beside(&job.retailer, &key, &bytes).then_some(&None);
                let Some(home) = left.old.get(&codec::key_of(&bytes)).or_else(elsewhere) else { continue };
                // These two go together at the end.
                if key == own_row || key == job.key() {
                    continue;
                }
                found += 1;
                let home = match home {
                    Some(home) => self.engine.facts(*home).await?.filter(|home| !home.members.is_empty()),
                    None => None,
                };
                self.sweep_row(job, left, home.as_deref(), key, bytes).await?;
            }
            tokio::task::yield_now().await;
        }
    }

    /// One row under an old key: sealed anew where others live in its home, else gone. What of it the law
    /// wants is kept.
    async fn sweep_row(
        &self,
        job: &mut Job,
        left: &LeftBehind,
        home: Option<&Household>,
        key: Key,
        bytes: Vec<u8>,
    ) -> Result<(), Failure> {
        let what = word_of(&key);
        let anew = match home {
            Some(home) => left.without_person(&key, &bytes)?.map(|bytes| (home.id, bytes)),
            None => None,
        };
        let mut writes = Vec::new();
        let (mut kept, mut is_sealed_anew) = (None, false);
        match anew {
            Some((household, mut bytes)) => {
                codec::belong_to(self.vault()?.key_for(Subject::household(household))?, &mut bytes);
                writes.push(Write::Put(key.clone(), bytes));
                is_sealed_anew = true;
            }
            None => {
                if home.is_none() && key.0.first() == Some(&table::ORDER) {
                    kept = self.kept_order(job, &codec::decode::<OrderRow>(Schema::Order, &key, &bytes)?.order);
                }
                writes.push(Write::Delete(key.clone()));
            }
        }
        if let Some((kept_at, order, _)) = &kept {
            writes.push(rows::put(Schema::KeptOrder, kept_at.clone(), order));
        }
        let preconditions = vec![Precondition::Equals(key, bytes)];
        // A row that was written over meanwhile is looked at again in the next pass.
        if self.engine.write(Commit { preconditions, writes }).await? == Outcome::Committed {
            let counted = if is_sealed_anew { &mut job.row.report.sealed_anew } else { &mut job.row.report.deleted };
            *counted.entry(what.to_owned()).or_default() += 1;
            job.row.report.kept.extend(kept.map(|(_, _, told)| told));
        }
        Ok(())
    }

    /// What is kept of an order, and where: nothing of one that was undone, or that is too old.
    fn kept_order(&self, job: &Job, order: &Order) -> Option<(Key, KeptOrder, Kept)> {
        let now = self.now();
        let from = if order.state.is_open() { now } else { order.created_at };
        let until = from + self.erasures.order_retention;
        if order.state.is_undone() || until <= now {
            return None;
        }
        let bare = KeptOrder {
            id: order.id,
            state: order.state,
            total: order.total,
            fulfil: order.fulfil,
            lines: order.lines.clone(),
            created_at: order.created_at,
        };
        let told = Kept {
            what: "order".to_owned(),
            id: Some(order.id.to_string()),
            why: "accounts: its lines, total, state and date, without buyer, home and device".to_owned(),
            until,
        };
        Some((keys::kept_order(until, &job.retailer, order.id), bare, told))
    }

    /// The profile's row goes, and with it the last place that names the person.
    async fn close_erasure(&self, job: &mut Job, profile: &ProfileId, homes: &[Home]) -> Result<(), Failure> {
        let keys: Vec<KeyId> = self.old_keys(job, profile, homes)?.into_keys().filter(|id| *id != NOT_SEALED).collect();
        self.look_again_for(job, profile, homes).await?;
        let now = self.now();
        job.row.report.keys_destroyed = keys.len() as u64;
        *job.row.report.deleted.entry("profiles".to_owned()).or_default() = 1;
        let keep = |what: &str, why: &str, until| Kept { what: what.to_owned(), id: None, why: why.to_owned(), until };
        let told = &mut job.row.report.kept;
        told.retain(|kept| kept.id.is_some());
        told.push(keep(
            "answers to repeated calls",
            "a repeated call is answered as the first was; they are deleted by themselves",
            now + ANSWERS_KEPT,
        ));
        if !homes.is_empty() {
            told.push(keep(
                "counts for reports",
                "how often what was offered and ordered in a month, by the home's number; they name nobody",
                now + COUNTS_KEPT,
            ));
        }
        let mut writes = vec![Write::Delete(self.profile_row(&job.retailer, profile).key)];
        let telling = self.telling_erasure(job, profile, now, &mut writes)?;
        if writes.len() > 1 {
            job.row.report.kept.push(keep(
                "the event that tells the shop's systems of it",
                "it names the person and waits for their webhook; it goes when it is told, and its key ends by then",
                day_until(now + WORD_WAITS).1,
            ));
        }
        let stage = Stage::Destroying { keys };
        let row = ErasureRow { stage, ..job.row.clone() };
        writes.push(rows::put(Schema::Erasure, job.key(), &row));
        for home in homes {
            writes.extend(home.links.iter().map(|link| Write::Delete(links::hint_key(&job.retailer, *link))));
            writes.extend(home.mandates.iter().map(|id| Write::Delete(self.mandate_row(&job.retailer, id))));
        }
        rows::write(&self.engine, writes).await?;
        job.letters = telling.keep();
        job.row = row;
        Ok(())
    }

    /// The word to the shop's systems, for the commit that names the person last. The key that it waits under is that
    /// of a day so near that it ends by itself, and so late that the event can be tried for all of its three days.
    fn telling_erasure(
        &self,
        job: &Job,
        profile: &ProfileId,
        now: Timestamp,
        writes: &mut Vec<Write>,
    ) -> Result<Telling<'_>, Failure> {
        let merged = self.stored_profile(&job.retailer, profile)?.map(|stored| stored.merged_from).unwrap_or_default();
        let event = EventOut::profile_erased(&job.retailer, &job.name(), profile, &merged, now);
        let key = self.vault()?.key_for(Subject::day(day_until(now + WORD_WAITS).0))?;
        Ok(self.engine.telling(&[event], key, writes))
    }

    /// A claim that passed before the erasure began may have come after its plan: then its home joins the
    /// plan, and all is done again.
    async fn look_again_for(&self, job: &mut Job, profile: &ProfileId, homes: &[Home]) -> Result<(), Failure> {
        let Some(stored) = self.stored_profile(&job.retailer, profile)? else { return Ok(()) };
        let still = self.homes_of(&job.retailer, &stored).await?;
        if still.is_empty() {
            return Ok(());
        }
        let mut all = homes.to_vec();
        for home in still {
            let known = all.iter().position(|known| known.household == home.id);
            let found = self.foresee(&home, profile, &mut job.row.report)?;
            match known {
                Some(at) => {
                    all[at].links.extend(found.links);
                    all[at].mandates.extend(found.mandates);
                }
                None => all.push(found),
            }
        }
        if let Stage::AtWork { homes, .. } = &mut job.row.stage {
            *homes = all;
        }
        let mut bytes = codec::encode(Schema::Erasure, &job.row);
        let subject = self.profile_row(&job.retailer, profile).subject;
        codec::belong_to(self.vault()?.key_for(subject)?, &mut bytes);
        rows::write(&self.engine, vec![Write::Put(job.key(), bytes)]).await?;
        Err(Failure::Conflict("the person came to a home meanwhile; it is done again".to_owned()))
    }

    /// Orders that need not be kept any longer go.
    async fn sweep_kept_orders(&self) -> Result<(), Failure> {
        let now = self.now();
        loop {
            let page = self.engine.store().scan(&keys::kept_orders(), None, PAGE_ROWS)?;
            let is_over = |key: &Key| keys::kept_until(key).is_some_and(|until| until <= now);
            let over: Vec<Write> = page.into_iter().map(|(key, _)| key).filter(is_over).map(Write::Delete).collect();
            if over.is_empty() {
                return Ok(());
            }
            rows::write(&self.engine, over).await?;
        }
    }
}

/// What a person may have left in rows of homes.
struct LeftBehind {
    profile: ProfileId,
    display_name: String,
    old: BTreeMap<KeyId, Option<HouseholdId>>,
}

impl LeftBehind {
    /// A row of a home where others live, without the person; none where it has to go.
    fn without_person(&self, key: &Key, bytes: &[u8]) -> Result<Option<Vec<u8>>, Failure> {
        match key.0.first().copied().unwrap_or_default() {
            table::ORDER => {
                let mut row: OrderRow = codec::decode(Schema::Order, key, bytes)?;
                if row.order.profile.as_ref() == Some(&self.profile) {
                    row.order.profile = None;
                }
                Ok(Some(codec::encode(Schema::Order, &row)))
            }
            table::OUTBOX => {
                let row: OutboxRow = codec::decode(Schema::Outbox, key, bytes)?;
                Ok((!self.is_named_in(&row.payload)).then(|| bytes.to_vec()))
            }
            // A tail from before: the record has been written anew. What repeats of old messages are told
            // may greet the person; a repeat is then told nothing.
            table::HOUSEHOLD | table::TOLD => Ok(None),
            // Whatever else a home has: what names the person goes.
            _ => Ok((!self.is_named_in(bytes)).then(|| bytes.to_vec())),
        }
    }

    /// Whether a row that is another person's names this one: a merge of both that was taken back, and what waits to be
    /// told of it.
    fn is_named_beside(&self, retailer: &RetailerId, key: &Key, bytes: &[u8]) -> bool {
        match key.0.first() {
            Some(&table::MERGE) if keys::retailer_of(key).as_ref() == Some(retailer) => {
                let row = codec::decode::<MergeRow>(Schema::Merge, key, bytes);
                row.is_ok_and(|row| row.from == self.profile || row.into == self.profile)
            }
            Some(&table::EVENT)
                if keys::webhook_of(key).is_some_and(|(of, _)| of == Tenant::Retailer(retailer.clone())) =>
            {
                let row = codec::decode::<EventRow>(Schema::Event, key, bytes);
                row.is_ok_and(|row| row.kind == EventType::ProfileMerged.as_str() && self.is_named_in(&row.body))
            }
            _ => false,
        }
    }

    fn is_named_in(&self, bytes: &[u8]) -> bool {
        [self.profile.as_str(), self.display_name.as_str()].iter().any(|name| contains(bytes, name.as_bytes()))
    }
}

fn contains(bytes: &[u8], text: &[u8]) -> bool {
    !text.is_empty() && bytes.windows(text.len()).any(|window| window == text)
}

/// A table in the report's words.
fn word_of(key: &Key) -> &'static str {
    match key.0.first().copied().unwrap_or_default() {
        table::HOUSEHOLD => "households",
        table::TOLD => "answers to repeated messages",
        table::OUTBOX => "outbox",
        table::MOVE => "moves",
        table::OFFER => "offers",
        table::ORDER => "orders",
        table::PROFILE => "profiles",
        _ => "others",
    }
}

fn erasure(id: &[u8; DERIVED_BYTES], row: &ErasureRow, trouble: Option<String>) -> Erasure {
    let ended_at = match row.stage {
        Stage::Done { at } => Some(at),
        Stage::AtWork { .. } | Stage::Destroying { .. } => None,
    };
    Erasure { id: name_of(id), begun_at: row.begun_at, ended_at, trouble, report: row.report.clone() }
}

/// What the id of an erasure begins with.
const ERASURE: &str = "er_";

fn name_of(id: &[u8; DERIVED_BYTES]) -> String {
    format!("{ERASURE}{}", base32(id))
}

fn id_of(name: &str) -> Option<[u8; DERIVED_BYTES]> {
    let text = name.strip_prefix(ERASURE)?;
    let id = data_encoding::BASE32_NOPAD.decode(text.to_ascii_uppercase().as_bytes()).ok()?;
    <[u8; DERIVED_BYTES]>::try_from(id).ok().filter(|id| base32(id) == text)
}
