//! Which event is tried next: an index in memory over the rows that wait.
//!
//! Events about one subject are told one after the other; while one of them waits to be tried again,
//! those about other subjects go on. A receiver that fails all the time rests as a whole and is asked
//! by one event at a time until it answers.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use hearthway_core::time::{Span, Timestamp};

use crate::engine::events::{EventState, Letter, WebhookKey};

/// Tries at once of one webhook: a receiver that needs 100 ms takes 80 events a second.
pub const IN_FLIGHT_PER_WEBHOOK_MAX: usize = 8;
/// Failures in a row after which a receiver is taken to be down.
const FAILURES_BEFORE_REST: u32 = IN_FLIGHT_PER_WEBHOOK_MAX as u32;
/// The longest rest: a receiver that is up again hears of it soon.
const REST_MAX: Span = Span::minutes(5);
/// The first rest, and the first wait of an event.
const FIRST_WAIT: Span = Span::seconds(5);
/// The longest wait of an event between two tries.
const WAIT_MAX: Span = Span::hours(1);
/// Told events that are kept for a look and a replay.
pub const DELIVERED_KEPT_MAX: usize = 10_000;
/// How long they are kept.
const DELIVERED_KEPT: Span = Span::days(7);
/// Dead letters that are kept.
pub const DEAD_KEPT_MAX: usize = crate::engine::events::WAITING_EVENTS_MAX;
/// How long they are kept: a month in which somebody notices.
const DEAD_KEPT: Span = Span::days(30);
/// Rows deleted with one settled event at most.
const PRUNED_AT_ONCE_MAX: usize = 16;

/// How long an event waits after so many tries: 5 s, then twice as long each time, up to an hour;
/// and up to a quarter more, so that not all come back at once.
pub fn wait_after(attempts: u32, drawn: u64) -> Span {
    jittered(doubled(attempts).min(WAIT_MAX), drawn)
}

fn doubled(times: u32) -> Span {
    Span(FIRST_WAIT.0.saturating_mul(1 << times.saturating_sub(1).min(20)))
}

fn jittered(span: Span, drawn: u64) -> Span {
    let more = u64::try_from(span.0 / 4).unwrap_or(0);
    Span(span.0 + i64::try_from(drawn % (more + 1)).unwrap_or(0))
}

/// What became of a try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turned {
    /// The receiver has it.
    Delivered,
    /// Given up.
    Dead,
    /// To be tried again then.
    Again(Timestamp),
    /// The row is not there any more.
    Gone,
}

/// Where the events about one subject stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turn {
    /// Due.
    Ready,
    /// Due then.
    Later(Timestamp),
    /// One is being tried.
    InFlight,
}

#[derive(Debug)]
struct Subject {
    /// Those that wait, in order.
    numbers: VecDeque<u64>,
    turn: Turn,
}

/// The events of one webhook.
#[derive(Debug, Default)]
struct Line {
    subjects: HashMap<u64, Subject>,
    /// Subjects that are due, by their first event: the oldest goes first.
    ready: BTreeMap<u64, u64>,
    later: BTreeSet<(Timestamp, u64)>,
    in_flight: usize,
    waiting: usize,
    failures: u32,
    rests_until: Option<Timestamp>,
    is_disabled: bool,
    /// Told, by number, with when.
    delivered: BTreeMap<u64, Timestamp>,
    /// Given up, by number, with when.
    dead: BTreeMap<u64, Timestamp>,
}

/// All webhooks.
#[derive(Debug, Default)]
pub struct Queue {
    lines: BTreeMap<WebhookKey, Line>,
    /// Whose turn it was last, so that a long line keeps nobody waiting.
    last: Option<WebhookKey>,
}

impl Queue {
    /// A webhook exists, told or not.
    pub fn open(&mut self, key: &WebhookKey, is_disabled: bool) {
        let line = self.lines.entry(key.clone()).or_default();
        line.is_disabled = is_disabled;
        if !is_disabled {
            // Somebody looked after it.
            (line.failures, line.rests_until) = (0, None);
        }
    }

    /// A webhook is there no more.
    pub fn close(&mut self, key: &WebhookKey) {
        self.lines.remove(key);
    }

