//! One decided input on its way to the disk: everything that follows from its decision, as the one
//! commit that makes it durable and as what is said and told once it is there.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use hearthway_core::budget::Answer;
use hearthway_core::code::Refusal;
use hearthway_core::decision::{Change, Decision, Effect, Reply};
use hearthway_core::id::{DeviceKey, HouseholdId, MoveId, OfferId, OrderId, ReceiptId};
use hearthway_core::input::{Command, Input, Join, What};
use hearthway_core::model::{Contact, Device, Household, Offer, Order};

use super::budget::Draws;
use super::codes::HandedOut;
use super::elsewhere::Words;
use super::events::Letter;
use super::house::House;
use super::outbox::{Outgoing, delivery};
use super::routes::Route;
use super::rows::{self, ConsentSaid, LogItem, LogRow, MoveRow, OfferRow, OrderRow};
use super::sealing::Sealing;
use super::seen::Mark;
use super::sends::Sendings;
use super::speak::{self, Cause};
use super::stock::PutAside;
use super::{Waiter, log};
use crate::store::codec::{self, Schema};
use crate::store::sealed::{Subject, blind, hidden_name};
use crate::store::{Write, keys};

/// One decided input on its way to the disk, with what happens once it is there.
pub(super) struct Prepared {
    pub(super) shard: usize,
    pub(super) epoch: u64,
    pub(super) household: HouseholdId,
    /// The household after the input.
    pub(super) kept: Kept,
    /// What it is sealed with.
    pub(super) sealing: Sealing,
    /// Everything else of the same commit.
    pub(super) writes: Vec<Write>,
    pub(super) waiter: Waiter,
    pub(super) outcome: Result<Reply, Refusal>,
    pub(super) mark: Option<Mark>,
    pub(super) routes: Vec<(DeviceKey, Route)>,
    pub(super) codes: Vec<(DeviceKey, Option<String>)>,
    pub(super) outgoing: Vec<Outgoing>,
    /// Devices whose outbox it touches.
    pub(super) spoken_to: BTreeSet<DeviceKey>,
    pub(super) disconnects: Vec<(DeviceKey, String)>,
    pub(super) leaving: Vec<(MoveRow, Route)>,
    pub(super) arriving: Option<MoveRow>,
    /// What it draws from budgets and gives back.
    pub(super) draws: Draws,
    /// What it takes from pools of unique codes and puts back.
    pub(super) handed_out: HandedOut,
    /// What it sends under caps of all homes.
    pub(super) sendings: Sendings,
    /// What it tells webhooks.
    pub(super) letters: Vec<Letter>,
    /// What it puts aside and frees of counted goods.
    pub(super) put_aside: PutAside,
    /// What people with several homes hear of it.
    pub(super) words: Words,
}

/// What a decision read beside the household and the input.
pub(super) struct Read {
    /// The version of the rules.
    pub(super) rules: u64,
    /// What the purse answered.
    pub(super) answers: Vec<Answer>,
}

/// How a household after an input goes to the disk.
pub(super) enum Kept {
    /// Whole.
    Record(Vec<u8>),
    /// As what followed since its record.
    Tail(Vec<u8>),
}

impl Default for Kept {
    fn default() -> Kept {
        Kept::Tail(Vec::new())
    }
}

impl Kept {
    /// The same, as its home's own.
    pub(super) fn sealed(self, sealing: Sealing) -> Kept {
        match self {
            Kept::Record(bytes) => Kept::Record(sealing.own(bytes)),
            Kept::Tail(bytes) => Kept::Tail(sealing.own(bytes)),
        }
    }
}

impl Prepared {
    /// Moves that begin or end with this input.
    pub(super) fn move_on(
        &mut self,
        house: &House,
        input: &Input,
        decision: &Decision,
        leaving: Vec<(MoveRow, Route)>,
    ) {
        for (row, route) in leaving {
            let moving = codec::encode(Schema::Move, &row);
            // A device that goes back to nobody is nobody's.
            let moving = if row.join.is_some() { self.sealing.about(moving) } else { moving };
            self.writes.push(Write::Put(keys::move_between(row.id), moving));
            self.writes.push(rows::put(Schema::Route, keys::route(&row.device.key), &route));
            house.directory.begin_move(&row.device.key);
            let moving = house.moves.fetch_add(1, Ordering::Relaxed) + 1;
            house.meters.moves_in_flight.set(moving as f64);
            self.leaving.push((row, route));
        }
        let What::Command(command) = &input.what else { return };
        let Some((id, from, device, join, contacts)) = arrival(command) else { return };
        if let Err(refusal) = &decision.reply {
            // Its row stays, so that nothing is lost, and the next start tries again.
            tracing::error!(device.id = %device.key, reason = %refusal, "A device was refused by the household it moved to");
        } else {
            self.writes.push(Write::Delete(keys::move_between(*id)));
        }
        let (device, join, contacts) = (device.clone(), join.clone(), contacts.to_vec());
        self.arriving = Some(MoveRow { id: *id, from: *from, to: self.household, device, join, contacts });
    }

