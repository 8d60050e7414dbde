//! What follows from an input: changes of the household, effects on the world, the caller's
//! answer and the trace.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::budget::Drawn;
use crate::code::Refusal;
use crate::forecast::Absence;
use crate::id::{
    DeviceKey, FieldName, HouseholdId, LinkId, MandateId, MergeId, MoveId, OfferId, OrderId, ProductId, ProfileId,
    RetailerId, SlotId, TriggerId,
};
use crate::input::Join;
use crate::model::{
    Claim, ClockState, ConsentRecord, Contact, ContextEntry, Device, DeviceDescription, Edge, Habit, Held, Link,
    Locale, Mandate, Member, Merged, Offer, Order, OrderState, Presence, Purpose, Reading, Shelf, SlotState, Standing,
    Track, TrendKey, TrendReading,
};
use crate::money::Money;
use crate::time::{Span, Timestamp, Zone};
use crate::trace::Trace;
use crate::wire::DownMessage;

/// The whole answer to one input.
#[derive(Debug, Clone, PartialEq)]
#[must_use = "a decision that nobody commits did not happen"]
pub struct Decision {
    /// What changes in the household, in order.
    pub changes: Vec<Change>,
    /// What the world must do, in order. Leaves through the outbox, after the commit.
    pub effects: Vec<Effect>,
    /// What the caller is told.
    pub reply: Result<Reply, Refusal>,
    /// Why.
    pub trace: Trace,
}

/// What a caller is told when it went well.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Reply {
    /// Nothing beyond "done".
    Done,
    /// Nothing changed because it was so already.
    Unchanged,
    /// The device leaves for another household; the caller is answered by its arrival.
    Moving {
        /// The move.
        id: MoveId,
        /// Where to.
        to: HouseholdId,
    },
    /// The device is linked.
    Linked {
        /// The link.
        link: LinkId,
        /// The household it belongs to.
        household: HouseholdId,
    },
    /// An offer was answered.
    Answered {
        /// The offer.
        offer: OfferId,
        /// Its state by name.
        state: String,
        /// The order, where there is one.
        order: Option<OrderId>,
    },
    /// An order moved.
    OrderMoved {
        /// The order.
        order: OrderId,
        /// Its revision.
        rev: u32,
        /// Its state.
        state: OrderState,
    },
    /// Heard, and not believed before the next word agrees with it.
    Doubted,
}

/// One change of a household. `Household::apply` is the only reader.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub enum Change {
    /// The home as such: whose, where, which language.
    HomeSet { retailer: Option<RetailerId>, zone: Option<Zone>, locale: Option<Locale> },
    /// A person as they are.
    MemberSet(Arc<Member>),
    /// A person left.
    MemberLeft(ProfileId),
    /// A device as it is: registered or arrived.
    DeviceSet(Box<Device>),
    /// A device left for another household.
    DeviceLeft { device: DeviceKey, to: HouseholdId },
    /// A move was applied here.
    Arrived(MoveId),
    /// The device described itself; `description` is none where its model says the same.
    Described { device: DeviceKey, description: Option<Box<DeviceDescription>> },
    /// The device's presence.
    PresenceSet { device: DeviceKey, presence: Presence, firmware: Option<String> },
    /// The device's clock.
    ClockSet { device: DeviceKey, clock: ClockState },
    /// A newer value of a telemetry field.
    Reported { device: DeviceKey, field: FieldName, reading: Reading },
    /// Newer evidence of a slot.
    SlotSet { device: DeviceKey, slot: SlotId, state: Box<SlotState> },
    /// An entry of context.
    ContextSet { device: DeviceKey, name: String, entry: ContextEntry },
    /// A trigger's edge; none means ready.
    EdgeSet { device: DeviceKey, trigger: TriggerId, edge: Option<Edge> },
    /// The claim code that the device shows; none ends it.
    ClaimSet { device: DeviceKey, claim: Option<Claim> },
    /// A link exists.
    LinkSet(Link),
    /// A link ended.
    LinkEnded(LinkId),
    /// The latest word on a purpose.
    ConsentSet { profile: ProfileId, purpose: Purpose, record: ConsentRecord },
    /// Silence until then.
    PauseSet { until: Option<Timestamp> },
    /// An offer as it is.
    OfferSet(Arc<Offer>),
    /// An ended offer leaves the record.
    OfferDropped(OfferId),
    /// An order as it is.
    OrderSet(Arc<Order>),
    /// An ended order leaves the record.
    OrderDropped(OrderId),
    /// The household was spoken to.
    ContactSet(Contact),
    /// A contact comes back: the offer ended unseen.
    ContactReleased(OfferId),
    /// The device owes a wipe, or no longer.
    WipePending { device: DeviceKey, pending: bool },
    /// Suspended with a reason, or resumed.
    SuspendedSet { device: DeviceKey, reason: Option<String> },
    /// The device's secret.
    CredentialSet { device: DeviceKey, generation: u32, used: bool },
    /// The device's message sequence.
    SeqSet { device: DeviceKey, last: u64, gaps: u64 },
    /// An entry of context that ended makes room for another.
    ContextDropped { device: DeviceKey, name: String },
    /// What stands on the shelf of a product.
    ShelfSet { product: ProductId, shelf: Shelf },
    /// A mandate as it is.
    MandateSet(Box<Mandate>),
    /// A mandate ended.
    MandateEnded(MandateId),
    /// What was learned of a slot; none forgets it.
    TrackSet { device: DeviceKey, slot: SlotId, track: Option<Box<Track>> },
    /// Somebody came home, or the last one left.
    AbsenceSet(Absence),
    /// A purchase elsewhere was told, and is not taken again.
    PurchaseHeard(u64),
    /// A reading joins a trend of its field, which begins with it where there was none.
    TrendFed { device: DeviceKey, field: FieldName, over: Span, reading: TrendReading },
    /// Nobody watches a trend any more.
    TrendDropped(TrendKey),
    /// What is known of a person beside who they are; none forgets it.
    StandingSet { profile: ProfileId, standing: Option<Box<Standing>> },
    /// Two profiles became one here.
    MergeSet(Box<Merged>),
    /// A merge was taken back.
    MergeEnded(MergeId),
    /// A person was erased.
    PersonForgotten(ProfileId),
    /// When a device is used; none forgets it. The last in the list: changes are stored by their place in it.
    HabitSet { device: DeviceKey, habit: Option<Box<Habit>> },
}

