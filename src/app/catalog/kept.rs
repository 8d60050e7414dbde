//! All products of all retailers: the newest version of each in memory, all versions on disk.
//!
//! Products stand in this one place. A rule set only knows the version as of which it asks, so that a
//! new version of the rules copies none of them. In memory a product is its bytes on disk, read when
//! somebody asks; beside it stands what fits which slot. A question as of an older version than the
//! one in memory is answered from the disk: each row names the row that held the product before, so
//! the way back is as long as the product changed since.
//!
//! A change is on disk before it stands here, and stands here before the rules have its version: a
//! decision that asks as of version v sees what v said, whatever is taken in meanwhile.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::{Bound, ControlFlow};
use std::sync::{Arc, RwLock, RwLockReadGuard, RwLockWriteGuard};

use hearthway_core::catalog::Keeper;
use hearthway_core::id::{ModelId, PriceListId, ProductId, RetailerId, SlotId};
use hearthway_core::model::Product;
use hearthway_core::time::Timestamp;
use serde::{Deserialize, Serialize};
use tracing::warn;

use super::super::rows;
use super::slot::{Fitting, Slot};
use crate::store::codec::{self, Schema};
use crate::store::{Store, StoreError, Write, keys};

/// Bytes of products in one row, with room for one more: sled never syncs values of 64 KiB and more.
const PACK_BYTES_MAX: usize = 24 * 1024;
/// Bytes of one product as kept: with a pack they stay below what one row may have.
pub(super) const PRODUCT_BYTES_MAX: usize = 32 * 1024;

/// All products.
pub struct Kept {
    store: Arc<dyn Store>,
    shelves: RwLock<Shelves>,
}

#[derive(Default)]
struct Shelves {
    of: BTreeMap<RetailerId, Shop>,
    /// The newest version that changed a product.
    newest: u64,
}

/// One retailer's products.
#[derive(Default)]
struct Shop {
    products: BTreeMap<ProductId, Entry>,
    slots: HashMap<(ModelId, SlotId), Slot>,
    /// The products that each price list names.
    lists: BTreeMap<PriceListId, BTreeSet<ProductId>>,
    /// How many are not gone.
    live: usize,
}

/// A product as it is since its newest version.
struct Entry {
    place: Place,
    number: u32,
    /// As on disk; nothing where it is gone.
    bytes: Box<[u8]>,
}

/// Where a version of a product stands on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    version: u64,
    part: u16,
}

/// A row on disk: products of a retailer that changed together.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Pack {
    at: Timestamp,
    changed: Vec<Changed>,
}

/// A product that changed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Changed {
    id: ProductId,
    /// How often it changed, with this time.
    number: u32,
    /// Where it stood before.
    before: Option<Place>,
    /// The product; nothing where it is gone.
    bytes: Vec<u8>,
}

/// Products on their way to the disk.
pub struct Staged {
    retailer: RetailerId,
    version: u64,
    packs: Vec<Vec<Changed>>,
    at: Timestamp,
}

/// How many products there are of a retailer, and what they take in memory.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Size {
    /// Products that are not gone.
    pub products: usize,
    /// Bytes of their values.
    pub bytes: usize,
}

fn encoded(product: &Product) -> Vec<u8> {
    postcard::to_allocvec(product).expect("a product has a postcard form")
}

fn decoded(bytes: &[u8]) -> Option<Product> {
    if bytes.is_empty() {
        return None;
    }
    postcard::from_bytes(bytes).map_err(|error| warn!("A product cannot be read: {error}")).ok()
}

impl Kept {
    /// Reads all of them.
    pub fn open(store: Arc<dyn Store>) -> Result<Arc<Kept>, StoreError> {
        let mut shelves = Shelves::default();
        rows::each(&*store, &keys::product_packs(), |key, bytes| {
            let Some((retailer, version, part)) = keys::pack_of(key) else { return Ok(()) };
            let pack: Pack = codec::decode(Schema::ProductPack, key, bytes)?;
            let shop = shelves.of.entry(retailer).or_default();
            pack.changed.into_iter().for_each(|changed| shop.take(changed, Place { version, part }));
            shelves.newest = shelves.newest.max(version);
            Ok(())
        })?;
        Ok(Arc::new(Kept { store, shelves: RwLock::new(shelves) }))
    }

    /// The newest version that changed a product.
    pub fn newest(&self) -> u64 {
        self.read().newest
    }

