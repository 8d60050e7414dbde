//! What an erasure will take: looked up before anything is, and once more at the end.

use hearthway_core::id::{DERIVED_BYTES, LinkId, MandateId, ProfileId, RetailerId};
use hearthway_core::model::Household;

use super::{AT_WORK_MAX, ErasureReport, ErasureRow, Home, Job, Stage};
use crate::app::{App, Failure, rows};
use crate::store::codec::{self, Schema};
use crate::store::{Store, Write, keys};

impl App {
    /// What is to be erased, kept before anything is.
    pub(crate) async fn plan_erasure(&self, retailer: &RetailerId, profile: &str) -> Result<Job, Failure> {
        let person = self.person(retailer, profile).await?;
        let profile = person.profile.id.clone();
        let vault = self.vault()?;
        let whom = (retailer.clone(), profile.clone());
        {
            let mut persons = self.erasures.persons();
            if persons.len() >= AT_WORK_MAX {
                return Err(Failure::Conflict(format!("{AT_WORK_MAX} erasures are at work; come again later")));
            }
            if !persons.insert(whom.clone()) {
                return Err(Failure::Conflict(format!("`{profile}` is being erased already")));
            }
        }
        let begun = async {
            // Read again: nothing is taken in about the person from here on.
            let person = self.person(retailer, profile.as_str()).await?;
            let mut report = ErasureReport::default();
            let homes: Vec<Home> = person
                .homes
                .iter()
                .map(|home| self.foresee(home, &profile, &mut report))
                .collect::<Result<_, Failure>>()?;
            let mut id = [0; DERIVED_BYTES];
            getrandom::fill(&mut id).map_err(|_| Failure::Conflict("the system gives no randomness".to_owned()))?;
            let display_name = person.profile.display_name.clone();
            let stage = Stage::AtWork { profile: profile.clone(), display_name, homes };
            let job = Job { retailer: retailer.clone(), id, row: ErasureRow { begun_at: self.now(), stage, report } };
            let mut bytes = codec::encode(Schema::Erasure, &job.row);
            codec::belong_to(vault.key_for(self.profile_row(retailer, &profile).subject)?, &mut bytes);
            rows::write(&self.engine, vec![Write::Put(job.key(), bytes)]).await?;
            Ok(job)
        };
        let begun = begun.await;
        if begun.is_err() {
            self.erasures.persons().remove(&whom);
        }
        begun
    }

    /// What ends in a home.
    fn foresee(&self, home: &Household, profile: &ProfileId, report: &mut ErasureReport) -> Result<Home, Failure> {
        let is_emptied = home.members.keys().all(|member| member == profile);
        *(if is_emptied { &mut report.homes_emptied } else { &mut report.homes_left }) += 1;
        let links: Vec<LinkId> =
            home.links.iter().filter(|(_, link)| link.profile == *profile).map(|(id, _)| *id).collect();
        let mandates = home.supply.mandates.values().filter(|mandate| mandate.profile == *profile);
        let mandates: Vec<MandateId> = mandates.map(|mandate| mandate.id.clone()).collect();
        for device in home.devices.keys() {
            let mut of_device = home.links.values().filter(|link| link.device == *device);
            if !is_emptied && !of_device.all(|link| link.profile == *profile) {
                continue;
            }
            report.devices_given_back += 1;
            let live = home.offers.values().filter(|offer| offer.device == *device && offer.state.is_live());
            report.offers_withdrawn += live.count() as u64;
            let waiting = self.engine.store().scan(&keys::outbox_of(device), None, crate::store::SCAN_ROWS_MAX)?;
            report.messages_taken_back += waiting.len() as u64;
        }
        report.links_ended += links.len() as u64;
        report.mandates_ended += mandates.len() as u64;
        Ok(Home { household: home.id, links, mandates })
    }

    /// A claim that passed before the erasure began may have come after its plan: then its home joins the
    /// plan, and all is done again.
    pub(super) async fn look_again_for(
        &self,
        job: &mut Job,
        profile: &ProfileId,
        homes: &[Home],
    ) -> Result<(), Failure> {
        let Some(stored) = self.stored_profile(&job.retailer, profile)? else { return Ok(()) };
        let still = self.homes_of(&job.retailer, &stored).await?;
        if still.is_empty() {
            return Ok(());
        }
        let mut all = homes.to_vec();
        for home in still {
            let known = all.iter().position(|known| known.household == home.id);
            let found = self.foresee(&home, profile, &mut job.row.report)?;
            match known {
                Some(at) => {
                    all[at].links.extend(found.links);
                    all[at].mandates.extend(found.mandates);
                }
                None => all.push(found),
            }
        }
        if let Stage::AtWork { homes, .. } = &mut job.row.stage {
            *homes = all;
        }
        let mut bytes = codec::encode(Schema::Erasure, &job.row);
        let subject = self.profile_row(&job.retailer, profile).subject;
        codec::belong_to(self.vault()?.key_for(subject)?, &mut bytes);
        rows::write(&self.engine, vec![Write::Put(job.key(), bytes)]).await?;
        Err(Failure::Conflict("the person came to a home meanwhile; it is done again".to_owned()))
    }
}