/// What the world must do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Effect {
    /// Say something to a device.
    Down {
        /// To whom.
        device: DeviceKey,
        /// What.
        message: Box<DownMessage>,
        /// Until when it is worth saying.
        expires_at: Option<Timestamp>,
        /// Repeats the sender's `corr`.
        corr: Option<String>,
    },
    /// Take back from the outbox whatever waits there about an offer.
    DropOffer {
        /// The device it waits for.
        device: DeviceKey,
        /// The offer.
        offer: OfferId,
    },
    /// Take back from the outbox all that waits for a device.
    DropAll {
        /// The device.
        device: DeviceKey,
    },
    /// Hand a device to another household.
    Move {
        /// The move.
        id: MoveId,
        /// Where to.
        to: HouseholdId,
        /// The device as it leaves.
        device: Box<Device>,
        /// For whom, when it goes to a customer.
        join: Option<Box<Join>>,
        /// The times that it was spoken to as a prospect, which its customer's caps count.
        contacts: Vec<Contact>,
    },
    /// End the device's live connections, with a word to the log.
    Disconnect {
        /// The device.
        device: DeviceKey,
        /// Why.
        reason: String,
    },
    /// An order holds nothing of a budget any more: what it drew is there for another one.
    GiveBack {
        /// Whose budget.
        retailer: RetailerId,
        /// The order.
        order: OrderId,
        /// What it drew.
        drawn: Drawn,
    },
    /// An offer ended that nobody has seen: it counts under no cap of all homes any more.
    Unsent {
        /// Whose offer.
        retailer: RetailerId,
        /// By which trigger.
        trigger: TriggerId,
        /// The offer.
        offer: OfferId,
        /// When it left.
        at: Timestamp,
    },
    /// An order holds less of a budget than before, and still counts.
    GivePartBack {
        /// Whose budget.
        retailer: RetailerId,
        /// The order.
        order: OrderId,
        /// What it still holds.
        left: Drawn,
        /// What it does not hold any more.
        back: Money,
    },
    /// Goods that were put aside for an order are there for another one.
    FreeStock {
        /// Whose goods.
        retailer: RetailerId,
        /// The order.
        order: OrderId,
        /// The goods.
        held: Held,
    },
    /// Goods that were put aside for an order have left.
    StockLeft {
        /// Whose goods.
        retailer: RetailerId,
        /// The order.
        order: OrderId,
        /// The goods.
        held: Held,
    },
    /// A part of what was put aside for an order has left, or is there for another one.
    StockParted {
        /// Whose goods.
        retailer: RetailerId,
        /// The order.
        order: OrderId,
        /// In which revision of it: each part that leaves is written down once.
        rev: u32,
        /// What stays put aside; may be none.
        rest: Held,
        /// How many have left.
        gone: u32,
        /// How many are free again.
        free: u32,
    },
}
