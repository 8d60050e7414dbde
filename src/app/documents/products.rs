//! Products change under the same versions as documents do.

use std::sync::Arc;

use hearthway_core::id::{ProductId, RetailerId};
use hearthway_core::model::Product;
use hearthway_core::rules::RuleSet;

use super::super::aside::aside;
use super::super::catalog::kept::Kept;
use super::super::{Failure, rows};
use super::Rulebook;
use crate::engine::Engine;
use crate::store::{Precondition, Write, keys};

/// What becomes of products, each by its id; none where one is to go.
pub type Wanted = Vec<(ProductId, Option<Product>)>;

impl Rulebook {
    /// Products as they are from the next version of the rules on, none of them gone; durable on return and read
    /// by the next decision. What is so already changes nothing. What is wanted is asked while nobody else changes
    /// any, on a thread of its own: a price list has thousands. `more` is written with it. How many changed, and what
    /// else `wanted` told.
    pub async fn put_products<T: Send + 'static>(
        &self,
        engine: &Engine,
        retailer: &RetailerId,
        more: Vec<Write>,
        wanted: impl FnOnce(&Kept) -> Result<(Wanted, T), Failure> + Send + 'static,
    ) -> Result<(usize, T), Failure> {
        let mut unsure = self.changing.lock().await;
        let (version, now) = (self.current.load().version + 1, engine.clock().now());
        let (kept, of) = (Arc::clone(&self.catalog), retailer.clone());
        let staging = move || -> Result<_, Failure> {
            let (wanted, told) = wanted(&kept)?;
            let staged = kept.stage(&of, wanted, version, now);
            let writes = staged.as_ref().map(|staged| staged.writes()).unwrap_or_default();
            Ok((staged, writes, told))
        };
        let (staged, mut writes, told) = aside("looking at the products", staging).await??;
        let Some(staged) = staged else {
            if !more.is_empty() {
                unsure.settle(engine).await?;
                rows::write(engine, more).await?;
            }
            return Ok((0, told));
        };
        let changed = staged.len();
        writes.extend(more);
        // What is written with them goes with them: an import that is not as far as it says would lose lines.
        let adds = writes.iter().filter_map(|write| match write {
            Write::Put(key, _) => Some(key.clone()),
            Write::Delete(_) | Write::Append(..) => None,
        });
        let adds = adds.collect();
        let first = keys::product_pack(retailer, version, 0);
        unsure.commit(engine, adds, vec![Precondition::Absent(first)], writes).await?;
        // In this order: who asks as of the version before is answered as of it, whatever stands there.
        let kept = Arc::clone(&self.catalog);
        aside("taking products in", move || kept.take(staged)).await?;
        let rules = self.current.load_full();
        let products = rules.products.at(version);
        self.current.store(Arc::new(RuleSet { version, products, ..(*rules).clone() }));
        Ok((changed, told))
    }

    /// Lets former versions of products go that nobody reads who asks as of a version that the logs still read. How
    /// many went.
    pub async fn let_products_go(&self, engine: &Engine, oldest_read: Option<u64>) -> Result<usize, Failure> {
        self.catalog.let_all_go(engine, oldest_read.unwrap_or(self.current.load().version)).await
    }

    /// Looks at the products while nobody changes any, on a thread of its own.
    pub async fn while_nobody_changes<T: Send + 'static>(
        &self,
        look: impl FnOnce(&Kept) -> T + Send + 'static,
    ) -> Result<T, Failure> {
        let _unsure = self.changing.lock().await;
        let kept = Arc::clone(&self.catalog);
        aside("looking at the products", move || look(&kept)).await
    }
}
