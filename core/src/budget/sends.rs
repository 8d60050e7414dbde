//! What was sent under caps that all homes of a retailer share: a budget of sends, which refills as time
//! goes by.

use std::collections::{BTreeMap, VecDeque};

use super::SHARED_CAP_MAX;
use crate::id::{OfferId, RetailerId, TriggerId};
use crate::time::{Span, Timestamp};

/// A cap that all homes share, at one instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SharedCap {
    /// At most so many.
    pub max: u32,
    /// Whether it counts only the trigger's own offers.
    pub own_only: bool,
    /// The first instant of what it counts.
    pub from: Timestamp,
    /// The first instant behind it.
    pub until: Timestamp,
}

/// An offer that is about to leave.
#[derive(Debug, Clone, Copy)]
pub struct Sending<'s> {
    /// Whose.
    pub retailer: &'s RetailerId,
    /// By which trigger.
    pub trigger: &'s TriggerId,
    /// The offer.
    pub offer: OfferId,
    /// When.
    pub at: Timestamp,
    /// The shared caps of its trigger; with none it is only noted, for those of others.
    pub caps: &'s [SharedCap],
    /// How long it is remembered: the longest stretch that a shared cap of the retailer counts.
    pub kept: Span,
}

/// An offer that left under a shared cap.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Sent {
    /// When.
    pub at: Timestamp,
    /// The offer.
    pub offer: OfferId,
}

/// What was sent, by retailer and trigger.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sends(BTreeMap<RetailerId, OfRetailer>);

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct OfRetailer {
    all: Line,
    of_trigger: BTreeMap<TriggerId, Line>,
}

/// Sends in order of time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Line(VecDeque<Sent>);

/// Sends that one more send may forget: more than come, so that what is too old goes.
const FORGOTTEN_BY_ONE_MAX: usize = 4;

impl Sends {
    /// How many a cap counts.
    pub fn count(&self, retailer: &RetailerId, trigger: &TriggerId, cap: &SharedCap) -> u32 {
        let Some(of) = self.0.get(retailer) else { return 0 };
        let line = if cap.own_only { of.of_trigger.get(trigger) } else { Some(&of.all) };
        line.map_or(0, |line| line.between(cap.from, cap.until))
    }

    /// Notes an offer where every cap has room, and gives what is too old to be counted by any. None
    /// where there is no room.
    pub fn send(&mut self, sending: &Sending<'_>) -> Option<Vec<Sent>> {
        let has_room = |cap: &SharedCap| self.count(sending.retailer, sending.trigger, cap) < cap.max;
        if !sending.caps.iter().all(has_room) {
            return None;
        }
        self.add(sending.retailer, sending.trigger, Sent { at: sending.at, offer: sending.offer });
        // Twice as long, for a clock that leaps ahead and comes back.
        Some(self.forget(sending.retailer, sending.at - sending.kept - sending.kept))
    }

    /// An offer that left.
    pub fn add(&mut self, retailer: &RetailerId, trigger: &TriggerId, sent: Sent) {
        let of = self.0.entry(retailer.clone()).or_default();
        of.of_trigger.entry(trigger.clone()).or_default().add(sent.clone());
        of.all.add(sent);
    }

    /// An offer that left and that nobody has seen is none.
    pub fn give_back(&mut self, retailer: &RetailerId, trigger: &TriggerId, sent: &Sent) {
        let Some(of) = self.0.get_mut(retailer) else { return };
        of.all.remove(sent);
        if let Some(line) = of.of_trigger.get_mut(trigger) {
            line.remove(sent);
        }
    }

    fn forget(&mut self, retailer: &RetailerId, before: Timestamp) -> Vec<Sent> {
        let Some(of) = self.0.get_mut(retailer) else { return Vec::new() };
        of.of_trigger.values_mut().for_each(|line| drop(line.forget(before, SHARED_CAP_MAX as usize)));
        of.of_trigger.retain(|_, line| !line.0.is_empty());
        of.all.forget(before, SHARED_CAP_MAX as usize)
    }
}

impl Line {
    fn add(&mut self, sent: Sent) {
        let at = self.0.partition_point(|other| *other < sent);
        self.0.insert(at, sent);
    }
    fn remove(&mut self, sent: &Sent) {
        if let Ok(at) = self.0.binary_search(sent) {
            self.0.remove(at);
        }
    }
    fn between(&self, from: Timestamp, until: Timestamp) -> u32 {
        let before = |instant: Timestamp| self.0.partition_point(|sent| sent.at < instant);
        u32::try_from(before(until).saturating_sub(before(from))).unwrap_or(u32::MAX)
    }
    /// Takes a few out that are older, or more than any cap counts: with so many every cap is reached.
    fn forget(&mut self, before: Timestamp, most: usize) -> Vec<Sent> {
        let mut gone = Vec::new();
        while gone.len() < FORGOTTEN_BY_ONE_MAX
            && (self.0.len() > most || self.0.front().is_some_and(|oldest| oldest.at < before))
        {
            gone.extend(self.0.pop_front());
        }
        gone
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    fn shop() -> RetailerId {
        RetailerId::new("shop-a").unwrap()
    }
    fn within(max: u32, window: i64, at: i64) -> SharedCap {
        SharedCap { max, own_only: true, from: Timestamp(at - window + 1), until: Timestamp(at + window) }
    }

    proptest! {
        /// Whatever the order in which they come, as with clocks that jump and homes that are decided one
        /// after the other.
        #[test]
        fn no_stretch_of_time_ever_holds_more_than_the_cap(
            times in prop::collection::vec((0..300i64, any::<bool>()), 1..120), max in 1..6u32, window in 1..80i64,
        ) {
            let trigger = TriggerId::new("t").unwrap();
            let (mut sends, mut went) = (Sends::default(), Vec::<(i64, OfferId)>::new());
            for (n, (at, gives_back)) in times.into_iter().enumerate() {
                let offer = OfferId::derived(&[&n.to_be_bytes()]);
                let caps = [within(max, window, at)];
                let sending = Sending { retailer: &shop(), trigger: &trigger, offer, at: Timestamp(at), caps: &caps, kept: Span(300) };
                let in_stretch = |from: i64, went: &[(i64, OfferId)]| went.iter().filter(|(t, _)| (from..from + window).contains(t)).count();
                if sends.send(&sending).is_some() {
                    went.push((at, offer));
                } else {
                    let near = went.iter().filter(|(t, _)| (t - at).abs() < window).count();
                    prop_assert!(near >= max as usize, "refused with {near} of {max} near {at}");
                }
                for from in 0..300 {
                    prop_assert!(in_stretch(from, &went) <= max as usize);
                }
                if gives_back && let Some((at, offer)) = went.pop() {
                    sends.give_back(&shop(), &trigger, &Sent { at: Timestamp(at), offer });
                }
            }
        }
    }

    #[test]
    fn what_no_cap_counts_any_more_is_forgotten() {
        let trigger = TriggerId::new("t").unwrap();
        let (mut sends, mut gone) = (Sends::default(), 0);
        for n in 0..1_000i64 {
            let offer = OfferId::derived(&[&n.to_be_bytes()]);
            let sending =
                Sending { retailer: &shop(), trigger: &trigger, offer, at: Timestamp(n), caps: &[], kept: Span(10) };
            gone += sends.send(&sending).unwrap().len();
        }
        assert_eq!((gone, sends.0[&shop()].all.0.len(), sends.0[&shop()].of_trigger[&trigger].0.len()), (979, 21, 21));
    }
}
