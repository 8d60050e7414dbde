//! What tenants write down, in versions, and the rule set that follows from it.
//!
//! Each change of a retailer, maker, model, store or live trigger is a row of its own under the
//! next number of the one global version; the rule set at version v is the newest row at or below
//! v of each document. Rows are never changed, so that a replay reads what the decision read.
//! Drafts are the exception: they are no rules, have no version, and are written over. Products have a place
//! of their own (`src/app/catalog/kept.rs`) under the same versions: there may be a million of them.

mod held;
mod models;
mod products;
mod put;
mod sets;
mod stops;

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, RwLock};

use arc_swap::ArcSwap;
use hearthway_core::catalog::Products;
use hearthway_core::chance::Chances;
use hearthway_core::forecast::ProductPrior;
use hearthway_core::id::{MakerId, ModelId, RetailerId, StoreId, TriggerId, base32, derive_bytes};
use hearthway_core::model::{ConsentText, DeviceModel, Maker, Retailer};
use hearthway_core::rules::{Held, RuleSet};
use hearthway_core::time::Timestamp;
use hearthway_core::trigger::{Trigger, TriggerSet, Units};
use serde::{Deserialize, Serialize};
use tracing::warn;

pub use held::Fallen;
pub use sets::{Published, Wanted, WantedSet};
pub use stops::Looked;

use super::catalog::kept::Kept;
use super::{Failure, Page, PageQuery, audiences, catalog, rows, triggers};
use crate::engine::{Engine, RuleBook};
use crate::store::codec::{self, Schema};
use crate::store::keys::{self, KeyBuilder, table};
use crate::store::{Precondition, Store, StoreError, Write};

/// Past rule sets kept ready: explaining a few decisions of one afternoon reads few versions.
const PAST_RULE_SETS_MAX: usize = 4;

/// Versions read in one page: most documents have fewer.
const VERSIONS_PAGE_ROWS: usize = 64;

/// What a document is. The order is the order in which a rule set is built.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A retailer.
    Retailer,
    /// A maker.
    Maker,
    /// A device model.
    Model,
    /// A retailer's live trigger.
    Trigger,
    /// A trigger being written.
    Draft,
    /// What a retailer's fleet tells of the use of a product, or of any.
    Prior,
    /// A retailer's store.
    Store,
    /// How likely a retailer's offers are accepted.
    Chances,
    /// What a retailer's customers are shown when they are asked for consent.
    ConsentText,
    /// A named group of a retailer's customers.
    Audience,
}

impl Kind {
    const ALL: [Kind; 10] = [
        Kind::Retailer,
        Kind::Maker,
        Kind::Model,
        Kind::Trigger,
        Kind::Draft,
        Kind::Prior,
        Kind::Store,
        Kind::Chances,
        Kind::ConsentText,
        Kind::Audience,
    ];

    /// The word in keys, and for people.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Retailer => "retailer",
            Kind::Maker => "maker",
            Kind::Model => "model",
            Kind::Trigger => "trigger",
            Kind::Draft => "draft",
            Kind::Prior => "prior",
            Kind::Store => "store",
            Kind::Chances => "chances",
            Kind::ConsentText => "consent_text",
            Kind::Audience => "audience",
        }
    }
    fn parse(text: &str) -> Option<Kind> {
        Kind::ALL.into_iter().find(|kind| kind.as_str() == text)
    }
}

/// The id of the prior of every product that has none of its own.
pub const ANY_PRODUCT: &str = "_any";

/// Which document: its kind, its tenant (empty for what belongs to the house) and its id.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name {
    /// What it is.
    pub kind: Kind,
    /// Whose it is.
    pub tenant: String,
    /// Its id within the tenant.
    pub id: String,
}

