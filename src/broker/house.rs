//! What all parts of the broker link share, and how it is set up.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use hearthway_core::id::DeviceKey;
use tokio::sync::Semaphore;

use super::address::Address;
use super::dynsec::Accounts;
use super::outgo::Outgo;
use super::selftest;
use super::trust::{Acl, Trust};
use super::ways::Ways;
use crate::mqtt::flood::Flood;
use crate::mqtt::{Doorkeeper, Intake, Provisioner};

/// Requests for a credential that are answered at once; each waits for the disk more than once.
const PROVISIONS_AT_ONCE_MAX: usize = 16;

/// How the link is set up.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where the broker is.
    pub address: Address,
    /// The gateway's client id: its session at the broker hangs on it.
    pub client_id: String,
    /// User name and password.
    pub credentials: Option<(String, String)>,
    /// The shared subscription's group; empty for a subscription of one's own.
    pub group: String,
    /// Publishes in flight at most.
    pub in_flight_max: u16,
    /// Unacknowledged messages from the broker at most.
    pub receive_max: u16,
    /// How long the broker keeps the session while the gateway is away.
    pub session_seconds: u32,
    /// Whether orders pass unsigned while the access rules are proved.
    pub accepts_unsigned_where_proved: bool,
    /// Who manages the accounts of devices at the broker.
    pub accounts: AccountsBy,
    /// A device account that the operator made for the self-test.
    pub probe: Option<Probe>,
    /// What TLS needs beside the address.
    pub tls: TlsFiles,
}

/// Who manages the accounts of devices at the broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AccountsBy {
    /// The operator: password file and access list, or certificates.
    Operator,
    /// The gateway, over the control topic of mosquitto's dynamic security plugin.
    Dynsec,
    /// The broker asks the gateway over HTTP.
    HttpHook,
}

/// A device account for the self-test.
#[derive(Clone, PartialEq, Eq)]
pub struct Probe {
    /// As whom.
    pub device: DeviceKey,
    /// Its password at the broker.
    pub password: String,
}

impl std::fmt::Debug for Probe {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Probe").field("device", &self.device).finish_non_exhaustive()
    }
}

/// Files for TLS, each in PEM.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TlsFiles {
    /// Certificates of the authorities that the broker's certificate may come from.
    pub ca: Option<PathBuf>,
    /// The gateway's own certificate chain.
    pub certificate: Option<PathBuf>,
    /// Its key.
    pub key: Option<PathBuf>,
}

impl Settings {
    /// Whether a device is the operator's account for the self-test, or the one it plays against.
    pub fn is_probe(&self, device: &DeviceKey) -> bool {
        self.probe.as_ref().is_some_and(|probe| {
            probe.device == *device || (probe.device.maker == device.maker && selftest::is_other(device))
        })
    }
}

/// Whether a device is linked to somebody.
pub type IsLinked = Arc<dyn Fn(&DeviceKey) -> bool + Send + Sync>;

/// The secret of one generation (from 1) of a device.
pub type SecretOf = Arc<dyn Fn(&DeviceKey, u32) -> String + Send + Sync>;

/// A page of all registered devices, by maker and name, after one of them.
pub type DevicesAfter = Arc<dyn Fn(Option<&DeviceKey>, usize) -> Vec<DeviceKey> + Send + Sync>;

/// What the link asks of the rest of the gateway.
#[derive(Clone)]
pub struct Seams {
    /// The way to decisions.
    pub intake: Arc<dyn Intake>,
    /// Who has which secret.
    pub door: Arc<dyn Doorkeeper>,
    /// Gives devices their credentials.
    pub provisioner: Arc<dyn Provisioner>,
    /// Whether a device is linked.
    pub is_linked: IsLinked,
    /// How much devices may publish.
    pub flood: Arc<Flood>,
    /// The secrets of devices.
    pub secret: SecretOf,
    /// All devices.
    pub devices: DevicesAfter,
}

/// What all parts share.
pub struct House {
    pub(super) settings: Settings,
    pub(super) intake: Arc<dyn Intake>,
    pub(super) door: Arc<dyn Doorkeeper>,
    pub(super) provisioner: Arc<dyn Provisioner>,
    pub(super) is_linked: IsLinked,
    pub(super) flood: Arc<Flood>,
    pub(super) secret: SecretOf,
    pub(super) devices: DevicesAfter,
    pub(super) accounts: Accounts,
    pub(super) ways: Ways,
    pub(super) outgo: Outgo,
    pub(super) trust: Trust,
    pub(super) provisions: Arc<Semaphore>,
    state: RwLock<State>,
    /// Why the last TLS connection did not come about.
    tls_trouble: Mutex<Option<String>>,
}

/// How the connection stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// Connected and subscribed.
    Up,
    /// Not, and why.
    Down(String),
}

impl House {
    pub(super) fn new(settings: Settings, seams: Seams) -> House {
        let why = match (settings.accounts, &settings.probe) {
            (AccountsBy::Operator, None) => {
                "there is no account to test with: give the broker one and name it in `probe_username`"
            }
            _ => "it has not run yet",
        };
        House {
            trust: Trust::new(settings.accepts_unsigned_where_proved, why),
            settings,
            intake: seams.intake,
            door: seams.door,
            provisioner: seams.provisioner,
            is_linked: seams.is_linked,
            flood: seams.flood,
            secret: seams.secret,
            devices: seams.devices,
            accounts: Accounts::default(),
            ways: Ways::default(),
            outgo: Outgo::default(),
            provisions: Arc::new(Semaphore::new(PROVISIONS_AT_ONCE_MAX)),
            state: RwLock::new(State::Down("it has not connected yet".into())),
            tls_trouble: Mutex::default(),
        }
    }

    pub(super) fn set_state(&self, state: State) {
        metrics::gauge!(super::metrics::CONNECTED).set(f64::from(u8::from(state == State::Up)));
        *self.state.write().unwrap_or_else(PoisonError::into_inner) = state;
    }

    pub(super) fn tls_failed(&self, why: String) {
        *self.tls_trouble.lock().unwrap_or_else(PoisonError::into_inner) = Some(why);
    }

    /// The reason that the relay knows, else the one that showed on this side of it.
    pub(super) fn reason_of(&self, shown: String) -> String {
        self.tls_trouble.lock().unwrap_or_else(PoisonError::into_inner).take().unwrap_or(shown)
    }

    /// What somebody should look at.
    pub(super) fn complaints(&self) -> Vec<String> {
        let mut complaints = Vec::new();
        if let State::Down(why) = &*self.state.read().unwrap_or_else(PoisonError::into_inner) {
            complaints.push(format!("no connection to the broker {}: {why}", self.settings.address));
        }
        match self.trust.acl() {
            Acl::Proved => {}
            Acl::Untested(why) => complaints.push(format!("the broker's access rules are not tested: {why}")),
            Acl::Broken(what) => complaints.push(format!(
                "the broker's access rules do not hold: {what}; unsigned orders are refused, and no device is provisioned through it"
            )),
        }
        complaints
    }
}
