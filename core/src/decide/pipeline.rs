//! The order of evaluation, on one page: from a woken trigger to an offer that leaves, waits or
//! does not exist, with the reason of every step.

use std::fmt;
use std::sync::Arc;

use super::draft::{Draft, description};
use super::render::{self, Proposal};
use crate::decision::{Change, Effect};
use crate::id::{DecisionId, DeviceKey, OfferId, SlotId};
use crate::input::Input;
use crate::limits::{LIVE_OFFERS_PER_DEVICE_MAX, OVERDUE_AFTER, QUIET_END_JITTER};
use crate::model::{
    Contact, ContactState, Device, DeviceDescription, Household, Offer, OfferState, OrderState, StateChange,
};
use crate::rules::RuleSet;
use crate::time::{Span, Timestamp};
use crate::trace::{CandidateTrace, Fact, Phrase, Step, StepTrace, StepVerdict, Verdict};
use crate::trigger::{Cap, CapPer, CapScope, CapWindow, Count, Scope, Trigger, Truth};
use crate::wire::{DownMessage, EventUp};
use crate::words::Reason;

/// Why a trigger is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cause {
    /// A value crossed its edge.
    Edge,
    /// Its edge was crossed before, and its conditions may hold by now.
    Armed,
    /// A discrete event, or a moment of a link or an order.
    Event,
    /// A value stayed beyond its edge for so long.
    Stayed(Span),
    /// It happened as often as it takes.
    Counted(Count),
    /// Nothing came for so long.
    Silent(Span),
    /// An hour of local time.
    Hour,
    /// An offer was held, or put off by its reader, and its hour has come.
    Held(OfferId),
}

impl Cause {
    /// The offer that was held, where that is why.
    fn held(self) -> Option<OfferId> {
        match self {
            Cause::Held(offer) => Some(offer),
            Cause::Edge
            | Cause::Armed
            | Cause::Event
            | Cause::Stayed(_)
            | Cause::Counted(_)
            | Cause::Silent(_)
            | Cause::Hour => None,
        }
    }
    /// Whether it is a deadline, which can be kept late.
    fn is_deadline(self) -> bool {
        matches!(self, Cause::Stayed(_) | Cause::Silent(_) | Cause::Hour)
    }
}

/// What woke a trigger.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wake<'w> {
    /// On which device.
    pub(super) device: &'w DeviceKey,
    /// On which slot.
    pub(super) slot: Option<&'w SlotId>,
    /// By which event.
    pub(super) event: Option<&'w EventUp>,
    /// When it happened.
    pub(super) at: Timestamp,
    /// Why.
    pub(super) cause: Cause,
}

/// What all steps together say.
pub(super) struct Evaluated {
    /// Every step in order.
    pub(super) steps: Vec<StepTrace>,
    /// What would be proposed, as far as the steps could say.
    proposal: Option<Proposal>,
    /// When a held offer may leave.
    hold_until: Option<Timestamp>,
}

/// What the caller of [`consider`] needs to know.
pub(super) struct Considered {
    /// Nothing but its conditions stood in the way.
    pub(super) waits_for_conditions: bool,
}

impl Evaluated {
    fn first_block(&self) -> Option<Step> {
        self.steps
            .iter()
            .find(|step| matches!(step.verdict, StepVerdict::Block | StepVerdict::Hold))
            .map(|step| step.step)
    }
    fn is_blocked(&self) -> bool {
        self.steps.iter().any(|step| step.verdict == StepVerdict::Block)
    }
    fn waits_for_conditions(&self) -> bool {
        self.steps
            .iter()
            .find(|step| step.verdict == StepVerdict::Block)
            .is_some_and(|step| step.step == Step::Conditions)
    }
}

