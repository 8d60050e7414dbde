//! One shard: the single writer of its households. A synchronous state machine without threads:
//! [`Shard::take`] decides an input and gives what must be committed; [`Shard::durable`] and
//! [`Shard::failed`] tell it what became of that.
//!
//! Decisions run ahead of the disk: the next input of a household is decided on facts that are
//! not yet durable. Nobody is told before they are, and when a commit fails everything that was
//! decided on top of it is forgotten.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use hearthway_core::budget::{Noting, Unasked};
use hearthway_core::code::{Code, Refusal};
use hearthway_core::decision::{Decision, Effect, Reply};
use hearthway_core::id::{DeviceKey, HouseholdId, InputId};
use hearthway_core::input::{Command, Input, What};
use hearthway_core::limits::PAYLOAD_BYTES_MAX;
use hearthway_core::model::Household;
use hearthway_core::report;
use hearthway_core::time::Timestamp;
use hearthway_core::wire::DownMessage;

use super::budget::{Asking, Draws};
use super::codes::HandedOut;
use super::elsewhere::{Leavers, Words};
use super::facts::{Facts, read_household};
use super::house::{House, MOVES_IN_FLIGHT_MAX};
use super::job::{InputJob, Job, Queued, retry};
use super::outbox::{Outgoing, delivery};
use super::poison::{self, POISON_RETRY, Poisoned, guarded};
use super::prepared::{Kept, Prepared, Read, arrival};
use super::routes::{Admitted, Route};
use super::rows::{self, LastSnapshot, LogItem, MoveRow, Told, ToldRow};
use super::sealing::Sealing;
use super::seen::{self, Mark, Remembered};
use super::sends::Sendings;
use super::speak::{self, Cause};
use super::stock::PutAside;
use super::tail::Tail;
use super::{Outcome, Repeat, Target, Waiter, log, timers};
use crate::store::codec::{self, NOT_SEALED, Schema};
use crate::store::sealed::Subject;
use crate::store::{Commit, StoreError, VALUE_BYTES_MAX, Write, keys};

/// Repeats of one message that wait for its first to become durable.
const REPEATS_WAITING_MAX: usize = 1_024;
/// A record above this is copied before an input is applied, so that an input that would make it
/// too large can be refused. Below it no single message can.
const ROOMY_RECORD_BYTES_MAX: usize = VALUE_BYTES_MAX - 3 * PAYLOAD_BYTES_MAX;
/// Bytes that most inputs add to a record at most.
const RECORD_GROWTH_BYTES: usize = 128;
/// Bytes that a stored value may have; a margin below the store's own bound for its envelope.
const ROW_BYTES_MAX: usize = VALUE_BYTES_MAX - 64;

/// How many more households than its share a shard may have in memory, as a part of all.
const UNEVEN_SHARE: usize = 16;

pub(super) struct Shard {
    house: Arc<House>,
    index: usize,
    /// Raised when what was decided is forgotten: older commits must not be made.
    epoch: u64,
    facts: Facts,
    /// Ids of messages whose commit is in flight, with the repeats that wait for it.
    in_flight: HashMap<Mark, Vec<Waiter>>,
}

/// What follows from one job.
#[derive(Default)]
pub(super) struct Step {
    /// To be committed.
    pub(super) commit: Option<Box<Prepared>>,
    /// An input that the rules failed on, to be kept.
    pub(super) poisoned: Option<Box<Poisoned>>,
    /// To be answered at once: nothing of it needs the disk.
    pub(super) answers: Vec<(Waiter, Outcome)>,
    /// To be said at once.
    pub(super) outgoing: Vec<Outgoing>,
    /// To be passed on to the shard of another household.
    pub(super) forward: Option<(HouseholdId, Job)>,
}

impl Step {
    fn answer(waiter: Waiter, outcome: Outcome) -> Step {
        Step { answers: vec![(waiter, outcome)], ..Step::default() }
    }
}

impl Shard {
    pub(super) fn new(house: Arc<House>, index: usize) -> Shard {
        // Households do not spread evenly: without room for that the shard that has more reads them again and again.
        let max = house.settings.cached_households_max;
        let max = (max + max / UNEVEN_SHARE).div_ceil(house.inboxes.len());
        Shard { house, index, epoch: 0, facts: Facts::new(max), in_flight: HashMap::new() }
    }

