//! A retailer silences all its triggers: at once, and also those that are on their way.
//!
//! Checking a set takes seconds. Who stops the triggers meanwhile, or pauses one, means those that are checked too: they
//! are refused when they come.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use hearthway_core::code::{Code, Refusal};
use hearthway_core::id::RetailerId;
use hearthway_core::rules::RuleSet;
use hearthway_core::trigger::{Trigger, TriggerSet};

use super::super::Failure;
use super::sets::row;
use super::{Document, Kind, Name, Rulebook};
use crate::engine::Engine;

/// Triggers paused in one commit: a megabyte or two of documents.
pub(super) const PAUSED_IN_ONE_COMMIT_MAX: usize = 500;

/// The rules as they are when a retailer's triggers begin to be checked.
pub struct Looked {
    /// The rules.
    pub rules: Arc<RuleSet>,
    retailer: RetailerId,
    /// How often its triggers were stopped before.
    stops: u64,
}

impl Rulebook {
    /// What a retailer's triggers are checked against.
    pub fn look(&self, retailer: &RetailerId) -> Looked {
        // In this order: a stop in between counts as one after the look.
        let stops = self.stops_of(retailer);
        Looked { rules: self.current.load_full(), retailer: retailer.clone(), stops }
    }

    /// Refuses to let a trigger speak that somebody silenced since. `live` is what stands there now.
    pub fn not_silenced(&self, looked: &Looked, live: Option<&Document>) -> Result<(), Failure> {
        let is_paused = live.is_some_and(|live| live.paused && live.version > looked.rules.version);
        if is_paused || self.stops_of(&looked.retailer) != looked.stops {
            let message = "somebody silenced triggers while this was checked; publish it again if it shall speak";
            return Err(Failure::Conflict(message.to_owned()));
        }
        Ok(())
    }

    fn stops_of(&self, retailer: &RetailerId) -> u64 {
        self.stops.lock().expect("no holder of this lock panics").get(retailer).copied().unwrap_or(0)
    }

    /// The live triggers of a retailer that are not paused.
    pub(super) fn speaking(&self, retailer: &RetailerId) -> BTreeMap<Name, Arc<Document>> {
        let latest = self.latest.read().expect("no holder of this lock panics");
        let from = Name { kind: Kind::Trigger, tenant: retailer.to_string(), id: String::new() };
        let own =
            latest.range(from..).take_while(|(name, _)| name.kind == Kind::Trigger && name.tenant == retailer.as_str());
        own.filter(|(_, document)| !document.paused).map(|(name, document)| (name.clone(), document.clone())).collect()
    }

    /// Pauses every live trigger of a retailer, some hundred at a time. What is on disk is taken in also when a later
    /// part fails: then no version that was given is given again, and what was stopped is silent.
    pub async fn pause_all(&self, engine: &Engine, retailer: &RetailerId) -> Result<usize, Failure> {
        let mut unsure = self.changing.lock().await;
        *self.stops.lock().expect("no holder of this lock panics").entry(retailer.clone()).or_default() += 1;
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
            if let Err(error) = written {
                self.take_in_paused(retailer, &paused[..stopped]);
                let all = paused.len();
                let message =
                    format!("{stopped} of {all} triggers were stopped, then: {error}; ask again for the rest");
                return Err(Refusal::new(Code::InternalRetry, message).into());
            }
            stopped += part.len();
        }
        self.take_in_paused(retailer, &paused);
        Ok(stopped)
    }

    /// Triggers of a retailer that are paused on disk are so for the next decision.
    fn take_in_paused(&self, retailer: &RetailerId, paused: &[(Name, Arc<Document>)]) {
        let Some((_, last)) = paused.last() else { return };
        let (rules, version) = (self.current.load_full(), last.version);
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use hearthway_core::time::Timestamp;

    use super::*;
    use crate::app::rows;
    use crate::clock::SystemClock;
    use crate::engine;
    use crate::engine::RuleBook;
    use crate::store::codec::Schema;
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
