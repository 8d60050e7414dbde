//! The messages of the device contract as types: what comes up and what goes down.

use std::sync::Arc;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::code::Refusal;
use crate::id::{
    FieldName, HouseholdId, MandateId, MessageId, OfferId, OrderId, PlacementId, ProductId, ProfileId, SlotId,
};
use crate::input::Answer;
use crate::model::{ConsentRecord, DeviceDescription, Evidence, Offer, OfferText, Order, Purpose, Value};
use crate::time::{Timestamp, Zone};

/// A message from a device, understood.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum DeviceMessage {
    /// `presence`: birth, will, sleep.
    Presence(PresenceUp),
    /// `desc`: what the device is and can do. `kind` is checked against the model by `decide`.
    Desc(Box<DeviceDescription>),
    /// `up/telemetry`: samples in the order given.
    Telemetry(Vec<Sample>),
    /// `up/event`: a discrete fact.
    Event(EventUp),
    /// `up/context`: coarse classes with a time to live.
    Context(ContextUp),
    /// `up/slot`: a consumable's evidence.
    Slot(SlotUp),
    /// `up/state`: reported values, and the version of the desired state it has seen.
    State(StateUp),
    /// `up/sync`: asks for the current set.
    Sync(SyncUp),
    /// `up/claim`: asks for a code, or cancels it.
    Claim(ClaimUp),
    /// `up/offer/receipt`: what the device did with an offer.
    Receipt(ReceiptUp),
    /// `up/offer/answer`: what the person answered.
    Answer(AnswerUp),
    /// `up/offer/get`: asks for offers now; optionally for one placement.
    OfferGet {
        /// The surface, where only one is asked for.
        placement: Option<PlacementId>,
    },
    /// `up/replenish` as releases before mandates read it: refused then and now, and only in their logs.
    ReplenishUnread {
        /// `cancel`, `later` or `not_needed`.
        op: String,
    },
    /// `up/order`: cancel, withdraw, problem.
    Order(OrderUp),
    /// `up/consent`: set on the device.
    Consent(ConsentUp),
    /// `up/lifecycle`: reset, wiped, decommission.
    Lifecycle(LifecycleUp),
    /// `up/time`: the device's clock when it asked.
    Time {
        /// The device's time at sending, echoed in the answer.
        t0: Option<Timestamp>,
    },
    /// `up/doctor`: anything; answered with what was understood.
    Doctor {
        /// The body as JSON text, at most 1 KiB of it.
        seen: String,
    },
    /// `up/replenish`: an answer to an announced automatic order. The last in the list: messages are stored by
    /// their place in it.
    Replenish(ReplenishUp),
}

impl DeviceMessage {
    /// The topic below the device's root that this message comes on, such as `up/telemetry`.
    pub fn topic(&self) -> &'static str {
        match self {
            DeviceMessage::Presence(_) => "presence",
            DeviceMessage::Desc(_) => "desc",
            DeviceMessage::Telemetry(_) => "up/telemetry",
            DeviceMessage::Event(_) => "up/event",
            DeviceMessage::Context(_) => "up/context",
            DeviceMessage::Slot(_) => "up/slot",
            DeviceMessage::State(_) => "up/state",
            DeviceMessage::Sync(_) => "up/sync",
            DeviceMessage::Claim(_) => "up/claim",
            DeviceMessage::Receipt(_) => "up/offer/receipt",
            DeviceMessage::Answer(_) => "up/offer/answer",
            DeviceMessage::OfferGet { .. } => "up/offer/get",
            DeviceMessage::Replenish(_) | DeviceMessage::ReplenishUnread { .. } => "up/replenish",
            DeviceMessage::Order(_) => "up/order",
            DeviceMessage::Consent(_) => "up/consent",
            DeviceMessage::Lifecycle(_) => "up/lifecycle",
            DeviceMessage::Time { .. } => "up/time",
            DeviceMessage::Doctor { .. } => "up/doctor",
        }
    }
}

/// Birth, will or sleep.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PresenceUp {
    /// `online`, `lost`, `offline` or `sleeping`.
    pub state: PresenceWord,
    /// The device's count of its connections, where it keeps one.
    pub epoch: Option<u64>,
    /// Firmware version.
    pub firmware: Option<String>,
    /// When a sleeper means to wake.
    pub wake_at: Option<Timestamp>,
    /// Whether this is a will, published by the gateway for a connection that broke.
    pub is_will: bool,
}

