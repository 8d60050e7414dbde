//! Mandates: what customers permit to be ordered without asking.

use std::collections::BTreeSet;

use hearthway_core::id::{DeviceKey, HouseholdId, MandateId, ProductId, ProfileId, RetailerId, SlotId};
use hearthway_core::input::Command;
use hearthway_core::model::Mandate;
use hearthway_core::money::Money;
use hearthway_core::time::{Span, Timestamp};
use hearthway_core::trigger::suggestion;

use super::profiles::settled;
use super::rows;
use super::tokens::{Caller, Scope};
use super::{App, Failure};
use crate::engine::{Route, Target};
use crate::store::Write;
use crate::store::codec::Schema;
use crate::store::keys::{self, Key};
use crate::store::sealed::blind;

/// How long a mandate may hold at most: a standing permission is given anew every other year.
const MANDATE_AGE_MAX: Span = Span::days(2 * 366);
/// Orders in thirty days that a mandate may permit at most: one a day.
const ORDERS_MAX: u32 = 30;
/// Products that a mandate may name.
const PRODUCTS_MAX: usize = 32;

/// A mandate as a customer gives it in the shop's app.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MandateGiven {
    /// Who gives it.
    pub profile: ProfileId,
    /// For which device, by its name.
    pub device: String,
    /// For which slot; every slot where not said.
    pub slot: Option<SlotId>,
    /// What may be ordered.
    pub products: BTreeSet<ProductId>,
    /// What one order may cost, all together.
    pub max_price: Money,
    /// How many orders in any thirty days.
    pub max_per_30d: u32,
    /// Until when.
    pub expires_at: Timestamp,
}

impl App {
    /// Gives a mandate, or replaces it: it stands in the home of the device.
    pub async fn put_mandate(&self, who: &Caller, id: &MandateId, given: MandateGiven) -> Result<Mandate, Failure> {
        let retailer = who.retailer(Scope::ProfilesWrite)?;
        let now = self.now();
        if given.expires_at <= now || given.expires_at - now > MANDATE_AGE_MAX {
            let message = format!("{} is not within {MANDATE_AGE_MAX} from now", given.expires_at);
            return Err(Failure::invalid("/expires_at", message));
        }
        if !(1..=ORDERS_MAX).contains(&given.max_per_30d) {
            return Err(Failure::invalid("/max_per_30d", format!("1 to {ORDERS_MAX}, not {}", given.max_per_30d)));
        }
        if given.max_price.minor <= 0 {
            return Err(Failure::invalid("/max_price", "an order costs something: write an amount above 0"));
        }
        if given.products.is_empty() || given.products.len() > PRODUCTS_MAX {
            return Err(Failure::invalid("/products", format!("name 1 to {PRODUCTS_MAX} products")));
        }
        let rules = self.engine.rules();
        if let Some(unknown) = given.products.iter().find(|product| rules.product(retailer, product).is_none()) {
            return Err(Failure::invalid("/products", format!("there is no product `{unknown}` in the catalogue")));
        }
        let (device, route) = self.find_device(who, Scope::ProfilesWrite, &given.device)?;
        self.can_order(retailer, &given, &device, &route).await?;
        let _busy = self.erasures.check(retailer, &given.profile)?;
        // One at a time: a mandate and the row that finds it change together.
        let _turn = self.mandates.lock().await;
        let key = self.mandate_row(retailer, id);
        let known: Option<HouseholdId> = rows::get(&**self.engine.store(), Schema::Mandate, &key)?;
        if known.is_some_and(|home| home != route.household) {
            self.end_in(known, id).await?;
        }
        // The row first: a mandate that stands can always be found and ended.
        rows::write(&self.engine, vec![rows::put(Schema::Mandate, key, &route.household)]).await?;
        let mandate = Mandate {
            id: id.clone(),
            profile: given.profile,
            device,
            slot: given.slot,
            products: given.products,
            max_price: given.max_price,
            max_per_30d: given.max_per_30d,
            expires_at: given.expires_at,
            given_at: now,
            ordered: Vec::new(),
        };
        let input = self.command(None, "mandate", id.as_str().as_bytes(), Command::GiveMandate(Box::new(mandate)));
        settled(self.engine.call(Target::Household(route.household), input).await)?;
        self.mandate(who, id.as_str()).await
    }

