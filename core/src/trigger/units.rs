//! In which units models told their values, and when that changed: a number that is written without a unit means the
//! unit that there was when it was published.

use std::collections::BTreeMap;

use super::check::World;
use super::definition::{Amount, Scalar, TriggerDefinition};
use super::problem::{Problem, Severity};
use super::{On, Source};
use crate::id::{FieldName, ModelId, SlotId};
use crate::model::{DeviceDescription, FieldType, Unit};

/// The code of a number that would come to mean another unit.
pub const UNIT_CHANGED: &str = "trigger.unit_changed";

/// A value that a model tells in a unit.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Spoken {
    /// A field of telemetry.
    Telemetry(FieldName),
    /// What a slot holds, or has used.
    Slot(SlotId),
}

/// A unit, from a version of the rules on.
type Told = (u64, Option<Unit>);

/// In which unit each value of each model was told, from which version of the rules on. What a model does not tell any
/// more is remembered: it may come back in another unit.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Units {
    told: BTreeMap<(ModelId, Spoken), Vec<Told>>,
}

impl Units {
    /// A model stands so from a version on. Versions come in order.
    pub fn learn(&mut self, model: &ModelId, description: &DeviceDescription, version: u64) {
        let fields = description.telemetry.iter().filter_map(|(field, schema)| match schema.r#type {
            FieldType::Number { unit, .. } => Some((Spoken::Telemetry(field.clone()), unit)),
            FieldType::Enum { .. } | FieldType::Bool | FieldType::Text => None,
        });
        let slots = description.slots.iter().map(|(slot, schema)| (Spoken::Slot(slot.clone()), schema.unit));
        for (spoken, unit) in fields.chain(slots) {
            let told = self.told.entry((model.clone(), spoken)).or_default();
            if told.last().is_none_or(|(_, last)| *last != unit) {
                told.push((version, unit));
            }
        }
    }

    /// Whether any value of any model is told in another unit since a version.
    pub fn changed_since(&self, version: u64) -> bool {
        self.told.values().any(|told| told.len() > 1 && told.last().is_some_and(|(last, _)| *last > version))
    }

    /// Where a trigger that was published at a version says a number without its unit, and a model that it is about
    /// has told that value in another unit since.
    pub(super) fn changed_under(
        &self,
        definition: &TriggerDefinition,
        on: &On,
        published_at: u64,
        world: &World<'_>,
    ) -> Vec<Problem> {
        let mut problems = Vec::new();
        for ((model, spoken), told) in self.told.iter().filter(|(_, told)| told.len() > 1) {
            let covers = |can: &DeviceDescription| on.covers(&can.kind, model);
            let then = told.iter().rev().find(|(version, _)| *version <= published_at);
            let (Some((_, then)), Some((_, now))) = (then, told.last()) else { continue };
            if then == now || !world.models.get(model).is_some_and(|known| covers(&known.description)) {
                continue;
            }
            if let Some(pointer) = without_unit(definition, on, spoken) {
                problems.push(changed(model, spoken, *then, *now, pointer));
            }
        }
        problems
    }
}

/// Where a trigger says a number of a value that has no unit of its own.
fn without_unit(definition: &TriggerDefinition, on: &On, spoken: &Spoken) -> Option<&'static str> {
    let watches = match (&on.source, spoken) {
        (Source::Telemetry { field, .. } | Source::Trend { field, .. }, Spoken::Telemetry(told)) => field == told,
        (Source::Slot { slot, .. }, Spoken::Slot(told)) => slot == told,
        _ => false,
    };
    if watches && let Some(written) = &definition.on {
        let is_bare = |amount: &Option<Amount>| matches!(amount, Some(Amount::Number(_)));
        let becomes = || matches!(written.becomes, Some(Scalar::Number(_)));
        if is_bare(&written.falls_below) || is_bare(&written.rises_above) || is_bare(&written.rearm) || becomes() {
            return Some("/on");
        }
    }
    let source = definition.when.as_ref().and_then(|when| when.all.as_deref()).unwrap_or_default();
    // Rather one too many: somebody looks at it once, and publishes it again.
    let is_named = match spoken {
        Spoken::Telemetry(field) => source.contains(field.as_str()),
        Spoken::Slot(slot) => source.contains(slot.as_str()) || (on.slot() == Some(slot) && source.contains("slot.")),
    };
    is_named.then_some("/when/all")
}

fn changed(model: &ModelId, spoken: &Spoken, then: Option<Unit>, now: Option<Unit>, pointer: &str) -> Problem {
    let unit = |unit: Option<Unit>| unit.map_or_else(|| "no unit".to_owned(), |unit| unit.to_string());
    let what = match spoken {
        Spoken::Telemetry(field) => field.to_string(),
        Spoken::Slot(slot) => slot.to_string(),
    };
    let (then, now) = (unit(then), unit(now));
    Problem {
        severity: Severity::Error,
        file: String::new(),
        span: 0..0,
        line: 0,
        column: 0,
        pointer: pointer.to_owned(),
        code: UNIT_CHANGED,
        message: format!("`{model}` tells `{what}` in {now}; when this was published it was {then}"),
        help: Some(format!("look at its numbers, write them in {now} and publish it; as it is, publish it again")),
    }
}