    /// An event waits. Twice is once.
    pub fn push(&mut self, letter: &Letter, now: Timestamp) {
        // Those of a webhook that is being deleted are deleted with it.
        let Some(line) = self.lines.get_mut(&letter.webhook) else { return };
        let turn = if letter.next_at > now { Turn::Later(letter.next_at) } else { Turn::Ready };
        let is_new = !line.subjects.contains_key(&letter.subject);
        let subject = line
            .subjects
            .entry(letter.subject)
            .or_insert_with(|| Subject { numbers: VecDeque::with_capacity(1), turn });
        let place = subject.numbers.partition_point(|known| *known < letter.n);
        if subject.numbers.get(place) == Some(&letter.n) {
            return;
        }
        let former = subject.numbers.front().copied();
        // What is being told keeps its place.
        let place = if subject.turn == Turn::InFlight { place.max(1) } else { place };
        subject.numbers.insert(place, letter.n);
        line.waiting += 1;
        let (turn, first) = (subject.turn, subject.numbers.front().copied());
        match (is_new, turn) {
            (true, Turn::Later(at)) => {
                line.later.insert((at, letter.subject));
            }
            (_, Turn::Ready) => {
                former.map(|former| line.ready.remove(&former));
                first.map(|first| line.ready.insert(first, letter.subject));
            }
            (false, Turn::Later(_)) | (_, Turn::InFlight) => {}
        }
    }

    /// A row that is told or given up already.
    pub fn keep(&mut self, key: &WebhookKey, n: u64, state: EventState, at: Timestamp) {
        if let Some(line) = self.lines.get_mut(key) {
            line.keep(n, state, at);
        }
    }

    /// Takes rows out of what is kept, to be told again.
    pub fn unkeep(&mut self, key: &WebhookKey, numbers: &[u64]) {
        if let Some(line) = self.lines.get_mut(key) {
            for n in numbers {
                line.delivered.remove(n);
                line.dead.remove(n);
            }
        }
    }

    /// The next event to be tried, with its subject.
    pub fn take(&mut self, now: Timestamp) -> Option<(WebhookKey, u64, u64)> {
        use std::ops::Bound::{Excluded, Included, Unbounded};
        let after = self.last.clone().map_or(Unbounded, Excluded);
        let until = self.last.clone().map_or(Unbounded, Included);
        let behind = self.lines.range((after, Unbounded)).map(|(key, _)| key.clone());
        let keys: Vec<WebhookKey> = match self.last {
            Some(_) => behind.chain(self.lines.range((Unbounded, until)).map(|(key, _)| key.clone())).collect(),
            None => behind.collect(),
        };
        for key in keys {
            let Some(line) = self.lines.get_mut(&key) else { continue };
            if let Some((n, subject)) = line.take(now) {
                self.last = Some(key.clone());
                return Some((key, n, subject));
            }
        }
        None
    }

    /// Whether nothing is under way and nothing is due.
    #[cfg(test)]
    pub(super) fn is_quiet(&self, now: Timestamp) -> bool {
        self.lines.values().all(|line| {
            let rests = line.is_disabled || line.rests_until.is_some_and(|until| until > now);
            let is_due = !line.ready.is_empty() || line.later.first().is_some_and(|(at, _)| *at <= now);
            line.in_flight == 0 && (rests || !is_due)
        })
    }

    /// When the next event is due that is not due now.
    pub fn next_due(&self) -> Option<Timestamp> {
        self.lines.values().filter_map(Line::next_due).min()
    }

    /// A try ended. Gives the rows that are old enough to go.
    pub fn turned(
        &mut self,
        key: &WebhookKey,
        subject: u64,
        n: u64,
        turned: Turned,
        now: Timestamp,
        drawn: u64,
    ) -> Vec<u64> {
        match self.lines.get_mut(key) {
            Some(line) => line.turned(subject, n, turned, now, drawn),
            None => Vec::new(),
        }
    }

    /// The receiver asks to be left alone until then: all of its events wait, not only the one that it
    /// said so about.
    pub fn rest(&mut self, key: &WebhookKey, until: Timestamp) {
        if let Some(line) = self.lines.get_mut(key) {
            line.rests_until = line.rests_until.max(Some(until));
        }
    }

    /// The receiver wants nothing more, or the one whose event this was said so.
    pub fn disable(&mut self, key: &WebhookKey) {
        if let Some(line) = self.lines.get_mut(key) {
            line.is_disabled = true;
        }
    }

    /// How many wait: of one webhook.
    pub fn waiting(&self, key: &WebhookKey) -> usize {
        self.lines.get(key).map_or(0, |line| line.waiting)
    }

    /// How many dead letters one webhook has.
    pub fn dead(&self, key: &WebhookKey) -> usize {
        self.lines.get(key).map_or(0, |line| line.dead.len())
    }

    /// How many wait, of all, and how many webhooks are disabled.
    pub fn sums(&self) -> (usize, usize) {
        let waiting = self.lines.values().map(|line| line.waiting).sum();
        (waiting, self.lines.values().filter(|line| line.is_disabled).count())
    }

    /// How many receivers are taken to be down.
    pub fn resting(&self) -> usize {
        self.lines.values().filter(|line| line.rests_until.is_some() && !line.is_disabled).count()
    }
}