impl Name {
    /// A document of the house.
    pub fn of_house(kind: Kind, id: &str) -> Name {
        Name { kind, tenant: String::new(), id: id.to_owned() }
    }
    /// A document of a retailer.
    pub fn of_retailer(kind: Kind, retailer: &RetailerId, id: &str) -> Name {
        Name { kind, tenant: retailer.to_string(), id: id.to_owned() }
    }
    /// Where all its versions stand.
    fn prefix(&self) -> Vec<u8> {
        KeyBuilder::table(table::DOCUMENT).name(self.kind.as_str()).name(&self.tenant).name(&self.id).prefix()
    }
    fn key(&self, version: u64) -> keys::Key {
        keys::document(self.kind.as_str(), &self.tenant, &self.id, version)
    }
}

/// One version of a document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Document {
    /// The version of the rules that it made; 0 for a draft.
    pub version: u64,
    /// The document's own count of its changes, from 1.
    pub number: u64,
    /// When it was written.
    pub at: Timestamp,
    /// The document as canonical JSON.
    pub body: String,
    /// A trigger that is live but silent.
    pub paused: bool,
}

impl Document {
    /// The tag that `If-Match` is compared with: the same text has the same tag.
    pub fn etag(&self) -> String {
        etag(&self.body)
    }
}

/// The tag of a text, with its quotes.
pub fn etag(text: &str) -> String {
    format!("\"{}\"", base32(&derive_bytes("etag", &[text.as_bytes()])[..10]))
}

/// What must hold of a document before it is replaced.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Condition {
    /// Nothing.
    #[default]
    Any,
    /// It exists.
    Exists,
    /// It exists and has one of these tags.
    Tags(Vec<String>),
}

impl Condition {
    /// Holds against the tag of what stands there?
    pub fn check(&self, what: &'static str, current: Option<&str>) -> Result<(), Failure> {
        let holds = match (self, current) {
            (Condition::Any, _) | (Condition::Exists, Some(_)) => true,
            (Condition::Exists | Condition::Tags(_), None) => false,
            (Condition::Tags(tags), Some(current)) => tags.iter().any(|tag| tag == current),
        };
        if holds { Ok(()) } else { Err(Failure::Stale { what }) }
    }
}

/// All documents in their latest version, and the rule set that they make.
pub struct Rulebook {
    store: Arc<dyn Store>,
    current: ArcSwap<RuleSet>,
    latest: RwLock<BTreeMap<Name, Arc<Document>>>,
    catalog: Arc<Kept>,
    past: Mutex<VecDeque<Arc<RuleSet>>>,
    /// Held over a change, so that versions are given one by one. Nobody works long under it: who stops the triggers
    /// waits for it.
    changing: tokio::sync::Mutex<Unsure>,
    /// Held over a change of a model, from before what leans on it is compiled again.
    changing_models: tokio::sync::Mutex<()>,
    /// How often each retailer's triggers were stopped since the start.
    stops: Mutex<BTreeMap<RetailerId, u64>>,
}

/// Rows of a change of which nobody was told that it is on disk, because the store failed or the caller left. They
/// may be there all the same, under a version that is still to be given: so they go before the next change.
#[derive(Default)]
struct Unsure(Vec<keys::Key>);

impl Unsure {
    /// Nothing of a change that failed is left.
    async fn settle(&mut self, engine: &Engine) -> Result<(), Failure> {
        if !self.0.is_empty() {
            // Behind the doubtful write in the writer's queue, whatever became of that.
            rows::write(engine, self.0.iter().cloned().map(Write::Delete).collect()).await?;
            self.0.clear();
        }
        Ok(())
    }

    /// Writes a change that adds these rows.
    async fn commit(
        &mut self,
        engine: &Engine,
        adds: Vec<keys::Key>,
        preconditions: Vec<Precondition>,
        writes: Vec<Write>,
    ) -> Result<(), Failure> {
        self.settle(engine).await?;
        self.0 = adds;
        let outcome = rows::commit(engine, preconditions, writes).await;
        if !matches!(outcome, Err(Failure::Store(_))) {
            self.0.clear();
        }
        outcome
    }
}

