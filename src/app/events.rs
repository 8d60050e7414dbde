//! What other systems tell of customers, as CloudEvents: so far a purchase made elsewhere.

use hearthway_core::decide::purchase_cause;
use hearthway_core::decision::Reply;
use hearthway_core::id::{HouseholdId, ProductId, ProfileId, RetailerId};
use hearthway_core::input::Command;
use hearthway_core::model::Bought;
use hearthway_core::time::{Span, Timestamp};

use super::profiles::settled;
use super::tokens::{Caller, Scope};
use super::{App, Failure};
use crate::engine::Target;

/// How long ago a purchase may be: what is older says nothing about how a home uses things now.
const PURCHASE_AGE_MAX: Span = Span::days(3 * 365);
/// How far ahead the clock of a shop's till may be.
const PURCHASE_AHEAD_MAX: Span = Span::minutes(10);
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

/// What became of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard {
    /// The home knows.
    Taken(HouseholdId),
    /// It was told before.
    Repeated(HouseholdId),
}

impl App {
    /// Lets the buyer's home know of a purchase; answered when it is on disk.
    pub async fn purchased(&self, who: &Caller, event: &PurchaseEvent) -> Result<Heard, Failure> {
        let retailer = who.retailer(Scope::EventsWrite)?;
        let now = self.now();
        let at = event.at.unwrap_or(now);
        if at > now + PURCHASE_AHEAD_MAX || now - at > PURCHASE_AGE_MAX {
            let message = format!("{at}: at most {PURCHASE_AGE_MAX} ago, and not to come");
            return Err(Failure::invalid("/time", message));
        }
        if !(1..=QTY_MAX).contains(&event.qty) {
            return Err(Failure::invalid("/data/qty", format!("1 to {QTY_MAX}, not {}", event.qty)));
        }
        if self.engine.rules().product(retailer, &event.product).is_none() {
            let message = format!("there is no product `{}` in the catalogue", event.product);
            return Err(Failure::invalid("/data/product", message));
        }
        let home = self.home_of_buyer(retailer, event).await?;
        let parts = [event.source.as_bytes(), event.id.as_bytes()];
        let bought = Bought { at, qty: event.qty, cause: purchase_cause(&parts) };
        let what = Command::Purchased { product: event.product.clone(), bought };
        let input = self.command(None, "purchase", event.id.as_bytes(), what);
        match settled(self.engine.call(Target::Household(home), input).await)? {
            Reply::Unchanged => Ok(Heard::Repeated(home)),
            _ => Ok(Heard::Taken(home)),
        }
    }

    async fn home_of_buyer(&self, retailer: &RetailerId, event: &PurchaseEvent) -> Result<HouseholdId, Failure> {
        let unknown = || Failure::invalid("/data/profile", format!("there is no profile `{}`", event.profile));
        let profile = self.stored_profile(retailer, &event.profile)?.ok_or_else(unknown)?;
        let homes = self.homes_of(retailer, &profile).await?;
        match (event.household, homes.as_slice()) {
            (Some(wanted), homes) if homes.iter().any(|home| home.id == wanted) => Ok(wanted),
            (Some(wanted), _) => {
                Err(Failure::invalid("/data/household", format!("`{}` is no member of {wanted}", event.profile)))
            }
            (None, [home]) => Ok(home.id),
            (None, []) => Err(Failure::invalid("/data/profile", format!("`{}` has no home yet", event.profile))),
            (None, _) => {
                let message = format!("`{}` has {} homes: name the `household`", event.profile, homes.len());
                Err(Failure::invalid("/data/household", message))
            }
        }
    }
}
