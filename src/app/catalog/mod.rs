//! Device models of makers; products of retailers, and what follows from them.
//!
//! | file | what it holds |
//! |---|---|
//! | `kept` | all products in memory and on disk |
//! | `former` | former versions of products, and when they go |
//! | `slot` | what fits one slot, the first of it ready to be handed out |
//! | `products` | what can be asked about one |
//! | `form` | a product as JSON, both ways |
//! | `check` | what is wrong with one |
//! | `gtin` | the world's article numbers |
//! | `sellers`, `stores` | who else sells it; where it can be collected, and how many there are |
//! | `price_lists` | other prices of many products under one name |
//! | `reservations` | what is put aside there for a while |
//! | `quote` | what it costs now |
//! | `import` | many at once, line by line; `csv` is their other form |
//! | `import_names` | how long the name of an import is known |

mod check;
pub mod csv;
pub mod form;
mod former;
mod gtin;
pub mod import;
mod import_names;
pub mod kept;
pub mod price_lists;
mod products;
pub mod quote;
pub mod reservations;
pub mod sellers;
mod slot;
pub mod stores;

use std::sync::Arc;

use hearthway_core::forecast::{ProductPrior, of_region};
use hearthway_core::id::{MakerId, ModelId, ProductId};
use hearthway_core::model::{DeviceModel, Tenant};
use hearthway_core::rules::RuleSet;
use hearthway_core::time::Zone;
use hearthway_core::wire;
use serde_json::{Value, json};

use super::documents::{ANY_PRODUCT, Condition, Document, Kind, Name};
use super::tenants::to_text;
use super::tokens::{Caller, Scope};
use super::{App, Failure};

pub use products::TaggedProduct;

/// Bytes of one document as kept: the store's values stay below 64 KiB, with room for the envelope.
pub(super) const DOCUMENT_BYTES_MAX: usize = 60 * 1024;

/// A model as JSON for people and for the store: the description with its maker.
pub fn model_json(model: &DeviceModel) -> Value {
    let mut json = wire::description_to_json(&model.description);
    if let Some(object) = json.as_object_mut() {
        object.insert("maker".into(), model.maker.as_str().into());
    }
    json
}

/// Reads a model as [`model_json`] writes it.
pub(crate) fn read_model(text: &str) -> Result<DeviceModel, String> {
    let json: Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let maker = json.get("maker").and_then(Value::as_str).unwrap_or_default();
    let maker = MakerId::new(maker).map_err(|error| error.to_string())?;
    let description = wire::read_description(&json, None).map_err(|refusal| refusal.to_string())?;
    Ok(DeviceModel { maker, description })
}

impl App {
    /// Makes or replaces a device model. The maker is the token's, or the one that the operator
    /// names in the body. Unknown fields are accepted, as in a device's own description. Gives also what of retailers'
    /// does not agree with it any more.
    pub async fn put_model(
        &self,
        who: &Caller,
        id: &ModelId,
        body: &Value,
        condition: &Condition,
    ) -> Result<(Arc<Document>, Vec<String>), Failure> {
        let Some(object) = body.as_object() else {
            return Err(Failure::invalid("", "a model is a JSON object"));
        };
        let named = match object.get("maker") {
            None | Some(Value::Null) => None,
            Some(Value::String(maker)) => Some(MakerId::new(maker).map_err(|error| Failure::name("/maker", error))?),
            Some(_) => return Err(Failure::invalid("/maker", "the maker is named by text")),
        };
        let maker = who.maker(Scope::ModelsWrite, named.as_ref())?;
        if !self.engine.rules().makers.contains_key(&maker) {
            return Err(Failure::invalid(
                "/maker",
                format!("there is no maker `{maker}`; PUT /v1/makers/{maker} first"),
            ));
        }
        if object.get("model").is_some_and(|named| !named.is_null() && named.as_str() != Some(id.as_str())) {
            return Err(Failure::invalid("/model", format!("the path says `{id}`; leave the field out or repeat it")));
        }
        let description = wire::read_description(body, Some(id.clone()))?;
        let text = to_text(&model_json(&DeviceModel { maker: maker.clone(), description }));
        check_size(&text)?;
        let is_free = |rules: &RuleSet| match rules.models.get(id).is_some_and(|model| model.maker != maker) {
            true => Err(Failure::Conflict(format!("the model id `{id}` is taken by another maker; choose another"))),
            false => Ok(()),
        };
        let (document, fallen) = self.rulebook.put_model(&self.engine, id, &text, condition, is_free).await?;
        // A maker is told how many there are, and not of whom.
        let warnings = if *who.tenant() == Tenant::Operator { fallen.named() } else { fallen.counted() };
        Ok((document, warnings))
    }

