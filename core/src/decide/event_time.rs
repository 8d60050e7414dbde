//! When something happened, by a device's clock if it can be believed.

use crate::input::Sender;
use crate::limits::{CLOCK_SKEW_TRUSTED, FUTURE_MAX, HISTORY_AGE_MAX};
use crate::model::{ClockState, Device};
use crate::time::{Span, Timestamp};

/// An instant, and whether it is the device's own word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct EventTime {
    /// When it happened.
    pub(super) at: Timestamp,
    /// Whether it comes from a trusted clock; else it is rebuilt or the arrival time.
    pub(super) trusted: bool,
}

/// The clock is trusted when it was measured and its skew is small.
pub(super) fn is_trusted(clock: &ClockState) -> bool {
    clock.skew.is_some_and(|skew| skew.0.abs() < CLOCK_SKEW_TRUSTED.0)
}

/// Whether a trusted clock could say so: not ahead of us, not older than history reaches.
fn plausible(t: Timestamp, now: Timestamp) -> bool {
    t <= now + FUTURE_MAX && t >= now - HISTORY_AGE_MAX
}

/// When an event happened: the device's own time where its clock is trusted, else the time since
/// its start counted from when it started, else the arrival.
///
/// A clock that was never measured is believed where what it says can be true: old readings taken
/// for new ones would make offers out of the past.
pub(super) fn event_time(device: &Device, sender: &Sender, t: Option<Timestamp>, now: Timestamp) -> EventTime {
    let arrival = EventTime { at: now, trusted: false };
    if let Some(t) = t.or(sender.t) {
        let believed = device.clock.skew.is_none() || is_trusted(&device.clock);
        if believed && plausible(t, now) {
            return EventTime { at: t.min(now), trusted: true };
        }
    }
    let (Some(up_ms), Some(started_at)) = (sender.up_ms, device.clock.started_at) else { return arrival };
    let rebuilt = started_at + Span(i64::try_from(up_ms).unwrap_or(i64::MAX));
    if plausible(rebuilt, now) { EventTime { at: rebuilt.min(now), trusted: false } } else { arrival }
}

/// Whether what happened at an instant is older than what is known. Nothing is ever noted from after
/// its arrival, so what stands in the future was noted before the gateway's own clock went back:
/// then a word of these minutes is the newer one, or a home would be deaf until that future.
pub(super) fn is_older(at: Timestamp, known: Timestamp, now: Timestamp) -> bool {
    if known <= now { at < known } else { at + CLOCK_SKEW_TRUSTED < now }
}

/// What a message that carries the device's time of sending says about its clock.
pub(super) fn measure(clock: ClockState, sender: &Sender, t: Option<Timestamp>, now: Timestamp) -> ClockState {
    ClockState {
        skew: t.or(sender.t).map(|t| t - now).or(clock.skew),
        started_at: sender.up_ms.map(|up_ms| now - Span(i64::try_from(up_ms).unwrap_or(i64::MAX))).or(clock.started_at),
    }
}
