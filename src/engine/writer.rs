//! The one writer: forms groups, makes them durable, and only then lets anything be known.
//!
//! Group commit without a timer: a group is what queued while the last one was being flushed.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use hearthway_core::id::{DeviceKey, HouseholdId};
use tokio::sync::oneshot;

use super::facts::read_household;
use super::house::{House, lock};
use super::job::{InputJob, Job, retry};
use super::poison::Poisoned;
use super::prepared::{Kept, Prepared};
use super::shard::Shard;
use super::{Outcome, Waiter, rows};
use crate::store::codec::Schema;
use crate::store::{Commit, Outcome as StoreOutcome, StoreError, Write, keys};

/// Acknowledged outbox rows deleted with one group.
const DELETIONS_PER_GROUP_MAX: usize = 256;

/// Bytes of a probe: as much as a small group, so that the last free bytes of a full disk are not
/// taken for room.
const PROBE_BYTES: usize = 32 * 1024;

/// Who asked for a document to be written.
pub(super) type DocumentWaiter = oneshot::Sender<Result<StoreOutcome, StoreError>>;

/// Work for the writer.
pub(super) enum Work {
    /// A decided input.
    Prepared(Box<Prepared>),
    /// An input that the gateway failed on: kept for its maker before its sender is answered.
    Poisoned(Box<Poisoned>),
    /// A write of the edges.
    Document { commit: Commit, waiter: DocumentWaiter },
    /// Sees whether a store in trouble works again.
    Probe,
    /// Deletes what devices have acknowledged, and tells when everything before it is durable.
    Flush(Option<oneshot::Sender<()>>),
}

pub(super) struct Writer {
    house: Arc<House>,
    shards: Arc<[Mutex<Shard>]>,
}

impl Writer {
    pub(super) fn new(house: Arc<House>, shards: Arc<[Mutex<Shard>]>) -> Writer {
        Writer { house, shards }
    }

    /// Makes one group durable and lets the world know.
    pub(super) fn commit(&self, work: Vec<Work>) {
        let (mut decided, mut documents, mut flushed) = (Vec::new(), Vec::new(), Vec::new());
        let mut poisoned = Vec::new();
        let mut probes = false;
        for work in work {
            match work {
                Work::Prepared(prepared) => decided.push(*prepared),
                Work::Poisoned(failed) => poisoned.push(*failed),
                Work::Document { commit, waiter } => documents.push((commit, waiter)),
                Work::Probe => probes = true,
                Work::Flush(waiter) => flushed.extend(waiter),
            }
        }
        let decided = self.without_forgotten(decided);
        let acknowledged = self.house.outbox.take_acknowledged(DELETIONS_PER_GROUP_MAX, &self.house.meters);
        let (mut group, decided) = by_household(decided);
        let first_document = group.len();
        let (commits, waiters): (Vec<_>, Vec<_>) = documents.into_iter().unzip();
        group.extend(commits);
        group.extend(poisoned.iter_mut().map(|failed| std::mem::take(&mut failed.commit)));
        if !acknowledged.is_empty() {
            let writes = acknowledged.iter().map(|(device, n)| Write::Delete(keys::outbox(device, *n)));
            group.push(Commit { preconditions: Vec::new(), writes: writes.collect() });
        }
        if probes && self.house.trouble().is_some() {
            self.probe();
        }
        if !group.is_empty() {
            match self.store_commit(&group) {
                Ok(outcomes) => {
                    // A few deletions fit into the last bytes of a full disk, and prove nothing.
                    if !decided.is_empty() || !waiters.is_empty() {
                        self.out_of_trouble();
                    }
                    self.house.meters.groups.increment(1);
                    self.house.meters.group_inputs.record(decided.len() as f64);
                    let outcomes = outcomes.into_iter().skip(first_document);
                    self.all_durable(decided);
                    for (waiter, outcome) in waiters.into_iter().zip(outcomes) {
                        let _ = waiter.send(Ok(outcome));
                    }
                    self.all_kept(poisoned);
                }
                Err(error) => {
                    self.house.meters.commit_failures.increment(1);
                    if self.house.trouble().is_none() {
                        tracing::warn!(%error, "Nothing is acknowledged until the store works again: {error}");
                    }
                    self.house.set_trouble(Some(error.clone()));
                    for (device, n) in acknowledged {
                        self.reread(&device, &BTreeSet::new());
                        self.house.outbox.acknowledge(&device, n);
                    }
                    self.all_failed(decided);
                    for failed in poisoned {
                        self.fail(failed.waiter);
                    }
                    for waiter in waiters {
                        let _ = waiter.send(Err(error.clone()));
                    }
                }
            }
        }
        for waiter in flushed {
            let _ = waiter.send(());
        }
    }

    fn store_commit(&self, group: &[Commit]) -> Result<Vec<StoreOutcome>, StoreError> {
        self.house.set_committing(Some(Instant::now()));
        let committed = self.house.store.commit(group);
        self.house.set_committing(None);
        committed
    }

