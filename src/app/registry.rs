//! Registering devices: in bulk by the maker or operator, and one by one when they provision themselves.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard};

use hearthway_core::code::{Code, Refusal};
use hearthway_core::id::{DeviceKey, DeviceName, MakerId, ModelId, base32, derive_bytes};
use hearthway_core::input::Command;

use super::profiles::settled;
use super::provisioning::Attempt;
use super::tokens::{Caller, Scope};
use super::{App, Failure, rows};
use crate::engine::{Engine, Target};
use crate::store::codec::Schema;
use crate::store::keys::{Key, KeyBuilder, table};

/// Serials that can be registered at the same moment without waiting for each other.
const SERIAL_LOCKS: usize = 64;
/// Provisioning attempts kept in memory for the maker to look at.
const ATTEMPTS_MAX: usize = 1000;
/// Devices read in one page when they are counted.
const COUNT_PAGE: usize = 1000;
/// Characters of a serial number.
const SERIAL_CHARS_MAX: usize = 128;

/// What registration keeps beside the households.
pub(crate) struct Registry {
    /// One registration per serial at a time.
    serials: Vec<tokio::sync::Mutex<()>>,
    devices: Mutex<BTreeMap<MakerId, usize>>,
    devices_per_maker_max: usize,
    attempts: Mutex<VecDeque<Attempt>>,
}

impl Registry {
    /// Counts the devices of each maker.
    pub(crate) fn open(engine: &Engine, devices_per_maker_max: usize) -> Registry {
        let mut devices: BTreeMap<MakerId, usize> = BTreeMap::new();
        let mut after: Option<DeviceKey> = None;
        loop {
            let rows = engine.devices(after.as_ref(), COUNT_PAGE);
            let Some((last, _)) = rows.last() else { break };
            after = Some(last.clone());
            for (key, _) in rows {
                *devices.entry(key.maker).or_default() += 1;
            }
        }
        Registry {
            serials: (0..SERIAL_LOCKS).map(|_| tokio::sync::Mutex::default()).collect(),
            devices: Mutex::new(devices),
            devices_per_maker_max,
            attempts: Mutex::default(),
        }
    }

    /// Held while one serial is looked up and registered.
    pub(crate) async fn hold(&self, maker: &MakerId, of: &str) -> tokio::sync::MutexGuard<'_, ()> {
        let hash = derive_bytes("serial lock", &[maker.as_str().as_bytes(), of.as_bytes()]);
        self.serials[usize::from(hash[0]) % SERIAL_LOCKS].lock().await
    }

    /// Puts an attempt at the head of the list; the oldest falls off its end.
    pub(crate) fn remember_attempt(&self, attempt: Attempt) {
        let mut attempts = self.attempts.lock().expect("no holder of this lock panics");
        attempts.push_front(attempt);
        attempts.truncate(ATTEMPTS_MAX);
    }

    /// The attempts, newest first.
    pub(crate) fn attempts(&self) -> MutexGuard<'_, VecDeque<Attempt>> {
        self.attempts.lock().expect("no holder of this lock panics")
    }

    /// Takes a place in the maker's quota; given back with [`Registry::give_back`].
    pub(crate) fn take_place(&self, maker: &MakerId) -> Result<(), Failure> {
        let mut devices = self.devices.lock().expect("no holder of this lock panics");
        let count = devices.entry(maker.clone()).or_default();
        if *count >= self.devices_per_maker_max {
            let message = format!("the maker `{maker}` has its {} devices", self.devices_per_maker_max);
            return Err(Refusal::new(Code::ProvQuota, message).into());
        }
        *count += 1;
        Ok(())
    }

    pub(crate) fn give_back(&self, maker: &MakerId) {
        let mut devices = self.devices.lock().expect("no holder of this lock panics");
        if let Some(count) = devices.get_mut(maker) {
            *count = count.saturating_sub(1);
        }
    }
}

/// A device to be registered in bulk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewDevice {
    /// Whose; the token's maker where not said.
    pub maker: Option<MakerId>,
    /// Its name.
    pub device: DeviceName,
    /// Its model.
    pub model: ModelId,
    /// Its serial number.
    pub serial: Option<String>,
}

/// What a registered device logs in with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credential {
    /// The device.
    pub device: DeviceKey,
    /// The secret of its present generation.
    pub secret: String,
}

/// The name of a device that provisions itself: derived, so that asking twice names one device.
pub(crate) fn name_for_serial(maker: &MakerId, serial: &str) -> DeviceName {
    let hash = derive_bytes("d-", &[maker.as_str().as_bytes(), serial.as_bytes()]);
    DeviceName::new(format!("d-{}", base32(&hash[..15]))).expect("base32 and a hyphen are within the grammar of names")
}

