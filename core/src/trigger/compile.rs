//! Definition to trigger: names are resolved against models and products, defaults are filled
//! in, and everything that cannot work is told.

mod budget;
mod edge;
mod offer;
mod on;

use jiff::civil::Date;

use super::check::World;
use super::condition::{Articles, Condition, Schema};
use super::definition::{LimitsDefinition, Names, ReplenishDefinition, TriggerDefinition};
use super::holdout::Holdout;
use super::nearest::suggestion;
use super::problem::NOT_SERVED_YET;
use super::tree::Findings;
use super::{After, Cap, CapPer, CapScope, CapWindow, Channel, OfferKind, On, Replenish, Trigger};
use crate::budget::SHARED_CAP_WINDOW_MAX;
use crate::id::{AudienceId, PlacementId, TriggerId};
use crate::model::{DeviceDescription, Purpose, Role};
use crate::time::{DailyWindow, Span};

/// Priority where none is said.
pub const PRIORITY_DEFAULT: u8 = 50;
/// An older event never sends, where nothing is said.
pub const MAX_EVENT_AGE_DEFAULT: Span = Span::hours(2);
/// Life of an offer where nothing is said.
pub const EXPIRES_DEFAULT: Span = Span::hours(48);
/// How long an order can be cancelled where nothing is said.
pub const CANCEL_WINDOW_DEFAULT: Span = Span::minutes(30);

/// The most that a cap of one home may allow.
const CAP_MAX: u32 = 1_000;

/// What a trigger is held against.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Against {
    /// All that there is: it is to be published.
    Everything,
    /// The models only: it was published. What became of its products is asked at each decision, which says so.
    Models,
}

/// Compiles a definition. What is missing or faulty was told before or is told here; the result
/// counts only when no error was told.
pub(super) fn compile(
    definition: &TriggerDefinition,
    world: &World<'_>,
    against: Against,
    findings: &mut Findings<'_>,
) -> Option<Trigger> {
    let kind = definition.kind.as_deref().map(kind_of);
    let (on, models) = on::compile(definition.on.as_ref(), world, findings);
    let when = condition(definition, on.as_ref(), &models, world, against, findings);
    let audience = definition.audience.clone().unwrap_or_default();
    let link_required = audience.link.as_deref() != Some("anonymous_ok");
    let consent = consent(audience.consent.as_deref(), kind, findings);
    let placements = placements(definition, &models, findings);
    let context = offer::Context {
        kind,
        on: on.as_ref(),
        models: &models,
        placements: &placements,
        link_required,
        world,
        against,
    };
    let offer = definition.offer.as_ref().and_then(|offer| offer::compile(offer, &context, findings));
    let limits = definition.limits.clone().unwrap_or_default();
    let quiet = quiet(&limits, findings);
    let valid = valid(definition, findings);
    let sold = offer.as_ref().and_then(|offer| offer.product.as_ref());
    let sold = sold.map(|choice| offer::currencies(Some(choice), &context));
    let budget = limits.budget.as_ref().and_then(|budget| budget::compile(budget, valid, sold.as_ref(), findings));
    let replenish = replenish(definition, kind, findings);
    let id = TriggerId::new(definition.id.as_deref()?).ok()?;
    let holdout = definition.rollout.as_ref().and_then(|rollout| rollout.holdout.as_ref());
    Some(Trigger {
        retailer: world.retailer.clone(),
        holdout: holdout.and_then(|holdout| Holdout::of(holdout, &id)),
        id,
        version: world.version,
        kind: kind?,
        priority: definition.priority.unwrap_or(PRIORITY_DEFAULT),
        valid,
        max_event_age: span(definition.max_event_age.as_deref()).unwrap_or(MAX_EVENT_AGE_DEFAULT),
        on: on?,
        when: when?,
        consent,
        link_required,
        roles: roles(audience.roles.as_deref(), findings),
        include: audience.include.unwrap_or_default(),
        exclude: audience.exclude.unwrap_or_default(),
        audiences: audiences(audience.audience.as_ref()),
        except: audiences(audience.except.as_ref()),
        offer: offer?,
        placements,
        caps: caps(&limits, findings),
        after: after(&limits),
        quiet,
        at_hour_of_use: limits.hour.as_deref() == Some("of_use"),
        budget,
        replenish,
    })
}

