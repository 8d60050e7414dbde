//! One MQTT 5 connection to a broker. The only file of this package that names rumqttc.
//!
//! A line is opened once and never reconnects: each connection has a client of its own. That is
//! the connection's epoch by construction (an acknowledgement made for one line cannot leave on
//! another), and it makes the library's memory of what was in flight worthless on purpose: the
//! outbox is the truth of what must be said.
//!
//! The library does not tell which publish a PUBACK belongs to, so the order of its outgoing
//! packets is paired with the tickets given here. What is heard goes into two bounded queues. That
//! of messages has room for the Receive Maximum; brokers exist that send more after a reconnect
//! (mosquitto 2.0.11), so a full queue stops the reading, and TCP holds the rest.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rumqttc::v5::mqttbytes::v5::{
    Filter, Packet, PubAckReason, Publish, PublishProperties, RetainForwardRule, SubscribeReasonCode,
};
use rumqttc::v5::mqttbytes::{QoS, v5::ConnAck};
use rumqttc::v5::{AsyncClient, Event, EventLoop, MqttOptions};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// Largest packet taken: the contract's payloads are below 16 KiB, their topics below 1 KiB. What
/// is larger the broker must not send; a broker that sends it nevertheless is cut.
pub const PACKET_BYTES_MAX: u32 = 64 * 1024;
/// How long a connect may take, TCP to CONNACK.
const CONNECT_SECONDS_MAX: u64 = 10;
/// Messages at QoS 0 that wait beside those at QoS 1. More are dropped and counted: nobody was
/// promised anything.
const UNACKNOWLEDGED_QUEUE_MAX: usize = 256;
/// Requests beside publishes and acknowledgements: subscribe, disconnect.
const REQUESTS_BESIDE: usize = 8;
/// Acknowledgements that can be owed at once: as many as there are packet ids, for not every
/// broker keeps to our Receive Maximum.
pub const ACKNOWLEDGEMENTS_MAX: usize = 65_535;
/// Packet ids per publish in flight, where the broker lets us. The library stalls when an id
/// comes round before its acknowledgement, so the circle is longer than what may be in flight.
const PACKET_IDS_PER_SLOT: u16 = 4;

/// Where and how to connect.
#[derive(Debug, Clone)]
pub struct Dial {
    /// Where.
    pub place: Place,
    /// MQTT client id.
    pub client_id: String,
    /// User name and password.
    pub credentials: Option<(String, String)>,
    /// How long the broker keeps the session; none starts afresh and leaves nothing behind.
    pub session_seconds: Option<u32>,
    /// Seconds between pings.
    pub keep_alive: Duration,
    /// Publishes in flight at most; the broker's own limit may be lower.
    pub window: u16,
    /// Unacknowledged messages that the broker may send.
    pub receive_max: u16,
}

/// Where a broker is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// Plain TCP.
    Tcp {
        /// Host name or address.
        host: String,
        /// Port.
        port: u16,
    },
    /// The Unix socket of a relay on this machine.
    Unix(std::path::PathBuf),
}

/// What happened on a line, apart from messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Happening {
    /// The broker let us in.
    Open(Welcome),
    /// The broker answered the subscription, filter by filter.
    Subscribed(Vec<bool>),
    /// A publish is done with, as far as this line goes.
    Done {
        /// Its ticket.
        ticket: u64,
        /// How.
        fate: Fate,
    },
    /// The connection ended; nothing follows.
    Closed {
        /// Why, in words.
        why: String,
    },
}

/// What a broker says when it lets us in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Welcome {
    /// It remembers our session.
    pub session_present: bool,
    /// Publishes that may be in flight on this line.
    pub window: usize,
    /// Bytes of a packet that it takes.
    pub packet_bytes_max: Option<u32>,
    /// It has shared subscriptions.
    pub has_shared: bool,
}

/// What became of a publish.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// The broker has it for somebody.
    Taken,
    /// The broker has it, and nobody listens.
    NobodyListens,
    /// The broker will not have it.
    Refused(String),
    /// Written at QoS 0.
    Written,
}

/// A message from the broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// The topic; bytes that are no text are shown as such.
    pub topic: String,
    /// The payload.
    pub payload: Vec<u8>,
    /// 0, 1 or 2.
    pub qos: u8,
    /// The packet id; 0 at QoS 0.
    pub id: u16,
    /// MQTT's own redelivery.
    pub dup: bool,
    /// From the broker's store of retained messages.
    pub retain: bool,
    /// v5 Correlation Data, where it is text.
    pub correlation: Option<String>,
}

/// A message to publish.
#[derive(Debug, Clone)]
pub struct Letter {
    /// The whole topic.
    pub topic: String,
    /// The payload.
    pub payload: Vec<u8>,
    /// 0 or 1.
    pub qos: u8,
    /// How long the broker keeps it for a device that is away.
    pub expiry_seconds: Option<u32>,
    /// v5 user properties.
    pub user: Vec<(String, String)>,
}

