//! What is sound by itself and still looks wrong beside the rest: triggers that speak to the same
//! homes about the same thing, caps that never bind, languages that devices show and no text has.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::Serialize;

use super::check::World;
use super::{Cap, CapPer, CapScope, CapWindow, Channel, Crossing, EdgeRule, Source, Trigger};
use crate::id::{FieldName, SlotId, TriggerId};
use crate::limits::CONTACTS_MAX;
use crate::model::{Value, locale_chain};

/// Findings told of one set of triggers: more would not be read.
pub const CONFLICTS_MAX: usize = 200;

/// Pairs of triggers that are compared, a tenth of a second's work: a shop has a few triggers a slot.
const PAIRS_MAX: usize = 1_000_000;

/// Something that looks wrong about one trigger, or about two of them together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Conflict {
    /// A stable word for the kind of finding.
    pub code: &'static str,
    /// The triggers that it is about.
    pub triggers: Vec<TriggerId>,
    /// What looks wrong, in one sentence.
    pub message: String,
    /// What to do about it.
    pub help: String,
}

/// All that looks wrong about a retailer's triggers together, at most [`CONFLICTS_MAX`]. Of a slot
/// with more than a thousand triggers not every pair is compared.
pub fn conflicts(triggers: &[Arc<Trigger>], world: &World<'_>) -> Vec<Conflict> {
    let mut found = Vec::new();
    let mut by_slot: BTreeMap<&SlotId, Vec<&Trigger>> = BTreeMap::new();
    for trigger in triggers {
        if let Some(slot) = trigger.on.slot() {
            by_slot.entry(slot).or_default().push(trigger);
        }
        found.extend(idle_caps(trigger));
        found.extend(missing_locales(trigger, world));
        if found.len() >= CONFLICTS_MAX {
            break;
        }
    }
    let pairs = by_slot.iter().flat_map(|(slot, of_slot)| {
        let each = of_slot.iter().enumerate();
        each.flat_map(move |(at, one)| of_slot[at + 1..].iter().map(move |other| (*slot, *one, *other)))
    });
    let meeting = pairs.take(PAIRS_MAX).filter(|(_, one, other)| meet(one, other, world));
    found.extend(meeting.map(|(slot, one, other)| same_slot(slot, one, other)).take(CONFLICTS_MAX));
    found.truncate(CONFLICTS_MAX);
    found
}

/// Whether one change in one home can wake both, and both may speak there.
fn meet(one: &Trigger, other: &Trigger, world: &World<'_>) -> bool {
    let devices = world
        .models
        .values()
        .map(|model| &model.description)
        .any(|can| one.on.covers(&can.kind, &can.model) && other.on.covers(&can.kind, &can.model));
    devices && same_way(one, other) && same_audience(one, other) && same_days(one, other)
}

/// What a trigger waits for at its slot.
enum Awaited<'t> {
    /// What is in it goes this way, whichever evidence tells so.
    Contents(Way),
    /// Another word about the slot.
    Other(&'t FieldName, &'t EdgeRule),
}

/// Where the contents of a slot go.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    /// They come to an end.
    Down,
    /// A fresh one is inserted.
    Up,
    /// Either: any change wakes it.
    Both,
}

fn awaited(source: &Source) -> Option<Awaited<'_>> {
    let way = match source {
        Source::Forecast { .. } => Way::Down,
        Source::Refill { .. } => Way::Up,
        Source::Slot { field, edge, .. } => match (field.as_str(), &edge.crossing) {
            ("used", Crossing::RisesAbove { .. }) | ("remaining", Crossing::FallsBelow { .. }) => Way::Down,
            ("used", Crossing::FallsBelow { .. }) | ("remaining", Crossing::RisesAbove { .. }) => Way::Up,
            ("flag", Crossing::Becomes(Value::Text(flag))) => {
                if &**flag == "ok" {
                    Way::Up
                } else {
                    Way::Down
                }
            }
            ("used" | "remaining" | "flag", _) => Way::Both,
            _ => return Some(Awaited::Other(field, edge)),
        },
        Source::Telemetry { .. }
        | Source::Trend { .. }
        | Source::Presence { .. }
        | Source::Context { .. }
        | Source::Silence { .. }
        | Source::Event { .. }
        | Source::Moment(_)
        | Source::Schedule(_)
        | Source::Channel { .. } => return None,
    };
    Some(Awaited::Contents(way))
}

/// Whether what happens once in a slot can wake both.
fn same_way(one: &Trigger, other: &Trigger) -> bool {
    if let (Source::Slot { field, edge, .. }, Source::Slot { field: other_field, edge: other_edge, .. }) =
        (&one.on.source, &other.on.source)
        && let (Crossing::Becomes(value), Crossing::Becomes(other_value)) = (&edge.crossing, &other_edge.crossing)
        && field == other_field
    {
        return value == other_value;
    }
    match (awaited(&one.on.source), awaited(&other.on.source)) {
        (Some(Awaited::Contents(way)), Some(Awaited::Contents(other))) => {
            way == other || way == Way::Both || other == Way::Both
        }
        (Some(Awaited::Other(field, edge)), Some(Awaited::Other(other_field, other))) => {
            field == other_field && std::mem::discriminant(&edge.crossing) == std::mem::discriminant(&other.crossing)
        }
        _ => false,
    }
}

