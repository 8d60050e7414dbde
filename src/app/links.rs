//! Who is linked to which device: links without a code, and their end.

use std::time::Duration;

use hearthway_core::id::{DeviceKey, DeviceName, HouseholdId, LinkId, MakerId, ProfileId, RetailerId};
use hearthway_core::input::Command;
use hearthway_core::model::{Link, Role};
use hearthway_core::time::Timestamp;
use serde::{Deserialize, Serialize};

use super::claims::{ClaimConfirm, Linked, linked};
use super::consents::ConsentGiven;
use super::profiles::{ProfileChange, check, settled};
use super::tokens::{Caller, Scope};
use super::{App, Failure, rows};
use crate::engine::{Outcome, Target};
use crate::store::Write;
use crate::store::codec::{self, Schema};
use crate::store::keys::{Key, KeyBuilder, table};

/// How often a link is tried while too many devices are moving.
const MOVE_TRIES_MAX: u32 = 100;
/// The pause between two tries: about one group commit.
const MOVE_PAUSE: Duration = Duration::from_millis(10);

/// Where a link was made, so that it is found by its id. Written before the link is: a hint, not
/// the truth, which is the household's record.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct LinkHint {
    household: HouseholdId,
    device: DeviceKey,
}

pub(crate) fn hint_key(retailer: &RetailerId, link: LinkId) -> Key {
    KeyBuilder::table(table::DOCUMENT).name("link").name(retailer.as_str()).fixed(link.bytes()).key()
}

pub(crate) fn hint(retailer: &RetailerId, link: LinkId, household: HouseholdId, device: &DeviceKey) -> Write {
    rows::put(Schema::Document, hint_key(retailer, link), &LinkHint { household, device: device.clone() })
}

/// The home that a hint of a link leads to; none of any other row.
pub(crate) fn hinted_home(key: &Key, bytes: &[u8]) -> Option<HouseholdId> {
    let hints = KeyBuilder::table(table::DOCUMENT).name("link").prefix();
    let hint = key.0.starts_with(&hints).then(|| codec::decode::<LinkHint>(Schema::Document, key, bytes))?;
    hint.ok().map(|hint| hint.household)
}

/// A link to be made without a code, for a fleet that exists already.
#[derive(Debug, Clone)]
pub struct DirectLink {
    /// The device's name.
    pub device: DeviceName,
    /// Its maker, where two use the name.
    pub maker: Option<MakerId>,
    /// Whose it becomes.
    pub profile: ProfileId,
    /// What they may do with it.
    pub role: Role,
    /// Which home it joins.
    pub household: Option<HouseholdId>,
    /// What the person is called and where they live.
    pub change: ProfileChange,
    /// What they permit.
    pub consents: Vec<ConsentGiven>,
    /// When a guest's stay ends; only of a device that guests share.
    pub until: Option<Timestamp>,
}

impl App {
    /// Links a device without a code.
    pub async fn link_directly(&self, who: &Caller, new: DirectLink) -> Result<Linked, Failure> {
        let retailer = who.retailer(Scope::LinksWrite)?.clone();
        check(&new.change)?;
        let device = self.device_to_link(&retailer, &new)?;
        let claim = ClaimConfirm {
            code: String::new(),
            profile: new.profile,
            household: new.household,
            change: new.change,
            role: new.role,
            consents: new.consents,
            until: new.until,
        };
        let _busy = self.erasures.check(&retailer, &claim.profile)?;
        let join = self.join(&retailer, &device, &claim).await?;
        let role = join.role();
        let about = claim.profile.as_str().as_bytes();
        let mut tries = 1;
        let outcome = loop {
            let what = match claim.until {
                Some(until) => Command::JoinForStay { code: None, join: join.clone(), until },
                None => Command::LinkDirectly { join: join.clone() },
            };
            let input = self.command(Some(&device), "link", about, what);
            match self.engine.call(Target::Device(device.clone()), input).await {
                // Many devices are moving at this moment: a fleet that is linked in bulk waits.
                Outcome::Failed(_) if tries < MOVE_TRIES_MAX => tries += 1,
                outcome => break outcome,
            }
            tokio::time::sleep(MOVE_PAUSE).await;
        };
        linked(settled(outcome)?, device, role)
    }

    /// Ends a link: the device is given back, as at a release. While others are linked to the
    /// device too, only the owner's link can be ended, which ends theirs as well.
    pub async fn end_link(&self, who: &Caller, id: &str) -> Result<(), Failure> {
        let retailer = who.retailer(Scope::DevicesRelease)?;
        let missing = || Failure::not_found("link", id.chars().take(80).collect::<String>());
        let id: LinkId = id.parse().map_err(|_| missing())?;
        let hint: Option<LinkHint> = rows::get(&**self.engine.store(), Schema::Document, &hint_key(retailer, id))?;
        let hint = hint.ok_or_else(missing)?;
        let home = self.engine.facts(hint.household).await?.ok_or_else(missing)?;
        let link = home.links.get(&id).filter(|_| home.retailer.as_ref() == Some(retailer)).ok_or_else(missing)?;
        let others = home.links.values().any(|other: &Link| other.device == link.device && other.id != id);
        if others && link.role != Role::Owner {
            return Err(Failure::Conflict(
                "others are linked to this device too; end the owner's link, which ends all".into(),
            ));
        }
        let input = self.command(Some(&link.device), "unlink", id.bytes(), Command::Release);
        settled(self.engine.call(Target::Device(link.device.clone()), input).await)?;
        Ok(())
    }

    /// A device of nobody's, or of a customer of the retailer's own: another one's looks like none.
    fn device_to_link(&self, retailer: &RetailerId, new: &DirectLink) -> Result<DeviceKey, Failure> {
        let mut named = self.engine.devices_named(&new.device);
        let owner = |key: &DeviceKey| self.engine.route(key).and_then(|route| route.retailer);
        named.retain(|key| owner(key).is_none_or(|owner| owner == *retailer));
        named.retain(|key| new.maker.as_ref().is_none_or(|maker| key.maker == *maker));
        match <[DeviceKey; 1]>::try_from(named) {
            Ok([one]) => Ok(one),
            Err(none) if none.is_empty() => Err(Failure::device_not_found(new.device.as_str())),
            Err(many) => Err(Failure::Ambiguous {
                device: new.device.to_string(),
                makers: many.into_iter().map(|key| key.maker.to_string()).collect(),
            }),
        }
    }
}
