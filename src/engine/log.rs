//! The input log of a household: a row per input, a snapshot now and then, and what is older
//! than the previous snapshot goes. So between one and two halves of the log stand, and every
//! row that stands can be replayed.

use hearthway_core::decision::Decision;
use hearthway_core::id::HouseholdId;
use hearthway_core::trace::Verdict;

use super::rows::{self, LogVerdict, TraceRow};
use crate::store::codec::Schema;
use crate::store::keys::{self, Key};
use crate::store::{Store, StoreError, Write};

/// Traces kept of one input. A device wakes few triggers at once; more would only repeat.
pub(super) const TRACES_PER_INPUT_MAX: usize = 32;

/// Whether a snapshot stands after input `seq`, in a log of `rows_max`.
pub(super) fn cuts_at(seq: u64, rows_max: u64) -> bool {
    seq.is_multiple_of((rows_max / 2).max(1))
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

/// The traces of a decision, a row per candidate.
pub(super) fn traces(household: HouseholdId, seq: u64, decision: &Decision, writes: &mut Vec<Write>) {
    for (at, candidate) in (0..).zip(decision.trace.candidates.iter().take(TRACES_PER_INPUT_MAX)) {
        let row = TraceRow { input: decision.trace.input, at: decision.trace.at, candidate: candidate.clone() };
        writes.push(rows::put(Schema::Trace, keys::trace(household, seq, at), &row));
    }
}

/// Cuts the log where a snapshot was put after input `seq`: what stands at or before the previous
/// snapshot goes, but for that snapshot.
pub(super) fn cut(
    store: &dyn Store,
    household: HouseholdId,
    seq: u64,
    rows_max: u64,
    writes: &mut Vec<Write>,
) -> Result<(), StoreError> {
    let previous = seq.saturating_sub((rows_max / 2).max(1));
    let mut remove = |prefix: Vec<u8>, last: u64| {
        let at = prefix.len();
        rows::walk(store, &prefix, |key, _| {
            let old = seq_at(key, at).is_some_and(|seq| seq <= last);
            if old {
                writes.push(Write::Delete(key.clone()));
            }
            Ok(old)
        })
    };
    remove(keys::inputs(household), previous)?;
    remove(keys::traces(household), previous)?;
    remove(keys::snapshots(household), previous.saturating_sub(1))
}

/// The input's number in a key, after its household.
pub(super) fn seq_at(key: &Key, prefix_bytes: usize) -> Option<u64> {
    key.0.get(prefix_bytes..)?.first_chunk::<8>().map(|bytes| u64::from_be_bytes(*bytes))
}