impl Line {
    fn take(&mut self, now: Timestamp) -> Option<(u64, u64)> {
        if self.is_disabled || self.rests_until.is_some_and(|until| until > now) {
            return None;
        }
        // A receiver that was down is asked by one event.
        let room = if self.rests_until.is_some() { 1 } else { IN_FLIGHT_PER_WEBHOOK_MAX };
        if self.in_flight >= room {
            return None;
        }
        while let Some((at, mark)) = self.later.first().copied().filter(|(at, _)| *at <= now) {
            self.later.remove(&(at, mark));
            self.make_ready(mark);
        }
        let (n, mark) = self.ready.pop_first()?;
        if let Some(subject) = self.subjects.get_mut(&mark) {
            subject.turn = Turn::InFlight;
        }
        self.in_flight += 1;
        Some((n, mark))
    }

    fn make_ready(&mut self, mark: u64) {
        let Some(subject) = self.subjects.get_mut(&mark) else { return };
        subject.turn = Turn::Ready;
        if let Some(first) = subject.numbers.front() {
            self.ready.insert(*first, mark);
        }
    }

    fn next_due(&self) -> Option<Timestamp> {
        if self.is_disabled {
            return None;
        }
        let event = if self.ready.is_empty() { self.later.first().map(|(at, _)| *at) } else { None };
        match self.rests_until {
            // One is on its way, and tells.
            Some(_) if self.in_flight > 0 => None,
            Some(until) => match (self.ready.is_empty(), event) {
                (false, _) => Some(until),
                (true, Some(event)) => Some(event.max(until)),
                (true, None) => None,
            },
            None => event,
        }
    }

    fn turned(&mut self, mark: u64, n: u64, turned: Turned, now: Timestamp, drawn: u64) -> Vec<u64> {
        self.in_flight = self.in_flight.saturating_sub(1);
        match turned {
            Turned::Delivered => {
                let was_down = self.rests_until.take().is_some();
                self.failures = 0;
                self.keep(n, EventState::Delivered, now);
                self.done(mark, n);
                if was_down {
                    // Whoever waited because it was down need not wait any longer.
                    for (_, mark) in std::mem::take(&mut self.later) {
                        self.make_ready(mark);
                    }
                }
            }
            Turned::Dead => {
                self.failed(now, drawn);
                self.keep(n, EventState::Dead, now);
                self.done(mark, n);
            }
            Turned::Again(at) => {
                self.failed(now, drawn);
                if let Some(subject) = self.subjects.get_mut(&mark) {
                    subject.turn = Turn::Later(at);
                    self.later.insert((at, mark));
                }
            }
            Turned::Gone => self.done(mark, n),
        }
        self.prune(now)
    }

    fn failed(&mut self, now: Timestamp, drawn: u64) {
        self.failures = self.failures.saturating_add(1);
        if self.failures >= FAILURES_BEFORE_REST {
            let rest = doubled(self.failures - FAILURES_BEFORE_REST + 1).min(REST_MAX);
            self.rests_until = Some(now + jittered(rest, drawn));
        }
    }

    /// The first event about a subject is settled; the next one may go.
    fn done(&mut self, mark: u64, n: u64) {
        let Some(subject) = self.subjects.get_mut(&mark) else { return };
        if let Some(at) = subject.numbers.iter().position(|known| *known == n) {
            subject.numbers.remove(at);
            self.waiting = self.waiting.saturating_sub(1);
        }
        if subject.numbers.is_empty() {
            self.subjects.remove(&mark);
        } else {
            self.make_ready(mark);
        }
    }

    fn keep(&mut self, n: u64, state: EventState, at: Timestamp) {
        match state {
            EventState::Delivered => self.delivered.insert(n, at),
            EventState::Dead => self.dead.insert(n, at),
            EventState::Waiting => None,
        };
    }

