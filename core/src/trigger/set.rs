//! All live triggers, indexed by what wakes them.
//!
//! Per retailer and watched value, triggers stand sorted by threshold: those that a step crosses
//! lie side by side, and are found by one search for where the step begins, however many triggers
//! watch the value. A trigger for models or kinds is looked at only for those. What each trigger
//! is found by, [`On::key`] says. The definition that all this must agree with is
//! [`Crossing::crossed`]; a property test holds the two against each other.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use super::{CapPer, CapWindow, Crossing, EdgeRule, Moment, On, Source, Trigger};
use crate::id::{FieldName, KindId, ModelId, RetailerId, SlotId, TriggerId};
use crate::model::Value;
use crate::time::Span;

/// All live triggers, indexed by what wakes them. A clone shares the index.
#[derive(Debug, Clone, Default)]
pub struct TriggerSet {
    index: Arc<Index>,
}

/// The device that triggers are asked about.
#[derive(Debug, Clone, Copy)]
pub struct Concerned<'a> {
    /// Whose customer's it is. A device without one is a prospect's: triggers of all retailers that
    /// need no link concern it.
    pub retailer: Option<&'a RetailerId>,
    /// Its kind.
    pub kind: &'a KindId,
    /// Its model.
    pub model: &'a ModelId,
}

/// What of a retailer's sends is noted, for caps that all homes share.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sharing {
    /// Those of every trigger; else only of those that have such a cap.
    pub all: bool,
    /// The longest stretch of time that such a cap counts.
    pub longest: Span,
}

