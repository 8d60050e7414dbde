//! From a trigger's plan to a proposal: product, price, words, place.

use std::sync::Arc;

use super::budget::Code;
use super::choose;
use super::foreseen::{Foreseen, foreseen};
use super::pipeline::Wake;
use super::quote::{Ask, SellerQuote, compare, stores, total};
use super::said::{Said, fact, said, said_of, text as text_fact};
use super::steps::Look;
use crate::budget::Purse;
use crate::id::{DecisionId, OfferId, PlacementId, SlotId};
use crate::model::{
    Action, Alternative, Device, DeviceDescription, Fulfil, Household, Offer, OfferCode, OfferItem, OfferPrice,
    OfferState, OfferText, Placement, Product, StoreChoice, locale_chain,
};
use crate::rules::RuleSet;
use crate::time::Timestamp;
use crate::trace::{Fact, StepVerdict};
use crate::trigger::{ProductChoice, Scope, TextVars, Trigger};
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
    priced: Option<Priced>,
    code: Option<OfferCode>,
}

/// Why there is no product to propose.
pub(super) struct Absent {
    /// What was wanted.
    wanted: String,
    /// The slot that it does not fit; none where it is not in the catalogue.
    unfit_for: Option<SlotId>,
}

impl Absent {
    fn gone(wanted: impl ToString) -> Absent {
        Absent { wanted: wanted.to_string(), unfit_for: None }
    }
    fn said(self) -> Said {
        let mut numbers = vec![text_fact("wanted", self.wanted.clone())];
        let Some(slot) = self.unfit_for else {
            return said_of(StepVerdict::Block, Reason::NoProduct, self.wanted, numbers);
        };
        numbers.push(text_fact("slot", slot.to_string()));
        said(StepVerdict::Block, Reason::ProductDoesNotFit, numbers)
    }
}

/// Which product, by the trigger's choice. What is gone says itself what takes its place, or nothing does.
pub(super) fn product(
    home: &Household,
    rules: &RuleSet,
    trigger: &Trigger,
    slot: Option<&SlotId>,
    device: &Device,
) -> Option<Result<Arc<Product>, Absent>> {
    let choice = trigger.offer.product.as_ref()?;
    let retailer = &trigger.retailer;
    let found = match choice {
        ProductChoice::Fixed(id) => match rules.product(retailer, id) {
            None => Err(Absent::gone(id)),
            // One that fits something says what it does not fit.
            Some(product) => match slot.filter(|slot| !product.fits.is_empty() && !product.fits(&device.model, slot)) {
                Some(slot) => Err(Absent { wanted: id.to_string(), unfit_for: Some(slot.clone()) }),
                None => Ok(product),
            },
        },
        ProductChoice::SlotCompatible { prefer, fallback } => {
            let of = |slot| choose::fitting(home, rules, retailer, prefer, (&device.model, slot));
            let found = slot.and_then(of).or_else(|| fallback.clone()).and_then(|id| rules.product(retailer, &id));
            found.ok_or_else(|| Absent::gone("a product that fits the slot"))
        }
    };
    Some(found)
}

/// A product with its price: who sells it, and who else does.
pub(super) struct Priced {
    /// The product.
    pub(super) product: Arc<Product>,
    /// How many.
    pub(super) qty: u32,
    /// Who sells it, on which terms.
    pub(super) chosen: SellerQuote,
    /// Who else sells it.
    pub(super) others: Vec<Alternative>,
    /// How it may be had.
    pub(super) fulfil: Vec<Fulfil>,
    /// Where it can be collected.
    pub(super) stores: Vec<StoreChoice>,
}

