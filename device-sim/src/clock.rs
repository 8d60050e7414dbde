//! The time in the simulated homes. The only file here that asks the operating system for it.

use std::future::Future;
use std::pin::Pin;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use hearthway_core::time::{Span, Timestamp};

/// A future that may cross threads and be held behind a trait object.
pub type Soon<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Where the time of the simulated homes comes from.
pub trait SimClock: Send + Sync + 'static {
    /// The instant now, in the homes.
    fn now(&self) -> Timestamp;
    /// Resolves at or after `at`; at once when it is past.
    fn sleep_until(&self, at: Timestamp) -> Soon<'_, ()>;
}

/// The fastest that a paced clock runs: above it, a millisecond of the network is minutes at home.
pub const SPEED_MAX: u32 = 100_000;

/// A clock that starts at an instant and runs `speed` times as fast as the machine's.
#[derive(Debug, Clone, Copy)]
pub struct PacedClock {
    started: Instant,
    origin: Timestamp,
    speed: u32,
}

impl PacedClock {
    /// Starts at `origin`; `speed` is kept in 1..=[`SPEED_MAX`].
    pub fn start(origin: Timestamp, speed: u32) -> PacedClock {
        PacedClock { started: Instant::now(), origin, speed: speed.clamp(1, SPEED_MAX) }
    }
}

impl SimClock for PacedClock {
    fn now(&self) -> Timestamp {
        let micros = i64::try_from(self.started.elapsed().as_micros()).unwrap_or(i64::MAX);
        self.origin + Span(micros.saturating_mul(self.speed.into()) / 1_000)
    }
    fn sleep_until(&self, at: Timestamp) -> Soon<'_, ()> {
        let millis = u64::try_from((at - self.now()).0).unwrap_or(0);
        Box::pin(tokio::time::sleep(Duration::from_micros(millis.saturating_mul(1_000) / u64::from(self.speed))))
    }
}

/// The instant now by the machine's clock.
pub fn wall_now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "current_thread")]
    async fn a_paced_clock_reaches_an_hour_in_a_second_of_real_time() {
        let origin = Timestamp(1_000_000);
        let clock = PacedClock::start(origin, 100_000);
        clock.sleep_until(origin + Span::hours(1)).await;
        assert!(clock.now() >= origin + Span::hours(1));
        assert!(clock.now() < origin + Span::days(30), "it runs at its speed, not without bound");
    }
}
