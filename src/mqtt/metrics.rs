//! The names of the endpoint's metrics. No ids as labels.

/// Connections at this moment.
pub const CONNECTIONS: &str = "mqtt_connections";
/// Connections accepted.
pub const ACCEPTED: &str = "mqtt_connections_accepted_total";
/// CONNECTs refused, by reason.
pub const REFUSED: &str = "mqtt_connects_refused_total";
/// Connections ended, by reason.
pub const ENDED: &str = "mqtt_connections_ended_total";
/// Connections ended by a newer one.
pub const TAKEOVERS: &str = "mqtt_takeovers_total";
/// Publishes received.
pub const MESSAGES_IN: &str = "mqtt_messages_in_total";
/// Publishes received that were refused before the engine, by code.
pub const MESSAGES_REFUSED: &str = "mqtt_messages_refused_total";
/// Publishes written.
pub const MESSAGES_OUT: &str = "mqtt_messages_out_total";
/// Deliveries not written: too large for the client, or expired.
pub const MESSAGES_DROPPED: &str = "mqtt_messages_dropped_total";
/// Bytes read.
pub const BYTES_IN: &str = "mqtt_bytes_in_total";
/// Bytes written.
pub const BYTES_OUT: &str = "mqtt_bytes_out_total";
/// Wills published.
pub const WILLS: &str = "mqtt_wills_total";
/// Publishes slowed because of their rate.
pub const SLOWED: &str = "mqtt_publishes_slowed_total";
/// Publishes above a rate that were dropped or refused, by what they are worth.
pub const MESSAGES_SHED: &str = "mqtt_messages_shed_total";
/// TLS handshakes that succeeded, full or resumed.
pub const TLS_HANDSHAKES: &str = "mqtt_tls_handshakes_total";
/// TLS connections refused, by verdict.
pub const TLS_REFUSED: &str = "mqtt_tls_refused_total";
/// Time until the gateway's certificate ends.
pub const TLS_LEFT: &str = "mqtt_tls_certificate_left_seconds";
/// Connects with a certificate that ends soon, by the warning.
pub const TLS_CLIENTS_EXPIRING: &str = "mqtt_tls_client_certificates_expiring_total";
/// Changed TLS files, taken or refused.
pub const TLS_RELOADS: &str = "mqtt_tls_reloads_total";
/// Entries of the list of revoked certificates.
pub const TLS_REVOKED: &str = "mqtt_tls_revoked_count";

/// All of them: name, unit, help.
pub const METRICS: &[(&str, &str, &str)] = &[
    (CONNECTIONS, "count", "MQTT connections at this moment"),
    (ACCEPTED, "count", "MQTT connections accepted"),
    (REFUSED, "count", "CONNECTs refused, by reason"),
    (ENDED, "count", "MQTT connections ended, by reason"),
    (TAKEOVERS, "count", "MQTT connections ended by a newer one of the same client"),
    (MESSAGES_IN, "count", "MQTT publishes received"),
    (MESSAGES_REFUSED, "count", "MQTT publishes refused before a decision, by code"),
    (MESSAGES_OUT, "count", "MQTT publishes written to clients"),
    (MESSAGES_DROPPED, "count", "MQTT deliveries not written, by reason"),
    (BYTES_IN, "bytes", "Bytes read from MQTT clients"),
    (BYTES_OUT, "bytes", "Bytes written to MQTT clients"),
    (WILLS, "count", "Wills published for connections that broke"),
    (SLOWED, "count", "Times that reading slowed because of the publish rate"),
    (MESSAGES_SHED, "count", "MQTT publishes above a rate that were dropped or refused, by class"),
    (TLS_HANDSHAKES, "count", "TLS handshakes that succeeded, full or resumed"),
    (TLS_REFUSED, "count", "TLS connections refused, by verdict"),
    (TLS_LEFT, "seconds", "Time until the gateway's own certificate ends; 0 when it has"),
    (TLS_CLIENTS_EXPIRING, "count", "Connects with a certificate that ends within 30, 14 or 3 days"),
    (TLS_RELOADS, "count", "Changed TLS files, by what they are and whether they were taken"),
    (TLS_REVOKED, "count", "Entries of the list of revoked certificates"),
];
