//! What happened: the one shape in which everything reaches a household's single writer.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::id::{
    DeviceKey, FieldName, HouseholdId, InputId, LinkId, MandateId, MessageId, ModelId, MoveId, OfferId, OrderId,
    ProductId, ProfileId, RetailerId, StoreId, TriggerId,
};
use crate::model::{
    Bought, ConsentRecord, Contact, Device, Fulfil, Leaving, Link, Locale, Mandate, Member, Merge, OrderState, Purpose,
    Role, Standing, Unmerge, Value,
};
use crate::time::{Timestamp, Zone};
use crate::wire::{DeviceMessage, EventUp};

/// One thing that happened, with all that came with it. The input log keeps it as it is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Input {
    /// Derived from its cause.
    pub id: InputId,
    /// The id its sender gave it.
    pub message: Option<MessageId>,
    /// When the gateway received it. Also `now` of the decision.
    pub received_at: Timestamp,
    /// The device it comes from or is about.
    pub device: Option<DeviceKey>,
    /// Randomness, drawn by the edge and logged, so that a replay draws the same.
    pub entropy: u64,
    /// Size of the payload it came in, bytes.
    pub payload_bytes: u32,
    /// What the sender said about its own time and order.
    pub sender: Sender,
    /// What it is.
    pub what: What,
}

/// The envelope's optional fields.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Sender {
    /// Event time by the sender's clock.
    pub t: Option<Timestamp>,
    /// Milliseconds since the device started.
    pub up_ms: Option<u64>,
    /// Grows by one over the device's life.
    pub seq: Option<u64>,
    /// Grows at every connection.
    pub epoch: Option<u64>,
    /// To be repeated in the answer.
    pub corr: Option<String>,
}

/// What an input is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum What {
    /// A message of a device.
    Device(DeviceMessage),
    /// A command over HTTP or of the gateway itself.
    Command(Command),
    /// A deadline in the household's record has come.
    Timer,
    /// The device can be spoken to: it connected and listens. The offers that wait for it are
    /// looked at again before they leave.
    Reachable {
        /// Offers with a message in the outbox that no connection has taken.
        waiting: Vec<OfferId>,
    },
    /// The device's main connection ended without a word, and it left no will.
    ConnectionLost,
}

