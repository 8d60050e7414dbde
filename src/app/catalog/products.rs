//! What can be asked about one product.

use hearthway_core::catalog::FITTING_MAX;
use hearthway_core::id::{ModelId, ProductId, RetailerId, SlotId};
use hearthway_core::model::Product;
use hearthway_core::trigger::{ProductChoice, Trigger, nearest};
use serde_json::Value;

use super::super::aside::aside;
use super::super::documents::{Condition, Kind, Name, etag};
use super::super::tokens::{Caller, Scope};
use super::super::triggers::wrong_today;
use super::super::{App, Failure, Page, PageQuery};
use super::form::{ProductBody, Written, product_json};
use super::kept::{Kept, Size};

/// Products of one retailer: twice a large shop's, at some 350 bytes of memory each.
#[cfg(not(test))]
pub(super) const PRODUCTS_PER_RETAILER_MAX: usize = 2_000_000;
/// So that a test can reach it.
#[cfg(test)]
pub(super) const PRODUCTS_PER_RETAILER_MAX: usize = 3_500;

/// Warnings of one answer: the first slip is as good as the tenth.
const WARNINGS_MAX: usize = 10;

/// Live triggers that are looked at because they name a product that changed: a check of each takes a tenth of a millisecond.
const NAMING_MAX: usize = 100;

/// A product as it is shown, with the tag that `If-Match` is compared with.
#[derive(Debug, Clone, PartialEq)]
pub struct TaggedProduct {
    /// The product.
    pub json: Value,
    /// Its tag.
    pub etag: String,
    /// What is taken and looks like a slip.
    pub warnings: Vec<String>,
}

impl TaggedProduct {
    fn of(product: &Product) -> TaggedProduct {
        let json = product_json(product);
        let etag = etag(&json.to_string());
        TaggedProduct { json, etag, warnings: Vec::new() }
    }
}

/// A product that is nobody's, or another tenant's: both look the same.
pub(super) fn missing(id: &str) -> Failure {
    Failure::not_found("product", id.chars().take(80).collect::<String>())
}

impl App {
    /// Makes or replaces a product of the caller's. What its other sellers ask for it stays.
    pub async fn put_product(
        &self,
        who: &Caller,
        id: &ProductId,
        body: ProductBody,
        condition: &Condition,
    ) -> Result<TaggedProduct, Failure> {
        let retailer = who.retailer(Scope::ProductsWrite)?;
        let written = Written::new(id.clone(), retailer, body, None)?;
        let condition = condition.clone();
        let kept = self.change_product(retailer, id, move |before| {
            let current = before.map(|before| TaggedProduct::of(before).etag);
            condition.check("product", current.as_deref())?;
            written.onto(before)
        });
        let (kept, product) = kept.await?;
        let mut warnings = self.fits_nothing_known(&product);
        warnings.extend(self.silenced_by(retailer, id).await?);
        warnings.truncate(WARNINGS_MAX);
        Ok(TaggedProduct { warnings, ..kept })
    }

    /// Models and slots among a product's `fits` that nobody has declared. They are taken, since a catalogue may come before
    /// its models.
    fn fits_nothing_known(&self, product: &Product) -> Vec<String> {
        let rules = self.engine.rules();
        let mut warnings = Vec::new();
        for (at, fit) in product.fits.iter().enumerate() {
            let (what, name, near) = match rules.models.get(&fit.model) {
                None => {
                    let near = nearest(fit.model.as_str(), rules.models.keys().map(ModelId::as_str));
                    (format!("/fits/{at}/model: no model `{}` is declared", fit.model), "model", near)
                }
                Some(model) if !model.description.slots.contains_key(&fit.slot) => {
                    let near = nearest(fit.slot.as_str(), model.description.slots.keys().map(SlotId::as_str));
                    (format!("/fits/{at}/slot: the model `{}` has no slot `{}`", fit.model, fit.slot), "slot", near)
                }
                Some(_) => continue,
            };
            let near = near.map_or_else(
                || format!("it fits nothing until that {name} is declared"),
                |near| format!("did you mean `{near}`?"),
            );
            warnings.push(format!("{what}; {near}"));
        }
        warnings.truncate(WARNINGS_MAX);
        warnings
    }

    /// The retailer's live triggers that name a product and, as it is, cannot propose what they should.
    async fn silenced_by(&self, retailer: &RetailerId, id: &ProductId) -> Result<Vec<String>, Failure> {
        let rules = self.engine.rules();
        let names = |trigger: &Trigger| match &trigger.offer.product {
            Some(ProductChoice::Fixed(named)) => named == id,
            Some(ProductChoice::SlotCompatible { fallback, .. }) => fallback.as_ref() == Some(id),
            None => false,
        };
        let naming = rules.triggers.iter().filter(|trigger| trigger.retailer == *retailer && names(trigger));
        let live = naming.take(NAMING_MAX).filter_map(|trigger| {
            let live = self.rulebook.get(&Name::of_retailer(Kind::Trigger, retailer, trigger.id.as_str()))?;
            Some((trigger.id.clone(), live))
        });
        let live: Vec<_> = live.collect();
        if live.is_empty() {
            return Ok(Vec::new());
        }
        let retailer = retailer.clone();
        aside("checking the triggers that name the product", move || {
            let wrong = live.into_iter().filter_map(|(trigger, live)| {
                let wrong = wrong_today(&trigger, &live, &retailer, &rules).into_iter().next()?;
                Some(format!("the live trigger `{trigger}`: {}: {}", wrong.pointer, wrong.message))
            });
            wrong.take(WARNINGS_MAX).collect()
        })
        .await
    }

