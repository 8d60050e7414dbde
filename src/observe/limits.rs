//! Every limit that refuses, slows or cuts somebody, by name: the labels of one counter, so that
//! an operator sees in one place which of them is at work. What each is stands in
//! docs/operations.md.

use metrics::counter;

use super::Declared;

/// How often a limit was at work.
pub const HITS: &str = "limit_hits_total";

/// The metrics of this area.
pub const METRICS: Declared =
    &[(HITS, "count", "Times that a limit refused, slowed or cut somebody, by the limit's name")];

macro_rules! limits {
    ($($(#[$doc:meta])* $name:ident = $label:literal;)*) => {
        /// One limit.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Limit { $($(#[$doc])* $name,)* }

        impl Limit {
            /// All of them.
            pub const ALL: &[Limit] = &[$(Limit::$name,)*];
            /// The label.
            pub fn label(self) -> &'static str {
                match self { $(Limit::$name => $label,)* }
            }
        }
    };
}

limits! {
    /// A TLS or WebSocket handshake took too long.
    HandshakeTime = "handshake_time";
    /// CONNECT took too long.
    ConnectTime = "connect_time";
    /// The first packet is too large.
    ConnectBytes = "connect_bytes";
    /// Too many clients that are not known yet: the oldest was cut.
    Handshakes = "handshakes";
    /// All connections are taken: the next wait.
    Connections = "connections";
    /// A name connects too often.
    ConnectRate = "connect_rate";
    /// Two clients fight for one name.
    Takeovers = "takeovers";
    /// One name has as many connections as it may.
    ConnectionsPerName = "connections_per_name";
    /// A client id is too long.
    ClientIdBytes = "client_id_bytes";
    /// A packet is too large.
    PacketBytes = "packet_bytes";
    /// A topic or filter is too long or too deep.
    TopicBounds = "topic_bounds";
    /// Too many subscriptions.
    Filters = "filters";
    /// More unacknowledged publishes than a client may have.
    InFlight = "in_flight";
    /// A connection publishes faster than any may.
    ConnectionRate = "connection_rate";
    /// A device publishes more than its share.
    DeviceRate = "device_rate";
    /// A maker's devices together publish more than their share.
    MakerRate = "maker_rate";
    /// Publishes to topics of others.
    ForbiddenPublishes = "forbidden_publishes";
    /// A client was silent for too long.
    KeepAlive = "keep_alive";
    /// A client does not take what it is sent.
    SlowConsumer = "slow_consumer";
    /// A payload is above a bound of the contract.
    PayloadBounds = "payload_bounds";
    /// More waits for a device than is kept.
    OfflineQueue = "offline_queue";
    /// More is wrong with a maker's devices than its quarantine takes in.
    Quarantine = "quarantine";
    /// All HTTP connections are taken: the next wait.
    HttpConnections = "http_connections";
    /// A HTTP connection takes too long to say what it wants, or has nothing to say.
    HttpHeadTime = "http_head_time";
    /// A client stops in the middle of its answer, or of a bulk body.
    HttpStalled = "http_stalled";
    /// A token calls too often.
    HttpRate = "http_rate";
    /// A body is too large.
    HttpBody = "http_body";
    /// A call takes too long.
    HttpTime = "http_time";
}

/// Counts that a limit was at work.
pub fn hit(limit: Limit) {
    counter!(HITS, "limit" => limit.label()).increment(1);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_limit_has_a_name_of_its_own_and_stands_in_the_operators_table() {
        let page = include_str!("../../docs/operations.md");
        for (place, limit) in Limit::ALL.iter().enumerate() {
            assert!(Limit::ALL[..place].iter().all(|other| other.label() != limit.label()), "{limit:?}");
            assert!(page.contains(&format!("`{}`", limit.label())), "docs/operations.md has no row for {limit:?}");
        }
    }
}