/// What people and other parts of the gateway ask of a household.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Command {
    /// A device is registered (provisioning or bulk). Repeating it changes nothing, unless the
    /// generation is higher.
    Register {
        /// Its model.
        model: ModelId,
        /// Its serial number.
        serial: Option<String>,
        /// Generation of its secret, from 1.
        generation: u32,
    },
    /// The device logged in with its own credential.
    CredentialUsed,
    /// A retailer confirms the code that the device shows. Sent to the device's household.
    ConfirmClaim {
        /// Eight characters, upper case, without hyphen.
        code: String,
        /// Where the device goes, and for whom.
        join: Join,
    },
    /// A device is linked without a code: a fleet that exists already.
    LinkDirectly {
        /// Where the device goes, and for whom.
        join: Join,
    },
    /// A device arrives from another household. Applied once per `id`.
    Arrive {
        /// The move.
        id: MoveId,
        /// Where it comes from.
        from: HouseholdId,
        /// The device as it was there.
        device: Box<Device>,
        /// For whom, when it goes to a customer; none when it becomes a prospect again.
        join: Option<Box<Join>>,
    },
    /// The owner gives the device back (sold without reset, or released in the app).
    Release,
    /// No offers and no effect of its messages until resumed.
    Suspend {
        /// Why.
        reason: String,
    },
    /// Ends a suspension.
    Resume,
    /// Consents set by the shop for its signed-in customer.
    SetConsents {
        /// Whose.
        profile: ProfileId,
        /// The records.
        records: Vec<(Purpose, ConsentRecord)>,
    },
    /// The profile changed; the household keeps what decisions read.
    ProfileChanged {
        /// The person, with role and consents ignored.
        member: Arc<Member>,
        /// Their zone, where they have one.
        zone: Option<Zone>,
    },
    /// An answer to an offer from another channel.
    AnswerOffer {
        /// Which offer.
        offer: OfferId,
        /// In which revision it was seen.
        rev: u32,
        /// The answer.
        answer: Answer,
        /// From which channel, such as `app`.
        channel: String,
        /// By whom.
        profile: Option<ProfileId>,
    },
    /// The shop moves an order on.
    SetOrderStatus {
        /// Which order.
        order: OrderId,
        /// The order's revision plus one.
        rev: u32,
        /// The new state.
        state: OrderState,
        /// When the goods should arrive.
        eta: Option<String>,
    },
    /// The shop or the customer's app cancels an order.
    CancelOrder {
        /// Which order.
        order: OrderId,
        /// From which channel.
        channel: String,
    },
    /// The operator or the shop takes an offer back.
    WithdrawOffer {
        /// Which offer.
        offer: OfferId,
        /// Why.
        reason: String,
    },
    /// A feed says something about the home's surroundings, such as its weather or tariff.
    SetContext {
        /// The entry.
        name: FieldName,
        /// Its value.
        value: Value,
        /// When it stops being believed.
        until: Timestamp,
    },
    /// Somebody of the home bought something elsewhere.
    Purchased {
        /// What.
        product: ProductId,
        /// When, how many, and by what it is known.
        bought: Bought,
    },
    /// A customer gives a mandate, or another one in its place.
    GiveMandate(Box<Mandate>),
    /// A mandate ends.
    EndMandate(MandateId),
    /// A trigger went live that fires also on values that stand beyond its threshold already: the device
    /// is looked at.
    Activated {
        /// The trigger.
        trigger: TriggerId,
        /// Its version.
        version: u64,
    },
    /// Something that a person did on another channel, as that channel's system tells it.
    ElsewhereSaid {
        /// Who.
        profile: ProfileId,
        /// What, such as `store.visit`, when, and what came with it.
        event: EventUp,
        /// By what it is known.
        cause: u64,
    },
    /// What is known of a person beside who they are; sent to every home of theirs.
    SetStanding {
        /// Whose.
        profile: ProfileId,
        /// What is known.
        standing: Box<Standing>,
    },
    /// A device arrives from another household where it was spoken to: what caps count comes along.
    ArriveKnown {
        /// The move.
        id: MoveId,
        /// Where it comes from.
        from: HouseholdId,
        /// The device as it was there.
        device: Box<Device>,
        /// For whom.
        join: Option<Box<Join>>,
        /// The times it was spoken to.
        contacts: Vec<Contact>,
    },
    /// One more person at a device of this home.
    AddMember {
        /// The link that will exist, and for whom.
        join: Box<Join>,
    },
    /// A person may do something else with all that they are linked to here.
    SetRole {
        /// Who.
        profile: ProfileId,
        /// What they may do.
        role: Role,
    },
    /// A person leaves a device, or all of them.
    RemoveMember {
        /// Who.
        profile: ProfileId,
    },
    /// The device takes the place of another one of this home.
    Replace {
        /// The one that was there before.
        old: DeviceKey,
    },
    /// Two profiles are one person.
    Merge(Box<Merge>),
    /// They are two after all.
    Unmerge(Box<Unmerge>),
    /// The customer withdraws from an order that has left for the shop.
    WithdrawOrder {
        /// Which order.
        order: OrderId,
        /// From which channel.
        channel: String,
    },
    /// The shop gives money back, line by line.
    RefundOrder {
        /// Which order.
        order: OrderId,
        /// The order's revision plus one, where the shop says it.
        rev: Option<u32>,
        /// How many of what.
        lines: Vec<(ProductId, u32)>,
    },
    /// The shop sends a part of an order.
    ShipLines {
        /// Which order.
        order: OrderId,
        /// The order's revision plus one.
        rev: u32,
        /// How many of what.
        lines: Vec<(ProductId, u32)>,
        /// When the goods should arrive.
        eta: Option<String>,
    },
    /// A person is erased: nothing of them is left in this home.
    ForgetPerson(Box<Leaving>),
    /// Its people say that the device was stolen.
    FlagStolen,
    /// It was not, or they have it again.
    EndStolen,
    /// A guest takes a shared device for a stay, with the code that it shows or as [`Command::LinkDirectly`] does.
    JoinForStay {
        /// The code as typed; none for a link without one.
        code: Option<String>,
        /// Where it goes, and for whom.
        join: Join,
        /// When the stay ends.
        until: Timestamp,
    },
    /// Guests share the device from here on.
    ShareWithGuests {
        /// When the stay of who is linked to it now ends.
        until: Option<Timestamp>,
    },
    /// No further guests.
    EndSharing,
    /// A stay is over: the engine says it when the time has come.
    EndStay,
    /// As [`Command::SetContext`], of a number that does not go further than so far from one word to the next.
    SetSteadyContext {
        /// The entry.
        name: FieldName,
        /// Its value.
        value: f64,
        /// How far it may lie from the word before.
        step_max: f64,
        /// When it stops being believed.
        until: Timestamp,
    },
}

