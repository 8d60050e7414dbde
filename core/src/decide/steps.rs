//! The steps of the pipeline that look at facts and rules, one function each. What is proposed, in
//! which words and where, is for `render`.

use super::foreseen::foreseen;
use super::habit::{self, HourOfUse};
use super::mandate::Permission;
use super::pipeline::{Cause, Hold, Wake};
use super::render::Proposal;
use super::said::{Said, block, fact, not_configured, pass, said, said_of, seconds, skipped, text};
use super::shared;
use super::supply::Spares;
use super::watched::trend_of;
use super::{audiences, controls};
use crate::budget::Purse;
use crate::input::Input;
use crate::limits::{OVERDUE_AFTER, QUIET_END_JITTER, SLOT_STALE_AFTER};
use crate::model::{Contact, Device, DeviceDescription, Household, OfferState};
use crate::rules::RuleSet;
use crate::time::{Span, Timestamp};
use crate::trace::{Fact, Phrase, StepVerdict};
use crate::trigger::{Cap, CapPer, CapScope, CapWindow, Channel, Replenish, Scope, Source, Trigger, Truth};
use crate::words::Reason;

/// Why an offer ended whose customer uses another brand.
pub(super) const OTHER_BRAND: &str = "other brand";
/// How long a product is not proposed to who uses another brand.
pub(super) const OTHER_BRAND_SILENCE: Span = Span::days(90);
/// How long a product is not proposed after its money came back: long enough that who gave it back is not asked about
/// the same thing in the same season.
pub(super) const REFUND_SILENCE: Span = Span::days(90);

/// What the steps look at.
pub(super) struct Look<'l> {
    pub(super) home: &'l Household,
    pub(super) rules: &'l RuleSet,
    pub(super) trigger: &'l Trigger,
    pub(super) wake: &'l Wake<'l>,
    pub(super) input: &'l Input,
    pub(super) now: Timestamp,
    pub(super) device: &'l Device,
    pub(super) can: &'l DeviceDescription,
}

impl<'l> Look<'l> {
    /// Whether the slot's evidence is too old, or its sensor too dull, to act on without asking.
    pub(super) fn is_stale(&self) -> bool {
        let Some(slot) = self.wake.slot else { return true };
        let is_old = self.device.slots.get(slot).is_none_or(|state| self.now - state.t > SLOT_STALE_AFTER);
        let seen = foreseen(self.home, self.rules, &self.device.key, slot, self.now);
        is_old || seen.is_ok_and(|seen| seen.is_stuck())
    }
    pub(super) fn scope(&self) -> Scope<'l> {
        Scope {
            household: self.home,
            device: self.device,
            description: self.can,
            slot: self.wake.slot,
            event: self.wake.event,
            now: self.now,
        }
    }
    /// The trend that the trigger watches, where it watches one and it is known, and over what.
    fn trend(&self) -> Option<(f64, Span)> {
        let Source::Trend { over, .. } = &self.trigger.on.source else { return None };
        Some((trend_of(self.home, self.device, &self.trigger.on)?.current()?, *over))
    }
}

pub(super) fn dedup(look: &Look<'_>) -> Said {
    match &look.input.message {
        Some(id) => {
            said(StepVerdict::Pass, Reason::FirstSeen, vec![fact("message", Fact::Text(id.to_string().into()))])
        }
        None => pass(Reason::NoMessageId),
    }
}