/// The id of the decision about one trigger on one device at one input: at one deadline the same
/// trigger may be looked at on several devices.
pub(super) fn decision_id(
    home: &Household,
    input: &Input,
    trigger: &Trigger,
    device: Option<&DeviceKey>,
) -> DecisionId {
    let device = device.filter(|device| input.device.as_ref() != Some(*device)).map(DeviceKey::to_string);
    let parts = [home.id.bytes(), input.id.bytes(), trigger.id.as_str().as_bytes()];
    match &device {
        None => DecisionId::derived(&parts),
        Some(device) => DecisionId::derived(&[parts[0], parts[1], parts[2], device.as_bytes()]),
    }
}

/// Looks at a woken trigger, step by step, and does what follows.
pub(super) fn consider(draft: &mut Draft<'_>, trigger: &Trigger, wake: &Wake<'_>) -> Considered {
    let (input, rules, now) = (draft.input, draft.rules, draft.now);
    let home = draft.home();
    let decision = decision_id(home, input, trigger, Some(wake.device));
    if draft.has_offered(decision) {
        // A batch crossed the edge more than once: one message makes one offer.
        return Considered { waits_for_conditions: false };
    }
    let evaluated = evaluate(draft.home(), rules, trigger, wake, input, now);
    let first_block = evaluated.first_block();
    let considered = Considered { waits_for_conditions: evaluated.waits_for_conditions() };
    let held_before = wake.cause.held();
    let offer = if evaluated.is_blocked() {
        None
    } else {
        evaluated.proposal.map(|proposal| {
            let id = held_before.unwrap_or_else(|| OfferId::derived(&[decision.bytes()]));
            let offer = proposal.into_offer(id, decision, trigger, wake, now);
            give(draft, offer, evaluated.hold_until)
        })
    };
    if let (None, Some(held)) = (offer, held_before) {
        let reason = first_block.map_or("not eligible any more", Step::as_str);
        super::offer::withdraw(draft, held, reason);
    }
    let verdict = if offer.is_some() && evaluated.hold_until.is_none() { Verdict::Sent } else { Verdict::Held };
    draft.candidate(CandidateTrace {
        decision,
        trigger: trigger.id.clone(),
        trigger_version: trigger.version,
        verdict,
        first_block,
        offer,
        steps: evaluated.steps,
    });
    considered
}

/// Sends an offer, or keeps it for a better hour; makes room for it first.
fn give(draft: &mut Draft<'_>, mut offer: Offer, hold_until: Option<Timestamp>) -> OfferId {
    let (id, now, device) = (offer.id, draft.now, offer.device.clone());
    make_room(draft, &device, id);
    let earlier = draft.home().offers.get(&id).map(|earlier| earlier.history.clone());
    offer.history = earlier.unwrap_or_default();
    let (state, cause) = match hold_until {
        Some(until) => (OfferState::Queued { until }, "quiet hours"),
        None => (OfferState::Sent, "decision"),
    };
    offer.state = state;
    offer.history.push(StateChange { state: Arc::from(state.as_str()), at: now, cause: Arc::from(cause) });
    if hold_until.is_none() {
        let contact = Contact {
            offer: id,
            trigger: offer.trigger.clone(),
            device: device.clone(),
            at: now,
            state: ContactState::Reserved,
        };
        draft.change(Change::ContactSet(contact));
        let expires_at = offer.expires_at;
        draft.say(&device, DownMessage::OfferPut(Box::new(offer.clone())), Some(expires_at));
    }
    draft.change(Change::OfferSet(Box::new(offer)));
    super::drop_ended(draft);
    id
}

/// A device holds few live offers; the oldest makes room for the next.
fn make_room(draft: &mut Draft<'_>, device: &DeviceKey, coming: OfferId) {
    let mut live: Vec<_> = draft
        .home()
        .offers
        .values()
        .filter(|offer| offer.device == *device && offer.state.is_live() && offer.id != coming)
        .map(|offer| (offer.valid_from, offer.id))
        .collect();
    live.sort();
    let surplus = (live.len() + 1).saturating_sub(LIVE_OFFERS_PER_DEVICE_MAX);
    for (_, id) in live.into_iter().take(surplus) {
        super::offer::withdraw(draft, id, "superseded");
    }
}