/// The word in a presence message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum PresenceWord {
    /// Here.
    Online,
    /// Gone without a word.
    Lost,
    /// Going, in order.
    Offline,
    /// Asleep.
    Sleeping,
}

/// Values measured at one instant.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// When, by the device's clock; none means the envelope's time.
    pub t: Option<Timestamp>,
    /// The values. Types are checked against the model by `decide`.
    pub fields: Vec<(FieldName, Value)>,
}

/// A discrete fact.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EventUp {
    /// Its name, such as `cycle_done`.
    pub r#type: String,
    /// When, by the device's clock.
    pub t: Option<Timestamp>,
    /// What came with it: flat values only, others are left out.
    pub data: Vec<(FieldName, Value)>,
}

/// Coarse classes about the surroundings.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ContextUp {
    /// Each entry, such as `presence` = `home`.
    pub entries: Vec<(FieldName, Value)>,
    /// How long it is to be believed, seconds.
    pub ttl_s: u32,
}

/// A consumable's evidence.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SlotUp {
    /// Which slot.
    pub slot: SlotId,
    /// What is known of it.
    pub evidence: Evidence,
    /// The full amount, where said.
    pub capacity: Option<f64>,
    /// The unit, where said; must be the declared one.
    pub unit: Option<crate::model::Unit>,
    /// When the consumable was changed.
    pub changed_at: Option<Timestamp>,
    /// Spares at home.
    pub on_hand: Option<u32>,
    /// When it was so.
    pub t: Option<Timestamp>,
}

/// Reported values, and the version of the desired state.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StateUp {
    /// The values, flat.
    pub reported: Vec<(FieldName, Value)>,
    /// The version it refers to.
    pub version: Option<u64>,
}

/// What a device wants at its birth.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SyncUp {
    /// `time`, `link`, `offers`, `orders`, `consent`, `state`; empty means all.
    pub want: Vec<String>,
    /// Offers that it already has.
    pub have_offers: Vec<OfferId>,
}

/// A claim request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ClaimUp {
    /// Show me a code.
    Start {
        /// A person is at the device.
        presence: bool,
    },
    /// No more.
    Cancel,
}

/// What a device did with an offer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReceiptUp {
    /// Which offer.
    pub offer: OfferId,
    /// In which revision.
    pub rev: u32,
    /// What.
    pub state: ReceiptWord,
    /// When.
    pub t: Option<Timestamp>,
}

/// The word in a receipt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ReceiptWord {
    /// Has it.
    Delivered,
    /// Shows it.
    Shown,
    /// Put it away.
    Hidden,
    /// Chose not to show it.
    SuppressedOnDevice,
    /// Found it out of date.
    Expired,
}

/// What the person answered on the device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AnswerUp {
    /// Which offer.
    pub offer: OfferId,
    /// In which revision it was shown.
    pub rev: u32,
    /// The answer.
    pub answer: Answer,
    /// Makes a repeated press harmless.
    pub nonce: Option<String>,
    /// When it was pressed.
    pub t: Option<Timestamp>,
}

/// `up/replenish`: what the person says to an order that was made under a mandate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplenishUp {
    /// Which order; the device's newest announced one where not said.
    pub order: Option<OrderId>,
    /// What.
    pub op: ReplenishOp,
    /// Makes a repeated press harmless.
    pub nonce: Option<String>,
}

/// What is said to an announced order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ReplenishOp {
    /// No.
    Cancel,
    /// Not now.
    Later {
        /// Until when; three days where not said.
        until: Option<Timestamp>,
    },
    /// Not needed, with the reason such as `have_spare`.
    NotNeeded {
        /// Why.
        reason: Option<String>,
    },
}

/// What the person does with an order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderUp {
    /// Which order.
    pub order: OrderId,
    /// What.
    pub op: OrderOp,
    /// Makes a repeated press harmless.
    pub nonce: Option<String>,
}

/// The operation on an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum OrderOp {
    /// Inside the cancel window.
    Cancel,
    /// After it: by law.
    Withdraw,
    /// Something is wrong with it.
    Problem,
}

/// Consents set on the device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConsentUp {
    /// Each word; `t` is the device's time of it.
    pub set: Vec<ConsentWord>,
    /// Silence until then: the outer option says whether the message speaks of it at all.
    pub pause_until: Option<Option<Timestamp>>,
}

