//! A customer takes a device: the shop sends the code that the device shows.

use hearthway_core::code::{Code, Refusal};
use hearthway_core::decision::Reply;
use hearthway_core::id::{DeviceKey, HouseholdId, LinkId, ProfileId, RetailerId};
use hearthway_core::input::{Command, Join};
use hearthway_core::model::{ConsentSource, DeviceDescription, Household, Profile, Purpose, Role};
use hearthway_core::time::Timestamp;

use super::consents::ConsentGiven;
use super::profiles::{Changed, HOUSEHOLDS_PER_PROFILE_MAX, ProfileChange, check, member_of, settled};
use super::tokens::{Caller, Scope};
use super::wrong_codes::{Tries, check_typed};
use super::{App, Failure, links};
use crate::engine::{Route, Target};

/// What a shop shows its customer before they agree.
#[derive(Debug, Clone, PartialEq)]
pub struct ClaimPreview {
    /// The device.
    pub device: DeviceKey,
    /// Its model.
    pub model: hearthway_core::id::ModelId,
    /// The data that it sends: telemetry fields and slots.
    pub data: Vec<String>,
    /// Purposes that the shop's live triggers ask for, and `offers.device` always.
    pub purposes: Vec<Purpose>,
}

/// A customer's yes.
#[derive(Debug, Clone)]
pub struct ClaimConfirm {
    /// The code as typed.
    pub code: String,
    /// Whose device it becomes.
    pub profile: ProfileId,
    /// Which home it joins; the profile's only one, else a new one, where not said.
    pub household: Option<HouseholdId>,
    /// What the person is called and where they live.
    pub change: ProfileChange,
    /// What they may do with the device.
    pub role: Role,
    /// What they permit.
    pub consents: Vec<ConsentGiven>,
    /// When a guest's stay ends; only of a device that guests share.
    pub until: Option<Timestamp>,
}

/// A link that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Linked {
    /// The link.
    pub link: LinkId,
    /// The device.
    pub device: DeviceKey,
    /// The home it is in.
    pub household: HouseholdId,
    /// What the person may do with it.
    pub role: Role,
}

/// A code as the gateway keeps it: hyphen, space and case ignored.
pub fn normalise_code(code: &str) -> String {
    code.chars().filter(|c| !matches!(c, '-' | ' ')).take(32).map(|c| c.to_ascii_uppercase()).collect()
}

impl App {
    /// What would be claimed, before anything is.
    pub async fn preview_claim(
        &self,
        who: &Caller,
        code: &str,
        profile: Option<&ProfileId>,
    ) -> Result<ClaimPreview, Failure> {
        let retailer = who.retailer(Scope::LinksWrite)?;
        let tries = match profile {
            Some(profile) => Tries::of_person(retailer, profile),
            None => Tries::of_token(retailer, who.token()),
        };
        let (device, route) = self.claimed(&normalise_code(code), &tries).await?;
        let home = self.engine.facts(route.household).await?;
        let own =
            home.as_ref().and_then(|home| home.devices.get(&device)).and_then(|device| device.description.clone());
        let rules = self.engine.rules();
        let description = match &own {
            Some(own) => Some(&**own),
            None => rules.models.get(&route.model).map(|model| &model.description),
        };
        Ok(ClaimPreview {
            data: description.map(data_of).unwrap_or_default(),
            purposes: self.purposes_of(retailer),
            model: route.model,
            device,
        })
    }

    /// Links the device to the customer, in the home it joins; answered when it has arrived there.
    pub async fn confirm_claim(&self, who: &Caller, claim: ClaimConfirm) -> Result<Linked, Failure> {
        let retailer = who.retailer(Scope::LinksWrite)?.clone();
        check(&claim.change)?;
        let code = normalise_code(&claim.code);
        let tries = Tries::of_person(&retailer, &claim.profile);
        let (device, _) = self.claimed(&code, &tries).await?;
        let _busy = self.erasures.check(&retailer, &claim.profile)?;
        let join = self.join(&retailer, &device, &claim).await?;
        let role = join.role();
        let what = match claim.until {
            Some(until) => Command::JoinForStay { code: Some(code.clone()), join, until },
            None => Command::ConfirmClaim { code: code.clone(), join },
        };
        let input = self.command(Some(&device), "claim", code.as_bytes(), what);
        match settled(self.engine.call(Target::Device(device.clone()), input).await) {
            Ok(reply) => {
                self.wrong_codes.served(&tries, &code, self.now());
                linked(reply, device, role)
            }
            Err(Failure::Refused(refusal)) if refusal.code == Code::ClaimExpired => {
                self.wrong_codes.count(&tries, &code, self.now());
                Err(refusal.into())
            }
            Err(failure) => Err(failure),
        }
    }

    /// The device that shows a code; a code that none shows is counted.
    async fn claimed(&self, code: &str, tries: &Tries) -> Result<(DeviceKey, Route), Failure> {
        let now = self.now();
        self.wrong_codes.check(tries, now)?;
        check_typed(code)?;
        let found = self.engine.claimed_by_code(code);
        if let Some(found) = found.and_then(|device| self.engine.route(&device).map(|route| (device, route))) {
            return Ok(found);
        }
        self.wrong_codes.count(tries, code, now);
        let message = "no device shows this code: it is mistyped, used or too old; let the device show a new one";
        Err(Refusal::new(Code::ClaimExpired, message).at("/code").into())
    }