impl Rulebook {
    /// Reads all documents and builds the current rule set. A document that cannot be understood
    /// any more is left out with a warning: the others go on.
    pub fn open(store: Arc<dyn Store>) -> Result<Arc<Rulebook>, StoreError> {
        let (latest, units) = newest(&*store, u64::MAX)?;
        let catalog = Kept::open(store.clone())?;
        let version = latest.values().map(|document| document.version).max().unwrap_or(0).max(catalog.newest());
        let rules = build(&latest, units, &catalog, version);
        rules.held.iter().for_each(held::warn_of);
        Ok(Arc::new(Rulebook {
            store,
            current: ArcSwap::from_pointee(rules),
            latest: RwLock::new(latest),
            catalog,
            past: Mutex::default(),
            changing: tokio::sync::Mutex::default(),
            changing_models: tokio::sync::Mutex::default(),
            stops: Mutex::default(),
        }))
    }

    /// All products.
    pub fn catalog(&self) -> &Kept {
        &self.catalog
    }

    /// Nothing is left of changes that failed: what the store says from here on was acknowledged.
    pub async fn settle(&self, engine: &Engine) -> Result<(), Failure> {
        self.changing.lock().await.settle(engine).await
    }

    /// The latest version of a document.
    pub fn get(&self, name: &Name) -> Option<Arc<Document>> {
        self.latest.read().expect("no holder of this lock panics").get(name).cloned()
    }

    /// A tenant's documents of a kind that pass `wanted`, by id.
    pub fn list(
        &self,
        kind: Kind,
        tenant: &str,
        page: &PageQuery,
        wanted: impl Fn(&str, &Document) -> bool,
    ) -> Page<(String, Arc<Document>)> {
        let latest = self.latest.read().expect("no holder of this lock panics");
        let from = Name { kind, tenant: tenant.to_owned(), id: page.cursor.clone().unwrap_or_default() };
        let mut items: Vec<(String, Arc<Document>)> = latest
            .range(from..)
            .take_while(|(name, _)| name.kind == kind && name.tenant == tenant)
            .filter(|(name, _)| page.cursor.as_ref() != Some(&name.id))
            .filter(|(name, document)| wanted(&name.id, document))
            .take(page.limit + 1)
            .map(|(name, document)| (name.id.clone(), document.clone()))
            .collect();
        let more = items.len() > page.limit;
        items.truncate(page.limit);
        let next = items.last().filter(|_| more).map(|(id, _)| id.clone());
        Page { items, next }
    }

    /// The versions of a document, newest first; of those with the same text, the newest.
    pub fn versions(&self, name: &Name, limit: usize) -> Result<Vec<Arc<Document>>, StoreError> {
        let mut found: Vec<Arc<Document>> = Vec::new();
        let mut before: Option<keys::Key> = None;
        while found.len() < limit {
            let rows = self.store.scan_back(&name.prefix(), before.as_ref(), VERSIONS_PAGE_ROWS)?;
            for (key, bytes) in &rows {
                let document: Document = codec::decode(Schema::Document, key, bytes)?;
                if found.last().is_none_or(|newer| newer.number != document.number) && found.len() < limit {
                    found.push(Arc::new(document));
                }
            }
            match rows.into_iter().last() {
                Some((key, _)) => before = Some(key),
                None => break,
            }
        }
        Ok(found)
    }

    /// The newest version of the rules with which somebody let a trigger speak in the text of this number: what its
    /// numbers without a unit mean, they mean as of then. A pause says nothing about them.
    pub fn meant_at(&self, name: &Name, number: u64) -> Result<Option<u64>, StoreError> {
        let mut before: Option<keys::Key> = None;
        loop {
            let rows = self.store.scan_back(&name.prefix(), before.as_ref(), VERSIONS_PAGE_ROWS)?;
            for (key, bytes) in &rows {
                let document: Document = codec::decode(Schema::Document, key, bytes)?;
                if document.number == number && !document.paused {
                    return Ok(Some(document.version));
                }
            }
            match rows.into_iter().last() {
                Some((key, _)) => before = Some(key),
                None => return Ok(None),
            }
        }
    }
}

