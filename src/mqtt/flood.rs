//! Flood control: how much a device, and a maker with all its devices, may publish.
//!
//! A pace is one number behind one atomic: the instant up to which what was published is paid
//! for. Nothing waits and nothing is allocated for a message of a device that is known. Keyed on
//! names that proved who they are, or that the gateway knows behind a connection that did.
//!
//! Whoever has a connection of its own is slowed: its reading pauses. Behind a bridge or a broker
//! many share one connection, which must not stop for one of them: there what is too much is
//! refused, telemetry first, events next, answers last, and the withdrawal of a consent never.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hearthway_core::code::{Code, Refusal};
use hearthway_core::id::{DeviceKey, MakerId};
use hearthway_core::wire::{self, DeviceMessage};
use metrics::counter;
use tokio::time::Instant;

use super::metrics as names;
use crate::observe::limits::{Limit, hit};

/// Parts of the table of devices: enough that two threads rarely meet.
const SHARDS: usize = 64;
/// Devices of one part whose pace is remembered: 262 144 in all, more than publish in the ten
/// seconds after which a pace is forgotten. Beyond it only the connection's own rate holds.
const PACES_PER_SHARD_MAX: usize = 4_096;
/// Makers whose pace is remembered.
const MAKERS_MAX: usize = 10_000;
/// How much more than telemetry other classes may be ahead, in halves of the burst.
const EVENT_HALVES: u64 = 1;
/// The same for answers.
const ANSWER_HALVES: u64 = 2;

/// How much one device and one maker may publish.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FloodSettings {
    /// Messages a second of one device in the long run.
    pub device_per_second: u32,
    /// Messages that it may be ahead of that.
    pub device_burst: u32,
    /// Messages a second of all devices of one maker; 0 is no limit.
    pub maker_per_second: u32,
}

impl Default for FloodSettings {
    fn default() -> FloodSettings {
        FloodSettings { device_per_second: 10, device_burst: 100, maker_per_second: 0 }
    }
}

/// What a message is worth when not all can be taken, the least first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// The next one makes up for it.
    Telemetry,
    /// A fact that is told once.
    Event,
    /// What a person said.
    Answer,
    /// A person's no: always taken.
    Withdrawal,
}

impl Class {
    /// By the topic below the device's root. A consent is an answer until it is read.
    pub fn of_topic(below: &str) -> Class {
        match below {
            "up/telemetry" | "up/time" | "up/doctor" => Class::Telemetry,
            "up/claim" | "up/order" | "up/consent" | "up/replenish" | "up/lifecycle" => Class::Answer,
            other if other.starts_with("up/offer/") => Class::Answer,
            _ => Class::Event,
        }
    }

    fn label(self) -> &'static str {
        match self {
            Class::Telemetry => "telemetry",
            Class::Event => "event",
            Class::Answer => "answer",
            Class::Withdrawal => "withdrawal",
        }
    }
}

/// Whether a message takes back a consent, or asks for silence.
fn is_withdrawal(topic: &str, payload: &[u8]) -> bool {
    match wire::decode(topic, payload).map(|envelope| envelope.message) {
        Ok(DeviceMessage::Consent(consent)) => {
            consent.set.iter().any(|word| !word.granted) || matches!(consent.pause_until, Some(Some(_)))
        }
        Ok(_) | Err(_) => false,
    }
}

/// So many in the long run, and so many ahead of it.
#[derive(Debug, Clone, Copy)]
struct Rate {
    every_nanos: u64,
    burst_nanos: u64,
}

impl Rate {
    fn new(per_second: u32, burst: u32) -> Rate {
        let every_nanos = 1_000_000_000 / u64::from(per_second.max(1));
        Rate { every_nanos, burst_nanos: every_nanos * u64::from(burst.max(1)) }
    }
}

/// Up to when what was published is paid for, in nanoseconds of the flood's own count.
#[derive(Debug, Default)]
pub struct Pace(AtomicU64);