fn kind_of(text: &str) -> OfferKind {
    match text {
        "replenish" => OfferKind::Replenish,
        "tip" => OfferKind::Tip,
        "service" => OfferKind::Service,
        _ => OfferKind::Offer,
    }
}

/// A duration whose form was checked before.
fn span(text: Option<&str>) -> Option<Span> {
    text.and_then(|text| Span::parse(text).ok())
}

/// The budget by itself, whatever is proposed.
pub(super) fn budget_of(definition: &TriggerDefinition, findings: &mut Findings<'_>) -> Option<super::BudgetPlan> {
    let valid = valid(definition, findings);
    budget::compile(definition.limits.as_ref()?.budget.as_ref()?, valid, None, findings)
}

fn valid(definition: &TriggerDefinition, findings: &mut Findings<'_>) -> (Option<Date>, Option<Date>) {
    let date = |text: &Option<String>| text.as_deref().and_then(|text| text.parse::<Date>().ok());
    let Some(valid) = &definition.valid else { return (None, None) };
    let (from, until) = (date(&valid.from), date(&valid.until));
    if from.zip(until).is_some_and(|(from, until)| from > until) {
        findings.error("trigger.value", "/valid/until", "this lies before `from`: no day is left", None);
    }
    (from, until)
}

/// `Some(None)` is a trigger without a condition, `None` one whose condition is faulty.
fn condition(
    definition: &TriggerDefinition,
    on: Option<&On>,
    models: &[&DeviceDescription],
    world: &World<'_>,
    against: Against,
    findings: &mut Findings<'_>,
) -> Option<Option<Condition>> {
    let Some(when) = &definition.when else { return Some(None) };
    let source = when.all.as_deref()?;
    if models.is_empty() {
        // Against no model every field would be unknown, and the reason was told.
        return None;
    }
    // What wakes it is taken from the text: an unsound threshold must not make `slot.` unknown.
    let event = definition.on.as_ref().and_then(|on| on.event.as_deref());
    let slot = match on {
        Some(on) => on.slot().cloned(),
        None => {
            let is_of_slot = matches!(event, Some("slot" | "forecast"));
            let named = definition.on.as_ref().and_then(|on| on.slot.as_deref()).filter(|_| is_of_slot);
            named.and_then(|slot| crate::id::SlotId::new(slot).ok())
        }
    };
    let schema = Schema {
        models: models.to_vec(),
        slot: slot.as_ref(),
        event: matches!(event, Some("event" | "channel")),
        products: match against {
            Against::Everything => Articles::Of(world.products, &world.retailer),
            Against::Models => Articles::Any,
        },
    };
    match Condition::compile(source, &schema) {
        Ok(condition) => Some(Some(condition)),
        Err(faults) => {
            faults.iter().for_each(|fault| findings.fault("/when/all", source, fault));
            None
        }
    }
}

/// The purposes that must be consented to. One that permits to speak on the device is always
/// among them: nobody without consent is contacted.
fn consent(written: Option<&[String]>, kind: Option<OfferKind>, findings: &mut Findings<'_>) -> Vec<Purpose> {
    let default = kind.unwrap_or(OfferKind::Offer).default_purpose();
    let Some(written) = written else { return vec![default] };
    let mut purposes: Vec<Purpose> = written.iter().filter_map(|text| Purpose::parse(text)).collect();
    purposes.dedup();
    let permits = |purpose: &Purpose| matches!(purpose, Purpose::OffersDevice | Purpose::ReplenishDevice);
    if !purposes.iter().any(permits) && !findings.blamed("/audience/consent") {
        let help = format!("add \"{}\", or leave `consent` out: it is the default of this kind", default.as_str());
        let message = "none of these purposes permits to speak on the device";
        findings.error("trigger.consent", "/audience/consent", message, Some(help));
    }
    purposes
}

