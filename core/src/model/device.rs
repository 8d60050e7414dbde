use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Few, Locale, SlotSchema, SlotState, Unit};
use crate::id::{DeviceKey, FieldName, KindId, MakerId, ModelId, PlacementId, SlotId, TriggerId};
use crate::time::{Span, Timestamp};

/// A measured or reported value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Value {
    /// A finite number in the field's unit.
    Number(f64),
    /// A word of the field's enumeration, or free text.
    Text(Arc<str>),
    /// A truth value.
    Bool(bool),
}

impl Value {
    /// As JSON.
    pub fn to_json(&self) -> serde_json::Value {
        match self {
            Value::Number(x) => (*x).into(),
            Value::Text(text) => (**text).into(),
            Value::Bool(b) => (*b).into(),
        }
    }
}

impl std::fmt::Display for Value {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Value::Number(x) => write!(f, "{x}"),
            Value::Text(text) => f.write_str(text),
            Value::Bool(b) => write!(f, "{b}"),
        }
    }
}

/// A value with the time at which it was so.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Reading {
    /// The value.
    pub value: Value,
    /// When it was measured.
    pub t: Timestamp,
}

/// The type of a telemetry field.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum FieldType {
    /// A number in a unit, with its range where declared.
    Number {
        /// In which unit.
        unit: Option<Unit>,
        /// Least value.
        min: Option<f64>,
        /// Greatest value.
        max: Option<f64>,
    },
    /// One of these words.
    Enum {
        /// The words.
        values: Vec<String>,
    },
    /// Yes or no.
    Bool,
    /// Free text.
    Text,
}

/// One telemetry field as declared.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FieldSchema {
    /// Its type.
    pub r#type: FieldType,
    /// How long a reading stays fresh; older ones are unknown to conditions.
    pub max_age: Option<Span>,
}

/// A surface where an offer may show, with its limits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Placement {
    /// Its id, such as `home.card`.
    pub id: PlacementId,
    /// Characters of a title; none means no limit.
    pub title_max: Option<u32>,
    /// Characters of a body; none means no limit.
    pub body_max: Option<u32>,
}

/// A type of device and what it can do: as the maker declares the model, and as one device
/// describes itself (`desc`). The same shape, so that one stands in for the other.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DeviceDescription {
    /// The model.
    pub model: ModelId,
    /// The kind, such as `thermostat`.
    pub kind: KindId,
    /// Telemetry fields.
    pub telemetry: BTreeMap<FieldName, FieldSchema>,
    /// Consumable positions.
    pub slots: BTreeMap<SlotId, SlotSchema>,
    /// Surfaces, best first.
    pub placements: Vec<Placement>,
    /// Languages it can show; empty means any.
    pub locales: Vec<Locale>,
    /// How a person can confirm, weakest first, such as `press2s`.
    pub confirm: Vec<String>,
    /// Its buttons.
    pub buttons: Vec<String>,
}

/// A device model in the rule set.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DeviceModel {
    /// Whose model it is.
    pub maker: MakerId,
    /// What it can do.
    pub description: DeviceDescription,
}

/// Whether a device is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum PresenceState {
    /// Never seen.
    Unseen,
    /// Connected.
    Online,
    /// Asleep until about then.
    Sleeping {
        /// When it means to wake.
        wake_at: Option<Timestamp>,
    },
    /// Gone without a word.
    Lost,
    /// Gone after saying so.
    Offline,
}

impl PresenceState {
    /// The word on the wire and in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            PresenceState::Unseen => "unseen",
            PresenceState::Online => "online",
            PresenceState::Sleeping { .. } => "sleeping",
            PresenceState::Lost => "lost",
            PresenceState::Offline => "offline",
        }
    }
}

/// Presence with its epoch, which orders births and wills.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Presence {
    /// The state.
    pub state: PresenceState,
    /// Since when.
    pub since: Timestamp,
    /// The device's count of its connections.
    pub epoch: u64,
}

/// What is known about a device's clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ClockState {
    /// Device time minus gateway time, as last measured.
    pub skew: Option<Span>,
    /// Gateway time minus the device's `up_ms`, as last measured: when it was switched on.
    pub started_at: Option<Timestamp>,
}

/// A claim code that the device shows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// Eight characters, without the hyphen.
    pub code: String,
    /// When it dies.
    pub expires_at: Timestamp,
    /// Whether a person was at the device (a local reset or long press).
    pub presence: bool,
}