/// A value that triggers may watch.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Watched<'w> {
    /// A telemetry field.
    Telemetry(&'w FieldName),
    /// How fast a telemetry field rises or falls over a stretch of time.
    Trend(&'w FieldName, Span),
    /// A field of a slot.
    Slot(&'w SlotId, &'w FieldName),
    /// The device's presence.
    Presence,
    /// An entry of context.
    Context(&'w str),
}

#[derive(Debug, Default)]
struct Index {
    by_id: BTreeMap<(RetailerId, TriggerId), Arc<Trigger>>,
    of_retailer: BTreeMap<RetailerId, Watchers>,
    /// Whether any listens for silence or waits for an hour.
    listens: bool,
    /// Whether any waits for a moment of a link or an order.
    awaits_moments: bool,
    /// Whether any watches a forecast.
    foresees: bool,
    /// Whether any watches a trend.
    follows_trends: bool,
    /// Retailers whose homes share caps.
    sharing: BTreeMap<RetailerId, Sharing>,
    /// Triggers of all retailers that need no link.
    of_anyone: Watchers,
    /// The same by their ids; of two retailers' with the same id the first one's.
    anyone_by_id: BTreeMap<TriggerId, Arc<Trigger>>,
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
    trends: BTreeMap<FieldName, BTreeMap<Span, Watch>>,
    slots: BTreeMap<SlotId, BTreeMap<FieldName, Watch>>,
    presence: Watch,
    context: BTreeMap<FieldName, Watch>,
    silence: Vec<Arc<Trigger>>,
    events: BTreeMap<String, Vec<Arc<Trigger>>>,
    moments: BTreeMap<Moment, Vec<Arc<Trigger>>>,
    schedule: Vec<Arc<Trigger>>,
    forecasts: BTreeMap<SlotId, Vec<Arc<Trigger>>>,
    refills: BTreeMap<SlotId, Vec<Arc<Trigger>>>,
    channels: BTreeMap<String, Vec<Arc<Trigger>>>,
}

/// The triggers on one value.
#[derive(Debug, Default)]
struct Watch {
    all: Vec<Arc<Trigger>>,
    falls_below: Sorted,
    rises_above: Sorted,
    becomes_number: Sorted,
    becomes_text: BTreeMap<Arc<str>, Vec<Arc<Trigger>>>,
    becomes_bool: [Vec<Arc<Trigger>>; 2],
    changes: Vec<Arc<Trigger>>,
    /// Those that fire also on a first report.
    on_first: Vec<Arc<Trigger>>,
}

/// Slices that one step may cross: by level, by value and at every change, of model, kind and any device.
const SLICES_MAX: usize = 9;

/// What a step crosses, slice by slice: found before anything is gone through.
struct Found<'a> {
    slices: [&'a [Arc<Trigger>]; SLICES_MAX],
    len: usize,
}

/// Triggers by a number, ascending; the numbers by themselves, so that a search touches little memory.
#[derive(Debug, Default)]
struct Sorted {
    numbers: Vec<f64>,
    triggers: Vec<Arc<Trigger>>,
}

impl TriggerSet {
    /// Indexes compiled triggers. Of two with the same retailer and id the later one stands.
    pub fn build(triggers: impl IntoIterator<Item = Arc<Trigger>>) -> TriggerSet {
        let by_id: BTreeMap<_, _> =
            triggers.into_iter().map(|trigger| ((trigger.retailer.clone(), trigger.id.clone()), trigger)).collect();
        let mut index = Index::default();
        for trigger in by_id.values() {
            index.listens |= matches!(trigger.on.source, Source::Silence { .. } | Source::Schedule(_));
            index.foresees |= matches!(trigger.on.source, Source::Forecast { .. });
            index.awaits_moments |= matches!(trigger.on.source, Source::Moment(_));
            index.share(trigger);
            index.follows_trends |= matches!(trigger.on.source, Source::Trend { .. });
            index.of_retailer.entry(trigger.retailer.clone()).or_default().add(trigger);
            if !trigger.link_required {
                index.of_anyone.add(trigger);
                index.anyone_by_id.entry(trigger.id.clone()).or_insert_with(|| trigger.clone());
            }
        }
        index.by_id = by_id;
        TriggerSet { index: Arc::new(index) }
    }
    /// One trigger.
    pub fn get(&self, retailer: &RetailerId, id: &TriggerId) -> Option<&Arc<Trigger>> {
        self.index.by_id.get(&(retailer.clone(), id.clone()))
    }
    /// One trigger by the id that a household remembers: its retailer's, or for a prospect the one
    /// that needs no link.
    pub fn known(&self, retailer: Option<&RetailerId>, id: &TriggerId) -> Option<&Arc<Trigger>> {
        match retailer {
            Some(retailer) => self.get(retailer, id),
            None => self.index.anyone_by_id.get(id),
        }
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

    /// The triggers that watch a value of a device. By model first, then kind, then any; within each
    /// by retailer and id.
    pub fn watching<'a>(
        &'a self,
        device: Concerned<'a>,
        watched: Watched<'a>,
    ) -> impl Iterator<Item = &'a Arc<Trigger>> {
        self.about(device, move |fields| fields.watch(watched).map(|watch| watch.all.as_slice()))
    }
    /// The triggers that wait for an event.
    pub fn on_event<'a>(&'a self, device: Concerned<'a>, r#type: &'a str) -> impl Iterator<Item = &'a Arc<Trigger>> {
        self.about(device, move |fields| fields.events.get(r#type).map(Vec::as_slice))
    }
    /// Whether homes of a retailer share caps, and how.
    pub fn sharing(&self, retailer: &RetailerId) -> Option<Sharing> {
        self.index.sharing.get(retailer).copied()
    }
    /// Whether there is any trigger that waits for a moment.
    pub fn awaits_moments(&self) -> bool {
        self.index.awaits_moments
    }
    /// The triggers that wait for a moment.
    pub fn at_moment<'a>(&'a self, device: Concerned<'a>, moment: Moment) -> impl Iterator<Item = &'a Arc<Trigger>> {
        self.about(device, move |fields| fields.moments.get(&moment).map(Vec::as_slice))
    }
    /// Whether there is any trigger that watches a trend.
    pub fn follows_trends(&self) -> bool {
        self.index.follows_trends
    }
    /// The stretches of time over which triggers watch the trend of a field; one may come twice.
    pub fn trends<'a>(&'a self, device: Concerned<'a>, field: &'a FieldName) -> impl Iterator<Item = Span> + 'a {
        self.fields(device).filter_map(move |fields| fields.trends.get(field)).flat_map(|overs| overs.keys().copied())
    }
    /// Whether there is any trigger that listens for silence or waits for an hour.
    pub fn listens(&self) -> bool {
        self.index.listens
    }
    /// The triggers that listen for silence.
    pub fn on_silence<'a>(&'a self, device: Concerned<'a>) -> impl Iterator<Item = &'a Arc<Trigger>> {
        self.about(device, |fields| Some(fields.silence.as_slice()))
    }
    /// The triggers that wait for an hour.
    pub fn on_schedule<'a>(&'a self, device: Concerned<'a>) -> impl Iterator<Item = &'a Arc<Trigger>> {
        self.about(device, |fields| Some(fields.schedule.as_slice()))
    }
    /// Whether there is any trigger that watches a forecast.
    pub fn foresees(&self) -> bool {
        self.index.foresees
    }
    /// The triggers that watch the forecast of a slot.
    pub fn on_forecast<'a>(
        &'a self,
        device: Concerned<'a>,
        slot: &'a SlotId,
    ) -> impl Iterator<Item = &'a Arc<Trigger>> {
        self.about(device, move |fields| fields.forecasts.get(slot).map(Vec::as_slice))
    }
    /// The triggers that wait for something on another channel.
    pub fn on_channel<'a>(&'a self, device: Concerned<'a>, r#type: &'a str) -> impl Iterator<Item = &'a Arc<Trigger>> {
        self.about(device, move |fields| fields.channels.get(r#type).map(Vec::as_slice))
    }
    /// The triggers that wait for a fresh one in a slot; some of them only for one from `elsewhere`.
    pub fn on_refill<'a>(
        &'a self,
        device: Concerned<'a>,
        slot: &'a SlotId,
        elsewhere: bool,
    ) -> impl Iterator<Item = &'a Arc<Trigger>> {
        let waiting = self.about(device, move |fields| fields.refills.get(slot).map(Vec::as_slice));
        let is_meant = move |source: &Source| match source {
            Source::Refill { elsewhere: only, .. } => elsewhere || !only,
            _ => false,
        };
        waiting.filter(move |trigger| is_meant(&trigger.on.source))
    }
    /// Of [`TriggerSet::watching`], those whose crossing lies between the previous value and this
    /// one; without a previous value, those that fire on a first report.
    pub fn crossed<'a>(
        &'a self,
        device: Concerned<'a>,
        watched: Watched<'a>,
        previous: Option<&'a Value>,
        value: &'a Value,
    ) -> impl Iterator<Item = &'a Arc<Trigger>> {
        let mut found = Found { slices: [&[]; SLICES_MAX], len: 0 };
        if previous != Some(value)
            && let Some(watchers) = self.watchers(device)
        {
            let all = [watchers.of_model.get(device.model), watchers.of_kind.get(device.kind), Some(&watchers.of_any)];
            for watch in all.into_iter().flatten().filter_map(|fields| fields.watch(watched)) {
                watch.crossed(previous, value, &mut found);
            }
        }
        let is_first = previous.is_none();
        let fires = move |trigger: &&Arc<Trigger>| {
            let is_beyond = || trigger.on.edge().is_some_and(|edge| edge.crossing.beyond(value));
            (!is_first || is_beyond()) && trigger.on.covers(device.kind, device.model)
        };
        found.slices.into_iter().take(found.len).flatten().filter(fires)
    }

    fn about<'a>(
        &'a self,
        device: Concerned<'a>,
        of: impl Fn(&'a Fields) -> Option<&'a [Arc<Trigger>]> + 'a,
    ) -> impl Iterator<Item = &'a Arc<Trigger>> {
        self.fields(device).filter_map(of).flatten().filter(move |trigger| trigger.on.covers(device.kind, device.model))
    }
    fn fields<'a>(&'a self, device: Concerned<'a>) -> impl Iterator<Item = &'a Fields> {
        self.watchers(device)
            .into_iter()
            .flat_map(move |watchers| {
                [watchers.of_model.get(device.model), watchers.of_kind.get(device.kind), Some(&watchers.of_any)]
            })
            .flatten()
    }
    fn watchers(&self, device: Concerned<'_>) -> Option<&Watchers> {
        match device.retailer {
            Some(retailer) => self.index.of_retailer.get(retailer),
            None => Some(&self.index.of_anyone),
        }
    }
}

