//! Where each device lives, which codes are shown, and what waits while a device moves.
//!
//! Everything here is durable before it is here, except that a move closes the way to its device
//! as soon as it is decided. The one law: inputs of one device are decided in the order in which
//! they were submitted, also across a move. Whoever submits inputs of one device does so one
//! after the other (a connection reads its own stream).

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::ops::Bound;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use hearthway_core::id::{DeviceKey, DeviceName, HouseholdId, MakerId, ModelId, RetailerId};
use hearthway_core::model::{Device, Household};
use serde::{Deserialize, Serialize};

use super::house::Inboxes;
use super::job::Job;

/// Inputs of one device that wait while it moves. A move takes two commits; a device that sends
/// more in that time is told to come again.
pub(super) const PARKED_PER_DEVICE_MAX: usize = 256;

/// Where a device lives, and what its edge must know to let it in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    /// The household whose record holds the device.
    pub household: HouseholdId,
    /// Its model.
    pub model: ModelId,
    /// Its serial number.
    pub serial: Option<String>,
    /// Generation of its secret.
    pub generation: u32,
    /// Whether it ever used its own credential.
    pub credential_used: bool,
    /// Whether it is suspended.
    pub suspended: bool,
    /// Whose customers its household belongs to.
    pub retailer: Option<RetailerId>,
}

impl Route {
    /// The route of a device in a household of `retailer`'s customers.
    pub fn of(device: &Device, household: HouseholdId, retailer: Option<&RetailerId>) -> Route {
        Route {
            household,
            model: device.model.clone(),
            serial: device.serial.clone(),
            generation: device.generation,
            credential_used: device.credential_used,
            suspended: device.suspended.is_some(),
            retailer: retailer.cloned(),
        }
    }
    /// The route of a device that lives here.
    pub(super) fn within(household: &Household, device: &DeviceKey) -> Option<Route> {
        let device = household.devices.get(device)?;
        Some(Route::of(device, household.id, household.retailer.as_ref()))
    }
}

/// What a shard does with an input of a device.
pub(super) enum Admitted {
    /// Decide it for this household.
    Here(Job, HouseholdId),
    /// It waits until the device has moved.
    Parked,
    /// Too many wait already.
    Full(Job),
    /// There is no such device.
    Unknown(Job),
}

#[derive(Default)]
pub(super) struct Directory {
    inner: RwLock<Tables>,
}

#[derive(Default)]
struct Tables {
    devices: HashMap<DeviceKey, Entry>,
    /// Their keys in order, for pages.
    order: BTreeSet<DeviceKey>,
    names: BTreeSet<(DeviceName, MakerId)>,
    codes: HashMap<String, DeviceKey>,
    shown: HashMap<DeviceKey, String>,
}

struct Entry {
    route: Route,
    /// Inputs of this device that are queued for the household of `route` and not yet taken.
    queued: AtomicU32,
    /// Reached only under the directory's own lock for writing; its jobs are not to be shared.
    moving: Option<Box<Mutex<Moving>>>,
}

/// A device on its way.
#[derive(Default)]
struct Moving {
    /// Where it goes and the input that brings it there, once its leaving is durable.
    leaves: Option<(Route, Job)>,
    /// Inputs that were queued for the old household when the move was decided.
    taken: VecDeque<Job>,
    /// Inputs submitted since.
    parked: VecDeque<Job>,
}

impl Directory {
    pub(super) fn route(&self, device: &DeviceKey) -> Option<Route> {
        self.read().devices.get(device).map(|entry| entry.route.clone())
    }

    pub(super) fn named(&self, name: &DeviceName) -> Vec<DeviceKey> {
        let least = MakerId::new("-").expect("a hyphen is a name, and the least one");
        let tables = self.read();
        let from = tables.names.range((name.clone(), least)..);
        from.take_while(|(device, _)| device == name).map(|(d, m)| DeviceKey::new(m.clone(), d.clone())).collect()
    }

