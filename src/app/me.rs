//! What customers do for themselves. The person is the token's and comes from nowhere else; all else is what
//! the shop's own calls do. What is another person's, also of the same home, looks like what is not there.

use std::cmp::Reverse;
use std::sync::Arc;

use hearthway_core::code::{Code, Refusal};
use hearthway_core::id::{DERIVED_BYTES, DeviceKey, HouseholdId, ProfileId, RetailerId};
use hearthway_core::model::{ConsentSource, Household, Link, Offer, Preferences, Role};
use hearthway_core::words::Tongue;

use super::consents::ConsentGiven;
use super::devices::DeviceView;
use super::documents::Condition;
use super::erasures::Erasure;
use super::export::PersonExport;
use super::offers::{Answered, OfferAnswer};
use super::preferences::PreferencesGiven;
use super::profiles::Person;
use super::tokens::{Caller, Scope};
use super::{App, Failure};

/// Decisions of one trigger among which that of an offer is looked for: it is among the last ones, since a home
/// keeps only its latest offers.
const DECISIONS_LOOKED_AT_MAX: usize = 200;

/// Exports that customers ask for themselves, at work at once: each reads through a shop's offers and orders on a
/// thread of its own.
pub(super) const OWN_EXPORTS_AT_ONCE: usize = 2;
/// When to ask again.
const EXPORT_RETRY_SECONDS: u32 = 5;

/// Who acts for themselves.
pub struct Me {
    /// The token, with what the call at hand needs.
    caller: Caller,
    retailer: RetailerId,
    person: Person,
}

impl Me {
    pub(super) fn retailer(&self) -> &RetailerId {
        &self.retailer
    }

    pub(super) fn person(&self) -> &Person {
        &self.person
    }

    /// Their token, with what the call at hand needs.
    pub(super) fn caller(&self) -> &Caller {
        &self.caller
    }

    pub(super) fn into_person(self) -> Person {
        self.person
    }

    fn id(&self) -> &ProfileId {
        &self.person.profile.id
    }

    /// The links of the person, with their homes.
    pub(super) fn links(&self) -> impl Iterator<Item = (&Arc<Household>, &Link)> {
        let id = self.id();
        let own = move |link: &&Link| link.profile == *id;
        self.person.homes.iter().flat_map(move |home| home.links.values().filter(own).map(move |link| (home, link)))
    }

    /// Their link to a device that they call by its name, or as `maker/device`.
    pub(super) fn link_to(&self, name: &str) -> Result<&Link, Failure> {
        let is_it = |key: &DeviceKey| key.device.as_str() == name || key.to_string() == name;
        let mut found = self.links().map(|(_, link)| link).filter(|link| is_it(&link.device));
        let first = found.next().ok_or_else(|| Failure::device_not_found(name))?;
        let others: Vec<&Link> = found.collect();
        if others.is_empty() {
            return Ok(first);
        }
        let all = std::iter::once(first).chain(others).map(|link| link.device.maker.to_string());
        Err(Failure::Ambiguous { device: name.to_owned(), makers: all.collect() })
    }

    /// Offers at their devices since they are linked to them; a child is offered nothing.
    fn offers(&self) -> impl Iterator<Item = (HouseholdId, &Offer)> {
        self.links().filter(|(_, link)| link.role != Role::Child).flat_map(|(home, link)| {
            let theirs = home.offers.values().filter(|offer| {
                let begun = offer.history.first().map_or(offer.valid_from, |first| first.at);
                offer.device == link.device && begun >= link.since
            });
            theirs.map(|offer| (home.id, &**offer))
        })
    }

    fn offer(&self, id: &str) -> Result<(HouseholdId, Offer), Failure> {
        let found = self.offers().find(|(_, offer)| offer.id.to_string() == id);
        let shown = || id.chars().take(80).collect::<String>();
        let missing = || Refusal::new(Code::OfferUnknown, format!("there is no offer `{}`", shown()));
        Ok(found.map(|(home, offer)| (home, offer.clone())).ok_or_else(missing)?)
    }
}

/// Why an offer was made, for whom it was made to.
#[derive(Debug, Clone)]
pub struct Why {
    /// Its home.
    pub household: HouseholdId,
    /// The offer.
    pub offer: Offer,
    /// What it rests on, in the customer's words.
    pub because: Vec<String>,
    /// The person, for what they permit now.
    pub person: Person,
}

/// A device of the person's, with their own link to it.
#[derive(Debug, Clone)]
pub struct OwnDevice {
    /// The device.
    pub view: DeviceView,
    /// Their link.
    pub link: Link,
}

impl App {
    /// Who acts, for a call that needs these scopes.
    pub(super) async fn me(&self, who: &Caller, scopes: &[Scope]) -> Result<Me, Failure> {
        let retailer = who.retailer(Scope::Me)?.clone();
        let Some(profile) = who.person() else {
            return Err(Failure::Forbidden("this is for a customer's own token".to_owned()));
        };
        // Under a merged name the person is who they are by now.
        let person = self.person(&retailer, profile.as_str()).await?;
        // Not held: who changes something holds it themselves, and an erasure that is asked for here waits for all.
        drop(self.erasures.check(&retailer, &person.profile.id)?);
        Ok(Me { caller: who.with(scopes), retailer, person })
    }

    /// What is known of the caller themselves.
    pub async fn own_person(&self, who: &Caller) -> Result<Person, Failure> {
        Ok(self.me(who, &[]).await?.person)
    }

    /// Their devices.
    pub async fn own_devices(&self, who: &Caller) -> Result<Vec<OwnDevice>, Failure> {
        let me = self.me(who, &[Scope::DevicesRead]).await?;
        let mut devices = Vec::new();
        for (_, link) in me.links() {
            let view = self.device(&me.caller, &link.device.to_string()).await?;
            devices.push(OwnDevice { view, link: link.clone() });
        }
        Ok(devices)
    }