    /// Refuses a mandate that could never order: for a slot that is not there, in money that nothing costs, or for what
    /// does not fit.
    async fn can_order(
        &self,
        retailer: &RetailerId,
        given: &MandateGiven,
        device: &DeviceKey,
        route: &Route,
    ) -> Result<(), Failure> {
        let (rules, home) = (self.engine.rules(), self.engine.facts(route.household).await?);
        let known = home.as_ref().and_then(|home| home.devices.get(device));
        let can = known.and_then(|device| device.description_in(&rules));
        if let (Some(slot), Some(can)) = (&given.slot, can)
            && !can.slots.contains_key(slot)
        {
            let has = suggestion(slot.as_str(), can.slots.keys().map(SlotId::as_str));
            let has = has.unwrap_or_else(|| "it has no slots".to_owned());
            return Err(Failure::invalid(
                "/slot",
                format!("the device `{}` has no slot `{slot}`: {has}", given.device),
            ));
        }
        for id in &given.products {
            let Some(product) = rules.product(retailer, id) else { continue };
            let fits = |slot: &SlotId| product.fits(&route.model, slot);
            if !given.slot.as_ref().map_or_else(|| product.fits.iter().any(|fit| fit.model == route.model), fits) {
                let place = given.slot.as_ref().map_or(String::new(), |slot| format!(":{slot}"));
                let message = format!("`{id}` does not fit `{}{place}`; see its `fits`", route.model);
                return Err(Failure::invalid("/products", message));
            }
            let (price, limit) = (product.price.currency, given.max_price.currency);
            if price != limit {
                let message = format!("`{id}` costs {price}, the limit is in {limit}: it could never be ordered");
                return Err(Failure::invalid("/max_price/currency", message));
            }
        }
        Ok(())
    }

    /// A mandate as it stands, with what was ordered under it.
    pub async fn mandate(&self, who: &Caller, id: &str) -> Result<Mandate, Failure> {
        let retailer = who.retailer(Scope::ProfilesRead)?;
        let (id, home) = self.home_of_mandate(retailer, id)?;
        let facts = self.engine.facts(home).await?;
        let found = facts.as_ref().and_then(|home| home.supply.mandates.get(&id));
        found.map(|mandate| (**mandate).clone()).ok_or_else(|| Failure::not_found("mandate", id))
    }

    /// Ends a mandate at once.
    pub async fn end_mandate(&self, who: &Caller, id: &str) -> Result<(), Failure> {
        let retailer = who.retailer(Scope::ProfilesWrite)?;
        let _turn = self.mandates.lock().await;
        let (id, home) = self.home_of_mandate(retailer, id)?;
        self.end_in(Some(home), &id).await?;
        rows::write(&self.engine, vec![Write::Delete(self.mandate_row(retailer, &id))]).await
    }

    /// Where the row stands that says in which home a mandate is.
    pub(super) fn mandate_row(&self, retailer: &RetailerId, id: &MandateId) -> Key {
        let parts: [&[u8]; 3] = [b"mandate", retailer.as_str().as_bytes(), id.as_str().as_bytes()];
        keys::mandate(retailer, &blind(&**self.engine.store(), &parts))
    }

    async fn end_in(&self, home: Option<HouseholdId>, id: &MandateId) -> Result<(), Failure> {
        let Some(home) = home else { return Ok(()) };
        let input = self.command(None, "mandate end", id.as_str().as_bytes(), Command::EndMandate(id.clone()));
        settled(self.engine.call(Target::Household(home), input).await).map(|_| ())
    }

    fn home_of_mandate(&self, retailer: &RetailerId, id: &str) -> Result<(MandateId, HouseholdId), Failure> {
        let missing = || Failure::not_found("mandate", id.chars().take(80).collect::<String>());
        let id = MandateId::new(id).map_err(|_| missing())?;
        let home = rows::get(&**self.engine.store(), Schema::Mandate, &self.mandate_row(retailer, &id))?;
        Ok((id, home.ok_or_else(missing)?))
    }
}
