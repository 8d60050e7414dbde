//! Former versions of products, and when they go.
//!
//! What was decided reads products as of its version of the rules, and is decided again as long as the input log has
//! it. So a version of a product may go when a later one was there before the oldest input that any log still has:
//! offers and orders hold their own prices, and everybody else reads what is now. Where a log is kept by age, that is
//! `[log] age_days_max`; where it is kept by size, as far as that reaches.

use std::collections::HashSet;

use hearthway_core::id::{ProductId, RetailerId};

use super::super::{Failure, rows};
use super::kept::{Kept, Pack};
use crate::engine::Engine;
use crate::store::codec::{self, Schema};
use crate::store::keys::{self, Key};
use crate::store::{Store, StoreError, Write};

/// Packs looked at between two pauses: some milliseconds of work.
const PAGE_PACKS: usize = 32;
/// So that a test can reach it.
#[cfg(test)]
const VERSIONS_SPARED: u64 = 2;
/// Versions of the rules that are kept beside the oldest that an input of the logs read. Inputs of several homes join
/// their logs in another order than they read the rules in; an import makes some dozens of versions a second.
#[cfg(not(test))]
const VERSIONS_SPARED: u64 = 1_000;

impl Kept {
    /// Lets the versions of all products go that nobody reads: the logs read this version of the rules and later ones.
    pub async fn let_all_go(&self, engine: &Engine, oldest_read: u64) -> Result<usize, Failure> {
        let Some(version) = oldest_read.checked_sub(VERSIONS_SPARED) else { return Ok(0) };
        let mut gone = 0;
        for retailer in self.retailers() {
            gone += self.let_go(engine, &retailer, version).await?;
        }
        Ok(gone)
    }

    /// Lets the versions of a retailer's products go that nobody reads who asks as of this version or a later one. How
    /// many went.
    async fn let_go(&self, engine: &Engine, retailer: &RetailerId, version: u64) -> Result<usize, Failure> {
        let mut walk = Walk::before(retailer, version);
        let mut gone = 0;
        while let Some(page) = walk.next(&**engine.store())? {
            gone += page.gone;
            if !page.writes.is_empty() {
                rows::write(engine, page.writes).await?;
            }
            tokio::task::yield_now().await;
        }
        self.forget_stretches(retailer, version);
        Ok(gone)
    }
}

/// A walk through a retailer's packs, from the one of a version back.
struct Walk {
    packs: Vec<u8>,
    before: Key,
    /// What was said as of the version has been met.
    newer: HashSet<ProductId>,
}

/// A page of it.
struct Page {
    writes: Vec<Write>,
    /// Versions of products that go with them.
    gone: usize,
}

impl Walk {
    fn before(retailer: &RetailerId, version: u64) -> Walk {
        let before = keys::product_pack(retailer, version.saturating_add(1), 0);
        Walk { packs: keys::product_packs_of(retailer), before, newer: HashSet::new() }
    }

    /// The next page; none behind the last.
    fn next(&mut self, store: &dyn Store) -> Result<Option<Page>, StoreError> {
        let found = store.scan_back(&self.packs, Some(&self.before), PAGE_PACKS)?;
        let Some((last, _)) = found.last() else { return Ok(None) };
        self.before = last.clone();
        let mut page = Page { writes: Vec::new(), gone: 0 };
        for (key, bytes) in found {
            let mut pack: Pack = codec::decode(Schema::ProductPack, &key, &bytes)?;
            let all = pack.len();
            pack.keep(|id| self.newer.insert(id.clone()));
            page.gone += all - pack.len();
            match pack.len() {
                left if left == all => {}
                0 => page.writes.push(Write::Delete(key)),
                _ => page.writes.push(rows::put(Schema::ProductPack, key, &pack)),
            }
        }
        Ok(Some(page))
    }
}

/// The same on a store without an engine.
#[cfg(test)]
pub(super) fn let_go(kept: &Kept, store: &dyn Store, retailer: &RetailerId, version: u64) -> usize {
    let (mut walk, mut gone) = (Walk::before(retailer, version), 0);
    while let Some(Page { writes, gone: more }) = walk.next(store).expect("a store in memory reads") {
        gone += more;
        store.commit(&[crate::store::Commit { preconditions: Vec::new(), writes }]).expect("and writes");
    }
    kept.forget_stretches(retailer, version);
    gone
}