    /// Whoever was turned away may not come again before this gateway is said to be ready: so it is
    /// tried here whether a group would pass.
    fn probe(&self) {
        let writing = |write| [Commit { preconditions: Vec::new(), writes: vec![write] }];
        let put = self.store_commit(&writing(Write::Put(keys::probe(), vec![0; PROBE_BYTES])));
        match put.and_then(|_| self.store_commit(&writing(Write::Delete(keys::probe())))) {
            Ok(_) => self.out_of_trouble(),
            Err(error) => self.house.set_trouble(Some(error)),
        }
    }

    fn out_of_trouble(&self) {
        if self.house.trouble().is_some() {
            tracing::info!("The store works again");
        }
        self.house.set_trouble(None);
    }

    /// Leaves out what was decided on facts that have been forgotten since.
    fn without_forgotten(&self, decided: Vec<Prepared>) -> Vec<Prepared> {
        let epochs: Vec<u64> = self.shards.iter().map(|shard| lock(shard).epoch()).collect();
        if decided.iter().all(|prepared| prepared.epoch == epochs[prepared.shard]) {
            return decided;
        }
        let (good, forgotten): (Vec<_>, Vec<_>) =
            decided.into_iter().partition(|prepared| prepared.epoch == epochs[prepared.shard]);
        self.give_up(forgotten);
        good
    }

    fn all_durable(&self, decided: Vec<Prepared>) {
        let link = self.house.link();
        let repeats = self.repeats(&decided);
        for (prepared, repeats) in decided.into_iter().zip(repeats) {
            let Prepared {
                waiter,
                outcome,
                routes,
                codes,
                outgoing,
                disconnects,
                leaving,
                arriving,
                draws,
                handed_out,
                sendings,
                letters,
                put_aside,
                words,
                household,
                ..
            } = prepared;
            draws.stand(&self.house.budgets);
            handed_out.stands(&self.house.codes);
            sendings.stand(&self.house.budgets);
            self.house.events.stand(letters);
            put_aside.stand(&self.house.budgets);
            words.stand(&self.house.budgets, household);
            for (device, route) in routes {
                self.house.directory.set_route(&device, route);
            }
            for (device, code) in codes {
                self.house.directory.set_code(&device, code);
            }
            for repeat in repeats {
                repeat.answer(Outcome::Duplicate(outcome.clone()));
            }
            // Who asked for a move is answered by the arrival.
            let mut waiter = Some(waiter);
            for (row, route) in leaving {
                let travels = waiter.take().unwrap_or(Waiter::None);
                let arrival = self.house.arrival(&row, travels);
                self.house.directory.left(&row.device.key, route, arrival, &self.house.inboxes);
            }
            if let Some(waiter) = waiter {
                waiter.answer(Outcome::Committed(outcome));
            }
            if !outgoing.is_empty() {
                self.house.outbox.dispatch(outgoing, link.as_ref(), &self.house.meters);
            }
            for (device, reason) in disconnects {
                if let Some(link) = &link {
                    link.disconnect(&device, &reason);
                }
            }
            if arriving.is_some() {
                self.house.move_ended();
            }
        }
    }

    /// Tells the shards that a group is on disk; each is stopped once. Gives the repeats that waited.
    fn repeats(&self, decided: &[Prepared]) -> Vec<Vec<Waiter>> {
        let mut repeats: Vec<Vec<Waiter>> = decided.iter().map(|_| Vec::new()).collect();
        for (index, shard) in self.shards.iter().enumerate() {
            let mut shard = lock(shard);
            for (prepared, repeats) in decided.iter().zip(&mut repeats).filter(|(prepared, _)| prepared.shard == index)
            {
                *repeats = shard.durable(prepared);
            }
        }
        repeats
    }

    /// What failed is on disk: its senders are told, and it does not come again.
    fn all_kept(&self, poisoned: Vec<Poisoned>) {
        for Poisoned { waiter, refusal, outgoing, .. } in poisoned {
            waiter.answer(Outcome::Committed(Err(refusal)));
            self.house.outbox.dispatch(outgoing, self.house.link().as_ref(), &self.house.meters);
        }
    }

    /// The store refused a group. What was decided on top of it is forgotten too.
    fn all_failed(&self, decided: Vec<Prepared>) {
        for shard in self.shards.iter() {
            let repeats = lock(shard).failed();
            for repeat in repeats {
                self.fail(repeat);
            }
        }
        self.give_up(decided);
    }

