//! What the people at a device decide about being spoken to there. It is stronger than any trigger, and it is
//! looked at when an offer is decided, when one that waits comes to its hour, and before one is delivered.
//!
//! Several people may be linked to one device, and nobody knows who stands before it: the strictest word of those
//! who may buy there counts, and a flag of anybody who is linked.

use super::said::{Said, fact, said, said_of, text};
use crate::id::OfferId;
use crate::model::{DEVICE_CHANNEL, Device, Flag, Household, Preferences, Value};
use crate::time::{DailyWindow, Span, Timestamp, Zone};
use crate::trace::{Fact, Phrase, StepVerdict};
use crate::trigger::OfferKind;
use crate::words::Reason;

/// The entry of context by which a device says that it is with guests.
const GUEST: &str = "guest";
/// Windows of quiet that may follow each other without a gap; who sets more around the clock is looked at again
/// at the end of the last.
const WINDOWS_IN_A_ROW_MAX: usize = 8;
const WEEK: Span = Span::days(7);

/// Why a device keeps silent by the word of its people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Silence {
    /// Until then.
    Paused(Timestamp),
    /// Somebody who is linked is not to be sold to.
    Flagged(Flag),
    /// The device is with guests.
    Guests,
    /// It is not among the devices that may sell.
    DeviceNotChosen,
    /// Offers on devices are not among the channels that may be used.
    ChannelNotChosen,
    /// As many offers as they want were made.
    Often { made: usize, max: u8, weekly: bool, frees: Option<Timestamp> },
}

impl Silence {
    /// Why a live offer is taken back for it.
    pub(super) fn cause(self) -> &'static str {
        match self {
            Silence::Paused(_) => "paused",
            Silence::Flagged(_) => "marketing off",
            Silence::Guests => "guests",
            Silence::DeviceNotChosen => "device not chosen",
            Silence::ChannelNotChosen => "channel not chosen",
            Silence::Often { .. } => "often enough",
        }
    }
    /// What the step says.
    pub(super) fn said(self, zone: Option<&Zone>) -> Said {
        let block = |reason| said(StepVerdict::Block, reason, Vec::new());
        let zone = zone.map(|zone| text("zone", zone.to_string()));
        let at = |name, at| fact(name, Fact::At(at));
        match self {
            Silence::Paused(until) => {
                said(StepVerdict::Block, Reason::Paused, [at("until", until)].into_iter().chain(zone).collect())
            }
            Silence::Flagged(flag) => {
                let numbers = vec![text("flag", flag.as_str())];
                said_of(StepVerdict::Block, Reason::MarketingOff, flag.as_str(), numbers)
            }
            Silence::Guests => block(Reason::Guests),
            Silence::DeviceNotChosen => block(Reason::DeviceNotChosen),
            Silence::ChannelNotChosen => block(Reason::ChannelNotChosen),
            Silence::Often { made, max, weekly, frees } => {
                let window: Phrase = if weekly { "in 7d".into() } else { "today".into() };
                let numbers = [fact("made", Fact::Int(made as i64)), fact("max", Fact::Int(max.into()))];
                let numbers = numbers.into_iter().chain([text("window", window.clone())]);
                let numbers = numbers.chain(frees.map(|frees| at("frees", frees))).chain(zone).collect();
                said_of(StepVerdict::Block, Reason::OftenEnough, format_args!("{made} of {max} {window}"), numbers)
            }
        }
    }
}

/// The wishes of those who may buy at a device.
fn wishes<'h>(home: &'h Household, device: &'h Device) -> impl Iterator<Item = &'h Preferences> {
    let people = home.standings_at(&device.key).filter(|(link, _)| link.role.may_order());
    people.map(|(_, standing)| &standing.preferences)
}

/// Why nothing may be said on a device at `now`, not counting how often it was.
pub(super) fn silence(home: &Household, device: &Device, kind: &str, now: Timestamp) -> Option<Silence> {
    let pauses = wishes(home, device).filter_map(|wish| wish.pause_until).chain(home.paused_until);
    if let Some(until) = pauses.max().filter(|until| now < *until) {
        return Some(Silence::Paused(until));
    }
    // A notice about the device itself is no marketing.
    if kind != OfferKind::Service.as_str()
        && let Some(flag) = home.standings_at(&device.key).flat_map(|(_, standing)| standing.flags.iter()).next()
    {
        return Some(Silence::Flagged(*flag));
    }
    let guest = device.context.get(GUEST).filter(|entry| now < entry.until);
    if guest.is_some_and(|entry| entry.value == Value::Bool(true)) {
        return Some(Silence::Guests);
    }
    if wishes(home, device).any(|wish| wish.devices.as_ref().is_some_and(|chosen| !chosen.contains(&device.key))) {
        return Some(Silence::DeviceNotChosen);
    }
    if wishes(home, device).any(|wish| wish.channels.as_ref().is_some_and(|chosen| !chosen.contains(DEVICE_CHANNEL))) {
        return Some(Silence::ChannelNotChosen);
    }
    None
}

/// Whether one more offer would be more than the people at the device want. `own` is the offer itself, where it
/// was counted before.
pub(super) fn often(home: &Household, device: &Device, own: Option<OfferId>, now: Timestamp) -> Option<Silence> {
    let made = |since: &dyn Fn(Timestamp) -> bool| -> Vec<Timestamp> {
        let others = home.contacts.iter().filter(|contact| Some(contact.offer) != own);
        others.map(|contact| contact.at).filter(|at| since(*at)).collect()
    };
    let today = |at: Timestamp| match &home.zone {
        Some(zone) => zone.local(at).date() >= zone.local(now).date(),
        None => at > now - Span::days(1),
    };
    let this_week = |at: Timestamp| at > now - WEEK;
    if let Some(max) = wishes(home, device).filter_map(|wish| wish.per_day).min() {
        let made = made(&today).len();
        if made >= usize::from(max) {
            return Some(Silence::Often { made, max, weekly: false, frees: None });
        }
    }
    let max = wishes(home, device).filter_map(|wish| wish.per_week).min()?;
    let times = made(&this_week);
    let nth = usize::from(max).max(1) - 1;
    let frees = times.iter().rev().nth(nth).map(|at| *at + WEEK);
    (times.len() >= usize::from(max)).then_some(Silence::Often { made: times.len(), max, weekly: true, frees })
}

/// The hours in which a device keeps quiet: the trigger's and those of its people.
pub(super) fn quiet_windows(home: &Household, device: &Device, trigger: Option<DailyWindow>) -> Vec<DailyWindow> {
    let own = wishes(home, device).flat_map(|wish| wish.quiet.iter().copied());
    trigger.into_iter().chain(own).collect()
}

/// When the quiet ends that `now` lies in; none where it lies in none.
pub(super) fn quiet_until(windows: &[DailyWindow], zone: &Zone, now: Timestamp) -> Option<Timestamp> {
    let mut until = now;
    for _ in 0..WINDOWS_IN_A_ROW_MAX {
        let Some(window) = windows.iter().find(|window| window.contains(zone.local(until))) else { break };
        until = window.end(zone, until);
    }
    (until > now).then_some(until)
}
