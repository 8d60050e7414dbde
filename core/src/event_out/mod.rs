//! What is told to systems outside: CloudEvents that follow from a decision.
//!
//! [`events`] is pure: the home as it was, the input and the decision give the same events again,
//! with the same ids. They carry ids and numbers, never names, and a maker's copies nothing about
//! a customer. What is told to nobody is not made.

mod home;
mod kind;
mod sale;

pub use kind::{EventType, EventTypes};

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::decision::{Change, Decision};
use crate::id::{
    DeviceKey, EventId, HouseholdId, MakerId, MergeId, OfferId, OrderId, ProfileId, RetailerId, TriggerId,
};
use crate::input::Input;
use crate::model::{Household, Offer, Order, Tenant};
use crate::rules::RuleSet;
use crate::time::Timestamp;

/// Version of CloudEvents.
const SPEC_VERSION: &str = "1.0";

/// One event, to one tenant.
#[derive(Debug, Clone, PartialEq)]
pub struct EventOut {
    /// Derived from its cause: the same thing told again is told by the same id.
    pub id: EventId,
    /// To whom.
    pub to: Tenant,
    /// Of which type.
    pub kind: EventType,
    /// What it is about: a household, a device as `maker/device`, or a trigger. Events about one
    /// subject are told in their order.
    pub subject: String,
    /// The home that it tells of, where it tells of one.
    pub household: Option<HouseholdId>,
    /// When it happened.
    pub at: Timestamp,
    /// What happened: ids and numbers.
    pub data: Value,
}

impl EventOut {
    /// An event that follows from no home's decision, such as a published trigger.
    pub fn of_tenant(
        to: &Tenant,
        kind: EventType,
        subject: &str,
        cause: &[&[u8]],
        at: Timestamp,
        data: Value,
    ) -> EventOut {
        let source = source(to);
        let parts: Vec<&[u8]> = [source.as_bytes(), kind.as_str().as_bytes(), subject.as_bytes()]
            .into_iter()
            .chain(cause.iter().copied())
            .collect();
        let id = EventId::derived(&parts);
        EventOut { id, to: to.clone(), kind, subject: subject.to_owned(), household: None, at, data }
    }

    /// A budget that an order brought to a threshold.
    pub fn budget_threshold(
        retailer: &RetailerId,
        trigger: &TriggerId,
        percent: u64,
        orders: u64,
        by: OrderId,
        at: Timestamp,
    ) -> EventOut {
        let to = Tenant::Retailer(retailer.clone());
        let data = json!({"trigger": trigger, "percent": percent, "orders": orders});
        let cause: [&[u8]; 2] = [by.bytes(), &percent.to_be_bytes()];
        EventOut::of_tenant(&to, EventType::BudgetThreshold, trigger.as_str(), &cause, at, data)
    }

    /// Two profiles became one, or are two again: `state` says which.
    pub fn profile_merged(retailer: &RetailerId, merged: &ProfilesMerged<'_>) -> EventOut {
        let ProfilesMerged { merge, from, into, state, at } = *merged;
        let data = json!({"merge": merge, "from": from, "into": into, "state": state});
        let cause: [&[u8]; 2] = [merge.bytes(), state.as_bytes()];
        let to = Tenant::Retailer(retailer.clone());
        EventOut::of_tenant(&to, EventType::ProfileMerged, into.as_str(), &cause, at, data)
    }

    /// A person was erased, with whoever was merged into them: the last word with their name in it.
    pub fn profile_erased(
        retailer: &RetailerId,
        erasure: &str,
        profile: &ProfileId,
        merged: &BTreeSet<ProfileId>,
        at: Timestamp,
    ) -> EventOut {
        let data = json!({"erase": erasure, "profile": profile, "merged": merged});
        let to = Tenant::Retailer(retailer.clone());
        EventOut::of_tenant(&to, EventType::ProfileErased, profile.as_str(), &[erasure.as_bytes()], at, data)
    }

    /// The event in the structured mode of CloudEvents: what is sent and signed, byte for byte.
    pub fn body(&self) -> Vec<u8> {
        let envelope = json!({
            "specversion": SPEC_VERSION,
            "id": self.id,
            "source": source(&self.to),
            "type": self.kind.as_str(),
            "subject": self.subject,
            "time": self.at.to_string(),
            "datacontenttype": "application/json",
            "data": self.data,
        });
        envelope.to_string().into_bytes()
    }
}

