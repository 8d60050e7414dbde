//! Many triggers of one retailer at once go live as a set.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use hearthway_core::id::{RetailerId, TriggerId};
use hearthway_core::rules::RuleSet;
use hearthway_core::time::Timestamp;
use hearthway_core::trigger::{Problem, Trigger, TriggerSet, UNIT_CHANGED};

use super::super::aside::aside;
use super::super::catalog::document_json;
use super::super::{Failure, rows, triggers};
use super::put::still_so;
use super::{Document, Kind, Looked, Name, Rulebook};
use crate::engine::Engine;
use crate::store::Write;
use crate::store::codec::Schema;

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

/// Who wants a set, and how.
pub struct WantedSet {
    /// What was checked.
    pub triggers: Vec<Wanted>,
    /// Whether what is live and not in the set becomes silent.
    pub pause_others: bool,
    /// Triggers that may be live then.
    pub live_max: usize,
}

/// Paused triggers whose text the set has as it is, and whether a number in it would come to mean another unit.
type Meanings = BTreeMap<TriggerId, (Arc<Document>, bool)>;

/// A set on its way to the disk.
struct Plan {
    told: Published,
    documents: Vec<(Name, Arc<Document>)>,
    writes: Vec<Write>,
    /// None where nothing changes.
    next: Option<RuleSet>,
}

impl Rulebook {
    /// Makes a set of triggers live, all or none: one commit, read by the next decision as a whole.
    /// Their drafts become the same. Refused where a model changed since it was looked at, or somebody silenced triggers.
    pub async fn put_set(
        self: &Arc<Self>,
        engine: &Engine,
        retailer: &RetailerId,
        looked: Looked,
        set: WantedSet,
    ) -> Result<Published, Failure> {
        // What past versions meant takes long to find: before others wait.
        let (this, of) = (Arc::clone(self), retailer.clone());
        let asking = move || this.meanings(&of, &looked.rules, &set.triggers).map(|meanings| (meanings, looked, set));
        let (meanings, looked, set) = aside("looking at the set", asking).await??;

        let mut unsure = self.changing.lock().await;
        let (this, of, now) = (Arc::clone(self), retailer.clone(), engine.clock().now());
        let planning = move || this.plan(&of, &looked, set, &meanings, now);
        let Plan { told, documents, writes, next } = aside("taking the set in", planning).await??;
        if documents.is_empty() {
            return Ok(told);
        }
        let adds = documents.iter().filter(|(name, _)| name.kind != Kind::Draft);
        let adds = adds.map(|(name, document)| name.key(document.version)).collect();
        unsure.commit(engine, adds, Vec::new(), writes).await?;
        if let Some(next) = next {
            self.current.store(Arc::new(next));
        }
        self.latest.write().expect("no holder of this lock panics").extend(documents);
        Ok(told)
    }

