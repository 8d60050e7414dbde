//! The current set in one message: what a device asks for at its birth.

use super::draft::Draft;
use super::offer::{Welcome, welcome};
use super::{Answered, REPLY_TTL, device};
use crate::decision::Reply;
use crate::id::DeviceKey;
use crate::model::{Device, Household, OfferState};
use crate::wire::{DownMessage, SyncDown, SyncUp};

/// `none`, `linked` or `wipe_pending`.
pub(super) fn link_state(home: &Household, device: &Device) -> &'static str {
    match (device.wipe_pending, home.link_of(&device.key)) {
        (true, _) => "wipe_pending",
        (false, Some(_)) => "linked",
        (false, None) => "none",
    }
}

pub(super) fn current_set(draft: &mut Draft<'_>, key: &DeviceKey, said: &SyncUp) -> Answered {
    device::measure_clock(draft, key, None);
    answer(draft, key, &said.want)
}

pub(super) fn offers_now(draft: &mut Draft<'_>, key: &DeviceKey) -> Answered {
    answer(draft, key, &["offers".to_owned()])
}

fn answer(draft: &mut Draft<'_>, key: &DeviceKey, want: &[String]) -> Answered {
    let now = draft.now;
    let home = draft.before();
    let Some(known) = home.devices.get(key) else { return Ok(Reply::Unchanged) };
    let link = link_state(home, known);
    let is_linked = link == "linked";
    let mut offers: Vec<_> = home
        .offers
        .values()
        .filter(|offer| is_linked && offer.device == *key)
        .filter(|offer| offer.state.is_said())
        .map(|offer| (**offer).clone())
        .collect();
    // Quiet hours hold an offer that nobody has seen; one that is on the screen stays there.
    offers.retain(|offer| match welcome(draft, offer) {
        Welcome::Yes => true,
        Welcome::Later(_) => offer.state != OfferState::Sent,
        Welcome::No(_) | Welcome::Unwanted(_) => false,
    });
    offers.sort_by_key(|offer| (std::cmp::Reverse(offer.priority), offer.id));
    let owner = home.link_of(key).and_then(|link| home.members.get(&link.profile)).filter(|_| is_linked);
    let message = SyncDown {
        t: now,
        zone: home.zone.clone().filter(|_| is_linked),
        link: link.to_owned(),
        display_name: owner.map(|owner| owner.display_name.clone()),
        household: home.id,
        offers,
        orders: home
            .orders
            .values()
            .filter(|order| is_linked && order.device == *key && order.state.is_open())
            .map(|order| (**order).clone())
            .collect(),
        consents: owner.map_or_else(Vec::new, |owner| owner.consents.iter().map(|(p, r)| (*p, r.clone())).collect()),
        profile: owner.map(|owner| owner.profile.clone()),
        want: want.to_vec(),
    };
    draft.say(key, DownMessage::Sync(Box::new(message)), Some(now + REPLY_TTL));
    Ok(Reply::Done)
}