/// What a step says, before it gets its name.
pub(super) type Said = (StepVerdict, Phrase, Vec<(Phrase, Fact)>);

/// What a step says, with its numbers.
pub(super) fn said(verdict: StepVerdict, reason: Reason, numbers: Vec<(Phrase, Fact)>) -> Said {
    (verdict, Phrase::Borrowed(reason.code()), numbers)
}
/// What a step says, with what it is about behind the code.
pub(super) fn said_of(
    verdict: StepVerdict,
    reason: Reason,
    detail: impl fmt::Display,
    numbers: Vec<(Phrase, Fact)>,
) -> Said {
    (verdict, Phrase::Owned(format!("{}: {detail}", reason.code())), numbers)
}
/// A text among the numbers of a step.
pub(super) fn text(name: &'static str, text: impl Into<Phrase>) -> (Phrase, Fact) {
    fact(name, Fact::Text(text.into()))
}
/// A length of time among the numbers of a step; its name ends in `_s`.
fn seconds(name: &'static str, span: Span) -> (Phrase, Fact) {
    fact(name, Fact::Int(span.0 / 1_000))
}
/// A number of a step, by its name.
pub(super) fn fact(name: &'static str, fact: Fact) -> (Phrase, Fact) {
    (Phrase::Borrowed(name), fact)
}
fn pass(reason: Reason) -> Said {
    said(StepVerdict::Pass, reason, Vec::new())
}
fn block(reason: Reason) -> Said {
    said(StepVerdict::Block, reason, Vec::new())
}
fn not_configured(reason: Reason) -> Said {
    said(StepVerdict::NotConfigured, reason, Vec::new())
}
fn skipped(reason: Reason) -> Said {
    said(StepVerdict::Skipped, reason, Vec::new())
}

/// What the steps look at.
struct Look<'l> {
    home: &'l Household,
    trigger: &'l Trigger,
    wake: &'l Wake<'l>,
    input: &'l Input,
    now: Timestamp,
    device: &'l Device,
    can: &'l DeviceDescription,
}

/// All steps in their fixed order, none skipped because an earlier one blocked: explain shows
/// everything, the first block is the reason.
pub(super) fn evaluate(
    home: &Household,
    rules: &RuleSet,
    trigger: &Trigger,
    wake: &Wake<'_>,
    input: &Input,
    now: Timestamp,
) -> Evaluated {
    let mut steps = Vec::with_capacity(Step::ALL.len());
    let mut say = |step: Step, (verdict, reason, numbers): Said| {
        steps.push(StepTrace { step, verdict, reason, numbers });
    };
    let Some(device) = home.devices.get(wake.device) else {
        say(Step::Link, block(Reason::NoDevice));
        return Evaluated { steps, proposal: None, hold_until: None };
    };
    let Some(can) = description(device, rules) else {
        say(Step::Placement, block(Reason::NoDescription));
        return Evaluated { steps, proposal: None, hold_until: None };
    };
    let look = Look { home, trigger, wake, input, now, device, can };

    say(Step::Dedup, dedup(&look));
    say(Step::Age, age(&look));
    say(Step::Validity, validity(&look));
    say(Step::Suspension, suspension(&look));
    say(Step::Link, link(&look));
    say(Step::Consent, consent(&look));
    say(Step::Controls, controls(&look));
    say(Step::Audience, audience(&look));
    say(Step::Conditions, conditions(&look));
    let (said, product) = render::product(rules, trigger, wake.slot, device);
    say(Step::Suppression, suppression(&look, product.as_ref().map(|product| &product.id)));
    say(Step::Caps, caps(&look));
    say(Step::Offer, said);
    let (said, text) = render::content(&look.scope(), trigger, product.as_deref(), rules);
    say(Step::Content, said);
    let (said, place) = render::placement(trigger, can, product.as_deref(), text.as_ref());
    say(Step::Placement, said);
    let (said, hold_until) = quiet(&look);
    say(Step::Quiet, said);
    say(Step::Budget, not_configured(Reason::NoBudget));
    say(Step::Holdout, holdout(&look, hold_until));
    let proposal = match (text, place) {
        (Some(text), Some(place)) => render::propose(rules, trigger, product.as_deref(), text, place, now),
        _ => None,
    };
    let is_blocked = steps.iter().any(|step| step.verdict == StepVerdict::Block);
    let mut say = |step: Step, (verdict, reason, numbers): Said| {
        steps.push(StepTrace { step, verdict, reason, numbers });
    };
    say(Step::Send, send(is_blocked, hold_until, proposal.as_ref()));
    Evaluated { steps, proposal: proposal.filter(|_| !is_blocked), hold_until }
}