    /// What a set comes to beside what is live now.
    fn plan(
        &self,
        retailer: &RetailerId,
        looked: &Looked,
        set: WantedSet,
        meanings: &Meanings,
        now: Timestamp,
    ) -> Result<Plan, Failure> {
        let rules = self.current.load_full();
        still_so(&looked.rules, &rules)?;
        let (mut version, mut told) = (rules.version, Published::default());
        let (mut documents, mut live) = (Vec::new(), Vec::new());
        let ids: BTreeSet<TriggerId> = set.triggers.iter().map(|wanted| wanted.trigger.id.clone()).collect();
        for Wanted { body, mut trigger } in set.triggers {
            let named = |kind| Name::of_retailer(kind, retailer, trigger.id.as_str());
            let (name, draft) = (named(Kind::Trigger), named(Kind::Draft));
            let before = self.get(&name);
            self.not_silenced(looked, before.as_deref())?;
            if self.get(&draft).is_none_or(|draft| draft.body != body) {
                let number = self.get(&draft).map_or(0, |draft| draft.number) + 1;
                documents.push((draft, Document { version: 0, number, at: now, body: body.clone(), paused: false }));
            }
            let is_held = rules.held.contains_key(&(retailer.clone(), trigger.id.clone()));
            if let Some(before) = before.as_ref().filter(|before| before.body == body)
                && self.means_another_unit(&name, before, &rules, retailer, &trigger.id, meanings)?
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
        if set.pause_others {
            for (name, document) in
                self.speaking(retailer).into_iter().filter(|(name, _)| !ids.contains(name.id.as_str()))
            {
                version += 1;
                documents.push((name, Document { version, at: now, paused: true, ..(*document).clone() }));
                told.paused += 1;
            }
        }
        let changed: BTreeSet<&str> =
            documents.iter().filter(|(name, _)| name.kind == Kind::Trigger).map(|(name, _)| name.id.as_str()).collect();
        let stays = |other: &Trigger| other.retailer != *retailer || !changed.contains(other.id.as_str());
        let stay: Vec<_> = rules.triggers.iter().filter(|other| stays(other)).cloned().collect();
        // What is held, and stays so, speaks again by itself.
        let held = rules.held.keys().filter(|(of, id)| of == retailer && !changed.contains(id.as_str())).count();
        let own = stay.iter().filter(|other| other.retailer == *retailer).count() + held + live.len();
        if own > set.live_max {
            return Err(Failure::Conflict(format!(
                "{own} triggers would be live, and {} may be; pause some first",
                set.live_max
            )));
        }
        let next = (version > rules.version).then(|| {
            let triggers = TriggerSet::build(stay.into_iter().chain(live));
            let mut next = RuleSet { version, triggers, products: rules.products.at(version), ..(*rules).clone() };
            next.held.retain(|(owner, id), _| owner != retailer || !changed.contains(id.as_str()));
            next
        });
        let documents: Vec<_> = documents.into_iter().map(|(name, document)| (name, Arc::new(document))).collect();
        Ok(Plan { told, writes: documents.iter().map(row).collect(), documents, next })
    }

    /// Of the paused triggers of a set, which would speak with their numbers in another unit than was meant.
    fn meanings(&self, retailer: &RetailerId, rules: &RuleSet, set: &[Wanted]) -> Result<Meanings, Failure> {
        let mut meanings = Meanings::new();
        for wanted in set {
            let name = Name::of_retailer(Kind::Trigger, retailer, wanted.trigger.id.as_str());
            if let Some(before) = self.get(&name).filter(|before| before.paused && before.body == wanted.body) {
                let means_another = self.meant_another(&name, &before, rules, retailer)?;
                meanings.insert(wanted.trigger.id.clone(), (before, means_another));
            }
        }
        Ok(meanings)
    }

    /// Whether a trigger that is silent would speak with its numbers in another unit than was meant.
    fn means_another_unit(
        &self,
        name: &Name,
        before: &Arc<Document>,
        rules: &RuleSet,
        retailer: &RetailerId,
        id: &TriggerId,
        meanings: &Meanings,
    ) -> Result<bool, Failure> {
        if !before.paused {
            let held = rules.held.get(&(retailer.clone(), id.clone()));
            return Ok(held.is_some_and(|held| held.problems.iter().any(is_of_unit)));
        }
        match meanings.get(id) {
            Some((known, means_another)) if Arc::ptr_eq(known, before) => Ok(*means_another),
            _ => self.meant_another(name, before, rules, retailer),
        }
    }

    fn meant_another(
        &self,
        name: &Name,
        paused: &Document,
        rules: &RuleSet,
        retailer: &RetailerId,
    ) -> Result<bool, Failure> {
        let Some(version) = self.meant_at(name, paused.number)?.filter(|version| rules.units.changed_since(*version))
        else {
            return Ok(false);
        };
        let meant = Document { version, ..paused.clone() };
        let again = triggers::compile(&document_json(&meant), retailer, &meant, rules);
        Ok(again.is_err_and(|problems| problems.iter().any(is_of_unit)))
    }
}

fn is_of_unit(problem: &Problem) -> bool {
    problem.code == UNIT_CHANGED
}

/// The row of a document.
pub(super) fn row((name, document): &(Name, Arc<Document>)) -> Write {
    rows::put(Schema::Document, name.key(document.version), &**document)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use hearthway_core::trigger::{World, compile_json};
    use serde_json::{Value, json};

    use super::*;
    use crate::clock::SystemClock;
    use crate::engine;
    use crate::engine::RuleBook;
    use crate::store::memory::MemoryStore;
    use crate::store::{Commit, Store};

    fn tip(id: &str, field: &str) -> Value {
        json!({
            "id": id, "kind": "tip",
            "on": {"event": "telemetry", "device": {"kind": "thermostat"}, "field": field, "falls_below": 17},
            "offer": {"actions": ["decline"], "text": {"fr": {"title": "Froid", "body": "Il fait froid."}}},
        })
    }

    #[tokio::test]
    async fn a_set_counts_the_held_among_those_that_are_live() {
        let shop = RetailerId::new("shop").unwrap();
        let model = json!({
            "model": "th-200", "maker": "acme", "kind": "thermostat", "locales": ["fr"],
            "telemetry": {"temperature": {"type": "number", "unit": "°C"}},
            "placements": [{"id": "home.card", "title_max": 40, "body_max": 160}],
        });
        let store = Arc::new(MemoryStore::new());
        let documents = [
            (Name::of_house(Kind::Model, "th-200"), model),
            (Name::of_retailer(Kind::Trigger, &shop, "gone"), tip("gone", "pressure")),
        ];
        for ((name, body), version) in documents.into_iter().zip(1..) {
            let at = Timestamp::default();
            let document = Document { version, number: 1, at, body: body.to_string(), paused: false };
            let writes = vec![rows::put(Schema::Document, name.key(version), &document)];
            store.commit(&[Commit { preconditions: Vec::new(), writes }]).unwrap();
        }
        let rulebook = Rulebook::open(store.clone()).unwrap();
        let settings = engine::Settings { shards: 1, ..engine::Settings::default() };
        let engine = Engine::start(settings, Arc::new(SystemClock), store, rulebook.clone()).unwrap();
        assert_eq!((rulebook.current().held.len(), rulebook.current().triggers.len()), (1, 0));
        let set = |live_max: usize| {
            let (looked, body) = (rulebook.look(&shop), tip("cold", "temperature"));
            let (models, products) = (&looked.rules.models, &looked.rules.products);
            let world = World { retailer: shop.clone(), version: 1, models, products, default_locale: "fr" };
            let trigger = compile_json(&body, &shop, 1, &world).unwrap();
            let triggers = vec![Wanted { body: body.to_string(), trigger }];
            rulebook.put_set(&engine, &shop, looked, WantedSet { triggers, pause_others: false, live_max })
        };
        let refused = set(1).await.unwrap_err().to_string();
        assert!(refused.contains("2 triggers would be live, and 1 may be"), "{refused}");
        assert_eq!(set(2).await.unwrap().published, 1);
    }
}
