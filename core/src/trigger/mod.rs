//! What a retailer writes, checked and compiled.
//!
//! [`Trigger`] is one compiled trigger; [`TriggerSet`] all live ones, indexed by what wakes them.

mod case;
mod check;
mod compile;
pub mod condition;
mod conflicts;
pub mod definition;
mod discount;
mod holdout;
mod language;
mod nearest;
mod on;
mod plain;
mod problem;
mod quantity;
mod schema;
mod set;
mod shape;
mod text;
mod tree;
mod units;

use jiff::civil::Date;

use crate::budget::{Budget, EvenByDay};
use crate::id::{AudienceId, PlacementId, PoolId, ProductId, RetailerId, TriggerId};
use crate::model::RankBy;
use crate::model::{Action, Fulfil, Purpose, Role};
use crate::time::{DailyWindow, Span};

pub use case::{CaseOutcome, ReadFile, run_cases, tried_message};
pub use check::{
    Checked, FILE_BYTES_MAX, Sound, SourceFile, World, budget_of, check, check_json, compile_json, compile_published,
};
pub use condition::{Condition, Evaluation, Leaf, Scope, Truth};
pub use conflicts::{CONFLICTS_MAX, Conflict, conflicts};
pub use definition::TriggerDefinition;
pub use discount::Discount;
pub use holdout::{BUCKETS, Holdout};
pub use nearest::{nearest, suggestion};
pub use on::{Count, Crossing, EdgeRule, ForecastField, Hour, Moment, On, Source};
pub use problem::{NOT_SERVED_YET, Problem, ProblemReport, Severity};
pub use quantity::{parse_quantity, quantity_text};
pub use schema::file_schema;
pub use set::{Concerned, IndexKey, Sharing, TriggerSet, Watched};
pub use text::{HouseholdVars, PriceVars, ProductVars, ReducedVars, TextError, TextVars, Texts, money_text};
pub use units::{Spoken, UNIT_CHANGED, Units};

/// One trigger of one retailer, checked and compiled.
#[derive(Debug)]
pub struct Trigger {
    /// Whose.
    pub retailer: RetailerId,
    /// Its id, stable across versions.
    pub id: TriggerId,
    /// Its version, from 1.
    pub version: u64,
    /// What it proposes.
    pub kind: OfferKind,
    /// 0 to 100.
    pub priority: u8,
    /// First and last local date on which it is live.
    pub valid: (Option<Date>, Option<Date>),
    /// An older event never sends.
    pub max_event_age: Span,
    /// What wakes it.
    pub on: On,
    /// What must hold as well; none means always.
    pub when: Option<Condition>,
    /// Purposes that must be consented to.
    pub consent: Vec<Purpose>,
    /// Whether the device must be linked.
    pub link_required: bool,
    /// Roles that may see it.
    pub roles: Vec<Role>,
    /// Segments of which the household's owner must have one; empty means everybody.
    pub include: Vec<String>,
    /// Segments of which they may have none.
    pub exclude: Vec<String>,
    /// Audiences of which they must be in one; empty means everybody.
    pub audiences: Vec<AudienceId>,
    /// Audiences of which they may be in none.
    pub except: Vec<AudienceId>,
    /// What is proposed.
    pub offer: OfferPlan,
    /// Device placements to try, best first; empty means the device's first.
    pub placements: Vec<PlacementId>,
    /// Frequency caps.
    pub caps: Vec<Cap>,
    /// Silence after an answer or an order.
    pub after: After,
    /// Quiet hours, in the household's zone.
    pub quiet: Option<DailyWindow>,
    /// Whether an offer waits for an hour in which the device is usually used.
    pub at_hour_of_use: bool,
    /// What may be drawn by all homes together.
    pub budget: Option<BudgetPlan>,
    /// Who is left out, to compare with.
    pub holdout: Option<Holdout>,
    /// How it replenishes; with the defaults where a `replenish` trigger says nothing, none for
    /// other kinds.
    pub replenish: Option<Replenish>,
}

/// How a trigger replenishes a slot.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Replenish {
    /// Whether it may order under a mandate without asking.
    pub auto: bool,
    /// Slack before the run-out.
    pub safety: Span,
    /// For how long an order should last; none orders the least.
    pub cover: Option<Span>,
    /// Pieces at least.
    pub min: u32,
    /// Pieces at most.
    pub max: u32,
    /// How long before an automatic order it is announced, and can be cancelled.
    pub notice: Span,
    /// What a day without costs, in days too early.
    pub cost_without: f64,
    /// Spares that the home wants to keep: it is asked when no more than these are left.
    pub keep: u32,
    /// How much too early it joins the delivery of something else that is ordered for the home.
    pub join: Span,
}

