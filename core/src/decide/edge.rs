//! What a newer value does to an edge that a trigger has on a device. Values in, values out: who
//! writes it into the record, and what follows, is `wake`'s business.

use crate::limits::TIMES_COUNTED_MAX;
use crate::model::{Edge, EdgeState, Value};
use crate::time::{Span, Timestamp};
use crate::trigger::{Count, EdgeRule};

/// A newer value of what is watched.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seen<'v> {
    /// The value before, with its time.
    pub(super) previous: Option<(&'v Value, Timestamp)>,
    /// The value.
    pub(super) value: &'v Value,
    /// When it was so.
    pub(super) at: Timestamp,
    /// Until when the value before could be believed; none means until it is replaced.
    pub(super) fresh_until: Option<Timestamp>,
}

impl Seen<'_> {
    /// Whether it comes after a silence longer than the value before stayed fresh: what happened in
    /// between nobody knows.
    pub(super) fn after_gap(&self) -> bool {
        self.fresh_until.is_some_and(|until| self.at > until)
    }
}

/// What becomes of an edge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Turn {
    /// Nothing.
    Stays,
    /// It stands so from now on; none means ready.
    To(Option<Edge>),
    /// The crossing of which the last sample was not sure is made.
    Made,
    /// The value stayed beyond as long as it must, until this instant.
    Stayed(Timestamp),
}

/// What a newer value does to an edge that stands somewhere.
pub(super) fn turn(edge: &Edge, rule: &EdgeRule, seen: &Seen<'_>) -> Turn {
    // Only for the time and the threshold of the trigger as it is today.
    let was_beyond = || seen.previous.is_some_and(|(value, _)| rule.crossing.beyond(value));
    if let (EdgeState::Staying, Some(due)) = (&edge.state, rule.stays.map(|stays| edge.since + stays))
        && due <= seen.at
        && was_beyond()
        && stayed(due, seen.fresh_until)
    {
        // Its hour lies between the two samples, as when both come in one batch.
        return Turn::Stayed(due);
    }
    let (beyond, back) = (rule.crossing.beyond(seen.value), rule.crossing.rearms(seen.value));
    match (&edge.state, beyond) {
        (EdgeState::Counting { ready, times }, _) => match (back, *ready) {
            (true, false) => {
                let state = EdgeState::Counting { ready: true, times: times.clone() };
                Turn::To(Some(Edge { state, ..edge.clone() }))
            }
            (true, true) | (false, _) => Turn::Stays,
        },
        _ if back => Turn::To(None),
        (EdgeState::Unsure, true) if seen.after_gap() => Turn::To(Some(unsure(seen.at))),
        (EdgeState::Unsure, true) => Turn::Made,
        (EdgeState::Staying, true) if seen.after_gap() => Turn::To(Some(unsure(seen.at))),
        // Nothing was said yet, so nothing has to come back past `rearm` before it may begin anew.
        (EdgeState::Unsure | EdgeState::Staying, false) => Turn::To(None),
        (EdgeState::Armed, false) => Turn::To(Some(spent(seen.at))),
        (EdgeState::Armed | EdgeState::Staying, true)
        | (EdgeState::Ready | EdgeState::Spent | EdgeState::Listening, _) => Turn::Stays,
    }
}

/// Whether a value could still be believed at the instant until which it had to stay.
pub(super) fn stayed(due: Timestamp, fresh_until: Option<Timestamp>) -> bool {
    fresh_until.is_none_or(|until| due <= until)
}

/// An edge that was acted on.
pub(super) fn spent(since: Timestamp) -> Edge {
    Edge { state: EdgeState::Spent, since, again_at: None }
}

/// An edge of which the next sample decides.
pub(super) fn unsure(since: Timestamp) -> Edge {
    Edge { state: EdgeState::Unsure, since, again_at: None }
}

/// A crossing whose value must stay.
pub(super) fn staying(since: Timestamp, stays: Span) -> Edge {
    Edge { state: EdgeState::Staying, since, again_at: Some(since + stays) }
}

/// Counts one more time. None when there are as many as it takes: then the counting begins anew.
pub(super) fn counted(before: Option<&Edge>, rule: Count, at: Timestamp, ready: bool) -> Option<Edge> {
    let mut times = match before.map(|edge| &edge.state) {
        Some(EdgeState::Counting { times, .. }) => times.clone(),
        _ => Vec::new(),
    };
    // A late one takes its place among the others.
    let place = times.partition_point(|time| *time <= at);
    times.insert(place, at);
    let newest = times.last().copied().unwrap_or(at);
    times.retain(|time| newest - *time <= rule.within);
    let most = rule.times.min(TIMES_COUNTED_MAX) as usize;
    if times.len() >= most {
        return None;
    }
    let since = times.first().copied().unwrap_or(at);
    Some(Edge { state: EdgeState::Counting { ready, times }, since, again_at: None })
}
