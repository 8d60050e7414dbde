//! What feeds say about homes: weather, tariff, season, each with the time until which it is believed.

use std::collections::BTreeSet;

use hearthway_core::decision::Reply;
use hearthway_core::id::{FieldName, HouseholdId};
use hearthway_core::input::Command;
use hearthway_core::model::Value;
use hearthway_core::time::{Span, Timestamp, Zone};
pub use hearthway_core::trigger::definition::Scalar;
use tokio::task::JoinSet;

use super::profiles::settled;
use super::tokens::{Caller, Scope};
use super::{App, Failure};
use crate::engine::{Outcome, Target};

/// How long a word may be believed at most: a season's is repeated every week, a dead feed is noticed.
pub const CONTEXT_TTL_MAX: Span = Span::days(7);
/// Characters of a word, such as `rain`.
const WORD_CHARS_MAX: usize = 64;
/// Homes of a region that are told at once: enough to share commits, few enough to leave the shards'
/// queues to the devices.
const HOMES_AT_ONCE: usize = 256;
/// Devices looked through in one page of the routes.
const DEVICES_PAGE: usize = 1_024;

/// Where something is so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// In one home.
    Home(HouseholdId),
    /// In every home of the retailer's customers in this time zone.
    Region(Zone),
}

/// What a feed says.
#[derive(Debug, Clone, PartialEq)]
pub struct ContextWord {
    /// The entry, as `context.<kind>` in conditions.
    pub kind: FieldName,
    /// What it is.
    pub value: Value,
    /// How long it is believed.
    pub ttl: Span,
    /// Where.
    pub place: Place,
    /// How far a number may lie from the word before; one beyond is not believed until another agrees with it.
    pub step_max: Option<f64>,
}

/// How many homes know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Told {
    /// Homes.
    pub homes: u64,
    /// Of these, where the word lies too far from the one before to be believed.
    pub doubted: u64,
    /// Until when it is believed.
    pub until: Timestamp,
}

impl Told {
    /// One home more.
    fn count(&mut self, outcome: Outcome) -> Result<(), Failure> {
        self.doubted += u64::from(settled(outcome)? == Reply::Doubted);
        self.homes += 1;
        Ok(())
    }
}

impl App {
    /// Takes a feed's word to the homes that it is about; answered when it is on disk in each.
    pub async fn set_context(&self, who: &Caller, word: &ContextWord) -> Result<Told, Failure> {
        let retailer = who.retailer(Scope::ContextWrite)?;
        if word.ttl <= Span::ZERO || word.ttl > CONTEXT_TTL_MAX {
            return Err(Failure::invalid("/ttl_s", format!("from 1 to {} seconds", CONTEXT_TTL_MAX.0 / 1_000)));
        }
        if matches!(&word.value, Value::Text(text) if text.is_empty() || text.chars().count() > WORD_CHARS_MAX) {
            return Err(Failure::invalid("/value", format!("a word of 1 to {WORD_CHARS_MAX} characters")));
        }
        if let Some(step_max) = word.step_max {
            if !matches!(word.value, Value::Number(_)) {
                return Err(Failure::invalid("/step_max", "only a number goes in steps; leave it out"));
            }
            if !step_max.is_finite() || step_max <= 0.0 {
                return Err(Failure::invalid("/step_max", "a number above 0, in what the value is measured in"));
            }
        }
        let until = self.now() + word.ttl;
        let mut told = Told { homes: 0, doubted: 0, until };
        match &word.place {
            Place::Home(id) => {
                let home = self.engine.facts(*id).await?;
                if home.is_none_or(|home| home.retailer.as_ref() != Some(retailer)) {
                    return Err(Failure::not_found("household", id));
                }
                told.count(self.tell(*id, word, until).await)?;
            }
            Place::Region(zone) => {
                let mut telling: JoinSet<Outcome> = JoinSet::new();
                for id in self.homes_of_retailer(retailer) {
                    let home = self.engine.facts(id).await?;
                    if home
                        .is_none_or(|home| home.zone.as_ref() != Some(zone) || home.retailer.as_ref() != Some(retailer))
                    {
                        continue;
                    }
                    if telling.len() >= HOMES_AT_ONCE
                        && let Some(outcome) = telling.join_next().await
                    {
                        settle_one(outcome, &mut told)?;
                    }
                    let (engine, input) = (self.engine.clone(), self.context_input(id, word, until));
                    telling.spawn(async move { engine.call(Target::Household(id), input).await });
                }
                while let Some(outcome) = telling.join_next().await {
                    settle_one(outcome, &mut told)?;
                }
            }
        }
        Ok(told)
    }

    async fn tell(&self, id: HouseholdId, word: &ContextWord, until: Timestamp) -> Outcome {
        self.engine.call(Target::Household(id), self.context_input(id, word, until)).await
    }

    fn context_input(&self, id: HouseholdId, word: &ContextWord, until: Timestamp) -> hearthway_core::input::Input {
        let (name, value) = (word.kind.clone(), word.value.clone());
        let what = match (&value, word.step_max) {
            (Value::Number(value), Some(step_max)) => {
                Command::SetSteadyContext { name, value: *value, step_max, until }
            }
            _ => Command::SetContext { name, value, until },
        };
        self.command(None, "context", id.bytes(), what)
    }

    /// The homes of a retailer's customers that have a device.
    fn homes_of_retailer(&self, retailer: &hearthway_core::id::RetailerId) -> BTreeSet<HouseholdId> {
        let mut homes = BTreeSet::new();
        let mut after = None;
        loop {
            let page = self.engine.devices(after.as_ref(), DEVICES_PAGE);
            let own = page.iter().filter(|(_, route)| route.retailer.as_ref() == Some(retailer));
            homes.extend(own.map(|(_, route)| route.household));
            match page.into_iter().last() {
                Some((key, _)) => after = Some(key),
                None => return homes,
            }
        }
    }
}

fn settle_one(outcome: Result<Outcome, tokio::task::JoinError>, told: &mut Told) -> Result<(), Failure> {
    // A task that panicked is a fault of ours; the home it was about does not know.
    if let Ok(outcome) = outcome {
        told.count(outcome)?;
    }
    Ok(())
}
