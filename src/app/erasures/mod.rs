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
//! 4. The profile's row goes, and the erasure's row names the keys to be destroyed and nobody any more.
//! 5. The keys are destroyed. Only then it is called done.
//!
//! | file | what it holds |
//! |---|---|
//! | `plan` | where the person is, looked up before anything is taken and once more at the end |
//! | `sweep` | all rows under the keys that end; `left_behind` what of such a row others need |
//! | `report` | what is told of it, and what is kept of orders |

mod left_behind;
mod plan;
mod report;
mod sweep;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hearthway_core::id::{DERIVED_BYTES, HouseholdId, LinkId, MandateId, ProfileId, RetailerId, base32};
use hearthway_core::input::Command;
use hearthway_core::time::{Span, Timestamp};
use serde::{Deserialize, Serialize};

pub use report::{Erasure, ErasureReport, Kept, KeptOrder};

use super::profiles::settled;
use super::tokens::{Caller, Scope};
use super::{App, Failure, links, rows};
use crate::engine::Target;
use crate::engine::rows::{MoveRow, unless_erased};
use crate::store::Write;
use crate::store::codec::{self, KeyId, NOT_SEALED, Schema};
use crate::store::keys::{self, Key};
use crate::store::sealed::Vault;
use left_behind::LeftBehind;

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
/// Counts for reports are kept so long: 25 months.
const COUNTS_KEPT: Span = Span::days(25 * 31);

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
        let retailer = who.retailer(Scope::ProfilesErase)?;
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
                unfinished.push(Job { retailer, id: *id, row });
            }
            Ok(())
        })?;
        Ok(unfinished)
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
        let stage = Stage::Destroying { keys };
        let row = ErasureRow { stage, ..job.row.clone() };
        let mut writes = vec![
            rows::put(Schema::Erasure, job.key(), &row),
            Write::Delete(self.profile_row(&job.retailer, profile).key),
        ];
        for home in homes {
            writes.extend(home.links.iter().map(|link| Write::Delete(links::hint_key(&job.retailer, *link))));
            writes.extend(home.mandates.iter().map(|id| Write::Delete(self.mandate_row(&job.retailer, id))));
        }
        rows::write(&self.engine, writes).await?;
        job.row = row;
        Ok(())
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