/// What is told of a merge.
#[derive(Debug, Clone, Copy)]
pub struct ProfilesMerged<'m> {
    /// Which.
    pub merge: MergeId,
    /// Who ended.
    pub from: &'m ProfileId,
    /// Who stayed.
    pub into: &'m ProfileId,
    /// `merged`, or `undone`.
    pub state: &'static str,
    /// When.
    pub at: Timestamp,
}

/// The part of this gateway that speaks to a tenant, as CloudEvents' `source`.
fn source(to: &Tenant) -> String {
    match to {
        Tenant::Operator => "/operator".to_owned(),
        Tenant::Retailer(retailer) => format!("/retailers/{retailer}"),
        Tenant::Maker(maker) => format!("/makers/{maker}"),
    }
}

/// Who wants to hear of what.
pub trait Wanted {
    /// What a retailer's webhooks want.
    fn by_retailer(&self, retailer: &RetailerId) -> EventTypes;
    /// What a maker's webhooks want.
    fn by_maker(&self, maker: &MakerId) -> EventTypes;
}

/// What is told of a decision about a home as it was before. Nothing where nobody wants to hear,
/// at the cost of asking who does.
pub fn events(
    home: &Household,
    input: &Input,
    decision: &Decision,
    rules: &RuleSet,
    wanted: &dyn Wanted,
) -> Vec<EventOut> {
    let mut teller = Teller {
        home,
        input,
        rules,
        wanted,
        changes: &decision.changes,
        at: decision.trace.at,
        place: 0,
        events: Vec::new(),
    };
    if !decision.changes.iter().any(is_told) {
        return Vec::new();
    }
    let (mut offers, mut orders): (Vec<&Offer>, Vec<&Order>) = (Vec::new(), Vec::new());
    for (place, change) in decision.changes.iter().enumerate() {
        teller.place = place;
        match change {
            Change::OfferSet(offer) => {
                let before = offers.iter().rev().find(|known| known.id == offer.id).copied();
                teller.offer(offer, before.or_else(|| home.offers.get(&offer.id).map(|offer| &**offer)));
                offers.push(offer);
            }
            Change::OrderSet(order) => {
                let before = orders.iter().rev().find(|known| known.id == order.id).copied();
                teller.order(order, before.or_else(|| home.orders.get(&order.id).map(|order| &**order)), &offers);
                orders.push(order);
            }
            _ => teller.of_home(change),
        }
    }
    teller.health();
    teller.events
}

/// Whether a change may be told. One arm per kind, so that a new kind of change is thought about.
fn is_told(change: &Change) -> bool {
    match change {
        Change::DeviceSet(_)
        | Change::DeviceLeft { .. }
        | Change::LinkSet(_)
        | Change::LinkEnded(_)
        | Change::PresenceSet { .. }
        | Change::SlotSet { .. }
        | Change::ConsentSet { .. }
        | Change::OfferSet(_)
        | Change::OrderSet(_) => true,
        // A device's health.
        Change::HomeSet { .. }
        | Change::Described { .. }
        | Change::ClockSet { .. }
        | Change::WipePending { .. }
        | Change::SuspendedSet { .. }
        | Change::SeqSet { .. } => true,
        Change::MemberSet(_)
        | Change::MemberLeft(_)
        | Change::Arrived(_)
        | Change::Reported { .. }
        | Change::ContextSet { .. }
        | Change::ContextDropped { .. }
        | Change::EdgeSet { .. }
        | Change::TrendFed { .. }
        | Change::TrendDropped(_)
        | Change::ClaimSet { .. }
        | Change::PauseSet { .. }
        | Change::OfferDropped(_)
        | Change::OrderDropped(_)
        | Change::ContactSet(_)
        | Change::ContactReleased(_)
        | Change::CredentialSet { .. }
        | Change::ShelfSet { .. }
        | Change::MandateSet(_)
        | Change::MandateEnded(_)
        | Change::TrackSet { .. }
        | Change::AbsenceSet(_)
        | Change::PurchaseHeard(_)
        | Change::StandingSet { .. }
        | Change::MergeSet(_)
        | Change::MergeEnded(_)
        | Change::PersonForgotten(_)
        | Change::HabitSet { .. } => false,
    }
}