impl<'l> Look<'l> {
    fn scope(&self) -> Scope<'l> {
        Scope {
            household: self.home,
            device: self.device,
            description: self.can,
            slot: self.wake.slot,
            event: self.wake.event,
            now: self.now,
        }
    }
}

fn dedup(look: &Look<'_>) -> Said {
    match &look.input.message {
        Some(id) => {
            said(StepVerdict::Pass, Reason::FirstSeen, vec![fact("message", Fact::Text(id.to_string().into()))])
        }
        None => pass(Reason::NoMessageId),
    }
}

fn age(look: &Look<'_>) -> Said {
    let age = look.now - look.wake.at;
    let max = look.trigger.max_event_age;
    let mut numbers = vec![seconds("age_s", age), seconds("max_s", max), fact("at", Fact::At(look.wake.at))];
    let reason = match look.wake.cause {
        Cause::Held(_) => return pass(Reason::HourHasCome),
        Cause::Armed => return pass(Reason::EdgeHolds),
        _ if age > max => {
            return said_of(StepVerdict::Block, Reason::EventTooOld, format_args!("{age} of at most {max}"), numbers);
        }
        Cause::Edge | Cause::Event => Reason::RecentEnough,
        Cause::Hour => Reason::ItsHour,
        Cause::Stayed(span) => {
            numbers.push(seconds("for_s", span));
            Reason::Stayed
        }
        Cause::Counted(count) => {
            numbers.extend([fact("times", Fact::Int(count.times.into())), seconds("within_s", count.within)]);
            Reason::Counted
        }
        Cause::Silent(span) => {
            numbers.push(seconds("for_s", span));
            Reason::Silent
        }
    };
    if look.wake.cause.is_deadline() && age > OVERDUE_AFTER {
        numbers.push(seconds("overdue_s", age));
    }
    said(StepVerdict::Pass, reason, numbers)
}

fn validity(look: &Look<'_>) -> Said {
    let (from, until) = look.trigger.valid;
    let mut numbers = vec![fact("version", Fact::Int(look.trigger.version as i64))];
    if from.is_none() && until.is_none() {
        return said(StepVerdict::Pass, Reason::AlwaysValid, numbers);
    }
    // A prospect has no zone; its day is counted in UTC.
    let today = match &look.home.zone {
        Some(zone) => zone.local(look.now).date(),
        None => crate::time::Zone::utc().local(look.now).date(),
    };
    numbers.push(text("today", today.to_string()));
    numbers.extend(from.map(|from| text("from", from.to_string())));
    numbers.extend(until.map(|until| text("until", until.to_string())));
    if from.is_some_and(|from| today < from) {
        let detail = format_args!("{today} is before {}", show(from));
        return said_of(StepVerdict::Block, Reason::NotYetValid, detail, numbers);
    }
    if until.is_some_and(|until| today > until) {
        let detail = format_args!("{today} is after {}", show(until));
        return said_of(StepVerdict::Block, Reason::NoLongerValid, detail, numbers);
    }
    said(StepVerdict::Pass, Reason::ValidToday, numbers)
}

fn show(date: Option<jiff::civil::Date>) -> String {
    date.map_or_else(String::new, |date| date.to_string())
}

