//! The only place that asks the operating system for the time.

use std::future::Future;
use std::pin::Pin;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use hearthway_core::time::{Span, Timestamp};

/// Where the time comes from. One of the three seams of the simulation.
pub trait Clock: Send + Sync + 'static {
    /// The instant now.
    fn now(&self) -> Timestamp;
    /// Resolves at or after `at`; at once when it is past.
    fn sleep_until(&self, at: Timestamp) -> Pin<Box<dyn Future<Output = ()> + Send + '_>>;
}

/// The machine's own clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
    }
    fn sleep_until(&self, at: Timestamp) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(tokio::time::sleep(real(at - self.now(), 1)))
    }
}

/// A clock that starts at an instant of one's choice and runs `speed` times as fast, so that the
/// demo plays days in minutes.
#[derive(Debug, Clone, Copy)]
pub struct FastClock {
    started: Instant,
    origin: Timestamp,
    speed: u32,
}

impl FastClock {
    /// Starts at `origin`, `speed` times as fast as the machine's clock.
    pub fn start(origin: Timestamp, speed: u32) -> FastClock {
        FastClock { started: Instant::now(), origin, speed: speed.max(1) }
    }
}

impl Clock for FastClock {
    fn now(&self) -> Timestamp {
        let real = i64::try_from(self.started.elapsed().as_micros()).unwrap_or(i64::MAX);
        self.origin + Span(real.saturating_mul(self.speed.into()) / 1_000)
    }
    fn sleep_until(&self, at: Timestamp) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(tokio::time::sleep(real(at - self.now(), self.speed)))
    }
}

/// The real time that a span of gateway time takes at a speed.
fn real(span: Span, speed: u32) -> Duration {
    Duration::from_micros(u64::try_from(span.0.max(0)).unwrap_or(0).saturating_mul(1_000) / u64::from(speed))
}