/// Who sells the product and at which price, with every seller's figures.
pub(super) fn priced(
    look: &Look<'_>,
    product: Result<Arc<Product>, Absent>,
    qty: u32,
    purse: &dyn Purse,
) -> Found<Priced> {
    let product = match product {
        Ok(product) => product,
        Err(absent) => return (absent.said(), None),
    };
    let (rules, trigger, now) = (look.rules, look.trigger, look.now);
    let mut numbers = vec![
        fact("product", Fact::Text(product.id.to_string().into())),
        fact("price_minor", Fact::Int(product.piece_at(now).minor)),
    ];
    let plan = &trigger.offer;
    if let Some(discount) = &plan.discount {
        let Some(off) = discount.off(product.piece_at(now)) else {
            return (said(StepVerdict::Block, Reason::DiscountCurrency, numbers), None);
        };
        numbers.push(fact("discount_minor", Fact::Int(off.minor)));
    }
    let ask = ask_of(rules, trigger, &product, qty, now);
    let sellers = compare(&ask, purse);
    for quote in &sellers {
        numbers.push(fact("seller", Fact::Text(quote.seller.to_string().into())));
        numbers.push(fact("total_minor", Fact::Int(quote.price.total.minor)));
        if let Some(days) = quote.lead_days {
            numbers.push(fact("lead_days", Fact::Int(days.p50.into())));
        }
        if let Some(free) = quote.free {
            numbers.push(fact("free", Fact::Int(free.into())));
        }
        if let Some(why) = quote.passed_over {
            numbers.push(fact("passed_over", Fact::Text(why.as_str().into())));
        }
    }
    if sellers.is_empty() {
        return (said(StepVerdict::Block, Reason::NoPrice, numbers), None);
    }
    let mut stores = match plan.fulfil.contains(&Fulfil::Collect) {
        true => stores(rules, &trigger.retailer, &product.id, qty, look.home.zone.as_ref(), purse),
        false => Vec::new(),
    };
    // Only the shop itself has stores, at its own price: also where it has none left to be delivered.
    let own = sellers.iter().find(|quote| quote.is_own).filter(|_| !stores.is_empty()).cloned();
    let delivers = plan.fulfil.is_empty() || plan.fulfil.contains(&Fulfil::Deliver);
    let mut sells = sellers.into_iter().filter(|quote| quote.passed_over.is_none() && delivers);
    let (chosen, delivered) = match (sells.next(), own) {
        (Some(chosen), _) => (chosen, true),
        (None, Some(own)) => (own, false),
        (None, None) if delivers => return (said(StepVerdict::Block, Reason::SoldOut, numbers), None),
        (None, None) => return (said(StepVerdict::Block, Reason::NoStore, numbers), None),
    };
    if !chosen.is_own {
        stores.clear();
    }
    let is_had = |way: &Fulfil| match way {
        Fulfil::Deliver => delivered,
        Fulfil::Collect => !stores.is_empty(),
    };
    let fulfil: Vec<Fulfil> = plan.fulfil.iter().copied().filter(is_had).collect();
    let others = sells.take(plan.alternatives_max).map(|quote| quote.alternative(now)).collect();
    let found = Priced { product, qty, chosen, others, fulfil, stores };
    (said(StepVerdict::Pass, Reason::ProductFound, numbers), Some(found))
}

/// What a trigger asks sellers, from now on as long as it locks the price.
pub(super) fn ask_of<'q>(
    rules: &'q RuleSet,
    trigger: &'q Trigger,
    product: &'q Product,
    qty: u32,
    now: Timestamp,
) -> Ask<'q> {
    Ask {
        rules,
        retailer: &trigger.retailer,
        product,
        discount: trigger.offer.discount.as_ref(),
        policy: trigger.offer.policy.as_deref(),
        qty,
        now,
        lock_until: now + trigger.offer.price_lock,
    }
}

