//! All live triggers, indexed by what wakes them.
//!
//! Per retailer and watched field, triggers stand sorted by threshold, so that a value that
//! crosses none costs two searches, however many triggers watch it. A trigger for models or
//! kinds is looked at only for those.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Crossing, EdgeRule, On, Source, Trigger};
use crate::id::{FieldName, KindId, ModelId, RetailerId, SlotId, TriggerId};
use crate::model::Value;

/// All live triggers, indexed by what wakes them. A clone shares the index.
#[derive(Debug, Clone, Default)]
pub struct TriggerSet {
    index: Arc<Index>,
}

#[derive(Debug, Default)]
struct Index {
    by_id: BTreeMap<(RetailerId, TriggerId), Arc<Trigger>>,
    of_retailer: BTreeMap<RetailerId, Watchers>,
    /// Triggers of all retailers that need no link.
    of_anyone: Watchers,
}

/// What is watched, by which devices are watched.
#[derive(Debug, Default)]
struct Watchers {
    of_model: BTreeMap<ModelId, Fields>,
    of_kind: BTreeMap<KindId, Fields>,
    of_any: Fields,
}

#[derive(Debug, Default)]
struct Fields {
    telemetry: BTreeMap<FieldName, Watch>,
    slots: BTreeMap<SlotId, BTreeMap<FieldName, Watch>>,
    events: BTreeMap<String, Vec<Arc<Trigger>>>,
}

/// The triggers on one field.
#[derive(Debug, Default)]
struct Watch {
    all: Vec<Arc<Trigger>>,
    /// By threshold, ascending.
    falls_below: Vec<(f64, Arc<Trigger>)>,
    /// By threshold, ascending.
    rises_above: Vec<(f64, Arc<Trigger>)>,
    becomes: Vec<(Value, Arc<Trigger>)>,
    /// Those that fire also on a first report.
    on_first: Vec<Arc<Trigger>>,
}

impl TriggerSet {
    /// Indexes compiled triggers. Of two with the same retailer and id the later one stands.
    pub fn build(triggers: impl IntoIterator<Item = Arc<Trigger>>) -> TriggerSet {
        let by_id: BTreeMap<_, _> =
            triggers.into_iter().map(|trigger| ((trigger.retailer.clone(), trigger.id.clone()), trigger)).collect();
        let mut index = Index::default();
        for trigger in by_id.values() {
            index.of_retailer.entry(trigger.retailer.clone()).or_default().add(trigger);
            if !trigger.link_required {
                index.of_anyone.add(trigger);
            }
        }
        index.by_id = by_id;
        TriggerSet { index: Arc::new(index) }
    }
    /// One trigger.
    pub fn get(&self, retailer: &RetailerId, id: &TriggerId) -> Option<&Arc<Trigger>> {
        self.index.by_id.get(&(retailer.clone(), id.clone()))
    }
    /// All triggers, by retailer and id.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Trigger>> {
        self.index.by_id.values()
    }
    /// How many there are.
    pub fn len(&self) -> usize {
        self.index.by_id.len()
    }
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.index.by_id.is_empty()
    }

    /// The triggers that watch a telemetry field of a device. Without a retailer, the device is a
    /// prospect: those of all retailers that need no link. By model first, then kind, then any;
    /// within each by retailer and id.
    pub fn on_telemetry<'a>(
        &'a self,
        retailer: Option<&RetailerId>,
        kind: &'a KindId,
        model: &'a ModelId,
        field: &FieldName,
    ) -> impl Iterator<Item = &'a Arc<Trigger>> {
        self.fields(retailer, kind, model)
            .filter_map(|fields| fields.telemetry.get(field))
            .flat_map(|watch| &watch.all)
            .filter(|trigger| trigger.on.covers(kind, model))
    }
    /// The triggers that watch a field of a slot.
    pub fn on_slot<'a>(
        &'a self,
        retailer: Option<&RetailerId>,
        kind: &'a KindId,
        model: &'a ModelId,
        slot: &SlotId,
        field: &str,
    ) -> impl Iterator<Item = &'a Arc<Trigger>> {
        self.fields(retailer, kind, model)
            .filter_map(|fields| fields.slots.get(slot)?.get(field))
            .flat_map(|watch| &watch.all)
            .filter(|trigger| trigger.on.covers(kind, model))
    }
    /// The triggers that wait for an event.
    pub fn on_event<'a>(
        &'a self,
        retailer: Option<&RetailerId>,
        kind: &'a KindId,
        model: &'a ModelId,
        r#type: &str,
    ) -> impl Iterator<Item = &'a Arc<Trigger>> {
        self.fields(retailer, kind, model)
            .filter_map(|fields| fields.events.get(r#type))
            .flatten()
            .filter(|trigger| trigger.on.covers(kind, model))
    }
    /// Of [`TriggerSet::on_telemetry`], those whose crossing lies between the previous value and
    /// this one; without a previous value, those that fire on a first report.
    pub fn crossed_by_telemetry<'a>(
        &'a self,
        retailer: Option<&RetailerId>,
        kind: &'a KindId,
        model: &'a ModelId,
        field: &FieldName,
        previous: Option<&Value>,
        value: &Value,
    ) -> impl Iterator<Item = &'a Arc<Trigger>> {
        self.fields(retailer, kind, model)
            .filter_map(|fields| fields.telemetry.get(field))
            .flat_map(move |watch| watch.crossed(previous, value))
            .filter(|trigger| trigger.on.covers(kind, model))
    }
    /// Of [`TriggerSet::on_slot`], those whose crossing lies between the previous value and this one.
    #[allow(clippy::too_many_arguments, reason = "who, what, and the two values")]
    pub fn crossed_by_slot<'a>(
        &'a self,
        retailer: Option<&RetailerId>,
        kind: &'a KindId,
        model: &'a ModelId,
        slot: &SlotId,
        field: &str,
        previous: Option<&Value>,
        value: &Value,
    ) -> impl Iterator<Item = &'a Arc<Trigger>> {
        self.fields(retailer, kind, model)
            .filter_map(|fields| fields.slots.get(slot)?.get(field))
            .flat_map(move |watch| watch.crossed(previous, value))
            .filter(|trigger| trigger.on.covers(kind, model))
    }

    fn fields(&self, retailer: Option<&RetailerId>, kind: &KindId, model: &ModelId) -> impl Iterator<Item = &Fields> {
        let watchers = match retailer {
            Some(retailer) => self.index.of_retailer.get(retailer),
            None => Some(&self.index.of_anyone),
        };
        watchers
            .into_iter()
            .flat_map(|watchers| [watchers.of_model.get(model), watchers.of_kind.get(kind), Some(&watchers.of_any)])
            .flatten()
    }
}