    /// Everything that is known of them.
    pub async fn own_data(&self, who: &Caller) -> Result<PersonExport, Failure> {
        let me = self.me(who, &[Scope::ProfilesRead]).await?;
        // Each goes through all offers and orders of the shop, and customers are many.
        let _turn = self.own_exports.try_acquire().map_err(|_| Refusal {
            retry_after_seconds: Some(EXPORT_RETRY_SECONDS),
            ..Refusal::new(Code::RateLimited, "others are being told what is known of them; ask again in a moment")
        })?;
        self.export_person(&me.caller, me.id().as_str()).await
    }

    /// Gives or withdraws their consents, in their own name.
    pub async fn set_own_consents(&self, who: &Caller, given: &[ConsentGiven]) -> Result<Person, Failure> {
        let me = self.me(who, &[Scope::ProfilesWrite]).await?;
        self.set_consents(&me.caller, me.id(), given, ConsentSource::App).await
    }

    /// Replaces their wishes. A device that is not theirs is none.
    pub async fn set_own_preferences(
        &self,
        who: &Caller,
        given: PreferencesGiven,
        condition: &Condition,
    ) -> Result<Preferences, Failure> {
        let me = self.me(who, &[Scope::ProfilesWrite]).await?;
        let own = |(at, name): (usize, &String)| match me.link_to(name) {
            Ok(link) => Ok(link.device.to_string()),
            Err(Failure::Refused(refusal)) => Err(Failure::invalid(&format!("/devices/{at}"), refusal.message)),
            Err(other) => Err(other),
        };
        let devices = given.devices.as_ref().map(|names| names.iter().enumerate().map(own).collect());
        let given = PreferencesGiven { devices: devices.transpose()?, ..given };
        self.put_preferences(&me.caller, me.id().as_str(), given, condition).await
    }

    /// Their offers, as far as their homes still have them: the newest first.
    pub async fn own_offers(&self, who: &Caller) -> Result<Vec<(HouseholdId, Offer)>, Failure> {
        let me = self.me(who, &[]).await?;
        let mut offers: Vec<_> = me.offers().map(|(home, offer)| (home, offer.clone())).collect();
        offers.sort_by_key(|(_, offer)| Reverse((offer.valid_from, offer.id)));
        Ok(offers)
    }

    /// One of their offers.
    pub async fn own_offer(&self, who: &Caller, id: &str) -> Result<(HouseholdId, Offer), Failure> {
        self.me(who, &[]).await?.offer(id)
    }

    /// Answers one of their offers, in their own name.
    pub async fn answer_own_offer(&self, who: &Caller, id: &str, answer: OfferAnswer) -> Result<Answered, Failure> {
        let me = self.me(who, &[Scope::OffersAnswer]).await?;
        let (_, offer) = me.offer(id)?;
        let answer = OfferAnswer { profile: Some(me.id().clone()), ..answer };
        self.answer_offer(&me.caller, &offer.id.to_string(), answer).await
    }

    /// Why they were made an offer. What the log has let go is told from the offer alone.
    pub async fn own_why(&self, who: &Caller, id: &str, tongue: Tongue) -> Result<Why, Failure> {
        let me = self.me(who, &[Scope::DecisionsRead]).await?;
        let (household, offer) = me.offer(id)?;
        let trigger = Some(&offer.trigger);
        let decided = self.engine.decisions(household, trigger, DECISIONS_LOOKED_AT_MAX)?;
        let its = decided.into_iter().find(|(_, _, candidate)| candidate.decision == offer.decision);
        let steps = its.map(|(_, _, candidate)| candidate.steps).unwrap_or_default();
        let home = me.person.homes.iter().find(|home| home.id == household);
        let zone = home.and_then(|home| home.zone.as_ref());
        let because = steps.iter().filter_map(|step| step.to_customer(tongue, zone)).collect();
        Ok(Why { household, offer, because, person: me.person })
    }

    /// Gives a device back: its owner for all who are linked to it, anybody else for themselves. True where the
    /// device is nobody's any more.
    pub async fn give_back_own(&self, who: &Caller, name: &str) -> Result<bool, Failure> {
        let me = self.me(who, &[Scope::DevicesRelease, Scope::LinksWrite]).await?;
        let link = me.link_to(name)?;
        let device = link.device.to_string();
        match link.role {
            Role::Owner => self.release_device(&me.caller, &device).await.map(|_| true),
            Role::Buyer | Role::Viewer | Role::Child => {
                self.remove_member(&me.caller, &device, me.id().as_str()).await.map(|()| false)
            }
        }
    }

    /// Begins their erasure, which ends their token. With the shop, by which its report is found.
    pub async fn erase_me(self: &Arc<Self>, who: &Caller) -> Result<(RetailerId, Erasure), Failure> {
        let me = self.me(who, &[Scope::ProfilesErase]).await?;
        let erasure = self.begin_erasure(&me.caller, me.id().as_str()).await?;
        Ok((me.retailer, erasure))
    }

    /// How an erasure stands, for whoever was told its id: it has as many bits as a token, names nobody, and the
    /// person has no token any more.
    pub fn erasure_by_id(&self, retailer: &str, id: &str) -> Result<Erasure, Failure> {
        let missing = || Failure::not_found("erasure", id.chars().take(80).collect::<String>());
        const { assert!(DERIVED_BYTES >= 12, "an id that opens something cannot be guessed") };
        let retailer = RetailerId::new(retailer).map_err(|_| missing())?;
        self.find_erasure(&retailer, id)
    }
}