pub(super) fn age(look: &Look<'_>) -> Said {
    let age = look.now - look.wake.at;
    let max = look.trigger.max_event_age;
    let mut numbers = vec![seconds("age_s", age), seconds("max_s", max), fact("at", Fact::At(look.wake.at))];
    let reason = match look.wake.cause {
        Cause::Held(_) => return pass(Reason::HourHasCome),
        Cause::Armed => return pass(Reason::EdgeHolds),
        _ if age > max => {
            return said_of(StepVerdict::Block, Reason::EventTooOld, format_args!("{age} of at most {max}"), numbers);
        }
        Cause::Foreseen => return runs_out(look),
        Cause::Edge if let Some((slope, over)) = look.trend() => {
            numbers.extend([fact("slope", Fact::Real(slope)), seconds("over_s", over)]);
            Reason::Trending
        }
        Cause::Edge | Cause::Event => Reason::RecentEnough,
        Cause::Activated => Reason::Activated,
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

/// The forecast that woke it, with its dates.
fn runs_out(look: &Look<'_>) -> Said {
    let slot = look.wake.slot.and_then(|slot| {
        foreseen(look.home, look.rules, &look.device.key, slot, look.now).ok().map(|seen| (slot, seen))
    });
    let Some((slot, seen)) = slot else { return pass(Reason::HourHasCome) };
    let plan = look.trigger.replenish.unwrap_or(Replenish::DEFAULT);
    let mut numbers = vec![
        text("slot", slot.to_string()),
        fact("p10", Fact::At(seen.empty(0.1))),
        fact("p50", Fact::At(seen.empty(0.5))),
        fact("p90", Fact::At(seen.empty(0.9))),
        fact("order_by", Fact::At(seen.order_by(&plan))),
    ];
    numbers.extend(zone_of(look));
    said(StepVerdict::Pass, Reason::RunsOut, numbers)
}

pub(super) fn validity(look: &Look<'_>) -> Said {
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

pub(super) fn suspension(look: &Look<'_>) -> Said {
    match &look.device.suspended {
        Some(why) => said_of(StepVerdict::Block, Reason::DeviceSuspended, why, vec![text("why", why.clone())]),
        None => pass(Reason::NotSuspended),
    }
}

pub(super) fn link(look: &Look<'_>) -> Said {
    if look.device.wipe_pending {
        return block(Reason::WipePending);
    }
    match look.home.link_of(&look.device.key) {
        Some(_) if look.home.retailer.as_ref() != Some(&look.trigger.retailer) => block(Reason::OtherRetailer),
        Some(link) => {
            let mut numbers = vec![fact("since", Fact::At(link.since)), text("role", link.role.as_str())];
            // Should the merge be taken back, this tells what was said because of it.
            let merged = look.home.merges.iter().find(|merged| merged.concerns(link));
            numbers.extend(merged.map(|merged| text("merged_context", merged.id.to_string())));
            said(StepVerdict::Pass, Reason::Linked, numbers)
        }
        None if look.trigger.link_required => block(Reason::NotLinked),
        None => pass(Reason::LinkNotAsked),
    }
}

pub(super) fn consent(look: &Look<'_>) -> Said {
    let mut numbers = Vec::new();
    for purpose in &look.trigger.consent {
        match look.home.consent_for(look.rules, &look.device.key, *purpose, look.now) {
            Some(record) => numbers.push(fact(purpose.as_str(), Fact::At(record.at))),
            None => {
                numbers.push(text("purpose", purpose.as_str()));
                let mut words = look.home.words_on(&look.device.key, *purpose);
                let outdated = words.find(|record| {
                    record.is_live(look.now) && look.rules.asks_again(look.home.retailer.as_ref(), *purpose, record)
                });
                let reason = match outdated {
                    Some(record) => {
                        numbers.push(fact("granted_at", Fact::At(record.at)));
                        numbers.extend(zone_of(look));
                        Reason::TextAsksAgain
                    }
                    None => Reason::NoConsent,
                };
                return said_of(StepVerdict::Block, reason, purpose.as_str(), numbers);
            }
        }
    }
    said(StepVerdict::Pass, Reason::ConsentGranted, numbers)
}

pub(super) fn controls(look: &Look<'_>) -> Said {
    let silence = controls::silence(look.home, look.device, look.trigger.kind.as_str(), look.now);
    let silence = silence.or_else(|| controls::often(look.home, look.device, look.wake.cause.held(), look.now));
    silence.map_or_else(|| pass(Reason::NoPause), |silence| silence.said(look.home.zone.as_ref()))
}

pub(super) fn audience(look: &Look<'_>) -> Said {
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
    let segment = look.trigger.include.iter().find(|segment| has(segment));
    if segment.is_none() && !look.trigger.include.is_empty() {
        let segments = look.trigger.include.join(", ");
        return said_of(StepVerdict::Block, Reason::NotIncluded, &segments, vec![text("segments", segments.clone())]);
    }
    match (audiences::said(look), segment) {
        (Some(said), _) => said,
        (None, Some(segment)) => said(StepVerdict::Pass, Reason::InSegment, vec![text("segment", segment.clone())]),
        (None, None) => not_configured(Reason::Everybody),
    }
}

pub(super) fn conditions(look: &Look<'_>) -> Said {
    let Some(condition) = &look.trigger.when else { return not_configured(Reason::NoCondition) };
    let evaluation = condition.evaluate(&look.scope());
    let failing = evaluation.failing().into_iter().next();
    let wrong = failing.map(|leaf| leaf.source.clone()).unwrap_or_default();
    let mut leaves: Vec<_> =
        evaluation.leaves.iter().map(|leaf| fact("leaf", Fact::Text(leaf.told().into()))).collect();
    if let Some(leaf) = failing {
        leaves.push(text("condition", leaf.text.to_string()));
        leaves.extend(leaf.value.as_ref().map(|value| text("found", value.to_string())));
    }
    match evaluation.truth {
        Truth::True => said(StepVerdict::Pass, Reason::AllHold, leaves),
        Truth::False => said_of(StepVerdict::Block, Reason::ConditionFails, wrong, leaves),
        Truth::Unknown => said_of(StepVerdict::Block, Reason::ConditionUnknown, wrong, leaves),
    }
}

pub(super) fn suppression(look: &Look<'_>, product: Option<&crate::id::ProductId>, spares: Option<Spares>) -> Said {
    if let Some(product) = product {
        if let Some(Spares::Counted(spares)) = spares {
            let numbers = vec![fact("spares", Fact::Int(spares.into())), text("product", product.to_string())];
            return said_of(StepVerdict::Block, Reason::SparesAtHome, spares, numbers);
        }
        if let Some(said) = within(other_brand(look, product), OTHER_BRAND_SILENCE, look, Reason::OtherBrand) {
            return said;
        }
        let bought = |order: &crate::model::Order| order.lines.iter().any(|line| line.product == *product);
        if let Some(order) = look.home.orders.values().filter(|order| bought(order)).find(|order| order.state.is_open())
        {
            let numbers = vec![
                fact("order", Fact::Text(order.id.to_string().into())),
                fact("state", Fact::Text(order.state.as_str().into())),
            ];
            return said(StepVerdict::Block, Reason::OpenOrder, numbers);
        }
        let given_back = look.home.orders.values().filter_map(|order| order.refunded_at(product)).max();
        if let Some((verdict, reason, mut numbers)) = within(given_back, REFUND_SILENCE, look, Reason::JustRefunded) {
            numbers.push(text("product", product.to_string()));
            return (verdict, reason, numbers);
        }
        if let Some(silence) = look.trigger.after.ordered {
            let orders = look.home.orders.values().filter(|order| bought(order));
            let last = orders.filter(|order| order.state.is_purchase());
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
            .filter(|change| matches!(&*change.cause, "not needed" | OTHER_BRAND) == (cause == "not needed"))
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
    match spares {
        Some(Spares::Doubted(spares)) => {
            said(StepVerdict::Pass, Reason::SparesDoubted, vec![fact("spares", Fact::Int(spares.into()))])
        }
        _ => pass(Reason::NothingLately),
    }
}

/// When the customer last said that they use another brand than a product.
fn other_brand(look: &Look<'_>, product: &crate::id::ProductId) -> Option<Timestamp> {
    let about =
        look.home.offers.values().filter(|offer| offer.item.as_ref().is_some_and(|item| item.product == *product));
    let said = about.filter(|offer| offer.state == OfferState::Declined).filter_map(|offer| offer.history.last());
    said.filter(|change| *change.cause == *OTHER_BRAND).map(|change| change.at).max()
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

pub(super) fn caps(look: &Look<'_>, rules: &RuleSet, purse: &dyn Purse) -> Said {
    if look.trigger.caps.is_empty() {
        return not_configured(Reason::NoCap);
    }
    let (mut numbers, mut is_asked) = (Vec::new(), true);
    for cap in look.trigger.caps.iter().filter(|cap| cap.scope != CapScope::Global) {
        let times = contacts(cap, look);
        let elsewhere = shared::elsewhere(look, cap, purse);
        // What the home heard by itself may be enough.
        is_asked &= elsewhere.is_some();
        let elsewhere = elsewhere.unwrap_or(0);
        let made = times.len() + elsewhere as usize;
        numbers.push(fact("made", Fact::Int(made as i64)));
        if elsewhere > 0 {
            numbers.push(fact("elsewhere", Fact::Int(elsewhere.into())));
        }
        numbers.push(fact("max", Fact::Int(i64::from(cap.max))));
        if made >= cap.max as usize {
            let detail = format!("{} {made} of {} {}", scope_name(cap.scope), cap.max, window_name(cap.window));
            // When the other homes' contacts end is not this one's to tell.
            let frees = if elsewhere == 0 { frees(cap, &times, look) } else { None };
            numbers.extend(frees.map(|at| fact("frees", Fact::At(at))));
            numbers.push(text("scope", scope_name(cap.scope)));
            numbers.push(text("window", window_name(cap.window)));
            numbers.extend(zone_of(look));
            return said_of(StepVerdict::Block, Reason::CapReached, detail, numbers);
        }
    }
    if !is_asked {
        return said(StepVerdict::Skipped, Reason::ElsewhereNotAsked, numbers);
    }
    // What all homes share is asked for last: of a home that is silent anyway nobody needs to know.
    match shared::caps(look, rules, purse, &mut numbers) {
        Some(said) => said,
        None => said(StepVerdict::Pass, Reason::RoomUnderCaps, numbers),
    }
}

/// The home's own contacts that one of its caps counts.
pub(super) fn contacts(cap: &Cap, look: &Look<'_>) -> Vec<Timestamp> {
    let own = look.wake.cause.held();
    look.home
        .contacts
        .iter()
        .filter(|contact| Some(contact.offer) != own)
        .filter(|contact| counts(cap, contact, look))
        .filter(|contact| cap.scope != CapScope::Device || contact.device == look.device.key)
        .map(|contact| contact.at)
        .filter(|at| in_window(cap, *at, look))
        .collect()
}

/// When there is room again under a cap that these contacts fill, oldest first.
fn frees(cap: &Cap, times: &[Timestamp], look: &Look<'_>) -> Option<Timestamp> {
    let oldest = *times.iter().rev().nth(cap.max.max(1) as usize - 1)?;
    Some(match (cap.window, &look.home.zone) {
        (CapWindow::Within(window), _) => oldest + window,
        (CapWindow::EachDay, Some(zone)) => zone.next(oldest, jiff::civil::Time::midnight()),
        (CapWindow::EachDay, None) => oldest + Span::days(1),
    })
}

/// Whether a cap of the home counts a contact. Every contact is one on a device: nothing else reaches
/// a home yet.
fn counts(cap: &Cap, contact: &Contact, look: &Look<'_>) -> bool {
    match cap.per {
        CapPer::Offer => contact.trigger == look.trigger.id,
        CapPer::Channel(Channel::Device) | CapPer::All => true,
        CapPer::Channel(Channel::Webhook) => false,
    }
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
        CapScope::Global => "global",
    }
}

pub(super) fn window_name(window: CapWindow) -> String {
    match window {
        CapWindow::Within(span) => format!("in {span}"),
        CapWindow::EachDay => "today".to_owned(),
    }
}

/// Whether now is an hour to speak: outside the quiet hours, and where the trigger waits for it, in an hour in which
/// the device is used.
pub(super) fn quiet(look: &Look<'_>) -> (Said, Option<Hold>) {
    let windows = controls::quiet_windows(look.home, look.device, look.trigger.quiet);
    let waits_for_use = look.trigger.at_hour_of_use;
    if windows.is_empty() && !waits_for_use {
        return (not_configured(Reason::NoQuietHours), None);
    }
    let Some(zone) = &look.home.zone else {
        // Without quiet hours nobody asked for silence; what waits for an hour of use goes at once where none is known.
        let said = if windows.is_empty() { pass(Reason::NoHourOfUse) } else { block(Reason::ZoneUnknown) };
        return (said, None);
    };
    // Spread, so that not every home of a street lights up in the same second; and never into quiet again.
    let spread = look.home.id.bytes().iter().take(4).fold(0i64, |sum, byte| sum * 256 + i64::from(*byte));
    let spread = |at: Timestamp| {
        let at = at + Span(spread % QUIET_END_JITTER.0);
        controls::quiet_until(&windows, zone, at).unwrap_or(at)
    };
    let quiet_end = controls::quiet_until(&windows, zone, look.now).map(spread);
    let hour = match waits_for_use {
        true => habit::hour_of_use(look, zone, &windows, quiet_end.unwrap_or(look.now)),
        false => HourOfUse::NotAsked,
    };
    let zone_name = text("zone", zone.to_string());
    match (quiet_end, hour) {
        (_, HourOfUse::At { at, usual }) => {
            let until = spread(at);
            let numbers = vec![fact("until", Fact::At(until)), fact("hour", Fact::Int(usual.into())), zone_name];
            let hold = Hold { until, why: "hour of use" };
            (said(StepVerdict::Hold, Reason::WaitsForUse, numbers), Some(hold))
        }
        (Some(until), _) => {
            let local = zone.local(look.now);
            let window = windows.iter().find(|window| window.contains(local)).map(ToString::to_string);
            let words = format_args!("{} {zone}", window.unwrap_or_default());
            let numbers = vec![fact("until", Fact::At(until)), zone_name];
            let hold = Hold { until, why: "quiet hours" };
            (said_of(StepVerdict::Hold, Reason::QuietHours, words, numbers), Some(hold))
        }
        (None, HourOfUse::Now) => (pass(Reason::HourOfUse), None),
        (None, HourOfUse::Unknown) => (pass(Reason::NoHourOfUse), None),
        (None, HourOfUse::NotAsked) => (pass(Reason::OutsideQuiet), None),
    }
}

/// Drawn where the offer would leave, so that what waits for its hour is not yet counted.
pub(super) fn holdout(look: &Look<'_>, waits: bool) -> Said {
    let Some(holdout) = &look.trigger.holdout else { return not_configured(Reason::NoHoldout) };
    if waits {
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

pub(super) fn send(
    is_blocked: bool,
    hold_until: Option<Timestamp>,
    proposal: Option<&Proposal>,
    permission: Option<&Permission>,
) -> Said {
    match (is_blocked, hold_until, proposal) {
        (false, None, Some(proposal)) if permission.is_some() => {
            let mut told = permission.map(|permission| permission.said.clone()).unwrap_or_else(|| pass(Reason::SentTo));
            told.2.push(text("placement", proposal.placement().to_string()));
            told
        }
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