fn same_audience(one: &Trigger, other: &Trigger) -> bool {
    let within = |segments: &[String], others: &[String]| segments.iter().all(|segment| others.contains(segment));
    let apart = |one: &Trigger, other: &Trigger| !one.include.is_empty() && within(&one.include, &other.exclude);
    let share = one.include.is_empty()
        || other.include.is_empty()
        || one.include.iter().any(|segment| other.include.contains(segment));
    let named_apart = |one: &Trigger, other: &Trigger| {
        !one.audiences.is_empty() && one.audiences.iter().all(|audience| other.except.contains(audience))
    };
    share && !apart(one, other) && !apart(other, one) && !named_apart(one, other) && !named_apart(other, one)
}

fn same_days(one: &Trigger, other: &Trigger) -> bool {
    let ends_before =
        |one: &Trigger, other: &Trigger| one.valid.1.zip(other.valid.0).is_some_and(|(end, from)| end < from);
    !ends_before(one, other) && !ends_before(other, one)
}

fn same_slot(slot: &SlotId, one: &Trigger, other: &Trigger) -> Conflict {
    let first = if (other.priority, &one.id) > (one.priority, &other.id) { &other.id } else { &one.id };
    Conflict {
        code: "trigger.same_slot",
        triggers: vec![one.id.clone(), other.id.clone()],
        message: format!("`{}` and `{}` both speak to the same homes about the slot `{slot}`", one.id, other.id),
        help: format!("`{first}` has the higher priority; give both a cap over all offers, or other audiences"),
    }
}

/// Caps that another cap of the trigger always meets first, or that count more than is remembered.
fn idle_caps(trigger: &Trigger) -> Vec<Conflict> {
    let mut found = Vec::new();
    for (at, cap) in trigger.caps.iter().enumerate() {
        let conflict = |why: String| Conflict {
            code: "trigger.idle_cap",
            triggers: vec![trigger.id.clone()],
            message: format!("cap {} of `{}` can never bind: {why}", at + 1, trigger.id),
            help: "leave it out, or make it tighter".to_owned(),
        };
        if cap.scope != CapScope::Global && cap.max as usize > CONTACTS_MAX {
            found.push(conflict(format!("of a home {CONTACTS_MAX} contacts are remembered, fewer than {}", cap.max)));
        } else if let Some(by) = trigger.caps.iter().position(|other| *other != *cap && is_tighter(other, cap)) {
            found.push(conflict(format!("cap {} is always reached first", by + 1)));
        }
    }
    found
}

/// Whether whoever is within one cap is always within the other.
fn is_tighter(one: &Cap, other: &Cap) -> bool {
    let counts_as_much = match (one.per, other.per) {
        (CapPer::All | CapPer::Channel(Channel::Device), CapPer::Offer | CapPer::All)
        | (CapPer::Offer, CapPer::Offer)
        | (CapPer::All, CapPer::Channel(_)) => true,
        (CapPer::Channel(one), CapPer::Channel(other)) => one == other,
        (CapPer::Channel(Channel::Webhook), CapPer::Offer | CapPer::All)
        | (CapPer::Offer, CapPer::Channel(_) | CapPer::All) => false,
    };
    let sees_as_much = match (one.scope, other.scope) {
        (CapScope::Global, _) | (CapScope::Device, CapScope::Device) => true,
        (CapScope::Household | CapScope::Profile, CapScope::Household | CapScope::Profile | CapScope::Device) => true,
        (CapScope::Device, CapScope::Household | CapScope::Profile)
        | (CapScope::Household | CapScope::Profile | CapScope::Device, CapScope::Global) => false,
    };
    let lasts_as_long = match (one.window, other.window) {
        (CapWindow::Within(one), CapWindow::Within(other)) => one >= other,
        // A local day has 25 hours at most.
        (CapWindow::Within(one), CapWindow::EachDay) => one >= crate::time::Span::hours(25),
        // The day of all homes is the shop's, which need not be a home's.
        (CapWindow::EachDay, CapWindow::EachDay) => {
            (one.scope == CapScope::Global) == (other.scope == CapScope::Global)
        }
        (CapWindow::EachDay, CapWindow::Within(_)) => false,
    };
    one.max <= other.max && counts_as_much && sees_as_much && lasts_as_long
}

/// Languages that every device of the trigger shows, and that it has no text in.
fn missing_locales(trigger: &Trigger, world: &World<'_>) -> Option<Conflict> {
    let models = world.models.values().map(|model| &model.description);
    let covered = models.filter(|can| trigger.on.covers(&can.kind, &can.model));
    let shown: BTreeSet<&str> = covered.flat_map(|can| &can.locales).map(String::as_str).collect();
    let missing: Vec<&str> = shown
        .into_iter()
        .filter(|locale| !locale_chain(locale).any(|locale| trigger.offer.texts.locales().any(|known| known == locale)))
        .collect();
    (!missing.is_empty()).then(|| Conflict {
        code: "trigger.missing_locale",
        triggers: vec![trigger.id.clone()],
        message: format!("`{}` has no text in {}, which its devices show", trigger.id, missing.join(", ")),
        help: "whoever reads these gets the default language; write [trigger.offer.text.…] for each".to_owned(),
    })
}