/// Which device has a serial number: written at registration, so that a device that was
/// registered under a name of the maker's choice is found when it provisions itself.
fn serial_key(maker: &MakerId, serial: &str) -> Key {
    KeyBuilder::table(table::PROVISION).name("serial").name(maker.as_str()).name(serial).key()
}

/// A serial number: printable, without spaces at its ends.
pub(crate) fn check_serial(pointer: &str, serial: &str) -> Result<(), Failure> {
    let chars = serial.chars().count();
    if chars == 0 || chars > SERIAL_CHARS_MAX || serial.trim() != serial || serial.chars().any(char::is_control) {
        return Err(Failure::invalid(
            pointer,
            format!("a serial number takes 1 to {SERIAL_CHARS_MAX} printable characters"),
        ));
    }
    Ok(())
}

impl App {
    /// Registers one device of a bulk. The same line again gives the same answer.
    pub async fn register_device(&self, who: &Caller, new: NewDevice) -> Result<Credential, Failure> {
        let maker = who.maker(Scope::DevicesRegister, new.maker.as_ref())?;
        self.check_model(&maker, &new.model)?;
        if let Some(serial) = &new.serial {
            check_serial("/serial", serial)?;
        }
        let key = DeviceKey::new(maker.clone(), new.device);
        // Without a serial the name itself is what must not be registered twice at once.
        let of = new.serial.as_deref().unwrap_or(key.device.as_str()).to_owned();
        let _held = self.registry.hold(&maker, &of).await;
        if let Some(serial) = &new.serial
            && let Some(other) = self.device_with_serial(&maker, serial)?
            && other != key.device
        {
            return Err(Failure::Conflict(format!("the serial `{serial}` belongs to the device `{other}`")));
        }
        if let Some(route) = self.engine.route(&key) {
            if route.model != new.model || (new.serial.is_some() && route.serial != new.serial) {
                return Err(Failure::Conflict(format!(
                    "the device `{}` is registered with the model `{}` and {}",
                    key.device,
                    route.model,
                    route.serial.map_or_else(|| "no serial".to_owned(), |serial| format!("the serial `{serial}`"))
                )));
            }
            return Ok(Credential { secret: self.secrets.secret(&key, route.generation), device: key });
        }
        self.register(key, new.model, new.serial, 1).await
    }

    /// Makes the device, in its prospect household. The caller holds the serial.
    pub(crate) async fn register(
        &self,
        key: DeviceKey,
        model: ModelId,
        serial: Option<String>,
        generation: u32,
    ) -> Result<Credential, Failure> {
        let is_new = self.engine.route(&key).is_none();
        if is_new {
            self.registry.take_place(&key.maker)?;
        }
        let done = self.register_counted(&key, model, serial, generation).await;
        if is_new && done.is_err() {
            self.registry.give_back(&key.maker);
        }
        done?;
        self.account_changed(&key).await;
        Ok(Credential { secret: self.secrets.secret(&key, generation), device: key })
    }

    async fn register_counted(
        &self,
        key: &DeviceKey,
        model: ModelId,
        serial: Option<String>,
        generation: u32,
    ) -> Result<(), Failure> {
        if let Some(serial) = &serial {
            // Before the device: a row that names a device that was never made is harmless.
            let row = rows::put(Schema::Provision, serial_key(&key.maker, serial), &key.device);
            rows::write(&self.engine, vec![row]).await?;
        }
        let what = Command::Register { model, serial, generation };
        let input = self.command(Some(key), "register", &generation.to_be_bytes(), what);
        settled(self.engine.call(Target::Device(key.clone()), input).await)?;
        Ok(())
    }

    /// The device that has a serial number, if it was registered.
    pub(crate) fn device_with_serial(&self, maker: &MakerId, serial: &str) -> Result<Option<DeviceName>, Failure> {
        let named: Option<DeviceName> =
            rows::get(&**self.engine.store(), Schema::Provision, &serial_key(maker, serial))?;
        Ok(named.filter(|name| self.engine.route(&DeviceKey::new(maker.clone(), name.clone())).is_some()))
    }

    /// The model exists and is the maker's.
    pub(crate) fn check_model(&self, maker: &MakerId, model: &ModelId) -> Result<(), Failure> {
        let rules = self.engine.rules();
        if !rules.makers.contains_key(maker) {
            let message = format!("there is no maker `{maker}`; PUT /v1/makers/{maker} first");
            return Err(Failure::invalid("/maker", message));
        }
        if rules.models.get(model).is_none_or(|known| known.maker != *maker) {
            let message = format!("the maker `{maker}` has no model `{model}`; PUT /v1/models/{model} first");
            return Err(Refusal::new(Code::DescInvalid, message).at("/model").into());
        }
        Ok(())
    }
}
