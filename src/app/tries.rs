//! A trigger tried in a home as it is: what it would do about an input. Nothing is written or sent.

use std::sync::Arc;

use hearthway_core::budget::{
    Draw, Hearing, Purse, Reserve, Sending, SharedCap, Speaking, Spent, TakenCode, sample_code,
};
use hearthway_core::decide::{decide_with, why_not_with};
use hearthway_core::decision::{Change, Decision};
use hearthway_core::id::{
    DeviceKey, DeviceName, HouseholdId, InputId, OfferId, PoolId, ProductId, RetailerId, StoreId, TriggerId,
};
use hearthway_core::input::{Input, Sender, What};
use hearthway_core::model::{Household, Offer, Place};
use hearthway_core::money::Currency;
use hearthway_core::rules::RuleSet;
use hearthway_core::time::Timestamp;
use hearthway_core::trace::CandidateTrace;
use hearthway_core::trigger::{Trigger, TriggerSet, tried_message};
use serde_json::Value;

use super::documents::{Kind, Name};
use super::tokens::{Caller, Scope};
use super::triggers::{compiled, name_trigger};
use super::{App, Failure};
use crate::engine::Engine;

/// What is to be tried.
#[derive(Debug, Clone)]
pub struct Try {
    /// In which home.
    pub household: String,
    /// On which of its devices; without it, on the first that the trigger is about.
    pub device: Option<String>,
    /// What comes in, as in a trigger's own cases: `{"telemetry":{"temperature":16}}`.
    pub input: Value,
    /// When; without it, now.
    pub at: Option<Timestamp>,
    /// The trigger; without it, its draft.
    pub trigger: Option<Value>,
}

/// What is to be tried with all that is live.
#[derive(Debug, Clone)]
pub struct TryLive {
    /// In which home.
    pub household: String,
    /// On which of its devices; without it, on the first on which it wakes something.
    pub device: Option<String>,
    /// What comes in, as in a trigger's own cases.
    pub input: Value,
    /// When; without it, now.
    pub at: Option<Timestamp>,
}

/// What would happen with all that is live.
#[derive(Debug, Clone)]
pub struct TriedLive {
    /// On which device.
    pub device: DeviceKey,
    /// What would become of each trigger that the input wakes, in the order in which they are looked at.
    pub woken: Vec<Tried>,
    /// How many of the shop's live triggers are about the device.
    pub live: usize,
}

/// What would happen.
#[derive(Debug, Clone)]
pub struct Tried {
    /// In which home.
    pub household: HouseholdId,
    /// On which device.
    pub device: DeviceKey,
    /// When.
    pub at: Timestamp,
    /// The input.
    pub input: InputId,
    /// Whether the input wakes the trigger.
    pub is_woken: bool,
    /// What every step says.
    pub candidate: CandidateTrace,
    /// The offer that would be made.
    pub offer: Option<Arc<Offer>>,
}

impl App {
    /// Tries a trigger: the home as it is on disk, the live rules with this trigger in its place.
    pub async fn try_trigger(&self, who: &Caller, id: &TriggerId, wanted: Try) -> Result<Tried, Failure> {
        let retailer = who.retailer(Scope::TriggersWrite)?;
        // A home's decisions are shown: who may not see them may not try them either.
        who.may(Scope::DecisionsRead)?;
        let mut body = match wanted.trigger {
            Some(body) => body,
            None => self.draft_json(retailer, id)?,
        };
        name_trigger(&mut body, id)?;
        let rules = self.engine.rules();
        let trigger = compiled(&body, retailer, &rules)?;
        let household = self.own_household(retailer, &wanted.household).await?;
        let missing = || Failure::not_found("household", &wanted.household);
        let home = self.engine.facts(household).await?.ok_or_else(missing)?;
        let device = device_of(&home, &rules, &trigger, wanted.device.as_deref())?;
        let others = rules.triggers.iter().filter(|live| live.retailer != *retailer || live.id != *id).cloned();
        let triggers = TriggerSet::build(others.chain([Arc::clone(&trigger)]).collect::<Vec<_>>());
        let rules = RuleSet { triggers, ..(*rules).clone() };
        let at = wanted.at.unwrap_or_else(|| self.now());
        tried(&Looking(&self.engine), &home, &rules, &trigger, device, at, &wanted.input)
    }

