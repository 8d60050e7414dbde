//! Every bound of the endpoint, with its unit and its reason, and the few that are settings.

use std::net::SocketAddr;
use std::time::Duration;

use super::flood::FloodSettings;
use super::tls::TlsSettings;
use super::websocket::WebSocketSettings;
pub use crate::bucket::Bucket;

/// Bytes of the first packet: a CONNECT with a will needs less, and nobody is known yet.
pub const CONNECT_BYTES_MAX: usize = 4 * 1024;
/// Bytes of any other packet: four times the largest payload, so that a payload that is too large
/// is answered with its code and only abuse is cut.
pub const PACKET_BYTES_MAX: usize = 64 * 1024;
/// Publishes of one connection on their way to the disk; announced to v5 clients.
pub const IN_FLIGHT_MAX: u16 = 100;
/// The same for a bridge, which speaks for many devices.
pub const BRIDGE_IN_FLIGHT_MAX: u16 = 1_000;
/// Provisioning requests of one bootstrap connection that are being answered.
pub const BOOTSTRAP_IN_FLIGHT_MAX: u16 = 4;
/// QoS 2 publishes of one client that are on disk and not released.
pub const UNRELEASED_MAX: usize = 1_000;
/// Deliveries to one client that wait for its acknowledgement.
pub const OUT_FLIGHT_MAX: usize = 100;
/// The same for a bridge.
pub const BRIDGE_OUT_FLIGHT_MAX: usize = 1_000;
/// Deliveries that wait on one connection; the outbox keeps the rest.
pub const WAITING_MAX: usize = 100;
/// The same for a bridge.
pub const BRIDGE_WAITING_MAX: usize = 1_000;
/// Bytes of those deliveries.
pub const WAITING_BYTES_MAX: usize = 1024 * 1024;
/// Bytes of output above which nothing more is read from a client: it must take its answers first.
pub const OUT_BYTES_PAUSE: usize = 1024 * 1024;
/// How long a client may take none of its output before it is cut.
pub const SLOW_CONSUMER_LIMIT: Duration = Duration::from_secs(30);
/// Bytes read at once: room for some fifty messages, given back when a connection is idle.
pub const READ_BYTES: usize = 8 * 1024;
/// Bytes of a client id.
pub const CLIENT_ID_BYTES_MAX: usize = 128;
/// Bytes of a topic or filter.
pub const TOPIC_BYTES_MAX: usize = 256;
/// Levels of a topic or filter.
pub const TOPIC_LEVELS_MAX: usize = 8;
/// Filters of one SUBSCRIBE.
pub const FILTERS_PER_PACKET_MAX: usize = 8;
/// Subscriptions of one client.
pub const FILTERS_PER_CLIENT_MAX: usize = 50;
/// Side connections of one device.
pub const SIDE_CONNECTIONS_MAX: usize = 4;
/// Connections of one maker's bridges.
pub const BRIDGE_CONNECTIONS_MAX: usize = 16;
/// Takeovers of a device's main connection in a minute; one more looks like a cloned device.
pub const TAKEOVERS_PER_MINUTE_MAX: usize = 3;
/// Forbidden publishes in a minute; one more ends the connection.
pub const FORBIDDEN_PER_MINUTE_MAX: usize = 10;
/// Devices of one bridge whose `down/error` is paced on its own.
pub const PACED_DEVICES_MAX: usize = 1_024;
/// How long a client may be silent when it asked for no keep-alive.
pub const IDLE_LIMIT: Duration = Duration::from_secs(60 * 60);
/// The longest keep-alive: a dead radio is noticed within half an hour.
pub const KEEP_ALIVE_SECONDS_MAX: u16 = 1_200;
/// How long a session outlives its connection at most.
pub const SESSION_EXPIRY_SECONDS_MAX: u32 = 7 * 24 * 3_600;
/// How long a will may be delayed at most.
pub const WILL_DELAY_SECONDS_MAX: u32 = 24 * 3_600;
/// How long a farewell may take.
pub const FAREWELL_LIMIT: Duration = Duration::from_secs(2);
/// How often expired sessions are looked for.
pub const SWEEP_EVERY: Duration = Duration::from_secs(60);
/// Authenticated names whose connect rate is remembered; a sweep forgets the quiet ones.
pub const CONNECT_RATES_MAX: usize = 100_000;

