//! From a trigger's plan to a proposal: product, price, words, place.

use std::sync::Arc;

use super::budget::Code;
use super::foreseen::{Foreseen, foreseen};
use super::pipeline::Wake;
use super::said::{Said, fact, said, said_of, text as text_fact};
use crate::id::{DecisionId, OfferId, PlacementId, SlotId};
use crate::model::{
    Action, Device, DeviceDescription, Offer, OfferCode, OfferItem, OfferPrice, OfferState, OfferText, Placement,
    Product, locale_chain,
};
use crate::money::Money;
use crate::rules::RuleSet;
use crate::time::Timestamp;
use crate::trace::{Fact, StepVerdict};
use crate::trigger::{Discount, ProductChoice, Scope, TextVars, Trigger};
use crate::words::Reason;

/// What a step says, with what it found.
type Found<T> = (Said, Option<T>);

/// A surface, with what can be done on it.
pub(super) struct Place {
    placement: Placement,
    actions: Vec<Action>,
    confirm: Option<(String, String)>,
}

impl Place {
    /// Which surface.
    pub(super) fn id(&self) -> &PlacementId {
        &self.placement.id
    }
}

/// All of an offer but its life.
pub(super) struct Proposal {
    retailer: crate::id::RetailerId,
    place: Place,
    text: OfferText,
    item: Option<OfferItem>,
    price: Option<OfferPrice>,
    sold_by: Option<String>,
    withdraw_days: Option<u32>,
    code: Option<OfferCode>,
}

/// Which product, by the trigger's choice.
pub(super) fn product(
    rules: &RuleSet,
    trigger: &Trigger,
    slot: Option<&SlotId>,
    device: &Device,
    now: Timestamp,
) -> Found<Arc<Product>> {
    let Some(choice) = &trigger.offer.product else {
        return (said(StepVerdict::NotConfigured, Reason::NothingToBuy, Vec::new()), None);
    };
    let retailer = &trigger.retailer;
    let fitting = || {
        let first = slot.and_then(|slot| rules.products.first_fitting(retailer, &device.model, slot));
        first.and_then(|id| rules.product(retailer, &id))
    };
    let (wanted, found) = match choice {
        ProductChoice::Fixed(id) => (id.to_string(), rules.product(&trigger.retailer, id)),
        ProductChoice::SlotCompatible { fallback } => (
            "a product that fits the slot".to_owned(),
            fitting().or_else(|| fallback.as_ref().and_then(|id| rules.product(&trigger.retailer, id))),
        ),
    };
    match found {
        None => {
            let numbers = vec![text_fact("wanted", wanted.clone())];
            (said_of(StepVerdict::Block, Reason::NoProduct, wanted, numbers), None)
        }
        Some(product) => {
            let numbers = vec![
                fact("product", Fact::Text(product.id.to_string().into())),
                fact("price_minor", Fact::Int(product.piece_at(now).minor)),
                fact("seller", Fact::Text(product.seller.clone().into())),
            ];
            let piece = product.piece_at(now);
            if total(piece, product.delivery, 1).is_none() {
                return (said(StepVerdict::Block, Reason::NoPrice, numbers), None);
            }
            let mut numbers = numbers;
            if let Some(discount) = &trigger.offer.discount {
                let Some(off) = discount.off(piece) else {
                    return (said(StepVerdict::Block, Reason::DiscountCurrency, numbers), None);
                };
                numbers.push(fact("discount_minor", Fact::Int(off.minor)));
            }
            (said(StepVerdict::Pass, Reason::ProductFound, numbers), Some(product))
        }
    }
}

/// What so many cost with delivery.
fn total(item: Money, delivery: Money, qty: u32) -> Option<Money> {
    item.times(qty)?.plus(delivery)
}