    pub(super) fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Decides one job.
    pub(super) fn take(&mut self, job: Job) -> Step {
        match job {
            Job::Input(input) => self.take_input(input),
            Job::Timer { household, deadline } => self.take_timer(household, deadline),
            Job::Reachable(device) => self.take_reachable(device),
            Job::Reseal { household, waiter } => self.reseal(household, waiter),
            Job::Wake => Step::default(),
            Job::Barrier(done) => {
                let _ = done.send(());
                Step::default()
            }
        }
    }

    /// A commit is on disk. Gives the repeats that waited for it.
    pub(super) fn durable(&mut self, prepared: &Prepared) -> Vec<Waiter> {
        if let Some(known) = self.facts.get_mut(prepared.household) {
            known.in_flight = known.in_flight.saturating_sub(1);
            if known.in_flight == 0 {
                known.pages.settle();
                known.ledgers.settle();
            }
        }
        prepared.mark.as_ref().and_then(|mark| self.in_flight.remove(mark)).unwrap_or_default()
    }

    /// A commit failed: everything decided and not on disk is forgotten. Gives the repeats that
    /// waited; they are not acknowledged either.
    pub(super) fn failed(&mut self) -> Vec<Waiter> {
        self.epoch += 1;
        let again = self.house.clock.now() + timers::RETRY;
        for household in self.facts.clear() {
            // Its timer may have been set by what is forgotten: look at it again.
            self.house.timers.set(household, Some(again));
        }
        self.in_flight.drain().flat_map(|(_, waiters)| waiters).collect()
    }

    /// The facts as they are on disk.
    pub(super) fn durable_facts(&mut self, household: HouseholdId) -> Result<Option<Arc<Household>>, StoreError> {
        match self.facts.durable(household) {
            Some(facts) => Ok(Some(facts).filter(|facts| facts.seq > 0)),
            None => {
                Ok(read_household(household, &*self.house.store, self.house.decider)?.map(|stored| stored.row.facts))
            }
        }
    }

    /// What the household is told is counted for its people's other homes, from what is decided so far on.
    pub(super) fn watch(&mut self, household: HouseholdId) -> Result<(), StoreError> {
        let facts = self.load(household)?;
        self.house.budgets.watch(&facts);
        Ok(())
    }

    fn take_input(&mut self, mut job: Box<InputJob>) -> Step {
        let household = match job.to.clone() {
            Target::Household(household) => household,
            Target::Device(device) => {
                let counted = job.queued.take().map(Queued::taken).is_some();
                match self.house.directory.admit(&device, Job::Input(job), counted, &self.house.inboxes) {
                    Admitted::Here(Job::Input(admitted), household) => {
                        job = admitted;
                        household
                    }
                    Admitted::Unknown(Job::Input(admitted)) => {
                        job = admitted;
                        if !matches!(job.input.what, What::Command(Command::Register { .. })) {
                            return Step::answer(job.waiter, Outcome::Committed(Err(unknown(&device))));
                        }
                        HouseholdId::prospect(&device)
                    }
                    Admitted::Full(Job::Input(job)) => return Step::answer(job.waiter, retry("the device is moving")),
                    // An input comes back as an input.
                    Admitted::Parked | Admitted::Here(..) | Admitted::Unknown(_) | Admitted::Full(_) => {
                        return Step::default();
                    }
                }
            }
        };
        if self.house.inboxes.shard_of(household) != self.index {
            return Step { forward: Some((household, Job::Input(job))), ..Step::default() };
        }
        self.house.meters.inputs.increment(1);
        let InputJob { input, repeat, waiter, .. } = *job;
        let mark = if repeat == Repeat::Ignore { None } else { seen::mark(&input) };
        if repeat == Repeat::Remember
            && let Some(mark) = &mark
        {
            if let Some(waiters) = self.in_flight.get_mut(mark) {
                self.house.meters.duplicates.increment(1);
                if waiters.len() >= REPEATS_WAITING_MAX {
                    return Step::answer(waiter, retry("too many repeats of one message wait"));
                }
                waiters.push(waiter);
                return Step::default();
            }
            match self.was_seen(household, mark) {
                Ok(None) => {}
                Ok(Some(told)) => return self.repeated(household, told, &input, waiter),
                Err(error) => return self.unreadable(waiter, &error),
            }
        }
        if let What::Command(command) = &input.what
            && let Some((id, ..)) = arrival(command)
        {
            match self.house.store.get(&keys::move_between(*id)) {
                // Its row goes with the commit of its arrival: it has arrived, and the store had
                // kept what it said it had not.
                Ok(None) => {
                    self.house.move_ended();
                    return Step::answer(waiter, Outcome::Committed(Ok(Reply::Unchanged)));
                }
                Ok(Some(_)) => {}
                Err(error) => return self.unreadable(waiter, &error),
            }
        }
        self.decide(household, input, waiter, mark, false)
    }