    /// Writes what becomes of one product. Looked at while nobody else changes it: two who change different parts
    /// of it at once both have their will.
    pub(super) async fn change_product(
        &self,
        retailer: &RetailerId,
        id: &ProductId,
        change: impl FnOnce(Option<&Product>) -> Result<Product, Failure> + Send + 'static,
    ) -> Result<(TaggedProduct, Product), Failure> {
        let (of, id) = (retailer.clone(), id.clone());
        let wanted = move |kept: &Kept| {
            let before = kept.latest(&of, &id).map(|(product, _)| product);
            check_room(kept, &of, usize::from(before.is_none()))?;
            let product = change(before.as_ref())?;
            let tagged = TaggedProduct::of(&product);
            Ok((vec![(id, Some(product.clone()))], (tagged, product)))
        };
        self.rulebook.put_products(&self.engine, retailer, Vec::new(), wanted).await.map(|(_, told)| told)
    }

    /// A product of the caller's.
    pub fn product(&self, who: &Caller, id: &str) -> Result<TaggedProduct, Failure> {
        let retailer = who.retailer(Scope::ProductsRead)?;
        let id = ProductId::new(id).map_err(|_| missing(id))?;
        let known = self.rulebook.catalog().latest(retailer, &id);
        known.map(|(product, _)| TaggedProduct::of(&product)).ok_or_else(|| missing(id.as_str()))
    }

    /// How many products a retailer has, and what they take.
    pub fn products_kept(&self, retailer: &RetailerId) -> Size {
        self.rulebook.catalog().size(retailer)
    }

    /// A product is not sold any more. What was ordered stays ordered; live offers of it end at their accept.
    pub async fn delete_product(&self, who: &Caller, id: &str, condition: &Condition) -> Result<(), Failure> {
        let retailer = who.retailer(Scope::ProductsWrite)?;
        let id = ProductId::new(id).map_err(|_| missing(id))?;
        let (of, condition) = (retailer.clone(), condition.clone());
        let gone = move |kept: &Kept| {
            let (product, _) = kept.latest(&of, &id).ok_or_else(|| missing(id.as_str()))?;
            condition.check("product", Some(&TaggedProduct::of(&product).etag))?;
            Ok((vec![(id, None)], ()))
        };
        self.rulebook.put_products(&self.engine, retailer, Vec::new(), gone).await?;
        Ok(())
    }

    /// The caller's products, all or those that fit a slot, by id. Of those that fit one slot the first
    /// [`FITTING_MAX`] are told, as many as decisions look at.
    pub fn products(
        &self,
        who: &Caller,
        fits: Option<&(ModelId, SlotId)>,
        page: &PageQuery,
    ) -> Result<Page<Value>, Failure> {
        let retailer = who.retailer(Scope::ProductsRead)?;
        let rules = self.engine.rules();
        let bad = |_| Failure::invalid("", "the parameter `cursor` is not one of ours; take the `next` of a page");
        let after = page.cursor.as_deref().map(ProductId::new).transpose().map_err(bad)?;
        let mut ids = match fits {
            None => rules.products.ids(retailer, after.as_ref(), page.limit + 1),
            Some((model, slot)) => {
                let fitting = rules.products.fitting(retailer, model, slot);
                debug_assert!(fitting.len() <= FITTING_MAX);
                let behind = fitting.iter().filter(|id| after.as_ref().is_none_or(|after| *id > after));
                behind.take(page.limit + 1).cloned().collect()
            }
        };
        let more = ids.len() > page.limit;
        ids.truncate(page.limit);
        let next = ids.last().filter(|_| more).map(ToString::to_string);
        let found = ids.iter().filter_map(|id| rules.product(retailer, id));
        Ok(Page { items: found.map(|product| product_json(&product)).collect(), next })
    }
}

/// Whether so many more may be kept.
pub(super) fn check_room(kept: &Kept, retailer: &RetailerId, more: usize) -> Result<(), Failure> {
    if more > 0 && kept.count(retailer) + more > PRODUCTS_PER_RETAILER_MAX {
        return Err(Failure::Conflict(format!(
            "a retailer has at most {PRODUCTS_PER_RETAILER_MAX} products; delete some first"
        )));
    }
    Ok(())
}