fn suspension(look: &Look<'_>) -> Said {
    match &look.device.suspended {
        Some(why) => said_of(StepVerdict::Block, Reason::DeviceSuspended, why, vec![text("why", why.clone())]),
        None => pass(Reason::NotSuspended),
    }
}

fn link(look: &Look<'_>) -> Said {
    if look.device.wipe_pending {
        return block(Reason::WipePending);
    }
    match look.home.link_of(&look.device.key) {
        Some(_) if look.home.retailer.as_ref() != Some(&look.trigger.retailer) => block(Reason::OtherRetailer),
        Some(link) => (
            StepVerdict::Pass,
            Phrase::Borrowed(Reason::Linked.code()),
            vec![fact("since", Fact::At(link.since)), fact("role", Fact::Text(link.role.as_str().into()))],
        ),
        None if look.trigger.link_required => block(Reason::NotLinked),
        None => pass(Reason::LinkNotAsked),
    }
}

fn consent(look: &Look<'_>) -> Said {
    let mut numbers = Vec::new();
    for purpose in &look.trigger.consent {
        if !look.home.consents(&look.device.key, *purpose, look.now) {
            numbers.push(text("purpose", purpose.as_str()));
            return said_of(StepVerdict::Block, Reason::NoConsent, purpose.as_str(), numbers);
        }
        let record = look
            .home
            .members
            .values()
            .filter_map(|member| member.consents.get(purpose))
            .filter(|record| record.is_live(look.now))
            .max_by_key(|record| record.at);
        if let Some(record) = record {
            numbers.push(fact(purpose.as_str(), Fact::At(record.at)));
        }
    }
    said(StepVerdict::Pass, Reason::ConsentGranted, numbers)
}

fn controls(look: &Look<'_>) -> Said {
    match look.home.paused_until {
        Some(until) if look.now < until => {
            let numbers = [fact("until", Fact::At(until))].into_iter().chain(zone_of(look)).collect();
            said(StepVerdict::Block, Reason::Paused, numbers)
        }
        _ => pass(Reason::NoPause),
    }
}

fn audience(look: &Look<'_>) -> Said {
    let linked: Vec<_> = look
        .home
        .links
        .values()
        .filter(|link| link.device == look.device.key)
        .filter_map(|link| look.home.members.get(&link.profile).map(|member| (link.role, member)))
        .collect();
    let roles = &look.trigger.roles;
    if !roles.is_empty() && !linked.is_empty() && !linked.iter().any(|(role, _)| roles.contains(role)) {
        return block(Reason::NoSuchRole);
    }
    let has = |segment: &String| linked.iter().any(|(_, member)| member.segments.contains(segment));
    if let Some(excluded) = look.trigger.exclude.iter().find(|segment| has(segment)) {
        return said_of(StepVerdict::Block, Reason::Excluded, excluded, vec![text("segment", excluded.clone())]);
    }
    if look.trigger.include.is_empty() {
        return not_configured(Reason::Everybody);
    }
    match look.trigger.include.iter().find(|segment| has(segment)) {
        Some(segment) => said(StepVerdict::Pass, Reason::InSegment, vec![text("segment", segment.clone())]),
        None => {
            let segments = look.trigger.include.join(", ");
            said_of(StepVerdict::Block, Reason::NotIncluded, &segments, vec![text("segments", segments.clone())])
        }
    }
}

fn conditions(look: &Look<'_>) -> Said {
    let Some(condition) = &look.trigger.when else { return not_configured(Reason::NoCondition) };
    let evaluation = condition.evaluate(&look.scope());
    let failing = evaluation.failing().next();
    let wrong = failing.map(|leaf| leaf.source.clone()).unwrap_or_default();
    let mut leaves: Vec<_> =
        evaluation.leaves.iter().map(|leaf| fact("leaf", Fact::Text(leaf.to_string().into()))).collect();
    if let Some(leaf) = failing {
        leaves.push(text("condition", leaf.text.clone()));
        leaves.extend(leaf.value.as_ref().map(|value| text("found", value.to_string())));
    }
    match evaluation.truth {
        Truth::True => said(StepVerdict::Pass, Reason::AllHold, leaves),
        Truth::False => said_of(StepVerdict::Block, Reason::ConditionFails, wrong, leaves),
        Truth::Unknown => said_of(StepVerdict::Block, Reason::ConditionUnknown, wrong, leaves),
    }
}