    fn take_timer(&mut self, household: HouseholdId, deadline: Timestamp) -> Step {
        let now = self.house.clock.now();
        let (seq, next, leaves) = match self.load(household) {
            Ok(facts) => (facts.seq, facts.next_deadline(), facts.stay_over(now)),
            Err(error) => {
                self.house.timers.set(household, Some(now + timers::RETRY));
                return self.unreadable(Waiter::None, &error);
            }
        };
        if next.is_none_or(|next| next > now) {
            self.house.timers.set(household, next);
            return Step::default();
        }
        self.house.meters.timers_fired.increment(1);
        let id = log::timer_id(household, seq, deadline);
        // The end of a stay says in the log whose it was: who had the device asks there until when.
        let (device, what) = match leaves {
            Some(device) => (Some(device), What::Command(Command::EndStay)),
            None => (None, What::Timer),
        };
        let is_end_of_stay = device.is_some();
        let input = self.house.own_input(id, device, now, what);
        let step = self.decide(household, input, Waiter::None, None, true);
        let is_done = step.commit.is_some();
        if step.poisoned.is_some() {
            self.house.timers.set(household, Some(now + POISON_RETRY));
            return step;
        }
        let next = self.facts.get_mut(household).and_then(|known| known.row.facts.next_deadline());
        // A deadline that its own input left standing is tried again, but not at once.
        // Behind a stay that ended, what else is due waits for nothing.
        let again = if is_end_of_stay && is_done { now } else { now + timers::RETRY };
        self.house.timers.set(household, next.map(|next| if next <= now { again } else { next }));
        step
    }

    fn take_reachable(&mut self, device: DeviceKey) -> Step {
        let admitted = self.house.directory.admit(&device, Job::Reachable(device.clone()), false, &self.house.inboxes);
        let Admitted::Here(job, household) = admitted else { return Step::default() };
        if self.house.inboxes.shard_of(household) != self.index {
            return Step { forward: Some((household, job)), ..Step::default() };
        }
        let house = &self.house;
        if house.trouble().is_some() {
            // What reads show may not be on disk. It waits for the next connection.
            return Step::default();
        }
        let now = house.clock.now();
        let link = house.link();
        let waiting = match house.outbox.resend(&device, now, &*house.store, link.as_ref(), &house.meters) {
            Ok(waiting) => waiting,
            Err(error) => return self.unreadable(Waiter::None, &error),
        };
        let seq = match self.load(household) {
            Ok(facts) => facts.seq,
            Err(error) => return self.unreadable(Waiter::None, &error),
        };
        let id = InputId::derived(&[b"reachable", household.bytes(), &seq.to_be_bytes()]);
        let input = self.house.own_input(id, Some(device), now, What::Reachable { waiting });
        self.decide(household, input, Waiter::None, None, true)
    }

