//! One document is replaced. A device model takes a way of its own (`models`).

use std::sync::Arc;

use hearthway_core::code::{Code, Refusal};
use hearthway_core::rules::RuleSet;

use super::super::{Failure, rows};
use super::{Condition, Document, Kind, Name, Rulebook, Unsure, add};
use crate::engine::Engine;
use crate::store::codec::Schema;
use crate::store::{Precondition, Write};

/// A document that is to take another's place.
pub(super) struct Wish<'w> {
    pub(super) name: &'w Name,
    pub(super) body: &'w str,
    pub(super) paused: bool,
    pub(super) condition: &'w Condition,
}

impl Rulebook {
    /// Writes the next version of a document, durable on return and read by the next decision.
    /// The same text again changes nothing.
    pub async fn put(
        &self,
        engine: &Engine,
        name: Name,
        body: String,
        paused: bool,
        condition: &Condition,
    ) -> Result<Arc<Document>, Failure> {
        let wish = Wish { name: &name, body: &body, paused, condition };
        self.put_where(engine, &wish, |_, _| Ok(())).await
    }

    /// The same for what was checked against these rules: refused where a model changed since. `may` is asked of the
    /// rules and of what stands there, while nobody changes them.
    pub async fn put_checked(
        &self,
        engine: &Engine,
        checked: &RuleSet,
        name: Name,
        body: String,
        condition: &Condition,
        may: impl FnOnce(&RuleSet, Option<&Document>) -> Result<(), Failure>,
    ) -> Result<Arc<Document>, Failure> {
        let wish = Wish { name: &name, body: &body, paused: false, condition };
        self.put_where(engine, &wish, |rules, before| {
            still_so(checked, rules)?;
            may(rules, before)
        })
        .await
    }

    async fn put_where(
        &self,
        engine: &Engine,
        wish: &Wish<'_>,
        may: impl FnOnce(&RuleSet, Option<&Document>) -> Result<(), Failure>,
    ) -> Result<Arc<Document>, Failure> {
        debug_assert!(wish.name.kind != Kind::Model, "triggers are compiled against models");
        let mut unsure = self.changing.lock().await;
        let rules = self.current.load_full();
        let before = self.get(wish.name);
        may(&rules, before.as_deref())?;
        let Some(document) = self.wished(&rules, before.as_deref(), wish, engine)? else {
            return Ok(before.expect("what is the same is there"));
        };
        // Made aside, before anything is written: who reads the rules reads the ones before or the ones after.
        let next = (wish.name.kind != Kind::Draft).then(|| with(&rules, wish.name, &document));
        self.write(&mut unsure, engine, wish.name, &document, next).await?;
        Ok(document)
    }

    /// The document as it would be under the next version of these rules; none where it is so already.
    pub(super) fn wished(
        &self,
        rules: &RuleSet,
        before: Option<&Document>,
        wish: &Wish<'_>,
        engine: &Engine,
    ) -> Result<Option<Arc<Document>>, Failure> {
        let Wish { name, body, paused, condition } = *wish;
        condition.check(name.kind.as_str(), before.map(Document::etag).as_deref())?;
        // Who publishes a held trigger as it is has looked at it: it counts as published today.
        let is_held = name.kind == Kind::Trigger
            && rules.held.keys().any(|(retailer, id)| retailer.as_str() == name.tenant && id.as_str() == name.id);
        if before.is_some_and(|before| before.body == body && before.paused == paused && !is_held) {
            return Ok(None);
        }
        let version = if name.kind == Kind::Draft { 0 } else { rules.version + 1 };
        let changes_text = before.is_none_or(|before| before.body != body);
        let number = before.map_or(0, |before| before.number) + u64::from(changes_text);
        Ok(Some(Arc::new(Document { version, number, at: engine.clock().now(), body: body.to_owned(), paused })))
    }

    /// Writes a document, and takes in the rules that follow from it.
    pub(super) async fn write(
        &self,
        unsure: &mut Unsure,
        engine: &Engine,
        name: &Name,
        document: &Arc<Document>,
        next: Option<RuleSet>,
    ) -> Result<(), Failure> {
        let key = name.key(document.version);
        let write: Vec<Write> = vec![rows::put(Schema::Document, key.clone(), &**document)];
        // A draft has no version, and is written over.
        let (adds, preconditions) = match next {
            Some(_) => (vec![key.clone()], vec![Precondition::Absent(key)]),
            None => (Vec::new(), Vec::new()),
        };
        unsure.commit(engine, adds, preconditions, write).await?;
        if let Some(next) = next {
            self.current.store(Arc::new(next));
        }
        self.latest.write().expect("no holder of this lock panics").insert(name.clone(), document.clone());
        Ok(())
    }
}