/// The words, in the nearest language that the customer reads and the device shows.
pub(super) fn content(
    scope: &Scope<'_>,
    trigger: &Trigger,
    priced: Option<&Priced>,
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
fn vars(scope: &Scope<'_>, trigger: &Trigger, priced: Option<&Priced>, language: &str) -> TextVars {
    let mut vars = TextVars::default().with_telemetry(&trigger.offer.texts, &scope.device.reported, scope.description);
    if let Some(Priced { product, chosen, .. }) = priced {
        let price = &chosen.price;
        vars = vars.with_product(product.name_in(language), price.total, language);
        if let (Some(was), Some(discount)) = (price.was, price.discount(1, 1)) {
            vars = vars.with_discount(was, discount, language);
        }
    }
    if let Some(state) = scope.slot.and_then(|slot| scope.device.slots.get(slot)) {
        vars = vars.with_slot(state);
    }
    let home = scope.household;
    // What guests share shows nobody's name.
    if scope.device.sharing().is_some() {
        return vars;
    }
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
    priced: Option<&Priced>,
    text: Option<&OfferText>,
) -> Found<Place> {
    let Some(text) = text else { return (said(StepVerdict::Skipped, Reason::NothingToPlace, Vec::new()), None) };
    let category = priced.and_then(|priced| priced.product.category.as_ref());
    if let Some(category) = category.filter(|category| !category.shared_ok) {
        let numbers = vec![text_fact("category", category.id.clone())];
        return (said(StepVerdict::Block, Reason::NotForShared, numbers), None);
    }
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
        // Weakest first: what is for grown-ups takes the last, whatever the trigger asks for.
        _ if category.is_some_and(|category| category.age_limited) => can.confirm.last(),
        Some(asked) => can.confirm.iter().find(|known| *known == asked),
        None => can.confirm.first(),
    };
    let label = pay_label(&text.locale);
    let lawful = priced.is_some_and(|priced| is_lawful(priced, &text.locale, label));
    let confirm = strength.filter(|_| lawful).map(|strength| (strength.clone(), label.to_owned()));
    let actions = degrade(&trigger.offer.actions, confirm.is_some(), priced.is_some());
    let can_order = actions.contains(&Action::Order);
    let reason = match (trigger.offer.actions.contains(&Action::Order), can_order) {
        (true, false) => Reason::PlacedWithoutOrder,
        _ => Reason::Placed,
    };
    let place = Place { placement: (*placement).clone(), actions, confirm: confirm.filter(|_| can_order) };
    let numbers = vec![text_fact("placement", placement.id.to_string())];
    (said(StepVerdict::Pass, reason, numbers), Some(place))
}

/// Whether an order on the device would say all that the law asks for: what, for how much with delivery and tax,
/// by whom, and that it costs money (Directive 2011/83/EU, article 8(2)).
fn is_lawful(priced: &Priced, locale: &str, label: &str) -> bool {
    let Priced { product, chosen, qty, .. } = priced;
    let price = &chosen.price;
    let adds_up = total(price.item, price.delivery, *qty) == Some(price.total);
    !product.name_in(locale).trim().is_empty()
        && !chosen.sold_by.trim().is_empty()
        && price.tax_incl
        && adds_up
        && !label.is_empty()
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
    trigger: &Trigger,
    priced: Option<Priced>,
    text: OfferText,
    place: Place,
    code: Option<OfferCode>,
) -> Proposal {
    Proposal { retailer: trigger.retailer.clone(), place, priced, code, text }
}

impl Proposal {
    /// What it would cost, and which product, where it sells one.
    pub(super) fn sold(&self) -> Option<(&Product, &OfferPrice)> {
        self.priced.as_ref().map(|priced| (&*priced.product, &priced.chosen.price))
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
        let name = |product: &Product| product.name_in(&self.text.locale).to_owned();
        let item = self.priced.as_ref().map(|priced| OfferItem {
            product: priced.product.id.clone(),
            name: name(&priced.product),
            qty: priced.qty,
        });
        let (chosen, withdraw_days, sold) = match self.priced {
            Some(Priced { product, chosen, others, fulfil, stores, .. }) => {
                (Some(chosen), Some(product.withdraw_days), (others, fulfil, stores))
            }
            None => (None, None, (Vec::new(), trigger.offer.fulfil.clone(), Vec::new())),
        };
        let (alternatives, fulfil, stores) = sold;
        let ships_by = chosen.as_ref().and_then(|chosen| chosen.ships_by(now));
        let (seller, sold_by, price) = match chosen {
            Some(SellerQuote { seller, sold_by, price, .. }) => (Some(seller), Some(sold_by), Some(price)),
            None => (None, None, None),
        };
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
            item,
            price,
            sold_by,
            withdraw_days,
            fulfil,
            actions: self.place.actions,
            confirm: self.place.confirm,
            cancel_window: trigger.offer.cancel_window,
            test: false,
            state: OfferState::Sent,
            history: Vec::new(),
            last_answer: None,
            budget: trigger.budget.map(|budget| budget.limits),
            code: self.code,
            seller,
            ships_by,
            alternatives,
            stores,
        }
    }
}
