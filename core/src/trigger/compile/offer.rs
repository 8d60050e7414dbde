//! What a trigger proposes: product, terms, answers, texts.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::super::check::World;
use super::super::definition::{OfferDefinition, ProductDefinition, ProductRule, TextDefinition};
use super::super::nearest::suggestion;
use super::super::quantity::quantity_text;
use super::super::text::{TextError, TextVars, Texts};
use super::super::tree::{Findings, pointer_part};
use super::super::{Discount, OfferKind, OfferPlan, On, Prefer, ProductChoice, language};
use super::{Against, CANCEL_WINDOW_DEFAULT, EXPIRES_DEFAULT, span};
use crate::budget::sample_code;
use crate::decide::ALTERNATIVES_MAX;
use crate::id::{PlacementId, PoolId, ProductId, SlotId};
use crate::model::{
    Action, DeviceDescription, FieldType, Fulfil, Locale, Placement, Product, RankBy, SlotKind, locale_chain,
};
use crate::money::Currency;
use crate::time::Timestamp;

/// What a text may say of a slot, whatever its kind.
const SLOT_VARIABLES: [&str; 6] = ["used", "remaining", "capacity", "on_hand", "flag", "expected_empty"];

/// What the offer is compiled beside.
pub(super) struct Context<'a> {
    pub(super) kind: Option<OfferKind>,
    pub(super) on: Option<&'a On>,
    pub(super) models: &'a [&'a DeviceDescription],
    pub(super) placements: &'a [PlacementId],
    pub(super) link_required: bool,
    pub(super) world: &'a World<'a>,
    pub(super) against: Against,
}

impl Context<'_> {
    fn slot(&self) -> Option<&SlotId> {
        self.on?.slot()
    }
    /// The retailer's products that fit the waking slot on any of the models.
    fn fitting(&self) -> Vec<Arc<Product>> {
        let Some(slot) = self.slot() else { return Vec::new() };
        let (products, retailer) = (self.world.products, &self.world.retailer);
        let fitting = |model: &&DeviceDescription| products.fitting(retailer, &model.model, slot);
        let of_models: Vec<Arc<Vec<ProductId>>> = self.models.iter().map(fitting).collect();
        let ids: BTreeSet<&ProductId> = of_models.iter().flat_map(|ids| ids.iter()).collect();
        ids.into_iter().filter_map(|id| products.get(retailer, id)).collect()
    }
    fn product(&self, id: &str) -> Option<Arc<Product>> {
        self.world.products.get(&self.world.retailer, &ProductId::new(id).ok()?)
    }
}

/// Compiles the offer. None when it cannot be used; the reasons were told.
pub(super) fn compile(
    offer: &OfferDefinition,
    context: &Context<'_>,
    findings: &mut Findings<'_>,
) -> Option<OfferPlan> {
    let product = product(offer.product.as_ref(), context, findings);
    let actions = actions(offer, product.is_some(), context, findings);
    confirm(offer, context, findings);
    let discount = discount(offer, product.as_ref(), context, findings);
    let written_pool = offer.discount.as_ref().and_then(|discount| discount.code_pool.as_deref());
    let code_pool = written_pool.and_then(|pool| PoolId::new(pool).ok());
    let texts = texts(offer, product.as_ref(), context, findings);
    if let (Some(_), Some(texts)) = (&code_pool, &texts)
        && !texts.name("discount", "code")
    {
        let help = Some("write {{ discount.code }} where the customer should find it".to_owned());
        findings.warning("trigger.no_effect", "/offer/discount/code_pool", "no text shows the code", help);
    }
    let expires = span(offer.expires.as_deref()).unwrap_or(EXPIRES_DEFAULT);
    if expires.0 == 0 {
        findings.error("trigger.value", "/offer/expires", "an offer without life can never be answered", None);
    }
    let sellers = offer.sellers.as_ref();
    let max = sellers.and_then(|sellers| sellers.max_alternatives);
    Some(OfferPlan {
        product,
        discount,
        code_pool,
        price_lock: span(offer.price_lock.as_deref()).unwrap_or(expires),
        expires,
        cancel_window: span(offer.cancel_window.as_deref()).unwrap_or(CANCEL_WINDOW_DEFAULT),
        actions,
        fulfil: fulfil(offer, findings),
        policy: sellers
            .and_then(|sellers| sellers.policy.as_ref())
            .map(|policy| policy.iter().filter_map(|by| RankBy::parse(by)).collect()),
        alternatives_max: max.map_or(ALTERNATIVES_MAX, |max| (max as usize).min(ALTERNATIVES_MAX)),
        confirm: offer.confirm.clone(),
        texts: texts?,
    })
}

