//! What a slot went through: its readings as the forecast took them, and what was decided about it.

use std::collections::BTreeMap;

use hearthway_core::forecast::Moment;
use hearthway_core::id::{DeviceKey, HouseholdId, SlotId, TriggerId};
use hearthway_core::input::What;
use hearthway_core::model::{Household, Report, SlotKey, SlotState, Track};
use hearthway_core::rules::RuleSet;
use hearthway_core::time::Timestamp;
use hearthway_core::trace::Verdict;
use hearthway_core::wire::{DeviceMessage, SlotUp};

use super::log;
use super::past::Past;
use super::rows::{LogRow, LogVerdict};
use crate::store::StoreError;

/// Inputs of a home that are looked through for its readings: a chatty home's last weeks.
const INPUTS_WALKED_MAX: usize = 50_000;

/// One reading of a slot.
#[derive(Debug, Clone, PartialEq)]
pub struct SlotPoint {
    /// When it was so.
    pub t: Timestamp,
    /// What was left of a full one, in percent, where that can be told.
    pub left_percent: Option<f64>,
    /// What the reading turned out to be.
    pub verdict: String,
    /// Whether a fresh one was inserted.
    pub refilled: bool,
}

/// One look of a trigger at the slot.
#[derive(Debug, Clone, PartialEq)]
pub struct SlotDecision {
    /// When.
    pub t: Timestamp,
    /// Which trigger.
    pub trigger: TriggerId,
    /// Whether anything was said.
    pub verdict: Verdict,
    /// What stopped it.
    pub first_block: Option<&'static str>,
}

/// What a slot went through, oldest first.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SlotHistory {
    /// Its readings.
    pub points: Vec<SlotPoint>,
    /// Looks of triggers that are about it.
    pub decisions: Vec<SlotDecision>,
}

/// Reports of the slots of a home, by device and slot: days since 1970, oldest first.
pub type SlotReports = BTreeMap<(DeviceKey, SlotId), Vec<(f64, SlotUp)>>;

impl Past {
    /// All that a home's devices reported of their slots, as far as the log goes back.
    pub fn slot_reports(&self, household: HouseholdId) -> Result<SlotReports, StoreError> {
        let mut reports = SlotReports::new();
        log::inputs_back(&*self.store, household, |row| {
            if !was_taken(&row) {
                return true;
            }
            if let (Some(device), What::Device(DeviceMessage::Slot(said))) = (row.input.device, row.input.what) {
                let day = Moment::at(said.t.unwrap_or(row.input.received_at)).day;
                reports.entry((device, said.slot.clone())).or_default().push((day, said));
            }
            true
        })?;
        reports.values_mut().for_each(|reports| reports.sort_by(|(a, _), (b, _)| a.total_cmp(b)));
        Ok(reports)
    }

    /// What a slot of a home went through, as far as the log goes back, at most so many readings.
    pub fn slot_history(
        &self,
        home: &Household,
        rules: &RuleSet,
        device: &DeviceKey,
        slot: &SlotId,
        most: usize,
    ) -> Result<SlotHistory, StoreError> {
        let mut readings = Vec::new();
        let mut history = SlotHistory::default();
        let mut walked = 0;
        log::inputs_back(&*self.store, home.id, |row| {
            walked += 1;
            let (at, was_taken) = (row.input.received_at, was_taken(&row));
            // A deadline names no device: it may be about this one.
            let is_of_device = row.input.device.as_ref().is_none_or(|of| of == device);
            for candidate in row.candidates {
                let trigger =
                    home.retailer.as_ref().and_then(|retailer| rules.triggers.get(retailer, &candidate.trigger));
                if is_of_device && trigger.is_some_and(|trigger| trigger.on.slot() == Some(slot)) {
                    let first_block = candidate.first_block.map(|step| step.as_str());
                    let (trigger, verdict) = (candidate.trigger, candidate.verdict);
                    history.decisions.push(SlotDecision { t: at, trigger, verdict, first_block });
                }
            }
            if let (Some(of), What::Device(DeviceMessage::Slot(said))) = (&row.input.device, row.input.what)
                && of == device
                && said.slot == *slot
                && was_taken
            {
                readings.push((said.t.unwrap_or(at), said));
            }
            readings.len() < most && walked < INPUTS_WALKED_MAX
        })?;
        history.decisions.reverse();
        let key = SlotKey { device: device.clone(), slot: slot.clone() };
        let product = home.supply.tracks.get(&key).and_then(|track| track.product.clone());
        let prior = rules.prior(home, product.as_ref());
        let schema = home.devices.get(device).and_then(|device| device.description_in(rules)?.slots.get(slot).cloned());
        let mut track: Option<Track> = None;
        let mut previous: Option<SlotState> = None;
        for (t, said) in readings.into_iter().rev() {
            let capacity = said.capacity.or_else(|| schema.as_ref().and_then(|schema| schema.capacity));
            let unit = schema.as_ref().and_then(|schema| schema.unit);
            let (changed_at, on_hand) = (said.changed_at, said.on_hand);
            let state = SlotState { evidence: said.evidence, capacity, unit, t, changed_at, on_hand };
            let track = track.get_or_insert_with(|| Track::new(&state.evidence, prior, product.clone()));
            let at = Moment::at(t);
            let at = at.with_away(home.supply.absence.away_days(at.day));
            let report = Report { state: &state, previous: previous.as_ref(), at, restarted: false, ends: None };
            let (verdict, refilled) = track.report(prior, report);
            let verdict = verdict.to_string();
            history.points.push(SlotPoint { t, left_percent: share_left(&state), verdict, refilled });
            previous = Some(state);
        }
        Ok(history)
    }
}

/// Whether an input was taken: a report that was refused, such as one in another unit, says nothing of its slot.
fn was_taken(row: &LogRow) -> bool {
    matches!(row.verdict, LogVerdict::Accepted { .. })
}

/// What a piece of evidence says is left, in percent of a full one.
fn share_left(state: &SlotState) -> Option<f64> {
    let capacity = state.capacity.filter(|capacity| *capacity > 0.0)?;
    Some((100.0 * state.number("remaining")? / capacity).clamp(0.0, 110.0))
}
