//! The people of a home: who is there, who is invited, who leaves; and a unit that takes the place of another.

use std::sync::{Arc, Mutex, PoisonError};

use hearthway_core::code::{Code, Refusal};
use hearthway_core::id::{DeviceKey, DeviceName, HouseholdId, LinkId, ProfileId, RetailerId};
use hearthway_core::input::{Command, Join};
use hearthway_core::model::{ConsentSource, Household, Link, Member, Profile, Role};
use hearthway_core::time::{Span, Timestamp, Zone};
use hearthway_core::wire::{CODE_ALPHABET, CODE_CHARS};
use serde::{Deserialize, Serialize};

use super::claims::{Linked, linked, normalise_code};
use super::consents::ConsentGiven;
use super::devices::DeviceView;
use super::profiles::{Changed, ProfileChange, check, member_of, settled};
use super::tokens::{Caller, Scope};
use super::wrong_codes::{Tries, check_typed};
use super::{App, Failure, links, rows};
use crate::engine::rows::unless_erased;
use crate::engine::{Route, Target, entropy};
use crate::store::codec::{self, Schema};
use crate::store::keys::{Key, KeyBuilder, table};
use crate::store::sealed::{Subject, blind};
use crate::store::{Precondition, Store, Write};

/// How long an invitation holds: over a weekend and a bit.
const INVITATION_TTL: Span = Span::days(7);
/// Invitations that are looked at with each new one, so that those that are over go: more than come.
const SWEPT_AT_ONCE: usize = 64;
/// How often a code is drawn until one is free.
const CODE_TRIES_MAX: usize = 8;

/// A person who is to be linked to a device that is somebody's already.
#[derive(Debug, Clone)]
pub struct NewMember {
    /// Who.
    pub profile: ProfileId,
    /// What they may do.
    pub role: Role,
    /// What they are called and how they are spoken to.
    pub change: ProfileChange,
    /// What they permit.
    pub consents: Vec<ConsentGiven>,
}

/// An invitation, by its code.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Invitation {
    /// Eight characters, as claim codes are written.
    pub code: String,
    /// To which device.
    pub device: DeviceKey,
    /// In which home that was.
    pub household: HouseholdId,
    /// As what.
    pub role: Role,
    /// By whom.
    pub by: ProfileId,
    /// When it ends.
    pub expires_at: Timestamp,
}

fn invitations() -> KeyBuilder {
    KeyBuilder::table(table::DOCUMENT).name("invitation")
}

/// Whether a row is an invitation.
pub(crate) fn is_invitation(key: &Key) -> bool {
    key.0.starts_with(&invitations().prefix())
}

/// Where invitations were looked through for those that are over.
#[derive(Default)]
pub(crate) struct Invitations {
    swept_to: Mutex<Option<Key>>,
}

/// A claim alphabet's code from what the system draws.
fn draw_code() -> String {
    let mut code = String::with_capacity(CODE_CHARS);
    while code.len() < CODE_CHARS {
        // 248 is the largest multiple of 31 in a byte: above it a character would be likelier than another.
        let bytes = entropy::draw().to_be_bytes();
        let letters = bytes.into_iter().filter(|byte| *byte < 248).map(|byte| CODE_ALPHABET[usize::from(byte % 31)]);
        code.extend(letters.map(char::from));
    }
    code.truncate(CODE_CHARS);
    code
}

impl App {
    /// A device of the caller's customers, with its home.
    pub async fn home_of_device(&self, who: &Caller, name: &str) -> Result<DeviceView, Failure> {
        let retailer = who.retailer(Scope::ProfilesRead)?;
        let (key, route) = self.find_device(who, Scope::ProfilesRead, name)?;
        let view = self.device_view(who, key, &route).await?;
        let own = view.filter(|view| view.home.retailer.as_ref() == Some(retailer));
        own.ok_or_else(|| Failure::device_not_found(name))
    }

