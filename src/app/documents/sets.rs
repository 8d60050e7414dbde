//! Many triggers of one retailer at once: a set is published, or all are silenced.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use hearthway_core::code::{Code, Refusal};
use hearthway_core::id::{ModelId, RetailerId, TriggerId};
use hearthway_core::model::DeviceModel;
use hearthway_core::rules::RuleSet;
use hearthway_core::trigger::{Problem, Trigger, TriggerSet, UNIT_CHANGED};

use super::super::catalog::document_json;
use super::super::{Failure, rows, triggers};
use super::{Document, Kind, Name, Rulebook};
use crate::engine::Engine;
use crate::store::codec::Schema;

/// Triggers paused in one commit: a megabyte or two of documents.
const PAUSED_IN_ONE_COMMIT_MAX: usize = 500;

/// A trigger of a set, checked and compiled.
pub struct Wanted {
    /// Its text.
    pub body: String,
    /// What it comes to; its version is given when it is published.
    pub trigger: Arc<Trigger>,
}

/// What became of a set.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Published {
    /// Triggers that are live in a new version.
    pub published: usize,
    /// Triggers that were live as they are.
    pub unchanged: usize,
    /// Triggers that are silent now because the set does not have them.
    pub paused: usize,
    /// Triggers that stay silent although the set has them: a number in their unchanged text has no unit, and the
    /// model tells that value in another one since. Who publishes one by itself says that the new unit is meant.
    pub held: Vec<TriggerId>,
}

impl Rulebook {
    /// Makes a set of triggers live, all or none: one commit, read by the next decision as a whole.
    /// Their drafts become the same. With `pause_others` what is live and not in the set is silent.
    pub async fn put_set(
        &self,
        engine: &Engine,
        retailer: &RetailerId,
        checked: &RuleSet,
        wanted: Vec<Wanted>,
        pause_others: bool,
        live_max: usize,
    ) -> Result<Published, Failure> {
        let mut unsure = self.changing.lock().await;
        let now = engine.clock().now();
        let rules = self.current.load_full();
        if !is_same(&checked.models, &rules.models) {
            let message = "a device model changed while the set was checked; send it again";
            return Err(Refusal::new(Code::InternalRetry, message).into());
        }
        let (mut version, mut told) = (rules.version, Published::default());
        let (mut documents, mut live) = (Vec::new(), Vec::new());
        let ids: BTreeSet<TriggerId> = wanted.iter().map(|wanted| wanted.trigger.id.clone()).collect();
        for Wanted { body, mut trigger } in wanted {
            let named = |kind| Name::of_retailer(kind, retailer, trigger.id.as_str());
            let (name, draft) = (named(Kind::Trigger), named(Kind::Draft));
            if self.get(&draft).is_none_or(|draft| draft.body != body) {
                let number = self.get(&draft).map_or(0, |draft| draft.number) + 1;
                documents.push((draft, Document { version: 0, number, at: now, body: body.clone(), paused: false }));
            }
            let before = self.get(&name);
            let is_held = rules.held.contains_key(&(retailer.clone(), trigger.id.clone()));
            if let Some(before) = before.as_ref().filter(|before| before.body == body)
                && self.means_another_unit(&name, before, &rules, retailer, &trigger.id)?
            {
                told.held.push(trigger.id.clone());
                continue;
            }
            if before.as_ref().is_some_and(|before| before.body == body && !before.paused && !is_held) {
                told.unchanged += 1;
                continue;
            }
            version += 1;
            let changes_text = before.as_ref().is_none_or(|before| before.body != body);
            let number = before.map_or(0, |before| before.number) + u64::from(changes_text);
            Arc::get_mut(&mut trigger).expect("a wanted trigger has one owner").version = number;
            documents.push((name, Document { version, number, at: now, body, paused: false }));
            live.push(trigger);
            told.published += 1;
        }
        if pause_others {
            for (name, document) in
                self.speaking(retailer).into_iter().filter(|(name, _)| !ids.contains(name.id.as_str()))
            {
                version += 1;
                documents.push((name, Document { version, at: now, paused: true, ..(*document).clone() }));
                told.paused += 1;
            }
        }
        let changed: BTreeSet<String> =
            documents.iter().filter(|(name, _)| name.kind == Kind::Trigger).map(|(name, _)| name.id.clone()).collect();
        let stays = |other: &Trigger| other.retailer != *retailer || !changed.contains(other.id.as_str());
        let stay: Vec<_> = rules.triggers.iter().filter(|other| stays(other)).cloned().collect();
        // What is held, and stays so, speaks again by itself.
        let held = rules.held.keys().filter(|(of, id)| of == retailer && !changed.contains(id.as_str())).count();
        let own = stay.iter().filter(|other| other.retailer == *retailer).count() + held + live.len();
        if own > live_max {
            return Err(Failure::Conflict(format!(
                "{own} triggers would be live, and {live_max} may be; pause some first"
            )));
        }
        if documents.is_empty() {
            return Ok(told);
        }
        let documents: Vec<_> = documents.into_iter().map(|(name, document)| (name, Arc::new(document))).collect();
        let adds = documents.iter().filter(|(name, _)| name.kind != Kind::Draft);
        let adds = adds.map(|(name, document)| name.key(document.version)).collect();
        unsure.commit(engine, adds, Vec::new(), documents.iter().map(row).collect()).await?;
        let triggers = TriggerSet::build(stay.into_iter().chain(live));
        let products = rules.products.at(version);
        let mut next = RuleSet { version, triggers, products, ..(*rules).clone() };
        next.held.retain(|(owner, id), _| owner != retailer || !changed.contains(id.as_str()));
        self.current.store(Arc::new(next));
        self.latest.write().expect("no holder of this lock panics").extend(documents);
        Ok(told)
    }