    /// A device model. A maker sees its own only.
    pub fn model(&self, who: &Caller, id: &str) -> Result<Arc<Document>, Failure> {
        who.may(Scope::ModelsRead)?;
        let visible = ModelId::new(id).ok().and_then(|id| self.engine.rules().models.get(&id).cloned()).is_some_and(
            |model| !matches!(who.tenant(), hearthway_core::model::Tenant::Maker(own) if *own != model.maker),
        );
        self.rulebook
            .get(&Name::of_house(Kind::Model, id))
            .filter(|_| visible)
            .ok_or_else(|| Failure::not_found("model", id.chars().take(80).collect::<String>()))
    }
}

impl App {
    /// Publishes what the fleet tells of the use of a product, or of any that has no prior of its own.
    pub async fn put_prior(
        &self,
        who: &Caller,
        product: &str,
        region: Option<&str>,
        prior: &ProductPrior,
        condition: &Condition,
    ) -> Result<Arc<Document>, Failure> {
        let retailer = who.retailer(Scope::ProductsWrite)?;
        if product != ANY_PRODUCT {
            let known = ProductId::new(product).ok().and_then(|id| self.engine.rules().product(retailer, &id));
            known.ok_or_else(|| Failure::not_found("product", product.chars().take(80).collect::<String>()))?;
        }
        prior.check().map_err(|(pointer, why)| Failure::invalid(pointer, why))?;
        let name = Name::of_retailer(Kind::Prior, retailer, &prior_name(product, region)?);
        self.rulebook.put(&self.engine, name, to_text(prior), false, condition).await
    }

    /// A published prior of the caller's.
    pub fn prior(&self, who: &Caller, product: &str, region: Option<&str>) -> Result<Arc<Document>, Failure> {
        let retailer = who.retailer(Scope::ProductsRead)?;
        let name = Name::of_retailer(Kind::Prior, retailer, &prior_name(product, region)?);
        let missing = || Failure::not_found("prior", product.chars().take(80).collect::<String>());
        self.rulebook.get(&name).ok_or_else(missing)
    }
}

/// How the prior of a product is named, everywhere or in one region: the homes of one time zone.
fn prior_name(product: &str, region: Option<&str>) -> Result<String, Failure> {
    let Some(region) = region else { return Ok(product.to_owned()) };
    if product == ANY_PRODUCT {
        return Err(Failure::invalid(
            "",
            "the parameter `region`: what holds for any product holds everywhere; leave it out",
        ));
    }
    let zone = Zone::new(region)
        .map_err(|why| Failure::invalid("", format!("the parameter `region` is a time zone: {why}")))?;
    Ok(of_region(product, zone.as_str()))
}

/// A document's body as JSON.
pub fn document_json(document: &Document) -> Value {
    serde_json::from_str(&document.body).unwrap_or_else(|_| json!({}))
}

pub(crate) fn check_size(text: &str) -> Result<(), Failure> {
    if text.len() > DOCUMENT_BYTES_MAX {
        let message = format!("the document has {} bytes, at most {DOCUMENT_BYTES_MAX} are kept", text.len());
        return Err(hearthway_core::code::Refusal::new(hearthway_core::code::Code::PayloadTooLarge, message).into());
    }
    Ok(())
}

/// A language tag in the shape of BCP 47: words of letters and digits with hyphens.
pub(crate) fn check_locale(pointer: &str, locale: &str) -> Result<(), Failure> {
    let is_word = |word: &str| (1..=8).contains(&word.len()) && word.bytes().all(|byte| byte.is_ascii_alphanumeric());
    let first = locale.split('-').next().unwrap_or_default();
    let is_language = (2..=3).contains(&first.len()) && first.bytes().all(|byte| byte.is_ascii_alphabetic());
    if is_language && locale.len() <= 35 && locale.split('-').all(is_word) {
        return Ok(());
    }
    let shown: String = locale.chars().take(40).collect();
    Err(Failure::invalid(pointer, format!("`{shown}` is not a language tag; write one such as `fr-FR` or `fr`")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn language_tags_have_the_shape_of_bcp_47() {
        for valid in ["fr", "fr-FR", "zh-Hant-TW", "en-001"] {
            assert!(check_locale("/locale", valid).is_ok(), "{valid}");
        }
        for invalid in ["", "f", "fr_FR", "français", "fr-", "12-FR"] {
            assert!(check_locale("/locale", invalid).is_err(), "{invalid}");
        }
    }
}
