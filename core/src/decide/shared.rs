//! Caps that all homes of a retailer share, or all homes of one person: looked at like any other, and taken from at the last instant,
//! when the offer leaves. Between the two another home may have been faster.

use super::draft::Draft;
use super::pipeline::decision_id;
use super::said::{Said, fact, said, said_of, text};
use super::steps::{Look, contacts, window_name};
use crate::budget::{Hearing, Purse, Sending, SharedCap, Speaking};
use crate::decision::Effect;
use crate::id::{OfferId, ProfileId};
use crate::model::Contact;
use crate::rules::RuleSet;
use crate::time::{Span, Timestamp, Zone};
use crate::trace::{Fact, Phrase, StepVerdict};
use crate::trigger::{Cap, CapPer, CapScope, CapWindow, Channel};
use crate::words::Reason;

/// What the step `caps` says of them: nothing where there is room.
pub(super) fn caps(
    look: &Look<'_>,
    rules: &RuleSet,
    purse: &dyn Purse,
    numbers: &mut Vec<(Phrase, Fact)>,
) -> Option<Said> {
    let zone = zone_of(look, rules);
    for cap in counting(look) {
        let Some(sent) = purse.sent(&look.trigger.retailer, &look.trigger.id, &at_now(cap, look, &zone)) else {
            return Some(said(StepVerdict::Skipped, Reason::CapNotAsked, std::mem::take(numbers)));
        };
        if sent >= cap.max {
            return Some(reached(cap, sent));
        }
        numbers.extend([fact("made", Fact::Int(sent.into())), fact("max", Fact::Int(cap.max.into()))]);
    }
    None
}

/// An offer is about to leave: it counts from here on for all homes, or another home was faster. What
/// its step says then.
pub(super) fn send(look: &Look<'_>, rules: &RuleSet, purse: &dyn Purse) -> Option<Said> {
    let sharing = rules.triggers.sharing(&look.trigger.retailer)?;
    let own: Vec<&Cap> = counting(look).collect();
    if own.is_empty() && !sharing.all {
        return None;
    }
    let zone = zone_of(look, rules);
    let caps: Vec<SharedCap> = own.iter().map(|cap| at_now(cap, look, &zone)).collect();
    let sending = Sending {
        retailer: &look.trigger.retailer,
        trigger: &look.trigger.id,
        offer: offer_id(look),
        at: look.now,
        caps: &caps,
        kept: sharing.longest,
    };
    if purse.send(&sending) {
        return None;
    }
    own.first().map(|cap| reached(cap, cap.max))
}

/// How often the people at the device heard something in their other homes, as a cap of the person's counts: of
/// several people the one who heard most. None where nobody may ask.
pub(super) fn elsewhere(look: &Look<'_>, cap: &Cap, purse: &dyn Purse) -> Option<u32> {
    let people = people(look);
    match (of_person(cap), &look.home.retailer) {
        (true, Some(_)) if !people.is_empty() => purse.elsewhere(&hearing(look, &people), &of_other_homes(cap, look)),
        _ => Some(0),
    }
}

/// An offer is about to leave to people who may have other homes: it counts from here on in those too, or one of
/// them was faster. What its step says then.
pub(super) fn speak(look: &Look<'_>, purse: &dyn Purse) -> Option<Said> {
    let people = people(look);
    let room = |cap: &Cap| {
        let made = u32::try_from(contacts(cap, look).len()).unwrap_or(u32::MAX);
        SharedCap { max: cap.max.saturating_sub(made), ..of_other_homes(cap, look) }
    };
    let own: Vec<&Cap> = look.trigger.caps.iter().filter(|cap| of_person(cap)).collect();
    if own.is_empty() || people.is_empty() || look.home.retailer.is_none() {
        return None;
    }
    let caps: Vec<SharedCap> = own.iter().map(|cap| room(cap)).collect();
    let speaking = Speaking { hearing: hearing(look, &people), offer: offer_id(look), at: look.now, caps: &caps };
    let reached = purse.speak(&speaking).err()?;
    let reached = own.get(reached).or(own.first())?;
    let detail = format!("profile {} of {} {}", reached.max, reached.max, window_name(reached.window));
    let numbers = vec![
        fact("made", Fact::Int(reached.max.into())),
        fact("max", Fact::Int(reached.max.into())),
        text("scope", "profile"),
        text("window", window_name(reached.window)),
    ];
    Some(said_of(StepVerdict::Block, Reason::CapReached, detail, numbers))
}