    /// Whether a trigger that is silent would speak with its numbers in another unit than was meant.
    fn means_another_unit(
        &self,
        name: &Name,
        before: &Document,
        rules: &RuleSet,
        retailer: &RetailerId,
        id: &TriggerId,
    ) -> Result<bool, Failure> {
        if !before.paused {
            let held = rules.held.get(&(retailer.clone(), id.clone()));
            return Ok(held.is_some_and(|held| held.problems.iter().any(is_of_unit)));
        }
        let Some(version) = self.meant_at(name, before.number)?.filter(|version| rules.units.changed_since(*version))
        else {
            return Ok(false);
        };
        let meant = Document { version, ..before.clone() };
        let again = triggers::compile(&document_json(&meant), retailer, &meant, rules);
        Ok(again.is_err_and(|problems| problems.iter().any(is_of_unit)))
    }

    /// The live triggers of a retailer that are not paused.
    fn speaking(&self, retailer: &RetailerId) -> BTreeMap<Name, Arc<Document>> {
        let latest = self.latest.read().expect("no holder of this lock panics");
        let from = Name { kind: Kind::Trigger, tenant: retailer.to_string(), id: String::new() };
        let own =
            latest.range(from..).take_while(|(name, _)| name.kind == Kind::Trigger && name.tenant == retailer.as_str());
        own.filter(|(_, document)| !document.paused).map(|(name, document)| (name.clone(), document.clone())).collect()
    }

    /// Pauses every live trigger of a retailer, some hundred at a time. What is on disk is taken in at
    /// once: when a later part fails, no version that was given is given again, and what was stopped
    /// is silent.
    pub async fn pause_all(&self, engine: &Engine, retailer: &RetailerId) -> Result<usize, Failure> {
        let mut unsure = self.changing.lock().await;
        let (mut version, at) = (self.current.load().version, engine.clock().now());
        let paused = self.speaking(retailer).into_iter().map(|(name, document)| {
            version += 1;
            (name, Arc::new(Document { version, at, paused: true, ..(*document).clone() }))
        });
        let paused: Vec<_> = paused.collect();
        let mut stopped = 0;
        for part in paused.chunks(PAUSED_IN_ONE_COMMIT_MAX) {
            let adds = part.iter().map(|(name, document)| name.key(document.version)).collect();
            let written = unsure.commit(engine, adds, Vec::new(), part.iter().map(row).collect()).await;
            written.map_err(|error| {
                let all = paused.len();
                let message =
                    format!("{stopped} of {all} triggers were stopped, then: {error}; ask again for the rest");
                Failure::from(Refusal::new(Code::InternalRetry, message))
            })?;
            self.take_in_paused(retailer, part);
            stopped += part.len();
        }
        Ok(stopped)
    }