    async fn linked_device(&self, who: &Caller, name: &str) -> Result<(DeviceKey, Route, Arc<Household>), Failure> {
        who.retailer(Scope::LinksWrite)?;
        let (key, route) = self.find_device(who, Scope::LinksWrite, name)?;
        let home = self.engine.facts(route.household).await?;
        let home = home.filter(|home| home.link_of(&key).is_some());
        home.map(|home| (key, route, home)).ok_or_else(|| Failure::device_not_found(name))
    }

    /// Where an invitation stands: not at its code, which lets in whoever has it.
    fn invitation_key(&self, retailer: &RetailerId, code: &str) -> Key {
        let hidden = blind(&**self.engine.store(), &[b"invitation", retailer.as_str().as_bytes(), code.as_bytes()]);
        invitations().name(retailer.as_str()).fixed(&hidden).key()
    }

    /// An invitation as it is kept: it names who invites, and goes with the home.
    pub(crate) fn invitation_written(&self, retailer: &RetailerId, invitation: &Invitation) -> Result<Write, Failure> {
        let mut bytes = codec::encode(Schema::Document, invitation);
        if let Some(vault) = self.engine.store().vault() {
            codec::belong_to(vault.key_for(Subject::household(invitation.household))?, &mut bytes);
        }
        Ok(Write::Put(self.invitation_key(retailer, &invitation.code), bytes))
    }

    /// Looks at the next few invitations and deletes those that are over.
    async fn sweep_invitations(&self) -> Result<(), Failure> {
        let after = self.invitations.swept_to.lock().unwrap_or_else(PoisonError::into_inner).take();
        let (store, now) = (self.engine.store(), self.now());
        let page = store.scan(&invitations().prefix(), after.as_ref(), SWEPT_AT_ONCE)?;
        let last = page.last().map(|(key, _)| key.clone());
        let mut over = Vec::new();
        for (key, bytes) in page {
            let found = unless_erased(codec::decode::<Invitation>(Schema::Document, &key, &bytes))?;
            if found.is_none_or(|found| found.expires_at <= now) {
                over.push(Write::Delete(key));
            }
        }
        // At the end it begins anew with the next one.
        *self.invitations.swept_to.lock().unwrap_or_else(PoisonError::into_inner) = last;
        if over.is_empty() { Ok(()) } else { rows::write(&self.engine, over).await }
    }

    /// Links one more person to a device.
    pub async fn add_member(&self, who: &Caller, device: &str, new: NewMember) -> Result<Linked, Failure> {
        let retailer = who.retailer(Scope::LinksWrite)?.clone();
        check(&new.change)?;
        let (key, _, home) = self.linked_device(who, device).await?;
        self.link_member(&retailer, &key, &home, new).await
    }

    async fn link_member(
        &self,
        retailer: &RetailerId,
        device: &DeviceKey,
        home: &Household,
        new: NewMember,
    ) -> Result<Linked, Failure> {
        let _busy = self.erasures.check(retailer, &new.profile)?;
        let consents = self.records(retailer, &new.consents, ConsentSource::Shop)?;
        let link = LinkId::derived(&[
            b"member",
            retailer.as_str().as_bytes(),
            device.to_string().as_bytes(),
            &self.hidden(retailer, &new.profile),
            &self.now().0.to_be_bytes(),
        ]);
        let change = &new.change;
        let joined = |before: Option<&Profile>| {
            let mut profile = before.cloned().unwrap_or_else(|| Profile::named(new.profile.clone()));
            profile.display_name = change.display_name.clone().unwrap_or(profile.display_name);
            profile.locale = change.locale.clone().or(profile.locale);
            profile.zone = change.zone.clone().or(profile.zone);
            profile.households.insert(home.id);
            Ok(Changed { more: vec![links::hint(retailer, link, home.id, device)], ..profile.into() })
        };
        let profile = self.change_profile(retailer, &new.profile, &Default::default(), joined).await?;
        self.tell_standing_first(&profile, home.id).await?;
        let mut member = member_of(&profile, new.role);
        member.consents = consents.into_iter().collect();
        let zone = home.zone.clone().unwrap_or_else(Zone::utc);
        let join =
            Join { household: home.id, retailer: retailer.clone(), link, member, zone, locale: home.locale.clone() };
        let about = new.profile.as_str().as_bytes();
        let input = self.command(Some(device), "member", about, Command::AddMember { join: Box::new(join) });
        let done = settled(self.engine.call(Target::Device(device.clone()), input).await).map_err(of_the_home)?;
        linked(done, device.clone(), new.role)
    }

