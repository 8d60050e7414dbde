//! A fleet: homes, the people in them, their devices, the faults these suffer, and what is
//! expected of the whole.

mod file;

use std::path::Path;

use hearthway_core::time::{DailyWindow, Span, Timestamp, Zone};

pub use file::{FleetErrors, Mistake};

use crate::model::Known;

/// Homes that one run plays at most: each device is a connection and a task.
pub const DEVICES_MAX: usize = 5_000;

/// A fleet file, checked.
#[derive(Debug, Clone)]
pub struct Fleet {
    /// Fixes everything that is drawn.
    pub seed: u64,
    /// When the story starts in the homes; none starts at the clock's now.
    pub start: Option<Timestamp>,
    /// How long the story is.
    pub length: Span,
    /// The homes.
    pub homes: Vec<Home>,
    /// Crossings that may cause an offer, where the file states them.
    pub causes: Vec<Cause>,
    /// What must be true in the end.
    pub expects: Vec<Expect>,
    /// Parts of the file that are checked and not played.
    pub notes: Vec<String>,
}

/// One home.
#[derive(Debug, Clone, PartialEq)]
pub struct Home {
    /// Its name in the story; also its owner's profile at the shop.
    pub id: String,
    /// Its time zone.
    pub zone: Zone,
    /// Its language.
    pub locale: String,
    /// Who lives there.
    pub people: Vec<Person>,
    /// Purposes that the owner consents to when claiming.
    pub consents: Vec<String>,
    /// Hours in which this home must hear nothing, where the file states them.
    pub quiet: Option<DailyWindow>,
    /// How long after its start a device is claimed; none means never.
    pub claim_after: Option<Span>,
    /// When the owner withdraws `offers.device` on the device, after the start.
    pub withdraw_at: Option<Span>,
    /// Its devices.
    pub devices: Vec<Device>,
}

/// One person and how they answer offers. What the probabilities leave is silence.
#[derive(Debug, Clone, PartialEq)]
pub struct Person {
    /// Their name in the story.
    pub id: String,
    /// `owner`, `buyer`, `viewer` or `child`.
    pub role: String,
    /// Probability of accepting.
    pub accept: f64,
    /// Probability of putting it off.
    pub snooze: f64,
    /// Probability of refusing.
    pub decline: f64,
    /// Probability of saying that it is not needed.
    pub not_needed: f64,
    /// Probability of asking why first.
    pub why: f64,
    /// Probability of cancelling an order while that is possible.
    pub cancel: f64,
}

/// One device.
#[derive(Debug, Clone, PartialEq)]
pub struct Device {
    /// The model and what is known of it.
    pub known: Known,
    /// Its serial number, unique in the fleet.
    pub serial: String,
    /// Share of its consumables used up at the start.
    pub wear: f64,
    /// How often it sends telemetry at least.
    pub report_every: Span,
    /// Whether the gateway keeps its session between connections.
    pub persistent: bool,
    /// What goes wrong with it.
    pub faults: Faults,
}

/// What goes wrong with a device.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Faults {
    /// Stretches without network.
    pub offline: Vec<Window>,
    /// Probability that a message or its acknowledgement is lost, so that it is sent again.
    pub loss: f64,
    /// Probability that a message is sent twice.
    pub duplicate: f64,
    /// Probability that a message is held back for minutes.
    pub delay: f64,
    /// Probability that a message changes places with the next.
    pub reorder: f64,
    /// How far its clock is ahead.
    pub skew: Span,
    /// When it is reset by a person, after the start.
    pub reset_at: Option<Span>,
}

/// A stretch of time: at an instant, or so long after the start.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Window {
    /// When it begins.
    pub from: Moment,
    /// How long it is.
    pub length: Span,
}

/// An instant as a fleet file writes it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Moment {
    /// A fixed instant.
    At(Timestamp),
    /// So long after the start.
    After(Span),
}

impl Moment {
    /// The instant in a run that starts at `start`.
    pub fn at(self, start: Timestamp) -> Timestamp {
        match self {
            Moment::At(at) => at,
            Moment::After(span) => start + span,
        }
    }
}