/// Whether a cap is one that follows a person from home to home.
fn of_person(cap: &Cap) -> bool {
    cap.scope == CapScope::Profile && cap.per != CapPer::Channel(Channel::Webhook)
}

fn people<'l>(look: &Look<'l>) -> Vec<&'l ProfileId> {
    let at_device = look.home.links.values().filter(|link| link.device == look.device.key);
    at_device.map(|link| &link.profile).collect()
}

fn hearing<'l>(look: &Look<'l>, people: &'l [&'l ProfileId]) -> Hearing<'l> {
    let (retailer, trigger) = (&look.trigger.retailer, &look.trigger.id);
    Hearing { household: look.home.id, retailer, people, trigger }
}

/// The window of a person's cap, by the clock of the home at hand. As in a home, what was made after now, before
/// the clock went back, counts.
fn of_other_homes(cap: &Cap, look: &Look<'_>) -> SharedCap {
    let from = match (cap.window, &look.home.zone) {
        (CapWindow::Within(window), _) => look.now - window + Span(1),
        (CapWindow::EachDay, Some(zone)) => zone.day_begins(look.now),
        (CapWindow::EachDay, None) => look.now - Span::days(1) + Span(1),
    };
    SharedCap { max: cap.max, own_only: cap.per == CapPer::Offer, from, until: Timestamp(i64::MAX) }
}

/// The offer that is about to leave.
fn offer_id(look: &Look<'_>) -> OfferId {
    let decision = decision_id(look.home, look.input, look.trigger, Some(look.wake.device));
    look.wake.cause.held().unwrap_or_else(|| OfferId::derived(&[decision.bytes()]))
}

/// An offer that nobody has seen ended: all homes have one more again.
pub(super) fn give_back(draft: &mut Draft<'_>, contact: &Contact) {
    let offer = draft.home().offers.get(&contact.offer);
    let Some(retailer) = offer.map(|offer| offer.retailer.clone()) else { return };
    if draft.rules.triggers.sharing(&retailer).is_some() {
        let (trigger, offer, at) = (contact.trigger.clone(), contact.offer, contact.at);
        draft.effect(Effect::Unsent { retailer, trigger, offer, at });
    }
}

/// The shared caps that count what leaves for a device: nothing leaves by webhook yet.
fn counting<'l>(look: &Look<'l>) -> impl Iterator<Item = &'l Cap> {
    look.trigger.shared_caps().filter(|cap| cap.per != CapPer::Channel(Channel::Webhook))
}

/// The shop's day counts, whatever the clocks of its homes say.
fn zone_of(look: &Look<'_>, rules: &RuleSet) -> Zone {
    rules.retailers.get(&look.trigger.retailer).map_or_else(Zone::utc, |retailer| retailer.zone.clone())
}

/// What a cap counts now. In elapsed time it looks ahead as far as back: then no stretch of time holds
/// more than its maximum, also after a clock that went back.
fn at_now(cap: &Cap, look: &Look<'_>, zone: &Zone) -> SharedCap {
    let (from, until) = match cap.window {
        CapWindow::Within(window) => (look.now - window + Span(1), look.now + window),
        CapWindow::EachDay => {
            let begins = zone.day_begins(look.now);
            (begins, zone.next(look.now, jiff::civil::Time::midnight()))
        }
    };
    SharedCap { max: cap.max, own_only: cap.per == CapPer::Offer, from, until }
}

fn reached(cap: &Cap, sent: u32) -> Said {
    let detail = format!("all homes {sent} of {} {}", cap.max, window_name(cap.window));
    let numbers = vec![
        fact("made", Fact::Int(sent.into())),
        fact("max", Fact::Int(cap.max.into())),
        text("scope", "global"),
        text("window", window_name(cap.window)),
    ];
    said_of(StepVerdict::Block, Reason::SharedCapReached, detail, numbers)
}