    fn give_up(&self, decided: Vec<Prepared>) {
        let spoken_to: BTreeSet<DeviceKey> =
            decided.iter().flat_map(|prepared| prepared.spoken_to.iter().cloned()).collect();
        let rows = decided.iter().flat_map(|prepared| prepared.outgoing.iter());
        let gone: BTreeSet<u64> = rows.filter(|out| out.stored).map(|out| out.delivery.n).collect();
        for device in &spoken_to {
            self.reread(device, &gone);
        }
        for prepared in decided {
            if let Err(error) = self.refresh(&prepared) {
                tracing::warn!(%error, "Where devices live could not be read again; it is read at the next start");
            }
            let Prepared { waiter, leaving, arriving, draws, handed_out, sendings, letters, put_aside, words, .. } =
                prepared;
            draws.failed(&*self.house.store);
            handed_out.failed(&*self.house.store);
            sendings.failed(&*self.house.store);
            self.house.events.failed(letters, &*self.house.store);
            put_aside.failed(&*self.house.store);
            words.failed(&self.house.budgets, &*self.house.store, self.house.decider);
            self.fail(waiter);
            for (row, route) in leaving {
                // A store may have kept what it said it had not: then the move goes on.
                if let Ok(Some(_)) = self.house.store.get(&keys::move_between(row.id)) {
                    let arrival = self.house.arrival(&row, Waiter::None);
                    self.house.directory.left(&row.device.key, route, arrival, &self.house.inboxes);
                    continue;
                }
                self.house.move_ended();
                for job in self.house.directory.stay(&row.device.key) {
                    match job {
                        Job::Input(parked) => self.fail((*parked as InputJob).waiter),
                        Job::Reachable(device) => self.reachable_again(device),
                        Job::Timer { .. } | Job::Reseal { .. } | Job::Wake | Job::Barrier(_) => {}
                    }
                }
            }
            // The source's commit stands: the arrival must not be lost, whoever waits for it.
            if let Some(row) = arriving {
                self.house.stall(row);
            }
        }
    }

    fn fail(&self, waiter: Waiter) {
        self.house.meters.failures.increment(1);
        waiter.answer(retry("the store cannot write; nothing was changed"));
    }

    fn reachable_again(&self, device: DeviceKey) {
        if let Some(route) = self.house.directory.route(&device) {
            self.house.inboxes.push_reachable(route.household, device);
        }
    }

    /// Sets routes and codes of a failed commit to what is on disk, whichever way that went.
    fn refresh(&self, prepared: &Prepared) -> Result<(), StoreError> {
        let store = &*self.house.store;
        for (device, _) in &prepared.routes {
            if let Some(route) = rows::get(store, Schema::Route, &keys::route(device))? {
                self.house.directory.set_route(device, route);
            }
        }
        if !prepared.codes.is_empty() {
            let household = read_household(prepared.household, store, self.house.decider)?;
            for (device, _) in &prepared.codes {
                let device_there = household.as_ref().and_then(|stored| stored.row.facts.devices.get(device));
                let claim = device_there.and_then(|device| device.claim.as_ref());
                self.house.directory.set_code(device, claim.map(|claim| claim.code.clone()));
            }
        }
        Ok(())
    }

    fn reread(&self, device: &DeviceKey, gone: &BTreeSet<u64>) {
        if let Err(error) = self.house.outbox.reread(device, gone, &*self.house.store) {
            tracing::warn!(%error, "What waits for a device could not be read; it is sent after the next start");
        }
    }
}

/// One commit per household, so that a group cut in the middle still holds whole households; of
/// several records or tails of a household only the last is written.
fn by_household(mut decided: Vec<Prepared>) -> (Vec<Commit>, Vec<Prepared>) {
    let mut at: HashMap<HouseholdId, usize> = HashMap::with_capacity(decided.len());
    let mut commits: Vec<Commit> = Vec::with_capacity(decided.len());
    let mut lasts: Vec<Last> = Vec::with_capacity(decided.len());
    for prepared in &mut decided {
        let writes = std::mem::take(&mut prepared.writes);
        let known = *at.entry(prepared.household).or_insert_with(|| {
            commits.push(Commit { preconditions: Vec::new(), writes: Vec::new() });
            lasts.push(Last { household: prepared.household, record: None, tail: None });
            commits.len() - 1
        });
        let commit = &mut commits[known];
        if commit.writes.is_empty() {
            commit.writes = writes
        } else {
            commit.writes.extend(writes)
        }
        lasts[known].take(std::mem::take(&mut prepared.kept));
    }
    for (commit, last) in commits.iter_mut().zip(lasts) {
        let Last { household, record, tail } = last;
        commit.writes.extend(record.map(|record| Write::Put(keys::household(household), record)));
        commit.writes.extend(tail.map(|tail| Write::Put(keys::household_tail(household), tail)));
    }
    (commits, decided)
}

/// What a group leaves of a household.
struct Last {
    household: HouseholdId,
    record: Option<Vec<u8>>,
    tail: Option<Vec<u8>>,
}

impl Last {
    fn take(&mut self, kept: Kept) {
        match kept {
            // What came before is in the record.
            Kept::Record(record) => (self.record, self.tail) = (Some(record), None),
            Kept::Tail(tail) => self.tail = Some(tail),
        }
    }
}