impl Replenish {
    /// Where nothing is said: ask, one piece, nine days too early for one without, a day of notice.
    pub const DEFAULT: Replenish = Replenish {
        auto: false,
        safety: Span::ZERO,
        cover: None,
        min: 1,
        max: crate::limits::ORDER_QTY_MAX,
        notice: Span::days(1),
        cost_without: 9.0,
        keep: 0,
        join: Span::ZERO,
    };
}

impl Trigger {
    /// The caps that all homes share.
    pub fn shared_caps(&self) -> impl Iterator<Item = &Cap> {
        self.caps.iter().filter(|cap| cap.scope == CapScope::Global)
    }
}

/// What a trigger proposes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OfferKind {
    /// A product.
    Offer,
    /// A consumable that runs out.
    Replenish,
    /// A hint without a price.
    Tip,
    /// A service.
    Service,
}

impl OfferKind {
    /// The kind as written.
    pub fn as_str(self) -> &'static str {
        match self {
            OfferKind::Offer => "offer",
            OfferKind::Replenish => "replenish",
            OfferKind::Tip => "tip",
            OfferKind::Service => "service",
        }
    }
    /// The purpose it needs where the trigger names none.
    pub fn default_purpose(self) -> Purpose {
        match self {
            OfferKind::Replenish => Purpose::ReplenishDevice,
            OfferKind::Offer | OfferKind::Tip | OfferKind::Service => Purpose::OffersDevice,
        }
    }
}

/// What all homes together may draw, and how fast.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BudgetPlan {
    /// The bounds.
    pub limits: Budget,
    /// The days over which it is spread; none lets it go as it comes.
    pub even: Option<EvenByDay>,
}

/// What is proposed, and on which terms.
#[derive(Debug)]
pub struct OfferPlan {
    /// How the product is found; none for a tip.
    pub product: Option<ProductChoice>,
    /// What is taken off its price.
    pub discount: Option<Discount>,
    /// From which pool each offer takes a unique code.
    pub code_pool: Option<PoolId>,
    /// How long the price holds.
    pub price_lock: Span,
    /// How long the offer lives.
    pub expires: Span,
    /// How long an order can be cancelled.
    pub cancel_window: Span,
    /// What can be answered.
    pub actions: Vec<Action>,
    /// How it may be had.
    pub fulfil: Vec<Fulfil>,
    /// How it ranks sellers; none leaves it to the retailer.
    pub policy: Option<Vec<RankBy>>,
    /// How many other sellers are shown.
    pub alternatives_max: usize,
    /// The confirmation strength asked for; none takes the device's first.
    pub confirm: Option<String>,
    /// What it says.
    pub texts: Texts,
}

/// How the product is found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProductChoice {
    /// This one.
    Fixed(ProductId),
    /// The first of the retailer's products that fits the slot, else this one.
    SlotCompatible {
        /// Which of those that fit is taken rather than the first, the weightiest wish first.
        prefer: Vec<Prefer>,
        /// Where none fits.
        fallback: Option<ProductId>,
    },
}

/// Which of the products that fit a slot is taken rather than another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Prefer {
    /// What the retailer sells itself, before what stands in its catalogue for another seller.
    Own,
    /// What the home bought last for this slot.
    SameAsLast,
}

impl Prefer {
    /// Reads it as written.
    pub fn parse(text: &str) -> Option<Prefer> {
        match text {
            "own" => Some(Prefer::Own),
            "same_as_last" => Some(Prefer::SameAsLast),
            _ => None,
        }
    }
}

/// A frequency cap.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cap {
    /// At most so many.
    pub max: u32,
    /// Whether it counts only this trigger's offers, or all.
    pub per: CapPer,
    /// Whose contacts it counts.
    pub scope: CapScope,
    /// In which stretch of time.
    pub window: CapWindow,
}

/// A way to reach a home.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Channel {
    /// Its devices.
    Device,
    /// What a retailer's own system sends. Nothing goes there yet.
    Webhook,
}

/// What a cap counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CapPer {
    /// Offers of this trigger.
    Offer,
    /// Offers on a channel, of any trigger.
    Channel(Channel),
    /// All offers.
    All,
}

/// Whose contacts a cap counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CapScope {
    /// The household's.
    Household,
    /// The profile's: the household's, and those of the other homes of the people at the device.
    Profile,
    /// This device's.
    Device,
    /// Those of all homes of the retailer together.
    Global,
}

/// The stretch of time of a cap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CapWindow {
    /// Elapsed time.
    Within(Span),
    /// The local calendar day.
    EachDay,
}

/// Silence after an answer or an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct After {
    /// After a refusal.
    pub declined: Option<Span>,
    /// After "not needed".
    pub not_needed: Option<Span>,
    /// After an order of the same product.
    pub ordered: Option<Span>,
}
