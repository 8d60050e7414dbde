use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Condition, Locale};
use crate::budget::Budget;
use crate::id::{
    DecisionId, DeviceKey, OfferId, OrderId, PlacementId, PoolId, ProductId, RetailerId, SellerId, SlotId, StoreId,
    TriggerId, UniqueCode,
};
use crate::money::Money;
use crate::time::{Span, Timestamp};

/// What a person can do with an offer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Buy here and now.
    Order,
    /// Later.
    Snooze,
    /// No.
    Decline,
    /// Why do I see this?
    Why,
    /// Go on in the shop's app.
    OpenApp,
    /// Only read.
    Inform,
}

impl Action {
    /// The action as written.
    pub fn as_str(self) -> &'static str {
        match self {
            Action::Order => "order",
            Action::Snooze => "snooze",
            Action::Decline => "decline",
            Action::Why => "why",
            Action::OpenApp => "open_app",
            Action::Inform => "inform",
        }
    }
}

/// How goods reach the customer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fulfil {
    /// To the door.
    Deliver,
    /// From the store.
    Collect,
}

/// The texts of an offer in one language.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OfferText {
    /// The language they are in.
    pub locale: Locale,
    /// Headline.
    pub title: String,
    /// Body.
    pub body: String,
    /// For a display of a few letters.
    pub short: Option<String>,
    /// To be read aloud.
    pub say: Option<String>,
    /// Why the customer sees it.
    pub why: Option<String>,
}

/// What is offered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OfferItem {
    /// Article number.
    pub product: ProductId,
    /// Its name in the offer's language.
    pub name: String,
    /// How many.
    pub qty: u32,
}

/// The quoted price.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OfferPrice {
    /// One piece.
    pub item: Money,
    /// Delivery.
    pub delivery: Money,
    /// All together.
    pub total: Money,
    /// Whether tax is included.
    pub tax_incl: bool,
    /// Until when the price holds.
    pub lock_until: Timestamp,
    /// All together without promotion and the trigger's discount, where there is one.
    pub was: Option<Money>,
    /// What the trigger's discount takes off all together, where it has one.
    pub reduced: Option<Money>,
}

impl OfferPrice {
    /// What the trigger takes off so many pieces; none where there is no discount. `of` is for how many the
    /// price is.
    pub fn discount(&self, of: u32, qty: u32) -> Option<Money> {
        let off = self.reduced?.minor.checked_div(of.into())?;
        Money::new(off, self.total.currency).times(qty)
    }
    /// The same where it is collected: nothing is brought, so nothing of it is paid for.
    pub fn without_delivery(self) -> OfferPrice {
        let less = |all: Money| Money { minor: all.minor - self.delivery.minor, ..all };
        OfferPrice {
            total: less(self.total),
            was: self.was.map(less),
            delivery: Money { minor: 0, ..self.delivery },
            ..self
        }
    }
}

/// Where an offer stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum OfferState {
    /// Decided, held for a better hour; looked at again then.
    Queued {
        /// When it is looked at again.
        until: Timestamp,
    },
    /// Given to the outbox.
    Sent,
    /// The device has it.
    Delivered,
    /// The person sees it.
    Shown,
    /// Accepted; there is an order.
    Accepted {
        /// The order.
        order: OrderId,
    },
    /// Refused (`decline` or `not_needed`).
    Declined,
    /// Later.
    Snoozed {
        /// When it may show again.
        until: Timestamp,
    },
    /// Ended by time.
    Expired,
    /// Taken back.
    Withdrawn,
    /// Could not be made good.
    Failed,
}

impl OfferState {
    /// The state as written.
    pub fn as_str(self) -> &'static str {
        match self {
            OfferState::Queued { .. } => "queued",
            OfferState::Sent => "sent",
            OfferState::Delivered => "delivered",
            OfferState::Shown => "shown",
            OfferState::Accepted { .. } => "accepted",
            OfferState::Declined => "declined",
            OfferState::Snoozed { .. } => "snoozed",
            OfferState::Expired => "expired",
            OfferState::Withdrawn => "withdrawn",
            OfferState::Failed => "failed",
        }
    }
    /// Whether it can still be answered.
    pub fn is_live(self) -> bool {
        match self {
            OfferState::Queued { .. }
            | OfferState::Sent
            | OfferState::Delivered
            | OfferState::Shown
            | OfferState::Snoozed { .. } => true,
            OfferState::Accepted { .. }
            | OfferState::Declined
            | OfferState::Expired
            | OfferState::Withdrawn
            | OfferState::Failed => false,
        }
    }
}