/// A crossing that may cause an offer: what the shop's triggers watch, said independently of them.
#[derive(Debug, Clone, PartialEq)]
pub struct Cause {
    /// On which model.
    pub model: String,
    /// The slot watched, or none for telemetry.
    pub slot: Option<String>,
    /// The field watched.
    pub field: String,
    /// The crossing.
    pub crossing: Crossing,
    /// The product that it proposes, where only one does.
    pub product: Option<String>,
}

/// A crossing of a threshold.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Crossing {
    /// From at or below to above.
    RisesAbove(f64),
    /// From at or above to below.
    FallsBelow(f64),
}

impl Crossing {
    /// Whether the step from one value to the next crosses.
    pub fn crosses(self, from: f64, to: f64) -> bool {
        match self {
            Crossing::RisesAbove(limit) => from <= limit && to > limit,
            Crossing::FallsBelow(limit) => from >= limit && to < limit,
        }
    }
}

/// One expectation.
#[derive(Debug, Clone, PartialEq)]
pub struct Expect {
    /// What is counted.
    pub that: Counted,
    /// In which home; none means all together.
    pub home: Option<String>,
    /// How it is compared.
    pub op: Compare,
    /// With what.
    pub value: u64,
}

/// What an expectation counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Counted {
    /// Devices that got a credential.
    Registered,
    /// Devices that were linked.
    Linked,
    /// Different offers that arrived.
    Offers,
    /// Different offers that were shown.
    Shown,
    /// Offers shown at local times inside a window.
    ShownBetween(DailyWindow),
    /// Answers that a person gave.
    Answers,
    /// Different orders.
    Orders,
    /// Refusals that came back.
    Errors,
    /// Offers that arrived after a reset and before a new claim.
    PersonalAfterReset,
}

impl Counted {
    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Counted::Registered => "devices.registered",
            Counted::Linked => "devices.linked",
            Counted::Offers => "offers.count",
            Counted::Shown => "offers.shown",
            Counted::ShownBetween(_) => "offers.shown_between",
            Counted::Answers => "answers.count",
            Counted::Orders => "orders.count",
            Counted::Errors => "errors.count",
            Counted::PersonalAfterReset => "personal_data.after_reset",
        }
    }
}

/// How an expectation compares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Compare {
    Equal,
    Unequal,
    Less,
    LessOrEqual,
    More,
    MoreOrEqual,
}

impl Compare {
    /// Reads `==`, `!=`, `<`, `<=`, `>`, `>=`.
    pub fn parse(text: &str) -> Option<Compare> {
        Some(match text {
            "==" => Compare::Equal,
            "!=" => Compare::Unequal,
            "<" => Compare::Less,
            "<=" => Compare::LessOrEqual,
            ">" => Compare::More,
            ">=" => Compare::MoreOrEqual,
            _ => return None,
        })
    }
    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Compare::Equal => "==",
            Compare::Unequal => "!=",
            Compare::Less => "<",
            Compare::LessOrEqual => "<=",
            Compare::More => ">",
            Compare::MoreOrEqual => ">=",
        }
    }
    /// Whether it holds.
    pub fn holds(self, left: u64, right: u64) -> bool {
        match self {
            Compare::Equal => left == right,
            Compare::Unequal => left != right,
            Compare::Less => left < right,
            Compare::LessOrEqual => left <= right,
            Compare::More => left > right,
            Compare::MoreOrEqual => left >= right,
        }
    }
}

impl Fleet {
    /// Reads a fleet from the text of a file; `name` stands in the mistakes.
    pub fn parse(name: &str, text: &str) -> Result<Fleet, FleetErrors> {
        file::parse(name, text)
    }

    /// Reads a fleet file.
    pub fn read(path: &Path) -> anyhow::Result<Fleet> {
        use anyhow::Context as _;
        let text =
            std::fs::read_to_string(path).with_context(|| format!("reading the fleet file `{}`", path.display()))?;
        Ok(Fleet::parse(&path.display().to_string(), &text)?)
    }

    /// How many devices there are.
    pub fn devices(&self) -> usize {
        self.homes.iter().map(|home| home.devices.len()).sum()
    }
}
