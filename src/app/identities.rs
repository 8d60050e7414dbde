//! By what a person is recognised: an app login, a loyalty card, an e-mail address, a phone number, a device.
//!
//! Values are never kept: what stands in the store is HMAC-SHA256 of the value, written one way, under a key that
//! follows from the master key; per retailer and kind, so that two shops cannot compare. A device is found by its
//! link and has no row.

use std::collections::BTreeSet;

use hearthway_core::id::{ProfileId, RetailerId};
use hearthway_core::model::{Identity, IdentityKind, Profile, Role};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::profiles::{Changed, Person};
use super::tokens::{Caller, Scope};
use super::{App, Failure, rows};
use crate::store::codec::Schema;
use crate::store::{Precondition, Write, keys};

/// Identities of one person.
const IDENTITIES_MAX: usize = 32;
/// Bytes of one value: an address has 254 at most.
const VALUE_BYTES_MAX: usize = 254;
/// Digits of a phone number with its country, by E.164.
const PHONE_DIGITS: std::ops::RangeInclusive<usize> = 7..=15;

/// An identity as the shop tells it.
#[derive(Clone, PartialEq, Eq)]
pub struct IdentityGiven {
    /// `app`, `loyalty`, `email` or `phone`.
    pub kind: String,
    /// The value.
    pub value: String,
}

impl std::fmt::Debug for IdentityGiven {
    /// Without the value, which is somebody's.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "IdentityGiven({})", self.kind)
    }
}

/// A value in its one form, or what is wrong with it.
fn normalised(kind: IdentityKind, value: &str) -> Result<String, String> {
    let value = value.trim();
    if value.is_empty() || value.len() > VALUE_BYTES_MAX {
        return Err(format!("1 to {VALUE_BYTES_MAX} bytes"));
    }
    match kind {
        IdentityKind::App | IdentityKind::Loyalty => Ok(value.to_owned()),
        IdentityKind::Email => {
            let value = value.to_lowercase();
            let parts: Vec<&str> = value.split('@').collect();
            let is_address = matches!(parts[..], [name, place] if !name.is_empty() && place.contains('.'))
                && !value.contains(char::is_whitespace);
            if is_address { Ok(value) } else { Err("an address such as `name@example.org`".to_owned()) }
        }
        IdentityKind::Phone => {
            let said: String = value.chars().filter(|c| !matches!(c, ' ' | '-' | '.' | '(' | ')' | '/')).collect();
            let digits = said.strip_prefix('+').or_else(|| said.strip_prefix("00")).unwrap_or_default();
            let is_number = PHONE_DIGITS.contains(&digits.len())
                && digits.bytes().all(|c| c.is_ascii_digit())
                && !digits.starts_with('0');
            if is_number {
                Ok(format!("+{digits}"))
            } else {
                Err("a number with its country as E.164 has it, such as `+33612345678`".to_owned())
            }
        }
    }
}

