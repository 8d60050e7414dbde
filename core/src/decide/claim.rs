//! Who a device belongs to: registration, the claim code, the move to its household.

use std::sync::Arc;

use super::draft::Draft;
use super::{Answered, Refusal, deadline, leave, stay, wake};
use crate::code::Code;
use crate::decision::{Change, Reply};
use crate::id::{DeviceKey, ModelId, MoveId, derive_bytes};
use crate::input::Join;
use crate::limits::{CLAIM_TTL, DEVICES_PER_HOUSEHOLD_MAX, MEMBERS_PER_HOUSEHOLD_MAX};
use crate::model::{Claim, Contact, Device, Few, Member, PresenceState};
use crate::time::Timestamp;
use crate::trigger::Moment;
use crate::wire::{ClaimUp, DownMessage};

/// The letters and digits of a claim code: none that look alike.
pub const CLAIM_ALPHABET: &[u8; 31] = b"23456789ABCDEFGHJKMNPQRSTUVWXYZ";
/// Characters of a claim code: 31^8 is more than 8 × 10^11, against five guesses in ten minutes.
pub const CLAIM_LENGTH: usize = 8;

pub(super) fn register(draft: &mut Draft<'_>, model: &ModelId, serial: Option<&str>, generation: u32) -> Answered {
    let Some(key) = draft.input.device.clone() else {
        return Err(Refusal::new(Code::DeviceUnknown, "a registration names its device"));
    };
    match draft.before().devices.get(&key) {
        Some(known) if generation > known.generation => {
            draft.change(Change::CredentialSet { device: key, generation, used: false });
            Ok(Reply::Done)
        }
        Some(_) => Ok(Reply::Unchanged),
        None => {
            let mut device = Device::registered(key, model.clone(), serial.map(str::to_owned), draft.now);
            device.generation = generation;
            draft.note(format!("registered as {model}"));
            draft.change(Change::DeviceSet(Box::new(device)));
            Ok(Reply::Done)
        }
    }
}

/// The device asks for a code. One that it shows already is shown again, so that a repeated
/// press does not make the code useless that somebody is typing.
pub(super) fn asked(draft: &mut Draft<'_>, key: &DeviceKey, said: ClaimUp) -> Answered {
    let now = draft.now;
    let home = draft.before();
    let Some(device) = home.devices.get(key) else { return Ok(Reply::Unchanged) };
    let presence = match said {
        ClaimUp::Cancel => {
            draft.change(Change::ClaimSet { device: key.clone(), claim: None });
            return Ok(Reply::Done);
        }
        ClaimUp::Start { presence } => presence,
    };
    if home.link_of(key).is_some() && !presence {
        draft.say(key, DownMessage::ClaimRefused { error: Code::ClaimAlreadyLinked }, Some(now + CLAIM_TTL));
        draft.note("refused: the device is linked, and nobody was shown to be at it");
        return Ok(Reply::Done);
    }
    let claim = match &device.claim {
        Some(claim) if claim.expires_at > now && claim.presence == presence => claim.clone(),
        _ => {
            let claim = Claim { code: code(draft, key), expires_at: now + CLAIM_TTL, presence };
            draft.change(Change::ClaimSet { device: key.clone(), claim: Some(claim.clone()) });
            claim
        }
    };
    draft.say(key, DownMessage::ClaimCode { code: claim.code, expires_at: claim.expires_at }, Some(claim.expires_at));
    Ok(Reply::Done)
}

/// Eight characters from the input's entropy. 248 is the largest multiple of 31 in a byte:
/// bytes above it are skipped, so that no character is likelier than another.
fn code(draft: &Draft<'_>, key: &DeviceKey) -> String {
    let entropy = draft.input.entropy.to_be_bytes();
    let mut code = String::with_capacity(CLAIM_LENGTH);
    for round in 0u8.. {
        let bytes =
            derive_bytes("claim code", &[&entropy, draft.input.id.bytes(), key.to_string().as_bytes(), &[round]]);
        for byte in bytes.into_iter().filter(|byte| *byte < 248) {
            if code.len() < CLAIM_LENGTH {
                code.push(char::from(CLAIM_ALPHABET[usize::from(byte % 31)]));
            }
        }
        if code.len() == CLAIM_LENGTH {
            break;
        }
    }
    code
}

/// The retailer's backend confirms the code for its signed-in customer; for a guest with the end of the stay.
pub(super) fn confirmed(
    draft: &mut Draft<'_>,
    key: &DeviceKey,
    code: &str,
    join: &Join,
    until: Option<Timestamp>,
) -> Answered {
    let now = draft.now;
    let home = draft.before();
    let expired = || {
        Refusal::new(Code::ClaimExpired, "the code is unknown, used or too old; let the device show a new one")
            .at("/code")
    };
    // A stolen device is claimed by nobody, and who tries learns nothing of it.
    let device = home.devices.get(key).filter(|device| device.suspended.is_none()).ok_or_else(expired)?;
    let claim = device.claim.as_ref().ok_or_else(expired)?;
    if claim.code != code || claim.expires_at <= now {
        return Err(expired());
    }
    if home.link_of(key).is_some() && !claim.presence {
        let message = "the device is linked; it must show that somebody is at it (`claim/start` with presence)";
        return Err(Refusal::new(Code::ClaimAlreadyLinked, message));
    }
    stay::check(device, until, now)?;
    draft.change(Change::ClaimSet { device: key.clone(), claim: None });
    stay::begins(draft, key, until);
    hand_over(draft, key, join)
}