fn suppression(look: &Look<'_>, product: Option<&crate::id::ProductId>) -> Said {
    if let Some(product) = product {
        let bought = |order: &crate::model::Order| order.lines.iter().any(|line| line.product == *product);
        if let Some(order) = look.home.orders.values().filter(|order| bought(order)).find(|order| order.state.is_open())
        {
            let numbers = vec![
                fact("order", Fact::Text(order.id.to_string().into())),
                fact("state", Fact::Text(order.state.as_str().into())),
            ];
            return said(StepVerdict::Block, Reason::OpenOrder, numbers);
        }
        if let Some(silence) = look.trigger.after.ordered {
            let orders = look.home.orders.values().filter(|order| bought(order));
            let last = orders.filter(|order| order.state != OrderState::Cancelled);
            if let Some(said) = within(last.map(|order| order.created_at).max(), silence, look, Reason::JustOrdered) {
                return said;
            }
        }
    }
    let refused = |cause: &str| {
        let ended = look.home.offers.values().filter(|offer| offer.trigger == look.trigger.id);
        ended
            .filter(|offer| offer.state == OfferState::Declined)
            .filter_map(|offer| offer.history.last())
            .filter(|change| (*change.cause == *"not needed") == (cause == "not needed"))
            .map(|change| change.at)
            .max()
    };
    let after = look.trigger.after;
    let refusals =
        [(after.declined, "declined", Reason::JustRefused), (after.not_needed, "not needed", Reason::NotNeeded)];
    for (silence, cause, reason) in refusals {
        if let Some(said) = silence.and_then(|silence| within(refused(cause), silence, look, reason)) {
            return said;
        }
    }
    pass(Reason::NothingLately)
}

fn within(last: Option<Timestamp>, silence: Span, look: &Look<'_>, reason: Reason) -> Option<Said> {
    let last = last?;
    let until = last + silence;
    (look.now < until).then(|| {
        let numbers = [fact("at", Fact::At(last)), fact("until", Fact::At(until))];
        let numbers = numbers.into_iter().chain(zone_of(look)).collect();
        said_of(StepVerdict::Block, reason, format_args!("silence for {silence} after it"), numbers)
    })
}

fn caps(look: &Look<'_>) -> Said {
    if look.trigger.caps.is_empty() {
        return not_configured(Reason::NoCap);
    }
    let own = look.wake.cause.held();
    let mut numbers = Vec::new();
    for cap in &look.trigger.caps {
        let times: Vec<Timestamp> = look
            .home
            .contacts
            .iter()
            .filter(|contact| Some(contact.offer) != own)
            .filter(|contact| cap.per != CapPer::Offer || contact.trigger == look.trigger.id)
            .filter(|contact| cap.scope != CapScope::Device || contact.device == look.device.key)
            .map(|contact| contact.at)
            .filter(|at| in_window(cap, *at, look))
            .collect();
        numbers.push(fact("made", Fact::Int(times.len() as i64)));
        numbers.push(fact("max", Fact::Int(i64::from(cap.max))));
        if times.len() >= cap.max as usize {
            let detail =
                format!("{} {} of {} {}", scope_name(cap.scope), times.len(), cap.max, window_name(cap.window));
            if let (CapWindow::Within(window), Some(oldest)) =
                (cap.window, times.iter().rev().nth(cap.max.max(1) as usize - 1))
            {
                numbers.push(fact("frees", Fact::At(*oldest + window)));
            }
            numbers.push(text("scope", scope_name(cap.scope)));
            numbers.push(text("window", window_name(cap.window)));
            numbers.extend(zone_of(look));
            return said_of(StepVerdict::Block, Reason::CapReached, detail, numbers);
        }
    }
    said(StepVerdict::Pass, Reason::RoomUnderCaps, numbers)
}