impl Pace {
    /// Takes one on credit; says how long to take no more.
    fn spend(&self, rate: Rate, now: u64) -> Option<Duration> {
        let paid = |before: u64| before.max(now) + rate.every_nanos;
        // The closure never gives up, so there is always a value from before.
        let before = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |before| Some(paid(before)));
        let ahead = paid(before.unwrap_or(now)) - now;
        (ahead > rate.burst_nanos).then(|| Duration::from_nanos(ahead - rate.burst_nanos))
    }

    /// Takes one where no more than the burst and `extra` would be ahead; else says how long until then.
    fn take(&self, rate: Rate, extra: u64, now: u64) -> Result<(), Duration> {
        let bound = rate.burst_nanos + extra;
        let paid = |before: u64| before.max(now) + rate.every_nanos;
        let within = |before: u64| (paid(before) - now <= bound).then(|| paid(before));
        match self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, within) {
            Ok(_) => Ok(()),
            Err(before) => Err(Duration::from_nanos(paid(before) - now - bound)),
        }
    }

    /// Whether nothing has to be remembered of it.
    fn is_rested(&self, now: u64) -> bool {
        self.0.load(Ordering::Relaxed) <= now
    }
}

/// The paces of all devices and makers.
pub struct Flood {
    device: Rate,
    maker: Option<Rate>,
    begun: Instant,
    hasher: RandomState,
    devices: Vec<Mutex<HashMap<DeviceKey, Arc<Pace>>>>,
    makers: Mutex<HashMap<MakerId, Arc<Pace>>>,
}

impl Flood {
    /// Nobody has published yet.
    pub fn new(settings: FloodSettings) -> Flood {
        let per_maker = settings.maker_per_second;
        Flood {
            device: Rate::new(settings.device_per_second, settings.device_burst),
            // A second's worth at once: devices that wake together.
            maker: (per_maker > 0).then(|| Rate::new(per_maker, per_maker)),
            begun: Instant::now(),
            hasher: RandomState::new(),
            devices: (0..SHARDS).map(|_| Mutex::default()).collect(),
            makers: Mutex::default(),
        }
    }

    fn nanos(&self, now: Instant) -> u64 {
        u64::try_from(now.saturating_duration_since(self.begun).as_nanos()).unwrap_or(u64::MAX / 2)
    }

    /// A device's pace; none when so many are remembered that it goes free.
    pub fn pace_of(&self, device: &DeviceKey, now: Instant) -> Option<Arc<Pace>> {
        let place = self.hasher.hash_one(device) as usize % SHARDS;
        // Whole entries only, so a panic elsewhere leaves nothing half done.
        let mut paces = self.devices[place].lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(pace) = paces.get(device) {
            return Some(pace.clone());
        }
        if paces.len() >= PACES_PER_SHARD_MAX {
            forget_rested(&mut paces, self.nanos(now));
            if paces.len() >= PACES_PER_SHARD_MAX {
                return None;
            }
        }
        Some(paces.entry(device.clone()).or_default().clone())
    }

    fn maker_pace(&self, maker: &MakerId) -> Option<Arc<Pace>> {
        self.maker?;
        let mut makers = lock_makers(&self.makers);
        if !makers.contains_key(maker) && makers.len() >= MAKERS_MAX {
            return None;
        }
        Some(makers.entry(maker.clone()).or_default().clone())
    }

    /// What a connection of one device, or of a maker's bridge, publishes by.
    pub fn lane(self: &Arc<Flood>, device: Option<&DeviceKey>, maker: &MakerId, now: Instant) -> Lane {
        Lane {
            device: device.and_then(|device| self.pace_of(device, now)),
            maker: self.maker_pace(maker),
            flood: self.clone(),
        }
    }

    /// Whether a message of a device that shares its connection with others is taken. `below` is
    /// its topic below the device's root.
    pub fn admit(
        &self,
        device: &DeviceKey,
        topic: &str,
        below: &str,
        payload: &[u8],
        now: Instant,
    ) -> Result<(), Refusal> {
        let Some(pace) = self.pace_of(device, now) else { return Ok(()) };
        let mut class = Class::of_topic(below);
        let extra = match class {
            Class::Telemetry => 0,
            Class::Event => EVENT_HALVES,
            Class::Answer | Class::Withdrawal => ANSWER_HALVES,
        };
        let Err(wait) = pace.take(self.device, extra * (self.device.burst_nanos / 2), self.nanos(now)) else {
            return Ok(());
        };
        if below == "up/consent" && is_withdrawal(topic, payload) {
            class = Class::Withdrawal;
        }
        hit(Limit::DeviceRate);
        if class == Class::Withdrawal {
            pace.spend(self.device, self.nanos(now));
            return Ok(());
        }
        shed(class);
        let seconds = u32::try_from(wait.as_secs()).unwrap_or(u32::MAX).saturating_add(1);
        let why = "this device publishes faster than it may; send less often, and keep what must not be lost for later";
        Err(Refusal { retry_after_seconds: Some(seconds), ..Refusal::new(Code::RateLimited, why) })
    }