    /// Where the device goes. Writes the profile first, with the home that it will have: a claim
    /// that is then refused leaves a home that nobody lives in, which no read shows. Whoever calls this holds the
    /// person busy until the claim is settled.
    pub(crate) async fn join(
        &self,
        retailer: &RetailerId,
        device: &DeviceKey,
        claim: &ClaimConfirm,
    ) -> Result<Join, Failure> {
        let now = self.now();
        let consents = self.records(retailer, &claim.consents, ConsentSource::Shop)?;
        let known = self.stored_profile(retailer, &claim.profile)?;
        let shop = self.engine.rules().retailers.get(retailer).cloned();
        let zone = claim.change.zone.clone().or_else(|| known.as_ref().and_then(|profile| profile.zone.clone()));
        let homes = match &known {
            Some(profile) => self.homes_of(retailer, profile).await?,
            None => Vec::new(),
        };
        let household = self.home_for(retailer, device, claim, &homes).await?;
        let home_zone = homes.iter().find(|home| home.id == household).and_then(|home| home.zone.clone());
        let Some(zone) = zone.or(home_zone) else {
            return Err(Failure::invalid("/tz", "say where the home is: an IANA time zone such as `Europe/Paris`"));
        };
        let link = LinkId::derived(&[
            retailer.as_str().as_bytes(),
            device.to_string().as_bytes(),
            &self.hidden(retailer, &claim.profile),
            &now.0.to_be_bytes(),
        ]);
        let change = &claim.change;
        let joined = |before: Option<&Profile>| {
            let mut households = before.map(|before| before.households.clone()).unwrap_or_default();
            households.insert(household);
            let known = before.cloned().unwrap_or_else(|| Profile::named(claim.profile.clone()));
            let profile = Profile {
                display_name: change.display_name.clone().unwrap_or(known.display_name),
                locale: change.locale.clone().or(known.locale),
                zone: Some(zone.clone()),
                segments: change.segments.clone().unwrap_or(known.segments),
                households,
                ..known
            };
            let hint = links::hint(retailer, link, household, device);
            Ok(Changed { more: vec![hint], ..profile.into() })
        };
        let profile = self.change_profile(retailer, &claim.profile, &Default::default(), joined).await?;
        // Before the link is: the first offer already knows what the person wants.
        self.tell_standing_first(&profile, household).await?;
        self.tell_homes(&profile, Some(household)).await?;
        let mut member = member_of(&profile, claim.role);
        member.consents = consents.into_iter().collect();
        let locale = profile.locale.clone().or_else(|| shop.map(|shop| shop.default_locale.clone()));
        Ok(Join { household, retailer: retailer.clone(), link, member, zone, locale })
    }

    async fn home_for(
        &self,
        retailer: &RetailerId,
        device: &DeviceKey,
        claim: &ClaimConfirm,
        homes: &[std::sync::Arc<Household>],
    ) -> Result<HouseholdId, Failure> {
        if let Some(named) = claim.household {
            let home = self.engine.facts(named).await?;
            return match home.filter(|home| home.retailer.as_ref() == Some(retailer)) {
                Some(_) => Ok(named),
                None => Err(Failure::not_found("household", named)),
            };
        }
        match homes {
            [only] => Ok(only.id),
            [] => self.new_home(retailer, &claim.profile, None),
            many if many.len() >= HOUSEHOLDS_PER_PROFILE_MAX => Err(Failure::invalid(
                "/household",
                format!("the profile has {HOUSEHOLDS_PER_PROFILE_MAX} homes; say which of them the device joins"),
            )),
            _ => self.new_home(retailer, &claim.profile, Some(device)),
        }
    }

    fn purposes_of(&self, retailer: &RetailerId) -> Vec<Purpose> {
        let rules = self.engine.rules();
        let asked = rules.triggers.iter().filter(|trigger| trigger.retailer == *retailer);
        let mut purposes: Vec<Purpose> = asked.flat_map(|trigger| trigger.consent.iter().copied()).collect();
        purposes.push(Purpose::OffersDevice);
        purposes.sort_unstable();
        purposes.dedup();
        purposes
    }
}

fn data_of(description: &DeviceDescription) -> Vec<String> {
    let fields = description.telemetry.keys().map(ToString::to_string);
    fields.chain(description.slots.keys().map(ToString::to_string)).collect()
}

/// What a reply to a claim or a direct link says.
pub(crate) fn linked(reply: Reply, device: DeviceKey, role: Role) -> Result<Linked, Failure> {
    match reply {
        Reply::Linked { link, household } => Ok(Linked { link, device, household, role }),
        Reply::Done
        | Reply::Unchanged
        | Reply::Doubted
        | Reply::Moving { .. }
        | Reply::Answered { .. }
        | Reply::OrderMoved { .. } => {
            Err(Refusal::new(Code::InternalRetry, "the device is on its way; look at it in a moment").into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_read_without_hyphen_and_case() {
        assert_eq!(normalise_code("7k4q-9xmp"), "7K4Q9XMP");
        assert_eq!(normalise_code(" 7K4Q 9XMP"), "7K4Q9XMP");
    }
}
