//! Erasure of a customer: what it takes, step by step, and the report of it.
//!
//! An erasure is a row, begun before its first step and ended after its last; each step can be done again,
//! so one that a kill cut short goes on at the next start. Until its end the row is sealed with the key of
//! the person whom it is about.
//!
//! 1. In each home the person is forgotten: devices that nobody else is linked to go back to households of
//!    their own and owe a wipe, what they gave ends. A home where nobody is left is emptied.
//! 2. The home goes on under another key, its log begins anew with a snapshot; an empty one is not sealed.
//! 3. Rows under the old keys are deleted, or, in a home where others live, sealed anew. The person's orders that
//!    stand are put apart, without them.
//! 4. The profile's row goes, and the erasure's row names the keys to be destroyed and nobody any more. The shop's
//!    systems are to act on it too, by the name that they know: that event waits for them under the key of a day
//!    that is near, and is deleted when it is told.
//! 5. The keys are destroyed. Only then it is called done, and the event goes out.
//!
//! | file | what it holds |
//! |---|---|
//! | `persons` | who is being erased, and about whom something is at work |
//! | `plan` | where the person is, looked up before anything is taken and once more at the end |
//! | `sweep` | all rows under the keys that end; `left_behind` what of such a row others need |
//! | `locked` | orders that are kept apart, and how the shop goes on with them |
//! | `report` | what is told of it, and what is kept of orders |

mod left_behind;
mod locked;
mod persons;
mod plan;
mod report;
mod sweep;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hearthway_core::event_out::EventOut;
use hearthway_core::id::{DERIVED_BYTES, HouseholdId, LinkId, MandateId, ProfileId, RetailerId, base32};
use hearthway_core::input::Command;
use hearthway_core::model::Leaving;
use hearthway_core::time::{Span, Timestamp};
use serde::{Deserialize, Serialize};
use tokio::task::JoinHandle;

pub use report::{Erasure, ErasureReport, Kept, KeptOrder};

use super::idempotency::day_until;
use super::profiles::settled;
use super::tokens::{Caller, Scope};
use super::{App, Failure, links, rows};
use crate::engine::Target;
use crate::engine::events::{Letter, Telling};
use crate::engine::rows::{MoveRow, unless_erased};
use crate::store::Write;
use crate::store::codec::{self, KeyId, NOT_SEALED, Schema};
use crate::store::keys::{self, Key};
use crate::store::sealed::{Subject, Vault};
use crate::webhook::TRIED_FOR;
pub(crate) use persons::Busy;
use persons::Persons;

/// The first pause after a step that failed, and the longest.
const PAUSE: Duration = Duration::from_millis(200);
const PAUSE_MAX: Duration = Duration::from_secs(60);
/// How often it is looked whether a device that was on its way has arrived.
const ARRIVAL_LOOKS_MAX: usize = 100;
/// Answers to repeated calls are kept so long.
const ANSWERS_KEPT: Span = Span::hours(24);
/// The word to the shop's systems can be read so long: as long as it is tried, with an hour for the last try.
const WORD_WAITS: Span = Span(TRIED_FOR.0 + Span::hours(1).0);
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
    AtWork { leaving: Leaving, homes: Vec<Home> },
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
    /// The keys under which nothing is left, each with the home that it was of: these are destroyed. After a
    /// start it is found again.
    swept: Option<BTreeMap<KeyId, Option<HouseholdId>>>,
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
    /// Its name over HTTP.
    pub(crate) fn name(&self) -> String {
        name_of(&self.id)
    }
}

/// The erasures that are at work.
pub(crate) struct Erasures {
    order_retention: Span,
    persons: Persons,
    /// Held by the erasure that goes through homes and rows: one at a time, so that none seals anew what
    /// another one is looking for.
    turn: tokio::sync::Mutex<()>,
    /// Why one does not get on.
    trouble: Mutex<BTreeMap<String, String>>,
}

impl Erasures {
    pub(crate) fn new(order_retention: Span) -> Erasures {
        let (persons, turn, trouble) = (Persons::default(), tokio::sync::Mutex::default(), Mutex::default());
        Erasures { order_retention, persons, turn, trouble }
    }
    fn trouble(&self) -> MutexGuard<'_, BTreeMap<String, String>> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner)
    }
    /// Refuses what is about a person who is being erased; else they are not until what begins is over, which is
    /// when this goes.
    pub(crate) fn check(&self, retailer: &RetailerId, profile: &ProfileId) -> Result<Busy<'_>, Failure> {
        self.persons.busy(retailer, profile)
    }
}