/// How long a TLS or WebSocket handshake may take: a slow radio needs two seconds, a client that
/// never ends it must not keep its place.
pub const TLS_HANDSHAKE_LIMIT: Duration = Duration::from_secs(5);
/// Certificates that a client may send: its own, two authorities between and a root that needs
/// not be sent, with one to spare. Each costs a signature check.
pub const TLS_CHAIN_CERTIFICATES_MAX: usize = 5;
/// Bytes of a file with certificates or a key: some two hundred certificates.
pub const TLS_FILE_BYTES_MAX: u64 = 512 * 1024;
/// Bytes of the list of revoked certificates: some two hundred thousand.
pub const TLS_REVOKED_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// How often the list of revoked certificates is looked at: what it names is gone within a second.
pub const TLS_REVOKED_EVERY: Duration = Duration::from_millis(400);
/// How often certificate, key and authorities are read again.
pub const TLS_FILES_EVERY: Duration = Duration::from_secs(5);
/// Bytes of a WebSocket frame and message: one packet of the largest size, and its neighbours.
pub const WEBSOCKET_FRAME_BYTES_MAX: usize = 2 * PACKET_BYTES_MAX;
/// Bytes of the buffer that frames are read into; each connection keeps one.
pub const WEBSOCKET_READ_BYTES: usize = 4 * 1024;
/// Bytes of output in one frame.
pub const WEBSOCKET_WRITE_BYTES: usize = 16 * 1024;

/// The endpoint's settings.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where to listen; port 0 takes a free one.
    pub address: SocketAddr,
    /// Connections at once, those before login included.
    pub connections_max: usize,
    /// How long a client may take to say CONNECT.
    pub connect_timeout: Duration,
    /// How long a client may take none of its output before it is cut.
    pub slow_consumer_limit: Duration,
    /// Clients at once that are not known yet.
    pub handshakes_max: usize,
    /// Publishes a second of one device connection that are read at all; above it reading slows.
    pub publishes_per_second: u32,
    /// The same for a bridge connection.
    pub bridge_publishes_per_second: u32,
    /// How much one device and one maker may publish, over all connections.
    pub flood: FloodSettings,
    /// Connects a minute of one device in the long run.
    pub connects_per_minute: u32,
    /// Connects of one device ahead of that.
    pub connects_burst: u32,
    /// The same endpoint over TLS, on a port of its own.
    pub tls: Option<TlsSettings>,
    /// The same endpoint in WebSocket frames, on a port of its own.
    pub websocket: Option<WebSocketSettings>,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            address: SocketAddr::from(([0, 0, 0, 0], 1883)),
            connections_max: 100_000,
            connect_timeout: Duration::from_secs(10),
            slow_consumer_limit: SLOW_CONSUMER_LIMIT,
            // Some half a second of TLS handshakes on two cores: more at once would only be slower each.
            handshakes_max: 512,
            publishes_per_second: 100,
            bridge_publishes_per_second: 20_000,
            flood: FloodSettings::default(),
            connects_per_minute: 5,
            // A tool that connects for every message may play a whole session; a storm runs dry.
            connects_burst: 30,
            tls: None,
            websocket: None,
        }
    }
}

/// At most so many in any minute.
#[derive(Debug, Default)]
pub struct PerMinute(std::collections::VecDeque<tokio::time::Instant>);

impl PerMinute {
    /// Counts one more and says whether it is above the bound.
    pub fn exceeds(&mut self, bound: usize, now: tokio::time::Instant) -> bool {
        let minute = Duration::from_secs(60);
        while self.0.front().is_some_and(|at| now.saturating_duration_since(*at) >= minute) {
            self.0.pop_front();
        }
        if self.0.len() < bound {
            self.0.push_back(now);
            return false;
        }
        true
    }
}