    /// Invites somebody to a device, in the name of one of its owners.
    pub async fn invite(&self, who: &Caller, device: &str, by: &ProfileId, role: Role) -> Result<Invitation, Failure> {
        let retailer = who.retailer(Scope::LinksWrite)?.clone();
        let _busy = self.erasures.check(&retailer, by)?;
        let (key, _, home) = self.linked_device(who, device).await?;
        let owns = |link: &&Link| link.device == key && link.profile == *by && link.role == Role::Owner;
        if !home.links.values().any(|link| owns(&link)) {
            let message = format!("`{by}` does not own this device; only an owner invites");
            return Err(Failure::invalid("/by", message));
        }
        self.sweep_invitations().await?;
        for _ in 0..CODE_TRIES_MAX {
            let invitation = Invitation {
                code: draw_code(),
                device: key.clone(),
                household: home.id,
                role,
                by: by.clone(),
                expires_at: self.now() + INVITATION_TTL,
            };
            let only_if = vec![Precondition::Absent(self.invitation_key(&retailer, &invitation.code))];
            let written = self.invitation_written(&retailer, &invitation)?;
            match rows::commit(&self.engine, only_if, vec![written]).await {
                Err(Failure::Conflict(_)) => continue,
                done => return done.map(|()| invitation),
            }
        }
        Err(Refusal::new(Code::InternalRetry, "no code was free; try again").into())
    }

    /// Takes an invitation up; it serves once. Wrong codes are counted like those of claims.
    pub async fn accept_invitation(
        &self,
        who: &Caller,
        code: &str,
        profile: ProfileId,
        change: ProfileChange,
        consents: Vec<ConsentGiven>,
    ) -> Result<Linked, Failure> {
        let retailer = who.retailer(Scope::LinksWrite)?.clone();
        check(&change)?;
        let (code, now) = (normalise_code(code), self.now());
        let tries = Tries::of_person(&retailer, &profile);
        self.wrong_codes.check(&tries, now)?;
        check_typed(&code)?;
        let row = self.invitation_key(&retailer, &code);
        let stored = self.engine.store().get(&row)?;
        let found: Option<Invitation> = match &stored {
            Some(bytes) => unless_erased(codec::decode(Schema::Document, &row, bytes))?,
            None => None,
        };
        let wrong = || -> Failure {
            self.wrong_codes.count(&tries, &code, now);
            let message = "no invitation has this code: it is mistyped, used or too old; ask for another one";
            Refusal::new(Code::ClaimExpired, message).at("/code").into()
        };
        let invitation = found.filter(|found| now < found.expires_at).ok_or_else(wrong)?;
        let home = self.engine.facts(invitation.household).await?;
        let still_there = |home: &Arc<Household>| home.link_of(&invitation.device).is_some();
        let home = home.filter(still_there).ok_or_else(wrong)?;
        let new = NewMember { profile, role: invitation.role, change, consents };
        // It is used up before anybody is linked, so that two who come with it at once are not both let in.
        let only_if = stored.map(|bytes| Precondition::Equals(row.clone(), bytes));
        match rows::commit(&self.engine, only_if.into_iter().collect(), vec![Write::Delete(row)]).await {
            Err(Failure::Conflict(_)) => return Err(wrong()),
            used => used?,
        }
        let linked = self.link_member(&retailer, &invitation.device, &home, new).await;
        if linked.is_err() {
            // Nobody was let in: it serves another time.
            rows::write(&self.engine, vec![self.invitation_written(&retailer, &invitation)?]).await?;
        }
        if linked.is_ok() {
            self.wrong_codes.served(&tries, &code, self.now());
        }
        linked
    }

