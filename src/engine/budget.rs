//! The budgets of all triggers: one sum of draws in memory for all shards, and a row per order that holds
//! something of it.
//!
//! A draw is counted the moment it is granted, under one lock, so that two shards never sell the same
//! unit. Its row is part of the commit that makes the order; where that commit does not come to be,
//! the draw is given back. What an order gives back is free only when that is on disk. So at every
//! instant the sum holds at least what the rows say, and a start that adds the rows up finds what
//! was sold: a kill neither loses a unit nor sells one twice.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use hearthway_core::budget::{
    AllDrawn, Budget, Draw, Drawn, Hearing, Purse, Reserve, Sending, SharedCap, Speaking, Spent, TakenCode,
};
use hearthway_core::decision::{Change, Decision, Effect};
use hearthway_core::event_out::EventOut;
use hearthway_core::id::{HouseholdId, OfferId, OrderId, PoolId, ProductId, RetailerId, StoreId, TriggerId};
use hearthway_core::model::Place;
use hearthway_core::money::{Currency, Money};
use hearthway_core::time::Timestamp;
use metrics::Counter;

use super::Engine;
use super::codes::{Codes, TakenFromPool};
use super::decider::Decider;
use super::elsewhere::TakenWord;
use super::house::{House, lock};
use super::metrics as names;
use super::prepared::Prepared;
use super::rows;
use super::sends::TakenSend;
use super::stock::{PutAside, TakenStock};
use crate::store::codec::{self, Schema};
use crate::store::{Commit, Outcome, Store, StoreError, Write, keys};

/// How full a budget is when somebody should look, in percent: in time to raise it, and when it ends.
const THRESHOLDS_PERCENT: [u64; 2] = [90, 100];

/// All budgets.
pub(super) struct Budgets {
    pub(super) held: Mutex<AllDrawn>,
    /// Which homes are watched for their people's caps, and since when last somebody wanted that.
    pub(super) watching: tokio::sync::Mutex<BTreeMap<HouseholdId, Timestamp>>,
    draws: Counter,
    refusals: Counter,
    returns: Counter,
    sends_refused: Counter,
}

impl Budgets {
    /// Adds up what orders hold.
    pub(super) fn open(store: &dyn Store, decider: Decider) -> Result<Arc<Budgets>, StoreError> {
        let mut held = AllDrawn::default();
        rows::walk(store, &keys::draws(), |key, bytes| {
            if let Some(retailer) = keys::retailer_of(key) {
                held.add(&retailer, &codec::decode::<Drawn>(Schema::Draw, key, bytes)?);
            }
            Ok(true)
        })?;
        let budgets = Budgets {
            held: Mutex::new(held),
            watching: tokio::sync::Mutex::default(),
            draws: metrics::counter!(names::BUDGET_DRAWS),
            refusals: metrics::counter!(names::BUDGET_REFUSALS),
            returns: metrics::counter!(names::BUDGET_RETURNS),
            sends_refused: metrics::counter!(names::SHARED_CAP_REFUSALS),
        };
        budgets.read_sends(store)?;
        budgets.read_stock(store)?;
        budgets.read_elsewhere(store, decider)?;
        Ok(Arc::new(budgets))
    }

    /// What is drawn from a trigger's budget, by orders on disk and on their way to it.
    pub(super) fn spent(&self, retailer: &RetailerId, trigger: &TriggerId, currency: Option<Currency>) -> Spent {
        lock(&self.held).spent(retailer, trigger, currency)
    }
}

/// The purse of one decision: what it draws is given back unless somebody keeps it.
pub(super) struct Asking {
    budgets: Arc<Budgets>,
    codes: Arc<Codes>,
    taken: RefCell<Vec<Taken>>,
    taken_codes: RefCell<Vec<TakenFromPool>>,
    taken_sends: RefCell<Vec<TakenSend>>,
    taken_stock: RefCell<Vec<TakenStock>>,
    taken_words: RefCell<Vec<TakenWord>>,
}

/// What the purse of a decision took.
pub(super) type AllTaken = (Vec<Taken>, Vec<TakenFromPool>, Vec<TakenSend>, Vec<TakenStock>, Vec<TakenWord>);

impl Asking {
    pub(super) fn new(house: &House) -> Asking {
        let (budgets, codes) = (Arc::clone(&house.budgets), Arc::clone(&house.codes));
        Asking {
            budgets,
            codes,
            taken: RefCell::default(),
            taken_codes: RefCell::default(),
            taken_sends: RefCell::default(),
            taken_stock: RefCell::default(),
            taken_words: RefCell::default(),
        }
    }
    pub(super) fn into_taken(self) -> AllTaken {
        let (taken, codes) = (self.taken.into_inner(), self.taken_codes.into_inner());
        let (sends, stock) = (self.taken_sends.into_inner(), self.taken_stock.into_inner());
        (taken, codes, sends, stock, self.taken_words.into_inner())
    }
}

