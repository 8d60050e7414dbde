//! What an erasure will take: looked up before anything is, and once more at the end.

use std::collections::BTreeSet;

use hearthway_core::id::{DERIVED_BYTES, HouseholdId, LinkId, MandateId, ProfileId, RetailerId};
use hearthway_core::input::{Command, What};
use hearthway_core::model::{Household, Leaving, Member, Profile};

use super::{ErasureReport, ErasureRow, Home, Job, Stage};
use crate::app::{App, Failure, rows};
use crate::store::codec::{self, Schema};
use crate::store::{Store, StoreError, Write, keys};

/// Names that somebody was called by and that are looked for in texts: nobody has had more.
const CALLED_MAX: usize = 64;

/// All that one person is known by: their own name first.
fn names_of(profile: &Profile) -> Vec<ProfileId> {
    std::iter::once(&profile.id).chain(&profile.merged_from).cloned().collect()
}

impl App {
    /// What is to be erased, kept before anything is.
    pub(crate) async fn plan_erasure(&self, retailer: &RetailerId, profile: &str) -> Result<Job, Failure> {
        self.vault()?;
        // A merge says whose is what: none is half done while this looks, and none begins.
        let _merging = self.merging.lock().await;
        let names = names_of(&self.person(retailer, profile).await?.profile);
        let mut id = [0; DERIVED_BYTES];
        getrandom::fill(&mut id).map_err(|_| Failure::Conflict("the system gives no randomness".to_owned()))?;
        let departure = self.erasures.persons.depart(retailer, &names, id).await?;
        // Read again: nothing is taken in about the person from here on.
        let profile = self.person(retailer, profile).await?.profile;
        self.finish_merges(retailer, &names).await?;
        let (leaving, households) = self.whereabouts(retailer, &profile).await?;
        let mut report = ErasureReport::default();
        let mut homes = Vec::new();
        for household in households {
            homes.push(self.foresee(household, &leaving, &mut report).await?);
        }
        let stage = Stage::AtWork { leaving, homes };
        let row = ErasureRow { begun_at: self.now(), stage, report };
        let job = Job { retailer: retailer.clone(), id, row, swept: None, letters: Vec::new() };
        rows::write(&self.engine, vec![self.work_written(&job.retailer, &job.id, &job.row)?]).await?;
        departure.begun();
        self.forget_access(retailer, &names);
        Ok(job)
    }

    /// Whatever opens something about a person opens nothing from here on: their rows go with the sweep, and whoever
    /// comes by the same name later is somebody else.
    pub(super) fn forget_access(&self, retailer: &RetailerId, names: &[ProfileId]) {
        for name in names {
            self.forget_customer_tokens(retailer, name);
            self.forget_grants(retailer, name);
            self.wrong_codes.forget(retailer, name);
            self.asked_serials.forget(retailer, name);
        }
    }

    /// An erasure at work, sealed with the key of whom it is about.
    pub(super) fn work_written(
        &self,
        retailer: &RetailerId,
        id: &[u8; DERIVED_BYTES],
        row: &ErasureRow,
    ) -> Result<Write, Failure> {
        let mut bytes = codec::encode(Schema::Erasure, row);
        if let Stage::AtWork { leaving, .. } = &row.stage
            && let Some(name) = leaving.names.first()
        {
            codec::belong_to(self.vault()?.key_for(self.profile_row(retailer, name).subject)?, &mut bytes);
        }
        Ok(Write::Put(keys::erasure(retailer, id), bytes))
    }