    /// A product as it is, and how often it changed.
    pub fn latest(&self, retailer: &RetailerId, id: &ProductId) -> Option<(Product, u32)> {
        let shelves = self.read();
        let entry = shelves.of.get(retailer)?.products.get(id)?;
        Some((decoded(&entry.bytes)?, entry.number))
    }

    /// How often a product changed; none where there is none.
    pub fn number(&self, retailer: &RetailerId, id: &ProductId) -> Option<u32> {
        let shelves = self.read();
        let entry = shelves.of.get(retailer)?.products.get(id)?;
        (!entry.bytes.is_empty()).then_some(entry.number)
    }

    /// How many products a retailer has.
    pub fn count(&self, retailer: &RetailerId) -> usize {
        self.read().of.get(retailer).map_or(0, |shop| shop.live)
    }

    /// How many there are, and what they take.
    pub fn size(&self, retailer: &RetailerId) -> Size {
        let shelves = self.read();
        let Some(shop) = shelves.of.get(retailer) else { return Size::default() };
        Size { products: shop.live, bytes: shop.products.values().map(|entry| entry.bytes.len()).sum() }
    }

    /// The products that a price list names, by id.
    pub fn of_list(&self, retailer: &RetailerId, list: &PriceListId) -> Vec<ProductId> {
        let shelves = self.read();
        let named = shelves.of.get(retailer).and_then(|shop| shop.lists.get(list));
        named.map(|named| named.iter().cloned().collect()).unwrap_or_default()
    }

    /// A retailer's price lists, each with how many products it names.
    pub fn lists(&self, retailer: &RetailerId) -> Vec<(PriceListId, usize)> {
        let shelves = self.read();
        let lists = shelves.of.get(retailer).map(|shop| shop.lists.iter());
        lists.into_iter().flatten().map(|(list, named)| (list.clone(), named.len())).collect()
    }

    /// What changes among these as of the next version, packed; none of them that stays as it is. Of two of
    /// one id the last stands. None where nothing changes.
    pub fn stage(
        &self,
        retailer: &RetailerId,
        wanted: impl IntoIterator<Item = (ProductId, Option<Product>)>,
        version: u64,
        at: Timestamp,
    ) -> Option<Staged> {
        let wanted: BTreeMap<ProductId, Option<Product>> = wanted.into_iter().collect();
        let shelves = self.read();
        let known = shelves.of.get(retailer).map(|shop| &shop.products);
        let (mut packs, mut bytes) = (Vec::new(), PACK_BYTES_MAX);
        for (id, product) in wanted {
            let entry = known.and_then(|known| known.get(&id));
            let body = product.as_ref().map(encoded).unwrap_or_default();
            if entry.map_or(&[][..], |entry| &*entry.bytes) == &*body {
                continue;
            }
            let number = entry.map_or(0, |entry| entry.number) + 1;
            let before = entry.map(|entry| entry.place);
            bytes += body.len() + id.as_str().len() + 32;
            if bytes > PACK_BYTES_MAX {
                bytes = body.len();
                packs.push(Vec::new());
            }
            let changed = Changed { id, number, before, bytes: body };
            packs.last_mut().expect("a full pack was just followed by one").push(changed);
        }
        let retailer = retailer.clone();
        (!packs.is_empty()).then_some(Staged { retailer, version, packs, at })
    }

    /// The retailers that have, or had, products.
    pub fn retailers(&self) -> Vec<RetailerId> {
        self.read().of.keys().cloned().collect()
    }

    /// Nobody asks any more what fitted a slot before a version.
    pub(super) fn forget_stretches(&self, retailer: &RetailerId, version: u64) {
        if let Some(shop) = self.write().of.get_mut(retailer) {
            shop.slots.values_mut().for_each(|slot| slot.forget_before(version));
        }
    }

    /// Takes in what is on disk.
    pub fn take(&self, staged: Staged) {
        let Staged { retailer, version, packs, .. } = staged;
        // Row by row: decisions look at products meanwhile, and none of them as of this version yet.
        for (part, changed) in (0..).zip(packs) {
            let mut shelves = self.write();
            shelves.newest = version;
            let shop = shelves.of.entry(retailer.clone()).or_default();
            changed.into_iter().for_each(|changed| shop.take(changed, Place { version, part }));
        }
    }

