//! Where the device endpoint meets the engine and the application: the seams of `mqtt`, filled.

use std::sync::Arc;

use hearthway_core::id::{DeviceKey, MakerId};
use hearthway_core::input::Input;
use hearthway_core::time::Timestamp;

use crate::app::App;
use crate::app::tokens::KeyKind;
use crate::engine::{self, Engine, Target, Waiter};
use crate::mqtt::credentials::MasterKey;
use crate::mqtt::house::Later;
use crate::mqtt::{Intake, IssuedSecrets, Known, Provisioner, Repeat};

/// The engine as the endpoint sees it.
pub(super) struct EngineIntake(pub(super) Engine);

impl Intake for EngineIntake {
    fn submit(&self, to: Target, input: Input, repeat: Repeat, waiter: Waiter) -> Later<'_, ()> {
        let repeat = match repeat {
            Repeat::Remember => engine::Repeat::Remember,
            Repeat::RememberUnlessRedelivered => engine::Repeat::RememberUnlessRedelivered,
            Repeat::Ignore => engine::Repeat::Ignore,
        };
        Box::pin(self.0.submit(to, input, repeat, waiter))
    }
    fn known(&self, device: &DeviceKey) -> Option<Known> {
        let route = self.0.route(device)?;
        Some(Known {
            generation: route.generation,
            credential_used: route.credential_used,
            suspended: route.suspended,
        })
    }
    fn delivered(&self, device: &DeviceKey, n: u64) {
        self.0.delivered(device, n);
    }
    fn reachable(&self, device: &DeviceKey) {
        self.0.reachable(device);
    }
    fn reachable_maker(&self, maker: &MakerId) {
        self.0.reachable_maker(maker);
    }
    fn now(&self) -> Timestamp {
        self.0.clock().now()
    }
}

/// The application as the endpoint sees it.
pub(super) struct Registry(pub(super) Arc<App>);

impl Provisioner for Registry {
    fn provision<'a>(&'a self, maker: &'a MakerId, nonce: &'a str, payload: &'a [u8]) -> Later<'a, Vec<u8>> {
        Box::pin(self.0.provision(maker, nonce, payload))
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
