//! Device models of makers and products of retailers.

use std::sync::Arc;

use hearthway_core::forecast::{ProductPrior, of_region};
use hearthway_core::id::{MakerId, ModelId, ProductId, SlotId};
use hearthway_core::model::{DeviceModel, LeadDays, Product};
use hearthway_core::time::Zone;
use hearthway_core::wire;
use serde_json::{Value, json};

use super::documents::{ANY_PRODUCT, Condition, Document, Kind, Name};
use super::tenants::to_text;
use super::tokens::{Caller, Scope};
use super::{App, Failure, Page, PageQuery};

/// Bytes of one document as kept: the store's values stay below 64 KiB, with room for the envelope.
pub(super) const DOCUMENT_BYTES_MAX: usize = 60 * 1024;
/// Days that a delivery may take.
const LEAD_DAYS_MAX: u16 = 180;
/// Slots that one product may fit.
const FITS_MAX: usize = 500;
/// Languages of one name.
const LANGUAGES_MAX: usize = 40;
/// Characters of a product's name in one language.
const PRODUCT_NAME_CHARS_MAX: usize = 200;
/// The longest right of withdrawal that a shop may grant, days.
const WITHDRAW_DAYS_MAX: u32 = 3650;

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

/// A GTIN of 8, 12, 13 or 14 digits whose last digit checks the others (GS1, modulo 10: from the
/// right, every second digit before it counts three times).
pub fn gtin_is_valid(gtin: &str) -> bool {
    if !matches!(gtin.len(), 8 | 12 | 13 | 14) || !gtin.bytes().all(|byte| byte.is_ascii_digit()) {
        return false;
    }
    let weighted = gtin.bytes().rev().enumerate().map(|(at, digit)| u32::from(digit - b'0') * [1, 3][at % 2]);
    weighted.sum::<u32>().is_multiple_of(10)
}

