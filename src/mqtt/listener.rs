//! The listening sockets, what all connections share, and the endpoint's life.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hearthway_core::id::DeviceKey;
use hearthway_core::wire::topic::{Who, device_topic};
use metrics::{counter, gauge};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use super::flood::Flood;
use super::house::{Doorkeeper, Intake, Provisioner};
use super::limits::{Bucket, CONNECT_RATES_MAX, FAREWELL_LIMIT, SWEEP_EVERY, Settings};
use super::lobby::{Lobby, Place};
use super::mailbox::{Outgoing, Row};
use super::sessions::Sessions;
use super::tls::{Security, Tls, TlsError};
use super::{connection, metrics as names, reason, websocket};
use crate::engine::{Delivery, Link};
use crate::observe::limits::{Limit, hit};

/// How long to wait when the system has no room for one more socket.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Connections that the system holds until they are accepted. Beyond it a client's first packet is dropped, and
/// it tries again after 1, 3, 7, 15 seconds: with 1 024, the last of 5 000 that came back at once was in after
/// 30 s. The system's own bound (`net.core.somaxconn`, 4 096) holds as well.
const BACKLOG_CONNECTIONS: u32 = 8_192;

/// What all connections share.
pub(super) struct House {
    pub(super) settings: Settings,
    pub(super) intake: Arc<dyn Intake>,
    pub(super) door: Arc<dyn Doorkeeper>,
    pub(super) provisioner: Arc<dyn Provisioner>,
    pub(super) sessions: Arc<Sessions>,
    pub(super) closing: watch::Sender<bool>,
    pub(super) flood: Arc<Flood>,
    lobby: Arc<Lobby>,
    connect_rates: Mutex<BTreeMap<Who, Bucket>>,
    seats: Arc<Semaphore>,
}

impl House {
    /// Whether a device may connect once more, else when. Keyed by names that proved who they
    /// are; a maker's bridge and bootstrap are not counted, for many devices share them.
    pub(super) fn may_connect(&self, who: &Who, now: Instant) -> Result<(), Duration> {
        let Who::Device(_) = who else { return Ok(()) };
        let per_minute = self.settings.connects_per_minute;
        let mut rates = self.connect_rates.lock().unwrap_or_else(PoisonError::into_inner);
        if !rates.contains_key(who) && rates.len() >= CONNECT_RATES_MAX {
            return Ok(());
        }
        let full = || Bucket::new(self.settings.connects_burst, f64::from(per_minute) / 60.0, now);
        rates.entry(who.clone()).or_insert_with(full).take(now)
    }

    fn sweep(&self, now: Instant) {
        self.sessions.sweep(now);
        self.flood.sweep(now);
        self.connect_rates.lock().unwrap_or_else(PoisonError::into_inner).retain(|_, bucket| !bucket.is_full(now));
    }
}

/// The device endpoint: bound, and run by [`Endpoint::run`].
#[derive(Clone)]
pub struct Endpoint {
    house: Arc<House>,
    entrances: Arc<[Entrance]>,
    tls: Option<Arc<Tls>>,
}

/// One listening socket, and what is spoken behind it.
struct Entrance {
    listener: TcpListener,
    address: SocketAddr,
    carrier: Carrier,
}

/// What carries MQTT.
#[derive(Clone)]
enum Carrier {
    Tcp,
    Tls(Arc<Tls>),
    WebSocket,
    WebSocketTls(Arc<Tls>),
}

/// Why the endpoint does not open.
#[derive(Debug, thiserror::Error)]
pub enum EndpointError {
    /// A port is not to be had.
    #[error("{what} cannot listen on {address}: {cause}")]
    Bind {
        /// `MQTT`, `MQTTS` or `WebSocket`.
        what: &'static str,
        /// Where it wanted to listen.
        address: SocketAddr,
        /// What the system said.
        cause: std::io::Error,
    },
    /// TLS cannot be served.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// WebSocket is to be served over a TLS that is not set up.
    #[error("WebSocket is to be served over TLS, and there is no certificate")]
    WebSocketWithoutTls,
}