impl App {
    /// Begins the erasure of a person; its first step is on disk on return. It goes on whether or not the caller waits.
    pub async fn begin_erasure(self: &Arc<Self>, who: &Caller, profile: &str) -> Result<Erasure, Failure> {
        let retailer = who.retailer(Scope::ProfilesErase)?.clone();
        let (app, profile) = (Arc::clone(self), profile.to_owned());
        let begun = tokio::spawn(async move {
            let job = app.plan_erasure(&retailer, &profile).await?;
            let told = erasure(&job.id, job.row.clone(), None);
            tokio::spawn(app.erase(job));
            Ok::<Erasure, Failure>(told)
        });
        begun.await.unwrap_or_else(|_| Err(Failure::Conflict("the gateway is stopping; come again".to_owned())))
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
        let mut told = erasure(&bytes, row, self.erasures.trouble().get(id).cloned());
        let (mut kept, more) = self.kept_by(retailer, &bytes)?;
        kept.append(&mut told.report.kept);
        (told.report.kept, told.kept_more) = (kept, more);
        Ok(told)
    }

    /// Goes on with what an end of the gateway cut short, once merges of profiles have been finished.
    pub(crate) fn resume_erasures(self: &Arc<Self>, merges: Option<JoinHandle<()>>) -> Result<(), Failure> {
        let jobs = self.unfinished_erasures()?;
        if jobs.is_empty() {
            return Ok(());
        }
        let app = Arc::clone(self);
        tokio::spawn(async move {
            if let Some(merges) = merges {
                // One that broke off is found again by its row.
                let _ = merges.await;
            }
            for job in jobs {
                tokio::spawn(Arc::clone(&app).erase(job));
            }
        });
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
                if let Stage::AtWork { leaving, .. } = &row.stage {
                    self.erasures.persons.departs(&retailer, &leaving.names, *id);
                    // They were read from rows that are still there.
                    self.forget_access(&retailer, &leaving.names);
                }
                if let (Stage::Destroying { keys }, Some(vault)) = (&row.stage, self.engine.store().vault()) {
                    // Before anybody may come by the same name: they begin with a key of their own.
                    vault.destroy(keys)?;
                }
                // What they are told was found on disk by whoever takes it out.
                unfinished.push(Job { retailer, id: *id, row, swept: None, letters: Vec::new() });
            }
            Ok(())
        })?;
        Ok(unfinished)
    }

    /// Does all steps; again after a while where one fails, and at the next start where the gateway ends.
    async fn erase(self: Arc<Self>, mut job: Job) {
        let mut pause = PAUSE;
        'again: loop {
            // Not held over a pause: others go on meanwhile.
            let turn = self.erasures.turn.lock().await;
            for step in job.steps() {
                if self.engine.is_closed() {
                    return;
                }
                if let Err(failure) = self.erasure_step(&mut job, step).await {
                    if self.engine.is_closed() {
                        return;
                    }
                    tracing::warn!(
                        erasure = job.name(),
                        reason = failure.kind(),
                        "An erasure does not get on, and is tried again"
                    );
                    self.erasures.trouble().insert(job.name(), failure.to_string());
                    drop(turn);
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(PAUSE_MAX);
                    continue 'again;
                }
            }
            self.erasures.trouble().remove(&job.name());
            if let Err(failure) = self.sweep_kept_orders().await {
                tracing::warn!(reason = failure.kind(), "Orders that need not be kept any longer could not be deleted");
            }
            return;
        }
    }

    /// One step. Doing it twice is doing it once.
    pub(crate) async fn erasure_step(&self, job: &mut Job, step: Step) -> Result<(), Failure> {
        match (step, job.row.stage.clone()) {
            (Step::Forget(at), Stage::AtWork { leaving, homes }) => {
                let household = homes[at].household;
                self.wait_for_arrivals(household).await?;
                if self.engine.facts(household).await?.is_none() {
                    return Ok(()); // they were to come and never did
                }
                let what = Command::ForgetPerson(Box::new(leaving));
                let input = self.command(None, "erase", household.bytes(), what);
                settled(self.engine.call(Target::Household(household), input).await).map(drop)
            }
            (Step::Reseal(at), Stage::AtWork { homes, .. }) => {
                settled(self.engine.reseal(homes[at].household).await).map(drop)
            }
            (Step::Sweep, Stage::AtWork { leaving, homes }) => self.sweep(job, leaving, &homes).await,
            (Step::Close, Stage::AtWork { leaving, homes }) => self.close_erasure(job, &leaving, &homes).await,
            (Step::Destroy, Stage::Destroying { keys }) => {
                self.vault()?.destroy(&keys)?;
                Ok(())
            }
            (Step::End, Stage::Destroying { .. }) => {
                job.row.stage = Stage::Done { at: self.now() };
                rows::write(&self.engine, vec![rows::put(Schema::Erasure, job.key(), &job.row)]).await?;
                // Whoever comes by these names from here on is somebody new.
                self.erasures.persons.over(&job.id);
                self.engine.tell_standing(std::mem::take(&mut job.letters));
                Ok(())
            }
            // The row is further than the list of steps: a list is made anew after each failure.
            (Step::Forget(_) | Step::Reseal(_) | Step::Sweep | Step::Close, _) | (Step::Destroy | Step::End, _) => {
                Ok(())
            }
        }
    }

    fn vault(&self) -> Result<&Vault, Failure> {
        let none =
            || Failure::Conflict("this gateway's store is not sealed, so nobody can be erased from it".to_owned());
        self.engine.store().vault().ok_or_else(none)
    }

    /// A device that is on its way to a home arrives before anybody there is forgotten.
    async fn wait_for_arrivals(&self, household: HouseholdId) -> Result<(), Failure> {
        for _ in 0..ARRIVAL_LOOKS_MAX {
            let mut on_their_way = 0;
            rows::each(&**self.engine.store(), &keys::moves(), |key, bytes| {
                let moving = unless_erased(codec::decode::<MoveRow>(Schema::Move, key, bytes))?;
                on_their_way += usize::from(moving.is_some_and(|moving| moving.to == household));
                Ok(())
            })?;
            if on_their_way == 0 {
                return Ok(());
            }
            tokio::time::sleep(PAUSE / 10).await;
        }
        Err(Failure::Conflict("a device is on its way to a home of the person; it is tried again".to_owned()))
    }

    /// The profile's row goes, and with it the last place that names the person.
    async fn close_erasure(&self, job: &mut Job, leaving: &Leaving, homes: &[Home]) -> Result<(), Failure> {
        let _merging = self.merging.lock().await;
        self.look_again(job, leaving, homes).await?;
        let Some(swept) = &job.swept else {
            return Err(Failure::Conflict("the rows of the person were not gone through".to_owned()));
        };
        let keys: Vec<KeyId> = swept.keys().copied().filter(|id| *id != NOT_SEALED).collect();
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
        let mut writes = Vec::new();
        let telling = self.telling_erasure(job, leaving, now, &mut writes)?;
        if !writes.is_empty() {
            job.row.report.kept.push(keep(
                "the event that tells the shop's systems of it",
                "it names the person and waits for their webhook; it goes when it is told, and its key ends by then",
                day_until(now + WORD_WAITS).1,
            ));
        }
        let stage = Stage::Destroying { keys };
        let row = ErasureRow { stage, ..job.row.clone() };
        writes.push(rows::put(Schema::Erasure, job.key(), &row));
        writes.extend(leaving.names.iter().map(|name| Write::Delete(self.profile_row(&job.retailer, name).key)));
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
        leaving: &Leaving,
        now: Timestamp,
        writes: &mut Vec<Write>,
    ) -> Result<Telling<'_>, Failure> {
        let Some((profile, merged)) = leaving.names.split_first() else {
            return Ok(self.engine.telling(&[], NOT_SEALED, writes));
        };
        let merged = merged.iter().cloned().collect();
        let event = EventOut::profile_erased(&job.retailer, &job.name(), profile, &merged, now);
        let key = self.vault()?.key_for(Subject::day(day_until(now + WORD_WAITS).0))?;
        Ok(self.engine.telling(&[event], key, writes))
    }
}

fn erasure(id: &[u8; DERIVED_BYTES], row: ErasureRow, trouble: Option<String>) -> Erasure {
    let ended_at = match row.stage {
        Stage::Done { at } => Some(at),
        Stage::AtWork { .. } | Stage::Destroying { .. } => None,
    };
    Erasure { id: name_of(id), begun_at: row.begun_at, ended_at, trouble, report: row.report, kept_more: 0 }
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
