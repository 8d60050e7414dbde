//! What fits one slot, since when and until when, with the first that fit ready to be handed out.
//!
//! A decision that looks at all that fit a slot takes the list as it stands here: nobody walks through a
//! thousand ids for it. Who changes a slot changes the list, a copy of it while somebody reads it.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use hearthway_core::catalog::FITTING_MAX;
use hearthway_core::id::ProductId;

/// The products of one slot.
#[derive(Default)]
pub(super) struct Slot {
    all: BTreeMap<ProductId, Fitting>,
    /// The first of those that fit it as of its newest version, [`FITTING_MAX`] at most.
    first: Arc<Vec<ProductId>>,
    /// The newest version that changed what fits it.
    changed: u64,
}

/// Since when, and until when, a product fits a slot: the last such stretch of versions.
#[derive(Clone, Copy)]
pub(super) struct Fitting {
    pub(super) since: u64,
    pub(super) until: u64,
}

impl Slot {
    /// A product fits it from a version on.
    pub(super) fn begin(&mut self, id: &ProductId, version: u64) {
        self.changed = self.changed.max(version);
        self.all.insert(id.clone(), Fitting { since: version, until: u64::MAX });
        let (first, Err(at)) = (&self.first, self.first.binary_search(id)) else { return };
        if at == FITTING_MAX {
            return;
        }
        let is_full = first.len() == FITTING_MAX;
        let first = Arc::make_mut(&mut self.first);
        if is_full {
            first.pop();
        }
        first.insert(at, id.clone());
    }
    /// A product fits it no more, from a version on.
    pub(super) fn end(&mut self, id: &ProductId, version: u64) {
        let Some(fitting) = self.all.get_mut(id) else { return };
        fitting.until = version;
        self.changed = self.changed.max(version);
        let Ok(at) = self.first.binary_search(id) else { return };
        let first = Arc::make_mut(&mut self.first);
        let was_full = first.len() == FITTING_MAX;
        let last = first.last().cloned();
        first.remove(at);
        if let Some(last) = last.filter(|_| was_full) {
            let behind = self.all.range::<ProductId, _>((Bound::Excluded(&last), Bound::Unbounded));
            let next = behind.into_iter().find(|(_, of)| of.until == u64::MAX).map(|(id, _)| id.clone());
            first.extend(next);
        }
    }
    /// What fits it as of a version, where that is known without a look at older versions.
    pub(super) fn first_as_of(&self, version: u64) -> Option<Arc<Vec<ProductId>>> {
        (self.changed <= version).then(|| Arc::clone(&self.first))
    }
    /// Nobody asks any more as of a version before this one.
    pub(super) fn forget_before(&mut self, version: u64) {
        self.all.retain(|_, of| of.until > version);
    }
    /// All that ever fitted it and is asked for, by id.
    pub(super) fn stretches(&self) -> impl Iterator<Item = (&ProductId, Fitting)> {
        self.all.iter().map(|(id, of)| (id, *of))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn id(n: u32) -> ProductId {
        ProductId::new(format!("p-{n:05}")).unwrap()
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 32, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn the_list_holds_the_first_that_fit_however_they_came_and_went(
            story in prop::collection::vec((0u32..30, any::<bool>()), 1..80)
        ) {
            // Around the edge: all but a score of what the list has room for never changes.
            let fixed = FITTING_MAX as u32 - 10;
            let (mut slot, mut naive) = (Slot::default(), BTreeSet::new());
            for n in 0..fixed {
                slot.begin(&id(n * 2), 1);
                naive.insert(id(n * 2));
            }
            for (version, (n, comes)) in (2..).zip(story) {
                let product = id(n * (2 * fixed / 20) + 1);
                if comes && naive.insert(product.clone()) {
                    slot.begin(&product, version);
                } else if !comes && naive.remove(&product) {
                    slot.end(&product, version);
                }
                let first: Vec<ProductId> = naive.iter().take(FITTING_MAX).cloned().collect();
                prop_assert_eq!(&*slot.first_as_of(version).unwrap(), &first);
            }
        }
    }

    #[test]
    fn who_reads_the_list_keeps_it_as_it_was_and_an_older_version_is_not_told_the_new_one() {
        let mut slot = Slot::default();
        slot.begin(&id(1), 3);
        let read = slot.first_as_of(3).unwrap();
        slot.begin(&id(2), 5);
        assert_eq!((read.len(), slot.first_as_of(5).unwrap().len()), (1, 2));
        assert!(slot.first_as_of(4).is_none(), "as of version 4 only one fitted");
    }

    #[test]
    fn a_list_that_nobody_changes_is_handed_out_and_not_copied() {
        let mut slot = Slot::default();
        slot.begin(&id(1), 1);
        assert!(Arc::ptr_eq(&slot.first_as_of(1).unwrap(), &slot.first_as_of(7).unwrap()));
    }
}
