//! Where the ways of devices meet the application: the seams of `mqtt` and `broker`, filled.

use std::sync::Arc;

use hearthway_core::id::{DeviceKey, MakerId};
use hearthway_core::input::Input;
use hearthway_core::time::Timestamp;

use super::StartError;
use crate::app::provisioning::Place;
use crate::app::tokens::KeyKind;
use crate::app::{App, BrokerAddress, Watched};
use crate::broker::relay::RelayError;
use crate::broker::{BrokerLink, IsLinked, Seams, Settings};
use crate::engine::events::SecretSeed;
use crate::engine::{Delivery, Engine, Link, RefusedPayload, Repeat, Target, Waiter};
use crate::mqtt::credentials::MasterKey;
use crate::mqtt::flood::Flood;
use crate::mqtt::house::Later;
use crate::mqtt::{Doorkeeper, Intake, IssuedSecrets, Known, Provisioner};
use crate::webhook::address::Reach;
use crate::webhook::{Courier, Wire};

/// The application as the endpoint sees it.
pub(super) struct Registry(pub(super) Arc<App>);

impl Provisioner for Registry {
    fn provision<'a>(
        &'a self,
        maker: &'a MakerId,
        nonce: &'a str,
        payload: &'a [u8],
        is_secure: bool,
    ) -> Later<'a, Vec<u8>> {
        Box::pin(self.0.provision(maker, nonce, payload, is_secure))
    }
}

impl IssuedSecrets for Registry {
    fn is_bootstrap_secret(&self, maker: &MakerId, secret: &[u8]) -> bool {
        self.0.key_opens(maker, KeyKind::Bootstrap, secret)
    }
    fn is_bridge_secret(&self, maker: &MakerId, secret: &[u8]) -> bool {
        self.0.key_opens(maker, KeyKind::Bridge, secret)
    }
}

/// The application's source of device secrets.
pub(super) fn secrets_of(master: Arc<MasterKey>) -> impl Fn(&DeviceKey, u32) -> String + Send + Sync + 'static {
    move |device, generation| master.device_secret(device, generation)
}

/// Provisioning through the broker: devices are told to come back where they asked.
struct ProvisionerAtBroker {
    app: Arc<App>,
    place: BrokerAddress,
}

impl Provisioner for ProvisionerAtBroker {
    fn provision<'a>(
        &'a self,
        maker: &'a MakerId,
        nonce: &'a str,
        payload: &'a [u8],
        _is_secure: bool,
    ) -> Later<'a, Vec<u8>> {
        Box::pin(self.app.provision_at(maker, nonce, payload, Place::Broker(&self.place)))
    }
}

/// The broker link over an engine and an application.
pub(super) fn broker_link(
    settings: Settings,
    engine: &Engine,
    door: Arc<dyn Doorkeeper>,
    app: &Arc<App>,
    master: Arc<MasterKey>,
    flood: Arc<Flood>,
) -> Result<BrokerLink, RelayError> {
    let address = &settings.address;
    let place = BrokerAddress { host: address.host.clone(), port: address.port, tls: address.tls };
    let (routes, all) = (engine.clone(), engine.clone());
    let is_linked: IsLinked =
        Arc::new(move |device| routes.route(device).is_some_and(|route| route.retailer.is_some()));
    let seams = Seams {
        intake: Arc::new(engine.clone()),
        door,
        provisioner: Arc::new(ProvisionerAtBroker { app: app.clone(), place }),
        is_linked,
        flood,
        secret: Arc::new(secrets_of(master)),
        devices: Arc::new(move |after, limit| all.devices(after, limit).into_iter().map(|(key, _)| key).collect()),
    };
    let link = BrokerLink::new(settings, seams)?;
    let watched = link.clone();
    app.watch(Watched { part: "broker", complaints: Arc::new(move || watched.complaints()) });
    if let Some(desk) = link.desk() {
        app.set_broker_desk(desk);
    }
    if let Some(keeper) = link.account_keeper() {
        app.set_account_keeper(keeper);
    }
    Ok(link)
}

/// Who takes events out to webhooks.
pub(super) fn courier(
    engine: &Engine,
    config: &crate::config::Webhooks,
    master: Arc<MasterKey>,
) -> Result<Courier, StartError> {
    let reach = if config.allow_loopback { Reach::LoopbackToo } else { Reach::Public };
    let wire = Wire::new(reach, config.ca_file.as_deref())?;
    let secrets = move |seed: &SecretSeed| master.webhook_secret(&seed.0);
    Ok(Courier::open(engine.clone(), wire, Arc::new(secrets))?)
}

/// The engine as the endpoint sees it beside a broker link: a device that listens at the endpoint
/// is no longer spoken to through the broker.
pub(super) struct BesideBroker {
    pub(super) engine: Engine,
    pub(super) broker: BrokerLink,
}

impl Intake for BesideBroker {
    fn submit(&self, to: Target, input: Input, repeat: Repeat, waiter: Waiter) -> Later<'_, ()> {
        Intake::submit(&self.engine, to, input, repeat, waiter)
    }
    fn known(&self, device: &DeviceKey) -> Option<Known> {
        Intake::known(&self.engine, device)
    }
    fn delivered(&self, device: &DeviceKey, n: u64) {
        Intake::delivered(&self.engine, device, n);
    }
    fn reachable(&self, device: &DeviceKey) {
        self.broker.heard_elsewhere(device);
        Intake::reachable(&self.engine, device);
    }
    fn reachable_maker(&self, maker: &MakerId) {
        Intake::reachable_maker(&self.engine, maker);
    }
    fn quarantine(&self, refused: &RefusedPayload<'_>) {
        Intake::quarantine(&self.engine, refused);
    }
    fn now(&self) -> Timestamp {
        Intake::now(&self.engine)
    }
}

/// Two ways to devices: a live connection at the endpoint goes before the broker.
pub(super) struct BothWays {
    pub(super) endpoint: Arc<dyn Link>,
    pub(super) broker: Arc<dyn Link>,
}

impl Link for BothWays {
    fn deliver(&self, delivery: Delivery) -> bool {
        self.endpoint.deliver(delivery.clone()) || self.broker.deliver(delivery)
    }
    fn disconnect(&self, device: &DeviceKey, reason: &str) {
        self.endpoint.disconnect(device, reason);
        self.broker.disconnect(device, reason);
    }
}
