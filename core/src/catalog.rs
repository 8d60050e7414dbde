//! The products that rules can propose, as of one version of the rules.
//!
//! A shop may have a million of them, and every change of anything is a new version of the rules; so a
//! rule set does not hold products. It knows who keeps them, and as of which version it asks. What is
//! kept answers the same for a version always, however late it is asked: a replay reads what the
//! decision read. Where there are few, as in files and tests, they are listed here by themselves.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::ControlFlow;
use std::sync::Arc;

use crate::id::{ModelId, ProductId, RetailerId, SlotId};
use crate::model::Product;

/// Products of one slot that are looked at: who sells more for one slot lets people search, and a
/// proposal is one of the first.
pub const FITTING_MAX: usize = 1_000;

/// Who keeps all products of all retailers, in the versions that decisions read.
pub trait Keeper: Send + Sync {
    /// A product as it was in a version of the rules.
    fn product(&self, retailer: &RetailerId, product: &ProductId, version: u64) -> Option<Arc<Product>>;
    /// The products that fitted a slot in a version, in the order of their ids: the first so many at least,
    /// [`FITTING_MAX`] at most.
    fn fitting(
        &self,
        retailer: &RetailerId,
        model: &ModelId,
        slot: &SlotId,
        version: u64,
        limit: usize,
    ) -> Arc<Vec<ProductId>>;
    /// Tells a retailer's article numbers behind one, in order, until it is enough.
    fn ids(
        &self,
        retailer: &RetailerId,
        after: Option<&ProductId>,
        version: u64,
        each: &mut dyn FnMut(&ProductId) -> ControlFlow<()>,
    );
}

/// All products, as of one version.
#[derive(Clone, Default)]
pub struct Products {
    /// Those that are listed here. They stand before those that are kept elsewhere.
    pub listed: BTreeMap<(RetailerId, ProductId), Arc<Product>>,
    kept: Option<(Arc<dyn Keeper>, u64)>,
}

impl Products {
    /// Those that somebody keeps, as of a version.
    pub fn kept(keeper: Arc<dyn Keeper>, version: u64) -> Products {
        Products { listed: BTreeMap::new(), kept: Some((keeper, version)) }
    }
    /// The same as of another version.
    pub fn at(&self, version: u64) -> Products {
        let kept = self.kept.as_ref().map(|(keeper, _)| (Arc::clone(keeper), version));
        Products { listed: self.listed.clone(), kept }
    }
    /// One product.
    pub fn get(&self, retailer: &RetailerId, product: &ProductId) -> Option<Arc<Product>> {
        let listed = || self.listed.get(&(retailer.clone(), product.clone())).cloned();
        let kept = || self.kept.as_ref().and_then(|(keeper, version)| keeper.product(retailer, product, *version));
        if self.listed.is_empty() { kept() } else { listed().or_else(kept) }
    }
    /// The article numbers of what fits a slot, in their order, [`FITTING_MAX`] at most.
    pub fn fitting(&self, retailer: &RetailerId, model: &ModelId, slot: &SlotId) -> Arc<Vec<ProductId>> {
        self.first_of_fitting(retailer, model, slot, FITTING_MAX)
    }
    /// The first of them.
    pub fn first_fitting(&self, retailer: &RetailerId, model: &ModelId, slot: &SlotId) -> Option<ProductId> {
        self.first_of_fitting(retailer, model, slot, 1).first().cloned()
    }
    /// A retailer's article numbers behind one, in order, as many as are asked for.
    pub fn ids(&self, retailer: &RetailerId, after: Option<&ProductId>, limit: usize) -> Vec<ProductId> {
        let mut found = Vec::new();
        let mut take = |product: &ProductId| {
            if found.len() == limit {
                return ControlFlow::Break(());
            }
            found.push(product.clone());
            ControlFlow::Continue(())
        };
        let own = self.listed.keys().filter(|(owner, _)| owner == retailer).map(|(_, product)| product);
        let enough = own.filter(|id| after.is_none_or(|after| *id > after)).try_for_each(&mut take);
        if let (ControlFlow::Continue(()), Some((keeper, version))) = (enough, &self.kept) {
            keeper.ids(retailer, after, *version, &mut take);
        }
        found
    }
    fn first_of_fitting(
        &self,
        retailer: &RetailerId,
        model: &ModelId,
        slot: &SlotId,
        limit: usize,
    ) -> Arc<Vec<ProductId>> {
        let kept = |limit: usize| match &self.kept {
            Some((keeper, version)) if limit > 0 => keeper.fitting(retailer, model, slot, *version, limit),
            Some(_) | None => Arc::default(),
        };
        let own = self.listed.iter().filter(|((owner, _), product)| owner == retailer && product.fits(model, slot));
        let mut own: Vec<ProductId> = own.map(|((_, product), _)| product.clone()).take(limit).collect();
        if own.is_empty() {
            return kept(limit);
        }
        let room = limit - own.len();
        own.extend(kept(room).iter().take(room).cloned());
        Arc::new(own)
    }
}

impl From<BTreeMap<(RetailerId, ProductId), Arc<Product>>> for Products {
    fn from(listed: BTreeMap<(RetailerId, ProductId), Arc<Product>>) -> Products {
        Products { listed, kept: None }
    }
}

impl fmt::Debug for Products {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let version = self.kept.as_ref().map(|(_, version)| version);
        f.debug_struct("Products").field("listed", &self.listed).field("kept_as_of", &version).finish()
    }
}