/// A link without a code, for a fleet that exists already. The same guest again may leave earlier or later.
pub(super) fn linked_directly(
    draft: &mut Draft<'_>,
    key: &DeviceKey,
    join: &Join,
    until: Option<Timestamp>,
) -> Answered {
    let home = draft.before();
    let Some(device) = home.devices.get(key) else { return Ok(Reply::Unchanged) };
    if let Some(link) = home.link_of(key) {
        if home.id == join.household && link.profile == join.member.profile {
            stay::check(device, until, draft.now)?;
            stay::begins(draft, key, until.filter(|until| device.stay_until() != Some(*until)));
            return Ok(Reply::Linked { link: link.id, household: home.id });
        }
        return Err(Refusal::new(Code::ClaimAlreadyLinked, format!("`{key}` is linked already; release it first")));
    }
    if device.is_stolen() {
        return Err(Refusal::new(Code::DeviceSuspended, format!("`{key}` is suspended")));
    }
    stay::check(device, until, draft.now)?;
    stay::begins(draft, key, until);
    hand_over(draft, key, join)
}

/// Gives the device to its household: here at once, or as a move.
fn hand_over(draft: &mut Draft<'_>, key: &DeviceKey, join: &Join) -> Answered {
    let home = draft.before();
    if home.id == join.household {
        return settle(draft, key, join);
    }
    let was_linked = home.link_of(key).is_some();
    if was_linked {
        draft.note("taken over: the former link ends, the former owner's data is to be wiped");
    }
    leave::depart(draft, key, join.household, Some(join), was_linked)
}

/// A device arrives from another household; each move is applied once.
pub(super) fn arrived(
    draft: &mut Draft<'_>,
    id: MoveId,
    device: &Device,
    join: Option<&Join>,
    contacts: &[Contact],
) -> Answered {
    let home = draft.before();
    if home.arrived.contains(&id) {
        let link = join.map(|join| Reply::Linked { link: join.link, household: home.id });
        return Ok(link.unwrap_or(Reply::Unchanged));
    }
    if !home.devices.contains_key(&device.key) && home.devices.len() >= DEVICES_PER_HOUSEHOLD_MAX {
        draft.note(format!("the household holds more than {DEVICES_PER_HOUSEHOLD_MAX} devices"));
    }
    draft.change(Change::Arrived(id));
    draft.change(Change::DeviceSet(Box::new(device.clone())));
    // What it was told as a prospect counts under the caps of who takes it.
    for contact in contacts {
        draft.change(Change::ContactSet(contact.clone()));
    }
    if device.wipe_pending && device.presence.state == PresenceState::Online {
        draft.say(&device.key, DownMessage::Wipe, None);
    }
    match join {
        Some(join) => settle(draft, &device.key, join),
        None => Ok(Reply::Done),
    }
}

/// Makes the link in this household, and tells the device and the triggers that wait for it.
fn settle(draft: &mut Draft<'_>, key: &DeviceKey, join: &Join) -> Answered {
    let now = draft.now;
    make_link(draft, key, join);
    draft.note("linked");
    let is_seen = draft.device(key).is_some_and(|device| device.presence.state != PresenceState::Unseen);
    if is_seen {
        // A device of an existing fleet that never connected learns it by `up/sync`.
        let message = DownMessage::ClaimLinked { display_name: join.member.display_name.clone() };
        draft.say(key, message, Some(now + CLAIM_TTL));
    }
    wake::by_moment(draft, key, Moment::Linked);
    deadline::begin(draft, key);
    Ok(Reply::Linked { link: join.link, household: draft.home().id })
}

/// The person, the link, and what they consented to.
pub(super) fn make_link(draft: &mut Draft<'_>, key: &DeviceKey, join: &Join) {
    let now = draft.now;
    let home = draft.home();
    let known = home.members.get(&join.member.profile).cloned();
    if known.is_none() && home.members.len() >= MEMBERS_PER_HOUSEHOLD_MAX {
        draft.note(format!("the household has more than {MEMBERS_PER_HOUSEHOLD_MAX} people"));
    }
    let member = match &known {
        Some(known) => joined(known, &join.member),
        None => Member { consents: Few::new(), ..join.member.clone() },
    };
    let words = join.member.consents.iter().filter(|(purpose, record)| {
        known.as_ref().and_then(|known| known.consents.get(purpose)).is_none_or(|old| old.yields_to(record))
    });
    let home = draft.home();
    let (zone, locale) =
        (home.zone.clone().unwrap_or_else(|| join.zone.clone()), home.locale.clone().or_else(|| join.locale.clone()));
    draft.change(Change::HomeSet { retailer: Some(join.retailer.clone()), zone: Some(zone), locale });
    draft.change(Change::MemberSet(Arc::new(member)));
    // One by one: each is a word of its own, with its proof.
    for (purpose, record) in words {
        let (profile, record) = (join.member.profile.clone(), record.clone());
        draft.change(Change::ConsentSet { profile, purpose: *purpose, record });
    }
    draft.change(Change::LinkSet(join.link_for(key, now)));
}

/// A person who lives here already: the stronger role, and the words that are known of them.
fn joined(known: &Member, coming: &Member) -> Member {
    let mut member = Member { role: known.role.min(coming.role), consents: known.consents.clone(), ..coming.clone() };
    member.segments = known.segments.union(&coming.segments).cloned().collect();
    member
}
