//! A device's outgoing post: what waits, what is under way, what must be sent again, and the
//! faults that befall it on the way.

use std::collections::{BTreeMap, VecDeque};

use hearthway_core::time::Span;

use crate::fleet::Faults;
use crate::oracle::Duty;
use crate::rng::Stream;

/// Publishes in flight at most; a small appliance keeps few.
pub const WINDOW: u16 = 16;
/// Messages that a device without network keeps; the oldest report goes first.
const LETTERS_MAX: usize = 512;

/// One message until it is acknowledged.
#[derive(Debug, Clone)]
pub struct Letter {
    /// Its id in the envelope.
    pub id: String,
    /// The topic below the device's root.
    pub tail: &'static str,
    /// Its bytes.
    pub payload: Vec<u8>,
    /// What it obliges the gateway to.
    pub duty: Duty,
    /// Whether it left at least once.
    pub left: bool,
    copies_under_way: u8,
    send_twice: bool,
    ignore_ack: bool,
}

/// What becomes of a message that was just written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It may leave at once.
    Ready,
    /// It is held back for so long.
    Held(Span),
}

/// The post of one device.
#[derive(Debug)]
pub struct Post {
    letters: BTreeMap<u64, Letter>,
    ready: VecDeque<u64>,
    under_way: u16,
    next_ticket: u64,
    /// Held until the next letter has passed it.
    overtaken: Option<u64>,
    faults: Faults,
    luck: Stream,
    /// Faults done so far.
    pub faults_done: u64,
    /// Letters thrown away because too many waited.
    pub thrown_away: u64,
}

impl Post {
    /// An empty post that suffers these faults.
    pub fn new(faults: Faults, luck: Stream) -> Post {
        Post {
            letters: BTreeMap::new(),
            ready: VecDeque::new(),
            under_way: 0,
            next_ticket: 1,
            overtaken: None,
            faults,
            luck,
            faults_done: 0,
            thrown_away: 0,
        }
    }

    /// The number that the next letter gets.
    pub fn next_number(&self) -> u64 {
        self.next_ticket
    }

    /// Takes a message. A held one must be [`Post::release`]d by its ticket when its time comes.
    pub fn take(&mut self, id: String, tail: &'static str, payload: Vec<u8>, duty: Duty) -> (u64, Fate) {
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        // Connection and identity are left alone: faults there are the offline windows.
        let exempt = matches!(tail, "presence" | "desc" | "up/sync" | "up/claim");
        let lost = self.luck.happens(self.faults.loss) && !exempt;
        let lost_on_the_way_back = self.luck.happens(0.5);
        let send_twice = self.luck.happens(self.faults.duplicate) && !exempt;
        let delayed = self.luck.happens(self.faults.delay) && !exempt;
        let overtaken = self.luck.happens(self.faults.reorder) && !exempt;
        let minutes = self.luck.between(1.0, 20.0);
        let ignore_ack = lost && lost_on_the_way_back;
        let letter = Letter { id, tail, payload, duty, left: false, copies_under_way: 0, send_twice, ignore_ack };
        self.letters.insert(ticket, letter);
        self.faults_done += [lost, send_twice, delayed, overtaken].into_iter().filter(|done| *done).count() as u64;
        let passed = self.overtaken.take();
        let fate = if delayed || (lost && !lost_on_the_way_back) {
            Fate::Held(Span((minutes * 60_000.0) as i64))
        } else if overtaken {
            self.overtaken = Some(ticket);
            Fate::Held(Span::minutes(10))
        } else {
            self.ready.push_back(ticket);
            Fate::Ready
        };
        if let Some(passed) = passed {
            self.release(passed);
        }
        self.throw_away();
        (ticket, fate)
    }

    /// Lets a held or unanswered letter go (again).
    pub fn release(&mut self, ticket: u64) {
        let idle = self.letters.get(&ticket).is_some_and(|letter| letter.copies_under_way == 0);
        if idle && !self.ready.contains(&ticket) {
            self.ready.push_back(ticket);
        }
        if self.overtaken == Some(ticket) {
            self.overtaken = None;
        }
    }

    /// Lets all letters go: the story is over, and what is owed must come in.
    pub fn release_all(&mut self) {
        let tickets: Vec<u64> = self.letters.keys().copied().collect();
        for ticket in tickets {
            self.release(ticket);
        }
    }

    /// The next letter to publish, where one may be; it counts as under way from here.
    pub fn next(&mut self) -> Option<(u64, Letter)> {
        while self.under_way < WINDOW {
            let ticket = self.ready.pop_front()?;
            let Some(letter) = self.letters.get_mut(&ticket) else { continue };
            let as_it_was = letter.clone();
            letter.left = true;
            letter.copies_under_way += 1;
            if std::mem::take(&mut letter.send_twice) {
                self.ready.push_back(ticket);
            }
            self.under_way += 1;
            return Some((ticket, as_it_was));
        }
        None
    }