fn product(
    written: Option<&ProductDefinition>,
    context: &Context<'_>,
    findings: &mut Findings<'_>,
) -> Option<ProductChoice> {
    match written {
        Some(ProductDefinition::Fixed(id)) => {
            let id = known_product(id, "/offer/product", context, findings)?;
            Some(ProductChoice::Fixed(id))
        }
        Some(ProductDefinition::Rule(rule)) => by_slot(rule, context, findings),
        // A slot finds its product by itself; what has neither slot nor price is told nothing.
        None => match (context.kind, context.slot()) {
            (Some(OfferKind::Offer | OfferKind::Replenish), Some(_)) => {
                by_slot(&ProductRule::default(), context, findings)
            }
            (Some(OfferKind::Offer | OfferKind::Replenish), None) if context.on.is_some() => {
                let help = Some("name an article, or make it a `tip`".to_owned());
                findings.key_error("trigger.missing_key", "/offer/product", "`product` is missing", help);
                None
            }
            _ => None,
        },
    }
}

fn known_product(id: &str, pointer: &str, context: &Context<'_>, findings: &mut Findings<'_>) -> Option<ProductId> {
    if context.against == Against::Models {
        return ProductId::new(id).ok();
    }
    let Some(product) = context.product(id) else {
        let known = context.world.some_products();
        findings.error(
            "trigger.unknown_product",
            pointer,
            format!("there is no product `{id}`"),
            suggestion(id, known.iter().map(ProductId::as_str)),
        );
        return None;
    };
    if let Some(slot) = context.slot()
        && !product.fits.is_empty()
        && !context.models.is_empty()
        && !context.models.iter().any(|model| product.fits(&model.model, slot))
    {
        let fitting = context.fitting();
        let help = match fitting.as_slice() {
            [] => None,
            fitting => {
                let ids: Vec<String> = fitting.iter().take(5).map(|product| format!("`{}`", product.id)).collect();
                Some(format!("these fit: {}", ids.join(", ")))
            }
        };
        let message = format!("product `{id}` does not fit the slot `{slot}`");
        findings.error("trigger.product_does_not_fit", pointer, message, help);
        return None;
    }
    Some(product.id.clone())
}

fn by_slot(rule: &ProductRule, context: &Context<'_>, findings: &mut Findings<'_>) -> Option<ProductChoice> {
    let no_slot = context.on.is_some() && context.slot().is_none();
    if no_slot && rule.fallback.is_none() {
        let help = Some("name an article, or a `fallback`".to_owned());
        let message = "no slot wakes this trigger: there is nothing to fit";
        findings.error("trigger.product_does_not_fit", "/offer/product", message, help);
        return None;
    }
    if no_slot {
        let message = "no slot wakes this trigger, so that nothing has to fit: the `fallback` is what it offers";
        findings.warning("trigger.no_effect", "/offer/product/by", message, None);
    }
    let prefer = rule.prefer.iter().flatten().filter_map(|prefer| Prefer::parse(prefer)).collect();
    let fallback = match &rule.fallback {
        Some(id) => Some(known_product(id, "/offer/product/fallback", context, findings)?),
        None => None,
    };
    let fits_none = || context.against == Against::Everything && context.fitting().is_empty();
    if fallback.is_none() && context.slot().is_some() && fits_none() {
        let help = Some("put a product that fits, or name a `fallback`".to_owned());
        findings.warning("trigger.no_product", "/offer/product", "no product fits the slot: nothing is offered", help);
    }
    Some(ProductChoice::SlotCompatible { prefer, fallback })
}

fn discount(
    offer: &OfferDefinition,
    choice: Option<&ProductChoice>,
    context: &Context<'_>,
    findings: &mut Findings<'_>,
) -> Option<Discount> {
    let written = offer.discount.as_ref()?;
    if choice.is_none() && !findings.blamed("/offer/product") {
        let message = "there is no product whose price it could reduce";
        findings.warning("trigger.no_effect", "/offer/discount", message, None);
    }
    let products = proposed(choice, context);
    super::super::discount::compile(written, products.iter().map(|product| &**product), findings)
}

/// The currencies of the products that may be proposed.
pub(super) fn currencies(choice: Option<&ProductChoice>, context: &Context<'_>) -> BTreeSet<Currency> {
    proposed(choice, context).into_iter().map(|product| product.price.currency).collect()
}

/// The products that may be proposed; against models alone none is looked up.
fn proposed(choice: Option<&ProductChoice>, context: &Context<'_>) -> Vec<Arc<Product>> {
    match choice.filter(|_| context.against == Against::Everything) {
        Some(ProductChoice::Fixed(id)) => context.product(id.as_str()).into_iter().collect(),
        Some(ProductChoice::SlotCompatible { fallback, .. }) => {
            let fallback = fallback.as_ref().and_then(|id| context.product(id.as_str()));
            context.fitting().into_iter().chain(fallback).collect()
        }
        None => Vec::new(),
    }
}