impl RuleBook for Rulebook {
    fn current(&self) -> Arc<RuleSet> {
        self.current.load_full()
    }

    fn at(&self, version: u64) -> Option<Arc<RuleSet>> {
        let current = self.current.load_full();
        if version >= current.version {
            return (version == current.version).then_some(current);
        }
        let mut past = self.past.lock().expect("no holder of this lock panics");
        if let Some(known) = past.iter().find(|rules| rules.version == version) {
            return Some(known.clone());
        }
        let (documents, units) = newest(&*self.store, version)
            .map_err(|error| warn!("The rules of version {version} cannot be read: {error}"))
            .ok()?;
        let rules = Arc::new(build(&documents, units, &self.catalog, version));
        past.push_front(rules.clone());
        past.truncate(PAST_RULE_SETS_MAX);
        Some(rules)
    }
}

/// The newest version at or below `version` of each document, and in which units models told their values up to it.
fn newest(store: &dyn Store, version: u64) -> Result<(BTreeMap<Name, Arc<Document>>, Units), StoreError> {
    let (mut found, mut units) = (BTreeMap::new(), Units::default());
    for kind in Kind::ALL {
        let prefix = KeyBuilder::table(table::DOCUMENT).name(kind.as_str()).prefix();
        rows::each(store, &prefix, |key, bytes| {
            let document: Document = codec::decode(Schema::Document, key, bytes)?;
            let [word, tenant, id] = rows::names(key, 3).try_into().unwrap_or_default();
            if let Some(kind) = Kind::parse(&word).filter(|_| document.version <= version) {
                // The versions of a document stand in their order.
                if let (Kind::Model, Ok(model)) = (kind, ModelId::new(&id))
                    && let Ok(known) = catalog::read_model(&document.body)
                {
                    units.learn(&model, &known.description, document.version);
                }
                found.insert(Name { kind, tenant, id }, Arc::new(document));
            }
            Ok(())
        })?;
    }
    Ok((found, units))
}

/// The rule set of a version. Documents come in the order in which they lean on each other.
fn build(documents: &BTreeMap<Name, Arc<Document>>, units: Units, catalog: &Arc<Kept>, version: u64) -> RuleSet {
    let products = Products::kept(catalog.clone(), version);
    let mut rules = RuleSet { version, products, units: Arc::new(units), ..RuleSet::default() };
    let mut live = Vec::new();
    for (name, document) in documents {
        let outcome = match name.kind {
            Kind::Trigger if document.paused => Ok(()),
            Kind::Trigger => compile(&rules, name, document).map(|compiled| match compiled {
                Ok(trigger) => live.push(trigger),
                Err((of, held)) => drop(rules.held.insert(of, held)),
            }),
            Kind::Retailer
            | Kind::Maker
            | Kind::Model
            | Kind::Draft
            | Kind::Prior
            | Kind::Store
            | Kind::Chances
            | Kind::ConsentText
            | Kind::Audience => add(&mut rules, name, document),
        };
        if let Err(problem) = outcome {
            let (kind, id) = (name.kind.as_str(), &name.id);
            warn!(document = kind, "The {kind} `{id}` is left out of the rules: {problem}");
        }
    }
    rules.triggers = TriggerSet::build(live);
    rules
}

/// A live trigger, compiled against the models of these rules; else whose it is, and what holds it.
type Compiled = Result<Arc<Trigger>, held::HeldTrigger>;