    /// Tries all of the caller's live triggers: the home as it is on disk, the rules as they are.
    pub async fn try_live(&self, who: &Caller, wanted: TryLive) -> Result<TriedLive, Failure> {
        let retailer = who.retailer(Scope::TriggersWrite)?;
        who.may(Scope::DecisionsRead)?;
        let household = self.own_household(retailer, &wanted.household).await?;
        let missing = || Failure::not_found("household", &wanted.household);
        let home = self.engine.facts(household).await?.ok_or_else(missing)?;
        let devices = match wanted.device.as_deref() {
            Some(named) => vec![named_device(&home, named)?],
            None => home.devices.keys().cloned().collect(),
        };
        let (rules, at) = (self.engine.rules(), wanted.at.unwrap_or_else(|| self.now()));
        let mut first: Option<Result<TriedLive, Failure>> = None;
        for device in devices {
            let tried = tried_live(&Looking(&self.engine), &home, &rules, retailer, device, at, &wanted.input);
            if tried.as_ref().is_ok_and(|tried| !tried.woken.is_empty()) {
                return tried;
            }
            // What a device cannot say tells nothing where another can.
            if first.is_none() || (tried.is_ok() && matches!(first, Some(Err(_)))) {
                first = Some(tried);
            }
        }
        first.unwrap_or_else(|| Err(Failure::invalid("/household", "the home has no device")))
    }

    fn draft_json(&self, retailer: &RetailerId, id: &TriggerId) -> Result<Value, Failure> {
        let missing = || Failure::not_found("trigger", id);
        let draft = self.rulebook.get(&Name::of_retailer(Kind::Draft, retailer, id.as_str())).ok_or_else(missing)?;
        Ok(super::catalog::document_json(&draft))
    }
}

/// Budgets as they are; nothing is drawn from them.
pub(super) struct Looking<'e>(pub(super) &'e Engine);

impl Purse for Looking<'_> {
    fn spent(&self, retailer: &RetailerId, trigger: &TriggerId, currency: Option<Currency>) -> Option<Spent> {
        Some(self.0.spent(retailer, trigger, currency))
    }
    fn draw(&self, draw: &Draw<'_>) -> bool {
        let spent = self.0.spent(draw.retailer, draw.trigger, Some(draw.amount.currency));
        draw.honoured || draw.budget.has_room(spent, draw.amount)
    }
    fn take_code(&self, retailer: &RetailerId, pool: &PoolId, _: OfferId) -> TakenCode {
        if self.0.codes_left(retailer, pool) > 0 { TakenCode::Code(sample_code()) } else { TakenCode::Empty }
    }
    fn sent(&self, retailer: &RetailerId, trigger: &TriggerId, cap: &SharedCap) -> Option<u32> {
        Some(self.0.sent(retailer, trigger, cap))
    }
    fn send(&self, sending: &Sending<'_>) -> bool {
        sending.caps.iter().all(|cap| self.0.sent(sending.retailer, sending.trigger, cap) < cap.max)
    }
    fn elsewhere(&self, hearing: &Hearing<'_>, cap: &SharedCap) -> Option<u32> {
        Some(self.0.elsewhere(hearing, cap))
    }
    fn speak(&self, speaking: &Speaking<'_>) -> Result<(), usize> {
        let reached = speaking.caps.iter().position(|cap| self.0.elsewhere(&speaking.hearing, cap) >= cap.max);
        reached.map_or(Ok(()), Err)
    }
    fn free(&self, retailer: &RetailerId, product: &ProductId, place: &Place) -> Option<u32> {
        self.0.stock_level(retailer, product, place).free()
    }
    fn stores_with(&self, retailer: &RetailerId, product: &ProductId, qty: u32) -> Vec<StoreId> {
        self.0.stores_with(retailer, product, qty)
    }
    fn reserve(&self, wanted: &Reserve<'_>) -> bool {
        self.free(wanted.retailer, wanted.product, wanted.place).is_none_or(|free| free >= wanted.qty)
    }
}