impl Entrance {
    async fn bind(what: &'static str, address: SocketAddr, carrier: Carrier) -> Result<Entrance, EndpointError> {
        let failed = |cause| EndpointError::Bind { what, address, cause };
        let listener = listen(address).map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        Ok(Entrance { listener, address, carrier })
    }
}

fn listen(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // A gateway that starts again takes the port of the one before.
    #[cfg(unix)]
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG_CONNECTIONS)
}

impl Endpoint {
    /// Takes the ports. Connections are served from `run` on.
    pub async fn bind(
        settings: Settings,
        intake: Arc<dyn Intake>,
        door: Arc<dyn Doorkeeper>,
        provisioner: Arc<dyn Provisioner>,
    ) -> Result<Endpoint, EndpointError> {
        let mut entrances = vec![Entrance::bind("MQTT", settings.address, Carrier::Tcp).await?];
        let tls = settings.tls.clone().map(Tls::open).transpose()?;
        if let Some(tls) = &tls {
            entrances.push(Entrance::bind("MQTTS", tls.address(), Carrier::Tls(tls.clone())).await?);
        }
        if let Some(websocket) = &settings.websocket {
            let carrier = match (websocket.tls, &tls) {
                (false, _) => Carrier::WebSocket,
                (true, Some(tls)) => Carrier::WebSocketTls(tls.clone()),
                (true, None) => return Err(EndpointError::WebSocketWithoutTls),
            };
            entrances.push(Entrance::bind("WebSocket", websocket.address, carrier).await?);
        }
        let house = House {
            seats: Arc::new(Semaphore::new(settings.connections_max)),
            flood: Arc::new(Flood::new(settings.flood)),
            lobby: Arc::new(Lobby::new(settings.handshakes_max)),
            settings,
            intake,
            door,
            provisioner,
            sessions: Arc::default(),
            closing: watch::Sender::new(false),
            connect_rates: Mutex::default(),
        };
        Ok(Endpoint { house: Arc::new(house), entrances: entrances.into(), tls })
    }

    /// Where it listens, plain.
    pub fn local_addr(&self) -> SocketAddr {
        self.entrances[0].address
    }

    /// Where it listens over TLS.
    pub fn tls_addr(&self) -> Option<SocketAddr> {
        let entrance = self.entrances.iter().find(|entrance| matches!(entrance.carrier, Carrier::Tls(_)));
        entrance.map(|entrance| entrance.address)
    }

    /// The address of MQTT over WebSocket.
    pub fn websocket_url(&self) -> Option<String> {
        self.entrances.iter().find_map(|entrance| match entrance.carrier {
            Carrier::Tcp | Carrier::Tls(_) => None,
            Carrier::WebSocket => Some(format!("ws://{}{}", entrance.address, websocket::PATH)),
            Carrier::WebSocketTls(_) => Some(format!("wss://{}{}", entrance.address, websocket::PATH)),
        })
    }

    /// The way to devices, for [`crate::engine::Link`]'s user: the engine.
    pub fn link(&self) -> Arc<dyn Link> {
        self.house.clone()
    }

    /// Whether a device's main connection is here.
    pub fn is_connected(&self, device: &DeviceKey) -> bool {
        self.house.sessions.is_connected(device)
    }

    /// Serves until [`Endpoint::shutdown`]. Each connection is a task of its own, so all threads
    /// of the runtime take part.
    pub async fn run(&self) {
        let mut closing = self.house.closing.subscribe();
        let mut sweep = interval(SWEEP_EVERY);
        sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // Ends with this function: no listener outlives the endpoint.
        let mut entrances = JoinSet::new();
        for place in 0..self.entrances.len() {
            let endpoint = self.clone();
            entrances.spawn(async move { endpoint.serve(&endpoint.entrances[place]).await });
        }
        if let Some(tls) = &self.tls {
            entrances.spawn(tls.clone().keep());
        }
        loop {
            tokio::select! {
                _ = sweep.tick() => self.house.sweep(Instant::now()),
                _ = closing.wait_for(|is_closing| *is_closing) => return,
            }
        }
    }

