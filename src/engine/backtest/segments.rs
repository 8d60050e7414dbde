//! A household's log from its oldest input that counts to its newest, a segment at a time. A log
//! only leads backward: the way back leaves a mark per segment, and the way forward reads each
//! segment from its mark. Most logs are one segment, which is kept from the way back.

use std::sync::Arc;

use hearthway_core::id::HouseholdId;
use hearthway_core::model::Household;
use hearthway_core::time::Timestamp;

use super::super::log::{Walked, walk_back};
use super::super::past::{Past, Window};
use super::super::rows::{LogItem, LogRow};
use crate::store::{Mark, StoreError};

/// Inputs in memory at once: a few megabytes, and a chatty device's three days.
pub(super) const SEGMENT_INPUTS_MAX: usize = 4_096;

pub(super) struct Segments<'p> {
    past: &'p Past,
    household: HouseholdId,
    /// Where each segment ends, the newest first: before this mark, or at the log's end.
    ends: Vec<Option<Mark>>,
    /// The oldest segment, already read, newest input first.
    oldest: Option<Vec<LogRow>>,
    start: Option<Arc<Household>>,
    begins_late: Option<Timestamp>,
    /// Inputs up to this one are part of the start.
    after_seq: u64,
}

impl<'p> Segments<'p> {
    /// Goes back to the newest snapshot before the window, or to where the log begins.
    pub(super) fn of(past: &'p Past, household: HouseholdId, window: Window) -> Result<Segments<'p>, StoreError> {
        let (mut ends, mut rows) = (vec![None], Vec::<LogRow>::new());
        let (mut oldest_mark, mut is_before) = (None, false);
        // The newest snapshot from before the window, and the oldest inside of it.
        let (mut before, mut inside) = (None, None);
        walk_back(&*past.store, household, None, |mark, item| match item {
            // What is older cannot be gone on from.
            Walked::Erased => false,
            Walked::Item(LogItem::Input(row)) => {
                if rows.len() == SEGMENT_INPUTS_MAX {
                    rows.clear();
                    ends.push(oldest_mark);
                }
                is_before |= window.is_before(row.input.received_at);
                oldest_mark = Some(mark);
                rows.push(*row);
                true
            }
            Walked::Item(LogItem::Snapshot(facts)) => {
                let which = if is_before { &mut before } else { &mut inside };
                *which = Some(facts);
                !is_before
            }
        })?;
        let begins_whole = rows.last().is_some_and(|row| row.seq == 1);
        let is_late = before.is_none() && !begins_whole;
        let empty = || begins_whole.then(|| Arc::new(Household::empty(household)));
        let start = before.or_else(empty).or(inside);
        let after_seq = start.as_ref().map_or(u64::MAX, |start| start.seq);
        let mut segments = Segments { past, household, ends, oldest: Some(rows), start, begins_late: None, after_seq };
        if is_late {
            segments.begins_late = segments.first_known();
        }
        Ok(segments)
    }

    /// When the first input after the start came, where that is in the segment at hand.
    fn first_known(&self) -> Option<Timestamp> {
        let rows = self.oldest.as_ref()?;
        let known = rows.iter().rev().find(|row| row.seq > self.after_seq).or(rows.first());
        known.map(|row| row.input.received_at)
    }

    /// The household as it was before the first input that [`Segments::next`] gives; none where
    /// nothing of it is known.
    pub(super) fn take_start(&mut self) -> Option<Arc<Household>> {
        self.start.take()
    }

    /// Where the household's history begins inside the window, because what is older is gone.
    pub(super) fn begins_late(&self) -> Option<Timestamp> {
        self.begins_late
    }

    /// The next segment, oldest input first.
    pub(super) fn next(&mut self) -> Result<Option<Vec<LogRow>>, StoreError> {
        let Some(end) = self.ends.pop() else { return Ok(None) };
        let mut rows = match self.oldest.take() {
            Some(rows) => rows,
            None => self.read(end)?,
        };
        rows.reverse();
        rows.retain(|row| row.seq > self.after_seq);
        Ok(Some(rows))
    }

    fn read(&self, end: Option<Mark>) -> Result<Vec<LogRow>, StoreError> {
        let mut rows = Vec::with_capacity(SEGMENT_INPUTS_MAX);
        walk_back(&*self.past.store, self.household, end, |_, item| {
            match item {
                Walked::Item(LogItem::Input(row)) => rows.push(*row),
                Walked::Item(LogItem::Snapshot(_)) => {}
                Walked::Erased => return false,
            }
            rows.len() < SEGMENT_INPUTS_MAX
        })?;
        Ok(rows)
    }
}
