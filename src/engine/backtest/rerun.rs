//! One household on virtual time: up to the window as it was, from there with the candidates.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::sync::Arc;

use hearthway_core::budget::{AllDrawn, Sent};
use hearthway_core::decision::{Change, Decision, Effect};
use hearthway_core::id::{HouseholdId, InputId, OrderId};
use hearthway_core::input::{Command, Input, Sender, What};
use hearthway_core::model::{Contact, ContactState, Household, Offer};
use hearthway_core::rules::RuleSet;
use hearthway_core::time::{Span, Timestamp, Zone};
use hearthway_core::trace::{CandidateTrace, Verdict};

use super::super::log;
use super::super::past::{Past, Recording, Window};
use super::super::rows::LogRow;
use super::super::timers;
use super::tally::{HomeTally, Outcome};
use super::{Listener, Looked};
use crate::store::StoreError;

/// A gateway fires a deadline within so much time: what comes sooner may have been before it.
const TIMER_GRACE: Span = Span::seconds(1);

pub(super) struct Rerun<'p> {
    past: &'p Past,
    rules: &'p RuleSet,
    window: Window,
    /// Up to the window the recorded rules decide.
    before: Option<Recording<'p>>,
    home: Household,
    /// The time of the last input or deadline.
    now: Timestamp,
    /// A deadline that its own input left standing is tried again, but not at once.
    not_before: Timestamp,
    tally: HomeTally,
    /// What is drawn from budgets on virtual time, by this home and those before it.
    draws: &'p RefCell<AllDrawn>,
    /// Orders of this home that drew there.
    drew: BTreeSet<OrderId>,
}