/// The words, in the nearest language that the customer reads and the device shows.
pub(super) fn content(
    scope: &Scope<'_>,
    trigger: &Trigger,
    priced: Option<(&Product, &OfferPrice)>,
    code: &Code,
    rules: &RuleSet,
) -> Found<OfferText> {
    if trigger.offer.product.is_some() && priced.is_none() {
        return (said(StepVerdict::Skipped, Reason::NothingToWrite, Vec::new()), None);
    }
    let home = scope.household;
    let default = rules.retailers.get(&trigger.retailer).map_or("en", |retailer| retailer.default_locale.as_str());
    let preferred = home
        .link_of(&scope.device.key)
        .and_then(|link| home.members.get(&link.profile))
        .and_then(|member| member.locale.as_deref())
        .or(home.locale.as_deref());
    let wanted: Vec<&str> = preferred.into_iter().chain([default]).flat_map(locale_chain).collect();
    let shown: Vec<&str> = wanted.iter().copied().filter(|locale| shows(scope.description, locale)).collect();
    if shown.is_empty() && !scope.description.locales.is_empty() {
        return (not_shown(scope, None), None);
    }
    let language = trigger.offer.texts.choose(&shown, default).unwrap_or(default);
    let mut vars = vars(scope, trigger, priced, language);
    if let Some(slot) = scope.slot.filter(|_| trigger.offer.texts.name("slot", "expected_empty")) {
        let seen = foreseen(home, rules, &scope.device.key, slot, scope.now).ok();
        let sure = seen.filter(Foreseen::is_sure).map(|seen| seen.empty(0.5));
        vars = vars.with_expected_empty(sure, home.zone.as_ref(), language);
    }
    if let Some(code) = code.shown() {
        vars = vars.with_code(&code);
    }
    match trigger.offer.texts.render(&shown, default, &vars) {
        Ok(text) if !shows(scope.description, &text.locale) => (not_shown(scope, Some(text.locale)), None),
        Ok(text) => {
            let wanted = preferred.unwrap_or(default).to_owned();
            let numbers =
                vec![fact("wanted", Fact::Text(wanted.into())), fact("locale", Fact::Text(text.locale.clone().into()))];
            (said(StepVerdict::Pass, Reason::Written, numbers), Some(text))
        }
        Err(error) => (said_of(StepVerdict::Block, Reason::NoText, error, Vec::new()), None),
    }
}

/// The device does not show the language of the text, or any that the customer reads.
fn not_shown(scope: &Scope<'_>, written: Option<String>) -> Said {
    let shown = scope.description.locales.join(", ");
    let detail = format!("the device shows {shown}");
    let numbers = [text_fact("shown", shown)].into_iter();
    let numbers = numbers.chain(written.map(|written| text_fact("written", written))).collect();
    said_of(StepVerdict::Block, Reason::LocaleNotShown, detail, numbers)
}

/// What a text may name, in its language.
fn vars(scope: &Scope<'_>, trigger: &Trigger, priced: Option<(&Product, &OfferPrice)>, language: &str) -> TextVars {
    let mut vars = TextVars::default().with_telemetry(&trigger.offer.texts, &scope.device.reported, scope.description);
    if let Some((product, price)) = priced {
        vars = vars.with_product(product.name_in(language), price.total, language);
        if let (Some(was), Some(discount)) = (price.was, price.discount(1, 1)) {
            vars = vars.with_discount(was, discount, language);
        }
    }
    if let Some(state) = scope.slot.and_then(|slot| scope.device.slots.get(slot)) {
        vars = vars.with_slot(state);
    }
    let home = scope.household;
    match home.link_of(&scope.device.key).and_then(|link| home.members.get(&link.profile)) {
        Some(member) => vars.with_household(member.display_name.clone()),
        None => vars,
    }
}

/// Whether a device announced a language: its own tag, or the language of a regional one.
fn shows(can: &DeviceDescription, locale: &str) -> bool {
    let language = |tag: &str| tag.split(['-', '_']).next().map(str::to_ascii_lowercase);
    can.locales.is_empty() || can.locales.iter().any(|known| known == locale || language(known) == language(locale))
}

