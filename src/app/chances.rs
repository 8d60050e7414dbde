//! How likely a retailer's offers are accepted: learned from its ledgers, published as a version of the rules.

use std::collections::BTreeSet;
use std::sync::Arc;

use hearthway_core::chance::Chances;
use hearthway_core::id::RetailerId;
use hearthway_core::report::{Day, Period};
use hearthway_core::time::Span;

use super::catalog::DOCUMENT_BYTES_MAX;
use super::documents::{Condition, Document, Kind, Name};
use super::reports::made;
use super::tenants::to_text;
use super::tokens::{Caller, Scope};
use super::{App, Failure};

/// The name of the one document of a retailer.
const NAME: &str = "_all";
/// Days of ledgers that are learned from: a year, so that every season has its say.
const LEARNED_FROM: Span = Span::days(365);

impl App {
    /// Learns from the ledgers of the caller's homes and publishes what was learned. `explore` where it is said anew.
    pub async fn learn_chances(&self, who: &Caller, explore: Option<bool>) -> Result<Chances, Failure> {
        let retailer = who.retailer(Scope::TriggersPublish)?.clone();
        self.learn(&retailer, explore).await?;
        Ok(self.engine.rules().chances(&retailer).clone())
    }

    /// What was learned last of the caller's offers.
    pub fn chances(&self, who: &Caller) -> Result<Chances, Failure> {
        let retailer = who.retailer(Scope::ReportsRead)?;
        let rules = self.engine.rules();
        rules
            .chances
            .get(retailer)
            .map(|known| (**known).clone())
            .ok_or_else(|| Failure::NotYet("nothing was learned of offers yet; POST /v1/chances:learn does".into()))
    }

    /// The same for every retailer with a live trigger.
    pub async fn learn_all_chances(&self) -> Result<usize, Failure> {
        let rules = self.engine.rules();
        let retailers: BTreeSet<&RetailerId> = rules.triggers.iter().map(|trigger| &trigger.retailer).collect();
        for retailer in &retailers {
            self.learn(retailer, None).await?;
        }
        Ok(retailers.len())
    }

    async fn learn(&self, retailer: &RetailerId, explore: Option<bool>) -> Result<Arc<Document>, Failure> {
        let (past, now, of) = (self.engine.past(), self.now(), retailer.clone());
        let known = self.engine.rules().chances(retailer).clone();
        let turn = self.report_turn().await?;
        let counted = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            let from = Some(Day::of(now - LEARNED_FROM, &past.zone_of(&of)));
            past.chances(&of, &Period { from, until: None })
        });
        let counted = made(counted.await)?;
        let mut chances = Chances { learned_at: now, explore: explore.unwrap_or(known.explore), ..counted };
        let is_known = Chances { learned_at: known.learned_at, ..chances.clone() } == known;
        let name = Name::of_retailer(Kind::Chances, retailer, NAME);
        if let Some(document) = self.rulebook.get(&name).filter(|_| is_known) {
            return Ok(document);
        }
        let mut text = to_text(&chances);
        let mut seen_min = 1;
        while text.len() > DOCUMENT_BYTES_MAX {
            // What was seen least tells least: it leans on all of them.
            chances.triggers.retain(|_, of| of.all.seen >= seen_min);
            chances.triggers.values_mut().for_each(|of| of.models.retain(|_, tally| tally.seen >= seen_min));
            seen_min *= 2;
            text = to_text(&chances);
        }
        self.rulebook.put(&self.engine, name, text, false, &Condition::default()).await
    }
}