fn actions(
    offer: &OfferDefinition,
    has_product: bool,
    context: &Context<'_>,
    findings: &mut Findings<'_>,
) -> Vec<Action> {
    let all = [Action::Order, Action::OpenApp, Action::Inform, Action::Snooze, Action::Decline, Action::Why];
    let Some(written) = &offer.actions else {
        return if has_product && context.kind != Some(OfferKind::Tip) {
            vec![Action::Order, Action::Snooze, Action::Decline, Action::Why]
        } else {
            vec![Action::Inform, Action::Snooze, Action::Decline, Action::Why]
        };
    };
    if written.is_empty() {
        let help = Some("leave `actions` out for the usual ones".to_owned());
        findings.error("trigger.value", "/offer/actions", "without an action nobody can refuse it", help);
    }
    if let Some(i) =
        written.iter().position(|action| action == "order").filter(|_| offer.product.is_none() && !has_product)
    {
        let message = "there is no product to order";
        findings.error("trigger.value", &format!("/offer/actions/{i}"), message, Some("name a `product`".to_owned()));
    }
    written.iter().filter_map(|text| all.into_iter().find(|action| action.as_str() == text)).collect()
}

fn fulfil(offer: &OfferDefinition, findings: &mut Findings<'_>) -> Vec<Fulfil> {
    let Some(written) = &offer.fulfil else { return vec![Fulfil::Deliver] };
    if written.is_empty() {
        findings.error("trigger.value", "/offer/fulfil", "with no way to have it nothing can be ordered", None);
    }
    written.iter().map(|text| if text == "collect" { Fulfil::Collect } else { Fulfil::Deliver }).collect()
}

fn confirm(offer: &OfferDefinition, context: &Context<'_>, findings: &mut Findings<'_>) {
    let Some(strength) = &offer.confirm else { return };
    let known = || context.models.iter().flat_map(|model| &model.confirm).map(String::as_str);
    if !context.models.is_empty() && !known().any(|known| known == strength) {
        let help = suggestion(strength, known().collect::<std::collections::BTreeSet<_>>());
        let message = format!("no model can confirm by `{strength}`");
        findings.error("trigger.unknown_confirmation", "/offer/confirm", message, help);
    }
}

fn texts(
    offer: &OfferDefinition,
    product: Option<&ProductChoice>,
    context: &Context<'_>,
    findings: &mut Findings<'_>,
) -> Option<Texts> {
    let written = offer.text.as_ref()?;
    if written.is_empty() && findings.blamed("/offer/text") {
        return None;
    }
    if written.is_empty() {
        let help = Some("write [trigger.offer.text.en] with title and body".to_owned());
        findings.error("trigger.missing_key", "/offer/text", "there is no text in any language", help);
        return None;
    }
    // What is live speaks on: its texts are read wherever the device shows their language.
    if context.against == Against::Everything && !known_languages(written.keys(), findings) {
        return None;
    }
    if !locale_chain(context.world.default_locale).any(|locale| written.contains_key(locale)) {
        let message = format!("there is no text in the default language `{}`", context.world.default_locale);
        let help = Some("customers of other languages get another one than the shop's".to_owned());
        findings.warning("trigger.default_locale", "/offer/text", message, help);
    }
    let wants_product = offer.product.is_some();
    let discount = offer.discount.as_ref();
    let is_reduced = discount.is_some_and(|discount| discount.percent.is_some());
    let has_code = discount.is_some_and(|discount| discount.code_pool.is_some());
    let sample = |locale: &str| {
        let vars = sample(locale, product, wants_product, is_reduced, context);
        if has_code { vars.with_code(&sample_code()) } else { vars }
    };
    match Texts::compile(written, sample) {
        Ok(texts) => {
            if context.against == Against::Everything {
                too_long(&texts, written, &sample, context, findings);
            }
            Some(texts)
        }
        Err(errors) => {
            for TextError { locale, part, message, help } in errors {
                findings.error("trigger.text", &format!("/offer/text/{}/{part}", pointer_part(&locale)), message, help);
            }
            None
        }
    }
}

/// Whether each text is in a language that there is.
fn known_languages<'t>(locales: impl Iterator<Item = &'t Locale>, findings: &mut Findings<'_>) -> bool {
    let mut all_known = true;
    for locale in locales.filter(|locale| !language::is_known(locale)) {
        all_known = false;
        let pointer = format!("/offer/text/{}", pointer_part(locale));
        let message = format!("there is no language `{locale}`; ISO 639-1 has those that there are");
        let help = language::meant(locale).map(|meant| format!("did you mean `{meant}`?"));
        findings.key_error("trigger.unknown_locale", &pointer, message, help);
    }
    all_known
}

