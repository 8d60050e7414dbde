//! What is drawn, of all budgets: the one count that every draw goes through.

use std::cell::RefCell;
use std::collections::BTreeMap;

use super::{
    Draw, Drawn, Elsewhere, Hearing, Purse, Reserve, Sending, Sends, SharedCap, Speaking, Spent, Stock, TakenCode,
    sample_code,
};
use crate::id::{OfferId, PoolId, ProductId, RetailerId, StoreId, TriggerId};
use crate::model::Place;
use crate::money::{Currency, Money};

/// What homes hold of what they share.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AllDrawn {
    /// What orders hold of budgets, by trigger across its versions.
    held: BTreeMap<RetailerId, BTreeMap<TriggerId, Held>>,
    /// What was sent under caps of all homes.
    pub sends: Sends,
    /// What stands in stores and at sellers.
    pub stock: Stock,
    /// What people with several homes heard in each.
    pub elsewhere: Elsewhere,
}

/// What orders hold of one budget.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Held {
    count: u64,
    minor: BTreeMap<Currency, i64>,
}

impl AllDrawn {
    /// What is drawn from a trigger's budget.
    pub fn spent(&self, retailer: &RetailerId, trigger: &TriggerId, currency: Option<Currency>) -> Spent {
        let held = self.held.get(retailer).and_then(|triggers| triggers.get(trigger));
        held.map_or_else(Spent::default, |held| {
            let minor = currency.and_then(|currency| held.minor.get(&currency).copied());
            Spent { count: held.count, minor: minor.unwrap_or(0) }
        })
    }

    /// AllDrawn where there is room: what was drawn before, and what is now. None where there is none.
    pub fn draw(&mut self, draw: &Draw<'_>) -> Option<(Spent, Spent)> {
        let currency = Some(draw.amount.currency);
        let before = self.spent(draw.retailer, draw.trigger, currency);
        if !draw.honoured && !draw.budget.has_room(before, draw.amount) {
            return None;
        }
        self.add(draw.retailer, &Drawn { trigger: draw.trigger.clone(), amount: draw.amount });
        Some((before, self.spent(draw.retailer, draw.trigger, currency)))
    }

    /// An order holds so much.
    pub fn add(&mut self, retailer: &RetailerId, drawn: &Drawn) {
        let held = self.held.entry(retailer.clone()).or_default().entry(drawn.trigger.clone()).or_default();
        held.count = held.count.saturating_add(1);
        let minor = held.minor.entry(drawn.amount.currency).or_default();
        *minor = minor.saturating_add(drawn.amount.minor);
    }

    /// An order holds so much less of it, and still counts.
    pub fn give_part_back(&mut self, retailer: &RetailerId, trigger: &TriggerId, back: Money) {
        let held = self.held.get_mut(retailer).and_then(|triggers| triggers.get_mut(trigger));
        if let Some(minor) = held.and_then(|held| held.minor.get_mut(&back.currency)) {
            *minor = minor.saturating_sub(back.minor);
        }
    }

    /// An order that held so much holds it no more.
    pub fn give_back(&mut self, retailer: &RetailerId, drawn: &Drawn) {
        let Some(held) = self.held.get_mut(retailer).and_then(|triggers| triggers.get_mut(&drawn.trigger)) else {
            return;
        };
        held.count = held.count.saturating_sub(1);
        if let Some(minor) = held.minor.get_mut(&drawn.amount.currency) {
            *minor = minor.saturating_sub(drawn.amount.minor);
        }
    }
}

/// For worlds without threads: a backtest, a story.
impl Purse for RefCell<AllDrawn> {
    fn spent(&self, retailer: &RetailerId, trigger: &TriggerId, currency: Option<Currency>) -> Option<Spent> {
        Some(self.borrow().spent(retailer, trigger, currency))
    }
    fn draw(&self, draw: &Draw<'_>) -> bool {
        self.borrow_mut().draw(draw).is_some()
    }
    /// Nobody outside of such a world must see a code that is somebody's.
    fn take_code(&self, _: &RetailerId, _: &PoolId, _: OfferId) -> TakenCode {
        TakenCode::Code(sample_code())
    }
    fn sent(&self, retailer: &RetailerId, trigger: &TriggerId, cap: &SharedCap) -> Option<u32> {
        Some(self.borrow().sends.count(retailer, trigger, cap))
    }
    fn send(&self, sending: &Sending<'_>) -> bool {
        self.borrow_mut().sends.send(sending).is_some()
    }
    fn elsewhere(&self, hearing: &Hearing<'_>, cap: &SharedCap) -> Option<u32> {
        Some(self.borrow().elsewhere.count(hearing, cap))
    }
    fn speak(&self, speaking: &Speaking<'_>) -> Result<(), usize> {
        self.borrow_mut().elsewhere.speak(speaking).map(drop)
    }
    fn free(&self, retailer: &RetailerId, product: &ProductId, place: &Place) -> Option<u32> {
        self.borrow().stock.level(retailer, product, place).free()
    }
    fn stores_with(&self, retailer: &RetailerId, product: &ProductId, qty: u32) -> Vec<StoreId> {
        self.borrow().stock.stores_with(retailer, product, qty)
    }
    fn reserve(&self, wanted: &Reserve<'_>) -> bool {
        self.borrow_mut().stock.reserve(wanted)
    }
}