    /// A product as of a version before the one in memory: back from row to row.
    fn before(&self, retailer: &RetailerId, id: &ProductId, mut place: Place, version: u64) -> Option<Product> {
        loop {
            let key = keys::product_pack(retailer, place.version, place.part);
            let pack: Result<Option<Pack>, _> = rows::get(&*self.store, Schema::ProductPack, &key);
            let pack = pack.map_err(|error| warn!("A product of old cannot be read: {error}")).ok()??;
            let changed = pack.changed.into_iter().find(|changed| changed.id == *id)?;
            if place.version <= version {
                return decoded(&changed.bytes);
            }
            place = changed.before?;
        }
    }

    fn read(&self) -> RwLockReadGuard<'_, Shelves> {
        self.shelves.read().expect("no holder of this lock panics")
    }
    fn write(&self) -> RwLockWriteGuard<'_, Shelves> {
        self.shelves.write().expect("no holder of this lock panics")
    }
}

impl Pack {
    /// How many products changed together.
    pub(super) fn len(&self) -> usize {
        self.changed.len()
    }
    /// Leaves those that are wanted.
    pub(super) fn keep(&mut self, mut is_wanted: impl FnMut(&ProductId) -> bool) {
        self.changed.retain(|changed| is_wanted(&changed.id));
    }
}

impl Staged {
    /// The rows to write.
    pub fn writes(&self) -> Vec<Write> {
        let rows = (0..).zip(&self.packs).map(|(part, changed)| {
            let pack = Pack { at: self.at, changed: changed.clone() };
            rows::put(Schema::ProductPack, keys::product_pack(&self.retailer, self.version, part), &pack)
        });
        rows.collect()
    }
    /// How many products change.
    pub fn len(&self) -> usize {
        self.packs.iter().map(Vec::len).sum()
    }
    /// Whether none does.
    pub fn is_empty(&self) -> bool {
        self.packs.is_empty()
    }
}

impl Shop {
    fn take(&mut self, changed: Changed, place: Place) {
        let Changed { id, number, bytes, .. } = changed;
        let (now, entry) = (decoded(&bytes), self.products.remove(&id));
        let was = entry.as_ref().and_then(|entry| decoded(&entry.bytes));
        self.live = self.live + usize::from(now.is_some()) - usize::from(was.is_some());
        self.list(&id, was.as_ref(), now.as_ref());
        let (fits, fitted) = (now.map(|now| now.fits).unwrap_or_default(), was.map(|was| was.fits).unwrap_or_default());
        for fit in fitted.iter().filter(|fit| !fits.contains(fit)) {
            if let Some(slot) = self.slots.get_mut(&(fit.model.clone(), fit.slot.clone())) {
                slot.end(&id, place.version);
            }
        }
        for fit in fits.into_iter().filter(|fit| !fitted.contains(fit)) {
            self.slots.entry((fit.model, fit.slot)).or_default().begin(&id, place.version);
        }
        self.products.insert(id, Entry { place, number, bytes: bytes.into() });
    }
}

impl Shop {
    /// Takes down which price lists name a product.
    fn list(&mut self, id: &ProductId, was: Option<&Product>, now: Option<&Product>) {
        let of = |product: Option<&Product>| -> BTreeSet<PriceListId> {
            product.into_iter().flat_map(|product| &product.listed).map(|listed| listed.list.clone()).collect()
        };
        let (was, now) = (of(was), of(now));
        for list in was.difference(&now) {
            if let Some(named) = self.lists.get_mut(list) {
                named.remove(id);
                if named.is_empty() {
                    self.lists.remove(list);
                }
            }
        }
        for list in now.difference(&was) {
            self.lists.entry(list.clone()).or_default().insert(id.clone());
        }
    }
}

impl Keeper for Kept {
    fn product(&self, retailer: &RetailerId, id: &ProductId, version: u64) -> Option<Arc<Product>> {
        let place = {
            let shelves = self.read();
            let entry = shelves.of.get(retailer)?.products.get(id)?;
            if entry.place.version <= version {
                return decoded(&entry.bytes).map(Arc::new);
            }
            entry.place
        };
        self.before(retailer, id, place, version).map(Arc::new)
    }

