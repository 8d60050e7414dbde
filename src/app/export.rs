//! Everything that is known of one person, for that person.

use std::collections::BTreeMap;
use std::sync::Arc;

use hearthway_core::id::{DeviceKey, HouseholdId, InputId, ProfileId, RetailerId};
use hearthway_core::input::What;
use hearthway_core::model::{Offer, Order};
use hearthway_core::time::Timestamp;
use hearthway_core::trace::CandidateTrace;
use hearthway_core::wire::DeviceMessage;

use super::grants::Grant;
use super::profiles::Person;
use super::tenure::Tenure;
use super::timeline::{self, Happened};
use super::tokens::{Caller, Scope};
use super::{App, Failure, rows};
use crate::engine::Engine;
use crate::engine::rows::{ConsentSaid, OfferRow, OrderRow, unless_erased};
use crate::store::StoreError;
use crate::store::codec::{self, Schema};
use crate::store::keys::{KeyBuilder, table};

/// Things that happened in one export; the log of a home reaches back as far.
const HAPPENED_MAX: usize = 10_000;

/// Everything that is known of one person.
#[derive(Debug, Clone)]
pub struct PersonExport {
    /// When it was gathered.
    pub at: Timestamp,
    /// The person with their homes.
    pub person: Person,
    /// Every word on consents, oldest first.
    pub said: Vec<(ProfileId, ConsentSaid)>,
    /// Who may read what their devices report.
    pub grants: Vec<(String, Arc<Grant>)>,
    /// Every offer on their devices.
    pub offers: Vec<(HouseholdId, Offer)>,
    /// Every order that is theirs, or was made on their device by nobody knows whom.
    pub orders: Vec<(HouseholdId, Order)>,
    /// What was decided about their devices, newest first.
    pub decisions: Vec<(HouseholdId, Timestamp, InputId, CandidateTrace)>,
    /// What their devices said, newest first.
    pub messages: Vec<(DeviceKey, Timestamp, DeviceMessage)>,
    /// What happened, newest first.
    pub happened: Vec<Happened>,
}

impl App {
    /// Gathers everything that is known of one person.
    pub async fn export_person(&self, who: &Caller, id: &str) -> Result<PersonExport, Failure> {
        let retailer = who.retailer(Scope::ProfilesRead)?.clone();
        let person = self.person(&retailer, id).await?;
        let said = self.all_consents_said(&retailer, &person)?;
        let (grants, _) = self.grants_of(&retailer, &person).await?;
        let (engine, at) = (self.engine.clone(), self.now());
        let gather = tokio::task::spawn_blocking(move || gathered(&engine, &retailer, at, person, said));
        let broken = |_| StoreError::Failed { doing: "gathering an export", cause: "it broke off".to_owned() };
        Ok(PersonExport { grants, ..gather.await.map_err(broken)?? })
    }
}

fn gathered(
    engine: &Engine,
    retailer: &RetailerId,
    at: Timestamp,
    person: Person,
    said: Vec<(ProfileId, ConsentSaid)>,
) -> Result<PersonExport, StoreError> {
    let store = &**engine.store();
    let tenures = person.homes.iter().map(|home| Ok((home.id, Tenure::read(engine, home, &person)?)));
    let tenures = tenures.collect::<Result<BTreeMap<HouseholdId, Tenure>, StoreError>>()?;
    let was_theirs = |home: &HouseholdId, device: &DeviceKey, at: Timestamp| {
        tenures.get(home).is_some_and(|tenure| tenure.covers(device, at))
    };
    let names = |profile: &ProfileId| *profile == person.profile.id || person.profile.merged_from.contains(profile);
    let (mut offers, mut orders) = (Vec::new(), Vec::new());
    let of = |table| KeyBuilder::table(table).name(retailer.as_str()).prefix();
    rows::each(store, &of(table::OFFER), |key, bytes| {
        let Some(row) = unless_erased(codec::decode::<OfferRow>(Schema::Offer, key, bytes))? else { return Ok(()) };
        let made_at = row.offer.history.first().map_or(row.offer.valid_from, |first| first.at);
        if was_theirs(&row.household, &row.offer.device, made_at) {
            offers.push((row.household, row.offer));
        }
        Ok(())
    })?;
    rows::each(store, &of(table::ORDER), |key, bytes| {
        let Some(row) = unless_erased(codec::decode::<OrderRow>(Schema::Order, key, bytes))? else { return Ok(()) };
        let is_theirs = row
            .order
            .profile
            .as_ref()
            .map_or_else(|| was_theirs(&row.household, &row.order.device, row.order.created_at), names);
        if is_theirs {
            orders.push((row.household, row.order));
        }
        Ok(())
    })?;
    let (mut decisions, mut messages) = (Vec::new(), Vec::new());
    for home in &person.homes {
        let Some(tenure) = tenures.get(&home.id) else { continue };
        let Some(since) = tenure.since() else { continue };
        engine.inputs_back(home.id, |row| {
            let at = row.input.received_at;
            let is_own = row.input.device.as_ref().is_none_or(|device| tenure.covers(device, at));
            if at < since || !is_own {
                return at >= since;
            }
            let (when, input, device) = (row.input.received_at, row.input.id, row.input.device);
            decisions.extend(row.candidates.into_iter().map(|candidate| (home.id, when, input, candidate)));
            if let (What::Device(message), Some(device)) = (row.input.what, device) {
                messages.push((device, when, message));
            }
            true
        })?;
    }
    let happened = timeline::happened(engine, &person, None, HAPPENED_MAX)?;
    Ok(PersonExport { at, said, grants: Vec::new(), offers, orders, decisions, messages, happened, person })
}
