//! One MQTT connection, as a device or a bridge sees it. The only file that names rumqttc.
//!
//! A link is opened once and never reconnects: what was not acknowledged is the session's to send
//! again on the next link, as a real device does. The library does not tell which publish a
//! PUBACK belongs to, so the order of its outgoing packets is paired with the tickets given here.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rumqttc::{mqttbytes::QoS as QoS3, v5};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// Log levels for a binary: the MQTT library logs refusals as its errors, and here they are heard.
pub const LOG_FILTER: &str = "warn,rumqttc=off";
/// Seconds between keep-alive pings.
const KEEP_ALIVE_SECONDS: u64 = 30;
/// Largest packet accepted, bytes: a `down/sync` with every offer stays far below.
const PACKET_BYTES_MAX: u32 = 256 * 1024;
/// What was heard and not yet looked at; a full queue stops the reading.
const HEARD_QUEUE_MAX: usize = 256;
/// Requests beside the publishes in flight: subscribe, disconnect.
const REQUESTS_BESIDE_PUBLISHES: usize = 8;
/// Packet ids per publish in flight. The library stalls when an id comes round before its
/// acknowledgement, so the circle is much longer than what may be in flight.
const PACKET_IDS_PER_SLOT: u16 = 4;

/// The MQTT version spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize)]
pub enum Protocol {
    /// MQTT 5.
    #[default]
    #[serde(rename = "v5")]
    V5,
    /// MQTT 3.1.1.
    #[serde(rename = "v3")]
    V3,
}

/// How to connect.
#[derive(Debug, Clone)]
pub struct Dial {
    /// Host name or address, or the path of a [`crate::relay::Relay`].
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// Which MQTT.
    pub protocol: Protocol,
    /// MQTT client id.
    pub client_id: String,
    /// User name.
    pub username: String,
    /// Password; without one no user name is sent, and a certificate must say who it is.
    pub password: String,
    /// Topic and payload of the will.
    pub will: Option<(String, Vec<u8>)>,
    /// Whether the gateway forgets the session between connections.
    pub clean: bool,
    /// Publishes in flight at most. The caller keeps to it.
    pub window: u16,
}

impl Dial {
    /// Whether the host is the socket of a relay on this machine.
    fn is_relayed(&self) -> bool {
        self.host.starts_with('/')
    }
}

/// What came over a link.
#[derive(Debug, Clone, PartialEq)]
pub enum Heard {
    /// The gateway accepted the connection.
    Open,
    /// The gateway answered a subscription.
    Subscribed {
        /// Whether it was granted.
        granted: bool,
    },
    /// PUBACK.
    Acked {
        /// The ticket given at `publish`.
        ticket: u64,
        /// The reason, where the gateway refused it (MQTT 5).
        refused: Option<String>,
    },
    /// A message.
    Message {
        /// Its topic.
        topic: String,
        /// Its bytes.
        payload: Vec<u8>,
    },
    /// The connection ended; nothing follows.
    Closed {
        /// Why.
        why: String,
    },
}

/// The link cannot take the request: it is closed, or the caller exceeded its window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the connection takes no more requests")]
pub struct Gone;

enum Client {
    V5(v5::AsyncClient),
    V3(rumqttc::AsyncClient),
}

/// The sending half of a connection.
pub struct Link {
    client: Client,
    tickets: Arc<Mutex<VecDeque<u64>>>,
    pump: JoinHandle<()>,
}

/// Pairs outgoing packets with tickets and PUBACKs with packets.
#[derive(Default)]
struct Pairing {
    waiting: Arc<Mutex<VecDeque<u64>>>,
    by_packet: HashMap<u16, u64>,
}

impl Pairing {
    fn left(&mut self, packet: u16) {
        if let Some(ticket) = lock(&self.waiting).pop_front() {
            self.by_packet.insert(packet, ticket);
        }
    }
    fn acked(&mut self, packet: u16, refused: Option<String>) -> Option<Heard> {
        self.by_packet.remove(&packet).map(|ticket| Heard::Acked { ticket, refused })
    }
}

fn lock(queue: &Mutex<VecDeque<u64>>) -> std::sync::MutexGuard<'_, VecDeque<u64>> {
    queue.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

impl Link {
    /// Starts to connect; `Heard::Open` or `Heard::Closed` is the first thing heard.
    pub fn open(dial: Dial) -> (Link, mpsc::Receiver<Heard>) {
        let (to, heard) = mpsc::channel(HEARD_QUEUE_MAX);
        let pairing = Pairing::default();
        let tickets = pairing.waiting.clone();
        let (client, pump) = match dial.protocol {
            Protocol::V5 => open_v5(dial, pairing, to),
            Protocol::V3 => open_v3(dial, pairing, to),
        };
        (Link { client, tickets, pump }, heard)
    }