/// One change of state, with its cause.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StateChange {
    /// The state that was entered.
    #[serde(deserialize_with = "crate::shared::deserialize")]
    pub state: Arc<str>,
    /// When.
    pub at: Timestamp,
    /// Why, such as `device`, `app`, `timer`, `consent withdrawn`.
    #[serde(deserialize_with = "crate::shared::deserialize")]
    pub cause: Arc<str>,
}

/// One proposal to one household.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Offer {
    /// Derived from the decision.
    pub id: OfferId,
    /// Raised when its content changes.
    pub rev: u32,
    /// Whose offer it is.
    pub retailer: RetailerId,
    /// What woke it.
    pub trigger: TriggerId,
    /// In which version.
    pub trigger_version: u64,
    /// The decision that explains it.
    pub decision: DecisionId,
    /// `offer`, `replenish`, `tip` or `service`.
    #[serde(deserialize_with = "crate::shared::deserialize")]
    pub kind: Arc<str>,
    /// On which device.
    pub device: DeviceKey,
    /// About which slot, where it is about one.
    pub slot: Option<SlotId>,
    /// On which surface.
    pub placement: PlacementId,
    /// 0 to 100.
    pub priority: u8,
    /// From when.
    pub valid_from: Timestamp,
    /// Until when it can be answered.
    pub expires_at: Timestamp,
    /// What it says.
    pub text: OfferText,
    /// What it proposes; a tip has none.
    pub item: Option<OfferItem>,
    /// What it costs.
    pub price: Option<OfferPrice>,
    /// The seller as customers know it.
    pub sold_by: Option<String>,
    /// Days to withdraw.
    pub withdraw_days: Option<u32>,
    /// How it may be had.
    pub fulfil: Vec<Fulfil>,
    /// What can be answered.
    pub actions: Vec<Action>,
    /// How to confirm an order: strength and the label that says it costs money.
    pub confirm: Option<(String, String)>,
    /// The cancel window of an order.
    pub cancel_window: Span,
    /// A test offer.
    pub test: bool,
    /// Where it stands.
    pub state: OfferState,
    /// How it got there.
    pub history: Vec<StateChange>,
    /// The last answer's nonce and time, to recognise a repeated press.
    pub last_answer: Option<(String, Timestamp)>,
    /// Out of what an order draws, as it was when the offer was made.
    pub budget: Option<Budget>,
    /// The unique code that it carries.
    pub code: Option<OfferCode>,
    /// Who sells it.
    pub seller: Option<SellerId>,
    /// By when it should arrive.
    pub ships_by: Option<Timestamp>,
    /// Who else sells it, next best first.
    pub alternatives: Vec<Alternative>,
    /// Where it can be collected.
    pub stores: Vec<StoreChoice>,
}

/// The same from another seller.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alternative {
    /// Who.
    pub seller: SellerId,
    /// As customers know them.
    pub sold_by: String,
    /// What it costs there.
    pub price: OfferPrice,
    /// New, or not.
    pub condition: Condition,
    /// By when it should arrive.
    pub ships_by: Option<Timestamp>,
}

/// A store where something can be collected.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoreChoice {
    /// Which.
    pub store: StoreId,
    /// As customers know it.
    pub name: String,
    /// When it is ready there, in a word.
    pub ready: Option<String>,
}

/// A unique code of an offer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OfferCode {
    /// From which pool.
    pub pool: PoolId,
    /// The code.
    pub code: UniqueCode,
}

/// What has become of an offer's code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum CodeState {
    /// Nobody has it.
    Free,
    /// A live offer carries it.
    Reserved,
    /// It may have been seen, and the offer ended.
    Shown,
    /// It was bought with.
    Used,
}

impl Offer {
    /// What has become of the code of such an offer: it goes back where nobody can have seen it.
    pub fn code_state(&self) -> CodeState {
        match self.state {
            OfferState::Accepted { .. } => CodeState::Used,
            state if state.is_live() => CodeState::Reserved,
            _ if self.may_have_been_seen() => CodeState::Shown,
            _ => CodeState::Free,
        }
    }
    /// Whether the device said that it has it, or somebody answered it.
    pub fn may_have_been_seen(&self) -> bool {
        self.last_answer.is_some() || self.history.iter().any(|change| matches!(&*change.state, "delivered" | "shown"))
    }
}