    /// A message that was seen before: what its sender was told is told again, as it is now.
    fn repeated(&mut self, household: HouseholdId, row: ToldRow, input: &Input, waiter: Waiter) -> Step {
        self.house.meters.duplicates.increment(1);
        let facts = match self.durable_facts(household) {
            Ok(facts) => facts.unwrap_or_else(|| Arc::new(Household::empty(household))),
            Err(error) => return self.unreadable(waiter, &error),
        };
        let cause = Cause { again: true, ..Cause::first(&facts, input) };
        let outgoing = row.told.iter().enumerate().filter_map(|(index, told)| {
            let device = input.device.clone()?;
            let message = self.tell_again(&facts, &device, told, input)?;
            let row = speak::render(&cause, index, &device, &message, None);
            let n = self.house.outbox.number(&mut Vec::new());
            Some(Outgoing { delivery: delivery(device, n, row), stored: false })
        });
        let outgoing = outgoing.collect();
        let reply = row.refusal.map_or(Ok(Reply::Unchanged), Err);
        Step { answers: vec![(waiter, Outcome::Duplicate(reply))], outgoing, ..Step::default() }
    }

    fn tell_again(&self, facts: &Household, device: &DeviceKey, told: &Told, input: &Input) -> Option<DownMessage> {
        match told {
            Told::Words(message) => Some((**message).clone()),
            Told::Code => facts
                .devices
                .get(device)?
                .claim
                .as_ref()
                .map(|claim| DownMessage::ClaimCode { code: claim.code.clone(), expires_at: claim.expires_at }),
            Told::Order(id) => facts.orders.get(id).map(|order| DownMessage::Order(order.clone())),
            // What the current set is, only the rules know: asked again, and nothing but the
            // answer is taken.
            Told::Sync => {
                let rules = self.house.rules.current();
                let decision =
                    guarded(|| (self.house.decider.decide)(facts, input, &rules, input.received_at, &Unasked))?;
                decision.effects.into_iter().find_map(|effect| match effect {
                    Effect::Down { message, .. } if matches!(*message, DownMessage::Sync(_)) => Some(*message),
                    _ => None,
                })
            }
        }
    }

    /// The heart: facts, `decide`, and everything that follows as one commit. `own` inputs of the
    /// engine that come to nothing leave no trace.
    fn decide(&mut self, household: HouseholdId, input: Input, waiter: Waiter, mark: Option<Mark>, own: bool) -> Step {
        let facts = match self.load(household) {
            Ok(facts) => facts,
            Err(error) => return self.unreadable(waiter, &error),
        };
        let rules = self.house.rules.current();
        let asking = Asking::new(&self.house);
        let noting = Noting::new(&asking);
        let decided = guarded(|| (self.house.decider.decide)(&facts, &input, &rules, input.received_at, &noting));
        let answers = noting.into_answers();
        // Whatever ends this before the commit gives back what was drawn.
        let (taken, taken_codes, taken_sends, taken_stock, taken_words) = asking.into_taken();
        let Some(decision) = decided else { return self.poisoned(&facts, &input, waiter) };
        if own && decision.changes.is_empty() && decision.effects.is_empty() && decision.trace.candidates.is_empty() {
            return Step::answer(waiter, Outcome::Committed(decision.reply));
        }
        self.count(&decision);
        let leaving = moves(&decision, household);
        if !leaving.is_empty() && self.house.moves.load(Ordering::Relaxed) >= MOVES_IN_FLIGHT_MAX {
            return Step::answer(waiter, retry("many devices are moving"));
        }
        let notes = report::notes(&facts, &decision, &rules);
        let events = self.house.events.of_decision(&facts, &input, &decision, &rules);
        let leavers = match Leavers::of(&*self.house.store, &facts, &input, &decision) {
            Ok(leavers) => leavers,
            Err(error) => return self.unreadable(waiter, &error),
        };
        drop(facts);
        if let Err(error) = self.open_ledgers(household, &notes) {
            return self.unreadable(waiter, &error);
        }
        let told = mark.as_ref().and_then(|_| seen::told(&input, &decision));
        let remembered = mark.as_ref().map(|mark| (mark, told.as_ref()));
        let known = self.facts.get_mut(household).expect("its facts were just read");
        let sealing = match Sealing::of(&*self.house.store, known, &input, &decision) {
            Ok(sealing) => sealing,
            Err(error) => return self.unreadable(waiter, &error),
        };
        let applied = match guarded(|| self.apply(household, &input, &decision, remembered, &leaving)) {
            Some(Ok(applied)) => applied,
            None => return self.poisoned_half_way(household, &input, waiter),
            Some(Err(Unapplied::Refused(refusal))) => return Step::answer(waiter, Outcome::Committed(Err(refusal))),
            Some(Err(Unapplied::Unread(error))) => return self.unreadable(waiter, &error),
        };
        if let Some(mark) = &mark {
            self.in_flight.entry(mark.clone()).or_default();
        }
        let Applied { facts, kept, mut writes, snapshot } = applied;
        let kept = kept.sealed(sealing);
        if let Some(known) = self.facts.get_mut(household).filter(|_| !notes.is_empty()) {
            known.ledgers.write(household, &notes, &mut writes);
        }
        let outcome = decision.reply.clone();
        let mut prepared = Prepared { mark, ..self.prepared(household, kept, sealing, writes, waiter, outcome) };
        prepared.move_on(&self.house, &input, &decision, leaving);
        prepared.follow_devices(&facts, &decision);
        prepared.follow_views(&decision);
        prepared.speak(&self.house, &facts, &input, &decision);
        prepared.follow_budgets(taken, &decision);
        prepared.follow_codes(taken_codes, &decision);
        prepared.follow_sends(taken_sends, &decision);
        prepared.follow_stock(taken_stock, &decision);
        prepared.take_along(leavers);
        prepared.follow_words(&self.house.budgets, taken_words, &facts, &decision);
        prepared.follow_consents(&self.house, &facts, &decision);
        prepared.tell(&self.house, events, input.received_at);
        prepared.write_log(&facts, input, Read { rules: rules.version, answers }, decision, snapshot);
        sealing.of_home(&mut prepared.writes);
        self.house.timers.set(household, facts.next_deadline());
        Step { commit: Some(Box::new(prepared)), ..Step::default() }
    }