/// The first surface that the device has and the text fits, and what can be done on it:
/// `order` degrades to `open_app` where it cannot be confirmed lawfully, `open_app` to `inform`
/// where there is nothing to open.
pub(super) fn placement(
    trigger: &Trigger,
    can: &DeviceDescription,
    product: Option<&Product>,
    text: Option<&OfferText>,
) -> Found<Place> {
    let Some(text) = text else { return (said(StepVerdict::Skipped, Reason::NothingToPlace, Vec::new()), None) };
    let wanted: Vec<&PlacementId> = match trigger.placements.as_slice() {
        [] => can.placements.iter().map(|placement| &placement.id).collect(),
        some => some.iter().collect(),
    };
    let announced: Vec<&Placement> =
        wanted.iter().filter_map(|id| can.placements.iter().find(|placement| placement.id == **id)).collect();
    let Some(placement) = announced.iter().find(|placement| fits(placement, text)) else {
        let said = match announced.first() {
            Some(first) => {
                let numbers =
                    vec![text_fact("title", text.title.clone()), text_fact("placement", first.id.to_string())];
                said_of(StepVerdict::Block, Reason::TextTooLong, &first.id, numbers)
            }
            None => said(StepVerdict::Block, Reason::NoPlacement, Vec::new()),
        };
        return (said, None);
    };
    let strength = match &trigger.offer.confirm {
        Some(asked) => can.confirm.iter().find(|known| *known == asked),
        None => can.confirm.first(),
    };
    let lawful = product.is_some_and(|product| !product.name_in(&text.locale).is_empty() && !product.seller.is_empty());
    let label = pay_label(&text.locale);
    let confirm = strength.filter(|_| lawful).map(|strength| (strength.clone(), label.to_owned()));
    let actions = degrade(&trigger.offer.actions, confirm.is_some(), product.is_some());
    let can_order = actions.contains(&Action::Order);
    let reason = match (trigger.offer.actions.contains(&Action::Order), can_order) {
        (true, false) => Reason::PlacedWithoutOrder,
        _ => Reason::Placed,
    };
    let place = Place { placement: (*placement).clone(), actions, confirm: confirm.filter(|_| can_order) };
    let numbers = vec![text_fact("placement", placement.id.to_string())];
    (said(StepVerdict::Pass, reason, numbers), Some(place))
}

fn fits(placement: &Placement, text: &OfferText) -> bool {
    let under = |limit: Option<u32>, text: &str| limit.is_none_or(|limit| text.chars().count() <= limit as usize);
    under(placement.title_max, &text.title) && under(placement.body_max, &text.body)
}

fn degrade(actions: &[Action], can_order: bool, has_product: bool) -> Vec<Action> {
    let mut kept: Vec<Action> = Vec::new();
    for action in actions {
        let action = match action {
            Action::Order if can_order => Action::Order,
            Action::Order if has_product => Action::OpenApp,
            Action::Order => Action::Inform,
            other => *other,
        };
        if !kept.contains(&action) {
            kept.push(action);
        }
    }
    kept
}

/// The words on the button that makes an order cost money (Directive 2011/83/EU, article 8(2)),
/// by language; English where there are none.
fn pay_label(locale: &str) -> &'static str {
    match locale_chain(locale).last().unwrap_or("en") {
        "fr" => "Commander avec obligation de paiement",
        "de" => "Zahlungspflichtig bestellen",
        "es" => "Pedido con obligación de pago",
        "it" => "Ordine con obbligo di pagare",
        "nl" => "Bestelling met betalingsverplichting",
        _ => "Order with obligation to pay",
    }
}

/// The text of an offer where so many should be at home still: it asks whether they are, by language; English where
/// there are none.
pub(super) fn question(text: OfferText, spares: u32) -> OfferText {
    let (title, body) = match locale_chain(&text.locale).last().unwrap_or("en") {
        "fr" => ("En avez-vous encore ?", format!("Il devrait en rester {spares} à la maison. Toujours là ?")),
        "de" => ("Noch da?", format!("Es sollten noch {spares} zu Hause sein. Noch da?")),
        "es" => ("¿Aún le queda?", format!("Deberían quedar {spares} en casa. ¿Siguen ahí?")),
        "it" => ("Ne ha ancora?", format!("Dovrebbero essercene ancora {spares} in casa. Ci sono?")),
        "nl" => ("Hebt u het nog?", format!("Er zouden er nog {spares} in huis moeten zijn. Nog aanwezig?")),
        _ => ("Still have it?", format!("There should be {spares} left at home. Still there?")),
    };
    OfferText { title: title.to_owned(), say: text.say.as_ref().map(|_| body.clone()), body, short: None, ..text }
}

