//! What the endpoint asks of the rest of the gateway: the seams that its tests replace.

use std::future::Future;
use std::pin::Pin;

use hearthway_core::id::{DeviceKey, MakerId};
use hearthway_core::input::Input;
use hearthway_core::time::Timestamp;
use hearthway_core::wire::topic::Who;

use super::reason;
use crate::engine::{Engine, RefusedPayload, Repeat, Target, Waiter};

/// A future that a trait object returns.
pub type Later<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// What the endpoint must know of a device to let it in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Known {
    /// Generation of its secret.
    pub generation: u32,
    /// That generation has logged in before, so the one before it is dead.
    pub credential_used: bool,
    /// Its messages have no effect.
    pub suspended: bool,
}

/// The way of an input to its decision. The engine is the one in service.
pub trait Intake: Send + Sync + 'static {
    /// Hands over an input; waits only while the queue is full.
    fn submit(&self, to: Target, input: Input, repeat: Repeat, waiter: Waiter) -> Later<'_, ()>;
    /// What is known of a device; none when it is not registered.
    fn known(&self, device: &DeviceKey) -> Option<Known>;
    /// The device acknowledged an outbox row.
    fn delivered(&self, device: &DeviceKey, n: u64);
    /// The device listens: what waits for it may be sent.
    fn reachable(&self, device: &DeviceKey);
    /// A bridge of the maker listens.
    fn reachable_maker(&self, maker: &MakerId);
    /// Keeps a refused payload for its maker; never waits.
    fn quarantine(&self, refused: &RefusedPayload<'_>);
    /// The gateway's time.
    fn now(&self) -> Timestamp;
}

impl Intake for Engine {
    fn submit(&self, to: Target, input: Input, repeat: Repeat, waiter: Waiter) -> Later<'_, ()> {
        Box::pin(Engine::submit(self, to, input, repeat, waiter))
    }
    fn known(&self, device: &DeviceKey) -> Option<Known> {
        let route = self.route(device)?;
        Some(Known { generation: route.generation, credential_used: route.credential_used, suspended: route.suspended })
    }
    fn delivered(&self, device: &DeviceKey, n: u64) {
        Engine::delivered(self, device, n);
    }
    fn reachable(&self, device: &DeviceKey) {
        Engine::reachable(self, device);
    }
    fn reachable_maker(&self, maker: &MakerId) {
        Engine::reachable_maker(self, maker);
    }
    fn quarantine(&self, refused: &RefusedPayload<'_>) {
        Engine::quarantine(self, refused);
    }
    fn now(&self) -> Timestamp {
        self.clock().now()
    }
}

/// Who may come in.
pub trait Doorkeeper: Send + Sync + 'static {
    /// Checks a user name and a secret.
    fn login(&self, username: &str, password: &[u8]) -> Result<Login, LoginRefused>;
    /// Lets a device in whose certificate has been verified: it must be registered, no more.
    fn login_certified(&self, device: &DeviceKey) -> Result<Login, LoginRefused>;
    /// Whether a signature over `text` is the device's.
    fn is_signed_by(&self, device: &DeviceKey, text: &str, sig: &str) -> bool;
}

/// A login that succeeded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Login {
    /// As whom.
    pub who: Who,
    /// The device's current secret is used for the first time.
    pub is_first_use: bool,
}

/// A login that did not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LoginRefused {
    /// The user name has none of the known forms.
    #[error("the user name must be {{maker}}/{{device}}, {{maker}}/_bootstrap or {{maker}}/_bridge")]
    NameForm,
    /// Nobody of that name, or another secret: one answer, so that names cannot be probed.
    #[error("unknown user name or wrong secret")]
    BadCredentials,
    /// The certificate is another's.
    #[error("the user name is not the one that the certificate was issued to")]
    NotCertified,
    /// The certificate is right, and the device of that name does not exist.
    #[error("the certificate is valid, and no device of its name is registered here")]
    NotRegistered,
}

impl LoginRefused {
    /// The MQTT 5 reason code.
    pub fn reason(self) -> u8 {
        match self {
            LoginRefused::NameForm | LoginRefused::BadCredentials => reason::BAD_CREDENTIALS,
            LoginRefused::NotCertified | LoginRefused::NotRegistered => reason::NOT_AUTHORIZED,
        }
    }
    /// The label in metrics.
    pub fn label(self) -> &'static str {
        match self {
            LoginRefused::NameForm => "name_form",
            LoginRefused::BadCredentials => "bad_credentials",
            LoginRefused::NotCertified => "not_certified",
            LoginRefused::NotRegistered => "not_registered",
        }
    }
}

/// Gives devices their credentials.
pub trait Provisioner: Send + Sync + 'static {
    /// Answers a request; whatever it answers is durable. The answer is a whole payload. A device
    /// that asked over TLS `is_secure`, and is told to go on so.
    fn provision<'a>(
        &'a self,
        maker: &'a MakerId,
        nonce: &'a str,
        payload: &'a [u8],
        is_secure: bool,
    ) -> Later<'a, Vec<u8>>;
}

/// The secrets that are issued over HTTP and stored as hashes.
pub trait IssuedSecrets: Send + Sync + 'static {
    /// Whether this is a live bootstrap secret of the maker.
    fn is_bootstrap_secret(&self, maker: &MakerId, secret: &[u8]) -> bool;
    /// Whether this is a live bridge secret of the maker.
    fn is_bridge_secret(&self, maker: &MakerId, secret: &[u8]) -> bool;
}