    /// Forgets who has been quiet.
    pub fn sweep(&self, now: Instant) {
        let nanos = self.nanos(now);
        for paces in &self.devices {
            forget_rested(&mut paces.lock().unwrap_or_else(PoisonError::into_inner), nanos);
        }
        let mut makers = lock_makers(&self.makers);
        makers.retain(|_, pace| Arc::strong_count(pace) > 1 || !pace.is_rested(nanos));
    }
}

fn lock_makers(makers: &Mutex<HashMap<MakerId, Arc<Pace>>>) -> MutexGuard<'_, HashMap<MakerId, Arc<Pace>>> {
    makers.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A connection that holds a pace keeps it, so that a second one meets the same.
fn forget_rested(paces: &mut HashMap<DeviceKey, Arc<Pace>>, nanos: u64) {
    paces.retain(|_, pace| Arc::strong_count(pace) > 1 || !pace.is_rested(nanos));
}

fn shed(class: Class) {
    counter!(names::MESSAGES_SHED, "class" => class.label()).increment(1);
}

/// What a publish of one connection meets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing.
    Free,
    /// It is taken, and nothing more is read for so long.
    Slow(Duration),
    /// It came at QoS 0 and is dropped and counted.
    Dropped,
}

/// How fast one connection may publish.
pub struct Lane {
    flood: Arc<Flood>,
    /// Of a device that has the connection to itself.
    device: Option<Arc<Pace>>,
    maker: Option<Arc<Pace>>,
}

impl Lane {
    /// Looks at one publish. What may be lost is dropped above the rate; everything else is taken
    /// and slows what comes next.
    pub fn look_at(&self, topic: &str, qos: u8, now: Instant) -> Verdict {
        let nanos = self.flood.nanos(now);
        let may_be_dropped = qos == 0 && is_lossy(topic);
        let mut verdict = Verdict::Free;
        let device = self.device.as_deref().map(|pace| (pace, self.flood.device, Limit::DeviceRate));
        let maker = self.maker.as_deref().zip(self.flood.maker).map(|(pace, rate)| (pace, rate, Limit::MakerRate));
        for (pace, rate, limit) in [device, maker].into_iter().flatten() {
            if may_be_dropped {
                if pace.take(rate, 0, nanos).is_err() {
                    hit(limit);
                    shed(Class::Telemetry);
                    return Verdict::Dropped;
                }
            } else if let Some(wait) = pace.spend(rate, nanos) {
                hit(limit);
                let longest = match verdict {
                    Verdict::Slow(before) => before.max(wait),
                    Verdict::Free | Verdict::Dropped => wait,
                };
                verdict = Verdict::Slow(longest);
            }
        }
        verdict
    }
}