/// Values for every variable that there will be, as long as they will usually get.
fn sample(
    locale: &str,
    choice: Option<&ProductChoice>,
    wants_product: bool,
    is_reduced: bool,
    context: &Context<'_>,
) -> TextVars {
    let products = proposed(choice, context).into_iter();
    let longest = products.max_by_key(|product| product.name_in(locale).chars().count());
    let euro = crate::money::Money::parse("19.90 EUR");
    let mut vars = TextVars::default();
    if let Some(product) = longest {
        let total = product.price.plus(product.delivery).unwrap_or(product.price);
        vars = vars.with_product(product.name_in(locale), total, locale);
        if is_reduced {
            vars = vars.with_discount(total, product.price, locale);
        }
    } else if let (true, Ok(euro)) = (wants_product || choice.is_some(), euro) {
        // The product is not known yet, or wrong and told: its variables are still variables.
        vars = vars.with_product("?", euro, locale);
        if is_reduced {
            vars = vars.with_discount(euro, euro, locale);
        }
    }
    if context.link_required {
        vars = vars.with_household("?");
    }
    if let Some(slot) = context.slot() {
        let schema = context.models.iter().find_map(|model| model.slots.get(slot));
        let full =
            quantity_text(schema.and_then(|schema| schema.capacity).unwrap_or(100.0), schema.and_then(|s| s.unit));
        let fields: &[&str] = match schema.map(|schema| schema.kind) {
            Some(SlotKind::Usage) => &["used", "remaining", "capacity", "on_hand"],
            Some(SlotKind::Level | SlotKind::Countdown) => &["remaining", "capacity", "on_hand"],
            Some(SlotKind::Flag) => &["flag", "on_hand"],
            Some(SlotKind::Life) | None => &["on_hand"],
        };
        vars.slot = fields.iter().map(|field| ((*field).to_owned(), full.clone())).collect();
        // The longest that it can be in a language is not much longer than this.
        vars = vars.with_expected_empty(Some(Timestamp(1_790_000_000_000)), None, locale);
    } else if context.on.is_none() {
        // What wakes it is wrong and told: which slot there will be is not known yet.
        vars.slot = SLOT_VARIABLES.iter().map(|field| ((*field).to_owned(), "?".to_owned())).collect();
    }
    for (field, schema) in context.models.iter().flat_map(|model| &model.telemetry) {
        let text = match &schema.r#type {
            FieldType::Number { unit, max, .. } => quantity_text(max.unwrap_or(100.0), *unit),
            FieldType::Enum { values } => values.iter().max_by_key(|word| word.len()).cloned().unwrap_or_default(),
            FieldType::Bool => "false".to_owned(),
            FieldType::Text => "?".to_owned(),
        };
        vars.telemetry.insert(field.as_str().to_owned(), text);
    }
    vars
}

/// Tells of texts that do not fit the surface on which they would show.
fn too_long(
    texts: &Texts,
    written: &BTreeMap<String, TextDefinition>,
    sample: &impl Fn(&str) -> TextVars,
    context: &Context<'_>,
    findings: &mut Findings<'_>,
) {
    for locale in written.keys() {
        let Ok(rendered) = texts.render(&[locale], locale, &sample(locale)) else { continue };
        for (part, text, limit) in [
            ("title", &rendered.title, (|placement| placement.title_max) as fn(&Placement) -> Option<u32>),
            ("body", &rendered.body, |placement| placement.body_max),
        ] {
            let length = text.chars().count();
            let narrowest = context
                .models
                .iter()
                .filter_map(|model| Some((model, surface(model, context.placements)?)))
                .filter_map(|(model, surface)| Some((limit(surface)?, &surface.id, &model.model)))
                .min();
            if let Some((max, placement, model)) = narrowest.filter(|(max, _, _)| length > *max as usize) {
                let pointer = format!("/offer/text/{}/{part}", pointer_part(locale));
                let message = format!("this becomes {length} characters; {placement} of {model} shows {max}");
                findings.error("trigger.text_too_long", &pointer, message, None);
            }
        }
    }
}

/// The surface that a model would show it on: the first asked for that it has, else its first.
fn surface<'a>(model: &'a DeviceDescription, wanted: &[PlacementId]) -> Option<&'a Placement> {
    wanted
        .iter()
        .find_map(|id| model.placements.iter().find(|placement| placement.id == *id))
        .or_else(|| model.placements.first().filter(|_| wanted.is_empty()))
}
