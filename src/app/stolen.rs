//! Devices that their people say were stolen, and what a buyer may ask about a serial number.

use hearthway_core::code::Refusal;
use hearthway_core::id::{DeviceKey, HouseholdId, MakerId, ProfileId};
use hearthway_core::input::Command;
use hearthway_core::model::{Role, Tenant};
use tracing::info;

use super::devices::DeviceView;
use super::registry::check_serial;
use super::tokens::{Caller, Scope};
use super::wrong_codes::Tries;
use super::{App, Failure};

impl App {
    /// Says of one of the caller's own devices that it was stolen, or takes that back. Only an owner does.
    pub async fn flag_own_stolen(&self, who: &Caller, device: &str, is_stolen: bool) -> Result<(), Failure> {
        let me = self.me(who, &[Scope::DevicesRelease]).await?;
        let _busy = self.erasures.check(me.retailer(), &me.person().profile.id)?;
        let link = me.link_to(device)?;
        if link.role != Role::Owner {
            return Err(Failure::Forbidden("only who owns a device says that it was stolen".to_owned()));
        }
        let device = link.device.to_string();
        self.flag_stolen(me.caller(), &device, is_stolen).await.map(|_| ())
    }

    /// The same by the shop, for a customer of theirs.
    pub async fn flag_stolen(&self, who: &Caller, device: &str, is_stolen: bool) -> Result<DeviceView, Failure> {
        who.retailer(Scope::DevicesRelease)?;
        let (word, what) = match is_stolen {
            true => ("stolen", Command::FlagStolen),
            false => ("found", Command::EndStolen),
        };
        let view = self.command_device(who, Scope::DevicesRelease, device, word, what).await?;
        info!(device.id = %view.key, is_stolen, "What is known of a theft was changed");
        Ok(view)
    }

    /// Whether who has the device with a serial number in their hands could claim it: it is there, nobody is linked
    /// to it and nobody suspended it. Several makers may use the number; then each of those must be free. An unknown
    /// one is answered after the same reads, and a no counts like a wrong code: of the customer, and of the token,
    /// which could name a new customer each time.
    pub async fn is_claimable(
        &self,
        who: &Caller,
        serial: &str,
        maker: Option<&MakerId>,
        profile: Option<&ProfileId>,
    ) -> Result<bool, Failure> {
        let tries = match (who.tenant(), profile) {
            (Tenant::Operator, _) => {
                return Err(Failure::Forbidden("this is for shops and makers; use a token of theirs".to_owned()));
            }
            (Tenant::Retailer(retailer), Some(profile)) => {
                vec![Tries::of_buyer(retailer, profile), Tries::of_all_buyers(who.token())]
            }
            (Tenant::Retailer(_) | Tenant::Maker(_), _) => vec![Tries::of_asker(who.token())],
        };
        who.may(Scope::ModelsRead)?;
        check_serial("", serial)?;
        let now = self.now();
        // Before anything is read: many questions at once are no more than so many.
        if let Err(failure) = self.asked_serials.take(&tries, now) {
            return Err(match failure {
                Failure::Refused(refusal) => {
                    Refusal { message: "too many serial numbers that cannot be claimed".to_owned(), ..refusal }.into()
                }
                other => other,
            });
        }
        let rules = self.engine.rules();
        let (mut found, mut free) = (0, 0);
        for known in rules.makers.keys().filter(|known| maker.is_none_or(|maker| maker == *known)) {
            let device = self.device_with_serial(known, serial)?.map(|name| DeviceKey::new(known.clone(), name));
            let route = device.as_ref().and_then(|device| self.engine.route(device));
            // Of a number that nobody has a home is looked for too: how long it takes tells nothing.
            let nowhere = || HouseholdId::derived(&[b"no such serial", serial.as_bytes()]);
            let home = self.engine.facts(route.map_or_else(nowhere, |route| route.household)).await?;
            if let Some(device) = device {
                found += 1;
                let is_free = home.is_some_and(|home| {
                    let is_silent = home.devices.get(&device).is_none_or(|device| device.suspended.is_some());
                    !is_silent && home.link_of(&device).is_none()
                });
                free += usize::from(is_free);
            }
        }
        let claimable = found > 0 && free == found;
        if claimable {
            self.asked_serials.give_back(&tries, now);
        }
        Ok(claimable)
    }
}
