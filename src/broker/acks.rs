//! Acknowledgements in the order of arrival, each after its commit.
//!
//! MQTT asks for PUBACKs in the order in which the publishes came; commits of different homes end
//! in any order. One of these per connection and never reused, so a late commit cannot
//! acknowledge on a newer connection.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use tokio::sync::Notify;

use super::line::{ACKNOWLEDGEMENTS_MAX, Acknowledger};

/// The acknowledgements that one connection owes.
pub struct Acks {
    line: Acknowledger,
    owed: Mutex<Owed>,
    failed: Notify,
}

/// In the order of arrival; bounded by the packet ids that there are.
#[derive(Default)]
struct Owed {
    first: u64,
    queue: VecDeque<Ack>,
    why_failed: Option<String>,
}

struct Ack {
    id: u16,
    qos: u8,
    done: bool,
}

impl Acks {
    /// For one connection.
    pub fn new(line: Acknowledger) -> Acks {
        Acks { line, owed: Mutex::default(), failed: Notify::new() }
    }

    /// A message came. What it gives back names the acknowledgement.
    pub fn expect(&self, id: u16, qos: u8) -> u64 {
        let mut owed = self.owed.lock().unwrap_or_else(PoisonError::into_inner);
        owed.queue.push_back(Ack { id, qos, done: qos == 0 });
        let place = owed.first + owed.queue.len() as u64 - 1;
        let is_beyond = owed.queue.len() > ACKNOWLEDGEMENTS_MAX;
        drop(owed);
        if is_beyond {
            self.fail("the broker sends more unacknowledged messages than there are packet ids".to_owned());
        }
        place
    }

    /// A message is done with: its acknowledgement leaves after those before it.
    pub fn done(&self, place: u64) {
        let mut owed = self.owed.lock().unwrap_or_else(PoisonError::into_inner);
        let first = owed.first;
        let ack = place.checked_sub(first).and_then(|place| owed.queue.get_mut(usize::try_from(place).ok()?));
        if let Some(ack) = ack {
            ack.done = true;
        }
        while owed.queue.front().is_some_and(|ack| ack.done)
            && let Some(ack) = owed.queue.pop_front()
        {
            owed.first += 1;
            self.line.acknowledge(ack.id, ack.qos);
        }
    }

    /// A message could not be made durable: the connection must end, so that it comes again.
    pub fn fail(&self, why: String) {
        self.owed.lock().unwrap_or_else(PoisonError::into_inner).why_failed.get_or_insert(why);
        self.failed.notify_one();
    }

    /// Resolves when the connection must end.
    pub async fn failure(&self) -> String {
        loop {
            let why = self.owed.lock().unwrap_or_else(PoisonError::into_inner).why_failed.clone();
            match why {
                Some(why) => return why,
                None => self.failed.notified().await,
            }
        }
    }

    /// Whether nothing is owed.
    pub fn are_settled(&self) -> bool {
        self.owed.lock().unwrap_or_else(PoisonError::into_inner).queue.is_empty()
    }
}
