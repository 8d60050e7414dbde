//! Where the device endpoint meets the application: the seams of `mqtt`, filled.

use std::sync::Arc;

use hearthway_core::id::{DeviceKey, MakerId};

use crate::app::App;
use crate::app::tokens::KeyKind;
use crate::mqtt::credentials::MasterKey;
use crate::mqtt::house::Later;
use crate::mqtt::{IssuedSecrets, Provisioner};

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