    /// A person may do something else in the home of a device.
    pub async fn set_role(&self, who: &Caller, device: &str, profile: &str, role: Role) -> Result<DeviceView, Failure> {
        let (key, _, home) = self.linked_device(who, device).await?;
        let profile = linked_person(&home, &key, profile)?;
        let _busy = self.erasures.check(who.retailer(Scope::LinksWrite)?, &profile)?;
        let what = Command::SetRole { profile: profile.clone(), role };
        let input = self.command(Some(&key), "role", profile.as_str().as_bytes(), what);
        settled(self.engine.call(Target::Device(key), input).await).map_err(of_the_home)?;
        self.home_of_device(who, device).await
    }

    /// A person leaves a device; with the last one, its home.
    pub async fn remove_member(&self, who: &Caller, device: &str, profile: &str) -> Result<(), Failure> {
        let (key, _, home) = self.linked_device(who, device).await?;
        let profile = linked_person(&home, &key, profile)?;
        let _busy = self.erasures.check(who.retailer(Scope::LinksWrite)?, &profile)?;
        let what = Command::RemoveMember { profile: profile.clone() };
        let input = self.command(Some(&key), "leave", profile.as_str().as_bytes(), what);
        settled(self.engine.call(Target::Device(key), input).await).map(|_| ()).map_err(of_the_home)
    }

    /// A new unit takes the place of an old one, as under warranty: links, mandates and wishes move over, what was
    /// offered is over, counters begin anew, and the old unit is blocked.
    pub async fn replace_device(&self, who: &Caller, new: &str, old: &str) -> Result<DeviceView, Failure> {
        let retailer = who.retailer(Scope::LinksWrite)?.clone();
        let at_old = |failure| match failure {
            Failure::Refused(refusal) => Failure::Refused(refusal.at("/old")),
            other => other,
        };
        let (new_key, new_route) = self.unit(who, new)?;
        let (old_key, _, home) = match self.linked_device(who, old).await {
            // Asked again after it was done: the old unit is nobody's any more.
            Err(_) if self.has_replaced(who, &new_key, &new_route, old).await? => {
                return self.home_of_device(who, new).await;
            }
            found => found.map_err(at_old)?,
        };
        if old_key == new_key {
            return Err(Failure::invalid("/old", "a device does not replace itself"));
        }
        let linked = home.links.values().filter(|link| link.device == old_key);
        let _busy: Vec<_> =
            linked.map(|link| self.erasures.check(&retailer, &link.profile)).collect::<Result<_, _>>()?;
        if new_route.household != home.id {
            let link = home.link_of(&old_key).ok_or_else(|| Failure::device_not_found(old))?;
            let member = home.members.get(&link.profile).ok_or_else(|| Failure::device_not_found(old))?;
            let id = LinkId::derived(&[b"replace", link.id.bytes(), new_key.to_string().as_bytes()]);
            rows::write(&self.engine, vec![links::hint(&retailer, id, home.id, &new_key)]).await?;
            let join = Join {
                household: home.id,
                retailer: retailer.clone(),
                link: id,
                member: Member { role: link.role, ..(**member).clone() },
                zone: home.zone.clone().unwrap_or_else(Zone::utc),
                locale: home.locale.clone(),
            };
            let about = old_key.to_string();
            let input = self.command(Some(&new_key), "replace", about.as_bytes(), Command::LinkDirectly { join });
            settled(self.engine.call(Target::Device(new_key.clone()), input).await)?;
        }
        for link in home.links.values().filter(|link| link.device == old_key) {
            self.chooses_instead(&retailer, &link.profile, &old_key, &new_key).await?;
            let id = LinkId::derived(&[b"replace", link.id.bytes(), new_key.to_string().as_bytes()]);
            rows::write(&self.engine, vec![links::hint(&retailer, id, home.id, &new_key)]).await?;
        }
        let about = old_key.to_string();
        let what = Command::Replace { old: old_key.clone() };
        let input = self.command(Some(&new_key), "replaced", about.as_bytes(), what);
        settled(self.engine.call(Target::Device(new_key.clone()), input).await).map_err(of_the_home)?;
        self.account_changed(&old_key).await;
        self.home_of_device(who, new).await
    }

