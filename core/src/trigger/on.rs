//! What wakes a trigger: edges of values, things that happen, silence and the hour.

use std::fmt;

use jiff::civil;

use crate::id::{FieldName, KindId, ModelId, SlotId};
use crate::model::{OrderState, Value};
use crate::time::{Span, Timestamp, Zone};

/// What wakes a trigger.
#[derive(Debug, Clone, PartialEq)]
pub struct On {
    /// Device kinds; empty means any.
    pub kinds: Vec<KindId>,
    /// Device models; empty means any.
    pub models: Vec<ModelId>,
    /// What is watched.
    pub source: Source,
    /// Whether values that are beyond when it goes live fire, by a sweep over the homes.
    pub on_activate: bool,
}

/// What is watched.
#[derive(Debug, Clone, PartialEq)]
pub enum Source {
    /// A telemetry field's edge.
    Telemetry {
        /// The field.
        field: FieldName,
        /// Its edge.
        edge: EdgeRule,
    },
    /// An edge of how fast a telemetry field rises or falls, in its unit per hour.
    Trend {
        /// The field.
        field: FieldName,
        /// Over this stretch of time.
        over: Span,
        /// Its edge.
        edge: EdgeRule,
    },
    /// An edge of a slot's evidence.
    Slot {
        /// The slot.
        slot: SlotId,
        /// `used`, `remaining`, `capacity`, `on_hand`, or `flag`.
        field: FieldName,
        /// Its edge.
        edge: EdgeRule,
    },
    /// An edge of the device's presence: `online`, `sleeping`, `lost`, `offline`.
    Presence {
        /// Its edge.
        edge: EdgeRule,
    },
    /// An edge of an entry of context.
    Context {
        /// The entry.
        name: FieldName,
        /// Its edge.
        edge: EdgeRule,
    },
    /// A connected device from which nothing came.
    Silence {
        /// Nothing of this field; without it, no telemetry at all.
        field: Option<FieldName>,
        /// For so long.
        after: Span,
    },
    /// A discrete event of the device.
    Event {
        /// Its type, such as `cycle_done`.
        r#type: String,
        /// How many of them in which time.
        count: Option<Count>,
    },
    /// A moment in the life of a link or an order.
    Moment(Moment),
    /// An hour of the home's local time.
    Schedule(Hour),
    /// The forecast of a slot comes near.
    Forecast {
        /// The slot.
        slot: SlotId,
        /// Which instant of its forecast.
        field: ForecastField,
        /// How long before that instant.
        ahead: Span,
        /// How far ahead it must be again to be ready for the next time.
        rearm: Span,
    },
    /// Something happened on another channel, as that channel's system tells it.
    Channel {
        /// Its type, such as `store.visit`.
        r#type: String,
    },
    /// A fresh one was inserted into a slot.
    Refill {
        /// The slot.
        slot: SlotId,
        /// Only what was neither on the shelf nor under way: bought elsewhere, or of another brand.
        elsewhere: bool,
    },
}

/// An instant of a slot's forecast.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ForecastField {
    /// By when it is empty with a probability of so many percent, 1 to 99.
    ExpectedEmpty(u8),
    /// By when to order, weighing days without against days too early.
    OrderBy,
}

impl ForecastField {
    /// Reads `expected_empty.p80` or `order_by`, also with `slot.` before it.
    pub fn parse(text: &str) -> Option<ForecastField> {
        let text = text.strip_prefix("slot.").unwrap_or(text);
        if text == "order_by" {
            return Some(ForecastField::OrderBy);
        }
        let percent = text.strip_prefix("expected_empty.p")?;
        let percent = percent.parse().ok().filter(|percent| (1..=99).contains(percent))?;
        Some(ForecastField::ExpectedEmpty(percent))
    }
}

impl fmt::Display for ForecastField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ForecastField::ExpectedEmpty(percent) => write!(f, "expected_empty.p{percent}"),
            ForecastField::OrderBy => f.write_str("order_by"),
        }
    }
}

/// A moment in the life of a link or an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Moment {
    /// The device was linked to the household.
    Linked,
    /// An order made on the device came to this state.
    Order(OrderState),
}

/// An hour of local time, on some days of the week.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hour {
    /// The time of day.
    pub at: civil::Time,
    /// The days; empty means every day.
    pub days: Vec<civil::Weekday>,
}

/// So many within so much time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Count {
    /// How many.
    pub times: u32,
    /// In how much elapsed time.
    pub within: Span,
}

/// When an edge fires. Edges, not levels: it fires on the crossing and re-arms at `rearm`.
#[derive(Debug, Clone, PartialEq)]
pub struct EdgeRule {
    /// The crossing.
    pub crossing: Crossing,
    /// Whether a first report beyond the threshold fires.
    pub on_first: bool,
    /// How long the value must stay beyond.
    pub stays: Option<Span>,
    /// How many crossings in which time.
    pub count: Option<Count>,
}

/// The crossing that fires.
#[derive(Debug, Clone, PartialEq)]
pub enum Crossing {
    /// From at or above `threshold` to below it; ready again at or above `rearm`.
    FallsBelow {
        /// In the field's unit.
        threshold: f64,
        /// In the field's unit.
        rearm: f64,
    },
    /// From at or below `threshold` to above it; ready again at or below `rearm`.
    RisesAbove {
        /// In the field's unit.
        threshold: f64,
        /// In the field's unit.
        rearm: f64,
    },
    /// From another value to this one; ready again at any other.
    Becomes(Value),
    /// From any value to another; always ready.
    Changes,
}