/// Puts the parts together.
pub(super) fn propose(
    rules: &RuleSet,
    trigger: &Trigger,
    priced: Option<(&Product, OfferPrice)>,
    qty: u32,
    text: OfferText,
    place: Place,
    code: Option<OfferCode>,
) -> Proposal {
    let (product, price) = priced.unzip();
    let item = product.map(|product| OfferItem {
        product: product.id.clone(),
        name: product.name_in(&text.locale).to_owned(),
        qty,
    });
    Proposal {
        retailer: trigger.retailer.clone(),
        place,
        item,
        price,
        sold_by: product.map(|product| seller_name(rules, product)),
        withdraw_days: product.map(|product| product.withdraw_days),
        code,
        text,
    }
}

/// The seller as customers know it: the retailer's own name where it sells itself.
pub(super) fn seller_name(rules: &RuleSet, product: &Product) -> String {
    rules
        .retailers
        .get(product.seller.as_str())
        .map_or_else(|| product.seller.clone(), |retailer| retailer.name.clone())
}

/// What so many cost by a trigger's terms, from now on as long as it locks the price.
pub(super) fn price_of(trigger: &Trigger, product: &Product, qty: u32, now: Timestamp) -> Option<OfferPrice> {
    price(product, trigger.offer.discount.as_ref(), qty, now, now + trigger.offer.price_lock)
}

/// A price for so many, held until `lock_until`.
pub(super) fn price(
    product: &Product,
    discount: Option<&Discount>,
    qty: u32,
    now: Timestamp,
    lock_until: Timestamp,
) -> Option<OfferPrice> {
    let (list, piece) = (product.price_at(now), product.piece_at(now));
    let off = match discount {
        Some(discount) => Some(discount.off(piece)?),
        None => None,
    };
    let item = Money { minor: piece.minor.checked_sub(off.map_or(0, |off| off.minor))?, ..piece };
    let was = match off {
        None if list == piece => None,
        _ => Some(total(list, product.delivery, qty)?),
    };
    let reduced = match off {
        Some(off) => Some(off.times(qty)?),
        None => None,
    };
    Some(OfferPrice {
        item,
        delivery: product.delivery,
        total: total(item, product.delivery, qty)?,
        tax_incl: product.tax_incl,
        lock_until,
        was,
        reduced,
    })
}

impl Proposal {
    /// What it would cost, and which product, where it sells one.
    pub(super) fn sold(&self) -> Option<(&OfferItem, &OfferPrice)> {
        self.item.as_ref().zip(self.price.as_ref())
    }

    /// Where it would show.
    pub(super) fn placement(&self) -> &PlacementId {
        self.place.id()
    }

    /// Gives it a life.
    pub(super) fn into_offer(
        self,
        id: OfferId,
        decision: DecisionId,
        trigger: &Trigger,
        wake: &Wake<'_>,
        now: Timestamp,
    ) -> Offer {
        Offer {
            id,
            rev: 1,
            retailer: self.retailer,
            trigger: trigger.id.clone(),
            trigger_version: trigger.version,
            decision,
            kind: Arc::from(trigger.kind.as_str()),
            device: wake.device.clone(),
            slot: wake.slot.cloned(),
            placement: self.place.placement.id,
            priority: trigger.priority,
            valid_from: now,
            expires_at: now + trigger.offer.expires,
            text: self.text,
            item: self.item,
            price: self.price,
            sold_by: self.sold_by,
            withdraw_days: self.withdraw_days,
            fulfil: trigger.offer.fulfil.clone(),
            actions: self.place.actions,
            confirm: self.place.confirm,
            cancel_window: trigger.offer.cancel_window,
            test: false,
            state: OfferState::Sent,
            history: Vec::new(),
            last_answer: None,
            budget: trigger.budget.map(|budget| budget.limits),
            code: self.code,
            seller: None,
            ships_by: None,
            alternatives: Vec::new(),
            stores: Vec::new(),
        }
    }
}
