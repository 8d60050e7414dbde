//! Unique codes: each is given to one offer at most.
//!
//! Free codes are in memory, pool by pool; every code is a row. A code is taken from memory the moment
//! an offer is decided, and its row is part of the commit that makes the offer; where that does not
//! come to be the code goes back. A code that an offer did not show to anybody is free again when the
//! end of that offer is on disk.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use hearthway_core::decision::{Change, Decision};
use hearthway_core::id::{OfferId, PoolId, RetailerId, UniqueCode};
use hearthway_core::model::{CodeState, Offer, OfferCode};
use metrics::Counter;

use super::Engine;
use super::house::lock;
use super::metrics as names;
use super::prepared::Prepared;
use super::rows::{self, CodeRow};
use crate::store::codec::{self, Schema};
use crate::store::{Store, StoreError, keys};

/// A pool is low at this part of its codes.
const LOW_PARTS: usize = 10;

/// A pool in memory.
#[derive(Debug, Default)]
struct Pool {
    free: BTreeSet<UniqueCode>,
    /// Codes that were ever imported.
    total: usize,
}

impl Pool {
    fn is_low(&self) -> bool {
        self.free.len() * LOW_PARTS <= self.total
    }
}

type Pools = BTreeMap<RetailerId, BTreeMap<PoolId, Pool>>;

/// All pools.
pub(super) struct Codes {
    pools: Mutex<Pools>,
    taken: Counter,
    empty: Counter,
    low: Counter,
}

/// How many codes of a pool are where.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PoolCounts {
    /// Nobody has them.
    pub free: usize,
    /// Live offers carry them.
    pub reserved: usize,
    /// Their offers ended and may have been seen.
    pub shown: usize,
    /// Bought with.
    pub used: usize,
}

impl PoolCounts {
    /// All of them.
    pub fn total(&self) -> usize {
        self.free + self.reserved + self.shown + self.used
    }
}

impl Codes {
    /// Reads which codes are free.
    pub(super) fn open(store: &dyn Store) -> Result<Arc<Codes>, StoreError> {
        let mut pools = Pools::new();
        rows::walk(store, &keys::codes(), |key, bytes| {
            let row = codec::decode::<CodeRow>(Schema::Code, key, bytes)?;
            if let Some((retailer, pool, code)) = keys::code_of(key) {
                add(&mut pools, &retailer, &pool, (row.state == CodeState::Free).then_some(code));
            }
            Ok(true)
        })?;
        Ok(Arc::new(Codes {
            pools: Mutex::new(pools),
            taken: metrics::counter!(names::CODES_TAKEN),
            empty: metrics::counter!(names::CODE_POOLS_EMPTY),
            low: metrics::counter!(names::CODE_POOLS_LOW),
        }))
    }

    /// Takes a code for an offer, if there is one.
    pub(super) fn take(
        codes: &Arc<Codes>,
        retailer: &RetailerId,
        pool: &PoolId,
        offer: OfferId,
    ) -> Option<TakenFromPool> {
        let mut pools = lock(&codes.pools);
        let known = pools.get_mut(retailer).and_then(|pools| pools.get_mut(pool));
        let Some((known, code)) = known.and_then(|known| known.free.pop_first().map(|code| (known, code))) else {
            codes.empty.increment(1);
            return None;
        };
        let (left, total, is_low) = (known.free.len(), known.total, known.is_low());
        let came_down = is_low && (left + 1) * LOW_PARTS > total;
        drop(pools);
        if came_down {
            codes.low.increment(1);
            tracing::warn!(%retailer, %pool, left, total, "The code pool `{pool}` has {left} of {total} codes left");
        }
        let code = OfferCode { pool: pool.clone(), code };
        Some(TakenFromPool { codes: Arc::clone(codes), retailer: retailer.clone(), code, offer, is_kept: false })
    }

    fn put_back(&self, retailer: &RetailerId, code: &OfferCode) {
        let mut pools = lock(&self.pools);
        if let Some(pool) = pools.get_mut(retailer).and_then(|pools| pools.get_mut(&code.pool)) {
            pool.free.insert(code.code.clone());
        }
    }

    fn counts(&self, retailer: &RetailerId, pool: &PoolId) -> (usize, usize) {
        let pools = lock(&self.pools);
        let known = pools.get(retailer).and_then(|pools| pools.get(pool));
        known.map_or((0, 0), |known| (known.free.len(), known.total))
    }
}

/// A code of a pool that may be new, free or not.
fn add(pools: &mut Pools, retailer: &RetailerId, pool: &PoolId, free: Option<UniqueCode>) {
    let known = pools.entry(retailer.clone()).or_default().entry(pool.clone()).or_default();
    known.total += 1;
    known.free.extend(free);
}