    /// An acknowledgement. Gives the letter's id, and whether it must be sent again because the
    /// device did not notice the acknowledgement.
    pub fn acked(&mut self, ticket: u64) -> Option<(String, bool)> {
        let letter = self.letters.get_mut(&ticket)?;
        if letter.copies_under_way == 0 {
            return None;
        }
        letter.copies_under_way -= 1;
        self.under_way = self.under_way.saturating_sub(1);
        let id = letter.id.clone();
        let again = std::mem::take(&mut letter.ignore_ack);
        if letter.copies_under_way == 0 && !again && !self.ready.contains(&ticket) {
            self.letters.remove(&ticket);
        }
        Some((id, again))
    }

    /// The connection is gone: what was under way must be sent again, in its old order.
    pub fn disconnected(&mut self) {
        self.under_way = 0;
        let mut again: Vec<u64> = Vec::new();
        for (ticket, letter) in &mut self.letters {
            if std::mem::take(&mut letter.copies_under_way) > 0 && !self.ready.contains(ticket) {
                again.push(*ticket);
            }
        }
        // A birth belongs to its connection; the next one writes its own.
        for ticket in again.into_iter().rev() {
            self.ready.push_front(ticket);
        }
    }

    /// Forgets letters that belong to a connection that is over.
    pub fn forget(&mut self, tails: &[&str]) -> Vec<String> {
        let gone: Vec<u64> =
            self.letters.iter().filter(|(_, letter)| tails.contains(&letter.tail)).map(|(ticket, _)| *ticket).collect();
        self.ready.retain(|ticket| !gone.contains(ticket));
        gone.iter().filter_map(|ticket| self.letters.remove(ticket)).map(|letter| letter.id).collect()
    }

    /// Whether nothing waits and nothing is under way.
    pub fn is_empty(&self) -> bool {
        self.letters.is_empty()
    }

    fn throw_away(&mut self) {
        while self.letters.len() > LETTERS_MAX {
            // What a person did is kept; measured values are what a full device forgets.
            let oldest = self
                .letters
                .iter()
                .find(|(_, letter)| !letter.left && matches!(letter.tail, "up/telemetry" | "up/slot" | "up/event"));
            let Some(ticket) = oldest.map(|(ticket, _)| *ticket) else { return };
            self.letters.remove(&ticket);
            self.ready.retain(|waiting| *waiting != ticket);
            self.thrown_away += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn post(faults: Faults) -> Post {
        Post::new(faults, Stream::of(7, &["post"]))
    }
    fn write(post: &mut Post, id: &str) -> (u64, Fate) {
        post.take(id.into(), "up/telemetry", vec![], Duty::Keep)
    }

    #[test]
    fn what_was_under_way_when_the_connection_broke_is_sent_again_in_order() {
        let mut post = post(Faults::default());
        for id in ["a", "b", "c"] {
            write(&mut post, id);
        }
        let sent: Vec<u64> = std::iter::from_fn(|| post.next()).map(|(ticket, _)| ticket).collect();
        assert_eq!(post.acked(sent[0]), Some(("a".into(), false)));
        post.disconnected();
        let again: Vec<String> = std::iter::from_fn(|| post.next()).map(|(_, letter)| letter.id).collect();
        assert_eq!(again, ["b", "c"]);
    }

    #[test]
    fn a_duplicate_goes_out_twice_with_one_id_and_is_done_after_two_acknowledgements() {
        let mut post = post(Faults { duplicate: 1.0, ..Faults::default() });
        let (ticket, _) = write(&mut post, "a");
        let ids: Vec<String> = std::iter::from_fn(|| post.next()).map(|(_, letter)| letter.id).collect();
        assert_eq!(ids, ["a", "a"]);
        post.acked(ticket);
        assert!(!post.is_empty());
        post.acked(ticket);
        assert!(post.is_empty());
    }

    #[test]
    fn a_reordered_letter_leaves_after_the_next_one() {
        let mut post = post(Faults { reorder: 1.0, ..Faults::default() });
        assert!(matches!(write(&mut post, "a").1, Fate::Held(_)));
        post.faults.reorder = 0.0;
        write(&mut post, "b");
        let order: Vec<String> = std::iter::from_fn(|| post.next()).map(|(_, letter)| letter.id).collect();
        assert_eq!(order, ["b", "a"]);
    }

    #[test]
    fn a_lost_letter_is_held_or_its_acknowledgement_goes_unnoticed() {
        let mut post = post(Faults { loss: 1.0, ..Faults::default() });
        let (mut held, mut unnoticed) = (0, 0);
        for n in 0..40 {
            let (ticket, fate) = write(&mut post, &format!("m{n}"));
            match fate {
                Fate::Held(_) => held += 1,
                Fate::Ready => {
                    post.next();
                    assert_eq!(post.acked(ticket), Some((format!("m{n}"), true)));
                    unnoticed += 1;
                }
            }
        }
        assert!(held > 8 && unnoticed > 8, "{held} {unnoticed}");
    }

    #[test]
    fn no_more_than_the_window_is_under_way_and_a_long_silence_forgets_the_oldest_reports() {
        let mut post = post(Faults::default());
        for n in 0..LETTERS_MAX + 10 {
            write(&mut post, &format!("m{n}"));
        }
        assert_eq!(post.thrown_away, 10);
        assert_eq!(std::iter::from_fn(|| post.next()).count(), usize::from(WINDOW));
    }
}