/// Whether a topic carries what the next message makes up for.
fn is_lossy(topic: &str) -> bool {
    topic.splitn(5, '/').nth(4).is_some_and(|below| Class::of_topic(below) == Class::Telemetry)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const TELEMETRY: &str = "chan/v1/acme/d-42/up/telemetry";

    fn device(n: usize) -> DeviceKey {
        format!("acme/d-{n}").parse().unwrap()
    }
    fn flood() -> Arc<Flood> {
        Arc::new(Flood::new(FloodSettings { device_per_second: 10, device_burst: 100, maker_per_second: 0 }))
    }
    fn taken(flood: &Flood, below: &str, payload: &[u8], tries: usize, now: Instant) -> usize {
        let topic = format!("chan/v1/acme/d-1/{below}");
        (0..tries).filter(|_| flood.admit(&device(1), &topic, below, payload, now).is_ok()).count()
    }

    #[test]
    fn a_burst_is_taken_and_then_the_sustained_rate() {
        let flood = flood();
        let now = Instant::now();
        assert_eq!(taken(&flood, "up/telemetry", b"{}", 1_000, now), 100);
        assert_eq!(taken(&flood, "up/telemetry", b"{}", 1_000, now + Duration::from_secs(3)), 30);
        assert_eq!(taken(&flood, "up/telemetry", b"{}", 1_000, now + Duration::from_secs(60)), 100);
    }

    #[test]
    fn telemetry_goes_before_events_and_events_before_answers_and_a_withdrawal_never() {
        let flood = flood();
        let now = Instant::now();
        assert_eq!(taken(&flood, "up/telemetry", b"{}", 1_000, now), 100);
        assert_eq!(taken(&flood, "up/event", b"{}", 1_000, now), 50, "events have a half more");
        assert_eq!(taken(&flood, "up/telemetry", b"{}", 10, now), 0);
        assert_eq!(taken(&flood, "up/offer/answer", b"{}", 1_000, now), 50, "answers have two halves more");
        let withdrawn = br#"{"set":[{"purpose":"offers.device","granted":false}]}"#;
        let granted = br#"{"set":[{"purpose":"offers.device","granted":true}]}"#;
        assert_eq!(taken(&flood, "up/consent", granted, 10, now), 0);
        assert_eq!(taken(&flood, "up/consent", withdrawn, 10, now), 10);
    }

    #[test]
    fn one_device_does_not_spend_what_is_anothers() {
        let flood = flood();
        let now = Instant::now();
        taken(&flood, "up/telemetry", b"{}", 1_000, now);
        assert!(flood.admit(&device(2), TELEMETRY, "up/telemetry", b"{}", now).is_ok());
    }

    #[test]
    fn what_was_slowed_is_slowed_by_exactly_its_excess() {
        let flood = flood();
        let now = Instant::now();
        let lane = flood.lane(Some(&device(1)), &"acme".parse().unwrap(), now);
        for _ in 0..100 {
            assert_eq!(lane.look_at(TELEMETRY, 1, now), Verdict::Free);
        }
        assert_eq!(lane.look_at(TELEMETRY, 1, now), Verdict::Slow(Duration::from_millis(100)));
        assert_eq!(lane.look_at(TELEMETRY, 1, now), Verdict::Slow(Duration::from_millis(200)));
        assert_eq!(lane.look_at(TELEMETRY, 0, now), Verdict::Dropped);
        let side = flood.lane(Some(&device(1)), &"acme".parse().unwrap(), now);
        assert_ne!(side.look_at(TELEMETRY, 1, now), Verdict::Free, "a second connection is the same device");
    }

    #[test]
    fn a_makers_devices_share_its_rate() {
        let flood =
            Arc::new(Flood::new(FloodSettings { device_per_second: 100, device_burst: 100, maker_per_second: 20 }));
        let now = Instant::now();
        let free = (0..10).map(|n| {
            let lane = flood.lane(Some(&device(n)), &"acme".parse().unwrap(), now);
            (0..10).filter(|_| lane.look_at(TELEMETRY, 1, now) == Verdict::Free).count()
        });
        assert_eq!(free.sum::<usize>(), 20);
        let other = flood.lane(Some(&"other/d-1".parse().unwrap()), &"other".parse().unwrap(), now);
        assert_eq!(other.look_at(TELEMETRY, 1, now), Verdict::Free);
    }

    #[test]
    fn the_table_is_bounded_and_forgets_who_is_quiet() {
        let flood = flood();
        let now = Instant::now();
        for n in 0..PACES_PER_SHARD_MAX * SHARDS + 5_000 {
            // Beyond the bound devices go free; their connection's own rate still holds.
            assert!(flood.admit(&device(n), TELEMETRY, "up/telemetry", b"{}", now).is_ok());
        }
        let held = || flood.devices.iter().map(|paces| paces.lock().unwrap().len()).sum::<usize>();
        assert!(held() <= PACES_PER_SHARD_MAX * SHARDS, "{}", held());
        flood.sweep(now + Duration::from_secs(20));
        assert_eq!(held(), 0);
    }

    #[test]
    fn a_look_costs_a_fraction_of_a_microsecond() {
        let flood = Arc::new(Flood::new(FloodSettings { device_per_second: 1_000_000, ..FloodSettings::default() }));
        let now = Instant::now();
        let devices: Vec<DeviceKey> = (0..10_000).map(device).collect();
        let rounds = 10;
        let begun = std::time::Instant::now();
        for _ in 0..rounds {
            for device in &devices {
                let _ = flood.admit(device, TELEMETRY, "up/telemetry", b"{}", now);
            }
        }
        let nanos = begun.elapsed().as_nanos() / (rounds * devices.len() as u128);
        println!("{nanos} ns for each message of a bridge");
        // Unoptimized, on a busy machine, with the first round's insertions: an order above the aim.
        assert!(nanos < 10_000, "{nanos} ns");
    }
}
