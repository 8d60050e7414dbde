//! Which devices are spoken to through the broker.
//!
//! A device's way is the one on which it was last heard. Nothing is said through the broker to a
//! device that has not been heard there since the start: a broker acknowledges also what nobody
//! will ever read. Bounded by the devices that are registered.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hearthway_core::id::DeviceKey;

/// How long a device that the broker knew no subscription of is left alone, unless it says that
/// it is new here: devices exist that report and never listen.
const DEAF_FOR: Duration = Duration::from_secs(30);

/// How a device stands to the broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// It was heard and, as far as we know, listens: since then.
    Here(Instant),
    /// It said that it goes, or its will said so.
    Away,
    /// The broker had nobody to give its message to, or would not take it.
    Deaf(Instant),
}

/// What a message says of its sender's listening.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sign {
    /// Birth, or a request for the current set: it listens from here on.
    Arrived,
    /// Anything else.
    Spoke,
    /// Lost, offline, asleep.
    Left,
}

/// The devices behind the broker.
#[derive(Default)]
pub struct Ways(Mutex<HashMap<DeviceKey, Standing>>);

impl Ways {
    fn lock(&self) -> MutexGuard<'_, HashMap<DeviceKey, Standing>> {
        // Each change below is one insertion or removal.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A registered device was heard. `true` when it began to listen: what waits may be sent.
    pub fn heard(&self, device: &DeviceKey, sign: Sign, now: Instant) -> bool {
        let mut ways = self.lock();
        let before = ways.get(device).copied();
        let begins = match (sign, before) {
            (Sign::Left, _) => false,
            (Sign::Arrived, _) | (Sign::Spoke, None | Some(Standing::Away)) => true,
            (Sign::Spoke, Some(Standing::Deaf(since))) => now.saturating_duration_since(since) >= DEAF_FOR,
            (Sign::Spoke, Some(Standing::Here(_))) => return false,
        };
        let standing = match (sign, begins, before) {
            (Sign::Left, ..) => Standing::Away,
            (_, false, Some(before)) => before,
            _ => Standing::Here(now),
        };
        ways.insert(device.clone(), standing);
        begins
    }

    /// The device was heard on another way, and is no longer ours to speak to.
    pub fn heard_elsewhere(&self, device: &DeviceKey) {
        self.lock().remove(device);
    }

    /// A message that was sent to the device at an instant found no reader. `true` where the device
    /// said later that it listens: its word may be heard before the broker's on the message.
    pub fn found_nobody(&self, device: &DeviceKey, sent: Instant, now: Instant) -> bool {
        let mut ways = self.lock();
        let Some(standing) = ways.get_mut(device) else { return false };
        match *standing {
            Standing::Here(since) if since > sent => true,
            Standing::Here(_) => {
                *standing = Standing::Deaf(now);
                false
            }
            Standing::Away | Standing::Deaf(_) => false,
        }
    }

    /// Whether a message to the device should go through the broker at this moment.
    pub fn is_here(&self, device: &DeviceKey) -> bool {
        matches!(self.lock().get(device), Some(Standing::Here(_)))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_device_is_spoken_to_where_it_was_last_heard_and_only_while_it_is_there() {
        let (ways, now) = (Ways::default(), Instant::now());
        let device: DeviceKey = "acme/d-42".parse().unwrap();
        assert!(!ways.is_here(&device), "a device that never spoke here may be anywhere");
        assert!(ways.heard(&device, Sign::Spoke, now));
        assert!(!ways.heard(&device, Sign::Spoke, now), "what waits was sent already");
        assert!(ways.is_here(&device));
        assert!(!ways.heard(&device, Sign::Left, now));
        assert!(!ways.is_here(&device));
        assert!(ways.heard(&device, Sign::Spoke, now));
        ways.heard_elsewhere(&device);
        assert!(!ways.is_here(&device));
    }

    #[test]
    fn a_device_without_a_subscription_is_not_tried_at_every_word_it_says() {
        let (ways, now) = (Ways::default(), Instant::now());
        let device: DeviceKey = "acme/d-42".parse().unwrap();
        ways.heard(&device, Sign::Spoke, now);
        assert!(!ways.found_nobody(&device, now, now));
        assert!(!ways.is_here(&device));
        assert!(!ways.heard(&device, Sign::Spoke, now + DEAF_FOR / 2));
        assert!(!ways.is_here(&device));
        assert!(ways.heard(&device, Sign::Spoke, now + DEAF_FOR));
        assert!(!ways.found_nobody(&device, now + DEAF_FOR, now));
        assert!(ways.heard(&device, Sign::Arrived, now), "a birth says that it listens");
    }

    #[test]
    fn what_found_nobody_before_a_birth_says_nothing_of_the_time_after_it() {
        let (ways, sent) = (Ways::default(), Instant::now());
        let device: DeviceKey = "acme/d-42".parse().unwrap();
        ways.heard(&device, Sign::Arrived, sent);
        let born = sent + Duration::from_millis(1);
        ways.heard(&device, Sign::Arrived, born);
        assert!(ways.found_nobody(&device, sent, born), "it may be sent again at once");
        assert!(ways.is_here(&device));
        assert!(!ways.found_nobody(&device, born, born), "what was sent after the birth");
        assert!(!ways.is_here(&device));
    }
}
