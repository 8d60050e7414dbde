//! Who a user name and a secret let in.

use std::sync::Arc;

use hearthway_core::id::{DeviceKey, DeviceName, MakerId};
use hearthway_core::wire::topic::Who;

use super::credentials::MasterKey;
use super::house::{Doorkeeper, Intake, IssuedSecrets, Login, LoginRefused};

/// The doorkeeper in service: devices by the master key and the engine's routes, makers by the
/// secrets issued to them.
pub struct Door {
    master: Arc<MasterKey>,
    intake: Arc<dyn Intake>,
    issued: Arc<dyn IssuedSecrets>,
}

impl Door {
    /// Puts the three together.
    pub fn new(master: Arc<MasterKey>, intake: Arc<dyn Intake>, issued: Arc<dyn IssuedSecrets>) -> Door {
        Door { master, intake, issued }
    }

    fn device(&self, device: DeviceKey, password: &[u8]) -> Result<Login, LoginRefused> {
        let known = self.intake.known(&device).ok_or(LoginRefused::BadCredentials)?;
        let generation = self.master.generation_of(&device, known, password).ok_or(LoginRefused::BadCredentials)?;
        let is_first_use = generation == known.generation && !known.credential_used;
        Ok(Login { who: Who::Device(device), is_first_use })
    }
}

impl Doorkeeper for Door {
    fn login(&self, username: &str, password: &[u8]) -> Result<Login, LoginRefused> {
        let who = read_username(username)?;
        let is_known = match &who {
            Who::Device(device) => return self.device(device.clone(), password),
            Who::Bootstrap(maker) => self.issued.is_bootstrap_secret(maker, password),
            Who::Bridge(maker) => self.issued.is_bridge_secret(maker, password),
        };
        if is_known { Ok(Login { who, is_first_use: false }) } else { Err(LoginRefused::BadCredentials) }
    }

    fn login_certified(&self, device: &DeviceKey) -> Result<Login, LoginRefused> {
        self.intake.known(device).ok_or(LoginRefused::NotRegistered)?;
        Ok(Login { who: Who::Device(device.clone()), is_first_use: false })
    }

    fn is_signed_by(&self, device: &DeviceKey, text: &str, sig: &str) -> bool {
        self.intake.known(device).is_some_and(|known| self.master.is_signature(device, known, text, sig))
    }
}

/// Reads `{maker}/{device}`, `{maker}/_bootstrap` or `{maker}/_bridge`.
pub fn read_username(username: &str) -> Result<Who, LoginRefused> {
    let (maker, name) = username.split_once('/').ok_or(LoginRefused::NameForm)?;
    let maker = MakerId::new(maker).map_err(|_| LoginRefused::NameForm)?;
    match name {
        "_bootstrap" => Ok(Who::Bootstrap(maker)),
        "_bridge" => Ok(Who::Bridge(maker)),
        name => {
            let device = DeviceName::new(name).map_err(|_| LoginRefused::NameForm)?;
            Ok(Who::Device(DeviceKey::new(maker, device)))
        }
    }
}