    /// Triggers of a retailer that are paused on disk are so for the next decision.
    fn take_in_paused(&self, retailer: &RetailerId, paused: &[(Name, Arc<Document>)]) {
        let rules = self.current.load_full();
        let version = paused.last().map_or(rules.version, |(_, last)| last.version);
        let silent: BTreeSet<&str> = paused.iter().map(|(name, _)| name.id.as_str()).collect();
        let speaks = |live: &Trigger| live.retailer != *retailer || !silent.contains(live.id.as_str());
        let triggers = TriggerSet::build(rules.triggers.iter().filter(|live| speaks(live)).cloned());
        let products = rules.products.at(version);
        let mut next = RuleSet { version, triggers, products, ..(*rules).clone() };
        next.held.retain(|(owner, id), _| owner != retailer || !silent.contains(id.as_str()));
        self.current.store(Arc::new(next));
        self.latest.write().expect("no holder of this lock panics").extend(paused.iter().cloned());
    }
}

fn is_of_unit(problem: &Problem) -> bool {
    problem.code == UNIT_CHANGED
}

/// Whether nothing was written to any model in between.
fn is_same(checked: &BTreeMap<ModelId, Arc<DeviceModel>>, now: &BTreeMap<ModelId, Arc<DeviceModel>>) -> bool {
    checked.len() == now.len() && checked.iter().zip(now).all(|(a, b)| a.0 == b.0 && Arc::ptr_eq(a.1, b.1))
}

/// The row of a document.
fn row((name, document): &(Name, Arc<Document>)) -> crate::store::Write {
    rows::put(Schema::Document, name.key(document.version), &**document)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use hearthway_core::time::Timestamp;

    use crate::clock::SystemClock;
    use crate::engine;
    use crate::engine::RuleBook;
    use crate::store::keys::Key;
    use crate::store::memory::MemoryStore;
    use crate::store::{AllItems, Commit, Items, Mark, Outcome, Rows, Store, StoreError, reads_pass_through};

    const SECOND_PART: usize = 20;

    /// A store that cannot write the second part of a pause.
    struct FailsAtSecondPart(MemoryStore);

    impl Store for FailsAtSecondPart {
        fn commit(&self, group: &[Commit]) -> Result<Vec<Outcome>, StoreError> {
            if group.iter().any(|commit| commit.writes.len() == SECOND_PART) {
                return Err(StoreError::Failed { doing: "committing", cause: "the disk is full".into() });
            }
            self.0.commit(group)
        }
        reads_pass_through!(self => self.0);
    }

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
        use hearthway_core::id::ProductId;
        use hearthway_core::model::Product;
        use hearthway_core::money::Money;

        use super::super::Condition;

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
                        return rulebook.put_products(engine, &shop, Vec::new(), |_| Ok(wanted)).await.map(drop);
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

    #[tokio::test]
    async fn a_stop_that_fails_half_way_leaves_in_memory_what_is_on_disk_and_says_how_many_stopped() {
        let retailer = RetailerId::new("shop").unwrap();
        let store = Arc::new(FailsAtSecondPart(MemoryStore::new()));
        for version in 1..=(PAUSED_IN_ONE_COMMIT_MAX + SECOND_PART) as u64 {
            let name = Name::of_retailer(Kind::Trigger, &retailer, &format!("t-{version:04}"));
            let at = Timestamp::default();
            let document = Document { version, number: 1, at, body: "{}".into(), paused: false };
            let writes = vec![rows::put(Schema::Document, name.key(version), &document)];
            store.commit(&[Commit { preconditions: Vec::new(), writes }]).unwrap();
        }
        let rulebook = Rulebook::open(store.clone()).unwrap();
        let settings = engine::Settings { shards: 1, ..engine::Settings::default() };
        let engine = Engine::start(settings, Arc::new(SystemClock), store.clone(), rulebook.clone()).unwrap();
        let failed = rulebook.pause_all(&engine, &retailer).await.unwrap_err().to_string();
        assert!(failed.contains("500 of 520 triggers were stopped"), "{failed}");
        let reopened = Rulebook::open(store).unwrap();
        assert_eq!(rulebook.current().version, reopened.current().version, "the next version is a new one");
        assert_eq!(*rulebook.latest.read().unwrap(), *reopened.latest.read().unwrap());
        let silent = rulebook.latest.read().unwrap().values().filter(|document| document.paused).count();
        assert_eq!(silent, PAUSED_IN_ONE_COMMIT_MAX);
    }
}