impl Purse for Asking {
    fn spent(&self, retailer: &RetailerId, trigger: &TriggerId, currency: Option<Currency>) -> Option<Spent> {
        Some(self.budgets.spent(retailer, trigger, currency))
    }

    fn draw(&self, draw: &Draw<'_>) -> bool {
        let Some((before, after)) = lock(&self.budgets.held).draw(draw) else {
            self.budgets.refusals.increment(1);
            return false;
        };
        self.taken.borrow_mut().push(Taken {
            budgets: Arc::clone(&self.budgets),
            retailer: draw.retailer.clone(),
            order: draw.order,
            drawn: Drawn { trigger: draw.trigger.clone(), amount: draw.amount },
            budget: draw.budget,
            before,
            after,
            is_kept: false,
        });
        true
    }

    fn take_code(&self, retailer: &RetailerId, pool: &PoolId, offer: OfferId) -> TakenCode {
        let Some(taken) = Codes::take(&self.codes, retailer, pool, offer) else { return TakenCode::Empty };
        let code = taken.code().clone();
        self.taken_codes.borrow_mut().push(taken);
        TakenCode::Code(code)
    }

    fn sent(&self, retailer: &RetailerId, trigger: &TriggerId, cap: &SharedCap) -> Option<u32> {
        Some(self.budgets.sent(retailer, trigger, cap))
    }

    fn send(&self, sending: &Sending<'_>) -> bool {
        let Some(taken) = Budgets::send(&self.budgets, sending) else {
            self.budgets.sends_refused.increment(1);
            return false;
        };
        self.taken_sends.borrow_mut().push(taken);
        true
    }

    fn elsewhere(&self, hearing: &Hearing<'_>, cap: &SharedCap) -> Option<u32> {
        Some(lock(&self.budgets.held).elsewhere.count(hearing, cap))
    }

    fn speak(&self, speaking: &Speaking<'_>) -> Result<(), usize> {
        let taken = Budgets::speak(&self.budgets, speaking);
        let taken = taken.inspect_err(|_| self.budgets.sends_refused.increment(1))?;
        self.taken_words.borrow_mut().push(taken);
        Ok(())
    }

    fn free(&self, retailer: &RetailerId, product: &ProductId, place: &Place) -> Option<u32> {
        lock(&self.budgets.held).stock.level(retailer, product, place).free()
    }

    fn stores_with(&self, retailer: &RetailerId, product: &ProductId, qty: u32) -> Vec<StoreId> {
        lock(&self.budgets.held).stock.stores_with(retailer, product, qty)
    }

    fn reserve(&self, wanted: &Reserve<'_>) -> bool {
        let Some(taken) = Budgets::reserve(&self.budgets, wanted) else { return false };
        self.taken_stock.borrow_mut().push(taken);
        true
    }
}

/// The thresholds that a draw reached.
fn thresholds_crossed(budget: &Budget, before: Spent, after: Spent) -> impl Iterator<Item = u64> {
    let (before, after) = (budget.percent_used(before), budget.percent_used(after));
    THRESHOLDS_PERCENT.into_iter().filter(move |percent| before < *percent && *percent <= after)
}

/// A draw that is counted and not yet on disk. Dropping it gives it back.
pub(super) struct Taken {
    budgets: Arc<Budgets>,
    retailer: RetailerId,
    order: OrderId,
    drawn: Drawn,
    budget: Budget,
    before: Spent,
    after: Spent,
    is_kept: bool,
}

impl Taken {
    /// It is on disk.
    pub(super) fn keep(mut self) {
        self.is_kept = true;
        self.budgets.draws.increment(1);
        for percent in thresholds_crossed(&self.budget, self.before, self.after) {
            tracing::info!(
                event = "budget.threshold",
                retailer = %self.retailer,
                trigger = %self.drawn.trigger,
                percent,
                orders = self.after.count,
                "The budget of `{}` is used to {percent} %",
                self.drawn.trigger
            );
        }
    }

    /// Its commit failed. A store may have kept what it said it had not: then the order is made, and
    /// so it is taken to be where nobody can say.
    fn settle(mut self, store: &dyn Store) {
        let row = store.get(&keys::draw(&self.retailer, &self.drawn.trigger, self.order));
        self.is_kept = !matches!(row, Ok(None));
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        if !self.is_kept {
            lock(&self.budgets.held).give_back(&self.retailer, &self.drawn);
        }
    }
}