/// The line takes no more: it is closed, or its owner exceeded the window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the connection takes no more requests")]
pub struct Gone;

/// The two queues of what is heard on a line.
pub struct Heard {
    /// What happened.
    pub events: mpsc::Receiver<Happening>,
    /// What came.
    pub messages: mpsc::Receiver<Message>,
}

/// The sending half of a connection. Dropping it cuts the connection.
pub struct Line {
    client: AsyncClient,
    tickets: Arc<Mutex<VecDeque<u64>>>,
    progress: Arc<Mutex<Instant>>,
    pump: JoinHandle<()>,
}

impl Line {
    /// Starts to connect; `Open` or `Closed` is the first thing that happens.
    pub fn open(dial: &Dial) -> (Line, Heard) {
        let in_flight = usize::from(dial.window) + REQUESTS_BESIDE;
        let (events_in, events) = mpsc::channel(in_flight);
        let (messages_in, messages) = mpsc::channel(usize::from(dial.receive_max) + UNACKNOWLEDGED_QUEUE_MAX);
        // Every message may want its acknowledgement at once, every slot of the window a publish.
        let (client, polled) = AsyncClient::new(options(dial), in_flight + ACKNOWLEDGEMENTS_MAX);
        let tickets = Arc::<Mutex<VecDeque<u64>>>::default();
        let progress = Arc::new(Mutex::new(Instant::now()));
        let pump = Pump {
            polled,
            window: dial.window,
            kept_for_acknowledged: usize::from(dial.receive_max),
            tickets: tickets.clone(),
            by_packet: HashMap::new(),
            progress: progress.clone(),
            events: events_in,
            messages: messages_in,
        };
        let pump = tokio::spawn(pump.run());
        (Line { client, tickets, progress, pump }, Heard { events, messages })
    }

    /// Publishes. `Done` with the ticket follows, or `Closed`.
    pub fn publish(&self, letter: Letter, ticket: u64) -> Result<(), Gone> {
        let qos = if letter.qos == 0 { QoS::AtMostOnce } else { QoS::AtLeastOnce };
        let properties = PublishProperties {
            message_expiry_interval: letter.expiry_seconds,
            user_properties: letter.user,
            ..PublishProperties::default()
        };
        // The ticket is queued first: the pump may see the packet leave before this returns. The
        // lock is held over both, so that two callers cannot swap their tickets.
        let mut tickets = lock(&self.tickets);
        tickets.push_back(ticket);
        if self.client.try_publish_with_properties(letter.topic, qos, false, letter.payload, properties).is_err() {
            tickets.pop_back();
            return Err(Gone);
        }
        Ok(())
    }

    /// Subscribes at QoS 1, without what is retained. `Subscribed` follows.
    pub fn subscribe(&self, filters: &[String]) -> Result<(), Gone> {
        let filters = filters.iter().map(|filter| Filter {
            retain_forward_rule: RetainForwardRule::Never,
            ..Filter::new(filter.clone(), QoS::AtLeastOnce)
        });
        self.client.try_subscribe_many(filters).map_err(|_| Gone)
    }

    /// The way to acknowledge messages of this line, and of no other.
    pub fn acknowledger(&self) -> Acknowledger {
        Acknowledger(self.client.clone())
    }

    /// Says good-bye in order. `Closed` follows.
    pub fn leave(&self) {
        if self.client.try_disconnect().is_err() {
            self.pump.abort();
        }
    }

    /// How long nothing has moved: neither a packet nor a ping.
    pub fn silent_for(&self) -> Duration {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner).elapsed()
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.pump.abort();
    }
}

/// Acknowledges messages of one line.
#[derive(Clone)]
pub struct Acknowledger(AsyncClient);

impl Acknowledger {
    /// Acknowledges a message. Without effect when its line is gone: then it comes again.
    pub fn acknowledge(&self, id: u16, qos: u8) {
        let qos = match qos {
            0 => return,
            1 => QoS::AtLeastOnce,
            _ => QoS::ExactlyOnce,
        };
        // There is room: the queue was made for as many acknowledgements as messages may come.
        let _ = self.0.try_ack(&Publish { pkid: id, qos, ..Publish::default() });
    }
}

