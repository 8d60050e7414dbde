//! The names of the broker link's metrics. No ids as labels.

/// 1 while the link is up.
pub const CONNECTED: &str = "broker_connected_count";
/// Connections that were let in.
pub const CONNECTS: &str = "broker_connects_total";
/// Connections that ended.
pub const LOST: &str = "broker_connections_lost_total";
/// Messages received.
pub const MESSAGES_IN: &str = "broker_messages_in_total";
/// Messages not looked at, by reason.
pub const MESSAGES_DROPPED: &str = "broker_messages_dropped_total";
/// Messages published.
pub const MESSAGES_OUT: &str = "broker_messages_out_total";
/// Messages whose publishing did not settle them, by reason.
pub const UNSETTLED: &str = "broker_publishes_unsettled_total";
/// Messages that lacked a signature which they need.
pub const UNSIGNED: &str = "broker_unsigned_refused_total";
/// 1 when the self-test has proved the broker's access rules.
pub const ACL_PROVED: &str = "broker_acl_proved_count";
/// Accounts of devices written to the broker.
pub const ACCOUNTS: &str = "broker_accounts_written_total";

/// All of them: name, unit, help.
pub const METRICS: &[(&str, &str, &str)] = &[
    (CONNECTED, "count", "1 while the broker link is connected and subscribed"),
    (CONNECTS, "count", "Connections to the broker that were let in"),
    (LOST, "count", "Connections to the broker that ended or were refused"),
    (MESSAGES_IN, "count", "Messages received from the broker"),
    (MESSAGES_DROPPED, "count", "Messages from the broker that were not looked at, by reason"),
    (MESSAGES_OUT, "count", "Messages published to the broker"),
    (UNSETTLED, "count", "Publishes that stay in the outbox: nobody listens, refused, or the connection was lost"),
    (UNSIGNED, "count", "Messages refused because they need a signature on this way and have none"),
    (ACL_PROVED, "count", "1 when the self-test has proved the broker's access rules"),
    (ACCOUNTS, "count", "Device accounts written to the broker's access control"),
];