    /// Accepts one connection after the other, once there is room for it: what waits in the
    /// system's backlog is slowed, not refused.
    async fn serve(&self, entrance: &Entrance) {
        loop {
            if self.house.seats.available_permits() == 0 {
                hit(Limit::Connections);
            }
            let Ok(seat) = self.house.seats.clone().acquire_owned().await else { return };
            let stream = match entrance.listener.accept().await {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(%error, "Could not accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            counter!(names::ACCEPTED).increment(1);
            // Without it an acknowledgement waits for the client's delayed ACK: 44 ms at 20 messages a second.
            if stream.set_nodelay(true).is_ok() {
                let place = self.house.lobby.enter().await;
                self.welcome(stream, entrance.carrier.clone(), seat, place);
            }
        }
    }

    /// Starts the task of a connection. One task for each kind, so that none carries the size of another.
    fn welcome(&self, stream: TcpStream, carrier: Carrier, seat: OwnedSemaphorePermit, mut place: Place) {
        let house = self.house.clone();
        let counted = Counted::new(seat);
        match carrier {
            Carrier::Tcp => tokio::spawn(async move {
                let _counted = counted;
                connection::serve(stream, &house, Security::Plain, place).await;
            }),
            Carrier::Tls(tls) => tokio::spawn(async move {
                let _counted = counted;
                let Some(Some((stream, security))) = place.within(tls.accept(stream)).await else { return };
                drop(tls);
                connection::serve(stream, &house, security, place).await;
            }),
            Carrier::WebSocket => tokio::spawn(async move {
                let _counted = counted;
                let Some(Some(frames)) = place.within(websocket::accept(stream)).await else { return };
                connection::serve(frames, &house, Security::Plain, place).await;
            }),
            Carrier::WebSocketTls(tls) => tokio::spawn(async move {
                let _counted = counted;
                let Some(Some(stream)) = place.within(tls.accept_anyone(stream)).await else { return };
                let Some(Some(frames)) = place.within(websocket::accept(stream)).await else { return };
                connection::serve(frames, &house, Security::Tls, place).await;
            }),
        };
    }

    /// Says good-bye to every client (v5: reason 0x8B) and waits for them to be gone, at most a
    /// few seconds.
    pub async fn shutdown(&self) {
        self.house.closing.send_replace(true);
        let all = u32::try_from(self.house.settings.connections_max).unwrap_or(u32::MAX);
        // Whoever is slower than this is cut when the process ends; nothing of theirs was acknowledged.
        let _ = timeout(2 * FAREWELL_LIMIT, self.house.seats.acquire_many(all)).await;
    }
}

/// A connection's place among those that may be; given back at its end.
struct Counted {
    _seat: OwnedSemaphorePermit,
}

impl Counted {
    fn new(seat: OwnedSemaphorePermit) -> Counted {
        gauge!(names::CONNECTIONS).increment(1.0);
        Counted { _seat: seat }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        gauge!(names::CONNECTIONS).decrement(1.0);
    }
}

impl Link for House {
    fn deliver(&self, delivery: Delivery) -> bool {
        let outgoing = Outgoing {
            row: Some(Row { device: delivery.device.clone(), n: delivery.n }),
            settles: true,
            topic: device_topic(&delivery.device, &delivery.topic).into(),
            payload: delivery.payload,
            qos: delivery.qos,
            expires_at: delivery.expires_at,
            trace: delivery.trace,
        };
        self.sessions.deliver(&delivery.device, &outgoing)
    }

    fn disconnect(&self, device: &DeviceKey, reason: &str) {
        self.sessions.end(&Who::Device(device.clone()), reason::ADMINISTRATIVE_ACTION, reason);
    }
}
