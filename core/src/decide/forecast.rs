//! What a slot's reports teach, and the triggers that its forecast wakes as it comes nearer.

use super::draft::{Draft, description};
use super::edge;
use super::foreseen::{Foreseen, foreseen, moment, prior_of};
use super::pipeline::Cause;
use super::rank::best_first;
use super::wake::{self, concerned, fire, set};
use super::{offer, supply};
use crate::decision::Change;
use crate::forecast::{Moment, Verdict};
use crate::id::{DeviceKey, SlotId};
use crate::limits::TRACKS_MAX;
use crate::model::{Edge, EdgeState, Evidence, Report, SlotKey, SlotState, Track};
use crate::time::{Span, Timestamp};
use crate::trigger::{OfferKind, Source, Trigger};

/// Days of history from which on a leap of a level waits for the next reading to agree. A device
/// that is tried out has none yet, and is believed at once.
const HELD_AFTER_DAYS: f64 = 2.0;
/// After a suggestion that led to no order, the share of the time left after which it is looked at
/// again.
const AGAIN_SHARE: f64 = 0.25;
/// How long after an old report the rest of its batch has come.
const BATCH_ENDS: Span = Span::minutes(30);
/// At least so long is waited before the same is suggested again.
const AGAIN_MIN: Span = Span::days(3);

/// What a report of a slot turned out to be.
pub(super) struct Learned {
    /// In words, for the trace.
    pub(super) verdict: Option<Verdict>,
    /// Whether the evidence waits for the next report to agree: nothing follows from it yet.
    pub(super) is_held: bool,
}

/// Learns from a report of a slot. What stands in homes of nobody teaches nothing: what a device's
/// people do is theirs.
pub(super) fn reported(
    draft: &mut Draft<'_>,
    key: &DeviceKey,
    slot: &SlotId,
    previous: Option<&SlotState>,
    state: &SlotState,
) -> Learned {
    let (home, rules) = (draft.before(), draft.rules);
    let nothing = Learned { verdict: None, is_held: false };
    if home.retailer.is_none() || home.link_of(key).is_none() {
        return nothing;
    }
    let of = SlotKey { device: key.clone(), slot: slot.clone() };
    let known = home.supply.tracks.get(&of).filter(|track| track.takes(&state.evidence));
    if known.is_none() && home.supply.tracks.len() >= TRACKS_MAX {
        draft.note_once(format!("more than {TRACKS_MAX} slots at home: the others are not foreseen"));
        return nothing;
    }
    let mut track = match known {
        Some(track) => {
            let mut track = track.clone();
            // The catalogue may know by now what fits.
            if track.product.is_none() {
                track.product = supply::first_fitting(draft, key, slot);
            }
            track
        }
        None => {
            let product = supply::first_fitting(draft, key, slot);
            let prior = rules.prior(home, product.as_ref());
            Box::new(Track::new(&state.evidence, prior, product))
        }
    };
    let ends = match (&state.evidence, &home.zone) {
        (Evidence::Life { ends }, Some(zone)) => ends.parse().ok().map(|date| zone.end_of(date)),
        _ => None,
    };
    let booted_at = draft.input.sender.up_ms.map(|up_ms| Timestamp(draft.now.0.saturating_sub_unsigned(up_ms)));
    let report = Report {
        state,
        previous: previous.filter(|_| known.is_some()),
        at: moment(home, state.t),
        restarted: previous.zip(booted_at).is_some_and(|(previous, booted)| booted > previous.t),
        ends,
    };
    let (verdict, refilled) = track.report(prior_of(home, rules, &track), report);
    let is_held = matches!(verdict, Verdict::Held { .. })
        && matches!(state.evidence, Evidence::Level { .. })
        && track.days_learned() >= HELD_AFTER_DAYS;
    let days = previous.map_or(0.0, |previous| (state.t - previous.t).0 as f64 / 86_400_000.0);
    if let Some(use_told) = track.tells_use(prior_of(home, rules, &track), &verdict, days) {
        listen(draft, state.t, days, use_told);
    }
    let found_product = known.is_some_and(|known| known.product != track.product);
    if verdict.changed() || found_product {
        draft.change(Change::TrackSet { device: key.clone(), slot: slot.clone(), track: Some(track) });
    }
    if refilled {
        let elsewhere = supply::inserted(draft, key, slot);
        offer::withdraw_refilled(draft, key, slot);
        wake::by_refill(draft, key, slot, elsewhere, state.t);
    }
    Learned { verdict: Some(verdict), is_held }
}

/// Whether somebody is at home, by what a report tells: use is a sign of life, a slot that was not used is
/// silent for so many days.
fn listen(draft: &mut Draft<'_>, at: Timestamp, days: f64, (is_used, uses_a_day): (bool, f64)) {
    let before = draft.before().supply.absence;
    let (mut after, day) = (before, Moment::at(at).day);
    if !is_used {
        after.quiet(uses_a_day, days);
    } else if !before.is_fresh(day) {
        after.sign_of_life(day);
    }
    if after != before {
        draft.change(Change::AbsenceSet(after));
    }
}

/// The forecast of a slot moved: wakes what it came near to, and notes when it will.
///
/// A report that is older than its trigger takes for news may be one of a batch that is still coming: the trigger
/// waits for the rest of it.
pub(super) fn look(draft: &mut Draft<'_>, key: &DeviceKey, slot: &SlotId, reported_at: Timestamp) {
    let (rules, home) = (draft.rules, draft.before());
    if !rules.triggers.foresees() {
        return;
    }
    let Some(device) = home.devices.get(key) else { return };
    let Some(can) = description(device, rules) else { return };
    let watching = rules.triggers.on_forecast(concerned(home, device, can), slot);
    for trigger in best_first(draft, home, key, watching, |trigger| Some(*trigger)) {
        let is_news = draft.now - reported_at <= trigger.max_event_age;
        stand(draft, key, trigger, slot, is_news);
    }
}