    /// Who chose the old unit among their devices chose the new one.
    async fn chooses_instead(
        &self,
        retailer: &RetailerId,
        profile: &ProfileId,
        old: &DeviceKey,
        new: &DeviceKey,
    ) -> Result<(), Failure> {
        let change = |before: Option<&Profile>| {
            let mut profile = before.cloned().unwrap_or_else(|| Profile::named(profile.clone()));
            if let Some(chosen) = &mut profile.preferences.devices
                && chosen.remove(old)
            {
                chosen.insert(new.clone());
            }
            Ok(profile.into())
        };
        self.change_profile(retailer, profile, &Default::default(), change).await.map(|_| ())
    }

    /// A unit that belongs to nobody yet, or to a customer of the caller's.
    fn unit(&self, who: &Caller, name: &str) -> Result<(DeviceKey, Route), Failure> {
        if let Ok(own) = self.find_device(who, Scope::LinksWrite, name) {
            return Ok(own);
        }
        let missing = || Failure::device_not_found(name);
        let named = match name.contains('/') {
            true => vec![name.parse::<DeviceKey>().map_err(|_| missing())?],
            false => self.engine.devices_named(&DeviceName::new(name).map_err(|_| missing())?),
        };
        let routed = named.into_iter().filter_map(|key| self.engine.route(&key).map(|route| (key, route)));
        let free: Vec<(DeviceKey, Route)> = routed.filter(|(_, route)| route.retailer.is_none()).collect();
        match <[(DeviceKey, Route); 1]>::try_from(free) {
            Ok([one]) => Ok(one),
            Err(none) if none.is_empty() => Err(missing()),
            Err(many) => Err(Failure::Ambiguous {
                device: name.to_owned(),
                makers: many.into_iter().map(|(key, _)| key.maker.to_string()).collect(),
            }),
        }
    }

    async fn has_replaced(&self, who: &Caller, new: &DeviceKey, route: &Route, old: &str) -> Result<bool, Failure> {
        let Ok((old, _)) = self.unit(who, old) else { return Ok(false) };
        let prospect = HouseholdId::prospect(&old);
        let home = self.engine.facts(prospect).await?;
        let unit = home.as_ref().and_then(|home| home.devices.get(&old));
        Ok(route.retailer.is_some() && unit.is_some_and(|old| old.was_replaced_by(new)))
    }
}

/// What a home does not allow its people contradicts how it is: no offer is meant.
fn of_the_home(failure: Failure) -> Failure {
    match failure {
        Failure::Refused(refusal) if refusal.code == Code::OfferNotAllowed => Failure::Conflict(refusal.message),
        other => other,
    }
}

/// A person who is linked to a device, by name.
fn linked_person(home: &Household, device: &DeviceKey, profile: &str) -> Result<ProfileId, Failure> {
    let link = home.links.values().find(|link| link.device == *device && link.profile.as_str() == profile);
    let missing = || Failure::not_found("member", profile.chars().take(80).collect::<String>());
    link.map(|link| link.profile.clone()).ok_or_else(missing)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_written_as_claims_are_and_drawn_anew_each_time() {
        let codes: std::collections::BTreeSet<String> = (0..100).map(|_| draw_code()).collect();
        assert_eq!(codes.len(), 100);
        let is_code = |code: &String| code.len() == CODE_CHARS && code.bytes().all(|c| CODE_ALPHABET.contains(&c));
        assert!(codes.iter().all(is_code));
    }
}
