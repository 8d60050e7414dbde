//! The sweep of a trigger that went live with `on_activate`: its retailer's devices are looked at one after
//! the other, never faster than the configuration says, each through the queue of its home's shard like
//! anything else that happens there. How far it came is on disk, so that a start goes on there.
//!
//! A device that is looked at twice, because the gateway ended between two notes of how far it came, is
//! spoken to once: the first look spent its edge.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use hearthway_core::decide::stands_beyond;
use hearthway_core::id::{DeviceKey, RetailerId, TriggerId};
use hearthway_core::input::Command;
use hearthway_core::rules::RuleSet;
use hearthway_core::time::{Span, Timestamp};
use hearthway_core::trigger::Trigger;
use metrics::Counter;
use serde::{Deserialize, Serialize};

use super::{Engine, Outcome, Target, metrics as names, rows};
use crate::store::codec::Schema;
use crate::store::{Commit, StoreError, keys};

/// Devices between two notes of how far a sweep came: what a start may look at again.
const DEVICES_A_NOTE: usize = 64;
/// How often it is looked whether a trigger went live: by real time, also where a clock runs fast.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long nothing is tried after the store or a shard could not.
const RETRY: Duration = Duration::from_secs(10);

/// How far the sweep of a trigger is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sweep {
    /// The version that went live.
    pub version: u64,
    /// The last device that was looked at.
    pub after: Option<DeviceKey>,
    /// Devices of the retailer that were looked at.
    pub looked: u64,
    /// Those whose value stood beyond the threshold.
    pub woken: u64,
    /// Whether all were.
    pub is_done: bool,
}

/// A sweep that did not come to its end: tried again later.
struct Stuck;

/// Sweeps triggers that go live.
pub struct Sweeper {
    engine: Engine,
    /// Between two devices.
    apart: Span,
    looks: Counter,
    /// Rules in which nothing is left to sweep.
    idle_at: Option<u64>,
    /// When the next device may be looked at.
    next: Timestamp,
}

impl Engine {
    /// How far the sweep of a trigger came that went live with `on_activate`.
    pub fn sweep(&self, retailer: &RetailerId, trigger: &TriggerId) -> Result<Option<Sweep>, StoreError> {
        rows::get(&**self.store(), Schema::Sweep, &keys::sweep(retailer, trigger))
    }
}

impl Sweeper {
    /// Looks at so many homes a second at most.
    pub fn new(engine: Engine, homes_per_second: u32) -> Sweeper {
        let apart = Span(1_000 / i64::from(homes_per_second.clamp(1, 1_000)));
        let looks = metrics::counter!(names::ACTIVATION_LOOKS);
        Sweeper { engine, apart, looks, idle_at: None, next: Timestamp(i64::MIN) }
    }

    /// Works until the engine is closed.
    pub async fn run(mut self) {
        while !self.engine.is_closed() {
            let rest = match self.round().await {
                Ok(true) => continue,
                Ok(false) => LOOK_EVERY,
                Err(Stuck) => RETRY,
            };
            tokio::time::sleep(rest).await;
        }
    }

    /// A piece of each sweep that is not done, so that no large one keeps the others waiting. Whether
    /// there was any.
    async fn round(&mut self) -> Result<bool, Stuck> {
        let rules = self.engine.rules();
        if self.idle_at == Some(rules.version) {
            return Ok(false);
        }
        let mut left = BTreeMap::new();
        for trigger in rules.triggers.iter().filter(|trigger| trigger.on.on_activate) {
            let known = self.engine.sweep(&trigger.retailer, &trigger.id).map_err(|error| stuck(&error))?;
            let known = known.filter(|sweep| sweep.version == trigger.version);
            let sweep = known.unwrap_or_else(|| Sweep { version: trigger.version, ..Sweep::default() });
            if !sweep.is_done {
                left.insert((trigger.retailer.clone(), trigger.id.clone()), (Arc::clone(trigger), sweep));
            }
        }
        if left.is_empty() {
            self.idle_at = Some(rules.version);
            return Ok(false);
        }
        for (trigger, sweep) in left.into_values() {
            self.piece(&rules, &trigger, sweep).await?;
        }
        Ok(true)
    }

    /// The next devices of a sweep, and a note of how far it is then.
    async fn piece(&mut self, rules: &RuleSet, trigger: &Trigger, mut sweep: Sweep) -> Result<(), Stuck> {
        if sweep.looked == 0 {
            tracing::info!(trigger = %trigger.id, version = sweep.version, "Looks for homes in which `{}` holds already", trigger.id);
        }
        let page = self.engine.devices(sweep.after.as_ref(), DEVICES_A_NOTE);
        for (device, route) in &page {
            let is_about = trigger.on.models.is_empty() || trigger.on.models.contains(&route.model);
            if route.retailer.as_ref() != Some(&trigger.retailer) || !is_about {
                continue;
            }
            self.in_time().await;
            if self.engine.is_closed() {
                return Ok(());
            }
            self.looks.increment(1);
            sweep.looked += 1;
            let home = match self.engine.facts(route.household).await {
                Ok(home) => home,
                Err(StoreError::Corrupt { key, cause }) => {
                    // One home that cannot be read holds up nobody else's.
                    tracing::error!(device.id = %device, key, reason = cause, "A home cannot be read and is not looked at");
                    continue;
                }
                Err(error) => return Err(stuck(&error)),
            };
            let now = self.engine.clock().now();
            // Decided again by the home itself; what has nothing to say is not asked.
            if home.is_some_and(|home| stands_beyond(&home, device, rules, trigger, now)) {
                sweep.woken += u64::from(self.look(device, trigger).await?);
            }
        }
        sweep.is_done = page.len() < DEVICES_A_NOTE;
        sweep.after = page.into_iter().next_back().map(|(device, _)| device).or(sweep.after);
        if sweep.is_done {
            tracing::info!(trigger = %trigger.id, looked = sweep.looked, woken = sweep.woken, "Looked at every home for `{}`", trigger.id);
        }
        let write = rows::put(Schema::Sweep, keys::sweep(&trigger.retailer, &trigger.id), &sweep);
        let written = self.engine.write(Commit { preconditions: Vec::new(), writes: vec![write] }).await;
        written.map(drop).map_err(|error| stuck(&error))
    }

    async fn look(&self, device: &DeviceKey, trigger: &Trigger) -> Result<bool, Stuck> {
        let what = Command::Activated { trigger: trigger.id.clone(), version: trigger.version };
        let (name, version) = (device.to_string(), trigger.version.to_be_bytes());
        let now = self.engine.clock().now().0.to_be_bytes();
        let cause: [&[u8]; 5] = [b"activated", name.as_bytes(), trigger.id.as_str().as_bytes(), &version, &now];
        let input = self.engine.command(Some(device.clone()), &cause, what);
        match self.engine.call(Target::Device(device.clone()), input).await {
            // A refusal is the home's last word on it, as for a device that left meanwhile.
            Outcome::Committed(reply) | Outcome::Duplicate(reply) => Ok(reply.is_ok()),
            Outcome::Failed(_) => Err(Stuck),
        }
    }

    /// Waits until the next device may be looked at.
    async fn in_time(&mut self) {
        let now = self.engine.clock().now();
        // After a clock that went back nobody waits for the hour that it had shown.
        if self.next > now + self.apart {
            self.next = now + self.apart;
        }
        self.engine.clock().sleep_until(self.next).await;
        self.next = self.engine.clock().now() + self.apart;
    }
}

fn stuck(error: &StoreError) -> Stuck {
    tracing::warn!(%error, "A sweep waits for the store");
    Stuck
}