    /// Rows that are too old, or too many.
    fn prune(&mut self, now: Timestamp) -> Vec<u64> {
        let mut gone = Vec::new();
        let bounds =
            [(&mut self.delivered, DELIVERED_KEPT_MAX, DELIVERED_KEPT), (&mut self.dead, DEAD_KEPT_MAX, DEAD_KEPT)];
        for (kept, number_max, age_max) in bounds {
            while gone.len() < PRUNED_AT_ONCE_MAX
                && let Some(oldest) = kept.first_entry()
                && (now - *oldest.get() > age_max || kept.len() > number_max)
            {
                gone.extend(kept.pop_first().map(|(n, _)| n));
            }
        }
        gone
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use hearthway_core::id::{RetailerId, WebhookId};
    use hearthway_core::model::Tenant;
    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, Clone)]
    enum Step {
        /// An event about a subject, due after so many seconds.
        Push(u64, i64),
        /// The next one is tried.
        Take,
        /// One of those under way ends: which, and how.
        Turn(usize, u8),
        /// So many seconds pass.
        Wait(i64),
        /// An event that was settled is to be told again.
        Replay(usize),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            3 => (0..4u64, prop_oneof![Just(0i64), 0..600i64]).prop_map(|(subject, after)| Step::Push(subject, after)),
            4 => Just(Step::Take),
            3 => (any::<usize>(), 0..4u8).prop_map(|(which, how)| Step::Turn(which, how)),
            2 => (0..900i64).prop_map(Step::Wait),
            1 => any::<usize>().prop_map(Step::Replay),
        ]
    }

    fn key() -> WebhookKey {
        let tenant = Tenant::Retailer(RetailerId::new("shop-a").unwrap());
        WebhookKey { tenant, id: WebhookId::new("w").unwrap() }
    }

    #[test]
    fn waits_grow_from_five_seconds_to_an_hour() {
        let waits: Vec<i64> = (1..14).map(|attempts| wait_after(attempts, 0).0 / 1_000).collect();
        assert_eq!(waits, [5, 10, 20, 40, 80, 160, 320, 640, 1280, 2560, 3600, 3600, 3600]);
        for drawn in [1, 77, u64::MAX] {
            let wait = wait_after(3, drawn);
            assert!((Span::seconds(20)..=Span::seconds(25)).contains(&wait), "{wait}");
        }
        assert_eq!(wait_after(u32::MAX, 0), Span::hours(1));
    }

    proptest! {
        /// Whatever happens in whatever order: one event about a subject at a time, the oldest of it first,
        /// never more at once than may be, and in the end nothing is left.
        #[test]
        fn each_subject_goes_in_order_and_nothing_is_left(steps in proptest::collection::vec(step(), 1..120)) {
            let (mut queue, key, mut now) = (Queue::default(), key(), Timestamp(0));
            queue.open(&key, false);
            let mut waiting: BTreeMap<u64, BTreeSet<u64>> = BTreeMap::new();
            let (mut under_way, mut settled, mut n) = (Vec::<(u64, u64)>::new(), Vec::<(u64, u64)>::new(), 0);
            let letter = |n, subject, next_at| Letter { webhook: key.clone(), n, subject, next_at };
            for step in steps {
                match step {
                    Step::Push(subject, after) => {
                        n += 1;
                        waiting.entry(subject).or_default().insert(n);
                        queue.push(&letter(n, subject, now + Span::seconds(after)), now);
                    }
                    Step::Take => {
                        let Some((_, taken, subject)) = queue.take(now) else { continue };
                        prop_assert!(under_way.iter().all(|(_, other)| *other != subject), "two of one subject");
                        prop_assert_eq!(waiting[&subject].first(), Some(&taken), "not the oldest");
                        under_way.push((taken, subject));
                        prop_assert!(under_way.len() <= IN_FLIGHT_PER_WEBHOOK_MAX);
                    }
                    Step::Turn(which, how) if !under_way.is_empty() => {
                        let (n, subject) = under_way.swap_remove(which % under_way.len());
                        let turned = match how {
                            0 => Turned::Again(now + Span::seconds(30)),
                            1 => Turned::Dead,
                            2 => Turned::Delivered,
                            _ => Turned::Again(now),
                        };
                        if matches!(turned, Turned::Dead | Turned::Delivered) {
                            waiting.get_mut(&subject).unwrap().remove(&n);
                            settled.push((n, subject));
                        }
                        queue.turned(&key, subject, n, turned, now, 3);
                    }
                    Step::Turn(..) => {}
                    Step::Wait(seconds) => now = now + Span::seconds(seconds),
                    Step::Replay(which) if !settled.is_empty() => {
                        let (n, subject) = settled.swap_remove(which % settled.len());
                        // What is under way keeps its turn: it may not be overtaken.
                        if under_way.iter().all(|(_, other)| *other != subject) {
                            waiting.get_mut(&subject).unwrap().insert(n);
                            queue.unkeep(&key, &[n]);
                            queue.push(&letter(n, subject, now), now);
                        }
                    }
                    Step::Replay(_) => {}
                }
                let number: usize = waiting.values().map(BTreeSet::len).sum();
                prop_assert_eq!(queue.waiting(&key), number);
            }
            for (n, subject) in under_way {
                waiting.get_mut(&subject).unwrap().remove(&n);
                queue.turned(&key, subject, n, Turned::Delivered, now, 3);
            }
            for _ in 0..10_000 {
                if let Some((_, n, subject)) = queue.take(now) {
                    prop_assert_eq!(waiting.get_mut(&subject).unwrap().pop_first(), Some(n));
                    queue.turned(&key, subject, n, Turned::Delivered, now, 3);
                } else if let Some(due) = queue.next_due() {
                    prop_assert!(due > now, "it is due and does not go");
                    now = due;
                } else {
                    break;
                }
            }
            prop_assert!(waiting.values().all(BTreeSet::is_empty), "left behind: {waiting:?}");
        }
    }
}