    /// Publishes at QoS 1. `Heard::Acked` with the ticket follows, or `Heard::Closed`.
    pub fn publish(&mut self, topic: &str, payload: Vec<u8>, ticket: u64) -> Result<(), Gone> {
        // The ticket is queued first: the pump may see the packet leave before this returns.
        lock(&self.tickets).push_back(ticket);
        let sent = match &self.client {
            Client::V5(client) => client.try_publish(topic, v5::mqttbytes::QoS::AtLeastOnce, false, payload).is_ok(),
            Client::V3(client) => client.try_publish(topic, QoS3::AtLeastOnce, false, payload).is_ok(),
        };
        if sent {
            return Ok(());
        }
        lock(&self.tickets).pop_back();
        Err(Gone)
    }

    /// Subscribes at QoS 1. `Heard::Subscribed` follows.
    pub fn subscribe(&mut self, filter: &str) -> Result<(), Gone> {
        match &self.client {
            Client::V5(client) => client.try_subscribe(filter, v5::mqttbytes::QoS::AtLeastOnce).map_err(|_| Gone),
            Client::V3(client) => client.try_subscribe(filter, QoS3::AtLeastOnce).map_err(|_| Gone),
        }
    }

    /// Ends in order: the will is not sent. `Heard::Closed` follows.
    pub fn disconnect(&mut self) {
        let asked = match &self.client {
            Client::V5(client) => client.try_disconnect().is_ok(),
            Client::V3(client) => client.try_disconnect().is_ok(),
        };
        if !asked {
            self.pump.abort();
        }
    }

    /// Drops the connection as a power cut does: the gateway sends the will.
    pub fn cut(&mut self) {
        self.pump.abort();
    }
}

impl Drop for Link {
    /// A link in a dropped session must not keep its socket.
    fn drop(&mut self) {
        // An orderly disconnect is already on its way or done; otherwise this is the power cut.
        if !self.pump.is_finished() && !matches!(lock(&self.tickets).back(), Some(&LEAVING)) {
            self.pump.abort();
        }
    }
}

/// Never a ticket of a publish: marks a link that was asked to disconnect in order.
const LEAVING: u64 = u64::MAX;

impl Link {
    /// Ends in order and lets the goodbye leave after the link itself is dropped.
    pub fn leave(mut self) {
        self.disconnect();
        lock(&self.tickets).push_back(LEAVING);
    }
}

fn capacity(dial: &Dial) -> usize {
    usize::from(dial.window) + REQUESTS_BESIDE_PUBLISHES
}

fn network_options() -> rumqttc::NetworkOptions {
    let mut options = rumqttc::NetworkOptions::new();
    options.set_tcp_nodelay(true);
    options.set_connection_timeout(10);
    options
}

fn open_v5(dial: Dial, mut pairing: Pairing, to: mpsc::Sender<Heard>) -> (Client, JoinHandle<()>) {
    use v5::mqttbytes::v5::{LastWill, Packet, PubAckReason, SubscribeReasonCode};
    let mut options = v5::MqttOptions::new(&dial.client_id, &dial.host, dial.port);
    if !dial.password.is_empty() {
        options.set_credentials(&dial.username, &dial.password);
    }
    options.set_keep_alive(Duration::from_secs(KEEP_ALIVE_SECONDS));
    options.set_clean_start(dial.clean);
    options.set_session_expiry_interval((!dial.clean).then_some(7 * 86_400));
    options.set_max_packet_size(Some(PACKET_BYTES_MAX));
    options.set_outgoing_inflight_upper_limit(dial.window.saturating_mul(PACKET_IDS_PER_SLOT).max(8));
    options.set_network_options(network_options());
    if dial.is_relayed() {
        options.set_transport(rumqttc::Transport::Unix);
    }
    if let Some((topic, payload)) = &dial.will {
        options.set_last_will(LastWill::new(topic, payload.clone(), v5::mqttbytes::QoS::AtLeastOnce, false, None));
    }
    let (client, mut events) = v5::AsyncClient::new(options, capacity(&dial));
    let pump = tokio::spawn(async move {
        loop {
            let heard = match events.poll().await {
                Ok(v5::Event::Incoming(Packet::ConnAck(_))) => Some(Heard::Open),
                Ok(v5::Event::Incoming(Packet::SubAck(ack))) => Some(Heard::Subscribed {
                    granted: ack.return_codes.iter().all(|code| matches!(code, SubscribeReasonCode::Success(_))),
                }),
                Ok(v5::Event::Incoming(Packet::PubAck(ack))) => {
                    let fine = matches!(ack.reason, PubAckReason::Success | PubAckReason::NoMatchingSubscribers);
                    pairing.acked(ack.pkid, (!fine).then(|| format!("{:?}", ack.reason)))
                }
                Ok(v5::Event::Incoming(Packet::Publish(message))) => Some(Heard::Message {
                    topic: String::from_utf8_lossy(&message.topic).into_owned(),
                    payload: message.payload.to_vec(),
                }),
                Ok(v5::Event::Outgoing(rumqttc::Outgoing::Publish(packet))) => {
                    pairing.left(packet);
                    None
                }
                Ok(v5::Event::Outgoing(rumqttc::Outgoing::Disconnect)) => Some(Heard::Closed { why: "left".into() }),
                Ok(_) => None,
                Err(error) => Some(Heard::Closed { why: error.to_string() }),
            };
            if !forward(heard, &to).await {
                return;
            }
        }
    });
    (Client::V5(client), pump)
}