/// Makes the events of one decision.
struct Teller<'t> {
    home: &'t Household,
    input: &'t Input,
    rules: &'t RuleSet,
    wanted: &'t dyn Wanted,
    changes: &'t [Change],
    at: Timestamp,
    /// Which of the changes is being told: a part of the ids, whoever listens.
    place: usize,
    events: Vec<EventOut>,
}

impl Teller<'_> {
    /// Whose customers live here once the decision stands.
    fn retailer(&self) -> Option<&RetailerId> {
        let set = self.changes.iter().rev().find_map(|change| match change {
            Change::HomeSet { retailer, .. } => Some(retailer.as_ref()),
            _ => None,
        });
        set.unwrap_or(self.home.retailer.as_ref())
    }

    fn retailer_wants(&self, retailer: &RetailerId, kind: EventType) -> bool {
        self.wanted.by_retailer(retailer).has(kind)
    }

    /// Tells a retailer about the home.
    fn about_home(&mut self, retailer: &RetailerId, kind: EventType, data: impl FnOnce(HouseholdId) -> Value) {
        if self.retailer_wants(retailer, kind) {
            let household = self.home.id;
            self.add(Tenant::Retailer(retailer.clone()), kind, household.to_string(), data(household));
        }
    }

    /// Tells a retailer about a device of its customers; `more` joins what is told of each device.
    fn about_device(
        &mut self,
        retailer: &RetailerId,
        kind: EventType,
        device: &DeviceKey,
        more: impl FnOnce() -> Value,
    ) {
        if self.retailer_wants(retailer, kind) {
            let mut data = self.bare(device);
            data["household"] = json!(self.home.id);
            join(&mut data, more());
            self.add(Tenant::Retailer(retailer.clone()), kind, device.to_string(), data);
        }
    }

    /// Tells a maker about its own device: nothing of whoever it belongs to.
    fn about_device_to_maker(&mut self, kind: EventType, device: &DeviceKey, more: impl FnOnce() -> Value) {
        if self.wanted.by_maker(&device.maker).has(kind) {
            let mut data = self.bare(device);
            join(&mut data, more());
            self.add(Tenant::Maker(device.maker.clone()), kind, device.to_string(), data);
        }
    }

    /// What is told of every device.
    fn bare(&self, key: &DeviceKey) -> Value {
        let arriving = self.changes.iter().rev().find_map(|change| match change {
            Change::DeviceSet(device) if device.key == *key => Some(&device.model),
            _ => None,
        });
        let model = arriving.or_else(|| self.home.devices.get(key).map(|device| &device.model));
        json!({"device": key.device, "maker": key.maker, "model": model})
    }

    fn add(&mut self, to: Tenant, kind: EventType, subject: String, data: Value) {
        let home = self.home;
        let place = (self.place as u64).to_be_bytes();
        let (seq, source) = (home.seq.to_be_bytes(), source(&to));
        let (kind_word, subject_word) = (kind.as_str().as_bytes(), subject.as_bytes());
        let cause: [&[u8]; 7] =
            [self.input.id.bytes(), home.id.bytes(), &seq, source.as_bytes(), kind_word, subject_word, &place];
        let id = EventId::derived(&cause);
        // A maker's row names no home, so that nothing of a customer stands with it.
        let household = matches!(to, Tenant::Retailer(_)).then_some(home.id);
        self.events.push(EventOut { id, to, kind, subject, household, at: self.at, data });
    }

    /// The offer of an order, as this decision leaves it.
    fn offer_of<'o>(&'o self, id: OfferId, changed: &[&'o Offer]) -> Option<&'o Offer> {
        let changed = changed.iter().rev().find(|offer| offer.id == id).copied();
        changed.or_else(|| self.home.offers.get(&id).map(|offer| &**offer))
    }
}

/// Adds the fields of one object to another.
fn join(data: &mut Value, more: Value) {
    if let (Value::Object(data), Value::Object(more)) = (data, more) {
        data.extend(more);
    }
}
