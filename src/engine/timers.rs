//! The next deadline of every household that has one.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, PoisonError};

use hearthway_core::id::HouseholdId;
use hearthway_core::time::{Span, Timestamp};

/// When a deadline is tried again whose input changed nothing about it, or could not be
/// committed: often enough for people, seldom enough for a broken disk.
pub(super) const RETRY: Span = Span::seconds(30);

/// Deadlines, soonest first. At most one per household, so it is bounded by their number.
#[derive(Default)]
pub(super) struct Timers {
    inner: Mutex<Deadlines>,
    /// Told when the soonest deadline came nearer.
    pub(super) nearer: tokio::sync::Notify,
}

#[derive(Default)]
struct Deadlines {
    soonest: BTreeSet<(Timestamp, HouseholdId)>,
    of: HashMap<HouseholdId, Timestamp>,
}

impl Timers {
    /// A household's next deadline, or that it has none.
    pub(super) fn set(&self, household: HouseholdId, deadline: Option<Timestamp>) {
        let mut inner = self.lock();
        let known = inner.of.get(&household).copied();
        if known == deadline {
            return;
        }
        if let Some(known) = known {
            inner.soonest.remove(&(known, household));
            inner.of.remove(&household);
        }
        let Some(deadline) = deadline else { return };
        inner.of.insert(household, deadline);
        inner.soonest.insert((deadline, household));
        if inner.soonest.first() == Some(&(deadline, household)) {
            self.nearer.notify_one();
        }
    }

    /// The soonest deadline.
    pub(super) fn soonest(&self) -> Option<Timestamp> {
        self.lock().soonest.first().map(|(at, _)| *at)
    }

    /// Takes one deadline that is due at `now`. Whoever takes it sees to it that the household's
    /// next one is set.
    pub(super) fn due(&self, now: Timestamp) -> Option<(HouseholdId, Timestamp)> {
        let mut inner = self.lock();
        let (at, household) = *inner.soonest.first()?;
        if at > now {
            return None;
        }
        inner.soonest.remove(&(at, household));
        inner.of.remove(&household);
        Some((household, at))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Deadlines> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn deadlines_come_soonest_first_and_a_later_word_replaces_an_earlier_one() {
        let timers = Timers::default();
        let [a, b] = [b"a", b"b"].map(|name| HouseholdId::derived(&[name]));
        timers.set(a, Some(Timestamp(30)));
        timers.set(b, Some(Timestamp(20)));
        timers.set(a, Some(Timestamp(10)));
        assert_eq!(timers.soonest(), Some(Timestamp(10)));
        assert_eq!(timers.due(Timestamp(9)), None);
        assert_eq!(timers.due(Timestamp(30)), Some((a, Timestamp(10))));
        assert_eq!(timers.due(Timestamp(30)), Some((b, Timestamp(20))));
        assert_eq!(timers.due(Timestamp(99)), None);
    }
}