/// Where a trigger's edge stands on one device. Records written before a state existed are read as
/// they are, because states are only ever added at the end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum EdgeState {
    /// Waiting for the crossing.
    Ready,
    /// Crossed, and its conditions not yet met: looked at again at each input.
    Armed,
    /// Crossed and acted on; quiet until the value comes back past `rearm`.
    Spent,
    /// Crossed by the first sample after a silence longer than the field stays fresh; the next one
    /// decides.
    Unsure,
    /// Crossed, and the value must stay beyond until `again_at`.
    Staying,
    /// Crossed before, and not often enough yet.
    Counting {
        /// Whether the value came back since, so that the next crossing counts.
        ready: bool,
        /// When, oldest first.
        times: Vec<Timestamp>,
    },
    /// Nothing is to come, or an hour, until `again_at`.
    Listening,
}

impl EdgeState {
    /// Whether the next crossing is one.
    pub fn is_ready(&self) -> bool {
        match self {
            EdgeState::Ready | EdgeState::Counting { ready: true, .. } => true,
            EdgeState::Armed
            | EdgeState::Spent
            | EdgeState::Unsure
            | EdgeState::Staying
            | EdgeState::Counting { ready: false, .. }
            | EdgeState::Listening => false,
        }
    }
}

/// One trigger's edge on one device, with when it got there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Edge {
    /// Where it stands.
    pub state: EdgeState,
    /// Since when (event time).
    pub since: Timestamp,
    /// When it is looked at again by itself: a time bound of an armed edge's conditions can turn
    /// then, a value has stayed, silence has lasted, an hour has come.
    pub again_at: Option<Timestamp>,
}

/// One entry of context, such as presence of people, with its end.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ContextEntry {
    /// The value.
    pub value: Value,
    /// When it was said.
    pub t: Timestamp,
    /// When it stops being believed.
    pub until: Timestamp,
}

/// One physical unit in its household.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Device {
    /// Maker and name.
    pub key: DeviceKey,
    /// Its model.
    pub model: ModelId,
    /// Its serial number, where the maker gave one.
    pub serial: Option<String>,
    /// Firmware, as last born with.
    pub firmware: Option<String>,
    /// Its own description, where it differs from its model's.
    pub description: Option<Box<DeviceDescription>>,
    /// Whether it has described itself or its model speaks for it.
    pub described: bool,
    /// Whether it is there.
    pub presence: Presence,
    /// Its clock.
    pub clock: ClockState,
    /// Last known values.
    pub reported: Few<FieldName, Reading>,
    /// Its consumables.
    pub slots: Few<SlotId, SlotState>,
    /// What it says about its surroundings.
    pub context: Few<String, ContextEntry>,
    /// Trigger edges that are not in the state `Ready`.
    pub edges: Few<TriggerId, Edge>,
    /// The code it shows, if it shows one.
    pub claim: Option<Claim>,
    /// Owed a wipe: no personal content until it says `wiped`.
    pub wipe_pending: bool,
    /// Why it is suspended, if it is.
    pub suspended: Option<String>,
    /// Generation of its secret.
    pub generation: u32,
    /// Whether it ever used its own credential.
    pub credential_used: bool,
    /// The highest sequence number seen, and how many were missed.
    pub last_seq: Option<u64>,
    /// Sequence numbers that never came.
    pub seq_gaps: u64,
}

impl Device {
    /// A device just registered.
    pub fn registered(key: DeviceKey, model: ModelId, serial: Option<String>, now: Timestamp) -> Device {
        Device {
            key,
            model,
            serial,
            firmware: None,
            description: None,
            described: false,
            presence: Presence { state: PresenceState::Unseen, since: now, epoch: 0 },
            clock: ClockState::default(),
            reported: Few::new(),
            slots: Few::new(),
            context: Few::new(),
            edges: Few::new(),
            claim: None,
            wipe_pending: false,
            suspended: None,
            generation: 1,
            credential_used: false,
            last_seq: None,
            seq_gaps: 0,
        }
    }
    /// Where a trigger's edge stands.
    pub fn edge(&self, trigger: &TriggerId) -> EdgeState {
        self.edges.get(trigger).map_or(EdgeState::Ready, |edge| edge.state.clone())
    }
}
