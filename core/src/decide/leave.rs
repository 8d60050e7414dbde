//! The end of a link: reset on the device, release by the owner, take-over, decommission.

use super::draft::Draft;
use super::{Answered, REPLY_TTL, mandate, offer, stay};
use crate::decision::{Change, Effect, Reply};
use crate::id::{DeviceKey, HouseholdId, MoveId, base32, derive_bytes};
use crate::input::Join;
use crate::model::{Contact, Device, Few, SHARED_PUBLIC};
use crate::wire::{DownMessage, LifecycleUp};

pub(super) fn lifecycle(draft: &mut Draft<'_>, key: &DeviceKey, said: LifecycleUp) -> Answered {
    match said {
        LifecycleUp::Reset { factory, .. } => reset(draft, key, factory),
        LifecycleUp::Wiped => wiped(draft, key),
        LifecycleUp::Decommission => decommission(draft, key),
    }
}

/// The person reset the device: it wiped itself, so nothing is owed; it is a prospect again.
fn reset(draft: &mut Draft<'_>, key: &DeviceKey, factory: bool) -> Answered {
    let Some(device) = draft.before().devices.get(key) else { return Ok(Reply::Unchanged) };
    draft.note(if factory { "factory reset" } else { "user reset" });
    draft.change(Change::WipePending { device: key.clone(), pending: false });
    if factory {
        // It forgot its secret: the next provisioning of its serial gives the next generation.
        draft.change(Change::CredentialSet { device: key.clone(), generation: device.generation, used: false });
    }
    go_home(draft, key, false)
}

fn wiped(draft: &mut Draft<'_>, key: &DeviceKey) -> Answered {
    let Some(device) = draft.before().devices.get(key) else { return Ok(Reply::Unchanged) };
    if !device.wipe_pending {
        return Ok(Reply::Unchanged);
    }
    let receipt = derive_bytes("wipe receipt", &[draft.before().id.bytes(), draft.input.id.bytes()]);
    let receipt = format!("rc_{}", base32(&receipt[..15]));
    draft.note(format!("wiped, receipt {receipt}"));
    draft.change(Change::WipePending { device: key.clone(), pending: false });
    draft.say(key, DownMessage::Released { receipt }, Some(draft.now + REPLY_TTL));
    Ok(Reply::Done)
}

fn decommission(draft: &mut Draft<'_>, key: &DeviceKey) -> Answered {
    let reason = "decommissioned".to_owned();
    draft.change(Change::SuspendedSet { device: key.clone(), reason: Some(reason) });
    go_home(draft, key, false)
}

/// The owner gave the device away without a reset: the link ends at once, the wipe is owed.
pub(super) fn released(draft: &mut Draft<'_>, key: &DeviceKey) -> Answered {
    if draft.before().link_of(key).is_none() {
        return Ok(Reply::Unchanged);
    }
    draft.note("released by its owner");
    given_back(draft, key)
}

/// It goes back to nobody, and owes a wipe.
pub(super) fn given_back(draft: &mut Draft<'_>, key: &DeviceKey) -> Answered {
    go_home(draft, key, true)
}

/// Another unit took its place: it leaves with nothing, and nobody listens to it any more.
pub(super) fn retired(draft: &mut Draft<'_>, key: &DeviceKey) -> Answered {
    draft.effect(Effect::Disconnect { device: key.clone(), reason: "replaced".to_owned() });
    go_home(draft, key, true)
}

/// Back to a household of its own.
fn go_home(draft: &mut Draft<'_>, key: &DeviceKey, wipe: bool) -> Answered {
    stay::ends(draft, key);
    let prospect = HouseholdId::prospect(key);
    if draft.before().id == prospect {
        let Some(device) = draft.device(key).cloned() else { return Ok(Reply::Unchanged) };
        draft.change(Change::DeviceSet(Box::new(without_history(&device, wipe))));
        return Ok(Reply::Done);
    }
    depart(draft, key, prospect, None, wipe)
}

/// Sends a device to another household: nothing of this one goes with it but the bare device.
/// Open orders stay here, with the people who made them.
pub(super) fn depart(
    draft: &mut Draft<'_>,
    key: &DeviceKey,
    to: HouseholdId,
    join: Option<&Join>,
    wipe: bool,
) -> Answered {
    let (from, seq) = (draft.before().id, draft.before().seq);
    let was_linked = draft.before().link_of(key).is_some();
    let Some(device) = draft.device(key).cloned() else { return Ok(Reply::Unchanged) };
    // First, so that what waits is gone and what is said from here on is not.
    draft.effect(Effect::DropAll { device: key.clone() });
    match was_linked {
        true => offer::forget_all_of(draft, key, "the device left"),
        false => offer::withdraw_all_of(draft, key, "the device left"),
    }
    mandate::end_all_of(draft, key);
    let device =
        if was_linked { without_history(&device, wipe) } else { Device { edges: Few::new(), claim: None, ..device } };
    let id = MoveId::derived(&[from.bytes(), &seq.to_be_bytes(), key.to_string().as_bytes()]);
    // What a prospect was told counts with its customer from here on; what a customer was told stays with them.
    let of_prospect = join.is_some() && !was_linked;
    let contacts = draft.home().contacts.iter().filter(|contact| of_prospect && contact.device == *key);
    let contacts: Vec<Contact> = contacts.cloned().collect();
    for contact in &contacts {
        draft.change(Change::ContactReleased(contact.offer));
    }
    draft.change(Change::DeviceLeft { device: key.clone(), to });
    let join = join.map(|join| Box::new(join.clone()));
    draft.effect(Effect::Move { id, to, device: Box::new(device), join, contacts });
    Ok(Reply::Moving { id, to })
}

/// The device without anything that its former people did with it. That guests share it is not theirs.
fn without_history(device: &Device, wipe: bool) -> Device {
    let mut context = Few::new();
    if let Some(sharing) = device.context.get(SHARED_PUBLIC) {
        context.insert(SHARED_PUBLIC.to_owned(), sharing.clone());
    }
    Device {
        reported: Few::new(),
        slots: Few::new(),
        context,
        edges: Few::new(),
        claim: None,
        wipe_pending: wipe,
        ..device.clone()
    }
}