    fn fitting(
        &self,
        retailer: &RetailerId,
        model: &ModelId,
        slot: &SlotId,
        version: u64,
        limit: usize,
    ) -> Arc<Vec<ProductId>> {
        let shelves = self.read();
        let key = (model.clone(), slot.clone());
        let Some(of_slot) = shelves.of.get(retailer).and_then(|shop| shop.slots.get(&key)) else {
            return Arc::default();
        };
        if let Some(first) = of_slot.first_as_of(version) {
            return first;
        }
        // As of an older version: what came later may have fitted before as well.
        let stretches: Vec<(ProductId, Fitting)> = of_slot.stretches().map(|(id, of)| (id.clone(), of)).collect();
        drop(shelves);
        let fitted = stretches.into_iter().filter(|(id, of)| match of.since <= version {
            true => version < of.until,
            false => self.product(retailer, id, version).is_some_and(|product| product.fits(model, slot)),
        });
        Arc::new(fitted.map(|(id, _)| id).take(limit).collect())
    }

    fn ids(
        &self,
        retailer: &RetailerId,
        after: Option<&ProductId>,
        version: u64,
        each: &mut dyn FnMut(&ProductId) -> ControlFlow<()>,
    ) {
        let shelves = self.read();
        let Some(shop) = shelves.of.get(retailer) else { return };
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let behind = shop.products.range::<ProductId, _>((from, Bound::Unbounded));
        let is_known = |entry: &Entry| entry.place.version > version || !entry.bytes.is_empty();
        let _ = behind.filter(|(_, entry)| is_known(entry)).map(|(id, _)| id).try_for_each(each);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use hearthway_core::catalog::Products;
    use hearthway_core::model::Fit;
    use hearthway_core::money::Money;
    use proptest::prelude::*;

    use super::*;
    use crate::store::Commit;
    use crate::store::memory::MemoryStore;

    const SLOTS: [&str; 3] = ["air_filter", "water_filter", "salt"];

    fn shop() -> RetailerId {
        RetailerId::new("shop-a").unwrap()
    }
    fn id(n: u8) -> ProductId {
        ProductId::new(format!("p-{n}")).unwrap()
    }
    fn model() -> ModelId {
        ModelId::new("th-200").unwrap()
    }
    fn product(n: u8, price: i64, slots: u8) -> Product {
        let name = [("en".to_owned(), format!("Product {n}"))].into();
        let price = Money::new(price, hearthway_core::money::Currency::new("EUR").unwrap());
        let slots = (0..3).filter(|bit| slots & (1 << bit) != 0).map(|bit| SLOTS[bit]);
        let fits = slots.map(|slot| Fit { model: model(), slot: SlotId::new(slot).unwrap() });
        Product { fits: fits.collect(), ..Product::plain(id(n), name, price, "shop-a") }
    }

    /// What a plain list of each version says.
    fn naive(now: &BTreeMap<ProductId, Product>) -> Products {
        let listed = now.iter().map(|(id, product)| ((shop(), id.clone()), Arc::new(product.clone())));
        listed.collect::<BTreeMap<_, _>>().into()
    }

    fn same(kept: &Arc<Kept>, versions: &[Products], from: usize) {
        for (version, naive) in (0..).zip(versions).skip(from) {
            let of_then = Products::kept(kept.clone(), version);
            for n in 0..6 {
                assert_eq!(of_then.get(&shop(), &id(n)), naive.get(&shop(), &id(n)), "p-{n} as of {version}");
            }
            for slot in SLOTS.map(|slot| SlotId::new(slot).unwrap()) {
                let (then, naive) =
                    (of_then.fitting(&shop(), &model(), &slot), naive.fitting(&shop(), &model(), &slot));
                assert_eq!(then, naive, "{slot} as of {version}");
            }
        }
        let last = versions.last().unwrap();
        let now = Products::kept(kept.clone(), kept.newest());
        assert_eq!(now.ids(&shop(), None, 100), last.ids(&shop(), None, 100));
        assert_eq!(kept.count(&shop()), last.ids(&shop(), None, 100).len());
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn every_version_is_answered_as_it_was_also_after_a_restart(
            story in prop::collection::vec(prop::collection::vec((0u8..6, 1i64..4, 0u8..9), 1..4), 1..12),
            read_from in 0usize..12,
        ) {
            let store = Arc::new(MemoryStore::new());
            let kept = Kept::open(store.clone()).unwrap();
            let mut now = BTreeMap::new();
            let mut versions = vec![naive(&now)];
            for batch in story {
                // Of nine one takes the product away.
                let wanted: Vec<_> = batch
                    .iter()
                    .map(|(n, price, slots)| (id(*n), (*slots < 8).then(|| product(*n, *price, *slots))))
                    .collect();
                let Some(staged) = kept.stage(&shop(), wanted.clone(), versions.len() as u64, Timestamp(0)) else {
                    continue;
                };
                store.commit(&[Commit { preconditions: vec![], writes: staged.writes() }]).unwrap();
                kept.take(staged);
                for (id, product) in wanted {
                    match product {
                        Some(product) => drop(now.insert(id, product)),
                        None => drop(now.remove(&id)),
                    }
                }
                versions.push(naive(&now));
            }
            same(&kept, &versions, 0);
            same(&Kept::open(store.clone()).unwrap(), &versions, 0);

            // What nobody reads any more goes, all of it, and everybody else is answered as before.
            let read_from = read_from.min(versions.len() - 1);
            let on_disk = |store: &MemoryStore| {
                let mut stand: Vec<(u64, ProductId)> = Vec::new();
                rows::each(store, &keys::product_packs(), |key, bytes| {
                    let pack: Pack = codec::decode(Schema::ProductPack, key, bytes)?;
                    let (_, version, _) = keys::pack_of(key).unwrap();
                    stand.extend(pack.changed.into_iter().map(|changed| (version, changed.id)));
                    Ok(())
                })
                .unwrap();
                stand
            };
            let before = on_disk(&store);
            let gone = super::super::former::let_go(&kept, &*store, &shop(), read_from as u64);
            let left = on_disk(&store);
            prop_assert_eq!(before.len() - left.len(), gone);
            let old = left.iter().filter(|(version, _)| *version <= read_from as u64);
            let once: BTreeSet<&ProductId> = old.clone().map(|(_, id)| id).collect();
            prop_assert_eq!(once.len(), old.count(), "one version of each product is left of those");
            let newer = |(version, _): &&(u64, ProductId)| *version > read_from as u64;
            prop_assert_eq!(before.iter().filter(newer).count(), left.iter().filter(newer).count());
            same(&kept, &versions, read_from);
            same(&Kept::open(store.clone()).unwrap(), &versions, read_from);
        }
    }

    #[test]
    fn what_is_so_already_changes_nothing() {
        let kept = Kept::open(Arc::new(MemoryStore::new())).unwrap();
        let wanted = || vec![(id(1), Some(product(1, 1, 1))), (id(2), None)];
        let staged = kept.stage(&shop(), wanted(), 1, Timestamp(0)).unwrap();
        assert_eq!(staged.len(), 1, "what was never there cannot go");
        kept.take(staged);
        assert!(kept.stage(&shop(), wanted(), 2, Timestamp(0)).is_none());
    }

    #[test]
    fn a_pack_of_a_release_without_price_lists_is_read() {
        // Version 1: one product that fits an air filter, and one that is gone.
        let golden = [
            "a71d010000000000",
            "d00f0203702d3101004303702d310102656e0950726f64756374203100d804034555520003455552010673686f702d61",
            "0e010674682d3230300a6169725f66696c74657200000000000000000003702d320201030100ee30297d",
        ]
        .concat();
        let bytes = data_encoding::HEXLOWER.decode(golden.as_bytes()).unwrap();
        let pack: Pack = codec::decode(Schema::ProductPack, &keys::product_pack(&shop(), 1, 0), &bytes).unwrap();
        assert_eq!(decoded(&pack.changed[0].bytes), Some(product(1, 300, 1)));
        assert_eq!((&*pack.changed[1].id.to_string(), decoded(&pack.changed[1].bytes)), ("p-2", None));
        assert_eq!(pack.changed[1].before, Some(Place { version: 3, part: 1 }));
    }

    #[test]
    fn products_that_change_together_are_packed_below_what_a_row_may_have() {
        let kept = Kept::open(Arc::new(MemoryStore::new())).unwrap();
        let long = |n: u8| {
            let name = (0..40).map(|language| (format!("l{language}"), "x".repeat(180))).collect();
            Product { name, ..product(n, 1, 1) }
        };
        let wanted = (0..50).map(|n| (id(n), Some(long(n))));
        let writes = kept.stage(&shop(), wanted, 1, Timestamp(0)).unwrap().writes();
        assert!(writes.len() > 10, "{}", writes.len());
        Commit { preconditions: vec![], writes }.check().unwrap();
    }
}