/// Names of audiences, whose form was checked before. Which there are is for who has them at hand: files are
/// checked without a gateway.
fn audiences(written: Option<&Names>) -> Vec<AudienceId> {
    written.iter().flat_map(|names| names.iter()).filter_map(|name| AudienceId::new(name).ok()).collect()
}

fn roles(written: Option<&[String]>, findings: &mut Findings<'_>) -> Vec<Role> {
    let Some(written) = written else { return vec![Role::Owner, Role::Buyer] };
    if written.is_empty() && !findings.blamed("/audience/roles") {
        let help = Some("leave `roles` out for owner and buyer".to_owned());
        findings.error("trigger.value", "/audience/roles", "with no role nobody may see it", help);
    }
    let roles = [Role::Owner, Role::Buyer, Role::Viewer];
    roles.into_iter().filter(|role| written.iter().any(|text| text == role.as_str())).collect()
}

fn placements(
    definition: &TriggerDefinition,
    models: &[&DeviceDescription],
    findings: &mut Findings<'_>,
) -> Vec<PlacementId> {
    let order = definition.channel.as_ref().and_then(|channel| channel.order.as_deref()).unwrap_or_default();
    let mut placements = Vec::new();
    for (i, entry) in order.iter().enumerate() {
        let pointer = format!("/channel/order/{i}");
        if findings.blamed(&pointer) {
            continue;
        }
        let Some(name) = entry.strip_prefix("device:") else {
            let message = format!("the channel `{entry}` is not served yet");
            findings.error(NOT_SERVED_YET, &pointer, message, Some("only the device is a channel".to_owned()));
            continue;
        };
        let known = || models.iter().flat_map(|model| &model.placements).map(|placement| placement.id.as_str());
        if !models.is_empty() && !known().any(|id| id == name) {
            let help = suggestion(name, known().collect::<std::collections::BTreeSet<_>>());
            findings.error("trigger.unknown_placement", &pointer, format!("no model has a placement `{name}`"), help);
            continue;
        }
        placements.extend(PlacementId::new(name).ok());
    }
    placements
}

fn caps(limits: &LimitsDefinition, findings: &mut Findings<'_>) -> Vec<Cap> {
    let mut caps = Vec::new();
    for (i, cap) in limits.caps.iter().flatten().enumerate() {
        let window = match (span(cap.within.as_deref()), cap.each.as_deref()) {
            (Some(within), None) if within > Span::ZERO => CapWindow::Within(within),
            (None, Some(_)) if cap.within.is_none() => CapWindow::EachDay,
            _ if findings.blamed(&format!("/limits/caps/{i}/within"))
                || findings.blamed(&format!("/limits/caps/{i}/each")) =>
            {
                continue;
            }
            _ => {
                let help = Some("write `within = \"7d\"` or `each = \"day\"`".to_owned());
                findings.error("trigger.cap", &format!("/limits/caps/{i}"), "a cap needs one stretch of time", help);
                continue;
            }
        };
        let per = match cap.per.as_deref() {
            Some("channel:device") => CapPer::Channel(Channel::Device),
            Some("channel:webhook") => CapPer::Channel(Channel::Webhook),
            Some("all") => CapPer::All,
            _ => CapPer::Offer,
        };
        let scope = match cap.scope.as_deref() {
            Some("profile") => CapScope::Profile,
            Some("device") => CapScope::Device,
            Some("global") => CapScope::Global,
            _ => CapScope::Household,
        };
        if let Some(max) = cap.max {
            let cap = Cap { max, per, scope, window };
            sensible(&cap, i, findings);
            caps.push(cap);
        }
    }
    caps
}