fn compile(rules: &RuleSet, name: &Name, document: &Document) -> Result<Compiled, String> {
    let retailer = RetailerId::new(&name.tenant).map_err(|error| error.to_string())?;
    let id = TriggerId::new(&name.id).map_err(|error| error.to_string())?;
    let body = serde_json::from_str(&document.body).map_err(|error| error.to_string())?;
    let compiled = triggers::compile(&body, &retailer, document, rules);
    Ok(compiled.map_err(|problems| ((retailer, id), Arc::new(Held { version: document.number, problems }))))
}

/// Puts one document into a rule set, in place of its earlier version.
fn add(rules: &mut RuleSet, name: &Name, document: &Document) -> Result<(), String> {
    let text = |error: serde_json::Error| error.to_string();
    let bad = |error: hearthway_core::id::NameError| error.to_string();
    match name.kind {
        Kind::Retailer => {
            let retailer: Retailer = serde_json::from_str(&document.body).map_err(text)?;
            rules.retailers.insert(RetailerId::new(&name.id).map_err(bad)?, Arc::new(retailer));
        }
        Kind::Maker => {
            let maker: Maker = serde_json::from_str(&document.body).map_err(text)?;
            rules.makers.insert(MakerId::new(&name.id).map_err(bad)?, Arc::new(maker));
        }
        Kind::Model => {
            let model: DeviceModel = catalog::read_model(&document.body)?;
            let id = ModelId::new(&name.id).map_err(bad)?;
            Arc::make_mut(&mut rules.units).learn(&id, &model.description, document.version);
            rules.models.insert(id, Arc::new(model));
        }
        Kind::Store => {
            let store: hearthway_core::model::Store = serde_json::from_str(&document.body).map_err(text)?;
            let retailer = RetailerId::new(&name.tenant).map_err(bad)?;
            rules.stores.insert((retailer, StoreId::new(&name.id).map_err(bad)?), Arc::new(store));
        }
        Kind::Trigger => {
            let of = (RetailerId::new(&name.tenant).map_err(bad)?, TriggerId::new(&name.id).map_err(bad)?);
            let this = if document.paused { None } else { Some(compile(rules, name, document)) };
            rules.held.remove(&of);
            let mut live: Vec<_> =
                rules.triggers.iter().filter(|live| live.retailer != of.0 || live.id != of.1).cloned().collect();
            let outcome = match this {
                Some(Ok(Ok(trigger))) => {
                    live.push(trigger);
                    Ok(())
                }
                Some(Ok(Err((of, held)))) => {
                    rules.held.insert(of, held);
                    Ok(())
                }
                Some(Err(problem)) => Err(problem),
                None => Ok(()),
            };
            rules.triggers = TriggerSet::build(live);
            outcome?;
        }
        Kind::Draft => {}
        Kind::Audience => audiences::add(rules, name, document)?,
        Kind::Chances => {
            let chances: Chances = serde_json::from_str(&document.body).map_err(text)?;
            rules.chances.insert(RetailerId::new(&name.tenant).map_err(bad)?, Arc::new(chances));
        }
        Kind::ConsentText => {
            let asked: ConsentText = serde_json::from_str(&document.body).map_err(text)?;
            let retailer = RetailerId::new(&name.tenant).map_err(bad)?;
            rules.consent_texts.insert((retailer, name.id.clone()), Arc::new(asked));
        }
        Kind::Prior => {
            let prior: ProductPrior = serde_json::from_str(&document.body).map_err(text)?;
            let retailer = RetailerId::new(&name.tenant).map_err(bad)?;
            let priors = Arc::make_mut(rules.priors.entry(retailer).or_default());
            // The latest change of any of them is the version of all.
            priors.version = priors.version.max(u32::try_from(document.version).unwrap_or(u32::MAX));
            match name.id.as_str() {
                ANY_PRODUCT => priors.pooled = prior,
                product => {
                    priors.products.insert(product.to_owned(), prior);
                }
            }
        }
    }
    Ok(())
}