    /// By what the person is known, and every home that may know of them: those that they live in, have left,
    /// or were to come to, and those that were told of a merge.
    async fn whereabouts(
        &self,
        retailer: &RetailerId,
        profile: &Profile,
    ) -> Result<(Leaving, BTreeSet<HouseholdId>), Failure> {
        let names = names_of(profile);
        let mut called: Vec<String> = Vec::new();
        let mut households = BTreeSet::new();
        for name in &names {
            let Some(known) = self.stored_profile(retailer, name)? else { continue };
            called.push(known.display_name);
            households.extend(known.households);
        }
        for row in self.merges_of(retailer, &names)? {
            households.extend(&row.homes);
            called.extend(row.called(&names).map(str::to_owned));
        }
        let mut theirs = BTreeSet::new();
        for household in households {
            let home = self.engine.facts(household).await?;
            if home.as_ref().is_none_or(|home| home.retailer.as_ref().is_none_or(|whose| whose == retailer)) {
                theirs.insert(household);
            }
        }
        let (engine, homes, of) = (self.engine.clone(), theirs.clone(), names.clone());
        let read = tokio::task::spawn_blocking(move || -> Result<Vec<String>, StoreError> {
            let mut former = Vec::new();
            for household in homes {
                engine.inputs_back(household, |row| {
                    let told = told_of(&row.input.what).into_iter().filter(|member| of.contains(&member.profile));
                    for member in told {
                        if !former.contains(&member.display_name) {
                            former.push(member.display_name.clone());
                        }
                    }
                    former.len() < CALLED_MAX
                })?;
            }
            Ok(former)
        });
        let broken = |_| StoreError::Failed { doing: "reading what a person was called", cause: "it broke off".into() };
        called.extend(read.await.map_err(broken)??);
        let mut once = BTreeSet::new();
        called.retain(|name| once.insert(name.clone()));
        called.truncate(CALLED_MAX);
        Ok((Leaving { names, called }, theirs))
    }

    /// What ends in a home.
    async fn foresee(
        &self,
        household: HouseholdId,
        leaving: &Leaving,
        report: &mut ErasureReport,
    ) -> Result<Home, Failure> {
        let nothing = Home { household, links: Vec::new(), mandates: Vec::new() };
        let Some(home) = self.engine.facts(household).await? else { return Ok(nothing) };
        let is_emptied = home.members.keys().all(|member| leaving.is(member));
        if leaving.is_known_in(&home) {
            *(if is_emptied { &mut report.homes_emptied } else { &mut report.homes_left }) += 1;
        }
        let links: Vec<LinkId> =
            home.links.iter().filter(|(_, link)| leaving.is(&link.profile)).map(|(id, _)| *id).collect();
        let mandates = home.supply.mandates.values().filter(|mandate| leaving.is(&mandate.profile));
        let mandates: Vec<MandateId> = mandates.map(|mandate| mandate.id.clone()).collect();
        for device in home.devices.keys() {
            let mut of_device = home.links.values().filter(|link| link.device == *device);
            if !is_emptied && !of_device.all(|link| leaving.is(&link.profile)) {
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
        Ok(Home { links, mandates, ..nothing })
    }

    /// What passed before the erasure began may have come after its plan: then its home joins the plan, and
    /// all is done again.
    pub(super) async fn look_again(&self, job: &mut Job, leaving: &Leaving, homes: &[Home]) -> Result<(), Failure> {
        let Some(profile) = leaving.names.first() else { return Ok(()) };
        let Some(profile) = self.stored_profile(&job.retailer, profile)? else { return Ok(()) };
        let (_, households) = self.whereabouts(&job.retailer, &profile).await?;
        let mut all = homes.to_vec();
        let mut has_more = false;
        for household in households {
            let known = all.iter().position(|known| known.household == household);
            let home: Option<std::sync::Arc<Household>> = self.engine.facts(household).await?;
            if known.is_some() && !home.is_some_and(|home| leaving.is_known_in(&home)) {
                continue;
            }
            has_more = true;
            let found = self.foresee(household, leaving, &mut job.row.report).await?;
            match known {
                Some(at) => {
                    all[at].links.extend(found.links);
                    all[at].mandates.extend(found.mandates);
                }
                None => all.push(found),
            }
        }
        if !has_more {
            return Ok(());
        }
        if let Stage::AtWork { homes, .. } = &mut job.row.stage {
            *homes = all;
        }
        job.swept = None;
        rows::write(&self.engine, vec![self.work_written(&job.retailer, &job.id, &job.row)?]).await?;
        Err(Failure::Conflict("the person came to a home meanwhile; it is done again".to_owned()))
    }
}

/// The people of whom an input says what they are called.
fn told_of(what: &What) -> Vec<&Member> {
    let What::Command(command) = what else { return Vec::new() };
    match command {
        Command::ConfirmClaim { join, .. } | Command::LinkDirectly { join } | Command::JoinForStay { join, .. } => {
            vec![&join.member]
        }
        Command::AddMember { join } => vec![&join.member],
        Command::Arrive { join: Some(join), .. } | Command::ArriveKnown { join: Some(join), .. } => vec![&join.member],
        Command::ProfileChanged { member, .. } => vec![&**member],
        Command::Merge(merge) => vec![&merge.into],
        Command::Unmerge(undo) => vec![&undo.from, &undo.into],
        _ => Vec::new(),
    }
}
