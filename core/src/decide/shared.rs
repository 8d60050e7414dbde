//! Caps that all homes of a retailer share: looked at like any other, and taken from at the last instant,
//! when the offer leaves. Between the two another home may have been faster.

use super::draft::Draft;
use super::pipeline::decision_id;
use super::said::{Said, fact, said, said_of, text};
use super::steps::{Look, window_name};
use crate::budget::{Purse, Sending, SharedCap};
use crate::decision::Effect;
use crate::id::OfferId;
use crate::model::Contact;
use crate::rules::RuleSet;
use crate::time::{Span, Zone};
use crate::trace::{Fact, Phrase, StepVerdict};
use crate::trigger::{Cap, CapPer, CapWindow, Channel};
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
    let decision = decision_id(look.home, look.input, look.trigger, Some(look.wake.device));
    let sending = Sending {
        retailer: &look.trigger.retailer,
        trigger: &look.trigger.id,
        offer: look.wake.cause.held().unwrap_or_else(|| OfferId::derived(&[decision.bytes()])),
        at: look.now,
        caps: &caps,
        kept: sharing.longest,
    };
    if purse.send(&sending) {
        return None;
    }
    own.first().map(|cap| reached(cap, cap.max))
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