/// Where a device goes when it is linked, and for whom.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Join {
    /// The household to join.
    pub household: HouseholdId,
    /// Whose customer.
    pub retailer: RetailerId,
    /// The link that will exist.
    pub link: LinkId,
    /// The person, with role and the consents given.
    pub member: Member,
    /// The home's zone.
    pub zone: Zone,
    /// The home's language.
    pub locale: Option<Locale>,
}

impl Join {
    /// The link that this join makes for a device.
    pub fn link_for(&self, device: &DeviceKey, now: Timestamp) -> Link {
        Link {
            id: self.link,
            device: device.clone(),
            profile: self.member.profile.clone(),
            role: self.member.role,
            since: now,
        }
    }
    /// The role that the person gets.
    pub fn role(&self) -> Role {
        self.member.role
    }
}

/// What a person says to an offer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer {
    /// Yes.
    Accept {
        /// How many; the offer's own number where not said.
        qty: Option<u32>,
        /// How to have it; the offer's first way where not said.
        fulfil: Option<Fulfil>,
    },
    /// No.
    Decline,
    /// Later.
    Snooze {
        /// When; a day later where not said.
        until: Option<Timestamp>,
    },
    /// Not needed, with the reason such as `have_spare`.
    NotNeeded {
        /// Why.
        reason: Option<String>,
    },
    /// Why do I see this?
    Why,
    /// Yes, from this store or seller.
    AcceptAs(Choice),
}

/// In which way something is accepted.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Choice {
    /// How many; the offer's own number where not said.
    pub qty: Option<u32>,
    /// How to have it; the offer's first way where not said.
    pub fulfil: Option<Fulfil>,
    /// Where to collect it.
    pub store: Option<StoreId>,
    /// Which of the offer's alternatives, such as `a1`.
    pub alternative: Option<String>,
}

impl Answer {
    /// In which way it accepts, where it does.
    pub fn choice(&self) -> Option<Choice> {
        match self {
            Answer::Accept { qty, fulfil } => Some(Choice { qty: *qty, fulfil: *fulfil, ..Choice::default() }),
            Answer::AcceptAs(choice) => Some(choice.clone()),
            Answer::Decline | Answer::Snooze { .. } | Answer::NotNeeded { .. } | Answer::Why => None,
        }
    }
    /// A yes in some way.
    pub fn accept(choice: Choice) -> Answer {
        match choice {
            Choice { qty, fulfil, store: None, alternative: None } => Answer::Accept { qty, fulfil },
            choice => Answer::AcceptAs(choice),
        }
    }
    /// The answer as written.
    pub fn as_str(&self) -> &'static str {
        match self {
            Answer::Accept { .. } | Answer::AcceptAs(_) => "accept",
            Answer::Decline => "decline",
            Answer::Snooze { .. } => "snooze",
            Answer::NotNeeded { .. } => "not_needed",
            Answer::Why => "why",
        }
    }
}
