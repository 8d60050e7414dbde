//! The link to a broker that homes, makers or a cluster have already: MQTT 5, as a client.
//!
//! The device's PUBACK is the broker's there, not ours; ours to the broker still comes after the
//! commit. The way of a message: `line` hears it → `arrivals` decides who and what → the engine
//! commits → `acks` acknowledges in the order of arrival. The way of a message to a device: the
//! engine's outbox → [`crate::engine::Link`] → `outgo` → `link` → `line`; only the broker's word
//! that it has the message for somebody settles the row.
//!
//! | file | what it holds |
//! |---|---|
//! | `line` | one connection; the only file that names the MQTT library |
//! | `link` | the life of the link: connect, subscribe, speak, again |
//! | `arrivals`, `acks` | messages in, their acknowledgements out |
//! | `outgo`, `ways` | what waits to be published; which devices are behind the broker |
//! | `trust`, `selftest` | what may be believed, and the test of the broker's access rules |
//! | `dynsec`, `hook` | accounts of devices: written to the broker, or asked for by it |
//! | `relay`, `address` | TLS; `mqtt://…` and `mqtts://…` |

mod acks;
pub mod address;
mod arrivals;
mod dynsec;
mod hook;
pub mod house;
mod line;
mod link;
pub mod metrics;
mod outgo;
pub mod relay;
pub mod selftest;
pub mod trust;
mod ways;

use std::sync::Arc;
use std::time::Duration;

use hearthway_core::id::DeviceKey;
use hearthway_core::wire::topic::device_topic;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

pub use address::Address;
pub use house::{AccountsBy, IsLinked, Probe, Seams, Settings, TlsFiles};

use crate::app::broker::{AccountKeeper, BrokerDesk};
use crate::engine::{Delivery, Link};
use crate::mqtt::mailbox::{Outgoing, Row};
use house::House;
use line::Place;
use relay::{Relay, RelayError};
use trust::Acl;

/// A self-test that could not run is tried again after this: the account may be on its way.
const SELFTEST_AGAIN_AFTER: Duration = Duration::from_secs(30);
/// How long the end of the link may take.
const FAREWELL_SECONDS_MAX: Duration = Duration::from_secs(6);

/// The link to a broker. A clone is the same link.
#[derive(Clone)]
pub struct BrokerLink {
    house: Arc<House>,
    closing: Arc<watch::Sender<bool>>,
    ended: watch::Receiver<bool>,
    ends: Arc<watch::Sender<bool>>,
    relay: Option<Arc<Relay>>,
}

impl BrokerLink {
    /// Sets the link up, within a runtime. It connects when it is run.
    pub fn new(settings: Settings, seams: Seams) -> Result<BrokerLink, RelayError> {
        let (ends, ended) = watch::channel(false);
        let house = Arc::new(House::new(settings, seams));
        let Settings { address, tls, .. } = &house.settings;
        let relay = if address.tls {
            let complained = Arc::downgrade(&house);
            let complain = Arc::new(move |why| {
                if let Some(house) = complained.upgrade() {
                    house.tls_failed(why);
                }
            });
            Some(Arc::new(Relay::start(address, tls, complain)?))
        } else {
            None
        };
        Ok(BrokerLink { house, closing: Arc::new(watch::Sender::new(false)), ended, ends: Arc::new(ends), relay })
    }

    /// Keeps the link up until [`BrokerLink::shutdown`].
    pub async fn run(&self) {
        let Address { host, port, .. } = self.house.settings.address.clone();
        let place = match &self.relay {
            Some(relay) => Place::Unix(relay.path()),
            None => Place::Tcp { host, port },
        };
        let dial = link::dial(&self.house, place);
        let (connects, mut connected) = watch::channel(0);
        let (ready, is_ready) = watch::channel(self.house.settings.accounts != AccountsBy::Dynsec);
        tokio::select! {
            () = link::run(self.house.clone(), dial.clone(), connects, self.closing.subscribe()) => {}
            () = self.keep_accounts(&dial, ready) => {}
            () = self.keep_testing(&dial, &mut connected, is_ready) => {}
        }
        self.ends.send_replace(true);
    }

