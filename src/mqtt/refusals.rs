//! How often a device is told of what was refused: at once, and then a counted summary a second.

use std::collections::BTreeMap;
use std::time::Duration;

use hearthway_core::code::{Code, Refusal};
use hearthway_core::id::{DeviceKey, MessageId};
use hearthway_core::time::Timestamp;
use hearthway_core::wire::topic::device_topic;
use hearthway_core::wire::{self, DownHead, DownMessage};
use metrics::counter;
use tokio::time::Instant;

use super::limits::PACED_DEVICES_MAX;
use super::mailbox::Outgoing;
use super::metrics as names;
use crate::engine::entropy;
use crate::observe::limits::{Limit, hit};

/// How often one device is told of a refusal; what comes between is counted in the next.
const ERROR_EVERY: Duration = Duration::from_secs(1);

/// A refusal with what it is about.
#[derive(Debug, Clone)]
pub struct Refused {
    /// What is wrong.
    pub refusal: Refusal,
    /// The id of the message, where it could be read.
    pub reference: Option<MessageId>,
    /// The topic below the device's root.
    pub topic: String,
}

/// Paces what devices are told of refusals.
#[derive(Default)]
pub struct Refusals {
    paces: BTreeMap<DeviceKey, Pace>,
}

/// How one device is told.
struct Pace {
    told: Instant,
    /// Refusals since, and the last of them.
    untold: u32,
    last: Option<Refused>,
}

impl Refusals {
    /// Counts a refusal. What it gives back is to be said to the device at once.
    pub fn refuse(&mut self, device: &DeviceKey, refused: Refused, now: Instant) -> Option<Refused> {
        counter!(names::MESSAGES_REFUSED, "code" => refused.refusal.code.as_str()).increment(1);
        if refused.refusal.code == Code::PayloadTooLarge {
            hit(Limit::PayloadBounds);
        }
        if !self.paces.contains_key(device) && self.paces.len() >= PACED_DEVICES_MAX {
            self.paces.retain(|_, pace| pace.untold > 0 || now.saturating_duration_since(pace.told) < ERROR_EVERY);
            if self.paces.len() >= PACED_DEVICES_MAX {
                return None; // counted above; a bridge in such trouble reads the metric
            }
        }
        if let Some(pace) = self.paces.get_mut(device)
            && now.saturating_duration_since(pace.told) < ERROR_EVERY
        {
            pace.untold += 1;
            pace.last = Some(refused);
            return None;
        }
        self.paces.insert(device.clone(), Pace { told: now, untold: 0, last: None });
        Some(refused)
    }

    /// When the next counted summary is due.
    pub fn summary_due(&self) -> Option<Instant> {
        self.paces.values().filter(|pace| pace.untold > 0).map(|pace| pace.told + ERROR_EVERY).min()
    }

    /// Takes the summaries that are due.
    pub fn summaries(&mut self, now: Instant) -> Vec<(DeviceKey, Refused)> {
        let due = self.paces.iter_mut().filter(|(_, pace)| pace.untold > 0 && pace.told + ERROR_EVERY <= now);
        let due = due.filter_map(|(device, pace)| {
            pace.told = now;
            let count = std::mem::take(&mut pace.untold);
            let mut refused = pace.last.take()?;
            if count > 1 {
                let last = &refused.refusal.message;
                refused.refusal.message =
                    format!("{count} messages were refused in the last second; the last one: {last}");
            }
            Some((device.clone(), refused))
        });
        due.collect()
    }
}

/// The message that tells a device of a refusal. It has no outbox row: a device that is not there
/// does not miss that a message was wrong.
pub fn answer(device: &DeviceKey, refused: Refused, now: Timestamp) -> Outgoing {
    let Refused { refusal, reference, topic } = refused;
    let message = DownMessage::Error { refusal, reference, topic };
    let head = DownHead {
        device: device.clone(),
        id: format!("er-{:016x}", entropy::draw()),
        t: now,
        exp: None,
        trace: String::new(),
        corr: None,
    };
    let down = wire::encode(&message, &head);
    Outgoing {
        row: None,
        settles: false,
        topic: device_topic(device, down.topic).into(),
        payload: down.payload.into(),
        qos: 1,
        expires_at: None,
        trace: "".into(),
    }
}