/// The rules that follow from these with a document in place of its earlier version.
pub(super) fn with(rules: &RuleSet, name: &Name, document: &Document) -> RuleSet {
    let version = document.version;
    let mut next = RuleSet { version, products: rules.products.at(version), ..rules.clone() };
    if let Err(problem) = add(&mut next, name, document) {
        tracing::warn!(document = name.kind.as_str(), "A document is stored that the rules cannot read: {problem}");
    }
    next
}

/// Refuses what was checked against models of which one changed since.
pub(super) fn still_so(checked: &RuleSet, now: &RuleSet) -> Result<(), Failure> {
    let (was, is) = (&checked.models, &now.models);
    let is_same = was.len() == is.len() && was.iter().zip(is).all(|(a, b)| a.0 == b.0 && Arc::ptr_eq(a.1, b.1));
    if is_same {
        return Ok(());
    }
    let message = "a device model changed while this was checked; send it again";
    Err(Refusal::new(Code::InternalRetry, message).into())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use hearthway_core::id::{ProductId, RetailerId};
    use hearthway_core::model::Product;
    use hearthway_core::money::Money;

    use super::*;
    use crate::clock::SystemClock;
    use crate::engine;
    use crate::engine::RuleBook;
    use crate::store::keys::Key;
    use crate::store::memory::MemoryStore;
    use crate::store::{AllItems, Commit, Items, Mark, Outcome, Rows, Store, StoreError, reads_pass_through};

    /// A store that writes once and says that it could not.
    struct LiesOnce(MemoryStore, std::sync::atomic::AtomicBool);

    impl Store for LiesOnce {
        fn commit(&self, group: &[Commit]) -> Result<Vec<Outcome>, StoreError> {
            let outcomes = self.0.commit(group);
            if self.1.swap(false, std::sync::atomic::Ordering::Relaxed) {
                return Err(StoreError::Failed { doing: "committing", cause: "the answer was lost".into() });
            }
            outcomes
        }
        reads_pass_through!(self => self.0);
    }

    #[tokio::test]
    async fn a_change_that_failed_and_is_on_disk_all_the_same_shares_its_version_with_none() {
        let shop = |name: &str| RetailerId::new(name).unwrap();
        let price = Money::parse("1.00 EUR").unwrap();
        let id = ProductId::new("p-1").unwrap();
        for is_product in [true, false] {
            let store = Arc::new(LiesOnce(MemoryStore::new(), false.into()));
            let rulebook = Rulebook::open(store.clone()).unwrap();
            let settings = engine::Settings { shards: 1, ..engine::Settings::default() };
            let engine = Engine::start(settings, Arc::new(SystemClock), store.clone(), rulebook.clone()).unwrap();
            let put = |shop: RetailerId, words: &'static str| {
                let product = Product::plain(id.clone(), [("en".to_owned(), words.to_owned())].into(), price, "s");
                let wanted = vec![(id.clone(), Some(product))];
                let (rulebook, engine) = (&rulebook, &engine);
                async move {
                    if is_product {
                        return rulebook
                            .put_products(engine, &shop, Vec::new(), move |_| Ok((wanted, ())))
                            .await
                            .map(drop);
                    }
                    let name = Name::of_retailer(Kind::Store, &shop, "st-1");
                    rulebook.put(engine, name, format!("\"{words}\""), false, &Condition::Any).await.map(drop)
                }
            };
            store.1.store(true, std::sync::atomic::Ordering::Relaxed);
            put(shop("a"), "lost").await.unwrap_err();
            let version = rulebook.current().version;
            // The writer looks after the disk before it takes more.
            while put(shop("b"), "next").await.is_err() {
                tokio::task::yield_now().await;
            }
            assert_eq!(rulebook.current().version, version + 1);
            put(shop("a"), "again").await.unwrap();
            let reopened = Rulebook::open(store.clone()).unwrap();
            assert_eq!(rulebook.current().version, reopened.current().version);
            assert_eq!(*rulebook.latest.read().unwrap(), *reopened.latest.read().unwrap());
            for shop in [shop("a"), shop("b")] {
                assert_eq!(rulebook.catalog().latest(&shop, &id), reopened.catalog().latest(&shop, &id));
            }
            let past = reopened.at(version + 1).unwrap();
            assert!(past.product(&shop("a"), &id).is_none(), "at the version of another change it was not there");
        }
    }
}
