//! The three seams: a clock that only the world turns, a link that the world listens to, and a
//! store that fails on demand (`hearthway::store::faults`).

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};

use hearthway::clock::Clock;
use hearthway::engine::{Delivery, Link, RuleBook};
use hearthway_core::id::DeviceKey;
use hearthway_core::rules::RuleSet;
use hearthway_core::time::Timestamp;

pub struct WorldClock(AtomicI64);

impl WorldClock {
    pub fn at(now: Timestamp) -> Arc<WorldClock> {
        Arc::new(WorldClock(AtomicI64::new(now.0)))
    }
    pub fn set(&self, now: Timestamp) {
        self.0.store(now.0, Ordering::Relaxed);
    }
}

impl Clock for WorldClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.load(Ordering::Relaxed))
    }
    fn sleep_until(&self, _: Timestamp) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        // The world moves time by hand; nobody in it sleeps.
        Box::pin(std::future::pending())
    }
}

/// Keeps what is delivered to devices that listen.
#[derive(Default)]
pub struct WorldLink {
    state: Mutex<LinkState>,
}

#[derive(Default)]
struct LinkState {
    listening: std::collections::BTreeSet<DeviceKey>,
    /// With the number of the moment at which each was handed over.
    delivered: VecDeque<(u64, Delivery)>,
    moment: u64,
}

impl WorldLink {
    pub fn listen(&self, device: &DeviceKey, on: bool) {
        let mut state = self.state.lock().unwrap();
        if on {
            state.listening.insert(device.clone());
        } else {
            state.listening.remove(device);
            // What was on its way is lost with the connection.
            state.delivered.retain(|(_, delivery)| delivery.device != *device);
        }
    }
    pub fn take(&self) -> Option<(u64, Delivery)> {
        self.state.lock().unwrap().delivered.pop_front()
    }
    /// A new moment begins: what was handed over before is already on its way to the device, and
    /// nobody can call it back.
    pub fn next_moment(&self) -> u64 {
        let mut state = self.state.lock().unwrap();
        state.moment += 1;
        state.moment
    }
    pub fn is_empty(&self) -> bool {
        self.state.lock().unwrap().delivered.is_empty()
    }
}

impl Link for WorldLink {
    fn deliver(&self, delivery: Delivery) -> bool {
        let mut state = self.state.lock().unwrap();
        let listens = state.listening.contains(&delivery.device);
        if listens {
            let moment = state.moment;
            state.delivered.push_back((moment, delivery));
        }
        listens
    }
    fn disconnect(&self, device: &DeviceKey, _: &str) {
        self.listen(device, false);
    }
}

/// One version of the rules.
pub struct OneBook(pub Arc<RuleSet>);

impl RuleBook for OneBook {
    fn current(&self) -> Arc<RuleSet> {
        Arc::clone(&self.0)
    }
    fn at(&self, version: u64) -> Option<Arc<RuleSet>> {
        (version == self.0.version).then(|| Arc::clone(&self.0))
    }
}