impl Index {
    fn share(&mut self, trigger: &Trigger) {
        for cap in trigger.shared_caps() {
            let sharing = self.sharing.entry(trigger.retailer.clone()).or_default();
            sharing.all |= cap.per != CapPer::Offer;
            sharing.longest = sharing.longest.max(match cap.window {
                CapWindow::Within(window) => window,
                // A local day has 25 hours at most.
                CapWindow::EachDay => Span::hours(25),
            });
        }
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
            Source::Trend { field, over, edge } => {
                self.trends.entry(field.clone()).or_default().entry(*over).or_default().add(trigger, edge);
            }
            Source::Slot { slot, field, edge } => {
                self.slots.entry(slot.clone()).or_default().entry(field.clone()).or_default().add(trigger, edge);
            }
            Source::Presence { edge } => self.presence.add(trigger, edge),
            Source::Context { name, edge } => self.context.entry(name.clone()).or_default().add(trigger, edge),
            Source::Silence { .. } => self.silence.push(trigger.clone()),
            Source::Event { r#type, .. } => self.events.entry(r#type.clone()).or_default().push(trigger.clone()),
            Source::Moment(moment) => self.moments.entry(*moment).or_default().push(trigger.clone()),
            Source::Schedule(_) => self.schedule.push(trigger.clone()),
            Source::Forecast { slot, .. } => {
                self.forecasts.entry(slot.clone()).or_default().push(trigger.clone());
            }
            Source::Channel { r#type } => self.channels.entry(r#type.clone()).or_default().push(trigger.clone()),
            Source::Refill { slot, .. } => self.refills.entry(slot.clone()).or_default().push(trigger.clone()),
        }
    }
    fn watch(&self, watched: Watched<'_>) -> Option<&Watch> {
        match watched {
            Watched::Telemetry(field) => self.telemetry.get(field),
            Watched::Trend(field, over) => self.trends.get(field)?.get(&over),
            Watched::Slot(slot, field) => self.slots.get(slot)?.get(field),
            Watched::Presence => Some(&self.presence),
            Watched::Context(name) => self.context.get(name),
        }
    }
}

impl Watch {
    fn add(&mut self, trigger: &Arc<Trigger>, edge: &EdgeRule) {
        self.all.push(trigger.clone());
        if edge.on_first {
            self.on_first.push(trigger.clone());
        }
        match &edge.crossing {
            Crossing::FallsBelow { threshold, .. } => self.falls_below.add(*threshold, trigger),
            Crossing::RisesAbove { threshold, .. } => self.rises_above.add(*threshold, trigger),
            Crossing::Becomes(Value::Number(x)) => self.becomes_number.add(*x, trigger),
            Crossing::Becomes(Value::Text(text)) => {
                self.becomes_text.entry(text.clone()).or_default().push(trigger.clone());
            }
            Crossing::Becomes(Value::Bool(b)) => self.becomes_bool[usize::from(*b)].push(trigger.clone()),
            Crossing::Changes => self.changes.push(trigger.clone()),
        }
    }
    /// The triggers that a step from `previous` to another `value` may cross: of those that fire on a
    /// first report, all.
    #[inline]
    fn crossed<'a>(&'a self, previous: Option<&Value>, value: &Value, found: &mut Found<'a>) {
        let Some(previous) = previous else { return found.add(&self.on_first) };
        found.add(&self.changes);
        match (previous, value) {
            (Value::Number(before), Value::Number(after)) if after < before => {
                // From at or above the threshold to below it: after < threshold <= before.
                found.add(self.falls_below.between(|n| n <= *after, |n| n <= *before));
            }
            (Value::Number(before), Value::Number(after)) => {
                // From at or below the threshold to above it: before <= threshold < after.
                found.add(self.rises_above.between(|n| n < *before, |n| n < *after));
            }
            _ => {}
        }
        match value {
            Value::Number(x) => found.add(self.becomes_number.between(|n| n < *x, |n| n <= *x)),
            Value::Text(text) => found.add(self.becomes_text.get(text).map_or(&[], Vec::as_slice)),
            Value::Bool(b) => found.add(&self.becomes_bool[usize::from(*b)]),
        }
    }
}