    /// Routes and shown codes of the devices that changed.
    pub(super) fn follow_devices(&mut self, facts: &Household, decision: &Decision) {
        let mut touched = BTreeSet::new();
        for change in &decision.changes {
            match change {
                Change::DeviceSet(device) => {
                    touched.insert(&device.key);
                    self.codes.push((device.key.clone(), device.claim.as_ref().map(|claim| claim.code.clone())));
                }
                Change::DeviceLeft { device, .. } => self.codes.push((device.clone(), None)),
                Change::ClaimSet { device, claim } => {
                    self.codes.push((device.clone(), claim.as_ref().map(|claim| claim.code.clone())));
                }
                Change::SuspendedSet { device, .. } | Change::CredentialSet { device, .. } => {
                    touched.insert(device);
                }
                Change::HomeSet { .. } => touched.extend(facts.devices.keys()),
                Change::MemberSet(_)
                | Change::MemberLeft(_)
                | Change::Arrived(_)
                | Change::Described { .. }
                | Change::PresenceSet { .. }
                | Change::ClockSet { .. }
                | Change::Reported { .. }
                | Change::SlotSet { .. }
                | Change::ContextSet { .. }
                | Change::ContextDropped { .. }
                | Change::EdgeSet { .. }
                | Change::TrendFed { .. }
                | Change::TrendDropped(_)
                | Change::LinkSet(_)
                | Change::LinkEnded(_)
                | Change::ConsentSet { .. }
                | Change::PauseSet { .. }
                | Change::OfferSet(_)
                | Change::OfferDropped(_)
                | Change::OrderSet(_)
                | Change::OrderDropped(_)
                | Change::ContactSet(_)
                | Change::ContactReleased(_)
                | Change::WipePending { .. }
                | Change::ShelfSet { .. }
                | Change::MandateSet(_)
                | Change::MandateEnded(_)
                | Change::TrackSet { .. }
                | Change::AbsenceSet(_)
                | Change::PurchaseHeard(_)
                | Change::SeqSet { .. }
                | Change::StandingSet { .. }
                | Change::MergeSet(_)
                | Change::MergeEnded(_)
                | Change::PersonForgotten(_)
                | Change::HabitSet { .. } => {}
            }
        }
        for device in touched {
            if let Some(route) = Route::within(facts, device) {
                self.writes.push(rows::put(Schema::Route, keys::route(device), &route));
                self.routes.push((device.clone(), route));
            }
        }
    }

    /// What the decision wants said, into the outbox.
    pub(super) fn speak(&mut self, house: &House, facts: &Household, input: &Input, decision: &Decision) {
        for (index, effect) in decision.effects.iter().enumerate() {
            match effect {
                Effect::Down { device, message, expires_at, corr } => {
                    let cause = Cause { corr: corr.as_deref(), ..Cause::first(facts, input) };
                    let row = speak::render(&cause, index, device, message, *expires_at);
                    let n = house.outbox.number(&mut self.writes);
                    let stored = !speak::is_of_the_moment(message);
                    if stored {
                        house.outbox.stage(device, n, &row, &mut self.writes, &house.meters);
                        self.spoken_to.insert(device.clone());
                    }
                    let mut delivery = delivery(device.clone(), n, row);
                    delivery.qos = u8::from(stored);
                    self.outgoing.push(Outgoing { delivery, stored });
                }
                Effect::DropOffer { device, offer } => {
                    house.outbox.withdraw(device, Some(*offer), &mut self.writes);
                    self.spoken_to.insert(device.clone());
                }
                Effect::DropAll { device } => {
                    house.outbox.withdraw(device, None, &mut self.writes);
                    self.spoken_to.insert(device.clone());
                }
                Effect::Disconnect { device, reason } => {
                    self.disconnects.push((device.clone(), reason.clone()));
                }
                // Taken up by `move_on` and `follow_budgets`.
                Effect::Move { .. }
                | Effect::GiveBack { .. }
                | Effect::GivePartBack { .. }
                | Effect::FreeStock { .. }
                | Effect::StockLeft { .. }
                | Effect::StockParted { .. }
                | Effect::Unsent { .. } => {}
            }
        }
    }

