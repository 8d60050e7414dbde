//! The people of a home: who joins, with which role, who leaves; and a device that takes the place of another.

use std::sync::Arc;

use super::draft::Draft;
use super::{Answered, Refusal, claim, consent, leave, offer, stay};
use crate::code::Code;
use crate::decision::{Change, Reply};
use crate::id::{DeviceKey, LinkId, MandateId, ProfileId};
use crate::input::Join;
use crate::limits::{MEMBERS_PER_HOUSEHOLD_MAX, STANDINGS_MAX};
use crate::model::{Household, Link, Mandate, Member, Preferences, Role, Standing};

fn not_allowed(message: impl Into<String>) -> Refusal {
    Refusal::new(Code::OfferNotAllowed, message)
}

/// What is known of a person changed. It may come before the person does: a claim says it first, so that the
/// first offer already knows.
pub(super) fn standing_set(draft: &mut Draft<'_>, profile: &ProfileId, standing: &Standing) -> Answered {
    let home = draft.before();
    let known = home.standings.get(profile);
    if known.map_or(standing.is_empty(), |known| **known == *standing) {
        return Ok(Reply::Unchanged);
    }
    if known.is_none() && home.standings.len() >= STANDINGS_MAX {
        let message = format!("a home knows of at most {STANDINGS_MAX} people");
        return Err(Refusal::new(Code::PayloadInvalid, message));
    }
    draft.note("what is known of a person changed");
    let standing = (!standing.is_empty()).then(|| Box::new(standing.clone()));
    draft.change(Change::StandingSet { profile: profile.clone(), standing });
    consent::withdraw_unwelcome(draft);
    Ok(Reply::Done)
}

/// One more person at a device of this home.
pub(super) fn added(draft: &mut Draft<'_>, key: &DeviceKey, join: &Join) -> Answered {
    let home = draft.before();
    if home.link_of(key).is_none() || home.id != join.household {
        return Err(Refusal::new(Code::DeviceNotLinked, "nobody is linked to this device who could invite somebody"));
    }
    let profile = &join.member.profile;
    if let Some(link) = home.links.values().find(|link| link.device == *key && link.profile == *profile) {
        return Ok(Reply::Linked { link: link.id, household: home.id });
    }
    if !home.members.contains_key(profile) && home.members.len() >= MEMBERS_PER_HOUSEHOLD_MAX {
        let message = format!("a home has at most {MEMBERS_PER_HOUSEHOLD_MAX} people");
        return Err(not_allowed(message));
    }
    draft.note(format!("a {} joins", join.role().as_str()));
    claim::make_link(draft, key, join);
    // A flag or a wish of theirs counts at this device from here on.
    consent::withdraw_unwelcome(draft);
    Ok(Reply::Linked { link: join.link, household: join.household })
}

/// Whether a home would be without an owner.
fn is_last_owner(home: &Household, profile: &ProfileId) -> bool {
    let mut owners = home.members.values().filter(|member| member.role == Role::Owner);
    home.members.get(profile).is_some_and(|member| member.role == Role::Owner)
        && owners.all(|owner| owner.profile == *profile)
}

/// A person may do something else with all that they are linked to.
pub(super) fn role_set(draft: &mut Draft<'_>, profile: &ProfileId, role: Role) -> Answered {
    let home = draft.before();
    let Some(member) = home.members.get(profile) else {
        return Err(not_allowed(format!("`{profile}` does not live here")));
    };
    if role != Role::Owner && is_last_owner(home, profile) {
        return Err(not_allowed("the last owner stays one; make somebody else owner first, or release the device"));
    }
    let links: Vec<Link> =
        home.links.values().filter(|link| link.profile == *profile && link.role != role).cloned().collect();
    if member.role == role && links.is_empty() {
        return Ok(Reply::Unchanged);
    }
    draft.note(format!("{} from here on", role.as_str()));
    draft.change(Change::MemberSet(Arc::new(Member { role, ..(**member).clone() })));
    for link in links {
        draft.change(Change::LinkSet(Link { role, ..link }));
    }
    if !role.may_order() {
        end_mandates(draft, |mandate| mandate.profile == *profile);
    }
    consent::withdraw_unwelcome(draft);
    Ok(Reply::Done)
}