impl<'a> Found<'a> {
    #[inline]
    fn add(&mut self, slice: &'a [Arc<Trigger>]) {
        // Nearly every message crosses nothing: then there is nothing to go through.
        if !slice.is_empty()
            && let Some(place) = self.slices.get_mut(self.len)
        {
            *place = slice;
            self.len += 1;
        }
    }
}

impl Sorted {
    fn add(&mut self, number: f64, trigger: &Arc<Trigger>) {
        let at = self.numbers.partition_point(|other| *other <= number);
        self.numbers.insert(at, number);
        self.triggers.insert(at, trigger.clone());
    }
    /// The triggers after all numbers that `before` takes, up to those that `upto` takes.
    fn between(&self, before: impl Fn(f64) -> bool, upto: impl Fn(f64) -> bool) -> &[Arc<Trigger>] {
        if self.numbers.is_empty() {
            return &[];
        }
        let from = self.numbers.partition_point(|number| before(*number));
        // A step crosses few thresholds, so its end is near its beginning.
        let crossed = self.numbers[from..].iter().take_while(|number| upto(**number)).count();
        self.triggers.get(from..from + crossed).unwrap_or(&[])
    }
}

/// What a trigger is found by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexKey(String);

impl fmt::Display for IndexKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl On {
    /// What the trigger is found by, such as `telemetry temperature of kind thermostat, falls below 17`.
    pub fn key(&self) -> IndexKey {
        let what = match &self.source {
            Source::Telemetry { field, .. } => format!("telemetry {field}"),
            Source::Trend { field, over, .. } => format!("trend of {field} per hour over {over}"),
            Source::Slot { slot, field, .. } => format!("slot {slot} {field}"),
            Source::Presence { .. } => "presence".to_owned(),
            Source::Context { name, .. } => format!("context {name}"),
            Source::Silence { field: Some(field), after } => format!("silence of {field} for {after}"),
            Source::Silence { field: None, after } => format!("silence for {after}"),
            Source::Event { r#type, .. } => format!("event {}", r#type),
            Source::Moment(Moment::Linked) => "link linked".to_owned(),
            Source::Moment(Moment::Order(state)) => format!("order {}", state.as_str()),
            Source::Schedule(hour) => format!("schedule {hour}"),
            Source::Forecast { slot, field, ahead, .. } => format!("forecast {slot} {field}, {ahead} ahead"),
            Source::Channel { r#type } => format!("channel {}", r#type),
            Source::Refill { slot, elsewhere: false } => format!("refill {slot}"),
            Source::Refill { slot, elsewhere: true } => format!("refill {slot} from elsewhere"),
        };
        let names = |names: Vec<&str>| names.join(", ");
        let whose = if !self.models.is_empty() {
            format!("of model {}", names(self.models.iter().map(ModelId::as_str).collect()))
        } else if !self.kinds.is_empty() {
            format!("of kind {}", names(self.kinds.iter().map(KindId::as_str).collect()))
        } else {
            "of any device".to_owned()
        };
        let how = match self.edge().map(|edge| &edge.crossing) {
            Some(Crossing::FallsBelow { threshold, .. }) => format!(", sorted: falls below {threshold}"),
            Some(Crossing::RisesAbove { threshold, .. }) => format!(", sorted: rises above {threshold}"),
            Some(Crossing::Becomes(Value::Number(x))) => format!(", sorted: becomes {x}"),
            Some(Crossing::Becomes(value)) => format!(", by value: becomes {value}"),
            Some(Crossing::Changes) => ", at every change".to_owned(),
            None => String::new(),
        };
        IndexKey(format!("{what} {whose}{how}"))
    }
}