fn open_v3(dial: Dial, mut pairing: Pairing, to: mpsc::Sender<Heard>) -> (Client, JoinHandle<()>) {
    use rumqttc::{Event, LastWill, Packet, SubscribeReasonCode};
    let mut options = rumqttc::MqttOptions::new(&dial.client_id, &dial.host, dial.port);
    if !dial.password.is_empty() {
        options.set_credentials(&dial.username, &dial.password);
    }
    options.set_keep_alive(Duration::from_secs(KEEP_ALIVE_SECONDS));
    options.set_clean_session(dial.clean);
    options.set_max_packet_size(PACKET_BYTES_MAX as usize, PACKET_BYTES_MAX as usize);
    options.set_inflight(dial.window.saturating_mul(PACKET_IDS_PER_SLOT).max(8));
    if dial.is_relayed() {
        options.set_transport(rumqttc::Transport::Unix);
    }
    if let Some((topic, payload)) = &dial.will {
        options.set_last_will(LastWill::new(topic, payload.clone(), QoS3::AtLeastOnce, false));
    }
    let (client, mut events) = rumqttc::AsyncClient::new(options, capacity(&dial));
    events.set_network_options(network_options());
    let pump = tokio::spawn(async move {
        loop {
            let heard = match events.poll().await {
                Ok(Event::Incoming(Packet::ConnAck(_))) => Some(Heard::Open),
                Ok(Event::Incoming(Packet::SubAck(ack))) => Some(Heard::Subscribed {
                    granted: ack.return_codes.iter().all(|code| matches!(code, SubscribeReasonCode::Success(_))),
                }),
                Ok(Event::Incoming(Packet::PubAck(ack))) => pairing.acked(ack.pkid, None),
                Ok(Event::Incoming(Packet::Publish(message))) => {
                    Some(Heard::Message { topic: message.topic, payload: message.payload.to_vec() })
                }
                Ok(Event::Outgoing(rumqttc::Outgoing::Publish(packet))) => {
                    pairing.left(packet);
                    None
                }
                Ok(Event::Outgoing(rumqttc::Outgoing::Disconnect)) => Some(Heard::Closed { why: "left".into() }),
                Ok(_) => None,
                Err(error) => Some(Heard::Closed { why: error.to_string() }),
            };
            if !forward(heard, &to).await {
                return;
            }
        }
    });
    (Client::V3(client), pump)
}

/// Hands over what was heard; false when the link is over.
async fn forward(heard: Option<Heard>, to: &mpsc::Sender<Heard>) -> bool {
    let Some(heard) = heard else { return true };
    let last = matches!(heard, Heard::Closed { .. });
    to.send(heard).await.is_ok() && !last
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn an_acknowledgement_finds_the_ticket_of_its_publish_in_any_order() {
        let mut pairing = Pairing::default();
        lock(&pairing.waiting).extend([10, 11, 12]);
        for packet in [1, 2, 3] {
            pairing.left(packet);
        }
        assert_eq!(pairing.acked(3, None), Some(Heard::Acked { ticket: 12, refused: None }));
        assert_eq!(pairing.acked(1, None), Some(Heard::Acked { ticket: 10, refused: None }));
        assert_eq!(pairing.acked(1, None), None, "an acknowledgement counts once");
    }

    #[tokio::test]
    async fn a_port_where_nobody_listens_closes_the_link_with_a_reason() {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        for protocol in [Protocol::V5, Protocol::V3] {
            let (_link, mut heard) = Link::open(Dial {
                host: "127.0.0.1".into(),
                port: free,
                protocol,
                client_id: "d-1".into(),
                username: "acme/d-1".into(),
                password: "secret".into(),
                will: None,
                clean: true,
                window: 4,
            });
            assert!(matches!(heard.recv().await, Some(Heard::Closed { why }) if why.contains("refused")));
        }
    }
}