    /// A commit of which nothing follows yet.
    fn prepared(
        &self,
        household: HouseholdId,
        kept: Kept,
        sealing: Sealing,
        writes: Vec<Write>,
        waiter: Waiter,
        outcome: Result<Reply, Refusal>,
    ) -> Prepared {
        Prepared {
            shard: self.index,
            epoch: self.epoch,
            household,
            kept,
            sealing,
            writes,
            waiter,
            outcome,
            mark: None,
            routes: Vec::new(),
            codes: Vec::new(),
            outgoing: Vec::new(),
            spoken_to: BTreeSet::new(),
            disconnects: Vec::new(),
            leaving: Vec::new(),
            arriving: None,
            draws: Draws::default(),
            handed_out: HandedOut::default(),
            sendings: Sendings::default(),
            letters: Vec::new(),
            put_aside: PutAside::default(),
            words: Words::default(),
        }
    }

    /// A household goes on under another key, or under none where nobody lives in it: its record is
    /// written with it, and its log begins anew with a snapshot. What is older stays under the old key,
    /// for as long as that is there.
    fn reseal(&mut self, household: HouseholdId, waiter: Waiter) -> Step {
        let store = Arc::clone(&self.house.store);
        let Some(vault) = store.vault() else { return Step::answer(waiter, Outcome::Committed(Ok(Reply::Unchanged))) };
        let facts = match self.load(household) {
            Ok(facts) => facts,
            Err(error) => return self.unreadable(waiter, &error),
        };
        let subject = Subject::household(household);
        vault.retire(subject);
        let known = self.facts.get_mut(household).expect("its facts were just read");
        if known.record_bytes == 0 {
            return Step::answer(waiter, Outcome::Committed(Ok(Reply::Unchanged)));
        }
        known.key = match facts.is_nobodys() {
            true => NOT_SEALED,
            false => match vault.key_for(subject) {
                Ok(key) => key,
                Err(error) => return self.unreadable(waiter, &error),
            },
        };
        let sealing = Sealing { own: known.key, about: known.key };
        known.row.snapshot = LastSnapshot { seq: facts.seq, at: self.house.clock.now() };
        known.tail = Tail::after(facts.seq);
        known.in_flight += 1;
        let record = codec::encode_about(Schema::Household, &known.row, known.record_bytes);
        let kept = Kept::Record(sealing.own(record));
        let snapshot = codec::encode(Schema::Log, &LogItem::Snapshot(facts));
        let writes = vec![
            Write::Append(keys::log(household), sealing.own(snapshot)),
            Write::Delete(keys::household_tail(household)),
        ];
        let prepared = self.prepared(household, kept, sealing, writes, waiter, Ok(Reply::Done));
        Step { commit: Some(Box::new(prepared)), ..Step::default() }
    }