    /// Every new word on a consent, with its proof. The same word in several homes of a person is one row.
    /// They are sealed with the person's own key: they go with the person, not with the home.
    pub(super) fn follow_consents(&mut self, house: &House, facts: &Household, decision: &Decision) {
        let Some(retailer) = &facts.retailer else { return };
        let store = &*house.store;
        for change in &decision.changes {
            let Change::ConsentSet { profile, purpose, record } = change else { continue };
            let name = hidden_name(store, retailer, profile);
            // A receipt is a hash over the person's id: hidden too, as it stands in a key.
            let receipt = ReceiptId(blind(store, &[b"receipt", record.receipt(profile, *purpose).bytes()]));
            let key = keys::consent_said(retailer, &name, record.at, receipt);
            let said = ConsentSaid { purpose: *purpose, record: record.clone(), heard_at: decision.trace.at };
            let mut write = rows::put(Schema::ConsentSaid, key, &said);
            // A key that cannot be made was refused before the decision was applied; then nothing comes here.
            if let (Some(Ok(key)), Write::Put(_, bytes)) =
                (store.vault().map(|vault| vault.key_for(Subject::profile(&name))), &mut write)
            {
                codec::belong_to(key, bytes);
            }
            self.writes.push(write);
        }
    }

    /// Offers and orders as other channels see them: the last word on each.
    pub(super) fn follow_views(&mut self, decision: &Decision) {
        let mut offers: Vec<(OfferId, &Offer)> = Vec::new();
        let mut orders: Vec<(OrderId, &Order)> = Vec::new();
        for change in &decision.changes {
            if let Change::OfferSet(offer) = change {
                offers.retain(|(id, _)| *id != offer.id);
                offers.push((offer.id, offer));
            }
            if let Change::OrderSet(order) = change {
                orders.retain(|(id, _)| *id != order.id);
                orders.push((order.id, order));
            }
        }
        let household = self.household;
        for (id, offer) in offers {
            let row = OfferRow { household, offer: offer.clone() };
            self.writes.push(rows::put(Schema::Offer, keys::offer(&offer.retailer, id), &row));
        }
        for (id, order) in orders {
            let row = OrderRow { household, order: order.clone() };
            self.writes.push(rows::put(Schema::Order, keys::order(&order.retailer, id), &row));
        }
    }

    /// The input and its traces into the log, and now and then a snapshot behind them.
    pub(super) fn write_log(
        &mut self,
        facts: &Arc<Household>,
        input: Input,
        read: Read,
        decision: Decision,
        snapshot: bool,
    ) {
        let verdict = log::verdict(&decision);
        let mut candidates = decision.trace.candidates;
        candidates.truncate(log::TRACES_PER_INPUT_MAX);
        let Read { rules, answers } = read;
        let row = LogRow { seq: facts.seq, input, rules, verdict, candidates, answers };
        let log = keys::log(self.household);
        let item = codec::encode(Schema::Log, &LogItem::Input(Box::new(row)));
        self.writes.push(Write::Append(log.clone(), self.sealing.about(item)));
        if snapshot {
            let item = codec::encode(Schema::Log, &LogItem::Snapshot(Arc::clone(facts)));
            self.writes.push(Write::Append(log, self.sealing.own(item)));
        }
    }
}

/// What arrives with a command, where it is an arrival.
pub(super) type Arrival<'a> = (&'a MoveId, &'a HouseholdId, &'a Box<Device>, &'a Option<Box<Join>>, &'a [Contact]);

/// The device that a command brings from another household.
pub(super) fn arrival(command: &Command) -> Option<Arrival<'_>> {
    match command {
        Command::Arrive { id, from, device, join } => Some((id, from, device, join, &[])),
        Command::ArriveKnown { id, from, device, join, contacts } => Some((id, from, device, join, contacts)),
        _ => None,
    }
}
