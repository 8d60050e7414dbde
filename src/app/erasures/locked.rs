//! Orders whose buyers were erased, apart from everybody: the shop goes on with them, nobody reads them, and they
//! go when they must not be kept any longer.
//!
//! An order that is kept stands in three rows, written and deleted together: the order by its end, where that is by
//! its id, and that an erasure keeps it.

use hearthway_core::decide::decide;
use hearthway_core::decision::{Change, Effect};
use hearthway_core::id::{DERIVED_BYTES, HouseholdId, OrderId, RetailerId};
use hearthway_core::input::Command;
use hearthway_core::model::{Held, Household, Order};

use super::report::KeptAt;
use super::{Job, Kept, KeptOrder};
use crate::app::{App, Failure, rows};
use crate::store::codec::{self, Schema};
use crate::store::keys::{self, Key};
use crate::store::{Commit, Outcome, Precondition, Store, Write};

/// Rows looked at between two pauses: below a millisecond of work.
const PAGE_ROWS: usize = 256;
/// Orders that an erasure's report lists: some 150 kB. More are counted.
const TOLD_MAX: usize = 1_000;

/// What becomes of an order whose buyer is erased.
pub(super) struct Apart {
    pub(super) writes: Vec<Write>,
    pub(super) effects: Vec<Effect>,
}

impl App {
    /// What is kept of an order, and where: nothing of one that was undone, or that is too old.
    pub(super) fn kept_apart(&self, job: &Job, order: &Order) -> Apart {
        let now = self.now();
        let from = if order.state.is_open() { now } else { order.created_at };
        let until = from + self.erasures.order_retention;
        if order.state.is_undone() || until <= now {
            return Apart { writes: Vec::new(), effects: left_with(&job.retailer, order.id, order.held.as_ref()) };
        }
        let bare = KeptOrder::of(order);
        let at = KeptAt { until, erasure: job.id, is_at_work: bare.at_work.is_some() };
        let writes = vec![
            rows::put(Schema::KeptOrder, keys::kept_order(until, &job.retailer, order.id), &bare),
            rows::put(Schema::KeptAt, keys::kept_at(&job.retailer, order.id), &at),
            rows::put(Schema::KeptAt, keys::kept_by(&job.retailer, &job.id, order.id), &at),
        ];
        Apart { writes, effects: Vec::new() }
    }

    /// The orders that an erasure keeps, as its report tells of them, and how many more there are.
    pub(super) fn kept_by(
        &self,
        retailer: &RetailerId,
        erasure: &[u8; DERIVED_BYTES],
    ) -> Result<(Vec<Kept>, u64), Failure> {
        let (mut told, mut more) = (Vec::new(), 0);
        rows::each(&**self.engine.store(), &keys::all_kept_by(retailer, erasure), |key, bytes| {
            if told.len() == TOLD_MAX {
                more += 1;
                return Ok(());
            }
            let at: KeptAt = codec::decode(Schema::KeptAt, key, bytes)?;
            let why = match at.is_at_work {
                true => "accounts, and until the shop is done with it: without buyer, home and device",
                false => "accounts: its lines, total, state and date, without buyer, home and device",
            };
            let id = keys::kept_by_of(key).map(|id| id.to_string());
            told.push(Kept { what: "order".to_owned(), id, why: why.to_owned(), until: at.until });
            Ok(())
        })?;
        Ok((told, more))
    }