impl Engine {
    /// How many codes of a pool nobody has.
    pub fn codes_left(&self, retailer: &RetailerId, pool: &PoolId) -> usize {
        self.house().codes.counts(retailer, pool).0
    }
    /// How many codes a pool ever had.
    pub fn codes_of_pool(&self, retailer: &RetailerId, pool: &PoolId) -> usize {
        self.house().codes.counts(retailer, pool).1
    }
    /// How many pools a retailer has.
    pub fn code_pools(&self, retailer: &RetailerId) -> usize {
        lock(&self.house().codes.pools).get(retailer).map_or(0, BTreeMap::len)
    }
    /// Codes that were written just now may be taken.
    pub fn codes_imported(&self, retailer: &RetailerId, pool: &PoolId, codes: Vec<UniqueCode>) {
        let mut pools = lock(&self.house().codes.pools);
        codes.into_iter().for_each(|code| add(&mut pools, retailer, pool, Some(code)));
    }
    /// Where the codes of a pool are, as it is on disk.
    pub fn pool_counts(&self, retailer: &RetailerId, pool: &PoolId) -> Result<PoolCounts, StoreError> {
        let mut counts = PoolCounts::default();
        rows::walk(&**self.store(), &keys::codes_of(retailer, pool), |key, bytes| {
            match codec::decode::<CodeRow>(Schema::Code, key, bytes)?.state {
                CodeState::Free => counts.free += 1,
                CodeState::Reserved => counts.reserved += 1,
                CodeState::Shown => counts.shown += 1,
                CodeState::Used => counts.used += 1,
            }
            Ok(true)
        })?;
        Ok(counts)
    }
}

/// A code that is taken and not yet on disk. Dropping it puts it back.
pub(super) struct TakenFromPool {
    codes: Arc<Codes>,
    retailer: RetailerId,
    code: OfferCode,
    offer: OfferId,
    is_kept: bool,
}

impl TakenFromPool {
    pub(super) fn code(&self) -> &UniqueCode {
        &self.code.code
    }

    /// Its commit failed. Where the store kept it all the same, or nobody can say, it stays taken.
    fn settle(mut self, store: &dyn Store) {
        let key = keys::code(&self.retailer, &self.code.pool, &self.code.code);
        let row = rows::get::<CodeRow>(store, Schema::Code, &key);
        self.is_kept = !matches!(row, Ok(Some(CodeRow { state: CodeState::Free, .. })));
    }
}

impl Drop for TakenFromPool {
    fn drop(&mut self) {
        if !self.is_kept {
            self.codes.put_back(&self.retailer, &self.code);
        }
    }
}

/// What one input does to pools, once it is on disk.
#[derive(Default)]
pub(super) struct HandedOut {
    taken: Vec<TakenFromPool>,
    free_again: Vec<(RetailerId, OfferCode)>,
}

impl Prepared {
    /// Rows of the codes that offers take, show, use and put back: the last word on each offer.
    pub(super) fn follow_codes(&mut self, taken: Vec<TakenFromPool>, decision: &Decision) {
        let mut last: BTreeMap<OfferId, (&Offer, &OfferCode)> = BTreeMap::new();
        for change in &decision.changes {
            if let Change::OfferSet(offer) = change
                && let Some(code) = &offer.code
            {
                last.insert(offer.id, (offer, code));
            }
        }
        if last.is_empty() {
            // What is on no offer goes back here and now.
            return;
        }
        let mut taken: BTreeMap<OfferId, TakenFromPool> = taken.into_iter().map(|taken| (taken.offer, taken)).collect();
        for (id, (offer, code)) in last {
            let taken = taken.remove(&id).filter(|taken| taken.code == *code);
            let state = offer.code_state();
            // A live offer that had its code before has its row.
            if state == CodeState::Reserved && taken.is_none() {
                continue;
            }
            let row = CodeRow { state, offer: (state != CodeState::Free).then_some(id) };
            let key = keys::code(&offer.retailer, &code.pool, &code.code);
            self.writes.push(rows::put(Schema::Code, key, &row));
            if state == CodeState::Free && taken.is_none() {
                self.handed_out.free_again.push((offer.retailer.clone(), code.clone()));
            } else if state != CodeState::Free {
                self.handed_out.taken.extend(taken);
            }
        }
    }
}

impl HandedOut {
    /// It is on disk.
    pub(super) fn stands(self, codes: &Codes) {
        codes.taken.increment(self.taken.len() as u64);
        self.taken.into_iter().for_each(|mut taken| taken.is_kept = true);
        self.free_again.iter().for_each(|(retailer, code)| codes.put_back(retailer, code));
    }

    /// It is not on disk, as far as the store says; what would be free again stays taken until the next
    /// start, which knows.
    pub(super) fn failed(self, store: &dyn Store) {
        self.taken.into_iter().for_each(|taken| taken.settle(store));
    }
}