impl<'p> Rerun<'p> {
    pub(super) fn new(
        past: &'p Past,
        rules: &'p RuleSet,
        start: Arc<Household>,
        window: Window,
        draws: &'p RefCell<AllDrawn>,
    ) -> Rerun<'p> {
        let home = Household::empty(start.id);
        let (now, not_before) = (Timestamp(i64::MIN), Timestamp(i64::MIN));
        let before = Some(Recording::new(past, &start));
        let (tally, drew) = (HomeTally::default(), BTreeSet::new());
        Rerun { past, rules, window, before, home, now, not_before, tally, draws, drew }
    }

    pub(super) fn into_tally(mut self, begins_late: Option<Timestamp>) -> HomeTally {
        self.tally.begins_late = begins_late;
        self.tally
    }

    /// The next inputs, in order.
    pub(super) fn take(&mut self, rows: &[LogRow], listener: &mut dyn Listener) -> Result<(), StoreError> {
        for (at, row) in rows.iter().enumerate() {
            if let Some(recording) = &mut self.before {
                if self.window.is_before(row.input.received_at) {
                    let (_, decision) = recording.decide(row)?;
                    recording.advance(&decision);
                    self.now = row.input.received_at;
                    continue;
                }
                self.enter();
            }
            if self.window.until.is_some_and(|until| row.input.received_at >= until) {
                continue;
            }
            self.fire_until(row.input.received_at - TIMER_GRACE, &rows[at..], listener);
            self.tally.inputs += 1;
            self.now = self.now.max(row.input.received_at);
            self.decide(&row.input, &row.candidates, listener);
        }
        Ok(())
    }

    /// After the last input: what was still due in the window.
    pub(super) fn end(&mut self, listener: &mut dyn Listener) {
        self.enter();
        if let Some(until) = self.window.until {
            self.fire_until(until, &[], listener);
        }
    }

    /// From here on the candidates are live.
    fn enter(&mut self) {
        if let Some(recording) = self.before.take() {
            self.home = recording.into_household();
        }
    }

    /// Fires what is due before an instant, each deadline at its own time. A deadline that the
    /// gateway itself fired, maybe late, is left to its own input, which is among `coming`.
    fn fire_until(&mut self, limit: Timestamp, coming: &[LogRow], listener: &mut dyn Listener) {
        while let Some(deadline) = self.home.next_deadline() {
            let at = deadline.max(self.not_before).max(self.now);
            if at >= limit || fired_later(self.home.id, deadline, coming) {
                return;
            }
            self.now = at;
            let input = timer(self.home.id, self.home.seq, at);
            self.decide(&input, &[], listener);
            if self.home.next_deadline().is_some_and(|next| next <= at) {
                self.not_before = at + timers::RETRY;
            }
        }
    }

    fn decide(&mut self, input: &Input, live: &[CandidateTrace], listener: &mut dyn Listener) {
        let decider = self.past.decider;
        let decision = (decider.decide)(&self.home, input, self.rules, input.received_at, self.draws);
        decider.advance(&mut self.home, &decision);
        self.follow_budgets(&decision);
        if !decision.trace.candidates.is_empty() {
            self.note(&decision, input.received_at, live, listener);
        }
    }

    /// What an order drew live, before the window, was not drawn here and is not given back here.
    fn follow_budgets(&mut self, decision: &Decision) {
        for change in &decision.changes {
            if let Change::OrderSet(order) = change
                && order.drawn.is_some()
                && order.rev == 1
            {
                self.drew.insert(order.id);
            }
        }
        for effect in &decision.effects {
            if let Effect::GiveBack { retailer, order, drawn } = effect
                && self.drew.remove(order)
            {
                self.draws.borrow_mut().give_back(retailer, drawn);
            }
            if let Effect::GivePartBack { retailer, order, left, back } = effect
                && self.drew.contains(order)
            {
                self.draws.borrow_mut().give_part_back(retailer, &left.trigger, *back);
            }
            if let Effect::Unsent { retailer, trigger, offer, at } = effect {
                let sent = Sent { at: *at, offer: *offer };
                self.draws.borrow_mut().sends.give_back(retailer, trigger, &sent);
            }
        }
    }

    fn note(&mut self, decision: &Decision, at: Timestamp, live: &[CandidateTrace], listener: &mut dyn Listener) {
        let day = match &self.home.zone {
            Some(zone) => zone.local(at).date(),
            None => Zone::utc().local(at).date(),
        };
        for candidate in &decision.trace.candidates {
            listener.looked(&Looked { household: self.home.id, at, candidate });
            let sent = candidate.offer.filter(|_| candidate.verdict == Verdict::Sent);
            let offer = sent.and_then(|id| offer_of(decision, id));
            let price = offer.and_then(|offer| offer.price.as_ref());
            self.tally.add(candidate, Outcome::of(candidate), day, price);
            let Some(offer) = offer else { continue };
            let was_made = |made: &CandidateTrace| made.offer == Some(offer.id) && made.verdict == Verdict::Sent;
            if !live.iter().any(was_made) {
                self.count_as_seen(offer, at);
            }
        }
    }

    /// Nobody can say whether an offer that was never made would have been seen: caps count it, so
    /// that the forecast is no rosier than life.
    fn count_as_seen(&mut self, offer: &Offer, at: Timestamp) {
        let contact = Contact {
            offer: offer.id,
            trigger: offer.trigger.clone(),
            device: offer.device.clone(),
            at,
            state: ContactState::Counted,
        };
        (self.past.decider.apply)(&mut self.home, &Change::ContactSet(contact));
    }
}

/// The offer as a decision left it.
fn offer_of(decision: &Decision, id: hearthway_core::id::OfferId) -> Option<&Offer> {
    decision.changes.iter().rev().find_map(|change| match change {
        Change::OfferSet(offer) if offer.id == id => Some(&**offer),
        _ => None,
    })
}

/// Whether the gateway fired this deadline with one of its inputs.
fn fired_later(household: HouseholdId, deadline: Timestamp, coming: &[LogRow]) -> bool {
    let fired = |row: &LogRow| {
        matches!(row.input.what, What::Timer | What::Command(Command::EndStay))
            && row.seq.checked_sub(1).is_some_and(|seq| log::timer_id(household, seq, deadline) == row.input.id)
    };
    coming.iter().any(fired)
}

/// A deadline's input on virtual time: of the log it can be none.
fn timer(household: HouseholdId, seq: u64, at: Timestamp) -> Input {
    let id = InputId::derived(&[b"backtest timer", household.bytes(), &seq.to_be_bytes(), &at.0.to_be_bytes()]);
    let entropy = id.0.first_chunk::<8>().map_or(0, |bytes| u64::from_be_bytes(*bytes));
    let sender = Sender::default();
    Input { id, message: None, received_at: at, device: None, entropy, payload_bytes: 0, sender, what: What::Timer }
}