impl App {
    /// Makes or replaces a device model. The maker is the token's, or the one that the operator
    /// names in the body. Unknown fields are accepted, as in a device's own description.
    pub async fn put_model(
        &self,
        who: &Caller,
        id: &ModelId,
        body: &Value,
        condition: &Condition,
    ) -> Result<Arc<Document>, Failure> {
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
        if self.engine.rules().models.get(id).is_some_and(|model| model.maker != maker) {
            return Err(Failure::Conflict(format!("the model id `{id}` is taken by another maker; choose another")));
        }
        let text = to_text(&model_json(&DeviceModel { maker, description }));
        check_size(&text)?;
        self.rulebook.put(&self.engine, Name::of_house(Kind::Model, id.as_str()), text, false, condition).await
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

    /// Makes or replaces a product of the caller's.
    pub async fn put_product(
        &self,
        who: &Caller,
        product: &Product,
        condition: &Condition,
    ) -> Result<Arc<Document>, Failure> {
        let retailer = who.retailer(Scope::ProductsWrite)?;
        check_product(product)?;
        let text = to_text(product);
        check_size(&text)?;
        let name = Name::of_retailer(Kind::Product, retailer, product.id.as_str());
        self.rulebook.put(&self.engine, name, text, false, condition).await
    }

    /// A product of the caller's.
    pub fn product(&self, who: &Caller, id: &str) -> Result<Arc<Document>, Failure> {
        let retailer = who.retailer(Scope::ProductsRead)?;
        self.rulebook
            .get(&Name::of_retailer(Kind::Product, retailer, id))
            .ok_or_else(|| Failure::not_found("product", id.chars().take(80).collect::<String>()))
    }

    /// The caller's products, all or those that fit a slot, by id.
    pub fn products(
        &self,
        who: &Caller,
        fits: Option<&(ModelId, SlotId)>,
        page: &PageQuery,
    ) -> Result<Page<Value>, Failure> {
        let retailer = who.retailer(Scope::ProductsRead)?;
        let rules = self.engine.rules();
        let wanted = |id: &str, _: &Document| {
            fits.is_none_or(|(model, slot)| {
                ProductId::new(id)
                    .ok()
                    .and_then(|id| rules.product(retailer, &id))
                    .is_some_and(|product| product.fits(model, slot))
            })
        };
        let found = self.rulebook.list(Kind::Product, retailer.as_str(), page, wanted);
        let items = found.items.iter().map(|(_, document)| document_json(document)).collect();
        Ok(Page { items, next: found.next })
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
            let known = ProductId::new(product).ok().and_then(|id| self.engine.rules().product(retailer, &id).cloned());
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
        return Err(Failure::invalid("", "what holds for any product holds everywhere: leave `region` out"));
    }
    let zone = Zone::new(region).map_err(|why| Failure::invalid("", format!("the region is a time zone: {why}")))?;
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

fn check_product(product: &Product) -> Result<(), Failure> {
    if product.name.is_empty() || product.name.len() > LANGUAGES_MAX {
        return Err(Failure::invalid("/name", format!("give the name in 1 to {LANGUAGES_MAX} languages")));
    }
    for (language, name) in &product.name {
        let pointer = format!("/name/{}", language.replace('~', "~0").replace('/', "~1"));
        check_locale(&pointer, language)?;
        if name.trim().is_empty() || name.chars().count() > PRODUCT_NAME_CHARS_MAX {
            return Err(Failure::invalid(&pointer, format!("a name takes 1 to {PRODUCT_NAME_CHARS_MAX} characters")));
        }
    }
    if product.gtin.as_deref().is_some_and(|gtin| !gtin_is_valid(gtin)) {
        return Err(Failure::invalid(
            "/gtin",
            "a GTIN has 8, 12, 13 or 14 digits, and its last digit checks the others",
        ));
    }
    if product.price.minor <= 0 {
        return Err(Failure::invalid("/price/minor", "a price is above zero"));
    }
    if product.delivery.minor < 0 {
        return Err(Failure::invalid("/delivery/minor", "delivery costs nothing or more"));
    }
    if let Some(margin) = product.margin {
        if margin.currency != product.price.currency {
            return Err(Failure::invalid("/margin/currency", "price and margin are in one currency"));
        }
        if !(0..=product.price.minor).contains(&margin.minor) {
            return Err(Failure::invalid("/margin/minor", "a margin is between nothing and the price"));
        }
    }
    if product.delivery.currency != product.price.currency {
        return Err(Failure::invalid("/delivery/currency", "price and delivery are in one currency"));
    }
    if product.price.plus(product.delivery).is_none() {
        return Err(Failure::invalid("/price/minor", "price and delivery together are too large a number"));
    }
    if product.seller.trim().is_empty() || product.seller.len() > 120 {
        return Err(Failure::invalid("/seller", "the seller takes 1 to 120 characters"));
    }
    if product.withdraw_days > WITHDRAW_DAYS_MAX {
        return Err(Failure::invalid("/withdraw_days", format!("at most {WITHDRAW_DAYS_MAX} days")));
    }
    if let Some(LeadDays { p10, p50, p90 }) = product.lead_days
        && !(p10 <= p50 && p50 <= p90 && p90 <= LEAD_DAYS_MAX)
    {
        let message = format!("write `p10` <= `p50` <= `p90`, at most {LEAD_DAYS_MAX} days");
        return Err(Failure::invalid("/lead_days", message));
    }
    if product.fits.len() > FITS_MAX {
        return Err(Failure::invalid("/fits", format!("a product fits at most {FITS_MAX} slots")));
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
    fn the_last_digit_of_a_gtin_checks_the_others() {
        for valid in ["4006381333931", "96385074", "614141007349", "10614141000415"] {
            assert!(gtin_is_valid(valid), "{valid}");
        }
        for invalid in ["4006381333932", "400638133393", "", "4006381333931x", "abcdefgh"] {
            assert!(!gtin_is_valid(invalid), "{invalid}");
        }
    }

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