impl On {
    /// Whether it is about such a device.
    pub fn covers(&self, kind: &KindId, model: &ModelId) -> bool {
        (self.kinds.is_empty() || self.kinds.contains(kind)) && (self.models.is_empty() || self.models.contains(model))
    }
    /// Whether a change of a model of these kinds, before and after, may be a change for it.
    pub fn leans_on(&self, model: &ModelId, kinds: &[&KindId]) -> bool {
        let is_of_any = self.kinds.is_empty() && self.models.is_empty();
        is_of_any || self.models.contains(model) || self.kinds.iter().any(|kind| kinds.contains(&kind))
    }
    /// The edge it watches, where it watches one.
    pub fn edge(&self) -> Option<&EdgeRule> {
        match &self.source {
            Source::Telemetry { edge, .. }
            | Source::Trend { edge, .. }
            | Source::Slot { edge, .. }
            | Source::Presence { edge }
            | Source::Context { edge, .. } => Some(edge),
            Source::Silence { .. }
            | Source::Event { .. }
            | Source::Moment(_)
            | Source::Schedule(_)
            | Source::Forecast { .. }
            | Source::Channel { .. }
            | Source::Refill { .. } => None,
        }
    }
    /// The slot that it watches, where it watches one.
    pub fn slot(&self) -> Option<&SlotId> {
        match &self.source {
            Source::Slot { slot, .. } | Source::Forecast { slot, .. } | Source::Refill { slot, .. } => Some(slot),
            Source::Telemetry { .. }
            | Source::Trend { .. }
            | Source::Presence { .. }
            | Source::Context { .. }
            | Source::Silence { .. }
            | Source::Event { .. }
            | Source::Moment(_)
            | Source::Channel { .. }
            | Source::Schedule(_) => None,
        }
    }
    /// How many of what it waits for in which time, where it counts.
    pub fn count(&self) -> Option<Count> {
        match &self.source {
            Source::Event { count, .. } => *count,
            _ => self.edge().and_then(|edge| edge.count),
        }
    }
    /// Whether what wakes it holds on after its moment: then the trigger may wait for its conditions,
    /// and is quiet until it comes back.
    pub fn holds_on(&self) -> bool {
        match &self.source {
            Source::Silence { .. } | Source::Forecast { .. } => true,
            Source::Event { .. }
            | Source::Moment(_)
            | Source::Schedule(_)
            | Source::Channel { .. }
            | Source::Refill { .. } => false,
            _ => self.edge().is_some_and(|edge| edge.crossing != Crossing::Changes),
        }
    }
}

impl Crossing {
    /// Whether a value lies beyond the threshold.
    pub fn beyond(&self, value: &Value) -> bool {
        match (self, value) {
            (Crossing::FallsBelow { threshold, .. }, Value::Number(x)) => x < threshold,
            (Crossing::RisesAbove { threshold, .. }, Value::Number(x)) => x > threshold,
            (Crossing::Becomes(wanted), value) => wanted == value,
            (Crossing::Changes, _) => true,
            (Crossing::FallsBelow { .. } | Crossing::RisesAbove { .. }, Value::Text(_) | Value::Bool(_)) => false,
        }
    }
    /// Whether a value makes the edge ready again.
    pub fn rearms(&self, value: &Value) -> bool {
        match (self, value) {
            (Crossing::FallsBelow { rearm, .. }, Value::Number(x)) => x >= rearm,
            (Crossing::RisesAbove { rearm, .. }, Value::Number(x)) => x <= rearm,
            (Crossing::Becomes(wanted), value) => wanted != value,
            (Crossing::Changes, _) => false,
            (Crossing::FallsBelow { .. } | Crossing::RisesAbove { .. }, Value::Text(_) | Value::Bool(_)) => false,
        }
    }
    /// Whether the step from one value to the next crosses it: the definition, which the index of
    /// [`TriggerSet`](super::TriggerSet) answers without looking at every trigger.
    pub fn crossed(&self, previous: &Value, value: &Value) -> bool {
        match (self, previous) {
            (Crossing::FallsBelow { .. } | Crossing::RisesAbove { .. }, Value::Number(_)) => {
                !self.beyond(previous) && self.beyond(value)
            }
            (Crossing::FallsBelow { .. } | Crossing::RisesAbove { .. }, Value::Text(_) | Value::Bool(_)) => false,
            (Crossing::Becomes(_) | Crossing::Changes, _) => previous != value && self.beyond(value),
        }
    }
}

impl Moment {
    /// As written: `linked`, or the state of an order.
    pub fn as_str(self) -> &'static str {
        match self {
            Moment::Linked => "linked",
            Moment::Order(state) => state.as_str(),
        }
    }
}

impl Hour {
    /// Days that are looked through for the next: one of the seven is always among them.
    const DAYS_AHEAD: usize = 8;

    /// The next instant, strictly after another, at which the home's clock shows it on one of its days.
    pub fn next(&self, zone: &Zone, after: Timestamp) -> Timestamp {
        let mut at = zone.next(after, self.at);
        for _ in 0..Self::DAYS_AHEAD {
            if self.days.is_empty() || self.days.contains(&zone.local(at).weekday()) {
                break;
            }
            at = zone.next(at, self.at);
        }
        at
    }
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} times in {}", self.times, self.within)
    }
}

impl fmt::Display for Hour {
    /// `18:30 fri sat`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02}:{:02}", self.at.hour(), self.at.minute())?;
        self.days.iter().try_for_each(|day| write!(f, " {}", super::condition::weekday(*day)))
    }
}

impl fmt::Display for Crossing {
    /// What it waits for, as the end of "it did not …".
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Crossing::FallsBelow { threshold, .. } => write!(f, "fall below {threshold}"),
            Crossing::RisesAbove { threshold, .. } => write!(f, "rise above {threshold}"),
            Crossing::Becomes(value) => write!(f, "become {value}"),
            Crossing::Changes => f.write_str("change"),
        }
    }
}