/// One word on one purpose.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConsentWord {
    /// What for.
    pub purpose: Purpose,
    /// Yes or no.
    pub granted: bool,
    /// When.
    pub t: Option<Timestamp>,
    /// How, such as `button`.
    pub method: Option<String>,
    /// Which text was shown.
    pub text_id: Option<String>,
}

/// The end of something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum LifecycleUp {
    /// The person reset the device.
    Reset {
        /// Also its credentials are forgotten.
        factory: bool,
        /// A person was at the device.
        presence: bool,
    },
    /// The wipe that was asked for is done.
    Wiped,
    /// The device ends.
    Decommission,
}

/// A message to a device, before it is rendered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum DownMessage {
    /// `down/offer` put.
    OfferPut(Arc<Offer>),
    /// `down/offer` withdraw.
    OfferWithdraw {
        /// Which.
        offer: OfferId,
        /// Why, one word or short phrase.
        reason: String,
    },
    /// `down/sync`: the current set.
    Sync(Box<SyncDown>),
    /// `down/claim` code.
    ClaimCode {
        /// Eight characters; shown as `7K4Q-9XMP`.
        code: String,
        /// When it dies.
        expires_at: Timestamp,
    },
    /// `down/claim` linked.
    ClaimLinked {
        /// What to show as the home's name.
        display_name: String,
    },
    /// `down/claim` refused.
    ClaimRefused {
        /// Why.
        error: crate::code::Code,
    },
    /// `down/order`: the order as it is, with what can be done.
    Order(Arc<Order>),
    /// `down/consent`: the authoritative list.
    Consent {
        /// The latest word per purpose.
        consents: Vec<(Purpose, ConsentRecord)>,
        /// Silence until then.
        pause_until: Option<Timestamp>,
        /// Whose words they are, for the receipts; never rendered.
        profile: Option<ProfileId>,
    },
    /// `down/lifecycle` wipe.
    Wipe,
    /// `down/lifecycle` released.
    Released {
        /// The receipt's id.
        receipt: String,
    },
    /// `down/lifecycle` suspended.
    Suspended {
        /// Why.
        reason: String,
    },
    /// `down/time`: the exchange of four timestamps, the gateway's part.
    Time {
        /// The device's time, echoed.
        t0: Option<Timestamp>,
        /// When the gateway received it.
        t1: Timestamp,
        /// When the gateway answered.
        t2: Timestamp,
    },
    /// `down/doctor`: what was understood and what is wrong.
    Doctor {
        /// Findings in plain words, each with a code word.
        findings: Vec<(String, String)>,
        /// What the gateway knows of the device, by name.
        known: BTreeMap<String, String>,
        /// The sender's message id, where it had one.
        reference: Option<MessageId>,
    },
    /// `down/reply`: an answer that has no topic of its own, such as to `why`.
    Reply {
        /// What it is about, by name.
        about: BTreeMap<String, String>,
    },
    /// `down/error`: a refusal.
    Error {
        /// What is wrong.
        refusal: Refusal,
        /// The message it is about.
        reference: Option<MessageId>,
        /// The topic it came on, below the device's root.
        topic: String,
    },
    /// `down/replenish`: an order was made under a mandate, and can be cancelled. The last in the
    /// list: messages that wait are stored by their place in it.
    Replenish {
        /// The order.
        order: Arc<Order>,
        /// What is said about it.
        text: OfferText,
        /// The mandate.
        mandate: MandateId,
    },
}

/// The current set in one message.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SyncDown {
    /// Gateway time.
    pub t: Timestamp,
    /// The home's zone.
    pub zone: Option<Zone>,
    /// `none`, `linked` or `wipe_pending`.
    pub link: String,
    /// The home's name, where linked.
    pub display_name: Option<String>,
    /// The household, for the trace only; never rendered.
    pub household: HouseholdId,
    /// Live offers, highest priority first.
    pub offers: Vec<Offer>,
    /// Open orders.
    pub orders: Vec<Order>,
    /// The latest word per purpose.
    pub consents: Vec<(Purpose, ConsentRecord)>,
    /// Which parts were asked for; empty means all.
    pub want: Vec<String>,
    /// Whose consents they are, for the receipts; never rendered.
    pub profile: Option<ProfileId>,
}

/// A product named by a device, such as a scanned cartridge.
pub type ProductRef = ProductId;
