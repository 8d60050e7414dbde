//! One immutable version of everything that retailers and makers define.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use crate::audience::Audience;
use crate::catalog::Products;
use crate::chance::Chances;
use crate::forecast::{Priors, ProductPrior};
use crate::id::{AudienceId, DeviceKey, MakerId, ModelId, ProductId, RetailerId, StoreId, TriggerId};
use crate::model::{ConsentRecord, ConsentText, DeviceModel, Household, Maker, Product, Purpose, Retailer, Store};
use crate::time::{Timestamp, Zone};
use crate::trigger::{Problem, TriggerSet, Units};

/// Triggers, products, device models and tenants, in one version. Immutable: a change makes the
/// next version, and each decision carries the number of the version it read.
#[derive(Debug, Clone, Default)]
pub struct RuleSet {
    /// Grows by one at each change of any part.
    pub version: u64,
    /// Device models.
    pub models: BTreeMap<ModelId, Arc<DeviceModel>>,
    /// Products of all retailers.
    pub products: Products,
    /// Stores of all retailers.
    pub stores: BTreeMap<(RetailerId, StoreId), Arc<Store>>,
    /// Retailers.
    pub retailers: BTreeMap<RetailerId, Arc<Retailer>>,
    /// Makers.
    pub makers: BTreeMap<MakerId, Arc<Maker>>,
    /// Live triggers of all retailers, compiled.
    pub triggers: TriggerSet,
    /// What is known of products' use before anything is known of a home's, by retailer; the neutral priors
    /// where a retailer has none.
    pub priors: BTreeMap<RetailerId, Arc<Priors>>,
    /// How likely offers are accepted, by retailer.
    pub chances: BTreeMap<RetailerId, Arc<Chances>>,
    /// What people are shown when they are asked for consent, by retailer and the text's id.
    pub consent_texts: BTreeMap<(RetailerId, String), Arc<ConsentText>>,
    /// Audiences of all retailers, compiled.
    pub audiences: BTreeMap<(RetailerId, AudienceId), Arc<Audience>>,
    /// Published triggers of all retailers that do not agree with the models as they are.
    pub held: BTreeMap<(RetailerId, TriggerId), Arc<Held>>,
    /// In which units models told their values, version by version.
    pub units: Arc<Units>,
}

/// A published trigger that does not agree with the models as they are. It is silent until it does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// Its version.
    pub version: u64,
    /// What is wrong with it.
    pub problems: Vec<Problem>,
}

/// Consent texts that a refusal names: a shop has few for one purpose.
const TEXTS_NAMED_MAX: usize = 8;

/// What is known of products where no retailer's fleet has told anything.
static NEUTRAL: LazyLock<Priors> = LazyLock::new(Priors::default);

/// What is believed of offers of which nothing was learned.
static UNLEARNED: LazyLock<Chances> = LazyLock::new(Chances::default);

