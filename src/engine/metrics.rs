//! Every metric of the engine, declared once: name, unit, meaning.

use metrics::{Counter, Gauge, Histogram};

/// Inputs taken by a shard.
pub const INPUTS: &str = "engine_inputs_total";
/// Inputs that were seen before.
pub const DUPLICATES: &str = "engine_duplicates_total";
/// Inputs that were refused with a code.
pub const REFUSALS: &str = "engine_refusals_total";
/// Inputs that were not acknowledged.
pub const FAILURES: &str = "engine_failures_total";
/// Offers decided to leave.
pub const OFFERS_SENT: &str = "engine_offers_sent_total";
/// Candidates that stayed silent.
pub const OFFERS_HELD: &str = "engine_offers_held_total";
/// Groups made durable.
pub const GROUPS: &str = "engine_groups_total";
/// Inputs in one group.
pub const GROUP_INPUTS: &str = "engine_group_inputs";
/// Groups that the store refused.
pub const COMMIT_FAILURES: &str = "engine_commit_failures_total";
/// Messages handed to a connection.
pub const DELIVERIES: &str = "outbox_deliveries_total";
/// Messages dropped because a device's outbox was full.
pub const OUTBOX_DROPPED: &str = "outbox_dropped_total";
/// Messages that expired before they were taken.
pub const OUTBOX_EXPIRED: &str = "outbox_expired_total";
/// Messages waiting for a device.
pub const OUTBOX_ROWS: &str = "outbox_rows";
/// Timers that came due.
pub const TIMERS_FIRED: &str = "engine_timers_fired_total";
/// Devices on their way between households.
pub const MOVES_IN_FLIGHT: &str = "engine_moves_in_flight";
/// Inputs that the gateway itself failed on.
pub const POISON: &str = "engine_poison_total";
/// Households read from the store because they were not in memory.
pub const HOUSEHOLD_LOADS: &str = "engine_household_loads_total";
/// Orders that drew from a budget.
pub const BUDGET_DRAWS: &str = "budget_draws_total";
/// Accepts refused because a budget had no room.
pub const BUDGET_REFUSALS: &str = "budget_refusals_total";
/// Orders that gave back what they drew.
pub const BUDGET_RETURNS: &str = "budget_returns_total";
/// Offers that another home was faster with, at the last instant under a cap of all homes.
pub const SHARED_CAP_REFUSALS: &str = "shared_cap_refusals_total";
/// Devices looked at because a trigger with `on_activate` went live.
pub const ACTIVATION_LOOKS: &str = "activation_looks_total";
/// Unique codes that offers took.
pub const CODES_TAKEN: &str = "codes_taken_total";
/// Offers that did not leave because their pool of codes was empty.
pub const CODE_POOLS_EMPTY: &str = "code_pools_empty_total";
/// Pools of codes that came down to their last tenth.
pub const CODE_POOLS_LOW: &str = "code_pools_low_total";
/// Events written down for webhooks.
pub const EVENTS: &str = "webhook_events_total";
/// Events left out because too many wait.
pub const EVENTS_DROPPED: &str = "webhook_events_dropped_total";

