//! The listening socket, what all connections share, and the endpoint's life.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hearthway_core::id::DeviceKey;
use hearthway_core::wire::topic::{Who, device_topic};
use metrics::{counter, gauge};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use super::house::{Doorkeeper, Intake, Provisioner};
use super::limits::{Bucket, CONNECT_RATES_MAX, FAREWELL_LIMIT, SWEEP_EVERY, Settings};
use super::mailbox::{Outgoing, Row};
use super::sessions::Sessions;
use super::{connection, metrics as names, reason};
use crate::engine::{Delivery, Link};

/// How long to wait when the system has no room for one more socket.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What all connections share.
pub(super) struct House {
    pub(super) settings: Settings,
    pub(super) intake: Arc<dyn Intake>,
    pub(super) door: Arc<dyn Doorkeeper>,
    pub(super) provisioner: Arc<dyn Provisioner>,
    pub(super) sessions: Arc<Sessions>,
    pub(super) closing: watch::Sender<bool>,
    connect_rates: Mutex<BTreeMap<Who, Bucket>>,
    seats: Arc<Semaphore>,
}

impl House {
    /// Whether a device may connect once more in this minute. Keyed by names that proved who they
    /// are; a maker's bridge and bootstrap are not counted, for many devices share them.
    pub(super) fn may_connect(&self, who: &Who, now: Instant) -> bool {
        let Who::Device(_) = who else { return true };
        let per_minute = self.settings.connects_per_minute;
        let mut rates = self.connect_rates.lock().unwrap_or_else(PoisonError::into_inner);
        if !rates.contains_key(who) && rates.len() >= CONNECT_RATES_MAX {
            return true;
        }
        let full = || Bucket::new(per_minute, f64::from(per_minute) / 60.0, now);
        rates.entry(who.clone()).or_insert_with(full).take(now).is_ok()
    }

    fn sweep(&self, now: Instant) {
        self.sessions.sweep(now);
        self.connect_rates.lock().unwrap_or_else(PoisonError::into_inner).retain(|_, bucket| !bucket.is_full(now));
    }
}

/// The device endpoint: bound, and run by [`Endpoint::run`].
#[derive(Clone)]
pub struct Endpoint {
    house: Arc<House>,
    listener: Arc<TcpListener>,
    address: SocketAddr,
}

impl Endpoint {
    /// Takes the port. Connections are served from `run` on.
    pub async fn bind(
        settings: Settings,
        intake: Arc<dyn Intake>,
        door: Arc<dyn Doorkeeper>,
        provisioner: Arc<dyn Provisioner>,
    ) -> std::io::Result<Endpoint> {
        let listener = TcpListener::bind(settings.address).await?;
        let address = listener.local_addr()?;
        let house = House {
            seats: Arc::new(Semaphore::new(settings.connections_max)),
            settings,
            intake,
            door,
            provisioner,
            sessions: Arc::default(),
            closing: watch::Sender::new(false),
            connect_rates: Mutex::default(),
        };
        Ok(Endpoint { house: Arc::new(house), listener: Arc::new(listener), address })
    }

    /// Where it listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
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
        loop {
            tokio::select! {
                () = self.accept() => {}
                _ = sweep.tick() => self.house.sweep(Instant::now()),
                _ = closing.wait_for(|is_closing| *is_closing) => return,
            }
        }
    }

    /// Accepts one connection, once there is room for it: what waits in the system's backlog is
    /// slowed, not refused.
    async fn accept(&self) {
        let Ok(seat) = self.house.seats.clone().acquire_owned().await else { return };
        let stream = match self.listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "Could not accept a connection");
                return tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        };
        counter!(names::ACCEPTED).increment(1);
        let house = self.house.clone();
        tokio::spawn(async move {
            gauge!(names::CONNECTIONS).increment(1.0);
            connection::serve(stream, &house).await;
            gauge!(names::CONNECTIONS).decrement(1.0);
            drop(seat);
        });
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