    async fn keep_accounts(&self, dial: &line::Dial, ready: watch::Sender<bool>) {
        match self.house.settings.accounts {
            AccountsBy::Dynsec => dynsec::run(self.house.clone(), dial.clone(), ready).await,
            AccountsBy::Operator | AccountsBy::HttpHook => std::future::pending().await,
        }
    }

    /// Tests the broker's access rules at each connection, and until there is an answer.
    async fn keep_testing(
        &self,
        dial: &line::Dial,
        connected: &mut watch::Receiver<u64>,
        mut ready: watch::Receiver<bool>,
    ) {
        let secret = self.house.secret.clone();
        let Some(probe) = selftest::probe_of(&self.house.settings, |device| secret(device, 1)) else {
            tracing::warn!(
                "The broker's access rules are not tested: there is no account to test with (`probe_username`). Messages that order, consent or change hands need a signature"
            );
            return std::future::pending().await;
        };
        let _ = ready.wait_for(|is_ready| *is_ready).await;
        while connected.changed().await.is_ok() {
            loop {
                let acl = selftest::run(&probe, dial).await;
                let is_untested = matches!(acl, Acl::Untested(_));
                if self.house.trust.set_acl(acl.clone()) {
                    report(&acl);
                }
                if !is_untested || connected.has_changed().unwrap_or_default() {
                    break;
                }
                tokio::select! {
                    () = sleep(SELFTEST_AGAIN_AFTER) => {}
                    _ = connected.changed() => {}
                }
            }
        }
        std::future::pending().await
    }

    /// Who answers the broker when it asks about its clients, where it does.
    pub fn desk(&self) -> Option<Arc<dyn BrokerDesk>> {
        let asks = self.house.settings.accounts == AccountsBy::HttpHook;
        asks.then(|| Arc::new(hook::Desk(self.house.clone())) as Arc<dyn BrokerDesk>)
    }

    /// Who keeps the accounts of devices at the broker, where the gateway does.
    pub fn account_keeper(&self) -> Option<Arc<dyn AccountKeeper>> {
        let keeps = self.house.settings.accounts == AccountsBy::Dynsec;
        keeps.then(|| self.house.clone() as Arc<dyn AccountKeeper>)
    }

    /// The way to devices behind the broker.
    pub fn link(&self) -> Arc<dyn Link> {
        self.house.clone()
    }

    /// A device was heard on the endpoint: it is no longer spoken to through the broker.
    pub fn heard_elsewhere(&self, device: &DeviceKey) {
        self.house.ways.heard_elsewhere(device);
    }

    /// What somebody should look at.
    pub fn complaints(&self) -> Vec<String> {
        self.house.complaints()
    }

    /// Lets what was read be committed and acknowledged, and says good-bye to the broker.
    pub async fn shutdown(&self) {
        self.closing.send_replace(true);
        let mut ended = self.ended.clone();
        // A broker that does not even take our good-bye is told by the end of the connection.
        let _ = timeout(FAREWELL_SECONDS_MAX, ended.wait_for(|ended| *ended)).await;
    }
}

fn report(acl: &Acl) {
    match acl {
        Acl::Proved => tracing::info!(
            "The broker's access rules hold: a device can neither speak as another nor read what is another's"
        ),
        Acl::Untested(why) => {
            tracing::warn!("The broker's access rules could not be tested: {why}. Unsigned orders are refused")
        }
        Acl::Broken(what) => tracing::error!(
            "The broker's access rules do NOT hold: {what}. Unsigned orders are refused and no device is provisioned through it; docs/broker-link.md has rules that hold"
        ),
    }
}

impl Link for House {
    fn deliver(&self, delivery: Delivery) -> bool {
        if !self.ways.is_here(&delivery.device) {
            return false;
        }
        self.outgo.offer(Outgoing {
            topic: device_topic(&delivery.device, &delivery.topic).into(),
            row: Some(Row { device: delivery.device, n: delivery.n }),
            settles: true,
            payload: delivery.payload,
            qos: delivery.qos,
            expires_at: delivery.expires_at,
            trace: delivery.trace,
        })
    }

    /// The connection is the broker's to end, which it does where the gateway keeps its accounts.
    /// Elsewhere the device stays connected, and its messages have no effect.
    fn disconnect(&self, device: &DeviceKey, _reason: &str) {
        if self.settings.accounts == AccountsBy::Dynsec {
            self.accounts.look_at(device);
        }
    }
}