    /// The rules failed on an input: it changes nothing, is kept for its maker and answered.
    fn poisoned(&self, facts: &Household, input: &Input, waiter: Waiter) -> Step {
        self.house.meters.poison.increment(1);
        let device = input.device.as_ref().map(ToString::to_string).unwrap_or_default();
        tracing::error!(device.id = device, household = %facts.id, "The rules failed on an input; it is in its maker's quarantine");
        if matches!(&input.what, What::Command(command) if arrival(command).is_some()) {
            self.house.move_ended(); // its row stays, and the next start tries again
        }
        let refusal = poison::refusal();
        let Some(row) = poison::row(input) else {
            // About no device: nobody has a quarantine to look into, and nobody is owed more than the word.
            let commit = Commit::default();
            return Step {
                poisoned: Some(Box::new(Poisoned { commit, waiter, refusal, outgoing: Vec::new() })),
                ..Step::default()
            };
        };
        let mut outgoing = Vec::new();
        if let What::Device(message) = &input.what {
            let told = DownMessage::Error {
                refusal: refusal.clone(),
                reference: input.message.clone(),
                topic: message.topic().to_owned(),
            };
            let cause = Cause { again: true, ..Cause::first(facts, input) };
            let said = speak::render(&cause, 0, &row.device, &told, None);
            let n = self.house.outbox.number(&mut Vec::new());
            outgoing.push(Outgoing { delivery: delivery(row.device.clone(), n, said), stored: false });
        }
        let commit = Commit { preconditions: Vec::new(), writes: self.house.quarantine.take_in(&row) };
        Step { poisoned: Some(Box::new(Poisoned { commit, waiter, refusal, outgoing })), ..Step::default() }
    }

    /// The rules failed while a decision was being applied: what is in memory may be half changed,
    /// so all that is not on disk is forgotten, as after a failed commit.
    fn poisoned_half_way(&mut self, household: HouseholdId, input: &Input, waiter: Waiter) -> Step {
        let repeats = self.failed();
        let again = || retry("the gateway failed on another message; nothing was changed");
        let mut step = self.poisoned(&Household::empty(household), input, waiter);
        step.answers.extend(repeats.into_iter().map(|waiter| (waiter, again())));
        step
    }

    /// Whether a message was seen, and what its repeat is told.
    fn was_seen(&mut self, household: HouseholdId, mark: &Mark) -> Result<Option<ToldRow>, StoreError> {
        self.load(household)?;
        let known = self.facts.get_mut(household).expect("its facts were just read");
        known.pages.find(&known.row, mark, &*self.house.store)
    }

    /// Has the ledgers at hand that reports count into.
    fn open_ledgers(&mut self, household: HouseholdId, notes: &[report::Note]) -> Result<(), StoreError> {
        match self.facts.get_mut(household).filter(|_| !notes.is_empty()) {
            Some(known) => known.ledgers.open(household, notes, &*self.house.store),
            None => Ok(()),
        }
    }