/// All of them: name, unit, help.
pub const METRICS: &[(&str, &str, &str)] = &[
    (INPUTS, "count", "Inputs taken by a shard: device messages, commands, timers."),
    (DUPLICATES, "count", "Device messages that were seen before and changed nothing."),
    (REFUSALS, "count", "Inputs that were refused with a stable code."),
    (FAILURES, "count", "Inputs that were not acknowledged because they could not be made durable."),
    (OFFERS_SENT, "count", "Offers that a decision let go."),
    (OFFERS_HELD, "count", "Candidates that a decision held or blocked."),
    (GROUPS, "count", "Groups of commits made durable together."),
    (GROUP_INPUTS, "count", "Inputs in one group."),
    (COMMIT_FAILURES, "count", "Groups that the store could not make durable."),
    (DELIVERIES, "count", "Messages that a device's connection took."),
    (OUTBOX_DROPPED, "count", "Messages dropped because the outbox of their device was full."),
    (OUTBOX_EXPIRED, "count", "Messages that expired before a connection took them."),
    (OUTBOX_ROWS, "count", "Messages that wait for a device or its acknowledgement."),
    (TIMERS_FIRED, "count", "Deadlines of households that came due."),
    (MOVES_IN_FLIGHT, "count", "Devices on their way from one household to another."),
    (POISON, "count", "Inputs that the gateway itself failed on; they are kept in the makers' quarantine."),
    (HOUSEHOLD_LOADS, "count", "Households read from the store because they were not in memory."),
    (BUDGET_DRAWS, "count", "Orders that drew from the budget of their trigger."),
    (BUDGET_REFUSALS, "count", "Accepts that were refused because the budget of their trigger had no room."),
    (BUDGET_RETURNS, "count", "Orders that were undone and gave back what they drew from a budget."),
    (
        SHARED_CAP_REFUSALS,
        "count",
        "Offers that did not leave because another home took the last place under a cap of all homes.",
    ),
    (ACTIVATION_LOOKS, "count", "Devices looked at because a trigger with `on_activate` went live."),
    (CODES_TAKEN, "count", "Unique codes that offers took from their pool."),
    (CODE_POOLS_EMPTY, "count", "Times that an offer did not leave because its pool had no unique code left."),
    (CODE_POOLS_LOW, "count", "Times that a pool of unique codes came down to its last tenth: import more."),
    (EVENTS, "count", "Events written down for webhooks, one for each webhook that wants it."),
    (
        EVENTS_DROPPED,
        "count",
        "Events left out because as many wait for their webhook as may; events about orders never are.",
    ),
];

/// The handles, looked up once: the recorder is installed before the engine starts.
pub(super) struct Meters {
    pub(super) inputs: Counter,
    pub(super) duplicates: Counter,
    pub(super) refusals: Counter,
    pub(super) failures: Counter,
    pub(super) offers_sent: Counter,
    pub(super) offers_held: Counter,
    pub(super) groups: Counter,
    pub(super) group_inputs: Histogram,
    pub(super) commit_failures: Counter,
    pub(super) deliveries: Counter,
    pub(super) outbox_dropped: Counter,
    pub(super) outbox_expired: Counter,
    pub(super) outbox_rows: Gauge,
    pub(super) timers_fired: Counter,
    pub(super) moves_in_flight: Gauge,
    pub(super) poison: Counter,
    pub(super) household_loads: Counter,
}

impl Meters {
    pub(super) fn new() -> Meters {
        Meters {
            inputs: metrics::counter!(INPUTS),
            duplicates: metrics::counter!(DUPLICATES),
            refusals: metrics::counter!(REFUSALS),
            failures: metrics::counter!(FAILURES),
            offers_sent: metrics::counter!(OFFERS_SENT),
            offers_held: metrics::counter!(OFFERS_HELD),
            groups: metrics::counter!(GROUPS),
            group_inputs: metrics::histogram!(GROUP_INPUTS),
            commit_failures: metrics::counter!(COMMIT_FAILURES),
            deliveries: metrics::counter!(DELIVERIES),
            outbox_dropped: metrics::counter!(OUTBOX_DROPPED),
            outbox_expired: metrics::counter!(OUTBOX_EXPIRED),
            outbox_rows: metrics::gauge!(OUTBOX_ROWS),
            timers_fired: metrics::counter!(TIMERS_FIRED),
            moves_in_flight: metrics::gauge!(MOVES_IN_FLIGHT),
            poison: metrics::counter!(POISON),
            household_loads: metrics::counter!(HOUSEHOLD_LOADS),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::METRICS;

    #[test]
    fn every_metric_is_declared_once_with_a_unit_and_a_meaning() {
        for (at, (name, unit, help)) in METRICS.iter().enumerate() {
            assert!(METRICS[..at].iter().all(|(other, ..)| other != name), "{name} is declared twice");
            assert!(!unit.is_empty() && help.ends_with('.'), "{name}");
        }
    }
}
