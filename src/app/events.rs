//! What other systems tell of customers, as CloudEvents: a purchase made elsewhere, or anything else that a person did
//! on another channel.

use hearthway_core::decide::purchase_cause;
use hearthway_core::decision::Reply;
use hearthway_core::id::{FieldName, HouseholdId, ProductId, ProfileId, RetailerId};
use hearthway_core::input::{Command, Input};
use hearthway_core::model::{Bought, Value};
use hearthway_core::time::{Span, Timestamp};
use hearthway_core::wire::EventUp;

use super::profiles::settled;
use super::tokens::{Caller, Scope};
use super::{App, Failure};
use crate::engine::Target;

/// How long ago a purchase may be: what is older says nothing about how a home uses things now.
const PURCHASE_AGE_MAX: Span = Span::days(3 * 365);
/// How long ago anything else may be: it is news, or a late batch of a week.
const CHANNEL_EVENT_AGE_MAX: Span = Span::days(7);
/// How far ahead the clock of a shop's till may be.
const AHEAD_MAX: Span = Span::minutes(10);
/// How many of a product one purchase may be.
const QTY_MAX: u32 = 1_000;

/// A purchase made on another channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PurchaseEvent {
    /// The event's id, which is its source's.
    pub id: String,
    /// Who tells it.
    pub source: String,
    /// When it was bought; now where not said.
    pub at: Option<Timestamp>,
    /// Who bought.
    pub profile: ProfileId,
    /// For which home; the person's only one where not said.
    pub household: Option<HouseholdId>,
    /// What.
    pub product: ProductId,
    /// How many.
    pub qty: u32,
}

/// Something else that a person did on another channel.
#[derive(Debug, Clone, PartialEq)]
pub struct ChannelEvent {
    /// The event's id, which is its source's.
    pub id: String,
    /// Who tells it.
    pub source: String,
    /// What, such as `store.visit`.
    pub r#type: FieldName,
    /// When; now where not said.
    pub at: Option<Timestamp>,
    /// Who.
    pub profile: ProfileId,
    /// For which home; the person's only one where not said.
    pub household: Option<HouseholdId>,
    /// What came with it, flat.
    pub data: Vec<(FieldName, Value)>,
}

/// What became of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard {
    /// The home knows.
    Taken(HouseholdId),
    /// It was heard, and nothing follows: no device of the home takes what was bought.
    FitsNothing(HouseholdId),
    /// It was told before.
    Repeated(HouseholdId),
}

impl App {
    /// Lets the buyer's home know of a purchase; answered when it is on disk.
    pub async fn purchased(&self, who: &Caller, event: &PurchaseEvent) -> Result<Heard, Failure> {
        let retailer = who.retailer(Scope::EventsWrite)?;
        let at = self.told_at(event.at, PURCHASE_AGE_MAX)?;
        if !(1..=QTY_MAX).contains(&event.qty) {
            return Err(Failure::invalid("/data/qty", format!("1 to {QTY_MAX}, not {}", event.qty)));
        }
        if self.engine.rules().product(retailer, &event.product).is_none() {
            let message = format!("there is no product `{}` in the catalogue", event.product);
            return Err(Failure::invalid("/data/product", message));
        }
        let _busy = self.erasures.check(retailer, &event.profile)?;
        let home = self.home_of_person(retailer, &event.profile, event.household).await?;
        let parts = [event.source.as_bytes(), event.id.as_bytes()];
        let bought = Bought { at, qty: event.qty, cause: purchase_cause(&parts) };
        let what = Command::Purchased { product: event.product.clone(), bought };
        let input = self.command(None, "purchase", event.id.as_bytes(), what);
        match self.heard(home, input).await? {
            Heard::Taken(home) if !self.takes(retailer, home, &event.product).await? => Ok(Heard::FitsNothing(home)),
            heard => Ok(heard),
        }
    }

    /// Whether any device of a home takes a product.
    async fn takes(&self, retailer: &RetailerId, home: HouseholdId, product: &ProductId) -> Result<bool, Failure> {
        let Some(product) = self.engine.rules().product(retailer, product) else { return Ok(false) };
        let facts = self.engine.facts(home).await?;
        let mut devices = facts.iter().flat_map(|home| home.devices.values());
        Ok(devices.any(|device| product.fits.iter().any(|fit| fit.model == device.model)))
    }

    /// Lets a person's home know of what they did on another channel: its triggers on that channel wake.
    pub async fn happened_elsewhere(&self, who: &Caller, event: &ChannelEvent) -> Result<Heard, Failure> {
        let retailer = who.retailer(Scope::EventsWrite)?;
        let at = self.told_at(event.at, CHANNEL_EVENT_AGE_MAX)?;
        let _busy = self.erasures.check(retailer, &event.profile)?;
        let home = self.home_of_person(retailer, &event.profile, event.household).await?;
        let said = EventUp { r#type: event.r#type.to_string(), t: Some(at), data: event.data.clone() };
        let cause = purchase_cause(&[event.source.as_bytes(), event.id.as_bytes()]);
        let what = Command::ElsewhereSaid { profile: event.profile.clone(), event: said, cause };
        self.heard(home, self.command(None, "elsewhere", event.id.as_bytes(), what)).await
    }

    async fn heard(&self, home: HouseholdId, input: Input) -> Result<Heard, Failure> {
        match settled(self.engine.call(Target::Household(home), input).await)? {
            Reply::Unchanged => Ok(Heard::Repeated(home)),
            _ => Ok(Heard::Taken(home)),
        }
    }

    /// When it happened: now where nobody says, neither to come nor longer ago than it can matter.
    fn told_at(&self, at: Option<Timestamp>, age_max: Span) -> Result<Timestamp, Failure> {
        let now = self.now();
        let at = at.unwrap_or(now);
        if at > now + AHEAD_MAX || now - at > age_max {
            return Err(Failure::invalid("/time", format!("{at}: at most {age_max} ago, and not to come")));
        }
        Ok(at)
    }

    async fn home_of_person(
        &self,
        retailer: &RetailerId,
        person: &ProfileId,
        household: Option<HouseholdId>,
    ) -> Result<HouseholdId, Failure> {
        let unknown = || Failure::invalid("/data/profile", format!("there is no profile `{person}`"));
        let profile = self.stored_profile(retailer, person)?.ok_or_else(unknown)?;
        let homes = self.homes_of(retailer, &profile).await?;
        match (household, homes.as_slice()) {
            (Some(wanted), homes) if homes.iter().any(|home| home.id == wanted) => Ok(wanted),
            (Some(wanted), _) => {
                Err(Failure::invalid("/data/household", format!("`{}` is no member of {wanted}", person)))
            }
            (None, [home]) => Ok(home.id),
            (None, []) => Err(Failure::invalid("/data/profile", format!("`{person}` has no home yet"))),
            (None, _) => {
                let message = format!("`{person}` has {} homes: name the `household`", homes.len());
                Err(Failure::invalid("/data/household", message))
            }
        }
    }
}