/// A deadline of a forecast has come: it is near now, or moved away meanwhile.
pub(super) fn due(draft: &mut Draft<'_>, key: &DeviceKey, trigger: &Trigger, edge: &Edge) {
    let Source::Forecast { slot, .. } = &trigger.on.source else { return };
    if edge.state == EdgeState::Spent {
        // What was suggested led to nothing: it may be suggested again.
        set(draft, key, trigger, Some(Edge { again_at: None, state: EdgeState::Listening, since: edge.since }));
    }
    stand(draft, key, trigger, slot, true);
}

/// Brings a trigger's edge to where the forecast is, and wakes it where that is near enough.
fn stand(draft: &mut Draft<'_>, key: &DeviceKey, trigger: &Trigger, slot: &SlotId, is_news: bool) {
    let (rules, now) = (draft.rules, draft.now);
    let Source::Forecast { field, ahead, rearm, .. } = &trigger.on.source else { return };
    let home = draft.home();
    let edge = home.devices.get(key).and_then(|device| device.edges.get(&trigger.id)).cloned();
    let state = edge.as_ref().map_or(EdgeState::Ready, |edge| edge.state.clone());
    let seen = foreseen(home, rules, key, slot, now).ok();
    let Some(at) = seen.map(|seen: Foreseen<'_>| seen.instant(*field, trigger.replenish.as_ref())) else {
        if state == EdgeState::Listening {
            set(draft, key, trigger, None);
        }
        return;
    };
    let listening = |due| Edge { state: EdgeState::Listening, since: now, again_at: Some(due) };
    let due = at - *ahead;
    let is_quiet = edge.as_ref().is_some_and(|edge| edge.again_at.is_some_and(|at| at > now));
    match state {
        // Who said "later" is not asked before, however the forecast moves; the deadline looks again.
        EdgeState::Spent if is_quiet => {}
        EdgeState::Armed | EdgeState::Spent if at - now < *rearm => {}
        _ if due > now => {
            // The deadline in the record is kept as long as it is about right: a forecast moves a
            // little with each report, and a record is not written for that.
            let known = edge.filter(|edge| edge.state == EdgeState::Listening).and_then(|edge| edge.again_at);
            if known.is_none_or(|known| !is_about(known, due, now)) {
                set(draft, key, trigger, Some(listening(due)));
            }
        }
        EdgeState::Listening if !is_news && edge.is_some_and(|edge| edge.again_at.is_some_and(|at| at > now)) => {}
        _ if !is_news => set(draft, key, trigger, Some(listening(now + BATCH_ENDS))),
        _ => {
            fire(draft, key, trigger, None, now, Cause::Foreseen);
        }
    }
}

/// When a trigger whose forecast was acted on is looked at again, where nothing comes of it; none for one that
/// watches no forecast.
pub(super) fn again_at(draft: &mut Draft<'_>, key: &DeviceKey, trigger: &Trigger) -> Option<Timestamp> {
    let (rules, now) = (draft.rules, draft.now);
    let Source::Forecast { slot, .. } = &trigger.on.source else { return None };
    if trigger.kind != OfferKind::Replenish {
        return None;
    }
    let left = foreseen(draft.home(), rules, key, slot, now).map_or(0, |seen| (seen.empty(0.5) - now).0);
    Some(now + Span((left.max(0) as f64 * AGAIN_SHARE) as i64).max(AGAIN_MIN))
}

/// Something is ordered for the home without asking: what would be ordered soon anyhow joins the
/// delivery. Each that joins is quiet afterwards, so that this ends.
pub(super) fn join_delivery(draft: &mut Draft<'_>) {
    let (rules, now) = (draft.rules, draft.now);
    let home = draft.home();
    let mut soon = Vec::new();
    for (key, device) in &home.devices {
        for (id, edge) in device.edges.iter().filter(|(_, edge)| edge.state == EdgeState::Listening) {
            let Some(trigger) = rules.triggers.known(home.retailer.as_ref(), id) else { continue };
            let joins = trigger.replenish.filter(|plan| plan.auto).map_or(Span::ZERO, |plan| plan.join);
            // Only what somebody permits to order joins: the others are asked at their own moment.
            let permits =
                |mandate: &crate::model::Mandate| mandate.covers(key, trigger.on.slot()) && mandate.expires_at > now;
            let is_permitted = matches!(trigger.on.source, Source::Forecast { .. })
                && home.supply.mandates.values().any(|mandate| permits(mandate));
            if is_permitted && edge.again_at.is_some_and(|due| due - joins <= now) {
                soon.push((key.clone(), trigger));
            }
        }
    }
    for (key, trigger) in soon {
        let is_still = |edge: &Edge| edge.state == EdgeState::Listening;
        if draft.device(&key).and_then(|device| device.edges.get(&trigger.id)).is_some_and(is_still) {
            fire(draft, &key, trigger, None, now, Cause::Foreseen);
        }
    }
}

/// The person wants to hear of it later: the trigger is quiet until then.
pub(super) fn put_off(draft: &mut Draft<'_>, key: &DeviceKey, trigger: &Trigger, until: Timestamp) {
    if matches!(trigger.on.source, Source::Forecast { .. }) {
        let edge = Edge { again_at: Some(until), ..edge::spent(draft.now) };
        set(draft, key, trigger, Some(edge));
    }
}

/// Whether a deadline is right to a twentieth of the time that is left.
fn is_about(known: Timestamp, due: Timestamp, now: Timestamp) -> bool {
    (known - due).0.abs() <= (due - now).0.max(0) / 20
}