impl RuleSet {
    /// How likely a retailer's offers are accepted.
    pub fn chances(&self, retailer: &RetailerId) -> &Chances {
        self.chances.get(retailer).map_or(&*UNLEARNED, |chances| &**chances)
    }
    /// A retailer's product.
    pub fn product(&self, retailer: &RetailerId, product: &ProductId) -> Option<Arc<Product>> {
        self.products.get(retailer, product)
    }
    /// A retailer's audience.
    pub fn audience(&self, retailer: &RetailerId, audience: &AudienceId) -> Option<&Arc<Audience>> {
        self.audiences.get(&(retailer.clone(), audience.clone()))
    }
    /// The names of a retailer's audiences.
    pub fn audiences_of<'a>(&'a self, retailer: &'a RetailerId) -> impl Iterator<Item = &'a AudienceId> + Clone {
        self.audiences.keys().filter(move |(owner, _)| owner == retailer).map(|(_, id)| id)
    }
    /// A retailer's stores, by their ids.
    pub fn stores_of<'a>(&'a self, retailer: &'a RetailerId) -> impl Iterator<Item = (&'a StoreId, &'a Arc<Store>)> {
        self.stores.iter().filter(move |((owner, _), _)| owner == retailer).map(|((_, id), store)| (id, store))
    }
    /// A retailer's store.
    pub fn store(&self, retailer: &RetailerId, store: &StoreId) -> Option<&Arc<Store>> {
        self.stores.get(&(retailer.clone(), store.clone()))
    }
    /// What is known of products' use in a retailer's homes.
    pub fn priors(&self, retailer: Option<&RetailerId>) -> &Priors {
        retailer.and_then(|retailer| self.priors.get(retailer)).map_or(&*NEUTRAL, |priors| &**priors)
    }
    /// What is known of a product's use in a home's region; of all products where none is named, or it has no prior of
    /// its own.
    pub fn prior(&self, home: &Household, product: Option<&ProductId>) -> &ProductPrior {
        let priors = self.priors(home.retailer.as_ref());
        product.map_or(&priors.pooled, |product| priors.of(product.as_str(), home.zone.as_ref().map(Zone::as_str)))
    }
    /// A text that a retailer asks with.
    pub fn consent_text(&self, retailer: &RetailerId, id: &str) -> Option<&Arc<ConsentText>> {
        self.consent_texts.get(&(retailer.clone(), id.to_owned()))
    }
    /// Whether a retailer has any.
    pub fn has_consent_texts(&self, retailer: &RetailerId) -> bool {
        let mut from = self.consent_texts.range((retailer.clone(), String::new())..);
        from.next().is_some_and(|((owner, _), _)| owner == retailer)
    }
    /// A retailer's texts that ask for a purpose, by their ids.
    pub fn consent_texts_for<'a>(
        &'a self,
        retailer: &'a RetailerId,
        purpose: Purpose,
    ) -> impl Iterator<Item = (&'a str, &'a Arc<ConsentText>)> {
        let texts = self.consent_texts.range((retailer.clone(), String::new())..);
        let own = texts.take_while(move |((owner, _), _)| owner == retailer).map(|((_, id), text)| (id.as_str(), text));
        own.filter(move |(_, text)| text.purposes.contains(&purpose))
    }
    /// Whether a record permits at `now`: a grant whose text has come to ask for something else does not.
    pub fn permits(
        &self,
        retailer: Option<&RetailerId>,
        purpose: Purpose,
        record: &ConsentRecord,
        now: Timestamp,
    ) -> bool {
        record.is_live(now) && !self.asks_again(retailer, purpose, record)
    }
    /// Whether the text that a word was given to has come to ask for something else. Who named none of the shop's texts
    /// saw what was shown before them: to that the first text that asks again for the purpose puts an end.
    pub fn asks_again(&self, retailer: Option<&RetailerId>, purpose: Purpose, record: &ConsentRecord) -> bool {
        let Some(retailer) = retailer else { return false };
        match record.text_id.as_deref().and_then(|id| self.consent_text(retailer, id)) {
            Some(text) => !text.covers(purpose, record),
            None => self.consent_texts_for(retailer, purpose).any(|(_, text)| record.at < text.asks_since),
        }
    }
    /// Why a grant of a purpose cannot rest on the text that it names, or on none: the retailer has one for it.
    pub fn refuses_grant(&self, retailer: &RetailerId, purpose: Purpose, text: Option<&str>) -> Option<String> {
        let for_it = || self.consent_texts_for(retailer, purpose).map(|(id, _)| id).take(TEXTS_NAMED_MAX);
        let known = || {
            let ids: Vec<String> = for_it().map(|id| format!("`{id}`")).collect();
            let list = if ids.is_empty() { "none".to_owned() } else { ids.join(", ") };
            format!("for `{}` there is {list}", purpose.as_str())
        };
        let Some(id) = text else {
            let is_free = for_it().next().is_none();
            return (!is_free).then(|| format!("name the consent text that was shown: {}", known()));
        };
        match self.consent_text(retailer, id) {
            Some(text) if text.purposes.contains(&purpose) => None,
            Some(_) => Some(format!("this text does not ask for `{}`: {}", purpose.as_str(), known())),
            None if !self.has_consent_texts(retailer) => None,
            None => {
                let shown: String = id.chars().take(80).collect();
                Some(format!("there is no consent text `{shown}`: {}", known()))
            }
        }
    }
}

impl crate::model::Device {
    /// What the device can do in these rules: by its own words, else by its model's.
    pub fn description_in<'a>(&'a self, rules: &'a RuleSet) -> Option<&'a crate::model::DeviceDescription> {
        self.description.as_deref().or_else(|| rules.models.get(&self.model).map(|model| &model.description))
    }
}

impl Household {
    /// The word of a linked owner or buyer of the device that permits a purpose at `now`, the latest
    /// where there are several. A child's or viewer's word neither grants nor is asked.
    pub fn consent_for(
        &self,
        rules: &RuleSet,
        device: &DeviceKey,
        purpose: Purpose,
        now: Timestamp,
    ) -> Option<&ConsentRecord> {
        let live =
            self.words_on(device, purpose).filter(|record| rules.permits(self.retailer.as_ref(), purpose, record, now));
        live.max_by_key(|record| record.at)
    }
    /// The latest word on a purpose of those whose word counts at a device.
    pub fn words_on<'h>(&'h self, device: &DeviceKey, purpose: Purpose) -> impl Iterator<Item = &'h ConsentRecord> {
        let links = self.links.values().filter(move |link| link.device == *device && link.role.may_order());
        let members = links.filter_map(|link| self.members.get(&link.profile));
        members.filter_map(move |member| member.consents.get(&purpose))
    }
}