impl App {
    fn mark(&self, retailer: &RetailerId, kind: IdentityKind, normalised: &str) -> Identity {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.identity_key).expect("HMAC takes keys of any length");
        for part in [retailer.as_str(), kind.as_str(), normalised] {
            mac.update(&(part.len() as u64).to_be_bytes());
            mac.update(part.as_bytes());
        }
        Identity { kind, mark: mac.finalize().into_bytes().into() }
    }

    /// What is kept of the identities that a shop tells.
    pub(crate) fn marks(&self, retailer: &RetailerId, given: &[IdentityGiven]) -> Result<Vec<Identity>, Failure> {
        if given.len() > IDENTITIES_MAX {
            return Err(Failure::invalid("/identities", format!("a person has at most {IDENTITIES_MAX}")));
        }
        let one = |(at, given): (usize, &IdentityGiven)| {
            let kind = IdentityKind::parse(&given.kind).ok_or_else(|| {
                let message = match given.kind.as_str() {
                    "device" => "a device is linked by a claim, not told".to_owned(),
                    _ => format!("one of {}", IdentityKind::ALL.map(IdentityKind::as_str).join(", ")),
                };
                Failure::invalid(&format!("/identities/{at}/type"), message)
            })?;
            let value = normalised(kind, &given.value)
                .map_err(|message| Failure::invalid(&format!("/identities/{at}/value"), message))?;
            Ok(self.mark(retailer, kind, &value))
        };
        given.iter().enumerate().map(one).collect()
    }

    /// The profile with exactly these identities, and the rows that find it by them. Each belongs to one person.
    pub(crate) fn with_identities(
        &self,
        retailer: &RetailerId,
        mut profile: Profile,
        marks: &[Identity],
    ) -> Result<Changed, Failure> {
        let (store, now) = (&**self.engine.store(), self.now());
        let wanted: BTreeSet<Identity> = marks.iter().copied().collect();
        let (mut more, mut only_if) = (Vec::new(), Vec::new());
        for gone in profile.identities.keys().filter(|known| !wanted.contains(known)) {
            more.push(Write::Delete(keys::identity(retailer, gone.kind.as_str(), &gone.mark)));
        }
        profile.identities.retain(|known, _| wanted.contains(known));
        for new in wanted {
            if profile.identities.contains_key(&new) {
                continue;
            }
            let key = keys::identity(retailer, new.kind.as_str(), &new.mark);
            let owner: Option<ProfileId> = rows::get(store, Schema::Identity, &key)?;
            match owner {
                Some(owner) if owner != profile.id => {
                    let message = format!(
                        "this {} belongs to another profile; look it up, and merge the two if they are one person",
                        new.kind.as_str()
                    );
                    return Err(Failure::Conflict(message));
                }
                Some(_) => {}
                None => only_if.push(Precondition::Absent(key.clone())),
            }
            let row = self.profile_row(retailer, &profile.id);
            more.push(row.own(store, rows::put(Schema::Identity, key, &profile.id))?);
            profile.identities.insert(new, now);
        }
        Ok(Changed { profile, more, only_if })
    }

    /// The person behind an identity.
    pub async fn look_up(&self, who: &Caller, given: &IdentityGiven) -> Result<Person, Failure> {
        let retailer = who.retailer(Scope::ProfilesRead)?.clone();
        let missing = || Failure::not_found("profile with this", &given.kind);
        let found = match IdentityKind::parse(&given.kind) {
            Some(kind) => {
                let value = normalised(kind, &given.value).map_err(|message| Failure::invalid("/value", message))?;
                let mark = self.mark(&retailer, kind, &value);
                let key = keys::identity(&retailer, kind.as_str(), &mark.mark);
                rows::get(&**self.engine.store(), Schema::Identity, &key)?
            }
            None if given.kind == "device" => self.owner_of(who, &given.value).await?,
            None => {
                let known = IdentityKind::ALL.map(IdentityKind::as_str).join(", ");
                return Err(Failure::invalid("/type", format!("one of {known}, device")));
            }
        };
        let found: ProfileId = found.ok_or_else(missing)?;
        self.person(&retailer, found.as_str()).await
    }

    /// Who owns a device of the caller's customers, else who is linked to it.
    async fn owner_of(&self, who: &Caller, device: &str) -> Result<Option<ProfileId>, Failure> {
        let (key, route) = match self.find_device(who, Scope::ProfilesRead, device) {
            Err(Failure::Refused(_)) => return Ok(None),
            found => found?,
        };
        let home = self.engine.facts(route.household).await?;
        let mut links: Vec<_> = home.iter().flat_map(|home| home.links.values()).collect();
        links.retain(|link| link.device == key);
        links.sort_by_key(|link| (link.role != Role::Owner, link.since));
        Ok(links.first().map(|link| link.profile.clone()))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn an_identity_has_one_form_however_it_is_typed() {
        let email = |text| normalised(IdentityKind::Email, text);
        assert_eq!(email(" Anna.Weber@Example.ORG "), Ok("anna.weber@example.org".to_owned()));
        for wrong in ["anna", "@example.org", "anna@", "a@b@c.org", "an na@example.org", ""] {
            assert!(email(wrong).is_err(), "{wrong}");
        }
        let phone = |text| normalised(IdentityKind::Phone, text);
        for same in ["+33 6 12 34 56 78", "0033612345678", "+33 (6) 12.34-56/78"] {
            assert_eq!(phone(same), Ok("+33612345678".to_owned()), "{same}");
        }
        for wrong in ["0612345678", "+0612345678", "+33x12345678", "+123", "+1234567890123456"] {
            assert!(phone(wrong).is_err(), "{wrong}");
        }
        assert_eq!(normalised(IdentityKind::Loyalty, " 42-A "), Ok("42-A".to_owned()));
    }
}