    /// The household after a decision, and its record. A household that would outgrow its record
    /// refuses the input and stays as it is.
    fn apply(
        &mut self,
        household: HouseholdId,
        input: &Input,
        decision: &Decision,
        remembered: Option<(&Mark, Option<&ToldRow>)>,
        leaving: &[(MoveRow, Route)],
    ) -> Result<Applied, Unapplied> {
        let decider = self.house.decider;
        let store = &*self.house.store;
        let now = input.received_at;
        let known = self.facts.get_mut(household).expect("its facts were just read");
        let mut writes = Vec::with_capacity(4);
        let brings_much = matches!(&input.what, What::Command(command) if arrival(command).is_some());
        let keep = (brings_much || known.record_bytes > ROOMY_RECORD_BYTES_MAX).then(|| known.row.clone());
        let mut follows = leaving.is_empty() && keep.is_none() && known.tail.takes(&decision.changes);
        if let Some((mark, told)) = remembered {
            let remember = known.pages.remember(&mut known.row, mark, now, told, store, &mut writes);
            follows &= remember.map_err(Unapplied::Unread)? == Remembered::Following;
        }
        decider.advance(Arc::make_mut(&mut known.row.facts), decision);
        for (row, _) in leaving {
            known.pages.leave(&mut known.row, &row.device.key, &mut writes);
        }
        let seq = known.row.facts.seq;
        let mut inputs = self.house.settings.snapshot_inputs;
        if store.vault().is_some() && leaving.iter().any(|(row, _)| row.join.is_some()) {
            // The input is sealed with another home's key: the log must be readable without it.
            inputs = 1;
        }
        let snapshot = log::snapshot_is_due(&mut known.row.snapshot, seq, now, inputs);
        if follows && !snapshot {
            let heard = remembered.map(|((device, hash), told)| (device, seen::kept(*hash, told.is_some())));
            let kept = Kept::Tail(known.tail.follow(heard, now, &decision.changes));
            known.in_flight += 1;
            return Ok(Applied { facts: Arc::clone(&known.row.facts), kept, writes, snapshot });
        }
        let record = codec::encode_about(Schema::Household, &known.row, known.record_bytes + RECORD_GROWTH_BYTES);
        if record.len() > ROW_BYTES_MAX {
            if let Some(keep) = keep {
                known.row = keep;
            }
            known.pages.clear();
            let message = format!("this household's record would have {} bytes, more than is kept", record.len());
            return Err(Unapplied::Refused(Refusal::new(Code::PayloadTooLarge, message)));
        }
        known.record_bytes = record.len();
        known.tail = Tail::after(seq);
        known.in_flight += 1;
        Ok(Applied { facts: Arc::clone(&known.row.facts), kept: Kept::Record(record), writes, snapshot })
    }

    fn load(&mut self, household: HouseholdId) -> Result<Arc<Household>, StoreError> {
        let (known, read) = self.facts.load(household, &*self.house.store, self.house.decider)?;
        if read {
            self.house.meters.household_loads.increment(1);
        }
        Ok(Arc::clone(&known.row.facts))
    }

    fn unreadable(&self, waiter: Waiter, error: &StoreError) -> Step {
        self.house.meters.failures.increment(1);
        tracing::warn!(%error, "An input was not decided because the store could not be read");
        Step::answer(waiter, retry("the store cannot be read"))
    }

    fn count(&self, decision: &Decision) {
        if decision.reply.is_err() {
            self.house.meters.refusals.increment(1);
        }
        if let rows::LogVerdict::Accepted { sent, held } = log::verdict(decision) {
            self.house.meters.offers_sent.increment(sent.into());
            self.house.meters.offers_held.increment(held.into());
        }
    }
}

/// A decision that is applied in memory.
struct Applied {
    facts: Arc<Household>,
    kept: Kept,
    /// Of the same commit: what was remembered of the message.
    writes: Vec<Write>,
    /// Whether the log gets a snapshot.
    snapshot: bool,
}

/// Why a decision could not be applied.
enum Unapplied {
    Refused(Refusal),
    Unread(StoreError),
}

fn unknown(device: &DeviceKey) -> Refusal {
    Refusal::new(Code::DeviceUnknown, format!("no device `{device}` is registered"))
}

/// The moves that a decision begins: their rows, and the routes that follow.
fn moves(decision: &Decision, from: HouseholdId) -> Vec<(MoveRow, Route)> {
    let moves = decision.effects.iter().filter_map(|effect| match effect {
        Effect::Move { id, to, device, join, contacts } => {
            let (device, join, contacts) = (device.clone(), join.clone(), contacts.clone());
            let row = MoveRow { id: *id, from, to: *to, device, join, contacts };
            let route = Route::of(&row.device, *to, row.join.as_ref().map(|join| &join.retailer));
            Some((row, route))
        }
        Effect::Down { .. }
        | Effect::DropOffer { .. }
        | Effect::DropAll { .. }
        | Effect::Disconnect { .. }
        | Effect::GiveBack { .. }
        | Effect::GivePartBack { .. }
        | Effect::FreeStock { .. }
        | Effect::StockLeft { .. }
        | Effect::StockParted { .. }
        | Effect::Unsent { .. } => None,
    });
    moves.collect()
}