impl On {
    /// Whether it is about such a device.
    pub fn covers(&self, kind: &KindId, model: &ModelId) -> bool {
        (self.kinds.is_empty() || self.kinds.contains(kind)) && (self.models.is_empty() || self.models.contains(model))
    }
}

impl Watchers {
    fn add(&mut self, trigger: &Arc<Trigger>) {
        if !trigger.on.models.is_empty() {
            trigger.on.models.iter().for_each(|model| self.of_model.entry(model.clone()).or_default().add(trigger));
        } else if !trigger.on.kinds.is_empty() {
            trigger.on.kinds.iter().for_each(|kind| self.of_kind.entry(kind.clone()).or_default().add(trigger));
        } else {
            self.of_any.add(trigger);
        }
    }
}

impl Fields {
    fn add(&mut self, trigger: &Arc<Trigger>) {
        match &trigger.on.source {
            Source::Telemetry { field, edge } => self.telemetry.entry(field.clone()).or_default().add(trigger, edge),
            Source::Slot { slot, field, edge } => {
                self.slots.entry(slot.clone()).or_default().entry(field.clone()).or_default().add(trigger, edge);
            }
            Source::Event { r#type } => self.events.entry(r#type.clone()).or_default().push(trigger.clone()),
        }
    }
}

impl Watch {
    fn add(&mut self, trigger: &Arc<Trigger>, edge: &EdgeRule) {
        self.all.push(trigger.clone());
        if edge.on_first {
            self.on_first.push(trigger.clone());
        }
        let insert = |sorted: &mut Vec<(f64, Arc<Trigger>)>, threshold: f64| {
            let at = sorted.partition_point(|(other, _)| *other <= threshold);
            sorted.insert(at, (threshold, trigger.clone()));
        };
        match &edge.crossing {
            Crossing::FallsBelow { threshold, .. } => insert(&mut self.falls_below, *threshold),
            Crossing::RisesAbove { threshold, .. } => insert(&mut self.rises_above, *threshold),
            Crossing::Becomes(value) => self.becomes.push((value.clone(), trigger.clone())),
        }
    }
    /// The triggers that a step from `previous` to `value` crosses. At most one of the four parts
    /// gives anything but for `becomes`, which may join the numeric ones.
    fn crossed<'a>(&'a self, previous: Option<&Value>, value: &Value) -> impl Iterator<Item = &'a Arc<Trigger>> {
        let (mut falling, mut rising): (&[_], &[_]) = (&[], &[]);
        if let (Some(Value::Number(before)), Value::Number(after)) = (previous, value) {
            // From at or above the threshold to below it: after < threshold <= before.
            falling = between(&self.falls_below, |t| t <= *after, |t| t <= *before);
            // From at or below the threshold to above it: before <= threshold < after.
            rising = between(&self.rises_above, |t| t < *before, |t| t < *after);
        }
        let moved = previous.is_some_and(|previous| previous != value);
        let became = if moved { self.becomes.as_slice() } else { &[] };
        let first = if previous.is_none() { self.on_first.as_slice() } else { &[] };
        let (became_value, first_value) = (value.clone(), value.clone());
        falling
            .iter()
            .chain(rising)
            .map(|(_, trigger)| trigger)
            .chain(became.iter().filter(move |(wanted, _)| *wanted == became_value).map(|(_, trigger)| trigger))
            .chain(
                first.iter().filter(move |trigger| trigger.on.edge().is_some_and(|e| e.crossing.beyond(&first_value))),
            )
    }
}

/// The part of a sorted list after all thresholds that `before` takes, up to those that `upto` takes.
fn between<T>(sorted: &[(f64, T)], before: impl Fn(f64) -> bool, upto: impl Fn(f64) -> bool) -> &[(f64, T)] {
    let from = sorted.partition_point(|(threshold, _)| before(*threshold));
    let to = sorted.partition_point(|(threshold, _)| upto(*threshold));
    sorted.get(from..to).unwrap_or(&[])
}

impl On {
    /// The edge it watches; an event has none.
    pub fn edge(&self) -> Option<&EdgeRule> {
        match &self.source {
            Source::Telemetry { edge, .. } | Source::Slot { edge, .. } => Some(edge),
            Source::Event { .. } => None,
        }
    }
}