fn options(dial: &Dial) -> MqttOptions {
    let mut options = match &dial.place {
        Place::Tcp { host, port } => MqttOptions::new(&dial.client_id, host, *port),
        Place::Unix(path) => {
            let mut options = MqttOptions::new(&dial.client_id, path.to_string_lossy(), 0);
            options.set_transport(rumqttc::Transport::unix());
            options
        }
    };
    if let Some((user, password)) = &dial.credentials {
        options.set_credentials(user, password);
    }
    options.set_keep_alive(dial.keep_alive);
    options.set_clean_start(dial.session_seconds.is_none());
    options.set_session_expiry_interval(dial.session_seconds);
    options.set_max_packet_size(Some(PACKET_BYTES_MAX));
    options.set_receive_maximum(Some(dial.receive_max));
    options.set_connection_timeout(CONNECT_SECONDS_MAX);
    options.set_manual_acks(true);
    options.set_outgoing_inflight_upper_limit(dial.window.saturating_mul(PACKET_IDS_PER_SLOT).max(8));
    let mut network = rumqttc::NetworkOptions::new();
    network.set_tcp_nodelay(true);
    network.set_connection_timeout(CONNECT_SECONDS_MAX);
    options.set_network_options(network);
    options
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Polls the library and sorts what it hears.
struct Pump {
    polled: EventLoop,
    window: u16,
    /// Places in the queue of messages that QoS 0 may not take.
    kept_for_acknowledged: usize,
    tickets: Arc<Mutex<VecDeque<u64>>>,
    by_packet: HashMap<u16, u64>,
    progress: Arc<Mutex<Instant>>,
    events: mpsc::Sender<Happening>,
    messages: mpsc::Sender<Message>,
}

impl Pump {
    async fn run(mut self) {
        let why = loop {
            let polled = self.polled.poll().await;
            *lock(&self.progress) = Instant::now();
            let heard = match polled {
                Ok(event) => self.hear(event).await,
                Err(error) => Err(error.to_string()),
            };
            match heard {
                Ok(None) => {}
                Ok(Some(event)) => {
                    if self.events.try_send(event).is_err() {
                        break "the broker acknowledges more than it was sent".to_owned();
                    }
                }
                Err(why) => break why,
            }
        };
        // The one place that waits: the end must be known, and nothing is polled any more.
        let _ = self.events.send(Happening::Closed { why }).await;
    }

    async fn hear(&mut self, event: Event) -> Result<Option<Happening>, String> {
        Ok(match event {
            Event::Incoming(Packet::ConnAck(ack)) => Some(Happening::Open(welcome(&ack, self.window)?)),
            Event::Incoming(Packet::SubAck(ack)) => {
                let granted = |code: &SubscribeReasonCode| matches!(code, SubscribeReasonCode::Success(_));
                Some(Happening::Subscribed(ack.return_codes.iter().map(granted).collect()))
            }
            Event::Incoming(Packet::PubAck(ack)) => {
                let fate = match ack.reason {
                    PubAckReason::Success => Fate::Taken,
                    PubAckReason::NoMatchingSubscribers => Fate::NobodyListens,
                    other => Fate::Refused(format!("{other:?}")),
                };
                self.by_packet.remove(&ack.pkid).map(|ticket| Happening::Done { ticket, fate })
            }
            Event::Incoming(Packet::Publish(publish)) => {
                self.take(publish).await?;
                None
            }
            Event::Outgoing(rumqttc::Outgoing::Publish(packet)) => self.left(packet),
            Event::Outgoing(rumqttc::Outgoing::Disconnect) => return Err("said good-bye".to_owned()),
            Event::Incoming(_) | Event::Outgoing(_) => None,
        })
    }

    /// A publish was written, in the order in which they were asked for.
    fn left(&mut self, packet: u16) -> Option<Happening> {
        let ticket = lock(&self.tickets).pop_front()?;
        if packet == 0 {
            return Some(Happening::Done { ticket, fate: Fate::Written });
        }
        self.by_packet.insert(packet, ticket);
        None
    }

    async fn take(&mut self, publish: Publish) -> Result<(), String> {
        let qos = match publish.qos {
            QoS::AtMostOnce => 0,
            QoS::AtLeastOnce => 1,
            QoS::ExactlyOnce => 2,
        };
        if qos == 0 && self.messages.capacity() <= self.kept_for_acknowledged {
            metrics::counter!(super::metrics::MESSAGES_DROPPED, "reason" => "busy").increment(1);
            return Ok(());
        }
        let correlation = publish.properties.and_then(|properties| properties.correlation_data);
        let message = Message {
            topic: String::from_utf8_lossy(&publish.topic).into_owned(),
            payload: publish.payload.to_vec(),
            qos,
            id: publish.pkid,
            dup: publish.dup,
            retain: publish.retain,
            correlation: correlation.and_then(|data| String::from_utf8(data.to_vec()).ok()),
        };
        // Waits for the engine, never for our own acknowledgements: those have room of their own.
        self.messages.send(message).await.map_err(|_| "the reading of its messages ended unexpectedly".to_owned())
    }
}

fn welcome(ack: &ConnAck, window: u16) -> Result<Welcome, String> {
    let said = ack.properties.as_ref();
    // One below the broker's own limit: at the limit the library stops taking any request,
    // acknowledgements included.
    let theirs = match said.and_then(|said| said.receive_max) {
        Some(0) => return Err("the broker says Receive Maximum 0, which is against MQTT 5".to_owned()),
        Some(max) => max.saturating_sub(1).max(1),
        None => u16::MAX,
    };
    Ok(Welcome {
        session_present: ack.session_present,
        window: usize::from(window.min(theirs)),
        packet_bytes_max: said.and_then(|said| said.max_packet_size),
        has_shared: said.and_then(|said| said.shared_subscription_available) != Some(0),
    })
}
