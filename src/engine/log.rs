//! The input log of a household: an item per input with the traces of its decision, and now and
//! then a snapshot, from which what follows can be decided again.

use std::sync::Arc;

use hearthway_core::decision::Decision;
use hearthway_core::id::{HouseholdId, InputId};
use hearthway_core::model::Household;
use hearthway_core::time::{Span, Timestamp};
use hearthway_core::trace::Verdict;

use super::rows::{self, LastSnapshot, LogItem, LogRow, LogVerdict};
use crate::store::codec::{self, Schema};
use crate::store::{Mark, Store, StoreError, keys};

/// Traces kept of one input. A device wakes few triggers at once; more would only repeat.
pub(super) const TRACES_PER_INPUT_MAX: usize = 32;
/// A household that reports rarely is snapshot so often, because the oldest items of all logs go
/// together: what is younger than this before the cut can always be decided again.
const SNAPSHOT_AGE_MAX: Span = Span::days(1);
/// Items read in one page of a walk back; those who walk mostly want the newest few.
const PAGE_ITEMS: usize = 32;

/// Whether a snapshot is due after an input.
pub(super) fn snapshot_is_due(last: &mut LastSnapshot, seq: u64, now: Timestamp, inputs: u64) -> bool {
    if seq <= 1 {
        // Before its first input a household is empty: that needs no snapshot.
        *last = LastSnapshot { seq: 0, at: now };
    }
    let due = seq - last.seq >= inputs.max(1) || now >= last.at + SNAPSHOT_AGE_MAX;
    if due {
        *last = LastSnapshot { seq, at: now };
    }
    due
}

/// The id of the input that fires a deadline, after so many inputs of its household.
pub(super) fn timer_id(household: HouseholdId, seq: u64, deadline: Timestamp) -> InputId {
    InputId::derived(&[b"timer", household.bytes(), &seq.to_be_bytes(), &deadline.0.to_be_bytes()])
}

/// How a decision ended, in short.
pub(super) fn verdict(decision: &Decision) -> LogVerdict {
    if let Err(refusal) = &decision.reply {
        return LogVerdict::Refused(refusal.code);
    }
    let count = |wanted: Verdict| {
        let n = decision.trace.candidates.iter().filter(|candidate| candidate.verdict == wanted).count();
        u8::try_from(n).unwrap_or(u8::MAX)
    };
    LogVerdict::Accepted { sent: count(Verdict::Sent), held: count(Verdict::Held) }
}

/// What stands in a log.
pub(super) enum Walked {
    /// An item.
    Item(LogItem),
    /// One that nobody can read any more: its customer was erased.
    Erased,
}

/// Goes back through a log from its end, or from before a mark, as long as `each` says so.
pub(super) fn walk_back(
    store: &dyn Store,
    household: HouseholdId,
    mut before: Option<Mark>,
    mut each: impl FnMut(Mark, Walked) -> bool,
) -> Result<(), StoreError> {
    let log = keys::log(household);
    loop {
        let items = store.back(&log, before, PAGE_ITEMS)?;
        for (mark, bytes) in &items {
            let item = rows::unless_erased(codec::decode(Schema::Log, &log, bytes))?;
            if !each(*mark, item.map_or(Walked::Erased, Walked::Item)) {
                return Ok(());
            }
        }
        match items.last() {
            Some((mark, _)) if items.len() == PAGE_ITEMS => before = Some(*mark),
            _ => return Ok(()),
        }
    }
}

/// The same over the inputs alone.
pub(super) fn inputs_back(
    store: &dyn Store,
    household: HouseholdId,
    mut each: impl FnMut(LogRow) -> bool,
) -> Result<(), StoreError> {
    walk_back(store, household, None, |_, item| match item {
        Walked::Item(LogItem::Input(row)) => each(*row),
        Walked::Item(LogItem::Snapshot(_)) | Walked::Erased => true,
    })
}

/// A piece of a log that begins where the household is known.
pub(super) struct Stretch {
    /// The household before the first row; none where the log was cut before a snapshot.
    pub(super) start: Option<Arc<Household>>,
    /// The inputs in order.
    pub(super) rows: Vec<LogRow>,
    /// Where the stretch before ends; none when this is the oldest.
    pub(super) before: Option<Mark>,
    /// Inputs and snapshots before the first row that were erased. They stand for the start where there
    /// is no other: what follows them cannot be decided again.
    pub(super) erased: u64,
}

impl Stretch {
    /// The last stretch before a mark whose inputs are numbered `upto` or less. It begins with a snapshot,
    /// with the first input of all, or behind what was erased.
    pub(super) fn back(
        store: &dyn Store,
        household: HouseholdId,
        before: Option<Mark>,
        upto: u64,
    ) -> Result<Stretch, StoreError> {
        let mut stretch = Stretch { start: None, rows: Vec::new(), before: None, erased: 0 };
        walk_back(store, household, before, |mark, item| {
            match item {
                Walked::Erased => {
                    stretch.erased += 1;
                    stretch.before = Some(mark);
                    return true;
                }
                // What was erased lies between this and the rows.
                Walked::Item(_) if stretch.erased > 0 => return false,
                Walked::Item(LogItem::Input(row)) if row.seq <= upto => stretch.rows.push(*row),
                Walked::Item(LogItem::Snapshot(facts)) if facts.seq < upto => {
                    stretch.start = Some(facts);
                    stretch.before = Some(mark);
                }
                Walked::Item(LogItem::Input(_) | LogItem::Snapshot(_)) => {}
            }
            stretch.start.is_none()
        })?;
        stretch.rows.reverse();
        if stretch.start.is_none() && stretch.erased == 0 && stretch.rows.first().is_none_or(|row| row.seq == 1) {
            stretch.start = Some(Arc::new(Household::empty(household)));
        }
        Ok(stretch)
    }
}