/// A person leaves: one device, where the input names one, else the home. What they permitted ends with it; the
/// others and their devices stay.
pub(super) fn removed(draft: &mut Draft<'_>, profile: &ProfileId) -> Answered {
    let home = draft.before();
    let device = draft.input.device.as_ref();
    let theirs: Vec<&Link> = home.links.values().filter(|link| link.profile == *profile).collect();
    let ending: Vec<&&Link> = theirs.iter().filter(|link| device.is_none_or(|device| link.device == *device)).collect();
    if ending.is_empty() {
        return Ok(Reply::Unchanged);
    }
    for link in &ending {
        let mut others = home.links.values().filter(|other| other.device == link.device && other.profile != *profile);
        if link.role == Role::Owner && !others.any(|other| other.role == Role::Owner) {
            let message = format!(
                "the last owner of {} cannot leave; make somebody else owner first, or release the device",
                link.device
            );
            return Err(not_allowed(message));
        }
    }
    let leaves_home = ending.len() == theirs.len();
    for link in &ending {
        draft.change(Change::LinkEnded(link.id));
    }
    let left: Vec<DeviceKey> = ending.iter().map(|link| link.device.clone()).collect();
    end_mandates(draft, |mandate| mandate.profile == *profile && left.contains(&mandate.device));
    if leaves_home {
        draft.change(Change::MemberLeft(profile.clone()));
    }
    draft.note(if leaves_home { "a person left the home" } else { "a person left a device" });
    consent::withdraw_unwelcome(draft);
    Ok(Reply::Done)
}

fn end_mandates(draft: &mut Draft<'_>, ends: impl Fn(&Mandate) -> bool) {
    let given = draft.home().supply.mandates.values();
    let ending: Vec<MandateId> = given.filter(|mandate| ends(mandate)).map(|mandate| mandate.id.clone()).collect();
    for id in ending {
        draft.change(Change::MandateEnded(id));
    }
}

/// The device takes the place of another: everybody's link, mandate and wish is about it from here on. Its
/// counters begin anew. The old unit is blocked and goes back to nobody.
pub(super) fn replaced(draft: &mut Draft<'_>, new: &DeviceKey, old: &DeviceKey) -> Answered {
    let home = draft.before();
    if new == old {
        return Err(Refusal::new(Code::PayloadInvalid, "a device does not replace itself").at("/old"));
    }
    let Some(gone) = home.devices.get(old) else { return Ok(Reply::Unchanged) };
    let models = [new, old].map(|key| home.devices.get(key).map(|device| &device.model));
    if models[0] != models[1] {
        draft.note("the new unit is of another model");
    }
    offer::withdraw_all_of(draft, old, "replaced");
    for link in home.links.values().filter(|link| link.device == *old) {
        if home.links.values().any(|other| other.device == *new && other.profile == link.profile) {
            continue;
        }
        let id = LinkId::derived(&[b"replace", link.id.bytes(), new.to_string().as_bytes()]);
        draft.change(Change::LinkSet(Link { id, device: new.clone(), since: draft.now, ..link.clone() }));
    }
    for mandate in home.supply.mandates.values().filter(|mandate| mandate.device == *old) {
        let mandate = Mandate { device: new.clone(), ..(**mandate).clone() };
        draft.change(Change::MandateSet(Box::new(mandate)));
    }
    for (profile, standing) in &home.standings {
        let Some(chosen) = standing.preferences.devices.as_ref().filter(|chosen| chosen.contains(old)) else {
            continue;
        };
        let devices = chosen.iter().filter(|key| *key != old).chain([new]).cloned().collect();
        let preferences = Preferences { devices: Some(devices), ..standing.preferences.clone() };
        let standing = Some(Box::new(Standing { preferences, ..(**standing).clone() }));
        draft.change(Change::StandingSet { profile: profile.clone(), standing });
    }
    stay::carried(draft, old, new);
    draft.note(format!("{new} takes the place of {old}"));
    let reason = super::stolen::with_mark(gone, super::stolen::replaced_by(new));
    draft.change(Change::SuspendedSet { device: old.clone(), reason: Some(reason) });
    leave::retired(draft, old)
}