/// What a cap cannot be, or cannot do yet.
fn sensible(cap: &Cap, at: usize, findings: &mut Findings<'_>) {
    let pointer = |key: &str| format!("/limits/caps/{at}/{key}");
    if cap.per == CapPer::Channel(Channel::Webhook) {
        let message = "nothing leaves by webhook yet: until something does, this cap counts nothing";
        findings.warning("trigger.no_effect", &pointer("per"), message, None);
    }
    if cap.scope != CapScope::Global && cap.max > CAP_MAX {
        let message = format!("`{}` does not fit: at most {CAP_MAX} of one home are counted", cap.max);
        let help = Some("write `scope = \"global\"` for all homes together".to_owned());
        findings.error("trigger.value", &pointer("max"), message, help);
    }
    if let (CapScope::Global, CapWindow::Within(window)) = (cap.scope, cap.window)
        && window > SHARED_CAP_WINDOW_MAX
    {
        let message = format!("what all homes share is counted over {SHARED_CAP_WINDOW_MAX} at most");
        let help = Some("a budget has no such end: write `limits.budget`".to_owned());
        findings.error("trigger.value", &pointer("within"), message, help);
    }
}

fn after(limits: &LimitsDefinition) -> After {
    let after = limits.after.clone().unwrap_or_default();
    After {
        declined: span(after.declined.as_deref()),
        not_needed: span(after.not_needed.as_deref()),
        ordered: span(after.ordered.as_deref()),
    }
}

fn quiet(limits: &LimitsDefinition, findings: &mut Findings<'_>) -> Option<DailyWindow> {
    let quiet = limits.quiet.as_ref()?;
    let window = DailyWindow::parse(quiet.from.as_deref()?, quiet.to.as_deref()?).ok()?;
    if window.from_minute == window.to_minute {
        let help = Some("leave `quiet` out for no quiet hours".to_owned());
        findings.error("trigger.value", "/limits/quiet/to", "equal ends make an empty window", help);
    }
    Some(window)
}

/// How it replenishes, with the defaults for what is not said.
fn replenish(
    definition: &TriggerDefinition,
    kind: Option<OfferKind>,
    findings: &mut Findings<'_>,
) -> Option<Replenish> {
    let written = definition.replenish.clone();
    if kind != Some(OfferKind::Replenish) {
        if written.is_some() && kind.is_some() {
            findings.warning("trigger.no_effect", "/replenish", "only a trigger of kind `replenish` reads this", None);
        }
        return None;
    }
    let ReplenishDefinition { mode, safety, quantity, notice, cost, keep, join } = written.unwrap_or_default();
    let quantity = quantity.unwrap_or_default();
    let default = Replenish::DEFAULT;
    let (min, max) = (quantity.min.unwrap_or(default.min), quantity.max.unwrap_or(default.max));
    if min > max {
        let help = Some(format!("write `max` as {min} or more"));
        findings.error("trigger.value", "/replenish/quantity/min", format!("`min` {min} is above `max` {max}"), help);
    }
    let cost = cost.unwrap_or_default();
    if span(notice.as_deref()) == Some(Span::ZERO) {
        let help = Some("write \"24h\", or leave `notice` out for a day".to_owned());
        findings.error("trigger.value", "/replenish/notice", "an automatic order can be cancelled for a while", help);
    }
    Some(Replenish {
        auto: mode.as_deref() == Some("auto"),
        safety: span(safety.as_deref()).unwrap_or(default.safety),
        cover: span(quantity.cover.as_deref()),
        min,
        max,
        notice: span(notice.as_deref()).unwrap_or(default.notice),
        cost_without: cost.without.unwrap_or(default.cost_without) / cost.early.unwrap_or(1.0),
        keep: keep.unwrap_or(default.keep),
        join: span(join.as_deref()).unwrap_or(default.join),
    })
}