    /// Moves on an order whose buyer was erased; none where there is none that anything follows of. It follows the
    /// rules of any other order, in a home of nobody. One of which nothing is left goes at once.
    pub(in crate::app) async fn move_locked(
        &self,
        retailer: &RetailerId,
        id: OrderId,
        word: &str,
        what: Command,
    ) -> Result<Option<Order>, Failure> {
        let Some((at, key, bytes)) = self.find_locked(retailer, id)? else { return Ok(None) };
        let kept: KeptOrder = codec::decode(Schema::KeptOrder, &key, &bytes)?;
        let Some(order) = kept.at_work(retailer) else { return Ok(None) };
        let mut home = Household::empty(HouseholdId::derived(&[b"locked order", id.bytes()]));
        home.orders.insert(id, order.into());
        let input = self.command(None, word, id.bytes(), what);
        let decision = decide(&home, &input, &self.engine.rules(), input.received_at);
        decision.reply?;
        let set = decision.changes.into_iter().rev().find_map(|change| match change {
            Change::OrderSet(order) => Some(order),
            _ => None,
        });
        let Some(order) = set else { return Ok(home.orders.remove(&id).map(|order| (*order).clone())) };
        let mut writes = match order.state.is_undone() {
            true => all_rows(retailer, id, &at).map(Write::Delete).to_vec(),
            false => vec![rows::put(Schema::KeptOrder, key.clone(), &KeptOrder::of(&order))],
        };
        if order.state.is_final() && !order.state.is_undone() {
            let at = KeptAt { is_at_work: false, ..at };
            let told = [keys::kept_at(retailer, id), keys::kept_by(retailer, &at.erasure, id)];
            writes.extend(told.map(|key| rows::put(Schema::KeptAt, key, &at)));
        }
        let commit = Commit { preconditions: vec![Precondition::Equals(key, bytes)], writes };
        match self.engine.settle(commit, &decision.effects).await? {
            Outcome::Committed => Ok(Some((*order).clone())),
            Outcome::Conflict { .. } => {
                Err(Failure::Conflict("the order was moved on at the same moment; repeat it".to_owned()))
            }
        }
    }

    /// Where an order is kept, with its row as it stands.
    fn find_locked(&self, retailer: &RetailerId, id: OrderId) -> Result<Option<(KeptAt, Key, Vec<u8>)>, Failure> {
        let store = self.engine.store();
        let Some(at) = rows::get::<KeptAt>(&**store, Schema::KeptAt, &keys::kept_at(retailer, id))? else {
            return Ok(None);
        };
        let key = keys::kept_order(at.until, retailer, id);
        Ok(store.get(&key)?.map(|bytes| (at, key, bytes)))
    }

    /// Orders that need not be kept any longer go. Goods that were still put aside for one have left long since.
    pub(in crate::app) async fn sweep_kept_orders(&self) -> Result<(), Failure> {
        let now = self.now();
        loop {
            let page = self.engine.store().scan(&keys::kept_orders(), None, PAGE_ROWS)?;
            let is_over = |key: &Key| keys::kept_until(key).is_some_and(|until| until <= now);
            let (mut writes, mut effects) = (Vec::new(), Vec::new());
            for (key, bytes) in page.into_iter().filter(|(key, _)| is_over(key)) {
                let kept: KeptOrder = codec::decode(Schema::KeptOrder, &key, &bytes)?;
                if let Some((_, retailer, id)) = keys::kept_order_of(&key) {
                    let held = kept.at_work(&retailer).and_then(|order| order.held);
                    effects.extend(left_with(&retailer, id, held.as_ref()));
                    if let Some((at, ..)) = self.find_locked(&retailer, id)? {
                        writes.extend(all_rows(&retailer, id, &at).map(Write::Delete));
                    }
                }
                writes.push(Write::Delete(key));
            }
            if writes.is_empty() {
                return Ok(());
            }
            self.engine.settle(Commit { preconditions: Vec::new(), writes }, &effects).await?;
        }
    }
}

/// The rows that an order is kept in.
fn all_rows(retailer: &RetailerId, id: OrderId, at: &KeptAt) -> [Key; 3] {
    let KeptAt { until, erasure, .. } = at;
    [keys::kept_order(*until, retailer, id), keys::kept_at(retailer, id), keys::kept_by(retailer, erasure, id)]
}

/// Goods that wait for an order of which nothing is kept are not waited for any more.
fn left_with(retailer: &RetailerId, order: OrderId, held: Option<&Held>) -> Vec<Effect> {
    let left = held.map(|held| Effect::StockLeft { retailer: retailer.clone(), order, held: held.clone() });
    left.into_iter().collect()
}