/// The home's zone among the numbers: in which their instants are told.
fn zone_of(look: &Look<'_>) -> Option<(Phrase, Fact)> {
    look.home.zone.as_ref().map(|zone| text("zone", zone.to_string()))
}

/// A contact from after now, before the clock went back, counts: it was made, and not long ago.
fn in_window(cap: &Cap, at: Timestamp, look: &Look<'_>) -> bool {
    match (cap.window, &look.home.zone) {
        (CapWindow::Within(window), _) => at > look.now - window,
        (CapWindow::EachDay, Some(zone)) => zone.local(at).date() >= zone.local(look.now).date(),
        (CapWindow::EachDay, None) => at > look.now - Span::days(1),
    }
}

fn scope_name(scope: CapScope) -> &'static str {
    match scope {
        CapScope::Household => "household",
        CapScope::Profile => "profile",
        CapScope::Device => "device",
    }
}

fn window_name(window: CapWindow) -> String {
    match window {
        CapWindow::Within(span) => format!("in {span}"),
        CapWindow::EachDay => "today".to_owned(),
    }
}

fn quiet(look: &Look<'_>) -> (Said, Option<Timestamp>) {
    let Some(window) = look.trigger.quiet else { return (not_configured(Reason::NoQuietHours), None) };
    let Some(zone) = &look.home.zone else {
        return (block(Reason::ZoneUnknown), None);
    };
    if !window.contains(zone.local(look.now)) {
        return (pass(Reason::OutsideQuiet), None);
    }
    // Spread, so that not every home of a street lights up in the same second.
    let spread = look.home.id.bytes().iter().take(4).fold(0i64, |sum, byte| sum * 256 + i64::from(*byte));
    let until = window.end(zone, look.now) + Span(spread % QUIET_END_JITTER.0);
    let numbers = vec![fact("until", Fact::At(until)), fact("zone", Fact::Text(zone.to_string().into()))];
    (said_of(StepVerdict::Hold, Reason::QuietHours, format_args!("{window} {zone}"), numbers), Some(until))
}

/// Drawn where the offer would leave, so that what waits for its hour is not yet counted.
fn holdout(look: &Look<'_>, hold_until: Option<Timestamp>) -> Said {
    let Some(holdout) = &look.trigger.holdout else { return not_configured(Reason::NoHoldout) };
    if hold_until.is_some() {
        return skipped(Reason::DrawnAtItsHour);
    }
    let bucket = holdout.bucket(look.home.id);
    let numbers = vec![
        fact("bucket", Fact::Int(bucket as i64)),
        fact("below", Fact::Int(holdout.below as i64)),
        text("salt", holdout.salt.clone()),
    ];
    if bucket < holdout.below {
        said(StepVerdict::Block, Reason::HeldOut, numbers)
    } else {
        said(StepVerdict::Pass, Reason::NotHeldOut, numbers)
    }
}

fn send(is_blocked: bool, hold_until: Option<Timestamp>, proposal: Option<&Proposal>) -> Said {
    match (is_blocked, hold_until, proposal) {
        (true, _, _) => skipped(Reason::BlockedBefore),
        (false, Some(until), Some(_)) => {
            said(StepVerdict::Hold, Reason::HeldUntil, vec![fact("until", Fact::At(until))])
        }
        (false, None, Some(proposal)) => {
            let place = proposal.placement().to_string();
            said(StepVerdict::Pass, Reason::SentTo, vec![text("placement", place)])
        }
        (false, _, None) => skipped(Reason::NothingToSend),
    }
}

/// Takes whatever waits about an offer out of the outbox.
pub(super) fn drop_waiting(draft: &mut Draft<'_>, device: &DeviceKey, offer: OfferId) {
    draft.effect(Effect::DropOffer { device: device.clone(), offer });
}