/// What a home's rules make of an input on one of its devices.
fn decided(
    purse: &dyn Purse,
    home: &Household,
    rules: &RuleSet,
    device: &DeviceKey,
    at: Timestamp,
    said: &Value,
) -> Result<(Input, Decision), Failure> {
    let description = home.devices.get(device).and_then(|device| device.description_in(rules));
    let none = || Failure::invalid("/device", format!("nothing is known of what `{device}` can say"));
    let message = tried_message(said, description.ok_or_else(none)?, at);
    let message = message.map_err(|problem| Failure::invalid("/input", problem))?;
    let input = Input {
        id: InputId::derived(&[b"try", home.id.bytes(), said.to_string().as_bytes(), &at.0.to_be_bytes()]),
        message: None,
        received_at: at,
        device: Some(device.clone()),
        entropy: 0,
        payload_bytes: 0,
        sender: Sender::default(),
        what: What::Device(message),
    };
    let decision = decide_with(home, &input, rules, at, purse);
    match decision.reply {
        Ok(_) => Ok((input, decision)),
        Err(refusal) => Err(Failure::Refused(refusal)),
    }
}

fn tried(
    purse: &dyn Purse,
    home: &Household,
    rules: &RuleSet,
    trigger: &Trigger,
    device: DeviceKey,
    at: Timestamp,
    said: &Value,
) -> Result<Tried, Failure> {
    let (input, decision) = decided(purse, home, rules, &device, at, said)?;
    let mut candidates = decision.trace.candidates.into_iter().rev();
    let woken = candidates.find(|candidate| candidate.trigger == trigger.id);
    let offer = decision.changes.into_iter().rev().find_map(|change| match change {
        Change::OfferSet(offer) if offer.trigger == trigger.id && woken.as_ref()?.offer == Some(offer.id) => {
            Some(offer)
        }
        _ => None,
    });
    let is_woken = woken.is_some();
    let candidate = woken.unwrap_or_else(|| why_not_with(home, &input, rules, trigger, purse));
    Ok(Tried { household: home.id, device, at, input: input.id, is_woken, candidate, offer })
}

fn tried_live(
    purse: &dyn Purse,
    home: &Household,
    rules: &RuleSet,
    retailer: &RetailerId,
    device: DeviceKey,
    at: Timestamp,
    said: &Value,
) -> Result<TriedLive, Failure> {
    let (input, decision) = decided(purse, home, rules, &device, at, said)?;
    let made = |candidate: &CandidateTrace| {
        decision.changes.iter().rev().find_map(|change| match change {
            Change::OfferSet(offer) if candidate.offer == Some(offer.id) => Some(Arc::clone(offer)),
            _ => None,
        })
    };
    let woken = decision.trace.candidates.iter().map(|candidate| Tried {
        household: home.id,
        device: device.clone(),
        at,
        input: input.id,
        is_woken: true,
        offer: made(candidate),
        candidate: candidate.clone(),
    });
    let woken = woken.collect();
    let can = home.devices.get(&device).and_then(|known| Some((known, known.description_in(rules)?)));
    let is_about = |trigger: &&Arc<Trigger>| can.is_some_and(|(known, can)| trigger.on.covers(&can.kind, &known.model));
    let live = rules.triggers.iter().filter(|trigger| trigger.retailer == *retailer).filter(is_about).count();
    Ok(TriedLive { device, woken, live })
}

fn named_device(home: &Household, named: &str) -> Result<DeviceKey, Failure> {
    let name = DeviceName::new(named).ok();
    let is_meant = |key: &&DeviceKey| key.to_string() == named || Some(&key.device) == name.as_ref();
    home.devices.keys().find(is_meant).cloned().ok_or_else(|| Failure::device_not_found(named))
}

/// The device that is meant.
fn device_of(home: &Household, rules: &RuleSet, trigger: &Trigger, named: Option<&str>) -> Result<DeviceKey, Failure> {
    if let Some(named) = named {
        return named_device(home, named);
    }
    let is_about = |key: &&DeviceKey| {
        home.devices.get(key).is_some_and(|device| {
            device.description_in(rules).is_some_and(|can| trigger.on.covers(&can.kind, &device.model))
        })
    };
    let none = || Failure::invalid("/household", "the home has no device that the trigger is about");
    home.devices.keys().find(is_about).cloned().ok_or_else(none)
}