/// What one input does to budgets, once it is on disk.
#[derive(Default)]
pub(super) struct Draws {
    taken: Vec<Taken>,
    given_back: Vec<(RetailerId, Drawn)>,
    given_part_back: Vec<(RetailerId, TriggerId, Money)>,
}

impl Prepared {
    /// Rows of what orders draw and give back.
    pub(super) fn follow_budgets(&mut self, taken: Vec<Taken>, decision: &Decision) {
        for taken in taken {
            let holds = |change: &Change| matches!(change, Change::OrderSet(order) if order.id == taken.order && order.drawn.is_some());
            // What no order holds is given back here and now.
            if decision.changes.iter().any(holds) {
                let key = keys::draw(&taken.retailer, &taken.drawn.trigger, taken.order);
                self.writes.push(rows::put(Schema::Draw, key, &taken.drawn));
                self.draws.taken.push(taken);
            }
        }
        decision.effects.iter().for_each(|effect| self.draws.follow(effect, &mut self.writes));
    }
}

impl Draws {
    /// What an order gives back.
    fn follow(&mut self, effect: &Effect, writes: &mut Vec<Write>) {
        if let Effect::GivePartBack { retailer, order, left, back } = effect {
            writes.push(rows::put(Schema::Draw, keys::draw(retailer, &left.trigger, *order), left));
            self.given_part_back.push((retailer.clone(), left.trigger.clone(), *back));
        }
        if let Effect::GiveBack { retailer, order, drawn } = effect {
            writes.push(Write::Delete(keys::draw(retailer, &drawn.trigger, *order)));
            self.given_back.push((retailer.clone(), drawn.clone()));
        }
    }

    /// Budgets that its draws bring to a threshold, as they are told.
    pub(super) fn thresholds_reached(&self, now: Timestamp) -> Vec<EventOut> {
        let told = self.taken.iter().flat_map(|taken| {
            let (retailer, trigger, orders) = (&taken.retailer, &taken.drawn.trigger, taken.after.count);
            thresholds_crossed(&taken.budget, taken.before, taken.after)
                .map(move |percent| EventOut::budget_threshold(retailer, trigger, percent, orders, taken.order, now))
        });
        told.collect()
    }

    /// It is on disk.
    pub(super) fn stand(self, budgets: &Budgets) {
        self.taken.into_iter().for_each(Taken::keep);
        for (retailer, trigger, back) in &self.given_part_back {
            lock(&budgets.held).give_part_back(retailer, trigger, *back);
        }
        if self.given_back.is_empty() {
            return;
        }
        budgets.returns.increment(self.given_back.len() as u64);
        let mut held = lock(&budgets.held);
        self.given_back.iter().for_each(|(retailer, drawn)| held.give_back(retailer, drawn));
    }

    /// It is not on disk, as far as the store says. What would have been given back stays drawn: should
    /// the store have kept that after all, the next start knows, and until then one fewer is sold.
    pub(super) fn failed(self, store: &dyn Store) {
        self.taken.into_iter().for_each(|taken| taken.settle(store));
    }
}

impl Engine {
    /// Commits what becomes of an order that is in no home, with what it gives back of a budget and of goods.
    pub async fn settle(&self, mut commit: Commit, effects: &[Effect]) -> Result<Outcome, StoreError> {
        let (mut draws, mut put_aside) = (Draws::default(), PutAside::default());
        for effect in effects {
            draws.follow(effect, &mut commit.writes);
            put_aside.follow(effect, &mut commit.writes);
        }
        let outcome = self.write(commit).await?;
        if outcome == Outcome::Committed {
            draws.stand(&self.house().budgets);
            put_aside.stand(&self.house().budgets);
        }
        Ok(outcome)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_threshold_is_told_by_the_draw_that_reaches_it_and_by_no_other() {
        let budget = Budget { count: Some(10), amount: None, honour_shown: false };
        let spent = |count| Spent { count, minor: 0 };
        let crossed: Vec<_> = (0..12)
            .flat_map(|n| thresholds_crossed(&budget, spent(n), spent(n + 1)).map(move |percent| (n + 1, percent)))
            .collect();
        assert_eq!(crossed, [(9, 90), (10, 100)]);
        let one = Budget { count: Some(1), ..budget };
        assert_eq!(thresholds_crossed(&one, spent(0), spent(1)).collect::<Vec<_>>(), THRESHOLDS_PERCENT);
    }
}