    pub(super) fn page(&self, after: Option<&DeviceKey>, limit: usize) -> Vec<(DeviceKey, Route)> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let tables = self.read();
        let page = tables.order.range::<DeviceKey, _>((from, Bound::Unbounded)).take(limit);
        page.filter_map(|key| Some((key.clone(), tables.devices.get(key)?.route.clone()))).collect()
    }

    pub(super) fn claimed_by(&self, code: &str) -> Option<DeviceKey> {
        self.read().codes.get(code).cloned()
    }

    /// A device's route as it is on disk.
    pub(super) fn set_route(&self, device: &DeviceKey, route: Route) {
        let mut tables = self.write();
        match tables.devices.get_mut(device) {
            Some(entry) => entry.route = route,
            None => {
                let entry = Entry { route, queued: AtomicU32::new(0), moving: None };
                tables.devices.insert(device.clone(), entry);
                tables.order.insert(device.clone());
                tables.names.insert((device.device.clone(), device.maker.clone()));
            }
        }
    }

    /// The code that a device shows, as it is on disk.
    pub(super) fn set_code(&self, device: &DeviceKey, code: Option<String>) {
        let mut tables = self.write();
        if let Some(old) = tables.shown.remove(device)
            && tables.codes.get(&old) == Some(device)
        {
            tables.codes.remove(&old);
        }
        if let Some(code) = code {
            tables.shown.insert(device.clone(), code.clone());
            tables.codes.insert(code, device.clone());
        }
    }

    /// Counts an input in at its submission. `Here` names the household whose shard it goes to.
    pub(super) fn enter(&self, device: &DeviceKey, job: Job) -> Admitted {
        {
            let tables = self.read();
            let Some(entry) = tables.devices.get(device) else { return Admitted::Unknown(job) };
            if entry.moving.is_none() {
                entry.queued.fetch_add(1, Ordering::Relaxed);
                return Admitted::Here(job, entry.route.household);
            }
        }
        let mut tables = self.write();
        let Some(entry) = tables.devices.get_mut(device) else { return Admitted::Unknown(job) };
        match entry.moving() {
            Some(moving) if moving.parked.len() >= PARKED_PER_DEVICE_MAX => Admitted::Full(job),
            Some(moving) => {
                moving.parked.push_back(job);
                Admitted::Parked
            }
            None => {
                entry.queued.fetch_add(1, Ordering::Relaxed);
                Admitted::Here(job, entry.route.household)
            }
        }
    }

    /// Counts an input out when a shard takes it. `counted` tells whether it was counted in.
    pub(super) fn admit(&self, device: &DeviceKey, job: Job, counted: bool, inboxes: &Inboxes) -> Admitted {
        {
            let tables = self.read();
            let Some(entry) = tables.devices.get(device) else { return Admitted::Unknown(job) };
            if entry.moving.is_none() {
                entry.count_out(counted);
                return Admitted::Here(job, entry.route.household);
            }
        }
        let mut tables = self.write();
        let Some(entry) = tables.devices.get_mut(device) else { return Admitted::Unknown(job) };
        entry.count_out(counted);
        let household = entry.route.household;
        let Some(moving) = entry.moving() else { return Admitted::Here(job, household) };
        let admitted = if moving.taken.len() < PARKED_PER_DEVICE_MAX {
            moving.taken.push_back(job);
            Admitted::Parked
        } else {
            Admitted::Full(job)
        };
        entry.release_if_ready(inboxes);
        admitted
    }

    /// An input that was counted in will never be taken: its submission was given up.
    pub(super) fn gave_up(&self, device: &DeviceKey, inboxes: &Inboxes) {
        if let Some(entry) = self.write().devices.get_mut(device) {
            entry.count_out(true);
            entry.release_if_ready(inboxes);
        }
    }

    /// A move was decided: from here on the device's inputs wait.
    pub(super) fn begin_move(&self, device: &DeviceKey) {
        if let Some(entry) = self.write().devices.get_mut(device) {
            entry.moving = Some(Box::default());
        }
    }

    /// The leaving is durable: once every input queued for the old household was taken, the
    /// arrival and all that waited go to the new one.
    pub(super) fn left(&self, device: &DeviceKey, route: Route, arrival: Job, inboxes: &Inboxes) {
        let mut tables = self.write();
        match tables.devices.get_mut(device) {
            Some(entry) => {
                entry.moving.get_or_insert_default();
                if let Some(moving) = entry.moving() {
                    moving.leaves = Some((route, arrival));
                }
                entry.release_if_ready(inboxes);
            }
            None => inboxes.push(route.household, [arrival]),
        }
    }

    /// The leaving failed: gives back what waited, to be answered.
    pub(super) fn stay(&self, device: &DeviceKey) -> Vec<Job> {
        let moving = self.write().devices.get_mut(device).and_then(|entry| entry.moving.take());
        moving
            .map(|moving| into_inner(*moving))
            .map_or_else(Vec::new, |moving| moving.taken.into_iter().chain(moving.parked).collect())
    }

    /// Whether any device is on its way and not yet at its new household's queue.
    pub(super) fn any_moving(&self) -> bool {
        self.read().devices.values().any(|entry| entry.moving.is_some())
    }

    fn read(&self) -> RwLockReadGuard<'_, Tables> {
        self.inner.read().unwrap_or_else(PoisonError::into_inner)
    }
    fn write(&self) -> RwLockWriteGuard<'_, Tables> {
        self.inner.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entry {
    fn count_out(&self, counted: bool) {
        if counted {
            self.queued.fetch_sub(1, Ordering::Relaxed);
        }
    }
    fn moving(&mut self) -> Option<&mut Moving> {
        self.moving.as_mut().map(|moving| moving.get_mut().unwrap_or_else(PoisonError::into_inner))
    }
    fn release_if_ready(&mut self, inboxes: &Inboxes) {
        let all_taken = self.queued.load(Ordering::Relaxed) == 0;
        if !all_taken || self.moving().is_none_or(|moving| moving.leaves.is_none()) {
            return;
        }
        let Some(moving) = self.moving.take().map(|moving| into_inner(*moving)) else { return };
        let Some((route, arrival)) = moving.leaves else { return };
        let to = route.household;
        self.route = route;
        inboxes.push(to, [arrival].into_iter().chain(moving.taken).chain(moving.parked));
    }
}

fn into_inner(moving: Mutex<Moving>) -> Moving {
    moving.into_inner().unwrap_or_else(PoisonError::into_inner)
}
