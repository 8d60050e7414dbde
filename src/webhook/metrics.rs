//! Every metric of webhooks, declared once.

use crate::observe::Declared;

/// Tries that reached a receiver who took the event.
pub const DELIVERED: &str = "webhook_delivered_total";
/// Tries that came to nothing.
pub const FAILED: &str = "webhook_failed_total";
/// Events given up.
pub const DEAD: &str = "webhook_dead_letters_total";
/// Events that wait.
pub const WAITING: &str = "webhook_events_waiting";
/// Webhooks that are told nothing any more.
pub const DISABLED: &str = "webhook_disabled_count";
/// How long a try takes.
pub const ATTEMPT_SECONDS: &str = "webhook_attempt_seconds";

/// The metrics of this area.
pub const METRICS: Declared = &[
    (DELIVERED, "count", "Tries after which a receiver had the event (2xx)."),
    (FAILED, "count", "Tries to tell an event that came to nothing, and are made again or given up."),
    (DEAD, "count", "Events given up after three days of tries; they can be replayed."),
    (WAITING, "count", "Events that wait to be told, or told again, of all webhooks together."),
    (DISABLED, "count", "Webhooks that are told nothing because their receiver said 410."),
    (ATTEMPT_SECONDS, "seconds", "How long a try to tell an event takes, with name look-up, TLS and the answer."),
];
