//! Why: the steps of decisions, for the retailer whose household and trigger it is.

use hearthway_core::id::{HouseholdId, InputId, RetailerId, TriggerId};
use hearthway_core::time::Timestamp;
use hearthway_core::trace::CandidateTrace;

use super::documents::{Kind, Name};
use super::tokens::{Caller, Scope};
use super::{App, Failure};
use crate::engine::Explained;

impl App {
    /// Why a trigger sent or stayed silent, at an instant or last.
    pub async fn explain(
        &self,
        who: &Caller,
        household: &str,
        trigger: &str,
        at: Option<Timestamp>,
    ) -> Result<Explained, Failure> {
        let retailer = who.retailer(Scope::DecisionsRead)?;
        let household = self.own_household(retailer, household).await?;
        let trigger = self.own_trigger(retailer, trigger)?;
        let found = self.engine.explain(household, &trigger, at).await?;
        if let Some(found) = found {
            return Ok(found);
        }
        let when = match (at, self.engine.past().history_from(household)?) {
            (None, _) => "yet".to_owned(),
            (Some(at), Some(from)) if at < from => format!("at {at}; the history of this home begins at {from}"),
            (Some(at), _) => format!("at {at}"),
        };
        Err(Failure::NotFound { what: "decision", id: format!("{trigger} in {household} {when}") })
    }

    /// The stored decisions of a household, newest first.
    pub async fn decisions(
        &self,
        who: &Caller,
        household: &str,
        trigger: Option<&str>,
        limit: usize,
    ) -> Result<Vec<(Timestamp, InputId, CandidateTrace)>, Failure> {
        let retailer = who.retailer(Scope::DecisionsRead)?;
        let household = self.own_household(retailer, household).await?;
        let trigger = trigger.map(|trigger| self.own_trigger(retailer, trigger)).transpose()?;
        Ok(self.engine.decisions(household, trigger.as_ref(), limit)?)
    }

    pub(super) async fn own_household(&self, retailer: &RetailerId, id: &str) -> Result<HouseholdId, Failure> {
        let missing = || Failure::not_found("household", id.chars().take(80).collect::<String>());
        let id: HouseholdId = id.parse().map_err(|_| missing())?;
        let home = self.engine.facts(id).await?;
        home.filter(|home| home.retailer.as_ref() == Some(retailer)).map(|_| id).ok_or_else(missing)
    }

    fn own_trigger(&self, retailer: &RetailerId, id: &str) -> Result<TriggerId, Failure> {
        let missing = || Failure::not_found("trigger", id.chars().take(80).collect::<String>());
        let name = TriggerId::new(id).map_err(|_| missing())?;
        if self.rulebook.get(&Name::of_retailer(Kind::Trigger, retailer, id)).is_some() {
            return Ok(name);
        }
        match self.rulebook.get(&Name::of_retailer(Kind::Draft, retailer, id)) {
            Some(_) => Err(Failure::Conflict(format!(
                "the trigger `{id}` is a draft and was never published: it has decided nothing; try it in a home instead"
            ))),
            None => Err(missing()),
        }
    }
}
